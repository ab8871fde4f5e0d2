//! Named numbers, one a line: `Name: 12 kB` (`/proc/meminfo`, `/proc/PID/status`, `smaps_rollup`) and `name 12`
//! (`/proc/vmstat`, a cgroup's `memory.stat` and `memory.events`).

use std::collections::HashMap;

use bstr::{BString, ByteSlice};

/// The numbers by their names, in the unit of the file: KiB where it says kB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    values: HashMap<BString, u64>,
}

impl Fields {
    /// Reads them. Lines of another form are passed over; of two lines with one name the first counts.
    pub fn parse(text: &[u8]) -> Fields {
        let mut values = HashMap::new();
        for line in text.lines() {
            let mut words = super::words(line);
            let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
            let name = name.strip_suffix(b":").unwrap_or(name);
            if let Some(value) = value.to_str().ok().and_then(|value| value.parse().ok()) {
                values.entry(name.into()).or_insert(value);
            }
        }
        Fields { values }
    }

    /// The number with that name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values.get(name.as_bytes()).copied()
    }

    /// The number with that name, 0 where there is none: for what an older kernel does not count.
    pub fn or_zero(&self, name: &str) -> u64 {
        self.get(name).unwrap_or(0)
    }

    /// Whether no line was understood.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The rest of the line that begins with `name`, without blanks: `CapEff:`, `Name:` of `/proc/PID/status`.
pub fn rest_of<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.lines().find_map(|line| line.strip_prefix(name.as_bytes())).map(|rest| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let fields =
            Fields::parse(b"MemTotal:       8009416 kB\nActive(anon):    256120 kB\nUid:\t7\t8\noom_kill 3\nx\ny z\n");
        let get = |name| fields.get(name);
        assert_eq!((get("MemTotal"), get("Active(anon)"), get("Uid")), (Some(8_009_416), Some(256_120), Some(7)));
        assert_eq!((get("oom_kill"), get("x"), get("y"), fields.or_zero("y")), (Some(3), None, None, 0));
        assert_eq!(rest_of(b"Name:\ta b\nCapEff:\t0001\n", "CapEff:"), Some(&b"0001"[..]));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = (Fields::parse(&bytes), rest_of(&bytes, "Name:"));
        }
    }
}
