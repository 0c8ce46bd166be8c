//! The configuration under which every script is played, and the slack that its timings leave.
//!
//! Scripts run in real time too, on machines that are busy with other tests. Wherever a peer has to do something before a
//! deadline it has more than a second for what takes milliseconds; wherever a deadline has to pass, nobody does anything
//! meanwhile. So the order of events is the script's, however late the thread runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use heartring_core::{BackendConfig, Config, Limits, ListenOptions, Overrides};

/// The deadline of a connection unless its script negotiates another: its beat is overdue after a tenth of it, a minute, which no
/// script lasts.
pub(crate) const UNHURRIED: Duration = Duration::from_mins(10);

/// A deadline for a peer that falls silent and speaks again: overdue after half a second, and then 4.5 s to speak.
pub(crate) const WATCHFUL: Duration = Duration::from_secs(5);

/// A deadline for a peer that falls silent for good: overdue after 100 ms, dead 900 ms later. What was sent to it before must lie
/// well before the first of these, since the verdict asks whether it was sent anything after it.
pub(crate) const FATAL: Duration = Duration::from_secs(1);

/// How long what is said late is still delivered.
const GRACE: Duration = Duration::from_millis(1500);

/// For a first frame, for the rest of a frame, for a peer to read again and for its FIN.
const PATIENCE: Duration = Duration::from_secs(2);

/// Frames above this are too large.
pub(crate) const FRAME_BYTES_MAX: usize = 4096;

/// More than all the buffers between the two programs hold, and more than `send_queue_high`.
pub(crate) const FLOOD_BYTES: usize = 1 << 20;

/// Bytes of a socket's send buffer: small, so that it can be filled.
const SEND_BUFFER_BYTES: u32 = 64 << 10;

/// Connections at once: more than any batch of scripts has.
pub(crate) const CONNS_MAX: u32 = 512;

/// The gateway's configuration.
pub(crate) fn config() -> Config {
    Config {
        dead_within: UNHURRIED,
        overrides: Overrides {
            // A thread that was away gives every peer another beat: short, so that postponed verdicts still come.
            beat_every: Some(Duration::from_millis(50)),
            stall_tolerance: Some(Duration::from_millis(100)),
            overdue_after: Some(UNHURRIED / 10),
            grace: Some(GRACE),
            hello_within: Some(PATIENCE),
            frame_within: Some(PATIENCE),
            send_stall_within: Some(PATIENCE),
            drain_within: Some(PATIENCE),
            // The simulator has no TCP that could give up by itself.
            user_timeout: Some(None),
            keepalive: Some(None),
            rto_max: Some(None),
        },
        limits: Limits {
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            send_queue_bytes_max: 2 * FLOOD_BYTES as u32,
            send_queue_high: FLOOD_BYTES as u32 / 4,
            send_queue_low: FLOOD_BYTES as u32 / 16,
            ..Limits::default()
        },
        ..Config::default()
    }
}

/// The backend's.
pub(crate) fn backend_config() -> BackendConfig {
    BackendConfig { slots: config().limits.slots_for(CONNS_MAX, 1), ..BackendConfig::default() }
}

/// The listener's.
pub(crate) fn listen_options() -> ListenOptions {
    ListenOptions { send_buffer_bytes: Some(SEND_BUFFER_BYTES), ..ListenOptions::default() }
}

/// Where it listens.
pub(crate) fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
