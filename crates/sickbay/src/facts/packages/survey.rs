//! One cheap look, stat(2) only, at every packaged file that the system needs to start and to let people in.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bstr::ByteSlice;
use sickbay_target::{Dir, FileKind, Metadata, ReadError, Reason, Root, threads};

use super::{PackagedFile, Packages};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;

/// What a file is to the system, told by where it is. What is not named here may be missing without an expert turning
/// his head: documentation and translations that slim images leave out, modules of a language that its own package
/// manager renews, kernels that were removed by hand, caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Programs of `bin`, `sbin` and `libexec`, and units of systemd.
    Program,
    /// Shared libraries and modules.
    Library,
    /// Configuration without which nobody can log in.
    Login,
}

/// Directories of `/usr/lib*` that are left out or replaced on purpose: language modules with managers of their own,
/// locales, debug information, kernels and their firmware.
const PRIVATE: [&str; 15] = [
    "node_modules",
    "python",
    "pypy",
    "perl",
    "ruby",
    "php",
    "R",
    "locale",
    "gconv",
    "debug",
    "firmware",
    "modules",
    "go",
    "jvm",
    ".build-id",
];

/// Configuration without which logins fail or scripts of a classic init do not run, under `/etc`.
const LOGIN: [&str; 12] = [
    "pam.conf",
    "login.defs",
    "nsswitch.conf",
    "profile",
    "bashrc",
    "bash.bashrc",
    "security/access.conf",
    "security/limits.conf",
    "security/pam_env.conf",
    "rc.d/rc",
    "rc.d/rc.sysinit",
    "rc.d/init.d/functions",
];

/// The weight of a path, `config` telling whether it is configuration; `None` for what does not count.
pub fn weight(path: &[u8], config: bool) -> Option<Weight> {
    if let Some(rest) = path.strip_prefix(b"/etc/") {
        // Not all of /etc/security: removing limits.d/* is what every guide to tuning begins with.
        let login = rest.starts_with(b"pam.d/") || LOGIN.iter().any(|name| rest == name.as_bytes());
        return login.then_some(Weight::Login);
    }
    let rest = path.strip_prefix(b"/usr").unwrap_or(path);
    let rest = rest.strip_prefix(b"/").filter(|_| !config)?;
    let (top, below) = split_once(rest)?;
    let name = below.rfind_byte(b'/').and_then(|at| below.get(at + 1..)).unwrap_or(below);
    match top {
        b"bin" | b"sbin" => Some(Weight::Program),
        b"libexec" => Some(Weight::Program),
        b"lib" | b"lib64" | b"lib32" | b"libx32" => {
            let private = below.split(|byte| *byte == b'/').take(2).any(|part| {
                let part = part.trim_end_with(|character| character.is_ascii_digit() || character == '.');
                PRIVATE.iter().any(|private| part == private.as_bytes())
            });
            let library = name.ends_with(b".so") || name.contains_str(".so.");
            if private {
                None
            } else if library {
                Some(Weight::Library)
            } else if below.starts_with(b"systemd/") && is_needed_of_systemd(below) {
                Some(Weight::Program)
            } else {
                None
            }
        }
        _ => None,
    }
}

fn split_once(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.find_byte(b'/')?;
    Some((path.get(..at)?, path.get(at + 1..)?))
}

/// Programs and units of systemd, but not what guides tell to remove: the links that images for containers do without, and
/// the answer to Ctrl-Alt-Del.
fn is_needed_of_systemd(below: &[u8]) -> bool {
    let removed = [".wants/", ".requires/", "/catalog/", "/ctrl-alt-del.target"];
    !removed.iter().any(|part| below.contains_str(part))
}

/// Directories that every login passes through.
const SYSTEM_DIRS: [&[u8]; 12] = [
    b"/etc",
    b"/usr",
    b"/usr/bin",
    b"/usr/sbin",
    b"/usr/lib",
    b"/usr/lib64",
    b"/usr/libexec",
    b"/bin",
    b"/sbin",
    b"/lib",
    b"/lib64",
    b"/usr/share",
];

/// How a packaged file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is nothing.
    Missing,
    /// A file without content; whether that is right only its digest or size tells.
    Empty,
    /// Something else than the package brought.
    Other(FileKind),
}

/// A packaged file that is not as it should be.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Index in [`super::Database::files`].
    pub file: usize,
    /// What it is to the system.
    pub weight: Weight,
    /// What is the matter.
    pub state: State,
}

/// What the look at all packaged files showed.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is not as it should be, by path.
    pub lost: Vec<Lost>,
    /// Directories of programs and libraries that are gone as a whole although nothing in them has a [`Weight`], with the
    /// number of files and the index of one of them.
    pub gone: BTreeMap<PathBuf, (usize, usize)>,
    /// Files with another mode or owner than the database knows, by index, and what they are now.
    pub attributes: Vec<(usize, Metadata)>,
    /// Files that belong to another user or group than root although nothing says that they should, by index.
    pub foreign: Vec<(usize, Metadata)>,
    /// Programs that not everybody may start and libraries that not everybody may read, of packages whose database knows no
    /// modes, by index.
    pub closed: Vec<(usize, Metadata)>,
    /// How many files were looked at.
    pub count: usize,
    /// Why some could not be looked at.
    pub untold: Option<Text>,
}

impl Fact for Survey {
    fn gather(facts: &Facts) -> Result<Survey, Skip> {
        let packages = facts.get::<Packages>()?;
        let root = facts.root();
        let mut wanted: Vec<(usize, Weight)> = packages
            .files
            .iter()
            .enumerate()
            .filter_map(|(at, file)| {
                // The directories on the way to programs and libraries have modes, too.
                let dir = file.exact.as_ref().filter(|exact| exact.kind == FileKind::Dir);
                let way = || dir.filter(|_| SYSTEM_DIRS.contains(&file.path.as_bytes())).map(|_| Weight::Program);
                Some((at, weight(&file.path, file.config).or_else(way)?))
            })
            .collect();
        // By path, so that each directory is opened once.
        let by_path = |(at, _): &(usize, Weight)| packages.files.get(*at).map(|file| file.path.as_bytes());
        wanted.sort_unstable_by(|a, b| by_path(a).cmp(&by_path(b)).then(a.0.cmp(&b.0)));
        let mut survey = Survey { count: wanted.len(), ..Survey::default() };
        let workers = threads::processors(8);
        let chunks: Vec<_> = wanted.chunks(wanted.len().div_ceil(workers).max(1)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mine = || chunks.get(next.fetch_add(1, Ordering::Relaxed));
            std::iter::from_fn(mine).map(|chunk| look_at(root, &packages, chunk)).collect::<Vec<_>>()
        };
        for look in threads::together(workers, work).into_iter().flatten() {
            survey.lost.extend(look.lost);
            survey.attributes.extend(look.attributes);
            survey.foreign.extend(look.foreign);
            survey.closed.extend(look.closed);
            survey.untold = survey.untold.or(look.untold);
        }
        survey.gone = gone(root, &packages);
        Ok(survey)
    }
}

/// Looks at files of one directory after the other.
fn look_at(root: &Root, packages: &Packages, wanted: &[(usize, Weight)]) -> Survey {
    let mut part = Survey::default();
    let mut open: Option<(&Path, Result<Dir, ReadError>)> = None;
    for &(at, weight) in wanted {
        let Some(file) = packages.files.get(at) else { continue };
        let (Some(above), Some(name)) = (file.as_path().parent(), file.as_path().file_name()) else { continue };
        if open.as_ref().is_none_or(|(path, _)| *path != above) {
            open = Some((above, root.dir(above)));
        }
        let Some((_, dir)) = &open else { continue };
        let untold = |error: &ReadError| match error.reason {
            Reason::NotFound | Reason::NotADirectory => None,
            _ => Some(Text::verbatim(error.to_string())),
        };
        let looked = match dir {
            Ok(dir) => dir.metadata(name).map_err(|error| untold(&error)),
            Err(error) => Err(untold(error)),
        };
        let state = match looked {
            Ok(metadata) => {
                let owner = file.exact.as_ref().and_then(|exact| exact.owner).unwrap_or((0, 0));
                if (metadata.uid, metadata.gid) != owner && !packages.overridden.contains(&*file.path) {
                    part.foreign.push((at, metadata));
                }
                if file.exact.is_none() && is_closed(&file.path, weight, &metadata) {
                    part.closed.push((at, metadata));
                }
                if has_other_attributes(packages, file, &metadata) {
                    part.attributes.push((at, metadata));
                }
                state(file, &metadata)
            }
            Err(None) => Some(State::Missing),
            Err(Some(why)) => {
                part.untold.get_or_insert(why);
                None
            }
        };
        part.lost.extend(state.map(|state| Lost { file: at, weight, state }));
    }
    part
}

/// Whether others than root cannot use it, which packages but rarely want.
fn is_closed(path: &[u8], weight: Weight, metadata: &Metadata) -> bool {
    // The mode first: to look for a word in each of 50,000 paths costs more than to read their modes.
    let is_program = || path.contains_str("bin/") && !path.contains_str("systemd/");
    let lacks = |bits: u32| metadata.mode & bits != bits;
    metadata.is_file()
        && match weight {
            Weight::Program => lacks(0o005) && is_program(),
            Weight::Library => lacks(0o004),
            _ => false,
        }
}

fn has_other_attributes(packages: &Packages, file: &PackagedFile, metadata: &Metadata) -> bool {
    let Some(exact) = file.exact.as_ref().filter(|exact| exact.kind == metadata.kind && !file.config) else {
        return false;
    };
    let mode = exact.mode.is_some_and(|mode| mode != metadata.mode);
    let owner = exact.owner.is_some_and(|owner| owner != (metadata.uid, metadata.gid));
    (mode || owner) && exact.kind != FileKind::Symlink && !packages.overridden.contains(&*file.path)
}

fn state(file: &PackagedFile, metadata: &Metadata) -> Option<State> {
    let kind = file.exact.as_ref().map(|exact| exact.kind);
    match (metadata.kind, kind) {
        (FileKind::File, None | Some(FileKind::File)) => (metadata.size == 0).then_some(State::Empty),
        // An administrator may put a link in the place of a file or directory.
        (FileKind::Symlink | FileKind::Dir, None) | (FileKind::Symlink, _) | (FileKind::Dir, Some(FileKind::Dir)) => {
            None
        }
        // A link that became what it led to.
        (_, Some(FileKind::Symlink)) => None,
        (kind, _) => Some(State::Other(kind)),
    }
}

/// Directories right below those of libraries in which a package has files and which are not there.
fn gone(root: &Root, packages: &Packages) -> BTreeMap<PathBuf, (usize, usize)> {
    let mut all: BTreeMap<&[u8], (usize, usize)> = BTreeMap::new();
    // Packages list directory by directory.
    let mut runs: Vec<(&[u8], usize, usize)> = Vec::new();
    for (at, file) in packages.files.iter().enumerate() {
        match runs.last_mut() {
            Some((dir, count, _)) if file.path.get(dir.len()) == Some(&b'/') && file.path.starts_with(dir) => {
                *count += 1;
            }
            _ => runs.extend(library_dir(&file.path).map(|dir| (dir, 1, at))),
        }
    }
    for (dir, count, first) in runs {
        all.entry(dir).or_insert((0, first)).0 += count;
    }
    let is_missing = |path: &Path| {
        root.metadata(path).is_err_and(|error| matches!(error.reason, Reason::NotFound | Reason::NotADirectory))
    };
    let paths = all.into_iter().map(|(dir, found)| (Path::new(std::ffi::OsStr::from_bytes(dir)).to_owned(), found));
    paths.filter(|(path, _)| is_missing(path)).collect()
}

/// `/usr/lib/X`, or `/usr/lib/x86_64-linux-gnu/X`, of a file below it.
fn library_dir(path: &[u8]) -> Option<&[u8]> {
    let rest = path.strip_prefix(b"/usr/lib64/").or_else(|| path.strip_prefix(b"/usr/lib/"))?;
    let start = path.len() - rest.len();
    let (first, below) = split_once(rest)?;
    let end = if first.contains_str("-linux-gnu") { first.len() + 1 + below.find_byte(b'/')? } else { first.len() };
    let dir = rest.get(..end)?;
    let private = dir.split(|byte| *byte == b'/').any(|part| {
        let part = part.trim_end_with(|character| character.is_ascii_digit() || character == '.');
        PRIVATE.iter().any(|private| part == private.as_bytes())
    });
    if private { None } else { path.get(..start + end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        let cases: [(&str, Option<Weight>); 18] = [
            ("/usr/bin/bash", Some(Weight::Program)),
            ("/sbin/ip", Some(Weight::Program)),
            ("/usr/libexec/openssh/sftp-server", Some(Weight::Program)),
            ("/usr/lib/systemd/system/ssh.service", Some(Weight::Program)),
            ("/usr/lib/x86_64-linux-gnu/security/pam_unix.so", Some(Weight::Library)),
            ("/usr/lib64/libc.so.6", Some(Weight::Library)),
            ("/etc/pam.d/login", Some(Weight::Login)),
            ("/etc/motd", None),
            ("/etc/security/limits.d/20-nproc.conf", None),
            ("/usr/lib/systemd/system/sysinit.target.wants/dev-hugepages.mount", None),
            ("/usr/share/doc/bash/README", None),
            ("/usr/lib/python3/dist-packages/apt_pkg.cpython-311-x86_64-linux-gnu.so", None),
            ("/usr/lib/python3.11/lib-dynload/_ssl.so", None),
            ("/usr/lib/x86_64-linux-gnu/perl/5.36/auto/B/B.so", None),
            ("/usr/lib/node_modules/npm/lib/a.so", None),
            ("/usr/lib/modules/6.1.0/kernel/a.ko", None),
            ("/boot/vmlinuz-6.1.0", None),
            ("/usr/local/bin/x", None),
        ];
        for (path, wanted) in cases {
            assert_eq!(weight(path.as_bytes(), false), wanted, "{path}");
        }
    }

    #[test]
    fn directories_of_libraries() {
        let dir = |path: &str| library_dir(path.as_bytes()).map(|dir| dir.to_str_lossy().into_owned());
        assert_eq!(dir("/usr/lib/git-core/git"), Some("/usr/lib/git-core".into()));
        assert_eq!(dir("/usr/lib/x86_64-linux-gnu/gio/modules/a.so"), Some("/usr/lib/x86_64-linux-gnu/gio".into()));
        assert_eq!(dir("/usr/lib/x86_64-linux-gnu/libc.so.6"), None);
        assert_eq!(dir("/usr/lib/python3.11/os.py"), None);
        assert_eq!(dir("/usr/share/git/x"), None);
    }
}
