//! A card has more queues than are in use, and its CPUs are busy.

use crate::facts::Facts;
use crate::facts::cpu::topology::Topology;
use crate::facts::network::steering::{Reason, Steering};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the network is slow while most CPUs are idle; `ethtool -l` shows fewer queues under "Current hardware
    /// settings" than under "Pre-set maximums".
    ///
    /// ## What it finds
    /// A card that uses fewer queues than it has and than there are CPUs, while the CPUs that it interrupts spend most of
    /// their time on packets and others are free. On a machine whose CPUs have time for its packets that is no fault.
    ///
    /// ## Why it matters
    /// Each queue is served by one CPU at a time: with few queues few CPUs take packets in.
    ///
    /// ## What the repair does
    /// Nothing by itself: to change the number of queues takes the link down for a moment with many drivers, and sets
    /// affinities and RPS anew.
    ///
    /// ## By hand
    /// ```sh
    /// ethtool -l eth0
    /// ethtool -L eth0 combined 4
    /// # at every boot, with systemd: /etc/systemd/network/10-eth0.link
    /// #   [Match]
    /// #   OriginalName=eth0
    /// #   [Link]
    /// #   CombinedChannels=4
    /// ```
    "nic-queues-unused", Network, seed = ["C8"], proves = [], "a card has more queues than are in use"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let steering = facts.get::<Steering>()?;
    for trouble in &steering.0 {
        let Reason::Unused { most } = trouble.reason else { continue };
        let card = &trouble.card;
        let (name, queues) = (card.name.as_str(), card.queues());
        let online = facts.get::<Topology>()?.cpus.len();
        let wanted = u32::try_from(online).unwrap_or(u32::MAX).min(most);
        let (lands, cpus) = (trouble.lands.to_string(), trouble.lands.len());
        let share = (trouble.share * 100.0).round().clamp(0.0, 100.0) as u32;
        let finding = found.warning(tr!(
            "{name} uses {queues} of its {most} queues, and {cpus?CPU|CPUs} {lands} {cpus?spends|spend} up to {share} % of the time on its packets",
            name,
            queues,
            most,
            cpus,
            lands,
            share
        ));
        finding.at_subject(Subject::Interface(name.to_owned())).subject(Subject::Interface(name.to_owned()));
        for cpu in trouble.hot.iter() {
            finding.explains(Subject::Cpu(cpu));
        }
        finding.why(tr!(
            "each queue is served by one CPU at a time, and {helpers?CPU|CPUs} {free} {helpers?is|are} free",
            free = trouble.free.to_string(),
            helpers = trouble.free.len()
        ));
        finding.extent(u64::from(share)).detail("interface", name).detail("queues", queues).detail("most", most);
        let is_combined = card.channels.is_some_and(|channels| channels.most.combined > 0);
        finding.by_hand(match is_combined {
            true => tr!("ethtool -L {name} combined {wanted}", name, wanted),
            false => tr!("ethtool -L {name} rx {wanted}", name, wanted),
        });
    }
    Ok(())
}
