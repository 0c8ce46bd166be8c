//! A shard on a backend, and the loop that drives it.

use std::thread;
use std::time::Duration;

use heartring_core::{Backend, Completion, DeadlineStrategy, Instant, Listener, Place, Shard};
use heartring_tests::{Patience, Rig};

use super::clerk::Clerk;
use super::setting::{CONNS_MAX, address, backend_config, config, listen_options};

/// How long a turn sleeps at most: some of what is awaited happens at the peers, and no completion tells of it.
const TURN_MAX: Duration = Duration::from_millis(5);

/// See the module's own text.
pub(crate) struct Machine<R: Rig> {
    pub(crate) rig: R,
    pub(crate) shard: Shard<Clerk>,
    pub(crate) listener: Listener,
    /// When the last turn was over.
    turned_at: Instant,
    /// The longest time for which the thread was kept away: it says whether this run can be judged at all.
    pub(crate) away_max: Duration,
}

impl<R: Rig> Machine<R> {
    pub(crate) fn start(strategy: DeadlineStrategy, conns: usize) -> Self {
        assert!(conns <= CONNS_MAX as usize, "{conns} connections in one batch of scripts");
        let mut rig = open::<R>();
        let listener =
            rig.backend().listen(address(), &listen_options()).expect("loopback can be listened on");
        let place = Place::alone(CONNS_MAX, strategy);
        let shard = Shard::new(place, &config(), &[listener], Clerk::new(conns)).expect("a valid setting");
        let turned_at = rig.clock();
        Self { rig, shard, listener, turned_at, away_max: Duration::ZERO }
    }

    /// One turn: the ops go out, and whatever there is to tell comes in.
    pub(crate) fn turn(&mut self) {
        let Self { rig, shard, .. } = self;
        let begun_at = rig.clock();
        let backend = rig.backend();
        shard.end_turn(backend.now(), &mut |op| backend.submit(op));
        let latest = begun_at + TURN_MAX;
        let until = shard.wake_at().map_or(latest, |at| at.min(latest));
        let mut sink = |now, completion: Completion<'_>| {
            shard.handler().weigh(&completion);
            shard.handle(now, completion);
        };
        backend.wait(Some(until), &mut sink).expect("the backend works");
        let now = self.rig.clock();
        let away = [begun_at.saturating_since(self.turned_at), now.saturating_since(latest)];
        self.away_max = away.into_iter().fold(self.away_max, Duration::max);
        self.turned_at = now;
    }

    /// Whether nothing is left: neither in the shard nor in the backend.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.shard.is_empty() && self.rig.backend().ledger().open_total() == 0
    }
}

/// After many rings of other tests, their memory comes back only after a while.
fn open<R: Rig>() -> R {
    let patience = Patience::new();
    loop {
        match R::open(&backend_config()) {
            Ok(rig) => return rig,
            Err(reason) => assert!(!patience.is_over(), "{}: {reason}", R::NAME),
        }
        thread::sleep(Duration::from_millis(50));
    }
}
