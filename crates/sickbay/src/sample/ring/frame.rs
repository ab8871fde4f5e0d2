//! What stands around the samples: heads of files and blocks, numbers of samples, checksums. All numbers are little-endian.

use std::time::Duration;

use sickbay_formats::recording::RING;
use sickbay_formats::superblock::condition::crc32c;

use super::words::{Coder, Names};

/// The version of the format that is written. It is read as far back as 1.
pub const VERSION: u16 = 1;

/// How the file of samples that are in no block yet begins.
const OPEN: [u8; 10] = *b"\x89sickopn\r\n";

/// By what the head of a block is found again behind one that is damaged.
pub(super) const MARK: [u8; 8] = *b"\xb1ock\r\n\x1a\n";

/// The length of the head of a block.
pub(super) const HEAD: usize = 72;

/// A head that tells of the machine is no longer.
const META: usize = 64 << 10;

/// Where the first sample of the open file stands.
pub(super) const FIRST: usize = 32;

/// What stands before each of them.
pub(super) const PREFIX: usize = 16;

/// What a segment tells of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Its name.
    pub name: String,
    /// `uname -r`.
    pub release: String,
    /// `/proc/sys/kernel/random/boot_id`; empty where it cannot be read.
    pub boot: String,
    /// How far its clocks on the wall are ahead of UTC, in seconds.
    pub offset: i32,
    /// When the segment was begun, since 1970.
    pub began: Duration,
}

/// What is wrong with the beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is none of ours, or damaged.
    Damaged,
    /// A newer program wrote it.
    Newer(u16),
}

fn le<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    le(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    le(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    le(bytes, at).map(u64::from_le_bytes)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Meta {
    fn code(&mut self, coder: &mut Coder<'_>, now: &Meta) -> Option<()> {
        for (state, now) in
            [(&mut self.name, &now.name), (&mut self.release, &now.release), (&mut self.boot, &now.boot)]
        {
            let mut text = std::mem::take(state).into_bytes();
            coder.name(&mut text, now.as_bytes())?;
            *state = String::from_utf8_lossy(&text).into_owned();
        }
        let mut offset = u64::from(self.offset.cast_unsigned());
        coder.delta(&mut offset, u64::from(now.offset.cast_unsigned()))?;
        self.offset = u32::try_from(offset).ok()?.cast_signed();
        let mut began = micros(self.began);
        coder.delta(&mut began, micros(now.began))?;
        self.began = Duration::from_micros(began);
        Some(())
    }

    /// The beginning of a segment.
    pub fn bytes(&self) -> Vec<u8> {
        let mut coder = Coder::writer(Names::default());
        let _ = Meta::default().code(&mut coder, self);
        let (body, _) = coder.into_bytes();
        let mut bytes = RING.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(u32::try_from(body.len()).unwrap_or(0).to_le_bytes());
        bytes.extend(crc32c(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// The same read, with where the blocks begin.
    pub fn parse(bytes: &[u8]) -> Result<(Meta, usize), Unread> {
        let begin = || {
            let version = bytes.strip_prefix(&RING).and_then(|rest| u16_at(rest, 0))?;
            Some((version, usize::try_from(u32_at(bytes, 12)?).ok()?, u32_at(bytes, 16)?))
        };
        let (version, length, crc) = begin().ok_or(Unread::Damaged)?;
        if version > VERSION {
            return Err(Unread::Newer(version));
        }
        let end = 20 + length.min(META);
        let body = bytes.get(20..end).filter(|body| crc32c(body) == crc).ok_or(Unread::Damaged)?;
        let mut meta = Meta::default();
        let mut coder = Coder::reader(body, Names::default());
        meta.code(&mut coder, &Meta::default()).ok_or(Unread::Damaged)?;
        Ok((meta, end))
    }
}

/// The head of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// How long what follows is.
    pub packed: u32,
    /// And unpacked.
    pub length: u32,
    /// How many samples it has.
    pub samples: u32,
    /// The checksum of what follows.
    crc: u32,
    /// The number of the first sample.
    pub first: u64,
    /// The earliest moment in it by the clock of the day, since 1970, in microseconds.
    pub from: u64,
    /// The latest.
    pub to: u64,
    /// By CLOCK_MONOTONIC.
    pub steady: u64,
}

impl Head {
    /// Of what it stands before.
    pub(super) fn of(
        packed: &[u8],
        length: usize,
        samples: u32,
        first: u64,
        times: (Duration, Duration, Duration),
    ) -> Head {
        Head {
            packed: u32::try_from(packed.len()).unwrap_or(0),
            length: u32::try_from(length).unwrap_or(0),
            samples,
            crc: crc32c(packed),
            first,
            from: micros(times.0),
            to: micros(times.1),
            steady: micros(times.2),
        }
    }

    /// As it stands in the file.
    pub(super) fn bytes(&self) -> [u8; HEAD] {
        let mut rest = Vec::with_capacity(HEAD);
        for number in [self.packed, self.length, self.samples, self.crc] {
            rest.extend(number.to_le_bytes());
        }
        for number in [self.first, self.from, self.to, self.steady] {
            rest.extend(number.to_le_bytes());
        }
        rest.resize(HEAD - MARK.len() - 4, 0);
        let mut bytes = [0; HEAD];
        let all = MARK.into_iter().chain(crc32c(&rest).to_le_bytes()).chain(rest);
        bytes.iter_mut().zip(all).for_each(|(byte, is)| *byte = is);
        bytes
    }

    /// Reads it; `None` when it is none, or damaged.
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        let bytes = bytes.get(..HEAD).filter(|bytes| bytes.starts_with(&MARK))?;
        let rest = bytes.get(MARK.len() + 4..)?;
        if u32_at(bytes, MARK.len())? != crc32c(rest) {
            return None;
        }
        Some(Head {
            packed: u32_at(rest, 0)?,
            length: u32_at(rest, 4)?,
            samples: u32_at(rest, 8)?,
            crc: u32_at(rest, 12)?,
            first: u64_at(rest, 16)?,
            from: u64_at(rest, 24)?,
            to: u64_at(rest, 32)?,
            steady: u64_at(rest, 40)?,
        })
    }

    /// The samples that it is of, unpacked; `None` when they are damaged.
    pub(super) fn unpack(&self, packed: &[u8]) -> Option<Vec<u8>> {
        let length = usize::try_from(self.length).ok().filter(|length| *length <= super::MOST)?;
        if packed.len() != usize::try_from(self.packed).ok()? || crc32c(packed) != self.crc {
            return None;
        }
        zstd::bulk::decompress(packed, length).ok().filter(|bytes| bytes.len() == length)
    }
}

/// The samples of a block as they are packed: each with its length before it.
pub(super) fn joined(records: &mut Vec<u8>, record: &[u8]) {
    records.extend(u32::try_from(record.len()).unwrap_or(0).to_le_bytes());
    records.extend_from_slice(record);
}

/// Takes the first of them off.
pub(super) fn split<'b>(records: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(u32_at(records, 0)?).ok()?;
    let (record, rest) = records.get(4..)?.split_at_checked(length)?;
    *records = rest;
    Some(record)
}

/// The beginning of the open file, of the segment with that number, whose samples are those from number `first` on.
pub(super) fn open_head(segment: u64, first: u64) -> [u8; FIRST] {
    let mut bytes = [0; FIRST];
    let numbers = [segment.to_le_bytes(), first.to_le_bytes()].concat();
    let crc = crc32c(&numbers).to_le_bytes();
    let all = OPEN.into_iter().chain(VERSION.to_le_bytes()).chain(numbers).chain(crc);
    bytes.iter_mut().zip(all).for_each(|(byte, is)| *byte = is);
    bytes
}

/// Which segment the open file belongs to, and the number of the first sample that does.
pub(super) fn parse_open(bytes: &[u8]) -> Result<(u64, u64), Unread> {
    let rest = bytes.strip_prefix(&OPEN).ok_or(Unread::Damaged)?;
    let version = u16_at(rest, 0).ok_or(Unread::Damaged)?;
    if version > VERSION {
        return Err(Unread::Newer(version));
    }
    let numbers: [u8; 16] = le(rest, 2).ok_or(Unread::Damaged)?;
    if u32_at(rest, 18) != Some(crc32c(&numbers)) {
        return Err(Unread::Damaged);
    }
    u64_at(&numbers, 0).zip(u64_at(&numbers, 8)).ok_or(Unread::Damaged)
}

/// A sample of the open file with what stands before it.
pub(super) fn open_record(number: u64, record: &[u8]) -> Vec<u8> {
    let mut summed = number.to_le_bytes().to_vec();
    summed.extend_from_slice(record);
    let mut bytes = u32::try_from(record.len()).unwrap_or(0).to_le_bytes().to_vec();
    bytes.extend(crc32c(&summed).to_le_bytes());
    bytes.extend(summed);
    bytes
}

/// The samples of the open file, in order, with the number of the first. It ends where the next would not be the one that
/// follows: there stand older ones, or what was being written when the power went.
pub(super) fn open_records(bytes: &[u8]) -> (u64, Vec<&[u8]>) {
    let mut rest = bytes.get(FIRST..).unwrap_or_default();
    let (mut first, mut records) = (None, Vec::new());
    loop {
        let next = || {
            let length = usize::try_from(u32_at(rest, 0)?).ok()?;
            let summed = rest.get(8..)?.get(..length.checked_add(8)?)?;
            if u32_at(rest, 4)? != crc32c(summed) {
                return None;
            }
            Some((u64_at(summed, 0)?, summed.get(8..)?, rest.get(PREFIX.checked_add(length)?..)?))
        };
        let Some((number, record, after)) = next() else { break };
        let expected = first.unwrap_or(number).checked_add(records.len() as u64);
        if expected != Some(number) {
            break;
        }
        first = first.or(Some(number));
        records.push(record);
        rest = after;
    }
    (first.unwrap_or(0), records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            name: "web1".into(),
            release: "6.1.0-18-amd64".into(),
            boot: "b".into(),
            offset: -12_600,
            began: Duration::from_secs(1_700_000_000),
        }
    }

    #[test]
    fn heads_come_back_or_are_damaged() {
        let bytes = meta().bytes();
        assert_eq!(Meta::parse(&bytes), Ok((meta(), bytes.len())));
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            let expected = if at == 11 || at == 10 { Unread::Newer(0) } else { Unread::Damaged };
            match (Meta::parse(&broken), expected) {
                (Err(Unread::Newer(version)), Unread::Newer(_)) => assert!(version > VERSION),
                (told, expected) => assert_eq!(told, Err(expected), "byte {at}"),
            }
        }
        let packed = zstd::bulk::compress(b"samples", 3).expect("packed");
        let head =
            Head::of(&packed, 7, 2, 42, (Duration::from_secs(5), Duration::from_secs(6), Duration::from_secs(1)));
        assert_eq!((Head::parse(&head.bytes()), head.unpack(&packed).as_deref()), (Some(head), Some(&b"samples"[..])));
        for at in 0..HEAD {
            let mut broken = head.bytes();
            broken[at] ^= 1;
            assert_eq!(Head::parse(&broken), None, "byte {at}");
        }
        let mut broken = packed.clone();
        broken[3] ^= 1;
        assert_eq!(head.unpack(&broken), None);
    }

    #[test]
    fn the_open_file_ends_where_older_samples_stand() {
        let mut bytes = open_head(3, 10).to_vec();
        for (number, record) in [(10, "ten"), (11, "eleven"), (4, "four"), (12, "twelve")] {
            bytes.extend(open_record(number, record.as_bytes()));
        }
        assert_eq!(parse_open(&bytes), Ok((3, 10)));
        assert_eq!(open_records(&bytes), (10, vec![&b"ten"[..], b"eleven"]));
        // Cut off while it was written.
        let second = FIRST + 2 * PREFIX + 9 - 1;
        assert_eq!(open_records(&bytes[..second]), (10, vec![&b"ten"[..]]));
        bytes[FIRST + PREFIX] ^= 1;
        assert_eq!(open_records(&bytes), (0, vec![]));
        bytes[10] = 9;
        assert_eq!(parse_open(&bytes), Err(Unread::Newer(9)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, packed: Vec<u8>) {
            let _ = Meta::parse(&bytes);
            let _ = Meta::parse(&[&RING[..], &[1, 0], &bytes].concat());
            let _ = Head::parse(&[&MARK[..], &bytes].concat());
            let _ = Head { length: 99, packed: packed.len() as u32, crc: crc32c(&packed), ..Head::default() }.unpack(&packed);
            let _ = parse_open(&bytes);
            open_records(&bytes);
            split(&mut &*bytes);
        }
    }
}
