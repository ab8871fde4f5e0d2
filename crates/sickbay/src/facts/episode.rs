//! A window in steps that are long enough for rates to mean something, and the stretches of it in which something was so.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::sample::rates::Interval;
use crate::sample::{Sample, Window};

/// Of shorter steps a tick more or less would be a tenth.
pub const STEP: Duration = Duration::from_millis(900);

/// Two samples and all that are between them.
#[derive(Clone, Copy, Debug)]
pub struct Step<'w> {
    /// The index of the first.
    pub first: usize,
    /// The index of the last.
    pub last: usize,
    /// The two.
    pub interval: Interval<'w>,
}

/// The window in steps of at least that length, of samples that have what is asked for; one alone of a window that is
/// shorter. Steps in which the clock stood still or went back are left out.
pub fn steps(window: &Window, least: Duration, has: impl Fn(&Sample) -> bool) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut open: Option<(usize, &Sample)> = None;
    let mut rest: Option<Step<'_>> = None;
    for (index, sample) in window.samples.iter().enumerate().filter(|(_, sample)| has(sample)) {
        let Some((first, before)) = open else {
            open = Some((index, sample));
            continue;
        };
        let Some(interval) = Interval::between(before, sample) else {
            // Two of one moment, of two sources, are no step; a clock that went back begins anew.
            if sample.moment.steady < before.moment.steady {
                (open, rest) = (Some((index, sample)), None);
            }
            continue;
        };
        let step = Step { first, last: index, interval };
        if interval.span >= least {
            steps.push(step);
            (open, rest) = (Some((index, sample)), None);
        } else {
            rest = Some(step);
        }
    }
    // What is left is a part of the step before.
    match (steps.last_mut(), rest) {
        (Some(last), Some(rest)) if last.last == rest.first => {
            if let Some(interval) = Interval::between(last.interval.before, rest.interval.after) {
                *last = Step { first: last.first, last: rest.last, interval };
            }
        }
        (None, Some(rest)) => steps.push(rest),
        _ => {}
    }
    steps
}

/// A stretch of steps in which something was so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Which steps.
    pub steps: RangeInclusive<usize>,
    /// How long they are together.
    pub length: Duration,
    /// Its beginning by the clock of the day.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
    /// Whether it was so from the first step on: it may have begun earlier.
    pub is_open_before: bool,
    /// Whether it was so up to the last.
    pub is_open_after: bool,
}

impl Episode {
    /// Its steps.
    pub fn of<'s, 'w>(&self, steps: &'s [Step<'w>]) -> &'s [Step<'w>] {
        steps.get(self.steps.clone()).unwrap_or_default()
    }

    /// All of it as one step.
    pub fn whole<'w>(&self, steps: &[Step<'w>]) -> Option<Step<'w>> {
        let steps = self.of(steps);
        let (first, last) = (steps.first()?, steps.last()?);
        let interval = Interval::between(first.interval.before, last.interval.after)?;
        Some(Step { first: first.first, last: last.last, interval })
    }
}

/// The stretches in which `is_so`, in their order. One step in which it is not, between two in which it is, parts none.
pub fn episodes<'w>(steps: &[Step<'w>], is_so: impl Fn(&Step<'w>) -> bool) -> Vec<Episode> {
    let marks: Vec<bool> = steps.iter().map(is_so).collect();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (index, _) in marks.iter().enumerate().filter(|(_, mark)| **mark) {
        match ranges.last_mut() {
            Some((from, to)) if index == *to + 1 || (index == *to + 2 && *to > *from) => *to = index,
            _ => ranges.push((index, index)),
        }
    }
    let episode = |(from, to): (usize, usize)| {
        let (first, last) = (steps.get(from)?, steps.get(to)?);
        let moments = (first.interval.before.moment, last.interval.after.moment);
        Some(Episode {
            steps: from..=to,
            length: moments.1.steady.checked_sub(moments.0.steady)?,
            from: moments.0.wall,
            to: moments.1.wall,
            is_open_before: from == 0,
            is_open_after: to + 1 == steps.len(),
        })
    };
    ranges.into_iter().filter_map(episode).collect()
}

/// The longest of them; of equal ones the last.
pub fn longest<'w>(steps: &[Step<'w>], is_so: impl Fn(&Step<'w>) -> bool) -> Option<Episode> {
    episodes(steps, is_so).into_iter().max_by_key(|episode| episode.length)
}

/// The average of what is known, weighed by the length of the steps.
pub fn average<'w>(steps: &[Step<'w>], of: impl Fn(&Step<'w>) -> Option<f64>) -> Option<f64> {
    let known = steps.iter().filter_map(|step| Some((of(step)?, step.interval.span.as_secs_f64())));
    let (sum, time) = known.fold((0.0, 0.0), |(sum, time), (value, span)| (sum + value * span, time + span));
    (time > 0.0).then(|| sum / time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(times: &[u64]) -> Window {
        let sample = |ms: &u64| {
            let mut sample = Sample::default();
            sample.moment.steady = Duration::from_millis(*ms);
            sample.moment.wall = Duration::from_millis(*ms + 1_000_000);
            sample
        };
        Window { samples: times.iter().map(sample).collect(), place: "/proc".into() }
    }

    fn indices(times: &[u64]) -> Vec<(usize, usize)> {
        let window = window(times);
        steps(&window, STEP, |_| true).iter().map(|step| (step.first, step.last)).collect()
    }

    #[test]
    fn short_steps_become_longer_ones() {
        assert_eq!(indices(&[0, 1000, 2000]), [(0, 1), (1, 2)]);
        assert_eq!(indices(&[0, 300, 600, 900, 1200, 1900, 2000]), [(0, 3), (3, 6)]);
        assert_eq!(indices(&[0, 100, 200]), [(0, 2)]);
        // Two samples of one moment, and a clock that went back.
        assert_eq!(indices(&[0, 0, 1000, 1000, 2000]), [(0, 2), (2, 4)]);
        assert_eq!(indices(&[5000, 6000, 1000, 2000]), [(0, 1), (2, 3)]);
        assert_eq!(indices(&[0]), []);
        assert_eq!(indices(&[]), []);
    }

    #[test]
    fn stretches() {
        let window = window(&[0, 1000, 2000, 3000, 4000, 5000, 6000, 7000]);
        let steps = steps(&window, STEP, |_| true);
        let found = |wanted: &[usize]| -> Vec<(usize, usize)> {
            let all = episodes(&steps, |step| wanted.contains(&step.first));
            all.iter().map(|episode| (*episode.steps.start(), *episode.steps.end())).collect()
        };
        assert_eq!(found(&[1, 2, 4, 6]), [(1, 6)]);
        assert_eq!(found(&[0, 2, 5, 6]), [(0, 0), (2, 2), (5, 6)]);
        assert_eq!(found(&[]), []);
        let longest = longest(&steps, |step| [0, 1, 4, 5, 6].contains(&step.first)).expect("one");
        assert_eq!(
            (longest.length, longest.is_open_before, longest.is_open_after),
            (Duration::from_secs(3), false, true)
        );
        assert_eq!((longest.from, longest.to), (Duration::from_secs(1004), Duration::from_secs(1007)));
        assert_eq!(average(longest.of(&steps), |step| Some(step.first as f64)), Some(5.0));
    }
}
