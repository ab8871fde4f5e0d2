//! Which CPUs are online, which of them share a core, and to which node of memory they belong.

use sickbay_formats::cpus::Cpus;

use crate::facts::system::kernel::running;
use crate::facts::time::Glance;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// One CPU that is online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub id: u32,
    /// Its core, by the lowest number of the CPUs that share it.
    pub core: u32,
    /// Its node, where there are several.
    pub node: Option<u32>,
}

/// The CPUs of a running machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Those that are online, by number.
    pub cpus: Vec<Cpu>,
    /// Those that the kernel was told to keep free (`isolcpus=`, `nohz_full=`).
    pub isolated: Cpus,
}

impl Topology {
    /// Those that are online.
    pub fn online(&self) -> Cpus {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }

    /// One of them.
    pub fn get(&self, id: u32) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }

    /// The others of its core.
    pub fn siblings(&self, id: u32) -> Cpus {
        let core = self.get(id).map(|cpu| cpu.core);
        self.cpus.iter().filter(|cpu| cpu.id != id && Some(cpu.core) == core).map(|cpu| cpu.id).collect()
    }

    /// How many cores.
    pub fn cores(&self) -> usize {
        self.cpus.iter().map(|cpu| cpu.core).collect::<Cpus>().len()
    }
}

/// A list of CPUs in a file, where there is one.
pub fn list(facts: &Facts, path: &str) -> Option<Cpus> {
    let text = facts.root().read_up_to(path, 1 << 16).ok()?;
    Cpus::list(std::str::from_utf8(&text).ok()?)
}

impl Fact for Topology {
    fn gather(facts: &Facts) -> Result<Topology, Skip> {
        running(facts)?;
        let dir = "/sys/devices/system/cpu";
        let online = match list(facts, &format!("{dir}/online")) {
            Some(online) => online,
            None => {
                let glance = facts.get::<Glance>()?;
                glance.sample.stat.iter().flat_map(|stat| &stat.cpus).map(|(cpu, _)| *cpu).collect()
            }
        };
        if online.is_empty() {
            return Err(Skip::NotApplicable(tr!("{path} does not say how many CPUs there are", path = "/proc/stat")));
        }
        let mut nodes: Vec<(u32, Cpus)> = Vec::new();
        for entry in facts.root().read_dir("/sys/devices/system/node").unwrap_or_default() {
            let number = entry.name.to_str().and_then(|name| name.strip_prefix("node")?.parse().ok());
            let Some(number) = number else { continue };
            let cpus = list(facts, &format!("/sys/devices/system/node/node{number}/cpulist"));
            nodes.extend(cpus.map(|cpus| (number, cpus)));
        }
        let cpu = |id| {
            let siblings = list(facts, &format!("{dir}/cpu{id}/topology/thread_siblings_list"));
            let core = siblings.filter(|siblings| siblings.has(id)).and_then(|siblings| siblings.first()).unwrap_or(id);
            let node = nodes.iter().find(|(_, cpus)| cpus.has(id)).map(|(node, _)| *node);
            Cpu { id, core, node: node.filter(|_| nodes.len() > 1) }
        };
        let cpus = online.iter().map(cpu).collect();
        let kept = ["isolated", "nohz_full"].iter().filter_map(|file| list(facts, &format!("{dir}/{file}")));
        let isolated = kept.flat_map(|cpus| cpus.iter().collect::<Vec<_>>()).collect();
        Ok(Topology { cpus, isolated })
    }
}
