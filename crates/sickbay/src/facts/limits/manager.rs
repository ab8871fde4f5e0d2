//! What systemd gives the processes that it starts: system.conf, the unit, and what process 1 itself may have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_formats::procfs::limits::limit;
use sickbay_formats::rlimits::{Pair, Resource, of_unit};
use sickbay_formats::span::Span;
use sickbay_formats::unit_file::{self, Setting};
use sickbay_target::Root;

use crate::facts::limits::files::nr_open;
use crate::facts::system::drop_in_files;
use crate::facts::system::units::Unit;
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

    /// Every line that sets the default of a limit; the last that is valid counts.
    pub fn defaults(&self, resource: &Resource) -> Vec<Said> {
        said(&self.settings, "Manager", &format!("Default{}", resource.unit), resource)
    }
}

/// Every line of a unit that sets a limit; the last that is valid counts.
pub fn of_service(unit: &Unit, resource: &Resource) -> Vec<Said> {
    said(&unit.settings, "Service", resource.unit, resource)
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
/// `fs.nr_open`, and get what it has then (`setrlimit_closest()` of systemd). Not decided by systemd's version, for the
/// change that lets it have `fs.nr_open` itself was carried to older ones.
#[derive(Debug)]
pub struct First {
    /// `/proc/1/limits`; empty where it cannot be read.
    text: Vec<u8>,
    /// `fs.nr_open`, where it is known.
    pub nr_open: Option<u64>,
    /// Whether a service without `LimitNOFILE=` gets 1024/524288, as from systemd 240 on; before, it is the kernel's 1024/4096.
    is_new: bool,
}

/// The defaults that systemd 240 and later have built in.
const DEFAULT_FILES: Pair = (Some(1024), Some(512 << 10));

impl Fact for First {
    fn gather(facts: &Facts) -> Result<First, Skip> {
        let read = |root: &Root| root.read("/proc/1/limits").ok();
        let text = facts.target().running().ok().and_then(read).unwrap_or_default();
        Ok(First { text, nr_open: nr_open(facts)?, is_new: version(facts).is_some_and(|version| version >= 240) })
    }
}

impl First {
    /// What process 1 itself may have.
    pub fn own(&self, resource: &Resource) -> Option<Pair> {
        limit(&self.text, resource.proc).map(|limit| (limit.soft, limit.hard))
    }

    /// What a service gets for which nothing is set; `None` where it cannot be told.
    pub fn unset(&self, resource: &Resource) -> Option<Pair> {
        match resource.name {
            "nofile" if self.is_new => Some(DEFAULT_FILES),
            "nofile" => Some((Some(1024), Some(4096))),
            // Process 1 raises its own, and gives its children what the version at hand thinks right.
            "memlock" => None,
            _ => self.own(resource),
        }
    }

    /// What comes of what is wanted.
    pub fn granted(&self, resource: &Resource, wanted: Pair) -> Option<Pair> {
        if resource.name != "nofile" {
            return Some(wanted);
        }
        let within = |bound: Option<u64>, most: u64| Some(bound.map_or(most, |bound| bound.min(most)));
        match (wanted.1, self.nr_open) {
            (Some(hard), Some(most)) if hard <= most => Some(wanted),
            // Within what any kernel lets anybody have.
            (Some(hard), None) if hard <= super::files::NR_OPEN => Some(wanted),
            _ => {
                let most = self.own(resource)?.1?;
                Some((within(wanted.0, most), within(wanted.1, most)))
            }
        }
    }
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
