//! Files of sysctl.d(5) and sysctl.conf(5): `key = value`, `-key`, comments.

use std::ops::Range;

use bstr::{BString, ByteSlice};

use crate::lines::{Line, lines};
use crate::span::Span;

/// A line that sets a kernel parameter, or that keeps patterns from setting it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The line, from 1 on.
    pub line: usize,
    /// The parameter with dots between its parts, as sysctl(8) prints it: `net.ipv4.conf.eth0/200.forwarding`.
    pub key: BString,
    /// What it is set to; `None` for a line `-key` that has no value.
    pub value: Option<BString>,
    /// Whether a failure is passed over: the key begins with `-`.
    pub may_fail: bool,
    /// Where the value stands; where the key does when there is none.
    pub span: Span,
}

/// The assignments of a file. Lines that are none, for want of a `=`, are passed over, as systemd-sysctl(8) does.
pub fn parse(text: &[u8]) -> Vec<Assignment> {
    lines(text).filter_map(|line| assignment(&line)).collect()
}

fn assignment(line: &Line<'_>) -> Option<Assignment> {
    let whole = trimmed(line.text, 0..line.text.len());
    if matches!(line.text.get(whole.start), None | Some(b'#' | b';')) || whole.is_empty() {
        return None;
    }
    let text = line.text.get(whole.clone())?;
    let (key, value) = match text.find_byte(b'=') {
        Some(at) => (
            trimmed(line.text, whole.start..whole.start + at),
            Some(trimmed(line.text, whole.start + at + 1..whole.end)),
        ),
        None if text.starts_with(b"-") => (whole, None),
        None => return None,
    };
    let name = line.text.get(key.clone())?;
    let (name, may_fail) = match name.strip_prefix(b"-") {
        Some(rest) => (rest.trim_ascii(), true),
        None => (name, false),
    };
    if name.is_empty() {
        return None;
    }
    let at = value.clone().unwrap_or(key);
    Some(Assignment {
        line: line.number,
        key: dotted(name),
        value: value.and_then(|range| line.text.get(range)).map(BString::from),
        may_fail,
        span: line.span(at),
    })
}

/// The name as sysctl(8) prints it: where the first separator is a slash, slashes separate and dots belong to names.
fn dotted(name: &[u8]) -> BString {
    if let Some(rest) = name.strip_prefix(b"/") {
        return dotted_by_slashes(rest.trim_start_with(|byte| byte == '/'));
    }
    let separator = name.iter().find(|&&byte| byte == b'.' || byte == b'/');
    if separator != Some(&b'/') {
        return name.into();
    }
    dotted_by_slashes(name)
}

fn dotted_by_slashes(name: &[u8]) -> BString {
    let swap = |byte: &u8| match byte {
        b'/' => b'.',
        b'.' => b'/',
        other => *other,
    };
    name.iter().map(swap).collect::<Vec<u8>>().into()
}

fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let part = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (part.len() - part.trim_ascii_start().len());
    start..start + part.trim_ascii().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        assert_eq!(parse(b"/net/ipv4/conf/eth0.1/rp_filter=1")[0].key, "net.ipv4.conf.eth0/1.rp_filter");
        let text = b"# a comment\n; another\n\nvm.nr_hugepages = 128 \r\n-net/ipv4/conf/eth0.200/forwarding=1\n\
            - vm.swappiness = 1\ngarbage\n-net.ipv4.conf.*.rp_filter\n kernel/panic =  5 5\nx=\n=5";
        let all: Vec<_> = parse(text)
            .into_iter()
            .map(|found| (found.line, found.key.to_string(), found.value.map(|v| v.to_string()), found.may_fail))
            .collect();
        let value = |value: &str| Some(value.to_owned());
        assert_eq!(
            all,
            [
                (4, "vm.nr_hugepages".to_owned(), value("128"), false),
                (5, "net.ipv4.conf.eth0/200.forwarding".to_owned(), value("1"), true),
                (6, "vm.swappiness".to_owned(), value("1"), true),
                (8, "net.ipv4.conf.*.rp_filter".to_owned(), None, true),
                (9, "kernel.panic".to_owned(), value("5 5"), false),
                (10, "x".to_owned(), value(""), false),
            ]
        );
    }

    #[test]
    fn the_span_is_that_of_the_value() {
        let found = parse(b"\n  vm.nr_hugepages =  1000000");
        assert_eq!(found.first().map(|found| found.span), Some(Span { line: 2, column: 22, len: 7 }));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_lines(text in "[-a./=#; \t\r\n]{0,40}") {
            let _ = parse(text.as_bytes());
        }
    }
}
