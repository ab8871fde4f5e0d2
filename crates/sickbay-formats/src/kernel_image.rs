//! Whether a file can be a kernel, and whether all of it is there, from its first bytes.

/// What a file that should be a kernel is.
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

#[cfg(test)]
mod tests {
    use super::*;

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

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = kernel(&bytes, bytes.len() as u64);
        }
    }
}
