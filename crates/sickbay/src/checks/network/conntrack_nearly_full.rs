//! The table of connections is full, or nearly.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use crate::facts::Facts;
use crate::facts::system::kernel::{parameter, parameter_path, running};
use crate::model::finding::Findings;
use crate::model::measured::Unit;
use crate::model::outcome::{Skip, Verdict};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: new connections that time out at random, and "nf_conntrack: table full, dropping packet" in the kernel log.
    ///
    /// ## What it finds
    /// `net.netfilter.nf_conntrack_count` at nine tenths of `nf_conntrack_max` or more, now; and, where the kernel has `/proc/net/nf_conntrack`,
    /// which peer and which state fill it.
    ///
    /// ## Why it matters
    /// When the table is full, every packet of a new connection is dropped, be it of ssh; established ones go on.
    ///
    /// ## What the repair does
    /// Nothing by itself. Raise `nf_conntrack_max` (an entry takes about 320 bytes) and `nf_conntrack_buckets` with it, lower
    /// `nf_conntrack_tcp_timeout_established` where most are established (5 days by default), or let what fills it go untracked.
    ///
    /// ## By hand
    /// ```sh
    /// sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max
    /// conntrack -S
    /// sysctl -w net.netfilter.nf_conntrack_max=524288
    /// ```
    "conntrack-nearly-full", Network, seed = ["N1", "D10"], proves = [], "the table of connections is nearly full"
}

/// The table as the kernel prints it.
const TABLE: &str = "/proc/net/nf_conntrack";

/// Of it so much is read, in bytes: 400,000 entries.
const MOST: u64 = 64 << 20;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    running(facts)?;
    let key = "net.netfilter.nf_conntrack_max";
    let counted = parameter(facts, "net.netfilter.nf_conntrack_count")?;
    let Some((count, most)) = counted.zip(parameter(facts, key)?).filter(|(_, most)| *most > 0) else {
        return Err(Skip::NotApplicable(tr!("this kernel follows no connections")));
    };
    if count.saturating_mul(10) < most.saturating_mul(9) {
        return Ok(());
    }
    let message = tr!("the table of connections has {count} of {most} entries", count, most);
    let is_full = count >= most;
    let finding = if is_full { found.error(message) } else { found.warning(message) };
    finding.at_parameter(key).extent(count).detail("count", count).detail("max", most);
    finding.evidence(parameter_path(key).display().to_string(), most.to_string());
    #[allow(clippy::cast_precision_loss, reason = "a table has no 2^52 entries")]
    finding.measured("nf_conntrack_count", count as f64, Unit::Count, Some(most as f64));
    finding.why(match is_full {
        true => tr!("packets of new connections are dropped; established ones go on"),
        false => tr!("when it is full, packets of new connections are dropped"),
    });
    if let Some(fill) = Fill::read(facts) {
        if let Some((peer, number)) = fill.most(&fill.peers) {
            finding.note(tr!("{number} of {all} entries are of connections from {peer}", number, all = fill.all, peer));
        }
        if let Some((state, number)) = fill.most(&fill.states) {
            finding.note(tr!("{number} of {all} entries are {state}", number, all = fill.all, state));
        }
    }
    finding.by_hand(tr!("raise net.netfilter.nf_conntrack_max and nf_conntrack_buckets, lower nf_conntrack_tcp_timeout_established, or let what fills it go untracked"));
    Ok(())
}

/// What fills the table.
#[derive(Default)]
struct Fill {
    all: u64,
    peers: HashMap<String, u64>,
    states: HashMap<String, u64>,
}

impl Fill {
    fn read(facts: &Facts) -> Option<Fill> {
        let file = facts.root().open(TABLE).ok()?;
        let mut fill = Fill::default();
        for line in BufReader::new(file.take(MOST)).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let mut words = line.split_ascii_whitespace();
            let Some(protocol) = words.nth(2) else { continue };
            fill.all += 1;
            let rest: Vec<&str> = words.skip(2).take(4).collect();
            let state = match protocol {
                "tcp" => rest.first().copied().unwrap_or(protocol),
                other => other,
            };
            *fill.states.entry(state.to_owned()).or_default() += 1;
            if let Some(peer) = rest.iter().find_map(|word| word.strip_prefix("src="))
                && (fill.peers.len() < 100_000 || fill.peers.contains_key(peer))
            {
                *fill.peers.entry(peer.to_owned()).or_default() += 1;
            }
        }
        (fill.all > 0).then_some(fill)
    }

    /// The most frequent, where it has a fifth of all.
    fn most<'a>(&self, of: &'a HashMap<String, u64>) -> Option<(&'a str, u64)> {
        let (name, number) = of.iter().max_by_key(|(name, number)| (**number, std::cmp::Reverse((*name).clone())))?;
        (number.saturating_mul(5) >= self.all).then_some((name.as_str(), *number))
    }
}
