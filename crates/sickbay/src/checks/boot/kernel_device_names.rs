//! The boot configuration names the root as the kernel of another machine does.

use std::collections::BTreeSet;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::fstab::{self, Source};
use sickbay_formats::lines::{self, with_comment};
use sickbay_formats::shell_vars;
use sickbay_formats::span::Span;
use sickbay_target::Volume;

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Entry, Loader, Word};
use crate::facts::boot::devices::{Devices, Lookup, kernel_name, tag};
use crate::facts::boot::fstab::Fstab;
use crate::facts::system::platform::{Platform, whole_disk};
use crate::mend::boot_entries::{edits, in_sources, joined, leads_to_root, no_entry};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "ALERT! /dev/sda1 does not exist. Dropping to a shell!", or "dracut-initqueue timeout" and a shell, after
    /// a machine moved to another hypervisor or got another disk controller.
    ///
    /// ## What it finds
    /// A boot entry that passes `root=` by a name that the kernel gives, such as `/dev/sda1`, although the machine's own
    /// log of its last boot shows disks of other names only, such as `vda`. Where no log says so, a `root=/dev/sd…` in a
    /// system whose `/etc/fstab` names the root by UUID is a note, and whether the root will be found is undetermined.
    /// A name that the log confirms is left alone. The same for lines of `/etc/fstab` and `/etc/crypttab` without
    /// `nofail` or `noauto`.
    ///
    /// ## Why it matters
    /// The kernel names a disk after its driver, and in the order in which the disks show up. The initramfs waits for a
    /// name that never comes and ends in its own shell. A line of `/etc/fstab` or `/etc/crypttab` with such a name holds
    /// the boot up for 90 seconds and then stops it in emergency mode.
    ///
    /// ## What the repair does
    /// Writes the UUID of the root file system into `root=`, in every entry with that name, in `/etc/default/grub` and in
    /// `/etc/kernel/cmdline`, and comments out `GRUB_DISABLE_LINUX_UUID`. A `resume=` and lines of `/etc/fstab` and
    /// `/etc/crypttab` that name partitions of the same disk get UUIDs, too.
    ///
    /// ## By hand
    /// ```sh
    /// # then put root=UUID=… into both files
    /// blkid
    /// grep -n root=/dev ROOT/boot/grub*/grub.cfg ROOT/etc/default/grub
    /// ```
    "kernel-device-names", Boot, seed = ["B8"], proves = [], may_stop = [RootDevice, Mounts], "the boot configuration names the root by a device name of another machine"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    let devices = facts.get::<Devices>()?;
    let Some(root) = devices.root() else {
        return Err(Skip::NotApplicable(tr!("the root is not on a volume of its own")));
    };
    if facts.runs() {
        return Err(Skip::NotApplicable(tr!("this machine is running: it has booted with these names")));
    }
    let platform = facts.get::<Platform>()?;
    let mut some = false;
    let mut told = BTreeSet::new();
    for loader in &config.loaders {
        let Some(entry) = loader.default_entry() else { continue };
        some = true;
        told.extend(look(facts, found, &config, &devices, &platform, root, loader, entry));
    }
    mounts(facts, found, &devices, &platform, &told);
    if some { Ok(()) } else { Err(no_entry()) }
}

#[allow(clippy::too_many_arguments, reason = "one look at one entry")]
fn look(
    facts: &Facts,
    found: &mut Findings,
    config: &BootConfig,
    devices: &Devices,
    platform: &Platform,
    root: &Volume,
    loader: &Loader,
    entry: &Entry,
) -> Option<String> {
    let (word, value) = entry.argument("root")?;
    let disk = value.strip_prefix("/dev/").and_then(whole_disk)?;
    // Without an initramfs the kernel itself knows no UUID of a file system.
    if entry.initramfs.is_empty() || leads_to_root(facts, config, value) == Some(false) {
        return None;
    }
    let others: Vec<&str> = platform.disks.iter().map(|(name, _)| name.as_str()).collect();
    if others.is_empty() && !platform.started_with(word.text.as_str()) {
        found.could_not_tell(tr!(
            "whether the kernel calls the root {device} is not known: no log shows the names of this machine's disks",
            device = value
        ));
    }
    // Two file systems of one UUID are another check's matter.
    let new = root.uuid.as_ref().map(|uuid| format!("UUID={uuid}"))?;
    if devices.volumes.iter().filter(|volume| volume.uuid == root.uuid).count() > 1 {
        return None;
    }
    let is_other = !others.is_empty() && !others.contains(&disk.as_str()) && !platform.started_with(word.text.as_str());
    let path = word.file.path.as_path();
    let finding = if is_other {
        let finding = found.add(
            Severity::Critical,
            tr!(
                "{path} passes {word}, but when this machine last ran it had {disks}",
                path,
                word = word.text.as_str(),
                disks = others.join(", ")
            ),
        );
        if let Some((_, clue)) = platform.disks.first() {
            finding.evidence(clue.source.clone(), clue.words.clone());
        }
        finding
            .why(tr!("the initramfs waits for the root in vain and drops to its own shell, or the kernel panics"))
            .stops(Stage::RootDevice)
    } else if others.is_empty() && value.starts_with("/dev/sd") && fstab_has_uuid(facts) && !wants_names(facts) {
        found
            .add(
                Severity::Note,
                tr!(
                    "{path} passes {word}, a name that changes with the disk's driver",
                    path,
                    word = word.text.as_str()
                ),
            )
            .why(tr!("on a machine with other disks the root is not found; fstab names it by UUID"))
    } else {
        return None;
    };
    finding.at(&word.file, word.span()).label(tr!("the root is on {volume}", volume = root.name));
    let risk = if is_other { Risk::Safe } else { Risk::Risky };
    match changes(facts, devices, loader, word, &new, is_other.then_some(disk.as_str())) {
        Some(changes) => finding.repair(risk, tr!("replace it with {tag}", tag = new), changes),
        None => finding.by_hand(tr!("put the right volume into {path}", path)),
    };
    is_other.then_some(disk)
}

/// Lines of fstab and crypttab that need a disk of another machine. `told` are the disks of which a finding has spoken.
fn mounts(facts: &Facts, found: &mut Findings, devices: &Devices, platform: &Platform, told: &BTreeSet<String>) {
    let has = |disk: &str| platform.disks.iter().any(|(name, _)| name == disk);
    let Some((_, clue)) = platform.disks.first() else { return };
    let disks = platform.disks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    // With several disks the first that was given may be any of them.
    let is_one = facts.target().disks.len() < 2 && platform.disks.len() == 1;
    let mut seen = BTreeSet::new();
    for line in needed(facts) {
        let Some(disk) = line.device.strip_prefix("/dev/").and_then(whole_disk) else { continue };
        if has(&disk) || told.contains(&disk) || !seen.insert(disk.clone()) {
            continue;
        }
        let Some(new) = named(facts, devices, &line.device, &disk) else { continue };
        let (path, device) = (line.file.path.as_path(), line.device.as_str());
        let message = tr!("{path} names {device}, but when this machine last ran it had {disks}", path, device, disks);
        let finding = if line.swap { found.warning(message) } else { found.critical(message) };
        finding.at(&line.file, line.span).evidence(clue.source.clone(), clue.words.clone());
        if line.swap {
            finding.why(tr!("systemd waits 90 s for it at every boot"));
        } else {
            finding.why(tr!("systemd waits 90 s for it, then drops to emergency mode")).stops(Stage::Mounts);
        }
        let risk = if is_one { Risk::Safe } else { Risk::Risky };
        finding.repair(risk, tr!("replace it with {tag}", tag = new), in_tables(facts, devices, &disk));
    }
}

/// A line whose device must be there.
struct Needed {
    file: Arc<SourceFile>,
    span: Span,
    device: String,
    swap: bool,
}

fn needed(facts: &Facts) -> Vec<Needed> {
    let mut all = Vec::new();
    if let Ok(fstab) = facts.get::<Fstab>() {
        for entry in fstab.sound().filter(|entry| !entry.is_optional() && entry.mount_point() != "/") {
            all.push(Needed {
                file: Arc::clone(&fstab.file),
                span: entry.span(0),
                device: entry.device().to_str_lossy().into_owned(),
                swap: entry.is_swap(),
            });
        }
    }
    let Ok(Some(file)) = facts.file(CRYPTTAB) else { return all };
    for line in lines::lines(&file.bytes) {
        let fields: Vec<_> = lines::words(line.text).collect();
        let field = |number: usize| fields.get(number).and_then(|range| line.text.get(range.clone()));
        let (Some(name), Some(device), Some(place)) = (field(0), field(1), fields.get(1)) else { continue };
        let optional = |all: &[u8]| all.split_str(",").any(|option| matches!(option, b"nofail" | b"noauto"));
        if name.starts_with(b"#") || field(3).is_some_and(optional) {
            continue;
        }
        all.push(Needed {
            span: line.span(place.clone()),
            device: device.to_str_lossy().into_owned(),
            swap: field(3).is_some_and(|all| all.split_str(",").any(|option| option == b"swap")),
            file: Arc::clone(&file),
        });
    }
    all
}

const CRYPTTAB: &str = "/etc/crypttab";

/// What fstab and crypttab become when partitions of this disk are named by UUID.
fn in_tables(facts: &Facts, devices: &Devices, disk: &str) -> Vec<Change> {
    let mut all = Vec::new();
    if let Ok(fstab) = facts.get::<Fstab>() {
        let mut text = fstab.file.bytes.clone();
        // From the last to the first, so that the places of those before stay.
        for entry in fstab.entries.iter().rev().filter(|entry| entry.defect.is_none()) {
            if let Some(new) = entry.device().to_str().ok().and_then(|name| named(facts, devices, name, disk)) {
                text = fstab::with_field(&text, entry, 0, &new);
            }
        }
        if text != fstab.file.bytes {
            all.push(Change::edit(&fstab.file, text));
        }
    }
    if let Ok(Some(file)) = facts.file(CRYPTTAB) {
        let mut text = file.bytes.clone();
        for line in lines::lines(&file.bytes).filter(|line| !line.text.trim_ascii_start().starts_with(b"#")) {
            let Some(place) = lines::words(line.text).nth(1) else { continue };
            let device = line.text.get(place.clone()).and_then(|device| device.to_str().ok());
            let Some(new) = device.and_then(|name| named(facts, devices, name, disk)) else { continue };
            text = lines::with_line(&text, line.number, |line| {
                let (before, after) = (line.get(..place.start)?, line.get(place.end..)?);
                Some([before, new.as_bytes(), after].concat())
            });
        }
        if text != file.bytes {
            all.push(Change::edit(&file, text));
        }
    }
    all
}

/// Whether fstab mounts the root by its UUID.
fn fstab_has_uuid(facts: &Facts) -> bool {
    facts.get::<Fstab>().is_ok_and(|fstab| fstab.root().is_some_and(|entry| matches!(entry.source(), Source::Uuid(_))))
}

/// Whether somebody told grub-mkconfig to write names.
fn wants_names(facts: &Facts) -> bool {
    let Ok(Some(file)) = facts.file(DEFAULTS) else { return false };
    shell_vars::assignments(&file.bytes)
        .iter()
        .any(|one| one.name == NAMES && one.value.as_deref().is_some_and(|value| value == b"true"))
}

const DEFAULTS: &str = "/etc/default/grub";
const NAMES: &str = "GRUB_DISABLE_LINUX_UUID";

/// All that names the root like that; `None` when some of it cannot be edited. `disk` is the disk that is not there, of
/// which other lines may speak.
fn changes(
    facts: &Facts,
    devices: &Devices,
    loader: &Loader,
    word: &Word,
    new: &str,
    disk: Option<&str>,
) -> Option<Vec<Change>> {
    let mut places = Vec::new();
    let mut texts = vec![(word.text.clone(), format!("root={new}"))];
    for entry in loader.entries.iter().filter(|entry| !entry.initramfs.is_empty()) {
        let Some((other, _)) = entry.argument("root").filter(|(other, _)| other.text == word.text) else { continue };
        places.push((other.clone(), format!("root={new}")));
        let Some((resume, value)) = entry.argument("resume") else { continue };
        if let Some(new) = disk.and_then(|disk| named(facts, devices, value, disk)) {
            let new = format!("resume={new}");
            if !texts.iter().any(|(text, _)| *text == resume.text) {
                texts.push((resume.text.clone(), new.clone()));
            }
            places.push((resume.clone(), new));
        }
    }
    if places.iter().any(|(word, _)| !word.literal) {
        return None;
    }
    let mut all = edits(places.into_iter().map(|(word, new)| (Arc::clone(&word.file), word.range, new)).collect());
    for (text, new) in &texts {
        all.extend(in_sources(facts, text, new));
    }
    if let (Some(_), Ok(Some(file))) = (disk, facts.file(DEFAULTS))
        && let Some(one) = shell_vars::assignments(&file.bytes)
            .iter()
            .find(|one| one.name == NAMES && one.value.as_deref().is_some_and(|value| value == b"true"))
    {
        let line = file.bytes.get(..one.range.start).unwrap_or_default().find_iter(b"\n").count() + 1;
        all.push(Change::edit(&file, with_comment(&file.bytes, line)));
    }
    if let Some(disk) = disk {
        all.extend(in_tables(facts, devices, disk));
    }
    Some(joined(all))
}

/// How to name a partition of the disk that is not there.
fn named(facts: &Facts, devices: &Devices, name: &str, disk: &str) -> Option<String> {
    let short = name.strip_prefix("/dev/")?;
    kernel_name(short)?.1?;
    if whole_disk(short)? != disk {
        return None;
    }
    match devices.find(facts, &BootConfig::source(name)) {
        Lookup::Volume(volume) => tag(volume),
        _ => None,
    }
}
