//! What a journal that was found on a target may make this program do.
//!
//! Who has the target may have written the journal: a directory that was unpacked, an image that somebody sent. So an entry is
//! judged whole before anything of it is done, and if one thing in it is not what a repair of ours does, none of it is.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use sickbay_formats::network::piece::{self, Piece};
use sickbay_target::{FileKind, Reason, Target, kernel_path};

use super::apply::{Error, only_on_the_target};
use super::journal::{Attrs, Content, Entry, Journal, Node, Op};
use crate::model::repair::ip_command;
use crate::model::text::Text;
use crate::tr;

/// The set-user-ID and set-group-ID bits.
const PRIVILEGED: u32 = 0o6000;

/// The extended attribute that gives capabilities to a program.
const CAPABILITY: &[u8] = b"security.capability";

/// As long a path or link as the kernel takes.
const PATH_MAX: usize = 4096;

/// Refuses an entry that a repair of ours cannot have left.
pub(crate) fn judge(target: &Target, journal: &Journal<'_>, id: &str, entry: &Entry) -> Result<(), Error> {
    if entry.version != 1 {
        return refuse(tr!("it is from another version of sickbay ({version})", version = entry.version));
    }
    for op in &entry.ops {
        match op {
            Op::Path { path, before, after, link } => {
                let path = &path.path();
                is_plain(path)?;
                on_the_target(target, journal, path)?;
                for node in [before, after] {
                    can_be(journal, id, path, node)?;
                }
                gives_no_rights(target, journal, id, path, (before, after))?;
                if let Some(link) = link
                    && let Ok(former) = journal.linked(id, link)
                {
                    only_on_the_target(target, &former)?;
                }
            }
            Op::Kernel { name, before, after, .. } => {
                let plain = |text: &str| text.len() < 1024 && !text.bytes().any(|byte| byte == 0);
                let is_key = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:*".contains(&byte));
                if !is_key || kernel_path(name).is_none() || !plain(before) || !plain(after) {
                    return refuse(tr!("{key} is not a kernel parameter", key = name));
                }
            }
            Op::Network { what, piece, .. } => {
                let is_ours = Piece::from_hex(piece).is_some() && what.len() < 200 && !what.contains(char::is_control);
                if !is_ours {
                    return refuse(tr!("{key} is not a part of this machine's network", key = what));
                }
            }
            Op::Disk { disk, before, after, .. } => {
                if !target.owns_disk(*disk) {
                    return refuse(tr!("it writes to a disk, and the target was not opened as a disk"));
                }
                journal.has(id, before)?;
                journal.has(id, after)?;
            }
        }
    }
    for path in entry.parents.iter().map(|(path, _)| path).chain(entry.flags.iter().map(|(path, _)| path)) {
        is_plain(&path.path())?;
        on_the_target(target, journal, &path.path())?;
    }
    Ok(())
}

fn refuse<T>(why: Text) -> Result<T, Error> {
    Err(Error::Refused(why))
}

/// A path from the root on, written in the one way in which it can be written.
fn is_plain(path: &Path) -> Result<(), Error> {
    let again: std::path::PathBuf = path.components().collect();
    let is_one = path.is_absolute()
        && path.components().skip(1).all(|part| matches!(part, Component::Normal(_)))
        && again.as_os_str() == path.as_os_str()
        && path.as_os_str().len() < PATH_MAX
        && !path.as_os_str().as_bytes().contains(&0);
    match is_one {
        true => Ok(()),
        false => refuse(tr!("{path} is not a path that a repair may touch", path)),
    }
}

fn on_the_target(target: &Target, journal: &Journal<'_>, path: &Path) -> Result<(), Error> {
    if !journal.is_elsewhere() && path.starts_with(journal.place().1) {
        return refuse(tr!("it changes the journal itself"));
    }
    match target.root().metadata(path).map(|found| found.kind) {
        Ok(kind) if !matches!(kind, FileKind::File | FileKind::Dir | FileKind::Symlink) => {
            return refuse(tr!("{path} is a {kind}, which is not replaced", path, kind = kind.to_string()));
        }
        Err(error) if !matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => return Err(error.into()),
        _ => {}
    }
    only_on_the_target(target, path)
}

/// Whether a path can become that.
fn can_be(journal: &Journal<'_>, id: &str, path: &Path, node: &Node) -> Result<(), Error> {
    if path == Path::new("/") && !matches!(node, Node::Attributes { .. } | Node::Dir { .. }) {
        return refuse(tr!("{path} is not a path that a repair may touch", path));
    }
    match node {
        Node::File { content: Content::Kept(name), .. } => journal.has(id, name)?,
        Node::Link { target, .. } if target.0.is_empty() || target.0.len() >= PATH_MAX || target.0.contains(&0) => {
            return refuse(tr!("{path} would be a link that cannot be created", path));
        }
        _ => {}
    }
    match node.attributes() {
        Some(attributes) if attributes.mode > 0o7777 => {
            refuse(tr!("{path} would get a mode that does not exist", path))
        }
        _ => Ok(()),
    }
}

/// Refuses to give a program rights that it does not have now: what runs as another user than who starts it is made by
/// nobody but packages. An exception is a repair that took them away, which must be undone like any other: it changed nothing
/// but that, and nobody has touched the file since.
fn gives_no_rights(
    target: &Target,
    journal: &Journal<'_>,
    id: &str,
    path: &Path,
    (before, after): (&Node, &Node),
) -> Result<(), Error> {
    let (Some(wanted), false) = (before.attributes(), matches!(before, Node::Dir { .. } | Node::Link { .. })) else {
        return Ok(());
    };
    let has_capability = |attributes: &Attrs| {
        attributes.xattrs.iter().find(|(name, _)| name.0 == CAPABILITY).map(|(_, value)| value.0.clone())
    };
    if wanted.mode & PRIVILEGED == 0 && has_capability(wanted).is_none() {
        return Ok(());
    }
    let found = target.root().metadata(path).ok();
    if found.is_some_and(|found| found.is_dir()) {
        return Ok(());
    }
    let now = found.and_then(|_| Attrs::read(target.root(), path).ok());
    let keeps = |now: &Attrs| {
        let capability = has_capability(wanted);
        let same_owner = (now.uid, now.gid) == (wanted.uid, wanted.gid);
        let no_new_bit = wanted.mode & PRIVILEGED & !now.mode == 0;
        same_owner && no_new_bit && (capability.is_none() || capability == has_capability(now))
    };
    let only_took_them = |now: &Attrs| {
        let untouched = |made: &Attrs| Attrs { atime: made.atime, ..now.clone() } == *made;
        let same_content = match (before, after) {
            (Node::Attributes { .. }, Node::Attributes { .. }) => true,
            (Node::File { content: Content::Kept(old), .. }, Node::File { content: Content::Kept(new), .. }) => {
                matches!((journal.kept(id, old), journal.kept(id, new)), (Ok(old), Ok(new)) if old == new)
            }
            _ => false,
        };
        same_content && after.attributes().is_some_and(untouched)
    };
    match now {
        Some(now) if keeps(&now) || only_took_them(&now) => Ok(()),
        _ => refuse(tr!(
            "{path} would run with the rights of a user other than the one who starts it, which it does not do now",
            path
        )),
    }
}

/// What taking an entry back does, a line for each thing.
pub(crate) fn effects(target: &Target, entry: &Entry) -> Vec<Text> {
    let line = |op: &Op| match op {
        Op::Path { path, before, .. } => {
            let path = path.path();
            match before {
                Node::Absent => tr!("remove {path}", path),
                Node::File { .. } => tr!("restore {path} with its former content", path),
                Node::Dir { .. } => tr!("restore the directory {path}", path),
                Node::Link { target, .. } => tr!("link {path} -> {target}", path, target = target.path()),
                Node::Attributes { attributes } => tr!(
                    "restore the former attributes of {path}: mode {mode}, owner {owner}",
                    path,
                    mode = format!("{:04o}", attributes.mode),
                    owner = format!("{}:{}", attributes.uid, attributes.gid)
                ),
            }
        }
        Op::Kernel { name, before, after, .. } => {
            tr!("sysctl {key}: {before} -> {after}", key = name, before = after, after = before)
        }
        Op::Network { what, piece, there, .. } => {
            let kind = Piece::from_hex(piece).map_or(piece::Kind::Route, |piece| piece.kind);
            tr!("until the next boot: {command}", command = ip_command(kind, what, !there))
        }
        Op::Disk { disk, offset, .. } => {
            let name = target.disks.get(*disk).map_or_else(|| disk.to_string(), |disk| disk.name.clone());
            tr!("write the former bytes at offset {offset} of disk {disk}", offset, disk = name)
        }
    };
    entry.ops.iter().rev().map(line).collect()
}
