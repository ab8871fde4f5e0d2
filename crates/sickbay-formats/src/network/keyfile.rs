//! Connections of NetworkManager (nm-settings-keyfile(5)), and `ifcfg-*` where it reads those; what it then asks of the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::Cidr;
use super::kernel::{How, MAIN, Rule, Scope, Wanted};
use super::{
    DeclaredAddress, DeclaredRoute, File, Interface, Kind, Network, Outcome, Place, Syntax, What, ifcfg, interfaces,
    ip_command, kernel, sourced::Env,
};
use crate::lines::lines;

/// Where the files are, strongest first.
pub const DIRS: [&str; 3] = [
    "/etc/NetworkManager/system-connections",
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
];

/// `key=value` of a section, with its line.
type Settings = BTreeMap<(String, String), (String, Place)>;

fn settings(file: &File) -> Result<Settings, (usize, Syntax)> {
    let mut all = Settings::new();
    let mut section = String::new();
    for line in lines(&file.bytes) {
        let text = String::from_utf8_lossy(line.text).trim().to_owned();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = match name {
                "802-3-ethernet" => "ethernet",
                "802-11-wireless" => "wifi",
                name => name,
            }
            .to_owned();
            continue;
        }
        match text.split_once('=') {
            Some((key, value)) if !section.is_empty() => {
                let entry = (value.trim().to_owned(), Place::of(file, line.number));
                all.insert((section.clone(), key.trim().to_owned()), entry);
            }
            _ => return Err((line.number, Syntax::Line(text))),
        }
    }
    Ok(all)
}

/// A connection with what decides whether and how it is used.
struct Connection {
    interface: Interface,
    rules: Vec<Rule>,
    uuid: String,
    priority: i32,
    /// Whether neither a name nor a MAC is asked for: it takes any card.
    any: bool,
    never_default: bool,
    metric: Option<u32>,
    /// The table for all its routes.
    table: Option<u32>,
}

/// `10.0.0.5/24`; without a prefix it is taken for a network of the usual size. A blank behind it makes it none.
fn address_of(text: &str, v6: bool) -> Option<Cidr> {
    let text = text.trim_start();
    let cidr = match text.contains('/') {
        true => Cidr::parse(text),
        false => Cidr::new(text.parse().ok()?, if v6 { 64 } else { 24 }),
    };
    cidr.filter(|cidr| cidr.is_v6() == v6)
}

/// What old versions wrote, `10.0.0.5;24;10.0.0.1;`, as it is written now. `None` where it is not that.
fn in_old_way(value: &str) -> Option<String> {
    let mut parts = value.trim_end_matches(';').split(';').map(str::trim);
    let (address, prefix) = (parts.next()?, parts.next()?);
    prefix.parse::<u8>().ok()?;
    let rest: String = parts.map(|part| format!(",{part}")).collect();
    Some(format!("{address}/{prefix}{rest}"))
}

/// Whether NetworkManager passes over a file of that name (nm_keyfile_utils_ignore_filename()): hidden ones, and those that look like
/// certificates, an editor's, or a temporary file of mkstemp(3). `.bak` and `.old` are read.
fn is_ignored(name: &str) -> bool {
    let temporary = name
        .rsplit_once('.')
        .is_some_and(|(_, end)| end.len() == 6 && end.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let ending = ["~", ".pem", ".der", ".swp", ".swpx"].iter().any(|end| name.ends_with(end));
    name.starts_with('.') || temporary || ending
}

fn connections(files: &[File], outcome: &mut Outcome) -> Vec<Connection> {
    let mut chosen: BTreeMap<&str, &File> = BTreeMap::new();
    for dir in DIRS {
        for file in files.iter().filter(|file| file.dir() == dir && !is_ignored(file.name())) {
            if dir != DIRS[0] && !file.name().ends_with(".nmconnection") {
                continue;
            }
            chosen.entry(file.name()).or_insert(file);
        }
    }
    let mut all = Vec::new();
    for file in chosen.into_values() {
        if file.mode & 0o077 != 0 && !file.path.starts_with("/usr/") {
            outcome.complain(&Place::of(file, 0), What::TooOpen(file.mode & 0o777));
            continue;
        }
        if file.owner.0 != 0 {
            outcome.complain(&Place::of(file, 0), What::NotRoots(file.owner.0));
            continue;
        }
        match settings(file) {
            Ok(settings) => match connection(file, &settings, outcome) {
                Ok(one) => all.push(one),
                Err(why) => outcome.complain(&Place::of(file, 1), What::FileRefused(why)),
            },
            Err((line, why)) => outcome.complain(&Place::of(file, line), What::FileRefused(why)),
        }
    }
    all
}

fn connection(file: &File, settings: &Settings, outcome: &mut Outcome) -> Result<Connection, Syntax> {
    let entry = |section: &str, key: &str| settings.get(&(section.to_owned(), key.to_owned()));
    let get = |section: &str, key: &str| entry(section, key).map(|(value, _)| value.as_str());
    let kind = get("connection", "type").ok_or(Syntax::Missing("type"))?;
    let name = get("connection", "interface-name").unwrap_or_default().to_owned();
    let macs: Vec<String> =
        ["ethernet", "wifi"].iter().filter_map(|section| get(section, "mac-address")).map(str::to_lowercase).collect();
    let is_yes = |value: &str| matches!(value.to_lowercase().as_str(), "true" | "yes" | "1" | "on");
    let id = get("connection", "id").unwrap_or(file.name().trim_end_matches(".nmconnection"));
    let mut one = Interface {
        name: if name.is_empty() { id.to_owned() } else { name.clone() },
        names: if name.is_empty() { Vec::new() } else { vec![name.clone()] },
        macs,
        auto: get("connection", "autoconnect").is_none_or(is_yes),
        kind: match kind {
            "bridge" => Kind::Bridge(Vec::new()),
            "bond" => Kind::Bond(Vec::new()),
            "vlan" => Kind::Vlan(get("vlan", "parent").unwrap_or_default().to_owned()),
            "ethernet" | "802-3-ethernet" | "wifi" | "802-11-wireless" | "infiniband" => Kind::Card,
            "loopback" => Kind::Loopback,
            _ => Kind::Made,
        },
        master: get("connection", "master").or(get("connection", "controller")).map(str::to_owned),
        mtu: get("ethernet", "mtu").and_then(|mtu| mtu.parse().ok()).filter(|mtu| *mtu > 0),
        place: Some(Place::of(file, 1)),
        matched: ["interface-name"]
            .iter()
            .find_map(|key| entry("connection", key))
            .or(entry("ethernet", "mac-address"))
            .map(|(_, place)| place.clone()),
        ..Interface::default()
    };
    let mut rules = Vec::new();
    let has = |section: &str| settings.keys().any(|(known, _)| known == section);
    for (section, v6) in [("ipv4", false), ("ipv6", true)] {
        match get(section, "method") {
            Some("auto") if v6 => {}
            Some("auto") => one.dhcp4 = true,
            Some("dhcp") if v6 => one.dhcp6 = true,
            _ => {}
        }
        let mut keys: Vec<&(String, String)> = settings.keys().filter(|(of, _)| of == section).collect();
        let (mut gateway_alone, mut gateway_of_address) = (None, None);
        keys.sort_by_key(|(_, key)| {
            let head = key.trim_end_matches(|c: char| c.is_ascii_digit());
            (head.to_owned(), key.get(head.len()..).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0))
        });
        for key in keys {
            let Some((value, place)) = settings.get(key) else { continue };
            let name = key.1.trim_end_matches(|c: char| c.is_ascii_digit());
            let bad = |outcome: &mut Outcome| outcome.complain(place, What::BadAddress(value.clone()));
            match name {
                "address" | "addresses" => {
                    let old = in_old_way(value);
                    for item in old.as_deref().unwrap_or(value).split(';').filter(|item| !item.trim().is_empty()) {
                        let (address, gateway) = item.split_once(',').map_or((item, None), |(a, g)| (a, Some(g)));
                        let Some(cidr) = address_of(address, v6) else {
                            bad(outcome);
                            continue;
                        };
                        one.addresses.push(DeclaredAddress::new(cidr, vec![place.clone()]));
                        match gateway.map(|text| text.trim().parse::<IpAddr>()) {
                            Some(Ok(via)) if !via.is_unspecified() => {
                                gateway_of_address
                                    .get_or_insert_with(|| DeclaredRoute::default(via, vec![place.clone()]));
                            }
                            Some(Err(_)) => bad(outcome),
                            _ => {}
                        }
                    }
                }
                "gateway" => match value.parse::<IpAddr>() {
                    Ok(via) => gateway_alone = Some(DeclaredRoute::default(via, vec![place.clone()])),
                    Err(_) => bad(outcome),
                },
                "route" | "routes" => {
                    let old = in_old_way(value);
                    let mut parts = old.as_deref().unwrap_or(value).trim_end_matches(';').split(',').map(str::trim);
                    let Some(dst) = parts.next().and_then(|text| address_of(text, v6)) else {
                        bad(outcome);
                        continue;
                    };
                    let via =
                        parts.next().and_then(|via| via.parse::<IpAddr>().ok()).filter(|via| !via.is_unspecified());
                    let mut route = DeclaredRoute {
                        via,
                        metric: parts.next().and_then(|metric| metric.parse().ok()),
                        from: vec![place.clone()],
                        ..DeclaredRoute::to(dst.network())
                    };
                    for option in get(section, &format!("{}_options", key.1)).unwrap_or_default().split(',') {
                        match option.split_once('=') {
                            Some(("table", table)) => route.table = table.parse().ok().filter(|table| *table != MAIN),
                            Some(("onlink", value)) => route.onlink = is_yes(value),
                            Some(("src", src)) => route.src = src.parse().ok(),
                            Some(("type", "blackhole")) => route.kind = "blackhole",
                            Some(("type", "unreachable")) => route.kind = "unreachable",
                            Some(("type", "prohibit")) => route.kind = "prohibit",
                            _ => {}
                        }
                    }
                    one.routes.push(route);
                }
                "routing-rule" => {
                    let words: Vec<&str> = value.split_whitespace().collect();
                    match ip_command::rule_of(&words, v6, place, outcome) {
                        Some(rule) => rules.push(Rule { proto: "static", ..rule }),
                        None => bad(outcome),
                    }
                }
                "dns" => {
                    one.dns.extend(value.split([';', ',']).filter_map(|server| server.trim().parse::<IpAddr>().ok()))
                }
                _ => {}
            }
        }
        if gateway_alone.is_some()
            && let Some(place) = gateway_of_address.as_ref().and_then(|route| route.from.first())
        {
            outcome.complain(place, What::GivenTwice("gateway".into()));
        }
        // The key beats the gateways of the addresses, of which the first counts.
        one.routes.extend(gateway_alone.or(gateway_of_address));
        let addresses = one.addresses.iter().any(|address| address.cidr.is_v6() == v6);
        if get(section, "method") == Some("manual") && !addresses {
            return Err(Syntax::Missing(if v6 { "ipv6.addresses" } else { "ipv4.addresses" }));
        }
        if !v6 && has(section) && get(section, "method").is_none() {
            return Err(Syntax::Missing("ipv4.method"));
        }
    }
    let table = get("ipv4", "route-table")
        .and_then(|table| table.parse::<u32>().ok())
        .filter(|table| *table != 0 && *table != MAIN);
    for route in &mut one.routes {
        route.table = route.table.or(table);
    }
    Ok(Connection {
        any: name.is_empty() && one.macs.is_empty() && one.kind == Kind::Card,
        never_default: get("ipv4", "never-default").is_some_and(is_yes),
        metric: get("ipv4", "route-metric").and_then(|metric| metric.parse().ok()),
        table,
        uuid: get("connection", "uuid").unwrap_or_default().to_owned(),
        priority: get("connection", "autoconnect-priority").and_then(|priority| priority.parse().ok()).unwrap_or(0),
        interface: one,
        rules,
    })
}

/// What the files declare.
pub fn read(files: &[File], outcome: &mut Outcome) -> Network {
    let all = connections(files, outcome);
    let mut network = of_connections(&all);
    network.interfaces.extend(of_ifcfg(files, outcome).interfaces);
    network
}

fn of_connections(all: &[Connection]) -> Network {
    let mut network = Network {
        interfaces: all.iter().map(|one| one.interface.clone()).collect(),
        rules: all.iter().flat_map(|one| one.rules.iter().cloned()).collect(),
    };
    let ports: Vec<(String, String)> =
        network.interfaces.iter().filter_map(|one| Some((one.master.clone()?, one.name.clone()))).collect();
    for one in &mut network.interfaces {
        let own = all
            .iter()
            .find(|other| other.interface.name == one.name)
            .map_or("", |other| other.uuid.as_str())
            .to_owned();
        if let Kind::Bridge(list) | Kind::Bond(list) = &mut one.kind {
            list.extend(ports.iter().filter(|(of, _)| *of == one.name || *of == own).map(|(_, port)| port.clone()));
        }
    }
    network
}

/// The `ifcfg-*` that NetworkManager manages. GATEWAYDEV decides for all of them which one may have the default route.
fn of_ifcfg(files: &[File], outcome: &mut Outcome) -> Network {
    let mut network = ifcfg::read(files);
    let mut global = Env::default();
    if let Some(file) = files.iter().find(|file| file.path == ifcfg::NETWORK) {
        global.source(file, outcome);
    }
    let mut unmanaged = Vec::new();
    for file in files.iter().filter(|file| file.dir() == ifcfg::DIR && file.name().starts_with("ifcfg-")) {
        let mut env = Env::default();
        env.source(file, outcome);
        if env.is_no("NM_CONTROLLED") {
            unmanaged.push(file.path.clone());
        }
        let name = env.get("DEVICE").to_owned();
        let Some(one) = network.interfaces.iter_mut().find(|one| one.name == name) else { continue };
        // Unlike the scripts it knows GATEWAY0, ...
        for n in 0..16 {
            let key = format!("GATEWAY{n}");
            if let (Ok(via), Some(place)) = (env.get(&key).parse::<IpAddr>(), env.place(&key))
                && !one.routes.iter().any(|route| route.dst.is_default() && !route.dst.is_v6())
            {
                one.routes.push(DeclaredRoute::default(via, vec![place.clone()]));
            }
        }
        let dev = global.get("GATEWAYDEV");
        let never = if dev.is_empty() { env.is_no("DEFROUTE") } else { dev != name };
        if never {
            let defaults: Vec<DeclaredRoute> =
                one.routes.iter().filter(|route| route.dst.is_default() && !route.dst.is_v6()).cloned().collect();
            if let Some(route) = defaults.first() {
                let via = route.via.map_or(String::new(), |via| via.to_string());
                match (global.place("GATEWAYDEV"), env.place("DEFROUTE")) {
                    (Some(place), _) => outcome.complain(&place.clone(), What::GatewayDevBars(dev.to_owned(), via)),
                    (None, Some(place)) => outcome.complain(&place.clone(), What::DefrouteBars(via)),
                    (None, None) => {}
                }
            }
            one.routes.retain(|route| !defaults.contains(route));
        }
    }
    network.interfaces.retain(|one| {
        one.kind != Kind::Loopback && one.place.as_ref().is_none_or(|place| !unmanaged.contains(&place.path))
    });
    network
}

/// What NetworkManager does at its start.
pub(super) fn start(files: &[File], ifupdown_first: bool, outcome: &mut Outcome) {
    let _ = outcome.kernel.up("lo");
    let mut all = connections(files, outcome);
    let of_scripts = of_ifcfg(files, outcome);
    outcome.network = of_connections(&all);
    outcome.network.interfaces.extend(of_scripts.interfaces.iter().cloned());
    // Of two files with one UUID, as a copy has it, one is not used: the newer one is, and there the names are all that is known.
    let path = |one: &Connection| one.interface.place.clone().unwrap_or_default();
    let doubles: Vec<(Place, What)> = all
        .iter()
        .enumerate()
        .filter_map(|(at, one)| {
            let newer = all.iter().skip(at + 1).find(|other| !one.uuid.is_empty() && other.uuid == one.uuid)?;
            Some((path(one), What::CardTaken(one.interface.name.clone(), path(newer).path)))
        })
        .collect();
    for (place, what) in &doubles {
        outcome.complain(place, what.clone());
    }
    all.retain(|one| !doubles.iter().any(|(place, _)| one.interface.place.as_ref() == Some(place)));
    all.sort_by(|a, b| (b.priority, &a.uuid).cmp(&(a.priority, &b.uuid)));
    let mut metrics = BTreeMap::new();
    let (mut last, mut tables) = (Vec::new(), BTreeMap::new());
    let mut ordered = of_connections(&all);
    for (one, connection) in ordered.interfaces.iter_mut().zip(&all) {
        if connection.any {
            one.names = vec!["*".to_owned()];
        }
        if connection.never_default {
            one.routes.retain(|route| !route.dst.is_default());
            last.push(one.name.clone());
        }
        tables.extend(connection.table.map(|table| (one.name.clone(), table)));
        if let (Some(metric), true) = (connection.metric, one.auto) {
            metrics.insert(one.name.clone(), metric);
        }
    }
    ordered.rules.extend(of_scripts.rules);
    ordered.interfaces.extend(of_scripts.interfaces);
    // A connection for one card comes before one for any.
    ordered.interfaces.sort_by_key(|one| one.names.first().is_some_and(|name| name == "*"));
    ordered.interfaces.sort_by_key(|one| last.contains(&one.name));
    let before: Vec<String> = outcome.kernel.links.iter().map(|link| link.name.clone()).collect();
    let left = if ifupdown_first { left_to_ifupdown(files, &ordered, outcome) } else { Vec::new() };
    // The metrics of what may never have the default route are given last.
    outcome.kernel.links.sort_by_key(|link| last.contains(&link.name));
    apply(&ordered, &mut metrics, outcome);
    // It is there, and only not NetworkManager's.
    let is_left = |what: &What| matches!(what, What::NoCard(name) if left.iter().any(|link| link.name == *name));
    outcome.complaints.retain(|complaint| !is_left(&complaint.what));
    outcome.kernel.links.extend(left);
    outcome.kernel.links.sort_by_key(|link| before.iter().position(|name| *name == link.name).unwrap_or(usize::MAX));
    for (name, table) in tables {
        let of = |route: &&mut kernel::Route| route.dev == name && route.proto == "kernel" && !route.dst.is_v6();
        outcome.kernel.routes.iter_mut().filter(of).for_each(|route| route.table = table);
    }
}

/// Takes the links out that /etc/network/interfaces names: the plugin ifupdown leaves them alone, `managed=false` as it is by default
/// (NetworkManager.conf(5)).
fn left_to_ifupdown(files: &[File], network: &Network, outcome: &mut Outcome) -> Vec<kernel::Link> {
    let named = interfaces::read(files, &mut Outcome::default()).stanzas;
    let mut left = Vec::new();
    for stanza in named.iter().filter(|stanza| stanza.name != "lo") {
        let Some(at) = outcome.kernel.links.iter().position(|link| link.name == stanza.name) else { continue };
        let link = outcome.kernel.links.remove(at);
        if network.interfaces.iter().any(|one| one.auto && one.takes(&link)) {
            outcome.complain(&stanza.place, What::LeftToIfupdown(stanza.name.clone()));
        }
        left.push(link);
    }
    left
}

/// Brings up what takes each link. The metric of a kind of link, and one more for each that has it already.
pub(super) fn apply(network: &Network, metrics: &mut BTreeMap<String, u32>, outcome: &mut Outcome) {
    for one in network.interfaces.iter().filter(|one| !matches!(one.kind, Kind::Card | Kind::Loopback)) {
        outcome.kernel.add_link(one.names.first().unwrap_or(&one.name), None);
    }
    for rule in &network.rules {
        let _ = outcome.kernel.add_rule(rule.clone());
    }
    let mut used = Vec::new();
    let links: Vec<_> = outcome.kernel.links.iter().filter(|link| link.name != "lo").cloned().collect();
    let mut reserved: Vec<u32> = Vec::new();
    for link in &links {
        let free =
            |at: &usize, one: &Interface| !used.contains(at) || one.names.first().is_some_and(|name| name != "*");
        let takers: Vec<_> = network
            .interfaces
            .iter()
            .enumerate()
            .filter(|(at, one)| one.takes(link) && one.auto && free(at, one))
            .collect();
        let mut takers = takers.into_iter();
        let Some((at, one)) = takers.next() else { continue };
        for (other_at, other) in takers {
            if other.names.first().is_some_and(|name| name == "*") {
                continue;
            }
            used.push(other_at);
            let first = one.place.as_ref().map_or(String::new(), |place| place.path.clone());
            if let Some(place) = &other.place {
                outcome.complain(place, What::CardTaken(link.name.clone(), first));
            }
        }
        used.push(at);
        let base = match one.kind {
            Kind::Card | Kind::Loopback => 100,
            Kind::Bond(_) => 300,
            Kind::Vlan(_) => 400,
            Kind::Bridge(_) => 425,
            Kind::Made => 450,
        };
        let mut metric = metrics.get(&one.name).copied().unwrap_or(base);
        while !metrics.contains_key(&one.name) && reserved.contains(&metric) {
            metric += 1;
        }
        reserved.push(metric);
        activate(one, &link.name, metric, outcome);
    }
    for (at, one) in network.interfaces.iter().enumerate() {
        let place = one.matched.as_ref().or(one.place.as_ref()).cloned().unwrap_or_default();
        if !one.auto && !used.contains(&at) {
            outcome.complain(&place, What::NotStarted(one.name.clone()));
        } else if !links.iter().any(|link| one.takes(link)) {
            match (one.macs.first(), one.names.first()) {
                (Some(mac), _) => outcome.complain(&place, What::NoMac(mac.clone())),
                (None, Some(name)) if name == "*" => {}
                (None, name) => outcome.complain(&place, What::NoCard(name.unwrap_or(&one.name).clone())),
            }
        }
    }
}

fn activate(one: &Interface, dev: &str, metric: u32, outcome: &mut Outcome) {
    let _ = outcome.kernel.up(dev);
    if let Some(link) = outcome.kernel.link_mut(dev) {
        link.dynamic |= one.dhcp4 || one.dhcp6;
        link.mtu = one.mtu.or(link.mtu);
        link.master = one.master.clone();
    }
    if one.master.is_some() {
        return;
    }
    for address in &one.addresses {
        let _ = outcome.kernel.add(dev, address.asked(Some(metric)));
    }
    let wanted = |route: &DeclaredRoute| Wanted {
        metric: route.metric.or(Some(metric)),
        scope: route.scope.or((route.kind != "unicast").then_some(Scope::Link)),
        ..route.wanted(dev, "static")
    };
    for route in &one.routes {
        let place = route.from.first().cloned().unwrap_or_default();
        if let Some(via) = route.via
            && !route.onlink
            && outcome.kernel.on_link(via, Some(dev), route.table.unwrap_or(MAIN)).is_none()
            && !matches!(via, IpAddr::V6(via) if via.is_unicast_link_local())
            && !one.dhcp4
        {
            // It makes the router reachable by a route of its own.
            outcome.complain(&place, What::GatewayOnlink(via.to_string(), dev.to_owned()));
            let direct = Wanted {
                metric: Some(metric),
                scope: Some(Scope::Link),
                dev: Some(dev.to_owned()),
                proto: "static",
                from: route.from.clone(),
                ..Wanted::to(Cidr::host(via))
            };
            let _ = outcome.kernel.add_route(direct, How::Append);
        }
        if let Err(refused) = outcome.kernel.add_route(wanted(route), How::Append) {
            let via = route.via.map_or(String::new(), |via| format!(" via {via}"));
            outcome.complain(&place, What::RouteRefused(format!("{}{via}", route.dst), refused.words()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Card, Dialect, Machine, after_restart};

    fn file(name: &str, text: &str, mode: u32) -> File {
        File { path: format!("{}/{name}", DIRS[0]), bytes: text.into(), mode, owner: (0, 0) }
    }

    #[test]
    fn connections_are_activated() {
        let text = |name: &str, rest: &str| {
            format!("[connection]\nid={name}\ntype=ethernet\ninterface-name={name}\n\n[ipv4]\nmethod=manual\n{rest}")
        };
        let files = [
            file(
                "a.nmconnection",
                &text("eth0", "address1=10.0.0.5/24,10.0.0.1\nroute1=172.16.0.0/12,10.0.0.254,50\n"),
                0o600,
            ),
            file("b.nmconnection", &text("eth1", "address1=192.168.7.5/24\ngateway=192.168.7.1\n"), 0o600),
            file("c.nmconnection", &text("eth2", "address1=192.168.8.5/24\n"), 0o644),
        ];
        let cards = ["eth0", "eth1", "eth2"].map(|name| Card { name: name.into(), mac: None }).to_vec();
        let outcome = after_restart(Dialect::NetworkManager, &files, &Machine { cards, ..Machine::default() });
        assert_eq!(
            outcome.kernel.route_lines(MAIN),
            [
                "default via 10.0.0.1 dev eth0 proto static metric 100",
                "default via 192.168.7.1 dev eth1 proto static metric 101",
                "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.5 metric 100",
                "172.16.0.0/12 via 10.0.0.254 dev eth0 proto static metric 50",
                "192.168.7.0/24 dev eth1 proto kernel scope link src 192.168.7.5 metric 101",
            ]
        );
        assert_eq!(outcome.complaints.iter().map(|one| one.what.clone()).collect::<Vec<_>>(), [What::TooOpen(0o644)]);
    }
}
