//! `/proc/pressure/*`, and `*.pressure` of a cgroup: Documentation/accounting/psi.rst.

use bstr::ByteSlice;

/// One line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Shares of the last 10, 60 and 300 seconds in which somebody (or everybody) waited, in hundredths of a per cent.
    pub averages: [u64; 3],
    /// The same since the start, in microseconds.
    pub total: u64,
}

/// One file. `full` is missing for the CPU before 5.13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Somebody waited.
    pub some: Option<Stall>,
    /// Everybody did.
    pub full: Option<Stall>,
}

/// Reads it; `None` when no line is one of these.
pub fn parse(text: &[u8]) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = super::words(line);
        match words.next() {
            Some(b"some") => pressure.some = stall(words),
            Some(b"full") => pressure.full = stall(words),
            _ => {}
        }
    }
    (pressure != Pressure::default()).then_some(pressure)
}

fn stall<'a>(words: impl Iterator<Item = &'a [u8]>) -> Option<Stall> {
    let mut values = words.map(|word| word.iter().position(|byte| *byte == b'=').and_then(|at| word.get(at + 1..)));
    let mut average = || super::hundredths(values.next()??);
    let averages = [average()?, average()?, average()?];
    Some(Stall { averages, total: super::digits(values.next()??)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_full() {
        let text = b"some avg10=32.27 avg60=10.42 avg300=24.12 total=10977226804\n";
        let some = Stall { averages: [3227, 1042, 2412], total: 10_977_226_804 };
        assert_eq!(parse(text), Some(Pressure { some: Some(some), full: None }));
        let both =
            parse(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n");
        assert_eq!(both.and_then(|both| both.full).map(|full| full.total), Some(3));
        assert_eq!((parse(b""), parse(b"some avg10=1 total=7\n")), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(some|full)( [a-z0-9]{0,6}=[0-9.]{0,6}){0,5}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
