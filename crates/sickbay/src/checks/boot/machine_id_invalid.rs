//! /etc/machine-id was lost or holds something else.

use std::collections::BTreeSet;

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::boot::fstab::Fstab;
use crate::facts::system::release::{Init, System, systemd_version};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "System cannot boot: Missing /etc/machine-id and /etc is mounted read-only.", "Failed to start Journal
    /// Service" or "Failed to start D-Bus System Message Bus"; or the DHCP server gives another address.
    ///
    /// ## What it finds
    /// `/etc/machine-id` is missing although this system had one (its journal, its boot loader entries or D-Bus' copy
    /// have it), or what is in it is no ID: anything but 32 hexadecimal digits. An empty file is how images are made, and
    /// well.
    ///
    /// ## Why it matters
    /// systemd makes a new ID at every boot, or none: the journal begins anew under another name, DHCP leases and boot
    /// loader entries belong to another machine. systemd 231 and 232 start neither journald nor D-Bus with it, and where
    /// `/etc` stays read-only systemd does not start without the file.
    ///
    /// ## What the repair does
    /// Writes the ID that this system had, where only one is found; otherwise makes the file empty, so that the next boot
    /// sets a new one.
    ///
    /// ## By hand
    /// ```sh
    /// ls ROOT/var/log/journal
    /// systemd-machine-id-setup --root=ROOT
    /// ```
    "machine-id-invalid", Boot, seed = [], proves = [], may_stop = [Init], "/etc/machine-id is lost or invalid"
}

const PATH: &str = "/etc/machine-id";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.get::<System>()?.init != Init::Systemd {
        return Err(Skip::NotApplicable(tr!("only systemd reads machine-id")));
    }
    let file = facts.file(PATH)?;
    let had = had(facts);
    let text = file.as_ref().map(|file| file.bytes.trim_ascii());
    let version = systemd_version(facts.root());
    let is_grave = version.is_some_and(|version| (231..=232).contains(&version));
    let (message, severity) = match text {
        Some(text) if text.is_empty() || text == b"uninitialized" || is_id(text) => return Ok(()),
        Some(_) => (
            tr!("{path} does not contain a machine ID", path = PATH),
            if is_grave { Severity::Error } else { Severity::Note },
        ),
        // An image, or a container to be: nobody has lost anything.
        None if had.is_empty() => return Ok(()),
        None => {
            let severity = match () {
                () if stays_read_only(facts) => Severity::Critical,
                () if is_grave => Severity::Error,
                () => Severity::Note,
            };
            (tr!("{path} is missing, and this system had one", path = PATH), severity)
        }
    };
    let finding = found.add(severity, message);
    match &file {
        Some(file) => finding.at(file, sickbay_formats::lines::span_at(&file.bytes, 0..file.bytes.len().min(32))),
        None => finding.at_path(PATH),
    };
    finding.why(match severity {
        Severity::Critical => tr!("/etc stays read-only, and systemd does not start without the file"),
        Severity::Error => tr!("this release of systemd starts neither journald nor D-Bus with it"),
        _ => tr!("systemd generates a new ID at every boot: a new journal, a new DHCP lease, boot entries that match no machine"),
    });
    if severity == Severity::Critical {
        finding.stops(Stage::Init);
    }
    let mut ids = had.iter();
    let (new, title) = match (ids.next(), ids.next()) {
        (Some((id, place)), None) => {
            (format!("{id}\n"), tr!("write {id}, which {place} has", id = id.as_str(), place = place.as_str()))
        }
        _ => (String::new(), tr!("make {path} empty: the next boot sets a new ID", path = PATH)),
    };
    let change = match &file {
        Some(file) => Change::edit(file, new.into_bytes()),
        None => Change::create(PATH, new, 0o444),
    };
    finding.repair(Risk::Safe, title, [change]);
    Ok(())
}

fn is_id(text: &[u8]) -> bool {
    text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit) && text.iter().any(|byte| *byte != b'0')
}

/// The IDs that this system had, each with a place that has it.
fn had(facts: &Facts) -> BTreeSet<(String, String)> {
    let mut all: BTreeSet<(String, String)> = BTreeSet::new();
    let mut add = |id: &str, place: String| {
        if is_id(id.as_bytes()) && !all.iter().any(|(known, _)| known == id) {
            all.insert((id.to_owned(), place));
        }
    };
    if let Ok(Some(file)) = facts.file("/var/lib/dbus/machine-id") {
        add(&file.bytes.trim_ascii().to_str_lossy(), "/var/lib/dbus/machine-id".to_owned());
    }
    for dir in ["/var/log/journal", "/boot/loader/entries"] {
        for entry in facts.root().read_dir(dir).unwrap_or_default() {
            let name = entry.name.to_string_lossy().into_owned();
            add(name.get(..32).unwrap_or_default(), format!("{dir}/{name}"));
        }
    }
    all
}

fn stays_read_only(facts: &Facts) -> bool {
    facts.get::<Fstab>().is_ok_and(|fstab| fstab.root().is_some_and(|entry| entry.has_option("ro")))
}
