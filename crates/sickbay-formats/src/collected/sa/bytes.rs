//! Numbers of a file of another machine's.

use bstr::{BString, ByteSlice};

/// In which order the bytes of a number are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

/// How many fields of 64 bits, longs and ints a structure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types {
    wide: u64,
    long: u64,
    int: u64,
}

impl Types {
    pub(super) fn new([wide, long, int]: [u32; 3]) -> Types {
        Types { wide: wide.into(), long: long.into(), int: int.into() }
    }

    /// The bytes that they take.
    pub(super) fn size(&self) -> u64 {
        (self.wide + self.long) * 8 + self.int * 4
    }
}

/// Bytes, of which a part was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
    /// A long has 64 bits there.
    is_wide: bool,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8], order: Order) -> Bytes<'a> {
        Bytes { bytes, at: 0, order, is_wide: true }
    }

    /// Sets the length of a long; false when there is none such.
    pub(super) fn set_long(&mut self, bytes: u8) -> bool {
        self.is_wide = bytes == 8;
        matches!(bytes, 4 | 8)
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(super) fn part(&mut self, length: usize) -> Option<Bytes<'a>> {
        Some(Bytes { bytes: self.take(length)?, at: 0, ..*self })
    }

    /// All in parts of that size.
    pub(super) fn parts(self, size: usize) -> impl Iterator<Item = Bytes<'a>> {
        self.bytes.chunks_exact(size.max(1)).map(move |bytes| Bytes { bytes, at: 0, ..self })
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk::<N>().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let bytes = self.array()?;
        Some(match self.order {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        })
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let value = self.u32_at(self.at)?;
        self.at = self.at.checked_add(4)?;
        Some(value)
    }

    pub(super) fn types(&mut self) -> Option<Types> {
        Some(Types::new([self.u32()?, self.u32()?, self.u32()?]))
    }

    /// A text of that length, or up to its first zero.
    pub(super) fn text(&mut self, length: usize) -> Option<BString> {
        Some(text(self.take(length)?))
    }

    pub(super) fn bytes_at(&self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(length)?)
    }

    pub(super) fn u8_at(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn u32_at(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<4>()?;
        Some(match self.order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    pub(super) fn u64_at(&self, at: usize) -> Option<u64> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<8>()?;
        Some(match self.order {
            Order::Little => u64::from_le_bytes(bytes),
            Order::Big => u64::from_be_bytes(bytes),
        })
    }

    pub(super) fn long_at(&self, at: usize) -> Option<u64> {
        match self.is_wide {
            true => self.u64_at(at),
            false => self.u32_at(at).map(u64::from),
        }
    }

    pub(super) fn text_at(&self, at: usize, length: usize) -> Option<BString> {
        self.bytes_at(at, length).map(text)
    }

    /// The field of 64 bits with that number.
    pub(super) fn wide(&self, types: &Types, index: u64) -> Option<u64> {
        (index < types.wide).then_some(())?;
        self.u64_at(usize::try_from(index * 8).ok()?)
    }

    /// The long with that number.
    pub(super) fn long(&self, types: &Types, index: u64) -> Option<u64> {
        (index < types.long).then_some(())?;
        self.long_at(usize::try_from((types.wide + index) * 8).ok()?)
    }

    /// The int with that number.
    pub(super) fn int(&self, types: &Types, index: u64) -> Option<u32> {
        (index < types.int).then_some(())?;
        self.u32_at(usize::try_from((types.wide + types.long) * 8 + index * 4).ok()?)
    }

    /// What is no number, in that many bytes.
    pub(super) fn rest(&self, types: &Types, length: usize) -> Option<BString> {
        self.text_at(usize::try_from(types.size()).ok()?, length)
    }
}

fn text(bytes: &[u8]) -> BString {
    bytes.split_str(b"\0").next().unwrap_or_default().into()
}
