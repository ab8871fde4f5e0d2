//! Addresses with the length of their network's prefix, and the ways in which they are written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and how many of its bits name its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// At most 32, or 128 for IPv6.
    pub prefix: u8,
}

impl Cidr {
    /// `None` where the prefix is longer than such an address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Cidr> {
        (prefix <= bits(address)).then_some(Cidr { address, prefix })
    }

    /// The address alone: a /32 or /128.
    pub fn host(address: IpAddr) -> Cidr {
        Cidr { address, prefix: bits(address) }
    }

    /// Everything: `0.0.0.0/0` or `::/0`.
    pub fn everything(v6: bool) -> Cidr {
        let address = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        Cidr { address, prefix: 0 }
    }

    /// `10.0.0.5/24`; without a prefix the address alone.
    pub fn parse(text: &str) -> Option<Cidr> {
        match text.split_once('/') {
            Some((address, prefix)) => Cidr::new(address.parse().ok()?, number(prefix)?),
            None => Some(Cidr::host(text.parse().ok()?)),
        }
    }

    /// As ip(8) reads a destination: `default`, `10/8`, `10.0.0.0/255.0.0.0` too.
    pub fn parse_for_ip(text: &str, v6: bool) -> Option<Cidr> {
        if matches!(text, "default" | "any" | "all") {
            return Some(Cidr::everything(v6));
        }
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let (address, given) = match address.parse::<IpAddr>() {
            Ok(address) => (address, bits(address)),
            Err(_) => short(address)?,
        };
        match prefix {
            None => Cidr::new(address, given),
            Some(text) => Cidr::new(address, number(text).or_else(|| mask(text))?),
        }
    }

    /// Whether it is an IPv6 one.
    pub fn is_v6(self) -> bool {
        self.address.is_ipv6()
    }

    /// The same with the bits behind the prefix cleared.
    pub fn network(self) -> Cidr {
        let shift = u32::from(bits(self.address) - self.prefix);
        let address = match self.address {
            IpAddr::V4(address) => {
                Ipv4Addr::from(address.to_bits().checked_shr(shift).and_then(|v| v.checked_shl(shift)).unwrap_or(0))
                    .into()
            }
            IpAddr::V6(address) => {
                Ipv6Addr::from(address.to_bits().checked_shr(shift).and_then(|v| v.checked_shl(shift)).unwrap_or(0))
                    .into()
            }
        };
        Cidr { address, prefix: self.prefix }
    }

    /// Whether `address` is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Cidr { address, prefix: self.prefix }.network().address == self.network().address
    }

    /// Whether it is the destination of a default route.
    pub fn is_default(self) -> bool {
        self.prefix == 0 && self.address.is_unspecified()
    }

    /// As a netmask is written.
    pub fn mask(self) -> String {
        let bits = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
        Ipv4Addr::from(bits).to_string()
    }

    /// The last address of the network, as a number that orders both families alike.
    pub(super) fn last(self) -> u128 {
        let host = u32::from(bits(self.address) - self.prefix);
        let ones = u128::MAX.checked_shr(128 - host).unwrap_or(0);
        self.first() | ones
    }

    /// The first address of the network, as a number.
    pub(super) fn first(self) -> u128 {
        match self.network().address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// How long addresses of this family are.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `172.16`: the bytes that are not written are 0, and the prefix is as long as what is.
fn short(text: &str) -> Option<(IpAddr, u8)> {
    let mut bytes = [0u8; 4];
    let mut count = 0u8;
    for part in text.split('.') {
        *bytes.get_mut(usize::from(count))? = number(part)?;
        count += 1;
    }
    Some((Ipv4Addr::from(bytes).into(), count * 8))
}

/// The length of a prefix that is written as a mask: `255.255.240.0`. `None` for what is none, or has a hole.
pub fn mask(text: &str) -> Option<u8> {
    let bits = text.parse::<Ipv4Addr>().ok()?.to_bits();
    (bits.leading_ones() + bits.trailing_zeros().min(32) >= 32)
        .then(|| u8::try_from(bits.leading_ones()).ok())
        .flatten()
}

/// The prefix that an address had before there were masks (RFC 791); programs still take it where none is given.
pub fn of_class(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [0..128, ..] => 8,
        [128..192, ..] => 16,
        [192..224, ..] => 24,
        _ => 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_masks() {
        let cidr = |text| Cidr::parse(text).unwrap();
        assert_eq!(cidr("10.25.158.37/22").network(), cidr("10.25.156.0/22"));
        assert_eq!(cidr("10.25.158.37/0").network(), cidr("0.0.0.0/0"));
        assert_eq!(cidr("2001:db8::5/64").network(), cidr("2001:db8::/64"));
        assert!(cidr("10.25.158.37/22").contains("10.25.159.247".parse().unwrap()));
        assert!(!cidr("10.25.158.37/22").contains("60.205.151.247".parse().unwrap()));
        assert!(!cidr("::/0").contains("60.205.151.247".parse().unwrap()));
        assert_eq!(cidr("10.0.0.0/22").mask(), "255.255.252.0");
        assert_eq!(mask("255.255.240.0"), Some(20));
        assert_eq!(mask("0.0.0.0"), Some(0));
        assert_eq!(mask("255.0.255.0"), None);
        assert_eq!(Cidr::parse("10.0.0.5/33"), None);
        assert_eq!(Cidr::parse_for_ip("172.16/12", false), Some(cidr("172.16.0.0/12")));
        assert_eq!(Cidr::parse_for_ip("10.0.0.0/255.0.0.0", false), Some(cidr("10.0.0.0/8")));
        assert_eq!(of_class(Ipv4Addr::new(172, 31, 231, 158)), 16);
    }
}
