//! `net.core`, and of `net.ipv4` what is not TCP's.

use super::{Asked, CORE, IP, Judgement, KEY, Key, Preset, Range, Takes, Unit, Verdict, adapt, good, idle, refuse};
use crate::tr;
use crate::tune::kernel::{EVER, from, from_el};

/// The entries.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "net.core.somaxconn",
        preset: &[(EVER, Preset::Is("128")), (from(5, 4), Preset::Is("4096"))],
        what: || tr!("how long the accept queue of a listener may be, whatever its program asks for"),
        rule: Some(somaxconn),
        sources: &["19f92a030ca6", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.core.netdev_max_backlog",
        preset: &[(EVER, Preset::Is("1000"))],
        what: || {
            tr!(
                "so many packets wait for a processor where RPS, a tunnel or a container hands them over; a card with NAPI does not use it"
            )
        },
        range: Some(|_| {
            Some(Range {
                least: 1000,
                most: 300_000,
                why: tr!(
                    "a queue that long only makes packets late: 300000 are more than a second at 250000 packets/s. /proc/net/softnet_stat says in its second column whether any were dropped"
                ),
            })
        }),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.netdev_budget",
        preset: &[(EVER, Preset::Is("300"))],
        what: || {
            tr!(
                "so many packets are taken in one round; more is for those whose third column of /proc/net/softnet_stat grows"
            )
        },
        range: Some(|_| {
            Some(Range {
                least: 64,
                most: 3000,
                why: tr!("a round that long keeps the processor from everything else"),
            })
        }),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.netdev_budget_usecs",
        since: from_el(4, 12, 8),
        unit: Unit::Microseconds,
        what: || tr!("so long one round of taking packets may last"),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.dev_weight",
        preset: &[(EVER, Preset::Is("64"))],
        what: || tr!("so many packets of one queue are taken before the next has its turn"),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.rmem_max",
        unit: Unit::Bytes,
        what: || {
            tr!(
                "the most that a program may ask for with SO_RCVBUF; TCP that does not ask is bounded by tcp_rmem alone"
            )
        },
        range: Some(|_| {
            Some(Range {
                least: 212_992,
                most: 128 << 20,
                why: tr!(
                    "a program that asks for that much gets it for each socket, and loses the kernel's own sizing"
                ),
            })
        }),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.wmem_max",
        unit: Unit::Bytes,
        what: || {
            tr!(
                "the most that a program may ask for with SO_SNDBUF; TCP that does not ask is bounded by tcp_wmem alone"
            )
        },
        range: Some(|_| {
            Some(Range {
                least: 212_992,
                most: 128 << 20,
                why: tr!(
                    "a program that asks for that much gets it for each socket, and loses the kernel's own sizing"
                ),
            })
        }),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.rmem_default",
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("212992"))],
        what: || tr!("receive buffer of sockets that are not TCP: UDP, raw, netlink"),
        rule: Some(socket_default),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.wmem_default",
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("212992"))],
        what: || tr!("send buffer of sockets that are not TCP: UDP, raw, Unix"),
        rule: Some(socket_default),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.optmem_max",
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("20480")), (from(6, 7), Preset::Is("131072"))],
        what: || tr!("memory of a socket for options and control messages"),
        range: Some(|_| {
            Some(Range { least: 20_480, most: 4 << 20, why: tr!("no program sends control messages of that size") })
        }),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.default_qdisc",
        takes: Takes::Words,
        since: from_el(3, 12, 7),
        what: || {
            tr!("the queue that a network card gets when it comes up; cards that are up keep theirs until a restart")
        },
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.rps_sock_flow_entries",
        preset: &[(EVER, Preset::Is("0"))],
        what: || {
            tr!(
                "slots of the table that leads packets to the processor of their program (RFS); queues need their share in rps_flow_cnt too"
            )
        },
        range: Some(|_| {
            Some(Range { least: 0, most: 1 << 20, why: tr!("the kernel's own advice for a busy server is 32768") })
        }),
        sources: &["networking/scaling.rst"],
        ..KEY
    },
    Key {
        name: "net.core.busy_poll",
        unit: Unit::Microseconds,
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("poll() spins so long for a packet: lower latency for a processor that is never idle"),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.busy_read",
        unit: Unit::Microseconds,
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("read() spins so long for a packet: lower latency for a processor that is never idle"),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.core.bpf_jit_enable",
        what: || tr!("programs of BPF are compiled"),
        rule: Some(|asked| match asked.value() {
            2 => adapt(tr!("2 writes every program to the kernel log: it is for those who debug the compiler"), 1),
            _ => None,
        }),
        sources: CORE,
        ..KEY
    },
    Key {
        name: "net.ipv4.ip_local_port_range",
        takes: Takes::Numbers(2),
        preset: &[(EVER, Preset::Is("32768 61000")), (from(4, 2), Preset::Is("32768 60999"))],
        what: || {
            tr!("the ports that outgoing connections take: as many connections there are to one destination at a time")
        },
        rule: Some(ports),
        sources: &["07f4c90062f8", "ed2dfd900992", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.ip_local_reserved_ports",
        takes: Takes::Words,
        what: || tr!("ports that no outgoing connection takes: those of listeners that lie in ip_local_port_range"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.ip_unprivileged_port_start",
        since: from_el(4, 11, 8),
        preset: &[(EVER, Preset::Is("1024"))],
        what: || tr!("from this port on everybody may listen"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.ip_forward",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("passes packets on from one interface to another: a router, containers, virtual machines"),
        rule: Some(|asked| {
            match asked.value() {
            0 => good(tr!("is so without the line; but where containers run, their daemon turns it on, and this line cuts them off when it is applied afterwards")).map(|one| Judgement { verdict: Verdict::Default, ..one }),
            _ => None,
        }
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.ip_nonlocal_bind",
        preset: &[(EVER, Preset::Is("0"))],
        what: || {
            tr!("lets programs bind to an address that the machine does not have (yet): for keepalived and its like")
        },
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.ip_default_ttl",
        preset: &[(EVER, Preset::Is("64"))],
        what: || tr!("so many routers a packet may pass"),
        range: Some(|_| Some(Range { least: 64, most: 255, why: tr!("what is farther away cannot be reached") })),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.ip_no_pmtu_disc",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("does not learn how large a packet may be on the way"),
        rule: Some(|asked| match asked.value() {
            0 => None,
            _ => adapt(
                tr!(
                    "large packets are cut on the way or fall to 552 bytes; tcp_mtu_probing = 1 is what helps where ICMP is dropped"
                ),
                0,
            ),
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.icmp_echo_ignore_all",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("gives no answer to ping"),
        rule: Some(|asked| match asked.value() {
            0 => None,
            _ => good(tr!(
                "nobody can ping the machine any more, the monitoring neither: it hides nothing from who scans ports"
            )),
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.icmp_echo_ignore_broadcasts",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("gives no answer to a ping to everybody"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.icmp_ignore_bogus_error_responses",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("does not log broken ICMP errors"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.route.max_size",
        what: || tr!("size of the cache of routes"),
        rule: Some(
            |asked| if asked.since(from(3, 6)) { idle(tr!("Linux 3.6 took the cache of routes out")) } else { None },
        ),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.route.gc_timeout",
        unit: Unit::Seconds,
        what: || tr!("age at which routes leave the cache"),
        rule: Some(
            |asked| if asked.since(from(3, 6)) { idle(tr!("Linux 3.6 took the cache of routes out")) } else { None },
        ),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.route.flush",
        what: || tr!("empties the cache of routes once"),
        rule: Some(|_| idle(tr!("it does something once, when it is written: in a file it does nothing"))),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.neigh.default.gc_thresh1",
        preset: &[(EVER, Preset::Is("128"))],
        what: || tr!("up to so many neighbours (ARP entries) are kept whatever their age"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.neigh.default.gc_thresh2",
        preset: &[(EVER, Preset::Is("512"))],
        what: || tr!("beyond so many neighbours those older than 5 seconds go"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.neigh.default.gc_thresh3",
        preset: &[(EVER, Preset::Is("1024"))],
        what: || tr!("so many neighbours there may be: beyond it is \"neighbour table overflow\""),
        range: Some(|_| {
            Some(Range {
                least: 1024,
                most: 1 << 20,
                why: tr!("below the default a subnet of a few hundred machines fills it"),
            })
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.neigh.default.gc_stale_time",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("60"))],
        what: || tr!("how long a neighbour is believed without being asked again"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.rp_filter",
        what: || {
            tr!(
                "drops packets that came in where no answer would go out: 1 strictly, 2 only where no route leads back at all; the greater of all and the interface counts"
            )
        },
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.accept_source_route",
        what: || tr!("lets the sender say which way a packet goes"),
        rule: Some(|asked| match asked.value() {
            0 => None,
            _ => adapt(tr!("it leads packets past firewalls, and nobody needs it"), 0),
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.accept_redirects",
        what: || tr!("lets a router say that another is nearer"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.secure_redirects",
        what: || tr!("lets only known gateways say that another is nearer"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.send_redirects",
        what: || tr!("tells senders that another router is nearer"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.log_martians",
        what: || tr!("logs packets with impossible addresses"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.arp_ignore",
        what: || tr!("answers ARP only for addresses of the very interface: for servers behind LVS"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.arp_announce",
        what: || tr!("which of its addresses the machine names when it asks by ARP: 2 the best one"),
        sources: IP,
        ..KEY
    },
    Key { name: "net.ipv4.conf.*.proxy_arp", what: || tr!("answers ARP for addresses behind it"), sources: IP, ..KEY },
    Key {
        name: "net.ipv4.conf.*.promote_secondaries",
        what: || tr!("when the first address of a subnet goes, the next takes its place"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.forwarding",
        what: || tr!("passes packets on that came in on this interface"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv6.conf.*.disable_ipv6",
        what: || tr!("no IPv6 on this interface"),
        rule: Some(|asked| match asked.value() {
            1 => good(tr!(
                "programs that listen on [::] or ::1 fail to start, and glibc still asks for AAAA: only where IPv6 is known to do harm"
            )),
            _ => None,
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv6.conf.*.accept_ra",
        what: || tr!("learns addresses and routes from routers: 1 unless it forwards itself, 2 always"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv6.conf.*.autoconf",
        what: || tr!("makes addresses of what routers announce"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv6.conf.*.accept_redirects",
        what: || tr!("lets a router say that another is nearer"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv6.conf.*.accept_source_route",
        what: || tr!("lets the sender say which way a packet goes"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.conf.*.shared_media",
        what: || tr!("takes all subnets on one interface for one network"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv6.conf.*.forwarding",
        what: || tr!("passes packets on, and no longer learns its own routes from routers"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.unix.max_dgram_qlen",
        what: || tr!("so many datagrams wait at a Unix socket: that of the system's log among them"),
        sources: CORE,
        ..KEY
    },
];

fn somaxconn(asked: &Asked<'_>) -> Option<Judgement> {
    let value = asked.value();
    let is_new = asked.since(from(5, 4));
    if value > 65_535 {
        return adapt(
            tr!(
                "a backlog is a number of 16 bits in many programs and kernels: more is cut or refused, and a queue that long only makes answers late"
            ),
            65_535,
        );
    }
    if value < 128 || is_new && value < 4096 {
        let default = if is_new { 4096 } else { 128 };
        return adapt(tr!("a decrease: the default of this kernel is {default}", default), default);
    }
    good(tr!(
        "a listener gets the smaller of this and what its program gives to listen(): nginx 511, redis 511, tomcat 100 unless they are told otherwise. Programs that run must be started again"
    ))
}

fn socket_default(asked: &Asked<'_>) -> Option<Judgement> {
    let mib = asked.value() >> 20;
    if asked.value() > 1 << 20 {
        return adapt(
            tr!(
                "no TCP socket reads it (theirs is the middle of tcp_rmem and tcp_wmem); every UDP, raw and netlink socket may hold {mib} MiB",
                mib
            ),
            212_992,
        );
    }
    None
}

/// What a range below the usual one did to others.
const TAKEN: &[&str] =
    &["routing-release#206", "rancher#12510", "marin#6985", "home-ops#11712", "barclamp-network#215", "07f4c90062f8"];

fn ports(asked: &Asked<'_>) -> Option<Judgement> {
    let (low, high) = (asked.number(0), asked.number(1));
    if low >= high || high > 65_535 || low == 0 {
        return Some(Judgement::new(
            Verdict::Malformed,
            tr!("the kernel refuses it: two ports, the lower one first, none above 65535"),
        ));
    }
    let default = if asked.since(from(4, 2)) { "32768 60999" } else { "32768 61000" };
    let is_default = low == 32_768 && matches!(high, 60_999 | 61_000);
    let is_like = low % 2 == high % 2;
    let count = high - low + 1;
    let reserves = (asked.other)("net.ipv4.ip_local_reserved_ports").is_some();
    if low < 9000 && !reserves {
        let why = tr!(
            "outgoing connections take the ports of listeners from {low} on (3306, 6379, 8080, 9200): one that is started again finds its own port in use. {parity}",
            low,
            parity = if is_like {
                tr!(
                    "Both ends are even or both odd, which the kernel warns of: it deals even ports to connect() and odd ones to bind()"
                )
            } else {
                tr!("If so many are needed, reserve the ports of listeners in ip_local_reserved_ports")
            }
        );
        return refuse(why).map(|one| one.with(default).from(TAKEN));
    }
    if is_default {
        return None;
    }
    if is_like && asked.since(from(4, 2)) {
        let other = if high < 65_535 { high + 1 } else { high - 1 };
        return adapt(
            tr!(
                "both ends are even or both odd, which the kernel warns of (\"prefer different parity\"): it deals even ports to connect() and odd ones to bind()"
            ),
            format!("{low} {other}"),
        );
    }
    if count < 10_000 {
        return adapt(
            tr!(
                "{count} ports: so many connections to one destination, and with those in TIME_WAIT {rate} new ones a second",
                count,
                rate = count / 60
            ),
            default,
        );
    }
    good(tr!(
        "{count} ports, {rate} new connections a second to one destination when each waits 60 s in TIME_WAIT; listeners from {low} on belong into ip_local_reserved_ports",
        count,
        rate = count / 60,
        low
    ))
}
