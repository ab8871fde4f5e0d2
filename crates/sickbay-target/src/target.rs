//! What is examined: this host, a mounted root, disks, or logs.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sickbay_formats::superblock::condition::Condition;

use crate::archive::{self, Unpacked};
use crate::checker::{Examined, Verdict};
use crate::disk::Follow;
use crate::log::{self, LogFile};
use crate::machine::Inventory;
use crate::sys::Window;
use crate::system::{Assembled, System};
use crate::volumes::{Described, Placed};
use crate::{
    Bundle, Disk, OpenError, Recording, Root, SupportReport, Table, WriteError, Writer, bundle, content, likeness,
    machine, volumes,
};

/// What is examined, with everything that belongs to it. Dropping it detaches what opening it attached.
#[derive(Debug)]
pub struct Target {
    /// What it is.
    pub kind: Kind,
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

/// The kind of a [`Target`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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

/// Why a target does not answer what it is asked for, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// By its nature it has nothing of the kind: a directory has no disks, a disk no processes.
    None(String),
    /// It should be there to be read, and could not be.
    Unread(String),
}

/// What may be done to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Nothing is changed, not even by the replay of a file system's journal.
    #[default]
    ReadOnly,
    /// Repairs may be written. Refused while another uses the target.
    ReadWrite,
}

/// How to open a target.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What may be done to it.
    pub access: Access,
    /// Further disks of the same machine: data disks, and further physical volumes of its volume groups; and its logs.
    pub with: Vec<PathBuf>,
    /// Every file system of its disks is examined by its checker, not only those of which something hints at damage.
    pub thorough: bool,
    /// Images may have the other files that they name: backing files, data files, extents.
    pub follow_images: bool,
    /// A directory is taken for a root whatever is in it: to take back what was done to it, or for the kernel's sake alone.
    pub any_directory: bool,
    /// Is told what takes long.
    pub progress: Option<fn(&str)>,
}

/// Something that can be mounted or swapped on: a partition, a logical volume, or a disk without partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// "partition 1", "LV vg/root", "whole disk"; on a host "/dev/vda1".
    pub name: String,
    /// Its node on this machine; `None` where it is only described.
    pub device: Option<PathBuf>,
    /// What is on it, as blkid(8) names it ("ext4", "xfs", "swap", "LVM2_member", "crypto_LUKS"); "" when nothing known is.
    pub fstype: String,
    /// The UUID of what is on it.
    pub uuid: Option<String>,
    /// The label of what is on it.
    pub label: Option<String>,
    /// The partition's own UUID, as in fstab's `PARTUUID=`.
    pub partuuid: Option<String>,
    /// The partition's own name (GPT), as in fstab's `PARTLABEL=`.
    pub partlabel: Option<String>,
    /// The type that the partition table gives it, as blkid(8) writes it: a byte ("0x83") or a GUID.
    pub parttype: Option<String>,
    /// The number of the partition, from 1 on; logical partitions of an MBR from 5 on.
    pub partition: Option<u32>,
    /// The kind of the table that the partition is described in.
    pub table: Option<Table>,
    /// Where it begins on its disk, in bytes.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// For a logical volume: its volume group and its own name.
    pub lv: Option<(String, String)>,
    /// Which of [`Target::disks`] holds it, or holds its beginning.
    pub disk: usize,
    /// Where it is mounted in the target, for example "/boot".
    pub mounted_on: Option<PathBuf>,
    /// Where fstab mounts it, although it has nothing of what the system keeps there and would hide that: it was not mounted.
    pub hides: Option<PathBuf>,
    /// Where it was last mounted for writing, by its own account; only ext2, ext3 and ext4 keep that.
    pub last_mounted_on: Option<PathBuf>,
    /// What the superblock of its file system says of its condition, when the target was opened.
    pub condition: Option<Condition>,
    /// The subvolume of a btrfs in which the target's root is, as `subvol=` names it, where no other could be meant.
    pub subvolume: Option<String>,
}

impl Target {
    /// Opens what the user named: nothing for this host, a directory for a mounted root, a disk, a partition or an
    /// image, or a log: a file, a directory of logs, or `-` for standard input.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(spec: Option<&Path>, options: &Options) -> Result<Target, OpenError> {
        let (options, logs) = without_logs(options)?;
        let options = &options;
        let mut target = Target::open_it(spec, options)?;
        if !logs.is_empty() && matches!(target.kind, Kind::Log | Kind::Recording) {
            return Err(OpenError::LogOfALog { path: PathBuf::from(&target.name) });
        }
        target.logs.extend(logs);
        Ok(target)
    }

    fn open_it(spec: Option<&Path>, options: &Options) -> Result<Target, OpenError> {
        let access = options.access;
        let Some(path) = spec.filter(|path| *path != Path::new("/")) else {
            let root = Root::host()?;
            if !options.any_directory {
                accept(&root, Path::new("/"))?;
            }
            return Target::of_dir(Kind::Host, host_name(), root, access, machine::host());
        };
        if path == Path::new("-") {
            return Target::of_logs(path, vec![LogFile::stdin()?], access);
        }
        let metadata = std::fs::metadata(path).map_err(|e| OpenError::io(path, "examining it", e))?;
        if metadata.is_file() && bundle::is_bundle(path) {
            return bundle::open(path, access);
        }
        if metadata.is_file()
            && let Some(recording) = Recording::of_file(path)?
        {
            return Target::of_recording(recording, access);
        }
        if metadata.is_file() && archive::is_archive(path)? {
            return Target::of_archive(path, options);
        }
        if !metadata.is_dir() {
            return match log::of_file(path, &metadata)? {
                Some(log) => Target::of_logs(path, vec![log], access),
                None => Target::of_disks(path, options),
            };
        }
        if let Some(recording) = Recording::of_directory(path)? {
            return Target::of_recording(recording, access);
        }
        let root = Root::at(path)?;
        if !options.any_directory
            && let Some(target) = Target::of_report(path, &root, access)?
        {
            return Ok(target);
        }
        if !options.any_directory
            && let Err(error) = accept(&root, path)
        {
            let logs = if matches!(error, OpenError::NotARoot { .. }) { log::of_directory(path) } else { None };
            return Target::of_logs(path, logs.ok_or(error)?, access);
        }
        if access == Access::ReadWrite {
            machine::refuse_root(&root, path)?;
        }
        let found = machine::of_root(&root, path, &options.with)?;
        Target::of_dir(Kind::Root, path.display().to_string(), root, access, found)
    }

    fn of_dir(kind: Kind, name: String, root: Root, access: Access, found: Inventory) -> Result<Target, OpenError> {
        let writer = writer(&root, access, kind)?;
        let Inventory { disks, volumes, opaque } = found;
        Ok(Target { volumes, opaque, writer, disks, ..Target::bare(kind, name, root) })
    }

    fn of_disks(path: &Path, options: &Options) -> Result<Target, OpenError> {
        let access = options.access;
        let follow = if options.follow_images { Follow::All } else { Follow::Nothing };
        let mut disks = vec![Disk::open_with(path, access, follow)?];
        for path in &options.with {
            disks.push(Disk::open_with(path, access, follow)?);
        }
        let fail = |e| OpenError::io(path, "reading it", e);
        let Described { mut placed, opaque, mut notes } = volumes::describe(&disks, true).map_err(fail)?;
        notes.extend(disks.iter().flat_map(|disk| disk.others.iter().map(|other| format!("{}: {other}", disk.name))));
        let is_nothing = |placed: &Placed| {
            placed.volume.fstype.is_empty() && placed.volume.partition.is_none() && placed.lost.is_none()
        };
        if placed.iter().all(is_nothing) {
            let head = disks.first().map(Disk::head).transpose().map_err(fail)?.unwrap_or_default();
            return Err(OpenError::NotATarget { path: path.to_owned(), what: content::name(&head) });
        }
        let assembled = System::assemble(path, &mut disks, &mut placed, options, &mut notes)?;
        let Assembled { system, root, unreadable, examined } = assembled;
        let writer = writer(&root, access, Kind::Disk)?;
        let volumes = Ok(placed.into_iter().map(|placed| placed.volume).collect());
        let name = path.display().to_string();
        Ok(Target {
            volumes,
            opaque,
            writer,
            notes,
            system: Some(system),
            examined,
            unreadable,
            disks,
            ..Target::bare(Kind::Disk, name, root)
        })
    }

    /// What a tool for support collected; `None` for a directory that is something else.
    fn of_report(path: &Path, root: &Root, access: Access) -> Result<Option<Target>, OpenError> {
        let Some((report, below)) = SupportReport::of(root) else { return Ok(None) };
        if access == Access::ReadWrite {
            return Err(OpenError::Report { path: path.to_owned() });
        }
        let fail =
            |why: String| OpenError::OtherTree { path: path.to_owned(), what: format!("not looked into: {why}") };
        let root = root.below(&below).map_err(|error| fail(error.to_string()))?;
        let (volumes, opaque) = report.volumes(&root);
        let name = path.display().to_string();
        Ok(Some(Target { volumes, opaque, report: Some(report), ..Target::bare(Kind::Report, name, root) }))
    }

    /// Whether it was unpacked from an archive.
    pub fn is_archive(&self) -> bool {
        self.unpacked.is_some()
    }

    /// Refuses what is a copy of a system's files, an archive or what a tool for support collected: nothing is repaired in it.
    ///
    /// # Errors
    /// When it is one, or cannot be looked at.
    pub fn refuse_copies(path: &Path) -> Result<(), OpenError> {
        let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
        if metadata.is_file() && archive::is_archive(path)? {
            return Err(OpenError::Packed { path: path.to_owned() });
        }
        if metadata.is_dir() && SupportReport::of(&Root::at(path)?).is_some() {
            return Err(OpenError::Report { path: path.to_owned() });
        }
        Ok(())
    }

    /// What a tool for support collected of it.
    ///
    /// # Errors
    /// Where it is a system itself.
    pub fn report(&self) -> Result<&SupportReport, Lack> {
        self.report.as_ref().ok_or_else(|| Lack::None("it is no report of a tool for support".to_owned()))
    }

    fn of_archive(path: &Path, options: &Options) -> Result<Target, OpenError> {
        if options.access == Access::ReadWrite {
            return Err(OpenError::Packed { path: path.to_owned() });
        }
        let unpacked = Unpacked::of_file(path, options.progress)?;
        let root = unpacked.root().map_err(|e| OpenError::io(path, "opening what it was unpacked to", e))?;
        let notes = unpacked.notes.clone();
        for top in tops(&root) {
            if let Some(target) = Target::of_report(path, &top, options.access)? {
                return Ok(Target { notes, unpacked: Some(unpacked), ..target });
            }
        }
        let root = if options.any_directory { root } else { root_in(root, path)? };
        Unpacked::furnish(&root).map_err(|e| OpenError::io(path, "unpacking it", e))?;
        let volumes = Err(Lack::None("it is an archive, and has no disks".to_owned()));
        let name = path.display().to_string();
        Ok(Target { volumes, notes, unpacked: Some(unpacked), ..Target::bare(Kind::Root, name, root) })
    }

    fn of_logs(path: &Path, logs: Vec<LogFile>, access: Access) -> Result<Target, OpenError> {
        if access == Access::ReadWrite {
            return Err(OpenError::Log { path: path.to_owned() });
        }
        let root = Root::none().map_err(|e| OpenError::io(path, "making room", e))?;
        Ok(Target { logs, ..Target::bare(Kind::Log, path.display().to_string(), root) })
    }

    /// Files of other recorders as one target; `None` when one of them is something else.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn of_recordings(paths: &[PathBuf]) -> Result<Option<Target>, OpenError> {
        match Recording::of_files(paths)? {
            Some(recording) => Target::of_recording(recording, Access::ReadOnly).map(Some),
            None => Ok(None),
        }
    }

    fn of_recording(recording: Recording, access: Access) -> Result<Target, OpenError> {
        let path = recording.path.clone();
        if access == Access::ReadWrite {
            return Err(OpenError::Recording { path });
        }
        let root = Root::none().map_err(|e| OpenError::io(&path, "making room", e))?;
        let name = path.display().to_string();
        Ok(Target { recording: Some(recording), ..Target::bare(Kind::Recording, name, root) })
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
        self.recording.as_ref().ok_or_else(|| Lack::None("it is no recording".to_owned()))
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

    /// A directory taken for a mounted root whose volumes and disks the caller describes: for trees that are on no disk
    /// of their own, as in tests.
    ///
    /// # Errors
    /// When the directory or an image cannot be opened.
    pub fn described(
        dir: &Path,
        access: Access,
        volumes: Vec<Volume>,
        images: &[PathBuf],
    ) -> Result<Target, OpenError> {
        let root = Root::at(dir)?;
        let disks = images.iter().map(|image| Disk::open(image, access)).collect::<Result<_, _>>()?;
        let writer = writer(&root, access, Kind::Root)?;
        let name = dir.display().to_string();
        Ok(Target { volumes: Ok(volumes), writer, disks, ..Target::bare(Kind::Root, name, root) })
    }

    /// The same directory taken for the root of a running system, whose `/proc` and `/sys` it has.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn taken_for_running(mut self) -> Result<Target, OpenError> {
        let access = if self.writer.is_some() { Access::ReadWrite } else { Access::ReadOnly };
        self.writer = writer(&self.root, access, Kind::Host)?;
        self.kind = Kind::Host;
        Ok(self)
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

    pub(crate) fn of_bundle(
        kind: Kind,
        name: String,
        root: Root,
        bundle: Bundle,
        volumes: Result<Vec<Volume>, Lack>,
        opaque: Vec<String>,
        notes: Vec<String>,
    ) -> Target {
        Target { volumes, opaque, notes, bundle: Some(bundle), ..Target::bare(kind, name, root) }
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

    /// Its files.
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

    /// Whether a file system was mended on a view: nothing that is done to the target reaches its disks before
    /// [`Target::release`].
    pub fn is_held(&self) -> bool {
        self.disks.iter().any(Disk::is_held)
    }

    /// Notes that what a checker did to a volume on the view shall reach the disk.
    pub fn accept(&self, volume: usize) {
        self.accepted_volumes().insert(volume);
    }

    /// Whether [`Target::accept`] was called for it.
    pub fn is_accepted(&self, volume: usize) -> bool {
        self.accepted_volumes().contains(&volume)
    }

    /// A volume that is in use as it was mended, and of which that was not accepted: files on it must not be written.
    pub fn not_accepted(&self) -> Option<&Volume> {
        let volumes = self.volumes.as_deref().unwrap_or_default();
        let open = |examined: &&Examined| {
            matches!(examined.verdict, Verdict::Mended { .. }) && !self.is_accepted(examined.volume)
        };
        let mut volumes = self.examined.iter().filter(open).filter_map(|examined| volumes.get(examined.volume));
        volumes.find(|volume| volume.mounted_on.is_some())
    }

    fn accepted_volumes(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Writes everything out and detaches what opening attached. Dropping does the same and cannot tell of a failure.
    /// What is held (see [`Target::is_held`]) is dropped.
    ///
    /// # Errors
    /// When something could not be written or detached.
    pub fn close(self) -> io::Result<()> {
        let (disks, mut result) = self.take_apart();
        for disk in disks {
            result = result.and(disk.close());
        }
        result
    }

    /// Like [`Target::close`] for a target that is held: gives its disks, held still, with everything unmounted and
    /// what was not accepted forgotten.
    ///
    /// # Errors
    /// When something could not be written or detached; the disks are as they were.
    pub fn release(self) -> io::Result<Vec<Disk>> {
        let unwanted: Vec<(usize, Window)> = self
            .examined
            .iter()
            .filter(|examined| !self.is_accepted(examined.volume))
            .filter_map(|examined| self.volumes.as_ref().ok()?.get(examined.volume))
            .map(|volume| (volume.disk, Window { start: volume.start, size: volume.size }))
            .collect();
        let (disks, result) = self.take_apart();
        result?;
        for (disk, window) in unwanted {
            if let Some(disk) = disks.get(disk) {
                disk.forget(window);
            }
        }
        Ok(disks)
    }

    fn take_apart(self) -> (Vec<Disk>, io::Result<()>) {
        let Target { volumes, root, writer, system, disks, .. } = self;
        let mut result = Ok(());
        if let (Some(_), Some(system)) = (&writer, &system) {
            result = system.sync(&root, volumes.as_deref().unwrap_or_default());
        }
        drop((root, writer));
        if let Some(system) = system.filter(|_| disks.iter().any(Disk::is_held)) {
            result = result.and(system.close());
        }
        (disks, result)
    }
}

/// The top of an archive, and the one directory that it consists of.
fn tops(root: &Root) -> Vec<Root> {
    let (entries, _) = root.read_dir_up_to("/", 2).unwrap_or_default();
    let below = match entries.as_slice() {
        [only] => root.below(&Path::new("/").join(&only.name)).ok(),
        _ => None,
    };
    root.try_clone().ok().into_iter().chain(below).collect()
}

/// The root in an archive: what is at its top, or in the one directory that it consists of.
fn root_in(root: Root, path: &Path) -> Result<Root, OpenError> {
    let refuse = |refused: OpenError| match refused {
        OpenError::NotARoot { path, .. } => {
            let what = "an archive in which nothing looks like the root of a Linux system".to_owned();
            OpenError::NotATarget { path, what }
        }
        other => other,
    };
    let Err(mut refused) = accept(&root, path) else { return Ok(root) };
    for top in tops(&root).into_iter().skip(1) {
        match accept(&top, path) {
            Ok(()) => return Ok(top),
            Err(error) => refused = error,
        }
    }
    Err(refuse(refused))
}

/// Refuses a directory that is not the root of a system.
fn accept(root: &Root, dir: &Path) -> Result<(), OpenError> {
    if let Some(what) = likeness::name(root) {
        return Err(OpenError::OtherTree { path: dir.to_owned(), what });
    }
    match likeness::is_root(root) {
        Ok(true) => Ok(()),
        Ok(false) => Err(likeness::refusal(root, dir)),
        Err(error) => Err(OpenError::OtherTree { path: dir.to_owned(), what: format!("not looked into: {error}") }),
    }
}

pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn writer(root: &Root, access: Access, kind: Kind) -> Result<Option<Writer>, OpenError> {
    if access == Access::ReadOnly {
        return Ok(None);
    }
    let root = root.try_clone().map_err(|e| OpenError::io(Path::new("/"), "opening the root twice", e))?;
    Ok(Some(Writer::new(root, kind == Kind::Host)))
}

/// The options without those files that are logs, and these.
fn without_logs(options: &Options) -> Result<(Options, Vec<LogFile>), OpenError> {
    let (mut with, mut logs) = (Vec::new(), Vec::new());
    for path in &options.with {
        let metadata = std::fs::metadata(path).map_err(|e| OpenError::io(path, "examining it", e))?;
        match if metadata.is_dir() { None } else { log::of_file(path, &metadata)? } {
            Some(log) => logs.push(log),
            None => with.push(path.clone()),
        }
    }
    Ok((Options { with, ..options.clone() }, logs))
}
