//! The handler of every shard: it does what the clients ask for, and writes down everything that it is told and does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{Closed, Conn, ConnId, Conns, Handler, ShardId};

use crate::journal::{Journal, Known};
use crate::mishap::Mishap;
use crate::record::Told;
use crate::speech::{ANSWER, Answer, Ask, REQUEST, Request, Speech};

/// The name of an identity.
pub(crate) fn name_of(identity: u32) -> [u8; 4] {
    identity.to_be_bytes()
}

/// What the handler remembers of a connection.
struct Guest {
    known: Known,
    /// Frames that it was sent, and frames for identities that its client has asked for.
    sent: u32,
    forwarded: u32,
    /// The filler of the state that it wants with every tick.
    state_bytes: Option<usize>,
}

/// See the module's own text.
pub(crate) struct Witness {
    journal: Rc<RefCell<Journal>>,
    shard: ShardId,
    send_queue_bytes_max: u32,
    guests: BTreeMap<ConnId, Guest>,
    /// The client of each connection that ever was.
    clients: HashMap<ConnId, u32>,
    subscribers: BTreeSet<ConnId>,
    /// Messages that were posted to each shard.
    posted: Vec<u64>,
}

impl Witness {
    pub(crate) fn new(
        journal: &Rc<RefCell<Journal>>,
        shard: ShardId,
        shards: u16,
        send_queue_bytes_max: u32,
    ) -> Self {
        Self {
            journal: Rc::clone(journal),
            shard,
            send_queue_bytes_max,
            guests: BTreeMap::new(),
            clients: HashMap::new(),
            subscribers: BTreeSet::new(),
            posted: vec![0; usize::from(shards)],
        }
    }

    /// The client of a connection that was opened, closed or not.
    pub(crate) fn client_of(&self, conn: ConnId) -> Option<u32> {
        self.clients.get(&conn).copied()
    }

    /// One of those who are there, and its client.
    pub(crate) fn somebody(&self, nth: u64) -> Option<(ConnId, u32)> {
        let slot = (nth % self.guests.len().max(1) as u64) as usize;
        self.guests.iter().nth(slot).map(|(conn, guest)| (*conn, guest.known.number))
    }

    fn note(&self, conn: &Conn<'_>, told: Told) {
        self.journal.borrow_mut().note(conn.now(), conn.at(), told);
    }

    fn broken(&self, conn: &Conn<'_>, what: &str) {
        self.journal.borrow_mut().broken(format!("{} at {}: {what}", conn.at(), conn.now()));
    }

    fn claim(&mut self, conn: &mut Conn<'_>) {
        let Some(identity) = self.guests[&conn.id()].known.identity else { return };
        let claimed_before = conn.identity().is_some();
        match conn.claim(&name_of(identity)) {
            Ok(()) => self.note(conn, Told::Claims { identity }),
            Err(_) if claimed_before => self.journal.borrow_mut().count(Mishap::ClaimedTwice),
            Err(_) => {} // It is suspected: it will not come back to life by a claim.
        }
    }

    /// Sends the next frame of a connection, a state or one that is not replaced.
    fn send(&mut self, conn: &mut Conn<'_>, filler: usize, state: bool) {
        let guest = self.guests.get_mut(&conn.id()).expect("a connection that was opened and not closed");
        let number = guest.sent;
        let frame = Answer::Own { client: guest.known.number, number }.frame(filler);
        let sent = if state { conn.send_latest(frame) } else { conn.send(frame) };
        if sent.is_ok() {
            guest.sent += 1;
            self.note(conn, Told::Sends { number, state, to_identity: None });
        }
        if conn.queued_bytes() > self.send_queue_bytes_max {
            self.broken(conn, "more is queued than send_queue_bytes_max");
        }
    }

    fn tell(&mut self, conn: &mut Conn<'_>, identity: u32) {
        let guest = self.guests.get_mut(&conn.id()).expect("a connection that was opened and not closed");
        let (by, number) = (guest.known.number, guest.forwarded);
        guest.forwarded += 1;
        let frame = Answer::ForIdentity { identity, by, number }.frame(number as usize % 30);
        self.note(conn, Told::Sends { number, state: false, to_identity: Some(identity) });
        conn.conns().send_to(&name_of(identity), frame);
    }

    fn post(&mut self, conn: &mut Conn<'_>, to: ShardId) {
        let number = self.posted[usize::from(to.0)];
        let words = [u64::from(self.shard.0), u64::from(to.0), number];
        let message: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        if conn.conns().post(to, message.into()).is_ok() {
            self.posted[usize::from(to.0)] += 1;
            self.journal.borrow_mut().messages_posted.push((self.shard, to, number));
        }
    }

    fn obey(&mut self, conn: &mut Conn<'_>, ask: Ask) {
        match ask {
            Ask::Nothing => {}
            Ask::Claim => self.claim(conn),
            Ask::ClaimAndClose => {
                self.claim(conn);
                self.close(conn);
            }
            Ask::Send(bytes) => self.send(conn, (bytes as usize).saturating_sub(ANSWER), false),
            Ask::Subscribe(bytes) => {
                let filler = (bytes as usize).saturating_sub(ANSWER);
                self.send(conn, filler, true);
                self.subscribers.insert(conn.id());
                let guest = self.guests.get_mut(&conn.id()).expect("it has just been sent something");
                guest.state_bytes = Some(filler);
            }
            Ask::Close => self.close(conn),
            Ask::Negotiate(millis) => {
                let dead_within = Duration::from_millis(u64::from(millis));
                if conn.set_dead_within(dead_within).is_ok() {
                    self.note(conn, Told::Negotiates(dead_within));
                }
            }
            Ask::Post(shard) => self.post(conn, ShardId(shard as u16)),
            Ask::Tell(identity) => self.tell(conn, identity),
            Ask::TakeTime(micros) => {
                let mut journal = self.journal.borrow_mut();
                journal.pause += Duration::from_micros(u64::from(micros));
                journal.count(Mishap::HandlerSlow);
            }
        }
    }

    fn close(&self, conn: &mut Conn<'_>) {
        self.note(conn, Told::Closes);
        conn.close();
    }
}

impl Handler for Witness {
    type Protocol = Speech;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        let known = self.journal.borrow().clients[&conn.peer()];
        let guest = Guest { known, sent: 0, forwarded: 0, state_bytes: None };
        let former = self.guests.insert(conn.id(), guest);
        assert!(former.is_none(), "{} was opened before", conn.at());
        self.clients.insert(conn.id(), known.number);
        self.note(conn, Told::Opened { client: known.number });
        if known.claims_when_opened {
            self.claim(conn);
        }
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let request = Request::read(frame);
        let request = request.filter(|request| self.client_of(conn.id()) == Some(request.client));
        self.note(conn, Told::Received { number: request.map(|request| request.number) });
        if let Some(request) = request {
            self.obey(conn, request.ask);
        }
    }

    fn overdue(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Told::Overdue);
        if !conn.is_overdue() {
            self.broken(conn, "overdue, and yet it is not");
        }
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        self.note(conn, Told::Claimed { epoch });
        if conn.epoch() != Some(epoch) {
            self.broken(conn, "it does not know the epoch of its claim");
        }
        self.send(conn, 0, false);
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(conn, Told::Closing(*closed));
        self.send(conn, 3, false);
        if conn.claim(b"another").is_ok() {
            self.broken(conn, "it claims while it ends");
        }
    }

    fn late(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let request = Request::read(frame);
        if frame.len() >= REQUEST && request.is_none_or(|it| self.client_of(conn.id()) != Some(it.client)) {
            self.broken(conn, "a late frame that no client sends");
        }
        let (number, bytes) = (request.map(|request| request.number), frame.len() as u32);
        self.note(conn, Told::Late { number, bytes });
    }

    fn writable(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Told::Writable);
        if conn.is_congested() {
            self.broken(conn, "writable, and yet congested");
        }
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(conn, Told::Closed(*closed));
        if conn.send(Bytes::from_static(b"too late")).is_ok() {
            self.broken(conn, "it takes a payload after its end");
        }
        self.guests.remove(&conn.id());
        self.subscribers.remove(&conn.id());
    }

    fn message(&mut self, _conns: &mut Conns<'_>, message: Bytes) {
        let words: Vec<u64> = message
            .chunks_exact(8)
            .map(|word| u64::from_be_bytes(word.try_into().expect("eight bytes")))
            .collect();
        let &[from, to, number] = words.as_slice() else { panic!("not a message: {message:?}") };
        assert_eq!(to, u64::from(self.shard.0), "a message went astray");
        let came = (ShardId(from as u16), self.shard, number);
        self.journal.borrow_mut().messages_come.push(came);
    }

    /// The next state for those who want one.
    fn tick(&mut self, conns: &mut Conns<'_>) {
        for id in self.subscribers.clone() {
            let Some(mut conn) = conns.get(id) else { continue };
            let filler = self.guests.get(&id).and_then(|guest| guest.state_bytes);
            self.send(&mut conn, filler.unwrap_or(0), true);
        }
    }
}
