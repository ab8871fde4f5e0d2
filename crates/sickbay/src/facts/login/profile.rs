//! What root's shell does when root logs in: the files that it reads, followed as far as can be told without running them;
//! and what the last script of the boot does.
//!
//! Conditions are yes, no or not known. What depends on one that is not known is followed too, but nothing in it is taken
//! for sure, so that guards of every kind keep a finding away.

mod condition;
mod length;
mod values;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_formats::shell::{Simple, SyntaxError};
use sickbay_formats::span::Span;

use crate::facts::login::root_over_ssh::RootOverSsh;
use crate::facts::packages::programs::root_shell;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// What a login of root comes by.
#[derive(Debug)]
pub struct Profile {
    /// The shell.
    pub shell: Shell,
    /// What happens for sure, in order.
    pub events: Vec<Event>,
    /// Files that could not be read or followed.
    pub untold: Option<Text>,
}

/// Kinds of shells, by the files that they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash
    Bash,
    /// dash, busybox ash and what else is called sh.
    Sh,
    /// zsh, whose grammar is not ours: syntax errors are not told.
    Zsh,
}

/// Something that a login comes by.
#[derive(Clone, Debug)]
pub struct Event {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Where in it.
    pub span: Span,
    /// Whether the command can be taken out by its span.
    pub one_line: bool,
    /// For a loop, the condition with which it is not entered, and where that belongs.
    pub passed: Option<(Span, &'static str)>,
    /// What it is.
    pub kind: EventKind,
}

/// Kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The file is read again while it is being read; the files in between.
    Loop(Vec<PathBuf>),
    /// The shell starts itself again, and the new one reads the same files.
    Shells,
    /// A loop without an end.
    Endless,
    /// The shell ends.
    Ends,
    /// The shell gives its place to a program that is not there.
    ExecGone(PathBuf),
    /// The machine goes down.
    Down,
    /// It waits for somebody to type.
    Waits,
    /// It waits for a program that never ends of itself.
    Serves(String),
    /// It waits so many seconds.
    Sleeps(u64),
    /// From here on the first command that fails ends the shell.
    ErrorsEnd,
    /// The shell ends after so many seconds without input.
    TimesOut(u64),
    /// PATH leads to none of the usual directories from here on.
    PathLost(String),
    /// A variable for programs is so long that none can be started: its name, and how long it is at least.
    TooLong(String, usize),
    /// The shell reads no further in this file.
    Syntax(SyntaxError),
}

impl Fact for Profile {
    fn gather(facts: &Facts) -> Result<Profile, Skip> {
        let shell = root_shell(facts)?.ok_or_else(|| Skip::NotApplicable(tr!("root has no shell")))?;
        let name = shell.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let real = facts.root().canonical(&shell).unwrap_or_default();
        let real = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = match name.as_str() {
            "bash" | "rbash" => Shell::Bash,
            // bash that is called sh reads as sh does.
            "sh" | "dash" | "ash" | "ksh" | "mksh" => Shell::Sh,
            "zsh" => Shell::Zsh,
            _ => return Err(Skip::NotApplicable(tr!("what {shell} reads is unknown", shell = shell.as_path()))),
        };
        let home = facts.get::<RootOverSsh>()?.home.clone();
        let mut walk = walk::Walk::new(facts, kind, real, home.clone());
        let own = |names: &[&str]| names.iter().map(|name| home.join(name)).collect::<Vec<PathBuf>>();
        let there = |path: &PathBuf| facts.root().metadata(path).is_ok();
        match kind {
            Shell::Bash => {
                walk.start("/etc/profile".into());
                // The first one that is there, and only that.
                if let Some(path) = own(&[".bash_profile", ".bash_login", ".profile"]).into_iter().find(there) {
                    walk.start(path);
                }
            }
            Shell::Sh => {
                walk.start("/etc/profile".into());
                walk.start(home.join(".profile"));
            }
            Shell::Zsh => {
                for name in ["zshenv", "zprofile", "zshrc", "zlogin"] {
                    walk.start(format!("/etc/zsh/{name}").into());
                    walk.start(format!("/etc/{name}").into());
                    walk.start(home.join(format!(".{name}")));
                }
            }
        }
        Ok(walk.finish())
    }
}

/// What a script of the system comes by, that nobody waits for at a terminal.
pub fn unattended(facts: &Facts, path: &Path) -> Profile {
    let mut walk = walk::Walk::unattended(facts);
    walk.start(path.to_owned());
    walk.finish()
}

/// What an event needs of a command.
fn event(file: &Arc<SourceFile>, command: &Simple, kind: EventKind) -> Event {
    Event { file: Arc::clone(file), span: command.span, one_line: command.one_line, passed: None, kind }
}
