//! The TCP sockets of a running system: by state, by destination against the local ports that there are, by who holds them; and the sum that
//! has to come out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use bstr::ByteSlice;
use sickbay_formats::procfs::{numbers, sockstat};
use sickbay_formats::sock_diag::{CLOSE_WAIT, ESTABLISHED, LISTEN, STATES, Socket, TIME_WAIT, reserved_within, table};
use sickbay_formats::told_sockets;
use sickbay_target::{tcp_answers, tcp_in_states, tcp_sockets};

use crate::facts::system::kernel::{Kernel, parameter, running};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

mod owners;
mod sum;

pub use self::owners::{Owners, Unclosed, unclosed};
pub use self::sum::{Space, Sum, holders_of_unhashed};

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
        if facts.target().report().is_ok() {
            let told = facts.get::<Told>()?;
            let all: Vec<_> = told.0.iter().map(|one| one.socket).collect();
            return Ok(Sockets { is_cut: false, all, is_full: false, ports: Ports::of(facts)? });
        }
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

/// What a tool for support wrote down of the sockets.
#[derive(Debug)]
struct Told(Vec<told_sockets::Told>);

impl Fact for Told {
    fn gather(facts: &Facts) -> Result<Told, Skip> {
        let report = facts.target().report()?;
        // Whole names of programs first, which netstat cuts.
        for name in ["ss_-peaonmi", "ss_-", "netstat_-W_-neopa", "netstat_-neopa", "netstat_-"] {
            let path =
                report.output(|found| found.starts_with(name) && !found.ends_with("-s") && !found.contains("-agn"));
            let Some(path) = path else { continue };
            if let Some(mut all) = told_sockets::tcp(&facts.root().read_up_to(path, TABLE)?) {
                // Without -e no inode is told, by which sockets find their owners.
                let untold = all.iter_mut().filter(|one| one.socket.inode == 0 && one.owner.is_some());
                untold.zip(1 << 31..).for_each(|(one, number)| one.socket.inode = number);
                return Ok(Told(all));
            }
        }
        Err(Skip::NotApplicable(tr!("the report does not tell which sockets there are")))
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
        count(&self.all)
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

/// How many sockets are in each state, and nothing else: those that are many are counted by the kernel itself, and only the others are
/// asked for.
#[derive(Debug)]
pub struct States(pub BTreeMap<&'static str, u64>);

impl Fact for States {
    fn gather(facts: &Facts) -> Result<States, Skip> {
        running(facts)?;
        // Before 4.11 TIME_WAIT is counted for all namespaces together.
        let counts_its_own = facts.get::<Kernel>()?.version >= (4, 11);
        let open = || current(&facts.root().read("/proc/net/snmp").ok()?);
        let waiting = || sockstat::value(&facts.root().read("/proc/net/sockstat").ok()?, "TCP", "tw");
        if counts_its_own
            && facts.target().can_be_asked()
            && let (Some(open), Some(waiting)) = (open(), waiting())
        {
            let others = !(1_u32 << ESTABLISHED | 1 << TIME_WAIT);
            if let Ok(answer) = facts.root().ask("sock_diag of TCP, few", || tcp_in_states(MOST, others)) {
                let (few, _) = tcp_sockets(&answer, MOST);
                let mut states = count(&few);
                let unclosed = few.iter().filter(|socket| socket.state == CLOSE_WAIT).count() as u64;
                let name = |state: u8| STATES.get(usize::from(state) - 1).copied().unwrap_or_default();
                states.insert(name(ESTABLISHED), open.saturating_sub(unclosed));
                states.insert(name(TIME_WAIT), waiting);
                states.retain(|_, count| *count > 0);
                return Ok(States(states));
            }
        }
        Ok(States(facts.get::<Sockets>()?.by_state()))
    }
}

fn count(sockets: &[Socket]) -> BTreeMap<&'static str, u64> {
    let mut states = BTreeMap::new();
    for socket in sockets {
        *states.entry(socket.state_name()).or_default() += 1;
    }
    states
}

/// `CurrEstab` of `/proc/net/snmp`: those that are ESTABLISHED and in CLOSE_WAIT.
fn current(text: &[u8]) -> Option<u64> {
    let text = text.to_str_lossy();
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let at = lines.next()?.split_ascii_whitespace().position(|word| word == "CurrEstab")?;
    lines.next()?.split_ascii_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::current;

    #[test]
    fn open_connections() {
        let text = b"Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs\n\
            Tcp: 1 200 120000 -1 7 8 0 0 118000 9\n";
        assert_eq!((current(text), current(b"Tcp: CurrEstab\nTcp: x"), current(b"")), (Some(118_000), None, None));
    }
}
