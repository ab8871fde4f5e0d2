//! The time that something may take.

use std::time::{Duration, Instant};

/// A length of time that runs from the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    length: Duration,
    began: Instant,
}

impl Budget {
    /// So long from now on.
    pub fn new(length: Duration) -> Budget {
        Budget { length, began: Instant::now() }
    }

    /// So many per cent of its whole length, from now on, and never more than is left.
    pub fn part(&self, per_cent: u32) -> Budget {
        Budget::new((self.length / 100).saturating_mul(per_cent).min(self.left()))
    }

    /// How long it is as a whole: what a message says was not enough.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.length.saturating_sub(self.began.elapsed())
    }

    /// Whether nothing is.
    pub fn is_spent(&self) -> bool {
        self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_what_is_there() {
        let whole = Budget::new(Duration::from_secs(20));
        assert_eq!((whole.part(40).length(), whole.is_spent()), (Duration::from_secs(8), false));
        let spent = Budget { length: Duration::from_secs(20), began: whole.began - Duration::from_secs(19) };
        assert!(spent.part(40).length() <= Duration::from_secs(1));
        let none = Budget::new(Duration::ZERO);
        assert!(none.is_spent() && none.part(100).is_spent());
    }
}
