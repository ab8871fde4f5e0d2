//! What checks of kernel parameters share: the lines that would win one after the other.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines::with_comment;
use sickbay_formats::sysctl::Assignment;

use crate::facts::memory::Memory;
pub(crate) use crate::facts::memory::size;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::model::finding::Finding;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::tr;

/// A line that sets a key, its file, and the number it sets it to.
pub(crate) type Setting<'a> = (&'a Arc<SourceFile>, &'a Assignment, u64);

/// The lines that set `key` to more than is bearable, from the one that wins down to the first bearable one: all of
/// these have to go, or the next would win.
pub(crate) fn unbearable<'a>(files: &'a SysctlFiles, key: &'a str, bearable: impl Fn(u64) -> bool) -> Vec<Setting<'a>> {
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

/// The number that a line sets its key to.
pub(crate) fn number(assignment: &Assignment) -> Option<u64> {
    let text = assignment.value.as_ref()?.to_str().ok()?;
    match text.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Says what the memory is known from, points at the lines behind the first, and offers to make comments of all of them.
pub(crate) fn offer(finding: &mut Finding, key: &str, lines: &[Setting<'_>], memory: Option<&Memory>, risk: Risk) {
    let Some((file, assignment, _)) = lines.first() else { return };
    if let Some(memory) = memory {
        finding.evidence(memory.source.display().to_string(), memory.words.clone());
        finding.detail("MemTotal", memory.total.saturating_mul(1024));
    }
    for (file, assignment, _) in lines.iter().skip(1) {
        finding.at(file, assignment.span);
    }
    let title = if lines.len() == 1 {
        tr!("comment out line {line} of {path}", line = assignment.line, path = file.path.as_path())
    } else {
        tr!("comment out {count} {count?line that sets|lines that set} {key}", count = lines.len(), key)
    };
    finding.repair(risk, title, comment_all(lines));
}

/// Makes comments of all of them, with one edit for each file.
pub(crate) fn comment_all(lines: &[Setting<'_>]) -> Vec<Change> {
    let mut edited: Vec<(PathBuf, &Arc<SourceFile>, Vec<u8>)> = Vec::new();
    for (file, assignment, _) in lines {
        match edited.iter_mut().find(|(path, _, _)| *path == file.path) {
            Some((_, _, text)) => *text = with_comment(text, assignment.line),
            None => edited.push((file.path.clone(), file, with_comment(&file.bytes, assignment.line))),
        }
    }
    edited.into_iter().map(|(_, file, text)| Change::edit(file, text)).collect()
}
