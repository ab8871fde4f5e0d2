//! Repairs of the network that are taken back by themselves unless somebody confirms them: they may cut off whoever made them.
//!
//! What waits is marked in its journal entry. A process that outlives the session looks at those marks and takes back what nobody has
//! confirmed in time; `--confirm` takes the marks away.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sickbay_target::{Access, Target, has_parent, netlink, outlive, parent, tcp_answers, tcp_sockets, tell_log};

use super::{Context, Failure, TargetArgs, cut_off, this_machine};
use crate::engine::rounds::Applied;
use crate::facts::Facts;
use crate::facts::network::services::{Server, Services};
use crate::model::diagnosis::Diagnosis;
use crate::model::repair::Change;
use crate::model::text::Text;
use crate::repair::plan::Plan;
use crate::repair::undo::{self, Force};
use crate::tr;

/// As long is waited where the user did not say.
const SECONDS: u32 = 60;

/// As often is looked whether something was confirmed.
const LOOK: Duration = Duration::from_millis(300);

/// More connections are not looked at.
const SOCKETS: usize = 1 << 20;

/// What keeps watch over the repairs of one run.
pub(super) struct Guard<'a> {
    pub(super) context: &'a Context,
    /// What the user said.
    pub(super) within: Option<u32>,
    pub(super) journal: Option<&'a Path>,
    pub(super) seconds: Arc<AtomicU32>,
    started: bool,
}

impl<'a> Guard<'a> {
    pub(super) fn new(
        context: &'a Context,
        within: Option<u32>,
        journal: Option<&'a Path>,
        seconds: Arc<AtomicU32>,
    ) -> Guard<'a> {
        Guard { context, within, journal, seconds, started: false }
    }

    /// Sees to it that what the plan does to the network is taken back in time, before anything of it is done.
    pub(super) fn prepare(&mut self, target: &Target, seen: &Diagnosis, plan: &Plan) -> Result<(), Failure> {
        if self.started || !target.is_this_machine() || !plan.steps.iter().any(|step| step.is_of_network()) {
            return Ok(());
        }
        let seconds = match self.within {
            Some(seconds) => seconds,
            None => match connection_at_risk(seen) {
                Some((peer, dev)) => {
                    cut_off::remark(
                        self.context,
                        &tr!(
                            "the ssh connection of {peer} goes over {dev}, which this repair changes: it is reverted after {seconds} s unless you confirm it (--confirm-within)",
                            peer = peer.to_string(),
                            dev,
                            seconds = SECONDS
                        ),
                    );
                    SECONDS
                }
                None => return Ok(()),
            },
        };
        if seconds == 0 {
            return Ok(());
        }
        let mut arguments = vec!["undo".into(), "--guard".into()];
        if let Some(dir) = self.journal {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
            arguments.extend(["--journal".into(), dir.into_os_string()]);
        }
        outlive(arguments).map_err(|error| {
            Failure(tr!(
                "nothing was changed: what would revert it could not be started: {error}",
                error = error.to_string()
            ))
        })?;
        self.seconds.store(seconds, Ordering::Relaxed);
        self.started = true;
        Ok(())
    }

    /// After everything: asks whether what waits is to stay, or says how it does.
    pub(super) fn finish(&self, args: &TargetArgs, applied: &[Applied], yes: bool) -> Result<(), Failure> {
        let stands = |id: &str| applied.iter().any(|repair| repair.journal.as_deref() == Some(id));
        if !self.started {
            return Ok(());
        }
        let waiting = settle(args, self.journal, false)?;
        let Some((_, first)) = waiting.iter().find(|(id, _)| stands(id)) else { return Ok(()) };
        let seconds = first.pending.as_ref().map_or(SECONDS, |pending| pending.seconds);
        let told = tr!(
            "unless you confirm the repair of the network within {seconds} s, it is reverted: sickbay undo --confirm",
            seconds
        );
        cut_off::remark(self.context, &told);
        if yes || !std::io::stdin().is_terminal() {
            return Ok(());
        }
        if cut_off::agree(self.context, &tr!("Is the machine still reached, and is the repair to stay?")) {
            return confirm(self.context, args, self.journal).map(drop);
        }
        self.context.print(&format!("{}\n", self.context.say(&tr!("it is reverted when the time is over"))));
        Ok(())
    }
}

/// `--confirm`: what waits stays.
pub(super) fn confirm(context: &Context, args: &TargetArgs, journal: Option<&Path>) -> Result<u8, Failure> {
    let all = settle(args, journal, true)?;
    for (id, entry) in &all {
        let title = context.say(&Text::verbatim(&entry.title));
        context.print(&format!("{} {id}: {title}\n", context.say(&tr!("confirmed"))));
    }
    if all.is_empty() {
        context.print(&format!("{}\n", context.say(&tr!("nothing waits to be confirmed"))));
    }
    Ok(0)
}

fn settle(
    args: &TargetArgs,
    journal: Option<&Path>,
    confirmed: bool,
) -> Result<Vec<(String, crate::repair::journal::Entry)>, Failure> {
    let target = args.open_to_undo(Access::ReadWrite)?;
    let store = TargetArgs::open_journal(journal)?;
    Ok(undo::settle(&target, store.as_deref(), confirmed)?)
}

/// The process that keeps watch: it ends when nothing waits any more and who started it is gone.
pub(super) fn keep_watch(args: &TargetArgs, journal: Option<&Path>) -> Result<u8, Failure> {
    let began = parent();
    let target = args.open_to_undo(Access::ReadOnly)?;
    let store = TargetArgs::open_journal_to_look(journal)?;
    // By its own clock: the other one may be set meanwhile.
    let mut since: Option<(Vec<(String, i64)>, Instant)> = None;
    loop {
        let waiting = undo::pending(&target, store.as_deref());
        if waiting.is_empty() {
            if !has_parent(began) {
                return Ok(0);
            }
            since = None;
        } else {
            let marks: Vec<_> = waiting.iter().map(|(id, pending)| (id.clone(), pending.until)).collect();
            let known = since.as_ref().filter(|(known, _)| *known == marks).map(|(_, when)| *when);
            let when = known.unwrap_or_else(Instant::now);
            since = Some((marks, when));
            let patience = waiting.iter().map(|(_, pending)| pending.seconds).max().unwrap_or(SECONDS);
            if when.elapsed() >= Duration::from_secs(u64::from(patience)) {
                // Where another holds the journal, or something else is in the way for a moment, once more.
                match take_back(args, journal) {
                    Ok(()) => since = None,
                    Err(Failure(why)) => {
                        tell_log(&format!("could not revert: {}", why.render(crate::model::text::Lang::En)));
                        std::thread::sleep(Duration::from_secs(2));
                    }
                }
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Takes back everything that waits.
fn take_back(args: &TargetArgs, journal: Option<&Path>) -> Result<(), Failure> {
    let target = args.open_to_undo(Access::ReadWrite)?;
    let store = TargetArgs::open_journal(journal)?;
    let ids: Vec<String> = undo::pending(&target, store.as_deref()).into_iter().map(|(id, _)| id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let undone = undo::undo(&target, None, store.as_deref(), &ids, Force::No)?;
    for (id, entry, _) in &undone.taken {
        let line = format!("reverted {id}, which nobody confirmed in time: {}", entry.title);
        tell_log(&line);
        super::complain(&format!("sickbay: {}\n", crate::report::text::printable(&line)));
    }
    match undone.left.into_iter().next() {
        Some((_, why)) => Err(Failure(why)),
        None => Ok(()),
    }
}

/// An ssh connection that goes over a card which the repairs of this diagnosis change: who is at its other end, and the card.
fn connection_at_risk(seen: &Diagnosis) -> Option<(IpAddr, String)> {
    let links = links();
    let changes = seen.findings.iter().flat_map(|finding| &finding.repairs).flat_map(|repair| &repair.changes);
    let changed: Vec<u32> = changes
        .filter_map(|change| match change {
            Change::Network { piece, .. } => piece.link_index(),
            _ => None,
        })
        .collect();
    if changed.is_empty() {
        return None;
    }
    peers().into_iter().find_map(|peer| {
        let link = netlink::link_to(peer);
        // A peer that no route leads to is reached some other way, or is about to be lost.
        let index = link.as_ref().ok().copied().or_else(|| changed.first().copied())?;
        let name = links.iter().find(|(known, _)| *known == index).map(|(_, name)| name.clone())?;
        changed.contains(&index).then_some((peer, name))
    })
}

fn links() -> Vec<(u32, String)> {
    crate::repair::apply::network::links().unwrap_or_default()
}

/// Who is connected over ssh: by SSH_CONNECTION, which sudo takes away, and by the sockets of sshd.
fn peers() -> Vec<IpAddr> {
    let mut peers = Vec::new();
    let connection = std::env::var("SSH_CONNECTION").unwrap_or_default();
    let words: Vec<&str> = connection.split(' ').collect();
    let mut ports = vec![22];
    if let [peer, _, _, port, ..] = words.as_slice() {
        peers.extend(peer.split('%').next().and_then(|peer| peer.parse::<IpAddr>().ok()));
        ports.extend(port.parse::<u16>());
    }
    let services = this_machine().ok().and_then(|host| Facts::new(Arc::new(host), None).get::<Services>().ok());
    let all = services.iter().flat_map(|services| &services.list).flat_map(|service| &service.ports);
    ports.extend(all.filter(|port| port.server == Server::Sshd).map(|port| port.port));
    // ESTABLISHED.
    let sockets = tcp_answers(SOCKETS).map(|answer| tcp_sockets(&answer, SOCKETS).0).unwrap_or_default();
    let over_ssh = sockets.iter().filter(|socket| socket.state == 1 && ports.contains(&socket.source.1));
    peers.extend(over_ssh.map(|socket| socket.destination.0).filter(|peer| !peer.is_loopback()));
    peers
}
