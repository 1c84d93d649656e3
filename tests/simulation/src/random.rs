//! A small random number generator whose only state is its seed, so that a failing run can be repeated.

use std::time::Duration;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers that depend on all of `parts` and on nothing else.
    pub fn of(parts: [u64; 4]) -> Self {
        let mix = |state: u64, part: &u64| Self(state ^ part).draw();
        Self(parts.iter().fold(0, mix))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, inclusive.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low + 1)
    }

    /// True in `chance` of 100 calls.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.draw() % 100 < chance
    }

    /// One of `choices`.
    pub fn choose<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        let last = N as u64 - 1;
        choices[self.between(0, last) as usize]
    }

    /// A duration from `low` to `high`, inclusive.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.between(low.as_nanos() as u64, high.as_nanos() as u64))
    }

    /// A whole number of milliseconds from `low` to `high`, inclusive: short in a script.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}
