//! Logins that are refused.

use std::sync::Arc;

use super::{Cause, Symptom, by_area, by_checks, open};
use crate::facts::Facts;
use crate::model::about::Area;
use crate::tr;

pub(super) static SYMPTOMS: &[Symptom] = &[
    Symptom {
        words: &[
            "permission denied, please try again",
            "login incorrect",
            "authentication failure",
            "permission denied (publickey",
        ],
        causes: refused,
    },
    Symptom { words: &["module is unknown"], causes: module },
    Symptom { words: &["cannot parse erasechar", "configuration error - "], causes: login_defs },
    Symptom { words: &["invalid user", "invalid group", "you don't exist", "no passwd entry"], causes: no_user },
];

fn refused(facts: &Arc<Facts>) -> Vec<Cause> {
    let ids = [
        "root-password-locked",
        "root-account-expired",
        "root-account-missing",
        "root-shell-missing",
        "account-file-damaged",
    ];
    vec![
        by_checks(facts, tr!("the account is locked, expired, damaged or has no shell"), &ids),
        by_area(facts, tr!("PAM, sshd or a program needed for the login refuses it"), Area::Login),
        by_checks(
            facts,
            tr!("files needed for the login have wrong modes"),
            &["mode-too-open", "mode-too-strict", "setuid-lost"],
        ),
        open(
            tr!("the password is wrong, or the keyboard layout"),
            tr!(
                "this cannot be determined from here; sshd's log says which user, and sickbay fix --reset-password USER sets a new password"
            ),
        ),
    ]
}

fn module(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        by_area(facts, tr!("a PAM file names a module that does not exist or cannot be loaded"), Area::Login),
        by_checks(facts, tr!("the module directory is missing"), &["top-level-missing"]),
    ]
}

fn login_defs(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![by_checks(facts, tr!("login.defs has a line that cannot be parsed"), &["login-defs-invalid"])]
}

fn no_user(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        by_checks(
            facts,
            tr!("passwd or group is damaged, or the account is not in it"),
            &["account-file-damaged", "root-account-missing"],
        ),
        by_checks(
            facts,
            tr!("a name service library is missing (libnss_*)"),
            &["login-program-broken", "top-level-missing"],
        ),
    ]
}
