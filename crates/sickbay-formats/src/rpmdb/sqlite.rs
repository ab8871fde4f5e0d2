//! Just enough of SQLite's file format (<https://sqlite.org/fileformat2.html>) to read one table of keys and blobs from
//! a file that may be damaged anywhere, which SQLite itself refuses to open.

use std::collections::{HashMap, HashSet};

use bstr::ByteSlice;

use super::{Found, Lost};

const MAGIC: &[u8] = b"SQLite format 3\0";
/// The header of the file, on the first page before that page's own.
const FILE_HEADER: usize = 100;
/// Pages of a table: inner ones lead to others, leaves hold the rows.
const INNER: u8 = 5;
const LEAF: u8 = 13;
/// A blob larger than this is no header (rpm's own limit, `HEADER_DATA_MAX`).
const BLOB_LIMIT: usize = 256 << 20;
/// A tree of four billion pages is not deeper.
const DEPTH: usize = 20;

fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?)))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A number of variable length, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        if at == 8 {
            return Some((value << 8 | u64::from(*byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

struct File<'a> {
    bytes: &'a [u8],
    page_size: usize,
    /// Bytes of each page that are used.
    usable: usize,
    /// Newer pages, from the write-ahead log.
    newer: HashMap<u32, &'a [u8]>,
}

/// A row: its key and the columns, each with the number that tells its type.
struct Row {
    key: u64,
    columns: Vec<(u64, Vec<u8>)>,
}

pub(super) fn read(bytes: &[u8], wal: Option<&[u8]>, found: &mut Found) {
    let Some(mut file) = open(bytes) else { return found.lost(Lost::Container) };
    if let Some(wal) = wal {
        file.newer = log(wal, file.page_size);
    }
    let mut visited = HashSet::new();
    match packages_root(&file) {
        Some(root) => walk(&file, root, 0, &mut visited, found),
        None => found.lost(Lost::Table),
    }
    if !bytes.len().is_multiple_of(file.page_size)
        || pages(&file) > file.bytes.len() / file.page_size + file.newer.len()
    {
        found.lost(Lost::Page((bytes.len() / file.page_size) as u64 + 1));
    }
    if !found.0.lost.is_empty() {
        search(&file, &visited, found);
    }
}

fn open(bytes: &[u8]) -> Option<File<'_>> {
    // A file whose first page is damaged may still have good ones; rpm makes pages of 4 KiB.
    let known = bytes.starts_with(MAGIC);
    let page_size = match be16(bytes, 16)? {
        1 => 65536,
        size if size.is_power_of_two() && size >= 512 => size,
        _ if !known => 4096,
        _ => return None,
    };
    let reserved = if known { usize::from(*bytes.get(20)?) } else { 0 };
    let usable = page_size.checked_sub(reserved).filter(|usable| *usable >= 480)?;
    // All zeros, or another kind of file, has nothing to be searched for.
    let plausible = known || bytes.len() >= 2 * page_size;
    plausible.then(|| File { bytes, page_size, usable, newer: HashMap::new() })
}

/// How many pages the file should have; 0 when it does not say.
fn pages(file: &File<'_>) -> usize {
    // The count is right only if it was written by the last change.
    let first = file.page(1).unwrap_or_default();
    let fresh = be32(first, 24) == be32(first, 92);
    be32(first, 28).filter(|_| fresh).and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

impl<'a> File<'a> {
    /// A page, counted from 1.
    fn page(&self, number: u32) -> Option<&'a [u8]> {
        if let Some(page) = self.newer.get(&number) {
            return Some(page);
        }
        let start = usize::try_from(number).ok()?.checked_sub(1)?.checked_mul(self.page_size)?;
        self.bytes.get(start..start.checked_add(self.page_size)?)
    }

    /// The part of a page that begins with its own header.
    fn tree_page(&self, number: u32) -> Option<(&'a [u8], &'a [u8])> {
        let page = self.page(number)?.get(..self.usable)?;
        Some((page, page.get(if number == 1 { FILE_HEADER } else { 0 }..)?))
    }

    /// The rows of a leaf; `None` for one that cannot be read.
    fn rows(&self, number: u32) -> Option<impl Iterator<Item = Option<Row>>> {
        let (page, header) = self.tree_page(number).filter(|(_, header)| header.first() == Some(&LEAF))?;
        let count = be16(header, 3)?;
        let pointers = header.get(8..8 + 2 * count)?;
        Some(pointers.chunks_exact(2).map(move |pointer| self.row(page.get(be16(pointer, 0)?..)?)))
    }

    fn row(&self, cell: &[u8]) -> Option<Row> {
        let (length, first) = varint(cell)?;
        let (key, second) = varint(cell.get(first..)?)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= BLOB_LIMIT)?;
        let cell = cell.get(first + second..)?;
        // How much of it is on this page is told in "Cell Payload Overflow Pages" of the format.
        let largest = self.usable - 35;
        let payload = if length <= largest {
            cell.get(..length)?.to_vec()
        } else {
            let smallest = (self.usable - 12) * 32 / 255 - 23;
            let here = smallest + (length - smallest) % (self.usable - 4);
            let here = if here <= largest { here } else { smallest };
            let mut payload = cell.get(..here)?.to_vec();
            let mut next = be32(cell, here)?;
            while payload.len() < length {
                let page = self.page(next)?.get(..self.usable)?;
                payload.extend_from_slice(page.get(4..)?);
                next = be32(page, 0)?;
            }
            payload.truncate(length);
            payload
        };
        let (head, mut at) = varint(&payload)?;
        let head = usize::try_from(head).ok()?;
        let mut content = payload.get(head..)?;
        let mut columns = Vec::new();
        while at < head {
            let (kind, size) = varint(payload.get(at..head)?)?;
            at += size;
            let bytes = match kind {
                0 | 8 | 9 => 0,
                1..=4 => usize::try_from(kind).ok()?,
                5 => 6,
                6 | 7 => 8,
                other => usize::try_from(other.checked_sub(12)? / 2).ok()?,
            };
            let (value, rest) = content.split_at_checked(bytes)?;
            columns.push((kind, value.to_vec()));
            content = rest;
        }
        Some(Row { key, columns })
    }
}

/// The first page of the table `Packages`, from the schema on page 1: type, name, table, root page, SQL.
fn packages_root(file: &File<'_>) -> Option<u32> {
    let mut pages = vec![1];
    let mut seen = HashSet::new();
    while let Some(page) = pages.pop() {
        if !seen.insert(page) || seen.len() > 1000 {
            continue;
        }
        for row in file.rows(page).into_iter().flatten().flatten() {
            if let [(_, kind), (_, name), _, (_, root), ..] = row.columns.as_slice()
                && kind.as_bstr() == "table"
                && name.as_bstr() == "Packages"
            {
                return root.iter().try_fold(0u32, |sum, byte| sum.checked_mul(256)?.checked_add(u32::from(*byte)));
            }
        }
        pages.extend(children(file, page).unwrap_or_default());
    }
    None
}

/// The pages that an inner page leads to.
fn children(file: &File<'_>, number: u32) -> Option<Vec<u32>> {
    let (page, header) = file.tree_page(number).filter(|(_, header)| header.first() == Some(&INNER))?;
    let count = be16(header, 3)?;
    let mut all = Vec::new();
    for pointer in header.get(12..12 + 2 * count)?.chunks_exact(2) {
        all.push(be32(page, be16(pointer, 0)?)?);
    }
    all.push(be32(header, 8)?);
    Some(all)
}

fn walk(file: &File<'_>, number: u32, depth: usize, visited: &mut HashSet<u32>, found: &mut Found) {
    if depth > DEPTH || !visited.insert(number) {
        return found.lost(Lost::Page(u64::from(number)));
    }
    if let Some(children) = children(file, number) {
        for child in children {
            walk(file, child, depth + 1, visited, found);
        }
        return;
    }
    let Some(rows) = file.rows(number) else { return found.lost(Lost::Page(u64::from(number))) };
    for row in rows {
        match row {
            Some(row) => found.header(row.key, blob(&row).unwrap_or_default()),
            None => found.lost(Lost::Page(u64::from(number))),
        }
    }
}

/// The header in a row of `Packages`: the key, stored as NULL because it is the row's own, and a blob.
fn blob(row: &Row) -> Option<&[u8]> {
    match row.columns.as_slice() {
        [_, (kind, blob)] if *kind >= 12 && kind % 2 == 0 => Some(blob),
        _ => None,
    }
}

/// Finds rows that the tree no longer leads to; free pages hold packages that were removed, and are left out.
fn search(file: &File<'_>, visited: &HashSet<u32>, found: &mut Found) {
    let mut free = HashSet::new();
    let mut trunk = file.page(1).filter(|page| page.starts_with(MAGIC)).and_then(|page| be32(page, 32)).unwrap_or(0);
    while trunk != 0 && free.insert(trunk) {
        let Some(page) = file.page(trunk) else { break };
        let count = be32(page, 4).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        free.extend(page.chunks_exact(4).skip(2).take(count).filter_map(|number| be32(number, 0)));
        trunk = be32(page, 0).unwrap_or(0);
    }
    let count = u32::try_from(file.bytes.len() / file.page_size).unwrap_or(u32::MAX);
    for number in (1..=count).filter(|number| !visited.contains(number) && !free.contains(number)) {
        for row in file.rows(number).into_iter().flatten().flatten() {
            found.stray(blob(&row).unwrap_or_default());
        }
    }
}

/// The pages of a write-ahead log that a finished transaction wrote ("The Write-Ahead Log" of the format).
fn log(wal: &[u8], page_size: usize) -> HashMap<u32, &[u8]> {
    let (mut all, mut pending) = (HashMap::new(), Vec::new());
    let order = match be32(wal, 0) {
        Some(0x377f_0682) => u32::from_le_bytes,
        Some(0x377f_0683) => u32::from_be_bytes,
        _ => return all,
    };
    let sum = |(mut a, mut b): (u32, u32), bytes: &[u8]| {
        for pair in bytes.chunks_exact(8) {
            let word = |at: usize| pair.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| order(*word));
            a = a.wrapping_add(word(0)).wrapping_add(b);
            b = b.wrapping_add(word(4)).wrapping_add(a);
        }
        (a, b)
    };
    let written = |bytes: &[u8], at| Some((be32(bytes, at)?, be32(bytes, at + 4)?));
    let mut running = sum((0, 0), wal.get(..24).unwrap_or_default());
    if written(wal, 24) != Some(running) || be32(wal, 8).and_then(|size| usize::try_from(size).ok()) != Some(page_size)
    {
        return all;
    }
    for frame in wal.get(32..).unwrap_or_default().chunks_exact(24 + page_size) {
        let (head, page) = frame.split_at(24);
        running = sum(sum(running, head.get(..8).unwrap_or_default()), page);
        // A frame of an earlier round, or one that was cut off.
        if head.get(8..16) != wal.get(16..24) || written(head, 16) != Some(running) {
            break;
        }
        pending.push((be32(head, 0).unwrap_or(0), page));
        if be32(head, 4).is_some_and(|size| size != 0) {
            all.extend(pending.drain(..));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(varint(&[0x7f]), Some((127, 1)));
        assert_eq!(varint(&[0x81, 0]), Some((128, 2)));
        assert_eq!(varint(&[0xff; 9]), Some((u64::MAX, 9)));
        assert_eq!(varint(&[0xff; 3]), None);
    }
}
