//! The running system: its samples since this began, as far as there is room for them.

use std::collections::HashMap;
use std::time::Duration;

use crate::sample::{Identity, Sample};

/// So many samples are kept.
const SAMPLES: usize = 3600;

/// So many bytes they have, as far as they are reckoned.
const BYTES: usize = 24 << 20;

/// Samples, the oldest of which go when there is no more room.
#[derive(Debug, Default)]
pub(super) struct Kept {
    samples: Vec<Sample>,
    bytes: usize,
    /// Looks at all threads that are whole still.
    whole: Vec<Duration>,
}

impl Kept {
    /// All of them.
    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// One more.
    pub(super) fn add(&mut self, sample: Sample) {
        self.bytes = self.bytes.saturating_add(bytes(&sample));
        if sample.threads.as_ref().is_some_and(|threads| threads.is_all) {
            self.whole.push(sample.moment.steady);
        }
        self.samples.push(sample);
        if self.whole.len() > 3 {
            self.thin();
        }
        while self.samples.len() > SAMPLES || (self.bytes > BYTES && self.samples.len() > 1) {
            // Some at once: what is left is moved.
            let some = (self.samples.len() / 8).max(1);
            let gone: usize = self.samples.drain(..some.min(self.samples.len() - 1)).map(|sample| bytes(&sample)).sum();
            self.bytes = self.bytes.saturating_sub(gone);
        }
    }

    /// Of an older look at all threads those remain that did something since the one before.
    fn thin(&mut self) {
        let (oldest, next) = (self.whole.remove(0), self.whole.first().copied());
        let of = |moment: Option<Duration>| {
            self.samples.iter().find(|sample| Some(sample.moment.steady) == moment).and_then(|one| one.threads.as_ref())
        };
        let later: HashMap<Identity, u64> =
            of(next).iter().flat_map(|look| &look.list).map(|thread| (thread.identity(), thread.ticks)).collect();
        let Some(sample) = self.samples.iter_mut().find(|sample| sample.moment.steady == oldest) else { return };
        let before = bytes(sample);
        if let Some(threads) = &mut sample.threads {
            threads
                .list
                .retain(|one| one.is_active() || later.get(&one.identity()).is_none_or(|ticks| *ticks != one.ticks));
            threads.is_all = false;
            threads.list.shrink_to_fit();
        }
        self.bytes = self.bytes.saturating_sub(before).saturating_add(bytes(sample));
    }

    /// The index of the last sample that is no later.
    pub(super) fn at(&self, steady: Duration) -> usize {
        self.samples.iter().rposition(|sample| sample.moment.steady <= steady).unwrap_or(0)
    }

    /// A sample by its index.
    pub(super) fn get(&self, index: usize) -> Option<&Sample> {
        self.samples.get(index)
    }
}

/// How much a sample has, roughly.
fn bytes(sample: &Sample) -> usize {
    let table = |table: &Option<sickbay_formats::procfs::interrupts::Interrupts>| {
        table.as_ref().map_or(0, |table| table.rows.iter().map(|row| 96 + row.counts.len() * 8).sum())
    };
    let tables: usize = table(&sample.interrupts) + table(&sample.softirqs);
    let list = |length: Option<usize>, each: usize| length.unwrap_or(0) * each;
    1024 + tables
        + list(sample.threads.as_ref().map(|threads| threads.list.len()), 128)
        + list(sample.io.as_ref().map(Vec::len), 112)
        + list(sample.disks.as_ref().map(Vec::len), 184)
        + list(sample.links.as_ref().map(Vec::len), 224)
        + list(sample.tcp.as_ref().map(Vec::len), 56)
        + list(sample.cards.as_ref().map(Vec::len), 96)
        + list(sample.softnet.as_ref().map(Vec::len), 64)
        + list(sample.stat.as_ref().map(|stat| stat.cpus.len()), 96)
        + list(sample.throttled.as_ref().map(Vec::len), 160)
        + list(sample.sockets.as_ref().map(Vec::len), 400)
        + sample.stacks.iter().map(|stack| 64 + stack.functions.len() * 40).sum::<usize>()
        + sample.files.len() * 200
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Thread, Threads};

    fn sample(seconds: u64, threads: u32) -> Sample {
        let mut sample = Sample::default();
        sample.moment.steady = Duration::from_secs(seconds);
        let thread =
            |id| Thread { pid: id, id, state: b'S', ticks: if id == 1 { seconds } else { 0 }, ..Thread::default() };
        let list = (1..=threads).map(thread).collect();
        sample.threads = Some(Threads { list, is_all: true, left_out: 0 });
        sample
    }

    #[test]
    fn old_looks_are_thinned_and_the_oldest_go() {
        let mut kept = Kept::default();
        (0..10).for_each(|second| kept.add(sample(second, 100)));
        let lengths: Vec<usize> =
            kept.samples().iter().map(|one| one.threads.as_ref().map_or(0, |threads| threads.list.len())).collect();
        assert_eq!(lengths, [1, 1, 1, 1, 1, 1, 1, 100, 100, 100]);
        assert_eq!(kept.at(Duration::from_millis(4500)), 4);
        // Who runs is kept for as long as there is room.
        for second in 10..40 {
            let mut crowd = sample(second, 20_000);
            crowd.threads.iter_mut().flat_map(|threads| &mut threads.list).for_each(|one| one.state = b'R');
            kept.add(crowd);
        }
        assert!(kept.bytes <= BYTES && kept.samples().len() < 20, "{} in {}", kept.bytes, kept.samples().len());
        assert_eq!(kept.bytes, kept.samples().iter().map(bytes).sum::<usize>());
        for second in 40..9000 {
            kept.add(sample(second, 1));
        }
        assert!((SAMPLES / 2..=SAMPLES).contains(&kept.samples().len()), "{}", kept.samples().len());
    }
}
