//! Takes repairs back, newest first.

use sickbay_target::Times;

use super::apply::{Direction, Error, Workshop, disk_bytes, perform};
use super::journal::{Content, Journal, Node, Op};
use crate::tr;

/// Whether files are restored that somebody has changed since the repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// They are; what was changed since is lost.
    Yes,
    /// They are not, and nothing else of the repair is.
    No,
}

/// Restores every former state of an entry, then forgets the entry.
///
/// An entry whose repair was cut off is restored whatever the files hold; one that was finished only if they hold what
/// the repair wrote, unless forced.
pub(crate) fn take_back(shop: &Workshop<'_>, journal: &mut Journal<'_>, id: &str, force: Force) -> Result<(), Error> {
    let entry = journal.read(id)?;
    if force == Force::No && journal.is_done(id) {
        for op in &entry.ops {
            refuse_if_changed_since(shop, journal, id, op)?;
        }
    }
    for op in entry.ops.iter().rev() {
        perform(shop, journal, id, op, Direction::Back)?;
    }
    for (path, (atime, mtime)) in entry.parents.iter().rev() {
        // Where a later repair changed names in the same directory, its taking back gives the times.
        if journal.hand_on(id, path, (*atime, *mtime))? {
            continue;
        }
        let path = path.path();
        if shop.target.root().stat(&path).is_ok() {
            shop.writer.set_times(&path, Times { atime: *atime, mtime: *mtime })?;
        }
    }
    journal.forget(id)
}

/// Only contents count: modes and owners are restored without asking.
fn refuse_if_changed_since(shop: &Workshop<'_>, journal: &Journal<'_>, id: &str, op: &Op) -> Result<(), Error> {
    let root = shop.target.root();
    let (path, after) = match op {
        Op::Path { path, after, .. } => (path.path(), after),
        Op::Disk { disk, offset, after, .. } => {
            let after = journal.kept(id, after)?;
            // It may also be another disk, given in another order.
            if disk_bytes(shop.target, *disk, *offset, after.len())? != after {
                return Err(Error::Refused(tr!(
                    "disk {disk} was changed after repair {id}; undo it with --force to lose that change",
                    disk,
                    id
                )));
            }
            return Ok(());
        }
        Op::Sysctl { .. } => return Ok(()),
    };
    let changed = match after {
        Node::File { content: Content::Kept(name), .. } => {
            root.read_up_to(&path, u64::MAX).ok() != Some(journal.kept(id, name)?)
        }
        Node::File { content: Content::Donor(size), .. } => {
            root.metadata(&path).ok().map(|metadata| metadata.size) != Some(*size)
        }
        Node::Link { target, .. } => root.read_link(&path).ok() != Some(target.path()),
        Node::Absent => root.metadata(&path).is_ok(),
        Node::Dir { .. } | Node::Attributes { .. } => root.metadata(&path).is_err(),
    };
    if changed {
        return Err(Error::Refused(tr!(
            "{path} was changed after repair {id}; undo it with --force to lose that change",
            path,
            id
        )));
    }
    Ok(())
}
