//! limits.conf and limits.d as pam_limits reads them, and the kernel's own bound.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::limits_conf::{self, Entry, Line};
use sickbay_formats::span::Span;

use crate::facts::login::pam::path::Modules;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// `fs.nr_open` where nothing sets it (fs/file.c).
pub const NR_OPEN: u64 = 1 << 20;

/// Where SUSE keeps what it ships, and where the administrator's files are.
const DIRS: [&str; 2] = ["/usr/etc/security", "/etc/security"];

/// The files that pam_limits reads unless it is told of another one.
#[derive(Clone, Debug)]
pub struct LimitsFiles {
    /// In the order in which they are read, each with its lines.
    pub files: Vec<(Arc<SourceFile>, Vec<Line>)>,
    /// Whether pam_limits is Debian's.
    pub debian: bool,
    /// Whether it begins with the limits of process 1 instead of those of the program that opens the session, without being told
    /// (`set_all`): Debian's did before 1.7.
    pub resets: bool,
    /// Whether it takes `fs.nr_open` for "unlimited" open files, where older ones ask the kernel for what it refuses.
    pub takes_nr_open: bool,
    /// Whether it knows `rttime`.
    knows_rttime: bool,
}

impl Fact for LimitsFiles {
    fn gather(facts: &Facts) -> Result<LimitsFiles, Skip> {
        let parsed = read(facts)?.into_iter().map(|file| {
            let lines = limits_conf::parse(&file.bytes);
            (file, lines)
        });
        let debian = is_debian(facts)?;
        let dirs = &facts.get::<Modules>()?.dirs;
        let module = dirs.iter().find_map(|dir| facts.root().read(dir.join("pam_limits.so")).ok()).unwrap_or_default();
        // What it says when it does not find a limit of process 1 was reworded with the change.
        let asks = module.contains_str("Did not find kernel RLIMIT for %s, using default");
        Ok(LimitsFiles {
            files: parsed.collect(),
            debian,
            resets: debian && !asks,
            takes_nr_open: module.contains_str("/proc/sys/fs/nr_open"),
            knows_rttime: module.is_empty() || module.contains_str("rttime"),
        })
    }
}

impl LimitsFiles {
    /// Whether the module knows a limit by that name.
    pub fn knows(&self, item: &str) -> bool {
        item != "rttime" || self.knows_rttime
    }

    /// The same module with another file, which its rule names (`conf=`): it then reads no other.
    pub fn with_only(&self, file: Option<Arc<SourceFile>>) -> LimitsFiles {
        let files = file.map(|file| {
            let lines = limits_conf::parse(&file.bytes);
            (file, lines)
        });
        LimitsFiles { files: files.into_iter().collect(), ..self.clone() }
    }

    /// Every line that sets something, with its file.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<SourceFile>, Span, &Entry)> {
        self.files.iter().flat_map(|(file, lines)| {
            lines.iter().filter_map(move |line| Some((file, line.span, line.says.as_ref().ok()?)))
        })
    }
}

/// Whether pam_limits is Debian's, which goes on when the kernel refuses a limit and passes over groups and `*` for root.
pub fn is_debian(facts: &Facts) -> Result<bool, Skip> {
    Ok(facts.root().exists("/etc/debian_version")?)
}

/// The files in the order in which they are read.
pub fn read(facts: &Facts) -> Result<Vec<Arc<SourceFile>>, Skip> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut own = DIRS.iter().rev().map(|dir| Path::new(dir).join("limits.conf"));
    paths.extend(own.find(|path| facts.root().exists(path).unwrap_or(false)));
    let mut names: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for dir in DIRS.map(|dir| Path::new(dir).join("limits.d")) {
        for entry in facts.root().read_dir(&dir).unwrap_or_default() {
            let path = dir.join(&entry.name);
            if path.extension().is_some_and(|extension| extension == "conf") {
                // One of the administrator takes the place of what was shipped under its name.
                names.insert(entry.name, path);
            }
        }
    }
    paths.extend(names.into_values());
    let mut all = Vec::new();
    for path in paths {
        all.extend(facts.file(path)?);
    }
    Ok(all)
}

/// The most open files that a process may have; `None` where it cannot be told.
pub fn nr_open(facts: &Facts) -> Result<Option<u64>, Skip> {
    let number = |text: &[u8]| text.trim_ascii().to_str().ok()?.parse::<u64>().ok();
    if facts.runs() {
        return Ok(facts.file("/proc/sys/fs/nr_open")?.and_then(|file| number(&file.bytes)));
    }
    let files = facts.get::<SysctlFiles>()?;
    if let Some((_, set)) = files.setting("fs.nr_open").next() {
        return Ok(set.value.as_ref().and_then(|value| number(value)));
    }
    // Some builds of systemd raise it as far as it goes.
    let raises = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]
        .iter()
        .any(|path| facts.root().read(path).is_ok_and(|program| program.contains_str("fs/nr_open")));
    Ok((files.unread.is_empty() && !raises).then_some(NR_OPEN))
}
