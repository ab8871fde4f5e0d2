//! What is dear to read, and so is read of few: where threads are in the kernel, what files a process has open, control groups
//! with a quota, sockets of each network namespace.
//!
//! Nothing is asked of a file itself, nor of a process what it would have to answer: neither may hang.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use sickbay_formats::procfs::fields::Fields;
use sickbay_formats::procfs::mib::Counter;
use sickbay_formats::procfs::mountinfo::{self, Mount};
use sickbay_formats::procfs::{fd_info, number, numbers, sockstat, stack};
use sickbay_target::{FileKind, Root, Tasks};

use super::{OpenFile, Sockets, Stack, Thread, Threads, Throttled};

/// So many threads that wait are asked where they are, and as many that run.
const STACKS: usize = 16;

/// Of so many processes files are looked at, and so many of each.
const PROCESSES: usize = 8;
const DESCRIPTORS: usize = 256;
const FILES: usize = 32;

/// So many control groups are looked at each time, and with so many there is a quota at most.
const STEP: usize = 64;
const GROUPS: usize = 4096;
const QUOTAS: usize = 256;

/// So many network namespaces are asked.
const NAMESPACES: usize = 256;

/// Where those threads are that wait, and those that run. Only root is told.
pub(super) fn stacks(tasks: &mut Tasks<'_>, threads: &Threads) -> Vec<Stack> {
    let in_state = |state| threads.list.iter().filter(move |thread| thread.state == state).take(STACKS);
    let of = |thread: &Thread| {
        let text = tasks.read(&format!("{}/task/{}/stack", thread.pid, thread.id)).ok()?;
        let functions = stack::parse(&text);
        (!functions.is_empty()).then_some(Stack { id: thread.id, began: thread.began, functions })
    };
    in_state(b'D').chain(in_state(b'R')).filter_map(of).collect()
}

/// The plain files that these processes have open.
pub(super) fn files(tasks: &mut Tasks<'_>, processes: &[(u32, u64)]) -> Vec<OpenFile> {
    let mut all = Vec::new();
    for (pid, began) in processes.iter().take(PROCESSES) {
        let mut mounts: Option<Vec<Mount>> = None;
        let mut found = 0;
        for descriptor in tasks.descriptors(*pid, DESCRIPTORS) {
            let Ok(path) = tasks.link(&format!("{pid}/fd/{descriptor}")) else { continue };
            // A socket or a pipe has no path; a terminal no position that says anything.
            if !path.is_absolute() || ["/dev/pts", "/dev/null", "/proc", "/sys"].iter().any(|no| path.starts_with(no)) {
                continue;
            }
            let info = tasks.read(&format!("{pid}/fdinfo/{descriptor}")).map(|text| fd_info::parse(&text));
            let info = info.unwrap_or_default();
            let device = info.mount.and_then(|id| {
                let mounts = mounts.get_or_insert_with(|| {
                    tasks.read_long(&format!("{pid}/mountinfo")).map(|text| mountinfo::parse(&text)).unwrap_or_default()
                });
                let (major, minor) = mounts.iter().find(|mount| mount.id == id)?.device.split_once(':')?;
                Some((major.parse().ok()?, minor.parse().ok()?))
            });
            let (position, flags) = (info.position, info.flags);
            all.push(OpenFile { pid: *pid, began: *began, descriptor, path, device, position, flags });
            found += 1;
            if found == FILES {
                break;
            }
        }
    }
    all
}

/// The totals of each network namespace in which one of these processes is.
pub(super) fn sockets(tasks: &mut Tasks<'_>, pids: impl Iterator<Item = u32>) -> Option<Vec<Sockets>> {
    const FIELDS: [(&str, &[&str]); 2] = [("TCP", &["inuse", "orphan", "tw", "alloc", "mem"]), ("TCP6", &["inuse"])];
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for pid in pids {
        let Ok(link) = tasks.link(&format!("{pid}/ns/net")) else { continue };
        let inode = link.to_str().and_then(|link| link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
        let Some(namespace) = inode.filter(|inode| seen.insert(*inode)) else { continue };
        let mut tcp = Vec::new();
        for ((protocol, fields), file) in FIELDS.iter().zip(["sockstat", "sockstat6"]) {
            let Ok(text) = tasks.read(&format!("{pid}/net/{file}")) else { continue };
            tcp.extend(fields.iter().filter_map(|field| {
                let value = sockstat::value(&text, protocol, field)?;
                Some(Counter { name: format!("{protocol}.{field}").into(), value })
            }));
        }
        if !tcp.is_empty() {
            all.push(Sockets { namespace, pid, tcp });
        }
        if all.len() == NAMESPACES {
            break;
        }
    }
    (!all.is_empty()).then_some(all)
}

/// The control groups that have a quota of processor time. They are looked for some at a time, again and again: groups come
/// and go.
#[derive(Debug)]
pub(super) struct Quotas {
    base: String,
    is_v2: bool,
    ahead: VecDeque<String>,
    seen: usize,
    groups: Vec<String>,
    found: Vec<String>,
}

impl Quotas {
    /// Of the hierarchy below `sys`: `/sys`. `None` where it is not mounted there.
    pub(super) fn find(root: &Root, sys: &str) -> Option<Quotas> {
        let is_there = |file: String| root.metadata(file).is_ok();
        let v1 = ["fs/cgroup/cpu", "fs/cgroup/cpu,cpuacct", "fs/cgroup/cpuacct,cpu"];
        let v1 = v1.iter().map(|dir| format!("{sys}/{dir}")).find(|dir| is_there(format!("{dir}/cpu.shares")));
        let v2 = format!("{sys}/fs/cgroup");
        let (base, is_v2) = match v1 {
            Some(base) => (base, false),
            None if is_there(format!("{v2}/cgroup.controllers")) => (v2, true),
            None => return None,
        };
        let ahead = VecDeque::from([String::new()]);
        Some(Quotas { base, is_v2, ahead, seen: 0, groups: Vec::new(), found: Vec::new() })
    }

    /// The same, and all groups are looked at at once.
    pub(super) fn of_all(root: &Root, sys: &str) -> Option<Quotas> {
        let mut quotas = Quotas::find(root, sys)?;
        quotas.look_at_all(root);
        Some(quotas)
    }

    /// Looks at all of them at once, and begins anew.
    fn look_at_all(&mut self, root: &Root) {
        for _ in 0..GROUPS / STEP {
            self.look(root);
            if self.seen == 0 {
                return;
            }
        }
    }

    /// Looks at some more.
    fn look(&mut self, root: &Root) {
        for _ in 0..STEP {
            let Some(group) = self.ahead.pop_front() else { break };
            self.seen += 1;
            if self.quota(root, &group).is_some() && self.found.len() < QUOTAS {
                self.found.push(group.clone());
            }
            let below = root.read_dir_up_to(format!("{}{group}", self.base), GROUPS);
            let below = below.map(|(entries, _)| entries).unwrap_or_default();
            for entry in below.iter().filter(|entry| entry.kind == FileKind::Dir) {
                if let Some(name) = entry.name.to_str()
                    && self.seen + self.ahead.len() < GROUPS
                {
                    self.ahead.push_back(format!("{group}/{name}"));
                }
            }
        }
        if self.ahead.is_empty() {
            self.groups = std::mem::take(&mut self.found);
            self.ahead.push_back(String::new());
            self.seen = 0;
        }
    }

    /// The quota and the period, where there is one.
    fn quota(&self, root: &Root, group: &str) -> Option<(u64, u64)> {
        let base = &self.base;
        let read = |file: &str| root.read_up_to(format!("{base}{group}/{file}"), 4096).ok();
        if self.is_v2 {
            // "max 100000" begins with no number.
            return numbers(&read("cpu.max")?).first_chunk().map(|[quota, period]| (*quota, *period));
        }
        Some((number(&read("cpu.cfs_quota_us")?)?, number(&read("cpu.cfs_period_us")?)?))
    }

    /// What the groups that are known used of it, and which are looked at next.
    pub(super) fn read(&mut self, root: &Root) -> Option<Vec<Throttled>> {
        self.look(root);
        self.known(root)
    }

    /// What the groups that are known used of it.
    pub(super) fn known(&self, root: &Root) -> Option<Vec<Throttled>> {
        let of = |group: &String| {
            let (quota, period) = self.quota(root, group)?;
            let fields = Fields::parse(&root.read_up_to(format!("{}{group}/cpu.stat", self.base), 4096).ok()?);
            let throttled_us = fields.get("throttled_usec").or_else(|| Some(fields.get("throttled_time")? / 1000))?;
            Some(Throttled {
                group: group.clone(),
                quota,
                period,
                periods: fields.get("nr_periods")?,
                throttled: fields.get("nr_throttled")?,
                throttled_us,
            })
        };
        Some(self.groups.iter().filter_map(of).collect())
    }
}

/// Who read and wrote most between two looks, the most first.
pub(super) fn greedy(
    before: &HashMap<(u32, u64), u64>,
    now: impl Iterator<Item = ((u32, u64), u64)>,
) -> Vec<(u32, u64)> {
    let mut grown: Vec<((u32, u64), u64)> = now
        .filter_map(|(who, bytes)| {
            let more = bytes.checked_sub(before.get(&who).copied().unwrap_or(0)).filter(|more| *more > 0)?;
            Some((who, more))
        })
        .collect();
    grown.sort_by_key(|(who, more)| (std::cmp::Reverse(*more), *who));
    grown.into_iter().take(PROCESSES).map(|(who, _)| who).collect()
}

/// The same of `/proc` and `/sys` as somebody wrote them down, or of the running system: all at once.
pub(super) fn throttled(root: &Root, sys: &Path) -> Option<Vec<Throttled>> {
    Quotas::of_all(root, sys.to_str()?)?.known(root)
}
