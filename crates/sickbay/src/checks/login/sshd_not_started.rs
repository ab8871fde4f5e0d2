//! Nothing starts sshd.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::login::sshd::Sshd;
use crate::facts::login::sshd_service::SshdService;
use crate::facts::packages::programs::has_kernel;
use crate::facts::system::drop_in_files;
use crate::facts::system::release::{Init, System};
use crate::facts::system::units::{State, Units, unit};
use crate::mend::enable;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "ssh: connect to host … port 22: Connection refused", while the machine answers to ping.
    ///
    /// ## What it finds
    /// A machine with sshd and its host keys whose boot does not start it in any way: no unit, socket, init script, or
    /// line in inittab or xinetd, though the distribution's presets (`/usr/lib/systemd/system-preset`) do not disable
    /// it. Not where it is off on purpose: its unit is masked, `/etc/ssh/sshd_not_to_be_run` exists (Debian), or
    /// another ssh server is started (dropbear, tinyssh).
    ///
    /// ## Why it matters
    /// ssh answers "Connection refused", and on most clouds it is the only way in. `systemctl disable ssh` and a copy
    /// without links (`cp` without `-a`, an archive that lost them) both look like this.
    ///
    /// ## What the repair does
    /// Creates the link that `systemctl enable` creates. Risky: somebody who does not want ssh has it this way on
    /// purpose.
    ///
    /// ## By hand
    /// ```sh
    /// # ssh on Debian and Ubuntu, sshd elsewhere
    /// systemctl --root=ROOT enable sshd
    /// chkconfig sshd on
    /// update-rc.d ssh defaults
    /// ```
    "sshd-not-started", Login, seed = ["L10", "D1"], proves = [Sshd], "nothing starts sshd"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let root = facts.root();
    if !has_kernel(root) {
        return Err(Skip::NotApplicable(tr!(
            "no kernel is installed: a container, where what runs is started from outside"
        )));
    }
    // Who made keys wanted it to run.
    let has_keys = root.read_dir("/etc/ssh").unwrap_or_default().iter().any(|entry| {
        let name = entry.name.as_encoded_bytes();
        name.starts_with(b"ssh_host_") && name.ends_with(b"_key")
    });
    if !has_keys || facts.get::<SshdService>()?.enabled || is_started_otherwise(facts, &sshd)? {
        return Ok(());
    }
    let is_systemd = facts.get::<System>()?.init == Init::Systemd;
    let Some((name, place)) = own_unit(facts).filter(|_| is_systemd) else {
        if is_systemd {
            // Its unit is gone: the package's checks say so.
            return Ok(());
        }
        found
            .warning(tr!("nothing starts {program}", program = sshd.program.as_path()))
            .at_path(&sshd.program)
            .why(tr!("nobody can log in over ssh"))
            .stops(Stage::Sshd)
            .by_hand(tr!("enable its init script: chkconfig sshd on, or update-rc.d ssh defaults"));
        return Ok(());
    };
    let closed = |found: &mut Findings, why: Text| {
        found.closed(Stage::Sshd, why);
        Ok(())
    };
    if preset(facts, name) == Some(false) {
        return closed(found, tr!("the distribution's presets do not enable {unit}", unit = name));
    }
    if root.exists(NOT_TO_BE_RUN)? {
        return closed(found, tr!("{path} says that sshd is not to run", path = NOT_TO_BE_RUN));
    }
    if let Some(other) = other_server(facts)? {
        return closed(found, tr!("another ssh server is started: {unit}", unit = other));
    }
    let unit = unit(facts, name)?;
    if let State::Masked(path) = &unit.state {
        // Nobody masks a unit by accident.
        return closed(found, tr!("{unit} is masked: {path}", unit = name, path = path.as_path()));
    }
    let finding = found
        .warning(tr!("nothing starts sshd: {unit} is not enabled", unit = name))
        .at_path(&place)
        .why(tr!("nobody can log in over ssh"))
        .stops(Stage::Sshd);
    enable::offer(finding, facts, name, &place);
    Ok(())
}

/// Debian's mark for an sshd that is installed and shall not run.
const NOT_TO_BE_RUN: &str = "/etc/ssh/sshd_not_to_be_run";

/// A unit or an init script that starts another ssh server.
fn other_server(facts: &Facts) -> Result<Option<String>, Skip> {
    const OTHERS: [&str; 4] = ["dropbear", "tinyssh", "tinysshd", "openssh-portable"];
    let is_other = |name: &str| {
        let name = name.trim_start_matches(|c: char| c == 'S' || c.is_ascii_digit());
        OTHERS.iter().any(|other| name.strip_prefix(other).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
    };
    if let Ok(units) = facts.get::<Units>()
        && let Some((name, _)) = units.all.iter().find(|(name, unit)| is_other(name) && unit.state == State::Loaded)
    {
        return Ok(Some(name.clone()));
    }
    let dirs = ('2'..='5').flat_map(|level| [format!("/etc/rc{level}.d"), format!("/etc/rc.d/rc{level}.d")]);
    for dir in dirs.chain(["/etc/runlevels/default".to_owned()]) {
        let names =
            facts.root().read_dir(&dir).unwrap_or_default().into_iter().filter_map(|one| one.name.into_string().ok());
        if let Some(name) = names.into_iter().find(|name| !name.starts_with('K') && is_other(name)) {
            return Ok(Some(format!("{dir}/{name}")));
        }
    }
    Ok(None)
}

/// The service that the package brought, and where it is.
fn own_unit(facts: &Facts) -> Option<(&'static str, PathBuf)> {
    ["ssh.service", "sshd.service"].into_iter().find_map(|name| Some((name, enable::file_of(facts, name)?)))
}

/// A unit of another name, inittab, xinetd or inetd.
fn is_started_otherwise(facts: &Facts, sshd: &Sshd) -> Result<bool, Skip> {
    let program = sshd.program.file_name().unwrap_or_default().as_encoded_bytes();
    if let Ok(units) = facts.get::<Units>() {
        let starts =
            |value: &[u8]| value.fields_with(char::is_whitespace).next().is_some_and(|first| first.ends_with(program));
        let mut settings = units.all.values().flat_map(|unit| &unit.settings);
        if settings.any(|(_, one)| one.key == "ExecStart" && starts(&one.value)) {
            return Ok(true);
        }
    }
    let mut files =
        vec!["/etc/inittab".into(), "/etc/inetd.conf".into(), "/etc/rc.local".into(), "/etc/rc.d/rc.local".into()];
    let dir = Path::new("/etc/xinetd.d");
    files.extend(facts.root().read_dir(dir).unwrap_or_default().into_iter().map(|entry| dir.join(entry.name)));
    for path in files {
        let is_there = facts.root().stat(&path).is_ok_and(|metadata| metadata.is_file());
        if let Some(file) = is_there.then(|| facts.file(&path)).transpose()?.flatten()
            && file.bytes.lines().any(|line| !line.trim_ascii_start().starts_with(b"#") && line.contains_str(program))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the distribution's presets say of a unit: the first line that matches counts (systemd.preset(5)).
fn preset(facts: &Facts, unit: &str) -> Option<bool> {
    const DIRS: [&str; 4] = [
        "/etc/systemd/system-preset",
        "/run/systemd/system-preset",
        "/usr/lib/systemd/system-preset",
        "/lib/systemd/system-preset",
    ];
    let paths = drop_in_files::chosen(facts, &DIRS, "preset", &mut Vec::new());
    for file in drop_in_files::read(facts, paths, &mut Vec::new()) {
        for line in file.bytes.lines() {
            let mut words = line.fields_with(char::is_whitespace).filter_map(|word| word.to_str().ok());
            let says = match words.next() {
                Some("enable") => true,
                Some("disable") => false,
                _ => continue,
            };
            let matches = |pattern: &str| match pattern.strip_suffix('*') {
                Some(start) => unit.starts_with(start),
                None => pattern == unit,
            };
            if words.next().is_some_and(matches) {
                return Some(says);
            }
        }
    }
    None
}
