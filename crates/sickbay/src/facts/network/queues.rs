//! The queues of network cards, their interrupts, and which CPUs these go to.

use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::cpus::Cpus;
use sickbay_formats::ethtool::{self, Channels};
use sickbay_formats::procfs;
use sickbay_formats::procfs::interrupts::{self, Interrupts};
use sickbay_formats::queue_irq::{Role, is_of, queue};

use crate::facts::system::kernel::{parameter, running};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// So many cards are looked at, and so many interrupts of each.
const CARDS: usize = 64;
const INTERRUPTS: usize = 2048;

/// An interrupt of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// Its name in `/proc/interrupts`.
    pub name: String,
    /// For what it is.
    pub role: Role,
    /// Of which queue.
    pub queue: u32,
    /// `smp_affinity_list`: where it may go.
    pub affinity: Option<Cpus>,
    /// `effective_affinity_list`: where it goes; kernels before 4.15 do not say.
    pub effective: Option<Cpus>,
    /// The kernel alone decides, and refuses to be told (EIO).
    pub is_managed: bool,
    /// How often since the start, by CPU; empty in a container that hides it.
    pub counts: Vec<(u32, u64)>,
}

impl Interrupt {
    /// Where it goes, as far as the affinity tells: a mask of several CPUs without the effective one does not. A write that has
    /// not yet come to the hardware leaves an effective one that is not within what was asked.
    pub fn lands(&self) -> Option<Cpus> {
        let within = |effective: &&Cpus| {
            !effective.is_empty() && self.affinity.as_ref().is_none_or(|affinity| effective.is_within(affinity))
        };
        match self.effective.as_ref().filter(within) {
            Some(effective) => Some(effective.clone()),
            None => self.affinity.clone().filter(|affinity| affinity.len() == 1),
        }
    }
}

/// A queue on which packets come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveQueue {
    /// Its number.
    pub index: u32,
    /// `rps_cpus`.
    pub rps: Option<Cpus>,
    /// `rps_flow_cnt`.
    pub flows: Option<u64>,
}

/// A network card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// Its interface.
    pub name: String,
    /// Its driver.
    pub driver: Option<String>,
    /// The node of memory that it is at, where there are several.
    pub node: Option<u32>,
    /// The queues in use on which packets come in.
    pub receive: Vec<ReceiveQueue>,
    /// How many in use packets go out on.
    pub send: u32,
    /// `xps_cpus` of those, where set.
    pub xps: Vec<(u32, Cpus)>,
    /// What its driver says of the queues.
    pub channels: Option<Channels>,
    /// All its interrupts.
    pub interrupts: Vec<Interrupt>,
}

impl Nic {
    /// On how many queues packets come in.
    pub fn queues(&self) -> u32 {
        let told = self.channels.map(|channels| channels.now.receiving()).filter(|count| *count > 0);
        let seen = u32::try_from(self.receive.len()).ok().filter(|count| *count > 0);
        let named = || {
            let receiving = self.interrupts.iter().filter(|irq| irq.role.receives());
            u32::try_from(receiving.map(|irq| irq.queue).collect::<Cpus>().len()).unwrap_or(1)
        };
        seen.or(told).unwrap_or_else(named).max(1)
    }

    /// The interrupts of queues that are in use: drivers register some for queues that are not.
    pub fn active(&self) -> impl Iterator<Item = &Interrupt> {
        let (receive, send) = (self.queues(), self.send.max(1));
        self.interrupts.iter().filter(move |irq| match irq.role {
            Role::Receive => irq.queue < receive,
            Role::Send => irq.queue < send,
            Role::Both => irq.queue < receive.max(send),
            Role::Control => false,
        })
    }

    /// Those of them by which packets come in.
    pub fn receiving(&self) -> impl Iterator<Item = &Interrupt> {
        let receive = self.queues();
        self.active().filter(move |irq| irq.role.receives() && irq.queue < receive)
    }
}

/// The network cards of a running machine.
#[derive(Debug, Default)]
pub struct Nics {
    /// By name.
    pub cards: Vec<Nic>,
    /// `net.core.rps_sock_flow_entries`.
    pub flow_entries: Option<u64>,
}

impl Fact for Nics {
    fn gather(facts: &Facts) -> Result<Nics, Skip> {
        running(facts)?;
        let root = facts.root();
        let mut names: Vec<String> = root
            .read_dir("/sys/class/net")
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| entry.name.to_str().map(str::to_owned))
            .filter(|name| root.exists(format!("/sys/class/net/{name}/device")).unwrap_or(false))
            .collect();
        names.sort();
        names.truncate(CARDS);
        let table = match names.is_empty() {
            true => None,
            false => root.read("/proc/interrupts").ok().and_then(|text| interrupts::parse(&text)),
        };
        let table = table.filter(|table| !table.rows.is_empty());
        let cards = names.into_iter().map(|name| card(facts, name, table.as_ref())).collect();
        Ok(Nics { cards, flow_entries: parameter(facts, "net.core.rps_sock_flow_entries")? })
    }
}

fn text(facts: &Facts, path: impl AsRef<std::path::Path>) -> Option<String> {
    let bytes = facts.root().read_up_to(path, 1 << 16).ok()?;
    Some(bytes.trim_ascii().to_str_lossy().into_owned())
}

fn card(facts: &Facts, name: String, table: Option<&Interrupts>) -> Nic {
    let root = facts.root();
    let dir = format!("/sys/class/net/{name}");
    let device = root.canonical(format!("{dir}/device")).ok();
    let base = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let device_name = device.as_ref().map(base).unwrap_or_default();
    // A virtio device stands on a PCI device, which has the interrupts.
    let places: Vec<PathBuf> = device
        .iter()
        .flat_map(|device| {
            let above = device.parent().filter(|_| device_name.starts_with("virtio")).map(PathBuf::from);
            [Some(device.clone()), above].into_iter().flatten()
        })
        .collect();
    let node = places.iter().find_map(|place| text(facts, place.join("numa_node"))?.parse::<i64>().ok());
    let driver = root.read_link(format!("{dir}/device/driver")).ok();
    let mut nic = Nic {
        driver: driver.as_ref().map(base),
        node: node.and_then(|node| u32::try_from(node).ok()),
        channels: channels(facts, &name),
        name,
        ..Nic::default()
    };
    for entry in root.read_dir(format!("{dir}/queues")).unwrap_or_default() {
        let Some(queue) = entry.name.to_str() else { continue };
        let number = |head: &str| queue.strip_prefix(head)?.parse::<u32>().ok();
        let read = |file: &str| text(facts, format!("{dir}/queues/{queue}/{file}"));
        if let Some(index) = number("rx-") {
            let rps = read("rps_cpus").and_then(|mask| Cpus::mask(&mask));
            let flows = read("rps_flow_cnt").and_then(|count| count.parse().ok());
            nic.receive.push(ReceiveQueue { index, rps, flows });
        } else if let Some(index) = number("tx-") {
            nic.send += 1;
            let mask = read("xps_cpus").and_then(|mask| Cpus::mask(&mask)).filter(|mask| !mask.is_empty());
            nic.xps.extend(mask.map(|mask| (index, mask)));
        }
    }
    nic.receive.sort_by_key(|queue| queue.index);
    nic.xps.sort_by_key(|(index, _)| *index);
    let own: Cpus = places
        .iter()
        .flat_map(|place| root.read_dir(place.join("msi_irqs")).unwrap_or_default())
        .filter_map(|entry| entry.name.to_str()?.parse().ok())
        .collect();
    let named = names(facts, table, &own);
    // Names that tell the card apart from others on one PCI function.
    let is_ours = |name: &str| is_of(name, &nic.name, &device_name);
    let any_by_name = named.iter().any(|(number, name)| own.has(*number) && is_of(name, &nic.name, ""));
    let wanted = named.iter().filter(|(number, name)| match own.has(*number) {
        true => !any_by_name || is_ours(name) || queue(name, &nic.name).is_none_or(|(role, _)| role == Role::Control),
        false => is_ours(name),
    });
    let mut found: Vec<Interrupt> = wanted
        .take(INTERRUPTS)
        .map(|(number, name)| {
            let (role, queue) = queue(name, &nic.name).unwrap_or((Role::Control, 0));
            let row = table.and_then(|table| Some((table, table.row(&number.to_string())?)));
            let counts = row.map(|(table, row)| table.cpus.iter().copied().zip(row.counts.iter().copied()).collect());
            let list =
                |file: &str| text(facts, format!("/proc/irq/{number}/{file}")).and_then(|list| Cpus::list(&list));
            Interrupt {
                number: *number,
                name: name.clone(),
                role,
                queue,
                affinity: list("smp_affinity_list"),
                effective: list("effective_affinity_list"),
                is_managed: text(facts, format!("/sys/kernel/debug/irq/irqs/{number}"))
                    .is_some_and(|text| text.contains("IRQD_AFFINITY_MANAGED")),
                counts: counts.unwrap_or_default(),
            }
        })
        .collect();
    // Google's card numbers its blocks through: those for sending come first.
    if nic.driver.as_deref() == Some("gve") {
        let send = nic.send;
        for irq in found.iter_mut().filter(|irq| irq.role == Role::Both) {
            (irq.role, irq.queue) = match irq.queue.checked_sub(send) {
                Some(queue) => (Role::Receive, queue),
                None => (Role::Send, irq.queue),
            };
        }
    }
    found.sort_by_key(|irq| (irq.queue, irq.role, irq.number));
    nic.interrupts = found;
    nic
}

/// The names of interrupts: of all that the table has, and where there is none, of the card's own by other files.
fn names(facts: &Facts, table: Option<&Interrupts>, own: &Cpus) -> Vec<(u32, String)> {
    let Some(table) = table else {
        let name = |number: u32| {
            let actions = text(facts, format!("/sys/kernel/irq/{number}/actions")).filter(|names| !names.is_empty());
            let entries = facts.root().read_dir(format!("/proc/irq/{number}")).unwrap_or_default();
            let dir = entries.iter().find(|entry| entry.kind == sickbay_target::FileKind::Dir);
            actions.or_else(|| Some(dir?.name.to_str()?.to_owned()))
        };
        return own.iter().filter_map(|number| Some((number, name(number)?))).collect();
    };
    let mut all = Vec::new();
    for row in &table.rows {
        let Some(number) = procfs::number(&row.name).and_then(|number| u32::try_from(number).ok()) else { continue };
        let about = row.about.to_str_lossy();
        // Some have blanks in them: `eth0 (queue 6)`.
        let whole = about.rsplit_once(" (").map_or(about.as_ref(), |(head, _)| head);
        let at = whole.rfind(' ').map_or(0, |at| at + 1);
        let shared = whole
            .match_indices(", ")
            .next()
            .map(|(comma, _)| whole.get(..comma).and_then(|head| head.rfind(' ')).map_or(0, |at| at + 1));
        let tail = about.get(shared.unwrap_or(at)..).unwrap_or_default();
        all.extend(tail.split(", ").filter(|name| !name.is_empty()).map(|name| (number, name.to_owned())));
    }
    all
}

/// The kernel's answer on this machine; elsewhere what `ethtool -l` printed, where a report of sos(1) has it.
fn channels(facts: &Facts, name: &str) -> Option<Channels> {
    if facts.target().can_be_asked() {
        let answer = facts.root().ask(&format!("channels of {name}"), || sickbay_target::ethtool::channels(name));
        return ethtool::channels_of(&answer.ok()?);
    }
    ethtool::channels(&facts.root().read(format!("/sos_commands/networking/ethtool_-l_{name}")).ok()?)
}
