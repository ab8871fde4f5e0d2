//! Whether a file system begins at a root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::error::{ReadError, Reason, error, io_error};
use super::{Root, Source};
use crate::sys;

impl Root {
    /// Whether something is mounted here: a directory that is none of a larger tree of this machine's.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn is_mount_point(&self) -> Result<bool, ReadError> {
        self.mounted().map(|(is_mounted, _)| is_mounted)
    }

    /// Whether a file system of its own begins here: something is mounted, and no part of what the directory above is on.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn has_own_file_system(&self) -> Result<bool, ReadError> {
        if self.told.is_some() {
            return Ok(false); // what an archive was unpacked to is none of the target's
        }
        self.mounted().map(|(is_mounted, is_of_above)| is_mounted && !is_of_above)
    }

    /// Whether something is mounted here, and whether it is of the file system that the directory above is on.
    fn mounted(&self) -> Result<(bool, bool), ReadError> {
        let path = Path::new("/");
        if let Some(snapshot) = self.snapshot() {
            let live = || {
                let source = snapshot.source().ok_or(io::ErrorKind::Unsupported)?;
                let (is_mounted, is_of_above) = source.mounted().map_err(io::Error::other)?;
                Ok(vec![u8::from(is_mounted), u8::from(is_of_above)])
            };
            let told = snapshot.answer("mounted", live).map_err(|e| io_error(path, e))?;
            return Ok((told.first() == Some(&1), told.get(1) == Some(&1)));
        }
        if matches!(self.source, Source::Nothing) {
            return Err(error(path, Reason::NoFiles));
        }
        let above =
            rustix::fs::openat(&self.dir, "..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| self.met.fail(path, errno))?;
        let stat = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map_err(|errno| self.met.fail(path, errno));
        let (own, theirs) = (stat(self.dir.as_fd())?, stat(above.as_fd())?);
        if (own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino) {
            return Ok((true, false)); // the root of all
        }
        let is_of_above = own.st_dev == theirs.st_dev;
        // A subvolume of btrfs has a device number of its own and is mounted nowhere.
        let is_mounted = match (sys::mount_id(self.dir.as_fd()), sys::mount_id(above.as_fd())) {
            (Some(own), Some(theirs)) => own != theirs,
            _ => !is_of_above,
        };
        Ok((is_mounted, is_of_above))
    }
}
