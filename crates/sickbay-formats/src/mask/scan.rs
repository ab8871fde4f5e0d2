//! Finds secrets by their own form, or by the name that stands before them.

use bstr::ByteSlice;

use super::{fill, hash};

/// Names whose end says that a secret follows, in small letters, without `_`, `-`, `.` and blanks.
const NAMES: [&str; 34] = [
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "accesskeyid",
    "secretkey",
    "privatekey",
    "presharedkey",
    "encryptionkey",
    "masterkey",
    "authkey",
    "signingkey",
    "licensekey",
    "psk",
    "requirepass",
    "masterauth",
    "bindpw",
    "rootpw",
    "authtok",
    "credential",
    "dbpass",
    "userpass",
    "authpass",
    "smtppass",
    "mailpass",
    "rootpass",
    "adminpass",
    "wepkey",
    "sharedkey",
];

/// Names that are such as a whole only.
const WHOLE: [&str; 8] = ["pass", "pw", "wpapsk", "key1", "wepkey0", "wepkey1", "wepkey2", "wepkey3"];

/// Names behind which a blank separates.
const TERSE: [&str; 14] = [
    "requirepass",
    "masterauth",
    "bindpw",
    "rootbindpw",
    "rootpw",
    "authpass",
    "rocommunity",
    "rwcommunity",
    "rocommunity6",
    "rwcommunity6",
    "wpapassphrase",
    "sslpassphrase",
    "ldapbindpassword",
    "bindpassword",
];

/// Words by which a program is known that takes a password right behind `-p`, or as the next word.
const CLIENTS: [&str; 9] = [
    "mysql",
    "mysqldump",
    "mysqladmin",
    "mysqlcheck",
    "mysqlimport",
    "mariadb",
    "mariadb-dump",
    "mariadb-admin",
    "sshpass",
];

/// Beginnings of tokens, and how many characters must follow.
const TOKENS: [(&[u8], usize); 26] = [
    (b"AKIA", 12),
    (b"ASIA", 12),
    (b"LTAI", 12),
    (b"AIza", 20),
    (b"ghp_", 16),
    (b"gho_", 16),
    (b"ghu_", 16),
    (b"ghs_", 16),
    (b"ghr_", 16),
    (b"github_pat_", 16),
    (b"glpat-", 12),
    (b"glrt-", 12),
    (b"xoxb-", 10),
    (b"xoxp-", 10),
    (b"xoxa-", 10),
    (b"xapp-", 10),
    (b"sk_live_", 10),
    (b"rk_live_", 10),
    (b"npm_", 20),
    (b"hvs.", 16),
    (b"dop_v1_", 16),
    (b"pypi-", 20),
    (b"SG.", 20),
    (b"sk-ant-", 16),
    (b"hf_", 20),
    (b"hooks.slack.com/services/", 10),
];

/// Beginnings of hashes of passwords.
const HASHES: [&[u8]; 12] = [
    b"$1$",
    b"$2a$",
    b"$2b$",
    b"$2y$",
    b"$5$",
    b"$6$",
    b"$7$",
    b"$y$",
    b"$gy$",
    b"$apr1$",
    b"$argon2i$",
    b"$argon2id$",
];

/// What is known by its form: keys in PEM, tokens, hashes, passwords in addresses, `Authorization`.
pub(super) fn strong(text: &mut [u8]) -> usize {
    private_keys(text) + tokens(text) + addresses(text) + authorizations(text)
}

fn part(text: &mut [u8], from: usize, to: usize) -> usize {
    text.get_mut(from..to)
        .map_or(0, |part| part.iter_mut().filter(|byte| **byte != b'\n').map(|byte| *byte = b'x').count())
}

/// The lines between BEGIN and END of private keys.
fn private_keys(text: &mut [u8]) -> usize {
    let (mut at, mut masked) = (0, 0);
    while let Some(begin) = text.get(at..).and_then(|rest| rest.find(b"-----BEGIN ")).map(|found| at + found) {
        let rest = text.get(begin..).unwrap_or_default();
        let head = rest.get(..80.min(rest.len())).unwrap_or_default();
        let Some(end_of_head) = head.get(11..).and_then(|name| name.find(b"-----")).map(|end| end + 16) else {
            at = begin + 11;
            continue;
        };
        let is_private = head.get(..end_of_head).is_some_and(|head| head.contains_str("PRIVATE KEY"));
        let end = rest
            .get(end_of_head..)
            .and_then(|body| body.find(b"-----END"))
            .map_or(text.len(), |end| begin + end_of_head + end);
        if is_private {
            masked += key(text, begin + end_of_head, end);
        }
        at = end.max(begin + 11);
    }
    masked
}

/// The characters of a key, each by one that is as good a one.
fn key(text: &mut [u8], from: usize, to: usize) -> usize {
    let Some(body) = text.get_mut(from..to) else { return 0 };
    // The frame of OpenSSH's format, 15 bytes, says that it is one.
    let is_openssh = body.trim_ascii_start().starts_with(b"b3BlbnNzaC1rZXktdjEA");
    let mut seen = 0;
    let mut masked = 0;
    for byte in body.iter_mut().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')) {
        seen += 1;
        if !(is_openssh && seen <= 20 || !is_openssh && seen <= 8) {
            *byte = b'x';
            masked += 1;
        }
    }
    masked
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'+' | b'=')
}

fn is_hash(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'$' | b'=' | b',' | b'+')
}

fn run(text: &[u8], from: usize, is: fn(u8) -> bool) -> usize {
    text.get(from..).unwrap_or_default().iter().take_while(|byte| is(**byte)).count()
}

fn tokens(text: &mut [u8]) -> usize {
    let (mut at, mut masked) = (0, 0);
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|before| text.get(before)).copied().unwrap_or(b' ');
        let first = rest.first().copied().unwrap_or_default();
        let mut step = 1;
        match first {
            b'$' => {
                if let Some(head) = HASHES.iter().find(|head| rest.starts_with(head)) {
                    let length = run(text, at, is_hash);
                    if length > head.len() + 4 {
                        masked += text.get_mut(at..at + length).map_or(0, hash);
                        step = length;
                    }
                }
            }
            b'g' if rest.starts_with(b"grub.pbkdf2.") => {
                let length = run(text, at, is_token);
                // grub.pbkdf2.sha512.10000.SALT.HASH
                let keep = rest.find_iter(b".").nth(3).map_or(12, |dot| dot + 1).min(length);
                masked += part(text, at + keep, at + length);
                step = length.max(1);
            }
            b'{' if [&b"{SSHA"[..], b"{SHA", b"{PBKDF2", b"{CRYPT}", b"{SMD5}", b"{MD5}"]
                .iter()
                .any(|head| rest.starts_with(head)) =>
            {
                if let Some(close) = rest.get(..20.min(rest.len())).and_then(|head| head.find_byte(b'}')) {
                    let length = run(text, at + close + 1, is_hash);
                    masked += part(text, at + close + 1, at + close + 1 + length);
                    step = close + 1 + length;
                }
            }
            // A JSON web token: three parts, the first of which begins with `{"`.
            b'e' if rest.starts_with(b"eyJ") && !before.is_ascii_alphanumeric() => {
                let length = run(text, at, is_token);
                let dots = rest.get(..length).unwrap_or_default().iter().filter(|byte| **byte == b'.').count();
                if length >= 20 && dots >= 1 {
                    masked += part(text, at + 3, at + length);
                    step = length;
                }
            }
            b'A' | b'L' | b'g' | b'x' | b's' | b'r' | b'n' | b'h' | b'd' | b'p' | b'S'
                if !before.is_ascii_alphanumeric() =>
            {
                let known = TOKENS.iter().find(|(head, _)| rest.starts_with(head));
                if let Some((head, least)) = known {
                    let length = run(text, at + head.len(), is_token);
                    if length >= *least {
                        masked += part(text, at + head.len(), at + head.len() + length);
                        step = head.len() + length;
                    }
                }
            }
            _ => {}
        }
        at += step.max(1);
    }
    masked
}

/// `scheme://user:secret@host`
fn addresses(text: &mut [u8]) -> usize {
    let (mut at, mut masked) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find(b"://")) {
        let begin = at + found + 3;
        at = begin;
        let is_part = |byte: u8| {
            !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'"' | b'\'' | b'<' | b'>' | 0 | b'?' | b'#')
        };
        let length = text.get(begin..).unwrap_or_default().iter().take_while(|byte| is_part(**byte)).count();
        let authority = text.get(begin..begin + length).unwrap_or_default();
        // A secret may have a slash or an @ that should have been written otherwise: up to the last @ of the word.
        let word = text.get(begin..).unwrap_or_default();
        let word = word.get(
            ..word
                .iter()
                .take_while(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'' | 0 | b'<' | b'>'))
                .count(),
        );
        let colon = authority.find_byte(b':');
        let last = authority.rfind_byte(b'@').or_else(|| {
            // `user:pa/ss@host`, unless what follows the colon is a port.
            let word = word.unwrap_or_default();
            let is_port = colon.and_then(|colon| word.get(colon + 1)).is_some_and(u8::is_ascii_digit);
            word.rfind_byte(b'@').filter(|_| !is_port)
        });
        if let (Some(colon), Some(last)) = (colon, last)
            && colon < last
        {
            masked += part(text, begin + colon + 1, begin + last);
        }
    }
    masked
}

/// `Authorization: Bearer …`, `Basic …`.
fn authorizations(text: &mut [u8]) -> usize {
    let mut masked = 0;
    for (head, least) in [
        (&b"bearer "[..], 8),
        (b"authorization: basic ", 4),
        (b"authorization: token ", 4),
        (b"authorization: ", 16),
        (b"x-api-key: ", 4),
        (b"x-auth-token: ", 4),
    ] {
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| find_small(rest, head)) {
            let begin = at + found + head.len();
            let length = run(text, begin, is_token);
            if length >= least {
                masked += part(text, begin, begin + length);
            }
            at = begin;
        }
    }
    masked
}

/// Where `word`, which is of small letters, stands in whatever letters.
fn find_small(text: &[u8], word: &[u8]) -> Option<usize> {
    let first = *word.first()?;
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let next = memchr::memchr2(first, first.to_ascii_uppercase(), rest)?;
        let candidate = rest.get(next..next + word.len())?;
        if candidate.eq_ignore_ascii_case(word) {
            return Some(at + next);
        }
        at += next + 1;
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// What follows a name that says what it is.
pub(super) fn named(text: &mut [u8], is_terse: bool) -> usize {
    let mut masked = clients(text);
    let mut at = 0;
    while at < text.len() {
        let length = run(text, at, is_of_name);
        if length == 0 {
            at += 1;
            continue;
        }
        let end = at + length;
        let name = text.get(at..end).unwrap_or_default();
        let is_option = name.starts_with(b"-");
        let plain: Vec<u8> =
            name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).take(80).collect();
        let ends = |names: &[&str]| names.iter().any(|known| plain.ends_with(known.as_bytes()));
        let is = |names: &[&str]| names.iter().any(|known| plain == known.as_bytes());
        let says = ends(&NAMES) && !plain.ends_with(b"nopasswd") || is(&WHOLE);
        let is_blank = is(&TERSE) || is_terse && says || is_option && name.starts_with(b"--") && says;
        if (says || is_blank)
            && let Some((from, to)) = value(text, at, end, is_blank)
        {
            masked += part(text, from, to);
            at = to.max(end);
        } else {
            at = end;
        }
    }
    masked
}

/// Where the value begins and ends that belongs to the name from `begin` to `end`.
fn value(text: &[u8], begin: usize, end: usize, is_blank: bool) -> Option<(usize, usize)> {
    let byte = |at: usize| text.get(at).copied();
    let is_space = |at: usize| matches!(byte(at), Some(b' ' | b'\t'));
    let mut at = end;
    let quoted = matches!(byte(at), Some(b'"' | b'\'' | b']'));
    while matches!(byte(at), Some(b'"' | b'\'' | b']')) {
        at += 1;
    }
    // \" of JSON within JSON
    while byte(at) == Some(b'\\') {
        at += 1;
        if byte(at) == Some(b'"') {
            at += 1;
        }
    }
    let after_name = at;
    while is_space(at) {
        at += 1;
    }
    let separator = byte(at);
    match separator {
        Some(b'=') => {
            at += 1;
            at += usize::from(byte(at) == Some(b'>'));
        }
        Some(b':') => {
            // `NAME::` is no assignment, and of an account file the second field is none.
            at += 1;
            at += usize::from(byte(at) == Some(b'='));
            let is_account = text.get(begin..end) == Some(b"passwd");
            if byte(at) == Some(b':') || is_account {
                return None;
            }
        }
        Some(b',') if quoted => at += 1,
        Some(b'>') => at += 1,
        // A word of its own, of an argument list too.
        Some(0) if is_blank => at += 1,
        Some(_) if is_blank && at > after_name => {}
        // secret "…"
        Some(b'"') if at > after_name => {}
        _ => return None,
    }
    while is_space(at) {
        at += 1;
    }
    let escape = byte(at) == Some(b'\\');
    at += usize::from(escape);
    let from = at;
    let rest = text.get(from..)?;
    let line = rest.get(..rest.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0)).unwrap_or(rest.len()))?;
    let (from, length) = match line.first()? {
        quote @ (b'"' | b'\'' | b'`') => {
            let body = line.get(1..)?;
            let mut length = 0;
            while let Some(next) = body.get(length) {
                if next == quote || escape && *next == b'\\' {
                    break;
                }
                // A quote that is escaped belongs to it.
                length += if *next == b'\\' { 2 } else { 1 };
            }
            (from + 1, length.min(body.len()))
        }
        _ => {
            let is_first = text
                .get(..begin)
                .unwrap_or_default()
                .iter()
                .rev()
                .take_while(|byte| **byte != b'\n')
                .all(|byte| matches!(byte, b' ' | b'\t' | b'-' | b'"' | b'\''));
            let is_end = |byte: &u8| match separator {
                Some(b'>') => *byte == b'<',
                // What begins the line has all of it.
                Some(b'=' | b':') if is_first => false,
                _ => {
                    byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b'&' | b')' | b'"' | b'\'' | b'<' | b'}')
                }
            };
            let length = line.iter().position(is_end).unwrap_or(line.len());
            (from, line.get(..length)?.trim_ascii_end().len())
        }
    };
    let found = text.get(from..from + length)?;
    let is_plain = found.is_empty()
        || matches!(
            found,
            b"yes" | b"no" | b"true" | b"false" | b"none" | b"null" | b"0" | b"1" | b"on" | b"off" | b"x" | b"*"
        );
    let is_reference = found.starts_with(b"$")
        && !found.starts_with(b"$1$")
        && found.len() < 64
        && found.iter().skip(1).all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'{' | b'}'));
    let is_option = is_blank && separator != Some(b'=') && found.starts_with(b"-");
    // A path to where it is kept.
    let is_path = found.starts_with(b"/")
        && found.iter().skip(1).any(|byte| *byte == b'/')
        && !found.contains(&b'=')
        && found.len() < 200
        && [&b"/etc/"[..], b"/run/", b"/var/", b"/home/", b"/root/", b"/usr/", b"/opt/", b"/srv/", b"/proc/"]
            .iter()
            .any(|top| found.starts_with(top));
    (!is_plain && !is_reference && !is_option && !is_path).then_some((from, from + length))
}

/// `mysql -uroot -pSECRET`, `sshpass -p SECRET`, `curl -u user:SECRET`, `redis-cli -a SECRET`: in lines and in argument lists.
fn clients(text: &mut [u8]) -> usize {
    let mut masked = 0;
    let is_list = text.iter().take(4096).any(|byte| *byte == 0);
    let lines: Vec<(usize, usize)> = {
        let mut all = Vec::new();
        let mut begin = 0;
        for line in text.split(|byte| *byte == b'\n') {
            all.push((begin, begin + line.len()));
            begin += line.len() + 1;
        }
        all
    };
    for (begin, end) in lines {
        let line = text.get(begin..end).unwrap_or_default();
        let has = |word: &str| line.contains_str(word);
        if !["mysql", "mariadb", "sshpass", "curl", "redis-cli", "wget", "mongo", "ldap", "smbclient"]
            .iter()
            .any(|word| has(word))
        {
            continue;
        }
        let is_gap = |byte: &u8| if is_list { *byte == 0 } else { byte.is_ascii_whitespace() };
        let mut words: Vec<(usize, usize)> = Vec::new();
        let mut at = 0;
        for word in line.split(is_gap) {
            if !word.is_empty() {
                words.push((begin + at, begin + at + word.len()));
            }
            at += word.len() + 1;
        }
        let mut program: &str = "";
        let mut option: Option<&[u8]> = None;
        let mut secrets: Vec<(usize, usize)> = Vec::new();
        for (from, to) in words {
            let word = text.get(from..to).unwrap_or_default();
            let name = word.rsplit(|byte| matches!(byte, b'/' | b'(' | b'`')).next().unwrap_or_default();
            let known = CLIENTS.iter().chain(&[
                "curl",
                "redis-cli",
                "wget",
                "mongo",
                "mongosh",
                "ldapsearch",
                "ldapmodify",
                "smbclient",
            ]);
            if let Some(known) = known.into_iter().find(|known| name == known.as_bytes()) {
                program = known;
                option = None;
                continue;
            }
            let takes = match program {
                "" => None,
                "curl" => Some((&b"-u"[..], true)),
                "redis-cli" => Some((&b"-a"[..], false)),
                "ldapsearch" | "ldapmodify" => Some((&b"-w"[..], false)),
                "smbclient" => Some((&b"-U"[..], true)),
                _ => Some((&b"-p"[..], false)),
            };
            let Some((flag, has_user)) = takes else { continue };
            let secret = match option.take() {
                Some(_) if !word.starts_with(b"-") => Some((from, to)),
                _ if word == flag => {
                    // mysql asks when nothing stands right behind it.
                    option = (!CLIENTS.contains(&program) || program == "sshpass").then_some(flag);
                    None
                }
                _ if word.starts_with(flag) && !word.starts_with(b"--") => Some((from + 2, to)),
                _ => None,
            };
            let Some((mut from, to)) = secret else { continue };
            if has_user {
                let colon = text.get(from..to).unwrap_or_default().iter().position(|byte| matches!(byte, b':' | b'%'));
                let Some(colon) = colon else { continue };
                from += colon + 1;
            }
            secrets.push((from, to));
        }
        for (from, to) in secrets {
            masked += text.get_mut(from..to).map_or(0, fill);
        }
    }
    masked
}
