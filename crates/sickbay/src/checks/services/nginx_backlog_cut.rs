//! The queue that nginx asks for is cut by the kernel.

use std::collections::BTreeSet;

use sickbay_formats::nginx::listened;

use crate::facts::Facts;
use crate::facts::network::sockets::Sockets;
use crate::facts::services::nginx::Nginx;
use crate::facts::system::kernel::parameter;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: nothing, until clients time out at a peak; `ss -lnt` shows a Send-Q that is smaller than `backlog=`.
    ///
    /// ## What it finds
    /// `listen … backlog=N` of a running nginx where the queue in force, asked of the kernel, is shorter than N. The kernel cuts it to `net.core.somaxconn` without a word
    /// when a program begins to listen; raising that later changes nothing for a socket that is there.
    ///
    /// ## Why it matters
    /// What was written for the peak is not in force.
    ///
    /// ## What the repair does
    /// Nothing: raise `net.core.somaxconn` (`sickbay tune` does), then restart nginx. A reload keeps the socket and its queue, unless `backlog=` itself has changed.
    ///
    /// ## By hand
    /// ```sh
    /// sysctl net.core.somaxconn
    /// ss -lnt
    /// ```
    "nginx-backlog-cut", Services, seed = ["N3"], proves = [], "the queue that nginx asks for is cut by the kernel"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let nginx = facts.get::<Nginx>()?;
    if nginx.master.is_none() {
        return Err(Skip::NotApplicable(tr!("nginx does not run")));
    }
    let most = parameter(facts, "net.core.somaxconn")?;
    let sockets = facts.get::<Sockets>()?;
    let mut told = BTreeSet::new();
    for (_, node) in nginx.all("listen") {
        let asked: Option<u64> = node.directive.option("backlog").and_then(|value| value.parse().ok());
        let end = node.directive.value().and_then(listened);
        let (Some(asked), Some(end)) = (asked, end) else { continue };
        let own =
            sockets.listeners().find(|one| std::net::SocketAddr::new(one.source.0, one.source.1).to_string() == end);
        // Without sock_diag the kernel's limit tells what it will be.
        let force = match own.filter(|_| sockets.is_full) {
            Some(own) => u64::from(own.sent),
            None => most.map_or(asked, |most| asked.min(most)),
        };
        if force >= asked || !told.insert(end.clone()) {
            continue;
        }
        let finding = found.note(tr!("backlog={asked} of {end} is {force} in force", asked, end = end.as_str(), force));
        finding.at(&node.file, node.span());
        finding.why(match most {
            Some(most) if most >= asked => tr!("net.core.somaxconn was {force} when nginx began to listen; it is {most} now, which only a restart of nginx uses", force, most),
            _ => tr!("the kernel cuts it to net.core.somaxconn"),
        });
        finding.detail("backlog", asked).detail("in_force", force).detail("somaxconn", most);
        finding
            .by_hand(tr!("raise net.core.somaxconn to what is needed, then restart nginx: a reload keeps the queue"));
    }
    Ok(())
}
