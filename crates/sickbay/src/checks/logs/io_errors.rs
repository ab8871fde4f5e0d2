//! A disk did not read or write.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "I/O error, dev sda, sector …", "critical medium error" or "nvme … timeout" in the kernel log, and
    /// "Input/output error" from programs.
    ///
    /// ## What it finds
    /// I/O errors and timeouts of disks: `I/O error, dev sda`, `critical medium error`, `Buffer I/O error`,
    /// `nvme … timeout`. Empty floppy and CD drives are left out.
    ///
    /// ## Why it matters
    /// Data that was to be written may be lost; file systems become read-only, tasks hang. Medium errors mean a dying
    /// disk; timeouts may also be the path to it.
    ///
    /// ## What the repair does
    /// Nothing: a failing disk should not be written to. Save the data first, then check the disk, the cables, or the
    /// cloud disk's state; then check the file system on a copy.
    ///
    /// ## By hand
    /// ```sh
    /// smartctl -a /dev/DISK
    /// ddrescue -d /dev/DISK IMAGE MAPFILE
    /// ```
    "io-errors", Logs, seed = ["C9"], proves = [], "a disk failed to read or write"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Io) else { return Ok(()) };
    let finding =
        found.add(log.severity(Severity::Error), tr!("reads or writes failed on {tasks}", tasks = seen.subjects()));
    seen.describe(finding);
    for device in &seen.each {
        // What happens to file systems on it is a consequence.
        finding.explains(Subject::Device(format!("/dev/{}", device.subject)));
    }
    finding.why(tr!("data may be lost, and file systems on it become read-only"));
    finding.by_hand(tr!(
        "save the data, check smartctl -a, the cables or the cloud disk, and check the file system on a copy"
    ));
    Ok(())
}
