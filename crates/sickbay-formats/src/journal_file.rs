//! Files of systemd-journald (systemd's "Journal File Format"): a header, then objects one after the other. Nothing is looked
//! up by hash: the objects are gone through in order, so that a file that was cut off or damaged gives what it still has.

use std::borrow::Cow;
use std::io::Read;

/// What a file begins with.
pub const MAGIC: &[u8] = b"LPKSHHRH";
/// Bits of the header's incompatible flags.
const COMPACT: u32 = 16;
/// Types of objects.
const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;
/// Ways in which a DATA object may be packed, as its flags say.
const XZ: u8 = 1;
const LZ4: u8 = 2;
const ZSTD: u8 = 4;
/// A field is read up to this size.
const LONGEST: usize = 64 << 10;
/// An entry has some thirty fields; of one with more the rest is passed over.
const FIELDS: usize = 128;

/// Of a packed field no more is read.
const PACKED: usize = 1 << 20;
/// Arrays of entries are a chain, each twice as long as the one before.
const ARRAYS: usize = 256;
/// So much of an array is read at a time.
const PIECE: usize = 64 << 10;

/// Where the bytes of a journal file come from.
pub trait Store {
    /// So many bytes from a place on; `None` where they are not there.
    fn part(&self, at: u64, length: usize) -> Option<Cow<'_, [u8]>>;
}

impl Store for &[u8] {
    fn part(&self, at: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        let at = usize::try_from(at).ok()?;
        self.get(at..at.checked_add(length)?).map(Cow::Borrowed)
    }
}

impl Store for Vec<u8> {
    fn part(&self, at: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        let at = usize::try_from(at).ok()?;
        self.get(at..at.checked_add(length)?).map(Cow::Borrowed)
    }
}

/// A journal file.
#[derive(Clone, Copy, Debug)]
pub struct JournalFile<S> {
    store: S,
    start: u64,
    arrays: u64,
    compact: bool,
}

/// One entry of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Entry {
    /// When it was written, in microseconds since 1970.
    pub realtime: u64,
    /// Who says it: `SYSLOG_IDENTIFIER`, else `_COMM`.
    pub author: Vec<u8>,
    /// What is said: `MESSAGE`.
    pub message: Vec<u8>,
    /// How grave it is, 0 to 7 as of syslog(3): `PRIORITY`.
    pub priority: Option<u8>,
    /// The kernel says it: `_TRANSPORT`.
    pub kernel: bool,
}

impl Entry {
    /// The entry as text: what the kernel says as `journalctl -o export` has it, what others say as lines of `-o short-unix`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (seconds, micros) = (self.realtime / 1_000_000, self.realtime % 1_000_000);
        for line in self.message.split(|byte| *byte == b'\n') {
            if self.kernel {
                out.extend_from_slice(
                    format!("__REALTIME_TIMESTAMP={}\n_TRANSPORT=kernel\n", self.realtime).as_bytes(),
                );
                if let Some(priority) = self.priority {
                    out.extend_from_slice(format!("PRIORITY={priority}\n").as_bytes());
                }
                out.extend_from_slice(b"MESSAGE=");
                out.extend_from_slice(line);
                out.extend_from_slice(b"\n\n");
                continue;
            }
            out.extend_from_slice(format!("{seconds}.{micros:06} journal ").as_bytes());
            let plain = |byte: &u8| if byte.is_ascii_whitespace() || *byte == b':' { b'_' } else { *byte };
            out.extend(self.author.iter().take(64).map(plain));
            out.extend_from_slice(b": ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
}

impl<S: Store> JournalFile<S> {
    /// The file with these bytes; `None` when it is none.
    pub fn parse(store: S) -> Option<JournalFile<S>> {
        let head = store.part(0, 208)?.into_owned();
        let (start, arrays) = (u64_at(&head, 88)?, u64_at(&head, 176)?);
        let incompatible = u32_at(&head, 12)?;
        // 31: every flag that is known. What a later one means cannot be guessed.
        (head.starts_with(MAGIC) && (208..65_536).contains(&start) && incompatible < 32).then_some(JournalFile {
            store,
            start,
            arrays,
            compact: incompatible & COMPACT != 0,
        })
    }

    /// Its entries, in the order in which they were written, those for which `wanted` says so: it is asked before the message is
    /// unpacked.
    pub fn entries(self, wanted: impl Fn(&Entry) -> bool) -> impl Iterator<Item = Entry> {
        let mut at = self.start;
        std::iter::from_fn(move || {
            loop {
                let (kind, size) = self.object(at)?;
                let here = at;
                // Objects begin at multiples of 8.
                at = at.checked_add(size.checked_next_multiple_of(8)?)?;
                if kind == ENTRY
                    && let Some(entry) = self.entry(here, size, &wanted)
                {
                    return Some(entry);
                }
            }
        })
    }

    /// The entries that stand behind this place in the file, by its own list of them: the newest ones of a file that is too
    /// large to be gone through.
    pub fn entries_behind(self, from: u64, wanted: impl Fn(&Entry) -> bool) -> impl Iterator<Item = Entry> {
        let places = self.places(from);
        places.into_iter().filter_map(move |at| {
            let (kind, size) = self.object(at)?;
            if kind == ENTRY { self.entry(at, size, &wanted) } else { None }
        })
    }

    /// Where entries behind `from` are.
    fn places(&self, from: u64) -> Vec<u64> {
        let width = if self.compact { 4 } else { 8 };
        let mut out = Vec::new();
        let (mut at, mut before) = (self.arrays, 0);
        for _ in 0..ARRAYS {
            // A later array stands behind an earlier one: a ring has an end.
            let Some((ENTRY_ARRAY, size)) = self.object(at).filter(|_| at > before) else { break };
            let next = self.store.part(at.saturating_add(16), 8).and_then(|bytes| u64_at(&bytes, 0));
            let (mut item, end) = (at.saturating_add(24), at.saturating_add(size));
            while item < end {
                let length = usize::try_from(end - item).unwrap_or(PIECE).min(PIECE);
                let Some(bytes) = self.store.part(item, length) else { break };
                let places = bytes.chunks_exact(width).filter_map(|bytes| match width {
                    4 => u32_at(bytes, 0).map(u64::from),
                    _ => u64_at(bytes, 0),
                });
                out.extend(places.filter(|place| *place >= from.max(1)));
                item = item.saturating_add(length as u64);
            }
            before = at;
            let Some(next) = next else { break };
            at = next;
        }
        out
    }

    /// The kind and the size of the object there; `None` where there is none.
    fn object(&self, at: u64) -> Option<(u8, u64)> {
        let head = self.store.part(at, 16)?;
        let (kind, size) = (*head.first()?, u64_at(&head, 8)?);
        ((1..=7).contains(&kind) && size >= 16).then_some((kind, size))
    }

    fn entry(&self, at: u64, size: u64, wanted: &impl Fn(&Entry) -> bool) -> Option<Entry> {
        let width = if self.compact { 4 } else { 16 };
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(64 + FIELDS * width);
        let object = self.store.part(at, length)?;
        let items = object.get(64..)?;
        let offsets = items
            .chunks_exact(width)
            .filter_map(|item| if self.compact { Some(u64::from(u32_at(item, 0)?)) } else { u64_at(item, 0) });
        let mut entry = Entry { realtime: u64_at(&object, 24)?, ..Entry::default() };
        let mut named = false;
        // Those that may be the message.
        let mut texts = Vec::new();
        for offset in offsets {
            let Some((flags, payload)) = self.payload(offset) else { continue };
            // Names of authors are too short to be packed.
            if let Some(author) = payload.strip_prefix(b"SYSLOG_IDENTIFIER=") {
                entry.author = author.to_vec();
                named = true;
            } else if let Some(author) = payload.strip_prefix(b"_COMM=").filter(|_| !named) {
                entry.author = author.to_vec();
            } else if let Some(priority) = payload.strip_prefix(b"PRIORITY=") {
                entry.priority = std::str::from_utf8(priority).ok().and_then(|text| text.parse().ok());
            } else if let Some(transport) = payload.strip_prefix(b"_TRANSPORT=") {
                entry.kernel = transport == b"kernel";
            } else if flags != 0 || payload.starts_with(b"MESSAGE=") {
                texts.push((flags, payload));
            }
        }
        if !wanted(&entry) {
            return None;
        }
        entry.message = texts.into_iter().find_map(|(flags, payload)| unpacked(flags, &payload, b"MESSAGE="))?;
        Some(entry)
    }

    /// How the DATA object there is packed, and its payload.
    fn payload(&self, at: u64) -> Option<(u8, Cow<'_, [u8]>)> {
        let head = self.store.part(at, 16)?;
        let (kind, flags, size) = (*head.first()?, *head.get(1)? & (XZ | LZ4 | ZSTD), u64_at(&head, 8)?);
        let skip = if self.compact { 72 } else { 64 };
        let most = if flags == 0 { LONGEST } else { PACKED };
        let length = usize::try_from(size.checked_sub(skip)?).unwrap_or(usize::MAX).min(most);
        (kind == DATA).then_some(())?;
        Some((flags, self.store.part(at.checked_add(skip)?, length)?))
    }
}

/// The value of the field, if this is it.
fn unpacked(flags: u8, payload: &[u8], field: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    match flags {
        0 => text.extend_from_slice(payload.get(..payload.len().min(LONGEST))?),
        ZSTD => {
            let decoder = zstd::stream::read::Decoder::with_buffer(payload).ok()?;
            decoder.take(LONGEST as u64).read_to_end(&mut text).ok()?;
        }
        XZ => {
            let decoder = lzma_rust2::XzReader::new_mem_limit(payload, true, 80 << 10);
            decoder.take(LONGEST as u64).read_to_end(&mut text).ok()?;
        }
        _ => {
            // The size of the text stands before it.
            let size = usize::try_from(u64_at(payload, 0)?).ok()?;
            text = lz4_flex::block::decompress(payload.get(8..)?, size.min(LONGEST)).ok()?;
        }
    }
    text.strip_prefix(field).map(<[u8]>::to_vec)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one entry.
    fn file(compact: bool, message: &[u8], packed: u8) -> Vec<u8> {
        let mut out = vec![0; 256];
        out[..8].copy_from_slice(MAGIC);
        out[12..16].copy_from_slice(&(if compact { COMPACT } else { 0 }).to_le_bytes());
        out[88..96].copy_from_slice(&256_u64.to_le_bytes());
        let mut offsets = Vec::new();
        let mut data = |out: &mut Vec<u8>, flags: u8, payload: &[u8]| {
            offsets.push(out.len());
            let head = if compact { 72 } else { 64 };
            let mut object = vec![0; head];
            object[0] = DATA;
            object[1] = flags;
            object[8..16].copy_from_slice(&((head + payload.len()) as u64).to_le_bytes());
            object.extend(payload);
            object.resize(object.len().next_multiple_of(8), 0);
            out.extend(object);
        };
        data(&mut out, 0, b"_COMM=sshd-session");
        data(&mut out, 0, b"SYSLOG_IDENTIFIER=sshd");
        data(&mut out, 0, b"_TRANSPORT=kernel");
        data(&mut out, 0, b"PRIORITY=4");
        let text = [b"MESSAGE=", message].concat();
        let payload = match packed {
            ZSTD => zstd::stream::encode_all(text.as_slice(), 3).unwrap(),
            LZ4 => [(text.len() as u64).to_le_bytes().to_vec(), lz4_flex::block::compress(&text)].concat(),
            _ => text,
        };
        data(&mut out, packed, &payload);
        let mut object = vec![0; 64];
        object[0] = ENTRY;
        object[24..32].copy_from_slice(&1_700_000_000_000_000_u64.to_le_bytes());
        for offset in &offsets {
            if compact {
                object.extend((*offset as u32).to_le_bytes());
            } else {
                object.extend((*offset as u64).to_le_bytes());
                object.extend([0; 8]);
            }
        }
        let size = object.len() as u64;
        object[8..16].copy_from_slice(&size.to_le_bytes());
        out.extend(object);
        out
    }

    #[test]
    fn entries_are_read_whatever_packs_them() {
        let message = b"User root from 192.0.2.7 not allowed because not listed in AllowUsers ".repeat(20);
        for (compact, packed) in [(false, 0), (true, 0), (false, ZSTD), (true, LZ4)] {
            let bytes = file(compact, &message, packed);
            let journal = JournalFile::parse(bytes.as_slice()).unwrap();
            let all: Vec<Entry> = journal.entries(|entry| entry.author == b"sshd").collect();
            assert_eq!(all.len(), 1);
            assert_eq!((all[0].realtime, all[0].message.as_slice()), (1_700_000_000_000_000, message.as_slice()));
            assert_eq!(journal.entries(|entry| entry.author == b"cron").count(), 0);
        }
        assert!(JournalFile::parse(b"LPKSHHRH".as_slice()).is_none());
    }

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        JournalFile::parse(bytes).unwrap().entries(|_| true).for_each(|entry| entry.write(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_said_as_text() {
        let head = "__REALTIME_TIMESTAMP=1700000000000000\n_TRANSPORT=kernel\nPRIORITY=4\nMESSAGE=";
        assert_eq!(text(&file(true, b"one\ntwo", 0)), format!("{head}one\n\n{head}two\n\n"));
        let mut other = file(false, b"one\ntwo", 0);
        let at = bstr::ByteSlice::find(other.as_slice(), "_TRANSPORT=kernel").unwrap();
        other[at + 11..at + 17].copy_from_slice(b"stdout");
        let head = "1700000000.000000 journal sshd: ";
        assert_eq!(text(&other), format!("{head}one\n{head}two\n"));
    }

    /// The same file with an array that lists its entry, twice.
    fn listed(compact: bool) -> Vec<u8> {
        let mut out = file(compact, b"what is said", 0);
        let entry = out.len() - if compact { 64 + 5 * 4 } else { 64 + 5 * 16 };
        out.resize(out.len().next_multiple_of(8), 0);
        let array = out.len() as u64;
        out[176..184].copy_from_slice(&array.to_le_bytes());
        let mut object = vec![0; 24];
        object[0] = ENTRY_ARRAY;
        for place in [entry as u64, entry as u64, 0] {
            match compact {
                true => object.extend((place as u32).to_le_bytes()),
                false => object.extend(place.to_le_bytes()),
            }
        }
        let size = object.len() as u64;
        object[8..16].copy_from_slice(&size.to_le_bytes());
        out.extend(object);
        out
    }

    #[test]
    fn the_newest_are_found_by_the_files_own_list() {
        for compact in [false, true] {
            let bytes = listed(compact);
            let journal = JournalFile::parse(bytes.as_slice()).unwrap();
            assert_eq!(journal.entries_behind(0, |_| true).count(), 2, "{compact}");
            assert_eq!(journal.entries_behind(bytes.len() as u64, |_| true).count(), 0);
            assert_eq!(journal.entries(|_| true).count(), 1);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_damage_is_read(at in 0_usize..900, byte: u8, cut in 0_usize..900) {
            let mut bytes = file(at % 2 == 0, b"what is said", if at % 3 == 0 { ZSTD } else { 0 });
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(bytes.len().max(cut) - cut.min(bytes.len()));
            if let Some(journal) = JournalFile::parse(bytes.as_slice()) {
                let _ = journal.entries(|_| true).count();
            }
            let mut bytes = listed(at % 2 == 0);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            if let Some(journal) = JournalFile::parse(bytes) {
                let _ = journal.entries_behind(0, |_| true).count();
            }
        }
    }
}
