//! GRUB's device.map names devices that the machine does not have.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::device_map::{self, Drive};
use sickbay_formats::fstab::Source;

use crate::facts::Facts;
use crate::facts::boot::fstab::Fstab;
use crate::facts::system::platform::whole_disk;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: grub-install fails with "does not have any corresponding BIOS drive" or "Could not find device for
    /// /dev/hda". The boot itself is not affected.
    ///
    /// ## What it finds
    /// `/boot/grub/device.map` maps a BIOS drive to a device that the system does not have: `/dev/hda` under a kernel
    /// that uses no such disk names, or `/dev/sda` where the system's other files name `/dev/vda`. When the system is
    /// checked from outside, a device is only judged where such a contradiction shows; on a running system it is looked
    /// up.
    ///
    /// ## Why it matters
    /// The file is not read at boot. GRUB legacy's `grub-install` needs it and fails; that of GRUB 2 skips devices that
    /// do not exist.
    ///
    /// ## What the repair does
    /// Writes the device that the system's other files name. Where they name none, removes the file: `grub-install` and
    /// `update-grub` then write a new one with the devices that exist.
    ///
    /// ## By hand
    /// ```sh
    /// grub-install --recheck /dev/DISK
    /// ```
    "device-map-stale", Boot, seed = ["B6"], proves = [], "GRUB's device.map names devices that do not exist"
}

const PATHS: [&str; 2] = ["/boot/grub/device.map", "/boot/grub2/device.map"];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let mut any = false;
    for path in PATHS {
        let Some(file) = facts.file(path)? else { continue };
        any = true;
        let drives: Vec<Drive<'_>> =
            device_map::drives(&file.bytes).into_iter().filter(|drive| drive.name.starts_with(b"hd")).collect();
        let named = disks_named(facts);
        let Some(stale) = drives.iter().find(|drive| is_gone(facts, drive, &named)) else { continue };
        // GRUB 2 passes over what is not there, as long as something is.
        let legacy = facts.root().exists("/boot/grub/stage1")?;
        if !legacy && drives.iter().any(|drive| !is_gone(facts, drive, &named)) {
            continue;
        }
        let severity = if legacy { Severity::Warning } else { Severity::Note };
        let finding = found.add(
            severity,
            tr!(
                "{path} maps {drive} to {device}, which does not exist",
                path,
                device = stale.device,
                drive = stale.name
            ),
        );
        finding.at(&file, stale.span).why(if legacy {
            tr!("grub-install fails until it is corrected; booting does not need it")
        } else {
            tr!("nothing reads it at boot; grub-install probes the devices itself")
        });
        let mut others = named.iter();
        match (others.next(), others.next()) {
            (Some(device), None) => {
                let text = device_map::with_device(&file.bytes, stale, format!("/dev/{device}").as_bytes());
                finding.repair(
                    Risk::Safe,
                    tr!("map {drive} to /dev/{device}", device, drive = stale.name),
                    [Change::edit(&file, text)],
                );
            }
            _ => {
                // As grub-install does for --recheck.
                finding.repair(
                    Risk::Safe,
                    tr!("remove {path}: grub-install writes a new one", path),
                    [Change::Remove { path: path.into() }],
                );
            }
        }
    }
    if any { Ok(()) } else { Err(Skip::NotApplicable(tr!("GRUB has no device.map"))) }
}

/// Whole disks, as the files that the system starts with name them: `vda`.
fn disks_named(facts: &Facts) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut add = |device: &str| {
        if let Some(disk) = device.strip_prefix("/dev/").and_then(whole_disk) {
            named.insert(disk);
        }
    };
    if let Ok(fstab) = facts.get::<Fstab>() {
        for entry in fstab.sound().filter(|entry| entry.mount_point() == "/" || entry.mount_point() == "/boot") {
            if let Source::Device(path) = entry.source() {
                add(&path);
            }
        }
    }
    for menu in ["grub.cfg", "menu.lst", "grub.conf"]
        .iter()
        .flat_map(|name| ["/boot/grub", "/boot/grub2"].map(|dir| PathBuf::from(dir).join(name)))
    {
        let Ok(Some(file)) = facts.file(menu) else { continue };
        // Debian's menu.lst explains itself with examples.
        let set = file.bytes.lines().filter(|line| !line.trim_ascii_start().starts_with(b"#"));
        for word in set.flat_map(|line| line.split(u8::is_ascii_whitespace)) {
            if let Some(device) = word.strip_prefix(b"root=").and_then(|device| device.to_str().ok()) {
                add(device);
            }
        }
    }
    named
}

fn is_gone(facts: &Facts, drive: &Drive<'_>, named: &BTreeSet<String>) -> bool {
    let Ok(device) = drive.device.to_str() else { return false };
    if facts.runs() {
        return device.starts_with("/dev/") && !facts.root().exists(device).unwrap_or(true);
    }
    let Some(disk) = device.strip_prefix("/dev/").and_then(whole_disk) else { return false };
    let family = |name: &str| name.get(..2).map(str::to_owned);
    // The first disk has one name; that of a second one is known to nobody.
    let contradicted =
        drive.name == "hd0" && !named.is_empty() && named.iter().all(|other| family(other) != family(&disk));
    contradicted || disk.starts_with("hd") && no_kernel_names_hd(facts)
}

/// Whether every kernel is of the time when ATA disks were SCSI disks already: distributions left the old drivers with
/// 2.6.3x, and 5.14 removed them.
fn no_kernel_names_hd(facts: &Facts) -> bool {
    let Ok(kernels) = facts.root().read_dir("/lib/modules") else { return false };
    let is_new =
        |name: &str| name.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 3);
    let mut kernels = kernels.iter().filter_map(|entry| entry.name.to_str()).peekable();
    kernels.peek().is_some() && kernels.all(is_new)
}
