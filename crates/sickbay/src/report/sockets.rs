//! Every TCP socket accounted for, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use sickbay_formats::sock_diag::Socket;

use crate::facts::network::sockets::{Owners, Pair, Sockets, Sum, Unclosed};
use crate::model::text::Text;
use crate::report::text::{Style, printable};
use crate::tr;

/// Everything that is told.
#[derive(Debug)]
pub struct Told {
    /// The sockets of this namespace.
    pub sockets: Arc<Sockets>,
    /// Those of all.
    pub sum: Arc<Sum>,
    /// Who has them.
    pub owners: Arc<Owners>,
    /// Who has those that are in no table: number, name, how many.
    pub unhashed: Vec<(u32, String, u64)>,
    /// Those that the other end has closed, by owner.
    pub unclosed: Vec<Unclosed>,
}

/// Rows of each table that are shown without `--verbose`.
const ROWS: usize = 10;

/// The tables as text.
pub fn render(told: &Told, style: &Style) -> String {
    let say = |text: &Text| printable(&text.render(style.lang));
    let rows = if style.verbose { usize::MAX } else { ROWS };
    let (sockets, sum) = (&told.sockets, &told.sum);
    let mut out = String::new();
    let _ = writeln!(out, "{}\n   {}", say(&tr!("in this network namespace")), by_state(&sockets.by_state()));

    let ports = &sockets.ports;
    let range = format!("{}-{}", ports.first, ports.last);
    let _ = writeln!(
        out,
        "{}",
        say(&tr!("to each destination, of {usable} local ports ({range})", usable = ports.usable, range))
    );
    for pair in sockets.pairs().iter().take(rows) {
        let free = ports.usable.saturating_sub(pair.taken(ports));
        let end = SocketAddr::new(pair.destination, pair.port);
        let _ = writeln!(
            out,
            "   {:<20} -> {:<26} TIME_WAIT {:<7} {} {:<7} {} {free}",
            pair.source,
            end,
            pair.waiting,
            say(&tr!("others")),
            pair.open,
            say(&tr!("free")),
        );
    }

    let _ = writeln!(out, "\n{}", say(&tr!("who listens: connections that wait, and how many may")));
    for socket in listeners(sockets).into_iter().take(rows) {
        let end = SocketAddr::new(socket.source.0, socket.source.1).to_string();
        let limit = if sockets.is_full { socket.sent.to_string() } else { "?".to_owned() };
        let _ = writeln!(out, "   {end:<26} {:>6} / {limit:<8} {}", socket.received, owner(&told.owners, socket));
    }

    if !told.unclosed.is_empty() {
        let _ = writeln!(out, "\n{}", say(&tr!("closed by the other end and not by this one (CLOSE_WAIT)")));
    }
    for one in told.unclosed.iter().take(rows) {
        let oldest = one.oldest.map(|oldest| say(&tr!("the oldest for {oldest} s", oldest))).unwrap_or_default();
        let _ = writeln!(out, "   {:>7}  {} (PID {})  {oldest}", one.count, printable(&one.comm), one.pid);
    }

    let _ = writeln!(out, "\n{}", say(&tr!("the sum: all {alloc} TCP sockets of the kernel", alloc = sum.alloc)));
    for space in &sum.spaces {
        let name = match (space.is_own, &space.container, space.pid) {
            (true, ..) => say(&tr!("this network namespace")),
            (false, Some(container), pid) => say(&tr!(
                "the container {container} ({comm}, PID {pid})",
                container = container.as_str(),
                comm = space.comm.as_str(),
                pid
            )),
            (false, None, pid) => say(&tr!("the namespace of {comm} (PID {pid})", comm = space.comm.as_str(), pid)),
        };
        let _ = writeln!(out, "   {:>7}  {name}", space.inuse);
    }
    let _ = writeln!(out, "   {:>7}  {}", sum.unhashed, say(&tr!("in no table")));
    for (pid, comm, count) in told.unhashed.iter().take(rows) {
        let _ = writeln!(out, "            {count:>7}  {} (PID {pid})", printable(comm));
    }
    let remarks = remarks(told);
    if !remarks.is_empty() {
        out.push('\n');
    }
    for remark in remarks {
        let _ = writeln!(out, "- {}", say(&remark));
    }
    out
}

/// How many are in each state, the most first: a line.
pub fn by_state(states: &BTreeMap<&'static str, u64>) -> String {
    let mut states: Vec<_> = states.iter().collect();
    states.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
    let states: Vec<String> = states.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
    format!("{}\n", states.join("   "))
}

/// The same as JSON.
pub fn json(told: &Told, style: &Style) -> serde_json::Value {
    let (sockets, sum) = (&told.sockets, &told.sum);
    let ports = &sockets.ports;
    let pairs = sockets.pairs();
    let pairs = pairs.iter().take(1000).map(|pair: &Pair| {
        serde_json::json!({
            "source": pair.source.to_string(), "destination": SocketAddr::new(pair.destination, pair.port).to_string(),
            "time_wait": pair.waiting, "open": pair.open, "free": ports.usable.saturating_sub(pair.taken(ports)),
        })
    });
    let listeners = listeners(sockets).into_iter().take(1000).map(|socket| {
        let owner = told.owners.of(socket.inode);
        serde_json::json!({
            "address": SocketAddr::new(socket.source.0, socket.source.1).to_string(), "waiting": socket.received,
            "backlog": sockets.is_full.then_some(socket.sent), "pid": owner.map(|(pid, _)| pid), "comm": owner.map(|(_, comm)| comm),
        })
    });
    let unclosed = told.unclosed.iter().map(|one| {
        serde_json::json!({"pid": one.pid, "comm": one.comm, "count": one.count, "older_than_a_minute": one.old, "oldest": one.oldest})
    });
    let spaces = sum.spaces.iter().map(|space| {
        serde_json::json!({
            "namespace": space.name, "own": space.is_own, "pid": space.pid, "comm": space.comm, "container": space.container, "processes": space.processes,
            "inuse": space.inuse, "time_wait": space.waiting,
        })
    });
    let unhashed =
        told.unhashed.iter().map(|(pid, comm, count)| serde_json::json!({"pid": pid, "comm": comm, "count": count}));
    serde_json::json!({
        "schema": "sickbay/sockets/v1",
        "states": sockets.by_state(),
        "ports": {"first": ports.first, "last": ports.last, "usable": ports.usable, "tcp_tw_reuse": ports.reuse},
        "destinations": pairs.collect::<Vec<_>>(),
        "shared_local_ports": sockets.shared(),
        "listeners": listeners.collect::<Vec<_>>(),
        "close_wait": unclosed.collect::<Vec<_>>(),
        "alloc": sum.alloc,
        "namespaces": spaces.collect::<Vec<_>>(),
        "in_no_table": sum.unhashed,
        "in_no_table_by_process": unhashed.collect::<Vec<_>>(),
        "remarks": remarks(told).iter().map(|text| text.render(style.lang)).collect::<Vec<_>>(),
    })
}

/// Those that listen, the fullest first.
fn listeners(sockets: &Sockets) -> Vec<&Socket> {
    let mut all: Vec<&Socket> = sockets.listeners().collect();
    all.sort_by_key(|socket| (std::cmp::Reverse(socket.received), socket.source.1));
    all
}

fn owner(owners: &Owners, socket: &Socket) -> String {
    owners.of(socket.inode).map(|(pid, comm)| printable(&format!("{comm} (PID {pid})"))).unwrap_or_default()
}

fn remarks(told: &Told) -> Vec<Text> {
    let mut all = Vec::new();
    if let Some(why) = &told.sum.unseen {
        all.push(tr!("what is in no table may also be of namespaces that were not counted: {why}", why = why.clone()));
    }
    if told.sum.spaces.len() > 1 {
        all.push(tr!("\"closed\" of ss -s has the sockets of all namespaces in it, and is no leak"));
    }
    if told.sockets.is_cut {
        all.push(tr!("there are more sockets than are looked at"));
    }
    if told.owners.partly {
        all.push(tr!("the descriptors of some processes could not be looked at: some sockets have no owner here"));
    }
    all
}
