//! What checks of kernel parameters share: the lines that would win one after the other.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines::with_comment;
use sickbay_formats::sysctl::Assignment;

use crate::facts::SourceFile;
pub(crate) use crate::facts::memory::size;
use crate::facts::sysctl_files::SysctlFiles;
use crate::repair::Change;

/// The lines that set `key` to more than is bearable, from the one that wins down to the first bearable one: all of
/// these have to go, or the next would win.
pub(crate) fn unbearable<'a>(
    files: &'a SysctlFiles,
    key: &'a str,
    bearable: impl Fn(u64) -> bool,
) -> Vec<(&'a Arc<SourceFile>, &'a Assignment, u64)> {
    files
        .setting(key)
        .map(|(file, assignment)| (file, assignment, number(assignment)))
        // What is no number the kernel refuses, and the line before it stays in force.
        .filter_map(|(file, assignment, value)| Some((file, assignment, value?)))
        .take_while(|(_, _, value)| !bearable(*value))
        .collect()
}

/// The value that wins.
pub(crate) fn winner(files: &SysctlFiles, key: &str) -> Option<u64> {
    files.setting(key).find_map(|(_, assignment)| number(assignment))
}

fn number(assignment: &Assignment) -> Option<u64> {
    let text = assignment.value.as_ref()?.to_str().ok()?;
    match text.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Makes comments of all of them, with one edit for each file.
pub(crate) fn comment_all(lines: &[(&Arc<SourceFile>, &Assignment, u64)]) -> Vec<Change> {
    let mut edited: Vec<(PathBuf, &Arc<SourceFile>, Vec<u8>)> = Vec::new();
    for (file, assignment, _) in lines {
        match edited.iter_mut().find(|(path, _, _)| *path == file.path) {
            Some((_, _, text)) => *text = with_comment(text, assignment.line),
            None => edited.push((file.path.clone(), file, with_comment(&file.bytes, assignment.line))),
        }
    }
    edited.into_iter().map(|(_, file, text)| Change::edit(file, text)).collect()
}
