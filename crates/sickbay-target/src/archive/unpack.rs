//! One member after the other becomes a file, a directory or a link inside the place, and what it is told to be is noted.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sickbay_formats::tar_header::{self, BLOCK, Header, Kind, Sparse};

use super::Bounds;
use super::stream::{Failure, Stream, size};
use super::told::{Member, Told};
use crate::root::Root;
use crate::xattr::Xattrs;
use crate::{OpenError, Reason};

/// What stands before a member and is about it is read up to this size: PATH_MAX is 4 KiB, an attribute at most 64 KiB.
const ABOUT: u64 = 1 << 20;
/// Parts of a sparse file.
const PARTS: usize = 1 << 16;
/// Longer paths cannot be asked for.
const PATH: usize = 4095;
/// A file that is larger gives way when little room is left, and a much smaller one when hardly any is.
const LARGE: u64 = 1 << 20;
const MIDDLING: u64 = 64 << 10;
/// So many names are told of each kind of what was not unpacked.
const NAMES: usize = 3;

impl Failure {
    pub(super) fn of(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Failure::Truncated(why) => OpenError::Truncated { path, why },
            Failure::Damaged(why) => OpenError::Archive { path, why },
            Failure::Beyond(why) => {
                OpenError::Archive { path, why: format!("{why}; unpack it yourself if you trust it") }
            }
            Failure::Write(source) => OpenError::io(&path, "unpacking it", source),
        }
    }
}

/// Why a member was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipped {
    Outside,
    Link,
    Device,
    Blocked,
    TooLarge,
    NoRoom,
    Sparse,
}

impl Skipped {
    const ALL: [Skipped; 7] = [
        Skipped::Outside,
        Skipped::Link,
        Skipped::Device,
        Skipped::Blocked,
        Skipped::TooLarge,
        Skipped::NoRoom,
        Skipped::Sparse,
    ];

    fn why(self) -> &'static str {
        match self {
            Skipped::Outside => "not unpacked, since the name leads out of the archive",
            Skipped::Link => "not unpacked, since what it is a hard link to is not in the archive",
            Skipped::Device => "not unpacked: devices and FIFOs are not created",
            Skipped::Blocked => "not unpacked, since no file can have that name there",
            Skipped::TooLarge => {
                "too large to be unpacked: no check reads so much; its content was left in the archive"
            }
            Skipped::NoRoom => "no room to unpack it: its content was left in the archive",
            Skipped::Sparse => "a sparse file in a form that is not known: its content was left in the archive",
        }
    }
}

#[derive(Default)]
struct Notes {
    list: Vec<(Skipped, u64, Vec<String>)>,
}

impl Notes {
    fn add(&mut self, skipped: Skipped, name: &[u8]) {
        let at = self.list.iter().position(|(known, ..)| *known == skipped).unwrap_or_else(|| {
            self.list.push((skipped, 0, Vec::new()));
            self.list.len() - 1
        });
        if let Some((_, count, names)) = self.list.get_mut(at) {
            *count += 1;
            if names.len() < NAMES {
                names.push(String::from_utf8_lossy(name.get(..200).unwrap_or(name)).into_owned());
            }
        }
    }

    fn told(&self) -> Vec<String> {
        let of = |skipped: Skipped| self.list.iter().find(|(known, ..)| *known == skipped);
        let sentence = |(skipped, count, names): &(Skipped, u64, Vec<String>)| {
            let (names, more) = (names.join(", "), count.saturating_sub(names.len() as u64));
            match more {
                0 => format!("{names}: {}", skipped.why()),
                more => format!("{names} and {more} more: {}", skipped.why()),
            }
        };
        Skipped::ALL.into_iter().filter_map(of).map(sentence).collect()
    }
}

/// What headers before a member say about it.
#[derive(Default, Clone)]
struct About {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    attributes: Xattrs,
    sparse: Option<PaxSparse>,
}

/// What pax says of a sparse file.
#[derive(Default, Clone)]
struct PaxSparse {
    major: u64,
    size: u64,
    name: Option<Vec<u8>>,
    map: Option<Vec<(u64, u64)>>,
}

impl About {
    fn take(&mut self, records: &[u8]) {
        for (key, value) in tar_header::pax(records) {
            let text = std::str::from_utf8(value).ok();
            let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = number(text),
                b"uid" => self.uid = number(text).and_then(|id| id.try_into().ok()),
                b"gid" => self.gid = number(text).and_then(|id| id.try_into().ok()),
                b"mtime" => {
                    self.mtime = text.and_then(|text| text.split('.').next()?.parse().ok());
                }
                b"GNU.sparse.major" => self.sparse().major = number(text).unwrap_or(0),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse().size = number(text).unwrap_or(0),
                b"GNU.sparse.name" => self.sparse().name = Some(value.to_vec()),
                b"GNU.sparse.map" => {
                    let numbers: Option<Vec<u64>> =
                        text.and_then(|text| text.split(',').map(|n| n.parse().ok()).collect());
                    let pairs = numbers.map(|numbers| pairs(&numbers));
                    self.sparse().map = pairs;
                }
                b"RHT.security.selinux" => {
                    let label = value.strip_suffix(b"\0").unwrap_or(value);
                    self.attributes.push(("security.selinux".into(), label.to_vec()));
                }
                key => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                        && !name.is_empty()
                    {
                        self.attributes.push((OsString::from_vec(name.to_vec()), value.to_vec()));
                    }
                }
            }
        }
    }

    fn sparse(&mut self) -> &mut PaxSparse {
        self.sparse.get_or_insert_default()
    }
}

struct Unpacking {
    stream: Stream,
    root: Root,
    bounds: Bounds,
    told: Told,
    notes: Notes,
    /// Bytes that were written.
    used: u64,
    /// The directory of the member before, which mostly is that of the next.
    last: Option<(PathBuf, OwnedFd)>,
}

/// Unpacks all of it into a directory that is empty.
pub(super) fn unpack(stream: Stream, dir: OwnedFd, bounds: Bounds) -> Result<(Told, Vec<String>), Failure> {
    let root = Root::from_dir(dir);
    let mut unpacking =
        Unpacking { stream, root, bounds, told: Told::default(), notes: Notes::default(), used: 0, last: None };
    unpacking.all()?;
    let notes = unpacking.notes.told();
    Ok((unpacking.told, notes))
}

impl Unpacking {
    fn all(&mut self) -> Result<(), Failure> {
        let top = rustix::fs::fstat(self.root.as_dir())?;
        self.told.insert(top.st_ino, Member { mode: 0o755, ..Member::default() });
        let mut about = About::default();
        let mut global = About::default();
        let mut block = [0; BLOCK];
        let mut members = 0_u64;
        loop {
            match self.stream.exact(&mut block) {
                Err(Failure::Truncated(_)) => {
                    let why = format!("it ends after {members} members, without the mark of its end");
                    return Err(Failure::Truncated(why));
                }
                read => read?,
            }
            if tar_header::is_end(&block) {
                return Ok(());
            }
            members += 1;
            if members > self.bounds.members {
                return Err(Failure::Beyond(format!("it has more than {} members", self.bounds.members)));
            }
            let Some(header) = Header::parse(&block) else {
                return Err(Failure::Damaged(format!("what follows its member {} is no header of tar", members - 1)));
            };
            match header.kind {
                Kind::LongName => about.name = Some(self.text(header.size)?),
                Kind::LongLink => about.link = Some(self.text(header.size)?),
                Kind::Pax => {
                    let records = self.about(header.size)?;
                    about.take(&records);
                }
                Kind::PaxGlobal => {
                    let records = self.about(header.size)?;
                    global.take(&records);
                }
                _ => {
                    let mut own = std::mem::take(&mut about);
                    own.uid = own.uid.or(global.uid);
                    own.gid = own.gid.or(global.gid);
                    own.mtime = own.mtime.or(global.mtime);
                    self.member(header, own)?;
                }
            }
        }
    }

    fn about(&mut self, size_: u64) -> Result<Vec<u8>, Failure> {
        if size_ > ABOUT {
            return Err(Failure::Beyond(format!("a header in it is larger than {}", size(ABOUT))));
        }
        let mut bytes = Vec::new();
        self.stream.each(size_, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        self.stream.skip(padding(size_))?;
        Ok(bytes)
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>, Failure> {
        let bytes = self.about(size)?;
        Ok(bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
    }

    fn member(&mut self, mut header: Header, about: About) -> Result<(), Failure> {
        // What is no file has no content, whatever is told of its size.
        let stored = if header.kind.has_content() { about.size.unwrap_or(header.size) } else { 0 };
        while let Some(sparse) = header.sparse.as_mut().filter(|sparse| sparse.has_more) {
            let mut block = [0; BLOCK];
            self.stream.exact(&mut block)?;
            sparse.extend(&block);
            if sparse.parts.len() > PARTS {
                return Err(Failure::Beyond(format!("a sparse file in it has more than {PARTS} parts")));
            }
        }
        let of_sparse = about.sparse.as_ref().and_then(|sparse| sparse.name.clone());
        let name = of_sparse.or(about.name).unwrap_or_else(|| std::mem::take(&mut header.name));
        let link = about.link.unwrap_or_else(|| std::mem::take(&mut header.link));
        let is_file = matches!(header.kind, Kind::File | Kind::Sparse);
        let done = match inside(&name) {
            None => Err(Skipped::Outside),
            Some(path) => {
                let attributes = if about.attributes.is_empty() { None } else { self.told.keep(about.attributes) };
                let member = Member {
                    mode: header.mode,
                    uid: about.uid.unwrap_or(header.uid),
                    gid: about.gid.unwrap_or(header.gid),
                    mtime: about.mtime.unwrap_or(header.mtime),
                    left: None,
                    attributes,
                };
                match header.kind {
                    Kind::Dir => self.directory(&path, member)?,
                    Kind::Symlink => self.symlink(&path, &link, member)?,
                    Kind::HardLink => self.hard_link(&path, &link)?,
                    Kind::Device | Kind::Fifo => Err(Skipped::Device),
                    Kind::File | Kind::Sparse => {
                        let sparse = header.sparse.take();
                        self.file(&path, &name, member, stored, sparse, about.sparse)?
                    }
                    _ => Ok(()),
                }
            }
        };
        if let Err(skipped) = done {
            self.notes.add(skipped, &name);
        }
        if !is_file || done.is_err() {
            self.stream.skip(stored.saturating_add(padding(stored)))?;
        }
        Ok(())
    }

    /// The directory that holds a path, made where it is not there; and the last name.
    fn parent(&mut self, path: &Path) -> Result<Result<(OwnedFd, OsString), Skipped>, Failure> {
        let Some(name) = path.file_name().map(OsStr::to_owned) else { return Ok(Err(Skipped::Blocked)) };
        let above = path.parent().unwrap_or(Path::new("/")).to_owned();
        if let Some((known, dir)) = &self.last
            && *known == above
        {
            return Ok(Ok((dir.try_clone().map_err(Failure::Write)?, name)));
        }
        let Ok(dir) = self.need(&above)? else { return Ok(Err(Skipped::Blocked)) };
        self.last = Some((above, dir.try_clone().map_err(Failure::Write)?));
        Ok(Ok((dir, name)))
    }

    fn need(&mut self, path: &Path) -> Result<Result<OwnedFd, Skipped>, Failure> {
        // From the deepest directory that is there downwards.
        let mut missing = Vec::new();
        let mut at = path;
        let mut dir = loop {
            match self.root.resolve(at, OFlags::DIRECTORY) {
                Ok(dir) => break dir,
                Err(error) => match (error.reason, at.parent(), at.file_name()) {
                    (Reason::NotFound, Some(above), Some(name)) => {
                        missing.push(name);
                        at = above;
                    }
                    _ => return Ok(Err(Skipped::Blocked)),
                },
            }
        };
        for name in missing.into_iter().rev() {
            let made = rustix::fs::mkdirat(&dir, name, Mode::RWXU);
            if made.is_err_and(refused) {
                return Ok(Err(Skipped::Blocked)); // a link that leads nowhere has the name
            }
            made?;
            dir = open_dir(&dir, name)?;
            let inode = rustix::fs::fstat(&dir)?.st_ino;
            self.told.insert(inode, Member { mode: 0o755, ..Member::default() });
        }
        Ok(Ok(dir))
    }

    /// Makes way for a member: the last one of a name counts, as with tar.
    fn clear(&mut self, dir: &OwnedFd, name: &OsStr) -> Result<Result<(), Skipped>, Failure> {
        let found = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Ok(())),
            Err(errno) if refused(errno) => return Ok(Err(Skipped::Blocked)),
            found => found?,
        };
        self.last = None;
        let is_dir = rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir();
        let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if !is_dir && found.st_nlink <= 1 {
            self.used = self.used.saturating_sub(u64::try_from(found.st_size).unwrap_or(0));
        }
        match rustix::fs::unlinkat(dir, name, flags) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Err(Skipped::Blocked)),
            removed => Ok(Ok(removed?)),
        }
    }

    fn directory(&mut self, path: &Path, member: Member) -> Result<Result<(), Skipped>, Failure> {
        if path == Path::new("/") {
            let inode = rustix::fs::fstat(self.root.as_dir())?.st_ino;
            self.told.insert(inode, member);
            return Ok(Ok(()));
        }
        let (dir, name) = match self.parent(path)? {
            Ok(found) => found,
            Err(skipped) => return Ok(Err(skipped)),
        };
        let is_there = |found: rustix::fs::Stat| rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir();
        if !rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_there) {
            if let Err(skipped) = self.clear(&dir, &name)? {
                return Ok(Err(skipped));
            }
            match rustix::fs::mkdirat(&dir, &name, Mode::RWXU) {
                Err(errno) if refused(errno) => return Ok(Err(Skipped::Blocked)),
                made => made?,
            }
        }
        self.note(&dir, &name, member)?;
        Ok(Ok(()))
    }

    fn symlink(&mut self, path: &Path, link: &[u8], member: Member) -> Result<Result<(), Skipped>, Failure> {
        let (dir, name) = match self.parent(path)? {
            Ok(found) => found,
            Err(skipped) => return Ok(Err(skipped)),
        };
        if link.is_empty() || link.contains(&0) {
            return Ok(Err(Skipped::Blocked));
        }
        if let Err(skipped) = self.clear(&dir, &name)? {
            return Ok(Err(skipped));
        }
        match rustix::fs::symlinkat(OsStr::from_bytes(link), &dir, &name) {
            Err(errno) if refused(errno) => return Ok(Err(Skipped::Blocked)),
            made => made?,
        }
        self.note(&dir, &name, member)?;
        Ok(Ok(()))
    }

    /// The other name must be one of the archive: what a link leads to is looked for inside, and a link itself is not followed.
    fn hard_link(&mut self, path: &Path, link: &[u8]) -> Result<Result<(), Skipped>, Failure> {
        let Some(other) = inside(link) else { return Ok(Err(Skipped::Outside)) };
        let Ok((from, from_name)) = self.root.parent(&other) else { return Ok(Err(Skipped::Link)) };
        let (dir, name) = match self.parent(path)? {
            Ok(found) => found,
            Err(skipped) => return Ok(Err(skipped)),
        };
        let stat = |dir: &OwnedFd, name: &OsStr| {
            rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|found| found.st_ino)
        };
        let Some(inode) = stat(&from, &from_name) else { return Ok(Err(Skipped::Link)) };
        if stat(&dir, &name) == Some(inode) {
            return Ok(Ok(())); // to itself
        }
        if let Err(skipped) = self.clear(&dir, &name)? {
            return Ok(Err(skipped));
        }
        match rustix::fs::linkat(&from, &from_name, &dir, &name, AtFlags::empty()) {
            Err(Errno::PERM | Errno::MLINK | Errno::NOENT) => Ok(Err(Skipped::Link)),
            Err(errno) if refused(errno) => Ok(Err(Skipped::Blocked)),
            made => Ok(Ok(made?)),
        }
    }

    fn file(
        &mut self,
        path: &Path,
        name: &[u8],
        mut member: Member,
        stored: u64,
        sparse: Option<Sparse>,
        pax: Option<PaxSparse>,
    ) -> Result<Result<(), Skipped>, Failure> {
        let (dir, own) = match self.parent(path)? {
            Ok(found) => found,
            Err(skipped) => return Ok(Err(skipped)),
        };
        if let Err(skipped) = self.clear(&dir, &own)? {
            return Ok(Err(skipped));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&dir, &own, flags, Mode::RUSR | Mode::WUSR) {
            Err(errno) if refused(errno) => return Ok(Err(Skipped::Blocked)),
            made => File::from(made?),
        };
        let mut rest = stored;
        let map = match (sparse, pax) {
            (Some(sparse), _) => Some(sparse),
            (None, Some(pax)) if pax.major == 1 => {
                let (parts, taken) = self.pax_map(stored)?;
                rest = stored.saturating_sub(taken);
                Some(Sparse { parts, has_more: false, size: pax.size })
            }
            (None, Some(pax)) => Some(Sparse { parts: pax.map.unwrap_or_default(), has_more: false, size: pax.size }),
            (None, None) => None,
        };
        let whole = map.as_ref().map_or(rest, |map| map.size);
        // Its holes take no room, but who reads it reads them.
        let left = if map.as_ref().is_some_and(|map| !map.is_sound(rest)) {
            Some(Skipped::Sparse)
        } else if whole > self.bounds.file {
            Some(Skipped::TooLarge)
        } else {
            (!self.has_room(rest)).then_some(Skipped::NoRoom)
        };
        if let Some(skipped) = left {
            self.notes.add(skipped, name);
            member.left = Some(whole);
            self.stream.skip(rest)?;
        } else if let Some(map) = map {
            self.write_parts(&file, &map)?;
        } else {
            let mut output = &file;
            self.stream.each(rest, |part| output.write_all(part).map_err(no_room))?;
        }
        if left.is_none() {
            self.used = self.used.saturating_add(rest);
        }
        self.stream.skip(padding(stored))?;
        let inode = rustix::fs::fstat(&file)?.st_ino;
        self.told.insert(inode, member);
        Ok(Ok(()))
    }

    /// Whether a file of that size is unpacked: large ones only as long as there is plenty of room, so that small ones, which
    /// are most of what is read, find some.
    fn has_room(&self, size: u64) -> bool {
        let room = self.bounds.room;
        let kept = if size > LARGE {
            room / 4
        } else if size > MIDDLING {
            room / 8
        } else {
            0
        };
        let may_use = room - kept;
        self.used.saturating_add(size) <= may_use
    }

    fn write_parts(&mut self, file: &File, map: &Sparse) -> Result<(), Failure> {
        file.set_len(map.size).map_err(Failure::Write)?;
        for (start, length) in &map.parts {
            let mut at = *start;
            self.stream.each(*length, |part| {
                file.write_all_at(part, at).map_err(no_room)?;
                at = at.saturating_add(part.len() as u64);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The map that stands before the content (pax 1.0): numbers, each on a line, their count first. And how long it is.
    fn pax_map(&mut self, stored: u64) -> Result<(Vec<(u64, u64)>, u64), Failure> {
        let mut numbers = Vec::new();
        let mut taken = 0_u64;
        let mut text = String::new();
        let mut wanted = None;
        while wanted.is_none_or(|wanted| numbers.len() < wanted) && taken < stored {
            let mut block = [0; BLOCK];
            let part = usize::try_from(stored - taken).unwrap_or(BLOCK).min(BLOCK);
            self.stream.exact(block.get_mut(..part).unwrap_or_default())?;
            taken += part as u64;
            for byte in block {
                match byte {
                    b'0'..=b'9' if text.len() < 20 => text.push(char::from(byte)),
                    b'\n' => {
                        let Ok(number) = text.parse::<u64>() else { return Ok((vec![(u64::MAX, 1)], taken)) };
                        text.clear();
                        match wanted {
                            None => {
                                let count = usize::try_from(number).unwrap_or(usize::MAX);
                                if count > PARTS {
                                    let why = format!("a sparse file in it has more than {PARTS} parts");
                                    return Err(Failure::Beyond(why));
                                }
                                wanted = Some(count * 2);
                            }
                            Some(wanted) if numbers.len() < wanted => numbers.push(number),
                            Some(_) => {}
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok((pairs(&numbers), taken))
    }

    fn note(&mut self, dir: &OwnedFd, name: &OsStr, member: Member) -> Result<(), Failure> {
        let found = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.told.insert(found.st_ino, member);
        Ok(())
    }
}

fn open_dir(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(dir.as_fd(), name, flags, Mode::empty(), beneath) {
        // Kernels before 5.6 have no openat2, and a single name leads nowhere else.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        answer => answer,
    }
}

/// What the kernel says of a name that nothing can have.
fn refused(errno: Errno) -> bool {
    matches!(errno, Errno::NAMETOOLONG | Errno::EXIST | Errno::NOTDIR | Errno::ISDIR | Errno::INVAL | Errno::LOOP)
}

fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.as_chunks::<2>().0.iter().map(|[start, length]| (*start, *length)).collect()
}

fn no_room(error: io::Error) -> Failure {
    Failure::Write(error)
}

/// What fills up the last block.
fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// The path of a member inside the archive: an absolute name is taken as a relative one, as tar does. `None` for one that
/// leads out.
fn inside(name: &[u8]) -> Option<PathBuf> {
    if name.len() > PATH || name.contains(&0) {
        return None;
    }
    let mut path = PathBuf::from("/");
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => return None,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(path)
}
