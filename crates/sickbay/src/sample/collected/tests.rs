#![allow(clippy::disallowed_methods, reason = "what is read is made first")]

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use sickbay_target::Recording;

use super::*;
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
