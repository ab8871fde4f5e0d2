//! What nginx says of a directive because of others that it has read before.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use bstr::{BString, ByteSlice};

use super::{Directive, rules};

/// What was read so far.
#[derive(Debug, Default)]
pub struct Judge {
    once: HashSet<(usize, BString)>,
    upstreams: HashSet<BString>,
    locations: HashSet<(usize, Vec<BString>)>,
    listens: HashMap<String, Listen>,
}

#[derive(Debug, Default)]
struct Listen {
    servers: HashSet<usize>,
    has_options: bool,
    is_default: bool,
}

/// What makes `listen` a line that nginx accepts once for an address.
const OPTIONS: &[&str] = &[
    "backlog",
    "bind",
    "rcvbuf",
    "sndbuf",
    "accept_filter",
    "deferred",
    "fastopen",
    "ipv6only",
    "reuseport",
    "setfib",
    "so_keepalive",
];

impl Judge {
    /// What nginx says of the next directive, in blocks of these names, of which the innermost has this number.
    pub fn see(&mut self, directive: &Directive, inside: &[&[u8]], block: usize) -> Option<String> {
        if let Some(says) = rules::complaint(directive, inside) {
            return Some(says);
        }
        if !rules::is_judged(inside) {
            return None;
        }
        let name = directive.name();
        let shown = || name.to_str_lossy();
        if rules::is_once(name) && !self.once.insert((block, name.into())) {
            return Some(format!("\"{}\" directive is duplicate", shown()));
        }
        let first = directive.words.get(1).cloned().unwrap_or_default();
        match (name, inside) {
            (b"upstream", [b"http"]) if !self.upstreams.insert(first.clone()) => {
                Some(format!("duplicate upstream \"{first}\""))
            }
            (b"location", _) => {
                let words: Vec<BString> = directive.words.iter().skip(1).cloned().collect();
                let last = words.last().cloned().unwrap_or_default();
                // Regular expressions may be there twice.
                let is_plain = !words.first().is_some_and(|word| word.starts_with(b"~") || word.starts_with(b"@"));
                let key = match words.as_slice() {
                    [sign, path] if *sign == "=" => vec![sign.clone(), path.clone()],
                    _ => vec![last.clone()],
                };
                (is_plain && !self.locations.insert((block, key))).then(|| format!("duplicate location \"{last}\""))
            }
            (b"listen", _) => self.listen(directive, block),
            _ => None,
        }
    }

    fn listen(&mut self, directive: &Directive, server: usize) -> Option<String> {
        let end = listened(directive.value()?)?;
        let is_set = |word: &BString| {
            let word = word.to_str().unwrap_or_default();
            OPTIONS.contains(&word.split('=').next().unwrap_or_default())
        };
        let has_options = directive.words.iter().skip(2).any(is_set);
        let is_default = directive.has("default_server") || directive.has("default");
        let known = self.listens.entry(end.clone()).or_default();
        if !known.servers.insert(server) {
            return Some(format!("a duplicate listen {end}"));
        }
        if has_options && known.has_options {
            return Some(format!("duplicate listen options for {end}"));
        }
        if is_default && known.is_default {
            return Some(format!("a duplicate default server for {end}"));
        }
        known.has_options |= has_options;
        known.is_default |= is_default;
        None
    }
}

/// `0.0.0.0:80`, as nginx prints what `listen` names; nothing where a name has to be looked up.
pub fn listened(value: &str) -> Option<String> {
    if value.starts_with("unix:") {
        return Some(value.to_owned());
    }
    if let Ok(port) = value.parse::<u16>() {
        return Some(format!("0.0.0.0:{port}"));
    }
    if let Some(rest) = value.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = rest.strip_prefix(':').map_or(Some(80), |port| port.parse::<u16>().ok())?;
        return Some(format!("[{address}]:{port}"));
    }
    let (address, port) = value.split_once(':').unwrap_or((value, "80"));
    let port: u16 = port.parse().ok()?;
    let address = if address == "*" { Ipv4Addr::UNSPECIFIED } else { address.parse().ok()? };
    Some(format!("{address}:{port}"))
}
