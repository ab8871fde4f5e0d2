//! Files of assignments that a shell sources: what it assigns, with the lines, and where it does something else than was meant.

use std::collections::BTreeMap;

use super::{File, Outcome, Place, What};

/// Variables with the lines that set them.
#[derive(Clone, Debug, Default)]
pub(super) struct Env(BTreeMap<String, (String, Place)>);

impl Env {
    /// The value; empty where it is not set, as a script sees it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |(value, _)| value)
    }

    /// The line that set it.
    pub(super) fn place(&self, name: &str) -> Option<&Place> {
        self.0.get(name).filter(|(value, _)| !value.is_empty()).map(|(_, place)| place)
    }

    pub(super) fn set(&mut self, name: &str, value: &str, place: &Place) {
        if self.0.len() < 4096 {
            self.0.insert(name.to_owned(), (value.to_owned(), place.clone()));
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether it is one of the words that scripts take for no.
    pub(super) fn is_no(&self, name: &str) -> bool {
        matches!(
            self.get(name).to_lowercase().as_str(),
            "no" | "n" | "false" | "f" | "0" | "off" | "disable" | "disabled"
        )
    }

    /// What a shell makes of `file`.
    pub(super) fn source(&mut self, file: &File, outcome: &mut Outcome) {
        let text = String::from_utf8_lossy(&file.bytes).into_owned();
        let chars: Vec<char> = text.chars().collect();
        let (mut at, mut line) = (0, 1);
        while at < chars.len() {
            let place = Place::of(file, line);
            let mut words = Vec::new();
            // One command: up to a newline or `;` outside of quotes.
            let closed = command(&chars, &mut at, &mut line, self, &mut words);
            if !closed {
                outcome.complain(&place, What::UnclosedQuote);
                return;
            }
            self.run(&words, &place, outcome);
        }
    }

    fn run(&mut self, words: &[Word], place: &Place, outcome: &mut Outcome) {
        let words = match words.first() {
            Some(word) if matches!(word.text.as_str(), "export" | "declare" | "typeset" | "local") => {
                words.get(1..).unwrap_or_default()
            }
            _ => words,
        };
        let other = words.iter().find(|word| word.assigns().is_none());
        if let Some(other) = other {
            let first = words.first().map_or("", |word| word.text.as_str());
            let equals = words.get(1).is_some_and(|word| word.text.starts_with('='));
            let what = match words.first().is_some_and(|word| word.assigns().is_none()) {
                // A line of a file from Windows that has nothing else.
                _ if other.text == "\r" => return,
                true if equals => What::BlankBeforeEquals(first.to_owned()),
                _ if matches!(
                    other.text.as_str(),
                    "." | "source" | "if" | "fi" | "then" | "else" | "[" | "[[" | "case" | "esac"
                ) =>
                {
                    What::UnknownCommand(other.text.clone())
                }
                _ => What::RunAsCommand(other.text.trim_end_matches('\r').to_owned()),
            };
            outcome.complain(place, what);
            return;
        }
        for word in words {
            let Some((name, value)) = word.assigns() else { continue };
            if word.computed {
                outcome.complain(place, What::Computed(name.to_owned()));
            }
            // A file from Windows has one on every line: the first says it.
            let told =
                |one: &super::Complaint| one.place.path == place.path && matches!(one.what, What::CarriageReturn(_));
            if value.ends_with('\r') && !outcome.complaints.iter().any(told) {
                outcome.complain(place, What::CarriageReturn(name.to_owned()));
            }
            let place = Place { path: place.path.clone(), line: word.line };
            self.set(name, value, &place);
        }
    }
}

/// A word of a command, quotes removed and variables put in.
#[derive(Debug, Default)]
struct Word {
    text: String,
    line: usize,
    computed: bool,
    /// Where a quoted part begins: a `=` behind it assigns nothing.
    quoted: Option<usize>,
}

impl Word {
    fn assigns(&self) -> Option<(&str, &str)> {
        let (name, value) = self.text.split_once('=')?;
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        (is_name && self.quoted.is_none_or(|from| from > name.len())).then_some((name, value))
    }
}

/// Reads one command; `false` where a quote is not closed.
fn command(chars: &[char], at: &mut usize, line: &mut usize, env: &Env, words: &mut Vec<Word>) -> bool {
    let mut word: Option<Word> = None;
    while let Some(&c) = chars.get(*at) {
        *at += 1;
        match c {
            '\n' | ';' => {
                *line += usize::from(c == '\n');
                break;
            }
            ' ' | '\t' => words.extend(word.take()),
            '#' if word.is_none() => {
                while chars.get(*at).is_some_and(|c| *c != '\n') {
                    *at += 1;
                }
            }
            '\\' => match chars.get(*at) {
                Some('\n') => {
                    *at += 1;
                    *line += 1;
                }
                Some(next) => {
                    open(&mut word, *line).text.push(*next);
                    *at += 1;
                }
                None => {}
            },
            '\'' => {
                let word = open(&mut word, *line);
                word.quoted.get_or_insert(word.text.len());
                loop {
                    let Some(&c) = chars.get(*at) else { return false };
                    *at += 1;
                    *line += usize::from(c == '\n');
                    if c == '\'' {
                        break;
                    }
                    word.text.push(c);
                }
            }
            '"' => {
                let word = open(&mut word, *line);
                word.quoted.get_or_insert(word.text.len());
                loop {
                    let Some(&c) = chars.get(*at) else { return false };
                    *at += 1;
                    *line += usize::from(c == '\n');
                    match c {
                        '"' => break,
                        '\\' => {
                            if let Some(&next) = chars.get(*at) {
                                *at += 1;
                                *line += usize::from(next == '\n');
                                if !matches!(next, '"' | '\\' | '$' | '`' | '\n') {
                                    word.text.push('\\');
                                }
                                if next != '\n' {
                                    word.text.push(next);
                                }
                            }
                        }
                        '$' => variable(chars, at, env, word),
                        '`' => word.computed = true,
                        c => word.text.push(c),
                    }
                }
            }
            '$' => variable(chars, at, env, open(&mut word, *line)),
            '`' => {
                let word = open(&mut word, *line);
                word.computed = true;
                while chars.get(*at).is_some_and(|c| *c != '`' && *c != '\n') {
                    *at += 1;
                }
                *at += usize::from(chars.get(*at) == Some(&'`'));
            }
            c => open(&mut word, *line).text.push(c),
        }
    }
    words.extend(word.take());
    true
}

fn open(word: &mut Option<Word>, line: usize) -> &mut Word {
    word.get_or_insert_with(|| Word { line, ..Word::default() })
}

/// What `$NAME` or `${NAME}` stands for; anything longer is computed.
fn variable(chars: &[char], at: &mut usize, env: &Env, word: &mut Word) {
    let braced = chars.get(*at) == Some(&'{');
    let start = *at + usize::from(braced);
    let name: String =
        chars.get(start..).unwrap_or_default().iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
    let end = start + name.len();
    if !name.is_empty() && (!braced || chars.get(end) == Some(&'}')) {
        word.text.push_str(env.get(&name));
        *at = end + usize::from(braced);
        return;
    }
    word.computed = true;
    if chars.get(*at) == Some(&'(') || braced {
        let close = if braced { '}' } else { ')' };
        while chars.get(*at).is_some_and(|c| *c != close && *c != '\n') {
            *at += 1;
        }
        *at += usize::from(chars.get(*at) == Some(&close));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sourced(text: &str) -> (Env, Vec<What>) {
        let (mut env, mut outcome) = (Env::default(), Outcome::default());
        let file = File { path: "/f".into(), bytes: text.into(), mode: 0o644, owner: (0, 0) };
        env.source(&file, &mut outcome);
        (env, outcome.complaints.into_iter().map(|one| one.what).collect())
    }

    #[test]
    fn assigns_as_a_shell_does() {
        let (env, wrong) = sourced(
            "# c\nA=\"1\" # x\nexport B=$A\nC='x y'\nD=${B}2\nIPADDR = 10.0.0.5\nDNS=8.8.8.8 8.8.4.4\nE=a\\\nb\nF=$(date)\nG=1 H=2\nI=x\r\n",
        );
        assert_eq!(
            ["A", "B", "C", "D", "E", "G", "H", "I", "DNS"].map(|name| env.get(name)),
            ["1", "1", "x y", "12", "ab", "1", "2", "x\r", ""]
        );
        assert_eq!(
            wrong,
            [
                What::BlankBeforeEquals("IPADDR".into()),
                What::RunAsCommand("8.8.4.4".into()),
                What::Computed("F".into()),
                What::CarriageReturn("I".into()),
            ]
        );
        assert_eq!(env.place("D").map(|place| place.line), Some(5));
        assert_eq!(env.place("G").map(|place| place.line), Some(11));
    }

    #[test]
    fn an_open_quote_ends_the_file() {
        let (env, wrong) = sourced("A=1\nB=\"x\nC=2\n");
        assert_eq!((env.get("A"), env.get("B"), env.get("C")), ("1", "", ""));
        assert_eq!(wrong, [What::UnclosedQuote]);
    }
}
