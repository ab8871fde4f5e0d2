//! Which paths of a target are on its own file systems.
//!
//! Who rescues a system mounts things of the helper's below its root, as every guide says: `/dev`, `/proc`, `/run`, a
//! directory with packages. What is written there is written to the helper.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, StatxFlags};

use sickbay_formats::procfs::mountinfo::{self, Mount};

use crate::target::Kind;
use crate::{ReadError, Reason, Target};

/// File systems that the kernel or a program of this machine makes up, or that are gone with its next start.
const PASSING: [&str; 22] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

impl Target {
    /// Whether what is done to a path is done to the target: the directory that holds it, as far as it is there, and it
    /// itself are on the file system of the target's root, or on one that is mounted below that root and nowhere else.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn owns(&self, path: &Path) -> Result<bool, ReadError> {
        // Of a running system everything is its own, and below a disk we have mounted everything ourselves.
        if self.kind != Kind::Root {
            return Ok(true);
        }
        let root = mount_of(self.root().as_dir());
        let holder = path.ancestors().skip(1).find_map(|dir| match self.root().resolve(dir, OFlags::DIRECTORY) {
            Err(ReadError { reason: Reason::NotFound | Reason::NotADirectory, .. }) => None,
            answer => Some(answer),
        });
        let itself = match self.root().resolve(path, OFlags::NOFOLLOW) {
            Err(ReadError { reason: Reason::NotFound | Reason::NotADirectory, .. }) => None,
            answer => Some(answer),
        };
        for found in holder.into_iter().chain(itself) {
            let mount = mount_of(found?.as_fd());
            if mount != root && !mount.is_some_and(|mount| is_only_below(mount, self.root().as_dir())) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Who runs this, as a number.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The number of the mount that something is on, as in `/proc/self/mountinfo`.
fn mount_of(fd: BorrowedFd<'_>) -> Option<u64> {
    let told = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok();
    if let Some(told) = told.filter(|told| told.stx_mask & StatxFlags::MNT_ID.bits() != 0) {
        return Some(told.stx_mnt_id);
    }
    // Kernels before 5.8.
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Whether a mount brings a file system that lasts and that is mounted nowhere but at and below the directory `root`.
fn is_only_below(mount: u64, root: BorrowedFd<'_>) -> bool {
    let Ok(root) = fs::read_link(format!("/proc/self/fd/{}", root.as_raw_fd())) else { return false };
    let Ok(text) = fs::read("/proc/self/mountinfo") else { return false };
    let mounts = mountinfo::parse(&text);
    let Some(found) = mounts.iter().find(|other| other.id == mount) else { return false };
    let brings_the_same = |other: &&Mount| other.device == found.device;
    !PASSING.contains(&found.fstype.as_str())
        && mounts
            .iter()
            .filter(brings_the_same)
            .all(|other| Path::new(OsStr::from_bytes(&other.place)).starts_with(&root))
}
