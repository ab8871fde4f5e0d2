//! A CPU drops packets that have come in.

use crate::facts::Facts;
use crate::facts::network::queues::Nics;
use crate::facts::network::traffic::{Seen, Traffic};
use crate::facts::system::kernel::parameter;
use crate::mend::irq_repair;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: retransmissions and lost UDP packets, while the card and the switch count no errors; the second column of
    /// `/proc/net/softnet_stat` grows.
    ///
    /// ## What it finds
    /// Packets that CPUs dropped while it watched because their backlog (`net.core.netdev_max_backlog`) was full; and CPUs whose
    /// budget for packets (`net.core.netdev_budget`) ran out again and again while a card dropped some. Rows of that file are told
    /// to CPUs by their numbers: a CPU that is offline has none. What was counted before is history.
    ///
    /// ## Why it matters
    /// A dropped packet is lost: TCP sends it again and slows down, UDP does not. The backlog takes what is handed from one CPU to
    /// another (RPS) and what comes from virtual interfaces (veth, loopback, tunnels).
    ///
    /// ## What the repair does
    /// Sets a backlog four times as long, now and at every boot, if the CPU has time left: then it was a burst. A CPU that has
    /// none drops packets with any backlog, only later.
    ///
    /// ## By hand
    /// ```sh
    /// cat /proc/net/softnet_stat; sleep 1; cat /proc/net/softnet_stat
    /// sysctl -w net.core.netdev_max_backlog=4000
    /// ```
    "softnet-drops", Network, seed = ["C8"], proves = [], "CPUs drop packets that have come in"
}

const BACKLOG: &str = "net.core.netdev_max_backlog";
const BUDGET: &str = "net.core.netdev_budget";
/// No backlog needs to be longer: it would be a second old.
const LONGEST: u64 = 65536;
/// A CPU this busy has no time for more.
const SATURATED: f64 = 0.9;
/// The budget of a kernel that nobody has tuned.
const USUAL_BUDGET: u64 = 300;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let traffic = facts.get::<Traffic>()?;
    let Some(seen) = &traffic.0 else { return Ok(()) };
    if !seen.knows_softnet {
        return Err(Skip::NotApplicable(tr!(
            "{path} cannot be read, or not be told to CPUs",
            path = "/proc/net/softnet_stat"
        )));
    }
    dropped(facts, found, seen)?;
    squeezed(facts, found, seen)
}

fn dropped(facts: &Facts, found: &mut Findings, seen: &Seen) -> Verdict {
    let drops: Vec<_> = seen.cpus.iter().filter(|one| one.dropped > 0).collect();
    let Some(most) = drops.iter().max_by_key(|one| one.dropped) else { return Ok(()) };
    let count: u64 = drops.iter().fold(0, |sum, one| sum.saturating_add(one.dropped));
    let limited: u64 = drops.iter().fold(0, |sum, one| sum.saturating_add(one.flow_limit));
    let backlog = parameter(facts, BACKLOG)?;
    let seconds = seen.span.round().max(1.0) as u64;
    let cpus = drops.len();
    let list = drops.iter().map(|one| one.cpu).collect::<sickbay_formats::cpus::Cpus>().to_string();
    let finding = found.warning(match backlog {
        Some(backlog) => tr!(
            "{cpus?CPU|CPUs} {list} dropped {count} {count?packet|packets} in {seconds} s: the backlog of {backlog} packets was full",
            cpus,
            list,
            count,
            seconds,
            backlog
        ),
        None => tr!("{cpus?CPU|CPUs} {list} dropped {count} {count?packet|packets} in {seconds} s: the backlog was full", cpus, list, count, seconds),
    });
    finding.at_path("/proc/net/softnet_stat").subject(Subject::Named("backlog of packets".to_owned()));
    for one in &drops {
        finding.about(Subject::Cpu(one.cpu));
        let (cpu, dropped, processed) = (one.cpu, one.dropped, one.processed);
        finding.verbose_note(tr!("CPU {cpu} dropped {dropped} and took in {processed}", cpu, dropped, processed));
    }
    finding.why(tr!("they are lost: TCP sends them again and slows down, UDP does not"));
    finding.extent(count).detail("count", count).detail("backlog", backlog).detail("cpus", cpus);
    if limited.saturating_mul(2) > count {
        finding.note(tr!("{limited} of them were of one large flow each, which the flow limit (net.core.flow_limit_cpu_bitmap) cuts so that others get through", limited));
        return Ok(());
    }
    let steered: u64 = drops.iter().map(|one| one.steered).fold(0, u64::saturating_add);
    finding.note(match steered {
        0 => tr!("nothing was handed on by other CPUs (RPS): they came from virtual interfaces, such as veth, tunnels or loopback"),
        _ => tr!("other CPUs handed packets on to these (RPS)"),
    });
    let is_saturated = drops.iter().any(|one| one.busy >= SATURATED);
    let busy = (most.busy * 100.0).round().clamp(0.0, 100.0) as u64;
    match backlog.filter(|backlog| !is_saturated && (1..LONGEST).contains(backlog)) {
        Some(backlog) => {
            let value = backlog.saturating_mul(4).clamp(1000, LONGEST).to_string();
            let mut changes = irq_repair::parameter(facts, BACKLOG, &value)?;
            changes.push(Change::kernel(BACKLOG, backlog.to_string(), value.as_str()));
            finding.repair(
                Risk::Safe,
                tr!("set {key} to {value}, now and at boot", key = BACKLOG, value = value.as_str()),
                changes,
            );
        }
        None => {
            finding.by_hand(tr!("CPU {cpu} is {busy} % busy: give its packets more CPUs, or take other work from it; a longer backlog only drops later", cpu = most.cpu, busy));
        }
    }
    Ok(())
}

/// So often a second, that it is no accident.
const OFTEN: f64 = 10.0;

fn squeezed(facts: &Facts, found: &mut Findings, seen: &Seen) -> Verdict {
    let Some(most) = seen.cpus.iter().max_by_key(|one| one.squeezed) else { return Ok(()) };
    let is_often = most.squeezed as f64 / seen.span >= OFTEN && most.busy < SATURATED;
    if !is_often {
        return Ok(());
    }
    let nics = facts.get::<Nics>()?;
    let drops = |name: &str| seen.flow(name).map_or(0.0, |flow| flow.dropped);
    let worst = nics.cards.iter().max_by(|one, other| drops(&one.name).total_cmp(&drops(&other.name)));
    let Some(card) = worst.filter(|card| drops(&card.name) >= 1.0) else { return Ok(()) };
    let Some(budget) = parameter(facts, BUDGET)?.filter(|budget| *budget <= USUAL_BUDGET) else { return Ok(()) };
    let (name, cpu, count) = (card.name.as_str(), most.cpu, most.squeezed);
    let finding = found.note(tr!(
        "CPU {cpu} used up its budget of {budget} packets {count} {count?time|times} in {seconds} s with packets left, while {name} dropped {lost} a second",
        cpu,
        budget,
        count,
        seconds = seen.span.round().max(1.0) as u64,
        name,
        lost = drops(name).round() as u64
    ));
    finding.at_parameter(BUDGET).subject(Subject::Named("budget of packets".to_owned())).about(Subject::Cpu(cpu));
    finding.why(tr!("what is left waits in the ring of the card, and is dropped when that is full"));
    finding.extent(count).detail("count", count).detail("budget", budget);
    let value = budget.saturating_mul(2).to_string();
    let mut changes = irq_repair::parameter(facts, BUDGET, &value)?;
    changes.push(Change::kernel(BUDGET, budget.to_string(), value.as_str()));
    finding.repair(
        Risk::Risky,
        tr!("set {key} to {value}, now and at boot", key = BUDGET, value = value.as_str()),
        changes,
    );
    Ok(())
}
