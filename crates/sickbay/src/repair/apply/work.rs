//! What a repair wants done, resolved against the target: which path becomes what.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sickbay_formats::network::piece::Piece;
use sickbay_formats::selinux::would_relabel;
use sickbay_formats::ssh_key::{self, KeyFiles};
use sickbay_target::{Disk, FileKind, Inside, Root, Target, plain_value};

use super::{Error, Workshop, kernel_value};
use crate::mend::rebuild::objection;
use crate::model::repair::{Change, MADE, Rebuild, Wanted};
use crate::model::text::Text;
use crate::repair::journal::{Attrs, Content, Name, Node};
use crate::tr;

/// A change, resolved: which path becomes what.
pub(super) enum Work {
    Path { path: PathBuf, kind: Touch, after: New },
    Kernel { name: String, before: String, after: String },
    Network { what: String, piece: Piece, there: bool },
    Disk { disk: usize, offset: u64, before: Vec<u8>, after: Vec<u8> },
}

impl Work {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Work::Path { path, .. } => Some(path),
            Work::Kernel { .. } | Work::Network { .. } | Work::Disk { .. } => None,
        }
    }
}

/// Whether a path's content or only its attributes are touched; decides how much of it must be kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    All,
    Attributes,
}

pub(super) enum New {
    Node(Node),
    File { content: Vec<u8>, attributes: Attrs },
}

pub(super) fn expand(shop: &Workshop<'_>, change: &Change, work: &mut Vec<Work>) -> Result<(), Error> {
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
        Change::HostKey { path, mode, owner } => {
            let made = new_host_key()?;
            let mut public = path.clone().into_os_string();
            public.push(".pub");
            let halves = [(path.clone(), made.private, *mode, *owner), (public.into(), made.public, 0o644, (0, 0))];
            for (path, content, mode, owner) in halves {
                // Where the path is a link, the link stays.
                let path = root.canonical(&path).unwrap_or(path);
                let attributes = fresh(root, &path, mode, owner)?;
                push(work, &path, Touch::All, New::File { content, attributes });
            }
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
        Change::Network { what, piece, there } => {
            if super::network::is_there(shop.target, piece)? == *there {
                return Err(Error::Refused(tr!("{key} has changed since it was checked", key = what)));
            }
            work.push(Work::Network { what: what.clone(), piece: piece.clone(), there: *there });
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

/// A key that nobody else has.
fn new_host_key() -> Result<KeyFiles, Error> {
    let failed = |error: std::io::Error| Error::Refused(Text::verbatim(error.to_string()));
    let seed = sickbay_target::random::<32>().map_err(failed)?;
    let check = sickbay_target::random::<4>().map_err(failed)?;
    Ok(ssh_key::ed25519(seed, check, ""))
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

/// The attribute that has a label.
const SELINUX: &str = "security.selinux";

/// How long a program of the target may take: packing hundreds of megabytes on a slow machine takes minutes.
const PROGRAM: Duration = Duration::from_secs(900);

/// Runs a program of the target on a copy; what it makes is what becomes of the paths.
pub(super) fn run(shop: &Workshop<'_>, rebuild: &Rebuild, work: &mut Vec<Work>) -> Result<(), Error> {
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
        if rebuild.wanted == Wanted::Labels {
            relabel(root, &content, work)?;
            continue;
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

/// So many labels are set at once; more paths has no system.
const LABELS: usize = 2_000_000;

/// Sets the labels of a list that setfiles(8) wrote. What the list names and is not there was made in the copy.
fn relabel(root: &Root, list: &[u8], work: &mut Vec<Work>) -> Result<(), Error> {
    let name = Name(SELINUX.into());
    for (path, label) in would_relabel(list).take(LABELS) {
        let path = Path::new(OsStr::from_bytes(path));
        if root.metadata(path).is_err() {
            continue;
        }
        let mut attributes = Attrs::read(root, path)?;
        attributes.xattrs.retain(|(known, _)| *known != name);
        // The kernel writes them with the NUL of C.
        attributes.xattrs.push((Name(SELINUX.into()), Name([label, b"\0"].concat())));
        work.push(Work::Path {
            path: path.to_owned(),
            kind: Touch::Attributes,
            after: New::Node(Node::Attributes { attributes }),
        });
    }
    Ok(())
}

/// The attributes that `path` has once the work so far is done, so that a mode and an owner can both be set.
pub(super) fn pending_attributes(root: &Root, work: &[Work], path: &Path) -> Result<Attrs, Error> {
    let pending = work.iter().rev().find_map(|item| match item {
        Work::Path { path: other, after: New::Node(Node::Attributes { attributes }), .. } if other == path => {
            Some(attributes.clone())
        }
        _ => None,
    });
    pending.map_or_else(|| Attrs::read(root, path), Ok)
}

/// Copies one path and, for a directory, what is missing below it.
pub(super) fn copy(root: &Root, donor: &Root, path: &Path, work: &mut Vec<Work>) -> Result<(), Error> {
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
pub(super) fn fresh(root: &Root, path: &Path, mode: u32, owner: (u32, u32)) -> Result<Attrs, Error> {
    let now = jiff::Timestamp::now();
    let time = (now.as_second(), u32::try_from(now.subsec_nanosecond()).unwrap_or(0));
    let parent = path.parent().unwrap_or(Path::new("/"));
    let label = match root.canonical(parent) {
        Ok(parent) => root.xattrs(&parent)?.into_iter().find(|(name, _)| name == SELINUX),
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
