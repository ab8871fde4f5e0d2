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
    // Before 3.0 (EL 6) it does not name the device.
    if text.starts_with(b"XFS: Internal error") || text.starts_with(b"XFS internal error") {
        return event(Kind::FileSystem, b"", b"xfs");
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
        if rest.contains_str("csum failed root") {
            return event(Kind::DataDamaged, device()?, b"btrfs");
        }
        // `bdev /dev/sdb errs: wr 0, rd 0, flush 0, corrupt 5, gen 0`, as information at each mount once there was one.
        if let Some((disk, counters)) = after(rest, "bdev ").and_then(|rest| rest.split_once_str(" errs: ")) {
            let any = counters.iter().any(|byte| matches!(byte, b'1'..=b'9'));
            return any.then(|| event(Kind::DiskErrors, disk, counters))?;
        }
        if let Some(rest) = after(rest, "fixed up error at ") {
            return event(Kind::DiskErrors, first_word(after(rest, "on dev ")?), b"");
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

/// drivers/ata/libata-eh.c: `ata1.00: exception Emask 0x0 SAct 0x1 SErr 0x0 action 0x6 frozen`; drivers/nvme/host/pci.c; and
/// drivers/scsi/scsi_lib.c.
fn disk(text: &[u8]) -> Option<Event> {
    if let Some(port) = before(text, ": exception Emask ").filter(|port| port.starts_with(b"ata")) {
        // Without an action it is a word on a medium, as of an empty drive.
        let acts = text.contains_str("frozen") || text.contains_str(" action 0x6") || text.contains_str(" action 0xe");
        let port = port.split_str(".").next().unwrap_or(port);
        return acts.then(|| event(Kind::DiskReset, port, b"timeout"))?;
    }
    if let Some(rest) = text.strip_prefix(b"nvme nvme") {
        let (number, said) = rest.split_once_str(": ")?;
        let name = [b"nvme", number].concat();
        if said.starts_with(b"controller is down") {
            return event(Kind::DiskReset, &name, b"down");
        }
        let gone = ["emoving after probe failure", "isabling device after reset failure", "Device not ready; aborting"];
        return gone.iter().any(|words| said.contains_str(words)).then(|| event(Kind::DiskGone, &name, b""))?;
    }
    let head = before(text, "rejecting I/O to offline device").filter(|head| head.starts_with(b"sd "))?;
    // `sd 2:0:0:0: [sdb] rejecting I/O …`; older ones do not name it.
    let named = after(head, "[").and_then(|rest| before(rest, "]"));
    event(Kind::DiskGone, named.unwrap_or(head.trim_end_with(|c| c == ' ' || c == ':')), b"")
}

/// net/sched/sch_generic.c: `NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out`, since 6.5
/// `e1000e 0000:00:1f.6 eth0: NETDEV WATCHDOG: CPU: 3: transmit queue 0 timed out 5010 ms`; drivers' `eth0: NIC Link is Down`.
fn network_card(text: &[u8]) -> Option<Event> {
    if let Some(rest) = after(text, "NETDEV WATCHDOG: ") {
        text.contains_str("transmit queue").then_some(())?;
        if rest.starts_with(b"CPU: ") {
            let head = before(text, ": NETDEV WATCHDOG")?;
            let interface = head.rsplit_once_str(" ").map_or(head, |(_, name)| name);
            return event(Kind::NicHang, interface, first_word(head));
        }
        let driver = after(rest, "(").and_then(|rest| before(rest, ")")).unwrap_or_default();
        return event(Kind::NicHang, first_word(rest).trim_end_with(|c| c == ':'), driver);
    }
    // drivers/net/ethernet/amazon/ena.
    if let Some(head) = before(text, ": Keep alive watchdog timeout").filter(|head| head.starts_with(b"ena ")) {
        return event(Kind::NicHang, head.rsplit_once_str(" ")?.1, b"ena");
    }
    let head = before(text, "ink is Down").or_else(|| before(text, "ink is down"))?;
    let head = head.strip_suffix(b"L").or_else(|| head.strip_suffix(b"l"))?.trim_ascii_end();
    let head = head.strip_suffix(b"NIC").unwrap_or(head).trim_ascii_end().trim_end_with(|c| c == ':');
    let interface = head.rsplit(|byte| *byte == b' ').next().filter(|name| !name.is_empty())?;
    event(Kind::LinkDown, interface, first_word(text).trim_end_with(|c| c == ':'))
}

/// drivers/md/raid1.c and its like: `md/raid1:md0: Disk failure on sdb1, disabling device.`; drivers/md/dm-mpath.c
/// `device-mapper: multipath: 253:3: Failing path 8:32.`; ZFS' `Pool 'tank' has encountered an uncorrectable I/O failure and has
/// been suspended.`
fn array(text: &[u8]) -> Option<Event> {
    if let Some(rest) = after(text, ": Disk failure on ").filter(|_| text.starts_with(b"md")) {
        let head = before(text, ": Disk failure on ")?;
        let array = head.rsplit(|byte| *byte == b':').next().unwrap_or(head);
        return event(Kind::ArrayDegraded, array, first_word(rest).trim_end_with(|c| c == ','));
    }
    if let Some(rest) = text.strip_prefix(b"device-mapper: multipath: ") {
        let (device, path) = rest.split_once_str("ailing path ")?;
        let device = device.trim_end_with(|c| c == 'F' || c == ' ' || c == ':');
        return event(Kind::PathFailed, device, first_word(path).trim_end_with(|c| c == '.'));
    }
    let pool = after(before(text, "' has encountered an uncorrectable I/O failure and has been suspended")?, "Pool '")?;
    event(Kind::PoolSuspended, pool, b"")
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

/// drivers/md/dm-thin.c: `device-mapper: thin: 253:4: switching pool to out-of-data-space (queue IO) mode`.
fn thin_pool(text: &[u8]) -> Option<Event> {
    let rest = text.strip_prefix(b"device-mapper: thin: ")?;
    let (pool, said) = rest.split_once_str(": ")?;
    if said.contains_str("to out-of-data-space") || said.contains_str("no free data space available") {
        return event(Kind::PoolFull, pool, b"data");
    }
    let full = said.contains_str("no free metadata space available")
        || said.contains_str("metadata operation") && said.contains_str("error = -28");
    full.then(|| event(Kind::PoolFull, pool, b"metadata"))?
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
