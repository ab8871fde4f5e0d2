//! Archives as targets: a tar, packed or not, is unpacked where nobody else sees it and from where nothing survives.
//!
//! What an archive says is data. Whatever it is told to be, a file is made as an ordinary one of ours; its owner, mode, times and
//! attributes are kept in a [`Told`] beside it, and a [`Root`] answers with those. So a set-user-ID bit or a device never is on this
//! machine, and who is not root sees the same as root does. Names resolve inside, as everywhere (`root.rs`). Files go where there is
//! room ([`Place`]); what there is no room for is known, but cannot be read ([`crate::Reason::LeftPacked`]).

mod place;
mod stream;
mod told;
mod unpack;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::io::Errno;
use sickbay_formats::tar_header::{BLOCK, Header};

pub(crate) use told::Told;

use crate::{OpenError, Root};

/// An archive, unpacked. What it was unpacked to is gone with it, and with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Unpacked {
    dir: OwnedFd,
    told: Arc<Told>,
    /// What was not unpacked, each one sentence.
    pub(crate) notes: Vec<String>,
    _place: place::Place,
}

/// What bounds an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// So many members.
    pub(crate) members: u64,
    /// What a packed archive may come to, in bytes.
    pub(crate) unpacked: u64,
    /// And how many times what was taken of it, where that is more than [`Bounds::always`].
    pub(crate) ratio: u64,
    pub(crate) always: u64,
    /// A file is not unpacked if it is larger than this, in bytes: no check reads one.
    pub(crate) file: u64,
    /// What all files may take, in bytes; less where there is less room.
    pub(crate) room: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { members: 2_000_000, unpacked: 64 << 30, ratio: 400, always: 1 << 30, file: 512 << 20, room: 8 << 30 }
    }
}

/// Whether a regular file is a tar archive, packed or not: by what is in it.
pub(crate) fn is_archive(path: &Path) -> Result<bool, OpenError> {
    let file = open(path)?;
    let mut head = [0; BLOCK];
    Ok(match stream::unpacking(file) {
        Ok((mut input, _)) => input.read_exact(&mut head).is_ok() && Header::parse(&head).is_some(),
        Err(_) => false,
    })
}

impl Unpacked {
    /// Unpacks an archive.
    ///
    /// # Errors
    /// When it is truncated or damaged, goes beyond the bounds, or there is no room for it. Nothing of it is left.
    pub(crate) fn of_file(path: &Path, progress: Option<fn(&str)>) -> Result<Unpacked, OpenError> {
        Unpacked::within(path, Bounds::default(), progress)
    }

    fn within(path: &Path, bounds: Bounds, progress: Option<fn(&str)>) -> Result<Unpacked, OpenError> {
        let file = open(path)?;
        let place = place::Place::make(bounds.room).map_err(|e| OpenError::io(path, "making room to unpack it", e))?;
        let bounds = Bounds { room: place.room, ..bounds };
        if let Some(progress) = progress
            && file.metadata().is_ok_and(|metadata| metadata.len() > 16 << 20)
        {
            progress(&format!("unpacking {}", path.display()));
        }
        let stream = stream::Stream::new(file, bounds).map_err(|e| OpenError::io(path, "reading it", e))?;
        let dir = place.dir.try_clone().map_err(|e| OpenError::io(path, "making room to unpack it", e))?;
        let (told, notes) = unpack::unpack(stream, dir, bounds).map_err(|failure| failure.of(path))?;
        let dir = place.dir.try_clone().map_err(|e| OpenError::io(path, "making room to unpack it", e))?;
        Ok(Unpacked { dir, told: Arc::new(told), notes, _place: place })
    }

    /// Makes the mount points of a system that an archive of its root commonly goes without, since nothing that was mounted there
    /// is the system's: that they are missing is no fault of it.
    pub(crate) fn furnish(root: &Root) -> io::Result<()> {
        for name in ["dev", "proc", "run", "sys"] {
            match rustix::fs::mkdirat(root.as_dir(), name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Its files.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub(crate) fn root(&self) -> io::Result<Root> {
        Ok(Root::of_told(self.dir.try_clone()?, Arc::clone(&self.told)))
    }
}

fn open(path: &Path) -> Result<File, OpenError> {
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened.map_err(|e| OpenError::io(path, "opening it", e))
}
