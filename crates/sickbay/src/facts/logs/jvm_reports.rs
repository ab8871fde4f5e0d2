//! Error reports of Java virtual machines that could not get memory: `hs_err_pid*.log`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_formats::hs_err::{self, Report};
use sickbay_target::FileKind;

use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::memory::processes::pids;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::tr;

/// The reports of the last days, the newest first; all those that stand in logs that were given.
#[derive(Debug)]
pub struct JvmReports {
    /// Each with its file.
    pub list: Vec<JvmReport>,
}

/// One report.
#[derive(Debug)]
pub struct JvmReport {
    /// The file; of a log the part of it that is the report.
    pub file: Arc<SourceFile>,
    /// How many lines of the log stand before it.
    pub skipped: usize,
    /// What it says.
    pub report: Report,
}

impl JvmReport {
    /// Where a line of the report stands, as evidence names it.
    pub fn place(&self, line: usize) -> String {
        format!("{}:{}", self.file.path.display(), self.skipped + line)
    }
}

/// What is older than a week has been seen, or does not matter.
const DAYS: i64 = 7;

/// So many of them are read.
const MOST: usize = 8;

/// A report is some hundred kilobytes.
const LIMIT: u64 = 8 << 20;

impl Fact for JvmReports {
    fn gather(facts: &Facts) -> Result<JvmReports, Skip> {
        if facts.target().logs().is_ok() {
            return of_logs(facts);
        }
        // Logs that came with a system may have some as well.
        if !facts.target().given_logs().is_empty()
            && let Ok(reports) = of_logs(facts)
        {
            return Ok(reports);
        }
        let root = facts.root();
        let mut found = Vec::new();
        for dir in dirs(facts) {
            for entry in root.read_dir(&dir).unwrap_or_default() {
                let name = entry.name.to_string_lossy();
                if entry.kind == FileKind::File && name.starts_with("hs_err_pid") && name.ends_with(".log") {
                    let path = dir.join(&entry.name);
                    let since = root.metadata(&path).map(|seen| seen.mtime.0).unwrap_or(0);
                    if facts.now().as_second().saturating_sub(since) < DAYS * 86_400 {
                        found.push((std::cmp::Reverse(since), path));
                    }
                }
            }
        }
        found.sort();
        let mut list = Vec::new();
        for (_, path) in found.into_iter().take(MOST) {
            let Ok(bytes) = root.read_up_to(&path, LIMIT) else { continue };
            if hs_err::is_report(&bytes) {
                let report = hs_err::parse(&bytes);
                list.push(JvmReport { file: Arc::new(SourceFile { path, bytes }), skipped: 0, report });
            }
        }
        Ok(JvmReports { list })
    }
}

/// The reports among logs that were given by themselves, of whatever age.
fn of_logs(facts: &Facts) -> Result<JvmReports, Skip> {
    let log = facts.get::<KernelLog>()?;
    let mut list: Vec<JvmReport> = Vec::new();
    for found in &log.said.jvm {
        let report = hs_err::parse(&found.text);
        let file = Arc::new(SourceFile { path: log.source(found.source), bytes: found.text.clone() });
        let skipped = usize::try_from(found.line.saturating_sub(1)).unwrap_or(usize::MAX);
        list.push(JvmReport { file, skipped, report });
    }
    // A JVM prints the head of its report as well; of the two the whole one tells.
    let repeats = |one: &JvmReport, other: &JvmReport| {
        one.report.pid.is_some()
            && one.report.pid == other.report.pid
            && one.report.wanted == other.report.wanted
            && one.report.crash.as_ref().map(|crash| &crash.frame)
                == other.report.crash.as_ref().map(|crash| &crash.frame)
            && one.file.bytes.len() < other.file.bytes.len()
    };
    let copies: Vec<bool> = list.iter().map(|one| list.iter().any(|other| repeats(one, other))).collect();
    let mut copies = copies.into_iter();
    list.retain(|_| !copies.next().unwrap_or(false));
    if list.is_empty() {
        return Err(Skip::NotApplicable(tr!("it has no report from a Java virtual machine")));
    }
    Ok(JvmReports { list })
}

/// A JVM writes into its working directory, or into /tmp where it may not.
fn dirs(facts: &Facts) -> BTreeSet<PathBuf> {
    let root = facts.root();
    let mut dirs: BTreeSet<PathBuf> = ["/", "/root", "/tmp", "/var/log"].map(PathBuf::from).into();
    for parent in ["/home", "/opt", "/srv"] {
        let below = root.read_dir(parent).unwrap_or_default();
        dirs.extend(
            below.iter().filter(|entry| entry.kind == FileKind::Dir).map(|entry| Path::new(parent).join(&entry.name)),
        );
    }
    if facts.runs() {
        for pid in pids(facts).unwrap_or_default() {
            let is_java = root.read(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == b"java\n");
            dirs.extend(is_java.then(|| root.read_link(format!("/proc/{pid}/cwd")).ok()).flatten());
        }
    }
    dirs
}
