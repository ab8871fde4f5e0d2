//! What `ipset save` writes.

use bstr::ByteSlice;

use super::values::{addresses, port, protocol};
use super::{Element, Family, IPSET, Part, RuleSet};

/// Reads the sets. iptables finds them by their names.
pub fn read(rules: &mut RuleSet, text: &[u8]) {
    let mut kinds: std::collections::HashMap<String, Vec<String>> = std::collections::HashMap::new();
    let mut count = 0_usize;
    for line in text.lines() {
        let line = line.get(..line.len().min(1024)).unwrap_or_default().to_str_lossy();
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["create", name, kind, ..] => {
                let kind = kind.split_once(':').map_or("", |(_, kind)| kind);
                let kind: Vec<String> = kind.split(',').map(str::to_owned).collect();
                let has_protocol = kind.iter().any(|one| one == "port");
                if let Some(set) = rules.set_mut(Family::Other, IPSET, name) {
                    set.has_protocol = has_protocol;
                    set.kinds = kind.iter().map(|one| one.as_str().into()).collect();
                    // Sets of sets, of hosts by their cards: not looked into.
                    set.inexact = kind.iter().any(|one| !matches!(one.as_str(), "ip" | "net" | "port" | "iface"));
                }
                kinds.insert((*name).to_owned(), kind);
            }
            ["add", name, entry, options @ ..] => {
                count += 1;
                let Some(kind) = kinds.get(*name) else { continue };
                let Some(set) = rules.set_mut(Family::Other, IPSET, name) else { continue };
                if count > super::ELEMENTS || options.contains(&"nomatch") {
                    set.inexact = true;
                    continue;
                }
                let element = element(kind, entry);
                set.elements.push(element);
            }
            _ => {}
        }
    }
}

fn element(kind: &[String], entry: &str) -> Element {
    let mut parts = Vec::new();
    let mut of_port = None;
    for (one, word) in kind.iter().zip(entry.split(',')) {
        parts.push(match one.as_str() {
            "ip" | "net" => addresses(word).unwrap_or(Part::Unknown),
            "iface" => Part::Name(word.trim_start_matches("physdev:").into()),
            "port" => {
                let (name, ports) = word.split_once(':').unwrap_or(("tcp", word));
                of_port = protocol(name);
                let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
                match (port(from), port(to)) {
                    (Some(from), Some(to)) => Part::Range(from.into(), to.into()),
                    _ => Part::Unknown,
                }
            }
            _ => Part::Unknown,
        });
    }
    if kind.iter().any(|one| one == "port") {
        // Sets of bits hold ports of any protocol.
        let bits = kind.len() == 1;
        parts.push(match of_port {
            Some(number) if !bits => Part::Range(number.into(), number.into()),
            _ => Part::Any,
        });
    }
    Element { parts, action: None }
}
