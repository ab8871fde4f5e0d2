//! `sickbay explain memory`.

use sickbay_target::KernelFiles;

use super::super::{Context, Failure, Format};
use super::{host_without_disks, within};
use crate::facts::Facts;
use crate::facts::memory::cgroups::{Limited, MEMORY, Mounts};
use crate::facts::memory::ledger::Ledger;
use crate::facts::memory::processes::{Processes, pss};
use crate::facts::memory::slab_owners::watched;
use crate::facts::system::kernel::MemInfo;
use crate::model::outcome::Skip;
use crate::report::ledger;
use crate::report::ledger::{Share, Told};

pub(super) fn explain(context: &Context, exact: bool) -> Result<u8, Failure> {
    let facts = host_without_disks()?;
    let (ledger, memory, shares, limits, watched) = within(move || {
        let (ledger, memory) = (facts.get::<Ledger>()?, facts.get::<MemInfo>()?);
        let shares = match exact {
            false => None,
            true => {
                let processes = facts.get::<Processes>()?;
                let mut files = KernelFiles::open(facts.root(), "/proc").map_err(Skip::from)?;
                let share = |process: &crate::facts::memory::processes::Process| {
                    Some(Share { pid: process.pid, comm: process.comm.clone(), pss: pss(&mut files, process.pid)? })
                };
                let mut shares: Vec<Share> = processes.list.iter().filter_map(share).collect();
                shares.sort_by_key(|share| (std::cmp::Reverse(share.pss), share.pid));
                Some(shares)
            }
        };
        Ok((ledger, memory, shares, limits(&facts), watched(&facts)))
    })?;
    let watched: Vec<_> = watched.into_iter().map(|seen| seen.text).collect();
    let shares = shares.as_deref();
    let told = Told { ledger: &ledger, memory: &memory, shares, limits: &limits, watched: &watched };
    match context.format {
        Format::Json => context.print_json(&ledger::json(&told, &context.style))?,
        Format::Text => context.print(&ledger::render(&told, &context.style)),
    }
    Ok(0)
}

/// Limits of cgroups that are told: those that are used most.
const LIMITS: usize = 5;

/// The cgroups with a memory limit, the fullest first.
fn limits(facts: &Facts) -> Vec<Limited> {
    let Ok(mounts) = facts.get::<Mounts>() else { return Vec::new() };
    let mut limits = mounts.limited(facts, MEMORY);
    limits.sort_by_key(|group| std::cmp::Reverse(group.used.saturating_mul(1000).checked_div(group.limit)));
    limits.truncate(LIMITS);
    limits
}
