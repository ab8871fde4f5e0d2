//! What can be read only once, kept so that everybody who asks reads it from its beginning.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};

/// So much is kept in memory; what is longer goes to a file without a name.
const IN_MEMORY: u64 = 16 << 20;
/// More is not kept: a log of this size goes by its path.
const LIMIT: u64 = 8 << 30;

/// The whole of an input, or its beginning.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    /// Where it begins in the file.
    start: u64,
    /// It was longer than what could be kept.
    cut: bool,
}

impl Spool {
    /// Standard input: as it is where it is a file, else read to its end.
    pub(crate) fn stdin() -> io::Result<Spool> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        if file.metadata()?.is_file() {
            let start = seek(&file, SeekFrom::Current(0))?;
            return Ok(Spool { file, start, cut: false });
        }
        Spool::of(file)
    }

    /// Reads `input` to its end.
    pub(crate) fn of(input: impl Read) -> io::Result<Spool> {
        Spool::within(input, IN_MEMORY, LIMIT)
    }

    fn within(mut input: impl Read, in_memory: u64, limit: u64) -> io::Result<Spool> {
        let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
        let mut kept = io::copy(&mut input.by_ref().take(in_memory), &mut file)?;
        let mut cut = false;
        let mut block = vec![0; 256 << 10];
        let mut large: Option<File> = None;
        while kept >= in_memory {
            let count = match input.read(&mut block) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let Some(bytes) = block.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            if large.is_none() {
                large = nameless().and_then(|mut large| copy(&file, kept, &mut large).ok().map(|()| large));
            }
            let written = large.as_mut().is_some_and(|large| kept < limit && large.write_all(bytes).is_ok());
            if !written {
                cut = true;
                break;
            }
            kept += bytes.len() as u64;
        }
        Ok(Spool { file: large.unwrap_or(file), start: 0, cut })
    }

    /// A reader of its own.
    pub(crate) fn reader(self: &Arc<Self>) -> Reader {
        Reader { spool: Arc::clone(self), at: self.start }
    }
}

fn copy(from: &File, length: u64, to: &mut File) -> io::Result<()> {
    let mut block = vec![0; 256 << 10];
    let mut at = 0;
    while at < length {
        let count = from.read_at(&mut block, at)?;
        let Some(bytes) = block.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        to.write_all(bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// A file that no directory knows, where there is room for one: it is gone with us.
fn nameless() -> Option<File> {
    let places = [std::env::temp_dir(), PathBuf::from("/var/tmp"), PathBuf::from("/tmp")];
    let make = |dir: &Path| {
        let mut options = File::options();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC);
        options.open(dir).ok()
    };
    places.iter().find_map(|dir| make(dir))
}

/// Reads what was kept, from its beginning.
#[derive(Debug)]
pub(crate) struct Reader {
    spool: Arc<Spool>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.spool.file.read_at(buffer, self.at)?;
        if count == 0 && !buffer.is_empty() && self.spool.cut {
            let why = "it is longer than what can be kept from standard input: give it as a file";
            return Err(io::Error::other(why));
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_once_is_read_as_often_as_wanted() {
        for (length, in_memory) in [(0, 100), (10, 100), (100, 100), (1_000_000, 100), (1_000_000, 4096)] {
            let text: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
            let spool = Arc::new(Spool::within(text.as_slice(), in_memory, 1 << 30).unwrap());
            for _ in 0..2 {
                let mut read = Vec::new();
                spool.reader().read_to_end(&mut read).unwrap();
                assert!(read == text, "{length} {in_memory}");
            }
        }
    }

    #[test]
    fn what_is_left_out_is_an_error_at_the_end() {
        let spool = Arc::new(Spool::within(io::repeat(b'x'), 100, 1 << 20).unwrap());
        let mut read = Vec::new();
        let error = spool.reader().read_to_end(&mut read).unwrap_err();
        assert!(error.to_string().contains("give it as a file"), "{error}");
        assert!(read.len() >= 1 << 20 && read.iter().all(|byte| *byte == b'x'));
    }
}
