//! `.network` and `.netdev` files of systemd (systemd.network(5)) as systemd-networkd takes them, and what it then asks of the kernel, for
//! netplan too.

mod apply;

pub(super) use apply::{apply, start};

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::{self, Cidr};
use super::kernel::{Hop, MAIN, Rule, Scope};
use super::{DeclaredAddress, DeclaredRoute, File, Interface, Kind, Network, Outcome, Place, Syntax, What};
use crate::lines::lines;

/// Where the files are, strongest first.
pub const DIRS: [&str; 5] = [
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/lib/systemd/network",
];

/// `Key=value` with its section and line.
struct Setting {
    section: String,
    /// How many headings of sections stood above it: two of one name are two.
    number: usize,
    key: String,
    value: String,
    place: Place,
}

fn settings(file: &File) -> Vec<Setting> {
    let mut all: Vec<Setting> = Vec::new();
    let (mut section, mut number, mut goes_on) = (String::new(), 0, false);
    for line in lines(&file.bytes) {
        let text = String::from_utf8_lossy(line.text).trim().to_owned();
        if text.starts_with('#') || text.starts_with(';') || (text.is_empty() && !goes_on) {
            continue;
        }
        let (content, next) = match text.strip_suffix('\\') {
            Some(content) => (content.trim_end(), true),
            None => (text.as_str(), false),
        };
        if goes_on {
            if let Some(last) = all.last_mut() {
                last.value.push(' ');
                last.value.push_str(content);
            }
        } else if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            number += 1;
        } else if let Some((key, value)) = content.split_once('=') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            all.push(Setting { section: section.clone(), number, key, value, place: Place::of(file, line.number) });
        }
        goes_on = next;
    }
    all
}

/// The files with that ending in the order of their names, each with its drop-ins.
fn chosen<'a>(files: &'a [File], ending: &str) -> Vec<(&'a File, Vec<&'a File>)> {
    let mut mains: BTreeMap<&str, &File> = BTreeMap::new();
    for dir in DIRS {
        for file in files.iter().filter(|file| file.dir() == dir && file.name().ends_with(ending)) {
            mains.entry(file.name()).or_insert(file);
        }
    }
    let with_drop_ins = |(name, file): (&str, &'a File)| {
        let mut drop_ins: BTreeMap<&str, &File> = BTreeMap::new();
        for dir in DIRS {
            let dir = format!("{dir}/{name}.d");
            for file in files.iter().filter(|file| file.dir() == dir && file.name().ends_with(".conf")) {
                drop_ins.entry(file.name()).or_insert(file);
            }
        }
        (file, drop_ins.into_values().collect())
    };
    // An empty file masks the others of its name.
    mains.into_iter().filter(|(_, file)| !file.bytes.is_empty()).map(with_drop_ins).collect()
}

/// Keys that people misspell; others are systemd's matter.
const KEYS: [(&str, &[&str]); 5] = [
    (
        "Match",
        &[
            "Name",
            "MACAddress",
            "PermanentMACAddress",
            "OriginalName",
            "Path",
            "Driver",
            "Type",
            "Kind",
            "Host",
            "Virtualization",
            "Architecture",
            "KernelCommandLine",
            "KernelVersion",
            "Property",
        ],
    ),
    (
        "Network",
        &[
            "Address",
            "Gateway",
            "DHCP",
            "DNS",
            "Domains",
            "NTP",
            "Bridge",
            "Bond",
            "VLAN",
            "MACVLAN",
            "VRF",
            "LinkLocalAddressing",
            "IPv6AcceptRA",
            "IPForward",
            "IPMasquerade",
            "DHCPServer",
            "DefaultRouteOnDevice",
            "Description",
        ],
    ),
    (
        "Address",
        &["Address", "Peer", "Broadcast", "Label", "Scope", "RouteMetric", "AddPrefixRoute", "PreferredLifetime"],
    ),
    (
        "Route",
        &[
            "Destination",
            "Gateway",
            "GatewayOnLink",
            "Metric",
            "Table",
            "Scope",
            "Source",
            "PreferredSource",
            "Type",
            "InitialCongestionWindow",
        ],
    ),
    ("Link", &["MTUBytes", "MACAddress", "RequiredForOnline", "Unmanaged", "Multicast", "ARP", "ActivationPolicy"]),
];

fn is_no(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "no" | "false" | "off" | "0" | "n" | "f")
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "yes" | "true" | "on" | "1" | "y" | "t")
}

/// What the files declare; what is wrong with them goes into `outcome`.
pub fn read(files: &[File], outcome: &mut Outcome) -> Network {
    let mut network = Network::default();
    for (file, drop_ins) in chosen(files, ".netdev") {
        let all: Vec<Setting> = std::iter::once(file).chain(drop_ins).flat_map(settings).collect();
        let get = |key: &str| {
            all.iter().rev().find(|one| one.section == "NetDev" && one.key == key).map(|one| one.value.as_str())
        };
        let Some(name) = get("Name") else {
            outcome.complain(&Place::of(file, 1), What::FileRefused(Syntax::Missing("Name")));
            continue;
        };
        let kind = match get("Kind").unwrap_or_default() {
            "bridge" => Kind::Bridge(Vec::new()),
            "bond" => Kind::Bond(Vec::new()),
            "vlan" => Kind::Vlan(String::new()),
            _ => Kind::Made,
        };
        let one = network.interface(name);
        (one.kind, one.place) = (kind, Some(Place::of(file, 1)));
    }
    let mut made = std::mem::take(&mut network.interfaces);
    for (file, drop_ins) in chosen(files, ".network") {
        let all: Vec<Setting> = std::iter::once(file).chain(drop_ins).flat_map(settings).collect();
        for one in &all {
            let section = KEYS.iter().find(|(section, _)| section.eq_ignore_ascii_case(&one.section));
            if section.is_some_and(|(section, _)| *section != one.section) {
                outcome.complain(&one.place, What::UnknownOption(format!("[{}] {}", one.section, one.key)));
            }
            let known = KEYS.iter().find(|(section, _)| *section == one.section);
            if let Some((_, keys)) = known
                && !keys.contains(&one.key.as_str())
                && keys.iter().any(|known| super::interfaces::is_near(known, &one.key))
            {
                outcome.complain(&one.place, What::UnknownOption(one.key.clone()));
            }
        }
        let Some(one) = interface(file, &all, &mut network.rules, outcome) else { continue };
        network.interfaces.push(one);
    }
    // A device of a .netdev is the interface of the .network that takes its name.
    for device in &mut made {
        for one in &mut network.interfaces {
            if one.names.len() == 1 && one.names.first() == Some(&device.name) {
                one.kind = device.kind.clone();
                device.name.clear();
                break;
            }
        }
    }
    network.interfaces.extend(made.into_iter().filter(|device| !device.name.is_empty()));
    link_up(&mut network, files);
    network
}

/// Which ports and VLANs the files give each device.
fn link_up(network: &mut Network, files: &[File]) {
    let mut ports: Vec<(String, String)> = Vec::new();
    let mut vlans: Vec<(String, String)> = Vec::new();
    for (file, drop_ins) in chosen(files, ".network") {
        let all: Vec<Setting> = std::iter::once(file).chain(drop_ins).flat_map(settings).collect();
        let name = all.iter().find(|one| one.section == "Match" && one.key == "Name").map(|one| one.value.clone());
        let Some(name) = name else { continue };
        for one in all.iter().filter(|one| one.section == "Network") {
            match one.key.as_str() {
                "Bridge" | "Bond" => ports.push((one.value.clone(), name.clone())),
                "VLAN" => vlans.extend(one.value.split_whitespace().map(|vlan| (vlan.to_owned(), name.clone()))),
                _ => {}
            }
        }
    }
    for one in &mut network.interfaces {
        let own = if one.names.len() == 1 { one.names[0].clone() } else { one.name.clone() };
        match &mut one.kind {
            Kind::Bridge(all) | Kind::Bond(all) => {
                all.extend(ports.iter().filter(|(of, _)| *of == own).map(|(_, port)| port.clone()));
            }
            Kind::Vlan(link) => {
                if let Some((_, on)) = vlans.iter().find(|(vlan, _)| *vlan == own) {
                    *link = on.clone();
                }
            }
            _ => {}
        }
    }
}

fn interface(file: &File, all: &[Setting], rules: &mut Vec<Rule>, outcome: &mut Outcome) -> Option<Interface> {
    let mut one = Interface { auto: true, place: Some(Place::of(file, 1)), ..Interface::default() };
    let matches: Vec<&Setting> = all.iter().filter(|one| one.section == "Match" && !one.value.is_empty()).collect();
    if matches.is_empty() {
        outcome.complain(&Place::of(file, 1), What::FileRefused(Syntax::NoMatch));
        return None;
    }
    for setting in &matches {
        one.matched.get_or_insert_with(|| setting.place.clone());
        match setting.key.as_str() {
            "Name" => one.names.extend(setting.value.split_whitespace().map(str::to_owned)),
            "MACAddress" | "PermanentMACAddress" => {
                one.macs.extend(setting.value.split_whitespace().map(|mac| mac.to_lowercase().replace('-', ":")));
            }
            _ => {}
        }
    }
    if one.names.is_empty() && one.macs.is_empty() {
        one.names.extend(of_type(&matches));
    }
    one.name = match (one.names.as_slice(), one.macs.is_empty()) {
        ([name], _) if !name.contains(['*', '?', '[']) => name.clone(),
        _ => file.name().trim_end_matches(".network").to_owned(),
    };
    let sections = |name: &str| {
        let mut numbers: Vec<(&str, usize)> =
            all.iter().filter(|one| one.section == name).map(|one| (one.place.path.as_str(), one.number)).collect();
        numbers.dedup();
        numbers
    };
    let of = |section: &str, (path, number): (&str, usize)| {
        let section = section.to_owned();
        let path = path.to_owned();
        all.iter().filter(move |one| one.section == section && one.number == number && one.place.path == path)
    };
    for setting in all.iter().filter(|one| one.section == "Network" || one.section == "Link") {
        let (value, place) = (setting.value.as_str(), &setting.place);
        match setting.key.as_str() {
            "Address" if setting.section == "Network" => {
                // An empty value takes nothing back (systemd 252).
                let cidr = if value.is_empty() { None } else { cidr(value, place, outcome) };
                if let Some(cidr) = cidr {
                    one.addresses.push(DeclaredAddress::new(cidr, vec![place.clone()]));
                }
            }
            "Gateway" => match value.parse::<IpAddr>() {
                _ if value.starts_with('_') => {}
                Ok(via) => one.routes.push(DeclaredRoute::default(via, vec![place.clone()])),
                Err(_) if value.is_empty() => {}
                Err(_) => outcome.complain(place, What::BadAddress(value.to_owned())),
            },
            "DHCP" => {
                let both = is_yes(value) || value == "both";
                one.dhcp4 = both || matches!(value, "ipv4" | "v4");
                one.dhcp6 = both || matches!(value, "ipv6" | "v6");
            }
            "DNS" => one
                .dns
                .extend(value.split_whitespace().filter_map(|server| server.split('#').next()?.parse::<IpAddr>().ok())),
            "Bridge" | "Bond" | "VRF" => one.master = Some(value.to_owned()),
            "DefaultRouteOnDevice" if is_yes(value) => {
                let route = DeclaredRoute {
                    scope: Some(Scope::Link),
                    from: vec![place.clone()],
                    ..DeclaredRoute::to(Cidr::everything(false))
                };
                one.routes.push(route);
            }
            "MTUBytes" => one.mtu = value.parse().ok(),
            "Unmanaged" if is_yes(value) => one.auto = false,
            "ActivationPolicy" if matches!(value, "down" | "always-down" | "manual") => {
                one.auto = false;
                outcome.complain(place, What::NotStarted(one.name.clone()));
            }
            _ => {}
        }
    }
    for section in sections("Address") {
        let get = |key: &str| of("Address", section).rfind(|one| one.key == key);
        let Some(setting) = get("Address") else { continue };
        if let Some(cidr) = cidr(&setting.value, &setting.place, outcome) {
            let peer = get("Peer").and_then(|peer| Cidr::parse(&peer.value));
            one.addresses.push(DeclaredAddress {
                peer,
                metric: get("RouteMetric").and_then(|metric| metric.value.parse().ok()),
                no_route: get("AddPrefixRoute").is_some_and(|yes| is_no(&yes.value)),
                ..DeclaredAddress::new(
                    Cidr { prefix: peer.map_or(cidr.prefix, |peer| peer.prefix), ..cidr },
                    vec![setting.place.clone()],
                )
            });
        }
    }
    for section in sections("Route") {
        let settings: Vec<&Setting> = of("Route", section).collect();
        one.routes.extend(route(&settings, outcome));
    }
    for section in sections("RoutingPolicyRule") {
        let settings: Vec<&Setting> = of("RoutingPolicyRule", section).collect();
        rules.extend(rule(&settings).into_iter().flatten());
    }
    Some(one)
}

/// The names that links of the types have which `[Match]` asks for; `*` where it asks for none, or for others.
fn of_type(matches: &[&Setting]) -> Vec<String> {
    let types: Vec<&str> =
        matches.iter().filter(|one| one.key == "Type").flat_map(|one| one.value.split_whitespace()).collect();
    let name = |kind: &&str| match *kind {
        "wlan" => Some("wl*"),
        "wwan" => Some("ww*"),
        "loopback" => Some("lo"),
        _ => None,
    };
    match types.iter().map(name).collect::<Option<Vec<_>>>() {
        Some(names) if !names.is_empty() => names.into_iter().map(str::to_owned).collect(),
        _ => vec!["*".to_owned()],
    }
}

fn cidr(text: &str, place: &Place, outcome: &mut Outcome) -> Option<Cidr> {
    if text.contains('/') {
        let cidr = Cidr::parse(text);
        if cidr.is_none() {
            outcome.complain(place, What::BadAddress(text.to_owned()));
        }
        return cidr;
    }
    match text.parse() {
        Ok(IpAddr::V4(address)) => {
            let cidr = Cidr { address: address.into(), prefix: address::of_class(address) };
            outcome.complain(place, What::NoMask(cidr));
            Some(cidr)
        }
        // in_addr_prefix_from_string_auto_internal() with PREFIXLEN_LEGACY
        Ok(IpAddr::V6(address)) => {
            let cidr = Cidr { address: address.into(), prefix: 0 };
            outcome.complain(place, What::NoMask(cidr));
            Some(cidr)
        }
        Err(_) => {
            outcome.complain(place, What::BadAddress(text.to_owned()));
            None
        }
    }
}

fn table(text: &str) -> Option<u32> {
    match text {
        "main" => Some(MAIN),
        "default" => Some(253),
        "local" => Some(255),
        text => text.parse().ok(),
    }
}

fn route(settings: &[&Setting], outcome: &mut Outcome) -> Option<DeclaredRoute> {
    let mut route = DeclaredRoute::to(Cidr::everything(false));
    let mut said = false;
    let mut asked: Vec<(&str, &str)> = Vec::new();
    for setting in settings {
        let (value, place) = (setting.value.as_str(), &setting.place);
        let wrong = |outcome: &mut Outcome| outcome.complain(place, What::BadAddress(value.to_owned()));
        match setting.key.as_str() {
            "Destination" => match Cidr::parse(value) {
                Some(cidr) => (route.dst, said) = (cidr.network(), true),
                None => {
                    wrong(outcome);
                    return None;
                }
            },
            "Gateway" if value.starts_with('_') => return None,
            "Gateway" => match value.parse() {
                Ok(via) => route.via = Some(via),
                Err(_) => {
                    wrong(outcome);
                    return None;
                }
            },
            "GatewayOnLink" | "GatewayOnlink" => route.onlink = is_yes(value),
            "Metric" => route.metric = value.parse().ok(),
            "Table" => match table(value) {
                Some(number) => route.table = Some(number).filter(|number| *number != MAIN),
                None => {
                    wrong(outcome);
                    return None;
                }
            },
            "MultiPathRoute" => {
                let (hop, weight) = value.split_once(' ').unwrap_or((value, ""));
                let (via, dev) = hop.split_once('@').unwrap_or((hop, ""));
                let Ok(via) = via.parse() else {
                    wrong(outcome);
                    continue;
                };
                let weight = weight.trim().parse().unwrap_or(1);
                route.hops.push(Hop { via: Some(via), dev: dev.to_owned(), weight, onlink: false });
            }
            "MTUBytes"
            | "TCPAdvertisedMaximumSegmentSize"
            | "InitialCongestionWindow"
            | "InitialAdvertisedReceiveWindow"
                if value.parse::<u32>().is_ok() =>
            {
                asked.push((setting.key.as_str(), value));
            }
            "PreferredSource" => route.src = value.parse().ok(),
            "Scope" => {
                route.scope = match value {
                    "link" => Some(Scope::Link),
                    "host" => Some(Scope::Host),
                    "site" => Some(Scope::Site),
                    "global" => Some(Scope::Global),
                    _ => None,
                };
            }
            "Type" => {
                route.kind = match value {
                    "blackhole" => "blackhole",
                    "unreachable" => "unreachable",
                    "prohibit" => "prohibit",
                    "throw" => "throw",
                    _ => "unicast",
                };
            }
            _ => {}
        }
        if matches!(setting.key.as_str(), "Destination" | "Gateway") {
            route.from.push(place.clone());
        }
    }
    if !said {
        route.dst = Cidr::everything(route.via.is_some_and(|via| via.is_ipv6()));
    }
    let words = [
        ("MTUBytes", "mtu"),
        ("TCPAdvertisedMaximumSegmentSize", "advmss"),
        ("InitialCongestionWindow", "initcwnd"),
        ("InitialAdvertisedReceiveWindow", "initrwnd"),
    ];
    let word = |(key, word): &(&str, &str)| {
        asked.iter().rev().find(|(known, _)| known == key).map(|(_, value)| format!("{word} {value}"))
    };
    route.more = words.iter().filter_map(word).collect::<Vec<_>>().join(" ");
    // Neither a destination nor a gateway: networkd ignores the section.
    (said || route.via.is_some()).then_some(route)
}

fn rule(settings: &[&Setting]) -> Option<Vec<Rule>> {
    let mut rule = Rule::new(false, "static", settings.first().map(|one| one.place.clone()));
    let (mut both, mut more) = (false, Vec::new());
    for setting in settings {
        let value = setting.value.as_str();
        match setting.key.as_str() {
            "From" => rule.from = Some(Cidr::parse(value)?),
            "To" => rule.to = Some(Cidr::parse(value)?),
            "InvertRule" => rule.not = is_yes(value),
            "Family" => both = value == "both",
            "Table" => rule.table = table(value)?,
            "Priority" => rule.priority = value.parse().ok(),
            "FirewallMark" => more.push((0, format!("fwmark 0x{:x}", value.split('/').next()?.parse::<u32>().ok()?))),
            "IncomingInterface" => more.push((1, format!("iif {value}"))),
            "OutgoingInterface" => more.push((2, format!("oif {value}"))),
            _ => {}
        }
    }
    rule.more = super::ip_command::in_order(more);
    rule.v6 = rule.from.or(rule.to).is_some_and(Cidr::is_v6)
        || settings.iter().any(|one| one.key == "Family" && one.value == "ipv6");
    let other = (both && rule.from.or(rule.to).is_none()).then(|| Rule { v6: true, ..rule.clone() });
    Some(std::iter::once(rule).chain(other).collect())
}
