//! `sickbay check`.

use std::sync::Arc;

use sickbay_target::{Access, Kind};

use super::{Context, Failure, TargetArgs, mirror};
use crate::check::Skip;
use crate::checks;
use crate::diagnose::{Diagnosis, look};
use crate::facts::Facts;
use crate::facts::comparison::Comparison;
use crate::facts::kernel_log::KernelLog;
use crate::report::Report;
use crate::text::Text;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    target: TargetArgs,
    /// Run only this check; can be given several times
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Read every packaged file and compare digests, not only those that boot and login need; takes minutes
    #[arg(long)]
    digests: bool,
    /// Fetch the packages of lost files that nothing at hand has, of exactly the installed versions, from the mirrors that the
    /// target's apt names; with curl or wget of this machine
    #[arg(long)]
    fetch: bool,
    /// Let every file system of a disk or image be examined by its checker (e2fsck, xfs_repair, btrfs), not only those
    /// that seem damaged; reads them as a whole
    #[arg(long)]
    fsck: bool,
}

impl Check {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        checks::chosen(&self.only).map_err(Failure)?;
        let started = jiff::Timestamp::now();
        let (facts, diagnosis, comparison) = match self.look(self.fsck)? {
            // A file that cannot be read tells what no superblock does.
            (facts, ..) if !self.fsck && super::met_damage(facts.target()) => {
                drop(facts);
                self.look(true)?
            }
            seen => seen,
        };
        if let Some(why) = not_a_log(&facts) {
            return Err(Failure(why));
        }
        let mut report = Report::new(started, &facts, diagnosis, None);
        report.comparison = comparison;
        report.target.notes.extend(self.target.cut_off(context));
        context.print_report(&report, self.target.target.as_deref())?;
        Ok(report.exit_code())
    }

    fn look(&self, thorough: bool) -> Result<(Arc<Facts>, Diagnosis, Option<Comparison>), Failure> {
        let target = self.target.open_examined(Access::ReadOnly, thorough)?;
        let chosen = checks::chosen_for(&self.only, target.kind).map_err(Failure)?;
        let donor = self.target.open_donor(&target)?;
        // Only with a donor that was named: it is meant to be compared with.
        let other = donor.clone().filter(|_| self.target.donor.is_some() && self.only.is_empty());
        let mirror = mirror(self.fetch)?;
        let facts = || Facts::new(Arc::clone(&target), donor.clone()).with_all_digests(self.digests);
        let (facts, diagnosis) = look(|| facts().with_mirror(mirror.clone()), &chosen);
        let comparison = other.map(|donor| Comparison::of(&facts, &Facts::new(donor, None)));
        Ok((facts, diagnosis, comparison))
    }
}

/// Why nothing can be said of a text that was given for a log.
fn not_a_log(facts: &Facts) -> Option<Text> {
    match facts.get::<KernelLog>() {
        Err(Skip::Unknown(why)) if facts.target().kind == Kind::Log => Some(why),
        _ => None,
    }
}
