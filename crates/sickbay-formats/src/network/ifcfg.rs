//! `ifcfg-*`, `route-*` and `rule-*` in /etc/sysconfig/network-scripts, as the scripts of that directory take them (initscripts 9).
//!
//! What is said of the network here follows /etc/init.d/network, ifup, ifup-eth, ifup-aliases, ifup-routes and ifup-ipv6, step by step, because
//! what those scripts drop silently is what breaks networks.

mod start;

use std::net::IpAddr;

pub use start::after_ifup;
pub(super) use start::start;
use start::{address_of, alias_addresses, expand, routes};

use super::address::Cidr;
use super::sourced::Env;
use super::{DeclaredAddress, DeclaredRoute, File, Interface, Kind, Network, Outcome, Place, What};

/// Where the files are.
pub const DIR: &str = "/etc/sysconfig/network-scripts";
/// What is sourced before each of them.
pub const NETWORK: &str = "/etc/sysconfig/network";

/// Routes of the whole machine, set last.
pub const STATIC_ROUTES: &str = "/etc/sysconfig/static-routes";

/// Whether the scripts pass over a file of that name (`__sed_discard_ignored_files` of 9.49).
pub fn is_ignored(name: &str) -> bool {
    ["~", ".bak", ".old", ".orig", ".rpmnew", ".rpmorig", ".rpmsave"].iter().any(|end| name.ends_with(end))
}

/// A file with what it is the configuration of.
struct Config<'a> {
    file: &'a File,
    /// `eth0` of `ifcfg-eth0`
    name: &'a str,
    /// What the shell has once both files are sourced.
    env: Env,
}

impl Config<'_> {
    fn device(&self) -> &str {
        self.env.get("DEVICE")
    }

    fn place(&self, name: &str) -> Place {
        self.env.place(name).cloned().unwrap_or_else(|| Place::of(self.file, 1))
    }
}

/// The `ifcfg-*` that are read as configurations of their own, in the order in which the init script starts them.
fn configs<'a>(files: &'a [File], global: &Env, outcome: &mut Outcome) -> Vec<Config<'a>> {
    let mut all = Vec::new();
    for file in files.iter().filter(|file| file.dir() == DIR) {
        let Some(name) = file.name().strip_prefix("ifcfg-") else { continue };
        if is_ignored(name) || name == "lo" || name.contains(':') || name.contains("-range") || name.is_empty() {
            continue;
        }
        let mut env = global.clone();
        env.source(file, outcome);
        let mac = env.get("HWADDR").to_lowercase();
        if env.get("DEVICE").is_empty() && !mac.is_empty() {
            let place = env.place("HWADDR").cloned().unwrap_or_else(|| Place::of(file, 1));
            let found = outcome.kernel.links.iter().find(|link| link.mac.as_ref() == Some(&mac));
            match found.map(|link| link.name.clone()) {
                Some(found) => env.set("DEVICE", &found, &place),
                None => outcome.complain(&place, What::NoMac(mac)),
            }
        }
        all.push(Config { file, name, env });
    }
    // `sed 's/[0-9]/ &/' | sort -k 1,1 -k 2n`
    all.sort_by_key(|config| {
        let digit = config.name.find(|c: char| c.is_ascii_digit()).unwrap_or(config.name.len());
        let (head, tail) = config.name.split_at(digit);
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).take(18).collect::<String>();
        // eth0.100 is a number with a fraction: before eth0.5.
        let (whole, fraction) = tail.split_once('.').unwrap_or((tail, ""));
        let fraction = if whole.bytes().all(|byte| byte.is_ascii_digit()) { digits(fraction) } else { String::new() };
        let fraction = fraction.trim_end_matches('0').to_owned();
        (head.to_owned(), digits(tail).parse::<u64>().unwrap_or(0), fraction, config.name.to_owned())
    });
    all
}

fn global(files: &[File], outcome: &mut Outcome) -> Env {
    let mut env = Env::default();
    if let Some(file) = files.iter().find(|file| file.path == NETWORK) {
        env.source(file, outcome);
    }
    env
}

/// What the files declare, whatever the scripts then drop of it.
pub fn read(files: &[File]) -> Network {
    let mut scratch = Outcome::default();
    let global = global(files, &mut scratch);
    let mut network = Network::default();
    let configs = configs(files, &global, &mut scratch);
    for config in &configs {
        let env = &config.env;
        let name = if config.device().is_empty() { config.name } else { config.device() };
        let (base, _) = name.split_once(':').unwrap_or((name, ""));
        let mut one = Interface {
            name: base.to_owned(),
            kind: kind(env, base, &configs),
            auto: !no_at_boot(env),
            dhcp4: is_dynamic(env),
            dhcp6: env.get("DHCPV6C") == "yes",
            mtu: env.get("MTU").parse().ok(),
            master: ["MASTER", "BRIDGE", "TEAM_MASTER"]
                .map(|key| env.get(key))
                .into_iter()
                .find(|v| !v.is_empty())
                .map(str::to_owned),
            place: Some(Place::of(config.file, env.place("DEVICE").map_or(1, |place| place.line))),
            matched: env.place("HWADDR").or(env.place("DEVICE")).cloned(),
            ..Interface::default()
        };
        if !env.get("HWADDR").is_empty() {
            one.macs.push(env.get("HWADDR").to_lowercase());
        }
        if !one.dhcp4 {
            let numbered = expand(env).0;
            one.addresses.extend(
                numbered.into_iter().filter_map(|(text, from)| Some(DeclaredAddress::new(address_of(&text)?, from))),
            );
        }
        for key in ["IPV6ADDR", "IPV6ADDR_SECONDARIES"] {
            let from: Vec<Place> = env.place(key).cloned().into_iter().collect();
            let all = env.get(key).split_whitespace().filter_map(v6_address);
            one.addresses.extend(all.map(|cidr| DeclaredAddress::new(cidr, from.clone())));
        }
        for file in files.iter().filter(|file| file.dir() == DIR && !is_ignored(file.name())) {
            let of_alias = file.name().strip_prefix("ifcfg-").and_then(|name| name.strip_prefix(base));
            if of_alias.is_some_and(|rest| rest.starts_with(':') || rest.starts_with("-range")) {
                let addresses = alias_addresses(&config.env, file, &mut scratch);
                one.addresses
                    .extend(addresses.into_iter().map(|(_, cidr, place)| DeclaredAddress::new(cidr, vec![place])));
            }
        }
        let gateway = env.get("GATEWAY").parse::<IpAddr>().ok();
        if let Some(via) = gateway
            && !one.dhcp4
            && (env.place("GATEWAY") != global.place("GATEWAY")
                || one.addresses.iter().any(|address| address.cidr.contains(via)))
        {
            let from = env.place("GATEWAY").cloned().into_iter().collect();
            one.routes
                .push(DeclaredRoute { metric: env.get("METRIC").parse().ok(), ..DeclaredRoute::default(via, from) });
        }
        let gateway = env.get("IPV6_DEFAULTGW").split('%').next().unwrap_or_default().parse::<IpAddr>().ok();
        if let Some(via) = gateway
            && (env.place("IPV6_DEFAULTGW") != global.place("IPV6_DEFAULTGW")
                || one.addresses.iter().any(|address| address.cidr.contains(via)))
        {
            one.routes.push(DeclaredRoute::default(via, env.place("IPV6_DEFAULTGW").cloned().into_iter().collect()));
        }
        one.dns.extend((1..=3).filter_map(|n| env.get(&format!("DNS{n}")).parse::<IpAddr>().ok()));
        for route in declared_routes(files, base, config.name, &mut network.rules) {
            if !one.routes.contains(&route) {
                one.routes.push(route);
            }
        }
        let known = network.interfaces.iter().position(|other| other.name == one.name);
        match known.and_then(|at| network.interfaces.get_mut(at)) {
            // A copy that is started too.
            Some(known) => {
                known.addresses.extend(one.addresses);
                known.routes.extend(one.routes);
            }
            None => network.interfaces.push(one),
        }
    }
    network
}

/// The routes of a device as declarations, both syntaxes, and the rules.
fn declared_routes(
    files: &[File],
    device: &str,
    name: &str,
    rules: &mut Vec<super::kernel::Rule>,
) -> Vec<DeclaredRoute> {
    // A machine on which everything can be reached, so that nothing is refused.
    let mut scratch = Outcome::default();
    scratch.kernel.add_link(device, None);
    if let Some(link) = scratch.kernel.link_mut(device) {
        link.up = true;
        link.dynamic = true;
    }
    routes(files, device, name, &mut scratch);
    for mut rule in std::mem::take(&mut scratch.kernel.rules) {
        let said = rule
            .place
            .as_ref()
            .and_then(|place| files.iter().find(|file| file.path == place.path).map(|file| (file, place.line)));
        let text = said.and_then(|(file, line)| {
            crate::lines::lines(&file.bytes).nth(line.saturating_sub(1)).map(|line| line.text.to_vec())
        });
        let words = text.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
        if !words.split_whitespace().any(|word| matches!(word, "priority" | "pref" | "preference" | "order" | "prio")) {
            rule.priority = None;
        }
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    let declared = scratch.kernel.routes.into_iter().filter(|route| route.proto != "kernel");
    declared.map(DeclaredRoute::of).collect()
}

fn kind(env: &Env, device: &str, all: &[Config<'_>]) -> Kind {
    let ports = |key: &str| {
        let of = all.iter().filter(|config| config.env.get(key) == device);
        of.map(|config| config.device().to_owned()).collect::<Vec<_>>()
    };
    match env.get("TYPE") {
        "Bridge" => return Kind::Bridge(ports("BRIDGE")),
        "GRE" | "GRE6" | "IPIP" | "IPIP6" | "SIT" | "sit" | "Tap" | "Team" | "OVSBridge" | "OVSPort" | "IPSEC"
        | "xDSL" | "Modem" => return Kind::Made,
        _ => {}
    }
    if env.get("VLAN") == "yes" {
        let link = match env.get("PHYSDEV") {
            "" => device.rsplit_once('.').map_or("", |(link, _)| link),
            link => link,
        };
        return Kind::Vlan(link.to_owned());
    }
    if !env.get("BONDING_OPTS").is_empty()
        || env.get("TYPE") == "Bond"
        || env.get("BONDING_MASTER") == "yes"
        || !ports("MASTER").is_empty()
    {
        return Kind::Bond(ports("MASTER"));
    }
    if !env.get("TEAM_CONFIG").is_empty() || env.get("DEVICETYPE") == "Team" {
        return Kind::Made;
    }
    if device == "lo" { Kind::Loopback } else { Kind::Card }
}

fn is_dynamic(env: &Env) -> bool {
    matches!(env.get("BOOTPROTO"), "dhcp" | "bootp")
}

/// `grep -E "^ONBOOT=['\"]?[Nn][Oo]['\"]?"`: what begins so is a no.
fn no_at_boot(env: &Env) -> bool {
    env.get("ONBOOT").to_lowercase().starts_with("no")
}

fn v6_address(text: &str) -> Option<Cidr> {
    match text.contains('/') {
        true => Cidr::parse(text),
        false => Cidr::new(text.parse().ok()?, 64),
    }
    .filter(|cidr| cidr.is_v6())
}
