//! Reading inside a target, and never outside of it.
//!
//! A [`Root`] is a directory that is taken for `/`. Every path given to it is a path *of the target*: absolute links
//! and `..` stay inside, whatever the target's owner, or an attacker, put there. On kernels from 5.6 on openat2(2)
//! does the resolution; on older ones, and under seccomp filters that refuse it, [`walk`] does the same step by step.
//!
//! Nothing here waits and nothing here has side effects: what is not a regular file is refused before it is opened
//! (opening a FIFO waits for its writer, opening a tape rewinds it, opening a watchdog starts it).

#[cfg(test)]
mod tests;
mod walk;

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use sickbay_formats::digest::Digest;

use crate::archive::Told;
use crate::ids::Ids;
use crate::snapshot::{Opened, Refusal, Snapshot};
use crate::{OpenError, sys, xattr};

/// The most bytes that [`Root::read`] reads of one file: 16 MiB. Configuration is far smaller; a sparse file of
/// 2 GiB in its place must not fill the memory of the machine that looks at it.
pub const READ_LIMIT: u64 = 16 << 20;

/// The most entries that [`Root::read_dir`] lists of one directory.
pub const DIR_LIMIT: usize = 1 << 18;

/// A directory that is taken for `/`: the host's own, a mounted root, or the root file system of a disk.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    by_kernel: bool,
    /// There are no files at all, and `dir` is nothing that could hold any.
    is_none: bool,
    /// What answers in its place.
    snapshot: Option<Arc<Snapshot>>,
    pub(crate) met: Met,
    pub(crate) ids: Ids,
    /// What an archive tells of files that were made of it.
    pub(crate) told: Option<Arc<Told>>,
}

/// Why something in the target could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}", sentence(.path, .reason))]
pub struct ReadError {
    /// The path as it was asked for, inside the target.
    pub path: PathBuf,
    /// What was in the way.
    pub reason: Reason,
}

/// What was in the way of a [`ReadError`].
#[derive(Debug)]
pub enum Reason {
    /// It, a directory above it, or what a link on the way points to, is not there (`ENOENT`).
    NotFound,
    /// Something above it is no directory, or a directory was asked for and it is none (`ENOTDIR`).
    NotADirectory,
    /// A regular file was asked for, and it is something else.
    IsA(FileKind),
    /// It is larger than the caller is ready to read.
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
    /// The archive does not tell it.
    NotTold,
    /// The target has no files: it is a log.
    NoFiles,
    /// It is a bundle, and that is not in it, for this reason.
    NotCollected(String),
    /// Anything else that the kernel said, for example `EIO` from a failing disk.
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

/// Something that could not be read, although nobody says that it is not there: see [`Root::take_unread`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The path, inside the target.
    pub path: PathBuf,
    /// The whole sentence.
    pub why: String,
    /// It is not in the bundle.
    pub is_uncollected: bool,
    /// It was for want of descriptors or memory of this process: nothing that was looked at meanwhile can be relied on.
    pub is_want: bool,
}

thread_local! {
    /// What this thread could not read, each with the number of its root.
    static UNREAD: RefCell<Vec<(usize, Unread)>> = const { RefCell::new(Vec::new()) };
}

/// So many are remembered; one alone makes an answer doubtful.
const UNREAD_LIMIT: usize = 256;

/// Notes what looks at one target met: shared by everything that reads through its root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Met {
    damage: Arc<AtomicBool>,
}

impl Met {
    fn number(&self) -> usize {
        Arc::as_ptr(&self.damage).addr()
    }

    /// What the kernel refused.
    pub(crate) fn fail(&self, path: &Path, errno: Errno) -> ReadError {
        self.noted(error(path, Reason::of(errno)))
    }

    pub(crate) fn fail_io(&self, path: &Path, why: io::Error) -> ReadError {
        self.noted(io_error(path, why))
    }

    fn noted(&self, error: ReadError) -> ReadError {
        let errno = match &error.reason {
            Reason::Denied => libc::EACCES,
            Reason::Io(why) => why.raw_os_error().unwrap_or(0),
            // What stands in the way must not be taken for nothing either.
            Reason::TooLarge { .. } | Reason::LeftPacked => libc::EFBIG,
            Reason::NotCollected(_) => {
                let (path, why) = (error.path.clone(), error.to_string());
                self.note([Unread { path, why, is_uncollected: true, is_want: false }]);
                return error;
            }
            _ => return error,
        };
        if matches!(errno, libc::EUCLEAN | libc::EBADMSG | libc::EIO) {
            self.damage.store(true, Ordering::Relaxed);
        }
        let is_want = matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM);
        // The kernel's own files answer with errors to say what they have to say: a process is gone, a link is down.
        let is_kernels = error.path.iter().nth(1).and_then(|name| name.to_str()).is_some_and(|name| {
            // `/proc@10:36:02`: what it said at a moment.
            matches!(name.split('@').next(), Some("proc" | "sys")) || name == "dev"
        });
        // To whom it may be shown is no question of whether it could be read: users are told where it matters.
        let is_users = errno == libc::EACCES && !rustix::process::geteuid().is_root();
        if is_want || !(is_kernels || is_users) {
            let (path, why) = (error.path.clone(), error.to_string());
            let unread = Unread { path, why, is_uncollected: false, is_want };
            self.note([unread]);
        }
        error
    }

    fn note(&self, list: impl IntoIterator<Item = Unread>) {
        UNREAD.with_borrow_mut(|all| {
            for unread in list {
                if all.len() < UNREAD_LIMIT || unread.is_want {
                    all.push((self.number(), unread));
                }
            }
        });
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
    fn of(kind: FileType) -> Option<FileKind> {
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

/// What stat(2) tells of a file.
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
    /// The last change of the content or of anything told here, in the same form.
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

/// How full a file system is, as statvfs(3) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystemUse {
    /// Its size in bytes.
    pub size: u64,
    /// Free bytes, with those kept for root.
    pub free: u64,
    /// Free bytes for everybody.
    pub available: u64,
    /// The number of inodes; 0 where the file system makes them as needed (btrfs).
    pub inodes: u64,
    /// The number of free inodes.
    pub inodes_free: u64,
    /// Mounted read-only.
    pub read_only: bool,
    /// The size of a block in bytes.
    pub block: u64,
    /// What kind it is: `f_type` of statfs(2), see [`FileSystemUse::EXT`] and the others.
    pub magic: u64,
}

impl FileSystemUse {
    /// ext2, ext3 and ext4 (include/uapi/linux/magic.h).
    pub const EXT: u64 = 0xEF53;
    /// XFS.
    pub const XFS: u64 = 0x5846_5342;
    /// btrfs.
    pub const BTRFS: u64 = 0x9123_683E;
    /// F2FS.
    pub const F2FS: u64 = 0xF2F5_2010;

    /// The number of a kind, by the name that mount(8) has for it; 0 for one that is not among the above.
    pub(crate) fn magic_of(name: &[u8]) -> u64 {
        match name {
            b"ext2" | b"ext3" | b"ext4" => FileSystemUse::EXT,
            b"xfs" => FileSystemUse::XFS,
            b"btrfs" => FileSystemUse::BTRFS,
            b"f2fs" => FileSystemUse::F2FS,
            _ => 0,
        }
    }

    /// Free bytes for root.
    ///
    /// ext counts what it keeps for root as free, and what it never gives away: 2 % of its clusters, at most 4096
    /// (fs/ext4/super.c, ext4_calculate_resv_clusters(); the size told here is without the file system's own tables). XFS keeps
    /// a twentieth, at most 8192 blocks (fs/xfs/xfs_mount.c, xfs_default_resblks()), and some for the growth of its trees, from
    /// the moment on when it is mounted for writing: half a percent and 4 MiB is what those of RHEL 7 to 9 come to. What btrfs
    /// has free beyond `available` is in chunks of a kind that has not run out.
    pub fn for_root(&self) -> u64 {
        let kept = match self.magic {
            FileSystemUse::EXT => (self.size / 40).min(self.block.saturating_mul(4096)),
            FileSystemUse::XFS if self.read_only => {
                (self.size / 20).min(self.block.saturating_mul(8192)) + self.size / 200 + (4 << 20)
            }
            FileSystemUse::BTRFS => return self.available,
            _ => 0,
        };
        // What everybody may have root may have.
        let open = if self.magic == FileSystemUse::XFS { 0 } else { self.available };
        self.free.saturating_sub(kept).max(open)
    }
}

/// Flags of every open: no waiting for a FIFO or a terminal, no descriptor in child processes.
pub(crate) const QUIET: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

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
        let by_kernel = openat2(dir.as_fd(), Path::new("/"), OFlags::PATH).is_ok();
        let ids = Ids::of(dir.as_fd());
        Root { dir, by_kernel, is_none: false, snapshot: None, met: Met::default(), ids, told: None }
    }

    /// The directory that an archive was unpacked to, with what it tells of its members.
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

    /// What a target without files has: every look through it is an error.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub(crate) fn none() -> io::Result<Root> {
        let nothing = rustix::fs::memfd_create("nothing", rustix::fs::MemfdFlags::CLOEXEC)?;
        let (snapshot, met, ids) = (None, Met::default(), Ids::default());
        Ok(Root { dir: nothing, by_kernel: false, is_none: true, snapshot, met, ids, told: None })
    }

    /// What answers from a snapshot. `met` is that of the root of which it is taken.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub(crate) fn of_snapshot(snapshot: Arc<Snapshot>, met: Met) -> io::Result<Root> {
        Ok(Root { snapshot: Some(snapshot), met, ..Root::none()? })
    }

    /// What answers in its place.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// Something that no file tells, by what was asked: `live` asks the running system. A bundle holds the answer.
    ///
    /// # Errors
    /// Those of `live`; where it was not collected.
    pub fn ask(&self, question: &str, live: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
        match &self.snapshot {
            Some(snapshot) => snapshot.answer(question, live),
            None => live(),
        }
    }

    /// Whether the content of a regular file is what a digest says. A bundle has the answer, not the content.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn fits(&self, path: impl AsRef<Path>, digest: &Digest) -> Result<bool, ReadError> {
        let path = path.as_ref();
        let Some(snapshot) = &self.snapshot else {
            let (file, _) = self.open_real(path)?;
            return digest.fits_read(file).map_err(|e| self.met.fail_io(path, e));
        };
        let live = || {
            let source = snapshot.source().ok_or(io::ErrorKind::Unsupported)?;
            Ok(vec![u8::from(source.fits(path, digest).map_err(|error| Refusal::of(&error.reason).io())?)])
        };
        let answer = snapshot.answer(&format!("{digest:?} of {}", path.display()), live);
        answer.map(|fits| fits == [1]).map_err(|e| io_error(path, e))
    }

    fn refuse(&self, path: &Path, refusal: &Refusal) -> ReadError {
        let error = error(path, refusal.reason());
        // Of the kernel's files, too, what was left out for want of room or time must not be taken for absent.
        let is_late = matches!(refusal, Refusal::Errno(libc::ETIMEDOUT));
        if is_late || matches!(refusal, Refusal::TooLarge { .. }) {
            let unread =
                Unread { path: path.to_owned(), why: error.to_string(), is_uncollected: false, is_want: is_late };
            self.met.note([unread]);
            return error;
        }
        self.met.noted(error)
    }

    /// Whether, so far, the kernel answered a look with what it says of damaged file systems: `EUCLEAN`, `EBADMSG`,
    /// `EIO`. A hint to look at them with their checkers.
    pub fn met_damage(&self) -> bool {
        self.met.damage.load(Ordering::Relaxed)
    }

    /// What this thread could not read through it since it last asked, although nobody says that it is not there: what
    /// was taken for absent because of that may be there.
    pub fn take_unread(&self) -> Vec<Unread> {
        let number = self.met.number();
        UNREAD
            .with_borrow_mut(|all| all.extract_if(.., |(root, _)| *root == number).map(|(_, unread)| unread).collect())
    }

    /// Notes again what was taken, for this thread: it goes on with what another one could not wholly read.
    pub fn note_unread(&self, list: &[Unread]) {
        self.met.note(list.iter().cloned());
    }

    /// The directory itself, for calls that take one (an `O_PATH` descriptor).
    pub fn as_dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// What a process of the running system takes for its root: another than ours where it has a mount namespace of its
    /// own. Only for the root of the running system.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn of_process(&self, pid: u32) -> Result<Root, ReadError> {
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        if self.snapshot.is_some() {
            return Err(error(&path, Reason::NotCollected("what other mount namespaces hold is not collected".into())));
        }
        let proc = self.resolve(Path::new("/proc"), OFlags::DIRECTORY)?;
        // The link is one of the kernel's own, which no resolution inside a directory follows.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&proc, format!("{pid}/root"), flags, Mode::empty())
            .map_err(|errno| self.met.fail(&path, errno))?;
        let (by_kernel, met, ids) = (self.by_kernel, self.met.clone(), self.ids);
        Ok(Root { dir, by_kernel, is_none: false, snapshot: None, met, ids, told: None })
    }

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
        if let Some(snapshot) = &self.snapshot {
            let live = || {
                let source = snapshot.source().ok_or(io::ErrorKind::Unsupported)?;
                let (is_mounted, is_of_above) = source.mounted().map_err(io::Error::other)?;
                Ok(vec![u8::from(is_mounted), u8::from(is_of_above)])
            };
            let told = snapshot.answer("mounted", live).map_err(|e| io_error(path, e))?;
            return Ok((told.first() == Some(&1), told.get(1) == Some(&1)));
        }
        if self.is_none {
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

    /// Another handle on the same directory.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub fn try_clone(&self) -> io::Result<Root> {
        let dir = self.dir.try_clone()?;
        let told = self.told.clone();
        let (by_kernel, is_none, met, ids) = (self.by_kernel, self.is_none, self.met.clone(), self.ids);
        Ok(Root { dir, by_kernel, is_none, snapshot: self.snapshot.clone(), met, ids, told })
    }

    /// The bytes of a regular file of at most [`READ_LIMIT`].
    ///
    /// # Errors
    /// See [`Reason`]; never waits.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, ReadError> {
        self.read_up_to(path, READ_LIMIT)
    }

    /// The bytes of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read_up_to(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, ReadError> {
        let path = path.as_ref();
        if let Some(snapshot) = &self.snapshot {
            let content = snapshot.walk(path, true).and_then(|real| snapshot.content(&real));
            let content = content.map_err(|refusal| match refusal {
                // More than the caller wants anyhow.
                Refusal::TooLarge { size, .. } if size > limit => error(path, Reason::TooLarge { size, limit }),
                refusal => self.refuse(path, &refusal),
            })?;
            let size = content.bytes.len() as u64;
            return if size > limit {
                Err(error(path, Reason::TooLarge { size, limit }))
            } else {
                Ok(content.bytes.to_vec())
            };
        }
        let (file, size) = self.open_real(path)?;
        if size > limit {
            return Err(error(path, Reason::TooLarge { size, limit }));
        }
        // Files in /proc say that they have 0 bytes, those in /sys 4096: only reading tells. One byte more than
        // announced lets the end be seen without growing the buffer.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| self.met.fail_io(path, e))?;
        if bytes.len() as u64 > limit {
            return Err(error(path, Reason::TooLarge { size: bytes.len() as u64, limit }));
        }
        Ok(bytes)
    }

    /// The first `n` bytes of a regular file, or all of a shorter one.
    ///
    /// # Errors
    /// As [`Root::read`], but never [`Reason::TooLarge`].
    pub fn read_head(&self, path: impl AsRef<Path>, n: usize) -> Result<Vec<u8>, ReadError> {
        let path = path.as_ref();
        let file = self.open(path)?;
        let mut bytes = Vec::new();
        file.take(n as u64).read_to_end(&mut bytes).map_err(|e| self.met.fail_io(path, e))?;
        Ok(bytes)
    }

    /// A regular file, open for reading: for what is too large to be held in memory.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Opened, ReadError> {
        let path = path.as_ref();
        let Some(snapshot) = &self.snapshot else {
            return self.open_real(path).map(|(file, _)| Opened::file(file));
        };
        let open = || {
            let real = snapshot.walk(path, true)?;
            let meta = snapshot.meta(&real)?;
            if snapshot.is_by_blocks(&real, &meta)? {
                return Ok(Opened::blocks(Arc::clone(snapshot), real, meta.size));
            }
            Ok(Opened::bytes(snapshot.content(&real)?.bytes))
        };
        open().map_err(|refusal: Refusal| self.refuse(path, &refusal))
    }

    /// What stat(2) tells; the last link of the path is not followed.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata, ReadError> {
        self.metadata_of(path.as_ref(), OFlags::NOFOLLOW)
    }

    /// What stat(2) tells of what the path leads to in the end, inside the target.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<Metadata, ReadError> {
        self.metadata_of(path.as_ref(), OFlags::empty())
    }

    /// Whether the path leads to something. A link that dangles or loops leads to nothing.
    ///
    /// # Errors
    /// When that cannot be told, commonly [`Reason::Denied`].
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool, ReadError> {
        match self.stat(path) {
            Ok(_) => Ok(true),
            Err(ReadError { reason: Reason::NotFound | Reason::NotADirectory | Reason::LinkLoop, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What stat(2) tells of what one of the kernel's own links leads to, of a snapshot.
    pub(crate) fn beyond(&self, path: &Path) -> Result<Metadata, ReadError> {
        let Some(snapshot) = &self.snapshot else { return self.stat(path) };
        let told = snapshot.walk(path, false).and_then(|real| snapshot.beyond(&real));
        told.map_err(|refusal| self.refuse(path, &refusal))
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// See [`Reason`]; [`Reason::IsA`] when it is no link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, ReadError> {
        let path = path.as_ref();
        if let Some(snapshot) = &self.snapshot {
            let link = snapshot.walk(path, false).and_then(|real| snapshot.link(&real));
            return link.map_err(|refusal| self.refuse(path, &refusal));
        }
        let fd = self.resolve(path, OFlags::NOFOLLOW)?;
        let kind = self.metadata_of_fd(path, fd.as_fd())?.kind;
        if kind != FileKind::Symlink {
            return Err(error(path, Reason::IsA(kind)));
        }
        let text = rustix::fs::readlinkat(&fd, c"", Vec::new()).map_err(|e| self.met.fail(path, e))?;
        Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
    }

    /// The entries of a directory without `.` and `..`, sorted by name.
    ///
    /// # Errors
    /// See [`Reason`]; [`Reason::TooLarge`] from [`DIR_LIMIT`] entries on.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>, ReadError> {
        let path = path.as_ref();
        let (entries, is_all) = self.read_dir_up_to(path, DIR_LIMIT)?;
        if !is_all {
            let limit = DIR_LIMIT as u64;
            return Err(self.met.noted(error(path, Reason::TooLarge { size: limit + 1, limit })));
        }
        Ok(entries)
    }

    /// At most `limit` entries of a directory, whichever come first, sorted by name; and whether these are all.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn read_dir_up_to(&self, path: impl AsRef<Path>, limit: usize) -> Result<(Vec<DirEntry>, bool), ReadError> {
        let path = path.as_ref();
        if let Some(snapshot) = &self.snapshot {
            let list = snapshot.walk(path, true).and_then(|real| {
                let kind = snapshot.meta(&real)?.kind;
                if kind == FileKind::Dir { snapshot.listing(&real, limit) } else { Err(Refusal::NotADirectory) }
            });
            return list.map_err(|refusal| self.refuse(path, &refusal));
        }
        let fail = |errno| self.met.fail(path, errno);
        let dir = self.open_quietly(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        let mut is_all = true;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut raw = RawDir::new(&dir, buffer.spare_capacity_mut());
        while let Some(entry) = raw.next() {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entries.len() == limit {
                is_all = false;
                break;
            }
            let kind = match FileKind::of(entry.file_type()) {
                Some(kind) => kind,
                // Not every file system stores the kind in the directory.
                None => match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => Metadata::of(&stat).kind,
                    Err(Errno::NOENT) => continue, // removed meanwhile
                    Err(errno) => return Err(fail(errno)),
                },
            };
            entries.push(DirEntry { name: OsStr::from_bytes(name.to_bytes()).to_owned(), kind });
        }
        entries.sort_unstable();
        Ok((entries, is_all))
    }

    /// The path without links, `.` and `..`: where in the target the path leads to in the end.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn canonical(&self, path: impl AsRef<Path>) -> Result<PathBuf, ReadError> {
        let path = path.as_ref();
        if let Some(snapshot) = &self.snapshot {
            return snapshot.walk(path, true).map_err(|refusal| self.refuse(path, &refusal));
        }
        self.has_files(path)?;
        walk::walk(self.as_dir(), path, true).map(|found| found.path()).map_err(|e| self.met.fail(path, e))
    }

    /// The extended attributes (security labels, ACLs, capabilities), sorted by name; the last link is not followed.
    ///
    /// # Errors
    /// See [`Reason`]. Those of a link or a special file can only be told where `/proc` is mounted.
    pub fn xattrs(&self, path: impl AsRef<Path>) -> Result<Vec<(OsString, Vec<u8>)>, ReadError> {
        let path = path.as_ref();
        if let Some(snapshot) = &self.snapshot {
            let list = snapshot.walk(path, false).and_then(|real| snapshot.xattrs(&real));
            return list.map_err(|refusal| self.refuse(path, &refusal));
        }
        let fd = self.resolve(path, OFlags::NOFOLLOW)?;
        let found = self.metadata_of_fd(path, fd.as_fd())?;
        if let Some(told) = &self.told {
            return told.attributes(found.ino).ok_or_else(|| error(path, Reason::NotTold));
        }
        match found.kind {
            FileKind::File | FileKind::Dir => xattr::of_open(self.open_quietly(path, OFlags::RDONLY)?.as_fd()),
            _ => xattr::of_path(fd.as_fd()),
        }
        .map_err(|e| self.met.fail(path, e))
    }

    /// How full the file system is that holds the path.
    ///
    /// # Errors
    /// See [`Reason`].
    #[allow(clippy::unnecessary_cast)] // the width of `f_type` differs between architectures
    pub fn statvfs(&self, path: impl AsRef<Path>) -> Result<FileSystemUse, ReadError> {
        let path = path.as_ref();
        if let Some(snapshot) = &self.snapshot {
            let told = snapshot.walk(path, true).and_then(|real| snapshot.space(&real));
            return told.map_err(|refusal| self.refuse(path, &refusal));
        }
        let fd = self.resolve(path, OFlags::empty())?;
        let told = rustix::fs::fstatvfs(&fd).map_err(|e| self.met.fail(path, e))?;
        let kind = rustix::fs::fstatfs(&fd).map_err(|e| self.met.fail(path, e))?;
        Ok(FileSystemUse {
            size: told.f_blocks.saturating_mul(told.f_frsize),
            free: told.f_bfree.saturating_mul(told.f_frsize),
            available: told.f_bavail.saturating_mul(told.f_frsize),
            inodes: told.f_files,
            inodes_free: told.f_ffree,
            read_only: told.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
            block: told.f_frsize,
            magic: kind.f_type as u64 & 0xFFFF_FFFF,
        })
    }

    fn has_files(&self, path: &Path) -> Result<(), ReadError> {
        if self.snapshot.is_some() {
            return Err(error(path, Reason::NotCollected("it can only be asked of a running system or a disk".into())));
        }
        if self.is_none { Err(error(path, Reason::NoFiles)) } else { Ok(()) }
    }

    fn metadata_of_fd(&self, path: &Path, fd: BorrowedFd<'_>) -> Result<Metadata, ReadError> {
        metadata_of_fd(fd).map_err(|errno| self.met.fail(path, errno))
    }

    fn metadata_of(&self, path: &Path, flags: OFlags) -> Result<Metadata, ReadError> {
        if let Some(snapshot) = &self.snapshot {
            let told = snapshot.walk(path, !flags.contains(OFlags::NOFOLLOW)).and_then(|real| snapshot.meta(&real));
            return told.map_err(|refusal| self.refuse(path, &refusal));
        }
        let fd = self.resolve(path, flags)?;
        let found = self.metadata_of_fd(path, fd.as_fd())?;
        Ok(match &self.told {
            Some(told) => told.of(found),
            None => self.ids.inside(found),
        })
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
fn openat2(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
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

pub(crate) fn metadata_of_fd(fd: BorrowedFd<'_>) -> Result<Metadata, Errno> {
    rustix::fs::fstat(fd).map(|stat| Metadata::of(&stat))
}

pub(crate) fn error(path: &Path, reason: Reason) -> ReadError {
    ReadError { path: path.to_owned(), reason }
}

pub(crate) fn io_error(path: &Path, error_: io::Error) -> ReadError {
    let reason = match Errno::from_io_error(&error_) {
        Some(errno) => Reason::of(errno),
        None => Reason::Io(error_),
    };
    error(path, reason)
}
