//! The ssh server: its release, and its configuration with all files that are included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::dpkg;
use sickbay_formats::sshd_config::tree::{Setting, Source, Tree};
use sickbay_formats::sshd_config::{Reader, Version, directives, version_of_package};
use sickbay_formats::wildcard::fits;
use sickbay_target::{FileKind, Reason, Root, SupportReport};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// Where distributions put the program.
const PROGRAMS: [&str; 2] = ["/usr/sbin/sshd", "/usr/bin/sshd"];
/// How many bytes of the program are read; the largest known has 3 MB.
const PROGRAM_LIMIT: u64 = 16 << 20;
/// How many files are read in all.
const FILE_LIMIT: usize = 256;

/// sshd and what it is told.
#[derive(Debug)]
pub struct Sshd {
    /// The program.
    pub program: PathBuf,
    /// The file that it opens, whether or not it is there.
    pub config: PathBuf,
    /// The files, numbered as in `tree`; none when the first is not there.
    pub files: Vec<Arc<SourceFile>>,
    /// What is in them.
    pub tree: Tree,
    /// Files that could not be read.
    pub unread: Vec<Text>,
    bytes: Vec<u8>,
    version: Option<Version>,
}

impl Sshd {
    /// What is known of the program that reads the files.
    pub fn reader(&self) -> Reader<'_> {
        let known = Reader::of(&self.bytes);
        Reader { version: known.version.or(self.version), ..known }
    }

    /// Whether it takes its configuration and starts.
    pub fn accepts_configuration(&self) -> bool {
        let reader = self.reader();
        !self.files.is_empty()
            && self.tree.faults(&reader).is_empty()
            && self.tree.at_start(&reader).method_lists().is_none_or(|lists| !lists.is_empty())
    }

    /// The file that a setting stands in.
    pub fn file(&self, setting: Setting<'_>) -> Option<&Arc<SourceFile>> {
        self.files.get(setting.0)
    }

    /// `/etc/ssh/sshd_config:12`
    pub fn place(&self, setting: Setting<'_>) -> String {
        let path = self.file(setting).map(|file| file.path.display().to_string()).unwrap_or_default();
        format!("{path}:{}", setting.1.line)
    }

    /// The program's text, for what is compiled into it.
    pub fn mentions(&self, text: &str) -> bool {
        self.bytes.contains_str(format!("\0{text}\0"))
    }
}

impl Fact for Sshd {
    fn gather(facts: &Facts) -> Result<Sshd, Skip> {
        let root = facts.root();
        let program = PROGRAMS.iter().map(PathBuf::from).find(|path| root.stat(path).is_ok());
        // A report has no programs, but what they are told.
        let report = facts.target().report().ok();
        let is_told = || report.is_some() && root.stat("/etc/ssh/sshd_config").is_ok();
        let program = program.or_else(|| is_told().then(|| PathBuf::from(PROGRAMS[0])));
        let program = program.ok_or_else(|| Skip::NotApplicable(tr!("there is no sshd")))?;
        // A damaged program is another check's matter.
        let bytes = root.read_up_to(&program, PROGRAM_LIMIT).unwrap_or_default();
        // SUSE's sshd goes to /usr/etc when there is nothing in /etc.
        let config = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"]
            .iter()
            .map(PathBuf::from)
            .find(|path| root.exists(path).unwrap_or(true))
            .unwrap_or_else(|| PathBuf::from("/etc/ssh/sshd_config"));
        let version = package_version(root).or_else(|| listed_version(root, report?));
        let mut sshd = Sshd {
            program,
            config: config.clone(),
            files: vec![],
            tree: Tree::default(),
            unread: vec![],
            bytes,
            version,
        };
        if let Some(file) = facts.file(&config)? {
            sshd.add(file);
            let mut next = 0;
            while next < sshd.files.len() {
                sshd.follow_includes(facts, next);
                next += 1;
            }
        }
        Ok(sshd)
    }
}

impl Sshd {
    fn add(&mut self, file: Arc<SourceFile>) -> usize {
        let directives = directives(&file.bytes, &self.reader());
        self.files.push(file);
        self.tree.sources.push(Source { directives, includes: BTreeMap::new() });
        self.files.len() - 1
    }

    fn follow_includes(&mut self, facts: &Facts, number: usize) {
        let Some(source) = self.tree.sources.get(number) else { return };
        let lines: Vec<(usize, Vec<PathBuf>)> = source
            .directives
            .iter()
            .filter(|directive| directive.is("Include"))
            .map(|directive| {
                let patterns = directive.args.iter().map(|word| word.text.to_str_lossy());
                (directive.line, patterns.map(|pattern| Path::new("/etc/ssh").join(&*pattern)).collect())
            })
            .collect();
        for (line, patterns) in lines {
            let mut included = Vec::new();
            for path in patterns.iter().flat_map(|pattern| glob(facts.root(), pattern)) {
                let known = self.files.iter().position(|file| file.path == path);
                if let Some(known) = known {
                    included.push(known);
                } else if self.files.len() < FILE_LIMIT {
                    match facts.file(&path) {
                        Ok(Some(file)) => included.push(self.add(file)),
                        Ok(None) => {}
                        Err(Skip::Unknown(why) | Skip::NotApplicable(why)) => self.unread.push(why),
                    }
                }
            }
            if let Some(source) = self.tree.sources.get_mut(number) {
                source.includes.insert(line, included);
            }
        }
    }
}

/// The paths that a pattern of glob(7) stands for, in order. Hidden names need a pattern with a dot.
fn glob(root: &Root, pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    for part in pattern.iter().skip(1) {
        let bytes = part.as_encoded_bytes();
        if !bytes.iter().any(|byte| b"*?[".contains(byte)) {
            paths = paths.into_iter().map(|path| path.join(part)).collect();
            continue;
        }
        let mut next = Vec::new();
        for dir in paths {
            let mut names = root.read_dir(&dir).unwrap_or_default();
            names.retain(|entry| {
                let name = entry.name.as_encoded_bytes();
                fits(name, bytes) && (!name.starts_with(b".") || bytes.starts_with(b"."))
            });
            names.sort_by(|a, b| a.name.cmp(&b.name));
            next.extend(names.into_iter().map(|entry| dir.join(entry.name)));
        }
        paths = next;
    }
    // glob(3) gives only what is there.
    paths.retain(|path| match root.stat(path) {
        Ok(metadata) => metadata.kind != FileKind::Dir,
        Err(error) => !matches!(error.reason, Reason::NotFound | Reason::NotADirectory),
    });
    paths
}

/// The release of the sshd that is installed, by its package.
pub(crate) fn version(facts: &Facts) -> Option<Version> {
    facts.get::<Sshd>().ok()?.reader().version
}

fn listed_version(root: &Root, report: &SupportReport) -> Option<Version> {
    let path =
        report.output(|name| name == "dpkg_-l" || name.contains("rpm_--nodigest") || name.starts_with("rpm_-qa"))?;
    let text = root.read_up_to(path, 16 << 20).ok()?;
    // `ii  openssh-server  1:9.2p1-2  amd64 …` of dpkg, `openssh-server-8.0p1-19.el8.x86_64 …` of rpm.
    let of_line = |line: &[u8]| {
        let line = line.to_str().ok()?;
        let mut words = line.split_whitespace();
        let first = words.next()?;
        match first.strip_prefix("openssh-server-") {
            Some(version) => version_of_package(version.as_bytes()),
            None if first == "ii" && words.next()?.split(':').next() == Some("openssh-server") => {
                version_of_package(words.next()?.as_bytes())
            }
            None => None,
        }
    };
    text.lines().find_map(of_line)
}

fn package_version(root: &Root) -> Option<Version> {
    let status = root.read_up_to("/var/lib/dpkg/status", 64 << 20).ok()?;
    let package = dpkg::packages(&status).find(|package| package.name == "openssh-server" && package.unpacked)?;
    version_of_package(package.version)
}
