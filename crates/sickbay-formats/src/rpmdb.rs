//! The three containers that rpm keeps its database of headers in.
//!
//! Each gives the headers that can still be read and says what could not; damage in one place must not hide the rest.

mod bdb;
mod ndb;
mod sqlite;

use crate::rpm::{Header, Package};

/// A kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `rpmdb.sqlite`: Fedora 33, RHEL 9, openEuler, Amazon Linux 2023 and later.
    Sqlite,
    /// `Packages.db`: SUSE.
    Ndb,
    /// `Packages`, a hash of Berkeley DB: RHEL up to 8 and all older ones.
    Bdb,
}

impl Backend {
    /// The name of its file.
    pub const fn file(self) -> &'static str {
        match self {
            Backend::Sqlite => "rpmdb.sqlite",
            Backend::Ndb => "Packages.db",
            Backend::Bdb => "Packages",
        }
    }
}

/// What is left of a database.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// The packages that could be read.
    pub packages: Vec<Package>,
    /// What could not: where, and what was expected there.
    pub lost: Vec<Lost>,
}

/// A place of a container that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It does not begin as such a container does, or is empty.
    Container,
    /// The table of packages is not where the container should say it is.
    Table,
    /// A page, by its number.
    Page(u64),
    /// An entry whose content is cut off or is no header, by its key.
    Entry(u64),
}

/// Reads a database; `wal` is the content of `rpmdb.sqlite-wal` beside it, if there is one.
pub fn read(backend: Backend, file: &[u8], wal: Option<&[u8]>) -> Database {
    let mut found = Found::default();
    match backend {
        Backend::Sqlite => sqlite::read(file, wal, &mut found),
        Backend::Ndb => ndb::read(file, &mut found),
        Backend::Bdb => bdb::read(file, &mut found),
    }
    found.0
}

#[derive(Default)]
struct Found(Database);

impl Found {
    fn lost(&mut self, what: Lost) {
        // A wrong page is met from several sides.
        if self.0.lost.len() < 1000 && !self.0.lost.contains(&what) {
            self.0.lost.push(what);
        }
    }

    /// Takes the header of entry `key`.
    fn header(&mut self, key: u64, blob: &[u8]) {
        match package(blob) {
            Some(package) => self.0.packages.push(package),
            None => self.lost(Lost::Entry(key)),
        }
    }

    /// Takes the header that was found by searching, unless it is none or is known already.
    fn stray(&mut self, blob: &[u8]) {
        if let Some(package) = package(blob) {
            let known = self.0.packages.iter().any(|known| {
                (&known.name, &known.version, &known.architecture)
                    == (&package.name, &package.version, &package.architecture)
            });
            if !known {
                self.0.packages.push(package);
            }
        }
    }
}

fn package(blob: &[u8]) -> Option<Package> {
    Header::parse(blob).and_then(|header| Package::of(&header))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, wal: Vec<u8>) {
            for backend in [Backend::Sqlite, Backend::Ndb, Backend::Bdb] {
                let _ = read(backend, &bytes, Some(&wal));
            }
        }
    }

    #[test]
    fn an_empty_file_is_lost_not_empty() {
        for backend in [Backend::Sqlite, Backend::Ndb, Backend::Bdb] {
            assert_eq!(read(backend, b"", None).lost, [Lost::Container], "{backend:?}");
        }
    }
}
