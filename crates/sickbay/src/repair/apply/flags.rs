//! Flags of chattr(1), which keep even root from a file: cleared for a repair, kept in its entry, set again.

use std::collections::HashSet;
use std::path::Path;

use sickbay_target::{Flags, Root};

use super::{Error, Workshop};
use crate::model::repair::{Change, Repair, Risk};
use crate::repair::journal::{Entry, Name, flag_letters, flags_of};
use crate::tr;

/// Clears the flags of chattr(1) that keep even root from what an entry changes. They are in the entry.
pub(crate) fn clear_flags(shop: &Workshop<'_>, entry: &Entry) -> Result<(), Error> {
    for (path, _) in &entry.flags {
        let path = path.path();
        if shop.target.root().flags(&path).is_ok_and(Flags::any) {
            shop.writer.set_flags(&path, Flags::default())?;
        }
    }
    Ok(())
}

/// Sets them again, on what has come in the place of a file too.
pub(crate) fn set_flags(shop: &Workshop<'_>, entry: &Entry) -> Result<(), Error> {
    let root = shop.target.root();
    for (path, letters) in entry.flags.iter().rev() {
        let path = path.path();
        let is_there = root.metadata(&path).is_ok_and(|found| found.is_file() || found.is_dir());
        if is_there && root.flags(&path)? != flags_of(letters) {
            shop.writer.set_flags(&path, flags_of(letters))?;
        }
    }
    Ok(())
}

/// The flags in the way of a change of `path`: its own, and those of its directory.
pub(super) fn remember_flags(root: &Root, path: &Path, entry: &mut Entry) -> Result<(), Error> {
    for path in [path.parent(), Some(path)].into_iter().flatten() {
        let name = Name::of(path);
        let flags = match root.metadata(path) {
            Ok(_) if !entry.flags.iter().any(|(known, _)| *known == name) => root.flags(path)?,
            _ => continue,
        };
        if flags.any() {
            entry.flags.push((name, flag_letters(flags)));
        }
    }
    Ok(())
}

/// Says of repairs that they clear a flag of chattr(1). Somebody set it on purpose, so that they are not made unasked.
pub fn mind_flags(root: &Root, repairs: &mut [Repair]) {
    for repair in repairs {
        let mut seen = HashSet::new();
        let paths =
            repair.changes.iter().filter_map(Change::path).flat_map(|path| [path.parent(), Some(path)]).flatten();
        let flagged = paths.filter(|path| seen.insert(*path) && root.flags(path).is_ok_and(Flags::any));
        let flagged: Vec<String> = flagged.map(|path| path.display().to_string()).collect();
        if let Some(first) = flagged.first() {
            let title = repair.title.clone();
            repair.risk = repair.risk.max(Risk::Risky);
            repair.title = match flagged.len() {
                1 => {
                    tr!("{title}; the chattr flag on {path} is cleared for this and set again", title, path = first)
                }
                more => tr!(
                    "{title}; the chattr flags on {path} and {others} more are cleared for this and set again",
                    title,
                    path = first,
                    others = more - 1
                ),
            };
        }
    }
}
