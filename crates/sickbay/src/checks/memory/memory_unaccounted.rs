//! Memory that no counter of the kernel accounts for.

use bstr::ByteSlice;
use sickbay_formats::procfs::sockstat;

use crate::facts::Facts;
use crate::facts::memory::ledger::Ledger;
use crate::facts::memory::{MEMINFO, size};
use crate::facts::system::kernel::{Kernel, MemInfo};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `free` shows memory as used that neither processes, caches, tmpfs nor slab account for.
    ///
    /// ## What it finds
    /// A tenth of memory or more, at least 512 MiB, that is neither free nor in any of the kernel's counters: not in
    /// processes, caches, tmpfs, huge pages, kernel objects, page tables, stacks, vmalloc, per-CPU variables,
    /// compressed memory or a balloon that Linux counts.
    ///
    /// ## Why it matters
    /// Some driver took pages straight from the page allocator: a hypervisor's balloon, which has given the memory to
    /// another guest (VMware's, for example), a graphics or network driver, or a leaking module. No process shows it,
    /// and no cache gives it back.
    ///
    /// ## What the repair does
    /// Nothing by itself. Check the balloon in the hypervisor, modules that are not part of the kernel, and the network
    /// buffers; a kernel booted with `page_owner=on` shows who took which page.
    ///
    /// ## By hand
    /// ```sh
    /// lsmod
    /// cat /proc/net/sockstat
    /// cat /sys/kernel/debug/page_owner > FILE
    /// ```
    "memory-unaccounted", Memory, seed = ["C7"], proves = [], "a large part of memory is unaccounted for"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let memory = facts.get::<MemInfo>()?;
    let ledger = facts.get::<Ledger>()?;
    let lost = u64::try_from(ledger.unaccounted).unwrap_or(0);
    let total = memory.total();
    if lost < (total / 10).max(512 << 10) {
        return Ok(());
    }
    let text =
        tr!("{lost} of {total} of memory is in none of the kernel's counters", lost = size(lost), total = size(total));
    let finding = found.warning(text);
    finding.at_path(MEMINFO).explains(Subject::Machine).detail("ledger", ledger.details());
    let modules = facts.file("/proc/modules").ok().flatten();
    let text = modules.as_ref().map(|file| file.bytes.as_slice()).unwrap_or_default();
    // The balloons of VMware and of old Hyper-V keep their pages without telling.
    let balloon = text.lines().find(|line| line.starts_with(b"vmw_balloon ") || line.starts_with(b"hv_balloon "));
    if let Some(line) = balloon {
        let module = line.split(u8::is_ascii_whitespace).next().unwrap_or_default().to_str_lossy().into_owned();
        finding.why(tr!(
            "{module} is loaded: most likely the hypervisor took it back and gave it to another guest",
            module
        ));
        finding
            .evidence("/proc/modules", module)
            .by_hand(tr!("check the balloon in the hypervisor, and reserve this guest's memory"));
        return Ok(());
    }
    // "(OE)": not part of the kernel's own tree.
    for line in text.lines().filter(|line| line.contains_str("(") && line.contains_str("O")).take(8) {
        finding.evidence("/proc/modules", line.to_str_lossy().into_owned());
    }
    let sockets = facts.file("/proc/net/sockstat").ok().flatten();
    let pages = sockets.and_then(|file| sockstat::value(&file.bytes, "TCP", "mem")).unwrap_or(0);
    let buffers = pages.saturating_mul(memory.page);
    if buffers >= lost / 4 {
        finding.why(tr!(
            "TCP holds {size} in socket buffers, part of it in pages that nothing else counts",
            size = size(buffers)
        ));
        finding.evidence("/proc/net/sockstat", format!("TCP mem {pages}"));
    } else if facts.get::<Kernel>()?.version < (5, 3) {
        finding.why(tr!("before Linux 5.3 the kernel does not count vmalloc: it is part of what is unaccounted for"));
    } else {
        finding.why(tr!("a driver took it straight from the page allocator"));
    }
    finding.by_hand(tr!(
        "update or unload the driver; page_owner=on on the kernel command line shows who took which page"
    ));
    Ok(())
}
