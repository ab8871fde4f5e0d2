//! The zones of firewalld, as the rules that it makes of them.

mod direct;
mod xml;

use std::collections::{HashMap, HashSet};

use self::xml::Tag;
use super::{At, Family, Hook, RuleSet, nft};

/// A file of it.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What it reads.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `DefaultZone` of firewalld.conf.
    pub default_zone: String,
    /// Zones by name; those of `/etc` before those that are shipped, which count where those of `/etc` are refused.
    pub zones: Vec<(String, File)>,
    /// Policies by name, in the same way.
    pub policies: Vec<(String, File)>,
    /// Services by name.
    pub services: HashMap<String, File>,
    /// Sets of addresses by name.
    pub sets: HashMap<String, File>,
    /// `direct.xml`: rules in iptables' own words.
    pub direct: Option<File>,
    /// Cards whose zones others tell (NetworkManager, ifcfg).
    pub cards: Vec<(String, String)>,
    /// NetworkManager tells the default zone the cards that no zone names: else a policy for packets from it does not count.
    pub has_manager: bool,
}

/// Its table.
const TABLE: &str = "firewalld";

/// A port with its protocol, as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// `tcp`
    pub protocol: String,
    /// `22`, `8000-8010`
    pub port: String,
}

/// The ports of a service.
pub fn service(bytes: &[u8]) -> Vec<Opened> {
    let tags = xml::tags(bytes);
    let opened = |tag: &Tag| match tag.name.as_str() {
        "port" => Some(Opened { protocol: tag.of("protocol").to_owned(), port: tag.of("port").to_owned() }),
        "protocol" => Some(Opened { protocol: tag.of("value").to_owned(), port: String::new() }),
        _ => None,
    };
    tags.iter().filter(|tag| !tag.closes).filter_map(opened).take(256).collect()
}

impl Config {
    /// Whether firewalld refuses a file of `/etc`, and then takes nothing of all that is there but what is shipped.
    fn is_refused(&self) -> bool {
        let own = |file: &File| file.path.starts_with("/etc/");
        let names_unknown = |file: &File| {
            let tags = xml::tags(&file.bytes);
            tags.iter().any(|tag| tag.name == "service" && !tag.closes && !self.services.contains_key(tag.of("name")))
        };
        self.zones
            .iter()
            .chain(&self.policies)
            .map(|(_, file)| file)
            .filter(|file| own(file))
            .any(|file| !xml::is_whole(&file.bytes) || names_unknown(file))
    }

    /// The files that count: of two with one name the first.
    fn chosen(all: &[(String, File)], stock: bool) -> Vec<(&str, &File)> {
        let mut seen = HashSet::new();
        let counts = all.iter().filter(|(_, file)| !stock || !file.path.starts_with("/etc/"));
        counts.filter(|(name, _)| seen.insert(name.as_str())).map(|(name, file)| (name.as_str(), file)).collect()
    }
}

/// A policy for packets to this machine.
struct Policy {
    name: String,
    priority: i32,
    /// `ANY`, or zones.
    from: Vec<String>,
}

/// Reads what a start of it makes of its zones and policies.
pub fn read(rules: &mut RuleSet, config: &Config) {
    let own = At { file: rules.file("firewalld"), line: 0 };
    let stock = config.is_refused();
    let zones = Config::chosen(&config.zones, stock);
    let policies: Vec<Policy> =
        Config::chosen(&config.policies, stock).into_iter().filter_map(|one| policy(rules, config, one)).collect();
    let mut input: Vec<(String, At)> = Vec::new();
    let put = |input: &mut Vec<(String, At)>, text: &str, at: At| input.push((text.to_owned(), at));
    put(&mut input, "ct state established,related accept", own);
    put(&mut input, "ct status dnat accept", own);
    put(&mut input, "iifname lo accept", own);
    put(&mut input, "ct state invalid drop", own);
    let mut by_source = Vec::new();
    let mut by_card = Vec::new();
    let mut parsed = Vec::new();
    for (name, card) in config.cards.iter().map(|(card, zone)| (zone, card)) {
        by_card.push((format!("iifname \"{card}\""), name.clone(), own));
    }
    for (name, file) in &zones {
        let number = rules.file(&file.path);
        let tags = xml::tags(&file.bytes);
        let target =
            tags.iter().find(|tag| tag.name == "zone").map(|tag| tag.of("target").to_owned()).unwrap_or_default();
        let mut in_rule = false;
        for tag in &tags {
            let at = At { file: number, line: tag.line };
            match tag.name.as_str() {
                "rule" => in_rule = !tag.closes && !tag.is_empty,
                "source" if !in_rule && !tag.closes => {
                    by_source.extend(source(config, tag, "saddr", "").map(|text| (text, (*name).to_owned(), at)));
                }
                "interface" if !in_rule && !tag.closes => {
                    let card = tag.of("name").replace(['"', ' '], "");
                    let card = card.strip_suffix('+').map_or_else(|| card.clone(), |head| format!("{head}*"));
                    by_card.push((format!("iifname \"{card}\""), (*name).to_owned(), at));
                }
                _ => {}
            }
        }
        parsed.push((*name, number, tags, target));
    }
    // Policies only count for zones to which something belongs.
    let bound = |name: &str| {
        by_source.iter().chain(&by_card).any(|(_, zone, _)| zone == name)
            || (config.has_manager && name == config.default_zone)
    };
    for (name, number, tags, target) in &parsed {
        let from = |policy: &&Policy| policy.from.iter().any(|from| from == "ANY" || from == name && bound(name));
        let own: Vec<&Policy> = policies.iter().filter(from).collect();
        zone(rules, config, (name, *number), tags, target, &own);
    }
    // A default zone that does not exist is public.
    let has = |name: &str| zones.iter().any(|(zone, _)| *zone == name);
    let default = if has(&config.default_zone) { config.default_zone.as_str() } else { "public" };
    let ways: Vec<(String, String, At)> = by_source
        .into_iter()
        .chain(by_card)
        .chain(has(default).then(|| (String::new(), default.to_owned(), own)))
        .collect();
    input.extend(ways.iter().map(|(text, zone, at)| (format!("{text} goto filter_IN_{zone}"), *at)));
    input.push(("reject with icmpx admin-prohibited".to_owned(), own));
    for (name, hook, is_nat) in
        [("nat_PREROUTING", (Hook::Prerouting, -90), true), ("filter_INPUT", (Hook::Input, 10), false)]
    {
        let Some(chain) = rules.chain_mut(Family::Inet, TABLE, name) else { return };
        (chain.hook, chain.is_nat, chain.at) = (Some(hook), is_nat, own);
    }
    for (text, zone, at) in &ways {
        if rules.chain_mut(Family::Inet, TABLE, &format!("nat_PRE_{zone}")).is_some() {
            add(rules, "nat_PREROUTING", &format!("{text} goto nat_PRE_{zone}"), None, *at);
        }
    }
    for (text, at) in input {
        add(rules, "filter_INPUT", &text, None, at);
    }
    if let Some(file) = &config.direct {
        direct::read(rules, file);
    }
}

/// The condition of a `source` or `destination`. A name that is not known is a word that no rule knows: it may match.
fn source(config: &Config, tag: &Tag, side: &str, not: &str) -> Option<String> {
    let (address, set) = (clean(tag.of("address")), tag.of("ipset"));
    let is_mac = address.split(':').count() == 6 && !address.contains("::") && address.len() == 17;
    Some(match (address.as_str(), set) {
        ("", "") if tag.of("mac").is_empty() => return None,
        ("", "") => "ether saddr x".to_owned(),
        ("", set) => {
            let (v6, list) = config.sets.get(set).map(|file| entries(&file.bytes)).unwrap_or_default();
            match list.as_str() {
                "" => "unknown-set".to_owned(),
                list => format!("{} {side} {not}{{ {list} }}", if v6 { "ip6" } else { "ip" }),
            }
        }
        (address, _) if is_mac => format!("ether saddr {not}{address}"),
        (address, _) if address.contains(':') => format!("ip6 {side} {not}{address}"),
        (address, _) => format!("ip {side} {not}{address}"),
    })
}

/// The addresses of a set, and whether they are of IPv6; nothing where it holds something else.
fn entries(bytes: &[u8]) -> (bool, String) {
    let tags = xml::tags(bytes);
    let kind = tags.iter().find(|tag| tag.name == "ipset").map(|tag| tag.of("type")).unwrap_or_default();
    let v6 = tags.iter().any(|tag| tag.of("name") == "family" && tag.of("value") == "inet6");
    if !matches!(kind, "hash:ip" | "hash:net") {
        return (v6, String::new());
    }
    let all: Vec<String> = tags
        .iter()
        .filter(|tag| tag.name == "entry" && !tag.closes && !tag.text.is_empty())
        .map(|tag| clean(&tag.text))
        .take(4096)
        .collect();
    // A set that is empty fits nobody.
    (v6, if all.is_empty() { if v6 { "::".to_owned() } else { "0.0.0.0".to_owned() } } else { all.join(", ") })
}

fn add(rules: &mut RuleSet, chain: &str, text: &str, comment: Option<String>, at: At) {
    let rule = nft::rule(text, Family::Inet, at, comment);
    if let Some(chain) = rules.chain_mut(Family::Inet, TABLE, chain) {
        chain.rules.push(rule);
    }
}

/// A word of a file that goes into a rule: nothing else than names and addresses.
fn clean(word: &str) -> String {
    word.chars().filter(|char| char.is_ascii_alphanumeric() || ".:/-_".contains(*char)).take(100).collect()
}

/// The chain of a zone.
fn zone(
    rules: &mut RuleSet,
    config: &Config,
    (name, file): (&str, usize),
    tags: &[Tag],
    target: &str,
    policies: &[&Policy],
) {
    let chain = format!("filter_IN_{name}");
    if rules.chain_mut(Family::Inet, TABLE, &chain).is_none() {
        return;
    }
    let own = At { file: rules.file("firewalld"), line: 0 };
    let jumps = |rules: &mut RuleSet, before: bool| {
        let mut all: Vec<&&Policy> = policies.iter().filter(|policy| (policy.priority < 0) == before).collect();
        all.sort_by_key(|policy| policy.priority);
        for policy in all {
            add(rules, &chain, &format!("jump filter_IN_policy_{}", policy.name), None, own);
        }
    };
    jumps(rules, true);
    rules_of(rules, config, &chain, tags, file);
    jumps(rules, false);
    forwards(rules, config, name, tags, file);
    let line = tags.iter().find(|tag| tag.name == "zone").map_or(0, |tag| tag.line);
    let at = At { file, line };
    let inverted = tags.iter().any(|tag| tag.name == "icmp-block-inversion");
    let (text, what) = match target {
        "ACCEPT" => ("accept", "target ACCEPT"),
        "DROP" => ("drop", "target DROP"),
        "%%REJECT%%" => ("reject", "target REJECT"),
        _ => {
            let verdict = if inverted { "reject with icmpx admin-prohibited" } else { "accept" };
            add(rules, &chain, &format!("meta l4proto {{ icmp, ipv6-icmp }} {verdict}"), None, at);
            ("reject with icmpx admin-prohibited", "nothing in the zone opens it")
        }
    };
    add(rules, &chain, text, Some(what.to_owned()), at);
}

/// What a policy makes, if it is for packets to this machine.
fn policy(rules: &mut RuleSet, config: &Config, (name, file): (&str, &File)) -> Option<Policy> {
    let number = rules.file(&file.path);
    let tags = xml::tags(&file.bytes);
    let zones = |kind: &str| {
        let all = tags.iter().filter(|tag| tag.name == kind && !tag.closes);
        all.map(|tag| tag.of("name").to_owned()).collect::<Vec<_>>()
    };
    let head = tags.iter().find(|tag| tag.name == "policy")?;
    if !zones("egress-zone").iter().any(|zone| zone == "HOST") {
        return None;
    }
    let name = clean(name);
    let chain = format!("filter_IN_policy_{name}");
    rules.chain_mut(Family::Inet, TABLE, &chain)?;
    rules_of(rules, config, &chain, &tags, number);
    let at = At { file: number, line: head.line };
    let target = head.of("target").to_owned();
    let text = match target.as_str() {
        "ACCEPT" => "accept",
        "DROP" => "drop",
        "REJECT" => "reject with icmpx admin-prohibited",
        _ => "",
    };
    if !text.is_empty() {
        add(rules, &chain, text, Some(format!("target {target}")), at);
    }
    Some(Policy { name, priority: head.of("priority").parse().unwrap_or(-1), from: zones("ingress-zone") })
}

/// Ports that lead to others: what is translated is let in.
fn forwards(rules: &mut RuleSet, config: &Config, zone: &str, tags: &[Tag], file: usize) {
    let chain = format!("nat_PRE_{zone}");
    let mut before = String::new();
    for tag in tags {
        match tag.name.as_str() {
            "rule" => {
                before.clear();
                match tag.of("family") {
                    "ipv4" if !tag.closes => before.push_str("meta nfproto ipv4 "),
                    "ipv6" if !tag.closes => before.push_str("meta nfproto ipv6 "),
                    _ => {}
                }
            }
            "source" if !before.is_empty() => {
                before.extend(source(config, tag, "saddr", inverts(tag)).map(|text| format!("{text} ")));
            }
            "destination" if !before.is_empty() => {
                before.extend(source(config, tag, "daddr", inverts(tag)).map(|text| format!("{text} ")));
            }
            "forward-port" if !tag.closes => {
                let Some(condition) = condition(tag.of("protocol"), tag.of("port"), "dport") else { continue };
                let (port, address) = (clean(tag.of("to-port")), clean(tag.of("to-addr")));
                let to = match (address.as_str(), port.as_str()) {
                    ("", "") => continue,
                    ("", port) => format!("redirect to :{port}"),
                    (address, "") => format!("dnat ip to {address}"),
                    (address, port) => format!("dnat ip to {address}:{port}"),
                };
                let at = At { file, line: tag.line };
                if let Some(chain) = rules.chain_mut(Family::Inet, TABLE, &chain) {
                    chain.is_nat = true;
                }
                add(rules, &chain, &format!("{before}{condition} {to}"), Some("forward-port".to_owned()), at);
            }
            _ => {}
        }
    }
}

fn inverts(tag: &Tag) -> &'static str {
    if matches!(tag.of("invert").to_ascii_lowercase().as_str(), "yes" | "true" | "1") { "!= " } else { "" }
}

/// What stands in a zone or policy, in the order in which firewalld puts it.
fn rules_of(rules: &mut RuleSet, config: &Config, chain: &str, tags: &[Tag], file: usize) {
    // (order, text, comment, place): rules with a negative priority, then what refuses, what opens, and the rest.
    let mut all: Vec<(i32, String, String, At)> = Vec::new();
    let mut number = 0;
    while let Some(tag) = tags.get(number) {
        let at = At { file, line: tag.line };
        if tag.closes {
            number += 1;
            continue;
        }
        match tag.name.as_str() {
            "service" => {
                let what = format!("service {}", tag.of("name"));
                for text in opened(config, tag) {
                    all.push((2, format!("{text} accept"), what.clone(), at));
                }
            }
            "port" | "protocol" | "source-port" => {
                for text in opened(config, tag) {
                    let what = format!("{} {}", tag.name, tag.of("port"));
                    all.push((2, format!("{text} accept"), what, at));
                }
            }
            "icmp-block" => {
                let inverted = tags.iter().any(|tag| tag.name == "icmp-block-inversion");
                let verdict = if inverted { "accept" } else { "reject with icmpx admin-prohibited" };
                let order = if inverted { 2 } else { 1 };
                for text in icmp(tag.of("name")) {
                    all.push((order, format!("{text} {verdict}"), format!("icmp-block {}", tag.of("name")), at));
                }
            }
            "rule" => {
                let end = tags.iter().skip(number + 1).position(|tag| tag.name == "rule" && tag.closes);
                let end = if tag.is_empty { number } else { end.map_or(tags.len(), |by| number + 1 + by) };
                let inside = tags.get(number + 1..end).unwrap_or_default();
                let priority: i32 = tag.of("priority").parse().unwrap_or(0);
                for (text, refuses) in rich(config, tag, inside) {
                    let order = match priority {
                        0 if refuses => 1,
                        0 => 2,
                        other if other < 0 => other.max(-40_000),
                        other => other.saturating_add(3),
                    };
                    all.push((order, text, "rich rule".to_owned(), at));
                }
                number = end;
            }
            _ => {}
        }
        number += 1;
    }
    all.sort_by_key(|(order, ..)| *order);
    for (_, text, what, at) in all {
        add(rules, chain, &text, Some(what), at);
    }
}

/// The conditions that a service, a port or a protocol stands for.
fn opened(config: &Config, tag: &Tag) -> Vec<String> {
    match tag.name.as_str() {
        "service" => {
            let mut all = Vec::new();
            service_with(config, tag.of("name"), &mut HashSet::new(), &mut all);
            all
        }
        "port" => condition(tag.of("protocol"), tag.of("port"), "dport").into_iter().collect(),
        "source-port" => condition(tag.of("protocol"), tag.of("port"), "sport").into_iter().collect(),
        "protocol" => vec![format!("meta l4proto {}", clean(tag.of("value")))],
        _ => Vec::new(),
    }
}

/// The conditions of a service and of those that it includes.
fn service_with(config: &Config, name: &str, seen: &mut HashSet<String>, all: &mut Vec<String>) {
    if seen.len() > 64 || !seen.insert(name.to_owned()) {
        return;
    }
    let Some(file) = config.services.get(name) else {
        all.push("unknown-service".to_owned());
        return;
    };
    let tags = xml::tags(&file.bytes);
    // Where it only counts for one destination.
    let to = tags.iter().find(|tag| tag.name == "destination");
    let (v4, v6) = to.map_or((String::new(), String::new()), |tag| (clean(tag.of("ipv4")), clean(tag.of("ipv6"))));
    for one in service(&file.bytes) {
        let Some(condition) = condition(&one.protocol, &one.port, "dport") else { continue };
        match (v4.as_str(), v6.as_str()) {
            ("", "") => all.push(condition),
            (v4, v6) => {
                all.extend((!v4.is_empty()).then(|| format!("ip daddr {v4} {condition}")));
                all.extend((!v6.is_empty()).then(|| format!("ip6 daddr {v6} {condition}")));
            }
        }
    }
    for tag in tags.iter().filter(|tag| tag.name == "include" && !tag.closes) {
        service_with(config, tag.of("service"), seen, all);
    }
}

/// A kind of ICMP by firewalld's name, as nft has it.
fn icmp(name: &str) -> Vec<String> {
    let name = clean(name);
    match name.as_str() {
        "" => Vec::new(),
        "neighbour-solicitation" => vec!["icmpv6 type nd-neighbor-solicit".to_owned()],
        "neighbour-advertisement" => vec!["icmpv6 type nd-neighbor-advert".to_owned()],
        "router-solicitation" => {
            vec!["icmp type router-solicitation".to_owned(), "icmpv6 type nd-router-solicit".to_owned()]
        }
        "router-advertisement" => {
            vec!["icmp type router-advertisement".to_owned(), "icmpv6 type nd-router-advert".to_owned()]
        }
        "redirect" => vec!["icmp type redirect".to_owned(), "icmpv6 type nd-redirect".to_owned()],
        "packet-too-big" => vec!["icmpv6 type packet-too-big".to_owned()],
        "destination-unreachable" | "time-exceeded" | "parameter-problem" | "echo-request" | "echo-reply" => {
            vec![format!("icmp type {name}"), format!("icmpv6 type {name}")]
        }
        "source-quench" | "timestamp-request" | "timestamp-reply" => vec![format!("icmp type {name}")],
        // A code of one of them: not told apart here.
        _ => vec!["icmp code x".to_owned()],
    }
}

fn condition(protocol: &str, port: &str, side: &str) -> Option<String> {
    let (protocol, port) = (clean(protocol), clean(port));
    match (protocol.as_str(), port.as_str()) {
        ("", _) => None,
        (_, "") => Some(format!("meta l4proto {protocol}")),
        ("tcp" | "udp" | "sctp" | "dccp", _) => Some(format!("{protocol} {side} {port}")),
        _ => None,
    }
}

/// A rich rule, and whether it refuses.
fn rich(config: &Config, rule: &Tag, inside: &[Tag]) -> Vec<(String, bool)> {
    let mut before = match rule.of("family") {
        "ipv4" => "meta nfproto ipv4 ".to_owned(),
        "ipv6" => "meta nfproto ipv6 ".to_owned(),
        _ => String::new(),
    };
    let mut what = Vec::new();
    let mut has_element = false;
    let mut verdict = None;
    for tag in inside.iter().filter(|tag| !tag.closes) {
        match tag.name.as_str() {
            "source" | "destination" => {
                let side = if tag.name == "source" { "saddr" } else { "daddr" };
                match source(config, tag, side, inverts(tag)) {
                    Some(text) => before.push_str(&format!("{text} ")),
                    None => before.push_str("unknown-source "),
                }
            }
            "service" | "port" | "protocol" | "source-port" => {
                has_element = true;
                what.extend(opened(config, tag));
            }
            "icmp-type" | "icmp-block" => {
                has_element = true;
                what.extend(icmp(tag.of("name")));
            }
            "forward-port" | "masquerade" | "tcp-mss-clamp" => return Vec::new(),
            "accept" => verdict = verdict.or(Some("accept")),
            "drop" => verdict = verdict.or(Some("drop")),
            "reject" => verdict = verdict.or(Some("reject")),
            "limit" if verdict.is_some() => before.push_str("limit rate 1/second "),
            _ => {}
        }
    }
    let Some(verdict) = verdict else { return Vec::new() };
    if !has_element {
        what.push(String::new());
    }
    what.into_iter().map(|what| (format!("{before}{what} {verdict}"), verdict != "accept")).collect()
}

#[cfg(test)]
#[path = "firewalld_tests.rs"]
mod tests;
