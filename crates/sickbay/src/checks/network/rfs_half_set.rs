//! Tables of flows are set for queues, and the one that all share is not.

use crate::facts::Facts;
use crate::facts::network::queues::Nics;
use crate::mend::irq_plan::FLOWS;
use crate::mend::irq_repair;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: RFS has been set up, and packets still come to other CPUs than the programs that want them run on.
    ///
    /// ## What it finds
    /// Queues of a card with `rps_flow_cnt`, while `net.core.rps_sock_flow_entries` is 0. RFS needs both.
    ///
    /// ## Why it matters
    /// RFS does nothing: the kernel has no table in which programs leave the CPU that they run on. Mostly the parameter was set with
    /// `sysctl -w` and lost at a boot.
    ///
    /// ## What the repair does
    /// Sets the parameter to the sum of the queues' tables, at least 32768, now and at every boot.
    ///
    /// ## By hand
    /// ```sh
    /// sysctl -w net.core.rps_sock_flow_entries=32768
    /// ```
    "rfs-half-set", Network, seed = ["C8"], proves = [], "RFS is set for queues and not for the system"
}

const KEY: &str = "net.core.rps_sock_flow_entries";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let nics = facts.get::<Nics>()?;
    let Some(entries) = nics.flow_entries else {
        return Err(Skip::NotApplicable(tr!("this kernel has no RFS")));
    };
    let queues = nics.cards.iter().flat_map(|card| card.receive.iter().map(move |queue| (card, queue)));
    let set: Vec<_> = queues.filter(|(_, queue)| queue.flows.is_some_and(|flows| flows > 0)).collect();
    let Some((card, _)) = set.first().filter(|_| entries == 0) else { return Ok(()) };
    let sum = set.iter().fold(0_u64, |sum, (_, queue)| sum.saturating_add(queue.flows.unwrap_or(0)));
    let wanted = sum.max(FLOWS).checked_next_power_of_two().unwrap_or(FLOWS).to_string();
    let (count, name) = (set.len(), card.name.as_str());
    let finding = found.note(tr!(
        "{count} {count?queue|queues} of {name} {count?has a table|have tables} of flows, but {key} is 0: RFS does nothing",
        count,
        name,
        key = KEY
    ));
    finding.at_parameter(KEY).detail("interface", name).detail("queues", count).detail("flows", sum);
    for (card, queue) in &set {
        let path = format!("/sys/class/net/{}/queues/rx-{}/rps_flow_cnt", card.name, queue.index);
        finding.evidence(path, queue.flows.unwrap_or(0).to_string());
    }
    let mut changes = irq_repair::parameter(facts, KEY, &wanted)?;
    changes.push(Change::kernel(KEY, entries.to_string(), wanted.as_str()));
    finding.repair(
        Risk::Safe,
        tr!("set {key} to {value}, now and at boot", key = KEY, value = wanted.as_str()),
        changes,
    );
    Ok(())
}
