//! Which process has a socket, and which processes do not close theirs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use sickbay_formats::sock_diag::CLOSE_WAIT;
use sickbay_target::KernelFiles;

use super::{Sockets, Told};
use crate::facts::memory::processes::{comm, pids};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// Which process has a socket open, by inode.
#[derive(Debug, Default)]
pub struct Owners {
    by_inode: HashMap<u32, u32>,
    /// The names of these processes.
    names: HashMap<u32, String>,
    /// Whether some processes could not be looked at, or not all in the time that there is.
    pub partly: bool,
}

/// So many descriptors are looked at, and so long: per cent of a fact's time.
pub(super) const DESCRIPTORS: usize = 1 << 20;
pub(super) const SHARE: u32 = 40;

impl Fact for Owners {
    fn gather(facts: &Facts) -> Result<Owners, Skip> {
        let mut owners = Owners::default();
        if facts.target().report().is_ok() {
            for told in &facts.get::<Told>()?.0 {
                let Some((pid, name)) = &told.owner else { continue };
                owners.by_inode.insert(told.socket.inode, *pid);
                owners.names.insert(*pid, name.clone());
            }
            owners.partly = owners.by_inode.is_empty();
            return Ok(owners);
        }
        let budget = facts.budget().part(SHARE);
        let mut left = DESCRIPTORS;
        for pid in pids(facts)? {
            if left == 0 || budget.is_spent() {
                owners.partly = true;
                break;
            }
            let Ok((entries, is_whole)) = facts.root().read_dir_up_to(format!("/proc/{pid}/fd"), left) else {
                owners.partly = true;
                continue;
            };
            owners.partly |= !is_whole;
            left = left.saturating_sub(entries.len());
            // Through their directory: the way there by the number of the process costs as much again for each.
            let Ok(files) = KernelFiles::open(facts.root(), format!("/proc/{pid}/fd")) else { continue };
            for entry in entries {
                let link = match files.link(&entry.name.to_string_lossy()) {
                    Ok(link) => link,
                    Err(error) => {
                        owners.partly |= !matches!(error.reason, sickbay_target::Reason::NotFound);
                        continue;
                    }
                };
                if let Some(inode) = inode(&link) {
                    owners.by_inode.entry(inode).or_insert(pid);
                }
            }
        }
        let found: HashSet<u32> = owners.by_inode.values().copied().collect();
        owners.names = found.into_iter().map(|pid| (pid, comm(facts, pid))).collect();
        Ok(owners)
    }
}

/// `socket:[4711]`
pub(super) fn inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

impl Owners {
    /// Who has it: number and name.
    pub fn of(&self, inode: u32) -> Option<(u32, &str)> {
        let pid = self.by_inode.get(&inode)?;
        Some((*pid, self.names.get(pid).map(String::as_str).unwrap_or_default()))
    }
}

/// Sockets of one process whose other end has closed, and which it does not close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclosed {
    /// The process; 0 where it is not known.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// How many.
    pub count: u64,
    /// How many of them for longer than a minute, where that is known.
    pub old: Option<u64>,
    /// The longest of them, in seconds, where that is known.
    pub oldest: Option<u64>,
    /// To where most of them lead.
    pub most: Option<(IpAddr, u16, u64)>,
}

/// What no program leaves unclosed that means to close it.
const OLD: u32 = 60_000;

/// How many sockets lead to each address and port.
type Ends = HashMap<(IpAddr, u16), u64>;

/// CLOSE_WAIT by owner, those with the most first.
pub fn unclosed(sockets: &Sockets, owners: &Owners) -> Vec<Unclosed> {
    let mut all: BTreeMap<u32, (Unclosed, Ends)> = BTreeMap::new();
    for socket in sockets.all.iter().filter(|socket| socket.state == CLOSE_WAIT) {
        let (pid, comm) = owners.of(socket.inode).unwrap_or((0, ""));
        let (one, ends) = all.entry(pid).or_insert_with(|| {
            let new = Unclosed { pid, comm: comm.to_owned(), count: 0, old: None, oldest: None, most: None };
            (new, HashMap::new())
        });
        one.count += 1;
        if let Some(idle) = socket.idle {
            one.old = Some(one.old.unwrap_or(0) + u64::from(idle >= OLD));
            one.oldest = one.oldest.max(Some(u64::from(idle) / 1000));
        }
        // Of what was accepted the own port says what it is.
        let end = if sockets.ports.first <= socket.source.1 { socket.destination } else { socket.source };
        *ends.entry(end).or_default() += 1;
    }
    let mut list: Vec<Unclosed> = all
        .into_values()
        .map(|(mut one, ends)| {
            let most = ends.into_iter().max_by_key(|((address, port), count)| (*count, *address, *port));
            one.most = most.map(|((address, port), count)| (address, port, count));
            one
        })
        .collect();
    list.sort_by_key(|one| (std::cmp::Reverse(one.count), one.pid));
    list
}
