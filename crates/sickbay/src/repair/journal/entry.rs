//! What one entry of a journal says: the former and the new state of every path, as JSON keeps them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sickbay_target::{Attributes, Flags, Root, Times};

use crate::repair::apply::Error;

/// The state of a path, before or after a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// Nothing is there.
    Absent,
    /// A regular file.
    File {
        /// Where its content is.
        content: Content,
        /// Mode, owner, times, extended attributes.
        attributes: Attrs,
    },
    /// A directory; what is in it is not meant.
    Dir {
        /// Mode, owner, times, extended attributes.
        attributes: Attrs,
    },
    /// A symbolic link.
    Link {
        /// What it says.
        target: Name,
        /// Owner and times.
        attributes: Attrs,
    },
    /// Something whose content stays as it is; only the attributes are meant.
    Attributes {
        /// Mode, owner, times, extended attributes.
        attributes: Attrs,
    },
}

impl Node {
    /// Its attributes; `None` of nothing.
    pub fn attributes(&self) -> Option<&Attrs> {
        match self {
            Node::Absent => None,
            Node::File { attributes, .. }
            | Node::Dir { attributes }
            | Node::Link { attributes, .. }
            | Node::Attributes { attributes } => Some(attributes),
        }
    }
}

/// Where the content of a file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A file of the entry's directory.
    Kept(String),
    /// The same path of the donor; its size in bytes.
    Donor(u64),
}

/// Bytes of a name, percent-encoded where they are not plain text, since JSON has no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// The name of `path`.
    pub fn of(path: &Path) -> Name {
        Name(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec())
    }

    /// As a path.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&self.0))
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len());
        for &byte in &self.0 {
            if byte.is_ascii_graphic() && byte != b'%' {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02x}"));
            }
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let value = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
            let value = value.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            bytes.push(value.ok_or_else(|| serde::de::Error::custom("bad percent encoding"))?);
            rest = &tail[2..];
        }
        Ok(Name(bytes))
    }
}

/// Mode, owner, times and extended attributes, as JSON keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// Permission bits with set-user-ID, set-group-ID and sticky: `0o7777` of `st_mode`.
    pub mode: u32,
    /// The user ID of the owner, as the target's system knows it.
    pub uid: u32,
    /// The group ID, likewise.
    pub gid: u32,
    /// Access time: seconds and nanoseconds.
    pub atime: (i64, u32),
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, with them ACLs and SELinux labels.
    pub xattrs: Vec<(Name, Name)>,
}

impl Attrs {
    /// What `path` has now.
    pub fn read(root: &Root, path: &Path) -> Result<Attrs, Error> {
        let metadata = root.metadata(path)?;
        let xattrs = root.xattrs(path)?;
        Ok(Attrs {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            atime: metadata.atime,
            mtime: metadata.mtime,
            xattrs: xattrs
                .into_iter()
                .map(|(name, value)| (Name(std::os::unix::ffi::OsStringExt::into_vec(name)), Name(value)))
                .collect(),
        })
    }

    /// For the target crate.
    pub fn to_target(&self) -> Attributes {
        Attributes {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            times: Times { atime: self.atime, mtime: self.mtime },
            xattrs: self.xattrs.iter().map(|(name, value)| (name.path().into_os_string(), value.0.clone())).collect(),
        }
    }
}

/// One thing that an entry changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// A path becomes another node.
    Path {
        /// The path on the target.
        path: Name,
        /// What was there.
        before: Node,
        /// What will be there.
        after: Node,
        /// File of the entry that is the former file itself, where that has other names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
    },
    /// A value of the running kernel becomes another. The names in the file are older than what else can be set by now.
    #[serde(rename = "sysctl")]
    Kernel {
        /// As [`crate::model::repair::Change::Kernel`] names it.
        #[serde(rename = "key")]
        name: String,
        /// The value that the diagnosis saw, to which undo sets it back.
        before: String,
        /// The value that the repair sets.
        after: String,
        /// The boot of the kernel that got it: another has its own values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot_id: Option<String>,
    },
    /// The running kernel's network gets something, or it is taken away.
    Network {
        /// In the words of ip(8).
        what: String,
        /// As [`sickbay_formats::network::piece::Piece::hex`] writes it.
        piece: String,
        /// Whether it is there after the repair; before it was the other way.
        there: bool,
        /// The boot of that kernel.
        boot_id: Option<String>,
        /// The network namespace, as `/proc/self/ns/net` names it.
        namespace: Option<String>,
    },
    /// Bytes of the disk outside every file system become others.
    Disk {
        /// Index of the target's disk.
        disk: usize,
        /// Where it begins on the disk, in bytes.
        offset: u64,
        /// File of the entry with the former bytes.
        before: String,
        /// File of the entry with the new bytes.
        after: String,
    },
}

/// One repair, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Format of this file.
    pub version: u32,
    /// The version of sickbay that wrote it.
    pub tool: String,
    /// RFC 3339, UTC.
    pub when: String,
    /// The check whose finding is repaired.
    pub check: String,
    /// What the repair does, in English.
    pub title: String,
    /// Where copied files come from, if any are.
    pub donor: Option<String>,
    /// What is changed, in order.
    #[serde(deserialize_with = "bounded")]
    pub ops: Vec<Op>,
    /// Times of the directories in which names come or go.
    #[serde(deserialize_with = "bounded")]
    pub parents: Vec<(Name, ParentTimes)>,
    /// Paths with a flag of chattr(1), `i`, `a` or `ia`, that is cleared while the repair is made or taken back.
    #[serde(default, deserialize_with = "bounded", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<(Name, String)>,
    /// Of an entry that is about a disk as a whole (see [`super::held`]): what was written. The files of the entry hold
    /// these pieces one after the other.
    #[serde(default, deserialize_with = "bounded", skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Piece>,
    /// It is taken back by itself unless somebody confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

/// Until when a repair waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// How long, in seconds: who waits has a clock of its own, which nobody sets.
    pub seconds: u32,
    /// That moment, in seconds since 1970.
    pub until: i64,
}

impl Pending {
    /// From now on.
    pub fn for_seconds(seconds: u32) -> Pending {
        Pending { seconds, until: jiff::Timestamp::now().as_second().saturating_add(i64::from(seconds)) }
    }

    /// Whether who should have taken it back did not: it was ended, or the machine went down.
    pub fn is_overdue(&self) -> bool {
        self.until.saturating_add(30) < jiff::Timestamp::now().as_second()
    }
}

/// Where a piece of a disk begins, and how long it is, in bytes.
pub type Piece = (u64, u64);

impl Entry {
    /// An entry of this moment that changes nothing yet.
    pub fn new(title: String) -> Entry {
        Entry {
            version: 1,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            when: jiff::Timestamp::now().to_string(),
            check: String::new(),
            title,
            donor: None,
            ops: Vec::new(),
            parents: Vec::new(),
            flags: Vec::new(),
            pieces: Vec::new(),
            pending: None,
        }
    }
}

/// Times of a directory: access and modification, seconds and nanoseconds.
pub type ParentTimes = ((i64, u32), (i64, u32));

/// As many things an entry may change. Those of all packages of a large system are fewer.
pub(super) const MOST: usize = 400_000;

/// A list that a stranger may have written.
fn bounded<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Bounded<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {MOST}")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = list.next_element()? {
                if all.len() == MOST {
                    return Err(serde::de::Error::custom("too long a list"));
                }
                all.push(item);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(Bounded(std::marker::PhantomData))
}

/// The letters of chattr(1).
pub(crate) fn flag_letters(flags: Flags) -> String {
    [(flags.immutable, 'i'), (flags.append_only, 'a')]
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, letter)| letter)
        .collect()
}

/// The flags that letters say.
pub(crate) fn flags_of(letters: &str) -> Flags {
    Flags { immutable: letters.contains('i'), append_only: letters.contains('a') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_json_byte_for_byte() {
        let all: Vec<u8> = (0..=255).collect();
        let json = serde_json::to_string(&Name(all.clone())).expect("bytes are encodable");
        assert_eq!(serde_json::from_str::<Name>(&json).expect("our own encoding").0, all);
        assert!(serde_json::from_str::<Name>("\"%4\"").is_err());
    }
}
