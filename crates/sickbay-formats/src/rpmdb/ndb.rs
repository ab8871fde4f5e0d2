//! rpm's own "new database": `Packages.db` (`lib/backend/ndb/rpmpkg.c` of rpm). Everything is little-endian.

use super::{Found, Lost};

const MAGIC: &[u8] = b"RpmP";
const SLOT: &[u8] = b"Slot";
const BLOB: &[u8] = b"BlbS";
const BLOB_END: &[u8] = b"BlbE";
/// The slots fill whole pages; the file's header takes the place of the first two.
const PAGE: usize = 4096;
/// Offsets are counted in blocks, as large as a slot or a blob's header.
const BLOCK: usize = 16;
const TAIL: usize = 12;

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

pub(super) fn read(file: &[u8], found: &mut Found) {
    let slots = file.starts_with(MAGIC).then(|| number(file, 12)).flatten().and_then(|pages| pages.checked_mul(PAGE));
    let Some(slots) = slots.and_then(|end| file.get(2 * BLOCK..end)) else {
        found.lost(Lost::Container);
        return search(file, found);
    };
    let before = found.0.lost.len();
    for slot in slots.chunks_exact(BLOCK) {
        let (Some(index), Some(block)) = (number(slot, 4), number(slot, 8)) else { continue };
        if !slot.starts_with(SLOT) {
            found.lost(Lost::Page(0));
        } else if block > 0 {
            let header = block.checked_mul(BLOCK).and_then(|at| blob(file, at)).filter(|(owner, _)| *owner == index);
            found.header(index as u64, header.map(|(_, header)| header).unwrap_or_default());
        }
    }
    if found.0.lost.len() > before {
        search(file, found);
    }
}

/// The blob at `at`: its package's number and its content.
fn blob(file: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let rest = file.get(at..)?.strip_prefix(BLOB)?;
    let (index, length) = (number(rest, 0)?, number(rest, 8)?);
    let content = rest.get(12..)?.get(..length)?;
    let end = (at + BLOCK + length + TAIL).next_multiple_of(BLOCK).checked_sub(TAIL)?;
    let (checked, tail) = (file.get(at..end)?, file.get(end..)?);
    let whole = number(tail, 4)? == length
        && tail.get(8..)?.starts_with(BLOB_END)
        && u32::try_from(number(tail, 0)?) == Ok(adler32(checked));
    whole.then_some((index, content))
}

/// The checksum at the end of a blob (RFC 1950, 8.2).
fn adler32(bytes: &[u8]) -> u32 {
    // So many bytes can be added before the sums leave 32 bits.
    let sums = bytes.chunks(5552).fold((1u32, 0u32), |(mut a, mut b), chunk| {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        (a % 65521, b % 65521)
    });
    sums.1 << 16 | sums.0
}

/// Finds blobs without their slots.
fn search(file: &[u8], found: &mut Found) {
    for at in (0..file.len()).step_by(BLOCK) {
        if let Some((_, header)) = blob(file, at) {
            found.stray(header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Backend, Lost, read};
    use super::*;
    use crate::rpm::tests::package;

    fn build(headers: &[Vec<u8>]) -> Vec<u8> {
        let mut file = [MAGIC, &[0; 8], &1u32.to_le_bytes(), &[0; 16]].concat();
        file.resize(PAGE, 0);
        for slot in file[2 * BLOCK..].chunks_exact_mut(BLOCK) {
            slot[..4].copy_from_slice(SLOT);
        }
        for (index, header) in headers.iter().enumerate() {
            let number = |n: usize| (n as u32).to_le_bytes();
            let (at, slot) = (file.len(), (index + 2) * BLOCK);
            file[slot + 4..slot + 8].copy_from_slice(&number(index + 1));
            file[slot + 8..slot + 12].copy_from_slice(&number(at / BLOCK));
            file.extend([BLOB, &number(index + 1), &[0; 4], &number(header.len())].concat());
            file.extend(header);
            let end = (file.len() + TAIL).next_multiple_of(BLOCK) - TAIL;
            file.resize(end, 0);
            let sum = adler32(&file[at..]).to_le_bytes();
            file.extend([&sum, number(header.len()).as_slice(), BLOB_END].concat());
        }
        file
    }

    #[test]
    fn packages_and_damage() {
        let mut file = build(&[package("bash"), package("glibc")]);
        let database = read(Backend::Ndb, &file, None);
        assert_eq!((database.packages.len(), database.lost.as_slice()), (2, [].as_slice()));
        // Without its slots every blob is found by searching.
        file[..PAGE].fill(0);
        let database = read(Backend::Ndb, &file, None);
        assert_eq!((database.packages.len(), database.lost.as_slice()), (2, [Lost::Container].as_slice()));
        let mut file = build(&[package("bash"), package("glibc")]);
        file[PAGE] = 0;
        let database = read(Backend::Ndb, &file, None);
        assert_eq!((database.packages.len(), database.lost.as_slice()), (1, [Lost::Entry(1)].as_slice()));
        // Zeros in the middle of a header would shift the names of its files.
        let mut file = build(&[package("bash"), package("glibc")]);
        file[PAGE + BLOCK + 40..][..32].fill(0);
        let database = read(Backend::Ndb, &file, None);
        assert_eq!((database.packages.len(), database.lost.as_slice()), (1, [Lost::Entry(1)].as_slice()));
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1950() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[0xff; 20_000]), 0x9f51_d664);
    }

    proptest::proptest! {
        #[test]
        fn any_damage_is_survived(changes in proptest::collection::vec((0usize..6000, proptest::num::u8::ANY), 1..20)) {
            let mut file = build(&[package("bash"), package("glibc")]);
            let size = file.len();
            for (place, value) in changes {
                file[place % size] = value;
            }
            let _ = read(Backend::Ndb, &file, None);
        }
    }
}
