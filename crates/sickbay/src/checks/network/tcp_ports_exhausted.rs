//! Connections to one destination have nearly used up the local ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::facts::Facts;
use crate::facts::network::sockets::{Pair, Sockets};
use crate::facts::system::kernel::{Kernel, parameter, parameter_path};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Cannot assign requested address" (99) or "Address already in use" (98) for outgoing connections; nginx
    /// answers 502.
    ///
    /// ## What it finds
    /// Outgoing TCP connections that hold four fifths of the local ports towards one destination. What counts is not how many
    /// connections there are, but those from one address to one port of another: each destination has all ports of
    /// `net.ipv4.ip_local_port_range`. Where programs call bind(2) before connect(2) without `IP_BIND_ADDRESS_NO_PORT` (no local port
    /// serves two destinations then), they count together. Half of them are enough where more are taken than given back and none is left within a minute: the
    /// timers of TIME_WAIT tell how many were closed lately. TIME_WAIT does not count where `tcp_tw_reuse` gives such ports away.
    ///
    /// ## Why it matters
    /// connect(2) then fails with "Cannot assign requested address" (99), bind(2) with "Address already in use" (98): nginx logs it for its upstream, and
    /// users see a 502.
    ///
    /// ## What the repair does
    /// Sets `net.ipv4.tcp_tw_reuse` to 1 on the running kernel, if risky repairs are accepted and TIME_WAIT has the ports; until the
    /// next start. Better: let the program keep its connections (keepalive to the upstream, a pool). A wider range takes ports from services;
    /// fewer `tcp_max_tw_buckets` only makes connections break; `tcp_tw_recycle` is gone since 4.12.
    ///
    /// ## By hand
    /// ```sh
    /// ss -tan state time-wait | wc -l
    /// sysctl net.ipv4.ip_local_port_range
    /// sysctl -w net.ipv4.tcp_tw_reuse=1
    /// ```
    "tcp-ports-exhausted", Network, seed = ["C12", "D3"], proves = [], "connections have nearly used up the local ports"
}

/// From so many of a hundred ports on it is a warning, and an error. connect(2) takes even ports until half of all are gone, so that
/// half is nothing.
const WARNING: u64 = 80;
const ERROR: u64 = 95;

/// Half of them are taken, and at this pace none is left in so many seconds.
const SOON: f64 = 60.0;

/// Two destinations with fewer connections prove nothing when they share no port.
const PROOF: u64 = 1000;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sockets = facts.get::<Sockets>()?;
    if sockets.is_cut {
        found.could_not_tell(tr!("there are more sockets than are looked at"));
    }
    let pairs = sockets.pairs();
    for pair in bound_first(&sockets, &pairs).unwrap_or(pairs) {
        let (taken, usable) = (pair.taken(&sockets.ports), sockets.ports.usable);
        let soon = pair.seconds_left(&sockets.ports).filter(|seconds| *seconds <= SOON);
        let is_soon = soon.is_some() && taken.saturating_mul(2) >= usable;
        if usable == 0 || taken.saturating_mul(100) < usable.saturating_mul(WARNING) && !is_soon {
            continue;
        }
        let end = match pair.port {
            0 => pair.destination.to_string(),
            port => std::net::SocketAddr::new(pair.destination, port).to_string(),
        };
        let source = pair.source.to_string();
        let message = if pair.port == 0 {
            tr!(
                "connections from {source} hold {taken} of {usable} local ports",
                source = source.as_str(),
                taken,
                usable
            )
        } else {
            tr!(
                "connections from {source} to {end} hold {taken} of {usable} local ports",
                source = source.as_str(),
                end = end.as_str(),
                taken,
                usable
            )
        };
        let is_error = taken.saturating_mul(100) >= usable.saturating_mul(ERROR);
        let finding = if is_error { found.error(message) } else { found.warning(message) };
        let key = "net.ipv4.ip_local_port_range";
        finding.at_parameter(key).subject(Subject::Named(format!("{source} {end}"))).extent(taken);
        finding.evidence(
            parameter_path(key).display().to_string(),
            format!("{} {}", sockets.ports.first, sockets.ports.last),
        );
        finding
            .detail("source", source)
            .detail("destination", end)
            .detail("time_wait", pair.waiting)
            .detail("open", pair.open);
        finding.detail("usable", usable);
        finding.why(tr!("when none is left, connect fails with \"Cannot assign requested address\" (99), bind with \"Address already in use\" (98)"));
        finding.note(tr!(
            "{waiting} of them are in TIME_WAIT, each for a minute after it was closed by this side",
            waiting = pair.waiting
        ));
        if let Some(rate) = pair.rate().filter(|rate| *rate >= 1.0) {
            let rate_text = format!("{rate:.0}");
            // Each takes its port for a minute.
            let most = usable / 60;
            finding.note(tr!(
                "this side closes {rate} of them a second; {most} a second is all that the ports allow",
                rate = rate_text,
                most
            ));
            finding.detail("closed_per_second", rate);
        }
        if let Some(seconds) = soon {
            finding.note(tr!("at this pace none is left in about {seconds} s", seconds = format!("{seconds:.0}")));
            finding.detail("seconds_left", seconds.round());
        }
        if pair.port == 0 {
            finding.note(tr!("no local port serves two destinations: programs bind before they connect, so that all destinations share the ports of an address"));
        }
        finding.verbose_note(folklore(facts)?);
        // What is bound first is not given away.
        let helps = pair.port != 0 && pair.waiting > pair.open && sockets.ports.timestamps;
        if helps && let Some(file) = facts.file(parameter_path("net.ipv4.tcp_tw_reuse"))? {
            let before = String::from_utf8_lossy(&file.bytes).trim().to_owned();
            let change = Change::kernel("net.ipv4.tcp_tw_reuse", before, "1");
            finding.repair(
                Risk::Risky,
                tr!("let connections take ports in TIME_WAIT (net.ipv4.tcp_tw_reuse = 1) until the next start"),
                [change],
            );
        }
        finding.by_hand(tr!("let the program keep its connections: keepalive to the upstream, a pool; or give it a second address or port to connect to"));
    }
    Ok(())
}

/// What is often set for it and does not help, on this kernel.
fn folklore(facts: &Facts) -> Result<Text, Skip> {
    let is_old = facts.get::<Kernel>().is_ok_and(|kernel| kernel.version < (4, 12));
    Ok(match is_old && parameter(facts, "net.ipv4.tcp_tw_recycle")?.is_some() {
        true => tr!(
            "no help: tcp_fin_timeout (it is about FIN_WAIT2), fewer tcp_max_tw_buckets (connections break), tcp_tw_recycle (it drops clients behind NAT, and is gone since 4.12)"
        ),
        false => tr!(
            "no help: tcp_fin_timeout (it is about FIN_WAIT2), fewer tcp_max_tw_buckets (connections break), tcp_tw_recycle (this kernel has none)"
        ),
    })
}

/// The connections of each address together, where programs bind before they connect.
fn bound_first(sockets: &Sockets, pairs: &[Pair]) -> Option<Vec<Pair>> {
    let large = pairs.iter().filter(|pair| pair.all() >= PROOF);
    let mut sources: BTreeMap<IpAddr, u64> = BTreeMap::new();
    large.for_each(|pair| *sources.entry(pair.source).or_default() += 1);
    if !sources.values().any(|count| *count > 1) || sockets.shared() > 0 {
        return None;
    }
    let mut together: BTreeMap<IpAddr, Pair> = BTreeMap::new();
    for pair in pairs {
        let one = together.entry(pair.source).or_insert(Pair { port: 0, waiting: 0, open: 0, recent: None, ..*pair });
        one.waiting += pair.waiting;
        one.open += pair.open;
        if let Some((closed, freed)) = pair.recent {
            let recent = one.recent.get_or_insert((0, 0));
            (recent.0, recent.1) = (recent.0 + closed, recent.1 + freed);
        }
    }
    Some(together.into_values().collect())
}
