//! Whether sshd is started at boot, and what makes its host keys.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::inittab;
use sickbay_target::{FileKind, Root};

use crate::facts::system::release::{Init, System};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// Where systemd keeps units, strongest first (systemd.unit(5)).
const UNIT_DIRS: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Names under which distributions start it.
const UNITS: [&str; 2] = ["ssh", "sshd"];

/// How sshd comes to run.
#[derive(Debug)]
pub struct SshdService {
    /// Some unit, socket or init script starts it at boot.
    pub enabled: bool,
    /// What makes host keys that are not there: a unit, an init script, cloud-init.
    pub key_maker: Option<PathBuf>,
}

impl Fact for SshdService {
    fn gather(facts: &Facts) -> Result<SshdService, Skip> {
        let root = facts.root();
        let by_units = facts.get::<System>()?.init == Init::Systemd;
        Ok(SshdService { enabled: is_enabled(root, by_units), key_maker: key_maker(facts) })
    }
}

fn names(root: &Root, dir: &str) -> Vec<String> {
    let entries = root.read_dir(dir).unwrap_or_default();
    entries.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect()
}

/// systemd leaves an init script alone for which there is a unit (systemd-sysv-generator(8)).
fn is_enabled(root: &Root, by_units: bool) -> bool {
    let starts = |name: &str| {
        let name = name.trim_start_matches(|c: char| c == 'S' || c.is_ascii_digit());
        UNITS.iter().any(|unit| name.strip_prefix(unit).is_some_and(|rest| ["", ".service", ".socket"].contains(&rest)))
    };
    let wants = UNIT_DIRS.iter().flat_map(|dir| {
        names(root, dir).into_iter().filter(|name| name.ends_with(".wants")).map(move |name| format!("{dir}/{name}"))
    });
    let table = if by_units { Vec::new() } else { root.read("/etc/inittab").unwrap_or_default() };
    let first = inittab::entries(&table).find(|entry| entry.action == "initdefault");
    let first = first.and_then(|entry| entry.runlevels.iter().max().copied()).map(char::from);
    let levels = "2345".chars().filter(move |level| first.is_none_or(|first| first == *level));
    let levels = levels.flat_map(|level| [format!("/etc/rc{level}.d"), format!("/etc/rc.d/rc{level}.d")]);
    let runlevels = names(root, "/etc/runlevels").into_iter().map(|name| format!("/etc/runlevels/{name}"));
    let has_unit = UNIT_DIRS
        .iter()
        .any(|dir| UNITS.iter().any(|unit| root.exists(format!("{dir}/{unit}.service")).unwrap_or(false)));
    let scripts = levels.chain(runlevels).filter(|_| !(by_units && has_unit));
    wants.chain(scripts).any(|dir| names(root, &dir).iter().any(|name| !name.starts_with('K') && starts(name)))
}

/// cloud-init makes keys at the first boot of an instance; the other units and scripts do when there are none.
fn key_maker(facts: &Facts) -> Option<PathBuf> {
    let root = facts.root();
    let fixed = ["/etc/cloud/cloud.cfg", "/usr/bin/cloud-init", "/usr/bin/ignition-firstboot-complete"];
    if let Some(path) = fixed.iter().find(|path| root.exists(path).unwrap_or(false)) {
        return Some(PathBuf::from(path));
    }
    let scripts = ["/etc/init.d/sshd", "/etc/rc.d/init.d/sshd", "/etc/init.d/ssh"].map(PathBuf::from);
    let units = UNIT_DIRS.iter().flat_map(|dir| {
        let entries = root.read_dir(dir).unwrap_or_default();
        entries
            .into_iter()
            .filter(|entry| entry.kind != FileKind::Dir)
            .map(move |entry| Path::new(dir).join(entry.name))
    });
    let makes_keys = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("sshd-keygen") || name.starts_with("sshdgenkeys") {
            return true;
        }
        let may = name.ends_with(".service") || !name.contains('.');
        may && root.read_up_to(path, 1 << 16).is_ok_and(|text| {
            text.contains_str("ssh-keygen")
                || text.contains_str("dpkg-reconfigure openssh-server")
                || text.contains_str("sshd-gen-keys")
        })
    };
    scripts.into_iter().chain(units).find(makes_keys)
}
