//! /etc/default/grub cannot be read by the shell that makes the boot configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines;
use sickbay_formats::shell::{self, ErrorKind, Node, Script, Simple};
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "/etc/default/grub: 12: Syntax error: Unterminated quoted string" or "GRUB_TIMEOUT: not found" when a kernel
    /// is installed, and a kernel package that stays half configured.
    ///
    /// ## What it finds
    /// An unclosed quote or another syntax error in `/etc/default/grub` or `/etc/default/grub.d/*.cfg`, blanks around an `=`,
    /// and lines that run a command that does not exist.
    ///
    /// ## Why it matters
    /// Today's configuration still boots. `grub-mkconfig` (`update-grub`) reads these files with the shell and stops at the
    /// error: the next kernel gets no entry, and its package's installation fails.
    ///
    /// ## What the repair does
    /// Closes the quote at the end of its line, puts quotes around a value of several words, removes the blanks around `=`, or
    /// comments out the command.
    ///
    /// ## By hand
    /// ```sh
    /// # names the line
    /// sh -n ROOT/etc/default/grub
    /// ```
    "grub-defaults-invalid", Boot, seed = [], proves = [], "GRUB's defaults cannot be read"
}

const MAIN: &str = "/etc/default/grub";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let mut paths = vec![PathBuf::from(MAIN)];
    let dir = Path::new("/etc/default/grub.d");
    let names = facts.root().read_dir(dir).unwrap_or_default().into_iter().map(|entry| dir.join(entry.name));
    paths.extend(names.filter(|path| path.extension().is_some_and(|extension| extension == "cfg")).take(100));
    let mut some = false;
    for path in paths {
        // A link as RHEL's /etc/sysconfig/grub is leads here.
        let Ok(real) = facts.root().canonical(&path) else { continue };
        let Some(file) = facts.file(&real)? else { continue };
        some = true;
        judge(facts, found, &file);
    }
    if some { Ok(()) } else { Err(Skip::NotApplicable(tr!("{path} does not exist", path = Path::new(MAIN)))) }
}

fn judge(facts: &Facts, found: &mut Findings, file: &Arc<SourceFile>) {
    let path = file.path.as_path();
    let script = shell::parse(&file.bytes);
    let why = || tr!("grub-mkconfig stops there: the next kernel gets no boot entry, and installing it fails");
    if let Some(error) = &script.error {
        let message = match &error.kind {
            ErrorKind::Open(sign) => tr!("{path} has an unclosed {sign}", path, sign),
            ErrorKind::Without(word) => tr!("{path} has a command without its {word}", path, word),
            ErrorKind::Unexpected(word) if word.is_empty() => tr!("{path} ends in the middle of a command", path),
            ErrorKind::Unexpected(word) => tr!("{path} has a misplaced {word}", path, word),
        };
        let finding = found.warning(message);
        finding.at(file, whole(file, error.line)).why(why());
        match closed(facts, file, error) {
            Some((line, text)) => {
                finding.repair(Risk::Safe, tr!("close it at the end of line {line}", line), [Change::edit(file, text)]);
            }
            None => {
                finding.by_hand(tr!("correct the line; sh -n {path} names it", path));
            }
        }
        return;
    }
    for command in commands(&script).filter(|command| is_unknown(facts, command)) {
        let word = command.words.first().map(|word| word.text.clone()).unwrap_or_default();
        let line = command.span.line;
        let apart = without_blanks(&file.bytes, command);
        let message = if apart.is_some() {
            tr!("{path} has blanks around the = of {word}, which make it a command", path, word)
        } else {
            tr!("{path} runs {word}, a command that does not exist", path, word)
        };
        let finding = found.warning(message);
        finding.at(file, command.span).why(why());
        match apart {
            Some(text) => {
                finding.repair(
                    Risk::Safe,
                    tr!("remove the blanks around = in line {line}", line),
                    [Change::edit(file, text)],
                );
            }
            None if command.one_line && command.assignments.is_empty() => {
                let text = shell::without(&file.bytes, command.span);
                finding.repair(
                    Risk::Safe,
                    tr!("comment out the command at line {line}", line),
                    [Change::edit(file, text)],
                );
            }
            None => match quoted(&file.bytes, command) {
                Some(text) => {
                    let title = tr!("put quotes around the whole value in line {line}", line);
                    finding.repair(Risk::Safe, title, [Change::edit(file, text)]);
                }
                None => {
                    finding.by_hand(tr!("put quotes around the whole value in line {line}", line));
                }
            },
        }
    }
}

/// `GRUB_X=one two` with quotes around both words.
fn quoted(text: &[u8], command: &Simple) -> Option<Vec<u8>> {
    let (name, _) = command.assignments.first().filter(|_| command.one_line && command.assignments.len() == 1)?;
    if !name.starts_with(b"GRUB_") {
        return None;
    }
    let new = lines::with_line(text, command.span.line, |line| {
        let (before, value) = line.split_once_str("=")?;
        let is_plain = !value.iter().any(|byte| b"\"'`$\\;&|#<>()".contains(byte));
        Some(if is_plain { [before, b"=\"", value.trim_ascii(), b"\""].concat() } else { line.to_vec() })
    });
    (new != text).then_some(new)
}

fn whole(file: &SourceFile, number: usize) -> Span {
    lines::lines(&file.bytes).nth(number.saturating_sub(1)).map(|line| line.whole()).unwrap_or_default()
}

/// The text with the quote closed at the end of the line on which it begins, or the last one before it that has an odd
/// number of them; only where all is well then.
fn closed(facts: &Facts, file: &SourceFile, error: &shell::SyntaxError) -> Option<(usize, Vec<u8>)> {
    let ErrorKind::Open(sign) = &error.kind else { return None };
    let sign = sign.as_bytes().first().copied().filter(|sign| matches!(sign, b'"' | b'\''))?;
    let all: Vec<lines::Line<'_>> = lines::lines(&file.bytes).take(error.line).collect();
    let odd = all.iter().find(|line| {
        !line.text.trim_ascii_start().starts_with(b"#")
            && line.text.iter().filter(|byte| **byte == sign).count() % 2 == 1
    })?;
    let text = lines::with_line(&file.bytes, odd.number, |line| Some([line.trim_ascii_end(), &[sign]].concat()));
    let script = shell::parse(&text);
    let is_well = script.error.is_none() && !commands(&script).any(|command| is_unknown(facts, command));
    is_well.then_some((odd.number, text))
}

/// The commands that are run for sure, or may be.
fn commands(script: &Script) -> impl Iterator<Item = &Simple> {
    // What depends on a condition may be meant for another machine.
    script.nodes.iter().filter_map(|node| match node {
        Node::Simple(command) if !command.words.is_empty() => Some(command),
        _ => None,
    })
}

fn is_unknown(facts: &Facts, command: &Simple) -> bool {
    const BUILTIN: [&[u8]; 22] = [
        b".",
        b":",
        b"source",
        b"export",
        b"unset",
        b"set",
        b"readonly",
        b"eval",
        b"echo",
        b"printf",
        b"test",
        b"[",
        b"[[",
        b"true",
        b"false",
        b"umask",
        b"cd",
        b"local",
        b"declare",
        b"typeset",
        b"shopt",
        b"return",
    ];
    let Some(word) = command.words.first() else { return false };
    if word.expands || word.globs || BUILTIN.contains(&word.text.as_slice()) || word.text.is_empty() {
        return false;
    }
    let name = word.text.to_path_lossy();
    let dirs = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
    if name.components().count() > 1 {
        return facts.root().exists(&name).is_ok_and(|there| !there);
    }
    dirs.iter().all(|dir| facts.root().exists(Path::new(dir).join(&name)).is_ok_and(|there| !there))
}

/// `NAME = value` as it was meant.
fn without_blanks(text: &[u8], command: &Simple) -> Option<Vec<u8>> {
    let name = command.word(0).strip_suffix(b"=").unwrap_or(command.word(0));
    let is_name = name.starts_with(b"GRUB_")
        && name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
    let after = command.word(1);
    if !is_name || !command.one_line || !(command.word(0).ends_with(b"=") || after.starts_with(b"=")) {
        return None;
    }
    let new = lines::with_line(text, command.span.line, |line| {
        let at = line.find_byte(b'=')?;
        let (before, rest) = (line.get(..at)?.trim_ascii_end(), line.get(at + 1..)?.trim_ascii_start());
        Some([before, b"=", rest].concat())
    });
    shell::parse(&new).error.is_none().then_some(new)
}
