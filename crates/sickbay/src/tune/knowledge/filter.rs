//! Connection tracking and bridges.

use super::{Asked, CONNTRACK, Judgement, KEY, Key, Preset, Range, Unit, Verdict, adapt, good};
use crate::facts::memory::size;
use crate::tr;
use crate::tune::kernel::{EVER, from, from_el};

const NF: Option<&str> = Some("nf_conntrack");

/// The entries.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "net.netfilter.nf_conntrack_max",
        module: NF,
        what: || {
            tr!(
                "so many connections the firewall and NAT can follow: beyond it new ones are dropped (\"table full, dropping packet\")"
            )
        },
        rule: Some(conntrack_max),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.nf_conntrack_max",
        module: NF,
        what: || tr!("another name of net.netfilter.nf_conntrack_max"),
        rule: Some(conntrack_max),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.ipv4.netfilter.ip_conntrack_max",
        until: Some(from(4, 9)),
        module: NF,
        what: || tr!("now net.netfilter.nf_conntrack_max"),
        rule: Some(conntrack_max),
        sources: &["adf0516845bc"],
        ..KEY
    },
    Key {
        name: "net.ipv4.ip_conntrack_max",
        until: Some(from_el(2, 6, 6)),
        what: || tr!("now net.netfilter.nf_conntrack_max"),
        sources: &["adf0516845bc"],
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_buckets",
        module: NF,
        what: || tr!("slots of the table of connections"),
        rule: Some(buckets),
        sources: &["3183ab8997a4", "nf_conntrack-sysctl.rst"],
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_expect_max",
        module: NF,
        what: || tr!("so many connections may be expected by helpers (FTP, SIP)"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_timeout_established",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("432000"))],
        what: || tr!("how long an idle connection is remembered"),
        rule: Some(established),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.ipv4.netfilter.ip_conntrack_tcp_timeout_established",
        until: Some(from(4, 9)),
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("432000"))],
        what: || tr!("now net.netfilter.nf_conntrack_tcp_timeout_established"),
        rule: Some(established),
        sources: &["adf0516845bc"],
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("120"))],
        what: || tr!("how long a connection in TIME_WAIT is remembered"),
        range: Some(|_| {
            Some(Range {
                least: 30,
                most: 600,
                why: tr!("a connection that reuses its port meets an entry that is gone, or one that is still there"),
            })
        }),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("60"))],
        what: || tr!("how long a connection is remembered whose program does not close it"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("120"))],
        what: || tr!("how long a connection is remembered that one side has closed"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_timeout_last_ack",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("30"))],
        what: || tr!("how long the last answer of a connection is waited for"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_timeout_syn_recv",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("60"))],
        what: || tr!("how long a half-open connection is remembered"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_timeout_syn_sent",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("120"))],
        what: || tr!("how long a connection without an answer is remembered"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_udp_timeout",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("30"))],
        what: || tr!("how long a question over UDP is remembered"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_udp_timeout_stream",
        module: NF,
        unit: Unit::Seconds,
        what: || tr!("how long a talk over UDP is remembered"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_generic_timeout",
        module: NF,
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("600"))],
        what: || tr!("how long other protocols are remembered"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_be_liberal",
        module: NF,
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("segments outside of the window are let through"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_tcp_loose",
        module: NF,
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("picks up connections that were there before"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.netfilter.nf_conntrack_acct",
        module: NF,
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("counts the packets and bytes of each connection"),
        sources: CONNTRACK,
        ..KEY
    },
    Key {
        name: "net.bridge.bridge-nf-call-iptables",
        module: Some("br_netfilter"),
        what: || tr!("packets that only cross a bridge pass iptables too: Kubernetes asks for 1"),
        sources: &["34666d467cbf"],
        ..KEY
    },
    Key {
        name: "net.bridge.bridge-nf-call-ip6tables",
        module: Some("br_netfilter"),
        what: || tr!("packets that only cross a bridge pass ip6tables too"),
        sources: &["34666d467cbf"],
        ..KEY
    },
    Key {
        name: "net.bridge.bridge-nf-call-arptables",
        module: Some("br_netfilter"),
        what: || tr!("packets that only cross a bridge pass arptables too"),
        sources: &["34666d467cbf"],
        ..KEY
    },
];

/// What one entry takes: struct nf_conn and its extensions, in bytes.
const ENTRY: u64 = 320;

/// The kernel's default slots with enough memory: 16384 before 4.2 or so, 65536 up to 5.14, 262144 since (d532bcd0b269).
fn default_slots(asked: &Asked<'_>) -> u64 {
    if asked.since(from(5, 15)) {
        262_144
    } else if asked.since(from_el(4, 2, 7)) {
        65_536
    } else {
        16_384
    }
}

fn conntrack_max(asked: &Asked<'_>) -> Option<Judgement> {
    let value = asked.value();
    let kib = value.saturating_mul(ENTRY) / 1024;
    if let Some(memory) = asked.machine.memory
        && kib > memory / 8
    {
        let most = (memory / 8).saturating_mul(1024) / ENTRY;
        let most = most - most % 1024;
        return adapt(
            tr!(
                "{value} entries of about 320 bytes are {size} of memory that cannot be swapped out, more than an eighth of all",
                value,
                size = size(kib)
            ),
            most,
        );
    }
    if value < 32_768 {
        return adapt(tr!("a busy server fills it in seconds, and every new connection is dropped then"), 65_536);
    }
    let slots = (asked.other)("net.netfilter.nf_conntrack_buckets").and_then(|slots| u64::try_from(slots).ok());
    let has = slots.unwrap_or_else(|| default_slots(asked)).max(1);
    // Each connection is in the table twice.
    let chain = value.saturating_mul(2) / has;
    if chain > 8 {
        let wanted = (value / 4).next_multiple_of(1024);
        let how = match asked.since(from(4, 7)) {
            true => tr!("net.netfilter.nf_conntrack_buckets = {wanted}", wanted),
            false => tr!("options nf_conntrack hashsize={wanted} in /etc/modprobe.d", wanted),
        };
        let message = tr!(
            "{size} of memory when full; the table has {has} slots, so that each packet would go through a chain of {chain}: set with it {how}",
            size = size(kib),
            has,
            chain,
            how
        );
        return Some(Judgement::new(Verdict::Adapt, message).with(value));
    }
    good(tr!("{size} of memory when full, in chains of about {chain}", size = size(kib), chain = chain.max(1)))
}

fn buckets(asked: &Asked<'_>) -> Option<Judgement> {
    if !asked.since(from(4, 7)) {
        let value = asked.value();
        return Some(Judgement::new(
            Verdict::NoEffect,
            tr!("read only before Linux 4.7: options nf_conntrack hashsize={value} in /etc/modprobe.d sets it", value),
        ));
    }
    None
}

fn established(asked: &Asked<'_>) -> Option<Judgement> {
    let value = asked.value();
    let of_list =
        |key: &str, default: u64| (asked.other)(key).and_then(|number| u64::try_from(number).ok()).unwrap_or(default);
    let idle = of_list("net.ipv4.tcp_keepalive_time", 7200);
    let last = of_list("net.ipv4.tcp_keepalive_intvl", 75).saturating_mul(of_list("net.ipv4.tcp_keepalive_probes", 9));
    if value < idle.saturating_add(last) {
        let wanted = idle.saturating_add(last);
        return adapt(
            tr!(
                "shorter than keepalive: an idle connection of a pool is asked after {idle} s for the first time, and is forgotten after {value}. Its next packet is dropped or reset, and the program waits. Keep it above {idle} + {last} s, or lower net.ipv4.tcp_keepalive_time",
                idle,
                value,
                last
            ),
            wanted,
        );
    }
    good(tr!(
        "longer than the {idle} s after which keepalive asks, so that idle connections live; shorter than five days, so that dead ones leave room",
        idle
    ))
}
