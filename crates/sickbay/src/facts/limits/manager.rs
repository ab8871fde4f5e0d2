//! What systemd gives the processes that it starts: system.conf, the unit, and what process 1 itself may have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::procfs::fields::rest_of;
use sickbay_formats::procfs::limits::limit;
use sickbay_formats::rlimits::{Pair, Resource, of_unit};
use sickbay_formats::span::Span;
use sickbay_formats::unit_file::{self, Setting};
use sickbay_target::Root;

use crate::facts::limits::files::nr_open;
use crate::facts::system::drop_in_files;
use crate::facts::system::kernel::Kernel;
use crate::facts::system::units::{self, Unit};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;

/// A line of a file that says something of a limit.
#[derive(Clone, Debug)]
pub struct Said {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The line.
    pub span: Span,
    /// The value as it is written.
    pub word: String,
    /// What systemd makes of it; `None` where it ignores the line.
    pub value: Option<Pair>,
}

/// The settings of one of systemd's managers.
#[derive(Debug)]
pub struct Manager {
    /// Of system.conf and what is in system.conf.d, in the order in which they count.
    settings: Vec<(Arc<SourceFile>, Setting)>,
    /// Files that could not be read.
    pub unread: Vec<Text>,
}

/// Where the file itself may be, strongest first (systemd-system.conf(5)).
const DIRS: [&str; 4] = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];

impl Manager {
    /// `system` or `user`.
    pub fn of(facts: &Facts, name: &str) -> Manager {
        let mut unread = Vec::new();
        let own = DIRS.iter().map(|dir| PathBuf::from(format!("{dir}/{name}.conf")));
        let mut paths: Vec<PathBuf> =
            own.into_iter().find(|path| facts.root().stat(path).is_ok()).into_iter().collect();
        let dirs: Vec<String> = DIRS.iter().map(|dir| format!("{dir}/{name}.conf.d")).collect();
        let dirs: Vec<&str> = dirs.iter().map(String::as_str).collect();
        paths.extend(drop_in_files::chosen(facts, &dirs, "conf", &mut unread));
        let files = drop_in_files::read(facts, paths, &mut unread);
        let settings = files.into_iter().flat_map(|file| {
            unit_file::settings(&file.bytes).into_iter().map(move |one| (Arc::clone(&file), one)).collect::<Vec<_>>()
        });
        Manager { settings: settings.collect(), unread }
    }

    /// The manager of a user, with what is in the home directory.
    pub fn of_user(facts: &Facts, home: &str) -> Manager {
        let mut manager = Manager::of(facts, "user");
        let dir = Path::new(home).join(".config/systemd");
        let mut paths = vec![dir.join("user.conf")];
        let drop_ins = dir.join("user.conf.d");
        if let Some(drop_ins) = drop_ins.to_str() {
            paths.extend(drop_in_files::chosen(facts, &[drop_ins], "conf", &mut manager.unread));
        }
        for file in drop_in_files::read(facts, paths, &mut manager.unread) {
            manager.settings.extend(unit_file::settings(&file.bytes).into_iter().map(|one| (Arc::clone(&file), one)));
        }
        manager
    }

    /// Every line that sets the default of a limit; the last that is valid counts.
    pub fn defaults(&self, resource: &Resource) -> Vec<Said> {
        said(&self.settings, "Manager", &format!("Default{}", resource.unit), resource)
    }
}

/// Every line of a unit that sets a limit; the last that is valid counts.
pub fn of_service(unit: &Unit, resource: &Resource) -> Vec<Said> {
    of_settings(&unit.settings, resource)
}

/// The same of settings that were read elsewhere.
pub fn of_settings(settings: &[(Arc<SourceFile>, Setting)], resource: &Resource) -> Vec<Said> {
    said(settings, "Service", resource.unit, resource)
}

/// Where a user's manager looks for units, strongest first (systemd.unit(5)); `~` is the home directory.
const USER_UNITS: [&str; 8] = [
    "~/.config/systemd/user",
    "/etc/systemd/user",
    "/run/systemd/user",
    "~/.local/share/systemd/user",
    "/usr/local/share/systemd/user",
    "/usr/share/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
];

/// The settings of a unit of a user's own manager, its file and its drop-ins in the order in which they count.
pub fn user_unit(facts: &Facts, home: &str, name: &str, unread: &mut Vec<Text>) -> Vec<(Arc<SourceFile>, Setting)> {
    let dirs: Vec<String> = USER_UNITS.iter().map(|dir| dir.replacen('~', home.trim_end_matches('/'), 1)).collect();
    let there = |path: &PathBuf| facts.root().stat(path).is_ok();
    let names = [Some(name.to_owned()), units::template(name)];
    let mut files = names.iter().flatten().flat_map(|name| dirs.iter().map(move |dir| Path::new(dir).join(name)));
    let mut paths: Vec<PathBuf> = files.find(there).into_iter().collect();
    paths.extend(units::drop_ins_in(facts, &dirs, name));
    let files = drop_in_files::read(facts, paths, unread);
    let of = |file: Arc<SourceFile>| {
        unit_file::settings(&file.bytes).into_iter().map(move |one| (Arc::clone(&file), one)).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(of).collect()
}

fn said(settings: &[(Arc<SourceFile>, Setting)], section: &str, key: &str, resource: &Resource) -> Vec<Said> {
    let ours = settings.iter().filter(|(_, one)| one.section == section && one.key == key);
    // An empty value takes back what came before, since 249.
    let ours = ours.filter(|(_, one)| !one.value.is_empty());
    ours.map(|(file, one)| Said {
        file: Arc::clone(file),
        span: one.span,
        word: String::from_utf8_lossy(&one.value).chars().take(80).collect(),
        value: of_unit(resource, &one.value),
    })
    .collect()
}

/// Limits of process 1, which "infinity" means where the kernel gives no more: its children cannot have more open files than
/// `fs.nr_open`, nor, where it has no CAP_SYS_RESOURCE (in many containers), more of anything than itself; they get what it has then
/// (`setrlimit_closest()` of systemd). Not decided by systemd's version, for the change that lets it have `fs.nr_open` itself was
/// carried to older ones.
#[derive(Debug)]
pub struct First {
    /// `/proc/1/limits`; empty where it cannot be read.
    text: Vec<u8>,
    /// `fs.nr_open`, where it is known.
    pub nr_open: Option<u64>,
    /// Whether it has no CAP_SYS_RESOURCE.
    pub bounded: bool,
    /// The version of systemd, where it can be told. From 240 on a service without `LimitNOFILE=` gets 1024/524288, before it the
    /// kernel's 1024/4096.
    pub version: Option<u32>,
    /// Locked memory that the kernel gave it, before it raised its own.
    memlock: Option<u64>,
}

/// The defaults that systemd 240 and later have built in.
const DEFAULT_FILES: Pair = (Some(1024), Some(512 << 10));

/// capabilities(7).
const SYS_RESOURCE: u32 = 24;

/// Bytes of locked memory that the kernel gives process 1: 64 KiB until 5.15, then 8 MiB (commit 9dcc38e2813e).
pub fn kernel_memlock(facts: &Facts) -> Option<u64> {
    let kib = if facts.get::<Kernel>().ok()?.version >= (5, 16) { 8 << 10 } else { 64 };
    Some(kib << 10)
}

impl Fact for First {
    fn gather(facts: &Facts) -> Result<First, Skip> {
        let read = |root: &Root, path: &str| root.read(path).ok();
        let running = facts.target().running().ok();
        let text = running.and_then(|root| read(root, "/proc/1/limits")).unwrap_or_default();
        let status = running.and_then(|root| read(root, "/proc/1/status")).unwrap_or_default();
        let capabilities = rest_of(&status, "CapEff:").and_then(|hex| u64::from_str_radix(hex.to_str().ok()?, 16).ok());
        let bounded = capabilities.is_some_and(|all| all & (1 << SYS_RESOURCE) == 0);
        Ok(First { text, nr_open: nr_open(facts)?, bounded, version: version(facts), memlock: kernel_memlock(facts) })
    }
}

impl First {
    /// What process 1 itself may have.
    pub fn own(&self, resource: &Resource) -> Option<Pair> {
        limit(&self.text, resource.proc).map(|limit| (limit.soft, limit.hard))
    }

    /// What a service gets for which nothing is set; `None` where it cannot be told.
    pub fn unset(&self, resource: &Resource) -> Option<Pair> {
        let is_new = self.version.is_some_and(|version| version >= 240);
        let built_in = match resource.name {
            "nofile" if is_new => (DEFAULT_FILES.0, Some(self.nr_open.unwrap_or(u64::MAX).min(512 << 10))),
            "nofile" => (Some(1024), Some(4096)),
            // Process 1 raises its own, and gives its children what it was given.
            "memlock" if is_new => (Some(self.memlock?), self.memlock),
            _ => return self.own(resource),
        };
        self.granted(resource, built_in)
    }

    /// What comes of what is wanted.
    pub fn granted(&self, resource: &Resource, wanted: Pair) -> Option<Pair> {
        if !self.refuses(resource, wanted) {
            return Some(wanted);
        }
        let most = self.own(resource)?.1?;
        Some(within(wanted, Some(most)))
    }

    /// Whether the kernel gives so much to no child of process 1.
    pub fn refuses(&self, resource: &Resource, wanted: Pair) -> bool {
        let above = |most: u64| wanted.1.is_none_or(|hard| hard > most);
        // What is within what any kernel lets anybody have is given by this one.
        let beyond = resource.name == "nofile" && above(self.nr_open.unwrap_or(super::files::NR_OPEN));
        beyond || self.bounded && self.own(resource).and_then(|own| own.1).is_some_and(above)
    }
}

/// Both bounds cut to the most that there is.
pub fn within(wanted: Pair, most: Option<u64>) -> Pair {
    let Some(most) = most else { return wanted };
    let cut = |bound: Option<u64>| Some(bound.map_or(most, |bound| bound.min(most)));
    (cut(wanted.0), cut(wanted.1))
}

/// The version of systemd, by the name of its library; older ones than 231 have none.
fn version(facts: &Facts) -> Option<u32> {
    let mut dirs: Vec<PathBuf> = ["/usr/lib/systemd", "/usr/lib64/systemd", "/lib/systemd"].map(PathBuf::from).into();
    let multiarch = facts.root().read_dir("/usr/lib").unwrap_or_default();
    let multiarch = multiarch.into_iter().filter(|entry| entry.name.to_string_lossy().ends_with("-linux-gnu"));
    dirs.extend(multiarch.map(|entry| Path::new("/usr/lib").join(entry.name).join("systemd")));
    let number = |name: &str| {
        let rest = name.strip_prefix("libsystemd-shared-")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let names = |dir: &PathBuf| facts.root().read_dir(dir).unwrap_or_default();
    dirs.iter().find_map(|dir| names(dir).iter().find_map(|entry| number(&entry.name.to_string_lossy())))
}
