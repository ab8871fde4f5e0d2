//! YAML of netplan(5), version 2, read as `netplan generate` reads it: files of three directories in the order of their names, merged; one
//! error, and nothing is generated at all.

mod tree;

use std::collections::BTreeMap;

use tree::{Node, Value, tree};

use super::address::Cidr;
use super::kernel::{MAIN, Rule, Scope};
use super::{
    DeclaredAddress, DeclaredRoute, File, Interface, Kind, Network, Outcome, Place, Syntax, What, keyfile, networkd,
};

/// Where the files are, weakest first.
pub const DIRS: [&str; 3] = ["/lib/netplan", "/etc/netplan", "/run/netplan"];

/// Keys of every definition whose values do not change what is simulated.
const OTHERS: [&str; 65] = [
    "accept-ra",
    "activation-mode",
    "critical",
    "dhcp-identifier",
    "dhcp4-overrides",
    "dhcp6-overrides",
    "ipv6-address-generation",
    "ipv6-address-token",
    "ipv6-mtu",
    "ipv6-privacy",
    "link-local",
    "optional",
    "optional-addresses",
    "neigh-suppress",
    "ignore-carrier",
    "networkmanager",
    "openvswitch",
    "ra-overrides",
    "wakeonlan",
    "wakeonwlan",
    "emit-lldp",
    "receive-checksum-offload",
    "transmit-checksum-offload",
    "tcp-segmentation-offload",
    "tcp6-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "large-receive-offload",
    "virtual-function-count",
    "embedded-switch-mode",
    "delay-virtual-functions-rebind",
    "auth",
    "infiniband-mode",
    "regulatory-domain",
    "access-points",
    "parameters",
    "mode",
    "local",
    "remote",
    "key",
    "keys",
    "ttl",
    "peers",
    "port",
    "ports",
    "mark",
    "hairpin",
    "port-mac-learning",
    "mac-learning",
    "aging",
    "limit",
    "type-of-service",
    "flow-label",
    "do-not-fragment",
    "notifications",
    "arp-proxy",
    "short-circuit",
    "checksums",
    "extensions",
    "peer",
    "apn",
    "pin",
    "sim-id",
    "number",
    "network-id",
];

/// What the definitions say, and in which program's hands each is.
#[derive(Debug, Default)]
struct Definitions {
    network: Network,
    renderers: BTreeMap<String, String>,
    renderer: Option<String>,
    new_names: BTreeMap<String, String>,
    undefined: Vec<(String, Place)>,
    /// The VLANs whose number is said.
    with_id: Vec<String>,
}

/// The files that are read, in order: of two with one name the strongest directory's.
fn chosen(files: &[File]) -> Vec<&File> {
    let mut all: BTreeMap<&str, &File> = BTreeMap::new();
    for dir in DIRS {
        for file in files.iter().filter(|file| file.dir() == dir && file.name().ends_with(".yaml")) {
            all.insert(file.name(), file);
        }
    }
    all.into_values().collect()
}

/// What the files declare, as far as they can be read.
pub fn read(files: &[File]) -> Network {
    let mut all = Definitions::default();
    for file in chosen(files) {
        let _ = all.read(file);
    }
    all.network
}

/// The renderer that the files ask for all in all: `networkd` where none does.
pub fn renderer(files: &[File]) -> String {
    let mut all = Definitions::default();
    for file in chosen(files) {
        let _ = all.read(file);
    }
    all.renderer.unwrap_or_else(|| "networkd".to_owned())
}

/// What `netplan generate` and then the renderers do.
pub(super) fn start(files: &[File], outcome: &mut Outcome) {
    let mut all = Definitions::default();
    let mut refused = false;
    for file in files.iter().filter(|file| DIRS.contains(&file.dir()) && !file.name().ends_with(".yaml")) {
        outcome.complain(&Place::of(file, 0), What::WrongEnding(".yaml"));
    }
    for file in chosen(files) {
        if let Err((line, why)) = all.read(file) {
            outcome.complain(&Place::of(file, line), What::BlocksAll(why));
            refused = true;
        }
    }
    if !refused {
        for (name, place) in &all.undefined {
            if !all.network.interfaces.iter().any(|one| one.name == *name) {
                outcome.complain(place, What::BlocksAll(Syntax::Value("interfaces".into(), name.clone())));
                refused = true;
            }
        }
    }
    outcome.network = all.network.clone();
    let _ = outcome.kernel.up("lo");
    if refused {
        return;
    }
    for (name, new) in &all.new_names {
        let definition = all.network.interfaces.iter().find(|one| one.name == *name);
        let taken = definition
            .and_then(|one| outcome.kernel.links.iter_mut().find(|link| link.name != "lo" && one.takes(link)));
        if let Some(link) = taken {
            link.name = new.clone();
        }
    }
    let mut by_networkd = all.network.clone();
    for one in &mut by_networkd.interfaces {
        if let Some(new) = all.new_names.get(&one.name) {
            one.names = vec![new.clone()];
        }
    }
    let of_manager = |name: &str| {
        let own = all.renderers.get(name).or(all.renderer.as_ref());
        own.is_some_and(|renderer| renderer == "NetworkManager")
    };
    let mut by_manager = by_networkd.clone();
    by_networkd.interfaces.retain(|one| !of_manager(&one.name));
    by_manager.interfaces.retain(|one| of_manager(&one.name));
    // `10-netplan-NAME.network`
    by_networkd.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    networkd::apply(&by_networkd, outcome);
    if !by_manager.interfaces.is_empty() {
        by_manager.rules.clear();
        keyfile::apply(&by_manager, &mut BTreeMap::new(), outcome);
    }
}

impl Definitions {
    fn read(&mut self, file: &File) -> Result<(), (usize, Syntax)> {
        let text = String::from_utf8_lossy(&file.bytes);
        let Some(root) = tree(&text)? else { return Ok(()) };
        for (key, value) in root.entries("network")? {
            match key.words() {
                Some("network") => self.network(file, value)?,
                other => return Err((key.line, Syntax::Key(other.unwrap_or_default().to_owned()))),
            }
        }
        Ok(())
    }

    fn network(&mut self, file: &File, node: &Node) -> Result<(), (usize, Syntax)> {
        for (key, value) in node.entries("network")? {
            let name = key.scalar("network")?;
            match name {
                "version" => {
                    if value.scalar(name)? != "2" {
                        return Err((value.line, Syntax::Value(name.into(), value.scalar(name)?.into())));
                    }
                }
                "renderer" => {
                    let text = value.scalar(name)?;
                    if !matches!(text, "networkd" | "NetworkManager" | "sriov") {
                        return Err((value.line, Syntax::Value(name.into(), text.into())));
                    }
                    self.renderer = Some(text.to_owned());
                }
                "ethernets" | "wifis" | "modems" | "bonds" | "bridges" | "vlans" | "tunnels" | "vrfs"
                | "dummy-devices" | "nm-devices" | "virtual-ethernets" => {
                    for (id, definition) in value.entries(name)? {
                        if id.words() == Some("renderer") {
                            self.renderer = definition.words().map(str::to_owned);
                            continue;
                        }
                        self.definition(file, name, id, definition)?;
                    }
                }
                "openvswitch" => {}
                other => return Err((key.line, Syntax::Key(other.to_owned()))),
            }
        }
        Ok(())
    }

    fn definition(&mut self, file: &File, section: &str, id: &Node, node: &Node) -> Result<(), (usize, Syntax)> {
        let place = |node: &Node| Place::of(file, node.line);
        let name = id.scalar(section)?.to_owned();
        let mut one = match self.network.interfaces.iter().position(|one| one.name == name) {
            Some(at) => self.network.interfaces.remove(at),
            None => Interface {
                name: name.clone(),
                place: Some(place(id)),
                matched: Some(place(id)),
                auto: true,
                kind: match section {
                    "bridges" => Kind::Bridge(Vec::new()),
                    "bonds" => Kind::Bond(Vec::new()),
                    "vlans" => Kind::Vlan(String::new()),
                    "ethernets" | "wifis" => Kind::Card,
                    _ => Kind::Made,
                },
                ..Interface::default()
            },
        };
        let result = self.keys(file, &mut one, node);
        let vlan_without_link = matches!(&one.kind, Kind::Vlan(link) if link.is_empty());
        let is_vlan = matches!(&one.kind, Kind::Vlan(_));
        if node.entries(&name).is_ok_and(|all| all.iter().any(|(key, _)| key.words() == Some("id"))) {
            self.with_id.push(name.clone());
        }
        self.network.interfaces.push(one);
        result?;
        if vlan_without_link {
            return Err((id.line, Syntax::Missing("link")));
        }
        if is_vlan && !self.with_id.contains(&name) {
            return Err((id.line, Syntax::Missing("id")));
        }
        Ok(())
    }

    fn keys(&mut self, file: &File, one: &mut Interface, node: &Node) -> Result<(), (usize, Syntax)> {
        let place = |node: &Node| Place::of(file, node.line);
        for (key, value) in node.entries(&one.name)? {
            let name = key.scalar(&one.name)?;
            match name {
                "addresses" => {
                    // Those with options are written into sections of their own, behind the others.
                    let (plain, other): (Vec<&Node>, Vec<&Node>) =
                        value.items(name)?.iter().partition(|item| item.words().is_some());
                    for item in plain.into_iter().chain(other) {
                        let cidr = address(item)?;
                        if !one.addresses.iter().any(|known| known.cidr == cidr) {
                            one.addresses.push(DeclaredAddress::new(cidr, vec![place(item)]));
                        }
                    }
                }
                "gateway4" | "gateway6" => {
                    let via = value.address(name)?;
                    if via.is_ipv6() != (name == "gateway6") {
                        return Err((value.line, Syntax::Value(name.into(), via.to_string())));
                    }
                    one.routes.retain(|route| {
                        !(route.dst.is_default()
                            && route.dst.is_v6() == via.is_ipv6()
                            && route.metric.is_none()
                            && route.table.is_none())
                    });
                    one.routes.push(DeclaredRoute::default(via, vec![place(value)]));
                }
                "routes" => {
                    for item in value.items(name)? {
                        let route = route(file, item)?;
                        if !one.routes.contains(&route) {
                            one.routes.push(route);
                        }
                    }
                }
                "routing-policy" => {
                    for item in value.items(name)? {
                        let rule = rule(file, item)?;
                        if !self.network.rules.contains(&rule) {
                            self.network.rules.push(rule);
                        }
                    }
                }
                "dhcp4" => one.dhcp4 = value.yes(name)?,
                "dhcp6" => one.dhcp6 = value.yes(name)?,
                "mtu" => one.mtu = Some(value.number(name)?),
                "macaddress" => drop(value.scalar(name)?),
                "set-name" => {
                    self.new_names.insert(one.name.clone(), value.scalar(name)?.to_owned());
                }
                "match" => {
                    for (key, value) in value.entries(name)? {
                        match key.scalar(name)? {
                            "name" => one.names = vec![value.scalar("name")?.to_owned()],
                            "macaddress" => one.macs = vec![value.scalar("macaddress")?.to_lowercase()],
                            "driver" => {
                                if one.names.is_empty() && one.macs.is_empty() {
                                    one.names = vec!["*".to_owned()];
                                }
                            }
                            other => return Err((key.line, Syntax::Key(other.to_owned()))),
                        }
                        one.matched = Some(place(value));
                    }
                    if one.names.is_empty() && one.macs.is_empty() {
                        one.names = vec!["*".to_owned()];
                    }
                }
                "nameservers" => {
                    for (key, value) in value.entries(name)? {
                        match key.scalar(name)? {
                            "addresses" => {
                                for item in value.items("addresses")? {
                                    let server = item.address("addresses")?;
                                    if !one.dns.contains(&server) {
                                        one.dns.push(server);
                                    }
                                }
                            }
                            "search" => {}
                            other => return Err((key.line, Syntax::Key(other.to_owned()))),
                        }
                    }
                }
                "interfaces" => {
                    for item in value.items(name)? {
                        let port = item.scalar(name)?.to_owned();
                        self.undefined.push((port.clone(), place(item)));
                        if let Kind::Bridge(ports) | Kind::Bond(ports) = &mut one.kind
                            && !ports.contains(&port)
                        {
                            ports.push(port);
                        }
                    }
                }
                "link" => {
                    let link = value.scalar(name)?.to_owned();
                    self.undefined.push((link.clone(), place(value)));
                    if let Kind::Vlan(known) = &mut one.kind {
                        *known = link;
                    }
                }
                "id" | "table" => drop(value.number(name)?),
                "renderer" => {
                    self.renderers.insert(one.name.clone(), value.scalar(name)?.to_owned());
                }
                other if OTHERS.contains(&other) => {}
                other => return Err((key.line, Syntax::Key(other.to_owned()))),
            }
        }
        Ok(())
    }
}

/// `10.0.0.5/24`, or a mapping with options of that one.
fn address(item: &Node) -> Result<Cidr, (usize, Syntax)> {
    let text = match &item.value {
        Value::Map(map) => map.first().and_then(|(key, _)| key.words()),
        _ => item.words(),
    };
    let text = text.unwrap_or_default();
    if !text.contains('/') {
        return Err((item.line, Syntax::NoPrefix(text.to_owned())));
    }
    Cidr::parse(text).ok_or_else(|| (item.line, Syntax::Value("addresses".into(), text.to_owned())))
}

fn route(file: &File, item: &Node) -> Result<DeclaredRoute, (usize, Syntax)> {
    let (mut to, mut route) = (None, DeclaredRoute::to(Cidr::everything(false)));
    let mut asked: Vec<(String, u32)> = Vec::new();
    for (key, value) in item.entries("routes")? {
        let name = key.scalar("routes")?;
        if name == "via" || (name == "to" && route.from.is_empty()) {
            route.from = vec![Place::of(file, value.line)];
        }
        match name {
            "to" => to = Some((value.line, value.scalar(name)?)),
            "via" => route.via = Some(value.address(name)?),
            "metric" => route.metric = Some(value.number(name)?),
            "table" => route.table = Some(value.number(name)?).filter(|table| *table != MAIN),
            "on-link" => route.onlink = value.yes(name)?,
            "from" => route.src = Some(value.address(name)?),
            "scope" => {
                route.scope = Some(match value.scalar(name)? {
                    "global" => Scope::Global,
                    "link" => Scope::Link,
                    "host" => Scope::Host,
                    other => return Err((value.line, Syntax::Value(name.into(), other.into()))),
                });
            }
            "type" => {
                route.kind = match value.scalar(name)? {
                    "unicast" => "unicast",
                    "blackhole" => "blackhole",
                    "unreachable" => "unreachable",
                    "prohibit" => "prohibit",
                    "throw" => "throw",
                    "local" | "nat" | "anycast" | "broadcast" | "multicast" | "xresolve" => "unicast",
                    other => return Err((value.line, Syntax::Value(name.into(), other.into()))),
                };
            }
            "mtu" | "congestion-window" | "advertised-receive-window" | "advertised-mss" => {
                asked.push((name.to_owned(), value.number(name)?));
            }
            other => return Err((key.line, Syntax::Key(other.to_owned()))),
        }
    }
    let words = [
        ("mtu", "mtu"),
        ("advertised-mss", "advmss"),
        ("congestion-window", "initcwnd"),
        ("advertised-receive-window", "initrwnd"),
    ];
    let word = |(key, word): &(&str, &str)| {
        asked.iter().find(|(known, _)| known == key).map(|(_, value)| format!("{word} {value}"))
    };
    route.more = words.iter().filter_map(word).collect::<Vec<_>>().join(" ");
    let (line, to) = to.ok_or((item.line, Syntax::Missing("to")))?;
    route.dst = match to {
        "default" => Cidr::everything(route.via.is_some_and(|via| via.is_ipv6())),
        to => Cidr::parse(to).ok_or_else(|| (line, Syntax::Value("to".into(), to.to_owned())))?,
    };
    route.dst = route.dst.network();
    // Without a router it is of the link, if nothing else is said.
    if route.via.is_none() && route.kind == "unicast" && route.scope == Some(Scope::Global) {
        return Err((item.line, Syntax::Missing("via")));
    }
    Ok(route)
}

fn rule(file: &File, item: &Node) -> Result<Rule, (usize, Syntax)> {
    let mut rule = Rule::new(false, "static", Some(Place::of(file, item.line)));
    let cidr = |value: &Node, key: &str| {
        let text = value.scalar(key)?;
        Cidr::parse(text).ok_or_else(|| (value.line, Syntax::Value(key.to_owned(), text.to_owned())))
    };
    for (key, value) in item.entries("routing-policy")? {
        match key.scalar("routing-policy")? {
            "from" => rule.from = Some(cidr(value, "from")?),
            "to" => rule.to = Some(cidr(value, "to")?),
            "table" => rule.table = value.number("table")?,
            "priority" => rule.priority = Some(value.number("priority")?),
            "mark" => rule.more = format!("fwmark 0x{:x}", value.number("mark")?),
            "type-of-service" => drop(value.number("type-of-service")?),
            other => return Err((key.line, Syntax::Key(other.to_owned()))),
        }
    }
    rule.v6 = rule.from.or(rule.to).is_some_and(Cidr::is_v6);
    if rule.from.is_none() && rule.to.is_none() {
        return Err((item.line, Syntax::Missing("from")));
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<(usize, Syntax)> {
        let file = File { path: "/etc/netplan/a.yaml".into(), bytes: text.into(), mode: 0o600, owner: (0, 0) };
        Definitions::default().read(&file).err()
    }

    #[test]
    fn what_netplan_refuses_is_refused() {
        let text = |body: &str| format!("network:\n  version: 2\n  ethernets:\n    eth0:\n{body}");
        assert_eq!(refused(&text("      dhcp4: true\n")), None);
        assert_eq!(refused(&text("      adresses: [10.0.0.5/24]\n")), Some((5, Syntax::Key("adresses".into()))));
        assert_eq!(refused(&text("      addresses: [10.0.0.5]\n")), Some((5, Syntax::NoPrefix("10.0.0.5".into()))));
        assert_eq!(refused(&text("\t  addresses: [10.0.0.5/24]\n")), Some((5, Syntax::Tab)));
        assert!(matches!(refused(&text("      addresses: [10.0.0.5/24\n")), Some((_, Syntax::Yaml(_)))));
        assert_eq!(refused(&text("      dhcp4: maybe\n")), Some((5, Syntax::Value("dhcp4".into(), "maybe".into()))));
    }

    proptest::proptest! {
        #[test]
        fn noise_is_read(text in "[a-z0-9: \\[\\]{}\n\t,'\"&*!|>-]{0,80}") {
            let _ = refused(&text);
            let _ = refused(&format!("network:\n  ethernets:\n    eth0:\n{text}"));
        }
    }
}
