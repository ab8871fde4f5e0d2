//! lz4 in its legacy format, which `lz4 -l` writes and the kernel reads (lib/decompress_unlz4.c): after the magic, blocks
//! of up to 8 MiB, each behind its compressed size. There is no end mark and no checksum.

use std::io::{self, BufRead, Read};

use super::source::Source;

const MAGIC: u32 = 0x184C_2102;

/// What a block holds at most when it is unpacked.
const BLOCK: usize = 8 << 20;

/// Unpacks one legacy frame, or several that follow at once.
pub(super) struct Legacy<'s, 'r> {
    source: &'s mut Source<'r>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<'s, 'r> Legacy<'s, 'r> {
    pub(super) fn new(source: &'s mut Source<'r>) -> Legacy<'s, 'r> {
        Legacy { source, block: Vec::new(), at: 0, ended: false }
    }

    /// Unpacks the next block; false when there is none.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            let Some(size) = self.source.head().first_chunk().map(|size| u32::from_le_bytes(*size)) else {
                // Fewer than four bytes: those that are left are padding, or a size that is cut off.
                let is_padding = self.source.head().iter().all(|byte| *byte == 0);
                return if is_padding { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            };
            let size = match size {
                0 => return Ok(false), // padding
                MAGIC => {
                    self.source.consume(4);
                    continue;
                }
                size => usize::try_from(size).unwrap_or(usize::MAX),
            };
            if size > lz4_flex::block::get_maximum_output_size(BLOCK) {
                // The magic of what follows, or damage: whoever reads on tells which.
                let follows = super::Compression::of(self.source.head()).is_some();
                return if follows { Ok(false) } else { Err(io::Error::other("lz4: a block larger than any")) };
            }
            self.source.consume(4);
            let mut packed = vec![0; size];
            self.source.read_exact(&mut packed)?;
            self.block.resize(BLOCK, 0);
            let length = lz4_flex::block::decompress_into(&packed, &mut self.block)
                .map_err(|error| io::Error::other(format!("lz4: {error}")))?;
            self.block.truncate(length);
            self.at = 0;
            return Ok(true);
        }
    }
}

impl Read for Legacy<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.block.len() {
            if self.ended || !self.advance()? {
                self.ended = true;
                return Ok(0);
            }
        }
        let read = self.block.get(self.at..).unwrap_or_default().read(out)?;
        self.at += read;
        Ok(read)
    }
}
