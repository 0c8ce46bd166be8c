//! Chance, from a seed. SplitMix64 (Steele, Lea, Flood 2014): a few lines, and every seed is as good as any other.

/// Dice: everything they roll follows from the seed, on every machine.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that begin at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    /// A number from `least` to `most`, both included.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        match (most - least).checked_add(1) {
            Some(span) => least + self.roll() % span,
            None => self.roll(),
        }
    }

    /// True once in `times`.
    pub const fn one_in(&mut self, times: u64) -> bool {
        self.roll().is_multiple_of(times)
    }

    /// True so many times in a million.
    pub const fn chance(&mut self, per_million: u32) -> bool {
        self.roll() % 1_000_000 < per_million as u64
    }

    /// One of them; there is at least one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Other dice, whose rolls have nothing to do with the further rolls of these.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self(self.roll())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_range_are_rolled_and_nothing_beyond() {
        let mut dice = Dice::new(7);
        let rolled: Vec<u64> = (0..100).map(|_| dice.between(3, 5)).collect();
        assert!((3..=5).all(|number| rolled.contains(&number)) && rolled.iter().all(|n| (3..=5).contains(n)));
        assert_ne!(dice.between(0, u64::MAX), dice.between(0, u64::MAX));
    }

    #[test]
    fn a_chance_comes_true_as_often_as_it_says() {
        let mut dice = Dice::new(1);
        let hits = (0..100_000).filter(|_| dice.chance(10_000)).count();
        assert!((900..1100).contains(&hits), "{hits} of 100 000 with one in a hundred");
        assert!((0..1000).all(|_| !dice.chance(0)) && (0..1000).all(|_| dice.chance(1_000_000)));
    }

    #[test]
    fn the_same_seed_rolls_the_same() {
        let (mut one, mut other) = (Dice::new(9), Dice::new(9));
        assert!((0..100).all(|_| one.roll() == other.roll()));
        assert_ne!(one.fork().roll(), one.roll());
    }
}
