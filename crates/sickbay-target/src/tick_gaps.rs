//! Moments in which a processor did nothing that it was asked to do. On each of them a thread sleeps for two milliseconds, again and again, and
//! looks at the clock: what it slept too long is a gap. The kernel says how much of it the thread stood in the queue of that
//! processor, since others ran; what is left then is a kernel that let no interrupt in, or a hypervisor that ran another guest.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What was seen of one processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuGaps {
    /// Its number.
    pub cpu: u32,
    /// How often the clock was looked at.
    pub ticks: u64,
    /// The gaps, in order.
    pub gaps: Vec<Gap>,
    /// Whether there were more than are kept.
    pub is_cut: bool,
}

/// A moment in which a processor stood still, or ran others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// When it began, since the look began.
    pub began: Duration,
    /// How long it was.
    pub length: Duration,
    /// For so long of it others ran on this processor; `None` where the kernel does not tell.
    pub queued: Option<Duration>,
}

impl Gap {
    /// For so long nothing ran, as far as the kernel knows.
    pub fn stood(&self) -> Duration {
        self.length.saturating_sub(self.queued.unwrap_or_default())
    }
}

/// A thread sleeps for so long: that costs a fiftieth of a per cent of a processor.
const STEP: Duration = Duration::from_millis(2);
/// So many gaps of a processor are kept, and processors are looked at.
const GAPS: usize = 1000;
const CPUS: usize = 512;
/// Two numbers and a buffer.
const STACK: usize = 64 << 10;

/// Looks for so long at all processors that this process may run on, for gaps of this length at least.
///
/// # Errors
/// The kernel's, where no thread can be started.
pub fn tick_gaps(time: Duration, least: Duration) -> io::Result<Vec<CpuGaps>> {
    let allowed = sched_getaffinity(None)?;
    let cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).take(CPUS);
    let began = Instant::now();
    let mut threads: Vec<JoinHandle<CpuGaps>> = Vec::new();
    let mut failed = None;
    for cpu in cpus {
        let work = move || watch(cpu, began, began + time, least);
        match thread::Builder::new().name("ticks".to_owned()).stack_size(STACK).spawn(work) {
            Ok(thread) => threads.push(thread),
            Err(error) => failed = Some(error),
        }
    }
    let all: Vec<CpuGaps> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    match failed {
        Some(error) if all.is_empty() => Err(error),
        _ => Ok(all),
    }
}

fn watch(cpu: usize, began: Instant, until: Instant, least: Duration) -> CpuGaps {
    let mut seen = CpuGaps { cpu: u32::try_from(cpu).unwrap_or(u32::MAX), ..CpuGaps::default() };
    let mut only = CpuSet::new();
    only.set(cpu);
    if sched_setaffinity(None, &only).is_err() {
        return seen;
    }
    let mut queued = queued_so_far();
    let mut last = Instant::now();
    while last < until {
        thread::sleep(STEP.min(until - last));
        let now = Instant::now();
        let late = (now - last).saturating_sub(STEP);
        seen.ticks += 1;
        if late >= least {
            let so_far = queued_so_far();
            let gap = Gap {
                began: (last - began) + STEP,
                length: late,
                queued: so_far.zip(queued).map(|(now, before)| now.saturating_sub(before).min(late)),
            };
            queued = so_far;
            match seen.gaps.len() < GAPS {
                true => seen.gaps.push(gap),
                false => seen.is_cut = true,
            }
        } else if seen.ticks.is_multiple_of(64) {
            // What it waited in between is of no gap.
            queued = queued_so_far();
        }
        last = now;
    }
    seen
}

/// How long this thread stood in the queue of its processor: the second number of `/proc/thread-self/schedstat`.
fn queued_so_far() -> Option<Duration> {
    // Older kernels have no thread-self (3.17).
    let tid = rustix::thread::gettid().as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split_ascii_whitespace().nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Gap, tick_gaps};

    #[test]
    fn every_processor_is_looked_at() {
        let all = tick_gaps(Duration::from_millis(300), Duration::from_secs(3600)).expect("threads");
        let cpus = std::thread::available_parallelism().expect("a number").get();
        assert_eq!(all.len(), cpus);
        assert!(all.iter().all(|cpu| cpu.ticks > 0 && cpu.gaps.is_empty()), "{all:?}");
    }

    #[test]
    fn a_gap_has_its_place_and_its_parts() {
        // Every sleep is a gap of no length at least.
        let time = Duration::from_millis(200);
        let all = tick_gaps(time, Duration::ZERO).expect("threads");
        for cpu in &all {
            assert_eq!((cpu.gaps.len() as u64, cpu.is_cut), (cpu.ticks, false));
            assert!(cpu.gaps.windows(2).all(|pair| pair[0].began + pair[0].length <= pair[1].began), "{cpu:?}");
            assert!(cpu.gaps.iter().all(|gap| gap.stood() + gap.queued.unwrap_or_default() == gap.length), "{cpu:?}");
        }
        let gap =
            Gap { began: Duration::ZERO, length: Duration::from_millis(5), queued: Some(Duration::from_millis(9)) };
        assert_eq!(gap.stood(), Duration::ZERO);
    }
}
