//! What the log says of root's logins.

use sickbay_formats::login_log::Reason;

use crate::facts::Facts;
use crate::facts::logs::login_log::{LoginLog, Records, Refusal};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: logins as root are refused, and `/var/log/secure`, `auth.log` or the journal says why, such as "User
    /// root from … not allowed because not listed in AllowUsers".
    ///
    /// ## What it finds
    /// Lines from sshd, login and PAM in `/var/log/secure`, `auth.log`, `messages`, `syslog` or the journal that say
    /// why root was refused since root last logged in, from the last week of that log. Each is reported as evidence of
    /// the finding that explains it: sshd's rules, modes of the directories above the keys, a locked or expired
    /// account, a PAM rule or module, host keys, shadow, login.defs, the shell.
    ///
    /// Where nothing explains it any more, it was repaired or is an intended rule, and nothing is reported; but a limit
    /// on concurrent logins, and a system that could create no process or terminal, are known from the log alone and
    /// reported as a note. Wrong passwords are reported only where root's is locked or damaged: strangers try those all
    /// day.
    ///
    /// ## Why it matters
    /// The log shows what really happened; files only show what would.
    ///
    /// ## What the repair does
    /// Nothing by itself: the finding that explains it has the repair. Login records contain no reasons: of wtmp and btmp
    /// it tells how many logins as root failed, from where, and when root last logged in. lastlog, and the databases of
    /// wtmpdb and lastlog2, are not read.
    ///
    /// ## By hand
    /// ```sh
    /// journalctl -D ROOT/var/log/journal -t sshd -t login | grep -i root | tail
    /// ```
    "login-refused-in-log", Login, seed = ["L7"], proves = [], "the log shows why root was refused"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = facts.get::<LoginLog>()?;
    for (reason, refusal) in &log.refusals {
        report(found, *reason, refusal, &log.records);
    }
    for path in &log.unread {
        found.could_not_tell(tr!("{path} could not be read", path = path.as_path()));
    }
    Ok(())
}

fn report(found: &mut Findings, reason: Reason, refusal: &Refusal, records: &Records) {
    let said = refusal.text.as_str();
    let finding = found.note(match refusal.time {
        Some(time) => tr!("the log says, last at {time}: {said}", time = time.to_string(), said),
        None => tr!("the log says: {said}", said),
    });
    let source = refusal.source.as_path();
    finding.at_path(source).evidence(source.display().to_string(), said).detail("count", refusal.count);
    if refusal.count > 1 {
        finding.note(tr!("{count} {count?time|times} since root last logged in", count = refusal.count));
    }
    if records.failed > 0 {
        let (count, hosts) = (records.failed, &records.hosts);
        let list: Vec<String> = hosts.iter().take(3).map(|(host, count)| format!("{host} ({count})")).collect();
        let more = if hosts.len() > 3 { ", …" } else { "" };
        finding.note(tr!(
            "/var/log/btmp: {count} failed {count?login|logins} as root, from {hosts}",
            count,
            hosts = format!("{}{more}", list.join(", "))
        ));
        finding.detail("failed_logins", count);
    }
    match &records.last_in {
        Some((time, host)) if host.is_empty() => {
            finding.note(tr!("/var/log/wtmp: root last logged in at {time}, on the console", time = time.to_string()));
        }
        Some((time, host)) => {
            finding.note(tr!(
                "/var/log/wtmp: root last logged in at {time}, from {host}",
                time = time.to_string(),
                host = host.as_str()
            ));
        }
        None => {}
    }
    match causes(reason) {
        Some(causes) => {
            finding.only_under(causes);
        }
        None if reason == Reason::TooManyLogins => {
            finding.by_hand(tr!("end hung sessions (loginctl), or raise maxlogins in limits.conf"));
        }
        None => {
            finding.by_hand(tr!("find out what used up processes, memory or terminals: the limits, pid_max, /dev/pts"));
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
