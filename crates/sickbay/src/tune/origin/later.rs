//! What sets a kernel parameter when the files of sysctl.d have been applied: scripts of the boot, services, tuned, ufw, cron.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines::lines as lines_of;

use super::{How, Setting};
use crate::facts::Facts;
use crate::facts::system::drop_in_files;

/// Scripts and tables that set parameters by hand, where they are there.
const FILES: [&str; 5] =
    ["/etc/rc.local", "/etc/rc.d/rc.local", "/etc/crontab", "/etc/network/interfaces", "/etc/sysconfig/network"];

/// Directories of such.
const DIRS: [&str; 8] = [
    "/etc/systemd/system",
    "/etc/cron.d",
    "/etc/network/interfaces.d",
    "/etc/network/if-up.d",
    "/etc/network/if-pre-up.d",
    "/etc/NetworkManager/dispatcher.d",
    "/etc/networkd-dispatcher/routable.d",
    "/var/spool/cron/crontabs",
];

/// So many files of a directory are read, and so many lines are told.
const MOST: usize = 256;
const LINES: usize = 16;

/// Lines of them that name the parameter.
pub(super) fn lines(facts: &Facts, key: &str) -> Vec<Setting> {
    let mut paths: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    for dir in DIRS {
        let entries = facts.root().read_dir(dir).unwrap_or_default();
        paths.extend(entries.into_iter().take(MOST).map(|entry| Path::new(dir).join(entry.name)));
    }
    paths.extend(tuned(facts));
    let is_enabled = |text: &[u8]| text.lines().any(|line| line.trim_ascii().eq_ignore_ascii_case(b"ENABLED=yes"));
    if facts.root().read("/etc/ufw/ufw.conf").is_ok_and(|text| is_enabled(&text)) {
        paths.push(PathBuf::from("/etc/ufw/sysctl.conf"));
    }
    // Names with a dot in them are written with a slash in one form, and as they are in the other.
    let swapped: String = key
        .chars()
        .map(|letter| match letter {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    let mut all = Vec::new();
    let regular = |path: &PathBuf| facts.root().stat(path).is_ok_and(|found| found.is_file());
    let paths = paths.into_iter().filter(regular).collect();
    for file in drop_in_files::read(facts, paths, &mut Vec::new()) {
        for line in lines_of(&file.bytes) {
            let text = line.text.trim_ascii();
            let names = |name: &str| {
                text.find_iter(name).any(|at| {
                    let edge = |byte: Option<&u8>| {
                        byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"_./-".contains(byte))
                    };
                    let before = at.checked_sub(1).and_then(|at| text.get(at));
                    // `/proc/sys/` goes before one form.
                    (edge(before) || before == Some(&b'/')) && edge(text.get(at + name.len()))
                })
            };
            if !text.starts_with(b"#")
                && !text.starts_with(b";")
                && (names(key) || names(&swapped))
                && all.len() < LINES
            {
                let value = text.to_str_lossy().chars().take(120).collect();
                all.push(Setting { file: Arc::clone(&file), span: line.whole(), value, how: How::Later });
            }
        }
    }
    all
}

/// The profiles of tuned that are in force, with those that they include.
fn tuned(facts: &Facts) -> Vec<PathBuf> {
    let active = facts.root().read("/etc/tuned/active_profile").unwrap_or_default();
    let mut ahead: Vec<String> = active.to_str_lossy().split_whitespace().map(str::to_owned).collect();
    let mut all: Vec<PathBuf> = Vec::new();
    while let Some(name) = ahead.pop().filter(|name| !name.contains('/')) {
        let dirs = ["/etc/tuned", "/etc/tuned/profiles", "/usr/lib/tuned", "/usr/lib/tuned/profiles"];
        let mut files = dirs.iter().map(|dir| Path::new(dir).join(&name).join("tuned.conf"));
        let Some((path, text)) =
            files.find_map(|path| Some((facts.root().read(&path).ok()?, path))).map(|(text, path)| (path, text))
        else {
            continue;
        };
        if all.contains(&path) || all.len() >= LINES {
            continue;
        }
        let included = text.lines().filter_map(|line| line.trim_ascii().strip_prefix(b"include=")?.to_str().ok());
        ahead.extend(included.flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()));
        all.push(path);
    }
    all
}
