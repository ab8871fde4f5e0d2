//! Where a process of the running system comes from, as far as its limits are concerned: a limit is inherited from who started it.

use bstr::ByteSlice;
use sickbay_formats::procfs::fields::{Fields, rest_of};
use sickbay_formats::procfs::numbers;

use crate::facts::Facts;
use crate::facts::memory::processes::{comm, pids};
use crate::model::outcome::Skip;
use crate::tr;

/// A process, and who started it.
#[derive(Debug)]
pub struct Origin {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// The user that it runs as.
    pub uid: u32,
    /// `/proc/PID/limits`.
    pub limits: Vec<u8>,
    /// When it was started, in seconds since 1970.
    pub started: Option<i64>,
    /// Open files, where they can be counted.
    pub files: Option<u64>,
    /// Its ancestors, the parent first, up to process 1.
    pub ancestors: Vec<(u32, String)>,
    /// By which door it came.
    pub door: Door,
}

/// By which door a process came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// systemd started it, or what started it, as a unit.
    Unit(String),
    /// It belongs to a session that PAM opened.
    Session(String),
    /// The manager of a user started it, as a unit.
    UserUnit(String),
    /// A container engine did; the container's id.
    Container(String),
    /// None of these can be told.
    Parent,
}

/// Ancestors that are followed; nobody has more.
const DEPTH: usize = 64;

impl Origin {
    /// Looks at a process.
    pub fn of(facts: &Facts, pid: u32) -> Result<Origin, Skip> {
        let root = facts.root();
        let read = |name: &str| root.read(format!("/proc/{pid}/{name}"));
        let gone = |_| Skip::NotApplicable(tr!("there is no process {pid}", pid));
        let limits = read("limits").map_err(gone)?;
        let status = read("status").map_err(gone)?;
        let files = root.read_dir(format!("/proc/{pid}/fd")).ok().map(|entries| entries.len() as u64);
        let mut ancestors = Vec::new();
        let mut next = parent(facts, pid);
        while let Some(parent) = next.filter(|parent| *parent > 0 && ancestors.len() < DEPTH) {
            ancestors.push((parent, comm(facts, parent)));
            next = self::parent(facts, parent);
        }
        let name = rest_of(&status, "Name:").unwrap_or_default().to_str_lossy().into_owned();
        let uid = u32::try_from(Fields::parse(&status).or_zero("Uid")).unwrap_or(u32::MAX);
        let door = door(&read("cgroup").unwrap_or_default());
        Ok(Origin { pid, comm: name, uid, limits, started: started(facts, pid), files, ancestors, door })
    }

    /// An ancestor, or the process itself, that is called so.
    pub fn under(&self, name: &str) -> Option<u32> {
        self.ancestors.iter().find(|(_, comm)| comm == name).map(|(pid, _)| *pid)
    }

    /// Whether process 1 started it: what its children do with their limits is their own matter.
    pub fn is_first_of_unit(&self) -> bool {
        self.ancestors.first().is_some_and(|(pid, _)| *pid == 1)
    }
}

/// Fields of `/proc/PID/stat` behind the name, which may hold blanks and brackets: the state is the first.
fn stat(facts: &Facts, pid: u32) -> Option<Vec<u64>> {
    let text = facts.root().read(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.get(text.rfind_byte(b')')? + 1..)?.trim_ascii_start();
    // Some are negative, none of those that are wanted.
    let words = rest.split(|byte| *byte == b' ').skip(1);
    Some(words.map(|word| numbers(word).first().copied().unwrap_or(0)).collect())
}

fn parent(facts: &Facts, pid: u32) -> Option<u32> {
    stat(facts, pid)?.first().and_then(|parent| u32::try_from(*parent).ok())
}

/// Clock ticks of `/proc`, a second (`USER_HZ`, the same on every machine).
const TICKS: u64 = 100;

/// Field 22 of proc_pid_stat(5), since the start of the system, and when that was.
fn started(facts: &Facts, pid: u32) -> Option<i64> {
    let ticks = *stat(facts, pid)?.get(18)?;
    let booted = Fields::parse(&facts.root().read("/proc/stat").ok()?).get("btime")?;
    i64::try_from(booted.checked_add(ticks / TICKS)?).ok()
}

/// The process that started this one.
pub fn parent_of(facts: &Facts, pid: u32) -> Option<u32> {
    parent(facts, pid)
}

/// By which door a process came.
pub fn door_of(facts: &Facts, pid: u32) -> Door {
    door(&facts.root().read(format!("/proc/{pid}/cgroup")).unwrap_or_default())
}

/// By which door, as `/proc/PID/cgroup` tells: systemd names the groups that it makes after units.
fn door(cgroup: &[u8]) -> Door {
    let paths = cgroup.lines().filter_map(|line| {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        (controllers.is_empty() || controllers == b"name=systemd").then_some(path)
    });
    // Of two hierarchies one may be unused.
    paths.map(|path| door_of_group(&path.to_str_lossy())).find(|door| *door != Door::Parent).unwrap_or(Door::Parent)
}

fn door_of_group(path: &str) -> Door {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(id) = parts.iter().rev().find_map(|part| container(part)) {
        return Door::Container(id);
    }
    let is = |kind: &'static str| move |part: &&&str| part.ends_with(kind);
    if let Some(at) = parts.iter().position(|part| part.starts_with("user@")) {
        let inside = parts.get(at + 1..).unwrap_or_default().iter().find(is(".service")).copied();
        return inside.map_or(Door::Unit((*parts[at]).to_owned()), |unit| Door::UserUnit(unit.to_owned()));
    }
    if let Some(session) = parts.iter().find(|part| part.starts_with("session-") && part.ends_with(".scope")) {
        return Door::Session((*session).to_owned());
    }
    match parts.iter().find(is(".service")) {
        Some(unit) => Door::Unit((*unit).to_owned()),
        None => Door::Parent,
    }
}

/// The id of a container in a part of a path: `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID.scope`, or the bare id.
fn container(part: &str) -> Option<String> {
    let word = part.strip_suffix(".scope").unwrap_or(part);
    let word = word.rsplit('-').next().unwrap_or(word);
    (word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| word.to_owned())
}

/// The process of a unit that process 1 started, else the first of its processes.
pub fn of_unit(facts: &Facts, unit: &str) -> Option<u32> {
    let mut first = None;
    for pid in pids(facts).ok()? {
        let Ok(text) = facts.root().read(format!("/proc/{pid}/cgroup")) else { continue };
        // Cheaper than to look at each.
        if !text.contains_str(unit) || door(&text) != Door::Unit(unit.to_owned()) {
            continue;
        }
        if parent(facts, pid) == Some(1) {
            return Some(pid);
        }
        first.get_or_insert(pid);
    }
    first
}

/// The youngest process of a user that belongs to a session, and how many processes and threads the user has.
pub fn of_user(facts: &Facts, uid: u32) -> (Option<u32>, u64) {
    let (mut youngest, mut tasks) = (None, 0_u64);
    for pid in pids(facts).unwrap_or_default() {
        let Ok(status) = facts.root().read(format!("/proc/{pid}/status")) else { continue };
        let fields = Fields::parse(&status);
        if fields.get("Uid") != Some(u64::from(uid)) {
            continue;
        }
        tasks = tasks.saturating_add(fields.or_zero("Threads"));
        let cgroup = facts.root().read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if matches!(door(&cgroup), Door::Session(_)) {
            youngest = youngest.max(Some(pid));
        }
    }
    (youngest, tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors() {
        let id = "ab".repeat(32);
        for (text, wanted) in [
            ("0::/system.slice/docker.service\n".to_owned(), Door::Unit("docker.service".into())),
            ("9:pids:/x\n1:name=systemd:/system.slice/a.service\n".to_owned(), Door::Unit("a.service".into())),
            ("0::/user.slice/user-0.slice/session-3.scope\n".to_owned(), Door::Session("session-3.scope".into())),
            (
                "0::/user.slice/user-7.slice/user@7.service/app.slice/b.service\n".to_owned(),
                Door::UserUnit("b.service".into()),
            ),
            ("0::/user.slice/user-7.slice/user@7.service/init.scope\n".to_owned(), Door::Unit("user@7.service".into())),
            (format!("0::/system.slice/docker-{id}.scope\n"), Door::Container(id.clone())),
            (format!("1:name=systemd:/docker/{id}\n"), Door::Container(id.clone())),
            ("1:name=systemd:/\n0::/system.slice/a.service\n".to_owned(), Door::Unit("a.service".into())),
            ("0::/\n".to_owned(), Door::Parent),
            (String::new(), Door::Parent),
        ] {
            assert_eq!(door(text.as_bytes()), wanted, "{text}");
        }
    }
}
