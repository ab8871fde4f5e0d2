//! Recordings of a running system: a directory that `sickbay record` writes to, or a file of another program.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sickbay_formats::recording::{self, Kind};

use crate::OpenError;

/// So much of a file tells whose it is.
const HEAD: u64 = 64 << 10;

/// So many files a recording has at most.
const FILES: usize = 4096;

/// What the files of our own recordings end with.
pub(crate) const ENDING: &str = "ring";

/// Where `sickbay record` writes to unless it is told otherwise.
pub const RECORDINGS: &str = "/var/log/sickbay";

/// A recording: where it is, and whose.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What the user named.
    pub path: PathBuf,
    /// Whose it is.
    pub kind: Kind,
    /// Its files, in order.
    files: Vec<PathBuf>,
}

impl Recording {
    /// The recording in a directory, if there is one of ours.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_directory(dir: &Path) -> Result<Option<Recording>, OpenError> {
        let fail = |e| OpenError::io(dir, "reading it", e);
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(fail)?.take(FILES * 2) {
            let path = entry.map_err(fail)?.path();
            let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
            if is_file && path.extension().is_some_and(|ending| ending == ENDING) && files.len() < FILES {
                files.push(path);
            }
        }
        files.sort();
        let is_ours = |path: &PathBuf| head(path).is_ok_and(|head| recording::recognize(&head) == Some(Kind::Ring));
        let found = files.iter().any(is_ours);
        Ok(found.then(|| Recording { path: dir.to_owned(), kind: Kind::Ring, files }))
    }

    /// The same of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(path: &Path) -> Result<Option<Recording>, OpenError> {
        let head = head(path).map_err(|e| OpenError::io(path, "reading it", e))?;
        let kind = recording::recognize(&head);
        Ok(kind.map(|kind| Recording { path: path.to_owned(), kind, files: vec![path.to_owned()] }))
    }

    /// Files of other programs, each a part of the same: they were written at the same time on the same machine. `None` when
    /// one of them is something else.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn of_files(paths: &[PathBuf]) -> Result<Option<Recording>, OpenError> {
        let mut all: Option<Recording> = None;
        for path in paths.iter().take(FILES) {
            let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
            let one = if is_file { Recording::of_file(path)? } else { None };
            match (one.filter(|one| one.kind != Kind::Ring), &mut all) {
                (None, _) => return Ok(None),
                (Some(one), None) => all = Some(one),
                (Some(one), Some(all)) => all.files.extend(one.files),
            }
        }
        Ok(all)
    }

    /// When a file was written last, since 1970: a text may tell the time and not the day.
    pub fn written(&self, file: usize) -> Option<Duration> {
        let metadata = self.files.get(file)?.metadata().ok()?;
        metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()
    }

    /// What was pinged meanwhile, as ping(8) prints it: the older file first, each no longer than `limit`. Nothing where nobody did.
    pub fn pings(&self, limit: u64) -> Vec<Vec<u8>> {
        let read = |name: &str| {
            let mut bytes = Vec::new();
            let path = self.path.join(name);
            path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
            File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
            Some(bytes)
        };
        crate::PING_LOGS.iter().filter_map(|name| read(name)).collect()
    }

    /// What the disk of a number is called here, where this is the machine of that name: `sar` knows disks by their numbers
    /// alone, and most of these are given anew at each start.
    pub fn disk_here(&self, machine: &str, (major, minor): (u32, u32)) -> Option<String> {
        (machine == crate::target::host_name()).then_some(())?;
        let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).ok()?;
        let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
        (!name.is_empty() && name.len() < 64).then(|| name.to_owned())
    }

    /// Its files, in order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The bytes of one of its files, at most `limit`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&self, file: usize, limit: u64) -> io::Result<Vec<u8>> {
        self.read_at(file, 0, limit)
    }

    /// The same from an offset on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_at(&self, file: usize, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        let path = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        let mut opened = File::open(path)?;
        opened.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        opened.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_ours_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(Recording::of_directory(dir.path()).expect("readable").is_none());
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("written");
        write("a.ring", b"something else");
        assert!(Recording::of_directory(dir.path()).expect("readable").is_none());
        write("c.ring", &recording::RING);
        write("b.ring", &recording::RING);
        write("notes.txt", &recording::RING);
        let found = Recording::of_directory(dir.path()).expect("readable").expect("one");
        let names: Vec<_> = found.files().iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!((names, found.kind), (vec!["a.ring", "b.ring", "c.ring"], Kind::Ring));
        assert_eq!(found.read(0, 9).expect("bytes"), b"something");
        assert_eq!(found.read_at(0, 10, 99).expect("bytes"), b"else");
        let one = Recording::of_file(&dir.path().join("b.ring")).expect("readable").expect("one");
        assert_eq!(one.files().len(), 1);
        assert!(Recording::of_file(&dir.path().join("a.ring")).expect("readable").is_none());
        assert!(Recording::of_file(&dir.path().join("gone")).is_err());
    }
}
