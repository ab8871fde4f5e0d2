//! The units that systemd starts at boot: `default.target` and everything that it pulls in, as systemd would load them.
//!
//! What generators make of fstab and of the kernel's command line exists only while a system runs and is no part of it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::unit_file::{self, Setting};

use crate::facts::system::release::{Init, System};
use crate::facts::{Fact, Facts};
use crate::model::finding::Severity;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::tr;

/// Where systemd looks for units, strongest first (systemd.unit(5)).
pub const UNIT_DIRS: [&str; 7] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// How a unit stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its file was read, or systemd makes one of an init script.
    Loaded,
    /// A link to `/dev/null`, or an empty file: it cannot be started, not even by what needs it.
    Masked(PathBuf),
    /// There is no file of that name.
    Missing,
}

/// A unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// How it stands.
    pub state: State,
    /// The settings of its file and then of its drop-ins, each with the file that it is in.
    pub settings: Vec<(Arc<SourceFile>, Setting)>,
    /// Units that it pulls in, by whether it needs them.
    pub pulls: Vec<(String, bool)>,
}

impl Unit {
    /// The words of a list in the order in which they count.
    pub fn list(&self, section: &str, key: &str) -> Vec<String> {
        unit_file::list(self.settings.iter().map(|(_, setting)| setting), section, key)
            .into_iter()
            .map(|word| word.to_string())
            .collect()
    }

    /// The setting that wins, with its file.
    pub fn last(&self, section: &str, key: &str) -> Option<(&Arc<SourceFile>, &Setting)> {
        let last = self.settings.iter().rfind(|(_, one)| one.section == section && one.key == key);
        last.map(|(file, setting)| (file, setting))
    }

    /// Whether systemd adds the usual dependencies of its kind.
    pub fn has_default_dependencies(&self) -> bool {
        self.last("Unit", "DefaultDependencies").is_none_or(|(_, setting)| unit_file::is_yes(&setting.value))
    }
}

/// The units of a boot.
#[derive(Debug)]
pub struct Units {
    /// By name; aliases are only in `aliases`.
    pub all: BTreeMap<String, Unit>,
    /// Other names → names.
    aliases: BTreeMap<String, String>,
    dirs: Arc<UnitDirs>,
}

/// The directories of units with the names that are in each, strongest first.
#[derive(Debug)]
struct UnitDirs(Vec<(&'static Path, HashSet<OsString>)>);

impl Fact for UnitDirs {
    fn gather(facts: &Facts) -> Result<UnitDirs, Skip> {
        let names =
            |dir: &Path| facts.root().read_dir(dir).unwrap_or_default().into_iter().map(|entry| entry.name).collect();
        Ok(UnitDirs(UNIT_DIRS.iter().map(|dir| (Path::new(*dir), names(Path::new(*dir)))).collect()))
    }
}

impl UnitDirs {
    /// Where there is something of that name, strongest first.
    fn having(&self, name: &str) -> impl DoubleEndedIterator<Item = PathBuf> {
        let dirs = self.0.iter().filter(move |(_, names)| names.contains(OsStr::new(name)));
        dirs.map(move |(dir, _)| dir.join(name))
    }
}

/// More than this many units no boot has: something is built to be endless.
const LIMIT: usize = 4000;

impl Fact for Units {
    fn gather(facts: &Facts) -> Result<Units, Skip> {
        if facts.get::<System>()?.init != Init::Systemd {
            return Err(Skip::NotApplicable(tr!("systemd is not installed")));
        }
        let dirs = facts.get::<UnitDirs>()?;
        let mut units = Units { all: BTreeMap::new(), aliases: BTreeMap::new(), dirs };
        let mut ahead = vec!["default.target".to_owned()];
        while let Some(name) = ahead.pop() {
            if units.all.len() >= LIMIT {
                return Err(Skip::Unknown(tr!("more than {count} units are pulled in", count = LIMIT)));
            }
            ahead.extend(units.load(facts, &name)?);
        }
        Ok(units)
    }
}

impl Units {
    /// A unit by any of its names.
    pub fn get(&self, name: &str) -> Option<&Unit> {
        self.all.get(self.name(name))
    }

    /// The name that an alias stands for.
    pub fn name<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// Reads a unit that was not read yet; gives what it pulls in.
    fn load(&mut self, facts: &Facts, name: &str) -> Result<Vec<String>, Skip> {
        if self.all.contains_key(name) || self.aliases.contains_key(name) {
            return Ok(Vec::new());
        }
        let (real, state, fragment) = find(facts, &self.dirs, name)?;
        if real != name {
            self.aliases.insert(name.to_owned(), real.clone());
            if self.all.contains_key(&real) {
                return Ok(Vec::new());
            }
        }
        let unit = Unit::read(facts, &self.dirs, &real, state, fragment)?;
        let pulled = unit.pulls.iter().map(|(other, _)| other.clone()).collect();
        self.all.insert(real, unit);
        Ok(pulled)
    }
}

/// One unit, whether or not a boot starts it.
pub fn unit(facts: &Facts, name: &str) -> Result<Unit, Skip> {
    let dirs = facts.get::<UnitDirs>()?;
    let (real, state, fragment) = find(facts, &dirs, name)?;
    Unit::read(facts, &dirs, &real, state, fragment)
}

impl Unit {
    fn read(
        facts: &Facts,
        dirs: &UnitDirs,
        real: &str,
        state: State,
        fragment: Option<Arc<SourceFile>>,
    ) -> Result<Unit, Skip> {
        let mut unit = Unit { state, settings: Vec::new(), pulls: Vec::new() };
        if let Some(file) = fragment {
            unit.settings.extend(unit_file::settings(&file.bytes).into_iter().map(|one| (Arc::clone(&file), one)));
        }
        for path in drop_ins(facts, dirs, real) {
            if let Some(file) = facts.file(&path)? {
                unit.settings.extend(unit_file::settings(&file.bytes).into_iter().map(|one| (Arc::clone(&file), one)));
            }
        }
        for (key, needed) in [("Requires", true), ("BindsTo", true), ("Wants", false), ("Upholds", false)] {
            unit.pulls.extend(unit.list("Unit", key).into_iter().map(|other| (other, needed)));
        }
        for (suffix, needed) in [("requires", true), ("wants", false), ("upholds", false)] {
            unit.pulls.extend(linked(facts, dirs, real, suffix).into_iter().map(|other| (other, needed)));
        }
        if real.ends_with(".service") && unit.state == State::Loaded && unit.has_default_dependencies() {
            unit.pulls.push(("sysinit.target".to_owned(), true));
        }
        // A name with a specifier is another one for every instance.
        unit.pulls.retain(|(other, _)| !other.contains('%'));
        Ok(unit)
    }
}

/// `getty@.service` for `getty@tty1.service`.
pub fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, kind) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{kind}"))
}

/// The name under which a unit's file is, how it stands, and the file.
fn find(facts: &Facts, dirs: &UnitDirs, name: &str) -> Result<(String, State, Option<Arc<SourceFile>>), Skip> {
    let root = facts.root();
    for wanted in [Some(name.to_owned()), template(name)].into_iter().flatten() {
        for path in dirs.having(&wanted) {
            // What does not run has an empty /dev: the text of the link tells.
            if root.read_link(&path).is_ok_and(|text| text == Path::new("/dev/null")) {
                return Ok((name.to_owned(), State::Masked(path), None));
            }
            // A link that leads nowhere is passed over as if it were not there.
            let Ok(real) = root.canonical(&path) else { continue };
            let Some(file) = facts.file(&path)? else { continue };
            if file.bytes.is_empty() {
                return Ok((name.to_owned(), State::Masked(path), None));
            }
            let target = real.file_name().and_then(|name| name.to_str()).unwrap_or(name);
            let is_unit_dir = real.parent().is_some_and(|dir| UNIT_DIRS.iter().any(|known| dir == Path::new(known)));
            let other = match template(name) {
                // An instance keeps its name unless the link leads to another template.
                Some(_) if target.contains("@.") => instance_of(name, target),
                _ => target.to_owned(),
            };
            let real_name = if is_unit_dir { other } else { name.to_owned() };
            return Ok((real_name, State::Loaded, Some(file)));
        }
    }
    let state = if has_init_script(facts, name) { State::Loaded } else { State::Missing };
    Ok((name.to_owned(), state, None))
}

/// Every mask that keeps a unit from being started, its template's too: what is behind them counts once all are gone.
pub fn masks(facts: &Facts, name: &str) -> Result<Vec<PathBuf>, Skip> {
    let dirs = facts.get::<UnitDirs>()?;
    let mut masks = Vec::new();
    for wanted in [Some(name.to_owned()), template(name)].into_iter().flatten() {
        for path in dirs.having(&wanted) {
            let is_link = facts.root().read_link(&path).is_ok_and(|text| text == Path::new("/dev/null"));
            if is_link || facts.file(&path)?.is_some_and(|file| file.bytes.is_empty()) {
                masks.push(path);
            } else if facts.root().canonical(&path).is_ok() {
                return Ok(masks);
            }
        }
    }
    Ok(masks)
}

/// Whether systemd makes a unit of an init script of that name at boot (systemd-sysv-generator(8)).
fn has_init_script(facts: &Facts, name: &str) -> bool {
    let there = |path: &str| facts.root().stat(path).is_ok_and(|metadata| metadata.is_file());
    let Some(stem) = name.strip_suffix(".service").filter(|stem| !stem.contains('@')) else { return false };
    let generator = "systemd/system-generators/systemd-sysv-generator";
    let is_made = ["/usr/lib", "/lib"].iter().any(|dir| there(&format!("{dir}/{generator}")));
    is_made && ["/etc/init.d", "/etc/rc.d/init.d"].iter().any(|dir| there(&format!("{dir}/{stem}")))
}

/// The instance of `template` that has the instance name of `name`.
fn instance_of(name: &str, template: &str) -> String {
    let instance =
        name.split_once('@').and_then(|(_, rest)| rest.rsplit_once('.')).map_or("", |(instance, _)| instance);
    template.replacen("@.", &format!("@{instance}."), 1)
}

/// Names whose drop-ins count for a unit, strongest first: its own, its template's, those of its prefixes (`unit_file_find_dirs()` of systemd).
/// Those of its kind are weaker than any.
fn drop_in_names(name: &str) -> Vec<String> {
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let (prefix, instance) = match stem.split_once('@') {
        Some((prefix, instance)) => (prefix, Some(instance)),
        None => (stem, None),
    };
    let mut prefixes = vec![prefix];
    prefixes.extend(prefix.rmatch_indices('-').filter_map(|(at, _)| prefix.get(..=at)).filter(|one| *one != prefix));
    let of = |instance: Option<&str>| {
        let tail = instance.map(|instance| format!("@{instance}")).unwrap_or_default();
        prefixes.iter().map(move |prefix| format!("{prefix}{tail}.{kind}")).collect::<Vec<_>>()
    };
    let Some(instance) = instance.filter(|instance| !instance.is_empty()) else { return of(instance) };
    // The template and its prefixes come between a unit and its own prefixes.
    let mut all = of(Some(instance));
    let shorter = all.split_off(1);
    all.extend(of(Some("")));
    all.extend(shorter);
    all
}

/// The drop-ins of a unit, in the order in which they count. Of two with one name the stronger directory's is read; in one directory that of
/// the nearer name.
fn drop_ins(facts: &Facts, dirs: &UnitDirs, name: &str) -> Vec<PathBuf> {
    let names: Vec<String> = drop_in_names(name).into_iter().map(|name| format!("{name}.d")).collect();
    let of_kind = [format!("{}.d", name.rsplit_once('.').map_or("", |(_, kind)| kind))];
    let all = dirs.0.iter().map(|(dir, there)| (dir, there));
    let mut paths = Vec::new();
    for names in [names.as_slice(), &of_kind] {
        for (dir, there) in all.clone() {
            paths.extend(names.iter().filter(|name| there.contains(OsStr::new(name))).map(|name| dir.join(name)));
        }
    }
    // One that is masked (a link to /dev/null) is no file to read.
    let is_file = |path: &PathBuf| facts.root().stat(path).is_ok_and(|metadata| metadata.is_file());
    first_of_each_name(facts, paths).filter(is_file).collect()
}

/// The drop-ins of a unit in other directories than the system's, strongest first: those of a user's own manager.
pub fn drop_ins_in(facts: &Facts, dirs: &[String], name: &str) -> Vec<PathBuf> {
    let (names, kind) = (drop_in_names(name), name.rsplit_once('.').map_or("", |(_, kind)| kind).to_owned());
    let of = |names: &[String]| {
        let path = |dir: &String, name: &String| Path::new(dir).join(format!("{name}.d"));
        dirs.iter().flat_map(|dir| names.iter().map(move |name| path(dir, name))).collect::<Vec<_>>()
    };
    first_of_each_name(facts, [of(&names), of(&[kind])].concat()).collect()
}

/// The files that end in `.conf`, in the order of their names; of several with one name that of the first directory.
fn first_of_each_name(facts: &Facts, dirs: Vec<PathBuf>) -> impl Iterator<Item = PathBuf> {
    let mut chosen: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for dir in dirs {
        for entry in facts.root().read_dir(&dir).unwrap_or_default() {
            if entry.name.as_encoded_bytes().ends_with(b".conf") {
                let path = dir.join(&entry.name);
                chosen.entry(entry.name).or_insert(path);
            }
        }
    }
    chosen.into_values()
}

/// Names in the `.wants` or `.requires` directories of a unit.
fn linked(facts: &Facts, dirs: &UnitDirs, name: &str, suffix: &str) -> Vec<String> {
    let mut all = Vec::new();
    for name in [Some(name.to_owned()), template(name)].into_iter().flatten() {
        for dir in dirs.having(&format!("{name}.{suffix}")) {
            let entries = facts.root().read_dir(&dir).unwrap_or_default();
            all.extend(entries.iter().filter_map(|entry| entry.name.to_str().map(str::to_owned)));
        }
    }
    all
}

/// A user or group that a value of `User=` or `Group=` names, unless it is a number or depends on the instance.
pub fn account(value: &[u8]) -> Option<&str> {
    let name = value.to_str().ok()?;
    let is_name = !name.is_empty() && !name.contains('%') && !name.bytes().all(|byte| byte.is_ascii_digit());
    is_name.then_some(name)
}

/// What happens to the user when a unit cannot be started.
pub(crate) const ESSENTIAL: [(&str, Severity); 12] = [
    ("default.target", Severity::Critical),
    ("multi-user.target", Severity::Critical),
    ("basic.target", Severity::Critical),
    ("sysinit.target", Severity::Critical),
    ("local-fs.target", Severity::Critical),
    ("sockets.target", Severity::Error),
    ("systemd-udevd.service", Severity::Critical),
    ("systemd-journald.service", Severity::Error),
    ("systemd-user-sessions.service", Severity::Error),
    ("systemd-logind.service", Severity::Error),
    ("dbus.service", Severity::Error),
    ("getty.target", Severity::Error),
];

/// sshd's units, by any of the names that distributions give them.
pub(crate) const SSH: [&str; 4] = ["ssh.service", "sshd.service", "ssh.socket", "sshd.socket"];

/// How bad it is when the unit of that name cannot be started; `None` for one that no login needs.
pub(crate) fn severity_without(name: &str) -> Option<Severity> {
    let of_boot = ESSENTIAL.iter().find(|(essential, _)| *essential == name).map(|(_, severity)| *severity);
    of_boot.or_else(|| SSH.contains(&name).then_some(Severity::Error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_instances_and_drop_ins() {
        assert_eq!(template("getty@tty1.service").as_deref(), Some("getty@.service"));
        assert_eq!(template("getty@.service"), None);
        assert_eq!(template("ssh.service"), None);
        assert_eq!(instance_of("autovt@tty2.service", "getty@.service"), "getty@tty2.service");
        assert_eq!(drop_in_names("a-b.service"), ["a-b.service", "a-.service"]);
        assert_eq!(drop_in_names("a-b@c.service"), ["a-b@c.service", "a-b@.service", "a-@.service", "a-@c.service"]);
        assert_eq!(drop_in_names("a-b@.service"), ["a-b@.service", "a-@.service"]);
        assert_eq!(account(b"messagebus"), Some("messagebus"));
        assert_eq!(account(b"1000"), None);
        assert_eq!(account(b"%i"), None);
    }
}
