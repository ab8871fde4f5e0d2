//! `sickbay undo`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use sickbay_target::{Access, Target};

use super::{Context, Failure, Format, TargetArgs};
use crate::repair::held::{self, Which};
use crate::repair::journal::{Entry, Journal};
use crate::repair::session;
use crate::repair::undo::Force;
use crate::tr;

#[derive(Debug, clap::Args)]
pub(super) struct Undo {
    #[command(flatten)]
    target: TargetArgs,
    /// Take back only this journal entry; can be given several times. All when left out
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Only list the journal
    #[arg(long)]
    list: bool,
    /// Do it without asking
    #[arg(long, short = 'y')]
    yes: bool,
    /// Restore also what somebody has changed since the repair; that change is lost
    #[arg(long)]
    force: bool,
    /// The journal is in this directory of this machine, as `fix --journal` kept it
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
}

impl Undo {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let (target_args, ids) = self.split();
        if !self.list && !self.yes && !std::io::stdin().is_terminal() {
            return Err(Failure(tr!("standard input is no terminal to ask on: give --yes, or --list to only look")));
        }
        let (of_disk, ids): (Vec<String>, Vec<String>) = ids.into_iter().partition(|id| id.starts_with("disk-"));
        let force = if self.force { Force::Yes } else { Force::No };
        let mut undone = Vec::new();
        let mut something_left = false;
        // What was done to a disk as a whole holds all that was repaired after that: it goes first.
        if self.yes && !self.list && (ids.is_empty() || !of_disk.is_empty()) {
            self.of_disks(context, &target_args, &of_disk, force, &mut undone, &mut something_left)?;
            // To mount it for writing would change what was just put back.
            let is_all = |undone: &[_]| {
                let is_none = |target: Arc<Target>| !Journal::is_on(&target);
                !undone.is_empty()
                    && self.journal.is_none()
                    && target_args.open_to_undo(Access::ReadOnly).is_ok_and(is_none)
            };
            if !of_disk.is_empty() || is_all(&undone) {
                return self.told(context, &undone, something_left);
            }
        }
        let mut entries = Vec::new();
        for path in target_args.disks() {
            entries.extend(held::entries(path)?);
        }
        // To mount it would change the disk, and it could not be put back as it was any more; what is in its own journal
        // came after.
        let of_disks_alone = (self.list || !self.yes) && !entries.is_empty();
        let target = target_args.open_to_undo(if of_disks_alone { Access::ReadOnly } else { Access::ReadWrite })?;
        let donor = target_args.open_donor(&target)?;
        let journal = TargetArgs::open_journal(self.journal.as_deref())?;
        let journal = journal.as_deref();
        if self.list || !self.yes {
            if !of_disks_alone {
                entries = session::entries(&target, journal)?;
            }
            if context.format == Format::Json && self.list {
                let list: Vec<_> = entries
                    .iter()
                    .map(|(id, entry, done)| {
                        serde_json::json!({
                            "journal": id, "check": entry.check, "title": entry.title, "when": entry.when,
                            "donor": entry.donor, "finished": done,
                        })
                    })
                    .collect();
                context.print_json(&serde_json::json!({"schema": "sickbay/undo-list/v1", "entries": list}))?;
                return Ok(0);
            }
            for (id, entry, done) in &entries {
                let unfinished =
                    if *done { String::new() } else { format!(" ({})", context.say(&tr!("not finished"))) };
                context.print(&format!("{id}  {}  {}: {}{unfinished}\n", entry.when, entry.check, entry.title));
            }
            if entries.is_empty() {
                context.print(&format!("{}\n", context.say(&tr!("the journal is empty"))));
            }
            if self.list || entries.is_empty() {
                return Ok(0);
            }
            if !super::fix::ask(context) {
                return Ok(super::UNTOLD);
            }
            drop(donor);
            if let Some(target) = super::alone(target) {
                target.close().map_err(|error| Failure(crate::text::Text::verbatim(error.to_string())))?;
            }
            return Undo {
                target: target_args,
                ids: [of_disk, ids].concat(),
                list: false,
                yes: true,
                force: self.force,
                journal: self.journal.clone(),
            }
            .run(context);
        }
        undone.extend(session::undo(&target, donor.as_deref(), journal, &ids, force)?);
        drop(donor);
        if let Some(target) = super::alone(target) {
            target.close().map_err(|error| Failure(crate::text::Text::verbatim(error.to_string())))?;
        }
        self.told(context, &undone, something_left)
    }

    /// Takes back what was done to disks as a whole.
    fn of_disks(
        &self,
        context: &Context,
        args: &TargetArgs,
        ids: &[String],
        force: Force,
        undone: &mut Vec<(String, Entry)>,
        something_left: &mut bool,
    ) -> Result<(), Failure> {
        for path in args.disks() {
            for taken in held::take_back(path, Which::Named(ids), force)? {
                match taken.left {
                    Some(why) => {
                        *something_left = true;
                        context.fail(&why);
                    }
                    None => undone.push((taken.id, taken.entry)),
                }
            }
        }
        let is_there = |id: &String| *something_left || undone.iter().any(|(known, _)| known == id);
        match ids.iter().find(|id| !is_there(id)) {
            Some(id) => Err(Failure(tr!("the journal has no entry {id}", id))),
            None => Ok(()),
        }
    }

    fn told(&self, context: &Context, undone: &[(String, Entry)], something_left: bool) -> Result<u8, Failure> {
        if context.format == Format::Json {
            let list: Vec<_> = undone
                .iter()
                .map(|(id, entry)| serde_json::json!({"journal": id, "check": entry.check, "title": entry.title}))
                .collect();
            context.print_json(&serde_json::json!({"schema": "sickbay/undo/v1", "undone": list}))?;
        } else {
            for (id, entry) in undone {
                context.print(&format!("{} {id}: {}\n", context.say(&tr!("taken back")), entry.title));
            }
            if undone.is_empty() {
                context.print(&format!("{}\n", context.say(&tr!("the journal is empty"))));
            }
        }
        Ok(if something_left { super::UNTOLD } else { 0 })
    }

    /// `undo 0002` means an entry of this machine's journal: a target is never named by digits alone, unless such a
    /// file exists.
    fn split(&self) -> (TargetArgs, Vec<String>) {
        let mut ids = self.ids.clone();
        let mut target = self.target.target.clone();
        if let Some(word) = target.as_deref().and_then(|path| path.to_str())
            && word.bytes().all(|b| b.is_ascii_digit())
            && !std::path::Path::new(word).exists()
        {
            ids.insert(0, word.to_owned());
            target = None;
        }
        let args = TargetArgs { target, ..self.target.clone() };
        (args, ids)
    }
}
