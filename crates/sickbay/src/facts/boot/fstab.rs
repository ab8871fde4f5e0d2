//! /etc/fstab of the target.

use std::path::Path;
use std::sync::Arc;

use sickbay_formats::fstab::{self, Entry, Source};
use sickbay_target::Volume;

use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// What shall be mounted.
#[derive(Debug)]
pub struct Fstab {
    /// The file itself.
    pub file: Arc<SourceFile>,
    /// Every line that is no comment, damaged ones too.
    pub entries: Vec<Entry>,
}

impl Fstab {
    /// Where it is.
    pub const PATH: &str = "/etc/fstab";

    /// The lines that mount(8) accepts. A carriage return at the end of one is another check's matter.
    pub fn sound(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| matches!(entry.defect, None | Some(fstab::Defect::CarriageReturn)))
    }

    /// Whether any line names a block device; where none does, the disks need not be known.
    pub fn names_devices(&self) -> bool {
        self.sound().any(|entry| entry.source() != Source::NoDevice)
    }

    /// The line for the root file system.
    pub fn root(&self) -> Option<&Entry> {
        self.sound().find(|entry| entry.mount_point() == "/")
    }

    /// Volumes that no line names and that are mounted nowhere else: what a line that names nothing may have meant.
    pub fn unclaimed<'a>(&self, facts: &Facts, devices: &'a Devices) -> Vec<&'a Volume> {
        let claimed: Vec<&Volume> = self
            .sound()
            .flat_map(|entry| match devices.find(facts, &entry.source()) {
                Lookup::Volume(volume) => vec![volume],
                Lookup::Several(volumes) => volumes,
                _ => Vec::new(),
            })
            .collect();
        devices
            .volumes
            .iter()
            .filter(|volume| !volume.fstype.is_empty() && volume.mounted_on.as_deref() != Some(Path::new("/")))
            .filter(|volume| !claimed.contains(volume))
            .collect()
    }
}

/// The mount point of a line as a path of the target.
pub fn mount_point(entry: &Entry) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(entry.mount_point()))
}

impl Fact for Fstab {
    fn gather(facts: &Facts) -> Result<Fstab, Skip> {
        let file = facts.required(Fstab::PATH)?;
        Ok(Fstab { entries: fstab::entries(&file.bytes), file })
    }
}

/// Whether a subvolume that is named at the top of a btrfs is not the one in which the root is. One further down may hold
/// another root: nobody has looked there.
pub(crate) fn is_other_subvolume(named: &str, is: &str) -> bool {
    let (named, is) = (named.trim_matches('/'), is.trim_matches('/'));
    named != is && !named.contains('/') && !named.is_empty()
}
