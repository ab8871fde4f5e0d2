//! RCU waited for a processor.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "rcu: INFO: rcu_sched detected stalls on CPUs/tasks" or "self-detected stall on CPU" in the kernel log,
    /// and a machine that freezes for seconds.
    ///
    /// ## What it finds
    /// `rcu_sched detected stalls` and `self-detected stall on CPU`: a CPU did not pass through a quiescent state for
    /// 21 seconds (`rcupdate.rcu_cpu_stall_timeout`).
    ///
    /// ## Why it matters
    /// Memory that the kernel wants to free stays in use meanwhile, and whatever runs on the CPU hangs. The causes are
    /// those of lockups; on a virtual machine it is most often the host.
    ///
    /// ## What the repair does
    /// Nothing. The stack trace after the message shows what the CPU was doing; check steal time and the host.
    ///
    /// ## By hand
    /// ```sh
    /// vmstat 1
    /// ```
    "rcu-stall", Logs, seed = [], proves = [], "RCU waited for a CPU"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::RcuStall) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Error),
        tr!("RCU waited for a CPU that did not respond: {tasks}", tasks = seen.subjects()),
    );
    seen.describe(finding);
    finding.why(tr!("the CPU was stuck in the kernel, or the host of the virtual machine did not run it"));
    finding.by_hand(tr!("read the stack trace after the message, and check steal time and the host"));
    Ok(())
}
