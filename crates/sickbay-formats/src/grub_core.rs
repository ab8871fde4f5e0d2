//! GRUB 2's core image on a PC with a BIOS: what boot.img loads, from the sectors behind the Master Boot Record or from
//! a BIOS boot partition.
//!
//! The first sector is diskboot.img, which ends in a list of blocks that it loads: 12 bytes each (first sector: 64 bits,
//! sectors: 16 bits, segment: 16 bits), from its end downwards, up to one without sectors. The decompressor follows, with
//! a few numbers at its beginning, and then the compressed kernel with its modules. As grub-bios-setup(8) writes it,
//! Reed-Solomon codes fill as many sectors again, from which GRUB restores what other programs write there.
//!
//! Names in capitals are those of GRUB's include/grub/i386/pc/boot.h, kernel.h and include/grub/offsets.h.

use std::io::Read;

use bstr::ByteSlice;

use crate::boot_sector::{SECTOR, le16, le32, le64};
use crate::reed_solomon;

/// Where the first block of the list stands; the others stand below it.
const FIRST_BLOCK: usize = SECTOR - 12;
/// The code of diskboot.img ends at the latest here; no list reaches it.
const LAST_BLOCK: usize = 0x160;
/// Where the second sector goes in memory: 0x8200 (`GRUB_BOOT_MACHINE_KERNEL_SEG` and one sector).
const SEGMENT: u16 = 0x820;
/// `GRUB_DECOMPRESSOR_MACHINE_COMPRESSED_SIZE`, counted like the two below from the beginning of the image.
const COMPRESSED_SIZE: usize = SECTOR + 0x08;
/// `GRUB_DECOMPRESSOR_MACHINE_UNCOMPRESSED_SIZE`
const UNCOMPRESSED_SIZE: usize = SECTOR + 0x0C;
/// `GRUB_DECOMPRESSOR_I386_PC_REED_SOLOMON_REDUNDANCY`
const REDUNDANCY: usize = SECTOR + 0x10;
/// `GRUB_DECOMPRESSOR_I386_PC_NO_REED_SOLOMON_LENGTH`: how much of the decompressor the codes do not protect.
const UNPROTECTED: usize = SECTOR + 0x14;
/// What grub-mkimage compresses with (util/mkimage.c).
const DICTIONARY: u32 = 1 << 16;
/// No core decompresses to more: 16 MiB.
const MOST_CONTENT: u32 = 16 << 20;
/// The most sectors that are loaded: memory from 0x9000 to 0x78000.
pub const MOST_SECTORS: usize = (0x7_8000 - 0x9000) / SECTOR;

/// Some consecutive sectors of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first of them.
    pub start: u64,
    /// How many.
    pub sectors: u16,
}

/// Whether a sector is GRUB 2's diskboot.img.
pub fn is_diskboot(sector: &[u8]) -> bool {
    let code = sector.get(..FIRST_BLOCK).unwrap_or_default();
    // GRUB legacy's has the same words, and names the stage that it loads.
    code.contains_str(b"Geom\0Read\0 Error") && !code.contains_str(b"Loading stage") && !code.contains_str(b"GRUB ")
}

/// The blocks that a diskboot.img loads; `None` when it is none or its list has no end.
pub fn blocks(sector: &[u8]) -> Option<Vec<Block>> {
    if !is_diskboot(sector) {
        return None;
    }
    let mut blocks = Vec::new();
    for at in (LAST_BLOCK..=FIRST_BLOCK).rev().step_by(12) {
        let (start, sectors) = (le64(sector, at)?, le16(sector, at + 8)?);
        if sectors == 0 {
            return Some(blocks);
        }
        blocks.push(Block { start, sectors });
    }
    None
}

/// A core image, from a file or from a disk.
#[derive(Clone, Copy, Debug)]
pub struct Core<'a> {
    bytes: &'a [u8],
    /// Its own length; on a disk, codes follow.
    size: usize,
    /// Bytes at its beginning that the codes do not protect.
    unprotected: usize,
}

/// What the codes of a core image on a disk tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// They fit: it is as it was written.
    Fit,
    /// They do not: image or codes were damaged.
    Differ,
    /// There are none.
    None,
}

impl<'a> Core<'a> {
    /// The file core.img; `None` when it is none, or one of an arrangement that is not known (before GRUB 2.00).
    pub fn of_file(bytes: &'a [u8]) -> Option<Core<'a>> {
        Core::new(bytes, bytes.len())
    }

    /// The sectors of a disk that hold a core image, all that its list of blocks names and its first; `None` when the
    /// first sectors are none.
    pub fn of_disk(bytes: &'a [u8]) -> Option<Core<'a>> {
        let redundancy = usize::try_from(le32(bytes, REDUNDANCY)?).ok()?;
        Core::new(bytes, bytes.len().checked_sub(redundancy)?)
    }

    fn new(bytes: &'a [u8], size: usize) -> Option<Core<'a>> {
        let compressed = usize::try_from(le32(bytes, COMPRESSED_SIZE)?).ok()?;
        let unprotected = SECTOR + usize::from(le16(bytes, UNPROTECTED)?);
        // The decompressor lies between the first sector and what it decompresses; it has some 3 KiB.
        let padded =
            compressed.checked_add(unprotected)? <= size && size <= compressed.checked_add(SECTOR + (16 << 10))?;
        let sound = is_diskboot(bytes.get(..SECTOR)?) && unprotected > SECTOR && padded && compressed > 0;
        sound.then_some(Core { bytes, size, unprotected })
    }

    /// How many sectors it fills without codes.
    pub fn sectors(&self) -> usize {
        self.size.div_ceil(SECTOR)
    }

    /// How many sectors grub-bios-setup takes where `room` sectors are free: as many again for codes, if they are
    /// there; `None` when there are too few.
    pub fn sectors_in(&self, room: usize) -> Option<usize> {
        let most = (2 * self.sectors()).min(MOST_SECTORS).min(room);
        (self.sectors() <= most).then_some(most)
    }

    /// The bytes to write from sector `first` on, `sectors` of them: the image with its list of blocks and its codes,
    /// as grub-bios-setup makes them. `None` when it does not fit.
    pub fn embedded(&self, first: u64, sectors: usize) -> Option<Vec<u8>> {
        if sectors < self.sectors() || sectors > MOST_SECTORS {
            return None;
        }
        let mut bytes = self.bytes.get(..self.size)?.to_vec();
        for at in (LAST_BLOCK..=FIRST_BLOCK).rev().step_by(12) {
            let block = bytes.get_mut(at..at + 12)?;
            let is_last = block.get(8..10) == Some(&[0, 0]);
            block.fill(0);
            if is_last {
                break;
            }
        }
        let rest = u16::try_from(sectors.checked_sub(1)?).ok()?;
        let list = bytes.get_mut(FIRST_BLOCK..SECTOR)?;
        list.get_mut(..8)?.copy_from_slice(&first.checked_add(1)?.to_le_bytes());
        list.get_mut(8..10)?.copy_from_slice(&rest.to_le_bytes());
        list.get_mut(10..)?.copy_from_slice(&SEGMENT.to_le_bytes());
        let redundancy = (sectors * SECTOR).checked_sub(self.size)?;
        let number = u32::try_from(redundancy).ok()?;
        bytes.get_mut(REDUNDANCY..REDUNDANCY + 4)?.copy_from_slice(&number.to_le_bytes());
        let codes = reed_solomon::redundancy(bytes.get(self.unprotected..)?, redundancy);
        bytes.extend(codes);
        Some(bytes)
    }

    /// The file core.img that it was made of: without codes, and with the list of blocks that grub-mkimage writes.
    pub fn file(&self) -> Option<Vec<u8>> {
        let sectors = self.sectors();
        let mut bytes = self.embedded(1, sectors)?;
        bytes.truncate(self.size);
        bytes.get_mut(REDUNDANCY..REDUNDANCY + 4)?.fill(0);
        Some(bytes)
    }

    /// How many bytes its kernel and modules have when they are decompressed.
    pub fn content_size(&self) -> u32 {
        le32(self.bytes, UNCOMPRESSED_SIZE).unwrap_or_default()
    }

    /// What it decompresses to, the kernel with its modules; `None` when that does not succeed. The stream has no header, and
    /// begins behind the decompressor, of whose length the image says nothing: its first byte is 0, as in every LZMA stream.
    pub fn content(&self) -> Option<Vec<u8>> {
        let compressed = usize::try_from(le32(self.bytes, COMPRESSED_SIZE)?).ok()?;
        let wanted = self.content_size();
        if wanted > MOST_CONTENT {
            return None;
        }
        let last = self.size.checked_sub(compressed)?;
        // Some versions fill the last sector up.
        let starts = (self.unprotected..=last).rev().take(SECTOR + 1);
        starts.filter(|at| self.bytes.get(*at) == Some(&0)).find_map(|at| {
            let stream = self.bytes.get(at..self.size)?;
            let reader = lzma_rust2::LzmaReader::new(stream, u64::from(wanted), 3, 0, 2, DICTIONARY, None).ok()?;
            let mut content = Vec::new();
            reader.take(u64::from(wanted)).read_to_end(&mut content).ok()?;
            (content.len() == usize::try_from(wanted).ok()? && content.contains_str(b"\0grub_")).then_some(content)
        })
    }

    /// Whether it begins with these two images: diskboot.img up to its list of blocks, and the decompressor but for the
    /// numbers in it.
    pub fn begins_with(&self, diskboot: &[u8], decompressor: &[u8]) -> bool {
        let numbers = COMPRESSED_SIZE - SECTOR..UNPROTECTED - SECTOR;
        let same = |from: usize, image: &[u8], range: std::ops::Range<usize>| {
            let part = image.get(range.clone());
            part.is_some() && self.bytes.get(from + range.start..from + range.end) == part
        };
        let length = decompressor.len();
        same(0, diskboot, 0..LAST_BLOCK)
            && length > numbers.end
            && same(SECTOR, decompressor, 0..numbers.start)
            && same(SECTOR, decompressor, numbers.end + 8..length)
    }

    /// Whether the codes behind it fit.
    pub fn codes(&self) -> Codes {
        let data = self.bytes.get(self.unprotected..self.size).unwrap_or_default();
        let found = self.bytes.get(self.size..).unwrap_or_default();
        match () {
            () if found.is_empty() => Codes::None,
            () if reed_solomon::redundancy(data, found.len()) == found => Codes::Fit,
            () => Codes::Differ,
        }
    }

    /// Whether GRUB itself restores this image from `found`, what is on the disk in its place: what the codes do not
    /// protect must be there, and of the rest in no column more be wrong than half of the codes.
    pub fn is_restored_from(&self, found: &[u8]) -> bool {
        let protected = self.unprotected..self.size;
        let same = |range: std::ops::Range<usize>| self.bytes.get(range.clone()) == found.get(range);
        found.len() == self.bytes.len()
            && same(0..self.unprotected)
            && reed_solomon::is_restorable(
                self.bytes.get(protected.clone()).unwrap_or_default(),
                found.get(protected).unwrap_or_default(),
                self.bytes.get(self.size..).unwrap_or_default(),
                found.get(self.size..).unwrap_or_default(),
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something with the fields of a core.img, of `size` bytes.
    fn image(size: usize) -> Vec<u8> {
        let mut image: Vec<u8> = (0..size).map(|n| (n * n % 251) as u8).collect();
        image[..SECTOR].fill(0x90);
        image[0x120..0x130].copy_from_slice(b"Geom\0Read\0 Error");
        image[LAST_BLOCK..SECTOR].fill(0);
        image[FIRST_BLOCK] = 2;
        image[FIRST_BLOCK + 8..FIRST_BLOCK + 10].copy_from_slice(&52_u16.to_le_bytes());
        image[FIRST_BLOCK + 10..SECTOR].copy_from_slice(&SEGMENT.to_le_bytes());
        image[COMPRESSED_SIZE..COMPRESSED_SIZE + 4].copy_from_slice(&((size - SECTOR - 2848) as u32).to_le_bytes());
        image[REDUNDANCY..REDUNDANCY + 4].fill(0);
        image[UNPROTECTED..UNPROTECTED + 2].copy_from_slice(&1883_u16.to_le_bytes());
        image
    }

    #[test]
    fn it_is_embedded_as_grub_does() {
        let file = image(27026);
        let core = Core::of_file(&file).unwrap();
        assert_eq!((core.sectors(), core.sectors_in(2047), core.sectors_in(62)), (53, Some(106), Some(62)));
        assert_eq!(core.sectors_in(52), None);
        let disk = core.embedded(1, 106).unwrap();
        assert_eq!(disk.len(), 106 * SECTOR);
        assert_eq!(blocks(&disk[..SECTOR]), Some(vec![Block { start: 2, sectors: 105 }]));
        let changed: Vec<usize> = (0..file.len()).filter(|&at| file[at] != disk[at]).collect();
        assert_eq!(changed, [0x1FC, 0x210, 0x211]);
        assert_eq!(Core::of_disk(&disk).unwrap().codes(), Codes::Fit);
        assert_eq!(Core::of_disk(&disk).unwrap().file().as_ref(), Some(&file));
        assert!(core.begins_with(&file[..SECTOR], &file[SECTOR..SECTOR + 2848]));
        assert!(!core.begins_with(&file[..SECTOR], &file[SECTOR + 1..SECTOR + 2848]));
        // Without room for codes there are none but in the rest of the last sector.
        assert_eq!(Core::of_disk(&core.embedded(34, 53).unwrap()).unwrap().codes(), Codes::Fit);
        assert_eq!(Core::of_file(&image(27136)).unwrap().embedded(1, 53).map(|disk| disk.len()), Some(27136));
    }

    #[test]
    fn damage_is_seen_and_weighed() {
        let file = image(27026);
        let core = Core::of_file(&file).unwrap();
        let good = core.embedded(1, 106).unwrap();
        let good = Core::of_disk(&good).unwrap();
        let mut one = good.bytes.to_vec();
        one[20 * SECTOR..21 * SECTOR].fill(0);
        assert_eq!(Core::of_disk(&one).unwrap().codes(), Codes::Differ);
        assert!(good.is_restored_from(&one));
        let mut many = good.bytes.to_vec();
        many[6 * SECTOR..50 * SECTOR].fill(0);
        assert!(!good.is_restored_from(&many));
        let mut beginning = good.bytes.to_vec();
        beginning[SECTOR + 100] ^= 1;
        assert!(!good.is_restored_from(&beginning));
        assert!(Core::of_disk(&vec![0; 106 * SECTOR]).is_none());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, first: u64, sectors: u16) {
            let _ = (is_diskboot(&bytes), blocks(&bytes));
            for core in Core::of_file(&bytes).into_iter().chain(Core::of_disk(&bytes)) {
                let _ = (core.embedded(first, sectors.into()), core.codes(), core.file(), core.is_restored_from(&bytes));
            }
        }

        #[test]
        fn damaged_numbers_never_panic(at in 0_usize..600, byte: u8, first: u64, sectors in 0_usize..60) {
            let mut bytes = image(27026);
            bytes[at] = byte;
            let _ = blocks(&bytes[..SECTOR]);
            for core in Core::of_file(&bytes).into_iter().chain(Core::of_disk(&bytes)) {
                if let Some(disk) = core.embedded(first, sectors) {
                    proptest::prop_assert_eq!(disk.len(), sectors * SECTOR);
                }
            }
        }
    }
}
