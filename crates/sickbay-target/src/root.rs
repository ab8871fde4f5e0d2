//! Reading inside a target, and never outside of it.
//!
//! A [`Root`] is a directory that is taken for `/`. Every path given to it is a path *of the target*: absolute links
//! and `..` stay inside, whatever the target's owner, or an attacker, put there. On kernels from 5.6 on openat2(2)
//! does the resolution; on older ones, and under seccomp filters that refuse it, [`walk`] does the same step by step.
//!
//! Nothing here waits and nothing here has side effects: what is not a regular file is refused before it is opened
//! (opening a FIFO waits for its writer, opening a tape rewinds it, opening a watchdog starts it).

mod error;
mod metadata;
mod mounted;
mod read;
mod resolve;
mod space;
#[cfg(test)]
mod tests;
mod unread;
mod walk;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::OpenError;
use crate::archive::Told;
use crate::ids::Ids;
use crate::snapshot::{self, Snapshot};

pub(crate) use error::error;
pub use error::{ReadError, Reason};
pub(crate) use metadata::metadata_of_fd;
pub use metadata::{DirEntry, FileKind, Metadata};
pub use read::{DIR_LIMIT, READ_LIMIT};
pub(crate) use resolve::QUIET;
pub use space::FileSystemUse;
pub(crate) use unread::Met;
pub use unread::Unread;

/// A directory that is taken for `/`: the host's own, a mounted root, or the root file system of a disk.
#[derive(Debug)]
pub struct Root {
    /// Where there is no directory, a descriptor of nothing that could hold files.
    dir: OwnedFd,
    /// Whether openat2(2) resolves paths, not [`walk`].
    by_kernel: bool,
    source: Source,
    pub(crate) met: Met,
    pub(crate) ids: Ids,
    /// Owner, mode, times and attributes of files that were unpacked from an archive.
    pub(crate) told: Option<Arc<Told>>,
}

/// What a root reads from.
#[derive(Debug, Clone)]
enum Source {
    /// Its directory.
    Directory,
    /// What was seen of a target, or is being seen.
    Snapshot(Arc<Snapshot>),
    /// The target has no files.
    Nothing,
}

impl Root {
    /// The root directory of the running system.
    ///
    /// Links of the kind of `/proc/PID/exe` lead out of every path and are not followed; their text can be read.
    pub fn host() -> Result<Root, OpenError> {
        Root::at(Path::new("/"))
    }

    /// A directory of this machine, taken for `/`.
    ///
    /// # Errors
    /// When it is not there, is no directory or may not be entered.
    pub fn at(dir: &Path) -> Result<Root, OpenError> {
        rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Root::from_dir)
            .map_err(|errno| OpenError::of_directory(dir, errno))
    }

    /// The directory that `dir` is open on, taken for `/`.
    pub(crate) fn from_dir(dir: OwnedFd) -> Root {
        // Kernels before 5.6 have no openat2; seccomp filters of containers answer ENOSYS or EPERM.
        let by_kernel = resolve::openat2(dir.as_fd(), Path::new("/"), OFlags::PATH).is_ok();
        let ids = Ids::of(dir.as_fd());
        Root { dir, by_kernel, source: Source::Directory, met: Met::default(), ids, told: None }
    }

    /// The directory that an archive was unpacked to, with what the archive records of its members.
    pub(crate) fn of_told(dir: OwnedFd, told: Arc<Told>) -> Root {
        Root { ids: Ids::default(), told: Some(told), ..Root::from_dir(dir) }
    }

    /// The directory at `path` inside it, taken for the root of a target.
    ///
    /// # Errors
    /// See [`Reason`].
    pub(crate) fn below(&self, path: &Path) -> Result<Root, ReadError> {
        let dir = self.resolve(path, OFlags::DIRECTORY)?;
        Ok(match &self.told {
            Some(told) => Root::of_told(dir, Arc::clone(told)),
            None => Root::from_dir(dir),
        })
    }

    /// The root of a target without files: every read is an error.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub(crate) fn none() -> io::Result<Root> {
        let nothing = rustix::fs::memfd_create("nothing", rustix::fs::MemfdFlags::CLOEXEC)?;
        let (source, met, ids) = (Source::Nothing, Met::default(), Ids::default());
        Ok(Root { dir: nothing, by_kernel: false, source, met, ids, told: None })
    }

    /// What answers from a snapshot. `met` is that of the root of which it is taken.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub(crate) fn of_snapshot(snapshot: Arc<Snapshot>, met: Met) -> io::Result<Root> {
        Ok(Root { source: Source::Snapshot(snapshot), met, ..Root::none()? })
    }

    /// The snapshot that it reads from, if any.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        match &self.source {
            Source::Snapshot(snapshot) => Some(snapshot),
            Source::Directory | Source::Nothing => None,
        }
    }

    /// The answer of the snapshot; `None` where it reads from a directory, or from nothing.
    fn snapshot_answer<T>(
        &self,
        path: &Path,
        look: impl FnOnce(&Snapshot) -> snapshot::Told<T>,
    ) -> Option<Result<T, ReadError>> {
        let snapshot = self.snapshot()?;
        Some(look(snapshot).map_err(|refusal| self.refuse(path, &refusal)))
    }

    /// Something that no file tells, by what was asked: `live` asks the running system. A bundle holds the answer.
    ///
    /// # Errors
    /// Those of `live`; where it was not collected.
    pub fn ask(&self, question: &str, live: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
        match self.snapshot() {
            Some(snapshot) => snapshot.answer(question, live),
            None => live(),
        }
    }

    /// The directory itself, for calls that take one (an `O_PATH` descriptor).
    pub(crate) fn as_dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// What a process of the running system takes for its root: another than ours where it has a mount namespace of its
    /// own. Only for the root of the running system.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn of_process(&self, pid: u32) -> Result<Root, ReadError> {
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        if self.snapshot().is_some() {
            return Err(error(&path, Reason::NotCollected("what other mount namespaces hold is not collected".into())));
        }
        let proc = self.resolve(Path::new("/proc"), OFlags::DIRECTORY)?;
        // The link is one of the kernel's own, which no resolution inside a directory follows.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&proc, format!("{pid}/root"), flags, Mode::empty())
            .map_err(|errno| self.met.fail(&path, errno))?;
        Ok(Root { dir, told: None, ..self.try_clone().map_err(|e| self.met.fail_io(&path, e))? })
    }

    /// Another handle on the same directory.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub fn try_clone(&self) -> io::Result<Root> {
        Ok(Root {
            dir: self.dir.try_clone()?,
            by_kernel: self.by_kernel,
            source: self.source.clone(),
            met: self.met.clone(),
            ids: self.ids,
            told: self.told.clone(),
        })
    }
}
