//! What the allocation oracle reckons with, read from the running kernel.

use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::procfs::fields::{Fields, rest_of};
use sickbay_formats::procfs::limits::limit;

use crate::facts::memory::alloc::{Accounting, Asker, CgroupLimit};
use crate::facts::memory::cgroups::{MEMORY, Mounts};
use crate::facts::system::kernel::{Kernel, MemInfo, parameter};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

impl Fact for Accounting {
    fn gather(facts: &Facts) -> Result<Accounting, Skip> {
        let kernel = facts.get::<Kernel>()?;
        let memory = facts.get::<MemInfo>()?;
        Ok(Accounting {
            release: kernel.release.clone(),
            version: kernel.version,
            page: memory.page,
            mode: parameter(facts, "vm.overcommit_memory")?,
            ratio: parameter(facts, "vm.overcommit_ratio")?.unwrap_or(50),
            kbytes: parameter(facts, "vm.overcommit_kbytes")?.unwrap_or(0),
            meminfo: memory.meminfo.clone(),
            admin_reserve: parameter(facts, "vm.admin_reserve_kbytes")?,
            user_reserve: parameter(facts, "vm.user_reserve_kbytes")?,
            total_reserve: memory.total_reserve(),
            misc_reclaimable: memory.pages("nr_kernel_misc_reclaimable"),
            max_map_count: parameter(facts, "vm.max_map_count")?,
        })
    }
}

/// `CAP_SYS_ADMIN`, capability.h.
const SYS_ADMIN: u64 = 1 << 21;

/// A process as one who asks for memory; `pid` may be `self`. Its mappings are only counted on request: that takes a
/// lock of the process, and waits as long as the process holds it.
pub fn asker(facts: &Facts, pid: &str, count_maps: bool) -> Result<Asker, Skip> {
    let root = facts.root();
    let status = root.read(format!("/proc/{pid}/status"))?;
    let numbers = Fields::parse(&status);
    let capabilities = rest_of(&status, "CapEff:").and_then(|text| u64::from_str_radix(text.to_str().ok()?, 16).ok());
    let limits = root.read(format!("/proc/{pid}/limits"))?;
    let soft = |name: &str| limit(&limits, name).and_then(|limit| limit.soft);
    let maps = || root.read_up_to(format!("/proc/{pid}/maps"), 256 << 20).ok().map(|maps| maps.lines().count() as u64);
    let maps = if count_maps { maps() } else { None };
    // A user namespace of its own gives capabilities that count only inside.
    let namespace = |pid: &str| root.read_link(format!("/proc/{pid}/ns/user")).ok();
    let outside = namespace(pid).is_none() || namespace("1").is_none() || namespace(pid) == namespace("1");
    let cgroups = match facts.get::<Mounts>() {
        Ok(mounts) => mounts.of_process(facts, MEMORY, pid),
        Err(_) => Vec::new(),
    };
    Ok(Asker {
        root: capabilities.is_some_and(|capabilities| capabilities & SYS_ADMIN != 0) && outside,
        total_vm: numbers.or_zero("VmSize"),
        data_vm: numbers.or_zero("VmData"),
        maps,
        address_space: soft("Max address space"),
        data: soft("Max data size"),
        cgroups: cgroups
            .into_iter()
            .map(|found| CgroupLimit { path: shown(&found.file), limit: found.limit, used: found.used })
            .collect(),
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
