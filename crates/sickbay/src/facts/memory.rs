//! How much memory the machine has: told by the kernel of a running one, by its logs of another.

pub mod alloc;
pub mod cgroups;
pub mod ledger;
pub mod overcommit;
pub mod processes;
pub mod slab_owners;
pub mod slab_walk;
pub mod slabs;

use std::io::Read;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_target::{FileKind, Root};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// The machine's memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Memory {
    /// In KiB.
    pub total: u64,
    /// Where that was read.
    pub source: PathBuf,
    /// The words that say it.
    pub words: String,
    /// The size of a huge page in KiB, where the kernel says it.
    pub huge_page: Option<u64>,
}

/// Texts that hold what the kernel said when it started, best first.
pub(super) const LOGS: [&str; 6] = [
    "/var/log/dmesg",
    "/var/log/kern.log",
    "/var/log/messages",
    "/var/log/syslog",
    "/var/log/dmesg.0",
    "/var/log/installer/hardware-summary",
];

/// Journals are read up to here; one boot's messages begin with it, and a file holds many boots.
const JOURNAL_LIMIT: u64 = 256 << 20;

impl Fact for Memory {
    fn gather(facts: &Facts) -> Result<Memory, Skip> {
        let root = facts.root();
        if facts.runs() {
            let path = "/proc/meminfo";
            let text = root.read(path)?;
            let value = |key: &str| meminfo(&text, key).map(|(value, _)| value);
            let Some((total, words)) = meminfo(&text, "MemTotal:") else {
                return Err(Skip::Unknown(tr!("{path} does not say how much memory there is", path)));
            };
            return Ok(Memory { total, source: path.into(), words, huge_page: value("Hugepagesize:") });
        }
        if let Some(total) = facts.memory() {
            let words = size(total);
            return Ok(Memory { total, source: "--memory".into(), words, huge_page: None });
        }
        let journals = journals(root);
        for path in LOGS.iter().map(PathBuf::from).chain(journals) {
            if let Some((total, words)) = last_boot(root, &path) {
                return Ok(Memory { total, source: path, words, huge_page: None });
            }
        }
        Err(Skip::Unknown(tr!("none of the machine's logs says how much memory it has")))
    }
}

fn meminfo(text: &[u8], key: &str) -> Option<(u64, String)> {
    let line = text.lines().find(|line| line.starts_with(key.as_bytes()))?;
    let value = line.get(key.len()..)?.trim_ascii().split_str(" ").next()?.to_str().ok()?.parse().ok()?;
    Some((value, line.to_str_lossy().split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// Files of the system's journal, the newest first.
pub(super) fn journals(root: &Root) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in root.read_dir("/var/log/journal").unwrap_or_default() {
        let dir = Path::new("/var/log/journal").join(entry.name);
        for file in root.read_dir(&dir).unwrap_or_default() {
            let name = file.name.to_string_lossy();
            if file.kind == FileKind::File && name.starts_with("system") && name.contains(".journal") {
                let path = dir.join(&file.name);
                let time = root.metadata(&path).map(|metadata| metadata.mtime).unwrap_or_default();
                found.push((time, path));
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().take(4).map(|(_, path)| path).collect()
}

/// What the kernel said last, read in pieces: a journal may be large.
fn last_boot(root: &Root, path: &Path) -> Option<(u64, String)> {
    const KEPT: usize = 256;
    let mut file = root.open(path).ok()?.take(JOURNAL_LIMIT);
    let mut buffer = Vec::with_capacity((1 << 20) + KEPT);
    let mut last = None;
    loop {
        let before = buffer.len();
        let read = file.by_ref().take(1 << 20).read_to_end(&mut buffer).ok()?;
        if let Some(found) = find_last(&buffer) {
            last = Some(found);
        }
        if read == 0 || buffer.len() == before {
            return last;
        }
        // A sentence may lie across two pieces.
        let keep = buffer.len().saturating_sub(KEPT);
        buffer.drain(..keep);
    }
}

/// `Memory: 706244K/786004K available` as mm_core_init() prints it (since 2.6, with a small k before 4.0), or
/// `MemTotal:` as in /proc/meminfo.
fn find_last(text: &[u8]) -> Option<(u64, String)> {
    let kernel = |at: usize| {
        let rest = text.get(at..at + 80.min(text.len() - at))?;
        let (_, total, length) = two_numbers(rest.strip_prefix(b"Memory: ")?)?;
        Some((total, rest.get(..8 + length)?.to_str().ok()?.to_owned()))
    };
    let last = text.rfind_iter(b"Memory: ").find_map(kernel);
    last.or_else(|| {
        meminfo(text, "MemTotal:").or_else(|| {
            let at = text.find(b"\nMemTotal:").or_else(|| text.find(b" MemTotal:"))?;
            meminfo(text.get(at + 1..)?, "MemTotal:")
        })
    })
}

/// `706244K/786004K available` → both numbers and the length.
fn two_numbers(text: &[u8]) -> Option<(u64, u64, usize)> {
    let number = |text: &[u8]| -> Option<(u64, usize)> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = text.get(..digits)?.to_str().ok()?.parse().ok()?;
        matches!(text.get(digits), Some(b'K' | b'k')).then_some((value, digits + 1))
    };
    let (free, first) = number(text)?;
    let rest = text.get(first..)?.strip_prefix(b"/")?;
    let (total, second) = number(rest)?;
    let words = " available";
    rest.get(second..)?.starts_with(words.as_bytes()).then_some((free, total, first + 1 + second + words.len()))
}

/// `1.9 TiB`, from KiB.
pub fn size(kib: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = kib as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if value >= 10.0 || value.fract() == 0.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// What a machine needs besides, in KiB: 256 MiB.
const REST: u64 = 256 << 10;

/// How much of a machine's memory huge pages may take, in KiB.
pub(crate) fn bearable_hugepages(memory: &Memory) -> u64 {
    (memory.total / 10 * 9).min(memory.total.saturating_sub(REST))
}

/// What being short of memory is about: a finding that takes much of it explains one about this file.
pub(crate) const MEMINFO: &str = "/proc/meminfo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_it() {
        let text = b"[    0.1] Memory: 1K/2K available (1K kernel code\n\0\0Memory: 706244K/786004K available (14336K";
        assert_eq!(find_last(text), Some((786_004, "Memory: 706244K/786004K available".into())));
        assert_eq!(find_last(b"Memory: 12 MB\nMemory: "), None);
        assert_eq!(find_last(b"/proc/meminfo: MemTotal:  1000 kB"), Some((1000, "MemTotal: 1000 kB".into())));
    }
}
