use super::*;
use crate::facts::network::queues::{Interrupt, ReceiveQueue};
use sickbay_formats::queue_irq::Role;

/// CPUs in the order of clouds: siblings next to each other, nodes one after the other.
fn topology(cpus: u32, threads: u32, nodes: u32) -> Topology {
    let cpu = |id: u32| Cpu { id, core: id / threads * threads, node: (nodes > 1).then(|| id / (cpus / nodes)) };
    Topology { cpus: (0..cpus).map(cpu).collect(), isolated: Cpus::default() }
}

fn irq(number: u32, name: String, role: Role, queue: u32, at: &str) -> Interrupt {
    let at = Cpus::list(at).expect("a list");
    Interrupt {
        number,
        name,
        role,
        queue,
        affinity: Some(at.clone()),
        effective: Some(at),
        is_managed: false,
        counts: Vec::new(),
    }
}

/// A card as virtio has them: a pair of interrupts for each queue, which go where these say.
fn virtio(at: &[(&str, &str)]) -> Nic {
    let mut nic = Nic { name: "eth0".into(), send: at.len() as u32, ..Nic::default() };
    for (index, (receive, send)) in (0_u32..).zip(at) {
        let number = 27 + index * 2;
        nic.receive.push(ReceiveQueue { index, rps: Some(Cpus::default()), flows: Some(0) });
        nic.interrupts.push(irq(number, format!("virtio2-input.{index}"), Role::Receive, index, receive));
        nic.interrupts.push(irq(number + 1, format!("virtio2-output.{index}"), Role::Send, index, send));
    }
    nic
}

/// A card with one interrupt for both directions of a queue, all on CPU 0.
fn combined(queues: u32) -> Nic {
    let mut nic = Nic { name: "eth0".into(), send: queues, ..Nic::default() };
    for index in 0..queues {
        nic.receive.push(ReceiveQueue { index, rps: Some(Cpus::default()), flows: Some(0) });
        nic.interrupts.push(irq(100 + index, format!("eth0-TxRx-{index}"), Role::Both, index, "0"));
    }
    nic
}

fn interrupts() -> Wishes {
    Wishes { interrupts: true, ..Wishes::default() }
}

fn steer() -> Wishes {
    Wishes { steer: true, ..Wishes::default() }
}

fn steps(plan: &Plan) -> Vec<(&str, &str, &str)> {
    plan.steps.iter().map(|step| (step.name.as_str(), step.before.as_str(), step.after.as_str())).collect()
}

fn cpus(plan: &Plan) -> Vec<u32> {
    plan.placed.iter().map(|placed| placed.cpu).collect()
}

#[test]
fn four_queues_on_two_of_four_cpus_as_in_the_book() {
    // Affinity 1, 3, 1, 3; what is well stays, the others get the threads that are left.
    let card = virtio(&[("1", "1"), ("3", "3"), ("1", "1"), ("3", "3")]);
    let plan = plan(&topology(4, 2, 1), &[&card], Some(0), &interrupts());
    let list = |number: u32| format!("/proc/irq/{number}/smp_affinity_list");
    let wanted = [(list(31), "1", "0"), (list(32), "1", "0"), (list(33), "3", "2"), (list(34), "3", "2")];
    assert_eq!(
        steps(&plan),
        wanted.iter().map(|(name, before, after)| (name.as_str(), *before, *after)).collect::<Vec<_>>()
    );
    assert_eq!(cpus(&plan), [1, 1, 3, 3, 0, 0, 2, 2]);
    // Done, there is nothing left to do.
    let card = virtio(&[("1", "1"), ("3", "3"), ("0", "0"), ("2", "2")]);
    assert!(super::plan(&topology(4, 2, 1), &[&card], Some(0), &interrupts()).steps.is_empty());
}

#[test]
fn the_pair_of_a_queue_is_on_one_cpu() {
    // The first host of the book: input 0, 2, 0, 2 and output 1, 3, 1, 3.
    let card = virtio(&[("0", "1"), ("2", "3"), ("0", "1"), ("2", "3")]);
    let plan = plan(&topology(4, 2, 1), &[&card], Some(0), &interrupts());
    assert_eq!(cpus(&plan), [0, 0, 2, 2, 1, 1, 3, 3]);
    assert_eq!(plan.placed.iter().filter(|placed| !placed.is_there).count(), plan.steps.len());
}

#[test]
fn four_queues_of_eight_cpus_get_cores_of_their_own() {
    let plan_of = |card: &Nic, wishes: &Wishes| cpus(&plan(&topology(8, 2, 1), &[card], Some(0), wishes));
    assert_eq!(plan_of(&combined(4), &interrupts()), [0, 2, 4, 6]);
    // As the book's second machine has them: 5, 7, 1, 3 are four cores, and stay.
    let mut card = combined(4);
    for (irq, at) in card.interrupts.iter_mut().zip(["5", "7", "1", "3"]) {
        irq.effective = Cpus::list(at);
        irq.affinity = irq.effective.clone();
    }
    assert_eq!(plan_of(&card, &interrupts()), [5, 7, 1, 3]);
    // CPU 0 left to others: its sibling is the last to be taken.
    let leave = Wishes { leave_cpu0: true, ..interrupts() };
    assert_eq!(plan_of(&combined(4), &leave), [1, 2, 4, 6]);
    assert_eq!(plan_of(&combined(8), &leave), [1, 2, 4, 6, 3, 5, 7, 1]);
}

#[test]
fn more_queues_than_cpus_share_them_evenly() {
    let plan = plan(&topology(2, 1, 1), &[&combined(4)], Some(0), &interrupts());
    assert_eq!(cpus(&plan), [0, 0, 1, 1]);
    // One CPU, whatever is wished.
    let leave = Wishes { leave_cpu0: true, ..interrupts() };
    assert_eq!(cpus(&super::plan(&topology(1, 1, 1), &[&combined(2)], Some(0), &leave)), [0, 0]);
}

#[test]
fn a_card_stays_on_its_node() {
    let mut card = combined(8);
    card.node = Some(1);
    let topology = topology(32, 2, 2);
    let plan_of = |card: &Nic| cpus(&plan(&topology, &[card], Some(0), &interrupts()));
    assert_eq!(plan_of(&card), [16, 18, 20, 22, 24, 26, 28, 30]);
    // More queues than the node has CPUs: siblings, then the other node.
    let mut card = combined(20);
    card.node = Some(1);
    let placed = plan_of(&card);
    assert!(placed.iter().take(16).all(|cpu| *cpu >= 16) && placed.iter().skip(16).all(|cpu| *cpu < 16), "{placed:?}");
    assert_eq!(placed.iter().copied().collect::<Cpus>().len(), 20);
}

#[test]
fn two_cards_do_not_begin_on_the_same_cpu() {
    let plan = plan(&topology(8, 2, 1), &[&combined(2), &combined(2)], Some(0), &interrupts());
    assert_eq!(cpus(&plan), [0, 2, 4, 6]);
}

#[test]
fn cpus_that_are_off_or_kept_free_get_nothing() {
    let mut topology = topology(8, 1, 1);
    topology.cpus.retain(|cpu| cpu.id != 1 && cpu.id != 4);
    topology.isolated = Cpus::list("6-7").expect("a list");
    let banned = Wishes { banned: Cpus::list("0").expect("a list"), ..interrupts() };
    assert_eq!(cpus(&plan(&topology, &[&combined(4)], Some(0), &interrupts())), [0, 2, 3, 5]);
    assert_eq!(cpus(&plan(&topology, &[&combined(4)], Some(0), &banned)), [2, 3, 5, 2]);
    let all = Wishes { banned: Cpus::list("0-7").expect("a list"), ..interrupts() };
    assert_eq!(plan(&topology, &[&combined(4)], Some(0), &all), Plan::default());
    // Only those that are online are in the mask.
    let plan = plan(&topology, &[&combined(1)], Some(0), &steer());
    assert_eq!(plan.handed.first().map(|handed| handed.to.to_string()), Some("2-3,5".into()));
}

#[test]
fn what_the_kernel_alone_places_is_left_to_it() {
    let mut card = combined(2);
    card.interrupts.iter_mut().for_each(|irq| irq.is_managed = true);
    let plan = plan(&topology(4, 1, 1), &[&card], Some(0), &interrupts());
    assert_eq!((plan.steps.len(), plan.placed.len(), plan.managed), (0, 0, vec![100, 101]));
}

#[test]
fn queues_that_are_not_in_use_are_not_planned() {
    let mut card = combined(8);
    card.receive.truncate(2);
    card.send = 2;
    assert_eq!(cpus(&plan(&topology(8, 2, 1), &[&card], Some(0), &interrupts())), [0, 2]);
}

#[test]
fn one_queue_without_msi_hands_its_packets_on() {
    let mut card = combined(1);
    card.interrupts = vec![irq(11, "eth0".into(), Role::Both, 0, "0")];
    let plan = plan(&topology(4, 2, 1), &[&card], Some(0), &steer());
    let queue = |file: &str| format!("/sys/class/net/eth0/queues/rx-0/{file}");
    let (cpus, count) = (queue("rps_cpus"), queue("rps_flow_cnt"));
    let wanted =
        [(cpus.as_str(), "0", "e"), (count.as_str(), "0", "32768"), ("net.core.rps_sock_flow_entries", "0", "32768")];
    assert_eq!(steps(&plan), wanted);
}

#[test]
fn the_tables_of_flows_add_up() {
    let plan_of = |queues: u32, entries: u64| plan(&topology(64, 2, 1), &[&combined(queues)], Some(entries), &steer());
    for (queues, each) in [(1, 32768), (3, 8192), (4, 8192), (6, 4096), (16, 2048)] {
        let plan = plan_of(queues, 0);
        assert!(plan.handed.iter().all(|handed| handed.flows == each), "{queues}: {:?}", plan.handed);
        assert!(plan.handed.iter().map(|handed| handed.flows).sum::<u64>() <= FLOWS);
    }
    // A larger table is not made smaller.
    assert_eq!((plan_of(4, 65536).flow_entries, plan_of(4, 1024).flow_entries), (None, Some(32768)));
    // A kernel without the parameter.
    let plan = plan(&topology(64, 2, 1), &[&combined(4)], None, &steer());
    assert_eq!(plan.flow_entries, None);
}

#[test]
fn masks_of_many_cpus() {
    let steps_of = |cpus: u32, nodes: u32, node: Option<u32>| {
        let mut card = combined(1);
        card.node = node;
        let wishes = Wishes { interrupts: true, ..steer() };
        let plan = plan(&topology(cpus, 2, nodes), &[&card], Some(32768), &wishes);
        plan.steps.into_iter().find(|step| step.name.ends_with("rps_cpus")).map(|step| step.after)
    };
    assert_eq!(steps_of(8, 1, None).as_deref(), Some("fe"));
    assert_eq!(steps_of(32, 1, None).as_deref(), Some("fffffffe"));
    assert_eq!(steps_of(64, 1, None).as_deref(), Some("ffffffff,fffffffe"));
    // The other half of 256 CPUs is another node.
    let all = "ffffffff,ffffffff,ffffffff,fffffffe,00000000,00000000,00000000,00000000";
    assert_eq!(steps_of(256, 2, Some(1)).as_deref(), Some(all));
}

#[test]
fn where_each_cpu_has_a_queue_nothing_is_handed_on() {
    let wishes = Wishes { interrupts: true, ..steer() };
    let plan = plan(&topology(64, 2, 1), &[&combined(64)], Some(0), &wishes);
    assert!(plan.handed.is_empty() && plan.flow_entries.is_none());
    assert_eq!(plan.placed.iter().map(|placed| placed.cpu).collect::<Cpus>().len(), 64);
    // Two queues of two CPUs with all interrupts: nobody is left to help.
    let plan = super::plan(&topology(2, 1, 1), &[&combined(2)], Some(0), &wishes);
    assert!(plan.handed.is_empty());
}

#[test]
fn two_hundred_and_fifty_six_queues() {
    let mut card = combined(256);
    card.node = Some(0);
    let plan = plan(&topology(256, 2, 4), &[&card], Some(0), &interrupts());
    assert_eq!(plan.placed.iter().map(|placed| placed.cpu).collect::<Cpus>().len(), 256);
    // Cores of the card's own node come first.
    assert_eq!(cpus(&plan).into_iter().take(4).collect::<Vec<_>>(), [0, 2, 4, 6]);
}

#[test]
fn an_affinity_that_leaves_it_open_is_narrowed() {
    let mut card = combined(2);
    for irq in &mut card.interrupts {
        (irq.affinity, irq.effective) = (Cpus::list("0-3"), None);
    }
    let plan = plan(&topology(4, 1, 1), &[&card], Some(0), &interrupts());
    let wanted = [("/proc/irq/100/smp_affinity_list", "0-3", "0"), ("/proc/irq/101/smp_affinity_list", "0-3", "1")];
    assert_eq!(steps(&plan), wanted);
}

#[test]
fn what_goes_out_follows_its_interrupts() {
    // Four queues on eight threads of four cores, all on the first two; each CPU sends on the queue of its number.
    let mut nic = virtio(&[("0", "0"), ("0", "0"), ("1", "1"), ("1", "1")]);
    let masks = [[0, 4], [1, 5], [2, 6], [3, 7]];
    nic.xps = (0..).zip(masks).map(|(queue, cpus)| (queue, cpus.into_iter().collect())).collect();
    let plan = plan(&topology(8, 2, 1), &[&nic], None, &interrupts());
    let goes: BTreeMap<u32, u32> = plan
        .placed
        .iter()
        .filter(|placed| placed.name.contains("output"))
        .zip(0..)
        .map(|(placed, queue)| (queue, placed.cpu))
        .collect();
    let sends: Vec<&Step> = plan.steps.iter().filter(|step| step.name.ends_with("xps_cpus")).collect();
    assert_eq!(sends.len(), 4);
    let mut all = std::collections::BTreeSet::new();
    for (step, queue) in sends.iter().zip(0..) {
        assert_eq!(step.name, format!("/sys/class/net/eth0/queues/tx-{queue}/xps_cpus"));
        let after = Cpus::mask(&step.after).expect("a mask");
        let cpu = goes[&queue];
        // Both threads of its core, and nobody else's.
        assert_eq!(after.iter().collect::<Vec<_>>(), [cpu / 2 * 2, cpu / 2 * 2 + 1]);
        all.extend(after.iter());
    }
    assert_eq!(all.len(), 8);
    // Nobody has said so: nothing is said.
    nic.xps.clear();
    let plan = super::plan(&topology(8, 2, 1), &[&nic], None, &interrupts());
    assert!(!plan.steps.iter().any(|step| step.name.contains("xps")));
}

#[test]
fn as_many_processors_as_there_may_be() {
    for cpus in [1_u32, 2, 31, 32, 33, 63, 64, 65, 128, 255, 256] {
        let nic = combined(cpus.min(64));
        for leave_cpu0 in [false, true] {
            let wishes = Wishes { leave_cpu0, steer: true, interrupts: true, ..Wishes::default() };
            let plan = plan(&topology(cpus, if cpus % 2 == 0 { 2 } else { 1 }, 1), &[&nic], Some(0), &wishes);
            assert!(plan.placed.iter().all(|placed| placed.cpu < cpus), "{cpus}");
            assert!(!leave_cpu0 || cpus == 1 || plan.placed.iter().all(|placed| placed.cpu != 0), "{cpus}");
            for step in plan.steps.iter().filter(|step| step.name.ends_with("rps_cpus")) {
                let to = Cpus::mask(&step.after).expect("a mask");
                assert!(to.iter().all(|cpu| cpu < cpus && !(leave_cpu0 && cpu == 0)), "{cpus}: {}", step.after);
                // Groups of 32, as the kernel reads and writes them.
                assert!(step.after.split(',').skip(1).all(|group| group.len() == 8), "{}", step.after);
            }
        }
    }
}
