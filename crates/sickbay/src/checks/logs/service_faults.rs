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
    if facts.target().logs().is_err() {
        return Err(Skip::NotApplicable(tr!("only logs that are given explicitly are read")));
    }
    let log = facts.get::<KernelLog>()?;
    if log.services.is_empty() && log.census.services == 0 {
        return Err(Skip::NotApplicable(tr!("it has no lines from PAM, sshd or systemd")));
    }
    for seen in &log.services {
        let (message, why, by_hand) = told(seen);
        let source = log.source(seen.source);
        let finding = found.error(message);
        finding.at_path(&source).why(why).by_hand(by_hand);
        finding.evidence(format!("{}:{}", source.display(), seen.line), seen.words.as_str());
        finding.note(times(seen.count, seen.last, seen.last));
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
        Fault::UnitLimits => (
            tr!("{unit} does not start: a limit that it requests is refused ({said})", unit = subject, said),
            tr!(
                "a Limit…= of the unit exceeds what the manager itself may have: in a container, or in a user's manager"
            ),
            tr!("lower the unit's Limit…=, or raise the limit of what starts the manager (the container's ulimit)"),
        ),
    }
}
