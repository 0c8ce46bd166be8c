//! Scripts from a seed.
//!
//! A script is a row of episodes of one connection each. An episode begins with a connection whose deadline is far and leaves it
//! so, or ends it; what would let a deadline run while another connection has its turn does not occur.

use heartring_tests::Dice;

use super::author::Author;
use super::script::{Leave, Script};
use super::setting::{FATAL, WATCHFUL};

/// Connections of one script at most.
const CONNS_MAX: u64 = 8;

/// Episodes for each of them, on average.
const EPISODES: u64 = 4;

/// How many units of half a second the episodes of a script may last.
const SLOW_MAX: u64 = 8;

/// Identities that the connections of a script share.
const IDENTITIES: [&str; 2] = ["red", "blue"];

const LEAVES: [Leave; 3] = [Leave::Fin, Leave::Close, Leave::Reset];

/// The script of a seed.
pub(crate) fn script(seed: u64) -> Script {
    let mut writer =
        Writer { author: Author::new(&format!("seed {seed}"), Some(seed)), dice: Dice::new(seed), slow: 0 };
    let conns_max = 1 + writer.dice.below(CONNS_MAX);
    let mut open = Vec::new();
    let mut connected = 0;
    for _ in 0..conns_max * EPISODES {
        let is_newcomer = writer.dice.below(conns_max) >= open.len() as u64;
        if is_newcomer && connected < conns_max {
            connected += 1;
            open.extend(writer.newcomer());
        } else if !open.is_empty() {
            let conn = open[writer.dice.below(open.len() as u64) as usize];
            writer.episode(conn);
        }
        open.retain(|conn| writer.author.is_open(*conn));
    }
    writer.author.finish()
}

struct Writer {
    author: Author,
    dice: Dice,
    /// How long it lasts so far, in half seconds.
    slow: u64,
}

impl Writer {
    /// A peer connects. `None`, if it has not come further.
    fn newcomer(&mut self) -> Option<usize> {
        let conn = self.author.connect();
        match self.dice.below(12) {
            0 => self.author.garbage(conn, &[]),
            1 => self.leave(conn, &[]),
            2 if self.may_last(4) => self.author.silent_until_over(conn, "hello_missed"),
            3 => self.author.beat(conn),
            4 => self.claim(conn),
            5 => self.author.pieces(conn, &["hello"], &[3]),
            _ => self.author.lines(conn, &["hello"]),
        }
        let (wants_word, wants_pings) = (self.dice.below(3) == 0, self.dice.below(3) == 0);
        self.author.is_open(conn).then(|| {
            if wants_word {
                self.author.want_last_word(conn);
            }
            if wants_pings {
                self.author.want_pings(conn);
            }
            conn
        })
    }

    fn episode(&mut self, conn: usize) {
        match self.dice.below(10) {
            0..5 => self.speak(conn),
            5 if self.author.can_stop_reading(conn) => self.congest(conn),
            6 if self.may_last(1) => self.be_overdue(conn),
            7 => self.claim(conn),
            8 => self.end(conn),
            9 => self.end_slowly(conn),
            _ => self.author.beat(conn),
        }
    }

    fn speak(&mut self, conn: usize) {
        let texts = self.texts();
        let lines: Vec<&str> = texts.iter().map(String::as_str).collect();
        match self.dice.below(6) {
            0 => self.author.echo(conn, lines[0]),
            1 => self.author.ping(conn),
            2 => self.author.beat(conn),
            3 => self.author.negotiate_in_vain(conn),
            4 => {
                let cuts = self.cuts(&lines);
                self.author.pieces(conn, &lines, &cuts);
            }
            _ => self.author.lines(conn, &lines),
        }
    }

    /// Stops reading, is sent more than fits, and reads again.
    fn congest(&mut self, conn: usize) {
        self.author.stop_reading(conn);
        self.author.flood(conn);
        if self.dice.below(2) == 0 {
            self.speak(conn);
        }
        match self.dice.below(6) {
            0 if self.may_last(4) => return self.author.silent_until_over(conn, "slow_consumer"),
            1 => return self.author.leave(conn, &[], Leave::Reset),
            2 => self.author.leave(conn, &["enough"], Leave::Fin),
            3 => self.author.ask_to_close(conn),
            _ => {}
        }
        self.author.read_again(conn);
    }

    fn be_overdue(&mut self, conn: usize) {
        self.author.negotiate(conn, WATCHFUL);
        if self.dice.below(3) == 0 {
            self.author.half(conn, "half a f");
            self.author.silent_until_overdue(conn);
            self.author.lines(conn, &["rame"]);
        }
        self.author.silent_until_overdue(conn);
        match self.dice.below(5) {
            0 => self.leave(conn, &[]),
            1 => self.author.garbage(conn, &[]),
            2 => self.author.speak_up(conn, "pong\n"),
            3 => self.author.speak_up(conn, "\n"),
            _ => self.author.speak_up(conn, ""),
        }
    }

    fn claim(&mut self, conn: usize) {
        let identity = IDENTITIES[self.dice.below(IDENTITIES.len() as u64) as usize];
        let more: &[&str] = if self.dice.below(2) == 0 { &["at once"] } else { &[] };
        self.author.claim(conn, identity, more);
    }

    fn end(&mut self, conn: usize) {
        let texts = self.texts();
        let lines: Vec<&str> = texts.iter().map(String::as_str).collect();
        match self.dice.below(8) {
            0 => self.author.garbage(conn, &lines),
            1 => self.author.oversized(conn),
            2 => self.author.echo_and_fin(conn, lines[0]),
            3 => {
                self.author.bye(conn);
                self.leave(conn, &[]);
            }
            4 => {
                self.author.ask_to_close(conn);
                self.author.talk_on(conn);
            }
            5 => self.leave(conn, &[]),
            _ => self.leave(conn, &lines),
        }
    }

    /// Endings that take their time.
    fn end_slowly(&mut self, conn: usize) {
        if self.dice.below(3) == 0 && self.may_last(4) {
            self.author.half(conn, "half a f");
            return self.author.silent_until_over(conn, "frame_stalled");
        }
        if !self.may_last(2) {
            return self.speak(conn);
        }
        self.author.negotiate(conn, FATAL);
        if self.dice.below(3) == 0 {
            self.author.half(conn, "half a f");
        }
        self.author.silent_until_dead(conn);
        self.be_late(conn);
    }

    /// In grace.
    fn be_late(&mut self, conn: usize) {
        let texts = self.texts();
        let lines: Vec<&str> = texts.iter().map(String::as_str).collect();
        if self.dice.below(2) == 0 {
            self.author.lines(conn, &lines);
        }
        match self.dice.below(4) {
            0 => self.author.garbage(conn, &lines),
            1 if self.may_last(3) => self.author.silent_until_over(conn, "heartbeat_missed"),
            2 => self.leave(conn, &[]),
            _ => self.leave(conn, &lines),
        }
    }

    fn leave(&mut self, conn: usize, lines: &[&str]) {
        let leave = LEAVES[self.dice.below(LEAVES.len() as u64) as usize];
        self.author.leave(conn, lines, leave);
    }

    /// One to four lines, now and then a long one.
    fn texts(&mut self) -> Vec<String> {
        let count = 1 + self.dice.below(4);
        (0..count).map(|_| self.text()).collect()
    }

    fn text(&mut self) -> String {
        let length = if self.dice.below(8) == 0 { 2000 } else { 12 };
        let letters = (0..=self.dice.below(length)).map(|_| char::from(b'a' + self.dice.below(26) as u8));
        // No instruction begins with it.
        format!("={}", letters.collect::<String>())
    }

    /// One to three places within these lines, in order.
    fn cuts(&mut self, lines: &[&str]) -> Vec<usize> {
        let bytes: u64 = lines.iter().map(|line| line.len() as u64 + 1).sum();
        let mut cuts: Vec<usize> =
            (0..=self.dice.below(3)).map(|_| 1 + self.dice.below(bytes - 1) as usize).collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    /// Whether the script may last so many half seconds more; then it does.
    fn may_last(&mut self, halves: u64) -> bool {
        let may = self.slow + halves <= SLOW_MAX;
        self.slow += if may { halves } else { 0 };
        may
    }
}
