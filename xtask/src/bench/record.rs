//! What it costs to record for months.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sickbay::sample::ring::{Caps, Meta, Recorder};
use sickbay::sample::{Sample, watch};
use sickbay_target::Root;

use super::cost::{self, Cost, median};

/// So many threads sleep meanwhile, and so many do something.
const THREADS: usize = 2000;
const BUSY: usize = 20;

/// So long is recorded.
pub(super) const SECONDS: u64 = 30;

/// So often everything is read within one measurement.
const TIMES: u32 = 20;

/// The steady cost of a second against one loop over the `stat` of each thread; memory; bytes a day against atop's; how long it takes
/// to look at a moment of a day.
pub(super) fn record(sickbay: &Path, runs: usize) -> Result<(), String> {
    let threads = Threads::start();
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let script = format!("n=0; while [ $n -lt {TIMES} ]; do \"$@\" >/dev/null || exit 1; n=$((n+1)); done");
    let mut loops = Vec::new();
    for _ in 0..runs {
        loops.push(Cost::of(Command::new("sh").args(["-c", &script, "sh"]).arg(&own).args(["bench", "--stats"]))?);
    }
    let one_loop = median(&loops).cpu / TIMES;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let place = dir.path().join("recording");
    let told = run_for(Command::new(sickbay).args(["record", "--every", "1s", "--dir"]).arg(&place))?;
    let second = told.cpu / u32::try_from(SECONDS).unwrap_or(1);
    println!("recording every second, {THREADS} threads more, {BUSY} of them busy");
    println!("  a second of it: CPU {:.2}; a loop over every stat: {:.2}", cost::ms(second), cost::ms(one_loop));
    println!("  ratio {:.3} (at most 0.5)", second.as_secs_f64() / one_loop.as_secs_f64().max(1e-9));
    println!("  {:.2} % of a CPU (at most 1)", second.as_secs_f64() * 100.0);
    println!(
        "  memory: {} KiB of its own, {} KiB with the pages of its program (at most 16384)",
        told.anonymous, told.peak
    );
    let ours = bytes_below(&place, "ring")? * 86_400 / SECONDS;
    println!("  {} MB a day", ours / 1_000_000);
    let file = dir.path().join("atop");
    if Command::new("atop").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        run_for(Command::new("atop").arg("-w").arg(&file).arg("1"))?;
        let theirs = fs::metadata(&file).map_or(0, |metadata| metadata.len()) * 86_400 / SECONDS;
        println!(
            "  atop: {} MB a day; ratio {:.3} (at most 0.25)",
            theirs / 1_000_000,
            ours as f64 / theirs.max(1) as f64
        );
    }
    drop(threads);
    moment(sickbay, runs, dir.path())
}

/// A day of this machine, every second, as if its counters went on like this.
fn moment(sickbay: &Path, runs: usize, dir: &Path) -> Result<(), String> {
    let root = Root::host().map_err(|error| error.to_string())?;
    let window = watch(&root, Duration::ZERO).map_err(|error| error.to_string())?;
    let first = window.samples.into_iter().next().ok_or("no sample")?;
    let place = dir.join("day");
    let began = Duration::from_secs(1_528_761_600);
    let meta = Meta { name: "bench".into(), release: "6.1.0".into(), boot: "b".into(), offset: 0, began };
    let caps = Caps { keep: Duration::from_secs(7 * 86_400), max: 1 << 30 };
    let mut recorder = Recorder::start(&place, caps, meta).map_err(|error| format!("{error:?}"))?;
    for second in 0..86_400 {
        recorder.add(later(&first, began, second));
    }
    recorder.end().map_err(|error| error.to_string())?;
    let mut looks = Vec::new();
    for at in 0..runs * 3 {
        let moment = format!("{:02}:{:02}", at * 7 % 24, at * 13 % 60);
        looks.push(Cost::of(Command::new(sickbay).args(["check", "--at", &moment]).arg(&place))?);
    }
    let slowest = looks.iter().map(|look| look.wall).max().unwrap_or_default();
    println!("a moment of a day that was recorded every second, {} MB", bytes_below(&place, "ring")? / 1_000_000);
    println!(
        "  sickbay check --at: {:.0} ms, the slowest {:.0} (at most 200)",
        cost::ms(median(&looks).wall),
        cost::ms(slowest)
    );
    let all = Cost::of(Command::new(sickbay).arg("check").arg(&place))?;
    println!("  all of the day: {:.0} ms, {} MiB", cost::ms(all.wall), all.peak >> 10);
    Ok(())
}

fn later(first: &Sample, began: Duration, second: u64) -> Sample {
    let mut sample = first.clone();
    sample.moment.wall = began + Duration::from_secs(second);
    sample.moment.steady += Duration::from_secs(second);
    if let Some(stat) = &mut sample.stat {
        for times in stat.cpus.iter_mut().map(|(_, times)| times).chain([&mut stat.total]) {
            times.user += second * 7 + second % 5;
            times.idle += second * 90;
        }
        stat.switches = stat.switches.map(|count| count + second * 977);
    }
    for row in sample.interrupts.iter_mut().chain(&mut sample.softirqs).flat_map(|table| &mut table.rows) {
        for count in row.counts.iter_mut().filter(|count| **count > 0) {
            *count += second * 11 + second % 13;
        }
    }
    for counter in sample.tcp.iter_mut().flatten().filter(|counter| counter.value > 0) {
        counter.value += second * 3 + second % 7;
    }
    if let Some(threads) = &mut sample.threads {
        // Most samples are of those alone that do something.
        threads.is_all = second.is_multiple_of(10);
        let is_all = threads.is_all;
        threads.list.retain(|thread| is_all || thread.id % 16 == 0);
        for thread in threads.list.iter_mut().filter(|thread| thread.id % 16 == 0) {
            thread.ticks += second;
        }
    }
    sample.io = sample.io.filter(|_| second.is_multiple_of(30));
    sample
}

fn bytes_below(dir: &Path, ending: &str) -> Result<u64, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?.flatten();
    let ours = entries.filter(|entry| entry.path().extension().is_some_and(|of| of == ending));
    Ok(ours.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum())
}

/// What a program took that runs until it is told to end.
pub(super) struct Told {
    pub(super) cpu: Duration,
    pub(super) anonymous: u64,
    peak: u64,
}

fn run_for(command: &mut Command) -> Result<Told, String> {
    let name = command.get_program().display().to_string();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(|error| format!("{name}: {error}"))?;
    let told = steady(child.id());
    let ended = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    ended.map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    Ok(told)
}

/// What that process needs a while after its start.
pub(super) fn steady(pid: u32) -> Told {
    // Its first look at everything is no part of what it does steadily.
    std::thread::sleep(Duration::from_secs(2));
    let dir = format!("/proc/{pid}");
    let before = ticks(&dir);
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(SECONDS));
    let cpu = Duration::from_millis(10 * ticks(&dir).saturating_sub(before));
    let cpu = cpu.mul_f64(SECONDS as f64 / began.elapsed().as_secs_f64());
    let status = fs::read_to_string(format!("{dir}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Told { cpu, anonymous: field("RssAnon:"), peak: field("VmHWM:") }
}

/// User and system time of a process, in ticks.
fn ticks(dir: &str) -> u64 {
    let stat = fs::read_to_string(format!("{dir}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>()).unwrap_or_default();
    let number = |index: usize| fields.get(index - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    number(14) + number(15)
}

/// Threads that end when it goes.
pub(super) struct Threads(Arc<AtomicBool>);

impl Threads {
    pub(super) fn start() -> Threads {
        let is_over = Arc::new(AtomicBool::new(false));
        for index in 0..THREADS {
            let is_over = Arc::clone(&is_over);
            let work = move || {
                while !is_over.load(Ordering::Relaxed) {
                    if index >= BUSY {
                        std::thread::park_timeout(Duration::from_secs(3600));
                        continue;
                    }
                    // A tenth of the time: others want the processors, too.
                    let until = Instant::now() + Duration::from_millis(2);
                    while Instant::now() < until {}
                    std::thread::sleep(Duration::from_millis(18));
                }
            };
            let _ = std::thread::Builder::new().stack_size(64 << 10).spawn(work);
        }
        Threads(is_over)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
