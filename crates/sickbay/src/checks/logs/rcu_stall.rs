//! RCU waited for a processor.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// `rcu_sched detected stalls` and `self-detected stall on CPU`: a processor did not pass through a quiet state for
    /// 21 seconds (`rcupdate.rcu_cpu_stall_timeout`).
    ///
    /// ## Why it matters
    /// Memory that the kernel means to free stays taken meanwhile, and whatever runs on the processor hangs. The causes
    /// are those of lockups; in a virtual machine it is most often the host.
    ///
    /// ## What the repair does
    /// Nothing. The stack behind the sentence shows what the processor did; look at steal time and at the host.
    "rcu-stall", Logs, seed = [], proves = [], "RCU waited for a processor"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::RcuStall) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Error),
        tr!("RCU waited for a processor that did not answer: {tasks}", tasks = seen.subjects()),
    );
    seen.describe(finding);
    finding.why(tr!("the processor was stuck in the kernel, or the host of the virtual machine did not run it"));
    finding.by_hand(tr!("read the stack behind the sentence, and look at steal time and at the host"));
    Ok(())
}
