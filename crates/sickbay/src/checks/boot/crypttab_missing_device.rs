//! Lines of crypttab whose device is not there.

use bstr::{BStr, ByteSlice};
use sickbay_formats::fstab::{self, Source};
use sickbay_formats::lines::{self, Line};

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::facts::system::release::{Init, System};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "A start job is running for /dev/disk/by-uuid/… (1min 30s)", then "Dependency failed for Cryptography
    /// Setup" and "You are in emergency mode".
    ///
    /// ## What it finds
    /// Lines of `/etc/crypttab` whose device is not on any of the target's disks, unless both the line and whatever
    /// fstab mounts from it are marked `nofail` or `noauto`.
    ///
    /// ## Why it matters
    /// systemd waits 90 seconds for the device at every boot. If fstab mounts what the line opens, the boot then stops
    /// in emergency mode: no network, no ssh.
    ///
    /// ## What the repair does
    /// Adds `nofail` to the line, and to the line in fstab, so that the system boots without the device; never for `/`,
    /// `/usr` and `/var`.
    ///
    /// ## By hand
    /// ```sh
    /// # then put the right UUID into ROOT/etc/crypttab
    /// blkid -t TYPE=crypto_LUKS
    /// ```
    "crypttab-missing-device", Boot, seed = ["B13"], proves = [Mounts], "crypttab waits for a device that does not exist"
}

const PATH: &str = "/etc/crypttab";

/// Options by which the start goes on without the device (crypttab(5), cryptdisks of Debian).
const OPTIONAL: [&[u8]; 3] = [b"nofail", b"noauto", b"_netdev"];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let file = facts.required(PATH)?;
    if facts.get::<System>()?.init != Init::Systemd {
        return Err(Skip::NotApplicable(tr!("only systemd waits for crypttab devices")));
    }
    let devices = facts.get::<Devices>()?;
    let fstab = facts.get::<Fstab>();
    for line in lines::lines(&file.bytes) {
        let fields: Vec<_> = lines::words(line.text).collect();
        let field = |number: usize| fields.get(number).and_then(|range| line.text.get(range.clone()));
        let (Some(name), Some(device), Some(place)) = (field(0), field(1), fields.get(1)) else { continue };
        let lookup = devices.find(facts, &Source::of(BStr::new(device), BStr::new("crypto_LUKS")));
        if name.starts_with(b"#") || matches!(lookup, Lookup::Volume(_) | Lookup::Several(_) | Lookup::Device) {
            continue;
        }
        let opened = [b"/dev/mapper/", name].concat();
        let mounts: Vec<_> = match &fstab {
            Ok(fstab) => fstab.sound().filter(|entry| !entry.is_optional() && entry.device() == opened).collect(),
            Err(_) => Vec::new(),
        };
        let is_optional = field(3).is_some_and(|all| all.split_str(",").any(|option| OPTIONAL.contains(&option)));
        if is_optional && mounts.is_empty() {
            continue;
        }
        if let Lookup::Untold(why) = lookup {
            found.could_not_tell(tr!("line {line} of {path}: {why}", line = line.number, path = PATH, why));
            continue;
        }
        let needed = mounts.iter().find(|entry| !entry.is_swap());
        let (name, device) = (name.to_str_lossy(), device.to_str_lossy());
        let message = tr!("{name} is opened from {device}, which is not on any disk of this system", name, device);
        let finding = if needed.is_some() { found.critical(message) } else { found.warning(message) };
        finding.at(&file, line.span(place.clone()));
        if !facts.runs() && facts.target().report().is_err() {
            finding.note(tr!("a disk that was not given may have it: --with adds one"));
        }
        match needed {
            Some(_) => finding.stops(Stage::Mounts).why(tr!("systemd waits 90 s for it, then drops to emergency mode")),
            None => finding.why(tr!("systemd waits 90 s for it at every boot")),
        };
        if let Some(place) = mounts.iter().map(|entry| mount_point(entry)).find(is_vital) {
            finding.by_hand(tr!("put the right device into the line: the system does not work without {place}", place));
            continue;
        }
        let mut changes = Vec::new();
        if !is_optional {
            changes.push(Change::edit(&file, with_nofail(&file.bytes, &line, fields.len())));
        }
        if let (Ok(fstab), false) = (&fstab, mounts.is_empty()) {
            // Each line keeps its number.
            let text = mounts.iter().fold(fstab.file.bytes.to_vec(), |text, entry| {
                let entries = fstab::entries(&text);
                let same = entries.iter().find(|other| other.line == entry.line);
                same.map_or_else(|| text.clone(), |entry| fstab::with_option(&text, entry, "nofail"))
            });
            changes.push(Change::edit(&fstab.file, text));
        }
        let title = tr!("add nofail to line {line}: the system boots without it", line = line.number);
        finding.repair(Risk::Safe, title, changes);
    }
    Ok(())
}

fn is_vital(place: &&std::path::Path) -> bool {
    ["/", "/usr", "/var"].iter().any(|vital| *place == std::path::Path::new(vital))
}

/// The text with `nofail` among the options of a line that has so many fields; `none` is a key that is asked for.
fn with_nofail(text: &[u8], line: &Line<'_>, fields: usize) -> Vec<u8> {
    lines::with_line(text, line.number, |line| {
        let end: &[u8] = match fields {
            2 => b" none nofail",
            3 => b" nofail",
            _ => {
                let options = lines::words(line).nth(3)?;
                let (before, after) = line.split_at_checked(options.end)?;
                return Some([before, b",nofail", after].concat());
            }
        };
        Some([line.trim_ascii_end(), end].concat())
    })
}
