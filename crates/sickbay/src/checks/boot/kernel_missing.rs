//! The kernel that boots by default is not there, is empty, or is damaged.

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Entry, Loader};
use crate::facts::boot::kernels::{Kernels, PartState};
use crate::mend::boot_entries::{edits, kernel_of, kernel_state, no_entry, offer};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: GRUB prints "error: file '/boot/vmlinuz-…' not found" and "error: you need to load the kernel first",
    /// then returns to its menu.
    ///
    /// ## What it finds
    /// The default entry names a kernel image that is missing, is empty, ends before the length in its own header, or
    /// is not a kernel; also one that is named with or without `/boot` where it should be the other way around, as when
    /// `/boot` became a volume of its own.
    ///
    /// ## Why it matters
    /// GRUB reports "file not found" and stays at its menu: it does not try the older kernel's entry by itself.
    ///
    /// ## What the repair does
    /// Copies the file of the same version from a donor; otherwise makes the newest complete kernel the default, with
    /// `saved_entry` in grubenv or `default` in the configuration, whichever this system uses.
    ///
    /// ## By hand
    /// ```sh
    /// # choose the older kernel in the menu, then reinstall the damaged one
    /// apt-get install --reinstall linux-image-VERSION
    /// dnf reinstall kernel-core-VERSION
    /// ```
    "kernel-missing", Boot, seed = ["B5", "B4", "B8"], proves = [Kernel], "the default kernel is missing or damaged"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    let mut some = false;
    for loader in &config.loaders {
        let Some(entry) = loader.default_entry() else { continue };
        let Some(named) = &entry.kernel else { continue };
        some = true;
        let Some(path) = named.path.as_deref() else {
            // A volume that is not there is another check's finding.
            if entry.in_vain.is_empty() {
                found.could_not_tell(tr!(
                    "{file} of the entry {title} is on a volume that is not mounted",
                    file = named.word.text.as_str(),
                    title = entry.title.text.as_str()
                ));
            }
            continue;
        };
        let state = match kernel_state(facts, named) {
            Some(PartState::Unread(why)) => {
                found.could_not_tell(why);
                continue;
            }
            Some(state) if state.is_bad() => state,
            _ => continue,
        };
        let kernels = facts.get::<Kernels>()?;
        // With a volume that is not found, that is the cause.
        if state == PartState::Missing && !entry.in_vain.is_empty() {
            continue;
        }
        let what = state.words();
        let finding = found.critical(tr!("{path}, the default kernel, {what}", path, what));
        finding
            .at(&named.word.file, named.word.span())
            .about(path)
            .explains(path)
            .why(tr!("GRUB cannot load it and stays at its menu; it does not try other entries by itself"))
            .stops(Stage::Kernel);
        if let Some(kernel) = kernel_of(facts, &kernels, entry) {
            finding.detail("version", kernel.version.clone());
        }
        if let Some((prefix, changes)) = other_prefix(facts, &config, loader, entry, &kernels) {
            finding.repair(Risk::Safe, tr!("give the paths as they are on their volume: {prefix}", prefix), changes);
        }
        offer(facts, &config, &kernels, loader, path, finding);
    }
    if some { Ok(()) } else { Err(no_entry()) }
}

/// Where the file of the same name is elsewhere on the volume that GRUB looks on: the words of all entries put right.
fn other_prefix(
    facts: &Facts,
    config: &BootConfig,
    loader: &Loader,
    entry: &Entry,
    kernels: &Kernels,
) -> Option<(String, Vec<Change>)> {
    let file_name = |text: &str| text.rsplit('/').next().map(str::to_owned);
    let name = file_name(&entry.kernel.as_ref()?.word.text)?;
    let real = kernels.complete().find(|kernel| kernel.image.path.ends_with(&name))?;
    let right = config.paths.to_grub(&real.image.path).1;
    let mut words = Vec::new();
    for entry in &loader.entries {
        for named in entry.kernel.iter().chain(&entry.initramfs) {
            let is_lost = named.path.as_deref().is_some_and(|path| !facts.root().exists(path).unwrap_or(true));
            let path = std::path::Path::new("/boot").join(file_name(&named.word.text)?);
            if is_lost && named.word.literal && facts.root().exists(&path).unwrap_or(false) {
                let device =
                    named.word.text.split_once(')').map(|(device, _)| format!("{device})")).unwrap_or_default();
                let new = format!("{device}{}", config.paths.to_grub(&path).1);
                words.push((std::sync::Arc::clone(&named.word.file), named.word.range.clone(), new));
            }
        }
    }
    (!words.is_empty()).then(|| (right, edits(words)))
}
