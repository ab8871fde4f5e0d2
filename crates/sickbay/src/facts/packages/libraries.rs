//! Which file a dynamic linker would take for each library, on a root that does not run (ld.so(8); musl's ldso).

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bstr::{BStr, BString, ByteSlice};
use object::read::ReadCache;
use sickbay_formats::elf::{self, Abi, Elf, NotElf};
use sickbay_formats::ld_so;
use sickbay_formats::wildcard::fits;
use sickbay_target::{FileKind, Metadata, Reason, Root};

use crate::facts::packages::{Packages, shadows};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// What is at a path, as somebody sees it who wants to run or load it.
#[derive(Clone, Debug)]
pub enum Body {
    /// A program or library of which all is there.
    Elf(Elf),
    /// A script, with the interpreter that it asks for.
    Script(PathBuf),
    /// Nothing that can be run or loaded.
    Broken(Fault),
    /// It could not be read.
    Unknown(Text),
}

/// Why a file cannot be run or loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is nothing of that name.
    Missing,
    /// A link that leads nowhere, with its text.
    Dangling(PathBuf),
    /// A directory or something else that is no file.
    NotAFile(FileKind),
    /// It has no content.
    Empty,
    /// Neither a program nor a script.
    Garbage,
    /// Its header or its tables are damaged.
    Damaged,
    /// It ends before the end of what must be loaded.
    CutOff {
        /// Bytes there are.
        size: u64,
        /// Bytes there must be.
        wanted: u64,
    },
    /// It does not have a version of itself that is asked for, as a file of another release does not; who asks.
    Version(BString, PathBuf),
    /// It asks for a version that this library of the system does not have.
    NeedsVersion(BString, PathBuf),
    /// It takes the place of a library of the system and lacks a symbol that this one has; the symbol, and who asks.
    Symbol(BString, PathBuf),
    /// It asks for a symbol that this library of the system does not have.
    NeedsSymbol(BString, PathBuf),
    /// It takes the place of a library of the system that sshd was built with, and sshd refuses its release: that, the release it
    /// was built with, and sshd.
    OpenSsl(String, String, PathBuf),
    /// It is for another machine than the system.
    Machine(Abi, Abi),
    /// Nobody may execute it; its mode.
    NotExecutable(u32),
}

impl Fault {
    /// One sentence about `path`.
    pub fn message(&self, path: &Path) -> Text {
        match self {
            Fault::Missing => tr!("{path} is missing", path),
            Fault::Dangling(target) => {
                tr!("{path} points to {target}, which does not exist", path, target = target.as_path())
            }
            Fault::NotAFile(kind) => tr!("{path} is {kind} instead of a file", path, kind = kind.to_string()),
            Fault::Empty => tr!("{path} is empty", path),
            Fault::Garbage => tr!("{path} is neither a program nor a library", path),
            Fault::Damaged => tr!("{path} is damaged: its ELF header is wrong", path),
            Fault::CutOff { size, wanted } => {
                tr!(
                    "{path} is truncated: it has {size} of at least {wanted} bytes",
                    path,
                    size = *size,
                    wanted = *wanted
                )
            }
            Fault::Version(version, by) => {
                tr!("{path} has no version {version}, which {by} needs", path, version, by = by.as_path())
            }
            Fault::NeedsVersion(version, library) => {
                tr!(
                    "{path} needs version {version} of {library}, which has none",
                    path,
                    version,
                    library = library.as_path()
                )
            }
            Fault::Symbol(symbol, by) => {
                tr!("{path} has no symbol {symbol}, which {by} needs", path, symbol, by = by.as_path())
            }
            Fault::NeedsSymbol(symbol, library) => {
                tr!(
                    "{path} needs symbol {symbol} of {library}, which has none",
                    path,
                    symbol,
                    library = library.as_path()
                )
            }
            Fault::OpenSsl(its, built, by) => {
                tr!(
                    "{path} is OpenSSL {its}, and {by} was built for {built}: OpenSSL version mismatch",
                    path,
                    its,
                    built,
                    by = by.as_path()
                )
            }
            Fault::Machine(its, system) => {
                tr!("{path} is a {its} file, the system is {system}", path, its = its.name(), system = system.name())
            }
            Fault::NotExecutable(mode) => {
                tr!("{path} has mode {mode}: nobody can execute it", path, mode = format!("{mode:04o}"))
            }
        }
    }
}

/// A file that stops something from being loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file; where it is missing, where it is expected.
    pub path: PathBuf,
    /// What is the matter with it.
    pub fault: Fault,
    /// The file that needs it.
    pub needed_by: PathBuf,
}

/// How the dynamic linkers are set up, and what was looked at so far.
#[derive(Debug)]
pub struct Libraries {
    conf: Vec<PathBuf>,
    preload: Vec<PathBuf>,
    known: Mutex<HashMap<PathBuf, Arc<Body>>>,
    /// Real paths of directories: the same few are asked for with every library.
    dirs: Mutex<HashMap<PathBuf, Option<PathBuf>>>,
}

/// How many files `include` lines of ld.so.conf may lead to: each includes others at most, so it bounds their depth as well.
const CONFS: usize = 256;
/// How many libraries one program is followed through; big ones need a hundred.
const CLOSURE_LIMIT: usize = 1000;

impl Fact for Libraries {
    fn gather(facts: &Facts) -> Result<Libraries, Skip> {
        let mut conf = Vec::new();
        read_conf(facts, Path::new("/etc/ld.so.conf"), &mut HashSet::new(), &mut conf)?;
        let preload = facts.file("/etc/ld.so.preload")?;
        let preload = preload.iter().flat_map(|file| ld_so::preload(&file.bytes)).map(path_of).collect();
        Ok(Libraries { conf, preload, known: Mutex::default(), dirs: Mutex::default() })
    }
}

fn path_of(bytes: &BStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn read_conf(facts: &Facts, path: &Path, seen: &mut HashSet<PathBuf>, dirs: &mut Vec<PathBuf>) -> Result<(), Skip> {
    // A directory that is named twice changes nothing, so no file is read twice, whoever includes it.
    if seen.len() >= CONFS || !seen.insert(path.to_owned()) {
        return Ok(());
    }
    let Some(file) = facts.file(path)? else { return Ok(()) };
    for entry in ld_so::conf(&file.bytes) {
        match entry {
            ld_so::Entry::Dir(dir) => dirs.push(path_of(dir)),
            ld_so::Entry::Include(pattern) => {
                let pattern = path.parent().unwrap_or(Path::new("/")).join(path_of(pattern));
                for path in matching(facts.root(), &pattern) {
                    read_conf(facts, &path, seen, dirs)?;
                }
            }
        }
    }
    Ok(())
}

/// The files whose name fits the last part of `pattern`, in which `*` and `?` are special.
fn matching(root: &Root, pattern: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (pattern.parent(), pattern.file_name()) else { return Vec::new() };
    let entries = root.read_dir(dir).unwrap_or_default();
    entries
        .iter()
        .filter(|entry| fits(entry.name.as_bytes(), name.as_bytes()))
        .map(|entry| dir.join(&entry.name))
        .collect()
}

impl Libraries {
    /// What is at `path`, links followed.
    pub fn look(&self, root: &Root, path: &Path) -> Arc<Body> {
        if let Some(body) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Arc::clone(body);
        }
        let body = Arc::new(look(root, path));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), Arc::clone(&body));
        body
    }

    /// The file that a word of ld.so.preload means; `None` where that depends on the program that it is loaded into. A bare
    /// name that is found nowhere means itself.
    pub fn preloaded(&self, facts: &Facts, word: &BStr) -> Option<PathBuf> {
        let root = facts.root();
        let names = || ["lib64", "lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"].into_iter();
        if word.contains(&b'$') {
            let plain = |lib: &str| word.replace("${LIB}", lib).replace("$LIB", lib);
            let paths = names().map(plain).filter(|path| path.starts_with(b"/") && !path.contains(&b'$'));
            return paths.map(|path| path_of(path.as_bstr())).find(|path| root.stat(path).is_ok());
        }
        let path = path_of(word);
        if word.contains(&b'/') {
            return path.is_absolute().then_some(path);
        }
        let defaults = names().flat_map(|lib| [Path::new("/").join(lib), Path::new("/usr").join(lib)]);
        let dirs = self.conf.iter().cloned().chain(defaults);
        dirs.map(|dir| dir.join(&path)).find(|path| root.stat(path).is_ok())
    }

    /// Whether ld.so.conf names a directory, given by its real path.
    pub(super) fn is_configured(&self, root: &Root, dir: &Path) -> bool {
        self.conf.iter().any(|known| self.real_dir(root, known).is_some_and(|known| known == dir))
    }

    /// The real path of a directory; `None` when it is not there.
    pub(super) fn real_dir(&self, root: &Root, dir: &Path) -> Option<PathBuf> {
        let mut dirs = self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(real) = dirs.get(dir) {
            return real.clone();
        }
        let real = root.canonical(dir).ok();
        dirs.insert(dir.to_owned(), real.clone());
        real
    }

    /// Every program, script and library that was looked at so far and is whole, by its real path.
    pub fn whole(&self, root: &Root) -> std::collections::BTreeSet<PathBuf> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = known.iter().filter(|(_, body)| matches!(&***body, Body::Elf(_) | Body::Script(_)));
        whole.filter_map(|(path, _)| root.canonical(path).ok()).collect()
    }

    /// Everything that keeps the program at `path` from being started; nothing when it starts.
    pub fn of_program(&self, facts: &Facts, path: &Path) -> Result<Vec<Broken>, Skip> {
        let mut all = Vec::new();
        let mut path = path.to_owned();
        let mut needed_by = path.clone();
        // A script's interpreter may be a script, four deep (Linux's binfmt_script).
        for _ in 0..5 {
            let elf = match &*self.look(facts.root(), &path) {
                Body::Unknown(why) => return Err(Skip::Unknown(why.clone())),
                Body::Broken(fault) => {
                    all.push(Broken { path: place(facts.root(), &path, fault), fault: fault.clone(), needed_by });
                    return Ok(all);
                }
                body => {
                    if let Ok(Metadata { mode, .. }) = facts.root().stat(&path)
                        && mode & 0o111 == 0
                    {
                        let fault = Fault::NotExecutable(mode);
                        all.push(Broken {
                            path: place(facts.root(), &path, &fault),
                            fault,
                            needed_by: needed_by.clone(),
                        });
                    }
                    match body {
                        Body::Elf(elf) => elf.clone(),
                        Body::Script(interpreter) => {
                            needed_by = std::mem::replace(&mut path, interpreter.clone());
                            continue;
                        }
                        _ => return Ok(all),
                    }
                }
            };
            if let Some(loader) = &elf.interpreter {
                let loader = path_of(loader.as_bstr());
                let fault = match &*self.look(facts.root(), &loader) {
                    Body::Broken(fault) => Some(fault.clone()),
                    Body::Unknown(why) => return Err(Skip::Unknown(why.clone())),
                    Body::Elf(other) if other.abi != elf.abi => Some(Fault::Machine(other.abi, elf.abi)),
                    _ => match facts.root().stat(&loader) {
                        Ok(metadata) if metadata.mode & 0o111 == 0 => Some(Fault::NotExecutable(metadata.mode)),
                        _ => None,
                    },
                };
                if let Some(fault) = fault {
                    let missing = matches!(fault, Fault::Missing);
                    let at = if missing { loader } else { place(facts.root(), &loader, &fault) };
                    all.push(Broken { path: at, fault, needed_by: path.clone() });
                    // Without its loader it is no matter what else is missing.
                    return Ok(all);
                }
            }
            all.extend(self.of_elf(facts, &path, &elf, elf.interpreter.as_ref().map(|path| path.as_bstr()))?);
            return Ok(all);
        }
        Ok(all)
    }

    /// Every library that `elf`, the file at `path`, or what it needs in turn, needs in vain. `loader` is the interpreter of
    /// the program that it is loaded into.
    pub fn of_elf(&self, facts: &Facts, path: &Path, elf: &Elf, loader: Option<&BStr>) -> Result<Vec<Broken>, Skip> {
        let root = facts.root();
        let musl = loader.is_some_and(|loader| loader.contains_str("ld-musl"));
        let mut all = Vec::new();
        let mut seen: HashMap<Vec<u8>, Option<PathBuf>> = HashMap::new();
        // One file that lacks a version is one fault, however many ask for it.
        let add = |all: &mut Vec<Broken>, broken: Option<Broken>| {
            all.extend(broken.filter(|broken| !all.iter().any(|known| known.path == broken.path)));
        };
        let mut queue: VecDeque<(PathBuf, Elf)> = VecDeque::from([(path.to_owned(), elf.clone())]);
        if loader.is_some() && !musl {
            // A preloaded library that is missing is passed over with a message; one that is there brings its needs along.
            for name in &self.preload {
                let Ok(path) = self.find(facts, name.as_os_str().as_bytes(), (path, elf), (path, elf), musl)? else {
                    continue;
                };
                if let Body::Elf(found) = &*self.look(root, &path) {
                    queue.push_back((path, found.clone()));
                }
            }
        }
        while let Some((by, its)) = queue.pop_front() {
            for name in &its.needed {
                if musl && is_musl_itself(name) {
                    continue;
                }
                // It is loaded once, and must have the versions that each of its users asks for.
                if let Some(found) = seen.get(name.as_slice()) {
                    if let Some(found) = found
                        && let Body::Elf(next) = &*self.look(root, found)
                    {
                        add(&mut all, lacks_version(facts, (found, next), name, (&by, &its)));
                    }
                    continue;
                }
                if seen.len() > CLOSURE_LIMIT {
                    continue;
                }
                match self.find(facts, name, (&by, &its), (path, elf), musl)? {
                    Ok(found) => {
                        if let Body::Elf(next) = &*self.look(root, &found) {
                            add(&mut all, lacks_version(facts, (&found, next), name, (&by, &its)));
                            add(&mut all, shadows::unfit(facts, self, &found, next.abi, &by));
                            queue.push_back((found.clone(), next.clone()));
                        }
                        seen.insert(name.to_vec(), Some(found));
                    }
                    Err((at, fault)) => {
                        seen.insert(name.to_vec(), None);
                        all.push(Broken { path: at, fault, needed_by: by.clone() });
                    }
                }
            }
        }
        Ok(all)
    }

    /// The file that is taken for the library `name`, or the one that is in the way, or is expected.
    #[allow(clippy::type_complexity, reason = "a path or why there is none")]
    fn find(
        &self,
        facts: &Facts,
        name: &[u8],
        (by, its): (&Path, &Elf),
        (program, main): (&Path, &Elf),
        musl: bool,
    ) -> Result<Result<PathBuf, (PathBuf, Fault)>, Skip> {
        let root = facts.root();
        let file = Path::new(OsStr::from_bytes(name));
        if name.contains(&b'/') {
            return Ok(match &*self.look(root, file) {
                Body::Elf(found) if found.abi == its.abi => Ok(file.to_owned()),
                Body::Elf(found) => Err((file.to_owned(), Fault::Machine(found.abi, its.abi))),
                Body::Broken(fault) => Err((place(root, file, fault), fault.clone())),
                Body::Unknown(why) => return Err(Skip::Unknown(why.clone())),
                Body::Script(_) => Err((file.to_owned(), Fault::Garbage)),
            });
        }
        let mut dirs: Vec<(PathBuf, bool)> = Vec::new();
        let mut own = |list: &[BString], of: &Path| {
            dirs.extend(list.iter().filter_map(|dir| expand(root, dir, of, its.abi)).map(|dir| (dir, true)));
        };
        if its.runpath.is_empty() {
            own(&its.rpath, by);
            if main.runpath.is_empty() {
                own(&main.rpath, program);
            }
        }
        own(&its.runpath, by);
        let private = dirs.len();
        let defaults = if musl { musl_dirs(facts, its.abi)? } else { default_dirs(its.abi) };
        // ldconfig leaves broken files out of its cache, so that those in its directories stand in nobody's way.
        if !musl {
            dirs.extend(self.conf.iter().filter(|dir| !defaults.contains(dir)).map(|dir| (dir.clone(), false)));
        }
        dirs.extend(defaults.iter().map(|dir| (dir.clone(), true)));
        let mut in_the_way = None;
        for (dir, decisive) in &dirs {
            let candidate = dir.join(file);
            match &*self.look(root, &candidate) {
                Body::Elf(found) if found.abi == its.abi && found.loadable => return Ok(Ok(candidate)),
                // Of another class or machine: the linker looks on.
                Body::Elf(found) => {
                    in_the_way.get_or_insert((candidate, Fault::Machine(found.abi, its.abi)));
                }
                Body::Broken(Fault::Missing) => {}
                Body::Broken(fault) => {
                    let broken = (place(root, &candidate, fault), fault.clone());
                    // A link that leads nowhere is as good as none.
                    if *decisive && !matches!(fault, Fault::Dangling(_)) {
                        return Ok(Err(broken));
                    }
                    in_the_way.get_or_insert(broken);
                }
                Body::Script(_) => {
                    in_the_way.get_or_insert((candidate, Fault::Garbage));
                }
                Body::Unknown(why) => return Err(Skip::Unknown(why.clone())),
            }
        }
        // Variants for better processors, and relics: tls, i686, sse2.
        for dir in dirs.iter().map(|(dir, _)| dir) {
            for sub in ["glibc-hwcaps", "tls"] {
                for entry in root.read_dir(dir.join(sub)).unwrap_or_default() {
                    let candidate = dir.join(sub).join(&entry.name).join(file);
                    if matches!(&*self.look(root, &candidate), Body::Elf(found) if found.abi == its.abi) {
                        return Ok(Ok(candidate));
                    }
                }
            }
        }
        Ok(Err(in_the_way.unwrap_or_else(|| (expected(facts, &dirs, private, &defaults, file), Fault::Missing))))
    }
}

/// Whether `library`, found for `name`, lacks a version that `user` asks for (elf/dl-version.c). To one without any versions
/// the linker is lenient. To blame is the one that is not as its package brought it.
fn lacks_version(
    facts: &Facts,
    (library, its): (&Path, &Elf),
    name: &[u8],
    (user, asks): (&Path, &Elf),
) -> Option<Broken> {
    let asked = asks.versions_needed.iter().filter(|(file, _)| *file == name).map(|(_, version)| version);
    let mut asked = asked.filter(|version| !its.versions.contains(version)).peekable();
    // Whether a file is as its package brought it is asked only where that matters.
    asked.peek()?;
    // One without versions that its package does not know is another library under this name.
    let bears = its.versions.is_empty() && (asks.versions_needed.is_empty() || !is_altered(facts, library));
    let version = asked.next().filter(|_| !bears)?;
    let real = |path: &Path| facts.root().canonical(path).unwrap_or_else(|_| path.to_owned());
    let (library, user) = (real(library), real(user));
    let is_odd = || is_altered(facts, &user) || shadows::is_foreign(facts, &user);
    let (path, fault) = if is_odd() && !is_altered(facts, &library) && !shadows::is_foreign(facts, &library) {
        (user.clone(), Fault::NeedsVersion(version.clone(), library))
    } else {
        (library, Fault::Version(version.clone(), user.clone()))
    };
    Some(Broken { path, fault, needed_by: user })
}

/// Whether the content of a file is not that of its package; false where no package tells.
fn is_altered(facts: &Facts, path: &Path) -> bool {
    let Ok(packages) = facts.get::<Packages>() else { return false };
    let digest = packages.file(path).and_then(|file| packages.digest(facts.root(), file));
    digest.is_some_and(|digest| facts.root().fits(path, &digest).is_ok_and(|fits| !fits))
}

/// Where a file that is found nowhere should be: where the donor has it or a package brought it. What no package knows of
/// is expected in the directories that its user names itself, the first `private` ones; everything else beside the C library.
fn expected(facts: &Facts, dirs: &[(PathBuf, bool)], private: usize, defaults: &[PathBuf], file: &Path) -> PathBuf {
    let packages = facts.get::<Packages>().ok();
    let on_donor = |dir: &Path| facts.donor().is_some_and(|donor| donor.root().metadata(dir.join(file)).is_ok());
    let packaged = |dir: &Path| packages.as_ref().is_some_and(|packages| packages.file(&dir.join(file)).is_some());
    let beside = |dir: &Path| ["libc.so.6", "libc.so"].iter().any(|name| facts.root().metadata(dir.join(name)).is_ok());
    let is_there = |dir: &Path| facts.root().stat(dir).is_ok_and(|metadata| metadata.is_dir());
    let known = || dirs.iter().map(|(dir, _)| dir);
    let whole = packages.as_ref().is_some_and(|packages| packages.damage.is_empty());
    let dir = known()
        .find(|dir| on_donor(dir))
        .or_else(|| known().find(|dir| packaged(dir)))
        .or_else(|| known().take(private).find(|dir| whole && is_there(dir)))
        .or_else(|| defaults.iter().find(|dir| beside(dir)))
        .or_else(|| defaults.iter().find(|dir| is_there(dir)))
        .or_else(|| defaults.first());
    real_parent(facts.root(), &dir.map_or(Path::new("/lib"), PathBuf::as_path).join(file))
}

/// The path with the links in its directories followed.
fn real_parent(root: &Root, path: &Path) -> PathBuf {
    let real = path.parent().and_then(|dir| root.canonical(dir).ok()).zip(path.file_name());
    real.map_or_else(|| path.to_owned(), |(dir, name)| dir.join(name))
}

/// The file itself where a link leads to a broken one, so that the same file has one name.
fn place(root: &Root, path: &Path, fault: &Fault) -> PathBuf {
    match fault {
        Fault::Missing => path.to_owned(),
        Fault::Dangling(_) => real_parent(root, path),
        _ => root.canonical(path).unwrap_or_else(|_| path.to_owned()),
    }
}

fn look(root: &Root, path: &Path) -> Body {
    let metadata = match root.stat(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return match error.reason {
                Reason::NotFound | Reason::NotADirectory | Reason::LinkLoop => {
                    Body::Broken(match root.read_link(path) {
                        Ok(target) => Fault::Dangling(target),
                        Err(_) => Fault::Missing,
                    })
                }
                _ => Body::Unknown(Text::verbatim(error.to_string())),
            };
        }
    };
    match metadata.kind {
        FileKind::File if metadata.size == 0 => return Body::Broken(Fault::Empty),
        FileKind::File => {}
        kind => return Body::Broken(Fault::NotAFile(kind)),
    }
    let head = match root.read_head(path, 256) {
        Ok(head) => head,
        Err(error) => return Body::Unknown(Text::verbatim(error.to_string())),
    };
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.lines().next().unwrap_or_default();
        let word = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty()).unwrap_or_default();
        return Body::Script(path_of(word.trim_ascii_end().as_bstr()));
    }
    let parsed = match root.open(path) {
        // Only headers and the dynamic section are read, not whole libraries.
        Ok(file) => elf::parse(&ReadCache::new(file)),
        Err(error) => return Body::Unknown(Text::verbatim(error.to_string())),
    };
    match parsed {
        Ok(elf) if elf.is_truncated() => Body::Broken(Fault::CutOff { size: elf.size, wanted: elf.wanted }),
        Ok(elf) => Body::Elf(elf),
        Err(NotElf::Header) => Body::Broken(Fault::Damaged),
        Err(NotElf::Magic) => Body::Broken(Fault::Garbage),
    }
}

/// Debian's name of the architecture, which its library directories have: `x86_64-linux-gnu`.
pub fn multiarch(abi: Abi) -> Option<&'static str> {
    // EM_X86_64, EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_S390, EM_RISCV, EM_LOONGARCH (elf.h).
    Some(match (abi.machine, abi.is_64, abi.big_endian) {
        (62, true, _) => "x86_64-linux-gnu",
        (62, false, _) => "x86_64-linux-gnux32",
        (3, ..) => "i386-linux-gnu",
        (183, ..) => "aarch64-linux-gnu",
        (40, ..) => "arm-linux-gnueabihf",
        (21, _, false) => "powerpc64le-linux-gnu",
        (21, _, true) => "powerpc64-linux-gnu",
        (22, ..) => "s390x-linux-gnu",
        (243, ..) => "riscv64-linux-gnu",
        (258, ..) => "loongarch64-linux-gnu",
        _ => return None,
    })
}

/// The directories that the distributions build into glibc's ld.so.
pub fn default_dirs(abi: Abi) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Some(name) = multiarch(abi) {
        dirs.extend([format!("/lib/{name}"), format!("/usr/lib/{name}")]);
    }
    if abi.machine == 40 {
        dirs.extend(["/lib/arm-linux-gnueabi".to_owned(), "/usr/lib/arm-linux-gnueabi".to_owned()]);
    }
    let plain: &[&str] = if abi.is_64 {
        &["/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    } else {
        &["/lib", "/usr/lib", "/lib32", "/usr/lib32", "/libx32", "/usr/libx32"]
    };
    // RISC-V keeps the ABI in a directory of its own.
    let abi_dirs: &[&str] = if abi.machine == 243 { &["/lib64/lp64d", "/usr/lib64/lp64d"] } else { &[] };
    dirs.extend(abi_dirs.iter().chain(plain).map(|dir| (*dir).to_owned()));
    dirs.into_iter().map(PathBuf::from).collect()
}

/// The directories that musl searches: those of its path file, else the built-in ones.
fn musl_dirs(facts: &Facts, abi: Abi) -> Result<Vec<PathBuf>, Skip> {
    let arch = match (abi.machine, abi.is_64) {
        (62, true) => "x86_64",
        (3, _) => "i386",
        (183, _) => "aarch64",
        (40, _) => "armhf",
        (21, _) => "powerpc64le",
        (22, _) => "s390x",
        (243, _) => "riscv64",
        (258, _) => "loongarch64",
        _ => "",
    };
    let file = facts.file(format!("/etc/ld-musl-{arch}.path"))?;
    Ok(match file {
        Some(file) => ld_so::musl_path(&file.bytes).into_iter().map(path_of).collect(),
        None => ["/lib", "/usr/local/lib", "/usr/lib"].iter().map(PathBuf::from).collect(),
    })
}

/// Names that musl's loader answers for itself.
fn is_musl_itself(name: &[u8]) -> bool {
    const OWN: [&[u8]; 7] = [b"c.", b"pthread.", b"rt.", b"m.", b"dl.", b"util.", b"xnet."];
    name.strip_prefix(b"lib").is_some_and(|rest| OWN.iter().any(|own| rest.starts_with(own)))
}

/// A directory of RPATH or RUNPATH with `$ORIGIN` and `$LIB` filled in.
fn expand(root: &Root, dir: &[u8], by: &Path, abi: Abi) -> Option<PathBuf> {
    let mut dir = dir.to_vec();
    if dir.contains(&b'$') {
        let real = root.canonical(by).unwrap_or_else(|_| by.to_owned());
        let origin = real.parent()?.as_os_str().as_bytes().to_vec();
        let lib = if abi.is_64 { "lib64" } else { "lib" };
        for (name, value) in [("ORIGIN", origin.as_slice()), ("LIB", lib.as_bytes())] {
            dir = dir.replace(format!("${{{name}}}"), value).replace(format!("${name}"), value);
        }
    }
    (dir.starts_with(b"/") && !dir.contains(&b'$')).then(|| PathBuf::from(OsStr::from_bytes(&dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_stars_are_no_riddle() {
        assert!(fits(b"libc.conf", b"*.conf") && fits(b"abc", b"a*?c*") && fits(b"", b"**"));
        assert!(!fits(b"libc.conf.old", b"*.conf") && !fits(b"", b"?") && !fits(b"ab", b"a"));
        assert!(!fits(&[b'a'; 200], format!("{}b", "*a".repeat(24)).as_bytes()));
    }

    #[test]
    fn patterns() {
        assert!(fits(b"libc.conf", b"*.conf"));
        assert!(fits(b"libc.conf", b"lib?.c*"));
        assert!(!fits(b"libc.conf.bak", b"*.conf"));
        assert!(!fits(b"", b"?"));
    }

    #[test]
    fn musl_answers_for_the_c_library() {
        assert!(is_musl_itself(b"libc.musl-x86_64.so.1") && is_musl_itself(b"libpthread.so.0"));
        assert!(!is_musl_itself(b"libcrypto.so.3"));
    }
}
