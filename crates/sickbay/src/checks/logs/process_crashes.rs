//! The same program dies again and again.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "php-fpm[1234]: segfault at … ip … in libfoo.so[…]" in the kernel log, again and again.
    ///
    /// ## What it finds
    /// A process that crashed at least three times by its own fault: `segfault at …`, `general protection`,
    /// `trap invalid opcode`, `unhandled level … fault`.
    ///
    /// ## Why it matters
    /// Once may be chance. The same program in the same library again and again is a bug, a library that does not
    /// match, or bad memory: many different programs that crash rather point to memory.
    ///
    /// ## What the repair does
    /// Nothing. The message names the library (`in libfoo.so[…]`): check whether it was updated recently, and whether
    /// the package's files are intact. A core dump tells the rest.
    ///
    /// ## By hand
    /// ```sh
    /// coredumpctl list
    /// coredumpctl info PID
    /// rpm -V PACKAGE
    /// debsums PACKAGE
    /// ```
    "process-crashes", Logs, seed = [], proves = [], "a program crashes repeatedly"
}

/// So often makes a habit.
const HABIT: u64 = 3;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let each: Vec<_> = log.of(Kind::Crash).into_iter().filter(|crash| crash.count >= HABIT).collect();
    let Some(seen) = Seen::from(&log, each) else { return Ok(()) };
    let programs = seen.subjects();
    let finding = found.add(log.severity(Severity::Warning), tr!("repeated crashes: {programs}", programs));
    seen.describe(finding);
    if let Some(object) = seen.each.first().map(|crash| crash.detail.as_str()).filter(|object| !object.is_empty()) {
        finding.note(tr!("it crashed in {object}", object));
    }
    finding.why(tr!("a bug, a library that does not match, or bad memory if very different programs crash"));
    finding.by_hand(tr!("check whether its package was updated or is damaged, and examine a core dump (coredumpctl)"));
    Ok(())
}
