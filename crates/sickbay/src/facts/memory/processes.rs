//! The processes of the running system: what they hold of the memory, of file descriptors and of threads.

use std::collections::HashMap;

use bstr::ByteSlice;
use sickbay_formats::procfs::fields::{Fields, rest_of};
use sickbay_formats::procfs::numbers;
use sickbay_target::{KernelFiles, Reason};

use crate::facts::system::kernel::{Kernel, PageSize, running};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// A process and its resident memory, from `/proc/PID/statm`, which takes no lock of the process. In KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, at most 15 characters of it.
    pub comm: String,
    /// What is resident.
    pub rss: u64,
    /// The part of it that are pages of files and shared memory; the rest is its own (anonymous).
    pub shared: u64,
}

impl Process {
    /// Its own memory: what no file holds. Forked processes may share some of it, which is then counted in each.
    pub fn own(&self) -> u64 {
        self.rss.saturating_sub(self.shared)
    }
}

/// The user processes that can be seen, those with the most memory of their own first. Kernel threads have none.
#[derive(Debug)]
pub struct Processes {
    /// The processes.
    pub list: Vec<Process>,
}

impl Fact for Processes {
    fn gather(facts: &Facts) -> Result<Processes, Skip> {
        let mut files = KernelFiles::open(facts.root(), "/proc")?;
        let page = facts.get::<PageSize>()?.0;
        let mut list = Vec::new();
        for pid in pids(facts)? {
            // One that ended meanwhile is passed over.
            let Ok(statm) = files.read(&format!("{pid}/statm")) else { continue };
            let [_, rss, shared, ..] = *numbers(statm).as_slice() else { continue };
            if rss > 0 {
                let (rss, shared) = (rss.saturating_mul(page), shared.saturating_mul(page));
                let comm =
                    files.read(&format!("{pid}/comm")).map(|text| text.trim_ascii_end().to_str_lossy().into_owned());
                list.push(Process { pid, comm: comm.unwrap_or_default(), rss, shared });
            }
        }
        list.sort_by_key(|process| (std::cmp::Reverse(process.own()), process.pid));
        Ok(Processes { list })
    }
}

impl Processes {
    /// Memory of their own by command: the name, how many, KiB together, and the process that has the most.
    pub fn by_command(&self) -> Vec<(String, usize, u64, u32)> {
        let mut commands: HashMap<&str, (usize, u64, u32)> = HashMap::new();
        for process in &self.list {
            // The list begins with the largest.
            let entry = commands.entry(&process.comm).or_insert((0, 0, process.pid));
            entry.0 += 1;
            entry.1 = entry.1.saturating_add(process.own());
        }
        let mut all: Vec<_> =
            commands.into_iter().map(|(name, (n, kib, pid))| (name.to_owned(), n, kib, pid)).collect();
        all.sort_by_key(|(name, _, kib, _)| (std::cmp::Reverse(*kib), name.clone()));
        all
    }
}

/// The numbers of all processes.
pub fn pids(facts: &Facts) -> Result<Vec<u32>, Skip> {
    running(facts)?;
    let entries = facts.root().read_dir("/proc")?;
    Ok(entries.iter().filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
}

/// The name of a process; empty when it is gone.
pub fn comm(facts: &Facts, pid: u32) -> String {
    let text = facts.root().read(format!("/proc/{pid}/comm")).unwrap_or_default();
    text.trim_ascii_end().to_str_lossy().into_owned()
}

/// The proportional set size of a process in KiB: of every page its share. From `smaps_rollup` (since 4.14), which takes
/// the lock of the process's mappings. `None` where that is not there, not allowed, or the process is gone.
pub fn pss(files: &mut KernelFiles, pid: u32) -> Option<u64> {
    let line = rest_of(files.read(&format!("{pid}/smaps_rollup")).ok()?, "Pss:")?;
    numbers(line).first().copied()
}

/// What a process holds of things that are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// The user that it runs as.
    pub uid: u64,
    /// Open file descriptors.
    pub fds: u64,
    /// How many of them are sockets, estimated from a sample; only told of those with many.
    pub sockets: Option<u64>,
    /// Threads.
    pub threads: u64,
}

/// Who holds descriptors and threads, those with the most descriptors first.
#[derive(Debug)]
pub struct Holders {
    /// The processes.
    pub list: Vec<Holder>,
    /// Whether the descriptors of some could not be counted: they are of another user.
    pub partly: bool,
}

/// From so many descriptors on it is worth knowing what they are.
const MANY: u64 = 1000;

/// So many of them are looked at.
const SAMPLE: usize = 128;

impl Fact for Holders {
    fn gather(facts: &Facts) -> Result<Holders, Skip> {
        let root = facts.root();
        let mut files = KernelFiles::open(root, "/proc")?;
        // Since 6.2 the size of the directory is the number of descriptors (commit f1f1f2569901).
        let told_by_stat = facts.get::<Kernel>()?.version >= (6, 2);
        let mut list = Vec::new();
        let mut partly = false;
        for pid in pids(facts)? {
            let Ok(status) = files.read(&format!("{pid}/status")) else { continue };
            let fields = Fields::parse(status);
            let name = rest_of(status, "Name:").unwrap_or_default().to_str_lossy().into_owned();
            // The table of descriptors grows by doubling: with room for less than a few hundred there is nothing to
            // count, and counting would leave an inode of /proc behind for every descriptor.
            let room = fields.or_zero("FDSize");
            let told = told_by_stat.then(|| files.size(&format!("{pid}/fd")).ok()).flatten();
            let fds = match told.filter(|size| *size > 0) {
                Some(size) => size,
                None if room < MANY => room,
                None => match root.read_dir(format!("/proc/{pid}/fd")) {
                    Ok(entries) => entries.len() as u64,
                    Err(error) => match error.reason {
                        Reason::TooLarge { size, .. } => size,
                        _ => {
                            partly = true;
                            0
                        }
                    },
                },
            };
            let (uid, threads) = (fields.or_zero("Uid"), fields.or_zero("Threads"));
            list.push(Holder { pid, comm: name, uid, fds, sockets: None, threads });
        }
        list.sort_by_key(|holder| (std::cmp::Reverse(holder.fds), holder.pid));
        for holder in list.iter_mut().take(8).filter(|holder| holder.fds >= MANY) {
            holder.sockets = sockets(facts, holder);
        }
        Ok(Holders { list, partly })
    }
}

/// How many of a process's descriptors are sockets: of those with the numbers of an even sample.
fn sockets(facts: &Facts, holder: &Holder) -> Option<u64> {
    let step = usize::try_from(holder.fds).ok()?.div_ceil(SAMPLE).max(1);
    let (mut seen, mut sockets) = (0_u64, 0_u64);
    for fd in (0..usize::try_from(holder.fds).ok()?).step_by(step) {
        let Ok(link) = facts.root().read_link(format!("/proc/{}/fd/{fd}", holder.pid)) else { continue };
        seen += 1;
        sockets += u64::from(link.to_string_lossy().starts_with("socket:"));
    }
    (seen > 0).then(|| holder.fds.saturating_mul(sockets) / seen)
}
