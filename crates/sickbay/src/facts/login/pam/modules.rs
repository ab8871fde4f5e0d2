//! What the modules answer when root, or another user of this machine, logs in.
//!
//! From the sources of Linux-PAM 1.1 to 1.7 (modules/pam_*/pam_*.c), whose answers these have been for that long. A module that is
//! not known, or asks something that a file does not tell, may answer everything.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use sickbay_formats::accounts::Kind as File;
use sickbay_formats::pam::{CODES, Kind, code};
use sickbay_formats::span::Span;
use sickbay_target::Reason;

use crate::facts::Facts;
use crate::facts::login::accounts::Users;
use crate::facts::login::pam::judge::Attempt;
use crate::facts::login::pam::{limits, lists};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// What a module is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The file name of the module: `pam_unix.so`.
    pub name: &'a str,
    /// What the rule gives it.
    pub args: &'a [BString],
    /// What is asked.
    pub kind: Kind,
    /// The service.
    pub service: &'a str,
    /// Who wants in, and with what.
    pub attempt: Attempt<'a>,
}

impl Question<'_> {
    /// Whether the rule gives this word.
    pub fn has(&self, word: &str) -> bool {
        self.args.iter().any(|arg| arg == word)
    }

    /// The value of the last `name=value`.
    pub fn value(&self, name: &str) -> Option<String> {
        self.args
            .iter()
            .rev()
            .find_map(|arg| arg.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Whether the user comes over the network.
    pub fn remote(&self) -> bool {
        self.service != "login"
    }
}

/// What it may answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Numbers of [`sickbay_formats::pam::CODES`]; more than one where it cannot be known.
    pub codes: Vec<usize>,
    /// What makes it answer so, besides the rule.
    pub because: Option<Because>,
}

/// A file that decides.
#[derive(Clone, Debug)]
pub enum Because {
    /// A line of it refuses the user.
    Line(Arc<SourceFile>, Span),
    /// A line of it leaves whatever the session starts too little to run: it ends as soon as it has begun.
    Starves(Arc<SourceFile>, Span),
    /// The user, shell or terminal is not in it; what would be.
    NotListed(Arc<SourceFile>, String),
    /// A file that counts failed attempts.
    Tally(PathBuf),
    /// What the file is: writable for all, or no file.
    Unfit(PathBuf),
    /// The user has set up no second factor: this file is not there.
    NoSecret(PathBuf),
}

impl Answer {
    /// One answer.
    pub fn one(code: usize) -> Answer {
        Answer { codes: vec![code], because: None }
    }

    /// One of several.
    pub fn any(codes: &[usize]) -> Answer {
        Answer { codes: codes.to_vec(), because: None }
    }

    /// `code`, since a file has it so.
    pub fn because(code: usize, because: Because) -> Answer {
        Answer { codes: vec![code], because: Some(because) }
    }

    /// Yes or no, which of them cannot be known.
    pub fn yes_or_no() -> Answer {
        Answer::any(&[code::SUCCESS, code::AUTH_ERR])
    }
}

/// What the module answers.
pub fn answer(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let Question { kind, attempt, .. } = *question;
    let root = attempt.user.uid == 0;
    let one = Answer::one;
    // What a module without a function for the kind is to libpam.
    let none = || one(code::MODULE_UNKNOWN);
    // What has nothing to say where it is asked for a password, and does its work in a session.
    let helper = || match kind {
        Kind::Auth => one(code::IGNORE),
        _ => Answer::any(&[code::SUCCESS, code::IGNORE]),
    };
    let session_only = || if kind == Kind::Session { Answer::any(&[code::SUCCESS, code::IGNORE]) } else { none() };
    let secret = || one(if attempt.right { code::SUCCESS } else { code::AUTH_ERR });
    // Directories of users elsewhere know no root, or cannot be asked.
    let elsewhere = || match kind {
        Kind::Auth => Answer::any(&[code::USER_UNKNOWN, code::AUTHINFO_UNAVAIL, code::IGNORE]),
        Kind::Account => Answer::any(&[code::USER_UNKNOWN, code::IGNORE]),
        _ => Answer::any(&[code::SUCCESS, code::IGNORE]),
    };
    Ok(match question.name {
        "pam_unix.so"
        | "pam_unix2.so"
        | "pam_unix_auth.so"
        | "pam_pwdb.so"
        | "pam_unix_acct.so"
        | "pam_unix_session.so" => match kind {
            Kind::Auth => secret(),
            _ => one(code::SUCCESS),
        },
        "pam_deny.so" => one(match kind {
            Kind::Session => code::SESSION_ERR,
            Kind::Password => code::AUTHTOK_ERR,
            _ => code::AUTH_ERR,
        }),
        "pam_permit.so" => one(code::SUCCESS),
        // It asks who runs the program: root runs login and sshd, others run su.
        "pam_rootok.so" => match kind {
            Kind::Session => none(),
            _ if matches!(question.service, "login" | "sshd") => one(code::SUCCESS),
            _ => one(code::AUTH_ERR),
        },
        "pam_nologin.so" => match kind {
            Kind::Auth | Kind::Account if question.has("successok") => one(code::SUCCESS),
            Kind::Auth | Kind::Account if !root => lists::nologin(facts, question)?,
            Kind::Auth | Kind::Account => one(code::IGNORE),
            _ => none(),
        },
        "pam_securetty.so" => match kind {
            Kind::Auth | Kind::Account if root => lists::securetty(facts, question)?,
            Kind::Auth | Kind::Account => one(code::SUCCESS),
            _ => none(),
        },
        "pam_succeed_if.so" => lists::succeed_if(question),
        "pam_access.so" => lists::access(facts, question)?,
        "pam_listfile.so" => lists::listfile(facts, question)?,
        "pam_shells.so" => match kind {
            Kind::Session | Kind::Password => none(),
            _ => lists::shells(facts, question)?,
        },
        "pam_faillock.so" => match kind {
            Kind::Auth => lists::faillock(facts, question)?,
            Kind::Account => one(code::SUCCESS),
            _ => none(),
        },
        "pam_tally2.so" => match kind {
            Kind::Auth => lists::tally2(facts, question)?,
            Kind::Account => one(code::SUCCESS),
            _ => none(),
        },
        "pam_tally.so" => match kind {
            Kind::Auth if root && !question.has("even_deny_root_account") => one(code::SUCCESS),
            Kind::Auth => Answer::yes_or_no(),
            Kind::Account => one(code::SUCCESS),
            _ => none(),
        },
        "pam_time.so" => match kind {
            Kind::Account => lists::time(facts, question)?,
            _ => none(),
        },
        "pam_localuser.so" => {
            let users = facts.get::<Users>()?;
            // A passwd without root is another fault.
            let known = root || users.parsed(File::Passwd).find(attempt.user.name.as_bytes()).is_some();
            one(if known { code::SUCCESS } else { code::PERM_DENIED })
        }
        "pam_script.so" => lists::script(facts, question)?,
        "pam_google_authenticator.so" => match kind {
            Kind::Auth => lists::second_factor(facts, question)?,
            _ => none(),
        },
        "pam_u2f.so" => match kind {
            Kind::Auth => lists::hardware(facts, question, "authfile", "~/.config/Yubico/u2f_keys", "nouserok")?,
            _ => one(code::SUCCESS),
        },
        "pam_yubico.so" => match kind {
            Kind::Auth => lists::hardware(facts, question, "authfile", "~/.yubico/authorized_yubikeys", "nullok")?,
            _ => one(code::SUCCESS),
        },
        // Who knows the right password is taken to have the telephone too.
        "pam_duo.so" if kind == Kind::Auth => secret(),
        "pam_wheel.so" => match kind {
            // It asks who runs the program: nobody runs login or sshd who could be in a group.
            Kind::Auth | Kind::Account => Answer::any(&[code::SUCCESS, code::IGNORE, code::PERM_DENIED]),
            _ => none(),
        },
        "pam_usertype.so" => {
            let system = attempt.user.uid < 1000 || attempt.user.uid == 65534;
            let wanted = if question.has("issystem") { system } else { !system };
            one(if wanted { code::SUCCESS } else { code::AUTH_ERR })
        }
        // The module for trying stacks out answers what it is told to.
        "pam_debug.so" => {
            let key = match kind {
                Kind::Auth => "auth",
                Kind::Account => "acct",
                Kind::Password => "chauthtok",
                Kind::Session => "open_session",
            };
            let wanted = question.value(key).unwrap_or_else(|| "success".to_owned());
            one(CODES.iter().position(|code| *code == wanted).unwrap_or(code::SUCCESS))
        }
        "pam_env.so" => match kind {
            Kind::Account => one(code::SERVICE_ERR),
            _ => helper(),
        },
        // What is for `auth` alone, and says nothing there.
        "pam_faildelay.so" | "pam_group.so" | "pam_issue.so" | "pam_cap.so" => match kind {
            Kind::Auth => one(code::IGNORE),
            _ => none(),
        },
        "pam_keyinit.so"
        | "pam_lastlog.so"
        | "pam_mail.so"
        | "pam_selinux.so"
        | "pam_warn.so"
        | "pam_echo.so"
        | "pam_gnome_keyring.so"
        | "pam_kwallet.so"
        | "pam_kwallet5.so"
        | "pam_ecryptfs.so"
        | "pam_sepermit.so" => helper(),
        "pam_loginuid.so" => match kind {
            Kind::Auth | Kind::Password => none(),
            _ => Answer::any(&[code::SUCCESS, code::IGNORE]),
        },
        "pam_systemd.so" | "pam_systemd_home.so" | "pam_elogind.so" => match kind {
            Kind::Session => Answer::any(&[code::SUCCESS, code::IGNORE]),
            _ => elsewhere(),
        },
        "pam_motd.so" => match kind {
            Kind::Session => one(code::IGNORE),
            _ => none(),
        },
        "pam_exec.so" => exec(facts, question),
        "pam_limits.so" if kind == Kind::Session => limits::limits(facts, question)?,
        "pam_limits.so"
        | "pam_umask.so"
        | "pam_mkhomedir.so"
        | "pam_oddjob_mkhomedir.so"
        | "pam_namespace.so"
        | "pam_tty_audit.so"
        | "pam_ck_connector.so"
        | "pam_console.so"
        | "pam_xauth.so"
        | "pam_lastlog2.so"
        | "pam_setquota.so"
        | "pam_tmpdir.so"
        | "pam_apparmor.so"
        | "pam_cgfs.so"
        | "pam_rundir.so"
        | "pam_openrc.so"
        | "pam_homecheck.so" => session_only(),
        // pam_krb5(5): what it is told to pass over it says nothing of; only as a password it is wrong.
        "pam_krb5.so" if lists::below_minimum(question) => one(match kind {
            Kind::Auth | Kind::Password => code::USER_UNKNOWN,
            _ => code::IGNORE,
        }),
        "pam_sss.so" | "pam_sss_gss.so" | "pam_winbind.so" | "pam_ldap.so" | "pam_krb5.so" | "pam_nis.so"
        | "pam_lsass.so" | "pam_centrifydc.so" | "pam_extrausers.so" => elsewhere(),
        // Google's modules let pass whom they do not manage.
        "pam_oslogin_login.so" | "pam_oslogin_admin.so" => Answer::any(&[code::SUCCESS, code::IGNORE]),
        "pam_fprintd.so" | "pam_pkcs11.so" | "pam_rhosts.so" | "pam_ssh_agent_auth.so" if kind == Kind::Auth => {
            Answer::any(&[code::AUTHINFO_UNAVAIL, code::AUTH_ERR, code::USER_UNKNOWN])
        }
        _ => Answer::any(&[code::SUCCESS, code::IGNORE, code::AUTH_ERR, code::AUTHINFO_UNAVAIL, code::USER_UNKNOWN]),
    })
}

/// pam_exec(8) fails when its program does; with `type=` it is asked only for that.
fn exec(facts: &Facts, question: &Question<'_>) -> Answer {
    if question.value("type").is_some_and(|kind| kind != question.kind.name()) {
        return Answer::one(code::IGNORE);
    }
    let failed = code::SYSTEM_ERR;
    let Some(program) = question.args.iter().find(|arg| arg.starts_with(b"/")) else { return Answer::one(failed) };
    let path = program.to_path_lossy();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match (name, facts.root().stat(&path)) {
        // What is elsewhere may be on a disk that is not mounted now.
        (_, Err(error))
            if matches!(error.reason, Reason::NotFound)
                && ["/usr", "/bin", "/sbin", "/etc"].iter().any(|dir| path.starts_with(dir)) =>
        {
            Answer::one(failed)
        }
        ("false", _) => Answer::one(failed),
        ("true", _) => Answer::one(code::SUCCESS),
        _ => Answer::any(&[code::SUCCESS, failed]),
    }
}
