//! What words of a script come to, as far as that is known.

use std::path::PathBuf;

use bstr::{BString, ByteSlice};
use sickbay_formats::shell::Word;
use sickbay_formats::wildcard::fits;
use sickbay_target::FileKind;

use super::walk::Walk;

/// Directories without which no command is found.
const USUAL: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

impl Walk<'_> {
    /// Whether none of the usual directories is in a value of PATH, nor can be in what it expands.
    pub(super) fn path_is_lost(&self, value: &Word) -> bool {
        let lost_before = self.path_lost.is_some();
        let own: [&[u8]; 4] = [b"$PATH", b"${PATH}", b"${PATH:+", b"${PATH-"];
        let entries = value.text.split(|&byte| byte == b':');
        for entry in entries {
            let entry = entry.strip_suffix(b"/").unwrap_or(entry);
            if USUAL.iter().any(|usual| entry == usual.as_bytes()) {
                return false;
            }
            // Other systems keep their programs elsewhere.
            if entry.starts_with(b"/") && entry.to_str().is_ok_and(|dir| self.root().stat(format!("{dir}/ls")).is_ok())
            {
                return false;
            }
            if own.iter().any(|own| entry.contains_str(own)) {
                if !lost_before {
                    return false;
                }
                continue;
            }
            let directory = entry.strip_prefix(b"$").is_some() && entry.contains(&b'/');
            if entry.contains(&b'`') || entry.contains_str("$(") {
                return false;
            }
            // `$JAVA_HOME/bin` is one directory; a variable alone may be a whole list.
            if entry.contains(&b'$') && !directory {
                let word = Word { text: entry.into(), expands: true, globs: false };
                match self.expand(&word) {
                    Some(text)
                        if !text
                            .split(|&byte| byte == b':')
                            .any(|part| USUAL.iter().any(|usual| part == usual.as_bytes())) => {}
                    _ => return false,
                }
            }
        }
        true
    }

    /// The path that a word names.
    pub(super) fn path(&self, word: &Word) -> Option<PathBuf> {
        let text = self.expand(word)?;
        let text = text.to_str().ok()?;
        match text.strip_prefix("~/") {
            Some(rest) => Some(self.home.join(rest)),
            None if text.starts_with('/') => Some(PathBuf::from(text)),
            None => None,
        }
    }

    /// The words that a word of `for` stands for.
    pub(super) fn items(&self, word: &Word) -> Option<Vec<BString>> {
        if let Some(count) = counted(&word.text) {
            return Some((1..=count).map(|number| number.to_string().into()).collect());
        }
        let path = match listed(&word.text) {
            Some(path) => path,
            None if !word.globs => return Some(vec![self.expand(word)?]),
            None => self.path(word)?,
        };
        let (dir, pattern) = (path.parent()?, path.file_name()?.as_encoded_bytes());
        if pattern.contains(&b'[') || dir.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            return None;
        }
        let mut names: Vec<BString> = self
            .root()
            .read_dir(dir)
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| entry.kind != FileKind::Dir)
            .map(|entry| BString::from(entry.name.as_encoded_bytes()))
            .filter(|name| fits(name, pattern) && !name.starts_with(b"."))
            .collect();
        names.sort();
        let dir = dir.to_string_lossy();
        Some(names.into_iter().map(|name| format!("{dir}/{name}").into()).collect())
    }

    /// What a word comes to, if everything in it is known.
    pub(super) fn expand(&self, word: &Word) -> Option<BString> {
        if !word.expands {
            return Some(word.text.clone());
        }
        match word.text.as_slice() {
            b"$(id -u)" | b"`id -u`" | b"$(/usr/bin/id -u)" | b"`/usr/bin/id -u`" => return Some("0".into()),
            b"$(id -un)" | b"`id -un`" | b"$(whoami)" | b"`whoami`" => return Some("root".into()),
            _ => {}
        }
        let mut out = BString::default();
        let mut rest = word.text.as_slice();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'$' | b'`')) {
            let (before, after) = rest.split_at(at);
            out.extend_from_slice(before);
            let name_of =
                |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            let after = after.strip_prefix(b"$")?;
            if let Some(inner) = after.strip_prefix(b"{") {
                let (name, behind) = inner.split_at(name_of(inner));
                let close = behind.iter().position(|&byte| byte == b'}')?;
                // `${NAME-}` and `${NAME:-}`: the value, or nothing.
                if name.is_empty() || !matches!(behind.get(..close)?, b"" | b"-" | b":-") {
                    return None;
                }
                out.extend_from_slice(self.variables.get(name.as_bstr())?.as_ref()?);
                rest = behind.get(close + 1..)?;
            } else {
                let (name, behind) = after.split_at(name_of(after));
                if name.is_empty() {
                    return None;
                }
                out.extend_from_slice(self.variables.get(name.as_bstr())?.as_ref()?);
                rest = behind;
            }
        }
        out.extend_from_slice(rest);
        Some(out)
    }
}

/// How far `{1..N}`, `$(seq N)` and `$(seq 1 N)` count, if that is no more than anybody follows.
fn counted(text: &[u8]) -> Option<usize> {
    let text = text.to_str().ok()?;
    let braces = text.strip_prefix("{1..").and_then(|rest| rest.strip_suffix('}'));
    let quotes = text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    let inner = || quotes.or_else(|| text.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')')));
    let last = braces.or_else(|| {
        let rest = inner()?.strip_prefix("seq ")?;
        Some(rest.strip_prefix("1 ").unwrap_or(rest))
    });
    last?.parse().ok().filter(|count| *count <= 1000)
}

/// What `$(run-parts --list … /etc/profile.d)`, as Debian has it, and `$(ls …/*.sh)` list.
fn listed(text: &[u8]) -> Option<PathBuf> {
    let inner = text.strip_prefix(b"$(").and_then(|text| text.strip_suffix(b")"));
    let inner = inner.or_else(|| text.strip_prefix(b"`").and_then(|text| text.strip_suffix(b"`")))?.trim_ascii();
    let path = PathBuf::from(inner.rsplit_str(" ").next()?.to_str().ok()?);
    if !path.is_absolute() {
        return None;
    }
    if inner.starts_with(b"run-parts ") {
        return Some(path.join("*.sh"));
    }
    (inner.starts_with(b"ls ") && path.to_string_lossy().contains('*')).then_some(path)
}
