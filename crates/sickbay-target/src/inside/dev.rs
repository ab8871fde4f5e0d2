//! The /dev of a program of the target: what every program needs, and something to know the target's volumes by.
//!
//! No device is handed in. A volume is a file that holds the first mebibyte of it, where its UUID and kind are read:
//! enough for what packs an initramfs to name the root by its UUID and to pack the checker of its file system.

use std::fmt::Write;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::mount::mount_bind;
use sickbay_formats::superblock::HEAD;

use super::{Copy, attributes, through};
use crate::{Target, Volume};

/// A volume as it is shown.
pub(super) struct Described {
    /// Below /dev: `vda1`, `mapper/vg-root`.
    name: String,
    fstype: String,
    uuid: String,
    label: Option<String>,
    head: Vec<u8>,
}

/// The target's volumes that have a UUID.
pub(super) fn describe(target: &Target) -> Vec<Described> {
    let volumes = target.volumes.as_deref().unwrap_or_default();
    let described = |volume: &Volume| {
        Some(Described {
            name: name(volume)?,
            fstype: volume.fstype.clone(),
            uuid: volume.uuid.clone().filter(|uuid| is_plain(uuid))?,
            label: volume.label.clone().filter(|label| is_plain(label)),
            head: head(target, volume).unwrap_or_default(),
        })
    };
    volumes.iter().filter_map(described).collect()
}

/// Whether it can be a file name and a word in XML.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !text.starts_with('.')
}

fn name(volume: &Volume) -> Option<String> {
    if let Some((vg, lv)) = &volume.lv {
        let name = format!("{}-{}", vg.replace('-', "--"), lv.replace('-', "--"));
        return is_plain(&name).then(|| format!("mapper/{name}"));
    }
    let letter = char::from(b'a' + u8::try_from(volume.disk).ok().filter(|disk| *disk < 26)?);
    Some(match volume.partition {
        Some(number) => format!("vd{letter}{number}"),
        None => format!("vd{letter}"),
    })
}

fn head(target: &Target, volume: &Volume) -> Option<Vec<u8>> {
    if let Some(device) = &volume.device {
        let file = std::fs::File::open(device).ok()?;
        let mut head = Vec::new();
        file.take(HEAD as u64).read_to_end(&mut head).ok()?;
        return Some(head);
    }
    target.disks.get(volume.disk)?.read_at(volume.start, HEAD).ok()
}

/// Fills the /dev of a copy.
pub(super) fn make(copy: &Copy, volumes: &[Described]) -> io::Result<()> {
    // Not tty: who may open the terminal may type into it.
    for name in ["null", "zero", "full", "random", "urandom"] {
        let path = Path::new("/dev").join(name);
        write(copy, &path, b"")?;
        let at = copy.root.resolve(&path, OFlags::empty()).map_err(io::Error::other)?;
        let bound = mount_bind(&path, through(at.as_fd()));
        if name == "null" {
            bound?;
        }
    }
    let links = [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
    for (name, to) in links {
        link(copy, &Path::new("/dev").join(name), to)?;
    }
    let mut known = String::new();
    for volume in volumes {
        let path = Path::new("/dev").join(&volume.name);
        if copy.root.metadata(&path).is_ok() {
            continue;
        }
        write(copy, &path, &volume.head)?;
        link(copy, &Path::new("/dev/disk/by-uuid").join(&volume.uuid), &format!("../../{}", volume.name))?;
        let label = volume.label.as_ref().map(|label| format!(" LABEL=\"{label}\"")).unwrap_or_default();
        // What libblkid remembers (libblkid(3)); it believes it of what is no block device.
        let _ = writeln!(
            known,
            "<device DEVNO=\"0x0000\" TIME=\"1.0\"{label} UUID=\"{}\" TYPE=\"{}\">{}</device>",
            volume.uuid,
            volume.fstype,
            path.display()
        );
    }
    copy.lend(&[("/run/blkid/blkid.tab".into(), known.into_bytes())])
}

fn write(copy: &Copy, path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        copy.need_dir(parent, 0o755)?;
    }
    copy.writer()?.replace(path, content, &attributes(0o600), ".new").map_err(io::Error::other)
}

fn link(copy: &Copy, path: &Path, to: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        copy.need_dir(parent, 0o755)?;
    }
    copy.writer()?.link(path, Path::new(to), &attributes(0o777), ".new").map_err(io::Error::other)
}
