//! What `ifup -a` does with the stanzas, step by step.

use std::net::IpAddr;

use super::{Stanza, cidr, expanded, made, read};
use crate::network::address::Cidr;
use crate::network::ip_command::{self, Ended};
use crate::network::kernel::{Address, How, MAIN, Refused};
use crate::network::{File, Kind, Outcome, Place, What, glob};

/// What `ifup -a` does at boot, and then udev for what is hotplugged.
pub(in crate::network) fn start(files: &[File], outcome: &mut Outcome) {
    let all = read(files, outcome);
    outcome.network = all.network();
    if all.refused.is_some() {
        return;
    }
    for (name, logical) in all.started(&outcome.kernel.links) {
        for stanza in all.stanzas.iter().filter(|stanza| stanza.name == logical) {
            if !up(&Stanza { name: name.clone(), ..stanza.clone() }, outcome) {
                break;
            }
        }
    }
    for stanza in &all.stanzas {
        if !all.starts(&stanza.name) && stanza.name != "lo" {
            let ports = |other: &Stanza| match made(other) {
                Kind::Bridge(ports) | Kind::Bond(ports) => ports.contains(&stanza.name),
                Kind::Vlan(link) => link == stanza.name,
                _ => false,
            };
            if !all.stanzas.iter().any(ports) {
                outcome.complain(&stanza.place, What::NotStarted(stanza.name.clone()));
            }
        }
    }
}

/// Brings up what one stanza says; whether all of it ended well.
pub(super) fn up(stanza: &Stanza, outcome: &mut Outcome) -> bool {
    let name = stanza.name.as_str();
    let mut commands = stanza.options.iter();
    for (option, value, place) in commands.by_ref() {
        if option == "pre-up" && ip_command::line(&expanded(value, stanza), place, outcome) == Ended::Badly {
            outcome.complain(place, What::Fails(value.clone()));
            return false;
        }
    }
    make(stanza, outcome);
    if !method(stanza, outcome) {
        rest_is_lost(stanza, 0, outcome);
        return false;
    }
    for (at, (option, value, place)) in stanza.options.iter().enumerate() {
        if !matches!(option.as_str(), "up" | "post-up") {
            continue;
        }
        if ip_command::line(&expanded(value, stanza), place, outcome) == Ended::Badly {
            rest_is_lost(stanza, at + 1, outcome);
            return false;
        }
    }
    let _ = name;
    true
}

/// The commands from there on are not run.
fn rest_is_lost(stanza: &Stanza, from: usize, outcome: &mut Outcome) {
    for (option, value, place) in stanza.options.iter().skip(from) {
        if matches!(option.as_str(), "up" | "post-up") {
            outcome.complain(place, What::NotRun(value.clone()));
        }
    }
}

/// Makes the link that the hooks of bridge-utils, ifenslave and vlan make.
fn make(stanza: &Stanza, outcome: &mut Outcome) {
    let base = stanza.name.split(':').next().unwrap_or_default().to_owned();
    let ports = match made(stanza) {
        Kind::Bridge(ports) | Kind::Bond(ports) => ports,
        Kind::Vlan(link) => {
            if outcome.kernel.link(&link).is_some() {
                let _ = outcome.kernel.up(&link);
                outcome.kernel.add_link(&base, None);
            }
            return;
        }
        Kind::Made => Vec::new(),
        Kind::Card | Kind::Loopback => return,
    };
    outcome.kernel.add_link(&base, None);
    for port in ports {
        let known: Vec<String> = outcome.kernel.links.iter().map(|link| link.name.clone()).collect();
        for name in known.into_iter().filter(|name| glob(&port, name)) {
            let _ = outcome.kernel.up(&name);
            if let Some(link) = outcome.kernel.link_mut(&name) {
                link.master = Some(base.clone());
            }
        }
    }
}

/// The commands of the method.
pub(super) fn method(stanza: &Stanza, outcome: &mut Outcome) -> bool {
    let name = stanza.name.as_str();
    let mtu = stanza.get(&["mtu"]).and_then(|mtu| mtu.parse().ok());
    if let Some(link) = outcome.kernel.link_mut(name) {
        link.mtu = mtu.or(link.mtu);
    }
    match stanza.method.as_str() {
        "static" | "tunnel" | "v4tunnel" => {
            let place = stanza.place_of(&["address"]).unwrap_or(&stanza.place).clone();
            let cidr = match cidr(stanza) {
                Ok(cidr) => cidr,
                Err(what) => {
                    let place = match what {
                        What::BadMask(_) => stanza.place_of(&["netmask"]).unwrap_or(&place).clone(),
                        _ => place,
                    };
                    outcome.complain(&place, what);
                    return false;
                }
            };
            if stanza.get(&["netmask"]).is_none()
                && !stanza.get(&["address"]).unwrap_or_default().contains('/')
                && !stanza.v6()
            {
                outcome.complain(&place, What::NoMask(cidr));
            }
            let from = ["address", "netmask"].iter().filter_map(|name| stanza.place_of(&[name]).cloned()).collect();
            let peer = stanza.get(&["pointopoint"]).and_then(|peer| peer.parse().ok()).map(Cidr::host);
            let both =
                stanza.place_of(&["netmask"]).filter(|_| stanza.get(&["address"]).unwrap_or_default().contains('/'));
            if let Some(place) = both.filter(|_| !stanza.v6()) {
                outcome.complain(place, What::GivenTwice("netmask".into()));
            }
            let own = Cidr { prefix: peer.map_or(cidr.prefix, |peer| peer.prefix), ..cidr };
            let address = Address { peer, ..Address::new(own, from) };
            if let Err(refused) = outcome.kernel.add(name, address) {
                let what = match refused {
                    Refused::NoDevice => What::NoCard(name.to_owned()),
                    _ => What::Fails(format!("ip addr add {cidr}")),
                };
                let place = if matches!(what, What::NoCard(_)) { &stanza.place } else { &place };
                outcome.complain(place, what);
                return false;
            }
            let _ = outcome.kernel.up(name);
            let Some(gateway) = stanza.get(&["gateway"]) else { return true };
            let place = stanza.place_of(&["gateway"]).unwrap_or(&stanza.place).clone();
            let mut lines = gateway.lines();
            let (first, second) = (lines.next().unwrap_or_default(), lines.next());
            let Ok(via) = first.parse::<IpAddr>() else {
                outcome.complain(&place, What::BadAddress(first.to_owned()));
                return false;
            };
            let is_near = outcome.kernel.on_link(via, Some(name), MAIN).is_some();
            if !is_near && !matches!(via, IpAddr::V6(via) if via.is_unicast_link_local()) {
                outcome.complain(&place, What::GatewayOnlink(via.to_string(), name.to_owned()));
            }
            let text = via.to_string();
            let metric = stanza.get(&["metric"]);
            let mut words = vec!["default", "via", &text];
            words.extend(metric.iter().flat_map(|metric| ["metric", metric.as_str()]));
            // A second line is a command of its own, which the shell does not find.
            if second.is_none() {
                words.extend(["dev", name, "onlink"]);
            }
            let before = outcome.complaints.len();
            let ended = ip_command::route_add(&words, stanza.v6(), How::Add, &place, outcome);
            if ended == Ended::Badly {
                refused_default(stanza, &place, before, outcome);
            }
            ended != Ended::Badly && second.is_none()
        }
        "dhcp" | "bootp" | "ipv4ll" | "ppp" | "wvdial" | "6to4" => {
            if outcome.kernel.up(name).is_err() {
                outcome.complain(&stanza.place, What::NoCard(name.to_owned()));
                return false;
            }
            if let Some(link) = outcome.kernel.link_mut(name) {
                link.dynamic = true;
            }
            true
        }
        "auto" if outcome.kernel.link(name).is_none() => {
            outcome.complain(&stanza.place, What::NoCard(name.to_owned()));
            false
        }
        "loopback" => {
            let _ = outcome.kernel.up("lo");
            true
        }
        // `ip link set … up 2>/dev/null || true`
        _ => {
            let _ = outcome.kernel.up(name);
            true
        }
    }
}

/// Says of a default route that is refused because there is one whose it is.
fn refused_default(stanza: &Stanza, place: &Place, before: usize, outcome: &mut Outcome) {
    let v6 = stanza.v6();
    let first = outcome.kernel.routes.iter().find(|route| route.dst.is_default() && route.dst.is_v6() == v6);
    let Some(dev) = first.map(|route| route.dev.clone()) else { return };
    if dev != stanza.name {
        outcome.complaints.truncate(before);
        outcome.complain(place, What::TwoDefaults(dev, stanza.name.clone()));
    }
}
