//! Whether the words of a directive are values that sshd takes.

use bstr::ByteSlice;

use super::keywords::{Keyword, Kind};
use super::matching::{self, Criteria};
use super::{Directive, Fault, MODERN, Reader, Version};

/// What auth2.c knows as methods, and `none`.
const METHODS: &[&str] = &[
    "none",
    "publickey",
    "password",
    "keyboard-interactive",
    "hostbased",
    "gssapi-with-mic",
    "gssapi-keyex",
    "pubkey",
];

const LEVELS: &[&str] = &["quiet", "fatal", "error", "info", "verbose", "debug", "debug1", "debug2", "debug3"];

const FACILITIES: &[&str] = &[
    "daemon", "user", "auth", "authpriv", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

pub(super) fn fault(directive: &Directive, keyword: &Keyword, reader: &Reader<'_>) -> Option<Fault> {
    let args = &directive.args;
    let one = |good: bool| match args.len() {
        _ if directive.arg(0).is_empty() => Some(Fault::Missing),
        _ if !good => Some(Fault::Value(0)),
        0 | 1 => None,
        _ => Some(Fault::TooMany(1)),
    };
    let each = |good: &dyn Fn(&[u8]) -> bool| args.iter().position(|word| !good(&word.text)).map(Fault::Value);
    let word = directive.arg(0);
    let among = |list: &[&str]| list.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word));
    match keyword.kind {
        Kind::Flag => one(among(&["yes", "no"])),
        Kind::OneOf(list) => {
            let too_new = word == b"prohibit-password" && reader.version.is_some_and(|version| version < Version(7, 0));
            one(among(list) && (!too_new || reader.holds(word) == Some(true)))
        }
        Kind::Number => one(is_number(word, reader)),
        Kind::Time => one(is_time(word)),
        Kind::Port => one(port(word).is_some_and(|port| port > 0)),
        Kind::Word => one(true),
        Kind::Users => each(&|pattern| !pattern.is_empty() && matching::is_user_pattern(pattern)),
        Kind::Names => each(&|name| !name.is_empty() && !name.contains(&b'=')),
        Kind::Settings => each(&|setting| setting.contains(&b'=')),
        Kind::Facility => one(among(FACILITIES)),
        Kind::Level => one(among(LEVELS)),
        Kind::Startups => one(is_startups(word)),
        Kind::Algorithms => one(is_algorithms(word, reader)),
        Kind::Subsystem => (args.len() < 2).then_some(Fault::Missing),
        Kind::Rest => directive.rest.is_empty().then_some(Fault::Missing),
        Kind::Command => {
            if directive.rest.is_empty() {
                Some(Fault::Missing)
            } else {
                (!directive.rest.starts_with(b"/") && !directive.rest.eq_ignore_ascii_case(b"none"))
                    .then_some(Fault::Value(0))
            }
        }
        Kind::Methods => methods(directive),
        Kind::Include => args.is_empty().then_some(Fault::Missing),
        Kind::Match => match matching::criteria(directive, reader.version) {
            Criteria::Good(_) => None,
            Criteria::Bad(fault) => Some(fault),
        },
        Kind::Words => (directive.is("ListenAddress") && args.is_empty()).then_some(Fault::Missing),
        Kind::Any => None,
    }
}

fn is_number(word: &[u8], reader: &Reader<'_>) -> bool {
    if reader.version.is_some_and(|version| version >= MODERN) {
        // strtonum(3) skips blanks and a sign before the digits.
        let digits = word.strip_prefix(b"+").unwrap_or(word);
        return digits.to_str().ok().is_some_and(|text| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i32>().is_ok()
        });
    }
    word.first().is_some_and(u8::is_ascii_digit)
}

/// The seconds that a time is (TIME FORMATS in sshd_config(5)).
pub(super) fn seconds(word: &[u8]) -> Option<u64> {
    let mut rest = word;
    let mut all: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, unit) = rest.split_at(length);
        let count: u64 = digits.to_str().ok()?.parse().ok()?;
        let factor = match unit.first().map(u8::to_ascii_lowercase) {
            None | Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            Some(b'w') => 604_800,
            Some(_) => return None,
        };
        all = all.checked_add(count.checked_mul(factor)?).filter(|&all| all <= i32::MAX as u64)?;
        rest = unit.get(1..).unwrap_or_default();
    }
    Some(all)
}

fn is_time(word: &[u8]) -> bool {
    seconds(word).is_some()
}

/// A port by its number, or by one of the names of `/etc/services` that somebody may put here. 0 cannot be listened on.
pub(super) fn port(word: &[u8]) -> Option<u16> {
    match word {
        b"ssh" => Some(22),
        b"telnet" => Some(23),
        b"domain" => Some(53),
        b"http" => Some(80),
        b"https" => Some(443),
        _ => word.to_str().ok()?.parse().ok(),
    }
}

/// The three numbers of MaxStartups; a single one is the first and the last.
pub(super) fn startups(word: &[u8]) -> Option<(i32, i32, i32)> {
    let numbers: Vec<i32> =
        word.to_str().ok()?.split(':').map(|number| number.trim_start().parse().ok()).collect::<Option<_>>()?;
    match *numbers.as_slice() {
        [start] => Some((start, 100, start)),
        [start, rate, full] => Some((start, rate, full)),
        _ => None,
    }
}

fn is_startups(word: &[u8]) -> bool {
    let Some((start, rate, full)) = startups(word) else {
        // sscanf(3) stops at what is no number: `10x` is 10, which is not worth refusing here.
        return word.first().is_some_and(u8::is_ascii_digit) && !word.contains(&b':');
    };
    start > 0 && full >= start && (1..=100).contains(&rate)
}

/// Whether the program knows every name of the list. With `-` before it nothing is looked up, and patterns cannot be.
fn is_algorithms(word: &[u8], reader: &Reader<'_>) -> bool {
    let list = match word.first() {
        Some(b'-') => return true,
        Some(b'+' | b'^') => word.get(1..).unwrap_or_default(),
        _ => word,
    };
    list.split(|&byte| byte == b',').all(|name| {
        !name.is_empty() && (name.contains(&b'*') || name.contains(&b'?') || reader.holds(name) != Some(false))
    })
}

fn methods(directive: &Directive) -> Option<Fault> {
    if directive.args.is_empty() {
        return Some(Fault::Missing);
    }
    let alone = directive.args.len() == 1;
    let good = |list: &[u8]| {
        (alone && list == b"any")
            || list.split(|&byte| byte == b',').all(|method| {
                let name = method.split(|&byte| byte == b':').next().unwrap_or_default();
                METHODS.iter().any(|known| name == known.as_bytes())
            })
    };
    directive.args.iter().position(|word| !good(&word.text)).map(Fault::Value)
}
