//! The way by which others reach the machine: its card to the outside, its addresses, and an address that no rule knows.

use std::net::IpAddr;

use sickbay_formats::filter::packet::Host;
use sickbay_formats::filter::{Against, Key, Match, Part, RuleSet};
use sickbay_formats::network::address::Cidr;
use sickbay_formats::network::kernel::Kernel;

use super::after_restart::AfterRestart;
use super::live::Live;
use crate::facts::system::kernel::parameter;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// How it stands in the world.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The card that its default route leads by, or the only one that it has.
    pub card: Option<String>,
    /// That card's first address of IPv4.
    pub address: Option<IpAddr>,
    /// Where IPv6 has a default route: the card that it leads by, and that card's first global address.
    pub v6: Option<(String, IpAddr)>,
    /// Its cards and whether it forwards.
    pub host: Host,
}

impl Fact for Outside {
    fn gather(facts: &Facts) -> Result<Outside, Skip> {
        let mut outside = match facts.get::<Live>() {
            Ok(live) => of(&live.0),
            Err(_) => match facts.get::<AfterRestart>() {
                // A lease brings addresses that no file tells.
                Ok(after) if after.counts() && !after.outcome.kernel.links.iter().any(|link| link.dynamic) => {
                    of(&after.outcome.kernel)
                }
                _ => Outside::default(),
            },
        };
        if facts.runs() {
            outside.host.forwards = parameter(facts, "net.ipv4.ip_forward")?.map(|value| value != 0);
            outside.host.forwards_v6 = parameter(facts, "net.ipv6.conf.all.forwarding")?.map(|value| value != 0);
        }
        Ok(outside)
    }
}

fn of(kernel: &Kernel) -> Outside {
    let cards: Vec<(String, Vec<Cidr>)> = kernel
        .links
        .iter()
        .map(|link| (link.name.clone(), link.addresses.iter().map(|address| address.cidr).collect()))
        .collect();
    let default = kernel
        .routes
        .iter()
        .filter(|route| route.table == sickbay_formats::network::kernel::MAIN && route.dst.is_default())
        .min_by_key(|route| route.dst.is_v6());
    let by_route = default.map(|route| route.dev.clone()).filter(|dev| !dev.is_empty());
    let others: Vec<&String> = cards.iter().map(|(name, _)| name).filter(|name| *name != "lo").collect();
    let card = by_route.or_else(|| match others.as_slice() {
        [one] => Some((*one).clone()),
        _ => None,
    });
    let address =
        card.as_ref().and_then(|card| cards.iter().find(|(name, _)| name == card)).and_then(|(_, addresses)| {
            addresses.iter().map(|cidr| cidr.address).find(|address| address.is_ipv4() && !address.is_loopback())
        });
    let v6 = kernel
        .routes
        .iter()
        .find(|route| {
            route.table == sickbay_formats::network::kernel::MAIN && route.dst.is_default() && route.dst.is_v6()
        })
        .and_then(|route| {
            let link = kernel.link(&route.dev)?;
            let address = link.addresses.iter().map(|one| one.cidr.address).find(is_global)?;
            Some((route.dev.clone(), address))
        });
    Outside { card, address, v6, host: Host { cards, forwards: None, forwards_v6: None } }
}

/// An address of IPv6 by which the world reaches a machine.
fn is_global(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.segments()[0] & 0xe000 == 0x2000)
}

/// Public addresses of IPv6 in different parts of the world.
const STRANGERS_V6: [[u16; 8]; 4] = [
    [0x2a01, 0x4f8, 0x1c17, 0x5a, 0, 0, 0, 0x71],
    [0x2600, 0x1f18, 0x2148, 0xbc, 0, 0, 0x9, 0x3],
    [0x2402, 0x4e00, 0x1013, 0xe5, 0, 0, 0x44, 0x1],
    [0x2804, 0x14c, 0x65a, 0x91, 0, 0, 0, 0x5],
];

/// An address of IPv6 of somebody whom no rule of the set means.
pub fn stranger_v6(rules: &RuleSet) -> IpAddr {
    let ranges = sources(rules);
    let named = |address: &[u16; 8]| {
        let IpAddr::V6(address) = IpAddr::from(*address) else { return 0 };
        ranges.iter().filter(|(from, to)| (*from..=*to).contains(&address.to_bits())).count()
    };
    IpAddr::from(
        STRANGERS_V6.iter().min_by_key(|address| named(address)).copied().unwrap_or([0x2a01, 0, 0, 0, 0, 0, 0, 1]),
    )
}

/// Public addresses in different parts of the world.
const STRANGERS: [[u8; 4]; 8] = [
    [52, 91, 17, 33],
    [81, 29, 57, 101],
    [133, 7, 91, 5],
    [201, 19, 3, 77],
    [9, 27, 43, 61],
    [41, 66, 12, 9],
    [118, 40, 77, 21],
    [213, 95, 44, 130],
];

/// An address of somebody whom no rule of the set means.
pub fn stranger(rules: &RuleSet) -> IpAddr {
    let ranges = sources(rules);
    let named = |address: &[u8; 4]| {
        let bits = u128::from(u32::from_be_bytes(*address));
        ranges.iter().filter(|(from, to)| (*from..=*to).contains(&bits)).count()
    };
    IpAddr::from(STRANGERS.iter().min_by_key(|address| named(address)).copied().unwrap_or([52, 91, 17, 33]))
}

/// One address of each range that the rules name as a source: those who may be treated otherwise than a stranger.
pub fn known(rules: &RuleSet) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for (from, to) in sources(rules) {
        let middle = from.saturating_add(to.saturating_sub(from) / 2);
        let Ok(bits) = u32::try_from(middle) else { continue };
        let address = IpAddr::from(bits.to_be_bytes());
        if !all.contains(&address) && !address.is_loopback() {
            all.push(address);
        }
        if all.len() >= 256 {
            break;
        }
    }
    all
}

/// The ranges of IPv4 that rules and sets name as sources, but not everything.
fn sources(rules: &RuleSet) -> Vec<(u128, u128)> {
    let mut all = Vec::new();
    let of_rules = rules.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.matches);
    for one in of_rules {
        let Match::Compare { keys, against, .. } = one else { continue };
        let Some(place) = keys.iter().position(|key| *key == Key::Saddr) else { continue };
        let elements = match against {
            Against::Elements(elements) => elements,
            Against::Set(_, Some(at)) => match rules.sets.get(*at) {
                Some(set) => &set.elements,
                None => continue,
            },
            Against::Set(_, None) => continue,
        };
        for element in elements {
            if let Some(Part::Range(from, to)) = element.parts.get(place)
                && to.saturating_sub(*from) < 1 << 30
            {
                all.push((*from, *to));
            }
        }
        if all.len() > 100_000 {
            break;
        }
    }
    all
}
