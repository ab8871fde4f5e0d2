//! What can be mounted on the disks of a target, told from the disks alone: this machine's udev, LVM and mount tables
//! know nothing of them, or know it of their twins.

mod lvm;

use sickbay_formats::superblock::condition::{self, Copy};
use sickbay_formats::superblock::{self, HEAD, Superblock, TAIL};

use crate::sys::Window;
use crate::table::Partition;
use crate::target::Volume;
use crate::{Disk, bytes};

/// A volume, and where its bytes are.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) volume: Volume,
    /// On which disk, and where; several for a logical volume in pieces.
    pub(crate) extents: Vec<(usize, Window)>,
    /// It must not be written, for the reason told: writing one half of a mirror breaks it.
    pub(crate) read_only: Option<&'static str>,
    /// Nothing is known of its beginning, but a copy of the superblock of a file system is further behind.
    pub(crate) lost: Option<Copy>,
}

/// Everything on the disks, in their order.
#[derive(Debug, Default)]
pub(crate) struct Described {
    pub(crate) placed: Vec<Placed>,
    /// What may hold further volumes, but could not be looked into.
    pub(crate) opaque: Vec<String>,
    /// What else the user should know.
    pub(crate) notes: Vec<String>,
}

/// Describes everything on the disks. Logical volumes are read from their metadata `with_lvm`; a running kernel shows
/// those that are active as devices.
pub(crate) fn describe(disks: &[Disk], with_lvm: bool) -> std::io::Result<Described> {
    let mut found = Described::default();
    for (index, disk) in disks.iter().enumerate() {
        let of_disk = if disks.len() > 1 { format!(" of {}", disk.name) } else { String::new() };
        let table = disk.partitions()?;
        let mut own = Described::default();
        for partition in table.iter().flat_map(|table| &table.list) {
            let name = format!("partition {}{of_disk}", partition.number);
            let Some(window) = within(partition, disk.size) else {
                own.notes.push(format!("{name} is beyond the end of the disk"));
                continue;
            };
            if window.size < partition.size {
                own.notes.push(format!("{name} extends beyond the end of the disk"));
            }
            let mut volume = blank(name, index, window);
            volume.partuuid = partition.uuid.clone();
            volume.partlabel = partition.name.clone();
            volume.parttype = Some(partition.kind.clone());
            volume.partition = Some(partition.number);
            volume.table = disk.table;
            volume.size = partition.size;
            probe(disk, volume, window, &mut own)?;
        }
        own.notes.extend(table.iter().flat_map(|table| &table.notes).map(|note| format!("{}: {note}", disk.name)));
        // Without partitions the disk itself is the volume; so it is when the table was made of the code in the first
        // sector of a file system and all its partitions hold nothing.
        let is_known = |found: &Described| found.placed.iter().any(|placed| !placed.volume.fstype.is_empty());
        if !is_known(&own) {
            let whole = Window { start: 0, size: disk.size };
            let mut found = Described::default();
            probe(disk, blank(format!("whole disk{of_disk}"), index, whole), whole, &mut found)?;
            if own.placed.is_empty() || is_known(&found) {
                found.notes.extend(own.notes);
                own = found;
            }
        }
        found.placed.extend(own.placed);
        found.opaque.extend(own.opaque);
        found.notes.extend(own.notes);
    }
    if with_lvm {
        lvm::describe(disks, &mut found)?;
    }
    Ok(found)
}

fn blank(name: String, disk: usize, window: Window) -> Volume {
    Volume { name, disk, start: window.start, size: window.size, ..Volume::default() }
}

/// The part of a partition that the disk really has.
fn within(partition: &Partition, disk: u64) -> Option<Window> {
    let there = disk.checked_sub(partition.start).filter(|there| *there > 0)?;
    Some(Window { start: partition.start, size: partition.size.min(there) })
}

/// What is on a volume; for a member of an md mirror, the mirror too.
fn probe(disk: &Disk, mut volume: Volume, window: Window, found: &mut Described) -> std::io::Result<()> {
    let index = volume.disk;
    let mut place = |volume: Volume, window, read_only| {
        let lost =
            if volume.fstype.is_empty() { condition::copy_of_lost(&reader(disk, window), window.size) } else { None };
        found.placed.push(Placed { volume, extents: vec![(index, window)], read_only, lost });
    };
    let head = read(disk, window, 0, HEAD)?;
    let tail = read(disk, window, window.size.saturating_sub(TAIL as u64), TAIL)?;
    identify(&mut volume, superblock::probe_end(&tail, window.size).or_else(|| superblock::probe(&head, window.size)));
    volume.last_mounted_on = superblock::last_mounted_on(&head).map(Into::into);
    volume.condition = condition::condition(&volume.fstype, &reader(disk, window));
    if volume.fstype != "linux_raid_member" {
        if volume.fstype == "crypto_LUKS" {
            found.opaque.push(format!("{} is encrypted (LUKS)", volume.name));
        }
        place(volume, window, None);
        return Ok(());
    }
    let name = volume.name.clone();
    place(volume, window, None);
    let Some(content) = mirrored(disk, window)? else {
        found.opaque.push(format!("{name} is a member of an md array that is not a mirror"));
        found.notes.push(format!(
            "{name} is a member of an md array that is not a mirror, and was not read: run `mdadm --assemble` and use the array"
        ));
        return Ok(());
    };
    let mut inner = blank(format!("mirror on {name}"), index, content);
    identify(&mut inner, superblock::probe(&read(disk, content, 0, HEAD)?, content.size));
    found.notes.push(format!("{name} is one half of an md mirror (RAID 1) and was read as it is"));
    place(inner, content, Some("it is one half of an md mirror: run `mdadm --assemble` and use the array"));
    Ok(())
}

fn read(disk: &Disk, window: Window, at: u64, length: usize) -> std::io::Result<Vec<u8>> {
    let there = usize::try_from(window.size.saturating_sub(at)).unwrap_or(length);
    disk.read_at(window.start.saturating_add(at), length.min(there))
}

/// Reads a part of a disk where nothing that cannot be read is there.
fn reader(disk: &Disk, window: Window) -> impl Fn(u64, usize) -> Vec<u8> {
    move |at, length| read(disk, window, at, length).unwrap_or_default()
}

impl Placed {
    /// Looks again at what is on it, after something was done to it.
    pub(crate) fn look_again(&mut self, disks: &[Disk]) -> std::io::Result<()> {
        let [(index, window)] = self.extents.as_slice() else { return Ok(()) };
        let Some(disk) = disks.get(*index) else { return Ok(()) };
        let head = read(disk, *window, 0, HEAD)?;
        identify(&mut self.volume, superblock::probe(&head, window.size));
        self.volume.last_mounted_on = superblock::last_mounted_on(&head).map(Into::into);
        Ok(())
    }
}

/// Enters what was found into the description.
pub(crate) fn identify(volume: &mut Volume, found: Option<Superblock>) {
    if let Some(found) = found {
        volume.fstype = found.fstype.to_owned();
        volume.uuid = found.uuid;
        volume.label = found.label;
    }
}

/// Where the content of a member of an md mirror is; `None` when the array is no mirror. Version 1 metadata lies 8 KiB
/// before the end (1.0), at the beginning (1.1) or 4 KiB behind it (1.2), version 0.90 in the last 64 KiB
/// (include/uapi/linux/raid/md_p.h).
fn mirrored(disk: &Disk, window: Window) -> std::io::Result<Option<Window>> {
    const MAGIC: u32 = 0xA92B_4EFC;
    let Window { start, size } = window;
    let old = (size & !0xFFFF).checked_sub(0x1_0000);
    let new = [size.checked_sub(8 << 10).map(|at| at & !0xFFF), Some(0), Some(4096)];
    for (at, major) in new.into_iter().map(|at| (at, 1)).chain([(old, 0)]) {
        let Some(at) = at else { continue };
        let raw = read(disk, window, at, 256)?;
        let word = |at| bytes::le32(&raw, at);
        if word(0) != Some(MAGIC) || word(4) != Some(major) {
            continue;
        }
        if major == 0 {
            let length = u64::from(word(32).unwrap_or(0)) * 1024;
            return Ok((word(28) == Some(1)).then_some(Window { start, size: length.min(size) }));
        }
        let sectors = |at| bytes::le64(&raw, at).and_then(|sectors| sectors.checked_mul(512));
        let content = || {
            let (offset, length) = (sectors(128)?, sectors(136)?);
            Some(Window { start: start.checked_add(offset)?, size: length.min(size.checked_sub(offset)?) })
        };
        return Ok(if word(72) == Some(1) { content() } else { None });
    }
    Ok(None)
}
