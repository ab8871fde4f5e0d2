//! Whether a kernel or a module has a text in it, such as the name of a mount option.

use bstr::ByteSlice;

use crate::initramfs::pieces;

/// What a kernel unpacks to at most, in bytes: real ones have 30 to 100 MiB.
const MOST: u64 = 512 << 20;

/// Which of the words stand in a kernel or module, at the end of a C string or before `=`, as names of options do (a linker keeps
/// `acl` as the end of `noacl`). `None` when the file is of no kind that is known, or damaged. What is compressed is unpacked,
/// and of a kernel that unpacks itself, what it unpacks.
pub fn found(file: &[u8], words: &[&[u8]]) -> Option<Vec<bool>> {
    let longest = words.iter().map(|word| word.len() + 1).max()?;
    // What was found is looked for no more: mostly only a few are left.
    let mut open: Vec<(usize, [Vec<u8>; 2])> = words
        .iter()
        .map(|word| [[word, b"\0".as_slice()].concat(), [word, b"=".as_slice()].concat()])
        .enumerate()
        .collect();
    let mut seen = vec![false; words.len()];
    let mut look = |text: &[u8]| {
        open.retain(|(index, patterns)| {
            let is_there = patterns.iter().any(|pattern| text.contains_str(pattern));
            if let Some(seen) = seen.get_mut(*index).filter(|_| is_there) {
                *seen = true;
            }
            !is_there
        });
    };
    let content = payload(file);
    if content.starts_with(b"\x7fELF") || is_plain_arm64(content) {
        look(content);
        return Some(seen);
    }
    // The end of one piece and the beginning of the next may hold a word together.
    let mut kept: Vec<u8> = Vec::new();
    let mut input = content;
    pieces(&mut input, MOST, &mut |piece| {
        kept.extend_from_slice(piece.get(..longest.min(piece.len())).unwrap_or_default());
        look(&kept);
        look(piece);
        // What is shorter than a word is kept whole.
        if piece.len() >= longest {
            kept.clear();
            kept.extend_from_slice(piece.get(piece.len() - longest..).unwrap_or_default());
        } else {
            let over = kept.len().saturating_sub(longest);
            kept.drain(..over);
        }
    })
    .ok()?;
    Some(seen)
}

fn is_plain_arm64(file: &[u8]) -> bool {
    file.get(0x38..).is_some_and(|rest| rest.starts_with(b"ARM\x64"))
        && !file.get(4..).is_some_and(|rest| rest.starts_with(b"zimg"))
}

/// The compressed kernel in a file: in x86's the header tells where (`payload_offset` at 0x248, `payload_length` at 0x24c, from
/// the end of the setup sectors on; Documentation/arch/x86/boot.rst), in a compressed EFI kernel its own. Else the whole file.
fn payload(file: &[u8]) -> &[u8] {
    let number = |at: usize| {
        let four: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(four)).ok()
    };
    let part = |from: usize, length: usize| file.get(from..from.checked_add(length)?);
    if file.get(0x202..).is_some_and(|rest| rest.starts_with(b"HdrS")) {
        let sectors = file.get(0x1f1).map_or(4, |&sectors| if sectors == 0 { 4 } else { usize::from(sectors) });
        let inner = (|| part(((sectors + 1) * 512).checked_add(number(0x248)?)?, number(0x24c)?))();
        return inner.map_or(file, without_size);
    }
    if file.starts_with(b"MZ") && file.get(4..).is_some_and(|rest| rest.starts_with(b"zimg")) {
        return (|| part(number(8)?, number(12)?))().unwrap_or(file);
    }
    file
}

/// lz4 and lzo have no end mark, and the kernel's build appends four bytes, the size that they unpack to.
fn without_size(inner: &[u8]) -> &[u8] {
    let appends = inner.starts_with(b"\x02\x21\x4c\x18") || inner.starts_with(b"\x89LZO");
    let length = if appends { inner.len().saturating_sub(4) } else { inner.len() };
    inner.get(..length).unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"\x7fELF\0\0noacl\0commit=%u\0errors\0dataless";

    fn words(file: &[u8]) -> Option<Vec<bool>> {
        found(file, &[b"acl", b"commit", b"errors", b"data"])
    }

    #[test]
    fn in_a_module_as_it_is_and_packed() {
        let expected = Some(vec![true, true, true, false]);
        assert_eq!(words(TEXT), expected);
        assert_eq!(words(&zstd::encode_all(TEXT, 3).unwrap()), expected);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, TEXT).unwrap();
        assert_eq!(words(&packer.finish().unwrap()), expected);
        assert_eq!(words(b"text"), None);
        let whole = zstd::encode_all(TEXT, 3).unwrap();
        assert_eq!(words(&whole[..whole.len() - 3]), None);
    }

    #[test]
    fn in_a_kernel_that_unpacks_itself() {
        let packed = zstd::encode_all(TEXT, 3).unwrap();
        let mut file = vec![0_u8; 1024 + 7];
        file[0x1f1] = 1;
        file[0x202..0x206].copy_from_slice(b"HdrS");
        file[0x248..0x24c].copy_from_slice(&7_u32.to_le_bytes());
        file[0x24c..0x250].copy_from_slice(&(packed.len() as u32 + 4).to_le_bytes());
        file.extend(packed);
        file.extend((TEXT.len() as u32).to_le_bytes());
        assert_eq!(words(&file), Some(vec![true, true, true, false]));
    }

    #[test]
    fn between_two_pieces() {
        let mut text = vec![b'x'; (256 << 10) - 3];
        text.extend(b"commit\0");
        assert_eq!(words(&zstd::encode_all(&*text, 3).unwrap()), Some(vec![false, true, false, false]));
    }

    proptest! {
        #[test]
        fn never_panics(file in prop::collection::vec(any::<u8>(), 0..2000), magic in 0..4_usize) {
            let magic: &[u8] = [b"\x7fELF".as_slice(), b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b""][magic];
            let found = words(&[magic, &file].concat());
            prop_assert!(found.is_none_or(|found| found.len() == 4));
        }

        #[test]
        fn never_panics_at_headers(rest in prop::collection::vec(any::<u8>(), 0..1500)) {
            let mut file = rest;
            file.resize(1500, 0);
            file[0x202..0x206].copy_from_slice(b"HdrS");
            prop_assert!(words(&file).is_none_or(|found| found.len() == 4));
        }
    }
}
