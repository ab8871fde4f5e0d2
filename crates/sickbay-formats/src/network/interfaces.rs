//! /etc/network/interfaces and what it sources, as ifup(8) of Debian takes them (interfaces(5), ifupdown 0.8).

mod start;

pub(super) use start::start;

use std::net::IpAddr;

use super::address::{self, Cidr};
use super::kernel::Link;
use super::{DeclaredAddress, DeclaredRoute, File, Kind, Network, Outcome, Place, Syntax, What, glob, ip_command};
use crate::lines::lines;

/// The file that is read first.
pub const FILE: &str = "/etc/network/interfaces";

/// `iface NAME FAMILY METHOD` with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza {
    /// The interface.
    pub name: String,
    /// `inet` or `inet6`, ...
    pub family: String,
    /// `static`, `dhcp`, `manual`, ...
    pub method: String,
    /// Its line.
    pub place: Place,
    /// In order.
    pub options: Vec<(String, String, Place)>,
}

impl Stanza {
    /// The value of an option; of one that is given twice ifup makes two lines.
    pub fn get(&self, names: &[&str]) -> Option<String> {
        let all: Vec<&str> = self
            .options
            .iter()
            .filter(|(name, ..)| names.contains(&name.as_str()))
            .map(|(_, value, _)| value.as_str())
            .collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }

    /// Where an option is.
    pub fn place_of(&self, names: &[&str]) -> Option<&Place> {
        self.options.iter().find(|(name, ..)| names.contains(&name.as_str())).map(|(.., place)| place)
    }

    fn v6(&self) -> bool {
        self.family == "inet6"
    }
}

/// What the files hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// In order.
    pub stanzas: Vec<Stanza>,
    /// Interfaces that are brought up at boot, with the lines that say so: `auto` before `allow-hotplug`.
    pub auto: Vec<(String, Place)>,
    /// Of an interface that is brought up as another one (`auto eth0=office`) the name of that stanza.
    pub logical: Vec<(String, String)>,
    /// The line that makes ifup refuse everything, and why.
    pub refused: Option<(Place, Syntax)>,
}

const METHODS: [(&str, &[&str]); 4] = [
    ("inet", &["loopback", "static", "manual", "dhcp", "bootp", "ppp", "wvdial", "tunnel", "ipv4ll"]),
    ("inet6", &["auto", "loopback", "static", "manual", "dhcp", "v4tunnel", "6to4"]),
    ("can", &["static"]),
    ("ipx", &["static", "dynamic"]),
];

/// Options that the methods and the usual hooks know; others are handed to scripts without a word.
const OPTIONS: [&str; 36] = [
    "address",
    "netmask",
    "gateway",
    "broadcast",
    "network",
    "metric",
    "pointopoint",
    "hwaddress",
    "mtu",
    "scope",
    "up",
    "down",
    "pre-up",
    "post-up",
    "pre-down",
    "post-down",
    "dns-nameservers",
    "dns-nameserver",
    "dns-search",
    "dns-domain",
    "autoconf",
    "accept_ra",
    "dad-attempts",
    "dad-interval",
    "privext",
    "preferred-lifetime",
    "hostname",
    "client",
    "leasetime",
    "vendor",
    "bridge_ports",
    "bridge-ports",
    "bond-slaves",
    "bond-master",
    "vlan-raw-device",
    "description",
];

/// Options that can be given several times.
const MANY: [&str; 8] =
    ["up", "down", "pre-up", "post-up", "pre-down", "post-down", "dns-nameservers", "dns-nameserver"];

/// Reads the files. What is wrong goes into `outcome`.
pub fn read(files: &[File], outcome: &mut Outcome) -> Interfaces {
    let mut all = Interfaces::default();
    let mut reading = Reading { hotplug: Vec::new(), left: 1000 };
    read_file(files, FILE, 0, &mut all, &mut reading, outcome);
    for (name, place) in reading.hotplug {
        if !all.auto.iter().any(|(known, _)| *known == name) {
            all.auto.push((name, place));
        }
    }
    all
}

/// What is carried from file to file.
struct Reading {
    /// Interfaces that are brought up when their card appears.
    hotplug: Vec<(String, Place)>,
    /// So many more files are read: they can source each other.
    left: usize,
}

/// Which stanza the options are of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Nothing,
    Iface,
    Mapping,
}

fn read_file(
    files: &[File],
    path: &str,
    depth: u32,
    all: &mut Interfaces,
    reading: &mut Reading,
    outcome: &mut Outcome,
) {
    let Some(file) = files.iter().find(|file| file.path == path) else { return };
    if depth > 8 || all.stanzas.len() > 4096 || reading.left == 0 {
        return;
    }
    reading.left -= 1;
    let mut place_in = In::Nothing;
    for (number, text) in joined(&file.bytes) {
        if all.refused.is_some() {
            return;
        }
        let place = Place::of(file, number);
        let (word, rest) = text.split_once([' ', '\t']).map_or((text.as_str(), ""), |(word, rest)| (word, rest.trim()));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match word {
            "mapping" => place_in = In::Mapping,
            "source" => {
                for pattern in words.iter().take(64) {
                    for path in globbed(files, file, pattern) {
                        read_file(files, &path, depth + 1, all, reading, outcome);
                    }
                }
                place_in = In::Nothing;
            }
            "source-directory" | "source-dir" => {
                for pattern in words.iter().take(64) {
                    let dir = absolute(file, pattern.trim_end_matches('/'));
                    let mut inside: Vec<&File> = files.iter().filter(|file| glob(&dir, file.dir())).collect();
                    inside.sort_by(|a, b| a.path.cmp(&b.path));
                    for other in inside {
                        let usual = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                        if other.name().chars().all(usual) {
                            read_file(files, &other.path.clone(), depth + 1, all, reading, outcome);
                        } else {
                            outcome.complain(&Place::of(other, 0), What::WrongEnding("a-z0-9_-"));
                        }
                    }
                }
                place_in = In::Nothing;
            }
            "auto" | "allow-auto" => {
                place_in = In::Nothing;
                for name in words {
                    let name = named(name, all);
                    if !all.auto.iter().any(|(known, _)| known == name) {
                        all.auto.push((name.to_owned(), place.clone()));
                    }
                }
            }
            "allow-hotplug" => {
                place_in = In::Nothing;
                reading.hotplug.extend(words.iter().map(|name| (named(name, all).to_owned(), place.clone())));
            }
            word if word.starts_with("allow-") || matches!(word, "no-auto-down" | "no-scripts" | "rename") => {
                place_in = In::Nothing;
            }
            "iface" | "template" => {
                place_in = In::Iface;
                match stanza(&words, &place, all) {
                    Ok(stanza) => all.stanzas.push(stanza),
                    Err(why) => {
                        outcome.complain(&place, What::BlocksAll(why.clone()));
                        all.refused = Some((place, why));
                        return;
                    }
                }
            }
            option => match place_in {
                In::Iface => {
                    let Some(stanza) = all.stanzas.last_mut() else { continue };
                    if rest.is_empty() {
                        let why = Syntax::Line(text.clone());
                        outcome.complain(&place, What::BlocksAll(why.clone()));
                        all.refused = Some((place, why));
                        return;
                    }
                    let twice = stanza.options.iter().any(|(name, ..)| name == option);
                    if twice && !MANY.contains(&option) && !option.starts_with("bridge") {
                        outcome.complain(&place, What::GivenTwice(option.to_owned()));
                        if option == "address" {
                            continue;
                        }
                    }
                    let family =
                        ["bridge", "bond", "wpa", "wireless", "ovs", "vlan", "dns", "ethernet", "link", "mesh"];
                    let other = family.iter().any(|head| option.starts_with(head));
                    if !OPTIONS.contains(&option) && !other && OPTIONS.iter().any(|known| is_near(known, option)) {
                        outcome.complain(&place, What::UnknownOption(option.to_owned()));
                    }
                    stanza.options.push((option.to_owned(), rest.to_owned(), place));
                }
                In::Mapping if option == "script" => outcome.complain(&place, What::UnknownCommand(rest.to_owned())),
                In::Mapping => {}
                In::Nothing => {
                    let why = Syntax::Line(text.clone());
                    outcome.complain(&place, What::BlocksAll(why.clone()));
                    all.refused = Some((place, why));
                    return;
                }
            },
        }
    }
}

/// The interface of `eth0=office`; what it is brought up as is kept.
fn named<'a>(word: &'a str, all: &mut Interfaces) -> &'a str {
    let Some((name, logical)) = word.split_once('=') else { return word };
    if all.logical.len() < 4096 && !all.logical.iter().any(|(known, _)| known == name) {
        all.logical.push((name.to_owned(), logical.to_owned()));
    }
    name
}

/// The pattern and the number of `/eth*/1`: of the links that fit, that one only.
fn pattern(name: &str) -> Option<(&str, Option<usize>)> {
    let rest = name.strip_prefix('/')?;
    match rest.split_once('/') {
        Some((pattern, number)) => Some((pattern, number.parse().ok())),
        None => Some((rest, None)),
    }
}

/// The lines without comments and blanks around them, those that end in a backslash joined, with the number of the first.
fn joined(bytes: &[u8]) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for line in lines(bytes) {
        let text = String::from_utf8_lossy(line.text).trim().to_owned();
        if !goes_on && (text.is_empty() || text.starts_with('#')) {
            continue;
        }
        let (content, next) = match text.strip_suffix('\\') {
            Some(content) => (content.trim_end(), true),
            None => (text.as_str(), false),
        };
        match all.last_mut().filter(|_| goes_on) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(content);
            }
            None => all.push((line.number, content.to_owned())),
        }
        goes_on = next;
    }
    all
}

fn absolute(file: &File, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", file.dir()) }
}

/// The files that a pattern names, in order.
fn globbed(files: &[File], from: &File, pattern: &str) -> Vec<String> {
    let pattern = absolute(from, pattern);
    let (dir, name) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
    let hidden = |file: &&File| file.name().starts_with('.') && !name.starts_with('.');
    let mut all: Vec<String> = files
        .iter()
        .filter(|file| glob(dir, file.dir()) && glob(name, file.name()) && !hidden(file))
        .map(|file| file.path.clone())
        .collect();
    all.sort();
    all
}

fn stanza(words: &[&str], place: &Place, all: &Interfaces) -> Result<Stanza, Syntax> {
    let name = words.first().ok_or_else(|| Syntax::Line("iface".into()))?;
    let mut made = Stanza {
        name: (*name).to_owned(),
        family: String::new(),
        method: String::new(),
        place: place.clone(),
        options: Vec::new(),
    };
    let mut rest = words.get(1..).unwrap_or_default().iter();
    while let Some(word) = rest.next() {
        if *word == "inherits" {
            let from = rest.next().ok_or_else(|| Syntax::Line("inherits".into()))?;
            if let Some(other) = all.stanzas.iter().find(|other| other.name == **from) {
                made.options = other.options.clone();
                if made.family.is_empty() {
                    (made.family, made.method) = (other.family.clone(), other.method.clone());
                }
            }
        } else if made.family.is_empty() {
            if !METHODS.iter().any(|(family, _)| family == word) {
                return Err(Syntax::Method((*word).to_owned()));
            }
            made.family = (*word).to_owned();
        } else {
            made.method = (*word).to_owned();
        }
    }
    let known =
        METHODS.iter().any(|(family, methods)| *family == made.family && methods.contains(&made.method.as_str()));
    if !known {
        return Err(Syntax::Method(if made.method.is_empty() { made.family } else { made.method }));
    }
    Ok(made)
}

/// Whether one is the other with a letter more, less or other, or two exchanged.
pub(super) fn is_near(known: &str, word: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (known.chars().collect(), word.chars().collect());
    let head = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let most = a.len().min(b.len()) - head;
    let tail = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let (left, right) = (a.len() - head - tail, b.len() - head - tail);
    let swapped = left == 2 && right == 2 && a.get(head) == b.get(head + 1) && a.get(head + 1) == b.get(head);
    b.len() >= 3 && ((left <= 1 && right <= 1) || swapped)
}

impl Interfaces {
    /// What an interface is brought up as.
    fn logical<'a>(&'a self, name: &'a str) -> &'a str {
        self.logical.iter().find(|(known, _)| known == name).map_or(name, |(_, logical)| logical)
    }

    /// The interfaces that are brought up on a machine with these links: each with the stanza's name.
    fn started(&self, links: &[Link]) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, _) in &self.auto {
            let logical = self.logical(name).to_owned();
            let names: Vec<String> = match pattern(name) {
                Some((pattern, number)) => {
                    let fit = links.iter().filter(|link| glob(pattern, &link.name)).map(|link| link.name.clone());
                    match number {
                        Some(number) => fit.skip(number.saturating_sub(1)).take(1).collect(),
                        None => fit.collect(),
                    }
                }
                None => vec![name.clone()],
            };
            for one in names {
                if !all.iter().any(|(known, _)| *known == one) {
                    let logical = if logical == *name { one.clone() } else { logical.clone() };
                    all.push((one, logical));
                }
            }
        }
        all
    }

    /// Whether some line brings up what this stanza describes.
    fn starts(&self, stanza: &str) -> bool {
        self.auto.iter().any(|(name, _)| match pattern(name) {
            Some((pattern, _)) if self.logical(name) == name => glob(pattern, stanza),
            _ => self.logical(name) == stanza,
        })
    }

    /// What the files declare.
    pub fn network(&self) -> Network {
        let mut network = Network::default();
        for stanza in &self.stanzas {
            let own = self.logical.iter().find(|(name, logical)| *logical == stanza.name && pattern(name).is_none());
            let name = own.map_or(stanza.name.as_str(), |(name, _)| name.as_str());
            let base = name.split(':').next().unwrap_or_default().to_owned();
            let auto = self.starts(&stanza.name) || self.starts(stanza.name.split(':').next().unwrap_or_default());
            let one = network.interface(&base);
            one.place.get_or_insert_with(|| stanza.place.clone());
            one.matched.get_or_insert_with(|| stanza.place.clone());
            one.auto |= auto;
            match made(stanza) {
                Kind::Card => {}
                kind => one.kind = kind,
            }
            match (stanza.method.as_str(), stanza.v6()) {
                ("dhcp" | "bootp", false) => one.dhcp4 = true,
                ("dhcp", true) => one.dhcp6 = true,
                ("static", _) => {
                    if let Ok(cidr) = cidr(stanza) {
                        let from = ["address", "netmask"]
                            .iter()
                            .filter_map(|name| stanza.place_of(&[name]).cloned())
                            .collect();
                        one.addresses.push(DeclaredAddress::new(cidr, from));
                    }
                    if let Some(Ok(via)) = stanza.get(&["gateway"]).map(|text| text.parse::<IpAddr>()) {
                        let from = stanza.place_of(&["gateway"]).cloned().into_iter().collect();
                        let metric = stanza.get(&["metric"]).and_then(|metric| metric.parse().ok());
                        one.routes.push(DeclaredRoute { metric, ..DeclaredRoute::default(via, from) });
                    }
                }
                _ => {}
            }
            one.mtu = stanza.get(&["mtu"]).and_then(|mtu| mtu.parse().ok()).or(one.mtu);
            let servers = stanza.get(&["dns-nameservers", "dns-nameserver"]).unwrap_or_default();
            let new: Vec<IpAddr> = servers.split_whitespace().filter_map(|server| server.parse().ok()).collect();
            one.dns.extend(new);
            one.master = stanza.get(&["bond-master"]).or(one.master.take());
            let (addresses, routes, rules) = commanded(stanza, &base);
            let one = network.interface(&base);
            one.addresses.extend(addresses);
            for route in routes {
                if !one.routes.iter().any(|known| {
                    known.dst == route.dst
                        && known.via == route.via
                        && known.metric == route.metric
                        && known.table == route.table
                }) {
                    one.routes.push(route);
                }
            }
            network.rules.extend(rules);
        }
        network
    }
}

/// What the commands of a stanza declare, on a machine on which everything can be reached.
fn commanded(stanza: &Stanza, base: &str) -> (Vec<DeclaredAddress>, Vec<DeclaredRoute>, Vec<super::kernel::Rule>) {
    let mut scratch = Outcome::default();
    scratch.kernel.add_link(base, None);
    if let Some(link) = scratch.kernel.link_mut(base) {
        link.up = true;
        link.dynamic = true;
    }
    for (name, value, place) in &stanza.options {
        if matches!(name.as_str(), "up" | "post-up" | "pre-up") {
            let before = scratch.kernel.rules.len();
            ip_command::line(&expanded(value, stanza), place, &mut scratch);
            let told = value.contains("pref") || value.contains("prio");
            if scratch.kernel.rules.len() > before && !told {
                scratch
                    .kernel
                    .rules
                    .iter_mut()
                    .filter(|rule| rule.place.as_ref() == Some(place))
                    .for_each(|rule| rule.priority = None);
            }
        }
    }
    let addresses = scratch.kernel.link(base).map(|link| link.addresses.clone()).unwrap_or_default();
    let addresses = addresses
        .into_iter()
        .map(|one| DeclaredAddress { peer: one.peer, ..DeclaredAddress::new(one.cidr, one.from) })
        .collect();
    let routes = scratch.kernel.routes.into_iter().filter(|route| route.proto != "kernel").map(DeclaredRoute::of);
    (addresses, routes.collect(), scratch.kernel.rules)
}

/// The variables that ifup hands to commands.
fn expanded(text: &str, stanza: &Stanza) -> String {
    let mut text = text.to_owned();
    let mut put = |name: &str, value: &str| {
        text = text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
    };
    for (name, value, _) in &stanza.options {
        if !MANY.contains(&name.as_str()) {
            let bare = if name == "address" { value.split('/').next().unwrap_or(value) } else { value };
            put(&format!("IF_{}", name.to_uppercase().replace('-', "_")), bare);
        }
    }
    put("IFACE", &stanza.name);
    put("METHOD", &stanza.method);
    text
}

/// What the options and the name make of an interface.
fn made(stanza: &Stanza) -> Kind {
    let words =
        |text: String| text.split_whitespace().filter(|word| *word != "none").map(str::to_owned).collect::<Vec<_>>();
    if stanza.name == "lo" {
        return Kind::Loopback;
    }
    if let Some(ports) = stanza.get(&["bridge_ports", "bridge-ports"]) {
        return Kind::Bridge(words(ports));
    }
    if let Some(ports) = stanza.get(&["bond-slaves", "bond_slaves", "slaves"]) {
        return Kind::Bond(words(ports));
    }
    if stanza.get(&["bond-mode", "bond_mode"]).is_some() {
        return Kind::Bond(Vec::new());
    }
    if let Some(link) = stanza.get(&["vlan-raw-device", "vlan_raw_device"]) {
        return Kind::Vlan(link);
    }
    let base = stanza.name.split(':').next().unwrap_or_default();
    match base.rsplit_once('.') {
        Some((link, id)) if id.bytes().all(|byte| byte.is_ascii_digit()) && !id.is_empty() => {
            Kind::Vlan(link.to_owned())
        }
        _ if matches!(stanza.method.as_str(), "tunnel" | "v4tunnel" | "ppp" | "6to4") => Kind::Made,
        _ => Kind::Card,
    }
}

/// The address as `ip addr add` gets it; what is wrong with it otherwise.
fn cidr(stanza: &Stanza) -> Result<Cidr, What> {
    let text = stanza.get(&["address"]).unwrap_or_default();
    let bad = || What::BadAddress(text.clone());
    if let Some((address, prefix)) = text.split_once('/') {
        let address = address.parse::<IpAddr>().map_err(|_| bad())?;
        // A netmask of its own counts more; else what begins as a number is one, and nothing is the class's.
        let digits: String = prefix.chars().take_while(char::is_ascii_digit).collect();
        let prefix = match (stanza.get(&["netmask"]), address) {
            (Some(mask), IpAddr::V4(_)) => netmask(&mask).ok_or_else(|| What::BadMask(mask.replace('\n', " ")))?,
            _ if address::mask(prefix).is_some() => address::mask(prefix).unwrap_or_default(),
            (_, IpAddr::V4(address)) if prefix.is_empty() => address::of_class(address),
            (_, IpAddr::V4(_)) => digits.parse().ok().filter(|length| *length <= 32).unwrap_or(0),
            (_, IpAddr::V6(_)) => prefix.parse().map_err(|_| bad())?,
        };
        return Cidr::new(address, prefix).filter(|cidr| cidr.is_v6() == stanza.v6()).ok_or_else(bad);
    }
    let address = text.parse::<IpAddr>().map_err(|_| bad())?;
    let prefix = match (stanza.get(&["netmask"]), address) {
        (None, IpAddr::V4(address)) => address::of_class(address),
        (None, IpAddr::V6(_)) => 128,
        (Some(mask), IpAddr::V4(_)) => netmask(&mask).ok_or_else(|| What::BadMask(mask.replace('\n', " ")))?,
        (Some(mask), IpAddr::V6(_)) => mask.parse().map_err(|_| What::BadMask(mask))?,
    };
    Cidr::new(address, prefix).filter(|cidr| cidr.is_v6() == stanza.v6()).ok_or_else(bad)
}

/// A netmask: a length, or four bytes, of which those at the end may be missing.
fn netmask(text: &str) -> Option<u8> {
    let whole = match text.split('.').count() {
        missing @ 2..4 => format!("{text}{}", ".0".repeat(4 - missing)),
        _ => text.to_owned(),
    };
    text.parse().ok().or_else(|| address::mask(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Interfaces, Vec<What>) {
        let mut outcome = Outcome::default();
        let file = File { path: FILE.into(), bytes: text.into(), mode: 0o644, owner: (0, 0) };
        let all = read(&[file], &mut outcome);
        (all, outcome.complaints.into_iter().map(|one| one.what).collect())
    }

    #[test]
    fn stanzas_and_what_is_wrong_with_them() {
        let (all, wrong) = parsed(
            "auto lo eth0\niface lo inet loopback\niface eth0 inet static\n address 10.0.0.5/24\n gatway 10.0.0.1\n bridge_foo x\n",
        );
        assert_eq!(all.auto.len(), 2);
        assert_eq!(wrong, [What::UnknownOption("gatway".into())]);
        assert_eq!(parsed("iface eth0 inet statc\n").1, [What::BlocksAll(Syntax::Method("statc".into()))]);
        assert_eq!(parsed("address 10.0.0.1\n").1, [What::BlocksAll(Syntax::Line("address 10.0.0.1".into()))]);
        assert!(
            cidr(&parsed("iface eth0 inet static\naddress 172.31.231.158\n").0.stanzas[0])
                .is_ok_and(|cidr| cidr.prefix == 16)
        );
    }
}
