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
    /// ## What it finds
    /// A UUID or label in `/etc/fstab` that two file systems of the target have: a disk made from a snapshot of another
    /// was attached to the same machine. Members of one btrfs or one RAID mirror are meant to share theirs.
    ///
    /// ## Why it matters
    /// Which of the two is mounted depends on which the kernel finds first: after a restart the system may run on the old
    /// copy, or the data seem to be of last week. XFS refuses to mount the second one ("Filesystem has duplicate UUID").
    ///
    /// ## What the repair does
    /// Names the partition by `PARTUUID=` when it is known which one is meant and only that one has it. By hand: detach the
    /// copy, or give it a new UUID: `xfs_admin -U generate DEVICE`, `tune2fs -U random DEVICE`, `btrfstune -u DEVICE`.
    "fstab-duplicate-uuid", Boot, seed = ["B7"], proves = [Mounts], "two devices answer to a name in fstab"
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
        let finding =
            found.error(tr!("{device} is the name of several devices: {names}", device = entry.device(), names));
        finding
            .at(&fstab.file, entry.span(0))
            .why(tr!("which of them is mounted on {place} is left to chance", place = mount_point(entry)));
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
            let title = tr!("name {volume} by PARTUUID={uuid}, which only it has", volume = meant.name, uuid);
            finding.repair(Risk::Safe, title, [Change::edit(&fstab.file, text)]);
        } else {
            finding.by_hand(tr!("detach the copy, or give it a new UUID with xfs_admin, tune2fs or btrfstune"));
        }
    }
    Ok(())
}
