//! Whether a file can be a kernel or an initramfs, and whether all of it is there, from a few of its bytes.

/// What a file that should be a kernel or an initramfs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// As far as can be told it is whole.
    Whole,
    /// It ends before its own header says, or in the middle of a part.
    Truncated {
        /// How many bytes it must have at least.
        wanted: u64,
    },
    /// It begins with zeros only, as after a crash before the content was written.
    Zeros,
    /// It begins like nothing that is known.
    Unknown,
}

/// How many bytes of a kernel [`kernel`] needs.
pub const HEAD: usize = 4096;

fn le32(bytes: &[u8], at: usize) -> Option<u64> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u64::from(u32::from_le_bytes(four)))
}

/// Judges a kernel by its first [`HEAD`] bytes and its size in bytes. x86's header tells its size
/// (Documentation/arch/x86/boot.rst: `setup_sects` at 0x1f1 in sectors of 512 bytes, `syssize` at 0x1f4 in units of 16
/// bytes); so does that of compressed EFI kernels ("zimg", offset at 8 and size at 12 of the payload).
pub fn kernel(head: &[u8], size: u64) -> Image {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let least = if at(0x202, b"HdrS") {
        let sectors = match head.get(0x1f1) {
            Some(0) | None => 4,
            Some(&sectors) => u64::from(sectors),
        };
        Some((sectors + 1) * 512 + le32(head, 0x1f4).unwrap_or(0) * 16)
    } else if at(0, b"MZ") && at(4, b"zimg") {
        le32(head, 8).zip(le32(head, 12)).map(|(offset, length)| offset + length)
    } else {
        None
    };
    let known = at(0, b"MZ")
        || at(0, b"\x7fELF")
        || at(0, b"\x1f\x8b")
        || at(0x38, b"ARM\x64")
        || at(0x24, &[0x18, 0x28, 0x6f, 0x01]);
    match least {
        Some(wanted) if size < wanted => Image::Truncated { wanted },
        Some(_) => Image::Whole,
        None if !head.is_empty() && head.iter().all(|&byte| byte == 0) => Image::Zeros,
        None if known => Image::Whole,
        None => Image::Unknown,
    }
}

/// Judges an initramfs of `size` bytes; `read` gives bytes at an offset, fewer at the end. The archive may be made of
/// several parts (Documentation/driver-api/early-userspace/buffer-format.rst): plain cpio for the processor's microcode,
/// then the compressed rest. Whether the end is there can be told where the format says how long its pieces are: cpio,
/// xz, zstd and lz4.
pub fn initramfs(size: u64, read: &dyn Fn(u64, usize) -> Vec<u8>) -> Image {
    let mut at = 0;
    let mut known = false;
    // Microcode has a handful of members; an archive that is wholly plain has thousands.
    for _ in 0..200_000 {
        let head = read(at, 128);
        let Some(&first) = head.first() else { return if known { Image::Whole } else { Image::Unknown } };
        if first == 0 {
            // Parts are padded with zeros.
            let Some(next) = skip_zeros(at, size, read) else {
                return if known { Image::Whole } else { Image::Zeros };
            };
            at = next;
            continue;
        }
        if head.starts_with(b"070701") || head.starts_with(b"070702") {
            known = true;
            match member(&head) {
                Some(length) if at + length <= size => at += length,
                Some(length) => return Image::Truncated { wanted: at + length },
                None => return Image::Truncated { wanted: size + 1 },
            }
            continue;
        }
        return compressed(at, size, &head, read);
    }
    Image::Whole
}

/// Padding is short; a sparse file of terabytes must not be read to its end.
const MOST_ZEROS: u64 = 16 << 20;

fn skip_zeros(mut at: u64, size: u64, read: &dyn Fn(u64, usize) -> Vec<u8>) -> Option<u64> {
    let end = size.min(at.saturating_add(MOST_ZEROS));
    while at < end {
        let block = read(at, 64 << 10);
        if block.is_empty() {
            return None;
        }
        if let Some(some) = block.iter().position(|&byte| byte != 0) {
            return Some(at + some as u64);
        }
        at += block.len() as u64;
    }
    None
}

/// The length of a member of a cpio archive with header, name and content, each padded to 4 bytes.
fn member(head: &[u8]) -> Option<u64> {
    let field = |index: usize| {
        let digits = head.get(6 + index * 8..14 + index * 8)?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let padded = |length: u64| length.div_ceil(4) * 4;
    Some(padded(110 + field(11)?) + padded(field(6)?))
}

fn compressed(at: u64, size: u64, head: &[u8], read: &dyn Fn(u64, usize) -> Vec<u8>) -> Image {
    let is = |magic: &[u8]| head.starts_with(magic);
    if is(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return zstd(at, size, head, read);
    }
    if is(&[0x02, 0x21, 0x4c, 0x18]) {
        return lz4(at, size, read);
    }
    if is(b"\xfd7zXZ\0") {
        // The end of a stream is its magic; padding is in units of 4 bytes.
        let tail = read(size.saturating_sub(4096).max(at), 4096);
        let end = tail.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let whole = tail.get(..end).is_some_and(|tail| tail.ends_with(b"YZ"));
        return if whole { Image::Whole } else { Image::Truncated { wanted: size + 1 } };
    }
    // gzip, bzip2, lzma, lzo: known, but how long they must be is not told.
    let others: [&[u8]; 4] = [&[0x1f, 0x8b], b"BZh", &[0x5d, 0, 0], b"\x89LZO"];
    if others.iter().any(|magic| is(magic)) { Image::Whole } else { Image::Unknown }
}

/// Walks the blocks of a zstd frame (RFC 8878, 3.1.1).
fn zstd(begin: u64, size: u64, head: &[u8], read: &dyn Fn(u64, usize) -> Vec<u8>) -> Image {
    let Some(&descriptor) = head.get(4) else { return Image::Truncated { wanted: begin + 9 } };
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content = match descriptor >> 6 {
        0 => u64::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let mut at = begin + 5 + u64::from(!single) + dictionary + content;
    loop {
        let block = read(at, 3);
        let [low, middle, high] = block[..] else { return Image::Truncated { wanted: at + 3 } };
        let header = u64::from(low) | u64::from(middle) << 8 | u64::from(high) << 16;
        // A block of kind 1 is one byte, repeated.
        at += 3 + if (header >> 1) & 3 == 1 { 1 } else { header >> 3 };
        if at > size {
            return Image::Truncated { wanted: at };
        }
        if header & 1 == 1 {
            break;
        }
    }
    if descriptor & 4 != 0 && at + 4 > size { Image::Truncated { wanted: at + 4 } } else { Image::Whole }
}

/// Walks the blocks of lz4's legacy format, which Linux uses: each begins with its length.
fn lz4(begin: u64, size: u64, read: &dyn Fn(u64, usize) -> Vec<u8>) -> Image {
    let mut at = begin + 4;
    while at + 4 <= size {
        match le32(&read(at, 4), 0) {
            // Padding, or another part.
            None | Some(0) => return Image::Whole,
            Some(length) if length > 16 << 20 => return Image::Whole,
            Some(length) if at + 4 + length > size => return Image::Truncated { wanted: at + 4 + length },
            Some(length) => at += 4 + length,
        }
    }
    Image::Whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(bytes: &[u8]) -> Image {
        let read = |at: u64, length: usize| {
            let from = usize::try_from(at).unwrap().min(bytes.len());
            bytes[from..(from + length).min(bytes.len())].to_vec()
        };
        initramfs(bytes.len() as u64, &read)
    }

    #[test]
    fn kernels() {
        let mut head = vec![0_u8; HEAD];
        assert_eq!(kernel(&head, 10_000_000), Image::Zeros);
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x1f1] = 31;
        head[0x1f4..0x1f8].copy_from_slice(&100_u32.to_le_bytes());
        assert_eq!(kernel(&head, 32 * 512 + 1600), Image::Whole);
        assert_eq!(kernel(&head, 32 * 512 + 1599), Image::Truncated { wanted: 32 * 512 + 1600 });
        assert_eq!(kernel(b"hello", 5), Image::Unknown);
        assert_eq!(kernel(b"", 0), Image::Unknown);
    }

    fn cpio(name: &str, content: &[u8]) -> Vec<u8> {
        let name = format!("{name}\0");
        let mut out = format!("070701{}", "00000000".repeat(6)).into_bytes();
        out.extend(format!("{:08X}", content.len()).bytes());
        out.extend("00000000".repeat(4).bytes());
        out.extend(format!("{:08X}00000000", name.len()).bytes());
        out.extend(name.bytes());
        out.resize(out.len().div_ceil(4) * 4, 0);
        out.extend(content);
        out.resize(out.len().div_ceil(4) * 4, 0);
        out
    }

    #[test]
    fn initramfs_of_all_kinds() {
        let mut microcode = cpio("kernel/x86/microcode/GenuineIntel.bin", &[7; 1000]);
        microcode.extend(cpio("TRAILER!!!", b""));
        microcode.resize(2048, 0);
        assert_eq!(judged(&microcode), Image::Whole);
        let with = |rest: &[u8]| [&microcode, rest].concat();
        assert_eq!(judged(&with(&[0x1f, 0x8b, 8, 0])), Image::Whole);
        assert_eq!(judged(&with(b"hello world")), Image::Unknown);
        assert_eq!(judged(&microcode[..700]), Image::Truncated { wanted: 1148 });
        // A frame of a raw block of 4 bytes, the last one.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x21, 0, 0, 1, 2, 3, 4];
        assert_eq!(judged(&with(&frame)), Image::Whole);
        assert_eq!(judged(&with(&frame[..12])), Image::Truncated { wanted: 2048 + 13 });
        assert_eq!(judged(&with(b"\xfd7zXZ\0 and much more YZ\0\0\0\0")), Image::Whole);
        assert_eq!(judged(&with(b"\xfd7zXZ\0 and much more")), Image::Truncated { wanted: 2048 + 21 });
        assert_eq!(judged(&[0; 5000]), Image::Zeros);
        assert_eq!(judged(b""), Image::Unknown);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, magic in 0_usize..5) {
            let magic: &[u8] = [&b"070701"[..], &[0x28, 0xb5, 0x2f, 0xfd], &[2, 0x21, 0x4c, 0x18], b"\xfd7zXZ\0", b""][magic];
            let _ = judged(&[magic, &bytes].concat());
            let _ = kernel(&bytes, bytes.len() as u64);
        }
    }
}
