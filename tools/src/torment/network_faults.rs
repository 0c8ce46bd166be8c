//! What befalls the wire, and those who vanish from it.

use std::time::Duration;

use heartring::Liveness;
use rustix::net::{AddressFamily, SocketType, socket};

use super::episode::Deeds;
use super::judge::Fate;
use super::network::Loss;
use super::stage::{Stage, Stop};
use super::words::Act;
use crate::duration::show;
use crate::random::Random;
use crate::silent_death::SilentDeath;

/// How often the interface goes down.
const FLAPS: u32 = 3;

pub(super) fn silent_deaths(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    may_vanish(stage)?;
    let victims = stage.connect(stage.sizes.victims, false)?;
    stage.network.hush().map_err(Stop::Impossible)?;
    // Some in each tenth of two beats, so that they die in every phase of it.
    let some = (victims.len() / 20).max(1);
    for first in victims.clone().step_by(some) {
        stage.victims.act(first..(first + some as u32).min(victims.end), Act::Vanish)?;
        stage.pause(stage.liveness.beat_every / 10)?;
    }
    Ok(Deeds::of(victims, Fate::FallsSilent { since: None }))
}

pub(super) fn mass_death(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    may_vanish(stage)?;
    let victims = stage.connect(stage.sizes.victims, false)?;
    stage.network.hush().map_err(Stop::Impossible)?;
    stage.victims.act(victims.clone(), Act::Vanish)?;
    Ok(Deeds::of(victims, Fate::FallsSilent { since: None }))
}

fn may_vanish(stage: &Stage<'_>) -> Result<(), Stop> {
    stage.network.can_lose().map_err(Stop::Impossible)?;
    let probe = socket(AddressFamily::INET, SocketType::STREAM, None);
    match (probe.is_ok(), SilentDeath::available()) {
        (true, SilentDeath::TcpRepair) => Ok(()),
        (_, SilentDeath::TcpRepair | SilentDeath::Forgotten) => {
            Err(Stop::Impossible("TCP_REPAIR takes CAP_NET_ADMIN".to_owned()))
        }
    }
}

pub(super) fn outage_healed(stage: &mut Stage<'_>, random: &mut Random) -> Result<Deeds, Stop> {
    let survived = stage.liveness.outage_survived();
    stage.network.can_lose().map_err(Stop::Impossible)?;
    let victims = stage.connect(stage.sizes.victims, false)?;
    // A tenth is left for the machine: the programs that cut and heal take their time, and so do wake-ups.
    let outage = random.between(survived / 2, survived.mul_f64(0.9));
    let began = Stage::now();
    stage.network.lose(Loss::All).map_err(Stop::Impossible)?;
    let cut = Stage::now();
    let spent = cut.saturating_since(began);
    stage.pause(outage.saturating_sub(spent * 2))?;
    stage.network.heal().map_err(Stop::Impossible)?;
    let lasted = Stage::now().saturating_since(began);
    // Whoever is going to be given up for it is given up by then.
    stage.pause(stage.liveness.dead_within + stage.liveness.beat_every)?;
    let fate = if lasted <= survived { Fate::Lives } else { Fate::MayFallSilent };
    let note = Some(format!("{} of {} that are survived", show(lasted), show(survived)));
    Ok(Deeds { note, ..Deeds::of(victims, fate) })
}

pub(super) fn outage_fatal(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    stage.network.can_lose().map_err(Stop::Impossible)?;
    let victims = stage.connect(stage.sizes.victims, false)?;
    let from = Stage::now().as_nanos();
    stage.network.lose(Loss::All).map_err(Stop::Impossible)?;
    let since = Some((from, Stage::now().as_nanos()));
    let all = victims.len();
    let known = stage.liveness.dead_within + stage.liveness.grace + Duration::from_secs(5);
    stage.until(known, |stage| Ok(stage.reported(&victims) == all))?;
    // The other side of it is asked before it learns from a reset what has become of it.
    Ok(Deeds::of(victims, Fate::FallsSilent { since }))
}

pub(super) fn link_flaps(stage: &mut Stage<'_>, random: &mut Random) -> Result<Deeds, Stop> {
    let Liveness { dead_within, beat_every, .. } = stage.liveness;
    let survived = stage.liveness.outage_survived();
    let victims = stage.connect(stage.sizes.victims, false)?;
    let mut worst = Duration::ZERO;
    for _ in 0..FLAPS {
        let began = Stage::now();
        stage.network.plug(false).map_err(Stop::Impossible)?;
        stage.pause(random.between(Duration::ZERO, survived / 2))?;
        stage.network.plug(true).map_err(Stop::Impossible)?;
        stage.until(dead_within, |stage| {
            let counts = stage.victims.count(victims.clone())?;
            Ok(counts.sent == counts.open)
        })?;
        worst = worst.max(Stage::now().saturating_since(began));
        // The next flap is another outage, not a part of this one.
        stage.pause(dead_within)?;
    }
    // An interface that is up again need not carry anything at once: the kernel starts its queue when it comes to it, up to a
    // second later. What counts is when everything that was held up had been acknowledged.
    let fate = if worst + beat_every < dead_within { Fate::Lives } else { Fate::MayFallSilent };
    let note = Some(format!("{FLAPS} flaps, the longest {} until all had come through", show(worst)));
    Ok(Deeds { note, ..Deeds::of(victims, fate) })
}

pub(super) fn packet_loss(stage: &mut Stage<'_>, random: &mut Random) -> Result<Deeds, Stop> {
    stage.network.can_lose().map_err(Stop::Impossible)?;
    let victims = stage.connect(stage.sizes.victims, false)?;
    let percent = 2 + random.below(14);
    stage.network.lose(Loss::Percent(percent)).map_err(Stop::Impossible)?;
    stage.pause(stage.liveness.dead_within * 2)?;
    stage.network.heal().map_err(Stop::Impossible)?;
    // What was lost is sent again; whoever was unlucky is given up by then.
    stage.pause(stage.liveness.dead_within + stage.liveness.beat_every)?;
    let dead = stage.reported(&victims);
    let note = Some(format!("{percent} % lost in each direction, {dead} devices given up"));
    Ok(Deeds { note, ..Deeds::of(victims, Fate::MayFallSilent) })
}
