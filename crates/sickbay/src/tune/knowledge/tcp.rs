//! `net.ipv4.tcp_*`.

use super::{Asked, CORE, IP, Judgement, KEY, Key, Preset, Range, Takes, Unit, Verdict, adapt, good, idle, refuse};
use crate::model::text::Text;
use crate::tr;
use crate::tune::kernel::{EVER, from, from_el};

/// The entries.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "net.ipv4.tcp_tw_recycle",
        until: Some(from(4, 12)),
        preset: &[(EVER, Preset::Is("0"))],
        what: || {
            tr!(
                "it refused connections whose timestamps went backwards, which those of several machines behind one NAT address do"
            )
        },
        rule: Some(recycle),
        sources: &["4396e46187ca", "ip-sysctl.txt"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_tw_reuse",
        preset: &[(EVER, Preset::Is("0")), (from(4, 19), Preset::Is("2"))],
        what: || tr!("whether a new outgoing connection may take the port of one in TIME_WAIT"),
        rule: Some(reuse),
        sources: &["79e9fed46038", "ca6a6f93867a", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_tw_reuse_delay",
        since: from(6, 14),
        preset: &[(from(6, 14), Preset::Is("1000"))],
        what: || tr!("how many milliseconds a connection is in TIME_WAIT before tcp_tw_reuse lets its port be taken"),
        sources: &["ca6a6f93867a"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_max_tw_buckets",
        preset: &[(from(3, 0), Preset::Sized(|machine| Some(machine.ehash()? / 2)))],
        what: || {
            tr!(
                "so many sockets may be in TIME_WAIT; what comes beyond is closed at once and counted as TCPTimeWaitOverflow"
            )
        },
        rule: Some(buckets),
        sources: &["net/ipv4/tcp.c: tcp_init()", "1946e672c173", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_fin_timeout",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("60"))],
        what: || tr!("how long a connection that no program holds any more waits in FIN_WAIT_2 for the other side"),
        rule: Some(fin_timeout),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_timestamps",
        preset: &[(EVER, Preset::Is("1"))],
        what: || {
            tr!("timestamps in segments, by which round trips are measured and old segments are told from new ones")
        },
        rule: Some(timestamps),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_syncookies",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("answers with a cookie when the queue of half-open connections is full"),
        rule: Some(syncookies),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_max_syn_backlog",
        preset: &[
            (from(3, 0), Preset::Sized(|machine| Some((machine.ehash()? / 256).max(128)))),
            (from(5, 5), Preset::Sized(|machine| Some((machine.ehash()? / 128).max(128)))),
        ],
        what: || tr!("how many half-open connections a listener may have"),
        rule: Some(syn_backlog),
        sources: &["ef547f2ac16b", "623d0c2db020", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_syn_retries",
        preset: &[(EVER, Preset::Is("5")), (from_el(3, 7, 7), Preset::Is("6"))],
        what: || tr!("how often the first packet of an outgoing connection is sent again: 6 is about two minutes"),
        range: Some(|_| {
            let why = tr!(
                "the first packet of a connection is lost now and then: with so few tries the connection fails, with more than 10 a dead peer is noticed after half an hour"
            );
            Some(Range { least: 2, most: 10, why })
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_synack_retries",
        preset: &[(EVER, Preset::Is("5"))],
        what: || tr!("how often the answer to a new connection is sent again: 5 is about a minute"),
        range: Some(|_| {
            let why = tr!(
                "with fewer than 2 tries a client on a lossy line gets no connection; syncookies are what helps against a flood"
            );
            Some(Range { least: 2, most: 10, why })
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_retries1",
        preset: &[(EVER, Preset::Is("3"))],
        what: || tr!("after so many tries the route is doubted"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_retries2",
        preset: &[(EVER, Preset::Is("15"))],
        what: || {
            tr!("after so many tries a connection that gets no answer is given up: 15 is about a quarter of an hour")
        },
        range: Some(|_| {
            let why = tr!(
                "RFC 1122 asks for at least 100 seconds, which are 8 tries: with fewer a short break of the network ends every connection"
            );
            Some(Range { least: 8, most: 15, why })
        }),
        sources: &["RFC 1122", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_orphan_retries",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("how often data is sent again for a connection that no program holds any more; 0 stands for 8"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_max_orphans",
        preset: &[(from(3, 0), Preset::Sized(|machine| Some(machine.ehash()? / 2)))],
        what: || tr!("so many connections that no program holds any more are kept; what comes beyond is reset"),
        range: Some(|machine| {
            // Each may hold 64 KiB that cannot be swapped out.
            let most = machine.share(250)? / 64;
            let why = tr!(
                "each may hold 64 KiB of memory that cannot be swapped out: more than a quarter of the memory would be theirs"
            );
            Some(Range { least: 1024, most: most.max(1024), why })
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_keepalive_time",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("7200"))],
        what: || {
            tr!(
                "how long a connection is idle before it is asked whether it still lives; only where the program turned SO_KEEPALIVE on"
            )
        },
        range: Some(|_| {
            let why = tr!("less than 30 s makes traffic for every idle connection, and ends those of a short break");
            Some(Range { least: 30, most: 7200, why })
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_keepalive_intvl",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("75"))],
        what: || tr!("seconds between two questions of keepalive"),
        range: Some(|_| {
            Some(Range {
                least: 5,
                most: 300,
                why: tr!("a break of the network that lasts this long times tcp_keepalive_probes ends the connection"),
            })
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_keepalive_probes",
        preset: &[(EVER, Preset::Is("9"))],
        what: || tr!("after so many questions of keepalive without an answer the connection is ended"),
        range: Some(|_| {
            Some(Range { least: 3, most: 20, why: tr!("a lost packet or two would end connections that live") })
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_abort_on_overflow",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("resets a connection that finds the accept queue full, instead of letting the client try again"),
        rule: Some(|asked| match asked.value() {
            0 => None,
            _ => adapt(
                tr!(
                    "a burst that would be over in a second becomes an error for the client: the queue of the listener and its program are what to look at"
                ),
                0,
            ),
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_sack",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("the receiver says which segments it has, so that only the lost ones are sent again"),
        rule: Some(|asked| match asked.value() {
            0 => adapt(
                tr!(
                    "every loss costs a whole window; the faults for which it was turned off in 2019 are mended (tcp_min_snd_mss)"
                ),
                1,
            ),
            _ => None,
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_dsack",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("the receiver says which segments came twice"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_fack",
        preset: &[(EVER, Preset::Is("1")), (from(4, 15), Preset::Is("0"))],
        what: || tr!("forward acknowledgement"),
        rule: Some(|asked| {
            if asked.since(from(4, 15)) {
                idle(tr!("kept for old lists only: since Linux 4.15 nothing reads it"))
            } else {
                None
            }
        }),
        sources: &["713bafea9292", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_low_latency",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("prefers low latency to throughput"),
        rule: Some(|asked| {
            if asked.since(from(4, 14)) {
                idle(tr!("kept for old lists only: since Linux 4.14 nothing reads it"))
            } else {
                None
            }
        }),
        sources: &["b6690b143866", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_window_scaling",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("windows of more than 64 KiB"),
        rule: Some(|asked| match asked.value() {
            0 => refuse(tr!(
                "no connection has more than 64 KiB on the way: over 50 ms that is 10 Mbit/s, whatever the line can do"
            ))
            .map(|one| one.with(1)),
            _ => None,
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_moderate_rcvbuf",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("sizes the receive buffer of each connection by what it needs"),
        rule: Some(|asked| match asked.value() {
            0 => adapt(
                tr!("every connection keeps the middle value of tcp_rmem: fast ones get slow, idle ones hold memory"),
                1,
            ),
            _ => None,
        }),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_rmem",
        takes: Takes::Numbers(3),
        unit: Unit::Bytes,
        what: || tr!("receive buffer of a connection: least, at the start, most"),
        rule: Some(buffers),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_wmem",
        takes: Takes::Numbers(3),
        unit: Unit::Bytes,
        preset: &[],
        what: || tr!("send buffer of a connection: least, at the start, most"),
        rule: Some(buffers),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_mem",
        takes: Takes::Numbers(3),
        unit: Unit::Pages,
        what: || tr!("memory of all TCP sockets together, in pages: calm, pressure, most"),
        rule: Some(pages),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.udp_mem",
        takes: Takes::Numbers(3),
        unit: Unit::Pages,
        what: || tr!("memory of all UDP sockets together, in pages: calm, pressure, most"),
        rule: Some(pages),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_congestion_control",
        takes: Takes::Words,
        what: || tr!("how fast a connection sends, unless its program chooses by itself"),
        rule: Some(congestion),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_allowed_congestion_control",
        takes: Takes::Words,
        what: || tr!("which ways of sending programs without privileges may choose"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_slow_start_after_idle",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("begins slowly again after a pause; 0 helps long connections that pause between answers"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_no_metrics_save",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("whether what was learnt of a peer is forgotten when its connection ends"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_mtu_probing",
        preset: &[(EVER, Preset::Is("0"))],
        what: || {
            tr!("finds by trying how large a packet may be, where ICMP is dropped on the way; 1 only once it stalls")
        },
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_fastopen",
        since: from(3, 6),
        preset: &[(from(3, 6), Preset::Is("0")), (from(3, 13), Preset::Is("1"))],
        what: || tr!("data in the first packet: 1 for clients, 2 for servers, 3 for both; programs must ask for it"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_ecn",
        preset: &[(EVER, Preset::Is("2"))],
        what: || tr!("lets routers say that they are full before they drop: 2 if the client asks, 1 also asks"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_rfc1337",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("a reset does not end TIME_WAIT"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_reordering",
        preset: &[(EVER, Preset::Is("3"))],
        what: || tr!("so many places a segment may be late before it counts as lost; the kernel raises it by itself"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_frto",
        preset: &[(EVER, Preset::Is("2"))],
        what: || tr!("tells a late answer from a loss"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_adv_win_scale",
        what: || tr!("how much of a receive buffer is taken for the kernel's own use"),
        rule: Some(|asked| {
            if asked.since(from(6, 6)) {
                idle(tr!("since Linux 6.6 the kernel measures it for each connection, and nothing reads this"))
            } else {
                None
            }
        }),
        sources: &["dfa2f0483360", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_notsent_lowat",
        since: from_el(3, 12, 8),
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("4294967295"))],
        what: || {
            tr!(
                "so much may wait unsent in a socket before its program is told to pause; 16384 to 131072 keep HTTP/2 answers fresh"
            )
        },
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_min_snd_mss",
        since: from_el(5, 2, 6),
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("48"))],
        what: || tr!("no segment that is sent is smaller, whatever the peer asks for"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_limit_output_bytes",
        since: from(3, 6),
        unit: Unit::Bytes,
        preset: &[(from(3, 6), Preset::Varies), (from(4, 20), Preset::Is("1048576"))],
        what: || tr!("so much of one connection may wait in the queues below TCP"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_challenge_ack_limit",
        since: from(3, 6),
        what: || {
            tr!(
                "so many doubtful resets are answered each second; 0 or a great number since it was found to betray connections"
            )
        },
        sources: &["CVE-2016-5696", "ip-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_early_retrans",
        since: from(3, 5),
        what: || tr!("sends the last segment again without waiting for the timer"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_autocorking",
        since: from(3, 14),
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("joins small writes while a packet of the connection still waits"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_thin_linear_timeouts",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("connections with little on the way do not double their timer"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_tso_win_divisor",
        preset: &[(EVER, Preset::Is("3"))],
        what: || tr!("how much of a window one large frame may fill"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_workaround_signed_windows",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("for peers that take windows for signed numbers"),
        sources: IP,
        ..KEY
    },
    Key {
        name: "net.ipv4.tcp_available_congestion_control",
        takes: Takes::Words,
        what: || tr!("which ways of sending there are"),
        rule: Some(|_| {
            Some(Judgement::new(Verdict::Malformed, tr!("it is read only: load the module (tcp_bbr) instead")))
        }),
        sources: CORE,
        ..KEY
    },
];

fn recycle(asked: &Asked<'_>) -> Option<Judgement> {
    if asked.value() == 0 {
        return None;
    }
    let why = match (asked.other)("net.ipv4.tcp_timestamps") {
        Some(0) => tr!("without timestamps it does nothing; with them it refuses clients behind NAT"),
        _ => tr!(
            "with tcp_timestamps, which are on, connections from clients behind one NAT address (mobile networks, offices, a load balancer) fail at random: their SYN gets no answer. Linux 4.12 took it out for that"
        ),
    };
    refuse(why).map(|one| one.with(0))
}

fn reuse(asked: &Asked<'_>) -> Option<Judgement> {
    match asked.value() {
        _ if (asked.other)("net.ipv4.tcp_timestamps") == Some(0) => {
            idle(tr!("it works with tcp_timestamps only, which the same list turns off"))
        }
        1 => good(tr!(
            "helps outgoing connections only (a proxy, a client of a database): a server's own TIME_WAIT stays. Both sides need tcp_timestamps, and a port is free after one second"
        )),
        _ => None,
    }
}

fn buckets(asked: &Asked<'_>) -> Option<Judgement> {
    if !asked.since(from(3, 0)) {
        return None;
    }
    let value = asked.value();
    match asked.machine.ehash().map(|slots| slots / 2) {
        Some(default) if value < default => adapt(
            tr!(
                "a decrease: this machine's default is {default}, half the slots of the hash of connections. Beyond {value} TIME_WAIT ends at once, and a late segment can fall into a new connection",
                default,
                value
            ),
            default,
        ),
        Some(default) if value > default => good(tr!(
            "up from {default}: about {mib} MiB more when full. It bounds TIME_WAIT and makes no port free: those run out per destination, at the size of ip_local_port_range",
            default,
            mib = (value - default).saturating_mul(256) >> 20
        )),
        Some(_) => None,
        // 512 Ki slots.
        None if value < 262_144 => {
            // Half a slot for each 128 KiB.
            let gib = value.saturating_mul(2).saturating_mul(128) >> 20;
            adapt(
                tr!(
                    "the default grows with the memory, 32768 with 8 GiB, 262144 from 64 GiB on: with more than about {gib} GiB this line is a decrease (say --memory)",
                    gib
                ),
                32_768.max(value.next_power_of_two()),
            )
        }
        None => None,
    }
}

fn fin_timeout(asked: &Asked<'_>) -> Option<Judgement> {
    match asked.value() {
        0..10 => adapt(tr!("a peer that is slow to close is reset: data that it still sends is lost"), 30),
        60 => None,
        value => idle(tr!(
            "it is no timer of TIME_WAIT, whose 60 seconds are fixed in the kernel (TCP_TIMEWAIT_LEN): it ends FIN_WAIT_2 of connections that no program holds after {value} s instead of 60",
            value
        )),
    }
}

fn timestamps(asked: &Asked<'_>) -> Option<Judgement> {
    match asked.value() {
        0 => adapt(
            tr!(
                "without timestamps the kernel measures round trips badly, cannot tell old segments from new ones on fast lines, and tcp_tw_reuse does nothing; the reason to turn them off, tcp_tw_recycle, is what has to go"
            ),
            1,
        ),
        _ => None,
    }
}

fn syncookies(asked: &Asked<'_>) -> Option<Judgement> {
    match asked.value() {
        0 => adapt(tr!("a flood of SYN packets that fills the queue keeps everybody else out"), 1),
        2 => adapt(
            tr!(
                "cookies for every connection are for tests: each costs window scaling and more where timestamps are off"
            ),
            1,
        ),
        _ => None,
    }
}

fn syn_backlog(asked: &Asked<'_>) -> Option<Judgement> {
    let has_cookies = (asked.other)("net.ipv4.tcp_syncookies") != Some(0);
    if asked.since(from(4, 4)) && has_cookies {
        return idle(tr!(
            "since Linux 4.4 it counts only where tcp_syncookies is 0: the queue of half-open connections is as long as that of accepted ones, which is the smaller of somaxconn and what the program gives to listen()"
        ));
    }
    let part = if asked.since(from(5, 5)) { 128 } else { 256 };
    let default = asked.machine.ehash().map(|slots| (slots / part).max(128));
    match default {
        Some(default) if asked.value() < default => {
            adapt(tr!("a decrease: this machine's default is {default}", default), default)
        }
        _ if asked.value() < 128 => adapt(tr!("a handful of slow clients fills the queue"), 128),
        _ => {
            good(tr!("the smallest of three counts: this, net.core.somaxconn, and what the program gives to listen()"))
        }
    }
}

fn buffers(asked: &Asked<'_>) -> Option<Judgement> {
    let (least, start, most) = (asked.number(0), asked.number(1), asked.number(2));
    if least > start || start > most {
        return Some(Judgement::new(
            Verdict::Malformed,
            tr!("the three numbers must not fall: least, at the start, most"),
        ));
    }
    let sound = |most: u64| format!("4096 131072 {most}");
    if start > 1 << 20 {
        return adapt(
            tr!(
                "every connection begins with {mib} MiB, idle ones too: ten thousand of them are {gib} GiB. The kernel grows a buffer by itself up to the third number",
                mib = start >> 20,
                gib = start.saturating_mul(10_000) >> 30
            ),
            sound(most.clamp(6 << 20, 64 << 20)),
        );
    }
    if least > 65_536 {
        return adapt(
            tr!("the least is kept even when memory runs out: the kernel can no longer save itself"),
            sound(most.max(4 << 20)),
        );
    }
    if most > 64 << 20 {
        return adapt(
            tr!(
                "one connection may take {mib} MiB: 64 MiB are 10 Gbit/s over 50 ms, what is more only waits in queues",
                mib = most >> 20
            ),
            sound(64 << 20),
        );
    }
    if most < 1 << 20 {
        return adapt(
            tr!(
                "no connection has more than {kib} KiB on the way: over 50 ms that is {mbit} Mbit/s",
                kib = most >> 10,
                mbit = most.saturating_mul(8 * 20) / 1_000_000
            ),
            sound(6 << 20),
        );
    }
    good(tr!(
        "one connection may have {mib} MiB on the way, {mbit} Mbit/s over 50 ms; net.core.rmem_max and wmem_max do not bound it unless the program sets a buffer by itself",
        mib = most >> 20,
        mbit = most.saturating_mul(8 * 20) / 1_000_000
    ))
}

fn pages(asked: &Asked<'_>) -> Option<Judgement> {
    let (first, second, third) = (asked.number(0), asked.number(1), asked.number(2));
    if first > second || second > third {
        return Some(Judgement::new(Verdict::Malformed, tr!("the three numbers must not fall: calm, pressure, most")));
    }
    let gib = third.saturating_mul(4) >> 20;
    let unit = |gib: u64| -> Text { tr!("these are pages of 4 KiB, not bytes: {gib} GiB", gib) };
    match asked.machine.memory {
        Some(memory) if third.saturating_mul(4) > memory / 2 => {
            // What the kernel takes: 3/64, 4/64 and 6/64 of the memory (tcp_init_mem).
            let part = memory / 4 / 64;
            adapt(
                tr!(
                    "{unit} for sockets, and the machine has {memory}: it takes all memory before it takes any back. The kernel sizes it by itself, leave the line out",
                    unit = unit(gib),
                    memory = crate::facts::memory::size(memory)
                ),
                format!("{} {} {}", part * 3, part * 4, part * 6),
            )
        }
        Some(memory) if third.saturating_mul(4) < memory / 64 * 3 => {
            let part = memory / 4 / 64;
            adapt(
                tr!(
                    "a decrease: {size} for all sockets together, and the kernel takes {own} by itself. Connections get small windows and lose packets long before memory is short: leave the line out",
                    size = crate::facts::memory::size(third.saturating_mul(4)),
                    own = crate::facts::memory::size(part * 6 * 4)
                ),
                format!("{} {} {}", part * 3, part * 4, part * 6),
            )
        }
        None if gib >= 256 => refuse(tr!(
            "{unit}: a list written for bytes. The kernel sizes it by itself, leave the line out",
            unit = unit(gib)
        )),
        _ => good(tr!("{unit} at most. The kernel sizes it by itself, 9 % of the memory", unit = unit(gib))),
    }
}

fn congestion(asked: &Asked<'_>) -> Option<Judgement> {
    let name = asked.text.trim();
    if matches!(name, "htcp" | "hybla" | "westwood" | "vegas" | "illinois" | "dctcp" | "scalable" | "bic" | "yeah") {
        return good(tr!(
            "it needs the module tcp_{name}: where the kernel cannot load it, the line fails and the default stays",
            name
        ));
    }
    if name == "bbr2" || name == "bbr3" || name == "bbrplus" || name == "lotserver" {
        return Some(
            Judgement::new(
                Verdict::Absent,
                tr!("{name} is in no released Linux, only in kernels that somebody patched", name),
            )
            .with("bbr"),
        );
    }
    if name != "bbr" {
        return None;
    }
    if !asked.since(from_el(4, 9, 8)) {
        return Some(Judgement::new(
            Verdict::Absent,
            tr!("bbr came with Linux 4.9: this kernel has no such way, and keeps what it had"),
        ));
    }
    if !asked.since(from(4, 13)) && (asked.other)("net.core.default_qdisc.fq") != Some(1) {
        return adapt(tr!("before Linux 4.13 bbr needs net.core.default_qdisc = fq, which paces what it sends"), "bbr")
            .map(|one| one.from(&["218af599fa63"]));
    }
    good(tr!(
        "it needs the module tcp_bbr; helps over lossy long lines, and takes more than its share from others beside it"
    ))
}
