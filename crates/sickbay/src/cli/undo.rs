//! `sickbay undo`.

use std::io::IsTerminal;
use std::path::PathBuf;

use sickbay_target::{Access, Volume};

use super::{Context, Failure, Format, TargetArgs, cut_off};
use crate::model::text::Text;
use crate::repair::held::Which;
use crate::repair::journal::Entry;
use crate::repair::undo::{Force, Listed};
use crate::repair::{held, undo};
use crate::report::documents::{EntryV1, LeftV1, ListedEntryV1, UndoListV1, UndoV1, UndoneV1};
use crate::tr;

#[derive(Debug, clap::Args)]
pub(super) struct Undo {
    #[command(flatten)]
    target: TargetArgs,
    /// Revert only this journal entry; can be given several times [default: all]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Only list the journal
    #[arg(long)]
    list: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Also restore what was changed after the repair; that change is lost
    #[arg(long)]
    force: bool,
    /// Keep the repairs of the network that wait to be confirmed, and revert nothing
    #[arg(long)]
    confirm: bool,
    /// Wait until they are confirmed, and revert them when nobody does in time
    #[arg(long, hide = true)]
    guard: bool,
    /// The journal is in this directory on this machine, where `fix --journal` kept it
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
}

/// What there is to take back.
#[derive(Default)]
struct Found {
    /// Of disks as a whole: it goes first, for it holds all that was repaired after that.
    of_disks: Vec<(String, Entry, bool)>,
    of_target: Vec<Listed>,
    /// What is in the place of a journal and is none of ours.
    foreign: Vec<Text>,
    /// A file system was not unmounted: what its own log holds shows only once it is mounted for writing.
    may_hold_more: bool,
    /// A repair was cut off before it changed anything.
    has_remains: bool,
}

impl Found {
    /// Says what there is beside the entries.
    fn remark(&self, context: &Context) {
        if self.may_hold_more {
            let unclean = tr!(
                "a file system of the target was not unmounted cleanly: what its own log contains is not shown here"
            );
            cut_off::remark(context, &unclean);
        }
        if self.has_remains {
            cut_off::remark(
                context,
                &tr!("a repair was cut off before it changed anything; undo clears away what it left"),
            );
        }
    }

    /// Whether there is something to do for which there is no entry.
    fn is_more_than_entries(&self) -> bool {
        self.may_hold_more || self.has_remains
    }
}

/// What was taken back and what was not.
#[derive(Default)]
struct Outcome {
    taken: Vec<(String, Entry, Vec<Text>)>,
    left: Vec<(String, Text)>,
}

impl Undo {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let (args, ids) = self.split();
        if self.confirm {
            return super::confirm::confirm(context, &args, self.journal.as_deref());
        }
        if self.guard {
            return super::confirm::keep_watch(&args, self.journal.as_deref());
        }
        let mut found = self.look(&args)?;
        if self.list {
            return self.listed(context, &found);
        }
        found.foreign.iter().for_each(|why| cut_off::remark(context, why));
        let is_chosen = |id: &String| ids.is_empty() || ids.contains(id);
        let is_known = |id: &&String| {
            found.of_disks.iter().any(|(known, ..)| known == *id)
                || found.of_target.iter().any(|known| known.id == **id)
        };
        if let Some(id) = ids.iter().find(|id| !is_known(id)) {
            return Err(Failure(tr!("the journal has no entry {id}", id)));
        }
        found.of_disks.retain(|(id, ..)| is_chosen(id));
        found.of_target.retain(|entry| is_chosen(&entry.id));
        if found.of_disks.is_empty() && found.of_target.is_empty() && !found.is_more_than_entries() {
            return self.told(context, &Outcome::default(), !found.foreign.is_empty());
        }
        if context.format == Format::Text {
            for (id, entry, done) in found.of_disks.iter().filter(|(.., done)| !self.yes || !done) {
                context.print(&entry_line(context, id, entry, *done));
            }
            for entry in found.of_target.iter().filter(|entry| !self.yes || !entry.done) {
                context.print(&cut_off::shown(context, entry));
            }
        }
        if !self.yes {
            if !std::io::stdin().is_terminal() {
                return Err(Failure(tr!(
                    "standard input is not a terminal to ask on: give --yes, or --list to change nothing"
                )));
            }
            found.remark(context);
            if !cut_off::agree(context, &tr!("Revert this one?")) {
                context.print(&format!("{}\n", context.say(&tr!("nothing was changed"))));
                return Ok(super::UNTOLD);
            }
        }
        let mut result = Outcome::default();
        if !found.of_disks.is_empty() {
            let chosen: Vec<String> = found.of_disks.iter().map(|(id, ..)| id.clone()).collect();
            self.of_disks(&args, &chosen, &mut result)?;
        }
        // To mount a disk for writing would change what was just put back.
        let after = if found.of_disks.is_empty() { found } else { self.look(&args)? };
        let of_target: Vec<String> =
            ids.iter().filter(|id| after.of_target.iter().any(|known| known.id == **id)).cloned().collect();
        if (ids.is_empty() || !of_target.is_empty())
            && (!after.of_target.is_empty() || (after.is_more_than_entries() && result.taken.is_empty()))
        {
            self.of_target(&args, &of_target, &mut result)?;
        }
        self.told(context, &result, !after.foreign.is_empty())
    }

    /// Looks only: nothing is mounted for writing.
    fn look(&self, args: &TargetArgs) -> Result<Found, Failure> {
        let mut found = Found::default();
        for path in args.disks() {
            found.of_disks.extend(held::entries(path)?);
        }
        let target = match args.open_to_undo(Access::ReadOnly) {
            Ok(target) => target,
            // It may only be one again once the disk is put back.
            Err(_) if !found.of_disks.is_empty() => return Ok(found),
            Err(why) => return Err(why),
        };
        target.refuse_repairs(args.target.clone().unwrap_or_default())?;
        let store = TargetArgs::open_journal_to_look(self.journal.as_deref())?;
        found.of_target = undo::entries(&target, store.as_deref())?;
        found.foreign = undo::foreign(&target, store.as_deref());
        found.has_remains = undo::has_remains(&target, store.as_deref());
        let volumes = target.volumes.as_deref().unwrap_or_default();
        let is_open = |volume: &Volume| volume.condition.as_ref().is_some_and(|condition| condition.to_be_replayed);
        found.may_hold_more = target.attached().is_ok() && self.journal.is_none() && volumes.iter().any(is_open);
        Ok(found)
    }

    fn listed(&self, context: &Context, found: &Found) -> Result<u8, Failure> {
        if context.format == Format::Json {
            let say = |text: &Text| text.render(context.style.lang);
            let of_disks = found.of_disks.iter().map(|(id, entry, done)| ListedEntryV1 {
                journal: id.clone(),
                entry: Some(EntryV1::of(entry)),
                finished: *done,
                refused: None,
            });
            let of_target = found.of_target.iter().map(|listed| ListedEntryV1 {
                journal: listed.id.clone(),
                entry: listed.entry.as_ref().map(EntryV1::of),
                finished: listed.done,
                refused: listed.refused.as_ref().map(say),
            });
            context.print_json(&UndoListV1 {
                schema: "sickbay/undo-list/v1",
                entries: of_disks.chain(of_target).collect(),
                not_used: found.foreign.iter().map(say).collect(),
            })?;
        } else {
            for (id, entry, done) in &found.of_disks {
                context.print(&entry_line(context, id, entry, *done));
            }
            for listed in &found.of_target {
                let line = match &listed.entry {
                    Some(entry) => entry_line(context, &listed.id, entry, listed.done),
                    None => format!("{}\n", listed.id),
                };
                context.print(&line);
                if let Some(why) = &listed.refused {
                    context.print(&format!("  {}\n", context.say(&tr!("cannot be reverted: {why}", why))));
                }
            }
            if found.of_disks.is_empty() && found.of_target.is_empty() {
                context.print(&format!("{}\n", context.say(&tr!("the journal is empty"))));
            }
            found.foreign.iter().for_each(|why| cut_off::remark(context, why));
            found.remark(context);
        }
        Ok(if found.foreign.is_empty() { 0 } else { super::UNTOLD })
    }

    /// Takes back what was done to disks as a whole.
    fn of_disks(&self, args: &TargetArgs, ids: &[String], result: &mut Outcome) -> Result<(), Failure> {
        for path in args.disks() {
            for taken in held::take_back(path, Which::Named(ids), self.force())? {
                match taken.left {
                    Some(why) => result.left.push((taken.id, why)),
                    None => result.taken.push((taken.id, taken.entry, Vec::new())),
                }
            }
        }
        Ok(())
    }

    /// Takes back repairs of the target.
    fn of_target(&self, args: &TargetArgs, ids: &[String], result: &mut Outcome) -> Result<(), Failure> {
        let target = args.open_to_undo(Access::ReadWrite)?;
        let donor = args.open_donor(&target)?;
        let store = TargetArgs::open_journal(self.journal.as_deref())?;
        let undone = undo::undo(&target, donor.as_deref(), store.as_deref(), ids, self.force())?;
        result.taken.extend(undone.taken);
        result.left.extend(undone.left);
        drop(donor);
        if let Some(target) = super::alone(target) {
            target.close().map_err(|error| Failure(Text::verbatim(error.to_string())))?;
        }
        Ok(())
    }

    fn force(&self) -> Force {
        if self.force { Force::Yes } else { Force::No }
    }

    fn told(&self, context: &Context, result: &Outcome, something_foreign: bool) -> Result<u8, Failure> {
        if context.format == Format::Json {
            let undone = result.taken.iter().map(|(id, entry, _)| UndoneV1 {
                journal: id.clone(),
                check: entry.check.clone(),
                title: entry.title.clone(),
            });
            let left =
                result.left.iter().map(|(id, why)| LeftV1 { journal: id.clone(), why: why.render(context.style.lang) });
            let (undone, left) = (undone.collect(), left.collect());
            context.print_json(&UndoV1 { schema: "sickbay/undo/v1", undone, left })?;
        } else {
            for (id, entry, notes) in &result.taken {
                let title = context.say(&Text::verbatim(&entry.title));
                context.print(&format!("{} {id}: {title}\n", context.say(&tr!("reverted"))));
                notes.iter().for_each(|note| context.print(&format!("  {}\n", context.say(note))));
            }
            result.left.iter().for_each(|(id, why)| cut_off::left(context, id, why));
            if result.taken.is_empty() && result.left.is_empty() {
                context.print(&format!("{}\n", context.say(&tr!("the journal is empty"))));
            }
        }
        Ok(if result.left.is_empty() && !something_foreign { 0 } else { super::UNTOLD })
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

fn entry_line(context: &Context, id: &str, entry: &Entry, done: bool) -> String {
    let line = cut_off::line(context, id, &entry.when, &entry.check, &entry.title);
    if let Some(pending) = &entry.pending {
        let until = jiff::Timestamp::from_second(pending.until).unwrap_or_default().to_string();
        let waits = context.say(&tr!("waits to be confirmed until {until}", until));
        return format!("{} ({waits})\n", line.trim_end_matches('\n'));
    }
    match done {
        true => line,
        false => format!("{} ({})\n", line.trim_end_matches('\n'), context.say(&tr!("not finished"))),
    }
}
