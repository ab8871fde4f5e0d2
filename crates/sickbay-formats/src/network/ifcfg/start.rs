//! What /etc/init.d/network start and ifup do with the files, step by step.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    Config, DIR, NETWORK, STATIC_ROUTES, configs, global, is_dynamic, is_ignored, kind, no_at_boot, read, v6_address,
};
use crate::network::address::{self, Cidr};
use crate::network::ip_command::{self, Ended};
use crate::network::kernel::{How, Kernel, Link, Scope, Wanted};
use crate::network::sourced::Env;
use crate::network::{File, Kind, Outcome, Place, What};

/// What /etc/init.d/network start does.
pub(in crate::network) fn start(files: &[File], outcome: &mut Outcome) {
    outcome.network = read(files);
    if !files.iter().any(|file| file.path == NETWORK) && !files.is_empty() {
        outcome.complain(&Place { path: NETWORK.into(), line: 0 }, What::MissingFile(NETWORK.into()));
    }
    let global = global(files, outcome);
    if global.get("NETWORKING") == "no" {
        let place = global.place("NETWORKING").cloned().unwrap_or_default();
        outcome.complain(&place, What::NetworkingOff);
        return;
    }
    let _ = outcome.kernel.up("lo");
    let configs = configs(files, &global, outcome);
    copies(&configs, outcome);
    let mut later: [Vec<&Config<'_>>; 4] = Default::default();
    let mut now = Vec::new();
    for config in &configs {
        let device = if config.device().is_empty() { config.name } else { config.device() };
        let group = match config.env.get("TYPE") {
            _ if config.env.get("SLAVE") == "yes" => continue,
            "xDSL" | "Modem" => Some(2),
            "Bridge" => Some(1),
            "IPSEC" | "IPIP" | "GRE" => Some(3),
            _ => (device.contains('.') || device.starts_with("vlan")).then_some(0),
        };
        match group.and_then(|group| later.get_mut(group)) {
            Some(group) => group.push(config),
            None => now.push(config),
        }
    }
    for config in now.into_iter().chain(later.into_iter().flatten()) {
        if no_at_boot(&config.env) {
            outcome.complain(&config.place("ONBOOT"), What::NotStarted(config.name.to_owned()));
            continue;
        }
        ifup(files, config, &configs, &global, outcome);
    }
    without_parent(files, &configs, outcome);
    static_routes(files, outcome);
    unreached(&global, outcome);
}

/// Aliases of cards that have no file, and ports of bonds that have none: nothing starts them.
fn without_parent(files: &[File], configs: &[Config<'_>], outcome: &mut Outcome) {
    for file in files.iter().filter(|file| file.dir() == DIR && !is_ignored(file.name())) {
        let Some(name) = file.name().strip_prefix("ifcfg-") else { continue };
        let Some((parent, _)) = name.split_once(':').or_else(|| name.split_once("-range")) else { continue };
        if parent != "lo" && !configs.iter().any(|config| config.device() == parent) {
            outcome.complain(&Place::of(file, 1), What::NotStarted(name.to_owned()));
        }
    }
    for config in configs.iter().filter(|config| config.env.get("SLAVE") == "yes") {
        let master = config.env.get("MASTER");
        if !configs.iter().any(|other| other.device() == master) {
            outcome.complain(&config.place("MASTER"), What::NoCard(master.to_owned()));
        }
    }
}

/// The lines of /etc/sysconfig/static-routes that begin with `any`, each of which is given to route(8) behind a dash.
fn static_routes(files: &[File], outcome: &mut Outcome) {
    let Some(file) = files.iter().find(|file| file.path == STATIC_ROUTES) else { return };
    for line in crate::lines::lines(&file.bytes) {
        let text = String::from_utf8_lossy(line.text).into_owned();
        let place = Place::of(file, line.number);
        match text.strip_prefix("any").and_then(|rest| rest.trim_start().split_once([' ', '\t'])) {
            Some((kind @ ("net" | "host"), rest)) => {
                ip_command::line(&format!("route add -{kind} {rest}"), &place, outcome);
            }
            Some((kind, _)) => outcome.complain(&place, What::Garbage(format!("-{kind}"))),
            None if text.trim().is_empty() || text.trim().starts_with('#') => {}
            None => outcome.complain(&place, What::NotRead(text.trim().to_owned())),
        }
    }
}

/// What `ifup NAME`, one after the other, does on a machine whose network is stopped.
pub fn after_ifup(files: &[File], machine: &crate::network::Machine, names: &[&str]) -> Outcome {
    let mut outcome = Outcome { kernel: Kernel::new(&machine.cards), network: read(files), ..Outcome::default() };
    let global = global(files, &mut outcome);
    let configs = configs(files, &global, &mut outcome);
    for name in names {
        for config in configs.iter().filter(|config| config.name == *name) {
            ifup(files, config, &configs, &global, &mut outcome);
        }
    }
    outcome
}

/// Copies of files that are started as configurations of their own.
fn copies(configs: &[Config<'_>], outcome: &mut Outcome) {
    for config in configs {
        let device = config.device();
        let twin = configs.iter().any(|other| other.name == device && other.device() == device);
        if device != config.name && twin && !device.is_empty() {
            outcome.complain(&config.place("DEVICE"), What::CopyStarted(config.device().to_owned()));
        }
    }
}

/// The gateway of /etc/sysconfig/network that is in no card's network.
fn unreached(global: &Env, outcome: &mut Outcome) {
    let (Some(place), Ok(gateway)) = (global.place("GATEWAY"), global.get("GATEWAY").parse::<IpAddr>()) else { return };
    let near = |link: &Link| link.dynamic || link.addresses.iter().any(|one| one.cidr.contains(gateway));
    if !outcome.kernel.links.iter().any(near) {
        outcome.complain(&place.clone(), What::GatewayOutside(gateway.to_string(), String::new()));
    }
}

/// What `ifup NAME boot` does.
fn ifup(files: &[File], config: &Config<'_>, all: &[Config<'_>], global: &Env, outcome: &mut Outcome) {
    let env = &config.env;
    let device = config.device().to_owned();
    let real = match env.get("REALDEVICE") {
        "" => device.split(':').next().unwrap_or_default().to_owned(),
        real => real.to_owned(),
    };
    match kind(env, &device, all) {
        Kind::Vlan(link) => {
            if outcome.kernel.link(&link).is_none() {
                outcome.complain(&config.place("DEVICE"), What::NoCard(link));
                return;
            }
            let _ = outcome.kernel.up(&link);
            outcome.kernel.add_link(&device, None);
        }
        Kind::Bridge(_) | Kind::Bond(_) | Kind::Made => outcome.kernel.add_link(&device, None),
        Kind::Card | Kind::Loopback => {}
    }
    let wanted = env.get("TYPE");
    for known in ["Bridge", "Bond", "Vlan", "Team", "Tap"] {
        if wanted != known && wanted.eq_ignore_ascii_case(known) && known == "Bridge" {
            outcome.complain(&config.place("TYPE"), What::TypeCase(wanted.to_owned(), known.to_owned()));
        }
    }
    if real.is_empty() {
        if env.get("HWADDR").is_empty() {
            outcome.complain(&Place::of(config.file, 1), What::NoCard(config.name.to_owned()));
        }
        return;
    }
    let mac = env.get("HWADDR").to_lowercase();
    let Some(link) = outcome.kernel.link(&real) else {
        outcome.complain(&config.place("DEVICE"), What::NoCard(real.trim_end_matches('\r').to_owned()));
        return;
    };
    if !mac.is_empty()
        && let Some(found) = link.mac.clone()
        && found != mac
        && found != env.get("MACADDR").to_lowercase()
    {
        outcome.complain(&config.place("HWADDR"), What::OtherCard(real, found));
        return;
    }
    let mtu = env.get("MTU").parse().ok();
    if let Some(link) = outcome.kernel.link_mut(&real) {
        link.mtu = mtu.or(link.mtu);
    }
    if let Kind::Bond(ports) = kind(env, &device, all) {
        let _ = outcome.kernel.up(&device);
        for port in ports {
            let _ = outcome.kernel.up(&port);
            if let Some(link) = outcome.kernel.link_mut(&port) {
                link.master = Some(device.clone());
            }
        }
    }
    let bridge = env.get("BRIDGE").to_owned();
    if !bridge.is_empty() {
        outcome.kernel.add_link(&bridge, None);
        outcome.kernel.flush(&real);
        let _ = outcome.kernel.up(&real);
        if let Some(link) = outcome.kernel.link_mut(&real) {
            link.master = Some(bridge);
        }
        return;
    }
    if is_dynamic(env) {
        let _ = outcome.kernel.up(&real);
        if let Some(link) = outcome.kernel.link_mut(&real) {
            link.dynamic = true;
        }
    } else {
        let _ = outcome.kernel.up(&real);
        if ["IPADDR", "IPADDR0", "IPADDR1", "IPADDR2"].iter().any(|key| !env.get(key).is_empty()) {
            addresses(config, &real, outcome);
            default_route(config, global, &device, &real, outcome);
        }
    }
    if env.get("NOZEROCONF").is_empty() && device == real && real != "lo" {
        let metric = outcome.kernel.index(&real).and_then(|index| u32::try_from(1000 + index).ok());
        let from = vec![Place::of(config.file, 1)];
        let dst = Cidr { address: Ipv4Addr::new(169, 254, 0, 0).into(), prefix: 16 };
        let route = Wanted { dev: Some(real.clone()), metric, scope: Some(Scope::Link), from, ..Wanted::to(dst) };
        let _ = outcome.kernel.add_route(route, How::Add);
    }
    if !env.is_no("IPV6INIT") {
        if env.get("DHCPV6C") == "yes"
            && let Some(link) = outcome.kernel.link_mut(&real)
        {
            link.dynamic = true;
        }
        ipv6(config, &real, outcome);
    }
    if device == real {
        for file in files.iter().filter(|file| file.dir() == DIR && !is_ignored(file.name())) {
            let rest = file.name().strip_prefix("ifcfg-").and_then(|name| name.strip_prefix(device.as_str()));
            if rest.is_some_and(|rest| rest.starts_with(':')) {
                alias(files, config, file, &real, global, outcome);
            }
        }
        for file in files.iter().filter(|file| file.dir() == DIR && !is_ignored(file.name())) {
            let rest = file.name().strip_prefix("ifcfg-").and_then(|name| name.strip_prefix(device.as_str()));
            if rest.is_some_and(|rest| rest.starts_with("-range")) {
                alias(files, config, file, &real, global, outcome);
            }
        }
    }
    if !matches!(env.get("NOROUTESET"), "yes" | "true") {
        routes(files, &real, config.name, outcome);
    }
}

/// The addresses as `ip addr add` gets them, with the mask of the first and how each came about: expand_config().
#[expect(clippy::type_complexity, reason = "the addresses and the mask that the gateway is judged by")]
pub(super) fn expand(env: &Env) -> (Vec<(String, Vec<Place>)>, Option<u8>, Vec<(Place, What)>) {
    let (mut all, mut first, mut wrong) = (Vec::new(), None, Vec::new());
    for index in std::iter::once(String::new()).chain((0..=255).map(|n| n.to_string())) {
        let key = |name: &str| format!("{name}{index}");
        let (ip, prefix, mask) = (env.get(&key("IPADDR")), env.get(&key("PREFIX")), env.get(&key("NETMASK")));
        if ip.is_empty() {
            if index.parse::<u32>().is_ok_and(|n| n >= 2) {
                break;
            }
            continue;
        }
        let place = env.place(&key("IPADDR")).cloned().unwrap_or_default();
        let from = [key("IPADDR"), key(if prefix.is_empty() { "NETMASK" } else { "PREFIX" })];
        let from: Vec<Place> = from.iter().filter_map(|key| env.place(key).cloned()).collect();
        let address = ip.parse::<Ipv4Addr>().ok();
        if address.is_none() {
            wrong.push((place.clone(), What::BadAddress(ip.trim_end_matches('\r').to_owned())));
        }
        let of_mask = address::mask(mask);
        let length = match (prefix, mask) {
            ("", "") => {
                let class = address.map(address::of_class);
                if let (Some(address), Some(prefix)) = (address, class) {
                    wrong.push((place.clone(), What::NoMask(Cidr { address: address.into(), prefix })));
                }
                class.map(|prefix| prefix.to_string())
            }
            ("", _) => {
                if of_mask.is_none() {
                    let place = env.place(&key("NETMASK")).cloned().unwrap_or(place.clone());
                    wrong.push((place, What::BadMask(mask.trim_end_matches('\r').to_owned())));
                }
                of_mask.map(|prefix| prefix.to_string())
            }
            (prefix, mask) => {
                if !mask.is_empty() && of_mask.map(|length| length.to_string()).as_deref() != Some(prefix) {
                    let place = env.place(&key("NETMASK")).cloned().unwrap_or(place.clone());
                    wrong.push((place, What::PrefixBeatsMask(prefix.to_owned(), mask.to_owned())));
                }
                Some(prefix.to_owned())
            }
        };
        if first.is_none() && all.is_empty() {
            first = length.as_ref().and_then(|length| length.parse().ok()).filter(|length| *length <= 32);
        }
        all.push((format!("{ip}/{}", length.unwrap_or_default()), from));
    }
    (all, first, wrong)
}

/// As ip(8) takes it: behind the slash a number, or a mask.
pub(super) fn address_of(text: &str) -> Option<Cidr> {
    let text = text.trim_start_matches([' ', '\t']);
    let (address, prefix) = text.split_once('/')?;
    let prefix = prefix.parse().ok().or_else(|| address::mask(prefix))?;
    Cidr::new(address.parse().ok()?, prefix).filter(|cidr| !cidr.is_v6())
}

pub(super) fn addresses(config: &Config<'_>, real: &str, outcome: &mut Outcome) {
    let (all, _, wrong) = expand(&config.env);
    for (place, what) in wrong {
        outcome.complain(&place, what);
    }
    for (text, from) in all {
        let place = from.first().cloned().unwrap_or_else(|| Place::of(config.file, 1));
        let Some(cidr) = address_of(&text) else {
            if !text.ends_with('/') && text.split('/').next().is_some_and(|ip| ip.parse::<Ipv4Addr>().is_ok()) {
                outcome.complain(&place, What::BadAddress(text.trim_end_matches('\r').to_owned()));
            }
            continue;
        };
        let _ = outcome.kernel.add_address(real, cidr, None, from);
    }
}

fn default_route(config: &Config<'_>, global: &Env, device: &str, real: &str, outcome: &mut Outcome) {
    let env = &config.env;
    // It stands without quotes in the commands: blanks around it are none of it.
    let (gateway, dev) = (env.get("GATEWAY").trim_matches([' ', '\t']), env.get("GATEWAYDEV"));
    let (place, dev_place) = (config.place("GATEWAY"), config.place("GATEWAYDEV"));
    let own = env.place("GATEWAY") != global.place("GATEWAY");
    let shown = gateway.trim_end_matches('\r').to_owned();
    let address = gateway.parse::<Ipv4Addr>().ok();
    let (all, prefix, _) = expand(env);
    let in_network = |gateway: Ipv4Addr| {
        all.iter().any(|(text, _)| address_of(text).is_some_and(|one| one.contains(gateway.into())))
    };
    let is_near = address.is_some_and(in_network);
    if env.get("DEFROUTE") == "no" {
        if is_near || (own && !gateway.is_empty()) || dev == real {
            outcome.complain(&config.place("DEFROUTE"), What::DefrouteBars(shown));
        }
        return;
    }
    if !dev.is_empty() && dev != real {
        if is_near || (own && !gateway.is_empty()) {
            outcome.complain(&dev_place, What::GatewayDevBars(dev.to_owned(), shown));
        }
        return;
    }
    // Where a PREFIX is no number ipcalc(1) fails, gives no mask, and then goes by the class of each address.
    let by_class = prefix.is_none() && ["", "0"].iter().any(|n| !env.get(&format!("PREFIX{n}")).is_empty());
    let network = |address: Ipv4Addr| {
        let prefix = prefix.or(by_class.then(|| address::of_class(address)))?;
        Some(Cidr { address: address.into(), prefix }.network().address.to_string())
    };
    let first = all.first().and_then(|(text, _)| text.split('/').next()?.parse::<Ipv4Addr>().ok());
    let expected = match env.get("NETWORK") {
        "" => first.and_then(network),
        network => Some(network.to_owned()),
    };
    let metric = env.get("METRIC").parse().ok();
    let src = env.get("SRCADDR").parse().ok();
    let base = Wanted { metric, src, ..Wanted::to(Cidr::everything(false)) };
    let old = outcome.kernel.routes.iter().find(|route| {
        route.dst.is_default() && !route.dst.is_v6() && route.table == base.table && route.metric == metric.unwrap_or(0)
    });
    let old = old.map(|route| (route.dev.clone(), route.from.clone()));
    if let Some(address) = address
        && expected.is_some()
        && network(address) == expected
    {
        let via = address.to_string();
        let mut words = vec!["default"];
        words.extend(env.get("EXTRA_ROUTE_OPTS").split_whitespace());
        words.extend(["via", &via]);
        if !dev.is_empty() {
            words.extend(["dev", dev]);
        }
        let Some(asked) = ip_command::route_of(&words, &place, outcome) else { return };
        let route = Wanted { metric: base.metric.or(asked.metric), src: base.src.or(asked.src), ..asked };
        let route = Wanted { onlink: route.onlink && !dev.is_empty(), ..route };
        if let Err(refused) = outcome.kernel.add_route(route, How::Replace) {
            outcome.complain(&place, What::RouteRefused(format!("default via {address}"), refused.words()));
        } else if let Some((old, from)) = old
            && old != real
        {
            for line in from {
                outcome.complain(&line, What::DefaultReplaced(real.to_owned(), old.clone()));
            }
        }
    } else if !dev.is_empty() && dev == device {
        let from: Vec<Place> = [env.place("GATEWAYDEV"), env.place("GATEWAY")].into_iter().flatten().cloned().collect();
        outcome.complain(&dev_place, What::DefaultWithoutRouter(real.to_owned(), shown));
        let route = Wanted { dev: Some(real.to_owned()), from, ..base };
        let _ = outcome.kernel.add_route(route, How::Replace);
    } else if own && !gateway.is_empty() {
        match address {
            None => outcome.complain(&place, What::BadAddress(shown)),
            Some(_) if is_near && !env.get("NETWORK").is_empty() => {
                outcome.complain(&config.place("NETWORK"), What::StaleNetwork(env.get("NETWORK").to_owned(), shown));
            }
            Some(_) if prefix.is_some() => outcome.complain(&place, What::GatewayOutside(shown, real.to_owned())),
            Some(_) => {}
        }
    } else if is_near && !env.get("NETWORK").is_empty() {
        outcome.complain(&config.place("NETWORK"), What::StaleNetwork(env.get("NETWORK").to_owned(), shown));
    }
    if env.get("GATEWAY").is_empty() && !env.get("GATEWAY0").is_empty() {
        outcome.complain(&config.place("GATEWAY0"), What::NotRead("GATEWAY0".into()));
    }
}

fn ipv6(config: &Config<'_>, real: &str, outcome: &mut Outcome) {
    let env = &config.env;
    for key in ["IPV6ADDR", "IPV6ADDR_SECONDARIES"] {
        for text in env.get(key).split_whitespace() {
            let place = config.place(key);
            match v6_address(text) {
                Some(cidr) => drop(outcome.kernel.add_address(real, cidr, None, vec![place])),
                None => outcome.complain(&place, What::BadAddress(text.trim_end_matches('\r').to_owned())),
            }
        }
    }
    let (gateway, scope) = match env.get("IPV6_DEFAULTGW").split_once('%') {
        Some((gateway, scope)) => (gateway, scope),
        None => (env.get("IPV6_DEFAULTGW"), ""),
    };
    let dev = if scope.is_empty() { env.get("IPV6_DEFAULTDEV") } else { scope };
    let (Ok(via), true) = (gateway.parse::<IpAddr>(), dev.is_empty() || dev == real) else { return };
    let place = config.place("IPV6_DEFAULTGW");
    let near = outcome.kernel.link(real).is_some_and(|link| link.addresses.iter().any(|one| one.cidr.contains(via)));
    // The variable of /etc/sysconfig/network is tried on every card; only what is not reached is told of.
    if dev.is_empty() && !near {
        return;
    }
    let route = Wanted {
        via: Some(via),
        dev: (!dev.is_empty()).then(|| dev.to_owned()),
        metric: Some(1),
        from: vec![place.clone()],
        ..Wanted::to(Cidr::everything(true))
    };
    if let Err(refused) = outcome.kernel.add_route(route, How::Add) {
        outcome.complain(&place, What::RouteRefused(format!("default via {via}"), refused.words()));
    }
}

/// The addresses of an alias or a range, each with the alias' name.
pub(super) fn alias_addresses(parent: &Env, file: &File, outcome: &mut Outcome) -> Vec<(String, Cidr, Place)> {
    let mut env = Env::default();
    for key in ["PREFIX", "NETMASK", "GATEWAY", "NO_ALIASROUTING"] {
        if let Some(place) = parent.place(key) {
            env.set(key, parent.get(key), place);
        }
    }
    env.source(file, outcome);
    if matches!(env.get("ONPARENT"), "no" | "NO") {
        return Vec::new();
    }
    let place = env.place("IPADDR").or(env.place("IPADDR_START")).cloned().unwrap_or_else(|| Place::of(file, 1));
    let (prefix, mask) = (env.get("PREFIX"), env.get("NETMASK"));
    let of_mask = address::mask(mask);
    let own_mask = env.place("NETMASK").filter(|place| place.path == file.path);
    if let Some(place) = own_mask
        && !prefix.is_empty()
        && of_mask.map(|length| length.to_string()).as_deref() != Some(prefix)
    {
        outcome.complain(place, What::PrefixBeatsMask(prefix.to_owned(), mask.to_owned()));
    }
    let length = match (prefix, mask) {
        ("", "") => None,
        ("", _) => of_mask,
        (prefix, _) => prefix.parse().ok(),
    };
    let Some(length) = length.filter(|length| *length <= 32) else {
        outcome.complain(&place, What::BadMask(mask.trim_end_matches('\r').to_owned()));
        return Vec::new();
    };
    let cidr = |address: Ipv4Addr| Cidr { address: address.into(), prefix: length };
    let device = match env.get("DEVICE") {
        "" => file.name().trim_start_matches("ifcfg-").to_owned(),
        device => device.to_owned(),
    };
    if file.name().contains("-range") {
        let (Ok(first), Ok(last)) =
            (env.get("IPADDR_START").parse::<Ipv4Addr>(), env.get("IPADDR_END").parse::<Ipv4Addr>())
        else {
            outcome.complain(&place, What::BadAddress(env.get("IPADDR_START").to_owned()));
            return Vec::new();
        };
        if first.octets()[..3] != last.octets()[..3] {
            outcome.complain(&place, What::BadAddress(env.get("IPADDR_END").to_owned()));
            return Vec::new();
        }
        let clone: u32 = env.get("CLONENUM_START").parse().unwrap_or(0);
        let all = (first.to_bits()..=last.to_bits()).zip(clone..).take(256);
        return all.map(|(bits, n)| (format!("{device}:{n}"), cidr(Ipv4Addr::from(bits)), place.clone())).collect();
    }
    match env.get("IPADDR").parse::<Ipv4Addr>() {
        Ok(address) => vec![(device, cidr(address), place)],
        Err(_) => {
            outcome.complain(&place, What::BadAddress(env.get("IPADDR").trim_end_matches('\r').to_owned()));
            Vec::new()
        }
    }
}

/// What ifup-aliases does with one file.
fn alias(files: &[File], parent: &Config<'_>, file: &File, real: &str, global: &Env, outcome: &mut Outcome) {
    for (name, cidr, place) in alias_addresses(&parent.env, file, outcome) {
        let _ = outcome.kernel.add_address(real, cidr, None, vec![place]);
        let mut env = Env::default();
        for key in ["GATEWAY", "NO_ALIASROUTING"] {
            if let Some(place) = parent.env.place(key) {
                env.set(key, parent.env.get(key), place);
            }
        }
        env.source(file, outcome);
        if env.get("NO_ALIASROUTING") == "yes" {
            continue;
        }
        let dev = global.get("GATEWAYDEV");
        let known = |via: IpAddr| outcome.kernel.routes.iter().any(|one| one.dst.is_default() && one.via == Some(via));
        if let Ok(via) = env.get("GATEWAY").parse::<IpAddr>()
            && (dev.is_empty() || dev == name)
            && !known(via)
        {
            let place = env.place("GATEWAY").cloned().unwrap_or_else(|| Place::of(file, 1));
            let route = Wanted {
                via: Some(via),
                dev: Some(real.to_owned()),
                from: vec![place.clone()],
                ..Wanted::to(Cidr::everything(false))
            };
            if let Err(refused) = outcome.kernel.add_route(route, How::Replace) {
                outcome.complain(&place, What::RouteRefused(format!("default via {via}"), refused.words()));
            }
        }
        routes(files, &name, "", outcome);
    }
}

/// What `ifup-routes DEVICE NAME` does.
pub(super) fn routes(files: &[File], device: &str, name: &str, outcome: &mut Outcome) {
    let mut owners = vec![device];
    if !name.is_empty() && name != device {
        owners.push(name);
    }
    for (heads, is_rule) in [(["route-", "route6-"], false), (["rule-", "rule6-"], true)] {
        for owner in &owners {
            for head in heads {
                let path = format!("{DIR}/{head}{owner}");
                let Some(file) = files.iter().find(|file| file.path == path) else { continue };
                let dev = device.split(':').next().unwrap_or(device);
                if !is_rule && is_numbered(file) {
                    numbered(file, dev, outcome);
                } else {
                    for_ip(file, head.contains('6'), is_rule, outcome);
                }
            }
        }
    }
}

/// Whether one line begins with `ADDRESSn=`.
fn is_numbered(file: &File) -> bool {
    crate::lines::lines(&file.bytes).any(|line| is_address_line(line.text))
}

fn is_address_line(line: &[u8]) -> bool {
    let Some(rest) = line.trim_ascii_start().strip_prefix(b"ADDRESS") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest.get(digits) == Some(&b'=')
}

/// `ADDRESS0=`, `NETMASK0=`, `GATEWAY0=`
pub(super) fn numbered(file: &File, device: &str, outcome: &mut Outcome) {
    let mut env = Env::default();
    let before = outcome.complaints.len();
    env.source(file, outcome);
    // What the shell would take for a command is a route of the other syntax.
    for complaint in outcome.complaints.iter_mut().skip(before) {
        if let What::RunAsCommand(_) | What::UnknownCommand(_) = complaint.what {
            complaint.what = What::OtherSyntax;
        }
    }
    let mut number = 0u32;
    // `eval $(ipcalc -p …)`: where ipcalc fails the shell keeps the prefix of the line before.
    let mut last = None;
    loop {
        let get = |key: &str| env.get(&format!("{key}{number}"));
        let address = get("ADDRESS");
        if address.is_empty() || number > 4096 {
            break;
        }
        let place = env.place(&format!("ADDRESS{number}")).cloned().unwrap_or_else(|| Place::of(file, 1));
        let of_mask = address::mask(get("NETMASK"));
        if of_mask.is_none() {
            outcome.complain(&place, What::BadMask(get("NETMASK").trim_end_matches('\r').to_owned()));
        }
        last = of_mask.or(last);
        if let Some(prefix) = last {
            let target = format!("{address}/{prefix}");
            let mut words = vec![target.as_str()];
            if !get("GATEWAY").is_empty() {
                words.extend(["via", get("GATEWAY")]);
            }
            words.extend(["dev", device]);
            ip_command::route_add(&words, false, How::Add, &place, outcome);
        }
        number += 1;
    }
    let behind =
        |name: &&str| name.strip_prefix("ADDRESS").and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n > number);
    for name in env.names().filter(behind) {
        if let Some(place) = env.place(name) {
            outcome.complain(&place.clone(), What::Gap(name.to_owned()));
        }
    }
}

/// Lines as `ip route add` or `ip rule add` takes them.
fn for_ip(file: &File, v6: bool, is_rule: bool, outcome: &mut Outcome) {
    for line in crate::lines::lines(&file.bytes) {
        let text = String::from_utf8_lossy(line.text).into_owned();
        let trimmed = text.trim_matches([' ', '\t']);
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let place = Place::of(file, line.number);
        let words: Vec<&str> = trimmed.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        let _: Ended = match is_rule {
            true => ip_command::rule_add(&words, v6, &place, outcome),
            false => ip_command::route_add(&words, v6, How::Add, &place, outcome),
        };
    }
}
