//! What a list of kernel parameters and limits sets, in whatever file it stands: sysctl.conf(5), limits.conf(5), a unit's
//! `LimitNOFILE=`, or a script with `sysctl -w`, `echo v > /proc/sys/...` and `ulimit -n`.
//!
//! A script is not run: what a variable holds is not known, and lines that set nothing are passed over.

mod yaml;

use std::ops::Range;

use bstr::{BString, ByteSlice};

use crate::lines::{Line, lines, words};
use crate::span::Span;

/// Something that a line sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The line, from 1 on.
    pub line: usize,
    /// The words that set it.
    pub span: Span,
    /// What is set.
    pub setting: Setting,
    /// Whether it is set when the line runs, and gone after a restart: `sysctl -w`, a file below `/proc/sys`, `ulimit`.
    pub is_now: bool,
}

/// What is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A kernel parameter, its parts parted by dots.
    Sysctl {
        /// `net.core.somaxconn`.
        key: BString,
        /// What it is set to, without quotes.
        value: BString,
    },
    /// A line of limits.conf(5).
    Limit {
        /// A user, `@group`, `*`, `%`.
        domain: BString,
        /// Which of the two limits.
        kind: Kind,
        /// `nofile`.
        item: BString,
        /// The limit.
        value: BString,
    },
    /// `ulimit` of a shell.
    Ulimit {
        /// Which of the two limits.
        kind: Kind,
        /// The letter behind the hyphen: `n`.
        option: char,
        /// The limit.
        value: BString,
    },
    /// `LimitNOFILE=` of a unit, `DefaultLimitNOFILE=` of systemd-system.conf(5).
    Unit {
        /// The name before the equals sign.
        name: BString,
        /// The limit, or both with a colon between.
        value: BString,
    },
    /// A line of a file that is no script, and sets nothing.
    Nothing,
}

/// Soft, hard or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What holds.
    Soft,
    /// Up to which a process may raise what holds.
    Hard,
    /// `-`.
    Both,
}

/// So much of a file is looked at; nobody's list is longer.
pub const MOST: usize = 20_000;

/// So much of a line.
const LONGEST: usize = 4096;

/// The first parts of parameters (sysctl(8)).
const ROOTS: [&str; 10] = ["abi", "crypto", "debug", "dev", "fs", "kernel", "net", "sunrpc", "user", "vm"];

/// Everything that the lines of a file set, in their order.
pub fn parse(text: &[u8]) -> Vec<Found> {
    if yaml::is(text) {
        return yaml::parse(text);
    }
    let is_script = is_script(text);
    // Of a profile of tuned(8), `[sysctl]` is what sets parameters.
    let mut is_other_section = false;
    let mut found = Vec::new();
    for line in lines(text) {
        if found.len() >= MOST {
            break;
        }
        let line = shortened(line);
        let trimmed = line.text.trim_ascii();
        if trimmed.is_empty() || matches!(trimmed.first(), Some(b'#' | b';')) {
            continue;
        }
        if trimmed.starts_with(b"[") && trimmed.ends_with(b"]") {
            is_other_section = !trimmed.eq_ignore_ascii_case(b"[sysctl]");
        }
        let before = found.len();
        if let Some(one) = plain(&line, is_script) {
            found.push(one);
        } else {
            command(&line, &mut found);
        }
        let is_silent = is_script || is_other_section || is_section(trimmed) || is_exception(trimmed);
        if found.len() == before && !is_silent {
            found.push(self::found(&line, 0..line.text.len(), Setting::Nothing));
        }
    }
    found
}

fn shortened(line: Line<'_>) -> Line<'_> {
    Line { text: line.text.get(..LONGEST).unwrap_or(line.text), ..line }
}

/// Whether a program reads it that does more than set parameters, or a person does.
fn is_script(text: &[u8]) -> bool {
    text.starts_with(b"#!")
        || lines(text).take(MOST).any(|line| {
            let text = line.text.trim_ascii();
            let first = text.split(|byte| b" \t(;&|".contains(byte)).next().unwrap_or_default();
            let name = first.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            matches!(name, b"sysctl" | b"ulimit" | b"echo" | b"cat" | b"sudo" | b"modprobe" | b"import" | b"printf")
                || text.contains(&b'`')
        })
}

/// `[Service]`, and what else a unit says besides limits.
fn is_section(text: &[u8]) -> bool {
    text.starts_with(b"[") || text.first().is_some_and(u8::is_ascii_uppercase) && text.contains(&b'=')
}

/// `-net.ipv4.conf.all.rp_filter`: what the patterns of sysctl.d(5) are not for.
fn is_exception(text: &[u8]) -> bool {
    text.strip_prefix(b"-").is_some_and(|rest| begins_a_key(rest) && rest.iter().all(|byte| is_of_key(*byte)))
}

/// A line of one of the files: it begins with what it sets.
fn plain(line: &Line<'_>, is_script: bool) -> Option<Found> {
    let start = line.text.len() - line.text.trim_ascii_start().len();
    let end = start + line.text.trim_ascii().len();
    let whole = line.text.get(start..end)?;
    let bare = whole.strip_prefix(b"-").map_or(whole, |rest| rest.trim_ascii_start());
    let Some(at) = bare.find_byte(b'=') else {
        return limit(whole).map(|setting| found(line, start..end, setting));
    };
    if let Some(setting) = unit(whole) {
        return Some(found(line, start..end, setting));
    }
    let key = bare.get(..at)?.trim_ascii();
    let mut value = unquoted(bare.get(at + 1..)?.trim_ascii());
    // The last line of a text in quotes: `vm.swappiness=1" >> /etc/sysctl.conf`.
    if is_script
        && let Some(quote) = value.find_byteset(b"\"'")
        && quote > 0
    {
        value = value.get(..quote)?.trim_ascii();
    }
    // What no kernel has is no parameter of a script either.
    let is_key = begins_a_key(key) || !is_script && key.first()?.is_ascii_alphabetic() && key.contains(&b'.');
    let is_key = is_key && key.iter().all(|byte| is_of_key(*byte));
    is_key.then(|| found(line, start..end, Setting::Sysctl { key: dotted(key), value: value.into() }))
}

/// `LimitNOFILE=65536`.
fn unit(text: &[u8]) -> Option<Setting> {
    let text = text.trim_ascii();
    let at = text.find_byte(b'=')?;
    let name = text.get(..at)?.trim_ascii();
    let limit = name.strip_prefix(b"Default").unwrap_or(name).strip_prefix(b"Limit")?;
    let is_limit = !limit.is_empty() && limit.iter().all(u8::is_ascii_uppercase);
    let value = unquoted(text.get(at + 1..)?.trim_ascii());
    is_limit.then(|| Setting::Unit { name: name.into(), value: value.into() })
}

/// `* soft nofile 65535`.
fn limit(text: &[u8]) -> Option<Setting> {
    let text = text.split(|&byte| byte == b'#').next().unwrap_or_default();
    let parts: Vec<&[u8]> = words(text).filter_map(|range| text.get(range)).collect();
    let [domain, kind, item, value] = *parts.as_slice() else { return None };
    let kind = match kind.to_ascii_lowercase().as_slice() {
        b"soft" => Kind::Soft,
        b"hard" => Kind::Hard,
        b"-" => Kind::Both,
        _ => return None,
    };
    Some(Setting::Limit { domain: domain.into(), kind, item: item.to_ascii_lowercase().into(), value: value.into() })
}

/// What a line of a script sets.
fn command(line: &Line<'_>, all: &mut Vec<Found>) {
    if let Some(one) = echoed(line) {
        all.push(one);
        return;
    }
    let before = all.len();
    ulimits(line, all);
    if all.len() > before {
        return;
    }
    let text = line.text;
    let sed = text.find("sed ").unwrap_or(text.len());
    let mut quotes = Quotes { open: None, upto: 0 };
    let mut at = 0;
    while let Some(start) = next_key(text, at) {
        let key_end = start + text.get(start..).unwrap_or_default().iter().take_while(|byte| is_of_key(**byte)).count();
        let rest = text.get(key_end..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_ascii_start().len();
        at = key_end.max(start + 1);
        if rest.get(blanks) != Some(&b'=') {
            continue;
        }
        let from = key_end + blanks + 1;
        // `s/^kernel.pid_max.*/kernel.pid_max = 65535/` of sed.
        let key = text.get(start..key_end).unwrap_or_default();
        let last = key.rfind_byte(b'/').map_or(0, |slash| slash + 1);
        let start = if begins_a_key(key.get(last..).unwrap_or_default()) { start + last } else { start };
        let key = text.get(start..key_end).unwrap_or_default();
        // Of `sh -c 'echo "vm.swappiness = 1" >> …'` the inner quote.
        let inner = start.checked_sub(1).and_then(|at| text.get(at)).copied().filter(|byte| b"\"'".contains(byte));
        let open = quotes.at(text, start);
        let (value, to) = value(text, inner.or(open), sed < start, from);
        at = to.max(at);
        let is_now = text.get(..start).is_some_and(|before| before.contains_str("sysctl "));
        let setting = Setting::Sysctl { key: dotted(key), value: value.into() };
        all.push(Found { is_now, ..found(line, start..to, setting) });
    }
    if at == 0 {
        // `echo "* soft nofile 65535" >> /etc/security/limits.conf`
        let mut start = 0;
        for piece in text.split(|byte| matches!(byte, b'"' | b'\'')) {
            for part in piece.split_str("\\n") {
                if let Some(setting) = limit(part).or_else(|| unit(part)) {
                    all.push(found(line, start..start + piece.len(), setting));
                }
            }
            start += piece.len() + 1;
        }
    }
}

/// Which quote a place of a line stands in, asked from left to right.
struct Quotes {
    open: Option<u8>,
    upto: usize,
}

impl Quotes {
    fn at(&mut self, text: &[u8], place: usize) -> Option<u8> {
        for byte in text.get(self.upto..place).unwrap_or_default() {
            self.open = match (self.open, byte) {
                (None, b'"' | b'\'') => Some(*byte),
                (Some(quote), byte) if quote == *byte => None,
                (open, _) => open,
            };
        }
        self.upto = self.upto.max(place);
        self.open
    }
}

/// Where the next word begins that may be a parameter.
fn next_key(text: &[u8], from: usize) -> Option<usize> {
    (from..text.len()).find(|&at| {
        let before = text.get(..at).unwrap_or_default();
        let is_begin = before.last().is_none_or(|byte| !is_of_key(*byte)) || before.ends_with(b"\\n");
        is_begin && begins_a_key(text.get(at..).unwrap_or_default())
    })
}

/// Whether the text begins with `net.` or another of the roots.
fn begins_a_key(text: &[u8]) -> bool {
    ROOTS.iter().any(|root| {
        let rest = text.strip_prefix(root.as_bytes());
        rest.is_some_and(|rest| matches!(rest.first(), Some(b'.' | b'/')) && rest.len() > 1)
    })
}

fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-/*@:".contains(&byte)
}

/// The value that begins at `from`, for a key in this quote, and where it ends.
fn value(text: &[u8], open: Option<u8>, is_sed: bool, from: usize) -> (&[u8], usize) {
    let until = |from: usize, is_end: &dyn Fn(u8) -> bool| {
        let length = text.get(from..).unwrap_or_default().iter().take_while(|byte| !is_end(**byte)).count();
        (text.get(from..from + length).unwrap_or_default().trim_ascii(), from + length)
    };
    if let Some(quote) = open {
        return until(from, &|byte| byte == quote || byte == b'\\' || is_sed && matches!(byte, b'/' | b'|' | b'#'));
    }
    let rest = text.get(from..).unwrap_or_default();
    let blanks = rest.len() - rest.trim_ascii_start().len();
    let from = from + blanks;
    match rest.get(blanks) {
        Some(quote @ (b'"' | b'\'')) => {
            let (value, end) = until(from + 1, &|byte| byte == *quote);
            (value, (end + 1).min(text.len()))
        }
        // Of a program.
        Some(b'`') => until(from, &|byte| byte.is_ascii_whitespace()),
        _ => until(from, &|byte| byte.is_ascii_whitespace() || b";|&><)\"'`".contains(&byte)),
    }
}

/// `echo 1 > /proc/sys/net/ipv4/tcp_syncookies`, with tee too.
fn echoed(line: &Line<'_>) -> Option<Found> {
    let text = line.text;
    let at = text.find("/proc/sys/")?;
    let start = ["echo ", "printf "].iter().filter_map(|word| Some(text.find(word)? + word.len())).min()?;
    if start > at {
        return None;
    }
    let path = text.get(at + "/proc/sys/".len()..)?;
    let length = path.iter().take_while(|byte| is_of_key(**byte)).count();
    let said = text.get(start..at)?;
    let said = said.get(..said.find_byteset(b">|")?)?.trim_ascii();
    let said = ["-n ", "-e "].iter().fold(said, |said, option| said.strip_prefix(option.as_bytes()).unwrap_or(said));
    let key = path.get(..length)?;
    let setting = Setting::Sysctl { key: key.replace("/", ".").into(), value: unquoted(said.trim_ascii()).into() };
    let one = || Found { is_now: true, ..found(line, start..at + "/proc/sys/".len() + length, setting) };
    (!key.is_empty()).then(one)
}

/// `ulimit -SHn 65535 -c unlimited`, as often as it stands there.
fn ulimits(line: &Line<'_>, all: &mut Vec<Found>) {
    const NAME: &str = "ulimit ";
    let text = line.text;
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.find(NAME)) {
        let start = at + next;
        at = start + NAME.len();
        let rest = text.get(start..).unwrap_or_default();
        let mut from = start;
        let mut parts = words(rest).skip(1);
        while let (Some(options), Some(place)) = (parts.next(), parts.next()) {
            let Some(options) = rest.get(options).and_then(|word| word.strip_prefix(b"-")) else { break };
            let value = rest.get(place.clone()).unwrap_or_default();
            let bare = value.trim_end_with(|c| matches!(c, ';' | '"' | '\'' | ')' | '&' | '`'));
            let is = |letter: u8| options.contains(&letter);
            let kind = match (is(b'S'), is(b'H')) {
                (true, false) => Kind::Soft,
                (false, true) => Kind::Hard,
                _ => Kind::Both,
            };
            let Some(option) = options.iter().rev().find(|byte| !matches!(byte, b'S' | b'H')) else { break };
            let setting = Setting::Ulimit { kind, option: char::from(*option), value: unquoted(bare).into() };
            all.push(Found { is_now: true, ..found(line, from..start + place.end, setting) });
            from = start + place.end;
            if bare.len() != value.len() {
                break;
            }
        }
    }
}

fn found(line: &Line<'_>, range: Range<usize>, setting: Setting) -> Found {
    Found { line: line.number, span: line.span(range), setting, is_now: false }
}

fn unquoted(value: &[u8]) -> &[u8] {
    [b'"', b'\'']
        .iter()
        .find_map(|quote| value.strip_prefix(&[*quote])?.strip_suffix(&[*quote]))
        .unwrap_or(value)
        .trim_ascii()
}

/// The name as sysctl(8) prints it: see [`crate::sysctl::Assignment::key`].
fn dotted(name: &[u8]) -> BString {
    let separator = name.iter().find(|&&byte| byte == b'.' || byte == b'/');
    let swap = |byte: &u8| match byte {
        b'/' if separator == Some(&b'/') => b'.',
        b'.' if separator == Some(&b'/') => b'/',
        other => *other,
    };
    name.iter().map(swap).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests;
