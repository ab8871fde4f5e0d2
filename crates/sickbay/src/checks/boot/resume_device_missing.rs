//! The initramfs looks for a sleeping system on a swap that is not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::{lines, shell_vars};

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Word};
use crate::facts::boot::devices::{Devices, Lookup, tag};
use crate::facts::system::release::systemd_version;
use crate::mend::boot_entries::{edits, in_sources};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Gave up waiting for suspend/resume device", "A start job is running for /dev/disk/by-uuid/… (2min / no
    /// limit)", or a boot that stands still for half a minute or more before the root is mounted.
    ///
    /// ## What it finds
    /// A `resume=` on the kernel command line, or a `RESUME=` of initramfs-tools, that names a swap volume which no disk
    /// of this system has: typical after the swap was made anew or the disk was copied.
    ///
    /// ## Why it matters
    /// The initramfs waits for the device before it mounts the root: initramfs-tools half a minute, dracut some minutes,
    /// and with systemd 255 or later in dracut's initramfs it waits forever.
    ///
    /// ## What the repair does
    /// Names the swap volume that is there, when there is only one; otherwise removes the parameter. The same in
    /// `/etc/default/grub` and `/etc/kernel/cmdline`. A `RESUME=` becomes that volume or `none`; the initramfs holds a
    /// copy of it until it is made again.
    ///
    /// ## By hand
    /// ```sh
    /// # compare, then correct the parameter; for RESUME= also run update-initramfs -u in a chroot
    /// blkid -t TYPE=swap
    /// grep -rn -e resume= ROOT/boot/grub*/grub.cfg ROOT/boot/loader/entries ROOT/etc/default/grub
    /// ```
    "resume-device-missing", Boot, seed = ["B8"], proves = [], may_stop = [RootDevice], "the initramfs waits for a swap volume that does not exist"
}

/// Where initramfs-tools looks for the name of the swap (initramfs.conf(5)).
const RESUME: [&str; 2] = ["/etc/initramfs-tools/conf.d/resume", "/etc/initramfs-tools/initramfs.conf"];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let devices = facts.get::<Devices>()?;
    if devices.root().is_none() {
        return Err(Skip::NotApplicable(tr!("the root is not on a volume of its own")));
    }
    let swap = only_swap(&devices);
    command_lines(facts, found, &devices, swap.as_deref())?;
    for path in RESUME {
        if let Some(file) = facts.file(path)? {
            setting(facts, found, &devices, &file, swap.as_deref());
        }
    }
    Ok(())
}

/// The name of the swap volume, when there is exactly one.
fn only_swap(devices: &Devices) -> Option<String> {
    let mut swaps = devices.volumes.iter().filter(|volume| volume.fstype == "swap");
    match (swaps.next(), swaps.next()) {
        (Some(one), None) => tag(one),
        _ => None,
    }
}

fn command_lines(facts: &Facts, found: &mut Findings, devices: &Devices, swap: Option<&str>) -> Verdict {
    let config = match facts.get::<BootConfig>() {
        Ok(config) => config,
        Err(Skip::NotApplicable(_)) => return Ok(()),
        Err(unknown) => return Err(unknown),
    };
    let mut lost: BTreeMap<String, (Vec<Word>, bool)> = BTreeMap::new();
    for loader in &config.loaders {
        for (index, entry) in loader.entries.iter().enumerate() {
            // Without a kernel of this root it is another system's entry.
            let path = entry.kernel.as_ref().and_then(|kernel| kernel.path.as_ref());
            let is_ours = path.is_some_and(|path| facts.root().exists(path).unwrap_or(false));
            let Some((word, value)) = entry.argument("resume").filter(|_| is_ours) else { continue };
            let is_off = entry.arguments.iter().any(|word| word.text == "noresume");
            if is_off || !matches!(devices.find(facts, &BootConfig::source(value)), Lookup::Missing) {
                continue;
            }
            let (words, default) = lost.entry(word.text.clone()).or_default();
            words.push(word.clone());
            *default |= loader.default == Some(index);
        }
    }
    let waits_forever = forever(facts);
    for (text, (words, default)) in lost {
        let Some(first) = words.first() else { continue };
        let stops = default && waits_forever;
        let severity = if stops { Severity::Critical } else { Severity::Warning };
        let finding = found.add(
            severity,
            tr!("the initramfs waits for {word}, which is not on any disk of this system", word = text.as_str()),
        );
        finding.at(&first.file, first.span()).detail("words", words.len());
        finding.why(if stops {
            tr!("with systemd 255 or later it waits without limit: the root is never mounted")
        } else if default {
            tr!("every boot waits until it gives up: half a minute to several minutes")
        } else {
            tr!("entries other than the default are held up")
        });
        if stops {
            finding.stops(Stage::RootDevice);
        }
        let new = swap.map(|swap| format!("resume={swap}")).unwrap_or_default();
        if words.iter().all(|word| word.literal) {
            let places = words.iter().map(|word| (Arc::clone(&word.file), word.range.clone(), new.clone()));
            let mut changes = edits(places.collect());
            changes.extend(in_sources(facts, &text, &new));
            let title = if new.is_empty() {
                tr!("remove {word}", word = text.as_str())
            } else {
                tr!("replace it with {tag}", tag = new)
            };
            finding.repair(Risk::Safe, title, changes);
        } else {
            finding.by_hand(tr!("remove {word}", word = text.as_str()));
        }
    }
    Ok(())
}

/// Whether dracut's initramfs has a systemd that waits for the device without limit: `systemd-hibernate-resume.service`
/// wants it, and its unit of the device has no timeout (systemd 255).
fn forever(facts: &Facts) -> bool {
    let root = facts.root();
    if !root.exists("/usr/lib/dracut/modules.d/00systemd").or_else(|_| root.exists("/usr/lib/dracut")).unwrap_or(false)
    {
        return false;
    }
    systemd_version(root).is_some_and(|version| version >= 255)
}

/// `RESUME=` of initramfs-tools.
fn setting(facts: &Facts, found: &mut Findings, devices: &Devices, file: &Arc<SourceFile>, swap: Option<&str>) {
    let all = shell_vars::assignments(&file.bytes);
    let Some(one) = all.iter().rev().find(|one| one.name == "RESUME") else { return };
    let value = one.value.as_ref().map(|value| value.to_str_lossy().into_owned()).unwrap_or_default();
    if matches!(value.as_str(), "" | "none" | "auto")
        || !matches!(devices.find(facts, &BootConfig::source(&value)), Lookup::Missing)
    {
        return;
    }
    let new = swap.unwrap_or("none");
    let text = lines::with_bytes(&file.bytes, one.range.clone(), new.as_bytes());
    found
        .warning(tr!("the initramfs waits for {word}, which is not on any disk of this system", word = value.as_str()))
        .at(file, lines::span_at(&file.bytes, one.range.clone()))
        .why(tr!("every boot waits until it gives up: half a minute to several minutes"))
        .note(tr!(
            "the initramfs contains a copy: rebuild it with update-initramfs -u, or boot with noresume until then"
        ))
        .repair(Risk::Safe, tr!("replace it with {tag}", tag = format!("RESUME={new}")), [Change::edit(file, text)]);
}
