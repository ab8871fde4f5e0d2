//! Lines of fstab that mount(8) cannot read.

use bstr::{BStr, ByteSlice};
use sickbay_formats::fstab::{self, Defect, Entry};
use sickbay_formats::{lines, mount_options};

use crate::facts::Facts;
use crate::facts::boot::fstab::Fstab;
use crate::facts::boot::mount_words::{self, Answer};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::spelling::nearest;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "mount: /etc/fstab: parse error at line 3 -- ignored", a file system that is not mounted, or on SysV
    /// systems a repair shell during boot.
    ///
    /// ## What it finds
    /// Lines of `/etc/fstab` that are not valid entries: fewer than three fields, a mount point that is not an absolute
    /// path, dump or pass fields that are not numbers, more than six fields, NUL bytes, lines that end in CR LF, and
    /// misspelled options: `default`, `noatme`, `errors=remount-r0`. An option of ext, xfs, btrfs or FAT that is like none is
    /// looked for in the target's own kernel or module: what has no such word rejects it.
    ///
    /// ## Why it matters
    /// What the line should mount is not mounted, and `mount -a` fails. Systems with SysV init or Upstart stop at a
    /// repair shell; systemd skips most such lines, but not one that turned into an option that the file system
    /// rejects.
    ///
    /// ## What the repair does
    /// Removes the carriage return, corrects the spelling of the option or takes it out, or comments out a line that mounts nothing
    /// anyway. Every other line stays as it is.
    ///
    /// ## By hand
    /// ```sh
    /// # correct the line, then
    /// findmnt --verify
    /// ```
    "fstab-bad-line", Boot, seed = ["B7"], proves = [Mounts], "fstab has a line that cannot be parsed"
}

/// More damaged lines than this are one finding.
const MANY: usize = 3;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let fstab = facts.get::<Fstab>()?;
    let file = &fstab.file;
    let holds_nul = |entry: &&Entry| entry.defect == Some(Defect::Nul);
    let damaged = fstab.entries.iter().filter(holds_nul).count();
    if damaged > MANY
        && let Some(first) = fstab.entries.iter().find(holds_nul)
    {
        let path = file.path.as_path();
        found
            .critical(tr!(
                "{path} is damaged: {count} {count?line contains|lines contain} NUL bytes",
                path,
                count = damaged
            ))
            .at(file, first.whole)
            .why(tr!("the file was damaged, perhaps by a crash during a write"))
            .stops(Stage::Mounts)
            .by_hand(tr!("rewrite it: one line for the root file system, and one for each disk to be mounted"));
        return Ok(());
    }
    for entry in &fstab.entries {
        let Some(defect) = entry.defect else {
            misspelt(facts, found, file, entry);
            continue;
        };
        let comment = || [Change::edit(file, lines::with_comment(&file.bytes, entry.line))];
        let put_comment = tr!("comment out line {line}", line = entry.line);
        match defect {
            Defect::CarriageReturn => {
                let text = lines::without_carriage_returns(&file.bytes);
                // One finding for the whole file: it was saved by an editor of another system.
                found
                    .error(tr!("{path} has lines that end in CR LF", path = file.path.as_path()))
                    .at(file, entry.whole)
                    .why(tr!(
                        "the carriage return becomes part of the last field, which may be the options or the type"
                    ))
                    .repair(Risk::Safe, tr!("change the line endings to LF"), [Change::edit(file, text)]);
                return Ok(());
            }
            Defect::TooFewFields => {
                found
                    .warning(tr!("the line has only {count} of the 3 required fields", count = entry.fields.len()))
                    .at(file, entry.whole)
                    .why(tr!("it mounts nothing; SysV init and Upstart stop at it"))
                    .repair(Risk::Safe, put_comment, comment());
            }
            Defect::Nul => {
                found
                    .error(tr!("a line contains NUL bytes"))
                    .at(file, entry.whole)
                    .why(tr!("the file was damaged, perhaps by a crash during a write"))
                    .repair(Risk::Safe, put_comment, comment());
            }
            Defect::NoMountPoint => {
                let place = entry.mount_point();
                found
                    .error(tr!("the mount point {place} is not an absolute path", place))
                    .at(file, entry.span(1))
                    .why(tr!("it mounts nothing; SysV init and Upstart stop at it"))
                    .repair(Risk::Safe, put_comment, comment());
            }
            Defect::NoNumber => {
                let field =
                    if entry.fields.get(4).is_some_and(|f| !f.value.iter().all(u8::is_ascii_digit)) { 4 } else { 5 };
                let value = entry.fields.get(field).map(|field| field.value.clone()).unwrap_or_default();
                let text = fstab::with_field(&file.bytes, entry, field, "0");
                found
                    .warning(tr!("{value} is in a field that must be a number", value))
                    .at(file, entry.span(field))
                    .why(tr!("mount stops reading the line there"))
                    .repair(Risk::Safe, tr!("write 0"), [Change::edit(file, text)]);
            }
            Defect::TooManyFields => {
                found
                    .warning(tr!("the line has {count} fields, but 6 is the maximum", count = entry.fields.len()))
                    .at(file, entry.whole)
                    .why(tr!("a space splits a name or path in two; it must be written as \\040"))
                    .by_hand(tr!("write a space in a name or path as \\040"));
            }
        }
    }
    Ok(())
}

/// Options that the file system does not know: those that are nearly ones that it does, and those for which the target's own
/// kernel has no word. One that is like none may be younger than this list, which only that kernel can tell.
fn misspelt(facts: &Facts, found: &mut Findings, file: &SourceFile, entry: &Entry) {
    let Some(field) = entry.fields.get(3) else { return };
    let mut all: Vec<(&BStr, Option<String>)> =
        entry.options().map(|option| (option, of_option(entry, option))).collect();
    let unknown = of_kernel(facts, entry, &mut all);
    let wrong: Vec<(&BStr, &String)> =
        all.iter().filter_map(|(option, meant)| Some((*option, meant.as_ref()?))).collect();
    let list = |words: Vec<String>| words.join(", ");
    let options = list(wrong.iter().map(|(option, _)| option.to_string()).collect());
    let meant = list(wrong.iter().map(|(_, meant)| (*meant).clone()).collect());
    let fstype = entry.fstype();
    let no_such = |found: &[&BStr]| list(found.iter().map(ToString::to_string).collect());
    let message = match (wrong.len(), &unknown) {
        (0, None) => return,
        (0, Some((answer, options))) => tr!(
            "the {fstype} of kernel {kernel} has no mount {count?option|options} {options}",
            fstype,
            kernel = answer.kernel.as_str(),
            count = options.len(),
            options = no_such(options)
        ),
        (1, _) => tr!("{fstype} has no mount option {option} (did you mean {meant}?)", fstype, option = options, meant),
        _ => tr!("{fstype} has no mount options {options} (did you mean {meant}?)", fstype, options, meant),
    };
    // With one of them right the line is refused as before: they are one fault.
    let gone = unknown.as_ref().map(|(_, options)| options.as_slice()).unwrap_or_default();
    let words: Vec<String> = all
        .iter()
        .filter(|(option, _)| !gone.contains(option))
        .map(|(option, meant)| meant.clone().unwrap_or_else(|| option.to_string()))
        .collect();
    let words = if words.is_empty() { "defaults".to_owned() } else { words.join(",") };
    let text = fstab::with_field(&file.bytes, entry, 3, &words);
    let finding = found.error(message);
    finding.at(file, field.span);
    finding.why(if entry.mount_point() == "/" {
        tr!("file systems reject options that they do not know: the root is not remounted, and stays read-only")
    } else {
        tr!("file systems reject options that they do not know")
    });
    if let Some((answer, options)) = &unknown {
        finding.note(tr!(
            "{file} does not contain {options}",
            file = answer.file.as_path(),
            options = no_such(options)
        ));
    }
    if !entry.is_optional() && !entry.is_swap() {
        finding.stops(Stage::Mounts);
    }
    let title = match (wrong.len(), &unknown) {
        (0, Some((_, options))) => tr!("remove {options}", options = no_such(options)),
        (_, Some((_, options))) => tr!("write {meant}, and remove {options}", meant, options = no_such(options)),
        _ => tr!("write {meant}", meant),
    };
    finding.repair(Risk::Safe, title, [Change::edit(file, text)]);
}

/// The options for which the target's own kernel has no word; what it does have is nothing that was meant to be another.
fn of_kernel<'a>(
    facts: &Facts,
    entry: &Entry,
    all: &mut [(&'a BStr, Option<String>)],
) -> Option<(Answer, Vec<&'a BStr>)> {
    let name = |option: &'a BStr| option.split_str("=").next().unwrap_or_default().to_str().ok();
    let own = mount_options::own(entry.fstype())?;
    let is_open = |name: &str| !name.is_empty() && !mount_options::is_general(name) && !own.contains(&name);
    let open: Vec<(usize, &str)> = all
        .iter()
        .enumerate()
        .filter_map(|(index, (option, _))| Some((index, name(option).filter(|name| is_open(name))?)))
        .collect();
    if open.is_empty() || entry.is_swap() {
        return None;
    }
    let names: Vec<&str> = open.iter().map(|(_, name)| *name).collect();
    let answer = mount_words::ask(facts, entry.fstype().to_str().ok()?, &names)?;
    let mut unknown = Vec::new();
    for ((index, _), takes) in open.iter().zip(&answer.takes) {
        let Some((option, meant)) = all.get_mut(*index) else { continue };
        if *takes {
            *meant = None;
        } else if meant.is_none() {
            unknown.push(*option);
        }
    }
    (!unknown.is_empty()).then_some((answer, unknown))
}

/// What an option was meant to be, if it is wrong.
fn of_option(entry: &Entry, option: &BStr) -> Option<String> {
    match option.split_once_str("=") {
        Some((name, value)) => meant(entry, name, Some(value)),
        None => meant(entry, option.as_bytes(), None),
    }
}

/// What an option that is wrong was meant to be.
fn meant(entry: &Entry, name: &[u8], value: Option<&[u8]>) -> Option<String> {
    let fstype = entry.fstype();
    let name = name.to_str().ok()?;
    // ext4.rst
    let values: &[&str] = match name {
        "errors" => &["continue", "remount-ro", "panic"],
        "data" => &["journal", "ordered", "writeback"],
        _ => &[],
    };
    if let (true, Some(value)) = (fstype.starts_with(b"ext") && !values.is_empty(), value) {
        let value = value.to_str().ok().filter(|value| !values.contains(value))?;
        return nearest(value, values.iter().copied(), 3).map(|meant| format!("{name}={meant}"));
    }
    if name.starts_with("x-") || name.starts_with("X-") {
        return None;
    }
    let known: Vec<&str> = match mount_options::known(fstype) {
        Some(known) => known.collect(),
        // What every one of them takes.
        None => vec!["defaults"],
    };
    // mount(8) passes over words without a letter.
    let is_new = !known.contains(&name) && !known.iter().any(|known| known.eq_ignore_ascii_case(name));
    let most = if name.len() < 6 { 1 } else { 2 };
    let meant = nearest(name, known.into_iter(), most).filter(|_| is_new)?;
    Some(match value.map(|value| value.to_str_lossy()) {
        Some(value) => format!("{meant}={value}"),
        None => meant.to_owned(),
    })
}
