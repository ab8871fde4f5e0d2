//! A task did not run for minutes.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// Sentences of the kernel that a task was blocked for more than 120 seconds (`kernel.hung_task_timeout_secs`): it
    /// waited in state D.
    ///
    /// ## Why it matters
    /// A task in state D waits for a disk, a network file system or a lock of the kernel, cannot be killed, and counts
    /// in the load average. Nearly always the cause is storage that does not answer; I/O errors in the same log name
    /// it.
    ///
    /// ## What the repair does
    /// Nothing. The words after the sentence in the log are the stack of the task: what it waited in. Look at the
    /// storage under it first.
    "hung-task", Logs, seed = [], proves = [], "a task did not run for minutes"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::HungTask) else { return Ok(()) };
    let finding = found
        .add(log.severity(Severity::Error), tr!("tasks were blocked for minutes: {tasks}", tasks = seen.subjects()));
    seen.describe(finding);
    finding.why(tr!("they waited for storage or for a lock of the kernel; until then they cannot be killed"));
    finding
        .by_hand(tr!("read the stack behind the sentence in the log, and look at the storage that the task waits for"));
    Ok(())
}
