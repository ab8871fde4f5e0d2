//! Sets of CPUs, as the kernel writes and reads them: a list (`0-3,8`) or a mask of hexadecimal digits, in groups of 32 CPUs
//! (`3,ffffffff`); lib/bitmap-str.c.

use std::collections::BTreeSet;
use std::fmt;

/// No kernel knows more CPUs (CONFIG_NR_CPUS is at most 8192); what a mask or list says beyond is not believed.
const MOST: u32 = 1 << 14;

/// A set of CPUs by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(BTreeSet<u32>);

impl Cpus {
    /// Reads a list: `0-3,8`. An empty one is the empty set.
    pub fn list(text: &str) -> Option<Cpus> {
        let mut set = BTreeSet::new();
        let text = text.trim();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u32>().ok().filter(|cpu| *cpu < MOST);
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            set.extend(first..=last);
        }
        Some(Cpus(set))
    }

    /// Reads a mask: `f`, `00000000,0000000f`, `0x3` where a program takes it so.
    pub fn mask(text: &str) -> Option<Cpus> {
        let text = text.trim();
        let text = text.strip_prefix("0x").unwrap_or(text);
        let mut groups: Vec<&str> = text.split(',').collect();
        if groups.len() == 1 {
            // irqbalance and scripts also write one long number.
            groups = text.as_bytes().rchunks(8).rev().filter_map(|chunk| std::str::from_utf8(chunk).ok()).collect();
        }
        let mut set = BTreeSet::new();
        for (index, group) in groups.iter().rev().enumerate() {
            let bits = Some(*group).filter(|group| (1..=8).contains(&group.len()))?;
            let bits =
                bits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(bits, 16).ok())??;
            let base = u32::try_from(index).ok()?.checked_mul(32).filter(|base| *base < MOST || bits == 0)?;
            set.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| base + bit));
        }
        (!groups.is_empty()).then_some(Cpus(set))
    }

    /// Whether it is in the set.
    pub fn has(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// Adds one.
    pub fn add(&mut self, cpu: u32) {
        self.0.insert(cpu);
    }

    /// Takes one out.
    pub fn remove(&mut self, cpu: u32) {
        self.0.remove(&cpu);
    }

    /// In their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest.
    pub fn first(&self) -> Option<u32> {
        self.0.first().copied()
    }

    /// The one, where there is just one.
    pub fn only(&self) -> Option<u32> {
        self.first().filter(|_| self.len() == 1)
    }

    /// Whether all of these are in the other.
    pub fn is_within(&self, other: &Cpus) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Those of this that are not in the other.
    pub fn without(&self, other: &Cpus) -> Cpus {
        Cpus(self.0.difference(&other.0).copied().collect())
    }

    /// Those of both.
    pub fn with(&self, other: &Cpus) -> Cpus {
        Cpus(self.0.intersection(&other.0).copied().collect())
    }

    /// As a mask for the kernel, without leading zeros: `f`, `3,00000000`.
    pub fn to_mask(&self) -> String {
        let highest = self.0.last().copied().unwrap_or(0) / 32;
        let group = |index: u32| {
            let base = index * 32;
            (0..32).filter(|bit| self.has(base + bit)).fold(0_u32, |bits, bit| bits | 1 << bit)
        };
        let mut text = format!("{:x}", group(highest));
        for index in (0..highest).rev() {
            text.push_str(&format!(",{:08x}", group(index)));
        }
        text
    }
}

impl FromIterator<u32> for Cpus {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Cpus {
        Cpus(cpus.into_iter().filter(|cpu| *cpu < MOST).collect())
    }
}

/// As the kernel prints a list: `0-3,8`.
impl fmt::Display for Cpus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.iter().peekable();
        let mut is_first = true;
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last + 1) {
                last = next;
            }
            let comma = if is_first { "" } else { "," };
            is_first = false;
            match last {
                _ if last == first => write!(out, "{comma}{first}")?,
                _ => write!(out, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Cpus {
        Cpus::list(text).expect("a list")
    }

    #[test]
    fn lists_and_masks() {
        for (text, mask, told) in [
            ("0-3", "f", "0-3"),
            ("1,3", "a", "1,3"),
            ("0-7", "ff", "0-7"),
            ("0-31\n", "ffffffff", "0-31"),
            ("0-35", "f,ffffffff", "0-35"),
            ("32", "1,00000000", "32"),
            ("64,1", "1,00000000,00000002", "1,64"),
            ("255", "80000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000", "255"),
            ("", "0", ""),
        ] {
            let set = list(text);
            assert_eq!((set.to_mask().as_str(), set.to_string().as_str()), (mask, told), "{text}");
            assert_eq!(Cpus::mask(mask), Some(set), "{mask}");
        }
        assert_eq!(Cpus::mask("00000000,0000000f\n"), Some(list("0-3")));
        assert_eq!((Cpus::mask("0x100000001"), Cpus::mask("0")), (Some(list("0,32")), Some(list(""))));
        for wrong in ["3-1", "a", "1-2-3", "99999", "1,,2", "-1"] {
            assert_eq!(Cpus::list(wrong), None, "{wrong}");
        }
        for wrong in ["", "g", "f,fffffffff", "+1", "f,,f"] {
            assert_eq!(Cpus::mask(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_sets_can_do() {
        let all = list("0-7");
        assert_eq!(all.without(&list("0,2")).to_string(), "1,3-7");
        assert_eq!(all.with(&list("6-9")).to_string(), "6-7");
        assert!(list("1,3").is_within(&all) && !list("8").is_within(&all));
        assert_eq!((list("5").only(), list("5-6").only(), list("").only()), (Some(5), None, None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String, near in "[0-9a-fx,-]{0,40}") {
            for text in [text, near] {
                for set in [Cpus::list(&text), Cpus::mask(&text)].into_iter().flatten() {
                    assert_eq!(Cpus::mask(&set.to_mask()).as_ref(), Some(&set));
                    assert_eq!(Cpus::list(&set.to_string()).as_ref(), Some(&set));
                }
            }
        }
    }
}
