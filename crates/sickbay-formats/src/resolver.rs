//! `/etc/resolv.conf` (resolv.conf(5)) and `/etc/hosts` (hosts(5)), as glibc reads them.

use std::net::{IpAddr, Ipv6Addr};

use bstr::ByteSlice;

use crate::lines::lines;
use crate::span::Span;

/// What a line of `/etc/resolv.conf` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A server that is asked.
    Server(IpAddr),
    /// `nameserver` with something that is no address: the line is passed over.
    NoAddress(String),
    /// Something stands before the keyword, most often a blank, or not a blank behind it: the line is passed over.
    Indented,
    /// Another setting.
    Setting,
    /// No keyword: the line is passed over.
    Unknown(String),
}

/// The keywords that glibc knows (resolv/res_init.c), and `lookup` and `family` of other systems, which it passes over.
const KEYWORDS: [&[u8]; 7] = [b"nameserver", b"domain", b"search", b"sortlist", b"options", b"lookup", b"family"];

/// The lines that are neither blank nor comments, each with its span.
pub fn resolv_conf(text: &[u8]) -> Vec<(Line, Span)> {
    let mut all = Vec::new();
    for line in lines(text) {
        let text = line.text;
        let trimmed = text.trim_ascii();
        if trimmed.is_empty() || trimmed.starts_with(b"#") || trimmed.starts_with(b";") {
            continue;
        }
        let word = trimmed.split(|byte| b" \t".contains(byte)).next().unwrap_or_default();
        let is = if !KEYWORDS.contains(&word) {
            Line::Unknown(word.to_str_lossy().into_owned())
        } else if !text.starts_with(word) {
            Line::Indented
        } else if word == b"nameserver" {
            let rest = text.get(word.len()..).unwrap_or_default();
            let rest = rest.get(rest.iter().take_while(|byte| b" \t".contains(byte)).count()..).unwrap_or_default();
            // A carriage return ends no word here.
            let value = rest.split(|byte| b" \t".contains(byte)).next().unwrap_or_default();
            match address(value) {
                Some(server) => Line::Server(server),
                None => Line::NoAddress(value.to_str_lossy().into_owned()),
            }
        } else {
            Line::Setting
        };
        all.push((is, line.whole()));
    }
    all
}

/// An address, of IPv6 with the link that it belongs to: `fe80::1%eth0`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = text.to_str().ok()?;
    match text.split_once('%') {
        Some((address, link)) if !link.is_empty() => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => text.parse().ok(),
    }
}

/// A line of `/etc/hosts` that is neither blank nor a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `None` where the first word is no address: the line is passed over.
    pub address: Option<IpAddr>,
    /// The words, the first too.
    pub words: Vec<String>,
    /// The line.
    pub span: Span,
}

/// The lines of `/etc/hosts`.
pub fn hosts(text: &[u8]) -> Vec<Host> {
    let mut all = Vec::new();
    for line in lines(text) {
        let content = line.text.split(|byte| *byte == b'#').next().unwrap_or_default();
        let words: Vec<String> =
            content.fields_with(char::is_whitespace).map(|word| word.to_str_lossy().into_owned()).collect();
        let Some(first) = words.first() else { continue };
        all.push(Host { address: address(first.as_bytes()), span: line.whole(), words });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_glibc_takes() {
        let text = b"# made by hand\nnameserver 10.0.0.1\n nameserver 10.0.0.2\nnameserver 10.0.0.3 # third\nnameserver=10.0.0.4\n\
            nameserver dns.example.org\nnameserver fe80::1%eth0\nnameserver 10.0.0.5\r\nsearch example.org\noptions ndots:2\n";
        let all: Vec<Line> = resolv_conf(text).into_iter().map(|(line, _)| line).collect();
        let server = |text: &str| Line::Server(text.parse().unwrap());
        assert_eq!(
            all,
            [
                server("10.0.0.1"),
                Line::Indented,
                server("10.0.0.3"),
                Line::Unknown("nameserver=10.0.0.4".into()),
                Line::NoAddress("dns.example.org".into()),
                server("fe80::1"),
                Line::NoAddress("10.0.0.5\r".into()),
                Line::Setting,
                Line::Setting,
            ]
        );
    }

    #[test]
    fn names_and_addresses() {
        let all = hosts(b"127.0.0.1\tlocalhost lo # own\n\nweb01 10.0.0.7\n::1 localhost\r\n");
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].address.is_some(), all[0].words.len(), all[1].address), (true, 3, None));
        assert_eq!(all[2].words, ["::1", "localhost"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = (resolv_conf(&text).len(), hosts(&text).len());
        }
    }
}
