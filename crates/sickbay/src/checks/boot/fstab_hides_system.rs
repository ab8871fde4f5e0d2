//! A line of fstab mounts something over what the system needs to start.

use std::path::Path;

use sickbay_formats::fstab::Entry;
use sickbay_formats::lines::with_comment;

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the boot stops in the middle, "No such file or directory" or "Permission denied" for programs that are
    /// on the disk, shortly after the local file systems are mounted.
    ///
    /// ## What it finds
    /// An fstab line that mounts a disk or a tmpfs over `/etc`, `/bin`, `/sbin`, `/lib` or `/lib64`, which are needed
    /// before anything is mounted; a tmpfs over `/usr`; a file system over `/usr` or `/var` that has none of what
    /// belongs there, where the root itself has it. Also `noexec` on `/` or `/usr`.
    ///
    /// ## Why it matters
    /// As soon as it is mounted, the system's programs, units and settings are gone: the boot stops in the middle, or
    /// whatever starts next does not find what it needs. A new disk for `/var` that was added to fstab before anything
    /// was copied to it does this.
    ///
    /// ## What the repair does
    /// Comments out the line: the system boots from what the root has. Removes `noexec`.
    ///
    /// ## By hand
    /// ```sh
    /// # comment out the line, boot, copy the data over, then put the line back
    /// mount DEVICE /mnt && cp -a /var/. /mnt/
    /// ```
    "fstab-hides-system", Boot, seed = ["B7"], proves = [Mounts], "fstab mounts something over directories the system needs"
}

/// Read before fstab is, or by what reads it.
const OF_THE_ROOT: [&str; 6] = ["/etc", "/bin", "/sbin", "/lib", "/lib64", "/lib32"];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let fstab = facts.get::<Fstab>()?;
    for entry in fstab.sound().filter(|entry| !entry.has_option("noauto")) {
        let place = mount_point(entry);
        if hides(facts, entry, place) {
            let line = entry.line;
            let message = match entry.fstype().to_string().as_str() {
                "tmpfs" => tr!("line {line} of fstab mounts an empty tmpfs over {place}", line, place),
                _ => tr!(
                    "line {line} of fstab mounts {device} over {place}, which hides the system's own files",
                    line,
                    device = entry.device(),
                    place
                ),
            };
            found
                .critical(message)
                .at(&fstab.file, entry.span(1))
                .why(tr!("what the system needs from {place} disappears as soon as it is mounted", place))
                .stops(Stage::Mounts)
                .repair(
                    Risk::Safe,
                    tr!("comment out line {line}", line),
                    [Change::edit(&fstab.file, with_comment(&fstab.file.bytes, line))],
                );
        }
        let is_for_programs = [Path::new("/"), Path::new("/usr")].contains(&place);
        if is_for_programs
            && entry.options().filter(|option| *option == "noexec" || *option == "exec").last() == Some("noexec".into())
        {
            let options: Vec<String> =
                entry.options().filter(|option| *option != "noexec").map(ToString::to_string).collect();
            let options = if options.is_empty() { "defaults".to_owned() } else { options.join(",") };
            let text = sickbay_formats::fstab::with_field(&fstab.file.bytes, entry, 3, &options);
            found
                .critical(tr!("line {line} of fstab mounts {place} with noexec", line = entry.line, place))
                .at(&fstab.file, entry.span(3))
                .why(tr!("no program can be executed any more"))
                .stops(Stage::Mounts)
                .repair(Risk::Safe, tr!("write {options}", options), [Change::edit(&fstab.file, text)]);
        }
    }
    Ok(())
}

fn hides(facts: &Facts, entry: &Entry, place: &Path) -> bool {
    // A directory can be mounted over itself, and an overlay shows what is below.
    if entry.has_option("bind") || entry.has_option("rbind") || entry.fstype() == "overlay" {
        return false;
    }
    if OF_THE_ROOT.iter().any(|own| place == Path::new(own)) {
        return true;
    }
    if entry.fstype() == "tmpfs" {
        return place == Path::new("/usr");
    }
    let Ok(devices) = facts.get::<Devices>() else { return false };
    match devices.find(facts, &entry.source()) {
        Lookup::Volume(volume) => volume.hides.as_deref() == Some(place),
        _ => false,
    }
}
