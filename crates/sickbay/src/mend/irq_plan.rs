//! Which CPU each queue of each network card should interrupt, and which others should help (RPS, RFS), as exact values.
//!
//! A queue gets a CPU of its own as long as there are some: on the node of its card first, on cores of their own first, and
//! what is well already stays. Packets are handed on to other CPUs only where there are fewer queues than CPUs, and not to the
//! CPUs that are interrupted: those have enough to do.

use std::collections::BTreeMap;

use sickbay_formats::cpus::Cpus;

use crate::facts::cpu::topology::{Cpu, Topology};
use crate::facts::network::queues::Nic;

/// What a table of flows has on a moderately loaded server (the kernel's Documentation/networking/scaling.rst).
pub const FLOWS: u64 = 32768;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// CPU 0 is left to others.
    pub leave_cpu0: bool,
    /// Interrupts are put on CPUs.
    pub interrupts: bool,
    /// Packets are handed on where there are fewer queues than CPUs.
    pub steer: bool,
    /// CPUs that whoever cares for interrupts must not use.
    pub banned: Cpus,
}

/// A value of the kernel, as it is and as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its file, or the name of a parameter.
    pub name: String,
    /// As it is.
    pub before: String,
    /// As it should be.
    pub after: String,
}

/// Where an interrupt should go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The number of the interrupt, as in `/proc/interrupts`.
    pub number: u32,
    /// Its name, by which it is found again after a boot.
    pub name: String,
    /// The CPU.
    pub cpu: u32,
    /// It goes there now.
    pub is_there: bool,
}

/// How the packets of a queue should be handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The interface.
    pub interface: String,
    /// The queue.
    pub queue: u32,
    /// To these CPUs.
    pub to: Cpus,
    /// `rps_flow_cnt`.
    pub flows: u64,
}

/// The plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What changes, in order.
    pub steps: Vec<Step>,
    /// Where all interrupts of queues should go.
    pub placed: Vec<Placed>,
    /// How packets should be handed on.
    pub handed: Vec<Handed>,
    /// `net.core.rps_sock_flow_entries`, where it should be another.
    pub flow_entries: Option<u64>,
    /// Interrupts that the kernel alone places.
    pub managed: Vec<u32>,
}

/// What should be set for these cards.
pub fn plan(topology: &Topology, cards: &[&Nic], flow_entries: Option<u64>, wishes: &Wishes) -> Plan {
    let mut plan = Plan::default();
    let mut may = topology.online().without(&topology.isolated).without(&wishes.banned);
    if wishes.leave_cpu0 && may.len() > 1 {
        may.remove(0);
    }
    if may.is_empty() {
        return plan;
    }
    let mut taken = Load::default();
    for card in cards {
        let places = place(topology, card, &may, &mut taken);
        if wishes.interrupts {
            interrupts(&mut plan, card, &places);
            transmit(&mut plan, topology, card, &places);
        }
        if wishes.steer {
            steer(&mut plan, topology, card, &places, &may, wishes.interrupts);
        }
    }
    if !plan.handed.is_empty() {
        let wanted = FLOWS.max(flow_entries.unwrap_or(0));
        if let Some(now) = flow_entries.filter(|now| *now != wanted) {
            plan.flow_entries = Some(wanted);
            let name = "net.core.rps_sock_flow_entries".to_owned();
            plan.steps.push(Step { name, before: now.to_string(), after: wanted.to_string() });
        }
    }
    plan
}

/// How many queues CPUs and cores have.
#[derive(Default)]
struct Load {
    cpus: BTreeMap<u32, usize>,
    cores: BTreeMap<u32, usize>,
    all: usize,
}

impl Load {
    fn take(&mut self, cpu: &Cpu) {
        *self.cpus.entry(cpu.id).or_default() += 1;
        *self.cores.entry(cpu.core).or_default() += 1;
        self.all += 1;
    }

    fn of(&self, cpu: &Cpu) -> (usize, usize) {
        let count = |of: &BTreeMap<u32, usize>, key: u32| of.get(&key).copied().unwrap_or(0);
        (count(&self.cpus, cpu.id), count(&self.cores, cpu.core))
    }
}

/// A CPU for each queue of a card, by the number of the queue. `taken` is what all cards have.
fn place(topology: &Topology, card: &Nic, may: &Cpus, taken: &mut Load) -> BTreeMap<u32, u32> {
    let queues: Cpus = card.active().map(|irq| irq.queue).collect();
    let receiving: Cpus = card.receiving().map(|irq| irq.queue).collect();
    let cpus: Vec<&Cpu> = topology.cpus.iter().filter(|cpu| may.has(cpu.id)).collect();
    let is_near = |cpu: &Cpu| card.node.is_none() || cpu.node.is_none() || cpu.node == card.node;
    let cores = cpus.iter().map(|cpu| cpu.core).collect::<Cpus>().len().max(1);
    let mut own = Load::default();
    let mut places: BTreeMap<u32, u32> = BTreeMap::new();
    // What is well stays: where no CPU and no core has more than its part.
    let all = taken.all + queues.len();
    let (each_cpu, each_core) = (all.div_ceil(cpus.len().max(1)), all.div_ceil(cores));
    for queue in queues.iter() {
        let of = || card.active().filter(|irq| irq.queue == queue);
        let main = of().find(|irq| irq.role.receives()).or_else(|| of().next());
        let Some(cpu) = main.and_then(|irq| irq.lands()?.only()) else { continue };
        let Some(at) = cpus.iter().find(|one| one.id == cpu && is_near(one)) else { continue };
        let (on_cpu, on_core) = taken.of(at);
        if on_cpu < each_cpu && on_core < each_core {
            own.take(at);
            taken.take(at);
            places.insert(queue, cpu);
        }
    }
    // Queues on which nothing comes in are the last to get a CPU of their own.
    let (first, last) = (queues.with(&receiving), queues.without(&receiving));
    let order: Vec<u32> = first.iter().chain(last.iter()).filter(|queue| !places.contains_key(queue)).collect();
    for queue in order {
        let best = cpus.iter().min_by_key(|cpu| {
            let ((on_cpu, on_core), others) = (own.of(cpu), taken.of(cpu));
            (on_cpu, !is_near(cpu), on_core, others, cpu.id)
        });
        let Some(cpu) = best else { continue };
        own.take(cpu);
        taken.take(cpu);
        places.insert(queue, cpu.id);
    }
    places
}

fn interrupts(plan: &mut Plan, card: &Nic, places: &BTreeMap<u32, u32>) {
    for irq in card.active() {
        let Some(cpu) = places.get(&irq.queue).copied() else { continue };
        if irq.is_managed {
            plan.managed.push(irq.number);
            continue;
        }
        let is_there = irq.lands().and_then(|lands| lands.only()) == Some(cpu);
        plan.placed.push(Placed { number: irq.number, name: irq.name.clone(), cpu, is_there });
        if let Some(affinity) = irq.affinity.as_ref().filter(|_| !is_there) {
            plan.steps.push(Step {
                name: format!("/proc/irq/{}/smp_affinity_list", irq.number),
                before: affinity.to_string(),
                after: cpu.to_string(),
            });
        }
    }
}

/// Where CPUs are told on which queue they send (XPS), each queue gets those next to the CPU that its interrupt goes to: where they
/// are not told, the kernel spreads flows by itself, and where every queue has that CPU already, nothing has to be done.
fn transmit(plan: &mut Plan, topology: &Topology, card: &Nic, places: &BTreeMap<u32, u32>) {
    let own: BTreeMap<u32, u32> =
        places.iter().filter(|(queue, _)| **queue < card.send.max(1)).map(|(queue, cpu)| (*queue, *cpu)).collect();
    let is_well = card.xps.iter().all(|(queue, cpus)| own.get(queue).is_none_or(|cpu| cpus.has(*cpu)));
    if card.xps.is_empty() || is_well || own.is_empty() {
        return;
    }
    let mut masks: BTreeMap<u32, Vec<u32>> = own.keys().map(|queue| (*queue, Vec::new())).collect();
    for cpu in &topology.cpus {
        // Its own queue, that of a thread of its core, one of its node, else any; of several the one with fewest.
        let best = own.iter().min_by_key(|(queue, at)| {
            let other = topology.get(**at);
            let shares = |of: &dyn Fn(&Cpu) -> bool| other.is_some_and(of);
            let many = masks.get(queue).map_or(0, Vec::len);
            (**at != cpu.id, !shares(&|other| other.core == cpu.core), !shares(&|other| other.node == cpu.node), many)
        });
        if let Some(mask) = best.and_then(|(queue, _)| masks.get_mut(queue)) {
            mask.push(cpu.id);
        }
    }
    for (queue, before) in &card.xps {
        let Some(cpus) = masks.get(queue) else { continue };
        let after: Cpus = cpus.iter().copied().collect();
        if after != *before && !after.is_empty() {
            plan.steps.push(Step {
                name: format!("/sys/class/net/{}/queues/tx-{queue}/xps_cpus", card.name),
                before: before.to_mask(),
                after: after.to_mask(),
            });
        }
    }
}

fn steer(plan: &mut Plan, topology: &Topology, card: &Nic, places: &BTreeMap<u32, u32>, may: &Cpus, is_moved: bool) {
    let queues = card.receive.len();
    let cpus = topology.online().without(&topology.isolated);
    if queues == 0 || queues >= cpus.len() {
        return;
    }
    // Where the interrupts will be.
    let goes = |queue: u32| {
        let now = || card.receiving().find(|irq| irq.queue == queue).and_then(|irq| irq.lands()?.first());
        match is_moved {
            true => places.get(&queue).copied(),
            false => now().or_else(|| places.get(&queue).copied()),
        }
    };
    let interrupted: Cpus = card.receive.iter().filter_map(|queue| goes(queue.index)).collect();
    let helpers = may.without(&interrupted);
    if helpers.is_empty() {
        return;
    }
    let flows = (FLOWS / queues as u64).max(1);
    let flows = flows.checked_ilog2().map_or(1, |bits| 1_u64 << bits);
    for queue in &card.receive {
        let node = goes(queue.index).and_then(|cpu| topology.get(cpu)?.node);
        let near: Cpus = helpers
            .iter()
            .filter(|cpu| node.is_none() || topology.get(*cpu).is_some_and(|cpu| cpu.node == node))
            .collect();
        let to = if near.is_empty() { helpers.clone() } else { near };
        let file = |file: &str| format!("/sys/class/net/{}/queues/rx-{}/{file}", card.name, queue.index);
        if let Some(before) = queue.rps.as_ref().filter(|before| **before != to) {
            plan.steps.push(Step { name: file("rps_cpus"), before: before.to_mask(), after: to.to_mask() });
        }
        if let Some(before) = queue.flows.filter(|before| *before != flows) {
            plan.steps.push(Step { name: file("rps_flow_cnt"), before: before.to_string(), after: flows.to_string() });
        }
        plan.handed.push(Handed { interface: card.name.clone(), queue: queue.index, to, flows });
    }
}

#[cfg(test)]
mod tests;
