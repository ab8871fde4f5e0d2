//! Pools of connections that are used up, seen from outside: a program whose clients wait to be accepted, while all of its connections to one
//! server have carried nothing for minutes. Whatever the client, nothing of the program itself is read.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use sickbay_formats::sock_diag::Socket;
use sickbay_target::{tcp_ages, tcp_sockets};

use crate::facts::Facts;
use crate::facts::network::sockets::{Owners, Sockets};
use crate::model::outcome::Skip;
use crate::tr;

/// A listener whose clients wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The listener's own end.
    pub end: SocketAddr,
    /// Connections that wait to be accepted.
    pub count: u32,
    /// How many may.
    pub places: u32,
}

/// Connections of a process to one server, none of which carries anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// The other end.
    pub server: SocketAddr,
    /// How many connections.
    pub size: u64,
    /// The one that carried something last did so that long ago, in milliseconds.
    pub idle: u32,
    /// Its listener with the most that wait.
    pub waiting: Waiting,
}

/// So many sockets are asked for.
const MOST: usize = 400_000;
/// Fewer connections are no pool.
const FEWEST: u64 = 4;

/// What clients of databases call a pool's size when nobody sets it, and what people set: 8 (commons-pool), 10 (HikariCP), 100 (tomcat-jdbc), 5 and 15 (SQLAlchemy).
fn is_size(count: u64) -> bool {
    matches!(count, 4 | 5 | 6 | 8 | 12 | 15 | 16 | 24 | 32 | 48 | 64 | 128 | 256 | 512 | 1024)
        || count.is_multiple_of(10)
        || count == 25
        || count == 75
}

/// Asks the kernel how long connections have been idle, if somebody waits at all.
pub fn used_up(facts: &Facts, threshold: u32) -> Result<Vec<Pool>, Skip> {
    let sockets = facts.get::<Sockets>()?;
    if !sockets.is_full {
        return Err(Skip::NotApplicable(tr!("this kernel does not tell how long its queues may be")));
    }
    if !sockets.listeners().any(is_filling) {
        return Ok(Vec::new());
    }
    let owners = facts.get::<Owners>()?;
    let Ok(answer) = facts.root().ask("sock_diag of TCP, with ages", || tcp_ages(MOST)) else { return Ok(Vec::new()) };
    let (established, _) = tcp_sockets(&answer, MOST);
    Ok(of(&sockets, &owners, &established, threshold))
}

/// Half of its places are taken. Of a program that accepts, none is for long.
fn is_filling(listener: &Socket) -> bool {
    listener.received > 1 && listener.received > listener.sent / 2
}

/// The pools among these, of processes whose clients wait.
pub fn of(sockets: &Sockets, owners: &Owners, established: &[Socket], threshold: u32) -> Vec<Pool> {
    let mut filling: BTreeMap<u32, (String, Waiting)> = BTreeMap::new();
    let mut served: Vec<u16> = Vec::new();
    for listener in sockets.listeners() {
        served.push(listener.source.1);
        let Some((pid, comm)) = owners.of(listener.inode).filter(|_| is_filling(listener)) else { continue };
        let end = SocketAddr::new(listener.source.0, listener.source.1);
        let waiting = Waiting { end, count: listener.received, places: listener.sent };
        let known = filling.entry(pid).or_insert((comm.to_owned(), waiting));
        if known.1.count < waiting.count {
            known.1 = waiting;
        }
    }
    // Of each process and server: how many, and how long the least idle one is; `None` where that is not known of one.
    let mut all: BTreeMap<(u32, IpAddr, u16), (u64, Option<u32>)> = BTreeMap::new();
    for socket in established {
        // What it accepted are its clients.
        if served.contains(&socket.source.1) {
            continue;
        }
        let Some((pid, _)) = owners.of(socket.inode).filter(|(pid, _)| filling.contains_key(pid)) else { continue };
        // Its own clients, where a program calls itself.
        let is_own = socket.destination.0 == socket.source.0 || socket.destination.0.is_loopback();
        if is_own && filling.get(&pid).is_some_and(|(_, waiting)| waiting.end.port() == socket.destination.1) {
            continue;
        }
        // Data that waits to be read or to be acknowledged: it is in use.
        let quiet = socket.idle.zip(socket.silent).map(|(idle, silent)| idle.min(silent));
        let quiet = if socket.received > 0 || socket.sent > 0 { Some(0) } else { quiet };
        let one = all.entry((pid, socket.destination.0, socket.destination.1)).or_insert((0, quiet));
        one.0 += 1;
        one.1 = one.1.zip(quiet).map(|(known, new)| known.min(new));
    }
    let pools = all.into_iter().filter_map(|((pid, address, port), (size, idle))| {
        let idle = idle.filter(|idle| *idle >= threshold)?;
        let (comm, waiting) = filling.get(&pid)?;
        let server = SocketAddr::new(address, port);
        (size >= FEWEST && is_size(size)).then(|| Pool {
            pid,
            comm: comm.clone(),
            server,
            size,
            idle,
            waiting: *waiting,
        })
    });
    pools.collect()
}
