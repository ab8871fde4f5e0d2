//! Queues and interrupts of this machine's own cards, read only.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sickbay::facts::Facts;
use sickbay::facts::cpu::topology::Topology;
use sickbay::facts::network::queues::Nics;
use sickbay::facts::network::traffic::Traffic;
use sickbay::mend::irq_plan::{Wishes, plan};
use sickbay_target::{Access, Target, kernel_path};

fn facts() -> Facts {
    let target = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]);
    let target = target.and_then(Target::taken_for_running).expect("this machine");
    Facts::new(Arc::new(target), None)
}

/// The CPUs that are online, by getconf(1).
fn online() -> usize {
    let told = std::process::Command::new("getconf").arg("_NPROCESSORS_ONLN").output().expect("getconf");
    String::from_utf8_lossy(&told.stdout).trim().parse().expect("a number")
}

#[test]
fn a_plan_for_this_machine_can_be_carried_out() {
    let facts = facts();
    let (nics, topology) = (facts.get::<Nics>().expect("cards"), facts.get::<Topology>().expect("CPUs"));
    assert_eq!(topology.cpus.len(), online());
    let cards: Vec<_> = nics.cards.iter().collect();
    for leave_cpu0 in [false, true] {
        let wishes = Wishes { leave_cpu0, interrupts: true, steer: true, ..Wishes::default() };
        let plan = plan(&topology, &cards, nics.flow_entries, &wishes);
        for step in &plan.steps {
            let path = kernel_path(&step.name).unwrap_or_else(|| panic!("{} may be set", step.name));
            let now = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let plain = |text: &str| sickbay_target::plain_value(text);
            assert_eq!(plain(&now), plain(&step.before), "{}", step.name);
        }
        let online = topology.online();
        assert!(plan.placed.iter().all(|placed| online.has(placed.cpu)));
        assert!(plan.handed.iter().all(|handed| handed.to.is_within(&online) && !handed.to.is_empty()));
    }
    // What the kernel names after a card is found as the card's.
    let table = std::fs::read_to_string("/proc/interrupts").unwrap_or_default();
    for card in &cards {
        let named =
            table.lines().filter(|line| line.ends_with(&format!("{}-TxRx-0", card.name)) || line.ends_with(&card.name));
        assert!(named.count() <= card.interrupts.len(), "{card:?}");
    }
}

#[test]
fn a_window_of_this_machine_adds_up() {
    let facts = facts().with_window(Some(Duration::from_millis(600)));
    let traffic = facts.get::<Traffic>().expect("a window");
    let seen = traffic.0.as_ref().expect("it was asked for");
    assert!(seen.span > 0.5 && !seen.cpus.is_empty() && seen.knows_softnet, "{seen:?}");
    for one in &seen.cpus {
        assert!(one.soft <= one.busy + 0.05 && (0.0..=1.0).contains(&one.busy), "{one:?}");
    }
    assert!(seen.flow("lo").is_some_and(|flow| flow.received >= 0.0 && flow.dropped >= 0.0));
}
