//! From a path of the target to a descriptor, by the kernel or step by step.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::{ReadError, Reason, error};
use super::{FileKind, Root, Source, walk};

/// Flags of every open: no waiting for a FIFO or a terminal, no descriptor in child processes.
pub(crate) const QUIET: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl Root {
    pub(super) fn has_files(&self, path: &Path) -> Result<(), ReadError> {
        if self.snapshot().is_some() {
            return Err(error(path, Reason::NotCollected("it can only be asked of a running system or a disk".into())));
        }
        if matches!(self.source, Source::Nothing) { Err(error(path, Reason::NoFiles)) } else { Ok(()) }
    }

    /// An `O_PATH` descriptor of what the path leads to; `flags` may say `NOFOLLOW` and `DIRECTORY`.
    pub(crate) fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, ReadError> {
        self.has_files(path)?;
        let fail = |errno| self.met.fail(path, errno);
        if self.by_kernel {
            return openat2(self.as_dir(), path, flags | OFlags::PATH).map_err(fail);
        }
        let found = walk::walk(self.as_dir(), path, !flags.contains(OFlags::NOFOLLOW)).map_err(fail)?;
        if flags.contains(OFlags::DIRECTORY) && !found.is_dir() {
            return Err(error(path, Reason::NotADirectory));
        }
        found.fd().try_clone_to_owned().map_err(|e| self.met.fail_io(path, e))
    }

    /// The directory that holds the last name of the path, resolved inside the target, and that name. The name may
    /// stand for anything, a link too, or nothing.
    pub(crate) fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString), ReadError> {
        let mut parts = path.components();
        let Some(Component::Normal(name)) = parts.next_back() else {
            return Err(error(path, Reason::IsA(FileKind::Dir)));
        };
        let above = Path::new("/").join(parts.as_path());
        let dir = self.resolve(&above, OFlags::DIRECTORY).map_err(|e| error(path, e.reason))?;
        Ok((dir, name.to_owned()))
    }

    /// A regular file, open for reading, and its size as stat(2) tells it.
    pub(crate) fn open_real(&self, path: &Path) -> Result<(File, u64), ReadError> {
        let fd = self.resolve(path, OFlags::empty())?;
        let seen = self.metadata_of_fd(path, fd.as_fd())?;
        if !seen.is_file() {
            return Err(error(path, Reason::IsA(seen.kind)));
        }
        if self.told.as_ref().is_some_and(|told| told.is_left(seen.ino)) {
            return Err(self.met.noted(error(path, Reason::LeftPacked)));
        }
        let file = self.open_quietly(path, OFlags::RDONLY)?;
        // On a living system the path may lead to something else by now.
        let opened = self.metadata_of_fd(path, file.as_fd())?;
        if !opened.is_file() {
            return Err(error(path, Reason::IsA(opened.kind)));
        }
        Ok((File::from(file), opened.size))
    }

    /// Opens what the caller knows to be harmless, without touching its access time where that is allowed.
    pub(crate) fn open_quietly(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, ReadError> {
        self.has_files(path)?;
        let open = |flags: OFlags| -> Result<OwnedFd, Errno> {
            if self.by_kernel {
                return openat2(self.as_dir(), path, flags | QUIET);
            }
            let found = walk::walk(self.as_dir(), path, true)?;
            let (dir, name) = found.as_entry();
            rustix::fs::openat(dir, name, flags | QUIET | OFlags::NOFOLLOW, Mode::empty())
        };
        match open(flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open(flags), // O_NOATIME is for the owner and CAP_FOWNER
            answer => answer,
        }
        .map_err(|errno| self.met.fail(path, errno))
    }
}

/// openat2(2) with the resolution that makes `dir` the root. A `..` that races with a rename makes the kernel answer
/// `EAGAIN`; it is asked again a few times.
pub(super) fn openat2(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut answer = Err(Errno::AGAIN);
    for _ in 0..16 {
        answer = rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), inside);
        if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    answer
}
