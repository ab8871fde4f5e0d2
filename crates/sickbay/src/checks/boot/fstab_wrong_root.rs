//! The root's line of fstab names another device, or none.

use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::fstab::{self, Entry};
use sickbay_target::{Table, Volume};

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Loader};
use crate::facts::boot::devices::{Devices, Lookup, tag};
use crate::facts::boot::fstab::{Fstab, is_other_subvolume};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the boot stops at "Give root password for maintenance" after a failed fsck of the root, or the system
    /// runs with "Read-only file system" errors.
    ///
    /// ## What it finds
    /// The entry for `/` in `/etc/fstab` names a device that does not exist, or one that is not the root file system,
    /// or a btrfs subvolume that is not the root; or there is no entry for it at all, and the kernel command line has
    /// `ro`.
    ///
    /// ## Why it matters
    /// The kernel mounts the root by the `root=` parameter on its command line, read-only; the fstab entry is used to
    /// check it and to remount it read-write. Where that fails, some systems stop at a repair shell; Debian 12 carries
    /// on.
    ///
    /// ## What the repair does
    /// Writes the UUID of the root file system, or its subvolume, into the entry, or adds an entry; other options and
    /// numbers stay.
    ///
    /// ## By hand
    /// ```sh
    /// # then put the root's UUID into ROOT/etc/fstab
    /// blkid
    /// ```
    "fstab-wrong-root", Boot, seed = ["B7"], proves = [Mounts], "the fstab entry for / does not name the root file system"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let fstab = match facts.get::<Fstab>() {
        Ok(fstab) => fstab,
        Err(skip) => return if stays_read_only(facts, found, None) { Ok(()) } else { Err(skip) },
    };
    let Some(entry) = fstab.root() else {
        if fstab.entries.iter().all(|entry| entry.defect.is_none()) && stays_read_only(facts, found, Some(&fstab.file))
        {
            return Ok(());
        }
        return Err(Skip::NotApplicable(tr!("fstab has no entry for the root file system")));
    };
    let devices = facts.get::<Devices>()?;
    let Some(root) = devices.root() else {
        return Err(Skip::NotApplicable(tr!("the root is not on a volume of its own")));
    };
    let device = entry.device();
    let message = match devices.find(facts, &entry.source()) {
        Lookup::Missing => tr!("the root is mounted from {device}, which is not on any disk of this system", device),
        // One btrfs can be on several devices.
        Lookup::Volume(volume) if volume == root || (volume.uuid == root.uuid && volume.fstype == root.fstype) => {
            return subvolume(&fstab, entry, root, found);
        }
        Lookup::Volume(volume) => {
            tr!("the root is mounted from {device}, which is {other}", device, other = volume.name)
        }
        // Two copies are found by another check; how the running system maps its devices is right where it runs.
        Lookup::Several(_) | Lookup::Device => return Ok(()),
        Lookup::Untold(why) => return Err(Skip::Unknown(why)),
    };
    let finding = found.error(message);
    finding
        .at(&fstab.file, entry.span(0))
        .label(tr!("the root is on {volume}", volume = root.name))
        .why(tr!("its entry neither checks nor remounts it: some systems stop there, others carry on"));
    match tag(root) {
        Some(tag) => {
            let text = fstab::with_field(&fstab.file.bytes, entry, 0, &tag);
            finding.repair(Risk::Safe, tr!("write {tag}", tag), [Change::edit(&fstab.file, text)]);
        }
        None => {
            finding.by_hand(tr!("put the device of the root file system into the line"));
        }
    }
    Ok(())
}

/// Whether nothing remounts the root writable: the kernel is told `ro`, and fstab has no line for it. Images whose root is
/// meant to stay as it is say more than `ro`.
fn stays_read_only(facts: &Facts, found: &mut Findings, file: Option<&Arc<SourceFile>>) -> bool {
    let Ok(config) = facts.get::<BootConfig>() else { return false };
    let Some(entry) = config.loaders.iter().find_map(Loader::default_entry) else { return false };
    let last = entry.arguments.iter().rev().find(|word| matches!(word.text.as_str(), "ro" | "rw"));
    let others = ["ostree=", "systemd.volatile", "overlayroot", "boot=", "systemd.verity", "root=/dev/nfs", "rd.live"];
    let is_meant = entry.arguments.iter().any(|word| others.iter().any(|other| word.text.starts_with(other)));
    // systemd-gpt-auto-generator(8) finds the root of a GPT by its type.
    let devices = facts.get::<Devices>().ok();
    let volume = devices.as_ref().and_then(|devices| devices.root());
    let is_gpt = volume.is_some_and(|volume| volume.table == Some(Table::Gpt));
    let (Some(word), false, false) = (last.filter(|word| word.text == "ro"), is_meant, is_gpt) else { return false };
    let finding = found.error(tr!("fstab has no entry for the root, and the kernel command line has ro"));
    match file {
        Some(file) => finding.at_path(&file.path),
        None => finding.at_path(Fstab::PATH),
    };
    finding
        .at(&word.file, word.span())
        .why(tr!("nothing remounts the root read-write: services that write fail, and so do logins that need them"));
    let named = entry.argument("root").map(|(_, value)| value.to_owned());
    let Some(device) = volume.and_then(tag).or(named) else { return true };
    let fstype = volume.map_or("auto", |volume| volume.fstype.as_str());
    let line = format!("{device} / {fstype} defaults 0 1\n");
    let change = match file {
        Some(file) => Change::edit(file, [line.as_bytes(), file.bytes.as_slice()].concat()),
        None => Change::create(Fstab::PATH, line.clone(), 0o644),
    };
    finding.repair(Risk::Safe, tr!("add the entry for the root: {line}", line = line.trim_end()), [change]);
    true
}

/// The line names the root's btrfs, but perhaps another subvolume of it.
fn subvolume(fstab: &Fstab, entry: &Entry, root: &Volume, found: &mut Findings) -> Verdict {
    let named = entry.options().find_map(|option| option.strip_prefix(b"subvol=")).and_then(|name| name.to_str().ok());
    let (Some(named), Some(is)) = (named, &root.subvolume) else { return Ok(()) };
    if !is_other_subvolume(named, is) {
        return Ok(());
    }
    let finding = found.error(tr!("the root is mounted from the subvolume {named}, but it is in {is}", named, is));
    let text = entry.options().map(|option| {
        if option.strip_prefix(b"subvol=") == Some(named.as_bytes()) {
            format!("subvol={is}").into_bytes()
        } else {
            option.to_vec()
        }
    });
    let options = bstr::join(b",", text);
    let new = fstab::with_field(&fstab.file.bytes, entry, 3, &options.to_str_lossy());
    finding
        .at(&fstab.file, entry.span(3))
        .why(tr!("its entry neither checks nor remounts it: some systems stop there, others carry on"))
        .repair(Risk::Safe, tr!("write subvol={is}", is), [Change::edit(&fstab.file, new)]);
    Ok(())
}
