//! What each character does: a script, which the dice fill in.
//!
//! It is written when a client connects and knows nothing of what becomes of it. What a client does in answer to something (a pong,
//! leaving when we leave, coming back to fight for its identity) is in `scene`.

use std::collections::VecDeque;
use std::time::Duration;

use heartring_sim::Dice;

use crate::character::Character;
use crate::mishap::Mishap;
use crate::plan::{Plan, any_number, up_to};
use crate::speech::Ask;

/// How a client ends its side of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its FIN: it still reads.
    Fin,
    /// Its FIN, and an RST to whatever it is sent.
    Close,
    /// An RST.
    Reset,
    /// Nothing at all.
    Vanish,
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// A data frame.
    Data(Ask),
    /// So many frames in one go.
    Burst(u32),
    Beat,
    Ping,
    Goodbye,
    /// The first bytes of a data frame.
    Begin,
    /// One more byte of it.
    Drip,
    /// What is left of it.
    Rest,
    Garbage,
    TooLarge,
    End(End),
    Hang,
    StopReading,
    Read,
    Cut,
    Mend,
    /// The device is up again, and connects anew.
    Return,
    /// Nothing, but it is a mishap.
    Note(Mishap),
}

/// Moves, each with the time since the one before.
pub(crate) type Script = VecDeque<(Duration, Move)>;

/// What one of a character does.
pub(crate) fn script_of(character: Character, dice: &mut Dice, plan: &Plan, claims: bool) -> Script {
    let every = plan.liveness.beat_every;
    let mut writer = Writer { dice, plan, every, wait: Duration::ZERO, script: Script::new() };
    if !matches!(character, Character::Mute | Character::Impatient) {
        writer.hello(claims);
    }
    writer.outage();
    writer.play(character);
    writer.script
}

/// Writes a script.
struct Writer<'a> {
    dice: &'a mut Dice,
    plan: &'a Plan,
    /// How often it has to beat: less than that after it has asked for a shorter deadline.
    every: Duration,
    /// Time that has passed since the last move.
    wait: Duration,
    script: Script,
}

impl Writer<'_> {
    fn play(&mut self, character: Character) {
        let drips = any_number(self.dice, 2, 40);
        match character {
            Character::Honest => {
                self.beats();
                self.leave();
            }
            Character::Late => self.late(),
            Character::Silent => self.put(Move::Note(Mishap::Silent)),
            Character::Hung => self.after_beats(Move::Hang),
            Character::SlowReader => self.read_slowly(),
            Character::Dripping => self.drip(drips),
            Character::Flooding => self.flood(drips),
            Character::Resetting => self.after_beats(Move::End(End::Reset)),
            Character::Rebooting => {
                self.after_beats(Move::End(End::Vanish));
                self.pass(self.plan.liveness.dead_within);
                self.put(Move::Return);
            }
            Character::Fighting => self.beats(),
            Character::Babbling => self.after_beats(Move::Garbage),
            Character::Boasting => self.after_beats(Move::TooLarge),
            Character::HalfOpen => self.after_beats(Move::End(End::Fin)),
            Character::Hasty => {
                let bytes = any_number(self.dice, 1, u64::from(self.plan.answer_max)) as u32;
                self.after_beats(Move::Data(Ask::Send(bytes)));
                self.pass(self.plan.latency_max);
                self.put(Move::End(End::Close));
            }
            Character::Polite => {
                self.after_beats(Move::Goodbye);
                self.pass(self.every);
                let end = *self.dice.pick(&[Move::End(End::Fin), Move::End(End::Close)]);
                self.put(end);
            }
            Character::Mute => self.put(Move::Note(Mishap::NeverHello)),
            Character::Stuck => self.stick(),
            Character::Vanishing => {
                if self.dice.one_in(2) {
                    self.after_beats(Move::Begin);
                    self.pass(self.every / 2);
                }
                self.after_beats(Move::End(End::Vanish));
            }
            Character::Impatient => {
                let end = *self.dice.pick(&[
                    Move::End(End::Fin),
                    Move::End(End::Close),
                    Move::End(End::Reset),
                    Move::End(End::Vanish),
                ]);
                self.put(Move::Note(Mishap::LeftInQueue));
                if self.dice.one_in(2) {
                    self.put(Move::Beat);
                }
                self.put(end);
            }
        }
    }

    fn put(&mut self, next: Move) {
        self.script.push_back((std::mem::take(&mut self.wait), next));
    }

    /// Lets up to `most` pass.
    fn pass(&mut self, most: Duration) {
        self.wait += up_to(self.dice, most);
    }

    /// The first frame, which may claim; then perhaps more in the same breath, and half a frame behind it.
    fn hello(&mut self, claims: bool) {
        if self.dice.one_in(4) {
            self.pass(self.plan.liveness.hello_within.min(self.plan.liveness.dead_within) / 2);
        }
        if !claims || self.dice.one_in(5) {
            self.put(Move::Beat);
        }
        if claims {
            let last = self.dice.one_in(40);
            self.put(Move::Data(if last { Ask::ClaimAndClose } else { Ask::Claim }));
        }
        if self.dice.one_in(3) {
            let more = any_number(self.dice, 1, 5) as u32;
            self.put(Move::Burst(more));
        }
        if self.dice.one_in(6) {
            self.put(Move::Begin);
            self.pass(self.plan.liveness.frame_within.min(self.every) / 2);
            self.put(Move::Rest);
        }
        if claims && self.dice.one_in(20) {
            self.put(Move::Data(Ask::Claim));
        }
    }

    /// Its path is gone for a while, most often for no longer than it survives.
    fn outage(&mut self) {
        if !self.dice.one_in(self.plan.outage_in) {
            return;
        }
        let liveness = &self.plan.liveness;
        let long = self.dice.one_in(4);
        let most = if long { liveness.dead_within * 2 } else { liveness.outage_survived() };
        self.put(Move::Cut);
        if self.dice.one_in(2) {
            self.put(Move::Data(Ask::Nothing));
        }
        self.pass(most.saturating_sub(self.every / 2));
        if self.dice.one_in(20) {
            self.put(Move::Note(Mishap::PathLost));
        } else {
            self.put(Move::Mend);
        }
    }

    /// Beats in time, and what it has to say.
    fn beats(&mut self) {
        for _ in 0..any_number(self.dice, 1, self.plan.beats_max) {
            let most = self.every.saturating_sub(self.plan.latency_max);
            self.wait += most / 2 + up_to(self.dice, most / 2);
            let next = match self.dice.below(8) {
                0..=2 => Move::Beat,
                3 => Move::Ping,
                4 => Move::Burst(any_number(self.dice, 1, 8) as u32),
                _ => Move::Data(self.ask()),
            };
            self.put(next);
        }
    }

    fn after_beats(&mut self, then: Move) {
        if self.dice.below(3) > 0 {
            self.beats();
        }
        self.pass(self.every);
        self.put(then);
    }

    fn leave(&mut self) {
        self.pass(self.every);
        match self.dice.below(5) {
            0 => self.put(Move::End(End::Fin)),
            1 | 2 => {
                self.put(Move::End(End::Fin));
                self.pass(self.every);
                self.put(Move::End(End::Close));
            }
            3 => {
                self.put(Move::Goodbye);
                self.put(Move::End(End::Fin));
            }
            _ => {} // It stays until it is told to go: its beats have come to an end.
        }
    }

    /// A gap that ends around one of the instants at which something is decided.
    fn late(&mut self) {
        let liveness = self.plan.liveness;
        for _ in 0..self.dice.between(1, 3) {
            self.beats();
            let ends = [
                liveness.overdue_after,
                liveness.dead_within,
                liveness.dead_within + liveness.grace / 2,
                liveness.dead_within + liveness.grace,
                liveness.dead_within + liveness.grace * 2,
            ];
            let (end, width) =
                (*self.dice.pick(&ends), liveness.dead_within / *self.dice.pick(&[4, 1_000, 100_000]));
            self.wait += (end + up_to(self.dice, width)).saturating_sub(width / 2);
            self.put(Move::Note(Mishap::BeatLate));
            let voice = if self.dice.one_in(2) { Move::Beat } else { Move::Data(self.ask()) };
            self.put(voice);
            if self.dice.one_in(2) {
                self.put(Move::Burst(3));
            }
        }
        self.leave();
    }

    fn read_slowly(&mut self) {
        let most = u64::from(self.plan.answer_max);
        if self.dice.one_in(4) {
            let bytes = any_number(self.dice, 1, most) as u32;
            self.put(Move::Data(Ask::Subscribe(bytes)));
        }
        self.put(Move::StopReading);
        for _ in 0..self.dice.between(1, 6) {
            let bytes = any_number(self.dice, most / 2, most) as u32;
            self.put(Move::Data(Ask::Send(bytes)));
        }
        self.beats();
        if self.dice.one_in(2) {
            self.put(Move::Read);
        }
        self.beats();
        self.leave();
    }

    /// Byte by byte: in time, or so slowly that the frame stalls.
    fn drip(&mut self, drips: u64) {
        self.after_beats(Move::Begin);
        let within = self.plan.liveness.frame_within.min(self.every);
        let all = if self.dice.one_in(2) { within / 2 } else { self.plan.liveness.frame_within * 2 };
        self.put(Move::Note(Mishap::Dripped));
        for _ in 0..drips {
            self.wait += all / drips as u32;
            self.put(Move::Drip);
            if self.dice.one_in(20) {
                self.put(Move::Rest);
                self.put(Move::Begin);
            }
        }
        self.put(Move::Rest);
        self.beats();
        self.leave();
    }

    fn flood(&mut self, bursts: u64) {
        for _ in 0..bursts {
            self.pass(self.plan.latency_max);
            let frames = any_number(self.dice, 8, 40) as u32;
            self.put(Move::Burst(frames));
        }
        self.beats();
        self.leave();
    }

    fn stick(&mut self) {
        self.after_beats(Move::Begin);
        self.put(Move::Note(Mishap::FrameLeft));
        if self.dice.one_in(3) {
            self.wait += self.plan.liveness.frame_within;
            self.pass(self.plan.liveness.dead_within);
            self.put(Move::Rest);
        }
    }

    fn ask(&mut self) -> Ask {
        let plan = self.plan;
        if !self.dice.one_in(plan.asks_in) {
            return Ask::Nothing;
        }
        match self.dice.below(12) {
            0..=3 => Ask::Send(any_number(self.dice, 1, u64::from(plan.answer_max)) as u32),
            4 => Ask::Subscribe(any_number(self.dice, 1, u64::from(plan.answer_max)) as u32),
            5 => self.negotiate(),
            6 | 7 => Ask::Post(self.dice.below(usize::from(plan.shards)) as u32),
            8..=9 => Ask::Tell(self.dice.below(plan.identities as usize) as u32),
            10 => Ask::TakeTime(up_to(self.dice, plan.liveness.dead_within / 50).as_micros() as u32),
            _ if self.dice.one_in(4) => Ask::Close,
            _ => Ask::Nothing,
        }
    }

    /// A deadline that is most often within the bounds; from then on it beats in time for the new one too.
    fn negotiate(&mut self) -> Ask {
        let (limits, before) = (&self.plan.config.limits, self.plan.liveness);
        let (least, most) = (limits.dead_within_min.as_millis(), limits.dead_within_max.as_millis());
        let millis = any_number(self.dice, least as u64, most as u64 + 1);
        let ratio = millis as f64 / before.dead_within.as_millis() as f64;
        self.every = self.every.min(before.beat_every.mul_f64(ratio * 0.9));
        Ask::Negotiate(millis as u32)
    }
}
