//! Files of systemd-journald (systemd's "Journal File Format"): a header, then objects one after the other. Nothing is looked
//! up by hash: the objects are gone through in order, so that a file that was cut off or damaged gives what it still has.

use std::io::Read;

/// What a file begins with.
pub const MAGIC: &[u8] = b"LPKSHHRH";
/// Bits of the header's incompatible flags.
const COMPACT: u32 = 16;
/// Types of objects.
const DATA: u8 = 1;
const ENTRY: u8 = 3;
/// Ways in which a DATA object may be packed, as its flags say.
const XZ: u8 = 1;
const LZ4: u8 = 2;
const ZSTD: u8 = 4;
/// A field is read up to this size.
const LONGEST: usize = 64 << 10;
/// An entry has some thirty fields; of one with more the rest is passed over.
const FIELDS: usize = 128;

/// A journal file.
#[derive(Clone, Copy, Debug)]
pub struct JournalFile<'a> {
    bytes: &'a [u8],
    start: usize,
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

/// What the kernel says in a journal file, as lines of `journalctl -o export`; `None` when it is no journal file.
pub fn kernel_export(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for entry in JournalFile::parse(bytes)?.entries(|entry| entry.kernel) {
        for line in entry.message.split(|byte| *byte == b'\n') {
            out.extend_from_slice(format!("__REALTIME_TIMESTAMP={}\n_TRANSPORT=kernel\n", entry.realtime).as_bytes());
            if let Some(priority) = entry.priority {
                out.extend_from_slice(format!("PRIORITY={priority}\n").as_bytes());
            }
            out.extend_from_slice(b"MESSAGE=");
            out.extend_from_slice(line);
            out.extend_from_slice(b"\n\n");
        }
    }
    Some(out)
}

impl<'a> JournalFile<'a> {
    /// The file with these bytes; `None` when it is none.
    pub fn parse(bytes: &'a [u8]) -> Option<JournalFile<'a>> {
        let start = usize::try_from(u64_at(bytes, 88)?).ok()?;
        let incompatible = u32_at(bytes, 12)?;
        // 31: every flag that is known. What a later one means cannot be guessed.
        (bytes.starts_with(MAGIC) && (208..65_536).contains(&start) && incompatible < 32).then_some(JournalFile {
            bytes,
            start,
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
                let object = self.bytes.get(at..at.checked_add(size)?)?;
                // Objects begin at multiples of 8.
                at = at.checked_add(size.checked_next_multiple_of(8)?)?;
                if kind == ENTRY
                    && let Some(entry) = self.entry(object, &wanted)
                {
                    return Some(entry);
                }
            }
        })
    }

    /// The kind and the size of the object there; `None` where there is none.
    fn object(self, at: usize) -> Option<(u8, usize)> {
        let size = usize::try_from(u64_at(self.bytes, at.checked_add(8)?)?).ok()?;
        let kind = *self.bytes.get(at)?;
        ((1..=7).contains(&kind) && size >= 16).then_some((kind, size))
    }

    fn entry(self, object: &[u8], wanted: &impl Fn(&Entry) -> bool) -> Option<Entry> {
        let items = object.get(64..)?;
        let width = if self.compact { 4 } else { 16 };
        let offsets = items.chunks_exact(width).take(FIELDS).filter_map(|item| {
            let offset = if self.compact { u64::from(u32_at(item, 0)?) } else { u64_at(item, 0)? };
            usize::try_from(offset).ok()
        });
        let mut entry = Entry { realtime: u64_at(object, 24)?, ..Entry::default() };
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
        entry.message = texts.into_iter().find_map(|(flags, payload)| unpacked(flags, payload, b"MESSAGE="))?;
        Some(entry)
    }

    /// How the DATA object there is packed, and its payload.
    fn payload(self, at: usize) -> Option<(u8, &'a [u8])> {
        let (kind, size) = self.object(at)?;
        let head = if self.compact { 72 } else { 64 };
        let payload = self.bytes.get(at.checked_add(head)?..at.checked_add(size)?)?;
        let flags = *self.bytes.get(at + 1)? & (XZ | LZ4 | ZSTD);
        (kind == DATA).then_some((flags, payload))
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
            let journal = JournalFile::parse(&bytes).unwrap();
            let all: Vec<Entry> = journal.entries(|entry| entry.author == b"sshd").collect();
            assert_eq!(all.len(), 1);
            assert_eq!((all[0].realtime, all[0].message.as_slice()), (1_700_000_000_000_000, message.as_slice()));
            assert_eq!(journal.entries(|entry| entry.author == b"cron").count(), 0);
        }
        assert!(JournalFile::parse(b"LPKSHHRH").is_none());
    }

    #[test]
    fn what_the_kernel_says() {
        let text = kernel_export(&file(true, b"one\ntwo", 0)).unwrap();
        let head = "__REALTIME_TIMESTAMP=1700000000000000\n_TRANSPORT=kernel\nPRIORITY=4\nMESSAGE=";
        assert_eq!(String::from_utf8(text).unwrap(), format!("{head}one\n\n{head}two\n\n"));
        assert!(kernel_export(b"one").is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_damage_is_read(at in 0_usize..900, byte: u8, cut in 0_usize..900) {
            let mut bytes = file(at % 2 == 0, b"what is said", if at % 3 == 0 { ZSTD } else { 0 });
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(bytes.len().max(cut) - cut.min(bytes.len()));
            if let Some(journal) = JournalFile::parse(&bytes) {
                let _ = journal.entries(|_| true).count();
            }
        }
    }
}
