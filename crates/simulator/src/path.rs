//! Paths that fail: they are cut and mended, and our kernel gives up on who cannot be reached.

use std::rc::Rc;
use std::time::Duration;

use heartring_core::{Errno, Instant};
use heartring_sim::World;

use crate::character::Character;
use crate::client::Stage;
use crate::mishap::Mishap;
use crate::plan::up_to;
use crate::record::Act;
use crate::scene::{SceneRef, land, look};

/// The path to a client is gone.
pub(crate) fn cut(scene: &SceneRef, number: u32, world: &World) {
    {
        let scene = &mut *scene.borrow_mut();
        let client = &mut scene.clients[number as usize];
        if client.stage == Stage::Gone || client.cut_since.is_some() {
            return;
        }
        client.cut(world.now());
        scene.count(Mishap::Outage);
    }
    expect_time_out(scene, number, world);
}

/// The path is back.
pub(crate) fn mend(scene: &SceneRef, number: u32, world: &World) {
    scene.borrow_mut().clients[number as usize].mend(world.now());
    land(scene, number, world);
    look(scene, number, world);
}

/// Our kernel gives up on a peer that it does not reach, when the options of the listener say so.
pub(crate) fn expect_time_out(scene: &SceneRef, number: u32, world: &World) {
    let (at, errno, since) = {
        let scene = &mut *scene.borrow_mut();
        let client = &mut scene.clients[number as usize];
        let is_back = client.character == Character::Rebooting && client.stage == Stage::Gone;
        let liveness = &scene.plan.liveness;
        let Some(keepalive) = liveness.keepalive else { return };
        let idle = Duration::from_secs(u64::from(keepalive.idle_s));
        let interval = Duration::from_secs(u64::from(keepalive.interval_s));
        let (after, errno) = match liveness.user_timeout {
            // The first probe is answered by a machine that knows nothing of it.
            _ if is_back => (idle, Errno::ECONNRESET),
            Some(user_timeout) => (user_timeout.max(idle + interval), Errno::ETIMEDOUT),
            None => (keepalive.nominal_bound(), Errno::ETIMEDOUT),
        };
        let unreachable = errno == Errno::ETIMEDOUT && scene.dice.one_in(4);
        let errno =
            if unreachable { *scene.dice.pick(&[Errno::EHOSTUNREACH, Errno::ENETUNREACH]) } else { errno };
        // The kernel's timers are up to an eighth late, and never early.
        (world.now() + after + up_to(&mut scene.dice, after / 8), errno, client.cut_since)
    };
    let scene = Rc::clone(scene);
    world.at(at, move |world| time_out(&scene, number, world.now(), errno, since));
}

fn time_out(scene: &SceneRef, number: u32, now: Instant, errno: Errno, since: Option<Instant>) {
    let scene = &mut *scene.borrow_mut();
    let client = &mut scene.clients[number as usize];
    if client.cut_since != since || client.truth.acts.iter().any(|(_, act)| matches!(act, Act::PathFailed(_)))
    {
        return;
    }
    let (act, mishap) = match errno {
        Errno::ECONNRESET => (Act::Reset, Mishap::ProbeReset),
        Errno::ETIMEDOUT => (Act::PathFailed(errno), Mishap::TimedOut),
        _ => (Act::PathFailed(errno), Mishap::Unreachable),
    };
    client.act(now, act);
    client.peer.fail(errno);
    scene.count(mishap);
    scene.journal.borrow_mut().step(now, format_args!("our kernel gives up on client {number}: {errno:?}"));
}
