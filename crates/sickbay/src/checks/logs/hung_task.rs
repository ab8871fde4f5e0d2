//! A task did not run for minutes.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "INFO: task … blocked for more than 120 seconds." in the kernel log, a high load average, and processes
    /// in state D that cannot be killed.
    ///
    /// ## What it finds
    /// Kernel messages that a task was blocked for more than 120 seconds (`kernel.hung_task_timeout_secs`): it waited
    /// in state D.
    ///
    /// ## Why it matters
    /// A task in state D waits for a disk, a network file system or a kernel lock, cannot be killed, and counts in the
    /// load average. Nearly always the cause is storage that does not respond; I/O errors in the same log name it.
    ///
    /// ## What the repair does
    /// Nothing. The lines after the message in the log are the task's stack trace: where it waited. Check the storage
    /// below it first.
    ///
    /// ## By hand
    /// ```sh
    /// ps -eo pid,state,wchan:32,comm | awk '$2 == "D"'
    /// cat /proc/PID/stack
    /// ```
    "hung-task", Logs, seed = [], proves = [], "a task did not run for minutes"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::HungTask) else { return Ok(()) };
    let finding = found
        .add(log.severity(Severity::Error), tr!("tasks were blocked for minutes: {tasks}", tasks = seen.subjects()));
    seen.describe(finding);
    finding.why(tr!("they waited for storage or for a kernel lock; until then they cannot be killed"));
    finding.by_hand(tr!(
        "read the stack trace after the message in the log, and check the storage that the task waits for"
    ));
    Ok(())
}
