//! fstab(5), line by line and without loss.

use std::ops::Range;

use bstr::{BStr, BString, ByteSlice};

use crate::lines::{self, Line};
use crate::octal;
use crate::span::Span;

/// A field of a line: its value with the escapes (`\040`) resolved, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The value.
    pub value: BString,
    /// Its place in the file.
    pub span: Span,
    /// Its bytes in the line.
    range: Range<usize>,
}

/// A line that mounts or swaps something, or wants to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line's number, from 1 on.
    pub line: usize,
    /// All words of the line.
    pub whole: Span,
    /// The fields, as many as there are: device, mount point, type, options, dump, pass.
    pub fields: Vec<Field>,
    /// What makes the line no entry that mount(8) accepts.
    pub defect: Option<Defect>,
}

/// What is wrong with the form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Fewer than the three fields without which nothing can be mounted.
    TooFewFields,
    /// The mount point is no absolute path, nor `none` or `swap`.
    NoMountPoint,
    /// The fifth or sixth field is no number.
    NoNumber,
    /// More than six fields.
    TooManyFields,
    /// The line ends in a carriage return, which becomes part of its last field.
    CarriageReturn,
    /// A NUL byte: the C library sees the line end there.
    Nul,
}

/// What the first field names (fstab(5), mount(8)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `UUID=`, or its link in /dev/disk/by-uuid.
    Uuid(String),
    /// `LABEL=`
    Label(String),
    /// `PARTUUID=`
    PartUuid(String),
    /// `PARTLABEL=`
    PartLabel(String),
    /// Another path below /dev.
    Device(String),
    /// Something that needs no block device: a file system of the kernel's own, a network share, a directory.
    NoDevice,
}

/// File systems that take no block device.
const WITHOUT_DEVICE: [&str; 47] = [
    "proc",
    "sysfs",
    "tmpfs",
    "ramfs",
    "devtmpfs",
    "devpts",
    "mqueue",
    "hugetlbfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "cgroup",
    "cgroup2",
    "bpf",
    "pstore",
    "efivarfs",
    "binfmt_misc",
    "fusectl",
    "rpc_pipefs",
    "nfsd",
    "usbfs",
    "selinuxfs",
    "autofs",
    "overlay",
    "overlayfs",
    "aufs",
    "unionfs",
    "none",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "virtiofs",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "lustre",
    "gfs2",
    "ocfs2",
    "sshfs",
    "davfs",
    "zfs",
    "afs",
    "vboxsf",
];

impl Source {
    /// Reads a first field, given the type of the third.
    pub fn of(field: &BStr, fstype: &BStr) -> Source {
        let text = field.to_str_lossy();
        let unquoted = |value: &str| value.trim_matches('"').to_owned();
        if let Some((tag, value)) = text.split_once('=') {
            match tag {
                "UUID" => return Source::Uuid(unquoted(value)),
                "LABEL" => return Source::Label(unquoted(value)),
                "PARTUUID" => return Source::PartUuid(unquoted(value)),
                "PARTLABEL" => return Source::PartLabel(unquoted(value)),
                _ => {}
            }
        }
        let fstype = fstype.to_str_lossy();
        if fstype.starts_with("fuse.") || WITHOUT_DEVICE.contains(&fstype.as_ref()) {
            return Source::NoDevice;
        }
        Source::device(&text)
    }

    /// Reads the path of a device node, or what `root=` of a kernel command line says.
    pub fn of_root_argument(value: &str) -> Source {
        Source::of(BStr::new(value.as_bytes()), BStr::new(""))
    }

    fn device(text: &str) -> Source {
        let Some(name) = text.strip_prefix("/dev/") else { return Source::NoDevice };
        let link = |dir: &str| name.strip_prefix(dir).map(udev_decoded);
        if let Some(value) = link("disk/by-uuid/") {
            Source::Uuid(value)
        } else if let Some(value) = link("disk/by-label/") {
            Source::Label(value)
        } else if let Some(value) = link("disk/by-partuuid/") {
            Source::PartUuid(value)
        } else if let Some(value) = link("disk/by-partlabel/") {
            Source::PartLabel(value)
        } else {
            Source::Device(text.to_owned())
        }
    }
}

/// Names in /dev/disk have `\x20` for a blank (systemd's `encode_devnode_name`).
fn udev_decoded(name: &str) -> String {
    let mut out = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'\\', [b'x', high, low, after @ ..]) = (*first, tail)
            && let Some(byte) =
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
        {
            out.push(byte);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Entry {
    fn field(&self, index: usize) -> &BStr {
        self.fields.get(index).map_or(BStr::new(""), |field| field.value.as_bstr())
    }

    /// The first field.
    pub fn device(&self) -> &BStr {
        self.field(0)
    }

    /// The second field.
    pub fn mount_point(&self) -> &BStr {
        self.field(1)
    }

    /// The third field.
    pub fn fstype(&self) -> &BStr {
        self.field(2)
    }

    /// What the first field names.
    pub fn source(&self) -> Source {
        if self.has_option("bind") || self.has_option("rbind") || self.has_option("loop") || self.is_loop_file() {
            return Source::NoDevice;
        }
        Source::of(self.device(), self.fstype())
    }

    /// An image file is mounted through a loop device without being told to.
    fn is_loop_file(&self) -> bool {
        self.device().starts_with(b"/") && !self.device().starts_with(b"/dev/")
    }

    /// The words of the fourth field.
    pub fn options(&self) -> impl Iterator<Item = &BStr> {
        self.field(3).split(|&byte| byte == b',').map(BStr::new)
    }

    /// Whether the fourth field has this word, with or without a value.
    pub fn has_option(&self, name: &str) -> bool {
        self.options().any(|option| {
            option == name || option.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        })
    }

    /// Whether a boot goes on without it: `nofail`, `noauto`, or mounted only when somebody looks.
    pub fn is_optional(&self) -> bool {
        ["nofail", "noauto", "x-systemd.automount"].iter().any(|option| self.has_option(option))
    }

    /// Whether it swaps.
    pub fn is_swap(&self) -> bool {
        self.fstype() == "swap"
    }

    /// The value of an option of the fourth field: `subvol=`.
    pub fn option(&self, name: &str) -> Option<&BStr> {
        self.options().find_map(|option| Some(BStr::new(option.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?)))
    }

    /// Where a field stands, else the whole line.
    pub fn span(&self, field: usize) -> Span {
        self.fields.get(field).map_or(self.whole, |field| field.span)
    }
}

/// The entries of a file, damaged ones too; comments and empty lines are passed over.
pub fn entries(text: &[u8]) -> Vec<Entry> {
    lines::lines(text).filter_map(|line| entry(&line)).collect()
}

fn entry(line: &Line) -> Option<Entry> {
    let content = line.text.trim_ascii_start();
    if content.trim_ascii_end().is_empty() || content.starts_with(b"#") {
        return None;
    }
    let fields: Vec<Field> = words(line.text)
        .map(|range| Field {
            value: unescaped(line.text.get(range.clone()).unwrap_or_default()),
            span: line.span(range.clone()),
            range,
        })
        .collect();
    let mut entry = Entry { line: line.number, whole: line.whole(), fields, defect: None };
    entry.defect = defect(line.text, &entry);
    Some(entry)
}

/// Fields are parted by blanks and tabs; a carriage return at the end counts as a word's.
fn words(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text.get(at..)?.iter().take_while(|byte| is_blank(byte)).count();
        let length = text.get(at..)?.iter().take_while(|byte| !is_blank(byte)).count();
        let start = at;
        at += length;
        (length > 0).then_some(start..at)
    })
    .filter(move |range| text.get(range.clone()) != Some(b"\r"))
}

fn unescaped(word: &[u8]) -> BString {
    octal::unescaped(word.strip_suffix(b"\r").unwrap_or(word))
}

fn defect(text: &[u8], entry: &Entry) -> Option<Defect> {
    let is_number = |field: usize| entry.fields.get(field).is_none_or(|f| f.value.iter().all(u8::is_ascii_digit));
    // A comment may follow the sixth field: mount(8) reads no further.
    let is_comment = entry.fields.get(6).is_some_and(|field| field.value.starts_with(b"#"));
    if text.contains(&0) {
        Some(Defect::Nul)
    } else if entry.fields.len() < 3 {
        Some(Defect::TooFewFields)
    } else if !entry.mount_point().starts_with(b"/") && !entry.is_swap() && entry.mount_point() != "none" {
        Some(Defect::NoMountPoint)
    } else if text.ends_with(b"\r") {
        Some(Defect::CarriageReturn)
    } else if !(is_early_comment(entry) || is_number(4) && is_number(5)) {
        Some(Defect::NoNumber)
    } else if entry.fields.len() > 6 && !is_comment {
        Some(Defect::TooManyFields)
    } else {
        None
    }
}

/// A comment in the place of the numbers is an old habit that every reader tolerates.
fn is_early_comment(entry: &Entry) -> bool {
    entry.fields.iter().skip(4).take(2).any(|field| field.value.starts_with(b"#"))
}

/// The text with another value in one field of an entry; the blanks around it stay.
pub fn with_field(text: &[u8], entry: &Entry, field: usize, value: &str) -> Vec<u8> {
    let Some(field) = entry.fields.get(field) else { return text.to_owned() };
    let escaped = value.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011");
    lines::with_line(text, entry.line, |line| {
        let (before, after) = (line.get(..field.range.start)?, line.get(field.range.end..)?);
        Some([before, escaped.as_bytes(), after].concat())
    })
}

/// The text with another option in an entry, which may have no fourth field yet.
pub fn with_option(text: &[u8], entry: &Entry, option: &str) -> Vec<u8> {
    match entry.fields.get(3) {
        Some(field) => {
            let options = field.value.to_str_lossy();
            let options =
                if options == "defaults" { format!("defaults,{option}") } else { format!("{options},{option}") };
            with_field(text, entry, 3, &options)
        }
        None => lines::with_line(text, entry.line, |line| {
            Some([line.trim_ascii_end(), b" defaults,", option.as_bytes()].concat())
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"# a comment\n\
        UUID=6f /            ext4    errors=remount-ro 0       1\n\
        \n\
        UUID=\"7a\"\t/mnt/my\\040disk xfs defaults\n\
        /dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n\
        /dev/disk/by-label/my\\x20data /data ext4 defaults,nofail 0 2 # the data\n\
        tmpfs /tmp tmpfs size=1G 0 0\n\
        //nas/share /nas cifs credentials=/root/c 0 0\n\
        hello world\n\
        /swapfile none swap sw 0 0\r\n";

    #[test]
    fn fields_and_sources() {
        let all = entries(TEXT);
        assert_eq!(all.len(), 8);
        assert_eq!(all[0].source(), Source::Uuid("6f".into()));
        assert_eq!(all[0].span(1), Span { line: 2, column: 9, len: 1 });
        assert_eq!(all[1].mount_point(), "/mnt/my disk");
        assert_eq!(all[1].source(), Source::Uuid("7a".into()));
        assert!(all[2].is_optional());
        assert_eq!(all[3].source(), Source::Label("my data".into()));
        assert_eq!(all[3].defect, None);
        assert_eq!(all[4].source(), Source::NoDevice);
        assert_eq!(all[5].source(), Source::NoDevice);
        assert_eq!(all[6].defect, Some(Defect::TooFewFields));
        assert_eq!(all[7].defect, Some(Defect::CarriageReturn));
        assert_eq!(all[7].source(), Source::NoDevice);
    }

    #[test]
    fn defects() {
        let defect = |text: &str| entries(text.as_bytes())[0].defect;
        assert_eq!(defect("UUID=1 data ext4 defaults 0 2"), Some(Defect::NoMountPoint));
        assert_eq!(defect("UUID=1 /data ext4 defaults O 2"), Some(Defect::NoNumber));
        assert_eq!(defect("UUID=1 /data ext4 defaults 0 2 7"), Some(Defect::TooManyFields));
        assert_eq!(defect("UUID=1 /data ext4"), None);
        assert_eq!(defect("UUID=1 /data ext4 defaults,noatime"), None);
        assert_eq!(defect("UUID=1 swap swap defaults 0 0"), None);
        assert_eq!(defect("\0\0\0"), Some(Defect::Nul));
    }

    #[test]
    fn edits_touch_one_word() {
        let all = entries(TEXT);
        let text = with_field(TEXT, &all[0], 0, "UUID=8b");
        assert_eq!(text.lines().nth(1).unwrap(), b"UUID=8b /            ext4    errors=remount-ro 0       1");
        let text = with_option(TEXT, &all[1], "nofail");
        assert_eq!(text.lines().nth(3).unwrap(), b"UUID=\"7a\"\t/mnt/my\\040disk xfs defaults,nofail");
        assert_eq!(text.lines().count(), TEXT.lines().count());
        assert_eq!(with_option(b"a /b c", &entries(b"a /b c")[0], "nofail"), b"a /b c defaults,nofail");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            for entry in entries(&text) {
                for index in 0..entry.fields.len() {
                    let range = entry.fields[index].range.clone();
                    // Putting the same bytes back gives the same file.
                    let edited = lines::with_line(&text, entry.line, |line| {
                        Some([&line[..range.start], &line[range.clone()], &line[range.end..]].concat())
                    });
                    prop_assert_eq!(&edited, &text);
                }
                with_option(&text, &entry, "nofail");
            }
        }
    }
}
