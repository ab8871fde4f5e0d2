//! A loop that prints the rows of `ps -eTo stat,pid,tid,ppid,comm` that run or wait, and `/proc/loadavg`.

use super::super::number;
use super::{Block, Reader, Source, Task};
use crate::procfs::loadavg;

/// What is known from the lines before.
#[derive(Debug, Default)]
pub(super) struct State {
    tasks: Vec<Task>,
    has_moment: bool,
}

impl State {
    /// A date was printed.
    pub(super) fn moment(&mut self) {
        self.has_moment = true;
    }

    /// An empty line: it does not end a listing, for some print one after the date.
    pub(super) fn pause(&mut self) {}
}

/// So many rows are of one moment.
const MOST: usize = 1 << 16;

impl Reader {
    pub(super) fn listing(&mut self, words: &[&[u8]]) -> bool {
        if let Some(task) = row(words) {
            if self.listing.tasks.len() < MOST {
                self.listing.tasks.push(task);
            }
            return true;
        }
        let load = words.len() == 5 && words.get(3).is_some_and(|word| word.contains(&b'/'));
        let Some(load) = load.then(|| loadavg::parse(&words.join(&b' '))).flatten() else { return false };
        let tasks = std::mem::take(&mut self.listing.tasks);
        let Some(stamp) = self.stamp else {
            self.text.without_time = self.text.without_time.saturating_add(1);
            return true;
        };
        if let Some(block) = self.block(Source::Ps, stamp) {
            *block = Block { tasks, load: Some(load), has_states: true, ..Block::new(Source::Ps, block.stamp) };
        }
        true
    }

    /// What was listed last, where the text ends before the load.
    pub(super) fn end_of_listing(&mut self) {
        let tasks = std::mem::take(&mut self.listing.tasks);
        if let Some(stamp) = self.stamp.filter(|_| self.listing.has_moment && tasks.len() > 1)
            && let Some(block) = self.block(Source::Ps, stamp)
        {
            (block.tasks, block.has_states) = (tasks, true);
        }
    }
}

/// `D 958 958 957 nginx`.
fn row(words: &[&[u8]]) -> Option<Task> {
    let [state, pid, id, parent, name, ..] = words else { return None };
    // A letter, and what kind of process it is: `Ssl+`, `D<`, `RN`.
    let (state, rest) = state.split_first()?;
    let is_state = b"RSDTtZXIW".contains(state) && rest.iter().all(|byte| b"<NLsl+".contains(byte));
    let (pid, id) = (number(pid)?, number(id)?);
    is_state.then(|| Task {
        pid,
        id,
        is_process: pid == id,
        parent: number(parent),
        name: (*name).into(),
        state: Some(*state),
        ..Task::default()
    })
}
