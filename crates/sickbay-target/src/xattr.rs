//! Extended attributes (xattr(7)): SELinux labels, ACLs and file capabilities live in them.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The most bytes of one value, and of one list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX` in include/uapi/linux/limits.h).
const MAX: usize = 64 << 10;

/// All attributes with their values, sorted by name.
pub(crate) type Xattrs = Vec<(OsString, Vec<u8>)>;

/// Those of a file or directory that is open for reading.
pub(crate) fn of_open(fd: BorrowedFd<'_>) -> Result<Xattrs, Errno> {
    collect(|buffer| rustix::fs::flistxattr(fd, buffer), |name, buffer| rustix::fs::fgetxattr(fd, name, buffer))
}

/// Those of anything, a link too, that an `O_PATH` descriptor stands for.
pub(crate) fn of_path(fd: BorrowedFd<'_>) -> Result<Xattrs, Errno> {
    let path = &through_proc(fd);
    collect(|buffer| rustix::fs::listxattr(path, buffer), |name, buffer| rustix::fs::getxattr(path, name, buffer))
}

/// Sets one attribute of a file or directory that is open.
pub(crate) fn set_open(fd: BorrowedFd<'_>, name: &OsStr, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())
}

/// Sets one attribute of what an `O_PATH` descriptor stands for.
pub(crate) fn set_path(fd: BorrowedFd<'_>, name: &OsStr, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::setxattr(through_proc(fd), name, value, XattrFlags::empty())
}

/// Removes one attribute of a file or directory that is open.
pub(crate) fn remove_open(fd: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::fremovexattr(fd, name)
}

/// Removes one attribute of what an `O_PATH` descriptor stands for.
pub(crate) fn remove_path(fd: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::removexattr(through_proc(fd), name)
}

/// The calls that take a descriptor refuse one of `O_PATH`; this name leads to the very same file, link or not.
pub(crate) fn through_proc(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&OsStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, Errno> {
    let mut buffer = vec![0; MAX];
    let names = match list(&mut buffer) {
        Ok(n) => buffer.get(..n).unwrap_or_default().to_vec(),
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut all = Vec::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let name = OsStr::from_bytes(name);
        match get(name, &mut buffer) {
            Ok(n) => all.push((name.to_owned(), buffer.get(..n).unwrap_or_default().to_vec())),
            Err(Errno::NODATA) => {} // removed meanwhile
            Err(errno) => return Err(errno),
        }
    }
    all.sort_unstable();
    Ok(all)
}
