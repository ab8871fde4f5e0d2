//! Samples for a window out of a recording that may have a hundred times as many: of each stretch the one that tells most.

use std::collections::HashMap;

use super::super::{Identity, OpenFile, ParameterWrite, ProcessIo, Sample, Stack, Thread};
use super::state::State;

/// So many samples a window has at most.
pub(super) const WINDOW: u64 = 2048;

/// So many details of what was left out are kept with the others.
const DETAILS: usize = 4096;

/// Takes samples one after the other.
#[derive(Debug, Default)]
pub(super) struct Collect {
    /// Of so many one is kept.
    every: u64,
    seen: u64,
    samples: Vec<Sample>,
    /// The best of the stretch so far.
    best: Option<(u32, Sample)>,
    details: Details,
    /// The last look at all threads: which sample it is, and which of its threads are worth keeping if it is not the last.
    look: Option<(usize, Vec<bool>)>,
    known: HashMap<Identity, (u64, u64)>,
    io: Option<(usize, Vec<bool>)>,
    known_io: HashMap<(u32, u64), sickbay_formats::procfs::task_io::Io>,
}

#[derive(Debug, Default)]
struct Details {
    stacks: Vec<Stack>,
    files: Vec<OpenFile>,
    writes: Vec<ParameterWrite>,
}

impl Collect {
    /// Of so many samples.
    pub(super) fn of(samples: u64) -> Collect {
        Collect { every: samples.div_ceil(WINDOW).max(1), ..Collect::default() }
    }

    /// Whether some are left out.
    pub(super) fn every(&self) -> u64 {
        self.every
    }

    /// One more.
    pub(super) fn add(&mut self, state: &State) {
        let (stacks, files, writes) = state.details();
        let room = |length: usize| DETAILS.saturating_sub(length);
        let Details { stacks: all_stacks, files: all_files, writes: all_writes } = &mut self.details;
        all_stacks.extend(stacks.iter().take(room(all_stacks.len())).cloned());
        all_files.extend(files.iter().take(room(all_files.len())).cloned());
        all_writes.extend(writes.iter().take(room(all_writes.len())).cloned());
        let worth = state.worth();
        if self.best.as_ref().is_none_or(|(best, _)| worth > *best) {
            self.best = Some((worth, state.sample()));
        }
        self.seen += 1;
        if self.seen.is_multiple_of(self.every) {
            self.close();
        }
    }

    /// What was kept.
    pub(super) fn end(mut self) -> Vec<Sample> {
        self.close();
        self.samples
    }

    fn close(&mut self) {
        let Some((_, mut sample)) = self.best.take() else { return };
        let Details { stacks, files, writes } = std::mem::take(&mut self.details);
        (sample.stacks, sample.files, sample.writes) = (stacks, files, writes);
        self.thin_threads(&sample);
        self.thin_io(&sample);
        self.samples.push(sample);
    }

    /// Of all looks at all threads a window has the first and the last. Of those between there remain the threads that did
    /// something, as if others had not been looked at.
    fn thin_threads(&mut self, sample: &Sample) {
        let Some(threads) = sample.threads.as_ref().filter(|threads| threads.is_all) else { return };
        let known = &self.known;
        let did = |thread: &Thread| {
            let now = (thread.ticks, thread.faults_of_children);
            thread.is_active() || known.get(&thread.identity()) != Some(&now)
        };
        let worth: Vec<bool> = threads.list.iter().map(did).collect();
        self.known =
            threads.list.iter().map(|thread| (thread.identity(), (thread.ticks, thread.faults_of_children))).collect();
        let is_first = self.look.is_none();
        if let Some((index, worth)) = self.look.replace((self.samples.len(), worth))
            && let Some(threads) = self.samples.get_mut(index).and_then(|sample| sample.threads.as_mut())
            && !worth.is_empty()
        {
            let mut worth = worth.into_iter();
            threads.list.retain(|_| worth.next().unwrap_or(true));
            threads.is_all = false;
        }
        if is_first {
            // The first stays whole.
            self.look = Some((self.samples.len(), Vec::new()));
        }
    }

    fn thin_io(&mut self, sample: &Sample) {
        let Some(io) = sample.io.as_ref() else { return };
        let known = &self.known_io;
        let did = |one: &ProcessIo| known.get(&(one.pid, one.began)) != Some(&one.io);
        let worth: Vec<bool> = io.iter().map(did).collect();
        self.known_io = io.iter().map(|one| ((one.pid, one.began), one.io)).collect();
        let is_first = self.io.is_none();
        if let Some((index, worth)) = self.io.replace((self.samples.len(), worth))
            && let Some(io) = self.samples.get_mut(index).and_then(|sample| sample.io.as_mut())
            && !worth.is_empty()
        {
            let mut worth = worth.into_iter();
            io.retain(|_| worth.next().unwrap_or(true));
        }
        if is_first {
            self.io = Some((self.samples.len(), Vec::new()));
        }
    }
}
