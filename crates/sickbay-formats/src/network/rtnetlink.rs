//! Messages of rtnetlink(7) about links, addresses, routes and rules, as a [`Kernel`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::Cidr;
use super::kernel::{Address, Hop, Kernel, Link, Route, Rule, Scope};

// include/uapi/linux/rtnetlink.h
pub(super) const NEWLINK: u16 = 16;
pub(super) const NEWADDR: u16 = 20;
pub(super) const NEWROUTE: u16 = 24;
const NEWRULE: u16 = 32;

/// Puts what the messages tell into `kernel`: links first, for the others name them by their numbers.
pub fn read(kernel: &mut Kernel, indices: &mut Vec<(u32, String)>, messages: &[u8]) {
    each(messages, |kind, body| match kind {
        NEWLINK => link(kernel, indices, body),
        NEWADDR => drop(address(kernel, indices, body)),
        NEWROUTE => drop(route(kernel, indices, body)),
        NEWRULE => drop(rule(kernel, body)),
        _ => {}
    });
}

/// Gives every message's type and what is behind its header.
pub(super) fn each(mut messages: &[u8], mut take: impl FnMut(u16, &[u8])) {
    while let Some(length) = number(messages, 0) {
        let length = length as usize;
        let Some(message) = messages.get(..length).filter(|_| length >= 16) else { return };
        let kind = message.get(4..6).and_then(|kind| kind.try_into().ok()).map_or(0, u16::from_ne_bytes);
        take(kind, message.get(16..).unwrap_or_default());
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The attributes behind a header of that length.
pub(super) fn attributes(body: &[u8], header: usize) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    let mut rest = body.get(header..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (rest.get(..2), rest.get(2..4)) {
        let length = usize::from(u16::from_ne_bytes(length.try_into().unwrap_or_default()));
        let kind = u16::from_ne_bytes(kind.try_into().unwrap_or_default()) & 0x3fff;
        let Some(value) = rest.get(4..length) else { break };
        all.push((kind, value));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn link(kernel: &mut Kernel, indices: &mut Vec<(u32, String)>, body: &[u8]) {
    let (Some(index), Some(flags)) = (number(body, 4), number(body, 8)) else { return };
    let mut link = Link { up: flags & 1 != 0, ..Link::default() };
    for (kind, value) in attributes(body, 16) {
        match kind {
            1 if value.len() == 6 && value.iter().any(|byte| *byte != 0) => {
                link.mac = Some(value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"));
            }
            3 => link.name = text(value),
            4 => link.mtu = number(value, 0),
            _ => {}
        }
    }
    indices.push((index, link.name.clone()));
    kernel.links.push(link);
}

fn name(indices: &[(u32, String)], index: u32) -> String {
    indices.iter().find(|(known, _)| *known == index).map_or_else(|| format!("if{index}"), |(_, name)| name.clone())
}

fn address(kernel: &mut Kernel, indices: &[(u32, String)], body: &[u8]) -> Option<()> {
    let (family, prefix, flags, scope) = (*body.first()?, *body.get(1)?, *body.get(2)?, *body.get(3)?);
    let attributes = attributes(body, 8);
    let get = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    // IFA_LOCAL before IFA_ADDRESS: of a link between two points the latter is the other end's.
    let address = get(2).or(get(1)).and_then(ip)?;
    // RT_SCOPE_LINK, RT_SCOPE_HOST: what the kernel makes itself.
    if family == 10 && (scope == 253 || scope == 254) && flags & 8 == 0 {
        return None;
    }
    let cidr = Cidr::new(address, prefix)?;
    let link = kernel.link_mut(&name(indices, number(body, 4)?))?;
    // IFA_F_SECONDARY and IFA_F_DADFAILED (include/uapi/linux/if_addr.h).
    let (secondary, refused) = (flags & 1 != 0 && family == 2, flags & 8 != 0);
    link.addresses.push(Address { secondary, refused, ..Address::new(cidr, Vec::new()) });
    Some(())
}

pub(super) fn route(kernel: &mut Kernel, indices: &[(u32, String)], body: &[u8]) -> Option<()> {
    let byte = |at: usize| body.get(at).copied();
    let (family, length, proto, scope, kind) = (byte(0)?, byte(1)?, byte(5)?, byte(6)?, byte(7)?);
    let flags = number(body, 8)?;
    let attributes = attributes(body, 12);
    let get = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let table = get(15).and_then(|value| number(value, 0)).unwrap_or(u32::from(byte(4)?));
    let v6 = family == 10;
    // RTM_F_CLONED: a cached answer.
    if (family != 2 && !v6) || flags & 0x200 != 0 || table == 255 {
        return None;
    }
    let mut dev = get(4).and_then(|value| number(value, 0)).map(|index| name(indices, index));
    let mut via = get(5).and_then(ip).or_else(|| get(18).and_then(|value| ip(value.get(2..)?)));
    let mut hops = Vec::new();
    if let Some(mut left) = get(9) {
        // rtnexthop: length, flags, hops, index.
        while let Some(size) =
            left.get(..2).and_then(|two| two.try_into().ok()).map(u16::from_ne_bytes).map(usize::from)
        {
            let Some(hop) = left.get(..size).filter(|hop| hop.len() >= 8) else { break };
            let inner = self::attributes(hop, 8);
            hops.push(Hop {
                via: inner.iter().find(|(kind, _)| *kind == 5).and_then(|(_, value)| ip(value)),
                dev: number(hop, 4).map(|index| name(indices, index)).unwrap_or_default(),
                weight: u32::from(*hop.get(3)?) + 1,
                onlink: hop.get(2)? & 4 != 0,
            });
            left = left.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        dev = hops.first().map(|hop| hop.dev.clone());
        via = hops.first().and_then(|hop| hop.via);
        if hops.len() == 1 {
            hops.clear();
        }
    }
    let dst = match get(1).and_then(ip) {
        Some(address) => Cidr::new(address, length)?,
        None => Cidr::everything(v6),
    };
    let dev = dev.unwrap_or_default();
    // The kernel's own: lines that say what every link has.
    let own = v6
        && (dev == "lo" || matches!(dst.address, IpAddr::V6(one) if one.is_unicast_link_local() || one.is_multicast()));
    if own {
        return None;
    }
    kernel.routes.push(Route {
        kind: match kind {
            6 => "blackhole",
            7 => "unreachable",
            8 => "prohibit",
            9 => "throw",
            2 => "local",
            3 => "broadcast",
            5 => "multicast",
            _ => "unicast",
        },
        dst,
        via,
        dev,
        table,
        proto: match proto {
            0 => "none",
            1 => "redirect",
            2 => "kernel",
            3 => "boot",
            4 => "static",
            9 => "ra",
            11 => "zebra",
            12 => "bird",
            16 => "dhcp",
            18 => "keepalived",
            42 => "babel",
            186 => "bgp",
            188 => "ospf",
            _ => "other",
        },
        scope: match scope {
            0 => Scope::Global,
            200 => Scope::Site,
            254 => Scope::Host,
            _ => Scope::Link,
        },
        src: get(7).and_then(ip),
        metric: get(6).and_then(|value| number(value, 0)).unwrap_or(0),
        onlink: flags & 4 != 0,
        linkdown: flags & 16 != 0,
        hops,
        more: get(8).map(metrics).unwrap_or_default(),
        from: Vec::new(),
    });
    Some(())
}

/// RTA_METRICS, in the words and the order of ip(8).
fn metrics(value: &[u8]) -> String {
    let all = attributes(value, 0);
    let word = |(kind, name): (u16, &str)| {
        let value = all.iter().find(|(known, _)| *known == kind).and_then(|(_, value)| number(value, 0))?;
        Some(format!("{name} {value}"))
    };
    super::ip_command::METRICS.into_iter().filter_map(word).collect::<Vec<_>>().join(" ")
}

fn rule(kernel: &mut Kernel, body: &[u8]) -> Option<()> {
    let byte = |at: usize| body.get(at).copied();
    let (family, dst, src) = (byte(0)?, byte(1)?, byte(2)?);
    let attributes = attributes(body, 12);
    let get = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let table = get(15).and_then(|value| number(value, 0)).unwrap_or(u32::from(byte(4)?));
    let priority = get(6).and_then(|value| number(value, 0)).unwrap_or(0);
    let network = |kind: u16, length: u8| get(kind).and_then(ip).and_then(|address| Cidr::new(address, length));
    let (from, to) = (network(2, src), network(1, dst));
    let mark = get(10).and_then(|value| number(value, 0)).map(|mark| format!("fwmark 0x{mark:x}"));
    let more =
        mark.or(get(3).map(|name| format!("iif {}", text(name)))).or(get(17).map(|name| format!("oif {}", text(name))));
    let always = from.is_none()
        && to.is_none()
        && more.is_none()
        && matches!((priority, table), (0, 255) | (32766, 254) | (32767, 253));
    if (family == 2 || family == 10) && !always {
        kernel.rules.push(Rule {
            priority: Some(priority),
            v6: family == 10,
            // FIB_RULE_INVERT
            not: number(body, 8).is_some_and(|flags| flags & 2 != 0),
            from,
            to,
            more: more.unwrap_or_default(),
            table,
            proto: match get(21).and_then(|value| value.first().copied()) {
                Some(2) => "kernel",
                Some(4) => "static",
                _ => "boot",
            },
            place: None,
        });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn noise_is_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), kind in 16u16..33) {
            let mut kernel = Kernel::default();
            read(&mut kernel, &mut Vec::new(), &bytes);
            let mut message = (16 + bytes.len() as u32).to_ne_bytes().to_vec();
            message.extend(kind.to_ne_bytes());
            message.extend([0; 10]);
            message.extend(bytes);
            read(&mut kernel, &mut Vec::new(), &message);
            kernel.route_lines(254);
        }
    }
}
