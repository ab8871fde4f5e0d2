//! The programs on the way to a prompt and all that they are loaded with.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::{ld_so, lines};
use sickbay_target::Root;

use crate::facts::Facts;
use crate::facts::packages::libraries::{Body, Fault, Libraries};
use crate::facts::packages::programs::{Culprit, Program, Programs, Role};
use crate::facts::packages::shadows::Shadow;
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
    /// one finding that lists the programs it stops. So is a library in `/usr/local` or `/opt` that ld.so takes instead of
    /// the system's, and that lacks a version or a symbol they need ("version `GLIBC_2.34' not found", "symbol lookup error"),
    /// or is an OpenSSL that sshd refuses ("OpenSSL version mismatch").
    ///
    /// ## Why it matters
    /// The kernel panics without init ("No working init found"), a login ends in "error while loading shared
    /// libraries", an ssh connection is closed before it begins. An empty libc.so.6 stops all of them at once.
    ///
    /// ## What the repair does
    /// Makes the link of a library whose file is there, as ldconfig does. Copies the file from a donor (`--donor ROOT`),
    /// with the links that lead to it. Moves aside a library that no
    /// package installed and that takes precedence over the system's own, and removes it from ld.so's cache; where a package
    /// did install it, takes its directory out of `/etc/ld.so.conf.d` (risky). Makes
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

/// What can be done about a library that stands in the system's place.
fn offer_shadow(shadow: &Shadow, facts: &Facts, finding: &mut Finding) {
    let root = facts.root();
    let right = shadow.right.as_path();
    match (&shadow.conf, shadow.packaged) {
        (Some((conf, _)), false) => finding.note(tr!(
            "no package owns it; ld.so picks it instead of {right}, because {conf} lists its directory first",
            right,
            conf = conf.as_path()
        )),
        (None, false) => finding.note(tr!("no package owns it; ld.so picks it instead of {right}", right)),
        (Some((conf, _)), true) => finding.note(tr!(
            "ld.so picks it instead of {right}, because {conf} lists its directory first",
            right,
            conf = conf.as_path()
        )),
        (None, true) => finding.note(tr!("ld.so picks it instead of {right}", right)),
    };
    if shadow.packaged {
        return take_directory_out(shadow, facts, finding);
    }
    let mut changes = Vec::new();
    for path in &shadow.paths {
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
    changes.extend(cache_without(facts, |gone| shadow.paths.iter().any(|path| path == gone)));
    let Some(first) = shadow.paths.first() else { return };
    let title = tr!("move {path} out of ld.so's way, as foreign.*, and out of its cache", path = first.as_path());
    finding.repair(Risk::Safe, title, changes);
}

/// Takes the directory of a package's library out of ld.so's search: its own programs may need another way to it then.
fn take_directory_out(shadow: &Shadow, facts: &Facts, finding: &mut Finding) {
    let (Some((conf, line)), Some(dir)) = (&shadow.conf, shadow.paths.first().and_then(|path| path.parent())) else {
        return;
    };
    let Ok(Some(file)) = facts.file(conf) else { return };
    let mut changes = vec![Change::edit(&file, lines::with_comment(&file.bytes, *line))];
    changes.extend(cache_without(facts, |path| path.parent().is_some_and(|its| its == dir)));
    finding.repair(
        Risk::Risky,
        tr!(
            "take {dir} out of {conf} and of ld.so's cache: programs of its own may need LD_LIBRARY_PATH then",
            dir,
            conf = conf.as_path()
        ),
        changes,
    );
}

/// ld.so's cache without some paths.
fn cache_without(facts: &Facts, is_gone: impl Fn(&Path) -> bool) -> Option<Change> {
    let cache = facts.file("/etc/ld.so.cache").ok()??;
    let text = ld_so::cache_without(&cache.bytes, |path| is_gone(&path.to_path_lossy()))?;
    Some(Change::edit(&cache, text))
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
        offer_shadow(&shadow, facts, finding);
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
