//! What the running kernel itself says of the file systems that it has mounted. That needs no look at their devices, which
//! even root may not open everywhere.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::procfs;
use sickbay_formats::procfs::fields::Fields;
use sickbay_formats::procfs::mountinfo::Mount;
use sickbay_target::Reason;

use crate::facts::memory::cgroups::Mounts;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// The file systems on disks that are mounted, each once.
#[derive(Debug)]
pub struct Mounted {
    /// In the order of `/proc/self/mountinfo`.
    pub list: Vec<OnDisk>,
}

/// A mounted file system.
#[derive(Debug)]
pub struct OnDisk {
    /// Where it is mounted.
    pub place: PathBuf,
    /// `ext4`, `xfs`, `btrfs`.
    pub fstype: String,
    /// Its device, as mount(8) shows it.
    pub device: String,
    /// Files of `/sys` that count its errors, with what is in them; `None` where this kernel counts none.
    pub counted: Option<Vec<Counter>>,
    /// It was mounted for writing, and the kernel has made it read-only since.
    pub made_read_only: bool,
    /// The kernel refuses even its uppermost directory, as XFS does after an error: the kernel's reason.
    pub shut_down: Option<String>,
}

/// A file that counts errors.
#[derive(Debug)]
pub struct Counter {
    /// Its path.
    pub path: PathBuf,
    /// What is in it, on one line.
    pub text: String,
    /// How many errors that are.
    pub errors: u64,
}

impl Fact for Mounted {
    fn gather(facts: &Facts) -> Result<Mounted, Skip> {
        let mounts = facts.get::<Mounts>()?;
        let mut list: Vec<OnDisk> = Vec::new();
        let mut seen = Vec::new();
        for mount in &mounts.all {
            let place = mount.place.to_path_lossy().into_owned();
            if seen.contains(&(&mount.device, &mount.source)) || !is_own(facts, mount, &place) {
                continue;
            }
            seen.push((&mount.device, &mount.source));
            let counted = match mount.fstype.as_str() {
                "btrfs" => of_btrfs(facts, mount)?,
                "xfs" => None,
                _ => of_ext(facts, mount)?,
            };
            let has = |options: &str, wanted: &str| options.split(',').any(|option| option == wanted);
            let is_stopped = has(&mount.options, "ro") || has(&mount.options, "emergency_ro");
            let shut_down = match facts.root().stat(&place) {
                Err(error) => match error.reason {
                    Reason::Io(why) if why.raw_os_error() == Some(EIO) => Some(why.to_string()),
                    _ => None,
                },
                Ok(_) => None,
            };
            list.push(OnDisk {
                place,
                fstype: mount.fstype.clone(),
                device: mount.source.to_str_lossy().into_owned(),
                counted,
                made_read_only: has(&mount.own_options, "rw") && is_stopped,
                shut_down,
            });
        }
        Ok(Mounted { list })
    }
}

const EIO: i32 = 5;

impl OnDisk {
    /// Whether the kernel's word says all that it could: of XFS that it goes on, of the others that it counted no error.
    pub fn is_judged(&self) -> bool {
        self.counted.is_some() || self.fstype == "xfs" || self.shut_down.is_some() || self.made_read_only
    }
}

/// Whether a whole file system is mounted there. A part of one, as in a container the file `/etc/hosts`, is the host's.
fn is_own(facts: &Facts, mount: &Mount, place: &Path) -> bool {
    match mount.fstype.as_str() {
        "ext2" | "ext3" | "ext4" | "xfs" => mount.root == "/",
        // The uppermost directory of a subvolume has the number 256 (BTRFS_FIRST_FREE_OBJECTID).
        "btrfs" => mount.root == "/" || facts.root().stat(place).is_ok_and(|found| found.is_dir() && found.ino == 256),
        _ => false,
    }
}

/// The kernel's name of the device: `vda1`, `dm-0`.
fn name(facts: &Facts, mount: &Mount) -> Option<String> {
    let known = facts.root().canonical(format!("/sys/dev/block/{}", mount.device)).ok();
    let path = known.unwrap_or_else(|| mount.source.to_path_lossy().into_owned());
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// fs/ext4/sysfs.c: errors and warnings since the last fsck that mended them.
fn of_ext(facts: &Facts, mount: &Mount) -> Result<Option<Vec<Counter>>, Skip> {
    let Some(name) = name(facts, mount) else { return Ok(None) };
    let dir = PathBuf::from(format!("/sys/fs/ext4/{name}"));
    let path = dir.join("errors_count");
    let Some(errors) = facts.file(&path)?.and_then(|file| procfs::number(&file.bytes)) else { return Ok(None) };
    let mut text = errors.to_string();
    for (label, file) in [("function", "last_error_func"), ("line", "last_error_line"), ("inode", "last_error_ino")] {
        let value = facts.file(dir.join(file))?.map(|file| file.bytes.trim_ascii().to_str_lossy().into_owned());
        if let Some(value) = value.filter(|value| errors > 0 && !value.is_empty()) {
            text.push_str(&format!(", last: {label} {value}"));
        }
    }
    let time = facts.file(dir.join("first_error_time"))?.and_then(|file| procfs::number(&file.bytes));
    let time = time.filter(|time| errors > 0 && *time > 0).and_then(|time| i64::try_from(time).ok());
    if let Some(time) = time.and_then(|time| jiff::Timestamp::from_second(time).ok()) {
        text.push_str(&format!(", first: {time}"));
    }
    Ok(Some(vec![Counter { path, text, errors }]))
}

/// fs/btrfs/sysfs.c, since Linux 5.14: errors of each of its devices.
fn of_btrfs(facts: &Facts, mount: &Mount) -> Result<Option<Vec<Counter>>, Skip> {
    const TOP: &str = "/sys/fs/btrfs";
    let root = facts.root();
    let source = mount.source.to_path_lossy();
    let Some(name) = root.canonical(&source).ok().as_deref().unwrap_or(&source).file_name().map(ToOwned::to_owned)
    else {
        return Ok(None);
    };
    if !root.exists(TOP)? {
        return Ok(None);
    }
    for entry in root.read_dir(TOP)? {
        let dir = Path::new(TOP).join(&entry.name);
        if root.metadata(dir.join("devices").join(&name)).is_err() || !root.exists(dir.join("devinfo"))? {
            continue;
        }
        let mut all = Vec::new();
        for device in root.read_dir(dir.join("devinfo"))? {
            let path = dir.join("devinfo").join(&device.name).join("error_stats");
            let Some(file) = facts.file(&path)? else { continue };
            let fields = Fields::parse(&file.bytes);
            let errors = ["write_errs", "read_errs", "flush_errs", "corruption_errs", "generation_errs"]
                .iter()
                .map(|name| fields.or_zero(name))
                .sum();
            let text = file.bytes.lines().map(|line| line.to_str_lossy()).collect::<Vec<_>>().join(", ");
            all.push(Counter { path, text, errors });
        }
        return Ok((!all.is_empty()).then_some(all));
    }
    Ok(None)
}
