//! What can be done about a finding, as data.
//!
//! A [`Change`] knows its difference; its inverse is not kept as a second change but as the former state of every path
//! that it touches (see [`crate::repair::journal`]), so that taking back is the same whether a change was made wholly, partly or not at all.

mod rebuild;

use std::path::{Path, PathBuf};

use sickbay_formats::accounts::{Kind, masked};
use sickbay_formats::network::piece::{self, Piece};

pub use self::rebuild::{MADE, Rebuild, Wanted};
use crate::model::source::SourceFile;
use crate::model::text::{Lang, Text};
use crate::tr;

/// Files whose second field may be a hash.
const SECRET: [Kind; 4] = [Kind::Passwd, Kind::Shadow, Kind::Group, Kind::Gshadow];

/// What a repair may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Right whenever the finding is right; `fix` does it.
    Safe,
    /// Right most of the time; `fix --risky` does it.
    Risky,
    /// Only a person should do it.
    Manual,
}

/// A way to clear one finding.
#[derive(Clone, Debug)]
pub struct Repair {
    /// What it does, as an order: "add nofail to line 3".
    pub title: Text,
    /// What it may cost.
    pub risk: Risk,
    /// What it changes, in order. Empty exactly when `risk` is [`Risk::Manual`].
    pub changes: Vec<Change>,
}

/// By what a repair is known again: what it does, not at which line or to how much.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepairIdentity {
    title: &'static str,
    does: Vec<String>,
}

impl Repair {
    /// By what it is known again at the next look.
    pub fn identity(&self) -> RepairIdentity {
        RepairIdentity { title: self.title.template(), does: self.changes.iter().map(Change::does).collect() }
    }
}

/// One change to the target. The set is small and closed; only [`crate::repair::apply`] carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Gives a file another content; mode, owner, ACL and labels stay.
    Edit {
        /// The file.
        path: PathBuf,
        /// The content that the diagnosis saw. If it is another by now, the change is not made.
        before: Vec<u8>,
        /// The new content.
        after: Vec<u8>,
    },
    /// Makes a file that is not there.
    Create {
        /// The file.
        path: PathBuf,
        /// Its content.
        content: Vec<u8>,
        /// Permission bits, `0o644`.
        mode: u32,
        /// Owner and group, as numbers.
        owner: (u32, u32),
    },
    /// Makes a new Ed25519 key of sshd and its public half, in the place of what is no key. The key itself is made only
    /// when this is carried out, so that no report and no difference can show it.
    HostKey {
        /// The private half; the public one is beside it, with `.pub`.
        path: PathBuf,
        /// Permission bits of the private half.
        mode: u32,
        /// Owner and group of it, as numbers.
        owner: (u32, u32),
    },
    /// Makes a directory that is not there.
    MakeDir {
        /// The directory.
        path: PathBuf,
        /// Permission bits with set-user-ID, set-group-ID and sticky: `0o7777` of `st_mode`.
        mode: u32,
        /// Owner and group, as numbers.
        owner: (u32, u32),
    },
    /// Removes a file, a link or an empty directory. Never a user's file.
    Remove {
        /// What to remove.
        path: PathBuf,
    },
    /// Makes a symbolic link, in the place of a dangling one if there is one.
    Link {
        /// The link.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// Sets permission bits.
    Mode {
        /// The file or directory.
        path: PathBuf,
        /// The bits that the diagnosis saw.
        before: u32,
        /// The new bits.
        after: u32,
    },
    /// Sets owner and group.
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Numbers that the diagnosis saw.
        before: (u32, u32),
        /// The new numbers.
        after: (u32, u32),
    },
    /// Copies a file, link or whole directory from the donor, with mode, owner and attributes. A directory that is there
    /// is completed, its files are not replaced; a file that is there is replaced.
    CopyFromDonor {
        /// The path, the same on both.
        path: PathBuf,
    },
    /// Runs one of the target's own programs on a copy of the target that is thrown away, and puts the file that it makes
    /// in place.
    Rebuild(Box<Rebuild>),
    /// Takes over what the checker of a file system did to it on a view of its disk (see [`crate::repair::held`]).
    CheckFileSystem {
        /// Which of the target's volumes.
        volume: usize,
        /// What the user calls it: "partition 1".
        name: String,
        /// The checker.
        program: &'static str,
    },
    /// Sets a value of the running kernel, until the next boot.
    Kernel {
        /// A parameter by its dotted name, or one of the files below `/proc` and `/sys` that may be set
        /// ([`sickbay_target::kernel_path`]).
        name: String,
        /// The value that the diagnosis saw.
        before: String,
        /// The new value.
        after: String,
    },
    /// Gives the running kernel's network something, or takes it away, until the next boot.
    Network {
        /// The thing, in the words of ip(8).
        what: String,
        /// The same for the kernel.
        piece: Piece,
        /// Whether it is there afterwards. The diagnosis saw that it is not so yet.
        there: bool,
    },
    /// Writes to the disk itself, outside every file system: boot code.
    WriteDisk {
        /// Which of the target's disks.
        disk: usize,
        /// Where it begins on the disk, in bytes.
        offset: u64,
        /// The bytes that the diagnosis saw there.
        before: Vec<u8>,
        /// The new bytes, as many.
        after: Vec<u8>,
    },
}

/// The command of ip(8) that does the same.
pub fn ip_command(kind: piece::Kind, what: &str, there: bool) -> String {
    match (kind, there) {
        (piece::Kind::Link, true) => format!("ip link set {what}"),
        (piece::Kind::Link, false) => format!("ip link set {} down", what.trim_end_matches(" up")),
        (piece::Kind::Address, true) => format!("ip address add {what}"),
        (piece::Kind::Address, false) => format!("ip address del {what}"),
        (piece::Kind::Route, true) => format!("ip route add {what}"),
        (piece::Kind::Route, false) => format!("ip route del {what}"),
    }
}

impl Change {
    /// Gives `file` another content.
    pub fn edit(file: &SourceFile, after: Vec<u8>) -> Change {
        Change::Edit { path: file.path.clone(), before: file.bytes.clone(), after }
    }

    /// Makes a file that is not there, owned by root.
    pub fn create(path: impl AsRef<Path>, content: impl Into<Vec<u8>>, mode: u32) -> Change {
        Change::Create { path: path.as_ref().to_owned(), content: content.into(), mode, owner: (0, 0) }
    }

    /// Makes a directory that is not there, owned by root.
    pub fn make_dir(path: impl AsRef<Path>, mode: u32) -> Change {
        Change::MakeDir { path: path.as_ref().to_owned(), mode, owner: (0, 0) }
    }

    /// Makes a symbolic link.
    pub fn link(path: impl AsRef<Path>, target: impl AsRef<Path>) -> Change {
        Change::Link { path: path.as_ref().to_owned(), target: target.as_ref().to_owned() }
    }

    /// Sets a value of the running kernel.
    pub fn kernel(name: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Change {
        Change::Kernel { name: name.into(), before: before.into(), after: after.into() }
    }

    /// Copies from the donor.
    pub fn copy_from_donor(path: impl AsRef<Path>) -> Change {
        Change::CopyFromDonor { path: path.as_ref().to_owned() }
    }

    /// The path on the target, for a change that has one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Change::Edit { path, .. }
            | Change::Create { path, .. }
            | Change::HostKey { path, .. }
            | Change::MakeDir { path, .. }
            | Change::Remove { path }
            | Change::Link { path, .. }
            | Change::Mode { path, .. }
            | Change::Owner { path, .. }
            | Change::CopyFromDonor { path } => Some(path),
            Change::Rebuild(rebuild) => Some(&rebuild.path),
            Change::CheckFileSystem { .. }
            | Change::Kernel { .. }
            | Change::Network { .. }
            | Change::WriteDisk { .. } => None,
        }
    }

    /// What it does, whatever stands around: of an edit, the lines that go and come.
    fn does(&self) -> String {
        let Change::Edit { path, before, after } = self else { return self.summary().render(Lang::En) };
        let patch = diffy::DiffOptions::new().set_context_len(0).create_patch_bytes(before, after);
        let lines = patch.hunks().iter().flat_map(|hunk| hunk.lines());
        let lines = lines.map(|line| match line {
            diffy::Line::Context(_) => String::new(),
            diffy::Line::Delete(text) => format!("-{}", text.escape_ascii()),
            diffy::Line::Insert(text) => format!("+{}", text.escape_ascii()),
        });
        format!("{}\n{}", path.display(), lines.collect::<String>())
    }

    /// One line that says what is changed.
    pub fn summary(&self) -> Text {
        match self {
            Change::Edit { path, .. } => tr!("edit {path}", path),
            Change::Create { path, mode, .. } => tr!("create {path}, mode {mode}", path, mode = format!("{mode:04o}")),
            Change::HostKey { path, mode, .. } => {
                tr!("create a new host key {path}, mode {mode}", path, mode = format!("{mode:04o}"))
            }
            Change::MakeDir { path, mode, .. } => {
                tr!("create directory {path}, mode {mode}", path, mode = format!("{mode:04o}"))
            }
            Change::Remove { path } => tr!("remove {path}", path),
            Change::Link { path, target } => tr!("link {path} -> {target}", path, target),
            Change::Mode { path, before, after } => tr!(
                "mode of {path}: {before} -> {after}",
                path,
                before = format!("{before:04o}"),
                after = format!("{after:04o}")
            ),
            Change::Owner { path, before, after } => tr!(
                "owner of {path}: {before} -> {after}",
                path,
                before = format!("{}:{}", before.0, before.1),
                after = format!("{}:{}", after.0, after.1)
            ),
            Change::CopyFromDonor { path } => tr!("copy {path} from the donor", path),
            Change::Rebuild(rebuild) if rebuild.wanted == Wanted::Labels => tr!(
                "run {program}, a program of the target, in a sandbox on a copy of it, and set the labels that it names",
                program = rebuild.name()
            ),
            Change::Rebuild(rebuild) => tr!(
                "run {program}, a program of the target, in a sandbox on a copy of it, and keep {path}",
                program = rebuild.name(),
                path = rebuild.path.as_path()
            ),
            Change::CheckFileSystem { name, program, .. } => {
                tr!("write what {program} did to a copy of {volume}", program = *program, volume = name)
            }
            Change::Kernel { name, before, after } if name.starts_with('/') => {
                tr!("{name}: {before} -> {after}", name, before, after)
            }
            Change::Kernel { name, before, after } => {
                tr!("sysctl {key}: {before} -> {after}", key = name, before, after)
            }
            Change::Network { what, piece, there } => {
                tr!("until the next boot: {command}", command = ip_command(piece.kind, what, *there))
            }
            Change::WriteDisk { disk, offset, after, .. } => {
                tr!(
                    "write {bytes} {bytes?byte|bytes} at offset {offset} of disk {disk}",
                    bytes = after.len(),
                    offset,
                    disk
                )
            }
        }
    }

    /// Whether it changes a file in which the hash of a password may stand.
    pub fn is_secret(&self) -> bool {
        self.path().is_some_and(|path| SECRET.iter().any(|kind| path == Path::new(kind.path())))
    }

    /// The difference as a unified diff, for changes of content that is text.
    pub fn diff(&self) -> Option<String> {
        let (path, before, after): (_, &[u8], _) = match self {
            Change::Edit { path, before, after } => (path, before, after),
            Change::Create { path, content, .. } => (path, b"", content),
            _ => return None,
        };
        if before.contains(&0) || after.contains(&0) {
            return None;
        }
        // A hash is nobody's to read, not on a screen and not in a log of it.
        let shown = |text: &[u8]| {
            String::from_utf8_lossy(&if self.is_secret() { masked(text) } else { text.to_vec() }).into_owned()
        };
        let (before, after) = (shown(before), shown(after));
        let patch = diffy::DiffOptions::new()
            .set_original_filename(format!("a{}", path.display()))
            .set_modified_filename(format!("b{}", path.display()))
            .create_patch(&before, &after)
            .to_string();
        Some(patch)
    }
}
