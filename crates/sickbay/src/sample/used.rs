//! The time that threads had of the processors in a part of a window, of those too that were not looked at in every sample.

use std::collections::HashMap;
use std::time::Duration;

use super::{Identity, Thread, Window};

/// A thread in a part of a window.
#[derive(Clone, Debug)]
pub struct Used<'w> {
    /// As it was seen last.
    pub thread: &'w Thread,
    /// The share of one processor that it had, of the whole part, though it lived for a piece of it.
    pub share: f64,
    /// How often it was seen.
    pub looks: usize,
    /// How often it ran or could.
    pub runs: usize,
}

/// What is known of one thread.
struct Sight<'w> {
    /// The last look before the part.
    before: Option<(Duration, u64)>,
    /// The first look in it.
    first: Option<(Duration, u64)>,
    last: (Duration, &'w Thread),
    looks: usize,
    runs: usize,
}

/// A thread has one processor at a time; clocks and ticks are not so exact.
const MOST: f64 = 1.2;

impl Window {
    /// What threads used from sample `first` to sample `last`. `None` where the clock stood still or nobody looked.
    pub fn used(&self, first: usize, last: usize) -> Option<Vec<Used<'_>>> {
        let time = |at: usize| Some(self.samples.get(at)?.moment.steady);
        let (from, to) = (time(first)?, time(last)?);
        let span = to.checked_sub(from).filter(|span| !span.is_zero())?;
        let mut seen: HashMap<Identity, Sight<'_>> = HashMap::new();
        for (index, sample) in self.samples.iter().enumerate().take(last.checked_add(1)?) {
            let now = sample.moment.steady;
            for thread in sample.threads.iter().flat_map(|threads| &threads.list) {
                let sight = seen.entry(thread.identity()).or_insert_with(|| Sight {
                    before: None,
                    first: None,
                    last: (now, thread),
                    looks: 0,
                    runs: 0,
                });
                sight.last = (now, thread);
                if index < first {
                    sight.before = Some((now, thread.ticks));
                } else {
                    sight.first.get_or_insert((now, thread.ticks));
                    sight.looks += 1;
                    sight.runs += usize::from(thread.state == b'R');
                }
            }
        }
        let used = seen.into_values().filter(|sight| sight.looks > 0).map(|sight| {
            let ticks = sight.grown(from).unwrap_or(0.0);
            let share = ticks / 100.0 / span.as_secs_f64();
            Used { thread: sight.last.1, share, looks: sight.looks, runs: sight.runs }
        });
        Some(used.collect())
    }
}

impl Sight<'_> {
    /// By how many ticks it grew since `from`.
    fn grown(&self, from: Duration) -> Option<f64> {
        let (end, thread) = self.last;
        let (first, ticks) = self.first?;
        let since = |start: Duration, ticks: u64| {
            let length = end.checked_sub(start).filter(|length| !length.is_zero())?.as_secs_f64();
            let grown = thread.ticks.checked_sub(ticks)? as f64;
            // What it was before the part is no part of it.
            let inside = end.checked_sub(from.max(start))?.as_secs_f64() / length;
            (grown / 100.0 <= length * MOST + 0.02).then_some(grown * inside)
        };
        if first <= from {
            return since(first, ticks);
        }
        let born = Duration::from_millis(thread.began.saturating_mul(10));
        let of_birth = || if born >= from && born <= first { since(born.min(first), 0) } else { None };
        let of_before = || self.before.and_then(|(start, ticks)| since(start, ticks));
        of_before().or_else(of_birth).or_else(|| since(first, ticks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, Threads};

    fn sample(seconds: u64, threads: &[(u32, u64, u64)]) -> Sample {
        let list = threads.iter().map(|(id, began, ticks)| Thread {
            pid: *id,
            id: *id,
            began: *began,
            ticks: *ticks,
            state: b'R',
            ..Thread::default()
        });
        let mut sample = Sample::default();
        sample.moment.steady = Duration::from_secs(seconds);
        sample.threads = Some(Threads { list: list.collect(), is_all: false, left_out: 0 });
        sample
    }

    #[test]
    fn those_that_are_not_seen_each_time() {
        let samples = vec![
            // 7 was seen long before; 8 is as busy as can be; 9 begins in the part; 10 has the number of another.
            sample(90, &[(7, 1, 100), (8, 1, 100), (10, 1, 900)]),
            sample(100, &[(8, 1, 1100)]),
            sample(105, &[(7, 1, 700), (8, 1, 1600), (9, 10_200, 250), (10, 10_400, 10)]),
            sample(110, &[(8, 1, 2100), (10, 10_400, 10)]),
            sample(120, &[(7, 1, 9000)]),
        ];
        let window = Window { samples, place: "/proc".into() };
        let used = window.used(1, 3).expect("a part");
        let share = |id| used.iter().filter(|used| used.thread.id == id).map(|used| used.share).sum::<f64>();
        assert!((share(8) - 1.0).abs() < 1e-9, "{used:?}");
        // 600 ticks in 15 s, of which 5 are in it.
        assert!((share(7) - 0.2).abs() < 1e-9, "{used:?}");
        assert!((share(9) - 0.25).abs() < 1e-9, "{used:?}");
        assert!((share(10) - 0.01).abs() < 1e-9, "{used:?}");
        assert!(window.used(3, 3).is_none() && window.used(3, 1).is_none() && window.used(0, 99).is_none());
    }
}
