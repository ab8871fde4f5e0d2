//! Files of lzop(1), which the kernel reads (lib/decompress_unlzo.c), and LZO1X, in which their blocks are packed
//! (Documentation/staging/lzo.rst, without the run lengths that only zram writes).

use std::io::{self, Read};

use super::source::Source;

const MAGIC: [u8; 9] = [0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a, 0x0a];

/// lzop's largest block is 256 KiB; others may write larger ones.
const BLOCK: usize = 8 << 20;

// Flags of the header: which checksums stand before each block, and what the header has besides.
const ADLER32_UNPACKED: u32 = 0x1;
const ADLER32_PACKED: u32 = 0x2;
const EXTRA_FIELD: u32 = 0x40;
const CRC32_UNPACKED: u32 = 0x100;
const CRC32_PACKED: u32 = 0x200;
const FILTER: u32 = 0x800;

/// Unpacks one file of lzop.
pub(super) struct Lzop<'s, 'r> {
    source: &'s mut Source<'r>,
    flags: u32,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<'s, 'r> Lzop<'s, 'r> {
    /// Reads the header.
    pub(super) fn new(source: &'s mut Source<'r>) -> io::Result<Lzop<'s, 'r>> {
        let mut magic = [0; 9];
        source.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(wrong("the header is damaged"));
        }
        let version = u16::from_be_bytes(bytes(source)?);
        let [_, _, _, _] = bytes(source)?; // versions of the library, and needed to extract
        let [_] = bytes(source)?; // method
        if version >= 0x940 {
            let [_] = bytes(source)?; // level
        }
        let flags = u32::from_be_bytes(bytes(source)?);
        if flags & FILTER != 0 {
            let [_, _, _, _] = bytes(source)?;
        }
        let [_, _, _, _, _, _, _, _] = bytes(source)?; // mode, and the lower half of the time
        if version >= 0x940 {
            let [_, _, _, _] = bytes(source)?; // the upper half
        }
        let [length] = bytes(source)?;
        skip(source, usize::from(length))?; // the name
        let [_, _, _, _] = bytes(source)?; // checksum of the header
        if flags & EXTRA_FIELD != 0 {
            let length = u32::from_be_bytes(bytes(source)?);
            skip(source, usize::try_from(length).unwrap_or(usize::MAX).min(BLOCK))?;
            let [_, _, _, _] = bytes(source)?;
        }
        Ok(Lzop { source, flags, block: Vec::new(), at: 0, ended: false })
    }

    /// Unpacks the next block; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let size = |source: &mut Source<'_>| -> io::Result<usize> {
            Ok(usize::try_from(u32::from_be_bytes(bytes(source)?)).unwrap_or(usize::MAX))
        };
        let unpacked = size(self.source)?;
        if unpacked == 0 {
            return Ok(false);
        }
        let packed = size(self.source)?;
        if unpacked > BLOCK || packed > unpacked {
            return Err(wrong("a block larger than any"));
        }
        let has = |flag: u32| self.flags & flag != 0;
        let mut sums = usize::from(has(ADLER32_UNPACKED)) + usize::from(has(CRC32_UNPACKED));
        if packed < unpacked {
            sums += usize::from(has(ADLER32_PACKED)) + usize::from(has(CRC32_PACKED));
        }
        let adler = if has(ADLER32_UNPACKED) { Some(u32::from_be_bytes(bytes(self.source)?)) } else { None };
        skip(self.source, 4 * (sums - usize::from(adler.is_some())))?;
        let mut block = vec![0; packed];
        self.source.read_exact(&mut block)?;
        self.block = if packed == unpacked {
            block
        } else {
            unpack(&block, unpacked).ok_or_else(|| wrong("a block is damaged"))?
        };
        if adler.is_some_and(|sum| sum != adler32(&self.block)) {
            return Err(wrong("the checksum of a block is wrong"));
        }
        self.at = 0;
        Ok(true)
    }
}

impl Read for Lzop<'_, '_> {
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

fn bytes<const N: usize>(source: &mut Source<'_>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(source: &mut Source<'_>, length: usize) -> io::Result<()> {
    source.read_exact(&mut vec![0; length])
}

fn wrong(why: &str) -> io::Error {
    io::Error::other(format!("lzo: {why}"))
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    // Sums of so many bytes fit in 32 bits.
    for chunk in bytes.chunks(5552) {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        (a, b) = (a % 65521, b % 65521);
    }
    b << 16 | a
}

/// Unpacks a block of LZO1X to exactly `size` bytes; `None` when it is damaged.
fn unpack(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut input = Input { bytes: packed, at: 0 };
    let mut out = Vec::with_capacity(size);
    // How many literals the last instruction was followed by: 0 to 3, or 4 for four and more.
    let mut state = 0;
    let first = *packed.first()?;
    if first > 17 {
        input.at = 1;
        let literals = usize::from(first - 17);
        input.literals(literals, &mut out)?;
        state = literals.min(4);
    }
    loop {
        let op = usize::from(input.byte()?);
        let (distance, length, literals) = match op {
            0..16 if state == 0 => {
                let literals = input.long(op, 15)? + 3;
                input.literals(literals, &mut out)?;
                state = 4;
                if out.len() > size {
                    return None;
                }
                continue;
            }
            0..16 => {
                let near = (usize::from(input.byte()?) << 2) + (op >> 2);
                if state == 4 { (near + 2049, 3, op & 3) } else { (near + 1, 2, op & 3) }
            }
            16..32 => {
                let length = input.long(op & 7, 7)? + 2;
                let low = input.le16()?;
                let distance = 16384 + ((op & 8) << 11) + (low >> 2);
                if distance == 16384 {
                    return (out.len() == size && input.at == packed.len()).then_some(out);
                }
                (distance, length, low & 3)
            }
            32..64 => {
                let length = input.long(op & 31, 31)? + 2;
                let low = input.le16()?;
                ((low >> 2) + 1, length, low & 3)
            }
            64..128 => ((usize::from(input.byte()?) << 3) + ((op >> 2) & 7) + 1, 3 + ((op >> 5) & 1), op & 3),
            _ => ((usize::from(input.byte()?) << 3) + ((op >> 2) & 7) + 1, 5 + ((op >> 5) & 3), op & 3),
        };
        let from = out.len().checked_sub(distance)?;
        if out.len() + length > size {
            return None;
        }
        // What is copied may overlap what it makes.
        for index in from..from + length {
            out.push(*out.get(index)?);
        }
        input.literals(literals, &mut out)?;
        state = literals;
    }
}

struct Input<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn le16(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) | usize::from(self.byte()?) << 8)
    }

    /// A length: `short`, or when that is 0, `base`, 255 for each zero byte, and the byte after them.
    fn long(&mut self, short: usize, base: usize) -> Option<usize> {
        if short > 0 {
            return Some(short);
        }
        let mut length = base;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Some(length + usize::from(last)),
            }
        }
    }

    fn literals(&mut self, count: usize, out: &mut Vec<u8>) -> Option<()> {
        out.extend(self.bytes.get(self.at..self.at.checked_add(count)?)?);
        self.at += count;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
        // Four literals, then the end.
        assert_eq!(unpack(&[21, b'a', b'b', b'c', b'd', 0x11, 0, 0], 4).as_deref(), Some(&b"abcd"[..]));
        assert_eq!(unpack(&[21, b'a', b'b', b'c', b'd', 0x11, 0, 0], 5), None);
    }

    proptest::proptest! {
        #[test]
        fn any_block_is_unpacked_or_refused(bytes: Vec<u8>, size in 0usize..5000) {
            if let Some(out) = unpack(&bytes, size) {
                assert_eq!(out.len(), size);
            }
        }
    }
}
