//! The bytes of an initramfs, from which decompressors take no more than is theirs.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use bstr::ByteSlice;

/// Counts what was taken, and keeps the error of the reader apart from what a decompressor makes of it.
pub(super) struct Source<'r> {
    reader: &'r mut dyn Read,
    buffer: Vec<u8>,
    at: usize,
    /// How many bytes were read before the first of the buffer.
    before: u64,
    failure: Option<io::Error>,
    /// How many bytes were read in all, for whoever watches what becomes of them.
    read: Rc<Cell<u64>>,
}

/// Reads what a decompressor gives, up to so many times what it was given: what is real is packed to a quarter.
pub(super) struct Bounded<R> {
    decoder: R,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
}

/// What unpacks to more than this, and then to so many times its size, is made to keep people waiting.
const UNPACKED: (u64, u64) = (256 << 20, 100);

impl<R> Bounded<R> {
    pub(super) fn new(decoder: R, packed: Rc<Cell<u64>>) -> Bounded<R> {
        Bounded { decoder, packed, unpacked: 0 }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(out)?;
        self.unpacked += count as u64;
        if self.unpacked > UNPACKED.0 + UNPACKED.1 * self.packed.get() {
            return Err(io::Error::other("it unpacks to more than any initramfs"));
        }
        Ok(count)
    }
}

/// Enough to tell what follows.
const HEAD: usize = 8;

const CHUNK: usize = 128 << 10;

/// How many zeros stand at the beginning.
pub(super) fn zeros(bytes: &[u8]) -> usize {
    bytes.find_not_byteset(b"\0").unwrap_or(bytes.len())
}

impl<'r> Source<'r> {
    pub(super) fn new(reader: &'r mut dyn Read) -> Source<'r> {
        Source { reader, buffer: Vec::new(), at: 0, before: 0, failure: None, read: Rc::default() }
    }

    /// How many bytes were read, now and from now on.
    pub(super) fn count(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.read)
    }

    /// How many bytes were taken.
    pub(super) fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    /// The error with which the reader stopped, if it did.
    pub(super) fn failure(self) -> Option<io::Error> {
        self.failure
    }

    /// The next bytes, at least eight unless the end comes before.
    pub(super) fn head(&mut self) -> &[u8] {
        while self.rest().len() < HEAD && self.fill() {}
        self.rest()
    }

    /// Takes zeros up to the first other byte.
    pub(super) fn skip_zeros(&mut self) {
        loop {
            let zeros = zeros(self.head());
            self.at += zeros;
            if zeros == 0 {
                return;
            }
        }
    }

    /// Gives back the bytes that were taken last.
    pub(super) fn unread(&mut self, bytes: Vec<u8>) {
        let rest = self.rest().to_vec();
        self.before = self.position().saturating_sub(bytes.len() as u64);
        self.buffer = bytes;
        self.buffer.extend(rest);
        self.at = 0;
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Reads on; false at the end.
    fn fill(&mut self) -> bool {
        self.before += self.at as u64;
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + CHUNK, 0);
        let read = loop {
            match self.reader.read(self.buffer.get_mut(kept..).unwrap_or_default()) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(error);
                    break 0;
                }
            }
        };
        self.buffer.truncate(kept + read);
        self.read.set(self.read.get() + read as u64);
        read > 0
    }
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() {
            self.fill();
        }
        Ok(self.rest())
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.buffer.len());
    }
}
