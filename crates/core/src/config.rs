//! Everything a gateway can be told, with the reason for each default.

use std::str::FromStr;
use std::time::Duration;

use crate::config_error::ConfigError;
use crate::id::ConnId;
use crate::listen::ListenOptions;
use crate::liveness::{DEAD_WITHIN_MAX, DEAD_WITHIN_MIN, Liveness, Overrides};
use crate::partition::FlapGuard;

/// The configuration of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// By when a peer that vanished must be known dead. The one knob: all other timings follow from it.
    pub dead_within: Duration,
    /// Timings set by hand.
    pub overrides: Overrides,
    /// Which backend to take.
    pub backend: BackendChoice,
    /// Who keeps the deadlines; `None` takes what suits the backend: `Linked` on io_uring, `Sweep` on epoll.
    pub deadlines: Option<DeadlineStrategy>,
    /// How many shards; `None` starts one per core. There may be more than cores: a ring holds at most about 25 000
    /// connections well.
    pub shards: Option<u16>,
    /// Whether each shard's thread is pinned to a core. It keeps a shard's memory in one cache; switch it off where other
    /// programs share the cores.
    pub pin: bool,
    /// Upper bounds of everything that grows.
    pub limits: Limits,
    /// How long completions may wait for company before a shard wakes; see
    /// [`BackendConfig::batch_within`](crate::BackendConfig::batch_within).
    pub batch_within: Duration,
    /// How often [`Handler::tick`](crate::Handler::tick) is called; `None`: never. A 10 ms tick costs 2.5 ms of CPU per idle
    /// second.
    pub tick_every: Option<Duration>,
    /// Whether a connection must claim an identity within `hello_within` of its connect. If not, its first valid frame is
    /// enough.
    pub claim_required: bool,
    /// When an identity that is taken over again and again is left with its holder for a while; `None`: never.
    pub flap_guard: Option<FlapGuard>,
    /// When a shard counts as stuck, and what is done about it; `None`: nobody looks.
    pub watchdog: Option<Watchdog>,
    /// See [`ListenOptions::backlog`].
    pub backlog: u32,
    /// See [`ListenOptions::send_buffer_bytes`]. What the kernel holds for a slow peer is old: a state that is sent with
    /// [`Conn::send_latest`](crate::Conn::send_latest) no longer gives way to a newer one there.
    pub send_buffer_bytes: Option<u32>,
    /// See [`ListenOptions::congestion_control`].
    pub congestion_control: Option<String>,
    /// Whether `Gateway::run` ends the gateway in order on SIGINT and SIGTERM.
    pub handle_signals: bool,
}

/// Which backend a gateway takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// io_uring where it is allowed and able, otherwise epoll; the log says which and why.
    #[default]
    Auto,
    /// io_uring, or an error that says why not.
    Uring,
    /// epoll.
    Epoll,
}

impl FromStr for BackendChoice {
    type Err = ConfigError;

    /// Reads `auto`, `uring` or `epoll`.
    fn from_str(name: &str) -> Result<Self, ConfigError> {
        match name {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            other => {
                Err(ConfigError::new(format!("{other:?} is no backend; there are auto, uring and epoll")))
            }
        }
    }
}

/// Who keeps the heartbeat deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineStrategy {
    /// A sweep of the dense array finds whose beat is overdue; only then does the deadline go into the kernel, as a poll
    /// with a linked timeout. What a busy ring has not told 65.5 µs later, the sweep finds.
    Linked,
    /// Every recv carries a linked timeout, re-armed for the remainder when it fires early.
    Lease,
    /// A sweep of the dense array, and no timeout in the kernel.
    Sweep,
}

impl DeadlineStrategy {
    /// The name in flags and reports: `linked`, `lease` or `sweep`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Lease => "lease",
            Self::Sweep => "sweep",
        }
    }
}

/// The look after shards that do not turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// How long one turn may take before the shard is reported as stuck. One second: a handler that blocks that long keeps
    /// 25 000 peers waiting.
    pub stuck_after: Duration,
    /// Whether the listeners of a stuck shard are closed until it turns again, so that the other shards get its clients. The
    /// kernel resets those that wait already, unless `net.ipv4.tcp_migrate_req` is 1.
    pub close_listeners: bool,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { stuck_after: Duration::from_secs(1), close_listeners: false }
    }
}

/// Upper bounds. At each of them a peer is refused with a cause and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the gateway in all. It is divided evenly over the shards, which share no counter. `None`: as many as
    /// the descriptors of the process allow.
    pub conns_max: Option<u32>,
    /// Connections of one shard. 25 000: cancelling an op walks a hash chain of in-flight ops / 256, 10 µs at 30 000.
    pub conns_per_shard_max: u32,
    /// Connections of one source on one shard; `None`: no limit. Shards count for themselves, and the kernel spreads a
    /// source's connections over them.
    pub conns_per_source_max: Option<u32>,
    /// How many bits of an IPv4 address make a source. 32: a host, or everybody behind one NAT.
    pub source_prefix_v4: u8,
    /// How many bits of an IPv6 address make a source. 64: a site, since a host has all addresses of its /64.
    pub source_prefix_v6: u8,
    /// Clients that are taken from the kernel's queue per second, all shards together; `None`: no limit. Those beyond it
    /// wait there, and are not reset.
    pub accepts_per_second: Option<u32>,
    /// How many clients are taken at once after a quiet time, all shards together; at least one per shard and listener, so
    /// that no listener is left without an accept.
    pub accept_burst: u32,
    /// Bytes of an identity. 1024: longer than any device id, and a bound for what the directory holds.
    pub identity_bytes_max: u32,
    /// Bytes held back per connection while its claim is undecided: 256 KiB.
    pub held_bytes_max: u32,
    /// Letters in the mailbox of a shard: 4096, some 400 KiB. What does not fit waits with its sender.
    pub mailbox_letters_max: u32,
    /// Messages of handlers that wait for one other shard to take its mail.
    pub outbox_letters_max: u32,
    /// Accepts in flight per listener. Each costs a slot; together they are how many clients one turn can take.
    pub accepts_in_flight: u32,
    /// Bytes of one frame. 64 KiB holds what devices and games send; a frame is copied only if it arrives in pieces.
    pub frame_bytes_max: u32,
    /// Bytes of all partial frames of one shard, so that half frames cannot fill the memory: 64 MiB.
    pub partial_bytes_max: u64,
    /// Bytes queued for one connection, what is in flight included: 256 KiB. A send beyond it is refused to the caller.
    pub send_queue_bytes_max: u32,
    /// Above this a connection is congested...
    pub send_queue_high: u32,
    /// ...and below this no longer: [`Handler::writable`](crate::Handler::writable) is called.
    pub send_queue_low: u32,
    /// Shortest deadline that a connection may negotiate for itself.
    pub dead_within_min: Duration,
    /// Longest deadline that a connection may negotiate for itself.
    pub dead_within_max: Duration,
    /// Verdicts handled in one turn, so that a mass death does not keep the living waiting. 1024 take about a millisecond.
    pub verdicts_per_turn_max: u32,
    /// Watches that a shard has in the kernel at one time (`linked`). For whoever is overdue beyond that the sweep judges: the kernel
    /// takes every timeout back by itself, some 7 µs each, and when a whole fleet dies at once nobody is told before all are.
    pub watches_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            conns_max: None,
            conns_per_shard_max: 25_000,
            conns_per_source_max: None,
            source_prefix_v4: 32,
            source_prefix_v6: 64,
            accepts_per_second: None,
            accept_burst: 256,
            identity_bytes_max: 1024,
            held_bytes_max: 256 << 10,
            mailbox_letters_max: 4096,
            outbox_letters_max: 4096,
            accepts_in_flight: 32,
            frame_bytes_max: 64 << 10,
            partial_bytes_max: 64 << 20,
            send_queue_bytes_max: 256 << 10,
            send_queue_high: 128 << 10,
            send_queue_low: 32 << 10,
            dead_within_min: DEAD_WITHIN_MIN,
            dead_within_max: DEAD_WITHIN_MAX,
            verdicts_per_turn_max: 1024,
            watches_max: 256,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dead_within: Duration::from_secs(30),
            overrides: Overrides::default(),
            backend: BackendChoice::Auto,
            deadlines: None,
            shards: None,
            pin: true,
            limits: Limits::default(),
            batch_within: Duration::ZERO,
            tick_every: None,
            claim_required: false,
            flap_guard: Some(FlapGuard::default()),
            watchdog: Some(Watchdog::default()),
            backlog: ListenOptions::default().backlog,
            send_buffer_bytes: None,
            congestion_control: None,
            handle_signals: true,
        }
    }
}

impl Config {
    /// The timings that follow from `dead_within` and `overrides`.
    ///
    /// # Errors
    ///
    /// Timings that contradict each other.
    pub fn liveness(&self) -> Result<Liveness, ConfigError> {
        Liveness::derive(self.dead_within, &self.overrides)
    }

    /// Refuses a configuration that cannot work on any machine. What this machine lacks is found when the gateway starts.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work, and what to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.liveness()?;
        self.limits.validate()?;
        let refuse = |wrong: bool, why: &str| if wrong { Err(ConfigError::new(why)) } else { Ok(()) };
        refuse(self.shards == Some(0), "shards is 0; leave it out for one per core")?;
        refuse(
            self.tick_every.is_some_and(|every| every < Duration::from_millis(1)),
            "tick_every is below 1ms; a tick that short is a busy loop",
        )?;
        refuse(
            self.batch_within > Duration::from_millis(100),
            "batch_within is above 100ms; batching saves nothing beyond about 5ms",
        )?;
        refuse(
            self.flap_guard.is_some_and(|guard| guard.window.is_zero() || guard.cool_down.is_zero()),
            "flap_guard has a window or a cool_down of zero; set it to None to have none",
        )?;
        refuse(
            self.watchdog.is_some_and(|watchdog| watchdog.stuck_after < Duration::from_millis(10)),
            "watchdog.stuck_after is below 10ms; the machine itself takes that long now and then",
        )?;
        refuse(self.backlog == 0, "backlog is 0; choose at least 128")
    }

    /// The options of the listening sockets.
    ///
    /// # Errors
    ///
    /// As [`Config::liveness`].
    pub fn listen_options(&self) -> Result<ListenOptions, ConfigError> {
        let liveness = self.liveness()?;
        Ok(ListenOptions {
            backlog: self.backlog,
            keepalive: liveness.keepalive,
            user_timeout: liveness.user_timeout,
            rto_max: liveness.rto_max,
            nodelay: true,
            reuse_port: true,
            receive_buffer_bytes: None,
            send_buffer_bytes: self.send_buffer_bytes,
            congestion_control: self.congestion_control.clone(),
        })
    }
}

impl Limits {
    /// How many slots a shard for `conns_max` connections on `listeners` listeners uses, which is what its backend must
    /// hold: each accept in flight reserves one.
    pub const fn slots_for(&self, conns_max: u32, listeners: u32) -> u32 {
        conns_max.saturating_add(self.accepts_in_flight.saturating_mul(listeners))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |wrong: bool, why: String| if wrong { Err(ConfigError::new(why)) } else { Ok(()) };
        refuse(self.conns_max == Some(0), "conns_max is 0; leave it out for as many as fit".into())?;
        let slots = u64::from(self.conns_per_shard_max) + u64::from(self.accepts_in_flight) * 256;
        refuse(
            self.conns_per_shard_max == 0 || slots >= u64::from(ConnId::SLOT_MAX),
            format!("conns_per_shard_max {} is outside 1..=16000000", self.conns_per_shard_max),
        )?;
        refuse(
            self.conns_per_source_max == Some(0) || self.accepts_per_second == Some(0),
            "conns_per_source_max and accepts_per_second are at least 1; leave them out for no limit".into(),
        )?;
        refuse(
            self.accept_burst == 0,
            "accept_burst is 0: nobody would ever be accepted; choose at least 1".into(),
        )?;
        refuse(
            self.source_prefix_v4 > 32 || self.source_prefix_v6 > 128,
            "source_prefix_v4 is 0..=32 bits and source_prefix_v6 0..=128".into(),
        )?;
        refuse(
            !(1..=64 << 10).contains(&self.identity_bytes_max),
            format!("identity_bytes_max {} is outside 1 byte..=64 KiB", self.identity_bytes_max),
        )?;
        let letters = [self.mailbox_letters_max, self.outbox_letters_max];
        refuse(
            letters.iter().any(|max| !(1..=1 << 20).contains(max)),
            "mailbox_letters_max and outbox_letters_max are within 1..=1048576".into(),
        )?;
        refuse(
            !(1..=4096).contains(&self.accepts_in_flight),
            format!("accepts_in_flight {} is outside 1..=4096; 32 is plenty", self.accepts_in_flight),
        )?;
        refuse(
            self.frame_bytes_max == 0 || self.frame_bytes_max > 1 << 30,
            format!("frame_bytes_max {} is outside 1 byte..=1 GiB", self.frame_bytes_max),
        )?;
        refuse(
            self.partial_bytes_max < u64::from(self.frame_bytes_max),
            "partial_bytes_max is below frame_bytes_max: not even one frame could be assembled".into(),
        )?;
        refuse(
            self.send_queue_low > self.send_queue_high || self.send_queue_high > self.send_queue_bytes_max,
            "send_queue_low <= send_queue_high <= send_queue_bytes_max does not hold; leave them out".into(),
        )?;
        refuse(
            self.send_queue_bytes_max == 0 || self.send_queue_bytes_max > 1 << 30,
            format!("send_queue_bytes_max {} is outside 1 byte..=1 GiB", self.send_queue_bytes_max),
        )?;
        refuse(
            self.dead_within_min < DEAD_WITHIN_MIN
                || self.dead_within_min > self.dead_within_max
                || self.dead_within_max > DEAD_WITHIN_MAX,
            "100ms <= dead_within_min <= dead_within_max <= 24h does not hold; leave them out".into(),
        )?;
        refuse(self.verdicts_per_turn_max == 0, "verdicts_per_turn_max is 0; 1024 is usual".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn impossible_limits_are_refused_one_by_one() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(with(|c| c.limits.conns_max = Some(0)).contains("conns_max is 0"));
        assert!(with(|c| c.limits.conns_per_shard_max = 1 << 24).contains("conns_per_shard_max"));
        assert!(with(|c| c.limits.frame_bytes_max = 0).contains("frame_bytes_max"));
        assert!(with(|c| c.limits.partial_bytes_max = 1).contains("partial_bytes_max"));
        assert!(with(|c| c.limits.send_queue_low = 1 << 20).contains("send_queue_low"));
        assert!(with(|c| c.limits.dead_within_min = Duration::ZERO).contains("dead_within_min"));
        assert!(with(|c| c.shards = Some(0)).contains("shards is 0"));
        assert!(with(|c| c.tick_every = Some(Duration::ZERO)).contains("tick_every"));
        assert!(with(|c| c.batch_within = Duration::from_secs(1)).contains("batch_within"));
        assert!(with(|c| c.dead_within = Duration::ZERO).contains("dead_within"));
    }
}
