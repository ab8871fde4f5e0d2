//! Partition tables, read from the disk itself: kernels may lack the parsing, and a damaged table is what we look for.
//!
//! MBR: the Master Boot Record with its chain of extended boot records, as Linux reads them (block/partitions/msdos.c).
//! GPT: UEFI specification, chapter 5.

use std::io;

use sickbay_formats::gpt::crc32;

use crate::bytes::{array, guid, le32, le64};

/// The kind of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The PC's Master Boot Record ("dos").
    Mbr,
    /// The GUID partition table of UEFI.
    Gpt,
}

/// What a partition table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partitions {
    pub(crate) table: Table,
    pub(crate) list: Vec<Partition>,
    /// What is wrong with the table.
    pub(crate) notes: Vec<String>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) number: u32,
    /// In bytes.
    pub(crate) start: u64,
    /// In bytes, as the table says; the disk may be shorter.
    pub(crate) size: u64,
    pub(crate) uuid: Option<String>,
    pub(crate) name: Option<String>,
    /// A byte in hexadecimal ("0x83") or a GUID, as blkid(8) writes it.
    pub(crate) kind: String,
}

/// Reads up to so many bytes at a place of the disk; fewer at its end.
pub(crate) type ReadAt<'a> = &'a dyn Fn(u64, usize) -> io::Result<Vec<u8>>;

/// A protective MBR's only partition.
const PROTECTIVE: u8 = 0xEE;

/// As many logical partitions as Linux numbers at most.
const LOGICAL: usize = 256;

/// Reads the partition table of a disk of `size` bytes with sectors of `sector` bytes; `None` when it has none.
///
/// # Errors
/// When the disk cannot be read.
pub(crate) fn read(disk: ReadAt<'_>, size: u64, sector: u32) -> io::Result<Option<Partitions>> {
    let first = disk(0, 512)?;
    let Some(entries) = mbr_entries(&first) else {
        // Without the MBR's signature Linux looks no further; a GPT that stands alone is told nevertheless, so that a
        // wiped first sector is seen for what it is.
        if let Some(mut found) = gpt(disk, size, sector)? {
            found.notes.push("the protective MBR is missing: Linux will not see this partition table".into());
            return Ok(Some(found));
        }
        return unsigned(disk, size, sector, &first);
    };
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) {
        if let Some(found) = gpt(disk, size, sector)? {
            return Ok(Some(found));
        }
        let notes = vec!["the MBR announces a GPT, but neither it nor its backup can be read".into()];
        return Ok(Some(Partitions { table: Table::Gpt, list: Vec::new(), notes }));
    }
    mbr(disk, size, sector, &first, entries)
}

/// One entry of an MBR or extended boot record; lengths in sectors.
#[derive(Clone, Copy)]
struct Entry {
    active: u8,
    kind: u8,
    start: u32,
    size: u32,
}

impl Entry {
    fn is_used(self) -> bool {
        self.kind != 0 && self.size != 0
    }

    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0F | 0x85)
    }
}

fn mbr_entries(sector: &[u8]) -> Option<[Entry; 4]> {
    if array(sector, 510)? != [0x55, 0xAA] {
        return None;
    }
    raw_entries(sector)
}

fn raw_entries(sector: &[u8]) -> Option<[Entry; 4]> {
    let entry = |n: usize| {
        let raw: [u8; 16] = array(sector, 446 + 16 * n)?;
        let [active, _, _, _, kind, ..] = raw;
        Some(Entry { active, kind, start: le32(&raw, 8)?, size: le32(&raw, 12)? })
    };
    Some([entry(0)?, entry(1)?, entry(2)?, entry(3)?])
}

/// An MBR that lost its signature. Without it other bytes could be taken for a table, so all must be as in a table that
/// was made: partitions within the disk, none over another.
fn unsigned(disk: ReadAt<'_>, size: u64, sector: u32, first: &[u8]) -> io::Result<Option<Partitions>> {
    let Some(entries) = raw_entries(first) else { return Ok(None) };
    let mut used: Vec<(u64, u64)> = entries
        .iter()
        .filter(|entry| entry.is_used())
        .map(|entry| (u64::from(entry.start), u64::from(entry.start) + u64::from(entry.size)))
        .collect();
    used.sort_unstable();
    let apart = used.windows(2).all(|pair| matches!(pair, [(_, end), (start, _)] if end <= start));
    let within = used.last().is_some_and(|(_, end)| end.saturating_mul(u64::from(sector)) <= size);
    if !apart || !within {
        return Ok(None);
    }
    let mut found = mbr(disk, size, sector, first, entries)?;
    if let Some(found) = &mut found {
        found.notes.push("its first sector does not end in 55 AA: Linux will not see this partition table".into());
    }
    Ok(found)
}

fn mbr(disk: ReadAt<'_>, size: u64, sector: u32, first: &[u8], entries: [Entry; 4]) -> io::Result<Option<Partitions>> {
    let bytes = |sectors: u32| u64::from(sectors) * u64::from(sector);
    let used = || entries.iter().copied().filter(|entry| entry.is_used());
    // The signature also ends the boot sector of a FAT or NTFS, and code may stand where the table would be.
    let plausible = entries.iter().all(|entry| entry.active & 0x7F == 0)
        && used().all(|entry| entry.start > 0)
        && used().any(|entry| bytes(entry.start) < size);
    if !plausible {
        return Ok(None);
    }
    let signature = le32(first, 440).unwrap_or(0);
    let partition = |number: u32, start: u64, entry: Entry| Partition {
        number,
        start,
        size: bytes(entry.size),
        uuid: (signature != 0).then(|| format!("{signature:08x}-{number:02x}")),
        name: None,
        kind: format!("0x{:x}", entry.kind),
    };
    let mut found = Partitions { table: Table::Mbr, list: Vec::new(), notes: Vec::new() };
    for (number, entry) in (1..).zip(entries) {
        if entry.is_used() && !entry.is_extended() {
            found.list.push(partition(number, bytes(entry.start), entry));
        }
    }
    let Some(extended) = used().find(|entry| entry.is_extended()) else {
        return Ok(Some(found));
    };
    // Each record describes one logical partition and where the next record is, counted from the first.
    let base = bytes(extended.start);
    let mut here = base;
    let mut number = 5;
    for _ in 0..LOGICAL {
        let Some([logical, next, ..]) = mbr_entries(&disk(here, 512)?) else {
            found.notes.push(format!("the chain of logical partitions breaks off before partition {number}"));
            break;
        };
        if logical.is_used() && !logical.is_extended() {
            found.list.push(partition(number, here + bytes(logical.start), logical));
            number += 1;
        }
        if !(next.is_used() && next.is_extended()) {
            return Ok(Some(found));
        }
        here = base + bytes(next.start);
    }
    Ok(Some(found))
}

fn gpt(disk: ReadAt<'_>, size: u64, sector: u32) -> io::Result<Option<Partitions>> {
    let sector = u64::from(sector);
    if let Some(list) = gpt_at(disk, sector, 1)? {
        return Ok(Some(Partitions { table: Table::Gpt, list, notes: Vec::new() }));
    }
    let Some(last) = (size / sector).checked_sub(1) else {
        return Ok(None);
    };
    let list = gpt_at(disk, sector, last)?;
    let note = "the primary GPT is damaged: its backup at the end of the disk was read instead";
    Ok(list.map(|list| Partitions { table: Table::Gpt, list, notes: vec![note.into()] }))
}

/// The partitions of the GPT whose header is in sector `lba`; `None` when a checksum is wrong.
fn gpt_at(disk: ReadAt<'_>, sector: u64, lba: u64) -> io::Result<Option<Vec<Partition>>> {
    let header = disk(lba.saturating_mul(sector), 512)?;
    let Some((table, count, entry_size, crc)) = gpt_header(&header, lba) else {
        return Ok(None);
    };
    let entries = disk(table.saturating_mul(sector), count * entry_size)?;
    if entries.len() != count * entry_size || crc32(&entries) != crc {
        return Ok(None);
    }
    let numbered = (1..).zip(entries.chunks_exact(entry_size));
    Ok(Some(numbered.filter_map(|(number, entry)| gpt_entry(number, entry, sector)).collect()))
}

/// Where the entries are (sector, number, size in bytes), and their checksum.
fn gpt_header(header: &[u8], lba: u64) -> Option<(u64, usize, usize, u32)> {
    let length = usize::try_from(le32(header, 12)?).ok().filter(|length| (92..=512).contains(length))?;
    let mut zeroed = header.get(..length)?.to_vec();
    zeroed.get_mut(16..20)?.fill(0);
    let count = usize::try_from(le32(header, 80)?).ok()?;
    let entry_size = usize::try_from(le32(header, 84)?).ok()?;
    let sound = header.starts_with(b"EFI PART")
        && crc32(&zeroed) == le32(header, 16)?
        && le64(header, 24)? == lba
        // The specification knows no end; a megabyte of entries is 8192 partitions.
        && (128..=4096).contains(&entry_size)
        && count <= (1 << 20) / entry_size;
    sound.then_some((le64(header, 72)?, count, entry_size, le32(header, 88)?))
}

fn gpt_entry(number: u32, entry: &[u8], sector: u64) -> Option<Partition> {
    let kind: [u8; 16] = array(entry, 0)?;
    let (first, last) = (le64(entry, 32)?, le64(entry, 40)?);
    if kind == [0; 16] {
        return None;
    }
    let name: Vec<u16> = entry
        .get(56..128)?
        .chunks_exact(2)
        .map_while(|pair| array(pair, 0).map(u16::from_le_bytes))
        .take_while(|unit| *unit != 0)
        .collect();
    Some(Partition {
        number,
        start: first.checked_mul(sector)?,
        size: last.checked_sub(first)?.checked_add(1)?.checked_mul(sector)?,
        uuid: array(entry, 16).map(guid),
        name: Some(String::from_utf16_lossy(&name)).filter(|name| !name.is_empty()),
        kind: guid(kind),
    })
}
