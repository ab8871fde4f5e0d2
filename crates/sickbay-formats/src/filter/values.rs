//! The words that rules are written in, as numbers.

use std::net::IpAddr;

use super::packet::states;
use super::{Key, Part};
use crate::network::address::Cidr;

/// The number of a protocol.
pub(super) fn protocol(word: &str) -> Option<u8> {
    let number = match word.to_ascii_lowercase().as_str() {
        "icmp" => 1,
        "igmp" => 2,
        "ipencap" | "ipip" => 4,
        "tcp" => 6,
        "udp" => 17,
        "dccp" => 33,
        "ipv6" => 41,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "icmpv6" | "ipv6-icmp" | "icmp6" => 58,
        "ospf" => 89,
        "pim" => 103,
        "vrrp" => 112,
        "sctp" => 132,
        "mobility-header" | "mh" | "ipv6-mh" => 135,
        "udplite" => 136,
        other => return other.parse().ok(),
    };
    Some(number)
}

/// The services whose names are used in rules.
const SERVICES: [(&str, u16); 42] = [
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("www", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("auth", 113),
    ("ntp", 123),
    ("netbios-ns", 137),
    ("netbios-dgm", 138),
    ("netbios-ssn", 139),
    ("imap2", 143),
    ("imap", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("submissions", 465),
    ("isakmp", 500),
    ("syslog", 514),
    ("dhcpv6-client", 546),
    ("dhcpv6-server", 547),
    ("submission", 587),
    ("ipp", 631),
    ("ldaps", 636),
    ("rsync", 873),
    ("imaps", 993),
    ("pop3s", 995),
    ("openvpn", 1194),
    ("nfs", 2049),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("mdns", 5353),
];

/// A port by number or name.
pub(super) fn port(word: &str) -> Option<u16> {
    word.parse().ok().or_else(|| SERVICES.iter().find(|(name, _)| *name == word).map(|(_, port)| *port))
}

/// The number of a type of ICMP, for each version.
fn icmp(word: &str) -> Option<u128> {
    let word = word.split('/').next().unwrap_or(word);
    let number = match word {
        "echo-reply" | "pong" => 0,
        "destination-unreachable" => 3,
        "source-quench" => 4,
        "redirect" => 5,
        "echo-request" | "ping" => 8,
        "router-advertisement" => 9,
        "router-solicitation" => 10,
        "time-exceeded" | "ttl-exceeded" => 11,
        "parameter-problem" => 12,
        "timestamp-request" => 13,
        "timestamp-reply" => 14,
        other => return other.parse().ok(),
    };
    Some(number)
}

/// The same for ICMPv6.
pub(super) fn icmpv6(word: &str) -> Option<u128> {
    let number = match word.split('/').next().unwrap_or(word) {
        "destination-unreachable" => 1,
        "packet-too-big" => 2,
        "time-exceeded" | "ttl-exceeded" => 3,
        "parameter-problem" | "bad-header" => 4,
        "echo-request" | "ping" => 128,
        "echo-reply" | "pong" => 129,
        "mld-listener-query" => 130,
        "mld-listener-report" => 131,
        "mld-listener-done" | "mld-listener-reduction" => 132,
        "nd-router-solicit" | "router-solicitation" => 133,
        "nd-router-advert" | "router-advertisement" => 134,
        "nd-neighbor-solicit" | "neighbour-solicitation" | "neighbor-solicitation" => 135,
        "nd-neighbor-advert" | "neighbour-advertisement" | "neighbor-advertisement" => 136,
        "nd-redirect" | "redirect" => 137,
        "mld2-listener-report" => 143,
        other => return other.parse().ok(),
    };
    Some(number)
}

/// A state or status of a connection.
pub(super) fn state(word: &str) -> Option<u128> {
    let number = match word.to_ascii_lowercase().as_str() {
        "new" => states::NEW,
        "established" => states::ESTABLISHED,
        "related" => states::RELATED,
        "invalid" => states::INVALID,
        "untracked" => states::UNTRACKED,
        "dnat" => states::DNAT,
        "snat" => states::SNAT,
        _ => return None,
    };
    Some(number)
}

/// FIN, SYN …
pub(super) fn flag(word: &str) -> Option<u128> {
    let number = match word.to_ascii_lowercase().as_str() {
        "fin" => 0x01,
        "syn" => 0x02,
        "rst" => 0x04,
        "psh" => 0x08,
        "ack" => 0x10,
        "urg" => 0x20,
        "ecn" => 0x40,
        "cwr" => 0x80,
        "all" => 0x3f,
        "none" => 0,
        other => return number(other),
    };
    Some(number)
}

/// Decimal or 0x….
pub(super) fn number(word: &str) -> Option<u128> {
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) => u128::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

/// An address as a number.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The addresses of a network.
pub(super) fn network(cidr: Cidr) -> Part {
    let first = bits(cidr.network().address);
    let width: u32 = if cidr.is_v6() { 128 } else { 32 };
    let free = width.saturating_sub(u32::from(cidr.prefix));
    let rest = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
    Part::Range(first, first.saturating_add(rest))
}

/// One address, network, or first and last address.
pub(super) fn addresses(word: &str) -> Option<Part> {
    if let Some((from, to)) = word.split_once('-') {
        let (from, to) = (from.trim().parse::<IpAddr>().ok()?, to.trim().parse::<IpAddr>().ok()?);
        return (from.is_ipv4() == to.is_ipv4()).then(|| Part::Range(bits(from), bits(to)));
    }
    // A network of IPv6 is read as any other.
    Cidr::parse(word).or_else(|| Cidr::parse_for_ip(word, false)).map(network)
}

/// A value of nft, as the key needs it. `A-B` is a range of anything with numbers.
pub(super) fn part(key: &Key, word: &str) -> Part {
    if word == "*" {
        return Part::Any;
    }
    let single = |word: &str| -> Option<u128> {
        match key {
            Key::Sport | Key::Dport | Key::OriginalDport => port(word).map(u128::from),
            Key::Protocol => protocol(word).map(u128::from),
            Key::Version => match word {
                "ipv4" | "ip" | "2" => Some(4),
                "ipv6" | "ip6" | "10" => Some(6),
                _ => None,
            },
            Key::Icmp => icmp(word),
            Key::Icmp6 => icmpv6(word),
            Key::State => state(word),
            Key::Flags => word.split('|').try_fold(0, |all, one| Some(all | flag(one)?)),
            Key::Direction => match word {
                "original" => Some(0),
                "reply" => Some(1),
                other => number(other),
            },
            Key::Mark | Key::ConnMark => number(word),
            _ => None,
        }
    };
    match key {
        Key::Iif | Key::Oif => Part::Name(word.into()),
        Key::SaddrType | Key::DaddrType | Key::PacketType => Part::Name(word.to_ascii_lowercase().into()),
        Key::Saddr | Key::Daddr | Key::OriginalDaddr => addresses(word).unwrap_or(Part::Unknown),
        Key::Other(_) => Part::Unknown,
        _ => {
            if let Some(value) = single(word) {
                return Part::Range(value, value);
            }
            // A name may have a `-` in it.
            let ends = word.split_once('-').and_then(|(from, to)| Some((single(from)?, single(to)?)));
            ends.map_or(Part::Unknown, |(from, to)| Part::Range(from, to))
        }
    }
}
