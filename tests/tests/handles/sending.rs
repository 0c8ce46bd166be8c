//! To connections and to identities.

use std::collections::BTreeSet;

use heartring::{Bytes, Cause, ShardId};
use heartring_tests::{End, On};

use super::trial::{Trial, config};

/// Enough that no shard is left without, whatever the kernel's hash.
const DEVICES: usize = 64;

const SHARDS: u16 = 4;

fn shards_of(devices: &[(heartring_tests::Device, heartring::ConnAt)]) -> usize {
    devices.iter().map(|(_, at)| at.shard).collect::<BTreeSet<ShardId>>().len()
}

pub(crate) fn what_is_sent_reaches_its_connection_and_no_other(on: On) {
    let trial = Trial::begin(config(on, SHARDS));
    let mut devices = trial.devices(DEVICES);
    assert_eq!(shards_of(&devices), usize::from(SHARDS));
    for (device, at) in &devices {
        trial.handle.send(*at, format!("{}\n", device.addr()).into()).unwrap();
    }
    trial.handle.broadcast(Bytes::from_static(b"end\n")).unwrap();
    for (device, _) in &mut devices {
        let own = format!("{}\nend\n", device.addr());
        device.expect(own.as_bytes());
    }
    assert_eq!(trial.finish().stats.undelivered, 0);
}

pub(crate) fn what_is_sent_to_an_identity_reaches_its_holder_on_whichever_shard(on: On) {
    let trial = Trial::begin(config(on, SHARDS));
    let mut devices: Vec<_> = (0..DEVICES).map(|n| trial.claimant(&format!("device-{n}")).0).collect();
    for n in 0..DEVICES {
        for word in ["one", "two"] {
            let identity = format!("device-{n}");
            trial.handle.send_to(identity.as_bytes(), format!("{identity} {word}\n").into()).unwrap();
        }
    }
    for (n, device) in devices.iter_mut().enumerate() {
        device.expect(format!("device-{n} one\ndevice-{n} two\n").as_bytes());
    }
    assert_eq!(trial.finish().stats.undelivered, 0);
}

pub(crate) fn a_broadcast_reaches_every_connection_of_every_shard_once(on: On) {
    let trial = Trial::begin(config(on, SHARDS));
    let devices = trial.devices(DEVICES);
    assert_eq!(shards_of(&devices), usize::from(SHARDS));
    for word in ["once\n", "twice\n"] {
        trial.handle.broadcast(Bytes::from_static(word.as_bytes())).unwrap();
    }
    for (_, at) in &devices {
        trial.handle.close(*at).unwrap();
    }
    // To the end of the stream, so that nothing can come later.
    for (mut device, _) in devices {
        assert_eq!(device.read_to_end(), (b"once\ntwice\n".to_vec(), End::Eof));
    }
    trial.finish();
}

pub(crate) fn a_handle_closes_in_order(on: On) {
    let trial = Trial::begin(config(on, SHARDS));
    let mut devices = trial.devices(2);
    let (mut device, at) = devices.pop().unwrap();
    trial.handle.send(at, Bytes::from_static(b"good night\n")).unwrap();
    trial.handle.close(at).unwrap();
    assert_eq!(device.read_to_end(), (b"good night\n".to_vec(), End::Eof));
    let is_its = |(peer, _): &&(std::net::SocketAddr, Cause)| *peer == device.addr();
    let cause = trial.board.wait("end", |notes| notes.closed.iter().find(is_its).map(|&(_, cause)| cause));
    assert_eq!(cause, Cause::Local);
    // A second time it is another's slot, if anybody's.
    trial.handle.close(at).unwrap();
    let (other, _) = &mut devices[0];
    other.send(b"still there\n");
    other.expect(b"still there\n");
    trial.finish();
}

pub(crate) fn what_cannot_be_delivered_is_counted(on: On) {
    let trial = Trial::begin(config(on, SHARDS));
    let (mut device, at) = trial.devices(1).pop().unwrap();
    trial.handle.close(at).unwrap();
    device.read_to_end();
    trial.handle.send(at, Bytes::from_static(b"too late\n")).unwrap();
    for identity in [&b"nobody"[..], b"", &b"long".repeat(20_000)] {
        trial.handle.send_to(identity, Bytes::from_static(b"to nobody\n")).unwrap();
    }
    assert_eq!(trial.finish().stats.undelivered, 4);
}
