//! `/proc/PID/schedstat` and that of a thread: Documentation/scheduler/sched-stats.rst. Only with CONFIG_SCHED_INFO.

/// What a thread had of the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedStat {
    /// Nanoseconds on a processor.
    pub ran: u64,
    /// Nanoseconds that it could have run and waited for one.
    pub waited: u64,
    /// How often it was given one.
    pub slices: u64,
}

/// Reads it: `28313 118 1`.
pub fn parse(text: &[u8]) -> Option<SchedStat> {
    let mut words = super::words(text).map(super::digits);
    Some(SchedStat { ran: words.next()??, waited: words.next()??, slices: words.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_numbers() {
        assert_eq!(parse(b"28313 118 1\n"), Some(SchedStat { ran: 28313, waited: 118, slices: 1 }));
        assert_eq!((parse(b"1 2\n"), parse(b"1 x 3\n")), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
