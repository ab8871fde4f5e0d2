//! GRUB 2 as a program that UEFI starts: what it was told when it was made, besides its code.
//!
//! The section `mods` of the program begins with `grub_module_info` (GRUB's include/grub/kernel.h): a magic number, the
//! offset of the first object and the size of all. Objects follow each other, each with its type and its size, the
//! eight bytes of these two included.

use bstr::{BString, ByteSlice};

use crate::boot_sector::{le16, le32, le64};

/// `GRUB_MODULE_MAGIC`
const MAGIC: &[u8; 4] = b"mimg";
/// `OBJ_TYPE_CONFIG`: a script that is run before anything else.
const CONFIG: u32 = 2;
/// `OBJ_TYPE_PREFIX`: where its directory is.
const PREFIX: u32 = 3;
/// The magic number of an optional header for 64 bits (Microsoft's PE specification).
const PE32_PLUS: u16 = 0x20B;

/// What a GRUB was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its directory: `/EFI/debian` on the file system that it was started from, or `(hd0,gpt2)/boot/grub`.
    pub prefix: BString,
    /// The script within it; grub-install writes one that looks for a file system by its UUID.
    pub config: BString,
}

/// What the program was told; `None` when it is no GRUB.
pub fn told(program: &[u8]) -> Option<Told> {
    let objects = section(program, b"mods\0\0\0\0")?;
    if !objects.starts_with(MAGIC) {
        return None;
    }
    let header = usize::try_from(le32(program, 0x3C)?).ok()?;
    let (first, size) = if le16(program, header.checked_add(24)?)? == PE32_PLUS {
        (le64(objects, 8)?, le64(objects, 16)?)
    } else {
        (u64::from(le32(objects, 4)?), u64::from(le32(objects, 8)?))
    };
    let mut rest = objects.get(usize::try_from(first).ok()?..usize::try_from(size).ok()?)?;
    let mut told = Told::default();
    while let (Some(kind), Some(size)) = (le32(rest, 0), le32(rest, 4)) {
        let size = usize::try_from(size).ok()?;
        let text = || rest.get(8..size).unwrap_or_default().split(|&byte| byte == 0).next().unwrap_or_default();
        match kind {
            PREFIX => told.prefix = text().into(),
            CONFIG => told.config = text().into(),
            _ => {}
        }
        rest = rest.get(size.max(8)..).unwrap_or_default();
    }
    Some(told)
}

/// The content of a section of a PE program.
fn section<'a>(program: &'a [u8], name: &[u8; 8]) -> Option<&'a [u8]> {
    const HEADER: usize = 40;
    if !program.starts_with(b"MZ") {
        return None;
    }
    let header = program.get(usize::try_from(le32(program, 0x3C)?).ok()?..)?;
    if !header.starts_with(b"PE\0\0") {
        return None;
    }
    let count = usize::from(le16(header, 6)?);
    let table = header.get(24 + usize::from(le16(header, 20)?)..)?;
    let found = table.chunks_exact(HEADER).take(count).find(|section| section.starts_with(name))?;
    let (size, start) = (usize::try_from(le32(found, 16)?).ok()?, usize::try_from(le32(found, 20)?).ok()?);
    program.get(start..start.checked_add(size)?.min(program.len()))
}

/// The directory on the EFI system partition that it was told of, without the `/` before it; `None` where it is told of
/// another file system, or looks for its directory by itself.
pub fn own_directory(told: &Told) -> Option<&str> {
    let path = told.prefix.to_str().ok()?.strip_prefix('/')?;
    let is_there = path.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("EFI/")) && path.len() > 4;
    is_there.then_some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A program of 64 bits with nothing but these two in it, as tests need it.
    fn example(told: &Told) -> Vec<u8> {
        let object = |kind: u32, text: &[u8]| {
            let padded = [text, b"\0"].concat();
            [&kind.to_le_bytes()[..], &u32::try_from(padded.len() + 8).unwrap_or(0).to_le_bytes(), &padded].concat()
        };
        let objects = [object(CONFIG, &told.config), object(PREFIX, &told.prefix)].concat();
        let size = u64::try_from(objects.len() + 24).unwrap_or(0).to_le_bytes();
        let content = [&MAGIC[..], &[0; 4], &24_u64.to_le_bytes(), &size, &objects].concat();
        let mut program = vec![0; 0x200];
        let mut put = |at: usize, bytes: &[u8]| {
            for (to, from) in program.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        };
        put(0, b"MZ");
        put(0x3C, &[0x80]);
        put(0x80, b"PE\0\0\x64\x86\x01");
        put(0x80 + 20, &[2]);
        put(0x80 + 24, &PE32_PLUS.to_le_bytes());
        put(0x80 + 26, b"mods");
        put(0x80 + 26 + 16, &u32::try_from(content.len()).unwrap_or(0).to_le_bytes());
        put(0x80 + 26 + 20, &0x200_u32.to_le_bytes());
        [program, content].concat()
    }

    #[test]
    fn what_a_grub_was_told() {
        let signed = Told { prefix: "/EFI/debian".into(), config: BString::default() };
        assert_eq!(told(&example(&signed)).as_ref(), Some(&signed));
        assert_eq!(own_directory(&signed), Some("EFI/debian"));
        let installed = Told { prefix: "/boot/grub".into(), config: "search.fs_uuid 6a9e6b5a root hd0,gpt2\n".into() };
        assert_eq!(told(&example(&installed)).as_ref(), Some(&installed));
        assert_eq!(own_directory(&installed), None);
        assert_eq!(told(b"MZ program"), None);
    }

    proptest! {
        #[test]
        fn any_program_is_read_without_a_panic(bytes: Vec<u8>, at in 0_usize..0x260, byte: u8) {
            told(&bytes);
            let mut program = example(&Told { prefix: "/EFI/x".into(), config: "x".into() });
            if let Some(place) = program.get_mut(at) {
                *place = byte;
            }
            told(&program);
        }
    }
}
