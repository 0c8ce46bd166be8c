//! What devices do, and what is done to their processes.

use std::ops::Range;
use std::time::Duration;

use rustix::process::Signal;

use super::episode::{Deeds, Group};
use super::judge::Fate;
use super::stage::{Stage, Stop};
use super::words::Act;

const WAVES: u32 = 5;
/// More than the socket buffers and the gateway's queue hold.
const ASKED_BYTES: u32 = 8 << 20;
/// The gateway's kernel takes the first bytes, until its buffer is full as well.
const FILLED_WITHIN: Duration = Duration::from_millis(500);

pub(super) fn rst_storm(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let mut deeds = Deeds::default();
    for _ in 0..WAVES {
        let wave = stage.connect((stage.sizes.victims / WAVES).max(1), false)?;
        stage.victims.act(wave.clone(), Act::Reset)?;
        deeds.groups.push(Group::new(wave, Fate::EndsAtOnce { causes: &["peer_reset"], since: None }));
    }
    Ok(deeds)
}

/// A kernel that cleans up after a process sends FIN, or RST where something lay unread.
pub(super) fn fleet_killed(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let victims = stage.connect(stage.sizes.victims, false)?;
    stage.pause(stage.liveness.beat_every)?;
    let truths = stage.tell(victims.clone())?;
    let from = Stage::now().as_nanos();
    stage.victims.kill(&stage.network.victims)?;
    let since = Some((from, Stage::now().as_nanos()));
    let mut group = Group::new(victims, Fate::EndsAtOnce { causes: &["peer_closed", "peer_reset"], since });
    // They went on beating between their account and their end.
    group.truths = Some(truths);
    Ok(Deeds { groups: vec![group], ..Deeds::default() })
}

pub(super) fn fleet_frozen(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let victims = stage.connect(stage.sizes.victims, false)?;
    let from = Stage::now().as_nanos();
    stage.victims.signal(Signal::STOP)?;
    let since = Some((from, Stage::now().as_nanos()));
    let all = victims.len();
    let known = stage.liveness.dead_within + stage.liveness.grace + Duration::from_secs(5);
    let waited = stage.until(known, |stage| Ok(stage.reported(&victims) == all));
    stage.victims.signal(Signal::CONT)?;
    waited?;
    Ok(Deeds::of(victims, Fate::FallsSilent { since }))
}

pub(super) fn slow_consumers(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let after = stage.liveness.send_stall_within;
    let fate = Fate::Ends { cause: "slow_consumer", after, slack: FILLED_WITHIN };
    misbehave(stage, true, Act::Ask { bytes: ASKED_BYTES }, fate)
}

pub(super) fn drip_feeders(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let after = stage.liveness.frame_within;
    misbehave(stage, false, Act::Drip, Fate::Ends { cause: "frame_stalled", after, slack: Duration::ZERO })
}

pub(super) fn garbage(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    misbehave(stage, false, Act::Garbage, Fate::EndsAtOnce { causes: &["too_large"], since: None })
}

fn misbehave(stage: &mut Stage<'_>, small: bool, act: Act, fate: Fate) -> Result<Deeds, Stop> {
    let victims: Range<u32> = stage.connect(stage.sizes.victims, small)?;
    stage.victims.act(victims.clone(), act)?;
    Ok(Deeds::of(victims, fate))
}
