//! The grammar.

mod compound;
mod words;

use bstr::{BString, ByteSlice};

use super::{ErrorKind, Node, Script, Simple, SyntaxError, Word};
use crate::lines::span_in;

/// How deep structures may be in each other; more is not read.
const DEPTH: usize = 100;

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Here-documents whose text begins on the next line: the word that ends each, and whether tabs are taken away.
    documents: Vec<(BString, bool)>,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// Where it went wrong, in bytes.
struct Fault {
    at: usize,
    kind: ErrorKind,
}

type Result<T> = std::result::Result<T, Fault>;

const RESERVED: [&[u8]; 11] = [b"then", b"else", b"elif", b"fi", b"do", b"done", b"esac", b"}", b"in", b";;", b")"];

pub(super) fn parse(text: &[u8]) -> Script {
    // The shell passes over NUL bytes; what is left of them here would only hide words.
    let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let lines = std::iter::once(0).chain(newlines).collect();
    let mut parser = Parser { text, at: 0, depth: 0, documents: Vec::new(), lines };
    let mut nodes = Vec::new();
    loop {
        parser.skip_to_command();
        let begun = parser.at;
        if begun >= text.len() {
            return Script { nodes, error: None };
        }
        match parser.complete_command() {
            Ok(node) => nodes.push(node),
            Err(fault) => {
                let error =
                    SyntaxError { line: parser.line(fault.at), kind: fault.kind, unread_from: parser.line(begun) };
                return Script { nodes, error: Some(error) };
            }
        }
    }
}

fn is_meta(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>')
}

fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next_is(&self, text: &str) -> bool {
        self.rest().starts_with(text.as_bytes())
    }

    fn fault<T>(&self, at: usize, kind: ErrorKind) -> Result<T> {
        Err(Fault { at: at.min(self.text.len()), kind })
    }

    fn unexpected<T>(&self) -> Result<T> {
        let word: BString =
            self.rest().iter().copied().take_while(|&byte| byte > b' ').take(20).collect::<Vec<u8>>().into();
        self.fault(self.at, ErrorKind::Unexpected(word))
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | 0) => self.at += 1,
                Some(b'\\') if self.text.get(self.at + 1) == Some(&b'\n') => self.at += 2,
                Some(b'#') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1
                    }
                }
                _ => return,
            }
        }
    }

    /// A newline, with the here-documents that begin behind it.
    fn newline(&mut self) {
        self.at += 1;
        for (end, strip) in std::mem::take(&mut self.documents) {
            while self.at < self.text.len() {
                let line = self.rest().split(|&byte| byte == b'\n').next().unwrap_or_default();
                self.at = (self.at + line.len() + 1).min(self.text.len());
                let line = if strip { line.trim_start_with(|c| c == '\t') } else { line };
                if line == end.as_bytes() {
                    break;
                }
            }
        }
    }

    fn skip_newlines(&mut self) {
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'\n') {
                return;
            }
            self.newline();
        }
    }

    fn skip_to_command(&mut self) {
        self.skip_newlines();
    }

    /// A reserved word here, that is: a whole word without quotes.
    fn at_word(&self, word: &str) -> bool {
        self.next_is(word) && self.text.get(self.at + word.len()).is_none_or(|&byte| is_meta(byte) || byte == b'\r')
    }

    fn take_word(&mut self, word: &str) -> bool {
        let there = self.at_word(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn complete_command(&mut self) -> Result<Node> {
        let node = self.and_or()?;
        self.skip_blanks();
        match self.peek() {
            None | Some(b'\n') => Ok(node),
            Some(b';') if !self.next_is(";;") => {
                self.at += 1;
                Ok(node)
            }
            Some(b'&') if !self.next_is("&&") => {
                self.at += 1;
                Ok(Node::Subshell(vec![node]))
            }
            _ => self.unexpected(),
        }
    }

    /// Commands up to a word or sign that ends the structure they are in; that one is left standing.
    fn list(&mut self) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            self.skip_newlines();
            let ends = self.peek().is_none()
                || self.next_is(";;")
                || self.next_is(";&")
                || self.next_is(")")
                || ["then", "else", "elif", "fi", "do", "done", "esac", "}"].iter().any(|word| self.at_word(word));
            if ends {
                return Ok(nodes);
            }
            let node = self.and_or()?;
            self.skip_blanks();
            match self.peek() {
                Some(b'&') if !self.next_is("&&") => {
                    self.at += 1;
                    nodes.push(Node::Subshell(vec![node]));
                    continue;
                }
                Some(b';') if !self.next_is(";;") && !self.next_is(";&") => self.at += 1,
                None | Some(b'\n' | b')' | b';') => {}
                Some(_) if ["}", "fi", "done", "esac"].iter().any(|word| self.at_word(word)) && is_compound(&node) => {}
                Some(_) => return self.unexpected(),
            }
            nodes.push(node);
        }
    }

    fn and_or(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.unexpected();
        }
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.skip_blanks();
            let and = self.next_is("&&");
            if !and && !self.next_is("||") {
                break;
            }
            self.at += 2;
            self.skip_newlines();
            rest.push((and, self.pipeline()?));
        }
        self.depth -= 1;
        Ok(if rest.is_empty() { first } else { Node::AndOr(Box::new(first), rest) })
    }

    fn pipeline(&mut self) -> Result<Node> {
        self.skip_blanks();
        let mut negated = false;
        loop {
            if self.take_word("!") {
                negated = !negated;
            } else if self.at_word("time") {
                self.at += 4;
                self.skip_blanks();
                self.take_word("-p");
            } else {
                break;
            }
            self.skip_blanks();
        }
        let mut parts = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.next_is("|") && !self.next_is("||") {
                self.at += if self.next_is("|&") { 2 } else { 1 };
                self.skip_newlines();
                parts.push(self.command()?);
            } else {
                break;
            }
        }
        let node = match (parts.len(), parts.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                parts.extend(last);
                Node::Subshell(parts)
            }
        };
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn command(&mut self) -> Result<Node> {
        self.skip_blanks();
        let begun = self.at;
        let node = if self.take_word("if") {
            self.if_command(begun)?
        } else if self.at_word("while") || self.at_word("until") {
            let until = self.at_word("until");
            self.at += 5;
            let span = self.span(begun, self.line_end(begun));
            let condition = self.list()?;
            let body = self.body(begun)?;
            Node::Loop(until, condition, body, span)
        } else if self.take_word("for") || self.take_word("select") {
            self.for_command(begun)?
        } else if self.take_word("case") {
            self.case_command(begun)?
        } else if self.take_word("{") {
            let nodes = self.list()?;
            self.skip_blanks();
            if !self.take_word("}") {
                return self.missing(begun, "}");
            }
            Node::Group(nodes)
        } else if self.next_is("((") && self.skip_arithmetic() {
            Node::Arithmetic
        } else if self.next_is("(") {
            self.at += 1;
            let nodes = self.list()?;
            if self.peek() != Some(b')') {
                return self.missing(begun, ")");
            }
            self.at += 1;
            Node::Subshell(nodes)
        } else if self.take_word("[[") {
            self.long_test(begun)?
        } else if self.take_word("function") {
            self.skip_blanks();
            let name = self.word()?.text;
            self.skip_blanks();
            if self.next_is("(") {
                self.at += 1;
                self.skip_blanks();
                if self.peek() != Some(b')') {
                    return self.unexpected();
                }
                self.at += 1;
            }
            self.function(name)?
        } else if self.take_word("coproc") {
            Node::Subshell(vec![self.command()?])
        } else {
            return self.simple();
        };
        let mut node = node;
        if self.redirections()? {
            has_input(std::slice::from_mut(&mut node));
        }
        Ok(node)
    }

    /// What is missing at the end of the file, or what stands in its place.
    fn missing<T>(&self, begun: usize, what: &'static str) -> Result<T> {
        if self.peek().is_none() { self.fault(begun, ErrorKind::Without(what)) } else { self.unexpected() }
    }

    fn simple_at(&self, begun: usize, end: usize) -> Simple {
        let end_of_line = self.line_end(begun);
        Simple { span: self.span(begun, end.min(end_of_line)), one_line: end <= end_of_line, ..Simple::default() }
    }

    fn simple(&mut self) -> Result<Node> {
        let begun = self.at;
        let mut command = Simple::default();
        let mut end = begun;
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b'\n' | b';' | b'&' | b'|' | b')') if !self.next_is("&>") => break,
                Some(b'(') => {
                    // A function: `name ()`.
                    let [name] = command.words.as_slice() else { return self.unexpected() };
                    let name = name.text.clone();
                    self.at += 1;
                    self.skip_blanks();
                    if self.peek() != Some(b')') || !command.assignments.is_empty() {
                        return self.unexpected();
                    }
                    self.at += 1;
                    return self.function(name);
                }
                _ => {}
            }
            if self.redirection(&mut command.input)? {
                end = self.at;
                continue;
            }
            let start = self.at;
            let word = self.word()?;
            let raw = self.text.get(start..self.at).unwrap_or_default();
            let first = command.words.is_empty();
            if first && command.assignments.is_empty() && RESERVED.contains(&raw) && raw != b"in" {
                self.at = start;
                return self.unexpected();
            }
            match assignment(raw, &word) {
                Some((name, value)) if first => {
                    // An array: `NAME=( … )`.
                    if raw.ends_with(b"=") && self.peek() == Some(b'(') {
                        self.array()?;
                        command.assignments.push((name, Word { expands: true, ..Word::default() }));
                    } else {
                        command.assignments.push((name, value));
                    }
                }
                _ => {
                    if raw.ends_with(b"=") && self.peek() == Some(b'(') {
                        self.array()?; // declare -a NAME=( … )
                    }
                    command.words.push(word);
                }
            }
            end = self.at;
        }
        if end == begun {
            return self.unexpected();
        }
        let place = self.simple_at(begun, end);
        Ok(Node::Simple(Simple { span: place.span, one_line: place.one_line, ..command }))
    }

    fn array(&mut self) -> Result<()> {
        let begun = self.at;
        self.at += 1;
        loop {
            self.skip_newlines();
            match self.peek() {
                None => return self.fault(begun, ErrorKind::Without(")")),
                Some(b')') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(byte) if is_meta(byte) && byte != b'(' && !self.next_is("<(") && !self.next_is(">(") => {
                    return self.unexpected();
                }
                Some(b'(') => self.array()?,
                Some(_) => {
                    self.word()?;
                }
            }
        }
    }

    /// All that follow; whether one of them is for the input.
    fn redirections(&mut self) -> Result<bool> {
        let mut input = false;
        loop {
            self.skip_blanks();
            if !self.redirection(&mut input)? {
                return Ok(input);
            }
        }
    }

    /// `<file`, `2>&1`, `<<END`, `{fd}>x`; whether there was one.
    fn redirection(&mut self, input: &mut bool) -> Result<bool> {
        let begun = self.at;
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        let sign = ["<<<", "<<-", "<<", "&>>", "&>", "<>", "<&", ">>", ">&", ">|", "<", ">"];
        let Some(sign) =
            sign.iter().find(|sign| self.next_is(sign)).filter(|sign| digits == 0 || !sign.starts_with('&'))
        else {
            self.at = begun;
            return Ok(false);
        };
        // <(…) and >(…) are words.
        if matches!(*sign, "<" | ">") && self.text.get(self.at + 1) == Some(&b'(') {
            self.at = begun;
            return Ok(false);
        }
        self.at += sign.len();
        self.skip_blanks();
        if self.peek().is_none_or(|byte| matches!(byte, b'\n' | b';' | b'&' | b'|' | b')')) {
            return self.unexpected();
        }
        let word = self.word()?;
        *input |= sign.starts_with('<') && digits == 0;
        if matches!(*sign, "<<" | "<<-") {
            self.documents.push((word.text, *sign == "<<-"));
        }
        Ok(true)
    }

    /// The number of the line, from 1 on.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at).max(1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text
            .get(at..)
            .and_then(|rest| rest.iter().position(|&byte| byte == b'\n'))
            .map_or(self.text.len(), |n| at + n)
    }

    fn span(&self, begun: usize, end: usize) -> crate::span::Span {
        let number = self.line(begun);
        let start = self.lines.get(number - 1).copied().unwrap_or_default();
        let line = self.text.get(start..self.line_end(begun)).unwrap_or_default();
        span_in(line, number, begun - start..end.saturating_sub(start))
    }
}

/// What a structure reads from, everything in it does.
fn has_input(nodes: &mut [Node]) {
    for node in nodes {
        match node {
            Node::Simple(command) => command.input = true,
            Node::AndOr(first, rest) => {
                has_input(std::slice::from_mut(first));
                rest.iter_mut().for_each(|(_, node)| has_input(std::slice::from_mut(node)));
            }
            Node::Not(node) => has_input(std::slice::from_mut(node)),
            Node::Group(nodes) | Node::Subshell(nodes) => has_input(nodes),
            Node::If(branches, otherwise) => {
                for (condition, body) in branches {
                    has_input(condition);
                    has_input(body);
                }
                has_input(otherwise);
            }
            Node::Loop(_, condition, body, _) => {
                has_input(condition);
                has_input(body);
            }
            Node::For(_, _, body) => has_input(body),
            Node::Case(_, arms) => arms.iter_mut().for_each(|(_, body)| has_input(body)),
            Node::Function(..) | Node::Arithmetic => {}
        }
    }
}

/// Whether a node ends with a word of its own, so that no `;` is needed behind it.
fn is_compound(node: &Node) -> bool {
    match node {
        Node::Simple(command) => command.words.first().is_some_and(|word| word.text == "[["),
        Node::AndOr(first, rest) => is_compound(rest.last().map_or(first, |(_, last)| last)),
        Node::Not(node) => is_compound(node),
        Node::Subshell(nodes) => nodes.last().is_none_or(is_compound),
        _ => true,
    }
}

fn assignment(raw: &[u8], word: &Word) -> Option<(BString, Word)> {
    let (name, _) = raw.split_once_str("=")?;
    let plain = name.strip_suffix(b"+").unwrap_or(name);
    let plain = plain.split_once_str("[").map_or(plain, |(name, _)| name);
    if !is_name(plain) {
        return None;
    }
    let value = word.text.split_once_str("=").map(|(_, value)| value).unwrap_or_default();
    let mut value: BString = value.into();
    let mut expands = word.expands;
    if name.ends_with(b"+") {
        // NAME+=x is NAME=${NAME}x.
        value = [b"${", plain, b"}", &value].concat().into();
        expands = true;
    }
    Some((plain.into(), Word { text: value, expands, globs: word.globs }))
}
