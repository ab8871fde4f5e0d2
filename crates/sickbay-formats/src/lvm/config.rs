//! The text of LVM's metadata: sections in braces, `key = value`, lists.

/// A node of LVM's configuration language: `name { … }` or `name = value`.
#[derive(Debug)]
pub(super) enum Node {
    Section(String, Vec<Node>),
    Value(String, Vec<Scalar>),
}

#[derive(Debug)]
pub(super) enum Scalar {
    Text(String),
    Number(u64),
}

pub(super) fn section<'a>(nodes: &'a [Node], wanted: &str) -> &'a [Node] {
    sections(nodes).find(|(name, _)| *name == wanted).map_or(&[], |(_, body)| body)
}

pub(super) fn sections(nodes: &[Node]) -> impl Iterator<Item = (&str, &[Node])> {
    nodes.iter().filter_map(|node| match node {
        Node::Section(name, body) => Some((name.as_str(), body.as_slice())),
        Node::Value(..) => None,
    })
}

pub(super) fn list<'a>(nodes: &'a [Node], wanted: &str) -> impl Iterator<Item = &'a Scalar> {
    let values = nodes.iter().find_map(|node| match node {
        Node::Value(name, values) if name == wanted => Some(values.as_slice()),
        _ => None,
    });
    values.unwrap_or_default().iter()
}

pub(super) fn number(nodes: &[Node], wanted: &str) -> Option<u64> {
    match list(nodes, wanted).next()? {
        Scalar::Number(number) => Some(*number),
        Scalar::Text(_) => None,
    }
}

pub(super) fn text_of(nodes: &[Node], wanted: &str) -> Option<String> {
    match list(nodes, wanted).next()? {
        Scalar::Text(text) => Some(text.clone()),
        Scalar::Number(_) => None,
    }
}

/// Sections lie in each other three deep.
const NESTED: usize = 64;

/// Reads the configuration language. What is not understood is passed over.
pub(super) fn config(text: &str) -> Vec<Node> {
    let mut open: Vec<(String, Vec<Node>)> = Vec::new();
    let mut nodes = Vec::new();
    let mut name: Option<String> = None;
    let mut tokens = Tokens(text);
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => name = Some(word),
            // To forget what is nested without end needs a stack without end.
            Token::Sign('{') if open.len() >= NESTED => return Vec::new(),
            Token::Sign('{') => open.push((name.take().unwrap_or_default(), std::mem::take(&mut nodes))),
            Token::Sign('}') => {
                if let Some((name, outer)) = open.pop() {
                    let body = std::mem::replace(&mut nodes, outer);
                    nodes.push(Node::Section(name, body));
                }
            }
            Token::Sign('=') => {
                let mut values = Vec::new();
                match tokens.next() {
                    Some(Token::Sign('[')) => {
                        while let Some(token) = tokens.next() {
                            match token {
                                Token::Sign(']') => break,
                                other => values.extend(scalar(other)),
                            }
                        }
                    }
                    Some(token) => values.extend(scalar(token)),
                    None => {}
                }
                nodes.push(Node::Value(name.take().unwrap_or_default(), values));
            }
            Token::Sign(_) | Token::Text(_) => {}
        }
    }
    nodes
}

fn scalar(token: Token) -> Option<Scalar> {
    match token {
        Token::Text(text) => Some(Scalar::Text(text)),
        Token::Word(word) => word.parse().ok().map(Scalar::Number),
        Token::Sign(_) => None,
    }
}

enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

struct Tokens<'a>(&'a str);

impl Tokens<'_> {
    fn next(&mut self) -> Option<Token> {
        loop {
            self.0 = self.0.trim_start();
            let first = self.0.chars().next()?;
            let rest = self.0.get(first.len_utf8()..).unwrap_or_default();
            match first {
                '#' => self.0 = rest.split_once('\n').map_or("", |(_, rest)| rest),
                '"' => {
                    let mut text = String::new();
                    let mut characters = rest.char_indices();
                    let mut end = rest.len();
                    while let Some((at, character)) = characters.next() {
                        match character {
                            '"' => {
                                end = at + 1;
                                break;
                            }
                            '\\' => text.extend(characters.next().map(|(_, character)| character)),
                            _ => text.push(character),
                        }
                    }
                    self.0 = rest.get(end..).unwrap_or_default();
                    return Some(Token::Text(text));
                }
                '{' | '}' | '[' | ']' | '=' | ',' => {
                    self.0 = rest;
                    return Some(Token::Sign(first));
                }
                _ => {
                    let end =
                        self.0.find(|c: char| c.is_whitespace() || "{}[]=,\"#".contains(c)).unwrap_or(self.0.len());
                    let (word, rest) = self.0.split_at_checked(end)?;
                    self.0 = rest;
                    return Some(Token::Word(word.to_owned()));
                }
            }
        }
    }
}
