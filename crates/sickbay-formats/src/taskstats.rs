//! What the kernel tells of each thread that ends (Documentation/accounting/taskstats.rst), as generic netlink carries it.
//! Numbers are in the order of bytes of this machine, as everything of netlink is.

use bstr::{BString, ByteSlice};

/// `TASKSTATS_GENL_NAME`.
pub const FAMILY: &str = "TASKSTATS";

// include/uapi/linux/genetlink.h
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

// include/uapi/linux/taskstats.h
const TYPE_STATS: u16 = 3;
const TYPE_AGGR_PID: u16 = 4;

/// A thread that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its name.
    pub name: BString,
    /// Its number.
    pub id: u32,
    /// The process that made its process.
    pub parent: u32,
    /// Microseconds that it had of the processors for itself.
    pub user_us: u64,
    /// Microseconds that the kernel had for it.
    pub system_us: u64,
    /// Microseconds that it lived.
    pub lived_us: u64,
}

/// The number of the family in the answers to `CTRL_CMD_GETFAMILY`.
pub fn family(answer: &[u8]) -> Option<u16> {
    messages(answer).find_map(|message| {
        // The header of generic netlink has four bytes.
        let value =
            |wanted: u16| attributes(message.get(20..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let is_it = value(CTRL_ATTR_FAMILY_NAME)?.strip_suffix(b"\0") == Some(FAMILY.as_bytes());
        u16_at(value(CTRL_ATTR_FAMILY_ID)?, 0).filter(|_| is_it)
    })
}

/// The threads of which a message tells.
pub fn exits(message: &[u8], family: u16) -> Vec<Exit> {
    let of_family = messages(message).filter(|message| u16_at(message, 4) == Some(family));
    let each = of_family.flat_map(|message| attributes(message.get(20..).unwrap_or_default()));
    // That of its process, which comes with the last of its threads, is their sum.
    let threads = each.filter(|(kind, _)| *kind == TYPE_AGGR_PID);
    let stats = threads.flat_map(|(_, value)| attributes(value)).filter(|(kind, _)| *kind == TYPE_STATS);
    stats.filter_map(|(_, value)| exit(value)).collect()
}

/// The structure has only ever grown at its end.
fn exit(bytes: &[u8]) -> Option<Exit> {
    let name = bytes.get(80..112)?;
    Some(Exit {
        name: name.get(..name.find_byte(0)?)?.into(),
        id: u32_at(bytes, 128)?,
        parent: u32_at(bytes, 132)?,
        lived_us: u64_at(bytes, 144)?,
        user_us: u64_at(bytes, 152)?,
        system_us: u64_at(bytes, 160)?,
    })
}

/// The messages in a buffer, with their headers.
fn messages(buffer: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok().filter(|length| *length >= 16)?;
        let message = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Attributes: their kinds and values.
fn attributes(buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        // Two bits of the kind are flags.
        let (kind, value) = (u16_at(rest, 2)? & 0x3fff, rest.get(4..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).expect("short").to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + 20).expect("short").to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(20, 0);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_thread_that_ended() {
        let mut stats = vec![0; 328];
        stats[80..84].copy_from_slice(b"true");
        for (at, value) in [(128, 77_u32), (132, 40)] {
            stats[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        for (at, value) in [(144, 1500_u64), (152, 200), (160, 900)] {
            stats[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        let stats = attribute(TYPE_STATS, &stats);
        let body = [attribute(TYPE_AGGR_PID, &stats), attribute(5, &stats)].concat();
        let told = exits(&message(23, &body), 23);
        let wanted = Exit { name: "true".into(), id: 77, parent: 40, user_us: 200, system_us: 900, lived_us: 1500 };
        assert_eq!((told, exits(&message(24, &body), 23)), (vec![wanted], Vec::new()));
    }

    #[test]
    fn the_number_of_the_family() {
        let one = |id: u16, name: &[u8]| {
            message(
                16,
                &[attribute(CTRL_ATTR_FAMILY_NAME, name), attribute(CTRL_ATTR_FAMILY_ID, &id.to_ne_bytes())].concat(),
            )
        };
        assert_eq!(family(&[one(16, b"nlctrl\0"), one(23, b"TASKSTATS\0")].concat()), Some(23));
        assert_eq!(family(&one(16, b"nlctrl\0")), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, body: Vec<u8>) {
            let _ = (family(&bytes), exits(&bytes, 23), exits(&message(23, &body), 23), exit(&bytes));
            let _ = exits(&message(23, &attribute(TYPE_AGGR_PID, &attribute(TYPE_STATS, &body))), 23);
        }
    }
}
