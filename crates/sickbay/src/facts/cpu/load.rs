//! Who makes the load: every thread that the kernel counts, by program and by what it waits for, and whether that adds up to
//! what `/proc/loadavg` says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use sickbay_formats::procfs;
use sickbay_formats::procfs::loadavg::{self, KEPT, LoadAvg, ONE, Rounding};
use sickbay_formats::procfs::task::FROZEN;
use sickbay_target::Tasks;

use crate::facts::cpu::waits::{self, Wait, Where};
use crate::facts::system::kernel::Kernel;
use crate::facts::time::Recorded;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::sample::asked::shown;
use crate::sample::{Count, Identity, Name, Sample, Thread, Window};
use crate::tr;

/// Threads of one program that one parent started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// The name of the program.
    pub name: String,
    /// Who started them, if one did: its number and name. Not of the kernel's own, nor of what init started.
    pub parent: Option<(u32, String)>,
    /// Its processes that were active, in order.
    pub pids: Vec<u32>,
    /// How many of its threads were active at any look.
    pub threads: usize,
    /// How many ran or could, on the average of all looks.
    pub running: f64,
    /// How many slept and could not be interrupted.
    pub waiting: f64,
    /// How many of these did so at every look and never ran in between; `None` where that cannot be told.
    pub stuck: Option<usize>,
    /// How many processors it kept busy, where two looks tell.
    pub cpu: Option<f64>,
    /// What it added to the average of one minute over the window, by the kernel's formula.
    pub gained: Option<f64>,
    /// Functions of the kernel that it slept in, each with how many threads did, on the average; the most first.
    pub channels: Vec<(Option<String>, f64)>,
    /// The kernel's own threads.
    pub is_kernels: bool,
    /// The kernel's own threads that always wait so: no trouble, though they count.
    pub is_usual: bool,
    /// The program of the children that it waits for, where it is that.
    pub children: Option<String>,
    /// Which mounts it waits for, as far as it can be told.
    pub places: Vec<Where>,
    /// The control group of one of its processes, where one was asked.
    pub cgroup: Option<String>,
    /// Some of its threads, as they were seen last: those that wait first.
    pub some: Vec<Thread>,
}

impl Group {
    /// How many threads it adds to the kernel's count.
    pub fn count(&self) -> f64 {
        self.running + self.waiting
    }

    /// What they wait for, if the functions tell. Where one waits for an answer that does not come, the others may only wait
    /// for that one, to give back a lock.
    pub fn wait(&self) -> Option<Wait> {
        let known =
            || self.channels.iter().filter_map(|(channel, threads)| Some((Wait::of(channel.as_deref()?)?, *threads)));
        let hangs = known().find(|(wait, _)| wait.may_hang());
        let many = |threads: f64| threads * 4.0 >= self.waiting;
        let cause = || known().find(|(wait, threads)| *wait != Wait::Lock && many(*threads));
        let most = || self.channels.first().and_then(|(channel, _)| Wait::of(channel.as_deref()?));
        hangs.or_else(cause).map(|(wait, _)| wait).or_else(most)
    }

    /// For what they wait, in words, as far as it can be told.
    pub fn told_wait(&self) -> Option<Text> {
        let wait = match (self.wait(), &self.children) {
            (Some(Wait::Child), Some(program)) => {
                Some(tr!("a child started by vfork ({program})", program = program.as_str()))
            }
            (Some(wait), _) => Some(wait.told()),
            (None, _) => {
                let channel = self.channels.first().and_then(|(channel, _)| channel.as_deref());
                channel.map(|channel| tr!("what {channel}() in the kernel waits for", channel))
            }
        };
        let place = self.places.first().map(|place| {
            let (mount, fstype, source) = (place.mount.as_path(), place.fstype.as_str(), place.source.as_str());
            match &place.file {
                Some(file) => {
                    tr!("{file} on {mount} ({fstype}, {source})", file = file.as_path(), mount, fstype, source)
                }
                None => tr!("{mount} ({fstype}, {source})", mount, fstype, source),
            }
        });
        match (wait, place) {
            (Some(wait), Some(place)) => Some(tr!("{wait}: {place}", wait, place)),
            (wait, place) => wait.or(place),
        }
    }

    /// Who that is, in words: "nginx (started by nginx, PID 957)".
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

/// Threads that look like load and are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weightless {
    /// How many.
    pub threads: usize,
    /// The name of one.
    pub name: String,
    /// Why.
    pub why: Text,
}

/// Who starts many programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Its share of the page faults of all children that ended meanwhile, in per cent.
    pub share: u64,
}

/// The load of a running system explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// In a recording: when load1 was highest, at which it ends, by the clock there.
    pub highest_at: Option<String>,
    /// `/proc/loadavg` at the end.
    pub told: LoadAvg,
    /// The same at the beginning.
    pub first: LoadAvg,
    /// Processors that are online, where that is known.
    pub cpus: Option<usize>,
    /// How long it was watched; `None` where it was one moment, or the clock cannot be believed.
    pub span: Option<Duration>,
    /// How often the threads were looked at.
    pub looks: usize,
    /// Who makes it, the most first.
    pub groups: Vec<Group>,
    /// What is no load though it looks so.
    pub weightless: Vec<Weightless>,
    /// What the kernel counted meanwhile.
    pub counts: Vec<Count>,
    /// How many threads were seen at those moments, on the average, where there were any.
    pub seen_then: Option<f64>,
    /// What is left of the average of the beginning.
    pub before: Option<f64>,
    /// How much of the average of the end is explained by nothing.
    pub residue: Option<f64>,
    /// Processors that were busy.
    pub busy: Option<f64>,
    /// Processes and threads that are made, a second.
    pub made: Option<f64>,
    /// Who makes most of them.
    pub maker: Option<Maker>,
    /// Threads that nobody looked at: there were too many.
    pub left_out: u64,
    /// Threads that the kernel has and nobody here can see: those of other containers, or of other users.
    pub hidden: u64,
    /// By how many seconds somebody set the clock meanwhile.
    pub clock_was_set: Option<f64>,
}

/// From so many new processes and threads a second on, what lives for moments may be the load.
const STORM: f64 = 50.0;

/// Of so many groups it is asked where they run and which mounts they wait for.
const ASKED: usize = 8;

/// Groups that are kept.
const GROUPS: usize = 64;

/// Threads of a group that are remembered one by one.
const SOME: usize = 4;

/// TASK_IDLE is no load since 4.2 (commit 80ed87c8a9ca) and has a letter of its own since 4.14 (commit 06eb61844d84): in
/// between a thread of the kernel's that seems to wait may weigh nothing.
const IDLE_LOOKS_LIKE_D: std::ops::Range<(u32, u32)> = (4, 2)..(4, 14);

/// A frozen thread has no mark in its flags any more (commit f5d39b020809), but it is known by where it sleeps.
const NO_FROZEN_FLAG: (u32, u32) = (6, 1);

/// One thread over all looks.
struct Seen<'w> {
    running: usize,
    waiting: usize,
    slices: (Option<u64>, Option<u64>),
    channels: BTreeMap<Option<&'w str>, usize>,
    last: &'w Thread,
}

/// What threads are put together by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    is_kernels: bool,
    name: Name,
    /// 0 for the kernel's own.
    parent: u32,
}

/// The processes, by the looks at all threads.
struct Processes(HashMap<u32, (Name, u32)>);

impl Processes {
    fn of(window: &Window) -> Processes {
        let all = window.looks().flat_map(|look| &look.list).filter(|thread| thread.id == thread.pid);
        Processes(all.map(|thread| (thread.pid, (thread.name, thread.parent))).collect())
    }

    fn key(&self, thread: &Thread) -> Key {
        // A thread may have a name of its own.
        let name = self.0.get(&thread.pid).map_or(thread.name, |(name, _)| *name);
        match thread.is_kernels() {
            false => Key { is_kernels: false, name, parent: thread.parent },
            true => {
                let is_worker = name.to_string().starts_with("kworker/");
                Key { is_kernels: true, name: if is_worker { Name::of(b"kworker") } else { name }, parent: 0 }
            }
        }
    }
}

impl Load {
    /// Explains what a window shows of a kernel of that version. `observers` are processes that only look, and are left out.
    /// `None` where it has no average or no threads.
    pub fn of(window: &Window, version: (u32, u32), observers: &[u32]) -> Option<Load> {
        let (first, last) = (window.samples.first()?, window.last()?);
        let (first_load, told) = (first.load?, last.load?);
        let looks = window.looks().count();
        if looks == 0 {
            return None;
        }
        let processes = Processes::of(window);
        let mut weightless: Vec<Weightless> = Vec::new();
        let threads = seen(window, version, observers, &mut weightless);
        let mut parts: BTreeMap<Key, Vec<&Seen<'_>>> = BTreeMap::new();
        for thread in threads.values() {
            parts.entry(processes.key(thread.last)).or_default().push(thread);
        }
        let parts = merged(parts);
        let mut groups: Vec<(Vec<Key>, Group)> = parts
            .into_iter()
            .map(|(keys, threads)| {
                let group = group(&keys, &threads, looks, &processes, told);
                (keys, group)
            })
            .collect();
        drop_idle(&mut groups, &mut weightless, window, version, told);
        groups.sort_by(|(keys, one), (other_keys, other)| {
            other.count().total_cmp(&one.count()).then(keys.cmp(other_keys))
        });
        groups.truncate(GROUPS);
        add_processors(&mut groups, window, &processes);
        let counts = window.counts();
        let rounding = Rounding::of(version);
        let (mut before, mut residue, mut seen_then) = (None, None, None);
        if !counts.is_empty() && window.span().is_some() {
            let old = counts
                .iter()
                .fold(loadavg::fixed(first_load.averages[0]), |load, _| loadavg::next(load, KEPT[0], 0, rounding));
            let mut explained = old;
            let mut all = 0.0;
            for (keys, group) in &mut groups {
                let at = |count: &Count| {
                    active_at(window, count, &|thread| {
                        threads.contains_key(&thread.identity()) && keys.contains(&processes.key(thread))
                    })
                };
                let mut load = 0;
                for count in &counts {
                    let threads = at(count);
                    all += threads;
                    load = loadavg::next(load, KEPT[0], (threads * ONE as f64) as u64, rounding);
                }
                group.gained = Some(load as f64 / ONE as f64);
                explained = explained.saturating_add(load);
            }
            before = Some(old as f64 / ONE as f64);
            residue = Some(told.averages[0] as f64 / 100.0 - explained as f64 / ONE as f64);
            seen_then = Some(all / counts.len() as f64);
        }
        let cpus = last.stat.as_ref().map(|stat| stat.cpus.len()).filter(|cpus| *cpus > 0);
        Some(Load {
            highest_at: None,
            told,
            first: first_load,
            cpus,
            span: window.span(),
            looks,
            groups: groups.into_iter().map(|(_, group)| group).collect(),
            weightless,
            counts,
            seen_then,
            before,
            residue,
            busy: window.busy(),
            made: window.made(),
            maker: maker(window, &processes),
            left_out: window.looks().map(|look| look.left_out).max().unwrap_or(0),
            hidden: hidden(window, told),
            clock_was_set: window.clock_was_set(),
        })
    }

    /// How many threads the kernel would count, on the average of all looks: what the averages move towards.
    pub fn count(&self) -> f64 {
        self.groups.iter().map(Group::count).sum()
    }

    /// The share of a group in that, in per cent.
    pub fn share(&self, group: &Group) -> f64 {
        if self.count() > 0.0 { group.count() * 100.0 / self.count() } else { 0.0 }
    }

    /// The average of one minute.
    pub fn load1(&self) -> f64 {
        self.told.averages[0] as f64 / 100.0
    }

    /// The line of `/proc/loadavg`.
    pub fn line(&self) -> String {
        let LoadAvg { averages, running, total, last_pid } = self.told;
        let averages = averages.map(|average| format!("{}.{:02}", average / 100, average % 100)).join(" ");
        format!("{averages} {running}/{total} {last_pid}")
    }

    /// What is to be said besides who it is.
    pub fn remarks(&self) -> Vec<Text> {
        let mut all = Vec::new();
        let tenth = |number: f64| format!("{number:.1}");
        if let Some(time) = &self.highest_at {
            all.push(tr!("this is how it was at {time}, when load1 was highest", time = time.as_str()));
        }
        match (self.span, self.counted(), self.seen_then) {
            (Some(span), Some(counted), Some(seen)) => all.push(tr!(
                "watched for {seconds} s: the kernel counted {times} {times?time|times}, {counted} threads on the average; {seen} were seen then",
                seconds = tenth(span.as_secs_f64()),
                times = self.counts.len(),
                counted = tenth(counted),
                seen = tenth(seen)
            )),
            (Some(span), ..) => all.push(tr!(
                "watched for {seconds} s: {count} threads on the average, which is what load1 moves towards",
                seconds = tenth(span.as_secs_f64()),
                count = tenth(self.count())
            )),
            (None, ..) => all.push(tr!(
                "seen at one moment, or by a clock that cannot be believed: {count} threads, and no rates",
                count = tenth(self.count())
            )),
        }
        if self
            .groups
            .iter()
            .any(|group| group.waiting > 0.0 && group.channels.iter().all(|(channel, _)| channel.is_none()))
        {
            all.push(tr!("what some wait for cannot be told: /proc/PID/wchan does not say it, or only to root"));
        }
        for group in self.groups.iter().filter(|group| group.is_usual) {
            let (name, count) = (group.name.as_str(), group.threads);
            all.push(tr!(
                "{count} {count?thread|threads} {name} of the kernel always wait so: they count, and nothing is wrong",
                count,
                name
            ));
        }
        for Weightless { threads, name, why } in &self.weightless {
            all.push(tr!(
                "{threads} {threads?thread|threads} in state D, {name} among them, are no load: {why}",
                threads,
                name = name.as_str(),
                why = why.clone()
            ));
        }
        if let (Some(made), Some(maker)) = (self.made.filter(|made| *made >= STORM), &self.maker) {
            all.push(tr!(
                "{made} processes or threads are started each second and live for moments, which no look sees: {share} % of what they cost goes back to {name} (PID {pid})",
                made = made.round() as u64,
                share = maker.share,
                name = maker.name.as_str(),
                pid = maker.pid
            ));
        }
        if self.left_out > 0 {
            all.push(tr!("{count} threads were not looked at: there are too many", count = self.left_out));
        }
        if self.hidden > 0 {
            all.push(tr!(
                "{hidden} of {all} threads that the load is of cannot be seen from here: they are of other containers, or of other users",
                hidden = self.hidden,
                all = self.told.total
            ));
        }
        if let Some(seconds) = self.clock_was_set {
            all.push(tr!(
                "the clock was set by {seconds} s meanwhile; what is told here is measured by another",
                seconds = tenth(seconds)
            ));
        }
        all
    }

    /// The same for programs.
    pub fn details(&self) -> serde_json::Value {
        let some = |value: Option<f64>| value.map(thousandths);
        let averages = |load: &LoadAvg| load.averages.map(|average| average as f64 / 100.0);
        let groups = self.groups.iter().map(|group| {
            serde_json::json!({
                "name": group.name,
                "parent": group.parent.as_ref().map(|(pid, name)| serde_json::json!({"pid": pid, "name": name})),
                "pids": group.pids,
                "cgroup": group.cgroup,
                "kernel": group.is_kernels,
                "usual": group.is_usual,
                "threads": group.threads,
                "running": thousandths(group.running),
                "waiting": thousandths(group.waiting),
                "stuck": group.stuck,
                "share": thousandths(self.share(group) / 100.0),
                "cpus": some(group.cpu),
                "load1": some(group.gained),
                "waits": group.channels.iter().map(|(channel, threads)| {
                    serde_json::json!({"function": channel, "threads": thousandths(*threads)})
                }).collect::<Vec<_>>(),
                "mounts": group.places.iter().map(|place| serde_json::json!({
                    "file": place.file.as_ref().map(|file| file.display().to_string()),
                    "mount": place.mount.display().to_string(),
                    "type": place.fstype,
                    "source": place.source,
                })).collect::<Vec<_>>(),
            })
        });
        serde_json::json!({
            "averages": averages(&self.told),
            "averages_before": averages(&self.first),
            "cpus": self.cpus,
            "busy": some(self.busy),
            "seconds": some(self.span.map(|span| span.as_secs_f64())),
            "looks": self.looks,
            "threads": thousandths(self.count()),
            "counted": some(self.counted()),
            "left_of_before": some(self.before),
            "unexplained": some(self.residue),
            "made_per_second": some(self.made),
            "left_out": self.left_out,
            "hidden": self.hidden,
            "groups": groups.collect::<Vec<_>>(),
        })
    }

    /// How many threads the kernel counted, on the average of what it counted meanwhile.
    pub fn counted(&self) -> Option<f64> {
        let sum: f64 = self.counts.iter().map(|count| count.threads).sum();
        (!self.counts.is_empty()).then(|| sum / self.counts.len() as f64)
    }
}

/// Threads that can be seen by nobody here, of a running system: a few more than there are begin and end meanwhile.
fn hidden(window: &Window, told: LoadAvg) -> u64 {
    let all = window.looks().filter(|look| look.is_all).last().filter(|_| window.span().is_some());
    let hidden = all.map_or(0, |all| told.total.saturating_sub(all.list.len() as u64));
    if hidden * 4 > told.total && hidden > 64 { hidden } else { 0 }
}

/// More digits would only look exact.
fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// Every thread that was active, and counts.
fn seen<'w>(
    window: &'w Window,
    version: (u32, u32),
    observers: &[u32],
    weightless: &mut Vec<Weightless>,
) -> HashMap<Identity, Seen<'w>> {
    let mut all: HashMap<Identity, Seen<'w>> = HashMap::new();
    let mut frozen: HashSet<Identity> = HashSet::new();
    let mut name = None;
    for thread in window.looks().flat_map(|look| &look.list).filter(|thread| thread.is_active()) {
        if observers.contains(&thread.pid) {
            continue;
        }
        let channel = thread.waits_in.as_deref();
        let by_flag = version < NO_FROZEN_FLAG && thread.flags & FROZEN != 0;
        if thread.state == b'D' && (by_flag || channel.and_then(Wait::of) == Some(Wait::Frozen)) {
            frozen.insert(thread.identity());
            name.get_or_insert(thread.name);
            continue;
        }
        let seen = all.entry(thread.identity()).or_insert_with(|| Seen {
            running: 0,
            waiting: 0,
            slices: (thread.slices, None),
            channels: BTreeMap::new(),
            last: thread,
        });
        seen.last = thread;
        if thread.state == b'R' {
            seen.running += 1;
        } else {
            seen.waiting += 1;
            seen.slices.1 = thread.slices;
            *seen.channels.entry(channel).or_default() += 1;
        }
    }
    if let Some(name) = name {
        let why = tr!("frozen, by the freezer of a cgroup or for a suspend: the kernel does not count them");
        weightless.push(Weightless { threads: frozen.len(), name: name.to_string(), why });
    }
    all
}

type Parts<'a, 'w> = Vec<(Vec<Key>, Vec<&'a Seen<'w>>)>;

/// Programs that have one process under each of several parents (compilers, what a shell starts) are one.
fn merged<'a, 'w>(parts: BTreeMap<Key, Vec<&'a Seen<'w>>>) -> Parts<'a, 'w> {
    let is_single = |threads: &[&Seen<'_>]| {
        threads.iter().all(|thread| Some(thread.last.pid) == threads.first().map(|first| first.last.pid))
    };
    let mut all: Parts<'a, 'w> = Vec::new();
    for (key, threads) in parts {
        let single = is_single(&threads);
        let same = |keys: &[Key], others: &[&Seen<'_>]| {
            keys.first().is_some_and(|other| (other.is_kernels, other.name) == (key.is_kernels, key.name))
                && (keys.len() > 1 || is_single(others))
        };
        match all.iter_mut().find(|(keys, others)| single && same(keys, others)) {
            Some((keys, others)) => {
                keys.push(key);
                others.extend(threads);
            }
            None => all.push((vec![key], threads)),
        }
    }
    all
}

fn group(keys: &[Key], threads: &[&Seen<'_>], looks: usize, processes: &Processes, told: LoadAvg) -> Group {
    let share = |count: usize| count as f64 / looks as f64;
    let sum = |of: fn(&Seen<'_>) -> usize| share(threads.iter().map(|thread| of(thread)).sum());
    let mut pids: Vec<u32> = threads.iter().map(|thread| thread.last.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let mut channels: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for (channel, count) in threads.iter().flat_map(|thread| &thread.channels) {
        *channels.entry(*channel).or_default() += count;
    }
    let mut channels: Vec<(Option<String>, f64)> =
        channels.into_iter().map(|(channel, count)| (channel.map(str::to_owned), share(count))).collect();
    channels.sort_by(|one, other| other.1.total_cmp(&one.1));
    let always = |thread: &&&Seen<'_>| thread.waiting == looks;
    // One that was given no processor in between has not moved; with one look, nobody can know.
    let stands = |thread: &&Seen<'_>| matches!(thread.slices, (Some(first), Some(last)) if first == last);
    let can_tell = looks > 1 && threads.iter().filter(always).all(|thread| thread.slices.0.is_some());
    let stuck = can_tell.then(|| threads.iter().filter(always).filter(|thread| stands(thread)).count());
    let first = keys.first();
    let is_kernels = first.is_some_and(|key| key.is_kernels);
    let known = channels.iter().any(|(channel, _)| channel.as_deref().and_then(Wait::of).is_some());
    let all_averages = told.averages.iter().all(|average| average + 20 >= threads.len() as u64 * 100);
    let mut some: Vec<Thread> = threads.iter().map(|thread| thread.last.clone()).collect();
    some.sort_by_key(|thread| (thread.state != b'D', thread.id));
    some.truncate(SOME);
    let parent = first.map(|key| key.parent).filter(|parent| *parent > 2 && keys.len() == 1);
    let name_of = |pid: u32| processes.0.get(&pid).map_or_else(|| "?".to_owned(), |(name, _)| name.to_string());
    let is_child =
        channels.first().is_some_and(|(channel, _)| channel.as_deref().and_then(Wait::of) == Some(Wait::Child));
    Group {
        name: first.map(|key| key.name.to_string()).unwrap_or_default(),
        parent: parent.map(|parent| (parent, name_of(parent))),
        threads: threads.len(),
        running: sum(|thread| thread.running),
        waiting: sum(|thread| thread.waiting),
        stuck,
        cpu: None,
        gained: None,
        is_usual: is_kernels && !known && all_averages && threads.iter().filter(always).count() == threads.len(),
        children: is_child.then(|| children(&pids, processes)).flatten(),
        channels,
        is_kernels,
        places: Vec::new(),
        cgroup: None,
        some,
        pids,
    }
}

/// The program that most children of these are.
fn children(pids: &[u32], processes: &Processes) -> Option<String> {
    let parents: HashSet<u32> = pids.iter().copied().collect();
    let mut names: BTreeMap<Name, usize> = BTreeMap::new();
    for (name, parent) in processes.0.values() {
        if parents.contains(parent) {
            *names.entry(*name).or_default() += 1;
        }
    }
    names.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_string())
}

/// Takes out what only seems to wait, on kernels that write both alike: where the sum is too large with them.
fn drop_idle(
    groups: &mut Vec<(Vec<Key>, Group)>,
    weightless: &mut Vec<Weightless>,
    window: &Window,
    version: (u32, u32),
    told: LoadAvg,
) {
    if !IDLE_LOOKS_LIKE_D.contains(&version) {
        return;
    }
    let counted: Vec<f64> = window.counts().iter().map(|count| count.threads).collect();
    let most = counted.iter().copied().fold(0.0, f64::max);
    let wanted =
        if counted.is_empty() { told.averages.iter().copied().max().unwrap_or(0) as f64 / 100.0 } else { most };
    let sum: f64 = groups.iter().map(|(_, group)| group.count()).sum();
    if sum <= wanted + 0.5 {
        return;
    }
    for (_, group) in
        groups.extract_if(.., |(_, group)| group.is_kernels && group.wait().is_none() && group.running == 0.0)
    {
        let why = tr!("idle: this kernel shows such threads of its own as D and does not count them");
        weightless.push(Weightless { threads: group.threads, name: group.name, why });
    }
}

/// Threads that were active around one of the kernel's counts: the average of the look before and the one after.
fn active_at(window: &Window, count: &Count, is_of: &dyn Fn(&Thread) -> bool) -> f64 {
    let of = |index: Option<usize>| {
        let look = index.and_then(|index| window.samples.get(index)?.threads.as_ref())?;
        Some(look.list.iter().filter(|thread| thread.is_active() && is_of(thread)).count() as f64)
    };
    let looks = [of(count.before.checked_sub(1)), of(Some(count.before))];
    let known: Vec<f64> = looks.into_iter().flatten().collect();
    known.iter().sum::<f64>() / known.len().max(1) as f64
}

fn add_processors(groups: &mut [(Vec<Key>, Group)], window: &Window, processes: &Processes) {
    let Some((mut grown, span)) = window.growths(|thread| thread.ticks) else { return };
    let mut ticks: HashMap<Key, u64> = HashMap::new();
    for thread in window.looks().flat_map(|look| &look.list) {
        if let Some(growth) = grown.remove(&thread.identity()) {
            let sum = ticks.entry(processes.key(thread)).or_default();
            *sum = sum.saturating_add(growth);
        }
    }
    for (keys, group) in groups {
        let sum: u64 = keys.iter().filter_map(|key| ticks.get(key)).sum();
        group.cpu = Some(sum as f64 / 100.0 / span.as_secs_f64());
    }
}

/// Whose children come and go: each costs its parent page faults, which it is told when they have ended. One that comes to
/// its end after long has cost many at once; who starts many is told of some all the time.
fn maker(window: &Window, processes: &Processes) -> Option<Maker> {
    window.span()?;
    let looks = window.looks().count();
    // First, last, and how often it grew.
    let mut known: HashMap<Identity, (u64, u64, usize)> = HashMap::new();
    for (index, look) in window.looks().enumerate() {
        for thread in look.list.iter().filter(|thread| thread.id == thread.pid) {
            let faults = thread.faults_of_children;
            // What began in between began with none.
            let first = if index == 0 { faults } else { 0 };
            let (_, last, times) = known.entry(thread.identity()).or_insert((first, first, 0));
            *times += usize::from(faults > *last);
            *last = faults.max(*last);
        }
    }
    let storm = known.iter().filter(|(_, (.., times))| *times > 0 && *times >= (looks - 1) / 2);
    let storm: Vec<(u32, u64)> = storm.map(|((pid, _), (first, last, _))| (*pid, last - first)).collect();
    let all: u64 = storm.iter().map(|(_, faults)| *faults).fold(0, u64::saturating_add);
    let (pid, faults) = storm.into_iter().max_by_key(|(_, faults)| *faults)?;
    let name = processes.0.get(&pid).map_or_else(|| "?".to_owned(), |(name, _)| name.to_string());
    Some(Maker { pid, name, share: faults.saturating_mul(100) / all.max(1) })
}

/// So much before the highest load says what made it.
const BEFORE: Duration = Duration::from_secs(120);

/// Of what is past the end is as good as any other moment, and most often it is over by then: the part that ends where load1 was highest.
/// `None` where that is the end, nearly.
fn up_to_the_highest(window: &Window) -> Option<Window> {
    let load1 = |sample: &Sample| sample.load.map(|load| load.averages[0]);
    let (index, highest) = window
        .samples
        .iter()
        .enumerate()
        .filter_map(|(index, sample)| Some((index, load1(sample)?)))
        .max_by_key(|(_, load)| *load)?;
    if window.last().and_then(load1).is_some_and(|last| last.saturating_mul(5) >= highest.saturating_mul(4)) {
        return None;
    }
    let end = window.samples.get(index)?.moment.steady;
    let samples: Vec<Sample> = window
        .samples
        .get(..=index)?
        .iter()
        .filter(|sample| end.checked_sub(sample.moment.steady).is_some_and(|before| before <= BEFORE))
        .cloned()
        .collect();
    let part = Window { samples, place: window.place.clone() };
    let is_told = part.looks().next().is_some();
    is_told.then_some(part)
}

/// System calls can be asked for without waiting for a lock that a program's start holds (commit f7cfd871ae0c).
const CALL_WITHOUT_LOCK: (u32, u32) = (5, 11);

impl Fact for Load {
    fn gather(facts: &Facts) -> Result<Load, Skip> {
        let window = facts.get::<Window>()?;
        // Of an unknown kernel the newest is supposed.
        let version = facts.get::<Kernel>().map_or((u32::MAX, 0), |kernel| kernel.version);
        let recorded = facts.target().recording().is_ok().then(|| facts.get::<Recorded>()).transpose()?;
        let highest = recorded.as_ref().and_then(|_| up_to_the_highest(&window));
        let looked_at = highest.as_ref().unwrap_or(&window);
        let Some(mut load) = Load::of(looked_at, version, &[]) else {
            let path = window.place.join("loadavg");
            return Err(Skip::Unknown(tr!("{path} says nothing, or no thread can be seen", path)));
        };
        if let (Some(recorded), Some(last)) = (&recorded, highest.as_ref().and_then(Window::last)) {
            load.highest_at = Some(shown(last.moment.wall, &recorded.zone));
        }
        if let Ok(mut tasks) = Tasks::open(facts.root(), &window.place) {
            let asks_call = version >= CALL_WITHOUT_LOCK;
            for group in load.groups.iter_mut().filter(|group| !group.is_kernels).take(ASKED) {
                let cgroup = group.pids.first().and_then(|pid| tasks.read(&format!("{pid}/cgroup")).ok());
                group.cgroup = cgroup.and_then(|text| Some(procfs::cgroup::path(&text)?.to_string()));
                for thread in group.some.iter().filter(|thread| thread.state == b'D') {
                    let wait = thread.waits_in.as_deref().and_then(Wait::of);
                    let place = waits::place(&mut tasks, thread, wait, asks_call);
                    group.places.extend(place.filter(|place| !group.places.contains(place)));
                }
            }
        }
        Ok(load)
    }
}

#[cfg(test)]
mod tests;
