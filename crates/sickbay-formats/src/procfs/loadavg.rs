//! `/proc/loadavg`, and how the kernel makes it: kernel/sched/loadavg.c (kernel/sched/core.c before 4.7).
//!
//! Every 5·HZ+1 ticks of its clock, not every 5 seconds, the kernel counts the threads that run or could, and those that
//! sleep and cannot be interrupted, and lets each of three averages move towards that count.

use crate::procfs::{digits, hundredths, words};

/// `/proc/loadavg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadAvg {
    /// The averages of 1, 5 and 15 minutes, in hundredths.
    pub averages: [u64; 3],
    /// Threads that run or could, at the moment it is read.
    pub running: u64,
    /// All threads.
    pub total: u64,
    /// The number of the thread that was made last, in the view of processes of who reads it.
    pub last_pid: u64,
}

/// Reads it: `25.76 20.60 19.00 12/404 11912`.
pub fn parse(text: &[u8]) -> Option<LoadAvg> {
    let mut words = words(text);
    let mut average = || hundredths(words.next()?);
    let averages = [average()?, average()?, average()?];
    let counts = words.next()?;
    let (running, total) = counts.split_at_checked(counts.iter().position(|byte| *byte == b'/')?)?;
    let (running, total) = (digits(running)?, digits(total.get(1..)?)?);
    Some(LoadAvg { averages, running, total, last_pid: digits(words.next()?)? })
}

/// 1.0 in the kernel's fixed point: `FIXED_1`, 11 bits behind the point.
pub const ONE: u64 = 1 << 11;

/// What is kept of the average of 1, 5 and 15 minutes at each count, in the same fixed point: `EXP_1`, `EXP_5`, `EXP_15`.
pub const KEPT: [u64; 3] = [1884, 2014, 2037];

/// How the bits that are lost are dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// They are dropped: before 2.6.37.
    Down,
    /// To the nearest: from 2.6.37 to 4.6 (commit 0f004f5a696a). An idle machine stays at 0.00 0.01 0.05.
    Nearest,
    /// Up while the average rises, down while it falls: since 4.7 (commit 20878232c523).
    Onwards,
}

impl Rounding {
    /// That of a kernel by the leading two numbers of its release.
    pub fn of(version: (u32, u32)) -> Rounding {
        match version {
            // 2.6.32 and 2.6.39 look alike here; what they differ in is hardly printed.
            (0..=2, _) => Rounding::Down,
            (3, _) | (4, 0..=6) => Rounding::Nearest,
            _ => Rounding::Onwards,
        }
    }
}

/// The average after one more count: `calc_load()`. All in fixed point; `kept` is one of [`KEPT`].
pub fn next(load: u64, kept: u64, active: u64, rounding: Rounding) -> u64 {
    let kept = kept.min(ONE);
    let sum = load.saturating_mul(kept).saturating_add(active.saturating_mul(ONE - kept));
    let add = match rounding {
        Rounding::Down => 0,
        Rounding::Nearest => ONE / 2,
        Rounding::Onwards if active >= load => ONE - 1,
        Rounding::Onwards => 0,
    };
    sum.saturating_add(add) / ONE
}

/// An average in fixed point as `/proc/loadavg` prints it, in hundredths: half of one is added (`FIXED_1/200`), the rest
/// dropped.
pub fn printed(load: u64) -> u64 {
    let load = load.saturating_add(ONE / 200);
    (load / ONE).saturating_mul(100).saturating_add((load % ONE) * 100 / ONE)
}

/// The fixed point that is printed as so many hundredths, as nearly as can be told.
pub fn fixed(hundredths: u64) -> u64 {
    hundredths.saturating_mul(ONE) / 100
}

/// How many threads the kernel counted between two averages of one minute, both in hundredths, that followed on each other:
/// to an eighth of a thread, since what is printed is rounded to a hundredth and one count weighs 8 %.
pub fn counted(before: u64, after: u64) -> f64 {
    let kept = KEPT[0] as f64 / ONE as f64;
    ((after as f64 - before as f64 * kept) / (1.0 - kept) / 100.0).max(0.0)
}

/// Seconds from one count to the next on a kernel with that HZ: `LOAD_FREQ`, 5·HZ+1 ticks.
pub fn period(hz: u32) -> f64 {
    5.0 + 1.0 / f64::from(hz.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_e_book() {
        let load = parse(b"25.76 20.60 19.00 12/404 11912\n").expect("a line");
        assert_eq!(load, LoadAvg { averages: [2576, 2060, 1900], running: 12, total: 404, last_pid: 11912 });
        for broken in ["", "25.76 20.60", "1.0 1.00 1.00 1/2 3", "1.00 1.00 1.00 12 3", "1.00 1.00 1.00 1/2"] {
            assert_eq!(parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn thirty_threads_for_about_a_minute() {
        // What brings load1 from 19.00 to 25.76: 30 threads at each of 11 or 12 counts.
        for rounding in [Rounding::Down, Rounding::Nearest, Rounding::Onwards] {
            let mut load = fixed(1900);
            let counts = (1..100).find(|_| {
                load = next(load, KEPT[0], 30 * ONE, rounding);
                printed(load) >= 2576
            });
            assert_eq!(counts, Some(12), "{rounding:?}");
        }
        assert!((counted(250, 262) - 4.0).abs() < 0.13 && (counted(438, 459) - 7.0).abs() < 0.13);
    }

    #[test]
    fn an_idle_machine() {
        let idle = |rounding| {
            let mut loads = [fixed(100); 3];
            for _ in 0..4000 {
                for (load, kept) in loads.iter_mut().zip(KEPT) {
                    *load = next(*load, kept, 0, rounding);
                }
            }
            loads.map(printed)
        };
        // The e-book's sample of an idle machine is what rounding made of it.
        assert_eq!(idle(Rounding::Nearest), [0, 1, 5]);
        assert_eq!((idle(Rounding::Down), idle(Rounding::Onwards)), ([0; 3], [0; 3]));
        // One that is fully busy reaches its count only since 4.7.
        let busy = |rounding| (0..9000).fold(0, |load, _| next(load, KEPT[2], ONE, rounding));
        assert_eq!((busy(Rounding::Onwards), busy(Rounding::Down) < ONE), (ONE, true));
        assert_eq!(Rounding::of((3, 10)), Rounding::Nearest);
        assert_eq!((Rounding::of((4, 6)), Rounding::of((4, 7))), (Rounding::Nearest, Rounding::Onwards));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[0-9./ ]{0,40}", load: u64, kept: u64, active: u64) {
            let _ = (parse(&bytes), parse(text.as_bytes()));
            let _ = (printed(next(load, kept, active, Rounding::Onwards)), fixed(load), counted(load, active));
        }

        #[test]
        fn what_is_printed_comes_back(hundredths in 0_u64..1_000_000) {
            proptest::prop_assert!(printed(fixed(hundredths)).abs_diff(hundredths) <= 1);
        }
    }
}
