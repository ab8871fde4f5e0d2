//! The partition table is there, but those who start the machine do not take it.

use sickbay_formats::boot_sector::{self, BootCode, SECTOR, SIGNATURE_AT};
use sickbay_formats::gpt::Header;
use sickbay_target::{Disk, Table};

use crate::facts::Facts;
use crate::facts::boot::boot_loader::{BootLoader, PROTECTIVE, disks_of_start, read};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Missing operating system", "No bootable device", GRUB's "error: no such partition", or a rescue system
    /// in which the disk has no partitions.
    ///
    /// ## What it finds
    /// The first sector of a disk does not end in 55 AA, or lost the entry that protects a GPT; the primary GPT is
    /// damaged; or the boot code boots the active partition and none is active.
    ///
    /// ## Why it matters
    /// A BIOS skips a disk without 55 AA. Linux and GRUB read only the primary GPT, and none without its protective
    /// entry: they see a disk without partitions.
    ///
    /// ## What the repair does
    /// Writes 55 AA, the protective entry, or the primary GPT from the backup at the end of the disk; or sets the
    /// active flag on the only partition that has a boot loader.
    ///
    /// ## By hand
    /// ```sh
    /// # gdisk: r (recovery), b (use backup header), c (use backup table), w (write)
    /// gdisk /dev/DISK
    /// sfdisk --activate /dev/DISK NUMBER
    /// ```
    "partition-table-damaged", Boot, seed = ["B8"], proves = [PartitionTable], "the partition table cannot be read by firmware, GRUB or Linux"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let target = facts.target();
    let devices = disks_of_start(facts)?;
    let mut judged = false;
    for (index, disk) in target.disks.iter().enumerate() {
        let on_it = || devices.volumes.iter().filter(|volume| volume.disk == index);
        let Some(table) = on_it().find_map(|volume| volume.table) else { continue };
        judged = true;
        // Without it, a data disk is missed; a disk of the system is what the machine starts from.
        let is_of_system = on_it().any(|volume| {
            volume.mounted_on.as_ref().is_some_and(|place| place.as_os_str() == "/" || place.as_os_str() == "/boot")
        });
        let severity = if is_of_system { Severity::Critical } else { Severity::Error };
        let mbr = read(disk, 0, 1)?;
        first_sector(disk, index, &mbr, table, severity, found);
        if table == Table::Gpt {
            first_copy(disk, index, severity, found)?;
        }
    }
    if let Ok(loader) = facts.get::<BootLoader>() {
        active(&loader, found);
    }
    if judged { Ok(()) } else { Err(Skip::NotApplicable(tr!("no disk with a partition table is known"))) }
}

fn first_sector(disk: &Disk, index: usize, mbr: &[u8], table: Table, severity: Severity, found: &mut Findings) {
    let is_protected = boot_sector::entries(mbr).iter().any(|entry| entry.kind == PROTECTIVE);
    let at = if table == Table::Gpt && !is_protected { 446 } else { SIGNATURE_AT };
    let Some(before) = mbr.get(at..SECTOR) else { return };
    let after = if at == 446 { protection(disk) } else { boot_sector::SIGNATURE.to_vec() };
    if before == after || (is_protected || table == Table::Mbr) && boot_sector::is_signed(mbr) {
        return;
    }
    let (message, why) = if at == 446 {
        (
            tr!("the first sector of {disk} does not announce the disk's GPT", disk = disk.name),
            tr!("without that, neither the firmware nor GRUB nor Linux looks for the partitions"),
        )
    } else {
        (
            tr!("the first sector of {disk} does not end in 55 AA", disk = disk.name),
            tr!("a BIOS does not boot the disk, and Linux does not see its partitions"),
        )
    };
    let finding = found.add(severity, message);
    finding.at_device(disk.name.clone()).why(why).detail("disk", index);
    finding.evidence(
        format!("{}, byte 510", disk.name),
        format!("{:02x?}", mbr.get(SIGNATURE_AT..SECTOR).unwrap_or_default()),
    );
    if severity == Severity::Critical {
        finding.stops(Stage::PartitionTable);
    }
    // Partitions of an MBR beside a GPT: which of them is right, only a person knows.
    if at == 446 && !before.iter().take(64).all(|byte| *byte == 0) {
        finding.by_hand(tr!("inspect {disk} with gdisk: it has both an MBR and a GPT", disk = disk.name));
        return;
    }
    let change = Change::WriteDisk { disk: index, offset: at as u64, before: before.to_vec(), after };
    finding.repair(Risk::Safe, tr!("rewrite the end of the first sector of {disk}", disk = disk.name), [change]);
}

/// The four entries of a protective MBR and 55 AA (UEFI specification, chapter 5.2.3).
fn protection(disk: &Disk) -> Vec<u8> {
    let sectors = u32::try_from(disk.size / SECTOR as u64 - 1).unwrap_or(u32::MAX);
    let mut bytes = vec![0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0];
    bytes.extend(sectors.to_le_bytes());
    bytes.resize(64, 0);
    bytes.extend(boot_sector::SIGNATURE);
    bytes
}

/// The GPT in sector 1 against its twin at the end.
fn first_copy(disk: &Disk, index: usize, severity: Severity, found: &mut Findings) -> Verdict {
    for sector in [SECTOR as u64, 4096] {
        let at = |lba: u64, length: u64| {
            read(disk, lba * (sector / SECTOR as u64), usize::try_from(length).unwrap_or(0).div_ceil(SECTOR))
        };
        let whole = |lba: u64| -> Result<Option<(Header, Vec<u8>)>, Skip> {
            let Some(header) = Header::parse(&at(lba, SECTOR as u64)?, lba) else { return Ok(None) };
            let mut entries = at(header.entries, header.entries_size as u64)?;
            entries.truncate(header.entries_size);
            Ok(header.fits(&entries).then_some((header, entries)))
        };
        if whole(1)?.is_some() {
            return Ok(());
        }
        let Some(last) = (disk.size / sector).checked_sub(1) else { continue };
        let Some((backup, entries)) = whole(last)? else { continue };
        let finding = found.add(
            severity,
            tr!("the primary GPT of {disk} is damaged; the backup at the end of the disk is intact", disk = disk.name),
        );
        finding
            .at_device(disk.name.clone())
            .why(tr!("Linux and GRUB read only the primary GPT: they see no partitions"))
            .detail("disk", index);
        if severity == Severity::Critical {
            finding.stops(Stage::PartitionTable);
        }
        let room = backup.first_usable.saturating_sub(2).saturating_mul(sector);
        let mut changes = Vec::new();
        let mut header = backup.twin(2);
        header.resize(SECTOR, 0);
        for (lba, bytes) in [(1, header), (2, entries)] {
            let offset = lba * sector;
            let before = disk.read_at(offset, bytes.len()).unwrap_or_default();
            changes.push(Change::WriteDisk { disk: index, offset, before, after: bytes });
        }
        if backup.twin != 1 || room < backup.entries_size as u64 {
            finding.by_hand(tr!("restore it with gdisk (commands r, b, c, w)"));
        } else {
            finding.repair(
                Risk::Safe,
                tr!("restore the primary GPT of {disk} from the backup", disk = disk.name),
                changes,
            );
        }
        return Ok(());
    }
    Ok(())
}

/// Generic boot code, and nothing that it starts.
fn active(loader: &BootLoader, found: &mut Findings) {
    for disk in &loader.disks {
        let is_gpt = disk.entries.iter().any(|entry| entry.kind == PROTECTIVE);
        if disk.code != BootCode::ActivePartition || is_gpt || disk.entries.iter().any(|entry| entry.active) {
            continue;
        }
        let bootable: Vec<_> = disk.bootable().collect();
        let Some(first) = bootable.first() else { continue };
        let uefi = loader.starts_with_uefi != Some(false);
        let severity = if uefi { Severity::Warning } else { Severity::Critical };
        let finding = found.add(
            severity,
            tr!("no partition of {disk} is active, and its boot code boots the active one", disk = disk.name),
        );
        finding
            .at_device(disk.name.clone())
            .why(tr!("the machine stops with \"Missing operating system\" or without any message"))
            .detail("disk", disk.index);
        if !uefi {
            finding.stops(Stage::PartitionTable);
        }
        if bootable.len() > 1 {
            finding.by_hand(tr!(
                "several partitions have a boot loader: choose one with sfdisk --activate {disk} NUMBER",
                disk = disk.name
            ));
            continue;
        }
        let before = disk.mbr.get(first.at..=first.at).unwrap_or_default().to_vec();
        let change = Change::WriteDisk { disk: disk.index, offset: first.at as u64, before, after: vec![0x80] };
        finding.repair(
            Risk::Safe,
            tr!("make partition {number} of {disk} active", number = first.number, disk = disk.name),
            [change],
        );
    }
}
