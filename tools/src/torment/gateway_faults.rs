//! What is done to the gateway's process.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};

use super::episode::{Deeds, Group};
use super::judge::Fate;
use super::pressure::Pressure;
use super::stage::{Stage, Stop};
use super::words::{Act, GatewayOrder};
use crate::footprint::descriptors_of;

/// All receive buffers of a shard together, as the gateway's backend has them: 1024 of 2 KiB.
const BUFFERS_BYTES: u32 = 2 << 20;
/// Completions that a ring of the gateway's backend holds.
const COMPLETIONS_MAX: u32 = 8192;
/// A device's frame with its length.
const FRAME_BYTES: u32 = 68;
/// What one device may have unread at its gateway before TCP holds it back: less than the kernel's first receive buffer.
const UNREAD_MAX: u32 = 48 << 10;
/// From the end of a shortage until all who waited are served: the gateway looks again after half a second at the latest, and
/// a SYN that met a full queue comes again after one and two seconds more.
const RECOVERS_WITHIN: Duration = Duration::from_secs(4);
/// How long it takes a flood to be read, at a pace that any machine keeps.
const READ_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn gateway_frozen(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let victims = stage.connect(stage.sizes.victims, false)?;
    stage.freeze_gateway()?;
    let waited = stage.pause(stage.liveness.dead_within * 3);
    stage.thaw_gateway()?;
    waited?;
    // Whoever is going to be blamed for it is blamed by then.
    stage.pause(stage.liveness.dead_within + stage.liveness.beat_every)?;
    Ok(Deeds::of(victims, Fate::Lives))
}

pub(super) fn gateway_restart(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let victims = stage.connect(stage.sizes.victims, false)?;
    let from = Stage::now().as_nanos();
    let (look, ledger_open) = stage.drain(&GatewayOrder::Restart)?;
    let since = Some((from, Stage::now().as_nanos()));
    let mut group = Group::new(victims.clone(), Fate::EndsAtOnce { causes: &["draining"], since });
    // They belong to the life that has ended.
    group.truths = Some(stage.tell(victims)?);
    stage.end_life(&look, ledger_open);
    stage.await_listening()?;
    let back = stage.begin_to_connect(stage.sizes.victims)?;
    stage.populate()?;
    stage.await_served(&back, RECOVERS_WITHIN)?;
    let note = Some(format!("{} came back at once", back.len() + stage.healthy_devices.len()));
    Ok(Deeds { groups: vec![group, Group::new(back, Fate::Lives)], restarted: true, note })
}

/// The soft limit becomes what it has open. Devices that come wait in the kernel's queue, those inside are served.
pub(super) fn no_descriptors(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let inside = stage.connect(stage.sizes.victims / 2, false)?;
    let pid = Some(stage.gateway.pid());
    let open = descriptors_of(&stage.gateway.name()) as u64;
    let impossible = |error: rustix::io::Errno| Stop::Impossible(format!("prlimit: {error}"));
    let old = rustix::process::getrlimit(Resource::Nofile);
    let none_left = Rlimit { current: Some(open), maximum: old.maximum };
    let former = prlimit(pid, Resource::Nofile, none_left).map_err(impossible)?;
    let outside = stage.begin_to_connect(stage.sizes.victims / 2)?;
    let waited = stage.pause(stage.liveness.dead_within / 2);
    let waiting = outside.len() as u32 - stage.victims.count(outside.clone())?.served;
    prlimit(pid, Resource::Nofile, former).map_err(impossible)?;
    waited?;
    stage.await_served(&outside, RECOVERS_WITHIN)?;
    let note = Some(if waiting == 0 {
        "none waited: its connections take no descriptors of the process".to_owned()
    } else {
        format!("{waiting} waited")
    });
    let groups = vec![Group::new(inside, Fate::Lives), Group::new(outside, Fate::Lives)];
    Ok(Deeds { groups, note, ..Deeds::default() })
}

pub(super) fn no_memory(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let pressure = Pressure::prepare(stage.gateway.pid()).map_err(Stop::Impossible)?;
    let victims = stage.connect(stage.sizes.victims, false)?;
    let limited = pressure.apply().map_err(Stop::Impossible)?;
    // Frozen for a moment, its sockets fill beyond what they may hold.
    stage.freeze_gateway()?;
    let flooded = stage.victims.act(victims.clone(), Act::Flood { frames: frames_each(stage) });
    let waited = stage.pause(stage.liveness.stall_tolerance * 2);
    stage.thaw_gateway()?;
    flooded?;
    waited?;
    stage.pause(stage.liveness.dead_within)?;
    drop(pressure);
    await_sent(stage, &victims)?;
    Ok(Deeds { note: Some(limited), ..Deeds::of(victims, Fate::MayFallSilent) })
}

pub(super) fn buffers_exhausted(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let victims = stage.connect(stage.sizes.victims, false)?;
    stage.freeze_gateway()?;
    let frames = frames_each(stage);
    let flooded = stage.victims.act(victims.clone(), Act::Flood { frames });
    let waited = stage.pause(stage.liveness.stall_tolerance * 2);
    stage.thaw_gateway()?;
    flooded?;
    waited?;
    await_sent(stage, &victims)?;
    let sent = frames * FRAME_BYTES * victims.len() as u32;
    let note = Some(format!("{} KiB at once into buffers of {} KiB", sent >> 10, BUFFERS_BYTES >> 10));
    Ok(Deeds { note, ..Deeds::of(victims, Fate::Lives) })
}

pub(super) fn completion_burst(stage: &mut Stage<'_>) -> Result<Deeds, Stop> {
    let victims = stage.connect(stage.sizes.victims, false)?;
    stage.freeze_gateway()?;
    let from = Stage::now().as_nanos();
    let burst = stage
        .victims
        .act(victims.clone(), Act::Flood { frames: 8 })
        .and_then(|()| stage.victims.act(victims.clone(), Act::Reset));
    let waited = stage.pause(stage.liveness.stall_tolerance * 2);
    stage.thaw_gateway()?;
    burst?;
    waited?;
    let since = Some((from, Stage::now().as_nanos()));
    let count = victims.len() as u32 * 2;
    let note = Some(format!(
        "{count} completions at once for a queue of {COMPLETIONS_MAX}{}",
        if count <= COMPLETIONS_MAX { ", which --devices 5000 would overflow" } else { "" }
    ));
    Ok(Deeds { note, ..Deeds::of(victims, Fate::EndsAtOnce { causes: &["peer_reset"], since }) })
}

/// Twice what the buffers of all shards hold, as far as TCP lets a device send it.
fn frames_each(stage: &Stage<'_>) -> u32 {
    let shards = u32::from(stage.sizes.shards);
    (2 * BUFFERS_BYTES * shards / stage.sizes.victims).min(UNREAD_MAX) / FRAME_BYTES
}

fn await_sent(stage: &mut Stage<'_>, victims: &std::ops::Range<u32>) -> Result<bool, Stop> {
    stage.until(READ_WITHIN, |stage| {
        let counts = stage.victims.count(victims.clone())?;
        Ok(counts.sent == counts.open)
    })
}
