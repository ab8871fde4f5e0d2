//! The words that a line must have to be looked at.
//!
//! A vectorised search for up to 22 words (Teddy, with AVX2) costs about as much as one for a single word; one for 32 costs
//! five times that. So there are two sets. What it costs beyond that are places that only seem to begin a word, by the first
//! four bytes of all words of one of eight buckets taken together (every eighth word is in one bucket): so each word is cut
//! where its first four bytes are rare in logs, is no shorter than four bytes, and the order of the words is the one, of some
//! hundred thousand that were tried on real logs, in which those that share a bucket mislead least (some 100 places a MB).

use std::sync::OnceLock;

use aho_corasick::packed::{Config, MatchKind, Searcher};

/// Parts of the sentences that [`super::classify`] knows.
const ONE: [&str; 22] = [
    "BUG at",         // kernel BUG at
    "cation failure", // page allocation failure, vmalloc: allocation failure
    "BTRFS",
    "Kill",        // Killed process, Kill process
    "k is ",       // NIC Link is Down, link is down
    "g journal",   // Aborting journal, error loading journal
    "not syncing", // Kernel panic - not syncing
    "traps:",
    "I/O ",
    "EDAC",
    "d stall",    // detected stalls, self-detected stall, expedited stalls
    "ral protec", // general protection fault
    "unhandled",
    "mask 0x",        // ata1.00: exception Emask 0x0 … frozen
    "al temperature", // critical temperature reached
    "or more than",   // blocked for more than
    "alive watchd",   // ena: Keep alive watchdog timeout
    "nfs: s",         // nfs: server … not responding, … OK
    "LOCKUP",
    " SRC=",
    "-fs error",  // EXT4-fs error
    "k rejected", // fork rejected by pids controller
];

/// The others.
const OTHER: [&str; 22] = [
    "-max limit", // file-max limit
    "isk fail",   // md/raid1:md0: Disk failure on sdb1
    "NETDEV",     // NETDEV WATCHDOG
    "vmalloc",    // vmalloc error; vmap allocation … use vmalloc=
    "severity=",  // PCIe Bus Error: severity=Uncorrected
    "om-kill",    // invoked oom-killer, oom-kill:constraint
    " table ",    // table full, table overflow
    "Java Runt",  // … the Java Runtime Environment
    "XFS ",
    "[Hardware", // [Hardware Error]
    "BUG:",      // BUG: soft lockup
    "TSC unst",  // Marking TSC unstable due to clocksource watchdog
    "SYN flood",
    " nvme",      // nvme nvme0: controller is down
    "TCP: ",      // too many orphaned sockets, out of memory
    "to handle ", // Unable to handle kernel
    "-mapper",    // device-mapper: thin, device-mapper: multipath
    "egfault",
    "ror, dev",  // critical medium error, dev
    "x version", // Linux version
    "Remount",   // Remounting filesystem read-only
    "XFS: I",
];

/// Sets of words as searchers. Each has at most 22.
#[derive(Debug)]
pub(crate) struct Anchors(Vec<Searcher>);

impl Anchors {
    /// Those of the kernel's log.
    pub(super) fn get() -> &'static Anchors {
        static ANCHORS: OnceLock<Anchors> = OnceLock::new();
        ANCHORS.get_or_init(|| Anchors::of(&[&ONE, &OTHER]))
    }

    /// Which words, and in which order: see the beginning of this module.
    pub(crate) fn of(sets: &[&[&str]]) -> Anchors {
        let searcher = |words: &&[&str]| {
            debug_assert!(words.len() <= 22 && words.iter().all(|word| word.len() >= 4));
            let mut builder = Config::new().match_kind(MatchKind::LeftmostFirst).builder();
            builder.extend(*words).build()
        };
        Anchors(sets.iter().filter_map(searcher).collect())
    }

    /// Where in `block` an anchor stands, in order.
    pub(crate) fn find(&self, block: &[u8], found: &mut Vec<usize>) {
        found.clear();
        for searcher in &self.0 {
            found.extend(searcher.find_iter(block).map(|at| at.start()));
        }
        found.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_are_searched() {
        let mut found = Vec::new();
        Anchors::get().find(b"x invoked oom-killer: \0 [Hardware Error]: e-max limit", &mut found);
        assert_eq!(found, [11, 24, 43]);
    }
}
