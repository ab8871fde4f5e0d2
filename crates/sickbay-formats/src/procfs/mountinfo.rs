//! `/proc/PID/mountinfo`: what is mounted, proc(5).

use bstr::{BString, ByteSlice};

use crate::octal::unescaped;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The number of the mount.
    pub id: u64,
    /// The device number, "major:minor": two mounts of one file system have the same.
    pub device: String,
    /// Which directory of the file system is mounted.
    pub root: BString,
    /// Where it is mounted.
    pub place: BString,
    /// `tmpfs`, `cgroup2` …
    pub fstype: String,
    /// The device, or whatever word the one who mounted it gave.
    pub source: BString,
    /// Options of this mount: `rw,nosuid`.
    pub own_options: String,
    /// Options of the file system: `rw,memory`.
    pub options: String,
}

/// The mounts, the uppermost last; lines of another form are passed over.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let at = line.find(" - ")?;
    let own: Vec<&[u8]> = super::words(line.get(..at)?).collect();
    let of_file_system: Vec<&[u8]> = super::words(line.get(at + 3..)?).collect();
    let ([id, _, device, root, place, own_options, ..], [fstype, source, rest @ ..]) =
        (own.as_slice(), of_file_system.as_slice())
    else {
        return None;
    };
    Some(Mount {
        id: id.to_str().ok()?.parse().ok()?,
        device: device.to_str_lossy().into_owned(),
        root: unescaped(root),
        place: unescaped(place),
        fstype: fstype.to_str_lossy().into_owned(),
        source: unescaped(source),
        own_options: own_options.to_str_lossy().into_owned(),
        options: rest.first().map(|options| options.to_str_lossy().into_owned()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount() {
        let text = b"36 35 0:26 / /run/a\\040b rw,nosuid shared:1 - tmpfs tmpfs rw,size=100k\n\
            40 35 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\nbroken - x\n";
        let mounts = parse(text);
        let seen: Vec<_> = mounts
            .iter()
            .map(|m| (m.device.as_str(), m.place.to_string(), m.fstype.as_str(), m.options.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("0:26", "/run/a b".to_owned(), "tmpfs", "rw,size=100k"),
                ("0:30", "/sys/fs/cgroup/memory".to_owned(), "cgroup", "rw,memory")
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[0-9:/ \\\\-]{0,60}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
