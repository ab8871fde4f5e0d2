//! pam_limits(8): a limit that the kernel refuses ends the session before it begins.
//!
//! A limit that is too small for any shell ends it as soon as it has begun.
//!
//! Refused is the number of open files: nobody, not even root, may have more than `fs.nr_open` (kernel/sys.c, `do_prlimit`), and
//! the module then answers with PERM_DENIED (modules/pam_limits/pam_limits.c, `setup_limits`). `maxlogins` and
//! `maxsyslogins` are passed over for uid 0 there, and the kernel passes over root's `nproc` (kernel/fork.c).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines::lines;
use sickbay_formats::pam::code;
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::facts::login::pam::judge::User;
use crate::facts::login::pam::modules::{Answer, Because, Question};
use crate::facts::login::pam::path::Modules;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// `fs.nr_open` where nothing sets it (fs/file.c).
const NR_OPEN: u64 = 1 << 20;

/// Where SUSE keeps what it ships, and where the administrator's files are.
const DIRS: [&str; 2] = ["/usr/etc/security", "/etc/security"];

/// What it answers when a session begins.
pub fn limits(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let passes = Answer::any(&[code::SUCCESS, code::IGNORE]);
    let files = files(facts, question)?;
    for (item, least) in LEAST {
        if let Some((file, span, Some(value))) = set(&files, question, item, &["hard", "soft", "-"])
            && value < least
        {
            return Ok(Answer::because(code::PERM_DENIED, Because::Starves(file, span)));
        }
    }
    // Debian's goes on when the kernel refuses (EPERM_NOT_FATAL among its patches).
    if facts.root().exists("/etc/debian_version")? {
        return Ok(passes);
    }
    let Some((file, span, wanted)) = set(&files, question, "nofile", &["hard", "-"]) else { return Ok(passes) };
    let is_refused = match wanted {
        Some(number) if number <= NR_OPEN => false,
        Some(number) => most(facts)?.is_some_and(|most| number > most),
        // Newer ones take the most there is for "unlimited".
        None => !module_has(facts, question.name, b"/proc/sys/fs/nr_open")?,
    };
    Ok(if is_refused { Answer::because(code::PERM_DENIED, Because::Line(file, span)) } else { passes })
}

/// A line, and the limit that it sets; `None` for no limit.
type Set = (Arc<SourceFile>, Span, Option<u64>);

/// What bash cannot be started with: ld.so opens a fourth file; it maps 4 MiB and needs as much for a locale; a stack holds the
/// environment. In the units of limits.conf(5), files and KiB; tried with bash 5.2 on x86-64.
const LEAST: [(&str, u64); 3] = [("nofile", 4), ("as", 6000), ("stack", 32)];

/// The line that sets this limit, by one of these types, and the limit.
fn set(files: &[Arc<SourceFile>], question: &Question<'_>, wanted: &str, types: &[&str]) -> Option<Set> {
    let mut chosen = None;
    let mut nearest = usize::MAX;
    for file in files {
        for line in lines(&file.bytes) {
            let text = line.text.split(|&byte| byte == b'#').next().unwrap_or_default();
            let words: Vec<&str> = text.to_str().unwrap_or_default().split_ascii_whitespace().collect();
            let [domain, rest @ ..] = words.as_slice() else { continue };
            let Some(distance) = distance(question.attempt.user, domain) else { continue };
            match rest {
                // No limits at all.
                ["-"] if distance < 2 => return None,
                [kind, item, value, ..] if distance <= nearest => {
                    let is_it = types.iter().any(|known| kind.eq_ignore_ascii_case(known));
                    if let Some(limit) = limit(value).filter(|_| is_it && item.eq_ignore_ascii_case(wanted)) {
                        nearest = distance;
                        chosen = Some((Arc::clone(file), line.whole(), limit));
                    }
                }
                _ => {}
            }
        }
    }
    chosen
}

/// How near a line is to the user: of two lines the nearer counts, of equals the later.
fn distance(user: &User, domain: &str) -> Option<usize> {
    match domain.strip_prefix('@') {
        Some(group) => user.groups.iter().any(|name| name == group).then_some(1),
        None if domain == user.name => Some(0),
        None => (domain == "*").then_some(2),
    }
}

/// A value as strtoull(3) reads it: `None` where it is none, `Some(None)` for no limit.
fn limit(value: &str) -> Option<Option<u64>> {
    if ["-", "-1", "unlimited", "infinity"].iter().any(|known| value.eq_ignore_ascii_case(known)) {
        return Some(None);
    }
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    value.get(..digits)?.parse().ok().map(Some)
}

/// The files in the order in which they are read.
fn files(facts: &Facts, question: &Question<'_>) -> Result<Vec<Arc<SourceFile>>, Skip> {
    if let Some(path) = question.value("conf") {
        return Ok(facts.file(path)?.into_iter().collect());
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    let own = DIRS.iter().rev().map(|dir| Path::new(dir).join("limits.conf"));
    paths.extend(own.clone().find(|path| facts.root().exists(path).unwrap_or(false)));
    let mut names: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for dir in DIRS.map(|dir| Path::new(dir).join("limits.d")) {
        for entry in facts.root().read_dir(&dir).unwrap_or_default() {
            let path = dir.join(&entry.name);
            if path.extension().is_some_and(|extension| extension == "conf") {
                // One of the administrator takes the place of what was shipped under its name.
                names.insert(entry.name, path);
            }
        }
    }
    paths.extend(names.into_values());
    let mut all = Vec::new();
    for path in paths {
        all.extend(facts.file(path)?);
    }
    Ok(all)
}

/// The most open files that a process may have; `None` where it cannot be told.
fn most(facts: &Facts) -> Result<Option<u64>, Skip> {
    let number = |text: &[u8]| text.trim_ascii().to_str().ok()?.parse::<u64>().ok();
    if facts.is_host() {
        return Ok(facts.file("/proc/sys/fs/nr_open")?.and_then(|file| number(&file.bytes)));
    }
    let files = facts.get::<SysctlFiles>()?;
    if let Some((_, set)) = files.setting("fs.nr_open").next() {
        return Ok(set.value.as_ref().and_then(|value| number(value)));
    }
    // Some builds of systemd raise it as far as it goes.
    let raises = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]
        .iter()
        .any(|path| facts.root().read(path).is_ok_and(|program| program.contains_str("fs/nr_open")));
    Ok((files.unread.is_empty() && !raises).then_some(NR_OPEN))
}

fn module_has(facts: &Facts, name: &str, text: &[u8]) -> Result<bool, Skip> {
    let dirs = &facts.get::<Modules>()?.dirs;
    let modules = dirs.iter().filter_map(|dir| facts.root().read(dir.join(name)).ok());
    Ok(modules.into_iter().any(|module| module.contains_str(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_limits() {
        assert_eq!(limit("65535"), Some(Some(65535)));
        assert_eq!(limit("1048577k"), Some(Some(1_048_577)));
        assert_eq!(limit("Unlimited"), Some(None));
        assert_eq!(limit("many"), None);
    }
}
