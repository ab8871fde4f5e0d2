//! A FAT that is not mounted, read and written by a library: what it writes is kept as changed sectors, and the disk stays
//! as it is.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use sickbay_target::{Disk, Volume};

use crate::model::repair::Change;

pub(crate) fn options() -> fatfs::FsOptions {
    fatfs::FsOptions::new().update_accessed_date(false).time_provider(&LongAgo)
}

/// What is written gets the first day that FAT knows: the same repair writes the same bytes.
#[derive(Debug)]
struct LongAgo;

impl fatfs::TimeProvider for LongAgo {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        fatfs::DateTime { date: self.get_current_date(), time: fatfs::Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

pub(crate) fn fat<'a>(disk: &'a Disk, volume: &Volume) -> io::Result<fatfs::FileSystem<View<'a>>> {
    fatfs::FileSystem::new(View::new(disk, volume), options())
}

/// A partition to read and to write, without the disk being written: what is written is kept.
pub(crate) struct View<'a> {
    disk: &'a Disk,
    index: usize,
    start: u64,
    size: u64,
    at: u64,
    changed: BTreeMap<u64, [u8; SECTOR]>,
}

const SECTOR: usize = 512;

impl<'a> View<'a> {
    pub(crate) fn new(disk: &'a Disk, volume: &Volume) -> View<'a> {
        View { disk, index: volume.disk, start: volume.start, size: volume.size, at: 0, changed: BTreeMap::new() }
    }

    fn sector(&self, number: u64) -> io::Result<[u8; SECTOR]> {
        if let Some(changed) = self.changed.get(&number) {
            return Ok(*changed);
        }
        let bytes = self.disk.read_at(self.start + number * SECTOR as u64, SECTOR)?;
        bytes.try_into().map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }

    /// The sector at the current place, where in it that is, and how many bytes follow in it.
    fn here(&self) -> (u64, usize, usize) {
        let within = usize::try_from(self.at % SECTOR as u64).unwrap_or(0);
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        (self.at / SECTOR as u64, within, left.min(SECTOR - within))
    }

    /// What was written, one change for sectors that follow each other.
    pub(crate) fn into_changes(self) -> io::Result<Vec<Change>> {
        let mut changes: Vec<Change> = Vec::new();
        let root = root_cluster(&self.sector(0)?);
        for (number, after) in &self.changed {
            let after = &plain_dots(*after, root);
            let offset = self.start + number * SECTOR as u64;
            let before = self.disk.read_at(offset, SECTOR)?;
            if before == *after {
                continue;
            }
            match changes.last_mut() {
                Some(Change::WriteDisk { offset: begin, before: old, after: new, .. })
                    if *begin + new.len() as u64 == offset =>
                {
                    old.extend(before);
                    new.extend(after);
                }
                _ => changes.push(Change::WriteDisk { disk: self.index, offset, before, after: after.to_vec() }),
            }
        }
        Ok(changes)
    }
}

/// The first cluster of the root directory of a FAT32; `None` for the smaller ones, whose root is in no cluster.
fn root_cluster(boot: &[u8; SECTOR]) -> Option<[u8; 4]> {
    let field = |at: usize| boot.get(at..)?.first_chunk().copied();
    // The length of a FAT in 16 bits is 0 on a FAT32 (Microsoft's specification, BPB_FATSz16 and BPB_RootClus).
    let is_fat32 = boot.get(22..24) == Some(&[0, 0]);
    if is_fat32 { field(44) } else { None }
}

/// The first sector of a directory that the library made, as it must be: the library gives `.` and `..` long names, which
/// fsck.fat rejects, and names the cluster of the root where 0 must stand. Any other sector is as it was.
fn plain_dots(sector: [u8; SECTOR], root: Option<[u8; 4]>) -> [u8; SECTOR] {
    const ENTRY: usize = 32;
    const LONG: u8 = 0x0F;
    const DELETED: u8 = 0xE5;
    let mut entries: Vec<[u8; ENTRY]> = sector.as_chunks().0.to_vec();
    let [long, dot, other_long, dots, ..] = entries.as_mut_slice() else { return sector };
    let is_long = |entry: &[u8; ENTRY]| entry.first() == Some(&0x41) && entry.get(11) == Some(&LONG);
    let fits = is_long(long)
        && dot.starts_with(b".          \x10")
        && is_long(other_long)
        && dots.starts_with(b"..         \x10");
    if !fits {
        return sector;
    }
    // A cluster's number is in two halves, the high one before the time.
    let cluster = [dots[26], dots[27], dots[20], dots[21]];
    if root == Some(cluster) {
        for at in [20, 21, 26, 27] {
            dots[at] = 0;
        }
    }
    long[0] = DELETED;
    other_long[0] = DELETED;
    let sorted = [*dot, *dots, *long, *other_long];
    let mut plain = sector;
    for (to, from) in plain.iter_mut().zip(sorted.as_flattened()) {
        *to = *from;
    }
    plain
}

impl Read for View<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (number, within, left) = self.here();
        let length = left.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let sector = self.sector(number)?;
        for (to, from) in buffer.iter_mut().zip(sector.iter().skip(within)).take(length) {
            *to = *from;
        }
        self.at += length as u64;
        Ok(length)
    }
}

impl Write for View<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let (number, within, left) = self.here();
        let length = left.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let mut sector = self.sector(number)?;
        for (to, from) in sector.iter_mut().skip(within).zip(buffer).take(length) {
            *to = *from;
        }
        self.changed.insert(number, sector);
        self.at += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for View<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
