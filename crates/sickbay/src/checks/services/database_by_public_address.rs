//! A program of a private network reaches its database by a public address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sickbay_formats::sock_diag::ESTABLISHED;

use crate::facts::Facts;
use crate::facts::network::sockets::{Owners, Sockets};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: queries that are slow at times although the database is idle, a bill for traffic, a bandwidth limit that is reached.
    ///
    /// ## What it finds
    /// Open connections from a private address (RFC 1918) of this machine to the usual port of MySQL, PostgreSQL, redis, MongoDB, memcached or SQL Server at a public
    /// IPv4 address: which program, where to, how many. A machine that has nothing but a public address is left alone, and so is IPv6, where public addresses are the rule inside, too.
    ///
    /// ## Why it matters
    /// The way leads out through a gateway that is shared and limited, and back in. It is slower and less even than the way inside, it is paid for, and whoever sits on it reads along where the
    /// protocol is not encrypted, which redis and memcached are not by themselves.
    ///
    /// ## What the repair does
    /// Nothing: the address stands in the configuration of the program. Databases of a cloud have an inner address beside the public one.
    ///
    /// ## By hand
    /// ```sh
    /// ss -tnp dport = :6379
    /// ```
    "database-by-public-address", Services, seed = ["N6"], proves = [], "a database is reached by a public address"
}

/// Ports on which databases listen, and whose they are.
const PORTS: [(u16, &str); 6] = [
    (1433, "SQL Server"),
    (3306, "MySQL"),
    (5432, "PostgreSQL"),
    (6379, "redis"),
    (11_211, "memcached"),
    (27_017, "MongoDB"),
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sockets = facts.get::<Sockets>()?;
    let outside = sockets.all.iter().filter_map(|socket| {
        let (address, port) = socket.destination;
        let (_, name) = PORTS.iter().find(|(known, _)| *known == port)?;
        let goes_out = socket.state == ESTABLISHED && is_private(socket.source.0) && is_public(address);
        goes_out.then(|| (socket, *name, SocketAddr::new(address, port)))
    });
    let outside: Vec<_> = outside.collect();
    // Who has them costs a look at every descriptor.
    if outside.is_empty() {
        return Ok(());
    }
    let owners = facts.get::<Owners>()?;
    let mut all: BTreeMap<(SocketAddr, &str), (u64, &str, u32, IpAddr)> = BTreeMap::new();
    for (socket, database, end) in outside {
        let (pid, comm) = owners.of(socket.inode).unwrap_or((0, ""));
        all.entry((end, comm)).or_insert((0, database, pid, socket.source.0)).0 += 1;
    }
    for ((end, comm), (count, database, pid, source)) in all {
        let (end, source) = (end.to_string(), source.to_string());
        let finding = found.note(match pid {
            0 => tr!("{database} at {end}, a public address, is used from inside", database, end = end.as_str()),
            _ => tr!(
                "{comm} (PID {pid}) reaches {database} at {end}, a public address",
                comm,
                pid,
                database,
                end = end.as_str()
            ),
        });
        finding.subject(Subject::Named(format!("{comm} {end}"))).extent(count);
        finding.note(tr!("{count} connections from {source}", count, source = source.as_str()));
        finding.why(tr!(
            "the way leads out through a gateway that is shared and limited, and back in: slower, paid for, and open to whoever listens where it is not encrypted"
        ));
        finding.detail("pid", pid).detail("count", count).detail("end", end);
        finding.by_hand(tr!("name the inner address of the database in the configuration of the program"));
    }
    Ok(())
}

fn is_private(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_private())
}

/// Whether packets to it leave every network of one's own.
fn is_public(address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    let [first, second, ..] = address.octets();
    // What is for carriers' own networks (RFC 6598), in which clouds have their services, and for tests of them (RFC 2544).
    let is_carriers = first == 100 && (64..128).contains(&second) || first == 198 && matches!(second, 18 | 19);
    let is_special = address.is_loopback() || address.is_link_local() || address.is_multicast() || first == 0;
    let is_private = address.is_private() || address == Ipv4Addr::BROADCAST || first >= 240;
    !(is_carriers || is_special || is_private)
}

#[cfg(test)]
mod tests {
    use super::is_public;

    #[test]
    fn addresses() {
        let is = |text: &str| is_public(text.parse().expect("an address"));
        for public in ["47.98.1.2", "8.8.8.8", "100.128.0.1", "172.32.0.1"] {
            assert!(is(public), "{public}");
        }
        for inner in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.100.2.136",
            "127.0.0.1",
            "169.254.1.1",
            "240.0.0.1",
            "2001:db8::1",
        ] {
            assert!(!is(inner), "{inner}");
        }
    }
}
