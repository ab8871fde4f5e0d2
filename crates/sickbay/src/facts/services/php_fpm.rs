//! PHP-FPM on a running system: its pools with `pm.max_children`, how much memory a child has, and what the log says of the limit.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use sickbay_formats::span::Span;
use sickbay_formats::supervisord_conf as ini;
use sickbay_formats::wildcard::fits;

use crate::facts::memory::processes::Processes;
use crate::facts::services::programs::{Kind, Program, Programs};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// A pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// `www`
    pub name: BString,
    /// `pm.max_children`
    pub most: u64,
    /// Where that is set.
    pub at: (Arc<SourceFile>, Span),
    /// Its children that run, and the memory that they have to themselves, in KiB together.
    pub children: u64,
    /// In KiB.
    pub memory: u64,
}

/// A master with its pools.
#[derive(Clone, Debug)]
pub struct Master {
    /// Its number.
    pub pid: u32,
    /// Its pools.
    pub pools: Vec<Pool>,
    /// Its log.
    pub log: Option<PathBuf>,
}

/// Those that run.
#[derive(Debug, Default)]
pub struct PhpFpm {
    /// One for each version of PHP.
    pub masters: Vec<Master>,
}

/// Files of pools that are read.
const FILES: usize = 1000;

impl Fact for PhpFpm {
    fn gather(facts: &Facts) -> Result<PhpFpm, Skip> {
        let programs = facts.get::<Programs>()?;
        let all: Vec<&Program> = programs.of(Kind::PhpFpm).collect();
        let mut masters = Vec::new();
        for master in &all {
            let title = master.words.join(&b' ');
            // `php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)`
            let Some((_, rest)) = title.split_once_str("master process (") else { continue };
            let config = rest.split(|byte| *byte == b')').next().unwrap_or_default().to_path_lossy().into_owned();
            let children: Vec<&Program> = all.iter().copied().filter(|one| one.parent == master.pid).collect();
            masters.push(read(facts, master.pid, &config, &children)?);
        }
        Ok(PhpFpm { masters })
    }
}

fn read(facts: &Facts, pid: u32, config: &Path, children: &[&Program]) -> Result<Master, Skip> {
    let mut files: Vec<Arc<SourceFile>> = facts.file(config)?.into_iter().collect();
    let mut log = None;
    if let Some(first) = files.first().cloned() {
        for setting in ini::settings(&first.bytes) {
            if setting.key == "include" {
                files.extend(included(facts, &setting.value.to_path_lossy())?);
            } else if setting.key == "error_log" && setting.value.starts_with(b"/") {
                log = Some(setting.value.to_path_lossy().into_owned());
            }
        }
    }
    let processes = facts.get::<Processes>()?;
    let own = |pid: u32| processes.list.iter().find(|one| one.pid == pid).map(|one| one.own());
    let mut memory: BTreeMap<Vec<u8>, (u64, u64)> = BTreeMap::new();
    for child in children {
        let title = child.words.join(&b' ');
        let Some((_, name)) = title.split_once_str("pool ") else { continue };
        let Some(kib) = own(child.pid) else { continue };
        let one = memory.entry(name.trim_ascii().to_owned()).or_default();
        (one.0, one.1) = (one.0 + 1, one.1.saturating_add(kib));
    }
    let mut pools: Vec<Pool> = Vec::new();
    for file in &files {
        for setting in ini::settings(&file.bytes) {
            let number = setting.value.to_str().ok().and_then(|text| text.parse().ok());
            let (b"pm.max_children", Some(most)) = (setting.key.as_slice(), number) else { continue };
            let (children, kib) = memory.get(setting.section.as_slice()).copied().unwrap_or_default();
            pools.retain(|pool| pool.name != setting.section);
            let at = (Arc::clone(file), setting.span);
            pools.push(Pool { name: setting.section.clone(), most, at, children, memory: kib });
        }
    }
    Ok(Master { pid, pools, log })
}

/// The files of `include=/etc/php/8.2/fpm/pool.d/*.conf`.
fn included(facts: &Facts, pattern: &Path) -> Result<Vec<Arc<SourceFile>>, Skip> {
    let name = pattern.file_name().unwrap_or_default().as_encoded_bytes();
    let dir = pattern.parent().unwrap_or(Path::new("/"));
    let mut entries = facts.root().read_dir(dir).unwrap_or_default();
    entries.retain(|entry| fits(entry.name.as_encoded_bytes(), name));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let paths = entries.into_iter().take(FILES).map(|entry| dir.join(entry.name));
    let mut files = Vec::new();
    for path in paths {
        files.extend(facts.file(path)?);
    }
    Ok(files)
}

/// Of the log this much of its end is read.
const TAIL: u64 = 1 << 20;

/// The last time that a pool reached its limit, as the log says: its date, and the limit.
pub fn reached(facts: &Facts, log: &Path, pool: &[u8]) -> Option<(jiff::civil::DateTime, u64, String)> {
    let mut file = facts.root().open(log).ok()?;
    let size = facts.root().stat(log).ok()?.size;
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL))).ok()?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text).ok()?;
    let wanted = [b"[pool ", pool, b"] server reached pm.max_children setting ("].concat();
    // `[30-Nov-2026 12:00:01] WARNING: [pool www] server reached pm.max_children setting (5), consider raising it`
    text.lines().rev().find_map(|line| {
        let (before, after) = line.split_once_str(&wanted)?;
        let limit = after.split(|byte| *byte == b')').next()?.to_str().ok()?.parse().ok()?;
        let date = before.strip_prefix(b"[")?.split(|byte| *byte == b']').next()?.to_str().ok()?;
        let date = jiff::civil::DateTime::strptime("%d-%b-%Y %H:%M:%S", date).ok()?;
        Some((date, limit, line.to_str_lossy().into_owned()))
    })
}
