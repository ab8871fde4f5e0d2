//! The programs on the way to a prompt and all that they are loaded with.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::ld_so;
use sickbay_target::Root;

use crate::facts::Facts;
use crate::facts::packages::Packages;
use crate::facts::packages::libraries::{Body, Fault, Libraries, default_dirs};
use crate::facts::packages::programs::{Culprit, Program, Programs, Role};
use crate::mend::restore::restore;
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "No working init found", "error while loading shared libraries: …", or an ssh connection that is closed
    /// before the prompt.
    ///
    /// ## What it finds
    /// A program needed between power-on and a login prompt (init, agetty, login, root's shell, `/bin/sh`, sshd,
    /// unix_chkpwd, su, sudo) that cannot be started: its file, its loader (`/lib64/ld-linux-x86-64.so.2`), or a
    /// library that it needs, directly or through another library, is missing, empty, truncated, damaged or for another
    /// architecture, or nobody can execute it. Libraries are searched where ld.so would: RPATH, RUNPATH,
    /// `/etc/ld.so.conf`, the built-in directories; the way musl does where that is the C library. Every broken file is
    /// one finding that lists the programs it stops.
    ///
    /// ## Why it matters
    /// The kernel panics without init ("No working init found"), a login ends in "error while loading shared
    /// libraries", an ssh connection is closed before it begins. An empty libc.so.6 stops all of them at once.
    ///
    /// ## What the repair does
    /// Makes the link of a library whose file is there, as ldconfig does. Copies the file from a donor (`--donor ROOT`),
    /// with the links that lead to it. Moves aside a library that no
    /// package installed and that takes precedence over the system's own, and removes it from ld.so's cache. Makes
    /// `/sbin/init` lead to systemd again, and makes programs executable again.
    ///
    /// ## By hand
    /// ```sh
    /// # reinstall the package from a chroot, or copy the file from a machine of the same release
    /// ldd ROOT/usr/bin/login
    /// chroot ROOT apt-get install --reinstall PACKAGE
    /// ```
    "login-program-broken", Login, seed = ["L3", "C2"], proves = [Init, Shell, PamLogin, Sshd],
    "a program needed for a login prompt cannot be started"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let programs = facts.get::<Programs>()?;
    if programs.all.is_empty() {
        return Err(Skip::NotApplicable(tr!("there is neither an init nor a shell")));
    }
    for (path, culprit) in &programs.culprits {
        // Where nothing has the shell, another one helps: that is for `root-shell-missing` to say.
        let is_shell = |(program, _): &(Program, _)| program.role == Role::Shell && program.path == *path;
        if culprit.programs.iter().all(is_shell) && !facts.root().exists(path)? && restore(facts, path).is_none() {
            continue;
        }
        let severity = culprit.programs.iter().map(|(program, _)| severity(program)).min().unwrap_or(Severity::Error);
        let finding = found.add(severity, culprit.fault.message(path));
        finding.at_path(path).explains(path);
        about_links(facts.root(), finding, path);
        let mut names: Vec<String> =
            culprit.programs.iter().map(|(program, _)| program.path.display().to_string()).collect();
        names.dedup();
        let itself = names.len() == 1 && names.iter().all(|name| same(facts.root(), name, path));
        finding.why(match culprit.programs.first() {
            Some((program, _)) if itself => why(program),
            _ if stops_all(&programs, culprit) => {
                tr!("no program starts: the kernel finds nothing to run as process 1 and panics")
            }
            _ => tr!("these programs do not start: {programs}", programs = names.join(", ")),
        });
        finding.detail("programs", names.clone());
        for (program, needed_by) in &culprit.programs {
            if !itself && needed_by != path {
                finding.evidence(needed_by.display().to_string(), format!("needs {}", path.display()));
            }
            for stage in &program.stops {
                if !finding.stops.contains(stage) {
                    finding.stops(*stage);
                }
            }
        }
        finding.evidence.dedup();
        finding.evidence.truncate(8);
        offer(facts, finding, path, &culprit.fault);
    }
    match &programs.untold {
        Some(skip) => Err(skip.clone()),
        None => Ok(()),
    }
}

/// Whether not one of the programs that the system's loader loads starts.
fn stops_all(programs: &Programs, culprit: &Culprit) -> bool {
    let is_stopped = |program: &Program| culprit.programs.iter().any(|(other, _)| other.path == program.path);
    let has_init = programs.all.iter().any(|program| program.role == Role::Init);
    has_init && programs.all.len() > 2 && programs.all.iter().all(is_stopped)
}

fn same(root: &Root, name: &str, path: &Path) -> bool {
    Path::new(name) == path || root.canonical(name).is_ok_and(|real| real == path)
}

fn severity(program: &Program) -> Severity {
    let stops = |stages: &[Stage]| program.stops.iter().any(|stage| stages.contains(stage));
    if stops(&[Stage::Init, Stage::Shell, Stage::PamLogin]) { Severity::Critical } else { Severity::Error }
}

fn why(program: &Program) -> crate::model::text::Text {
    match program.role {
        Role::Init => tr!("the kernel finds nothing to run as process 1 and panics"),
        Role::Getty => tr!("no terminal shows a login prompt"),
        Role::Login => tr!("the console asks for a user name but cannot ask for a password"),
        Role::Shell => tr!("root's login ends as soon as the right password is entered"),
        Role::Sh => tr!("scripts, and commands that programs run through a shell, do not work"),
        Role::Sshd => tr!("there is no login over ssh"),
        Role::UnixChkpwd => tr!("PAM cannot check passwords for programs that may not read /etc/shadow"),
        Role::Su => tr!("nobody can switch to another user with it"),
    }
}

/// A path that is missing may be so because a link on the way to it is gone.
fn about_links(root: &Root, finding: &mut Finding, path: &Path) {
    let mut next = path.to_owned();
    for _ in 0..8 {
        let Ok(target) = root.read_link(&next) else { return };
        next = next.parent().unwrap_or(Path::new("/")).join(target);
        // `..` is resolved by name alone, for nothing is there to ask.
        let mut plain = std::path::PathBuf::new();
        for part in next.components() {
            if part == std::path::Component::ParentDir {
                plain.pop();
            } else {
                plain.push(part);
            }
        }
        finding.about(&plain);
        if root.metadata(&plain).is_err() {
            finding.explains(&plain);
        }
        next = plain;
    }
}

/// A library that no package brought, in a directory that ld.so looks into before the system's own, where one of that name is.
struct Shadow {
    /// The file and the links that lead to it.
    paths: Vec<std::path::PathBuf>,
    /// What would be taken without it.
    right: std::path::PathBuf,
    /// The file of ld.so.conf that names its directory.
    conf: Option<std::path::PathBuf>,
}

impl Shadow {
    fn of(facts: &Facts, path: &Path) -> Option<Shadow> {
        let root = facts.root();
        let (packages, libraries) = (facts.get::<Packages>().ok()?, facts.get::<Libraries>().ok()?);
        let body = libraries.look(root, path);
        let Body::Elf(elf) = &*body else { return None };
        let dirs = default_dirs(elf.abi);
        let dir = path.parent()?;
        if packages.file(path).is_some() || dirs.iter().any(|known| root.canonical(known).is_ok_and(|it| it == dir)) {
            return None;
        }
        let entries = root.read_dir(dir).ok()?;
        let paths: Vec<_> = entries
            .iter()
            .map(|entry| dir.join(&entry.name))
            .filter(|other| other == path || root.canonical(other).is_ok_and(|real| real == path))
            .collect();
        let of_system = |name: &std::ffi::OsStr| {
            let places = dirs.iter().map(|dir| dir.join(name));
            places.into_iter().find(|place| root.stat(place).is_ok_and(|it| it.is_file() && it.size > 0))
        };
        let right = paths.iter().filter_map(|path| path.file_name()).find_map(of_system)?;
        let names_it = |conf: &std::path::PathBuf| {
            facts.file(conf).ok().flatten().is_some_and(|file| {
                ld_so::conf(&file.bytes).iter().any(
                    |entry| matches!(entry, ld_so::Entry::Dir(named) if root.canonical(named.to_path_lossy()).is_ok_and(|it| it == dir)),
                )
            })
        };
        let dropped = root.read_dir("/etc/ld.so.conf.d").unwrap_or_default();
        let dropped = dropped.into_iter().map(|entry| Path::new("/etc/ld.so.conf.d").join(entry.name));
        let conf = dropped.chain([std::path::PathBuf::from("/etc/ld.so.conf")]).find(names_it);
        Some(Shadow { paths, right, conf })
    }

    /// Moves it away, under a name that ldconfig passes over, and takes it out of ld.so's cache.
    fn offer(&self, facts: &Facts, finding: &mut Finding) {
        let root = facts.root();
        match &self.conf {
            Some(conf) => finding.note(tr!(
                "no package owns it; ld.so picks it instead of {right}, because {conf} lists its directory first",
                right = self.right.as_path(),
                conf = conf.as_path()
            )),
            None => {
                finding.note(tr!("no package owns it; ld.so picks it instead of {right}", right = self.right.as_path()))
            }
        };
        let mut changes = Vec::new();
        for path in &self.paths {
            let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
                return;
            };
            let aside = dir.join(format!("foreign.{name}"));
            if root.metadata(&aside).is_ok() {
                return;
            }
            let Ok(now) = root.metadata(path) else { return };
            if now.is_file() {
                let Ok(content) = root.read_up_to(path, 256 << 20) else { return };
                let owner = (now.uid, now.gid);
                changes.push(Change::Create { path: aside, content, mode: now.mode, owner });
            }
            changes.push(Change::Remove { path: path.clone() });
        }
        if let Ok(Some(cache)) = facts.file("/etc/ld.so.cache")
            && let Some(text) =
                ld_so::cache_without(&cache.bytes, |path| self.paths.iter().any(|gone| *gone == path.to_path_lossy()))
        {
            changes.push(Change::edit(&cache, text));
        }
        let Some(first) = self.paths.first() else { return };
        let title = tr!("move {path} out of ld.so's way, as foreign.*, and out of its cache", path = first.as_path());
        finding.repair(Risk::Safe, title, changes);
    }
}

/// The library beside `path` that calls itself by its name, the newest if there are several: what ldconfig(8) makes a link to.
fn linked_by_ldconfig(facts: &Facts, path: &Path) -> Option<(PathBuf, PathBuf)> {
    let root = facts.root();
    let libraries = facts.get::<Libraries>().ok()?;
    let name = path.file_name()?.to_str()?;
    let (stem, _) = name.split_once(".so")?;
    let dir = root.canonical(path.parent()?).ok()?;
    let mut found: Vec<(Vec<u64>, String)> = root
        .read_dir(&dir)
        .ok()?
        .into_iter()
        .filter_map(|entry| entry.name.into_string().ok())
        // `libfoo.so.1.2` and `libfoo-1.2.so`
        .filter(|other| other.starts_with(stem) && other.contains(".so") && other != name)
        .filter(|other| {
            let file = dir.join(other);
            root.metadata(&file).is_ok_and(|metadata| metadata.is_file())
                && matches!(&*libraries.look(root, &file), Body::Elf(elf) if elf.soname.as_ref().is_some_and(|soname| soname == name))
        })
        .map(|other| (other.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect(), other))
        .collect();
    found.sort();
    let (_, newest) = found.pop()?;
    Some((dir.join(name), PathBuf::from(newest)))
}

fn offer(facts: &Facts, finding: &mut Finding, path: &Path, fault: &Fault) {
    let root = facts.root();
    if let Fault::NotExecutable(mode) = fault {
        let donor = facts.donor().and_then(|donor| donor.root().stat(path).ok());
        let after = donor.map_or(0o755, |donor| donor.mode);
        let text = tr!("set the mode of {path} to {mode}", path, mode = format!("{after:04o}"));
        finding.repair(Risk::Safe, text, [Change::Mode { path: path.to_owned(), before: *mode, after }]);
        return;
    }
    if matches!(path.to_str(), Some("/sbin/init" | "/usr/sbin/init"))
        && matches!(fault, Fault::Missing | Fault::Dangling(_) | Fault::Empty)
    {
        let systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
        let real = |target: &&str| root.stat(target).is_ok_and(|metadata| metadata.is_file() && metadata.size > 0);
        if let Some(target) = systemd.iter().find(|target| real(target))
            && !matches!(fault, Fault::Empty)
        {
            let text = tr!("link {path} to {target}", path, target = *target);
            let dir = path.parent().and_then(|dir| root.canonical(dir).ok()).unwrap_or_else(|| "/sbin".into());
            finding.repair(Risk::Safe, text, [Change::link(dir.join("init"), target)]);
            return;
        }
    }
    if let Some(shadow) = Shadow::of(facts, path) {
        shadow.offer(facts, finding);
        return;
    }
    if matches!(fault, Fault::Missing | Fault::Dangling(_))
        && let Some((link, target)) = linked_by_ldconfig(facts, path)
    {
        let title = tr!(
            "link {path} to {target}, which has that name in it (SONAME), as ldconfig does",
            path = link.as_path(),
            target = target.as_path()
        );
        finding.repair(Risk::Safe, title, [Change::link(&link, &target)]);
    }
    match restore(facts, path) {
        Some(restoration) => {
            // A link that is gone often went with its file.
            for change in restoration.changes.iter().filter(|change| !matches!(change, Change::MakeDir { .. })) {
                if let Some(path) = change.path() {
                    finding.explains(path);
                }
            }
            finding.repair(restoration.risk, restoration.title, restoration.changes);
        }
        None => {
            finding.by_hand(tr!(
                "reinstall the package that provides {path}, or supply a root of the same release with --donor",
                path
            ));
        }
    }
}
