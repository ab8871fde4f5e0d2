//! rc.local does not come to its end, and the login prompt waits for it.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::shell;

use crate::facts::Facts;
use crate::facts::login::profile::{EventKind, unattended};
use crate::facts::system::release::{Init, System};
use crate::facts::system::units::{State, Units, unit};
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
    /// You see: "A start job is running for /etc/rc.local Compatibility (… / no limit)" and no login prompt on the
    /// console, while ssh may work.
    ///
    /// ## What it finds
    /// An `/etc/rc.local` (`/etc/rc.d/rc.local`, SUSE's `boot.local`) that runs at every boot and does not finish: an
    /// endless loop, `sleep infinity` or a sleep of an hour or more, a program that stays in the foreground (`tail -f`,
    /// `sshd -D`, `nginx -g 'daemon off;'`), `reboot`. Only what is certain to happen counts: anything behind a
    /// condition that cannot be evaluated, in a function or in the background is not a finding, nor is `read`, which
    /// has no input there.
    ///
    /// ## Why it matters
    /// systemd considers the script started only when it ends, and waits for that without a limit (`Type=forking`,
    /// `TimeoutSec=infinity`). The consoles' gettys start after it, so no console ever shows a login prompt; sshd does
    /// not wait for it. SysV init and Upstart start no getty before the runlevel's scripts are done.
    ///
    /// ## What the repair does
    /// Appends `&` to a program that stays in the foreground; replaces another command with `:`, which does nothing, or
    /// disables the loop with a condition.
    ///
    /// ## By hand
    /// ```sh
    /// # log in over ssh, or boot once with systemd.mask=rc-local.service on the kernel command line; then correct the script
    /// vi ROOT/etc/rc.local
    /// ```
    "rc-local-hangs", Boot, seed = ["B11"], proves = [], may_stop = [Services], "rc.local never finishes"
}

/// Nobody waits that long for a login prompt.
const TOO_LONG: u64 = 3600;
const UNIT: &str = "rc-local.service";

/// How the script is run.
struct Started {
    script: PathBuf,
    /// It is waited for until it ends.
    waits: bool,
    /// The gettys are.
    consoles_wait: bool,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let started = match facts.get::<System>()?.init {
        Init::Systemd => by_systemd(facts)?,
        Init::SysV | Init::Upstart => by_scripts(facts),
        Init::Other | Init::None => None,
    };
    let none = || Skip::NotApplicable(tr!("no rc.local is run at boot"));
    let started = started.ok_or_else(none)?;
    let file = facts.required(facts.root().canonical(&started.script)?)?;
    if !is_of_shell(&file, facts.get::<System>()?.init != Init::Systemd) {
        return Err(Skip::NotApplicable(tr!("{path} is not a shell script", path = started.script.as_path())));
    }
    let script = unattended(facts, &file.path);
    if let Some(why) = script.untold {
        found.could_not_tell(why);
    }
    for event in &script.events {
        let path = event.file.path.as_path();
        let Some(message) = say(&event.kind, path) else { continue };
        let goes_down = event.kind == EventKind::Down;
        if !goes_down && !started.waits {
            continue;
        }
        let stops = goes_down || started.consoles_wait;
        let finding = found.add(if stops { Severity::Critical } else { Severity::Error }, message);
        finding.at(&event.file, event.span).why(match (goes_down, started.consoles_wait) {
            (true, _) => tr!("every boot ends here"),
            (false, true) => tr!("no console shows a login prompt before it ends; sshd does not wait for it"),
            (false, false) => tr!("the boot never completes: whatever comes after multi-user.target is not started"),
        });
        if stops {
            finding.stops(Stage::Services);
        }
        let line = event.span.line;
        let behind =
            matches!(event.kind, EventKind::Serves(_)).then(|| shell::in_background(&event.file.bytes, event.span));
        if let (Some(text), true) = (behind.flatten(), event.one_line) {
            let title = tr!("run the command at line {line} in the background", line);
            finding.repair(Risk::Safe, title, [Change::edit(&event.file, text)]);
        } else {
            take_out(finding, event);
        }
    }
    Ok(())
}

fn say(kind: &EventKind, path: &Path) -> Option<Text> {
    Some(match kind {
        EventKind::Endless => tr!("{path} has an endless loop", path),
        EventKind::Serves(program) => tr!("{path} waits for {program}, which never exits", path, program),
        EventKind::Sleeps(u64::MAX) => tr!("{path} sleeps forever", path),
        EventKind::Sleeps(seconds) if *seconds >= TOO_LONG => tr!("{path} sleeps for {seconds} s", path, seconds),
        EventKind::Down => tr!("{path} shuts the machine down", path),
        _ => return None,
    })
}

/// rc-local.service, which a generator adds to every start if its script can be run.
fn by_systemd(facts: &Facts) -> Result<Option<Started>, Skip> {
    let service = unit(facts, UNIT)?;
    if service.state != State::Loaded {
        return Ok(None);
    }
    let Some((_, command)) = service.last("Service", "ExecStart") else { return Ok(None) };
    let script = command.value.to_str().ok().and_then(|value| value.split_ascii_whitespace().next()).map(PathBuf::from);
    let can_be_run =
        |path: &PathBuf| facts.root().stat(path).is_ok_and(|found| found.is_file() && found.mode & 0o111 != 0);
    let Some(script) = script.filter(can_be_run) else { return Ok(None) };
    let value = |key: &str| service.last("Service", key).map(|(_, setting)| setting.value.to_str_lossy().into_owned());
    let is_forking = value("Type").as_deref() == Some("forking");
    let limit = value("TimeoutStartSec").or_else(|| value("TimeoutSec"));
    let waits = is_forking && limit.is_some_and(|limit| limit == "0" || limit == "infinity");
    let units = facts.get::<Units>()?;
    let is_getty =
        |name: &str| ["getty@", "serial-getty@", "console-getty."].iter().any(|start| name.starts_with(start));
    let mut gettys = units.all.iter().filter(|(name, unit)| is_getty(name) && unit.state == State::Loaded);
    let consoles_wait = waits && gettys.any(|(_, unit)| unit.list("Unit", "After").iter().any(|other| other == UNIT));
    Ok(Some(Started { script, waits, consoles_wait }))
}

/// A link in the directory of a runlevel that people log in on.
fn by_scripts(facts: &Facts) -> Option<Started> {
    let root = facts.root();
    let dirs = (2..=5).flat_map(|level| [format!("/etc/rc{level}.d"), format!("/etc/rc.d/rc{level}.d")]);
    let is_link = |name: &str| name.starts_with('S') && ["rc.local", "local"].iter().any(|end| name.ends_with(end));
    let is_run = dirs.into_iter().any(|dir| {
        let names = root.read_dir(dir).unwrap_or_default();
        names.iter().any(|entry| entry.name.to_str().is_some_and(is_link))
    });
    let can_be_run = |path: &&str| root.stat(path).is_ok_and(|found| found.is_file() && found.mode & 0o111 != 0);
    let script = ["/etc/rc.d/rc.local", "/etc/rc.local"].into_iter().find(can_be_run).filter(|_| is_run)?;
    Some(Started { script: script.into(), waits: true, consoles_wait: true })
}

/// Whether its first line names a shell; scripts of System V need none.
fn is_of_shell(file: &SourceFile, or_nothing: bool) -> bool {
    let Some(line) = file.bytes.lines().next().and_then(|line| line.strip_prefix(b"#!")) else { return or_nothing };
    let mut words =
        line.to_str().unwrap_or_default().split_ascii_whitespace().filter_map(|word| word.rsplit('/').next());
    let name = words.next().map(|name| if name == "env" { words.next().unwrap_or_default() } else { name });
    name.is_some_and(|name| ["sh", "bash", "dash", "ksh", "ash"].contains(&name))
}
