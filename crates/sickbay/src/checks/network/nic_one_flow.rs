//! Nearly everything that a card receives comes on one of its queues.

use crate::facts::Facts;
use crate::facts::network::steering::{Reason, Steering};
use crate::facts::network::traffic::Traffic;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a card with many queues, each on a CPU of its own, and yet one CPU is busy with packets and the others are
    /// not; throughput stops at what one CPU can do.
    ///
    /// ## What it finds
    /// A card whose queues are spread over CPUs of which one alone spends most of its time on packets, and the others nearly
    /// nothing: nearly all packets come on one queue.
    ///
    /// ## Why it matters
    /// The card chooses the queue by a hash of addresses and ports (RSS). All packets of one connection, or of one tunnel, have
    /// the same hash. No affinity can split them, and RPS cannot either: it hashes the same way, and hands a flow to one CPU.
    ///
    /// ## What the repair does
    /// Nothing by itself. If it is one connection, only several connections help. If these are many UDP flows or a tunnel, many
    /// cards can be told to take the ports into the hash.
    ///
    /// ## By hand
    /// ```sh
    /// # which connection it is
    /// tcpdump -ni eth0 -c 2000 -q | awk '{ print $3, $5 }' | sort | uniq -c | sort -rn | head -3
    /// # UDP: take ports into the hash, not addresses alone
    /// ethtool -n eth0 rx-flow-hash udp4
    /// ethtool -N eth0 rx-flow-hash udp4 sdfn
    /// ```
    "nic-one-flow", Network, seed = ["C8"], proves = [], "nearly all packets of a card come on one queue"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let steering = facts.get::<Steering>()?;
    for trouble in &steering.0 {
        let Reason::OneFlow { queue } = trouble.reason else { continue };
        let card = &trouble.card;
        let (name, queues) = (card.name.as_str(), card.queues());
        let cpu = trouble.hot.first().unwrap_or(0);
        let share = (trouble.share * 100.0).round().clamp(0.0, 100.0) as u32;
        let finding = found.warning(tr!(
            "nearly everything that {name} receives comes on one of its {queues} queues: CPU {cpu} spends {share} % of its time on packets of queue {queue}, the CPUs of the others nearly nothing",
            name,
            queues,
            cpu,
            share,
            queue
        ));
        finding.at_subject(Subject::Interface(name.to_owned())).subject(Subject::Interface(name.to_owned()));
        finding.explains(Subject::Cpu(cpu));
        finding.why(tr!(
            "one connection or one tunnel goes to one queue and one CPU: neither affinity nor RPS can split it"
        ));
        finding.extent(u64::from(share)).detail("interface", name).detail("queue", queue).detail("cpu", cpu);
        if let Some(seen) = &facts.get::<Traffic>()?.0 {
            let mut grown = seen.counters(name);
            grown.retain(|(counter, _)| {
                counter.ends_with("packets") && counter.contains("rx") && counter.contains(|c: char| c.is_ascii_digit())
            });
            grown.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            for (counter, count) in grown.into_iter().take(4) {
                finding.evidence(format!("ethtool -S {name}"), format!("{counter}: +{count}"));
            }
        }
        finding.by_hand(tr!("find the connection (tcpdump -ni {name} -c 2000 -q); several instead of one are spread, and for UDP ethtool -N {name} rx-flow-hash udp4 sdfn takes the ports into the hash", name));
    }
    Ok(())
}
