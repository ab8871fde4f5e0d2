//! The network: its files, who reads them, what holds after a restart, and the sockets of a running system.

pub mod after_restart;
pub mod cards;
pub mod charge;
pub mod containers;
pub mod filters;
pub mod irq_owner;
pub mod live;
pub mod now;
pub mod outside;
pub mod queues;
pub mod security_groups;
pub mod services;
pub mod sockets;
pub mod steering;
pub mod tcp_counters;
pub mod traffic;
pub mod words;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sickbay_formats::network::{Dialect, File, dialect_of, ifcfg, interfaces, keyfile, netplan, networkd};
use sickbay_target::{FileKind, Reason};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// So many files are read; no network has as many.
const MOST: usize = 2000;

/// No file of the network's configuration is as long, in bytes.
const LONGEST: usize = 1 << 20;

/// The files of every dialect.
#[derive(Debug, Default)]
pub struct NetworkFiles {
    /// As they are read, those of one directory by name.
    pub files: Vec<File>,
    /// The same for findings, by path.
    pub sources: HashMap<String, Arc<SourceFile>>,
    /// What could not be read.
    pub unread: Vec<Text>,
    /// The configuration of SUSE's wicked, which is not read.
    pub wicked: bool,
}

impl Fact for NetworkFiles {
    fn gather(facts: &Facts) -> Result<NetworkFiles, Skip> {
        let mut found = NetworkFiles::default();
        found.file(facts, ifcfg::NETWORK);
        found.file(facts, ifcfg::STATIC_ROUTES);
        found.dir(facts, ifcfg::DIR);
        found.file(facts, interfaces::FILE);
        let mut dirs = vec!["/etc/network/interfaces.d".to_owned()];
        for dir in found.sourced() {
            if !dirs.contains(&dir) && dirs.len() < 32 {
                dirs.push(dir);
            }
        }
        for dir in &dirs {
            found.any(facts, dir);
        }
        for dir in netplan::DIRS.iter().chain(&keyfile::DIRS) {
            found.dir(facts, dir);
        }
        for dir in networkd::DIRS {
            // On most systems of today one is a link to the other.
            let real = facts.root().canonical(dir).ok();
            if dir == "/lib/systemd/network" && real.is_some_and(|real| real == Path::new("/usr/lib/systemd/network")) {
                continue;
            }
            found.dir(facts, dir);
        }
        let suse = facts.root().read_dir("/etc/sysconfig/network").unwrap_or_default();
        found.wicked =
            suse.iter().any(|entry| entry.name.to_string_lossy().starts_with("ifcfg-") && entry.name != "ifcfg-lo");
        Ok(found)
    }
}

impl NetworkFiles {
    /// The file behind a path.
    pub fn source(&self, path: &str) -> Option<&Arc<SourceFile>> {
        self.sources.get(path)
    }

    /// The files of a dialect.
    pub fn of(&self, dialect: Dialect) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| self.dialect(file) == Some(dialect))
    }

    fn dialect(&self, file: &File) -> Option<Dialect> {
        // What /etc/network/interfaces sources may be anywhere.
        dialect_of(&file.path).or(Some(Dialect::Ifupdown))
    }

    fn file(&mut self, facts: &Facts, path: &str) {
        if self.files.len() >= MOST || self.sources.contains_key(path) {
            return;
        }
        match facts.file(path) {
            Ok(Some(source)) => {
                let (mode, owner) = match facts.root().stat(path) {
                    Ok(found) => (found.mode & 0o7777, from_root(facts, (found.uid, found.gid))),
                    Err(_) => (0o600, (0, 0)),
                };
                let bytes = source.bytes.get(..source.bytes.len().min(LONGEST)).unwrap_or_default().to_vec();
                self.files.push(File { path: path.to_owned(), bytes, mode, owner });
                self.sources.insert(path.to_owned(), source);
            }
            Ok(None) => {}
            Err(Skip::Unknown(why) | Skip::NotApplicable(why)) => self.unread.push(why),
        }
    }

    /// The files of a directory that some dialect reads, and those of the drop-in directories in it.
    fn dir(&mut self, facts: &Facts, dir: &str) {
        self.entries(facts, dir, |path| dialect_of(path).is_some());
    }

    /// All files of a directory.
    fn any(&mut self, facts: &Facts, dir: &str) {
        self.entries(facts, dir, |_| true);
    }

    fn entries(&mut self, facts: &Facts, dir: &str, wanted: impl Fn(&str) -> bool) {
        let mut entries = match facts.root().read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => return,
            Err(error) => {
                self.unread.push(Text::verbatim(error.to_string()));
                return;
            }
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if entries.len() > MOST {
            self.unread.push(tr!(
                "{dir} has {count} files, of which {most} are read",
                dir,
                count = entries.len(),
                most = MOST
            ));
        }
        for entry in entries.into_iter().take(MOST) {
            let Some(name) = entry.name.to_str() else { continue };
            let path = format!("{dir}/{name}");
            if entry.kind == FileKind::Dir {
                if name.ends_with(".d") && networkd::DIRS.contains(&dir) {
                    self.dir(facts, &path);
                }
                continue;
            }
            // A link to /dev/null masks, a link that dangles is passed over.
            let is_file = facts.root().stat(&path).is_ok_and(|metadata| metadata.is_file());
            let masked = facts.root().read_link(&path).is_ok_and(|target| target == Path::new("/dev/null"));
            if masked && networkd::DIRS.contains(&dir) {
                self.files.push(File { path, bytes: Vec::new(), mode: 0o644, owner: (0, 0) });
            } else if is_file && wanted(&path) {
                self.file(facts, &path);
            }
        }
    }

    /// The directories that /etc/network/interfaces sources files from.
    fn sourced(&self) -> Vec<String> {
        let Some(source) = self.sources.get(interfaces::FILE) else { return Vec::new() };
        let text = String::from_utf8_lossy(&source.bytes).into_owned();
        let mut dirs = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let keyword = words.next().unwrap_or_default();
            for pattern in words.filter(|_| matches!(keyword, "source" | "source-directory" | "source-dir")) {
                let path =
                    if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/network/{pattern}") };
                let dir = match keyword {
                    "source" => path.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned(),
                    _ => path.trim_end_matches('/').to_owned(),
                };
                // One that names everything would be read for ever.
                if dir.matches('/').count() >= 2 && !dir.contains(['*', '?', '[', '$']) {
                    dirs.push(dir);
                }
            }
        }
        dirs
    }
}

/// Owner and group as the system counts them: in the root of a container without privileges all are shifted.
fn from_root(facts: &Facts, owner: (u32, u32)) -> (u32, u32) {
    let (user, group) = facts.root().stat("/").map_or((0, 0), |root| (root.uid, root.gid));
    (owner.0.checked_sub(user).unwrap_or(owner.0), owner.1.checked_sub(group).unwrap_or(owner.1))
}
