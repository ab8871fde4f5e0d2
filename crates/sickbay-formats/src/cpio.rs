//! cpio archives as the kernel unpacks them: "newc" (070701) and "crc" (070702), cpio(5) and the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst.

use std::io::{self, BufRead, Read};

use bstr::{BString, ByteSlice};

/// The most entries that are kept of one archive; an initramfs with every driver has some ten thousand.
pub const ENTRY_LIMIT: usize = 1 << 18;

/// The longest name: the kernel's PATH_MAX, with room for the NULs with which some tools align the content.
const NAME_LIMIT: usize = 8192;

/// Of a file that is wanted, no more than this is kept, in bytes.
const CONTENT_LIMIT: u64 = 64 << 10;

/// The name of the last entry.
const TRAILER: &[u8] = b"TRAILER!!!";

const HEADER: usize = 110;

/// A file, directory, link or device in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path, without `/` or `./` in front.
    pub name: BString,
    /// Kind and permission bits, as `st_mode` (inode(7)).
    pub mode: u32,
    /// The size of the content in bytes.
    pub size: u64,
    /// What a symbolic link says; the beginning of a file that was wanted.
    pub content: Option<BString>,
}

impl Entry {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    /// What it says, when it is a symbolic link.
    pub fn link(&self) -> Option<&BString> {
        self.content.as_ref().filter(|_| self.is_link())
    }

    fn is_link(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }
}

/// How an archive ended.
#[derive(Debug)]
pub enum End {
    /// With its trailer.
    Trailer,
    /// There are no bytes.
    Nothing,
    /// What stands in the place of a header is none; its first bytes.
    NoHeader(Vec<u8>),
    /// A content does not have the sum that its header tells; the name.
    Sum(BString),
    /// The bytes end, or cannot be read.
    Failed(io::Error),
}

/// Reads one archive and leaves `input` behind it. Entries go to `each`; of files that are `wanted` by name the beginning
/// of the content is kept.
pub fn read(input: &mut dyn BufRead, wanted: &dyn Fn(&[u8]) -> bool, each: &mut dyn FnMut(Entry)) -> End {
    match walk(input, wanted, each) {
        Ok(end) => end,
        Err(error) => End::Failed(error),
    }
}

fn walk(input: &mut dyn BufRead, wanted: &dyn Fn(&[u8]) -> bool, each: &mut dyn FnMut(Entry)) -> io::Result<End> {
    let mut count = 0;
    loop {
        let mut header = Vec::with_capacity(HEADER);
        input.take(HEADER as u64).read_to_end(&mut header)?;
        if header.is_empty() && count == 0 {
            return Ok(End::Nothing);
        }
        if !header.starts_with(b"070701") && !header.starts_with(b"070702") && !is_beginning(&header) {
            return Ok(End::NoHeader(header));
        }
        let summed = header.starts_with(b"070702");
        let Some(fields) = fields(&header) else {
            return if header.len() < HEADER {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(End::NoHeader(header))
            };
        };
        // The fields of a header, in order: ino, mode, uid, gid, nlink, mtime, filesize, four numbers of devices,
        // namesize, check.
        let [_, mode, _, _, _, _, size, _, _, _, _, length, sum] = fields;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || length > NAME_LIMIT {
            return Ok(End::NoHeader(header));
        }
        let mut name = vec![0; length];
        input.read_exact(&mut name)?;
        skip(input, padding(HEADER as u64 + length as u64))?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name == TRAILER {
            return Ok(End::Trailer);
        }
        let size = u64::from(size);
        let mut entry = Entry { name: plain(name).into(), mode, size, content: None };
        let kept =
            if entry.is_link() || (entry.is_file() && wanted(&entry.name)) { size.min(CONTENT_LIMIT) } else { 0 };
        let mut content = Vec::new();
        input.take(kept).read_to_end(&mut content)?;
        let seen = content.len() as u64;
        let mut total = content.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        total = total.wrapping_add(pass(input, size - seen, summed && entry.is_file())?);
        skip(input, padding(size))?;
        if kept > 0 || entry.is_link() {
            entry.content = Some(content.into());
        }
        if summed && entry.is_file() && total != sum {
            return Ok(End::Sum(entry.name));
        }
        count += 1;
        if count <= ENTRY_LIMIT {
            each(entry);
        }
    }
}

/// Whether a header is cut off, not another thing.
fn is_beginning(header: &[u8]) -> bool {
    header.len() < HEADER && (b"070701".starts_with(header) || b"070702".starts_with(header))
}

fn fields(header: &[u8]) -> Option<[u32; 13]> {
    let digits = header.get(6..HEADER)?;
    let mut fields = [0; 13];
    for (field, digits) in fields.iter_mut().zip(digits.chunks(8)) {
        *field = u32::from_str_radix(digits.to_str().ok().filter(|text| !text.starts_with('+'))?, 16).ok()?;
    }
    Some(fields)
}

/// How many bytes follow up to the next multiple of four.
fn padding(length: u64) -> u64 {
    length.wrapping_neg() & 3
}

fn plain(name: &[u8]) -> &[u8] {
    let mut name = name;
    while let Some(rest) = name.strip_prefix(b"./").or_else(|| name.strip_prefix(b"/")) {
        name = rest;
    }
    name
}

fn skip(input: &mut dyn BufRead, length: u64) -> io::Result<()> {
    pass(input, length, false).map(drop)
}

/// Reads over `length` bytes and adds them up, if they are to be.
fn pass(input: &mut dyn BufRead, length: u64, add: bool) -> io::Result<u32> {
    let mut left = length;
    let mut sum = 0u32;
    while left > 0 {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if add {
            sum = buffer.iter().take(here).fold(sum, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        }
        input.consume(here);
        left -= here as u64;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(magic: &str, name: &str, mode: u32, content: &[u8], sum: u32) -> Vec<u8> {
        let mut bytes = format!("{magic}{:08x}{mode:08x}", 1).into_bytes();
        bytes.extend(format!("{:08x}", 0).repeat(4).bytes());
        bytes.extend(format!("{:08x}", content.len()).bytes());
        bytes.extend(format!("{:08x}", 0).repeat(4).bytes());
        bytes.extend(format!("{:08x}{sum:08x}{name}\0", name.len() + 1).bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn names(bytes: &[u8]) -> (Vec<String>, End) {
        let mut all = Vec::new();
        let end = read(&mut &*bytes, &|name| name == b"conf", &mut |entry| {
            all.push(format!("{} {:?}", entry.name, entry.content));
        });
        (all, end)
    }

    #[test]
    fn entries_links_and_contents() {
        let mut bytes = entry("070701", "./usr", 0o040_755, b"", 0);
        bytes.extend(entry("070701", "bin", 0o120_777, b"usr/bin", 0));
        bytes.extend(entry("070701", "conf", 0o100_644, b"a=b\n", 0));
        bytes.extend(entry("070702", "summed", 0o100_644, b"ab", 195));
        bytes.extend(entry("070701", "TRAILER!!!", 0, b"", 0));
        let (all, end) = names(&bytes);
        assert_eq!(all, ["usr None", "bin Some(\"usr/bin\")", "conf Some(\"a=b\\n\")", "summed None"]);
        assert!(matches!(end, End::Trailer));

        assert!(
            matches!(names(&bytes[..bytes.len() - 130]).1, End::Failed(e) if e.kind() == io::ErrorKind::UnexpectedEof)
        );
        assert!(matches!(names(&bytes[..3]).1, End::Failed(_)));
        assert!(matches!(names(b"").1, End::Nothing));
        assert!(matches!(names(b"070707000001").1, End::NoHeader(_)));
        assert!(matches!(names(&entry("070702", "x", 0o100_644, b"ab", 1)).1, End::Sum(name) if name == "x"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(mut bytes: Vec<u8>, with_magic: bool) {
            if with_magic {
                bytes.splice(0..0, entry("070701", "name", 0o100_644, b"content", 0));
            }
            names(&bytes);
        }
    }
}
