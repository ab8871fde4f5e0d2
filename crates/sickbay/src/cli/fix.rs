//! `sickbay fix`.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_target::{Access, Target};

use super::ask::{Answers, aside};
use super::boot::{How, watched};
use super::confirm;
use super::{Context, Depth, Failure, Format, OUTPUT, TargetArgs, UNTOLD};
use crate::boot::Trial;
use crate::engine::rounds;
use crate::engine::rounds::{Applied, Confirm};
use crate::engine::run::{diagnose, look};
use crate::facts::Facts;
use crate::facts::packages::mirror::Mirror;
use crate::model::diagnosis::Diagnosis;
use crate::model::text::Text;
use crate::repair::apply::HELD;
use crate::repair::password::Order;
use crate::repair::plan::{Choice, Plan, Scope, number, plan};
use crate::repair::{held, password};
use crate::report::{Report, text};
use crate::{boot, checks, tr};

/// Headings of `--help`.
const REPAIR: &str = "What to repair";
const PASSWORD: &str = "Passwords";
const BOOT_TEST: &str = "Boot test";

#[derive(Debug, clap::Args)]
pub(super) struct Fix {
    #[command(flatten)]
    target: TargetArgs,
    /// Show what would be done first, and change nothing
    #[arg(long, help_heading = REPAIR)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y', help_heading = REPAIR)]
    yes: bool,
    /// Repair only findings of this check, or only this finding (F2); can be given several times
    #[arg(long, value_name = "ID", help_heading = REPAIR)]
    only: Vec<String>,
    /// Also apply repairs marked risky: right most of the time, but not always
    #[arg(long, help_heading = REPAIR)]
    risky: bool,
    #[command(flatten)]
    depth: Depth,
    /// Keep the journal in this directory on this machine instead of on the target: for a target whose disk is full.
    /// `undo` needs the same option
    #[arg(long, value_name = "DIR", help_heading = REPAIR)]
    journal: Option<PathBuf>,
    /// Revert repairs of the network by themselves after this time, such as 60s, unless you confirm them: for a machine that is only reached
    /// over the network. 0 never does [default: 60s where an ssh connection goes over what is changed]
    #[arg(long, value_name = "TIME", help_heading = REPAIR)]
    confirm_within: Option<String>,
    /// Keep the repairs of the network that wait to be confirmed
    #[arg(long, help_heading = REPAIR)]
    confirm: bool,
    /// Set a new password for this user and unlock the account. The password is asked for twice, or read as one line if
    /// standard input is not a terminal. With `--only reset-password` nothing else is repaired
    #[arg(long, value_name = "USER", conflicts_with = "clear_password", help_heading = PASSWORD)]
    reset_password: Option<String>,
    /// Let this user log in on the console without a password, where PAM allows it (nullok)
    #[arg(long, value_name = "USER", help_heading = PASSWORD)]
    clear_password: Option<String>,
    /// Write the last report to this file instead of standard output: whole or not at all, mode 0644
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    output: Option<PathBuf>,
    /// Afterwards boot a copy of the disk in QEMU and see whether it reaches a login
    #[arg(long, help_heading = BOOT_TEST)]
    boot_test: bool,
    #[command(flatten, next_help_heading = BOOT_TEST)]
    how: How,
}

/// What a look before the question saw.
pub(super) struct Seen {
    target: Arc<Target>,
    pub(super) facts: Arc<Facts>,
    pub(super) diagnosis: Diagnosis,
    /// Whether every file system was examined by its checker.
    pub(super) thorough: bool,
}

/// What was done.
pub(super) struct Made<'a> {
    pub(super) report: Report,
    /// Whether the user stopped it.
    pub(super) declined: bool,
    /// What takes repairs of the network back unless they are confirmed.
    guard: confirm::Guard<'a>,
}

impl Seen {
    /// Lets go of the target, which is then opened to be written.
    pub(super) fn close(self) -> Result<(), Failure> {
        let Seen { target, facts, .. } = self;
        drop(facts);
        match super::alone(target) {
            Some(target) => target.close().map_err(|error| Failure(Text::verbatim(error.to_string()))),
            None => Ok(()),
        }
    }
}

/// What may be done without a question.
pub(super) struct Allowed {
    pub(super) risky: bool,
    pub(super) depth: Depth,
    pub(super) boot_test: bool,
}

enum Proposal {
    /// Something is to be done.
    Agreed,
    /// Nothing is, and this is the exit status.
    Ended(u8),
}

impl Fix {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        for id in self.only.iter().filter(|id| number(id).is_none() && *id != password::ID) {
            checks::chosen(std::slice::from_ref(id)).map_err(Failure)?;
        }
        if let Some(path) = &self.target.target {
            Target::refuse_copies(path, self.dry_run)?;
        }
        if self.confirm {
            return confirm::confirm(context, &self.target, self.journal.as_deref());
        }
        self.within()?;
        if self.dry_run {
            return self.show(context);
        }
        if !self.yes && !std::io::stdin().is_terminal() {
            return Err(Failure(tr!(
                "standard input is not a terminal to ask on: give --yes, or --dry-run to change nothing"
            )));
        }
        let started = jiff::Timestamp::now();
        if !super::cut_off::take_back(context, &self.target, self.journal.as_deref(), self.yes)? {
            return Ok(UNTOLD);
        }
        let mut answers = Answers::new(self.yes);
        let order = self.order(context)?;
        let mirror = self.depth.mirror()?;
        // Nothing is opened for writing before the answer.
        let is_told_apart = self.only.iter().any(|id| number(id).is_some());
        let thorough = if self.yes && !is_told_apart {
            self.depth.fsck || self.is_damaged()?
        } else {
            let seen = self.look(mirror.as_ref())?;
            match self.propose(context, started, &seen, order.as_ref(), &mut answers)? {
                Proposal::Agreed => {}
                Proposal::Ended(code) => return Ok(code),
            }
            let thorough = seen.thorough;
            seen.close()?;
            thorough
        };
        // What was agreed to is made without another question, if it is still what is to be made.
        let mut confirm = |seen: &Diagnosis, next: &mut Plan| {
            let agreed = answers.decide(context, seen, next, false);
            if agreed {
                super::announce_programs(next);
            }
            agreed
        };
        let made = self.make(context, started, thorough, mirror, order, &mut confirm)?;
        let Made { report, declined, guard } = made;
        let summary = self.summary(context, report.applied.as_deref().unwrap_or_default());
        let trial = if self.boot_test && !declined { Some(self.boot_test(context)) } else { None };
        let report = match trial {
            Some(Ok(trial)) => report.with_trial(trial),
            Some(Err(why)) => {
                // What was repaired must be told.
                self.deliver(context, &report)?;
                context.print(&summary);
                return Err(why);
            }
            None => report,
        };
        self.deliver(context, &report)?;
        context.print(&summary);
        guard.finish(&self.target, report.applied.as_deref().unwrap_or_default(), self.yes)?;
        let code = report.exit_code();
        Ok(if declined { UNTOLD } else { code })
    }

    /// After how many seconds repairs of the network are taken back, if the user said so.
    fn within(&self) -> Result<Option<u32>, Failure> {
        let within = self.confirm_within.as_deref().map(super::duration).transpose()?;
        Ok(within.map(|within| u32::try_from(within.as_secs()).unwrap_or(u32::MAX)))
    }

    /// Repairs what is agreed to, and sees to it that it is on the disk.
    pub(super) fn make<'a>(
        &'a self,
        context: &'a Context,
        started: jiff::Timestamp,
        thorough: bool,
        mirror: Option<Arc<Mirror>>,
        order: Option<Order>,
        agree: Confirm<'_>,
    ) -> Result<Made<'a>, Failure> {
        let target = self.target.open_examined(Access::ReadWrite, thorough)?;
        // Told before anything is changed.
        self.can_boot(&target)?;
        let donor = self.target.open_donor(&target)?;
        let journal = TargetArgs::open_journal(self.journal.as_deref())?;
        let choice = self.choice(mirror, journal, order);
        let mut guard =
            confirm::Guard::new(context, self.within()?, self.journal.as_deref(), Arc::clone(&choice.confirm));
        let mut unguarded = None;
        let mut confirm = |seen: &Diagnosis, next: &mut Plan| {
            if !agree(seen, next) {
                return false;
            }
            unguarded = guard.prepare(&target, seen, next).err();
            unguarded.is_none()
        };
        let outcome = rounds::fix(&target, donor.as_ref(), &checks::ALL, &choice, &mut confirm)?;
        if let Some(why) = unguarded {
            return Err(why);
        }
        let rounds::Outcome { facts, diagnosis, mut applied, declined } = outcome;
        let is_held = target.is_held() && applied.iter().any(|repair| repair.journal.is_some());
        let mut report = Report::new(started, &facts, diagnosis, None);
        drop((facts, donor));
        // Nothing is done before it is on the disk.
        if let Some(target) = super::alone(target) {
            if is_held {
                let kept = held::write_out(target)?;
                for repair in applied.iter_mut().filter(|repair| repair.journal.as_deref() == Some(HELD)) {
                    repair.journal = kept.first().map(|(id, _)| id.clone());
                }
                report.target.notes.extend(kept.iter().map(|(id, place)| {
                    context.say(&tr!(
                        "what was on the disk before, and the checker's output, are kept in {place} ({id}); sickbay undo restores it as long as nothing else writes to the disk",
                        place = place.as_path(),
                        id
                    ))
                }));
            } else {
                target.close().map_err(|error| Failure(Text::verbatim(error.to_string())))?;
            }
        } else if is_held {
            return Err(Failure(tr!("a hung check is still using the target: nothing was written to the disks")));
        }
        report.applied = Some(applied);
        Ok(Made { report, declined, guard })
    }

    fn deliver(&self, context: &Context, report: &Report) -> Result<(), Failure> {
        context.deliver(report, self.target.target.as_deref(), self.output.as_deref())
    }

    /// Looks at the target without writing anything.
    pub(super) fn look(&self, mirror: Option<&Arc<Mirror>>) -> Result<Seen, Failure> {
        let mut thorough = self.depth.fsck;
        loop {
            let target = self.target.open_examined(Access::ReadOnly, thorough)?;
            let donor = self.target.open_donor(&target)?;
            let facts = || self.depth.facts(&target, donor.as_ref());
            let (facts, diagnosis) = look(|| facts().with_mirror(mirror.cloned()), &checks::ALL);
            if thorough || !super::met_damage(&target) {
                return Ok(Seen { target, facts, diagnosis, thorough });
            }
            thorough = true;
        }
    }

    /// What was found, what would be done about it, and the question.
    fn propose(
        &self,
        context: &Context,
        started: jiff::Timestamp,
        seen: &Seen,
        order: Option<&Order>,
        answers: &mut Answers,
    ) -> Result<Proposal, Failure> {
        let Seen { facts, diagnosis, .. } = seen;
        let scope = Scope::of(&self.choice(None, None, None), diagnosis).map_err(Failure)?;
        let mut next = plan(diagnosis, &scope, &HashSet::new());
        if let Some(order) = order {
            next.steps.extend(order.step(facts));
        }
        let report = Report::new(started, facts, diagnosis.clone(), Some(Vec::new()));
        if next.steps.is_empty() {
            self.deliver(context, &report)?;
            return Ok(Proposal::Ended(report.exit_code()));
        }
        if context.format == Format::Text {
            context.print_report(&report, self.target.target.as_deref())?;
            context.print("\n");
        }
        if !answers.decide(context, diagnosis, &mut next, true) || next.steps.is_empty() {
            aside(context, &format!("{}\n", context.say(&tr!("nothing was changed"))));
            return Ok(Proposal::Ended(UNTOLD));
        }
        Ok(Proposal::Agreed)
    }

    /// What was done, and how it is taken back.
    pub(super) fn summary(&self, context: &Context, applied: &[Applied]) -> String {
        let mut out = String::new();
        if context.format == Format::Json {
            return out;
        }
        for repair in applied {
            let (title, check) = (&repair.title, repair.check);
            let line = match (&repair.journal, &repair.failure) {
                (_, Some(why)) => tr!("not repaired: {title} [{check}]: {why}", title, check, why),
                (Some(journal), None) if repair.verified => {
                    tr!("repaired: {title} [{check}], journal entry {journal}", title, check, journal)
                }
                (Some(journal), None) => {
                    tr!("partly repaired: {title} [{check}], journal entry {journal}", title, check, journal)
                }
                (None, None) => continue,
            };
            out.push_str(&format!("{}\n", context.say(&line)));
        }
        if applied.iter().any(|repair| repair.journal.is_some()) {
            let command = tr!("sickbay undo{arguments} reverts this", arguments = self.undo_arguments());
            out.push_str(&format!("{}\n", context.say(&command)));
        } else {
            out.push_str(&format!("{}\n", context.say(&tr!("nothing was changed"))));
        }
        out
    }

    /// What `undo` must be told to find what was done.
    pub(super) fn undo_arguments(&self) -> String {
        let with = self.target.aid.with.iter().map(|path| format!(" --with {}", path.display()));
        let journal = self.journal.iter().map(|path| format!(" --journal {}", path.display()));
        self.target.target.iter().map(|path| format!(" {}", path.display())).chain(with).chain(journal).collect()
    }

    /// Whether what `--boot-test` asks for can be done.
    pub(super) fn can_boot(&self, target: &Target) -> Result<(), Failure> {
        let path = self.target.target.as_deref().unwrap_or(Path::new("/"));
        match boot::why_not(target, path) {
            _ if !self.boot_test => Ok(()),
            Some(why) => Err(Failure(why)),
            None => sickbay_target::vm::is_there().map_err(|error| Failure(Text::verbatim(error.to_string()))),
        }
    }

    /// What a rescue does: everything without a question.
    pub(super) fn of_rescue(target: TargetArgs, allowed: Allowed, how: How) -> Fix {
        let Allowed { risky, depth, boot_test } = allowed;
        Fix {
            target,
            dry_run: false,
            output: None,
            confirm_within: None,
            confirm: false,
            yes: true,
            only: Vec::new(),
            risky,
            depth,
            journal: None,
            reset_password: None,
            clear_password: None,
            boot_test,
            how,
        }
    }

    /// Starts a copy of the repaired disk.
    pub(super) fn boot_test(&self, context: &Context) -> Result<Trial, Failure> {
        let disk = self.target.target.clone().unwrap_or_default();
        let facts = Arc::new(Facts::new(self.target.open(Access::ReadOnly)?, None));
        // As much as the machine has, within what can be lent to a guest.
        let memory = self.depth.memory.map_or(1024, |kib| (kib >> 10).clamp(256, 4096));
        let memory = u32::try_from(memory).unwrap_or(1024);
        let aid = &self.target.aid;
        watched(context, &self.how.wish(disk, aid.with.clone(), aid.follow_images, memory), Some(&facts))
    }

    /// Whether a look, which changes nothing, meets damage. Mounted for writing, a damaged file system would be changed by
    /// the kernel that meets the damage.
    fn is_damaged(&self) -> Result<bool, Failure> {
        if !self.target.disks().any(|path| path.exists() && !path.is_dir()) {
            return Ok(false);
        }
        let target = self.target.open(Access::ReadOnly)?;
        let facts = Arc::new(self.depth.facts(&target, None));
        diagnose(&facts, &checks::ALL);
        Ok(super::met_damage(&target))
    }

    fn choice(&self, mirror: Option<Arc<Mirror>>, journal: Option<Arc<Target>>, order: Option<Order>) -> Choice {
        Choice {
            only: self.only.clone(),
            risky: self.risky,
            digests: self.depth.digests,
            memory: self.depth.memory,
            mirror,
            journal,
            order,
            confirm: Arc::default(),
        }
    }

    /// What is to become of a password; asks for a new one.
    fn order(&self, context: &Context) -> Result<Option<Order>, Failure> {
        match (&self.reset_password, &self.clear_password) {
            (Some(user), _) => {
                let password = super::password::ask(context, user)?;
                Ok(Some(Order::set(user, &password).map_err(Failure)?))
            }
            (None, Some(user)) => Ok(Some(Order::clear(user))),
            (None, None) => Ok(None),
        }
    }

    fn show(&self, context: &Context) -> Result<u8, Failure> {
        let started = jiff::Timestamp::now();
        let thorough = self.depth.fsck || self.is_damaged()?;
        let target = self.target.open_examined(Access::ReadOnly, thorough)?;
        let donor = self.target.open_donor(&target)?;
        let mirror = self.depth.mirror()?;
        let facts = || self.depth.facts(&target, donor.as_ref());
        let (facts, diagnosis) = look(|| facts().with_mirror(mirror.clone()), &checks::ALL);
        if context.format == Format::Text {
            let scope = Scope::of(&self.choice(None, None, None), &diagnosis).map_err(Failure)?;
            let mut plan = plan(&diagnosis, &scope, &Default::default());
            let preview = self.reset_password.as_deref().map(Order::preview);
            if let Some(order) = preview.or_else(|| self.clear_password.as_deref().map(Order::clear)) {
                plan.steps.push(order.step(&facts).map_err(Failure)?);
            }
            context.print(&text::render_plan(&plan, &context.style));
            context.print("\n");
        }
        let report = Report::new(started, &facts, diagnosis, Some(Vec::new()));
        self.deliver(context, &report)?;
        Ok(report.exit_code())
    }
}
