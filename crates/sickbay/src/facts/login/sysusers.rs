//! Accounts that systemd-sysusers(8) makes.

use std::collections::BTreeSet;

use bstr::ByteSlice;
use sickbay_formats::lines;

use crate::facts::Facts;
use crate::facts::system::drop_in_files;
use crate::model::outcome::Skip;

const DIRS: [&str; 4] = ["/etc/sysusers.d", "/run/sysusers.d", "/usr/local/lib/sysusers.d", "/usr/lib/sysusers.d"];

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

/// The names of the users that it makes.
pub fn users(facts: &Facts) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    let mut unread = Vec::new();
    let paths = drop_in_files::chosen(facts, &DIRS, "conf", &mut unread);
    for file in drop_in_files::read(facts, paths, &mut unread) {
        for line in lines::lines(&file.bytes) {
            let mut words = line.text.fields_with(char::is_whitespace);
            if words.next().is_some_and(|kind| kind.starts_with(b"u"))
                && let Some(name) = words.next()
            {
                all.insert(name.to_vec());
            }
        }
    }
    all
}
