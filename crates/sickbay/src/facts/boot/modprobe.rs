//! What modprobe.d says of modules.

use std::sync::Arc;

use sickbay_formats::modprobe::{Ban, bans};

use crate::facts::system::drop_in_files;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;

/// The lines of modprobe.d that keep modules from being loaded.
#[derive(Debug)]
pub struct Modprobe {
    /// Each with its file.
    pub bans: Vec<(Arc<SourceFile>, Ban)>,
    /// Files that could not be read, each with the reason.
    pub unread: Vec<Text>,
}

/// Where kmod looks, strongest first (modprobe.d(5)).
const DIRS: [&str; 5] =
    ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

impl Modprobe {
    /// The lines that keep `module` from being loaded for a device that asks for it.
    pub fn of<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a (Arc<SourceFile>, Ban)> {
        self.bans.iter().filter(move |(_, ban)| ban.module == module)
    }
}

impl Fact for Modprobe {
    fn gather(facts: &Facts) -> Result<Modprobe, Skip> {
        let mut unread = Vec::new();
        let paths = drop_in_files::chosen(facts, &DIRS, "conf", &mut unread);
        let mut all = Vec::new();
        for file in drop_in_files::read(facts, paths, &mut unread) {
            all.extend(bans(&file.bytes).into_iter().map(|ban| (Arc::clone(&file), ban)));
        }
        Ok(Modprobe { bans: all, unread })
    }
}
