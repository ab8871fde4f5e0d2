//! What the cards of a running system are at the moment: as the kernel says over netlink, or as its files were recorded.

use std::net::{IpAddr, Ipv4Addr};

use bstr::ByteSlice;
use sickbay_formats::network::address::Cidr;
use sickbay_formats::network::kernel::MAIN;

use super::live::{Connected, Live};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// A card now.
#[derive(Debug)]
pub struct Card {
    /// `eth0`
    pub name: String,
    /// Whether it was set up.
    pub up: bool,
    /// Whether a cable or a virtual switch is at its other end, where the kernel says.
    pub carrier: Option<bool>,
    /// In bytes.
    pub mtu: Option<u32>,
    /// Its networks of IPv4.
    pub networks: Vec<Cidr>,
    /// Its addresses of IPv4; `None` where only its networks are known.
    pub addresses: Option<Vec<Cidr>>,
}

/// A default route of IPv4 in the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The router, if there is one.
    pub via: Option<IpAddr>,
    /// The card.
    pub dev: String,
    /// The lowest counts.
    pub metric: u32,
    /// Whether files may have asked for it: it came neither with a lease nor from a program that speaks with routers.
    pub is_static: bool,
}

/// The cards and default routes now.
#[derive(Debug)]
pub struct Now {
    /// What is in `/sys/class/net`, or what the kernel names.
    pub cards: Vec<Card>,
    /// The one that counts first.
    pub defaults: Vec<DefaultRoute>,
}

impl Now {
    /// A card by its name.
    pub fn card(&self, name: &str) -> Option<&Card> {
        self.cards.iter().find(|card| card.name == name)
    }
}

impl Fact for Now {
    fn gather(facts: &Facts) -> Result<Now, Skip> {
        match facts.get::<Live>() {
            Ok(live) => Ok(of_kernel(facts, &live)),
            Err(_) if facts.runs() => of_files(facts),
            Err(why) => Err(why),
        }
    }
}

fn of_kernel(facts: &Facts, live: &Live) -> Now {
    let v4 = |all: Vec<Cidr>| all.into_iter().filter(|cidr| !cidr.is_v6()).collect::<Vec<_>>();
    let cards = live.0.links.iter().map(|link| {
        let addresses = v4(link.addresses.iter().map(|address| address.cidr).collect());
        Card {
            name: link.name.clone(),
            up: link.up,
            carrier: number(facts, &link.name, "carrier").map(|carrier| carrier != 0),
            mtu: link.mtu,
            networks: addresses.iter().map(|cidr| cidr.network()).collect(),
            addresses: Some(addresses),
        }
    });
    let routes = live.0.table(MAIN, false).into_iter().filter(|route| route.dst.is_default() && !route.dst.is_v6());
    let mut defaults: Vec<DefaultRoute> = routes
        .map(|route| DefaultRoute {
            via: route.via,
            dev: route.dev.clone(),
            metric: route.metric,
            is_static: matches!(route.proto, "boot" | "static" | "none"),
        })
        .collect();
    defaults.sort_by_key(|route| route.metric);
    Now { cards: cards.collect(), defaults }
}

fn of_files(facts: &Facts) -> Result<Now, Skip> {
    let connected = facts.get::<Connected>()?;
    let mut cards = Vec::new();
    for entry in facts.root().read_dir("/sys/class/net").unwrap_or_default() {
        let Some(name) = entry.name.to_str() else { continue };
        // A recording without it tells nothing of it.
        let Some(flags) =
            text(facts, name, "flags").and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok())
        else {
            continue;
        };
        cards.push(Card {
            name: name.to_owned(),
            up: flags & 1 != 0,
            carrier: number(facts, name, "carrier").map(|carrier| carrier != 0),
            mtu: number(facts, name, "mtu"),
            networks: connected.0.iter().filter(|(dev, _)| dev == name).map(|(_, network)| *network).collect(),
            addresses: None,
        });
    }
    if cards.is_empty() {
        return Err(Skip::NotApplicable(tr!("what state the network cards are in was not recorded")));
    }
    let routes = facts.required("/proc/net/route")?;
    let mut defaults = Vec::new();
    for line in routes.bytes.lines().skip(1).take(1 << 16) {
        let words: Vec<&str> = line.to_str().unwrap_or_default().split_ascii_whitespace().collect();
        let [dev, "00000000", gateway, flags, _, _, metric, "00000000", ..] = words.as_slice() else { continue };
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let (Some(gateway), Some(1)) = (hex(gateway), hex(flags).map(|flags| flags & 1)) else { continue };
        let via = (gateway != 0).then(|| IpAddr::from(Ipv4Addr::from(gateway.to_ne_bytes())));
        let metric = metric.parse().unwrap_or(0);
        defaults.push(DefaultRoute { via, dev: (*dev).to_owned(), metric, is_static: false });
    }
    defaults.sort_by_key(|route| route.metric);
    Ok(Now { cards, defaults })
}

fn text(facts: &Facts, card: &str, file: &str) -> Option<String> {
    let bytes = facts.root().read(format!("/sys/class/net/{card}/{file}")).ok()?;
    Some(bytes.trim_ascii().to_str_lossy().into_owned())
}

fn number(facts: &Facts, card: &str, file: &str) -> Option<u32> {
    text(facts, card, file)?.parse().ok()
}
