//! PAM's configuration: files of `/etc/pam.d` and `/etc/pam.conf` (pam.conf(5)).
//!
//! Read as libpam reads it: a `#` ends a line wherever it stands, a backslash at the end of a line joins the next one, words are
//! separated by blanks, `[…]` is one word. Nothing is refused; what libpam would refuse is among the [`Rule::faults`].

use std::ops::Range;

use bstr::{BString, ByteSlice};

use crate::lines::{lines, span_in};
use crate::span::Span;

/// What a PAM function or module can return, as pam.conf(5) writes it, in the order of libpam's numbers.
pub const CODES: [&str; 32] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

/// Numbers of [`CODES`] that have a meaning of their own.
pub mod code {
    /// All is well.
    pub const SUCCESS: usize = 0;
    /// The module's own failure.
    pub const SERVICE_ERR: usize = 3;
    /// The system's failure.
    pub const SYSTEM_ERR: usize = 4;
    /// What libpam itself answers where it must refuse.
    pub const PERM_DENIED: usize = 6;
    /// Not who they say.
    pub const AUTH_ERR: usize = 7;
    /// The service that knows cannot be asked.
    pub const AUTHINFO_UNAVAIL: usize = 9;
    /// Nobody of that name.
    pub const USER_UNKNOWN: usize = 10;
    /// The password must be changed first.
    pub const NEW_AUTHTOK_REQD: usize = 12;
    /// The session cannot be opened.
    pub const SESSION_ERR: usize = 14;
    /// The password cannot be changed.
    pub const AUTHTOK_ERR: usize = 20;
    /// Nothing to say.
    pub const IGNORE: usize = 25;
    /// The module cannot be loaded.
    pub const MODULE_UNKNOWN: usize = 28;
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `auth`
    Auth,
    /// `account`
    Account,
    /// `password`
    Password,
    /// `session`
    Session,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Auth, Kind::Account, Kind::Password, Kind::Session];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Auth => "auth",
            Kind::Account => "account",
            Kind::Password => "password",
            Kind::Session => "session",
        }
    }
}

/// What libpam does after a module returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing.
    Ignore,
    /// It counts as good.
    Ok,
    /// It counts as good, and that is enough.
    Done,
    /// It counts as bad.
    Bad,
    /// It counts as bad, and that is enough.
    Die,
    /// All that counted so far is forgotten.
    Reset,
    /// So many rules are passed over.
    Jump(u32),
}

/// The second word of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `required`, `requisite`, `optional`, `sufficient`, `[value=action …]`: what to do after each of [`CODES`].
    Actions(Box<[Action; 32]>),
    /// `include`: the rules of the same kind of another file.
    Include,
    /// `substack`: the same, but `done` and `die` in it end only it.
    Substack,
    /// `@include`: the whole other file, as Debian's libpam has it.
    IncludeAll,
}

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What libpam makes of it: without `[` and `]`.
    pub text: BString,
    /// Where it stands.
    pub span: Span,
}

/// Why libpam refuses a rule; it then fails everybody who comes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first word is none of auth, account, password, session.
    Kind(Word),
    /// There is no second word.
    NoControl,
    /// The second word is not known, or a pair in `[…]` is wrong.
    Control(Word),
    /// There is no module, or no file to include.
    NoModule,
    /// The line ends in a carriage return, which becomes part of the last word.
    CarriageReturn,
    /// The line has a NUL byte: what follows is lost.
    Nul,
}

/// A rule: a line, with those that a backslash joins to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The first word in `/etc/pam.conf`; `None` in `/etc/pam.d`.
    pub service: Option<BString>,
    /// A `-` before the kind: a module that is not there is not logged.
    pub silent: bool,
    /// What it is about; `None` where libpam cannot tell.
    pub kind: Option<Kind>,
    /// What to do.
    pub control: Control,
    /// The module, or the file to include.
    pub module: Option<Word>,
    /// The words that the module gets.
    pub args: Vec<BString>,
    /// Why libpam refuses it.
    pub faults: Vec<Fault>,
    /// From the first word to the last one on its first line.
    pub span: Span,
    /// The lines that it is made of, counted from 1.
    pub lines: Range<usize>,
}

/// Which kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A file of `/etc/pam.d`: one service.
    Service,
    /// `/etc/pam.conf`: the service is each line's first word.
    Conf,
}

/// The rules of a file, in order. Comments and blank lines are none.
pub fn rules(text: &[u8], layout: Layout) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut pending: Vec<(u8, Place)> = Vec::new();
    let mut first = 1;
    let mut next = 0;
    for line in lines(text) {
        let start = next;
        next += line.text.len() + line.end.len();
        if pending.is_empty() {
            first = line.number;
        }
        let comment = line.text.find_byte(b'#');
        let content = line.text.get(..comment.unwrap_or(line.text.len())).unwrap_or_default();
        let trimmed = content.trim_ascii_end();
        let continued = comment.is_none() && trimmed.ends_with(b"\\");
        let content = if continued { trimmed.get(..trimmed.len() - 1).unwrap_or_default() } else { content };
        pending.extend(content.iter().enumerate().map(|(at, &byte)| (byte, Place { line: line.number, start, at })));
        if continued {
            pending.push((b' ', Place { line: line.number, start, at: content.len() }));
            continue;
        }
        rules.extend(rule(text, &pending, layout, first..line.number + 1));
        pending.clear();
    }
    let end = lines(text).count() + 1;
    rules.extend(rule(text, &pending, layout, first..end));
    rules
}

/// `text` with the rule turned into a comment.
pub fn without(text: &[u8], rule: &Rule) -> Vec<u8> {
    map_lines(text, rule, |line| [b"#", line].concat())
}

/// The lines that are rules of `kind` but for a `#` before them, each with `text` as it is without that.
pub fn with_rules_again(text: &[u8], kind: Kind) -> impl Iterator<Item = (usize, Vec<u8>)> {
    lines(text).filter_map(move |line| {
        let bare = line.text.trim_ascii_start().strip_prefix(b"#")?.trim_ascii();
        let rule = rules(bare, Layout::Service).into_iter().next()?;
        let is_rule = rule.kind == Some(kind) && rule.faults.is_empty() && rule.module.is_some();
        is_rule.then(|| (line.number, crate::lines::with_line(text, line.number, |_| Some(bare.to_vec()))))
    })
}

/// `text` with the lines of `rule` replaced by `new`, which has no newline at its end.
pub fn with_rule(text: &[u8], rule: &Rule, new: &[u8]) -> Vec<u8> {
    let last = rule.lines.end.saturating_sub(1);
    lines(text)
        .flat_map(|line| match line.number {
            number if !rule.lines.contains(&number) => [line.text, line.end].concat(),
            number if number == last => [new, line.end].concat(),
            _ => Vec::new(),
        })
        .collect()
}

/// The lines of `rule` as they are written, without the last newline.
pub fn source(text: &[u8], rule: &Rule) -> Vec<u8> {
    let all: Vec<u8> = lines(text)
        .filter(|line| rule.lines.contains(&line.number))
        .flat_map(|line| [line.text, line.end].concat())
        .collect();
    all.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(all)
}

fn map_lines(text: &[u8], rule: &Rule, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    lines(text)
        .flat_map(|line| {
            let new = if rule.lines.contains(&line.number) { change(line.text) } else { line.text.to_vec() };
            [new.as_slice(), line.end].concat()
        })
        .collect()
}

/// Where a byte of an assembled line stands in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    line: usize,
    /// Offset of the line in the file.
    start: usize,
    /// Offset in the line.
    at: usize,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n')
}

/// Cuts the next word off, as libpam's tokenizer does.
fn word(text: &[u8], rest: &mut &[(u8, Place)]) -> Option<Word> {
    let start = rest.iter().position(|(byte, _)| !is_blank(*byte))?;
    let from = rest.get(start..)?;
    let bracket = from.first()?.0 == b'[';
    let mut content = BString::default();
    let mut at = usize::from(bracket);
    while let Some(&(byte, _)) = from.get(at) {
        if bracket {
            if byte == b']' {
                break;
            }
            if byte == b'\\' && from.get(at + 1).is_some_and(|next| next.0 == b']') {
                at += 1;
                content.push(b']');
                at += 1;
                continue;
            }
        } else if is_blank(byte) {
            break;
        }
        content.push(byte);
        at += 1;
    }
    let end = (at + usize::from(bracket)).min(from.len());
    *rest = from.get(end..).unwrap_or_default();
    Some(Word { text: content, span: span_of(text, from.get(..end)?) })
}

/// The span of words; of those that go on over several lines only what is on the first one.
fn span_of(text: &[u8], bytes: &[(u8, Place)]) -> Span {
    let Some(&(_, first)) = bytes.first() else { return Span::default() };
    let last = bytes.iter().rev().find(|(_, place)| place.line == first.line).map_or(first, |(_, place)| *place);
    let Some(line) = lines(text.get(first.start..).unwrap_or_default()).next() else { return Span::default() };
    span_in(line.text, first.line, first.at..(last.at + 1).min(line.text.len()))
}

fn rule(text: &[u8], assembled: &[(u8, Place)], layout: Layout, lines: Range<usize>) -> Option<Rule> {
    let mut faults = Vec::new();
    // libpam's strings are C's: nothing after a NUL is seen.
    let mut all = assembled;
    if let Some(at) = all.iter().position(|(byte, _)| *byte == 0) {
        all = all.get(..at)?;
        faults.push(Fault::Nul);
    }
    while all.last().is_some_and(|(byte, _)| is_blank(*byte)) {
        all = all.get(..all.len() - 1)?;
    }
    if all.last().is_some_and(|(byte, _)| *byte == b'\r') {
        faults.push(Fault::CarriageReturn);
        while all.last().is_some_and(|(byte, _)| byte.is_ascii_whitespace()) {
            all = all.get(..all.len() - 1)?;
        }
    }
    let start = all.iter().position(|(byte, _)| !byte.is_ascii_whitespace());
    // A line of nothing but NUL bytes is one that was lost in a crash; a carriage return alone is a word to libpam.
    if start.is_none() && faults.is_empty() {
        return None;
    }
    all = all.get(start.unwrap_or(0)..)?;
    let span = match all.is_empty() {
        true => span_of(text, assembled),
        false => span_of(text, all),
    };
    let mut rest = all;
    let service = match layout {
        Layout::Service => None,
        Layout::Conf => word(text, &mut rest).map(|word| word.text),
    };
    let mut rule = Rule {
        service,
        silent: false,
        kind: None,
        control: Control::Actions(Box::new([Action::Bad; 32])),
        module: None,
        args: Vec::new(),
        faults,
        span,
        lines,
    };
    let Some(first) = word(text, &mut rest) else {
        if rule.faults.is_empty() {
            rule.faults.push(Fault::NoControl);
        }
        return Some(rule);
    };
    if first.text.eq_ignore_ascii_case(b"@include") {
        rule.control = Control::IncludeAll;
    } else {
        let name = first.text.strip_prefix(b"-");
        rule.silent = name.is_some();
        let name = name.unwrap_or(&first.text);
        rule.kind = Kind::ALL.into_iter().find(|kind| name.eq_ignore_ascii_case(kind.name().as_bytes()));
        if rule.kind.is_none() {
            rule.faults.push(Fault::Kind(first));
        }
        match word(text, &mut rest) {
            None => {
                if rule.faults.is_empty() {
                    rule.faults.push(Fault::NoControl);
                }
                return Some(rule);
            }
            Some(word) => match control(&word.text) {
                Some(control) => rule.control = control,
                None => rule.faults.push(Fault::Control(word)),
            },
        }
    }
    rule.module = word(text, &mut rest);
    if rule.module.is_none() && rule.faults.is_empty() {
        rule.faults.push(Fault::NoModule);
    }
    while let Some(word) = word(text, &mut rest) {
        rule.args.push(word.text);
    }
    Some(rule)
}

fn control(word: &[u8]) -> Option<Control> {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let simple = |good: Action, ignore: Action, other: Action| {
        let mut actions = [other; 32];
        for (code, action) in [(code::SUCCESS, good), (code::NEW_AUTHTOK_REQD, good), (code::IGNORE, ignore)] {
            if let Some(slot) = actions.get_mut(code) {
                *slot = action;
            }
        }
        Some(Control::Actions(Box::new(actions)))
    };
    match word {
        _ if is("required") => simple(Action::Ok, Action::Ignore, Action::Bad),
        _ if is("requisite") => simple(Action::Ok, Action::Ignore, Action::Die),
        _ if is("optional") => simple(Action::Ok, Action::Ignore, Action::Ignore),
        _ if is("sufficient") => simple(Action::Done, Action::Ignore, Action::Ignore),
        _ if is("include") => Some(Control::Include),
        _ if is("substack") => Some(Control::Substack),
        _ => pairs(word).map(|actions| Control::Actions(Box::new(actions))),
    }
}

/// `value=action …`; an empty list is legal and makes everything bad.
fn pairs(mut rest: &[u8]) -> Option<[Action; 32]> {
    let mut actions = [None; 32];
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(actions.map(|action| action.unwrap_or(Action::Bad)));
        }
        let names = CODES.iter().enumerate().map(|(number, name)| (Some(number), *name)).chain([(None, "default")]);
        let (number, after) =
            names.filter_map(|(number, name)| Some((number, rest.strip_prefix(name.as_bytes())?))).next()?;
        let after = after.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        const ACTIONS: [(&str, Action); 6] = [
            ("ignore", Action::Ignore),
            ("ok", Action::Ok),
            ("done", Action::Done),
            ("bad", Action::Bad),
            ("die", Action::Die),
            ("reset", Action::Reset),
        ];
        let named = ACTIONS.iter().find_map(|(name, action)| Some((*action, after.strip_prefix(name.as_bytes())?)));
        let (action, after) = match named {
            Some(found) => found,
            None => {
                let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (number, after) = after.split_at(digits);
                match number.to_str().ok()?.parse() {
                    Ok(0) | Err(_) => return None,
                    Ok(count) => (Action::Jump(count), after),
                }
            }
        };
        match number {
            Some(number) => *actions.get_mut(number)? = Some(action),
            None => actions.iter_mut().filter(|slot| slot.is_none()).for_each(|slot| *slot = Some(action)),
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests;
