//! How the target's disks are meant to start on a PC with a BIOS: boot code, core image, and the files of GRUB.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_formats::boot_sector::{self, BootCode, Entry, SECTOR};
use sickbay_formats::grub_core::{self, MOST_SECTORS};
use sickbay_target::{Disk, Volume};

use crate::facts::boot::devices::Devices;
use crate::facts::boot::esp::Esps;
use crate::facts::boot::fstab::Fstab;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::tr;

/// What the disks hold that a BIOS starts, and what of GRUB is on the file system.
#[derive(Debug)]
pub struct BootLoader {
    /// The disks with a partition table, in the target's order.
    pub disks: Vec<BootDisk>,
    /// GRUB 2's directory, `/boot/grub` or `/boot/grub2`; `None` when neither looks like GRUB 2's.
    pub grub: Option<PathBuf>,
    /// Whether an EFI system partition holds a loader; `None` when that could not be told.
    pub starts_with_uefi: Option<bool>,
}

/// A disk with a partition table.
#[derive(Debug)]
pub struct BootDisk {
    /// Which of the target's disks it is.
    pub index: usize,
    /// What it is called.
    pub name: String,
    /// Its first sector.
    pub mbr: Vec<u8>,
    /// Whose code is in it.
    pub code: BootCode,
    /// The partitions of its MBR; for a GPT, the protection.
    pub entries: Vec<Entry>,
    /// Whose code is in the first sector of each of these, an extended partition included.
    pub boot_sectors: Vec<(Entry, BootCode)>,
    /// Its partitions.
    pub partitions: Vec<Volume>,
    /// Where a core image has its place.
    pub area: Option<Area>,
    /// The sectors that the list of blocks of a core image names, beginning with the list; `None` where none begins.
    pub core: Option<FoundCore>,
}

/// Sectors that no file system uses, for GRUB's core image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The first sector of 512 bytes.
    pub first: u64,
    /// How many sectors.
    pub sectors: usize,
    /// The number of the BIOS boot partition; `None` for the room before the first partition of an MBR.
    pub partition: Option<u32>,
}

impl Area {
    /// Whether all of these sectors are in it.
    pub fn holds(&self, first: u64, sectors: usize) -> bool {
        first >= self.first && first.saturating_add(sectors as u64) <= self.first.saturating_add(self.sectors as u64)
    }
}

/// A core image on a disk.
#[derive(Debug)]
pub struct FoundCore {
    /// Its first sector.
    pub first: u64,
    /// Its sectors; they may be damaged.
    pub bytes: Vec<u8>,
    /// Whether they follow each other.
    pub in_one_piece: bool,
}

/// The type of a BIOS boot partition (GRUB manual, "BIOS installation").
const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";

/// The type of an MBR's entry that protects a GPT.
pub const PROTECTIVE: u8 = 0xEE;

/// Where packages keep the modules and images that grub-install copies.
pub const GRUB_SOURCES: [&str; 2] = ["/usr/lib/grub/i386-pc", "/usr/share/grub2/i386-pc"];

impl Fact for BootLoader {
    fn gather(facts: &Facts) -> Result<BootLoader, Skip> {
        let target = facts.target();
        let devices = disks_of_start(facts)?;
        if facts.runs() && facts.root().exists("/sys/firmware/efi")? {
            return Err(Skip::NotApplicable(tr!("this machine boots with UEFI")));
        }
        if target.disks.is_empty() {
            return Err(Skip::NotApplicable(no_disks()));
        }
        if devices.root().is_none() {
            return Err(Skip::NotApplicable(no_disks()));
        }
        let mut disks = Vec::new();
        for (index, disk) in target.disks.iter().enumerate() {
            let volumes: Vec<&Volume> =
                devices.volumes.iter().filter(|volume| volume.disk == index && volume.partition.is_some()).collect();
            if !volumes.is_empty() {
                disks.push(look_at(disk, index, &volumes)?);
            }
        }
        if disks.is_empty() {
            return Err(Skip::NotApplicable(tr!("no disk has partitions: the system is booted from elsewhere")));
        }
        Ok(BootLoader {
            disks,
            grub: grub_directory(facts),
            starts_with_uefi: facts.get::<Esps>().map_or(None, |esps| esps.start()),
        })
    }
}

/// The block devices, for what is judged of how they are started. Where they cannot be read, and nothing of a boot loader
/// is on the file system, there is nothing to judge: a container sees the names of its host's disks.
pub fn disks_of_start(facts: &Facts) -> Result<Arc<Devices>, Skip> {
    const TRACES: [&str; 6] =
        ["/boot/grub", "/boot/grub2", "/boot/efi", "/boot/loader", "/boot/extlinux", "/boot/syslinux"];
    let unreadable = match facts.get::<Devices>() {
        Ok(devices) if facts.runs() && facts.target().disks.is_empty() && !devices.volumes.is_empty() => {
            tr!("the disks cannot be read: run as root")
        }
        Err(Skip::Unknown(why)) => why,
        told => return told,
    };
    let any = TRACES.iter().any(|path| facts.root().exists(path).unwrap_or(true));
    Err(if any { Skip::Unknown(unreadable) } else { Skip::NotApplicable(no_disks()) })
}

fn no_disks() -> crate::model::text::Text {
    tr!("the root file system is not on any known disk: a container, or a directory")
}

fn grub_directory(facts: &Facts) -> Option<PathBuf> {
    let there = |path: &Path| facts.root().exists(path).unwrap_or(false);
    ["/boot/grub2", "/boot/grub"]
        .iter()
        .map(PathBuf::from)
        .find(|dir| ["grub.cfg", "grubenv", "i386-pc", "fonts"].iter().any(|name| there(&dir.join(name))))
}

fn look_at(disk: &Disk, index: usize, volumes: &[&Volume]) -> Result<BootDisk, Skip> {
    let mbr = read(disk, 0, 1)?;
    let code = BootCode::of(&mbr);
    let entries = boot_sector::entries(&mbr);
    let mut boot_sectors = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind != PROTECTIVE) {
        boot_sectors.push((*entry, BootCode::of(&read(disk, entry.start.into(), 1)?)));
    }
    let area = area(&entries, volumes);
    let first = match &code {
        BootCode::Grub2 { kernel_sector, drive: None } => Some(*kernel_sector),
        _ => area.map(|area| area.first),
    };
    let core = match first {
        Some(first) => find_core(disk, first)?,
        None => None,
    };
    let partitions = volumes.iter().map(|volume| (*volume).clone()).collect();
    Ok(BootDisk { index, name: disk.name.clone(), mbr, code, entries, boot_sectors, partitions, area, core })
}

/// Reads sectors of 512 bytes; fewer at the end of the disk.
pub fn read(disk: &Disk, first: u64, sectors: usize) -> Result<Vec<u8>, Skip> {
    let cannot = |error| Skip::Unknown(tr!("{disk} cannot be read: {error}", disk = disk.name, error = text(&error)));
    disk.read_at(first.saturating_mul(SECTOR as u64), sectors * SECTOR).map_err(cannot)
}

fn text(error: &std::io::Error) -> String {
    error.to_string()
}

fn area(entries: &[Entry], volumes: &[&Volume]) -> Option<Area> {
    const BLOCK: u64 = SECTOR as u64;
    if let Some(partition) = volumes.iter().find(|volume| volume.parttype.as_deref() == Some(BIOS_BOOT)) {
        return Some(Area {
            first: partition.start.div_ceil(BLOCK),
            sectors: usize::try_from(partition.size / BLOCK).ok()?,
            partition: partition.partition,
        });
    }
    // The sectors behind the MBR of a GPT hold the GPT.
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) {
        return None;
    }
    let starts = entries.iter().map(|entry| u64::from(entry.start)).chain(volumes.iter().map(|v| v.start / BLOCK));
    let sectors = usize::try_from(starts.min()?.saturating_sub(1)).ok()?;
    (sectors > 0).then_some(Area { first: 1, sectors, partition: None })
}

fn find_core(disk: &Disk, first: u64) -> Result<Option<FoundCore>, Skip> {
    let mut bytes = read(disk, first, 1)?;
    let Some(blocks) = grub_core::blocks(&bytes) else { return Ok(None) };
    let mut next = first.saturating_add(1);
    let mut in_one_piece = true;
    for block in blocks {
        let sectors = usize::from(block.sectors).min(MOST_SECTORS.saturating_sub(bytes.len() / SECTOR));
        in_one_piece &= block.start == next;
        next = block.start.saturating_add(u64::from(block.sectors));
        bytes.extend(read(disk, block.start, sectors)?);
    }
    Ok(Some(FoundCore { first, bytes, in_one_piece }))
}

impl BootDisk {
    /// Whether a sector lies in one of its partitions, besides the BIOS boot partition.
    pub fn is_in_partition(&self, sector: u64) -> bool {
        let at = sector.saturating_mul(SECTOR as u64);
        self.partitions.iter().any(|volume| {
            volume.parttype.as_deref() != Some(BIOS_BOOT)
                && (volume.start..volume.start.saturating_add(volume.size)).contains(&at)
        })
    }

    /// Whether it was made ready to be started by a BIOS: one partition is active, or one is for the core image.
    pub fn is_prepared(&self) -> bool {
        self.entries.iter().any(|entry| entry.active) || self.area.is_some_and(|area| area.partition.is_some())
    }

    /// What generic boot code starts.
    pub fn active(&self) -> Option<&BootCode> {
        self.boot_sectors.iter().find(|(entry, _)| entry.active).map(|(_, code)| code)
    }

    /// Partitions whose boot sector starts something that starts Linux.
    pub fn bootable(&self) -> impl Iterator<Item = &Entry> {
        let starts = |code: &BootCode| code.is_grub() || matches!(code, BootCode::Syslinux | BootCode::Lilo);
        self.boot_sectors.iter().filter(move |(_, code)| starts(code)).map(|(entry, _)| entry)
    }

    /// Whether its boot code starts Linux, by itself or through a partition.
    pub fn starts_linux(&self) -> bool {
        self.code.is_grub() || self.code == BootCode::Lilo || self.bootable().any(|entry| entry.active)
    }
}

impl BootLoader {
    /// A file of GRUB 2's platform directory, `/boot/grub/i386-pc/core.img`.
    pub fn file(&self, facts: &Facts, name: &str) -> Option<Arc<SourceFile>> {
        facts.file(self.grub.as_ref()?.join("i386-pc").join(name)).ok().flatten()
    }

    /// GRUB's image of that name from where the package or grub-install left it.
    pub fn image(&self, facts: &Facts, name: &str, is_sound: impl Fn(&[u8]) -> bool) -> Option<Arc<SourceFile>> {
        let of_package = GRUB_SOURCES.iter().filter_map(|dir| facts.file(Path::new(dir).join(name)).ok().flatten());
        self.file(facts, name).into_iter().chain(of_package).find(|file| is_sound(&file.bytes))
    }

    /// The disk whose first sector holds GRUB 2.
    pub fn with_grub2(&self) -> Option<&BootDisk> {
        self.disks.iter().find(|disk| matches!(disk.code, BootCode::Grub2 { .. }))
    }

    /// The disk that a boot loader belongs on that none has: where `/boot` is, else the first.
    pub fn of_boot(&self, facts: &Facts) -> Option<&BootDisk> {
        let devices = facts.get::<Devices>().ok()?;
        let boot = devices.mounted_on(Path::new("/boot")).or_else(|| devices.root())?;
        self.disks.iter().find(|disk| disk.index == boot.disk).or_else(|| self.disks.first())
    }
}

/// Says so when `/boot` is a file system of its own that is not mounted, and its files so cannot be judged.
pub fn need_boot(facts: &Facts) -> Result<(), Skip> {
    let Ok(fstab) = facts.get::<Fstab>() else { return Ok(()) };
    let has_line = fstab.sound().any(|entry| entry.mount_point() == "/boot");
    if has_line && facts.get::<Devices>()?.mounted_on(Path::new("/boot")).is_none() {
        return Err(Skip::Unknown(tr!("/boot has a file system of its own, which is not mounted")));
    }
    Ok(())
}
