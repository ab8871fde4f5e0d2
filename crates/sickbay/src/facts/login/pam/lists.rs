//! Modules that decide by conditions and lists: pam_succeed_if, pam_access, pam_listfile, pam_securetty, pam_shells,
//! pam_faillock, pam_tally2, pam_time, pam_nologin.

use std::path::Path;
use std::sync::Arc;

use bstr::{BStr, ByteSlice};
use sickbay_formats::lines::{Line, lines};
use sickbay_formats::pam::{Kind, code};
use sickbay_formats::wildcard::fits;

use crate::facts::Facts;
use crate::facts::login::pam::judge::User;
use crate::facts::login::pam::modules::{Answer, Because, Question};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// Terminals of consoles, as cloud machines have them.
const CONSOLES: [&str; 5] = ["tty1", "ttyS0", "ttyAMA0", "hvc0", "console"];

/// Whether something holds; `None` where it cannot be known.
type Maybe = Option<bool>;

fn told(holds: Maybe, refusal: usize) -> Answer {
    match holds {
        Some(true) => Answer::one(code::SUCCESS),
        Some(false) => Answer::one(refusal),
        None => Answer::any(&[code::SUCCESS, refusal]),
    }
}

/// pam_succeed_if(8): conditions of three words each; all must hold.
pub fn succeed_if(question: &Question<'_>) -> Answer {
    const FLAGS: [&str; 6] = ["debug", "use_uid", "quiet", "quiet_fail", "quiet_success", "audit"];
    let words: Vec<&BStr> =
        question.args.iter().map(|arg| arg.as_bstr()).filter(|arg| !FLAGS.iter().any(|flag| arg == flag)).collect();
    // use_uid means the user who runs the program, which is root.
    let root = User {
        name: "root".to_owned(),
        uid: 0,
        gid: 0,
        groups: vec!["root".to_owned()],
        gids: vec![0],
        home: "/root".to_owned(),
        shell: String::new(),
    };
    let user = if question.has("use_uid") && question.attempt.user.uid != 0 { &root } else { question.attempt.user };
    let mut all = Some(true);
    for condition in words.chunks(3) {
        let [left, operator, right] = condition else { return Answer::one(code::SERVICE_ERR) };
        match holds(question, user, left, operator, right) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => return told(Some(false), code::AUTH_ERR),
            Ok(None) => all = None,
            Err(code) => return Answer::one(code),
        }
    }
    told(all, code::AUTH_ERR)
}

fn holds(question: &Question<'_>, user: &User, left: &BStr, operator: &BStr, right: &BStr) -> Result<Maybe, usize> {
    let lower = left.to_str_lossy().to_lowercase();
    let value = match lower.as_str() {
        "login" | "name" | "user" => Some(user.name.clone()),
        "uid" => Some(user.uid.to_string()),
        "gid" => Some(user.gid.to_string()),
        "shell" => Some(user.shell.clone()),
        "home" | "dir" | "homedir" => Some(user.home.clone()),
        "service" => Some(question.service.to_owned()),
        "ruser" => Some(String::new()),
        "rhost" if !question.remote() => Some(String::new()),
        "tty" if question.remote() => Some("ssh".to_owned()),
        "rhost" | "tty" => None,
        _ => return Err(code::SERVICE_ERR),
    };
    let groups =
        || right.split(|byte| *byte == b':').any(|group| user.groups.iter().any(|name| name.as_bytes() == group));
    let operator = operator.to_str_lossy().to_lowercase();
    match operator.as_str() {
        "ingroup" => return Ok(Some(groups())),
        "notingroup" => return Ok(Some(!groups())),
        "innetgr" | "notinnetgr" => return Ok(None),
        _ => {}
    }
    let known = matches!(
        operator.as_str(),
        "<" | "lt"
            | "<="
            | "le"
            | ">"
            | "gt"
            | ">="
            | "ge"
            | "eq"
            | "ne"
            | "="
            | "!="
            | "=~"
            | "glob"
            | "!~"
            | "noglob"
            | "in"
            | "notin"
    );
    if !known {
        return Err(code::SERVICE_ERR);
    }
    let Some(value) = value else { return Ok(None) };
    let numbers = || -> Result<(i64, i64), usize> {
        let number = |text: &str| text.parse::<i64>().map_err(|_| code::SERVICE_ERR);
        Ok((number(&value)?, number(&right.to_str_lossy())?))
    };
    let same = value.as_bytes() == right.as_bytes();
    let listed = || right.split(|byte| *byte == b':').any(|word| word == value.as_bytes());
    Ok(Some(match operator.as_str() {
        "<" | "lt" => numbers().map(|(a, b)| a < b)?,
        "<=" | "le" => numbers().map(|(a, b)| a <= b)?,
        ">" | "gt" => numbers().map(|(a, b)| a > b)?,
        ">=" | "ge" => numbers().map(|(a, b)| a >= b)?,
        "eq" => numbers().map(|(a, b)| a == b)?,
        "ne" => numbers().map(|(a, b)| a != b)?,
        "=" => same,
        "!=" => !same,
        "in" => listed(),
        "notin" => !listed(),
        // Brackets of patterns are not known here.
        _ if right.contains(&b'[') => return Ok(None),
        "=~" | "glob" => fits(value.as_bytes(), right),
        _ => !fits(value.as_bytes(), right),
    }))
}

/// pam_access(8): the first line of access.conf(5) that is about the user and where they come from. From which console or
/// host is the user's choice: a place from which they are let in is one.
pub fn access(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let default = "/etc/security/access.conf";
    let named = question.value("accessfile");
    let mut files = Vec::new();
    match facts.file(named.as_deref().unwrap_or(default))? {
        Some(file) => files.push(file),
        None if named.is_some() => return Ok(Answer::one(code::PERM_DENIED)),
        None => {}
    }
    if named.is_none() {
        let dir = Path::new("/etc/security/access.d");
        let entries = facts.root().read_dir(dir).unwrap_or_default();
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        for name in names.iter().filter(|name| name.to_string_lossy().ends_with(".conf")) {
            files.extend(facts.file(dir.join(name))?);
        }
    }
    let fields = question.value("fieldsep").unwrap_or_else(|| ":".to_owned());
    let separators = question.value("listsep").unwrap_or_else(|| ", \t".to_owned());
    // Some places were refused already; and lines of which it is not known whether they are about the user.
    let (mut narrowed, mut may_allow, mut may_deny) = (false, false, false);
    let doubt = || Ok(Answer::any(&[code::SUCCESS, code::PERM_DENIED]));
    for file in &files {
        for line in lines(&file.bytes) {
            let text = line.text.trim_ascii_end();
            // Lines without an end are passed over, as libpam does.
            if text.is_empty() || text.starts_with(b"#") || line.end.is_empty() {
                continue;
            }
            let mut parts = text.splitn(3, |byte| fields.as_bytes().contains(byte));
            let (Some(sign), Some(users), Some(origins)) = (parts.next(), parts.next(), parts.next()) else { continue };
            let allow = match sign.first() {
                Some(b'+') => true,
                Some(b'-') => false,
                _ => continue,
            };
            let about_user = listed(users, &separators, |token| user_fits(question, token));
            let about_origin = listed(origins, &separators, |token| origin_fits(question, token));
            match (about_user, about_origin) {
                (Some(false), _) | (_, Some(false)) => {}
                (Some(true), Some(true)) if allow && may_deny => return doubt(),
                (Some(true), Some(true)) if !allow && may_allow => return doubt(),
                (Some(true), Some(true)) if allow => return Ok(Answer::one(code::SUCCESS)),
                (Some(true), Some(true)) => {
                    let because = Because::Line(Arc::clone(file), line.whole());
                    return Ok(Answer::because(code::PERM_DENIED, because));
                }
                // From there.
                (Some(true), None) if allow && !narrowed && !may_deny => return Ok(Answer::one(code::SUCCESS)),
                // Not from there.
                (Some(true), None) if !allow => narrowed = true,
                _ if allow => may_allow = true,
                _ => may_deny = true,
            }
        }
    }
    if may_deny { doubt() } else { Ok(Answer::one(code::SUCCESS)) }
}

/// Whether a list of access.conf names something; `EXCEPT` turns round what was named before it.
fn listed(list: &[u8], separators: &str, fits: impl Fn(&BStr) -> Maybe) -> Maybe {
    let (mut inclusion, mut matched, mut result) = (true, Some(false), Some(false));
    let tokens = list.split(|byte| separators.as_bytes().contains(byte)).filter(|token| !token.is_empty());
    for token in tokens {
        if token.eq_ignore_ascii_case(b"EXCEPT") {
            match matched {
                Some(false) => break,
                Some(true) => {}
                None => return None,
            }
            inclusion = !inclusion;
            matched = Some(false);
            continue;
        }
        match fits(token.as_bstr()) {
            Some(true) => {
                result = Some(inclusion);
                matched = Some(true);
            }
            Some(false) => {}
            None => {
                if matched == Some(false) {
                    matched = None;
                }
                if result != Some(inclusion) {
                    result = None;
                }
            }
        }
    }
    result
}

fn user_fits(question: &Question<'_>, token: &BStr) -> Maybe {
    let user = question.attempt.user;
    let in_group = |group: &[u8]| user.groups.iter().any(|name| name.as_bytes() == group);
    if let Some(group) = token.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")")) {
        return Some(in_group(group) || group == user.gid.to_string().as_bytes());
    }
    if token.starts_with(b"@") {
        return None;
    }
    if let Some(at) = token.find_byte(b'@') {
        // user@host: whose host is not known.
        let name = token.get(..at).unwrap_or_default();
        return match user_fits(question, name.as_bstr()) {
            Some(false) => Some(false),
            _ => None,
        };
    }
    let name = token.eq_ignore_ascii_case(b"ALL") || token.eq_ignore_ascii_case(user.name.as_bytes());
    Some(name || (!question.has("nodefgroup") && in_group(token)))
}

fn origin_fits(question: &Question<'_>, token: &BStr) -> Maybe {
    if token.eq_ignore_ascii_case(b"ALL") {
        return Some(true);
    }
    if token.eq_ignore_ascii_case(b"LOCAL") {
        return Some(!question.remote());
    }
    if !question.remote() {
        // A login at a console: which one is the user's choice.
        let console = CONSOLES.iter().any(|name| token.eq_ignore_ascii_case(name.as_bytes()));
        return if token.eq_ignore_ascii_case(b"tty1") || token.starts_with(b"@") || console {
            None
        } else {
            Some(false)
        };
    }
    let terminal = token.starts_with(b"tty") || token.starts_with(b"pts/") || *token == "console";
    if terminal { Some(false) } else { None }
}

/// The lines of a list without their ends.
fn words(file: &SourceFile) -> impl Iterator<Item = Line<'_>> {
    lines(&file.bytes)
}

/// pam_securetty(8), for root: the terminal must be in the list, if there is one.
pub fn securetty(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let path = "/etc/securetty";
    let Some(file) = facts.file(path)? else { return Ok(Answer::one(code::SUCCESS)) };
    if facts.root().stat(path).is_ok_and(|metadata| metadata.mode & 0o002 != 0) {
        return Ok(Answer::because(code::AUTH_ERR, Because::Unfit(path.into())));
    }
    let has = |name: &str| words(&file).any(|line| line.text == name.as_bytes());
    let is_listed = match question.remote() {
        true => has("ssh"),
        false => CONSOLES.iter().any(|name| has(name)),
    };
    Ok(match is_listed {
        true => Answer::one(code::SUCCESS),
        false => {
            let wanted = if question.remote() { "ssh" } else { "tty1" };
            Answer::because(code::AUTH_ERR, Because::NotListed(file, wanted.to_owned()))
        }
    })
}

/// pam_shells(8).
pub fn shells(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let shell = match question.attempt.user.shell.as_str() {
        "" => "/bin/sh",
        shell => shell,
    };
    let Some(file) = facts.file("/etc/shells")? else {
        // SUSE has one in /usr/etc.
        let there = facts.file("/usr/etc/shells")?.is_some();
        return Ok(if there { Answer::yes_or_no() } else { Answer::one(code::AUTH_ERR) });
    };
    let listed = words(&file).any(|line| line.text.trim_ascii_end() == shell.as_bytes());
    Ok(match listed {
        true => Answer::one(code::SUCCESS),
        false => Answer::because(code::AUTH_ERR, Because::NotListed(file, shell.to_owned())),
    })
}

/// pam_google_authenticator(8): whoever has a file with a secret can give the code; who has none is refused, or with `nullok`
/// passed over. Who knows the right password is taken to know the code too.
pub fn second_factor(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let user = question.attempt.user;
    let path = question.value("secret").unwrap_or_else(|| "~/.google_authenticator".to_owned());
    let path = path.replace("${USER}", &user.name).replace("%u", &user.name).replace("${HOME}", &user.home);
    let path = match path.strip_prefix('~') {
        Some(rest) => format!("{}{rest}", user.home),
        None => path,
    };
    Ok(match facts.root().exists(&path)? {
        true => Answer::one(if question.attempt.right { code::SUCCESS } else { code::AUTH_ERR }),
        false if question.has("nullok") => Answer::one(code::IGNORE),
        false => Answer::because(code::AUTH_ERR, Because::NoSecret(path.into())),
    })
}

/// pam_u2f(8), pam_yubico(8): a file of `user:keys`, in one place for all or in each home, and a word by which whoever has
/// none in it is let pass. Who knows the right password is taken to hold the key too.
pub fn hardware(
    facts: &Facts,
    question: &Question<'_>,
    option: &str,
    usual: &str,
    passing: &str,
) -> Result<Answer, Skip> {
    let user = question.attempt.user;
    let path = question.value(option).unwrap_or_else(|| usual.to_owned());
    let path = path.replace("%u", &user.name).replace("%h", &user.home);
    let path = match path.strip_prefix('~') {
        Some(rest) => format!("{}{rest}", user.home),
        None => path,
    };
    let file = facts.file(&path)?;
    let is_theirs = |line: Line<'_>| {
        line.text.trim_ascii_start().strip_prefix(user.name.as_bytes()).is_some_and(|rest| rest.starts_with(b":"))
    };
    Ok(match file.is_some_and(|file| lines(&file.bytes).any(is_theirs)) {
        true => Answer::one(if question.attempt.right { code::SUCCESS } else { code::AUTH_ERR }),
        // Releases differ in which of the two it is.
        false if question.has(passing) => Answer::any(&[code::SUCCESS, code::IGNORE]),
        false => Answer::because(code::USER_UNKNOWN, Because::NoSecret(path.into())),
    })
}

/// Whether pam_krb5(5) is told by its rule to pass the user over.
pub fn below_minimum(question: &Question<'_>) -> bool {
    let uid = question.attempt.user.uid;
    let minimum = question.value("minimum_uid").and_then(|value| value.parse::<u32>().ok()).unwrap_or_default();
    uid < minimum || (uid == 0 && question.has("ignore_root"))
}

/// pam-script(7): a script of the administrator decides. Without one it fails, unless `onerr=success` is given.
pub fn script(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let (name, failed) = match question.kind {
        Kind::Auth => ("pam_script_auth", code::AUTH_ERR),
        Kind::Account => ("pam_script_acct", code::PERM_DENIED),
        Kind::Password => ("pam_script_passwd", code::AUTHTOK_ERR),
        Kind::Session => ("pam_script_ses_open", code::SESSION_ERR),
    };
    // The second one is where it looks unless a distribution changes that.
    let dirs = match question.value("dir") {
        Some(dir) => vec![dir],
        None => vec!["/usr/share/libpam-script".to_owned(), "/etc/pam-script".to_owned()],
    };
    for dir in dirs {
        if facts.root().exists(Path::new(&dir).join(name))? {
            return Ok(Answer::any(&[code::SUCCESS, failed]));
        }
    }
    let succeeds = question.value("onerr").as_deref() == Some("success");
    Ok(Answer::one(if succeeds { code::SUCCESS } else { failed }))
}

/// pam_listfile(8).
pub fn listfile(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let user = question.attempt.user;
    let on_error = match question.value("onerr").as_deref() {
        Some("succeed") => code::SUCCESS,
        _ => code::SERVICE_ERR,
    };
    let (Some(item), Some(path), Some(sense)) =
        (question.value("item"), question.value("file"), question.value("sense"))
    else {
        return Ok(Answer::one(on_error));
    };
    let deny = match sense.as_str() {
        "deny" => true,
        "allow" => false,
        _ => return Ok(Answer::one(on_error)),
    };
    // For what belongs to the user, the shell too, `apply` is passed over.
    if let Some(apply) = question.value("apply")
        && matches!(item.as_str(), "tty" | "rhost")
    {
        let applies = match apply.strip_prefix('@') {
            Some(group) => user.groups.iter().any(|name| name == group),
            None => apply == user.name,
        };
        if !applies {
            return Ok(Answer::one(code::IGNORE));
        }
    }
    let Some(file) = facts.file(&path)? else {
        return Ok(Answer::one(on_error));
    };
    if facts.root().stat(&path).is_ok_and(|metadata| metadata.mode & 0o002 != 0) {
        return Ok(Answer::because(code::AUTH_ERR, Because::Unfit(path.into())));
    }
    let find = |wanted: &dyn Fn(&[u8]) -> bool| {
        words(&file).find(|line| !line.text.is_empty() && wanted(line.text.strip_suffix(b"\r").unwrap_or(line.text)))
    };
    let (found, value) = match item.as_str() {
        "user" => (find(&|text| text == user.name.as_bytes()), user.name.clone()),
        "group" => {
            let first = user.groups.first().cloned().unwrap_or_default();
            (find(&|text| user.groups.iter().any(|name| name.as_bytes() == text)), first)
        }
        "shell" => (find(&|text| text == user.shell.as_bytes()), user.shell.clone()),
        "tty" | "rhost" => return Ok(Answer::yes_or_no()),
        _ => return Ok(Answer::one(on_error)),
    };
    Ok(match (deny, found) {
        (true, None) | (false, Some(_)) => Answer::one(code::SUCCESS),
        (true, Some(line)) => Answer::because(code::AUTH_ERR, Because::Line(Arc::clone(&file), line.whole())),
        (false, None) => Answer::because(code::AUTH_ERR, Because::NotListed(Arc::clone(&file), value)),
    })
}

/// pam_nologin(8), for others than root.
pub fn nologin(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let own = question.value("file");
    let paths: Vec<String> = match own {
        Some(path) => vec![path],
        None => ["/var/run/nologin", "/etc/nologin"].map(str::to_owned).to_vec(),
    };
    for path in paths {
        if facts.root().exists(&path)? {
            return Ok(Answer::one(code::AUTH_ERR));
        }
    }
    Ok(Answer::one(code::IGNORE))
}

/// pam_time(8): a line `services;terminals;users;times` refuses where the first three are met and the time is another.
/// Only lines that are about the user matter; which time it will be is not known.
pub fn time(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let path = question.value("conffile").unwrap_or_else(|| "/etc/security/time.conf".to_owned());
    let Some(file) = facts.file(path)? else { return Ok(Answer::one(code::SUCCESS)) };
    let mut in_doubt = false;
    let mut text: Vec<u8> = Vec::new();
    for line in lines(&file.bytes) {
        let content = line.text.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if let Some(begin) = content.strip_suffix(b"\\") {
            text.extend_from_slice(begin);
            continue;
        }
        text.extend_from_slice(content);
        let whole = std::mem::take(&mut text);
        let fields: Vec<&[u8]> = whole.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).collect();
        let [services, terminals, users, times] = fields.as_slice() else { continue };
        let user = question.attempt.user;
        let name = |wanted: &str| {
            let wanted = wanted.to_owned();
            move |token: &[u8]| Some(fits(wanted.as_bytes(), token))
        };
        let met = [
            logic(services, &name(question.service)),
            logic(terminals, &|token| (token == b"*").then_some(true)),
            match users.starts_with(b"@") {
                true => None,
                false => logic(users, &name(&user.name)),
            },
        ];
        let in_time = logic(times, &|token| (token == b"Al0000-2400").then_some(true));
        if met.contains(&Some(false)) || in_time == Some(true) {
            continue;
        }
        if met == [Some(true); 3] && in_time == Some(false) {
            return Ok(Answer::because(code::PERM_DENIED, Because::Line(Arc::clone(&file), line.whole())));
        }
        in_doubt = true;
    }
    Ok(if in_doubt { Answer::any(&[code::SUCCESS, code::PERM_DENIED]) } else { Answer::one(code::SUCCESS) })
}

/// A list of pam_time and pam_group: words joined by `&` and `|` from left to right, each perhaps behind `!`.
fn logic(list: &[u8], holds: &dyn Fn(&[u8]) -> Maybe) -> Maybe {
    let (mut result, mut and, mut rest) = (Some(false), false, list);
    loop {
        let end = rest.iter().position(|byte| b"&|".contains(byte)).unwrap_or(rest.len());
        let mut token = rest.get(..end).unwrap_or_default().trim_ascii();
        let mut negated = false;
        while let Some(inner) = token.strip_prefix(b"!") {
            negated = !negated;
            token = inner.trim_ascii();
        }
        let value = holds(token).map(|value| value != negated);
        result = match (and, result, value) {
            (true, Some(false), _) | (true, _, Some(false)) => Some(false),
            (false, Some(true), _) | (false, _, Some(true)) => Some(true),
            (_, Some(a), Some(b)) => Some(if and { a && b } else { a || b }),
            _ => None,
        };
        let Some(sign) = rest.get(end) else { return result };
        and = *sign == b'&';
        rest = rest.get(end + 1..).unwrap_or_default();
    }
}

/// The value of a time option: seconds, or `never`, which is 0.
fn seconds(value: Option<String>) -> Option<i64> {
    match value.as_deref() {
        Some("never") => Some(0),
        value => value.and_then(|value| value.parse().ok()),
    }
}

/// pam_faillock(8): a file for each user, records of 64 bytes (modules/pam_faillock/faillock.h).
pub fn faillock(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let conf = question.value("conf").unwrap_or_else(|| "/etc/security/faillock.conf".to_owned());
    let conf = facts.file(&conf)?;
    let from_conf = |name: &str| -> Option<String> {
        conf.iter().flat_map(|file| lines(&file.bytes)).find_map(|line| {
            let text = line.text.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
            let (key, value) = match text.find_byte(b'=') {
                Some(at) => (text.get(..at)?, text.get(at + 1..)?),
                None => (text, &b""[..]),
            };
            (key.trim_ascii() == name.as_bytes()).then(|| value.trim_ascii().to_str_lossy().into_owned())
        })
    };
    let value = |name: &str| question.value(name).or_else(|| from_conf(name));
    let number = |name: &str, default: i64| value(name).and_then(|value| value.parse().ok()).unwrap_or(default);
    let user = question.attempt.user;
    let root = user.uid == 0;
    let denies_root =
        question.has("even_deny_root") || from_conf("even_deny_root").is_some() || value("root_unlock_time").is_some();
    let dir = value("dir").unwrap_or_else(|| "/var/run/faillock".to_owned());
    let unlock = seconds(value("unlock_time")).unwrap_or(600);
    let unlock = if root { seconds(value("root_unlock_time")).unwrap_or(unlock) } else { unlock };
    let path = Path::new(&dir).join(&user.name);
    let locked = if root && !denies_root {
        false
    } else {
        let records = facts.file(&path)?;
        let times: Vec<i64> = records
            .iter()
            .flat_map(|file| file.bytes.chunks_exact(64))
            .filter(|record| record.get(54).is_some_and(|status| status & 1 != 0))
            .filter_map(|record| i64::try_from(u64::from_le_bytes(record.get(56..64)?.try_into().ok()?)).ok())
            .collect();
        let latest = times.iter().copied().max().unwrap_or_default();
        let interval = number("fail_interval", 900);
        let failures = times.iter().filter(|time| latest.saturating_sub(**time) < interval).count();
        let deny = number("deny", 3);
        let over = unlock != 0 && latest.saturating_add(unlock) < facts.now().as_second();
        deny > 0 && i64::try_from(failures).unwrap_or(i64::MAX) >= deny && !over
    };
    Ok(match locked {
        true => Answer::because(code::AUTH_ERR, Because::Tally(path)),
        // Who comes here has failed.
        false if question.has("authfail") => Answer::one(code::IGNORE),
        false => Answer::one(code::SUCCESS),
    })
}

/// pam_tally2(8): one file, the record of 64 bytes at the user's number (modules/pam_tally2/tallylog.h).
pub fn tally2(facts: &Facts, question: &Question<'_>) -> Result<Answer, Skip> {
    let user = question.attempt.user;
    let root = user.uid == 0;
    let number = |name: &str| question.value(name).and_then(|value| value.parse::<i64>().ok());
    let denies_root = question.has("even_deny_root") || question.has("even_deny_root_account");
    let deny = number("deny").unwrap_or_default();
    if question.has("magic_root") || deny == 0 || (root && !denies_root) {
        return Ok(Answer::one(code::SUCCESS));
    }
    let path = question.value("file").unwrap_or_else(|| "/var/log/tallylog".to_owned());
    let Some(file) = facts.file(&path)? else { return Ok(Answer::one(code::SUCCESS)) };
    let record = usize::try_from(user.uid).ok().and_then(|uid| file.bytes.chunks_exact(64).nth(uid));
    let Some((count, time)) = record.and_then(|record| {
        let count = u16::from_le_bytes(record.get(54..56)?.try_into().ok()?);
        Some((i64::from(count), i64::try_from(u64::from_le_bytes(record.get(56..64)?.try_into().ok()?)).ok()?))
    }) else {
        return Ok(Answer::one(code::SUCCESS));
    };
    let unlock = number("unlock_time").unwrap_or_default();
    let unlock = if root { number("root_unlock_time").unwrap_or(unlock) } else { unlock };
    let over = unlock != 0 && time.saturating_add(unlock) <= facts.now().as_second();
    // This attempt counts before it is judged.
    Ok(match count + 1 > deny && !over {
        true => Answer::because(code::AUTH_ERR, Because::Tally(path.into())),
        false => Answer::one(code::SUCCESS),
    })
}
