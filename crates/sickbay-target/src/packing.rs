//! What a stream is packed with, by how it begins, and how it is unpacked in bounded memory.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory that xz may ask for in KiB: `xz -9` needs 65 MiB, logrotate's `xz -6` 9 MiB.
const XZ_MEMORY: u32 = 80 << 10;

/// What packed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Packing {
    /// So many bytes of the beginning tell.
    pub(crate) const HEAD: u64 = 8;

    /// By the beginning; `None` when it is not packed, or by something else.
    pub(crate) fn of(head: &[u8]) -> Option<Packing> {
        const MAGICS: [(&[u8], Packing); 4] = [
            (b"\x1f\x8b", Packing::Gzip),
            (b"BZh", Packing::Bzip2),
            (b"\xfd7zXZ\0", Packing::Xz),
            (b"\x28\xb5\x2f\xfd", Packing::Zstd),
        ];
        MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, packing)| *packing)
    }

    /// What is in `input`. `window` bounds what zstd may ask for: its logarithm to the base 2.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(crate) fn unpack(self, input: impl BufRead + 'static, window: u32) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Packing::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY)),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(window)?;
                Box::new(decoder)
            }
        })
    }
}

/// Whether what is packed ended too early: each of the packings has words of its own for it.
pub(crate) fn is_cut(error: &io::Error) -> bool {
    error.kind() == ErrorKind::UnexpectedEof
        || matches!(error.to_string().as_str(), "incomplete frame" | "failed to fill whole buffer")
}

/// Counts what is taken of an input.
pub(crate) struct Counted<R> {
    input: R,
    taken: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    /// The input, and the count.
    pub(crate) fn new(input: R) -> (Counted<R>, Arc<AtomicU64>) {
        let taken = Arc::new(AtomicU64::new(0));
        (Counted { input, taken: Arc::clone(&taken) }, taken)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
