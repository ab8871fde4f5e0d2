//! GRUB legacy's stages are gone: stage1 in the MBR, or stage2 on the file system.

use sickbay_formats::boot_sector::{BootCode, CODE, SECTOR};

use crate::check::{Skip, Verdict};
use crate::facts::Facts;
use crate::facts::boot_loader::{BootDisk, BootLoader, need_boot, read};
use crate::finding::Findings;
use crate::proof::Stage;
use crate::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## What it finds
    /// GRUB legacy (0.97: RHEL 5 and 6, SUSE 11, Amazon Linux 1) is installed in `/boot/grub`, but its stage 1 is not in
    /// the first sector of the disk, or the sectors that it loads next, or the file `stage2`, are gone.
    ///
    /// ## Why it matters
    /// The machine stops after "Booting from Hard Disk", at "GRUB", or with "Error 15".
    ///
    /// ## What the repair does
    /// Where stage 1.5 still lies behind the first sector, writes `stage1` before it as GRUB's `install` does; copies `stage2`
    /// from `/usr/share/grub`. By hand, in GRUB's shell: `root (hd0,0)` and `setup (hd0)`.
    "grub-legacy-missing", Boot, seed = ["B8"], proves = [BootLoader], "a stage of GRUB legacy is gone"
}

const STAGE1: &str = "/boot/grub/stage1";
const STAGE2: &str = "/boot/grub/stage2";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let loader = facts.get::<BootLoader>()?;
    let root = facts.root();
    let in_mbr = loader.disks.iter().find(|disk| matches!(disk.code, BootCode::GrubLegacy { .. }));
    let menu = root.exists("/boot/grub/menu.lst")? || root.exists("/boot/grub/grub.conf")?;
    let stage1 = facts.file(STAGE1)?;
    if in_mbr.is_none() && !(menu && stage1.is_some()) {
        return Err(Skip::NotApplicable(tr!("GRUB legacy is not installed")));
    }
    need_boot(facts)?;
    if loader.with_grub2().is_some() || loader.starts_with_uefi == Some(true) {
        return Err(Skip::NotApplicable(tr!("another boot loader starts this disk")));
    }
    // Started by the boot sector of its partition.
    if loader.disks.iter().any(|disk| disk.starts_partition().is_some()) {
        return Ok(());
    }
    // Without a menu its own files are elsewhere: another system's GRUB.
    if menu {
        stage2(facts, found)?;
    }
    let Some(disk) = in_mbr.or_else(|| loader.of_boot(facts)) else { return Ok(()) };
    let Some(raw) = facts.target().disks.get(disk.index) else { return Ok(()) };
    if let BootCode::GrubLegacy { sector } = disk.code {
        let next = read(raw, sector.into(), 1)?;
        if is_stage(&next) {
            return Ok(());
        }
        let finding = found.critical(tr!(
            "sector {sector} of {disk}, where stage 1 of GRUB looks for the next stage, holds none",
            sector,
            disk = disk.name
        ));
        finding.at_device(disk.name.clone()).why(tr!("the machine stops at \"GRUB\"")).stops(Stage::BootLoader);
        by_hand(finding);
        return Ok(());
    }
    let finding = found.critical(tr!("the first sector of {disk} does not hold stage 1 of GRUB", disk = disk.name));
    finding
        .at_device(disk.name.clone())
        .why(tr!("a BIOS runs what is there: it does not come to GRUB, and the machine does not start"))
        .stops(Stage::BootLoader);
    let code = stage1.as_ref().and_then(|stage1| first_sector(&stage1.bytes, disk));
    let next = read(raw, 1, 1)?;
    match (code, disk.mbr.get(..CODE)) {
        (Some(after), Some(before)) if is_stage(&next) => {
            let risk = if disk.code == BootCode::None { Risk::Safe } else { Risk::Risky };
            let change = Change::WriteDisk { disk: disk.index, offset: 0, before: before.to_vec(), after };
            finding.repair(
                risk,
                tr!("write {stage1} into the first 440 bytes of {disk}", stage1 = STAGE1, disk = disk.name),
                [change],
            );
        }
        _ => by_hand(finding),
    }
    Ok(())
}

fn by_hand(finding: &mut crate::finding::Finding) {
    finding.by_hand(tr!(
        "start a rescue system that has GRUB 0.97 and run in its shell: device (hd0) DISK, root (hd0,0), setup (hd0)"
    ));
}

/// The first sector of stage 1.5 or of stage 2: words of its code, and a list of blocks at its end.
fn is_stage(sector: &[u8]) -> bool {
    use bstr::ByteSlice;
    sector.contains_str(b"Geom\0Read\0 Error")
        && sector.get(SECTOR - 4..SECTOR - 2).is_some_and(|length| length != [0, 0])
}

/// The code that GRUB's `install` makes of stage1 for a hard disk whose stage 1.5 begins in sector 1 (stage1/stage1.h of
/// GRUB 0.97): the drive is the one that the BIOS started (0xFF at 0x40), stage 1.5 runs at 0x2000 (0x42) in segment
/// 0x200 (0x48), and two `nop` (0x4B) keep it from believing a BIOS that names a floppy.
fn first_sector(stage1: &[u8], disk: &BootDisk) -> Option<Vec<u8>> {
    if stage1.len() != SECTOR || !matches!(BootCode::of(stage1), BootCode::GrubLegacy { .. }) {
        return None;
    }
    let mut code = stage1.get(..CODE)?.to_vec();
    // The description of a FAT, if there is one, and nothing else, stands between the jump and the fields.
    code.get_mut(0x04..0x3E)?.copy_from_slice(disk.mbr.get(0x04..0x3E)?);
    let fields: [(usize, &[u8]); 5] =
        [(0x40, &[0xFF]), (0x42, &[0x00, 0x20]), (0x44, &[1, 0, 0, 0]), (0x48, &[0x00, 0x02]), (0x4B, &[0x90, 0x90])];
    for (at, bytes) in fields {
        code.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    }
    Some(code)
}

/// The file that stage 1.5 looks for by name.
fn stage2(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.file(STAGE2)?.is_some_and(|file| file.bytes.len() > 2 * SECTOR) {
        return Ok(());
    }
    let there = facts.root().metadata(STAGE2).is_ok();
    let finding = found.critical(if there {
        tr!("{path} is empty", path = STAGE2)
    } else {
        tr!("{path} is not there", path = STAGE2)
    });
    finding.at_path(STAGE2).why(tr!("GRUB stops with \"Error 15: File not found\"")).stops(Stage::BootLoader);
    let sources = [
        "/usr/share/grub/x86_64-redhat/stage2",
        "/usr/share/grub/i386-redhat/stage2",
        "/usr/lib/grub/stage2",
        "/usr/lib/grub/x86_64-pc/stage2",
        "/usr/lib/grub/i386-pc/stage2",
    ];
    let source =
        sources.iter().filter_map(|path| facts.file(path).ok().flatten()).find(|file| file.bytes.len() > 2 * SECTOR);
    match (source, facts.file(STAGE2)?) {
        // Embedded in stage 1.5 is the name of the menu; stage2 has it too, and its own default is the same.
        (Some(source), None) => {
            finding.repair(
                Risk::Risky,
                tr!("copy {source} to {path}", source = source.path.as_path(), path = STAGE2),
                [Change::create(STAGE2, source.bytes.clone(), 0o644)],
            );
        }
        (Some(source), Some(old)) => {
            finding.repair(
                Risk::Risky,
                tr!("copy {source} to {path}", source = source.path.as_path(), path = STAGE2),
                [Change::edit(&old, source.bytes.clone())],
            );
        }
        (None, _) => by_hand(finding),
    }
    Ok(())
}
