//! What a network card's driver says of its queues and counts: the text of `ethtool -l` and `ethtool -S`, and the structures
//! of the kernel that these are printed from (include/uapi/linux/ethtool.h).

use bstr::{BString, ByteSlice};

/// How many queues of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Only received on.
    pub rx: u32,
    /// Only sent on.
    pub tx: u32,
    /// Neither: for events of the link.
    pub other: u32,
    /// Both, with one interrupt.
    pub combined: u32,
}

impl Queues {
    /// On how many is received.
    pub fn receiving(&self) -> u32 {
        self.rx.saturating_add(self.combined)
    }
}

/// `ethtool -l`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// The most that the card has.
    pub most: Queues,
    /// Those in use.
    pub now: Queues,
}

/// Reads the text of `ethtool -l IF`. `n/a` is 0.
pub fn channels(text: &[u8]) -> Option<Channels> {
    let (mut most, mut now) = (None, None);
    let mut part: Option<&mut Queues> = None;
    for line in text.lines() {
        if line.starts_with(b"Pre-set maximums") {
            part = Some(most.insert(Queues::default()));
            continue;
        }
        if line.starts_with(b"Current hardware settings") {
            part = Some(now.insert(Queues::default()));
            continue;
        }
        let (Some((name, value)), Some(part)) = (line.split_once_str(":"), part.as_deref_mut()) else { continue };
        let value = crate::procfs::number(value.trim_ascii()).and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        match name.trim_ascii() {
            b"RX" => part.rx = value,
            b"TX" => part.tx = value,
            b"Other" => part.other = value,
            b"Combined" => part.combined = value,
            _ => {}
        }
    }
    Some(Channels { most: most?, now: now? })
}

/// Reads a `struct ethtool_channels`.
pub fn channels_of(bytes: &[u8]) -> Option<Channels> {
    let mut words = bytes.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap_or_default())).skip(1);
    let mut queues =
        || Some(Queues { rx: words.next()?, tx: words.next()?, other: words.next()?, combined: words.next()? });
    Some(Channels { most: queues()?, now: queues()? })
}

/// A counter of a driver's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// As the driver calls it.
    pub name: BString,
    /// Since the driver was loaded, or the queues set up.
    pub value: u64,
}

/// Reads the text of `ethtool -S IF`; lines of another form are passed over. Some drivers put headings (`[0]: rx:`) and
/// prefixes between.
pub fn counters(text: &[u8]) -> Vec<Counter> {
    let counter = |line: &[u8]| {
        let at = line.rfind_byte(b':')?;
        let (name, value) = (line.get(..at)?.trim_ascii(), line.get(at + 1..)?.trim_ascii());
        let value = std::str::from_utf8(value).ok()?.parse().ok()?;
        (!name.is_empty()).then(|| Counter { name: name.into(), value })
    };
    text.lines().filter_map(counter).collect()
}

/// A name in a `struct ethtool_gstrings` has so many bytes.
pub const NAME: usize = 32;

/// Pairs the names of a `struct ethtool_gstrings` with the values of a `struct ethtool_stats`.
pub fn counters_of(names: &[u8], values: &[u8]) -> Vec<Counter> {
    let name = |name: &[u8]| name.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii().into();
    let value = |value: &[u8]| u64::from_ne_bytes(value.try_into().unwrap_or_default());
    names
        .chunks_exact(NAME)
        .zip(values.chunks_exact(8))
        .map(|(one, count)| Counter { name: name(one), value: value(count) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_a_card() {
        let text =
            b"Channel parameters for eth0:\nPre-set maximums:\nRX:\t\tn/a\nTX:      0\nOther:    1\nCombined: 4\n\
            Current hardware settings:\nRX:      0\nTX:      0\nOther:    1\nCombined: 2\n";
        let most = Queues { other: 1, combined: 4, ..Queues::default() };
        let told = Channels { most, now: Queues { combined: 2, ..most } };
        assert_eq!((channels(text), told.now.receiving()), (Some(told), 2));
        assert_eq!((channels(b""), channels(b"netlink error: Operation not supported\n")), (None, None));
        let words: Vec<u8> = [0x3c_u32, 0, 0, 1, 4, 0, 0, 1, 2].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!((channels_of(&words), channels_of(b"12345678")), (Some(told), None));
    }

    #[test]
    fn counters_of_a_card() {
        let text = b"NIC statistics:\n     tx_timeout: 0\n     bw_in_allowance_exceeded: 1204\n     [0]: rx: packets: 7\n     x: y\n";
        let told: Vec<_> = counters(text).into_iter().map(|one| (one.name.to_string(), one.value)).collect();
        assert_eq!(
            told,
            [("tx_timeout".into(), 0), ("bw_in_allowance_exceeded".into(), 1204), ("[0]: rx: packets".into(), 7)]
        );
        let mut names = b"rx_drops".to_vec();
        names.resize(NAME, 0);
        let told = counters_of(&names, &9_u64.to_ne_bytes());
        assert_eq!(told, [Counter { name: "rx_drops".into(), value: 9 }]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(Pre-set maximums:|RX:|Combined:|Current hardware settings:)( [0-9]{0,21}\n)") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = (channels(bytes), channels_of(bytes), counters(bytes), counters_of(bytes, bytes));
            }
        }
    }
}
