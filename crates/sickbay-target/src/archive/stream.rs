//! The bytes of an archive, unpacked, and counted: what comes to too much ends with an error.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Bounds;
use crate::packing::{Counted, Packing, is_cut};

/// A window that zstd may ask for: 128 MiB, as `--long` and `--ultra -22` do.
const ZSTD_WINDOW: u32 = 27;
const BUFFER: usize = 256 << 10;

/// Why an archive was not read to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// It ends too early; what is missing.
    Truncated(String),
    /// It is none from some place on.
    Damaged(String),
    /// A bound was met.
    Beyond(String),
    /// What was made of it could not be written.
    Write(io::Error),
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Failure {
        Failure::Write(errno.into())
    }
}

/// What an archive is read from.
pub(super) enum Input {
    /// As it is: what is not wanted is passed over without being read.
    Plain(BufReader<File>),
    Packed(Box<dyn Read>),
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::Plain(input) => input.read(buffer),
            Input::Packed(input) => input.read(buffer),
        }
    }
}

/// What comes out of a file, and how much was taken of it where it is packed.
pub(super) fn unpacking(mut file: File) -> io::Result<(Input, Option<Arc<AtomicU64>>)> {
    let mut head = Vec::new();
    file.by_ref().take(Packing::HEAD).read_to_end(&mut head)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    let Some(packing) = Packing::of(&head) else {
        return Ok((Input::Plain(BufReader::with_capacity(BUFFER, file)), None));
    };
    let (counted, taken) = Counted::new(file);
    let input = packing.unpack(BufReader::with_capacity(BUFFER, counted), ZSTD_WINDOW)?;
    Ok((Input::Packed(Box::new(BufReader::with_capacity(BUFFER, input))), Some(taken)))
}

pub(super) struct Stream {
    input: Input,
    /// How long it is.
    size: u64,
    taken: Option<Arc<AtomicU64>>,
    given: u64,
    bounds: Bounds,
    buffer: Vec<u8>,
}

impl Stream {
    pub(super) fn new(file: File, bounds: Bounds) -> io::Result<Stream> {
        let size = file.metadata()?.len();
        let (input, taken) = unpacking(file)?;
        Ok(Stream { input, size, taken, given: 0, bounds, buffer: vec![0; BUFFER] })
    }

    /// Fills `buffer`.
    pub(super) fn exact(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        self.input.read_exact(buffer).map_err(|error| self.failure(&error))?;
        self.count(buffer.len() as u64)
    }

    /// Hands out the next `size` bytes in parts.
    pub(super) fn each(
        &mut self,
        mut size: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut result = Ok(());
        while size > 0 && result.is_ok() {
            let part = usize::try_from(size).unwrap_or(usize::MAX).min(buffer.len());
            let Some(part) = buffer.get_mut(..part) else { break };
            result = self.exact(part).and_then(|()| take(part));
            size -= part.len() as u64;
        }
        self.buffer = buffer;
        result
    }

    pub(super) fn skip(&mut self, count: u64) -> Result<(), Failure> {
        let Input::Plain(input) = &mut self.input else { return self.each(count, |_| Ok(())) };
        let end = self.given.checked_add(count).filter(|end| *end <= self.size);
        let (Some(end), Ok(by)) = (end, i64::try_from(count)) else {
            let at = size(self.size);
            return Err(Failure::Truncated(format!("it ends after {at}, in the middle of a member")));
        };
        input.seek_relative(by).map_err(Failure::Write)?;
        self.given = end;
        Ok(())
    }

    fn count(&mut self, count: u64) -> Result<(), Failure> {
        self.given = self.given.saturating_add(count);
        let Some(taken) = &self.taken else { return Ok(()) };
        let Bounds { unpacked, ratio, always, .. } = self.bounds;
        let taken = taken.load(Ordering::Relaxed);
        if self.given > unpacked {
            return Err(Failure::Beyond(format!("it unpacks to more than {}", size(unpacked))));
        }
        if self.given > always && self.given > taken.saturating_mul(ratio) {
            return Err(Failure::Beyond(format!("it unpacks to more than {ratio} times its size")));
        }
        Ok(())
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let at = size(self.given);
        if is_cut(error) {
            return Failure::Truncated(format!("it ends after {at}, in the middle of a member"));
        }
        if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other) {
            return Failure::Damaged(format!("after {at} it cannot be unpacked: {error}"));
        }
        Failure::Damaged(format!("after {at} it cannot be read: {error}"))
    }
}

/// An amount in the largest unit that fits.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}
