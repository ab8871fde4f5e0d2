//! Files of directories that stand for each other: of two files with one name only the one in the strongest directory is read
//! (sysctl.d(5), modprobe.d(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_target::{FileKind, Reason};

use crate::facts::Facts;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// So many files are read; no system has as many.
const MOST: usize = 4096;

/// The paths with that extension in `dirs`, strongest first, in the order in which they are read: that of their names, whatever directory
/// they are in. Why a directory could not be read goes into `unread`.
pub fn chosen(facts: &Facts, dirs: &[&str], extension: &str, unread: &mut Vec<Text>) -> Vec<PathBuf> {
    let mut chosen: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for dir in dirs {
        let entries = match facts.root().read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => continue,
            Err(error) => {
                unread.push(Text::verbatim(error.to_string()));
                continue;
            }
        };
        for entry in entries.into_iter().filter(|entry| entry.kind != FileKind::Dir) {
            let path = Path::new(dir).join(&entry.name);
            if path.extension().is_some_and(|own| own == extension) {
                chosen.entry(entry.name).or_insert(path);
            }
        }
    }
    if chosen.len() > MOST {
        let dir = dirs.first().copied().unwrap_or_default();
        unread.push(tr!("{dir} has {count} files, of which {most} are read", dir, count = chosen.len(), most = MOST));
    }
    chosen.into_values().take(MOST).collect()
}

/// The files behind these paths. A link to /dev/null is how a name is masked; a link that dangles is passed over.
pub fn read(facts: &Facts, paths: Vec<PathBuf>, unread: &mut Vec<Text>) -> Vec<Arc<SourceFile>> {
    let mut files = Vec::new();
    for path in paths {
        let Ok(real) = facts.root().canonical(&path) else { continue };
        if real == Path::new("/dev/null") {
            continue;
        }
        match facts.file(&real) {
            Ok(Some(file)) => files.push(file),
            Ok(None) => {}
            Err(Skip::Unknown(why) | Skip::NotApplicable(why)) => unread.push(why),
        }
    }
    files
}
