//! The configuration that the installed boot loader reads: its entries, the one that boots by default, and what each of
//! them names on the target.

pub(crate) mod grub2;
mod legacy;
pub mod paths;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_formats::fstab::Source;
use sickbay_formats::lines;
use sickbay_formats::span::Span;

use self::paths::Paths;
use crate::facts::boot::devices::Devices;
use crate::facts::boot::esp::{Esps, PLACE};
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// How the target is started.
#[derive(Debug)]
pub struct BootConfig {
    /// One for each way that is installed (BIOS, EFI) and that ends in a configuration of its own.
    pub loaders: Vec<Loader>,
    /// Translates between GRUB's names and the target's.
    pub paths: Paths,
}

/// Which boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GRUB 2.
    Grub2,
    /// GRUB 0.97.
    Legacy,
}

/// A boot loader and what it shows.
#[derive(Debug)]
pub struct Loader {
    /// Which one.
    pub kind: Kind,
    /// The file that its code reads first: on EFI often a stub that names another.
    pub first: PathBuf,
    /// The file that makes the menu: `first`, or what it leads to.
    pub main: PathBuf,
    /// The content of `main`; `None` when it is not there.
    pub file: Option<Arc<SourceFile>>,
    /// What the stub looks for and does not find.
    pub lost: Option<Word>,
    /// All entries, those of submenus too, in order.
    pub entries: Vec<Entry>,
    /// The entry that boots when nobody chooses.
    pub default: Option<usize>,
    /// The entries that are tried when that one fails.
    pub fallback: Vec<usize>,
    /// How the default is chosen.
    pub choice: Choice,
    /// Whether the menu is made of /boot/loader/entries.
    pub loader_entries: bool,
    /// grubenv
    pub environment: PathBuf,
    /// The values of `search` outside of all entries that lead to no volume.
    pub in_vain: Vec<Word>,
    /// What keeps the default entry from being started without somebody at the console.
    pub holds: Vec<Hold>,
}

/// What a boot loader waits for, or does in the place of starting anything.
#[derive(Clone, Debug)]
pub enum Hold {
    /// No time is set after which the default is started, or a negative one; the value, where it stands as it is.
    NoTimeout(Option<Word>),
    /// So many seconds.
    LongTimeout(Word, u64),
    /// The default asks for a name and a password: what sets those, and where each of the entries that lead to it can be told that
    /// it need not (GRUB 2: behind the keyword; GRUB legacy: the word `lock`).
    Password(Option<Word>, Vec<Word>),
    /// A command that is run before anything is started: all of its words.
    Command(Word),
}

/// How the default entry is chosen.
#[derive(Clone, Debug)]
pub enum Choice {
    /// `saved_entry` of grubenv.
    Environment,
    /// A word of the configuration: all of it is replaced, `set` or `default=` before it stays.
    Word(Word),
    /// Nothing says; it is the first.
    First,
}

/// A word of a configuration.
#[derive(Clone, Debug)]
pub struct Word {
    /// What it says.
    pub text: String,
    /// The file that it stands in.
    pub file: Arc<SourceFile>,
    /// Its bytes there.
    pub range: Range<usize>,
    /// Whether the bytes are the text, so that they can be replaced.
    pub literal: bool,
}

impl Word {
    /// The place of the word.
    pub fn span(&self) -> Span {
        lines::span_at(&self.file.bytes, self.range.clone())
    }
}

/// A file that an entry names.
#[derive(Clone, Debug)]
pub struct Named {
    /// The word that names it.
    pub word: Word,
    /// Where it is on the target; `None` when that cannot be told.
    pub path: Option<PathBuf>,
}

/// An entry of the menu that starts Linux, or something else.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the menu shows.
    pub title: Word,
    /// What `saved_entry` or `default` must say to choose it.
    pub choice: String,
    /// The kernel; `None` for an entry that starts something else.
    pub kernel: Option<Named>,
    /// What is loaded with it.
    pub initramfs: Vec<Named>,
    /// What the kernel is told.
    pub arguments: Vec<Word>,
    /// The values of `search` that lead to no volume.
    pub in_vain: Vec<Word>,
}

impl Entry {
    /// The last argument of this name with its value: `root` gives `root=…`.
    pub fn argument(&self, name: &str) -> Option<(&Word, &str)> {
        self.arguments.iter().rev().find_map(|word| {
            let value = word.text.strip_prefix(name)?.strip_prefix('=')?;
            Some((word, value))
        })
    }
}

impl Loader {
    /// The entry that boots when nobody chooses.
    pub fn default_entry(&self) -> Option<&Entry> {
        self.default.and_then(|index| self.entries.get(index))
    }
}

impl BootConfig {
    /// What `root=` and the like name.
    pub fn source(value: &str) -> Source {
        Source::of_root_argument(value)
    }

    /// The serial console that the default entry tells the kernel to use, such as `ttyS0`.
    pub fn serial_console(&self) -> Option<String> {
        let entry = self.loaders.iter().find_map(Loader::default_entry)?;
        let consoles = entry.arguments.iter().filter_map(|word| word.text.strip_prefix("console="));
        let serial = |console: &&str| {
            let digits = console.strip_prefix("ttyS").unwrap_or_default();
            // Nothing but a name of a terminal may get into what is written.
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        consoles.filter_map(|console| console.split(',').next()).rfind(serial).map(str::to_owned)
    }
}

impl Fact for BootConfig {
    fn gather(facts: &Facts) -> Result<BootConfig, Skip> {
        let paths = Paths::new(facts)?;
        let mut loaders = grub2::loaders(facts, &paths)?;
        if loaders.is_empty() {
            loaders.extend(legacy::loader(facts, &paths)?);
        }
        if loaders.is_empty() {
            if let Some(why) = boot_is_elsewhere(facts) {
                return Err(Skip::Unknown(why));
            }
            return Err(Skip::NotApplicable(tr!("GRUB is not installed")));
        }
        Ok(BootConfig { loaders, paths })
    }
}

/// Why nothing can be said of /boot: fstab mounts a volume there, and it is not mounted.
pub fn boot_is_elsewhere(facts: &Facts) -> Option<Text> {
    let fstab = facts.get::<Fstab>().ok()?;
    let boot = Path::new("/boot");
    fstab.sound().find(|entry| mount_point(entry) == boot)?;
    // What is mounted and empty has been emptied.
    let is_mounted = |devices: Arc<Devices>| devices.volumes.iter().any(|one| one.mounted_on.as_deref() == Some(boot));
    if facts.get::<Devices>().is_ok_and(is_mounted) {
        return None;
    }
    let names = facts.root().read_dir("/boot").ok()?;
    let empty = names.iter().all(|entry| matches!(entry.name.to_str(), Some("lost+found" | "efi")));
    empty.then(|| tr!("/boot is a volume of its own, which is not mounted"))
}

/// The text of a file that may not be there.
pub(crate) fn read(facts: &Facts, path: &Path) -> Result<Option<Arc<SourceFile>>, Skip> {
    let esps = facts.get::<Esps>().ok().filter(|_| path.starts_with(PLACE));
    if let Some(esp) = esps.as_ref().and_then(|esps| esps.unmounted()) {
        return Ok(esp.text(path).cloned());
    }
    // Links are followed first, so that an edit is one of the file itself.
    match facts.root().canonical(path) {
        Ok(real) => facts.file(real),
        Err(_) => facts.file(path),
    }
}

/// What `root=` must say for this target's root, with `rootflags=` for a subvolume; `None` where no name is certain.
pub fn root_argument(config: &BootConfig) -> Option<Vec<String>> {
    let (volume, place) = config.paths.volume_of(Path::new("/"))?;
    let device = match &volume.lv {
        // By UUID initramfs-tools would not know that it has to look for volume groups.
        Some((vg, lv)) => format!("/dev/mapper/{}-{}", vg.replace('-', "--"), lv.replace('-', "--")),
        None => crate::facts::boot::devices::tag(volume)?,
    };
    let subvolume = config.paths.subvolume(volume, place);
    let flags = subvolume.map(|name| format!("rootflags=subvol={}", name.trim_start_matches('/')));
    Some([format!("root={device}")].into_iter().chain(flags).collect())
}
