//! What is on a volume, told from its first bytes: the superblocks that a Linux machine's disks carry.
//!
//! Offsets are those of the kernel's own structures (`struct ext4_super_block`, `struct xfs_dsb`,
//! `struct btrfs_super_block`, `union swap_header`) and of blkid(8), whose names are used.

use crate::bytes::{array, le32};

/// What was found on a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) fstype: &'static str,
    pub(crate) uuid: Option<String>,
    pub(crate) label: Option<String>,
}

/// Tells what is on a volume of `size` bytes that begins with `head`; `None` when it is nothing known.
pub(crate) fn probe(head: &[u8], size: u64) -> Option<Superblock> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let found = |fstype, uuid: Option<String>, label: Option<String>| Some(Superblock { fstype, uuid, label });
    if at(0, b"XFSB") {
        return found("xfs", uuid_at(head, 32), text_at(head, 108, 12));
    }
    if at(0x10040, b"_BHRfS_M") {
        return found("btrfs", uuid_at(head, 0x10020), text_at(head, 0x1012B, 256));
    }
    if at(0, b"LUKS\xba\xbe") {
        let version = array::<2>(head, 6).map(u16::from_be_bytes);
        let label = if version == Some(2) { text_at(head, 24, 48) } else { None };
        return found("crypto_LUKS", text_at(head, 168, 40), label);
    }
    for sector in 0..4 {
        if at(sector * 512, b"LABELONE") && at(sector * 512 + 24, b"LVM2 001") {
            return found("LVM2_member", text_at(head, sector * 512 + 32, 32).map(lvm_uuid), None);
        }
    }
    for page in [4096, 8192, 16384, 65536] {
        if at(page - 10, b"SWAPSPACE2") || at(page - 10, b"SWAP-SPACE") {
            return found("swap", uuid_at(head, 1036), text_at(head, 1052, 16));
        }
    }
    if at(1024 + 56, &[0x53, 0xEF]) {
        let (compat, incompat, ro_compat) = (le32(head, 1116)?, le32(head, 1120)?, le32(head, 1124)?);
        // What neither ext2 nor ext3 may have: anything beyond filetype, recover and meta_bg; sparse_super, large_file.
        let fstype = match (compat & 4 != 0, incompat & !0x16 != 0 || ro_compat & !0x3 != 0) {
            (_, true) => "ext4",
            (true, false) => "ext3",
            (false, false) => "ext2",
        };
        return found(fstype, uuid_at(head, 1024 + 104), text_at(head, 1024 + 120, 16));
    }
    if at(0, b"hsqs") {
        return found("squashfs", None, None);
    }
    if at(0x8001, b"CD001") {
        return found("iso9660", None, text_at(head, 0x8028, 32));
    }
    if at(510, &[0x55, 0xAA]) && size > 0 {
        for (magic, serial, label) in [(82, 67, 71), (54, 39, 43)] {
            if at(magic, b"FAT") {
                let serial = le32(head, serial).map(|n| format!("{:04X}-{:04X}", n >> 16, n & 0xFFFF));
                let label = text_at(head, label, 11).filter(|label| label != "NO NAME");
                return found("vfat", serial, label);
            }
        }
    }
    None
}

fn uuid_at(head: &[u8], at: usize) -> Option<String> {
    let bytes: [u8; 16] = array(head, at)?;
    (bytes != [0; 16]).then(|| uuid(bytes))
}

/// A UUID in its usual form.
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (n, byte) in bytes.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Text that ends at a NUL, with the blanks behind it taken away.
fn text_at(head: &[u8], at: usize, length: usize) -> Option<String> {
    let bytes = head.get(at..at.checked_add(length)?)?;
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

/// As LVM prints its identifiers: 6-4-4-4-4-4-6.
fn lvm_uuid(plain: String) -> String {
    let mut text = String::with_capacity(38);
    for (n, c) in plain.chars().enumerate() {
        if matches!(n, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(c);
    }
    text
}
