//! passwd(5), shadow(5), group(5) and gshadow(5), line by line and without loss.

use std::ops::Range;

use bstr::{BStr, ByteSlice};

use crate::lines::{self, Line};
use crate::span::Span;

/// One of the four account files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `name:password:uid:gid:comment:home:shell`
    Passwd,
    /// `name:hash:changed:min:max:warn:inactive:expire:reserved`
    Shadow,
    /// `name:password:gid:members`
    Group,
    /// `name:password:administrators:members`
    Gshadow,
}

impl Kind {
    /// How many fields a line has, as the manual pages say.
    pub fn fields(self) -> usize {
        match self {
            Kind::Passwd => 7,
            Kind::Shadow => 9,
            Kind::Group | Kind::Gshadow => 4,
        }
    }

    /// The path of the file.
    pub fn path(self) -> &'static str {
        match self {
            Kind::Passwd => "/etc/passwd",
            Kind::Shadow => "/etc/shadow",
            Kind::Group => "/etc/group",
            Kind::Gshadow => "/etc/gshadow",
        }
    }

    /// The fields, counted from 0, that must be numbers, and whether they may be empty.
    fn numbers(self) -> (Range<usize>, bool) {
        match self {
            Kind::Passwd => (2..4, false),
            Kind::Shadow => (2..8, true),
            Kind::Group => (2..3, false),
            Kind::Gshadow => (0..0, true),
        }
    }
}

/// What is wrong with the form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Another number of fields than [`Kind::fields`].
    Fields(usize),
    /// The first field is empty, has blanks around it or control characters in it.
    Name,
    /// This field, counted from 1, must be a number and is none.
    Number(usize),
    /// A NUL byte: the C library sees the line end there.
    Nul,
}

/// A line that names an account or a group, or wants to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The number of the line, from 1 on.
    pub line: usize,
    /// The line without its end, a carriage return or a byte order mark.
    pub text: &'a [u8],
    /// What makes it no line of this kind.
    pub defect: Option<Defect>,
    /// Bytes of the byte order mark that were left out before `text`.
    skipped: usize,
}

impl<'a> Entry<'a> {
    /// The field with this number, counted from 0; empty when the line has no such field.
    pub fn field(&self, number: usize) -> &'a BStr {
        self.text.split(|&byte| byte == b':').nth(number).unwrap_or_default().as_bstr()
    }

    /// How many fields the line has.
    pub fn fields(&self) -> usize {
        self.text.split(|&byte| byte == b':').count()
    }

    /// The first field.
    pub fn name(&self) -> &'a BStr {
        self.field(0)
    }

    /// A field as a number.
    pub fn number(&self, number: usize) -> Option<i64> {
        self.field(number).to_str().ok()?.trim().parse().ok()
    }

    /// Where a field stands.
    pub fn span(&self, number: usize) -> Span {
        let range = self.range(number);
        let mut span = lines::span_in(self.text, self.line, range);
        span.column += usize::from(self.skipped > 0);
        span
    }

    /// Where the whole line stands.
    pub fn whole(&self) -> Span {
        let mut span = lines::span_in(self.text, self.line, 0..self.text.len());
        span.column += usize::from(self.skipped > 0);
        span
    }

    /// The bytes of a field in [`Entry::text`].
    fn range(&self, number: usize) -> Range<usize> {
        let mut start = 0;
        for (index, field) in self.text.split(|&byte| byte == b':').enumerate() {
            if index == number {
                return start..start + field.len();
            }
            start += field.len() + 1;
        }
        self.text.len()..self.text.len()
    }

    /// The line with another value of one field.
    pub fn with_field(&self, number: usize, value: &[u8]) -> Vec<u8> {
        let range = self.range(number);
        let head = self.text.get(..range.start).unwrap_or_default();
        let tail = self.text.get(range.end..).unwrap_or_default();
        [head, value, tail].concat()
    }

    /// The members of a group (field 3 of group(5)).
    pub fn members(&self) -> impl Iterator<Item = &'a BStr> {
        list(self.field(3))
    }
}

fn list(field: &BStr) -> impl Iterator<Item = &BStr> {
    field.split(|&byte| byte == b',').map(|name| name.trim_ascii().as_bstr()).filter(|name| !name.is_empty())
}

/// One of the account files as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFile<'a> {
    /// Which one.
    pub kind: Kind,
    /// Lines that are neither blank nor comments nor NIS inclusions (`+`, `-@group`), damaged or not.
    pub entries: Vec<Entry<'a>>,
    /// Whether there are NIS inclusions (nsswitch.conf(5), "compat").
    pub compat: bool,
    /// Lines that end in a carriage return.
    pub carriage_returns: usize,
    /// Bytes that are 0.
    pub nuls: usize,
    /// Whether it begins with a byte order mark (U+FEFF in UTF-8, or either mark of UTF-16).
    pub mark: bool,
    /// Whether there is nothing in it but blanks and NUL bytes.
    pub empty: bool,
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

impl<'a> AccountFile<'a> {
    /// Reads a file.
    pub fn parse(kind: Kind, text: &'a [u8]) -> AccountFile<'a> {
        let mut file = AccountFile {
            kind,
            entries: Vec::new(),
            compat: false,
            carriage_returns: 0,
            nuls: text.iter().filter(|&&byte| byte == 0).count(),
            mark: text.starts_with(UTF8_MARK) || text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff"),
            empty: text.iter().all(|&byte| byte == 0 || byte.is_ascii_whitespace()),
        };
        for line in lines::lines(text) {
            file.take(line);
        }
        file
    }

    fn take(&mut self, line: Line<'a>) {
        let (text, skipped) = match line.text.strip_prefix(UTF8_MARK) {
            Some(rest) if line.number == 1 => (rest, UTF8_MARK.len()),
            _ => (line.text, 0),
        };
        let text = match text.strip_suffix(b"\r") {
            Some(rest) => {
                self.carriage_returns += 1;
                rest
            }
            None => text,
        };
        // The C library skips blank lines and comments (nss/nss_files).
        let begin = text.trim_ascii_start();
        if begin.is_empty() || begin.starts_with(b"#") {
            return;
        }
        if begin.starts_with(b"+") || begin.starts_with(b"-") {
            self.compat = true;
            return;
        }
        let mut entry = Entry { line: line.number, text, defect: None, skipped };
        entry.defect = defect(self.kind, &entry);
        self.entries.push(entry);
    }

    /// Lines of the right form.
    pub fn good(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries.iter().filter(|entry| entry.defect.is_none())
    }

    /// The first line of the right form with this name, which is the one that counts.
    pub fn find(&self, name: &[u8]) -> Option<&Entry<'a>> {
        self.good().find(|entry| entry.name() == name)
    }

    /// Whether every line has the right form and there is at least one.
    pub fn sound(&self) -> bool {
        !self.entries.is_empty()
            && self.entries.iter().all(|entry| entry.defect.is_none())
            && self.carriage_returns == 0
            && self.nuls == 0
            && !self.mark
    }
}

fn defect(kind: Kind, entry: &Entry<'_>) -> Option<Defect> {
    if entry.text.contains(&0) {
        return Some(Defect::Nul);
    }
    let count = entry.fields();
    if count != kind.fields() {
        return Some(Defect::Fields(count));
    }
    let name = entry.name();
    if name.is_empty() || name.trim_ascii() != *name || name.iter().any(u8::is_ascii_control) {
        return Some(Defect::Name);
    }
    let (numbers, may_be_empty) = kind.numbers();
    for number in numbers {
        let field = entry.field(number);
        let digits = field.strip_prefix(if may_be_empty { b"-".as_slice() } else { b"" }).unwrap_or(field);
        let good = if field.is_empty() {
            may_be_empty
        } else {
            !digits.is_empty()
                && digits.len() <= 10
                && digits.iter().all(u8::is_ascii_digit)
                && (may_be_empty || entry.number(number).is_some_and(|value| value < i64::from(u32::MAX)))
        };
        if !good {
            return Some(Defect::Number(number + 1));
        }
    }
    None
}

/// What a password field lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// Nothing is asked for.
    Empty,
    /// A hash that a password can match.
    Hash,
    /// A hash behind one or more `!`, as `usermod -L` and `passwd -l` write it.
    Locked,
    /// No password matches: `*`, `!`, `!!`, `!*`.
    None,
    /// passwd(5) only: the hash is in shadow(5).
    Shadowed,
    /// What is neither a hash nor a way to say that there is none: no password matches.
    Invalid,
}

impl Password {
    /// Reads the second field of passwd(5) or shadow(5).
    pub fn of(field: &[u8]) -> Password {
        match field {
            b"" => Password::Empty,
            b"x" => Password::Shadowed,
            _ if is_hash(field) => Password::Hash,
            _ if is_hash(unlocked(field)) => Password::Locked,
            // Words of other systems' tools for the same as `*`.
            b"NP" | b"LK" | b"UP" | b"nologin" => Password::None,
            _ if unlocked(field).len() == field.len() => Password::Invalid,
            _ => Password::None,
        }
    }
}

/// The field without the `!` (or `*`) that a lock put before the hash.
pub fn unlocked(field: &[u8]) -> &[u8] {
    field.trim_start_with(|c| matches!(c, '!' | '*'))
}

/// Whether crypt(5) knows a hash of this form: `$id$…`, DES of 13 characters, or BSDi's `_` with 20.
fn is_hash(field: &[u8]) -> bool {
    let plain = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'));
    match field {
        [b'$', rest @ ..] => {
            rest.len() > 8
                && rest.contains(&b'$')
                && rest.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'!' | b'*' | b':' | b';' | b'\\'))
        }
        [b'_', rest @ ..] => rest.len() == 19 && plain(rest),
        _ => field.len() == 13 && plain(field),
    }
}

/// The text of a shadow or gshadow file with every hash made unreadable, character for character; what is before the
/// hash (`!`) and its method (`$y$`) stay.
pub fn masked(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in lines::lines(text) {
        let mut fields = line.text.splitn(3, |&byte| byte == b':');
        out.extend(fields.next().unwrap_or_default());
        if let Some(secret) = fields.next() {
            out.push(b':');
            let open = match unlocked(secret) {
                [b'$', rest @ ..] => secret.len() - rest.len() + rest.find_byte(b'$').map_or(0, |at| at + 1),
                // What is no hash hides nothing: `*`, `!`, `!!`.
                _ if unlocked(secret).len() < 6 => secret.len(),
                rest => secret.len() - rest.len(),
            };
            out.extend(secret.iter().enumerate().map(|(at, &byte)| if at < open { byte } else { b'x' }));
        }
        if let Some(rest) = fields.next() {
            out.push(b':');
            out.extend(rest);
        }
        out.extend(line.end);
    }
    out
}

/// The text with `line` added as a last line of its own.
pub fn with_line_added(text: &[u8], line: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend(line);
    out.push(b'\n');
    out
}

/// The text without carriage returns at the ends of lines, without byte order mark.
pub fn with_unix_ends(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(UTF8_MARK).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len());
    for line in lines::lines(text) {
        out.extend(line.text.strip_suffix(b"\r").unwrap_or(line.text));
        out.extend(line.end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n# a remark\n\n+@admins::::::\n+\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n";

    #[test]
    fn a_passwd_is_read() {
        let file = AccountFile::parse(Kind::Passwd, PASSWD);
        assert!(file.sound() && file.compat && !file.empty);
        let root = file.find(b"root").unwrap();
        assert_eq!((root.number(2), root.field(6)), (Some(0), b"/bin/bash".as_bstr()));
        assert_eq!(root.span(6), Span { line: 1, column: 23, len: 9 });
        assert_eq!(file.entries[1].line, 6);
        assert_eq!(root.with_field(6, b"/bin/sh"), b"root:x:0:0:root:/root:/bin/sh");
    }

    #[test]
    fn damage_is_told() {
        let defects = |kind, text: &[u8]| -> Vec<Option<Defect>> {
            AccountFile::parse(kind, text).entries.iter().map(|entry| entry.defect).collect()
        };
        assert_eq!(
            defects(Kind::Passwd, b"root:x:0:0:root:/root\na:x:one:1:::\n:x:1:1:::\njunk\nb:x:1:-1:::\nc\0:x:1:1:::\n"),
            [
                Some(Defect::Fields(6)),
                Some(Defect::Number(3)),
                Some(Defect::Name),
                Some(Defect::Fields(1)),
                Some(Defect::Number(4)),
                Some(Defect::Nul)
            ]
        );
        assert_eq!(
            defects(Kind::Shadow, b"root:*:19800:0:99999:7:::\nroot:*:::::::\na:*:x::::::\n"),
            [None, None, Some(Defect::Number(3))]
        );
        assert_eq!(defects(Kind::Group, b"wheel:x:10:a,b\nx:x::\n"), [None, Some(Defect::Number(3))]);
        let crlf = AccountFile::parse(Kind::Passwd, b"\xef\xbb\xbfroot:x:0:0:root:/root:/bin/bash\r\n");
        assert_eq!((crlf.carriage_returns, crlf.mark, crlf.sound()), (1, true, false));
        assert_eq!(crlf.find(b"root").unwrap().field(6), "/bin/bash");
        assert!(AccountFile::parse(Kind::Shadow, b"\0\0\0\0\n").empty);
    }

    #[test]
    fn passwords_are_judged() {
        for (field, wanted) in [
            (&b""[..], Password::Empty),
            (b"x", Password::Shadowed),
            (b"*", Password::None),
            (b"!", Password::None),
            (b"!!", Password::None),
            (b"!*", Password::None),
            (b"*LK*", Password::None),
            (b"$6$salt$hashhashhash", Password::Hash),
            (b"!$6$salt$hashhashhash", Password::Locked),
            (b"!!$y$j9T$salt$hash", Password::Locked),
            (b"ab1Cd2Ef3Gh4I", Password::Hash),
            (b"!ab1Cd2Ef3Gh4I", Password::Locked),
        ] {
            assert_eq!(Password::of(field), wanted, "{:?}", field.as_bstr());
        }
    }

    #[test]
    fn hashes_are_masked() {
        assert_eq!(masked(b"root:!$6$ab$cd:1:\na:*:2\nb\n").as_bstr(), "root:!$6$xxxxx:1:\na:*:2\nb\n");
    }

    #[test]
    fn lines_are_added() {
        assert_eq!(with_line_added(b"a", b"b"), b"a\nb\n");
        assert_eq!(with_line_added(b"", b"b"), b"b\n");
        assert_eq!(with_unix_ends(b"a\r\nb\r"), b"a\nb");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            for kind in [Kind::Passwd, Kind::Shadow, Kind::Group, Kind::Gshadow] {
                for entry in &AccountFile::parse(kind, &text).entries {
                    let _ = (entry.whole(), entry.span(6), entry.number(2));
                    for number in 0..entry.fields() {
                        proptest::prop_assert_eq!(entry.with_field(number, entry.field(number)), entry.text);
                    }
                }
            }
            proptest::prop_assert_eq!(masked(&text).len(), text.len());
        }

        #[test]
        fn unix_ends_change_no_sound_file(text in "([a-z]{1,8}:x:[0-9]{1,5}:[0-9]{1,5}:[a-z ]{0,9}:/[a-z]{0,5}:/bin/sh\n){0,6}") {
            proptest::prop_assert_eq!(with_unix_ends(text.as_bytes()), text.as_bytes());
            proptest::prop_assert!(AccountFile::parse(Kind::Passwd, text.as_bytes()).entries.iter().all(|e| e.defect.is_none()));
        }
    }
}
