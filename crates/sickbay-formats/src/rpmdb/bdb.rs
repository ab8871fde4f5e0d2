//! A hash of Berkeley DB (`src/dbinc/db_page.h` of Berkeley DB 4 and 5).
//!
//! All pages are gone through, not the buckets: so a damaged page costs only its own entries.

use super::{Found, Lost};

/// `DB_HASHMAGIC`.
const MAGIC: u32 = 0x0006_1561;
/// Bytes before the offsets of the items of a page, or before the content of an overflow page.
const PAGE_HEADER: usize = 26;
/// `P_HASH_UNSORTED`, `P_HASH`, `P_OVERFLOW`.
const HASH_UNSORTED: u8 = 2;
const HASH: u8 = 13;
const OVERFLOW: u8 = 7;
/// Kinds of pages go up to `P_HEAP_...` (17 in Berkeley DB 6).
const KINDS: u8 = 18;
/// Items: a value in the page, and one on overflow pages.
const KEYDATA: u8 = 1;
const OFFPAGE: u8 = 3;
/// A header larger than this is no header (rpm's own limit, `HEADER_DATA_MAX`).
const HEADER_LIMIT: usize = 256 << 20;

struct File<'a> {
    bytes: &'a [u8],
    page_size: usize,
    big_endian: bool,
}

impl<'a> File<'a> {
    fn page(&self, number: usize) -> Option<&'a [u8]> {
        let start = number.checked_mul(self.page_size)?;
        self.bytes.get(start..start.checked_add(self.page_size)?)
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u16(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(usize::from(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }))
    }

    fn number(&self, bytes: &[u8], at: usize) -> Option<usize> {
        usize::try_from(self.u32(bytes, at)?).ok()
    }
}

pub(super) fn read(bytes: &[u8], found: &mut Found) {
    let Some(file) = open(bytes) else { return found.lost(Lost::Container) };
    let pages = bytes.len() / file.page_size;
    let last = file.number(bytes, 32).unwrap_or(0);
    if last >= pages || !bytes.len().is_multiple_of(file.page_size) {
        // Cut off: what is behind the end cannot be gone through.
        found.lost(Lost::Page(pages as u64));
    }
    for number in 1..pages {
        let Some(page) = file.page(number) else { break };
        match page.get(25) {
            Some(&(HASH | HASH_UNSORTED)) => {}
            Some(kind) if *kind < KINDS => continue,
            _ => {
                found.lost(Lost::Page(number as u64));
                continue;
            }
        }
        let entries = file.u16(page, 20).unwrap_or(0);
        if file.number(page, 8) != Some(number) || PAGE_HEADER + 2 * entries > page.len() {
            found.lost(Lost::Page(number as u64));
            continue;
        }
        let item = |index: usize| page.get(file.u16(page, PAGE_HEADER + 2 * index)?..);
        // Key and value take turns; each ends where the one before it begins.
        for index in (0..entries).step_by(2) {
            let key = item(index).filter(|key| key.first() == Some(&KEYDATA)).and_then(|key| file.u32(key, 1));
            let Some(key) = key else {
                found.lost(Lost::Page(number as u64));
                continue;
            };
            // Under the key 0 rpm counts its packages.
            if key == 0 {
                continue;
            }
            let value = match item(index + 1).and_then(|value| value.split_first()) {
                Some((&OFFPAGE, value)) => overflow(&file, value),
                Some((&KEYDATA, value)) => Some(value.to_vec()),
                _ => None,
            };
            found.header(u64::from(key), &value.unwrap_or_default());
        }
    }
}

fn open(bytes: &[u8]) -> Option<File<'_>> {
    let magic: [u8; 4] = *bytes.get(12..)?.first_chunk()?;
    let big_endian = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
        (MAGIC, _) => false,
        (_, MAGIC) => true,
        _ => return None,
    };
    let mut file = File { bytes, page_size: 0, big_endian };
    let page_size = file.number(bytes, 20)?;
    if !page_size.is_power_of_two() || !(512..=65536).contains(&page_size) {
        return None;
    }
    file.page_size = page_size;
    Some(file)
}

/// A value on overflow pages; `None` when one of them is not what it should be.
fn overflow(file: &File<'_>, item: &[u8]) -> Option<Vec<u8>> {
    // Three bytes of padding after the kind, then the first page and the whole length.
    let (mut number, length) = (file.number(item, 3)?, file.number(item, 7)?);
    if length > HEADER_LIMIT {
        return None;
    }
    let mut value = Vec::new();
    while value.len() < length {
        let page = file.page(number).filter(|page| page.get(25) == Some(&OVERFLOW))?;
        let here = page.get(PAGE_HEADER..PAGE_HEADER + file.u16(page, 22)?).filter(|here| !here.is_empty())?;
        value.extend_from_slice(here);
        number = file.number(page, 16)?;
    }
    value.truncate(length);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::super::{Backend, Lost, read};
    use crate::rpm::tests::package;

    const PAGE: usize = 512;

    /// A hash of one bucket page with these headers on overflow pages, as `db_page.h` lays it out.
    fn build(headers: &[Vec<u8>], big_endian: bool) -> Vec<u8> {
        let u32 = |n: usize| if big_endian { (n as u32).to_be_bytes() } else { (n as u32).to_le_bytes() };
        let u16 = |n: usize| if big_endian { (n as u16).to_be_bytes() } else { (n as u16).to_le_bytes() };
        let mut pages: Vec<Vec<u8>> = vec![vec![0; PAGE], vec![0; PAGE]];
        let mut items: Vec<Vec<u8>> = vec![[vec![1], u32(0).to_vec()].concat(), [vec![1], u32(7).to_vec()].concat()];
        for (index, header) in headers.iter().enumerate() {
            items.push([vec![1], u32(index + 1).to_vec()].concat());
            items.push([vec![3, 0, 0, 0], u32(pages.len()).to_vec(), u32(header.len()).to_vec()].concat());
            let parts: Vec<_> = header.chunks(PAGE - 26).collect();
            for (at, part) in parts.iter().enumerate() {
                let number = pages.len();
                let mut page = vec![0; PAGE];
                page[8..12].copy_from_slice(&u32(number));
                page[16..20].copy_from_slice(&u32(if at + 1 < parts.len() { number + 1 } else { 0 }));
                page[22..24].copy_from_slice(&u16(part.len()));
                page[25] = 7;
                page[26..26 + part.len()].copy_from_slice(part);
                pages.push(page);
            }
        }
        let (mut end, last) = (PAGE, pages.len() - 1);
        let bucket = &mut pages[1];
        bucket[8..12].copy_from_slice(&u32(1));
        bucket[20..22].copy_from_slice(&u16(items.len()));
        bucket[25] = 13;
        for (index, item) in items.iter().enumerate() {
            end -= item.len();
            bucket[end..end + item.len()].copy_from_slice(item);
            bucket[26 + 2 * index..28 + 2 * index].copy_from_slice(&u16(end));
        }
        let meta = &mut pages[0];
        meta[12..16].copy_from_slice(&u32(0x61561));
        meta[20..24].copy_from_slice(&u32(PAGE));
        meta[25] = 8;
        meta[32..36].copy_from_slice(&u32(last));
        pages.concat()
    }

    #[test]
    fn of_both_byte_orders() {
        for big_endian in [false, true] {
            let file = build(&[package("bash"), package("glibc")], big_endian);
            let database = read(Backend::Bdb, &file, None);
            let names: Vec<_> = database.packages.iter().map(|package| package.name.to_string()).collect();
            assert_eq!((names, database.lost), (vec!["bash".to_owned(), "glibc".to_owned()], Vec::new()));
        }
    }

    #[test]
    fn a_damaged_page_costs_its_own_package_only() {
        let mut file = build(&[package("bash"), package("glibc")], false);
        file[2 * PAGE..3 * PAGE].fill(0xff);
        let database = read(Backend::Bdb, &file, None);
        assert_eq!(database.packages.len(), 1);
        assert_eq!(database.packages[0].name, "glibc");
        assert_eq!(database.lost, [Lost::Entry(1), Lost::Page(2)]);
        file.truncate(file.len() - 1);
        assert!(read(Backend::Bdb, &file, None).lost.len() > 2);
    }

    proptest::proptest! {
        #[test]
        fn any_damage_is_survived(changes in proptest::collection::vec((0usize..4000, proptest::num::u8::ANY), 1..20)) {
            let mut file = build(&[package("bash"), package("glibc")], false);
            let size = file.len();
            for (place, value) in changes {
                file[place % size] = value;
            }
            let _ = read(Backend::Bdb, &file, None);
        }
    }
}
