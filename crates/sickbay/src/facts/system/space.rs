//! How full the file systems are that boot and login write to.

use std::path::{Path, PathBuf};

use sickbay_target::{FileSystemUse, Usage};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::subject::Subject;

/// A file system, and what is short on it.
#[derive(Clone, Debug)]
pub struct FileSystem {
    /// Where it is mounted.
    pub place: PathBuf,
    /// Its numbers.
    pub told: FileSystemUse,
    /// What it has no more of.
    pub lack: Option<Lack>,
    /// The number of its device.
    pub dev: u64,
}

/// What a file system has no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Space, for root too.
    Space,
    /// Space for all but root, for whom ext keeps a part.
    SpaceForOthers,
    /// Inodes.
    Inodes,
}

/// The file systems that boot and login write to.
#[derive(Debug)]
pub struct Space {
    /// Each once.
    pub list: Vec<FileSystem>,
    /// The first of them is none of the target's, which is a directory of this machine's.
    pub borrowed: bool,
}

/// Directories that boot, login and what keeps a system running write to; any may be a file system of its own. `/usr` is not
/// among them: nothing writes there, and one that is packed full is in order. Nor are data disks, which many fill on purpose.
const PLACES: [&str; 13] = [
    "/",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/log/audit",
    "/var/cache",
    "/var/spool",
    "/var/tmp",
    "/tmp",
    "/etc",
    "/root",
    "/home",
    "/boot",
];

/// Kinds that can fill up. Media that are written once (squashfs, iso9660) always are full, a tmpfs holds memory, and an overlay
/// has the numbers of another's disk.
const FILLS: [u64; 4] = [FileSystemUse::EXT, FileSystemUse::XFS, FileSystemUse::BTRFS, FileSystemUse::F2FS];

/// Smaller ones hold a fixed set of files.
const TINY: u64 = 16 << 20;

/// What counts as nothing: a thousandth, at most 8 MiB, which one start of a system writes to its logs.
pub fn nothing(size: u64) -> u64 {
    (size / 1000).min(8 << 20)
}

/// So many inodes are none: one start of a system makes more files.
const NO_INODES: u64 = 64;

/// How long a file system is walked through: per cent of a fact's time.
const WALK: u32 = 60;

impl Fact for Space {
    fn gather(facts: &Facts) -> Result<Space, Skip> {
        let root = facts.root();
        if let Ok(report) = facts.target().report() {
            return Ok(Space { list: written_down(report.file_systems(root)?), borrowed: false });
        }
        let mut list: Vec<FileSystem> = Vec::new();
        // A plain directory of this machine says nothing of the system whose root it is going to be.
        let borrowed = !facts.target().has_own_file_systems()?;
        for place in PLACES.map(Path::new) {
            let Ok(found) = root.metadata(place) else { continue };
            if !found.is_dir() || list.iter().any(|known| known.dev == found.dev) {
                continue;
            }
            let told = root.statvfs(place)?;
            // Subvolumes of one btrfs have numbers of their own as devices, and the same as file systems.
            let twin = told.magic == FileSystemUse::BTRFS && list.iter().any(|known| known.told == told);
            let file_system = FileSystem { place: place.to_owned(), told, lack: None, dev: found.dev };
            let fills = FILLS.contains(&told.magic) && told.size >= TINY && !(facts.runs() && told.read_only);
            let is_borrowed = borrowed && place == Path::new("/");
            let lack = if fills && !is_borrowed && !twin { lack(&told) } else { None };
            list.push(FileSystem { lack, ..file_system });
        }
        Ok(Space { list, borrowed })
    }
}

/// What `df` printed of the same places.
fn written_down(all: Vec<(PathBuf, FileSystemUse)>) -> Vec<FileSystem> {
    let is_one = |place: &PathBuf| PLACES.iter().any(|known| Path::new(known) == place);
    let of = |(index, (place, told)): (u64, (PathBuf, FileSystemUse))| {
        let fills = FILLS.contains(&told.magic) && told.size >= TINY && !told.read_only;
        // No file is known to be on it.
        FileSystem { lack: if fills { lack(&told) } else { None }, place, told, dev: u64::MAX - index }
    };
    (0..).zip(all.into_iter().filter(|(place, _)| is_one(place))).map(of).collect()
}

fn lack(told: &FileSystemUse) -> Option<Lack> {
    let nothing = nothing(told.size);
    if told.for_root() <= nothing {
        return Some(Lack::Space);
    }
    if told.inodes > 0 && told.inodes_free <= NO_INODES.min(told.inodes / 1000) {
        return Some(Lack::Inodes);
    }
    (told.magic == FileSystemUse::EXT && told.available <= nothing).then_some(Lack::SpaceForOthers)
}

impl Space {
    /// The file system that holds `path`, if nothing can be written to it.
    pub fn full_below(&self, facts: &Facts, path: &Path) -> Option<&FileSystem> {
        let found = path.ancestors().find_map(|dir| facts.root().stat(dir).ok())?;
        self.list
            .iter()
            .find(|known| known.dev == found.dev && !matches!(known.lack, None | Some(Lack::SpaceForOthers)))
    }
}

impl FileSystem {
    /// A name for it as a cause: what could not be written because of it is about this.
    pub fn subject(&self) -> Subject {
        Subject::Mount(self.place.clone())
    }

    /// What it is used for, as far as can be seen in a few seconds.
    pub fn usage(&self, facts: &Facts) -> Result<Usage, Skip> {
        Ok(facts.root().usage(&self.place, facts.budget().part(WALK))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ext(size: u64, free: u64, available: u64, inodes_free: u64) -> FileSystemUse {
        let magic = FileSystemUse::EXT;
        FileSystemUse { size, free, available, inodes: 1 << 20, inodes_free, read_only: false, block: 4096, magic }
    }

    #[test]
    fn full_is_what_cannot_be_written() {
        let gib = 1 << 30;
        assert_eq!(lack(&ext(40 * gib, 2 * gib, 0, 900_000)), Some(Lack::SpaceForOthers));
        assert_eq!(lack(&ext(40 * gib, 0, 0, 900_000)), Some(Lack::Space));
        assert_eq!(lack(&ext(40 * gib, 20 * gib, 18 * gib, 0)), Some(Lack::Inodes));
        // 98 % is no fault yet.
        assert_eq!(lack(&ext(40 * gib, gib, gib / 2, 900_000)), None);
        // fs/btrfs/super.c, btrfs_statfs(): nothing is available once data or metadata has no room.
        let magic = FileSystemUse::BTRFS;
        let btrfs =
            |free, available| FileSystemUse { magic, inodes: 0, inodes_free: 0, ..ext(40 * gib, free, available, 0) };
        assert_eq!(lack(&btrfs(10 * gib, 0)), Some(Lack::Space));
        assert_eq!(lack(&btrfs(10 * gib, 9 * gib)), None);
    }
}
