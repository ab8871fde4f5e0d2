//! The ledger: every page of `MemTotal` booked once, and what no counter of the kernel accounts for.
//!
//! The rows are disjoint. Where a counter of the kernel holds another one, the smaller is taken off: `Cached` holds
//! `Shmem`, and since stacks of kernel threads are mapped (4.9 on x86-64, 4.14 on arm64) `VmallocUsed` holds them too.

use std::collections::HashSet;

use sickbay_formats::procfs::mountinfo::{self, Mount};
use sickbay_formats::procfs::{number, numbers};
use sickbay_target::KernelFiles;

use crate::facts::memory::cgroups::Mounts;
use crate::facts::memory::processes::{Processes, pids};
use crate::facts::memory::slab_owners;
use crate::facts::memory::slabs::Slabs;
use crate::facts::system::kernel::{Kernel, MemInfo};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// The whole ledger, in KiB.
#[derive(Debug)]
pub struct Ledger {
    /// `MemTotal`.
    pub total: u64,
    /// What it is booked on, disjoint.
    pub rows: Vec<Row>,
    /// What no row accounts for; negative when counters overlap or changed while they were read.
    pub unaccounted: i64,
    /// What is worth knowing besides.
    pub remarks: Vec<Text>,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    /// Its name for programs.
    pub name: &'static str,
    /// Its name for people.
    pub title: Text,
    /// How much.
    pub kib: u64,
    /// Where that was read.
    pub source: String,
    /// What it is made of, the largest first; not always all of it.
    pub parts: Vec<Part>,
}

/// A part of a row.
#[derive(Debug)]
pub struct Part {
    /// What it is.
    pub what: Text,
    /// How much.
    pub kib: u64,
}

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where it is mounted.
    pub place: String,
    /// The process that sees it there, if sickbay itself does not: in a mount namespace of its own.
    pub pid: Option<u32>,
    /// What is used, in KiB.
    pub used: u64,
    /// What may be used, in KiB.
    pub size: u64,
}

/// Parts that are shown of a row.
const PARTS: usize = 8;

impl Ledger {
    /// A row by its name.
    pub fn row(&self, name: &str) -> u64 {
        self.rows.iter().find(|row| row.name == name).map_or(0, |row| row.kib)
    }

    /// The rows by name in bytes, for the details of a finding.
    pub fn details(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|row| (row.name.to_owned(), row.kib.saturating_mul(1024).into()));
        let mut map: serde_json::Map<String, serde_json::Value> = rows.collect();
        map.insert("unaccounted".to_owned(), self.unaccounted.saturating_mul(1024).into());
        map.into()
    }
}

impl Fact for Ledger {
    fn gather(facts: &Facts) -> Result<Ledger, Skip> {
        let memory = facts.get::<MemInfo>()?;
        let mut remarks = Vec::new();
        let mut rows = vec![free(&memory), processes(facts, &memory)];
        rows.extend([page_cache(&memory), shmem(facts, &memory)]);
        rows.extend([huge_pages(&memory), slab(facts, &memory, &mut remarks)]);
        rows.push(row(
            "page-tables",
            tr!("page tables"),
            sum(&memory, &["PageTables", "SecPageTables"]),
            "meminfo PageTables",
        ));
        rows.push(row(
            "kernel-stacks",
            tr!("kernel stacks of threads"),
            memory.kib("KernelStack"),
            "meminfo KernelStack",
        ));
        rows.push(vmalloc(facts, &memory, &mut remarks));
        rows.push(row("percpu", tr!("per-CPU variables"), memory.kib("Percpu"), "meminfo Percpu"));
        rows.push(compressed(facts, &memory));
        rows.push(balloon(facts, &memory, &mut remarks));
        rows.push(zfs(facts));
        rows.push(row("memory-map", tr!("page map"), memory.pages("nr_memmap_pages"), "vmstat nr_memmap_pages"));
        rows.push(row(
            "corrupted",
            tr!("faulty memory, taken out of use"),
            memory.kib("HardwareCorrupted"),
            "meminfo HardwareCorrupted",
        ));
        let misc = memory.pages("nr_kernel_misc_reclaimable");
        rows.push(row("misc", tr!("other reclaimable kernel memory"), misc, "vmstat nr_kernel_misc_reclaimable"));
        // Who makes so many objects costs a look at every process: only where they are many.
        if memory.kib("Slab") >= memory.total() / 32 {
            remarks.extend(slab_owners::named(facts, 3));
        }
        let booked = rows.iter().map(|row| row.kib).fold(0, u64::saturating_add);
        rows.retain(|row| row.kib > 0);
        let total = memory.total();
        let unaccounted =
            i64::try_from(total).unwrap_or(i64::MAX).saturating_sub(i64::try_from(booked).unwrap_or(i64::MAX));
        Ok(Ledger { total, rows, unaccounted, remarks })
    }
}

fn row(name: &'static str, title: Text, kib: u64, source: impl Into<String>) -> Row {
    Row { name, title, kib, source: source.into(), parts: Vec::new() }
}

fn sum(memory: &MemInfo, names: &[&str]) -> u64 {
    names.iter().map(|name| memory.kib(name)).fold(0, u64::saturating_add)
}

fn largest(mut parts: Vec<Part>) -> Vec<Part> {
    parts.retain(|part| part.kib > 0);
    parts.sort_by_key(|part| std::cmp::Reverse(part.kib));
    parts.truncate(PARTS);
    parts
}

fn free(memory: &MemInfo) -> Row {
    let lists =
        memory.zones.iter().map(|zone| zone.on_cpu_lists).fold(0, u64::saturating_add).saturating_mul(memory.page);
    let mut row = row("free", tr!("free"), memory.kib("MemFree").saturating_add(lists), "meminfo MemFree, zoneinfo");
    row.parts = largest(vec![Part { what: tr!("on per-CPU lists"), kib: lists }]);
    row
}

/// Anonymous memory: exact as a whole, by command from statm, where forked processes may share pages.
fn processes(facts: &Facts, memory: &MemInfo) -> Row {
    // Pages that are in the swap's cache and nowhere mapped are on the lists of pages, and in no other counter.
    let lists = sum(memory, &["Active", "Inactive", "Unevictable"]);
    let known = sum(memory, &["AnonPages", "Cached", "Buffers"]);
    let unmapped = lists.saturating_sub(known).min(memory.kib("SwapCached"));
    // Some kernels with the first transparent huge pages (2.6.32 of RHEL 6) leave these out of AnonPages.
    let on_lists = sum(memory, &["Active(anon)", "Inactive(anon)"]).saturating_sub(memory.kib("Shmem"));
    let anonymous = memory.kib("AnonPages").saturating_add(unmapped).max(on_lists);
    let mut row = row("processes", tr!("process memory"), anonymous, "meminfo AnonPages, /proc/PID/statm");
    if let Ok(processes) = facts.get::<Processes>() {
        let part = |(name, count, kib, pid): (String, usize, u64, u32)| Part {
            what: match count {
                1 => tr!("{name}, PID {pid}", name, pid),
                _ => tr!("{name}, {count} processes, the largest PID {pid}", name, count, pid),
            },
            kib,
        };
        row.parts = largest(processes.by_command().into_iter().map(part).collect());
    }
    row
}

fn page_cache(memory: &MemInfo) -> Row {
    let files = sum(memory, &["Cached", "Buffers"]).saturating_sub(memory.kib("Shmem"));
    let mut row = row("page-cache", tr!("page cache"), files, "meminfo Cached + Buffers - Shmem");
    row.parts = largest(vec![
        Part { what: tr!("not yet written to disk"), kib: sum(memory, &["Dirty", "Writeback"]) },
        Part {
            what: tr!("mapped by processes"),
            kib: memory.kib("Mapped").saturating_sub(memory.kib("Shmem")).min(files),
        },
    ]);
    row
}

fn shmem(facts: &Facts, memory: &MemInfo) -> Row {
    let mut row = row("shmem", tr!("shared memory and tmpfs"), memory.kib("Shmem"), "meminfo Shmem, statvfs");
    let mounted: Vec<Tmpfs> = facts.get::<TmpfsMounts>().map(|mounts| mounts.list.clone()).unwrap_or_default();
    let known = mounted.iter().map(|tmpfs| tmpfs.used).fold(0, u64::saturating_add);
    let mut parts: Vec<Part> = mounted
        .into_iter()
        .map(|Tmpfs { place, pid, used, .. }| Part {
            what: match pid {
                None => tr!("tmpfs on {place}", place),
                Some(pid) => tr!("tmpfs on {place}, seen by PID {pid}", place, pid),
            },
            kib: used,
        })
        .collect();
    let rest = memory.kib("Shmem").saturating_sub(known);
    parts.push(Part { what: tr!("shared memory of processes: System V, memfd, mappings"), kib: rest });
    row.parts = largest(parts);
    row
}

fn huge_pages(memory: &MemInfo) -> Row {
    let mut row = row("huge-pages", tr!("huge pages"), memory.huge, "meminfo Hugetlb, HugePages_*");
    let size = memory.kib("Hugepagesize");
    let of = |count: u64| count.saturating_mul(size);
    let (free, promised) = (memory.kib("HugePages_Free"), memory.kib("HugePages_Rsvd"));
    row.parts = largest(vec![
        Part { what: tr!("in use"), kib: of(memory.kib("HugePages_Total").saturating_sub(free)) },
        Part { what: tr!("free, promised to a program"), kib: of(promised.min(free)) },
        Part { what: tr!("free, unused by anything"), kib: of(free.saturating_sub(promised)) },
    ]);
    row
}

fn slab(facts: &Facts, memory: &MemInfo, remarks: &mut Vec<Text>) -> Row {
    let all = match memory.kib("Slab") {
        0 => sum(memory, &["SReclaimable", "SUnreclaim"]),
        slab => slab,
    };
    let mut row = row("slab", tr!("kernel objects (slab)"), all, "meminfo Slab");
    match facts.get::<Slabs>() {
        Ok(slabs) => {
            row.source = format!("meminfo Slab, {}", slabs.source);
            let part = |cache: &crate::facts::memory::slabs::Cache| Part {
                what: Text::verbatim(cache.name.clone()),
                kib: cache.kib,
            };
            row.parts = largest(slabs.caches.iter().map(part).collect());
        }
        Err(Skip::Unknown(why) | Skip::NotApplicable(why)) => {
            remarks.push(tr!("kernel objects cannot be broken down: {why}", why));
        }
    }
    row
}

fn vmalloc(facts: &Facts, memory: &MemInfo, remarks: &mut Vec<Text>) -> Row {
    let mut row =
        row("vmalloc", tr!("mapped kernel memory (vmalloc), modules"), 0, "meminfo VmallocUsed - KernelStack");
    // From 4.4 to 5.2 the kernel says 0, and before that it counts addresses, of devices too (commit 97105f0ab7b8).
    let counted = facts.get::<Kernel>().is_ok_and(|kernel| kernel.version >= (5, 3));
    if counted {
        let used = memory.kib("VmallocUsed");
        row.kib = used.checked_sub(memory.kib("KernelStack")).unwrap_or(used);
    } else {
        remarks.push(tr!("before Linux 5.3 the kernel does not count vmalloc: it is part of what is unaccounted for"));
    }
    row
}

/// zram and zswap; both keep their pages in zsmalloc, which vmstat counts.
fn compressed(facts: &Facts, memory: &MemInfo) -> Row {
    let mut parts = Vec::new();
    for entry in facts.root().read_dir("/sys/block").unwrap_or_default() {
        let name = entry.name.to_string_lossy().into_owned();
        if name.starts_with("zram")
            && let Ok(text) = facts.root().read(format!("/sys/block/{name}/mm_stat"))
        {
            // orig_data_size compr_data_size mem_used_total …, in bytes.
            let used = numbers(&text).get(2).copied().unwrap_or(0) / 1024;
            parts.push(Part { what: Text::verbatim(name), kib: used });
        }
    }
    let zram = parts.iter().map(|part| part.kib).fold(0, u64::saturating_add);
    parts.push(Part { what: Text::verbatim("zswap"), kib: memory.kib("Zswap") });
    let all = memory.pages("nr_zspages").max(zram).max(memory.kib("Zswap"));
    let mut row = row("compressed", tr!("compressed memory (zram, zswap)"), all, "vmstat nr_zspages, zram mm_stat");
    row.parts = largest(parts);
    row
}

/// What the hypervisor has taken back. Linux's virtio balloon takes that off `MemTotal`, unless it was agreed that the
/// guest may take it back when it runs out of memory (bit 2 of its features: virtio 1.2, 5.5.3).
fn balloon(facts: &Facts, memory: &MemInfo, remarks: &mut Vec<Text>) -> Row {
    let inflated = memory.pages("balloon_inflate").saturating_sub(memory.pages("balloon_deflate"));
    let held = memory.pages("nr_balloon_pages").max(memory.kib("Balloon")).max(inflated);
    let within = virtio_balloon_features(facts).is_none_or(|features| features.get(2) == Some(&b'1'));
    if held > 0 && !within {
        remarks.push(tr!(
            "the hypervisor's balloon has taken {size}; MemTotal is smaller by that amount",
            size = crate::facts::memory::size(held)
        ));
    }
    row("balloon", tr!("balloon: taken back by the hypervisor"), if within { held } else { 0 }, "vmstat balloon_*")
}

fn virtio_balloon_features(facts: &Facts) -> Option<Vec<u8>> {
    let dir = "/sys/bus/virtio/drivers/virtio_balloon";
    let devices = facts.root().read_dir(dir).ok()?;
    let device = devices.iter().find(|entry| entry.name.to_string_lossy().starts_with("virtio"))?;
    facts.root().read(format!("{dir}/{}/features", device.name.to_string_lossy())).ok()
}

/// The cache of ZFS lies in pages of its own.
fn zfs(facts: &Facts) -> Row {
    let text = facts.root().read("/proc/spl/kstat/zfs/arcstats").unwrap_or_default();
    // Lines `name type value`.
    let size = sickbay_formats::procfs::fields::rest_of(&text, "size ").map(numbers).unwrap_or_default();
    let kib = size.get(1).copied().unwrap_or(0) / 1024;
    row("zfs-arc", tr!("ZFS cache (ARC)"), kib, "/proc/spl/kstat/zfs/arcstats")
}

/// Every tmpfs, those in the mount namespaces of other processes too, the largest first.
#[derive(Debug)]
pub struct TmpfsMounts {
    /// The file systems, each once.
    pub list: Vec<Tmpfs>,
}

/// Shared memory that no tmpfs in sight holds, in KiB: 16 MiB.
const WORTH_A_LOOK: u64 = 16 << 10;

/// So many other mount namespaces are looked into.
const NAMESPACES: usize = 256;

impl Fact for TmpfsMounts {
    fn gather(facts: &Facts) -> Result<TmpfsMounts, Skip> {
        let mut list = Vec::new();
        let mut devices = HashSet::new();
        add(&mut list, &mut devices, &facts.get::<Mounts>()?.all, None, facts.root());
        let known = list.iter().map(|tmpfs| tmpfs.used).fold(0, u64::saturating_add);
        let rest = facts.get::<MemInfo>()?.kib("Shmem").saturating_sub(known);
        let files = KernelFiles::open(facts.root(), "/proc")?;
        let mut seen: HashSet<String> = files.link("self/ns/mnt").into_iter().collect();
        // To look for others is worth it only where there is something left to find.
        let pids = if rest >= WORTH_A_LOOK { pids(facts)? } else { Vec::new() };
        for pid in pids {
            let Ok(other) = files.link(&format!("{pid}/ns/mnt")) else { continue };
            if seen.len() > NAMESPACES || !seen.insert(other) {
                continue;
            }
            let Ok(text) = facts.root().read(format!("/proc/{pid}/mountinfo")) else { continue };
            let mounts = mountinfo::parse(&text);
            let new = |mount: &Mount| mount.fstype == "tmpfs" && !devices.contains(&mount.device);
            if mounts.iter().any(new)
                && let Ok(root) = facts.root().of_process(pid)
            {
                add(&mut list, &mut devices, &mounts, Some(pid), &root);
            }
        }
        list.sort_by_key(|tmpfs: &Tmpfs| std::cmp::Reverse(tmpfs.used));
        Ok(TmpfsMounts { list })
    }
}

fn add(
    list: &mut Vec<Tmpfs>,
    devices: &mut HashSet<String>,
    mounts: &[Mount],
    pid: Option<u32>,
    root: &sickbay_target::Root,
) {
    use bstr::ByteSlice;
    // devtmpfs is one too, without a limit of its own.
    for mount in mounts.iter().filter(|mount| matches!(mount.fstype.as_str(), "tmpfs" | "devtmpfs")) {
        if devices.contains(&mount.device) {
            continue;
        }
        let Ok(path) = mount.place.to_path() else { continue };
        // Something else may be mounted over it.
        if let Ok(told) = root.statvfs(path)
            && root.stat(path).is_ok_and(|found| device(found.dev) == mount.device)
        {
            devices.insert(mount.device.clone());
            let used = told.size.saturating_sub(told.free) / 1024;
            list.push(Tmpfs { place: mount.place.to_string(), pid, used, size: told.size / 1024 });
        }
    }
}

fn device(number: u64) -> String {
    format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number))
}

/// The number in a file, if there is one.
pub fn number_in(facts: &Facts, path: &str) -> Option<u64> {
    number(&facts.root().read(path).ok()?)
}
