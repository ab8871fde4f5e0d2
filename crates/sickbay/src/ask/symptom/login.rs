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
        by_area(facts, tr!("PAM, sshd or a program of the login refuses"), Area::Login),
        by_checks(
            facts,
            tr!("files of the login have wrong modes"),
            &["mode-too-open", "mode-too-strict", "setuid-lost"],
        ),
        open(
            tr!("the password is wrong, or the keyboard's layout"),
            tr!(
                "nobody can tell from here; the log of sshd says which user, and sickbay fix --reset-password USER sets a new one"
            ),
        ),
    ]
}

fn module(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        by_area(facts, tr!("a file of PAM names a module that is not there, or cannot be loaded"), Area::Login),
        by_checks(facts, tr!("the directory of the modules is gone"), &["top-level-missing"]),
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
            tr!("a library that looks names up is gone (libnss_*)"),
            &["login-program-broken", "top-level-missing"],
        ),
    ]
}
