//! One client: what it sends and how that gets to our kernel, what it reads, and the truth about both.
//!
//! What is sent goes through a queue: segments arrive in order, each at its instant, and not while the path is cut. Only what
//! our kernel says has arrived goes into the record.

use std::collections::VecDeque;
use std::time::Duration;

use heartring_core::{FrameKind, Instant};
use heartring_sim::{Dice, Saw, SimPeer};

use crate::character::Character;
use crate::record::{self, Act, Frame};
use crate::script::{End, Script};
use crate::speech::{self, Answer, Ask, Request};

/// Something under way to our kernel.
#[derive(Clone, Debug)]
pub(crate) enum Cargo {
    Bytes(Vec<u8>),
    End(End),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It sends and reads.
    Talks,
    /// It has sent its FIN, and reads.
    Listens,
    /// Its program hangs.
    Hangs,
    /// It has closed or is gone: it does nothing more.
    Gone,
}

impl Cargo {
    /// What it is, in a word or two.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::End(end) => format!("{end:?}"),
        }
    }
}

/// A stretch of its stream that means something.
struct Span {
    start: u64,
    end: u64,
    /// What it is once all of it was sent; `None`: it is no frame.
    kind: Option<FrameKind>,
    number: u32,
    /// Its place among the frames of the record, once all of it was sent.
    nth: Option<usize>,
    /// What it is instead of a frame.
    act: Option<Act>,
    begun: bool,
    /// Its place among what did not arrive in one go.
    in_parts: Option<usize>,
}

/// See the module's own text.
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) character: Character,
    pub(crate) truth: record::Client,
    pub(crate) peer: SimPeer,
    pub(crate) dice: Dice,
    pub(crate) script: Script,
    /// How often it may still come back.
    pub(crate) returns: u32,
    /// It answers pings.
    pub(crate) answers: bool,
    /// It leaves when we leave.
    pub(crate) follows: bool,
    pub(crate) stage: Stage,
    pub(crate) cut_since: Option<Instant>,
    next_number: u32,
    composed: u64,
    sent: u64,
    spans: VecDeque<Span>,
    /// The bytes of a frame that was begun.
    begun: VecDeque<u8>,
    pub(crate) under_way: VecDeque<(Instant, Cargo)>,
    last_arrival: Instant,
    /// When somebody sees to the next arrival.
    landing_at: Option<Instant>,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn new(number: u32, truth: record::Client, peer: SimPeer, dice: Dice) -> Self {
        Self {
            number,
            character: Character::Honest,
            truth,
            peer,
            dice,
            script: Script::new(),
            returns: 0,
            answers: true,
            follows: true,
            stage: Stage::Talks,
            cut_since: None,
            next_number: 0,
            composed: 0,
            sent: 0,
            spans: VecDeque::new(),
            begun: VecDeque::new(),
            under_way: VecDeque::new(),
            last_arrival: Instant::ZERO,
            landing_at: None,
            unread: Vec::new(),
        }
    }

    // What it says.

    /// Its next data frame, behind what is left of one that was begun.
    pub(crate) fn say(&mut self, ask: Ask, room: usize) -> Vec<u8> {
        let filler = self.dice.below(room + 1);
        let mut bytes = self.next_of_begun(usize::MAX);
        bytes.append(&mut self.data(ask, filler));
        bytes
    }

    /// A frame without a number, behind what is left of one that was begun.
    pub(crate) fn say_other(&mut self, kind: FrameKind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = self.next_of_begun(usize::MAX);
        bytes.append(&mut self.compose(speech::frame(kind, payload), Some(kind), 0, None));
        bytes
    }

    /// Many frames.
    pub(crate) fn say_many(&mut self, frames: u32, room: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..frames {
            let beats = self.dice.one_in(4);
            let frame =
                if beats { self.say_other(FrameKind::Beat, b"") } else { self.say(Ask::Nothing, room) };
            bytes.extend_from_slice(&frame);
        }
        bytes
    }

    /// The front of a data frame, unless one is begun already.
    pub(crate) fn begin(&mut self, room: usize) -> Vec<u8> {
        if self.is_within_a_frame() {
            return Vec::new();
        }
        let filler = self.dice.below(room + 1);
        self.begun = self.data(Ask::Nothing, filler).into();
        let front = 1 + self.dice.below(self.begun.len() - 1);
        self.next_of_begun(front)
    }

    /// Bytes that make no frame, and more behind them.
    pub(crate) fn say_nonsense(&mut self, front: Vec<u8>, act: Act) -> Vec<u8> {
        let mut bytes = self.next_of_begun(usize::MAX);
        bytes.append(&mut self.compose(front, None, 0, Some(act)));
        let rest = self.dice.below(50);
        bytes.append(&mut self.compose(vec![0; rest], None, 0, None));
        bytes
    }

    /// The bytes of its next data frame.
    fn data(&mut self, ask: Ask, filler: usize) -> Vec<u8> {
        let request = Request { client: self.number, number: self.next_number, ask };
        self.next_number += 1;
        let payload = request.payload(filler);
        let masked = self.dice.one_in(4);
        let bytes =
            if masked { speech::masked_frame(&payload) } else { speech::frame(FrameKind::Data, &payload) };
        self.compose(bytes, Some(FrameKind::Data), request.number, None)
    }

    fn compose(&mut self, bytes: Vec<u8>, kind: Option<FrameKind>, number: u32, act: Option<Act>) -> Vec<u8> {
        let start = self.composed;
        self.composed += bytes.len() as u64;
        let end = self.composed;
        self.spans.push_back(Span { start, end, kind, number, nth: None, act, begun: false, in_parts: None });
        bytes
    }

    /// Whether a frame is begun and not yet sent whole.
    pub(crate) fn is_within_a_frame(&self) -> bool {
        !self.begun.is_empty()
    }

    /// The next bytes of the frame that was begun.
    pub(crate) fn next_of_begun(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.begun.len());
        self.begun.drain(..count).collect()
    }

    // On the way.

    /// Sends something that arrives after `latency`, and after everything that it has sent before.
    pub(crate) fn send(&mut self, cargo: Cargo, now: Instant, latency: Duration) -> Instant {
        if let Cargo::Bytes(bytes) = &cargo {
            self.sent += bytes.len() as u64;
            self.count_sent_frames();
        }
        self.last_arrival = self.last_arrival.max(now + latency);
        self.under_way.push_back((self.last_arrival, cargo));
        self.last_arrival
    }

    /// A frame counts when its last byte was sent.
    fn count_sent_frames(&mut self) {
        let frames = &mut self.truth.frames;
        for span in self.spans.iter_mut().filter(|span| span.nth.is_none() && span.end <= self.sent) {
            let Some(kind) = span.kind else { continue };
            span.nth = Some(frames.len());
            frames.push(Frame { kind, number: span.number, began_at: None, arrived_at: None });
        }
    }

    /// What arrives by `now`, unless the path is cut. Returns what it did, for the trace.
    pub(crate) fn land(&mut self, now: Instant) -> Vec<Cargo> {
        let mut landed = Vec::new();
        while self.cut_since.is_none() && self.under_way.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, cargo)) = self.under_way.pop_front() else { break };
            self.put_down(&cargo, now);
            landed.push(cargo);
        }
        landed
    }

    fn put_down(&mut self, cargo: &Cargo, now: Instant) {
        match cargo {
            Cargo::Bytes(bytes) => {
                self.peer.send(bytes);
                self.note_arrivals(now);
            }
            Cargo::End(End::Fin) => {
                self.act(now, Act::Fin);
                self.peer.fin();
            }
            Cargo::End(End::Close) => {
                self.act(now, Act::Closed);
                self.peer.close();
            }
            Cargo::End(End::Reset) => {
                self.act(now, Act::Reset);
                self.peer.reset();
            }
            Cargo::End(End::Vanish) => {
                self.act(now, Act::Vanished);
                self.peer.vanish();
            }
        }
    }

    /// Takes note of what has reached our kernel.
    fn note_arrivals(&mut self, now: Instant) {
        let arrived = self.peer.arrived_bytes();
        while let Some(span) = self.spans.front_mut().filter(|span| span.start < arrived) {
            let whole = span.end <= arrived;
            let first = !std::mem::replace(&mut span.begun, true);
            if let Some(nth) = span.nth.filter(|_| span.kind.is_some()) {
                let frame = &mut self.truth.frames[nth];
                frame.began_at = frame.began_at.or(Some(now));
                frame.arrived_at = whole.then_some(now);
            }
            if first && !whole {
                self.truth.acts.extend(span.kind.map(|_| (now, Act::BeganFrame)));
                span.in_parts = Some(self.truth.in_parts.len());
                self.truth.in_parts.push((now, None));
            }
            if !whole {
                return;
            }
            if let Some(nth) = span.in_parts {
                self.truth.in_parts[nth].1 = Some(now);
            }
            self.truth.acts.extend(span.act.map(|act| (now, act)));
            self.spans.pop_front();
        }
    }

    /// When somebody has to see to the next of what is under way; `None` if nobody has to, or somebody will already.
    pub(crate) fn next_landing(&mut self, now: Instant) -> Option<Instant> {
        self.landing_at = self.landing_at.filter(|at| *at > now);
        let next = self.under_way.front().filter(|_| self.cut_since.is_none()).map(|(at, _)| *at)?;
        if self.landing_at.is_some_and(|at| at <= next) {
            return None;
        }
        self.landing_at = Some(next);
        Some(next)
    }

    /// What is under way arrives now.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.cut_since = None;
        self.under_way.iter_mut().for_each(|(at, _)| *at = now);
    }

    pub(crate) fn act(&mut self, now: Instant, act: Act) {
        self.truth.acts.push((now, act));
    }

    /// The path is gone.
    pub(crate) fn cut(&mut self, now: Instant) {
        self.cut_since = Some(now);
        self.act(now, Act::Cut);
        self.peer.cut();
    }

    /// The path is back. What it has sent meanwhile is sent again, each time after twice as long: it arrives within as much
    /// again as the outage has lasted.
    pub(crate) fn mend(&mut self, now: Instant) {
        let Some(since) = self.cut_since.take() else { return };
        self.act(now, Act::Mended);
        self.peer.mend();
        let outage = now.saturating_since(since);
        let again_at = now + Duration::from_nanos(self.dice.between(0, outage.as_nanos() as u64));
        for (at, _) in &mut self.under_way {
            *at = (*at).max(again_at);
        }
        self.last_arrival = self.under_way.back().map_or(self.last_arrival, |(at, _)| *at);
    }

    // What it reads.

    /// Reads what has come. Returns the pings in it.
    pub(crate) fn read(&mut self) -> Vec<Vec<u8>> {
        self.unread.append(&mut self.peer.take_received());
        let (unread, mut pings) = (std::mem::take(&mut self.unread), Vec::new());
        let mut rest = unread.as_slice();
        while self.truth.misread.is_none() {
            match speech::next_frame(rest) {
                Ok(Some((kind, payload, used))) => {
                    rest = &rest[used..];
                    if kind == FrameKind::Ping {
                        pings.push(payload.to_vec());
                    } else if kind == FrameKind::Data {
                        self.read_answer(payload);
                    }
                }
                Ok(None) => break,
                Err(what) => self.truth.misread = Some(what),
            }
        }
        self.unread = rest.to_vec();
        pings
    }

    fn read_answer(&mut self, payload: &[u8]) {
        let truth = &mut self.truth;
        match Answer::read(payload) {
            Some(Answer::Own { client, number }) if client == self.number => truth.read.push(number),
            Some(Answer::ForIdentity { identity, by, number }) if truth.identity == Some(identity) => {
                truth.read_for_identity.push((by, number));
            }
            Some(Answer::ForAll { .. }) => {}
            Some(other) => truth.misread = Some(format!("what is not for it: {other:?}")),
            None => truth.misread = Some(format!("no answer of ours: {} bytes", payload.len())),
        }
    }

    /// Whether it would read now what is sent to it.
    pub(crate) fn takes_what_comes(&self) -> bool {
        let ways = self.truth.acts.iter().rev().map(|(_, act)| *act);
        let stopped = ways.clone().find(|act| matches!(act, Act::StoppedReading | Act::Reads));
        self.stage != Stage::Gone && self.cut_since.is_none() && stopped != Some(Act::StoppedReading)
    }

    /// Whether our side of it is at its end.
    pub(crate) fn is_left(&self) -> bool {
        self.peer.saw() != Saw::Open
    }

    /// The truth, at the end.
    pub(crate) fn finish(mut self) -> record::Client {
        self.read();
        self.truth.saw = self.peer.saw();
        self.truth.harm = self.peer.harm();
        self.truth
    }
}
