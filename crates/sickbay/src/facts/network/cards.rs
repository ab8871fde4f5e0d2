//! Which network cards the machine has: as it was told, as the kernel shows them, as the log of the last boot names them, or as the files do.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::lines;
use sickbay_formats::network::{Card, Kind, Network};

use crate::facts::{Facts, memory};

/// Where the cards are known from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The user said.
    Given,
    /// The kernel that runs shows them.
    Running,
    /// The log of the last boot, with its path.
    Log(PathBuf),
    /// The names that udev gave to MAC addresses, as it wrote them down.
    Rules,
    /// Nothing but the files: what they name is taken to be there.
    Files,
}

/// The cards in the order of their indices, and where they are known from.
pub fn cards(facts: &Facts, network: &Network) -> (Vec<Card>, From) {
    if facts.runs() {
        let running = running(facts);
        if !running.is_empty() {
            return (running, From::Running);
        }
    }
    let rules = ruled(facts);
    if let Some((mut cards, path)) = logged(facts, &rules) {
        for card in cards.iter_mut().filter(|card| card.mac.is_none()) {
            card.mac = rules.iter().find(|rule| rule.name == card.name).map(|rule| rule.mac.clone());
        }
        take_declared_macs(&mut cards, network);
        return (cards, From::Log(path));
    }
    if !rules.is_empty() {
        let card = |rule: Rule| Card { name: rule.name, mac: Some(rule.mac) };
        return (rules.into_iter().map(card).collect(), From::Rules);
    }
    (declared(network), From::Files)
}

/// Where udev wrote down which name each card has for good, before names came from where a card sits.
pub const RULES: &str = "/etc/udev/rules.d/70-persistent-net.rules";

/// A name for the card with a MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `eth0`
    pub name: String,
    /// In lower case.
    pub mac: String,
    /// The line, from 1.
    pub line: usize,
}

/// The lines of [`RULES`] that name a card by its MAC address.
pub fn ruled(facts: &Facts) -> Vec<Rule> {
    let Ok(Some(file)) = facts.file(RULES) else { return Vec::new() };
    let quoted = |text: &str, key: &str| {
        let rest = text.split_once(key)?.1.trim_start_matches('=').trim_start().strip_prefix('"')?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let rule = |line: lines::Line<'_>| {
        let text = line.text.to_str_lossy();
        let text = text.trim();
        let mac = quoted(text, "{address}").filter(|mac| is_mac(mac) && !text.starts_with('#'))?;
        Some(Rule { name: quoted(text, "NAME")?, mac: mac.to_lowercase(), line: line.number })
    };
    lines::lines(&file.bytes).filter_map(rule).take(256).collect()
}

/// Devices that configuration or programs make, by the heads of their names.
const MADE: [&str; 13] =
    ["ifb", "docker", "veth", "virbr", "br-", "vnet", "tap", "tun", "cni", "flannel", "cali", "wg", "dummy"];

/// What /sys/class/net has, without what is made by software.
fn running(facts: &Facts) -> Vec<Card> {
    let root = facts.root();
    let mut all = Vec::new();
    for entry in root.read_dir("/sys/class/net").unwrap_or_default() {
        let Some(name) = entry.name.to_str() else { continue };
        let path = |file: &str| format!("/sys/class/net/{name}/{file}");
        let has = |file: &str| root.exists(path(file)).unwrap_or(false);
        let made =
            has("bridge") || has("bonding") || (!has("device") && MADE.iter().any(|head| name.starts_with(head)));
        if name == "lo"
            || name == "bonding_masters"
            || made
            || root.exists(format!("/proc/net/vlan/{name}")).unwrap_or(false)
        {
            continue;
        }
        let text = |file: &str| root.read(path(file)).ok().map(|text| text.trim_ascii().to_str_lossy().into_owned());
        let index = text("ifindex").and_then(|index| index.parse::<u32>().ok()).unwrap_or(u32::MAX);
        all.push((index, Card { name: name.to_owned(), mac: text("address").filter(|mac| mac.len() == 17) }));
    }
    all.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    all.into_iter().map(|(_, card)| card).collect()
}

/// Of each log this much of its end is read, in bytes.
const LOG_TAIL: u64 = 16 << 20;

/// The cards that the kernel spoke of at the last boot that a log holds.
fn logged(facts: &Facts, rules: &[Rule]) -> Option<(Vec<Card>, PathBuf)> {
    let root = facts.root();
    for path in memory::LOGS.iter().map(PathBuf::from).chain(memory::journals(root)) {
        let Ok(mut file) = root.open(&path) else { continue };
        let size = root.stat(&path).map_or(0, |metadata| metadata.size);
        let mut text = Vec::new();
        if file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL))).is_err()
            || file.take(LOG_TAIL).read_to_end(&mut text).is_err()
        {
            continue;
        }
        let cards = in_log(&text, rules);
        if !cards.is_empty() {
            return Some((cards, path));
        }
    }
    None
}

/// Many drivers log no MAC address. What a log does not tell is taken to be as the files have it: the address that is declared for the
/// card's name, else one that is declared for no name that a card has.
fn take_declared_macs(cards: &mut [Card], network: &Network) {
    let is_known = |cards: &[Card], mac: &String| cards.iter().any(|card| card.mac.as_ref() == Some(mac));
    for by_name in [true, false] {
        for at in 0..cards.len() {
            let Some(card) = cards.get(at).filter(|card| card.mac.is_none()) else { continue };
            let name = card.name.clone();
            let mut declared = network.interfaces.iter().filter(|one| !by_name || one.may_be_called(&name));
            let mac = declared.find_map(|one| one.macs.iter().find(|mac| !is_known(cards, mac)).cloned());
            if let Some(card) = cards.get_mut(at) {
                card.mac = mac;
            }
        }
    }
}

/// The cards in a text: `virtio_net virtio0 ens3: renamed from eth0`, `e1000 0000:00:03.0 eth0: … 52:54:00:12:34:56`.
fn in_log(text: &[u8], rules: &[Rule]) -> Vec<Card> {
    let begin = text.rfind("Linux version ").unwrap_or(0);
    let mut all: Vec<Card> = Vec::new();
    let mut add = |name: &str, mac: Option<String>| {
        let usual = !name.is_empty()
            && name.len() < 16
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if !usual || MADE.iter().any(|head| name.starts_with(head)) {
            return;
        }
        match all.iter_mut().find(|card| card.name == name) {
            Some(card) => card.mac = card.mac.take().or(mac),
            None => all.push(Card { name: name.to_owned(), mac }),
        }
    };
    let mut renamed: Vec<(String, String)> = Vec::new();
    // Lines, and in a journal what stands between bytes that are no text.
    for line in text.get(begin..).unwrap_or_default().split(|byte| *byte < 0x20 || *byte > 0x7e) {
        if line.len() < 12 || line.len() > 400 {
            continue;
        }
        let Ok(line) = line.to_str() else { continue };
        if let Some((head, tail)) = line.split_once(": renamed from ") {
            let (new, old) = (head.rsplit(' ').next().unwrap_or_default(), tail.split(' ').next().unwrap_or_default());
            renamed.push((new.to_owned(), old.to_owned()));
        } else if let Some((_, rest)) = line.split_once(": renamed network interface ") {
            // Before 3.3 (net/core/dev.c) udev said so itself.
            let mut words = rest.split(' ');
            if let (Some(old), Some("to"), Some(new)) = (words.next(), words.next(), words.next()) {
                renamed.push((new.to_owned(), old.to_owned()));
            }
        } else if let Some(at) = line.find(" eth") {
            let rest = line.get(at + 1..).unwrap_or_default();
            let Some((name, rest)) = rest.split_once(": ") else { continue };
            let mac = rest.split([' ', ',']).find(|word| is_mac(word)).map(str::to_lowercase);
            if mac.is_some() && name.get(3..).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
                add(name, mac);
            }
        }
    }
    // A name that udev gave by a rule which is not there any more is not given again.
    let is_plain = |name: &str| name.strip_prefix("eth").is_some_and(|number| number.parse::<u16>().is_ok());
    renamed.retain(|(new, old)| !is_plain(new) || !is_plain(old) || rules.iter().any(|rule| rule.name == *new));
    for (new, old) in renamed {
        if all.iter().any(|card| card.name == new) {
            continue;
        }
        match all.iter_mut().find(|card| card.name == old) {
            Some(card) => card.name = new,
            None => all.push(Card { name: new, mac: None }),
        }
    }
    all
}

fn is_mac(word: &str) -> bool {
    word.len() == 17
        && word.bytes().enumerate().all(|(at, byte)| if at % 3 == 2 { byte == b':' } else { byte.is_ascii_hexdigit() })
}

/// The cards that the files name, by name and number.
fn declared(network: &Network) -> Vec<Card> {
    let mut all: Vec<Card> = Vec::new();
    let mut add = |name: &str, mac: Option<&String>| {
        let is_name = !name.is_empty() && !name.contains(['*', '?', '[', ':', '\r', '!']) && name != "lo";
        if is_name && !all.iter().any(|card| card.name == name) {
            all.push(Card { name: name.to_owned(), mac: mac.cloned() });
        }
    };
    let made: Vec<&str> =
        network.interfaces.iter().filter(|one| one.kind != Kind::Card).map(|one| one.name.as_str()).collect();
    for one in &network.interfaces {
        let named = one.names.iter().filter(|name| !name.contains(['*', '?', '['])).count() > 0;
        match &one.kind {
            Kind::Card if named => one.names.iter().for_each(|name| add(name, one.macs.first())),
            Kind::Card if one.names.is_empty() => add(&one.name, one.macs.first()),
            Kind::Bridge(ports) | Kind::Bond(ports) => {
                ports.iter().filter(|port| !made.contains(&port.as_str())).for_each(|port| add(port, None));
            }
            Kind::Vlan(link) if !made.contains(&link.as_str()) => add(link, None),
            _ => {}
        }
    }
    all.sort_by_key(|card| {
        let digit = card.name.find(|c: char| c.is_ascii_digit()).unwrap_or(card.name.len());
        let (head, tail) = card.name.split_at(digit);
        (head.to_owned(), tail.parse::<u32>().unwrap_or(0), card.name.clone())
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_name_cards() {
        let text = b"[0] Linux version 5.10\n[1] e1000 0000:00:03.0 eth9: (PCI:33MHz) 52:54:00:00:00:09\n\
            [0] Linux version 6.1\n[1] e1000 0000:00:03.0 eth0: (PCI:33MHz:32-bit) 52:54:00:12:34:56\n\
            [2] e1000 0000:00:03.0 ens3: renamed from eth0\n[3] virtio_net virtio1 enp1s0: renamed from eth1\n\
            [4] veth1234: renamed from eth0\n";
        let names: Vec<_> = in_log(text, &[]).into_iter().map(|card| (card.name, card.mac)).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(names[0], ("ens3".to_owned(), Some("52:54:00:12:34:56".to_owned())));
        assert_eq!(names[1].0, "enp1s0");
    }
}
