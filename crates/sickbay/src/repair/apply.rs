//! Carries out changes: the only place that writes to a target.
//!
//! Every path operation has one meaning, "this path becomes this node", and can be repeated. A new content goes into a
//! file beside the old one and is renamed over it, so a reader (or a power loss) sees the one or the other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sickbay_target::{Disk, FileKind, Inside, ReadError, Reason, Root, Target, Times, WriteError, Writer};

use super::journal::{Attrs, Content, Entry, Journal, Name, Node, Op};
use super::plan::Step;
use super::rebuild::{MADE, Rebuild, Wanted};
use crate::facts::esp::onto_disk;
use crate::repair::Change;
use crate::text::{Lang, Text};
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

/// Room that is left free on the target's file system besides what a repair needs.
const RESERVE: u64 = 1 << 20;

/// What stands for the id of an entry while the disks are held: they get one when they are written.
pub const HELD: &str = "disk";

/// What operations need at hand.
pub(crate) struct Workshop<'a> {
    pub(crate) target: &'a Target,
    pub(crate) writer: &'a Writer,
    pub(crate) donor: Option<&'a Target>,
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
            "the file system of {volume} must be mended first",
            volume = volume.name.as_str()
        )));
    }
    let root = shop.target.root();
    let mut work = Vec::new();
    for change in &onto_disk(shop.target, &step.repair.changes).map_err(Error::Refused)? {
        expand(shop, change, &mut work)?;
    }
    check_room(root, &journal.place(), &work)?;

    let id = journal.begin()?;
    let mut entry = Entry {
        check: step.check.to_owned(),
        donor: shop.donor.map(|donor| donor.name.clone()),
        ..Entry::new(step.repair.title.render(Lang::En))
    };
    let mut kept = 0;
    let mut keep = |journal: &Journal<'_>, content: &[u8]| -> Result<String, Error> {
        let name = format!("b{kept}");
        kept += 1;
        journal.keep(&id, &name, content)?;
        Ok(name)
    };
    for item in &work {
        match item {
            Work::Path { path, kind, after } => {
                let before = before(root, path, *kind, &mut |content| keep(journal, content))?;
                let after = match after {
                    New::Node(node) => node.clone(),
                    New::File { content, attributes } => {
                        Node::File { content: Content::Kept(keep(journal, content)?), attributes: attributes.clone() }
                    }
                };
                remember_parent(root, path, &mut entry)?;
                entry.ops.push(Op::Path { path: Name::of(path), before, after });
            }
            Work::Sysctl { key, before, after } => {
                entry.ops.push(Op::Sysctl { key: key.clone(), before: before.clone(), after: after.clone() });
            }
            Work::Disk { disk, offset, before, after } => {
                let (before, after) = (keep(journal, before)?, keep(journal, after)?);
                entry.ops.push(Op::Disk { disk: *disk, offset: *offset, before, after });
            }
        }
    }
    journal.commit(&id, &entry)?;

    for op in &entry.ops {
        if let Err(error) = perform(shop, journal, &id, op, Direction::Forward) {
            super::undo::take_back(shop, journal, &id, super::undo::Force::Yes)?;
            return Err(error);
        }
    }
    restore_kept_times(shop, &entry)?;
    journal.done(&id)?;
    Ok(id)
}

/// A change, resolved: which path becomes what.
enum Work {
    Path { path: PathBuf, kind: Touch, after: New },
    Sysctl { key: String, before: String, after: String },
    Disk { disk: usize, offset: u64, before: Vec<u8>, after: Vec<u8> },
}

/// Whether a path's content or only its attributes are touched; decides how much of it must be kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    All,
    Attributes,
}

enum New {
    Node(Node),
    File { content: Vec<u8>, attributes: Attrs },
}

fn expand(shop: &Workshop<'_>, change: &Change, work: &mut Vec<Work>) -> Result<(), Error> {
    let root = shop.target.root();
    let stale = |path: &Path| Error::Refused(tr!("{path} has changed since it was looked at", path));
    let push = |work: &mut Vec<Work>, path: &Path, kind: Touch, after: New| {
        work.push(Work::Path { path: path.to_owned(), kind, after });
    };
    match change {
        Change::Edit { path, before, after } => {
            // The link itself stays: what it points at inside the target is edited.
            let path = &root.canonical(path)?;
            if root.read_up_to(path, u64::MAX)? != *before {
                return Err(stale(path));
            }
            push(work, path, Touch::All, New::File { content: after.clone(), attributes: Attrs::read(root, path)? });
        }
        Change::Create { path, content, mode, owner } => {
            if root.metadata(path).is_ok_and(|found| found.kind != FileKind::Symlink) {
                return Err(Error::Refused(tr!("{path} is there already", path)));
            }
            let attributes = fresh(root, path, *mode, *owner)?;
            push(work, path, Touch::All, New::File { content: content.clone(), attributes });
        }
        Change::MakeDir { path, mode, owner } => {
            push(work, path, Touch::All, New::Node(Node::Dir { attributes: fresh(root, path, *mode, *owner)? }));
        }
        Change::Link { path, target } => {
            // Only what dangles or is empty gives way to a link.
            let in_the_way = match root.metadata(path).map(|found| found.kind) {
                Ok(FileKind::Symlink) | Err(_) => false,
                Ok(FileKind::Dir) => root.read_dir(path).map_or(true, |entries| !entries.is_empty()),
                Ok(_) => true,
            };
            if in_the_way {
                return Err(Error::Refused(tr!("{path} is there already", path)));
            }
            let attributes = fresh(root, path, 0o777, (0, 0))?;
            push(work, path, Touch::All, New::Node(Node::Link { target: Name::of(target), attributes }));
        }
        Change::Remove { path } => push(work, path, Touch::All, New::Node(Node::Absent)),
        Change::Mode { path, before, after } => {
            if root.metadata(path)?.mode != *before {
                return Err(stale(path));
            }
            let mut attributes = pending_attributes(root, work, path)?;
            attributes.mode = *after;
            push(work, path, Touch::Attributes, New::Node(Node::Attributes { attributes }));
        }
        Change::Owner { path, before, after } => {
            let metadata = root.metadata(path)?;
            if (metadata.uid, metadata.gid) != *before {
                return Err(stale(path));
            }
            let mut attributes = pending_attributes(root, work, path)?;
            (attributes.uid, attributes.gid) = *after;
            push(work, path, Touch::Attributes, New::Node(Node::Attributes { attributes }));
        }
        Change::CopyFromDonor { path } => {
            let donor = shop.donor.ok_or_else(|| Error::Refused(tr!("there is no donor to copy {path} from", path)))?;
            copy(root, donor.root(), path, work)?;
        }
        Change::Rebuild(rebuild) => run(shop, rebuild, work)?,
        Change::CheckFileSystem { .. } => {
            return Err(Error::Refused(tr!("a file system is mended by itself, not together with anything else")));
        }
        Change::Sysctl { key, before, after } => {
            work.push(Work::Sysctl { key: key.clone(), before: before.clone(), after: after.clone() });
        }
        Change::WriteDisk { disk, offset, before, after } => {
            if before.len() != after.len() {
                return Err(Error::Refused(tr!("boot code of another size than what it replaces")));
            }
            if disk_bytes(shop.target, *disk, *offset, before.len())? != *before {
                return Err(Error::Refused(tr!("disk {disk} has changed since it was looked at", disk)));
            }
            work.push(Work::Disk { disk: *disk, offset: *offset, before: before.clone(), after: after.clone() });
        }
    }
    Ok(())
}

/// Writes pieces of a disk of which nothing is mounted.
pub(crate) fn write_pieces<'p>(disk: &Disk, pieces: impl IntoIterator<Item = (u64, &'p [u8])>) -> Result<(), Error> {
    let cannot = |error: std::io::Error| Error::Refused(Text::verbatim(format!("{}: {error}", disk.name)));
    disk.write_pieces(pieces).map_err(cannot)
}

/// What stands on one of the target's disks.
pub(crate) fn disk_bytes(target: &Target, disk: usize, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let found = target.disks.get(disk).ok_or_else(|| Error::Refused(tr!("the target has no disk {disk}", disk)))?;
    let cannot = |error: std::io::Error| Error::Refused(Text::verbatim(format!("{}: {error}", found.name)));
    found.read_at(offset, length).map_err(cannot)
}

/// How long a program of the target may take: packing hundreds of megabytes on a slow machine takes minutes.
const PROGRAM: Duration = Duration::from_secs(900);

/// Runs a program of the target on a copy; what it makes is what becomes of the paths.
fn run(shop: &Workshop<'_>, rebuild: &Rebuild, work: &mut Vec<Work>) -> Result<(), Error> {
    let root = shop.target.root();
    let mut outputs = vec![PathBuf::from(MADE)];
    outputs.extend(rebuild.besides.clone());
    let paths = std::iter::once(&rebuild.path).chain(&rebuild.besides);
    let made = shop
        .target
        .run_inside(&Inside {
            program: rebuild.program.clone(),
            arguments: rebuild.arguments.clone(),
            lent: rebuild.lent.clone(),
            outputs,
            deadline: PROGRAM,
        })
        .map_err(|error| Error::Refused(Text::verbatim(error.to_string())))?;
    let said = || {
        let all = [made.output.stdout.as_slice(), made.output.stderr.as_slice()].concat();
        let all = String::from_utf8_lossy(&all).into_owned();
        let lines: Vec<&str> = all.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join(" | ")
    };
    let program = rebuild.program.as_str();
    if !made.output.success() {
        return Err(Error::Refused(tr!("{program} of the target failed: {said}", program, said = said())));
    }
    for (index, (path, content)) in paths.zip(made.files).enumerate() {
        let Some(content) = content.filter(|content| !content.is_empty()) else {
            // Which indices there are depends on depmod's release.
            if index > 0 && rebuild.wanted == Wanted::Modules {
                continue;
            }
            return Err(Error::Refused(tr!(
                "{program} of the target did not make {path}: {said}",
                program,
                path,
                said = said()
            )));
        };
        if index == 0
            && let Some(why) = rebuild.objection(&content)
        {
            return Err(Error::Refused(tr!("{why}; {program} said: {said}", why, program, said = said())));
        }
        // Where the path is a link, the link stays.
        let path = &root.canonical(path).unwrap_or_else(|_| path.clone());
        let (mode, owner) = match root.metadata(path) {
            Ok(found) => (found.mode, (found.uid, found.gid)),
            Err(_) => (rebuild.mode, (0, 0)),
        };
        let attributes = fresh(root, path, mode, owner)?;
        work.push(Work::Path { path: path.clone(), kind: Touch::All, after: New::File { content, attributes } });
    }
    Ok(())
}

/// The attributes that `path` has once the work so far is done, so that a mode and an owner can both be set.
fn pending_attributes(root: &Root, work: &[Work], path: &Path) -> Result<Attrs, Error> {
    let pending = work.iter().rev().find_map(|item| match item {
        Work::Path { path: other, after: New::Node(Node::Attributes { attributes }), .. } if other == path => {
            Some(attributes.clone())
        }
        _ => None,
    });
    pending.map_or_else(|| Attrs::read(root, path), Ok)
}

/// Copies one path and, for a directory, what is missing below it.
fn copy(root: &Root, donor: &Root, path: &Path, work: &mut Vec<Work>) -> Result<(), Error> {
    let metadata = donor.metadata(path)?;
    let attributes = Attrs::read(donor, path)?;
    let here = root.metadata(path).ok();
    let after = match metadata.kind {
        FileKind::File => Node::File { content: Content::Donor(metadata.size), attributes },
        FileKind::Symlink => Node::Link { target: Name::of(&donor.read_link(path)?), attributes },
        FileKind::Dir => Node::Dir { attributes },
        // Sockets, devices and FIFOs are no part of a package.
        _ => return Ok(()),
    };
    let is_dir = metadata.kind == FileKind::Dir;
    let dir_is_there = is_dir && here.as_ref().is_some_and(|found| found.is_dir());
    if !dir_is_there {
        work.push(Work::Path { path: path.to_owned(), kind: Touch::All, after: New::Node(after) });
    }
    if is_dir {
        for entry in donor.read_dir(path)? {
            let below = path.join(&entry.name);
            let missing = root.metadata(&below).is_err();
            if missing || entry.kind == FileKind::Dir {
                copy(root, donor, &below, work)?;
            }
        }
    }
    Ok(())
}

/// Attributes of something new: now, and with the SELinux label that the kernel would give it, its directory's.
fn fresh(root: &Root, path: &Path, mode: u32, owner: (u32, u32)) -> Result<Attrs, Error> {
    let now = jiff::Timestamp::now();
    let time = (now.as_second(), u32::try_from(now.subsec_nanosecond()).unwrap_or(0));
    let parent = path.parent().unwrap_or(Path::new("/"));
    let label = match root.canonical(parent) {
        Ok(parent) => root.xattrs(&parent)?.into_iter().find(|(name, _)| name == "security.selinux"),
        Err(_) => None,
    };
    Ok(Attrs {
        mode,
        uid: owner.0,
        gid: owner.1,
        atime: time,
        mtime: time,
        xattrs: label
            .into_iter()
            .map(|(name, value)| (Name(std::os::unix::ffi::OsStringExt::into_vec(name)), Name(value)))
            .collect(),
    })
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

/// What a repair needs of one file system.
struct Room<'a> {
    /// Through which it is asked.
    root: &'a Root,
    /// A directory on it.
    place: PathBuf,
    bytes: u64,
    inodes: u64,
}

/// Refuses before the first write when a file system of the target has not the room.
fn check_room(root: &Root, (store, journal): &(&Root, PathBuf), work: &[Work]) -> Result<(), Error> {
    let mut rooms: HashMap<u64, Room<'_>> = HashMap::new();
    fn need<'a>(rooms: &mut HashMap<u64, Room<'a>>, root: &'a Root, at: &Path, bytes: u64, inodes: u64) {
        // The nearest directory that is there: what is above may be made by the repair too.
        let Some(place) = at.ancestors().find(|dir| root.stat(dir).is_ok_and(|found| found.is_dir())) else { return };
        let Ok(found) = root.stat(place) else { return };
        let fresh = || Room { root, place: place.to_owned(), bytes: RESERVE, inodes: 16 };
        let room = rooms.entry(found.dev).or_insert_with(fresh);
        room.bytes += bytes;
        room.inodes += inodes;
    }
    for item in work {
        if let Work::Path { path, kind: Touch::All, after } = item {
            // Old and new content are kept in the journal, and the new file stands beside the old one for a moment.
            let old = root.metadata(path).map_or(0, |metadata| metadata.size);
            let (new, kept) = match after {
                New::File { content, .. } => (content.len() as u64, content.len() as u64),
                New::Node(Node::File { content: Content::Donor(size), .. }) => (*size, 0),
                New::Node(_) => (4096, 0),
            };
            // What goes away needs no room where it was.
            if !matches!(after, New::Node(Node::Absent)) {
                need(&mut rooms, root, path.parent().unwrap_or(path), new + 4096, 1);
            }
            need(&mut rooms, store, journal, old + kept, 2);
        }
    }
    need(&mut rooms, store, journal, 0, 0);
    for room in rooms.values() {
        let usage = room.root.statvfs(&room.place)?;
        let place = room.place.as_path();
        if usage.for_root() < room.bytes {
            return Err(Error::Refused(tr!(
                "the file system of {place} has {available} KiB free, the repair needs {needed} KiB; --journal DIR keeps the former contents elsewhere",
                place,
                available = usage.for_root() / 1024,
                needed = room.bytes / 1024
            )));
        }
        // File systems without a fixed number of inodes (btrfs) say 0 of 0.
        if usage.inodes > 0 && usage.inodes_free < room.inodes {
            return Err(Error::Refused(tr!(
                "the file system of {place} has {available} inodes free, the repair needs {needed}; --journal DIR keeps the former contents elsewhere",
                place,
                available = usage.inodes_free,
                needed = room.inodes
            )));
        }
    }
    Ok(())
}

/// Which side of an operation is made true.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The new state.
    Forward,
    /// The former state.
    Back,
}

/// Makes one side of an operation true. Can be repeated.
pub(crate) fn perform(
    shop: &Workshop<'_>,
    journal: &Journal<'_>,
    id: &str,
    op: &Op,
    direction: Direction,
) -> Result<(), Error> {
    let forward = direction == Direction::Forward;
    match op {
        Op::Path { path, before, after } => {
            become_node(shop, journal, id, &path.path(), if forward { after } else { before })
        }
        Op::Sysctl { key, before, after } => Ok(shop.writer.write_sysctl(key, if forward { after } else { before })?),
        Op::Disk { disk, offset, before, after } => {
            let bytes = journal.kept(id, if forward { after } else { before })?;
            Ok(shop.target.write_disk(*disk, *offset, &bytes)?)
        }
    }
}

fn become_node(shop: &Workshop<'_>, journal: &Journal<'_>, id: &str, path: &Path, node: &Node) -> Result<(), Error> {
    let root = shop.target.root();
    let writer = shop.writer;
    let here = root.metadata(path).ok();
    let temporary = temporary_name(path, id);
    // Left over from a run that was cut off.
    if let Some(parent) = path.parent() {
        let left_over = parent.join(&temporary);
        if root.metadata(&left_over).is_ok() {
            writer.remove(&left_over)?;
        }
    }
    match node {
        Node::Absent => {
            if here.is_some() {
                writer.remove(path)?;
            }
        }
        Node::File { content, attributes } => {
            let bytes;
            let content = match content {
                Content::Kept(name) => {
                    bytes = journal.kept(id, name)?;
                    bytes
                }
                Content::Donor(_) => {
                    let donor =
                        shop.donor.ok_or_else(|| Error::Refused(tr!("there is no donor to copy {path} from", path)))?;
                    donor.root().read_up_to(path, u64::MAX)?
                }
            };
            match &here {
                // A file with several names stays one file: it is written in place. The journal covers a power loss.
                Some(found) if found.is_file() && found.nlink > 1 => {
                    writer.overwrite(path, &content, &attributes.to_target())?;
                }
                _ => writer.replace(path, &content, &attributes.to_target(), &temporary)?,
            }
        }
        Node::Dir { attributes } => {
            if !here.is_some_and(|found| found.is_dir()) {
                if here.is_some() {
                    writer.remove(path)?;
                }
                writer.make_dir(path, attributes.mode, (attributes.uid, attributes.gid))?;
            }
            writer.set_attributes(path, &attributes.to_target())?;
        }
        Node::Link { target, attributes } => {
            if here.is_some_and(|found| found.is_dir()) {
                writer.remove(path)?;
            }
            writer.link(path, &target.path(), &attributes.to_target(), &temporary)?;
        }
        Node::Attributes { attributes } => writer.set_attributes(path, &attributes.to_target())?,
    }
    Ok(())
}

/// The name beside `path` under which its new content is written first. Known beforehand, so that it can be cleared away.
fn temporary_name(path: &Path, id: &str) -> String {
    let name: String = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let short: String = name.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    format!(".{short}.sickbay-{id}")
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
