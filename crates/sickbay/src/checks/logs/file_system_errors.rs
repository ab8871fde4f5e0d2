//! A file system found itself damaged.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "EXT4-fs error (device vda1): …", "XFS (vda1): Corruption detected", "BTRFS error", and then "Read-only
    /// file system" from everything that writes.
    ///
    /// ## What it finds
    /// Errors of ext2, ext3, ext4, XFS and btrfs, an aborted journal, and a file system that was made read-only because
    /// of them.
    ///
    /// ## Why it matters
    /// The file system is no longer consistent: files may be lost, and it gets worse with every write. Read-only,
    /// everything that writes fails with "Read-only file system". If the disk itself reports errors, they are the
    /// cause.
    ///
    /// ## What the repair does
    /// Nothing: it must be unmounted to be repaired. Save what matters and check the disk first, then the unmounted
    /// file system or a copy of it.
    ///
    /// ## By hand
    /// ```sh
    /// smartctl -a /dev/DISK
    /// # unmounted
    /// fsck -f DEVICE
    /// xfs_repair -n DEVICE
    /// btrfs check --readonly DEVICE
    /// ```
    "file-system-errors", Logs, seed = [], proves = [], "a file system is damaged"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let read_only = log.of(Kind::ReadOnly);
    let mut each = log.of(Kind::FileSystem);
    each.extend(&read_only);
    let Some(seen) = Seen::from(&log, each) else { return Ok(()) };
    let mut devices: Vec<&str> =
        seen.each.iter().map(|error| error.subject.as_str()).filter(|device| !device.is_empty()).collect();
    devices.sort_unstable();
    devices.dedup();
    let list = devices.join(", ");
    let text = if read_only.is_empty() {
        tr!("the file system on {devices} detected that it is damaged", devices = list)
    } else {
        tr!("the file system on {devices} detected that it is damaged, and was made read-only", devices = list)
    };
    let finding = found.add(log.severity(Severity::Error), text);
    seen.describe(finding);
    for device in devices {
        finding.about(Subject::Device(format!("/dev/{device}")));
        finding.about(Subject::Device(format!("/dev/{}", disk_of(device))));
    }
    finding.why(tr!(
        "files may be lost, and whatever writes there fails; check the disk first, then the unmounted file system"
    ));
    finding.by_hand(tr!("save what matters, unmount it, and check it: fsck -f, xfs_repair -n, btrfs check"));
    Ok(())
}

/// `sda1` → `sda`, `nvme0n1p2` → `nvme0`: the kernel's names of what errors of the disk are told of.
fn disk_of(device: &str) -> String {
    if let Some(rest) = device.strip_prefix("nvme") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return format!("nvme{digits}");
    }
    device.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}
