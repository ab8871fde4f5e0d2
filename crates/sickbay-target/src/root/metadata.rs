//! What stat(2) and getdents(2) return for a file.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The kind of a file, as in `st_mode` (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl FileKind {
    pub(super) fn of(kind: FileType) -> Option<FileKind> {
        Some(match kind {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Dir,
            FileType::Symlink => FileKind::Symlink,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::CharacterDevice => FileKind::CharDevice,
            FileType::BlockDevice => FileKind::BlockDevice,
            _ => return None,
        })
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::File => "a regular file",
            FileKind::Dir => "a directory",
            FileKind::Symlink => "a symbolic link",
            FileKind::Fifo => "a FIFO",
            FileKind::Socket => "a socket",
            FileKind::CharDevice => "a character device",
            FileKind::BlockDevice => "a block device",
        })
    }
}

/// What stat(2) returns for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// The permission bits with set-user-ID, set-group-ID and sticky: `07777` of `st_mode`.
    pub mode: u32,
    /// The user ID of the owner, as the target's system knows it: in an unprivileged container's root, root is 0.
    pub uid: u32,
    /// The group ID, likewise.
    pub gid: u32,
    /// The size in bytes; 0 for files that do not know theirs, as in `/proc`.
    pub size: u64,
    /// The space it takes, in bytes (`st_blocks` × 512): less than `size` for a sparse file.
    pub allocated: u64,
    /// The number of names (hard links).
    pub nlink: u64,
    /// The last change of the content: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// The last access, in the same form.
    pub atime: (i64, u32),
    /// The last change of the content or of the inode, in the same form.
    pub ctime: (i64, u32),
    /// The number of the device that holds it (`st_dev`).
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
    /// For a device node, the number of the device that it stands for (`st_rdev`).
    pub rdev: u64,
}

impl Metadata {
    #[allow(clippy::unnecessary_cast)] // the widths of `struct stat` differ between architectures
    pub(crate) fn of(stat: &Stat) -> Metadata {
        Metadata {
            // The kernel knows no kind beyond the seven; a file system that invents one is read as a socket is: not at all.
            kind: FileKind::of(FileType::from_raw_mode(stat.st_mode)).unwrap_or(FileKind::Socket),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            nlink: stat.st_nlink as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            atime: (stat.st_atime as i64, stat.st_atime_nsec as u32),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            rdev: stat.st_rdev as u64,
        }
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Dir
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, any bytes but `/` and NUL.
    pub name: OsString,
    /// What it is; a link is not followed.
    pub kind: FileKind,
}

pub(crate) fn metadata_of_fd(fd: BorrowedFd<'_>) -> Result<Metadata, Errno> {
    rustix::fs::fstat(fd).map(|stat| Metadata::of(&stat))
}
