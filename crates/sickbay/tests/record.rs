//! `sickbay record` on the machine that runs the tests, and what `check` says of a recording afterwards. Days are simulated: samples of
//! a clock that nobody waits for.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sickbay::sample::ring::{Caps, Kept, Meta, Recorder};
use sickbay::sample::{Asked, Name, Sample, Thread, Threads, Window, recorded};
use sickbay_formats::procfs::loadavg::{self, KEPT, ONE, Rounding};
use sickbay_formats::procfs::stat::{Stat, Times};
use sickbay_target::{Moment, Recording};
use support::command::{run, sickbay};
use support::process::{STUCK, program, start};

fn window(dir: &Path) -> Window {
    let recording = Recording::of_directory(dir).expect("readable").expect("a recording");
    let part = recorded(&recording, &Asked::default(), &jiff::tz::TimeZone::UTC);
    part.map_err(|text| text.render(sickbay::model::text::Lang::En)).expect("a part").window
}

fn recorder(dir: &Path, arguments: &[&str]) -> Child {
    let mut command =
        sickbay(["record", "--every", "0.2s"].into_iter().chain(arguments.iter().copied()).chain(["--dir"]), dir);
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Until there is something in the recording.
fn wait_for(dir: &Path) {
    let until = Instant::now() + Duration::from_secs(30);
    while std::fs::read(dir.join("open"))
        .map_or(0, |bytes| bytes.get(32..48).map_or(0, |head| head.iter().map(|byte| u32::from(*byte)).sum()))
        == 0
    {
        assert!(Instant::now() < until, "nothing is recorded");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_was_stuck_while_it_was_recorded_and_what_a_kill_leaves() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("recording");
    let mut recorder = recorder(&place, &[]);
    wait_for(&place);
    let mut guard =
        start(Command::new(program(dir.path(), "stuck-then", STUCK)).args(["27", "3", "60"]).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(guard.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let began = Instant::now();
    // A writer besides, whose file shall be told.
    let file = dir.path().join("iotest");
    let _writer = start(
        Command::new("dd")
            .args(["if=/dev/zero", "bs=64k", "oflag=direct", "count=200000", "status=none"])
            .arg(format!("of={}", file.display())),
    );
    while began.elapsed() < Duration::from_secs(12) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let killed = Moment::now().wall;
    recorder.kill().expect("killed");
    recorder.wait().expect("ended");
    drop(guard);
    let told = window(&place);
    let last = told.last().expect("samples").moment.wall;
    assert!(
        killed.saturating_sub(last) < Duration::from_millis(1500),
        "{:?} before the kill",
        killed.saturating_sub(last)
    );
    let waiting = |sample: &Sample| {
        let threads = sample.threads.iter().flat_map(|threads| &threads.list);
        threads.filter(|one| one.name.to_string() == "stuck-then" && one.state == b'D').count()
    };
    assert!(told.samples.iter().filter(|sample| waiting(sample) == 27).count() >= 3);
    let stacks = told.samples.iter().flat_map(|sample| &sample.stacks).collect::<Vec<_>>();
    assert!(
        stacks.iter().any(|stack| stack.functions.iter().any(|name| name.contains("vfork"))),
        "{} stacks",
        stacks.len()
    );
    let files: Vec<_> = told.samples.iter().flat_map(|sample| &sample.files).filter(|one| one.path == file).collect();
    assert!(
        files.iter().any(|one| one.position.is_some_and(|position| position > 0) && one.device.is_some()),
        "{files:?}"
    );
    let own = recorder.id();
    assert!(told.looks().all(|look| look.list.iter().all(|thread| thread.pid != own)));
    // The last moment is one at which it hung.
    let (status, text) = run(["check", "--only", "load-explained"], &place);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains(" threads of stuck-then (started by stuck-then") && text.contains("a child started by vfork"),
        "{text}"
    );
}

#[test]
fn one_that_ends_when_it_is_told_to_and_another_that_may_not_begin() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("recording");
    let mut first = recorder(&place, &[]);
    wait_for(&place);
    let (status, text) = run(["record", "--for", "1s", "--dir"], &place);
    let expected = format!("sickbay: another sickbay record (PID {}) writes to {}\n", first.id(), place.display());
    assert_eq!((status, text), (Some(2), expected));
    let pid = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("sent");
    assert_eq!(first.wait().expect("ended").code(), Some(0));
    let count = window(&place).samples.len();
    assert!(count >= 1);
    // It goes on where the first one ended.
    let (status, text) = run(["record", "--every", "0.2s", "--for", "1s", "--dir"], &place);
    assert_eq!((status, text), (Some(0), String::new()));
    assert!(window(&place).samples.len() > count);
}

#[test]
fn what_was_pinged_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("recording");
    let (status, text) = run(["record", "--ping", "localhost", "--for", "1s", "--dir"], &place);
    assert_eq!((status, text.contains("localhost is no address")), (Some(2), true), "{text}");
    let (status, text) = run(["record", "--every", "0.2s", "--ping", "127.0.0.1", "--for", "2s", "--dir"], &place);
    assert_eq!((status, text), (Some(0), String::new()));
    let log = place.join("ping.log");
    let told = std::fs::read_to_string(&log).expect("the answers");
    assert!(told.contains("PING 127.0.0.1") && told.contains(" bytes from 127.0.0.1: icmp_seq=1 "), "{told}");
    let (_, text) = run(["check", "--only", "ping-stalls"], &place);
    assert!(text.contains("nothing found"), "{text}");
    // Four answers that came at once, in the time of the recording; and as many long before it, which are not asked for.
    let now = Moment::now().wall.as_secs_f64();
    let stall = |from: f64| -> String {
        let line = |n: u32, ago: f64| {
            let at = from + f64::from(n) * 0.0001;
            format!("[{at:.6}] 24 bytes from 10.0.0.1: icmp_seq={n} ttl=63 time={:.3} ms\n", ago * 1000.0)
        };
        [(1, 0.9), (2, 0.6), (3, 0.45), (4, 0.1), (5, 0.0002), (6, 0.0002)].map(|(n, ago)| line(n, ago)).concat()
    };
    std::fs::write(&log, stall(now - 90_000.0) + &told + &stall(now - 1.0)).expect("written");
    let (status, text) = run(["check", "--only", "ping-stalls"], &place);
    assert_eq!(status, Some(1), "{text}");
    let line = format!("{}:{}: seq=1 time=900 ms", log.display(), told.lines().count() + 7);
    assert!(text.contains("one stall of 900 ms: the answers to 4 packets") && text.contains(&line), "{text}");
}

#[test]
fn moments_that_are_none() {
    let dir = tempfile::tempdir().expect("a directory");
    for (arguments, why) in [
        (
            &["check", "--at", "yesterday"][..],
            "yesterday is not a moment: '2018-06-12 10:36', 10:36, -10m, or seconds since 1970",
        ),
        (&["record", "--max", "1M", "--dir"], "1M is not a size: 200M, 1G, 4M at least"),
        (&["record", "--every", "0.01", "--dir"], "--every is a time from 0.1s to 60s"),
        (&["record", "--keep", "1s", "--dir"], "1s is not a time to keep it: 12h, 7d, a minute at least"),
    ] {
        let (status, text) = run(arguments.iter().copied(), dir.path());
        assert_eq!((status, text), (Some(2), format!("sickbay: {why}\n")));
    }
    simulate(dir.path(), 120.0, |_| Vec::new());
    let (status, text) = run(["check", "--only", "fstab-syntax"], dir.path());
    assert_eq!(status, Some(2), "{text}");
    let (status, text) = run(["check", "--at", "2018-06-13 10:00"], dir.path());
    let expected = format!(
        "sickbay: {} has nothing from 2018-06-13 09:58:00 to 2018-06-13 10:02:00: it was recorded from 2018-06-12 00:00:00 to 2018-06-12 00:02:00\n",
        dir.path().display()
    );
    assert_eq!((status, text), (Some(2), expected));
    let (status, text) = run(["fix", "--yes"], dir.path());
    let expected = format!(
        "sickbay: {} is a recording: it can be checked, but there is nothing in it to repair\n",
        dir.path().display()
    );
    assert_eq!((status, text), (Some(2), expected));
}

/// Tuesday, 2018-06-12 00:00:00 UTC.
const DAY: f64 = 1_528_761_600.0;

/// Two processors, and the threads that are active at each moment. The kernel counts every 5 s and a tick of HZ 250.
fn simulate(dir: &Path, seconds: f64, active: impl Fn(f64) -> Vec<Thread>) {
    let caps = Caps { keep: Duration::from_secs(7 * 86_400), max: 200 << 20 };
    let began = Duration::from_secs_f64(DAY);
    let meta = Meta { name: "web1".into(), release: "4.9.0".into(), boot: "b".into(), offset: 0, began };
    let mut recorder = Recorder::start(dir, caps, meta).expect("a recorder");
    let (mut load, mut counts) = (0, 0_u32);
    let mut at = 0.0;
    while at <= seconds {
        while f64::from(counts + 1) * 5.004 <= at {
            counts += 1;
            let count = active(f64::from(counts) * 5.004).len() as u64;
            load = loadavg::next(load, KEPT[0], count * ONE, Rounding::Nearest);
        }
        let mut list = active(at);
        let running = list.iter().filter(|thread| thread.state == b'R').count();
        list.push(Thread { pid: 1, id: 1, name: Name::of(b"init"), state: b'S', ..Thread::default() });
        list.push(Thread { pid: 957, id: 957, parent: 1, name: Name::of(b"nginx"), state: b'S', ..Thread::default() });
        let printed = loadavg::printed(load) as f64 / 100.0;
        let text = format!("{printed:.2} 1.00 1.00 {}/{} 12000", running + 1, list.len());
        let ticks = (at * 100.0) as u64;
        let times = Times { user: ticks / 50, idle: ticks, ..Times::default() };
        let sample = Sample {
            moment: Moment { steady: Duration::from_secs_f64(at + 3000.0), wall: Duration::from_secs_f64(at + DAY) },
            load: loadavg::parse(text.as_bytes()),
            stat: Some(Stat {
                total: times,
                cpus: vec![(0, times), (1, times)],
                started: Some(DAY as u64 - 3000),
                ..Stat::default()
            }),
            threads: Some(Threads { list, is_all: true, left_out: 0 }),
            ..Sample::default()
        };
        assert!(matches!(recorder.add(sample), Kept::Yes));
        at += if seconds > 10_000.0 { 5.0 } else { 1.0 };
    }
}

/// The e-book's workers of nginx: 27 of 30 wait.
fn workers(seconds: f64, every: f64, length: f64) -> Vec<Thread> {
    if seconds % every >= length {
        return Vec::new();
    }
    let worker = |pid: u32| Thread {
        pid,
        id: pid,
        parent: 957,
        name: Name::of(b"nginx"),
        state: if pid.is_multiple_of(10) { b'R' } else { b'D' },
        began: 7,
        ..Thread::default()
    };
    (960..990).map(worker).collect()
}

#[test]
fn thirty_workers_for_twenty_seconds_of_every_minute() {
    let dir = tempfile::tempdir().expect("a directory");
    simulate(dir.path(), 600.0, |seconds| workers(seconds, 60.0, 20.0));
    let (status, text) = run(["check", "--from", "2018-06-12 00:05:00", "--to", "00:06:20"], dir.path());
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("recording of web1, recorded from 2018-06-12 00:05:00 to 2018-06-12 00:06:20, 81 samples"),
        "{text}"
    );
    assert!(text.contains("threads of nginx (started by nginx, PID 957) wait uninterruptibly"), "{text}");
    // All of what the kernel counted is theirs.
    let (status, json) =
        run(["explain", "load", "--format", "json", "--from", "00:05", "--to", "00:06:20"], dir.path());
    assert_eq!(status, Some(0), "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let group = &json["groups"][0];
    assert_eq!((group["name"].as_str(), group["share"].as_f64()), (Some("nginx"), Some(1.0)), "{json}");
    assert!(json["unexplained"].as_f64().is_some_and(|residue| residue.abs() < 0.1), "{json}");
}

#[test]
fn a_day_with_an_agent_that_the_kernel_counts_now_and_then() {
    let dir = tempfile::tempdir().expect("a directory");
    // Twenty threads for a twentieth of a second every ten seconds.
    simulate(dir.path(), 86_400.0, |seconds| {
        let mut threads = workers(seconds, 10.0, 0.05);
        threads.truncate(20);
        threads.iter_mut().for_each(|thread| thread.state = b'R');
        threads
    });
    let size: u64 = std::fs::read_dir(dir.path())
        .expect("there")
        .flatten()
        .map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()))
        .sum();
    assert!(size < 1 << 20, "{size} bytes");
    let began = Instant::now();
    let (status, text) = run(["check"], dir.path());
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("every 104.") && text.contains("are no load"), "{text}");
    // A moment of the day is read without the rest of it; how fast is for `cargo xtask bench --only record`.
    let (status, text) = run(["check", "--at", "13:37"], dir.path());
    assert!(status.is_some_and(|status| status < 2) && text.contains("13:35:00 to 2018-06-12 13:39:00"), "{text}");
    println!("{:?}, {size} bytes", began.elapsed());
}
