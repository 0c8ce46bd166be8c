//! Who comes: characters of clients, and how many there are of each.

use heartring_sim::Dice;

use crate::plan::any_number;

/// What a client is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
    /// It beats in time and leaves in order.
    Honest,
    /// It misses beats, and speaks before the deadline, at it, in the grace period, or after that.
    Late,
    /// It says hello and nothing more.
    Silent,
    /// After some beats its program hangs.
    Hung,
    /// It asks for much, and reads late or never.
    SlowReader,
    /// It sends a frame drop by drop.
    Dripping,
    /// It sends more than is read.
    Flooding,
    /// It ends with an RST.
    Resetting,
    /// Its power fails, and it comes back, again and again.
    Rebooting,
    /// It wants its identity for itself, and comes back when it loses it.
    Fighting,
    /// It sends what is no frame.
    Babbling,
    /// It sends a frame that is too large.
    Boasting,
    /// It sends its FIN and reads on.
    HalfOpen,
    /// It closes without having read what it asked for.
    Hasty,
    /// It says goodbye.
    Polite,
    /// It connects, and that is all.
    Mute,
    /// It begins a frame and never ends it.
    Stuck,
    /// It is gone from one moment to the next, perhaps within a frame.
    Vanishing,
    /// It is gone before anybody has accepted it.
    Impatient,
}

impl Character {
    const ALL: [Self; 19] = [
        Self::Honest,
        Self::Late,
        Self::Silent,
        Self::Hung,
        Self::SlowReader,
        Self::Dripping,
        Self::Flooding,
        Self::Resetting,
        Self::Rebooting,
        Self::Fighting,
        Self::Babbling,
        Self::Boasting,
        Self::HalfOpen,
        Self::Hasty,
        Self::Polite,
        Self::Mute,
        Self::Stuck,
        Self::Vanishing,
        Self::Impatient,
    ];

    /// Who comes, in proportion: some of all characters, and always the honest.
    pub(crate) fn cast(dice: &mut Dice) -> Vec<(Self, u64)> {
        let mut cast = vec![(Self::Honest, any_number(dice, 1, 40))];
        for character in Self::ALL {
            if dice.below(4) > 0 {
                cast.push((character, any_number(dice, 1, 20)));
            }
        }
        cast
    }

    /// One of the cast.
    pub(crate) fn draw(dice: &mut Dice, cast: &[(Self, u64)]) -> Self {
        let total: u64 = cast.iter().map(|(_, share)| share).sum();
        let mut left = dice.between(1, total);
        for (character, share) in cast {
            if left <= *share {
                return *character;
            }
            left -= share;
        }
        Self::Honest
    }
}
