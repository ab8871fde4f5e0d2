//! Whether the packets of a card come to too few CPUs, and for which of the reasons that there are.
//!
//! Counts of interrupts do not tell how much work there is: a queue that never runs empty is polled and interrupts seldom. The
//! time that CPUs spend on packets does.

use std::collections::BTreeMap;

use sickbay_formats::cpus::Cpus;

use crate::facts::cpu::topology::Topology;
use crate::facts::network::queues::{Interrupt, Nic, Nics};
use crate::facts::network::traffic::{Seen, Traffic, Use};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// Fewer packets a second keep no CPU busy.
const FEW: f64 = 2000.0;

/// A CPU takes in more a second if it does nothing else, however slow it is and however many rules of a firewall there are.
const SLOWEST: f64 = 15_000.0;

/// A CPU that spends as much of its time on packets has none left for bursts.
const HOT: f64 = 0.6;
/// The same of a CPU that has nothing left at all, or drops packets.
const WARM: f64 = 0.3;
/// What is busier is no help.
const FREE: f64 = 0.7;
/// A CPU that spends less on packets has its queue nearly empty.
const COLD: f64 = 0.2;

/// Why they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Several queues interrupt the same CPU.
    Crowded,
    /// The queues are spread, and nearly everything comes on one: one connection, or one tunnel.
    OneFlow {
        /// That queue.
        queue: u32,
    },
    /// The card has more queues than are in use.
    Unused {
        /// So many.
        most: u32,
    },
    /// The card has no more queues.
    Few,
}

/// A card whose packets come to too few CPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The card.
    pub card: Nic,
    /// Why.
    pub reason: Reason,
    /// The CPUs that are busy with its packets.
    pub hot: Cpus,
    /// Those that its interrupts go to.
    pub lands: Cpus,
    /// Those that could help.
    pub free: Cpus,
    /// The share of time that the busiest spends on packets.
    pub share: f64,
}

/// All such cards.
#[derive(Debug, Default)]
pub struct Steering(pub Vec<Trouble>);

impl Fact for Steering {
    fn gather(facts: &Facts) -> Result<Steering, Skip> {
        let traffic = facts.get::<Traffic>()?;
        let Some(seen) = &traffic.0 else { return Ok(Steering::default()) };
        if !seen.cpus.iter().any(is_hot) {
            return Ok(Steering::default());
        }
        let (nics, topology) = (facts.get::<Nics>()?, facts.get::<Topology>()?);
        Ok(Steering(nics.cards.iter().filter_map(|card| trouble(card, seen, &topology)).collect()))
    }
}

fn is_hot(one: &Use) -> bool {
    one.soft >= HOT || one.soft >= WARM && (one.busy >= 0.9 || one.dropped > 0)
}

/// Where an interrupt goes: by its affinity; where that leaves it open, by where it went meanwhile.
pub fn lands(irq: &Interrupt, seen: &Seen) -> Cpus {
    irq.lands().unwrap_or_else(|| {
        let grown = seen.interrupts(irq.number);
        let all: u64 = grown.iter().map(|(_, count)| *count).sum();
        let some = |(_, count): &(u32, u64)| *count > 0 && count.saturating_mul(20) >= all;
        let went = grown.into_iter().filter(some).map(|(cpu, _)| cpu);
        // What an affinity forbids is over.
        went.filter(|cpu| irq.affinity.as_ref().is_none_or(|affinity| affinity.has(*cpu))).collect()
    })
}

/// Whether it goes to other CPUs now than it went to while it was watched.
fn is_moving(irq: &Interrupt, lands: &Cpus, seen: &Seen) -> bool {
    let is_within = |effective: &Cpus| irq.affinity.as_ref().is_none_or(|affinity| effective.is_within(affinity));
    if irq.effective.as_ref().is_some_and(|effective| !is_within(effective)) {
        return true;
    }
    let grown = seen.interrupts(irq.number);
    let sum =
        |of: &dyn Fn(u32) -> bool| -> u64 { grown.iter().filter(|(cpu, _)| of(*cpu)).map(|(_, count)| *count).sum() };
    sum(&|cpu| lands.has(cpu)).saturating_mul(2) < sum(&|_| true)
}

/// The CPUs that interrupts of a card went to since the start, as far as that is of weight.
pub fn history(card: &Nic) -> Cpus {
    let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
    for (cpu, count) in card.receiving().flat_map(|irq| &irq.counts) {
        let sum = sums.entry(*cpu).or_default();
        *sum = sum.saturating_add(*count);
    }
    let all = sums.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    sums.into_iter().filter(|(_, count)| *count > 0 && count.saturating_mul(20) >= all).map(|(cpu, _)| cpu).collect()
}

/// Judges one card.
pub fn trouble(card: &Nic, seen: &Seen, topology: &Topology) -> Option<Trouble> {
    if seen.flow(&card.name).is_some_and(|flow| flow.received + flow.sent < FEW) {
        return None;
    }
    let receiving: Vec<(&Interrupt, Cpus)> = card.receiving().map(|irq| (irq, lands(irq, seen))).collect();
    // What was seen is of before, where one was moved meanwhile.
    if receiving.iter().any(|(irq, lands)| is_moving(irq, lands, seen)) {
        return None;
    }
    let lands: Cpus = receiving.iter().flat_map(|(_, lands)| lands.iter().collect::<Vec<_>>()).collect();
    if lands.is_empty() {
        return None;
    }
    let of = |cpu: u32| seen.cpu(cpu).copied();
    let hot: Cpus = lands.iter().filter(|cpu| of(*cpu).is_some_and(|one| is_hot(&one))).collect();
    // RPS hands the packets on: whoever takes them is where they come to.
    let steered: Cpus = card
        .receive
        .iter()
        .flat_map(|queue| queue.rps.iter())
        .flat_map(|mask| mask.iter().collect::<Vec<_>>())
        .collect();
    let others = topology.online().without(&lands).without(&topology.isolated);
    let free: Cpus = others
        .without(&steered)
        .iter()
        .filter(|cpu| of(*cpu).is_some_and(|one| one.busy <= FREE && one.soft <= COLD))
        .collect();
    let share = hot.iter().filter_map(|cpu| Some(of(cpu)?.soft)).fold(0.0, f64::max);
    let told = |reason, hot: Cpus| {
        Some(Trouble { card: card.clone(), reason, hot, lands: lands.clone(), free: free.clone(), share })
    };
    let busiest = hot.iter().max_by(|one, other| soft(of(*one)).total_cmp(&soft(of(*other))))?;
    // Disks and timers leave work for later, too.
    let carried = seen.flow(&card.name).map_or(f64::INFINITY, |flow| flow.received + flow.sent);
    if carried < soft(of(busiest)) * SLOWEST {
        return None;
    }
    let on = |cpu: u32| receiving.iter().filter(move |(_, lands)| lands.has(cpu)).count();
    let queues = card.queues();
    let could = u32::try_from(lands.len() + others.len()).unwrap_or(u32::MAX);
    let is_movable = receiving.iter().any(|(irq, _)| !irq.is_managed);
    if on(busiest) > 1 && !free.is_empty() && is_movable {
        return told(Reason::Crowded, hot);
    }
    let calm = |cpu: u32| of(cpu).is_some_and(|one| one.soft <= COLD);
    if lands.len() > 1 && hot.only().is_some() && lands.iter().all(|cpu| cpu == busiest || calm(cpu)) {
        let queue = receiving.iter().find(|(_, lands)| lands.has(busiest)).map_or(0, |(irq, _)| irq.queue);
        return told(Reason::OneFlow { queue }, hot);
    }
    if free.is_empty() {
        return None;
    }
    let most = card.channels.map_or(0, |channels| channels.most.receiving());
    if most.min(could) > queues {
        return told(Reason::Unused { most }, hot);
    }
    // Where packets are handed on already, more of the same is no help.
    let is_handed_on = !steered.without(&lands).is_empty();
    (queues < could && !is_handed_on).then(|| told(Reason::Few, hot)).flatten()
}

fn soft(one: Option<Use>) -> f64 {
    one.map_or(0.0, |one| one.soft)
}
