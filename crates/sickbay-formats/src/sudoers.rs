//! sudoers(5), as sudo's own grammar reads it: rules, aliases, defaults and inclusions, in their order.
//!
//! A line that the grammar does not take is a fault: sudo from 1.9.3 on leaves it out, an older one refuses everybody.

use bstr::{BString, ByteSlice};

/// One item of the file, with the line that it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// From 1 on.
    pub line: usize,
    /// What it is.
    pub what: What,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Who may do what.
    Rule {
        /// Whom it is about.
        users: Vec<Member>,
        /// What they may, command by command.
        grants: Vec<Grant>,
    },
    /// `User_Alias`, `Runas_Alias`, `Host_Alias` or `Cmnd_Alias`.
    Alias {
        /// Of what.
        kind: AliasKind,
        /// Its name.
        name: BString,
        /// What it stands for.
        members: Vec<Member>,
    },
    /// `Defaults`, one item for each parameter.
    Default {
        /// For whom it holds.
        scope: Scope,
        /// Whether it is switched off: `!targetpw`.
        off: bool,
        /// The parameter.
        name: BString,
        /// What it is set to.
        value: Option<BString>,
    },
    /// `@include` and `#include`.
    Include(BString),
    /// `@includedir` and `#includedir`.
    IncludeDir(BString),
    /// What is none of these.
    Fault,
}

/// A word of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whether an odd number of `!` stands before it.
    pub negated: bool,
    /// Without quotes and backslashes; of a command its path alone.
    pub name: BString,
}

/// What is granted by one command of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On which hosts.
    pub hosts: Vec<Member>,
    /// As which users; `None` where the rule does not say, which is root unless `runas_default` says otherwise. An empty
    /// list is the user who asks.
    pub runas: Option<Vec<Member>>,
    /// Without a password.
    pub nopasswd: bool,
    /// The command.
    pub command: Member,
}

/// Of what an alias is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasKind {
    /// Users.
    User,
    /// Users that a command is run as.
    Runas,
    /// Hosts.
    Host,
    /// Commands.
    Cmnd,
}

/// For whom defaults hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// For everybody.
    All,
    /// For these users.
    Users(Vec<Member>),
    /// On some hosts, as some users, for some commands.
    Other,
}

/// Everything in the file.
pub fn items(text: &[u8]) -> Vec<Item> {
    let mut all = Vec::new();
    for (line, text) in logical(text) {
        let mut scan = Scan { text: &text, at: 0 };
        scan.blank();
        if scan.is_at_end() {
            continue;
        }
        let found = scan.item().unwrap_or_else(|| vec![What::Fault]);
        all.extend(found.into_iter().map(|what| Item { line, what }));
    }
    all
}

/// Whether sudo reads a file of a directory that is included (sudoers(5), "Including other files").
pub fn is_read(name: &[u8]) -> bool {
    !name.ends_with(b"~") && !name.contains(&b'.')
}

/// Lines without comments, those that end in a backslash joined with the next; each with the number of its first.
fn logical(text: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut all: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let (line, is_cut) = without_comment(line);
        let (line, next) = match line.strip_suffix(b"\\") {
            Some(rest) if !is_cut => (rest, true),
            _ => (line, false),
        };
        match all.last_mut().filter(|_| goes_on) {
            Some((_, before)) => {
                before.push(b' ');
                before.extend_from_slice(line);
            }
            None => all.push((index + 1, line.to_vec())),
        }
        goes_on = next;
    }
    all
}

/// The line up to its comment, and whether there is one. `#1000` is a user, `#include` no comment.
fn without_comment(line: &[u8]) -> (&[u8], bool) {
    let start = line.trim_ascii_start();
    let word = start.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let from = if matches!(word, b"#include" | b"#includedir") { line.len() - start.len() + 1 } else { 0 };
    let mut quoted = false;
    let mut escaped = false;
    for (at, &byte) in line.iter().enumerate().skip(from) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => {
                let before = at.checked_sub(1).and_then(|at| line.get(at)).copied();
                let after = line.get(at + 1..).unwrap_or_default();
                let is_number = after.strip_prefix(b"-").unwrap_or(after).first().is_some_and(u8::is_ascii_digit);
                let begins = before.is_none_or(|byte| byte.is_ascii_whitespace() || b",(!:=>%@".contains(&byte));
                if !(is_number && begins) {
                    return (line.get(..at).unwrap_or_default(), true);
                }
            }
            _ => {}
        }
    }
    (line, false)
}

/// An alias begins with a capital letter and has nothing but these, digits and `_`.
pub fn is_alias(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_uppercase)
        && word.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}

/// Tags of a command, each with a colon behind it.
pub const TAGS: [&[u8]; 16] = [
    b"EXEC",
    b"NOEXEC",
    b"FOLLOW",
    b"NOFOLLOW",
    b"INTERCEPT",
    b"NOINTERCEPT",
    b"LOG_INPUT",
    b"NOLOG_INPUT",
    b"LOG_OUTPUT",
    b"NOLOG_OUTPUT",
    b"MAIL",
    b"NOMAIL",
    b"PASSWD",
    b"NOPASSWD",
    b"SETENV",
    b"NOSETENV",
];

const OPTIONS: [&[u8]; 10] = [
    b"ROLE",
    b"TYPE",
    b"PRIVS",
    b"LIMITPRIVS",
    b"NOTBEFORE",
    b"NOTAFTER",
    b"TIMEOUT",
    b"CWD",
    b"CHROOT",
    b"APPARMOR_PROFILE",
];

/// How long the address of IPv6 is that begins here, with its prefix.
fn address(text: &[u8]) -> Option<usize> {
    let length = text.iter().take_while(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)).count();
    let colons = text.get(..length)?.iter().filter(|byte| **byte == b':').count();
    let prefix = match text.get(length) {
        Some(b'/') => {
            1 + text.get(length + 1..)?.iter().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b':').count()
        }
        _ => 0,
    };
    let is_end = text.get(length + prefix).is_none_or(|byte| byte.is_ascii_whitespace() || b",=".contains(byte));
    (colons >= 2 && is_end).then_some(length + prefix)
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Takes a byte, and blanks around it.
    fn take(&mut self, wanted: u8) -> bool {
        let before = self.at;
        self.blank();
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.at += 1;
            self.blank();
        } else {
            self.at = before;
        }
        is_there
    }

    /// A word up to a blank or one of `stops`; quotes and backslashes are taken away. `None` when there is none, or a
    /// quote is not closed.
    fn word(&mut self, stops: &[u8]) -> Option<BString> {
        let mut word = BString::default();
        let mut any = false;
        // The colons of an address part nothing.
        if let Some(length) = address(self.rest()).filter(|_| stops.contains(&b':')) {
            word.extend_from_slice(self.text.get(self.at..self.at + length)?);
            self.at += length;
            any = true;
        }
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => {
                    self.at += 1;
                    word.extend(self.peek());
                    self.at += 1;
                }
                b'"' => {
                    self.at += 1;
                    loop {
                        match self.peek()? {
                            b'"' => break,
                            b'\\' if self.text.get(self.at + 1) == Some(&b'"') => self.at += 1,
                            _ => {}
                        }
                        word.extend(self.peek());
                        self.at += 1;
                    }
                    self.at += 1;
                }
                _ if byte.is_ascii_whitespace() || stops.contains(&byte) => break,
                _ => {
                    word.push(byte);
                    self.at += 1;
                }
            }
            any = true;
        }
        any.then_some(word)
    }

    fn negations(&mut self) -> bool {
        let mut negated = false;
        while self.take(b'!') {
            negated = !negated;
        }
        negated
    }

    /// Words with commas between them.
    fn list(&mut self, stops: &[u8]) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        loop {
            self.blank();
            let negated = self.negations();
            members.push(Member { negated, name: self.word(stops)? });
            if !self.take(b',') {
                return Some(members);
            }
        }
    }

    fn item(&mut self) -> Option<Vec<What>> {
        let start = self.rest();
        let word = start.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let include: Option<fn(BString) -> What> = match word {
            b"#include" | b"@include" => Some(What::Include),
            b"#includedir" | b"@includedir" => Some(What::IncludeDir),
            _ => None,
        };
        let after = |scan: &mut Scan<'_>| {
            scan.at += word.len();
            scan.blank();
        };
        if let Some(include) = include {
            after(self);
            let path = self.word(b"")?;
            self.blank();
            return self.is_at_end().then(|| vec![include(path)]);
        }
        let alias = match word {
            b"User_Alias" => Some(AliasKind::User),
            b"Runas_Alias" => Some(AliasKind::Runas),
            b"Host_Alias" => Some(AliasKind::Host),
            b"Cmnd_Alias" | b"Cmd_Alias" => Some(AliasKind::Cmnd),
            _ => None,
        };
        if let Some(kind) = alias {
            after(self);
            return self.aliases(kind);
        }
        if start.starts_with(b"Defaults") && word.get(8).is_none_or(|byte| b"@:>!".contains(byte)) {
            self.at += 8;
            return self.defaults();
        }
        let users = self.list(b",=")?;
        self.blank();
        if users.iter().any(|user| user.name.ends_with(b":")) {
            return None;
        }
        let mut grants = Vec::new();
        loop {
            let hosts = self.list(b",=:")?;
            if !self.take(b'=') {
                return None;
            }
            self.commands(&hosts, &mut grants)?;
            if !self.take(b':') {
                break;
            }
        }
        self.blank();
        self.is_at_end().then(|| vec![What::Rule { users, grants }])
    }

    fn aliases(&mut self, kind: AliasKind) -> Option<Vec<What>> {
        let mut all = Vec::new();
        loop {
            let name = self.word(b"=")?;
            if !is_alias(&name) || name == "ALL" || !self.take(b'=') {
                return None;
            }
            let members = if kind == AliasKind::Cmnd {
                let mut members = vec![self.command()?];
                while self.take(b',') {
                    members.push(self.command()?);
                }
                members
            } else {
                self.list(b",:=")?
            };
            all.push(What::Alias { kind, name, members });
            if !self.take(b':') {
                break;
            }
        }
        self.blank();
        self.is_at_end().then_some(all)
    }

    fn defaults(&mut self) -> Option<Vec<What>> {
        let scope = match self.peek() {
            Some(b':') => {
                self.at += 1;
                Scope::Users(self.list(b",")?)
            }
            Some(b'!') if self.text.get(self.at + 1).is_some_and(|byte| !byte.is_ascii_whitespace()) => {
                self.at += 1;
                self.list(b",")?;
                Scope::Other
            }
            Some(b'@' | b'>') => {
                self.at += 1;
                self.list(b",")?;
                Scope::Other
            }
            _ => Scope::All,
        };
        let mut all = Vec::new();
        loop {
            self.blank();
            let off = self.negations();
            let name = self.word(b",=+-")?;
            if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                return None;
            }
            self.blank();
            let _ = matches!(self.peek(), Some(b'+' | b'-')).then(|| self.at += 1);
            let value = if self.take(b'=') { Some(self.word(b",")?) } else { None };
            all.push(What::Default { scope: scope.clone(), off, name, value });
            if !self.take(b',') {
                break;
            }
        }
        self.blank();
        self.is_at_end().then_some(all)
    }

    /// The commands behind `=`. Who they are run as and whether a password is asked for goes on to the next.
    fn commands(&mut self, hosts: &[Member], grants: &mut Vec<Grant>) -> Option<()> {
        let (mut runas, mut nopasswd) = (None, false);
        loop {
            self.blank();
            if self.take(b'(') {
                let users = if matches!(self.peek(), Some(b':' | b')')) { Vec::new() } else { self.list(b",:)")? };
                if self.take(b':') && self.peek() != Some(b')') {
                    self.list(b",)")?;
                }
                if !self.take(b')') {
                    return None;
                }
                runas = Some(users);
            }
            while let Some(end) = self.capitals() {
                let word = self.text.get(self.at..end)?;
                let start = self.at;
                if OPTIONS.contains(&word) {
                    self.at = end;
                    if self.take(b'=') {
                        self.word(b",")?;
                        self.blank();
                        continue;
                    }
                }
                if TAGS.contains(&word) {
                    self.at = end;
                    if self.take(b':') {
                        match word {
                            b"NOPASSWD" => nopasswd = true,
                            b"PASSWD" => nopasswd = false,
                            _ => {}
                        }
                        continue;
                    }
                }
                self.at = start;
                break;
            }
            let command = self.command()?;
            grants.push(Grant { hosts: hosts.to_vec(), runas: runas.clone(), nopasswd, command });
            if !self.take(b',') {
                return Some(());
            }
        }
    }

    /// Where the word of capitals ends that begins here.
    fn capitals(&self) -> Option<usize> {
        let length = self.rest().iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'_').count();
        (length > 0).then_some(self.at + length)
    }

    /// `ALL`, an alias, `sudoedit`, or a path with its arguments; a digest before it.
    fn command(&mut self) -> Option<Member> {
        self.blank();
        let negated = self.negations();
        while ["sha224:", "sha256:", "sha384:", "sha512:"].iter().any(|kind| self.rest().starts_with(kind.as_bytes())) {
            self.at += 7;
            self.word(b",")?;
            self.take(b',');
            self.blank();
        }
        let name = self.word(b",:=")?;
        if name == "ALL" || is_alias(&name) {
            return Some(Member { negated, name });
        }
        if !(name.starts_with(b"/") || name.starts_with(b"^") || matches!(name.as_slice(), b"sudoedit" | b"list")) {
            return None;
        }
        // Arguments: all but these signs, which need a backslash. Before 1.9.13 `=` did, too.
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => self.at += 2,
                b',' | b':' => break,
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.text.len());
        Some(Member { negated, name })
    }
}

#[cfg(test)]
mod tests;
