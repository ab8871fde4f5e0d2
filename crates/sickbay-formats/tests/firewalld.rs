//! What is read out of firewalld's files against the rules that firewalld 1.3 really made of them. Each file of `tests/firewalld` has the
//! configuration, and the verdicts on 36 packets as they came out of its own `nft list ruleset` and `iptables-save`, which
//! `filter_truth.rs` holds against real packets.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use sickbay_formats::filter::RuleSet;
use sickbay_formats::filter::firewalld::{self, Config, File};
use sickbay_formats::filter::packet::{Host, Packet};
use sickbay_formats::network::address::Cidr;

/// What is shipped, as far as these configurations meet it.
const ZONES: [(&str, &str); 7] = [
    ("public", "<zone><service name=\"ssh\"/><service name=\"dhcpv6-client\"/><forward/></zone>"),
    ("drop", "<zone target=\"DROP\"><forward/></zone>"),
    ("block", "<zone target=\"%%REJECT%%\"><forward/></zone>"),
    ("trusted", "<zone target=\"ACCEPT\"><forward/></zone>"),
    ("dmz", "<zone><service name=\"ssh\"/><forward/></zone>"),
    ("internal", "<zone><service name=\"ssh\"/><service name=\"dhcpv6-client\"/><forward/></zone>"),
    ("external", "<zone><service name=\"ssh\"/><masquerade/><forward/></zone>"),
];
const SERVICES: [(&str, &str); 4] = [
    ("ssh", "<service><port protocol=\"tcp\" port=\"22\"/></service>"),
    ("http", "<service><port protocol=\"tcp\" port=\"80\"/></service>"),
    ("https", "<service><port protocol=\"tcp\" port=\"443\"/></service>"),
    ("dhcpv6-client", "<service><port protocol=\"udp\" port=\"546\"/><destination ipv6=\"fe80::/64\"/></service>"),
];
const POLICY: &str = "<policy target=\"CONTINUE\" priority=\"-15000\"><ingress-zone name=\"ANY\"/><egress-zone name=\"HOST\"/>\
                      <rule family=\"ipv6\"><icmp-type name=\"neighbour-solicitation\"/><accept/></rule></policy>";

fn shipped(kind: &str, name: &str, text: &str) -> (String, File) {
    let path = format!("/usr/lib/firewalld/{kind}/{name}.xml");
    (name.to_owned(), File { path, bytes: text.as_bytes().to_vec() })
}

/// The configuration of a case, and what must come of it.
fn read(text: &str) -> (Config, Vec<String>) {
    let mut config = Config { default_zone: "public".to_owned(), ..Config::default() };
    let (text, verdicts) = text.split_once("--- verdicts\n").expect("verdicts");
    for part in text.split("--- file ").skip(1) {
        let (path, body) = part.split_once('\n').expect("a body");
        let file = File { path: path.to_owned(), bytes: body.as_bytes().to_vec() };
        let stem = Path::new(path).file_stem().expect("a name").to_string_lossy().into_owned();
        match path.split('/').nth(3).expect("a kind") {
            "firewalld.conf" => {
                let zone = body.lines().find_map(|line| line.strip_prefix("DefaultZone="));
                config.default_zone = zone.unwrap_or("public").to_owned();
            }
            "zones" => config.zones.push((stem, file)),
            "policies" => config.policies.push((stem, file)),
            "services" => drop(config.services.insert(stem, file)),
            "ipsets" => drop(config.sets.insert(stem, file)),
            "direct.xml" => config.direct = Some(file),
            other => panic!("{other}?"),
        }
    }
    config.zones.extend(ZONES.map(|(name, text)| shipped("zones", name, text)));
    config.policies.push(shipped("policies", "allow-host-ipv6", POLICY));
    let stock: HashMap<String, File> = SERVICES.map(|(name, text)| shipped("services", name, text)).into();
    for (name, file) in stock {
        config.services.entry(name).or_insert(file);
    }
    (config, verdicts.lines().map(str::to_owned).collect())
}

#[test]
fn what_is_read_is_what_firewalld_made() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/firewalld");
    let cards = vec![("eth0".to_owned(), Cidr::parse("10.77.0.1/24").into_iter().collect())];
    let host = Host { cards, forwards: Some(false), forwards_v6: Some(false) };
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(dir).expect("the cases") {
        let path = entry.expect("an entry").path();
        let (config, verdicts) = read(&fs::read_to_string(&path).expect("a case"));
        let mut rules = RuleSet::default();
        firewalld::read(&mut rules, &config);
        rules.link();
        let ask = |protocol: &str, source: &str, port: &str| {
            let port = if protocol == "icmp" { String::new() } else { format!(":{port}") };
            let packet = format!("{protocol} from {source} to 10.77.0.1{port} in eth0");
            let answer = rules.evaluate(&Packet::parse(&packet).expect("a packet"), &host);
            if answer.certain { answer.verdict.word() } else { "unsure" }
        };
        for line in verdicts {
            let (what, expected) = line.split_once(": ").expect("a verdict");
            let (protocol, port) = what.split_once(' ').expect("a port");
            for source in ["10.77.0.2", "10.77.0.3", "198.51.100.5", "203.0.113.9"] {
                let own = expected.split(", ").find_map(|one| one.strip_prefix(source)).map_or(expected, str::trim);
                let said = ask(protocol, source, port);
                if said != own {
                    wrong.push(format!("{}: {what} from {source}: {said}, not {own}", path.display()));
                }
            }
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 35, "{count}");
}
