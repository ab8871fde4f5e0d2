//! What systemd-networkd asks of the kernel.

use super::{Setting, chosen, read, settings};
use crate::network::kernel::{How, MAIN, Refused, Rule};
use crate::network::{Dialect, File, Interface, Kind, Network, Outcome, Place, What, dialect_of};

/// What systemd-networkd does at its start.
pub(in crate::network) fn start(files: &[File], user: Option<(u32, u32)>, outcome: &mut Outcome) {
    // udevd reads .link files, as root.
    let is_lost = |file: &File| {
        let is_its_own = dialect_of(&file.path) == Some(Dialect::Networkd) && !file.name().ends_with(".link");
        is_its_own && user.is_some_and(|user| !may_read(file, user))
    };
    for file in files.iter().filter(|file| is_lost(file)) {
        outcome.complain(&Place::of(file, 0), What::Unreadable(file.mode & 0o777));
    }
    let readable: Vec<File>;
    let files = match files.iter().any(is_lost) {
        true => {
            readable = files.iter().filter(|file| !is_lost(file)).cloned().collect();
            &readable
        }
        false => files,
    };
    outcome.network = read(files, outcome);
    let _ = outcome.kernel.up("lo");
    for (file, drop_ins) in chosen(files, ".link") {
        let all: Vec<Setting> = std::iter::once(file).chain(drop_ins).flat_map(settings).collect();
        let get = |section: &str, key: &str| {
            all.iter().rev().find(|one| one.section == section && one.key == key).map(|one| one.value.clone())
        };
        let mac = get("Match", "MACAddress").or(get("Match", "PermanentMACAddress")).map(|mac| mac.to_lowercase());
        if let (Some(mac), Some(name)) = (mac, get("Link", "Name"))
            && !outcome.kernel.links.iter().any(|link| link.name == name)
            && let Some(link) = outcome.kernel.links.iter_mut().find(|link| link.mac.as_ref() == Some(&mac))
        {
            link.name = name;
        }
    }
    let network = outcome.network.clone();
    apply(&network, outcome);
}

/// Makes the devices, and configures every link by the first interface that takes it.
pub(in crate::network) fn apply(network: &Network, outcome: &mut Outcome) {
    for one in &network.interfaces {
        let name = match one.names.as_slice() {
            [name] if !name.contains(['*', '?', '[']) => name,
            _ => &one.name,
        };
        match &one.kind {
            Kind::Card | Kind::Loopback => {}
            _ => outcome.kernel.add_link(name, None),
        }
    }
    // Those that leave the priority to the kernel come first, the last one foremost.
    let (given, left): (Vec<&Rule>, Vec<&Rule>) = network.rules.iter().partition(|rule| rule.priority.is_some());
    for rule in left.into_iter().rev().chain(given) {
        let _ = outcome.kernel.add_rule(rule.clone());
    }
    let links: Vec<_> = outcome.kernel.links.iter().filter(|link| link.name != "lo").cloned().collect();
    let mut taken = vec![false; network.interfaces.len()];
    for link in &links {
        let mut all = network.interfaces.iter().enumerate().filter(|(_, one)| one.takes(link));
        let Some((at, one)) = all.next() else { continue };
        if let Some(taken) = taken.get_mut(at) {
            *taken = true;
        }
        for (at, other) in all {
            let first = one.place.as_ref().map_or(String::new(), |place| place.path.clone());
            if let Some(place) = other.place.as_ref().filter(|place| !of_system(place)) {
                outcome.complain(place, What::CardTaken(link.name.clone(), first));
            }
            if let Some(taken) = taken.get_mut(at) {
                *taken = true;
            }
        }
        if one.auto {
            configure(one, network, &link.name, outcome);
        }
    }
    for (one, _) in network.interfaces.iter().zip(taken).filter(|(_, taken)| !taken) {
        let place = one.matched.as_ref().or(one.place.as_ref()).cloned().unwrap_or_default();
        let is_pattern = one.names.iter().any(|name| name.contains(['*', '?', '[']));
        match one.macs.first() {
            _ if of_system(&place) => {}
            Some(mac) => outcome.complain(&place, What::NoMac(mac.clone())),
            None if is_pattern => {}
            None => outcome.complain(&place, What::NoCard(one.names.first().unwrap_or(&one.name).clone())),
        }
    }
}

/// Whether that user and group may read a file, by its permission bits.
fn may_read(file: &File, (user, group): (u32, u32)) -> bool {
    let bit = match file.owner {
        (uid, _) if uid == user => 0o400,
        (_, gid) if gid == group => 0o040,
        _ => 0o004,
    };
    file.mode & bit != 0
}

/// Whether a file came with a package: what it has for cards that are not there is nobody's mistake.
fn of_system(place: &Place) -> bool {
    place.path.starts_with("/usr/") || place.path.starts_with("/lib/")
}

fn configure(one: &Interface, network: &Network, dev: &str, outcome: &mut Outcome) {
    let _ = outcome.kernel.up(dev);
    let port_of = network.interfaces.iter().find(|other| match &other.kind {
        Kind::Bridge(ports) | Kind::Bond(ports) => ports.contains(&one.name),
        _ => false,
    });
    if let Some(link) = outcome.kernel.link_mut(dev) {
        link.dynamic |= one.dhcp4 || one.dhcp6;
        link.mtu = one.mtu.or(link.mtu);
        link.master = one.master.clone().or(port_of.map(|other| other.name.clone()));
    }
    for address in &one.addresses {
        let _ = outcome.kernel.add(dev, address.asked(None));
    }
    for route in &one.routes {
        let place = route.from.last().cloned().unwrap_or_default();
        let before = outcome.kernel.routes.iter().find(|other| {
            other.dst.is_default()
                && route.dst.is_default()
                && other.dst.is_v6() == route.dst.is_v6()
                && other.table == route.table.unwrap_or(MAIN)
                && other.metric == route.metric.unwrap_or(if route.dst.is_v6() { 1024 } else { 0 })
                && other.dev != dev
        });
        let before = before.map(|other| (other.dev.clone(), other.from.clone()));
        match outcome.kernel.add_route(route.wanted(dev, "static"), How::Prepend) {
            Ok(()) => {
                if let Some((other, from)) = before {
                    for line in from {
                        outcome.complain(&line, What::TwoDefaults(dev.to_owned(), other.clone()));
                    }
                }
            }
            Err(Refused::Unreachable | Refused::NoRoute) if route.dst.is_default() => {
                let via = route.via.map_or(String::new(), |via| via.to_string());
                outcome.complain(&place, What::GatewayOutside(via, dev.to_owned()));
            }
            Err(Refused::Exists) => {}
            Err(refused) => {
                let via = route.via.map_or(String::new(), |via| format!(" via {via}"));
                outcome.complain(&place, What::RouteRefused(format!("{}{via}", route.dst), refused.words()));
            }
        }
    }
}
