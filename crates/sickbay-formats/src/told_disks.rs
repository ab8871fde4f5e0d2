//! What `blkid`, `df` and `/proc/mounts` tell of a machine's file systems, as tools for support write it down.

use bstr::{BString, ByteSlice};

use crate::octal::unescaped;

/// So many lines are read.
const LINES: usize = 100_000;

/// A line of `blkid`: `/dev/vda1: UUID="…" TYPE="ext4"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blkid {
    /// The node.
    pub device: String,
    /// What is told of it, in order.
    pub tags: Vec<(String, String)>,
}

impl Blkid {
    /// What is told under a name.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads what `blkid` prints; what is no line of it is passed over.
pub fn blkid(bytes: &[u8]) -> Vec<Blkid> {
    bytes.lines().take(LINES).filter_map(|line| blkid_line(&line.to_str_lossy())).collect()
}

fn blkid_line(line: &str) -> Option<Blkid> {
    let (device, mut rest) = line.split_once(": ")?;
    if !device.starts_with("/dev/") {
        return None;
    }
    let mut tags = Vec::new();
    while let Some((name, after)) = rest.trim_start().split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                // As blkid escapes what a shell would take for its own.
                (_, '\\') => value.extend(chars.next().map(|(_, char)| char)),
                (_, char) => value.push(char),
            }
        };
        tags.push((name.to_owned(), value));
        rest = after.get(end.saturating_add(1)..)?;
    }
    (!tags.is_empty()).then(|| Blkid { device: device.to_owned(), tags })
}

/// A row of `df`, of blocks or of inodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What is mounted.
    pub source: String,
    /// How much there is: of 1 KiB each where it is of blocks.
    pub total: u64,
    /// And is used, with what is kept for root left out.
    pub used: u64,
    /// And free for everybody.
    pub available: u64,
    /// Where it is mounted.
    pub place: String,
}

/// Reads what `df` prints in blocks of 1 KiB, or `df -i` in inodes, with or without `-T`. A row that is broken into two lines after
/// a long name is put together.
pub fn df(bytes: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut lines = bytes.lines().take(LINES).map(|line| line.to_str_lossy().into_owned());
    // Sizes for people (`-h`) are rounded, and other blocks would be taken for other sizes.
    let is_head = |line: &String| {
        line.starts_with("Filesystem") && ["1K-blocks", "1024-blocks", "Inodes"].iter().any(|word| line.contains(word))
    };
    if !lines.any(|line| is_head(&line)) {
        return rows;
    }
    let mut begun = String::new();
    for line in lines {
        if !begun.is_empty() {
            begun.push(' ');
        }
        begun.push_str(&line);
        if let Some(row) = row(&begun) {
            rows.push(row);
            begun.clear();
        } else if line.split_whitespace().count() != 1 {
            begun.clear();
        }
    }
    rows
}

fn row(line: &str) -> Option<Row> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    // Three numbers and a share: a name may have blanks in it.
    let is_share =
        |word: &&str| word.strip_suffix('%').is_some_and(|share| share.parse::<u64>().is_ok()) || **word == *"-";
    let at = (1..words.len().saturating_sub(4)).find(|at| {
        let numbers = (0..3).all(|offset| number(at.saturating_add(offset)).is_some());
        numbers && words.get(at.saturating_add(3)).is_some_and(is_share)
    })?;
    let place = words.get(at.checked_add(4)?..)?.join(" ");
    let (total, used, available) = (number(at)?, number(at.checked_add(1)?)?, number(at.checked_add(2)?)?);
    place.starts_with('/').then(|| Row {
        source: (*words.first().unwrap_or(&"")).to_owned(),
        total,
        used,
        available,
        place,
    })
}

/// A line of `/proc/mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: BString,
    /// Where.
    pub place: BString,
    /// What kind it is.
    pub fstype: BString,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// Reads `/proc/mounts`.
pub fn mounts(bytes: &[u8]) -> Vec<Mount> {
    let line = |line: &[u8]| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(unescaped);
        let (source, place, fstype) = (words.next()?, words.next()?, words.next()?);
        let options = words.next()?;
        let read_only = options.split_str(",").any(|option| option == b"ro");
        Some(Mount { source, place, fstype, read_only })
    };
    bytes.lines().take(LINES).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_blkid() {
        let text = br#"/dev/vda1: LABEL="a \"b\"" UUID="1-2" BLOCK_SIZE="4096" TYPE="ext4" PARTUUID="x-01"
/dev/mapper/rl-root: UUID="3" TYPE="xfs"
[plugin] timed out
/dev/vdb: PTUUID="9" PTTYPE="gpt"
"#;
        let all = blkid(text);
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].tag("LABEL"), all[0].tag("PARTUUID")), (Some("a \"b\""), Some("x-01")));
        assert_eq!((all[1].device.as_str(), all[1].tag("TYPE")), ("/dev/mapper/rl-root", Some("xfs")));
    }

    #[test]
    fn rows_of_df() {
        let text = b"Filesystem     1K-blocks    Used Available Use% Mounted on
proc                   0       0         0    - /proc
/dev/mapper/vg_a_long_name-lv_root
                51475068 51475068         0 100% /
//srv/share name  100 50 50 50% /mnt/a b
";
        let rows = df(text);
        let told: Vec<_> = rows.iter().map(|row| (row.place.as_str(), row.total, row.available)).collect();
        assert_eq!(told, [("/proc", 0, 0), ("/", 51_475_068, 0), ("/mnt/a b", 100, 50)]);
        assert_eq!(rows[1].source, "/dev/mapper/vg_a_long_name-lv_root");
        let inodes =
            df(b"Filesystem Type Inodes IUsed IFree IUse% Mounted on\n/dev/vda1 ext4 655360 655360 0 100% /\n");
        assert_eq!((inodes[0].total, inodes[0].available), (655_360, 0));
        assert_eq!(df(b"Filesystem Size Used Avail Use% Mounted on\n/dev/vda1 1 1 0 100% /\n"), []);
        assert_eq!(df(b"bash: df: command not found\n"), []);
    }

    #[test]
    fn lines_of_mounts() {
        let all = mounts(b"/dev/vda1 / ext4 rw,relatime 0 0\n/dev/vdb /a\\040b xfs ro,noatime 0 0\n");
        assert_eq!((all[1].place.as_bstr(), all[1].read_only, all[0].read_only), (b"/a b".as_bstr(), true, false));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[/a-z=\" \\\\0-9%:\n-]{0,200}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = (blkid(bytes), df(bytes), mounts(bytes));
                let _ = df(&[b"Filesystem 1K-blocks\n", bytes].concat());
            }
        }
    }
}
