//! The stages of GRUB legacy (0.97) on a disk: stage 1 in the MBR, and stage 1.5, which knows one file system, behind it.
//!
//! Names in capitals are those of stage1/stage1.h and stage2/shared.h of GRUB 0.97.

use bstr::ByteSlice;

use crate::boot_sector::{BootCode, CODE, SECTOR, le16};

/// Where the first block of the list of blocks at the end of a stage's first sector has its length.
const BLOCK_LENGTH: usize = SECTOR - 4;
/// Where stage 1.5 and stage 2 have the version of their own fields, 3.2 (STAGE2_VER_MAJ_OFFS), and the version of GRUB,
/// a text that ends in 0 (STAGE2_VER_STR_OFFS). The device and the names of stage 2 and of the menu follow it.
const VERSION: usize = SECTOR + 0x06;
const VERSION_TEXT: usize = SECTOR + 0x12;

/// The 440 bytes that `install` makes of the file stage1 for the Master Boot Record `mbr` of a hard disk, with stage 1.5
/// from sector 1 on. `None` when `stage1` is none.
pub fn stage1_code(stage1: &[u8], mbr: &[u8]) -> Option<Vec<u8>> {
    if stage1.len() != SECTOR || !matches!(BootCode::of(stage1), BootCode::GrubLegacy { .. }) {
        return None;
    }
    let mut code = stage1.get(..CODE)?.to_vec();
    // The description of a FAT, if there is one, and nothing else, stands between the jump and the fields.
    code.get_mut(0x04..0x3E)?.copy_from_slice(mbr.get(0x04..0x3E)?);
    let fields: [(usize, &[u8]); 5] = [
        // STAGE1_BOOT_DRIVE: the one that the BIOS started.
        (0x40, &[0xFF]),
        // STAGE1_STAGE2_ADDRESS, _SECTOR and _SEGMENT: where stage 1.5 is, and where it runs.
        (0x42, &[0x00, 0x20]),
        (0x44, &[1, 0, 0, 0]),
        (0x48, &[0x00, 0x02]),
        // STAGE1_BOOT_DRIVE_CHECK: two `nop` keep it from believing a BIOS that names a floppy.
        (0x4B, &[0x90, 0x90]),
    ];
    for (at, bytes) in fields {
        code.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    }
    Some(code)
}

/// Whether a sector is the first one of a stage: words of its code, and a list of blocks at its end.
pub fn is_stage(sector: &[u8]) -> bool {
    sector.contains_str(b"Geom\0Read\0 Error") && le16(sector, BLOCK_LENGTH).is_some_and(|length| length != 0)
}

/// The sectors that `embed` and `install` make of a file like e2fs_stage1_5, to be written from sector 1 on: `partition`
/// (from 0 on) holds `stage2` and `menu`, named from the root of its file system. `None` when it is no such file or the
/// names do not fit.
pub fn stage1_5_sectors(file: &[u8], partition: u8, stage2: &str, menu: &str) -> Option<Vec<u8>> {
    if file.get(VERSION..VERSION + 2) != Some(&[3, 2]) || !file.get(..SECTOR)?.contains_str(b"Geom\0Read\0 Error") {
        return None;
    }
    let mut sectors = file.to_vec();
    sectors.resize(file.len().div_ceil(SECTOR) * SECTOR, 0);
    let rest = u16::try_from(sectors.len() / SECTOR - 1).ok()?;
    sectors.get_mut(BLOCK_LENGTH..BLOCK_LENGTH + 2)?.copy_from_slice(&rest.to_le_bytes());
    let device = VERSION_TEXT + file.get(VERSION_TEXT..)?.find_byte(0)? + 1;
    // The drive that was started, the partition, and no BSD partition in it.
    sectors.get_mut(device..device + 4)?.copy_from_slice(&[0xFF, 0xFF, partition, 0xFF]);
    let names = device + 4;
    let text = format!("{stage2} {menu}\0");
    let old = file.get(names..)?.find_byte(0)?;
    // What follows the old name up to the code is zeros.
    let free = file.get(names + old..)?.iter().take_while(|byte| **byte == 0).count();
    if text.len() > old + free {
        return None;
    }
    sectors.get_mut(names..names + old)?.fill(0);
    sectors.get_mut(names..names + text.len())?.copy_from_slice(text.as_bytes());
    Some(sectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for (at, part) in parts {
            bytes[*at..*at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn stages_are_fitted_to_a_disk() {
        let stage1 = with(SECTOR, &[(0, &[0xEB, 0x48]), (0x3E, &[3, 2]), (0x180, b"GRUB \0Geom\0")]);
        let code = stage1_code(&stage1, &[9; SECTOR]).unwrap();
        assert_eq!(BootCode::of(&[&code[..], &[0; 72]].concat()), BootCode::GrubLegacy { sector: 1 });
        assert_eq!((code[3], code[4], code[0x3D]), (0, 9, 9));

        let file = with(
            9460,
            &[
                (0x120, b"Geom\0Read\0 Error"),
                (SECTOR + 6, &[3, 2]),
                (VERSION_TEXT, b"0.97\0\xFF\xFF\xFF\xFF/boot/grub/stage2"),
                (SECTOR + 0x70, b"code"),
            ],
        );
        let sectors = stage1_5_sectors(&file, 0, "/grub/stage2", "/grub/grub.conf").unwrap();
        assert_eq!((sectors.len(), &sectors[BLOCK_LENGTH..BLOCK_LENGTH + 2]), (19 * SECTOR, &[18, 0][..]));
        assert_eq!(&sectors[0x217..0x21B], [0xFF, 0xFF, 0, 0xFF]);
        assert!(sectors[0x21B..].starts_with(b"/grub/stage2 /grub/grub.conf\0"));
        assert_eq!(&sectors[SECTOR + 0x70..SECTOR + 0x74], b"code");
        assert!(is_stage(&sectors[..SECTOR]) && !is_stage(&file[..SECTOR]));
        assert_eq!(stage1_5_sectors(&file, 0, "/grub/stage2", &"/x".repeat(60)), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, partition: u8, name: String) {
            let _ = (stage1_code(&bytes, &bytes), is_stage(&bytes), stage1_5_sectors(&bytes, partition, &name, &name));
        }

        #[test]
        fn damaged_fields_never_panic(at in 0_usize..600, byte: u8, length in 500_usize..1200) {
            let mut file = with(length.max(610), &[(0x120, b"Geom\0Read\0 Error"), (SECTOR + 6, &[3, 2])]);
            file[at] = byte;
            file.truncate(length);
            if let Some(sectors) = stage1_5_sectors(&file, 1, "/a", "/b") {
                proptest::prop_assert_eq!(sectors.len() % SECTOR, 0);
            }
        }
    }
}
