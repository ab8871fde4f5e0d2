//! `sickbay check`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_target::{Access, Target};

use super::{Aid, Context, Depth, Failure, Format, LOOK, OUTPUT, Past, TargetArgs, UNTOLD, in_the_past};
use crate::engine::run::look;
use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::packages::comparison::Comparison;
use crate::facts::time::Recorded;
use crate::model::diagnosis::Diagnosis;
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::report::Report;
use crate::report::forms::Part;
use crate::{checks, tr};

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// A mounted system, disk, partition or image; an archive of a root (tar, plain or compressed), a bundle of `sickbay
    /// collect`, or what `sos report` or insights-client collected; a log: a file, plain or compressed, a directory of them, or `-` for standard input; or a recording: the directory of `sickbay record`, or a file of another recorder [default: this machine]. With several targets each gets its own report, in JSON as one array
    #[arg(value_name = "TARGET")]
    targets: Vec<PathBuf>,
    #[command(flatten)]
    aid: Aid,
    /// Run only this check; can be given several times
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Skip this check, and say so in the report; can be given several times
    #[arg(long, value_name = "ID")]
    skip: Vec<String>,
    #[command(flatten)]
    depth: Depth,
    /// How long to watch the running system: 10s, 2m, 1h [default: one second, and only if there is something to see]
    #[arg(long = "for", value_name = "TIME", help_heading = LOOK)]
    time: Option<String>,
    #[command(flatten)]
    past: Past,
    /// Judge the ports by the rules of a cloud's security group, too: JSON of `aliyun ecs DescribeSecurityGroupAttribute` or `aws ec2
    /// describe-security-groups`
    #[arg(long, value_name = "FILE", help_heading = LOOK)]
    security_group: Option<PathBuf>,
    /// Write the report to this file instead of standard output: whole or not at all, mode 0644
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    output: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        checks::chosen(&self.only).and_then(|_| checks::chosen(&self.skip)).map_err(Failure)?;
        let is_joined = self.targets.len() > 1 && self.joined()?.is_some();
        if self.targets.len() > 1 && !is_joined {
            return self.several(context);
        }
        let target = self.targets.first().filter(|_| !is_joined);
        let report = match self.report(context, target.cloned()) {
            Ok(report) => report,
            // A build server or a monitor must be told in the document that it reads.
            Err(Failure(why)) if context.format != Format::Text => {
                let name = target.map(|path| path.display().to_string()).unwrap_or_default();
                context.deliver_parts(&[Part { name: &name, report: Err(&why) }], self.output.as_deref())?;
                context.complain_of(&why);
                return Ok(UNTOLD);
            }
            Err(failure) => return Err(failure),
        };
        context.deliver(&report, target.map(PathBuf::as_path), self.output.as_deref())?;
        Ok(report.exit_code())
    }

    /// Files that other programs collected, each with a part of what happened, are one target.
    fn joined(&self) -> Result<Option<Target>, Failure> {
        if self.targets.len() < 2 {
            return Ok(None);
        }
        Ok(Target::of_recordings(&self.targets)?)
    }

    /// Each by itself: one that cannot be opened keeps nobody from the others.
    fn several(&self, context: &Context) -> Result<u8, Failure> {
        if !self.aid.with.is_empty() || !self.aid.package.is_empty() {
            return Err(Failure(tr!("--with and --package describe one machine: give only one target")));
        }
        if self.targets.iter().filter(|target| target.as_path() == Path::new("-")).count() > 1 {
            return Err(Failure(tr!("standard input can be read only once")));
        }
        let mut worst = 0;
        let mut seen = Vec::new();
        let streams = context.format == Format::Text && self.output.is_none();
        for (index, target) in self.targets.iter().enumerate() {
            let report = self.report(context, Some(target.clone())).map_err(|Failure(why)| why);
            match &report {
                Ok(report) => worst = worst.max(report.exit_code()),
                Err(why) => {
                    worst = UNTOLD;
                    context.complain_of(why);
                }
            }
            if !streams {
                seen.push((target.display().to_string(), report));
            } else if let Ok(report) = report {
                // Each as soon as it is known.
                context.print(if index > 0 { "\n" } else { "" });
                context.print_report(&report, Some(target))?;
            }
        }
        if !streams {
            let parts: Vec<Part<'_>> =
                seen.iter().map(|(name, report)| Part { name, report: report.as_ref() }).collect();
            context.deliver_parts(&parts, self.output.as_deref())?;
        }
        Ok(worst)
    }

    fn report(&self, context: &Context, target: Option<PathBuf>) -> Result<Report, Failure> {
        let args = TargetArgs { target, aid: self.aid.clone() };
        let started = jiff::Timestamp::now();
        let (facts, diagnosis, comparison) = match self.look(&args, self.depth.fsck)? {
            // A file that cannot be read tells what no superblock does.
            (facts, ..) if !self.depth.fsck && super::met_damage(facts.target()) => {
                drop(facts);
                self.look(&args, true)?
            }
            seen => seen,
        };
        if let Some(why) = not_a_log(&facts).or_else(|| not_recorded(&facts)) {
            return Err(Failure(why));
        }
        let mut report = Report::new(started, &facts, diagnosis, None);
        report.comparison = comparison;
        report.target.notes.extend(args.cut_off(context));
        Ok(report)
    }

    fn look(&self, args: &TargetArgs, thorough: bool) -> Result<(Arc<Facts>, Diagnosis, Option<Comparison>), Failure> {
        let asked = self.past.asked()?;
        let joined = if args.target.is_none() { self.joined()? } else { None };
        let target = match joined {
            Some(target) => Arc::new(target),
            None => args.open_examined(Access::ReadOnly, thorough)?,
        };
        let target = match Arc::try_unwrap(target) {
            Ok(target) => Arc::new(in_the_past(target, &asked)?),
            Err(shared) => shared,
        };
        let chosen = checks::chosen_for(&self.only, &target).map_err(Failure)?;
        let (skipped, chosen): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|check| self.skip.iter().any(|id| id == check.id));
        let donor = args.open_donor(&target)?;
        // Only with a donor that was named: it is meant to be compared with.
        let other = donor.clone().filter(|_| self.aid.donor.is_some() && self.only.is_empty());
        let mirror = self.depth.mirror()?;
        let window = self.time.as_deref().map(super::duration).transpose()?;
        let group = self.security_group.as_deref().map(super::security_group).transpose()?;
        let facts = || {
            let facts = self.depth.facts(&target, donor.as_ref()).with_window(window).with_asked(asked);
            facts.with_security_groups(group.clone())
        };
        let (facts, diagnosis) = look(|| facts().with_mirror(mirror.clone()), &chosen);
        let comparison = other.map(|donor| Comparison::of(&facts, &Facts::new(donor, None)));
        Ok((facts, checks::with_skipped(diagnosis, skipped), comparison))
    }
}

/// Why nothing can be said of what was recorded.
fn not_recorded(facts: &Facts) -> Option<Text> {
    match facts.target().recording().map(|_| facts.get::<Recorded>()) {
        Ok(Err(Skip::Unknown(why) | Skip::NotApplicable(why))) => Some(why),
        _ => None,
    }
}

/// Why nothing can be said of a text that was given for a log.
fn not_a_log(facts: &Facts) -> Option<Text> {
    match facts.get::<KernelLog>() {
        Err(Skip::Unknown(why)) if facts.target().logs().is_ok() => Some(why),
        _ => None,
    }
}
