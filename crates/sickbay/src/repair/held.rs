//! What a session did on a view of the disks, written to the disks themselves, and taken back from there.
//!
//! A checker of file systems changes what the journal of the target lies on. So the session works on views of the disks
//! ([`Target::is_held`]), and nothing reaches them before its end. Then what was on the disk is kept on this machine
//! ([`Record`]) in the form of a journal entry, and only then is the disk written: a run that is cut off before that has
//! done nothing, and one that is cut off in between is put back by the next.

use std::path::{Path, PathBuf};

use sickbay_target::{Disk, Extent, Record, Target};

use super::apply::{Error, write_pieces};
use super::journal::{Entry, Journal, Piece};
use super::undo::Force;
use crate::model::text::{Lang, Text};
use crate::tr;

/// Files of an entry: what was on the disk, what is, and what the checkers said.
const BEFORE: &str = "b0";
const AFTER: &str = "b1";
pub(crate) const LOG: &str = "checker.log";

/// An entry that was made: its id, and the directory of this machine in which it is.
pub type Kept = (String, PathBuf);

/// Writes what was done on the views of `target` to its disks; gives what is kept of each that was changed.
pub fn write_out(target: Target) -> Result<Vec<Kept>, Error> {
    let accepted: Vec<_> = target
        .examined()
        .iter()
        .filter(|examined| target.is_accepted(examined.volume))
        .filter_map(|examined| Some((target.volumes.as_ref().ok()?.get(examined.volume)?.clone(), examined.clone())))
        .collect();
    let cannot = |error: std::io::Error| Error::Refused(Text::verbatim(error.to_string()));
    let disks = target
        .release()
        .map_err(|error| Error::Refused(tr!("nothing was written to the disks: {error}", error = error.to_string())))?;
    let mut all = Vec::new();
    for (index, mut disk) in disks.into_iter().enumerate() {
        let changes = disk.let_go().map_err(cannot)?;
        let mine: Vec<_> = accepted.iter().filter(|(volume, _)| volume.disk == index).collect();
        if !changes.is_empty() {
            let names: Vec<&str> = mine.iter().map(|(volume, _)| volume.name.as_str()).collect();
            let names = names.join(", ");
            let title =
                tr!("file systems repaired ({volumes}), with everything that was repaired after that", volumes = names);
            let entry = Entry {
                check: "file-system-damaged".to_owned(),
                pieces: changes.iter().map(|extent| (extent.offset, extent.after.len() as u64)).collect(),
                ..Entry::new(title.render(Lang::En))
            };
            let log: String = mine.iter().map(|(volume, seen)| format!("== {}\n{}", volume.name, seen.log)).collect();

            all.push(write(&disk, &changes, &entry, &log)?);
        }
        disk.close().map_err(cannot)?;
    }
    Ok(all)
}

/// Keeps what is on a disk, and writes it. On an error the disk is as it was.
pub fn write(disk: &Disk, changes: &[Extent], entry: &Entry, log: &str) -> Result<Kept, Error> {
    let join = |part: fn(&Extent) -> &Vec<u8>| -> Vec<u8> {
        changes.iter().flat_map(|extent| part(extent).iter().copied()).collect()
    };
    let record = Record::make(disk).map_err(|error| Error::Refused(Text::verbatim(error.to_string())))?;
    let path = record.path().to_owned();
    let result = Journal::of_disk(&record).and_then(|mut journal| {
        let id = journal.begin()?;
        let keep = || -> Result<(), Error> {
            journal.keep(&id, BEFORE, &join(|extent| &extent.before))?;
            journal.keep(&id, AFTER, &join(|extent| &extent.after))?;
            journal.keep_log(&id, log.as_bytes())?;
            journal.commit(&id, entry)
        };
        if let Err(error) = keep() {
            let _ = journal.abandon(&id);
            return Err(error);
        }
        let after = changes.iter().map(|extent| (extent.offset, extent.after.as_slice()));
        if let Err(error) = write_pieces(disk, after).and_then(|()| journal.done(&id)) {
            write_pieces(disk, changes.iter().map(|extent| (extent.offset, extent.before.as_slice())))?;
            journal.forget(&id)?;
            return Err(error);
        }
        Ok(id)
    });
    match result {
        Ok(id) => Ok((format!("disk-{id}"), path)),
        Err(error) => {
            record.tidy();
            Err(error)
        }
    }
}

/// What is to be done with what is kept of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// Only what was cut off.
    Unfinished,
    /// The entries with these ids (`disk-0001`); all when there are none.
    Named(&'a [String]),
}

/// What became of an entry.
#[derive(Debug)]
pub struct TakenBack {
    /// The number of the entry, as `undo` takes it: `disk-0001`.
    pub id: String,
    /// The entry.
    pub entry: Entry,
    /// Why it was left, if it was.
    pub left: Option<Text>,
}

/// Puts back what was on a disk before a session changed it as a whole, newest first.
pub fn take_back(path: &Path, which: Which<'_>, force: Force) -> Result<Vec<TakenBack>, Error> {
    let refused = |error: sickbay_target::OpenError| Error::Refused(Text::verbatim(error.to_string()));
    let mut all = Vec::new();
    for record in Record::find(path).map_err(refused)? {
        let mut journal = Journal::of_disk(&record)?;
        journal.recover()?;
        let mut disk: Option<Disk> = None;
        let mut is_blocked = false;
        for id in journal.entries()?.into_iter().rev() {
            let (name, done) = (format!("disk-{id}"), journal.is_done(&id));
            let is_wanted = match which {
                Which::Unfinished => !done,
                Which::Named(ids) => !done || ids.is_empty() || ids.contains(&name),
            };
            if !is_wanted {
                continue;
            }
            let entry = journal.read(&id)?;
            let disk = match &mut disk {
                Some(disk) => disk,
                none => none.insert(Disk::to_restore(path).map_err(refused)?),
            };
            let before = journal.kept(&id, BEFORE)?;
            let left = match compare(disk, &journal, &id, &entry)? {
                _ if is_blocked => Some(tr!("what came after it could not be reverted")),
                Found::Ours => None,
                Found::Changed if record.is_certain() && force == Force::Yes => None,
                Found::Changed if record.is_certain() => Some(tr!(
                    "the disk was changed after {id}, most likely by booting from it; undo it with --force to lose that change, or remove {place}",
                    id = name.as_str(),
                    place = record.path()
                )),
                // Nothing says that it is this disk, and it does not look like it.
                Found::Changed | Found::Other => Some(tr!(
                    "what is kept in {place} is from another disk, or from an earlier state of this one",
                    place = record.path()
                )),
            };
            is_blocked |= left.is_some();
            if left.is_none() {
                journal.reopen(&id)?;
                write_pieces(disk, pieces(&entry.pieces, &before))?;
                journal.forget(&id)?;
            }
            all.push(TakenBack { id: name, entry, left });
        }
        if let Some(disk) = disk {
            disk.close().map_err(|error| Error::Refused(Text::verbatim(error.to_string())))?;
        }
        drop(journal);
        record.tidy();
    }
    Ok(all)
}

/// What is on a disk, seen from an entry.
enum Found {
    /// Every piece is as it was before or after.
    Ours,
    /// Some are.
    Changed,
    /// None is, or there is no such place.
    Other,
}

fn compare(disk: &Disk, journal: &Journal<'_>, id: &str, entry: &Entry) -> Result<Found, Error> {
    let (before, after) = (journal.kept(id, BEFORE)?, journal.kept(id, AFTER)?);
    let total = entry.pieces.iter().try_fold(0_u64, |sum, (_, length)| sum.checked_add(*length));
    if total != Some(before.len() as u64) || before.len() != after.len() {
        return Ok(Found::Other);
    }
    let (mut ours, mut others) = (0_usize, 0_usize);
    for ((offset, old), (_, new)) in pieces(&entry.pieces, &before).zip(pieces(&entry.pieces, &after)) {
        let now = disk.read_at(offset, old.len()).unwrap_or_default();
        let fits = if journal.is_done(id) { now == new || now == old } else { is_made_of(&now, old, new) };
        *(if fits { &mut ours } else { &mut others }) += 1;
    }
    Ok(match (ours, others) {
        (1.., 0) => Found::Ours,
        (0, _) => Found::Other,
        _ => Found::Changed,
    })
}

/// What a disk writes in one piece.
const SECTOR: usize = 512;

/// Whether every sector is as it was before or after: what was cut off while it was written holds some of each.
pub(crate) fn is_made_of(now: &[u8], before: &[u8], after: &[u8]) -> bool {
    now.len() == before.len()
        && now.len() == after.len()
        && now
            .chunks(SECTOR)
            .zip(before.chunks(SECTOR).zip(after.chunks(SECTOR)))
            .all(|(now, (before, after))| now == before || now == after)
}

/// What is kept of a disk, oldest first: id, entry, and whether it was written wholly. Looks only.
pub fn entries(path: &Path) -> Result<Vec<(String, Entry, bool)>, Error> {
    let refused = |error: sickbay_target::OpenError| Error::Refused(Text::verbatim(error.to_string()));
    let mut all = Vec::new();
    let mut disk: Option<Disk> = None;
    for record in Record::find(path).map_err(refused)? {
        let journal = Journal::look_at_disk(&record);
        let ids = journal.entries()?;
        // Nothing but the size says that it is this disk: then what is on it must.
        if let (false, Some(last)) = (record.is_certain(), ids.last()) {
            let disk = match &mut disk {
                Some(disk) => disk,
                none => none.insert(Disk::to_look(path).map_err(refused)?),
            };
            if !matches!(compare(disk, &journal, last, &journal.read(last)?)?, Found::Ours) {
                continue;
            }
        }
        for id in ids {
            all.push((format!("disk-{id}"), journal.read(&id)?, journal.is_done(&id)));
        }
    }
    Ok(all)
}

/// The pieces of a file of an entry, each with where it belongs.
fn pieces<'b>(places: &[Piece], bytes: &'b [u8]) -> impl Iterator<Item = (u64, &'b [u8])> {
    let mut at = 0_usize;
    places.iter().map_while(move |(offset, length)| {
        let end = at.checked_add(usize::try_from(*length).ok()?)?;
        let piece = bytes.get(at..end)?;
        at = end;
        Some((*offset, piece))
    })
}
