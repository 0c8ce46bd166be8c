//! mio: readiness, a slab of connections, and everything else by hand.
//!
//! The idle timeout is a sweep: each connection knows when it was last heard, and every tenth of the deadline all are looked
//! at, so that one is closed at most a tenth too late. That costs nothing per message, and needs no wheel.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::process::ExitCode;
use std::time::Instant;

use heartring_bench::server::{self, CLAIM_BYTES, GRANTED, ServePlan, Service, Work, number_in};
use heartring_peers::{BEAT_BYTES, Beats, Terms, is_passing, prepare};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::Socket;

/// Connections use their place in the slab.
const LISTENER: Token = Token(usize::MAX);

/// What mio's examples take at once, and then some.
const EVENTS_MAX: usize = 1024;

/// Looks at who is silent, per deadline.
const SWEEPS: u32 = 10;

struct Mio {
    poll: Poll,
    listener: TcpListener,
    terms: Terms,
    conns: Slab<Conn>,
    /// The place of each device's connection, by the device's number.
    holders: HashMap<u32, usize>,
    /// One for all: nothing stays in it.
    buffer: Vec<u8>,
    /// Read once per turn.
    now: Instant,
    sweep_at: Instant,
}

struct Conn {
    stream: TcpStream,
    heard_at: Instant,
    /// What the peer has not taken yet. While there is something, nothing is read.
    unsent: Vec<u8>,
    beats: Beats,
    claim: Vec<u8>,
    /// Who it is, in a storm.
    device: Option<u32>,
}

impl Service for Mio {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        prepare(&listener, plan, false)?;
        let poll = Poll::new()?;
        let mut listener = TcpListener::from_std(listener.into());
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let terms = Terms::of(plan);
        let now = now();
        Ok(Mio {
            poll,
            listener,
            terms,
            conns: Slab::with_capacity(plan.connections()),
            holders: HashMap::new(),
            buffer: vec![0; terms.buffer_bytes],
            now,
            sweep_at: now + terms.dead_within / SWEEPS,
        })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, Some(self.sweep_at.saturating_duration_since(self.now))) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.now = now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_all()?,
                    Token(place) => self.handle(place, event),
                }
            }
            if self.now >= self.sweep_at {
                self.sweep();
            }
        }
    }
}

impl Mio {
    fn accept_all(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.insert(stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Registered once for both directions: edges that nobody waits for wake nobody.
    fn insert(&mut self, mut stream: TcpStream) -> io::Result<()> {
        let place = self.conns.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(place.key()), interest)?;
        let (unsent, claim, beats) = (Vec::new(), Vec::new(), Beats::default());
        place.insert(Conn { stream, heard_at: self.now, unsent, beats, claim, device: None });
        Ok(())
    }

    /// Until the peer ends it, or breaks the protocol; whoever it is, nobody asks why.
    fn handle(&mut self, place: usize, event: &Event) {
        // It may have been evicted earlier in this turn. If its place is taken again, a look too many does no harm.
        let Some(conn) = self.conns.get_mut(place) else { return };
        if conn.flush().and_then(|()| self.receive(place, event)).is_err() {
            self.remove(place);
        }
    }

    fn receive(&mut self, place: usize, event: &Event) -> io::Result<()> {
        loop {
            let conn = &mut self.conns[place];
            if !conn.unsent.is_empty() {
                return Ok(());
            }
            let count = match conn.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.take(place, count)?;
            // A short read is the end of what was there, as tokio takes it too, unless a FIN has come with it.
            if count < self.buffer.len() && !event.is_read_closed() {
                return Ok(());
            }
        }
    }

    /// Takes what stands at the front of the buffer.
    fn take(&mut self, place: usize, count: usize) -> io::Result<()> {
        let conn = &mut self.conns[place];
        let bytes = &self.buffer[..count];
        match (self.terms.work, conn.device) {
            (Work::Echo, _) => {
                conn.heard_at = self.now;
                conn.send(bytes)
            }
            (Work::Beats, _) | (Work::Claims, Some(_)) => {
                let heard = conn.beats.hear(bytes)?;
                if heard == 0 {
                    return Ok(());
                }
                conn.heard_at = self.now;
                // Nothing but zeros is in the buffer, and an answer is a beat.
                if self.terms.answers_beats { conn.send(&self.buffer[..heard * BEAT_BYTES]) } else { Ok(()) }
            }
            (Work::Claims, None) => {
                conn.claim.extend_from_slice(bytes);
                match conn.claim.split_first_chunk::<CLAIM_BYTES>() {
                    Some((claim, rest)) => {
                        conn.beats.hear(rest)?;
                        let device = number_in(*claim);
                        self.grant(place, device)
                    }
                    None => Ok(()),
                }
            }
        }
    }

    fn grant(&mut self, place: usize, device: u32) -> io::Result<()> {
        if let Some(former) = self.holders.insert(device, place) {
            self.conns.remove(former);
        }
        let conn = &mut self.conns[place];
        conn.claim = Vec::new();
        conn.device = Some(device);
        conn.heard_at = self.now;
        conn.send(GRANTED)
    }

    fn sweep(&mut self) {
        let silent = |conn: &Conn| self.now.duration_since(conn.heard_at) >= self.terms.dead_within;
        let dead: Vec<usize> =
            self.conns.iter().filter_map(|(place, conn)| silent(conn).then_some(place)).collect();
        for place in dead {
            self.remove(place);
        }
        self.sweep_at = self.now + self.terms.dead_within / SWEEPS;
    }

    fn remove(&mut self, place: usize) {
        if let Some(device) = self.conns.remove(place).device {
            self.holders.remove(&device);
        }
    }
}

impl Conn {
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(bytes);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = mem::take(&mut self.unsent);
        self.send(&unsent)
    }
}

#[allow(clippy::disallowed_methods)] // a server reads the clock where its user would
fn now() -> Instant {
    Instant::now()
}

fn main() -> ExitCode {
    server::main::<Mio>()
}
