//! What a file system's superblock tells of its condition, and where its copies are when it is lost.
//!
//! A journal or log that waits for its replay is what every power loss leaves: it is told apart, and is no [`Sign`].

use super::{Bytes, HEAD, Superblock, probe};

/// Something in a superblock that says, by itself, that the file system is damaged or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The first superblock is gone or damaged; a copy that is whole begins at this byte.
    Lost {
        /// Where the copy is, in bytes from the beginning of the device.
        at: u64,
    },
    /// The superblock is not what its checksum says, and no copy was found.
    Checksum,
    /// The kernel or a checker found errors, and no checker has mended them since (`EXT2_ERROR_FS` in `s_state`).
    Errors,
    /// What the kernel wrote down of the errors that it met (`s_error_count` and what follows in `fs/ext4/ext4.h`).
    Recorded {
        /// How many.
        count: u32,
        /// The last one.
        last: Recorded,
    },
    /// Making it was cut off (`sb_inprogress` of XFS).
    Unfinished,
    /// A repair was cut off: the kernel mounts it no more until a checker has run to its end
    /// (`XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR`).
    NeedsRepair,
}

/// An error of ext4, as the superblock keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Seconds since 1970.
    pub time: u32,
    /// The function of the kernel that found it, and its line.
    pub function: String,
    /// The line in the kernel's source.
    pub line: u32,
    /// The inode, 0 when it was about none.
    pub inode: u32,
    /// The block, 0 when it was about none.
    pub block: u64,
}

/// What the superblock of an ext2, ext3, ext4, XFS or btrfs says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// What is wrong; empty for a healthy one.
    pub signs: Vec<Sign>,
    /// A journal or log tree waits for its replay, as after every power loss.
    pub to_be_replayed: bool,
}

/// A copy of a superblock that is whole where the first is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What it says.
    pub superblock: Superblock,
    /// Where it is, in bytes.
    pub at: u64,
    /// The size of a block, in bytes.
    pub block: u64,
}

/// Reads a part of a device: fewer bytes, or none, where it ends.
pub type Read<'a> = &'a dyn Fn(u64, usize) -> Vec<u8>;

/// The condition of the file system on a device of which [`probe`] says that it is `fstype`; `None` for one that this
/// does not know.
pub fn condition(fstype: &str, read: Read<'_>) -> Option<Condition> {
    match fstype {
        "ext2" | "ext3" | "ext4" => ext(Bytes(&read(EXT_AT, EXT_SIZE))),
        "xfs" => xfs(&read(0, 4096)),
        "btrfs" => btrfs(read),
        _ => None,
    }
}

/// A superblock of ext begins here and has this size.
const EXT_AT: u64 = 1024;
const EXT_SIZE: usize = 1024;

fn ext(sb: Bytes) -> Option<Condition> {
    const NEEDS_RECOVERY: u32 = 0x4;
    const METADATA_CSUM: u32 = 0x400;
    const ERROR_FS: u16 = 2;
    let mut found = Condition { to_be_replayed: sb.u32(96)? & NEEDS_RECOVERY != 0, ..Condition::default() };
    if sb.u32(100)? & METADATA_CSUM != 0 && sb.u32(0x3fc)? != !crc32c(sb.get(0, 0x3fc)?) {
        found.signs.push(Sign::Checksum);
    }
    if sb.u16(58)? & ERROR_FS != 0 {
        found.signs.push(Sign::Errors);
    }
    let count = sb.u32(0x194)?;
    if count > 0 {
        let last = Recorded {
            time: sb.u32(0x1cc)?,
            inode: sb.u32(0x1d0)?,
            line: sb.u32(0x1d4)?,
            block: sb.u64(0x1d8)?,
            function: sb.label(0x1e0, 32).unwrap_or_default(),
        };
        found.signs.push(Sign::Recorded { count, last });
    }
    Some(found)
}

/// Numbers of XFS are big endian (`fs/xfs/libxfs/xfs_format.h`).
fn be<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn xfs(sb: &[u8]) -> Option<Condition> {
    let mut found = Condition::default();
    if !xfs_is_whole(sb)? {
        found.signs.push(Sign::Checksum);
    }
    if *sb.get(126)? != 0 {
        found.signs.push(Sign::Unfinished);
    }
    let is_v5 = u16::from_be_bytes(be(sb, 100)?) & 0xf == 5;
    if is_v5 && u32::from_be_bytes(be(sb, 216)?) & (1 << 4) != 0 {
        found.signs.push(Sign::NeedsRepair);
    }
    Some(found)
}

/// Whether its checksum fits; that of version 4, which has none, always does.
fn xfs_is_whole(sb: &[u8]) -> Option<bool> {
    if u16::from_be_bytes(be(sb, 100)?) & 0xf != 5 {
        return Some(true);
    }
    let sector = usize::from(u16::from_be_bytes(be(sb, 102)?));
    let Some(own) = sb.get(..sector).filter(|own| own.len() >= 512) else { return Some(false) };
    let mut zeroed = own.to_vec();
    zeroed.get_mut(224..228)?.fill(0);
    Some(u32::from_le_bytes(be(sb, 224)?) == crc32c(&zeroed))
}

/// Where the copies of btrfs are (`btrfs_sb_offset`), the first one first.
const BTRFS: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
const BTRFS_SIZE: usize = 4096;

fn btrfs(read: Read<'_>) -> Option<Condition> {
    let first = read(BTRFS[0], BTRFS_SIZE);
    let mut found = Condition { to_be_replayed: Bytes(&first).u64(96)? != 0, ..Condition::default() };
    if !btrfs_is_whole(&first, BTRFS[0]) {
        let copy = btrfs_copy(read).filter(|(_, copy)| Bytes(copy).get(32, 16) == Bytes(&first).get(32, 16));
        found.signs.push(copy.map_or(Sign::Checksum, |(at, _)| Sign::Lost { at }));
    }
    Some(found)
}

/// Checksums of other kinds than crc32c (`csum_type`) are not computed, and taken for right.
fn btrfs_is_whole(sb: &[u8], at: u64) -> bool {
    let bytes = Bytes(sb);
    let crc = || Some(bytes.u16(0xc4)? != 0 || bytes.u32(0)? == crc32c(bytes.get(32, BTRFS_SIZE - 32)?));
    bytes.is(64, b"_BHRfS_M") && bytes.u64(48) == Some(at) && crc() == Some(true)
}

/// The newest copy that is whole.
fn btrfs_copy(read: Read<'_>) -> Option<(u64, Vec<u8>)> {
    let whole = BTRFS.iter().skip(1).map(|&at| (at, read(at, BTRFS_SIZE))).filter(|(at, sb)| btrfs_is_whole(sb, *at));
    whole.max_by_key(|(_, sb)| Bytes(sb).u64(72))
}

/// Looks for the copies of a superblock on a device of `size` bytes of whose beginning nothing is known.
///
/// They are looked for where mke2fs(8), mkfs.xfs(8) and mkfs.btrfs(8) put them when nothing else is asked for. What was
/// there before a device was given to something else may still be found: whoever asks must have a reason to.
pub fn copy_of_lost(read: Read<'_>, size: u64) -> Option<Copy> {
    ext_copy(read, size).or_else(|| xfs_copy(read, size)).or_else(|| {
        let (at, sb) = btrfs_copy(read)?;
        as_superblock(&sb, BTRFS[0], at, 4096)
    })
}

/// The superblock that a copy is of: as if it stood where the first one does.
fn as_superblock(copy: &[u8], first_at: u64, at: u64, block: u64) -> Option<Copy> {
    let mut head = vec![0; usize::try_from(first_at).ok()?];
    head.extend_from_slice(copy);
    let superblock = probe(&head, HEAD as u64)?;
    Some(Copy { superblock, at, block })
}

fn ext_copy(read: Read<'_>, size: u64) -> Option<Copy> {
    // A group has as many blocks as one block has bits. sparse_super keeps copies in the groups 1 and the powers of 3, 5
    // and 7; sparse_super2 in two, by default the second and the last.
    for block in [4096, 1024, 2048, 8192, 16384, 32768, 65536_u64] {
        let first = u64::from(block == 1024);
        let last = (size / block).saturating_sub(first) / (8 * block);
        for group in [1, 3, 5, 7, 9, 25, 27, 49, last] {
            let at = (group * 8 * block + first) * block;
            if group == 0 || group > last || at >= size {
                continue;
            }
            let copy = read(at, EXT_SIZE);
            let sb = Bytes(&copy);
            let is_of = |sb: Bytes| {
                let own = sb.is(56, &[0x53, 0xef]) && sb.u32(24)?.checked_add(10)? == block.trailing_zeros();
                Some(own && sb.u16(90)? == u16::try_from(group & 0xffff).ok()? && u64::from(sb.u32(20)?) == first)
            };
            let is_whole = |sb: Bytes| {
                Some(!ext(sb)?.signs.contains(&Sign::Checksum) && u64::from(sb.u32(4)?).checked_mul(block)? <= size)
            };
            if is_of(sb) == Some(true) && is_whole(sb) == Some(true) {
                return as_superblock(&copy, EXT_AT, at, block);
            }
        }
    }
    None
}

fn xfs_copy(read: Read<'_>, size: u64) -> Option<Copy> {
    const BLOCK: u64 = 4096;
    let blocks = size / BLOCK;
    // Each allocation group begins with a copy; how many there are, only a copy says.
    (2..=128_u64).find_map(|groups| {
        let at = blocks.div_ceil(groups) * BLOCK;
        let copy = read(at, 4096);
        let block = u64::from(u32::from_be_bytes(be(&copy, 4)?));
        let group = u64::from(u32::from_be_bytes(be(&copy, 84)?));
        let fits = copy.starts_with(b"XFSB") && group.checked_mul(block)? == at && xfs_is_whole(&copy)?;
        if fits { as_superblock(&copy, 0, at, block) } else { None }
    })
}

/// CRC-32C (Castagnoli) of some bytes, as iSCSI, ext4, XFS and btrfs use it (RFC 3720, B.4).
pub fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ OF_BYTE.get(usize::from(low ^ byte)).copied().unwrap_or(0)
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// The same of each byte alone.
const OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    fn device(pieces: &[(usize, &[u8])]) -> impl Fn(u64, usize) -> Vec<u8> + use<> {
        let mut bytes = vec![0; 96 << 20];
        for (at, piece) in pieces {
            bytes[*at..at + piece.len()].copy_from_slice(piece);
        }
        move |at, length| {
            let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
            rest[..length.min(rest.len())].to_vec()
        }
    }

    #[test]
    fn errors_are_signs_and_a_journal_to_be_replayed_is_none() {
        let magic: (usize, &[u8]) = (1080, &[0x53, 0xef]);
        let clean = condition("ext4", &device(&[magic, (1082, &[1]), (1120, &[0x44])]));
        assert_eq!(clean, Some(Condition { signs: Vec::new(), to_be_replayed: true }));
        let ill = device(&[
            magic,
            (1082, &[3]),
            (1024 + 0x194, &[7]),
            (1024 + 0x1d4, &[9, 1]),
            (1024 + 0x1e0, b"ext4_lookup"),
        ]);
        let ill = condition("ext4", &ill).expect("ext4");
        let last = Recorded { time: 0, function: "ext4_lookup".into(), line: 265, inode: 0, block: 0 };
        assert_eq!(ill.signs, [Sign::Errors, Sign::Recorded { count: 7, last }]);
        // Feature metadata_csum, and a checksum that is none.
        let wrong = device(&[magic, (1125, &[4])]);
        assert_eq!(condition("ext4", &wrong).map(|c| c.signs), Some(vec![Sign::Checksum]));
    }

    #[test]
    fn xfs_says_that_it_needs_repair() {
        let found =
            condition("xfs", &device(&[(0, b"XFSB"), (101, &[0xb5]), (102, &[2]), (126, &[1]), (219, &[0x10])]));
        assert_eq!(found.map(|c| c.signs), Some(vec![Sign::Checksum, Sign::Unfinished, Sign::NeedsRepair]));
        assert_eq!(condition("xfs", &device(&[(0, b"XFSB"), (101, &[0xb4])])), Some(Condition::default()));
        assert_eq!(condition("vfat", &device(&[])), None);
    }

    #[test]
    fn nothing_is_found_on_an_empty_device() {
        assert_eq!(copy_of_lost(&device(&[]), 96 << 20), None);
        // A copy that says it is of another group.
        let at = 32768 * 4096 % (96 << 20);
        assert_eq!(copy_of_lost(&device(&[(at + 56, &[0x53, 0xef])]), 1 << 40), None);
    }

    proptest! {
        #[test]
        fn never_panics(
            noise in proptest::collection::vec(any::<u8>(), 0..5000),
            magic in 0usize..4,
            size in any::<u64>(),
        ) {
            let magics: [(usize, &[u8]); 4] = [(56, &[0x53, 0xef]), (0, b"XFSB"), (64, b"_BHRfS_M"), (0, b"")];
            let (at, text) = magics[magic];
            let mut bytes = noise.clone();
            if let Some(place) = bytes.get_mut(at..at + text.len()) {
                place.copy_from_slice(text);
            }
            let read = |_: u64, length: usize| bytes[..length.min(bytes.len())].to_vec();
            for fstype in ["ext4", "xfs", "btrfs"] {
                condition(fstype, &read);
            }
            copy_of_lost(&read, size);
        }
    }
}
