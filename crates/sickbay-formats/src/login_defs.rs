//! login.defs(5): a key and a value on each line.

use bstr::{BStr, ByteSlice};

use crate::lines;
use crate::span::Span;

/// A line that sets something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<'a> {
    /// The number of the line, from 1 on.
    pub line: usize,
    /// The name.
    pub key: &'a BStr,
    /// The value as shadow reads it: without the quotes and blanks around it, with everything up to the line's end.
    pub value: &'a BStr,
    /// Where the value stands.
    pub span: Span,
}

/// All settings in order; of those with the same name the last counts. A key without a value sets nothing.
pub fn settings(text: &[u8]) -> impl Iterator<Item = Setting<'_>> {
    lines::lines(text).filter_map(|line| {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let trimmed = line.text.trim_ascii_end();
        let start = trimmed.iter().position(|byte| !blank(byte))?;
        let content = trimmed.get(start..)?;
        if content.starts_with(b"#") {
            return None;
        }
        let length = content.iter().position(blank)?;
        let (key, rest) = content.split_at(length);
        let skipped = rest.iter().position(|byte| !blank(byte) && *byte != b'"')?;
        let value = rest.get(skipped..)?;
        let value = value.split(|&byte| byte == b'"').next().unwrap_or_default();
        let at = start + length + skipped;
        Some(Setting {
            line: line.number,
            key: key.as_bstr(),
            value: value.as_bstr(),
            span: line.span(at..at + value.len()),
        })
    })
}

/// The number that a value is: decimal, octal with a leading `0`, hexadecimal with `0x` (strtol(3) with base 0).
pub fn number(value: &[u8]) -> Option<i64> {
    let text = value.to_str().ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(rest) => (16, rest),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let text = b"# x\nERASECHAR\t0177\n  UMASK \"022\"  \nKILLCHAR 025 # comment\nEMPTY\nTTYGROUP tty\r\n";
        let all: Vec<_> = settings(text).map(|s| (s.line, s.key.to_string(), s.value.to_string())).collect();
        assert_eq!(
            all,
            [
                (2, "ERASECHAR".into(), "0177".into()),
                (3, "UMASK".into(), "022".into()),
                (4, "KILLCHAR".into(), "025 # comment".into()),
                (6, "TTYGROUP".into(), "tty".into())
            ]
        );
        assert_eq!(settings(text).nth(1).unwrap().span, Span { line: 3, column: 10, len: 3 });
    }

    #[test]
    fn numbers_are_those_of_strtol() {
        for (text, wanted) in
            [("0177", Some(127)), ("22", Some(22)), ("0x7f", Some(127)), ("-1", Some(-1)), ("0", Some(0))]
        {
            assert_eq!(number(text.as_bytes()), wanted);
        }
        for text in ["^H", "", "08", "22 #", "0x", "--1", "12k"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            for setting in settings(&text) {
                let _ = number(setting.value);
            }
        }
    }
}
