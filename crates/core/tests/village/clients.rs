//! What the peers do: they claim in one piece or in several, write notes, and leave in every way there is.

use heartring_sim::{Saw, SimPeer};

use crate::dice::Dice;
use crate::history::Deeds;

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has sent the front of its claim.
    Begun,
    /// It has sent its claim and writes notes.
    Writing,
    /// It has sent the front of a note.
    Interrupted,
    /// It sends nothing more.
    Gone,
}

/// See the module's own text.
pub(crate) struct Client {
    peer: SimPeer,
    claim: String,
    stage: Stage,
    deeds: Deeds,
}

/// Where a client finds what it writes about.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings {
    pub(crate) shards: usize,
    pub(crate) identities: usize,
}

impl Client {
    /// A client that has just connected, with the first thing it does.
    pub(crate) fn new(number: usize, peer: SimPeer, around: Surroundings, dice: &mut Dice) -> Self {
        let identity = format!("pump-{}", dice.below(around.identities));
        let closes = if dice.one_in(40) { " close" } else { "" };
        let claim = format!("i am {number} {identity}{closes}\n");
        let deeds = Deeds { identity, notes: 0, lines: Vec::new() };
        let mut client = Self { peer, claim, stage: Stage::Writing, deeds };
        if dice.one_in(4) {
            client.peer.send(&client.claim.as_bytes()[..9]);
            client.stage = Stage::Begun;
        } else {
            // Pipelined: notes in the segment of the claim, and half a note behind them.
            let mut segment = client.claim.clone();
            for _ in 0..dice.below(4) {
                segment += &client.next_note(around, dice);
            }
            if dice.one_in(3) {
                let note = client.deeds.notes.to_string();
                segment += &note;
                client.stage = Stage::Interrupted;
            }
            client.peer.send(segment.as_bytes());
        }
        if dice.one_in(6) && client.stage == Stage::Writing {
            client.leave(dice);
        }
        client
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.stage == Stage::Gone || self.peer.saw() != Saw::Open
    }

    /// Whether it has read this line.
    pub(crate) fn has_read(&self, line: &str) -> bool {
        String::from_utf8_lossy(&self.peer.received()).contains(line)
    }

    /// Does one thing.
    pub(crate) fn act(&mut self, around: Surroundings, dice: &mut Dice) {
        match self.stage {
            Stage::Gone => {}
            Stage::Begun => {
                self.peer.send(&self.claim.as_bytes()[9..]);
                self.stage = Stage::Writing;
            }
            Stage::Interrupted => {
                self.peer.send(b"\n");
                self.deeds.notes += 1;
                self.stage = Stage::Writing;
            }
            Stage::Writing => match dice.below(12) {
                0..=5 => {
                    let note = self.next_note(around, dice);
                    self.peer.send(note.as_bytes());
                }
                6 | 7 => self.peer.send(b"\n"),
                8 => {
                    self.peer.send(self.deeds.notes.to_string().as_bytes());
                    self.stage = Stage::Interrupted;
                }
                9 => self.leave(dice),
                _ => {}
            },
        }
    }

    /// What it has done, and what it was sent.
    pub(crate) fn deeds(mut self) -> Deeds {
        let text = String::from_utf8(self.peer.take_received()).expect("villagers write text");
        // A reset can cut the last line short.
        self.deeds.lines =
            text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(Into::into).collect();
        self.deeds
    }

    fn next_note(&mut self, around: Surroundings, dice: &mut Dice) -> String {
        let number = self.deeds.notes;
        self.deeds.notes += 1;
        match dice.below(10) {
            0..=2 => format!("{number} to pump-{}\n", dice.below(around.identities)),
            3 => format!("{number} post {}\n", dice.below(around.shards)),
            4 if dice.one_in(3) => format!("{number} bye\n"),
            _ => format!("{number}\n"),
        }
    }

    fn leave(&mut self, dice: &mut Dice) {
        match dice.below(6) {
            0 | 1 => self.peer.fin(),
            2 => self.peer.close(),
            3 => self.peer.reset(),
            _ => self.peer.vanish(),
        }
        self.stage = Stage::Gone;
    }
}
