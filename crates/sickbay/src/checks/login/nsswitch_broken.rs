//! nsswitch.conf without the files that hold root.

use bstr::ByteSlice;
use sickbay_formats::lines;
use sickbay_formats::nsswitch::{Database, Entry, entries};

use crate::facts::Facts;
use crate::facts::packages::programs::Programs;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "I have no name!", "whoami: cannot find name for user ID 0", "who are you?", and no password works.
    ///
    /// ## What it finds
    /// A line for passwd, shadow or group in `/etc/nsswitch.conf` that does not use `files` (or `compat`), or uses them
    /// only after another service whose "not found" ends the search, and a line without any source. A missing line or
    /// file is not a fault: glibc then uses the files.
    ///
    /// ## Why it matters
    /// root is only in `/etc/passwd` and `/etc/shadow`. Without the files no program finds root, and no password can be
    /// right.
    ///
    /// ## What the repair does
    /// Puts `files` first on the line.
    ///
    /// ## By hand
    /// ```sh
    /// # passwd: files …, shadow: files …, group: files …
    /// getent passwd root
    /// ```
    "nsswitch-broken", Login, seed = ["L3", "C2"], proves = [Account], "nsswitch.conf does not use the files that contain root"
}

/// Services that know the users of the machine itself.
const LOCAL: [&str; 4] = ["files", "compat", "altfiles", "db"];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let loader = &facts.get::<Programs>()?.loader;
    if loader.as_ref().is_some_and(|loader| loader.contains_str("ld-musl")) {
        return Err(Skip::NotApplicable(tr!("musl does not read nsswitch.conf")));
    }
    let file = facts.required("/etc/nsswitch.conf")?;
    let databases: Vec<Database> = entries(&file.bytes)
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Database(database) => Some(database),
            Entry::Junk(_) => None,
        })
        .collect();
    for name in ["passwd", "shadow", "group"] {
        // Of two lines for one database the last one counts.
        let Some(database) = databases.iter().rev().find(|database| database.name == name) else { continue };
        let local = database.sources.iter().position(|source| LOCAL.iter().any(|known| source.name == *known));
        let first_end = database.sources.iter().position(|source| {
            source.action.as_ref().is_some_and(|action| {
                let action = action.to_str_lossy().to_lowercase().replace(' ', "");
                action.contains("notfound=return") || action.contains("unavail=return")
            })
        });
        let message = match (local, first_end) {
            (None, _) if database.sources.is_empty() => tr!("the line for {name} has no sources", name),
            (None, _) => tr!("the line for {name} does not use the system's files", name),
            (Some(local), Some(end)) if end < local => {
                tr!("the line for {name} stops before it gets to the system's files", name)
            }
            _ => continue,
        };
        let finding = match name {
            "group" => found.error(message),
            _ => found.critical(message),
        };
        finding.at(&file, database.span);
        finding.why(match name {
            "passwd" => tr!("no program finds root: every login ends at once"),
            "shadow" => tr!("no password can be checked"),
            _ => tr!("groups have no names"),
        });
        if name != "group" {
            finding.stops(Stage::Account);
        }
        let text = lines::with_line(&file.bytes, database.span.line, |line| Some(with_files(line)));
        finding.repair(Risk::Safe, tr!("put files first"), [Change::edit(&file, text)]);
    }
    Ok(())
}

/// The line with `files` as the first service, and not a second time after it.
fn with_files(line: &[u8]) -> Vec<u8> {
    let Some(colon) = line.find_byte(b':') else { return line.to_owned() };
    let (name, rest) = line.split_at(colon + 1);
    let rest = rest.trim_ascii();
    let rest = match rest.find(" files") {
        Some(at) if rest.get(at + 6).is_none_or(u8::is_ascii_whitespace) => rest.replacen(b" files", b"", 1),
        _ => rest.to_owned(),
    };
    [name, b" files ", &rest].concat().trim_ascii_end().to_owned()
}
