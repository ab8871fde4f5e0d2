//! What the target's own visudo says of sudoers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bstr::ByteSlice;
use sickbay_target::Inside;

use crate::facts::Facts;

/// Its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It takes every file.
    Takes,
    /// It refuses some, in these words.
    Refuses(Vec<String>),
    /// There is none, or it cannot be run.
    Unasked,
}

/// It reads a few files.
const DEADLINE: Duration = Duration::from_secs(10);
/// So many lines of it are kept.
const LINES: usize = 20;

/// Has visudo, in a sandbox on a copy of the target, check `path` and what it includes, with `lent` in the place of the target's
/// own files.
pub(crate) fn ask(facts: &Facts, path: &Path, lent: Vec<(PathBuf, Vec<u8>)>) -> Answer {
    let dirs = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let is_there =
        |dir: &str| facts.root().stat(Path::new(dir).join("visudo")).is_ok_and(|it| it.is_file() && it.size > 0);
    let Some(path) = path.to_str().filter(|_| dirs.iter().any(|dir| is_there(dir))) else { return Answer::Unasked };
    let run = Inside {
        program: "visudo".to_owned(),
        arguments: ["-c", "-f", path].map(str::to_owned).to_vec(),
        lent,
        outputs: Vec::new(),
        deadline: DEADLINE,
    };
    let Ok(made) = facts.target().run_inside(&run) else { return Answer::Unasked };
    if made.output.success() {
        return Answer::Takes;
    }
    // Older ones say ">>> PATH: syntax error near line N <<<", newer ones "PATH:N:M: syntax error".
    let said = [made.output.stdout.as_slice(), made.output.stderr.as_slice()].concat();
    let lines: Vec<String> = said
        .lines()
        .filter(|line| line.contains_str("error") && line.contains_str("/"))
        .map(|line| line.trim_with(|c| c.is_whitespace() || c == '>' || c == '<').to_str_lossy().into_owned())
        .take(LINES)
        .collect();
    // It failed for another reason: a library that is missing, a loader that is broken.
    if lines.is_empty() { Answer::Unasked } else { Answer::Refuses(lines) }
}
