//! Paths of packaged files: a hundred thousand parts of a few hundred texts.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bstr::BStr;

use super::{Aliases, Exact, PackagedFile};

/// The path of a packaged file, in a text that all files of its package share.
#[derive(Clone)]
pub struct PackagedPath {
    text: Arc<Vec<u8>>,
    start: u32,
    end: u32,
}

impl Deref for PackagedPath {
    type Target = BStr;

    fn deref(&self) -> &BStr {
        let at = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        BStr::new(self.text.get(at(self.start)..at(self.end)).unwrap_or_default())
    }
}

impl PartialEq for PackagedPath {
    fn eq(&self, other: &PackagedPath) -> bool {
        **self == **other
    }
}

impl Eq for PackagedPath {}

impl fmt::Debug for PackagedPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

/// The files of one package while its list is read.
#[derive(Default)]
pub(super) struct Collected {
    text: Vec<u8>,
    files: Vec<(u32, bool, Option<Box<Exact>>)>,
}

impl Collected {
    /// One more file, called `path` by its package.
    pub(super) fn add(&mut self, aliases: &Aliases, path: &[u8], config: bool, exact: Option<Box<Exact>>) {
        aliases.append_real(path, &mut self.text);
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.files.push((end, config, exact));
    }

    /// They, as those of the package with this number.
    pub(super) fn of(self, package: u32) -> impl Iterator<Item = PackagedFile> {
        let text = Arc::new(self.text);
        let mut start = 0;
        self.files.into_iter().map(move |(end, config, exact)| {
            let path = PackagedPath { text: Arc::clone(&text), start, end };
            start = end;
            PackagedFile { path, package, config, exact }
        })
    }
}
