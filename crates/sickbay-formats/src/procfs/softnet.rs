//! `/proc/net/softnet_stat`: what each processor did with packets that came in. Hexadecimal, a row for each processor that is
//! online; net/core/net-procfs.c.

use bstr::ByteSlice;

/// One row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// The processor. Kernels from 5.14 on say so (column 13); before, only the order of the rows tells, and only while all
    /// processors are online.
    pub cpu: Option<u32>,
    /// Packets that were taken in.
    pub processed: u64,
    /// Packets dropped since the backlog was full (`net.core.netdev_max_backlog`).
    pub dropped: u64,
    /// How often the time or the number that is allowed ran out with packets left.
    pub squeezed: u64,
    /// How often another processor woke this one for packets that it steered here (RPS).
    pub received_rps: u64,
    /// Packets dropped for the flow limit.
    pub flow_limit: u64,
}

/// The rows; lines of another form are passed over.
pub fn parse(text: &[u8]) -> Vec<Softnet> {
    let row = |line: &[u8]| {
        let hex = |word: &[u8]| u64::from_str_radix(word.to_str().ok()?, 16).ok();
        let values: Vec<u64> = super::words(line).map(hex).collect::<Option<_>>()?;
        let value = |at: usize| values.get(at).copied();
        Some(Softnet {
            processed: value(0)?,
            dropped: value(1)?,
            squeezed: value(2)?,
            received_rps: value(9).unwrap_or(0),
            flow_limit: value(10).unwrap_or(0),
            cpu: value(12).and_then(|cpu| cpu.try_into().ok()),
        })
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_new_kernel_and_an_old_one() {
        let new = parse(b"0000e4a5 00000002 00000010 0 0 0 0 0 0 00000007 00000001 00000000 00000003 0 0\n");
        let row = Softnet { cpu: Some(3), processed: 0xe4a5, dropped: 2, squeezed: 16, received_rps: 7, flow_limit: 1 };
        assert_eq!(new, [row]);
        let old = parse(b"00358fe3 00006283 00000000 00000000 0 0 0 0 0\nx\n");
        assert_eq!(old, [Softnet { processed: 0x0035_8fe3, dropped: 0x6283, ..Softnet::default() }]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "([0-9a-f]{1,17} ){0,16}\n") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
