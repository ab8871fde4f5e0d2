//! Text of a stranger where it must neither act nor deceive: what a screen would obey, and what hides or reorders what is seen,
//! is spelled out.

use std::fmt::Write as _;

/// Whether it is seen as what it is.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{061C}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                // No characters at all; XML forbids the last two.
                | '\u{FDD0}'..='\u{FDEF}'
                | '\u{FFFE}'
                | '\u{FFFF}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

fn spelled(text: &str, keeps: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_plain(c) || keeps(c) => out.push(c),
            '\t' => out.push(' '),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => {
                let code = u32::from(c);
                let _ = if code < 0x100 { write!(out, "\\x{code:02x}") } else { write!(out, "\\u{{{code:x}}}") };
            }
        }
    }
    out
}

/// One line of it.
pub fn visible(text: &str) -> String {
    spelled(text, |_| false)
}

/// All of it, its lines and tabs as they are.
pub fn visible_lines(text: &str) -> String {
    spelled(text, |c| matches!(c, '\n' | '\t'))
}

/// JSON without what a terminal obeys, or what reorders what is seen: JSON itself asks only for the first 32 characters to be
/// escaped, and such a character stands nowhere but in a string.
pub fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7F}'..='\u{9F}'
            | '\u{061C}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2066}'..='\u{2069}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A word of a command line, so that a shell takes it as it is.
pub fn quoted(word: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_safe) {
        return word.to_owned();
    }
    // A name that begins with a hyphen would be an option.
    let lead = if word.starts_with('-') { "./" } else { "" };
    format!("'{lead}{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_spelled_out() {
        assert_eq!(visible("a\x1b[2J\r\u{202E}b\tc\u{200B}\nd\u{9b}"), r"a\x1b[2J\r\u{202e}b c\u{200b}\nd\x9b");
        assert_eq!(visible_lines("a\n\tb\u{FFFE}\0"), "a\n\tb\\u{fffe}\\x00");
        assert_eq!(visible("日本語 é – ✓"), "日本語 é – ✓");
    }

    #[test]
    fn json_holds_nothing_that_a_terminal_obeys() {
        let value = serde_json::json!({"title": "a\u{9b}2J\u{202e}b\u{7f}c\u{2066}\u{1b}é"});
        let json = escaped(&serde_json::to_string(&value).expect("JSON"));
        assert_eq!(json, r#"{"title":"a\u009b2J\u202eb\u007fc\u2066\u001bé"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON still"), value);
    }

    #[test]
    fn a_shell_takes_it_as_one_word() {
        assert_eq!(quoted("/mnt/sysroot"), "/mnt/sysroot");
        assert_eq!(quoted("my disk's.img"), r"'my disk'\''s.img'");
        assert_eq!(quoted("$(reboot)"), "'$(reboot)'");
        assert_eq!(quoted("-x"), "'./-x'");
    }
}
