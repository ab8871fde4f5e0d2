//! `/proc/net/dev`: what each interface of this network namespace carried; net/core/net-procfs.c.

use bstr::{BString, ByteSlice};

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Errors.
    pub errors: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// `eth0`.
    pub name: BString,
    /// What came in.
    pub received: Carried,
    /// What went out.
    pub sent: Carried,
}

/// The interfaces; lines of another form are passed over.
pub fn parse(text: &[u8]) -> Vec<Link> {
    let link = |line: &[u8]| {
        // Old kernels leave no blank behind the colon, and an alias may have one in its name.
        let at = line.rfind_byte(b':')?;
        let (name, rest) = (line.get(..at)?, line.get(at + 1..)?);
        let values: Vec<u64> = super::words(rest).map(super::digits).collect::<Option<_>>()?;
        let carried = |at: usize| match values.get(at..at + 4)? {
            [bytes, packets, errors, dropped] => {
                Some(Carried { bytes: *bytes, packets: *packets, errors: *errors, dropped: *dropped })
            }
            _ => None,
        };
        Some(Link { name: name.trim_ascii().into(), received: carried(0)?, sent: carried(8)? })
    };
    text.lines().filter_map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_rows() {
        let text = b"Inter-|   Receive   |  Transmit\n face |bytes    packets errs drop|bytes\n\
            \x20   lo:  100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0\n\
            eth0:5 6 7 8 0 0 0 0 9 10 11 12 0 0 0 0\n";
        let links = parse(text);
        assert_eq!(links.iter().map(|link| link.name.to_string()).collect::<Vec<_>>(), ["lo", "eth0"]);
        assert_eq!(links[1].received, Carried { bytes: 5, packets: 6, errors: 7, dropped: 8 });
        assert_eq!(links[1].sent, Carried { bytes: 9, packets: 10, errors: 11, dropped: 12 });
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[a-z0-9:]{0,6}:( [0-9]{0,21}){0,17}\n") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
