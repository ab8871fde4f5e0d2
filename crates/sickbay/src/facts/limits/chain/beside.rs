//! Limits that are none of setrlimit(2), and are met in the same way.

use bstr::ByteSlice;

use super::Beside;
use crate::facts::Facts;
use crate::facts::limits::process::Origin;
use crate::facts::memory::cgroups::{Mounts, PIDS};
use crate::facts::system::kernel::parameter;
use crate::facts::system::sysctl_files::SysctlFiles;

/// Kernel parameters that are met like limits.
const PARAMETERS: [&str; 8] = [
    "fs.nr_open",
    "fs.file-max",
    "kernel.pid_max",
    "kernel.threads-max",
    "vm.max_map_count",
    "fs.inotify.max_user_watches",
    "fs.inotify.max_user_instances",
    "user.max_inotify_watches",
];

pub(super) fn others(facts: &Facts, origin: Option<&Origin>) -> Vec<Beside> {
    let mut all = Vec::new();
    if let (Some(origin), Ok(mounts)) = (origin, facts.get::<Mounts>()) {
        for group in mounts.of_process(facts, PIDS, &origin.pid.to_string()) {
            let name = format!("pids.max {}", group.name.display());
            let place = Some((group.file.clone(), 0));
            all.push(Beside { name, now: Some(group.limit), used: Some(group.used), place, word: None });
        }
    }
    let files = facts.get::<SysctlFiles>().ok();
    for key in PARAMETERS {
        let now = if facts.runs() { parameter(facts, key).ok().flatten() } else { None };
        let set = files.as_ref().and_then(|files| files.setting(key).next());
        let place = set.map(|(file, one)| (file.path.clone(), one.line));
        let word = set.and_then(|(_, one)| one.value.as_ref()).map(|value| value.to_str_lossy().into_owned());
        // file-nr: allocated, free, most.
        let used = || {
            facts.file("/proc/sys/fs/file-nr").ok().flatten().map(|file| sickbay_formats::procfs::numbers(&file.bytes))
        };
        let used =
            if key == "fs.file-max" && facts.runs() { used().and_then(|all| all.first().copied()) } else { None };
        if now.is_some() || word.is_some() {
            all.push(Beside { name: key.to_owned(), now, used, place, word });
        }
    }
    all
}
