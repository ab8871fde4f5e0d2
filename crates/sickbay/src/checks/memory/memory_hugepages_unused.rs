//! Memory that is set aside as huge pages and lies idle.

use crate::facts::Facts;
use crate::facts::memory::ledger::number_in;
use crate::facts::memory::size;
use crate::facts::system::kernel::MemInfo;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::mend::sysctl_lines::{comment_all, unbearable};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `free` shows most memory as used, but the processes in `top` account for only a small part of it.
    ///
    /// ## What it finds
    /// Huge pages of any size that are neither in use nor promised to a program, amounting to a tenth of memory or more
    /// and at least 128 MiB. A note; a warning while less than a tenth of memory is available.
    ///
    /// ## Why it matters
    /// Memory that is reserved as huge pages is available only to programs that ask for such pages (databases, virtual
    /// machines, DPDK). To all others it is lost: `free` shows it as used, and it belongs to no process. It is also
    /// subtracted from the commit limit of `vm.overcommit_memory = 2`.
    ///
    /// ## What the repair does
    /// Lowers `vm.nr_hugepages` to what is in use, and comments out the sysctl lines that set it when none is. Risky: a
    /// program that is about to start may need them.
    ///
    /// ## By hand
    /// ```sh
    /// # start what they are for, or lower the number
    /// grep Huge /proc/meminfo
    /// sysctl -w vm.nr_hugepages=NUMBER
    /// ```
    "memory-hugepages-unused", Memory, seed = ["D9"], proves = [], "huge pages are reserved but unused"
}

const KEY: &str = "vm.nr_hugepages";

/// A pool of huge pages of one size.
struct Pool {
    /// The size of a page in KiB.
    size: u64,
    total: u64,
    unused: u64,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let memory = facts.get::<MemInfo>()?;
    let pools = pools(facts, &memory);
    let unused: u64 = pools.iter().map(|pool| pool.unused.saturating_mul(pool.size)).fold(0, u64::saturating_add);
    let total = memory.total();
    if unused < (total / 10).max(128 << 10) {
        return Ok(());
    }
    let severity = if memory.available() < total / 10 { Severity::Warning } else { Severity::Note };
    let finding = found.add(
        severity,
        tr!(
            "{unused} of {total} of memory is reserved as huge pages that nothing uses",
            unused = size(unused),
            total = size(total)
        ),
    );
    finding
        .at_parameter(KEY)
        .about(Subject::Parameter("vm.nr_hugepages".to_owned()))
        .explains(Subject::Machine)
        .why(tr!("programs get them only if they ask for huge pages; free shows them as used"))
        .detail("unused", unused.saturating_mul(1024))
        .detail("MemTotal", total.saturating_mul(1024));
    for pool in pools.iter().filter(|pool| pool.unused > 0) {
        let (source, text) =
            (format!("hugepages-{}kB", pool.size), format!("{} of {} unused", pool.unused, pool.total));
        finding.evidence(source, text);
    }
    let default = memory.kib("Hugepagesize");
    let Some(pool) = pools.iter().find(|pool| pool.size == default && pool.unused > 0) else {
        finding.by_hand(tr!(
            "lower their number: nr_hugepages in /sys/kernel/mm/hugepages, hugepages= on the kernel command line"
        ));
        return Ok(());
    };
    let used = pool.total.saturating_sub(pool.unused);
    let files = facts.get::<SysctlFiles>();
    let lines = files.as_ref().map(|files| unbearable(files, KEY, |pages| pages == 0)).unwrap_or_default();
    for (file, assignment, _) in &lines {
        finding.at(file, assignment.span);
    }
    let change = Change::kernel(KEY, pool.total.to_string(), used.to_string());
    let mut changes = vec![change];
    if used == 0 {
        changes.extend(comment_all(&lines));
    }
    finding.repair(Risk::Risky, tr!("set {key} to {value}", key = KEY, value = used), changes);
    Ok(())
}

/// The pools of all sizes; before 2.6.27 there was only one.
fn pools(facts: &Facts, memory: &MemInfo) -> Vec<Pool> {
    let dir = "/sys/kernel/mm/hugepages";
    let pool = |name: &str| {
        let size = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let value = |file: &str| number_in(facts, &format!("{dir}/{name}/{file}"));
        let (total, free) = (value("nr_hugepages")?, value("free_hugepages")?);
        let unused = free.saturating_sub(value("resv_hugepages").unwrap_or(0));
        Some(Pool { size, total, unused })
    };
    let entries = facts.root().read_dir(dir).unwrap_or_default();
    let found: Vec<Pool> = entries.iter().filter_map(|entry| pool(entry.name.to_str()?)).collect();
    if !found.is_empty() {
        return found;
    }
    let value = |name: &str| memory.kib(name);
    let unused = value("HugePages_Free").saturating_sub(value("HugePages_Rsvd"));
    vec![Pool { size: value("Hugepagesize"), total: value("HugePages_Total"), unused }]
}
