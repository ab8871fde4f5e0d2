//! What checks of the network share: findings at lines of its files, and edits that are tried before they are offered.

use std::sync::Arc;

use sickbay_formats::lines::{lines, with_comment};
use sickbay_formats::network::{Outcome, Place};

use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::model::finding::Finding;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// Points at a line, or at the whole file.
pub(crate) fn point(finding: &mut Finding, files: &NetworkFiles, place: &Place) {
    let Some(file) = files.source(&place.path) else {
        finding.at_path(&place.path);
        return;
    };
    match lines(&file.bytes).find(|line| line.number == place.line) {
        Some(line) => finding.at(file, line.whole()),
        None => finding.at_path(&file.path),
    };
}

/// Offers to make a comment of a line. Safe where a restart then gives what is wanted.
pub(crate) fn offer_comment(
    finding: &mut Finding,
    files: &NetworkFiles,
    after: &AfterRestart,
    place: &Place,
    good: impl Fn(&Outcome) -> bool,
) {
    let Some(file) = files.source(&place.path) else { return };
    let title = tr!("comment out line {line} of {path}", line = place.line, path = file.path.as_path());
    offer(finding, files, after, file, with_comment(&file.bytes, place.line), title, good);
}

/// Offers an edit. Safe where a restart then gives what is wanted, else not offered at all.
pub(crate) fn offer(
    finding: &mut Finding,
    files: &NetworkFiles,
    after: &AfterRestart,
    file: &Arc<SourceFile>,
    bytes: Vec<u8>,
    title: Text,
    good: impl Fn(&Outcome) -> bool,
) {
    let path = file.path.to_string_lossy();
    if bytes != file.bytes && good(&after.with_edit(files, &path, &bytes)) {
        finding.repair(Risk::Safe, title, [Change::edit(file, bytes)]);
    }
}

/// Whether there is a default route of IPv4 by a router.
pub(crate) fn has_default(outcome: &Outcome) -> bool {
    outcome
        .kernel
        .table(sickbay_formats::network::kernel::MAIN, false)
        .iter()
        .any(|route| route.dst.is_default() && route.via.is_some())
}
