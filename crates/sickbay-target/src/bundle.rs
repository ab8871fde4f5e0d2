//! Bundles: what was seen of a target, in one file that can be checked elsewhere.
//!
//! A tar packed with zstd. Its first member is the manifest, which tells of every path what was asked of it and what came
//! back, also where that was nothing or a refusal. The other members are contents of files, parts of programs and answers of the
//! kernel, each named by the manifest with its digest. Nothing of a bundle is ever unpacked to a file system: it is read into
//! memory, within bounds, and whatever is in it that the manifest does not name is an error.

mod essence;
mod manifest;
mod read;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::snapshot::Snapshot;
use crate::{Access, Bounds, Lack, Moment, OpenError, Root, Target};

pub(crate) use read::{is_bundle, open};

/// What a bundle says of itself.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The name of the host, or how the target was named.
    pub name: String,
    /// When it was collected: seconds since 1970, by the clock of the machine that did.
    pub taken: i64,
    /// The version of sickbay that collected it.
    pub version: String,
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Bytes of the file.
    pub packed: u64,
    /// Bytes of what is in it.
    pub unpacked: u64,
    /// Files of which there is something in it.
    pub files: usize,
    /// Paths of which something is known, if only that they are not there.
    pub paths: usize,
    /// What was there and could not be read or was left out, and why.
    pub unread: Vec<(PathBuf, String)>,
    /// Of which only a part was kept.
    pub cut: Vec<PathBuf>,
    /// How many bytes were masked.
    pub masked: u64,
    /// The deadline came before the end.
    pub is_late: bool,
    /// There was more than may be in a bundle.
    pub is_full: bool,
}

impl Target {
    /// The same target, looked at through a snapshot that is being taken: all that is asked of it from now on is what
    /// [`Target::write_bundle`] writes.
    ///
    /// # Errors
    /// When it has no files, or this process may open no more.
    pub fn collecting(mut self, bounds: Bounds) -> Result<Target, OpenError> {
        let path = PathBuf::from(&self.name);
        if self.bundle().is_some() || matches!(self.whole(), Err(Lack::None(_))) {
            return Err(OpenError::NothingToCollect { path });
        }
        let fail = |error: io::Error| OpenError::io(&path, "opening it once more", error);
        let source = self.root().try_clone().map_err(fail)?;
        let met = source.met.clone();
        let seconds = Moment::now().wall.as_secs() % 86_400;
        let snapshot = Snapshot::of(source, bounds, self.is_this_machine(), seconds);
        let root = Root::of_snapshot(Arc::new(snapshot), met).map_err(fail)?;
        self.look_through(root);
        Ok(self)
    }

    /// Of how many paths something is known so far.
    pub fn collected_paths(&self) -> usize {
        self.root().snapshot().map_or(0, |snapshot| snapshot.lock().nodes.len())
    }
}

/// Refuses to open one for writing.
pub(crate) fn refuse_writing(path: &Path, access: Access) -> Result<(), OpenError> {
    if access == Access::ReadWrite { Err(OpenError::BundleOnly { path: path.to_owned() }) } else { Ok(()) }
}
