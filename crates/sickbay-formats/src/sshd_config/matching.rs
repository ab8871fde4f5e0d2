//! Patterns, and the criteria of Match blocks.

use std::net::IpAddr;

use bstr::{BStr, BString, ByteSlice};

use super::{Directive, Fault, Version};
use crate::wildcard::fits;

/// Who connects, and from where as far as that is known.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The user's name.
    pub user: BString,
    /// The user's groups by name.
    pub groups: Vec<BString>,
    /// The name of the client's machine.
    pub host: Option<BString>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// The address that it connects to.
    pub local_address: Option<IpAddr>,
    /// The port that it connects to.
    pub local_port: Option<u16>,
    /// The Match block (the number of its file and of its line) that is taken to be met where the connection comes from.
    pub assumed: Option<(usize, usize)>,
}

/// One criterion of a Match line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion<'a> {
    /// Everything.
    All,
    /// A user that does not exist.
    InvalidUser,
    /// A list of patterns for the user's name.
    User(&'a BStr),
    /// A list of patterns for the names of groups.
    Group(&'a BStr),
    /// A list of patterns for the client's name.
    Host(&'a BStr),
    /// A list of addresses and networks of the client.
    Address(&'a BStr),
    /// A list of addresses and networks of this machine.
    LocalAddress(&'a BStr),
    /// A port.
    LocalPort(u16),
    /// What cannot be told without a connection: a routing domain, the client's or the server's release.
    Other,
}

/// What the words behind Match are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Criteria<'a> {
    /// All that must be met.
    Good(Vec<Criterion<'a>>),
    /// Why sshd refuses them.
    Bad(Fault),
}

/// Reads the words behind Match. Names and values are parted by a blank or `=`.
pub fn criteria(directive: &Directive, version: Option<Version>) -> Criteria<'_> {
    let mut all = Vec::new();
    // (number of the word, text)
    let mut words = Vec::new();
    for (index, word) in directive.args.iter().enumerate() {
        let text = word.text.as_bstr();
        // Only a name is parted from its value, and what follows a name is a value as a whole.
        match text.iter().position(|&byte| byte == b'=') {
            Some(0) => words.extend((text.len() > 1).then(|| (index, text.get(1..).unwrap_or_default().as_bstr()))),
            Some(at) => {
                words.push((index, text.get(..at).unwrap_or_default().as_bstr()));
                words.extend((at + 1 < text.len()).then(|| (index, text.get(at + 1..).unwrap_or_default().as_bstr())));
            }
            None => words.push((index, text)),
        }
    }
    if words.is_empty() {
        return Criteria::Bad(Fault::Missing);
    }
    let since = |major, minor| version.is_none_or(|version| version >= Version(major, minor));
    let mut words = words.into_iter();
    while let Some((at, name)) = words.next() {
        let name = name.to_ascii_lowercase();
        if name == b"all" && since(6, 5) {
            if !all.is_empty() || words.next().is_some() {
                return Criteria::Bad(Fault::Value(at));
            }
            return Criteria::Good(vec![Criterion::All]);
        }
        if name == b"invalid-user" && since(9, 9) {
            all.push(Criterion::InvalidUser);
            continue;
        }
        let known: &[(&[u8], u8, u8)] = &[
            (b"user", 5, 3),
            (b"group", 5, 3),
            (b"host", 5, 3),
            (b"address", 5, 3),
            (b"localaddress", 6, 1),
            (b"localport", 6, 1),
            (b"rdomain", 7, 7),
            (b"version", 10, 0),
        ];
        if !known.iter().any(|&(known, major, minor)| name == known && since(major, minor)) {
            return Criteria::Bad(Fault::Value(at));
        }
        let Some((value_at, value)) = words.next() else { return Criteria::Bad(Fault::Missing) };
        all.push(match name.as_slice() {
            b"user" => Criterion::User(value),
            b"group" => Criterion::Group(value),
            b"host" => Criterion::Host(value),
            b"address" | b"localaddress" => {
                if address_in(None, value) == Matched::Error {
                    return Criteria::Bad(Fault::Value(value_at));
                }
                if name == b"address" { Criterion::Address(value) } else { Criterion::LocalAddress(value) }
            }
            b"localport" => match super::values::port(value) {
                Some(port) => Criterion::LocalPort(port),
                None => return Criteria::Bad(Fault::Value(value_at)),
            },
            _ => Criterion::Other,
        });
    }
    Criteria::Good(all)
}

/// Whether `connection` meets them. Criteria of where it comes from that are not known are met if `assumed` says so.
pub fn are_met(criteria: &[Criterion<'_>], connection: &Connection, assumed: bool) -> bool {
    let address = |address: Option<IpAddr>, list: &[u8]| match address {
        Some(address) => address_in(Some(address), list) == Matched::Yes,
        None => assumed,
    };
    criteria.iter().all(|criterion| match criterion {
        Criterion::All => true,
        Criterion::InvalidUser => false,
        Criterion::User(list) => in_list(&connection.user, list) == Matched::Yes,
        Criterion::Group(list) => any_in_list(&connection.groups, list),
        Criterion::Host(list) => match &connection.host {
            Some(host) => in_list(&host.to_ascii_lowercase(), &list.to_ascii_lowercase()) == Matched::Yes,
            None => assumed,
        },
        Criterion::Address(list) => address(connection.address, list),
        Criterion::LocalAddress(list) => address(connection.local_address, list),
        Criterion::LocalPort(port) => connection.local_port.map_or(assumed, |ours| ours == *port),
        Criterion::Other => assumed,
    })
}

/// Whether some criterion is about where the connection comes from.
pub fn depends_on_origin(criteria: &[Criterion<'_>]) -> bool {
    criteria.iter().any(|criterion| {
        !matches!(criterion, Criterion::All | Criterion::InvalidUser | Criterion::User(_) | Criterion::Group(_))
    })
}

/// How a text stands to a list of patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// It is in it.
    Yes,
    /// It is not.
    No,
    /// A pattern with `!` says that it is not, whatever the others say.
    Refused,
    /// The list is wrong.
    Error,
}

/// match_pattern_list() of match.c.
pub fn in_list(text: &[u8], list: &[u8]) -> Matched {
    let mut found = Matched::No;
    for pattern in list.split(|&byte| byte == b',') {
        let (negated, pattern) = pattern.strip_prefix(b"!").map_or((false, pattern), |rest| (true, rest));
        if fits(text, pattern) {
            if negated {
                return Matched::Refused;
            }
            found = Matched::Yes;
        }
    }
    found
}

/// ga_match_pattern_list() of groupaccess.c: some group is in the list, and none is refused by it.
fn any_in_list(groups: &[BString], list: &[u8]) -> bool {
    let all: Vec<Matched> = groups.iter().map(|group| in_list(group, list)).collect();
    all.contains(&Matched::Yes) && !all.contains(&Matched::Refused)
}

/// ga_match() of groupaccess.c: some group matches some pattern.
pub fn any_group_matches(groups: &[BString], patterns: &[BString]) -> bool {
    groups.iter().any(|group| patterns.iter().any(|pattern| fits(group, pattern)))
}

/// addr_match_list() of addrmatch.c; without an address only the list is judged.
pub fn address_in(address: Option<IpAddr>, list: &[u8]) -> Matched {
    let mut found = Matched::No;
    for pattern in list.split(|&byte| byte == b',') {
        let (negated, pattern) = pattern.strip_prefix(b"!").map_or((false, pattern), |rest| (true, rest));
        if pattern.is_empty() {
            return Matched::Error;
        }
        let hit = match network(pattern) {
            Network::Error => return Matched::Error,
            Network::Of(network, bits) => address.is_some_and(|address| is_within(address, network, bits)),
            Network::None => address.is_some_and(|address| fits(address.to_string().as_bytes(), pattern)),
        };
        if hit {
            if negated {
                return Matched::Refused;
            }
            found = Matched::Yes;
        }
    }
    found
}

enum Network {
    Of(IpAddr, u32),
    /// Bits of the address are set that the mask leaves out, or the mask is too long.
    Error,
    /// It is no address, but may be a pattern for one.
    None,
}

fn network(pattern: &[u8]) -> Network {
    let Ok(text) = pattern.to_str() else { return Network::None };
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return Network::None };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits.map(str::parse::<u32>) {
        None => width,
        Some(Ok(bits)) if bits <= width => bits,
        Some(Ok(_)) => return Network::Error,
        Some(Err(_)) => return Network::None,
    };
    let (value, width) = value(address);
    if bits < width && value.checked_shl(bits + (128 - width)).unwrap_or(0) != 0 {
        return Network::Error;
    }
    Network::Of(address, bits)
}

/// The bits of an address, and how many there are.
fn value(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let ((ours, width), (theirs, their_width)) = (value(address), value(network));
    width == their_width && (ours ^ theirs).checked_shr(width - bits.min(width)).unwrap_or(0) == 0
}

/// Whether a pattern of AllowUsers or DenyUsers is one: the part behind `@` must be a list of hosts and networks.
pub(super) fn is_user_pattern(pattern: &[u8]) -> bool {
    pattern.split_once_str("@").is_none_or(|(_, hosts)| address_in(None, hosts) != Matched::Error)
}

/// match_user() of match.c. A host that is not known counts as being in the list if `assumed`.
pub fn user_matches(connection: &Connection, pattern: &[u8], assumed: bool) -> bool {
    let Some((user, hosts)) = pattern.split_once_str("@") else { return fits(&connection.user, pattern) };
    if !fits(&connection.user, user) {
        return false;
    }
    if connection.host.is_none() && connection.address.is_none() {
        return assumed;
    }
    let by_address = address_in(connection.address, hosts);
    let host = connection.host.as_ref().map(|host| host.to_ascii_lowercase());
    let by_name = host.map_or(Matched::No, |host| in_list(&host, &hosts.to_ascii_lowercase()));
    by_address != Matched::Refused
        && by_name != Matched::Refused
        && (by_address == Matched::Yes || by_name == Matched::Yes)
}
