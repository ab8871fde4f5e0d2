//! `fs`, `kernel`, `user`.

use super::{Asked, FS, Judgement, KERNEL, KEY, Key, Preset, Range, Takes, Unit, Verdict, adapt, good, idle, refuse};
use crate::tr;
use crate::tune::kernel::{EVER, from, from_el};

/// The entries.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "fs.file-max",
        what: || tr!("open files of the whole machine"),
        rule: Some(file_max),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.nr_open",
        what: || {
            tr!(
                "the most open files that any one process may be allowed: nobody, not even root, may have a greater limit"
            )
        },
        rule: Some(|asked| {
            match asked.value() {
            0..1_048_576 => refuse(tr!("every limit above it is refused: services with LimitNOFILE=infinity, and logins whose limits.conf says more, no longer start")).map(|one| one.with(1_048_576)),
            1_048_576 => good(tr!("what the kernel begins with; systemd may have raised it, and infinity means this number then")),
            value if value > 1 << 30 => Some(Judgement::new(Verdict::Malformed, tr!("the kernel refuses more than {most}", most = 1_u64 << 30)).with(1_u64 << 30)),
            value if value > 10_000_000 => adapt(tr!("programs that walk all descriptors they may have, or make room for each, take minutes or gigabytes (old java, rpm, select() servers)"), 1_048_576)
                .map(|one| one.from(&["containerd#7566"])),
            _ => None,
        }
        }),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.aio-max-nr",
        preset: &[(EVER, Preset::Is("65536"))],
        what: || tr!("requests of asynchronous I/O that may wait in the whole machine: databases ask for 1048576"),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.inotify.max_user_watches",
        what: || tr!("files and directories that the programs of one user may watch"),
        range: Some(|_| {
            Some(Range {
                least: 8192,
                most: 1 << 24,
                why: tr!("each takes about a KiB of memory that cannot be swapped out"),
            })
        }),
        sources: &["92890123749b", "inotify(7)"],
        ..KEY
    },
    Key {
        name: "fs.inotify.max_user_instances",
        preset: &[(EVER, Preset::Is("128"))],
        what: || tr!("inotify descriptors of one user: hosts of many containers need some thousands"),
        range: Some(|_| {
            Some(Range {
                least: 128,
                most: 1 << 20,
                why: tr!("below the default services of root fail with \"too many open files\""),
            })
        }),
        sources: &["inotify(7)"],
        ..KEY
    },
    Key {
        name: "fs.inotify.max_queued_events",
        preset: &[(EVER, Preset::Is("16384"))],
        what: || tr!("events that wait for one program"),
        sources: &["inotify(7)"],
        ..KEY
    },
    Key {
        name: "fs.suid_dumpable",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("whether programs that have changed their user leave a core"),
        rule: Some(|asked| match asked.value() {
            1 => refuse(tr!("everybody can read the memory of programs that run as root out of their cores"))
                .map(|one| one.with(0)),
            _ => None,
        }),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.protected_hardlinks",
        since: from_el(3, 6, 7),
        what: || tr!("nobody may link to files of others"),
        rule: Some(protected),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.protected_symlinks",
        since: from_el(3, 6, 7),
        what: || tr!("links of others in /tmp are not followed"),
        rule: Some(protected),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.protected_fifos",
        since: from_el(4, 19, 8),
        what: || tr!("FIFOs of others in /tmp are not written to"),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.protected_regular",
        since: from_el(4, 19, 8),
        what: || tr!("files of others in /tmp are not written to"),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.pipe-max-size",
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("1048576"))],
        what: || tr!("how large a pipe may be made without privileges"),
        sources: FS,
        ..KEY
    },
    Key {
        name: "fs.file-nr",
        takes: Takes::Words,
        what: || tr!("how many files are open: it can only be read"),
        rule: Some(|_| Some(Judgement::new(Verdict::Malformed, tr!("it can only be read: fs.file-max is the limit")))),
        sources: FS,
        ..KEY
    },
    Key {
        name: "kernel.pid_max",
        what: || tr!("numbers of processes and threads end here, so that there are never more"),
        rule: Some(|asked| match asked.value() {
            0..=300 => Some(Judgement::new(Verdict::Malformed, tr!("the kernel refuses less than 301")).with(32_768)),
            301..32_768 => adapt(
                tr!("a decrease: threads count too, and a busy machine runs out of numbers (\"cannot fork\")"),
                32_768,
            ),
            4_194_305.. => {
                Some(Judgement::new(Verdict::Malformed, tr!("the kernel refuses more than 4194304")).with(4_194_304))
            }
            32_768 => good(tr!(
                "what the kernel begins with; systemd 243 and later ship 4194304, of which this is a decrease"
            )),
            _ => None,
        }),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.threads-max",
        preset: &[(EVER, Preset::Sized(|machine| Some(machine.memory? / 128)))],
        what: || {
            tr!(
                "threads of the whole machine: the kernel takes as many as fill an eighth of the memory with their stacks"
            )
        },
        range: Some(|machine| {
            let own = machine.memory? / 128;
            Some(Range {
                least: (own / 4).min(16_000),
                most: own.saturating_mul(4).max(16_000),
                why: tr!(
                    "the stacks of so many threads would take half of the memory and more; so few are used up by a busy server"
                ),
            })
        }),
        sources: &["kernel/fork.c: set_max_threads()"],
        ..KEY
    },
    Key {
        name: "kernel.panic",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("0"))],
        what: || {
            tr!(
                "after a panic the machine starts again in so many seconds; 0 stays stopped, so that its console can be read"
            )
        },
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.panic_on_oops",
        what: || tr!("a fault of the kernel stops the machine: right where a crash dump or another machine takes over"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.sysrq",
        what: || tr!("which orders the keyboard and /proc/sysrq-trigger may give"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.core_uses_pid",
        what: || tr!("the name of a core ends in the number of its process"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.core_pattern",
        takes: Takes::Words,
        what: || tr!("where cores go; it replaces what systemd-coredump, abrt or apport set"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.randomize_va_space",
        preset: &[(EVER, Preset::Is("2"))],
        what: || tr!("programs lie at another address each time"),
        rule: Some(|asked| match asked.value() {
            2 => None,
            _ => refuse(tr!(
                "every hole in a program is easier to use; one old program can be started with setarch -R instead"
            ))
            .map(|one| one.with(2)),
        }),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.exec-shield",
        until: Some(from_el(0, 0, 7)),
        what: || tr!("it was Red Hat's alone, up to EL 6"),
        sources: &["RHEL 6"],
        ..KEY
    },
    Key {
        name: "kernel.kptr_restrict",
        what: || tr!("addresses of the kernel are hidden: 1 from users, 2 from root too"),
        sources: KERNEL,
        ..KEY
    },
    Key { name: "kernel.dmesg_restrict", what: || tr!("only root reads the kernel log"), sources: KERNEL, ..KEY },
    Key {
        name: "kernel.kexec_load_disabled",
        since: from_el(3, 14, 7),
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("no other kernel can be started from this one: kdump must have loaded its own before"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.modules_disabled",
        preset: &[(EVER, Preset::Is("0"))],
        what: || {
            tr!(
                "no module can be loaded any more until a restart: what is not there yet (a firewall, a file system) fails"
            )
        },
        sources: KERNEL,
        ..KEY
    },
    Key { name: "kernel.perf_event_paranoid", what: || tr!("what users may measure"), sources: KERNEL, ..KEY },
    Key {
        name: "kernel.unprivileged_bpf_disabled",
        since: from_el(4, 4, 7),
        what: || tr!("users may load no programs of BPF"),
        sources: KERNEL,
        ..KEY
    },
    Key { name: "kernel.yama.ptrace_scope", what: || tr!("who may trace whom"), sources: &["LSM/Yama.rst"], ..KEY },
    Key {
        name: "kernel.numa_balancing",
        since: from_el(3, 8, 7),
        what: || tr!("moves memory to the processor that uses it; databases that bind theirs turn it off"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.hung_task_timeout_secs",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("120"))],
        what: || tr!("a process that waits longer for a disk or a lock is told in the log"),
        rule: Some(|asked| match asked.value() {
            0 => adapt(
                tr!("it hides the message and leaves the process hanging: nobody will know why the load is high"),
                120,
            ),
            _ => None,
        }),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.hung_task_panic",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("a process that waits too long stops the machine"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.softlockup_panic",
        what: || tr!("a processor that is stuck stops the machine"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.watchdog_thresh",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("10"))],
        what: || tr!("a processor that is stuck for twice as long is told in the log"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.nmi_watchdog",
        what: || tr!("finds processors that no longer take interrupts; costs a counter of the hardware"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.printk",
        takes: Takes::Numbers(4),
        what: || tr!("which messages come to the console"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.shmmax",
        unit: Unit::Bytes,
        preset: &[(from(3, 16), Preset::Is("18446744073692774399"))],
        what: || tr!("how large one segment of System V shared memory may be"),
        rule: Some(|asked| shared_memory(asked, 1)),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.shmall",
        unit: Unit::Pages,
        preset: &[(from(3, 16), Preset::Is("18446744073692774399"))],
        what: || tr!("System V shared memory of the whole machine, in pages"),
        rule: Some(|asked| shared_memory(asked, 4096)),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.shmmni",
        preset: &[(EVER, Preset::Is("4096"))],
        what: || tr!("so many segments of System V shared memory"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.msgmnb",
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("16384"))],
        what: || tr!("how much may wait in one System V message queue"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.msgmax",
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("8192"))],
        what: || tr!("how large one System V message may be"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.msgmni",
        preset: &[(from(3, 19), Preset::Is("32000"))],
        what: || tr!("so many System V message queues"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.sem",
        takes: Takes::Numbers(4),
        what: || tr!("System V semaphores: in one set, in all, operations at once, sets"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.sched_autogroup_enabled",
        what: || tr!("each terminal gets the same share of the processors"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.sched_migration_cost_ns",
        until: Some(from(5, 13)),
        unit: Unit::Nanoseconds,
        preset: &[(EVER, Preset::Is("500000"))],
        what: || tr!("a task that ran within this time is not moved; now /sys/kernel/debug/sched"),
        sources: &["8a99b6833c88"],
        ..KEY
    },
    Key {
        name: "kernel.sched_min_granularity_ns",
        until: Some(from(5, 13)),
        unit: Unit::Nanoseconds,
        what: || tr!("how long a task runs at least; now /sys/kernel/debug/sched"),
        sources: &["8a99b6833c88"],
        ..KEY
    },
    Key {
        name: "kernel.sched_wakeup_granularity_ns",
        until: Some(from(5, 13)),
        unit: Unit::Nanoseconds,
        what: || tr!("how soon a task that wakes takes the place of another; now /sys/kernel/debug/sched"),
        sources: &["8a99b6833c88"],
        ..KEY
    },
    Key {
        name: "kernel.sched_latency_ns",
        until: Some(from(5, 13)),
        unit: Unit::Nanoseconds,
        what: || tr!("within this time each task runs once; now /sys/kernel/debug/sched"),
        sources: &["8a99b6833c88"],
        ..KEY
    },
    Key {
        name: "kernel.sched_rt_runtime_us",
        unit: Unit::Microseconds,
        preset: &[(EVER, Preset::Is("950000"))],
        what: || tr!("how much of each second real-time tasks may take"),
        rule: Some(|asked| match asked.numbers.first() {
            Some(-1) => adapt(
                tr!("a real-time task that spins takes the processor for ever, and nobody can log in to end it"),
                950_000,
            ),
            _ => None,
        }),
        sources: &["scheduler/sched-rt-group.rst"],
        ..KEY
    },
    Key {
        name: "kernel.sched_child_runs_first",
        until: Some(from(6, 6)),
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("after fork() the child runs first"),
        sources: &["Linux 6.6"],
        ..KEY
    },
    Key {
        name: "kernel.pty.max",
        preset: &[(EVER, Preset::Is("4096"))],
        what: || tr!("so many terminals of ssh, tmux and the like"),
        range: Some(|_| Some(Range { least: 64, most: 1 << 20, why: tr!("a login gets no terminal") })),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.task_delayacct",
        since: from(5, 14),
        preset: &[(EVER, Preset::Is("0"))],
        what: || {
            tr!("measures what each process waits for, which iotop needs; processes that run already stay unmeasured")
        },
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.keys.maxkeys",
        preset: &[(EVER, Preset::Is("200"))],
        what: || tr!("keys of one user: hosts of many containers need thousands"),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "kernel.random.write_wakeup_threshold",
        what: || tr!("from when on the pool of randomness asks for more"),
        rule: Some(
            |asked| if asked.since(from(5, 18)) { idle(tr!("since Linux 5.18 nothing reads it")) } else { None },
        ),
        sources: KERNEL,
        ..KEY
    },
    Key {
        name: "user.max_user_namespaces",
        since: from_el(4, 9, 7),
        what: || tr!("user namespaces of one user: 0 forbids containers without root, and browsers their sandbox"),
        sources: &["namespaces(7)"],
        ..KEY
    },
];

/// `unit` is what it counts, in bytes. Since 3.16 the default is as good as none (ipc/shm.c).
fn shared_memory(asked: &Asked<'_>, unit: i128) -> Option<Judgement> {
    const NONE: i128 = 18_446_744_073_692_774_399;
    let value = asked.numbers.first().copied().unwrap_or_default();
    if !asked.since(from(3, 16)) || value >= NONE {
        return None;
    }
    let memory = asked.machine.memory.map(|kib| i128::from(kib) * 1024);
    if memory.is_some_and(|memory| value.saturating_mul(unit) >= memory) {
        return good(tr!("more than the memory: it bounds nothing"));
    }
    adapt(tr!("a decrease: since Linux 3.16 there is no bound by default, leave the line out"), NONE)
        .map(|one| one.from(&["060028bac94b"]))
}

fn protected(asked: &Asked<'_>) -> Option<Judgement> {
    match asked.value() {
        0 => refuse(tr!("every program of root that writes to /tmp can be led to another file")).map(|one| one.with(1)),
        _ => None,
    }
}

/// The kernel allows a file for each 10 KiB of memory (fs/file_table.c, files_maxfiles_init()); systemd since 240 as many as there can be.
fn file_max(asked: &Asked<'_>) -> Option<Judgement> {
    let value = asked.value();
    let Some(own) = asked.machine.memory.map(|memory| (memory / 10).max(8192)) else {
        return if value < 100_000 {
            adapt(
                tr!(
                    "open files of the whole machine, not of one process: the kernel takes one for each 10 KiB of memory by itself, systemd as many as there can be"
                ),
                1_000_000,
            )
        } else {
            None
        };
    };
    if value < own && value < 1_000_000 {
        return adapt(
            tr!(
                "a decrease: the kernel takes {own} on this machine by itself (a tenth of the memory in KiB), systemd since 240 as many as there can be. It is no limit of one process",
                own
            ),
            own,
        );
    }
    good(tr!(
        "{own} by itself on this machine, with systemd since 240 as many as there can be; it is no limit of one process",
        own
    ))
}
