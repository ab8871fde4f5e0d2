//! The TCP sockets of a running system: by state, by destination against the local ports that there are, by who holds them; and the sum that
//! has to come out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use bstr::ByteSlice;
use sickbay_formats::procfs::{numbers, sockstat};
use sickbay_formats::sock_diag::{LISTEN, Socket, TIME_WAIT, reserved_within, table};
use sickbay_target::{KernelFiles, tcp_answers, tcp_sockets};

use crate::facts::network::containers::container_of;
use crate::facts::memory::processes::{Holders, comm, pids};
use crate::facts::system::kernel::{parameter, running};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// The sockets that are in the tables of this network namespace.
#[derive(Debug)]
pub struct Sockets {
    /// Each.
    pub all: Vec<Socket>,
    /// Whether there are more than are kept.
    pub is_cut: bool,
    /// Whether listeners tell how many connections may wait, and sockets how long they are idle: sock_diag does, `/proc/net/tcp` does not.
    pub is_full: bool,
    /// Local ports for connections.
    pub ports: Ports,
}

/// The local ports that connect(2) takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// `net.ipv4.ip_local_port_range`
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// How many of them may be taken: without those of `ip_local_reserved_ports`.
    pub usable: u64,
    /// `net.ipv4.tcp_tw_reuse`: 0 never, 1 always, 2 on the loopback (the default since 4.19).
    pub reuse: u64,
    /// `net.ipv4.tcp_timestamps`, without which nothing is used again.
    pub timestamps: bool,
}

/// Connections from one address to one port of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The own address.
    pub source: IpAddr,
    /// The other.
    pub destination: IpAddr,
    /// Its port.
    pub port: u16,
    /// Those in TIME_WAIT, each of which holds its port for a minute.
    pub waiting: u64,
    /// All others.
    pub open: u64,
    /// Those in TIME_WAIT that were closed in the last ten seconds, and those that will be gone in the next ten, where their timers tell.
    pub recent: Option<(u64, u64)>,
}

/// So many sockets are kept: 30 MB.
const MOST: usize = 400_000;

impl Fact for Sockets {
    fn gather(facts: &Facts) -> Result<Sockets, Skip> {
        running(facts)?;
        let ports = Ports::of(facts)?;
        if facts.target().can_be_asked()
            && let Ok(answer) = facts.root().ask("sock_diag of TCP", || tcp_answers(MOST))
        {
            let (all, is_cut) = tcp_sockets(&answer, MOST);
            return Ok(Sockets { all, is_cut, is_full: true, ports });
        }
        let mut all = Vec::new();
        let mut is_there = false;
        for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let Ok(text) = facts.root().read_up_to(path, TABLE) else { continue };
            is_there = true;
            all.extend(table(&text).take(MOST.saturating_sub(all.len())));
        }
        if !is_there {
            return Err(Skip::NotApplicable(tr!("{path} does not exist", path = "/proc/net/tcp")));
        }
        Ok(Sockets { is_cut: all.len() >= MOST, all, is_full: false, ports })
    }
}

/// How long a port stays in TIME_WAIT (TCP_TIMEWAIT_LEN of include/net/tcp.h), and what is called lately, in milliseconds.
const MINUTE: u32 = 60_000;
const TEN: u32 = 10_000;

/// A port with so many connections from high ports serves them.
const SERVED: u64 = 16;

/// A table of a million sockets has 150 MB.
const TABLE: u64 = 256 << 20;

impl Ports {
    fn of(facts: &Facts) -> Result<Ports, Skip> {
        let range = facts.file("/proc/sys/net/ipv4/ip_local_port_range")?;
        let range = range.map(|file| numbers(&file.bytes)).unwrap_or_default();
        let port = |at: usize, usual: u16| range.get(at).and_then(|port| u16::try_from(*port).ok()).unwrap_or(usual);
        let (first, last) = (port(0, 32_768), port(1, 60_999));
        let reserved = facts.file("/proc/sys/net/ipv4/ip_local_reserved_ports")?;
        let reserved = reserved.map(|file| file.bytes.to_str_lossy().into_owned()).unwrap_or_default();
        let all = (u64::from(last) + 1).saturating_sub(u64::from(first));
        Ok(Ports {
            first,
            last,
            usable: all.saturating_sub(reserved_within(&reserved, first, last)),
            reuse: parameter(facts, "net.ipv4.tcp_tw_reuse")?.unwrap_or(0),
            timestamps: parameter(facts, "net.ipv4.tcp_timestamps")?.unwrap_or(1) != 0,
        })
    }

    /// Whether a port in TIME_WAIT is free for a connection from this address.
    pub fn reuses(&self, source: IpAddr) -> bool {
        self.timestamps && (self.reuse == 1 || self.reuse == 2 && source.is_loopback())
    }
}

impl Sockets {
    /// How many are in each state.
    pub fn by_state(&self) -> BTreeMap<&'static str, u64> {
        let mut states = BTreeMap::new();
        for socket in &self.all {
            *states.entry(socket.state_name()).or_default() += 1;
        }
        states
    }

    /// Those that a connect(2) of this machine opened, by all that can be seen: from a port of the range on which nobody listens, nor did
    /// until lately, when many ports of others lead to it.
    fn outgoing(&self) -> impl Iterator<Item = &Socket> {
        let mut listening: HashSet<u16> = self.listeners().map(|socket| socket.source.1).collect();
        let mut ends: HashMap<u16, (u64, bool)> = HashMap::new();
        for socket in self.all.iter().filter(|socket| socket.state != LISTEN) {
            let end = ends.entry(socket.source.1).or_insert((0, true));
            (end.0, end.1) = (end.0 + 1, end.1 && socket.destination.1 >= self.ports.first);
        }
        listening.extend(ends.into_iter().filter(|(_, (count, high))| *count >= SERVED && *high).map(|(port, _)| port));
        let range = self.ports.first..=self.ports.last;
        self.all.iter().filter(move |socket| {
            socket.state != LISTEN && range.contains(&socket.source.1) && !listening.contains(&socket.source.1)
        })
    }

    /// Outgoing connections by source and destination, those with the most first.
    pub fn pairs(&self) -> Vec<Pair> {
        let mut all: HashMap<(IpAddr, IpAddr, u16), Pair> = HashMap::new();
        for socket in self.outgoing() {
            let (source, (destination, port)) = (socket.source.0, socket.destination);
            let new = Pair { source, destination, port, waiting: 0, open: 0, recent: None };
            let pair = all.entry((source, destination, port)).or_insert(new);
            match socket.state {
                TIME_WAIT => pair.waiting += 1,
                _ => pair.open += 1,
            }
            if let Some(left) = socket.left.filter(|left| *left <= MINUTE) {
                let recent = pair.recent.get_or_insert((0, 0));
                recent.0 += u64::from(left > MINUTE - TEN);
                recent.1 += u64::from(left <= TEN);
            }
        }
        let mut all: Vec<Pair> = all.into_values().collect();
        all.sort_by_key(|pair| (std::cmp::Reverse(pair.all()), pair.destination, pair.port));
        all
    }

    /// Local ports that serve two destinations or more. connect(2) gives each destination all ports; a program that calls bind(2)
    /// before it gets a port of its own for each connection.
    pub fn shared(&self) -> u64 {
        let mut seen: HashMap<(IpAddr, u16), u64> = HashMap::new();
        for socket in self.outgoing() {
            *seen.entry(socket.source).or_default() += 1;
        }
        seen.values().filter(|count| **count > 1).count() as u64
    }

    /// Those that listen.
    pub fn listeners(&self) -> impl Iterator<Item = &Socket> {
        self.all.iter().filter(|socket| socket.state == LISTEN)
    }
}

impl Pair {
    /// All connections.
    pub fn all(&self) -> u64 {
        self.waiting + self.open
    }

    /// Connections that this side closes in a second, by those of the last ten.
    pub fn rate(&self) -> Option<f64> {
        self.recent.map(|(closed, _)| closed as f64 / 10.0)
    }

    /// Seconds until no port is left, if more are taken than given back, and that for long enough.
    pub fn seconds_left(&self, ports: &Ports) -> Option<f64> {
        let (closed, freed) = self.recent.filter(|_| !ports.reuses(self.source))?;
        let grows = closed.checked_sub(freed).filter(|grows| *grows > 0)? as f64 / 10.0;
        // After a minute as many are freed as are closed.
        let at_last = self.open.saturating_add(closed.saturating_mul(6));
        (at_last >= ports.usable).then(|| ports.usable.saturating_sub(self.all()) as f64 / grows)
    }

    /// Ports that a new connection cannot have.
    pub fn taken(&self, ports: &Ports) -> u64 {
        if ports.reuses(self.source) { self.open } else { self.all() }
    }
}

/// Which process has a socket open, by inode.
#[derive(Debug, Default)]
pub struct Owners {
    by_inode: HashMap<u32, u32>,
    /// The names of these processes.
    names: HashMap<u32, String>,
    /// Whether some processes could not be looked at, or not all in the time that there is.
    pub partly: bool,
}

/// So many descriptors are looked at, and so long: per cent of a fact's time.
const DESCRIPTORS: usize = 1 << 20;
const SHARE: u32 = 40;

impl Fact for Owners {
    fn gather(facts: &Facts) -> Result<Owners, Skip> {
        let budget = facts.budget().part(SHARE);
        let mut owners = Owners::default();
        let mut left = DESCRIPTORS;
        for pid in pids(facts)? {
            if left == 0 || budget.is_spent() {
                owners.partly = true;
                break;
            }
            let Ok((entries, is_whole)) = facts.root().read_dir_up_to(format!("/proc/{pid}/fd"), left) else {
                owners.partly = true;
                continue;
            };
            owners.partly |= !is_whole;
            left = left.saturating_sub(entries.len());
            // Through their directory: the way there by the number of the process costs as much again for each.
            let Ok(files) = KernelFiles::open(facts.root(), format!("/proc/{pid}/fd")) else { continue };
            for entry in entries {
                let link = match files.link(&entry.name.to_string_lossy()) {
                    Ok(link) => link,
                    Err(error) => {
                        owners.partly |= !matches!(error.reason, sickbay_target::Reason::NotFound);
                        continue;
                    }
                };
                if let Some(inode) = inode(&link) {
                    owners.by_inode.entry(inode).or_insert(pid);
                }
            }
        }
        let found: HashSet<u32> = owners.by_inode.values().copied().collect();
        owners.names = found.into_iter().map(|pid| (pid, comm(facts, pid))).collect();
        Ok(owners)
    }
}

/// `socket:[4711]`
fn inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

impl Owners {
    /// Who has it: number and name.
    pub fn of(&self, inode: u32) -> Option<(u32, &str)> {
        let pid = self.by_inode.get(&inode)?;
        Some((*pid, self.names.get(pid).map(String::as_str).unwrap_or_default()))
    }
}

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

/// Sockets of one process whose other end has closed, and which it does not close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclosed {
    /// The process; 0 where it is not known.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// How many.
    pub count: u64,
    /// How many of them for longer than a minute, where that is known.
    pub old: Option<u64>,
    /// The longest of them, in seconds, where that is known.
    pub oldest: Option<u64>,
    /// To where most of them lead.
    pub most: Option<(IpAddr, u16, u64)>,
}

/// What no program leaves unclosed that means to close it.
const OLD: u32 = 60_000;

/// How many sockets lead to each address and port.
type Ends = HashMap<(IpAddr, u16), u64>;

/// CLOSE_WAIT by owner, those with the most first.
pub fn unclosed(sockets: &Sockets, owners: &Owners) -> Vec<Unclosed> {
    let mut all: BTreeMap<u32, (Unclosed, Ends)> = BTreeMap::new();
    for socket in sockets.all.iter().filter(|socket| socket.state == sickbay_formats::sock_diag::CLOSE_WAIT) {
        let (pid, comm) = owners.of(socket.inode).unwrap_or((0, ""));
        let (one, ends) = all.entry(pid).or_insert_with(|| {
            let new = Unclosed { pid, comm: comm.to_owned(), count: 0, old: None, oldest: None, most: None };
            (new, HashMap::new())
        });
        one.count += 1;
        if let Some(idle) = socket.idle {
            one.old = Some(one.old.unwrap_or(0) + u64::from(idle >= OLD));
            one.oldest = one.oldest.max(Some(u64::from(idle) / 1000));
        }
        // Of what was accepted the own port says what it is.
        let end = if sockets.ports.first <= socket.source.1 { socket.destination } else { socket.source };
        *ends.entry(end).or_default() += 1;
    }
    let mut list: Vec<Unclosed> = all
        .into_values()
        .map(|(mut one, ends)| {
            let most = ends.into_iter().max_by_key(|((address, port), count)| (*count, *address, *port));
            one.most = most.map(|((address, port), count)| (address, port, count));
            one
        })
        .collect();
    list.sort_by_key(|one| (std::cmp::Reverse(one.count), one.pid));
    list
}
