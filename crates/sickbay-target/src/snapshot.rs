//! What was seen of a target, node by node and answer by answer.
//!
//! A [`Root`] with a snapshot answers from it. While it is being taken, what it does not know yet is asked of the target
//! itself, once, secrets are masked, and the answer is kept: so what was asked for is what a bundle holds, nobody keeps a list,
//! and whoever reads the bundle sees what was seen when it was made. What was absent or refused is kept as that. Later there
//! is nobody to ask: what was not asked for then is [`Reason::NotCollected`], never absent.

mod fill;
mod opened;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::xattr::Xattrs;
use crate::{DirEntry, FileKind, FileSystemUse, Metadata, Reason, Root};

pub(crate) use fill::is_package_list;
pub(crate) use opened::BLOCK;
pub use opened::Opened;

/// Links that a path may lead over, as the kernel counts.
const LINKS: usize = 40;

/// How much a bundle may hold, and how long taking it may last.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of one log: its end.
    pub log: u64,
    /// Bytes of all files.
    pub all: u64,
    /// After that nothing more is asked for.
    pub deadline: Duration,
    /// A running system is looked at twice, so far apart, for what its kernel counts.
    pub apart: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            file: 16 << 20,
            log: 4 << 20,
            all: 512 << 20,
            deadline: Duration::from_secs(60),
            apart: Duration::from_secs(1),
        }
    }
}

/// Why something was not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    NotFound,
    NotADirectory,
    IsA(FileKind),
    Denied,
    Loop,
    TooLarge { size: u64, limit: u64 },
    Errno(i32),
    Other(String),
    NotCollected(String),
}

impl Refusal {
    pub(crate) fn of(reason: &Reason) -> Refusal {
        match reason {
            Reason::NotFound => Refusal::NotFound,
            Reason::NotADirectory => Refusal::NotADirectory,
            Reason::IsA(kind) => Refusal::IsA(*kind),
            Reason::TooLarge { size, limit } => Refusal::TooLarge { size: *size, limit: *limit },
            Reason::Denied => Refusal::Denied,
            Reason::LinkLoop => Refusal::Loop,
            Reason::NoFiles => Refusal::NotFound,
            Reason::LeftPacked | Reason::NotTold => Refusal::NotCollected("the archive does not tell it".to_owned()),
            Reason::NotCollected(why) => Refusal::NotCollected(why.clone()),
            Reason::Io(error) => Refusal::of_io(error),
        }
    }

    pub(crate) fn of_io(error: &io::Error) -> Refusal {
        error.raw_os_error().map_or_else(|| Refusal::Other(error.to_string()), Refusal::Errno)
    }

    pub(crate) fn reason(&self) -> Reason {
        match self {
            Refusal::NotFound => Reason::NotFound,
            Refusal::NotADirectory => Reason::NotADirectory,
            Refusal::IsA(kind) => Reason::IsA(*kind),
            Refusal::Denied => Reason::Denied,
            Refusal::Loop => Reason::LinkLoop,
            Refusal::TooLarge { size, limit } => Reason::TooLarge { size: *size, limit: *limit },
            Refusal::Errno(errno) => Reason::Io(io::Error::from_raw_os_error(*errno)),
            Refusal::Other(text) => Reason::Io(io::Error::other(text.clone())),
            Refusal::NotCollected(why) => Reason::NotCollected(why.clone()),
        }
    }

    pub(crate) fn io(&self) -> io::Error {
        match self {
            Refusal::Errno(errno) => io::Error::from_raw_os_error(*errno),
            Refusal::NotFound => io::ErrorKind::NotFound.into(),
            Refusal::Denied => io::ErrorKind::PermissionDenied.into(),
            Refusal::Other(text) => io::Error::other(text.clone()),
            other => io::Error::other(format!("{:?}", other.reason())),
        }
    }
}

pub(crate) type Told<T> = Result<T, Refusal>;

/// What was kept of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Only its end, or only the texts in a program.
    pub(crate) cut: Option<&'static str>,
    pub(crate) masked: u64,
}

/// What is known of one path, in which no directory is a link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) meta: Option<Told<Metadata>>,
    pub(crate) link: Option<Told<PathBuf>>,
    /// Whether following the link is refused, as of the kernel's own links.
    pub(crate) loops: Option<Told<()>>,
    /// What stat(2) tells of what one of the kernel's own links leads to.
    pub(crate) target: Option<Told<Metadata>>,
    pub(crate) listing: Option<Told<(Vec<DirEntry>, bool)>>,
    pub(crate) content: Option<Told<Content>>,
    /// Blocks of a program of which nobody read more.
    pub(crate) blocks: BTreeMap<u64, Arc<Vec<u8>>>,
    pub(crate) xattrs: Option<Told<Xattrs>>,
    pub(crate) space: Option<Told<FileSystemUse>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) nodes: HashMap<PathBuf, Node>,
    pub(crate) answers: BTreeMap<String, Told<Vec<u8>>>,
    /// Bytes of contents.
    pub(crate) bytes: u64,
    /// How many bytes of answers and contents were masked.
    pub(crate) masked: u64,
    pub(crate) is_full: bool,
    pub(crate) is_late: bool,
    /// When the first of both looks at what the kernel counts began.
    first_look: Option<Instant>,
}

/// What was seen of a target.
#[derive(Debug)]
pub(crate) struct Snapshot {
    state: Mutex<State>,
    /// Who is asked, while it is being taken.
    source: Option<Root>,
    bounds: Bounds,
    began: Instant,
    /// `proc@10:36:02`: names of the looks.
    looks: Vec<String>,
    /// Whether the kernel of this machine was, or is, asked for what no file tells.
    is_of_machine: bool,
}

impl Snapshot {
    /// One that is being taken.
    pub(crate) fn of(source: Root, bounds: Bounds, is_of_machine: bool, seconds_of_day: u64) -> Snapshot {
        let name = |seconds: u64| {
            let seconds = seconds % 86_400;
            format!("proc@{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        };
        let looks = match is_of_machine {
            // The second one's name comes behind the first one's, at midnight too.
            true => [seconds_of_day.min(86_398), seconds_of_day.min(86_398) + 1].map(name).to_vec(),
            false => Vec::new(),
        };
        let state = Mutex::default();
        Snapshot { state, source: Some(source), bounds, began: Instant::now(), looks, is_of_machine }
    }

    /// One that was taken.
    pub(crate) fn known(state: State, is_of_machine: bool) -> Snapshot {
        Snapshot {
            state: Mutex::new(state),
            source: None,
            bounds: Bounds::default(),
            began: Instant::now(),
            looks: Vec::new(),
            is_of_machine,
        }
    }

    pub(crate) fn is_of_machine(&self) -> bool {
        self.is_of_machine
    }

    /// Who is asked, while it is being taken.
    pub(crate) fn source(&self) -> Option<&Root> {
        self.source.as_ref()
    }

    /// How long it took until now, in milliseconds.
    pub(crate) fn took(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_being_taken(&self) -> bool {
        self.source.is_some()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the path leads to, without links; the last one is followed or not.
    pub(crate) fn walk(&self, path: &Path, follow: bool) -> Told<PathBuf> {
        let mut done = PathBuf::from("/");
        let mut left: Vec<OsString> = names(path);
        let wants_dir = is_dir_wanted(path);
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            let is_last = left.is_empty();
            let meta = self.meta(&next)?;
            match meta.kind {
                FileKind::Symlink if !is_last || follow || wants_dir => {
                    links += 1;
                    if links > LINKS {
                        return Err(Refusal::Loop);
                    }
                    self.may_follow(&next)?;
                    let text = self.link(&next)?;
                    if text.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    left.extend(names(&text));
                }
                FileKind::Dir => done = next,
                _ if !is_last || wants_dir => return Err(Refusal::NotADirectory),
                _ => done = next,
            }
        }
        Ok(done)
    }

    /// What can be said of a name of which nothing was collected: nothing, unless its directory is known to lack it.
    fn missing(&self, path: &Path) -> Refusal {
        let state = self.lock();
        let listing = path.parent().and_then(|dir| state.nodes.get(dir)?.listing.as_ref());
        let is_absent = match (listing, path.file_name()) {
            (Some(Ok((entries, true))), Some(name)) => !entries.iter().any(|entry| entry.name == name),
            _ => false,
        };
        if is_absent { Refusal::NotFound } else { not_asked() }
    }
}

/// What nobody asked for when it was taken.
pub(crate) fn not_asked() -> Refusal {
    Refusal::NotCollected("no check asked for it then".to_owned())
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

fn is_dir_wanted(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    bytes.len() > 1 && (bytes.ends_with(b"/") || bytes.ends_with(b"/."))
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}
