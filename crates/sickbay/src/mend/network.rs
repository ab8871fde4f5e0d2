//! What checks of the network share: findings at lines of its files, and edits that are tried before they are offered.

use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines::{lines, with_comment, with_line};
use sickbay_formats::network::{Complaint, Dialect, Outcome, Place, What};

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

/// Whether some card gets an address.
pub(crate) fn has_address(outcome: &Outcome) -> bool {
    outcome.kernel.links.iter().any(|one| one.name != "lo" && (!one.addresses.is_empty() || one.dynamic))
}

/// The last line of what ifupdown takes for one stanza, from its first on (interfaces(5)): blanks and comments at its end are not of it.
pub(crate) fn end_of_stanza(text: &[u8], first: usize) -> usize {
    const HEADS: [&[u8]; 8] =
        [b"iface", b"auto", b"mapping", b"source", b"source-directory", b"no-auto-down", b"no-scripts", b"rename"];
    let mut last = first;
    for line in lines(text).skip_while(|line| line.number <= first) {
        let word = line.text.fields_with(char::is_whitespace).next().unwrap_or_default();
        if HEADS.contains(&word) || word.starts_with(b"allow-") {
            break;
        }
        if !word.is_empty() && !word.starts_with(b"#") {
            last = line.number;
        }
    }
    last
}

/// Offers to bring an interface up at boot. Risky: it may be off on purpose.
pub(crate) fn bring_up_at_boot(
    finding: &mut Finding,
    files: &NetworkFiles,
    after: &AfterRestart,
    place: &Place,
    file: &SourceFile,
    name: &str,
) {
    let line_of = |key: &[u8]| {
        let is_it = |text: &[u8]| text.trim_ascii_start().to_ascii_lowercase().starts_with(key);
        lines(&file.bytes).find(|line| is_it(line.text)).map(|line| line.number)
    };
    let bytes = match (after.charge.dialect, line_of(b"onboot="), line_of(b"autoconnect=")) {
        (Some(Dialect::Ifupdown), ..) => {
            with_line(&file.bytes, place.line, |line| Some([format!("auto {name}\n").as_bytes(), line].concat()))
        }
        // NetworkManager reads these, too.
        (Some(Dialect::Ifcfg | Dialect::NetworkManager), Some(line), _) => {
            with_line(&file.bytes, line, |_| Some(b"ONBOOT=yes".to_vec()))
        }
        (Some(Dialect::NetworkManager), _, Some(line)) => {
            with_line(&file.bytes, line, |_| Some(b"autoconnect=true".to_vec()))
        }
        _ => return,
    };
    if has_address(&after.with_edit(files, &file.path.to_string_lossy(), &bytes)) {
        finding.repair(Risk::Risky, tr!("bring {name} up at boot", name), [Change::edit(file, bytes)]);
    }
}

/// Offers blanks instead of the tabs that indent lines: as many as make a file that is taken, and by which a card gets an address.
pub(crate) fn untab(finding: &mut Finding, files: &NetworkFiles, after: &AfterRestart, file: &Arc<SourceFile>) {
    for width in [2, 4, 6, 8] {
        let bytes: Vec<u8> = lines(&file.bytes)
            .flat_map(|line| {
                let rest = line.text.trim_ascii_start();
                let indent = line.text.get(..line.text.len() - rest.len()).unwrap_or_default();
                let indent = indent.replace(b"\t", b" ".repeat(width));
                [indent.as_slice(), rest, line.end].concat()
            })
            .collect();
        let title = tr!("indent {path} with blanks instead of tabs", path = file.path.as_path());
        let is_taken = |outcome: &Outcome| {
            let refused = |one: &Complaint| matches!(one.what, What::BlocksAll(_) | What::FileRefused(_));
            !outcome.complaints.iter().any(refused) && has_address(outcome)
        };
        offer(finding, files, after, file, bytes, title, is_taken);
        if !finding.repairs.is_empty() {
            return;
        }
    }
}
