//! Choices by chance that can be repeated: a test prints its seed, and takes that of `CAISSON_TEST_SEED`.

use std::time::{SystemTime, UNIX_EPOCH};

/// xorshift64*: enough to choose by.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The choices of a stream: those of another one, or of another seed, are others.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Random {
        // The multiplier of splitmix64 spreads neighbouring streams over all bits; 0 would stay 0.
        Random((seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1))
    }

    /// A number below this one.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    /// One of a list, which is not empty.
    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).expect("an index")]
    }
}

/// The seed of this run, printed where a failure shows it.
#[allow(clippy::print_stdout)] // captured by the test harness until then
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("CAISSON_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let nanos = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").subsec_nanos().into();
    let seed = given.unwrap_or_else(nanos);
    println!("CAISSON_TEST_SEED={seed}");
    seed
}
