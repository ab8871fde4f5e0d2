//! What is examined: this host, a mounted root, disks, logs, or what was collected or recorded of a machine.
//!
//! What a target is follows from how it was named, and stays in this crate. What the others want to know is what can be asked of
//! it: its files, a running kernel, disks of its own, logs, a recording. Each of these answers, or says why not ([`Lack`]).

mod clock;
mod close;
mod kernel;
mod open;
mod volume;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::archive::Unpacked;
use crate::checker::Examined;
use crate::log::{self, LogFile};
use crate::system::System;
use crate::{Bundle, Disk, OpenError, ReadError, Reason, Recording, Root, SupportReport, WriteError, Writer};

pub use kernel::Architecture;
pub(crate) use open::host_name;
pub use open::{Access, Options};
pub use volume::Volume;

/// What is examined, with everything that belongs to it. Dropping it detaches what opening it attached.
#[derive(Debug)]
pub struct Target {
    pub(crate) kind: Kind,
    /// How the user named it; the host's name for a host.
    pub name: String,
    /// Everything that can be mounted or swapped on, on all of its disks.
    pub volumes: Result<Vec<Volume>, Lack>,
    /// What may hold further volumes but could not be looked into, each one sentence ("partition 2 is encrypted
    /// (LUKS)"). Unless this is empty, a UUID that no volume has may still be on the target.
    pub opaque: Vec<String>,
    // The order in which these are dropped is the order of taking apart: files, mounts with their devices, disks.
    root: Root,
    writer: Option<Writer>,
    notes: Vec<String>,
    packages: Vec<PathBuf>,
    pub(crate) system: Option<System>,
    logs: Vec<LogFile>,
    recording: Option<Recording>,
    report: Option<SupportReport>,
    /// What `root` was unpacked from.
    unpacked: Option<Unpacked>,
    bundle: Option<Bundle>,
    examined: Vec<Examined>,
    unreadable: Option<String>,
    accepted: Mutex<BTreeSet<usize>>,
    /// Its disks. Empty where they cannot be told, as for a mounted root on a network file system.
    pub disks: Vec<Disk>,
}

/// How a [`Target`] was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The running system.
    Host,
    /// A directory of this machine that is the root of another system.
    Root,
    /// A disk, a partition or an image, not running.
    Disk,
    /// Logs: see [`Target::logs`]. It has no system whose files could be read.
    Log,
    /// What a tool for support collected of a machine: see [`Target::report`]. It has a part of the files.
    Report,
    /// What was recorded of a running system: see [`Target::recording`]. It has no files either.
    Recording,
}

impl Kind {
    /// The word for it in documents: what they call a target must not change between versions.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Host => "host",
            Kind::Root => "root",
            Kind::Disk => "disk",
            Kind::Log => "log",
            Kind::Report => "report",
            Kind::Recording => "recording",
        }
    }
}

/// Why a target does not answer what it is asked for, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// By its nature it has nothing of the kind: a directory has no disks, a disk no processes.
    None(String),
    /// It should be there to be read, and could not be.
    Unread(String),
}

impl From<ReadError> for Lack {
    fn from(error: ReadError) -> Lack {
        let why = error.to_string();
        match error.reason {
            Reason::NotFound | Reason::NotADirectory | Reason::NotTold | Reason::NotCollected(_) => Lack::None(why),
            _ => Lack::Unread(why),
        }
    }
}

impl Target {
    /// What it is in one word, as reports have it: `host`, `root`, `disk`, `log`, `recording`, `report` of a support tool, or, however
    /// the system that they hold was opened, `archive` and `bundle`.
    pub fn word(&self) -> &'static str {
        match self.kind {
            _ if self.bundle.is_some() => "bundle",
            _ if self.unpacked.is_some() && self.kind == Kind::Root => "archive",
            kind => kind.word(),
        }
    }

    /// Refuses what is a copy or only a part of a system: nothing was ever repaired in it, and nothing will be.
    ///
    /// # Errors
    /// When it is one; `path` is what the user called it.
    pub fn refuse_repairs(&self, path: PathBuf) -> Result<(), OpenError> {
        Err(match self.kind {
            _ if self.bundle.is_some() => OpenError::BundleOnly { path },
            _ if self.unpacked.is_some() => OpenError::Packed { path },
            Kind::Log => OpenError::Log { path },
            Kind::Recording => OpenError::Recording { path },
            Kind::Report => OpenError::Report { path },
            Kind::Host | Kind::Root | Kind::Disk => return Ok(()),
        })
    }

    /// What a support tool collected of it.
    ///
    /// # Errors
    /// Where it was collected by none.
    pub fn report(&self) -> Result<&SupportReport, Lack> {
        self.report.as_ref().ok_or_else(|| Lack::None("it is not a report of a support tool".to_owned()))
    }

    /// This target with what was recorded of it, which is then looked at instead of what it does now.
    pub fn with_recording(self, recording: Recording) -> Target {
        Target { recording: Some(recording), ..self }
    }

    /// What was recorded of it.
    ///
    /// # Errors
    /// Where it is no recording, and was given none.
    pub fn recording(&self) -> Result<&Recording, Lack> {
        self.recording.as_ref().ok_or_else(|| Lack::None("it is not a recording".to_owned()))
    }

    /// A target of which nothing is known yet but its files.
    fn bare(kind: Kind, name: String, root: Root) -> Target {
        Target {
            kind,
            name,
            volumes: Ok(Vec::new()),
            opaque: Vec::new(),
            root,
            writer: None,
            notes: Vec::new(),
            packages: Vec::new(),
            system: None,
            logs: Vec::new(),
            recording: None,
            report: None,
            unpacked: None,
            bundle: None,
            examined: Vec::new(),
            unreadable: None,
            accepted: Mutex::default(),
            disks: Vec::new(),
        }
    }

    /// The logs that it is, oldest first.
    ///
    /// # Errors
    /// Where it is a system: its logs are among its files.
    pub fn logs(&self) -> Result<&[LogFile], Lack> {
        match self.kind {
            Kind::Log => Ok(&self.logs),
            _ => Err(Lack::None("it is a system, not a log".to_owned())),
        }
    }

    /// The logs that were given: those that it is, or that came with it.
    pub fn given_logs(&self) -> &[LogFile] {
        &self.logs
    }

    /// Its files.
    ///
    /// # Errors
    /// Where it has none: a log. Where its root file system cannot be mounted.
    pub fn files(&self) -> Result<&Root, Lack> {
        match (&self.unreadable, self.kind) {
            (Some(why), _) => Err(Lack::Unread(why.clone())),
            (None, Kind::Log) => Err(Lack::None("it is a log, without a system's files".to_owned())),
            (None, Kind::Recording) => Err(Lack::None("it is a recording, without a system's files".to_owned())),
            (None, _) => Ok(&self.root),
        }
    }

    /// The files of a system that runs: `/proc` and `/sys` are its kernel's.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn running(&self) -> Result<&Root, Lack> {
        match self.kind {
            Kind::Host => Ok(&self.root),
            _ => Err(Lack::None("the target is not running".to_owned())),
        }
    }

    /// All files of a system, running or not.
    ///
    /// # Errors
    /// As [`Target::files`]; where only a part of the files was collected.
    pub fn whole(&self) -> Result<&Root, Lack> {
        match self.kind {
            Kind::Report => {
                Err(Lack::None("it is a report of a support tool, with a part of a system's files".to_owned()))
            }
            _ => self.files(),
        }
    }

    /// The disks of a system that does not run, which were opened for it and which nothing else uses.
    ///
    /// # Errors
    /// Where the files are not on disks, or on disks that are in use.
    pub fn attached(&self) -> Result<&[Disk], Lack> {
        match self.kind {
            Kind::Disk => Ok(&self.disks),
            _ if self.unpacked.is_some() => Err(Lack::None("it is an archive, and has no disks".to_owned())),
            Kind::Host | Kind::Root => Err(Lack::None("it is mounted (name the disk it is on)".to_owned())),
            Kind::Log | Kind::Recording | Kind::Report => self.whole().map(|_| [].as_slice()),
        }
    }

    /// Whether its files are on file systems of its own. A directory into which a system was unpacked is on the file system of this
    /// machine, whose size and free space say nothing about the system.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn has_own_file_systems(&self) -> Result<bool, ReadError> {
        if self.kind == Kind::Root { self.root.has_own_file_system() } else { Ok(true) }
    }

    /// Whether it is the system that we run in, of which system calls tell too: no tree that is taken for a running one.
    pub fn is_this_machine(&self) -> bool {
        let own = rustix::fs::stat("/").map(|stat| (stat.st_dev, stat.st_ino));
        let its = rustix::fs::fstat(self.root.as_dir()).map(|stat| (stat.st_dev, stat.st_ino));
        self.kind == Kind::Host && own.is_ok() && own == its
    }

    /// What it says of itself, if it is a bundle.
    pub fn bundle(&self) -> Option<&Bundle> {
        self.bundle.as_ref()
    }

    /// From now on it is read through another root, and not written.
    pub(crate) fn look_through(&mut self, root: Root) {
        self.root = root;
        self.writer = None;
    }

    /// Whether it can be asked what no file tells ([`Root::ask`]): this machine's kernel, or a bundle that has its answers.
    pub fn can_be_asked(&self) -> bool {
        self.root.snapshot().map_or_else(|| self.is_this_machine(), |snapshot| snapshot.is_of_machine())
    }

    /// The root through which its files are read.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Writes its files; `None` unless it was opened with [`Access::ReadWrite`].
    pub fn writer(&self) -> Option<&Writer> {
        self.writer.as_ref()
    }

    /// Writes to a disk outside every file system, as for boot code.
    ///
    /// # Errors
    /// When there is no such disk or the target was opened for reading only, and the kernel's.
    pub fn write_disk(&self, disk: usize, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let fail = |path: &Path, source| WriteError { path: path.into(), done: "written to", immutable: false, source };
        let Some(disk) = self.disks.get(disk) else {
            return Err(fail(Path::new(&format!("disk {disk}")), io::ErrorKind::NotFound.into()));
        };
        if self.writer.is_none() {
            return Err(fail(&disk.path, io::ErrorKind::PermissionDenied.into()));
        }
        disk.write_at(offset, bytes).map_err(|e| fail(&disk.path, e))
    }

    /// Whether a disk may be written by what a journal says that was found on the target: it was named by the user as what is
    /// to be repaired, or it is this machine's own, or the target is a file system as a whole that lies on it.
    pub fn owns_disk(&self, disk: usize) -> bool {
        let is_named = self.disks.get(disk).is_some_and(|disk| disk.is_named);
        is_named || self.kind == Kind::Host || (self.kind == Kind::Root && self.root.is_mount_point().unwrap_or(false))
    }

    /// The file systems that were examined by their checker, since something hinted at damage or the user asked.
    pub fn examined(&self) -> &[Examined] {
        &self.examined
    }

    /// Why its root file system could not be mounted, so that nothing can be said of its files.
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Notes package files of this machine from which lost files may be taken.
    ///
    /// # Errors
    /// When one of them is no regular file or may not be read.
    pub fn give_packages(&mut self, files: &[PathBuf]) -> Result<(), OpenError> {
        for path in files {
            let absolute = std::path::absolute(path).map_err(|e| OpenError::io(path, "finding it", e))?;
            let metadata = std::fs::metadata(&absolute).map_err(|e| OpenError::io(path, "examining it", e))?;
            if !metadata.is_file() {
                return Err(OpenError::NotAPackage { path: path.clone() });
            }
            std::fs::File::open(&absolute).map_err(|e| OpenError::io(path, "opening it", e))?;
            self.packages.push(absolute);
        }
        Ok(())
    }

    /// Gives it a log of the same machine.
    ///
    /// # Errors
    /// When it is no log, or cannot be read.
    pub fn give_log(&mut self, path: &Path) -> Result<(), OpenError> {
        let metadata = std::fs::metadata(path).map_err(|e| OpenError::io(path, "examining it", e))?;
        let what = "not a log".to_owned();
        let log = log::of_file(path, &metadata)?;
        self.logs.push(log.ok_or_else(|| OpenError::NotATarget { path: path.to_owned(), what })?);
        Ok(())
    }

    /// The package files of this machine that were given with it.
    pub fn packages(&self) -> &[PathBuf] {
        &self.packages
    }

    /// What the user should know of how it was opened, each one sentence.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}
