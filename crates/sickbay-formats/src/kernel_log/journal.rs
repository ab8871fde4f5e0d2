//! Entries of the journal as journalctl(1) writes them, `-o json` and `-o export`, and lines of Docker's json-file log.

use bstr::ByteSlice;

use super::prefix::date;
use super::stamp::Stamp;

/// What an object of JSON on one line says: an entry of `journalctl -o json`, a line of Docker's json-file log, or what
/// another forwarder makes of a line.
pub(super) struct Entry {
    pub(super) time: Option<Stamp>,
    /// Whether it may be the kernel's.
    pub(super) kernel: bool,
    /// Whether it says that it is the kernel's.
    pub(super) certain: bool,
    pub(super) text: Vec<u8>,
}

/// Keys under which the line itself is kept, and its time.
const TEXTS: [&str; 6] = ["\"MESSAGE\"", "\"log\"", "\"message\"", "\"msg\"", "\"line\"", "\"text\""];
const TIMES: [&str; 4] = ["\"time\"", "\"@timestamp\"", "\"timestamp\"", "\"ts\""];

/// Reads such a line; `None` when it is none. `journalctl -o json-seq` begins each with a byte of its own.
pub(super) fn object(line: &[u8]) -> Option<Entry> {
    let line = line.strip_prefix(b"\x1e").unwrap_or(line);
    line.starts_with(b"{").then_some(())?;
    let micros = value(line, "\"__REALTIME_TIMESTAMP\"").and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    let text = TEXTS.iter().find_map(|key| value(line, key));
    // An entry without a message is still one.
    let text = if micros.is_some() { text.unwrap_or_default() } else { text? };
    let (kernel, certain) = match (value(line, "\"_TRANSPORT\""), value(line, "\"SYSLOG_IDENTIFIER\"")) {
        (Some(transport), _) => (transport == b"kernel", transport == b"kernel"),
        (None, Some(author)) => (author == b"kernel", author == b"kernel"),
        (None, None) => (true, false),
    };
    let time = || TIMES.iter().find_map(|key| Some(date(&value(line, key)?)?.0));
    Some(Entry {
        time: micros.map(|micros| Stamp::of_unix(micros / 1_000_000)).or_else(time),
        kernel,
        certain,
        text: text.trim_ascii_end().to_vec(),
    })
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
