//! As many files were open as the system allows.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// `VFS: file-max limit N reached`.
    ///
    /// ## Why it matters
    /// Every program of every user (root's may go on) gets "Too many open files in system": nobody logs in, services
    /// fail.
    ///
    /// ## What the repair does
    /// Nothing in a log. Raise `fs.file-max`, and find who holds so many: `/proc/sys/fs/file-nr`, `ls /proc/PID/fd | wc
    /// -l`.
    "file-max-reached", Logs, seed = ["C14"], proves = [], "as many files were open as the system allows"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::FileMax) else { return Ok(()) };
    let finding = found.add(log.severity(Severity::Error), tr!("as many files were open as fs.file-max allows"));
    seen.describe(finding);
    finding.why(tr!("programs of all users but root get \"Too many open files in system\""));
    finding.by_hand(tr!("raise fs.file-max, and find who holds so many files open"));
    Ok(())
}
