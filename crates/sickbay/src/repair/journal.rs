//! The journal: what was done to the target, kept on the target, and how to take it back.
//!
//! One repair is one entry, a directory `NNNN` in `/var/lib/sickbay`:
//!
//! | file | what it is |
//! |---|---|
//! | `b0`, `b1`, … | former contents |
//! | `entry.json` | the former and the new state of every path; written last, so an entry without it never began |
//! | `done` | the repair was made wholly |
//!
//! Everything is on the disk (fsync) before the first path is touched. Former states are absolute ("this path was a
//! file with this content and these attributes"), so restoring them is right after any part of a repair, and can itself
//! be cut off and started again.
//!
//! A target whose disk is full has no room for it: then it is kept where `--journal` says, in a directory `sickbay-ID` that
//! is named after the target's root file system, so that no other target's entries are taken for its own.
//!
//! When the last entry is taken back the journal's own directory goes as well, and the directory that held it gets its
//! times back: they are kept in the name under which the directory is first made.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sickbay_target::{Attributes, FileKind, Kind, Lock, Record, Root, Target, Times, Writer};

use super::apply::Error;
use crate::tr;

/// The state of a path, before or after a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// Nothing is there.
    Absent,
    /// A regular file.
    File {
        /// Where its content is.
        content: Content,
        /// Mode, owner, times, extended attributes.
        attributes: Attrs,
    },
    /// A directory; what is in it is not meant.
    Dir {
        /// Mode, owner, times, extended attributes.
        attributes: Attrs,
    },
    /// A symbolic link.
    Link {
        /// What it says.
        target: Name,
        /// Owner and times.
        attributes: Attrs,
    },
    /// Something whose content stays as it is; only the attributes are meant.
    Attributes {
        /// Mode, owner, times, extended attributes.
        attributes: Attrs,
    },
}

/// Where the content of a file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A file of the entry's directory.
    Kept(String),
    /// The same path of the donor; its size in bytes.
    Donor(u64),
}

/// Bytes of a name, percent-encoded where they are not plain text, since JSON has no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// The name of `path`.
    pub fn of(path: &Path) -> Name {
        Name(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec())
    }

    /// As a path.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&self.0))
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len());
        for &byte in &self.0 {
            if byte.is_ascii_graphic() && byte != b'%' {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02x}"));
            }
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let value = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
            let value = value.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            bytes.push(value.ok_or_else(|| serde::de::Error::custom("bad percent encoding"))?);
            rest = &tail[2..];
        }
        Ok(Name(bytes))
    }
}

/// Mode, owner, times and extended attributes, as JSON keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Access time: seconds and nanoseconds.
    pub atime: (i64, u32),
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, with them ACLs and SELinux labels.
    pub xattrs: Vec<(Name, Name)>,
}

impl Attrs {
    /// What `path` has now.
    pub fn read(root: &Root, path: &Path) -> Result<Attrs, Error> {
        let metadata = root.metadata(path)?;
        let xattrs = root.xattrs(path)?;
        Ok(Attrs {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            atime: metadata.atime,
            mtime: metadata.mtime,
            xattrs: xattrs
                .into_iter()
                .map(|(name, value)| (Name(std::os::unix::ffi::OsStringExt::into_vec(name)), Name(value)))
                .collect(),
        })
    }

    /// For the target crate.
    pub fn to_target(&self) -> Attributes {
        Attributes {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            times: Times { atime: self.atime, mtime: self.mtime },
            xattrs: self.xattrs.iter().map(|(name, value)| (name.path().into_os_string(), value.0.clone())).collect(),
        }
    }
}

/// One thing that an entry changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// A path becomes another node.
    Path {
        /// The path on the target.
        path: Name,
        /// What was there.
        before: Node,
        /// What will be there.
        after: Node,
    },
    /// A kernel parameter gets another value.
    Sysctl {
        /// Dotted name.
        key: String,
        /// Former value.
        before: String,
        /// New value.
        after: String,
    },
    /// Bytes of the disk outside every file system become others.
    Disk {
        /// Index of the target's disk.
        disk: usize,
        /// Byte offset.
        offset: u64,
        /// File of the entry with the former bytes.
        before: String,
        /// File of the entry with the new bytes.
        after: String,
    },
}

/// One repair, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Format of this file.
    pub version: u32,
    /// The version of sickbay that wrote it.
    pub tool: String,
    /// RFC 3339, UTC.
    pub when: String,
    /// The check whose finding is repaired.
    pub check: String,
    /// What the repair does, in English.
    pub title: String,
    /// Where copied files come from, if any are.
    pub donor: Option<String>,
    /// What is changed, in order.
    pub ops: Vec<Op>,
    /// Times of the directories in which names come or go.
    pub parents: Vec<(Name, ParentTimes)>,
    /// Of an entry that is about a disk as a whole (see [`super::held`]): what was written. The files of the entry hold
    /// these pieces one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Piece>,
}

/// Where a piece of a disk begins, and how long it is, in bytes.
pub type Piece = (u64, u64);

impl Entry {
    /// An entry of this moment that changes nothing yet.
    pub fn new(title: String) -> Entry {
        Entry {
            version: 1,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            when: jiff::Timestamp::now().to_string(),
            check: String::new(),
            title,
            donor: None,
            ops: Vec::new(),
            parents: Vec::new(),
            pieces: Vec::new(),
        }
    }
}

/// Times of a directory: access and modification, seconds and nanoseconds.
pub type ParentTimes = ((i64, u32), (i64, u32));

/// The name of an entry's commit record.
const ENTRY: &str = "entry.json";
/// The name of the mark that a repair was made wholly.
const DONE: &str = "done";
/// Where the journal is, or in which of these directories it is made: the first one that exists.
const HOMES: [(&str, &str); 3] = [("/var/lib", "sickbay"), ("/var", ".sickbay"), ("/", ".sickbay")];

/// The journal of one target.
#[derive(Debug)]
pub struct Journal<'a> {
    root: &'a Root,
    writer: &'a Writer,
    /// Where it may be made: the directory above, and its name.
    homes: Vec<(PathBuf, String)>,
    home: Option<PathBuf>,
    /// Of the target's root directory: one sickbay writes at a time.
    _lock: Lock,
}

/// How long another's lock is waited for: a program that is just being started has our own for a moment, until it is another
/// program, and on a busy machine that is not at once.
const PATIENCE: Duration = Duration::from_secs(3);

impl<'a> Journal<'a> {
    /// Opens the target's journal, if it has one; it is made with the first entry. It is on the target itself, unless it is
    /// kept in the directory `elsewhere`. Refuses when another sickbay holds the target.
    pub fn open(target: &'a Target, elsewhere: Option<&'a Target>) -> Result<Journal<'a>, Error> {
        let homes = match elsewhere {
            Some(_) => vec![(PathBuf::from("/"), format!("sickbay-{}", identity(target)))],
            None => HOMES.iter().map(|(parent, name)| (PathBuf::from(parent), (*name).to_owned())).collect(),
        };
        let store = elsewhere.unwrap_or(target);
        Journal::in_one_of(homes, store.root(), writer_of(store)?, writer_of(target)?)
    }

    /// Whether there is one on the target; looks only.
    pub fn is_on(target: &Target) -> bool {
        HOMES.iter().any(|(parent, name)| target.root().exists(Path::new(parent).join(name)).unwrap_or(false))
    }

    /// The journal in a directory of this machine that is about a disk as a whole (see [`super::held`]).
    pub fn of_disk(record: &'a Record) -> Result<Journal<'a>, Error> {
        let homes = vec![(PathBuf::from("/"), "journal".to_owned())];
        Journal::in_one_of(homes, record.root(), record.writer(), record.writer())
    }

    /// `locked` writes what the journal is about.
    fn in_one_of(
        homes: Vec<(PathBuf, String)>,
        root: &'a Root,
        writer: &'a Writer,
        locked: &Writer,
    ) -> Result<Journal<'a>, Error> {
        let until = Instant::now() + PATIENCE;
        let lock = loop {
            match locked.lock(Path::new("/")) {
                Ok(lock) => break lock,
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                Err(_) => return Err(Error::Refused(tr!("another sickbay is at work on this target"))),
            }
        };
        let mut journal = Journal { root, writer, homes, home: None, _lock: lock };
        for (parent, name) in journal.homes.clone() {
            journal.adopt(&parent, &name)?;
            let home = parent.join(name);
            if root.metadata(&home).is_ok_and(|metadata| metadata.is_dir()) {
                journal.home = Some(home);
                break;
            }
        }
        Ok(journal)
    }

    /// A directory that was made but not yet given its name when the power went: it is empty, and its name holds the
    /// times of its parent.
    fn adopt(&self, parent: &Path, name: &str) -> Result<(), Error> {
        let Ok(entries) = self.root.read_dir(parent) else { return Ok(()) };
        for entry in entries {
            let Some(times) = entry.name.to_str().and_then(|found| parse_staging(found, name)) else { continue };
            self.remove_tree(&parent.join(&entry.name))?;
            self.writer.set_times(parent, times)?;
        }
        Ok(())
    }

    /// Where it is, or, before its first entry, where it is going to be.
    pub fn place(&self) -> (&'a Root, PathBuf) {
        let first = || self.homes.first().map(|(parent, name)| parent.join(name)).unwrap_or_default();
        (self.root, self.home.clone().unwrap_or_else(first))
    }

    /// Makes the journal's directory unless it is there.
    fn home(&mut self) -> Result<PathBuf, Error> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let (parent, name) = self
            .homes
            .iter()
            .find(|(parent, _)| self.root.metadata(parent).is_ok_and(|metadata| metadata.is_dir()))
            .ok_or_else(|| Error::Refused(tr!("the target has no directory for the journal")))?;
        let metadata = self.root.metadata(parent)?;
        let times = Times { atime: metadata.atime, mtime: metadata.mtime };
        let staging = parent.join(staging_name(name, times));
        self.writer.make_dir(&staging, 0o700, (0, 0))?;
        self.writer.write_new(&staging.join("parent"), staging_name(name, times).as_bytes(), 0o600)?;
        self.writer.sync_dir(&staging)?;
        let home = parent.join(name);
        self.writer.rename(&staging, &home)?;
        self.writer.sync_dir(parent)?;
        self.home = Some(home.clone());
        Ok(home)
    }

    /// Ids of the entries that began, oldest first. Entries that never began are cleared away.
    pub fn entries(&self) -> Result<Vec<String>, Error> {
        let Some(home) = &self.home else { return Ok(Vec::new()) };
        let mut ids = Vec::new();
        for entry in self.root.read_dir(home)? {
            let Some(id) = entry.name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else {
                continue;
            };
            let dir = home.join(id);
            if self.root.metadata(dir.join(ENTRY)).is_ok() {
                ids.push(id.to_owned());
            } else {
                self.remove_tree(&dir)?;
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Reads an entry.
    pub fn read(&self, id: &str) -> Result<Entry, Error> {
        let path = self.dir(id)?.join(ENTRY);
        let bytes = self.root.read_up_to(&path, 256 << 20)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::Refused(tr!("{path}: the journal entry is damaged: {error}", path, error = error.to_string()))
        })
    }

    /// Whether the repair of an entry was made wholly.
    pub fn is_done(&self, id: &str) -> bool {
        self.dir(id).is_ok_and(|dir| self.root.metadata(dir.join(DONE)).is_ok())
    }

    /// Content kept in an entry.
    pub fn kept(&self, id: &str, name: &str) -> Result<Vec<u8>, Error> {
        Ok(self.root.read_up_to(self.dir(id)?.join(name), u64::MAX)?)
    }

    /// Begins an entry: gives its id. Nothing of it counts before [`Journal::commit`].
    pub fn begin(&mut self) -> Result<String, Error> {
        let home = self.home()?;
        let last = self.entries()?.last().and_then(|id| id.parse::<u32>().ok()).unwrap_or(0);
        let id = format!("{:04}", last + 1);
        self.writer.make_dir(&home.join(&id), 0o700, (0, 0))?;
        Ok(id)
    }

    /// Keeps content in an entry that has begun.
    pub fn keep(&self, id: &str, name: &str, content: &[u8]) -> Result<(), Error> {
        Ok(self.writer.write_new(&self.dir(id)?.join(name), content, 0o600)?)
    }

    /// Gives the first entry after `id` that remembers times of the directory `parent` these times instead, those that it had
    /// before both; whether there is one. Then that entry, and no longer `id`, is the one that gives them back.
    pub fn hand_on(&self, id: &str, parent: &Name, times: ParentTimes) -> Result<bool, Error> {
        for later in self.entries()?.into_iter().filter(|later| later.as_str() > id) {
            let mut entry = self.read(&later)?;
            if let Some((_, remembered)) = entry.parents.iter_mut().find(|(name, _)| name == parent) {
                *remembered = times;
                self.commit(&later, &entry)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the entry count. Everything kept is on the disk before this returns.
    pub fn commit(&self, id: &str, entry: &Entry) -> Result<(), Error> {
        let dir = self.dir(id)?;
        let json = serde_json::to_vec_pretty(entry)
            .map_err(|error| Error::Refused(crate::text::Text::verbatim(error.to_string())))?;
        let temporary = dir.join("entry.new");
        // Left over from one that was cut off.
        if self.root.metadata(&temporary).is_ok() {
            self.writer.remove(&temporary)?;
        }
        self.writer.write_new(&temporary, &json, 0o600)?;
        self.writer.sync_dir(&dir)?;
        self.writer.rename(&temporary, &dir.join(ENTRY))?;
        self.writer.sync_dir(&dir)?;
        if let Some(home) = &self.home {
            self.writer.sync_dir(home)?;
        }
        Ok(())
    }

    /// Marks the repair of an entry as made wholly.
    pub fn done(&self, id: &str) -> Result<(), Error> {
        let dir = self.dir(id)?;
        self.writer.write_new(&dir.join(DONE), b"", 0o600)?;
        Ok(self.writer.sync_dir(&dir)?)
    }

    /// Forgets an entry, and with the last one the journal.
    pub fn forget(&mut self, id: &str) -> Result<(), Error> {
        let dir = self.dir(id)?;
        // Without its commit record an entry never began; `entries` clears the rest away if this is cut off.
        self.writer.remove(&dir.join(ENTRY))?;
        self.writer.sync_dir(&dir)?;
        self.remove_tree(&dir)?;
        if self.entries()?.is_empty() {
            self.remove_home()?;
        }
        Ok(())
    }

    /// Removes a journal without entries, as if it had never been made.
    pub fn remove_home(&mut self) -> Result<(), Error> {
        let Some(home) = self.home.clone() else { return Ok(()) };
        let recorded = self.root.read(home.join("parent")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let name = home.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let parent = home.parent().unwrap_or(Path::new("/")).to_owned();
        match recorded.as_deref().and_then(|recorded| parse_staging(recorded, &name)) {
            Some(times) => {
                let staging = parent.join(staging_name(&name, times));
                self.writer.rename(&home, &staging)?;
                self.adopt(&parent, &name)?;
            }
            None => self.remove_tree(&home)?,
        }
        self.home = None;
        Ok(())
    }

    fn dir(&self, id: &str) -> Result<PathBuf, Error> {
        match &self.home {
            Some(home) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => Ok(home.join(id)),
            _ => Err(Error::Refused(tr!("the journal has no entry {id}", id))),
        }
    }

    /// Removes the journal's own files; it never holds anything else.
    fn remove_tree(&self, dir: &Path) -> Result<(), Error> {
        for entry in self.root.read_dir(dir)? {
            let path = dir.join(&entry.name);
            if entry.kind == FileKind::Dir {
                self.remove_tree(&path)?;
            } else {
                self.writer.remove(&path)?;
            }
        }
        Ok(self.writer.remove(dir)?)
    }
}

/// What may be written; it was opened for that.
pub(crate) fn writer_of(target: &Target) -> Result<&Writer, Error> {
    target.writer().ok_or_else(|| Error::Refused(tr!("the target was opened for reading only")))
}

/// By what a target is known again: the UUID of its root file system, else its name.
fn identity(target: &Target) -> String {
    let root = |volume: &&sickbay_target::Volume| volume.mounted_on.as_deref() == Some(Path::new("/"));
    let volume = target.volumes.as_ref().ok().and_then(|volumes| volumes.iter().find(root));
    let name = match volume.and_then(|volume| volume.uuid.as_deref()) {
        Some(uuid) => uuid,
        None if target.kind == Kind::Host => "host",
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

    #[test]
    fn names_survive_json_byte_for_byte() {
        let all: Vec<u8> = (0..=255).collect();
        let json = serde_json::to_string(&Name(all.clone())).expect("bytes are encodable");
        assert_eq!(serde_json::from_str::<Name>(&json).expect("our own encoding").0, all);
        assert!(serde_json::from_str::<Name>("\"%4\"").is_err());
    }
}
