//! What is on a device, from the device's first bytes: the signatures of file systems, swap and containers.
//!
//! Names, UUIDs and labels are written as blkid(8) writes them, because that is what fstab(5) and `root=` refer to.

pub mod condition;
pub mod features;

/// How much of a device [`probe`] needs at most.
pub const HEAD: usize = 1 << 20;

/// How much of the end of a device [`probe_end`] needs.
pub const TAIL: usize = 128 << 10;

/// What a device holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The kind: `ext2`, `ext3`, `ext4`, `jbd`, `xfs`, `btrfs`, `swap`, `swsuspend`, `vfat`, `ntfs`, `exfat`, `f2fs`,
    /// `iso9660`, `squashfs`, `LVM2_member`, `crypto_LUKS`, `linux_raid_member`.
    pub fstype: &'static str,
    /// Its UUID or serial number, in the case that blkid(8) uses.
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
}

/// Recognises what a device of `size` bytes holds by its first bytes, up to [`HEAD`] of them.
///
/// Containers (RAID, LVM, LUKS) are looked for first, for what looks like a file system inside of one is none of the
/// device itself. Members of software RAID with their superblock at the end (metadata 0.90 and 1.0) look like the file
/// system that they mirror: ask [`probe_end`] before this.
pub fn probe(head: &[u8], size: u64) -> Option<Superblock> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let head = Bytes(head.get(..size).unwrap_or(head));
    let probes: [fn(Bytes) -> Option<Superblock>; 13] =
        [raid, lvm, luks, ext, xfs, btrfs, swap, squashfs, ntfs, exfat, vfat, f2fs, iso9660];
    probes.iter().find_map(|probe| probe(head))
}

/// Where an ext2, ext3 or ext4 file system was last mounted for writing, by its own account (`s_last_mounted` in the
/// kernel's `fs/ext4/ext4.h`).
pub fn last_mounted_on(head: &[u8]) -> Option<String> {
    let head = Bytes(head);
    ext(head)?;
    head.label(1024 + 136, 64)
}

/// Recognises a member of a software RAID by the end of the device: `tail` is its last [`TAIL`] bytes (or all of a
/// shorter one), `size` its size in bytes.
pub fn probe_end(tail: &[u8], size: u64) -> Option<Superblock> {
    let begin = size.checked_sub(tail.len() as u64)?;
    let at = |position: u64| usize::try_from(position.checked_sub(begin)?).ok();
    // md(4): metadata 1.0 is between 8 and 12 KiB from the end, at a multiple of 4 KiB; 0.90 is in the last aligned
    // 64 KiB but at least 64 KiB from the end.
    let one = size.checked_sub(8 << 10).map(|position| position & !0xfff);
    let found = one.and_then(|position| raid_at(Bytes(tail), at(position)?, position / 512));
    found.or_else(|| {
        let old = at((size & !0xffff).checked_sub(0x1_0000)?)?;
        let tail = Bytes(tail);
        if tail.u32(old)? != RAID_MAGIC || tail.u32(old + 4)? != 0 {
            return None;
        }
        // Four words, each in the byte order of the machine: little.
        let words = [20, 52, 56, 60].map(|offset| tail.u32(old + offset));
        let mut uuid = [0; 16];
        for (bytes, word) in uuid.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word?.to_le_bytes());
        }
        Some(Superblock { fstype: "linux_raid_member", uuid: uuid_text(&uuid), label: None })
    })
}

/// Bytes that are read only where they are.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn get(self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(len)?)
    }

    fn is(self, at: usize, magic: &[u8]) -> bool {
        self.get(at, magic.len()) == Some(magic)
    }

    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.get(at, N)?.try_into().ok()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn uuid(self, at: usize) -> Option<String> {
        uuid_text(&self.array(at)?)
    }

    /// A label of at most `len` bytes that ends at the first NUL, without blanks at the end.
    fn label(self, at: usize, len: usize) -> Option<String> {
        let bytes = self.get(at, len)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(bytes.get(..end)?);
        let text = text.trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// A UUID as text; `None` when it is all zero.
fn uuid_text(uuid: &[u8; 16]) -> Option<String> {
    if uuid == &[0; 16] {
        return None;
    }
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Some(text)
}

/// `MD_SB_MAGIC` of the kernel's `md_p.h`.
const RAID_MAGIC: u32 = 0xa92b_4efc;

fn raid(head: Bytes) -> Option<Superblock> {
    // Metadata 1.1 is at the beginning, 1.2 4 KiB behind it.
    raid_at(head, 0, 0).or_else(|| raid_at(head, 4096, 8))
}

fn raid_at(bytes: Bytes, at: usize, sector: u64) -> Option<Superblock> {
    let known = bytes.u32(at)? == RAID_MAGIC && bytes.u32(at + 4)? == 1 && bytes.u64(at + 144)? == sector;
    known.then(|| Superblock {
        fstype: "linux_raid_member",
        uuid: bytes.uuid(at + 16),
        label: bytes.label(at + 32, 32),
    })
}

fn lvm(head: Bytes) -> Option<Superblock> {
    let uuid = crate::lvm::Pv::uuid_in(head.0)?;
    Some(Superblock { fstype: "LVM2_member", uuid: Some(uuid), label: None })
}

fn luks(head: Bytes) -> Option<Superblock> {
    if !head.is(0, b"LUKS\xba\xbe") {
        return None;
    }
    // Numbers of LUKS are big endian.
    let version = u16::from_be_bytes(head.array(6)?);
    let label = if version >= 2 { head.label(24, 48) } else { None };
    Some(Superblock { fstype: "crypto_LUKS", uuid: head.label(168, 40), label })
}

fn ext(head: Bytes) -> Option<Superblock> {
    const SB: usize = 1024;
    const HAS_JOURNAL: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    // What ext3 knows; ext4 is whatever needs more.
    const EXT3_INCOMPATIBLE: u32 = 0x2 | 0x4 | 0x10; // file type in directories, needs recovery, meta_bg
    const EXT3_READ_ONLY: u32 = 0x1 | 0x2 | 0x4; // sparse superblocks, large files, B-tree directories
    if !head.is(SB + 56, &[0x53, 0xef]) {
        return None;
    }
    let (compatible, incompatible) = (head.u32(SB + 92)?, head.u32(SB + 96)?);
    let read_only = head.u32(SB + 100)?;
    let fstype = if incompatible & JOURNAL_DEVICE != 0 {
        "jbd"
    } else if incompatible & !EXT3_INCOMPATIBLE != 0 || read_only & !EXT3_READ_ONLY != 0 {
        "ext4"
    } else if compatible & HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    Some(Superblock { fstype, uuid: head.uuid(SB + 104), label: head.label(SB + 120, 16) })
}

fn xfs(head: Bytes) -> Option<Superblock> {
    head.is(0, b"XFSB").then(|| Superblock { fstype: "xfs", uuid: head.uuid(32), label: head.label(108, 12) })
}

fn btrfs(head: Bytes) -> Option<Superblock> {
    const SB: usize = 64 << 10;
    head.is(SB + 64, b"_BHRfS_M").then(|| Superblock {
        fstype: "btrfs",
        uuid: head.uuid(SB + 32),
        label: head.label(SB + 299, 256),
    })
}

fn swap(head: Bytes) -> Option<Superblock> {
    // The signature ends the first page, whatever the size of a page was where it was made.
    [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10].into_iter().find_map(|page: usize| {
        let signature = page - 10;
        let fstype = if head.is(signature, b"SWAPSPACE2") || head.is(signature, b"SWAP-SPACE") {
            "swap"
        } else if ["S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"]
            .iter()
            .any(|suspended| head.is(signature, suspended.as_bytes()))
        {
            // A hibernated system is inside; swapon(8) takes it only after a resume.
            "swsuspend"
        } else {
            return None;
        };
        Some(Superblock { fstype, uuid: head.uuid(1036), label: head.label(1052, 16) })
    })
}

fn squashfs(head: Bytes) -> Option<Superblock> {
    let known = head.is(0, b"hsqs") && head.u16(28)? >= 4;
    known.then_some(Superblock { fstype: "squashfs", uuid: None, label: None })
}

fn ntfs(head: Bytes) -> Option<Superblock> {
    // The label is in the file $Volume, which may be anywhere.
    head.is(3, b"NTFS    ").then(|| Superblock {
        fstype: "ntfs",
        uuid: head.u64(72).map(|serial| format!("{serial:016X}")),
        label: None,
    })
}

fn exfat(head: Bytes) -> Option<Superblock> {
    head.is(3, b"EXFAT   ").then(|| Superblock { fstype: "exfat", uuid: head.u32(100).map(serial), label: None })
}

/// A serial number as FAT shows it.
fn serial(number: u32) -> String {
    format!("{:04X}-{:04X}", number >> 16, number & 0xffff)
}

fn vfat(head: Bytes) -> Option<Superblock> {
    if !head.is(510, &[0x55, 0xaa]) || !matches!(head.0.first(), Some(0xeb | 0xe9)) {
        return None;
    }
    let wide = head.is(82, b"FAT32   ");
    if !wide && !head.is(54, b"FAT12   ") && !head.is(54, b"FAT16   ") && !head.is(54, b"FAT     ") {
        return None;
    }
    let (number, boot_label) = if wide { (67, 71) } else { (39, 43) };
    let number = head.u32(number)?;
    let label = vfat_root_label(head, wide).or_else(|| head.label(boot_label, 11));
    Some(Superblock {
        fstype: "vfat",
        uuid: (number != 0).then(|| serial(number)),
        label: label.filter(|label| label != "NO NAME"),
    })
}

/// The label in the root directory, which counts before the one in the boot sector.
fn vfat_root_label(head: Bytes, wide: bool) -> Option<String> {
    let sector = usize::from(head.u16(11)?);
    let cluster = sector * usize::from(*head.0.get(13)?);
    let reserved = usize::from(head.u16(14)?);
    let tables = usize::from(*head.0.get(16)?);
    let per_table = match head.u16(22)? {
        0 => head.u32(36)? as usize,
        few => usize::from(few),
    };
    let after_tables = per_table.checked_mul(tables)?.checked_add(reserved)?.checked_mul(sector)?;
    let (directory, entries) = if wide {
        let number = head.u32(44)?.checked_sub(2)? as usize;
        (number.checked_mul(cluster)?.checked_add(after_tables)?, cluster / 32)
    } else {
        (after_tables, usize::from(head.u16(17)?))
    };
    for index in 0..entries {
        let entry = head.get(directory.checked_add(index * 32)?, 32)?;
        let (first, attributes) = (*entry.first()?, *entry.get(11)?);
        match first {
            0 => return None,
            // Deleted, or part of a long name.
            0xe5 => {}
            _ if attributes & 0x0f == 0x0f => {}
            _ if attributes & 0x08 != 0 => return Bytes(entry).label(0, 11),
            _ => {}
        }
    }
    None
}

fn f2fs(head: Bytes) -> Option<Superblock> {
    const SB: usize = 1024;
    if head.u32(SB)? != 0xf2f5_2010 {
        return None;
    }
    let units: Vec<u16> =
        (0..512).map_while(|index| head.u16(SB + 124 + index * 2).filter(|&unit| unit != 0)).collect();
    let label = String::from_utf16_lossy(&units);
    Some(Superblock { fstype: "f2fs", uuid: head.uuid(SB + 108), label: (!label.is_empty()).then_some(label) })
}

fn iso9660(head: Bytes) -> Option<Superblock> {
    const DESCRIPTOR: usize = 32 << 10;
    if !head.is(DESCRIPTOR, b"\x01CD001") {
        return None;
    }
    // blkid makes a UUID of the time of the last change, else of that of the creation: YYYYMMDDhhmmsscc.
    let uuid = [830, 813].into_iter().find_map(|at| {
        let digits = std::str::from_utf8(head.get(DESCRIPTOR + at, 16)?).ok()?;
        let known = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.bytes().any(|byte| byte != b'0');
        let part = |from: usize, to: usize| digits.get(from..to);
        known.then(|| {
            let parts = [part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14), part(14, 16)];
            parts.into_iter().flatten().collect::<Vec<_>>().join("-")
        })
    });
    Some(Superblock { fstype: "iso9660", uuid, label: head.label(DESCRIPTOR + 40, 32) })
}

#[cfg(test)]
mod tests;
