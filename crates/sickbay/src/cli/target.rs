//! What the user names to be looked at, and what helps with it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_target::{Access, Lack, Options, RECORDINGS, Recording, Target};

use super::context::{Context, Failure, complain, progress};
use crate::facts::Facts;
use crate::facts::memory::size;
use crate::facts::packages::mirror::{Mirror, Progress};
use crate::repair::held;
use crate::repair::journal::Journal;
use crate::report::text::printable;
use crate::sample::{Asked, When};
use crate::tr;

/// What is looked at, and what helps with it.
pub(super) const LOOK: &str = "What to check";

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// A mounted system, disk, partition or image [default: this machine]
    pub(super) target: Option<PathBuf>,
    #[command(flatten)]
    pub(super) aid: Aid,
}

/// What there is besides the target.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = LOOK)]
pub(super) struct Aid {
    /// Another disk of the same machine, such as a data disk named in its fstab; or a log of it, such as its console
    #[arg(long, value_name = "DISK")]
    pub(super) with: Vec<PathBuf>,
    /// Let an image use the other files that it names: backing files, data files, extents. Without this option such an
    /// image is refused, because it could name any file of this machine
    #[arg(long)]
    pub(super) follow_images: bool,
    /// A healthy root of the same release to restore lost files from
    #[arg(long, value_name = "ROOT")]
    pub(super) donor: Option<PathBuf>,
    /// A package file (.deb, .rpm) on this machine to restore lost files from; can be given several times
    #[arg(long, value_name = "FILE")]
    pub(super) package: Vec<PathBuf>,
}

/// How far a look goes, of those verbs that look at everything.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Depth {
    /// Read every packaged file and compare digests, not only those needed for boot and login; takes minutes
    #[arg(long, help_heading = LOOK)]
    pub(super) digests: bool,
    /// How much memory the machine has, such as 16G, where its own logs do not say
    #[arg(long = "memory", value_name = "SIZE", value_parser = super::kibibytes, help_heading = LOOK)]
    pub(super) memory: Option<u64>,
    /// Download the packages of lost files that are not available locally, in exactly the installed versions, from the
    /// mirrors of the target's apt; with this machine's curl or wget
    #[arg(long, help_heading = LOOK)]
    pub(super) fetch: bool,
    /// With --fetch, also trust package lists that are not signed by a known key
    #[arg(long, requires = "fetch", help_heading = LOOK)]
    pub(super) insecure: bool,
    /// Run the checker (e2fsck, xfs_repair, btrfs) on every file system of a disk or image, not only on those that seem
    /// damaged; reads all of them
    #[arg(long, help_heading = LOOK)]
    pub(super) fsck: bool,
}

impl Depth {
    pub(super) fn mirror(&self) -> Result<Option<Arc<Mirror>>, Failure> {
        mirror(self.fetch, self.insecure)
    }

    /// Facts of a target, as deep as the user asks for.
    pub(super) fn facts(&self, target: &Arc<Target>, donor: Option<&Arc<Target>>) -> Facts {
        Facts::new(Arc::clone(target), donor.cloned()).with_all_digests(self.digests).with_memory(self.memory)
    }
}

/// Which part of a recording is looked at.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Past {
    /// A recording: some minutes around that moment, by the clock of the machine that was recorded. 'YYYY-MM-DD HH:MM[:SS]',
    /// HH:MM, seconds since 1970, or -10m before its end; of this machine /var/log/sickbay is looked at
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, conflicts_with_all = ["from", "to"], help_heading = LOOK)]
    at: Option<String>,
    /// A recording: from that moment on
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, help_heading = LOOK)]
    from: Option<String>,
    /// A recording: up to that moment
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, help_heading = LOOK)]
    to: Option<String>,
}

impl Past {
    pub(super) fn asked(&self) -> Result<Asked, Failure> {
        let when = |text: &Option<String>| {
            let parse = |text: &String| {
                When::parse(text).ok_or_else(|| {
                    Failure(tr!(
                        "{text} is not a moment: '2018-06-12 10:36', 10:36, -10m, or seconds since 1970",
                        text = text.as_str()
                    ))
                })
            };
            text.as_ref().map(parse).transpose()
        };
        Ok(Asked { at: when(&self.at)?, from: when(&self.from)?, to: when(&self.to)? })
    }
}

/// This machine as it runs, without its disks: for questions that none of them answers.
pub(super) fn this_machine() -> Result<Target, Failure> {
    Ok(Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[])?.taken_for_running()?)
}

/// The target with what was recorded of it, where a moment is asked for: of this machine, by `sickbay record`.
pub(super) fn in_the_past(target: Target, asked: &Asked) -> Result<Target, Failure> {
    if !asked.is_something() || target.recording().is_ok() {
        return Ok(target);
    }
    let path = target.name.clone();
    if !target.is_this_machine() {
        return Err(Failure(tr!("{path} is no recording: --at, --from and --to are about one", path)));
    }
    let place = Path::new(RECORDINGS);
    let missing = || {
        Failure(tr!(
            "nothing was recorded on this machine: {place} has no recording, which sickbay record would make",
            place
        ))
    };
    let recording = Recording::of_directory(place).ok().flatten().ok_or_else(missing)?;
    Ok(target.with_recording(recording))
}

/// A file with the rules of security groups: its name and content.
pub(super) fn security_group(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let fail = |error: String| Failure(tr!("{path} could not be read: {error}", path, error));
    let absolute = std::path::absolute(path).map_err(|error| fail(error.to_string()))?;
    let bytes = sickbay_target::Root::host()?.read(&absolute).map_err(|error| fail(error.to_string()))?;
    Ok((path.display().to_string(), bytes))
}

/// What fetches packages, if the user lets it; on a terminal a line tells how far it is.
pub(super) fn mirror(fetch: bool, insecure: bool) -> Result<Option<Arc<Mirror>>, Failure> {
    let progress: Progress = |package, got| match got {
        _ if !std::io::stderr().is_terminal() => {}
        Some(bytes) => complain(&format!("\r\x1b[K{} {}", printable(package), size(bytes >> 10))),
        None => complain("\r\x1b[K"),
    };
    let mirror = fetch.then(|| Mirror::new(progress, insecure)).transpose().map_err(Failure)?;
    Ok(mirror.map(Arc::new))
}

/// Whether something on the disks of `target` could not be read in a way that hints at damage, while it was looked at.
pub(super) fn met_damage(target: &Target) -> bool {
    target.root().met_damage() && target.attached().is_ok()
}

/// The target alone, once the last thread of a check has let go of it; `None` when one hangs.
pub(super) fn alone(mut target: Arc<Target>) -> Option<Target> {
    for _ in 0..500 {
        match Arc::try_unwrap(target) {
            Ok(target) => return Some(target),
            Err(shared) => target = shared,
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    None
}

impl TargetArgs {
    pub(super) fn open(&self, access: Access) -> Result<Arc<Target>, Failure> {
        self.open_examined(access, false)
    }

    /// With `thorough`, every file system is examined by its checker.
    pub(super) fn open_examined(&self, access: Access, thorough: bool) -> Result<Arc<Target>, Failure> {
        self.open_with(Options { access, thorough, ..Options::default() })
    }

    /// A directory in which something was repaired, whatever it looks like now.
    pub(super) fn open_to_undo(&self, access: Access) -> Result<Arc<Target>, Failure> {
        self.open(access).or_else(|refused| {
            let target = self.open_with(Options { access, any_directory: true, ..Options::default() });
            target.ok().filter(|target| Journal::is_on(target)).ok_or(refused)
        })
    }

    pub(super) fn open_with(&self, options: Options) -> Result<Arc<Target>, Failure> {
        let (with, follow_images) = (self.aid.with.clone(), self.aid.follow_images);
        let options = Options { with, follow_images, progress: Some(progress), ..options };
        let mut target = Target::open(self.target.as_deref(), &options)?;
        target.give_packages(&self.aid.package)?;
        for path in target.packages() {
            if !crate::facts::packages::archives::is_package(path) {
                return Err(Failure(tr!("{path} is neither a .deb nor an .rpm package, or it is damaged", path)));
            }
        }
        Ok(Arc::new(target))
    }

    /// The directory in which the journal is kept, where it is not on the target.
    pub(super) fn open_journal(dir: Option<&Path>) -> Result<Option<Arc<Target>>, Failure> {
        let Some(dir) = dir else { return Ok(None) };
        Ok(Some(Arc::new(Target::described(dir, Access::ReadWrite, Vec::new(), &[])?)))
    }

    /// The same directory, to look into.
    pub(super) fn open_journal_to_look(dir: Option<&Path>) -> Result<Option<Arc<Target>>, Failure> {
        let Some(dir) = dir else { return Ok(None) };
        Ok(Some(Arc::new(Target::described(dir, Access::ReadOnly, Vec::new(), &[])?)))
    }

    /// The disks and images that were named.
    pub(super) fn disks(&self) -> impl Iterator<Item = &Path> {
        self.target.iter().chain(&self.aid.with).map(PathBuf::as_path)
    }

    /// Says so when a repair of the disks themselves was cut off while it was written.
    pub(super) fn cut_off(&self, context: &Context) -> Vec<String> {
        let of = |path: &Path| held::entries(path).unwrap_or_default().into_iter();
        let open = self.disks().flat_map(of).filter(|(.., done)| !done);
        let say = |id: String| {
            context.say(&tr!(
                "repair {id} was interrupted while it wrote to the disk: sickbay fix or undo restores what was there",
                id
            ))
        };
        open.map(|(id, ..)| say(id)).collect()
    }

    /// The donor that was named; else this machine, if it can be one for `target`: see [`crate::facts::packages::donor`].
    pub(super) fn open_donor(&self, target: &Target) -> Result<Option<Arc<Target>>, Failure> {
        if let Some(path) = &self.aid.donor {
            let follow_images = self.aid.follow_images;
            let options = Options { access: Access::ReadOnly, follow_images, ..Options::default() };
            let donor = Target::open(Some(path), &options)?;
            return match crate::facts::packages::donor::why_not(target, &donor) {
                Some(why) => Err(Failure(why)),
                None => Ok(Some(Arc::new(donor))),
            };
        }
        if target.running().is_ok() || matches!(target.whole(), Err(Lack::None(_))) {
            return Ok(None);
        }
        // Only its files count: its disks need not be looked at.
        let host = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[])?;
        Ok(crate::facts::packages::donor::why_not(target, &host).is_none().then(|| Arc::new(host)))
    }
}
