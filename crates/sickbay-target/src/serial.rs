//! What a disk says of itself: by which it is known again, and by which one that a cloud attached is found.
//!
//! The kernel's name of an attached disk depends on what else is attached; the number that the cloud gave it does not. virtio
//! shows it in `serial` (20 bytes of it: VIRTIO_BLK_ID_BYTES in include/uapi/linux/virtio_blk.h), NVMe in `device/serial`, SCSI
//! in the unit serial number page (`device/vpd_pg80`); what the guest agents of a cloud know besides are links in
//! `/dev/disk/by-id`.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// So much of a number virtio carries.
const VIRTIO: usize = 20;

/// The disks of this machine, no partitions, that say of themselves that they are `id`: a volume's id as the cloud prints it
/// (`vol-0a1b…`, `d-bp1…`), a serial number, or the last part of a name in `/dev/disk/by-id` (`google-NAME`). Sorted.
pub fn disks_by_serial(id: &str) -> Vec<PathBuf> {
    disks_in(Path::new("/sys/block"), Path::new("/dev"), id)
}

fn disks_in(sys: &Path, dev: &Path, id: &str) -> Vec<PathBuf> {
    let is = |serial: &str| is_same(id, serial);
    let mut found: Vec<PathBuf> = names(sys)
        .into_iter()
        .filter(|name| serials(&sys.join(name)).iter().any(|serial| is(serial)))
        .map(|name| dev.join(name.replace('!', "/")))
        .collect();
    if found.is_empty() {
        let links = dev.join("disk/by-id");
        let named = names(&links).into_iter().filter(|name| {
            let is_partition = name.rsplit_once("-part").is_some_and(|(_, number)| number.parse::<u32>().is_ok());
            !is_partition
                && name.strip_suffix(id).is_some_and(|before| before.is_empty() || before.ends_with(['-', '_']))
        });
        found = named.filter_map(|name| std::fs::canonicalize(links.join(name)).ok()).collect();
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What tells a disk from all others, for its next start; blanks in it are underscores. A partition has its disk's.
pub(crate) fn identity(device: &Path) -> Option<String> {
    let metadata = std::fs::metadata(device).ok().filter(|metadata| metadata.file_type().is_block_device())?;
    let number = metadata.rdev();
    let sys = format!("/sys/dev/block/{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let sys = std::fs::canonicalize(sys).ok()?;
    let files = ["wwid", "serial", "device/wwid", "device/serial", "dm/uuid", "md/uuid"];
    let read = |dir: &Path| {
        let text = files.iter().find_map(|file| std::fs::read_to_string(dir.join(file)).ok());
        text.map(|text| text.split_whitespace().collect::<Vec<_>>().join("_")).filter(|text| !text.is_empty())
    };
    read(&sys).or_else(|| read(sys.parent()?))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// All serial numbers of a disk.
fn serials(disk: &Path) -> Vec<String> {
    let text =
        |file: &str| std::fs::read(disk.join(file)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let page = std::fs::read(disk.join("device/vpd_pg80")).ok();
    // SPC-4, 7.8.13: four bytes of header come first.
    let page = page.and_then(|page| page.get(4..).map(|serial| String::from_utf8_lossy(serial).into_owned()));
    let all = ["serial", "device/serial"].into_iter().filter_map(text).chain(page);
    all.map(|serial| serial.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
        .filter(|serial| !serial.is_empty())
        .collect()
}

/// Whether a disk with that serial number is what `id` calls by name. Of `vol-0a1b` NVMe shows `vol0a1b`, of `d-bp1a` virtio
/// shows `bp1a`.
fn is_same(id: &str, serial: &str) -> bool {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let serial_plain = plain(serial);
    if serial_plain.is_empty() {
        return false;
    }
    let without_kind = id.split_once('-').map(|(_, rest)| plain(rest));
    [Some(plain(id)), without_kind].into_iter().flatten().any(|wanted| {
        wanted == serial_plain || (serial.len() == VIRTIO && wanted.len() > VIRTIO && wanted.starts_with(&serial_plain))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_clouds_name_their_disks() {
        assert!(is_same("vol-0123456789abcdef0", "vol0123456789abcdef0"));
        assert!(is_same("d-bp1j4yd3qe4x8q9sjrfa", "bp1j4yd3qe4x8q9sjrfa"));
        assert!(is_same("5e3d0f6a-1c1b-4f5e-9d3c-0a1b2c3d4e5f", "5e3d0f6a-1c1b-4f5e-9"));
        assert!(is_same("rescue-me", "rescue-me"));
        for (id, serial) in [("vol-0123", "vol01234"), ("d-", ""), ("", ""), ("d-bp1", "bp"), ("vol-1", "vol-2")] {
            assert!(!is_same(id, serial), "{id} {serial}");
        }
    }

    #[test]
    fn a_disk_is_found_wherever_its_number_stands() {
        let dir = tempfile::tempdir().expect("a directory");
        let (sys, dev) = (dir.path().join("sys"), dir.path().join("dev"));
        let put = |path: PathBuf, bytes: &[u8]| {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, bytes).expect("a file");
        };
        put(sys.join("vdb/serial"), b"bp1aaa");
        put(sys.join("nvme1n1/device/serial"), b"vol0bbb             \n");
        put(sys.join("sdc/device/vpd_pg80"), b"\0\x80\0\x08  ccc-9 ");
        put(sys.join("sdd/size"), b"8");
        put(dev.join("sdd"), b"");
        std::fs::create_dir_all(dev.join("disk/by-id")).expect("a directory");
        for name in ["google-data-1", "google-data-1-part1"] {
            std::os::unix::fs::symlink("../../sdd", dev.join("disk/by-id").join(name)).expect("a link");
        }
        let found = |id: &str| -> Vec<String> {
            let paths = disks_in(&sys, &dev, id);
            paths.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(found("d-bp1aaa"), ["vdb"]);
        assert_eq!(found("vol-0bbb"), ["nvme1n1"]);
        assert_eq!(found("ccc-9"), ["sdc"]);
        assert_eq!(found("data-1"), ["sdd"]);
        assert!(found("ta-1").is_empty() && found("part1").is_empty() && found("").is_empty());
    }
}
