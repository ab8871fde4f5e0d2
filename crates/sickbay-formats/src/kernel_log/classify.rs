//! Which incident a sentence of the kernel reports.

use bstr::{BStr, ByteSlice};

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
}

/// Knows one kind of sentence, or a few.
type Look = fn(&[u8]) -> Option<Event>;

/// What `text`, the kernel's words without prefix, reports.
pub fn classify(text: &[u8]) -> Option<Event> {
    const EACH: [Look; 17] = [
        page_allocation,
        vmalloc,
        hung_task,
        panic, // before lockups: "Kernel panic - not syncing: softlockup: hung tasks"
        lockup,
        rcu,
        crash,
        file_system,
        io,
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
    Some(Event { kind, subject: short(subject), detail: short(detail) })
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

/// fs/ext4/super.c, fs/xfs, fs/btrfs/messages.c, fs/jbd2/journal.c.
fn file_system(text: &[u8]) -> Option<Event> {
    let inside = |from: &[u8]| after(from, "(").and_then(|rest| before(rest, ")")).map(<[u8]>::to_vec);
    let named = |device: Vec<u8>| device.strip_prefix(b"device ").map(<[u8]>::to_vec).unwrap_or(device);
    if let Some(name) = before(text, ": Remounting filesystem read-only")
        .or_else(|| before(text, "Remounting filesystem read-only").filter(|_| text.starts_with(b"EXT")))
    {
        return event(Kind::ReadOnly, &named(inside(name).unwrap_or_default()), first_word(text));
    }
    if let Some(rest) = text.strip_prefix(b"Aborting journal on device ") {
        let journal = rest.trim_ascii().trim_end_with(|c| c == '.');
        // `sda1-8` is the journal in inode 8 of sda1.
        return event(Kind::JournalAborted, journal.strip_suffix(b"-8").unwrap_or(journal), b"ext4");
    }
    for kind in ["ext4", "ext3", "ext2"] {
        let head = format!("{}-fs (", kind.to_ascii_uppercase());
        if text.starts_with(head.as_bytes()) && text.contains_str("error loading journal") {
            return event(Kind::JournalReplay, &named(inside(text)?), kind.as_bytes());
        }
        let head = format!("{}-fs error", kind.to_ascii_uppercase());
        if text.starts_with(head.as_bytes()) {
            let aborted = text.contains_str("Detected aborted journal") || text.contains_str("ournal has aborted");
            let what = if aborted { Kind::JournalAborted } else { Kind::FileSystem };
            return event(what, &named(inside(text)?), kind.as_bytes());
        }
    }
    if let Some(rest) = text.strip_prefix(b"XFS (") {
        // EFSBADCRC and EFSCORRUPTED (fs/xfs/xfs_linux.h): what was read is not what was written.
        const DAMAGED: [&str; 5] = ["orrupt", "Internal error", "failed to recover", " error 74", " error 117"];
        const GONE: [&str; 6] = [
            "etadata I/O ",
            "og I/O error",
            "xfs_do_force_shutdown",
            "shut down",
            "hutting down filesystem",
            "xfs_log_force: error",
        ];
        let (device, said) = rest.split_once_str(")")?;
        let has = |words: &[&str]| words.iter().any(|words| said.contains_str(words));
        if has(&DAMAGED) {
            return event(Kind::FileSystem, device, b"xfs");
        }
        let what = match () {
            () if has(&["etadata I/O "]) => "metadata",
            () if has(&["og I/O error", "og I/O Error", "og error"]) => "log",
            () => "",
        };
        return (has(&GONE) || what == "log").then(|| event(Kind::Shutdown, device, what.as_bytes()))?;
    }
    if let Some(rest) = text.strip_prefix(b"BTRFS") {
        let bad = ["error", "critical", "alert", "emerg"].iter().any(|level| {
            rest.strip_prefix(b": ")
                .or_else(|| rest.strip_prefix(b" "))
                .is_some_and(|rest| rest.starts_with(level.as_bytes()))
        });
        // Since 5.18 a state may follow: `(device sda1 state EA)`.
        let device = || after(rest, "(device ").map(|rest| first_word(rest.split_str(")").next().unwrap_or(rest)));
        if rest.contains_str("forced readonly") {
            return event(Kind::ReadOnly, device()?, b"btrfs");
        }
        return bad.then(|| event(Kind::FileSystem, device().unwrap_or_default(), b"btrfs"))?;
    }
    None
}

/// block/blk-core.c and block/blk-mq.c, fs/buffer.c, drivers/nvme.
fn io(text: &[u8]) -> Option<Event> {
    let device = if let Some(rest) = after(text, " error, dev ") {
        let head = before(text, " error, dev ")?;
        let known = [
            b"I/O".as_slice(),
            b"critical medium",
            b"critical target",
            b"critical space allocation",
            b"critical nexus",
        ];
        known.iter().any(|words| head.ends_with(words)).then_some(())?;
        rest
    } else if let Some(rest) = after(text, "Buffer I/O error on dev") {
        rest.strip_prefix(b"ice").unwrap_or(rest)
    } else if text.starts_with(b"nvme nvme") && (text.contains_str(" timeout") || text.contains_str("I/O Error")) {
        let name = text.strip_prefix(b"nvme ")?;
        return event(Kind::Io, name.split_str(":").next()?, b"timeout");
    } else {
        return None;
    };
    let device = first_word(device).trim_end_with(|c| c == ',');
    // Drives for media that are not in them answer every look with an error, and so does a loop device whose file went.
    let empty = [b"fd".as_slice(), b"sr", b"loop"].iter().any(|name| device.starts_with(name));
    (!empty).then(|| event(Kind::Io, device, b""))?
}

/// net/netfilter/nf_conntrack_core.c: `nf_conntrack: table full, dropping packet`; `ip_conntrack:` before 2.6.20.
fn conntrack(text: &[u8]) -> Option<Event> {
    before(text, ": table full, dropping packet").filter(|head| head.ends_with(b"_conntrack"))?;
    event(Kind::Conntrack, b"", b"")
}

/// net/ipv4/inet_timewait_sock.c and tcp_input.c.
fn sockets(text: &[u8]) -> Option<Event> {
    if text.contains_str("time wait bucket table overflow") {
        return event(Kind::TimeWait, b"", b"");
    }
    // Before 3.3 one sentence for both (net/ipv4/tcp_timer.c).
    if text.contains_str("too many orphaned sockets") || text.contains_str("oo many of orphaned sockets") {
        return event(Kind::TcpLimit, b"orphans", b"");
    }
    if text.contains_str("TCP: out of memory -- consider tuning tcp_mem") {
        return event(Kind::TcpLimit, b"memory", b"");
    }
    let rest = after(text, "ossible SYN flooding on port ")?;
    // The port, since 6.1 with the address that is listened on.
    let word = first_word(rest);
    event(Kind::SynFlood, word.trim_end_with(|c| c == '.'), b"")
}

/// net/core/neighbour.c: `neighbour: arp_cache: neighbor table overflow!`; before 3.10 `Neighbour table overflow.`
fn neighbours(text: &[u8]) -> Option<Event> {
    let at = text.find("eighbor table overflow").or_else(|| text.find("eighbour table overflow"))?;
    let head = text.get(..at.saturating_sub(1))?.trim_ascii().trim_end_with(|c| c == ':');
    event(Kind::Neighbours, head.rsplit_once_str(" ").map_or(head, |(_, table)| table), b"")
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
            // An exception is what could not be corrected; without the word it may be either.
            let fatal = rest.contains_str("Machine Check Exception");
            return event(Kind::Hardware, b"machine check", if fatal { b"uncorrected" } else { b"" });
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
    event(Kind::Hardware, &subject, if kind.starts_with(b"CE") { b"corrected" } else { b"uncorrected" })
}

/// fs/file_table.c: `VFS: file-max limit 1000 reached`
fn file_max(text: &[u8]) -> Option<Event> {
    let rest = text.strip_prefix(b"VFS: file-max limit ")?;
    event(Kind::FileMax, b"", first_word(rest))
}

/// A LOG target of iptables or nft (net/netfilter/nf_log_syslog.c): a prefix of the rule's author, then `IN=… OUT=… … SRC=`.
fn firewall(text: &[u8]) -> Option<Event> {
    let head = before(text, "IN=").filter(|_| text.contains_str(" SRC=") && text.contains_str(" DST="))?;
    let lower = head.to_ascii_lowercase();
    let drops = ["drop", "block", "deny", "denied", "reject", "invalid"].iter().any(|word| lower.contains_str(word));
    (drops || head.trim_ascii().is_empty()).then_some(())?;
    event(Kind::Firewall, head.trim_end_with(|c| c == ' ' || c == ':'), b"")
}

/// arch/*/mm/fault.c and lib/bug.c.
fn oops(text: &[u8]) -> Option<Event> {
    let at = ["BUG: unable to handle ", "Unable to handle kernel ", "kernel BUG at "]
        .iter()
        .find_map(|words| text.find(words))?;
    let said = text.get(at..)?;
    // The address differs each time.
    event(Kind::Oops, said.split_str(" at 0").next().unwrap_or(said), b"")
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
