//! What holds the space and the inodes of one file system: a walk that never leaves it, bounded in time and memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, OFlags, RawDir};
use serde::{Deserialize, Serialize};

use crate::{Budget, FileKind, Metadata, ReadError, Root, threads};

/// The most directories that are kept: some 100 bytes each.
const DIRECTORIES: usize = 2_000_000;
/// How many of the largest files are remembered.
const FILES: usize = 32;

/// A directory and what is in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DirUsage {
    /// Index of the directory that holds it; of the top, its own.
    parent: usize,
    name: OsString,
    /// Space of everything below it and of itself, in bytes (blocks, not sizes).
    pub bytes: u64,
    /// How many inodes are below it, with its own.
    pub inodes: u64,
}

/// What a file system's space is used for.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Every directory that was seen; the first is the top. A directory comes after the one that holds it.
    dirs: Vec<DirUsage>,
    top: PathBuf,
    /// The largest files, with their space in bytes, the largest first.
    pub files: Vec<(u64, PathBuf)>,
    /// Whether everything was seen in the time given.
    pub complete: bool,
    /// Directories that could not be read.
    pub unread: usize,
}

impl Usage {
    /// Everything that was seen.
    pub fn total(&self) -> Option<&DirUsage> {
        self.dirs.first()
    }

    /// The directories that hold most, by `weight`, the heaviest first: each as deep as most of it lies in one place, and none
    /// inside another of the list.
    pub fn heaviest(&self, count: usize, weight: fn(&DirUsage) -> u64) -> Vec<(PathBuf, u64)> {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.dirs.len()];
        for (index, dir) in self.dirs.iter().enumerate().skip(1) {
            if let Some(list) = children.get_mut(dir.parent) {
                list.push(index);
            }
        }
        let of = |index: usize| self.dirs.get(index).map_or(0, weight);
        let least = of(0) / 50;
        // The heaviest is taken apart as long as what comes out are few heavy parts and not a heap of small ones.
        let mut open = BinaryHeap::from([(of(0), Reverse(0))]);
        let mut done: Vec<(PathBuf, u64)> = Vec::new();
        while let Some((total, Reverse(index))) = open.pop() {
            let below: &[usize] = children.get(index).map(Vec::as_slice).unwrap_or_default();
            let heavy: Vec<usize> = below.iter().copied().filter(|child| of(*child) > total / 8).collect();
            let covered: u64 = heavy.iter().map(|child| of(*child)).sum();
            if !heavy.is_empty() && (covered > total / 4 * 3 || index == 0) {
                open.extend(heavy.into_iter().map(|child| (of(child), Reverse(child))));
            } else if total > least || index == 0 {
                done.push((self.path(index), total));
            }
        }
        done.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        done.truncate(count);
        done
    }

    /// The same without directories that hold next to nothing.
    fn main(self) -> Usage {
        let (bytes, inodes) = self.total().map_or((0, 0), |top| (top.bytes / 2000, top.inodes / 2000));
        let mut kept: Vec<DirUsage> = Vec::new();
        let mut places: Vec<Option<usize>> = Vec::with_capacity(self.dirs.len());
        for (index, dir) in self.dirs.into_iter().enumerate() {
            let above = places.get(dir.parent).copied().flatten();
            let stays = index == 0 || above.is_some() && (dir.bytes > bytes || dir.inodes > inodes);
            places.push(stays.then_some(kept.len()));
            if stays {
                kept.push(DirUsage { parent: above.unwrap_or(0), ..dir });
            }
        }
        Usage { dirs: kept, ..self }
    }

    fn path(&self, mut index: usize) -> PathBuf {
        let mut names = Vec::new();
        while let Some(dir) = self.dirs.get(index).filter(|_| index != 0) {
            names.push(dir.name.as_os_str());
            index = dir.parent;
        }
        names.iter().rev().fold(self.top.clone(), |path, name| path.join(name))
    }
}

struct State {
    dirs: Vec<DirUsage>,
    /// Directories that are still to be read.
    queue: Vec<(usize, PathBuf)>,
    /// How many are being read.
    busy: usize,
    files: BinaryHeap<Reverse<(u64, PathBuf)>>,
    /// Files with several names, and directories: a bind mount shows one twice.
    seen: HashSet<u64>,
    complete: bool,
    unread: usize,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Root {
    /// What the file system that `top` is the beginning of is used for. Other file systems mounted below are left out, of
    /// btrfs other subvolumes too; a file with several names counts once, a sparse one by what it takes. Ends with its budget
    /// with what was seen by then.
    ///
    /// # Errors
    /// When `top` is no directory that can be looked at.
    pub fn usage(&self, top: &Path, budget: Budget) -> Result<Usage, ReadError> {
        if let Some(snapshot) = self.snapshot() {
            let live = || {
                let source = snapshot.source().ok_or(std::io::ErrorKind::Unsupported)?;
                Ok(serde_json::to_vec(&source.usage(top, budget).map_err(std::io::Error::other)?.main())?)
            };
            let told = self.ask(&format!("usage:{}", top.display()), live);
            let usage = told.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
            return usage.map_err(|error| self.met.fail_io(top, error));
        }
        let own = self.stat(top)?;
        let first = DirUsage { parent: 0, name: OsString::new(), bytes: own.allocated, inodes: 1 };
        let state = Mutex::new(State {
            dirs: vec![first],
            queue: vec![(0, top.to_owned())],
            busy: 0,
            files: BinaryHeap::new(),
            seen: HashSet::from([own.ino]),
            complete: true,
            unread: 0,
        });
        let changed = Condvar::new();
        threads::together(threads::processors(4), || self.work(own.dev, budget, &state, &changed));
        let State { mut dirs, files, complete, unread, .. } =
            state.into_inner().unwrap_or_else(PoisonError::into_inner);
        // A directory comes after the one that holds it: from the end on, each is whole when it is added to the one above.
        for index in (1..dirs.len()).rev() {
            let Some(DirUsage { parent, bytes, inodes, .. }) = dirs.get(index).cloned() else { continue };
            if let Some(above) = dirs.get_mut(parent) {
                above.bytes += bytes;
                above.inodes += inodes;
            }
        }
        let mut files: Vec<(u64, PathBuf)> = files.into_iter().map(|Reverse(file)| file).collect();
        files.sort_by(|a, b| b.cmp(a));
        Ok(Usage { dirs, top: top.to_owned(), files, complete, unread })
    }

    fn work(&self, dev: u64, budget: Budget, state: &Mutex<State>, changed: &Condvar) {
        let mut own = lock(state);
        loop {
            if budget.is_spent() || own.dirs.len() > DIRECTORIES {
                own.complete = own.complete && own.queue.is_empty() && own.busy == 0;
                own.queue.clear();
                changed.notify_all();
                return;
            }
            let Some((index, path)) = own.queue.pop() else {
                if own.busy == 0 {
                    changed.notify_all();
                    return;
                }
                own = changed.wait(own).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            own.busy += 1;
            drop(own);
            let listed = self.entries_of(&path, dev);
            own = lock(state);
            own.busy -= 1;
            match listed {
                Err(_) => own.unread += 1,
                Ok(entries) => own.take(index, &path, entries),
            }
            changed.notify_all();
        }
    }

    /// The entries of a directory that are on the same file system.
    fn entries_of(&self, path: &Path, dev: u64) -> Result<Vec<(OsString, Metadata)>, ReadError> {
        let dir = self.open_quietly(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let fail = |errno| self.met.fail(path, errno);
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut raw = RawDir::new(&dir, buffer.spare_capacity_mut());
        let mut entries = Vec::new();
        while let Some(entry) = raw.next() {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // What went away meanwhile holds nothing.
            let Ok(stat) = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) else {
                continue;
            };
            let found = Metadata::of(&stat);
            if found.dev == dev {
                entries.push((OsStr::from_bytes(name.to_bytes()).to_owned(), found));
            }
        }
        Ok(entries)
    }
}

impl State {
    fn take(&mut self, index: usize, path: &Path, entries: Vec<(OsString, Metadata)>) {
        let (mut bytes, mut inodes) = (0, 0);
        for (name, found) in entries {
            let is_dir = found.kind == FileKind::Dir;
            if (is_dir || found.nlink > 1) && !self.seen.insert(found.ino) {
                continue;
            }
            if is_dir {
                self.queue.push((self.dirs.len(), path.join(&name)));
                self.dirs.push(DirUsage { parent: index, name, bytes: found.allocated, inodes: 1 });
                continue;
            }
            bytes += found.allocated;
            inodes += 1;
            let smallest = self.files.peek().map_or(0, |Reverse((bytes, _))| *bytes);
            if found.allocated > smallest || self.files.len() < FILES {
                self.files.push(Reverse((found.allocated, path.join(name))));
                if self.files.len() > FILES {
                    self.files.pop();
                }
            }
        }
        if let Some(dir) = self.dirs.get_mut(index) {
            dir.bytes += bytes;
            dir.inodes += inodes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Duration;

    use crate::{Budget, Root};

    #[test]
    fn everything_counts_once_and_by_what_it_takes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("var/lib/db")).unwrap();
        fs::create_dir_all(at("many")).unwrap();
        fs::write(at("var/lib/db/data"), vec![1; 3 << 20]).unwrap();
        fs::hard_link(at("var/lib/db/data"), at("var/second-name")).unwrap();
        fs::File::create(at("var/sparse")).unwrap().set_len(1 << 40).unwrap();
        symlink("/", at("out")).unwrap();
        for number in 0..200 {
            fs::write(at(&format!("many/{number}")), b"").unwrap();
        }
        let root = Root::at(dir.path()).unwrap();
        let usage = root.usage(Path::new("/"), Budget::new(Duration::from_secs(60))).unwrap();
        assert!(usage.complete && usage.unread == 0);
        let total = usage.total().unwrap();
        // /, var, var/lib, var/lib/db, many; the data, the sparse file, the link, the 200.
        assert_eq!(total.inodes, 5 + 3 + 200);
        assert!((3 << 20..4 << 20).contains(&total.bytes), "{}", total.bytes);
        assert_eq!(usage.files[0].0, 3 << 20);
        let (heaviest, bytes) = &usage.heaviest(3, |dir| dir.bytes)[0];
        // Which of the two names is met first is the directory's order; both are below /var.
        assert!(heaviest.starts_with("/var") && *bytes >= 3 << 20, "{heaviest:?}");
        assert_eq!(usage.heaviest(3, |dir| dir.inodes)[0], ("/many".into(), 201));
        let late = root.usage(Path::new("/"), Budget::new(Duration::ZERO)).unwrap();
        assert!(!late.complete);
    }
}
