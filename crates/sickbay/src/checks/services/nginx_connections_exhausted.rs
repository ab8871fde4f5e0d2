//! nginx's workers have no room for more connections, or may not open as many files as they are configured for.

use std::collections::BTreeMap;

use sickbay_formats::procfs::limits::limit;
use sickbay_formats::sock_diag::{LISTEN, TIME_WAIT};

use crate::facts::Facts;
use crate::facts::limits::chain;
use crate::facts::network::sockets::{Owners, Sockets};
use crate::facts::services::nginx::Nginx;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: nginx logs "768 worker_connections are not enough" or "accept4() failed (24: Too many open files)"; clients hang or get 500; at its
    /// start nginx warns "10240 worker_connections exceed open file resource limit: 1024".
    ///
    /// ## What it finds
    /// - a worker of a running nginx that has nine tenths of its `worker_connections` in use now. They count the connections to upstreams too: a proxy
    ///   needs two for each client;
    /// - `worker_connections` above the number of files that a worker may open: `worker_rlimit_nofile`, else the limit that the service is started
    ///   with. The limits of a service do not come from limits.conf.
    ///
    /// ## Why it matters
    /// A worker without a free connection first closes those that are idle, then accepts nobody; a proxy answers 500. Each worker has its own: the
    /// others may be idle.
    ///
    /// ## What the repair does
    /// Writes `worker_rlimit_nofile` with twice the connections, if risky repairs are accepted: a connection may have a file beside its socket.
    /// nginx is not restarted. How many connections there should be is yours to say.
    ///
    /// ## By hand
    /// ```sh
    /// nginx -T | grep -E 'worker_(processes|connections|rlimit_nofile)'
    /// grep 'open files' /proc/PID/limits
    /// ```
    "nginx-connections-exhausted", Services, seed = ["N3"], proves = [], "nginx's workers have no room for more connections"
}

/// So many of a hundred are in use when it is told.
const FULL: u64 = 90;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let nginx = facts.get::<Nginx>()?;
    if !nginx.counts {
        return Err(Skip::NotApplicable(tr!("nginx does not run, and no boot starts it")));
    }
    let setting = nginx.last(&["events"], "worker_connections");
    // nginx's own default.
    let connections = setting.and_then(|node| node.directive.value()?.parse().ok()).unwrap_or(512_u64);
    in_use(facts, &nginx, connections, found)?;
    let Some(setting) = setting else { return Ok(()) };
    let own = nginx.last(&[], "worker_rlimit_nofile");
    let files = match own.and_then(|node| node.directive.value()?.parse().ok()) {
        Some(files) => Some(files),
        None => started_with(facts, &nginx),
    };
    let Some(files) = files.filter(|files| *files < connections) else { return Ok(()) };
    let finding = found.warning(tr!(
        "worker_connections is {connections}, but each worker may open only {files} files",
        connections,
        files
    ));
    finding.at(&setting.file, setting.span());
    finding.why(tr!("at {files} connections accept and connect fail with \"Too many open files\" (24)", files));
    let wanted = connections.saturating_mul(2);
    match own {
        Some(own) => {
            finding.at(&own.file, own.span());
            if let Some(place) = own.directive.places.get(1) {
                let change = replaced(&own.file, place.clone(), &wanted.to_string());
                finding.repair(
                    Risk::Risky,
                    tr!("set worker_rlimit_nofile to {wanted}; then reload nginx", wanted),
                    change,
                );
            }
        }
        None => {
            finding.note(tr!("that is the limit that the service is started with; limits.conf has no say in it"));
            if let Some(events) = nginx.nodes.iter().find(|node| node.name() == b"events" && node.inside.is_empty()) {
                let at = events.directive.whole.start;
                let change = replaced(&events.file, at..at, &format!("worker_rlimit_nofile {wanted};\n"));
                finding.repair(
                    Risk::Risky,
                    tr!("set worker_rlimit_nofile to {wanted}; then reload nginx", wanted),
                    change,
                );
            }
        }
    }
    Ok(())
}

fn replaced(file: &crate::model::source::SourceFile, place: std::ops::Range<usize>, text: &str) -> Option<Change> {
    let before = file.bytes.get(..place.start)?;
    let after = file.bytes.get(place.end..)?;
    let after = [before, text.as_bytes(), after].concat();
    Some(Change::Edit { path: file.path.clone(), before: file.bytes.clone(), after })
}

/// The limit on open files of a worker, or the one that the service will be started with.
fn started_with(facts: &Facts, nginx: &Nginx) -> Option<u64> {
    if let Some(pid) = nginx.workers.first() {
        let text = facts.root().read(format!("/proc/{pid}/limits")).ok()?;
        return limit(&text, "Max open files")?.soft;
    }
    let chain = chain::of_unit_named(facts, "nginx.service").ok()?;
    chain.rows.iter().find(|row| row.resource.name == "nofile")?.after?.0
}

/// Workers that have no room now.
fn in_use(facts: &Facts, nginx: &Nginx, connections: u64, found: &mut Findings) -> Result<(), Skip> {
    if nginx.workers.is_empty() || connections == 0 {
        return Ok(());
    }
    let sockets = facts.get::<Sockets>()?;
    let owners = facts.get::<Owners>()?;
    let mut of: BTreeMap<u32, u64> = BTreeMap::new();
    for socket in sockets.all.iter().filter(|socket| !matches!(socket.state, LISTEN | TIME_WAIT)) {
        if let Some((pid, _)) = owners.of(socket.inode).filter(|(pid, _)| nginx.workers.contains(pid)) {
            *of.entry(pid).or_default() += 1;
        }
    }
    let full = |used: &u64| used.saturating_mul(100) >= connections.saturating_mul(FULL);
    let Some((pid, used)) = of.iter().filter(|(_, used)| full(used)).max_by_key(|(_, used)| **used) else {
        return Ok(());
    };
    let workers = of.values().filter(|used| full(used)).count();
    let all = nginx.workers.len();
    let finding = found.error(tr!(
        "{workers} of {all} nginx workers have no room: PID {pid} has {used} of its {connections} worker_connections in use",
        workers,
        all,
        pid,
        used,
        connections
    ));
    if let Some(setting) = nginx.last(&["events"], "worker_connections") {
        finding.at(&setting.file, setting.span());
    }
    finding.subject(Subject::Named("worker_connections".to_owned())).extent(*used);
    finding.about(Subject::Process { pid: *pid, start: None, name: "nginx".to_owned() });
    for listener in sockets.listeners() {
        if owners.of(listener.inode).is_some_and(|(pid, _)| Some(pid) == nginx.master || nginx.workers.contains(&pid)) {
            finding
                .explains(Subject::Socket(std::net::SocketAddr::new(listener.source.0, listener.source.1).to_string()));
        }
    }
    finding.why(tr!(
        "a worker whose connections are all in use accepts nobody, and answers 500 where it has to ask an upstream"
    ));
    if nginx.is_proxy() {
        finding.note(tr!("it is a proxy: a client takes two of them, its own and the one to the upstream"));
    }
    finding.detail("worker", *pid).detail("used", *used).detail("worker_connections", connections);
    finding.by_hand(tr!(
        "raise worker_connections, and worker_rlimit_nofile to twice as much; or shorten keepalive_timeout"
    ));
    Ok(())
}
