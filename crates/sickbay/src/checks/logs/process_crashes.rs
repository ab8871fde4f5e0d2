//! The same program dies again and again.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// A process that died at least three times of its own fault: `segfault at …`, `general protection`, `trap invalid opcode`,
    /// `unhandled level … fault`.
    ///
    /// ## Why it matters
    /// Once may be chance. The same program in the same library again and again is a bug, a library that does not fit, or
    /// bad memory: many different programs that die are rather memory.
    ///
    /// ## What the repair does
    /// Nothing. The words name the library (`in libfoo.so[…]`): see whether it was updated lately, and whether the
    /// package's files are whole. A core dump (`coredumpctl`, `ulimit -c`) tells the rest.
    "process-crashes", Logs, seed = [], proves = [], "a program dies again and again"
}

/// So often makes a habit.
const HABIT: u64 = 3;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let each: Vec<_> = log.of(Kind::Crash).into_iter().filter(|crash| crash.count >= HABIT).collect();
    let Some(seen) = Seen::from(&log, each) else { return Ok(()) };
    let programs = seen.subjects();
    let finding = found.add(log.severity(Severity::Warning), tr!("dies again and again: {programs}", programs));
    seen.describe(finding);
    if let Some(object) = seen.each.first().map(|crash| crash.detail.as_str()).filter(|object| !object.is_empty()) {
        finding.note(tr!("it died in {object}", object));
    }
    finding.why(tr!("a bug, a library that does not fit, or bad memory where very different programs die"));
    finding.by_hand(tr!("see whether its package was updated or is damaged, and look at a core dump (coredumpctl)"));
    Ok(())
}
