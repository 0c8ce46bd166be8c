//! S1: the peer goes, and says so.

use std::thread;
use std::time::Duration;

use heartring::{Cause, Errno, Lines};
use heartring_socket::now;
use heartring_tests::{Device, End, GatewayProbe, On, kernel_forgets};

/// Long enough that no deadline has a part in these tests.
const LONG: Duration = Duration::from_mins(1);

/// Far below the deadline, and far above what a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(10);

pub(crate) fn a_fin_is_known_at_once(on: On) {
    let probe = GatewayProbe::start::<Lines>(on.config(LONG));
    let mut device = Device::connect_and_send(probe.addr(), b"last words\n");
    let fin_at = now();
    device.fin();
    let closed = probe.closed_within(AT_ONCE, device.addr());
    assert_eq!((closed.cause, closed.lateness, closed.late_bytes), (Cause::PeerClosed, None, 0));
    assert!(closed.decided_at >= fin_at);
    assert_eq!(probe.frames(device.addr(), 1), [b"last words"], "what came before the FIN is delivered");
    assert_eq!(device.read_to_end(), (vec![], End::Eof), "it gets our FIN in return");
    assert_eq!(probe.finish().stats.closed("peer_closed"), 1);
}

pub(crate) fn a_reset_is_known_at_once(on: On) {
    let probe = GatewayProbe::start::<Lines>(on.config(LONG));
    let device = Device::connect_and_send(probe.addr(), b"last words\n");
    let addr = device.addr();
    probe.frames(addr, 1);
    device.reset();
    let closed = probe.closed_within(AT_ONCE, addr);
    assert_eq!((closed.cause, closed.evidence.errno), (Cause::PeerReset, Some(Errno::ECONNRESET)));
    kernel_forgets(probe.addr(), addr, AT_ONCE);
    assert_eq!(probe.finish().stats.closed("peer_reset"), 1);
}

/// Whether such a client is ever seen as a connection depends on who is faster; it is never more than one, and never disturbs.
pub(crate) fn a_reset_right_after_connect_is_counted(on: On) {
    const CLIENTS: u64 = 100;
    let probe = GatewayProbe::start::<Lines>(on.config(LONG));
    for _ in 0..CLIENTS {
        Device::connect(probe.addr()).reset();
    }
    let mut witness = Device::connect_and_send(probe.addr(), b"echo here\n");
    witness.expect(b"here\n");
    let stats = probe.finish().stats;
    assert_eq!(
        stats.accepted + stats.accept_failures,
        CLIENTS + 1,
        "each was taken from the queue: {stats:?}"
    );
    // The witness is closed because the gateway stops.
    assert_eq!(stats.closed("peer_reset") + stats.accept_failures, CLIENTS, "{stats:?}");
}

pub(crate) fn a_half_closed_peer_still_gets_its_answer(on: On) {
    let probe = GatewayProbe::start::<Lines>(on.config(LONG));
    for _ in 0..50 {
        let mut device = Device::connect_and_send(probe.addr(), b"echo and goodbye\n");
        device.fin();
        assert_eq!(device.read_to_end(), (b"and goodbye\n".to_vec(), End::Eof));
        assert_eq!(probe.closed(device.addr()).cause, Cause::PeerClosed);
    }
    probe.finish();
}

pub(crate) fn ipv6_is_served_alike(on: On) {
    let probe = GatewayProbe::start_at::<Lines>(on.config(LONG), "[::1]:0");
    let mut device = Device::connect_and_send(probe.addr(), b"echo six\n");
    assert!(device.addr().is_ipv6());
    device.expect(b"six\n");
    device.fin();
    assert_eq!(probe.closed(device.addr()).cause, Cause::PeerClosed);
    let device = Device::connect(probe.addr());
    let addr = device.addr();
    device.reset();
    assert_eq!(probe.closed(addr).cause, Cause::PeerReset);
    kernel_forgets(probe.addr(), addr, AT_ONCE);
    probe.finish();
}

/// What is queued is sent first; the peer has its time to answer with a FIN.
pub(crate) fn the_handler_can_close(on: On) {
    let mut config = on.config(LONG);
    config.overrides.drain_within = Some(AT_ONCE);
    let probe = GatewayProbe::start::<Lines>(config);
    let mut device = Device::connect_and_send(probe.addr(), b"echo farewell\nclose\necho too late\n");
    assert_eq!(device.read_to_end(), (b"farewell\n".to_vec(), End::Eof));
    assert_eq!(probe.closed(device.addr()).cause, Cause::Local);
    // Whatever it still sends is nobody's.
    thread::sleep(Duration::from_millis(50));
    let _ = device.try_send(b"still here?\n");
    drop(device);
    probe.finish();
}
