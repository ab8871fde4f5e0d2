//! Text in UTF-16, as PowerShell and some editors of Windows save it, read as UTF-8.

use std::io::{self, Read};

/// Reads UTF-16 and gives UTF-8. What is no character becomes U+FFFD.
pub(crate) struct Utf16<R> {
    input: R,
    big_endian: bool,
    /// A byte of which the other half was not read yet, and the first half of a pair.
    odd: Option<u8>,
    high: Option<u16>,
    /// What was decoded and not given yet.
    ready: Vec<u8>,
    given: usize,
}

impl<R: Read> Utf16<R> {
    pub(crate) fn new(input: R, big_endian: bool) -> Utf16<R> {
        Utf16 { input, big_endian, odd: None, high: None, ready: Vec::new(), given: 0 }
    }

    fn unit(&mut self, unit: u16) {
        let units = self.high.take().into_iter().chain([unit]);
        let mut push = |c: char| self.ready.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        for one in char::decode_utf16(units) {
            match one {
                // The first half of a pair at the end: the other one follows.
                Err(error)
                    if (0xd800..0xdc00).contains(&error.unpaired_surrogate()) && error.unpaired_surrogate() == unit =>
                {
                    self.high = Some(unit);
                }
                found => push(found.unwrap_or(char::REPLACEMENT_CHARACTER)),
            }
        }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
            let mut bytes = [0; 8192];
            let count = self.input.read(&mut bytes)?;
            if count == 0 {
                return Ok(0);
            }
            for byte in bytes.iter().take(count) {
                match self.odd.take() {
                    None => self.odd = Some(*byte),
                    Some(first) if self.big_endian => self.unit(u16::from_be_bytes([first, *byte])),
                    Some(first) => self.unit(u16::from_le_bytes([first, *byte])),
                }
            }
        }
        let ready = self.ready.get(self.given..).unwrap_or_default();
        let count = ready.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_and_pairs() {
        let text = "kernel: größe 大 🐧\nx";
        for big in [false, true] {
            let bytes: Vec<u8> = text
                .encode_utf16()
                .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
                .collect();
            let mut out = String::new();
            Utf16::new(bytes.as_slice(), big).read_to_string(&mut out).unwrap();
            assert_eq!(out, text);
        }
        let mut out = String::new();
        Utf16::new(&[0x00, 0xd8, b'x', 0, 7][..], false).read_to_string(&mut out).unwrap();
        assert_eq!(out, "\u{fffd}x");
    }
}
