//! What can be mounted on the disks of a target, told from the disks alone: this machine's udev, LVM and mount tables
//! know nothing of them, or know it of their twins.

mod lvm;

use crate::disk::is_blank;
use crate::superblock::{self, Superblock};
use crate::sys::Window;
use crate::table::Partition;
use crate::target::Volume;
use crate::{Disk, bytes};

/// The bytes of a volume that tell what is on it: the farthest known magic is that of a swap area with 64 KiB pages.
const HEAD: usize = 128 << 10;

/// A volume, and where its bytes are.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) volume: Volume,
    /// On which disk, and where; several for a logical volume in pieces.
    pub(crate) extents: Vec<(usize, Window)>,
    /// It must not be written, for the reason told: writing one half of a mirror breaks it.
    pub(crate) read_only: Option<&'static str>,
}

/// Everything on the disks, in their order, and what the user should know of it. Logical volumes are read from their
/// metadata `with_lvm`; a running kernel shows those that are active as devices.
pub(crate) fn describe(disks: &[Disk], with_lvm: bool) -> std::io::Result<(Vec<Placed>, Vec<String>)> {
    let mut placed = Vec::new();
    let mut notes = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let of_disk = if disks.len() > 1 { format!(" of {}", disk.name) } else { String::new() };
        let whole = Window { start: 0, size: disk.size };
        let table = disk.partitions()?;
        let mut own = Vec::new();
        for partition in table.iter().flat_map(|table| &table.list) {
            let Some(window) = within(partition, disk.size) else {
                notes.push(format!("partition {}{of_disk} lies beyond the end of the disk", partition.number));
                continue;
            };
            if window.size < partition.size {
                notes.push(format!("partition {}{of_disk} ends beyond the end of the disk", partition.number));
            }
            let mut volume = blank(format!("partition {}{of_disk}", partition.number), index, window);
            volume.partuuid = partition.uuid.clone();
            volume.partlabel = partition.name.clone();
            volume.parttype = Some(partition.kind.clone());
            volume.partition = Some(partition.number);
            volume.table = disk.table;
            volume.size = partition.size;
            own.push(probe(disk, volume, window, &mut notes)?);
        }
        notes.extend(table.iter().flat_map(|table| &table.notes).map(|note| format!("{}: {note}", disk.name)));
        // Without partitions the disk itself is the volume; so it is when the table was made of the code in the first
        // sector of a file system and all its partitions hold nothing.
        if own.iter().flatten().all(|placed| placed.volume.fstype.is_empty()) {
            let volume = blank(format!("whole disk{of_disk}"), index, whole);
            let found = probe(disk, volume, whole, &mut notes)?;
            if own.is_empty() || found.iter().any(|placed| !placed.volume.fstype.is_empty()) {
                own = vec![found];
            }
        }
        placed.extend(own.into_iter().flatten());
    }
    if with_lvm {
        let logical = lvm::volumes(disks, &placed, &mut notes)?;
        placed.extend(logical);
    }
    Ok((placed, notes))
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
fn probe(disk: &Disk, mut volume: Volume, window: Window, notes: &mut Vec<String>) -> std::io::Result<Vec<Placed>> {
    let index = volume.disk;
    let place = |volume, window| Placed { volume, extents: vec![(index, window)], read_only: None };
    let head = disk.read_at(window.start, HEAD.min(usize::try_from(window.size).unwrap_or(HEAD)))?;
    let mirror = md_member(disk, &head, window)?;
    if let Some((uuid, content)) = mirror {
        volume.fstype = "linux_raid_member".into();
        volume.uuid = uuid;
        let Some(content) = content else {
            let name = &volume.name;
            notes.push(format!("{name} is a member of an md array that is not a mirror; it was not assembled: run `mdadm --assemble` and point at /dev/mdN"));
            return Ok(vec![place(volume, window)]);
        };
        let head = disk.read_at(content.start, HEAD.min(usize::try_from(content.size).unwrap_or(HEAD)))?;
        let mut inner = blank(format!("mirror on {}", volume.name), index, content);
        identify(&mut inner, superblock::probe(&head, content.size));
        notes.push(format!("{} is one half of an md mirror (RAID 1) and was read as it is", volume.name));
        let mut inner = place(inner, content);
        inner.read_only =
            Some("it is one half of an md mirror; assemble it with `mdadm --assemble` and point at /dev/mdN");
        return Ok(vec![place(volume, window), inner]);
    }
    if !is_blank(&head) {
        identify(&mut volume, superblock::probe(&head, window.size));
    }
    Ok(vec![place(volume, window)])
}

/// Enters what was found into the description.
pub(crate) fn identify(volume: &mut Volume, found: Option<Superblock>) {
    if let Some(found) = found {
        volume.fstype = found.fstype.to_owned();
        volume.uuid = found.uuid;
        volume.label = found.label;
    }
}

/// For a member of an md array its UUID, and for one of a mirror where the content is. Version 1 metadata lies 8 KiB
/// before the end (1.0), at the beginning (1.1) or 4 KiB behind it (1.2), version 0.90 before the end
/// (include/uapi/linux/raid/md_p.h).
fn md_member(disk: &Disk, head: &[u8], window: Window) -> std::io::Result<Option<(Option<String>, Option<Window>)>> {
    const MAGIC: u32 = 0xA92B_4EFC;
    let Window { start, size } = window;
    let read = |at: u64| disk.read_at(start + at, 256);
    let mut superblocks =
        vec![(head.get(..256).unwrap_or_default().to_vec(), 1), (head.get(4096..4352).unwrap_or_default().to_vec(), 1)];
    if size > 128 << 10 {
        superblocks.push((read(((size / 512 - 16) & !7) * 512)?, 1));
        superblocks.push((read((size & !0xFFFF) - 0x1_0000)?, 0));
    }
    for (raw, major) in superblocks {
        if bytes::le32(&raw, 0) != Some(MAGIC) || bytes::le32(&raw, 4) != Some(major) {
            continue;
        }
        if major == 0 {
            let is_mirror = bytes::le32(&raw, 28) == Some(1);
            let data = u64::from(bytes::le32(&raw, 32).unwrap_or(0)) * 1024;
            return Ok(Some((None, is_mirror.then_some(Window { start, size: data.min(size) }))));
        }
        let uuid = bytes::array(&raw, 16).map(superblock::uuid);
        let field = |at| bytes::le64(&raw, at).and_then(|sectors| sectors.checked_mul(512));
        let content = || {
            let (offset, length) = (field(128)?, field(136)?);
            let start = start.checked_add(offset)?;
            Some(Window { start, size: length.min(size.checked_sub(offset)?) })
        };
        let is_mirror = bytes::le32(&raw, 72) == Some(1);
        return Ok(Some((uuid, if is_mirror { content() } else { None })));
    }
    Ok(None)
}
