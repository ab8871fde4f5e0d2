//! Directories that fstab mounts on and that are not there.

use std::path::Path;

use sickbay_target::Reason;

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::facts::system::release::{Init, System};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "mount: /data: mount point does not exist." or "is not a directory", and a boot that stops in emergency
    /// mode or continues without the file system.
    ///
    /// ## What it finds
    /// Mount points in `/etc/fstab` that are not directories, or that do not exist on systems where nothing creates
    /// them.
    ///
    /// ## Why it matters
    /// Nothing can be mounted on a directory that does not exist ("mount point does not exist"). systemd creates
    /// missing directories itself when it mounts, so this is not a fault there; but a file in place of the directory
    /// stops systemd too.
    ///
    /// ## What the repair does
    /// Creates the directory, mode 0755.
    ///
    /// ## By hand
    /// ```sh
    /// mkdir -p ROOT/DIRECTORY
    /// ```
    "fstab-missing-mount-point", Boot, seed = ["B7"], proves = [Mounts], "an fstab mount point does not exist"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let fstab = facts.get::<Fstab>()?;
    let init = facts.get::<System>()?.init;
    let devices = facts.get::<Devices>().ok();
    let places: Vec<&Path> = fstab.sound().map(mount_point).collect();
    for entry in fstab.sound() {
        let place = mount_point(entry);
        if !place.has_root() || entry.has_option("noauto") || entry.has_option("bind") && entry.is_optional() {
            continue;
        }
        // Where another line's file system would be mounted above it and is not, the directory may be on that.
        let above =
            places.iter().filter(|above| above.parent().is_some() && place != **above && place.starts_with(above));
        let is_mounted = |above: &&&Path| devices.as_ref().is_some_and(|devices| devices.mounted_on(above).is_some());
        if above.filter(|above| !is_mounted(above)).count() > 0 || is_of_kernel(place) {
            continue;
        }
        // A device that is not there is the cause that matters.
        if devices.as_ref().is_some_and(|devices| matches!(devices.find(facts, &entry.source()), Lookup::Missing)) {
            continue;
        }
        let (message, severity, there) = match facts.root().stat(place) {
            Ok(metadata) if metadata.is_dir() || metadata.is_file() && entry.has_option("bind") => continue,
            Ok(_) => (tr!("{place} is used as a mount point but is not a directory", place), Severity::Critical, true),
            // A link that leads nowhere is in the way as a file is.
            Err(error) if matches!(error.reason, Reason::NotFound) && facts.root().metadata(place).is_ok() => {
                (tr!("{place} is used as a mount point but is not a directory", place), Severity::Critical, true)
            }
            // systemd makes the directory when it mounts (src/core/mount.c).
            Err(error) if matches!(error.reason, Reason::NotFound) && init == Init::Systemd => continue,
            Err(error) if matches!(error.reason, Reason::NotFound) => {
                (tr!("the mount point {place} does not exist", place), Severity::Error, false)
            }
            Err(error) => {
                found.could_not_tell(crate::model::text::Text::verbatim(error.to_string()));
                continue;
            }
        };
        let severity = if entry.is_optional() { severity.max(Severity::Warning) } else { severity };
        let finding = found.add(severity, message);
        finding.at(&fstab.file, entry.span(1));
        if there {
            finding.why(tr!("the mount fails, and whatever needs it does not start"));
        } else {
            finding.why(tr!("the mount fails"));
        }
        if severity == Severity::Critical {
            finding.stops(Stage::Mounts);
        }
        if there {
            finding.by_hand(tr!("move {place} aside and create a directory in its place", place));
            continue;
        }
        // From the top down, every directory that is missing.
        let missing: Vec<Change> = place
            .ancestors()
            .take_while(|dir| facts.root().metadata(dir).is_err())
            .map(|dir| Change::make_dir(dir, 0o755))
            .collect();
        finding.repair(Risk::Safe, tr!("create the directory {place}", place), missing.into_iter().rev());
    }
    Ok(())
}

/// Directories that only a running kernel or its early user space makes.
fn is_of_kernel(place: &Path) -> bool {
    ["/proc", "/sys", "/dev", "/run"].iter().any(|dir| place.starts_with(dir))
}
