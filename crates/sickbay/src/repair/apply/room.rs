//! Whether there is room for a repair and its journal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sickbay_target::Root;

use super::Error;
use super::work::{New, Touch, Work};
use crate::repair::journal::{Content, Journal, Node};
use crate::tr;

/// What a file system may need for itself besides what a repair writes: blocks of its own trees and directories.
const SPARE_BLOCKS: u64 = 16;

/// What a repair needs of one file system.
pub(super) struct Room<'a> {
    /// Through which it is asked.
    root: &'a Root,
    /// A directory on it.
    place: PathBuf,
    block: u64,
    bytes: u64,
    inodes: u64,
}

/// Refuses before the first write when a file system of the target has not the room.
pub(super) fn check_room(root: &Root, journal: &Journal<'_>, work: &[Work]) -> Result<(), Error> {
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
            Work::Path { .. } | Work::Kernel { .. } | Work::Network { .. } => {}
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
