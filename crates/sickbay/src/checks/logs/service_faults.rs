//! PAM, sshd or systemd say in a log why they cannot work.

use sickbay_formats::service_log::{Fault, Seen};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::seen::times;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "PAM unable to dlopen(…)", "OpenSSL version mismatch", "no hostkeys available", "Bad configuration option", "Authentication refused: bad ownership or modes", "Failed to create session: Connection timed out" or "Missing privilege
    /// separation directory" in auth.log, secure or the journal.
    ///
    /// ## What it finds
    /// In logs that are given explicitly (`auth.log`, `secure`, a journal): a PAM module that does not exist, lacks a
    /// library or was built for something else; a line in a PAM file without a type; sshd with an OpenSSL other than
    /// the one it was built for, without host keys, without its empty directory, or with a `/dev/null` that is not a
    /// device; a unit that requests limits which it may not have.
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
    let log = facts.get::<KernelLog>()?;
    if !log.given {
        return Err(Skip::NotApplicable(tr!("only logs that are given explicitly are read")));
    }
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
    for seen in log.services.iter().filter(|seen| !seen.told.fault.is_of_memory()) {
        if seen.told.fault == Fault::HostKey && (has_none || std::mem::replace(&mut told_of_keys, true)) {
            continue;
        }
        let (message, why, by_hand) = told(seen);
        let source = log.source(seen.source);
        let finding = found.error(message);
        finding.at_path(&source).why(why).by_hand(by_hand);
        finding.evidence(format!("{}:{}", source.display(), seen.line), seen.words.as_str());
        finding.note(times(seen.count, seen.last, seen.last));
        if matches!(seen.told.fault, Fault::HostKey | Fault::HostKeys) && !keys.is_empty() {
            finding.note(tr!("keys that it names: {keys}", keys = keys.join(", ")));
        }
        finding.detail("fault", format!("{:?}", seen.told.fault));
        finding.detail("subject", seen.told.subject.as_str()).detail("said", seen.told.detail.as_str());
        finding.detail("count", seen.count);
    }
    Ok(())
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
        // These are told by memory-daemon-killed.
        Fault::OomdPressure | Fault::OomdSwap | Fault::MemoryWatcher => {
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
