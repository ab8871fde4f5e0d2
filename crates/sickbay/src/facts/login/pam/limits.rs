//! pam_limits(8): a limit that the kernel refuses ends the session before it begins.
//!
//! A limit that is too small for any shell ends it as soon as it has begun.
//!
//! Refused is the number of open files: nobody, not even root, may have more than `fs.nr_open` (kernel/sys.c, `do_prlimit`), and
//! the module then answers with PERM_DENIED (modules/pam_limits/pam_limits.c, `setup_limits`). `maxlogins` and
//! `maxsyslogins` are passed over for uid 0 there, and the kernel passes over root's `nproc` (kernel/fork.c).

use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::limits_conf;
use sickbay_formats::pam::code;
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::facts::limits::files::{self, NR_OPEN, is_debian, nr_open};
use crate::facts::login::pam::modules::{Answer, Because, Question};
use crate::facts::login::pam::path::Modules;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// What it answers when a session begins.
pub fn limits(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let passes = Answer::any(&[code::SUCCESS, code::IGNORE]);
    let files = match question.value("conf") {
        Some(path) => facts.file(path)?.into_iter().collect(),
        None => files::read(facts)?,
    };
    let debian = is_debian(facts)?;
    for (item, least) in LEAST {
        if let Some((file, span, Some(value))) = set(&files, question, item, true, debian)
            && value < least
        {
            return Ok(Answer::because(code::PERM_DENIED, Because::Starves(file, span)));
        }
    }
    // Debian's goes on when the kernel refuses (EPERM_NOT_FATAL among its patches).
    if debian {
        return Ok(passes);
    }
    let Some((file, span, wanted)) = set(&files, question, "nofile", false, debian) else { return Ok(passes) };
    let is_refused = match wanted {
        Some(number) if number <= NR_OPEN => false,
        Some(number) => nr_open(facts)?.is_some_and(|most| number > most),
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

/// The line that sets this limit, the hard one unless it may be `either`, and the limit as it is written.
fn set(files: &[Arc<SourceFile>], question: &Question<'_>, item: &str, either: bool, debian: bool) -> Option<Set> {
    let user = question.attempt.user;
    let mut chosen = None;
    let mut nearest = usize::MAX;
    for file in files {
        for line in limits_conf::parse(&file.bytes) {
            let Ok(entry) = line.says else { continue };
            let Some(distance) = entry.distance(user.account(), debian) else { continue };
            // No limits at all.
            if entry.lifts_all() {
                return None;
            }
            // Of two lines the nearer counts, of equals the later.
            if distance <= nearest && entry.item == item && (either || entry.is_hard()) {
                nearest = distance;
                let limit =
                    entry.value.filter(|_| !entry.unlimited).map(|value| u64::try_from(value).unwrap_or(u64::MAX));
                chosen = Some((Arc::clone(file), line.span, limit));
            }
        }
    }
    chosen
}

fn module_has(facts: &Facts, name: &str, text: &[u8]) -> Result<bool, Skip> {
    let dirs = &facts.get::<Modules>()?.dirs;
    let modules = dirs.iter().filter_map(|dir| facts.root().read(dir.join(name)).ok());
    Ok(modules.into_iter().any(|module| module.contains_str(text)))
}
