//! What openat2(2) does with `RESOLVE_IN_ROOT`, for kernels that do not have it: one component after the other, each
//! opened with `O_PATH | O_NOFOLLOW`, links expanded here, `..` taken from the directories already walked, so that
//! neither a link nor a rename in the meantime leads above the root.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// As many links as the kernel follows in one resolution (`MAXSYMLINKS` in include/linux/namei.h).
const LINKS: usize = 40;

/// As long as a path given to the kernel may be, with its NUL (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// Where a walk ended.
pub(super) struct Found<'r> {
    root: BorrowedFd<'r>,
    /// Every step below the root: its name and an `O_PATH` descriptor of it.
    steps: Vec<Step>,
}

struct Step {
    name: OsString,
    fd: OwnedFd,
    kind: FileType,
}

impl Found<'_> {
    /// What was found, as an `O_PATH` descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.steps.last().map_or(self.root, |step| step.fd.as_fd())
    }

    /// The path inside the root.
    pub(super) fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(self.steps.iter().map(|step| &step.name));
        path
    }

    /// Whether it is a directory.
    pub(super) fn is_dir(&self) -> bool {
        self.steps.last().is_none_or(|step| step.kind == FileType::Directory)
    }

    /// The directory that holds what was found, and its name there.
    pub(super) fn as_entry(&self) -> (BorrowedFd<'_>, &OsStr) {
        match self.steps.as_slice() {
            [] => (self.root, OsStr::new(".")),
            [step] => (self.root, &step.name),
            [.., above, step] => (above.fd.as_fd(), &step.name),
        }
    }
}

/// Walks from `root` along `path`; a link in the last place is followed only when `follow` says so.
pub(super) fn walk<'r>(root: BorrowedFd<'r>, path: &Path, follow: bool) -> Result<Found<'r>, Errno> {
    let bytes = path.as_os_str().as_bytes();
    match bytes.len() {
        0 => return Err(Errno::NOENT),
        PATH_MAX.. => return Err(Errno::NAMETOOLONG),
        _ => {}
    }
    let mut found = Found { root, steps: Vec::new() };
    let mut links = 0;
    // What is still to be walked, the next component last.
    let mut ahead = Vec::new();
    push(&mut ahead, bytes);
    while let Some(name) = ahead.pop() {
        if !found.is_dir() {
            return Err(Errno::NOTDIR);
        }
        match name.as_slice() {
            b"." => continue,
            b".." => {
                found.steps.pop();
                continue;
            }
            _ => {}
        }
        let name = OsString::from_vec(name);
        let fd =
            rustix::fs::openat(found.fd(), &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        if kind != FileType::Symlink || (ahead.is_empty() && !follow) {
            found.steps.push(Step { name, fd, kind });
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(Errno::LOOP);
        }
        let text = rustix::fs::readlinkat(&fd, <&CStr>::default(), Vec::new())?.into_bytes();
        match text.first() {
            None => return Err(Errno::NOENT),
            Some(b'/') => found.steps.clear(),
            Some(_) => {}
        }
        push(&mut ahead, &text);
    }
    Ok(found)
}

/// Puts the components of `path` on the stack, the first on top. A slash at the end asks for a directory, as `/.` does.
fn push(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    if path.ends_with(b"/") {
        ahead.push(b".".to_vec());
    }
    ahead.extend(path.split(|&b| b == b'/').rev().filter(|name| !name.is_empty()).map(<[u8]>::to_vec));
}
