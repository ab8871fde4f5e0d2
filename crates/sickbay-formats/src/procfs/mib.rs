//! `/proc/net/snmp` and `/proc/net/netstat`: a line of names, and one of their numbers, for each protocol.

use bstr::{BString, ByteSlice};

/// One counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// `Tcp.RetransSegs`, `TcpExt.ListenOverflows`.
    pub name: BString,
    /// Its value. `Tcp.MaxConn`, which may be -1, is left out.
    pub value: u64,
}

/// All counters; pairs of lines that do not belong together are passed over.
pub fn parse(text: &[u8]) -> Vec<Counter> {
    let mut counters = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(names) = lines.next() {
        let (Some((protocol, names)), Some((of, values))) =
            (names.split_once_str(":"), lines.peek().and_then(|values| values.split_once_str(":")))
        else {
            continue;
        };
        if protocol != of {
            continue;
        }
        let pairs = super::words(names).zip(super::words(values));
        counters.extend(pairs.filter_map(|(name, value)| {
            let name = [protocol, b".", name].concat().into();
            Some(Counter { name, value: super::digits(value)? })
        }));
        lines.next();
    }
    counters
}

/// The value of that name.
pub fn value(counters: &[Counter], name: &str) -> Option<u64> {
    counters.iter().find(|counter| counter.name == name).map(|counter| counter.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        let text = b"Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm MaxConn RetransSegs\nTcp: 1 -1 77\nUdp: A\nTcpExt: 1\n";
        let counters = parse(text);
        let get = |name| value(&counters, name);
        assert_eq!((get("Tcp.RetransSegs"), get("Ip.DefaultTTL"), get("Tcp.MaxConn")), (Some(77), Some(64), None));
        assert_eq!(get("Udp.A"), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "((Ip|Tcp):( [A-Za-z0-9]{1,4}){0,4}\n){0,6}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
