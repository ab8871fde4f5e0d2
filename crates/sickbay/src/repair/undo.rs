//! Takes repairs back, newest first.

use std::path::PathBuf;

use sickbay_target::{Target, Times, plain_value};

use super::apply::{
    Direction, Error, Workshop, boot_id, clear_flags, disk_bytes, kernel_value, network, perform, set_flags,
};
use super::held::is_made_of;
use super::journal::{Content, Entry, Journal, Node, Op, Pending, writer_of};
use super::trust::{effects, judge};
use super::verdict::share;
use crate::model::text::Text;
use crate::tr;

/// Whether files are restored that somebody has changed since the repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// They are; what was changed since is lost.
    Yes,
    /// They are not, and nothing else of the repair is.
    No,
}

/// An entry of a journal, as it is shown before anything is done.
#[derive(Debug)]
pub struct Listed {
    /// The number of the entry, as `undo` takes it: `0001`.
    pub id: String,
    /// What it says; `None` when it cannot be read.
    pub entry: Option<Entry>,
    /// Whether its repair was made wholly; else a power loss or a signal cut it off.
    pub done: bool,
    /// What taking it back does.
    pub effects: Vec<Text>,
    /// Why it will not be taken back, whatever is answered.
    pub refused: Option<Text>,
}

/// Entries of the target's journal, oldest first. Looks only.
pub fn entries(target: &Target, elsewhere: Option<&Target>) -> Result<Vec<Listed>, Error> {
    if target.refuse_repairs(PathBuf::new()).is_err() {
        return Ok(Vec::new());
    }
    let journal = Journal::look(target, elsewhere);
    Ok(journal.entries()?.into_iter().map(|id| listed(target, &journal, id)).collect())
}

fn listed(target: &Target, journal: &Journal<'_>, id: String) -> Listed {
    let done = journal.is_done(&id);
    match journal.read(&id) {
        Ok(entry) => {
            let (refused, effects) = (judge(target, journal, &id, &entry).err(), effects(target, &entry));
            Listed { id, entry: Some(entry), done, effects, refused: refused.map(|error| error.text()) }
        }
        Err(error) => Listed { id, entry: None, done, effects: Vec::new(), refused: Some(error.text()) },
    }
}

/// What is found in the place of the target's journal and is none of ours.
pub fn foreign(target: &Target, elsewhere: Option<&Target>) -> Vec<Text> {
    if target.refuse_repairs(PathBuf::new()).is_err() {
        Vec::new()
    } else {
        Journal::look(target, elsewhere).foreign().to_vec()
    }
}

/// Whether the target holds what a repair left that was cut off before it counted: [`undo`] clears it away. Looks only.
pub fn has_remains(target: &Target, elsewhere: Option<&Target>) -> bool {
    target.refuse_repairs(PathBuf::new()).is_ok() && Journal::look(target, elsewhere).has_remains()
}

/// What became of the entries that were to be taken back.
#[derive(Debug, Default)]
pub struct Undone {
    /// Taken back, with what the user should know of it.
    pub taken: Vec<(String, Entry, Vec<Text>)>,
    /// Left, and why.
    pub left: Vec<(String, Text)>,
}

/// Takes back the entries `ids`, or all of them, newest first, of the journal on the target or `elsewhere`. One that cannot be
/// taken back holds up only those that it was built on.
///
/// # Errors
/// When nothing can be done at all.
pub fn undo(
    target: &Target,
    donor: Option<&Target>,
    elsewhere: Option<&Target>,
    ids: &[String],
    force: Force,
) -> Result<Undone, Error> {
    let shop = Workshop { target, writer: writer_of(target)?, donor, confirm: 0 };
    let mut journal = Journal::open(target, elsewhere)?;
    journal.recover()?;
    let entries = journal.entries()?;
    if let Some(id) = ids.iter().find(|id| !entries.contains(id)) {
        return Err(Error::Refused(tr!("the journal has no entry {id}", id)));
    }
    // What is done to a view is only kept when it begins with the file system.
    if target.is_held() && !entries.is_empty() {
        return Err(Error::Refused(tr!("a file system of the target is damaged: repair it first with sickbay fix")));
    }
    let mut undone = Undone::default();
    let is_chosen = |id: &String| ids.is_empty() || ids.contains(id);
    // What is none of ours holds up nobody.
    let of_ours = |id: &String| {
        let entry = journal.read(id).ok().filter(|entry| judge(target, &journal, id, entry).is_ok())?;
        Some((id.clone(), touched(&entry)))
    };
    let not_chosen: Vec<_> = entries.iter().filter(|id| !is_chosen(id)).filter_map(of_ours).collect();
    let mut stuck: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for id in entries.into_iter().rev().filter(is_chosen) {
        let entry = journal.read(&id);
        let mine = entry.as_ref().map(touched).unwrap_or_default();
        let later = stuck.iter().find(|(_, paths)| paths.iter().any(|path| mine.contains(path)));
        let kept = not_chosen.iter().find(|(later, paths)| *later > id && share(paths, &mine));
        let result = match (entry, kept, later) {
            // Former states are whole: under a later repair of the same path none of them is right.
            (Ok(_), Some((later, _)), _) => Err(Error::Refused(tr!(
                "repair {later} came after {id} and changed the same: revert it first, or both together",
                later = later.as_str(),
                id = id.as_str()
            ))),
            (Ok(_), _, Some((later, _))) => Err(Error::Refused(tr!(
                "repair {later}, which came after it and changed the same, could not be reverted",
                later = later.as_str()
            ))),
            (Ok(entry), None, None) => take_back_noted(&shop, &mut journal, &id, force).map(|notes| (entry, notes)),
            (Err(error), ..) => Err(error),
        };
        match result {
            Ok((entry, notes)) => undone.taken.push((id, entry, notes)),
            Err(error) => {
                undone.left.push((id.clone(), error.text()));
                stuck.push((id, mine));
            }
        }
    }
    if journal.entries()?.is_empty() {
        journal.remove_home()?;
    }
    Ok(undone)
}

/// Entries that wait to be confirmed, with until when. Looks only.
pub fn pending(target: &Target, elsewhere: Option<&Target>) -> Vec<(String, Pending)> {
    let journal = Journal::look(target, elsewhere);
    let ids = journal.entries().unwrap_or_default();
    ids.into_iter().filter_map(|id| Some((id.clone(), journal.read(&id).ok()?.pending?))).collect()
}

/// Lets repairs that wait to be confirmed wait anew, from now on, or confirms them; gives them.
///
/// # Errors
/// When the journal cannot be written.
pub fn settle(target: &Target, elsewhere: Option<&Target>, confirmed: bool) -> Result<Vec<(String, Entry)>, Error> {
    let journal = Journal::open(target, elsewhere)?;
    let mut all = Vec::new();
    for id in journal.entries()? {
        let Ok(mut entry) = journal.read(&id) else { continue };
        let Some(pending) = entry.pending.take() else { continue };
        judge(target, &journal, &id, &entry)?;
        if !confirmed {
            entry.pending = Some(Pending::for_seconds(pending.seconds));
        }
        journal.commit(&id, &entry)?;
        all.push((id, entry));
    }
    Ok(all)
}

/// What an entry changes: paths, and names that are no paths for disks and kernel parameters.
pub(crate) fn touched(entry: &Entry) -> Vec<PathBuf> {
    let name = |op: &Op| match op {
        Op::Path { path, .. } => path.path(),
        Op::Kernel { name, .. } => PathBuf::from(format!("sysctl {name}")),
        Op::Network { what, .. } => PathBuf::from(format!("ip {what}")),
        Op::Disk { disk, .. } => PathBuf::from(format!("disk {disk}")),
    };
    entry.ops.iter().map(name).collect()
}

/// Restores every former state of an entry, then forgets the entry.
///
/// What somebody has changed since the repair is left, and with it all of the entry, unless forced.
pub(crate) fn take_back(shop: &Workshop<'_>, journal: &mut Journal<'_>, id: &str, force: Force) -> Result<(), Error> {
    take_back_noted(shop, journal, id, force).map(drop)
}

/// The same; gives what the user should know of it.
fn take_back_noted(shop: &Workshop<'_>, journal: &mut Journal<'_>, id: &str, force: Force) -> Result<Vec<Text>, Error> {
    let entry = journal.read(id)?;
    judge(shop.target, journal, id, &entry)?;
    let done = journal.is_done(id);
    if force == Force::No {
        for op in &entry.ops {
            refuse_if_changed_since(shop, journal, id, &entry, op, done)?;
        }
    }
    let mut notes = Vec::new();
    journal.reopen(id)?;
    let result = clear_flags(shop, &entry).and_then(|()| put_back(shop, journal, id, &entry, &mut notes));
    // Even when it is left they are as they were.
    let flags = set_flags(shop, &entry);
    if let Err(error) = result.and(flags) {
        // Where nothing of it was taken back, it stands as it stood.
        if done && entry.ops.iter().all(|op| refuse_if_changed_since(shop, journal, id, &entry, op, true).is_ok()) {
            journal.done(id)?;
        }
        return Err(error);
    }
    journal.forget(id)?;
    Ok(notes)
}

fn put_back(
    shop: &Workshop<'_>,
    journal: &Journal<'_>,
    id: &str,
    entry: &Entry,
    notes: &mut Vec<Text>,
) -> Result<(), Error> {
    let root = shop.target.root();
    for op in entry.ops.iter().rev() {
        match op {
            Op::Kernel { name, .. } if is_of_another_boot(shop.target, entry, op) => {
                notes.push(tr!("{key} was set for an earlier boot: the running kernel has its own value", key = name));
            }
            Op::Network { what, .. } if is_of_another_boot(shop.target, entry, op) => {
                notes.push(tr!("{key} was set for an earlier boot: the running kernel has its own value", key = what));
            }
            Op::Kernel { name, before, .. } if kernel_value(root, name).is_ok_and(|now| now == plain_value(before)) => {
            }
            _ => perform(shop, journal, id, op, Direction::Back)?,
        }
    }
    for (path, (atime, mtime)) in entry.parents.iter().rev() {
        // Where a later repair changed names in the same directory, its taking back gives the times.
        if journal.hand_on(id, path, (*atime, *mtime))? {
            continue;
        }
        let path = path.path();
        let times = Times { atime: *atime, mtime: *mtime };
        if root.stat(&path).is_ok_and(|found| (found.atime, found.mtime) != (times.atime, times.mtime)) {
            shop.writer.set_times(&path, times)?;
        }
    }
    Ok(())
}

/// Whether a kernel parameter was set in a kernel that does not run any more, whose values are gone with it.
fn is_of_another_boot(target: &Target, entry: &Entry, op: &Op) -> bool {
    let (Op::Kernel { boot_id: then, .. } | Op::Network { boot_id: then, .. }) = op else { return false };
    if target.running().is_err() {
        return true;
    }
    match (then, boot_id(target.root())) {
        (Some(then), Some(now)) => *then != now,
        // Version 0.1.0 did not keep it: then the time tells.
        (None, Some(_)) => {
            let made = entry.when.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
            target.booted().ok().zip(made).is_some_and(|(began, made)| made < began)
        }
        _ => false,
    }
}

/// Only contents count: modes and owners are restored without asking. Unless `done`, it holds some of both states.
fn refuse_if_changed_since(
    shop: &Workshop<'_>,
    journal: &Journal<'_>,
    id: &str,
    entry: &Entry,
    op: &Op,
    done: bool,
) -> Result<(), Error> {
    match op {
        Op::Path { path, .. } => {
            // Of several that change one path the last one counts, or, cut off, any.
            let mut ops = entry.ops.iter().rev().filter_map(|op| match op {
                Op::Path { path: other, before, after, .. } if other == path => Some((before, after)),
                _ => None,
            });
            let last = ops.next();
            let path = path.path();
            for (before, after) in last.into_iter().chain(ops.take_while(|_| !done)) {
                if holds(shop, journal, id, &path, after)? || (!done && holds(shop, journal, id, &path, before)?) {
                    return Ok(());
                }
            }
            // Version 0.1.0 wrote a file with several names where it was: cut off, it holds a mixture.
            let root = shop.target.root();
            if !done && root.metadata(&path).is_ok_and(|found| found.is_file() && found.nlink > 1) {
                return Ok(());
            }
            Err(Error::Refused(tr!(
                "{path} was changed after repair {id}; undo it with --force to lose that change",
                path,
                id
            )))
        }
        Op::Disk { disk, offset, before, after } => {
            let (before, after) = (journal.kept(id, before)?, journal.kept(id, after)?);
            // It may also be another disk, given in another order.
            let now = disk_bytes(shop.target, *disk, *offset, after.len())?;
            if now == after || now == before || (!done && is_made_of(&now, &before, &after)) {
                return Ok(());
            }
            Err(Error::Refused(tr!(
                "disk {disk} was changed after repair {id}; undo it with --force to lose that change",
                disk,
                id
            )))
        }
        Op::Network { what, namespace, .. } => {
            let here = network::namespace(shop.target.root());
            if is_of_another_boot(shop.target, entry, op) || *namespace == here {
                return Ok(());
            }
            Err(Error::Refused(tr!("{key} was set in another network namespace: undo it there", key = what)))
        }
        Op::Kernel { name, before, after, .. } => {
            if is_of_another_boot(shop.target, entry, op) {
                return Ok(());
            }
            let now = kernel_value(shop.target.root(), name)?;
            if now == plain_value(after) || now == plain_value(before) {
                return Ok(());
            }
            Err(Error::Refused(tr!(
                "{key} was changed after repair {id}; undo it with --force to lose that change",
                key = name,
                id
            )))
        }
    }
}

/// Whether a path has the content of that node.
fn holds(
    shop: &Workshop<'_>,
    journal: &Journal<'_>,
    id: &str,
    path: &std::path::Path,
    node: &Node,
) -> Result<bool, Error> {
    let root = shop.target.root();
    Ok(match node {
        Node::File { content: Content::Kept(name), .. } => {
            let kept = journal.kept(id, name)?;
            let same_size = root.metadata(path).is_ok_and(|found| found.is_file() && found.size == kept.len() as u64);
            same_size && root.read_up_to(path, kept.len() as u64)? == kept
        }
        Node::File { content: Content::Donor(size), .. } => {
            root.metadata(path).ok().map(|metadata| metadata.size) == Some(*size)
        }
        Node::Link { target, .. } => root.read_link(path).ok() == Some(target.path()),
        Node::Absent => root.metadata(path).is_err(),
        Node::Dir { .. } | Node::Attributes { .. } => root.metadata(path).is_ok(),
    })
}
