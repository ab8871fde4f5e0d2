//! A directory of a target, held open: many of its names are looked at, and its path is resolved once.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::archive::Told;
use crate::ids::Ids;
use crate::root::{Met, QUIET, error, metadata_of_fd};
use crate::{Metadata, READ_LIMIT, ReadError, Reason, Root};

/// A directory, held open.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    dir: Held,
    met: Met,
    ids: Ids,
    told: Option<Arc<Told>>,
}

#[derive(Debug)]
enum Held {
    Open(OwnedFd),
    /// What a bundle has of it.
    Snapshot(Root),
}

impl Root {
    /// The directory that the path leads to.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn dir(&self, path: impl AsRef<Path>) -> Result<Dir, ReadError> {
        let path = path.as_ref();
        let dir = match self.snapshot() {
            Some(_) if self.stat(path)?.is_dir() => {
                Held::Snapshot(self.try_clone().map_err(|e| self.met.fail_io(path, e))?)
            }
            Some(_) => return Err(error(path, Reason::NotADirectory)),
            None => Held::Open(self.resolve(path, OFlags::DIRECTORY)?),
        };
        let told = self.told.clone();
        Ok(Dir { path: path.to_owned(), dir, met: self.met.clone(), ids: self.ids, told })
    }
}

impl Dir {
    /// What lstat(2) tells of a name in it.
    ///
    /// # Errors
    /// See [`Reason`]; [`Reason::NotFound`] also for what is no name but a path.
    pub fn metadata(&self, name: &OsStr) -> Result<Metadata, ReadError> {
        self.is_name(name)?;
        let dir = match &self.dir {
            Held::Open(dir) => dir,
            Held::Snapshot(root) => return root.metadata(self.path.join(name)),
        };
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|errno| self.met.fail(&self.path.join(name), errno))?;
        let found = Metadata::of(&stat);
        Ok(match &self.told {
            Some(told) => told.of(found),
            None => self.ids.inside(found),
        })
    }

    /// The bytes of a regular file of at most [`READ_LIMIT`]; a link is not followed.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read(&self, name: &OsStr) -> Result<Vec<u8>, ReadError> {
        let seen = self.metadata(name)?;
        if !seen.is_file() {
            return Err(self.error(name, Reason::IsA(seen.kind)));
        }
        if seen.size > READ_LIMIT {
            return Err(self.error(name, Reason::TooLarge { size: seen.size, limit: READ_LIMIT }));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | QUIET;
        let dir = match &self.dir {
            Held::Open(dir) => dir,
            Held::Snapshot(root) => return root.read(self.path.join(name)),
        };
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())
            .map_err(|errno| self.met.fail(&self.path.join(name), errno))?;
        // On a living system it may be something else by now.
        let opened = metadata_of_fd(file.as_fd()).map_err(|errno| self.met.fail(&self.path.join(name), errno))?;
        if !opened.is_file() {
            return Err(self.error(name, Reason::IsA(opened.kind)));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(opened.size).unwrap_or(0).min(1 << 24).saturating_add(1));
        let read = File::from(file).take(READ_LIMIT).read_to_end(&mut bytes);
        read.map_err(|why| self.met.fail_io(&self.path.join(name), why))?;
        Ok(bytes)
    }

    fn is_name(&self, name: &OsStr) -> Result<(), ReadError> {
        match name.as_bytes() {
            b"" | b"." | b".." => Err(self.error(name, Reason::NotFound)),
            bytes if bytes.contains(&b'/') => Err(self.error(name, Reason::NotFound)),
            _ => Ok(()),
        }
    }

    fn error(&self, name: &OsStr, reason: Reason) -> ReadError {
        error(&self.path.join(name), reason)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_and_nothing_but_names() {
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join("root");
        fs::create_dir_all(path.join("etc/deep")).unwrap();
        fs::write(outside.path().join("secret"), "the helper's own").unwrap();
        fs::write(path.join("etc/fstab"), "proc").unwrap();
        fs::write(path.join("top"), "top").unwrap();
        symlink("../../secret", path.join("etc/out")).unwrap();
        symlink("/etc", path.join("alias")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path.join("etc/fifo"), Mode::RWXU).unwrap();
        let root = Root::at(&path).unwrap();
        let dir = root.dir("/alias").unwrap();
        assert_eq!(dir.read(OsStr::new("fstab")).unwrap(), b"proc");
        assert_eq!(dir.metadata(OsStr::new("deep")).unwrap().kind, crate::FileKind::Dir);
        assert_eq!(dir.metadata(OsStr::new("out")).unwrap().kind, crate::FileKind::Symlink);
        for name in ["out", "deep", "fifo"] {
            assert!(matches!(dir.read(OsStr::new(name)).unwrap_err().reason, Reason::IsA(_)), "{name}");
        }
        for name in ["..", ".", "", "../top", "/top", "gone"] {
            assert!(matches!(dir.read(OsStr::new(name)).unwrap_err().reason, Reason::NotFound), "{name}");
        }
        assert!(matches!(root.dir("/top").unwrap_err().reason, Reason::NotADirectory));
    }
}
