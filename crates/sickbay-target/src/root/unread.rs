//! What could not be read although nobody says that it is not there.
//!
//! A check asks for hundreds of paths and often goes on where one is missing. An error of the disk must not pass for that, so the
//! root remembers it for the thread that met it, and who runs the check asks for it afterwards.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::Root;
use super::error::{ReadError, Reason, error, io_error};
use crate::snapshot::Refusal;

/// Something that could not be read, although nobody says that it is not there: see [`Root::take_unread`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The path, inside the target.
    pub path: PathBuf,
    /// Why, as a whole sentence.
    pub why: String,
    /// The target is a bundle, and the path is not in it.
    pub is_uncollected: bool,
    /// This process ran out of descriptors or memory: nothing that was read meanwhile can be relied on.
    pub is_want: bool,
    /// The disk failed (`EIO`), or with btrfs a checksum.
    pub is_io: bool,
}

thread_local! {
    /// What this thread could not read, each with the number of its root.
    static UNREAD: RefCell<Vec<(usize, Unread)>> = const { RefCell::new(Vec::new()) };
}

/// How many a thread remembers: one alone makes an answer doubtful.
const UNREAD_LIMIT: usize = 256;

/// Errors of one target, collected from everything that reads through its root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Met(Arc<Errors>);

#[derive(Debug, Default)]
struct Errors {
    damage: AtomicBool,
    io: Mutex<BTreeSet<PathBuf>>,
}

impl Met {
    fn number(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// An error of the kernel.
    pub(crate) fn fail(&self, path: &Path, errno: Errno) -> ReadError {
        self.noted(error(path, Reason::of(errno)))
    }

    pub(crate) fn fail_io(&self, path: &Path, why: io::Error) -> ReadError {
        self.noted(io_error(path, why))
    }

    pub(super) fn noted(&self, error: ReadError) -> ReadError {
        let errno = match &error.reason {
            Reason::Denied => libc::EACCES,
            Reason::Io(why) => why.raw_os_error().unwrap_or(0),
            // What is too large is there: it must not be taken for absent either.
            Reason::TooLarge { .. } | Reason::LeftPacked => libc::EFBIG,
            Reason::NotCollected(_) => {
                let (path, why) = (error.path.clone(), error.to_string());
                self.note([Unread { path, why, is_uncollected: true, is_want: false, is_io: false }]);
                return error;
            }
            _ => return error,
        };
        if matches!(errno, libc::EUCLEAN | libc::EBADMSG | libc::EIO) {
            self.0.damage.store(true, Ordering::Relaxed);
        }
        let is_want = matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM);
        // The kernel's own files answer with errors to say what they have to say: a process is gone, a link is down.
        let is_kernels = error.path.iter().nth(1).and_then(|name| name.to_str()).is_some_and(|name| {
            // `/proc@10:36:02`: what it said at a moment.
            matches!(name.split('@').next(), Some("proc" | "sys")) || name == "dev"
        });
        // What only root may read is no fault of the system: where it matters, the user is told to be root.
        let is_users = errno == libc::EACCES && !rustix::process::geteuid().is_root();
        if is_want || !(is_kernels || is_users) {
            let (path, why) = (error.path.clone(), error.to_string());
            let unread = Unread { path, why, is_uncollected: false, is_want, is_io: errno == libc::EIO };
            self.note([unread]);
        }
        error
    }

    fn note(&self, list: impl IntoIterator<Item = Unread>) {
        UNREAD.with_borrow_mut(|all| {
            for unread in list {
                if unread.is_io {
                    let mut io = self.0.io.lock().unwrap_or_else(PoisonError::into_inner);
                    if io.len() < UNREAD_LIMIT {
                        io.insert(unread.path.clone());
                    }
                }
                if all.len() < UNREAD_LIMIT || unread.is_want {
                    all.push((self.number(), unread));
                }
            }
        });
    }
}

impl Root {
    pub(super) fn refuse(&self, path: &Path, refusal: &Refusal) -> ReadError {
        let error = error(path, refusal.reason());
        // Of the kernel's files, too, what was left out for want of room or time must not be taken for absent.
        let is_late = matches!(refusal, Refusal::Errno(libc::ETIMEDOUT));
        if is_late || matches!(refusal, Refusal::TooLarge { .. }) {
            let unread = Unread {
                path: path.to_owned(),
                why: error.to_string(),
                is_uncollected: false,
                is_want: is_late,
                is_io: false,
            };
            self.met.note([unread]);
            return error;
        }
        self.met.noted(error)
    }

    /// Whether, so far, the kernel answered a look with what it says of damaged file systems: `EUCLEAN`, `EBADMSG`,
    /// `EIO`. A hint to look at them with their checkers.
    pub fn met_damage(&self) -> bool {
        self.met.0.damage.load(Ordering::Relaxed)
    }

    /// Paths of which the kernel said, so far, that reading them failed (`EIO`): 256 at most, and none of its own.
    pub fn io_errors(&self) -> Vec<PathBuf> {
        self.met.0.io.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// What this thread could not read through it since it last asked, although nobody says that it is not there: what
    /// was taken for absent because of that may be there.
    pub fn take_unread(&self) -> Vec<Unread> {
        let number = self.met.number();
        UNREAD
            .with_borrow_mut(|all| all.extract_if(.., |(root, _)| *root == number).map(|(_, unread)| unread).collect())
    }

    /// Notes again what was taken, for this thread: it goes on with what another one could not wholly read.
    pub fn note_unread(&self, list: &[Unread]) {
        self.met.note(list.iter().cloned());
    }
}
