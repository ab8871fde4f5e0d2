//! SELinux told to forbid nothing, or to label everything again.

use sickbay_formats::lines::with_line;
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::facts::system::selinux::Selinux;
use crate::mend::rebuild;
use crate::model::finding::Finding;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::tr;

/// Offers to label everything now, where the target's own program can tell how.
pub(crate) fn relabel(facts: &Facts, finding: &mut Finding, selinux: &Selinux) {
    if let Some((title, change)) = rebuild::labels(facts, &selinux.policy.0) {
        finding.repair(Risk::Safe, title, [change]);
    }
}

/// Offers to forbid nothing and to label everything again. Risky: it stays so until somebody sets it back.
pub(crate) fn permissive(facts: &Facts, finding: &mut Finding, selinux: &Selinux) {
    let Some((_, span)) = selinux.mode else { return };
    let config = &selinux.config;
    let mut changes = vec![Change::edit(config, with_word(config, span, "permissive"))];
    if facts.root().metadata("/.autorelabel").is_err() {
        changes.push(Change::create("/.autorelabel", "", 0o644));
    }
    let title = tr!(
        "set SELINUX=permissive and relabel all files at the next boot; it stays permissive until you set SELINUX=enforcing again"
    );
    finding.repair(Risk::Risky, title, changes);
    disabled(finding, selinux);
}

/// Always risky: it outlasts the fault, and whoever wrote enforcing did not want it.
pub(crate) fn disabled(finding: &mut Finding, selinux: &Selinux) {
    let Some((_, span)) = selinux.mode else { return };
    let off = [Change::edit(&selinux.config, with_word(&selinux.config, span, "disabled"))];
    finding.repair(Risk::Risky, tr!("set SELINUX=disabled"), off);
}

/// The file with another word in the place of one.
pub(crate) fn with_word(file: &SourceFile, span: Span, word: &str) -> Vec<u8> {
    with_line(&file.bytes, span.line, |line| {
        let key = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        Some([key, b"=", word.as_bytes()].concat())
    })
}
