//! Carries out changes: the only place that writes to a target.
//!
//! Every path operation has one meaning, "this path becomes this node", and can be repeated. A new content goes into a
//! file beside the old one and is renamed over it, so a reader (or a power loss) sees the one or the other.

mod flags;
pub(crate) mod network;
mod node;
mod room;
mod work;

pub use flags::mind_flags;
pub(crate) use flags::{clear_flags, set_flags};
pub(crate) use node::{Direction, perform};
pub(crate) use work::{disk_bytes, write_pieces};

use std::path::{Path, PathBuf};

use sickbay_target::{FileKind, ReadError, Reason, Root, Target, Times, WriteError, Writer, kernel_path, plain_value};

use flags::remember_flags;
use room::check_room;
use work::{New, Touch, Work, expand};

use super::journal::{Attrs, Content, Entry, Journal, Name, Node, Op, Pending};
use super::plan::Step;
use crate::mend::esp::onto_disk;
use crate::model::repair::Change;
use crate::model::text::{Lang, Text};
use crate::tr;

/// Why a change was not made or not taken back.
#[derive(Debug)]
pub enum Error {
    /// Reading failed.
    Read(ReadError),
    /// Writing failed.
    Write(WriteError),
    /// It would not have been right.
    Refused(Text),
}

impl Error {
    /// For a report.
    pub fn text(&self) -> Text {
        match self {
            Error::Read(error) => Text::verbatim(error.to_string()),
            Error::Write(error) => Text::verbatim(error.to_string()),
            Error::Refused(why) => why.clone(),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        Error::Read(error)
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Error {
        Error::Write(error)
    }
}

/// What stands for the id of an entry while the disks are held: they get one when they are written.
pub const HELD: &str = "disk";

/// What operations need at hand.
pub(crate) struct Workshop<'a> {
    pub(crate) target: &'a Target,
    pub(crate) writer: &'a Writer,
    pub(crate) donor: Option<&'a Target>,
    /// For so many seconds repairs of the network wait to be confirmed; 0 where they do not.
    pub(crate) confirm: u32,
}

/// Makes one repair: journal first, then the changes. Gives the id of the journal entry.
///
/// On an error everything that was changed is as it was before, or the error of taking it back is given.
pub(crate) fn apply(shop: &Workshop<'_>, journal: &mut Journal<'_>, step: &Step) -> Result<String, Error> {
    if let [Change::CheckFileSystem { volume, .. }] = step.repair.changes.as_slice() {
        shop.target.accept(*volume);
        return Ok(HELD.to_owned());
    }
    if let Some(volume) = shop.target.not_accepted() {
        return Err(Error::Refused(tr!(
            "the file system of {volume} must be repaired first",
            volume = volume.name.as_str()
        )));
    }
    let root = shop.target.root();
    let mut work = Vec::new();
    for change in &onto_disk(shop.target, &step.repair.changes).map_err(Error::Refused)? {
        expand(shop, change, &mut work)?;
    }
    part_from_other_names(root, &mut work)?;
    for path in work.iter().filter_map(Work::path) {
        only_on_the_target(shop.target, path)?;
    }
    not_onto_what_was_cut_off(shop.target, journal, &work)?;
    check_room(root, journal, &work)?;

    let id = journal.begin()?;
    let begun = prepare(shop, journal, &id, step, &work).and_then(|entry| {
        journal.commit(&id, &entry)?;
        Ok(entry)
    });
    let entry = match begun {
        Ok(entry) => entry,
        // No path was touched. What cannot be cleared away now never counts.
        Err(error) => {
            let _ = journal.abandon(&id);
            return Err(error);
        }
    };
    if let Err(error) = make(shop, journal, &id, &entry) {
        return match super::undo::take_back(shop, journal, &id, super::undo::Force::Yes) {
            Ok(()) => Err(error),
            Err(other) => Err(Error::Refused(tr!(
                "{why}; and what had been done of it could not be reverted ({id}): {other}",
                why = error.text(),
                id = id.as_str(),
                other = other.text()
            ))),
        };
    }
    Ok(id)
}

/// Everything that an entry says, with what it keeps.
fn prepare(shop: &Workshop<'_>, journal: &Journal<'_>, id: &str, step: &Step, work: &[Work]) -> Result<Entry, Error> {
    let root = shop.target.root();
    let mut entry = Entry {
        check: step.check.to_owned(),
        donor: shop.donor.map(|donor| donor.name.clone()),
        pending: (shop.confirm > 0 && step.is_of_network()).then(|| Pending::for_seconds(shop.confirm)),
        ..Entry::new(step.repair.title.render(Lang::En))
    };
    let mut kept = 0;
    let mut keep = |content: &[u8]| -> Result<String, Error> {
        let name = format!("b{kept}");
        kept += 1;
        journal.keep(id, &name, content)?;
        Ok(name)
    };
    let mut linked = 0;
    for item in work {
        match item {
            Work::Path { path, kind, after } => {
                let before = before(root, path, *kind, &mut keep)?;
                let has_others = matches!(before, Node::File { .. }) && root.metadata(path)?.nlink > 1;
                let name = format!("l{linked}");
                let link = if has_others && journal.keep_link(id, &name, path)? { Some(name) } else { None };
                linked += usize::from(link.is_some());
                let after = match after {
                    New::Node(node) => node.clone(),
                    New::File { content, attributes } => {
                        Node::File { content: Content::Kept(keep(content)?), attributes: attributes.clone() }
                    }
                };
                remember_parent(root, path, &mut entry)?;
                remember_flags(root, path, &mut entry)?;
                entry.ops.push(Op::Path { path: Name::of(path), before, after, link });
            }
            Work::Kernel { name, before, after } => {
                let (name, before, after) = (name.clone(), before.clone(), after.clone());
                entry.ops.push(Op::Kernel { name, before, after, boot_id: boot_id(root) });
            }
            Work::Network { what, piece, there } => entry.ops.push(Op::Network {
                what: what.clone(),
                piece: piece.hex(),
                there: *there,
                boot_id: boot_id(root),
                namespace: network::namespace(root),
            }),
            Work::Disk { disk, offset, before, after } => {
                let (before, after) = (keep(before)?, keep(after)?);
                entry.ops.push(Op::Disk { disk: *disk, offset: *offset, before, after });
            }
        }
    }
    Ok(entry)
}

/// Does what an entry says.
fn make(shop: &Workshop<'_>, journal: &Journal<'_>, id: &str, entry: &Entry) -> Result<(), Error> {
    clear_flags(shop, entry)?;
    for op in &entry.ops {
        perform(shop, journal, id, op, Direction::Forward)?;
    }
    restore_kept_times(shop, entry)?;
    set_flags(shop, entry)?;
    journal.done(id)
}

/// The boot of the kernel that runs the target; `None` where it does not run.
pub(crate) fn boot_id(root: &Root) -> Option<String> {
    let bytes = root.read("/proc/sys/kernel/random/boot_id").ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// A value of the running kernel, in the form in which two are compared.
pub(crate) fn kernel_value(root: &Root, name: &str) -> Result<String, Error> {
    let path = kernel_path(name).ok_or_else(|| Error::Refused(tr!("{key} is not a kernel parameter", key = name)))?;
    Ok(plain_value(&String::from_utf8_lossy(&root.read(&path)?)))
}

/// A file with several names: the others may be older backups, which share what did not change. They keep theirs, so that a change of
/// the attributes alone makes a new file too.
fn part_from_other_names(root: &Root, work: &mut [Work]) -> Result<(), Error> {
    let mut parted: Vec<PathBuf> = Vec::new();
    for item in work {
        let Work::Path { path, kind, after } = item else { continue };
        let has_others = || root.metadata(&*path).is_ok_and(|found| found.is_file() && found.nlink > 1);
        if let New::Node(Node::Attributes { attributes }) = &*after
            && !parted.contains(path)
            && has_others()
        {
            *after = New::File { content: root.read_up_to(&*path, u64::MAX)?, attributes: attributes.clone() };
            *kind = Touch::All;
        }
        if *kind == Touch::All && has_others() {
            parted.push(path.clone());
        }
    }
    Ok(())
}

/// Refuses what a mount brings below a directory that is the target: it may be the helper's own.
pub(crate) fn only_on_the_target(target: &Target, path: &Path) -> Result<(), Error> {
    match target.owns(path)? {
        true => Ok(()),
        false => Err(Error::Refused(tr!("{path} is on a mount that is not the target's own; it is left alone", path))),
    }
}

/// Refuses what builds on a repair that was cut off and is not taken back: its former states would be lost.
fn not_onto_what_was_cut_off(target: &Target, journal: &Journal<'_>, work: &[Work]) -> Result<(), Error> {
    for id in journal.entries()?.into_iter().filter(|id| !journal.is_done(id)) {
        // What is none of ours holds up nobody.
        let Ok(entry) = journal.read(&id) else { continue };
        if super::trust::judge(target, journal, &id, &entry).is_err() {
            continue;
        }
        for path in work.iter().filter_map(Work::path) {
            let is_built_on = |op: &Op| match op {
                // What is put into a directory that goes keeps it from going.
                Op::Path { path: known, before: Node::Absent, .. } => path.starts_with(known.path()),
                Op::Path { path: known, .. } => path == known.path(),
                Op::Kernel { .. } | Op::Network { .. } | Op::Disk { .. } => false,
            };
            if entry.ops.iter().any(is_built_on) {
                let id = id.as_str();
                return Err(Error::Refused(tr!(
                    "repair {id}, which was interrupted, must be reverted first: it changed {path}",
                    id,
                    path
                )));
            }
        }
    }
    Ok(())
}

fn before(
    root: &Root,
    path: &Path,
    kind: Touch,
    keep: &mut dyn FnMut(&[u8]) -> Result<String, Error>,
) -> Result<Node, Error> {
    let metadata = match root.metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => return Ok(Node::Absent),
        Err(error) => return Err(error.into()),
    };
    let attributes = Attrs::read(root, path)?;
    Ok(match metadata.kind {
        _ if kind == Touch::Attributes => Node::Attributes { attributes },
        FileKind::File => Node::File { content: Content::Kept(keep(&root.read_up_to(path, u64::MAX)?)?), attributes },
        FileKind::Symlink => Node::Link { target: Name::of(&root.read_link(path)?), attributes },
        FileKind::Dir => Node::Dir { attributes },
        other => {
            return Err(Error::Refused(tr!(
                "{path} is a {kind}, which is not replaced",
                path,
                kind = other.to_string()
            )));
        }
    })
}

fn remember_parent(root: &Root, path: &Path, entry: &mut Entry) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = Name::of(parent);
    if entry.parents.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    // A parent that this very entry makes needs no times.
    if let Ok(metadata) = root.stat(parent) {
        entry.parents.push((name, (metadata.atime, metadata.mtime)));
    }
    Ok(())
}

/// Copied directories get their times once their content is there.
fn restore_kept_times(shop: &Workshop<'_>, entry: &Entry) -> Result<(), Error> {
    for op in entry.ops.iter().rev() {
        if let Op::Path { path, after: Node::Dir { attributes }, .. } = op {
            shop.writer.set_times(&path.path(), Times { atime: attributes.atime, mtime: attributes.mtime })?;
        }
    }
    Ok(())
}
