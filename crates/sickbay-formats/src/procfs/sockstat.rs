//! `/proc/net/sockstat`: how many sockets there are, and the memory of their buffers.

use bstr::ByteSlice;

/// The number behind `field` in the line of `protocol`: `("TCP", "alloc")`. `mem` is in pages.
pub fn value(text: &[u8], protocol: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(protocol.as_bytes())?.strip_prefix(b":"))?;
    let mut words = super::words(line);
    words.find(|word| *word == field.as_bytes())?;
    words.next()?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_of_sockets() {
        let text = b"sockets: used 19819\nTCP: inuse 1 orphan 0 tw 0 alloc 19801 mem 237\nUDP: inuse 0 mem 0\n";
        assert_eq!(value(text, "TCP", "alloc"), Some(19_801));
        assert_eq!((value(text, "sockets", "used"), value(text, "UDP", "alloc")), (Some(19_819), None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = value(&bytes, "TCP", "mem");
        }
    }
}
