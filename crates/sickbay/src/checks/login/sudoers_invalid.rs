//! sudoers that sudo refuses, or reads only in part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::accounts::Password;
use sickbay_formats::lines;
use sickbay_formats::sudoers::{TAGS, What, is_read, items};

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::administrators::{Administrators, is_old};
use crate::facts::login::ssh_keys::Keys;
use crate::facts::login::visudo::{self, Answer};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "/etc/sudoers:28: syntax error", "sudo: parse error in /etc/sudoers.d/90-cloud-init-users", "sudo: no valid
    /// sudoers sources found, quitting", or "alice is not in the sudoers file" although a file of sudoers.d names alice.
    ///
    /// ## What it finds
    /// Lines of `/etc/sudoers` and of the files it includes that sudo's grammar does not take: `NOPASSWD` without its colon, a
    /// pasted word, a quote that is not closed. Files of an included directory that sudo passes over because there is a dot
    /// in their name (`alice.conf`), unless the name is that of a backup. Where the target has a `visudo`, that program, run in a
    /// sandbox on a copy, is asked as well, about the lines found and about the repair.
    ///
    /// ## Why it matters
    /// sudo before 1.9.3 refuses everybody until the line is gone; later ones leave the line out. Where root has neither a
    /// password nor a key, nobody can become root then.
    ///
    /// ## What the repair does
    /// Adds the colon where that is all that is missing; otherwise comments out the line, which has no effect anyway. Gives a file
    /// that is passed over a name without a dot: a risky repair, since its rules take effect then.
    ///
    /// ## By hand
    /// ```sh
    /// # names the line
    /// chroot ROOT visudo -c
    /// ```
    "sudoers-invalid", Login, seed = ["L1"], proves = [], "sudo does not understand a line of sudoers"
}

/// How deep files may include each other (sudoers(5)), and how many are read.
const DEPTH: usize = 128;
const FILES: usize = 1000;

/// What people give backups and what they have switched off, besides numbers.
const ASIDE: [&str; 28] = [
    "bak",
    "backup",
    "old",
    "orig",
    "save",
    "sav",
    "disabled",
    "disable",
    "off",
    "sample",
    "example",
    "dist",
    "tmpl",
    "template",
    "in",
    "rpmsave",
    "rpmnew",
    "rpmorig",
    "pacnew",
    "pacsave",
    "dpkg-old",
    "dpkg-new",
    "dpkg-dist",
    "ucf-dist",
    "ucf-old",
    "swp",
    "tmp",
    "md",
];

/// The files that sudo reads, and those that it passes over.
#[derive(Default)]
struct Read {
    files: Vec<Arc<SourceFile>>,
    passed_over: Vec<PathBuf>,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let dirs = ["/usr/bin", "/bin", "/usr/local/bin"];
    if !dirs.iter().any(|dir| facts.root().stat(Path::new(dir).join("sudo")).is_ok_and(|it| it.is_file())) {
        return Err(Skip::NotApplicable(tr!("sudo is not installed")));
    }
    let mut all = Read::default();
    // SUSE's goes to /usr/etc when there is nothing in /etc.
    for path in ["/etc/sudoers", "/usr/etc/sudoers"] {
        read(facts, Path::new(path), 0, &mut all)?;
        if !all.files.is_empty() {
            break;
        }
    }
    let refuses = is_old(facts);
    for file in &all.files {
        faults(facts, found, file, refuses)?;
    }
    for path in &all.passed_over {
        passed_over(facts, found, path)?;
    }
    Ok(())
}

fn read(facts: &Facts, path: &Path, depth: usize, all: &mut Read) -> Result<(), Skip> {
    if depth > DEPTH || all.files.len() > FILES || all.files.iter().any(|file| file.path == path) {
        return Ok(());
    }
    let Some(file) = facts.file(path)? else { return Ok(()) };
    all.files.push(Arc::clone(&file));
    let place = |name: &[u8]| path.parent().unwrap_or(Path::new("/")).join(name.to_path_lossy());
    for item in items(&file.bytes) {
        match item.what {
            // %h is the host's name.
            What::Include(name) if !name.contains(&b'%') => read(facts, &place(&name), depth + 1, all)?,
            What::IncludeDir(name) if !name.contains(&b'%') => {
                let dir = place(&name);
                let mut entries = facts.root().read_dir(&dir).unwrap_or_default();
                entries.sort_by(|one, other| one.name.cmp(&other.name));
                for entry in entries.into_iter().take(FILES) {
                    let path = dir.join(&entry.name);
                    if is_read(entry.name.as_encoded_bytes()) {
                        read(facts, &path, depth + 1, all)?;
                    } else if !is_aside(&path) {
                        all.passed_over.push(path);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a name says that the file is a copy or was switched off.
fn is_aside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_owned()).unwrap_or_default();
    name.ends_with('~')
        || name.starts_with('.')
        || ASIDE.contains(&extension.as_str())
        || extension.starts_with(|first: char| first.is_ascii_digit())
}

fn faults(facts: &Facts, found: &mut Findings, file: &Arc<SourceFile>, refuses: bool) -> Verdict {
    let lost: Vec<usize> =
        items(&file.bytes).into_iter().filter(|item| item.what == What::Fault).map(|item| item.line).collect();
    let Some(&first) = lost.first() else { return Ok(()) };
    let path = file.path.as_path();
    // Nobody knows its grammar better than the sudo that reads it.
    let said = match visudo::ask(facts, path, Vec::new()) {
        Answer::Takes => return Ok(()),
        Answer::Refuses(said) => said.into_iter().filter(|line| line.contains(&path.display().to_string())).collect(),
        Answer::Unasked => Vec::new(),
    };
    let message = if lost.len() == 1 {
        tr!("sudo does not understand line {line} of {path}", line = first, path)
    } else {
        tr!("sudo does not understand {count} lines of {path}", count = lost.len(), path)
    };
    let nobody = nobody_is_root(facts)?;
    let finding = found.add(if nobody { Severity::Critical } else { Severity::Error }, message);
    for &number in &lost {
        finding.at(file, line_span(file, number));
    }
    for line in said.iter().take(3) {
        finding.evidence("visudo -c", line);
    }
    finding.why(match (nobody, refuses) {
        (true, _) => tr!("nobody can become root: root has neither a password nor a key"),
        (false, true) => tr!("sudo before 1.9.3 refuses everybody until the line is gone"),
        (false, false) => {
            tr!("sudo skips the line and warns at every call; whoever could become root only by it no longer can")
        }
    });
    let (mut text, mut colons) = (file.bytes.clone(), true);
    for &number in lost.iter().rev() {
        let with_colons = lines::with_line(&text, number, |line| Some(with_colons(line)));
        let is_right = |text: &[u8]| !items(text).iter().any(|item| item.line == number && item.what == What::Fault);
        if with_colons != text && is_right(&with_colons) {
            text = with_colons;
        } else {
            text = commented(&text, number);
            colons = false;
        }
    }
    let is_refused = || {
        let answer = visudo::ask(facts, path, vec![(path.to_owned(), text.clone())]);
        matches!(answer, Answer::Refuses(said) if said.iter().any(|line| line.contains(&path.display().to_string())))
    };
    if items(&text).iter().any(|item| item.what == What::Fault) || is_refused() {
        finding.by_hand(tr!("correct it with visudo -f {path}", path));
        return Ok(());
    }
    let title = if colons {
        tr!("add the colon that is missing in {path}", path)
    } else if lost.len() == 1 {
        tr!("comment out line {line} of {path}", line = first, path)
    } else {
        tr!("comment out the lines of {path} that sudo does not understand", path)
    };
    finding.repair(Risk::Safe, title, [Change::edit(file, text)]);
    Ok(())
}

fn line_span(file: &SourceFile, number: usize) -> sickbay_formats::span::Span {
    lines::lines(&file.bytes).nth(number.saturating_sub(1)).map(|line| line.whole()).unwrap_or_default()
}

/// A colon behind every tag that has none.
fn with_colons(line: &[u8]) -> Vec<u8> {
    let mut text = line.to_vec();
    for range in lines::words(line).collect::<Vec<_>>().into_iter().rev() {
        let word = line.get(range.clone()).unwrap_or_default();
        if TAGS.contains(&word) {
            text = lines::with_bytes(&text, range.end..range.end, b":");
        }
    }
    text
}

/// The line, and those that go on with it, made comments.
fn commented(text: &[u8], number: usize) -> Vec<u8> {
    let mut out = text.to_vec();
    for line in lines::lines(text).skip(number.saturating_sub(1)) {
        out = lines::with_comment(&out, line.number);
        if !line.text.ends_with(b"\\") {
            break;
        }
        // A comment that ends in a backslash goes on.
        out = lines::with_line(&out, line.number, |line| line.strip_suffix(b"\\").map(<[u8]>::to_vec));
    }
    out
}

fn passed_over(facts: &Facts, found: &mut Findings, path: &Path) -> Verdict {
    let Ok(real) = facts.root().canonical(path) else { return Ok(()) };
    let Some(file) = facts.file(&real)? else { return Ok(()) };
    let all = items(&file.bytes);
    let is_meant = all.iter().any(|item| matches!(item.what, What::Rule { .. }));
    if !is_meant || all.iter().any(|item| item.what == What::Fault) {
        return Ok(());
    }
    let nobody = nobody_is_root(facts)?;
    let message = tr!("sudo does not read {path}: there is a dot in its name", path);
    let finding = found.add(if nobody { Severity::Critical } else { Severity::Warning }, message);
    finding.at_path(path).why(if nobody {
        tr!("nobody can become root: root has neither a password nor a key")
    } else {
        tr!("its rules have no effect")
    });
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = ["conf", "cfg", "sudo", "sudoers", "txt"].iter().find_map(|end| name.strip_suffix(&format!(".{end}")));
    let new = path.with_file_name(stem.unwrap_or(&name).replace('.', "_"));
    if real == path && facts.root().metadata(&new).is_err() {
        let title = tr!("rename it to {new}, so that its rules take effect", new = new.as_path());
        let create = Change::create(&new, file.bytes.clone(), 0o440);
        finding.repair(Risk::Risky, title, [create, Change::Remove { path: path.to_owned() }]);
    } else {
        finding.by_hand(tr!("give it a name without a dot"));
    }
    Ok(())
}

/// Whether nobody can become root as things are: no password, no key, no other account.
fn nobody_is_root(facts: &Facts) -> Result<bool, Skip> {
    let password = facts.get::<Accounts>()?.root_password();
    let keys = Keys::of_root(facts);
    let has_way = matches!(password, Password::Hash | Password::Empty | Password::Shadowed) || keys.free || keys.unseen;
    Ok(!has_way && !facts.get::<Administrators>()?.any())
}
