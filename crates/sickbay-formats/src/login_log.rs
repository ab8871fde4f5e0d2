//! What sshd, login and PAM write to a log when they refuse somebody.

use bstr::ByteSlice;

use crate::kernel_log::{self, Stamp};

/// A line by one of the programs that let users in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When.
    pub time: Option<Stamp>,
    /// The program, without its PID.
    pub program: &'a [u8],
    /// What it says.
    pub text: &'a [u8],
}

/// Why root was refused, or what went wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// AllowUsers, DenyUsers, AllowGroups, DenyGroups, PermitRootLogin of sshd.
    SshdRules,
    /// sshd does not read keys because of the modes or owners on their way.
    KeyModes,
    /// The account is locked or has no shell that exists.
    Account,
    /// The account or its password has expired.
    Expired,
    /// pam_faillock or pam_tally2 counted too many failures.
    TooManyFailures,
    /// A module of PAM refuses by its rule: pam_succeed_if, pam_access, pam_securetty, pam_nologin.
    PamRule,
    /// A module of PAM cannot be loaded.
    PamModule,
    /// sshd has no host key, or does not know its configuration or its own user.
    SshdStart,
    /// shadow cannot be read.
    Shadow,
    /// login.defs cannot be parsed.
    LoginDefs,
    /// The shell cannot be started.
    Shell,
    /// pam_limits allows no more logins at a time.
    TooManyLogins,
    /// No process, or no terminal, can be made.
    Resources,
    /// What was typed is not root's password; strangers do that too.
    Password,
}

/// What a line tells of root's logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// root came in: what was refused before is history.
    In,
    /// Something refused.
    Refused(Reason),
}

/// Whether a program is one that lets users in.
pub fn lets_in(program: &[u8]) -> bool {
    matches!(program, b"sshd" | b"sshd-session" | b"sshd-auth" | b"login" | b"remote" | b"agetty" | b"sulogin")
}

/// A line of a log in syslog's form, with either kind of date; `None` for what other programs say.
pub fn line(text: &[u8]) -> Option<Line<'_>> {
    // The author's name is the first word with a colon at its end.
    let mut at = 0;
    for word in text.get(..text.len().min(200))?.split(|&byte| byte == b' ') {
        let end = at + word.len();
        if let Some(author) = word.strip_suffix(b":").filter(|author| !author.is_empty()) {
            let program = author.split(|&byte| byte == b'[').next().unwrap_or_default();
            let rest = text.get(end..).unwrap_or_default().trim_ascii();
            return lets_in(program).then(|| Line { time: kernel_log::message(text).time, program, text: rest });
        }
        at = end + 1;
    }
    None
}

/// What a sentence of such a program tells; `None` for what says nothing of root.
pub fn event(text: &[u8]) -> Option<Event> {
    let has = |words: &str| text.contains_str(words);
    let refused = |reason| Some(Event::Refused(reason));
    if has(":session): session opened for user root") || text.starts_with(b"ROOT LOGIN ON ") {
        return Some(Event::In);
    }
    let root = names_root(text);
    if root && has("not allowed because") {
        let account = has("account is locked") || has("shell ");
        return refused(if account { Reason::Account } else { Reason::SshdRules });
    }
    if text.starts_with(b"ROOT LOGIN REFUSED") || text.starts_with(b"FAILED ROOT LOGIN REFUSED") {
        return refused(Reason::SshdRules);
    }
    if has("Authentication refused: bad ownership or modes for") {
        return refused(Reason::KeyModes);
    }
    if root && (has("has expired (") || has("account expired") || has("expired password for user root")) {
        return refused(Reason::Expired);
    }
    if root && (has("onsecutive login failures") || (has("pam_tally") && has("deny "))) {
        return refused(Reason::TooManyFailures);
    }
    let by_rule = ["requirement \"", "access denied", "Access denied for user", "login denied"];
    if by_rule.iter().any(|words| has(words)) && (root || has("pam_securetty(")) {
        return refused(Reason::PamRule);
    }
    if has("PAM unable to dlopen(") || has("PAM adding faulty module:") || has("Module is unknown") {
        return refused(Reason::PamModule);
    }
    let start = ["no hostkeys available", "Bad configuration option", "Privilege separation user", "terminating, "];
    if start.iter().any(|words| has(words)) {
        return refused(Reason::SshdStart);
    }
    if root && has("Could not get shadow information for") {
        return refused(Reason::Shadow);
    }
    if has("configuration error - cannot parse") {
        return refused(Reason::LoginDefs);
    }
    if has("no shell: ") || (has("/bin/") && has("No such file or directory") && !has("host key")) {
        return refused(Reason::Shell);
    }
    if root && has("oo many logins") {
        return refused(Reason::TooManyLogins);
    }
    let resources = ["Resource temporarily unavailable", "Cannot allocate memory", "openpty: ", "pty allocation"];
    if resources.iter().any(|words| has(words)) && (has("fork") || has("pty") || has("exec")) {
        return refused(Reason::Resources);
    }
    // login of util-linux and of shadow, and sshd.
    let password = ["FAILED LOGIN ", "Failed password for ", "Failed none for "];
    if root && password.iter().any(|words| text.starts_with(words.as_bytes())) {
        return refused(Reason::Password);
    }
    None
}

/// Whether a sentence names root as a word: `for root`, `user "root"`, ``user `root'``.
fn names_root(text: &[u8]) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    text.find_iter("root").any(|at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let behind = text.get(at + 4);
        !before.is_some_and(|byte| part(*byte)) && !behind.is_some_and(|byte| part(*byte) && *byte != b'.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Option<Event> {
        line(text.as_bytes()).and_then(|line| event(line.text))
    }

    #[test]
    fn reasons_are_told_apart() {
        for (text, wanted) in [
            (
                "May  3 10:00:01 h sshd[812]: User root from 192.0.2.7 not allowed because not listed in AllowUsers",
                Reason::SshdRules,
            ),
            (
                "2024-05-03T10:00:01.5+08:00 h sshd-session[812]: User root from 192.0.2.7 not allowed because shell /bin/zsh does not exist",
                Reason::Account,
            ),
            ("May  3 10:00:01 h sshd[812]: ROOT LOGIN REFUSED FROM 192.0.2.7 port 4022", Reason::SshdRules),
            (
                "May  3 10:00:01 h sshd[812]: Authentication refused: bad ownership or modes for directory /root",
                Reason::KeyModes,
            ),
            (
                "May  3 10:00:01 h sshd[812]: pam_unix(sshd:account): account root has expired (account expired)",
                Reason::Expired,
            ),
            (
                "May  3 10:00:01 h login: pam_faillock(login:auth): Consecutive login failures for user root account temporarily locked",
                Reason::TooManyFailures,
            ),
            (
                "May  3 10:00:01 h login[812]: FAILED LOGIN (2) on '/dev/ttyS0' FOR 'root', Authentication failure",
                Reason::Password,
            ),
            ("May  3 10:00:01 h sshd[812]: Failed password for root from 192.0.2.7 port 4022 ssh2", Reason::Password),
            (
                "May  3 10:00:01 h sshd[812]: pam_tally2(sshd:auth): user root (0) tally 5, deny 3",
                Reason::TooManyFailures,
            ),
            (
                "May  3 10:00:01 h sshd[812]: pam_succeed_if(sshd:auth): requirement \"user != root\" not met by user \"root\"",
                Reason::PamRule,
            ),
            (
                "May  3 10:00:01 h sshd[812]: pam_access(sshd:account): access denied for user `root' from `192.0.2.7'",
                Reason::PamRule,
            ),
            (
                "May  3 10:00:01 h login: pam_securetty(login:auth): access denied: tty 'ttyS0' is not secure !",
                Reason::PamRule,
            ),
            (
                "May  3 10:00:01 h sshd[812]: fatal: Access denied for user root by PAM account configuration [preauth]",
                Reason::PamRule,
            ),
            (
                "May  3 10:00:01 h login: PAM unable to dlopen(/lib64/security/pam_unix.so): /lib64/security/pam_unix.so: file too short",
                Reason::PamModule,
            ),
            ("May  3 10:00:01 h sshd[812]: sshd: no hostkeys available -- exiting.", Reason::SshdStart),
            (
                "May  3 10:00:01 h sshd[812]: /etc/ssh/sshd_config: line 3: Bad configuration option: Prot",
                Reason::SshdStart,
            ),
            ("May  3 10:00:01 h sshd[812]: error: Could not get shadow information for root", Reason::Shadow),
            ("May  3 10:00:01 h login: configuration error - cannot parse ERASECHAR value: '0x7x'", Reason::LoginDefs),
            ("May  3 10:00:01 h login: no shell: Permission denied", Reason::Shell),
            (
                "May  3 10:00:01 h sshd[812]: pam_limits(sshd:session): Too many logins (max 1) for root",
                Reason::TooManyLogins,
            ),
            ("May  3 10:00:01 h sshd[812]: error: fork: Resource temporarily unavailable", Reason::Resources),
        ] {
            assert_eq!(reason(text), Some(Event::Refused(wanted)), "{text}");
        }
        assert_eq!(
            reason(
                "May  3 10:00:01 h sshd[9]: pam_unix(sshd:session): session opened for user root(uid=0) by root(uid=0)"
            ),
            Some(Event::In)
        );
        for text in [
            "May  3 10:00:01 h sshd[812]: Failed password for invalid user test from 192.0.2.7 port 4022 ssh2",
            "May  3 10:00:01 h sshd[812]: User rooty from 192.0.2.7 not allowed because not listed in AllowUsers",
            "May  3 10:00:01 h sshd[812]: Connection closed by authenticating user root 192.0.2.7 port 1 [preauth]",
            "May  3 10:00:01 h sshd[812]: error: maximum authentication attempts exceeded for root from 192.0.2.7 port 1 ssh2 [preauth]",
            "May  3 10:00:01 h CRON[812]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
            "May  3 10:00:01 h su: pam_unix(su:auth): authentication failure; logname= uid=1000 user=root",
            "no prefix",
            "",
        ] {
            assert_eq!(reason(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            if let Some(line) = line(&text) {
                let _ = event(line.text);
            }
        }
    }
}
