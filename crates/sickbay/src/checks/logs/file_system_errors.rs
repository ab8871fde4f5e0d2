//! A file system found itself damaged.

use sickbay_formats::kernel_log::{Incident, Kind};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
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
    /// Errors of ext2, ext3, ext4, XFS and btrfs, a journal that was aborted or cannot be replayed, a file system that XFS
    /// shut down because its log or metadata could not be written, and one that was made read-only because of them.
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

/// What befell a file system, the gravest first.
const KINDS: [Kind; 4] = [Kind::JournalReplay, Kind::FileSystem, Kind::JournalAborted, Kind::Shutdown];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let read_only = log.of(Kind::ReadOnly);
    let disks: Vec<&Incident> = log.of(Kind::Io);
    // Each device is told of once, by the gravest that befell it.
    let mut told: Vec<&str> = Vec::new();
    for kind in KINDS {
        let of_kind = log.of(kind);
        let mut each: Vec<&Incident> =
            of_kind.iter().filter(|seen| !told.contains(&seen.subject.as_str())).copied().collect();
        let named: Vec<&str> = each.iter().map(|seen| seen.subject.as_str()).collect();
        let of_these = read_only.iter().filter(|seen| {
            let alone = kind == Kind::FileSystem && !KINDS.iter().any(|kind| has(&log, *kind, &seen.subject));
            named.contains(&seen.subject.as_str()) || alone
        });
        let is_read_only = of_these.clone().next().is_some();
        each.extend(of_these);
        told.extend(each.iter().map(|seen| seen.subject.as_str()));
        let Some(seen) = Seen::from(&log, each) else { continue };
        report(&log, &seen, kind, is_read_only, &disks, found);
    }
    checksums(&log, found);
    Ok(())
}

/// What btrfs notices because it has checksums: files whose data is wrong, and the disk that it came from.
fn checksums(log: &KernelLog, found: &mut Findings) {
    let errors = log.of(Kind::DiskErrors);
    let counted: Vec<String> = errors
        .iter()
        .filter(|seen| !seen.detail.is_empty())
        .map(|seen| format!("{}: {}", seen.subject, seen.detail))
        .collect();
    if let Some(seen) = Seen::of(log, Kind::DataDamaged) {
        let finding = found.add(
            log.severity(Severity::Error),
            tr!("data on {devices} does not match its checksum", devices = seen.subjects()),
        );
        finding.subject(Subject::Named("checksum".to_owned()));
        seen.describe(finding);
        if !counted.is_empty() {
            finding.note(tr!("btrfs counted: {list}", list = counted.join("; ")));
        }
        finding.why(tr!("where there is no second copy, reading these files fails with an I/O error; the disk, memory or a cable altered the data"));
        finding.by_hand(tr!(
            "btrfs scrub start -B MOUNT names the files: restore them from a backup; test memory and the disk"
        ));
        return;
    }
    let Some(seen) = Seen::from(log, errors) else { return };
    let finding = found.add(
        log.severity(Severity::Warning),
        tr!("btrfs found wrong or unreadable data on {tasks}", tasks = seen.subjects()),
    );
    finding.subject(Subject::Named("disk errors".to_owned()));
    seen.describe(finding);
    if !counted.is_empty() {
        finding.note(tr!("btrfs counted: {list}", list = counted.join("; ")));
    }
    finding.why(tr!("what has a second copy was corrected from it; the counters stay until they are reset, so the fault may be an old one"));
    finding
        .by_hand(tr!("smartctl -a of that disk, btrfs scrub start -B MOUNT; afterwards btrfs device stats -z MOUNT"));
}

fn has(log: &KernelLog, kind: Kind, device: &str) -> bool {
    log.of(kind).iter().any(|seen| seen.subject == device)
}

fn report(log: &KernelLog, seen: &Seen<'_>, kind: Kind, is_read_only: bool, disks: &[&Incident], found: &mut Findings) {
    let mut devices: Vec<&str> =
        seen.each.iter().map(|error| error.subject.as_str()).filter(|device| !device.is_empty()).collect();
    devices.sort_unstable();
    devices.dedup();
    let list = devices.join(", ");
    let lost = seen.each.iter().map(|seen| seen.detail.as_str()).find(|what| matches!(*what, "log" | "metadata"));
    let text = match (kind, is_read_only) {
        (Kind::JournalReplay, _) => {
            tr!("the journal of the file system on {devices} is damaged and cannot be replayed", devices = list)
        }
        (Kind::JournalAborted, true) => {
            tr!("the file system on {devices} aborted its journal, and was made read-only", devices = list)
        }
        (Kind::JournalAborted, false) => tr!("the file system on {devices} aborted its journal", devices = list),
        (Kind::Shutdown, _) => match lost {
            Some("log") => {
                tr!("the file system on {devices} was shut down: its log could not be written", devices = list)
            }
            Some(_) => {
                tr!("the file system on {devices} could not read or write its metadata", devices = list)
            }
            None => tr!("the file system on {devices} was shut down", devices = list),
        },
        _ if list.is_empty() => tr!("a file system that the log does not name detected that it is damaged"),
        (_, true) => {
            tr!("the file system on {devices} detected that it is damaged, and was made read-only", devices = list)
        }
        (_, false) => tr!("the file system on {devices} detected that it is damaged", devices = list),
    };
    let finding = found.add(log.severity(Severity::Error), text);
    finding.subject(Subject::Named(format!("{kind:?} {list}")));
    seen.describe(finding);
    for device in &devices {
        finding.about(Subject::Device(format!("/dev/{device}")));
        finding.about(Subject::Device(format!("/dev/{}", disk_of(device))));
        // A volume of LVM does not name its disks: where one disk alone failed before, it is that.
        if let [disk] = disks
            && device.starts_with("dm-")
            && disk.first.zip(seen.first).is_none_or(|(disk, here)| disk.seconds_to(here).is_none_or(|gap| gap >= 0))
        {
            finding.about(Subject::Device(format!("/dev/{}", disk.subject)));
        }
    }
    match kind {
        Kind::JournalReplay => {
            finding.why(tr!("it cannot be mounted: what is in its journal and not yet in its place may be lost"));
            finding
                .by_hand(tr!("keep a copy of it (dd), check the disk, then run e2fsck on the unmounted file system"));
        }
        Kind::JournalAborted | Kind::Shutdown => {
            finding.why(tr!(
                "whatever reads or writes there fails until it is mounted again: the device is the cause, this is its effect"
            ));
            finding.by_hand(tr!(
                "check the device and the path to it first; then unmount it, mount it again, and check it: fsck -f, xfs_repair -n"
            ));
        }
        _ => {
            finding.why(tr!(
                "files may be lost, and whatever writes there fails; check the disk first, then the unmounted file system"
            ));
            finding.by_hand(tr!("save what matters, unmount it, and check it: fsck -f, xfs_repair -n, btrfs check"));
        }
    }
}

/// `sda1` → `sda`, `nvme0n1p2` → `nvme0`: the kernel's names of what errors of the disk are told of.
fn disk_of(device: &str) -> String {
    if let Some(rest) = device.strip_prefix("nvme") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return format!("nvme{digits}");
    }
    device.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}
