//! One thing that a running kernel's network has or has not: a link that is up, an address, a route; as the body of its message of
//! rtnetlink(7). What was dumped is given back byte for byte, so that whatever the kernel knows of it comes back with it.

use std::net::{IpAddr, Ipv4Addr};

use super::address::Cidr;
use super::kernel::{Kernel, Route, Scope};
use super::rtnetlink::{self, attributes, ip, number};

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// That a link is up.
    Link,
    /// An address of a link.
    Address,
    /// A route.
    Route,
}

/// One thing, as the kernel is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// `ifinfomsg`, `ifaddrmsg` or `rtmsg`, with its attributes.
    pub body: Vec<u8>,
}

// include/uapi/linux/if_link.h, if_addr.h, rtnetlink.h
const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
/// The one flag of a route that is asked for; the others tell how its link is.
const ONLINK: u32 = 4;

/// What a request does besides naming the thing (include/uapi/linux/netlink.h).
const CREATE: u16 = 0x400;
const EXCL: u16 = 0x200;
const APPEND: u16 = 0x800;

/// A message of netlink that makes something so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// `RTM_NEWROUTE` and the like.
    pub request: u16,
    /// Besides those that every request has.
    pub flags: u16,
    /// Behind the header.
    pub body: Vec<u8>,
}

/// Where among routes of the same network and metric one is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Before them: it counts.
    First,
    /// Behind them.
    Last,
}

impl Piece {
    /// That the link with this number is up.
    pub fn link(index: u32) -> Piece {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        Piece { kind: Kind::Link, body }
    }

    /// An address of IPv4, with the broadcast address and the label that ip(8) gives it.
    pub fn address(index: u32, name: &str, cidr: Cidr) -> Option<Piece> {
        let IpAddr::V4(address) = cidr.address else { return None };
        let mut body = vec![AF_INET, cidr.prefix, 0, 0];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, IFA_LOCAL, &address.octets());
        attribute(&mut body, IFA_ADDRESS, &address.octets());
        if cidr.prefix < 31 {
            let hosts = u32::MAX.checked_shr(u32::from(cidr.prefix)).unwrap_or(0);
            attribute(&mut body, IFA_BROADCAST, &Ipv4Addr::from(address.to_bits() | hosts).octets());
        }
        attribute(&mut body, IFA_LABEL, &[name.as_bytes(), &[0]].concat());
        Some(Piece { kind: Kind::Address, body })
    }

    /// A route of IPv4 that a file asks for.
    pub fn route(index: u32, route: &Route) -> Option<Piece> {
        let (IpAddr::V4(dst), "unicast") = (route.dst.address, route.kind) else { return None };
        let proto = match route.proto {
            "static" => 4,
            _ => 3,
        };
        let scope = match route.scope {
            Scope::Global => 0,
            Scope::Site => 200,
            Scope::Link => 253,
            Scope::Host => 254,
        };
        let table = u8::try_from(route.table).unwrap_or(0);
        let mut body = vec![AF_INET, route.dst.prefix, 0, 0, table, proto, scope, 1];
        body.extend(if route.onlink { ONLINK } else { 0 }.to_ne_bytes());
        attribute(&mut body, RTA_TABLE, &route.table.to_ne_bytes());
        if route.dst.prefix > 0 {
            attribute(&mut body, RTA_DST, &dst.octets());
        }
        match route.via {
            Some(IpAddr::V4(router)) => attribute(&mut body, RTA_GATEWAY, &router.octets()),
            Some(IpAddr::V6(_)) => return None,
            None => {}
        }
        attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
        if route.metric > 0 {
            attribute(&mut body, RTA_PRIORITY, &route.metric.to_ne_bytes());
        }
        if let Some(IpAddr::V4(src)) = route.src {
            attribute(&mut body, RTA_PREFSRC, &src.octets());
        }
        Some(Piece { kind: Kind::Route, body })
    }

    /// Everything that messages of a dump tell of.
    pub fn all(messages: &[u8]) -> Vec<Piece> {
        let mut all = Vec::new();
        rtnetlink::each(messages, |kind, body| match kind {
            rtnetlink::NEWLINK if number(body, 8).is_some_and(|flags| flags & IFF_UP != 0) => {
                all.extend(number(body, 4).map(Piece::link));
            }
            rtnetlink::NEWADDR => all.push(Piece { kind: Kind::Address, body: body.to_vec() }),
            rtnetlink::NEWROUTE => all.push(Piece { kind: Kind::Route, body: body.to_vec() }),
            _ => {}
        });
        all
    }

    /// Whether both are the same thing: one and the same address of a link, a route that the kernel would not have twice.
    pub fn is(&self, other: &Piece) -> bool {
        self.kind == other.kind && self.key().is_some() && self.key() == other.key()
    }

    /// The numbers of the links that it is about.
    pub fn link_index(&self) -> Option<u32> {
        match self.kind {
            Kind::Link | Kind::Address => number(&self.body, 4),
            Kind::Route => self.get(RTA_OIF).and_then(|value| number(value, 0)),
        }
    }

    /// Whether it goes by itself: an address of a lease.
    pub fn is_leased(&self) -> bool {
        self.kind == Kind::Address
            && self.get(IFA_CACHEINFO).and_then(|info| number(info, 4)).is_some_and(|valid| valid != u32::MAX)
    }

    fn header(&self) -> usize {
        match self.kind {
            Kind::Link => 16,
            Kind::Address => 8,
            Kind::Route => 12,
        }
    }

    fn get(&self, wanted: u16) -> Option<&[u8]> {
        attributes(&self.body, self.header()).into_iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    fn key(&self) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        let mut add = |bytes: &[u8]| {
            key.extend(u8::try_from(bytes.len()).unwrap_or(u8::MAX).to_ne_bytes());
            key.extend(bytes);
        };
        match self.kind {
            Kind::Link => add(self.body.get(4..8)?),
            Kind::Address => {
                add(self.body.get(..2)?);
                add(self.body.get(4..8)?);
                add(self.get(IFA_LOCAL).or(self.get(IFA_ADDRESS))?);
            }
            Kind::Route => {
                // Family and length, type of service, kind.
                add(self.body.get(..2)?);
                add(self.body.get(3..4)?);
                add(self.body.get(7..8)?);
                let table = self.get(RTA_TABLE).map(<[u8]>::to_vec);
                add(&table.or(Some(u32::from(*self.body.get(4)?).to_ne_bytes().to_vec()))?);
                for one in [RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH] {
                    add(self.get(one).unwrap_or_default());
                }
                add(&self.get(RTA_PRIORITY).and_then(|value| number(value, 0)).unwrap_or(0).to_ne_bytes());
            }
        }
        Some(key)
    }

    /// The message that makes it so, or no longer so.
    pub fn order(&self, there: bool, rank: Rank) -> Order {
        let mut body = self.body.clone();
        let (request, flags) = match (self.kind, there) {
            (Kind::Link, _) => {
                let flags = if there { IFF_UP } else { 0 };
                if let Some(place) = body.get_mut(8..12) {
                    place.copy_from_slice(&flags.to_ne_bytes());
                }
                (rtnetlink::NEWLINK, 0)
            }
            (Kind::Address, true) => (rtnetlink::NEWADDR, CREATE | EXCL),
            (Kind::Address, false) => (rtnetlink::NEWADDR + 1, 0),
            (Kind::Route, true) => (rtnetlink::NEWROUTE, if rank == Rank::First { CREATE } else { CREATE | APPEND }),
            (Kind::Route, false) => (rtnetlink::NEWROUTE + 1, 0),
        };
        if self.kind == Kind::Route {
            // What else it was told to be is not asked for.
            let flags = number(&body, 8).unwrap_or(0) & ONLINK;
            if let Some(place) = body.get_mut(8..12) {
                place.copy_from_slice(&flags.to_ne_bytes());
            }
        }
        Order { request, flags, body }
    }

    /// As ip(8) is given it: `eth0 up`, `10.0.0.5/24 dev eth0`, `default via 10.0.0.1 dev eth0`.
    pub fn words(&self, links: &[(u32, String)]) -> Option<String> {
        let name = |index: u32| links.iter().find(|(known, _)| *known == index).map(|(_, name)| name.clone());
        match self.kind {
            Kind::Link => Some(format!("{} up", name(self.link_index()?)?)),
            Kind::Address => {
                let address = self.get(IFA_LOCAL).or(self.get(IFA_ADDRESS)).and_then(ip)?;
                let cidr = Cidr::new(address, *self.body.get(1)?)?;
                Some(format!("{cidr} dev {}", name(self.link_index()?)?))
            }
            Kind::Route => {
                let route = self.route_of(links)?;
                let mut words = match route.dst.is_default() {
                    true => "default".to_owned(),
                    false => route.dst.to_string(),
                };
                if let Some(via) = route.via {
                    words.push_str(&format!(" via {via}"));
                }
                if !route.dev.is_empty() {
                    words.push_str(&format!(" dev {}", route.dev));
                }
                if route.table != super::kernel::MAIN {
                    words.push_str(&format!(" table {}", route.table));
                }
                if route.metric > 0 {
                    words.push_str(&format!(" metric {}", route.metric));
                }
                if route.onlink {
                    words.push_str(" onlink");
                }
                Some(words)
            }
        }
    }

    /// The route that it is.
    pub fn route_of(&self, links: &[(u32, String)]) -> Option<Route> {
        let mut kernel = Kernel::default();
        if self.kind == Kind::Route {
            rtnetlink::route(&mut kernel, links, &self.body)?;
        }
        kernel.routes.pop()
    }

    /// As a journal keeps it: `route 0200…`.
    pub fn hex(&self) -> String {
        let kind = match self.kind {
            Kind::Link => "link",
            Kind::Address => "address",
            Kind::Route => "route",
        };
        let bytes: String = self.body.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{kind} {bytes}")
    }

    /// What a journal kept. `None` for what no journal of ours holds.
    pub fn from_hex(text: &str) -> Option<Piece> {
        let (kind, hex) = text.split_once(' ')?;
        let kind = match kind {
            "link" => Kind::Link,
            "address" => Kind::Address,
            "route" => Kind::Route,
            _ => return None,
        };
        if hex.len() > 4096 || hex.len() % 2 != 0 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let body = hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        let piece = Piece { kind, body: body.collect::<Option<Vec<u8>>>()? };
        (piece.body.len() >= piece.header() && piece.key().is_some()).then_some(piece)
    }
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(u16::try_from(value.len() + 4).unwrap_or(4).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::super::kernel::MAIN;
    use super::*;

    fn links() -> Vec<(u32, String)> {
        vec![(2, "eth0".to_owned()), (3, "eth1".to_owned())]
    }

    fn default(via: Option<&str>, dev: &str, metric: u32) -> Route {
        Route {
            kind: "unicast",
            dst: Cidr::everything(false),
            via: via.map(|via| via.parse().expect("an address")),
            dev: dev.to_owned(),
            table: MAIN,
            proto: "boot",
            scope: if via.is_some() { Scope::Global } else { Scope::Link },
            src: None,
            metric,
            onlink: false,
            linkdown: false,
            hops: Vec::new(),
            more: String::new(),
            from: Vec::new(),
        }
    }

    #[test]
    fn things_are_told_in_the_words_of_ip() {
        let words = |piece: Option<Piece>| piece.and_then(|piece| piece.words(&links()));
        let cidr = Cidr::parse("172.31.231.158/20").expect("a network");
        assert_eq!(words(Some(Piece::link(2))).as_deref(), Some("eth0 up"));
        assert_eq!(words(Piece::address(2, "eth0", cidr)).as_deref(), Some("172.31.231.158/20 dev eth0"));
        let via = Piece::route(3, &default(Some("60.205.151.247"), "eth1", 0));
        assert_eq!(words(via).as_deref(), Some("default via 60.205.151.247 dev eth1"));
        assert_eq!(words(Piece::route(2, &default(None, "eth0", 7))).as_deref(), Some("default dev eth0 metric 7"));
        assert_eq!(words(Some(Piece::link(9))), None);
    }

    #[test]
    fn a_broadcast_address_is_that_of_the_network() {
        let cidr = Cidr::parse("172.31.231.158/20").expect("a network");
        let piece = Piece::address(2, "eth0", cidr).expect("an address of IPv4");
        assert_eq!(piece.get(IFA_BROADCAST), Some([172, 31, 239, 255].as_slice()));
        assert_eq!(piece.get(IFA_LABEL), Some(b"eth0\0".as_slice()));
    }

    #[test]
    fn what_tells_two_routes_apart() {
        let one = Piece::route(3, &default(Some("10.0.0.1"), "eth1", 0)).expect("a route");
        let mut again = one.clone();
        // How the link is at the moment, and who made the route.
        again.body[8] |= 16;
        again.body[5] = 16;
        assert!(one.is(&again));
        assert_eq!(again.order(true, Rank::Last).body[8], 0, "the kernel refuses to be told that a link is down");
        for other in
            [default(None, "eth1", 0), default(Some("10.0.0.1"), "eth1", 5), default(Some("10.0.0.2"), "eth1", 0)]
        {
            assert!(!one.is(&Piece::route(3, &other).expect("a route")));
        }
        assert!(!one.is(&Piece::route(2, &default(Some("10.0.0.1"), "eth0", 0)).expect("a route")));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
            kind in proptest::sample::select(vec![Kind::Link, Kind::Address, Kind::Route]),
        ) {
            let piece = Piece { kind, body: bytes.clone() };
            piece.words(&links());
            piece.order(true, Rank::First);
            piece.order(false, Rank::Last);
            piece.is_leased();
            for one in Piece::all(&bytes) {
                one.words(&links());
            }
            if let Some(again) = Piece::from_hex(&piece.hex()) {
                proptest::prop_assert_eq!(again, piece);
            }
        }

        #[test]
        fn text_is_read(text in "(link|route|address) [0-9a-f]{0,60}|.{0,20}") {
            if let Some(piece) = Piece::from_hex(&text) {
                proptest::prop_assert_eq!(piece.hex(), text);
            }
        }
    }
}
