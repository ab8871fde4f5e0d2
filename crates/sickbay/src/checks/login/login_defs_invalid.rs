//! Values of login.defs that are no numbers where numbers are needed.

use sickbay_formats::{lines, login_defs};

use crate::facts::Facts;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "configuration error - cannot parse ERASECHAR value", or a login prompt that comes back before the
    /// password can be typed.
    ///
    /// ## What it finds
    /// Settings in `/etc/login.defs` that take a number and have something else, such as `ERASECHAR ^H`; a
    /// `LOGIN_TIMEOUT` of less than 5 s.
    ///
    /// ## Why it matters
    /// login reports "configuration error - cannot parse ERASECHAR value" and, depending on its version, continues with
    /// the default or exits: the prompt comes back again and again.
    ///
    /// ## What the repair does
    /// Comments out the line, so that the default applies.
    ///
    /// ## By hand
    /// ```sh
    /// # or write the number, octal with a leading 0
    /// sed -i 's/^ERASECHAR/#&/; s/^LOGIN_TIMEOUT/#&/' ROOT/etc/login.defs
    /// ```
    "login-defs-invalid", Login, seed = ["L8"], proves = [], "login.defs has values that login cannot handle"
}

/// Settings that take a number (login.defs(5)).
const NUMBERS: [&str; 30] = [
    "ERASECHAR",
    "KILLCHAR",
    "ULIMIT",
    "UMASK",
    "HOME_MODE",
    "TTYPERM",
    "LOGIN_RETRIES",
    "LOGIN_TIMEOUT",
    "FAIL_DELAY",
    "PASS_MAX_DAYS",
    "PASS_MIN_DAYS",
    "PASS_WARN_AGE",
    "PASS_MIN_LEN",
    "PASS_MAX_LEN",
    "UID_MIN",
    "UID_MAX",
    "GID_MIN",
    "GID_MAX",
    "SYS_UID_MIN",
    "SYS_UID_MAX",
    "SYS_GID_MIN",
    "SYS_GID_MAX",
    "SUB_UID_MIN",
    "SUB_UID_MAX",
    "SUB_UID_COUNT",
    "SUB_GID_MIN",
    "SUB_GID_MAX",
    "SUB_GID_COUNT",
    "SHA_CRYPT_MIN_ROUNDS",
    "SHA_CRYPT_MAX_ROUNDS",
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let file = facts.required("/etc/login.defs")?;
    for setting in login_defs::settings(&file.bytes) {
        let is_number = NUMBERS.iter().any(|key| setting.key == key);
        if !is_number || login_defs::number(setting.value).is_some() {
            continue;
        }
        let text = lines::with_comment(&file.bytes, setting.line);
        found
            .error(tr!("{key} is {value}, which is not a number", key = setting.key, value = setting.value))
            .at(&file, setting.span)
            .why(tr!("login cannot parse it, and some versions exit there"))
            .repair(Risk::Safe, tr!("comment out line {line}", line = setting.line), [Change::edit(&file, text)]);
    }
    let last = login_defs::settings(&file.bytes).filter(|setting| setting.key == "LOGIN_TIMEOUT").last();
    if let Some(setting) = last
        && let Some(seconds @ 1..LEAST_TIMEOUT) = login_defs::number(setting.value)
    {
        let text = lines::with_comment(&file.bytes, setting.line);
        found
            .error(tr!("LOGIN_TIMEOUT leaves {seconds} s to type a user name and password", seconds))
            .at(&file, setting.span)
            .why(tr!("login on a console times out before a password can be typed"))
            .repair(Risk::Safe, tr!("comment out line {line}", line = setting.line), [Change::edit(&file, text)]);
    }
    Ok(())
}

/// Nobody types a password faster, in seconds; 0 is no limit (login.defs(5)).
const LEAST_TIMEOUT: i64 = 5;
