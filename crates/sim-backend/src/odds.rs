//! How likely each fault is.

use std::time::Duration;

use crate::dice::Dice;
use crate::fault::Fault;

/// How likely each fault is, and how long those last that last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultOdds {
    per_million: [u32; Fault::COUNT],
    /// The longest delay: each fault that makes something late chooses among shorter ones, short ones as often as long
    /// ones. It is meant to be less than the shard's tolerance of its own absences.
    pub delay_max: Duration,
    /// The longest [`Fault::Stall`]. The shortest is `delay_max`.
    pub stall_max: Duration,
}

impl FaultOdds {
    /// No fault at all.
    pub const NONE: Self = Self {
        per_million: [0; Fault::COUNT],
        delay_max: Duration::from_millis(1),
        stall_max: Duration::from_secs(1),
    };

    /// How often in a million times `fault` happens where it can.
    pub const fn get(&self, fault: Fault) -> u32 {
        self.per_million[fault as usize]
    }

    /// Sets how often in a million times `fault` happens where it can.
    pub const fn set(&mut self, fault: Fault, per_million: u32) {
        self.per_million[fault as usize] = per_million;
    }

    /// Odds by chance. Each kind is off in half of the cases, so that faults also meet a world that is otherwise well;
    /// those that are on are as often rare as frequent, and never so frequent that nothing could go on.
    pub fn draw(dice: &mut Dice) -> Self {
        let mut odds = Self::NONE;
        for fault in Fault::ALL {
            let per_million = up_to(dice, u64::from(most(fault)));
            if dice.one_in(2) {
                odds.set(fault, per_million as u32);
            }
        }
        odds.delay_max = Duration::from_nanos(up_to(dice, 16_000_000));
        odds.stall_max = odds.delay_max + Duration::from_nanos(up_to(dice, 64_000_000_000));
        odds
    }
}

/// A number of any magnitude down to a thousandth of `most`: small ones are as likely as large ones.
fn up_to(dice: &mut Dice, most: u64) -> u64 {
    let most = most >> dice.below(10);
    dice.between(most / 2, most).max(1)
}

/// The most that [`FaultOdds::draw`] gives a kind, in a million.
const fn most(fault: Fault) -> u32 {
    match fault {
        // Drawn once per wait, and a wait is what everything else needs to go on.
        Fault::WaitEarly | Fault::ToldInParts | Fault::ToldInAnotherOrder => 500_000,
        Fault::WaitLate | Fault::Absence => 50_000,
        // There are tens of thousands of waits, and after a stall nobody is judged for a while.
        Fault::Stall => 1_000,
        // Each costs a connection, and a world in which every connection is lost tests nothing else.
        Fault::AcceptLosesClient | Fault::RecvFails | Fault::SendFails => 20_000,
        // Accepting pauses for up to half a second after each.
        Fault::AcceptShortage => 50_000,
        // One more wait for each piece.
        Fault::ReadPiece => 250_000,
        // They can happen so seldom that they should, then. And a recv that delivers is cancelled again.
        Fault::AcceptedAfterUnlisten | Fault::SentAfterClose | Fault::WatchedAfterClose => 1_000_000,
        Fault::ReceivedAfterClose => 900_000,
        Fault::AcceptLate
        | Fault::BuffersOut
        | Fault::LeaseLate
        | Fault::LeaseMeetsBytes
        | Fault::WatchLate
        | Fault::WatchMissesBytes
        | Fault::WatchReadyLate
        | Fault::WatchFails
        | Fault::SendShort
        | Fault::SendParks
        | Fault::ExamineLate
        | Fault::ExamineBlank
        | Fault::ShutdownLate
        | Fault::CloseJoinsSlowly => 500_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_on_in_about_half_of_the_draws_and_never_beyond_its_bound() {
        let mut dice = Dice::new(3);
        let draws: Vec<FaultOdds> = (0..1000).map(|_| FaultOdds::draw(&mut dice)).collect();
        for fault in Fault::ALL {
            let on = draws.iter().filter(|odds| odds.get(fault) > 0).count();
            assert!((400..600).contains(&on), "{fault:?} is on in {on} of 1000");
            assert!(draws.iter().all(|odds| odds.get(fault) <= most(fault)), "{fault:?}");
        }
        assert!(draws.iter().all(|odds| odds.stall_max > odds.delay_max && !odds.delay_max.is_zero()));
    }

    #[test]
    fn rare_faults_are_drawn_as_often_as_frequent_ones() {
        let mut dice = Dice::new(4);
        let mut drawn = Vec::new();
        while drawn.len() < 1000 {
            let per_million = FaultOdds::draw(&mut dice).get(Fault::SendParks);
            drawn.extend((per_million > 0).then_some(per_million));
        }
        let rare = drawn.iter().filter(|per_million| **per_million < 5_000).count();
        let frequent = drawn.iter().filter(|per_million| **per_million > 100_000).count();
        assert!(rare > 200 && frequent > 200, "{rare} rare, {frequent} frequent");
    }
}
