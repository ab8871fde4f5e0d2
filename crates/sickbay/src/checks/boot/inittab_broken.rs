//! System V init's table starts no system, or no terminal.

use bstr::ByteSlice;
use sickbay_formats::{inittab, lines};

use crate::facts::Facts;
use crate::facts::boot::boot_config::BootConfig;
use crate::facts::system::release::{Init, System};
use crate::mend::restore::restore;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Enter runlevel:" or "INIT: No inittab file found", a machine that halts or reboots as soon as it has
    /// booted, or a boot that ends without a login prompt.
    ///
    /// ## What it finds
    /// On a system with SysV init: an `/etc/inittab` without any entries, with runlevel 0 or 6 as the default, with no
    /// getty in the default runlevel, without `sysinit`, or with a script that does not exist; and a directory of start
    /// links (`/etc/rcS.d`, `/etc/rc2.d`) that is gone or empty.
    ///
    /// ## Why it matters
    /// init starts what this file lists and nothing else. Without entries it asks for a runlevel on the console and
    /// starts a bare shell at best; with runlevel 0 or 6 the machine halts or reboots as soon as it has booted; without
    /// a getty no terminal shows a login prompt.
    ///
    /// ## What the repair does
    /// Restores the file from a donor or a package, or from the template in `/usr/share/sysvinit` that Debian's package
    /// builds it from, with a getty on the serial console where the kernel uses one; sets the runlevel of full
    /// multi-user mode; adds a getty for tty1, or the `sysinit` line; restores scripts from a package or the donor, and
    /// links from the donor.
    ///
    /// ## By hand
    /// ```sh
    /// # a getty in ROOT/etc/inittab
    /// echo '1:2345:respawn:/sbin/getty 38400 tty1' >> ROOT/etc/inittab
    /// ```
    "inittab-broken", Boot, seed = ["B13"], proves = [Services], "inittab does not bring up the system or a terminal"
}

const PATH: &str = "/etc/inittab";
/// What sysvinit-core of Debian copies to `/etc/inittab` when it is installed.
const PATTERN: &str = "/usr/share/sysvinit/inittab";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.get::<System>()?.init != Init::SysV {
        return Err(Skip::NotApplicable(tr!("SysV init is not installed")));
    }
    let file = facts.required(PATH)?;
    let Some(first) = inittab::entries(&file.bytes).find(|entry| entry.action == "initdefault") else {
        if inittab::entries(&file.bytes).next().is_none() {
            empty(facts, found, &file)?;
        }
        // Without initdefault init asks for the runlevel, which somebody may want.
        return Ok(());
    };
    // Of several levels the highest is taken (inittab(5)).
    let Some(runlevel) = first.runlevels.iter().copied().max() else { return Ok(()) };
    if matches!(runlevel, b'0' | b'6') {
        let usual = if facts.root().exists("/etc/debian_version")? { "2" } else { "3" };
        let ends = if runlevel == b'0' { tr!("halts") } else { tr!("reboots") };
        found
            .critical(tr!("the default runlevel is {level}", level = char::from(runlevel)))
            .at(&file, first.span)
            .why(tr!("in this runlevel the machine {ends}", ends))
            .stops(Stage::Services)
            .repair(
                Risk::Safe,
                tr!("write {level}", level = usual),
                [Change::edit(&file, lines::with_words(&file.bytes, first.span, usual.as_bytes()))],
            );
        return Ok(());
    }
    scripts(facts, found, &file, runlevel)?;
    if inittab::entries(&file.bytes).any(|entry| entry.is_getty(runlevel)) {
        return Ok(());
    }
    let finding = found.critical(tr!("no getty is started in runlevel {level}", level = char::from(runlevel)));
    finding.at(&file, first.span).why(tr!("no terminal shows a login prompt")).stops(Stage::Services);
    match gettys(facts)? {
        Some(gettys) => {
            let mut text = file.bytes.to_vec();
            if !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            text.extend_from_slice(gettys.as_bytes());
            finding.repair(Risk::Safe, tr!("add a getty"), [Change::edit(&file, text)]);
        }
        None => {
            finding.by_hand(tr!("reinstall the package that provides getty"));
        }
    }
    Ok(())
}

/// What starts the system's services: the lines of inittab, the programs that they name, and the links that those go through.
fn scripts(facts: &Facts, found: &mut Findings, file: &std::sync::Arc<SourceFile>, runlevel: u8) -> Verdict {
    let root = facts.root();
    let is_sysinit = |entry: &inittab::Entry<'_>| matches!(entry.action.as_bytes(), b"sysinit" | b"bootwait" | b"boot");
    let starts: Vec<inittab::Entry<'_>> = inittab::entries(&file.bytes)
        .filter(|entry| is_sysinit(entry) || entry.action == "wait" && entry.runlevels.contains(&runlevel))
        .collect();
    for entry in &starts {
        let Some(program) = entry.program().filter(|program| root.exists(program).is_ok_and(|there| !there)) else {
            continue;
        };
        let finding = found.critical(tr!("inittab starts {program}, which does not exist", program));
        finding
            .at(file, entry.span)
            .explains(program)
            .about(program)
            .why(tr!("the root stays read-only, and no service starts"))
            .stops(Stage::Services);
        match restore(facts, program) {
            Some(restoration) => finding.repair(restoration.risk, restoration.title, restoration.changes),
            None => finding.by_hand(tr!("reinstall the package that provides {program}", program)),
        };
    }
    if !starts.iter().any(is_sysinit) {
        let finding = found.critical(tr!("no line of inittab has the action sysinit"));
        finding.at_path(PATH).why(tr!("the root stays read-only, and no service starts")).stops(Stage::Services);
        let pattern = facts.file(PATTERN)?;
        let line = pattern
            .iter()
            .flat_map(|file| lines::lines(&file.bytes))
            .find(|line| inittab::entries(line.text).next().is_some_and(|entry| entry.action == "sysinit"));
        match line {
            Some(line) => {
                let text = [line.text, b"\n", file.bytes.as_slice()].concat();
                finding.repair(
                    Risk::Safe,
                    tr!("add the line for {pattern}", pattern = PATTERN),
                    [Change::edit(file, text)],
                );
            }
            None => {
                finding.by_hand(tr!("copy it from a machine with the same release"));
            }
        }
    }
    // Debian's rcS and rc, and rc of Red Hat's family, start what these directories link to.
    let levels = starts.iter().filter_map(|entry| match entry.program()? {
        program if program.ends_with("/rcS") => Some('S'),
        program if program.ends_with("/rc") && entry.action == "wait" => Some(char::from(runlevel)),
        _ => None,
    });
    for level in levels {
        let dirs = [format!("/etc/rc{level}.d"), format!("/etc/rc.d/rc{level}.d")];
        let links = dirs.iter().flat_map(|dir| root.read_dir(dir).unwrap_or_default());
        if links.into_iter().any(|link| link.name.as_encoded_bytes().starts_with(b"S")) {
            continue;
        }
        let dir = dirs.iter().find(|dir| root.stat(dir).is_ok()).unwrap_or(&dirs[0]);
        let severity = if level == 'S' { Severity::Critical } else { Severity::Error };
        let finding = found.add(severity, tr!("{dir} has no links to scripts to start", dir = dir.as_str()));
        finding.at_path(dir).explains(dir.as_str()).why(tr!("none of the services of this runlevel starts"));
        if severity == Severity::Critical {
            finding.stops(Stage::Services);
        }
        let in_donor =
            facts.donor().is_some_and(|donor| donor.root().read_dir(dir).is_ok_and(|names| !names.is_empty()));
        if in_donor {
            let title = tr!("copy {path} from the donor", path = dir.as_str());
            finding.repair(Risk::Risky, title, [Change::copy_from_donor(dir)]);
        }
        finding.by_hand(tr!("recreate the links: insserv, update-rc.d NAME defaults, or chkconfig NAME on"));
    }
    Ok(())
}

fn empty(facts: &Facts, found: &mut Findings, file: &std::sync::Arc<SourceFile>) -> Verdict {
    let finding = found.critical(tr!("{path} has no entries", path = PATH));
    finding.at_path(PATH).why(tr!("init starts what this file lists and nothing else")).stops(Stage::Services);
    let pattern = facts.file(PATTERN)?.filter(|pattern| inittab::entries(&pattern.bytes).next().is_some());
    match (restore(facts, PATH), pattern) {
        (Some(restoration), _) => {
            finding.repair(restoration.risk, restoration.title, restoration.changes);
        }
        (None, Some(pattern)) => {
            let mut text = pattern.bytes.to_vec();
            if let Some(console) = serial(facts)
                && let Some(getty) = gettys(facts)?
                && let Some(line) = getty.lines().find(|line| line.contains(&console))
            {
                text.extend_from_slice(format!("{line}\n").as_bytes());
            }
            finding.repair(Risk::Safe, tr!("add {pattern} to it", pattern = PATTERN), [Change::edit(file, text)]);
        }
        (None, None) => {
            finding.by_hand(tr!("copy it from a machine with the same release"));
        }
    }
    Ok(())
}

/// Lines that start a getty on tty1 and on the serial console that the kernel is told to use; `None` without a getty.
fn gettys(facts: &Facts) -> Result<Option<String>, Skip> {
    let root = facts.root();
    for (getty, screen, line) in [
        ("/sbin/getty", "38400 tty1", "-L TTY 115200 vt100"),
        ("/sbin/agetty", "tty1 38400 linux", "-L TTY 115200 vt100"),
        ("/sbin/mingetty", "tty1", ""),
    ] {
        if !root.exists(getty)? {
            continue;
        }
        let mut text = format!("1:2345:respawn:{getty} {screen}\n");
        if let Some(console) = serial(facts).filter(|_| !line.is_empty()) {
            let id = console.trim_start_matches("tty");
            text.push_str(&format!("{id}:2345:respawn:{getty} {}\n", line.replace("TTY", &console)));
        }
        return Ok(Some(text));
    }
    Ok(None)
}

/// The serial console that the kernel is told to use.
fn serial(facts: &Facts) -> Option<String> {
    facts.get::<BootConfig>().ok()?.serial_console()
}
