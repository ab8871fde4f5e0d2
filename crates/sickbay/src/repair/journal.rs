//! The journal: what was done to the target, kept on the target, and how to take it back.
//!
//! One repair is one entry, a directory `NNNN` in `/var/lib/sickbay`:
//!
//! | file | what it is |
//! |---|---|
//! | `b0`, `b1`, … | former and new contents |
//! | `l0`, `l1`, … | a former file itself, which has other names (hard links): they keep its content, and undo gives it its name back |
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
//! Who looks into a journal ([`Journal::look`]) writes nothing, takes no lock, and clears nothing away; that is done by who
//! writes ([`Journal::recover`]).
//!
//! A journal that is found on a target may be a stranger's. It is only taken for one when root, or who runs this, owns it,
//! nobody else may write to it, no link leads to it and it has the file `parent` with which every journal begins; and what
//! an entry says is done only after the whole of it was judged ([`super::trust`]).
//!
//! When the last entry is reverted the journal's own directory goes as well, and the directory that held it gets its
//! times back: they are kept in the name under which the directory is first made.

mod entry;
mod home;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sickbay_target::{FileKind, Lock, Record, Root, Target, Writer};

pub use entry::{Attrs, Content, Entry, Name, Node, Op, ParentTimes, Pending, Piece};

use entry::MOST;
pub(crate) use entry::{flag_letters, flags_of};
use home::{HOMES, identity, why_not_ours};

use super::apply::Error;
use crate::model::text::Text;
use crate::tr;

/// The name of an entry's commit record, and under which it is written.
const ENTRY: &str = "entry.json";
const ENTRY_NEW: &str = "entry.new";
/// The name of the mark that a repair was made wholly.
const DONE: &str = "done";
/// As large an entry's commit record may be, and as large a content that is kept on the target.
const ENTRY_LIMIT: u64 = 128 << 20;
const CONTENT_LIMIT: u64 = 1 << 30;

/// The journal of one target.
#[derive(Debug)]
pub struct Journal<'a> {
    root: &'a Root,
    /// Where it may be made: the directory above, and its name.
    homes: Vec<(PathBuf, String)>,
    home: Option<PathBuf>,
    /// What is in its place and is not ours, and why.
    foreign: Vec<Text>,
    is_elsewhere: bool,
    /// `None` for who only looks.
    pen: Option<Pen<'a>>,
}

#[derive(Debug)]
struct Pen<'a> {
    writer: &'a Writer,
    /// Of the target's root directory: one sickbay writes at a time.
    _lock: Lock,
}

/// How long another's lock is waited for: a program that is just being started has our own for a moment, until it is another
/// program, and on a busy machine that is not at once.
const PATIENCE: Duration = Duration::from_secs(3);

impl<'a> Journal<'a> {
    /// Opens the target's journal to write, if it has one; it is made with the first entry. It is on the target itself, unless it
    /// is kept in the directory `elsewhere`. Refuses when another sickbay holds the target.
    pub fn open(target: &'a Target, elsewhere: Option<&'a Target>) -> Result<Journal<'a>, Error> {
        let store = elsewhere.unwrap_or(target);
        Journal::look(target, elsewhere).with_pen(writer_of(store)?, writer_of(target)?)
    }

    /// The target's journal, to look at.
    pub fn look(target: &'a Target, elsewhere: Option<&'a Target>) -> Journal<'a> {
        let homes = match elsewhere {
            Some(_) => vec![(PathBuf::from("/"), format!("sickbay-{}", identity(target)))],
            None => HOMES.iter().map(|(parent, name)| (PathBuf::from(parent), (*name).to_owned())).collect(),
        };
        Journal::in_one_of(homes, elsewhere.unwrap_or(target).root(), elsewhere.is_some())
    }

    /// Whether there is one on the target, or something in its place.
    pub fn is_on(target: &'a Target) -> bool {
        let journal = Journal::look(target, None);
        journal.home.is_some() || !journal.foreign.is_empty()
    }

    /// The journal in a directory of this machine that is about a disk as a whole (see [`super::held`]), to write.
    pub fn of_disk(record: &'a Record) -> Result<Journal<'a>, Error> {
        Journal::look_at_disk(record).with_pen(record.writer(), record.writer())
    }

    /// The same, to look at.
    pub fn look_at_disk(record: &'a Record) -> Journal<'a> {
        Journal::in_one_of(vec![(PathBuf::from("/"), "journal".to_owned())], record.root(), true)
    }

    /// `locked` writes what the journal is about.
    fn with_pen(mut self, writer: &'a Writer, locked: &Writer) -> Result<Journal<'a>, Error> {
        let until = Instant::now() + PATIENCE;
        let lock = loop {
            match locked.lock(Path::new("/")) {
                Ok(lock) => break lock,
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                Err(_) => return Err(Error::Refused(tr!("another sickbay is working on this target"))),
            }
        };
        self.pen = Some(Pen { writer, _lock: lock });
        Ok(self)
    }

    fn writer(&self) -> Result<&'a Writer, Error> {
        let pen = self.pen.as_ref().map(|pen| pen.writer);
        pen.ok_or_else(|| Error::Refused(tr!("the target was opened read-only")))
    }

    /// Whether it is kept in a directory that the user named, or on this machine, and not on the target.
    pub fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// Clears away what never counted: an entry that was begun and not committed when the power went, a journal that was made
    /// and not yet given its name.
    pub fn recover(&self) -> Result<(), Error> {
        for (parent, name) in &self.homes {
            self.adopt(parent, name)?;
        }
        let Some(home) = &self.home else { return Ok(()) };
        for id in self.ids()? {
            let dir = home.join(&id);
            if self.root.metadata(dir.join(ENTRY)).is_err() {
                self.remove_entry(&dir)?;
            }
        }
        Ok(())
    }

    /// The directories of entries, of those too that never counted.
    fn ids(&self) -> Result<Vec<String>, Error> {
        let Some(home) = &self.home else { return Ok(Vec::new()) };
        let all = self.root.read_dir(home)?.into_iter().filter(|entry| entry.kind == FileKind::Dir);
        let mut ids: Vec<String> =
            all.filter_map(|entry| entry.name.to_str().filter(|name| is_id(name)).map(str::to_owned)).collect();
        ids.sort_by_key(|id| id.parse::<u32>().unwrap_or(u32::MAX));
        Ok(ids)
    }

    /// Ids of the entries that began, oldest first.
    pub fn entries(&self) -> Result<Vec<String>, Error> {
        let Some(home) = &self.home else { return Ok(Vec::new()) };
        let began = |id: &String| self.root.metadata(home.join(id).join(ENTRY)).is_ok();
        Ok(self.ids()?.into_iter().filter(began).collect())
    }

    /// Reads an entry.
    pub fn read(&self, id: &str) -> Result<Entry, Error> {
        let path = self.file(id, ENTRY)?;
        let bytes = self.root.read_up_to(&path, ENTRY_LIMIT)?;
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
        Ok(self.root.read_up_to(self.kept_file(id, name)?, self.content_limit())?)
    }

    /// Whether content is kept under that name, and could be read.
    pub fn has(&self, id: &str, name: &str) -> Result<(), Error> {
        let (path, limit) = (self.kept_file(id, name)?, self.content_limit());
        let size = self.root.metadata(&path)?.size;
        if size > limit {
            return Err(Error::Refused(tr!(
                "{path} is too large: {size}, and at most {limit} is read",
                path,
                size,
                limit
            )));
        }
        Ok(())
    }

    /// A file as it was before the repair, with its other names.
    pub fn linked(&self, id: &str, name: &str) -> Result<PathBuf, Error> {
        let path = self.dir(id)?.join(name);
        match is_numbered(name, 'l') && self.root.metadata(&path)?.is_file() {
            true => Ok(path),
            false => Err(not_plain(&path)),
        }
    }

    fn kept_file(&self, id: &str, name: &str) -> Result<PathBuf, Error> {
        match is_numbered(name, 'b') {
            true => self.file(id, name),
            false => Err(Error::Refused(tr!("the journal entry is damaged: {name} is not one of its files", name))),
        }
    }

    /// A file of an entry that only we can have written.
    fn file(&self, id: &str, name: &str) -> Result<PathBuf, Error> {
        let path = self.dir(id)?.join(name);
        let found = self.root.metadata(&path)?;
        if !found.is_file() {
            return Err(not_plain(&path));
        }
        match why_not_ours(&found) {
            None => Ok(path),
            Some(why) => Err(Error::Refused(tr!("{path} is not used: {why}", path, why))),
        }
    }

    /// On the target itself memory must be enough to read it on any machine.
    fn content_limit(&self) -> u64 {
        if self.is_elsewhere { u64::MAX } else { CONTENT_LIMIT }
    }

    /// Begins an entry: gives its id. Nothing of it counts before [`Journal::commit`].
    pub fn begin(&mut self) -> Result<String, Error> {
        self.recover()?;
        let home = self.home()?;
        let last = self.ids()?.last().and_then(|id| id.parse::<u32>().ok()).unwrap_or(0);
        let id = format!("{:04}", last + 1);
        if let Err(error) = self.writer()?.make_dir(&home.join(&id), 0o700, (0, 0)) {
            let _ = self.abandon(&id);
            return Err(error.into());
        }
        Ok(id)
    }

    /// Keeps content in an entry that has begun.
    pub fn keep(&self, id: &str, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.dir(id)?.join(name);
        if content.len() as u64 > self.content_limit() {
            return Err(Error::Refused(tr!(
                "what was there is too large to be kept on the target; --journal DIR keeps it elsewhere"
            )));
        }
        Ok(self.writer()?.write_new(&path, content, 0o600)?)
    }

    /// Keeps what a checker of file systems said.
    pub fn keep_log(&self, id: &str, log: &[u8]) -> Result<(), Error> {
        Ok(self.writer()?.write_new(&self.dir(id)?.join(super::held::LOG), log, 0o600)?)
    }

    /// Keeps a file itself, where that can be: on the same file system.
    pub fn keep_link(&self, id: &str, name: &str, path: &Path) -> Result<bool, Error> {
        let new = self.dir(id)?.join(name);
        if self.is_elsewhere {
            return Ok(false);
        }
        match self.writer()?.hard_link(path, &new) {
            Ok(()) => Ok(true),
            // Another file system, one without such names, as many names as there can be.
            Err(error) if matches!(error.source.raw_os_error(), Some(EXDEV | EPERM | EMLINK | EOPNOTSUPP)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the first entry after `id` that remembers times of the directory `parent` these times instead, those that it had
    /// before both; whether there is one. Then that entry, and no longer `id`, is the one that gives them back.
    pub fn hand_on(&self, id: &str, parent: &Name, times: ParentTimes) -> Result<bool, Error> {
        for later in self.entries()?.into_iter().filter(|later| later.as_str() > id) {
            // What cannot be read, or is none of ours, gives nothing back.
            let Ok(mut entry) = self.read(&later) else { continue };
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
        let (dir, writer) = (self.dir(id)?, self.writer()?);
        let json = serde_json::to_vec(entry).map_err(|error| Error::Refused(Text::verbatim(error.to_string())))?;
        if json.len() as u64 > ENTRY_LIMIT || entry.ops.len() > MOST {
            return Err(Error::Refused(tr!("the repair changes more than one journal entry can hold")));
        }
        let temporary = dir.join(ENTRY_NEW);
        if self.root.metadata(&temporary).is_ok() {
            writer.remove(&temporary)?; // left over from a commit that was cut off
        }
        writer.write_new(&temporary, &json, 0o600)?;
        writer.sync_dir(&dir)?;
        writer.rename(&temporary, &dir.join(ENTRY))?;
        writer.sync_dir(&dir)?;
        if let Some(home) = &self.home {
            writer.sync_dir(home)?;
        }
        Ok(())
    }

    /// Marks the repair of an entry as made wholly.
    pub fn done(&self, id: &str) -> Result<(), Error> {
        let (dir, writer) = (self.dir(id)?, self.writer()?);
        writer.write_new(&dir.join(DONE), b"", 0o600)?;
        Ok(writer.sync_dir(&dir)?)
    }

    /// Says of an entry that it is being taken back: what is cut off from here on holds some of both states.
    pub fn reopen(&self, id: &str) -> Result<(), Error> {
        let (dir, writer) = (self.dir(id)?, self.writer()?);
        if self.is_done(id) {
            writer.remove(&dir.join(DONE))?;
        }
        Ok(())
    }

    /// Forgets an entry, and with the last one the journal.
    pub fn forget(&mut self, id: &str) -> Result<(), Error> {
        let (dir, writer) = (self.dir(id)?, self.writer()?);
        // Without its commit record an entry never began; `recover` clears the rest away if this is cut off.
        if self.root.metadata(dir.join(ENTRY)).is_ok() {
            writer.remove(&dir.join(ENTRY))?;
            writer.sync_dir(&dir)?;
        }
        self.remove_entry(&dir)?;
        if self.ids()?.is_empty() {
            self.remove_home()?;
        }
        Ok(())
    }

    /// Leaves nothing of an entry that was begun and for which no path was touched.
    pub fn abandon(&mut self, id: &str) -> Result<(), Error> {
        match &self.home {
            Some(home) if self.root.metadata(home.join(id)).is_ok() => self.forget(id),
            Some(_) if self.ids()?.is_empty() => self.remove_home(),
            _ => Ok(()),
        }
    }

    /// The directory of an entry.
    fn dir(&self, id: &str) -> Result<PathBuf, Error> {
        let none = || Error::Refused(tr!("the journal has no entry {id}", id));
        let dir = self.home.as_ref().filter(|_| is_id(id)).ok_or_else(none)?.join(id);
        let found = self.root.metadata(&dir).map_err(|_| none())?;
        match why_not_ours(&found) {
            None if found.is_dir() => Ok(dir),
            None => Err(none()),
            Some(why) => Err(Error::Refused(tr!("{path} is not used: {why}", path = dir, why))),
        }
    }

    /// Removes the directory of an entry. What we have not put there stays, and the directory with it.
    fn remove_entry(&self, dir: &Path) -> Result<(), Error> {
        if !self.root.metadata(dir)?.is_dir() {
            return Err(not_plain(dir));
        }
        for entry in self.root.read_dir(dir)? {
            let name = entry.name.to_str().unwrap_or_default();
            let is_ours = [ENTRY, ENTRY_NEW, DONE, super::held::LOG].contains(&name);
            if entry.kind == FileKind::File && (is_ours || is_numbered(name, 'b') || is_numbered(name, 'l')) {
                self.writer()?.remove(&dir.join(name))?;
            }
        }
        Ok(self.writer()?.remove(dir)?)
    }
}

/// `0001`: digits, as many as a number has.
fn is_id(name: &str) -> bool {
    (1..=9).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// `b0`, `l12`.
fn is_numbered(name: &str, letter: char) -> bool {
    name.strip_prefix(letter).is_some_and(is_id)
}

fn not_plain(path: &Path) -> Error {
    Error::Refused(tr!("{path} is not used: {why}", path, why = tr!("it is not what sickbay keeps there")))
}

/// What may be written; it was opened for that.
pub(crate) fn writer_of(target: &Target) -> Result<&Writer, Error> {
    target.writer().ok_or_else(|| Error::Refused(tr!("the target was opened read-only")))
}

// errno(3), as the kernel numbers them on every architecture that is built for.
const EPERM: i32 = 1;
const EXDEV: i32 = 18;
const EMLINK: i32 = 31;
const EOPNOTSUPP: i32 = 95;
