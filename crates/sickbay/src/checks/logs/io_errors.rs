//! A disk did not read or write.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
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
    /// `nvme … timeout`; disks that were reset because they did not answer (`ata1.00: exception Emask … frozen`, `nvme nvme0:
    /// controller is down`) or given up (`rejecting I/O to offline device`); thin pools that are full; RAID
    /// arrays, multipath disks and ZFS pools that lost disks or paths.
    /// Empty floppy and CD drives are left out.
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
    gone(&log, found);
    full(&log, found);
    arrays(&log, found);
    if let Some(seen) = Seen::of(&log, Kind::Io) {
        let finding =
            found.add(log.severity(Severity::Error), tr!("reads or writes failed on {tasks}", tasks = seen.subjects()));
        seen.describe(finding);
        for device in &seen.each {
            // What happens to file systems on it is a consequence.
            finding.explains(Subject::Device(format!("/dev/{}", device.subject)));
            finding.about(Subject::Device(format!("/dev/{}", controller(&device.subject))));
            finding.about(Subject::Device(format!("/dev/{}", device.subject)));
        }
        finding.why(tr!("data may be lost, and file systems on it become read-only"));
        finding.by_hand(tr!(
            "save the data, check smartctl -a, the cables or the cloud disk, and check the file system on a copy"
        ));
    }
    reset(&log, found);
    Ok(())
}

/// What is made of several disks and has lost one, and a pool that stopped.
fn arrays(log: &KernelLog, found: &mut Findings) {
    if let Some(seen) = Seen::of(log, Kind::ArrayDegraded) {
        let lost: Vec<String> = seen.each.iter().map(|one| format!("{} ({})", one.subject, one.detail)).collect();
        let finding = found
            .add(log.severity(Severity::Error), tr!("a disk of a RAID array failed: {list}", list = lost.join(", ")));
        finding.subject(Subject::Named("array".to_owned()));
        seen.describe(finding);
        for one in &seen.each {
            finding
                .about(Subject::Device(format!("/dev/{}", one.detail.trim_end_matches(|c: char| c.is_ascii_digit()))));
        }
        finding.why(tr!("the array goes on without it: the next disk that fails takes the data with it"));
        finding.by_hand(tr!("mdadm --detail ARRAY; replace the disk, then mdadm ARRAY --add DISK"));
    }
    if let Some(seen) = Seen::of(log, Kind::PathFailed) {
        let finding = found.add(
            log.severity(Severity::Warning),
            tr!("paths of a multipath disk failed: {tasks}", tasks = seen.subjects()),
        );
        finding.subject(Subject::Named("path".to_owned()));
        seen.describe(finding);
        for one in &seen.each {
            // `253:3` is dm-3.
            if let Some((_, minor)) = one.subject.split_once(':') {
                finding.explains(Subject::Device(format!("/dev/dm-{minor}")));
            }
        }
        finding.why(tr!("with the last path everything on it fails: a switch, a port, a cable or the storage"));
        finding.by_hand(tr!("multipath -ll shows which paths are down; then the HBA's link and the storage's log"));
    }
    if let Some(seen) = Seen::of(log, Kind::PoolSuspended) {
        let finding = found.add(
            log.severity(Severity::Critical),
            tr!("ZFS suspended the pool {tasks}: nothing on it can be read or written", tasks = seen.subjects()),
        );
        finding.subject(Subject::Named("ZFS pool".to_owned()));
        seen.describe(finding);
        finding
            .why(tr!("too many of its disks failed at once, or the path to them: whatever uses it waits in state D"));
        finding.by_hand(tr!("zpool status -v; bring the disks back, then zpool clear POOL"));
    }
}

/// Pools of thin volumes without room.
fn full(log: &KernelLog, found: &mut Findings) {
    let Some(seen) = Seen::of(log, Kind::PoolFull) else { return };
    let metadata = seen.each.iter().any(|one| one.detail == "metadata");
    let text = match metadata {
        true => tr!("the thin pool {tasks} has no room left for its metadata", tasks = seen.subjects()),
        false => tr!("the thin pool {tasks} has no room left", tasks = seen.subjects()),
    };
    let finding = found.add(log.severity(Severity::Error), text);
    finding.subject(Subject::Named("thin pool".to_owned()));
    seen.describe(finding);
    // Its volumes are other dm devices: what fails on them is its effect.
    for one in
        log.of(Kind::Io).into_iter().chain(log.of(Kind::JournalAborted)).filter(|one| one.subject.starts_with("dm-"))
    {
        finding.explains(Subject::Device(format!("/dev/{}", one.subject)));
    }
    finding
        .why(tr!("writes to its volumes wait for a minute and then fail, however much room their file systems show"));
    finding.by_hand(match metadata {
        true => tr!("lvextend --poolmetadatasize +1G VG/POOL; then lvconvert --repair where it asks for that (dmsetup info shows the number)"),
        false => tr!("lvextend -L +SIZE VG/POOL (dmsetup info shows the number), or fstrim and remove snapshots; thin_pool_autoextend_threshold in lvm.conf"),
    });
}

/// Disks that the kernel gave up.
fn gone(log: &KernelLog, found: &mut Findings) {
    let Some(seen) = Seen::of(log, Kind::DiskGone) else { return };
    let finding = found.add(
        log.severity(Severity::Error),
        tr!("the kernel gave up a disk or its controller: {tasks}", tasks = seen.subjects()),
    );
    finding.subject(Subject::Named("given up".to_owned()));
    seen.describe(finding);
    for device in &seen.each {
        finding.explains(Subject::Device(format!("/dev/{}", device.subject)));
    }
    finding.why(tr!("it did not answer after a reset: whatever is on it fails until it is back"));
    finding.by_hand(tr!(
        "check the disk, its slot and its power; on a cloud, the state of the volume; then restart the machine"
    ));
}

/// Disks that were reset, where nothing worse was said of them.
fn reset(log: &KernelLog, found: &mut Findings) {
    let told = |name: &str| {
        log.of(Kind::DiskGone).iter().any(|seen| seen.subject == name)
            || log.of(Kind::Io).iter().any(|seen| controller(&seen.subject) == name)
    };
    let each = log.of(Kind::DiskReset).into_iter().filter(|seen| !told(&seen.subject)).collect();
    let Some(seen) = Seen::from(log, each) else { return };
    let finding = found.add(
        log.severity(Severity::Warning),
        tr!("a disk did not answer, and its link or controller was reset: {tasks}", tasks = seen.subjects()),
    );
    finding.subject(Subject::Named("reset".to_owned()));
    seen.describe(finding);
    for device in &seen.each {
        finding.explains(Subject::Device(format!("/dev/{}", device.subject)));
    }
    if seen.each.iter().all(|seen| seen.subject.starts_with("nvme")) {
        finding.why(tr!("requests waited meanwhile; many such disks do this in a state of power saving, others because they fail or get too hot"));
        finding.by_hand(tr!("check smartctl -a and the firmware; as a trial boot with nvme_core.default_ps_max_latency_us=0 pcie_aspm=off"));
    } else {
        finding.why(tr!("requests waited for up to half a minute; the disk, its cable or its power is failing"));
        finding.by_hand(tr!("check smartctl -a (CRC errors: the cable), replace the cable, then the disk; which disk an ata port has: ls -l /sys/block"));
    }
}

/// `nvme0n1` → `nvme0`: errors of a controller are told of that.
fn controller(device: &str) -> &str {
    let digits = device.strip_prefix("nvme").map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    digits.and_then(|digits| device.get(..4 + digits)).unwrap_or(device)
}
