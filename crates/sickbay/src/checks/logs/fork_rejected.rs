//! A cgroup had as many tasks as it may.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "fork: Cannot allocate memory" or "Resource temporarily unavailable" with plenty of memory free;
    /// "cgroup: fork rejected by pids controller in …" in the kernel log.
    ///
    /// ## What it finds
    /// `cgroup: fork rejected by pids controller in PATH`.
    ///
    /// ## Why it matters
    /// Nothing new starts while there is plenty of memory: the limit is `pids.max` of that cgroup (TasksMax= of a unit,
    /// `--pids-limit` of a container). The kernel logs it once per cgroup, so one line may stand for a great many
    /// failures.
    ///
    /// ## What the repair does
    /// Nothing in a log. Find what creates so many threads, or raise TasksMax=.
    ///
    /// ## By hand
    /// ```sh
    /// systemd-cgtop
    /// cat /sys/fs/cgroup/PATH/pids.current /sys/fs/cgroup/PATH/pids.max
    /// systemctl set-property UNIT TasksMax=8192
    /// ```
    "fork-rejected", Logs, seed = ["C17"], proves = [], "a cgroup reached its pids limit, and fork failed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Fork) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Error),
        tr!("a cgroup reached its pids limit, and fork failed: {tasks}", tasks = seen.subjects()),
    );
    seen.describe(finding);
    finding.why(tr!("the limit is pids.max of that cgroup, not memory"));
    finding.by_hand(tr!("find what creates so many threads there, or raise TasksMax= or the container's PID limit"));
    Ok(())
}
