//! authorized_keys, as sshd(8) describes it.

pub mod accepted;
pub mod defects;

use bstr::ByteSlice;

use crate::lines;
use crate::span::Span;

/// A line with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Where the line stands.
    pub span: Span,
    /// Its options as they are written.
    pub options: Vec<&'a [u8]>,
    /// The key and what follows it.
    pub rest: &'a [u8],
}

/// Options that leave less than a key has without any; `restrict` is all of them.
const LIMITS: [&str; 6] =
    ["no-port-forwarding", "no-agent-forwarding", "no-x11-forwarding", "no-pty", "no-user-rc", "restrict"];

/// Every line that holds a key, as far as sshd takes one from it.
pub fn keys(text: &[u8]) -> Vec<Key<'_>> {
    let defects = defects::defects(text);
    let is_sound = |key: &Key<'_>| !defects.iter().any(|defective| defective.span == key.span);
    lines::lines(text).filter_map(|line| key(line.text.trim_ascii(), line.whole())).filter(is_sound).collect()
}

fn key(text: &[u8], span: Span) -> Option<Key<'_>> {
    if text.starts_with(b"#") {
        return None;
    }
    let is_key = |rest: &[u8]| {
        let mut words = rest.fields_with(|c: char| c == ' ' || c == '\t');
        let kind = words.next().unwrap_or_default();
        ["ssh-", "ecdsa-", "sk-"].iter().any(|known| kind.starts_with(known.as_bytes()))
            && words.next().is_some_and(|data| data.starts_with(b"AAAA"))
    };
    if is_key(text) {
        return Some(Key { span, options: Vec::new(), rest: text });
    }
    let (mut quoted, mut escaped, mut begin, mut options) = (false, false, 0, Vec::new());
    for (at, &byte) in text.iter().enumerate() {
        let ends = !quoted && matches!(byte, b' ' | b'\t' | b',');
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if ends => {
                options.push(text.get(begin..at)?);
                begin = at + 1;
                if byte != b',' {
                    let rest = text.get(begin..)?.trim_ascii();
                    return is_key(rest).then_some(Key { span, options, rest });
                }
            }
            _ => {}
        }
    }
    None
}

impl Key<'_> {
    /// The value of an option, without its quotes.
    pub fn value(&self, name: &str) -> Option<Vec<u8>> {
        self.options.iter().find_map(|option| {
            let (key, value) = option.split_once_str("=")?;
            let value = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
            key.eq_ignore_ascii_case(name.as_bytes()).then(|| value.replace(br#"\""#, b"\""))
        })
    }

    /// The line without what keeps the key from a shell: a command, and limits on what a session may do.
    pub fn freed(&self) -> Vec<u8> {
        let limits = |option: &&&[u8]| {
            let name = option.split_once_str("=").map_or(**option, |(name, _)| name).to_ascii_lowercase();
            name != b"command" && !LIMITS.iter().any(|known| name == known.as_bytes())
        };
        let options: Vec<&[u8]> = self.options.iter().filter(limits).copied().collect();
        let blank: &[u8] = if options.is_empty() { b"" } else { b" " };
        [options.join(&b","[..]).as_slice(), blank, self.rest].concat()
    }
}

/// Whether a forced command leaves its user a shell; `None` where that is up to a program that is not known.
pub fn gives_shell(command: &[u8]) -> Option<bool> {
    /// What says something, or moves files, and ends.
    const NONE: [&str; 40] = [
        "echo",
        "printf",
        "exit",
        "false",
        "true",
        "sleep",
        "cat",
        "date",
        "logger",
        ":",
        "nologin",
        "internal-sftp",
        "sftp-server",
        "scp",
        "rsync",
        "rrsync",
        "borg",
        "git-shell",
        "gitolite-shell",
        "svnserve",
        "hg-ssh",
        "tar",
        "dd",
        "zfs",
        "zpool",
        "btrfs",
        "restic",
        "mysqldump",
        "mariadb-dump",
        "pg_dump",
        "pg_dumpall",
        "uptime",
        "df",
        "systemctl",
        "shutdown",
        "reboot",
        "poweroff",
        "halt",
        "validate-rsync",
        "rdiff-backup",
    ];
    if ["SSH_ORIGINAL_COMMAND", "$SHELL", "${SHELL", "/bin/sh", "bash"].iter().any(|word| command.contains_str(word)) {
        return None;
    }
    let mut quote = None;
    let parts = command.split(|byte| {
        match (quote, *byte) {
            (None, b'\'' | b'"') => quote = Some(*byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        quote.is_none() && b";&|\n".contains(byte)
    });
    for part in parts {
        let mut words = part.fields_with(|c: char| c.is_ascii_whitespace());
        let word = words.find(|word| !matches!(*word, b"exec" | b"{" | b"}" | b"(" | b")"));
        let Some(word) = word else { continue };
        let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !NONE.iter().any(|known| name == known.as_bytes()) {
            return None;
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZha2U admin";

    #[test]
    fn options() {
        let text = format!(
            "# x\nno-port-forwarding,from=\"10.0.0.0/8,::1\",command=\"echo 'as \\\"debian\\\", not root';sleep 10\" {KEY}\n\
             {KEY}\nssh-ed25519\nnothing\n"
        );
        let all = keys(text.as_bytes());
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].span.line, 2);
        assert_eq!(all[0].value("command").unwrap(), b"echo 'as \"debian\", not root';sleep 10");
        assert_eq!(all[0].freed(), format!("from=\"10.0.0.0/8,::1\" {KEY}").as_bytes());
        assert_eq!(all[1].value("command"), None);
        assert_eq!(all[1].freed(), KEY.as_bytes());
    }

    #[test]
    fn commands() {
        for none in ["echo 'Please; login';echo;sleep 10;exit 142", "/usr/bin/rrsync -ro /srv", "internal-sftp", ""] {
            assert_eq!(gives_shell(none.as_bytes()), Some(false), "{none}");
        }
        for may in ["/bin/bash -l", "exec $SHELL", "/opt/bin/recorder", "echo x; tmux"] {
            assert_eq!(gives_shell(may.as_bytes()), None, "{may}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read(text in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for key in keys(&text) {
                key.freed();
            }
            gives_shell(&text);
        }
    }
}
