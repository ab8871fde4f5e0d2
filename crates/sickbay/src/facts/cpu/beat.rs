//! Load that is none: something runs for a moment at every multiple of a few seconds, and every now and then the kernel
//! counts just then.
//!
//! The kernel counts every 5·HZ+1 ticks: 5 s and one tick. Against what comes every 5 s, or a multiple of that, each count
//! is one tick later, and after 5·HZ of them it is where it was: the two beat with a period of 5·(5·HZ+1) s. What comes
//! every second, or a multiple that has no 5 in it, beats with 5·HZ+1 s. For minutes many counts in a row find what runs for
//! a hundredth of the time, and the average shows a load that nobody else can see.

use std::cmp::Ordering;

/// Values of HZ that kernels are built with.
pub const HZ: [u32; 4] = [100, 250, 300, 1000];

/// What is known at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Seconds.
    pub time: f64,
    /// The average of one minute.
    pub load: f64,
    /// Threads that ran, could or waited uninterruptibly, when somebody looked at them.
    pub active: f64,
    /// Processors that were busy since the point before.
    pub busy: f64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beat {
    /// Seconds from one peak to the next.
    pub period: f64,
    /// The kernel's HZ that it fits.
    pub hz: u32,
    /// Whatever it is comes at multiples of so many seconds: 1 or 5.
    pub every: u32,
    /// How many peaks there were.
    pub peaks: usize,
    /// The highest of them.
    pub highest: f64,
    /// What was seen meanwhile: how many threads more than else.
    pub seen: f64,
}

/// The period of such a beat in seconds, for something that comes at multiples of `every` seconds.
pub fn period(hz: u32, every: u32) -> f64 {
    f64::from(every) * f64::from(5 * hz + 1)
}

/// A peak is higher than the usual load by this.
const RISE: f64 = 1.0;

/// Looks for peaks of the load at the distance of a beat, with nothing to show for them. `hz` where it is known. Needs three
/// peaks: two are a coincidence.
pub fn find(points: &[Point], hz: Option<u32>) -> Option<Beat> {
    let usual = median(points.iter().map(|point| point.load))?;
    let top = points.iter().map(|point| point.load).fold(0.0, f64::max);
    if top < usual + RISE || top < usual * 2.0 {
        return None;
    }
    let half = usual + (top - usual) / 2.0;
    let is_high = |point: &&Point| point.load >= half;
    // A peak is what is high without a gap; its time is its middle by weight.
    let peaks: Vec<f64> = points
        .chunk_by(|before, after| (before.load >= half) == (after.load >= half))
        .filter(|part| part.first().as_ref().is_some_and(is_high))
        .map(|part| {
            let weight = |point: &Point| point.load - usual;
            let all: f64 = part.iter().map(weight).sum();
            part.iter().map(|point| point.time * weight(point)).sum::<f64>() / all
        })
        .collect();
    let (first, last) = (*peaks.first()?, *peaks.last()?);
    if peaks.len() < 3 {
        return None;
    }
    let mean = (last - first) / (peaks.len() - 1) as f64;
    // How well a peak can be placed: to the distance of two points.
    let step = median(points.windows(2).filter_map(|pair| Some(pair.get(1)?.time - pair.first()?.time)))?;
    // What was seen seldom fits everything.
    if step > mean / 10.0 {
        return None;
    }
    let slack = step.max(60.0);
    let is_regular = peaks.windows(2).all(|pair| match pair {
        [before, after] => (after - before - mean).abs() <= slack,
        _ => false,
    });
    let slack = (slack / (peaks.len() - 1) as f64).max(mean * 0.004);
    let candidates = HZ.into_iter().filter(|known| hz.is_none_or(|hz| hz == *known));
    let (hz, every) = candidates
        .flat_map(|hz| [(hz, 1), (hz, 5)])
        .filter(|(hz, every)| (period(*hz, *every) - mean).abs() <= slack)
        .min_by(|one, other| {
            let off = |(hz, every): &(u32, u32)| (period(*hz, *every) - mean).abs();
            off(one).partial_cmp(&off(other)).unwrap_or(Ordering::Equal)
        })?;
    // Real load is seen by whoever looks, and by the processors or by what waits.
    let average = |of: fn(&Point) -> f64, high: bool| {
        let mut chosen = points.iter().filter(|point| (point.load >= half) == high).map(of);
        let (count, sum) = chosen.by_ref().fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
        sum / f64::from(count.max(1))
    };
    let rise = |of: fn(&Point) -> f64| average(of, true) - average(of, false);
    let (load, active, busy) = (rise(|point| point.load), rise(|point| point.active), rise(|point| point.busy));
    let is_empty = active < load * 0.2 && busy < load * 0.2;
    (is_regular && is_empty).then_some(Beat {
        period: mean,
        hz,
        every,
        peaks: peaks.len(),
        highest: top,
        seen: active.max(0.0),
    })
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    all.get(all.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use sickbay_formats::procfs::loadavg::{self, KEPT, ONE, Rounding};

    use super::*;

    /// A day of a machine on which `threads(time)` are active, looked at every half minute or so.
    fn day(hz: u32, threads: impl Fn(f64) -> u64) -> Vec<Point> {
        let mut load = 0;
        let mut points = Vec::new();
        let mut chance = 1_u64;
        let mut next = 7.3;
        for count in 0..17_000_u32 {
            let time = f64::from(count) * loadavg::period(hz) + 0.013;
            while next < time {
                let printed = loadavg::printed(load) as f64 / 100.0;
                let active = threads(next) as f64;
                points.push(Point { time: next, load: printed, active, busy: active.min(2.0) });
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                next += 20.0 + (chance >> 33) as f64 / f64::from(1_u32 << 31) * 20.0;
            }
            load = loadavg::next(load, KEPT[0], threads(time) * ONE, Rounding::Onwards);
        }
        points
    }

    #[test]
    fn an_agent_that_starts_threads_every_ten_seconds() {
        let agent = |time: f64| if time % 10.0 < 0.05 { 22 } else { 0 };
        let points = day(250, agent);
        let beat = find(&points, None).expect("a beat");
        assert_eq!((beat.hz, beat.every), (250, 5));
        assert!((beat.period / 60.0 - 104.25).abs() < 0.5 && beat.peaks >= 13, "{beat:?}");
        assert!(beat.highest > 4.0 && beat.seen < 1.0, "{beat:?}");
        assert!(find(&points, Some(250)).is_some() && find(&points, Some(1000)).is_none());
    }

    #[test]
    fn one_that_comes_every_second() {
        // 20.85 minutes; the counts of a minute see little of it.
        let beat = find(&day(250, |time| if time % 1.0 < 0.05 { 22 } else { 0 }), Some(250)).expect("a beat");
        assert_eq!(beat.every, 1);
        assert!((beat.period / 60.0 - 20.85).abs() < 0.2, "{beat:?}");
    }

    #[test]
    fn what_is_load() {
        // Every five minutes for 40 s; every 104.25 minutes, and there it is.
        assert_eq!(find(&day(250, |time| if time % 300.0 < 40.0 { 12 } else { 0 }), None), None);
        assert_eq!(find(&day(250, |time| if time % 6255.0 < 120.0 { 12 } else { 0 }), None), None);
        // No peak, no point, one point.
        assert_eq!(find(&day(250, |_| 2), None), None);
        assert_eq!(find(&[], None), None);
        let one = Point { time: 0.0, load: 9.0, active: 0.0, busy: 0.0 };
        assert_eq!(find(&[one; 3], None), None);
        // Values that are no numbers are no panic.
        assert_eq!(find(&[Point { time: f64::NAN, load: f64::NAN, active: 0.0, busy: 0.0 }; 5], None), None);
    }

    #[test]
    fn periods_of_all_kernels() {
        let minutes = |hz| period(hz, 5) / 60.0;
        assert_eq!((minutes(100), minutes(250), minutes(300)), (41.75, 104.25, 7505.0 / 60.0));
        assert!((minutes(1000) / 60.0 - 6.95).abs() < 0.01);
    }
}
