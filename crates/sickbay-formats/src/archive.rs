//! Files out of a package: `.deb` (deb(5): an ar archive of two tar archives) and `.rpm` (a header and a cpio archive).

use std::collections::HashMap;
use std::io::{self, Read};

use bstr::{BString, ByteSlice};

use crate::{dpkg, rpm};

/// The most bytes of one file that are taken out: no program or library is larger.
const FILE_LIMIT: u64 = 1 << 30;

/// The most bytes that are unpacked of so many packed ones, so that a bomb ends before anybody waits for it. What is real is
/// packed to a tenth; what is small may be a file of zeros.
fn limit(packed: &[u8]) -> u64 {
    (256 << 20) + 100 * packed.len() as u64
}

/// Which package a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `bash`
    pub name: BString,
    /// As the databases write it: `5.2.15-2+b8`, `1:2.0-3.el9`.
    pub version: BString,
    /// `amd64`, `x86_64`, `noarch` …
    pub architecture: BString,
}

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Absolute.
    pub path: BString,
    /// What it is.
    pub body: Body,
    /// Permission bits.
    pub mode: u32,
    /// The owner's name.
    pub user: BString,
    /// The group's name.
    pub group: BString,
}

/// What a [`Member`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A file with its content.
    File(Vec<u8>),
    /// A directory.
    Dir,
    /// A symbolic link with its text.
    Link(BString),
}

/// The package that a `.deb` or `.rpm` holds; `None` when it is neither or is damaged before that is told.
pub fn identity(file: &[u8]) -> Option<Identity> {
    if let Some(rpm) = rpm::package_file(file) {
        let rpm::Package { name, version, architecture, .. } = rpm.package;
        return Some(Identity { name, version, architecture });
    }
    let (name, control) = ar(file).find(|(name, _)| name.starts_with(b"control.tar"))?;
    let mut archive = tar::Archive::new(reader(compression(name), control)?);
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        if absolute(&entry.path_bytes()) == "/control" {
            let mut text = Vec::new();
            // A control file has a few lines.
            entry.by_ref().take(1 << 20).read_to_end(&mut text).ok()?;
            let package = dpkg::packages(&text).next()?;
            return Some(Identity {
                name: package.name.to_owned(),
                version: package.version.to_owned(),
                architecture: package.architecture.to_owned(),
            });
        }
    }
    None
}

/// The members of a `.deb` or `.rpm` that are wanted, as far as they are there and whole.
pub fn extract(file: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Vec<Member> {
    if let Some(rpm) = rpm::package_file(file) {
        return of_rpm(&rpm, wanted);
    }
    let data = ar(file).find(|(name, _)| name.starts_with(b"data.tar"));
    data.and_then(|(name, data)| of_tar(compression(name), data, wanted)).unwrap_or_default()
}

/// The members of an ar archive, which deb(5) takes without long names.
fn ar(file: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = file.strip_prefix(b"!<arch>\n").unwrap_or_default();
    std::iter::from_fn(move || {
        let header = rest.get(..60)?;
        let name = header.get(..16)?.trim_ascii_end();
        let size: usize = header.get(48..58)?.trim_ascii().to_str().ok()?.parse().ok()?;
        let content = rest.get(60..)?.get(..size)?;
        rest = rest.get(60 + size.next_multiple_of(2)..).unwrap_or_default();
        Some((name.strip_suffix(b"/").unwrap_or(name), content))
    })
}

/// The compression that the end of a member's name tells.
fn compression(name: &[u8]) -> &[u8] {
    name.rsplit_once_str(".").map_or(b"", |(_, end)| end)
}

/// Reads what is compressed; `None` for a kind that is not known.
fn reader<'a>(kind: &[u8], bytes: &'a [u8]) -> Option<Box<dyn Read + 'a>> {
    Some(match kind {
        b"tar" | b"none" => Box::new(bytes),
        b"gz" | b"gzip" => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        b"xz" => Box::new(lzma_rust2::XzReader::new(bytes, true)),
        // 256 MiB: more than any package asks for.
        b"lzma" => Box::new(lzma_rust2::LzmaReader::new_mem_limit(bytes, 256 << 10, None).ok()?),
        b"zst" | b"zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).ok()?),
        b"lz4" => Box::new(lz4_flex::frame::FrameDecoder::new(bytes)),
        b"bz2" | b"bzip2" => Box::new(bzip2::read::MultiBzDecoder::new(bytes)),
        _ => return None,
    })
}

/// What a file holds whose name ends with its compression, such as an old copy of a database or a list of packages (`gz`,
/// `xz`, `lz4` …); `None` when it is damaged, larger than any of those, or packed in a way that is not known.
pub fn unpack(kind: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let limit = limit(bytes).min(FILE_LIMIT);
    reader(kind, bytes)?.take(limit).read_to_end(&mut content).ok()?;
    ((content.len() as u64) < limit).then_some(content)
}

/// `./usr/bin/x`, `usr/bin/x` and `/usr/bin/x/` as `/usr/bin/x`.
fn absolute(name: &[u8]) -> BString {
    let name = name.strip_prefix(b".").filter(|rest| rest.starts_with(b"/")).unwrap_or(name);
    let name = name.trim_with(|character| character == '/');
    [b"/", name].concat().into()
}

fn of_tar(kind: &[u8], data: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    // A second name of a file says only what the first one was, which may not be wanted itself.
    let mut names: HashMap<BString, Vec<Member>> = HashMap::new();
    for round in 0..2 {
        let mut archive = tar::Archive::new(reader(kind, data)?.take(limit(data)));
        for entry in archive.entries().ok()? {
            let Ok(mut entry) = entry else { break };
            let path = absolute(&entry.path_bytes());
            let others = if round == 1 { names.remove(&path) } else { None };
            if others.is_none() && (round == 1 || !wanted(&path)) {
                continue;
            }
            let header = entry.header().clone();
            let body = match header.entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => match content(&mut entry, header.size().ok()) {
                    Some(content) => Body::File(content),
                    None => break,
                },
                tar::EntryType::Directory => Body::Dir,
                tar::EntryType::Symlink => Body::Link(entry.link_name_bytes()?.into_owned().into()),
                tar::EntryType::Link => Body::File(Vec::new()),
                _ => continue,
            };
            for mut other in others.unwrap_or_default() {
                other.body = body.clone();
                members.push(other);
            }
            if round == 1 {
                continue;
            }
            let member = Member {
                path,
                body,
                mode: header.mode().unwrap_or(0) & 0o7777,
                user: header.username_bytes().unwrap_or_default().into(),
                group: header.groupname_bytes().unwrap_or_default().into(),
            };
            if header.entry_type() == tar::EntryType::Link {
                names.entry(absolute(&entry.link_name_bytes()?)).or_default().push(member);
            } else {
                members.push(member);
            }
        }
        if names.is_empty() {
            break;
        }
    }
    Some(members)
}

fn content(entry: &mut impl Read, size: Option<u64>) -> Option<Vec<u8>> {
    let size = size.filter(|size| *size <= FILE_LIMIT)?;
    let mut content = Vec::new();
    entry.take(size).read_to_end(&mut content).ok()?;
    (content.len() as u64 == size).then_some(content)
}

fn of_rpm(rpm: &rpm::PackageFile<'_>, wanted: impl Fn(&[u8]) -> bool) -> Vec<Member> {
    let Some(reader) = reader(rpm.compressor, rpm.payload) else { return Vec::new() };
    let files: HashMap<&[u8], &rpm::File> = rpm.package.files.iter().map(|file| (file.path.as_slice(), file)).collect();
    let mut members: Vec<(u64, Member)> = Vec::new();
    // Of a file with several names only the last has the content.
    let mut contents: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut archive = Cpio { from: reader.take(limit(rpm.payload)) };
    while let Ok(Some(entry)) = archive.next() {
        let path = absolute(&entry.name);
        let file = files.get(path.as_slice());
        let take = wanted(&path) || entry.links > 1;
        let content = match archive.content(entry.size, take) {
            Ok(content) => content,
            Err(_) => break,
        };
        if entry.links > 1 && !content.is_empty() {
            contents.insert(entry.inode, content.clone());
        }
        let Some(file) = file.filter(|_| wanted(&path)) else { continue };
        let body = match entry.mode & 0o170_000 {
            0o100_000 => Body::File(content),
            0o040_000 => Body::Dir,
            0o120_000 => Body::Link(content.into()),
            _ => continue,
        };
        let inode = if entry.links > 1 { entry.inode } else { u64::MAX };
        let (user, group) = (file.user.clone(), file.group.clone());
        members.push((inode, Member { path, body, mode: file.mode & 0o7777, user, group }));
    }
    let whole = |(inode, mut member): (u64, Member)| {
        if let (Body::File(content), Some(shared)) = (&mut member.body, contents.get(&inode)) {
            content.clone_from(shared);
        }
        member
    };
    members.into_iter().map(whole).collect()
}

/// A cpio archive in the "new ASCII" form (cpio(5)).
struct Cpio<R> {
    from: R,
}

struct CpioEntry {
    name: Vec<u8>,
    inode: u64,
    mode: u64,
    links: u64,
    size: u64,
}

impl<R: Read> Cpio<R> {
    fn next(&mut self) -> io::Result<Option<CpioEntry>> {
        let mut header = [0; 110];
        self.from.read_exact(&mut header)?;
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        if !header.starts_with(b"070701") && !header.starts_with(b"070702") {
            return Err(bad());
        }
        let field = |number: usize| {
            let digits = header.get(6 + 8 * number..14 + 8 * number).and_then(|digits| digits.to_str().ok());
            digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(bad)
        };
        let name_size = field(11)?;
        if name_size > 1 << 16 {
            return Err(bad());
        }
        let mut name = self.bytes(name_size)?;
        self.skip((110 + name_size).next_multiple_of(4) - 110 - name_size)?;
        name.pop();
        if name == b"TRAILER!!!" {
            return Ok(None);
        }
        Ok(Some(CpioEntry { name, inode: field(0)?, mode: field(1)?, links: field(4)?, size: field(6)? }))
    }

    /// The content of the entry that was just read; empty when it is not taken.
    fn content(&mut self, size: u64, take: bool) -> io::Result<Vec<u8>> {
        let content = if take && size <= FILE_LIMIT {
            self.bytes(size)?
        } else {
            self.skip(size)?;
            Vec::new()
        };
        self.skip(size.next_multiple_of(4) - size)?;
        Ok(content)
    }

    fn bytes(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.from.by_ref().take(size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn skip(&mut self, size: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.from.by_ref().take(size), &mut io::sink())?;
        if skipped == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["./usr/bin/x", "usr/bin/x", "/usr/bin/x", "./usr/bin/x/"] {
            assert_eq!(absolute(name.as_bytes()), "/usr/bin/x");
        }
        assert_eq!(absolute(b".hidden"), "/.hidden");
        assert_eq!(compression(b"data.tar.zst"), b"zst");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = (identity(&bytes), extract(&bytes, |_| true));
            for kind in [&b"gz"[..], b"xz", b"lzma", b"zst", b"bz2", b"lz4", b"tar"] {
                let _ = of_tar(kind, &bytes, |_| true);
                let mut sink = Vec::new();
                let _ = reader(kind, &bytes).map(|reader| reader.take(1 << 20).read_to_end(&mut sink));
            }
            let mut cpio = Cpio { from: bytes.as_slice() };
            while let Ok(Some(entry)) = cpio.next() {
                if cpio.content(entry.size, true).is_err() {
                    break;
                }
            }
        }
    }
}
