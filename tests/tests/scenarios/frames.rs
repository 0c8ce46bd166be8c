//! Frames that never end, and frames too large to begin with.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use heartring::{Cause, Config, LengthPrefixed, Lines};
use heartring_tests::{Device, End, Fleet, GatewayProbe, On};

const FRAME_WITHIN: Duration = Duration::from_secs(1);

fn config(on: On) -> Config {
    let mut config = on.config(Duration::from_secs(20));
    config.overrides.frame_within = Some(FRAME_WITHIN);
    config
}

/// Devices that live beside what the test is about, and must go on living.
fn bystanders(gateway: SocketAddr, beat: &'static [u8]) -> (Vec<SocketAddr>, Fleet) {
    let devices: Vec<Device> = (0..5).map(|_| Device::connect(gateway)).collect();
    (devices.iter().map(Device::addr).collect(), Fleet::beat(devices, Duration::from_millis(50), beat))
}

fn check_undisturbed(probe: &GatewayProbe, (addrs, fleet): (Vec<SocketAddr>, Fleet)) {
    for addr in addrs {
        assert!(!probe.is_closed(addr), "{:?}", probe.log().of(addr));
    }
    fleet.stop();
}

pub(crate) fn half_a_frame_is_cut_by_the_frame_deadline(on: On) {
    let probe = GatewayProbe::start::<LengthPrefixed>(config(on));
    let others = bystanders(probe.addr(), &[0; 4]);
    let mut device = Device::connect_and_send(probe.addr(), &LengthPrefixed::encode(b"hello"));
    probe.frames(device.addr(), 1);
    device.send(b"\0\0\0\x10half");
    assert_eq!(device.read_to_end(), (vec![], End::Reset));
    let closed = probe.closed(device.addr());
    assert_eq!(closed.cause, Cause::FrameStalled);
    assert!(closed.decided_at >= device.spoke_at + FRAME_WITHIN, "early: {closed:?}");
    check_undisturbed(&probe, others);
    probe.finish();
}

/// Every byte is news, and none of them is a frame.
pub(crate) fn a_drip_is_cut_by_the_frame_deadline(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on));
    let others = bystanders(probe.addr(), b"\n");
    let mut device = Device::connect_and_send(probe.addr(), b"hello\n");
    probe.frames(device.addr(), 1);
    let began_at = heartring_socket::now();
    for _ in 0..1000 {
        if device.try_send(b"x").is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let closed = probe.closed_within(Duration::from_secs(1), device.addr());
    assert_eq!(closed.cause, Cause::FrameStalled);
    assert!(closed.decided_at >= began_at + FRAME_WITHIN, "early: {closed:?}");
    check_undisturbed(&probe, others);
    probe.finish();
}

pub(crate) fn a_gigabyte_is_refused_at_its_length(on: On) {
    let probe = GatewayProbe::start::<LengthPrefixed>(config(on));
    let others = bystanders(probe.addr(), &[0; 4]);
    let mut device = Device::connect_and_send(probe.addr(), &(1_u32 << 30).to_be_bytes());
    assert_eq!(device.read_to_end(), (vec![], End::Reset));
    assert_eq!(probe.closed(device.addr()).cause, Cause::TooLarge);
    check_undisturbed(&probe, others);
    probe.finish();
}

/// A decoder that waits for a newline would wait until the memory is full.
pub(crate) fn a_line_without_end_is_cut(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on));
    let others = bystanders(probe.addr(), b"\n");
    let mut device = Device::connect(probe.addr());
    let too_long = vec![b'a'; Config::default().limits.frame_bytes_max as usize + 1];
    // It may be cut before it has said everything.
    let _ = device.try_send(&too_long);
    let closed = probe.closed(device.addr());
    assert_eq!(closed.cause, Cause::TooLarge);
    // One byte less, newline included, is a frame.
    let mut device = Device::connect(probe.addr());
    device.send(&too_long[2..]);
    device.send(b"\n");
    assert_eq!(probe.frames(device.addr(), 1)[0].len(), too_long.len() - 2);
    check_undisturbed(&probe, others);
    probe.finish();
}
