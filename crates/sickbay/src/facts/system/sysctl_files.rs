//! Kernel parameters that files set at boot, and which of them wins.

use std::sync::Arc;

use sickbay_formats::sysctl::{self, Assignment};

use crate::facts::system::drop_in_files;
use crate::facts::system::release::{Init, System};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;

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
        let mut unread = Vec::new();
        let mut order = drop_in_files::chosen(facts, &DIRS, "conf", &mut unread);
        // systemd reads /etc/sysctl.conf only through a link in sysctl.d; everything else reads it last.
        if facts.get::<System>()?.init != Init::Systemd {
            order.push(SYSCTL_CONF.into());
        }
        let files = drop_in_files::read(facts, order, &mut unread);
        let parsed = files.into_iter().map(|file| {
            let assignments = sysctl::parse(&file.bytes);
            (file, assignments)
        });
        let files = parsed.collect();
        Ok(SysctlFiles { files, unread })
    }
}
