//! Headers of rpm: what a package is and which files it has, as its database and its package files store it.
//!
//! Source: `docs/manual/format_header.md` and `include/rpm/rpmtag.h` of rpm. A header is an index of tags and a store of
//! values; everything is big-endian.

use bstr::{BStr, BString, ByteSlice};

use crate::digest::Digest;

/// Tags (`include/rpm/rpmtag.h`).
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const OLD_FILE_NAMES: u32 = 1027;
    pub(super) const FILE_SIZES: u32 = 1028;
    pub(super) const FILE_STATES: u32 = 1029;
    pub(super) const FILE_MODES: u32 = 1030;
    pub(super) const FILE_MTIMES: u32 = 1034;
    pub(super) const FILE_DIGESTS: u32 = 1035;
    pub(super) const FILE_LINK_TOS: u32 = 1036;
    pub(super) const FILE_FLAGS: u32 = 1037;
    pub(super) const FILE_USER_NAME: u32 = 1039;
    pub(super) const FILE_GROUP_NAME: u32 = 1040;
    pub(super) const FILE_VERIFY_FLAGS: u32 = 1045;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
    pub(super) const PAYLOAD_COMPRESSOR: u32 = 1125;
    pub(super) const LONG_FILE_SIZES: u32 = 5008;
}

/// Bits of [`File::flags`] (`include/rpm/rpmfi.h`, `rpmfileAttrs`).
pub mod flag {
    /// `%config`: the administrator may change it.
    pub const CONFIG: u32 = 1;
    /// `%config(missingok)`.
    pub const MISSING_OK: u32 = 1 << 3;
    /// `%ghost`: not in the package, made later, or not.
    pub const GHOST: u32 = 1 << 6;
}

/// Bits of [`File::verify`]: a bit that is not set says "do not look at this" (`rpmVerifyAttrs`).
pub mod verify {
    /// The digest.
    pub const DIGEST: u32 = 1;
    /// The size.
    pub const SIZE: u32 = 1 << 1;
    /// The text of a link.
    pub const LINK: u32 = 1 << 2;
    /// The owner.
    pub const USER: u32 = 1 << 3;
    /// The group.
    pub const GROUP: u32 = 1 << 4;
    /// The time of the last change.
    pub const MTIME: u32 = 1 << 5;
    /// Kind and permission bits.
    pub const MODE: u32 = 1 << 6;
}

/// A header, not copied.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    index: &'a [u8],
    store: &'a [u8],
}

/// The magic before a header in a package file; a database leaves it out.
const MAGIC: &[u8] = b"\x8e\xad\xe8\x01\0\0\0\0";

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<'a> Header<'a> {
    /// The header that `blob` begins with, without magic, as a database stores it. `None` when its index or its store
    /// is cut off, or an entry of the index is none: zeros, say (`lib/header.cc`, `hdrchkTag`, `hdrchkType`).
    pub fn parse(blob: &'a [u8]) -> Option<Header<'a>> {
        let entries = usize::try_from(be32(blob, 0)?).ok()?;
        let size = usize::try_from(be32(blob, 4)?).ok()?;
        let index_end = entries.checked_mul(16)?.checked_add(8)?;
        let index = blob.get(8..index_end)?;
        let store = blob.get(index_end..index_end.checked_add(size)?)?;
        // HEADER_IMAGE is the lowest tag, I18NSTRING the highest type.
        let is_entry = |entry: &[u8]| be32(entry, 0) >= Some(61) && be32(entry, 4).is_some_and(|kind| kind <= 9);
        index.chunks_exact(16).all(is_entry).then_some(Header { index, store })
    }

    /// The header at `at` of a package file, and where it ends.
    fn in_file(file: &'a [u8], at: usize) -> Option<(Header<'a>, usize)> {
        let blob = file.get(at..)?.strip_prefix(MAGIC)?;
        let header = Header::parse(blob)?;
        Some((header, at + MAGIC.len() + 8 + header.index.len() + header.store.len()))
    }

    /// Type, count and values of a tag; the values go to the end of the store.
    fn find(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self.index.chunks_exact(16).find(|entry| be32(entry, 0) == Some(tag))?;
        let offset = usize::try_from(be32(entry, 8)?).ok()?;
        Some((be32(entry, 4)?, usize::try_from(be32(entry, 12)?).ok()?, self.store.get(offset..)?))
    }

    /// The strings of a tag, as far as they are there.
    fn strings(&self, tag: u32) -> Vec<&'a BStr> {
        // STRING, STRING_ARRAY, I18NSTRING.
        match self.find(tag) {
            Some((6 | 8 | 9, count, values)) => {
                let ends = values.find_iter(b"\0").count().min(count);
                values.split(|byte| *byte == 0).take(ends).map(BStr::new).collect()
            }
            _ => Vec::new(),
        }
    }

    fn string(&self, tag: u32) -> Option<&'a BStr> {
        // A string alone says that it is one.
        let (_, _, values) = self.find(tag).filter(|(kind, _, _)| matches!(kind, 6 | 8 | 9))?;
        Some(BStr::new(values.get(..values.find_byte(0)?)?))
    }

    /// The numbers of a tag, as far as they are there.
    fn numbers(&self, tag: u32) -> Vec<u64> {
        let Some((kind, count, values)) = self.find(tag) else { return Vec::new() };
        // CHAR and INT8, INT16, INT32, INT64.
        let width = match kind {
            1 | 2 => 1,
            3 => 2,
            4 => 4,
            5 => 8,
            _ => return Vec::new(),
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        values.chunks_exact(width).take(count).map(number).collect()
    }
}

/// A package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// `bash`
    pub name: BString,
    /// Epoch if it is not 0, version and release: `1:2.0-3.el9`.
    pub version: BString,
    /// `x86_64`, `noarch`; empty for the keys that rpm keeps as packages.
    pub architecture: BString,
    /// In the order of the header.
    pub files: Vec<File>,
}

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute.
    pub path: BString,
    /// Kind and permission bits, as `st_mode` (inode(7)).
    pub mode: u32,
    /// In bytes.
    pub size: Option<u64>,
    /// Of its content; `None` for what is no regular file.
    pub digest: Option<Digest>,
    /// The text of a link; empty for anything else.
    pub link: BString,
    /// The owner's name.
    pub user: BString,
    /// The group's name.
    pub group: BString,
    /// Seconds since 1970.
    pub mtime: Option<u64>,
    /// See [`flag`].
    pub flags: u32,
    /// See [`verify`].
    pub verify: u32,
    /// Whether it was installed: documentation can be left out, as can files of another word size.
    pub installed: bool,
}

impl Package {
    /// The package that a header describes; `None` when it has no name.
    pub fn of(header: &Header<'_>) -> Option<Package> {
        let name = header.string(tag::NAME).filter(|name| !name.is_empty())?.to_owned();
        let text = |tag| header.string(tag).unwrap_or_default();
        let mut version = match header.numbers(tag::EPOCH).first() {
            Some(epoch) if *epoch > 0 => BString::from(format!("{epoch}:")),
            _ => BString::default(),
        };
        version.extend_from_slice(text(tag::VERSION));
        version.push(b'-');
        version.extend_from_slice(text(tag::RELEASE));
        let files = files(header);
        Some(Package { name, version, architecture: text(tag::ARCH).to_owned(), files })
    }
}

fn files(header: &Header<'_>) -> Vec<File> {
    let mut paths: Vec<BString> = Vec::new();
    let dirs = header.strings(tag::DIR_NAMES);
    for (base, dir) in header.strings(tag::BASE_NAMES).iter().zip(header.numbers(tag::DIR_INDEXES)) {
        let dir = usize::try_from(dir).ok().and_then(|dir| dirs.get(dir)).copied();
        // A file whose directory is not known keeps its place in the other lists.
        paths.push(dir.map(|dir| [dir.as_bytes(), base.as_bytes()].concat().into()).unwrap_or_default());
    }
    if paths.is_empty() {
        // rpm before 4.0.
        paths = header.strings(tag::OLD_FILE_NAMES).into_iter().map(BStr::to_owned).collect();
    }
    let (modes, flags) = (header.numbers(tag::FILE_MODES), header.numbers(tag::FILE_FLAGS));
    let (verify, states) = (header.numbers(tag::FILE_VERIFY_FLAGS), header.numbers(tag::FILE_STATES));
    let mut sizes = header.numbers(tag::LONG_FILE_SIZES);
    if sizes.is_empty() {
        sizes = header.numbers(tag::FILE_SIZES);
    }
    let mtimes = header.numbers(tag::FILE_MTIMES);
    let (digests, links) = (header.strings(tag::FILE_DIGESTS), header.strings(tag::FILE_LINK_TOS));
    let (users, groups) = (header.strings(tag::FILE_USER_NAME), header.strings(tag::FILE_GROUP_NAME));
    let bits = |list: &[u64], at: usize| list.get(at).map(|bits| (*bits & u64::from(u32::MAX)) as u32);
    let text = |list: &[&BStr], at: usize| list.get(at).map(|text| (*text).to_owned()).unwrap_or_default();
    let mut files = Vec::new();
    for (at, path) in paths.into_iter().enumerate() {
        // Without its mode it is not known what it is.
        let Some(mode) = bits(&modes, at) else { break };
        if !path.starts_with(b"/") {
            continue;
        }
        files.push(File {
            path,
            mode: mode & 0xffff,
            size: sizes.get(at).copied(),
            digest: digests.get(at).and_then(|hex| Digest::from_hex(hex)),
            link: text(&links, at),
            user: text(&users, at),
            group: text(&groups, at),
            mtime: mtimes.get(at).copied(),
            flags: bits(&flags, at).unwrap_or(0),
            verify: bits(&verify, at).unwrap_or(u32::MAX),
            // RPMFILE_STATE_NORMAL; a package file has no states.
            installed: states.get(at).is_none_or(|state| *state == 0),
        });
    }
    files
}

/// A package file (`.rpm`), taken apart.
#[derive(Clone, Debug)]
pub struct PackageFile<'a> {
    /// What it describes.
    pub package: Package,
    /// How the payload is compressed: `gzip`, `xz`, `zstd`, `lzma`, `bzip2`.
    pub compressor: &'a BStr,
    /// A compressed cpio archive.
    pub payload: &'a [u8],
}

/// Takes a package file apart; `None` when it is none or ends before its payload.
pub fn package_file(file: &[u8]) -> Option<PackageFile<'_>> {
    // A lead of 96 bytes, a header of signatures that is filled up to 8 bytes, the header, the payload.
    file.strip_prefix(b"\xed\xab\xee\xdb")?;
    let (_, signatures_end) = Header::in_file(file, 96)?;
    let (header, end) = Header::in_file(file, signatures_end.next_multiple_of(8))?;
    let compressor = header.string(tag::PAYLOAD_COMPRESSOR).unwrap_or(BStr::new("gzip"));
    Some(PackageFile { package: Package::of(&header)?, compressor, payload: file.get(end..)? })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header of these tags: type, count and values as they are stored.
    pub(crate) fn build(tags: &[(u32, u32, u32, Vec<u8>)]) -> Vec<u8> {
        let (mut index, mut store) = (Vec::new(), Vec::new());
        for (tag, kind, count, values) in tags {
            for number in [*tag, *kind, u32::try_from(store.len()).expect("small"), *count] {
                index.extend(number.to_be_bytes());
            }
            store.extend(values);
        }
        let sizes = [tags.len(), store.len()].map(|size| u32::try_from(size).expect("small").to_be_bytes());
        [sizes.concat(), index, store].concat()
    }

    /// A package of one program.
    pub(crate) fn package(name: &str) -> Vec<u8> {
        let text = |text: &str| format!("{text}\0").into_bytes();
        build(&[
            (tag::NAME, 6, 1, text(name)),
            (tag::VERSION, 6, 1, text("1.0")),
            (tag::RELEASE, 6, 1, text("2.el9")),
            (tag::EPOCH, 4, 1, vec![0, 0, 0, 3]),
            (tag::ARCH, 6, 1, text("x86_64")),
            (tag::FILE_SIZES, 4, 2, [7u32.to_be_bytes(), 6u32.to_be_bytes()].concat()),
            (tag::FILE_MODES, 3, 2, [0o104755u32, 0o120777].map(|mode| (mode as u16).to_be_bytes()).concat()),
            (tag::FILE_DIGESTS, 8, 2, text("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\0")),
            (tag::FILE_LINK_TOS, 8, 2, text("\0su-one")),
            (tag::FILE_USER_NAME, 8, 2, text("root\0root")),
            (tag::DIR_INDEXES, 4, 2, [0u32.to_be_bytes(), 1u32.to_be_bytes()].concat()),
            (tag::BASE_NAMES, 8, 2, text("su-one\0link")),
            (tag::DIR_NAMES, 8, 2, text("/usr/bin/\0/bin/")),
        ])
    }

    #[test]
    fn a_package_and_its_files() {
        let blob = package("tools");
        let package = Package::of(&Header::parse(&blob).expect("a header")).expect("a package");
        assert_eq!((package.name.as_bstr(), package.version.as_bstr()), ("tools".into(), "3:1.0-2.el9".into()));
        let [program, link] = package.files.as_slice() else { panic!("{package:?}") };
        assert_eq!((program.path.as_bstr(), program.mode, program.size), ("/usr/bin/su-one".into(), 0o104755, Some(7)));
        assert!(program.digest.expect("a digest").fits(b""));
        assert_eq!(
            (link.path.as_bstr(), link.link.as_bstr(), link.digest),
            ("/bin/link".into(), "su-one".into(), None)
        );
        assert!(program.installed && program.verify & verify::MODE != 0 && program.user == "root");
    }

    #[test]
    fn what_is_cut_off_is_no_header() {
        let blob = package("tools");
        assert!((0..blob.len()).all(|end| Header::parse(&blob[..end]).is_none()));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(mut at in proptest::collection::vec((0usize..600, proptest::num::u8::ANY), 0..8), bytes: Vec<u8>) {
            let _ = Header::parse(&bytes).and_then(|header| Package::of(&header));
            let _ = package_file(&bytes);
            let mut blob = package("tools");
            for (place, value) in at.drain(..) {
                let place = place % blob.len();
                blob[place] = value;
            }
            let _ = Header::parse(&blob).and_then(|header| Package::of(&header));
        }
    }
}
