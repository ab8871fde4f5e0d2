//! The files that a process has open now: of whoever does much IO. Nothing is asked of the files themselves, which may hang.

use std::collections::BTreeSet;
use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::procfs::mountinfo::{self, Mount};
use sickbay_formats::procfs::{fields, task};
use sickbay_target::Tasks;

use crate::facts::Facts;
use crate::facts::io::burst::{Burst, is_on, names};
use crate::facts::io::devices::{Devices, number};
use crate::sample::{OpenFile, Window};

/// So many open files of a process are looked through.
const FILES: usize = 256;

/// Of so many processes.
const DOERS: usize = 3;

/// Adds to those who do most the files that they have open on that disk, where they still run.
pub fn add(facts: &Facts, window: &Window, devices: &Devices, burst: &mut Burst) {
    let Ok(mut tasks) = Tasks::open(facts.root(), &window.place) else { return };
    let all = names(window);
    let known: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    for doer in burst.doers.iter_mut().filter(|doer| doer.share >= 5.0).take(DOERS) {
        let began = tasks.read(&format!("{}/stat", doer.pid)).ok().and_then(|text| Some(task::parse(&text)?.began));
        // Its number may be another's by now.
        if began == Some(doer.began) && doer.files.is_empty() {
            doer.files = of(&mut tasks, doer.pid, doer.began);
            doer.files.retain(|file| is_on(file, &burst.disk, devices, &known));
        }
    }
}

/// The open files of a process that have a path.
fn of(tasks: &mut Tasks<'_>, pid: u32, began: u64) -> Vec<OpenFile> {
    let mounts = tasks.read_long(&format!("{pid}/mountinfo")).map(|text| mountinfo::parse(&text)).unwrap_or_default();
    let mut files = Vec::new();
    for descriptor in tasks.descriptors(pid, FILES) {
        let Ok(path) = tasks.link(&format!("{pid}/fd/{descriptor}")) else { continue };
        if !path.is_absolute() {
            continue;
        }
        let info = tasks.read(&format!("{pid}/fdinfo/{descriptor}")).unwrap_or_default();
        let value = |name: &str| fields::rest_of(&info, name).and_then(|rest| rest.to_str().ok());
        files.push(OpenFile {
            pid,
            began,
            descriptor,
            device: on(&mounts, &path).and_then(|mount| number(&mount.device)),
            position: value("pos:").and_then(|pos| pos.parse().ok()),
            flags: value("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok()),
            path,
        });
    }
    files
}

/// The mount that a path is on: the deepest, of those at one place the uppermost.
fn on<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let depth = |mount: &Mount| {
        let place = Path::new(mount.place.to_str().ok()?);
        path.starts_with(place).then(|| place.components().count())
    };
    mounts
        .iter()
        .filter_map(|mount| Some((depth(mount)?, mount)))
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, mount)| mount)
}

/// Bits of `flags`: how it was opened.
const ACCESS: u32 = 0o3;

/// Whether it was opened for writing; unknown is yes.
pub fn is_written(file: &OpenFile) -> bool {
    file.flags.is_none_or(|flags| flags & ACCESS != 0)
}

/// Whether it was opened for reading; unknown is yes.
pub fn is_read(file: &OpenFile) -> bool {
    file.flags.is_none_or(|flags| flags & ACCESS != 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_file_was_opened() {
        let file = |flags| OpenFile { flags, ..OpenFile::default() };
        let kinds = [Some(0o100_000), Some(0o100_001), Some(0o140_002), None]
            .map(|flags| (is_read(&file(flags)), is_written(&file(flags))));
        assert_eq!(kinds, [(true, false), (false, true), (true, true), (true, true)]);
    }
}
