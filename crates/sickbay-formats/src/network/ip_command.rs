//! Commands that configure the network, as files hold them: ip(8), route(8), ifconfig(8), and lines of shell made of them.

use std::net::IpAddr;

use super::address::{self, Cidr};
use super::kernel::{Address, Hop, How, Refused, Rule, Scope, Wanted};
use super::{Outcome, Place, What};

/// What a route may ask for besides, by its number (RTAX_*), in the order in which ip(8) prints it.
pub(super) const METRICS: [(u16, &str); 9] = [
    (2, "mtu"),
    (3, "window"),
    (6, "ssthresh"),
    (7, "cwnd"),
    (8, "advmss"),
    (9, "reordering"),
    (10, "hoplimit"),
    (11, "initcwnd"),
    (14, "initrwnd"),
];

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With 0.
    Well,
    /// It failed, and said so.
    Badly,
    /// What it does is not known; it is taken to have ended well.
    Unknown,
}

/// What is wrong with the words of a route or rule.
enum Bad {
    Garbage(String),
    Refused(Refused),
}

impl From<Refused> for Bad {
    fn from(refused: Refused) -> Bad {
        Bad::Refused(refused)
    }
}

/// What `ip route add WORDS` does.
pub(super) fn route_add(words: &[&str], v6: bool, how: How, place: &Place, outcome: &mut Outcome) -> Ended {
    let result = match wanted(words, v6, place, outcome) {
        Ok(wanted) => outcome.kernel.add_route(wanted, how).map_err(Bad::Refused),
        Err(bad) => Err(bad),
    };
    ended(result, words, place, outcome)
}

/// The route that these words mean; what is wrong with them is told.
pub(super) fn route_of(words: &[&str], place: &Place, outcome: &mut Outcome) -> Option<Wanted> {
    match wanted(words, false, place, outcome) {
        Ok(wanted) => Some(wanted),
        Err(bad) => {
            ended(Err(bad), words, place, outcome);
            None
        }
    }
}

fn ended(result: Result<(), Bad>, words: &[&str], place: &Place, outcome: &mut Outcome) -> Ended {
    match result {
        Ok(()) => Ended::Well,
        Err(Bad::Garbage(word)) => {
            outcome.complain(place, What::Garbage(word));
            Ended::Badly
        }
        Err(Bad::Refused(refused)) => {
            outcome.complain(place, What::RouteRefused(words.join(" "), refused.words()));
            Ended::Badly
        }
    }
}

fn wanted(words: &[&str], v6: bool, place: &Place, outcome: &Outcome) -> Result<Wanted, Bad> {
    let mut dst: Option<Cidr> = None;
    let mut route = Wanted { from: vec![place.clone()], ..Wanted::to(Cidr::everything(v6)) };
    let mut words = words.iter().copied().peekable();
    let garbage = |word: &str| Bad::Garbage(word.to_owned());
    let mut asked: Vec<(&str, String)> = Vec::new();
    while let Some(word) = words.next() {
        if word == "nexthop" {
            let mut hop = Hop { via: None, dev: String::new(), weight: 1, onlink: false };
            while let Some(word) = words.next_if(|word| *word != "nexthop") {
                let mut value = || words.next().ok_or_else(|| garbage(word));
                match word {
                    "via" => {
                        let mut text = value()?;
                        if matches!(text, "inet" | "inet6") {
                            text = value()?;
                        }
                        hop.via = Some(text.parse::<IpAddr>().map_err(|_| garbage(text))?);
                    }
                    "dev" => hop.dev = value()?.to_owned(),
                    "weight" => {
                        let text = value()?;
                        hop.weight = text
                            .parse()
                            .ok()
                            .filter(|weight| (1..=256).contains(weight))
                            .ok_or_else(|| garbage(text))?;
                    }
                    "onlink" => hop.onlink = true,
                    other => return Err(garbage(other)),
                }
            }
            route.hops.push(hop);
            continue;
        }
        let mut value = || words.next().ok_or_else(|| garbage(word));
        match word {
            "via" | "gw" => {
                let mut text = value()?;
                if matches!(text, "inet" | "inet6") {
                    text = value()?;
                }
                route.via = Some(text.parse::<IpAddr>().map_err(|_| garbage(text))?);
            }
            "dev" | "oif" => route.dev = Some(value()?.to_owned()),
            "metric" | "priority" | "preference" => {
                let text = value()?;
                route.metric = Some(text.parse().map_err(|_| garbage(text))?);
            }
            "table" => {
                let text = value()?;
                route.table = outcome.kernel.table_number(text).filter(|t| *t != 0).ok_or_else(|| garbage(text))?;
            }
            "scope" => {
                route.scope = Some(match value()? {
                    "global" | "universe" | "0" => Scope::Global,
                    "site" | "200" => Scope::Site,
                    "link" | "253" => Scope::Link,
                    "host" | "254" => Scope::Host,
                    other => return Err(garbage(other)),
                });
            }
            "proto" | "protocol" => {
                route.proto = match value()? {
                    "static" | "4" => "static",
                    "kernel" | "2" => "kernel",
                    "dhcp" | "16" => "dhcp",
                    "ra" | "9" => "ra",
                    _ => "boot",
                };
            }
            "src" => {
                let text = value()?;
                route.src = Some(text.parse().map_err(|_| garbage(text))?);
            }
            "onlink" => route.onlink = true,
            "mtu" | "advmss" | "window" | "rtt" | "rttvar" | "initcwnd" | "initrwnd" | "hoplimit" | "realms"
            | "tos" | "dsfield" | "pref" | "weight" | "quickack" | "cwnd" | "ssthresh" | "reordering" | "rto_min"
            | "expires" | "congctl" | "features" => {
                let mut text = value()?;
                let locked = text == "lock";
                if locked {
                    text = value()?;
                }
                if let Some((_, name)) = METRICS.iter().find(|(_, name)| *name == word) {
                    asked.push((name, format!("{name}{} {text}", if locked { " lock" } else { "" })));
                }
            }
            "unicast" if dst.is_none() => {}
            "blackhole" if dst.is_none() => route.kind = "blackhole",
            "unreachable" if dst.is_none() => route.kind = "unreachable",
            "prohibit" if dst.is_none() => route.kind = "prohibit",
            "throw" if dst.is_none() => route.kind = "throw",
            word => {
                let text = if word == "to" { value()? } else { word };
                if dst.is_some() {
                    return Err(garbage(text));
                }
                dst = Some(Cidr::parse_for_ip(text, v6).ok_or_else(|| garbage(text))?);
            }
        }
    }
    let in_order =
        |(_, name): &(u16, &str)| asked.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone());
    route.more = METRICS.iter().filter_map(in_order).collect::<Vec<_>>().join(" ");
    route.dst = dst.ok_or(Bad::Refused(Refused::Invalid))?;
    // `default` belongs to the family of the router, where ip was not told of one.
    if let Some(via) = route.via.or(route.hops.first().and_then(|hop| hop.via))
        && route.dst.is_default()
    {
        route.dst = Cidr::everything(via.is_ipv6());
    }
    Ok(route)
}

/// What `ip rule add WORDS` does.
pub(super) fn rule_add(words: &[&str], v6: bool, place: &Place, outcome: &mut Outcome) -> Ended {
    let result = rule(words, v6, place, outcome).and_then(|rule| outcome.kernel.add_rule(rule).map_err(Bad::Refused));
    ended(result, words, place, outcome)
}

/// The rule that these words mean, if they mean one.
pub(super) fn rule_of(words: &[&str], v6: bool, place: &Place, outcome: &Outcome) -> Option<Rule> {
    rule(words, v6, place, outcome).ok()
}

fn rule(words: &[&str], v6: bool, place: &Place, outcome: &Outcome) -> Result<Rule, Bad> {
    let mut rule = Rule::new(v6, "boot", Some(place.clone()));
    let mut more = Vec::new();
    let garbage = |word: &str| Bad::Garbage(word.to_owned());
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| garbage(word));
        let network = |text: &str| match Cidr::parse_for_ip(text, v6) {
            Some(cidr) if cidr.is_default() => Ok(None),
            Some(cidr) => Ok(Some(cidr)),
            None => Err(garbage(text)),
        };
        match word {
            "not" => rule.not = true,
            "from" => rule.from = network(value()?)?,
            "to" => rule.to = network(value()?)?,
            "table" | "lookup" => {
                let text = value()?;
                rule.table = outcome.kernel.table_number(text).ok_or_else(|| garbage(text))?;
            }
            "priority" | "pref" | "preference" | "order" | "prio" => {
                let text = value()?;
                rule.priority = Some(text.parse().map_err(|_| garbage(text))?);
            }
            "fwmark" => {
                let text = value()?;
                let mark = match text.strip_prefix("0x") {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => text.parse().ok(),
                };
                more.push((0, format!("fwmark 0x{:x}", mark.ok_or_else(|| garbage(text))?)));
            }
            "iif" | "dev" => more.push((1, format!("iif {}", value()?))),
            "oif" => more.push((2, format!("oif {}", value()?))),
            "tos" | "dsfield" | "realms" | "protocol" | "suppress_prefixlength" | "type" => drop(value()?),
            other => return Err(garbage(other)),
        }
    }
    rule.v6 |= rule.from.or(rule.to).is_some_and(Cidr::is_v6);
    rule.more = in_order(more);
    Ok(rule)
}

/// What a rule asks for besides, each with its place in the order of ip(8).
pub(super) fn in_order(mut more: Vec<(u8, String)>) -> String {
    more.sort();
    more.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
}

/// What a line of shell does: commands with `&&`, `||` and `;` between them. Variables are the caller's to put in.
pub(super) fn line(text: &str, place: &Place, outcome: &mut Outcome) -> Ended {
    let mut last = Ended::Well;
    let mut joint = ";";
    for (part, next) in parts(text) {
        let skipped = match joint {
            "&&" => last == Ended::Badly,
            "||" => last != Ended::Badly,
            _ => false,
        };
        if !skipped {
            let before = outcome.complaints.len();
            last = command(part, place, outcome);
            // `|| true` says that it may fail.
            if last == Ended::Badly && next == "||" {
                outcome.complaints.truncate(before);
            }
        }
        joint = next;
    }
    last
}

/// The commands of a line, each with what joins it to the next one.
fn parts(text: &str) -> Vec<(&str, &'static str)> {
    let mut all = Vec::new();
    let mut rest = text;
    loop {
        let found = ["&&", "||", ";", "\n"].iter().filter_map(|joint| Some((rest.find(joint)?, *joint))).min();
        let Some((at, joint)) = found else { break };
        all.push((rest.get(..at).unwrap_or_default(), joint));
        rest = rest.get(at + joint.len()..).unwrap_or_default();
    }
    all.push((rest, ""));
    all
}

/// What one command does.
fn command(text: &str, place: &Place, outcome: &mut Outcome) -> Ended {
    let text = text.split(" #").next().unwrap_or_default();
    let mut words: Vec<&str> = text.split_whitespace().filter(|word| !word.contains(['>', '<'])).collect();
    if text.contains(['`', '$', '(', '|', '{']) && text.contains("ip ") {
        outcome.complain(place, What::UnknownCommand(text.trim().to_owned()));
        return Ended::Unknown;
    }
    while words.first().is_some_and(|word| matches!(*word, "!" | "exec" | "sudo" | "then" | "do" | "command")) {
        words.remove(0);
    }
    let Some((program, words)) = words.split_first() else { return Ended::Well };
    match program.rsplit('/').next().unwrap_or_default() {
        "ip" => ip(words, text, place, outcome),
        "route" => route(words, place, outcome),
        "ifconfig" => ifconfig(words, text, place, outcome),
        "true" | ":" | "echo" | "logger" | "sysctl" | "ethtool" | "sleep" | "iptables" | "ip6tables" | "nft"
        | "modprobe" | "iptables-restore" | "ip6tables-restore" | "ebtables" | "tc" | "udevadm" | "iwconfig"
        | "exit" | "test" | "[" | "resolvconf" | "hostname" | "touch" | "mkdir" | "chmod" | "cat" | "date"
        | "systemctl" | "service" | "wondershaper" => Ended::Well,
        "false" => Ended::Badly,
        _ => {
            outcome.complain(place, What::UnknownCommand(text.trim().to_owned()));
            Ended::Unknown
        }
    }
}

fn ip(words: &[&str], text: &str, place: &Place, outcome: &mut Outcome) -> Ended {
    let mut v6 = false;
    let mut words = words;
    while let Some((option, rest)) = words.split_first() {
        match *option {
            "-6" | "-family6" => v6 = true,
            "-f" | "-family" => {
                v6 = rest.first() == Some(&"inet6");
                words = rest.get(1..).unwrap_or_default();
                continue;
            }
            other if other.starts_with('-') => {}
            _ => break,
        }
        words = rest;
    }
    let (object, verb) = (words.first().copied().unwrap_or_default(), words.get(1).copied().unwrap_or_default());
    let rest = words.get(2..).unwrap_or_default();
    let is = |word: &str, whole: &str, least: usize| word.len() >= least && whole.starts_with(word);
    let v6 = v6 || rest.iter().take(3).any(|word| word.contains("::") || word.parse::<std::net::Ipv6Addr>().is_ok());
    if is(object, "route", 1) && !is(object, "rule", 2) {
        match verb {
            verb if is(verb, "add", 1) => return route_add(rest, v6, How::Add, place, outcome),
            verb if is(verb, "append", 2) => return route_add(rest, v6, How::Append, place, outcome),
            verb if is(verb, "prepend", 1) => return route_add(rest, v6, How::Prepend, place, outcome),
            verb if is(verb, "replace", 1) || is(verb, "change", 1) => {
                return route_add(rest, v6, How::Replace, place, outcome);
            }
            verb if is(verb, "delete", 1) => {
                let Ok(wanted) = wanted(rest, v6, place, outcome) else { return Ended::Badly };
                let like = |one: &super::kernel::Route| {
                    one.dst == wanted.dst.network()
                        && one.table == wanted.table
                        && (wanted.via.is_none() || one.via == wanted.via)
                        && wanted.dev.as_ref().is_none_or(|dev| one.dev == *dev)
                        && wanted.metric.is_none_or(|metric| one.metric == metric)
                };
                return match outcome.kernel.routes.iter().position(like) {
                    Some(at) => {
                        outcome.kernel.routes.remove(at);
                        Ended::Well
                    }
                    None => Ended::Badly,
                };
            }
            "flush" | "show" | "list" | "ls" | "get" | "" => return Ended::Well,
            _ => {}
        }
    } else if is(object, "rule", 2) {
        match verb {
            verb if is(verb, "add", 1) => return rule_add(rest, v6, place, outcome),
            verb if is(verb, "delete", 1) => return Ended::Well,
            _ => {}
        }
    } else if is(object, "address", 1) {
        match verb {
            verb if is(verb, "add", 1) || is(verb, "replace", 1) || is(verb, "change", 1) => {
                let dev = after(rest, "dev");
                let peer = after(rest, "peer").or(after(rest, "remote"));
                let own = rest.iter().filter(|word| **word != "local" && Some(**word) != peer);
                let cidr = own.copied().find_map(|word| Cidr::parse_for_ip(word, v6));
                let (Some(dev), Some(cidr)) = (dev, cidr) else {
                    outcome.complain(place, What::BadAddress(rest.first().copied().unwrap_or_default().to_owned()));
                    return Ended::Badly;
                };
                if let Some(peer) = peer.and_then(|peer| Cidr::parse_for_ip(peer, v6)) {
                    // The prefix is that of the other end.
                    let cidr = Cidr { address: cidr.address, prefix: peer.prefix };
                    let address = Address { peer: Some(peer), ..Address::new(cidr, vec![place.clone()]) };
                    return add_whole(dev, address, place, outcome);
                }
                return add_address(dev, cidr, place, outcome);
            }
            verb if is(verb, "flush", 1) => {
                if let Some(dev) = after(rest, "dev").or(rest.first().copied()) {
                    outcome.kernel.flush(dev);
                }
                return Ended::Well;
            }
            _ => {}
        }
    } else if is(object, "link", 1) {
        match verb {
            verb if is(verb, "set", 1) => {
                let Some(dev) = after(rest, "dev").or(rest.first().copied()) else { return Ended::Badly };
                if let Some(mtu) = after(rest, "mtu").and_then(|mtu| mtu.parse().ok())
                    && let Some(link) = outcome.kernel.link_mut(dev)
                {
                    link.mtu = Some(mtu);
                }
                if rest.contains(&"up") {
                    return up(dev, place, outcome);
                }
                if outcome.kernel.link(dev).is_none() {
                    outcome.complain(place, What::NoCard(dev.to_owned()));
                    return Ended::Badly;
                }
                return Ended::Well;
            }
            verb if is(verb, "add", 1) => {
                if let Some(name) = after(rest, "name").or(after(rest, "dev")).or(rest.first().copied()) {
                    outcome.kernel.add_link(name, None);
                }
                return Ended::Well;
            }
            _ => {}
        }
    } else if is(object, "neighbour", 1) || is(object, "neighbor", 1) || is(object, "tunnel", 1) {
        if is(object, "tunnel", 1)
            && is(verb, "add", 1)
            && let Some(name) = after(rest, "name").or(rest.first().copied())
        {
            outcome.kernel.add_link(name, None);
        }
        return Ended::Well;
    }
    outcome.complain(place, What::UnknownCommand(text.trim().to_owned()));
    Ended::Unknown
}

/// The word behind another one.
fn after<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == key).and_then(|at| words.get(at + 1)).copied()
}

/// Sets a link up.
pub(super) fn up(dev: &str, place: &Place, outcome: &mut Outcome) -> Ended {
    match outcome.kernel.up(dev) {
        Ok(()) => Ended::Well,
        Err(_) => {
            outcome.complain(place, What::NoCard(dev.to_owned()));
            Ended::Badly
        }
    }
}

/// Gives a link an address; that it has it already is told and is no harm.
pub(super) fn add_address(dev: &str, cidr: Cidr, place: &Place, outcome: &mut Outcome) -> Ended {
    add_whole(dev, Address::new(cidr, vec![place.clone()]), place, outcome)
}

fn add_whole(dev: &str, address: Address, place: &Place, outcome: &mut Outcome) -> Ended {
    match outcome.kernel.add(dev, address) {
        Ok(()) => Ended::Well,
        Err(Refused::NoDevice) => {
            outcome.complain(place, What::NoCard(dev.to_owned()));
            Ended::Badly
        }
        Err(_) => Ended::Badly,
    }
}

/// `route add -net 10.0.0.0/8 gw 10.0.0.1`, `route add default gw 10.0.0.1 eth0`
fn route(words: &[&str], place: &Place, outcome: &mut Outcome) -> Ended {
    let mut v6 = false;
    let mut rest: Vec<&str> = Vec::new();
    let mut iterator = words.iter().copied();
    let mut verb = "";
    while let Some(word) = iterator.next() {
        match word {
            "-A" | "-6" => v6 = word == "-6" || iterator.next() == Some("inet6"),
            "-4" | "-n" | "-net" | "-host" | "-v" => {}
            "add" | "del" if verb.is_empty() => verb = word,
            word => rest.push(word),
        }
    }
    if verb != "add" {
        return Ended::Well;
    }
    let mut made: Vec<String> = Vec::new();
    let mut rest = rest.into_iter();
    let target = rest.next().unwrap_or_default().to_owned();
    while let Some(word) = rest.next() {
        match word {
            "netmask" => {
                let mask = rest.next().unwrap_or_default();
                let Some(prefix) = address::mask(mask) else {
                    outcome.complain(place, What::BadMask(mask.to_owned()));
                    return Ended::Badly;
                };
                made.insert(0, format!("{target}/{prefix}"));
            }
            "gw" => made.extend(["via".to_owned(), rest.next().unwrap_or_default().to_owned()]),
            "metric" | "dev" | "mss" | "window" | "irtt" => {
                let value = rest.next().unwrap_or_default().to_owned();
                if matches!(word, "metric" | "dev") {
                    made.extend([word.to_owned(), value]);
                }
            }
            "reject" => made.insert(0, "unreachable".to_owned()),
            dev => made.extend(["dev".to_owned(), dev.to_owned()]),
        }
    }
    if !made.iter().any(|word| word.starts_with(&format!("{target}/"))) {
        let without = target == "0.0.0.0" || target == "0.0.0.0/0";
        made.insert(0, if without { "default".to_owned() } else { target });
    }
    let made: Vec<&str> = made.iter().map(String::as_str).collect();
    route_add(&made, v6, How::Add, place, outcome)
}

/// `ifconfig eth0 10.0.0.5 netmask 255.255.255.0 up`
fn ifconfig(words: &[&str], text: &str, place: &Place, outcome: &mut Outcome) -> Ended {
    let Some((dev, rest)) = words.split_first() else { return Ended::Well };
    if rest.first() == Some(&"down") {
        return Ended::Well;
    }
    let ended = up(dev, place, outcome);
    let Some(Ok(address)) = rest.first().map(|text| text.parse::<std::net::Ipv4Addr>()) else {
        if !rest
            .iter()
            .all(|word| matches!(*word, "up" | "promisc" | "multicast" | "mtu") || word.parse::<u32>().is_ok())
        {
            outcome.complain(place, What::UnknownCommand(text.trim().to_owned()));
        }
        return ended;
    };
    let prefix = match after(rest, "netmask") {
        Some(mask) => match address::mask(mask) {
            Some(prefix) => prefix,
            None => {
                outcome.complain(place, What::BadMask(mask.to_owned()));
                return Ended::Badly;
            }
        },
        None => {
            let prefix = address::of_class(address);
            outcome.complain(place, What::NoMask(Cidr { address: address.into(), prefix }));
            prefix
        }
    };
    add_address(dev, Cidr { address: address.into(), prefix }, place, outcome)
}

#[cfg(test)]
mod tests {
    use super::super::Card;
    use super::super::kernel::{Kernel, MAIN};
    use super::*;

    #[test]
    fn lines_of_shell() {
        let kernel = Kernel::new(&[Card { name: "eth0".into(), mac: None }]);
        let mut outcome = Outcome { kernel, ..Outcome::default() };
        let place = Place { path: "/f".into(), line: 1 };
        let mut run = |text: &str| line(text, &place, &mut outcome);
        assert_eq!(run("ip link set eth0 up && ip addr add 10.0.0.5/24 dev eth0"), Ended::Well);
        assert_eq!(run("/sbin/ip r a default via 10.0.0.1"), Ended::Well);
        assert_eq!(run("ip route add default via 10.0.0.2"), Ended::Badly);
        assert_eq!(run("ip route add default via 10.0.0.2 || true"), Ended::Well);
        assert_eq!(run("route add -net 10.8.0.0 netmask 255.255.0.0 gw 10.0.0.1"), Ended::Well);
        assert_eq!(run("ip route add 10.9.0.0/16 via 10.0.0.1 # x"), Ended::Well);
        assert_eq!(run("ifconfig eth0:1 172.31.231.158"), Ended::Well);
        assert_eq!(run("ip -6 route add default dev eth0"), Ended::Well);
        assert_eq!(
            outcome.kernel.route_lines(MAIN),
            [
                "default via 10.0.0.1 dev eth0",
                "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.5",
                "10.8.0.0/16 via 10.0.0.1 dev eth0",
                "10.9.0.0/16 via 10.0.0.1 dev eth0",
                "172.31.0.0/16 dev eth0 proto kernel scope link src 172.31.231.158",
                "default dev eth0 metric 1024 pref medium",
            ]
        );
        assert_eq!(outcome.complaints.len(), 2);
    }
}
