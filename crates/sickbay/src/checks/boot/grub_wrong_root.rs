//! The boot configuration names a volume that is not there, or a root that is not the root.

use std::collections::BTreeMap;

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Entry, Loader, Word, root_argument};
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::fstab::is_other_subvolume;
use crate::mend::boot_entries::{edits, in_sources, joined, leads_to_root, no_entry};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "ALERT! UUID=… does not exist. Dropping to a shell!", "dracut-initqueue timeout", "VFS: Unable to mount
    /// root fs", or in GRUB "error: no such device".
    ///
    /// ## What it finds
    /// An entry in the boot loader's configuration that looks for its kernel on a volume that no disk of this system
    /// has (`search --fs-uuid`, `root (hd0,0)`), or that passes the kernel a `root=` that is not on any disk or is not
    /// the root file system: typical after a disk was copied, restored or reformatted. Entries of other systems are
    /// left alone. Also a `rootflags=subvol=` that is not the subvolume the root is in and, where dracut builds the
    /// initramfs, an `rd.lvm.lv=` that names a logical volume that does not exist, or names one
    /// without its volume group.
    ///
    /// ## Why it matters
    /// With a wrong `root=` the initramfs waits for the device and ends in its own shell (`(initramfs)`, `dracut:/#`),
    /// or the kernel panics. A failed `search` is harmless where GRUB's own volume has the kernel too.
    ///
    /// ## What the repair does
    /// Puts the right UUID into the parameters at fault, in every entry, and nothing else; where `/etc/default/grub` or
    /// `/etc/kernel/cmdline` have the same parameter, there too.
    ///
    /// ## By hand
    /// ```sh
    /// # compare the UUIDs with those in the configuration
    /// blkid
    /// grep -rn -e root= -e fs-uuid ROOT/boot/grub*/grub.cfg ROOT/boot/loader/entries
    /// ```
    "grub-wrong-root", Boot, seed = ["B8"], proves = [BootConfig, RootDevice], "the boot configuration names the wrong volume or root"
}

/// The words that have one fault.
#[derive(Default)]
struct Fault {
    /// Values of `root=`.
    roots: Vec<Word>,
    /// Values of `search`.
    searches: Vec<Word>,
    /// `rd.lvm.lv=` of logical volumes that are not there, and `rootflags=` of a subvolume that is not the root, each with
    /// what is written in its place.
    lvs: Vec<(Word, String)>,
    /// Whether the entry that boots by default is among them, and whether it finds its kernel all the same.
    default: bool,
    kernel_lost: bool,
    /// Whether the volume is there and is only not the root.
    there: bool,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    if facts.get::<Devices>()?.root().is_none() {
        return Err(Skip::NotApplicable(tr!("the root is not on a volume of its own")));
    }
    let mut some = false;
    for loader in &config.loaders {
        if let Some((_, value)) = loader.default_entry().and_then(|entry| entry.argument("root"))
            && let Some(Lookup::Untold(why)) =
                config.paths.devices().map(|devices| devices.find(facts, &BootConfig::source(value)))
        {
            found.could_not_tell(why);
        }
        let mut faults: BTreeMap<String, Fault> = BTreeMap::new();
        let elsewhere = |entry: &Entry| is_of_another_system(facts, &config, entry);
        let (others, own): (Vec<_>, Vec<_>) =
            loader.entries.iter().enumerate().partition(|(_, entry)| elsewhere(entry));
        some |= loader.entries.iter().any(|entry| entry.kernel.is_some());
        for (index, entry) in own {
            collect(facts, &config, entry, loader.default == Some(index), &mut faults);
        }
        // An entry of this system whose kernel was removed has the fault of the others.
        for (index, entry) in others {
            if entry.in_vain.iter().any(|word| faults.contains_key(&word.text.to_lowercase())) {
                collect(facts, &config, entry, loader.default == Some(index), &mut faults);
            }
        }
        for (value, fault) in faults {
            report(facts, &config, loader, &value, &fault, found);
        }
    }
    if some { Ok(()) } else { Err(no_entry()) }
}

fn collect(facts: &Facts, config: &BootConfig, entry: &Entry, default: bool, faults: &mut BTreeMap<String, Fault>) {
    let Some(kernel) = &entry.kernel else { return };
    let is_there = kernel.path.as_ref().map(|path| facts.root().exists(path).unwrap_or(false));
    for word in &entry.in_vain {
        let fault = faults.entry(word.text.to_lowercase()).or_default();
        fault.searches.push(word.clone());
        fault.default |= default;
        fault.kernel_lost |= default && is_there != Some(true);
    }
    // An entry whose kernel is on another system's volume has that system's root.
    if is_there.is_none() {
        return;
    }
    let mut key_of_root = None;
    if let Some((word, value)) = entry.argument("root")
        && leads_to_root(facts, config, value) == Some(false)
    {
        let key = ["UUID=", "LABEL="].iter().find_map(|prefix| value.strip_prefix(prefix)).unwrap_or(value);
        let key = key.to_lowercase();
        let fault = faults.entry(key.clone()).or_default();
        fault.roots.push(word.clone());
        fault.default |= default;
        fault.there |= !matches!(
            config.paths.devices().map(|devices| devices.find(facts, &BootConfig::source(value))),
            Some(Lookup::Missing)
        );
        key_of_root = Some(key);
    }
    let lost = lost_lvs(facts, config, entry).into_iter().chain(wrong_subvolume(config, entry));
    for (word, new) in lost {
        // A volume group that was renamed is one fault.
        let key = key_of_root.clone().unwrap_or_else(|| word.text.to_lowercase());
        let fault = faults.entry(key).or_default();
        fault.lvs.push((word, new));
        fault.default |= default;
    }
}

/// Whether the entry starts a system on a disk that was not given, as os-prober and people write them into a menu: neither
/// the volume that GRUB searches nor the `root=` is on a disk of this system, and the kernel is none of this root's.
fn is_of_another_system(facts: &Facts, config: &BootConfig, entry: &Entry) -> bool {
    let Some(kernel) = &entry.kernel else { return false };
    let is_ours = kernel.path.as_ref().is_some_and(|path| facts.root().exists(path).unwrap_or(false));
    if is_ours || entry.in_vain.is_empty() {
        return false;
    }
    let devices = config.paths.devices();
    entry.argument("root").is_some_and(|(_, value)| {
        devices.is_some_and(|devices| {
            matches!(devices.find(facts, &BootConfig::source(value)), Lookup::Missing | Lookup::Untold(_))
        })
    })
}

/// `rd.lvm.lv=` of logical volumes that no disk has: dracut waits for each of them, and activates no other.
fn lost_lvs(facts: &Facts, config: &BootConfig, entry: &Entry) -> Vec<(Word, String)> {
    let Some(devices) = config.paths.devices() else { return Vec::new() };
    if !["/usr/lib/dracut", "/usr/share/dracut"].iter().any(|dir| facts.root().exists(dir).unwrap_or(false)) {
        return Vec::new();
    }
    let named = |word: &Word| word.text.strip_prefix("rd.lvm.lv=").map(str::to_owned);
    let root = devices.root().and_then(|volume| volume.lv.as_ref()).map(|(vg, lv)| format!("{vg}/{lv}"));
    let mut root_is_named = entry.arguments.iter().any(|word| root.is_some() && named(word) == root);
    let mut all = Vec::new();
    for word in &entry.arguments {
        let Some(name) = named(word) else { continue };
        if let Some((vg, lv)) = name.split_once('/') {
            let mapped = format!("/dev/mapper/{}-{}", vg.replace('-', "--"), lv.replace('-', "--"));
            if !matches!(devices.find(facts, &BootConfig::source(&mapped)), Lookup::Missing) {
                continue;
            }
        } else if let Some(full) = full_name(devices, &name) {
            root_is_named |= root.as_ref() == Some(&full);
            all.push((word.clone(), format!("rd.lvm.lv={full}")));
            continue;
        }
        let new = match &root {
            Some(root) if !root_is_named => format!("rd.lvm.lv={root}"),
            _ => String::new(),
        };
        root_is_named = true;
        all.push((word.clone(), new));
    }
    all
}

/// `VG/LV` of the only logical volume that has this name.
fn full_name(devices: &Devices, name: &str) -> Option<String> {
    let mut named = devices.volumes.iter().filter_map(|volume| volume.lv.as_ref()).filter(|(_, lv)| lv == name);
    match (named.next(), named.next()) {
        (Some((vg, lv)), None) => Some(format!("{vg}/{lv}")),
        _ => None,
    }
}

/// `rootflags=subvol=` of a subvolume in which the root is not.
fn wrong_subvolume(config: &BootConfig, entry: &Entry) -> Option<(Word, String)> {
    let is = config.paths.devices()?.root()?.subvolume.as_ref()?;
    let (word, value) = entry.argument("rootflags")?;
    let named = value.split(',').find_map(|option| option.strip_prefix("subvol="))?;
    if !is_other_subvolume(named, is) {
        return None;
    }
    let options: Vec<String> = value
        .split(',')
        .map(|option| if option.starts_with("subvol=") { format!("subvol={is}") } else { option.to_owned() })
        .collect();
    Some((word.clone(), format!("rootflags={}", options.join(","))))
}

fn report(facts: &Facts, config: &BootConfig, loader: &Loader, value: &str, fault: &Fault, found: &mut Findings) {
    let lvs = fault.lvs.iter().map(|(word, _)| word);
    let words: Vec<&Word> = fault.roots.iter().chain(&fault.searches).chain(lvs).collect();
    let Some(first) = words.first() else { return };
    let stops_root = fault.default && !(fault.roots.is_empty() && fault.lvs.is_empty());
    let severity = match () {
        () if stops_root || fault.kernel_lost => Severity::Critical,
        () => Severity::Warning,
    };
    let Some(root) = config.paths.devices().and_then(|devices| devices.root()) else { return };
    let path = first.file.path.as_path();
    let message = if fault.there {
        tr!("{path} boots the kernel with {word}, which is not the root file system", path, word = first.text.as_str())
    } else if first.text.strip_prefix("rd.lvm.lv=").is_some_and(|name| !name.contains('/')) {
        tr!("{path} passes {word}, which names no volume group: it must be VG/LV", path, word = first.text.as_str())
    } else if fault.roots.is_empty() && fault.searches.is_empty() && first.text.starts_with("rd.") {
        tr!(
            "{path} makes the initramfs wait for {word}, which is not on any disk of this system",
            path,
            word = first.text.as_str()
        )
    } else if fault.roots.is_empty() && !fault.searches.is_empty() {
        tr!("{path} looks for the volume {value}, which is not on any disk of this system", path, value)
    } else {
        tr!("{path} passes {word}, but no disk of this system has it", path, word = first.text.as_str())
    };
    let finding = found.add(severity, message);
    finding.at(&first.file, first.span()).label(tr!("the root is on {volume}", volume = root.name)).why(
        if stops_root {
            tr!("the initramfs waits for the root in vain and drops to its own shell, or the kernel panics")
        } else if fault.kernel_lost {
            tr!("GRUB finds no kernel to load")
        } else if fault.default {
            tr!("GRUB prints an error and continues with its own volume, where the kernel happens to be")
        } else {
            tr!("entries other than the default cannot be booted")
        },
    );
    finding.detail("words", words.len());
    if stops_root {
        finding.stops(Stage::RootDevice);
    }
    if fault.kernel_lost {
        finding.stops(Stage::BootConfig);
    }
    match changes(facts, config, loader, value, fault) {
        Some((tag, changes)) if tag.is_empty() => {
            let word = first.text.as_str();
            finding.repair(Risk::Safe, tr!("remove {word}", word), changes);
        }
        Some((tag, changes)) => {
            finding.repair(Risk::Safe, tr!("replace it with {tag}", tag), changes);
        }
        None => {
            finding.by_hand(tr!("put the right volume into {path}", path));
        }
    }
}

/// What is written, and the changes; `None` when some word cannot be edited or no name is certain.
fn changes(
    facts: &Facts,
    config: &BootConfig,
    loader: &Loader,
    value: &str,
    fault: &Fault,
) -> Option<(String, Vec<Change>)> {
    let root = root_argument(config)?.into_iter().next()?;
    let (boot, _) = config.paths.volume_of(std::path::Path::new("/boot/vmlinuz"))?;
    let mut words = Vec::new();
    let mut tag = root.trim_start_matches("root=").to_owned();
    for word in &fault.roots {
        words.push((word, root.clone()));
    }
    // Searches before all entries have the same value, but no entry that could be at fault for it.
    let same = loader.in_vain.iter().filter(|word| word.text.to_lowercase() == value);
    for word in fault.searches.iter().chain(same) {
        let new = if word.text.starts_with('(') {
            format!("(hd{},{})", boot.disk, boot.partition?.checked_sub(1)?)
        } else {
            boot.uuid.clone()?
        };
        if fault.roots.is_empty() {
            tag.clone_from(&new);
        }
        words.push((word, new));
    }
    for (word, new) in &fault.lvs {
        if fault.roots.is_empty() && fault.searches.is_empty() {
            tag.clone_from(new);
        }
        words.push((word, new.clone()));
    }
    if words.iter().any(|(word, _)| !word.literal) {
        return None;
    }
    let mut all = edits(
        words.iter().map(|(word, new)| (std::sync::Arc::clone(&word.file), word.range.clone(), new.clone())).collect(),
    );
    let mut known: Vec<&str> = Vec::new();
    let roots = fault.roots.iter().map(|word| (word, root.as_str()));
    for (word, new) in roots.chain(fault.lvs.iter().map(|(word, new)| (word, new.as_str()))) {
        if !known.contains(&word.text.as_str()) {
            known.push(&word.text);
            all.extend(in_sources(facts, &word.text, new));
        }
    }
    Some((tag, joined(all)))
}
