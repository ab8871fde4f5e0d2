//! Strict overcommit refuses memory that is there.

use crate::facts::Facts;
use crate::facts::memory::alloc::{Accounting, Asker};
use crate::facts::memory::size;
use crate::facts::system::kernel::MemInfo;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::mend::sysctl_lines::{comment_all, unbearable};
use crate::model::finding::{Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "fork: Cannot allocate memory" or Java's "Native memory allocation (mmap) failed" while `free` shows
    /// plenty available.
    ///
    /// ## What it finds
    /// `vm.overcommit_memory = 2` with so little left below the commit limit that a program is refused memory although
    /// at least twice as much is available: what is left is less than half of `MemAvailable` and free swap, and less
    /// than a quarter of memory.
    ///
    /// ## Why it matters
    /// In this mode the kernel adds up what programs have been promised, used or not (`Committed_AS`), and refuses what
    /// would exceed `CommitLimit` = (memory - huge pages) × `vm.overcommit_ratio` % + swap, minus a reserve for root
    /// and one for the user. Without swap and with the default ratio of 50, half of memory can never be used by
    /// programs. `sickbay explain alloc SIZE` does the sum for one request.
    ///
    /// ## What the repair does
    /// Sets `vm.overcommit_memory` to 0, the kernel's default, now and in the sysctl files, by commenting out the lines
    /// that set 2. Risky: whoever chose 2 wanted programs to be refused rather than killed.
    ///
    /// ## By hand
    /// ```sh
    /// # to keep the mode: raise the ratio (80 or 90 on a machine without swap), or add swap
    /// sysctl -w vm.overcommit_ratio=80
    /// ```
    "memory-overcommit-refuses", Memory, seed = ["C16"], proves = [], "memory is refused although it is available"
}

const KEY: &str = "vm.overcommit_memory";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounting = facts.get::<Accounting>()?;
    let memory = facts.get::<MemInfo>()?;
    if accounting.mode != Some(2) {
        return Ok(());
    }
    // A program that is large enough for the whole reserve to be kept from it, and does not run as root.
    let asker = Asker { total_vm: accounting.user_reserve.unwrap_or(0).saturating_mul(32), ..Asker::default() };
    let left = u64::try_from(accounting.headroom(&asker)).unwrap_or(0);
    let available = memory.available().saturating_add(memory.kib("SwapFree"));
    if left >= available / 2 || left >= memory.total() / 4 {
        return Ok(());
    }
    let severity = if left < memory.total() / 50 { Severity::Error } else { Severity::Warning };
    let text = match left {
        0 => tr!(
            "every further request for memory is refused although {available} is available",
            available = size(available)
        ),
        _ => tr!(
            "requests for more than {left} of memory are refused although {available} is available",
            left = size(left),
            available = size(available)
        ),
    };
    let value = |name: &str| memory.kib(name);
    let formula = accounting.judge(left.saturating_mul(1024), &asker).rules.pop().map(|rule| rule.formula);
    let finding = found
        .add(severity, text)
        .at_parameter(KEY)
        .why(tr!("vm.overcommit_memory is 2: the total committed to all programs is limited to CommitLimit, and what they never use counts too"))
        .evidence(
            "/proc/meminfo",
            format!("CommitLimit: {} kB, Committed_AS: {} kB", value("CommitLimit"), value("Committed_AS")),
        )
        .evidence("mm/util.c", formula.unwrap_or_default())
        .detail(KEY, 2)
        .detail("vm.overcommit_ratio", accounting.ratio)
        .measured(
            "Committed_AS",
            value("Committed_AS") as f64 * 1024.0,
            Unit::Bytes,
            Some(value("CommitLimit") as f64 * 1024.0),
        )
        .detail("CommitLimit", value("CommitLimit").saturating_mul(1024))
        .detail("Committed_AS", value("Committed_AS").saturating_mul(1024))
        .detail("headroom", left.saturating_mul(1024))
        .detail("MemAvailable", memory.available().saturating_mul(1024));
    let mut changes = vec![Change::kernel(KEY, "2", "0")];
    let files = facts.get::<SysctlFiles>();
    let lines = files.as_ref().map(|files| unbearable(files, KEY, |mode| mode != 2)).unwrap_or_default();
    for (file, assignment, _) in &lines {
        finding.at(file, assignment.span);
    }
    changes.extend(comment_all(&lines));
    finding.repair(Risk::Risky, tr!("set {key} to {value}, the kernel's default", key = KEY, value = 0), changes);
    finding.by_hand(tr!("keep the mode and raise vm.overcommit_ratio, or add swap"));
    Ok(())
}
