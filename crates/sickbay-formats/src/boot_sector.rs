//! The first sector of a disk or partition on a PC with a BIOS: boot code, and on a disk the Master Boot Record.
//!
//! The BIOS runs the code when the sector ends in 55 AA. Of a Master Boot Record 440 bytes are code; the disk
//! signature, four partitions of 16 bytes and 55 AA follow. What the code is shows in the fields and words that each
//! boot loader puts at its own places.

use bstr::ByteSlice;

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Bytes of code in a Master Boot Record; what follows describes the disk.
pub const CODE: usize = 440;
/// Where 55 AA stands.
pub const SIGNATURE_AT: usize = 510;
/// What the BIOS looks for at the end.
pub const SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// Where GRUB 2's boot.img has the number of the sector of its core image: 64 bits
/// (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`, include/grub/i386/pc/boot.h of GRUB).
const KERNEL_SECTOR: usize = 0x5C;
/// Where it has the number of the BIOS's drive that holds the core image; 0xFF for the one that it was read from.
const BOOT_DRIVE: usize = 0x64;
/// Where it has the jump that believes a BIOS which names no hard disk; two `nop` take its place on hard disks.
const DRIVE_CHECK: usize = 0x66;
/// The description of a FAT that boot.img leaves room for, and that must stay where there is one.
const BPB: std::ops::Range<usize> = 0x03..0x5A;
/// Where GRUB legacy's stage1 has its version (3.2 for all of 0.9x), and the sector of what it loads: 32 bits
/// (stage1/stage1.h of GRUB 0.97).
const STAGE1_VERSION: usize = 0x3E;
const STAGE1_SECTOR: usize = 0x44;

/// Whose code is in a boot sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootCode {
    /// None: zeros.
    None,
    /// GRUB 2's boot.img.
    Grub2 {
        /// The sector of the disk from which on the core image lies.
        kernel_sector: u64,
        /// The BIOS's number of the drive that holds it; `None` for the drive that the sector was read from.
        drive: Option<u8>,
    },
    /// GRUB legacy's stage1.
    GrubLegacy {
        /// The sector of the disk from which on stage 1.5 or stage 2 lies.
        sector: u32,
    },
    /// LILO.
    Lilo,
    /// Code that starts the boot sector of the active partition, as Windows, syslinux and parted write it.
    ActivePartition,
    /// syslinux's code for a GPT, which starts the partition with the attribute "legacy BIOS bootable".
    GptActivePartition,
    /// The boot sector of syslinux or extlinux in a partition.
    Syslinux,
    /// The boot sector of a file system, which says of itself that it does not start anything, or starts Windows.
    FileSystem,
    /// Code that is none of these.
    Unknown,
}

impl BootCode {
    /// Whose code it is. Looks at the first 440 bytes, and at nothing when there are fewer.
    pub fn of(sector: &[u8]) -> BootCode {
        let Some(code) = sector.get(..CODE) else { return BootCode::Unknown };
        let has = |words: &[u8]| code.contains_str(words);
        if code.iter().all(|byte| *byte == 0) {
            return BootCode::None;
        }
        if has(b"GRUB \0Geom\0") {
            return grub(code);
        }
        let is_fat_or_ntfs =
            [&b"FAT12   "[..], b"FAT16   ", b"FAT32   ", b"NTFS    ", b"EXFAT   "].iter().any(|name| has(name));
        match () {
            () if has(b"LILO") => BootCode::Lilo,
            () if has(b"EFI PART") => BootCode::GptActivePartition,
            () if has(b"SYSLINUX") || has(b"EXTLINUX") || has(b"ldlinux.sys") => BootCode::Syslinux,
            () if is_fat_or_ntfs => BootCode::FileSystem,
            // Moved to 0x600, the table of partitions is at 0x7BE; a register is loaded with that: BE (si) or BD (bp).
            () if has(b"\xBE\xBE\x07") || has(b"\xBD\xBE\x07") => BootCode::ActivePartition,
            () => BootCode::Unknown,
        }
    }

    /// Whether it is some GRUB.
    pub fn is_grub(&self) -> bool {
        matches!(self, BootCode::Grub2 { .. } | BootCode::GrubLegacy { .. })
    }
}

fn grub(code: &[u8]) -> BootCode {
    // Both begin with a short jump over their fields, of which GRUB 2 has more.
    match code.get(1) {
        Some(0x63) => {
            let drive = code.get(BOOT_DRIVE).copied().filter(|drive| *drive != 0xFF);
            le64(code, KERNEL_SECTOR)
                .map_or(BootCode::Unknown, |kernel_sector| BootCode::Grub2 { kernel_sector, drive })
        }
        Some(0x48) if code.get(STAGE1_VERSION..STAGE1_VERSION + 2) == Some(&[3, 2]) => {
            le32(code, STAGE1_SECTOR).map_or(BootCode::Unknown, |sector| BootCode::GrubLegacy { sector })
        }
        _ => BootCode::Unknown,
    }
}

/// The 440 bytes that grub-bios-setup(8) writes for a boot.img into the Master Boot Record `mbr` of a hard disk whose
/// core image begins in `kernel_sector`. `None` when `image` is no boot.img or `mbr` no sector.
pub fn grub2_code(image: &[u8], mbr: &[u8], kernel_sector: u64) -> Option<Vec<u8>> {
    if image.len() != SECTOR || !matches!(BootCode::of(image), BootCode::Grub2 { .. }) {
        return None;
    }
    let mut code = image.get(..CODE)?.to_vec();
    code.get_mut(BPB)?.copy_from_slice(mbr.get(BPB)?);
    code.get_mut(KERNEL_SECTOR..KERNEL_SECTOR + 8)?.copy_from_slice(&kernel_sector.to_le_bytes());
    *code.get_mut(BOOT_DRIVE)? = 0xFF;
    code.get_mut(DRIVE_CHECK..DRIVE_CHECK + 2)?.fill(0x90);
    Some(code)
}

/// Whether a sector ends in 55 AA.
pub fn is_signed(sector: &[u8]) -> bool {
    sector.get(SIGNATURE_AT..SECTOR) == Some(&SIGNATURE)
}

/// One of the four partitions of a Master Boot Record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1 to 4.
    pub number: u32,
    /// Where in the sector its 16 bytes begin; the first of them is 0x80 for the active partition.
    pub at: usize,
    /// Whether generic boot code starts this one.
    pub active: bool,
    /// What it is for: 0x83 Linux, 0xEE the GPT's protection …
    pub kind: u8,
    /// Its first sector.
    pub start: u32,
    /// Its length in sectors.
    pub sectors: u32,
}

/// The partitions that a Master Boot Record describes; empty entries are left out.
pub fn entries(sector: &[u8]) -> Vec<Entry> {
    let entry = |number: u32| {
        let at = 446 + 16 * (number as usize - 1);
        let raw = sector.get(at..at + 16)?;
        let [flag, _, _, _, kind, ..] = raw else { return None };
        let (start, sectors) = (le32(raw, 8)?, le32(raw, 12)?);
        let used = *kind != 0 && sectors != 0;
        used.then_some(Entry { number, at, active: *flag == 0x80, kind: *kind, start, sectors })
    };
    (1..=4).filter_map(entry).collect()
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

pub(crate) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut sector = vec![0; SECTOR];
        for (at, bytes) in parts {
            sector[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        sector
    }

    #[test]
    fn codes_are_told_apart() {
        let code = |parts: &[(usize, &[u8])]| BootCode::of(&with(parts));
        assert_eq!(code(&[]), BootCode::None);
        // What describes the disk is no code.
        assert_eq!(code(&[(440, &[1; 72])]), BootCode::None);
        let words = (0x180, &b"GRUB \0Geom\0Hard Disk\0Read\0 Error\r\n"[..]);
        assert_eq!(
            code(&[(0, &[0xEB, 0x63, 0x90]), (KERNEL_SECTOR, &[34]), (BOOT_DRIVE, &[0xFF]), words]),
            BootCode::Grub2 { kernel_sector: 34, drive: None }
        );
        assert_eq!(
            code(&[(0, &[0xEB, 0x48, 0x90]), (STAGE1_VERSION, &[3, 2]), (STAGE1_SECTOR, &[1]), words]),
            BootCode::GrubLegacy { sector: 1 }
        );
        assert_eq!(code(&[(0, &[0xEB, 0x17]), words]), BootCode::Unknown);
        assert_eq!(code(&[(6, b"LILO")]), BootCode::Lilo);
        // The beginnings of what parted and Windows 7 write.
        assert_eq!(code(&[(0, b"\xFA\xB8\x00\x10\x8E\xD0"), (30, b"\xBE\xBE\x07\x38\x04")]), BootCode::ActivePartition);
        assert_eq!(code(&[(0, b"\x33\xC0\x8E\xD0"), (30, b"\xBD\xBE\x07\x80\x7E\x00")]), BootCode::ActivePartition);
        assert_eq!(code(&[(0, b"\xEB\x58\x90mkfs.fat"), (0x52, b"FAT32   ")]), BootCode::FileSystem);
        assert_eq!(code(&[(0, b"\xEB\x3C\x90NTLDR")]), BootCode::Unknown);
        assert_eq!(BootCode::of(b"short"), BootCode::Unknown);
    }

    #[test]
    fn boot_img_is_fitted_to_a_disk() {
        let image = with(&[
            (0, &[0xEB, 0x63, 0x90]),
            (KERNEL_SECTOR, &[1]),
            (DRIVE_CHECK, &[0xEB, 0x05]),
            (0x180, b"GRUB \0Geom\0"),
            (440, &[7; 70]),
        ]);
        let mbr = with(&[(3, b"MSDOS5.0"), (440, &[9; 70])]);
        let code = grub2_code(&image, &mbr, 2048).unwrap();
        assert_eq!(code.len(), CODE);
        assert_eq!(&code[3..11], b"MSDOS5.0");
        assert_eq!(&code[DRIVE_CHECK..DRIVE_CHECK + 2], [0x90, 0x90]);
        assert_eq!(BootCode::of(&[code, vec![0; 72]].concat()), BootCode::Grub2 { kernel_sector: 2048, drive: None });
        assert_eq!(grub2_code(&mbr, &mbr, 1), None);
    }

    #[test]
    fn partitions_of_an_mbr() {
        let entry = [0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 75, 0];
        let sector = with(&[(446, &entry), (510, &SIGNATURE)]);
        let all = entries(&sector);
        assert!(is_signed(&sector));
        assert_eq!(all, [Entry { number: 1, at: 446, active: true, kind: 0x83, start: 2048, sectors: 75 << 16 }]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, sector: u64) {
            let _ = (BootCode::of(&bytes), entries(&bytes), is_signed(&bytes), grub2_code(&bytes, &bytes, sector));
        }

        #[test]
        fn any_sector_has_a_name(bytes in proptest::collection::vec(proptest::num::u8::ANY, SECTOR), sector: u64) {
            let _ = (BootCode::of(&bytes), entries(&bytes));
            // Words of GRUB in any surroundings: what is written is what is read.
            let mut image = bytes.clone();
            image[..2].copy_from_slice(&[0xEB, 0x63]);
            image[0x180..0x18B].copy_from_slice(b"GRUB \0Geom\0");
            let mut code = grub2_code(&image, &bytes, sector).unwrap();
            code.extend(&bytes[CODE..]);
            proptest::prop_assert_eq!(BootCode::of(&code), BootCode::Grub2 { kernel_sector: sector, drive: None });
        }
    }
}
