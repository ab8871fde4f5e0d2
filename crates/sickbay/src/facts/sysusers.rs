//! Accounts that systemd-sysusers(8) makes.

use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::lines;

use super::Facts;
use crate::check::Skip;

const DIRS: [&str; 3] = ["/etc/sysusers.d", "/usr/local/lib/sysusers.d", "/usr/lib/sysusers.d"];

/// Whether the next boot makes accounts that are missing: systemd-sysusers.service runs where `/etc` was not brought up to
/// date since the last change of `/usr` (`ConditionNeedsUpdate=/etc`, systemd.unit(5)).
pub fn run_at_boot(facts: &Facts) -> Result<bool, Skip> {
    let root = facts.root();
    let unit = ["/usr/lib/systemd/system/systemd-sysusers.service", "/lib/systemd/system/systemd-sysusers.service"];
    if !unit.iter().any(|path| root.stat(path).is_ok_and(|file| file.is_file())) {
        return Ok(false);
    }
    let Ok(usr) = root.stat("/usr") else { return Ok(false) };
    Ok(root.stat("/etc/.updated").map_or(true, |updated| updated.mtime < usr.mtime))
}

/// Whether a user of this name is among those that it makes.
pub fn names(facts: &Facts, user: &str) -> bool {
    DIRS.iter().any(|dir| {
        let names = facts.root().read_dir(dir).unwrap_or_default();
        names.iter().filter(|entry| entry.name.as_encoded_bytes().ends_with(b".conf")).any(|entry| {
            let file = facts.file(Path::new(dir).join(&entry.name)).ok().flatten();
            file.is_some_and(|file| {
                lines::lines(&file.bytes).any(|line| {
                    let mut words = line.text.fields_with(char::is_whitespace);
                    words.next().is_some_and(|kind| kind.starts_with(b"u")) && words.next() == Some(user.as_bytes())
                })
            })
        })
    })
}
