//! The manifest: JSON, `sickbay/bundle/v1`. Fields are only ever added.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::snapshot::Refusal;
use crate::{DirEntry, FileKind, FileSystemUse, Lack, Metadata, Table, Volume};

pub(super) const SCHEMA: &str = "sickbay/bundle/v1";

/// The name of the first member.
pub(super) const MEMBER: &str = "sickbay-bundle.json";

/// Digits of a digest. A bundle has thousands of small members, and whole digests would be a tenth of it.
pub(super) const DIGITS: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) schema: String,
    /// The version of sickbay.
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) name: String,
    /// The release of the kernel that ran; none for a disk or a tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<String>,
    /// Its clock: seconds since 1970.
    pub(super) taken: i64,
    /// Where the target's `/etc/localtime` leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    /// Whether it was the running system that was asked.
    pub(super) live: bool,
    pub(super) took_ms: u64,
    /// How many bytes were masked.
    pub(super) masked: u64,
    /// The deadline came before the end; there was more than may be in a bundle.
    #[serde(default)]
    pub(super) late: bool,
    #[serde(default)]
    pub(super) full: bool,
    pub(super) volumes: Volumes,
    #[serde(default)]
    pub(super) opaque: Vec<String>,
    #[serde(default)]
    pub(super) notes: Vec<String>,
    pub(super) paths: Vec<NodeV1>,
    pub(super) answers: Vec<AnswerV1>,
}

/// What is known of one path.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct NodeV1 {
    pub(super) path: String,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub(super) meta: Option<MetaV1>,
    /// The text of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
    /// What one of the kernel's own links leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) leads_to: Option<MetaV1>,
    /// The entries of a directory, each after the letter of its kind as of `ls -l`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) entries: Option<Vec<String>>,
    /// There are more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) more: bool,
    /// The first digits of the digest of what was kept of its content, the member `files/PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    /// `end`: only its last lines were kept; `texts`: of a program only its texts; `lines`: of a package's files only those that
    /// were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<String>,
    /// Bytes that were masked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) masked: u64,
    /// Numbers of the blocks of 1 KiB that were kept, the member `blocks/PATH`, and its digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) blocks: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) blocks_sha256: Option<String>,
    /// Extended attributes in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) xattrs: Option<BTreeMap<String, String>>,
    /// What statvfs(3) told: size, free, available, inodes, inodes free, read-only, block, magic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) space: Option<[u64; 8]>,
    /// What was asked and not told, by question, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) lacks: BTreeMap<String, Refusal>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct AnswerV1 {
    pub(super) question: String,
    /// The digest of the answer, the member `answers/NUMBER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lack: Option<Refusal>,
    /// A short answer itself, in hexadecimal: it is no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) short: Option<String>,
}

/// What lstat(2) told; what is usual is left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MetaV1 {
    pub(super) kind: FileKind,
    pub(super) mode: String,
    #[serde(default, skip_serializing_if = "is_zero32")]
    uid: u32,
    #[serde(default, skip_serializing_if = "is_zero32")]
    gid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allocated: Option<u64>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    nlink: u64,
    mtime: i64,
    #[serde(default, skip_serializing_if = "is_zero32")]
    mtime_ns: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ctime: Option<i64>,
    dev: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    ino: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    rdev: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Volumes {
    Known(Vec<VolumeV1>),
    None(String),
    Unread(String),
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct VolumeV1 {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    fstype: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partuuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partlabel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parttype: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    start: u64,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lv: Option<(String, String)>,
    disk: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mounted_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hides: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_mounted_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subvolume: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls them
fn is_false(value: &bool) -> bool {
    !*value
}
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero32(value: &u32) -> bool {
    *value == 0
}
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(value: &u64) -> bool {
    *value == 1
}
fn one() -> u64 {
    1
}

/// Numbers of inodes that were left out are given anew from here on.
const INVENTED: u64 = 1 << 48;

impl MetaV1 {
    /// The number of the inode says something of the kernel's own files, of small ones, and where a file has several names.
    pub(super) fn of(path: &Path, meta: &Metadata) -> MetaV1 {
        let is_kernels = ["/proc", "/sys", "/run", "/dev"].iter().any(|top| path.starts_with(top));
        let keeps_ino = is_kernels || meta.kind == FileKind::File && meta.nlink != 1 || meta.ino <= 256;
        let usual = meta.size.div_ceil(4096) * 4096;
        MetaV1 {
            kind: meta.kind,
            mode: format!("{:04o}", meta.mode),
            uid: meta.uid,
            gid: meta.gid,
            size: meta.size,
            allocated: (meta.allocated != usual).then_some(meta.allocated),
            nlink: meta.nlink,
            mtime: meta.mtime.0,
            // The kernel's own files are as old as the first look at them.
            mtime_ns: if is_kernels { 0 } else { meta.mtime.1 },
            ctime: (meta.ctime.0 != meta.mtime.0).then_some(meta.ctime.0),
            dev: meta.dev,
            ino: if keeps_ino { meta.ino } else { 0 },
            rdev: meta.rdev,
        }
    }

    pub(super) fn metadata(&self, number: usize) -> Metadata {
        let mtime = (self.mtime, self.mtime_ns);
        Metadata {
            kind: self.kind,
            mode: u32::from_str_radix(&self.mode, 8).unwrap_or(0) & 0o7777,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            allocated: self.allocated.unwrap_or_else(|| self.size.div_ceil(4096).saturating_mul(4096)),
            nlink: self.nlink,
            mtime,
            atime: mtime,
            ctime: self.ctime.map_or(mtime, |seconds| (seconds, 0)),
            dev: self.dev,
            ino: if self.ino == 0 { INVENTED + number as u64 } else { self.ino },
            rdev: self.rdev,
        }
    }
}

/// Any path as text: bytes that are no UTF-8, control characters and the backslash are written `\xHH`.
pub(super) fn text(path: &OsStr) -> String {
    let mut out = String::new();
    for chunk in path.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\x5c"),
                c if c.is_control() => escape(&mut out, c.to_string().as_bytes()),
                c => out.push(c),
            }
        }
        escape(&mut out, chunk.invalid());
    }
    out
}

fn escape(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}"); // into memory
    }
}

/// The other way round.
pub(super) fn name(text: &str) -> OsString {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend(before.bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.extend(b"\\x");
                rest = after;
            }
        }
    }
    out.extend(rest.bytes());
    OsString::from_vec(out)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).filter_map(|digit| digit.try_into().ok()).collect();
    digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |all, digit| all << 4 | digit)).collect()
}

const KINDS: [(FileKind, char); 7] = [
    (FileKind::File, '-'),
    (FileKind::Dir, 'd'),
    (FileKind::Symlink, 'l'),
    (FileKind::Fifo, 'p'),
    (FileKind::Socket, 's'),
    (FileKind::CharDevice, 'c'),
    (FileKind::BlockDevice, 'b'),
];

pub(super) fn entry(entry: &DirEntry) -> String {
    let letter = KINDS.iter().find(|(kind, _)| *kind == entry.kind).map_or('-', |(_, letter)| *letter);
    format!("{letter}{}", text(&entry.name))
}

pub(super) fn dir_entry(text: &str) -> Option<DirEntry> {
    let letter = text.chars().next()?;
    let kind = KINDS.iter().find(|(_, known)| *known == letter)?.0;
    let name = name(text.get(1..)?);
    let is_name = !matches!(name.as_bytes(), b"" | b"." | b"..") && !name.as_bytes().contains(&b'/');
    is_name.then_some(DirEntry { name, kind })
}

pub(super) fn space(told: &FileSystemUse) -> [u64; 8] {
    let FileSystemUse { size, free, available, inodes, inodes_free, read_only, block, magic } = *told;
    [size, free, available, inodes, inodes_free, u64::from(read_only), block, magic]
}

pub(super) fn file_system_use(told: [u64; 8]) -> FileSystemUse {
    let [size, free, available, inodes, inodes_free, read_only, block, magic] = told;
    FileSystemUse { size, free, available, inodes, inodes_free, read_only: read_only != 0, block, magic }
}

impl Volumes {
    pub(super) fn of(volumes: &Result<Vec<Volume>, Lack>) -> Volumes {
        match volumes {
            Ok(list) => Volumes::Known(list.iter().map(VolumeV1::of).collect()),
            Err(Lack::None(why)) => Volumes::None(why.clone()),
            Err(Lack::Unread(why)) => Volumes::Unread(why.clone()),
        }
    }

    pub(super) fn volumes(self) -> Result<Vec<Volume>, Lack> {
        match self {
            Volumes::Known(list) => Ok(list.into_iter().map(VolumeV1::volume).collect()),
            Volumes::None(why) => Err(Lack::None(why)),
            Volumes::Unread(why) => Err(Lack::Unread(why)),
        }
    }
}

impl VolumeV1 {
    fn of(volume: &Volume) -> VolumeV1 {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| text(path.as_os_str()));
        VolumeV1 {
            name: volume.name.clone(),
            device: path(&volume.device),
            fstype: volume.fstype.clone(),
            uuid: volume.uuid.clone(),
            label: volume.label.clone(),
            partuuid: volume.partuuid.clone(),
            partlabel: volume.partlabel.clone(),
            parttype: volume.parttype.clone(),
            partition: volume.partition,
            table: volume.table.map(|table| if table == Table::Gpt { "gpt" } else { "mbr" }.to_owned()),
            start: volume.start,
            size: volume.size,
            lv: volume.lv.clone(),
            disk: volume.disk,
            mounted_on: path(&volume.mounted_on),
            hides: path(&volume.hides),
            last_mounted_on: path(&volume.last_mounted_on),
            subvolume: volume.subvolume.clone(),
        }
    }

    fn volume(self) -> Volume {
        let path = |path: Option<String>| path.map(|path| PathBuf::from(name(&path)));
        Volume {
            name: self.name,
            device: path(self.device),
            fstype: self.fstype,
            uuid: self.uuid,
            label: self.label,
            partuuid: self.partuuid,
            partlabel: self.partlabel,
            parttype: self.parttype,
            partition: self.partition,
            table: self.table.map(|table| if table == "gpt" { Table::Gpt } else { Table::Mbr }),
            start: self.start,
            size: self.size,
            lv: self.lv,
            disk: self.disk,
            mounted_on: path(self.mounted_on),
            hides: path(self.hides),
            last_mounted_on: path(self.last_mounted_on),
            condition: None,
            subvolume: self.subvolume,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_written() {
        for bytes in [&b"/etc/fstab"[..], b"/a\xff\\x41\n", "/ä".as_bytes(), b"/\\x"] {
            let path = OsString::from_vec(bytes.to_vec());
            assert_eq!(name(&text(&path)), path);
        }
        assert_eq!(text(OsStr::from_bytes(b"a\xff\x1b")), "a\\xff\\x1b");
        assert_eq!(unhex(&hex(&[0, 255, 16])), [0, 255, 16]);
        assert_eq!(dir_entry("dx").map(|entry| entry.kind), Some(FileKind::Dir));
        for wrong in ["", "d", "d..", "-a/b", "?x"] {
            assert_eq!(dir_entry(wrong), None, "{wrong}");
        }
    }
}
