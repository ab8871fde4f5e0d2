//! What only a running system has: its kernel's release, its parameters, its memory in numbers.

use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::procfs::fields::Fields;
use sickbay_formats::procfs::zoneinfo::{self, Zone};
use sickbay_formats::procfs::{self};

use crate::facts::time::Recorded;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// The running kernel.
#[derive(Debug)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// Its leading two numbers.
    pub version: (u32, u32),
}

/// Ends a check of the running system on a target that does not run.
pub fn running(facts: &Facts) -> Result<(), Skip> {
    Ok(facts.target().running().map(drop)?)
}

/// How long the machine has been up, in seconds (`/proc/uptime`); `None` where that was not written down.
pub fn uptime(facts: &Facts) -> Result<Option<f64>, Skip> {
    if facts.target().recording().is_ok() {
        return Ok(facts.get::<Recorded>()?.machine.uptime);
    }
    let file = facts.file("/proc/uptime")?;
    let first = file.as_ref().and_then(|file| file.bytes.split(|byte| *byte == b' ').next());
    Ok(first.and_then(|word| std::str::from_utf8(word).ok()?.trim().parse().ok()))
}

impl Fact for Kernel {
    fn gather(facts: &Facts) -> Result<Kernel, Skip> {
        if facts.target().recording().is_ok() {
            let recorded = facts.get::<Recorded>()?;
            let release = recorded.machine.release.clone();
            let release = release.ok_or_else(|| Skip::Unknown(tr!("the recording does not say which kernel ran")))?;
            let version = procfs::kernel_version(&release).unwrap_or_default();
            return Ok(Kernel { release, version });
        }
        let release = facts.target().kernel_release()?;
        let version = procfs::kernel_version(&release).unwrap_or_default();
        Ok(Kernel { release, version })
    }
}

/// A parameter of the running kernel by its dotted name, if it is a number and this kernel has it.
pub fn parameter(facts: &Facts, key: &str) -> Result<Option<u64>, Skip> {
    Ok(facts.file(parameter_path(key))?.and_then(|file| procfs::number(&file.bytes)))
}

/// Where a parameter is read and set.
pub fn parameter_path(key: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/{}", key.replace('.', "/")))
}

/// `/proc/meminfo`, `/proc/vmstat` and `/proc/zoneinfo` of the running kernel.
#[derive(Debug, Default)]
pub struct MemInfo {
    /// `/proc/meminfo`, in KiB; huge pages in pages.
    pub meminfo: Fields,
    /// `/proc/vmstat`, in pages. Empty where it cannot be read.
    pub vmstat: Fields,
    /// The zones, in pages. Empty where they cannot be read.
    pub zones: Vec<Zone>,
    /// The size of a page in KiB.
    pub page: u64,
    /// What is set aside as huge pages of all sizes, in KiB.
    pub huge: u64,
}

impl Fact for MemInfo {
    fn gather(facts: &Facts) -> Result<MemInfo, Skip> {
        running(facts)?;
        let path = "/proc/meminfo";
        // A container of LXC has a file of its own there, which fits to nothing else in /proc.
        let mounts = facts.file("/proc/self/mountinfo").ok().flatten();
        if mounts.is_some_and(|mounts| mounts.bytes.contains_str(" /proc/meminfo ")) {
            return Err(Skip::NotApplicable(tr!(
                "{path} is not the kernel's own: another file is mounted over it",
                path
            )));
        }
        let meminfo = Fields::parse(&facts.required(path)?.bytes);
        if meminfo.or_zero("MemTotal") == 0 {
            return Err(Skip::Unknown(tr!("{path} does not say how much memory there is", path)));
        }
        let read = |path: &str| facts.file(path).ok().flatten();
        let vmstat = read("/proc/vmstat").map(|file| Fields::parse(&file.bytes)).unwrap_or_default();
        let zones = read("/proc/zoneinfo").map(|file| zoneinfo::parse(&file.bytes)).unwrap_or_default();
        let huge = huge(facts, &meminfo);
        let page = facts.get::<PageSize>()?.0;
        Ok(MemInfo { meminfo, vmstat, zones, page, huge })
    }
}

/// `Hugetlb` counts all sizes since 4.20; before, `/proc/meminfo` tells of the default size only.
fn huge(facts: &Facts, meminfo: &Fields) -> u64 {
    if let Some(all) = meminfo.get("Hugetlb") {
        return all;
    }
    let dir = "/sys/kernel/mm/hugepages";
    let pool = |name: &str| {
        let size: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let pages = procfs::number(&facts.root().read(format!("{dir}/{name}/nr_hugepages")).ok()?)?;
        Some(size.saturating_mul(pages))
    };
    let pools = facts.root().read_dir(dir).unwrap_or_default();
    let all = pools.iter().filter_map(|entry| pool(entry.name.to_str()?)).fold(0, u64::saturating_add);
    all.max(meminfo.or_zero("HugePages_Total").saturating_mul(meminfo.or_zero("Hugepagesize")))
}

/// The size of a page in KiB.
#[derive(Debug)]
pub struct PageSize(pub u64);

impl Fact for PageSize {
    fn gather(facts: &Facts) -> Result<PageSize, Skip> {
        Ok(PageSize(facts.target().page_size()? / 1024))
    }
}

impl MemInfo {
    /// A value of `/proc/meminfo` in KiB; 0 where this kernel does not count it.
    pub fn kib(&self, name: &str) -> u64 {
        self.meminfo.or_zero(name)
    }

    /// A value of `/proc/vmstat` in KiB; 0 where this kernel does not count it.
    pub fn pages(&self, name: &str) -> u64 {
        self.vmstat.or_zero(name).saturating_mul(self.page)
    }

    /// All memory.
    pub fn total(&self) -> u64 {
        self.kib("MemTotal")
    }

    /// `totalreserve_pages` in KiB, see [`zoneinfo::total_reserve`]; `None` where the zones cannot be read.
    pub fn total_reserve(&self) -> Option<u64> {
        (!self.zones.is_empty()).then(|| zoneinfo::total_reserve(&self.zones).saturating_mul(self.page))
    }

    /// What programs can still get without swapping: `MemAvailable`, before 3.14 by the same formula
    /// (mm/page_alloc.c, si_mem_available()).
    pub fn available(&self) -> u64 {
        self.meminfo.get("MemAvailable").unwrap_or_else(|| {
            let low = self.zones.iter().map(|zone| zone.low).sum::<u64>().saturating_mul(self.page);
            let most_of = |value: u64| value - (value / 2).min(low);
            let cache = self.kib("Active(file)").saturating_add(self.kib("Inactive(file)"));
            let free = self.kib("MemFree").saturating_sub(self.total_reserve().unwrap_or(0));
            free.saturating_add(most_of(cache)).saturating_add(most_of(self.kib("SReclaimable")))
        })
    }

    /// Whether what is swapped out has nowhere to go: no swap, or less than a tenth of it free.
    pub fn no_swap_left(&self) -> bool {
        self.kib("SwapFree") <= self.kib("SwapTotal") / 10
    }
}
