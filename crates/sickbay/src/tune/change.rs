//! Advice that is taken, as a repair: one file of kernel parameters, a drop-in for each unit, and the values of now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sickbay_formats::lines::with_comment;
use sickbay_formats::sysctl;

use crate::facts::Facts;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::model::outcome::Skip;
use crate::model::repair::{Change, Repair, Risk};
use crate::model::text::Lang;
use crate::tr;
use crate::tune::advice::{Advice, What};
use crate::tune::knowledge::is_same;

/// The file of kernel parameters.
pub const FILE: &str = "/etc/sysctl.d/99-sickbay-tune.conf";
/// The drop-in of a unit.
const DROP_IN: &str = "90-sickbay-tune.conf";
/// What both begin with.
const HEAD: &str = "# Written by sickbay tune --apply; sickbay undo takes it back.\n";

/// The repair that takes all of this advice; `None` for none.
///
/// # Errors
/// When a file that has to be changed cannot be read.
pub fn repair(facts: &Facts, list: &[Advice]) -> Result<Option<Repair>, Skip> {
    let mut changes = Vec::new();
    let parameters: Vec<(&str, &Advice)> = list
        .iter()
        .filter_map(|advice| match &advice.what {
            What::Sysctl(key) => Some((key.as_str(), advice)),
            What::Files(_) => None,
        })
        .collect();
    if !parameters.is_empty() {
        let (dir, path) = (Path::new("/etc/sysctl.d"), Path::new(FILE));
        if !facts.root().exists(dir)? {
            changes.push(Change::make_dir(dir, 0o755));
        }
        changes.push(file(facts, path, &parameters)?);
        changes.extend(later(facts, &parameters)?);
    }
    for advice in list {
        let What::Files(unit) = &advice.what else { continue };
        let dir = PathBuf::from(format!("/etc/systemd/system/{unit}.d"));
        if !facts.root().exists(&dir)? {
            changes.push(Change::make_dir(&dir, 0o755));
        }
        let path = dir.join(DROP_IN);
        let text = format!("{HEAD}{}[Service]\nLimitNOFILE={}\n", reason(advice), advice.value);
        changes.push(match facts.file(&path)? {
            Some(old) => Change::edit(&old, text.into_bytes()),
            None => Change::create(&path, text, 0o644),
        });
    }
    // What the files say is set last: they are there when it holds.
    changes.extend(parameters.iter().map(|(key, advice)| Change::Kernel {
        name: (*key).to_owned(),
        before: advice.now.clone(),
        after: advice.value.clone(),
    }));
    let count = list.len();
    let risk = list.iter().map(|advice| advice.risk).max().unwrap_or(Risk::Safe);
    let title = tr!("set {count} {count?value|values} as advised, now and for every boot", count);
    Ok((!changes.is_empty()).then_some(Repair { title, risk, changes }))
}

/// Why, as a comment.
fn reason(advice: &Advice) -> String {
    let text = advice.reason.render(Lang::En);
    let line: String = text.chars().filter(|letter| !letter.is_control()).take(600).collect();
    format!("# {line}\n")
}

/// Our own file, with what it had of other parameters.
fn file(facts: &Facts, path: &Path, parameters: &[(&str, &Advice)]) -> Result<Change, Skip> {
    let ours: String =
        parameters.iter().map(|(key, advice)| format!("{}{key} = {}\n", reason(advice), advice.value)).collect();
    let Some(old) = facts.file(path)? else {
        return Ok(Change::create(path, format!("{HEAD}{ours}"), 0o644));
    };
    let gone: Vec<usize> = sysctl::parse(&old.bytes)
        .iter()
        .filter(|one| parameters.iter().any(|(key, _)| one.key == *key))
        .map(|one| one.line)
        .collect();
    let mut text = Vec::new();
    for (index, line) in old.bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        // The comment above goes with its line.
        let goes = gone.contains(&(index + 1)) || line.starts_with(b"#") && gone.contains(&(index + 2));
        if !goes || index == 0 {
            text.extend_from_slice(line);
        }
    }
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(ours.as_bytes());
    Ok(Change::edit(&old, text))
}

/// Lines of files that are read after ours and say something else: comments from now on.
fn later(facts: &Facts, parameters: &[(&str, &Advice)]) -> Result<Vec<Change>, Skip> {
    let files = facts.get::<SysctlFiles>()?;
    let name = Path::new(FILE).file_name();
    let mut edited: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for (file, assignments) in &files.files {
        // A link 99-sysctl.conf leads to it, or it is read last of all.
        let is_later = file.path == Path::new("/etc/sysctl.conf") || file.path.file_name() > name;
        for one in assignments.iter().filter(|_| is_later && file.path != Path::new(FILE)) {
            let Some(value) = &one.value else { continue };
            let differs =
                parameters.iter().any(|(key, advice)| one.key == *key && !is_same(&value.to_string(), &advice.value));
            if differs {
                let text = edited.entry(file.path.clone()).or_insert_with(|| file.bytes.clone());
                *text = with_comment(text, one.line);
            }
        }
    }
    let files = files.files.iter().map(|(file, _)| file);
    let changes = files.filter_map(|file| Some(Change::edit(file, edited.remove(&file.path)?)));
    Ok(changes.collect())
}
