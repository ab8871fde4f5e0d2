//! Lines of fstab whose device is not there.

use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::accounts::Kind;
use sickbay_formats::fstab::{self, Entry};
use sickbay_target::Volume;

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup, tag};
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::facts::login::accounts::Accounts;
use crate::facts::system::platform::{Platform, whole_disk};
use crate::facts::system::release::{Init, System};
use crate::facts::system::units::Units;
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "A start job is running for /dev/disk/by-uuid/… (1min 30s)", then "Timed out waiting for device",
    /// "Dependency failed for /data" and "You are in emergency mode".
    ///
    /// ## What it finds
    /// Lines of `/etc/fstab` whose UUID, label or device is not on any of the target's disks, unless the line is marked
    /// `nofail`, `noauto` or `x-systemd.automount`; file system images that do not exist, and, where there is no
    /// systemd to create them, directories (`bind`). The line for the root file system is covered by
    /// `fstab-wrong-root`.
    ///
    /// A data disk by a name that the kernel gives (`/dev/sdb1`), none of the disks that were given and without `nofail`,
    /// is a note; a warning where the log of the last boot shows other disks.
    ///
    /// Names are looked up on the target's own disks, never on those of the machine that sickbay runs on. A data disk
    /// that is not attached to that machine counts as missing too: add it with `--with`.
    ///
    /// ## Why it matters
    /// systemd waits 90 seconds for the device, then stops in emergency mode: no network, no ssh. SysV systems stop at
    /// a repair shell. A missing swap device only costs the 90 seconds.
    ///
    /// ## What the repair does
    /// Names the device that was meant, when the disks prove which one it is: it records that it was last mounted
    /// there, or it is the only swap that no line uses, or the line for `/` has the same wrong device (subvolumes).
    /// Otherwise adds `nofail`, so that the system boots without it, and lists the services that will find an empty
    /// directory. For `/usr` and `/var` only where the root file system has a whole one below the mount point. Never
    /// touches `/`.
    ///
    /// ## By hand
    /// ```sh
    /// # then put the right UUID into ROOT/etc/fstab
    /// lsblk -f
    /// ```
    "fstab-missing-device", Boot, seed = ["B7"], proves = [Mounts], "fstab waits for a device that does not exist"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let fstab = facts.get::<Fstab>()?;
    for entry in fstab.sound().filter(|entry| !entry.is_optional()) {
        missing_path(facts, found, &fstab, entry);
    }
    if !fstab.names_devices() {
        return Ok(());
    }
    let devices = facts.get::<Devices>()?;
    let init = facts.get::<System>()?.init;
    let mut lost: Vec<Vec<&Entry>> = Vec::new();
    for entry in fstab.sound().filter(|entry| !entry.is_optional() && entry.mount_point() != "/") {
        match devices.find(facts, &entry.source()) {
            // However many lines name it, it is one device that is not there.
            Lookup::Missing => match lost.iter_mut().find(|lines| {
                lines.iter().all(|other| other.source() == entry.source() && other.is_swap() == entry.is_swap())
            }) {
                Some(lines) => lines.push(entry),
                None => lost.push(vec![entry]),
            },
            // No swap stops a start.
            Lookup::Untold(_) if entry.is_swap() => {}
            Lookup::Untold(why) => {
                by_changing_name(facts, found, &fstab, entry);
                found.could_not_tell(tr!("line {line} of {path}: {why}", line = entry.line, path = Fstab::PATH, why));
            }
            Lookup::Volume(_) | Lookup::Several(_) | Lookup::Device => {}
        }
    }
    for lines in lost {
        report(facts, found, &fstab, &devices, init == Init::Systemd, &lines);
    }
    Ok(())
}

/// A data disk by a name that the kernel gives, on a disk that was not given: with `nofail` it would not matter. What the log of
/// the last boot shows is there.
fn by_changing_name(facts: &Facts, found: &mut Findings, fstab: &Fstab, entry: &Entry) {
    let device = entry.device().to_str_lossy();
    let Some(disk) = device.strip_prefix("/dev/").and_then(whole_disk) else { return };
    let Ok(platform) = facts.get::<Platform>() else { return };
    if platform.disks.iter().any(|(name, _)| *name == disk) {
        return;
    }
    let (line, place) = (entry.line, entry.mount_point());
    let finding = match platform.disks.first() {
        Some((_, clue)) => {
            let disks = platform.disks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            let finding = found.warning(tr!(
                "{place} is mounted from {device}, but when this machine last ran it had {disks}",
                place,
                device = device.as_ref(),
                disks
            ));
            finding.evidence(clue.source.clone(), clue.words.clone())
        }
        None => found.note(tr!(
            "{place} is mounted from {device}, a name that can change, and the line has no nofail",
            place,
            device = device.as_ref()
        )),
    };
    finding
        .at(&fstab.file, entry.span(0))
        .why(tr!("where no disk has that name, systemd waits 90 s for it, then drops to emergency mode"));
    if ["/usr", "/var"].contains(&mount_point(entry).to_str().unwrap_or_default()) {
        finding.by_hand(tr!("name it by UUID: the system does not work without {place}", place));
        return;
    }
    finding.repair(
        Risk::Risky,
        tr!(
            "add nofail to line {line}: the system boots without it, and whatever uses {place} finds it empty",
            line,
            place
        ),
        [Change::edit(&fstab.file, fstab::with_option(&fstab.file.bytes, entry, "nofail"))],
    );
}

/// Tells of a device that is not there, and of all lines that name it.
fn report(facts: &Facts, found: &mut Findings, fstab: &Fstab, devices: &Devices, waits: bool, lines: &[&Entry]) {
    let Some(first) = lines.first() else { return };
    let (place, device) = (first.mount_point(), first.device());
    let finding = if first.is_swap() {
        let finding = found.warning(tr!("swap is on {device}, which is not on any disk of this system", device));
        if waits {
            finding.why(tr!("systemd waits 90 s for it at every boot"));
        }
        finding
    } else {
        let stops = waits || lines.iter().any(|entry| stops_system_v(entry));
        let severity = if stops { Severity::Critical } else { Severity::Error };
        let mut places: Vec<_> = lines.iter().map(|entry| entry.mount_point()).collect();
        places.sort();
        places.dedup();
        let message = match places.len() {
            1 => tr!("{place} is mounted from {device}, which is not on any disk of this system", place, device),
            count => tr!(
                "{place} and {others} more {others?place|places} are mounted from {device}, which is not on any disk of this system",
                place,
                others = count - 1,
                device
            ),
        };
        let finding = found.add(severity, message);
        if waits {
            finding.why(tr!("systemd waits 90 s for it, then drops to emergency mode"));
        } else if stops {
            finding.why(tr!("fsck fails, and the boot stops at a repair shell"));
        }
        if stops {
            finding.stops(Stage::Mounts);
        }
        finding
    };
    let what = if first.is_swap() { format!("{device} (swap)") } else { device.to_string() };
    finding.subject(Subject::Device(what)).extent(lines.len());
    for entry in lines {
        finding.at(&fstab.file, entry.span(0));
    }
    // Subvolumes of the root's file system: lines that name the same device mean the same one.
    let is_roots = fstab.sound().any(|root| root.mount_point() == "/" && root.device() == first.device());
    let root = devices.root().filter(|root| is_roots && root.fstype == first.fstype());
    match root.and_then(|root| Some((root, tag(root)?))) {
        Some((root, tag)) => {
            let title =
                tr!("mount the root volume {volume}, as the line for / intends: {tag}", volume = root.name, tag);
            finding.repair(Risk::Safe, title, [renamed(fstab, lines, &tag)]);
        }
        None => repair(facts, finding, lines, fstab, &fstab.unclaimed(facts, devices)),
    }
}

/// All lines name another device.
fn renamed(fstab: &Fstab, lines: &[&Entry], tag: &str) -> Change {
    let text = lines.iter().fold(fstab.file.bytes.clone(), |text, entry| fstab::with_field(&text, entry, 0, tag));
    Change::edit(&fstab.file, text)
}

/// A directory that is to be mounted elsewhere too (`bind`), or the image of a file system, that is not there.
fn missing_path(facts: &Facts, found: &mut Findings, fstab: &Fstab, entry: &Entry) {
    // systemd makes the directory (src/core/mount.c, mount_enter_mounting).
    let is_systemd = facts.get::<System>().is_ok_and(|system| system.init == Init::Systemd);
    let is_bind = !is_systemd && (entry.has_option("bind") || entry.has_option("rbind"));
    let is_image = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "iso9660", "squashfs", "auto"]
        .iter()
        .any(|fstype| entry.fstype() == *fstype);
    let path = entry.device().to_path_lossy();
    if !path.is_absolute() || path.starts_with("/dev") || !(is_bind || is_image) {
        return;
    }
    // What lies on a file system that is not mounted here, or that comes to be while the system starts, is not told.
    let below = |other: &Entry| mount_point(other) != Path::new("/") && path.starts_with(mount_point(other));
    let is_elsewhere =
        fstab.sound().any(below) || ["/run", "/proc", "/sys", "/tmp"].iter().any(|dir| path.starts_with(dir));
    if is_elsewhere || !facts.root().exists(&path).is_ok_and(|there| !there) {
        return;
    }
    let (line, place) = (entry.line, entry.mount_point());
    let finding =
        found.critical(tr!("{place} is mounted from {path}, which does not exist", place, path = path.as_ref()));
    finding
        .at(&fstab.file, entry.span(0))
        .why(tr!("the mount fails, and the boot stops in emergency mode"))
        .stops(Stage::Mounts)
        .repair(
            Risk::Safe,
            tr!(
                "add nofail to line {line}: the system boots without it, and whatever uses {place} finds it empty",
                line,
                place
            ),
            [Change::edit(&fstab.file, fstab::with_option(&fstab.file.bytes, entry, "nofail"))],
        );
}

/// System V and Upstart stop only when the check of the file system fails, which the sixth field asks for.
fn stops_system_v(entry: &Entry) -> bool {
    entry.fields.get(5).is_some_and(|field| field.value != "0")
}

/// Whether what lies on the root file system below a mount point is a whole `/usr` or `/var`, with which the system runs.
fn is_complete(facts: &Facts, place: &Path) -> bool {
    let there = |path: &str| facts.root().exists(path).unwrap_or(false);
    let has_some = |path: &str| facts.root().read_dir(path).is_ok_and(|entries| !entries.is_empty());
    match place.to_str() {
        Some("/var") => {
            let packages = [
                "/var/lib/dpkg/status",
                "/var/lib/rpm/Packages",
                "/var/lib/rpm/rpmdb.sqlite",
                "/var/lib/rpm/Packages.db",
            ];
            packages.iter().any(|path| there(path)) && has_some("/var/lib") && there("/var/log")
        }
        Some("/usr") => has_some("/usr/lib/systemd") && there("/usr/bin/bash") && there("/usr/sbin"),
        _ => false,
    }
}

fn repair(facts: &Facts, finding: &mut Finding, lines: &[&Entry], fstab: &Fstab, unclaimed: &[&Volume]) {
    let Some(entry) = lines.first() else { return };
    let place = mount_point(entry);
    let of_type: Vec<&Volume> = unclaimed
        .iter()
        .copied()
        .filter(|volume| entry.fstype() == "auto" || entry.fstype() == volume.fstype.as_str())
        .collect();
    let is_meant = |volume: &&Volume| {
        lines.iter().map(|entry| mount_point(entry)).any(|place| {
            volume.mounted_on.as_deref() == Some(place) || volume.last_mounted_on.as_deref() == Some(place)
        })
    };
    let only = |volumes: &[&Volume]| match volumes {
        [one] => tag(one).map(|tag| (one.name.clone(), tag)),
        _ => None,
    };
    let meant: Vec<&Volume> = of_type.iter().copied().filter(|volume| entry.is_swap() || is_meant(volume)).collect();
    let proven = only(&meant);
    if let Some((volume, tag)) = &proven {
        let title = if entry.is_swap() {
            tr!("swap on {volume}, the only swap that no line uses: {tag}", volume, tag)
        } else {
            tr!("mount {volume}, which was previously mounted on {place}: {tag}", volume, place, tag)
        };
        finding.repair(Risk::Safe, title, [renamed(fstab, lines, tag)]);
    }
    let needed = [Path::new("/usr"), Path::new("/var")];
    if let Some(place) = lines.iter().map(|entry| mount_point(entry)).find(|place| needed.contains(place)) {
        if is_complete(facts, place) && proven.is_none() {
            finding.note(tr!("the root file system has a complete {place} of its own below the mount point", place));
            let text =
                lines.iter().fold(fstab.file.bytes.clone(), |text, entry| fstab::with_option(&text, entry, "nofail"));
            let title = tr!("add nofail: the system boots with the {place} that is on the root file system", place);
            finding.repair(Risk::Safe, title, [Change::edit(&fstab.file, text)]);
            return;
        }
        finding.by_hand(tr!("put the right device into the line: the system does not work without {place}", place));
        return;
    }
    let text = lines.iter().fold(fstab.file.bytes.clone(), |text, entry| fstab::with_option(&text, entry, "nofail"));
    let numbers: Vec<String> = lines.iter().map(|entry| entry.line.to_string()).collect();
    let line = numbers.join(", ");
    let title = if entry.is_swap() {
        tr!("add nofail to line {line}: the system boots without it", line)
    } else {
        for entry in lines {
            let place = mount_point(entry);
            let users = users_of(facts, place);
            finding.note(if users.is_empty() {
                tr!("until the disk is back, whatever uses {place} will find it empty", place)
            } else {
                tr!(
                    "until the disk is back, {place} will be empty: {units} will start without its contents",
                    place,
                    units = users.join(", ")
                )
            });
        }
        tr!(
            "add nofail to line {line}: the system boots without it, and whatever uses {place} finds it empty",
            line,
            place
        )
    };
    finding.repair(Risk::Safe, title, [Change::edit(&fstab.file, text)]);
    if let (None, Some((volume, tag))) = (&proven, only(&of_type)) {
        let title =
            tr!("mount {volume}, the only {fstype} that no line uses: {tag}", volume, fstype = entry.fstype(), tag);
        finding.repair(Risk::Risky, title, [renamed(fstab, lines, &tag)]);
    }
}

/// Services of a boot that have to do with a place: their settings name it, or it holds the home of the user that they run as.
fn users_of(facts: &Facts, place: &Path) -> Vec<String> {
    let Ok(units) = facts.get::<Units>() else { return Vec::new() };
    let accounts = facts.get::<Accounts>().ok();
    let homes: Vec<String> = accounts
        .iter()
        .flat_map(|accounts| {
            let passwd = accounts.parsed(Kind::Passwd);
            let below = passwd.good().filter(|entry| entry.number(2) != Some(0));
            let below = below.filter(|entry| entry.field(5).to_path_lossy().starts_with(place));
            below.map(|entry| entry.name().to_string()).collect::<Vec<_>>()
        })
        .collect();
    let names_it = |value: &[u8]| {
        value.fields_with(char::is_whitespace).any(|word| {
            let word = word.rsplit(|byte| *byte == b'=').next().unwrap_or_default();
            word.to_path_lossy().starts_with(place)
        })
    };
    let services = units.all.iter().filter(|(name, _)| name.ends_with(".service"));
    let concerned = services.filter(|(_, unit)| {
        unit.settings.iter().any(|(_, one)| match one.key.as_slice() {
            b"User" => homes.iter().any(|user| one.value == user.as_bytes()),
            b"Description" | b"Documentation" => false,
            // A sandbox of paths is no use of them.
            key if key.ends_with(b"Paths") => false,
            _ => names_it(&one.value),
        })
    });
    concerned.map(|(name, _)| name.clone()).take(5).collect()
}
