//! Commands that hold others: `if`, `for`, `case`, `[[ … ]]`, functions.

use bstr::BString;

use super::{Parser, Result, is_meta};
use crate::shell::{ErrorKind, Node, Simple, Word};

impl Parser<'_> {
    pub(super) fn if_command(&mut self, begun: usize) -> Result<Node> {
        let mut branches = Vec::new();
        loop {
            let condition = self.list()?;
            if !self.take_word("then") {
                return self.missing(begun, "then");
            }
            if condition.is_empty() {
                return self.unexpected();
            }
            let body = self.list()?;
            // An empty branch is an error.
            if body.is_empty() && self.peek().is_some() {
                return self.unexpected();
            }
            branches.push((condition, body));
            if self.take_word("elif") {
                continue;
            }
            let otherwise = if self.take_word("else") { self.list()? } else { Vec::new() };
            if !self.take_word("fi") {
                return self.missing(begun, "fi");
            }
            return Ok(Node::If(branches, otherwise));
        }
    }

    pub(super) fn body(&mut self, begun: usize) -> Result<Vec<Node>> {
        self.skip_newlines();
        if self.take_word("{") {
            // An old form that bash has for `for`.
            let nodes = self.list()?;
            return if self.take_word("}") { Ok(nodes) } else { self.missing(begun, "}") };
        }
        if !self.take_word("do") {
            return self.missing(begun, "do");
        }
        let nodes = self.list()?;
        if nodes.is_empty() && self.peek().is_some() {
            return self.unexpected();
        }
        if self.take_word("done") { Ok(nodes) } else { self.missing(begun, "done") }
    }

    pub(super) fn for_command(&mut self, begun: usize) -> Result<Node> {
        self.skip_blanks();
        if self.next_is("((") && self.skip_arithmetic() {
            self.skip_blanks();
            if self.peek() == Some(b';') {
                self.at += 1;
            }
            return Ok(Node::For(BString::default(), None, self.body(begun)?));
        }
        let name = self.word()?.text;
        self.skip_newlines();
        let mut words = None;
        if self.take_word("in") {
            let mut all = Vec::new();
            loop {
                self.skip_blanks();
                match self.peek() {
                    None | Some(b'\n' | b';' | b'&' | b'|' | b')') => break,
                    _ => all.push(self.word()?),
                }
            }
            words = Some(all);
        }
        self.skip_blanks();
        if self.peek() == Some(b';') {
            self.at += 1;
        }
        Ok(Node::For(name, words, self.body(begun)?))
    }

    pub(super) fn case_command(&mut self, begun: usize) -> Result<Node> {
        self.skip_blanks();
        let word = self.word()?;
        self.skip_newlines();
        if !self.take_word("in") {
            return self.missing(begun, "in");
        }
        let mut arms = Vec::new();
        loop {
            self.skip_newlines();
            if self.take_word("esac") {
                return Ok(Node::Case(word, arms));
            }
            if self.peek().is_none() {
                return self.missing(begun, "esac");
            }
            if self.peek() == Some(b'(') {
                self.at += 1;
            }
            let mut patterns = Vec::new();
            loop {
                self.skip_blanks();
                patterns.push(self.word()?);
                self.skip_blanks();
                match self.peek() {
                    Some(b'|') => self.at += 1,
                    Some(b')') => break,
                    _ => return self.missing(begun, ")"),
                }
            }
            self.at += 1;
            let nodes = self.list()?;
            arms.push((patterns, nodes));
            if self.next_is(";;&") {
                self.at += 3;
            } else if self.next_is(";;") || self.next_is(";&") {
                self.at += 2;
            } else if !self.at_word("esac") {
                return self.missing(begun, "esac");
            }
        }
    }

    /// `[[ … ]]`: its words as they are, since what they mean is another grammar.
    pub(super) fn long_test(&mut self, begun: usize) -> Result<Node> {
        let mut words = vec![Word { text: "[[".into(), ..Word::default() }];
        loop {
            self.skip_newlines();
            if self.take_word("]]") {
                words.push(Word { text: "]]".into(), ..Word::default() });
                let end = self.at;
                return Ok(Node::Simple(Simple { words, ..self.simple_at(begun, end) }));
            }
            match self.peek() {
                None => return self.fault(begun, ErrorKind::Without("]]")),
                Some(sign) if is_meta(sign) => {
                    self.at += 1;
                    words.push(Word { text: vec![sign].into(), ..Word::default() });
                }
                Some(_) => {
                    let mut word = self.word()?;
                    // A regular expression may have parentheses in it.
                    while self.next_is("(")
                        || (self.next_is(")") && word.text.contains(&b'('))
                        || self.next_is("|") && word.text.contains(&b'(')
                    {
                        word.text.push(self.peek().unwrap_or_default());
                        self.at += 1;
                        if self.peek().is_some_and(|byte| !is_meta(byte)) {
                            word.text.extend_from_slice(&self.word()?.text);
                        }
                    }
                    words.push(word);
                }
            }
        }
    }

    pub(super) fn function(&mut self, name: BString) -> Result<Node> {
        self.skip_newlines();
        let body = self.command()?;
        if matches!(body, Node::Simple(_)) {
            return self.unexpected();
        }
        Ok(Node::Function(name, vec![body]))
    }
}
