//! A regular file of a target that is open for reading: the kernel's, or what a snapshot has of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::Snapshot;

/// Blocks of a program are kept by so many bytes.
pub(crate) const BLOCK: u64 = 1024;

/// A regular file that is open for reading.
pub struct Opened {
    what: What,
    at: u64,
}

enum What {
    File(File),
    Bytes(Arc<Vec<u8>>),
    Blocks { snapshot: Arc<Snapshot>, path: PathBuf, size: u64 },
}

impl Opened {
    pub(crate) fn file(file: File) -> Opened {
        Opened { what: What::File(file), at: 0 }
    }

    pub(crate) fn bytes(bytes: Arc<Vec<u8>>) -> Opened {
        Opened { what: What::Bytes(bytes), at: 0 }
    }

    pub(crate) fn blocks(snapshot: Arc<Snapshot>, path: PathBuf, size: u64) -> Opened {
        Opened { what: What::Blocks { snapshot, path, size }, at: 0 }
    }

    /// Reads from a place on, whatever was read before.
    ///
    /// # Errors
    /// The kernel's; of a bundle where that part was not collected.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match &self.what {
            What::File(file) => file.read_at(buffer, at),
            What::Bytes(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                Ok(copy(bytes.get(from..).unwrap_or_default(), buffer))
            }
            What::Blocks { snapshot, path, size } => {
                if at >= *size {
                    return Ok(0);
                }
                let block = snapshot.block(path, at / BLOCK)?;
                let from = usize::try_from(at % BLOCK).unwrap_or(0);
                Ok(copy(block.get(from..).unwrap_or_default(), buffer))
            }
        }
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    length
}

pub(super) fn read_block(file: &File, number: u64) -> io::Result<Vec<u8>> {
    let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, number * BLOCK + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    block.truncate(filled);
    Ok(block)
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let What::File(file) = &mut self.what {
            return file.read(buffer);
        }
        let count = self.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let size = match &mut self.what {
            What::File(file) => return file.seek(to),
            What::Bytes(bytes) => bytes.len() as u64,
            What::Blocks { size, .. } => *size,
        };
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(from) => size.checked_add_signed(from),
            SeekFrom::Current(from) => self.at.checked_add_signed(from),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
