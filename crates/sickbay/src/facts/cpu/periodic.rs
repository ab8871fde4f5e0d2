//! Bursts of load that come back: when they begin, how far apart, how long each lasts.

use std::cmp::Ordering;
use std::time::Duration;

use crate::sample::Window;

/// How many threads were active at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Seconds by the clock that nobody sets.
    pub time: f64,
    /// The same moment, since 1970.
    pub wall: Duration,
    /// Threads that ran, could, or waited uninterruptibly.
    pub active: f64,
}

/// One burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// When it began, by the clock that nobody sets.
    pub from: f64,
    /// When it ended.
    pub to: f64,
    /// When it began, since 1970.
    pub wall: Duration,
    /// The most that were active in it.
    pub highest: f64,
}

/// Bursts that come back.
#[derive(Clone, Debug, PartialEq)]
pub struct Periodic {
    /// Seconds from one beginning to the next.
    pub period: f64,
    /// Seconds that one lasts, mostly.
    pub length: f64,
    /// How exactly a moment is known, in seconds.
    pub step: f64,
    /// All of them.
    pub bursts: Vec<Burst>,
    /// Of how many periods in that time there was none.
    pub missed: usize,
    /// What is usual between them.
    pub usual: f64,
    /// The middle of their highest.
    pub height: f64,
    /// What was active in them, on the average.
    pub mean: f64,
    /// Whether the first began in the first period of what was seen: it may have been so before.
    pub is_open_before: bool,
}

/// A burst is higher than the usual by so many threads.
const RISE: f64 = 2.0;
/// Two could be chance.
const LEAST: usize = 3;
/// Of so many points something can be told.
const POINTS: usize = 12;
/// The kernel counts every so many seconds.
const COUNT: f64 = 5.01;

/// What was seen by whoever looked at threads.
pub fn seen(window: &Window) -> Vec<Point> {
    let point = |sample: &crate::sample::Sample| {
        let active = match &sample.threads {
            Some(threads) => threads.list.iter().filter(|thread| thread.is_active()).count() as f64,
            // Who reads it runs. What waits for something else than a disk is not in it.
            None => {
                let stat = sample.stat.as_ref();
                let running = sample.load.map(|load| load.running).or_else(|| stat?.running)?;
                running.saturating_sub(1).saturating_add(stat.and_then(|stat| stat.blocked).unwrap_or(0)) as f64
            }
        };
        Some(Point { time: sample.moment.steady.as_secs_f64(), wall: sample.moment.wall, active })
    };
    window.samples.iter().filter_map(point).collect()
}

/// What the kernel counted, as far as the average of one minute shows it, though nobody saw a thread; the average itself
/// where samples are further apart than its counts.
pub fn counted(window: &Window) -> Vec<Point> {
    let loads: Vec<_> = window.samples.iter().filter_map(|sample| Some((sample.moment, sample.load?))).collect();
    let gaps = loads.windows(2).filter_map(|pair| match pair {
        [(before, _), (after, _)] => after.steady.checked_sub(before.steady).map(|gap| gap.as_secs_f64()),
        _ => None,
    });
    let is_close = median(gaps).is_some_and(|gap| gap < COUNT * 0.9);
    let mut counts = window.counts().into_iter().peekable();
    let mut points: Vec<Point> = Vec::new();
    for (index, sample) in window.samples.iter().enumerate() {
        let Some(load) = sample.load else { continue };
        let load1 = load.averages[0] as f64 / 100.0;
        let time = sample.moment.steady.as_secs_f64();
        let count = counts.next_if(|count| count.before == index).map(|count| count.threads);
        let active = match (is_close, count) {
            (false, _) => load1,
            (true, Some(count)) => count,
            // A count that leaves the average as it was is of as many; it is one only after its time.
            (true, None) if points.last().is_none_or(|last| time - last.time >= COUNT * 1.1) => load1,
            (true, None) => continue,
        };
        points.push(Point { time, wall: sample.moment.wall, active: active.max(0.0) });
    }
    points
}

/// Finds bursts that come back.
pub fn find(points: &[Point]) -> Option<Periodic> {
    if points.len() < POINTS || points.windows(2).any(|pair| matches!(pair, [one, other] if other.time < one.time)) {
        return None;
    }
    let (first, last) = (points.first()?, points.last()?);
    let step = median(points.windows(2).filter_map(|pair| Some(pair.get(1)?.time - pair.first()?.time)))?.max(0.001);
    let mut values: Vec<f64> = points.iter().map(|point| point.active).collect();
    values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    // Bursts may take most of the time: what is usual between them is a lower part, and the top is no single point.
    let part = |of: f64| values.get((values.len() as f64 * of) as usize).copied();
    let (usual, top) = (part(0.25)?, part(0.97)?);
    if !(top - usual >= RISE && top >= usual * 2.0) {
        return None;
    }
    let half = usual + (top - usual) / 2.0;
    let mut bursts: Vec<Burst> = Vec::new();
    let mut before = first.time - step;
    for point in points {
        if point.active >= half {
            match bursts.last_mut() {
                // A gap of one step is none.
                Some(burst) if point.time - burst.to <= step * 2.5 => {
                    burst.to = point.time;
                    burst.highest = burst.highest.max(point.active);
                }
                _ => bursts.push(Burst {
                    from: (before + point.time) / 2.0,
                    to: point.time,
                    wall: point.wall.saturating_sub(Duration::from_secs_f64(((point.time - before) / 2.0).max(0.0))),
                    highest: point.active,
                }),
            }
        }
        before = point.time;
    }
    // It began between two points, and ended so.
    for burst in &mut bursts {
        burst.to += step / 2.0;
    }
    // One that had begun, or has not ended, has no length.
    let whole: Vec<Burst> =
        bursts.iter().copied().filter(|burst| burst.from >= first.time && burst.to <= last.time).collect();
    let starts: Vec<f64> = whole.iter().map(|burst| burst.from).collect();
    if starts.len() < LEAST {
        return None;
    }
    let gaps = || starts.windows(2).filter_map(|pair| Some(pair.get(1)? - pair.first()?));
    let rough = median(gaps())?;
    let length = median(whole.iter().map(|burst| burst.to - burst.from))?;
    // What was seen seldom fits everything, and what is there all the time has no period.
    if rough < step * 4.0 || length > rough * 0.9 {
        return None;
    }
    let times = |gap: f64| (gap / rough).round();
    let all: f64 = gaps().map(times).sum();
    let period = (starts.last()? - starts.first()?) / all.max(1.0);
    let slack = (step * 1.6).max(period * 0.06);
    let fits = gaps().filter(|gap| times(*gap) >= 1.0 && (gap - times(*gap) * period).abs() <= slack).count();
    let missed = all as usize + 1 - starts.len().min(all as usize + 1);
    if fits * 10 < (starts.len() - 1) * 8 || missed * 3 > starts.len() {
        return None;
    }
    let inside: Vec<f64> = points
        .iter()
        .filter(|point| bursts.iter().any(|burst| (burst.from..=burst.to).contains(&point.time)))
        .map(|point| point.active)
        .collect();
    Some(Periodic {
        period,
        length,
        step,
        missed,
        usual,
        height: median(whole.iter().map(|burst| burst.highest))?,
        mean: inside.iter().sum::<f64>() / inside.len().max(1) as f64,
        is_open_before: bursts.first()?.from - first.time < period,
        bursts,
    })
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    all.get(all.len() / 2).copied()
}

/// The window of the samples in bursts alone, of threads only those that were active: at most so many samples.
pub fn inside(window: &Window, periodic: &Periodic, most: usize) -> Window {
    let is_inside = |time: f64| periodic.bursts.iter().any(|burst| (burst.from..=burst.to).contains(&time));
    let chosen: Vec<_> = window
        .samples
        .iter()
        .filter(|sample| sample.threads.is_some() && is_inside(sample.moment.steady.as_secs_f64()))
        .collect();
    let every = chosen.len().div_ceil(most.max(1)).max(1);
    let samples = chosen.into_iter().step_by(every).map(|sample| {
        let mut small = crate::sample::Sample { moment: sample.moment, load: sample.load, ..Default::default() };
        small.stat.clone_from(&sample.stat);
        small.threads = sample.threads.as_ref().map(|threads| crate::sample::Threads {
            // Who is a parent is told by all.
            list: threads.list.iter().filter(|thread| thread.is_active() || thread.id == thread.pid).cloned().collect(),
            ..*threads
        });
        small
    });
    Window { samples: samples.collect(), place: window.place.clone() }
}

#[cfg(test)]
mod tests {
    use sickbay_formats::procfs::loadavg::{self, KEPT, ONE, Rounding};

    use super::*;
    use crate::sample::Sample;

    fn points(seconds: u32, every: f64, active: impl Fn(f64) -> f64) -> Vec<Point> {
        let time = |index: u32| f64::from(index) * every;
        let point = |index| {
            let time = time(index);
            Point { time: 1000.0 + time, wall: Duration::from_secs_f64(1_528_770_000.0 + time), active: active(time) }
        };
        (0..(f64::from(seconds) / every) as u32).map(point).collect()
    }

    #[test]
    fn thirty_threads_for_twenty_seconds_of_every_minute() {
        let found =
            find(&points(200, 1.03, |time| if time % 60.0 < 20.0 && time > 5.0 { 30.0 } else { 0.0 })).expect("bursts");
        assert!((found.period - 60.0).abs() < 1.0 && (found.length - 20.0).abs() < 2.0, "{found:?}");
        assert!((found.mean - 30.0).abs() < 0.1 && found.bursts.len() >= 3 && found.missed == 0, "{found:?}");
    }

    #[test]
    fn from_the_average_alone() {
        let active = |time: f64| if (10.0..30.0).contains(&(time % 60.0)) { 30_u64 } else { 0 };
        let mut load = 0;
        let (mut samples, mut next) = (Vec::new(), 0.0);
        for tick in 0..4000_u32 {
            let time = f64::from(tick) * 0.1;
            if time >= next {
                load = loadavg::next(load, KEPT[0], active(time) * ONE, Rounding::Nearest);
                next += 5.004;
            }
            if tick % 11 == 0 {
                let text = format!("{:.2} 1.00 1.00 1/404 9", loadavg::printed(load) as f64 / 100.0);
                let mut sample = Sample { load: loadavg::parse(text.as_bytes()), ..Sample::default() };
                sample.moment.steady = Duration::from_secs_f64(100.0 + time);
                samples.push(sample);
            }
        }
        let window = Window { samples, place: "/proc".into() };
        let found = find(&counted(&window)).expect("bursts");
        assert!((found.period - 60.0).abs() < 2.0 && (found.length - 20.0).abs() <= 6.0, "{found:?}");
        assert!((found.height - 30.0).abs() < 3.0, "{found:?}");
        // Nobody saw one of them run.
        assert_eq!(find(&seen(&window)), None);
    }

    #[test]
    fn what_has_no_period() {
        let none = |active: &dyn Fn(f64) -> f64| find(&points(600, 1.0, active));
        assert_eq!(none(&|_| 0.0), None);
        assert_eq!(none(&|_| 30.0), None);
        // Once, twice, at any time, all the time.
        assert_eq!(none(&|time| if (100.0..120.0).contains(&time) { 30.0 } else { 0.0 }), None);
        assert_eq!(none(&|time| if (100.0..120.0).contains(&(time % 300.0)) { 30.0 } else { 0.0 }), None);
        let odd = [20.0, 70.0, 205.0, 240.0, 390.0, 410.0, 577.0];
        assert_eq!(none(&|time| if odd.iter().any(|at| (*at..*at + 9.0).contains(&time)) { 30.0 } else { 0.0 }), None);
        // One thread more is no load.
        assert_eq!(none(&|time| if time % 60.0 < 20.0 { 1.0 } else { 0.0 }), None);
        assert_eq!(find(&[]), None);
        let nan = Point { time: f64::NAN, wall: Duration::ZERO, active: f64::NAN };
        assert_eq!(find(&[nan; 20]), None);
    }

    #[test]
    fn one_that_was_left_out() {
        let found =
            find(&points(
                900,
                1.0,
                |time| if time % 60.0 < 20.0 && !(290.0..330.0).contains(&time) { 9.0 } else { 1.0 },
            ));
        let found = found.expect("bursts");
        assert!((found.period - 60.0).abs() < 0.5 && found.missed == 1, "{found:?}");
    }
}
