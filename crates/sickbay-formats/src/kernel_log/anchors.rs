//! The words that a line must have to be looked at.
//!
//! A vectorised search for up to 22 words (Teddy, with AVX2) costs about as much as one for a single word; one for 32 costs
//! five times that. So there are two sets, and words whose first four bytes are rare in logs.

use std::sync::OnceLock;

use aho_corasick::packed::{Config, MatchKind, Searcher};

/// Parts of the sentences that [`super::classify`] knows, in lower case mostly.
const LOWER: [&str; 21] = [
    "n failure", // page allocation failure, vmalloc: allocation failure
    "or more",   // blocked for more than
    "ed stall",  // detected stalls, self-detected stall, expedited stalls
    "egfault",
    "fs error",  // EXT4-fs error
    " table ",   // table full, table overflow
    "nfs: s",    // nfs: server … not responding, … OK
    "fork r",    // fork rejected by pids controller
    "e-max",     // file-max limit
    "t syncing", // Kernel panic - not syncing
    "x version", // Linux version
    "oom-k",     // invoked oom-killer, oom-kill:constraint
    "ava Runt",  // … the Java Runtime Environment
    "vmalloc",   // vmalloc error; vmap allocation … use vmalloc=
    "traps:",
    "unhandled",
    "nvme nv",      // nvme nvme0: controller is down
    "ink is ",      // NIC Link is Down
    "severity=",    // PCIe Bus Error: severity=Uncorrected
    "ral protec",   // general protection fault
    "ritical temp", // critical temperature reached
];

/// The others.
const UPPER: [&str; 21] = [
    "Kill",        // Killed process, Kill process
    "BUG",         // BUG: soft lockup, kernel BUG at
    "Unable to h", // Unable to handle kernel
    "LOCKUP",
    "Remount",     // Remounting filesystem read-only
    "ing journal", // Aborting journal, error loading journal
    "XFS",
    "BTRFS",
    "I/O ",
    "error, dev", // critical medium error, dev
    "SYN f",
    "[Hard", // [Hardware Error]
    "EDAC",
    " SRC=",
    "TCP: ", // too many orphaned sockets, out of memory
    "NETDEV W",
    "Emask 0",      // ata1.00: exception Emask 0x0 … frozen
    "TSC unst",     // Marking TSC unstable due to clocksource watchdog
    "mapper: ",     // device-mapper: thin, device-mapper: multipath
    "Disk fail",    // md/raid1:md0: Disk failure on sdb1
    "alive watchd", // ena: Keep alive watchdog timeout
];

/// The two sets as searchers, and how they are told where something is.
#[derive(Debug)]
pub(super) struct Anchors(Vec<Searcher>);

impl Anchors {
    pub(super) fn get() -> &'static Anchors {
        static ANCHORS: OnceLock<Anchors> = OnceLock::new();
        ANCHORS.get_or_init(|| {
            let searcher = |words: &[&str]| {
                let mut builder = Config::new().match_kind(MatchKind::LeftmostFirst).builder();
                builder.extend(words).build()
            };
            Anchors([LOWER.as_slice(), &UPPER].into_iter().filter_map(searcher).collect())
        })
    }

    /// Where in `block` an anchor stands, in order.
    pub(super) fn find(&self, block: &[u8], found: &mut Vec<usize>) {
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
    fn both_sets_are_searched_and_small_enough_to_be_fast() {
        let mut found = Vec::new();
        Anchors::get().find(b"x invoked oom-killer: \0 [Hardware Error]: e-max", &mut found);
        assert_eq!(found, [10, 24, 42]);
        assert!(LOWER.len() <= 22 && UPPER.len() <= 22);
    }
}
