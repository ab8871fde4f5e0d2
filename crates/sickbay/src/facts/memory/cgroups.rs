//! Where the cgroup hierarchies are, and which limits hold for a process, of version 1 and 2.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::procfs;
use sickbay_formats::procfs::mountinfo::{self, Mount};

use crate::facts::system::kernel::running;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// What is mounted, and the cgroup hierarchies among it.
#[derive(Debug)]
pub struct Mounts {
    /// Every mount that sickbay itself sees.
    pub all: Vec<Mount>,
}

impl Fact for Mounts {
    fn gather(facts: &Facts) -> Result<Mounts, Skip> {
        running(facts)?;
        Ok(Mounts { all: mountinfo::parse(&facts.required("/proc/self/mountinfo")?.bytes) })
    }
}

/// The files of a controller in one version of cgroups.
#[derive(Clone, Copy, Debug)]
pub struct Controller {
    /// `memory`, `pids`.
    pub name: &'static str,
    /// The file of the limit in version 2 and in version 1.
    pub limit: [&'static str; 2],
    /// The file of what is used, likewise.
    pub used: [&'static str; 2],
}

/// Memory, in bytes.
pub const MEMORY: Controller = Controller {
    name: "memory",
    limit: ["memory.max", "memory.limit_in_bytes"],
    used: ["memory.current", "memory.usage_in_bytes"],
};

/// Processes and threads.
pub const PIDS: Controller =
    Controller { name: "pids", limit: ["pids.max", "pids.max"], used: ["pids.current", "pids.current"] };

/// A cgroup that has a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Its directory.
    pub dir: PathBuf,
    /// Its name within its hierarchy: `/system.slice/nginx.service`.
    pub name: PathBuf,
    /// Whether it is of version 1.
    pub v1: bool,
    /// The file with the limit.
    pub file: PathBuf,
    /// The limit.
    pub limit: u64,
    /// What is used of it.
    pub used: u64,
}

/// Version 1 says "unlimited" with the largest number of whole pages that fits in 63 bits; nothing from 2^60 on is meant.
const UNLIMITED: u64 = 1 << 60;

/// Cgroups are looked at up to this number: a machine with more of them is asked about its processes instead.
const MOST: usize = 20_000;

impl Mounts {
    /// The directory of a controller's hierarchy, and whether it is of version 1.
    pub fn hierarchy(&self, controller: Controller) -> Vec<(PathBuf, bool)> {
        let has = |mount: &Mount| mount.options.split(',').any(|option| option == controller.name);
        let of = |mount: &Mount| match mount.fstype.as_str() {
            "cgroup2" => Some((mount.place.to_path_lossy().into_owned(), false)),
            "cgroup" if has(mount) => Some((mount.place.to_path_lossy().into_owned(), true)),
            _ => None,
        };
        self.all.iter().filter_map(of).collect()
    }

    /// Every cgroup of `controller` that has a limit.
    pub fn limited(&self, facts: &Facts, controller: Controller) -> Vec<Limited> {
        let mut found = Vec::new();
        let mut left = MOST;
        for (top, v1) in self.hierarchy(controller) {
            let mut dirs = vec![top.clone()];
            while let Some(dir) = dirs.pop() {
                if left == 0 {
                    return found;
                }
                left -= 1;
                found.extend(limit_of(facts, controller, &top, &dir, v1));
                for entry in facts.root().read_dir(&dir).unwrap_or_default() {
                    if entry.kind == sickbay_target::FileKind::Dir {
                        dirs.push(dir.join(entry.name));
                    }
                }
            }
        }
        found
    }

    /// The limits of `controller` that hold for a process: of its cgroup and of all above it.
    pub fn of_process(&self, facts: &Facts, controller: Controller, pid: &str) -> Vec<Limited> {
        let Ok(text) = facts.root().read(format!("/proc/{pid}/cgroup")) else { return Vec::new() };
        let mut found = Vec::new();
        for (top, v1) in self.hierarchy(controller) {
            let own = text.lines().find_map(|line| {
                let (_, rest) = split_once(line)?;
                let (controllers, path) = split_once(rest)?;
                let ours = controllers.split_str(",").any(|name| name == controller.name.as_bytes());
                (if v1 { ours } else { controllers.is_empty() }).then(|| path.to_path_lossy().into_owned())
            });
            let Some(own) = own else { continue };
            let inside = own.strip_prefix("/").unwrap_or(&own);
            for above in inside.ancestors() {
                found.extend(limit_of(facts, controller, &top, &top.join(above), v1));
            }
        }
        found
    }
}

fn limit_of(facts: &Facts, controller: Controller, top: &Path, dir: &Path, v1: bool) -> Option<Limited> {
    let names = |names: [&'static str; 2]| if v1 { names[1] } else { names[0] };
    let read = |name: &str| facts.root().read_up_to(dir.join(name), 4096).ok();
    let file = dir.join(names(controller.limit));
    let limit = procfs::number(&read(names(controller.limit))?).filter(|limit| *limit < UNLIMITED)?;
    let used = procfs::number(&read(names(controller.used))?)?;
    let name = Path::new("/").join(dir.strip_prefix(top).unwrap_or(dir));
    Some(Limited { dir: dir.to_owned(), name, v1, file, limit, used })
}

/// Splits at the first colon.
fn split_once(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.find_byte(b':')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}
