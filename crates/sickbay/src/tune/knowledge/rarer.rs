//! Parameters that lists set now and then: hardening, desktops, LVS, NFS, arrays.

use super::Asked;
use super::{CONNTRACK, CORE, FS, IP, Judgement, KERNEL, KEY, Key, Preset, Takes, Unit, VM, adapt, good, idle};
use crate::tr;
use crate::tune::kernel::{EVER, from, from_el};

/// The entries.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "net.core.bpf_jit_harden",
        since: from(4, 7),
        preset: &[(from(4, 7), Preset::Is("0"))],
        sources: CORE,
        what: || tr!("hides the constants in programs of BPF: 1 in those of users, 2 in all, which makes them slower"),
        ..KEY
    },
    Key {
        name: "net.core.high_order_alloc_disable",
        since: from(5, 14),
        preset: &[(from(5, 14), Preset::Is("0"))],
        sources: CORE,
        what: || tr!("sockets take memory in single pages only"),
        ..KEY
    },
    Key {
        name: "net.core.message_cost",
        preset: &[(EVER, Preset::Is("5"))],
        sources: CORE,
        what: || tr!("how sparingly the network writes warnings to the kernel log"),
        ..KEY
    },
    Key {
        name: "net.core.message_burst",
        preset: &[(EVER, Preset::Is("10"))],
        sources: CORE,
        what: || tr!("so many warnings of the network may come at once"),
        ..KEY
    },
    Key {
        name: "net.ipv4.ipfrag_high_thresh",
        unit: Unit::Bytes,
        preset: &[(from(4, 4), Preset::Is("4194304"))],
        rule: Some(fragments),
        sources: IP,
        what: || tr!("memory for fragments of packets that wait for the rest: beyond it new ones are dropped"),
        ..KEY
    },
    Key {
        name: "net.ipv4.ipfrag_low_thresh",
        unit: Unit::Bytes,
        rule: Some(
            |asked| if asked.since(from(4, 17)) { idle(tr!("since Linux 4.17 nothing reads it")) } else { None },
        ),
        sources: IP,
        what: || tr!("down to which memory of fragments is freed"),
        ..KEY
    },
    Key {
        name: "net.ipv4.ipfrag_time",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("30"))],
        sources: IP,
        what: || tr!("how long the fragments of a packet wait for the rest"),
        ..KEY
    },
    Key {
        name: "net.ipv4.inet_peer_threshold",
        preset: &[],
        sources: IP,
        what: || tr!("from so many entries on, the table of peers throws some away"),
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_pacing_ss_ratio",
        since: from(4, 3),
        unit: Unit::Percent,
        preset: &[(from(4, 3), Preset::Is("200"))],
        sources: IP,
        what: || tr!("how fast a paced connection sends while it is still finding out what fits"),
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_pacing_ca_ratio",
        since: from(4, 3),
        unit: Unit::Percent,
        preset: &[(from(4, 3), Preset::Is("120"))],
        sources: IP,
        what: || tr!("how fast a paced connection sends once it knows what fits"),
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_min_tso_segs",
        since: from(3, 12),
        preset: &[(from(3, 12), Preset::Is("2"))],
        sources: IP,
        what: || tr!("so many segments at least are handed to the card at once"),
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_base_mss",
        preset: &[(from(4, 1), Preset::Is("1024"))],
        unit: Unit::Bytes,
        sources: IP,
        what: || tr!("the segment size with which tcp_mtu_probing begins"),
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_invalid_ratelimit",
        since: from(4, 0),
        preset: &[(from(4, 0), Preset::Is("500"))],
        sources: IP,
        what: || tr!("how many milliseconds lie between two answers to segments that are not valid"),
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_recovery",
        since: from(4, 4),
        preset: &[(from(4, 4), Preset::Is("1"))],
        sources: IP,
        what: || tr!("finds losses by time, not only by number"),
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_app_win",
        preset: &[(EVER, Preset::Is("31"))],
        sources: IP,
        what: || tr!("how much of the window is kept for the program's own buffer"),
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_l3mdev_accept",
        since: from(4, 5),
        preset: &[(from(4, 5), Preset::Is("0"))],
        sources: IP,
        what: || tr!("a listener outside of every VRF takes connections from all of them"),
        ..KEY
    },
    Key {
        name: "net.ipv4.fib_multipath_hash_policy",
        since: from(4, 12),
        preset: &[(from(4, 12), Preset::Is("0"))],
        sources: IP,
        what: || tr!("how packets are shared among several next hops: 0 by addresses, 1 by ports too"),
        ..KEY
    },
    Key {
        name: "net.ipv4.ping_group_range",
        takes: Takes::Numbers(2),
        sources: IP,
        what: || tr!("groups whose members may ping without privileges"),
        ..KEY
    },
    Key {
        name: "net.ipv4.igmp_max_memberships",
        preset: &[(EVER, Preset::Is("20"))],
        sources: IP,
        what: || tr!("so many multicast groups one socket may join"),
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.route_localnet",
        since: from(3, 6),
        preset: &[(from(3, 6), Preset::Is("0"))],
        rule: Some(|asked| match asked.value() {
            0 => None,
            _ => good(tr!(
                "packets for 127.0.0.0/8 may come from the network: what listens on loopback only is reached from there unless a firewall drops them"
            )),
        }),
        sources: IP,
        what: || tr!("packets for 127.0.0.0/8 may come from the network"),
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.arp_filter",
        preset: &[(EVER, Preset::Is("0"))],
        sources: IP,
        what: || tr!("answers ARP only on the interface that the answer's route goes out of"),
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.arp_notify",
        preset: &[(EVER, Preset::Is("0"))],
        sources: IP,
        what: || tr!("tells neighbours when an address or a card comes up"),
        ..KEY
    },
    Key {
        name: "net.ipv4.vs.conntrack",
        module: Some("ip_vs"),
        preset: &[(EVER, Preset::Is("0"))],
        sources: &["ipvs-sysctl.rst"],
        what: || tr!("connections of LVS stay in the firewall's table, so that its rules see them"),
        ..KEY
    },
    Key {
        name: "net.ipv4.vs.expire_nodest_conn",
        module: Some("ip_vs"),
        preset: &[(EVER, Preset::Is("0"))],
        sources: &["ipvs-sysctl.rst"],
        what: || tr!("connections to a server of LVS that was taken out end at once"),
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_count",
        module: Some("nf_conntrack"),
        rule: Some(|_| idle(tr!("read only: it is how many there are now"))),
        sources: CONNTRACK,
        what: || tr!("how many connections the firewall follows now"),
        ..KEY
    },
    Key {
        name: "net.ipv6.neigh.default.gc_thresh1",
        preset: &[(EVER, Preset::Is("128"))],
        sources: IP,
        what: || tr!("up to so many IPv6 neighbours are kept whatever their age"),
        ..KEY
    },
    Key {
        name: "net.ipv6.neigh.default.gc_thresh2",
        preset: &[(EVER, Preset::Is("512"))],
        sources: IP,
        what: || tr!("beyond so many IPv6 neighbours those older than 5 seconds go"),
        ..KEY
    },
    Key {
        name: "net.ipv6.neigh.default.gc_thresh3",
        preset: &[(EVER, Preset::Is("1024"))],
        sources: IP,
        what: || tr!("so many IPv6 neighbours there may be: beyond it packets to new ones are dropped"),
        ..KEY
    },
    Key {
        name: "net.ipv6.route.max_size",
        rule: Some(|asked| if asked.since(from(6, 3)) { idle(tr!("since Linux 6.3 nothing reads it")) } else { None }),
        sources: &["af6d10345ca7", "ip-sysctl.rst"],
        what: || tr!("so many IPv6 routes there may be: with less than a provider has, the machine loses its network"),
        ..KEY
    },
    Key {
        name: "net.ipv6.bindv6only",
        preset: &[(EVER, Preset::Is("0"))],
        sources: IP,
        what: || tr!("a listener on [::] takes IPv6 only: with 1, programs that count on both lose IPv4"),
        ..KEY
    },
    Key {
        name: "net.ipv6.conf.*.use_tempaddr",
        sources: IP,
        what: || tr!("outgoing connections take addresses that change, which rules by address do not know"),
        ..KEY
    },
    Key {
        name: "net.mptcp.enabled",
        since: from(5, 6),
        preset: &[(from(5, 6), Preset::Is("1"))],
        sources: &["mptcp-sysctl.rst"],
        what: || tr!("programs may open connections over several paths"),
        ..KEY
    },
    Key {
        name: "sunrpc.tcp_slot_table_entries",
        module: Some("sunrpc"),
        sources: &["21de0a955f3a"],
        what: || tr!("how many requests to an NFS server may be on the way at least"),
        ..KEY
    },
    Key {
        name: "sunrpc.tcp_max_slot_table_entries",
        since: from_el(3, 1, 7),
        module: Some("sunrpc"),
        sources: &["21de0a955f3a"],
        what: || tr!("how many requests to an NFS server may be on the way at most"),
        ..KEY
    },
    Key {
        name: "fs.nfs.nlm_tcpport",
        module: Some("lockd"),
        preset: &[(EVER, Preset::Is("0"))],
        sources: &["filesystems/nfs"],
        what: || tr!("the port on which NFS locks are asked for, so that a firewall can let it through"),
        ..KEY
    },
    Key {
        name: "fs.nfs.nlm_udpport",
        module: Some("lockd"),
        preset: &[(EVER, Preset::Is("0"))],
        sources: &["filesystems/nfs"],
        what: || tr!("the port on which NFS locks are asked for, so that a firewall can let it through"),
        ..KEY
    },
    Key {
        name: "fs.xfs.xfssyncd_centisecs",
        module: Some("xfs"),
        unit: Unit::Centiseconds,
        preset: &[(EVER, Preset::Is("3000"))],
        sources: &["admin-guide/xfs.rst"],
        what: || tr!("how often XFS writes its metadata out"),
        ..KEY
    },
    Key {
        name: "fs.may_detach_mounts",
        until: Some(from_el(0, 0, 8)),
        preset: &[(EVER, Preset::Is("0"))],
        sources: &["RHEL 7.4"],
        what: || {
            tr!(
                "only in EL 7, where containers need 1 to be removed (\"device or resource busy\"); Linux itself always does so"
            )
        },
        ..KEY
    },
    Key {
        name: "fs.mount-max",
        since: from(4, 9),
        preset: &[(from(4, 9), Preset::Is("100000"))],
        sources: FS,
        what: || tr!("mounts in one mount namespace"),
        ..KEY
    },
    Key {
        name: "fs.lease-break-time",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("45"))],
        sources: FS,
        what: || tr!("how long a program may keep a lease that another needs"),
        ..KEY
    },
    Key {
        name: "fs.epoll.max_user_watches",
        sources: FS,
        what: || tr!("descriptors that the epolls of one user may watch: 4 % of the memory by itself"),
        ..KEY
    },
    Key {
        name: "vm.unprivileged_userfaultfd",
        since: from(5, 2),
        preset: &[(from(5, 2), Preset::Is("1")), (from(5, 11), Preset::Is("0"))],
        sources: VM,
        what: || tr!("users may handle page faults of the kernel by themselves"),
        ..KEY
    },
    Key {
        name: "vm.mmap_rnd_bits",
        since: from(4, 5),
        sources: VM,
        what: || tr!("how random the addresses of mappings are"),
        ..KEY
    },
    Key {
        name: "vm.compaction_proactiveness",
        since: from(5, 9),
        preset: &[(from(5, 9), Preset::Is("20"))],
        sources: VM,
        what: || tr!("how eagerly memory is brought together in the background; 0 turns it off"),
        ..KEY
    },
    Key {
        name: "kernel.unprivileged_userns_clone",
        sources: &["Debian"],
        what: || {
            tr!(
                "only kernels of Debian and its like have it: 0 forbids containers without root, and browsers their sandbox"
            )
        },
        ..KEY
    },
    Key {
        name: "kernel.split_lock_mitigate",
        since: from(6, 2),
        preset: &[(from(6, 2), Preset::Is("1"))],
        sources: KERNEL,
        what: || {
            tr!("slows programs down whose atomic access crosses two cache lines, because it stops the whole machine")
        },
        ..KEY
    },
    Key {
        name: "kernel.sched_cfs_bandwidth_slice_us",
        since: from(3, 2),
        unit: Unit::Microseconds,
        preset: &[(from(3, 2), Preset::Is("5000"))],
        sources: &["scheduler/sched-bwc.rst"],
        what: || {
            tr!("in what pieces a cgroup's quota is handed to the processors: less throttles fairer and costs more")
        },
        ..KEY
    },
    Key {
        name: "kernel.timer_migration",
        preset: &[(EVER, Preset::Is("1"))],
        sources: KERNEL,
        what: || tr!("timers of an idle processor move to a busy one, so that it can sleep"),
        ..KEY
    },
    Key {
        name: "kernel.watchdog",
        preset: &[(EVER, Preset::Is("1"))],
        rule: Some(|asked| match asked.value() {
            0 => adapt(tr!("nobody is told of a processor that is stuck any more: for measuring only"), 1),
            _ => None,
        }),
        sources: KERNEL,
        what: || tr!("finds processors that are stuck"),
        ..KEY
    },
    Key {
        name: "kernel.core_pipe_limit",
        sources: KERNEL,
        what: || tr!("so many cores may be piped to a program at once; 0 waits for none"),
        ..KEY
    },
    Key {
        name: "kernel.panic_on_warn",
        since: from_el(3, 19, 7),
        preset: &[(EVER, Preset::Is("0"))],
        rule: Some(|asked| match asked.value() {
            0 => None,
            _ => adapt(tr!("a mere warning of a driver stops the machine: for finding bugs only"), 0),
        }),
        sources: KERNEL,
        what: || tr!("a warning of the kernel stops the machine"),
        ..KEY
    },
    Key {
        name: "kernel.io_uring_disabled",
        since: from(6, 6),
        preset: &[(from(6, 6), Preset::Is("0"))],
        sources: KERNEL,
        what: || tr!("who may use io_uring: 1 a group, 2 nobody: databases then fall back or fail"),
        ..KEY
    },
    Key {
        name: "kernel.perf_event_max_sample_rate",
        preset: &[],
        sources: KERNEL,
        what: || tr!("how often perf may sample; the kernel lowers it by itself"),
        ..KEY
    },
    Key {
        name: "crypto.fips_enabled",
        rule: Some(|_| {
            idle(tr!("read only: fips=1 on the kernel command line turns it on, and an initramfs made for it"))
        }),
        sources: &["crypto/fips.c"],
        what: || tr!("only ciphers that FIPS 140 allows"),
        ..KEY
    },
    Key {
        name: "debug.exception-trace",
        preset: &[(EVER, Preset::Is("1"))],
        sources: KERNEL,
        what: || tr!("programs that crash are told in the kernel log"),
        ..KEY
    },
    Key {
        name: "dev.tty.ldisc_autoload",
        since: from(5, 1),
        sources: KERNEL,
        what: || tr!("users may have modules of line disciplines loaded"),
        ..KEY
    },
    Key {
        name: "dev.raid.speed_limit_max",
        preset: &[(EVER, Preset::Is("200000"))],
        sources: &["md(4)"],
        what: || tr!("how fast an array is rebuilt when nobody else uses its disks, in KiB a second for each disk"),
        ..KEY
    },
    Key {
        name: "dev.raid.speed_limit_min",
        preset: &[(EVER, Preset::Is("1000"))],
        sources: &["md(4)"],
        what: || tr!("how fast an array is rebuilt even when others use its disks, in KiB a second for each disk"),
        ..KEY
    },
    Key {
        name: "dev.hpet.max-user-freq",
        preset: &[(EVER, Preset::Is("64"))],
        sources: KERNEL,
        what: || tr!("how often users may have the HPET wake them"),
        ..KEY
    },
    Key {
        name: "abi.vsyscall32",
        preset: &[(EVER, Preset::Is("1"))],
        sources: KERNEL,
        what: || tr!("32-bit programs get their system calls by the vDSO"),
        ..KEY
    },
];

fn fragments(asked: &Asked<'_>) -> Option<Judgement> {
    const OWN: u64 = 4 << 20;
    if asked.since(from(4, 4)) && asked.value() < OWN {
        return adapt(
            tr!(
                "a decrease: the kernel takes 4 MiB by itself. Large UDP answers and NFS over UDP lose fragments (IpReasmFails)"
            ),
            OWN,
        );
    }
    None
}
