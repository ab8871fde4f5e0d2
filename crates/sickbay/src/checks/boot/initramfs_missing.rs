//! The initramfs of the entry that boots by default is not there or is empty.

use std::path::Path;
use std::sync::Arc;

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Entry, Loader};
use crate::facts::boot::kernels::{Kernels, Part, PartState};
use crate::mend::boot_entries::{
    boot_another, initrd_state, kernel_of, kernel_state, needs_initramfs, no_entry, offer,
};
use crate::mend::rebuild;
use crate::mend::restore::restore;
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: GRUB prints "error: file '/boot/initrd.img-…' not found", then the kernel panics with "VFS: Unable to
    /// mount root fs".
    ///
    /// ## What it finds
    /// An initramfs that the default entry names is missing or empty; or the default entry loads none although only an
    /// initramfs can find what its `root=` names. The content of the file is checked by `initramfs-damaged`.
    ///
    /// ## Why it matters
    /// GRUB reports "file not found" and boots the kernel anyway; without an initramfs the kernel panics: "VFS: Unable
    /// to mount root fs".
    ///
    /// ## What the repair does
    /// Rebuilds the initramfs with the target's own program, on a copy of the target, and uses it when it is intact and
    /// has the required drivers; otherwise copies the file of the same version from a donor; otherwise makes the newest
    /// complete kernel the default.
    ///
    /// ## By hand
    /// ```sh
    /// # boot the other kernel, then
    /// update-initramfs -c -k VERSION
    /// dracut -f --kver VERSION
    /// ```
    "initramfs-missing", Boot, seed = ["B5", "B4", "B8"], proves = [Initramfs], "the initramfs of the default entry is missing or empty"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    let mut some = false;
    for loader in &config.loaders {
        let Some(entry) = loader.default_entry() else { continue };
        let Some(kernel) = &entry.kernel else { continue };
        some = true;
        // A kernel that is not there is one fault, whatever else is not.
        match kernel_state(facts, kernel) {
            Some(state) if state.is_bad() => continue,
            Some(_) => {}
            None => {
                if entry.in_vain.is_empty() {
                    let file = kernel.word.text.as_str();
                    found.could_not_tell(tr!("{file} is on a volume that is not mounted", file));
                }
                continue;
            }
        }
        let kernels = facts.get::<Kernels>()?;
        if entry.initramfs.is_empty() {
            not_loaded(facts, &config, loader, entry, &kernels, found);
            continue;
        }
        for named in &entry.initramfs {
            let Some(path) = named.path.as_deref() else { continue };
            let state = match initrd_state(facts, named) {
                Some(PartState::Unread(why)) => {
                    found.could_not_tell(why);
                    continue;
                }
                Some(state) if state.is_bad() => state,
                _ => continue,
            };
            let what = state.words();
            let finding = found.critical(tr!("{path}, the initramfs of the default entry, {what}", path, what));
            finding
                .at(&named.word.file, named.word.span())
                .about(path)
                .explains(path)
                .why(match state {
                    PartState::Missing => tr!("GRUB reports an error and continues without it, and the kernel, with no drivers and no program to find its root, panics"),
                    _ => tr!("the kernel has no drivers and no program to find its root, and panics"),
                })
                .stops(Stage::Initramfs);
            rebuild(facts, &kernels, entry, path, finding);
            offer(facts, &config, &kernels, loader, path, finding);
        }
    }
    if some { Ok(()) } else { Err(no_entry()) }
}

/// The entry loads no initramfs, and the kernel cannot do without.
fn not_loaded(
    facts: &Facts,
    config: &BootConfig,
    loader: &Loader,
    entry: &Entry,
    kernels: &Kernels,
    found: &mut Findings,
) {
    let Some(named) = entry.kernel.as_ref().filter(|_| needs_initramfs(entry)) else { return };
    let Some(root) = entry.argument("root") else { return };
    let finding = found.critical(tr!(
        "the default entry {title} loads no initramfs, and the kernel alone cannot find {root}",
        title = entry.title.text.as_str(),
        root = root.0.text.as_str()
    ));
    finding
        .at(&named.word.file, named.word.span())
        .why(tr!("the kernel has no drivers and no program to find its root, and panics"))
        .stops(Stage::Initramfs);
    let kernel = kernel_of(facts, kernels, entry);
    let initramfs = kernel.and_then(|kernel| kernel.initramfs.clone().or_else(|| usual(facts, &kernel.version)));
    match initramfs {
        Some(part) if part.state == PartState::Sound => {
            let (_, path) = config.paths.to_grub(&part.path);
            let text = with_initrd(&named.word.file.bytes, named.word.range.start, &path);
            let title = tr!("load {path}", path);
            finding.about(&part.path).repair(Risk::Safe, title, [Change::edit(&named.word.file, text)]);
        }
        Some(part) => {
            finding.about(&part.path);
            // The file without the line helps as little as the line without the file.
            let (_, path) = config.paths.to_grub(&part.path);
            let text = with_initrd(&named.word.file.bytes, named.word.range.start, &path);
            let line = Change::edit(&named.word.file, text);
            let version = kernel_of(facts, kernels, entry).map(|kernel| kernel.version.as_str());
            if let Some((title, made)) = version.and_then(|version| rebuild::offer(facts, version, &part.path)) {
                finding.repair(Risk::Safe, tr!("{title}, and load {path}", title, path), [made, line.clone()]);
            }
            let donor = restore(facts, &part.path).map(|donor| {
                let title = tr!("{title}, and load {path}", title = donor.title, path);
                (donor.risk, title, donor.changes.into_iter().chain([line]).collect())
            });
            // Where no kernel has one, each counts as complete without.
            let has_name = kernel.is_some_and(|kernel| kernel.initramfs.is_some());
            let another = if has_name { boot_another(facts, config, kernels, loader) } else { None };
            let (first, second) = if donor.as_ref().is_some_and(|donor| donor.0 == Risk::Safe) {
                (donor, another)
            } else {
                (another, donor)
            };
            for (risk, title, changes) in [first, second].into_iter().flatten() {
                finding.repair(risk, title, changes);
            }
            if finding.repairs.is_empty() {
                finding.by_hand(tr!("rebuild {path} in a chroot, and add an initrd line to the entry", path));
            }
        }
        None => offer(facts, config, kernels, loader, &Arc::clone(&named.word.file).path, finding),
    }
}

/// Where the target's own program would put the initramfs of a kernel, when no kernel has one by whose name it could be told.
fn usual(facts: &Facts, version: &str) -> Option<Part> {
    const PROGRAMS: [(&str, &str, &str); 2] =
        [("/usr/sbin/update-initramfs", "initrd.img-", ""), ("/usr/bin/dracut", "initramfs-", ".img")];
    let there = |path: &str| facts.root().exists(path).unwrap_or(false);
    let (_, before, behind) = PROGRAMS.iter().find(|(program, ..)| there(program))?;
    Some(Part { path: format!("/boot/{before}{version}{behind}").into(), state: PartState::Missing })
}

/// Offers to make the initramfs again. What is made is opened and judged before it is taken.
fn rebuild(facts: &Facts, kernels: &Kernels, entry: &Entry, path: &Path, finding: &mut Finding) {
    let version = kernel_of(facts, kernels, entry).map(|kernel| kernel.version.as_str());
    if let Some((title, change)) = version.and_then(|version| rebuild::offer(facts, version, path)) {
        finding.repair(Risk::Safe, title, [change]);
    }
}

/// The text with a line `initrd` behind the one that holds the byte `at`, indented as that is.
fn with_initrd(text: &[u8], at: usize, path: &str) -> Vec<u8> {
    let begin = text.get(..at).unwrap_or_default().iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.iter().position(|&byte| byte == b'\n').map_or(text.len(), |length| at + length);
    let indent: Vec<u8> =
        text.get(begin..).unwrap_or_default().iter().copied().take_while(|byte| matches!(byte, b' ' | b'\t')).collect();
    let line = [b"\n", indent.as_slice(), b"initrd ", path.as_bytes()].concat();
    sickbay_formats::lines::with_bytes(text, end..end, &line)
}
