//! `/proc/diskstats`: Documentation/admin-guide/iostats.rst. All but [`Disk::in_flight`] only ever grow, until they wrap.

use bstr::{BString, ByteSlice};

/// One block device, a partition too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// The device number, as mountinfo writes it.
    pub device: (u32, u32),
    /// `vda1`.
    pub name: BString,
    /// Reads that ended.
    pub reads: u64,
    /// Sectors of 512 bytes that were read.
    pub sectors_read: u64,
    /// Milliseconds that all reads took together.
    pub read_ms: u64,
    /// Writes that ended.
    pub writes: u64,
    /// Sectors of 512 bytes that were written.
    pub sectors_written: u64,
    /// Milliseconds that all writes took together.
    pub write_ms: u64,
    /// Requests that are on their way now.
    pub in_flight: u64,
    /// Milliseconds in which at least one was.
    pub busy_ms: u64,
    /// Milliseconds of all requests together, those on their way too.
    pub weighted_ms: u64,
    /// Discards that ended; kernels from 4.18 on count them.
    pub discards: u64,
    /// Milliseconds that all discards took together.
    pub discard_ms: u64,
    /// Reads and writes together, of sources that do not tell them apart (`sar`): then `reads` and `writes` say nothing. The
    /// kernel does.
    pub transfers: Option<u64>,
    /// Milliseconds that reads and writes took together, of sources that do not tell them apart (`iostat` before 10.1): then
    /// `read_ms` and `write_ms` say nothing.
    pub both_ms: Option<u64>,
}

/// The devices; lines of another form (partitions before 2.6.25 have fewer numbers) are passed over.
pub fn parse(text: &[u8]) -> Vec<Disk> {
    text.lines().filter_map(disk).collect()
}

fn disk(line: &[u8]) -> Option<Disk> {
    let mut words = super::words(line);
    let major = super::digits(words.next()?)?.try_into().ok()?;
    let minor = super::digits(words.next()?)?.try_into().ok()?;
    let name = words.next()?.into();
    let mut next = || super::digits(words.next()?);
    let (reads, _, sectors_read, read_ms) = (next()?, next()?, next()?, next()?);
    let (writes, _, sectors_written, write_ms) = (next()?, next()?, next()?, next()?);
    let (in_flight, busy_ms, weighted_ms) = (next()?, next()?, next()?);
    let mut newer = || next().unwrap_or(0);
    let (discards, _, _, discard_ms) = (newer(), newer(), newer(), newer());
    Some(Disk {
        device: (major, minor),
        name,
        reads,
        sectors_read,
        read_ms,
        writes,
        sectors_written,
        write_ms,
        in_flight,
        busy_ms,
        weighted_ms,
        discards,
        discard_ms,
        ..Disk::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_any_age() {
        let text = b" 254       0 vda 36186 8 2867706 9240 5 6 7 8 1 21940 17248 0 0 0 0\n   8 1 sda1 1 2 3 4\n\
            8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n";
        let disks = parse(text);
        let seen: Vec<_> = disks.iter().map(|disk| (disk.name.to_string(), disk.sectors_read, disk.busy_ms)).collect();
        assert_eq!(seen, [("vda".to_owned(), 2_867_706, 21_940), ("sdb".to_owned(), 3, 10)]);
        assert_eq!((disks[0].device, disks[1].in_flight), ((254, 0), 9));
        let disks = parse(b"65 0 sdq 1 2 3 4 5 6 7 8 9 10 11 8638 547 362610 123000 7 8\n");
        assert_eq!((disks[0].discards, disks[0].discard_ms), (8638, 123_000));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[0-9 a-z\n-]{0,80}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
