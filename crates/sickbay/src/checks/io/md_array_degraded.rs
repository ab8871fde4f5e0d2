//! A software RAID runs without all of its disks, or does not run.

use sickbay_formats::mdstat::{Array, arrays};

use crate::facts::Facts;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "[U_]" in /proc/mdstat, "md/raid1:md0: Disk failure on sdb1, disabling device", a mail "DegradedArray event
    /// on /dev/md0"; or nothing, for months.
    ///
    /// ## What it finds
    /// An array of Linux' software RAID that works with fewer devices than it was made for and is not being rebuilt, and
    /// one that is assembled and inactive.
    ///
    /// ## Why it matters
    /// The next disk that fails takes the data with it. An inactive array has too few devices to run: what is mounted from
    /// it is not there.
    ///
    /// ## What the repair does
    /// Nothing: which disk is to be replaced, only a person knows.
    ///
    /// ## By hand
    /// ```sh
    /// mdadm --detail /dev/md0
    /// # after the disk is replaced and partitioned like the other
    /// mdadm /dev/md0 --remove failed; mdadm /dev/md0 --add /dev/sdb1
    /// ```
    "md-array-degraded", Io, seed = [], proves = [], "a software RAID runs without all of its disks"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if !facts.runs() {
        return Err(Skip::NotApplicable(tr!("only a running machine has arrays")));
    }
    let file = facts.required("/proc/mdstat")?;
    for array in arrays(&file.bytes) {
        let device = format!("/dev/{}", array.name);
        let finding = match told(&array) {
            Some((severity, message)) => found.add(severity, message),
            None => continue,
        };
        finding.subject(Subject::Device(device.clone())).at_device(device.clone());
        if array.active {
            let why = tr!("the next disk that fails takes the data with it");
            finding.why(why).by_hand(tr!("replace the disk, then mdadm {device} --add PARTITION", device));
        } else {
            let why = tr!("too few of its devices were found: what is mounted from it is not there");
            finding
                .why(why)
                .by_hand(tr!("look for the missing devices (mdadm --examine), then mdadm --run {device}", device));
        }
    }
    Ok(())
}

fn told(array: &Array) -> Option<(Severity, crate::model::text::Text)> {
    let device = format!("/dev/{}", array.name);
    if !array.active {
        return Some((Severity::Error, tr!("{device} is inactive", device)));
    }
    let (made, work) = array.devices.filter(|(made, work)| work < made)?;
    if array.busy {
        return None;
    }
    let level = array.level.as_str();
    Some((
        Severity::Warning,
        match array.failed.as_slice() {
            [] => tr!("{device} ({level}) runs with {work} of {made} devices", device, level, work, made),
            failed => tr!(
                "{device} ({level}) runs with {work} of {made} devices: {failed} failed",
                device,
                level,
                work,
                made,
                failed = failed.join(", ")
            ),
        },
    ))
}
