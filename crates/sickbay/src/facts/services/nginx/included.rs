//! The files that `include` names: glob(3) in the target.

use std::path::{Component, Path, PathBuf};

use sickbay_formats::wildcard::fits;

use crate::facts::Facts;

/// What a pattern comes to.
pub(super) enum Named {
    /// These files, in nginx's order.
    Files(Vec<PathBuf>),
    /// It cannot be told.
    Unknown,
}

/// So many names are looked at.
const MOST: usize = 10_000;

pub(super) fn named(facts: &Facts, dir: &Path, value: &str) -> Named {
    let path = dir.join(value);
    if !value.contains(['*', '?', '[']) {
        return Named::Files(vec![path]);
    }
    // Nobody writes these; what they match depends on the locale.
    if value.contains('[') {
        return Named::Unknown;
    }
    let mut all = vec![PathBuf::from("/")];
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        let pattern = name.as_encoded_bytes();
        if !pattern.iter().any(|byte| matches!(byte, b'*' | b'?')) {
            all.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        let mut next = Vec::new();
        for above in &all {
            let Ok(mut entries) = facts.root().read_dir(above) else { continue };
            entries.retain(|entry| {
                let bytes = entry.name.as_encoded_bytes();
                (!bytes.starts_with(b".") || pattern.starts_with(b".")) && fits(bytes, pattern)
            });
            next.extend(entries.into_iter().map(|entry| above.join(entry.name)));
            if next.len() > MOST {
                return Named::Unknown;
            }
        }
        all = next;
    }
    // A link that leads nowhere is named like any other, and nginx then fails to open it.
    all.retain(|path| facts.root().metadata(path).is_ok());
    all.sort();
    Named::Files(all)
}
