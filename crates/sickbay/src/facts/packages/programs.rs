//! The programs between power-on and a prompt, and everything that keeps one of them from being started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::accounts::Kind;
use sickbay_formats::dpkg;
use sickbay_formats::elf::Abi;
use sickbay_formats::inittab;
use sickbay_formats::unit_file::Setting;
use sickbay_target::Root;

use crate::facts::login::accounts::Users;
use crate::facts::packages::libraries::{Body, Broken, Fault, Libraries};
use crate::facts::system::units;
use crate::facts::system::units::State;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::stage::Stage;

/// What a program is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Process 1.
    Init,
    /// Opens the terminal and asks for the name.
    Getty,
    /// Asks for the password.
    Login,
    /// root's shell.
    Shell,
    /// `/bin/sh`, where root's shell is another file.
    Sh,
    /// The server of ssh and the programs that it hands a connection to.
    Sshd,
    /// Checks passwords for programs that must not read `/etc/shadow`.
    UnixChkpwd,
    /// `su` and `sudo`.
    Su,
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is there for.
    pub role: Role,
    /// How it is called.
    pub path: PathBuf,
    /// What cannot go on without it.
    pub stops: Vec<Stage>,
}

/// A file that is broken, and what it stops.
#[derive(Clone, Debug)]
pub struct Culprit {
    /// What is the matter with it.
    pub fault: Fault,
    /// The programs that it keeps from being started, with the file of each that asks for it.
    pub programs: Vec<(Program, PathBuf)>,
}

/// What is known of the programs on the way to a prompt.
#[derive(Debug)]
pub struct Programs {
    /// All that are there or must be.
    pub all: Vec<Program>,
    /// What is broken, by file.
    pub culprits: BTreeMap<PathBuf, Culprit>,
    /// Why some program could not be judged.
    pub untold: Option<Skip>,
    /// The loader of the system's programs, which the libraries and modules that they load go by.
    pub loader: Option<bstr::BString>,
}

impl Programs {
    /// The path of the program of this role, if there is one.
    pub fn path(&self, role: Role) -> Option<&Path> {
        self.all.iter().find(|program| program.role == role).map(|program| program.path.as_path())
    }
}

impl Fact for Programs {
    fn gather(facts: &Facts) -> Result<Programs, Skip> {
        let libraries = facts.get::<Libraries>()?;
        let all = list(facts, &libraries)?;
        let system = system_machine(facts.root(), &libraries, &all);
        let mut programs = Programs { all, culprits: BTreeMap::new(), untold: None, loader: None };
        for program in &programs.all {
            let mut broken = match libraries.of_program(facts, &program.path) {
                Ok(broken) => broken,
                Err(skip) => {
                    programs.untold.get_or_insert(skip);
                    continue;
                }
            };
            if let Body::Elf(elf) = &*libraries.look(facts.root(), &program.path) {
                if programs.loader.is_none() {
                    programs.loader = elf.interpreter.clone();
                }
                if let Some(system) = system.filter(|system| !runs_on(elf.abi, *system)) {
                    let path = facts.root().canonical(&program.path).unwrap_or_else(|_| program.path.clone());
                    let fault = Fault::Machine(elf.abi, system);
                    broken = vec![Broken { needed_by: path.clone(), path, fault }];
                }
            }
            for Broken { path, fault, needed_by } in broken {
                let culprit = programs.culprits.entry(path).or_insert_with(|| Culprit { fault, programs: Vec::new() });
                culprit.programs.push((program.clone(), needed_by));
            }
        }
        Ok(programs)
    }
}

/// Kernels for x86-64 run i386 programs, those for aarch64 may run arm's.
fn runs_on(program: Abi, system: Abi) -> bool {
    program.machine == system.machine || matches!((program.machine, system.machine), (3, 62) | (40, 183))
}

/// The machine that most of the programs are for.
fn system_machine(root: &Root, libraries: &Libraries, all: &[Program]) -> Option<Abi> {
    let mut count: Vec<(Abi, usize)> = Vec::new();
    for program in all {
        if let Body::Elf(elf) = &*libraries.look(root, &program.path) {
            match count.iter_mut().find(|(abi, _)| *abi == elf.abi) {
                Some((_, count)) => *count += 1,
                None => count.push((elf.abi, 1)),
            }
        }
    }
    count.into_iter().max_by_key(|(_, count)| *count).map(|(abi, _)| abi)
}

fn list(facts: &Facts, libraries: &Libraries) -> Result<Vec<Program>, Skip> {
    let root = facts.root();
    let there = |path: &str| root.metadata(path).is_ok();
    let boots = has_kernel(root);
    let mut all = Vec::new();
    let mut add = |role: Role, path: &Path, stops: &[Stage]| {
        all.push(Program { role, path: path.to_owned(), stops: stops.to_vec() });
    };

    // The kernel tries these in turn (init/main.c); a container has none of them.
    let systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].into_iter().find(|path| there(path));
    match ["/sbin/init", "/usr/sbin/init", "/etc/init", "/bin/init"].into_iter().find(|path| there(path)) {
        Some(init) => add(Role::Init, Path::new(init), &[Stage::Init]),
        None if boots && (systemd.is_some() || there("/etc/inittab") || there("/etc/init.d") || there("/etc/init")) => {
            add(Role::Init, Path::new("/sbin/init"), &[Stage::Init]);
        }
        None => {}
    }

    let getty = unit_program(facts, "getty@.service")?.or(inittab_getty(facts)?);
    if let Some(path) = &getty
        && (boots || root.exists(path)?)
    {
        add(Role::Getty, path, &[Stage::PamLogin]);
    }
    match ["/bin/login", "/usr/bin/login"].into_iter().find(|path| there(path)) {
        Some(login) => add(Role::Login, Path::new(login), &[Stage::PamLogin]),
        None if boots && getty.is_some() => add(Role::Login, Path::new("/bin/login"), &[Stage::PamLogin]),
        None => {}
    }

    let shell = root_shell(facts)?;
    if let Some(shell) = &shell
        && (root.exists(shell)? || is_known_shell(facts, shell)?)
    {
        add(Role::Shell, shell, &[Stage::Shell]);
    }
    let sh = ["/bin/sh", "/usr/bin/sh"].into_iter().find(|path| there(path)).unwrap_or("/bin/sh");
    if shell.as_deref() != Some(Path::new(sh)) && (boots || there("/etc/passwd")) {
        // Classic init is nothing but shell scripts.
        let stops: &[Stage] = if systemd.is_none() && boots { &[Stage::Init] } else { &[] };
        add(Role::Sh, Path::new(sh), stops);
    }

    let unit = match unit_program(facts, "ssh.service")? {
        Some(path) => Some(path),
        None => unit_program(facts, "sshd.service")?,
    };
    let sshd = unit.clone().unwrap_or_else(|| PathBuf::from("/usr/sbin/sshd"));
    if root.metadata(&sshd).is_ok() || (unit.is_some() && there("/etc/ssh/sshd_config")) {
        add(Role::Sshd, &sshd, &[Stage::Sshd]);
        // From OpenSSH 9.8 on a connection is handed to a program of its own.
        let parts = [
            "/usr/lib/openssh/sshd-session",
            "/usr/lib/openssh/sshd-auth",
            "/usr/libexec/openssh/sshd-session",
            "/usr/libexec/openssh/sshd-auth",
            "/usr/lib/ssh/sshd-session",
            "/usr/lib/ssh/sshd-auth",
        ];
        for path in parts.into_iter().filter(|path| there(path) || listed(root, "openssh-server", path)) {
            add(Role::Sshd, Path::new(path), &[Stage::Sshd]);
        }
    }

    let chkpwd = ["/sbin/unix_chkpwd", "/usr/sbin/unix_chkpwd", "/usr/bin/unix_chkpwd"];
    let selinux = ["enforcing", "permissive"].iter().any(|mode| {
        root.read("/etc/selinux/config").is_ok_and(|text| {
            text.lines()
                .any(|line| line.strip_prefix(b"SELINUX=").is_some_and(|value| value.trim_ascii() == mode.as_bytes()))
        })
    });
    // With SELinux not even root's programs may read the shadow file themselves.
    let stops: &[Stage] = if selinux { &[Stage::PamLogin] } else { &[] };
    let red_hat = there("/etc/redhat-release") && there("/etc/pam.d/system-auth");
    match chkpwd.into_iter().find(|path| there(path)) {
        Some(path) => add(Role::UnixChkpwd, Path::new(path), stops),
        None if red_hat || chkpwd.iter().any(|path| listed(root, "libpam-modules-bin", path)) => {
            add(Role::UnixChkpwd, Path::new("/usr/sbin/unix_chkpwd"), stops);
        }
        None => {}
    }
    for (package, path, plain) in [("util-linux", "/usr/bin/su", "/bin/su"), ("sudo", "/usr/bin/sudo", "/bin/sudo")] {
        if let Some(path) = [path, plain].into_iter().find(|path| there(path)) {
            add(Role::Su, Path::new(path), &[]);
        } else if listed(root, package, path) || listed(root, package, plain) {
            add(Role::Su, Path::new(path), &[]);
        }
    }
    // Something that is neither a script nor a program may still be meant to be there: a wrapper of another system.
    all.retain(|program| {
        !(program.role == Role::Su && matches!(&*libraries.look(root, &program.path), Body::Broken(Fault::Garbage)))
    });
    Ok(all)
}

/// Whether a kernel or its modules are installed: what boots needs an init, a container's root does not.
pub fn has_kernel(root: &Root) -> bool {
    let begins = |dir: &str, start: &[&str]| {
        root.read_dir(dir).is_ok_and(|entries| {
            entries
                .iter()
                .any(|entry| entry.name.to_str().is_some_and(|name| start.iter().any(|s| name.starts_with(s))))
        })
    };
    begins("/boot", &["vmlinuz", "vmlinux", "Image", "kernel"])
        || begins("/usr/lib/modules", &["2", "3", "4", "5", "6", "7"])
        || begins("/lib/modules", &["2", "3", "4", "5", "6", "7"])
}

/// Whether dpkg knows that the package, which is installed, has this file.
fn listed(root: &Root, package: &str, path: &str) -> bool {
    let list = |suffix: &str| root.read(format!("/var/lib/dpkg/info/{package}{suffix}.list")).ok();
    let lists = list("").or_else(|| list(":amd64")).or_else(|| list(":arm64"));
    let other = path.strip_prefix("/usr").map_or_else(|| format!("/usr{path}"), str::to_owned);
    lists.is_some_and(|list| dpkg::lists(&list, path.as_bytes()) || dpkg::lists(&list, other.as_bytes()))
}

/// The program of a unit's `ExecStart=`; the last one counts. A masked unit starts nothing.
fn unit_program(facts: &Facts, name: &str) -> Result<Option<PathBuf>, Skip> {
    let unit = units::unit(facts, name)?;
    let starts = |(_, one): &&(_, Setting)| one.section == "Service" && one.key == "ExecStart" && !one.value.is_empty();
    let loaded = unit.state == State::Loaded;
    Ok(unit.settings.iter().rfind(starts).filter(|_| loaded).and_then(|(_, one)| program_of(&one.value)))
}

/// The program of a command in a unit, without the marks that may stand before it (systemd.service(5)).
pub fn program_of(command: &[u8]) -> Option<PathBuf> {
    let program = command.split(u8::is_ascii_whitespace).next()?.to_str().ok()?;
    let program = program.trim_start_matches(['-', '@', ':', '+', '!']).trim_matches('"');
    program.starts_with('/').then(|| PathBuf::from(program))
}

/// The getty of `/etc/inittab` (inittab(5)): `1:2345:respawn:/sbin/getty 38400 tty1`.
fn inittab_getty(facts: &Facts) -> Result<Option<PathBuf>, Skip> {
    let Some(file) = facts.file("/etc/inittab")? else { return Ok(None) };
    let getty = inittab::entries(&file.bytes)
        .filter(|entry| entry.action == "respawn")
        .find_map(|entry| entry.program().filter(|program| program.contains("getty")).map(PathBuf::from));
    Ok(getty)
}

/// The shell of the first account with number 0; the empty field means /bin/sh (passwd(5)).
pub fn root_shell(facts: &Facts) -> Result<Option<PathBuf>, Skip> {
    let users = facts.get::<Users>()?;
    let Some(file) = users.file(Kind::Passwd) else { return Ok(None) };
    Ok(file.bytes.lines().find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let [b"root", _, _, _, _, _, shell] = fields.as_slice() else { return None };
        let shell = shell.trim_ascii();
        Some(PathBuf::from(if shell.is_empty() { "/bin/sh" } else { shell.to_str().ok()? }))
    }))
}

/// Whether a shell that is not there should be: a wrong name in /etc/passwd is another fault.
fn is_known_shell(facts: &Facts, shell: &Path) -> Result<bool, Skip> {
    if matches!(shell.to_str(), Some("/bin/bash" | "/usr/bin/bash" | "/bin/sh" | "/bin/dash" | "/bin/ash")) {
        return Ok(true);
    }
    let Some(shells) = facts.file("/etc/shells")? else { return Ok(false) };
    Ok(shells.bytes.lines().any(|line| line.trim_ascii() == shell.as_os_str().as_encoded_bytes()))
}
