//! What the checks of the boot configuration share: which entries would boot, and how to choose another.

use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::{grub_env, lines};

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Choice, Entry, Kind, Loader, Named};
use crate::facts::boot::command_line::stops;
use crate::facts::boot::devices::Lookup;
use crate::facts::boot::kernels::{Kernel, Kernels, PartState, image_state, initramfs_state};
use crate::mend::join::Joined;
use crate::model::finding::Finding;
use crate::model::outcome::Skip;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// The kernel of an entry among those that are installed.
pub(crate) fn kernel_of<'a>(facts: &Facts, kernels: &'a Kernels, entry: &Entry) -> Option<&'a Kernel> {
    let path = entry.kernel.as_ref()?.path.as_deref()?;
    kernels.of_image(path).or_else(|| kernels.of_image(&facts.root().canonical(path).ok()?))
}

/// How the kernel that an entry names is; `None` when that cannot be told.
pub(crate) fn kernel_state(facts: &Facts, named: &Named) -> Option<PartState> {
    Some(image_state(facts.root(), named.path.as_deref()?))
}

/// How an initramfs that an entry names is; `None` when that cannot be told.
pub(crate) fn initrd_state(facts: &Facts, named: &Named) -> Option<PartState> {
    Some(initramfs_state(facts.root(), named.path.as_deref()?))
}

/// Whether what `root=` says leads to the root of this target; `None` when that cannot be told.
pub(crate) fn leads_to_root(facts: &Facts, config: &BootConfig, value: &str) -> Option<bool> {
    let devices = config.paths.devices()?;
    let root = devices.root()?;
    match devices.find(facts, &BootConfig::source(value)) {
        Lookup::Volume(volume) => {
            Some(volume == root || volume.uuid.is_some() && volume.uuid == root.uuid && volume.fstype == root.fstype)
        }
        Lookup::Several(volumes) => Some(volumes.contains(&root)),
        Lookup::Missing => Some(false),
        Lookup::Device | Lookup::Untold(_) => None,
    }
}

/// Whether an entry starts this target as it should, as far as can be told from its files and words.
pub(crate) fn is_sound(facts: &Facts, config: &BootConfig, entry: &Entry) -> bool {
    let kernel = entry.kernel.as_ref().and_then(|named| kernel_state(facts, named)) == Some(PartState::Sound);
    let initramfs = entry.initramfs.iter().all(|named| initrd_state(facts, named) == Some(PartState::Sound));
    let root = entry.argument("root").is_some_and(|(_, value)| leads_to_root(facts, config, value) != Some(false));
    let plain = stops(facts, config, entry).is_empty();
    kernel && initramfs && root && plain && (!entry.initramfs.is_empty() || !needs_initramfs(entry))
}

/// Whether only an initramfs can find what `root=` says: the kernel itself knows no UUID or label of a file system and no
/// logical volume (init/do_mounts.c).
pub(crate) fn needs_initramfs(entry: &Entry) -> bool {
    entry.argument("root").is_some_and(|(_, value)| {
        ["UUID=", "LABEL=", "/dev/mapper/", "/dev/disk/"].iter().any(|prefix| value.starts_with(prefix))
    })
}

/// The repair that makes the newest complete kernel the default.
pub(crate) fn boot_another(
    facts: &Facts,
    config: &BootConfig,
    kernels: &Kernels,
    loader: &Loader,
) -> Option<(Risk, Text, Vec<Change>)> {
    let best = kernels.complete().find_map(|kernel| {
        let is_of =
            |entry: &Entry| kernel_of(facts, kernels, entry).is_some_and(|known| known.version == kernel.version);
        let entry = loader.entries.iter().find(|entry| is_of(entry) && is_sound(facts, config, entry))?;
        Some((kernel, entry))
    });
    let Some((kernel, entry)) = best else {
        let kernel = kernels.complete().next()?;
        let changes = crate::mend::boot_config::changes(facts, config, kernels, loader)?;
        let title = tr!(
            "write a new configuration, with the complete kernel {version} first",
            version = kernel.version.as_str()
        );
        return Some((Risk::Risky, title, changes));
    };
    let title = tr!("boot {version}, the newest complete kernel, by default", version = kernel.version.as_str());
    Some((Risk::Safe, title, vec![choose(facts, loader, entry)?]))
}

/// The change that makes `entry` the default, in the way that the configuration has.
pub(crate) fn choose(facts: &Facts, loader: &Loader, entry: &Entry) -> Option<Change> {
    let file = loader.file.as_ref()?;
    match (&loader.choice, loader.kind) {
        (Choice::Environment, _) => {
            let real = facts.root().canonical(&loader.environment).unwrap_or_else(|_| loader.environment.clone());
            let block = facts.file(&real).ok()?;
            let old = block.as_ref().map(|block| block.bytes.as_slice()).unwrap_or_default();
            let mut new = grub_env::with(old, "saved_entry", entry.choice.as_bytes())?;
            // What is to be booted once comes before it.
            if grub_env::variables(&new)
                .iter()
                .any(|variable| variable.name == "next_entry" && !variable.value.is_empty())
            {
                new = grub_env::with(&new, "next_entry", b"")?;
            }
            Some(match &block {
                Some(block) => Change::edit(block, new),
                None => Change::create(&real, new, 0o644),
            })
        }
        (Choice::Word(word), Kind::Grub2) => {
            let value = format!("default={}", sickbay_formats::grub_cfg::write::quoted(&entry.choice));
            Some(Change::edit(&word.file, lines::with_bytes(&word.file.bytes, word.range.clone(), value.as_bytes())))
        }
        (Choice::Word(word), Kind::Legacy) => Some(Change::edit(
            &word.file,
            lines::with_bytes(&word.file.bytes, word.range.clone(), entry.choice.as_bytes()),
        )),
        (Choice::First, Kind::Grub2) => {
            let line = format!("set default={}\n", sickbay_formats::grub_cfg::write::quoted(&entry.choice));
            // Behind all that sets it otherwise, before the first entry shows.
            Some(Change::edit(file, [file.bytes.as_slice(), b"\n", line.as_bytes()].concat()))
        }
        (Choice::First, Kind::Legacy) => {
            Some(Change::edit(file, [format!("default={}\n", entry.choice).as_bytes(), &file.bytes].concat()))
        }
    }
}

/// Offers, best first: the donor's file of the same version, another kernel, the donor's file of another version.
pub(crate) fn offer(
    facts: &Facts,
    config: &BootConfig,
    kernels: &Kernels,
    loader: &Loader,
    lost: &Path,
    finding: &mut Finding,
) {
    let donor = crate::mend::restore::restore(facts, lost);
    let another = boot_another(facts, config, kernels, loader);
    let (safe, risky) = match donor {
        Some(donor) if donor.risk == Risk::Safe => (Some(donor), None),
        other => (None, other),
    };
    let nothing = safe.is_none() && another.is_none() && risky.is_none();
    if let Some(donor) = safe {
        finding.repair(donor.risk, donor.title, donor.changes);
    }
    if let Some((risk, title, changes)) = another {
        finding.repair(risk, title, changes);
    }
    if let Some(donor) = risky {
        finding.repair(donor.risk, donor.title, donor.changes);
    }
    if nothing {
        finding.by_hand(tr!(
            "no kernel is complete: supply a donor of the same release with --donor, or reinstall the kernel's package in a chroot"
        ));
    }
}

/// Why the checks of the default entry have nothing to look at.
pub(crate) fn no_entry() -> Skip {
    Skip::NotApplicable(tr!("the boot configuration has no entry that boots Linux"))
}

/// Every file that must say the same as an entry when the configuration is made anew: the words of
/// `GRUB_CMDLINE_LINUX` and of /etc/kernel/cmdline, with `word` gone or replaced.
pub(crate) fn in_sources(facts: &Facts, word: &str, new: &str) -> Vec<Change> {
    let mut all = Vec::new();
    for path in ["/etc/default/grub", "/etc/kernel/cmdline"] {
        let Ok(real) = facts.root().canonical(path) else { continue };
        let Ok(Some(file)) = facts.file(&real) else { continue };
        let ranges = match path {
            "/etc/default/grub" => sickbay_formats::shell_vars::assignments(&file.bytes)
                .into_iter()
                .filter(|one| matches!(one.name.as_slice(), b"GRUB_CMDLINE_LINUX" | b"GRUB_CMDLINE_LINUX_DEFAULT"))
                .map(|one| one.range)
                .collect(),
            _ => std::iter::once(0..file.bytes.len()).collect::<Vec<_>>(),
        };
        let mut text = file.bytes.clone();
        for range in ranges.into_iter().rev() {
            text = without_word(&text, range, word, new);
        }
        if text != file.bytes {
            all.push(Change::edit(&file, text));
        }
    }
    all
}

/// The text with `word` between blanks or quotes of `range` replaced.
fn without_word(text: &[u8], range: std::ops::Range<usize>, word: &str, new: &str) -> Vec<u8> {
    let end = |byte: Option<&u8>| byte.is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\''));
    let part = text.get(range.clone()).unwrap_or_default();
    for at in part.find_iter(word) {
        let from = range.start + at;
        let to = from + word.len();
        if end(from.checked_sub(1).and_then(|before| text.get(before))) && end(text.get(to)) {
            return replaced(text, from..to, new);
        }
    }
    text.to_vec()
}

/// The text with the word at `range` replaced; where nothing takes its place, one blank goes too.
pub(crate) fn replaced(text: &[u8], range: std::ops::Range<usize>, new: &str) -> Vec<u8> {
    let blank = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let mut range = range;
    if new.is_empty() {
        if blank(range.start.checked_sub(1)) {
            range.start -= 1;
        } else if blank(Some(range.end)) {
            range.end += 1;
        }
    }
    lines::with_bytes(text, range, new.as_bytes())
}

/// Edits of several words, joined by file; words of one file from the back to the front.
pub(crate) fn edits(words: Vec<(std::sync::Arc<SourceFile>, std::ops::Range<usize>, String)>) -> Vec<Change> {
    let mut words = words;
    words.sort_by(|left, right| left.0.path.cmp(&right.0.path).then(right.1.start.cmp(&left.1.start)));
    words.dedup_by(|left, right| left.0.path == right.0.path && left.1 == right.1);
    let mut all: Vec<(std::sync::Arc<SourceFile>, Vec<u8>)> = Vec::new();
    for (file, range, new) in words {
        match all.last_mut().filter(|(known, _)| known.path == file.path) {
            Some((_, text)) => *text = replaced(text, range, &new),
            None => {
                let text = replaced(&file.bytes, range, &new);
                all.push((file, text));
            }
        }
    }
    // A block of GRUB's environment keeps its size.
    all.into_iter()
        .map(|(file, mut text)| {
            if grub_env::is_sound(&file.bytes) {
                let end = text.iter().rposition(|&byte| byte != b'#').map_or(0, |last| last + 1);
                text.resize(file.bytes.len().max(end), b'#');
            }
            Change::edit(&file, text)
        })
        .collect()
}

/// Edits of one file made from the same text, joined: two changes of one file cannot follow each other.
pub(crate) fn joined(changes: Vec<Change>) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for change in changes {
        let same = all.iter_mut().find(|known| known.path() == change.path());
        match (same, &change) {
            (Some(Change::Edit { after: current, .. }), Change::Edit { before, after, .. }) => {
                let both = Joined::new(before).with(before, current).and_then(|all| all.with(before, after));
                if let Some(both) = both {
                    *current = both.text().to_vec();
                }
            }
            _ => all.push(change),
        }
    }
    all
}
