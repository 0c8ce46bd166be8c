//! Writes scripts: each verb is a step, or a few, and knows what must come of it.

use std::time::Duration;

use heartring_tests::End;

use super::script::{Action, Due, Leave, Script, Step};
use super::setting::{FLOOD_BYTES, FRAME_BYTES_MAX, UNHURRIED};

/// See the module's own text.
pub(crate) struct Author {
    script: Script,
    lives: Vec<Life>,
}

/// What the author knows of a connection.
struct Life {
    due: Due,
    phase: Phase,
    has_last_word: bool,
    is_pinged: bool,
    reading: Reading,
    /// Bytes on their way to a peer that does not read.
    owed: usize,
    /// What it will see behind them.
    end_to_come: End,
    identity: Option<String>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Convicted of silence.
    Grace,
    /// The handler was told that it has ended.
    Over,
}

/// Whether a peer reads. It stops once at most: the kernel enlarges the buffer of a peer that has read much, and a second flood
/// might fit into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    AsEver,
    Stopped,
    Again,
}

impl Author {
    pub(crate) fn new(name: &str, seed: Option<u64>) -> Self {
        let script = Script { name: name.to_owned(), seed, conns: 0, steps: Vec::new() };
        Self { script, lives: Vec::new() }
    }

    pub(crate) fn finish(self) -> Script {
        self.script
    }

    pub(crate) fn is_open(&self, conn: usize) -> bool {
        self.lives[conn].phase == Phase::Open
    }

    pub(crate) fn can_stop_reading(&self, conn: usize) -> bool {
        self.lives[conn].reading == Reading::AsEver
    }

    // Speaking.

    /// A new peer connects.
    pub(crate) fn connect(&mut self) -> usize {
        let conn = self.lives.len();
        self.script.conns += 1;
        self.lives.push(Life::new());
        self.told(conn, 1);
        self.step(conn, Action::Connect);
        conn
    }

    /// One segment of whole lines, each of which the handler is told, in time or late.
    pub(crate) fn lines(&mut self, conn: usize, lines: &[&str]) {
        self.told(conn, lines.len());
        self.write(conn, &segment(lines));
    }

    /// The same in several segments, cut at these places.
    pub(crate) fn pieces(&mut self, conn: usize, lines: &[&str], cuts: &[usize]) {
        let text = segment(lines);
        let mut begin = 0;
        for end in cuts.iter().copied().chain([text.len()]) {
            let piece = &text[begin..end];
            self.told(conn, piece.matches('\n').count());
            self.write(conn, piece);
            begin = end;
        }
    }

    /// The beginning of a line.
    pub(crate) fn half(&mut self, conn: usize, half: &str) {
        self.write(conn, half);
    }

    pub(crate) fn beat(&mut self, conn: usize) {
        self.write(conn, "\n");
    }

    /// The peer pings us.
    pub(crate) fn ping(&mut self, conn: usize) {
        self.sends(conn, b"pong\n".len());
        self.write(conn, "ping\n");
    }

    pub(crate) fn echo(&mut self, conn: usize, text: &str) {
        self.sends(conn, text.len() + 1);
        self.lines(conn, &[&format!("echo {text}")]);
    }

    pub(crate) fn want_last_word(&mut self, conn: usize) {
        self.lives[conn].has_last_word = true;
        self.lines(conn, &["last word"]);
    }

    pub(crate) fn want_pings(&mut self, conn: usize) {
        self.lives[conn].is_pinged = true;
        self.lines(conn, &["ping me"]);
    }

    pub(crate) fn negotiate(&mut self, conn: usize, dead_within: Duration) {
        self.lines(conn, &[&negotiation(dead_within)]);
    }

    /// A deadline that is too short.
    pub(crate) fn negotiate_in_vain(&mut self, conn: usize) {
        self.told(conn, 1);
        self.lines(conn, &["dead 1"]);
    }

    /// Claims an identity, and goes on with `lines` in the same segment. Who holds it is superseded.
    pub(crate) fn claim(&mut self, conn: usize, name: &str, lines: &[&str]) {
        // Scripts share a directory.
        let identity = format!("{}/{name}", self.script.name);
        let is_holder = |life: &Life| life.identity.as_ref() == Some(&identity);
        let is_first = self.lives[conn].identity.is_none();
        let holder = self.lives.iter().position(is_holder).filter(|_| is_first);
        if let Some(holder) = holder {
            self.ends(holder, "superseded", End::Reset);
        }
        // A second claim of one connection is declined, which is one call as well.
        self.told(conn, 1);
        let claim = format!("claim {identity}");
        self.lines(conn, &[&[claim.as_str()], lines].concat());
        self.lives[conn].identity.get_or_insert(identity);
        if let Some(holder) = holder {
            let due = (holder, self.lives[holder].due);
            self.script.steps.last_mut().expect("the claim is a step").dues.push(due);
        }
    }

    // Reading.

    pub(crate) fn stop_reading(&mut self, conn: usize) {
        assert!(self.can_stop_reading(conn), "{}: a peer stops reading twice", self.script.name);
        self.lives[conn].reading = Reading::Stopped;
        self.step(conn, Action::StopReading);
    }

    /// We send more than all buffers hold.
    pub(crate) fn flood(&mut self, conn: usize) {
        assert_eq!(self.lives[conn].reading, Reading::Stopped, "a flood is for who does not read");
        self.sends(conn, FLOOD_BYTES);
        self.lines(conn, &[&format!("flood {FLOOD_BYTES}")]);
    }

    /// Reads what has piled up, and whatever ends the stream.
    pub(crate) fn read_again(&mut self, conn: usize) {
        let life = &mut self.lives[conn];
        life.reading = Reading::Again;
        life.due.read += std::mem::take(&mut life.owed);
        life.due.end = life.end_to_come;
        // Only who may still be sent something is told that there is room.
        life.due.told += usize::from(life.phase == Phase::Open);
        self.step(conn, Action::ReadAgain);
    }

    // Falling silent.

    pub(crate) fn silent_until_overdue(&mut self, conn: usize) {
        self.goes_overdue(conn);
        self.step(conn, Action::KeepSilent);
    }

    /// An overdue peer speaks; its next beat is not due before the script is over.
    pub(crate) fn speak_up(&mut self, conn: usize, first: &str) {
        self.told(conn, 1);
        self.write(conn, &format!("{first}{}\n", negotiation(UNHURRIED)));
    }

    /// It is told that it is dead. Our sending side is shut then.
    pub(crate) fn silent_until_dead(&mut self, conn: usize) {
        self.goes_overdue(conn);
        self.told(conn, 1);
        let life = &mut self.lives[conn];
        // An answer to our ping is missing from a machine that acknowledged it.
        let cause = if life.is_pinged { "peer_stuck" } else { "heartbeat_missed" };
        life.last_word(cause);
        life.phase = Phase::Grace;
        life.due.end = End::Eof;
        self.step(conn, Action::KeepSilent);
    }

    /// The deadline of the hello, of a frame or of the grace period passes, and it is over.
    pub(crate) fn silent_until_over(&mut self, conn: usize, cause: &str) {
        let end = if self.lives[conn].phase == Phase::Grace { End::Eof } else { End::Reset };
        self.ends(conn, cause, end);
        self.step(conn, Action::KeepSilent);
    }

    /// A peer that does not read is reset although it is over already.
    pub(crate) fn silent_until_drained(&mut self, conn: usize) {
        self.lives[conn].due.end = End::Reset;
        self.step(conn, Action::KeepSilent);
    }

    // Ending.

    /// Leaves, in the same instant as it writes its last lines.
    pub(crate) fn leave(&mut self, conn: usize, lines: &[&str], leave: Leave) {
        self.told(conn, lines.len());
        let (cause, sees) = match leave {
            Leave::Fin => ("peer_closed", Some(End::Eof)),
            Leave::Close => ("peer_closed", None),
            Leave::Reset => ("peer_reset", None),
        };
        match (sees, self.lives[conn].phase) {
            (_, Phase::Over) => {}
            (Some(end), _) => self.ends(conn, cause, end),
            (None, _) => self.ends_unseen(conn),
        }
        let text = segment(lines);
        let action =
            if text.is_empty() { Action::Leave(leave) } else { Action::Write(text.into(), Some(leave)) };
        self.step(conn, action);
    }

    /// Asks for an echo and shuts its sending side in the same instant.
    pub(crate) fn echo_and_fin(&mut self, conn: usize, text: &str) {
        self.sends(conn, text.len() + 1);
        self.leave(conn, &[&format!("echo {text}")], Leave::Fin);
    }

    /// Something that is no line, behind some that are.
    pub(crate) fn garbage(&mut self, conn: usize, lines: &[&str]) {
        self.told(conn, lines.len());
        self.breaks_protocol(conn, "protocol", segment(lines) + "!#*\n");
    }

    /// A line without an end.
    pub(crate) fn oversized(&mut self, conn: usize) {
        self.breaks_protocol(conn, "too_large", "x".repeat(FRAME_BYTES_MAX + 1000));
    }

    pub(crate) fn bye(&mut self, conn: usize) {
        self.sends(conn, b"bye\n".len());
        self.ends(conn, "peer_closed", End::Eof);
        self.step(conn, Action::Write(b"bye\n".to_vec(), None));
    }

    /// Has the handler close it.
    pub(crate) fn ask_to_close(&mut self, conn: usize) {
        self.told(conn, 1);
        self.ends(conn, "local", End::Eof);
        self.step(conn, Action::Write(b"close\n".to_vec(), None));
    }

    /// What comes after the end is heard by nobody.
    pub(crate) fn talk_on(&mut self, conn: usize) {
        self.step(conn, Action::Write(b"hello?\n".to_vec(), None));
    }

    // Bookkeeping.

    fn breaks_protocol(&mut self, conn: usize, cause: &str, text: String) {
        // Only if there is a last word is the peer given the time to read it.
        let end = if self.lives[conn].has_last_word { End::Eof } else { End::Reset };
        self.ends(conn, cause, end);
        self.step(conn, Action::Write(text.into(), None));
    }

    fn goes_overdue(&mut self, conn: usize) {
        self.told(conn, 1);
        if self.lives[conn].is_pinged {
            self.sends(conn, b"ping\n".len());
        }
    }

    fn ends(&mut self, conn: usize, cause: &str, end: End) {
        let life = &mut self.lives[conn];
        if life.phase == Phase::Open {
            life.due.told += 1;
            life.last_word(cause);
            life.end_to_come = end;
            // Behind what it does not read it sees no end; a reset has nothing before it.
            if life.reading != Reading::Stopped || end == End::Reset {
                life.due.end = end;
            }
        }
        self.ends_as_decided(conn);
    }

    /// The peer is gone and sees nothing of it.
    fn ends_unseen(&mut self, conn: usize) {
        self.told(conn, usize::from(self.is_open(conn)));
        self.ends_as_decided(conn);
    }

    fn ends_as_decided(&mut self, conn: usize) {
        let life = &mut self.lives[conn];
        life.due.told += 1;
        life.phase = Phase::Over;
        life.identity = None;
    }

    fn told(&mut self, conn: usize, calls: usize) {
        self.lives[conn].due.told += calls;
    }

    fn sends(&mut self, conn: usize, bytes: usize) {
        self.lives[conn].sends(bytes);
    }

    fn write(&mut self, conn: usize, text: &str) {
        self.lives[conn].due.heard += text.len();
        self.step(conn, Action::Write(text.into(), None));
    }

    fn step(&mut self, conn: usize, action: Action) {
        let dues = vec![(conn, self.lives[conn].due)];
        self.script.steps.push(Step { conn, action, dues });
    }
}

impl Life {
    fn new() -> Self {
        Self {
            due: Due { told: 0, heard: 0, read: 0, end: End::Open },
            phase: Phase::Open,
            has_last_word: false,
            is_pinged: false,
            reading: Reading::AsEver,
            owed: 0,
            end_to_come: End::Open,
            identity: None,
        }
    }

    fn sends(&mut self, bytes: usize) {
        match self.reading {
            Reading::AsEver | Reading::Again => self.due.read += bytes,
            Reading::Stopped => self.owed += bytes,
        }
    }

    fn last_word(&mut self, cause: &str) {
        if self.has_last_word {
            self.sends(cause.len() + 1);
        }
    }
}

fn segment(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn negotiation(dead_within: Duration) -> String {
    format!("dead {}", dead_within.as_millis())
}
