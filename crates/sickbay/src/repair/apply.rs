//! Carries out changes: the only place that writes to a target.
//!
//! Every path operation has one meaning, "this path becomes this node", and can be repeated. A new content goes into a
//! file beside the old one and is renamed over it, so a reader (or a power loss) sees the one or the other.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sickbay_target::{
    Disk, FileKind, Flags, Inside, ReadError, Reason, Root, Target, Times, WriteError, Writer, kernel_path, plain_value,
};

use super::journal::{Attrs, Content, Entry, Journal, Name, Node, Op, flag_letters, flags_of};
use super::plan::Step;
use crate::mend::esp::onto_disk;
use crate::mend::rebuild::objection;
use crate::model::repair::{Change, MADE, Rebuild, Repair, Risk, Wanted};
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

/// What a file system may need for itself besides what a repair writes: blocks of its own trees and directories.
const SPARE_BLOCKS: u64 = 16;

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
fn remember_flags(root: &Root, path: &Path, entry: &mut Entry) -> Result<(), Error> {
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
                Op::Kernel { .. } | Op::Disk { .. } => false,
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

/// A change, resolved: which path becomes what.
enum Work {
    Path { path: PathBuf, kind: Touch, after: New },
    Kernel { name: String, before: String, after: String },
    Disk { disk: usize, offset: u64, before: Vec<u8>, after: Vec<u8> },
}

impl Work {
    fn path(&self) -> Option<&Path> {
        match self {
            Work::Path { path, .. } => Some(path),
            Work::Kernel { .. } | Work::Disk { .. } => None,
        }
    }
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
    let stale = |path: &Path| Error::Refused(tr!("{path} has changed since it was checked", path));
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
            let attributes = pending_attributes(root, work, path)?;
            push(work, path, Touch::All, New::File { content: after.clone(), attributes });
        }
        Change::Create { path, content, mode, owner } => {
            if root.metadata(path).is_ok_and(|found| found.kind != FileKind::Symlink) {
                return Err(Error::Refused(tr!("{path} already exists", path)));
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
                return Err(Error::Refused(tr!("{path} already exists", path)));
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
            return Err(Error::Refused(tr!("a file system is repaired by itself, not together with anything else")));
        }
        Change::Kernel { name, before, after } => {
            if kernel_value(root, name)? != plain_value(before) {
                return Err(Error::Refused(tr!("{key} has changed since it was checked", key = name)));
            }
            work.push(Work::Kernel { name: name.clone(), before: before.clone(), after: after.clone() });
        }
        Change::WriteDisk { disk, offset, before, after } => {
            if before.len() != after.len() {
                return Err(Error::Refused(tr!("the boot code is not the same size as what it replaces")));
            }
            if disk_bytes(shop.target, *disk, *offset, before.len())? != *before {
                return Err(Error::Refused(tr!("disk {disk} has changed since it was checked", disk)));
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
                "{program} of the target did not create {path}: {said}",
                program,
                path,
                said = said()
            )));
        };
        if index == 0
            && let Some(why) = objection(rebuild, &content)
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
    block: u64,
    bytes: u64,
    inodes: u64,
}

/// Refuses before the first write when a file system of the target has not the room.
fn check_room(root: &Root, journal: &Journal<'_>, work: &[Work]) -> Result<(), Error> {
    let (store, home) = journal.place();
    let mut rooms: HashMap<u64, Room<'_>> = HashMap::new();
    // For each of `sizes` one file.
    fn need<'a>(rooms: &mut HashMap<u64, Room<'a>>, root: &'a Root, at: &Path, sizes: &[u64]) {
        // The nearest directory that is there: what is above may be made by the repair too.
        let Some(place) = at.ancestors().find(|dir| root.stat(dir).is_ok_and(|found| found.is_dir())) else { return };
        let Ok(found) = root.stat(place) else { return };
        let fresh = || {
            let block = root.statvfs(place).map_or(4096, |usage| usage.block.max(512));
            Room { root, place: place.to_owned(), block, bytes: SPARE_BLOCKS * block, inodes: 4 }
        };
        let room = rooms.entry(found.dev).or_insert_with(fresh);
        room.bytes += sizes.iter().map(|size| size.div_ceil(room.block) * room.block).sum::<u64>();
        room.inodes += sizes.len() as u64;
    }
    // The journal, its mark, the entry, what it says.
    let mut said = 4096;
    for item in work {
        said += 1024;
        match item {
            Work::Path { path, kind: Touch::All, after } => {
                // Old and new content are kept in the journal, and the new file stands beside the old one for a moment.
                let old = root.metadata(path).map_or(0, |metadata| metadata.size);
                let (new, kept) = match after {
                    New::File { content, .. } => (content.len() as u64, content.len() as u64),
                    New::Node(Node::File { content: Content::Donor(size), .. }) => (*size, 0),
                    New::Node(_) => (1, 0),
                };
                // What goes away needs no room where it was.
                if !matches!(after, New::Node(Node::Absent)) {
                    need(&mut rooms, root, path.parent().unwrap_or(path), &[new]);
                }
                need(&mut rooms, store, &home, &[old, kept]);
            }
            Work::Disk { before, after, .. } => {
                need(&mut rooms, store, &home, &[before.len() as u64, after.len() as u64]);
            }
            Work::Path { .. } | Work::Kernel { .. } => {}
        }
    }
    need(&mut rooms, store, &home, &[1, 1, 1, said, 0]);
    for room in rooms.values() {
        let usage = room.root.statvfs(&room.place)?;
        let (place, needed) = (room.place.as_path(), room.bytes.div_ceil(1024));
        let why = if usage.for_root() < room.bytes {
            let available = usage.for_root() / 1024;
            tr!(
                "the file system of {place} has {available} KiB free, the repair needs {needed} KiB",
                place,
                available,
                needed
            )
        // File systems without a fixed number of inodes (btrfs) say 0 of 0.
        } else if usage.inodes > 0 && usage.inodes_free < room.inodes {
            let (available, needed) = (usage.inodes_free, room.inodes);
            tr!(
                "the file system of {place} has {available} inodes free, the repair needs {needed}",
                place,
                available,
                needed
            )
        } else {
            continue;
        };
        return Err(Error::Refused(match journal.is_elsewhere() {
            true => why,
            false => tr!("{why}; --journal DIR keeps the previous contents elsewhere", why),
        }));
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
        Op::Path { path, before, after, link } => {
            let path = path.path();
            only_on_the_target(shop.target, &path)?;
            if forward {
                return become_node(shop, journal, id, &path, after);
            }
            clear_left_over(shop, id, &path)?;
            // So that what was never done, and what cannot be done, is not in the way of what can.
            if is_node(shop.target.root(), journal, id, &path, before)? {
                let _ = before
                    .attributes()
                    .map(|was| shop.writer.set_times(&path, Times { atime: was.atime, mtime: was.mtime }));
                return Ok(());
            }
            if let Some(link) = link
                && come_back(shop, journal, id, &path, before, link)?
            {
                return Ok(());
            }
            become_node(shop, journal, id, &path, before)
        }
        Op::Kernel { name, before, after, .. } => {
            Ok(shop.writer.write_kernel(name, if forward { after } else { before })?)
        }
        Op::Disk { disk, offset, before, after } => {
            let bytes = journal.kept(id, if forward { after } else { before })?;
            if disk_bytes(shop.target, *disk, *offset, bytes.len())? == bytes {
                return Ok(());
            }
            Ok(shop.target.write_disk(*disk, *offset, &bytes)?)
        }
    }
}

/// Clears away what a run that was cut off was about to put in the place of `path`.
fn clear_left_over(shop: &Workshop<'_>, id: &str, path: &Path) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        let left_over = parent.join(temporary_name(path, id));
        let found = shop.target.root().metadata(&left_over).ok();
        if found.is_some_and(|found| matches!(found.kind, FileKind::File | FileKind::Symlink)) {
            shop.writer.remove(&left_over)?;
        }
    }
    Ok(())
}

/// Whether `path` is that node already, with everything about it.
fn is_node(root: &Root, journal: &Journal<'_>, id: &str, path: &Path, node: &Node) -> Result<bool, Error> {
    let here = match root.metadata(path) {
        Ok(here) => here,
        Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => {
            return Ok(*node == Node::Absent);
        }
        Err(error) => return Err(error.into()),
    };
    // Who has read it since has changed its access time, and nothing else.
    let same = |attributes: &Attrs| {
        Ok::<bool, Error>(Attrs { atime: attributes.atime, ..Attrs::read(root, path)? } == *attributes)
    };
    Ok(match node {
        Node::File { content: Content::Kept(name), attributes } if here.is_file() => {
            same(attributes)? && root.read_up_to(path, u64::MAX)? == journal.kept(id, name)?
        }
        Node::Dir { attributes } if here.is_dir() => same(attributes)?,
        Node::Link { target, attributes } if here.kind == FileKind::Symlink => {
            same(attributes)? && root.read_link(path)? == target.path()
        }
        Node::Attributes { attributes } => same(attributes)?,
        _ => false,
    })
}

/// Gives a file that has other names the one back that it had here; whether it is as it was, so that it could be.
fn come_back(
    shop: &Workshop<'_>,
    journal: &Journal<'_>,
    id: &str,
    path: &Path,
    before: &Node,
    link: &str,
) -> Result<bool, Error> {
    let Ok(former) = journal.linked(id, link) else { return Ok(false) };
    if !is_node(shop.target.root(), journal, id, &former, before)? {
        return Ok(false);
    }
    Ok(shop.writer.rename(&former, path).is_ok())
}

fn become_node(shop: &Workshop<'_>, journal: &Journal<'_>, id: &str, path: &Path, node: &Node) -> Result<(), Error> {
    let root = shop.target.root();
    let writer = shop.writer;
    let here = root.metadata(path).ok();
    let temporary = temporary_name(path, id);
    clear_left_over(shop, id, path)?;
    if let Some(kind) = here.map(|found| found.kind)
        && !matches!(kind, FileKind::File | FileKind::Symlink | FileKind::Dir)
        && !matches!(node, Node::Attributes { .. })
    {
        return Err(Error::Refused(tr!("{path} is a {kind}, which is not replaced", path, kind = kind.to_string())));
    }
    match node {
        Node::Absent => {
            if here.is_some() {
                writer.remove(path)?;
            }
        }
        Node::File { content, attributes } => {
            let content = match content {
                Content::Kept(name) => journal.kept(id, name)?,
                Content::Donor(_) => {
                    let donor =
                        shop.donor.ok_or_else(|| Error::Refused(tr!("there is no donor to copy {path} from", path)))?;
                    donor.root().read_up_to(path, u64::MAX)?
                }
            };
            writer.replace(path, &content, &attributes.to_target(), &temporary)?;
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
