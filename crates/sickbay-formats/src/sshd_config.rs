//! sshd_config(5), read as OpenSSH's servconf.c reads it.
//!
//! A file is a list of [`Directive`]s; [`Directive::fault`] says why sshd would refuse one, [`tree::Tree`] what a set of
//! files comes to for one connection. Files are edited by their lines (see [`crate::lines`]), so that all else stays.

pub mod keywords;
pub mod matching;
pub mod tree;
mod values;

use std::ops::Range;

use bstr::{BString, ByteSlice};

use crate::lines::{self, Line};
use crate::span::Span;

pub use keywords::Keyword;

/// A release of OpenSSH: `7.4` is `Version(7, 4)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u8, pub u8);

/// Since this release words are cut with quotes and escapes, and a `#` ends the line anywhere (argv_split in misc.c).
const MODERN: Version = Version(8, 7);

/// What is known of the sshd that will read the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader<'a> {
    /// Its release; `None` when it cannot be told.
    pub version: Option<Version>,
    /// The program itself, which holds every keyword and algorithm it knows as text, those of the distributions' patches
    /// too. `None` when it is not there or is not sshd.
    pub program: Option<&'a [u8]>,
}

impl<'a> Reader<'a> {
    /// What the bytes of a program tell. Something that is not sshd tells nothing.
    pub fn of(program: &'a [u8]) -> Reader<'a> {
        let sshd = program.contains_str("permitrootlogin\0");
        Reader { version: version_of(program), program: sshd.then_some(program) }
    }

    /// Whether the program holds `word` as a string, or as the end of one; `None` when there is no program to ask.
    fn holds(&self, word: &[u8]) -> Option<bool> {
        self.program.map(|program| program.contains_str([word, b"\0"].concat()))
    }

    /// The same, for a string of its own.
    fn holds_whole(&self, word: &[u8]) -> Option<bool> {
        self.program.map(|program| program.contains_str([b"\0", word, b"\0"].concat()))
    }

    /// A list of algorithms without those that the program does not know; `None` when none is left or it cannot be told.
    pub fn known_algorithms(&self, list: &[u8]) -> Option<String> {
        self.program?;
        let sign = list.first().filter(|first| b"+^".contains(first)).map(|&sign| char::from(sign).to_string());
        let names = list.get(sign.as_ref().map_or(0, String::len)..)?.split(|&byte| byte == b',');
        let known: Vec<&str> = names
            .filter(|name| !name.is_empty() && self.holds(name) == Some(true))
            .filter_map(|name| name.to_str().ok())
            .collect();
        (!known.is_empty()).then(|| sign.unwrap_or_default() + &known.join(","))
    }

    fn is_modern(&self) -> bool {
        self.version.is_none_or(|version| version >= MODERN)
    }
}

/// The highest release that a text names as `OpenSSH_9.2p1`, with a NUL, a blank or the end behind it. Patterns for
/// other implementations, which sshd holds too, end otherwise (`OpenSSH_7.0*,OpenSSH_7.1*`).
pub fn version_of(text: &[u8]) -> Option<Version> {
    let mut best = None;
    for at in text.find_iter("OpenSSH_") {
        let rest = text.get(at + 8..).unwrap_or_default();
        let Some((major, rest)) = number(rest) else { continue };
        let Some((minor, rest)) = rest.strip_prefix(b".").and_then(number) else { continue };
        let rest = rest.strip_prefix(b"p").and_then(number).map_or(rest, |(_, rest)| rest);
        if matches!(rest.first(), None | Some(0 | b' ' | b'\n')) {
            best = best.max(Some(Version(major, minor)));
        }
    }
    best
}

/// The release in a package's version: `1:9.2p1-2+deb12u10`, `7.4p1-23.el7_9`.
pub fn version_of_package(version: &[u8]) -> Option<Version> {
    let upstream = version.split_once_str(":").map_or(version, |(_, rest)| rest);
    let (major, rest) = number(upstream)?;
    let (minor, _) = number(rest.strip_prefix(b".")?)?;
    Some(Version(major, minor))
}

fn number(text: &[u8]) -> Option<(u8, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    Some((digits.to_str().ok()?.parse().ok()?, rest))
}

/// A word of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Without quotes and escapes.
    pub text: BString,
    /// Where it stands, with its quotes.
    pub span: Span,
}

/// A line that is neither empty nor a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The number of the line, from 1 on.
    pub line: usize,
    /// The first word as it is written.
    pub keyword: Word,
    /// The words behind it.
    pub args: Vec<Word>,
    /// All of the line behind the keyword, for commands that are not cut into words.
    pub rest: BString,
    /// All of the line but the blanks around it.
    pub whole: Span,
    /// A quote has no other.
    pub bad_quotes: bool,
    /// The line holds a NUL byte.
    pub nul: bool,
}

/// Why sshd refuses a line, and with it to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No such keyword, at least not in this release.
    Keyword,
    /// It needs a value, or one more.
    Missing,
    /// This word (counted from 0) is no value for it.
    Value(usize),
    /// Words from this one on are too many.
    TooMany(usize),
    /// It may not stand in a Match block.
    InMatch,
    /// A quote has no other.
    Quotes,
    /// The file is damaged: there is a NUL byte.
    Nul,
    /// A subsystem of this name was there before.
    Twice,
    /// It includes, perhaps through others, the file that it stands in.
    Loop,
}

impl Directive {
    /// The keyword that it is in any release, by its own name or an older one; `None` for what no release knows.
    pub fn known(&self) -> Option<&'static Keyword> {
        keywords::find(&self.keyword.text)
    }

    /// Whether it is this keyword or another name of it.
    pub fn is(&self, name: &str) -> bool {
        match self.known() {
            Some(keyword) => keyword.canonical().eq_ignore_ascii_case(name),
            None => self.keyword.text.eq_ignore_ascii_case(name.as_bytes()),
        }
    }

    /// The text of word `index`; nothing when there are fewer.
    pub fn arg(&self, index: usize) -> &[u8] {
        self.args.get(index).map(|word| word.text.as_bytes()).unwrap_or_default()
    }

    /// Why `reader` refuses it; `in_match` says that it stands in a Match block other than `Match all`.
    pub fn fault(&self, reader: &Reader<'_>, in_match: bool) -> Option<Fault> {
        if self.nul {
            return Some(Fault::Nul);
        }
        let modern = reader.is_modern();
        if modern && reader.version.is_some() && self.args.is_empty() && !self.bad_quotes && self.rest.is_empty() {
            return Some(if self.is_known_to(reader) { Fault::Missing } else { Fault::Keyword });
        }
        if !self.is_known_to(reader) {
            return Some(Fault::Keyword);
        }
        if self.bad_quotes && modern {
            return Some(Fault::Quotes);
        }
        // What only a distribution's patch knows is not judged further.
        let keyword = self.known()?;
        if in_match && !keyword.is_allowed_in_match(reader.version) {
            return Some(Fault::InMatch);
        }
        if keyword.is_ignored(reader.version) {
            return None;
        }
        values::fault(self, keyword, reader)
    }

    fn is_known_to(&self, reader: &Reader<'_>) -> bool {
        let word = self.keyword.text.to_ascii_lowercase();
        if let Some(keyword) = self.known() {
            // A distribution may have taken a keyword from a later release into an earlier one.
            return keyword.is_in(reader.version) || reader.holds(&word) == Some(true);
        }
        if keywords::PATCHES.iter().any(|known| word == known.as_bytes()) {
            return reader.holds(&word) != Some(false);
        }
        // Short words are in every program for other reasons.
        word.len() >= 8 && reader.holds_whole(&word) == Some(true)
    }
}

/// The directives of a file, in order.
pub fn directives(text: &[u8], reader: &Reader<'_>) -> Vec<Directive> {
    lines::lines(text).filter_map(|line| directive(&line, reader.is_modern())).collect()
}

fn directive(line: &Line<'_>, modern: bool) -> Option<Directive> {
    let nul = line.text.contains(&0);
    let text = line.text.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = text.trim_end_with(|c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{c}'));
    let mut token = delimited(text, 0);
    if token.as_ref().is_some_and(|token| token.text.is_empty()) {
        token = token.and_then(|token| delimited(text, token.next?));
    }
    // sshd passes over a line whose keyword has a quote without another.
    let token = match token {
        Some(token) => token,
        None if nul => Token { text: BString::default(), range: 0..text.len(), next: None },
        None => return None,
    };
    if !nul && (token.text.is_empty() || token.text.starts_with(b"#")) {
        return None;
    }
    let word = |text: BString, range: Range<usize>| Word { text, span: line.span(range) };
    let start = token.next.unwrap_or(text.len());
    let (args, bad_quotes) = if modern { split(text, start) } else { split_old(text, token.next) };
    Some(Directive {
        line: line.number,
        keyword: word(token.text, token.range),
        args: args.into_iter().map(|(text, range)| word(text, range)).collect(),
        rest: text.get(start..).unwrap_or_default().trim_ascii_start().into(),
        whole: line.whole(),
        bad_quotes,
        nul,
    })
}

struct Token {
    text: BString,
    range: Range<usize>,
    /// Where the next one begins; `None` when the text is used up.
    next: Option<usize>,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// strdelim(3) of OpenSSH: a word up to a blank, a quote or one `=`. `None` for a quote without another.
fn delimited(text: &[u8], at: usize) -> Option<Token> {
    let rest = text.get(at..)?;
    let past_blanks = |at: usize| at + text.get(at..).unwrap_or_default().iter().take_while(|&&b| is_blank(b)).count();
    let Some(length) = rest.iter().position(|&byte| is_blank(byte) || matches!(byte, b'"' | b'=')) else {
        return Some(Token { text: rest.into(), range: at..text.len(), next: None });
    };
    let special = at + length;
    if text.get(special) == Some(&b'"') {
        let inner = text.get(special + 1..)?;
        let close = special + 1 + inner.iter().position(|&byte| byte == b'"')?;
        let word = [text.get(at..special)?, text.get(special + 1..close)?].concat();
        return Some(Token { text: word.into(), range: at..close + 1, next: Some(past_blanks(close + 1)) });
    }
    let mut next = past_blanks(special + 1);
    if text.get(special) != Some(&b'=') && text.get(next) == Some(&b'=') {
        next = past_blanks(next + 1);
    }
    Some(Token { text: text.get(at..special)?.into(), range: at..special, next: Some(next) })
}

/// The words from `at` on as releases before 8.7 cut them.
fn split_old(text: &[u8], at: Option<usize>) -> (Vec<(BString, Range<usize>)>, bool) {
    let mut words = Vec::new();
    let mut next = at;
    while let Some(at) = next.filter(|&at| at < text.len()) {
        let Some(token) = delimited(text, at) else { return (words, true) };
        next = token.next;
        words.push((token.text, token.range));
    }
    (words, false)
}

/// The words from `at` on as releases since 8.7 cut them; and whether a quote has no other.
pub(crate) fn split(text: &[u8], mut at: usize) -> (Vec<(BString, Range<usize>)>, bool) {
    let mut words = Vec::new();
    loop {
        at += text.get(at..).unwrap_or_default().iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
        let start = at;
        let mut word = Vec::new();
        let mut quote = None;
        match text.get(at) {
            None | Some(b'#') => return (words, false),
            Some(_) => {}
        }
        while let Some(&byte) = text.get(at) {
            match (byte, quote) {
                (b'\\', _) => match text.get(at + 1) {
                    Some(&next) if matches!(next, b'\'' | b'"' | b'\\') || (next == b' ' && quote.is_none()) => {
                        at += 1;
                        word.push(next);
                    }
                    _ => word.push(byte),
                },
                (b' ' | b'\t', None) => break,
                (b'"' | b'\'', None) => quote = Some(byte),
                (_, Some(open)) if byte == open => quote = None,
                _ => word.push(byte),
            }
            at += 1;
        }
        words.push((word.into(), start..at));
        if quote.is_some() {
            return (words, true);
        }
    }
}

#[cfg(test)]
mod tests;
