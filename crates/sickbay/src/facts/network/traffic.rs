//! What the CPUs did with packets while somebody watched.
//!
//! Counters since the start say nothing of now; and a watch of a second is only taken where a look of a tenth of that shows
//! that there is something to see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sickbay_formats::procfs::stat::Times;

use crate::facts::glimpse::Glimpse;
use crate::facts::time::Glance;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::sample::{Sample, Window};
use crate::tr;

/// A window that is shorter tells nothing of a rate.
const SHORTEST: Duration = Duration::from_millis(400);

/// What one CPU did, as shares of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Use {
    /// Its number.
    pub cpu: u32,
    /// Anything at all; what the hypervisor took is in it.
    pub busy: f64,
    /// Interrupts, and what they leave for later: packets, most of all.
    pub soft: f64,
    /// Packets dropped, for its backlog was full.
    pub dropped: u64,
    /// Packets dropped for the flow limit.
    pub flow_limit: u64,
    /// How often its budget ran out with packets left.
    pub squeezed: u64,
    /// Packets that it took in.
    pub processed: u64,
    /// Packets that other CPUs steered to it.
    pub steered: u64,
}

/// What a card did, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    /// Packets that came in.
    pub received: f64,
    /// Packets that went out.
    pub sent: f64,
    /// Packets that came in and were dropped.
    pub dropped: f64,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// The samples.
    pub window: Arc<Window>,
    /// For how long, in seconds.
    pub span: f64,
    /// Each CPU that was online all the time.
    pub cpus: Vec<Use>,
    /// Whether the kernel has `/proc/net/softnet_stat`, and its rows could be told to CPUs.
    pub knows_softnet: bool,
}

/// What was seen; nothing where a first look showed that no CPU is busy with packets and none is dropped.
#[derive(Debug)]
pub struct Traffic(pub Option<Seen>);

impl Fact for Traffic {
    fn gather(facts: &Facts) -> Result<Traffic, Skip> {
        let glance = facts.get::<Glance>()?;
        let is_asked = facts.window().is_some() || glance.shows_load();
        if facts.target().is_this_machine() && !is_asked {
            let glimpse = facts.get::<Glimpse>()?;
            if !Seen::of(Arc::clone(&glimpse.0)).is_none_or(|seen| seen.shows_something()) {
                return Ok(Traffic(None));
            }
        }
        let window = facts.get::<Window>()?;
        if window.samples.len() < 2 {
            return Err(Skip::NotApplicable(tr!("there is one moment only: what grows cannot be told")));
        }
        let has_network = |sample: &Sample| sample.softnet.is_some() || sample.links.is_some();
        if !window.samples.iter().any(has_network) {
            return Err(Skip::NotApplicable(tr!("nothing was seen of the network")));
        }
        if window.span().is_none_or(|span| span < SHORTEST) {
            return Err(Skip::Unknown(tr!("the clock stood still or went back while it was watched")));
        }
        Ok(Traffic(Seen::of(window)))
    }
}

impl Seen {
    /// What follows from samples; nothing where there are no times of CPUs.
    pub fn of(window: Arc<Window>) -> Option<Seen> {
        let span = window.span()?.as_secs_f64();
        let (first, last) = (window.samples.first()?, window.last()?);
        let mut cpus: Vec<Use> = Vec::new();
        let before: BTreeMap<u32, Times> = first.stat.as_ref()?.cpus.iter().copied().collect();
        for (cpu, after) in &last.stat.as_ref()?.cpus {
            let Some(before) = before.get(cpu) else { continue };
            cpus.extend(used(*cpu, before, after));
        }
        let mut seen = Seen { window: Arc::clone(&window), span, cpus, knows_softnet: false };
        if let (Some(before), Some(after)) = (softnet(first), softnet(last)) {
            seen.knows_softnet = true;
            for one in &mut seen.cpus {
                let (Some(before), Some(after)) = (before.get(&one.cpu), after.get(&one.cpu)) else { continue };
                // Counters of 32 bits wrap: then nothing is known, and nothing said.
                let grown = |index: usize| match (before.get(index), after.get(index)) {
                    (Some(before), Some(after)) => after.checked_sub(*before).unwrap_or(0),
                    _ => 0,
                };
                (one.processed, one.dropped, one.squeezed) = (grown(0), grown(1), grown(2));
                (one.steered, one.flow_limit) = (grown(3), grown(4));
            }
        }
        Some(seen)
    }

    fn shows_something(&self) -> bool {
        let links = self.window.last().and_then(|last| last.links.as_ref());
        let drops = links.into_iter().flatten().any(|link| {
            std::str::from_utf8(&link.name).is_ok_and(|name| self.flow(name).is_some_and(|flow| flow.dropped > 0.0))
        });
        let at_once = self.cpus.iter().any(|one| one.soft >= 0.25 || one.dropped > 0 || one.flow_limit > 0);
        let refused = self.links_with_counters().any(|link| !self.exceeded(link).is_empty());
        at_once || drops || refused
    }

    /// What one CPU did.
    pub fn cpu(&self, cpu: u32) -> Option<&Use> {
        self.cpus.iter().find(|one| one.cpu == cpu)
    }

    /// By how much an interrupt grew, by CPU.
    pub fn interrupts(&self, number: u32) -> Vec<(u32, u64)> {
        let name = number.to_string();
        let count = |sample: Option<&Sample>| {
            let table = sample?.interrupts.as_ref()?;
            let row = table.row(&name)?;
            Some(table.cpus.iter().copied().zip(row.counts.iter().copied()).collect::<BTreeMap<u32, u64>>())
        };
        let (Some(before), Some(after)) = (count(self.window.samples.first()), count(self.window.last())) else {
            return Vec::new();
        };
        let grown = |(cpu, after): (u32, u64)| Some((cpu, after.checked_sub(*before.get(&cpu)?)?));
        after.into_iter().filter_map(grown).filter(|(_, count)| *count > 0).collect()
    }

    /// What a card did.
    pub fn flow(&self, link: &str) -> Option<Flow> {
        let of = |what: fn(&sickbay_formats::procfs::net_dev::Link) -> u64| {
            self.window.rate(|sample| sample.links.as_ref()?.iter().find(|one| one.name == link).map(what))
        };
        Some(Flow {
            received: of(|link| link.received.packets)?,
            sent: of(|link| link.sent.packets)?,
            dropped: of(|link| link.received.dropped)?,
        })
    }

    /// By how much each counter of a card's own grew.
    pub fn counters(&self, link: &str) -> Vec<(String, u64)> {
        let mut with = self.window.samples.iter().filter_map(|sample| sample.cards.as_ref());
        let (Some(first), Some(last)) = (with.next(), with.next_back()) else { return Vec::new() };
        let before: BTreeMap<&str, u64> =
            first.iter().filter(|one| one.link == link).map(|one| (one.name.as_str(), one.value)).collect();
        let mut all = Vec::new();
        for one in last.iter().filter(|one| one.link == link) {
            let grown = before.get(one.name.as_str()).and_then(|before| one.value.checked_sub(*before));
            all.extend(grown.filter(|grown| *grown > 0).map(|grown| (one.name.clone(), grown)));
        }
        all
    }

    /// The cards that have counters of their own.
    pub fn links_with_counters(&self) -> impl Iterator<Item = &str> {
        let cards = self.window.last().and_then(|last| last.cards.as_ref());
        let mut names: Vec<&str> = cards.into_iter().flatten().map(|one| one.link.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }

    /// Packets that the cloud dropped or held back, by the counter that says so.
    pub fn exceeded(&self, link: &str) -> Vec<(String, u64)> {
        let mut grown = self.counters(link);
        grown.retain(|(name, _)| name.ends_with("_allowance_exceeded"));
        grown
    }
}

fn used(cpu: u32, before: &Times, after: &Times) -> Option<Use> {
    let grown = |of: fn(&Times) -> u64| of(after).checked_sub(of(before));
    // The time in which it waits for a disk may go back.
    let all = after.all().checked_sub(before.all()).filter(|all| *all > 0)? as f64;
    let idle = after.unused().saturating_sub(before.unused()) as f64;
    let soft = grown(|times| times.softirq)?.saturating_add(grown(|times| times.irq)?) as f64;
    Some(Use { cpu, busy: (1.0 - idle / all).clamp(0.0, 1.0), soft: (soft / all).clamp(0.0, 1.0), ..Use::default() })
}

/// The rows by CPU. Old kernels do not say of which CPU a row is: there is one for each that is online, in their order.
fn softnet(sample: &Sample) -> Option<BTreeMap<u32, [u64; 5]>> {
    let rows = sample.softnet.as_ref()?;
    let online = &sample.stat.as_ref()?.cpus;
    let is_told = rows.iter().all(|row| row.cpu.is_some());
    if rows.is_empty() || !is_told && rows.len() != online.len() {
        return None;
    }
    let row = |(index, row): (usize, &sickbay_formats::procfs::softnet::Softnet)| {
        let cpu = if is_told { row.cpu } else { online.get(index).map(|(cpu, _)| *cpu) };
        Some((cpu?, [row.processed, row.dropped, row.squeezed, row.received_rps, row.flow_limit]))
    };
    rows.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use sickbay_formats::procfs::softnet::Softnet;
    use sickbay_formats::procfs::stat::Stat;
    use sickbay_target::Moment;

    use super::*;

    fn sample(second: u64, cpus: &[(u32, u64, u64)], softnet: Vec<Softnet>) -> Sample {
        let times = |(cpu, softirq, idle): &(u32, u64, u64)| {
            (*cpu, Times { softirq: *softirq, idle: *idle, ..Times::default() })
        };
        let stat = Stat { cpus: cpus.iter().map(times).collect(), ..Stat::default() };
        let moment = Moment { steady: Duration::from_secs(second), wall: Duration::from_secs(second) };
        Sample { moment, stat: Some(stat), softnet: Some(softnet), ..Sample::default() }
    }

    fn row(cpu: Option<u32>, dropped: u64) -> Softnet {
        Softnet { cpu, dropped, processed: 1000 + dropped, ..Softnet::default() }
    }

    fn seen(samples: Vec<Sample>) -> Option<Seen> {
        Seen::of(Arc::new(Window { samples, place: "/proc".into() }))
    }

    #[test]
    fn rows_of_softnet_do_not_follow_the_numbers_of_cpus() {
        // CPU 1 is offline: its row is missing, in an old kernel and in a new one.
        for told in [true, false] {
            let cpu = |cpu: u32| told.then_some(cpu);
            let samples = vec![
                sample(1, &[(0, 0, 0), (2, 0, 0)], vec![row(cpu(0), 5), row(cpu(2), 7)]),
                sample(3, &[(0, 20, 180), (2, 150, 50)], vec![row(cpu(0), 5), row(cpu(2), 107)]),
            ];
            let seen = seen(samples).expect("two samples");
            assert!(seen.knows_softnet && seen.cpu(1).is_none());
            assert_eq!(seen.cpu(2).map(|one| (one.dropped, one.soft, one.busy)), Some((100, 0.75, 0.75)));
            assert_eq!(seen.cpu(0).map(|one| (one.dropped, one.soft)), Some((0, 0.1)));
        }
    }

    #[test]
    fn a_cpu_that_came_back_and_counters_that_wrapped_are_unknown() {
        let samples = vec![
            sample(1, &[(0, 0, 0)], vec![row(None, 0xffff_ffff)]),
            sample(3, &[(0, 20, 180), (1, 200, 0)], vec![row(None, 3), row(None, 9)]),
        ];
        let seen = seen(samples).expect("two samples");
        assert_eq!(seen.cpus.iter().map(|one| (one.cpu, one.dropped)).collect::<Vec<_>>(), [(0, 0)]);
        // Fewer rows than CPUs in a kernel that does not number them: whose they are nobody knows.
        let samples = vec![
            sample(1, &[(0, 0, 0), (1, 0, 0)], vec![row(None, 0)]),
            sample(3, &[(0, 20, 180), (1, 0, 200)], vec![row(None, 50)]),
        ];
        assert!(
            super::Seen::of(Arc::new(Window { samples, place: "/proc".into() }))
                .is_some_and(|seen| !seen.knows_softnet)
        );
    }
}
