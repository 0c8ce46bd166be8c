//! What the handler was told of each connection, held against what it may be told.
//!
//! `opened` first; `received`, `overdue`, `claimed` and `writable` while it is open; `closing` once, then at most `late`; `closed`
//! once and last. Frames are those of the peer's stream, in order, each once. Nobody is called silent before his time.

use std::collections::BTreeMap;
use std::time::Duration;

use heartring_core::{
    Cause, Closed, ConnAt, ConnId, FrameKind, Identity, Instant, Limits, Liveness, Protocol,
};

use super::HERE;
use super::holders::Holders;
use super::neighbour::name_here;
use crate::stream::{Frame, Stream};

/// See the module's own text.
pub(super) struct Lives<P: Protocol> {
    protocol: P,
    frame_bytes_max: usize,
    liveness: Liveness,
    conns_max: usize,
    by_conn: BTreeMap<ConnId, Life<P>>,
    pub(super) holders: Holders,
}

struct Life<P: Protocol> {
    phase: Phase,
    claim: Option<(Identity, Claim)>,
    /// What the peer has sent.
    stream: Stream<P>,
    /// How many of its frames, or bytes if it has no frames, were delivered.
    delivered: usize,
    opened_at: Instant,
    /// When a frame of it was last delivered.
    spoke_at: Option<Instant>,
    dead_within: Duration,
    /// The shortest deadline since then.
    dead_within_least: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Asked,
    Granted(u64),
}

impl<P: Protocol + Default> Lives<P> {
    pub(super) fn new(limits: &Limits, liveness: Liveness, conns_max: u32) -> Self {
        Self {
            protocol: P::default(),
            frame_bytes_max: limits.frame_bytes_max as usize,
            liveness,
            conns_max: conns_max as usize,
            by_conn: BTreeMap::new(),
            holders: Holders::default(),
        }
    }

    /// Bytes of the peer are about to be told. Of those who were refused the handler never hears.
    pub(super) fn arrive(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(life) = self.by_conn.get_mut(&conn) {
            life.stream.feed(&self.protocol, bytes);
        }
    }

    fn in_phase(&mut self, conn: ConnId, phase: Phase) -> &mut Life<P> {
        let life = self.by_conn.get_mut(&conn).unwrap_or_else(|| panic!("{conn} was never opened"));
        assert_eq!(life.phase, phase, "{conn}");
        life
    }

    pub(super) fn opened(&mut self, conn: ConnId, now: Instant) {
        let life = Life {
            phase: Phase::Open,
            claim: None,
            stream: Stream::new(if P::FRAMED { self.frame_bytes_max } else { usize::MAX }),
            delivered: 0,
            opened_at: now,
            spoke_at: None,
            dead_within: self.liveness.dead_within,
            dead_within_least: self.liveness.dead_within,
        };
        assert!(self.by_conn.insert(conn, life).is_none(), "{conn} is opened a second time");
        let open = self.by_conn.values().filter(|life| life.phase != Phase::Closed).count();
        assert!(open <= self.conns_max, "{open} are open");
    }

    pub(super) fn received(&mut self, conn: ConnId, now: Instant, payload: &[u8]) {
        let life = self.in_phase(conn, Phase::Open);
        assert!(!matches!(life.claim, Some((_, Claim::Asked))), "{conn}: its claim is undecided");
        (life.spoke_at, life.dead_within_least) = (Some(now), life.dead_within);
        life.deliver(payload, |frame| frame.kind == FrameKind::Data);
    }

    pub(super) fn late(&mut self, conn: ConnId, payload: &[u8]) {
        self.in_phase(conn, Phase::Closing).deliver(payload, |_| true);
    }

    pub(super) fn overdue(&mut self, conn: ConnId) {
        self.in_phase(conn, Phase::Open);
    }

    pub(super) fn writable(&mut self, conn: ConnId) {
        self.in_phase(conn, Phase::Open);
    }

    /// A claim was taken.
    pub(super) fn claims(&mut self, conn: ConnId, identity: Identity) {
        let life = self.in_phase(conn, Phase::Open);
        assert!(life.claim.replace((identity, Claim::Asked)).is_none(), "{conn} claims twice");
    }

    pub(super) fn claimed(&mut self, conn: ConnId, epoch: u64) {
        let life = self.in_phase(conn, Phase::Open);
        let Some((identity, claim @ Claim::Asked)) = &mut life.claim else { panic!("{conn} did not ask") };
        *claim = Claim::Granted(epoch);
        if let Some(name) = name_here(identity) {
            self.holders.enter(name, ConnAt { shard: HERE, conn }, epoch);
        }
    }

    /// The epoch of its claim, if it was granted.
    pub(super) fn epoch(&self, conn: ConnId) -> Option<u64> {
        match self.by_conn.get(&conn)?.claim {
            Some((_, Claim::Granted(epoch))) => Some(epoch),
            Some((_, Claim::Asked)) | None => None,
        }
    }

    pub(super) fn negotiated(&mut self, conn: ConnId, dead_within: Duration) {
        if let Some(life) = self.by_conn.get_mut(&conn) {
            life.dead_within = dead_within;
            life.dead_within_least = life.dead_within_least.min(dead_within);
        }
    }

    pub(super) fn closing(&mut self, conn: ConnId, now: Instant, closed: &Closed) {
        let hello_within = self.liveness.hello_within;
        let life = self.in_phase(conn, Phase::Open);
        life.phase = Phase::Closing;
        if P::FRAMED {
            // The handler does not hear of all of them.
            life.delivered = life.stream.frames.len();
        }
        assert_eq!((closed.opened_at, closed.decided_at), (life.opened_at, now), "{conn}");
        if closed.cause == Cause::HelloMissed {
            assert!(now >= life.opened_at + hello_within, "{conn}: {closed:?}");
        }
        if matches!(closed.cause, Cause::HeartbeatMissed | Cause::PeerStuck)
            && let Some(spoke_at) = life.spoke_at
        {
            assert!(now >= spoke_at + life.dead_within_least, "{conn}, who spoke at {spoke_at}: {closed:?}");
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        let life = self.in_phase(conn, Phase::Closing);
        life.phase = Phase::Closed;
        life.stream.frames = Vec::new();
        if let Some((identity, Claim::Granted(_))) = &life.claim
            && let Some(name) = name_here(identity)
        {
            self.holders.leave(name, ConnAt { shard: HERE, conn });
        }
    }

    /// Any connection that ever was, or one that never was.
    pub(super) fn any(&self, nth: usize) -> ConnId {
        let nth = nth % (self.by_conn.len() + 1);
        self.by_conn.keys().nth(nth).copied().unwrap_or(ConnId::new(0, 1 << 20))
    }

    /// Whether it is this shard's directory that decides about it.
    pub(super) fn claims_here(&self, conn: ConnId) -> bool {
        let claim = self.by_conn.get(&conn).and_then(|life| life.claim.as_ref());
        claim.is_some_and(|(identity, _)| name_here(identity).is_some())
    }

    /// One of those about which the neighbour's directory decides.
    pub(super) fn asked_there(&self, nth: usize) -> Option<ConnId> {
        let claims = |life: &Life<P>| life.claim.as_ref().is_some_and(|(id, _)| name_here(id).is_none());
        let asked: Vec<ConnId> =
            self.by_conn.iter().filter(|(_, life)| claims(life)).map(|(conn, _)| *conn).collect();
        asked.get(nth.checked_rem(asked.len())?).copied()
    }

    /// Every life is over.
    pub(super) fn assert_whole(&self) {
        for (conn, life) in &self.by_conn {
            assert_eq!(life.phase, Phase::Closed, "{conn}");
        }
    }
}

impl<P: Protocol> Life<P> {
    /// The next frame that is told must be this.
    fn deliver(&mut self, payload: &[u8], is_told: impl Fn(&Frame) -> bool) {
        if !P::FRAMED {
            let sent = self.stream.frames.iter().flat_map(|frame| &frame.payload);
            assert!(sent.skip(self.delivered).take(payload.len()).eq(payload), "other bytes were sent");
            self.delivered += payload.len();
            return;
        }
        let rest = &self.stream.frames[self.delivered..];
        let next = rest.iter().position(is_told).expect("it was sent");
        assert_eq!(rest[next].payload, payload, "another frame was sent");
        self.delivered += next + 1;
    }
}
