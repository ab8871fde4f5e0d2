//! GRUB legacy's stages are gone: stage1 in the MBR, or stage2 on the file system.

use std::path::Path;

use sickbay_formats::boot_sector::{BootCode, CODE, SECTOR};
use sickbay_formats::grub_legacy_stage::{is_stage, stage1_5_sectors, stage1_code};

use crate::facts::Facts;
use crate::facts::boot::boot_loader::{BootDisk, BootLoader, need_boot, read};
use crate::facts::boot::devices::Devices;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the machine stops after "Booting from Hard Disk", at "GRUB", or with "Error 15: File not found".
    ///
    /// ## What it finds
    /// GRUB legacy (0.97: RHEL 5 and 6, SUSE 11, Amazon Linux 1) is installed in `/boot/grub`, but its stage 1 is not
    /// in the first sector of the disk, or the sectors that it loads next, or the file `stage2`, are gone.
    ///
    /// ## Why it matters
    /// The boot ends before any menu, and no kernel is loaded.
    ///
    /// ## What the repair does
    /// Writes `stage1` to the first sector, and stage 1.5 for the file system of `/boot` after it, as GRUB's `embed`
    /// and `install` do; copies `stage2` from `/usr/share/grub` (`--risky`).
    ///
    /// ## By hand
    /// ```sh
    /// # in the shell of GRUB 0.97, started from a rescue system
    /// device (hd0) /dev/DISK
    /// root (hd0,0)
    /// setup (hd0)
    /// ```
    "grub-legacy-missing", Boot, seed = ["B8"], proves = [BootLoader], "a stage of GRUB legacy is missing"
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
        return Err(Skip::NotApplicable(tr!("another boot loader boots this disk")));
    }
    // Started by the boot sector of its partition.
    if loader.disks.iter().any(|disk| disk.code != BootCode::None && disk.bootable().next().is_some()) {
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
            if sector == 1 {
                damaged(facts, disk, found);
            }
            return Ok(());
        }
        let finding = found.critical(tr!(
            "sector {sector} of {disk}, where stage 1 of GRUB looks for the next stage, does not contain one",
            sector,
            disk = disk.name
        ));
        finding.at_device(disk.name.clone()).why(tr!("the machine stops at \"GRUB\"")).stops(Stage::BootLoader);
        match stage1_5(facts, disk).filter(|_| sector == 1) {
            Some((path, change)) => {
                finding.repair(
                    Risk::Safe,
                    tr!("write {path} after the first sector of {disk}", path, disk = disk.name),
                    [change],
                );
            }
            None => by_hand(finding),
        }
        return Ok(());
    }
    let finding = found.critical(tr!("the first sector of {disk} does not contain stage 1 of GRUB", disk = disk.name));
    finding
        .at_device(disk.name.clone())
        .why(tr!("a BIOS runs the code that is there: it never reaches GRUB, and the machine does not boot"))
        .stops(Stage::BootLoader);
    let code = stage1.as_ref().and_then(|stage1| stage1_code(&stage1.bytes, &disk.mbr));
    let next = read(raw, 1, 1)?;
    let behind = if is_stage(&next) { Some(None) } else { stage1_5(facts, disk).map(Some) };
    match (code, disk.mbr.get(..CODE), behind) {
        (Some(after), Some(before), Some(behind)) => {
            // Zeros are nobody's; anything else may be wanted.
            let risk = if disk.code == BootCode::None { Risk::Safe } else { Risk::Risky };
            let code = Change::WriteDisk { disk: disk.index, offset: 0, before: before.to_vec(), after };
            let title = match &behind {
                None => tr!("write {stage1} into the first 440 bytes of {disk}", stage1 = STAGE1, disk = disk.name),
                Some((path, _)) => tr!(
                    "write {stage1} into the first 440 bytes of {disk}, and {path} after its first sector",
                    stage1 = STAGE1,
                    disk = disk.name,
                    path
                ),
            };
            finding.repair(risk, title, behind.into_iter().map(|(_, change)| change).chain([code]));
        }
        _ => by_hand(finding),
    }
    Ok(())
}

/// Stage 1.5 that begins as the file does and then goes on otherwise.
fn damaged(facts: &Facts, disk: &BootDisk, found: &mut Findings) {
    let Some((path, change)) = stage1_5(facts, disk) else { return };
    let Change::WriteDisk { before, after, .. } = &change else { return };
    let begins_alike = before.get(..2 * SECTOR) == after.get(..2 * SECTOR);
    if !begins_alike || before == after {
        return;
    }
    let finding =
        found.critical(tr!("stage 1.5 of GRUB after the first sector of {disk} is damaged", disk = disk.name));
    finding.at_device(disk.name.clone()).why(tr!("the machine stops at \"GRUB\"")).stops(Stage::BootLoader).repair(
        Risk::Safe,
        tr!("write {path} after the first sector of {disk}", path, disk = disk.name),
        [change],
    );
}

fn by_hand(finding: &mut crate::model::finding::Finding) {
    finding.by_hand(tr!(
        "boot a rescue system that has GRUB 0.97 and run in its shell: device (hd0) DISK, root (hd0,0), setup (hd0)"
    ));
}

/// Stage 1.5 for the file system of `/boot`, to be written behind the MBR.
fn stage1_5(facts: &Facts, disk: &BootDisk) -> Option<(String, Change)> {
    let devices = facts.get::<Devices>().ok()?;
    let separate = devices.mounted_on(Path::new("/boot"));
    let volume = separate.or_else(|| devices.root())?;
    let name = match volume.fstype.as_str() {
        "ext2" | "ext3" | "ext4" => "e2fs_stage1_5",
        "xfs" => "xfs_stage1_5",
        "reiserfs" => "reiserfs_stage1_5",
        "jfs" => "jfs_stage1_5",
        "vfat" => "fat_stage1_5",
        _ => return None,
    };
    let path = format!("/boot/grub/{name}");
    let file = facts.file(&path).ok().flatten()?;
    let menu = ["grub.conf", "menu.lst"]
        .into_iter()
        .find(|name| facts.root().exists(format!("/boot/grub/{name}")).unwrap_or(false))?;
    let dir = if separate.is_some() { "/grub" } else { "/boot/grub" };
    let partition = u8::try_from(volume.partition.filter(|_| volume.disk == disk.index)?.checked_sub(1)?).ok()?;
    let after = stage1_5_sectors(&file.bytes, partition, &format!("{dir}/stage2"), &format!("{dir}/{menu}"))?;
    let raw = facts.target().disks.get(disk.index)?;
    let before = read(raw, 1, after.len() / SECTOR).ok()?;
    let has_room = disk.area.is_some_and(|area| area.partition.is_none() && area.holds(1, after.len() / SECTOR));
    has_room.then_some((path, Change::WriteDisk { disk: disk.index, offset: SECTOR as u64, before, after }))
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
        tr!("{path} does not exist", path = STAGE2)
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
