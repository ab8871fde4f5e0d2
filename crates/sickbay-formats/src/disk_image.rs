//! Images of disks that are not simply the bytes of the disk: of which format they are, and which other files they name.
//!
//! An image can be made to show, or to have written, any file of the machine on which it is opened. So its header is read
//! here before any other program gets it. What is doubtful counts as a name: better one refused too many.

use bstr::{BString, ByteSlice};

/// Reads up to so many bytes from there on; fewer at the end.
pub type Reader<'r> = dyn Fn(u64, usize) -> Vec<u8> + 'r;

/// The formats that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The first of QEMU's own.
    Qcow,
    /// The usual one.
    Qcow2,
    /// One of QEMU's that did not last.
    Qed,
    /// VMware's.
    Vmdk,
    /// Hyper-V's.
    Vhdx,
    /// VirtualBox's.
    Vdi,
    /// Virtual PC's, `.vhd`.
    Vpc,
}

impl Format {
    /// As QEMU names its driver.
    pub fn driver(self) -> &'static str {
        match self {
            Format::Qcow => "qcow",
            Format::Qcow2 => "qcow2",
            Format::Qed => "qed",
            Format::Vmdk => "vmdk",
            Format::Vhdx => "vhdx",
            Format::Vdi => "vdi",
            Format::Vpc => "vpc",
        }
    }

    /// By its magic; `None` for a raw image. `tail` is its last 512 bytes.
    pub fn of(head: &[u8], tail: &[u8]) -> Option<Format> {
        Some(match head {
            head if head.starts_with(QCOW) && be32(head, 4) == Some(1) => Format::Qcow,
            head if head.starts_with(QCOW) => Format::Qcow2,
            head if head.starts_with(b"QED\0") => Format::Qed,
            head if head.starts_with(b"KDMV") || head.starts_with(b"COWD") => Format::Vmdk,
            head if head.starts_with(DESCRIPTOR) => Format::Vmdk,
            head if head.starts_with(b"vhdxfile") => Format::Vhdx,
            head if head.get(64..68) == Some(&[0x7f, 0x10, 0xda, 0xbe]) => Format::Vdi,
            // A VHD of fixed size is raw but for its footer.
            head if head.starts_with(b"conectix") || tail.starts_with(b"conectix") => Format::Vpc,
            _ => return None,
        })
    }
}

/// What another file is to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What was not written to the image is read from it.
    Backing,
    /// It holds the data, and the image only says where.
    Data,
    /// It holds a part of the disk.
    Extent,
}

/// Another file that an image names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// What it is to it.
    pub role: Role,
    /// The name, as it is written there; empty where it cannot be read.
    pub name: BString,
    /// The format that it has by what is written there.
    pub format: Option<BString>,
}

impl Other {
    /// Whether the name is none of a file but tells QEMU how to reach something else (`nbd:`, `ssh:`, `json:`): it has a
    /// colon before the first slash (path_has_protocol() in QEMU's block.c).
    pub fn is_no_file(&self) -> bool {
        matches!(self.name.find_byteset(b":/"), Some(at) if self.name.get(at) == Some(&b':'))
    }
}

const QCOW: &[u8] = b"QFI\xfb";
const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile";

/// The largest cluster of a qcow2, in the first of which everything that is read here must be.
const CLUSTER: usize = 2 << 20;

/// A descriptor of VMware's ends there (block/vmdk.c, vmdk_read_desc()).
const DESCRIPTION: usize = 1 << 20;

/// Names of more bytes are none.
const NAME: usize = 4096;

/// So many extents are told; a disk that grew to 2 TiB in pieces of 2 GiB has a thousand.
const EXTENTS: usize = 4096;

/// The other files that an image of this format names.
pub fn others(format: Format, read: &Reader<'_>) -> Vec<Other> {
    match format {
        Format::Qcow => {
            let head = read(0, 1024);
            backing(&|at, length| read(at, length), be64(&head, 8), be32(&head, 16)).into_iter().collect()
        }
        Format::Qcow2 => of_qcow2(&read(0, CLUSTER)),
        Format::Qed => of_qed(&read(0, 64), read),
        Format::Vmdk => of_vmdk(read),
        Format::Vpc => of_vpc(read),
        Format::Vhdx => of_vhdx(read),
        Format::Vdi => of_vdi(&read(0, 512)),
    }
}

fn other(role: Role, name: impl Into<BString>) -> Other {
    Other { role, name: name.into(), format: None }
}

/// The backing file that is named there, unless there is none.
fn backing(read: &Reader<'_>, at: Option<u64>, length: Option<u32>) -> Option<Other> {
    let at = at.filter(|at| *at != 0)?;
    let length = usize::try_from(length?).ok().filter(|length| *length <= NAME);
    let name = length.map(|length| read(at, length)).filter(|name| Some(name.len()) == length).unwrap_or_default();
    Some(other(Role::Backing, name))
}

/// docs/interop/qcow2.rst of QEMU.
fn of_qcow2(head: &[u8]) -> Vec<Other> {
    const BACKING_FORMAT: u32 = 0xE279_2ACA;
    const DATA_FILE: u32 = 0x4441_5441;
    const HAS_DATA_FILE: u64 = 1 << 2;
    let version = be32(head, 4).unwrap_or(0);
    let part = |at: u64, length: usize| {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        at.checked_add(length).and_then(|end| head.get(at..end)).map(<[u8]>::to_vec).unwrap_or_default()
    };
    let mut backing = backing(&part, be64(head, 8), be32(head, 16));
    let has_data_file = version >= 3 && be64(head, 72).is_some_and(|bits| bits & HAS_DATA_FILE != 0);
    let mut data = has_data_file.then(|| other(Role::Data, ""));
    // Extensions follow the header, whose length version 2 does not tell.
    let mut at = if version < 3 { 72 } else { be32(head, 100).and_then(|at| usize::try_from(at).ok()).unwrap_or(104) };
    while let (Some(kind), Some(length)) = (be32(head, at), at.checked_add(4).and_then(|at| be32(head, at))) {
        let Some((begin, length)) = at.checked_add(8).zip(usize::try_from(length).ok()) else { break };
        let Some(content) = begin.checked_add(length).and_then(|end| head.get(begin..end)) else { break };
        match kind {
            0 => break,
            BACKING_FORMAT => {
                if let Some(backing) = &mut backing {
                    backing.format = Some(content.into());
                }
            }
            // Without the bit it names nothing that is used; but it may be used when the bit is set one day.
            DATA_FILE => data = Some(other(Role::Data, content)),
            _ => {}
        }
        let Some(next) = begin.checked_add(length).and_then(|end| end.checked_next_multiple_of(8)) else { break };
        at = next;
    }
    backing.into_iter().chain(data).collect()
}

/// docs/interop/qed_spec.rst of QEMU.
fn of_qed(head: &[u8], read: &Reader<'_>) -> Vec<Other> {
    const HAS_BACKING: u64 = 1;
    const BACKING_IS_RAW: u64 = 1 << 2;
    let features = le64(head, 16).unwrap_or(0);
    if features & HAS_BACKING == 0 {
        return Vec::new();
    }
    let mut found =
        backing(read, le32(head, 56).map(u64::from), le32(head, 60)).unwrap_or_else(|| other(Role::Backing, ""));
    found.format = (features & BACKING_IS_RAW != 0).then(|| "raw".into());
    vec![found]
}

/// "Virtual Disk Format" of VMware. The descriptor is the file itself, or lies in it, where the header says or where QEMU
/// looks (block/vmdk.c, vmdk_open()).
fn of_vmdk(read: &Reader<'_>) -> Vec<Other> {
    let head = read(0, 512);
    if !head.starts_with(b"KDMV") && !head.starts_with(b"COWD") {
        return described(&read(0, DESCRIPTION), true);
    }
    let sector = le64(&head, 28).unwrap_or(0);
    // Without a size of its own the extents of the descriptor count; else what is there names the file itself.
    let has_extents = le64(&head, 12) == Some(0);
    let mut found = described(&read(512, DESCRIPTION), has_extents);
    if sector > 1 {
        found.extend(described(&read(sector.saturating_mul(512), DESCRIPTION), has_extents));
    }
    found
}

/// The extents and the parent that a descriptor names.
fn described(text: &[u8], has_extents: bool) -> Vec<Other> {
    let text = text.get(..text.find_byte(0).unwrap_or(text.len())).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim_ascii();
        let quoted = || {
            let (_, rest) = line.split_once_str("\"")?;
            Some(rest.split_once_str("\"").map_or(rest, |(name, _)| name))
        };
        let begins = |words: &[&str]| words.iter().any(|word| line.to_ascii_lowercase().starts_with(word.as_bytes()));
        if begins(&["parentfilenamehint"]) {
            found.extend(quoted().filter(|name| !name.is_empty()).map(|name| other(Role::Backing, name)));
        } else if has_extents && begins(&["rw", "rdonly", "noaccess"]) {
            found.extend(quoted().map(|name| other(Role::Extent, name)));
        }
        if found.len() >= EXTENTS {
            break;
        }
    }
    found
}

/// Microsoft's "Virtual Hard Disk Image Format Specification": the parent's name is in the header of a differencing disk.
fn of_vpc(read: &Reader<'_>) -> Vec<Other> {
    const DIFFERENCING: u32 = 4;
    let footer = read(0, 512);
    if be32(&footer, 60) != Some(DIFFERENCING) || !footer.starts_with(b"conectix") {
        return Vec::new();
    }
    let header = be64(&footer, 16).map(|at| read(at, 1024)).unwrap_or_default();
    let units = header.get(64..576).unwrap_or_default().chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let name: String = char::decode_utf16(units.take_while(|unit| *unit != 0)).flatten().collect();
    vec![other(Role::Backing, name)]
}

/// Microsoft's "VHDX Image Format Specification": a flag among the parameters of the file says that it has a parent.
fn of_vhdx(read: &Reader<'_>) -> Vec<Other> {
    // 8B7CA206-4790-4B9A-B8FE-575F050F886E, CAA16737-FA36-4D43-B3B6-33F0AA44E76B.
    const METADATA: [u8; 16] =
        [6, 0xA2, 0x7C, 0x8B, 0x90, 0x47, 0x9A, 0x4B, 0xB8, 0xFE, 0x57, 0x5F, 5, 0x0F, 0x88, 0x6E];
    const PARAMETERS: [u8; 16] =
        [0x37, 0x67, 0xA1, 0xCA, 0x36, 0xFA, 0x43, 0x4D, 0xB3, 0xB6, 0x33, 0xF0, 0xAA, 0x44, 0xE7, 0x6B];
    const HAS_PARENT: u32 = 2;
    let has_parent = |table: u64| {
        let regions = read(table, 64 << 10);
        let metadata = entries(&regions, 16).find(|entry| entry.starts_with(&METADATA)).and_then(|one| le64(one, 16));
        let Some(at) = metadata.filter(|_| regions.starts_with(b"regi")) else { return false };
        let items = read(at, 64 << 10);
        let item = entries(&items, 32).find(|entry| entry.starts_with(&PARAMETERS)).and_then(|one| le32(one, 16));
        let at = item.and_then(|offset| at.checked_add(u64::from(offset)));
        at.is_some_and(|at| le32(&read(at, 8), 4).is_some_and(|flags| flags & HAS_PARENT != 0))
    };
    let is_differencing = [192 << 10, 256 << 10].into_iter().any(has_parent);
    is_differencing.then(|| other(Role::Backing, "")).into_iter().collect()
}

/// Entries of 32 bytes.
fn entries(table: &[u8], from: usize) -> impl Iterator<Item = &[u8]> {
    table.get(from..).unwrap_or_default().chunks_exact(32)
}

/// VirtualBox's header, version 1.1 (VDICore.h): a differencing image has the identifier of its parent.
fn of_vdi(head: &[u8]) -> Vec<Other> {
    const DIFFERENCING: u32 = 4;
    let has_parent = le32(head, 76) == Some(DIFFERENCING);
    has_parent.then(|| other(Role::Backing, "")).into_iter().collect()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests;
