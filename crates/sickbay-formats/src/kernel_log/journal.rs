//! Entries of the journal as journalctl(1) writes them, `-o json` and `-o export`, and lines of Docker's json-file log.

use std::borrow::Cow;

use bstr::ByteSlice;

use super::prefix::Message;
use super::stamp::Stamp;

/// Whether a line is an entry of `journalctl -o json`.
pub(super) fn is_json(line: &[u8]) -> bool {
    line.contains_str("\"MESSAGE\"") || line.contains_str("\"__REALTIME_TIMESTAMP\"")
}

/// An entry of `journalctl -o json`: one object on one line, its values strings or arrays of bytes.
pub(super) fn json(line: &[u8]) -> Message<'_> {
    let text = value(line, "\"MESSAGE\"").unwrap_or_default();
    let kernel = match (value(line, "\"_TRANSPORT\""), value(line, "\"SYSLOG_IDENTIFIER\"")) {
        (Some(transport), _) => transport == b"kernel",
        (None, Some(author)) => author == b"kernel",
        (None, None) => true,
    };
    let micros = value(line, "\"__REALTIME_TIMESTAMP\"").and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    Message {
        time: micros.map(|micros| Stamp::of_unix(micros / 1_000_000)),
        host: None,
        kernel,
        prefixed: true,
        text: Cow::Owned(text),
    }
}

/// What was said, and the time of it, in a line of Docker's json-file log.
pub(super) fn docker(line: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let text = value(line, "\"log\"").unwrap_or_default();
    (text.trim_ascii_end().to_vec(), value(line, "\"time\""))
}

/// What a line of `journalctl -o export` says of the entry it belongs to.
pub(super) enum Field {
    /// The entry's time.
    Time(Stamp),
    /// Whether the kernel wrote it.
    Kernel(bool),
    /// Something else.
    Other,
}

/// A field of `journalctl -o export`; `None` when the line is none, or is the message itself.
pub(super) fn field(line: &[u8]) -> Option<Field> {
    let equals = line.get(..64.min(line.len()))?.find_byte(b'=')?;
    let (name, text) = (line.get(..equals)?, line.get(equals + 1..)?);
    let named =
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_' || byte.is_ascii_digit());
    if !named || name == b"MESSAGE" || !name.contains(&b'_') {
        return None;
    }
    Some(match name {
        b"__REALTIME_TIMESTAMP" => {
            let micros = text.to_str().ok().and_then(|text| text.parse::<u64>().ok());
            micros.map_or(Field::Other, |micros| Field::Time(Stamp::of_unix(micros / 1_000_000)))
        }
        b"_TRANSPORT" => Field::Kernel(text == b"kernel"),
        _ => Field::Other,
    })
}

/// The value of a key of a flat JSON object, decoded.
fn value(line: &[u8], key: &str) -> Option<Vec<u8>> {
    let mut from = 0;
    loop {
        let at = from + line.get(from..)?.find(key)?;
        let rest = line.get(at + key.len()..)?.trim_ascii_start();
        // The same words inside of a string have a backslash before their quote.
        if let Some(rest) = rest.strip_prefix(b":").filter(|_| at == 0 || line.get(at - 1) != Some(&b'\\')) {
            let rest = rest.trim_ascii_start();
            return match rest.first()? {
                b'"' => Some(string(rest.get(1..)?)),
                b'[' => Some(bytes(rest.get(1..)?)),
                _ => None,
            };
        }
        from = at + key.len();
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => break,
            b'\\' => {
                let Some((&escape, after)) = rest.split_first() else { break };
                rest = after;
                match escape {
                    b'n' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    b'r' => out.push(b'\r'),
                    b'u' => {
                        let digits = rest.get(..4).and_then(|digits| digits.to_str().ok());
                        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                        let character = code.and_then(char::from_u32).unwrap_or('\u{FFFD}');
                        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        rest = rest.get(4..).unwrap_or_default();
                    }
                    other => out.push(other),
                }
            }
            other => out.push(other),
        }
    }
    out
}

/// `104,105]` → the bytes.
fn bytes(text: &[u8]) -> Vec<u8> {
    let inside = text.split_str("]").next().unwrap_or_default();
    inside.split_str(",").filter_map(|number| number.trim_ascii().to_str().ok()?.parse().ok()).collect()
}
