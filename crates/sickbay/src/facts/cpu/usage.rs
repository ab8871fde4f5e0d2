//! Who used the processors in a part of a window: over that time, and not over their lives.

use std::collections::{BTreeMap, HashMap};

use sickbay_formats::collected::rounded;

use crate::facts::episode::Step;
use crate::model::text::Text;
use crate::sample::rates::{Cpus, Shares};
use crate::sample::used::Used;
use crate::sample::{Name, Window};
use crate::tr;

/// A program with its processes under one parent.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The name of the program.
    pub name: String,
    /// Who started them, if one did. Not of the kernel's own, nor of what init started.
    pub parent: Option<(u32, String)>,
    /// Its processes, in order.
    pub pids: Vec<u32>,
    /// How many processors it used, on the average.
    pub cpus: f64,
    /// The kernel's own threads.
    pub is_kernels: bool,
    /// Its threads that used most.
    pub threads: Vec<Busy>,
}

/// A thread that used a processor.
#[derive(Clone, Debug, PartialEq)]
pub struct Busy {
    /// Its process.
    pub pid: u32,
    /// Its number.
    pub id: u32,
    /// Its own name.
    pub name: String,
    /// When it began, in ticks since the machine did.
    pub began: u64,
    /// The share of one processor that it had.
    pub share: f64,
    /// Whether it ran or could at every look.
    pub is_always_running: bool,
    /// All the time that it had since it began, in ticks.
    pub ticks: u64,
}

impl User {
    /// Who that is, in words.
    pub fn who(&self) -> Text {
        let name = self.name.as_str();
        match (&self.parent, self.pids.as_slice()) {
            _ if self.is_kernels => tr!("the kernel's own {name}", name),
            (_, [pid]) => tr!("{name} (PID {pid})", name, pid),
            (Some((parent, of)), _) => tr!("{name} (started by {of}, PID {parent})", name, of = of.as_str(), parent),
            (None, pids) => tr!("{name} ({count} processes)", name, count = pids.len()),
        }
    }
}

/// What the processors did in a part of a window.
#[derive(Clone, Debug)]
pub struct Usage {
    /// How many are online.
    pub cpus: usize,
    /// All together.
    pub all: Shares,
    /// Each of them.
    pub each: Cpus,
    /// Threads that ran or could beside the one that looked, on the average; `None` where nobody counted.
    pub wanting: Option<f64>,
    /// In how much of the time somebody waited for a processor, in percent; `None` without PSI.
    pub pressure: Option<f64>,
    /// Processes and threads that were made, a second.
    pub made: Option<f64>,
    /// Who used them, the most first; empty where nobody looked at threads.
    pub users: Vec<User>,
}

/// Users that are kept.
const USERS: usize = 32;

/// Threads of a user that are kept.
const THREADS: usize = 4;

impl Usage {
    /// What they did in that part. `None` where that is not known.
    pub fn of(window: &Window, part: &Step<'_>) -> Option<Usage> {
        let each = part.interval.cpus()?;
        let all = each.all?;
        let samples = window.samples.get(part.first..=part.last)?;
        let wanting: Vec<u64> = samples
            .iter()
            .filter_map(|sample| sample.load.map(|load| load.running).or_else(|| sample.stat.as_ref()?.running))
            .map(|running| running.saturating_sub(1))
            .collect();
        let stalled = part.interval.rate(|sample| Some(sample.cpu_pressure?.some?.total));
        // Where only their sum was printed, it tells how many there are.
        let ticks = part.interval.rate(|sample| Some(sample.stat.as_ref()?.total.all()));
        let counted = ticks.map_or(0, |ticks| rounded(ticks / 100.0));
        let cpus = if each.each.is_empty() { usize::try_from(counted).unwrap_or(1) } else { each.each.len() };
        Some(Usage {
            cpus: cpus.max(1),
            all,
            wanting: (!wanting.is_empty()).then(|| wanting.iter().sum::<u64>() as f64 / wanting.len() as f64),
            pressure: stalled.map(|micros| micros / 10_000.0),
            made: part.interval.rate(|sample| sample.stat.as_ref()?.made),
            users: users(window, part),
            each,
        })
    }

    /// How many processors were busy, and not with what the hypervisor gave to others.
    pub fn used(&self) -> f64 {
        (self.all.busy() - self.all.steal).max(0.0) / 100.0 * self.cpus as f64
    }

    /// How many of these nobody is known for: programs that lived for moments, and interrupts.
    pub fn unknown(&self) -> f64 {
        let known: f64 = self.users.iter().map(|user| user.cpus).sum();
        let interrupts = self.all.irq.unwrap_or(0.0) + self.all.softirq.unwrap_or(0.0);
        (self.used() - known - interrupts / 100.0 * self.cpus as f64).max(0.0)
    }

    /// The same for programs that read the report.
    pub fn details(&self) -> serde_json::Value {
        let users = self.users.iter().take(8).map(|user| {
            serde_json::json!({
                "name": user.name, "pids": user.pids, "cpus": thousandths(user.cpus), "kernel": user.is_kernels,
                "parent": user.parent.as_ref().map(|(pid, name)| serde_json::json!({"pid": pid, "name": name})),
            })
        });
        serde_json::json!({
            "cpus": self.cpus,
            "user": thousandths(self.all.user),
            "nice": self.all.nice.map(thousandths),
            "system": thousandths(self.all.system),
            "iowait": thousandths(self.all.iowait),
            "irq": self.all.irq.map(thousandths),
            "softirq": self.all.softirq.map(thousandths),
            "steal": thousandths(self.all.steal),
            "idle": thousandths(self.all.idle),
            "wanting": self.wanting.map(thousandths),
            "pressure": self.pressure.map(thousandths),
            "made_per_second": self.made.map(thousandths),
            "users": users.collect::<Vec<_>>(),
        })
    }
}

/// Programs that use what there is and wait for nobody: who starts them knows that it takes a while.
const BATCH: [&str; 40] = [
    "cc1",
    "cc1plus",
    "cc1obj",
    "clang",
    "clang++",
    "gcc",
    "g++",
    "as",
    "ld",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "lld",
    "lto1",
    "lto1-ltrans",
    "mold",
    "rustc",
    "rust-lld",
    "rustdoc",
    "cargo",
    "cargo-nextest",
    "clippy-driver",
    "make",
    "ninja",
    "go",
    "compile",
    "link",
    "javac",
    "ghc",
    "xz",
    "gzip",
    "bzip2",
    "zstd",
    "pigz",
    "pbzip2",
    "ffmpeg",
    "x265",
    "dpkg-deb",
    "mksquashfs",
    "stress-ng",
];

/// Whether a program is one of those of which nobody expects an answer soon: compilers, compression.
pub fn is_batch(name: &str) -> bool {
    BATCH.contains(&name) || name.starts_with("opt cgu.") || name.starts_with("cc1")
}

/// More digits would only look exact.
pub fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The shares of the processors as one line: what is 0 is left out.
pub fn split(shares: &Shares) -> Text {
    let percent = |share: f64| format!("{share:.0}");
    let interrupts = match (shares.irq, shares.softirq) {
        (None, None) => None,
        (irq, softirq) => Some(irq.unwrap_or(0.0) + softirq.unwrap_or(0.0)),
    };
    match interrupts {
        Some(interrupts) => tr!(
            "user {user} %, system {system} %, interrupts and softirqs {interrupts} %, iowait {iowait} %, steal {steal} %, idle {idle} %",
            user = percent(shares.user + shares.nice.unwrap_or(0.0)),
            system = percent(shares.system),
            interrupts = percent(interrupts),
            iowait = percent(shares.iowait),
            steal = percent(shares.steal),
            idle = percent(shares.idle)
        ),
        None => tr!(
            "user {user} %, system {system} % (interrupts may be in it), iowait {iowait} %, steal {steal} %, idle {idle} %",
            user = percent(shares.user + shares.nice.unwrap_or(0.0)),
            system = percent(shares.system),
            iowait = percent(shares.iowait),
            steal = percent(shares.steal),
            idle = percent(shares.idle)
        ),
    }
}

/// What threads are put together by: the kernel's own, name, parent.
type Key = (bool, Name, u32);

fn users(window: &Window, part: &Step<'_>) -> Vec<User> {
    let Some(used) = window.used(part.first, part.last) else { return Vec::new() };
    let processes: HashMap<u32, (Name, u32)> = window
        .looks()
        .flat_map(|look| &look.list)
        .filter(|thread| thread.id == thread.pid)
        .map(|thread| (thread.pid, (thread.name, thread.parent)))
        .collect();
    let key = |used: &Used<'_>| -> Key {
        let thread = used.thread;
        let name = processes.get(&thread.pid).map_or(thread.name, |(name, _)| *name);
        match thread.is_kernels() {
            true if name.to_string().starts_with("kworker/") => (true, Name::of(b"kworker"), 0),
            true => (true, name, 0),
            false => (false, name, thread.parent),
        }
    };
    let mut parts: BTreeMap<Key, Vec<&Used<'_>>> = BTreeMap::new();
    for thread in used.iter().filter(|used| used.share > 0.0) {
        parts.entry(key(thread)).or_default().push(thread);
    }
    // Programs that have one process under each of several parents (compilers) are one.
    let is_single = |threads: &[&Used<'_>]| {
        threads.iter().all(|used| Some(used.thread.pid) == threads.first().map(|first| first.thread.pid))
    };
    let mut groups: Vec<(Vec<Key>, Vec<&Used<'_>>)> = Vec::new();
    for (key, threads) in parts {
        let same = |keys: &[Key], others: &[&Used<'_>]| {
            keys.first().is_some_and(|other| (other.0, other.1) == (key.0, key.1))
                && (keys.len() > 1 || is_single(others))
        };
        match groups.iter_mut().find(|(keys, others)| is_single(&threads) && same(keys, others)) {
            Some((keys, others)) => {
                keys.push(key);
                others.extend(threads);
            }
            None => groups.push((vec![key], threads)),
        }
    }
    let mut users: Vec<User> = groups.into_iter().map(|(keys, threads)| user(&keys, threads, &processes)).collect();
    users.sort_by(|one, other| other.cpus.total_cmp(&one.cpus).then_with(|| one.pids.cmp(&other.pids)));
    users.truncate(USERS);
    users
}

fn user(keys: &[Key], mut threads: Vec<&Used<'_>>, processes: &HashMap<u32, (Name, u32)>) -> User {
    threads.sort_by(|one, other| other.share.total_cmp(&one.share).then(one.thread.id.cmp(&other.thread.id)));
    let mut pids: Vec<u32> = threads.iter().map(|used| used.thread.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let first = keys.first();
    let parent = first.map(|key| key.2).filter(|parent| *parent > 2 && keys.len() == 1);
    let name_of = |pid: u32| processes.get(&pid).map_or_else(|| "?".to_owned(), |(name, _)| name.to_string());
    let busy = |used: &&Used<'_>| Busy {
        pid: used.thread.pid,
        id: used.thread.id,
        name: used.thread.name.to_string(),
        began: used.thread.began,
        share: used.share,
        is_always_running: used.looks == used.runs,
        ticks: used.thread.ticks,
    };
    User {
        name: first.map(|key| key.1.to_string()).unwrap_or_default(),
        parent: parent.map(|parent| (parent, name_of(parent))),
        cpus: threads.iter().map(|used| used.share).sum(),
        is_kernels: first.is_some_and(|key| key.0),
        threads: threads.iter().take(THREADS).map(busy).collect(),
        pids,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sickbay_formats::procfs::stat;

    use super::*;
    use crate::facts::episode::{STEP, steps};
    use crate::model::text::Lang;
    use crate::sample::{Sample, Thread, Threads};

    fn sample(seconds: u64, stat: &str, threads: &[(u32, u32, u32, &str, u64)]) -> Sample {
        let list = threads.iter().map(|(pid, id, parent, name, ticks)| Thread {
            pid: *pid,
            id: *id,
            parent: *parent,
            name: Name::of(name.as_bytes()),
            ticks: *ticks,
            state: b'R',
            began: 1,
            ..Thread::default()
        });
        let mut sample = Sample { stat: Some(stat::parse(stat.as_bytes())), ..Sample::default() };
        sample.moment.steady = Duration::from_secs(seconds);
        sample.threads = Some(Threads { list: list.collect(), is_all: true, left_out: 0 });
        sample
    }

    #[test]
    fn users_by_program_and_what_nobody_is_known_for() {
        let samples = vec![
            sample(
                100,
                "cpu 9 0 9 9 0\ncpu0 9 0 9 9 0\ncpu1 0 0 0 0 0\nprocs_running 6\n",
                &[(7, 7, 1, "java", 0), (7, 8, 1, "GC", 0), (20, 20, 120, "cc1", 0), (21, 21, 121, "cc1", 0)],
            ),
            sample(
                110,
                "cpu 1509 0 309 209 0\ncpu0 909 0 109 9 0\ncpu1 600 0 200 200 0\nprocs_running 4\n",
                &[(7, 7, 1, "java", 100), (7, 8, 1, "GC", 700), (20, 20, 120, "cc1", 300), (21, 21, 121, "cc1", 200)],
            ),
        ];
        let window = Window { samples, place: "/proc".into() };
        let steps = steps(&window, STEP, |_| true);
        let usage = Usage::of(&window, &steps[0]).expect("known");
        let seen: Vec<_> =
            usage.users.iter().map(|user| (user.who().render(Lang::En), thousandths(user.cpus))).collect();
        assert_eq!(seen, [("java (PID 7)".to_owned(), 0.8), ("cc1 (2 processes)".to_owned(), 0.5)]);
        assert_eq!(usage.users[0].threads[0].name, "GC");
        assert_eq!((usage.cpus, usage.wanting, usage.pressure), (2, Some(4.0), None));
        assert!((usage.used() - 1.8).abs() < 1e-9 && (usage.unknown() - 0.5).abs() < 1e-9);
        assert!(split(&usage.all).render(Lang::En).starts_with("user 75 %, system 15 %"));
    }
}
