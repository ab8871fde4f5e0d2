//! The words that a line must have to be looked at.
//!
//! A vectorised search for up to 16 words (Teddy, with AVX2) costs about as much as one for a single word; above 16 it costs
//! eight times that. So there are two sets, and words whose first four bytes are rare in logs.

use std::sync::OnceLock;

use aho_corasick::packed::{Config, MatchKind, Searcher};

/// Parts of the sentences that [`super::classify`] knows, in lower case mostly.
const LOWER: [&str; 16] = [
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
];

/// The others.
const UPPER: [&str; 16] = [
    "Kill", // Killed process, Kill process
    "BUG:",
    "l BUG at",    // kernel BUG at
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
            Anchors([LOWER, UPPER].iter().filter_map(|words| searcher(words)).collect())
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
        assert!(LOWER.len() <= 16 && UPPER.len() <= 16);
    }
}
