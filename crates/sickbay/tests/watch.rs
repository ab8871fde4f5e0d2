//! `sickbay watch`: its screens, as they are drawn, and the program itself on a terminal.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use ratatui_core::buffer::Buffer;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use sickbay::facts::io::devices::Devices;
use sickbay::model::finding::Severity;
use sickbay::model::text::{Lang, Text};
use sickbay::sample::ring::{Caps, Kept, Meta, Recorder};
use sickbay::sample::{Name, ProcessIo, Sample, Thread, Threads};
use sickbay::watch::draw::{Look, Mode as Of, Shown, draw};
use sickbay::watch::keys::State;
use sickbay::watch::scene::Scene;
use sickbay::watch::verdict::Verdict;
use sickbay_formats::procfs::{diskstats, loadavg, net_dev, pressure, stat, task_io::Io};
use sickbay_target::Moment;

/// Tuesday, 2018-06-12 10:35:00 UTC.
const BEGIN: u64 = 1_528_799_700;

/// The e-book's machine: 30 workers of nginx, 27 of which wait, and a disk that fio writes to; the second half of each minute.
fn moment(second: u64) -> Sample {
    let is_ill = second % 60 >= 30;
    let ill = second / 60 * 30 + (second % 60).saturating_sub(30);
    let thread = |pid: u32, parent: u32, name: &[u8], state: u8, ticks: u64| Thread {
        pid,
        id: pid,
        parent,
        name: Name::of(name),
        state,
        ticks,
        began: 7,
        waits_in: (state == b'D').then(|| "blkdev_issue_flush".into()),
        ..Thread::default()
    };
    let mut list = vec![
        thread(1, 0, b"init", b'S', 0),
        thread(957, 1, b"nginx", b'S', 0),
        thread(700, 1, "数据库\x1b[2J".as_bytes(), if is_ill { b'R' } else { b'S' }, ill * 90),
        thread(11_974, 1, b"fio", if is_ill { b'D' } else { b'S' }, ill * 20),
    ];
    let workers = 960..990;
    list.extend(workers.map(|pid: u32| {
        let state = if !is_ill {
            b'S'
        } else if pid.is_multiple_of(10) {
            b'R'
        } else {
            b'D'
        };
        thread(pid, 957, b"nginx", state, if pid.is_multiple_of(10) { ill * 10 } else { 0 })
    }));
    let (load, running) = if is_ill { ("30.12", 5) } else { ("4.10", 1) };
    let ticks = second * 100;
    let idle = ticks - ill * 80;
    let all = format!("cpu {} 0 {} {} {}\n", ill * 120, ill * 30, 2 * idle, ill * 10);
    let cpus = format!("cpu0 {} 0 {} {idle} 0\ncpu1 {} 0 0 {idle} {}\n", ill * 50, ill * 30, ill * 70, ill * 10);
    let disk = format!(
        "202 16 xvdb {} 0 {} {} {} 0 {} {} {} {} {}\n202 17 xvdb1 0 0 0 0 0 0 0 0 0 0 0\n253 0 vda 5 0 40 1 0 0 0 0 0 1 1\n",
        ill * 3,
        ill * 24,
        ill * 9,
        ill * 2700,
        ill * 21_600,
        ill * 32_000,
        if is_ill { 32 } else { 0 },
        ill * 1000,
        ill * 32_000
    );
    let io = |pid: u32, name: &[u8], written: u64| ProcessIo {
        pid,
        began: 7,
        name: Name::of(name),
        io: Io { write_bytes: written, ..Io::default() },
    };
    let stall = |micros: u64| {
        pressure::parse(format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={micros}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={}\n", micros / 2).as_bytes())
    };
    let links = format!(
        "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n  eth0: {} {} 0 {} 0 0 0 0 {} {} 0 0 0 0 0 0\n",
        second * 1_200_000,
        second * 900,
        ill * 3,
        second * 90_000,
        second * 700
    );
    Sample {
        moment: Moment { steady: Duration::from_secs(3000 + second), wall: Duration::from_secs(BEGIN + second) },
        load: loadavg::parse(format!("{load} 12.40 6.02 {running}/412 12000").as_bytes()),
        stat: Some(stat::parse(
            format!(
                "{all}{cpus}processes {}\nprocs_running {running}\nprocs_blocked {}\nbtime {}\n",
                second * 7,
                if is_ill { 28 } else { 0 },
                BEGIN - 3000
            )
            .as_bytes(),
        )),
        io_pressure: stall(ill * 800_000),
        disks: Some(diskstats::parse(disk.as_bytes())),
        links: Some(net_dev::parse(links.as_bytes())),
        io: Some(vec![io(11_974, b"fio", ill * 11_000_000), io(957, b"nginx", 4096)]),
        threads: Some(Threads { list, is_all: true, left_out: 0 }),
        ..Sample::default()
    }
}

fn screen(size: (u16, u16), look: Look, verdict: &Verdict) -> String {
    let samples: Vec<Sample> = (0..46).map(moment).collect();
    let scene = Scene::of(&samples, 45, (4, 9), &Devices::default());
    let state = State::default();
    let shown = Shown {
        scene: &scene,
        verdict,
        mode: Of::Past,
        host: "web1",
        whole: Some((Duration::from_secs(BEGIN), Duration::from_secs(BEGIN + 600))),
        zone: &TimeZone::UTC,
        doing: None,
        state: &state,
    };
    text(&draw(&shown, &look, size))
}

/// What is seen of it, without the blanks at the ends of lines.
fn text(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area().height {
        let mut line = String::new();
        let mut covered = 0_usize;
        for x in 0..buffer.area().width {
            let symbol = buffer[(x, y)].symbol();
            if covered > 0 {
                covered -= 1;
                continue;
            }
            covered =
                if symbol.is_ascii() { 0 } else { usize::from(symbol.chars().any(|letter| letter >= '\u{1100}')) };
            line.push_str(symbol);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The same as the file says; with `UPDATE=1` it says what is.
fn expect(name: &str, screen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(name);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(&path, screen).expect("written");
    }
    assert_eq!(screen, std::fs::read_to_string(&path).expect("UPDATE=1 writes it"), "{name}");
}

const ENGLISH: Look = Look { lang: Lang::En, colour: true, ascii: false };

#[test]
fn screens() {
    let what = |text: &str| Text::verbatim(text);
    let found = Verdict::Found(vec![
        (
            Severity::Error,
            what(
                "load1 is 30.12 on 2 CPUs: 27 threads of nginx (started by nginx, PID 957) wait uninterruptibly, and nobody can tell for what they wait so long that it has to be broken",
            ),
        ),
        (Severity::Warning, what("disk xvdb was busy in full for 15 s: fio (PID 11974) did 100 % of it\x1b[2J")),
    ]);
    expect("80x24.txt", &screen((80, 24), ENGLISH, &found));
    expect("200x50.txt", &screen((200, 50), ENGLISH, &found));
    expect("80x24.ascii.txt", &screen((80, 24), Look { ascii: true, colour: false, ..ENGLISH }, &Verdict::Pending));
    expect("80x24.zh-CN.txt", &screen((80, 24), Look { lang: Lang::ZhCn, ..ENGLISH }, &found));
    expect("100x30.zh-CN.txt", &screen((100, 30), Look { lang: Lang::ZhCn, ..ENGLISH }, &Verdict::Clear));
}

#[test]
fn no_size_and_no_gap_is_too_much() {
    let all: Vec<Sample> = (0..46).map(moment).collect();
    let lacking = |take: fn(&mut Sample)| {
        let mut samples = all.clone();
        samples.iter_mut().for_each(take);
        samples
    };
    let empty = |sample: &mut Sample| *sample = Sample { moment: sample.moment, ..Sample::default() };
    let windows = [
        Vec::new(),
        all.clone(),
        lacking(empty),
        lacking(|sample| sample.threads = None),
        lacking(|sample| sample.stat = None),
        lacking(|sample| sample.disks = None),
        // A clock that goes back, and one that stands still.
        all.iter().rev().cloned().collect(),
        vec![all[0].clone(); 5],
    ];
    let state = State::default();
    for samples in &windows {
        for at in [0, 1, samples.len().saturating_sub(1), samples.len() + 1] {
            let scene = Scene::of(samples, at, (4, 9), &Devices::default());
            for size in [(0, 0), (1, 1), (39, 7), (40, 8), (80, 10), (149, 24), (150, 9), (1000, 200)] {
                let shown = Shown {
                    scene: &scene,
                    verdict: &Verdict::Pending,
                    mode: Of::Live,
                    host: "\u{9b}31m",
                    whole: None,
                    zone: &TimeZone::UTC,
                    doing: None,
                    state: &state,
                };
                let buffer = draw(&shown, &Look { ascii: true, ..ENGLISH }, size);
                let is_plain = |text: &str| text.bytes().all(|byte| (b' '..0x7F).contains(&byte));
                assert!(buffer.content().iter().all(|cell| is_plain(cell.symbol())), "{size:?}");
            }
        }
    }
    // What is not known is no 0.
    let scene = Scene::of(&windows[2], 45, (4, 9), &Devices::default());
    let shown = Shown {
        scene: &scene,
        verdict: &Verdict::Pending,
        mode: Of::Live,
        host: "web1",
        whole: None,
        zone: &TimeZone::UTC,
        doing: None,
        state: &state,
    };
    let seen = text(&draw(&shown, &ENGLISH, (80, 24)));
    let body: Vec<&str> = seen.lines().skip(2).take(20).collect();
    assert!(body.iter().all(|line| !line.split_whitespace().any(|word| word == "0" || word == "0.0")), "{seen}");
}

fn record(dir: &Path) {
    let caps = Caps { keep: Duration::from_secs(7 * 86_400), max: 200 << 20 };
    let began = Duration::from_secs(BEGIN);
    let meta = Meta { name: "web1".into(), release: "4.9.0".into(), boot: "b".into(), offset: 0, began };
    let mut recorder = Recorder::start(dir, caps, meta).expect("a recorder");
    (0..300).for_each(|second| assert!(matches!(recorder.add(moment(second)), Kept::Yes)));
}

/// The program on a terminal of its own.
struct Terminal {
    master: File,
    slave: OwnedFd,
    said: Arc<Mutex<Vec<u8>>>,
    before: Termios,
    child: Child,
}

/// Whatever waits for it ends after so long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Terminal {
    fn start(arguments: &[&str], target: Option<&Path>, terminal: &str) -> Terminal {
        let master =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        rustix::pty::grantpt(&master).expect("granted");
        rustix::pty::unlockpt(&master).expect("unlocked");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("its name");
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("it");
        tcsetwinsize(&slave, Winsize { ws_col: 80, ws_row: 24, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let before = tcgetattr(&slave).expect("its mode");
        let again = || Stdio::from(slave.as_fd().try_clone_to_owned().expect("a descriptor"));
        let child = Command::new(env!("CARGO_BIN_EXE_sickbay"))
            .args(arguments)
            .args(target)
            .env("LC_ALL", "C")
            .env("TERM", terminal)
            .stdin(again())
            .stdout(again())
            .stderr(again())
            .spawn()
            .expect("it starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        let master = File::from(master);
        let (mut reader, all) = (master.try_clone().expect("a descriptor"), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                all.lock().expect("whole").extend(&buffer[..length]);
            }
        });
        Terminal { master, slave, said, before, child }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("whole")).into_owned()
    }

    /// What is to be seen now: 24 lines of 80, as a terminal makes them of what is written to it.
    fn screen(&self) -> Vec<String> {
        let said = self.said();
        let mut cells = vec![vec![' '; 80]; 24];
        let (mut row, mut column) = (0, 0);
        let mut rest = said.as_str();
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            if letter != '\x1b' {
                if let Some(cell) = cells.get_mut(row).and_then(|line| line.get_mut(column)) {
                    *cell = letter;
                }
                column += 1;
                continue;
            }
            let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) else { break };
            let (sequence, after) = rest.split_at(end + 1);
            rest = after;
            match sequence.as_bytes().last() {
                Some(b'H') => {
                    let numbers = sequence[1..end].split_once(';').unwrap_or(("1", "1"));
                    let number = |text: &str| text.parse::<usize>().expect("a number") - 1;
                    (row, column) = (number(numbers.0), number(numbers.1));
                }
                Some(b'J') => cells.iter_mut().for_each(|line| line.fill(' ')),
                _ => {}
            }
        }
        cells.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    /// Until that is to be seen.
    fn wait_for(&self, words: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.screen().iter().any(|line| line.contains(words)) {
            assert!(Instant::now() < until, "{words:?} is not to be seen: {:#?}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("written");
    }

    /// The terminal is as it was.
    fn ended(mut self, status: i32) -> String {
        let until = Instant::now() + PATIENCE;
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("it") {
                break status.code();
            }
            assert!(Instant::now() < until, "it does not end: {:?}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        };
        let after = tcgetattr(&self.slave).expect("its mode");
        let modes = |mode: &Termios| (mode.local_modes, mode.input_modes, mode.output_modes);
        assert_eq!(modes(&after), modes(&self.before));
        assert_eq!(code, Some(status), "{:?}", self.said());
        self.said()
    }
}

#[test]
fn through_a_recording_on_a_serial_console() {
    let dir = tempfile::tempdir().expect("a directory");
    record(dir.path());
    let mut terminal = Terminal::start(&["watch", "--at", "10:36:15"], Some(dir.path()), "vt100");
    terminal.wait_for("q quit");
    assert!(terminal.screen()[0].contains("web1  2018-06-12 10:36:15  recorded"), "{:#?}", terminal.screen());
    // The next of the stretches: the second half of the minute.
    terminal.press("n");
    terminal.wait_for("Enter: finding");
    terminal.wait_for("xvdb is saturated");
    terminal.wait_for("nginx (started by nginx, PID 957): a disk");
    assert!(terminal.screen()[0].contains("10:36:3"), "{:#?}", terminal.screen());
    terminal.press("\r");
    terminal.wait_for("more of it: sickbay check ");
    // Back, and to another moment.
    terminal.press("q");
    terminal.wait_for("q quit");
    terminal.press("t10:38:20\r");
    terminal.wait_for("10:38:20");
    terminal.press("tnever\r");
    terminal.wait_for("never is not a moment");
    terminal.press("q");
    let said = terminal.ended(0);
    assert!(said.is_ascii() && !said.contains(";31m") && !said.contains(";36m"), "no colours: {said:?}");
    assert!(said.ends_with("\x1b[0m\x1b[?25h\x1b[H\x1b[2J"), "{said:?}");
}

#[test]
fn live_until_it_is_told_to_end() {
    for signal in [Signal::TERM, Signal::HUP] {
        let terminal = Terminal::start(&["watch", "--every", "0.3s"], None, "xterm");
        terminal.wait_for("q quit");
        terminal.wait_for("load");
        tcsetwinsize(&terminal.slave, Winsize { ws_col: 30, ws_row: 5, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let pid = Pid::from_child(&terminal.child);
        kill_process(pid, Signal::WINCH).expect("sent");
        terminal.wait_for("30x5 is too small");
        kill_process(pid, signal).expect("sent");
        let said = terminal.ended(0);
        assert!(said.ends_with("\x1b[0m\x1b[?25h\x1b[?1049l"), "{said:?}");
    }
}

#[test]
fn where_there_is_no_screen() {
    let out = Command::new(env!("CARGO_BIN_EXE_sickbay"))
        .arg("watch")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2));
    assert!(said.contains("watch needs a terminal") && said.contains("sickbay check"), "{said}");
    let said = Terminal::start(&["watch"], None, "dumb").ended(2);
    assert!(said.contains("(TERM=dumb) cannot show a screen: use `sickbay check`"), "{said}");
    let said = Terminal::start(&["watch", "--every", "1ms"], None, "vt100").ended(2);
    assert!(said.contains("is not a time"), "{said}");
}
