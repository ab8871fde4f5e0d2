#![allow(clippy::disallowed_methods, reason = "what is read is made first")]

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use sickbay_target::Recording;

use super::*;
use crate::model::text::Lang;
use crate::sample::When;
use crate::sample::rates::{DiskRates, Interval};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collected").join(name)
}

fn part_of(paths: &[PathBuf], asked: &Asked) -> Result<Part, Text> {
    let recording = Recording::of_files(paths).expect("readable").expect("recordings");
    read(&recording, asked, &TimeZone::UTC)
}

fn part(name: &str) -> Part {
    part_of(&[fixture(name)], &Asked::default()).expect("a part")
}

/// A text, written down last at 12:00 on 2018-06-12.
fn printed(text: &str) -> Result<Part, Text> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("printed.txt");
    std::fs::write(&path, text).expect("written");
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_528_804_800);
    let file = std::fs::File::options().write(true).open(&path).expect("there");
    file.set_modified(time).expect("set");
    part_of(&[path], &Asked::default())
}

fn english(text: &Text) -> String {
    text.render(Lang::En)
}

fn near(rate: Option<f64>, expected: f64, off: f64) {
    assert!(rate.is_some_and(|rate| (rate - expected).abs() <= off), "{rate:?} is not {expected}");
}

fn time(wall: Duration) -> String {
    shown(wall, &TimeZone::UTC)
}

fn disk<'a>(interval: &Interval<'a>, name: &str) -> DiskRates<'a> {
    let disks = interval.disks().expect("disks");
    disks.into_iter().find(|disk| disk.disk.name == name).expect("the disk")
}

#[test]
fn an_io_burst_of_the_e_book() {
    let part = part("e-book-io.txt");
    assert_eq!(part.machine.release.as_deref(), Some("2.6.32-431.23.3.el6.x86_64"));
    let intervals: Vec<_> = part.window.intervals_with(|sample| sample.disks.is_some()).collect();
    let at = |end: &str| *intervals.iter().find(|interval| time(interval.to()) == end).expect("the interval");
    // Its clock lost ticks: three seconds were 2.87, and everything comes out even with that.
    let burst = at("2018-06-12 10:36:03");
    assert_eq!((burst.span, time(burst.from())), (Duration::from_millis(2870), "2018-06-12 10:36:00".to_owned()));
    let xvdb = disk(&burst, "xvdb");
    near(xvdb.writes, 2823.69, 0.005);
    near(xvdb.written_kb, 2837.63, 0.005);
    near(xvdb.util, 104.53, 0.005);
    near(xvdb.queue, 132.97, 0.005);
    near(xvdb.wait, 47.0, 0.005);
    near(xvdb.write_wait, 47.0, 0.005);
    near(xvdb.reads, 0.0, 0.0);
    assert_eq!(xvdb.read_wait, None);
    let next = at("2018-06-12 10:36:06");
    near(disk(&next, "xvdb").writes, 2788.28, 0.005);
    near(disk(&next, "xvdb").util, 103.45, 0.005);
    near(disk(&next, "xvda").writes, 2.76, 0.005);
    // iotop has no date of its own, and the last two no column of its own for it.
    let io: Vec<_> = part.window.intervals_with(|sample| sample.io.is_some()).collect();
    let who = |end: &str, pid| {
        let interval =
            io.iter().find(|interval| time(interval.to()) == end).unwrap_or_else(|| panic!("nothing at {end}"));
        let rates = interval.io().expect("processes");
        let of = rates.into_iter().find(|rates| rates.process.pid == pid).expect("the process");
        (of.process.name.to_string(), of.written.map(|written| (written / 1024.0 / 1024.0 * 100.0).round()))
    };
    assert_eq!(who("2018-06-12 10:36:03", 11974), ("fio".to_owned(), Some(263.0)));
    assert_eq!(who("2018-06-12 10:36:06", 11974), ("fio".to_owned(), Some(264.0)));
    assert_eq!(who("2018-06-12 10:54:11", 16209), ("fio".to_owned(), Some(263.0)));
    // What was printed for this one moment is of some time before.
    assert_eq!(who("2018-06-12 10:18:41", 7024), ("fio".to_owned(), Some(264.0)));
}

#[test]
fn thirty_threads_of_the_e_book() {
    let part = part("e-book-ps.txt");
    let [sample] = part.window.samples.as_slice() else { panic!("one moment") };
    assert_eq!(time(sample.moment.wall), "2018-01-20 15:54:12");
    let load = sample.load.expect("the load");
    assert_eq!((load.averages, load.running, load.last_pid), ([2576, 2060, 1900], 12, 11912));
    let threads = sample.threads.as_ref().expect("threads");
    let of = |state| threads.list.iter().filter(|thread| thread.state == state).count();
    // Who looked is left out.
    assert_eq!((of(b'D'), of(b'R'), threads.list.len(), threads.is_all), (27, 3, 30, false));
    assert!(threads.list.iter().all(|thread| thread.parent == 957 && thread.name.to_string() == "nginx"));
}

#[test]
fn processors_of_the_e_book() {
    let part = part("e-book-sar.txt");
    let intervals: Vec<_> = part.window.intervals().collect();
    let cpus: Vec<_> = intervals.iter().map(|interval| interval.cpus().expect("processors")).collect();
    assert_eq!((cpus.len(), time(intervals[0].to()).as_str()), (2, "2020-05-26 17:10:07"));
    let all = cpus[0].all.expect("all");
    near(Some(all.user), 5.63, 0.005);
    near(Some(all.system), 3.58, 0.005);
    near(Some(all.iowait), 1.02, 0.005);
    near(Some(all.idle), 89.77, 0.005);
    // What it does not tell is not 0.
    assert_eq!((all.irq, all.softirq), (None, None));
    let second = cpus[1].each.iter().find(|(cpu, _)| *cpu == 2).and_then(|(_, shares)| *shares).expect("CPU 2");
    near(Some(second.system), 15.45, 0.005);
    near(Some(second.idle), 72.73, 0.005);
}

#[test]
fn what_sadf_says_of_the_same_file() {
    let part = part("sa12");
    let told = std::fs::read_to_string(fixture("sa12.sadf")).expect("what sadf says");
    let intervals: Vec<_> = part.window.intervals().collect();
    assert_eq!((intervals.len(), part.machine.name.as_deref()), (11, Some("host")));
    let mut compared = 0;
    for line in told.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (clock, kind, who) = (words[0], words[1], words[2]);
        let values: Vec<f64> = words[3..].iter().map(|word| word.parse().expect("a number")).collect();
        let interval = intervals.iter().find(|interval| time(interval.to()).ends_with(clock)).expect("the interval");
        let ours = match kind {
            "cpu" => {
                let cpus = interval.cpus().expect("processors");
                let number = who.parse().ok();
                let each = cpus.each.iter().find(|(cpu, _)| Some(*cpu) == number).and_then(|(_, shares)| *shares);
                let shares = if who == "all" { cpus.all } else { each }.expect("known");
                [shares.user, shares.nice.unwrap_or(-1.0), shares.system, shares.iowait, shares.steal]
                    .into_iter()
                    .chain([shares.irq.unwrap_or(-1.0), shares.softirq.unwrap_or(-1.0), shares.idle])
                    .collect()
            }
            "disk" => {
                let disk = disk(interval, who);
                assert_eq!((disk.reads, disk.writes, disk.read_wait), (None, None, None));
                [disk.transfers, disk.read_kb, disk.written_kb, disk.wait, disk.queue, disk.util].map(known).to_vec()
            }
            "irq" => {
                let rows = interval.interrupts().expect("interrupts");
                let row = rows.iter().find(|rates| rates.row.name == who).expect("the row");
                let cpus = row.each.iter().map(|(_, rate)| known(*rate));
                std::iter::once(known(row.total)).chain(cpus).collect()
            }
            "queue" => {
                let (stat, load) = (interval.after.stat.as_ref(), interval.after.load.expect("the load"));
                let of = |value: Option<u64>| value.expect("known") as f64;
                let blocked = of(stat.and_then(|stat| stat.blocked));
                let made = known(interval.rate(|sample| sample.stat.as_ref()?.made));
                let switches = known(interval.rate(|sample| sample.stat.as_ref()?.switches));
                let (running, all) = (load.running as f64, load.total as f64);
                vec![running, all, load.averages[0] as f64 / 100.0, blocked, made, switches]
            }
            "etcp" => {
                let rate = |name| {
                    known(interval.rate(|sample| sickbay_formats::procfs::mib::value(sample.tcp.as_ref()?, name)))
                };
                ["Tcp.RetransSegs", "Tcp.InSegs", "Tcp.OutSegs"].map(rate).to_vec()
            }
            other => panic!("{other}"),
        };
        assert_eq!(ours.len(), values.len(), "{line}");
        for (ours, theirs) in ours.iter().zip(&values) {
            // sadf rounds to two places.
            assert!((ours - theirs).abs() <= 0.0051, "{line}: {ours}");
            compared += 1;
        }
    }
    assert!(compared > 600, "{compared}");
    let burst: Vec<String> = intervals
        .iter()
        .filter(|interval| disk(interval, "dev254-0").written_kb > Some(50_000.0))
        .map(|interval| time(interval.to()))
        .collect();
    assert_eq!((burst.len(), burst[0].as_str()), (4, "2026-11-30 20:49:40"));
}

fn known(rate: Option<f64>) -> f64 {
    rate.expect("known")
}

#[test]
fn a_part_of_it_is_asked_for() {
    let when = |text| When::parse(text);
    let asked = Asked { from: when("20:49:40"), to: when("20:49:43"), ..Asked::default() };
    let part = part_of(&[fixture("sa12")], &asked).expect("a part");
    let intervals: Vec<_> = part.window.intervals().map(|interval| time(interval.to())).collect();
    // With the sample before it, from which the first interval is reckoned.
    assert_eq!((intervals.len(), intervals[0].as_str()), (4, "2026-11-30 20:49:40"));
    let never = Asked { from: when("2026-12-24"), ..Asked::default() };
    let why = part_of(&[fixture("sa12")], &never).expect_err("nothing").render(Lang::En);
    assert!(why.contains("has nothing from 2026-12-24 00:00:00 on"), "{why}");
}

/// With the machine started anew before the seventh record: 12.6 tells how many processors there are then.
fn restarted() -> Vec<u8> {
    let bytes = std::fs::read(fixture("sa12")).expect("the file");
    let records = 12;
    let head = usize::from(u16::from_le_bytes([bytes[8], bytes[9]])) + 76;
    let activities = usize::from(u16::from_le_bytes([bytes[76 + 20], bytes[76 + 21]]));
    let begin = head + activities * 36;
    let size = (bytes.len() - begin) / records;
    assert_eq!(begin + size * records, bytes.len(), "all records are alike");
    let at = begin + size * 6;
    let mut restart = bytes[at..at + 24].to_vec();
    restart[20] = 2;
    restart.extend(2_u32.to_le_bytes());
    [&bytes[..at], &restart, &bytes[at..]].concat()
}

fn of_bytes(bytes: &[u8]) -> Result<Part, Text> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sa30");
    std::fs::write(&path, bytes).expect("written");
    part_of(&[path], &Asked::default())
}

#[test]
fn the_machine_started_anew_in_it() {
    let part = of_bytes(&restarted()).expect("a part");
    let remarks: Vec<String> = part.remarks.iter().map(english).collect();
    assert_eq!(part.window.samples.len(), 6);
    assert_eq!(remarks, ["the machine started anew at 2026-11-30 20:49:41; what was before is shown with --to"]);
}

#[test]
fn files_that_end_too_early_or_are_damaged() {
    let bytes = std::fs::read(fixture("sa12")).expect("the file");
    let cut = of_bytes(&bytes[..bytes.len() - 100]).expect("what is whole");
    assert_eq!(cut.window.samples.len(), 11);
    let why = cut.remarks.first().map(english).expect("a remark");
    assert!(why.starts_with("the last record of ") && why.ends_with(" is not complete"), "{why}");
    let why = |bytes: &[u8]| of_bytes(bytes).expect_err("none").render(Lang::En);
    assert!(
        why(&bytes[..2000]).ends_with("is a file of sar's that ends before its first record does"),
        "{}",
        why(&bytes[..2000])
    );
    let mut spoiled = bytes.clone();
    spoiled[76 + 20] = 0;
    assert!(why(&spoiled).contains("damaged at byte 8"), "{}", why(&spoiled));
    spoiled[2] = 0x79;
    assert!(why(&spoiled).ends_with("in a format that is not known: 0x2179"), "{}", why(&spoiled));
}

#[test]
fn the_day_is_known_from_when_the_file_was_written() {
    // Over midnight, and the last one at 11:59:59 of the day on which it was written.
    let row = |clock: &str| format!("{clock} 7 be/4 root 0.00 B/s 1.00 M/s 0.00 % 1.00 % fio\n");
    let text = ["23:59:58", "23:59:59", "00:00:00", "11:59:59"].map(row).concat();
    let part = printed(&text).expect("a part");
    let moments: Vec<String> = part.window.samples.iter().map(|sample| time(sample.moment.wall)).collect();
    let expected = ["2018-06-11 23:59:57", "2018-06-11 23:59:58", "2018-06-11 23:59:59", "2018-06-12 00:00:00"];
    assert_eq!(moments[..4], expected);
    assert_eq!(moments.last().map(String::as_str), Some("2018-06-12 11:59:59"));
    // What lies between two runs nobody knows.
    let rates: Vec<_> =
        part.window.intervals().map(|interval| interval.io().and_then(|io| io.first()?.written)).collect();
    let mb = Some(1_048_576.0);
    assert_eq!(rates, [mb, mb, mb, None, mb]);
    // A header tells the day, and then it is the next.
    let text = "Linux 3.10.0 (host) \t06/11/2018 \t_x86_64_\t(4 CPU)\n\n11:59:57 PM   UID       PID   kB_rd/s   kB_wr/s kB_ccwr/s  Command\n\
        11:59:58 PM     0         7      0.00   1024.00      0.00  fio\n12:00:03 AM     0         7      0.00   1024.00      0.00  fio\n";
    let moments: Vec<String> =
        printed(text).expect("a part").window.samples.iter().map(|sample| time(sample.moment.wall)).collect();
    assert_eq!(moments, ["2018-06-11 23:59:57", "2018-06-11 23:59:58", "2018-06-12 00:00:03"]);
}

#[test]
fn several_files_are_one_window() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let iostat = write(
        "iostat.txt",
        "06/12/2018 10:36:03 AM\nDevice: r/s w/s rkB/s wkB/s %util\nxvdb 0.00 2700.00 0.00 2700.00 99.00\n\n\
         06/12/2018 10:36:06 AM\nDevice: r/s w/s rkB/s wkB/s %util\nxvdb 0.00 2700.00 0.00 2700.00 99.00\n",
    );
    // Of what does not tell the day it is known from the other.
    let row = "11974 be/4 root 0.00 B/s 2.63 M/s 0.00 % 93.95 % fio\n";
    let iotop = write("iotop.txt", &format!("10:36:03 {row}10:36:06 {row}"));
    let part = part_of(&[iotop, iostat], &Asked::default()).expect("a part");
    let moments: Vec<_> = part.window.samples.iter().map(|sample| sample.moment.steady).collect();
    assert!(moments.is_sorted(), "{moments:?}");
    assert_eq!(part.window.intervals_with(|sample| sample.disks.is_some()).count(), 2);
    let io: Vec<_> = part.window.intervals_with(|sample| sample.io.is_some()).collect();
    assert_eq!((io.len(), time(io[1].to()).as_str()), (2, "2018-06-12 10:36:06"));
}

#[test]
fn without_any_time_it_says_what_to_do() {
    let why = printed(
        "Device: r/s w/s rkB/s wkB/s %util\nsda 1.00 2.00 3.00 4.00 5.00\n06/12/2018 10:36:03 AM\n\
        Device: r/s w/s rkB/s wkB/s %util\nsda 1.00 2.00 3.00 4.00 5.00\n",
    );
    let part = why.expect("the second has one");
    let remark = part.remarks.first().map(english).expect("a remark");
    assert!(remark.ends_with("1 block has no time (iostat and iotop print it with -t)"), "{remark}");
}

#[test]
fn the_first_block_is_of_the_time_since_the_machine_started() {
    let block = |clock: &str, writes: &str, util: &str| {
        format!("06/12/2018 {clock}\nDevice: r/s w/s rkB/s wkB/s %util\nsda 0.00 {writes} 0.00 {writes} {util}\n\n")
    };
    let head = "Linux 3.10.0 (host) \t06/12/2018 \t_x86_64_\t(4 CPU)\n\n".to_owned();
    let text = head.clone() + &block("10:36:00", "3.00", "1.00") + &block("10:36:03", "900.00", "90.00");
    let part = printed(&text).expect("a part");
    let rates: Vec<_> =
        part.window.intervals().map(|interval| (time(interval.from()), disk(&interval, "sda").writes)).collect();
    assert_eq!(rates, [("2018-06-12 10:36:00".to_owned(), Some(900.0))]);
    // What it shows twice it shows of now.
    let text = head + &block("10:36:00", "880.00", "88.00") + &block("10:36:03", "900.00", "90.00");
    assert_eq!(printed(&text).expect("a part").window.intervals().count(), 2);
}

#[test]
fn processes_of_which_not_all_is_told() {
    let text = "Linux 3.10.0 (host) \t06/12/2018 \t_x86_64_\t(4 CPU)\n\n10:36:00   UID      TGID       TID    %usr %system  %guest   %wait    %CPU   CPU  Command\n\
        10:36:01     0         7         -   50.00    0.00    0.00    0.00   50.00     1  worker\n\
        10:36:01     0         -         7   20.00    0.00    0.00    0.00   20.00     1  |__worker\n\
        10:36:01     0         -         8   30.00    0.00    0.00    0.00   30.00     1  |__helper\n\
        10:36:02     0         9         -   10.00    0.00    0.00    0.00   10.00     1  other\n\
        10:36:02     0         -         9   10.00    0.00    0.00    0.00   10.00     1  |__other\n";
    let part = printed(text).expect("a part");
    let rates = |at: usize| {
        let intervals: Vec<_> = part.window.intervals().collect();
        let mut all: Vec<_> = intervals[at].processes().expect("processes");
        all.sort_by_key(|process| process.pid);
        all.iter().map(|process| (process.pid, process.name.to_string(), process.cpu)).collect::<Vec<_>>()
    };
    // Who came later was there before, and did nothing; who is not told of any more does nothing.
    assert_eq!(rates(0), [(7, "worker".to_owned(), 50.0), (9, "other".to_owned(), 0.0)]);
    assert_eq!(rates(1), [(7, "worker".to_owned(), 0.0), (9, "other".to_owned(), 10.0)]);
}
