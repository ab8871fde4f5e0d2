//! Writing inside a target, and never outside of it.
//!
//! The directory of every path is resolved as [`Root`] resolves; its last name is never followed when it is a link.
//! Whoever writes a target lives with power losses: what each call promises of the disk is said at each.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use sickbay_formats::network::piece::Order;

use crate::kernel_value::{kernel_path, plain_value};
use crate::root::{FileKind, Metadata, Reason, Root};
use crate::xattr;

/// Writes inside a target that was opened with [`Access::ReadWrite`](crate::Access::ReadWrite).
#[derive(Debug)]
pub struct Writer {
    root: Root,
    is_host: bool,
}

/// Why something in the target could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be {done}: {source}{}", .path.display(), hint(*.immutable))]
pub struct WriteError {
    /// The path inside the target.
    pub path: PathBuf,
    /// What was to be done with it, for example "replaced".
    pub done: &'static str,
    /// It, or the directory that holds it, carries the immutable flag of chattr(1), so that not even root may.
    pub immutable: bool,
    /// The kernel's answer.
    pub source: io::Error,
}

fn hint(immutable: bool) -> &'static str {
    if immutable { "; it is immutable, `chattr -i` makes it writable" } else { "" }
}

/// The times of a file: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The last access.
    pub atime: (i64, u32),
    /// The last change of the content.
    pub mtime: (i64, u32),
}

/// Everything about a file that is not its content and that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The permission bits with set-user-ID, set-group-ID and sticky. A link has none; its are ignored.
    pub mode: u32,
    /// The user ID of the owner.
    pub uid: u32,
    /// The group ID.
    pub gid: u32,
    /// The times.
    pub times: Times,
    /// All extended attributes: what is not among them is removed.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

/// A lock held until this is dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

type Done = Result<(), WriteError>;

/// One entry of a directory of the target.
struct Entry<'p> {
    path: &'p Path,
    dir: OwnedFd,
    name: OsString,
}

impl Writer {
    pub(crate) fn new(root: Root, is_host: bool) -> Writer {
        Writer { root, is_host }
    }

    /// The attributes with the ids that are to be stored.
    fn stored(&self, attributes: &Attributes) -> Attributes {
        let (uid, gid) = self.root.ids.stored((attributes.uid, attributes.gid));
        Attributes { uid, gid, ..attributes.clone() }
    }

    /// Puts a new content in the place of a file or link, or makes the file: a new file `temporary` beside it is
    /// written, flushed and renamed over it, so that a power loss leaves the old or the new one, whole.
    ///
    /// On the disk when it returns.
    ///
    /// # Errors
    /// The kernel's; nothing has changed then. `EEXIST` when `temporary` exists.
    pub fn replace(&self, path: &Path, content: &[u8], attributes: &Attributes, temporary: &str) -> Done {
        let attributes = self.stored(attributes);
        let entry = self.entry(path, "replaced")?;
        let temporary = OsStr::new(temporary);
        let write = |file: File| -> io::Result<()> {
            fault()?;
            match write_all(&file, content) {
                // What is taken back to a full file system may need a block more than it did where it lay.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => write_with_holes(&file, content)?,
                written => written?,
            }
            set_attributes(Handle::Open(file.as_fd()), &attributes)?;
            rustix::fs::futimens(&file, &timestamps(attributes.times))?;
            file.sync_all()
        };
        let result = create(entry.dir.as_fd(), temporary, 0o600)
            .and_then(|file| write(file).inspect_err(|_| unlink(entry.dir.as_fd(), temporary)))
            .and_then(|()| entry.take_place(temporary));
        result.map_err(|e| entry.error("replaced", e))
    }

    /// Makes a file that must not be there yet; of the user who runs this. Its content is on the disk when it returns,
    /// its name after [`Writer::sync_dir`] of the directory.
    ///
    /// # Errors
    /// The kernel's; `EEXIST` when something is there.
    pub fn write_new(&self, path: &Path, content: &[u8], mode: u32) -> Done {
        let entry = self.entry(path, "written")?;
        let write = |file: File| -> io::Result<()> {
            fault()?;
            write_all(&file, content)?;
            // What we make is root's in a container's root, too.
            let (uid, gid) = self.root.ids.stored((0, 0));
            if (uid, gid) != (0, 0) {
                rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            file.sync_all()
        };
        create(entry.dir.as_fd(), &entry.name, 0o600)
            .and_then(|file| write(file).inspect_err(|_| unlink(entry.dir.as_fd(), &entry.name)))
            .map_err(|e| entry.error("written", e))
    }

    /// Puts a symbolic link to `to` in the place of a file or link, or makes the link, in the way of
    /// [`Writer::replace`].
    ///
    /// # Errors
    /// The kernel's; nothing has changed then.
    pub fn link(&self, path: &Path, to: &Path, attributes: &Attributes, temporary: &str) -> Done {
        let attributes = self.stored(attributes);
        let entry = self.entry(path, "linked")?;
        let temporary = OsStr::new(temporary);
        let dress = || -> io::Result<()> {
            fault()?;
            let new = Entry { path, dir: entry.dir.try_clone()?, name: temporary.to_owned() };
            new.set_attributes(&attributes)
        };
        fault()
            .and_then(|()| Ok(rustix::fs::symlinkat(to, &entry.dir, temporary)?))
            .and_then(|()| dress().inspect_err(|_| unlink(entry.dir.as_fd(), temporary)))
            .and_then(|()| entry.take_place(temporary))
            .map_err(|e| entry.error("linked", e))
    }

    /// Makes a directory. On the disk when it returns.
    ///
    /// # Errors
    /// The kernel's; `EEXIST` when something is there.
    pub fn make_dir(&self, path: &Path, mode: u32, owner: (u32, u32)) -> Done {
        let entry = self.entry(path, "made")?;
        let owner = self.root.ids.stored(owner);
        let make = || -> io::Result<()> {
            fault()?;
            rustix::fs::mkdirat(&entry.dir, &entry.name, Mode::RWXU)?;
            fault()?;
            let dir = entry.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::fchown(&dir, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode))?;
            rustix::fs::fsync(&dir)?;
            Ok(rustix::fs::fsync(&entry.dir)?)
        };
        make().map_err(|e| entry.error("made", e))
    }

    /// Removes a file, a link, a special file or an empty directory. On the disk when it returns.
    ///
    /// # Errors
    /// The kernel's; `ENOTEMPTY` for a directory that holds something.
    pub fn remove(&self, path: &Path) -> Done {
        let entry = self.entry(path, "removed")?;
        let remove = || -> io::Result<()> {
            let flags = if entry.kind()? == FileKind::Dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            fault()?;
            rustix::fs::unlinkat(&entry.dir, &entry.name, flags)?;
            Ok(rustix::fs::fsync(&entry.dir)?)
        };
        remove().map_err(|e| entry.error("removed", e))
    }

    /// Gives something another name, over what has it, as rename(2) does. On the disk when it returns.
    ///
    /// # Errors
    /// The kernel's; nothing has changed then.
    pub fn rename(&self, from: &Path, to: &Path) -> Done {
        let old = self.entry(from, "renamed")?;
        let new = self.entry(to, "renamed to")?;
        let rename = || -> io::Result<()> {
            fault()?;
            rustix::fs::renameat(&old.dir, &old.name, &new.dir, &new.name)?;
            rustix::fs::fsync(&new.dir)?;
            Ok(rustix::fs::fsync(&old.dir)?)
        };
        rename().map_err(|e| old.error("renamed", e))
    }

    /// Gives a file one name more (link(2)); what `new` says must not be there. On the disk when it returns.
    ///
    /// # Errors
    /// The kernel's; `EXDEV` when the other name would be on another file system.
    pub fn hard_link(&self, path: &Path, new: &Path) -> Done {
        let old = self.entry(path, "linked")?;
        let other = self.entry(new, "made")?;
        let link = || -> io::Result<()> {
            fault()?;
            rustix::fs::linkat(&old.dir, &old.name, &other.dir, &other.name, AtFlags::empty())?;
            Ok(rustix::fs::fsync(&other.dir)?)
        };
        link().map_err(|e| other.error("made", e))
    }

    /// Sets mode, owner, times and extended attributes. On the disk after [`Writer::sync`].
    ///
    /// # Errors
    /// The kernel's; some may be set then.
    pub fn set_attributes(&self, path: &Path, attributes: &Attributes) -> Done {
        let attributes = self.stored(attributes);
        let entry = self.entry(path, "given its attributes")?;
        entry.set_attributes(&attributes).map_err(|e| entry.error("given its attributes", e))
    }

    /// Sets the permission bits; those of a link, which has none, are left. On the disk after [`Writer::sync`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_mode(&self, path: &Path, mode: u32) -> Done {
        let entry = self.entry(path, "given its mode")?;
        let set = || entry.with_handle(|handle| handle.set_mode(mode));
        set().map_err(|e| entry.error("given its mode", e))
    }

    /// Sets user and group. As chown(2), takes set-user-ID bits and capabilities away. On the disk after
    /// [`Writer::sync`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> Done {
        let entry = self.entry(path, "given its owner")?;
        let (uid, gid) = self.root.ids.stored((uid, gid));
        let set = || entry.with_handle(|handle| handle.set_owner(uid, gid));
        set().map_err(|e| entry.error("given its owner", e))
    }

    /// Sets the times, of a link too. On the disk after [`Writer::sync`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_times(&self, path: &Path, times: Times) -> Done {
        let entry = self.entry(path, "given its times")?;
        entry.set_times(times).map_err(|e| entry.error("given its times", e))
    }

    /// Sets one extended attribute. On the disk after [`Writer::sync`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_xattr(&self, path: &Path, name: &OsStr, value: &[u8]) -> Done {
        let entry = self.entry(path, "given an extended attribute")?;
        let set = || entry.with_handle(|handle| handle.set_xattr(name, value));
        set().map_err(|e| entry.error("given an extended attribute", e))
    }

    /// Removes one extended attribute. On the disk after [`Writer::sync`].
    ///
    /// # Errors
    /// The kernel's; `ENODATA` when it has none of that name.
    pub fn remove_xattr(&self, path: &Path, name: &OsStr) -> Done {
        let entry = self.entry(path, "stripped of an extended attribute")?;
        let remove = || entry.with_handle(|handle| handle.remove_xattr(name));
        remove().map_err(|e| entry.error("stripped of an extended attribute", e))
    }

    /// Brings the names in a directory to the disk.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync_dir(&self, path: &Path) -> Done {
        let dir = self.open_dir(path, "flushed to the disk")?;
        rustix::fs::fsync(&dir).map_err(|e| error(path, "flushed to the disk", e.into()))
    }

    /// Brings everything on the file system that holds `path` to the disk.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync(&self, path: &Path) -> Done {
        let dir = self.open_dir(path, "flushed to the disk")?;
        rustix::fs::syncfs(&dir).map_err(|e| error(path, "flushed to the disk", e.into()))
    }

    /// Takes the exclusive lock of a file or directory (flock(2)), without waiting.
    ///
    /// # Errors
    /// The kernel's; `EWOULDBLOCK` when another holds it.
    pub fn lock(&self, path: &Path) -> Result<Lock, WriteError> {
        let entry = self.entry(path, "locked")?;
        let lock = || -> io::Result<Lock> {
            if !matches!(entry.kind()?, FileKind::File | FileKind::Dir) {
                return Err(Errno::INVAL.into());
            }
            let file = entry.open(OFlags::RDONLY)?;
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            Ok(Lock { _file: file })
        };
        lock().map_err(|e| entry.error("locked", e))
    }

    /// Sets a value of the running kernel, by its name (see [`crate::kernel_path`]), and reads it back. Lasts until the next
    /// boot.
    ///
    /// # Errors
    /// `ENOSYS` for a target that does not run; `EINVAL` for what may not be set, and where the kernel keeps another value; the
    /// kernel's.
    pub fn write_kernel(&self, name: &str, value: &str) -> Done {
        let Some(path) = kernel_path(name) else {
            return Err(error(Path::new(name), "set", Errno::INVAL.into()));
        };
        let fail = |e: io::Error| error(&path, "set", e);
        if !self.is_host {
            return Err(fail(Errno::NOSYS.into()));
        }
        let entry = self.entry(&path, "set")?;
        fault().map_err(fail)?;
        let file = entry.open(OFlags::WRONLY | OFlags::TRUNC).map_err(|e| fail(e.into()))?;
        // One write: the kernel takes each write as a whole value.
        let line = format!("{value}\n");
        let written = rustix::io::write(&file, line.as_bytes()).map_err(|e| fail(e.into()))?;
        // The kernel may round, or do what it can of what was asked.
        let kept = || Some(plain_value(&String::from_utf8_lossy(&self.root.read(&path).ok()?)));
        let is_kept = written == line.len() && kept().is_none_or(|kept| kept == plain_value(value));
        if is_kept { Ok(()) } else { Err(fail(Errno::INVAL.into())) }
    }

    /// Makes a change to the running kernel's network, named `what` in an error: a message of rtnetlink(7).
    pub fn change_network(&self, what: &str, order: &Order) -> Done {
        let fail = |e: io::Error| error(Path::new(what), "set", e);
        if !self.is_host {
            return Err(fail(Errno::NOSYS.into()));
        }
        fault().map_err(fail)?;
        crate::netlink::change(order.request, order.flags, &order.body).map_err(fail)
    }

    /// Lets `change` make other flags (chattr(1)) of those of a file or directory.
    pub(crate) fn change_flags(&self, path: &Path, change: impl FnOnce(IFlags) -> IFlags) -> Done {
        let entry = self.entry(path, "given its flags")?;
        let set = || -> io::Result<()> {
            if !matches!(entry.kind()?, FileKind::File | FileKind::Dir) {
                return Err(Errno::INVAL.into());
            }
            let file = entry.open(OFlags::RDONLY)?;
            let found = rustix::fs::ioctl_getflags(&file)?;
            fault()?;
            Ok(rustix::fs::ioctl_setflags(&file, change(found))?)
        };
        set().map_err(|e| entry.error("given its flags", e))
    }

    fn entry<'p>(&self, path: &'p Path, done: &'static str) -> Result<Entry<'p>, WriteError> {
        let (dir, name) = if path == Path::new("/") {
            // The root directory is an entry of itself.
            (self.root.as_dir().try_clone_to_owned().map_err(|e| error(path, done, e))?, OsString::from("."))
        } else {
            self.root.parent(path).map_err(|e| error(path, done, reason_to_io(e.reason)))?
        };
        // Kept readable, so that it can be flushed; `O_PATH` could not.
        let dir = rustix::fs::openat(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| error(path, done, e.into()))?;
        Ok(Entry { path, dir, name })
    }

    fn open_dir(&self, path: &Path, done: &'static str) -> Result<OwnedFd, WriteError> {
        let dir = self.root.resolve(path, OFlags::DIRECTORY).map_err(|e| error(path, done, reason_to_io(e.reason)))?;
        rustix::fs::openat(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| error(path, done, e.into()))
    }
}

impl Entry<'_> {
    fn kind(&self) -> Result<FileKind, Errno> {
        let stat = rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Metadata::of(&stat).kind)
    }

    fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        rustix::fs::openat(&self.dir, &self.name, flags, Mode::empty())
    }

    /// Hands over a descriptor of the entry, one that is open where opening is harmless.
    fn with_handle<T>(&self, act: impl FnOnce(Handle<'_>) -> io::Result<T>) -> io::Result<T> {
        fault()?;
        match self.kind()? {
            FileKind::File | FileKind::Dir => act(Handle::Open(self.open(OFlags::RDONLY)?.as_fd())),
            FileKind::Symlink => act(Handle::Link(self.open(OFlags::PATH)?.as_fd())),
            _ => act(Handle::Special(self.open(OFlags::PATH)?.as_fd())),
        }
    }

    fn set_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        self.with_handle(|handle| set_attributes(handle, attributes))?;
        self.set_times(attributes.times)
    }

    fn set_times(&self, times: Times) -> io::Result<()> {
        fault()?;
        Ok(rustix::fs::utimensat(&self.dir, &self.name, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Renames what is called `temporary` in the same directory to this entry.
    fn take_place(&self, temporary: &OsStr) -> io::Result<()> {
        fault()
            .and_then(|()| Ok(rustix::fs::renameat(&self.dir, temporary, &self.dir, &self.name)?))
            .inspect_err(|_| unlink(self.dir.as_fd(), temporary))?;
        Ok(rustix::fs::fsync(&self.dir)?)
    }

    fn error(&self, done: &'static str, source: io::Error) -> WriteError {
        let denied = Errno::from_io_error(&source) == Some(Errno::PERM);
        let flagged = |fd: Result<OwnedFd, Errno>| {
            fd.and_then(rustix::fs::ioctl_getflags).is_ok_and(|flags| flags.contains(IFlags::IMMUTABLE))
        };
        let is_openable = matches!(self.kind(), Ok(FileKind::File | FileKind::Dir));
        let immutable = denied
            && ((is_openable && flagged(self.open(OFlags::RDONLY)))
                || self.dir.try_clone().is_ok_and(|dir| flagged(Ok(dir))));
        WriteError { path: self.path.to_owned(), done, immutable, source }
    }
}

/// A descriptor of something whose attributes are set.
#[derive(Clone, Copy)]
enum Handle<'fd> {
    /// A file or directory, open for reading or writing.
    Open(BorrowedFd<'fd>),
    /// A link, by `O_PATH`.
    Link(BorrowedFd<'fd>),
    /// A FIFO, socket or device, by `O_PATH`: opening it could wait, or wake the device.
    Special(BorrowedFd<'fd>),
}

impl Handle<'_> {
    fn set_mode(self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        Ok(match self {
            Handle::Open(fd) => rustix::fs::fchmod(fd, mode),
            Handle::Link(_) => Ok(()),
            Handle::Special(fd) => rustix::fs::chmod(xattr::through_proc(fd), mode),
        }?)
    }

    fn set_owner(self, uid: u32, gid: u32) -> io::Result<()> {
        let (Handle::Open(fd) | Handle::Link(fd) | Handle::Special(fd)) = self;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn xattrs(self) -> io::Result<xattr::Xattrs> {
        Ok(match self {
            Handle::Open(fd) => xattr::of_open(fd),
            Handle::Link(fd) | Handle::Special(fd) => xattr::of_path(fd),
        }?)
    }

    fn set_xattr(self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        Ok(match self {
            Handle::Open(fd) => xattr::set_open(fd, name, value),
            Handle::Link(fd) | Handle::Special(fd) => xattr::set_path(fd, name, value),
        }?)
    }

    fn remove_xattr(self, name: &OsStr) -> io::Result<()> {
        Ok(match self {
            Handle::Open(fd) => xattr::remove_open(fd, name),
            Handle::Link(fd) | Handle::Special(fd) => xattr::remove_path(fd, name),
        }?)
    }
}

/// Everything but the times. The order matters: chown(2) takes set-user-ID bits and capabilities away, an ACL carries
/// a copy of the mode, and chmod(2) keeps that copy in step.
fn set_attributes(handle: Handle<'_>, attributes: &Attributes) -> io::Result<()> {
    handle.set_owner(attributes.uid, attributes.gid)?;
    // Without /proc, a link's attributes cannot be told; where there are none to set, that is no obstacle.
    let present = match handle.xattrs() {
        Err(_) if attributes.xattrs.is_empty() && matches!(handle, Handle::Link(_)) => Vec::new(),
        answer => answer?,
    };
    for (name, _) in &present {
        let wanted = attributes.xattrs.iter().any(|(wanted, _)| wanted == name);
        if !wanted {
            match handle.remove_xattr(name) {
                // A kernel with SELinux labels whatever is made and lets no label be removed.
                Err(_) if name == "security.selinux" => {}
                done => done?,
            }
        }
    }
    for (name, value) in &attributes.xattrs {
        if !present.iter().any(|(n, v)| n == name && v == value) {
            handle.set_xattr(name, value)?;
        }
    }
    handle.set_mode(attributes.mode)
}

/// Where a test lets writing fail: see `faults`.
pub(crate) fn fault() -> io::Result<()> {
    #[cfg(debug_assertions)]
    crate::faults::step()?;
    Ok(())
}

fn create(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<File> {
    fault()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))?))
}

fn write_all(mut file: &File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)
}

/// Writes the whole content again, with holes for blocks of zeros.
fn write_with_holes(file: &File, content: &[u8]) -> io::Result<()> {
    const BLOCK: usize = 4096;
    file.set_len(0)?;
    for (index, block) in content.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            std::os::unix::fs::FileExt::write_all_at(file, block, (index * BLOCK) as u64)?;
        }
    }
    file.set_len(content.len() as u64)
}

/// Clears away what a failed step leaves; the step's own error is the one that is told.
fn unlink(dir: BorrowedFd<'_>, name: &OsStr) {
    if fault().is_ok() {
        let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
    }
}

fn timestamps(times: Times) -> Timestamps {
    let spec = |(seconds, nanoseconds): (i64, u32)| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: spec(times.atime), last_modification: spec(times.mtime) }
}

fn error(path: &Path, done: &'static str, source: io::Error) -> WriteError {
    WriteError { path: path.to_owned(), done, immutable: false, source }
}

fn reason_to_io(reason: Reason) -> io::Error {
    match reason {
        Reason::NotFound => Errno::NOENT.into(),
        Reason::NotADirectory => Errno::NOTDIR.into(),
        Reason::IsA(_)
        | Reason::TooLarge { .. }
        | Reason::NoFiles
        | Reason::LeftPacked
        | Reason::NotTold
        | Reason::NotCollected(_) => Errno::INVAL.into(),
        Reason::Denied => Errno::ACCESS.into(),
        Reason::LinkLoop => Errno::LOOP.into(),
        Reason::Io(error) => error,
    }
}
