//! What a list of kernel parameters and limits sets, in whatever file it stands: sysctl.conf(5), limits.conf(5), a unit's
//! `LimitNOFILE=`, or a script with `sysctl -w`, `echo v > /proc/sys/...` and `ulimit -n`.
//!
//! A script is not run: what a variable holds is not known, and lines that set nothing are passed over.

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
const ROOTS: [&str; 9] = ["abi", "crypto", "debug", "dev", "fs", "kernel", "net", "user", "vm"];

/// Everything that the lines of a file set, in their order.
pub fn parse(text: &[u8]) -> Vec<Found> {
    let is_script = is_script(text);
    let mut found = Vec::new();
    for line in lines(text) {
        if found.len() >= MOST {
            break;
        }
        let line = Line { text: line.text.get(..LONGEST).unwrap_or(line.text), ..line };
        let trimmed = line.text.trim_ascii();
        if trimmed.is_empty() || matches!(trimmed.first(), Some(b'#' | b';')) {
            continue;
        }
        let before = found.len();
        if let Some(one) = plain(&line) {
            found.push(one);
        } else {
            command(&line, &mut found);
        }
        if found.len() == before && !is_script && !is_section(trimmed) {
            found.push(Found { line: line.number, span: line.whole(), setting: Setting::Nothing });
        }
    }
    found
}

/// Whether a program reads it that does more than set parameters.
fn is_script(text: &[u8]) -> bool {
    text.starts_with(b"#!")
        || lines(text).take(MOST).any(|line| {
            let text = line.text.trim_ascii();
            let first = text.split(|byte| b" \t(;&|".contains(byte)).next().unwrap_or_default();
            let name = first.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            matches!(name, b"sysctl" | b"ulimit" | b"echo" | b"cat" | b"sudo" | b"modprobe" | b"import" | b"printf")
        })
}

/// `[Service]`, and what else a unit says besides limits.
fn is_section(text: &[u8]) -> bool {
    text.starts_with(b"[") || text.first().is_some_and(u8::is_ascii_uppercase) && text.contains(&b'=')
}

/// A line of one of the files: it begins with what it sets.
fn plain(line: &Line<'_>) -> Option<Found> {
    let start = line.text.len() - line.text.trim_ascii_start().len();
    let end = start + line.text.trim_ascii().len();
    let whole = line.text.get(start..end)?;
    let bare = whole.strip_prefix(b"-").map_or(whole, |rest| rest.trim_ascii_start());
    if let Some(at) = whole.find_byte(b'=') {
        let name = whole.get(..at)?.trim_ascii();
        let value = unquoted(whole.get(at + 1..)?.trim_ascii());
        let limit = name.strip_prefix(b"Default").unwrap_or(name).strip_prefix(b"Limit").unwrap_or_default();
        if !limit.is_empty() && limit.iter().all(u8::is_ascii_uppercase) {
            return Some(found(line, start..end, Setting::Unit { name: name.into(), value: value.into() }));
        }
        let key = bare.get(..bare.find_byte(b'=')?)?.trim_ascii();
        if begins_a_key(key) && key.iter().all(|byte| is_of_key(*byte)) {
            return Some(found(line, start..end, Setting::Sysctl { key: dotted(key), value: value.into() }));
        }
        return None;
    }
    limit(whole).map(|setting| found(line, start..end, setting))
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
    if let Some(one) = echoed(line).or_else(|| ulimit(line)) {
        all.push(one);
        return;
    }
    let text = line.text;
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
        let (value, to) = value(text, start, from);
        at = to.max(at);
        all.push(found(line, start..to, Setting::Sysctl { key: dotted(key), value: value.into() }));
    }
    if at == 0 {
        // `echo "* soft nofile 65535" >> /etc/security/limits.conf`
        let mut start = 0;
        for piece in text.split(|byte| matches!(byte, b'"' | b'\'')) {
            if let Some(setting) = limit(piece) {
                all.push(found(line, start..start + piece.len(), setting));
            }
            start += piece.len() + 1;
        }
    }
}

/// Where the next word begins that may be a parameter.
fn next_key(text: &[u8], from: usize) -> Option<usize> {
    (from..text.len()).find(|&at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let is_begin = before.is_none_or(|byte| !is_of_key(*byte));
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

/// The value that begins at `from` for a key that begins at `start`, and where it ends.
fn value(text: &[u8], start: usize, from: usize) -> (&[u8], usize) {
    let until = |from: usize, is_end: &dyn Fn(u8) -> bool| {
        let length = text.get(from..).unwrap_or_default().iter().take_while(|byte| !is_end(**byte)).count();
        (text.get(from..from + length).unwrap_or_default().trim_ascii(), from + length)
    };
    // The quote that the key stands in.
    let open = text.get(..start).unwrap_or_default().iter().fold(None, |open, byte| match (open, byte) {
        (None, b'"' | b'\'') => Some(*byte),
        (Some(quote), byte) if quote == *byte => None,
        (open, _) => open,
    });
    let is_sed = text.get(..start).unwrap_or_default().contains_str("sed ");
    if let Some(quote) = open {
        return until(from, &|byte| byte == quote || byte == b'\\' || is_sed && matches!(byte, b'/' | b'|' | b'#'));
    }
    let rest = text.get(from..).unwrap_or_default();
    let blanks = rest.len() - rest.trim_ascii_start().len();
    match rest.get(blanks) {
        Some(quote @ (b'"' | b'\'')) => {
            let (value, end) = until(from + blanks + 1, &|byte| byte == *quote);
            (value, (end + 1).min(text.len()))
        }
        _ => {
            let from = from + blanks;
            until(from, &|byte| byte.is_ascii_whitespace() || b";|&><)\"'".contains(&byte))
        }
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
    (!key.is_empty()).then(|| found(line, start..at + "/proc/sys/".len() + length, setting))
}

/// `ulimit -SHn 65535`.
fn ulimit(line: &Line<'_>) -> Option<Found> {
    let text = line.text;
    let at = text.find("ulimit ")?;
    let rest = text.get(at..)?;
    let mut parts = words(rest).skip(1);
    let options = rest.get(parts.next()?)?.strip_prefix(b"-")?;
    let place = parts.next()?;
    let value = rest.get(place.clone())?.trim_end_with(|c| matches!(c, ';' | '"' | '\'' | ')' | '&'));
    let is = |letter: u8| options.contains(&letter);
    let kind = match (is(b'S'), is(b'H')) {
        (true, false) => Kind::Soft,
        (false, true) => Kind::Hard,
        _ => Kind::Both,
    };
    let option = options.iter().rev().find(|byte| !matches!(byte, b'S' | b'H'))?;
    let setting = Setting::Ulimit { kind, option: char::from(*option), value: unquoted(value).into() };
    Some(found(line, at..at + place.end, setting))
}

fn found(line: &Line<'_>, range: Range<usize>, setting: Setting) -> Found {
    Found { line: line.number, span: line.span(range), setting }
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
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        parse(text.as_bytes())
            .into_iter()
            .map(|found| match found.setting {
                Setting::Sysctl { key, value } => format!("{} {key}={value}", found.line),
                Setting::Limit { domain, kind, item, value } => {
                    format!("{} {domain} {kind:?} {item} {value}", found.line)
                }
                Setting::Ulimit { kind, option, value } => format!("{} ulimit {kind:?} {option} {value}", found.line),
                Setting::Unit { name, value } => format!("{} {name}:{value}", found.line),
                Setting::Nothing => format!("{} nothing", found.line),
            })
            .collect()
    }

    #[test]
    fn files() {
        assert_eq!(
            told(
                "# a\nnet.core.somaxconn=4096\n\n-net/ipv4/conf/eth0.1/rp_filter = 1\n* soft nofile 65535 # x\n@a - nproc 5\nrubbish\nvm.swappiness\n"
            ),
            [
                "2 net.core.somaxconn=4096",
                "4 net.ipv4.conf.eth0/1.rp_filter=1",
                "5 * Soft nofile 65535",
                "6 @a Both nproc 5",
                "7 nothing",
                "8 nothing",
            ]
        );
        assert_eq!(told("[Service]\nLimitNOFILE=65536:1048576\nRestart=always\n"), ["2 LimitNOFILE:65536:1048576"]);
    }

    #[test]
    fn scripts() {
        assert_eq!(
            told(concat!(
                "#!/bin/bash\nset -e\nsysctl -w net.ipv4.tcp_rmem=\"4096 87380 16777216\" vm.swappiness=1; true\n",
                "sudo /sbin/sysctl -qw 'net.core.somaxconn = 1024'\n",
                "echo 1 > /proc/sys/net/ipv4/tcp_syncookies\n",
                "echo \"1024 65000\" | tee /proc/sys/net/ipv4/ip_local_port_range\n",
                "echo 'fs.file-max = 100000' >> /etc/sysctl.conf\n",
                "echo '* soft nofile 655350' >> /etc/security/limits.conf\n",
                "ulimit -SHn 65535\ncat >> /etc/sysctl.conf <<EOF\nvm.max_map_count = 262144\nEOF\n",
                "sed -i 's/^kernel.pid_max.*/kernel.pid_max = 65535/' /etc/sysctl.conf\n",
            )),
            [
                "3 net.ipv4.tcp_rmem=4096 87380 16777216",
                "3 vm.swappiness=1",
                "4 net.core.somaxconn=1024",
                "5 net.ipv4.tcp_syncookies=1",
                "6 net.ipv4.ip_local_port_range=1024 65000",
                "7 fs.file-max=100000",
                "8 * Soft nofile 655350",
                "9 ulimit Both n 65535",
                "11 vm.max_map_count=262144",
                "13 kernel.pid_max=65535",
            ]
        );
        assert_eq!(
            told(
                "import os\nos.system(\"sysctl -w net.core.somaxconn=4096\")\nlines = ['vm.swappiness = 10', \"fs.nr_open=5\"]\n"
            ),
            ["2 net.core.somaxconn=4096", "3 vm.swappiness=10", "3 fs.nr_open=5"]
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_lines(text in "(echo|sysctl|ulimit|net\\.|vm/|/proc/sys/|[-a.\"'>|/=#; \t\r\n\u{e9}]){0,30}") {
            let _ = parse(text.as_bytes());
        }
    }
}
