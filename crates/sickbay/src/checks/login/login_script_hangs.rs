//! A script between the password and the prompt that never ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::login::pam::{Call, Pam};
use crate::facts::login::profile::{EventKind, unattended};
use crate::facts::login::root_over_ssh::RootOverSsh;
use crate::facts::login::sshd::Sshd;
use crate::mend::script::take_out;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the password or key is accepted, and then nothing: no message of the day, no prompt. `ssh HOST -v` stands at
    /// "pledge: network" or "Entering interactive session".
    ///
    /// ## What it finds
    /// Endless loops, endless sleeps and programs that never end, in the scripts that run before root's shell does: those of
    /// `/etc/update-motd.d` where pam_motd runs them, `/etc/ssh/sshrc` and `~/.ssh/rc`, and programs of `pam_exec.so` in the
    /// rules of login and sshd. Only what is certain to happen counts.
    ///
    /// ## Why it matters
    /// Each of them is waited for: the login hangs, for everybody.
    ///
    /// ## What the repair does
    /// Takes the permission to execute from a script of `/etc/update-motd.d`. In the others, replaces the command with `:`, or
    /// disables the loop, and keeps the line as a comment.
    ///
    /// ## By hand
    /// ```sh
    /// chmod -x ROOT/etc/update-motd.d/NAME
    /// ```
    "login-script-hangs", Login, seed = ["L5"], proves = [], may_stop = [PamLogin, PamSshd, Profile], "a script that every login waits for never ends"
}

/// Nobody waits that long for a prompt.
const TOO_LONG: u64 = 60;

/// A script that a login waits for.
struct Script {
    path: PathBuf,
    stops: Vec<Stage>,
    /// It is passed over without the permission to execute.
    needs_x: bool,
    /// It is only run by a shell if it names one.
    needs_shebang: bool,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let mut scripts = of_pam(facts)?;
    scripts.extend(of_sshd(facts)?);
    if scripts.is_empty() {
        return Err(Skip::NotApplicable(tr!("no script stands between the password and the shell")));
    }
    for script in scripts {
        let Ok(real) = facts.root().canonical(&script.path) else { continue };
        let Ok(Some(file)) = facts.file(&real) else { continue };
        if script.needs_shebang && !is_of_shell(&file) {
            continue;
        }
        let seen = unattended(facts, &real);
        for event in &seen.events {
            let path = event.file.path.as_path();
            let Some((message, forever)) = say(&event.kind, path) else { continue };
            let finding = found.add(if forever { Severity::Critical } else { Severity::Error }, message);
            finding.at(&event.file, event.span).why(tr!("every login waits for it before the prompt"));
            if forever {
                for stage in &script.stops {
                    finding.stops(*stage);
                }
            }
            let mode = facts.root().stat(&real).map(|metadata| metadata.mode);
            if let (true, Ok(mode)) = (script.needs_x && event.file.path == real, mode) {
                let title = tr!("make {path} not executable, so that it is passed over", path);
                let before = mode & 0o7777;
                let change = Change::Mode { path: real.clone(), before, after: before & !0o111 };
                finding.repair(Risk::Safe, title, [change]);
                // One is enough.
                break;
            }
            take_out(finding, event);
        }
    }
    Ok(())
}

/// What an event is called, and whether it never ends.
fn say(kind: &EventKind, path: &Path) -> Option<(Text, bool)> {
    Some(match kind {
        EventKind::Endless => (tr!("{path} has an endless loop", path), true),
        EventKind::Serves(program) => (tr!("{path} waits for {program}, which never exits", path, program), true),
        EventKind::Sleeps(u64::MAX) => (tr!("{path} sleeps forever", path), true),
        EventKind::Sleeps(seconds) if *seconds >= TOO_LONG => {
            (tr!("{path} sleeps for {seconds} s", path, seconds), false)
        }
        _ => return None,
    })
}

/// Programs of pam_exec and, as Debian's pam_motd runs them, the scripts that make the message of the day.
fn of_pam(facts: &Facts) -> Result<Vec<Script>, Skip> {
    let pam = match facts.get::<Pam>() {
        Ok(pam) => pam,
        Err(Skip::NotApplicable(_)) => return Ok(Vec::new()),
        Err(unknown) => return Err(unknown),
    };
    let mut motd: Vec<Stage> = Vec::new();
    let mut all: Vec<Script> = Vec::new();
    for service in &pam.services {
        let stage = match service.name.as_str() {
            "login" => Stage::PamLogin,
            "sshd" => Stage::PamSshd,
            _ => continue,
        };
        for (_, entry) in service.entries() {
            let Call::Module { name, args } = &entry.call else { continue };
            let has = |word: &str| args.iter().any(|arg| arg == word);
            if name.ends_with(b"pam_motd.so") && !has("noupdate") && !motd.contains(&stage) {
                motd.push(stage);
            }
            if name.ends_with(b"pam_exec.so") {
                let program = args.iter().find(|arg| arg.starts_with(b"/")).map(|arg| arg.to_path_lossy().into_owned());
                let Some(path) = program else { continue };
                match all.iter_mut().find(|script| script.path == path) {
                    Some(known) if !known.stops.contains(&stage) => known.stops.push(stage),
                    Some(_) => {}
                    None => all.push(Script { path, stops: vec![stage], needs_x: false, needs_shebang: true }),
                }
            }
        }
    }
    let can_be_run = |path: &Path| facts.root().stat(path).is_ok_and(|it| it.is_file() && it.mode & 0o111 != 0);
    all.retain(|script| can_be_run(&script.path));
    // run-parts(8) --lsbsysinit
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let dir = Path::new("/etc/update-motd.d");
    let is_debians = facts.root().exists("/etc/debian_version").unwrap_or(false);
    if !motd.is_empty() && is_debians {
        let mut entries = facts.root().read_dir(dir).unwrap_or_default();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let paths = entries.into_iter().filter(|entry| entry.name.to_str().is_some_and(is_name));
        let paths = paths.map(|entry| dir.join(entry.name)).filter(|path| can_be_run(path)).take(100);
        all.extend(paths.map(|path| Script { path, stops: motd.clone(), needs_x: true, needs_shebang: true }));
    }
    Ok(all)
}

/// What sshd runs with /bin/sh before the shell: the user's own file, else the system's (sshd(8), SSHRC).
fn of_sshd(facts: &Facts) -> Result<Vec<Script>, Skip> {
    let sshd = match facts.get::<Sshd>() {
        Ok(sshd) => sshd,
        Err(Skip::NotApplicable(_)) => return Ok(Vec::new()),
        Err(unknown) => return Err(unknown),
    };
    let root = facts.get::<RootOverSsh>()?;
    let reader = sshd.reader();
    let own = root.home.join(".ssh/rc");
    let may_own = sshd.tree.effective(&reader, &root.connection()).value("PermitUserRC", "yes") != "no";
    let is_there = |path: &Path| facts.root().stat(path).is_ok_and(|metadata| metadata.is_file());
    let path = if may_own && is_there(&own) { own } else { PathBuf::from("/etc/ssh/sshrc") };
    let script = Script { path, stops: vec![Stage::Profile], needs_x: false, needs_shebang: false };
    Ok(is_there(&script.path).then_some(script).into_iter().collect())
}

/// Whether its first line names a shell.
fn is_of_shell(file: &Arc<SourceFile>) -> bool {
    let Some(line) = file.bytes.lines().next().and_then(|line| line.strip_prefix(b"#!")) else { return false };
    let mut words =
        line.to_str().unwrap_or_default().split_ascii_whitespace().filter_map(|word| word.rsplit('/').next());
    let name = words.next().map(|name| if name == "env" { words.next().unwrap_or_default() } else { name });
    name.is_some_and(|name| ["sh", "bash", "dash", "ksh", "ash"].contains(&name))
}
