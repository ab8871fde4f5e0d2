//! Limits of sshd that let nobody through.

use bstr::ByteSlice;
use sickbay_formats::lines;
use sickbay_formats::sshd_config::tree::Setting;

use crate::facts::Facts;
use crate::facts::login::root_over_ssh::RootOverSsh;
use crate::facts::login::sshd::Sshd;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: connections that are closed while you type the password, "Too many authentication failures", "Exceeded
    /// MaxStartups", or "Connection refused" from other machines.
    ///
    /// ## What it finds
    /// A `LoginGraceTime` too short to type a password, `MaxAuthTries 0`, `MaxSessions 0`, a `MaxStartups` that lets
    /// only one or two connections wait for a password at a time, and a `ListenAddress` with nothing but loopback
    /// addresses.
    ///
    /// ## Why it matters
    /// Connections are closed before a login is complete, or a login gets no shell. With `MaxStartups 1` any scanner
    /// that holds a connection open keeps everyone else out.
    ///
    /// ## What the repair does
    /// Comments out the line, so that the default applies: two minutes, six tries, ten sessions, ten connections. Risky
    /// for `MaxSessions 0` and `ListenAddress`, which may be intended.
    ///
    /// ## By hand
    /// ```sh
    /// # raise the value in sshd_config, then
    /// sshd -t && systemctl reload sshd
    /// ```
    "sshd-limits", Login, seed = ["L10"], proves = [Sshd], "sshd's limits let nobody log in"
}

/// Less time than this is too little to type a password over a slow line.
const SECONDS: u64 = 10;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let reader = sshd.reader();
    if !sshd.accepts_configuration() {
        return Err(Skip::NotApplicable(tr!("sshd does not start with its configuration")));
    }
    let root = facts.get::<RootOverSsh>()?;
    let effective = sshd.tree.effective(&reader, &root.connection());
    let mut report = |setting: Option<Setting<'_>>, message: Text, why: Text, stops: bool, risk: Risk| {
        let Some(setting) = setting else { return };
        let Some(file) = sshd.file(setting) else { return };
        let (_, line) = setting;
        let finding = if stops { found.error(message) } else { found.warning(message) };
        finding.at(file, line.whole).why(why);
        if stops {
            finding.stops(Stage::Sshd);
        }
        let text = lines::with_comment(&file.bytes, line.line);
        finding.repair(risk, tr!("comment out line {line}", line = line.line), [Change::edit(file, text)]);
    };
    // 0 is no limit.
    if let Some(seconds) = effective.seconds("LoginGraceTime").filter(|seconds| (1..SECONDS).contains(seconds)) {
        report(
            effective.setting("LoginGraceTime"),
            tr!("sshd allows {seconds} s for a login", seconds),
            tr!("nobody can type a password in that time"),
            seconds < 3,
            Risk::Safe,
        );
    }
    if effective.value("MaxAuthTries", "6") == "0" {
        report(
            effective.setting("MaxAuthTries"),
            tr!("sshd allows no login attempts: MaxAuthTries 0"),
            tr!("every connection is closed before a password is asked for"),
            true,
            Risk::Safe,
        );
    }
    if effective.value("MaxSessions", "10") == "0" {
        report(
            effective.setting("MaxSessions"),
            tr!("sshd allows no sessions: MaxSessions 0"),
            tr!("a login succeeds but gets no shell"),
            true,
            // sshd_config(5) has it for who may only forward connections.
            Risk::Risky,
        );
    }
    if let Some((start, rate, full)) = effective.startups()
        && (full <= 2 || (start <= 2 && rate >= 90))
    {
        report(
            effective.setting("MaxStartups"),
            tr!(
                "sshd lets only {count} {count?connection|connections} log in at a time",
                count = if full <= 2 { full } else { start }
            ),
            tr!("whoever holds a connection open keeps everyone else out"),
            false,
            Risk::Safe,
        );
    }
    let addresses = effective.all("ListenAddress");
    if !addresses.is_empty() && addresses.iter().all(|(_, line)| is_loopback(line.arg(0))) {
        report(
            addresses.first().copied(),
            tr!(
                "sshd listens only on {address}",
                address = bstr::BStr::new(addresses.first().map_or(&b""[..], |(_, line)| line.arg(0)))
            ),
            tr!("it cannot be reached from another machine"),
            false,
            // Nothing is opened to a network that was not.
            Risk::Risky,
        );
    }
    Ok(())
}

/// An address of this machine for itself, with or without a port.
fn is_loopback(address: &[u8]) -> bool {
    let host = match address.strip_prefix(b"[").and_then(|rest| rest.split_once_str("]")) {
        Some((host, _)) => host,
        None if address.iter().filter(|&&byte| byte == b':').count() == 1 => {
            address.split(|&byte| byte == b':').next().unwrap_or_default()
        }
        None => address,
    };
    host.starts_with(b"127.") || host == b"::1" || host.eq_ignore_ascii_case(b"localhost")
}
