//! What the kernel says of things other than the OOM killer, and what only sounds like it.

use sickbay_formats::kernel_log::{Kind, Scanner, Stamp, message};

/// The first line of an incident as the kernel prints it (with the release where it changed), the kind, the subject, the detail.
const INCIDENTS: &[(&str, Kind, &str, &str)] = &[
    ("swapper/0: page allocation failure: order:0, mode:0x20", Kind::PageAllocation, "swapper/0", "0"),
    (
        "kworker/u4:2: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)",
        Kind::PageAllocation,
        "kworker/u4:2",
        "4",
    ),
    ("nginx: page allocation failure. order:1, mode:0x20", Kind::PageAllocation, "nginx", "1"), // 2.6.32
    ("vmap allocation for size 67112960 failed: use vmalloc=<size> to increase size.", Kind::Vmalloc, "", "67112960"),
    ("iptables: vmalloc: allocation failure: 0 bytes", Kind::Vmalloc, "iptables", ""),
    (
        "warn_alloc: vmalloc error: size 4096, failed to allocate pages, mode:0xcc2(GFP_KERNEL|__GFP_HIGHMEM)",
        Kind::Vmalloc,
        "warn_alloc",
        "",
    ), // 5.13
    ("INFO: task jbd2/sda1-8:251 blocked for more than 120 seconds.", Kind::HungTask, "jbd2/sda1-8", "120"),
    ("INFO: task kworker/u8:0:7 blocked for more than 241 seconds.", Kind::HungTask, "kworker/u8:0", "241"),
    ("BUG: soft lockup - CPU#7 stuck for 67s! [java:4711]", Kind::Lockup, "java", "soft"),
    ("watchdog: BUG: soft lockup - CPU#3 stuck for 23s! [kworker/3:1:8123]", Kind::Lockup, "kworker/3:1", "soft"), // 4.15
    ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 5", Kind::Lockup, "CPU 5", "hard"),
    ("INFO: rcu_sched_state detected stall on CPU 3 (t=65000 jiffies)", Kind::RcuStall, "rcu_sched_state", ""), // 2.6.32
    ("INFO: rcu_sched self-detected stall on CPU { 3}  (t=60000 jiffies g=1 c=0 q=5)", Kind::RcuStall, "rcu_sched", ""),
    ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Kind::RcuStall, "rcu_preempt", ""),
    (
        "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... } 21 jiffies s: 1 root: 0x2/.",
        Kind::RcuStall,
        "rcu_preempt",
        "",
    ),
    (
        "php-fpm[811]: segfault at 8 ip 00007f12 sp 00007ffe error 4 in libxml2.so.2.9.4[7f0000+1a0000]",
        Kind::Crash,
        "php-fpm",
        "libxml2.so.2.9.4",
    ),
    ("my prog[9][812]: segfault at 0 ip 0 sp 0 error 14", Kind::Crash, "my prog[9]", ""),
    (
        "traps: node[900] trap invalid opcode ip:55d0c0de sp:7ffd0000 error:0 in node[400000+1200000]",
        Kind::Crash,
        "node",
        "node",
    ),
    (
        "traps: x[12] general protection fault ip:7f sp:7ff error:0 in libc-2.31.so[7f0000+178000]",
        Kind::Crash,
        "x",
        "libc-2.31.so",
    ),
    (
        "redis-server[77]: unhandled level 2 translation fault (11) at 0x00000000, esr 0x92000006, in redis-server[aaaa+1000]",
        Kind::Crash,
        "redis-server",
        "redis-server",
    ), // arm64
    (
        "EXT4-fs error (device sda1): ext4_lookup:1575: inode #2: comm ls: deleted inode referenced: 12",
        Kind::FileSystem,
        "sda1",
        "ext4",
    ),
    (
        "EXT3-fs error (device dm-2): ext3_journal_start_sb: Detected aborted journal",
        Kind::JournalAborted,
        "dm-2",
        "ext3",
    ),
    ("EXT4-fs (sda1): Remounting filesystem read-only", Kind::ReadOnly, "sda1", "EXT4-fs"),
    ("Aborting journal on device nvme0n1p2-8.", Kind::JournalAborted, "nvme0n1p2", "ext4"),
    ("XFS (vdb1): Corruption of in-memory data detected.  Shutting down filesystem", Kind::FileSystem, "vdb1", "xfs"),
    (
        "XFS (dm-0): metadata I/O error in \"xfs_da_read_buf+0xd1/0x100 [xfs]\" at daddr 0x1 len 8 error 74",
        Kind::FileSystem,
        "dm-0",
        "xfs",
    ),
    (
        "BTRFS error (device sdb1): parent transid verify failed on 1 wanted 8 found 6",
        Kind::FileSystem,
        "sdb1",
        "btrfs",
    ),
    (
        "BTRFS: error (device sdb) in btrfs_commit_transaction:2071: errno=-5 IO failure",
        Kind::FileSystem,
        "sdb",
        "btrfs",
    ),
    ("BTRFS error (device sdb state EA): Transaction aborted (error -5)", Kind::FileSystem, "sdb", "btrfs"),
    ("BTRFS info (device sdb): forced readonly", Kind::ReadOnly, "sdb", "btrfs"),
    ("end_request: I/O error, dev sda, sector 123456", Kind::Io, "sda", ""), // before 4.x
    ("blk_update_request: critical medium error, dev sdb, sector 2048 op 0x0:(READ) flags 0x0", Kind::Io, "sdb", ""),
    ("I/O error, dev vdb, sector 8 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2", Kind::Io, "vdb", ""), // 6.0
    ("Buffer I/O error on device sda1, logical block 0", Kind::Io, "sda1", ""),
    ("Buffer I/O error on dev dm-3, logical block 261, lost async page write", Kind::Io, "dm-3", ""),
    ("nvme nvme0: I/O 12 QID 3 timeout, aborting", Kind::Io, "nvme0", "timeout"),
    ("nf_conntrack: table full, dropping packet", Kind::Conntrack, "", ""),
    ("nf_conntrack: nf_conntrack: table full, dropping packet", Kind::Conntrack, "", ""),
    ("ip_conntrack: table full, dropping packet.", Kind::Conntrack, "", ""),
    ("TCP: time wait bucket table overflow", Kind::TimeWait, "", ""),
    ("possible SYN flooding on port 80. Sending cookies.", Kind::SynFlood, "80", ""),
    (
        "TCP: request_sock_TCP: Possible SYN flooding on port [::]:8080. Dropping request.",
        Kind::SynFlood,
        "[::]:8080",
        "",
    ),
    ("Neighbour table overflow.", Kind::Neighbours, "", ""), // before 3.10
    ("neighbour: arp_cache: neighbor table overflow!", Kind::Neighbours, "arp_cache", ""),
    (
        "cgroup: fork rejected by pids controller in /user.slice/user-1000.slice",
        Kind::Fork,
        "/user.slice/user-1000.slice",
        "",
    ),
    ("mce: [Hardware Error]: Machine check events logged", Kind::Hardware, "machine check", "corrected"),
    (
        "mce: [Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 6: be00000000800400",
        Kind::Hardware,
        "machine check, CPU 2 bank 6",
        "uncorrected",
    ),
    ("{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 4", Kind::Hardware, "APEI", ""),
    (
        "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#0_DIMM#0 (channel:0 slot:0)",
        Kind::Hardware,
        "MC0 CPU_SrcID#0_MC#0_Chan#0_DIMM#0",
        "corrected",
    ),
    ("EDAC MC1: 1 UE Cannot decode handle on unknown label (channel:0)", Kind::Hardware, "MC1 unknown", "uncorrected"),
    ("VFS: file-max limit 65536 reached", Kind::FileMax, "", "65536"),
    (
        "[UFW BLOCK] IN=eth0 OUT= MAC=00 SRC=198.51.100.7 DST=203.0.113.9 LEN=40 PROTO=TCP SPT=1 DPT=23",
        Kind::Firewall,
        "[UFW BLOCK]",
        "",
    ),
    ("INPUT-drop: IN=eth0 OUT= SRC=198.51.100.7 DST=203.0.113.9 LEN=40 PROTO=UDP", Kind::Firewall, "INPUT-drop", ""),
    (
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
        Kind::Oops,
        "BUG: unable to handle kernel NULL pointer dereference",
        "",
    ),
    (
        "Unable to handle kernel paging request at virtual address ffff0000",
        Kind::Oops,
        "Unable to handle kernel paging request",
        "",
    ),
    ("kernel BUG at mm/slub.c:321!", Kind::Oops, "kernel BUG at mm/slub.c:321!", ""),
    (
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        Kind::Panic,
        "VFS: Unable to mount root fs on unknown-block(0,0)",
        "",
    ),
    (
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        Kind::Panic,
        "Attempted to kill init! exitcode=0x00000100",
        "",
    ),
    ("Kernel panic - not syncing: softlockup: hung tasks", Kind::Panic, "softlockup: hung tasks", ""),
];

#[test]
fn every_incident_is_found_and_named() {
    for (words, kind, subject, detail) in INCIDENTS {
        for line in [
            format!("[  123.456789] {words}"),
            format!("Jun 12 10:36:02 web kernel: [  123.456789] {words}"),
            format!("2023-06-12T10:36:02.123456+08:00 web kernel: {words}"),
            format!("3,1,123456789,-;{words}"),
        ] {
            let mut scanner = Scanner::new();
            scanner.block(format!("{line}\n{line}\n").as_bytes());
            let log = scanner.finish();
            let [seen] = log.incidents.as_slice() else { panic!("{line}: {:?}", log.incidents) };
            assert_eq!((seen.kind, seen.subject.as_str(), seen.detail.as_str()), (*kind, *subject, *detail), "{line}");
            assert_eq!((seen.count, seen.words.as_str()), (2, *words), "{line}");
            assert!(seen.first.is_some(), "{line}");
        }
    }
    assert!(INCIDENTS.len() >= 20);
}

#[test]
fn what_only_sounds_like_it() {
    for words in [
        "XFS (dm-0): Mounting V5 Filesystem",
        "XFS (dm-0): Ending clean mount",
        "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: errors=remount-ro",
        "EXT4-fs (sda1): re-mounted. Opts: errors=remount-ro",
        "BTRFS info (device sdb): disk space caching is enabled",
        "BTRFS: device label data devid 1 transid 9 /dev/sdb",
        "I/O error, dev loop0, sector 0 op 0x1:(WRITE) flags 0x800 phys_seg 0 prio class 2",
        "blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0",
        "end_request: I/O error, dev sr0, sector 0",
        "Buffer I/O error on dev sr0, logical block 0, async page read",
        "EDAC MC: Ver: 3.0.0",
        "EDAC sbridge: Seeking for: PCI ID 8086:3ca0",
        "mce: CPU supports 10 MCE banks",
        "rcu: \tOffload RCU callbacks from CPUs: (none).",
        "nf_conntrack version 0.5.0 (65536 buckets, 262144 max)",
        "[UFW ALLOW] IN=eth0 OUT= SRC=198.51.100.7 DST=203.0.113.9 LEN=40 PROTO=TCP SPT=1 DPT=22",
        "systemd-coredump: killed process? no",
        "Command line: BOOT_IMAGE=/vmlinuz panic=10 oops=panic",
        "watchdog: Delayed init of the lockup detector failed: -19",
        "[Hardware Error]: It has been corrected by h/w and requires no further action",
        "cgroup: Disabling memory control group subsystem",
        "EXT4-fs (sda1): error count since last fsck: 0",
    ] {
        let mut scanner = Scanner::new();
        scanner.block(format!("[  123.456789] {words}\n").as_bytes());
        let log = scanner.finish();
        assert!(log.incidents.is_empty() && log.oom_count == 0, "{words}: {:?}", log.incidents);
    }
    // Other programs may say what they like.
    for (words, ..) in INCIDENTS {
        let mut scanner = Scanner::new();
        for author in ["monitor[12]", "monitor", "systemd[1]"] {
            scanner.block(format!("Jun 12 10:36:02 web {author}: {words}\n").as_bytes());
            scanner.block(format!("2023-06-12T10:36:02+08:00 web {author}: {words}\n").as_bytes());
            scanner.block(format!("<14>1 2023-06-12T10:36:02Z web {author} 12 - - {words}\n").as_bytes());
        }
        scanner.block(format!("{{\"_TRANSPORT\":\"syslog\",\"MESSAGE\":{:?}}}\n", words).as_bytes());
        scanner.block(format!("__REALTIME_TIMESTAMP=1\n_TRANSPORT=journal\nMESSAGE={words}\n\n").as_bytes());
        let log = scanner.finish();
        assert!(log.incidents.is_empty(), "{words}: {:?}", log.incidents);
    }
}

#[test]
fn many_subjects_are_bounded() {
    let mut scanner = Scanner::new();
    for number in 0..5000 {
        scanner.block(format!("[1.0] INFO: task t{number}:1 blocked for more than 120 seconds.\n").as_bytes());
    }
    let log = scanner.finish();
    assert!(log.incidents.len() <= 257);
    assert_eq!(log.incidents.iter().map(|seen| seen.count).sum::<u64>(), 5000);
}

#[test]
fn stamps() {
    let of = |line: &str| message(line.as_bytes()).time.map(|time| time.to_string()).unwrap_or_default();
    assert_eq!(of("[   12.345678] x"), "[12.345678]");
    assert_eq!(of("Jun  2 10:36:02 h kernel: x"), "Jun  2 10:36:02");
    assert_eq!(of("[Mon Jun 12 10:36:02 2023] x"), "2023-06-12 10:36:02");
    assert_eq!(of("2023-06-12T10:36:02.5+08:00 h kernel: x"), "2023-06-12 10:36:02+08:00");
    assert_eq!(of("2023-06-12T10:36:02Z h kernel: x"), "2023-06-12 10:36:02Z");
    assert_eq!(of("1686537362.123456 h kernel: x"), "2023-06-12 02:36:02Z");
    assert_eq!(of("no time"), "");
    assert_eq!(Stamp::of_unix(951_782_400).to_string(), "2000-02-29 00:00:00Z");
    let at = |line: &str| message(line.as_bytes()).time.unwrap();
    let (dec, jan) = (at("2023-12-31T23:59:00Z h kernel: x"), at("2024-01-01T08:00:00+08:00 h kernel: x"));
    assert_eq!(dec.seconds_to(jan), Some(60));
    assert_eq!(dec.seconds_to(at("[1.0] x")), None);
}
