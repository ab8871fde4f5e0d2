//! The zones of firewalld, as the rules that it makes of them.

mod xml;

use std::collections::HashMap;

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
    /// Zones by name; those of `/etc` before those that are shipped.
    pub zones: Vec<(String, File)>,
    /// Services by name.
    pub services: HashMap<String, File>,
    /// Cards whose zones others tell (NetworkManager, ifcfg).
    pub cards: Vec<(String, String)>,
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

/// Reads what a start of it makes of its zones.
pub fn read(rules: &mut RuleSet, config: &Config) {
    let own = At { file: rules.file("firewalld"), line: 0 };
    let mut input: Vec<(String, At)> = Vec::new();
    let put = |input: &mut Vec<(String, At)>, text: &str, at: At| input.push((text.to_owned(), at));
    put(&mut input, "ct state established,related accept", own);
    put(&mut input, "ct status dnat accept", own);
    put(&mut input, "iifname lo accept", own);
    put(&mut input, "ct state invalid drop", own);
    let mut by_source = Vec::new();
    let mut by_card = Vec::new();
    for (name, card) in config.cards.iter().map(|(card, zone)| (zone, card)) {
        by_card.push((format!("iifname \"{card}\" goto filter_IN_{name}"), own));
    }
    for (name, file) in &config.zones {
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
                    let address = tag.of("address");
                    if !address.is_empty() {
                        let version = if address.contains(':') { "ip6" } else { "ip" };
                        by_source.push((format!("{version} saddr {address} goto filter_IN_{name}"), at));
                    } else if !tag.of("ipset").is_empty() {
                        by_source.push((format!("ip saddr @{} goto filter_IN_{name}", tag.of("ipset")), at));
                    }
                }
                "interface" if !in_rule && !tag.closes => {
                    by_card.push((format!("iifname \"{}\" goto filter_IN_{name}", tag.of("name")), at));
                }
                _ => {}
            }
        }
        zone(rules, config, name, &tags, number, &target);
    }
    input.extend(by_source);
    input.extend(by_card);
    let zone_at = config.zones.iter().position(|(name, _)| *name == config.default_zone);
    if zone_at.is_some() {
        input.push((format!("goto filter_IN_{}", config.default_zone), own));
    }
    input.push(("reject with icmpx admin-prohibited".to_owned(), own));
    let Some(chain) = rules.chain_mut(Family::Inet, TABLE, "filter_INPUT") else { return };
    (chain.hook, chain.at) = (Some((Hook::Input, 10)), own);
    for (text, at) in input {
        add(rules, "filter_INPUT", &text, None, at);
    }
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
fn zone(rules: &mut RuleSet, config: &Config, name: &str, tags: &[Tag], file: usize, target: &str) {
    let chain = format!("filter_IN_{name}");
    if rules.chain_mut(Family::Inet, TABLE, &chain).is_none() {
        return;
    }
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
            "icmp-block-inversion" => {}
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
        add(rules, &chain, &text, Some(what), at);
    }
    let line = tags.iter().find(|tag| tag.name == "zone").map_or(0, |tag| tag.line);
    let at = At { file, line };
    let (text, what) = match target {
        "ACCEPT" => ("accept", "target ACCEPT"),
        "DROP" => ("drop", "target DROP"),
        "%%REJECT%%" => ("reject", "target REJECT"),
        _ => {
            add(rules, &chain, "meta l4proto { icmp, ipv6-icmp } accept", None, at);
            ("reject with icmpx admin-prohibited", "nothing in the zone opens it")
        }
    };
    add(rules, &chain, text, Some(what.to_owned()), at);
}

/// The conditions that a service, a port or a protocol stands for.
fn opened(config: &Config, tag: &Tag) -> Vec<String> {
    match tag.name.as_str() {
        "service" => {
            let Some(file) = config.services.get(tag.of("name")) else { return vec!["unknown-service".to_owned()] };
            let ports = service(&file.bytes);
            ports.iter().filter_map(|one| condition(&one.protocol, &one.port, "dport")).collect()
        }
        "port" => condition(tag.of("protocol"), tag.of("port"), "dport").into_iter().collect(),
        "source-port" => condition(tag.of("protocol"), tag.of("port"), "sport").into_iter().collect(),
        "protocol" => vec![format!("meta l4proto {}", clean(tag.of("value")))],
        _ => Vec::new(),
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
        let not =
            if matches!(tag.of("invert").to_ascii_lowercase().as_str(), "yes" | "true" | "1") { "!= " } else { "" };
        match tag.name.as_str() {
            "source" | "destination" => {
                let side = if tag.name == "source" { "saddr" } else { "daddr" };
                let address = clean(tag.of("address"));
                match address.as_str() {
                    "" => before.push_str("unknown-source "),
                    address if address.contains(':') => before.push_str(&format!("ip6 {side} {not}{address} ")),
                    address => before.push_str(&format!("ip {side} {not}{address} ")),
                }
            }
            "service" | "port" | "protocol" | "source-port" => {
                has_element = true;
                what.extend(opened(config, tag));
            }
            "icmp-type" | "icmp-block" => {
                has_element = true;
                what.push("meta l4proto { icmp, ipv6-icmp }".to_owned());
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
