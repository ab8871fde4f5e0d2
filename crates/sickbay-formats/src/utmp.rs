//! Records of logins and boots: `wtmp` and `btmp`, of the layout that glibc has on 32-bit machines and on x86-64 (384
//! bytes), and the one with times of 64 bits, as on arm64 (400 bytes); utmp(5).

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The system was started.
    Boot,
    /// The system was shut down in order.
    Shutdown,
    /// Somebody logged in; in btmp, tried to.
    Login,
    /// A session ended.
    Logout,
    /// A process that asks for a name; sshd writes its failures to btmp as this.
    Asking,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub kind: Kind,
    /// Who.
    pub user: String,
    /// On which terminal: `tty1`, `pts/0`, `ssh:notty`.
    pub line: String,
    /// From where; "" from the console.
    pub host: String,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// The size of a record with times of 32 bits, and of 64 bits.
const SIZES: [usize; 2] = [384, 400];

/// The size of the records in `bytes`, which are the end of a file of `size` bytes: the one that it is a multiple of and that gives
/// more records that make sense. So many bytes of `bytes` belong to a record whose beginning is not there.
fn layout(bytes: &[u8], size: u64) -> Option<(usize, usize)> {
    let skip = |record: usize| {
        let whole = size - size % record as u64;
        let missing = whole.saturating_sub(bytes.len() as u64);
        usize::try_from((record as u64 - missing % record as u64) % record as u64).unwrap_or(0)
    };
    let count = |record: usize| {
        let part = bytes.get(skip(record)..).unwrap_or_default();
        part.chunks_exact(record).take(64).filter(|bytes| self::record(bytes).is_some()).count()
    };
    let best = SIZES.into_iter().max_by_key(|record| (count(*record), size.is_multiple_of(*record as u64)))?;
    (count(best) > 0).then(|| (best, skip(best)))
}

/// The records in the end of a file of `size` bytes, oldest first; those that make no sense are left out.
pub fn records(bytes: &[u8], size: u64) -> impl Iterator<Item = Record> {
    let (length, skip) = layout(bytes, size.max(bytes.len() as u64)).unwrap_or((384, bytes.len()));
    bytes.get(skip..).unwrap_or_default().chunks_exact(length).filter_map(record)
}

fn record(bytes: &[u8]) -> Option<Record> {
    let wide = bytes.len() == 400;
    let kind = i16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
    let text = |from: usize, length: usize| {
        let field = bytes.get(from..from + length)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        Some(String::from_utf8_lossy(field.get(..end)?).into_owned())
    };
    let (line, user, host) = (text(8, 32)?, text(44, 32)?, text(76, 256)?);
    let time = match wide {
        true => u64::from_le_bytes(bytes.get(344..352)?.try_into().ok()?),
        // Unsigned: so it lasts until 2106.
        false => u64::from(u32::from_le_bytes(bytes.get(340..344)?.try_into().ok()?)),
    };
    let kind = match kind {
        1 if user == "shutdown" => Kind::Shutdown,
        2 => Kind::Boot,
        6 => Kind::Asking,
        7 => Kind::Login,
        8 => Kind::Logout,
        _ => return None,
    };
    // 2000 to 2100.
    (946_684_800..4_102_444_800).contains(&time).then_some(Record { kind, user, line, host, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: i16, user: &str, host: &str, time: u32, wide: bool) -> Vec<u8> {
        let mut out = vec![0; if wide { 400 } else { 384 }];
        out[..2].copy_from_slice(&kind.to_le_bytes());
        out[8..12].copy_from_slice(b"tty1");
        out[44..44 + user.len()].copy_from_slice(user.as_bytes());
        out[76..76 + host.len()].copy_from_slice(host.as_bytes());
        let at = if wide { 344 } else { 340 };
        out[at..at + 4].copy_from_slice(&time.to_le_bytes());
        out
    }

    #[test]
    fn both_layouts_whole_and_cut() {
        for wide in [false, true] {
            let file: Vec<u8> = [
                one(2, "reboot", "6.1.0", 1_700_000_000, wide),
                one(7, "root", "192.0.2.7", 1_700_000_100, wide),
                one(1, "shutdown", "6.1.0", 1_700_000_200, wide),
            ]
            .concat();
            let all: Vec<Record> = records(&file, file.len() as u64).collect();
            assert_eq!(
                all.iter().map(|record| record.kind).collect::<Vec<_>>(),
                [Kind::Boot, Kind::Login, Kind::Shutdown]
            );
            assert_eq!((all[1].user.as_str(), all[1].host.as_str(), all[1].time), ("root", "192.0.2.7", 1_700_000_100));
            // The end of a larger file begins in the middle of a record.
            let end = &file[100..];
            assert_eq!(records(end, file.len() as u64).count(), 2);
        }
        assert_eq!(records(b"what is no record at all", 24).count(), 0);
        assert_eq!(records(&[7; 4000], 4000).count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000), size: u64) {
            let _ = records(&bytes, size).count();
        }
    }
}
