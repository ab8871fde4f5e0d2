//! Lines of authorized_keys from which sshd takes no key, although one was meant.

use bstr::ByteSlice;

use crate::lines::{self, Line};
use crate::span::Span;

/// A line without a key for sshd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defective {
    /// The line.
    pub span: Span,
    /// What is wrong with it.
    pub defect: Defect,
}

/// Why sshd takes no key from a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The key goes on in the next lines, up to this one: it was wrapped when it was pasted.
    Broken {
        /// The last of its lines.
        last: usize,
        /// The line that they were.
        joined: Vec<u8>,
    },
    /// An option that sshd does not know: it passes over the whole line.
    Option(Vec<u8>),
    /// A private key, or a public one in the form of another program.
    OtherForm,
}

/// The options of sshd(8), AUTHORIZED_KEYS FILE FORMAT, and auth-options.c; case does not matter.
pub const OPTIONS: [&str; 23] = [
    "agent-forwarding",
    "cert-authority",
    "command",
    "environment",
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "principals",
    "pty",
    "restrict",
    "touch-required",
    "tunnel",
    "user-rc",
    "verify-required",
    "x11-forwarding",
];

/// A key goes on over so many lines at most.
const MOST_LINES: usize = 40;

/// Every such line.
pub fn defects(text: &[u8]) -> Vec<Defective> {
    let all: Vec<Line<'_>> = lines::lines(text).collect();
    let mut found = Vec::new();
    let mut after = 0;
    for (index, line) in all.iter().enumerate() {
        let trimmed = line.text.trim_ascii();
        if index < after || trimmed.is_empty() || trimmed.starts_with(b"#") {
            continue;
        }
        let span = line.whole();
        if trimmed.starts_with(b"-----BEGIN ") || trimmed.starts_with(b"---- BEGIN ") {
            found.push(Defective { span, defect: Defect::OtherForm });
            return found;
        }
        let Some(key) = super::key(trimmed, span) else { continue };
        let unknown = key.options.iter().find(|option| {
            let name = option.split_once_str("=").map_or(**option, |(name, _)| name).to_ascii_lowercase();
            !OPTIONS.iter().any(|known| name == known.as_bytes())
        });
        if let Some(option) = unknown {
            let name = option.split_once_str("=").map_or(*option, |(name, _)| name).to_vec();
            found.push(Defective { span, defect: Defect::Option(name) });
            continue;
        }
        if let Some((count, joined)) = broken(trimmed, key.rest, all.get(index + 1..).unwrap_or_default()) {
            after = index + 1 + count;
            let last = line.number + count;
            found.push(Defective { span, defect: Defect::Broken { last, joined } });
        }
    }
    found
}

/// How many of the next lines belong to a key that is not complete, and the line that they make together.
fn broken(line: &[u8], key: &[u8], next: &[Line<'_>]) -> Option<(usize, Vec<u8>)> {
    let mut words = key.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (kind, begin) = (words.next()?, words.next()?);
    // With a comment behind it the key ended there.
    if words.next().is_some() || is_complete(kind, begin) {
        return None;
    }
    let (mut data, mut joined) = (begin.to_vec(), line.to_vec());
    for (count, more) in next.iter().take(MOST_LINES).enumerate() {
        let more = more.text.trim_ascii();
        let word = more.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        if word.is_empty() || !word.iter().all(is_base64) {
            return None;
        }
        data.extend_from_slice(word);
        joined.extend_from_slice(more);
        if is_complete(kind, &data) {
            return Some((count + 1, joined));
        }
        if word.len() < more.len() {
            return None;
        }
    }
    None
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Whether the data is a whole key of that kind: strings, each behind its length, of which the first is the kind (RFC 4253, 6.6).
fn is_complete(kind: &[u8], data: &[u8]) -> bool {
    let bytes = decoded(data);
    let mut rest = bytes.as_slice();
    let mut strings = 0;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((string, after)) = after.split_at_checked(length) else { return false };
        if strings == 0 && string != kind {
            return false;
        }
        strings += 1;
        rest = after;
    }
    rest.is_empty() && strings >= 2
}

/// Base64, up to its padding; what is over at the end is dropped.
fn decoded(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in data {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            let [.., low] = (bits >> count).to_be_bytes();
            bytes.push(low);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIGZha2Uga2V5IGZvciBhIHRlc3QgdHJlZSBvbmx5ISEh";

    #[test]
    fn kinds() {
        let (one, two) = KEY.split_at(40);
        let text = format!(
            "# x\nssh-ed25519 {one}\n{two} admin\nno-ptty ssh-ed25519 {KEY} a\nssh-ed25519 {KEY} b\nfrom=\"a\" ssh-ed25519 {KEY}\n"
        );
        let all = defects(text.as_bytes());
        assert_eq!(all.len(), 2);
        let joined = format!("ssh-ed25519 {KEY} admin").into_bytes();
        assert_eq!(all[0].span.line, 2);
        assert_eq!(all[0].defect, Defect::Broken { last: 3, joined });
        assert_eq!(all[1].defect, Defect::Option(b"no-ptty".to_vec()));
        assert_eq!(defects(b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")[0].defect, Defect::OtherForm);
        // Cut off, and nothing goes on: nobody knows.
        assert_eq!(defects(format!("ssh-ed25519 {one}\n").as_bytes()), []);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let text = [b"ssh-ed25519 AAAAC3NzaC1l".as_slice(), &text].concat();
            proptest::prop_assert!(defects(&text).len() <= 301);
        }
    }
}
