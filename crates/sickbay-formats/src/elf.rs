//! What a dynamic linker looks at in an ELF file (elf(5)): class, machine, interpreter, needed libraries, search paths, and
//! whether all that it would map is in the file.

mod symbols;

use bstr::{BString, ByteSlice};
use object::elf;
use object::read::ReadRef;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

pub use symbols::{Symbols, openssl_release, symbols};

/// What only files that fit together share: 32 or 64 bits, byte order, machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Abi {
    /// 64 bits.
    pub is_64: bool,
    /// The most significant byte first.
    pub big_endian: bool,
    /// `EM_…`
    pub machine: u16,
}

impl Abi {
    /// What people call it.
    pub fn name(self) -> String {
        let machine = match elf::Machine(self.machine) {
            elf::EM_X86_64 => "x86-64",
            elf::EM_386 => "i386",
            elf::EM_AARCH64 => "aarch64",
            elf::EM_ARM => "arm",
            elf::EM_PPC64 => "ppc64",
            elf::EM_S390 => "s390",
            elf::EM_RISCV => "riscv",
            elf::EM_LOONGARCH => "loongarch",
            elf::EM_MIPS => "mips",
            other => return format!("{}-bit machine {}", if self.is_64 { 64 } else { 32 }, other.0),
        };
        format!("{}-bit {machine}", if self.is_64 { 64 } else { 32 })
    }
}

/// A program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// What it runs on.
    pub abi: Abi,
    /// Whether it is a program or a library (`ET_EXEC`, `ET_DYN`), not an object file or a core dump.
    pub loadable: bool,
    /// The loader that a dynamic program asks for.
    pub interpreter: Option<BString>,
    /// Names of the libraries that it needs, in order.
    pub needed: Vec<BString>,
    /// Versions that these libraries must have: the library and the version (`DT_VERNEED`). Weak ones, which a linker does
    /// without, are left out.
    pub versions_needed: Vec<(BString, BString)>,
    /// Versions that it has itself (`DT_VERDEF`).
    pub versions: Vec<BString>,
    /// Its own name.
    pub soname: Option<BString>,
    /// Directories that are searched first, as written: for it and for what it loads.
    pub rpath: Vec<BString>,
    /// Directories that are searched for what it needs itself. Where there are some, `rpath` does not count.
    pub runpath: Vec<BString>,
    /// How many bytes the file would have to have for all that is mapped; more than it has when it was cut off.
    pub wanted: u64,
    /// How many it has.
    pub size: u64,
}

impl Elf {
    /// Whether a part that is mapped lies behind the end of the file.
    pub fn is_truncated(&self) -> bool {
        self.wanted > self.size
    }
}

/// Why a file is none that a linker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotElf {
    /// It does not begin as an ELF file does.
    Magic,
    /// Its header, or a table that the header points at, is damaged or cut off.
    Header,
}

/// Reads what a linker looks at.
///
/// # Errors
/// When it is no ELF file, or a damaged one.
pub fn parse<'data, R: ReadRef<'data>>(data: R) -> Result<Elf, NotElf> {
    let ident = data.read_bytes_at(0, 4).map_err(|()| NotElf::Magic)?;
    if ident != elf::ELFMAG {
        return Err(NotElf::Magic);
    }
    let class = data.read_bytes_at(4, 1).ok().and_then(|byte| byte.first().copied()).ok_or(NotElf::Header)?;
    match class {
        1 => read::<elf::FileHeader32<object::Endianness>, R>(data),
        2 => read::<elf::FileHeader64<object::Endianness>, R>(data),
        _ => None,
    }
    .ok_or(NotElf::Header)
}

/// The most entries of a dynamic section that are looked at; real ones have some 40.
const DYNAMIC_LIMIT: usize = 4096;

fn read<'data, H, R>(data: R) -> Option<Elf>
where
    H: FileHeader<Endian = object::Endianness>,
    R: ReadRef<'data>,
{
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let size = data.len().ok()?;
    let mut elf = Elf {
        abi: Abi {
            is_64: header.is_type_64(),
            big_endian: header.is_big_endian(),
            machine: header.e_machine(endian).0,
        },
        loadable: matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN),
        interpreter: None,
        needed: Vec::new(),
        versions_needed: Vec::new(),
        versions: Vec::new(),
        soname: None,
        rpath: Vec::new(),
        runpath: Vec::new(),
        wanted: 0,
        size,
    };
    let segments = header.program_headers(endian, data).ok()?;
    for segment in segments {
        if matches!(segment.p_type(endian), elf::PT_LOAD | elf::PT_DYNAMIC | elf::PT_INTERP) {
            let end = segment.p_offset(endian).into().saturating_add(segment.p_filesz(endian).into());
            elf.wanted = elf.wanted.max(end);
        }
    }
    if elf.is_truncated() {
        return Some(elf);
    }
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, data).ok()? {
            elf.interpreter = Some(path.into());
        }
        let Some(entries) = segment.dynamic(endian, data).ok()? else { continue };
        let value = |tag: i64| {
            entries
                .iter()
                .take(DYNAMIC_LIMIT)
                .find(|entry| entry.d_tag(endian).0 == tag)
                .map(|entry| Into::<u64>::into(entry.d_val(endian)))
        };
        let Some(strings) = value(5) else { continue };
        // Tables are given by their addresses; the segment that holds the address tells where it is in the file.
        let place = |address: u64| {
            segments.iter().find_map(|segment| {
                let start: u64 = segment.p_vaddr(endian).into();
                let within = address.checked_sub(start)?;
                let inside = segment.p_type(endian) == elf::PT_LOAD && within < segment.p_filesz(endian).into();
                inside.then(|| segment.p_offset(endian).into().checked_add(within)).flatten()
            })
        };
        let offset = place(strings)?;
        let length = value(10).unwrap_or(0);
        let string = |at: u64| -> Option<BString> {
            let end = offset.checked_add(length)?;
            data.read_bytes_at_until(offset.checked_add(at)?..end, 0).ok().map(BString::from)
        };
        for entry in entries.iter().take(DYNAMIC_LIMIT) {
            let at: u64 = entry.d_val(endian).into();
            // DT_NULL, DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH.
            match entry.d_tag(endian).0 {
                0 => break,
                1 => elf.needed.push(string(at)?),
                14 => elf.soname = Some(string(at)?),
                15 => elf.rpath = paths(&string(at)?),
                29 => elf.runpath = paths(&string(at)?),
                _ => {}
            }
        }
        // DT_VERNEED and DT_VERNEEDNUM, DT_VERDEF and DT_VERDEFNUM.
        if let (Some(table), Some(count)) = (value(0x6fff_fffe).and_then(place), value(0x6fff_ffff)) {
            elf.versions_needed = versions_needed(data, endian, table, count, &string)?;
        }
        if let (Some(table), Some(count)) = (value(0x6fff_fffc).and_then(place), value(0x6fff_fffd)) {
            elf.versions = versions(data, endian, table, count, &string)?;
        }
    }
    Some(elf)
}

/// The most entries of a table of versions that are looked at; libc.so.6 defines some 40, libstdc++ some 70.
const VERSIONS_LIMIT: u64 = 4096;

fn versions_needed<'data, R: ReadRef<'data>>(
    data: R,
    endian: object::Endianness,
    mut at: u64,
    count: u64,
    string: &dyn Fn(u64) -> Option<BString>,
) -> Option<Vec<(BString, BString)>> {
    let mut all = Vec::new();
    for _ in 0..count.min(VERSIONS_LIMIT) {
        let library: &elf::Verneed<object::Endianness> = data.read_at(at).ok()?;
        let file = string(library.vn_file.get(endian).into())?;
        let mut version_at = at.checked_add(library.vn_aux.get(endian).into())?;
        for _ in 0..library.vn_cnt.get(endian) {
            let version: &elf::Vernaux<object::Endianness> = data.read_at(version_at).ok()?;
            // VER_FLG_WEAK.
            if version.vna_flags.get(endian).0 & 2 == 0 && all.len() < DYNAMIC_LIMIT {
                all.push((file.clone(), string(version.vna_name.get(endian).into())?));
            }
            version_at = version_at.checked_add(version.vna_next.get(endian).into())?;
        }
        match library.vn_next.get(endian) {
            0 => break,
            next => at = at.checked_add(next.into())?,
        }
    }
    Some(all)
}

fn versions<'data, R: ReadRef<'data>>(
    data: R,
    endian: object::Endianness,
    mut at: u64,
    count: u64,
    string: &dyn Fn(u64) -> Option<BString>,
) -> Option<Vec<BString>> {
    let mut all = Vec::new();
    for _ in 0..count.min(VERSIONS_LIMIT) {
        let version: &elf::Verdef<object::Endianness> = data.read_at(at).ok()?;
        // The first name is its own; those behind it are of versions that it contains.
        let name: &elf::Verdaux<object::Endianness> =
            data.read_at(at.checked_add(version.vd_aux.get(endian).into())?).ok()?;
        all.push(string(name.vda_name.get(endian).into())?);
        match version.vd_next.get(endian) {
            0 => break,
            next => at = at.checked_add(next.into())?,
        }
    }
    Some(all)
}

fn paths(list: &[u8]) -> Vec<BString> {
    list.split_str(":").filter(|path| !path.is_empty()).map(BString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_one() {
        #[allow(clippy::disallowed_methods, reason = "a real file is the best test")]
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let elf = parse(bytes.as_slice()).unwrap();
        assert!(elf.loadable && !elf.is_truncated());
        assert_eq!(elf.abi.is_64, cfg!(target_pointer_width = "64"));
        let cut = parse(&bytes[..usize::try_from(elf.wanted).unwrap() - 1]).unwrap();
        assert!(cut.is_truncated());
        assert_eq!(parse(&b"#!/bin/sh\n"[..]), Err(NotElf::Magic));
        assert_eq!(parse(&b""[..]), Err(NotElf::Magic));
        assert_eq!(parse(&bytes[..20]), Err(NotElf::Header));
    }

    #[test]
    fn a_dynamic_one() {
        #[allow(clippy::disallowed_methods, reason = "a real file is the best test")]
        let Ok(bytes) = std::fs::read("/bin/sh") else { return };
        let elf = parse(bytes.as_slice()).unwrap();
        if elf.interpreter.is_some() {
            assert!(elf.needed.iter().any(|name| name.starts_with(b"libc.")), "{elf:?}");
            let needs: Vec<_> = elf.versions_needed.iter().filter(|(file, _)| elf.needed.contains(file)).collect();
            assert_eq!(needs.len(), elf.versions_needed.len(), "{elf:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, at in 0usize..4096, value: u8) {
            let _ = parse(bytes.as_slice());
            #[allow(clippy::disallowed_methods, reason = "a real file is the best test")]
            if let Ok(mut real) = std::fs::read("/bin/sh") {
                let at = at % real.len().max(1);
                if let Some(byte) = real.get_mut(at) {
                    *byte = value;
                }
                let _ = parse(real.as_slice());
            }
        }
    }
}
