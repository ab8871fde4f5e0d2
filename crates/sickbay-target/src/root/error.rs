//! Why something in a target could not be read.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::FileKind;

/// Why something in the target could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}", sentence(.path, .reason))]
pub struct ReadError {
    /// The path as it was asked for, inside the target.
    pub path: PathBuf,
    /// The reason.
    pub reason: Reason,
}

/// The reason for a [`ReadError`].
#[derive(Debug)]
pub enum Reason {
    /// It, a directory above it, or what a link on the way points to, is not there (`ENOENT`).
    NotFound,
    /// A part of the path, or the path itself where a directory was wanted, is not a directory (`ENOTDIR`).
    NotADirectory,
    /// A regular file was wanted, and it is something else.
    IsA(FileKind),
    /// It is larger than the caller wants to read.
    TooLarge {
        /// Its size in bytes (for a file that does not know its size, as in `/proc`: what was read so far); for a
        /// directory the number of entries.
        size: u64,
        /// What the caller allows, in the same unit.
        limit: u64,
    },
    /// The caller has no permission (`EACCES`, `EPERM`).
    Denied,
    /// More symbolic links on the way than the kernel follows, commonly because they form a loop (`ELOOP`).
    LinkLoop,
    /// It is a member of an archive that was too large to be unpacked, or for which there was no room.
    LeftPacked,
    /// The archive does not record it.
    NotTold,
    /// The target has no files: it is a log.
    NoFiles,
    /// The target is a bundle, and the path is not in it, for this reason.
    NotCollected(String),
    /// Any other error of the kernel, for example `EIO` from a failing disk.
    Io(io::Error),
}

impl Reason {
    pub(crate) fn of(errno: Errno) -> Reason {
        match errno {
            Errno::NOENT => Reason::NotFound,
            Errno::NOTDIR => Reason::NotADirectory,
            Errno::ACCESS | Errno::PERM => Reason::Denied,
            Errno::LOOP => Reason::LinkLoop,
            other => Reason::Io(other.into()),
        }
    }
}

fn sentence(path: &Path, reason: &Reason) -> String {
    let path = path.display();
    match reason {
        Reason::NotFound => format!("{path} does not exist"),
        Reason::NotADirectory => {
            format!("{path} cannot be reached: a part of the path is not a directory")
        }
        Reason::IsA(kind) => format!("{path} is {kind}, not a regular file"),
        Reason::TooLarge { size, limit } => {
            format!("{path} is too large: {size}, and at most {limit} is read")
        }
        Reason::Denied => format!("no permission to read {path}"),
        Reason::LinkLoop => format!("{path} cannot be reached: its symbolic links form a loop"),
        Reason::LeftPacked => format!("{path} was left in the archive: it is too large, or there is no room for it"),
        Reason::NotTold => format!("the archive does not tell the extended attributes of {path}"),
        Reason::NoFiles => format!("{path} cannot be read: a log has no files"),
        Reason::NotCollected(why) => format!("{path} is not in the bundle: {why}"),
        Reason::Io(error) => format!("{path} could not be read: {error}"),
    }
}

pub(crate) fn error(path: &Path, reason: Reason) -> ReadError {
    ReadError { path: path.to_owned(), reason }
}

pub(super) fn io_error(path: &Path, error_: io::Error) -> ReadError {
    let reason = match Errno::from_io_error(&error_) {
        Some(errno) => Reason::of(errno),
        None => Reason::Io(error_),
    };
    error(path, reason)
}
