use super::*;
use crate::procfs::mib;

/// Made here by Debian's sysstat 12.6.1 while fio wrote. What `sadf` says of it is a test of sickbay's.
const FILE: &[u8] = include_bytes!("../../../../sickbay/tests/collected/sa12");

fn all(bytes: &[u8]) -> Result<Vec<Record>, Error> {
    File::open(bytes)?.collect()
}

fn statistics(records: &[Record]) -> Vec<&Statistics> {
    let of = |record| match record {
        &Record { what: What::Statistics(ref statistics), .. } => Some(&**statistics),
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

/// Writes the structures of a file as another version on another machine would have.
struct Writer {
    bytes: Vec<u8>,
    is_big: bool,
    is_wide: bool,
}

impl Writer {
    fn new(is_big: bool, is_wide: bool) -> Writer {
        Writer { bytes: Vec::new(), is_big, is_wide }
    }

    fn put<const N: usize>(&mut self, mut little: [u8; N]) {
        if self.is_big {
            little.reverse();
        }
        self.bytes.extend(little);
    }

    fn u16(&mut self, value: u16) {
        self.put(value.to_le_bytes());
    }

    fn u32(&mut self, value: u64) {
        self.put(u32::try_from(value & 0xffff_ffff).expect("32 bits").to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.put(value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        if self.is_wide { self.u64(value) } else { self.u32(value) }
    }

    /// Up to that offset behind `from`.
    fn pad(&mut self, from: usize, offset: usize) {
        assert!(self.bytes.len() <= from + offset, "{} > {offset}", self.bytes.len() - from);
        self.bytes.resize(from + offset, 0);
    }

    fn names(&mut self, names: [&str; 4]) {
        for name in names {
            let from = self.bytes.len();
            self.bytes.extend(name.bytes());
            self.pad(from, 65);
        }
    }

    /// Longs, each in the room of eight bytes.
    fn longs(&mut self, values: &[u64]) {
        for value in values {
            let from = self.bytes.len();
            self.long(*value);
            self.pad(from, 8);
        }
    }

    /// Numbers of 64 bits, each in the room of sixteen.
    fn wides(&mut self, values: &[u64]) {
        for value in values {
            self.u64(*value);
            self.u64(0);
        }
    }
}

fn times(times: &crate::procfs::stat::Times) -> Vec<u64> {
    [times.user, times.nice, times.system, times.idle, times.iowait, times.steal, times.irq, times.softirq, 0, 0].into()
}

/// As 9.0 (0x2170), 9.1.6 to 10.2 (0x2171) or 10.3 to 11.6 (0x2173) wrote it: processors, processes, load and disks.
fn old(records: &[Record], format: u16, is_big: bool, is_wide: bool) -> Vec<u8> {
    let mut file = Writer::new(is_big, is_wide);
    file.u16(SYSSTAT);
    file.u16(format);
    file.bytes.extend([10, 1, 5, 0]);
    if format == 0x2173 {
        file.u32(288);
        file.pad(0, 76);
    }
    let is_first = format == 0x2170;
    let cpus = 3;
    // Kind, version of its layout, how many, size.
    let activities = [
        (1_u64, 0_u64, cpus, 160_u64),
        (2, 0, 1, 32),
        (9, u64::from(!is_first), 1, 32),
        (11, u64::from(!is_first), 1, if is_first { 80 } else { 64 }),
        (77, 0, 2, 12),
    ];
    let from = file.bytes.len();
    file.long(1_700_000_000);
    file.pad(from, 8);
    let long = if is_wide { 8 } else { 4 };
    match format {
        0x2173 => {
            file.u32(2);
            file.u32(activities.len() as u64);
            file.u32(1);
            file.bytes.extend([12, 5, 118, long]);
        }
        _ => {
            file.u32(activities.len() as u64);
            file.bytes.extend([12, 5, 118, long]);
        }
    }
    file.names(["Linux", "host", "2.6.32-431.el6", "ppc64"]);
    file.pad(from, if format == 0x2173 { 288 } else { 280 });
    for (id, version, count, size) in activities {
        file.u32(id);
        if !is_first {
            file.u32(u64::from(statistics::BASE) + version);
        }
        file.u32(count);
        if !is_first {
            file.u32(1);
        }
        file.u32(size);
    }
    for record in records {
        let from = file.bytes.len();
        file.wides(&[record.uptime * 2, record.uptime]);
        file.long(record.at);
        file.pad(from, 40);
        let (hour, minute, second) = record.clock;
        let kind = if matches!(record.what, What::Statistics(_)) { 1 } else { 2 };
        file.bytes.extend([kind, hour, minute, second]);
        file.pad(from, 48);
        let What::Statistics(told) = &record.what else {
            if format == 0x2173 {
                // How many processors there are from now on; of the rest nothing is filled in.
                [1, 0, cpus, 0, 0].map(|value| file.u32(value));
            }
            continue;
        };
        let stat = told.stat.as_ref().expect("times");
        file.wides(&times(&stat.total));
        stat.cpus.iter().for_each(|(_, cpu)| file.wides(&times(cpu)));
        file.wides(&[stat.switches.expect("switches")]);
        let from = file.bytes.len();
        file.long(stat.made.expect("processes"));
        file.pad(from, 16);
        let load = told.load.expect("the load");
        let from = file.bytes.len();
        file.longs(&[load.running]);
        if !is_first {
            file.longs(&[stat.blocked.expect("blocked")]);
        }
        load.averages.map(|average| file.u32(average));
        file.u32(load.total);
        file.pad(from, 32);
        let disk = told.disks.as_ref().and_then(|disks| disks.first()).expect("a disk");
        let from = file.bytes.len();
        let transfers = disk.transfers.expect("transfers");
        if is_first {
            file.wides(&[disk.sectors_read, disk.sectors_written]);
            file.longs(&[disk.read_ms, disk.write_ms, disk.busy_ms, disk.weighted_ms, transfers]);
        } else {
            file.wides(&[transfers]);
            file.longs(&[disk.sectors_read, disk.sectors_written]);
            [disk.read_ms, disk.write_ms, disk.busy_ms, disk.weighted_ms].map(|ms| file.u32(ms));
        }
        file.u32(disk.device.0.into());
        file.u32(disk.device.1.into());
        file.pad(from, if is_first { 80 } else { 64 });
        // What nobody knows.
        file.bytes.extend([0xff; 24]);
    }
    file.bytes
}

/// As 12 wrote it on another machine, with fields of versions to come.
fn newer(records: &[Record], is_big: bool, is_wide: bool) -> Vec<u8> {
    let mut file = Writer::new(is_big, is_wide);
    file.u16(SYSSTAT);
    file.u16(0x2175);
    file.bytes.extend([12, 0, 0, 0]);
    // The head has a field more of each length.
    let head = (2 + 2) * 8 + 14 * 4 + 3 + 4 * 65 + 8 + 5;
    [head, 0, 2, 2, 14].map(|value| file.u32(value));
    file.pad(0, 76);
    let from = file.bytes.len();
    file.u64(1_700_000_000);
    file.u64(7);
    file.longs(&[100, 7]);
    // Processors with all of them, activities, year, fields of an activity and of a record, their sizes, more of it.
    [3, 3, 2018, 0, 0, 10, 2, 0, 1, 40, 24, 1, 7, 7].map(|value| file.u32(value));
    file.bytes.extend([12, 5, if is_wide { 8 } else { 4 }]);
    file.names(["Linux", "host", "5.14.0", "s390x"]);
    file.bytes.extend(b"CET\0\0\0\0\0");
    file.pad(from, usize::try_from(head).expect("small"));
    let base = u64::from(statistics::BASE);
    let cpu_size = 11 * 8;
    let disk_size = (1 + 2) * 8 + 6 * 4;
    for (id, version, count, is_counted, size, types) in
        [(1, 1, 9, 1, cpu_size, [11, 0, 0]), (11, 2, 1, 0, disk_size, [1, 2, 6]), (99, 0, 2, 1, 8, [1, 0, 0])]
    {
        let [wide, long, int] = types;
        [id, base + version, count, 1, is_counted, size, wide, long, int, 7].map(|value| file.u32(value));
    }
    // What a version to come adds behind the head.
    [2, 5, 0, 0, 0, 1].map(|value| file.u32(value));
    file.bytes.extend([0xee; 10]);
    for record in records {
        let from = file.bytes.len();
        file.u64(record.uptime);
        file.u64(record.at);
        file.u32(0);
        let (hour, minute, second) = record.clock;
        let kind = if matches!(record.what, What::Statistics(_)) { 1 } else { 2 };
        file.bytes.extend([kind, hour, minute, second]);
        file.pad(from, 24);
        let What::Statistics(told) = &record.what else {
            file.u32(3);
            continue;
        };
        let stat = told.stat.as_ref().expect("times");
        file.u32(stat.cpus.len() as u64 + 1);
        for cpu in std::iter::once(&stat.total).chain(stat.cpus.iter().map(|(_, cpu)| cpu)) {
            times(cpu).into_iter().chain([7]).for_each(|value| file.u64(value));
        }
        let disk = told.disks.as_ref().and_then(|disks| disks.first()).expect("a disk");
        file.u64(disk.transfers.expect("transfers"));
        file.longs(&[disk.sectors_read, disk.sectors_written]);
        [disk.read_ms, disk.write_ms, disk.busy_ms, disk.weighted_ms].map(|ms| file.u32(ms));
        file.u32(disk.device.0.into());
        file.u32(disk.device.1.into());
        // None of what nobody knows.
        file.u32(0);
    }
    file.bytes
}

#[test]
fn a_file_that_was_made_here() {
    let file = File::open(FILE).expect("a file of sar's");
    assert_eq!((file.head.version, file.head.hz, file.head.cpus), ((12, 6, 1), 100, Some(2)));
    assert_eq!((file.head.node.to_string(), file.head.release.to_string()), ("host".into(), "6.1.0-25-amd64".into()));
    let records = all(FILE).expect("whole");
    assert_eq!((records.len(), records[0].clock), (12, (20, 49, 35)));
    let told = statistics(&records);
    let last = told.last().expect("statistics");
    let stat = last.stat.as_ref().expect("times");
    assert_eq!((told.len(), stat.cpus.len(), stat.lumped), (12, 2, crate::procfs::stat::Lumped::Nothing));
    let mut disks = last.disks.iter().flatten();
    assert!(disks.any(|disk| disk.name == "dev254-0" && disk.transfers > Some(1000)));
    let interrupts = last.interrupts.as_ref().expect("interrupts");
    assert_eq!((interrupts.cpus.as_slice(), interrupts.row("LOC").map(|row| row.counts.len())), (&[0, 1][..], Some(2)));
    assert!(last.tcp.as_ref().is_some_and(|tcp| mib::value(tcp, "Tcp.RetransSegs").is_some()));
    assert!(last.links.as_ref().is_some_and(|links| links.iter().any(|link| link.name == "lo")));
}

#[test]
fn of_other_versions_and_machines() {
    let with_restart = || {
        let mut records = all(FILE).expect("whole");
        let restart = Record { what: What::Restart, ..records[0].clone() };
        records.insert(3, restart);
        records
    };
    let mut records = with_restart();
    for (is_big, is_wide) in [(false, true), (false, false), (true, true), (true, false)] {
        for format in [0x2170, 0x2171, 0x2173] {
            let bytes = old(&records, format, is_big, is_wide);
            assert!(is_sa(&bytes));
            let read = all(&bytes).expect("whole");
            assert_eq!(read.len(), records.len(), "{format:#x} {is_big} {is_wide}");
            for (read, written) in read.iter().zip(&records) {
                assert_eq!((read.at, read.clock, read.uptime), (written.at, written.clock, written.uptime));
                let (What::Statistics(read), What::Statistics(written)) = (&read.what, &written.what) else {
                    assert_eq!(read.what, What::Restart);
                    continue;
                };
                let (stat, expected) = (read.stat.as_ref().expect("times"), written.stat.as_ref().expect("times"));
                assert_eq!((stat.total, &stat.cpus, stat.made), (expected.total, &expected.cpus, expected.made));
                assert_eq!((read.load, stat.switches), (written.load, expected.switches));
                // The oldest do not tell who waits for a disk.
                assert_eq!(stat.blocked, expected.blocked.filter(|_| format != 0x2170));
                let disk = &written.disks.as_ref().expect("disks")[0];
                let disk = crate::procfs::diskstats::Disk { both_ms: None, ..disk.clone() };
                assert_eq!(read.disks.as_deref(), Some(&[disk][..]));
                assert_eq!((&read.softnet, &read.links), (&None, &None));
            }
        }
        // In the newest a processor may be off for a while.
        if let Some(Record { what: What::Statistics(told), .. }) = records.last_mut()
            && let Some(stat) = told.stat.as_mut()
        {
            stat.cpus[0].1 = Default::default();
        }
        let bytes = newer(&records, is_big, is_wide);
        let file = File::open(&bytes).expect("a head");
        assert_eq!((file.head.zone.to_string(), file.head.cpus), ("CET".into(), Some(2)));
        let read: Vec<Record> = file.collect::<Result<_, _>>().expect("whole");
        let (read, expected) = (statistics(&read), statistics(&records));
        assert_eq!(read.len(), expected.len());
        for (at, (read, written)) in read.iter().zip(&expected).enumerate() {
            let (stat, told) = (read.stat.as_ref().expect("times"), written.stat.as_ref().expect("times"));
            let is_last = at + 1 == expected.len();
            assert_eq!((stat.total, stat.cpus.len()), (told.total, if is_last { 1 } else { 2 }));
            assert_eq!(stat.cpus.last(), told.cpus.last());
            let (disk, told) = (&read.disks.as_ref().expect("disks")[0], &written.disks.as_ref().expect("disks")[0]);
            assert_eq!((disk.transfers, disk.busy_ms), (told.transfers, told.busy_ms));
        }
        records = with_restart();
    }
}

#[test]
fn damaged_ones_say_where() {
    assert_eq!(File::open(b"").map(|_| ()), Err(Error::Foreign));
    assert_eq!(File::open(b"\x96\xd5\x75\x21").map(|_| ()), Err(Error::Short));
    assert_eq!(File::open(b"\x96\xd5\x74\x21aaaaaaaa").map(|_| ()), Err(Error::Format(0x2174)));
    // Cut anywhere it is short, and what is before the cut is there.
    let whole = all(FILE).expect("whole").len();
    for cut in (0..FILE.len()).step_by(997) {
        let bytes = &FILE[..cut];
        let Ok(file) = File::open(bytes) else { continue };
        let read: Vec<_> = file.collect();
        let errors = read.iter().filter(|record| record.is_err()).count();
        assert!(read.len() <= whole && errors <= 1, "{cut}");
        if errors == 1 {
            assert_eq!(read.last(), Some(&Err(Error::Short)), "{cut}");
        }
    }
    // A number of activities, of structures, and a kind of record that cannot be.
    let spoiled = |at: usize, byte: u8| {
        let mut bytes = FILE.to_vec();
        bytes[at] = byte;
        all(&bytes)
    };
    let head = 76;
    assert_eq!(spoiled(head + 16 + 4, 0), Err(Error::Damaged(8)));
    assert_eq!(spoiled(head + 16 + 7, 0xff), Err(Error::Damaged(8)));
    // The size of the first structure, behind kind, version, two counts and a mark.
    let activities = head + usize::from(u16::from_le_bytes([FILE[8], FILE[9]]));
    assert_eq!(spoiled(activities + 20, 0), Err(Error::Damaged(activities)));
}

#[test]
fn names_of_disks() {
    let names = [
        ((8, 0), "sda"),
        ((8, 17), "sdb1"),
        ((65, 160), "sdaa"),
        ((202, 16), "xvdb"),
        ((7, 3), "loop3"),
        ((9, 127), "md127"),
        ((254, 0), "dev254-0"),
        ((259, 1), "dev259-1"),
        ((202, 0x0fff_ffff), "dev202-268435455"),
    ];
    for (device, name) in names {
        assert_eq!(statistics::disk_name(device), name);
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, at in 0_usize..30_000, byte: u8, cut in 0_usize..52_000, is_big: bool) {
        let _ = all(&bytes);
        let mut spoiled = FILE.get(..cut).unwrap_or(FILE).to_vec();
        if let Some(place) = spoiled.get_mut(at) {
            *place = byte;
        }
        let _ = all(&spoiled);
        let records = all(FILE).unwrap_or_default();
        for format in [0x2170, 0x2171, 0x2173] {
            let mut old = old(&records, format, is_big, true);
            if let Some(place) = old.get_mut(at % 4096) {
                *place = byte;
            }
            let _ = all(&old);
        }
        let mut newer = newer(&records, is_big, false);
        if let Some(place) = newer.get_mut(at % 4096) {
            *place = byte;
        }
        let _ = all(&newer);
    }
}
