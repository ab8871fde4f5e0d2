//! A file of the network's configuration that its program does not take.

use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines::{lines, with_comment, with_line, with_words, without_carriage_returns};
use sickbay_formats::network::{Complaint, Dialect, Outcome, Syntax, What};

use crate::facts::Facts;
use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::words;
use crate::mend::network::{bring_up_at_boot, end_of_stanza, has_address, offer, point, untab};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::spelling::nearest;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: after a restart an address, a route or the whole network is missing, and the program that should set it
    /// up reports success or a single line of error.
    ///
    /// ## What it finds
    /// A line of the network's configuration that the program in charge refuses or drops: one `iface` line because of which ifupdown starts
    /// nothing, not even lo; an error of YAML or an unknown key because of which netplan does nothing at all; a `.network` file without
    /// `[Match]`, or one that the user systemd-network may not read; a connection that others may read or that is not root's, which
    /// NetworkManager ignores; a card that NetworkManager leaves to ifupdown, which is not there; no card that is brought up at boot at all
    /// (`ONBOOT=no`, `autoconnect=false`, no `auto` line); blanks around the `=` of an `ifcfg-*`, a quote
    /// that is not closed, carriage returns from Windows, an address or netmask that is none, `TYPE=bridge`, and in `route-*` a
    /// comment behind a route, a line of the other syntax, a gap in the numbers.
    ///
    /// ## Why it matters
    /// The machine has no network after a restart, or lacks an address or a route, and most of these programs say nothing of it.
    ///
    /// ## What the repair does
    /// Takes away carriage returns and blanks around `=`, corrects a misspelt key or option, a mode, an owner, `TYPE`, tabs in YAML; makes a
    /// comment of a stanza because of which ifupdown refuses all; lets a card be brought up at boot (risky: it may be off on purpose). Each only
    /// where a restart then goes well. What the line should have said otherwise only a person knows.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay explain network
    /// netplan generate    # netplan
    /// ifup --no-act --all    # ifupdown
    /// ```
    "network-config-unusable", Network, seed = ["C11"], proves = [Network, Reachable], "a line of the network's configuration is refused or dropped"
}

/// Keys and options that are misspelt.
const KNOWN: [&str; 34] = [
    "addresses",
    "gateway4",
    "gateway6",
    "nameservers",
    "routes",
    "dhcp4",
    "dhcp6",
    "match",
    "macaddress",
    "set-name",
    "interfaces",
    "parameters",
    "ethernets",
    "bridges",
    "bonds",
    "vlans",
    "optional",
    "renderer",
    "version",
    "address",
    "gateway",
    "netmask",
    "broadcast",
    "network",
    "metric",
    "hwaddress",
    "dns-nameservers",
    "dns-search",
    "post-up",
    "pre-up",
    "Address",
    "Gateway",
    "Destination",
    "static",
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let (files, after) = (facts.get::<NetworkFiles>()?, facts.get::<AfterRestart>()?);
    if !after.counts() {
        return Err(Skip::NotApplicable(after.charge.why.clone()));
    }
    let all = &after.outcome.complaints;
    let reaches = has_address(&after.outcome);
    for (at, Complaint { place, what }) in all.iter().enumerate() {
        let Some(is) = severity(what, reaches) else { continue };
        // One word for one line, and one for a file from Windows.
        let told = |other: &Complaint| {
            severity(&other.what, reaches).is_some()
                && (other.place == *place
                    || (matches!(other.what, What::CarriageReturn(_)) && other.place.path == place.path))
        };
        if all.iter().take(at).any(told) {
            continue;
        }
        let finding = found.add(is, words::text(what));
        point(finding, &files, place);
        if is == Severity::Error {
            finding.why(tr!("after a restart the machine has no network, or not the one that is configured"));
            // What is refused may be of a second card.
            if !reaches {
                finding.stops(Stage::Network).stops(Stage::Reachable);
            }
        }
        let Some(file) = files.source(&place.path) else { continue };
        let gone = |outcome: &Outcome| {
            let same = |one: &Complaint| {
                one.place.path == place.path && std::mem::discriminant(&one.what) == std::mem::discriminant(what)
            };
            !outcome.complaints.iter().any(|one| same(one) && one.place.line == place.line)
                && outcome.complaints.len() < all.len() + 1
        };
        let text = lines(&file.bytes)
            .find(|line| line.number == place.line)
            .map(|line| line.text.to_vec())
            .unwrap_or_default();
        match what {
            What::CarriageReturn(_) => {
                let title = tr!("take the carriage returns out of {path}", path = file.path.as_path());
                offer(finding, &files, &after, file, without_carriage_returns(&file.bytes), title, gone);
            }
            What::BlankBeforeEquals(name) => {
                let closed = text.to_str_lossy();
                if let Some((head, tail)) = closed.split_once('=') {
                    let new = format!("{}={}", head.trim_end(), tail.trim_start()).into_bytes();
                    let bytes = with_line(&file.bytes, place.line, |_| Some(new));
                    let title = tr!("take the blanks around the = of {name} away", name = &**name);
                    offer(finding, &files, &after, file, bytes, title, gone);
                }
            }
            What::TypeCase(value, meant) => {
                replace(finding, &files, &after, place.line, file, value, meant, gone);
            }
            What::UnknownOption(word) | What::BlocksAll(Syntax::Key(word) | Syntax::Method(word)) => {
                if let Some(meant) = nearest(word, KNOWN.into_iter(), 2) {
                    replace(finding, &files, &after, place.line, file, word, meant, gone);
                }
            }
            What::TooOpen(mode) => {
                let title = tr!("chmod 600 {path}", path = file.path.as_path());
                let change = Change::Mode { path: file.path.clone(), before: *mode, after: 0o600 };
                finding.repair(Risk::Safe, title, [change]);
            }
            What::NotRoots(user) => {
                let path = file.path.as_path();
                if let Ok(found) = facts.root().stat(path) {
                    let title = tr!("give {path} to root", path);
                    let before = (found.uid, found.gid);
                    let after = (found.uid.saturating_sub(*user), found.gid);
                    finding.repair(Risk::Safe, title, [Change::Owner { path: path.to_owned(), before, after }]);
                }
            }
            What::Unreadable(mode) => {
                let title = tr!("chmod 644 {path}", path = file.path.as_path());
                let change = Change::Mode { path: file.path.clone(), before: *mode, after: 0o644 };
                finding.repair(Risk::Safe, title, [change]);
            }
            What::NotStarted(name) => bring_up_at_boot(finding, &files, &after, place, file, name),
            What::BlocksAll(Syntax::Tab) => untab(finding, &files, &after, file),
            _ => {}
        }
        // The other stanzas count again once the refused one is a comment; it did nothing anyway.
        if finding.repairs.is_empty()
            && matches!(what, What::BlocksAll(_) | What::LeftToIfupdown(_))
            && after.charge.dialect != Some(Dialect::Netplan)
        {
            let last = end_of_stanza(&file.bytes, place.line);
            let bytes = (place.line..=last).fold(file.bytes.clone(), |bytes, line| with_comment(&bytes, line));
            let path = file.path.as_path();
            let title = match place.line == last {
                true => tr!("comment out line {line} of {path}", line = last, path),
                false => tr!("comment out lines {first} to {last} of {path}", first = place.line, last, path),
            };
            offer(finding, &files, &after, file, bytes, title, |outcome| gone(outcome) && has_address(outcome));
        }
        if matches!(what, What::UnknownOption(_) | What::BadAddress(_) | What::BadMask(_)) {
            finding.explains(&file.path);
        }
        if finding.repairs.is_empty() {
            finding.by_hand(tr!("correct the line"));
        }
    }
    Ok(())
}

/// Offers to write another word.
#[expect(clippy::too_many_arguments, reason = "what an edit needs")]
fn replace(
    finding: &mut Finding,
    files: &NetworkFiles,
    after: &AfterRestart,
    line: usize,
    file: &Arc<SourceFile>,
    word: &str,
    meant: &str,
    good: impl Fn(&Outcome) -> bool,
) {
    let Some(found) = lines(&file.bytes).find(|one| one.number == line) else { return };
    let Some(at) = found.text.find(word) else { return };
    let bytes = with_words(&file.bytes, found.span(at..at + word.len()), meant.as_bytes());
    let title = tr!("write {meant} for {word}", meant, word);
    offer(finding, files, after, file, bytes, title, good);
}

/// How bad it is; `None` for what other checks tell, and for what may be meant.
fn severity(what: &What, reaches: bool) -> Option<Severity> {
    match what {
        // On purpose, where another card is brought up.
        What::NotStarted(_) => (!reaches).then_some(Severity::Error),
        What::BlocksAll(_)
        | What::FileRefused(_)
        | What::TooOpen(_)
        | What::NotRoots(_)
        | What::Unreadable(_)
        | What::LeftToIfupdown(_)
        | What::UnclosedQuote
        | What::CarriageReturn(_) => Some(Severity::Error),
        What::BadMask(_) | What::BadAddress(_) | What::TypeCase(..) => Some(Severity::Error),
        What::BlankBeforeEquals(_) | What::Garbage(_) | What::OtherSyntax | What::Gap(_) | What::UnknownOption(_) => {
            Some(Severity::Warning)
        }
        What::GivenTwice(_) | What::PrefixBeatsMask(..) | What::CopyStarted(_) | What::RunAsCommand(_) => {
            Some(Severity::Warning)
        }
        _ => None,
    }
}
