//! What is written is read, whatever happens to it in between.
#![allow(clippy::disallowed_methods)] // recordings are damaged here

use std::path::{Path, PathBuf};
use std::time::Duration;

use sickbay_formats::procfs::diskstats::Disk;
use sickbay_formats::procfs::interrupts::{Interrupts, Row};
use sickbay_formats::procfs::loadavg;
use sickbay_formats::procfs::mib::Counter;
use sickbay_formats::procfs::net_dev::{Carried, Link};
use sickbay_formats::procfs::pressure::{Pressure, Stall};
use sickbay_formats::procfs::softnet::Softnet;
use sickbay_formats::procfs::stat::{Stat, Times};
use sickbay_formats::procfs::task_io::Io;
use sickbay_target::{Moment, Recording, faults};

use super::recorder::LEAST;
use super::*;
use crate::model::text::Lang;
use crate::sample::asked::When;
use crate::sample::recorded::Part;
use crate::sample::{
    Asked, CardCounter, Memory, Name, OpenFile, ParameterWrite, ProcessIo, Sample, Sockets, Stack, Thread, Threads,
    Throttled,
};

/// Tuesday, 2018-06-12 00:00:00 UTC.
const DAY: u64 = 1_528_761_600;

fn at(second: f64) -> Moment {
    let time = |more: f64| Duration::from_micros(((second + more) * 1e6) as u64);
    Moment { steady: time(5000.0), wall: time(DAY as f64) }
}

fn thread(pid: u32, name: &str, state: u8, ticks: u64) -> Thread {
    Thread { pid, id: pid, parent: 1, name: Name::of(name.as_bytes()), state, ticks, began: 99, ..Thread::default() }
}

/// A machine on which everything is there and moves.
fn full(n: u64) -> Sample {
    let times = Times { user: n * 3, system: n, idle: n * 96, ..Times::default() };
    let stall = Stall { averages: [n % 7, 2, 3], total: n * 1000 };
    let row =
        |name: &str, count: u64| Row { name: name.into(), counts: vec![count, n], about: "virtio0-input.0".into() };
    let mut list: Vec<Thread> = (10..60).map(|pid| thread(pid, "idle", b'S', 5)).collect();
    // One comes, one goes, one is another.
    list.retain(|thread| u64::from(thread.pid) != 10 + n % 50);
    list.push(thread(70 + (n % 3) as u32, "busy", b'R', n * 100));
    list.push(Thread { waits_in: Some("folio_wait_bit".into()), slices: Some(n), ..thread(90, "dd", b'D', 7) });
    let counter = |name: &str, value| Counter { name: name.into(), value };
    Sample {
        moment: at(n as f64),
        load: loadavg::parse(format!("{}.50 2.00 1.00 3/52 {}", n % 9, 1000 + n).as_bytes()),
        stat: Some(Stat {
            total: times,
            cpus: vec![(0, times), (2, times)],
            made: Some(n),
            started: Some(DAY),
            ..Stat::default()
        }),
        cpu_pressure: Some(Pressure { some: Some(stall), full: None }),
        io_pressure: Some(Pressure { some: Some(stall), full: Some(stall) }),
        memory_pressure: None,
        disks: Some(vec![Disk { device: (254, 0), name: "vda".into(), writes: n * 7, busy_ms: n, ..Disk::default() }]),
        threads: Some(Threads { list, is_all: true, left_out: n % 2 }),
        io: Some(vec![ProcessIo {
            pid: 90,
            began: 99,
            name: Name::of(b"dd"),
            io: Io { write_bytes: n << 20, ..Io::default() },
        }]),
        interrupts: Some(Interrupts { cpus: vec![0, 2], rows: vec![row("27", n * 9), row("NMI", 0)] }),
        softirqs: Some(Interrupts { cpus: vec![0, 2], rows: vec![row("NET_RX", n)] }),
        softnet: Some(vec![Softnet { cpu: Some(0), processed: n, ..Softnet::default() }, Softnet::default()]),
        links: Some(vec![Link {
            name: "eth0".into(),
            received: Carried { bytes: n * 1500, ..Carried::default() },
            sent: Carried::default(),
        }]),
        cards: n
            .is_multiple_of(10)
            .then(|| vec![CardCounter { link: "eth0".into(), name: "pps_allowance_exceeded".into(), value: n }]),
        tcp: Some(vec![counter("Tcp.InSegs", n * 11), counter("TcpExt.ListenDrops", 3)]),
        sockets: Some(vec![Sockets { namespace: 4_026_531_840, pid: 1, tcp: vec![counter("TCP.inuse", 7)] }]),
        memory: Some(Memory { total: 1 << 22, free: 1000 - n % 100, available: Some(n), ..Memory::default() }),
        throttled: Some(vec![Throttled {
            group: "/system.slice/a.service".into(),
            quota: 50_000,
            period: 100_000,
            periods: n,
            throttled: n / 2,
            throttled_us: n * 77,
        }]),
        stacks: n
            .is_multiple_of(5)
            .then(|| Stack { id: 90, began: 99, functions: vec!["io_schedule".into(), "folio_wait_bit".into()] })
            .into_iter()
            .collect(),
        files: n
            .is_multiple_of(5)
            .then(|| OpenFile {
                pid: 90,
                began: 99,
                descriptor: 1,
                path: "/srv/iotest".into(),
                device: Some((254, 0)),
                position: Some(n << 20),
                flags: Some(0o40001),
            })
            .into_iter()
            .collect(),
        writes: (n == 8)
            .then(|| ParameterWrite {
                parameter: "net/core/somaxconn".into(),
                pid: 5,
                name: Name::of(b"sysctl"),
                value: Some("128".into()),
            })
            .into_iter()
            .collect(),
        said: Vec::new(),
        ended: None,
    }
}

/// A machine with nothing to tell, on which somebody waits now and then.
fn poor(second: f64) -> Sample {
    Sample { moment: at(second), load: loadavg::parse(b"0.00 0.01 0.05 1/52 99"), ..Sample::default() }
}

fn meta() -> Meta {
    Meta { name: "web1".into(), release: "6.1.0".into(), boot: "one".into(), offset: 8 * 3600, began: at(0.0).wall }
}

const CAPS: Caps = Caps { keep: Duration::from_secs(7 * 86_400), max: 200 << 20 };

fn write(dir: &Path, samples: impl IntoIterator<Item = Sample>) -> Recorder {
    let mut recorder = Recorder::start(dir, CAPS, meta()).expect("a recorder");
    for sample in samples {
        assert!(matches!(recorder.add(sample), Kept::Yes));
    }
    recorder
}

fn part(dir: &Path, asked: &Asked) -> Result<Part, String> {
    let recording = Recording::of_directory(dir).expect("readable").expect("a recording");
    read(&recording, asked).map_err(|text| text.render(Lang::En))
}

fn all(dir: &Path) -> Part {
    part(dir, &Asked::default()).expect("a part")
}

fn remarks(part: &Part) -> Vec<String> {
    part.remarks.iter().map(|text| text.render(Lang::En)).collect()
}

fn numbers(part: &Part) -> Vec<u64> {
    part.window.samples.iter().map(|sample| sample.moment.wall.as_secs() - DAY).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir).expect("there").flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.extension().is_some_and(|ending| ending == "ring"));
    all.sort();
    all
}

/// As [`full`] is read: looks at all threads between the first and the last are of what moved.
fn whole(samples: &[Sample]) -> Vec<Sample> {
    samples.iter().filter(|sample| sample.threads.as_ref().is_none_or(|threads| threads.is_all)).cloned().collect()
}

#[test]
fn every_counter_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let sent: Vec<Sample> = (0..600).map(full).collect();
    write(dir.path(), sent.clone()).end().expect("closed");
    let part = all(dir.path());
    assert_eq!((part.window.samples.len(), remarks(&part)), (600, vec![]));
    assert_eq!((part.machine.name.as_deref(), part.machine.release.as_deref()), (Some("web1"), Some("6.1.0")));
    assert_eq!((part.machine.uptime, part.whole), (Some(599.0), (at(0.0).wall, at(599.0).wall)));
    for (read, sent) in part.window.samples.iter().zip(&sent) {
        let mut expected = sent.clone();
        let (Some(list), Some(kept)) = (&mut read.threads.clone(), &mut expected.threads) else { panic!("threads") };
        // Only what did nothing is missing.
        if !list.is_all {
            let missing = kept.list.iter().filter(|thread| !list.list.contains(thread));
            assert!(missing.clone().all(|thread| thread.state == b'S'));
        }
        expected.threads = read.threads.clone();
        assert_eq!(*read, expected);
    }
    assert_eq!(whole(&part.window.samples), [sent[0].clone(), sent[599].clone()]);
    let (grown, span) = part.window.growths(|thread| thread.ticks).expect("two looks at all");
    assert_eq!((grown.get(&(90, 99)), span), (Some(&0), Duration::from_secs(599)));
}

#[test]
fn what_is_unknown_stays_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let sent: Vec<Sample> = (0..9).map(|n| if n % 2 == 0 { poor(n as f64) } else { full(n) }).collect();
    write(dir.path(), sent.clone()).end().expect("closed");
    let read = all(dir.path()).window.samples;
    for (read, sent) in read.iter().zip(&sent).step_by(2) {
        assert_eq!(read, sent);
    }
    assert_eq!((read[0].stat.as_ref(), read[2].interrupts.as_ref()), (None, None));
}

#[test]
fn killed_at_any_moment() {
    let dir = tempfile::tempdir().expect("a directory");
    for count in [1, 5, 255, 256, 257, 300] {
        let dir = dir.path().join(count.to_string());
        // What is dropped writes nothing more.
        drop(write(&dir, (0..count).map(full)));
        assert_eq!(numbers(&all(&dir)), (0..count).collect::<Vec<_>>());
        // And the next recorder goes on behind it.
        let mut next =
            Recorder::start(&dir, CAPS, Meta { began: at(count as f64).wall, ..meta() }).expect("a recorder");
        next.add(full(count));
        drop(next);
        let part = all(&dir);
        assert_eq!((numbers(&part), remarks(&part)), ((0..=count).collect(), vec![]));
    }
}

#[test]
fn what_was_cut_off_while_it_was_written() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(write(dir.path(), (0..300).map(full)));
    let open = dir.path().join("open");
    let bytes = std::fs::read(&open).expect("read");
    // The disk took a part of the last sample.
    let (_, records) = frame::open_records(&bytes);
    let length: usize = records.iter().map(|record| record.len() + frame::PREFIX).sum();
    std::fs::write(&open, &bytes[..frame::FIRST + length - 3]).expect("written");
    assert_eq!(numbers(&all(dir.path())), (0..299).collect::<Vec<_>>());
    std::fs::write(&open, "").expect("written");
    assert_eq!(numbers(&all(dir.path())), (0..256).collect::<Vec<_>>());
    // A part of a block.
    let segment = &segments(dir.path())[0];
    let bytes = std::fs::read(segment).expect("read");
    std::fs::write(segment, &bytes[..bytes.len() - 1]).expect("written");
    let error = part(dir.path(), &Asked::default()).expect_err("nothing is left");
    assert!(error.ends_with("what was recorded then cannot be read, for 1 block is damaged"), "{error}");
    std::fs::write(segment, &bytes[..30]).expect("written");
    assert_eq!(
        part(dir.path(), &Asked::default()).expect_err("no head"),
        format!("{} is damaged: no file in it tells of which machine it is", dir.path().display())
    );
}

#[test]
fn a_flipped_bit_costs_one_block() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), (0..1000).map(full)).end().expect("closed");
    let segment = &segments(dir.path())[0];
    let bytes = std::fs::read(segment).expect("read");
    let marks: Vec<usize> =
        bytes.windows(8).enumerate().filter(|(_, window)| *window == frame::MARK).map(|(at, _)| at).collect();
    assert_eq!(marks.len(), 4);
    // In the samples, in the head, and in the mark.
    for at in [marks[1] + frame::HEAD + 50, marks[1] + 20, marks[1]] {
        let mut broken = bytes.clone();
        broken[at] ^= 4;
        std::fs::write(segment, &broken).expect("written");
        let part = all(dir.path());
        let expected: Vec<u64> = (0..256).chain(512..1000).collect();
        assert_eq!(
            (numbers(&part), remarks(&part)),
            (expected, vec![format!("{}: 1 damaged block was left out", segment.display())])
        );
    }
}

#[test]
fn who_is_newer_and_who_is_none_of_ours() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), (0..3).map(full)).end().expect("closed");
    let segment = &segments(dir.path())[0];
    let mut bytes = std::fs::read(segment).expect("read");
    std::fs::write(dir.path().join("00000000.ring"), "something else").expect("written");
    let part_of_it = all(dir.path());
    assert_eq!((part_of_it.window.samples.len(), remarks(&part_of_it).len()), (3, 1));
    bytes[10] = 9;
    std::fs::write(segment, &bytes).expect("written");
    let told = part(dir.path(), &Asked::default()).expect_err("newer");
    assert_eq!(
        told,
        format!(
            "{} was recorded by a newer sickbay: it has version 9 of the format, and this one reads up to 1",
            segment.display()
        )
    );
    let error = Recorder::start(dir.path(), CAPS, meta()).expect_err("newer");
    assert!(matches!(error, StartError::Newer(9)), "{error:?}");
}

#[test]
fn two_recorders() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = write(dir.path(), [full(1)]);
    let error = Recorder::start(dir.path(), CAPS, meta()).expect_err("one is there");
    let told = error.text(dir.path()).render(Lang::En);
    assert_eq!(told, format!("another sickbay record (PID {}) writes to {}", std::process::id(), dir.path().display()));
    drop(first);
    assert!(Recorder::start(dir.path(), CAPS, meta()).is_ok());
}

#[test]
fn a_moment_and_a_stretch() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(write(dir.path(), (0..3000).map(full)));
    let ask = |at: Option<&str>, from: Option<&str>, to: Option<&str>| {
        let when = |text: Option<&str>| text.map(|text| When::parse(text).expect("a moment"));
        part(dir.path(), &Asked { at: when(at), from: when(from), to: when(to) }).map(|part| {
            let numbers = numbers(&part);
            (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0), numbers.len())
        })
    };
    // By the clock on the wall there, which is ahead by eight hours.
    assert_eq!(ask(Some("2018-06-12 08:10"), None, None), Ok((480, 720, 241)));
    assert_eq!(ask(Some("08:10"), None, None), Ok((480, 720, 241)));
    assert_eq!(ask(None, Some("-10m"), None), Ok((2399, 2999, 601)));
    assert_eq!(ask(None, Some("08:01"), Some("08:02")), Ok((60, 120, 61)));
    // All of it is more than a window has.
    let (first, last, count) = ask(None, None, None).expect("all");
    assert!(first < 3 && last > 2996 && (1400..2049).contains(&count), "{first} {last} {count}");
    assert_eq!(
        ask(Some("2018-06-13 10:00"), None, None),
        Err(format!(
            "{} has nothing from 2018-06-13 09:58:00 to 2018-06-13 10:02:00: it was recorded from 2018-06-12 08:00:00 to 2018-06-12 08:49:59",
            dir.path().display()
        ))
    );
}

#[test]
fn of_many_samples_the_best_are_taken_and_no_detail_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let sample = |n: u64| if n % 7 == 3 { full(n) } else { poor(n as f64) };
    drop(write(dir.path(), (0..8000).map(sample)));
    let part = all(dir.path());
    assert_eq!(remarks(&part), ["of every 4 samples the one that tells most is looked at"]);
    let samples = &part.window.samples;
    assert_eq!((samples.len(), samples.iter().filter(|sample| sample.stat.is_some()).count()), (2000, 1143));
    let writes: Vec<&ParameterWrite> = samples.iter().flat_map(|sample| &sample.writes).collect();
    // The eighth second was none of those that tell of writes.
    assert!(writes.is_empty());
    assert!(samples.iter().map(|sample| sample.stacks.len()).sum::<usize>() > 200);
}

#[test]
fn a_clock_that_jumps_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut samples: Vec<Sample> = (1000..1100).map(full).collect();
    for (n, sample) in samples.iter_mut().enumerate().skip(50) {
        sample.moment.wall = at(n as f64).wall;
    }
    drop(write(dir.path(), samples));
    assert_eq!(segments(dir.path()).len(), 2);
    let part = all(dir.path());
    // In the order in which it was: rates do not know of the clock.
    assert_eq!(part.window.samples.len(), 100);
    assert_eq!((part.window.span(), part.window.made()), (Some(Duration::from_secs(99)), Some(1.0)));
    assert!(part.window.clock_was_set().is_some_and(|by| by < -900.0), "{:?}", part.window.clock_was_set());
}

#[test]
fn a_boot_in_between() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(write(dir.path(), (0..100).map(full)));
    let after = Meta { boot: "two".into(), began: at(200.0).wall, ..meta() };
    let mut recorder = Recorder::start(dir.path(), CAPS, after).expect("a recorder");
    (200..260).for_each(|n| drop(recorder.add(full(n))));
    drop(recorder);
    let part = all(dir.path());
    assert_eq!(
        (numbers(&part), remarks(&part)),
        (
            (200..260).collect(),
            vec!["the machine was started in between: only what it did after that is looked at".to_owned()]
        )
    );
    let before = Asked { at: When::parse(&(DAY + 50).to_string()), ..Asked::default() };
    let part_before = super::read(&Recording::of_directory(dir.path()).expect("readable").expect("one"), &before);
    assert_eq!(part_before.map(|part| numbers(&part)).ok(), Some((0..100).collect()));
}

#[test]
fn a_disk_that_is_full_for_a_while() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut recorder = write(dir.path(), (0..200).map(full));
    // From here on nothing can be written: this block waits, and what comes after it is lost.
    faults::cut_off_after(0);
    let mut told = Vec::new();
    for n in 200..300 {
        match recorder.add(full(n)) {
            Kept::No(error) => told.push(error.is_some()),
            Kept::Yes => assert_eq!(n, 200),
            other => panic!("{other:?}"),
        }
    }
    faults::end();
    assert_eq!((told.len(), told.iter().filter(|told| **told).count()), (99, 1));
    assert!(matches!(recorder.add(full(300)), Kept::Again(99)));
    (301..400).for_each(|n| assert!(matches!(recorder.add(full(n)), Kept::Yes)));
    drop(recorder);
    let part = all(dir.path());
    assert_eq!((numbers(&part), remarks(&part)), ((0..=200).chain(300..400).collect(), vec![]));
}

#[test]
fn a_day_within_its_bounds() {
    let dir = tempfile::tempdir().expect("a directory");
    let caps = Caps { keep: Duration::from_secs(4 * 3600), max: LEAST };
    let mut recorder = Recorder::start(dir.path(), caps, meta()).expect("a recorder");
    let mut most = 0;
    for n in 0..20_000 {
        recorder.add(full(n));
        most = most.max(recorder.size());
    }
    drop(recorder);
    let size: u64 = std::fs::read_dir(dir.path())
        .expect("there")
        .flatten()
        .map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()))
        .sum();
    assert!(most <= LEAST + (1 << 20) && size <= LEAST + (1 << 20), "{most} {size}");
    let part = all(dir.path());
    assert_eq!(part.whole.1, at(19_999.0).wall);
    // Old enough to be gone.
    assert!(part.whole.0 > at(0.0).wall, "{:?}", part.whole);
    let age = part.whole.1 - part.whole.0;
    assert!(age < Duration::from_secs(5 * 3600), "{age:?}");
}

/// Of every version that ever was written there is a file, and this program reads it.
#[test]
fn recordings_of_every_version() {
    let of = |version: u16| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recordings/v{version}.ring"));
    let current = of(VERSION);
    if std::env::var_os("UPDATE").is_some() && !current.exists() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), (0..20).map(full)).end().expect("closed");
        std::fs::copy(&segments(dir.path())[0], &current).expect("copied");
    }
    for version in 1..=VERSION {
        let recording = Recording::of_file(&of(version)).expect("there").expect("a recording");
        let part = super::read(&recording, &Asked::default()).expect("read");
        assert_eq!((numbers(&part), remarks(&part)), ((0..20).collect(), vec![]), "version {version}");
        let (first, last) = (&part.window.samples[0], &part.window.samples[19]);
        assert_eq!((first, last), (&full(0), &full(19)), "version {version}");
    }
}
