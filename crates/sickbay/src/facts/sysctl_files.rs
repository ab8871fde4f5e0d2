//! Kernel parameters that files set at boot, and which of them wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_formats::sysctl::{self, Assignment};
use sickbay_target::{FileKind, Reason};

use crate::check::Skip;
use crate::facts::system::{Init, System};
use crate::facts::{Fact, Facts, SourceFile};
use crate::text::Text;

/// The files that are applied at boot, weakest first.
#[derive(Debug)]
pub struct SysctlFiles {
    /// Each file with what it sets.
    pub files: Vec<(Arc<SourceFile>, Vec<Assignment>)>,
    /// Files that could not be read, each with the reason.
    pub unread: Vec<Text>,
}

/// Where systemd-sysctl(8) and `sysctl --system` look, strongest first: of two files with one name only the first is
/// read (sysctl.d(5)).
const DIRS: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];

/// What came before sysctl.d.
const SYSCTL_CONF: &str = "/etc/sysctl.conf";

impl SysctlFiles {
    /// Every line that sets `key`, the one that wins first, each with its file.
    pub fn setting<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a Arc<SourceFile>, &'a Assignment)> {
        self.files.iter().rev().flat_map(move |(file, assignments)| {
            let ours = assignments.iter().rev().filter(move |one| one.key == key && one.value.is_some());
            ours.map(move |one| (file, one))
        })
    }
}

impl Fact for SysctlFiles {
    fn gather(facts: &Facts) -> Result<SysctlFiles, Skip> {
        let root = facts.root();
        let mut unread = Vec::new();
        // Files are read in the order of their names, whatever directory they are in.
        let mut chosen: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for dir in DIRS {
            let entries = match root.read_dir(dir) {
                Ok(entries) => entries,
                Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => continue,
                Err(error) => {
                    unread.push(Text::verbatim(error.to_string()));
                    continue;
                }
            };
            for entry in entries.into_iter().filter(|entry| entry.kind != FileKind::Dir) {
                let path = Path::new(dir).join(&entry.name);
                if path.extension().is_some_and(|extension| extension == "conf") {
                    chosen.entry(entry.name).or_insert(path);
                }
            }
        }
        let mut order: Vec<PathBuf> = chosen.into_values().collect();
        // systemd reads /etc/sysctl.conf only through a link in sysctl.d; everything else reads it last.
        if facts.get::<System>()?.init != Init::Systemd {
            order.push(SYSCTL_CONF.into());
        }
        let mut files = Vec::new();
        for path in order {
            // An empty file or a link to /dev/null is how a name is masked; a link that dangles is passed over.
            let Ok(real) = root.canonical(&path) else { continue };
            if real == Path::new("/dev/null") {
                continue;
            }
            match facts.file(&real) {
                Ok(Some(file)) => {
                    let assignments = sysctl::parse(&file.bytes);
                    files.push((file, assignments));
                }
                Ok(None) => {}
                Err(Skip::Unknown(why) | Skip::NotApplicable(why)) => unread.push(why),
            }
        }
        Ok(SysctlFiles { files, unread })
    }
}
