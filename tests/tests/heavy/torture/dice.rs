//! Random numbers that a seed repeats.

/// xorshift64.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The seed must not be zero.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        // The first numbers of similar seeds are similar.
        for _ in 0..20 {
            dice.below(2);
        }
        dice
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % n as u64).expect("below a usize")
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
