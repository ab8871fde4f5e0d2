//! As many files were open as the system allows.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "VFS: file-max limit … reached" in the kernel log, and "Too many open files in system" from every
    /// program.
    ///
    /// ## What it finds
    /// `VFS: file-max limit N reached`.
    ///
    /// ## Why it matters
    /// Every program of every user (root's may continue) gets "Too many open files in system": nobody can log in,
    /// services fail.
    ///
    /// ## What the repair does
    /// Nothing in a log. Raise `fs.file-max`, and find what holds so many files open.
    ///
    /// ## By hand
    /// ```sh
    /// cat /proc/sys/fs/file-nr
    /// for p in /proc/[0-9]*; do echo "$(ls $p/fd | wc -l) $p"; done | sort -n | tail
    /// sysctl -w fs.file-max=2097152
    /// ```
    "file-max-reached", Logs, seed = ["C14"], proves = [], "the system-wide limit on open files was reached"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::FileMax) else { return Ok(()) };
    let finding =
        found.add(log.severity(Severity::Error), tr!("the system-wide limit on open files (fs.file-max) was reached"));
    seen.describe(finding);
    finding.why(tr!("programs of every user but root get \"Too many open files in system\""));
    finding.by_hand(tr!("raise fs.file-max, and find what holds so many files open"));
    Ok(())
}
