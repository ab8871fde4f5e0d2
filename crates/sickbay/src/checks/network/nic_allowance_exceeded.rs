//! The cloud drops the packets, not this machine.

use crate::facts::Facts;
use crate::facts::network::traffic::Traffic;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: retransmissions, timeouts of DNS or a flat top of throughput on a cloud instance whose CPUs and queues are
    /// fine.
    ///
    /// ## What it finds
    /// Counters of the card's driver that the cloud's network keeps (`ethtool -S`: `bw_in_allowance_exceeded`,
    /// `pps_allowance_exceeded`, `conntrack_allowance_exceeded` …) and that grew while it watched. What they counted before is
    /// history, and not reported.
    ///
    /// ## Why it matters
    /// The packets are dropped or held back outside of this machine, because the instance used up what its size is
    /// allowed. No setting here changes that.
    ///
    /// ## What the repair does
    /// Nothing: it is a matter of the instance's size, or of what is sent.
    ///
    /// ## By hand
    /// ```sh
    /// ethtool -S eth0 | grep allowance_exceeded; sleep 10; ethtool -S eth0 | grep allowance_exceeded
    /// ```
    "nic-allowance-exceeded", Network, seed = ["C8"], proves = [], "the cloud drops packets of this machine"
}

/// Fewer packets are nothing to speak of.
const SOME: u64 = 5;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let traffic = facts.get::<Traffic>()?;
    let Some(seen) = &traffic.0 else { return Ok(()) };
    let mut has_counters = false;
    for name in seen.links_with_counters() {
        has_counters = true;
        let grown = seen.exceeded(name);
        let Some((counter, most)) = grown.iter().max_by_key(|(_, count)| *count) else { continue };
        let count: u64 = grown.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
        if count < SOME {
            continue;
        }
        let finding = found.warning(tr!(
            "the cloud dropped or held back {count} {count?packet|packets} of {name} in {seconds} s: more {what} than the instance may have",
            count,
            name,
            seconds = seen.span.round().max(1.0) as u64,
            what = what(counter)
        ));
        finding.at_subject(Subject::Interface(name.to_owned())).subject(Subject::Named(format!("allowance of {name}")));
        finding.why(tr!("they are dropped outside of this machine: no setting here changes that"));
        finding.extent(count).detail("interface", name).detail("count", count).detail("most", *most);
        for (counter, count) in &grown {
            finding.evidence(format!("ethtool -S {name}"), format!("{counter}: +{count}"));
        }
        finding.by_hand(advice(counter));
    }
    match has_counters {
        true => Ok(()),
        false => Err(Skip::NotApplicable(tr!("no card here has counters of its own"))),
    }
}

fn what(counter: &str) -> Text {
    match counter.trim_end_matches("_allowance_exceeded") {
        "bw_in" => tr!("bytes coming in"),
        "bw_out" => tr!("bytes going out"),
        "pps" => tr!("packets a second"),
        "conntrack" => tr!("tracked connections"),
        "linklocal" => tr!("requests to the cloud's own DNS, NTP and metadata"),
        _ => tr!("of what {counter} counts", counter),
    }
}

fn advice(counter: &str) -> Text {
    match counter.trim_end_matches("_allowance_exceeded") {
        "conntrack" => tr!(
            "a larger instance, fewer or longer connections, or security groups that allow all of it, which are not tracked"
        ),
        "linklocal" => tr!("cache DNS on this machine; ask for metadata less often"),
        _ => tr!("a larger instance, or less traffic at once"),
    }
}
