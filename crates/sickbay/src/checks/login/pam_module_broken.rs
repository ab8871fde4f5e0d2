//! Modules of PAM and of the name service that cannot be loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sickbay_formats::nsswitch::{Entry as Line, entries};
use sickbay_formats::pam::{self, Action, Kind, code};

use sickbay_target::Root;

use crate::facts::Facts;
use crate::facts::login::pam::judge::{Attempt, Judgement, User, judge_kinds};
use crate::facts::login::pam::path::Modules;
use crate::facts::login::pam::{Call, Entry, Pam, Service};
use crate::facts::packages::Packages;
use crate::facts::packages::libraries::{Body, Broken, Fault, Libraries, multiarch};
use crate::facts::packages::programs::{Programs, Role};
use crate::mend::restore::restore;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, mend, tr};

check! {
    /// ## Symptom
    /// You see: "Authentication failure" with the right password; in the log "PAM unable to dlopen(pam_unix.so)" and
    /// "PAM adding faulty module".
    ///
    /// ## What it finds
    /// A module named in the PAM files of `login`, `sshd`, `su` or `sudo` (`pam_unix.so`), or one that
    /// `/etc/nsswitch.conf` needs for users (`libnss_files.so.2`), that is missing, empty, truncated, damaged, for
    /// another architecture, or whose own libraries are. Modules are searched where libpam does: `/lib64/security`,
    /// `/lib/x86_64-linux-gnu/security`, absolute paths. What may be missing is not a finding: rules with a `-` before
    /// them, `optional` ones, `module_unknown=ignore`, name services that are not installed.
    ///
    /// ## Why it matters
    /// libpam fails the rule, and with pam_unix every login. sshd and login report nothing but "Authentication
    /// failure".
    ///
    /// ## What the repair does
    /// Copies the file from a donor (`--donor ROOT`), with the links that lead to it. A name that differs by one or two
    /// letters from that of a module is corrected. Where no installed package has the module (pam_tally2 left over with
    /// Linux-PAM 1.5, or one from another vendor whose library is gone), its rules are commented out: a rule whose
    /// module cannot be loaded protects nothing. That is safe where the rule keeps everyone out, and risky where it
    /// only fails now and then.
    ///
    /// ## By hand
    /// ```sh
    /// # from a chroot
    /// apt-get install --reinstall libpam-modules
    /// dnf reinstall pam glibc
    /// ```
    "pam-module-broken", Login, seed = ["L3", "C2"], proves = [PamLogin, PamSshd, Account],
    "a PAM or name service module cannot be loaded"
}

/// What a broken file does.
struct Damage {
    fault: Fault,
    /// `/etc/pam.d/login:7`, and what the line says.
    asked_by: Vec<(String, String)>,
    /// The rules of PAM that name it.
    rules: Vec<Entry>,
    severity: Severity,
    stops: Vec<Stage>,
    /// Services that let nobody in because of it.
    shut: Vec<String>,
    /// su and its like, that let nobody in either.
    also: Vec<String>,
    /// With all modules there a wrong password would be let in.
    opens: bool,
    why: Text,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let mut all: BTreeMap<PathBuf, Damage> = BTreeMap::new();
    let pam = match facts.get::<Pam>() {
        Ok(pam) => {
            of_pam(facts, &pam, &mut all)?;
            None
        }
        Err(skip @ Skip::NotApplicable(_)) => Some(skip),
        Err(skip) => return Err(skip),
    };
    of_names(facts, &mut all)?;
    if let Some(skip) = pam
        && all.is_empty()
    {
        return Err(skip);
    }
    let programs = facts.get::<Programs>()?;
    // All modules gone at once are one fault: their directory.
    let modules = facts.get::<Modules>()?;
    if modules.dirs.is_empty() && all.len() > 3 {
        return no_directory(facts, found, &all);
    }
    for (path, damage) in all {
        // A library that programs need too is a finding about these.
        if programs.culprits.contains_key(&path) {
            continue;
        }
        let finding = found.add(damage.severity, damage.fault.message(&path));
        finding.at_path(&path).explains(&path).why(match damage.shut.is_empty() {
            true => damage.why,
            false => {
                let all: Vec<&str> = damage.shut.iter().chain(&damage.also).map(String::as_str).collect();
                tr!("every login through {services} is rejected", services = all.join(", "))
            }
        });
        for (source, text) in damage.asked_by.into_iter().take(8) {
            finding.evidence(source, text);
        }
        for stage in &damage.stops {
            finding.stops(*stage);
        }
        match restore(facts, &path).filter(|_| !damage.opens) {
            Some(restoration) => {
                finding.repair(restoration.risk, restoration.title, restoration.changes);
            }
            None => {
                let named: Vec<_> = damage.rules.iter().map(|entry| &entry.file).collect();
                if let Some(meant) = mend::pam::respelt(facts, &path, &named, &modules.dirs)? {
                    finding.repair(meant.risk, meant.title, meant.changes);
                } else if let Some(changes) = without_rules(facts, &damage.rules)? {
                    let module = damage.rules.iter().find_map(|entry| entry.rule.module.as_ref());
                    let module = module.map(|word| word.text.clone()).unwrap_or_default();
                    let title = tr!("comment out the rules that name {module}: no package has it", module);
                    // What cannot be loaded guards nothing; only where it keeps everybody out is that worse than nothing.
                    let risk =
                        if damage.stops.is_empty() || is_of_linux_pam(&module) { Risk::Risky } else { Risk::Safe };
                    finding.repair(risk, title, changes);
                } else {
                    finding.by_hand(tr!(
                        "reinstall the package that provides {path}, or supply a root of the same release with --donor",
                        path = path.as_path()
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The files without the rules of modules that left with their package, were dropped from a newer one, such as pam_tally2
/// from Linux-PAM 1.5, or came from no package. `None` when a package has one, or when the rest would let in who shall not
/// come in.
fn without_rules(facts: &Facts, rules: &[Entry]) -> Result<Option<Vec<Change>>, Skip> {
    let modules = facts.get::<Modules>()?;
    let packages = facts.get::<Packages>();
    let mut texts = mend::pam::Edits::new();
    for entry in rules {
        let Call::Module { name, .. } = &entry.call else { continue };
        let is_missing = modules.broken(facts, name)?.iter().any(|one| one.path == one.needed_by);
        // Where nobody knows what is installed, what Linux-PAM has may come back with it.
        let foreign = match &packages {
            Ok(packages) if is_missing || !is_of_linux_pam(name) => {
                modules.places(facts, name).iter().all(|path| packages.file(path).is_none())
            }
            _ => !is_of_linux_pam(name),
        };
        if !foreign || is_decisive(name) {
            return Ok(None);
        }
        let (_, text) = texts.entry(&entry.file.path).or_insert_with(|| (&entry.file, entry.file.bytes.clone()));
        *text = pam::without(text, &entry.rule);
    }
    mend::pam::harmless(facts, texts)
}

/// Modules that Linux-PAM has brought all the time.
fn is_of_linux_pam(name: &[u8]) -> bool {
    const NAMES: [&str; 38] = [
        "access",
        "debug",
        "deny",
        "echo",
        "env",
        "exec",
        "faildelay",
        "faillock",
        "filter",
        "ftp",
        "group",
        "issue",
        "keyinit",
        "lastlog",
        "limits",
        "listfile",
        "localuser",
        "loginuid",
        "mail",
        "mkhomedir",
        "motd",
        "namespace",
        "nologin",
        "permit",
        "pwhistory",
        "rhosts",
        "rootok",
        "securetty",
        "selinux",
        "sepermit",
        "shells",
        "succeed_if",
        "time",
        "tty_audit",
        "umask",
        "unix",
        "userdb",
        "wheel",
    ];
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let stem = file.strip_prefix(b"pam_").and_then(|rest| rest.strip_suffix(b".so"));
    stem.is_some_and(|stem| NAMES.iter().any(|known| stem == known.as_bytes()))
}

fn no_directory(facts: &Facts, found: &mut Findings, all: &BTreeMap<PathBuf, Damage>) -> Verdict {
    let Some((path, _)) = all.first_key_value() else { return Ok(()) };
    let dir = path.parent().unwrap_or(path);
    let on_donor = facts.donor().is_some_and(|donor| donor.root().stat(dir).is_ok_and(|it| it.is_dir()));
    let finding = found.critical(tr!("there are no PAM modules on the system"));
    finding.at_path(dir).why(tr!("no rule can be evaluated: nobody can log in"));
    // They may have gone with a directory above.
    for searched in &facts.get::<Modules>()?.searched {
        finding.about(searched);
    }
    for stage in all.values().flat_map(|damage| &damage.stops) {
        if !finding.stops.contains(stage) {
            finding.stops(*stage);
        }
    }
    if on_donor {
        let title = tr!("copy {path} from the donor", path = dir);
        finding.repair(Risk::Risky, title, [Change::copy_from_donor(dir)]);
    } else {
        finding.by_hand(tr!(
            "reinstall the package that provides {path}, or supply a root of the same release with --donor",
            path = dir
        ));
    }
    Ok(())
}

fn of_pam(facts: &Facts, pam: &Pam, all: &mut BTreeMap<PathBuf, Damage>) -> Verdict {
    let modules = facts.get::<Modules>()?;
    let root = User::named(facts, "root")?;
    for service in &pam.services {
        let shut = refuses_without_modules(facts, service, &root)?;
        let all_say_yes = shut.is_empty() || says_yes(facts, service)?;
        let opens = service.stage.is_some()
            && matches!(mend::pam::wrong_password(facts, service, &root, false)?, Judgement::LetsIn);
        for (kind, entry) in service.entries() {
            let Call::Module { name, .. } = &entry.call else { continue };
            // A name that ends in a carriage return is another fault.
            if name.ends_with(b"\r") {
                continue;
            }
            for Broken { path, fault, needed_by } in modules.broken(facts, name)? {
                let itself = needed_by == path;
                let missing = itself && matches!(fault, Fault::Missing | Fault::Dangling(_));
                let action = entry.actions().get(code::MODULE_UNKNOWN).copied().unwrap_or(Action::Bad);
                let fails = !matches!(action, Action::Ignore);
                // A name that no module has may be meant for one that says yes: then root comes in when its rule is passed.
                let shuts = shut.contains(&kind);
                let decides = shuts
                    && (is_decisive(name)
                        || missing && all_say_yes && lets_in_when_passed(facts, service, &root, kind, entry)?);
                // Packages that are not installed leave their rules behind.
                if missing && !decides && (!fails || entry.rule.silent && shut.is_empty()) {
                    continue;
                }
                let stops = service.stage.filter(|_| shuts && (fails || decides));
                let severity = match (stops, fails) {
                    (Some(_), _) => Severity::Critical,
                    // Of login and sshd it is known that root does not come to it, or that it is not asked for.
                    (None, true) if service.stage.is_none() => Severity::Error,
                    (None, true) => Severity::Warning,
                    (None, false) => Severity::Warning,
                };
                let why = match kind {
                    Kind::Password => tr!("passwords cannot be changed"),
                    _ => tr!("a rule of {service} fails", service = service.name),
                };
                let line = entry.rule.span.line;
                let source = (format!("{}:{line}", entry.file.path.display()), entry.file.line_text(line));
                let damage = all.entry(path).or_insert_with(|| Damage {
                    fault,
                    asked_by: Vec::new(),
                    rules: Vec::new(),
                    severity,
                    stops: Vec::new(),
                    shut: Vec::new(),
                    also: Vec::new(),
                    opens,
                    why: why.clone(),
                });
                damage.opens |= opens;
                if severity < damage.severity {
                    damage.severity = severity;
                    damage.why = why;
                }
                if !damage.asked_by.contains(&source) {
                    damage.asked_by.push(source);
                    damage.rules.push(entry.clone());
                }
                if service.stage.is_none() && shuts && fails && !damage.also.contains(&service.name) {
                    damage.also.push(service.name.clone());
                }
                if let Some(stage) = stops
                    && !damage.stops.contains(&stage)
                {
                    damage.stops.push(stage);
                    damage.shut.push(service.name.clone());
                }
            }
        }
    }
    Ok(())
}

/// Modules that say yes where others only say no.
fn is_decisive(name: &[u8]) -> bool {
    [&b"pam_unix.so"[..], b"pam_unix2.so", b"pam_permit.so", b"pam_rootok.so"].iter().any(|known| name.ends_with(known))
}

/// What of a login is refused with these modules, and would not be with sound ones. What else refuses root in another
/// part of the way does not make it better.
fn refuses_without_modules(facts: &Facts, service: &Service, root: &User) -> Result<Vec<Kind>, Skip> {
    let mut shut = Vec::new();
    for kind in [Kind::Auth, Kind::Account, Kind::Session] {
        let refuses = |real_modules| -> Result<bool, Skip> {
            let attempt = Attempt { real_modules, ..Attempt::right(root) };
            Ok(matches!(judge_kinds(facts, service, attempt, &[kind])?, Judgement::Refuses(_)))
        };
        if !refuses(false)? && refuses(true)? {
            shut.push(kind);
        }
    }
    Ok(shut)
}

/// Whether every module of the service that says yes where others only say no can be loaded.
fn says_yes(facts: &Facts, service: &Service) -> Result<bool, Skip> {
    let modules = facts.get::<Modules>()?;
    for (_, entry) in service.entries() {
        if let Call::Module { name, .. } = &entry.call
            && is_decisive(name)
            && !modules.works(facts, name)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether root is let in, or may be, with the modules that are there once the rule of `entry` is passed.
fn lets_in_when_passed(facts: &Facts, service: &Service, root: &User, kind: Kind, entry: &Entry) -> Result<bool, Skip> {
    let passing = Some((entry.file.path.as_path(), entry.rule.span.line));
    let attempt = Attempt { real_modules: true, passing, ..Attempt::right(root) };
    Ok(!matches!(judge_kinds(facts, service, attempt, &[kind])?, Judgement::Refuses(_)))
}

fn abi(facts: &Facts) -> Result<Option<sickbay_formats::elf::Abi>, Skip> {
    let (programs, libraries) = (facts.get::<Programs>()?, facts.get::<Libraries>()?);
    Ok([Role::Login, Role::Sshd, Role::Shell, Role::Sh].into_iter().find_map(|role| {
        match &*libraries.look(facts.root(), programs.path(role)?) {
            Body::Elf(elf) => Some(elf.abi),
            _ => None,
        }
    }))
}

/// The libraries of nsswitch.conf's services for users.
fn of_names(facts: &Facts, all: &mut BTreeMap<PathBuf, Damage>) -> Verdict {
    let (programs, libraries) = (facts.get::<Programs>()?, facts.get::<Libraries>()?);
    let Some(loader) =
        programs.loader.clone().filter(|loader| !bstr::ByteSlice::contains_str(loader.as_slice(), "ld-musl"))
    else {
        return Ok(());
    };
    let Some(abi) = abi(facts)? else { return Ok(()) };
    let Some(file) = facts.file("/etc/nsswitch.conf")? else { return Ok(()) };
    let mut dirs: Vec<PathBuf> = Vec::new();
    if let Some(name) = multiarch(abi) {
        dirs.extend([format!("/lib/{name}"), format!("/usr/lib/{name}")].map(PathBuf::from));
    }
    dirs.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
    let libc = dirs.iter().map(|dir| dir.join("libc.so.6")).find(|path| facts.root().metadata(path).is_ok());
    let Some(libc) = libc else { return Ok(()) };
    // Up to glibc 2.33 libc.so.6 is a link to libc-2.N.so, and `files` a library of its own; later it is in libc.
    let old = facts.root().read_link(&libc).is_ok_and(|target| target.to_string_lossy().contains("libc-2."));
    for line in entries(&file.bytes) {
        let Line::Database(database) = line else { continue };
        if !["passwd", "group", "shadow"].iter().any(|known| database.name == *known) {
            continue;
        }
        for source in &database.sources {
            let files = source.name == "files";
            if files && !old {
                continue;
            }
            let name = format!("libnss_{}.so.2", source.name);
            let candidates = dirs.iter().map(|dir| dir.join(&name));
            let there = candidates.into_iter().find(|path| facts.root().metadata(path).is_ok());
            let broken = match &there {
                Some(path) => match &*libraries.look(facts.root(), path) {
                    Body::Elf(elf) if elf.abi == abi => libraries.of_elf(facts, path, elf, Some(loader.as_ref()))?,
                    Body::Elf(elf) => one(path, Fault::Machine(elf.abi, abi)),
                    Body::Broken(fault) => one(path, fault.clone()),
                    Body::Script(_) => one(path, Fault::Garbage),
                    Body::Unknown(why) => return Err(Skip::Unknown(why.clone())),
                },
                // A name service that is not installed is passed over.
                None if !files && (source.name != "compat" || database.sources.len() > 1) => Vec::new(),
                None => one(&resolved(facts.root(), &libc).with_file_name(&name), Fault::Missing),
            };
            let decides = files || database.sources.len() == 1;
            for Broken { path, fault, .. } in broken {
                let source =
                    (format!("{}:{}", file.path.display(), source.span.line), file.line_text(source.span.line));
                let damage = all.entry(path).or_insert_with(|| Damage {
                    fault,
                    asked_by: Vec::new(),
                    rules: Vec::new(),
                    severity: if decides { Severity::Critical } else { Severity::Warning },
                    stops: if decides { vec![Stage::Account] } else { Vec::new() },
                    shut: Vec::new(),
                    also: Vec::new(),
                    opens: false,
                    why: match decides {
                        true => tr!("no program finds root or any other user"),
                        false => tr!("users that only it knows are not found"),
                    },
                });
                damage.asked_by.push(source);
            }
        }
    }
    Ok(())
}

fn one(path: &Path, fault: Fault) -> Vec<Broken> {
    vec![Broken { path: path.to_owned(), fault, needed_by: path.to_owned() }]
}

/// The path without links in its directories.
fn resolved(root: &Root, path: &Path) -> PathBuf {
    let dir = path.parent().and_then(|dir| root.canonical(dir).ok());
    match (dir, path.file_name()) {
        (Some(dir), Some(name)) => dir.join(name),
        _ => path.to_owned(),
    }
}
