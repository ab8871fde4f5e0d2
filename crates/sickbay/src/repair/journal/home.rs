//! Where a journal is: which directory is ours, how one is made so that a power loss leaves nothing behind, and how it goes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use sickbay_target::{FileKind, Metadata, Root, Target, Times};

use super::Journal;
use crate::model::text::Text;
use crate::repair::apply::Error;
use crate::tr;

/// The file with which every journal begins: the times of the directory that it is in.
const MARK: &str = "parent";

/// The extended attribute of the directory above that holds its times while a journal goes: the last name that could hold
/// them has gone before they are given back. Setting one changes no times; who is not root, and some file systems, have none.
const NOTE: &str = "trusted.sickbay.times";

/// Where the journal is, or in which of these directories it is made: the first one that exists.
pub(super) const HOMES: [(&str, &str); 3] = [("/var/lib", "sickbay"), ("/var", ".sickbay"), ("/", ".sickbay")];

impl<'a> Journal<'a> {
    pub(super) fn in_one_of(homes: Vec<(PathBuf, String)>, root: &'a Root, is_elsewhere: bool) -> Journal<'a> {
        let mut journal = Journal { root, homes, home: None, foreign: Vec::new(), is_elsewhere, pen: None };
        for (parent, name) in &journal.homes {
            let home = parent.join(name);
            match is_ours(root, &home, name) {
                Ok(true) => {
                    journal.home = Some(home);
                    break;
                }
                Ok(false) => {}
                Err(why) => journal.foreign.push(why),
            }
        }
        journal
    }

    /// What was found in the place of a journal and is none of ours, a sentence each.
    pub fn foreign(&self) -> &[Text] {
        &self.foreign
    }

    /// A directory that was made but not yet given its name when the power went: it is empty, and its name holds the
    /// times of its parent.
    pub(super) fn adopt(&self, parent: &Path, name: &str) -> Result<(), Error> {
        let Ok(true) = is_dir_without_links(self.root, parent) else { return Ok(()) };
        if let Some(times) = noted_times(self.root, parent, name) {
            self.give_back(parent, times)?;
        }
        for entry in self.root.read_dir(parent).unwrap_or_default() {
            let Some(times) = entry.name.to_str().and_then(|found| parse_staging(found, name)) else { continue };
            let staging = parent.join(&entry.name);
            let within = self.root.read_dir(&staging).unwrap_or_default();
            let is_one = entry.kind == FileKind::Dir
                && self.root.metadata(&staging).is_ok_and(|found| why_not_ours(&found).is_none())
                && within.iter().all(|entry| entry.name == MARK && entry.kind == FileKind::File);
            if !is_one {
                continue;
            }
            for entry in within {
                self.writer()?.remove(&staging.join(&entry.name))?;
            }
            let note = staging_name(name, times);
            let _ = self.writer()?.set_xattr(parent, OsStr::new(NOTE), note.as_bytes());
            self.writer()?.remove(&staging)?;
            self.give_back(parent, times)?;
        }
        Ok(())
    }

    fn give_back(&self, parent: &Path, times: Times) -> Result<(), Error> {
        self.writer()?.set_times(parent, times)?;
        let has_note = self.root.xattrs(parent).is_ok_and(|all| all.iter().any(|(name, _)| name == NOTE));
        if has_note {
            self.writer()?.remove_xattr(parent, OsStr::new(NOTE))?;
        }
        Ok(())
    }

    /// Whether a repair was cut off before it counted, or a journal while it went: [`Journal::recover`] clears that away.
    pub fn has_remains(&self) -> bool {
        let (all, began) = (self.ids().unwrap_or_default(), self.entries().unwrap_or_default());
        let has_beginning = self.home.is_some() && (all.is_empty() || began.len() < all.len());
        let has_home_half_made = |(parent, name): &(PathBuf, String)| {
            let there = self.root.read_dir(parent).unwrap_or_default();
            noted_times(self.root, parent, name).is_some()
                || there
                    .iter()
                    .any(|entry| entry.name.to_str().is_some_and(|found| parse_staging(found, name).is_some()))
        };
        has_beginning || self.homes.iter().any(has_home_half_made)
    }

    /// Where it is, or, before its first entry, where it is going to be.
    pub fn place(&self) -> (&'a Root, PathBuf) {
        let first = || self.homes.first().map(|(parent, name)| parent.join(name)).unwrap_or_default();
        let new = || self.new_home().map(|(parent, name)| parent.join(name));
        (self.root, self.home.clone().or_else(new).unwrap_or_else(first))
    }

    /// The first directory that is there, and in which nothing else has our name.
    fn new_home(&self) -> Option<&(PathBuf, String)> {
        self.homes.iter().find(|(parent, name)| {
            is_dir_without_links(self.root, parent).unwrap_or(false) && self.root.metadata(parent.join(name)).is_err()
        })
    }

    /// Makes the journal's directory unless it is there.
    pub(super) fn home(&mut self) -> Result<PathBuf, Error> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let Some((parent, name)) = self.new_home() else {
            let none = tr!("the target has no directory for the journal");
            return Err(Error::Refused(self.foreign.first().cloned().unwrap_or(none)));
        };
        let writer = self.writer()?;
        let metadata = self.root.metadata(parent)?;
        let times = Times { atime: metadata.atime, mtime: metadata.mtime };
        let staging = parent.join(staging_name(name, times));
        let home = parent.join(name);
        let make = || -> Result<(), Error> {
            writer.make_dir(&staging, 0o700, (0, 0))?;
            writer.write_new(&staging.join(MARK), staging_name(name, times).as_bytes(), 0o600)?;
            writer.sync_dir(&staging)?;
            writer.rename(&staging, &home)?;
            Ok(writer.sync_dir(parent)?)
        };
        if let Err(error) = make() {
            let _ = self.adopt(parent, name);
            return Err(error);
        }
        self.home = Some(home.clone());
        Ok(home)
    }

    /// Removes a journal without entries, as if it had never been made.
    pub fn remove_home(&mut self) -> Result<(), Error> {
        let Some(home) = self.home.clone() else { return Ok(()) };
        let name = home.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let parent = home.parent().unwrap_or(Path::new("/")).to_owned();
        self.recover()?;
        if let Some(times) = times_in(self.root, &home, &name)
            && self.ids()?.is_empty()
        {
            let staging = parent.join(staging_name(&name, times));
            self.writer()?.rename(&home, &staging)?;
            self.home = None;
            self.adopt(&parent, &name)?;
        }
        Ok(())
    }
}

/// Why something in the place of our own is not: it belongs to somebody else, or somebody else may write to it.
pub(super) fn why_not_ours(found: &Metadata) -> Option<Text> {
    if found.uid != 0 && found.uid != sickbay_target::user() {
        return Some(tr!("it is owned by user {uid}", uid = found.uid));
    }
    let others_write = found.mode & 0o022 != 0 && found.kind != FileKind::Symlink;
    others_write.then(|| tr!("other users can write to it (mode {mode})", mode = format!("{:04o}", found.mode)))
}

/// Whether a directory is there to which no link leads.
fn is_dir_without_links(root: &Root, dir: &Path) -> Result<bool, Error> {
    for above in dir.ancestors() {
        match root.metadata(above) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Whether a journal of ours is there; why not, when something else is.
fn is_ours(root: &Root, home: &Path, name: &str) -> Result<bool, Text> {
    let Ok(found) = root.metadata(home) else { return Ok(false) };
    let not_used = |why: Text| Err(tr!("{path} is not used: {why}", path = home, why));
    if !is_dir_without_links(root, home).unwrap_or(false) {
        return not_used(tr!("a symbolic link leads to it, or it is not a directory"));
    }
    if let Some(why) = why_not_ours(&found) {
        return not_used(why);
    }
    match times_in(root, home, name) {
        Some(_) => Ok(true),
        None => not_used(tr!("it is not a sickbay journal")),
    }
}

/// The times of the directory above, as a journal remembers them.
fn times_in(root: &Root, home: &Path, name: &str) -> Option<Times> {
    let mark = home.join(MARK);
    root.metadata(&mark).ok().filter(|found| found.is_file() && why_not_ours(found).is_none())?;
    let text = String::from_utf8(root.read_up_to(&mark, 4096).ok()?).ok()?;
    parse_staging(&text, name)
}

/// The times of the directory above, as it remembers them itself while a journal goes.
fn noted_times(root: &Root, parent: &Path, name: &str) -> Option<Times> {
    let (_, value) = root.xattrs(parent).ok()?.into_iter().find(|(name, _)| name == NOTE)?;
    parse_staging(std::str::from_utf8(&value).ok()?, name)
}

/// By what a target is known again: the UUID of its root file system, else its name.
pub(super) fn identity(target: &Target) -> String {
    let root = |volume: &&sickbay_target::Volume| volume.mounted_on.as_deref() == Some(Path::new("/"));
    let volume = target.volumes.as_ref().ok().and_then(|volumes| volumes.iter().find(root));
    let name = match volume.and_then(|volume| volume.uuid.as_deref()) {
        Some(uuid) => uuid,
        None if target.running().is_ok() => "host",
        None => target.name.as_str(),
    };
    name.trim_matches('/').chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// `.sickbay-new.ASEC.ANSEC.MSEC.MNSEC`: the name under which the journal's directory is made.
fn staging_name(name: &str, times: Times) -> String {
    let ((asec, ansec), (msec, mnsec)) = (times.atime, times.mtime);
    format!(".{}-new.{asec}.{ansec}.{msec}.{mnsec}", name.trim_start_matches('.'))
}

fn parse_staging(found: &str, name: &str) -> Option<Times> {
    let rest = found.strip_prefix(&format!(".{}-new.", name.trim_start_matches('.')))?;
    let mut numbers = rest.split('.');
    let mut pair = || Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?));
    let times = Times { atime: pair()?, mtime: pair()? };
    numbers.next().is_none().then_some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staging_name_keeps_the_times_of_the_parent() {
        let times = Times { atime: (-3, 7), mtime: (1_700_000_000, 999_999_999) };
        let name = staging_name("sickbay", times);
        assert_eq!(name, ".sickbay-new.-3.7.1700000000.999999999");
        let back = parse_staging(&name, "sickbay").map(|times| (times.atime, times.mtime));
        assert_eq!(back, Some((times.atime, times.mtime)));
        assert!(parse_staging(".sickbay-new.1.2.3", "sickbay").is_none());
        assert!(parse_staging("sickbay", "sickbay").is_none());
    }
}
