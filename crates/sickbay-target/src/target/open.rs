//! From what the user named to a target: one function for each kind of thing.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::{Kind, Lack, Target, Volume};
use crate::archive::{self, Unpacked};
use crate::disk::Follow;
use crate::log::{self, LogFile};
use crate::machine::{self, Inventory};
use crate::system::{Assembled, System};
use crate::volumes::{self, Described, Placed};
use crate::{Bundle, Disk, OpenError, Recording, Root, SupportReport, Writer, bundle, content, likeness};

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

impl Target {
    /// Opens what the user named: nothing for this host, a directory for a mounted root, a disk, a partition or an
    /// image, or a log: a file, a directory of logs, or `-` for standard input.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(spec: Option<&Path>, options: &Options) -> Result<Target, OpenError> {
        let (options, logs) = without_logs(options)?;
        let options = &options;
        let mut target = Target::of_spec(spec, options)?;
        if !logs.is_empty() && matches!(target.kind, Kind::Log | Kind::Recording) {
            return Err(OpenError::LogOfALog { path: PathBuf::from(&target.name) });
        }
        target.logs.extend(logs);
        Ok(target)
    }

    fn of_spec(spec: Option<&Path>, options: &Options) -> Result<Target, OpenError> {
        let Some(path) = spec.filter(|path| *path != Path::new("/")) else { return Target::of_host(options) };
        if path == Path::new("-") {
            return Target::of_logs(path, vec![LogFile::stdin()?], options.access);
        }
        let metadata = std::fs::metadata(path).map_err(|e| OpenError::io(path, "examining it", e))?;
        match metadata.is_dir() {
            true => Target::of_directory(path, options),
            false => Target::of_file(path, &metadata, options),
        }
    }

    fn of_host(options: &Options) -> Result<Target, OpenError> {
        let root = Root::host()?;
        if !options.any_directory {
            accept(&root, Path::new("/"))?;
        }
        Target::of_dir(Kind::Host, host_name(), root, options.access, machine::host())
    }

    /// What kind of file it is, its content says; whatever is neither text nor of a known format is taken for a disk.
    fn of_file(path: &Path, metadata: &Metadata, options: &Options) -> Result<Target, OpenError> {
        let access = options.access;
        if metadata.is_file() {
            if bundle::is_bundle(path) {
                return bundle::open(path, access);
            }
            if let Some(recording) = Recording::of_file(path)? {
                return Target::of_recording(recording, access);
            }
            if archive::is_archive(path)? {
                return Target::of_archive(path, options);
            }
        }
        match log::of_file(path, metadata)? {
            Some(log) => Target::of_logs(path, vec![log], access),
            None => Target::of_disks(path, options),
        }
    }

    fn of_directory(path: &Path, options: &Options) -> Result<Target, OpenError> {
        let access = options.access;
        if let Some(recording) = Recording::of_directory(path)? {
            return Target::of_recording(recording, access);
        }
        let root = Root::at(path)?;
        if !options.any_directory {
            if let Some(target) = Target::of_report(path, &root, access)? {
                return Ok(target);
            }
            if let Err(error) = accept(&root, path) {
                let logs = if matches!(error, OpenError::NotARoot { .. }) { log::of_directory(path) } else { None };
                return Target::of_logs(path, logs.ok_or(error)?, access);
            }
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
        let follow = Follow::asked(options.follow_images);
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

    /// What a support tool collected; `None` for a directory that is something else.
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

    /// Refuses what is a copy of a system's files, in which nothing is repaired, before anybody plans what cannot be done: a bundle;
    /// an archive and a report of a support tool, too, except for a dry run, which is of use for the system that they are of.
    ///
    /// # Errors
    /// When it is one, or cannot be read.
    pub fn refuse_copies(path: &Path, dry_run: bool) -> Result<(), OpenError> {
        let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
        if metadata.is_file() && bundle::is_bundle(path) {
            return Err(OpenError::BundleOnly { path: path.to_owned() });
        }
        if dry_run {
            return Ok(());
        }
        if metadata.is_file() && archive::is_archive(path)? {
            return Err(OpenError::Packed { path: path.to_owned() });
        }
        if metadata.is_dir() && SupportReport::of(&Root::at(path)?).is_some() {
            return Err(OpenError::Report { path: path.to_owned() });
        }
        Ok(())
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
