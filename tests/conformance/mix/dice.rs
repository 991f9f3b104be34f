//! Chance that can be repeated.

/// A xorshift generator: the same seed gives the same requests.
pub struct Dice(u64);

impl Dice {
    /// Any seed will do.
    pub fn new(seed: u64) -> Self {
        // Seeds that are close to each other must not begin alike, and the state must not be zero.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides as u64).expect("less than it was")
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    /// One of them.
    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    /// One of the words of a line; a word that stands there more often comes more often.
    pub fn word<'a>(&mut self, line: &'a str) -> &'a str {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.pick(&words)
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
    let rolls = |seed| {
        let mut dice = Dice::new(seed);
        (0..50).map(|_| dice.roll(1000)).collect::<Vec<_>>()
    };
    assert_eq!(rolls(7), rolls(7));
    assert_ne!(rolls(7), rolls(8));
    assert!(rolls(7).iter().collect::<std::collections::BTreeSet<_>>().len() > 40);
}
