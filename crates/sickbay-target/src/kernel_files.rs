//! Small files that the running kernel writes, by the thousand, with as few system calls as can be: a look at all
//! processes must cost less than what it tells.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::root::{Met, error};
use crate::{Metadata, ReadError, Reason, Root};

/// The most that is read of one file.
const LIMIT: usize = 64 << 10;

/// Shorter files come whole in one read(2): the kernel hands such a file out by pages.
const ONE_READ: usize = 2 << 10;

/// A directory of `/proc` or `/sys`, held open, and room to read into.
#[derive(Debug)]
pub struct KernelFiles {
    path: PathBuf,
    from: Source,
    buffer: Vec<u8>,
    met: Met,
}

#[derive(Debug)]
enum Source {
    Kernel(OwnedFd),
    /// What a bundle has of them.
    Snapshot(Root),
}

impl KernelFiles {
    /// The files below `dir`, `/proc` for example, of the running system whose root this is. Paths below it are not kept
    /// inside of it: only the kernel's own files, which no patient makes, may be read so.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(root: &Root, dir: impl AsRef<Path>) -> Result<KernelFiles, ReadError> {
        let path = dir.as_ref().to_owned();
        let from = match root.snapshot() {
            Some(_) => {
                root.dir(&path)?;
                Source::Snapshot(root.try_clone().map_err(|e| root.met.fail_io(&path, e))?)
            }
            None => Source::Kernel(root.resolve(&path, OFlags::DIRECTORY)?),
        };
        Ok(KernelFiles { path, from, buffer: vec![0; LIMIT], met: root.met.clone() })
    }

    /// A file, at most the first 64 KiB of it: `1/statm`.
    ///
    /// # Errors
    /// [`Reason::NotFound`] when it is gone, with its process for example; the others of [`Reason`].
    pub fn read(&mut self, file: &str) -> Result<&[u8], ReadError> {
        let fail = |reason| error(&self.path.join(file), reason);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let refused = |errno| self.met.fail(&self.path.join(file), errno);
        let dir = match &self.from {
            Source::Kernel(dir) => dir,
            Source::Snapshot(root) => {
                let bytes = match root.read_up_to(self.path.join(file), u64::MAX) {
                    Err(error) if matches!(&error.reason, Reason::Io(why) if why.raw_os_error() == Some(libc::ESRCH)) =>
                    {
                        return Err(fail(Reason::NotFound));
                    }
                    answer => answer?,
                };
                let length = bytes.len().min(LIMIT);
                for (to, from) in self.buffer.iter_mut().zip(&bytes) {
                    *to = *from;
                }
                return Ok(self.buffer.get(..length).unwrap_or_default());
            }
        };
        let opened = rustix::fs::openat(dir, file, flags, Mode::empty()).map_err(refused)?;
        let mut length = 0;
        while let Some(room) = self.buffer.get_mut(length..).filter(|room| !room.is_empty()) {
            match rustix::io::read(&opened, room) {
                Ok(0) => break,
                Ok(read) => {
                    length += read;
                    if length < ONE_READ {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                // The process ended between opening and reading.
                Err(Errno::SRCH) => return Err(fail(Reason::NotFound)),
                Err(errno) => return Err(self.met.fail(&self.path.join(file), errno)),
            }
        }
        Ok(self.buffer.get(..length).unwrap_or_default())
    }

    /// The size that stat(2) tells: of `PID/fd`, since Linux 6.2, the number of descriptors.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn size(&self, file: &str) -> Result<u64, ReadError> {
        let dir = match &self.from {
            Source::Kernel(dir) => dir,
            Source::Snapshot(root) => return root.metadata(self.path.join(file)).map(|found| found.size),
        };
        let stat = rustix::fs::statat(dir, file, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.met.fail(&self.path.join(file), errno))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// What stat(2) tells of the file that one of the kernel's own links leads to: `PID/fd/3`, deleted or not.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn metadata(&self, link: &str) -> Result<Metadata, ReadError> {
        let dir = match &self.from {
            Source::Kernel(dir) => dir,
            Source::Snapshot(root) => return root.beyond(&self.path.join(link)),
        };
        let stat = rustix::fs::statat(dir, link, AtFlags::empty());
        stat.map(|stat| Metadata::of(&stat)).map_err(|errno| self.met.fail(&self.path.join(link), errno))
    }

    /// The protocol of a socket, also of one that is in none of the kernel's tables: `PID/fd/3`, "TCP". `None` for what is no socket, or
    /// cannot be told.
    pub fn socket_protocol(&self, link: &str) -> Option<String> {
        let ask = || {
            let mut name = [0; 32];
            let length = rustix::fs::getxattr(self.path.join(link), "system.sockprotoname", &mut name[..])?;
            Ok(name.get(..length).unwrap_or_default().to_vec())
        };
        let name = match &self.from {
            Source::Kernel(_) => ask(),
            Source::Snapshot(root) => root.ask(&format!("protocol:{}", self.path.join(link).display()), ask),
        };
        let name = name.ok()?;
        let text = name.split(|byte| *byte == 0).next()?;
        String::from_utf8(text.to_vec()).ok()
    }

    /// What a link says: `PID/ns/mnt`.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn link(&self, file: &str) -> Result<String, ReadError> {
        let fail = |reason| error(&self.path.join(file), reason);
        let dir = match &self.from {
            Source::Kernel(dir) => dir,
            Source::Snapshot(root) => {
                let text = root.read_link(self.path.join(file))?;
                return text
                    .into_os_string()
                    .into_string()
                    .map_err(|_| fail(Reason::Io(io::ErrorKind::InvalidData.into())));
            }
        };
        let text = rustix::fs::readlinkat(dir, file, Vec::new())
            .map_err(|errno| self.met.fail(&self.path.join(file), errno))?;
        text.into_string().map_err(|_| fail(Reason::Io(io::ErrorKind::InvalidData.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::KernelFiles;
    use crate::{Reason, Root};

    #[test]
    fn files_of_this_process() {
        let root = Root::host().expect("the root");
        let mut files = KernelFiles::open(&root, "/proc").expect("/proc");
        assert!(files.read("self/status").is_ok_and(|status| status.starts_with(b"Name:")));
        assert!(files.read("self/comm").is_ok_and(|comm| comm.ends_with(b"\n")));
        assert!(files.link("self/ns/mnt").is_ok_and(|link| link.starts_with("mnt:[")));
        // Kernels before 6.2 say 0.
        assert!(files.size("self/fd").is_ok_and(|size| size == 0 || size > 2));
        let gone = files.read("4294967295/status").expect_err("no such process");
        assert!(matches!(gone.reason, Reason::NotFound));
        assert_eq!(gone.to_string(), "/proc/4294967295/status does not exist");
        // What is longer than a page comes whole, up to the limit, which a process with many threads comes to.
        let is_whole = |text: &[u8]| text.ends_with(b"\n") || text.len() == super::LIMIT;
        assert!(files.read("self/smaps").is_ok_and(|text| text.len() > 4096 && is_whole(text)));
    }
}
