//! What is asked of a target's files.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, OFlags, RawDir};
use rustix::io::Errno;

use sickbay_formats::digest::Digest;

use super::error::{ReadError, Reason, error, io_error};
use super::{DirEntry, FileKind, Metadata, Root, metadata_of_fd, walk};
use crate::snapshot::{Opened, Refusal, Snapshot};
use crate::xattr;

/// The most bytes that [`Root::read`] reads of one file: 16 MiB. Configuration is far smaller; a sparse file of
/// 2 GiB in its place must not fill the memory of the machine that looks at it.
pub const READ_LIMIT: u64 = 16 << 20;

/// The most entries that [`Root::read_dir`] lists of one directory: far more than any configuration has, and few enough that
/// several checks can hold such lists at once.
pub const DIR_LIMIT: usize = 1 << 16;

/// As [`DIR_LIMIT`], of directories below /proc: processes, and what one of them has open.
const PROC_LIMIT: usize = 1 << 18;

impl Root {
    /// The bytes of a regular file of at most [`READ_LIMIT`].
    ///
    /// # Errors
    /// See [`Reason`]; never waits.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, ReadError> {
        self.read_up_to(path, READ_LIMIT)
    }

    /// The bytes of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read_up_to(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, ReadError> {
        let path = path.as_ref();
        if let Some(snapshot) = self.snapshot() {
            let content = snapshot.walk(path, true).and_then(|real| snapshot.content(&real));
            let content = content.map_err(|refusal| match refusal {
                // More than the caller wants anyhow.
                Refusal::TooLarge { size, .. } if size > limit => error(path, Reason::TooLarge { size, limit }),
                refusal => self.refuse(path, &refusal),
            })?;
            let size = content.bytes.len() as u64;
            return if size > limit {
                Err(error(path, Reason::TooLarge { size, limit }))
            } else {
                Ok(content.bytes.to_vec())
            };
        }
        let (file, size) = self.open_real(path)?;
        if size > limit {
            return Err(error(path, Reason::TooLarge { size, limit }));
        }
        // Files in /proc say that they have 0 bytes, those in /sys 4096: only reading tells. One byte more than
        // announced lets the end be seen without growing the buffer.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| self.met.fail_io(path, e))?;
        if bytes.len() as u64 > limit {
            return Err(error(path, Reason::TooLarge { size: bytes.len() as u64, limit }));
        }
        Ok(bytes)
    }

    /// The first `n` bytes of a regular file, or all of a shorter one.
    ///
    /// # Errors
    /// As [`Root::read`], but never [`Reason::TooLarge`].
    pub fn read_head(&self, path: impl AsRef<Path>, n: usize) -> Result<Vec<u8>, ReadError> {
        let path = path.as_ref();
        let file = self.open(path)?;
        let mut bytes = Vec::new();
        file.take(n as u64).read_to_end(&mut bytes).map_err(|e| self.met.fail_io(path, e))?;
        Ok(bytes)
    }

    /// A regular file, open for reading: for what is too large to be held in memory.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Opened, ReadError> {
        let path = path.as_ref();
        let Some(snapshot) = self.snapshot() else {
            return self.open_real(path).map(|(file, _)| Opened::file(file));
        };
        let open = || {
            let real = snapshot.walk(path, true)?;
            let meta = snapshot.meta(&real)?;
            if snapshot.is_by_blocks(&real, &meta)? {
                return Ok(Opened::blocks(Arc::clone(snapshot), real, meta.size));
            }
            Ok(Opened::bytes(snapshot.content(&real)?.bytes))
        };
        open().map_err(|refusal: Refusal| self.refuse(path, &refusal))
    }

    /// Whether the content of a regular file is what a digest says. A bundle has the answer, not the content.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn fits(&self, path: impl AsRef<Path>, digest: &Digest) -> Result<bool, ReadError> {
        let path = path.as_ref();
        let Some(snapshot) = self.snapshot() else {
            let (file, _) = self.open_real(path)?;
            return digest.fits_read(file).map_err(|e| self.met.fail_io(path, e));
        };
        let live = || {
            let source = snapshot.source().ok_or(io::ErrorKind::Unsupported)?;
            Ok(vec![u8::from(source.fits(path, digest).map_err(|error| Refusal::of(&error.reason).io())?)])
        };
        let answer = snapshot.answer(&format!("{digest} of {}", path.display()), live);
        answer.map(|fits| fits == [1]).map_err(|e| io_error(path, e))
    }

    /// What stat(2) tells; the last link of the path is not followed.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata, ReadError> {
        self.metadata_of(path.as_ref(), OFlags::NOFOLLOW)
    }

    /// What stat(2) tells of what the path leads to in the end, inside the target.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<Metadata, ReadError> {
        self.metadata_of(path.as_ref(), OFlags::empty())
    }

    /// Whether the path leads to something. A link that dangles or loops leads to nothing.
    ///
    /// # Errors
    /// When that cannot be told, commonly [`Reason::Denied`].
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool, ReadError> {
        match self.stat(path) {
            Ok(_) => Ok(true),
            Err(ReadError { reason: Reason::NotFound | Reason::NotADirectory | Reason::LinkLoop, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What stat(2) tells of what one of the kernel's own links leads to, of a snapshot.
    pub(crate) fn beyond(&self, path: &Path) -> Result<Metadata, ReadError> {
        self.snapshot_answer(path, |snapshot| snapshot.walk(path, false).and_then(|real| snapshot.beyond(&real)))
            .unwrap_or_else(|| self.stat(path))
    }

    pub(super) fn metadata_of_fd(&self, path: &Path, fd: BorrowedFd<'_>) -> Result<Metadata, ReadError> {
        metadata_of_fd(fd).map_err(|errno| self.met.fail(path, errno))
    }

    fn metadata_of(&self, path: &Path, flags: OFlags) -> Result<Metadata, ReadError> {
        let follow = !flags.contains(OFlags::NOFOLLOW);
        if let Some(answer) =
            self.snapshot_answer(path, |snapshot| snapshot.walk(path, follow).and_then(|real| snapshot.meta(&real)))
        {
            return answer;
        }
        let fd = self.resolve(path, flags)?;
        let found = self.metadata_of_fd(path, fd.as_fd())?;
        Ok(match &self.told {
            Some(told) => told.of(found),
            None => self.ids.inside(found),
        })
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// See [`Reason`]; [`Reason::IsA`] when it is no link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, ReadError> {
        let path = path.as_ref();
        if let Some(answer) =
            self.snapshot_answer(path, |snapshot| snapshot.walk(path, false).and_then(|real| snapshot.link(&real)))
        {
            return answer;
        }
        let fd = self.resolve(path, OFlags::NOFOLLOW)?;
        let kind = self.metadata_of_fd(path, fd.as_fd())?.kind;
        if kind != FileKind::Symlink {
            return Err(error(path, Reason::IsA(kind)));
        }
        let text = rustix::fs::readlinkat(&fd, c"", Vec::new()).map_err(|e| self.met.fail(path, e))?;
        Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
    }

    /// The entries of a directory without `.` and `..`, sorted by name.
    ///
    /// # Errors
    /// See [`Reason`]; [`Reason::TooLarge`] from [`DIR_LIMIT`] entries on, below /proc from four times as many.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>, ReadError> {
        let path = path.as_ref();
        let limit = if path.starts_with("/proc") { PROC_LIMIT } else { DIR_LIMIT };
        let (entries, is_all) = self.read_dir_up_to(path, limit)?;
        if !is_all {
            let limit = limit as u64;
            return Err(self.met.noted(error(path, Reason::TooLarge { size: limit + 1, limit })));
        }
        Ok(entries)
    }

    /// At most `limit` entries of a directory, whichever come first, sorted by name; and whether these are all.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn read_dir_up_to(&self, path: impl AsRef<Path>, limit: usize) -> Result<(Vec<DirEntry>, bool), ReadError> {
        let path = path.as_ref();
        let listing = |snapshot: &Snapshot| {
            let real = snapshot.walk(path, true)?;
            match snapshot.meta(&real)?.kind {
                FileKind::Dir => snapshot.listing(&real, limit),
                _ => Err(Refusal::NotADirectory),
            }
        };
        if let Some(answer) = self.snapshot_answer(path, listing) {
            return answer;
        }
        let fail = |errno| self.met.fail(path, errno);
        let dir = self.open_quietly(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        let mut is_all = true;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut raw = RawDir::new(&dir, buffer.spare_capacity_mut());
        while let Some(entry) = raw.next() {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entries.len() == limit {
                is_all = false;
                break;
            }
            let kind = match FileKind::of(entry.file_type()) {
                Some(kind) => kind,
                // Not every file system stores the kind in the directory.
                None => match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => Metadata::of(&stat).kind,
                    Err(Errno::NOENT) => continue, // removed meanwhile
                    Err(errno) => return Err(fail(errno)),
                },
            };
            entries.push(DirEntry { name: OsStr::from_bytes(name.to_bytes()).to_owned(), kind });
        }
        entries.sort_unstable();
        Ok((entries, is_all))
    }

    /// The path without links, `.` and `..`: where in the target the path leads to in the end.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn canonical(&self, path: impl AsRef<Path>) -> Result<PathBuf, ReadError> {
        let path = path.as_ref();
        if let Some(answer) = self.snapshot_answer(path, |snapshot| snapshot.walk(path, true)) {
            return answer;
        }
        self.has_files(path)?;
        walk::walk(self.as_dir(), path, true).map(|found| found.path()).map_err(|e| self.met.fail(path, e))
    }

    /// The extended attributes (security labels, ACLs, capabilities), sorted by name; the last link is not followed.
    ///
    /// # Errors
    /// See [`Reason`]. Those of a link or a special file can only be told where `/proc` is mounted.
    pub fn xattrs(&self, path: impl AsRef<Path>) -> Result<Vec<(OsString, Vec<u8>)>, ReadError> {
        let path = path.as_ref();
        if let Some(answer) =
            self.snapshot_answer(path, |snapshot| snapshot.walk(path, false).and_then(|real| snapshot.xattrs(&real)))
        {
            return answer;
        }
        let fd = self.resolve(path, OFlags::NOFOLLOW)?;
        let found = self.metadata_of_fd(path, fd.as_fd())?;
        if let Some(told) = &self.told {
            return told.attributes(found.ino).ok_or_else(|| error(path, Reason::NotTold));
        }
        match found.kind {
            FileKind::File | FileKind::Dir => xattr::of_open(self.open_quietly(path, OFlags::RDONLY)?.as_fd()),
            _ => xattr::of_path(fd.as_fd()),
        }
        .map_err(|e| self.met.fail(path, e))
    }
}
