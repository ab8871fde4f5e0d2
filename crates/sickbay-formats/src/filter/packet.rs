//! A packet, and the machine that it meets.

use std::net::IpAddr;

use crate::network::address::Cidr;

/// Numbers of the states of a connection, as [`Key::State`](super::Key::State) has them; a packet has one of the first five, and more.
pub mod states {
    /// The first packet.
    pub const NEW: u128 = 1;
    /// There was an answer.
    pub const ESTABLISHED: u128 = 2;
    /// Belongs to another connection.
    pub const RELATED: u128 = 3;
    /// To none.
    pub const INVALID: u128 = 4;
    /// Is not followed.
    pub const UNTRACKED: u128 = 5;
    /// The destination was translated.
    pub const DNAT: u128 = 6;
    /// The source was translated.
    pub const SNAT: u128 = 7;
}

/// The number of ICMP.
pub const ICMP: u8 = 1;
/// The number of TCP.
pub const TCP: u8 = 6;
/// The number of UDP.
pub const UDP: u8 = 17;
/// The number of ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To this machine, or through it where its destination is not here.
    In,
    /// From this machine.
    Out,
    /// Through it.
    Through,
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its way.
    pub way: Way,
    /// By which card it comes; `None` is not known.
    pub iif: Option<String>,
    /// By which it leaves.
    pub oif: Option<String>,
    /// From where; `None` is not known.
    pub source: Option<IpAddr>,
    /// To where; `None` is one of the machine's own addresses.
    pub destination: Option<IpAddr>,
    /// Whether it is one of IPv6.
    pub v6: bool,
    /// Its protocol.
    pub protocol: u8,
    /// From which port; `None` is any high one.
    pub sport: Option<u16>,
    /// To which port.
    pub dport: Option<u16>,
    /// Its type, if it is one of ICMP.
    pub icmp: u8,
    /// One of [`states`].
    pub state: u128,
}

impl Packet {
    /// The first packet of a TCP connection to a port of this machine.
    pub fn connection(source: Option<IpAddr>, port: u16) -> Packet {
        Packet {
            way: Way::In,
            iif: None,
            oif: None,
            source,
            destination: None,
            v6: source.is_some_and(|address| address.is_ipv6()),
            protocol: TCP,
            sport: None,
            dport: Some(port),
            icmp: 8,
            state: states::NEW,
        }
    }

    /// `tcp from 1.2.3.4 to :22`, in any order after the protocol: `from ADDRESS[:PORT]`, `to [ADDRESS][:PORT]`, `in CARD`, `out CARD`,
    /// `established`, `invalid`, `related`, `output`, `forward`. With an address of IPv6 a port needs brackets: `[::1]:22`.
    ///
    /// # Errors
    /// The word that is not understood.
    pub fn parse(text: &str) -> Result<Packet, String> {
        let mut words = text.split_whitespace();
        let mut packet = Packet::connection(None, 0);
        packet.dport = None;
        let mut ports = true;
        let protocol = words.next().unwrap_or_default();
        packet.protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => TCP,
            "udp" => UDP,
            "icmp" => ICMP,
            "icmpv6" | "icmp6" => ICMPV6,
            other => super::values::protocol(other).ok_or_else(|| protocol.to_owned())?,
        };
        if !matches!(packet.protocol, TCP | UDP | 33 | 132 | 136) {
            ports = false;
        }
        packet.v6 = packet.protocol == ICMPV6;
        if packet.v6 {
            packet.icmp = 128;
        }
        let mut seen = None;
        while let Some(word) = words.next() {
            match word {
                "from" | "to" => {
                    let end = words.next().ok_or_else(|| word.to_owned())?;
                    let (address, port) = self::end(end).ok_or_else(|| end.to_owned())?;
                    if let Some(address) = address {
                        if seen.is_some_and(|v6| v6 != address.is_ipv6()) {
                            return Err(end.to_owned());
                        }
                        seen = Some(address.is_ipv6());
                        packet.v6 = address.is_ipv6();
                    }
                    if port.is_some() && !ports {
                        return Err(end.to_owned());
                    }
                    if word == "from" {
                        (packet.source, packet.sport) = (address, port);
                    } else {
                        (packet.destination, packet.dport) = (address, port);
                    }
                }
                "in" | "iif" => packet.iif = Some(words.next().ok_or_else(|| word.to_owned())?.to_owned()),
                "out" | "oif" => packet.oif = Some(words.next().ok_or_else(|| word.to_owned())?.to_owned()),
                "new" => packet.state = states::NEW,
                "established" => packet.state = states::ESTABLISHED,
                "related" => packet.state = states::RELATED,
                "invalid" => packet.state = states::INVALID,
                "untracked" => packet.state = states::UNTRACKED,
                "input" => packet.way = Way::In,
                "output" => packet.way = Way::Out,
                "forward" => packet.way = Way::Through,
                other => return Err(other.to_owned()),
            }
        }
        Ok(packet)
    }
}

/// `1.2.3.4`, `1.2.3.4:22`, `:22`, `[::1]:22`, `::1`, `any`.
fn end(text: &str) -> Option<(Option<IpAddr>, Option<u16>)> {
    if text == "any" {
        return Some((None, None));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((Some(address), None));
    }
    let (address, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    match address {
        "" | "any" | "*" => Some((None, Some(port))),
        address => Some((Some(address.parse().ok()?), Some(port))),
    }
}

/// What is known of the machine.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Its cards with their addresses; none where they are not known.
    pub cards: Vec<(String, Vec<Cidr>)>,
    /// Whether it forwards IPv4; `None` is not known.
    pub forwards: Option<bool>,
    /// Whether it forwards IPv6.
    pub forwards_v6: Option<bool>,
}

impl Host {
    /// Whether an address is its own; `None` where its addresses are not known.
    pub fn owns(&self, address: IpAddr) -> Option<bool> {
        if address.is_loopback() {
            return Some(true);
        }
        if self.cards.iter().all(|(name, addresses)| name == "lo" || addresses.is_empty()) {
            return None;
        }
        Some(self.cards.iter().flat_map(|(_, addresses)| addresses).any(|cidr| cidr.address == address))
    }

    /// The card to an address of a network that it is in.
    pub fn card_to(&self, address: IpAddr) -> Option<&str> {
        let fits = |(_, addresses): &&(String, Vec<Cidr>)| addresses.iter().any(|cidr| cidr.contains(address));
        self.cards.iter().find(fits).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_in_words() {
        let packet = Packet::parse("tcp from 1.2.3.4 to :22").expect("understood");
        assert_eq!((packet.protocol, packet.source, packet.dport), (TCP, "1.2.3.4".parse().ok(), Some(22)));
        assert_eq!((packet.state, packet.way), (states::NEW, Way::In));
        let packet =
            Packet::parse("udp from [2001:db8::1]:53 to [2001:db8::2]:4000 in eth0 established").expect("understood");
        assert!(packet.v6);
        assert_eq!((packet.sport, packet.iif.as_deref(), packet.state), (Some(53), Some("eth0"), states::ESTABLISHED));
        assert_eq!(Packet::parse("icmp from any output").map(|packet| packet.way), Ok(Way::Out));
        for (text, wrong) in [
            ("", ""),
            ("tpc to :22", "tpc"),
            ("tcp to :22x", ":22x"),
            ("tcp to", "to"),
            ("tcp from 1.2.3.4 to ::1", "::1"),
            ("icmp to :22", ":22"),
            ("tcp via :22", "via"),
        ] {
            assert_eq!(Packet::parse(text), Err(wrong.to_owned()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = Packet::parse(&text);
        }
    }
}
