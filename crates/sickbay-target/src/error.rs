//! Why a target could not be opened.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Why a target could not be opened: a sentence that names it, the reason, and where there is one, the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is there.
    #[error("{} does not exist", .path.display())]
    NotFound {
        /// What was named.
        path: PathBuf,
    },
    /// The user may not open it.
    #[error("no permission to open {}{}", .path.display(), what_helps())]
    Denied {
        /// What was named.
        path: PathBuf,
    },
    /// It is there, but is nothing that can hold a system.
    #[error("{} is {what}: expected a directory, a disk, a partition, a disk image or a log", .path.display())]
    NotATarget {
        /// What was named.
        path: PathBuf,
        /// What it is, for example "a FIFO" or "a text file".
        what: String,
    },
    /// A package file was to be given, and it is something else.
    #[error("{} is not a package file: expected a .deb or .rpm", .path.display())]
    NotAPackage {
        /// What was named.
        path: PathBuf,
    },
    /// It ends before its own description of itself does.
    #[error("{} is truncated: {why}", .path.display())]
    Truncated {
        /// What was named.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// It is an image of a known format, but damaged, or its backing file is missing.
    #[error("{} cannot be opened as a disk image: {why}", .path.display())]
    Image {
        /// What was named.
        path: PathBuf,
        /// qemu's reason.
        why: String,
    },
    /// An image that names another file of this machine, or something on the network.
    #[error("{} names {other}, which is outside it; --follow-images allows that", .path.display())]
    Outside {
        /// What was named.
        path: PathBuf,
        /// What it names: "the backing file /srv/base.img".
        other: String,
    },
    /// The system is on an encrypted volume.
    #[error(
        "{}: {volume} is encrypted (LUKS); unlock it with `cryptsetup open DEVICE NAME` and use /dev/mapper/NAME",
        .path.display()
    )]
    Encrypted {
        /// What was named.
        path: PathBuf,
        /// The encrypted volume, for example "partition 2".
        volume: String,
    },
    /// None of its file systems looks like the root of a Linux system.
    #[error("{} has no Linux root file system: found {found}", .path.display())]
    NoRoot {
        /// What was named.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A directory that is no root: nothing is mounted on it, or it is something else.
    #[error("{}", no_root_here(.path, .meant.as_deref()))]
    NotARoot {
        /// What was named.
        path: PathBuf,
        /// A directory above or below it that is one.
        meant: Option<String>,
    },
    /// A directory that has trees like those of a root, and is known to be something else.
    #[error("{} is {what}", .path.display())]
    OtherTree {
        /// What was named.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A file system that is needed could not be mounted.
    #[error("{}: {volume} cannot be mounted: {why}", .path.display())]
    CannotMount {
        /// What was named.
        path: PathBuf,
        /// The volume, for example "partition 1 (ext4)".
        volume: String,
        /// The kernel's reason.
        why: String,
    },
    /// Somebody else uses it, and it was to be written.
    #[error("{} is in use by {by}: nothing may be written to it", .path.display())]
    InUse {
        /// What was named.
        path: PathBuf,
        /// Who uses it.
        by: String,
    },
    /// It is mounted, but not for writing.
    #[error("{} is mounted read-only: nothing can be written to it; run `mount -o remount,rw` on it first", .path.display())]
    MountedReadOnly {
        /// What was named.
        path: PathBuf,
    },
    /// It is a log, and was to be written.
    #[error("{} is a log: it can be checked, but there is nothing in it to repair", .path.display())]
    Log {
        /// What was named.
        path: PathBuf,
    },
    /// It is a log itself, or a recording, and logs were given with it.
    #[error("{} has no files that a log given with --with could belong to", .path.display())]
    LogOfALog {
        /// What was named.
        path: PathBuf,
    },
    /// It is a recording, and was to be written.
    #[error("{} is a recording: it can be checked, but there is nothing in it to repair", .path.display())]
    Recording {
        /// What was named.
        path: PathBuf,
    },
    /// An archive that was not unpacked.
    #[error("{} cannot be unpacked: {why}", .path.display())]
    Archive {
        /// What was named.
        path: PathBuf,
        /// What is wrong with it, or which bound it goes beyond.
        why: String,
    },
    /// It is an archive, and was to be written.
    #[error("{} is an archive: it can be checked, but nothing is repaired in it; unpack it, and repair the directory", .path.display())]
    Packed {
        /// What was named.
        path: PathBuf,
    },
    /// It is what a tool for support collected, and was to be written.
    #[error("{} is a report of another machine: it can be checked, but there is nothing in it to repair", .path.display())]
    Report {
        /// What was named.
        path: PathBuf,
    },
    /// It is a bundle, and was to be written.
    #[error("{} is a bundle: it can be checked, but there is nothing in it to repair; run fix on the machine itself", .path.display())]
    BundleOnly {
        /// What was named.
        path: PathBuf,
    },
    /// It is a bundle that cannot be used.
    #[error("{} cannot be read as a bundle: {why}", .path.display())]
    Bundle {
        /// What was named.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A log, a recording or a bundle was to be collected.
    #[error("{} is no system: there is nothing to collect", .path.display())]
    NothingToCollect {
        /// What was named.
        path: PathBuf,
    },
    /// A program that is needed is not on this machine, or failed.
    #[error("{} needs a tool on this machine: {why}", .path.display())]
    Tool {
        /// What was named.
        path: PathBuf,
        /// Which tool, and what to do.
        why: String,
    },
    /// What is in the place of something of ours may be a stranger's.
    #[error("{} is not used: {why}; check it, and move it out of the way if it is not yours", .path.display())]
    NotOurs {
        /// What was found.
        path: PathBuf,
        /// By what it is told.
        why: String,
    },
    /// Anything else that the kernel said.
    #[error("{} cannot be opened: {what}: {source}", .path.display())]
    Io {
        /// What was named.
        path: PathBuf,
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// root is refused a device only where something keeps it from devices, as a container does.
fn what_helps() -> &'static str {
    if rustix::process::geteuid().is_root() { ", not even for root: is this a container?" } else { ": run as root" }
}

fn no_root_here(path: &Path, meant: Option<&str>) -> String {
    let path = path.display();
    match meant {
        None => format!("{path}: nothing here looks like a Linux root (is it mounted?)"),
        Some(meant) => format!("{path}: nothing here looks like a Linux root (is it mounted?); {meant} does"),
    }
}

impl OpenError {
    /// The kernel's refusal of `what` on `path`.
    pub(crate) fn io(path: &Path, what: impl Into<String>, source: impl Into<io::Error>) -> OpenError {
        let (path, source) = (path.to_owned(), source.into());
        match source.kind() {
            io::ErrorKind::NotFound => OpenError::NotFound { path },
            io::ErrorKind::PermissionDenied => OpenError::Denied { path },
            _ => OpenError::Io { path, what: what.into(), source },
        }
    }

    pub(crate) fn of_directory(path: &Path, errno: Errno) -> OpenError {
        match errno {
            Errno::NOTDIR => OpenError::NotATarget { path: path.to_owned(), what: "not a directory".into() },
            errno => OpenError::io(path, "opening the directory", errno),
        }
    }
}
