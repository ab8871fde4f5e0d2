//! Lines of fstab whose name several devices have.

use sickbay_formats::fstab;
use sickbay_target::Volume;

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: after a reboot the data is a week old, the system runs from the wrong disk, or "XFS (sdb1): Filesystem
    /// has duplicate UUID … - can't mount".
    ///
    /// ## What it finds
    /// A UUID or label in `/etc/fstab` that two of the target's file systems have: a disk made from a snapshot of
    /// another was attached to the same machine. Members of one btrfs or one RAID mirror are supposed to share theirs.
    ///
    /// ## Why it matters
    /// Which of the two is mounted depends on which the kernel finds first: after a reboot the system may run from the
    /// old copy, or the data may seem to be from last week. XFS refuses to mount the second one ("Filesystem has
    /// duplicate UUID").
    ///
    /// ## What the repair does
    /// Names the partition by `PARTUUID=` when it is known which one is meant and only that one has it.
    ///
    /// ## By hand
    /// ```sh
    /// # detach the copy, or give it a new UUID (unmounted)
    /// xfs_admin -U generate DEVICE
    /// tune2fs -U random DEVICE
    /// btrfstune -u DEVICE
    /// ```
    "fstab-duplicate-uuid", Boot, seed = ["B7"], proves = [Mounts], "a device name in fstab matches two devices"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let fstab = facts.get::<Fstab>()?;
    if !fstab.names_devices() {
        return Ok(());
    }
    let devices = facts.get::<Devices>()?;
    for entry in fstab.sound() {
        let Lookup::Several(volumes) = devices.find(facts, &entry.source()) else { continue };
        let names = volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>().join(", ");
        let finding = found.error(tr!("{device} matches several devices: {names}", device = entry.device(), names));
        finding
            .at(&fstab.file, entry.span(0))
            .why(tr!("which one of them is mounted on {place} is left to chance", place = mount_point(entry)));
        for volume in &volumes {
            finding.at_device(volume.name.clone());
        }
        // What is mounted is what was meant; so is what is joined to a root that does not run.
        let meant: Vec<&&Volume> =
            volumes.iter().filter(|volume| volume.mounted_on.as_deref() == Some(mount_point(entry))).collect();
        if let [meant] = meant.as_slice()
            && let Some(uuid) = &meant.partuuid
            && devices.volumes.iter().filter(|volume| volume.partuuid.as_ref() == Some(uuid)).count() == 1
        {
            let text = fstab::with_field(&fstab.file.bytes, entry, 0, &format!("PARTUUID={uuid}"));
            let title = tr!("name {volume} by PARTUUID={uuid}, which is unique to it", volume = meant.name, uuid);
            finding.repair(Risk::Safe, title, [Change::edit(&fstab.file, text)]);
        } else {
            finding.by_hand(tr!("detach the copy, or give it a new UUID with xfs_admin, tune2fs or btrfstune"));
        }
    }
    Ok(())
}
