//! Journal files as text: one that is not too large from its beginning, of a larger one the newest part.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;

use sickbay_formats::journal_file::{Entry, JournalFile, Store};

/// A journal file up to this size is gone through as a whole. Of a larger one, which journald makes only where it is told to,
/// the entries in so much of its end are read: it is always appended to.
pub const WHOLE: u64 = 128 << 20;

/// A part of a large file that is kept, and so many of them: what entries share, as the name of a unit, may stand anywhere before.
const PAGE: u64 = 64 << 10;
const PAGES: usize = 256;

/// Reads from a place of a file on.
pub type ReadAt = Box<dyn Fn(&mut [u8], u64) -> io::Result<usize>>;

/// Entries of a journal file.
pub struct Entries {
    entries: Box<dyn Iterator<Item = Entry>>,
    /// Only the newest were read.
    pub is_cut: bool,
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("is_cut", &self.is_cut).finish_non_exhaustive()
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.entries.next()
    }
}

/// The entries of a file of this size for which `wanted` says so.
///
/// # Errors
/// The kernel's; of a file that is no journal file `InvalidData`.
pub fn entries(read: ReadAt, size: u64, wanted: impl Fn(&Entry) -> bool + 'static) -> io::Result<Entries> {
    entries_within(read, size, WHOLE, wanted)
}

pub(super) fn entries_within(
    read: ReadAt,
    size: u64,
    whole: u64,
    wanted: impl Fn(&Entry) -> bool + 'static,
) -> io::Result<Entries> {
    let none = || io::Error::from(ErrorKind::InvalidData);
    if size <= whole {
        let bytes = all(&read, size)?;
        let file = JournalFile::parse(bytes).ok_or_else(none)?;
        return Ok(Entries { entries: Box::new(file.entries(wanted)), is_cut: false });
    }
    let pages = Pages { read, pages: RefCell::default() };
    let file = JournalFile::parse(pages).ok_or_else(none)?;
    Ok(Entries { entries: Box::new(file.entries_behind(size - whole, wanted)), is_cut: true })
}

fn all(read: &ReadAt, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read(rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A file of which parts are kept.
struct Pages {
    read: ReadAt,
    pages: RefCell<HashMap<u64, Rc<Vec<u8>>>>,
}

impl Pages {
    fn page(&self, number: u64) -> Option<Rc<Vec<u8>>> {
        if let Some(page) = self.pages.borrow().get(&number) {
            return Some(Rc::clone(page));
        }
        let mut bytes = vec![0; usize::try_from(PAGE).ok()?];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match (self.read)(rest, number.checked_mul(PAGE)?.checked_add(filled as u64)?) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        bytes.truncate(filled);
        let page = Rc::new(bytes);
        let mut pages = self.pages.borrow_mut();
        if pages.len() >= PAGES {
            pages.clear();
        }
        pages.insert(number, Rc::clone(&page));
        Some(page)
    }
}

impl Store for Pages {
    fn part(&self, at: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        let mut out = Vec::with_capacity(length);
        while out.len() < length {
            let here = at.checked_add(out.len() as u64)?;
            let page = self.page(here / PAGE)?;
            let from = usize::try_from(here % PAGE).ok()?;
            let rest = page.get(from..).filter(|rest| !rest.is_empty())?;
            out.extend_from_slice(rest.get(..rest.len().min(length - out.len()))?);
        }
        Some(Cow::Owned(out))
    }
}

/// Entries as text that is read.
pub(super) struct Text<I> {
    entries: I,
    text: Vec<u8>,
    at: usize,
}

impl<I> Text<I> {
    pub(super) fn of(entries: I) -> Text<I> {
        Text { entries, text: Vec::new(), at: 0 }
    }
}

impl<I: Iterator<Item = Entry>> Read for Text<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.text.len() {
            self.text.clear();
            self.at = 0;
            let Some(entry) = self.entries.next() else { return Ok(0) };
            entry.write(&mut self.text);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.at += count;
        Ok(count)
    }
}
