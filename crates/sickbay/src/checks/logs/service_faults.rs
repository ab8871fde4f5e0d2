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
    /// ## What it finds
    /// In logs that are given (`auth.log`, `secure`, a journal): a module of PAM that is not there, lacks a library or was built
    /// for something else; a line of a PAM file without a type; sshd with another OpenSSL than it was built for, without host
    /// keys, without its empty directory, or with a `/dev/null` that is no device; a unit that asks for limits which it may not have.
    ///
    /// ## Why it matters
    /// Each of these refuses everybody, whatever the password. Wrong passwords, however many, are not told: strangers try them all
    /// day, and that is no fault of PAM.
    ///
    /// ## What the repair does
    /// Nothing in a log. Point `sickbay check` at the system or its disk: it may name the file and offer the repair.
    "service-faults", Logs, seed = [], proves = [], "PAM, sshd or systemd cannot work, and the log says why"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.target().logs().is_err() {
        return Err(Skip::NotApplicable(tr!("only logs that are given are looked at")));
    }
    let log = facts.get::<KernelLog>()?;
    if log.services.is_empty() && log.census.services == 0 {
        return Err(Skip::NotApplicable(tr!("no line of PAM, sshd or systemd is in it")));
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
    let refuses = || tr!("a service whose rules name it refuses, or goes by its other rules alone");
    match seen.told.fault {
        Fault::PamModuleMissing => (
            tr!("the PAM module {module} is not there", module = subject),
            refuses(),
            tr!("install the package that has {module}, or take its rule out of /etc/pam.d", module = subject),
        ),
        Fault::PamModuleLacks => (
            tr!("the PAM module {module} lacks the library {library}", module = subject, library = said),
            refuses(),
            tr!("install the package that has {library}", library = said),
        ),
        Fault::PamModuleBroken => (
            tr!("the PAM module {module} is there, but cannot be loaded: {said}", module = subject, said),
            refuses(),
            tr!("build it anew for this system (linked with -lpam), or take the distribution's package of it"),
        ),
        Fault::PamLine => (
            tr!("a line of /etc/pam.d/{service} has no type of module", service = subject),
            tr!("a line that is empty but for blanks, or was broken in two: libpam refuses the service"),
            tr!("look at the lines of /etc/pam.d/{service} and of what it includes", service = subject),
        ),
        Fault::OpensslVersion => (
            tr!("sshd was built for another OpenSSL: {said}", said),
            tr!("openssl was updated without openssh-server: before OpenSSH 9.4 sshd insists on the version"),
            tr!("update openssh-server too, or put the former OpenSSL back"),
        ),
        Fault::DevNull => (
            tr!("/dev/null is not the device that it should be"),
            tr!("something replaced it by a file: sshd and others refuse to start"),
            tr!("rm /dev/null; mknod -m 666 /dev/null c 1 3; then find what writes a file there"),
        ),
        Fault::PrivilegeDirectory => (
            tr!("sshd's directory {path} is missing", path = subject),
            tr!("sshd keeps its unprivileged part there and does not start without it"),
            tr!(
                "mkdir -m 755 {path}; below /run a line in tmpfiles.d or RuntimeDirectory= makes it at each start",
                path = subject
            ),
        ),
        Fault::HostKeys => (
            tr!("sshd has no host key that it can use"),
            tr!("it does not start without one: the keys are gone, empty, or readable by others"),
            tr!("ssh-keygen -A, or chmod 600 /etc/ssh/ssh_host_*_key"),
        ),
        Fault::UnitLimits => (
            tr!("{unit} does not start: a limit that it asks for is refused ({said})", unit = subject, said),
            tr!(
                "a Limit…= of the unit is above what the manager itself may have: in a container, or of a user's manager"
            ),
            tr!(
                "lower the Limit…= of the unit, or raise the limit of what starts the manager (the container's ulimit)"
            ),
        ),
    }
}
