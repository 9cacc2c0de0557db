//! Chance that is the same in every run with the same `MONSTACK_CHAOS_SEED`.

/// Numbers by xorshift.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Self {
        Self(setting("MONSTACK_CHAOS_SEED", 1).max(1))
    }

    /// A number from 0 up to, and without, the limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}
