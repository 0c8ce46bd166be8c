//! The tormented gateway: an ordinary user of the library, in a process of its own, that says what its handlers are told.

use std::collections::HashMap;
use std::io::{self, BufRead, BufWriter, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use heartring::{
    BackendChoice, Bytes, Closed, Config, Conn, ConnId, Gateway, Handler, LengthPrefixed, Running, Snapshot,
    Stats,
};

use super::words::{Ending, GatewayOrder, GatewayPart, GatewayWord, Listening, Look};
use crate::failure::Failure;
use crate::wire::Message;

/// Shards that live answer at once; those that were frozen, when they are back.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// What is sent at a time to a device that asked for bytes.
const PORTION: &[u8] = &[0; 16 << 10];
/// The ports of a gateway that has just drained are free when its last ring is torn down, which the kernel does later.
const RESTART_TRIES: u32 = 100;
const RESTART_AGAIN_AFTER: Duration = Duration::from_millis(10);

pub(super) fn play(part: &GatewayPart) -> Result<(), Failure> {
    let (words, spoken) = channel();
    let voice = thread::spawn(move || speak(&spoken));
    let played = serve(part, &words);
    if let Err(failure) = &played {
        let _ = words.send(GatewayWord::Failed(failure.to_string()));
    }
    drop(words);
    let _ = voice.join();
    played
}

fn serve(part: &GatewayPart, words: &Sender<GatewayWord>) -> Result<(), Failure> {
    let mut running = start(part, words)?;
    for line in io::stdin().lock().lines() {
        let order = line.and_then(|line| Ok(serde_json::from_str(&line)?));
        let order =
            order.map_err(|error| Failure::new(format!("a bad order: {error}"), "a bug of torment"))?;
        match order {
            GatewayOrder::Look => {
                let snapshot = running.handle().snapshot(LOOK_WITHIN);
                let snapshot = snapshot.map_err(|error| Failure::from_library(&error))?;
                let _ = words.send(GatewayWord::Looked(look(&snapshot)));
            }
            GatewayOrder::Restart => {
                drain(running, words)?;
                running = start(part, words)?;
            }
            GatewayOrder::Stop => return drain(running, words),
        }
    }
    Ok(()) // The parent is gone.
}

fn start(part: &GatewayPart, words: &Sender<GatewayWord>) -> Result<Running, Failure> {
    let mut tries = 0;
    let running = loop {
        let words = words.clone();
        let started = Gateway::new(config(part)?)
            .listen(part.listen.to_string())
            .start(move |_shard| Witness { conns: HashMap::new(), words: words.clone() });
        match started {
            Ok(running) => break running,
            Err(error) if tries == RESTART_TRIES => return Err(Failure::from_library(&error)),
            Err(_) => tries += 1,
        }
        thread::sleep(RESTART_AGAIN_AFTER);
    };
    let _ = words.send(GatewayWord::Listening(Listening {
        backend: running.backend().name().to_owned(),
        reason: running.backend_reason().to_owned(),
        deadlines: running.deadlines().name().to_owned(),
        conns_max: u64::from(running.conns_per_shard_max()) * running.shards() as u64,
    }));
    Ok(running)
}

fn config(part: &GatewayPart) -> Result<Config, Failure> {
    let backend: BackendChoice = part.backend.parse().map_err(|error| Failure::from_library(&error))?;
    Ok(Config {
        dead_within: part.dead_within,
        backend,
        shards: Some(part.shards),
        // The fleet shares the cores: a pinned shard would wait behind it.
        pin: false,
        handle_signals: false,
        ..Config::default()
    })
}

fn drain(running: Running, words: &Sender<GatewayWord>) -> Result<(), Failure> {
    running.stop();
    let summary = running.join().map_err(|error| Failure::from_library(&error))?;
    let look =
        Look { conns: summary.stats.accepted - summary.stats.closed_total(), ..look_at(&summary.stats) };
    let _ = words.send(GatewayWord::Drained { look, ledger_open: summary.ledger_open });
    Ok(())
}

fn look(snapshot: &Snapshot) -> Look {
    let states = snapshot.states();
    let conns = states.greeting + states.live + states.overdue + states.grace + states.closing;
    Look {
        silent_shards: snapshot.silent().count(),
        conns: u64::from(conns),
        open_total: snapshot.answered().map(|shard| shard.open_total + shard.ledger.open_total()).sum(),
        ops: snapshot
            .answered()
            .map(|shard| {
                let sockets = u64::from(shard.ledger.sockets) + u64::from(shard.ledger.listeners);
                shard.ledger.open_total() - sockets
            })
            .sum(),
        ..look_at(&snapshot.stats())
    }
}

fn look_at(stats: &Stats) -> Look {
    Look {
        accepted: stats.accepted,
        closed: stats
            .closed_by_cause()
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| (cause.to_owned(), count))
            .collect(),
        early: stats.early,
        stalls: stats.stalls,
        postponed: stats.postponed,
        accept_back_offs: stats.accept_back_offs,
        ..Look::default()
    }
}

/// Writes what is said, so that no shard ever waits for a pipe.
fn speak(spoken: &Receiver<GatewayWord>) {
    let mut out = BufWriter::new(io::stdout().lock());
    while let Ok(word) = spoken.recv() {
        for word in std::iter::once(word).chain(spoken.try_iter()) {
            let written = serde_json::to_writer(&mut out, &word).map_err(io::Error::from);
            if written.and_then(|()| out.write_all(b"\n")).is_err() {
                return; // The parent is gone.
            }
        }
        if out.flush().is_err() {
            return;
        }
    }
}

/// The handler of one shard.
struct Witness {
    conns: HashMap<ConnId, Known>,
    words: Sender<GatewayWord>,
}

/// What is known of a connection.
#[derive(Default)]
struct Known {
    device: Option<u32>,
    frames: u32,
    garbled: u32,
    bytes_owed: u32,
}

impl Known {
    fn take_in(&mut self, frame: &[u8]) {
        let next = |device| Message::Data { device, counter: self.frames };
        match Message::parse(frame) {
            Some(Message::Hello { device }) if self.device.is_none() => self.device = Some(device),
            Some(Message::Ask { bytes }) => self.bytes_owed = bytes,
            Some(data) if self.device.map(next) == Some(data) => self.frames += 1,
            Some(_) | None => self.garbled += 1,
        }
    }
}

impl Witness {
    fn take_in(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let known = self.conns.entry(conn.id()).or_default();
        let greeted = known.device.is_some();
        known.take_in(frame);
        if !greeted && known.device.is_some() {
            let _ = conn.send(LengthPrefixed::encode(frame)); // Its queue is empty, or it is ending.
        }
        self.pay(conn);
    }

    /// Sends what a device has asked for, as far as its queue takes it.
    fn pay(&mut self, conn: &mut Conn<'_>) {
        let Some(known) = self.conns.get_mut(&conn.id()) else { return };
        while known.bytes_owed > 0 && conn.send(Bytes::from_static(PORTION)).is_ok() {
            known.bytes_owed = known.bytes_owed.saturating_sub(PORTION.len() as u32);
        }
    }
}

impl Handler for Witness {
    type Protocol = LengthPrefixed;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.conns.insert(conn.id(), Known::default());
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        self.take_in(conn, frame);
    }

    fn late(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        self.take_in(conn, frame);
    }

    fn writable(&mut self, conn: &mut Conn<'_>) {
        self.pay(conn);
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let Known { device, frames, garbled, .. } = self.conns.remove(&conn.id()).unwrap_or_default();
        // Nobody listens only if the process ends.
        let _ = self.words.send(GatewayWord::Ended(Ending {
            device,
            cause: closed.cause.name().to_owned(),
            decided_at: closed.decided_at.as_nanos(),
            frames,
            garbled,
        }));
    }
}
