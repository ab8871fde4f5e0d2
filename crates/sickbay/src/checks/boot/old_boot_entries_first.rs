//! An entry of an older installation sorts before all those that its updates write.

use bstr::ByteSlice;
use sickbay_formats::bls::compare_versions;
use sickbay_formats::grub_env;

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Choice, Entry, Kind, Loader};
use crate::mend::boot_entries::{choose, is_sound, no_entry};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::Risk;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `uname -r` shows an old kernel although newer ones are installed, and kernel updates have no effect.
    ///
    /// ## What it finds
    /// A system with entries in `/boot/loader/entries` whose default is an entry of another machine-id, only because its
    /// name sorts first, while this machine-id's entries have newer and complete kernels. Nothing is said where
    /// `saved_entry` in grubenv names that entry.
    ///
    /// ## Why it matters
    /// The file names begin with the machine-id of the time when they were written. Without a `saved_entry` GRUB starts
    /// the one that sorts first, and after the machine-id changed (a copied disk, a removed `/etc/machine-id`) that may be
    /// the oldest forever.
    ///
    /// ## What the repair does
    /// Writes the newest complete kernel of this machine-id into `saved_entry`. It is a risky repair: the machine has run
    /// with the old kernel until now.
    ///
    /// ## By hand
    /// ```sh
    /// # in the running system
    /// cat /etc/machine-id; ls /boot/loader/entries
    /// grubby --set-default /boot/vmlinuz-VERSION
    /// ```
    "old-boot-entries-first", Boot, seed = [], proves = [], "an old boot entry of another machine-id is the default"
}

/// Characters of a machine-id.
const ID: usize = 32;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    let Some(file) = facts.file("/etc/machine-id")? else { return Ok(()) };
    let own = file.bytes.trim_ascii().to_str_lossy().into_owned();
    if !is_id(&own) {
        return Ok(());
    }
    let mut some = false;
    for loader in config.loaders.iter().filter(|loader| loader.kind == Kind::Grub2) {
        let Some(first) = loader.default_entry() else { continue };
        some = true;
        let Some((id, old)) = named(first) else { continue };
        if id == own || !loader.loader_entries || is_chosen(facts, loader) {
            continue;
        }
        let newest = loader
            .entries
            .iter()
            .filter_map(|entry| Some((entry, named(entry)?)))
            .filter(|(entry, (id, new))| {
                *id == own
                    && !new.starts_with("0-rescue")
                    && compare_versions(new.as_bytes(), old.as_bytes()).is_gt()
                    && is_sound(facts, &config, entry)
            })
            .max_by(|(_, (_, left)), (_, (_, right))| compare_versions(left.as_bytes(), right.as_bytes()));
        let Some((entry, (_, new))) = newest else { continue };
        let finding = found.note(tr!(
            "kernel {old} boots by default, because its entry of another machine-id sorts first; {new} is installed",
            old,
            new
        ));
        finding
            .at(&first.title.file, first.title.span())
            .why(tr!("kernels that updates install never run"))
            .detail("machine-id", own.clone());
        match choose(facts, loader, entry) {
            Some(change) => {
                finding.repair(Risk::Risky, tr!("boot {version} by default", version = new), [change]);
            }
            None => {
                finding.by_hand(tr!("remove the entry, or make {version} the default", version = new));
            }
        }
    }
    if some { Ok(()) } else { Err(no_entry()) }
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The machine-id and the version in the name of an entry's file.
fn named(entry: &Entry) -> Option<(&str, &str)> {
    let path = &entry.title.file.path;
    if !path.starts_with("/boot/loader/entries") {
        return None;
    }
    let (id, version) = path.file_stem()?.to_str()?.split_at_checked(ID)?;
    Some((id, version.strip_prefix('-')?)).filter(|(id, _)| is_id(id))
}

/// Whether the default is one that somebody chose, not the first in the list.
fn is_chosen(facts: &Facts, loader: &Loader) -> bool {
    if matches!(loader.choice, Choice::Word(_)) {
        return true;
    }
    let Ok(Some(block)) = facts.file(&loader.environment) else { return false };
    grub_env::variables(&block.bytes)
        .iter()
        .any(|variable| variable.name == "saved_entry" && !variable.value.is_empty())
}
