//! A disk did not read or write.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// I/O errors and timeouts of disks: `I/O error, dev sda`, `critical medium error`, `Buffer I/O error`, `nvme …
    /// timeout`. Empty floppy and CD drives are left out.
    ///
    /// ## Why it matters
    /// Data that was to be written may be lost; file systems turn read-only, tasks hang. Errors of the medium are a
    /// disk that dies; timeouts may be the path to it.
    ///
    /// ## What the repair does
    /// Nothing: nothing should be written to a disk that fails. Save the data first, then look at `smartctl -a`,
    /// cables, or the cloud disk's state; then check the file system on a copy.
    "io-errors", Logs, seed = ["C9"], proves = [], "a disk did not read or write"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Io) else { return Ok(()) };
    let finding =
        found.add(log.severity(Severity::Error), tr!("reading or writing failed on {tasks}", tasks = seen.subjects()));
    seen.describe(finding);
    for device in &seen.each {
        // What happens to file systems on it is a consequence.
        finding.explains(Subject::Device(format!("/dev/{}", device.subject)));
    }
    finding.why(tr!("data may be lost, and file systems on it turn read-only"));
    finding.by_hand(tr!(
        "save the data, look at smartctl -a, cables or the cloud disk, and check the file system on a copy"
    ));
    Ok(())
}
