//! Every TCP socket of the kernel, namespace by namespace, and those that are in no table.

use std::collections::{BTreeMap, HashSet};

use sickbay_formats::procfs::sockstat;
use sickbay_formats::sock_diag::table;
use sickbay_target::KernelFiles;

use super::owners::{DESCRIPTORS, SHARE, inode};
use super::{Sockets, TABLE};
use crate::facts::memory::processes::{Holders, comm, pids};
use crate::facts::network::containers::container_of;
use crate::facts::system::kernel::running;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// A network namespace, by one of its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// `net:[4026531840]`
    pub name: String,
    /// The process with the lowest number.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// The container that this process is in.
    pub container: Option<String>,
    /// How many processes are in it.
    pub processes: u64,
    /// TCP sockets in its tables, `inuse` of IPv4 and IPv6.
    pub inuse: u64,
    /// Those in TIME_WAIT, which are none of these.
    pub waiting: u64,
    /// Whether it is the one of this process.
    pub is_own: bool,
}

/// Every TCP socket accounted for: `alloc` of sockstat counts those of all namespaces, `inuse` those in the tables of one.
#[derive(Debug)]
pub struct Sum {
    /// All full sockets of the kernel, those that are in no table too.
    pub alloc: u64,
    /// The namespaces, the own one first.
    pub spaces: Vec<Space>,
    /// What is in no table: created and neither bound nor connected, or left behind. Exact only where `unseen` is none.
    pub unhashed: u64,
    /// Why namespaces may be missing.
    pub unseen: Option<Text>,
}

/// The inode of the first process namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
const FIRST_PIDS: &str = "pid:[4026531836]";

/// Where namespaces are kept that need no process.
const PINNED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

impl Fact for Sum {
    fn gather(facts: &Facts) -> Result<Sum, Skip> {
        running(facts)?;
        let path = "/proc/net/sockstat";
        let text = facts.required(path)?;
        let Some(alloc) = sockstat::value(&text.bytes, "TCP", "alloc") else {
            return Err(Skip::Unknown(tr!("{path} does not say how many sockets there are", path)));
        };
        let files = KernelFiles::open(facts.root(), "/proc")?;
        let own = files.link("self/ns/net").unwrap_or_default();
        let mut spaces: BTreeMap<String, (u32, u64)> = BTreeMap::new();
        let mut unseen = None;
        let mut hidden = Vec::new();
        for pid in pids(facts)? {
            match files.link(&format!("{pid}/ns/net")) {
                Ok(name) => {
                    let space = spaces.entry(name).or_insert((pid, 0));
                    (space.0, space.1) = (space.0.min(pid), space.1 + 1);
                }
                // One that ended, or a thread of the kernel in some versions.
                Err(error) if matches!(error.reason, sickbay_target::Reason::NotFound) => {}
                // Its tables can be read all the same, and their inode is the namespace's own.
                Err(_) => hidden.push((pid, table_inode(facts, pid))),
            }
        }
        for (pid, inode) in hidden {
            let Some(inode) = inode else {
                unseen = Some(tr!("the namespaces of some processes may not be looked at"));
                continue;
            };
            let known = spaces.iter().find(|(_, (known, _))| table_inode(facts, *known) == Some(inode));
            let name = known.map_or_else(|| format!("net tables {inode}"), |(name, _)| name.clone());
            let space = spaces.entry(name).or_insert((pid, 0));
            (space.0, space.1) = (space.0.min(pid), space.1 + 1);
        }
        if !files.link("self/ns/pid").is_ok_and(|link| link == FIRST_PIDS) {
            unseen = Some(tr!("processes outside of this container cannot be seen"));
        }
        for dir in PINNED {
            for entry in facts.root().read_dir(dir).unwrap_or_default() {
                let Ok(found) = facts.root().stat(format!("{dir}/{}", entry.name.to_string_lossy())) else { continue };
                if !spaces.contains_key(&format!("net:[{}]", found.ino)) {
                    let name = format!("{dir}/{}", entry.name.to_string_lossy());
                    unseen = Some(tr!(
                        "no process is in the namespace {name}, so that its sockets cannot be counted from here",
                        name
                    ));
                }
            }
        }
        let mut list = Vec::new();
        if !spaces.contains_key(&own) {
            let (inuse, waiting) = in_use(facts, "/proc/net");
            let (pid, comm) = (0, String::new());
            let container = None;
            list.push(Space { name: own.clone(), pid, comm, container, processes: 0, inuse, waiting, is_own: true });
        }
        for (name, (pid, processes)) in spaces {
            let is_own = name == own;
            let (inuse, waiting) =
                in_use(facts, &if is_own { "/proc/net".to_owned() } else { format!("/proc/{pid}/net") });
            let container = if is_own { None } else { container_of(facts, pid) };
            list.push(Space { is_own, comm: comm(facts, pid), container, name, pid, processes, inuse, waiting });
        }
        list.sort_by_key(|space| (!space.is_own, std::cmp::Reverse(space.inuse)));
        let hashed = list.iter().map(|space| space.inuse).fold(0, u64::saturating_add);
        Ok(Sum { alloc, unhashed: alloc.saturating_sub(hashed), spaces: list, unseen })
    }
}

/// By what the tables of a process's namespace are known: each namespace has entries of its own in `/proc`.
fn table_inode(facts: &Facts, pid: u32) -> Option<u64> {
    facts.root().stat(format!("/proc/{pid}/net/sockstat")).ok().map(|found| found.ino)
}

/// Sockets in the tables, and those in TIME_WAIT, as `sockstat` and `sockstat6` in this directory tell.
fn in_use(facts: &Facts, dir: &str) -> (u64, u64) {
    let read = |name: &str| facts.root().read(format!("{dir}/{name}")).unwrap_or_default();
    let (four, six) = (read("sockstat"), read("sockstat6"));
    let value = |text: &[u8], protocol: &str, field: &str| sockstat::value(text, protocol, field).unwrap_or(0);
    let inuse = value(&four, "TCP", "inuse").saturating_add(value(&six, "TCP6", "inuse"));
    (inuse, value(&four, "TCP", "tw"))
}

/// Processes that are looked at for sockets in no table: those with the most descriptors.
const SUSPECTS: usize = 40;

/// Who holds sockets that are in no table: number, name, how many; the most first. Only of this machine, whose descriptors tell their protocol.
pub fn holders_of_unhashed(facts: &Facts, sum: &Sum) -> Vec<(u32, String, u64)> {
    let Ok(holders) = facts.get::<Holders>() else { return Vec::new() };
    let Ok(files) = KernelFiles::open(facts.root(), "/proc") else { return Vec::new() };
    if !facts.target().can_be_asked() {
        return Vec::new();
    }
    let mut hashed: HashSet<u32> = HashSet::new();
    if let Ok(sockets) = facts.get::<Sockets>() {
        hashed.extend(sockets.all.iter().map(|socket| socket.inode));
    }
    for space in sum.spaces.iter().filter(|space| !space.is_own) {
        for name in ["tcp", "tcp6"] {
            let text = facts.root().read_up_to(format!("/proc/{}/net/{name}", space.pid), TABLE).unwrap_or_default();
            hashed.extend(table(&text).map(|socket| socket.inode));
        }
    }
    let budget = facts.budget().part(SHARE);
    let mut all = Vec::new();
    for holder in holders.list.iter().take(SUSPECTS) {
        let dir = format!("/proc/{}/fd", holder.pid);
        let Ok((entries, _)) = facts.root().read_dir_up_to(&dir, DESCRIPTORS) else { continue };
        let mut count = 0;
        for entry in entries {
            if budget.is_spent() {
                break;
            }
            let path = format!("{}/fd/{}", holder.pid, entry.name.to_string_lossy());
            let Some(inode) = files.link(&path).ok().as_deref().and_then(inode) else { continue };
            let is_tcp = || files.socket_protocol(&path).is_some_and(|name| name.starts_with("TCP"));
            count += u64::from(!hashed.contains(&inode) && is_tcp());
        }
        if count > 0 {
            all.push((holder.pid, holder.comm.clone(), count));
        }
    }
    all.sort_by_key(|(pid, _, count)| (std::cmp::Reverse(*count), *pid));
    all
}
