//! nginx passes requests on to a port of this machine on which nobody listens.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sickbay_formats::sock_diag::SYN_SENT;

use crate::facts::Facts;
use crate::facts::network::services::is_all;
use crate::facts::network::sockets::Sockets;
use crate::facts::services::nginx::{Nginx, Node};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: users get 502 Bad Gateway, some of them or all; nginx logs "connect() failed (111: Connection refused) while connecting to upstream", or
    /// "connect() to unix:… failed (2: No such file or directory)".
    ///
    /// ## What it finds
    /// A server of an `upstream`, or an address in `proxy_pass`, `fastcgi_pass` and the like, that is a port of this machine's own loopback on which nobody
    /// listens, or a socket file that does not exist, while nginx runs. Servers that are marked `down` are left out; other machines are not asked.
    ///
    /// ## Why it matters
    /// Requests for it fail with 502. With others beside it nginx tries this one again every 10 seconds (`fail_timeout`), and a part of the requests takes a
    /// detour.
    ///
    /// ## What the repair does
    /// Nothing: start the program, or take the line out and reload nginx.
    ///
    /// ## By hand
    /// ```sh
    /// ss -lntp
    /// ```
    "nginx-upstream-dead", Services, seed = ["N3"], proves = [], "nobody listens where nginx passes requests on to"
}

/// Servers of a group: how many, and which of them are dead.
type Group<'a> = (usize, Vec<(&'a Node, String)>);

/// Where a request is passed on to.
enum End {
    Tcp(SocketAddr),
    File(String),
}

/// `127.0.0.1:8080`, `localhost:8080`, `unix:/run/x.sock`: only what is this machine's own.
fn end(text: &str, usual: u16) -> Option<End> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.split(':').next()?;
        return path.starts_with('/').then(|| End::File(path.to_owned()));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => (host, port.parse().ok()?),
        _ => (text, usual),
    };
    let address = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.trim_matches(['[', ']']).parse().ok()?,
    };
    address.is_loopback().then(|| End::Tcp(SocketAddr::new(address, port)))
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let nginx = facts.get::<Nginx>()?;
    if nginx.master.is_none() {
        return Err(Skip::NotApplicable(tr!("nginx does not run")));
    }
    let sockets = facts.get::<Sockets>()?;
    let dead = |end: &End| match end {
        End::Tcp(end) => {
            let listens = sockets
                .listeners()
                .any(|one| one.source.1 == end.port() && (one.source.0 == end.ip() || is_all(one.source.0)));
            // Packet filters may lead it elsewhere: then it has connections.
            let leads =
                sockets.all.iter().any(|one| one.destination == (end.ip(), end.port()) && one.state != SYN_SENT);
            !listens && !leads && !sockets.is_cut
        }
        End::File(path) => {
            facts.root().metadata(path).is_err_and(|error| matches!(error.reason, sickbay_target::Reason::NotFound))
        }
    };
    let shown = |end: &End| match end {
        End::Tcp(end) => end.to_string(),
        End::File(path) => path.clone(),
    };
    let mut groups: BTreeMap<usize, Group<'_>> = BTreeMap::new();
    for (_, node) in nginx.all("server") {
        let Some(group) = node.parent.filter(|_| node.is_in(&["http", "upstream"])) else { continue };
        if node.directive.has("down") {
            continue;
        }
        let one = groups.entry(group).or_default();
        one.0 += 1;
        if let Some(end) = node.directive.value().and_then(|value| end(value, 80)).filter(dead) {
            one.1.push((node, shown(&end)));
        }
    }
    for (all, of_them) in groups.into_values() {
        let count = of_them.len();
        for (node, end) in of_them {
            let message = match end.starts_with('/') {
                true => tr!("nginx passes requests on to {end}, which does not exist", end),
                false => tr!("nginx passes requests on to {end}, on which nobody listens", end),
            };
            let is_all = count == all;
            let finding = if is_all { found.error(message) } else { found.warning(message) };
            finding.at(&node.file, node.span());
            finding.why(match is_all {
                true => tr!("every request for it is answered with 502"),
                false => tr!("a part of the requests fails here first, and is sent to another server of the group"),
            });
            finding.by_hand(tr!("start the program that belongs there, or take the line out and reload nginx"));
        }
    }
    for (name, usual) in
        [("proxy_pass", 80), ("fastcgi_pass", 9000), ("uwsgi_pass", 80), ("grpc_pass", 80), ("scgi_pass", 80)]
    {
        for (_, node) in nginx.all(name) {
            let Some(value) = node.directive.value().filter(|value| !value.contains('$')) else { continue };
            let (usual, value) = match value.split_once("://") {
                Some(("https" | "grpcs", rest)) => (443, rest),
                Some((_, rest)) => (usual, rest),
                None => (usual, value),
            };
            let value = if value.starts_with("unix:") { value } else { value.split('/').next().unwrap_or(value) };
            let Some(end) = end(value, usual).filter(dead) else { continue };
            let message = match &end {
                End::File(_) => tr!("nginx passes requests on to {end}, which does not exist", end = shown(&end)),
                End::Tcp(_) => tr!("nginx passes requests on to {end}, on which nobody listens", end = shown(&end)),
            };
            let finding = found.error(message);
            finding.at(&node.file, node.span());
            finding.why(tr!("every request for it is answered with 502"));
            finding.by_hand(tr!("start the program that belongs there, or take the line out and reload nginx"));
        }
    }
    Ok(())
}
