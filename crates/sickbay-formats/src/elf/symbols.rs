//! The dynamic symbols of a file: what it has and what it asks for.

use std::collections::HashSet;

use bstr::BString;
use object::ReadRef;
use object::elf;
use object::read::elf::{FileHeader, Sym};

/// What a linker looks up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// What others may take from it.
    pub defined: HashSet<BString>,
    /// What it does not start without.
    pub undefined: HashSet<BString>,
    /// Whether all of it is looked up before the program starts, and not each at its first use.
    pub at_start: bool,
}

/// The most symbols that are looked at; libcrypto has some 6000.
const LIMIT: usize = 200_000;

/// Reads them; `None` where there are none, or they cannot be read.
pub fn symbols<'data, R: ReadRef<'data>>(data: R) -> Option<Symbols> {
    match data.read_bytes_at(4, 1).ok()?.first()? {
        1 => read::<elf::FileHeader32<object::Endianness>, R>(data),
        2 => read::<elf::FileHeader64<object::Endianness>, R>(data),
        _ => None,
    }
}

fn read<'data, H, R>(data: R) -> Option<Symbols>
where
    H: FileHeader<Endian = object::Endianness>,
    R: ReadRef<'data>,
{
    use object::read::elf::{Dyn, ProgramHeader};
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let table = sections.symbols(endian, data, elf::SHT_DYNSYM).ok()?;
    let mut all = Symbols::default();
    for symbol in table.iter().take(LIMIT) {
        let Ok(name) = table.symbol_name(endian, symbol) else { continue };
        if name.is_empty() {
            continue;
        }
        // A weak one may stay without a value.
        match (symbol.is_undefined(endian), symbol.st_bind()) {
            (true, elf::STB_GLOBAL) => all.undefined.insert(name.into()),
            (false, elf::STB_GLOBAL | elf::STB_WEAK | elf::STB_GNU_UNIQUE) => all.defined.insert(name.into()),
            _ => continue,
        };
    }
    for segment in header.program_headers(endian, data).ok()? {
        let Some(entries) = segment.dynamic(endian, data).ok()? else { continue };
        all.at_start |= entries.iter().take(super::DYNAMIC_LIMIT).any(|entry| {
            let value: u64 = entry.d_val(endian).into();
            // DT_BIND_NOW, DF_BIND_NOW of DT_FLAGS, DF_1_NOW of DT_FLAGS_1.
            match entry.d_tag(endian).0 {
                24 => true,
                30 => value & 8 != 0,
                0x6fff_fffb => value & 1 != 0,
                _ => false,
            }
        });
    }
    (!all.defined.is_empty() || !all.undefined.is_empty()).then_some(all)
}

/// What libcrypto says of itself: the release of OpenSSL as its three numbers, from the text `OpenSSL 3.0.11 19 Sep 2023`.
pub fn openssl_release(library: &[u8]) -> Option<[u32; 3]> {
    use bstr::ByteSlice;
    const NAME: &[u8] = b"OpenSSL ";
    library.find_iter(NAME).take(1000).find_map(|at| {
        // A text of its own, and not a part of one.
        let is_start = at.checked_sub(1).and_then(|before| library.get(before)).is_none_or(|byte| *byte == 0);
        let text = library.get(at + NAME.len()..)?;
        let text = text.get(..text.len().min(32))?;
        let version = text.split(|byte| matches!(byte, b' ' | 0)).next()?.to_str().ok()?;
        let mut numbers =
            version.split('.').map(|part| part.trim_end_matches(|c: char| c.is_ascii_lowercase()).parse::<u32>().ok());
        let release = [numbers.next()??, numbers.next()??, numbers.next()??];
        (is_start && numbers.next().is_none()).then_some(release)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_program_asks_for_what_it_does_not_have() {
        #[allow(clippy::disallowed_methods, reason = "a real file is the best test")]
        let Ok(bytes) = std::fs::read("/bin/ls") else { return };
        let Some(found) = symbols(bytes.as_slice()) else { return };
        assert!(!found.undefined.is_empty() && found.undefined.is_disjoint(&found.defined));
    }

    #[test]
    fn releases() {
        assert_eq!(openssl_release(b"\0OpenSSL 3.0.11 19 Sep 2023\0"), Some([3, 0, 11]));
        assert_eq!(openssl_release(b"x\0OpenSSL 1.1.1k  FIPS 25 Mar 2021\0"), Some([1, 1, 1]));
        assert_eq!(openssl_release(b"\0OpenSSL default\0the OpenSSL 3.0.1 x\0"), None);
    }

    proptest! {
        #[test]
        fn never_panics(mut data in proptest::collection::vec(any::<u8>(), 0..600), class in 1u8..3) {
            let _ = openssl_release(&data);
            if let Some(head) = data.get_mut(..6) {
                head.copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1]);
            }
            let _ = symbols(data.as_slice());
        }
    }
}
