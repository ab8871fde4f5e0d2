//! This path becomes that node: forwards and backwards the same operation, which can be repeated.

use std::path::Path;

use sickbay_target::{FileKind, Reason, Root, Times};

use super::work::disk_bytes;
use super::{Error, Workshop, only_on_the_target};
use crate::repair::journal::{Attrs, Content, Journal, Node, Op};
use crate::tr;

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
        Op::Network { what, piece, there, .. } => super::network::make(shop, what, piece, *there == forward, direction),
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
