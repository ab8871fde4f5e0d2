//! From tokens to commands.

use std::ops::Range;

use bstr::BString;

use super::words::{Token, tokens};
use super::{Node, Part, Script, Word};

/// Blocks within blocks that are read; GRUB's own configurations have five.
const DEPTH: usize = 60;

/// Reads a script.
pub fn parse(text: &[u8]) -> Script {
    let (tokens, unclosed) = tokens(text, 0..text.len());
    let mut parser = Parser { tokens: &tokens, at: 0, defects: unclosed, depth: 0 };
    let mut nodes = Vec::new();
    loop {
        nodes.extend(parser.list());
        // What ends a list that nobody began is passed over.
        match parser.next() {
            None => break,
            Some(Token::Word(word)) => {
                let range = word.range.clone();
                parser.defects.push(range);
            }
            Some(Token::Open(at) | Token::Close(at)) => {
                let range = *at..*at + 1;
                parser.defects.push(range);
            }
            Some(Token::Separator) => {}
        }
    }
    Script { nodes, defects: parser.defects }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    defects: Vec<Range<usize>>,
    depth: usize,
}

/// Words that are no commands where a command may stand.
const CLOSING: [&str; 6] = ["then", "elif", "else", "fi", "do", "done"];

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at);
        self.at += usize::from(token.is_some());
        token
    }

    /// The word that stands next, if it is plain text.
    fn keyword(&self) -> Option<&'a str> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        plain(word)
    }

    /// Commands up to a closing word or brace that is not theirs, which is left.
    fn list(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        self.depth += 1;
        while let Some(token) = self.peek() {
            match token {
                Token::Separator => self.at += 1,
                Token::Close(_) | Token::Open(_) => break,
                Token::Word(word) => {
                    let keyword = plain(word);
                    if keyword.is_some_and(|keyword| CLOSING.contains(&keyword)) {
                        break;
                    }
                    if self.depth > DEPTH {
                        self.defects.push(word.range.clone());
                        self.at = self.tokens.len();
                        break;
                    }
                    nodes.push(match keyword {
                        Some("if") => self.conditional(),
                        Some("for") => self.repeated(),
                        Some("while" | "until") => self.looped(),
                        Some("function") => self.function(),
                        _ => self.command(),
                    });
                }
            }
        }
        self.depth -= 1;
        nodes
    }

    /// Passes over `word`; a defect at what stands there instead.
    fn expect(&mut self, word: &str) -> bool {
        if self.keyword() == Some(word) {
            self.at += 1;
            return true;
        }
        let range = match self.peek() {
            Some(Token::Word(word)) => word.range.clone(),
            Some(Token::Open(at) | Token::Close(at)) => *at..*at + 1,
            Some(Token::Separator) | None => self.last_range(),
        };
        self.defects.push(range);
        false
    }

    fn last_range(&self) -> Range<usize> {
        let before = self.tokens.get(..self.at).unwrap_or_default();
        before
            .iter()
            .rev()
            .find_map(|token| match token {
                Token::Word(word) => Some(word.range.clone()),
                Token::Open(at) | Token::Close(at) => Some(*at..*at + 1),
                Token::Separator => None,
            })
            .unwrap_or(0..0)
    }

    fn conditional(&mut self) -> Node {
        let mut arms = Vec::new();
        let mut otherwise = Vec::new();
        self.at += 1;
        loop {
            let condition = self.list();
            if !self.expect("then") {
                break;
            }
            arms.push((condition, self.list()));
            match self.keyword() {
                Some("elif") => self.at += 1,
                Some("else") => {
                    self.at += 1;
                    otherwise = self.list();
                    self.expect("fi");
                    break;
                }
                _ => {
                    self.expect("fi");
                    break;
                }
            }
        }
        Node::If { arms, otherwise }
    }

    fn repeated(&mut self) -> Node {
        self.at += 1;
        let name = self.keyword().unwrap_or_default().into();
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.peek() {
            self.at += 1;
            words.push(word.clone());
        }
        let body = self.done();
        // The variable and `in`.
        words.drain(..words.len().min(2));
        Node::For { name, words, body }
    }

    fn looped(&mut self) -> Node {
        self.at += 1;
        self.list();
        self.done();
        Node::Loop
    }

    fn done(&mut self) -> Vec<Node> {
        while matches!(self.peek(), Some(Token::Separator)) {
            self.at += 1;
        }
        if !self.expect("do") {
            return Vec::new();
        }
        let body = self.list();
        self.expect("done");
        body
    }

    fn function(&mut self) -> Node {
        self.at += 1;
        let name: BString = self.keyword().unwrap_or_default().into();
        self.at += usize::from(!name.is_empty());
        while matches!(self.peek(), Some(Token::Separator)) {
            self.at += 1;
        }
        Node::Function { name, body: self.block().unwrap_or_default() }
    }

    /// What stands between braces, if a brace opens here.
    fn block(&mut self) -> Option<Vec<Node>> {
        let Some(Token::Open(open)) = self.peek() else { return None };
        self.at += 1;
        let mut nodes = self.list();
        loop {
            match self.peek() {
                Some(Token::Close(_)) => {
                    self.at += 1;
                    break;
                }
                None => {
                    self.defects.push(*open..*open + 1);
                    break;
                }
                // A word that closes nothing: GRUB refuses the block, its commands are still worth a look.
                Some(Token::Word(word)) => {
                    self.defects.push(word.range.clone());
                    self.at += 1;
                    nodes.extend(self.list());
                }
                Some(Token::Open(at)) => {
                    self.defects.push(*at..*at + 1);
                    self.at += 1;
                    nodes.extend(self.list());
                }
                Some(Token::Separator) => self.at += 1,
            }
        }
        Some(nodes)
    }

    fn command(&mut self) -> Node {
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.peek() {
            self.at += 1;
            words.push(word.clone());
        }
        Node::Command { words, block: self.block() }
    }
}

fn plain(word: &Word) -> Option<&str> {
    match word.parts.as_slice() {
        [Part::Text { value, start: Some(start) }] if *start == word.range.start => std::str::from_utf8(value).ok(),
        _ => None,
    }
}
