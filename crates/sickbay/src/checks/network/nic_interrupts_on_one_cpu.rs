//! The packets of a card come to fewer CPUs than there are.

use sickbay_formats::cpus::Cpus;

use crate::facts::Facts;
use crate::facts::cpu::topology::Topology;
use crate::facts::network::irq_owner::Owners;
use crate::facts::network::queues::Nics;
use crate::facts::network::steering::{Reason, Steering, Trouble, history, lands};
use crate::facts::network::traffic::Traffic;
use crate::mend::irq_plan::{Wishes, plan};
use crate::mend::irq_repair::offer;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the network is slow or drops packets while `top` shows idle CPUs; in `mpstat -P ALL 1` one CPU has a high
    /// `%soft`, or `ksoftirqd/0` is on top.
    ///
    /// ## What it finds
    /// A card whose queues interrupt the same CPU, or that has one queue, while that CPU spends most of its time on packets and
    /// others are free. Where interrupts go is told by their effective affinity, and how busy CPUs are by what they did while
    /// it watched; counts in `/proc/interrupts` are history since boot, and often say something else.
    ///
    /// ## Why it matters
    /// Packets are taken in by the CPU that the card interrupts. What it has no time for waits, and is dropped when the ring
    /// of the card or the backlog of the CPU is full.
    ///
    /// ## What the repair does
    /// Puts each queue on a CPU of its own: on the node of the card, on different cores first, both directions of a queue
    /// together. What is well stays. Where the card has one queue for many CPUs, its packets are handed on to CPUs that it does
    /// not interrupt (RPS), with a table of flows (RFS). Both now and at every boot: by a unit that finds interrupts by their
    /// names, by a rule of udev, and if irqbalance runs by banning these interrupts in its file. It is measured afterwards, and
    /// taken back if it does not help.
    ///
    /// ## By hand
    /// ```sh
    /// # where the interrupts of eth0 go
    /// for n in $(ls /sys/class/net/eth0/device/msi_irqs /sys/class/net/eth0/device/../msi_irqs 2>/dev/null | grep -x '[0-9]*'); do
    ///   echo "$n $(cat /proc/irq/$n/smp_affinity_list) $(cat /proc/irq/$n/effective_affinity_list)"; done
    /// # put one on CPU 2; hand packets of a queue on to CPUs 1 to 3
    /// echo 2 > /proc/irq/NUMBER/smp_affinity_list
    /// echo e > /sys/class/net/eth0/queues/rx-0/rps_cpus
    /// ```
    "nic-interrupts-on-one-cpu", Network, seed = ["C8"], proves = [], "the packets of a card come to too few CPUs"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let steering = facts.get::<Steering>()?;
    for trouble in &steering.0 {
        if matches!(trouble.reason, Reason::Crowded | Reason::Few) {
            report(facts, found, trouble)?;
        }
    }
    Ok(())
}

fn report(facts: &Facts, found: &mut Findings, trouble: &Trouble) -> Verdict {
    let card = &trouble.card;
    let (name, queues) = (card.name.as_str(), card.queues());
    let lands_on = trouble.lands.to_string();
    let (hot, share) = (trouble.hot.to_string(), percent(trouble.share));
    let (free, cpus, busy) = (trouble.free.to_string(), trouble.lands.len(), trouble.hot.len());
    let helpers = trouble.free.len();
    let text = match trouble.reason {
        Reason::Crowded => tr!(
            "{queues} queues of {name} interrupt only {cpus?CPU|CPUs} {lands_on}; {busy?CPU|CPUs} {hot} {busy?spends|spend} up to {share} % of the time on packets, and {helpers?CPU|CPUs} {free} {helpers?is|are} free",
            queues,
            name,
            cpus,
            lands_on = lands_on.as_str(),
            busy,
            hot,
            share,
            helpers,
            free
        ),
        _ => tr!(
            "all packets of {name} come to {cpus?CPU|CPUs} {lands_on}, which {cpus?spends|spend} up to {share} % of the time on them, and it has no more queues; {helpers?CPU|CPUs} {free} {helpers?is|are} free",
            name,
            cpus,
            lands_on = lands_on.as_str(),
            share,
            helpers,
            free
        ),
    };
    let finding = found.warning(text);
    finding.at_subject(Subject::Interface(name.to_owned())).subject(Subject::Interface(name.to_owned()));
    for cpu in trouble.hot.iter() {
        finding.explains(Subject::Cpu(cpu));
    }
    finding.why(tr!("a CPU that has no time left lets packets wait, and drops them when its queues are full, however idle the others are"));
    finding
        .extent(u64::from(share))
        .detail("interface", name)
        .detail("queues", queues)
        .detail("cpus", lands_on.as_str());
    let traffic = facts.get::<Traffic>()?;
    for irq in card.receiving() {
        let list = |cpus: Option<&Cpus>| cpus.map_or("?".to_owned(), Cpus::to_string);
        let now = list(irq.affinity.as_ref());
        finding.evidence(format!("/proc/irq/{}/smp_affinity_list", irq.number), format!("{now} ({})", irq.name));
        if let Some(seen) = &traffic.0 {
            let grown: u64 = seen.interrupts(irq.number).iter().map(|(_, count)| *count).sum();
            let goes = lands(irq, seen).to_string();
            finding.verbose_note(tr!(
                "{interrupt} ({number}) goes to CPU {goes}: {rate} a second",
                interrupt = irq.name.as_str(),
                number = irq.number,
                goes,
                rate = (grown as f64 / seen.span).round() as u64
            ));
        }
    }
    let before = history(card);
    if !before.is_empty() && before != trouble.lands {
        finding.note(tr!(
            "since boot most of its interrupts went to CPU {before}; now they go to CPU {lands_on}: /proc/interrupts counts what is over, too",
            before = before.to_string(),
            lands_on = lands_on.as_str()
        ));
    }
    let topology = facts.get::<Topology>()?;
    if topology.cores() < topology.cpus.len()
        && trouble.lands.iter().any(|cpu| topology.siblings(cpu).iter().any(|other| trouble.lands.has(other)))
    {
        finding.note(tr!("some of these CPUs are threads of one core, and share its time"));
    }
    let nics = facts.get::<Nics>()?;
    let owners = facts.get::<Owners>()?;
    let banned = owners.irqbalance.as_ref().map(|balance| balance.banned.clone()).unwrap_or_default();
    let is_crowded = trouble.reason == Reason::Crowded;
    let wishes = Wishes { leave_cpu0: false, interrupts: is_crowded, steer: !is_crowded, banned };
    offer(facts, finding, &plan(&topology, &[card], nics.flow_entries, &wishes))
}

fn percent(share: f64) -> u32 {
    (share * 100.0).round().clamp(0.0, 100.0) as u32
}
