//! What the log says of root's logins.

use sickbay_formats::login_log::Reason;

use crate::facts::Facts;
use crate::facts::logs::login_log::{LoginLog, Refusal};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// Lines of sshd, login and PAM in `/var/log/secure`, `auth.log`, `messages`, `syslog` or the journal that say why root was
    /// refused since root last came in, of the last week of that log. Each is told as evidence of the finding that explains
    /// it: sshd's rules, modes on the way to keys, a locked or expired account, a rule or a module of PAM, host keys, shadow,
    /// login.defs, the shell.
    ///
    /// Where nothing explains it any more it was mended, or is a rule that is meant, and nothing is said; but a limit on logins
    /// at a time, and a system that could make no process or terminal, are told by the log alone, as a note. Wrong passwords
    /// are told only where root's is locked or damaged: strangers type those all day.
    ///
    /// ## Why it matters
    /// The log says what really happened, where files only say what would.
    ///
    /// ## What the repair does
    /// Nothing by itself: the finding that explains it has the repair. Records of logins (wtmp, btmp, lastlog, and the
    /// databases of wtmpdb and lastlog2) hold no reasons and are not read.
    "login-refused-in-log", Login, seed = ["L7"], proves = [], "the log says why root was refused"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = facts.get::<LoginLog>()?;
    for (reason, refusal) in &log.refusals {
        report(found, *reason, refusal);
    }
    for path in &log.unread {
        found.could_not_tell(tr!("{path} could not be read", path = path.as_path()));
    }
    Ok(())
}

fn report(found: &mut Findings, reason: Reason, refusal: &Refusal) {
    let said = refusal.text.as_str();
    let finding = found.note(match refusal.time {
        Some(time) => tr!("the log says, last at {time}: {said}", time = time.to_string(), said),
        None => tr!("the log says: {said}", said),
    });
    let source = refusal.source.as_path();
    finding.at_path(source).evidence(source.display().to_string(), said).detail("count", refusal.count);
    if refusal.count > 1 {
        finding.note(tr!("{count} {count?time|times} since root last came in", count = refusal.count));
    }
    match causes(reason) {
        Some(causes) => {
            finding.only_under(causes);
        }
        None if reason == Reason::TooManyLogins => {
            finding.by_hand(tr!("end sessions that hang (loginctl), or raise maxlogins in limits.conf"));
        }
        None => {
            finding.by_hand(tr!("see what used up processes, memory or terminals: the limits, pid_max, /dev/pts"));
        }
    }
}

/// The checks whose findings explain a reason; `None` where the log alone knows.
fn causes(reason: Reason) -> Option<&'static [&'static str]> {
    Some(match reason {
        Reason::SshdRules => &["sshd-refuses-root"],
        Reason::KeyModes => &["sshd-ignores-keys", "mode-too-open", "package-mode-wrong"],
        Reason::Account => &["root-password-locked", "root-shell-missing", "account-file-damaged", "top-level-missing"],
        Reason::Expired => &["root-account-expired"],
        Reason::TooManyFailures => &["pam-refuses-root"],
        Reason::PamRule => &[
            "pam-refuses-root",
            "nologin-file",
            "root-account-expired",
            "root-account-missing",
            "account-file-damaged",
            "pam-rule-invalid",
        ],
        Reason::PamModule => &[
            "pam-module-broken",
            "package-file-missing",
            "package-file-empty",
            "package-file-altered",
            "top-level-missing",
        ],
        Reason::SshdStart => &["sshd-host-key-missing", "sshd-config-invalid", "sshd-user-missing", "sshd-limits"],
        Reason::Shadow => &["account-file-damaged", "root-account-missing", "selinux-labels-lost", "mode-too-strict"],
        Reason::LoginDefs => &["login-defs-invalid"],
        Reason::Shell => &["root-shell-missing", "login-program-broken", "mode-too-strict", "top-level-missing"],
        Reason::Password => &[
            "root-password-locked",
            "root-password-invalid",
            "shadow-line-missing",
            "account-file-damaged",
            "root-account-missing",
        ],
        Reason::TooManyLogins | Reason::Resources => return None,
    })
}
