//! What a thread waits for that sleeps and cannot be interrupted: by the function of the kernel that it sleeps in, and where
//! that is about files, of which mount.
//!
//! Nothing here asks the mount itself, nor the process for what only it can tell: whoever does that hangs with them.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::procfs::mountinfo::{self, Mount};
use sickbay_formats::procfs::task;
use sickbay_target::Tasks;

use crate::model::text::Text;
use crate::sample::Thread;
use crate::tr;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wait {
    /// An NFS server.
    Nfs,
    /// An SMB server.
    Smb,
    /// A Ceph cluster.
    Ceph,
    /// The program behind a FUSE mount.
    Fuse,
    /// The journal of a file system.
    Journal,
    /// A block device.
    Disk,
    /// Memory.
    Memory,
    /// A lock in the kernel.
    Lock,
    /// A child that was started by vfork(2), and runs in the parent's memory until it runs a program.
    Child,
    /// To be thawed: such a thread is no load.
    Frozen,
}

/// Beginnings of names of functions, the telling ones first.
const KINDS: &[(&str, Wait)] = &[
    ("__refrigerator", Wait::Frozen),
    ("nfs", Wait::Nfs),
    ("rpc_", Wait::Nfs),
    ("__rpc", Wait::Nfs),
    ("cifs_", Wait::Smb),
    ("smb2_", Wait::Smb),
    ("ceph_", Wait::Ceph),
    ("fuse_", Wait::Fuse),
    ("__fuse", Wait::Fuse),
    ("request_wait_answer", Wait::Fuse),
    ("jbd2_", Wait::Journal),
    ("do_get_write_access", Wait::Journal),
    ("wait_transaction_locked", Wait::Journal),
    ("xlog_", Wait::Journal),
    ("xfs_log", Wait::Journal),
    ("btrfs_wait_", Wait::Journal),
    ("wait_current_trans", Wait::Journal),
    ("blk_", Wait::Disk),
    ("blkdev_", Wait::Disk),
    ("io_schedule", Wait::Disk),
    ("bit_wait_io", Wait::Disk),
    ("wait_on_page_", Wait::Disk),
    ("folio_wait_", Wait::Disk),
    ("__folio_lock", Wait::Disk),
    ("__lock_page", Wait::Disk),
    ("wait_on_buffer", Wait::Disk),
    ("__wait_on_buffer", Wait::Disk),
    ("submit_bio_wait", Wait::Disk),
    ("rq_qos_wait", Wait::Disk),
    ("wbt_wait", Wait::Disk),
    ("get_request", Wait::Disk),
    ("balance_dirty_pages", Wait::Disk),
    ("dio_", Wait::Disk),
    ("__iomap_dio", Wait::Disk),
    ("throttle_direct_reclaim", Wait::Memory),
    ("shrink_", Wait::Memory),
    ("congestion_wait", Wait::Memory),
    ("mem_cgroup_", Wait::Memory),
    ("rwsem_down_", Wait::Lock),
    ("__rwsem_down", Wait::Lock),
    ("__mutex_lock", Wait::Lock),
    ("mutex_lock", Wait::Lock),
    ("__down", Wait::Lock),
    ("d_alloc_parallel", Wait::Lock),
    ("d_wait_lookup", Wait::Lock),
    ("wait_for_vfork_done", Wait::Child),
    ("kernel_clone", Wait::Child),
    ("_do_fork", Wait::Child),
    ("do_fork", Wait::Child),
];

impl Wait {
    /// By what `/proc/PID/wchan` says.
    pub fn of(channel: &str) -> Option<Wait> {
        KINDS.iter().find(|(name, _)| channel.starts_with(name)).map(|(_, wait)| *wait)
    }

    /// In words: "for …".
    pub fn told(self) -> Text {
        match self {
            Wait::Nfs => tr!("an NFS server"),
            Wait::Smb => tr!("an SMB server"),
            Wait::Ceph => tr!("a Ceph cluster"),
            Wait::Fuse => tr!("the program behind a FUSE mount"),
            Wait::Journal => tr!("the journal of a file system"),
            Wait::Disk => tr!("a disk"),
            Wait::Memory => tr!("memory"),
            Wait::Lock => tr!("a lock in the kernel"),
            Wait::Child => tr!("a child started by vfork"),
            Wait::Frozen => tr!("being thawed"),
        }
    }

    /// Whether a mount of that type may be what it is about.
    fn fits(self, fstype: &str) -> bool {
        match self {
            Wait::Nfs => fstype.starts_with("nfs"),
            Wait::Smb => matches!(fstype, "cifs" | "smb3"),
            Wait::Ceph => fstype == "ceph",
            Wait::Fuse => fstype.starts_with("fuse") && fstype != "fusectl",
            _ => false,
        }
    }

    /// Whether it is somebody else's answer that is waited for, which may never come.
    pub fn may_hang(self) -> bool {
        matches!(self, Wait::Nfs | Wait::Smb | Wait::Ceph | Wait::Fuse)
    }
}

/// Where the files are that are waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    /// The file, if the call tells it.
    pub file: Option<PathBuf>,
    /// Where the file system is mounted.
    pub mount: PathBuf,
    /// Its type.
    pub fstype: String,
    /// The device, server or program.
    pub source: String,
}

/// So many open files of a process are looked through.
const FILES: usize = 64;

/// System calls whose first argument is the file that they work on: read, write, fsync and their kind.
#[cfg(target_arch = "aarch64")]
const ON_A_FILE: [u64; 12] = [46, 47, 61, 63, 64, 65, 66, 67, 68, 80, 82, 83];
/// System calls whose first argument is the file that they work on: read, write, fsync and their kind.
#[cfg(not(target_arch = "aarch64"))]
const ON_A_FILE: [u64; 14] = [0, 1, 5, 17, 18, 19, 20, 74, 75, 77, 78, 217, 285, 306];

/// Where a thread waits, as far as it can be told. `asks_call` where the kernel tells the system call without waiting for
/// anything: since 5.11.
pub fn place(tasks: &mut Tasks<'_>, thread: &Thread, wait: Option<Wait>, asks_call: bool) -> Option<Where> {
    let (pid, id) = (thread.pid, thread.id);
    // It may have ended, and its number be another's: what follows would be about somebody else.
    let is_there = [format!("{pid}/task/{id}/stat"), format!("{pid}/stat")].iter().any(|file| {
        let text = tasks.read(file).unwrap_or_default();
        task::parse(&text).is_some_and(|task| task.began == thread.began && task.state == b'D')
    });
    if !is_there || thread.is_kernels() {
        return None;
    }
    let mounts = [format!("{pid}/mountinfo"), "self/mountinfo".to_owned()];
    let mounts = mounts.iter().find_map(|file| tasks.read_long(file).ok()).map(|text| mountinfo::parse(&text))?;
    if asks_call && let Some(file) = file_of_call(tasks, pid, id) {
        return on(&mounts, &file).map(|mount| told(mount, Some(file.clone())));
    }
    let wait = wait?;
    let fitting: Vec<&Mount> = mounts.iter().filter(|mount| wait.fits(&mount.fstype)).collect();
    if let [only] = fitting.as_slice() {
        return Some(told(only, None));
    }
    let mut links = vec![format!("{pid}/cwd")];
    links.extend(tasks.descriptors(pid, FILES).iter().map(|fd| format!("{pid}/fd/{fd}")));
    let paths = links.iter().filter_map(|link| tasks.link(link).ok());
    let mut on = paths.filter_map(|path| on(&mounts, &path)).filter(|mount| wait.fits(&mount.fstype));
    on.next().map(|mount| told(mount, None))
}

fn file_of_call(tasks: &mut Tasks<'_>, pid: u32, id: u32) -> Option<PathBuf> {
    let files = [format!("{pid}/task/{id}/syscall"), format!("{pid}/syscall")];
    let text = files.iter().find_map(|file| tasks.read(file).ok())?;
    let mut words = text.to_str().ok()?.split_whitespace();
    let call: u64 = words.next()?.parse().ok()?;
    let argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let file = ON_A_FILE.contains(&call).then(|| tasks.link(&format!("{pid}/fd/{argument}")).ok())??;
    file.is_absolute().then_some(file)
}

/// The mount that a path is on: the deepest, of those at one place the uppermost.
fn on<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let place = |mount: &Mount| PathBuf::from(mount.place.to_str_lossy().into_owned());
    let above = mounts.iter().filter(|mount| path.starts_with(place(mount)));
    above.max_by_key(|mount| place(mount).components().count())
}

fn told(mount: &Mount, file: Option<PathBuf>) -> Where {
    Where {
        file,
        mount: PathBuf::from(mount.place.to_str_lossy().into_owned()),
        fstype: mount.fstype.clone(),
        source: mount.source.to_str_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_many_kernels() {
        let known = [
            ("rpc_wait_bit_killable", Wait::Nfs),
            ("nfs_wait_bit_killable", Wait::Nfs),
            ("request_wait_answer", Wait::Fuse),
            ("fuse_dev_do_read", Wait::Fuse),
            ("jbd2_log_wait_commit", Wait::Journal),
            ("folio_wait_bit_common", Wait::Disk),
            ("kernel_clone", Wait::Child),
            ("rwsem_down_write_slowpath", Wait::Lock),
        ];
        for (channel, wait) in known {
            assert_eq!(Wait::of(channel), Some(wait), "{channel}");
        }
        assert_eq!(Wait::of("do_something_new"), None);
    }

    #[test]
    fn the_deepest_mount_and_the_uppermost() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /srv rw - ext4 /dev/sdb1 rw\n\
            3 1 0:40 / /srv rw - nfs4 nas:/srv rw\n4 1 8:3 / /srvx rw - ext4 /dev/sdc1 rw\n";
        let mounts = mountinfo::parse(text);
        let source = |path: &str| on(&mounts, Path::new(path)).map(|mount| mount.source.to_string());
        assert_eq!(source("/srv/a"), Some("nas:/srv".to_owned()));
        assert_eq!((source("/srvx/a"), source("/a")), (Some("/dev/sdc1".into()), Some("/dev/sda1".into())));
        assert_eq!(source("socket:[1]"), None);
    }
}
