//! `sickbay check`.

use std::sync::Arc;

use sickbay_target::Access;

use super::{Context, Failure, TargetArgs, mirror};
use crate::checks;
use crate::diagnose::look;
use crate::facts::Facts;
use crate::facts::comparison::Comparison;
use crate::report::Report;

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
}

impl Check {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        checks::chosen(&self.only).map_err(Failure)?;
        let started = jiff::Timestamp::now();
        let target = self.target.open(Access::ReadOnly)?;
        let chosen = checks::chosen_for(&self.only, target.kind).map_err(Failure)?;
        let donor = self.target.open_donor(&target)?;
        // Only with a donor that was named: it is meant to be compared with.
        let other = donor.clone().filter(|_| self.target.donor.is_some() && self.only.is_empty());
        let mirror = mirror(self.fetch)?;
        let facts = || Facts::new(Arc::clone(&target), donor.clone()).with_all_digests(self.digests);
        let (facts, diagnosis) = look(|| facts().with_mirror(mirror.clone()), &chosen);
        let mut report = Report::new(started, &facts, diagnosis, None);
        report.comparison = other.map(|donor| Comparison::of(&facts, &Facts::new(donor, None)));
        context.print_report(&report, self.target.target.as_deref())?;
        Ok(report.exit_code())
    }
}
