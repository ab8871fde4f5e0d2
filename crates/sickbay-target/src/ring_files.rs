//! The files of a recording while it is written: segments that grow, the open file that is written in place, and a lock.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::recording::ENDING;

/// The file of the samples that are in no block yet.
const OPEN: &str = "open";

/// The directory of a recording, which nobody else writes to.
#[derive(Debug)]
pub struct RingFiles {
    dir: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// Why a directory cannot be recorded to.
#[derive(Debug)]
pub enum Taken {
    /// Another recorder does, with that number where it tells.
    By(Option<u32>),
    /// The kernel's reason.
    Io(io::Error),
}

impl From<io::Error> for Taken {
    fn from(error: io::Error) -> Taken {
        Taken::Io(error)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Names of processes and files stand in it: nobody but root and his group needs to know them.
    options.mode(0o640).custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed());
    options
}

impl RingFiles {
    /// Takes the directory, which is made where it is missing.
    ///
    /// # Errors
    /// See [`Taken`].
    pub fn take(dir: &Path) -> Result<RingFiles, Taken> {
        DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        let lock = options().read(true).write(true).create(true).truncate(false).open(dir.join("lock"))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN) => {
                let mut told = String::new();
                let _ = (&lock).take(32).read_to_string(&mut told);
                return Err(Taken::By(told.trim().parse().ok()));
            }
            Err(errno) => return Err(Taken::Io(errno.into())),
        }
        // Who has it is told for people; where the disk is full, the lock holds without.
        let _ = lock.set_len(0).and_then(|()| lock.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0));
        Ok(RingFiles { dir: dir.to_owned(), _lock: lock })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The numbers and sizes of the segments, in order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn segments(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(ENDING)?.strip_suffix('.')?.parse().ok());
            if let (Some(number), Ok(metadata)) = (number, entry.metadata())
                && metadata.is_file()
            {
                all.push((number, metadata.len()));
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    fn name(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:08}.{ENDING}"))
    }

    /// The first bytes of a segment.
    ///
    /// # Errors
    /// The kernel's.
    pub fn head(&self, number: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        options().read(true).open(self.name(number))?.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes a segment away.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, number: u64) -> io::Result<()> {
        std::fs::remove_file(self.name(number))
    }

    /// A segment to write to at its end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn segment(&self, number: u64) -> io::Result<RingFile> {
        let file = options().read(true).write(true).create(true).truncate(false).open(self.name(number))?;
        let length = file.metadata()?.len();
        Ok(RingFile { file, length })
    }

    /// The open file.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open_file(&self) -> io::Result<RingFile> {
        let file = options().read(true).write(true).create(true).truncate(false).open(self.dir.join(OPEN))?;
        let length = file.metadata()?.len();
        Ok(RingFile { file, length })
    }

    /// That names that were made and removed are on the disk.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// The open file of a recording that somebody else may be writing to; `None` where there is none.
///
/// # Errors
/// The kernel's.
pub fn open_samples(dir: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match options().read(true).open(dir.join(OPEN)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A file of a recording.
#[derive(Debug)]
pub struct RingFile {
    file: File,
    length: u64,
}

impl RingFile {
    /// How long it is.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes behind its end, and to the disk. What was written of something that has no room is taken back.
    ///
    /// # Errors
    /// The kernel's.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = fault().and_then(|()| self.file.write_all_at(bytes, self.length));
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes anywhere.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        fault()?;
        self.file.write_all_at(bytes, offset)?;
        self.length = self.length.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// Has room for so many bytes, filled with zeros, so that writing there later needs none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reserve(&mut self, length: u64) -> io::Result<()> {
        let zeros = [0; 64 << 10];
        let mut file = &self.file;
        io::Seek::seek(&mut file, io::SeekFrom::Start(self.length))?;
        while self.length < length {
            let part = usize::try_from(length - self.length).unwrap_or(usize::MAX).min(zeros.len());
            file.write_all(zeros.get(..part).unwrap_or_default())?;
            self.length += part as u64;
        }
        Ok(())
    }

    /// That what was written is on the disk.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// A part of it; less where it ends before.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_at(&self, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        let length = self.length.saturating_sub(offset).min(limit);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// All of it, up to `limit` bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length.min(limit)).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

#[cfg(debug_assertions)]
fn fault() -> io::Result<()> {
    crate::faults::step()
}

#[cfg(not(debug_assertions))]
fn fault() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_recorder_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("a/b");
        let files = RingFiles::take(&place).expect("taken");
        match RingFiles::take(&place) {
            Err(Taken::By(pid)) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        let mut one = files.segment(2).expect("made");
        one.append(b"block").expect("written");
        one.append(b"more").expect("written");
        drop(files.segment(1).expect("made"));
        std::fs::write(place.join("x.ring"), "").expect("written");
        assert_eq!(files.segments().expect("read"), [(1, 0), (2, 9)]);
        assert_eq!(files.head(2, 5).expect("read"), b"block");
        files.remove(1).expect("removed");
        assert_eq!(files.segments().expect("read").len(), 1);
        assert!(open_samples(&place, 9).expect("read").is_none());
        let mut open = files.open_file().expect("made");
        open.reserve(100_000).expect("room");
        open.write_at(b"abc", 2).expect("written");
        open.sync().expect("on the disk");
        assert_eq!((open.length(), open.read(5).expect("read")), (100_000, b"\0\0abc".to_vec()));
        drop(files);
        assert!(RingFiles::take(&place).is_ok());
    }
}
