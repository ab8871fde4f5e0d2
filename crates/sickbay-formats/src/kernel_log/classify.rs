//! Which incident a sentence of the kernel reports.

mod network;
mod storage;

use bstr::{BStr, ByteSlice};
use network::{conntrack, firewall, neighbours, network_card, sockets};
use storage::{array, disk, file_system, io, thin_pool};

/// Kinds of incidents other than those of the OOM killer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An allocation of pages failed; about the process, detail is the order.
    PageAllocation,
    /// An allocation of address space for vmalloc() failed; about the process or "".
    Vmalloc,
    /// A task did not run for minutes; about the task.
    HungTask,
    /// A processor did not schedule, or took no interrupt; about what it ran, detail is "soft" or "hard".
    Lockup,
    /// RCU waits for a processor or a task; about the flavour of RCU.
    RcuStall,
    /// A process died of its own fault; about the process, detail is the object that it died in.
    Crash,
    /// A file system found itself damaged, or can no longer write; about its device, detail is its type.
    FileSystem,
    /// A file system was shut down because its device failed; about its device, detail is "log" or "metadata" where that is
    /// what could not be written or read.
    Shutdown,
    /// The journal of a file system was aborted; about its device.
    JournalAborted,
    /// The journal of a file system cannot be replayed; about its device.
    JournalReplay,
    /// A file system was made read-only because of an error; about its device.
    ReadOnly,
    /// A device did not read or write; about the device.
    Io,
    /// A disk did not answer, and its link or controller was reset; about the port or controller, detail is what was seen.
    DiskReset,
    /// A disk or its controller was given up; about it.
    DiskGone,
    /// Data of a file does not match its checksum; about the file system's device.
    DataDamaged,
    /// btrfs counts errors of a disk; about the disk, detail is the counters as they were last.
    DiskErrors,
    /// The table of connections is full.
    Conntrack,
    /// There are more sockets in TIME_WAIT than allowed.
    TimeWait,
    /// TCP may take no more memory, or has more sockets without an owner than allowed; about "memory" or "orphans".
    TcpLimit,
    /// More connections come than a listening socket takes; about the port.
    SynFlood,
    /// The table of neighbours is full; about the table.
    Neighbours,
    /// A cgroup has as many tasks as it may; about the cgroup.
    Fork,
    /// The hardware reports an error; about its source, detail is "corrected" or "uncorrected".
    Hardware,
    /// The bus reports an error that it corrected itself; about the device.
    BusCorrected,
    /// The processor's own clock was given up as unstable.
    ClockUnstable,
    /// A pool of thin volumes has no room left, of data or of metadata; about the pool, detail is "data" or "metadata".
    PoolFull,
    /// A disk of an array failed; about the array, detail is the disk.
    ArrayDegraded,
    /// A path to a disk failed; about the multipath device, detail is the path.
    PathFailed,
    /// A pool of ZFS was suspended; about the pool.
    PoolSuspended,
    /// The machine was too hot, and shuts down; about the zone.
    TooHot,
    /// A network card did not send for seconds; about the interface, detail is the driver.
    NicHang,
    /// An interface lost its link; about the interface.
    LinkDown,
    /// As many files are open as the system allows.
    FileMax,
    /// The firewall dropped a packet; about the rule's prefix.
    Firewall,
    /// The kernel hit a bug and went on; about what happened.
    Oops,
    /// The kernel stopped; about the reason.
    Panic,
}

/// One incident as a sentence reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// To whom or what.
    pub subject: String,
    /// More, as [`Kind`] says.
    pub detail: String,
    /// How many such the sentence sums up.
    pub times: u64,
}

/// Knows one kind of sentence, or a few.
type Look = fn(&[u8]) -> Option<Event>;

/// What `text`, the kernel's words without prefix, reports.
pub fn classify(text: &[u8]) -> Option<Event> {
    const EACH: [Look; 24] = [
        page_allocation,
        vmalloc,
        hung_task,
        panic, // before lockups: "Kernel panic - not syncing: softlockup: hung tasks"
        lockup,
        rcu,
        crash,
        file_system,
        io,
        disk,
        network_card,
        bus,
        clock,
        thin_pool,
        array,
        heat,
        conntrack,
        sockets,
        neighbours,
        fork,
        hardware,
        file_max,
        firewall,
        oops,
    ];
    EACH.iter().find_map(|each| each(text))
}

fn event(kind: Kind, subject: &[u8], detail: &[u8]) -> Option<Event> {
    // Names are bounded: a hostile log must not fill the memory.
    let short = |text: &[u8]| text.trim_ascii().get(..160).unwrap_or(text.trim_ascii()).to_str_lossy().into_owned();
    Some(Event { kind, subject: short(subject), detail: short(detail), times: 1 })
}

fn before<'a>(text: &'a [u8], words: &str) -> Option<&'a [u8]> {
    text.get(..text.find(words)?)
}

fn after<'a>(text: &'a [u8], words: &str) -> Option<&'a [u8]> {
    text.get(text.find(words)? + words.len()..)
}

fn first_word(text: &[u8]) -> &[u8] {
    text.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()).unwrap_or_default()
}

fn digits(text: &[u8]) -> &[u8] {
    text.get(..text.iter().take_while(|byte| byte.is_ascii_digit()).count()).unwrap_or_default()
}

/// `name: page allocation failure: order:4, mode:…`; before 3.0 with a full stop (warn_alloc in mm/page_alloc.c).
fn page_allocation(text: &[u8]) -> Option<Event> {
    let name = before(text, ": page allocation failure")?;
    let order = after(text, "order:").map(digits).unwrap_or_default();
    event(Kind::PageAllocation, name, order)
}

/// mm/vmalloc.c: "vmap allocation for size … failed", "vmalloc: allocation failure: … bytes", "vmalloc error: size …".
fn vmalloc(text: &[u8]) -> Option<Event> {
    if text.starts_with(b"vmap allocation for size") {
        return event(Kind::Vmalloc, b"", digits(after(text, "size ")?));
    }
    let at = text.find("vmalloc: allocation failure").or_else(|| text.find("vmalloc error: size"))?;
    let name = text.get(..at)?.trim_ascii();
    event(Kind::Vmalloc, name.strip_suffix(b":").unwrap_or(name), b"")
}

/// kernel/hung_task.c: `INFO: task name:pid blocked for more than 120 seconds.`
fn hung_task(text: &[u8]) -> Option<Event> {
    let inside = after(before(text, " blocked for more than ")?, "INFO: task ")?;
    let seconds = digits(after(text, "for more than ")?);
    let name = inside.rsplit_once_str(":").map_or(inside, |(name, _)| name);
    event(Kind::HungTask, name, seconds)
}

/// kernel/watchdog.c: `BUG: soft lockup - CPU#3 stuck for 22s! [name:pid]`, `Watchdog detected hard LOCKUP on cpu 3`.
fn lockup(text: &[u8]) -> Option<Event> {
    if let Some(rest) = after(text, "BUG: soft lockup - CPU#") {
        let inside = after(rest, "[").and_then(|rest| before(rest, "]")).unwrap_or_default();
        let name = inside.rsplit_once_str(":").map_or(inside, |(name, _)| name);
        return event(Kind::Lockup, name, b"soft");
    }
    let rest = after(text, "hard LOCKUP on cpu ")?;
    event(Kind::Lockup, &[b"CPU ", digits(rest)].concat(), b"hard")
}

/// kernel/rcu/tree_stall.h: `rcu: INFO: rcu_sched detected stalls on CPUs/tasks:`, `self-detected stall on CPU`.
fn rcu(text: &[u8]) -> Option<Event> {
    let rest = after(text, "INFO: rcu").or_else(|| after(text, "INFO: srcu"))?;
    let whole = ["detected stall", "detected expedited stall"].iter().any(|words| rest.contains_str(words));
    whole.then_some(())?;
    let flavour = text.get(text.find("rcu_").or_else(|| text.find("rcu"))?..)?;
    event(Kind::RcuStall, first_word(flavour), b"")
}

/// arch/x86/mm/fault.c `name[pid]: segfault at …  in object[…]`, arch/x86/kernel/traps.c `traps: name[pid] trap …`,
/// arch/arm64/kernel/traps.c `name[pid]: unhandled …`.
fn crash(text: &[u8]) -> Option<Event> {
    let object = after(text, " in ").map(|rest| rest.split_str("[").next().unwrap_or(rest)).unwrap_or_default();
    let name = |text: &[u8]| -> Option<Vec<u8>> {
        let (name, pid) = text.trim_ascii().trim_end_with(|c| c == ':').strip_suffix(b"]")?.rsplit_once_str("[")?;
        (!pid.is_empty() && pid.iter().all(u8::is_ascii_digit)).then(|| name.to_vec())
    };
    if let Some(head) = before(text, " segfault at ") {
        return event(Kind::Crash, &name(head)?, first_word(object));
    }
    if let Some(rest) = text.strip_prefix(b"traps: ") {
        let head = before(rest, " trap ").or_else(|| before(rest, " general protection"))?;
        return event(Kind::Crash, &name(head)?, first_word(object));
    }
    let head = before(text, " unhandled ")?;
    let signal = text.contains_str("(11)") || text.contains_str("level ") || text.contains_str("exception");
    event(Kind::Crash, &name(head).filter(|_| signal)?, first_word(object))
}

/// drivers/thermal/thermal_core.c: `thermal thermal_zone0: critical temperature reached (105 C), shutting down`.
fn heat(text: &[u8]) -> Option<Event> {
    let head = before(text, ": critical temperature reached").filter(|_| text.contains_str("shutting down"))?;
    event(Kind::TooHot, head.rsplit(|byte| *byte == b' ').next()?, b"")
}

/// arch/x86/kernel/tsc.c: `tsc: Marking TSC unstable due to clocksource watchdog`. Early in a boot it may be due to what the
/// machine is, which is no fault of a clock.
fn clock(text: &[u8]) -> Option<Event> {
    let why = after(text, "Marking TSC unstable due to ")?;
    why.contains_str("clocksource watchdog").then(|| event(Kind::ClockUnstable, b"", why))?
}

/// drivers/pci/pcie/aer.c: `nvme 0000:03:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, …`.
fn bus(text: &[u8]) -> Option<Event> {
    let device = before(text, "PCIe Bus Error: severity=")?.trim_ascii();
    let device = device.strip_suffix(b"AER:").unwrap_or(device).trim_ascii().trim_end_with(|c| c == ':');
    let severity = after(text, "severity=")?;
    if severity.starts_with(b"Correct") {
        return event(Kind::BusCorrected, device, b"");
    }
    severity.starts_with(b"Uncorrect").then(|| event(Kind::Hardware, device, b"uncorrected"))?
}

/// kernel/cgroup/pids.c: `cgroup: fork rejected by pids controller in /path`
fn fork(text: &[u8]) -> Option<Event> {
    event(Kind::Fork, after(text, "cgroup: fork rejected by pids controller in ")?, b"")
}

/// arch/x86/kernel/cpu/mce, drivers/edac, drivers/acpi/apei/ghes.c. One error is many lines: only the first counts.
fn hardware(text: &[u8]) -> Option<Event> {
    if let Some(rest) = after(text, "[Hardware Error]: ") {
        if rest.starts_with(b"Machine check events logged") {
            return event(Kind::Hardware, b"machine check", b"corrected");
        }
        if rest.contains_str("Machine Check") && rest.contains_str("Bank") {
            // An exception is what could not be corrected, and so is what has bit 61, UC, in the bank's status.
            let status = rest.rsplit(|byte| *byte == b' ').next()?.to_str().ok()?;
            let uncorrected = u64::from_str_radix(status, 16).is_ok_and(|status| status >> 61 & 1 == 1);
            if !uncorrected && !rest.contains_str("Machine Check Exception") {
                return event(Kind::Hardware, b"machine check", b"corrected");
            }
            let bank = first_word(after(rest, "Bank ")?).trim_end_with(|c| c == ':');
            let cpu = digits(after(rest, "CPU ").unwrap_or_default());
            let place = [b"machine check, CPU ", cpu, b" bank ", bank].concat();
            return event(Kind::Hardware, &place, b"uncorrected");
        }
        if rest.starts_with(b"Hardware error from APEI") {
            return event(Kind::Hardware, b"APEI", b"");
        }
        return None;
    }
    let rest = text.strip_prefix(b"EDAC ")?;
    let (source, said) = rest.split_once_str(": ")?;
    let words: Vec<&[u8]> = said.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(2).collect();
    let kind = words.iter().find(|word| matches!(**word, b"CE" | b"UE" | b"CE," | b"UE,"))?;
    let label = after(said, " on ").map(first_word).unwrap_or_default();
    let subject = [source, b" ", label].concat();
    let event = event(Kind::Hardware, &subject, if kind.starts_with(b"CE") { b"corrected" } else { b"uncorrected" })?;
    // `262 CE memory read error on …`.
    let times = digits(said).to_str().ok().and_then(|digits| digits.parse().ok()).unwrap_or(1);
    Some(Event { times, ..event })
}

/// fs/file_table.c: `VFS: file-max limit 1000 reached`
fn file_max(text: &[u8]) -> Option<Event> {
    let rest = text.strip_prefix(b"VFS: file-max limit ")?;
    event(Kind::FileMax, b"", first_word(rest))
}

/// arch/*/mm/fault.c and lib/bug.c.
fn oops(text: &[u8]) -> Option<Event> {
    const WORDS: [&str; 9] = [
        "BUG: unable to handle ",
        "BUG: kernel NULL pointer dereference",
        "Unable to handle kernel ",
        "kernel BUG at ",
        "BUG: Bad page state",
        "BUG: Bad page map",
        "BUG: scheduling while atomic",
        "general protection fault, ", // probably for non-canonical address
        "general protection fault: ",
    ];
    let at = WORDS.iter().find_map(|words| text.find(words))?;
    let said = text.get(at..)?;
    if said.starts_with(b"general") && (!text.contains_str("[#") || text.contains_str("traps: ")) {
        return None;
    }
    if said.starts_with(b"general") {
        return event(Kind::Oops, b"general protection fault", b"");
    }
    // The address differs each time.
    let said = said.split_str(" at virtual address ").next().unwrap_or(said);
    let said = said.split_str(" at 0").next().unwrap_or(said);
    let said = said.split_str(", address: 0").next().unwrap_or(said);
    event(Kind::Oops, said.split_str(" for address: ").next().unwrap_or(said), b"")
}

/// kernel/panic.c: `Kernel panic - not syncing: reason`
fn panic(text: &[u8]) -> Option<Event> {
    // The last line of a panic says it again.
    if text.starts_with(b"---[ end") {
        return None;
    }
    let reason = after(text, "Kernel panic - not syncing: ").or_else(|| after(text, "Kernel panic - not syncing:"))?;
    event(Kind::Panic, BStr::new(reason).trim_ascii(), b"")
}
