//! What the settings of this host carry, which of them binds first, how many hosts a peak needs, and whether it is the host at all
//! that binds. docs/capacity.md tells the model.

use sickbay_formats::procfs::number;

use crate::facts::Facts;
use crate::facts::system::kernel::running;
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;
use crate::tune::kernel::Machine;
use crate::tune::origin::now_number;
use crate::tune::work::{Nginx, Servers};

/// A peak: what all hosts together have to carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Peak {
    /// Connections of clients at a time.
    pub connections: Option<u64>,
    /// Requests a second.
    pub requests: Option<u64>,
    /// Bits a second.
    pub bits: Option<u64>,
}

/// What stands between the clients and the hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Balancer {
    /// Bits a second that it passes on.
    pub bits: Option<u64>,
    /// Hosts that one listener takes.
    pub backends: Option<u64>,
    /// Connections at a time.
    pub connections: Option<u64>,
    /// Requests a second.
    pub requests: Option<u64>,
}

/// What the programs of one host wait for: connections to redis or a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Pool {
    /// Connections in the pool of one host.
    pub size: u64,
    /// Milliseconds that a request holds one.
    pub ms: u64,
}

/// What is asked besides the host's own limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The peak.
    pub peak: Peak,
    /// The load balancer.
    pub balancer: Balancer,
    /// The pool.
    pub pool: Option<Pool>,
    /// Hosts that there are.
    pub hosts: Option<u64>,
}

/// What an amount counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Counts {
    /// Connections of clients at a time.
    Connections,
    /// Requests a second.
    Requests,
    /// Bits a second.
    Bits,
    /// Hosts.
    Hosts,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// This host's; more hosts help.
    Host,
    /// Beyond the host: more hosts do not help.
    Outside,
}

/// A limit.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What limits.
    pub what: Text,
    /// Whose it is.
    pub whose: Whose,
    /// What it counts.
    pub counts: Counts,
    /// So much.
    pub carries: u64,
    /// The arithmetic.
    pub how: Text,
    /// Hosts that the peak needs by this limit alone; for what is outside, none.
    pub hosts: Option<u64>,
    /// How much of it the peak takes with the hosts that there are, in percent.
    pub used: Option<u64>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// The limits: those of connections first, the tightest at the front.
    pub limits: Vec<Limit>,
    /// What follows from the numbers of the peak.
    pub derived: Vec<Text>,
    /// What nobody can tell from settings.
    pub untold: Vec<Text>,
    /// Hosts that the peak needs by what is known.
    pub hosts: Option<u64>,
    /// What binds, if a peak was given: the index of the limit.
    pub binds: Option<usize>,
    /// In one sentence.
    pub says: Text,
    /// What was asked.
    pub question: Question,
}

/// A socket of the kernel's with its descriptor and inode: measured at 3.1 to 3.6 kB, rounded up. In bytes.
const SOCKET: u64 = 4 << 10;
/// Buffers of a request that is being passed on: nginx's proxy_buffers, 8 of 4 KiB, and as much for headers. In bytes.
const BUFFERS: u64 = 36 << 10;
/// Seconds that a closed connection keeps its port (TCP_TIMEWAIT_LEN).
const TIME_WAIT: u64 = 60;

/// What this host carries.
///
/// # Errors
/// Where nothing runs.
pub fn capacity(facts: &Facts, question: Question) -> Result<Capacity, Skip> {
    running(facts)?;
    Ok(answer(host(facts)?, question))
}

/// The limits of the host itself.
fn host(facts: &Facts) -> Result<Vec<Limit>, Skip> {
    let machine = Machine::of(facts)?;
    let parameter = |key: &str| now_number(facts, key).and_then(|number| u64::try_from(number).ok());
    let servers = facts.get::<Servers>()?;
    let nginx = facts.get::<Nginx>().ok();
    let is_proxy = nginx.as_ref().is_some_and(|nginx| nginx.is_proxy);
    // A connection of a client brings one to the upstream with it.
    let sockets = if is_proxy { 2 } else { 1 };
    let mut limits = Vec::new();
    let mut add = |counts, carries, what: Text, how: Text| {
        limits.push(Limit { what, whose: Whose::Host, counts, carries, how, hosts: None, used: None });
    };
    if let Some(nginx) = &nginx {
        let workers = nginx.workers.or(machine.cpus).unwrap_or(1);
        let connections = nginx.connections;
        let all = workers.saturating_mul(connections) / sockets;
        let how = match is_proxy {
            true => tr!(
                "{workers} workers × {connections} / 2: worker_connections count those to upstreams too",
                workers,
                connections
            ),
            false => tr!("{workers} workers × {connections}", workers, connections),
        };
        add(Counts::Connections, all, tr!("worker_connections of nginx"), how);
        let of_process = servers.list.iter().find(|server| server.comm == "nginx").and_then(|server| server.files);
        if let Some(files) = nginx.nofile.or(of_process.map(|(soft, _)| soft)) {
            // A connection may hold a file besides: a cache, a temporary file.
            let how = tr!(
                "{workers} workers × {files} files / {each} for each client: a connection may hold a file too; {needed} a worker are needed for all its connections",
                workers,
                files,
                each = sockets * 2,
                needed = connections.saturating_mul(2)
            );
            add(
                Counts::Connections,
                workers.saturating_mul(files) / (sockets * 2),
                tr!("open files of nginx (worker_rlimit_nofile)"),
                how,
            );
        }
        if let Some(longest) = parameter("net.core.somaxconn") {
            let asked = nginx.backlog.as_ref().map_or(511, |(backlog, _)| *backlog);
            let effective = asked.min(longest);
            // Who waits longer than a second is tried again, or gives up.
            let how = tr!(
                "min(backlog {asked}, somaxconn {longest}) = {effective}, once for each address and port: emptied at least once a second",
                asked,
                longest,
                effective
            );
            add(Counts::Requests, effective, tr!("accept queue: new connections in one second of a busy program"), how);
        }
    }
    for server in servers.list.iter().filter(|server| server.comm != "nginx") {
        let Some((soft, _)) = server.files else { continue };
        let (pid, comm) = (server.pid, server.comm.as_str());
        let how = tr!("Max open files of {pid}: {soft}, a connection each", pid, soft);
        add(Counts::Connections, soft, tr!("open files of {comm}", comm), how);
        break;
    }
    let range = facts.root().read("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    if let &[low, high] = sickbay_formats::procfs::numbers(&range).as_slice()
        && is_proxy
    {
        let ports = high.saturating_sub(low) + 1;
        let how = tr!(
            "{ports} ports of ip_local_port_range, for each upstream address; with keepalive they are used again",
            ports
        );
        add(Counts::Connections, ports, tr!("local ports to one upstream"), how);
        let how = tr!("{ports} ports / 60 s of TIME_WAIT, for each upstream address and without keepalive", ports);
        add(Counts::Requests, ports / TIME_WAIT, tr!("new connections to one upstream"), how);
    }
    if let Some(most) = parameter("net.netfilter.nf_conntrack_max") {
        let how =
            tr!("{most} entries / {sockets} for each client; what is closed stays for up to 120 s", most, sockets);
        add(Counts::Connections, most / sockets, tr!("connection tracking (nf_conntrack_max)"), how);
    }
    if let Some(memory) = machine.memory {
        let each = SOCKET * sockets + BUFFERS;
        let how = tr!(
            "half of the memory / {kib} KiB for each busy connection ({sockets} {sockets?socket|sockets} of 4 KiB, 36 KiB of buffers)",
            kib = each >> 10,
            sockets
        );
        add(Counts::Connections, (memory / 2).saturating_mul(1024) / each, tr!("memory"), how);
    }
    if let Some((name, bits)) = card(facts) {
        let how = tr!("what {name} says of its speed", name);
        add(Counts::Bits, bits, tr!("network card"), how);
    }
    Ok(limits)
}

/// The fastest network card that says how fast it is: those of virtual machines do not.
fn card(facts: &Facts) -> Option<(String, u64)> {
    let cards = facts.root().read_dir("/sys/class/net").ok()?;
    let speed = |name: &str| {
        let dir = format!("/sys/class/net/{name}");
        // What is no device of its own (lo, bridges, veth) has none.
        facts.root().exists(format!("{dir}/device")).ok().filter(|is| *is)?;
        let megabits = number(&facts.root().read(format!("{dir}/speed")).ok()?)?;
        (megabits > 0 && megabits < 10_000_000).then(|| megabits.saturating_mul(1_000_000))
    };
    let all = cards.iter().filter_map(|entry| {
        let name = entry.name.to_str()?.to_owned();
        speed(&name).map(|bits| (name, bits))
    });
    all.max_by_key(|(_, bits)| *bits)
}

/// Puts the limits of a host beside what is asked.
pub fn answer(mut limits: Vec<Limit>, question: Question) -> Capacity {
    let Question { peak, balancer, pool, hosts: given } = question;
    if let Some(Pool { size, ms }) = pool {
        limits.push(Limit {
            what: tr!("pool of connections (redis, database)"),
            whose: Whose::Host,
            counts: Counts::Requests,
            carries: size.saturating_mul(1000) / ms.max(1),
            how: tr!("{size} connections × 1000 / {ms} ms that a request holds one", size, ms),
            hosts: None,
            used: None,
        });
    }
    let outside = [
        (balancer.bits, Counts::Bits, tr!("load balancer: bandwidth")),
        (balancer.connections, Counts::Connections, tr!("load balancer: connections")),
        (balancer.requests, Counts::Requests, tr!("load balancer: requests")),
        (balancer.backends, Counts::Hosts, tr!("load balancer: hosts behind one listener")),
    ];
    for (amount, counts, what) in outside {
        let Some(carries) = amount else { continue };
        let how = tr!("as was said with --lb");
        limits.push(Limit { what, whose: Whose::Outside, counts, carries, how, hosts: None, used: None });
    }
    let asked = |counts: Counts| match counts {
        Counts::Connections => peak.connections,
        Counts::Requests => peak.requests,
        Counts::Bits => peak.bits,
        Counts::Hosts => None,
    };
    for limit in limits.iter_mut().filter(|limit| limit.whose == Whose::Host) {
        limit.hosts = asked(limit.counts).map(|amount| amount.div_ceil(limit.carries.max(1)).max(1));
    }
    let needed = limits.iter().filter_map(|limit| limit.hosts).max();
    let hosts = given.or(needed);
    for limit in &mut limits {
        let amount = match (limit.whose, limit.counts) {
            (_, Counts::Hosts) => hosts,
            (Whose::Outside, counts) => asked(counts),
            // Each host's part.
            (Whose::Host, counts) => asked(counts).zip(hosts).map(|(amount, hosts)| amount.div_ceil(hosts.max(1))),
        };
        limit.used = amount.map(|amount| amount.saturating_mul(100) / limit.carries.max(1));
    }
    limits.sort_by_key(|limit| (limit.whose != Whose::Host, limit.counts, limit.carries));
    let binds = binding(&limits, given);
    let says = sentence(&limits, binds, hosts, given, peak);
    Capacity { derived: derived(peak, hosts), untold: untold(&question), hosts: needed, binds, says, question, limits }
}

/// From this part on a limit counts as reached, in percent: averages hide peaks.
const FULL: u64 = 90;

/// The limit that binds: that which is used most. What is outside goes before the host, since more hosts do not help there.
fn binding(limits: &[Limit], given: Option<u64>) -> Option<usize> {
    let of = |whose: Whose| {
        let full = limits.iter().enumerate().filter(|(_, limit)| limit.whose == whose);
        full.filter_map(|(index, limit)| Some((limit.used.filter(|used| *used >= FULL)?, index)))
            .max()
            .map(|(_, index)| index)
    };
    // Without a number of hosts there are as many as are needed.
    of(Whose::Outside).or_else(|| given.and_then(|_| of(Whose::Host)))
}

fn sentence(limits: &[Limit], binds: Option<usize>, hosts: Option<u64>, given: Option<u64>, peak: Peak) -> Text {
    let tightest = || {
        let mut all = limits.iter().filter(|limit| limit.whose == Whose::Host && limit.counts == Counts::Connections);
        Some((all.next()?, all.next()))
    };
    let highest = limits.iter().filter(|limit| limit.whose == Whose::Host).filter_map(|limit| limit.used).max();
    if let Some(limit) = binds.and_then(|index| limits.get(index)) {
        let (what, used) = (limit.what.clone(), limit.used.unwrap_or(0));
        return match (limit.whose, highest) {
            (Whose::Outside, Some(most)) => tr!(
                "not this host: {what} is at {used} %, and no limit of a host above {most} %. More hosts do not help",
                what,
                used,
                most
            ),
            (Whose::Outside, None) => tr!("not this host: {what} is at {used} %", what, used),
            (Whose::Host, _) => tr!("this host: {what} is at {used} %", what, used),
        };
    }
    let is_asked = peak != Peak::default();
    match (tightest(), hosts) {
        (_, Some(hosts)) if is_asked && given.is_some() => match highest {
            Some(most) => tr!(
                "not this host: with {hosts} {hosts?host|hosts} no limit is above {most} %. If it was slow, look at what requests wait for: pools of connections, the database, processors",
                hosts,
                most
            ),
            None => tr!("nothing is known that the peak could be held against"),
        },
        (Some((first, _)), Some(hosts)) if is_asked => {
            let decides = limits
                .iter()
                .filter(|limit| limit.whose == Whose::Host)
                .max_by_key(|limit| limit.hosts)
                .unwrap_or(first);
            tr!(
                "{hosts} {hosts?host|hosts} like this one at least: {what} decides. Have a third more, for the one that fails and for uneven shares",
                hosts,
                what = decides.what.clone()
            )
        }
        (Some((first, Some(next))), _) => tr!(
            "{what} binds first, at {carries} connections of clients; next is {next}, at {then}",
            what = first.what.clone(),
            carries = first.carries,
            next = next.what.clone(),
            then = next.carries
        ),
        (Some((first, None)), _) => tr!(
            "{what} binds first, at {carries} connections of clients",
            what = first.what.clone(),
            carries = first.carries
        ),
        (None, _) => tr!("no server is known here whose settings could be judged"),
    }
}

/// What the numbers of a peak say by themselves.
fn derived(peak: Peak, hosts: Option<u64>) -> Vec<Text> {
    let mut all = Vec::new();
    if let Some(hosts) = hosts.filter(|_| peak != Peak::default()) {
        let part = |amount: Option<u64>| amount.map_or("–".to_owned(), |amount| (amount / hosts.max(1)).to_string());
        let bits = peak.bits.map(|bits| bits / 1_000_000);
        all.push(tr!(
            "each of {hosts} {hosts?host|hosts}: {connections} connections, {requests} requests/s, {megabits} Mbit/s",
            hosts,
            connections = part(peak.connections),
            requests = part(peak.requests),
            megabits = part(bits)
        ));
    }
    if let (Some(bits), Some(requests)) = (peak.bits, peak.requests.filter(|requests| *requests > 0)) {
        let kib = bits as f64 / 8.0 / requests as f64 / 1024.0;
        all.push(tr!("{kib} KiB a request", kib = format!("{kib:.1}")));
    }
    if let (Some(connections), Some(requests)) = (peak.connections, peak.requests.filter(|requests| *requests > 0)) {
        let seconds = connections as f64 / requests as f64;
        all.push(tr!(
            "{seconds} s a connection lives for each request: much more than an answer takes is keep-alive, and a shorter keepalive_timeout frees connections",
            seconds = format!("{seconds:.1}")
        ));
    }
    all
}

fn untold(question: &Question) -> Vec<Text> {
    let mut all = vec![tr!("how much processor a request takes: only a load test tells")];
    if question.pool.is_none() {
        all.push(tr!("pools of connections to redis and databases: --pool SIZE,MS"));
    }
    if question.balancer == Balancer::default() {
        all.push(tr!("what stands before the hosts: --lb 5Gbps,200backends"));
    }
    all
}

/// An amount as people write it: `220000conn`, `18534rps`, `5Gbps`, `200backends`.
fn amount(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let value: f64 = number.parse().ok()?;
    let letters = unit.trim();
    let scale = match letters.bytes().next() {
        Some(b'k' | b'K') => 1e3,
        Some(b'M' | b'm') if letters.len() > 1 => 1e6,
        Some(b'G' | b'g') => 1e9,
        Some(b'T' | b't') => 1e12,
        _ => 1.0,
    };
    let rest = if scale > 1.0 { letters.get(1..).unwrap_or_default() } else { letters };
    let all = value * scale;
    (all.is_finite() && (1.0..1e18).contains(&all)).then_some((all as u64, rest))
}

/// Reads `220000conn,18534rps,5Gbps`.
///
/// # Errors
/// The part that is none.
pub fn peak(text: &str) -> Result<Peak, String> {
    let mut peak = Peak::default();
    for part in text.split(',') {
        match amount(part) {
            Some((value, "conn" | "connections")) => peak.connections = Some(value),
            Some((value, "rps" | "qps")) => peak.requests = Some(value),
            Some((value, "bps" | "bit/s" | "bits")) => peak.bits = Some(value),
            _ => return Err(part.to_owned()),
        }
    }
    Ok(peak)
}

/// Reads `5Gbps,200backends`.
///
/// # Errors
/// The part that is none.
pub fn balancer(text: &str) -> Result<Balancer, String> {
    let mut balancer = Balancer::default();
    for part in text.split(',') {
        match amount(part) {
            Some((value, "backends" | "hosts")) => balancer.backends = Some(value),
            Some((value, "conn" | "connections")) => balancer.connections = Some(value),
            Some((value, "rps" | "qps")) => balancer.requests = Some(value),
            Some((value, "bps" | "bit/s" | "bits")) => balancer.bits = Some(value),
            _ => return Err(part.to_owned()),
        }
    }
    Ok(balancer)
}

/// Reads `20,5ms` or `20,5`.
pub fn pool(text: &str) -> Option<Pool> {
    let (size, ms) = text.split_once(',')?;
    let (size, ms) = (size.trim().parse().ok()?, ms.trim().trim_end_matches("ms").parse().ok()?);
    (size > 0 && ms > 0).then_some(Pool { size, ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let wanted = Peak { connections: Some(220_000), requests: Some(18_534), bits: Some(5_000_000_000) };
        assert_eq!(peak("220000conn,18534rps,5Gbps"), Ok(wanted));
        assert_eq!(peak("220kconn, 18534rps,5000Mbps"), Ok(wanted));
        assert_eq!(peak("5Gbps,many"), Err("many".to_owned()));
        assert_eq!(peak(""), Err(String::new()));
        let wanted = Balancer { bits: Some(5_000_000_000), backends: Some(200), ..Balancer::default() };
        assert_eq!(balancer("5Gbps,200backends"), Ok(wanted));
        assert_eq!(pool("20,5ms"), Some(Pool { size: 20, ms: 5 }));
        assert_eq!((pool("20"), pool("0,5"), pool("x,y")), (None, None, None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[0-9.kMGTbpscon, ]{0,30}") {
            let _ = (peak(&text), balancer(&text), pool(&text));
        }
    }
}
