//! Lines of fstab that give a file system the wrong type.

use bstr::ByteSlice;
use sickbay_formats::fstab;

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::fstab::Fstab;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "wrong fs type, bad option, bad superblock on /dev/vdb1" or "unknown filesystem type 'exf4'", then "You
    /// are in emergency mode".
    ///
    /// ## What it finds
    /// Lines of `/etc/fstab` whose type is not that of the file system on the device: `xfs` for an ext4, a misspelled
    /// `exf4`, swap for a data partition.
    ///
    /// ## Why it matters
    /// The mount fails ("wrong fs type, bad option, bad superblock"), and systemd stops in emergency mode.
    ///
    /// ## What the repair does
    /// Writes the type that is on the device.
    ///
    /// ## By hand
    /// ```sh
    /// # then write the TYPE it prints into ROOT/etc/fstab
    /// blkid DEVICE
    /// ```
    "fstab-wrong-type", Boot, seed = ["B7"], proves = [Mounts], "fstab has the wrong type for a file system"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let fstab = facts.get::<Fstab>()?;
    if !fstab.names_devices() {
        return Ok(());
    }
    let devices = facts.get::<Devices>()?;
    for entry in fstab.sound() {
        let Lookup::Volume(volume) = devices.find(facts, &entry.source()) else { continue };
        let (said, real) = (entry.fstype().to_str_lossy(), volume.fstype.as_str());
        // Nothing known is on it: what it is cannot be told from here.
        if real.is_empty() || said.split(',').any(|said| takes(said, real)) {
            continue;
        }
        let severity =
            if entry.is_optional() || entry.has_option("noauto") { Severity::Warning } else { Severity::Critical };
        let finding = found.add(severity, tr!("{device} is {real}, not {said}", device = entry.device(), real, said));
        finding
            .at(&fstab.file, entry.span(2))
            .evidence(volume.name.clone(), format!("TYPE={real}"))
            .why(tr!("the mount fails, and whatever needs it does not start"));
        if severity == Severity::Critical {
            finding.stops(Stage::Mounts);
        }
        if is_container(real) || (entry.is_swap() != (real == "swap")) {
            finding.by_hand(tr!("find out what should be mounted here, and name its device"));
        } else {
            let text = fstab::with_field(&fstab.file.bytes, entry, 2, real);
            finding.repair(Risk::Safe, tr!("write {real}", real), [Change::edit(&fstab.file, text)]);
        }
    }
    Ok(())
}

/// What is no file system itself.
fn is_container(fstype: &str) -> bool {
    matches!(fstype, "LVM2_member" | "crypto_LUKS" | "linux_raid_member" | "jbd" | "swsuspend")
}

/// Whether a mount with the type `said` takes a device that holds `real`.
fn takes(said: &str, real: &str) -> bool {
    match said {
        "auto" | "none" => true,
        // The ext4 driver mounts all three; each of the older two drivers takes the older format too.
        "ext4" | "ext4dev" => matches!(real, "ext2" | "ext3" | "ext4"),
        "ext3" => matches!(real, "ext2" | "ext3"),
        "vfat" | "msdos" => real == "vfat",
        "ntfs" | "ntfs3" | "ntfs-3g" | "fuseblk" | "lowntfs-3g" => real == "ntfs",
        "exfat" | "exfat-fuse" => real == "exfat",
        "iso9660" | "udf" => matches!(real, "iso9660" | "udf"),
        // A hibernated system's swap has another signature until it is woken.
        "swap" => matches!(real, "swap" | "swsuspend"),
        other => other == real,
    }
}
