//! Claims on one shard: who holds an identity, and what becomes of the former holder.

use std::time::Duration;

use heartring_core::{Cause, ClaimError};
use heartring_sim::Saw;

use crate::recorder::Told;
use crate::world::{World, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// Every frame that is not a beat is claimed.
fn claiming(world: &mut World) {
    world.act(|conn, told| {
        if let Told::Received(frame) = told
            && let Some(identity) = frame.strip_prefix(b"i am ")
        {
            conn.claim(identity).unwrap();
        }
    });
}

#[test]
fn the_newest_claim_wins_and_the_former_holder_is_superseded() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        claiming(&mut world);
        let old = world.connect();
        old.send(b"i am pump\nfrom the old\n");
        world.run_for(SECOND);
        let new = world.connect();
        new.send(b"i am pump\nfrom the new\n");
        world.run_for(SECOND);
        assert_eq!(world.calls(&old), ["opened", "received", "claimed", "received", "closed"]);
        assert_eq!(world.calls(&new), ["opened", "received", "claimed", "received"]);
        assert_eq!(world.end_of(&old).unwrap().cause, Cause::Superseded { by: 2 });
        assert_eq!(old.saw(), Saw::Reset);
        world.finish();
    });
}

#[test]
fn what_is_no_claim_is_refused_and_changes_nothing() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let max = heartring_core::Limits::default().identity_bytes_max as usize;
        world.act(move |conn, told| match told {
            Told::Opened => {
                assert_eq!(conn.claim(b""), Err(ClaimError::Empty));
                let too_long = ClaimError::TooLong { bytes: 64 << 10, max: max as u32 };
                assert_eq!(conn.claim(&vec![b'x'; 64 << 10]), Err(too_long));
                assert_eq!(conn.claim(&vec![b'x'; max]), Ok(()));
                assert_eq!(conn.claim(b"another"), Err(ClaimError::Claimed));
            }
            Told::Closing | Told::Closed(_) => assert_eq!(conn.claim(b"late"), Err(ClaimError::Closed)),
            Told::Claimed(_) | Told::Received(_) | Told::Overdue | Told::Late(_) | Told::Writable => {}
        });
        let peer = world.connect();
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "claimed"]);
        world.finish();
    });
}
