//! Incidents of network cards, and of the kernel's tables of connections, sockets and neighbours.

use bstr::ByteSlice;

use super::{Event, Kind, after, before, event, first_word};

/// net/sched/sch_generic.c: `NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out`, since 6.5
/// `e1000e 0000:00:1f.6 eth0: NETDEV WATCHDOG: CPU: 3: transmit queue 0 timed out 5010 ms`; drivers' `eth0: NIC Link is Down`.
pub(super) fn network_card(text: &[u8]) -> Option<Event> {
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

/// net/netfilter/nf_conntrack_core.c: `nf_conntrack: table full, dropping packet`; `ip_conntrack:` before 2.6.20.
pub(super) fn conntrack(text: &[u8]) -> Option<Event> {
    before(text, ": table full, dropping packet").filter(|head| head.ends_with(b"_conntrack"))?;
    event(Kind::Conntrack, b"", b"")
}

/// net/ipv4/inet_timewait_sock.c and tcp_input.c.
pub(super) fn sockets(text: &[u8]) -> Option<Event> {
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
pub(super) fn neighbours(text: &[u8]) -> Option<Event> {
    let at = text.find("eighbor table overflow").or_else(|| text.find("eighbour table overflow"))?;
    let head = text.get(..at.saturating_sub(1))?.trim_ascii().trim_end_with(|c| c == ':');
    event(Kind::Neighbours, head.rsplit_once_str(" ").map_or(head, |(_, table)| table), b"")
}

/// A LOG target of iptables or nft (net/netfilter/nf_log_syslog.c): a prefix of the rule's author, then `IN=… OUT=… … SRC=`.
pub(super) fn firewall(text: &[u8]) -> Option<Event> {
    let head = before(text, "IN=").filter(|_| text.contains_str(" SRC=") && text.contains_str(" DST="))?;
    let lower = head.to_ascii_lowercase();
    let drops = ["drop", "block", "deny", "denied", "reject", "invalid"].iter().any(|word| lower.contains_str(word));
    (drops || head.trim_ascii().is_empty()).then_some(())?;
    event(Kind::Firewall, head.trim_end_with(|c| c == ' ' || c == ':'), b"")
}
