//! Characters that one cannot see, in a file that a program reads word by word.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::fstab;
use sickbay_formats::invisible::{self, Invisible};
use sickbay_formats::lines;

use crate::facts::Facts;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Bad configuration option", "syntax error", "parse error at line 1", a setting that has no effect, or a mount that
    /// is not made, and the line looks right.
    ///
    /// ## What it finds
    /// A byte order mark, no-break spaces (U+00A0), ideographic spaces (U+3000), zero width spaces and their like, outside of
    /// comments and quoted text, in the files that boot and login depend on: fstab, crypttab, sshd_config, the rules of PAM,
    /// sudoers, sysctl files, GRUB's defaults and boot entries, limits, nsswitch.conf, hosts.allow and hosts.deny, modprobe.d,
    /// and units in `/etc`.
    ///
    /// ## Why it matters
    /// They come along with text that is pasted from a web page or a chat, or with an editor of another system. To the eye the
    /// line is right; to the program two words are one, or the first word is another.
    ///
    /// ## What the repair does
    /// Puts a blank in the place of those that look like one, and removes the others. Comments and quoted text stay as they are.
    ///
    /// ## By hand
    /// ```sh
    /// # shows them
    /// grep -nP '\x{00A0}|\x{FEFF}|\x{200B}|\x{3000}' ROOT/etc/fstab
    /// ```
    "invisible-characters", Files, seed = [], proves = [], may_stop = [Mounts, Sshd, PamLogin, PamSshd], "a file has characters that one cannot see"
}

/// How a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grammar {
    /// Words; a mark before a comment is a word as well.
    Strict,
    /// Words; what is not understood is passed over.
    Lenient,
    /// Words, also inside of quotes.
    Boot,
    /// systemd's: a mark at the beginning is passed over, a value may hold what it likes.
    Unit,
}

const FILES: [(&str, Grammar); 17] = [
    ("/etc/fstab", Grammar::Strict),
    ("/etc/crypttab", Grammar::Lenient),
    ("/etc/ssh/sshd_config", Grammar::Strict),
    ("/etc/sudoers", Grammar::Strict),
    ("/etc/sysctl.conf", Grammar::Lenient),
    ("/etc/default/grub", Grammar::Boot),
    ("/etc/kernel/cmdline", Grammar::Boot),
    ("/etc/nsswitch.conf", Grammar::Lenient),
    ("/etc/hosts.allow", Grammar::Lenient),
    ("/etc/hosts.deny", Grammar::Lenient),
    ("/etc/login.defs", Grammar::Lenient),
    ("/etc/ld.so.conf", Grammar::Lenient),
    ("/etc/selinux/config", Grammar::Lenient),
    ("/etc/security/limits.conf", Grammar::Lenient),
    ("/etc/security/access.conf", Grammar::Lenient),
    ("/etc/mdadm/mdadm.conf", Grammar::Lenient),
    ("/etc/mdadm.conf", Grammar::Lenient),
];

/// Directories, what the names in them end in, and how deep they are read.
const DIRS: [(&str, &str, Grammar, usize); 11] = [
    ("/etc/ssh/sshd_config.d", ".conf", Grammar::Strict, 0),
    ("/etc/pam.d", "", Grammar::Strict, 0),
    ("/etc/sudoers.d", "", Grammar::Strict, 0),
    ("/etc/sysctl.d", ".conf", Grammar::Lenient, 0),
    ("/etc/modprobe.d", ".conf", Grammar::Lenient, 0),
    ("/etc/modules-load.d", ".conf", Grammar::Lenient, 0),
    ("/etc/security/limits.d", ".conf", Grammar::Lenient, 0),
    ("/etc/ld.so.conf.d", ".conf", Grammar::Lenient, 0),
    ("/etc/default/grub.d", ".cfg", Grammar::Boot, 0),
    ("/boot/loader/entries", ".conf", Grammar::Boot, 0),
    ("/etc/systemd/system", "", Grammar::Unit, 1),
];

/// More files no directory has, and more text none of these files.
const MOST: usize = 2000;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let mut all: Vec<(PathBuf, Grammar)> =
        FILES.iter().map(|(path, grammar)| (PathBuf::from(path), *grammar)).collect();
    for (dir, end, grammar, depth) in DIRS {
        list(facts, Path::new(dir), end, grammar, depth, &mut all);
    }
    let mut seen: Vec<PathBuf> = Vec::new();
    for (path, grammar) in all {
        let Ok(real) = facts.root().canonical(&path) else { continue };
        // Units of packages are linked into /etc.
        let is_ours = real.starts_with("/etc") || real.starts_with("/boot");
        let is_file = is_ours && !seen.contains(&real) && facts.root().stat(&real).is_ok_and(|it| it.is_file());
        if !is_file {
            continue;
        }
        seen.push(real.clone());
        // Who may not read it knows from other checks.
        let Ok(Some(file)) = facts.file(&real) else { continue };
        judge(found, &file, grammar);
    }
    Ok(())
}

fn list(facts: &Facts, dir: &Path, end: &str, grammar: Grammar, depth: usize, all: &mut Vec<(PathBuf, Grammar)>) {
    let mut entries = facts.root().read_dir(dir).unwrap_or_default();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    for entry in entries.into_iter().take(MOST) {
        let path = dir.join(&entry.name);
        let name = entry.name.to_string_lossy();
        if entry.kind == sickbay_target::FileKind::Dir {
            if depth > 0 && name.ends_with(".d") {
                list(facts, &path, end, grammar, depth - 1, all);
            }
        } else if name.ends_with(end) && !name.ends_with('~') && all.len() < MOST {
            all.push((path, grammar));
        }
    }
}

fn judge(found: &mut Findings, file: &Arc<SourceFile>, grammar: Grammar) {
    // Most files are without: one pass over their bytes.
    if invisible::all(&file.bytes).next().is_none() {
        return;
    }
    let mut text = file.bytes.clone();
    let mut lost: Vec<(usize, Invisible)> = Vec::new();
    for line in lines::lines(&file.bytes) {
        let count = lost.len();
        let harmful: Vec<Invisible> = harmful(line.number, line.text, grammar);
        lost.extend(harmful.iter().map(|one| (line.number, *one)));
        if lost.len() > count {
            let new = without(line.text, &harmful);
            text = lines::with_line(&text, line.number, |_| Some(new));
        }
        if lost.len() > MOST {
            break;
        }
    }
    let Some((number, first)) = lost.first().copied() else { return };
    let path = file.path.as_path();
    let stages = stages(file, &lost);
    let count = lost.iter().map(|(number, _)| number).collect::<std::collections::BTreeSet<_>>().len();
    let message = if count == 1 {
        tr!("line {line} of {path} has {character}", line = number, path, character = name(first.character))
    } else {
        tr!("{count} lines of {path} have {character}", count, path, character = name(first.character))
    };
    let finding = found.add(if stages.is_empty() { Severity::Error } else { Severity::Critical }, message);
    let mut before = 0;
    for (number, one) in lost.iter().filter(|(number, _)| std::mem::replace(&mut before, *number) != *number).take(5) {
        if let Some(line) = lines::lines(&file.bytes).nth(number.saturating_sub(1)) {
            finding.at(file, line.span(one.at..one.at + one.character.len_utf8()));
        }
    }
    finding
        .why(if first.blank {
            tr!("it looks like a space but is not one: the program that reads the file sees one word instead of two")
        } else {
            tr!("it cannot be seen, and the program that reads the file sees another word")
        })
        .explains(path);
    for stage in stages {
        finding.stops(stage);
    }
    finding.repair(
        Risk::Safe,
        tr!("replace those that look like spaces with spaces, and remove the others"),
        [Change::edit(file, text)],
    );
}

/// Those of a line that change what is read.
fn harmful(number: usize, line: &[u8], grammar: Grammar) -> Vec<Invisible> {
    let all: Vec<Invisible> = invisible::all(line).collect();
    if all.is_empty() {
        return all;
    }
    let clean = invisible::cleaned(line);
    let is_comment = clean.trim_ascii_start().first().is_none_or(|first| matches!(first, b'#' | b';'));
    if is_comment {
        let marks = number == 1 && matches!(grammar, Grammar::Strict | Grammar::Boot);
        // A comment that begins behind one is none.
        let before = |one: &Invisible| line.get(..one.at).is_some_and(|before| before.trim_ascii().is_empty());
        let begins = |one: &Invisible| {
            (one.character == '\u{feff}' && marks || one.blank && grammar == Grammar::Strict) && before(one)
        };
        return all.into_iter().filter(begins).collect();
    }
    let counts_quoted =
        grammar == Grammar::Boot && (clean.starts_with(b"GRUB_CMDLINE") || !clean.starts_with(b"GRUB_"));
    let end = comment(line).unwrap_or(line.len());
    let value = line.find_byte(b'=').map_or(line.len(), |at| at + 1);
    all.into_iter()
        .filter(|one| one.at < end)
        .filter(|one| counts_quoted || !is_quoted(line, one.at))
        .filter(|one| match grammar {
            // The key, and what the value begins with, where that is no text.
            Grammar::Unit => {
                let is_text = ["Description", "Documentation", "Environment", "Exec"]
                    .iter()
                    .any(|key| clean.trim_ascii_start().starts_with(key.as_bytes()));
                one.character != '\u{feff}' && (one.at < value || one.at == value && !is_text)
            }
            _ => true,
        })
        .collect()
}

/// Where a comment behind the words begins.
fn comment(line: &[u8]) -> Option<usize> {
    line.find_iter("#").find(|at| {
        let before = at.checked_sub(1).and_then(|before| line.get(before));
        before.is_none_or(u8::is_ascii_whitespace) && !is_quoted(line, *at)
    })
}

fn is_quoted(line: &[u8], at: usize) -> bool {
    let mut open = None;
    for byte in line.get(..at).unwrap_or_default() {
        match (open, byte) {
            (None, b'"' | b'\'') => open = Some(*byte),
            (Some(sign), byte) if sign == *byte => open = None,
            _ => {}
        }
    }
    open.is_some()
}

fn without(line: &[u8], harmful: &[Invisible]) -> Vec<u8> {
    let mut out = line.to_vec();
    for one in harmful.iter().rev() {
        let new: &[u8] = if one.blank { b" " } else { b"" };
        out = lines::with_bytes(&out, one.at..one.at + one.character.len_utf8(), new);
    }
    out
}

/// What does not work because of it.
fn stages(file: &SourceFile, lost: &[(usize, Invisible)]) -> Vec<Stage> {
    let path = file.path.as_path();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if path == Path::new("/etc/fstab") {
        // What is no line of fstab at all is passed over; one whose words are others is mounted, in vain.
        let stops = fstab::entries(&file.bytes).iter().any(|entry| {
            let concerned = lost.iter().any(|(number, _)| *number == entry.line);
            concerned && entry.defect.is_none() && !entry.is_optional() && !entry.is_swap()
        });
        return if stops { vec![Stage::Mounts] } else { Vec::new() };
    }
    if path == Path::new("/etc/ssh/sshd_config") || path.starts_with("/etc/ssh/sshd_config.d") {
        return vec![Stage::Sshd];
    }
    if path.starts_with("/etc/pam.d") {
        return match name.as_ref() {
            "login" => vec![Stage::PamLogin],
            "sshd" => vec![Stage::PamSshd],
            name if name.starts_with("common-")
                || matches!(name, "system-auth" | "system-login" | "system-remote-login") =>
            {
                vec![Stage::PamLogin, Stage::PamSshd]
            }
            "password-auth" => vec![Stage::PamSshd],
            _ => Vec::new(),
        };
    }
    Vec::new()
}

/// What a character is called.
fn name(character: char) -> Text {
    match character {
        '\u{feff}' => tr!("a byte order mark"),
        '\u{a0}' => tr!("a no-break space (U+00A0)"),
        '\u{3000}' => tr!("an ideographic space (U+3000)"),
        '\u{200b}' => tr!("a zero width space (U+200B)"),
        other => tr!("an invisible character ({code})", code = format!("U+{:04X}", u32::from(other))),
    }
}
