//! The kernel's own objects by cache.
//!
//! `/proc/slabinfo` is not read lightly: to count what is in use, SLAB before 4.10 walks every slab, and SLUB before 6.10
//! every partial slab, with interrupts off; on a machine with millions of dentries that stops a CPU for seconds (commits
//! 07a63c41fa1f and 046f4c690e20). `slabs` and `total_objects` in `/sys/kernel/slab` are plain counters.

use std::collections::HashMap;

use sickbay_formats::procfs::{number, numbers, slabinfo};
use sickbay_target::{FileKind, KernelFiles};

use crate::facts::system::kernel::{Kernel, MemInfo};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// A cache of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its name; caches of objects of one size may share one, then with the names of some of them.
    pub name: String,
    /// What it holds of the memory, in KiB.
    pub kib: u64,
    /// Objects that there is room for; not told of caches below 1 MiB.
    pub objects: u64,
    /// The size of one in bytes; likewise.
    pub object_size: u64,
}

/// The caches, the largest first.
#[derive(Debug)]
pub struct Slabs {
    /// The caches.
    pub caches: Vec<Cache>,
    /// Where they were read.
    pub source: &'static str,
}

const SYSFS: &str = "/sys/kernel/slab";
const SLABINFO: &str = "/proc/slabinfo";

/// Up to here reading slabinfo is harmless on every kernel: 512 MiB of slabs, in KiB.
const HARMLESS: u64 = 512 << 10;

/// Caches with fewer slabs than this are left out: a slab has 8 pages at most (slab_max_order in mm/slub.c), so that is
/// 512 KiB each, and on most machines half of all caches.
const FEW: u64 = 16;

/// Before 5.9 every cgroup had caches of its own; so many directories are read.
const MOST: usize = 4000;

impl Slabs {
    /// The cache with that name.
    pub fn cache(&self, name: &str) -> Option<&Cache> {
        self.caches.iter().find(|cache| cache.name.split(", ").any(|part| part == name))
    }
}

impl Fact for Slabs {
    fn gather(facts: &Facts) -> Result<Slabs, Skip> {
        let memory = facts.get::<MemInfo>()?;
        let mut slabs = match facts.root().read_dir(SYSFS) {
            Ok(entries) if !entries.is_empty() => from_sysfs(facts, &entries, memory.page)?,
            _ => from_slabinfo(facts, &memory)?,
        };
        slabs.caches.sort_by(|a, b| (b.kib, &a.name).cmp(&(a.kib, &b.name)));
        Ok(slabs)
    }
}

fn from_sysfs(facts: &Facts, entries: &[sickbay_target::DirEntry], page: u64) -> Result<Slabs, Skip> {
    let root = facts.root();
    if entries.len() > MOST {
        return Err(Skip::Unknown(tr!(
            "{path} has {count} caches, too many to read",
            path = SYSFS,
            count = entries.len()
        )));
    }
    // Caches of objects of one size are merged; their names are links to the one that is there.
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    let mut files = KernelFiles::open(root, SYSFS)?;
    for entry in entries.iter().filter(|entry| entry.kind == FileKind::Symlink) {
        let alias = entry.name.to_string_lossy();
        if let Ok(link) = files.link(&alias) {
            let merged = link.rsplit('/').next().unwrap_or_default().to_owned();
            names.entry(merged).or_default().push(alias.into_owned());
        }
    }
    let mut caches: HashMap<String, Cache> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.kind == FileKind::Dir) {
        let own = entry.name.to_string_lossy();
        let mut value = |name: &str| files.read(&format!("{own}/{name}")).map(|text| number(text).unwrap_or(0));
        let slabs = value("slabs")?;
        if slabs < FEW {
            continue;
        }
        let order = value("order")?;
        let name = match names.get(own.as_ref()) {
            Some(aliases) => aliases.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
            // A cache of a cgroup: "dentry(12:name)".
            None => own.split('(').next().unwrap_or_default().to_owned(),
        };
        let kib = slabs.saturating_mul(page).saturating_mul(1 << order.min(20));
        // How many objects there are is of interest where they take much.
        let (objects, object_size) = match kib >= 1024 {
            true => (value("total_objects")?, value("object_size")?),
            false => (0, 0),
        };
        let cache = caches.entry(name.clone()).or_insert(Cache { name, kib: 0, objects: 0, object_size });
        cache.kib = cache.kib.saturating_add(kib);
        cache.objects = cache.objects.saturating_add(objects);
    }
    Ok(Slabs { caches: caches.into_values().collect(), source: SYSFS })
}

fn from_slabinfo(facts: &Facts, memory: &MemInfo) -> Result<Slabs, Skip> {
    let kernel = facts.get::<Kernel>()?;
    if memory.kib("Slab") > HARMLESS && kernel.version < (6, 10) {
        return Err(Skip::Unknown(tr!(
            "{path} is not read: on Linux {release} with so many objects that can stop a CPU for seconds",
            path = SLABINFO,
            release = kernel.release.as_str()
        )));
    }
    let text = facts.root().read(SLABINFO)?;
    let caches = slabinfo::parse(&text).into_iter().map(|cache| Cache {
        kib: cache.pages.saturating_mul(memory.page),
        name: cache.name,
        objects: cache.objects,
        object_size: cache.object_size,
    });
    Ok(Slabs { caches: caches.collect(), source: SLABINFO })
}

/// `/proc/sys/fs/dentry-state`: all directory entries that are cached, and of these the negative ones, which remember
/// that there is no file of that name (told since 5.0).
pub fn dentries(facts: &Facts) -> Option<(u64, u64)> {
    let file = facts.file("/proc/sys/fs/dentry-state").ok()??;
    let state = numbers(&file.bytes);
    Some((*state.first()?, state.get(4).copied().unwrap_or(0)))
}
