//! The headers of a tar archive (POSIX ustar and pax, GNU tar, and the v7 before them), for who reads one of a stranger: an archive
//! is a stream, so this is all pure functions of one block, and nothing is held that is larger than the caller allows.

/// Everything in an archive is a number of these.
pub const BLOCK: usize = 512;

/// What a header introduces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A file of which only the parts with content are stored (GNU's `S`).
    Sparse,
    /// Another name of a file that came before.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Dir,
    /// A character or block device.
    Device,
    /// A FIFO.
    Fifo,
    /// The name of the next member, where it is too long for its header.
    LongName,
    /// What the next member links to, likewise.
    LongLink,
    /// Records about the next member.
    Pax,
    /// Records about all members from here on.
    PaxGlobal,
    /// Anything else, which has no place in a file system: a volume's label, a part of a file.
    Other,
}

impl Kind {
    /// Whether something follows: a size that others have is none of what is stored.
    pub fn has_content(self) -> bool {
        !matches!(self, Kind::HardLink | Kind::Symlink | Kind::Dir | Kind::Device | Kind::Fifo)
    }
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What it introduces.
    pub kind: Kind,
    /// The name, as it is written.
    pub name: Vec<u8>,
    /// What it links to.
    pub link: Vec<u8>,
    /// The permission bits with set-user-ID and its like.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The bytes that follow, without what fills up the last block.
    pub size: u64,
    /// The last change of the content, in seconds since 1970.
    pub mtime: i64,
    /// Of a sparse file: where its parts belong, whether more of them follow in a block of their own, and its size.
    pub sparse: Option<Sparse>,
}

/// Where the parts of a sparse file belong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Each with its place and its length.
    pub parts: Vec<(u64, u64)>,
    /// The next block has more of them.
    pub has_more: bool,
    /// The size of the whole file.
    pub size: u64,
}

impl Header {
    /// Reads a header; `None` where its checksum is wrong, as of anything that is none.
    pub fn parse(block: &[u8; BLOCK]) -> Option<Header> {
        let told = number(field(block, 148, 8))?;
        let all = |unsigned: bool| -> i64 {
            let value = |byte: u8| if unsigned { i64::from(byte) } else { i64::from(byte.cast_signed()) };
            let is_sum = |at: usize| (148..156).contains(&at);
            block.iter().enumerate().map(|(at, byte)| if is_sum(at) { 32 } else { value(*byte) }).sum()
        };
        // Old tars of some machines took bytes for signed ones.
        if told != all(true) && told != all(false) {
            return None;
        }
        let is_ustar = field(block, 257, 6) == b"ustar\0";
        let is_gnu = field(block, 257, 6) == b"ustar ";
        let mut name = text(field(block, 0, 100)).to_vec();
        let prefix = text(field(block, 345, 155));
        if is_ustar && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let flag = field(block, 156, 1).first().copied().unwrap_or_default();
        let kind = match flag {
            // Before POSIX a directory was a file whose name ends so.
            0 | b'0' | b'7' if name.ends_with(b"/") => Kind::Dir,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            b'L' if is_gnu => Kind::LongName,
            b'K' if is_gnu => Kind::LongLink,
            b'S' if is_gnu => Kind::Sparse,
            b'x' | b'X' => Kind::Pax,
            b'g' => Kind::PaxGlobal,
            _ => Kind::Other,
        };
        let small = |at, len| number(field(block, at, len)).and_then(|value| u32::try_from(value).ok());
        Some(Header {
            kind,
            name,
            link: text(field(block, 157, 100)).to_vec(),
            mode: small(100, 8).unwrap_or(0) & 0o7777,
            uid: small(108, 8).unwrap_or(0),
            gid: small(116, 8).unwrap_or(0),
            size: u64::try_from(number(field(block, 124, 12))?).ok()?,
            mtime: number(field(block, 136, 12)).unwrap_or(0),
            sparse: (kind == Kind::Sparse).then(|| Sparse {
                parts: parts(field(block, 386, 96)),
                has_more: field(block, 482, 1) != b"\0",
                size: number(field(block, 483, 12)).and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            }),
        })
    }
}

impl Sparse {
    /// Takes what a block of further parts tells.
    pub fn extend(&mut self, block: &[u8; BLOCK]) {
        self.parts.extend(parts(field(block, 0, 504)));
        self.has_more = field(block, 504, 1) != b"\0";
    }

    /// Whether the parts are in order, within the file, and as long as what is stored: anything else is no map of it.
    pub fn is_sound(&self, stored: u64) -> bool {
        let mut end = 0;
        let mut sum = 0_u64;
        for (start, length) in &self.parts {
            let Some(next) = start.checked_add(*length).filter(|next| *start >= end && *next <= self.size) else {
                return false;
            };
            end = next;
            sum = sum.saturating_add(*length);
        }
        sum == stored
    }
}

/// The records of a pax header, `LENGTH KEY=VALUE\n` each; what is none of them ends the list.
pub fn pax(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut records = Vec::new();
    while let Some((record, rest)) = pax_record(bytes) {
        records.push(record);
        bytes = rest;
    }
    records
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn pax_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(bytes.get(..blank)?).ok()?.parse().ok()?;
    let record = bytes.get(blank.checked_add(1)?..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(((record.get(..equals)?, record.get(equals + 1..)?), bytes.get(length..)?))
}

/// Whether a block is the mark of the end: all zeros.
pub fn is_end(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// The fields are where they are in every block.
fn field(block: &[u8; BLOCK], at: usize, len: usize) -> &[u8] {
    block.get(at..at.saturating_add(len)).unwrap_or_default()
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn parts(bytes: &[u8]) -> Vec<(u64, u64)> {
    let unsigned = |bytes: &[u8]| number(bytes).and_then(|value| u64::try_from(value).ok());
    let pair = |entry: &[u8]| {
        let (start, length) = entry.split_at_checked(12)?;
        // The rest of the table is empty.
        if start.first().is_none_or(|byte| *byte == 0) {
            return None;
        }
        Some((unsigned(start)?, unsigned(length)?))
    };
    bytes.chunks_exact(24).map_while(pair).collect()
}

/// A number: octal, or where that is too short (GNU) big-endian with the highest bit set. An empty field is 0.
fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // What does not fit is refused.
        let is_negative = first & 0x40 != 0;
        let fill = if is_negative { 0xFF } else { 0 };
        let head = if is_negative { *first } else { first & 0x7F };
        let mut bytes = vec![head];
        bytes.extend(rest);
        let at = bytes.len().checked_sub(8).filter(|at| bytes.iter().take(*at).all(|byte| *byte == fill));
        if let Some(at) = at {
            let last: [u8; 8] = bytes.get(at..)?.first_chunk().copied()?;
            return Some(i64::from_be_bytes(last)).filter(|value| (*value < 0) == is_negative);
        }
        return bytes
            .iter()
            .try_fold(0_i64, |sum, byte| sum.checked_mul(256)?.checked_add(i64::from(*byte)).filter(|_| !is_negative));
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| !(b'0'..=b'7').contains(byte)).unwrap_or(digits.len());
    let (digits, after) = digits.split_at_checked(end)?;
    if after.first().is_some_and(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    digits.iter().try_fold(0_i64, |sum, digit| sum.checked_mul(8)?.checked_add(i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block_of(bytes: &[u8]) -> [u8; BLOCK] {
        bytes[..BLOCK].try_into().unwrap()
    }

    #[test]
    fn what_the_tar_crate_writes_is_read() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_path("usr/bin/su").unwrap();
        header.set_mode(0o4755);
        header.set_uid(7);
        header.set_gid(8);
        header.set_size(3);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        builder.append(&header, &b"abc"[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        let read = Header::parse(&block_of(&bytes)).unwrap();
        assert_eq!((read.kind, read.name.as_slice()), (Kind::File, &b"usr/bin/su"[..]));
        assert_eq!((read.mode, read.uid, read.gid, read.size, read.mtime), (0o4755, 7, 8, 3, 1_700_000_000));
        assert!(Header::parse(&block_of(&bytes[512..])).is_none());
        assert!(is_end(&block_of(&bytes[1024..])));
    }

    #[test]
    fn numbers_of_either_form() {
        assert_eq!(number(b"0000755\0"), Some(0o755));
        assert_eq!(number(b"   755 \0"), Some(0o755));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"07x5\0\0\0\0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(2 << 32));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Some(-1));
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn records() {
        assert_eq!(pax(b"10 path=ab\n"), []);
        let told = pax(b"11 path=ab\n23 SCHILY.xattr.a=\x01=\n\x02\n9 broken");
        assert_eq!(told[0], (&b"path"[..], &b"ab"[..]));
        assert_eq!(told.len(), 2);
        assert_eq!(told[1], (&b"SCHILY.xattr.a"[..], &b"\x01=\n\x02"[..]));
    }

    #[test]
    fn a_map_must_be_one() {
        let map = |parts: &[(u64, u64)], size| Sparse { parts: parts.to_vec(), has_more: false, size };
        assert!(map(&[(0, 512), (1024, 512), (2048, 0)], 2048).is_sound(1024));
        assert!(!map(&[(0, 512), (256, 512)], 2048).is_sound(1024));
        assert!(!map(&[(0, 512)], 100).is_sound(512));
        assert!(!map(&[(u64::MAX, 2)], u64::MAX).is_sound(2));
        assert!(!map(&[(0, 512)], 512).is_sound(511));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), BLOCK..=BLOCK), text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut block = block_of(&bytes);
            let _ = Header::parse(&block);
            // With a checksum that is right everything behind it is read.
            let sum: u32 = block.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) }).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            if let Some(mut header) = Header::parse(&block)
                && let Some(sparse) = &mut header.sparse
            {
                sparse.extend(&block);
                let _ = sparse.is_sound(header.size);
            }
            let _ = pax(&text);
            let _ = number(&text);
        }
    }
}
