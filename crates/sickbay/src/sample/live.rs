//! Samples of the running system.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bstr::BString;
use sickbay_formats::ethtool;
use sickbay_formats::procfs::fields::Fields;
use sickbay_formats::procfs::loadavg::LoadAvg;
use sickbay_formats::procfs::mib::{self, Counter};
use sickbay_formats::procfs::{diskstats, interrupts, loadavg, net_dev, pressure, schedstat, softnet, stat, task_io};
use sickbay_formats::taskstats::Exit;
use sickbay_target::{Exits, Moment, ReadError, Root, Tasks};

use super::details::{self, Quotas};
use super::{ASKED, CardCounter, Ended, MOST, Memory, ProcessIo, Sample, Thread, Threads, Window};

/// Looks at all threads take a twentieth of the time at most.
const SHARE: u32 = 20;

/// One look takes no longer; what it did not come to is counted.
const LOOK: Duration = Duration::from_secs(3);

/// So many samples are kept.
const SAMPLES: u32 = 512;

/// Between two samples there is no more time than this in a short window, so that no count of the kernel's is missed.
const STEP: Duration = Duration::from_secs(1);

/// What can be said without looking at a thread.
///
/// # Errors
/// When there is no `/proc`.
pub fn glance(root: &Root) -> Result<Sample, ReadError> {
    Ok(counters(&mut Tasks::open(root, "/proc")?, Moment::now()))
}

/// Two samples that are so far apart, of counters alone: threads are not looked at. It costs next to nothing and shows
/// whether there is something to watch.
///
/// # Errors
/// When there is no `/proc`.
pub fn glimpse(root: &Root, apart: Duration) -> Result<Window, ReadError> {
    let mut tasks = Tasks::open(root, "/proc")?;
    let quotas = Quotas::of_all(root, "/sys");
    let mut look = || {
        let mut sample = counters(&mut tasks, Moment::now());
        add_tables(&mut tasks, &mut sample);
        sample.throttled = quotas.as_ref().and_then(|quotas| quotas.known(root));
        sample.cards = cards(root);
        sample
    };
    let before = look();
    std::thread::sleep(apart);
    Ok(Window { samples: vec![before, look()], place: "/proc".into() })
}

/// Watches the running system for so long. With no length it takes one sample.
///
/// The kernel counts every 5·HZ+1 ticks. Who looked in time with that would be in every count or in none, so no two
/// samples are the same time apart; and this process is left out of what it sees.
///
/// # Errors
/// When there is no `/proc`.
pub fn watch(root: &Root, length: Duration) -> Result<Window, ReadError> {
    let mut tasks = Tasks::open(root, "/proc")?;
    let began = Instant::now();
    let mut chance = Chance::new();
    let mut samples = Vec::new();
    let mut faults = Faults::new();
    let quotas = Quotas::of_all(root, "/sys");
    // What lives for moments no look sees; the kernel tells of it when it ends, if it may.
    let mut exits = told_of_exits(root);
    let mut ended: HashMap<(BString, u32), Ended> = HashMap::new();
    loop {
        let left = length.saturating_sub(began.elapsed());
        let look = Instant::now();
        let is_whole = samples.is_empty() || left.is_zero();
        samples.push(sample(&mut tasks, Moment::now(), is_whole, &mut faults));
        for exit in exits.iter_mut().flat_map(|exits| exits.read().0) {
            add_exit(&mut ended, exit);
        }
        let cost = look.elapsed();
        if let Some(last) = samples.last_mut().filter(|_| is_whole) {
            last.cards = cards(root);
            last.throttled = quotas.as_ref().and_then(|quotas| quotas.known(root));
        }
        if left.is_zero() {
            look_closely(&mut tasks, &mut samples);
            if let Some(last) = samples.last_mut().filter(|_| exits.is_some()) {
                last.ended = Some(ended.into_values().collect());
            }
            break;
        }
        let step = (length / 12).min(STEP).max(length / SAMPLES).max(cost * SHARE);
        let left = length.saturating_sub(began.elapsed());
        let pause = chance.about(step);
        // A last step that would be short is not worth one of its own.
        std::thread::sleep(if pause + step / 3 > left { left } else { pause });
    }
    Ok(Window { samples, place: "/proc".into() })
}

/// So many kinds of those that ended are kept.
const KINDS: usize = 4096;

fn told_of_exits(root: &Root) -> Option<Exits> {
    let cpus = root.read_up_to("/sys/devices/system/cpu/possible", 4096).ok()?;
    Exits::of(String::from_utf8_lossy(&cpus).trim()).ok()
}

fn add_exit(ended: &mut HashMap<(BString, u32), Ended>, exit: Exit) {
    let key = (exit.name, exit.parent);
    if ended.len() >= KINDS && !ended.contains_key(&key) {
        return;
    }
    let name = key.0.to_string();
    let kind = ended.entry(key).or_insert_with(|| Ended { name, parent: exit.parent, ..Ended::default() });
    kind.count += 1;
    kind.user_us = kind.user_us.saturating_add(exit.user_us);
    kind.system_us = kind.system_us.saturating_add(exit.system_us);
}

/// Where those threads are in the kernel that were active at the end, and the files of who read and wrote most, or waits.
fn look_closely(tasks: &mut Tasks<'_>, samples: &mut [Sample]) {
    let bytes = |sample: &Sample| -> HashMap<(u32, u64), u64> {
        let of = |one: &ProcessIo| ((one.pid, one.began), one.io.read_bytes.saturating_add(one.io.write_bytes));
        sample.io.iter().flatten().map(of).collect()
    };
    // With one sample nobody knows since when.
    let before = if samples.len() > 1 { samples.first().map(bytes) } else { None };
    let Some(last) = samples.last_mut() else { return };
    let mut processes = before.map(|before| details::greedy(&before, bytes(last).into_iter())).unwrap_or_default();
    let Some(threads) = &last.threads else { return };
    let waits = |thread: &&Thread| thread.state == b'D' && thread.id == thread.pid && !thread.is_kernels();
    let waiting: Vec<_> = threads.list.iter().filter(waits).map(Thread::identity).collect();
    processes.extend(waiting.into_iter().filter(|who| !processes.contains(who)).collect::<Vec<_>>());
    last.stacks = details::stacks(tasks, threads);
    last.files = details::files(tasks, &processes);
}

/// Of so many cards the drivers are asked.
const CARDS: usize = 16;

/// Counters of the cards' own, where the drivers have some. Only cards are asked: what software makes counts in `/proc`.
pub(super) fn cards(root: &Root) -> Option<Vec<CardCounter>> {
    let entries = root.read_dir("/sys/class/net").ok()?;
    let is_card = |name: &str| root.exists(format!("/sys/class/net/{name}/device")).unwrap_or(false);
    let names = entries.iter().filter_map(|entry| entry.name.to_str()).filter(|name| is_card(name));
    let mut all = Vec::new();
    for link in names.take(CARDS) {
        let Ok((names, values)) = sickbay_target::ethtool::counters(link) else { continue };
        all.extend(ethtool::counters_of(&names, &values).into_iter().map(|one| named(link, one)));
    }
    (!all.is_empty()).then_some(all)
}

pub(super) fn named(link: &str, counter: ethtool::Counter) -> CardCounter {
    CardCounter { link: link.to_owned(), name: counter.name.to_string(), value: counter.value }
}

/// The page faults of the children of each process that ended, as far as they were seen.
pub(super) type Faults = HashMap<u32, u64>;

/// One sample; of the threads all, or those that are active or whose children have ended meanwhile.
pub(super) fn sample(tasks: &mut Tasks<'_>, moment: Moment, all: bool, faults: &mut Faults) -> Sample {
    let mut sample = counters(tasks, moment);
    let mut threads = threads(tasks, all, faults, MOST as u64);
    if let Some(threads) = &mut threads {
        tell_left_out(threads, sample.load);
    }
    sample.io = all.then(|| process_io(tasks, threads.as_ref()?)).flatten();
    sample.threads = threads;
    add_tables(tasks, &mut sample);
    sample
}

/// Where there are more threads than were looked at: how many.
pub(super) fn tell_left_out(threads: &mut Threads, load: Option<LoadAvg>) {
    if let Some(load) = load.filter(|_| threads.left_out > 0) {
        threads.left_out = load.total.saturating_sub(threads.left_out).max(1);
    }
}

/// What the kernel counts of interrupts, packets, disks and memory.
pub(super) fn add_tables(tasks: &mut Tasks<'_>, sample: &mut Sample) {
    let long = |file: &str| tasks.read_long(file).ok();
    let rows = |file: &str| interrupts::parse(&long(file)?).filter(|table| !table.rows.is_empty());
    sample.disks = long("diskstats").map(|text| diskstats::parse(&text));
    sample.interrupts = rows("interrupts");
    sample.softirqs = rows("softirqs");
    sample.softnet = long("net/softnet_stat").map(|text| softnet::parse(&text));
    sample.links = long("net/dev").map(|text| net_dev::parse(&text));
    sample.tcp = tcp(long("net/snmp"), long("net/netstat"));
    sample.memory = long("meminfo").and_then(|text| memory(&text));
}

/// So many processes are asked what they read and wrote.
const IO_OF: usize = 8192;

/// `None` when nobody may be asked.
pub(super) fn process_io(tasks: &mut Tasks<'_>, threads: &Threads) -> Option<Vec<ProcessIo>> {
    let leaders = threads.list.iter().filter(|thread| thread.id == thread.pid && !thread.is_kernels());
    let read = leaders.take(IO_OF).filter_map(|thread| {
        let io = task_io::parse(&tasks.read(&format!("{}/io", thread.pid)).ok()?)?;
        Some(ProcessIo { pid: thread.pid, began: thread.began, name: thread.name, io })
    });
    let read: Vec<ProcessIo> = read.collect();
    (!read.is_empty()).then_some(read)
}

fn tcp(snmp: Option<Vec<u8>>, netstat: Option<Vec<u8>>) -> Option<Vec<Counter>> {
    let mut counters: Vec<Counter> = snmp.iter().chain(&netstat).flat_map(|text| mib::parse(text)).collect();
    counters.retain(|counter| counter.name.starts_with(b"Tcp"));
    (!counters.is_empty()).then_some(counters)
}

fn memory(text: &[u8]) -> Option<Memory> {
    let fields = Fields::parse(text);
    let or_zero = |name| fields.or_zero(name);
    Some(Memory {
        total: fields.get("MemTotal")?,
        free: fields.get("MemFree")?,
        available: fields.get("MemAvailable"),
        cached: or_zero("Buffers").saturating_add(or_zero("Cached")),
        dirty: or_zero("Dirty"),
        writeback: or_zero("Writeback"),
        shmem: or_zero("Shmem"),
        slab: or_zero("Slab"),
        swap_total: or_zero("SwapTotal"),
        swap_free: or_zero("SwapFree"),
    })
}

/// The threads, at most `most` of them. Where there are more, `left_out` is yet how many were seen.
pub(super) fn threads(tasks: &mut Tasks<'_>, all: bool, faults: &mut Faults, most: u64) -> Option<Threads> {
    let began = Instant::now();
    let mut list: Vec<Thread> = Vec::new();
    let (mut seen, mut is_cut) = (0_u64, false);
    let looked = tasks.scan(|pid, task| {
        if seen >= most || (seen % 512 == 511 && began.elapsed() > LOOK) {
            is_cut = true;
            return ControlFlow::Break(());
        }
        seen += 1;
        let thread = Thread::of(pid, &task);
        let is_leader = thread.id == thread.pid;
        let has_grown = is_leader
            && thread.faults_of_children > 0
            && faults.insert(pid, thread.faults_of_children) != Some(thread.faults_of_children);
        if all || has_grown || thread.is_active() {
            list.push(thread);
        }
        ControlFlow::Continue(())
    });
    looked.ok()?;
    ask_what_for(tasks, &mut list);
    Some(Threads { list, is_all: all && !is_cut, left_out: if is_cut { seen } else { 0 } })
}

/// What those wait for that cannot be interrupted.
pub(super) fn ask_what_for(tasks: &mut Tasks<'_>, list: &mut [Thread]) {
    // One that has left its sleep since says nothing more of it.
    for thread in list.iter_mut().filter(|thread| thread.state == b'D').take(ASKED) {
        let (pid, id) = (thread.pid, thread.id);
        let of_thread = |file: &str| [format!("{pid}/task/{id}/{file}"), format!("{pid}/{file}")];
        let mut read = |file: &str| of_thread(file).iter().find_map(|file| tasks.read(file).ok());
        let wait = read("wchan").map(|text| String::from_utf8_lossy(text.trim_ascii()).into_owned());
        thread.waits_in = wait.filter(|wait| !matches!(wait.as_str(), "" | "0")).map(String::into_boxed_str);
        thread.slices = read("schedstat").and_then(|text| schedstat::parse(&text)).map(|stat| stat.slices);
    }
}

pub(super) fn counters(tasks: &mut Tasks<'_>, moment: Moment) -> Sample {
    let stat = tasks.read_long("stat").ok().map(|text| stat::parse(&text));
    let stat = stat.filter(|stat| *stat != stat::Stat::default());
    let mut read = |file: &str| tasks.read(file).ok();
    let mut pressure = |what: &str| pressure::parse(&read(&format!("pressure/{what}"))?);
    Sample {
        moment,
        cpu_pressure: pressure("cpu"),
        io_pressure: pressure("io"),
        memory_pressure: pressure("memory"),
        load: read("loadavg").and_then(|text| loadavg::parse(&text)),
        stat,
        ..Sample::default()
    }
}

/// Numbers that nobody falls into step with. They need not be secret.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new() -> Chance {
        let seed = sickbay_target::random::<8>().map(u64::from_le_bytes);
        Chance(seed.unwrap_or_else(|_| u64::from(Moment::now().wall.subsec_nanos())))
    }

    /// Between two thirds and four thirds of that time.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        // Knuth's MMIX generator, of which the upper bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = (self.0 >> 33) as f64 / (1_u64 << 31) as f64;
        time.mul_f64((2.0 + 2.0 * part) / 3.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_window_of_this_machine() {
        let root = Root::host().expect("the root");
        let window = watch(&root, Duration::from_millis(400)).expect("/proc");
        assert!(window.samples.len() >= 2 && window.samples.len() < 40, "{} samples", window.samples.len());
        assert!(window.span().is_some_and(|span| span >= Duration::from_millis(390)), "{:?}", window.span());
        let cpus = window.last().and_then(|last| Some(last.stat.as_ref()?.cpus.len())).unwrap_or(0);
        assert!(window.busy().is_some_and(|busy| busy >= 0.0 && busy <= cpus as f64 * 1.5), "{:?}", window.busy());
        let own = std::process::id();
        let threads: Vec<&Thread> = window.looks().flat_map(|look| &look.list).collect();
        assert!(threads.len() > 2 && threads.iter().all(|thread| thread.pid != own));
        let (grown, _) = window.growths(|thread| thread.ticks).expect("two looks at all");
        assert!(grown.len() > 2);
        let last = window.last().expect("a sample");
        let links = last.links.as_ref().expect("/proc/net/dev");
        assert!(links.iter().any(|link| link.name == "lo"), "{links:?}");
        assert_eq!(last.softnet.as_ref().map(Vec::len), Some(cpus));
        assert!(last.memory.is_some_and(|memory| memory.total > memory.free && memory.free > 0));
        assert!(last.tcp.as_ref().is_some_and(|tcp| mib::value(tcp, "Tcp.RetransSegs").is_some()));
        let net_rx = last.softirqs.as_ref().and_then(|table| table.row("NET_RX")).map(|row| row.counts.len());
        assert_eq!(net_rx, Some(cpus));
        assert!(last.io.as_ref().is_none_or(|io| io.iter().all(|process| process.pid != own)));
        let one = watch(&root, Duration::ZERO).expect("/proc");
        assert_eq!((one.samples.len(), one.span(), one.busy()), (1, None, None));
    }

    #[test]
    fn of_too_many_threads_some_are_left_out_and_it_is_said() {
        let root = Root::host().expect("the root");
        let mut tasks = Tasks::open(&root, "/proc").expect("/proc");
        let few = threads(&mut tasks, true, &mut Faults::new(), 3).expect("/proc");
        assert_eq!((few.list.len(), few.is_all, few.left_out), (3, false, 3));
        let all = threads(&mut tasks, true, &mut Faults::new(), MOST as u64).expect("/proc");
        assert!(all.is_all && all.left_out == 0 && all.list.len() > 3);
    }

    #[test]
    fn no_two_steps_are_alike() {
        let mut chance = Chance(1);
        let steps: Vec<Duration> = (0..100).map(|_| chance.about(Duration::from_secs(3))).collect();
        let most = steps.iter().max().expect("some");
        assert!(steps.iter().all(|step| *step >= Duration::from_secs(2)) && *most <= Duration::from_secs(4));
        assert!(steps.windows(2).all(|pair| pair[0] != pair[1]) && *most > Duration::from_millis(3500));
    }
}
