//! Connections that fail, routes that are refused.

use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::procfs::{numbers, sockstat};

use super::{Cause, Says, Symptom, cause, nearly, open, read};
use crate::facts::Facts;
use crate::facts::memory::ledger::number_in;
use crate::facts::system::kernel::parameter;
use crate::tr;

pub(super) static SYMPTOMS: &[Symptom] = &[
    Symptom { words: &["rtnetlink answers: file exists", "siocaddrt: file exists"], causes: route_exists },
    Symptom { words: &["cannot assign requested address", "eaddrnotavail"], causes: no_address },
    Symptom { words: &["connection timed out", "etimedout"], causes: timed_out },
    Symptom { words: &["time wait bucket table overflow"], causes: time_wait },
    Symptom {
        words: &["nf_conntrack: table full", "ip_conntrack: table full"],
        causes: |facts| vec![conntrack(facts)],
    },
    Symptom { words: &["neighbour table overflow", "neighbor table overflow"], causes: neighbours },
    Symptom {
        words: &["unknown host", "name or service not known", "temporary failure in name resolution"],
        causes: no_name,
    },
    Symptom { words: &["module off not found"], causes: module_off },
];

/// Lines of /proc/net/route that are default routes: destination and mask 0, with their interface and metric.
fn default_routes(facts: &Arc<Facts>) -> Option<Vec<(String, String)>> {
    let text = read(facts, "/proc/net/route")?;
    let route = |line: &[u8]| {
        let line = line.to_str_lossy().into_owned();
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, "00000000", _, _, _, _, metric, "00000000", ..] = words.as_slice() else { return None };
        Some(((*interface).to_owned(), (*metric).to_owned()))
    };
    Some(text.lines().filter_map(route).collect())
}

fn route_exists(facts: &Arc<Facts>) -> Vec<Cause> {
    let what = tr!(
        "two interfaces or two network services set the same default route; only one should (DEFROUTE=no, GATEWAY= in one file)"
    );
    let first = match default_routes(facts) {
        None => open(what, tr!("{name} cannot be read", name = "/proc/net/route")),
        Some(routes) => {
            let list: Vec<String> =
                routes.iter().map(|(interface, metric)| format!("{interface} (metric {metric})")).collect();
            let seen =
                tr!("default routes: {list}", list = if list.is_empty() { "-".to_owned() } else { list.join(", ") });
            Cause { what, says: if routes.len() > 1 { Says::For } else { Says::Open }, seen }
        }
    };
    vec![
        first,
        open(
            tr!("the address or route already exists, from an earlier start: harmless; ip addr flush before a restart"),
            tr!("ip addr and ip route show what exists"),
        ),
    ]
}

fn ports(facts: &Arc<Facts>) -> Cause {
    let what = tr!("the local ports for connections to one address are used up");
    let range = read(facts, "/proc/sys/net/ipv4/ip_local_port_range").map(|text| numbers(&text)).unwrap_or_default();
    let stat = read(facts, "/proc/net/sockstat").unwrap_or_default();
    let value = |field| sockstat::value(&stat, "TCP", field);
    match (range.as_slice(), value("inuse"), value("tw")) {
        ([first, last, ..], Some(used), Some(waiting)) => {
            let ports = last.saturating_sub(*first) + 1;
            let all = used.saturating_add(waiting);
            // connect() prefers even ports: half of them is where it becomes hard (commit 07f4c90062f8).
            let seen = tr!(
                "{all} TCP sockets, {waiting} of them in TIME_WAIT; {ports} ports for each destination",
                all,
                waiting,
                ports
            );
            cause(what, all >= ports / 2, seen)
        }
        _ => open(what, tr!("{name} cannot be read", name = "/proc/net/sockstat")),
    }
}

fn no_address(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        ports(facts),
        open(
            tr!("a program binds to an address that no interface of this machine has"),
            tr!("ip addr shows the addresses there are"),
        ),
    ]
}

fn timed_out(facts: &Arc<Facts>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let routes = default_routes(facts);
    let none = routes.as_ref().is_some_and(Vec::is_empty);
    let seen = match &routes {
        Some(routes) if routes.is_empty() => tr!("there is no default route"),
        Some(_) => tr!("there is a default route"),
        None => tr!("{name} cannot be read", name = "/proc/net/route"),
    };
    causes.push(cause(tr!("this machine has no route out"), none, seen));
    // Gone since 4.12; before, it drops connections of clients behind one address.
    if let Some(value) = number_in(facts, "/proc/sys/net/ipv4/tcp_tw_recycle") {
        let what = tr!("net.ipv4.tcp_tw_recycle drops clients behind NAT: set it to 0");
        causes.push(cause(what, value != 0, tr!("it is {value} here", value)));
    }
    causes.push(conntrack(facts));
    let filters = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    let tables: Vec<String> = filters
        .iter()
        .filter_map(|path| read(facts, path))
        .flat_map(|text| text.lines().map(|line| line.to_str_lossy().into_owned()).collect::<Vec<_>>())
        .collect();
    let list = if tables.is_empty() { "-".to_owned() } else { tables.join(", ") };
    causes.push(open(
        tr!("a firewall drops it, on the way, at the other end, or here (nft list ruleset, iptables-save; the cloud's security group)"),
        tr!("iptables tables loaded here: {list}", list),
    ));
    let overflows = read(facts, "/proc/net/netstat").and_then(|text| of_netstat(&text, "ListenOverflows"));
    causes.push(open(
        tr!("a service here accepts too slowly and its queue overflows: net.core.somaxconn, and its own backlog"),
        tr!("{count} since boot", count = overflows.map_or("?".to_owned(), |count| count.to_string())),
    ));
    causes
}

/// A counter of /proc/net/netstat: names in one line, values in the next.
fn of_netstat(text: &[u8], name: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (names, values) = (names.to_str_lossy(), values.to_str_lossy());
        if let Some((_, value)) = names.split(' ').zip(values.split(' ')).find(|(known, _)| *known == name) {
            return value.trim().parse().ok();
        }
    }
    None
}

fn conntrack(facts: &Arc<Facts>) -> Cause {
    let value = |name: &str| number_in(facts, &format!("/proc/sys/net/netfilter/{name}"));
    let what = tr!("the connection tracking table is full: net.netfilter.nf_conntrack_max");
    match value("nf_conntrack_max") {
        Some(max) => nearly(what, value("nf_conntrack_count"), Some(max), "nf_conntrack_max"),
        None => cause(what, false, tr!("connections are not tracked here")),
    }
}

fn time_wait(facts: &Arc<Facts>) -> Vec<Cause> {
    let stat = read(facts, "/proc/net/sockstat").unwrap_or_default();
    let max = parameter(facts, "net.ipv4.tcp_max_tw_buckets").ok().flatten();
    let what = tr!(
        "more connections end than net.ipv4.tcp_max_tw_buckets keeps: raise it; keep connections open; never use tcp_tw_recycle"
    );
    vec![nearly(what, sockstat::value(&stat, "TCP", "tw"), max, "net.ipv4.tcp_max_tw_buckets")]
}

fn neighbours(facts: &Arc<Facts>) -> Vec<Cause> {
    let entries = read(facts, "/proc/net/arp").map(|text| (text.lines().count() as u64).saturating_sub(1));
    let max = parameter(facts, "net.ipv4.neigh.default.gc_thresh3").ok().flatten();
    let what =
        tr!("more neighbors than net.ipv4.neigh.default.gc_thresh3 allows: a large flat network, or many containers");
    vec![nearly(what, entries, max, "gc_thresh3")]
}

fn no_name(facts: &Arc<Facts>) -> Vec<Cause> {
    let text = read(facts, "/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<String> = text
        .lines()
        .filter_map(|line| {
            Some(line.trim_ascii().strip_prefix(b"nameserver")?.trim_ascii().to_str_lossy().into_owned())
        })
        .collect();
    let list = if servers.is_empty() { "-".to_owned() } else { servers.join(", ") };
    vec![
        cause(tr!("no name server is set in /etc/resolv.conf"), servers.is_empty(), tr!("name servers: {list}", list)),
        super::by_checks(
            facts,
            tr!("a name service library is missing (libnss_*)"),
            &["login-program-broken", "top-level-missing"],
        ),
        open(tr!("the name server does not answer"), tr!("dig @SERVER NAME shows whether it does")),
    ]
}

fn module_off(_facts: &Arc<Facts>) -> Vec<Cause> {
    vec![open(
        tr!("modprobe prints this for a line `alias NAME off`: harmless, the fault is what is reported next to it"),
        tr!("check /etc/modprobe.d"),
    )]
}
