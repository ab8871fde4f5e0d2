//! PAM, sshd or systemd say in a log why they cannot work.

use sickbay_formats::boot_console::{Cause, Stop};
use sickbay_formats::service_log::{Fault, Seen};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::own_services::OwnServices;
use crate::facts::logs::seen::times;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "PAM unable to dlopen(…)", "OpenSSL version mismatch", "no hostkeys available", "Bad configuration option", "Authentication refused: bad ownership or modes", "Failed to create session: Connection timed out" or "Missing privilege
    /// separation directory" in auth.log, secure or the journal.
    ///
    /// ## What it finds
    /// On a system, lines of its own logs from the last week that say why a device, a mount, a unit or sudo failed, as evidence of
    /// the finding about the same file. In logs that are given explicitly (`auth.log`, `secure`, a journal): a PAM module that does not exist, lacks a
    /// library or was built for something else; a line in a PAM file without a type; sshd with an OpenSSL other than
    /// the one it was built for, without host keys, without its empty directory, or with a `/dev/null` that is not a
    /// device; a unit that systemd cannot start (203/EXEC, 217/USER, limits that it may not have); a device that did not
    /// appear, and what was not mounted because of it; an account that has expired or was locked.
    ///
    /// ## Why it matters
    /// Each of these refuses everyone, whatever the password. Wrong passwords, however many, are not reported:
    /// strangers try them all day, and that is not a fault of PAM.
    ///
    /// ## What the repair does
    /// Nothing in a log. Run `sickbay check` on the system or its disk: it may name the file and offer the repair.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay check DISK
    /// ```
    "service-faults", Logs, seed = [], proves = [], "PAM, sshd or systemd cannot work, and the log shows why"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.target().given_logs().is_empty() {
        return own(facts, found);
    }
    let log = facts.get::<KernelLog>()?;
    if log.services.is_empty() && log.census.services == 0 {
        return Err(Skip::NotApplicable(tr!("it has no lines from PAM, sshd or systemd")));
    }
    // sshd names each host key that it lacks, then that it has none: one fault.
    let keys: Vec<&str> = log
        .services
        .iter()
        .filter(|seen| seen.told.fault == Fault::HostKey)
        .map(|seen| seen.told.subject.as_str())
        .collect();
    let has_none = log.services.iter().any(|seen| seen.told.fault == Fault::HostKeys);
    let mut told_of_keys = false;
    mounts(&log, found);
    for seen in
        log.services.iter().filter(|seen| !seen.told.fault.is_told_elsewhere() && !is_of_mounts(seen.told.fault))
    {
        if seen.told.fault == Fault::HostKey && (has_none || std::mem::replace(&mut told_of_keys, true)) {
            continue;
        }
        let (message, why, by_hand) = told(seen);
        let source = log.source(seen.source);
        let finding = match seen.told.fault {
            Fault::AccountExpired | Fault::AccountRefused | Fault::AccountLocked => found.warning(message),
            _ => found.error(message),
        };
        finding.at_path(&source).why(why).by_hand(by_hand);
        finding.evidence(format!("{}:{}", source.display(), seen.line), seen.words.as_str());
        finding.note(times(seen.count, seen.first, seen.last));
        if matches!(seen.told.fault, Fault::HostKey | Fault::HostKeys) && !keys.is_empty() {
            finding.note(tr!("keys that it names: {keys}", keys = keys.join(", ")));
        }
        finding.detail("fault", format!("{:?}", seen.told.fault));
        finding.detail("subject", seen.told.subject.as_str()).detail("said", seen.told.detail.as_str());
        finding.detail("count", seen.count);
    }
    failed(&log, found);
    Ok(())
}

/// What a system's own logs say is evidence of what its files show: why a boot did not mount something, or a service did not
/// start. Where the files show nothing it is over. What refuses logins is told by `login-refused-in-log`.
fn own(facts: &Facts, found: &mut Findings) -> Verdict {
    const MOUNTS: &[&str] = &[
        "fstab-missing-device",
        "fstab-bad-line",
        "fstab-wrong-type",
        "fstab-missing-mount-point",
        "crypttab-missing-device",
        "kernel-device-names",
        "resume-device-missing",
    ];
    const UNITS: &[&str] = &["service-account-missing", "unit-masked", "package-file-missing", "package-file-empty"];
    let log = facts.get::<OwnServices>()?;
    for seen in &log.seen {
        let causes: &[&str] = match seen.told.fault {
            Fault::DeviceAbsent | Fault::MountFailed => MOUNTS,
            Fault::UnitUser | Fault::UnitExec => UNITS,
            Fault::Sudoers => &["sudoers-invalid"],
            _ => continue,
        };
        // A finding names the service, its unit's file or the account.
        let name = seen.told.subject.trim_end_matches(".service");
        let said = seen.words.as_str();
        let finding = found.note(match seen.last {
            Some(time) => tr!("the log says, last at {time}: {said}", time = time.to_string(), said),
            None => tr!("the log says: {said}", said),
        });
        let source = log.sources.get(seen.source).cloned().unwrap_or_default();
        finding.at_path(&source).evidence(source.display().to_string(), said);
        finding.detail("fault", format!("{:?}", seen.told.fault)).detail("count", seen.count);
        finding.only_under(causes).only_about(name);
    }
    Ok(())
}

/// So many units are told by name.
const UNITS: usize = 8;

/// Units that failed and of which nothing better is known: one finding of them all.
fn failed(log: &KernelLog, found: &mut Findings) {
    let known: Vec<&str> = log
        .services
        .iter()
        .filter(|seen| seen.told.fault != Fault::UnitFailed)
        .map(|seen| seen.told.subject.as_str())
        .collect();
    let is_known = |unit: &str| {
        let sshd = unit.starts_with("ssh") && known.contains(&"sshd");
        sshd || known.contains(&unit) || unit.ends_with(".mount") || unit.ends_with(".scope")
    };
    let units: Vec<&Seen> = log
        .services
        .iter()
        .filter(|seen| seen.told.fault == Fault::UnitFailed && !is_known(&seen.told.subject))
        .collect();
    let Some(first) = units.first() else { return };
    let list: Vec<String> =
        units
            .iter()
            .take(UNITS)
            .map(|seen| {
                if seen.count > 1 {
                    format!("{} ({})", seen.told.subject, seen.count)
                } else {
                    seen.told.subject.clone()
                }
            })
            .collect();
    let more = if units.len() > UNITS { ", …" } else { "" };
    let finding = found.warning(tr!("units failed: {units}", units = format!("{}{more}", list.join(", "))));
    let source = log.source(first.source);
    finding.at_path(&source).subject(Subject::Named("units".to_owned()));
    finding.evidence(format!("{}:{}", source.display(), first.line), first.words.as_str());
    for seen in units.iter().take(UNITS) {
        finding.note(tr!("{unit}: {said}", unit = seen.told.subject.as_str(), said = seen.told.detail.as_str()));
    }
    finding.why(tr!("what they provide is missing, unless they were started again later"));
    finding.by_hand(tr!(
        "journalctl -u UNIT -b shows what each said before it failed; systemctl --failed what is failed now"
    ));
    finding.detail("units", units.iter().map(|seen| seen.told.subject.clone()).collect::<Vec<_>>());
}

/// What is told together: what is not there, and what was not mounted because of it.
fn is_of_mounts(fault: Fault) -> bool {
    matches!(fault, Fault::UnitFailed | Fault::DeviceAbsent | Fault::Dependency | Fault::MountFailed | Fault::MountSays)
}

/// Devices that did not appear and file systems that were not mounted; of a console `boot-stopped` tells that.
fn mounts(log: &KernelLog, found: &mut Findings) {
    let told =
        |stop: &Stop| !matches!(stop.cause, Cause::Silence | Cause::Waiting | Cause::UnitFailed | Cause::OutOfMemory);
    if log.consoles.iter().any(|(_, console)| console.stands_at().is_some_and(told)) {
        return;
    }
    let of = |fault: Fault| log.services.iter().filter(move |seen| seen.told.fault == fault);
    let waiting: Vec<&str> = of(Fault::Dependency).map(|seen| seen.told.subject.as_str()).collect();
    let stops = waiting.iter().any(|what| what.contains("Local File Systems") || what.contains("local-fs"));
    let paths: Vec<&str> =
        waiting.iter().copied().filter(|path| path.starts_with('/') && !path.starts_with("/dev/")).collect();
    let says: Vec<&str> = of(Fault::MountSays).map(|seen| seen.told.subject.as_str()).collect();
    for seen in of(Fault::DeviceAbsent).chain(of(Fault::MountFailed)) {
        let what = seen.told.subject.as_str();
        let absent = seen.told.fault == Fault::DeviceAbsent;
        // mount(8) names the place or the device; older ones neither.
        let reason = says.iter().find(|says| says.contains(what)).or(match says.as_slice() {
            [one] if !one.starts_with('/') => Some(one),
            _ => None,
        });
        let reason = reason.map(|says| says.trim_start_matches(what).trim_start_matches(": "));
        let text = match (absent, reason) {
            (true, _) => tr!("the device {device} did not appear in time", device = what),
            (false, Some(said)) => tr!("{path} was not mounted: {said}", path = what, said),
            (false, None) => tr!("{path} was not mounted", path = what),
        };
        let finding = if stops { found.critical(text) } else { found.error(text) };
        let source = log.source(seen.source);
        finding.at_path(&source).subject(Subject::Named(format!("{:?} {what}", seen.told.fault)));
        finding.evidence(format!("{}:{}", source.display(), seen.line), seen.words.as_str());
        finding.note(times(seen.count, seen.first, seen.last));
        if absent && !paths.is_empty() {
            finding.note(tr!("not mounted because of that: {list}", list = paths.join(", ")));
        }
        finding.why(match stops {
            true => tr!(
                "local file systems are incomplete: systemd ends the boot in emergency mode, unless the line has nofail"
            ),
            false => tr!("what needs it was not started"),
        });
        finding.by_hand(match absent {
            true => tr!("compare /etc/fstab and /etc/crypttab with blkid: correct the line, comment it out, or add nofail"),
            false => tr!("systemctl status of its mount unit, and mount it by hand to see why; a file system of an unknown type lacks its kernel module (compare uname -r with /lib/modules)"),
        });
        finding.detail("fault", format!("{:?}", seen.told.fault)).detail("subject", what).detail("count", seen.count);
    }
}

fn told(seen: &Seen) -> (Text, Text, Text) {
    let (subject, said) = (seen.told.subject.as_str(), seen.told.detail.as_str());
    let refuses = || tr!("a service whose rules name it refuses logins, or relies on its other rules alone");
    match seen.told.fault {
        Fault::PamModuleMissing => (
            tr!("the PAM module {module} does not exist", module = subject),
            refuses(),
            tr!("install the package that provides {module}, or remove its rule from /etc/pam.d", module = subject),
        ),
        Fault::PamModuleLacks => (
            tr!("the PAM module {module} lacks the library {library}", module = subject, library = said),
            refuses(),
            tr!("install the package that provides {library}", library = said),
        ),
        Fault::PamModuleBroken => (
            tr!("the PAM module {module} exists but cannot be loaded: {said}", module = subject, said),
            refuses(),
            tr!("rebuild it for this system (linked with -lpam), or use the distribution's package of it"),
        ),
        Fault::PamLine => (
            tr!("a line of /etc/pam.d/{service} has no module type", service = subject),
            tr!("a line of nothing but blanks, or one that was broken in two: libpam refuses the service"),
            tr!("check the lines of /etc/pam.d/{service} and of the files it includes", service = subject),
        ),
        Fault::OpensslVersion => (
            tr!("sshd was built for a different OpenSSL: {said}", said),
            tr!("openssl was updated without openssh-server: before OpenSSH 9.4, sshd requires the exact version"),
            tr!("update openssh-server too, or go back to the previous OpenSSL"),
        ),
        Fault::DevNull => (
            tr!("/dev/null is not the device it should be"),
            tr!("something replaced it with a file: sshd and others refuse to start"),
            tr!("rm /dev/null; mknod -m 666 /dev/null c 1 3; then find what writes a file there"),
        ),
        Fault::PrivilegeDirectory => (
            tr!("sshd's directory {path} is missing", path = subject),
            tr!("sshd confines its unprivileged process there and does not start without it"),
            tr!(
                "mkdir -m 755 {path}; below /run, a line in tmpfiles.d or RuntimeDirectory= creates it at each boot",
                path = subject
            ),
        ),
        Fault::HostKeys => (
            tr!("sshd has no usable host key"),
            tr!("it does not start without one: the keys are missing, empty, or readable by others"),
            tr!("ssh-keygen -A, or chmod 600 /etc/ssh/ssh_host_*_key"),
        ),
        Fault::SshdConfiguration => (
            tr!("sshd rejects its configuration: {said}", said),
            tr!("sshd does not start, and nobody can log in over ssh"),
            tr!("correct the line that it names; sshd -t tells whether all is well"),
        ),
        Fault::KeysRefused => (
            tr!("sshd ignores keys, because others can write to {path}", path = subject),
            tr!("keys are taken only where nobody but their owner can change them, in every directory above too"),
            tr!("chmod go-w {path}, and give it to its owner", path = subject),
        ),
        Fault::SessionTimeout => (
            tr!("systemd-logind does not answer: {said}", said),
            tr!("every login waits for it, 25 s or more"),
            tr!("systemctl restart systemd-logind; where D-Bus was restarted or updated before, restart that first"),
        ),
        Fault::HostKey => (
            tr!("sshd cannot use the host key {path}", path = subject),
            tr!("clients that know only this key refuse to connect; without any key sshd does not start"),
            tr!("check its mode, owner and content; ssh-keygen -A makes those that are missing"),
        ),
        Fault::SshdBind => (
            tr!("sshd cannot listen: port {said}", said),
            tr!("the port is taken by another program, or ListenAddress is not an address of this machine yet"),
            tr!(
                "ss -ltnp shows who has the port; for an address that comes late: net.ipv4.ip_nonlocal_bind=1, or listen on all"
            ),
        ),
        Fault::UnitExec => (
            tr!("{unit} does not start: its program cannot be run ({said})", unit = subject, said),
            tr!(
                "the program, the interpreter in its first line or its loader is missing, not executable, or of another architecture"
            ),
            tr!("compare ExecStart= of {unit} with what is there, and reinstall its package", unit = subject),
        ),
        Fault::UnitUser => (
            tr!(
                "{unit} does not start: the user or group that it is to run as does not exist ({said})",
                unit = subject,
                said
            ),
            tr!("User= or Group= names an account that is not in /etc/passwd or /etc/group"),
            tr!("create the account (systemd-sysusers, or the package's script), or correct User="),
        ),
        Fault::UnitDirectory => (
            tr!(
                "{unit} does not start: a directory that it needs is not there or not accessible ({said})",
                unit = subject,
                said
            ),
            tr!("WorkingDirectory=, RootDirectory=, a path of its sandbox or its mount does not exist"),
            tr!("create the directory or mount what belongs there; a minus before the path makes it optional"),
        ),
        Fault::UnitStep => (
            tr!("{unit} does not start: systemd failed before its program ({said})", unit = subject, said),
            tr!("systemd could not prepare what the unit file asks for"),
            tr!("the line before in the log says what; systemctl cat {unit} shows the setting", unit = subject),
        ),
        Fault::UnitEnvironment => (
            tr!("{unit} does not start: a file with its environment is missing", unit = subject),
            tr!("EnvironmentFile= names a file that does not exist"),
            tr!("restore the file, or put a minus before its path to make it optional"),
        ),
        Fault::AccountExpired => (
            tr!("the account {user} has expired: its logins are refused", user = subject),
            tr!("PAM refuses it even with the right password or key"),
            tr!(
                "chage -l {user} shows the date; chage -E -1 {user} takes it away. For an account of a directory, its server has it",
                user = subject
            ),
        ),
        Fault::AccountRefused => (
            tr!("PAM's account rules refuse {user}", user = subject),
            tr!(
                "the password or key may be right: the account is expired, locked, or a rule (pam_access, pam_nologin, pam_sss, pam_time) keeps it out"
            ),
            tr!("the lines before say which module; check the account lines of /etc/pam.d/sshd and what they include"),
        ),
        Fault::AccountLocked => (
            tr!("too many failed logins locked the account {user} for a time", user = subject),
            tr!("until then the right password is refused too; strangers who try passwords can keep it so"),
            tr!(
                "faillock --user {user} --reset; where it is strangers, let only keys in, or only some addresses",
                user = subject
            ),
        ),
        Fault::Sudoers => (
            tr!("sudo does not understand {path}, line {line}", path = subject, line = said),
            tr!("older versions refuse everybody then; newer ones ignore the line"),
            tr!(
                "visudo -c names the line; correct it from root's own login, with pkexec visudo, or from a rescue system"
            ),
        ),
        // These are told together, by `mounts` and `failed`.
        Fault::UnitFailed | Fault::DeviceAbsent | Fault::Dependency | Fault::MountFailed | Fault::MountSays => {
            (tr!("{said}", said = subject), tr!("{said}", said), tr!("{said}", said))
        }
        // These are told by address-conflict and memory-daemon-killed.
        Fault::AddressConflict | Fault::OomdPressure | Fault::OomdSwap | Fault::OomdUnit | Fault::MemoryWatcher => {
            (tr!("{said}", said), tr!("{said}", said), tr!("{said}", said))
        }
        Fault::UnitLimits => (
            tr!("{unit} does not start: a limit that it requests is refused ({said})", unit = subject, said),
            tr!(
                "a Limit…= of the unit exceeds what the manager itself may have: in a container, or in a user's manager"
            ),
            tr!("lower the unit's Limit…=, or raise the limit of what starts the manager (the container's ulimit)"),
        ),
    }
}
