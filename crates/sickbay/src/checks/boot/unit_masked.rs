//! A unit without which nobody can log in cannot be started.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines::with_comment;
use sickbay_formats::span::Span;
use sickbay_formats::unit_file::Setting;

use crate::facts::Facts;
use crate::facts::boot::boot_config::BootConfig;
use crate::facts::packages::Packages;
use crate::facts::packages::programs::has_kernel;
use crate::facts::system::units::{ESSENTIAL, SSH, State, Unit, Units, masks, template, unit, unit as unit_of};
use crate::mend::restore::restore;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Unit … is masked", "Failed to start … not found", or a boot that ends without a login prompt, or with
    /// ssh refusing connections.
    ///
    /// ## What it finds
    /// Units needed for a login prompt that are masked (a link to `/dev/null`, or an empty file), missing, left without
    /// a command by a drop-in, whose command is a program that does not exist, that a line in `/etc` makes require a unit that does not exist, or that read their environment from a
    /// file that does not exist (`EnvironmentFile=` without a `-`): the boot targets, udev, the journal, D-Bus, logind,
    /// the consoles' getty where none is left, and sshd. Containers mask some of these on purpose and are not judged.
    ///
    /// ## Why it matters
    /// Whatever needs a masked unit is not started either: with `local-fs.target` or `basic.target` masked, nothing is;
    /// with `getty@.service` masked, no console shows a login prompt; with `systemd-user-sessions.service` masked, only
    /// root can log in.
    ///
    /// ## What the repair does
    /// Removes the mask, as `systemctl unmask` does; comments out the `ExecStart=` of drop-ins, so that the packaged
    /// command applies again; restores the unit or the environment file from its package or a donor, or creates an
    /// empty environment file, with which the unit starts with its defaults.
    ///
    /// ## By hand
    /// ```sh
    /// systemctl --root=ROOT unmask UNIT
    /// ```
    "unit-masked", Boot, seed = ["B13"], proves = [Services], "a unit needed for a login prompt cannot start"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let units = facts.get::<Units>()?;
    if !has_kernel(facts.root()) {
        return Err(Skip::NotApplicable(tr!("no kernel is installed: a container, which may mask whatever it likes")));
    }
    // That it leads nowhere is `default-target-missing`'s matter.
    if units.get("default.target").is_none_or(|unit| unit.state == State::Missing) {
        return Ok(());
    }
    for (name, severity) in ESSENTIAL {
        if let Some(unit) = units.get(name) {
            judge(facts, found, units.name(name), unit, severity);
        }
    }
    // One console or the other, or ssh, is enough.
    let gettys: Vec<(&String, &Unit)> = units
        .all
        .iter()
        .filter(|(name, _)| ["getty@", "serial-getty@", "console-getty."].iter().any(|start| name.starts_with(start)))
        .collect();
    let remote: Vec<&Unit> = SSH.iter().filter_map(|name| units.get(name)).collect();
    let all_shut = |units: &[&Unit]| units.iter().all(|unit| fault(facts, unit).is_some());
    // That of a serial console is started by a generator, for what the kernel's command line names.
    let config = facts.get::<BootConfig>().ok();
    let is_told = config.as_ref().is_some_and(|config| config.loaders.iter().any(|one| one.default_entry().is_some()));
    let console = config.and_then(|config| config.serial_console());
    let name = format!("serial-getty@{}.service", console.as_deref().unwrap_or("ttyS0"));
    let serial = (name.clone(), unit(facts, &name)?);
    let mut consoles: Vec<&Unit> = gettys.iter().map(|(_, unit)| *unit).collect();
    let screen_is_shut = !gettys.is_empty() && all_shut(&consoles);
    consoles.extend((console.is_some() || !is_told).then_some(&serial.1));
    if screen_is_shut && !is_told && !all_shut(&consoles) {
        found.could_not_tell(tr!(
            "no getty can start on the screen; whether a serial console is meant instead is undetermined, because no boot entry has console= on the kernel command line"
        ));
    }
    if screen_is_shut && all_shut(&consoles) {
        let severity = if all_shut(&remote) { Severity::Critical } else { Severity::Warning };
        let masked = console.is_some() && matches!(serial.1.state, State::Masked(_)) && !units.all.contains_key(&name);
        for (name, unit) in gettys.into_iter().chain(masked.then_some((&serial.0, &serial.1))) {
            judge(facts, found, name, unit, severity);
        }
    }
    for name in SSH {
        if let Some(unit) = units.all.get(name) {
            judge(facts, found, name, unit, if all_shut(&consoles) { Severity::Critical } else { Severity::Error });
        }
    }
    Ok(())
}

/// Why a unit cannot be started.
enum Fault<'a> {
    Masked(&'a Path),
    Missing,
    NoCommand(&'a Arc<SourceFile>, Span),
    NoProgram(&'a Arc<SourceFile>, Span, &'a Path),
    NoVariables(&'a Arc<SourceFile>, Span, &'a Path),
    NoProgramBefore(&'a Arc<SourceFile>, Span, &'a Path),
    NeedsMissing(&'a Arc<SourceFile>, Span, String),
}

fn fault<'a>(facts: &Facts, unit: &'a Unit) -> Option<Fault<'a>> {
    match &unit.state {
        State::Masked(path) => Some(Fault::Masked(path)),
        State::Missing => Some(Fault::Missing),
        State::Loaded => {
            if let Some(fault) = missing_need(facts, unit) {
                return Some(fault);
            }
            // An empty ExecStart= forgets the commands before it.
            let (file, setting) = unit.last("Service", "ExecStart")?;
            if setting.value.is_empty() {
                return Some(Fault::NoCommand(file, setting.span));
            }
            missing_program(facts, file, setting)
                .or_else(|| missing_program_before(facts, unit))
                .or_else(|| missing_variables(facts, unit))
        }
    }
}

/// A unit that a line in /etc requires, and that is nowhere: the one that requires it is not started either. Devices, mounts and
/// what generators make come to be at boot.
fn missing_need<'a>(facts: &Facts, unit: &'a Unit) -> Option<Fault<'a>> {
    let of_key = unit.settings.iter().filter(|(file, one)| {
        let needs = ["Requires", "BindsTo", "Requisite"].iter().any(|key| one.key == *key);
        one.section == "Unit" && needs && file.path.starts_with("/etc")
    });
    of_key.into_iter().find_map(|(file, setting)| {
        let mut names = setting.value.to_str().ok()?.split_ascii_whitespace();
        let is_gone = |name: &&str| {
            let is_file = [".service", ".socket", ".target", ".path", ".timer"].iter().any(|end| name.ends_with(end));
            let is_made = name.starts_with("systemd-") && name.contains('@');
            is_file
                && !is_made
                && !name.contains('%')
                && unit_of(facts, name).is_ok_and(|unit| unit.state == State::Missing)
        };
        let name = names.find(is_gone)?;
        Some(Fault::NeedsMissing(file, setting.span, name.to_owned()))
    })
}

/// The program of the last command, when it is not there. Programs that the packaged command of a getty or of sshd names are for
/// `login-program-broken`.
fn missing_program<'a>(facts: &Facts, file: &'a Arc<SourceFile>, setting: &'a Setting) -> Option<Fault<'a>> {
    let first = setting.value.split_str(" ").next()?.trim_start_with(|one| "@-:+!|".contains(one));
    let path = Path::new(first.to_str().ok()?);
    let is_plain = path.is_absolute() && !first.iter().any(|byte| b"%$\\\"'".contains(byte));
    // What is not on the system's own directories may be on a disk that is not mounted now.
    let is_lasting = ["/usr", "/bin", "/sbin", "/etc", "/lib"].iter().any(|dir| path.starts_with(dir));
    let is_gone = || facts.root().exists(path).is_ok_and(|there| !there);
    let of_login = ["/sshd", "/agetty", "/login"].iter().any(|end| first.ends_with(end.as_bytes()));
    let is_local = file.path.starts_with("/etc");
    // Small systems leave away what a unit of theirs would start.
    let is_packaged = || facts.get::<Packages>().is_ok_and(|packages| packages.file(path).is_some());
    (is_plain && is_lasting && is_gone() && (is_local || !of_login && is_packaged())).then_some(Fault::NoProgram(
        file,
        setting.span,
        path,
    ))
}

/// A program that a line in /etc has run before the unit's own, and that is not there: systemd gives up then, unless a `-` stands
/// before it.
fn missing_program_before<'a>(facts: &Facts, unit: &'a Unit) -> Option<Fault<'a>> {
    let of_key = unit.settings.iter().filter(|(_, one)| one.section == "Service" && one.key == "ExecStartPre");
    let all: Vec<_> = of_key.collect();
    // An empty one forgets those before it.
    let forgotten = all.iter().rposition(|(_, setting)| setting.value.is_empty()).map_or(0, |at| at + 1);
    let of_etc = all.into_iter().skip(forgotten).filter(|(file, _)| file.path.starts_with("/etc"));
    of_etc.into_iter().find_map(|(file, setting)| {
        let word = setting.value.split_str(" ").next()?;
        let signs = word.iter().take_while(|byte| b"@-:+!|".contains(byte)).count();
        if word.get(..signs)?.contains(&b'-') {
            return None;
        }
        match missing_program(facts, file, setting)? {
            Fault::NoProgram(file, span, path) => Some(Fault::NoProgramBefore(file, span, path)),
            other => Some(other),
        }
    })
}

/// The first file with variables that must be there and is not. What is elsewhere than these directories may come to be
/// while the system starts.
fn missing_variables<'a>(facts: &Facts, unit: &'a Unit) -> Option<Fault<'a>> {
    let of_key = unit.settings.iter().filter(|(_, one)| one.section == "Service" && one.key == "EnvironmentFile");
    let all: Vec<_> = of_key.collect();
    // An empty one forgets those before it.
    let forgotten = all.iter().rposition(|(_, setting)| setting.value.is_empty()).map_or(0, |at| at + 1);
    all.into_iter().skip(forgotten).find_map(|(file, setting)| {
        let path = Path::new(setting.value.to_str().ok()?);
        let is_plain = !setting.value.iter().any(|byte| b"*?[%\\\"'".contains(byte));
        let is_lasting = ["/etc", "/usr"].iter().any(|dir| path.starts_with(dir));
        let is_gone = || facts.root().exists(path).is_ok_and(|there| !there);
        (is_plain && is_lasting && is_gone()).then_some(Fault::NoVariables(file, setting.span, path))
    })
}

fn judge(facts: &Facts, found: &mut Findings, name: &str, unit: &Unit, severity: Severity) {
    let Some(fault) = fault(facts, unit) else { return };
    let finding = match &fault {
        Fault::Masked(path) => found.add(severity, tr!("{unit} is masked", unit = name)).at_path(path),
        Fault::Missing => found
            .add(severity, tr!("{unit}, which should be started, does not exist", unit = name))
            .at_path(packaged(facts, name))
            .explains(packaged(facts, name)),
        Fault::NoCommand(file, span) => found
            .add(severity, tr!("{unit} has no command left: its last ExecStart= is empty", unit = name))
            .at(file, *span),
        Fault::NoProgram(file, span, path) => {
            // The directory may be a link, and packages know the file by another path.
            let real = path.parent().and_then(|dir| Some(facts.root().canonical(dir).ok()?.join(path.file_name()?)));
            let real = real.as_deref().unwrap_or(path);
            let finding = found
                .add(severity, tr!("{unit} is to run {path}, which does not exist", unit = name, path))
                .at(file, *span)
                .about(*path)
                .about(real)
                .explains(real);
            // systemd-udevd is a link to /bin/udevadm: what is missing is where it leads.
            if let Some((link, dir)) = facts.root().read_link(real).ok().zip(real.parent()) {
                finding.about(dir.join(link));
            }
            finding
        }
        Fault::NoVariables(file, span, path) => found
            .add(severity, tr!("{unit} reads its environment from {path}, which does not exist", unit = name, path))
            .at(file, *span)
            .about(*path),
        Fault::NoProgramBefore(file, span, path) => found
            .add(severity, tr!("{unit} runs {path} before it starts, which does not exist", unit = name, path = *path))
            .at(file, *span)
            .about(*path),
        Fault::NeedsMissing(file, span, other) => found
            .add(severity, tr!("{unit} requires {other}, which does not exist", unit = name, other = other.as_str()))
            .at(file, *span),
    };
    finding.subject(Subject::Unit(name.to_owned()));
    finding.detail("unit", name).why(match severity {
        Severity::Critical => tr!("the boot never reaches a login prompt"),
        Severity::Warning => tr!("no console shows a login prompt: ssh is the only way in"),
        _ => tr!("whatever needs it does not start: logins fail or wait for it"),
    });
    if severity == Severity::Critical {
        finding.stops(Stage::Services);
    }
    match fault {
        Fault::Masked(path) if facts.root().metadata(path).is_ok_and(|metadata| !metadata.is_dir()) => {
            // An instance is masked as long as its template is: all masks go, or none.
            let masks = masks(facts, name).unwrap_or_default();
            // An empty file that a package has put there is not removed; only what was put into /etc is.
            if masks.iter().all(|mask| mask.starts_with("/etc")) && path.starts_with("/etc") {
                let title = match masks.as_slice() {
                    [] | [_] => tr!("remove the mask {path}", path),
                    several => {
                        let paths: Vec<String> = several.iter().map(|mask| mask.display().to_string()).collect();
                        tr!("remove the masks {paths}", paths = paths.join(", "))
                    }
                };
                finding.repair(Risk::Safe, title, masks.into_iter().map(|path| Change::Remove { path }));
            } else {
                finding.by_hand(tr!("reinstall the package that provides {path}", path));
            }
        }
        Fault::NoCommand(file, span) | Fault::NeedsMissing(file, span, _) | Fault::NoProgramBefore(file, span, _) => {
            let title = tr!("comment out line {line} of {path}", line = span.line, path = file.path.as_path());
            finding.repair(Risk::Safe, title, [Change::edit(file, with_comment(&file.bytes, span.line))]);
        }
        Fault::NoProgram(file, _, path) => {
            if let Some(restoration) = restore(facts, path) {
                finding.repair(restoration.risk, restoration.title, restoration.changes);
            }
            if let Some((title, changes)) = without_own_commands(file, unit) {
                finding.repair(Risk::Safe, title, changes);
            } else {
                finding.by_hand(tr!("install {path}, or correct the line", path));
            }
        }
        Fault::Missing => {
            if let Some(restoration) = restore(facts, packaged(facts, name)) {
                finding.repair(restoration.risk, restoration.title, restoration.changes);
            } else {
                finding.by_hand(tr!("reinstall the package that provides {unit}", unit = name));
            }
        }
        Fault::NoVariables(_, _, path) => {
            if let Some(restoration) = restore(facts, path) {
                finding.repair(restoration.risk, restoration.title, restoration.changes);
            }
            let dir = path.parent().filter(|dir| facts.root().metadata(dir).is_err());
            let changes =
                dir.map(|dir| Change::make_dir(dir, 0o755)).into_iter().chain([Change::create(path, "", 0o644)]);
            finding.repair(Risk::Safe, tr!("create {path} with no variables in it", path), changes);
        }
        Fault::Masked(_) => {
            finding.by_hand(tr!("reinstall the package that provides {unit}", unit = name));
        }
    }
}

/// Where a package puts a unit, or the template of an instance.
fn packaged(facts: &Facts, name: &str) -> PathBuf {
    let dir = ["/usr/lib/systemd/system", "/lib/systemd/system"]
        .into_iter()
        .find(|dir| facts.root().exists(dir).is_ok_and(|there| there));
    Path::new(dir.unwrap_or("/usr/lib/systemd/system")).join(template(name).as_deref().unwrap_or(name))
}

/// Comments for every command of the drop-in, when the unit has one besides.
fn without_own_commands(file: &Arc<SourceFile>, unit: &Unit) -> Option<(Text, Vec<Change>)> {
    let commands = unit.settings.iter().filter(|(_, one)| one.section == "Service" && one.key == "ExecStart");
    let (own, others): (Vec<_>, Vec<_>) = commands.partition(|(place, _)| place.path == file.path);
    let is_drop_in = file.path.parent().is_some_and(|dir| dir.extension().is_some_and(|extension| extension == "d"));
    let remains = others.last().is_some_and(|(_, setting)| !setting.value.is_empty());
    (is_drop_in && remains).then(|| {
        let lines: Vec<usize> = own.iter().map(|(_, setting)| setting.span.line).collect();
        let text = lines.iter().fold(file.bytes.to_vec(), |text, line| with_comment(&text, *line));
        let title = tr!("comment out the commands of {path}", path = file.path.as_path());
        (title, vec![Change::edit(file, text)])
    })
}
