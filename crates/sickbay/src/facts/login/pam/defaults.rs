//! PAM files as the distributions ship them, for those that are gone.

use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::pam::{Control, Layout, rules};

use crate::facts::Facts;
use crate::facts::login::pam::path::Modules;
use crate::facts::login::pam::{DIRS, Pam};
use crate::facts::system::release::System;
use crate::model::outcome::Skip;

/// Rules of one file, for one family.
type Default = (&'static str, &'static str);

const DEBIAN: [Default; 9] = [
    (
        "common-auth",
        "auth\t[success=1 default=ignore]\tpam_unix.so nullok\nauth\trequisite\tpam_deny.so\nauth\trequired\tpam_permit.so\n",
    ),
    (
        "common-account",
        "account\t[success=1 new_authtok_reqd=done default=ignore]\tpam_unix.so\naccount\trequisite\tpam_deny.so\n\
         account\trequired\tpam_permit.so\n",
    ),
    ("common-session", "session\trequired\tpam_unix.so\nsession\toptional\tpam_systemd.so\n"),
    ("common-session-noninteractive", "session\trequired\tpam_unix.so\n"),
    (
        "common-password",
        "password\t[success=1 default=ignore]\tpam_unix.so obscure sha512\npassword\trequisite\tpam_deny.so\n\
         password\trequired\tpam_permit.so\n",
    ),
    (
        "login",
        "auth\toptional\tpam_faildelay.so delay=3000000\nauth\trequisite\tpam_nologin.so\n\
         session\t[success=ok ignore=ignore module_unknown=ignore default=bad]\tpam_selinux.so close\n\
         session\trequired\tpam_loginuid.so\n\
         session\t[success=ok ignore=ignore module_unknown=ignore default=bad]\tpam_selinux.so open\n\
         session\trequired\tpam_env.so readenv=1\n\
         session\trequired\tpam_env.so readenv=1 envfile=/etc/default/locale\n@include common-auth\n\
         auth\toptional\tpam_group.so\nsession\trequired\tpam_limits.so\nsession\toptional\tpam_lastlog.so\n\
         session\toptional\tpam_motd.so motd=/run/motd.dynamic\nsession\toptional\tpam_motd.so noupdate\n\
         session\toptional\tpam_mail.so standard\nsession\toptional\tpam_keyinit.so force revoke\n\
         @include common-account\n@include common-session\n@include common-password\n",
    ),
    (
        "sshd",
        "@include common-auth\naccount\trequired\tpam_nologin.so\n@include common-account\n\
         session\t[success=ok ignore=ignore module_unknown=ignore default=bad]\tpam_selinux.so close\n\
         session\trequired\tpam_loginuid.so\nsession\toptional\tpam_keyinit.so force revoke\n@include common-session\n\
         session\toptional\tpam_motd.so motd=/run/motd.dynamic\nsession\toptional\tpam_motd.so noupdate\n\
         session\toptional\tpam_mail.so standard noenv\nsession\trequired\tpam_limits.so\nsession\trequired\tpam_env.so\n\
         session\trequired\tpam_env.so envfile=/etc/default/locale\n\
         session\t[success=ok ignore=ignore module_unknown=ignore default=bad]\tpam_selinux.so open\n\
         @include common-password\n",
    ),
    (
        "su",
        "auth\tsufficient\tpam_rootok.so\nsession\trequired\tpam_env.so readenv=1\nsession\toptional\tpam_mail.so nopen\n\
         session\trequired\tpam_limits.so\n@include common-auth\n@include common-account\n@include common-session\n",
    ),
    ("other", "@include common-auth\n@include common-account\n@include common-password\n@include common-session\n"),
];

const SYSTEM_AUTH: &str = "auth        required      pam_env.so\nauth        sufficient    pam_unix.so nullok\n\
    auth        required      pam_deny.so\n\naccount     required      pam_unix.so\n\n\
    password    sufficient    pam_unix.so sha512 shadow nullok\npassword    required      pam_deny.so\n\n\
    session     optional      pam_keyinit.so revoke\nsession     required      pam_limits.so\n\
    -session    optional      pam_systemd.so\nsession     required      pam_unix.so\n";

const RED_HAT: [Default; 7] = [
    ("system-auth", SYSTEM_AUTH),
    ("password-auth", SYSTEM_AUTH),
    (
        "postlogin",
        "session     optional      pam_umask.so silent\nsession     optional      pam_lastlog.so silent noupdate showfailed\n",
    ),
    (
        "login",
        "auth       substack     system-auth\nauth       include      postlogin\naccount    required     pam_nologin.so\n\
         account    include      system-auth\npassword   include      system-auth\n\
         session    required     pam_selinux.so close\nsession    required     pam_loginuid.so\n\
         session    required     pam_selinux.so open\nsession    optional     pam_keyinit.so force revoke\n\
         session    include      system-auth\nsession    include      postlogin\n",
    ),
    (
        "sshd",
        "auth       substack     password-auth\nauth       include      postlogin\naccount    required     pam_nologin.so\n\
         account    include      password-auth\npassword   include      password-auth\n\
         session    required     pam_selinux.so close\nsession    required     pam_loginuid.so\n\
         session    required     pam_selinux.so open env_params\nsession    optional     pam_keyinit.so force revoke\n\
         session    include      password-auth\nsession    include      postlogin\n",
    ),
    (
        "su",
        "auth       sufficient   pam_rootok.so\nauth       substack     system-auth\naccount    sufficient   pam_rootok.so\n\
         account    include      system-auth\npassword   include      system-auth\nsession    include      system-auth\n",
    ),
    (
        "other",
        "auth     required       pam_deny.so\naccount  required       pam_deny.so\npassword required       pam_deny.so\n\
         session  required       pam_deny.so\n",
    ),
];

const SUSE: [Default; 8] = [
    ("common-auth", "auth\trequired\tpam_env.so\nauth\trequired\tpam_unix.so try_first_pass\n"),
    ("common-account", "account\trequired\tpam_unix.so try_first_pass\n"),
    ("common-password", "password\trequired\tpam_unix.so nullok shadow try_first_pass\n"),
    (
        "common-session",
        "session\trequired\tpam_limits.so\nsession\trequired\tpam_unix.so try_first_pass\nsession\toptional\tpam_umask.so\n\
         session\toptional\tpam_systemd.so\nsession\toptional\tpam_env.so\n",
    ),
    (
        "login",
        "auth     requisite      pam_nologin.so\nauth     include        common-auth\naccount  include        common-account\n\
         password include        common-password\nsession  required       pam_loginuid.so\n\
         session  include        common-session\nsession  optional       pam_lastlog.so nowtmp\n\
         session  optional       pam_mail.so standard\n",
    ),
    (
        "sshd",
        "auth     requisite      pam_nologin.so\nauth     include        common-auth\naccount  requisite      pam_nologin.so\n\
         account  include        common-account\npassword include        common-password\n\
         session  required       pam_loginuid.so\nsession  include        common-session\n\
         session  optional       pam_lastlog.so silent noupdate showfailed\n",
    ),
    (
        "su",
        "auth     sufficient     pam_rootok.so\nauth     include        common-auth\naccount  sufficient     pam_rootok.so\n\
         account  include        common-account\npassword include        common-password\n\
         session  include        common-session\n",
    ),
    (
        "other",
        "auth     required       pam_deny.so\naccount  required       pam_deny.so\npassword required       pam_deny.so\n\
         session  required       pam_deny.so\n",
    ),
];

/// The file `name` for the target's family, without rules whose module or file is not there.
pub fn text(facts: &Facts, pam: &Pam, name: &str) -> Result<Option<String>, Skip> {
    if pam.debian
        && let Some(text) = from_profiles(facts, name)?
    {
        return Ok(Some(text));
    }
    // SUSE's tools write common-auth-pc and link common-auth to it.
    let plain = name.strip_suffix("-pc").or_else(|| name.strip_suffix("-ac")).unwrap_or(name);
    let release = &facts.get::<System>()?.release;
    let is_suse = release.id.iter().chain(&release.id_like).any(|id| id.contains("suse") || id.starts_with("sle"));
    let table: &[Default] = match (pam.debian, is_suse) {
        (true, _) => &DEBIAN,
        (_, true) => &SUSE,
        _ => &RED_HAT,
    };
    let Some((_, text)) = table.iter().find(|(known, _)| *known == plain) else { return Ok(None) };
    let modules = facts.get::<Modules>()?;
    let mut kept = String::from("#%PAM-1.0\n");
    for line in text.lines() {
        if line_is_usable(facts, &modules, line, plain)? {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(Some(kept))
}

/// Modules that no system is without: where they are missing they will come back.
const ESSENTIAL: [&str; 3] = ["pam_unix.so", "pam_deny.so", "pam_permit.so"];

fn line_is_usable(facts: &Facts, modules: &Modules, line: &str, file: &str) -> Result<bool, Skip> {
    let Some(rule) = rules(line.as_bytes(), Layout::Service).into_iter().next() else { return Ok(true) };
    let Some(module) = &rule.module else { return Ok(true) };
    if !matches!(rule.control, Control::Actions(_)) {
        // Files that are gone together come back together, but what never was is not asked for.
        let known =
            ["common-", "system-auth", "password-auth"].iter().any(|known| module.text.starts_with(known.as_bytes()));
        if known || module.text == file {
            return Ok(true);
        }
        for dir in DIRS {
            if facts.root().exists(Path::new(dir).join(&*module.text.to_str_lossy()))? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    Ok(ESSENTIAL.iter().any(|name| module.text == *name) || modules.works(facts, &module.text)?)
}

/// One of Debian's `common-` files, put together as pam-auth-update(8) does it: from `/usr/share/pam/common-*` and the
/// profiles of `/usr/share/pam-configs` that are on by default.
fn from_profiles(facts: &Facts, name: &str) -> Result<Option<String>, Skip> {
    let Some(kind) = name.strip_prefix("common-") else { return Ok(None) };
    let Some(template) = facts.file(Path::new("/usr/share/pam").join(name))? else { return Ok(None) };
    let (word, interactive) = match kind {
        "session-noninteractive" => ("Session", false),
        "auth" => ("Auth", true),
        "account" => ("Account", true),
        "password" => ("Password", true),
        "session" => ("Session", true),
        _ => return Ok(None),
    };
    let dir = Path::new("/usr/share/pam-configs");
    let mut profiles: Vec<Profile> = Vec::new();
    for entry in facts.root().read_dir(dir).unwrap_or_default() {
        if let Some(file) = facts.file(dir.join(&entry.name))? {
            profiles.push(Profile::parse(&file.bytes.to_str_lossy()));
        }
    }
    profiles.retain(|profile| {
        profile.is("Default", "yes") && (interactive || !profile.is(&format!("{word}-Interactive-Only"), "yes"))
    });
    profiles.sort_by_key(|profile| {
        std::cmp::Reverse(profile.get("Priority").and_then(|value| value.parse::<i64>().ok()).unwrap_or(0))
    });
    let modules = facts.get::<Modules>()?;
    let kind_word = word.to_lowercase();
    let block = |part: &str| -> Result<Vec<String>, Skip> {
        let mut lines: Vec<String> = Vec::new();
        for profile in profiles.iter().filter(|profile| profile.is(&format!("{word}-Type"), part)) {
            let initial = profile.get(&format!("{word}-Initial")).filter(|_| lines.is_empty());
            let own = || profile.get(word).or_else(|| profile.get(&format!("{word}-Final")));
            for line in initial.or_else(own).unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
                let line = format!("{kind_word}\t{}", line.trim());
                if line_is_usable(facts, &modules, &line.replace("=end", "=1"), name)? {
                    lines.push(line);
                }
            }
        }
        Ok(lines)
    };
    let mut primary = block("Primary")?;
    let count = primary.len();
    for (index, line) in primary.iter_mut().enumerate() {
        // To behind the line that refuses.
        *line = line.replace("=end", &format!("={}", count - index));
    }
    if primary.is_empty() {
        if word != "Session" {
            return Ok(None);
        }
        primary.push(format!("{kind_word}\t[default=1]\tpam_permit.so"));
    }
    let additional = block("Additional")?;
    let mut text = String::new();
    for line in template.bytes.to_str_lossy().lines() {
        match line.trim().strip_prefix('$') {
            Some(variable) if variable.ends_with("_primary") => primary.iter().for_each(|line| push(&mut text, line)),
            Some(variable) if variable.ends_with("_additional") => {
                additional.iter().for_each(|line| push(&mut text, line))
            }
            Some(_) => {}
            None => push(&mut text, line),
        }
    }
    Ok(Some(text))
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A profile of pam-auth-update: `Key: value`, values going on in lines that begin with a blank.
struct Profile(Vec<(String, String)>);

impl Profile {
    fn parse(text: &str) -> Profile {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((key, value)) = line.split_once(':') {
                fields.push((key.trim().to_owned(), value.trim().to_owned()));
            }
        }
        Profile(fields)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }

    fn is(&self, key: &str, value: &str) -> bool {
        self.get(key).is_some_and(|own| own.eq_ignore_ascii_case(value))
    }
}
