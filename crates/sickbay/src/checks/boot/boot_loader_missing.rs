//! GRUB 2's own code on the disk is gone: boot.img in the MBR, or the core image behind it.

use sickbay_formats::boot_sector::{self, BootCode, CODE, SECTOR};
use sickbay_formats::grub_core::{Codes, Core};

use crate::facts::Facts;
use crate::facts::boot::boot_loader::{Area, BootDisk, BootLoader, GRUB_SOURCES, need_boot};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the machine stops after "Booting from Hard Disk", at the word "GRUB", or with "No bootable device". No
    /// menu appears.
    ///
    /// ## What it finds
    /// A disk booted by a BIOS on which GRUB 2 was installed but its code is gone: the first sector (MBR) contains no
    /// code or that of another program, or the core image after it (or in the BIOS boot partition) is damaged. What is
    /// left shows that GRUB was there: the core image, or `core.img` in `/boot/grub/i386-pc`, which only grub-install
    /// writes. The error-correction codes that GRUB writes with the core image show whether it is intact.
    ///
    /// ## Why it matters
    /// The machine stops after "Booting from Hard Disk", at "GRUB", or reports that there is no bootable device.
    ///
    /// ## What the repair does
    /// Does what grub-install does as its last step, without running anything: writes `boot.img` to the first 440 bytes
    /// (disk signature and partition table stay), and `core.img` with its block list and error-correction codes to its
    /// place. It never writes to a sector that belongs to a partition. The code of another boot manager is replaced
    /// only with `--risky`.
    ///
    /// ## By hand
    /// ```sh
    /// # from a rescue system, the root mounted on ROOT
    /// grub-install --target=i386-pc --boot-directory=ROOT/boot /dev/DISK
    /// ```
    "boot-loader-missing", Boot, seed = ["B8"], proves = [BootLoader], "GRUB's boot code is missing from the disk"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let loader = facts.get::<BootLoader>()?;
    if loader.disks.iter().any(|disk| matches!(disk.code, BootCode::GrubLegacy { .. } | BootCode::Lilo)) {
        return Err(Skip::NotApplicable(tr!("a boot loader other than GRUB 2 is installed")));
    }
    if let Some(disk) = loader.with_grub2() {
        return core(facts, &loader, disk, found);
    }
    // GRUB in a partition is started by generic code or by another boot manager; which partition that starts, another
    // check looks at.
    if loader.disks.iter().any(|disk| disk.code != BootCode::None && disk.bootable().next().is_some()) {
        return Ok(());
    }
    let Some(disk) = loader.of_boot(facts) else {
        return Err(Skip::NotApplicable(tr!("no boot loader for BIOS is installed")));
    };
    need_boot(facts)?;
    let Some(traces) = traces(facts, &loader, disk) else {
        return Err(Skip::NotApplicable(tr!("no boot loader for BIOS is installed")));
    };
    let severity = severity(&loader, disk)?;
    code(facts, &loader, disk, traces, severity, found);
    // Where nothing is left of it, the one thing to do is to install it.
    if traces == Traces::Menu {
        return Ok(());
    }
    core(facts, &loader, disk, found)
}

/// How bad it is that a BIOS cannot start the disk: where a UEFI can, it may be meant for that alone.
fn severity(loader: &BootLoader, disk: &BootDisk) -> Result<Severity, Skip> {
    match loader.starts_with_uefi {
        Some(false) => Ok(Severity::Critical),
        Some(true) if disk.is_prepared() => Ok(Severity::Warning),
        Some(true) => Err(Skip::NotApplicable(tr!("the disk is booted by UEFI only"))),
        None => Err(Skip::Unknown(tr!("whether UEFI boots this disk is undetermined"))),
    }
}

/// What tells that GRUB 2 was on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traces {
    /// The core image is behind the MBR still.
    Core,
    /// core.img is on the file system.
    File,
    /// The disk is ready for a BIOS, and GRUB with a menu is on the file system.
    Menu,
}

fn traces(facts: &Facts, loader: &BootLoader, disk: &BootDisk) -> Option<Traces> {
    let menu = || {
        let dir = loader.grub.as_ref()?;
        let there = |path: &std::path::Path| facts.root().exists(path).unwrap_or(false);
        let has_source = GRUB_SOURCES.iter().any(|dir| there(dir.as_ref()));
        (there(&dir.join("grub.cfg")) && has_source && disk.is_prepared()).then_some(Traces::Menu)
    };
    match () {
        () if disk.core.is_some() => Some(Traces::Core),
        () if loader.file(facts, "core.img").is_some() => Some(Traces::File),
        () if disk.code == BootCode::None => menu(),
        () => None,
    }
}

/// No GRUB in the first sector, although it was there.
fn code(facts: &Facts, loader: &BootLoader, disk: &BootDisk, traces: Traces, severity: Severity, found: &mut Findings) {
    let message = match disk.code {
        BootCode::None => tr!("the first sector of {disk} contains no boot code", disk = disk.name),
        BootCode::ActivePartition if disk.active().is_some_and(|code| *code != BootCode::None) => {
            tr!(
                "the first sector of {disk} boots another system from the active partition, and no longer GRUB",
                disk = disk.name
            )
        }
        BootCode::ActivePartition => tr!(
            "the first sector of {disk} boots the active partition, which has no boot loader, and no longer GRUB",
            disk = disk.name
        ),
        _ => tr!("the boot code in the first sector of {disk} is not GRUB's", disk = disk.name),
    };
    let finding = found.add(severity, message);
    finding
        .at_device(disk.name.clone())
        .why(tr!("a BIOS runs the code that is there: it never reaches GRUB, and the machine does not boot"))
        .evidence(format!("{}, sector 0", disk.name), hex(&disk.mbr))
        .detail("disk", disk.index);
    if let Some(core) = &disk.core {
        finding.evidence(format!("{}, sector {}", disk.name, core.first), "diskboot.img of GRUB 2");
    }
    if severity == Severity::Critical {
        finding.stops(Stage::BootLoader);
    }
    let image = loader.image(facts, "boot.img", |bytes| matches!(BootCode::of(bytes), BootCode::Grub2 { .. }));
    let new = image.as_ref().and_then(|image| boot_sector::grub2_code(&image.bytes, &disk.mbr, first(disk)));
    match (image, new, disk.mbr.get(..CODE), disk.area) {
        (Some(image), Some(after), Some(before), Some(_)) if traces != Traces::Menu => {
            // Zeros are nobody's; anything else may be wanted.
            let risk = if disk.code == BootCode::None { Risk::Safe } else { Risk::Risky };
            let title =
                tr!("write {image} into the first 440 bytes of {disk}", image = image.path.as_path(), disk = disk.name);
            let change = Change::WriteDisk { disk: disk.index, offset: 0, before: before.to_vec(), after };
            finding.repair(risk, title, [change]);
        }
        _ => by_hand(finding, disk),
    }
}

/// The first bytes of a sector.
fn hex(sector: &[u8]) -> String {
    let bytes: Vec<String> = sector.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{} …", bytes.join(" "))
}

fn first(disk: &BootDisk) -> u64 {
    disk.area.map_or(1, |area| area.first)
}

fn by_hand(finding: &mut Finding, disk: &BootDisk) {
    finding.by_hand(tr!(
        "boot a rescue system, mount the root file system on ROOT and run: grub-install --target=i386-pc --boot-directory=ROOT/boot DEVICE, where DEVICE is {disk}",
        disk = disk.name
    ));
}

/// The core image against its codes and against core.img.
fn core(facts: &Facts, loader: &BootLoader, disk: &BootDisk, found: &mut Findings) -> Verdict {
    let first = match disk.code {
        BootCode::Grub2 { drive: Some(_), .. } => {
            return Err(Skip::Unknown(tr!("{disk} boots GRUB from another disk", disk = disk.name)));
        }
        BootCode::Grub2 { kernel_sector, .. } => kernel_sector,
        _ => first(disk),
    };
    if disk.is_in_partition(first) {
        // Installed with a list of blocks of a file: what is in the file is known only to its file system.
        if disk.core.is_some() {
            return Ok(());
        }
        let finding = damaged(
            loader,
            disk,
            first,
            tr!(
                "sector {sector} of {disk}, where the boot code looks for GRUB's core image, does not contain one",
                sector = first,
                disk = disk.name
            ),
            found,
        )?;
        by_hand(finding, disk);
        return Ok(());
    }
    let on_disk = disk.core.as_ref().filter(|core| core.in_one_piece).and_then(|core| Core::of_disk(&core.bytes));
    if on_disk.is_some_and(|core| core.codes() == Codes::Fit) {
        return Ok(());
    }
    need_boot(facts)?;
    let file = loader.file(facts, "core.img");
    let wanted = file.as_ref().and_then(|file| Core::of_file(&file.bytes));
    let Some((file, wanted)) = file.as_ref().zip(wanted) else {
        return without_file(loader, disk, first, on_disk.map(|core| core.codes()), found);
    };
    let area = disk.area.filter(|area| area.holds(first, wanted.sectors()));
    let room = |area: Area| area.sectors.saturating_sub(usize::try_from(first - area.first).unwrap_or(0));
    let sectors = match &disk.core {
        Some(core) if core.in_one_piece && core.bytes.len() >= wanted.sectors() * SECTOR => {
            Some(core.bytes.len() / SECTOR)
        }
        _ => area.and_then(|area| wanted.sectors_in(room(area))),
    };
    let Some((area, after)) = area.zip(sectors.and_then(|sectors| wanted.embedded(first, sectors))) else {
        let message = tr!(
            "{disk} has no room for GRUB's core image at sector {sector}, where the boot code looks for it",
            disk = disk.name,
            sector = first
        );
        let finding = damaged(loader, disk, first, message, found)?;
        by_hand(finding, disk);
        return Ok(());
    };
    let target = facts.target();
    let Some(raw) = target.disks.get(disk.index) else { return Ok(()) };
    let before = crate::facts::boot::boot_loader::read(raw, first, after.len() / SECTOR)?;
    if before == after {
        return Ok(());
    }
    if let Some(core) = on_disk
        && core.codes() == Codes::None
        && different(&before, &after) * 2 > after.len() / SECTOR
    {
        found.could_not_tell(tr!(
            "the core image on {disk} differs from {file}, and has no error-correction codes to verify it with",
            disk = disk.name,
            file = file.path.as_path()
        ));
        return Ok(());
    }
    let Some(whole) = Core::of_disk(&after) else { return Ok(()) };
    let message = tr!(
        "GRUB's core image on {disk} is damaged: {wrong} of {sectors} sectors starting at sector {first} {wrong?is|are} not as grub-install wrote {wrong?it|them}",
        disk = disk.name,
        wrong = different(&before, &after),
        sectors = after.len() / SECTOR,
        first
    );
    let mended = whole.is_restored_from(&before);
    let finding = if mended {
        found
            .warning(message)
            .at_device(disk.name.clone())
            .why(tr!("GRUB still repairs it from its error-correction codes at every boot; a few more damaged sectors and it no longer can"))
    } else {
        damaged(loader, disk, first, message, found)?
    };
    // What is neither zeros nor of the core image may be somebody's.
    let is_grub = matches!(disk.code, BootCode::Grub2 { .. }) || disk.core.is_some();
    let is_others = |(found, wanted): (&[u8], &[u8])| found != wanted && found.iter().any(|byte| *byte != 0);
    let others = before.chunks(SECTOR).zip(after.chunks(SECTOR)).take(wanted.sectors()).any(is_others);
    let risk = if others && !is_grub { Risk::Risky } else { Risk::Safe };
    if !area.holds(first, after.len() / SECTOR) {
        by_hand(finding, disk);
        return Ok(());
    }
    let title = tr!(
        "write {file} to sector {first} of {disk}, with its block list and its error-correction codes",
        file = file.path.as_path(),
        first,
        disk = disk.name
    );
    let offset = first * SECTOR as u64;
    finding.repair(risk, title, [Change::WriteDisk { disk: disk.index, offset, before, after }]);
    Ok(())
}

/// How many sectors differ.
fn different(one: &[u8], other: &[u8]) -> usize {
    one.chunks(SECTOR).zip(other.chunks(SECTOR)).filter(|(one, other)| one != other).count()
}

fn damaged<'a>(
    loader: &BootLoader,
    disk: &BootDisk,
    first: u64,
    message: crate::model::text::Text,
    found: &'a mut Findings,
) -> Result<&'a mut Finding, Skip> {
    let severity = severity(loader, disk)?;
    let finding = found.add(severity, message);
    finding
        .at_device(disk.name.clone())
        .why(tr!("the machine stops at \"GRUB\" or reboots over and over, before any menu appears"))
        .detail("disk", disk.index)
        .detail("sector", first);
    if severity == Severity::Critical {
        finding.stops(Stage::BootLoader);
    }
    Ok(finding)
}

/// Nothing to compare with, nor to write.
fn without_file(
    loader: &BootLoader,
    disk: &BootDisk,
    first: u64,
    codes: Option<Codes>,
    found: &mut Findings,
) -> Verdict {
    let message = match (&disk.core, codes) {
        // Before GRUB 2.00 the numbers were elsewhere.
        (Some(_), None | Some(Codes::None)) => {
            found.could_not_tell(tr!("the core image on {disk} has no error-correction codes to verify it with, and there is no core.img to compare it with", disk = disk.name));
            return Ok(());
        }
        (Some(_), Some(_)) => {
            tr!("GRUB's core image on {disk} is damaged: its error-correction codes do not match", disk = disk.name)
        }
        (None, _) => tr!(
            "sector {sector} of {disk}, where the boot code looks for GRUB's core image, does not contain one",
            sector = first,
            disk = disk.name
        ),
    };
    let finding = damaged(loader, disk, first, message, found)?;
    by_hand(finding, disk);
    Ok(())
}
