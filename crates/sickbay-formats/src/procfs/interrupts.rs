//! `/proc/interrupts` and `/proc/softirqs`: a column for each processor that is online, a row for each kind. In a container the
//! first may be empty.

use bstr::{BString, ByteSlice};

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// `27`, `NMI`, `NET_RX`.
    pub name: BString,
    /// How often on each processor since the start, in the order of [`Interrupts::cpus`]. `ERR` and `MIS` have one number.
    pub counts: Vec<u64>,
    /// What follows: chip, number and trigger, and the names of those who asked for it: `PCI-MSI 65538-edge virtio0-input.0`.
    pub about: BString,
}

impl Row {
    /// All processors together.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// The numbers of the processors in the columns.
    pub cpus: Vec<u32>,
    /// In the order of the file.
    pub rows: Vec<Row>,
}

impl Interrupts {
    /// The row of that name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// Reads it; `None` without the line that names the processors.
pub fn parse(text: &[u8]) -> Option<Interrupts> {
    let mut lines = text.lines();
    let head = lines.by_ref().find(|line| !line.trim_ascii().is_empty())?;
    let cpu = |word: &[u8]| super::digits(word.strip_prefix(b"CPU")?)?.try_into().ok();
    let cpus: Vec<u32> = super::words(head).map(cpu).collect::<Option<_>>()?;
    let row = |line: &[u8]| {
        let (name, mut rest) = line.split_once_str(":")?;
        let mut counts = Vec::new();
        while counts.len() < cpus.len() {
            let text = rest.trim_ascii_start();
            let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
            let Some(count) = text.get(..end).and_then(super::digits) else { break };
            counts.push(count);
            rest = text.get(end..).unwrap_or_default();
        }
        let about = super::words(rest).collect::<Vec<_>>().join(&b' ');
        (!counts.is_empty()).then(|| Row { name: name.trim_ascii().into(), counts, about: about.into() })
    };
    let rows = lines.filter_map(row).collect();
    Some(Interrupts { cpus, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_queues_and_a_processor_that_is_off() {
        let text =
            b"           CPU0       CPU2       CPU3\n  27:   1913   0   5   PCI-MSI 65538-edge      virtio0-input.0\n\
            NMI:  1 2 3   Non-maskable interrupts\nERR:          7\n  99:\n";
        let all = parse(text).expect("a table");
        assert_eq!(all.cpus, [0, 2, 3]);
        let row = all.row("27").expect("a row");
        assert_eq!(
            (row.counts.as_slice(), row.about.to_string()),
            ([1913, 0, 5].as_slice(), "PCI-MSI 65538-edge virtio0-input.0".into())
        );
        assert_eq!(all.row("ERR").map(Row::total), Some(7));
        assert_eq!((all.rows.len(), parse(b""), parse(b"what\n")), (3, None, None));
        let soft = parse(b"                    CPU0       CPU1\n      NET_RX:     149     5125\n").expect("a table");
        assert_eq!(soft.row("NET_RX").map(Row::total), Some(5274));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "( *CPU[0-9]{0,3}){1,4}\n([A-Z0-9]{1,3}:( [0-9]{0,21}){0,5} [a-z]{0,4}\n){0,4}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
