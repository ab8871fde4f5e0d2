//! `/proc/PID/limits`: the resource limits of a process, getrlimit(2).

use bstr::ByteSlice;

/// A soft limit and a hard one; `None` is unlimited. In the unit of the file: bytes, processes, files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: Option<u64>,
    /// Up to where the process may raise it.
    pub hard: Option<u64>,
}

/// The limit with that name: `Max address space`, `Max data size`, `Max processes`, `Max open files`.
pub fn limit(text: &[u8], name: &str) -> Option<Limit> {
    let line = text.lines().find_map(|line| line.strip_prefix(name.as_bytes()))?;
    let mut words = super::words(line);
    let mut value = || match words.next()? {
        b"unlimited" => Some(None),
        number => number.to_str().ok()?.parse().ok().map(Some),
    };
    Some(Limit { soft: value()?, hard: value()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_and_hard() {
        let text = b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max address space         1073741824           unlimited            bytes     \n\
            Max nice priority         0                    0                    \nMax processes             many";
        assert_eq!(limit(text, "Max address space"), Some(Limit { soft: Some(1 << 30), hard: None }));
        assert_eq!(limit(text, "Max nice priority"), Some(Limit { soft: Some(0), hard: Some(0) }));
        assert_eq!((limit(text, "Max processes"), limit(text, "Max data size")), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = limit(&bytes, "Max");
        }
    }
}
