//! An initramfs, opened as the kernel opens it (init/initramfs.c): archives one after the other, each plain or compressed
//! in its own way, with zeros between them. Commonly an early one holds microcode, and a later one the rest.
//!
//! It is read in one pass and in pieces: names, links and some small files are kept, the contents never.

mod lz4;
mod lzo;
mod source;

use std::io::{self, BufRead, BufReader, Read};

use bstr::BString;

use crate::cpio::{self, End, Entry};
use source::{Bounded, Source};

/// All parts together are unpacked up to here, in bytes: 4 GiB. A bomb must not be read for ever.
const UNPACKED_LIMIT: u64 = 4 << 30;

/// Memory that a decompressor may take for its window, in KiB: 256 MiB, more than any tool asks for.
const WINDOW_LIMIT: u32 = 256 << 10;

/// How an archive in an initramfs is compressed: what the kernel can be built to unpack (lib/decompress.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// bzip2
    Bzip2,
    /// lzma, the format before xz
    Lzma,
    /// xz
    Xz,
    /// lzop
    Lzo,
    /// lz4 in its legacy format; the kernel knows no other
    Lz4,
    /// zstd
    Zstd,
}

impl Compression {
    /// Tells it by the first bytes, as the kernel does.
    pub fn of(head: &[u8]) -> Option<Compression> {
        // lib/decompress.c compares two bytes; four are surer where the format has as many.
        const MAGICS: [(&[u8], Compression); 10] = [
            (b"070701", Compression::None),
            (b"070702", Compression::None),
            (b"\x1f\x8b", Compression::Gzip),
            (b"\x1f\x9e", Compression::Gzip),
            (b"BZh", Compression::Bzip2),
            (b"\x5d\0\0", Compression::Lzma),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x89LZO", Compression::Lzo),
            (b"\x02\x21\x4c\x18", Compression::Lz4),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        ];
        MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, compression)| *compression)
    }

    /// What the tool is called.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "cpio",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Lzma => "lzma",
            Compression::Xz => "xz",
            Compression::Lzo => "lzo",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The option with which a kernel is built that can unpack it.
    pub fn option(self) -> Option<&'static str> {
        Some(match self {
            Compression::None => return None,
            Compression::Gzip => "CONFIG_RD_GZIP",
            Compression::Bzip2 => "CONFIG_RD_BZIP2",
            Compression::Lzma => "CONFIG_RD_LZMA",
            Compression::Xz => "CONFIG_RD_XZ",
            Compression::Lzo => "CONFIG_RD_LZO",
            Compression::Lz4 => "CONFIG_RD_LZ4",
            Compression::Zstd => "CONFIG_RD_ZSTD",
        })
    }
}

/// One archive of an initramfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins in the file, in bytes.
    pub start: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// How many entries were read of it.
    pub entries: usize,
}

/// What is wrong with an initramfs. What was read up to there is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It holds nothing but zeros, or nothing.
    Blank,
    /// At this offset begins what is neither an archive nor compressed in a way that kernels know.
    Unknown(u64),
    /// The part that begins at this offset ends too early.
    Truncated(u64, Compression),
    /// The part that begins at this offset cannot be unpacked to its end; how the decompressor says it.
    Corrupt(u64, Compression, String),
}

/// What is in an initramfs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initramfs {
    /// The archives, in order.
    pub parts: Vec<Part>,
    /// All entries, in order; when a name comes twice, the later one counts.
    pub entries: Vec<Entry>,
    /// What is wrong with it.
    pub damage: Option<Damage>,
}

impl Initramfs {
    /// Reads an initramfs. Of files that are `wanted` by name the first 64 KiB are kept.
    ///
    /// # Errors
    /// When `input` cannot be read, which says nothing of what is in it.
    pub fn read(input: &mut dyn Read, wanted: &dyn Fn(&[u8]) -> bool) -> io::Result<Initramfs> {
        Initramfs::read_within(UNPACKED_LIMIT, input, wanted)
    }

    fn read_within(limit: u64, input: &mut dyn Read, wanted: Wanted<'_>) -> io::Result<Initramfs> {
        let mut source = Source::new(input);
        let mut found = Initramfs::default();
        found.damage = found.parts_of(&mut source, limit, wanted);
        match source.failure() {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    fn parts_of(&mut self, source: &mut Source<'_>, limit: u64, wanted: Wanted<'_>) -> Option<Damage> {
        let mut budget = limit;
        loop {
            source.skip_zeros();
            let start = source.position();
            let head = source.head();
            if head.is_empty() {
                return self.parts.is_empty().then_some(Damage::Blank);
            }
            let Some(compression) = Compression::of(head) else { return Some(Damage::Unknown(start)) };
            let before = self.entries.len();
            let entries = &mut self.entries;
            let mut each = |entry: Entry| {
                if entries.len() < cpio::ENTRY_LIMIT {
                    entries.push(entry);
                }
            };
            let result = match compression {
                Compression::None => archive(source, wanted, &mut each),
                _ => unpack(source, compression, &mut budget, wanted, &mut each),
            };
            self.parts.push(Part { start, compression, entries: self.entries.len() - before });
            match result {
                Ok(()) => {}
                Err(Broken::Ended) => return Some(Damage::Truncated(start, compression)),
                Err(Broken::Wrong(why)) => return Some(Damage::Corrupt(start, compression, why)),
            }
        }
    }
}

/// Why a part was not read to its end.
enum Broken {
    /// The bytes end too early.
    Ended,
    /// They are not what they should be.
    Wrong(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Broken::Ended,
            _ => Broken::Wrong(error.to_string()),
        }
    }
}

type Wanted<'w> = &'w dyn Fn(&[u8]) -> bool;

/// One archive, up to its trailer.
fn archive(input: &mut dyn BufRead, wanted: Wanted<'_>, each: &mut dyn FnMut(Entry)) -> Result<(), Broken> {
    match cpio::read(input, wanted, each) {
        End::Trailer | End::Nothing => Ok(()),
        End::NoHeader(head) => {
            let head: BString = head.into_iter().take(6).collect::<Vec<u8>>().into();
            Err(Broken::Wrong(format!("cpio: {head:?} in the place of a header")))
        }
        End::Sum(name) => Err(Broken::Wrong(format!("cpio: the checksum of {name} is wrong"))),
        End::Failed(error) => Err(error.into()),
    }
}

/// A compressed part: `source` stands behind it afterwards.
fn unpack(
    source: &mut Source<'_>,
    compression: Compression,
    budget: &mut u64,
    wanted: Wanted<'_>,
    each: &mut dyn FnMut(Entry),
) -> Result<(), Broken> {
    let packed = source.count();
    let archives = |decoder: &mut dyn Read, budget: &mut u64, each: &mut dyn FnMut(Entry)| {
        archives(Bounded::new(decoder, packed), budget, wanted, each)
    };
    match compression {
        Compression::None => Ok(()),
        Compression::Gzip => archives(&mut flate2::bufread::GzDecoder::new(source), budget, each),
        Compression::Bzip2 => archives(&mut bzip2::bufread::BzDecoder::new(source), budget, each),
        Compression::Xz => {
            archives(&mut lzma_rust2::XzReader::new_mem_limit(source, false, WINDOW_LIMIT), budget, each)
        }
        Compression::Zstd => {
            archives(&mut zstd::stream::read::Decoder::with_buffer(source)?.single_frame(), budget, each)
        }
        Compression::Lz4 => archives(&mut lz4::Legacy::new(source), budget, each),
        Compression::Lzo => archives(&mut lzo::Lzop::new(source)?, budget, each),
        Compression::Lzma => {
            let mut decoder = lzma_rust2::LzmaReader::new_mem_limit(&mut *source, WINDOW_LIMIT, None)?;
            let result = archives(&mut decoder, budget, each);
            let (source, ahead) = decoder.into_parts();
            source.unread(ahead);
            result
        }
    }
}

/// Everything that comes out of a decompressor, so that its checksum is looked at too.
fn archives(
    decoder: Bounded<&mut dyn Read>,
    budget: &mut u64,
    wanted: Wanted<'_>,
    each: &mut dyn FnMut(Entry),
) -> Result<(), Broken> {
    let mut input = BufReader::with_capacity(128 << 10, decoder.take(*budget));
    let mut read = || loop {
        let zeros = source::zeros(input.fill_buf()?);
        let is_all = zeros == input.buffer().len();
        input.consume(zeros);
        if !is_all {
            archive(&mut input, wanted, each)?;
        } else if zeros == 0 {
            return Ok(());
        }
    };
    let result = read();
    *budget = input.get_ref().limit();
    if *budget == 0 {
        return Err(Broken::Wrong("it unpacks to more than any initramfs".to_owned()));
    }
    result
}

/// What something unpacks to that is packed as the kernel packs, handed to `each` in pieces.
pub(crate) fn pieces(input: &mut dyn Read, most: u64, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut source = Source::new(input);
    let Some(compression) = Compression::of(source.head()) else { return Err(io::ErrorKind::InvalidData.into()) };
    let source = &mut source;
    match compression {
        Compression::None => Err(io::ErrorKind::InvalidData.into()),
        Compression::Gzip => in_pieces(flate2::bufread::GzDecoder::new(source), most, each),
        Compression::Bzip2 => in_pieces(bzip2::bufread::BzDecoder::new(source), most, each),
        Compression::Xz => in_pieces(lzma_rust2::XzReader::new_mem_limit(source, false, WINDOW_LIMIT), most, each),
        Compression::Zstd => in_pieces(zstd::stream::read::Decoder::with_buffer(source)?.single_frame(), most, each),
        Compression::Lz4 => in_pieces(lz4::Legacy::new(source), most, each),
        Compression::Lzo => in_pieces(lzo::Lzop::new(source)?, most, each),
        Compression::Lzma => in_pieces(lzma_rust2::LzmaReader::new_mem_limit(source, WINDOW_LIMIT, None)?, most, each),
    }
}

fn in_pieces(decoder: impl Read, most: u64, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut input = BufReader::with_capacity(256 << 10, decoder.take(most));
    loop {
        let piece = input.fill_buf()?;
        let length = piece.len();
        if length == 0 {
            break;
        }
        each(piece);
        input.consume(length);
    }
    if input.get_ref().limit() == 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_left() {
        let bomb = zstd::encode_all(&*vec![0; 3 << 20], 1).unwrap().repeat(5);
        let found = Initramfs::read_within(5 << 20, &mut &*bomb, &|_| false).unwrap();
        assert!(matches!(found.damage, Some(Damage::Corrupt(_, Compression::Zstd, _))), "{:?}", found.damage);
        assert_eq!(found.parts.len(), 2);
        assert_eq!(Initramfs::read(&mut &*bomb, &|_| false).unwrap().damage, None);
    }
}
