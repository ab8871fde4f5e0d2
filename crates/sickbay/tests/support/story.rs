//! Reads a story and builds what it tells of.
//!
//! A story is prose, then directives. A directive is a line that begins with `--- `; what follows it up to the next one
//! is its body.
//!
//! | directive | meaning |
//! |---|---|
//! | `--- tree NAME` | everything in `tests/trees/NAME.txt`, a healthy system |
//! | `--- file PATH [MODE] [UID:GID]` | a file; the body is its content |
//! | `--- crlf PATH` | as `file`, lines ending in CR LF |
//! | `--- append PATH`, `--- prepend PATH` | the body is added to a file |
//! | `--- replace PATH` | body: a line `old` and a line `new`; each occurrence is replaced |
//! | `--- empty PATH`, `--- dir PATH [MODE]`, `--- link PATH -> TARGET`, `--- fifo PATH` | what they say |
//! | `--- repeat PATH COUNT` | a file; the body so many times |
//! | `--- hole PATH SIZE` | a sparse file of SIZE bytes |
//! | `--- elf PATH [MODE] [interp=PATH] [needs=A,B] [soname=C] [runpath=D] [machine=N] [asks=A:V] [has=V,W]` | a small ELF file, for x86-64 unless it says otherwise |
//! | `--- label PATH TYPE` | the SELinux label `system_u:object_r:TYPE:s0` |
//! | `--- text PATH` | the words of the body are added to a program, as C keeps texts in one: a NUL on both sides |
//! | `--- initramfs PATH VERSION [modules=A,B] [without-init]` | an initramfs, not compressed, with these modules of that kernel |
//! | `--- kernel PATH` | a small x86 kernel whose header says how long it is |
//! | `--- dpkg NAME VERSION`, `--- rpm NAME VERSION` | the paths in the body, as they are now, enter the package database as files of that package; `%config PATH` and the like where it needs saying. rpm's database is the one whose file is there, be it empty: `/var/lib/rpm/rpmdb.sqlite` or `Packages`; else an ndb. A later `rpm` of one NAME takes the place of an earlier one; `rpm-beside` does not |
//! | `--- deb PATH NAME VERSION` | a package file with the paths in the body, as they are now |
//! | `--- cut PATH SIZE` | the file ends after SIZE bytes |
//! | `--- zeros PATH FROM COUNT` | so many bytes of the file are 0 |
//! | `--- damage PATH` | the last byte of the file is another, its times stay |
//! | `--- time PATH SECONDS` | the file was last changed so many seconds after 1970 |
//! | `--- remove PATH`, `--- mode PATH MODE`, `--- owner PATH UID:GID` | what they say |
//! | `--- flags PATH i` | `chattr +i PATH`; cleared when the story is over |
//! | `--- modes PATH MODE` | `chmod -R MODE PATH` |
//! | `--- shift / OFFSET` | every owner and group has OFFSET added, as in the root of an unprivileged container |
//! | `--- owners PATH UID:GID` | `chown -R UID:GID PATH`, with the bits that the kernel takes away |
//! | `--- volume NAME key=value …` | a volume of the target: `fstype`, `uuid`, `label`, `partuuid`, `partlabel`, `mounted`, `last` (mounted on), `hides`, `subvolume` (of the root), `disk` (number), `lv` (VG/LV), `table` (`gpt`; MBR when left out), `condition` (`dirty`: its journal waits for its replay; `errors`: the kernel met some) |
//! | `--- no volume NAME` | a volume of the tree is not there |
//! | `--- disk` | the target has this disk; body: its partitions, for sfdisk(8); volumes of its partitions get their places |
//! | `--- disk-zero FROM LENGTH`, `--- disk-bytes FROM HEX` | bytes of it |
//! | `--- disk-code WHAT [PARTITION\|sector=N]` | a boot sector: `grub2`, `legacy`, `generic` or `other` |
//! | `--- disk-core` | GRUB's core image, in its place on the disk; with `exports=A,B`, `ext=HEX`, `xfs=HEX` one that unpacks, with these symbols and the features of ext4 and XFS that it takes |
//! | `--- disk-esp PARTITION` | body: files of the FAT on it, each a program of UEFI; `PATH!` is a damaged one, `PATH prefix=DIR` a GRUB that was told of its directory |
//! | `--- disk-esp-file PARTITION PATH` | a text on it |
//! | `--- grub-efi PATH DIR` | a GRUB for UEFI that was told of its directory |
//! | `--- grub-bios DIR` | the files of GRUB 2 for a BIOS, in `/boot/DIR/i386-pc` and in the package's directory |
//! | `--- disk-stage1_5` | GRUB legacy's stage 1.5 behind the MBR |
//! | `--- grub-core PATH …`, `--- grub-module PATH [needs=A,B] [has=C]` | such a core image as a file; a module of GRUB with these symbols |
//! | `--- grub-legacy [e2fs]` | stage1, stage2 and a menu in `/boot/grub`, and stage 1.5 for ext2 |
//! | `--- log` | the body is a log, and that log is the target, called LOG in the findings; nothing is repaired |
//! | `--- with log` | the body is a log of the same machine, given along with the tree and called LOG in the findings |
//! | `--- donor` | the tree of `tree` alone, as it is healthy, is the donor |
//! | `--- running` | the target is taken for a running system; its `/proc` and `/sys` are files of the story |
//! | `--- at 10:36:02` | so `/proc` and `/sys/fs/cgroup` were at that time of the day; what follows is what has changed since |
//! | `--- file …/modules.dep`, `--- append …/modules.dep` | the modules that it names are there too, without content |
//! | `--- risky` | risky repairs are accepted |
//! | `--- takes back` | some repair is expected not to hold |
//! | `--- finds` | body: a line for each finding, `severity check-id place: message`, consequences indented by two blanks; under it, indented by four more, `why: …` and for each repair that it offers `fix: [risk] …`. Each is the whole line; a `…` in it stands for what varies. `UPDATE=1` writes them |
//! | `--- proofs` | both proofs hold, and every stage of them was judged: it is ok, or closed on purpose |
//! | `--- closed` | body: `stage: reason` for each stage of the logins that is closed and no fault |
//! | `--- cannot tell` | body: `check-id: reason` for each check that must say so |
//! | `--- left` | as `finds`, after the repair; none when left out. Of a finding that is the same as before, only the line |
//! | `--- then PATH` | the content of a file after the repair |
//! | `--- then PATH MODE [UID:GID]` | mode and owner after the repair |
//! | `--- then-gone PATH`, `--- then-link PATH TARGET` | what is not there after the repair, and a link that is |

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay::facts::Facts;
use sickbay_formats::superblock::condition::{Condition, Recorded, Sign};
use sickbay_target::{Access, Options, Table, Target, Volume};

use super::{disk, tree};

/// A directive with its words and its body.
#[derive(Clone, Debug)]
struct Directive {
    words: Vec<String>,
    body: String,
}

/// A story as it is written.
#[derive(Debug, Default)]
pub struct Story {
    base: Vec<Directive>,
    changes: Vec<Directive>,
    /// The log that is the target.
    pub log: Option<String>,
    with_log: Option<String>,
    donor: bool,
    running: bool,
    volumes: Vec<Volume>,
    disk: Option<String>,
    /// Expected findings.
    pub finds: Vec<String>,
    /// Expected checks that cannot tell.
    pub cannot_tell: Vec<String>,
    /// Stages of the logins that are expected to be closed; not looked at when the story does not say.
    pub closed: Option<Vec<String>>,
    /// Expected findings after the repair.
    pub left: Vec<String>,
    /// Contents after the repair.
    pub then: Vec<(String, Vec<u8>)>,
    /// Permission bits after the repair.
    pub then_modes: Vec<(String, u32)>,
    /// Links after the repair; without a target, what is not there.
    pub then_links: Vec<(String, Option<String>)>,
    /// Owners after the repair, `UID:GID`.
    pub then_owners: Vec<(String, String)>,
    /// Whether risky repairs are accepted.
    pub risky: bool,
    /// Whether a repair is expected not to hold.
    pub takes_back: bool,
    /// Whether every stage of both proofs is expected to be ok.
    pub proofs: bool,
}

/// A story that was built.
pub struct Built {
    root: tempfile::TempDir,
    donor: Option<tempfile::TempDir>,
    running: bool,
    volumes: Vec<Volume>,
    disk: Option<tempfile::NamedTempFile>,
    log: Option<PathBuf>,
    with_log: Option<tempfile::NamedTempFile>,
    flagged: Vec<PathBuf>,
}

impl Drop for Built {
    fn drop(&mut self) {
        for path in &self.flagged {
            // Else nobody could remove it.
            let _ = std::process::Command::new("chattr").arg("-ia").arg(path).status();
        }
    }
}

impl Story {
    /// Reads a story.
    pub fn read(path: &Path) -> Result<Story, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Story::of(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Reads a story that is in memory.
    pub fn of(text: &str) -> Result<Story, String> {
        let mut story = Story::default();
        for directive in directives(text) {
            story.take(directive)?;
        }
        Ok(story)
    }

    fn take(&mut self, directive: Directive) -> Result<(), String> {
        let words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
        let lines = || directive.body.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        match words.as_slice() {
            ["tree", name] => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/trees/{name}.txt"));
                let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                for directive in directives(&text) {
                    match directive.words.first().map(String::as_str) {
                        Some("volume" | "no" | "tree" | "running" | "disk") => self.take(directive)?,
                        _ => self.base.push(directive),
                    }
                }
            }
            ["volume", name, keys @ ..] => {
                let volume = volume(name, keys)?;
                // A story may say otherwise than its tree.
                self.volumes.retain(|known| known.name != volume.name);
                self.volumes.push(volume);
            }
            ["no", "volume", name] => self.volumes.retain(|known| known.name != name.replace('-', " ")),
            ["disk"] => self.disk = Some(directive.body.clone()),
            ["log"] => self.log = Some(directive.body.clone()),
            ["with", "log"] => self.with_log = Some(directive.body.clone()),
            ["donor"] => self.donor = true,
            ["running"] => self.running = true,
            ["risky"] => self.risky = true,
            ["takes", "back"] => self.takes_back = true,
            ["proofs"] => self.proofs = true,
            ["finds"] => self.finds = lines(),
            ["cannot", "tell"] => self.cannot_tell = lines(),
            ["closed"] => self.closed = Some(lines()),
            ["left"] => self.left = lines(),
            ["then", path, mode, rest @ ..] => {
                self.then_modes.push(((*path).to_owned(), tree::octal(mode)?));
                if let [ids] = rest {
                    self.then_owners.push(((*path).to_owned(), (*ids).to_owned()));
                }
            }
            ["then-gone", path] => self.then_links.push(((*path).to_owned(), None)),
            ["then-link", path, target] => self.then_links.push(((*path).to_owned(), Some((*target).to_owned()))),
            ["then", path] => self.then.push(((*path).to_owned(), directive.body.clone().into_bytes())),
            _ => self.changes.push(directive),
        }
        Ok(())
    }

    /// Builds the disk, the root, and the donor if there is one.
    pub fn build(&self) -> Result<Built, String> {
        let mut volumes = self.volumes.clone();
        let disk = match &self.disk {
            Some(table) => Some(disk::make(table, &mut volumes)?),
            None => None,
        };
        let make = |changes: &[&[Directive]]| -> Result<tempfile::TempDir, String> {
            let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
            let all: Vec<&Directive> = changes.iter().copied().flatten().collect();
            for (index, directive) in all.iter().copied().enumerate() {
                let words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
                // A tree that builds on another has its own version of a package.
                let is_replaced = |later: &&Directive| {
                    later.words.first().is_some_and(|verb| verb == "rpm")
                        && later.words.get(1) == directive.words.get(1)
                };
                if words.first() == Some(&"rpm") && all.iter().copied().skip(index + 1).any(|later| is_replaced(&later))
                {
                    continue;
                }
                let done = match words.split_first() {
                    Some((verb, words)) if verb.starts_with("disk-") => match &disk {
                        Some(image) => disk::perform(image.path(), &volumes, verb, words, &directive.body),
                        None => Err("there is no disk".to_owned()),
                    },
                    Some((verb, words)) if verb.starts_with("grub-") => disk::grub_files(dir.path(), verb, words),
                    _ => tree::perform(dir.path(), &words, &directive.body),
                };
                done.map_err(|why| format!("{:?}: {why}", directive.words))?;
            }
            Ok(dir)
        };
        let donor = if self.donor { Some(make(&[&self.base])?) } else { None };
        let root = make(&[&self.base, &self.changes])?;
        let log = match &self.log {
            Some(text) => {
                let path = root.path().join("LOG");
                fs::write(&path, text).map_err(|error| error.to_string())?;
                Some(path)
            }
            None => None,
        };
        let with_log = match &self.with_log {
            Some(text) => {
                let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
                std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| error.to_string())?;
                Some(file)
            }
            None => None,
        };
        let flags = self.changes.iter().filter(|one| one.words.first().is_some_and(|verb| verb == "flags"));
        let flagged = flags.filter_map(|one| Some(super::inside(root.path(), one.words.get(1)?))).collect();
        Ok(Built { root, donor, running: self.running, volumes, disk, log, with_log, flagged })
    }
}

impl Built {
    /// Where the root was built.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Every byte of the disk; nothing without one.
    pub fn disk(&self) -> Vec<u8> {
        self.disk.as_ref().map(|disk| fs::read(disk.path()).expect("the disk is there")).unwrap_or_default()
    }

    /// Facts of the root, for reading.
    pub fn facts(&self) -> Result<Arc<Facts>, String> {
        if let Some(log) = &self.log {
            let target = Target::open(Some(log), &Options::default()).map_err(|error| error.to_string())?;
            return Ok(Arc::new(Facts::new(Arc::new(target), None)));
        }
        let (target, donor) = self.open(Access::ReadOnly)?;
        Ok(Arc::new(Facts::new(target, donor)))
    }

    /// The target alone, for reading; `None` where there is more to it than its files: a log, a disk, a donor.
    pub fn plain_target(&self) -> Result<Option<Target>, String> {
        if self.log.is_some() || self.disk.is_some() || self.donor.is_some() {
            return Ok(None);
        }
        Ok(Arc::into_inner(self.open(Access::ReadOnly)?.0))
    }

    /// The target and its donor, for writing.
    pub fn open_for_repair(&self) -> Result<(Arc<Target>, Option<Arc<Target>>), String> {
        self.open(Access::ReadWrite)
    }

    /// The path of the log that is the target.
    pub fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// Lines of a report without the places at which everything was built, which are others in every run.
    pub fn without_places(&self, lines: Vec<String>) -> Vec<String> {
        let given = self.with_log.iter().map(|file| file.path());
        let log = self.log.iter().map(PathBuf::as_path).chain(given).map(|path| (path.display().to_string(), "LOG"));
        let dirs = [Some(&self.root), self.donor.as_ref()].into_iter().flatten().map(|dir| dir.path());
        let places = self.disk.iter().map(|disk| disk.path()).chain(dirs).map(|path| (path.display().to_string(), "…"));
        let all: Vec<_> = log.chain(places).collect();
        let without = |line: String| all.iter().fold(line, |line, (place, word)| line.replace(place, word));
        lines.into_iter().map(without).collect()
    }

    fn open(&self, access: Access) -> Result<(Arc<Target>, Option<Arc<Target>>), String> {
        let donor = match &self.donor {
            Some(dir) => {
                let donor = Target::described(dir.path(), Access::ReadOnly, Vec::new(), &[]);
                Some(Arc::new(donor.map_err(|error| error.to_string())?))
            }
            None => None,
        };
        let disks: Vec<PathBuf> = self.disk.iter().map(|disk| disk.path().to_owned()).collect();
        let target = Target::described(self.root.path(), access, self.volumes.to_vec(), &disks);
        let target = target.and_then(|target| if self.running { target.taken_for_running() } else { Ok(target) });
        let mut target = target.map_err(|error| error.to_string())?;
        if let Some(log) = &self.with_log {
            target.give_log(log.path()).map_err(|error| error.to_string())?;
        }
        Ok((Arc::new(target), donor))
    }
}

fn directives(text: &str) -> Vec<Directive> {
    let mut all: Vec<Directive> = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(words) = line.strip_prefix("--- ") {
            let words = words.split_whitespace().map(str::to_owned).collect();
            all.push(Directive { words, body: String::new() });
        } else if let Some(last) = all.last_mut() {
            last.body.push_str(line);
        }
    }
    all
}

fn volume(name: &str, keys: &[&str]) -> Result<Volume, String> {
    let mut volume = Volume { name: name.replace('-', " "), size: 20 << 30, ..Volume::default() };
    volume.partition = name.rsplit('-').next().and_then(|number| number.parse().ok());
    volume.table = volume.partition.map(|_| Table::Mbr);
    for word in keys {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("{word} is not key=value"))?;
        let text = Some(value.to_owned());
        match key {
            "fstype" => volume.fstype = value.to_owned(),
            "uuid" => volume.uuid = text,
            "label" => volume.label = text,
            "partuuid" => volume.partuuid = text,
            "partlabel" => volume.partlabel = text,
            "last" => volume.last_mounted_on = Some(PathBuf::from(value)),
            "hides" => volume.hides = Some(PathBuf::from(value)),
            "disk" => volume.disk = value.parse().map_err(|_| format!("disk={value}"))?,
            "lv" => volume.lv = value.split_once('/').map(|(vg, lv)| (vg.to_owned(), lv.to_owned())),
            "condition" => volume.condition = Some(condition(value)?),
            "table" if value == "gpt" => volume.table = Some(Table::Gpt),
            "subvolume" => volume.subvolume = text,
            "mounted" => volume.mounted_on = Some(PathBuf::from(value)),
            other => return Err(format!("no key {other}")),
        }
    }
    Ok(volume)
}

fn condition(word: &str) -> Result<Condition, String> {
    let last = Recorded { time: 1_700_000_000, function: "ext4_lookup".into(), line: 1855, inode: 131_074, block: 0 };
    let signs = match word {
        "dirty" => Vec::new(),
        "errors" => vec![Sign::Errors, Sign::Recorded { count: 3, last }],
        _ => return Err(format!("condition={word}")),
    };
    Ok(Condition { signs, to_be_replayed: true })
}
