//! The peers of one script at work: they take a step when the one before is over.

use std::time::Duration;

use heartring_core::Instant;
use heartring_tests::{End, Peer, Rig};

use super::machine::Machine;
use super::script::{Action, Due, Leave, Script};
use super::tale::{Event, Stuck, Tale};

/// How long a step may take before it counts as stuck. Far longer than the longest deadline and a busy machine need.
const STEP_WITHIN: Duration = Duration::from_secs(20);

/// See the module's own text.
pub(crate) struct Troupe<'a, P> {
    script: &'a Script,
    /// The number of its first connection in this run.
    first: usize,
    actors: Vec<Actor<P>>,
    /// Steps that have begun.
    begun: usize,
    begun_at: Instant,
    /// What a step waited for in vain.
    stuck: Option<Stuck>,
}

/// One peer.
struct Actor<P> {
    /// `None` once it has left: it sees nothing any more.
    peer: Option<P>,
    read: Vec<u8>,
    end: End,
    /// How much it had read when it stopped reading, if it has.
    stopped_at: Option<usize>,
}

impl<'a, P: Peer> Troupe<'a, P> {
    pub(crate) fn new(script: &'a Script, first: usize) -> Self {
        let actors = Vec::with_capacity(script.conns);
        Self { script, first, actors, begun: 0, begun_at: Instant::ZERO, stuck: None }
    }

    /// Takes as many steps as are due. Returns whether there are more to come.
    pub(crate) fn play<R: Rig<Peer = P>>(&mut self, machine: &mut Machine<R>) -> bool {
        while self.stuck.is_none() {
            if !self.is_step_over(machine) {
                if machine.rig.clock() > self.begun_at + STEP_WITHIN {
                    self.stuck = Some(self.describe(machine));
                }
                return self.stuck.is_none();
            }
            let Some(step) = self.script.steps.get(self.begun) else { return false };
            self.act(machine, step.conn, &step.action);
            (self.begun, self.begun_at) = (self.begun + 1, machine.rig.clock());
        }
        false
    }

    /// Whoever is still connected looks on, and leaves when its stream ends.
    pub(crate) fn disperse(&mut self) {
        for actor in &mut self.actors {
            actor.look();
            if actor.end != End::Open {
                actor.leave(Leave::Close);
            }
        }
    }

    /// What has happened to each connection.
    pub(crate) fn tell<R: Rig<Peer = P>>(self, machine: &mut Machine<R>) -> Tale {
        let clerk = machine.shard.handler();
        let mut tale = Tale { conns: Vec::new(), stuck: self.stuck };
        for (nth, mut actor) in self.actors.into_iter().enumerate() {
            let mut events = clerk.account(self.first + nth).events.clone();
            // How much the buffers had brought to a peer that read no more depends on their sizes.
            actor.read.truncate(actor.stopped_at.unwrap_or(usize::MAX));
            events.extend([Event::PeerRead(actor.read), Event::PeerSaw(actor.end)]);
            tale.conns.push(events);
        }
        tale.rank_epochs();
        tale
    }

    /// How far the last step has come.
    fn describe<R: Rig<Peer = P>>(&self, machine: &mut Machine<R>) -> Stuck {
        let conn = self.script.steps[self.begun - 1].conn;
        let (account, actor) = (machine.shard.handler().account(self.first + conn), &self.actors[conn]);
        let (told, heard, read) = (account.events.len(), account.heard, actor.read.len());
        Stuck { step: self.begun, came: Due { told, heard, read, end: actor.end }, sent: account.sent }
    }

    fn is_step_over<R: Rig<Peer = P>>(&mut self, machine: &mut Machine<R>) -> bool {
        let Some(last) = self.begun.checked_sub(1) else { return true };
        let dues = &self.script.steps[last].dues;
        dues.iter().all(|(conn, due)| self.has_come(machine, *conn, due))
    }

    /// Whether everything that is due on a connection has come.
    fn has_come<R: Rig<Peer = P>>(&mut self, machine: &mut Machine<R>, conn: usize, due: &Due) -> bool {
        let account = machine.shard.handler().account(self.first + conn);
        let actor = &mut self.actors[conn];
        let is_told = account.events.len() >= due.told && account.heard >= due.heard;
        // Looking is reading: who has stopped looks for nothing but the end, and not before it is decided.
        if actor.stopped_at.is_none() || (is_told && due.end != End::Open) {
            actor.look();
        }
        // Where the stream has ended, the count of what was sent may have ended with an error.
        let is_sent = account.sent >= due.read || due.end != End::Open;
        // Another end than the one that is due is a difference, and nothing to wait for.
        let has_ended = actor.end != End::Open || due.end == End::Open;
        is_told && is_sent && (actor.peer.is_none() || (actor.read.len() >= due.read && has_ended))
    }

    fn act<R: Rig<Peer = P>>(&mut self, machine: &mut Machine<R>, conn: usize, action: &Action) {
        if *action == Action::Connect {
            let peer = machine.rig.connect(machine.listener.addr);
            machine.shard.handler().expect(peer.addr(), self.first + conn);
            let actor = Actor { peer: Some(peer), read: Vec::new(), end: End::Open, stopped_at: None };
            return self.actors.push(actor);
        }
        let actor = &mut self.actors[conn];
        match action {
            Action::Connect | Action::KeepSilent => {}
            Action::Write(bytes, leave) => {
                actor.write(bytes);
                if let Some(leave) = leave {
                    actor.leave(*leave);
                }
            }
            Action::Leave(leave) => actor.leave(*leave),
            Action::StopReading => actor.stopped_at = Some(actor.read.len()),
            Action::ReadAgain => actor.stopped_at = None,
        }
    }
}

impl<P: Peer> Actor<P> {
    /// Reads what is there. After its end the stream is not looked at again: the kernel may add a reset to it.
    fn look(&mut self) {
        if let Some(peer) = &mut self.peer
            && self.end == End::Open
        {
            self.end = peer.end();
            self.read.extend_from_slice(&peer.read()[self.read.len()..]);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(peer) = &mut self.peer {
            peer.write(bytes);
        }
    }

    fn leave(&mut self, leave: Leave) {
        let Some(peer) = &mut self.peer else { return };
        match leave {
            Leave::Fin => return peer.fin(),
            Leave::Close => peer.close(),
            Leave::Reset => peer.reset(),
        }
        self.peer = None;
    }
}
