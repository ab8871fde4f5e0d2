//! YAML as a tree whose pieces know their lines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::network::Syntax;

/// A piece of YAML.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The words, and whether they were quoted.
    Scalar(String, bool),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// So many pieces are copied by aliases: an alias of aliases of aliases grows without end.
const MOST_COPIED: usize = 20_000;

/// Deeper than this no configuration is.
const DEEPEST: usize = 64;

/// The first document of a text.
pub(super) fn tree(text: &str) -> Result<Option<Node>, (usize, Syntax)> {
    // A tab that indents is what people meet most, and every parser says it in words of its own.
    let tab = |line: &str| {
        line.trim_start_matches(' ').starts_with('\t') && !line.trim().is_empty() && !line.trim().starts_with('#')
    };
    let mut open: Vec<Node> = Vec::new();
    let mut keys: Vec<Vec<Node>> = Vec::new();
    let (mut anchors, mut named, mut left) = (BTreeMap::new(), Vec::new(), MOST_COPIED);
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let line = error.marker().line();
                if let Some(at) = text.lines().take(line + 1).position(tab) {
                    return Err((at + 1, Syntax::Tab));
                }
                return Err((line, Syntax::Yaml(error.info().to_owned())));
            }
        };
        let line = span.start.line();
        let done = match event {
            Event::Scalar(text, style, anchor, _) => {
                let quoted = !matches!(style, ScalarStyle::Plain);
                let node = Node { line, value: Value::Scalar(text.into_owned(), quoted) };
                if anchor > 0 {
                    anchors.insert(anchor, node.clone());
                }
                Some(node)
            }
            Event::Alias(anchor) => {
                let Some(node) = anchors.get(&anchor) else {
                    return Err((line, Syntax::Yaml("an alias of nothing".into())));
                };
                left = left.saturating_sub(node.size());
                if left == 0 {
                    return Err((line, Syntax::Yaml("too many aliases".into())));
                }
                Some(node.clone())
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                named.push(anchor);
                if open.len() >= DEEPEST {
                    return Err((line, Syntax::Yaml("nested too deeply".into())));
                }
                let value = match event {
                    Event::SequenceStart(..) => Value::List(Vec::new()),
                    _ => Value::Map(Vec::new()),
                };
                open.push(Node { line, value });
                keys.push(Vec::new());
                None
            }
            Event::SequenceEnd | Event::MappingEnd => {
                keys.pop();
                let done = open.pop();
                if let (Some(anchor @ 1..), Some(node)) = (named.pop(), &done) {
                    anchors.insert(anchor, node.clone());
                }
                done
            }
            Event::DocumentEnd => return Ok(None),
            _ => None,
        };
        let Some(node) = done else { continue };
        let Some(above) = open.last_mut() else { return Ok(Some(node)) };
        match &mut above.value {
            Value::List(list) => list.push(node),
            Value::Map(map) => match keys.last_mut().and_then(Vec::pop) {
                Some(key) => map.push((key, node)),
                None => drop(keys.last_mut().map(|keys| keys.push(node))),
            },
            Value::Scalar(..) => {}
        }
    }
    Ok(None)
}

impl Node {
    /// Of how many pieces it is made.
    pub(super) fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(..) => 0,
            Value::List(list) => list.iter().map(Node::size).sum::<usize>(),
            Value::Map(map) => map.iter().map(|(key, value)| key.size() + value.size()).sum(),
        }
    }

    pub(super) fn words(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The entries of a mapping; nothing at all is an empty one.
    pub(super) fn entries(&self, key: &str) -> Result<&[(Node, Node)], (usize, Syntax)> {
        match &self.value {
            Value::Map(map) => Ok(map),
            Value::Scalar(text, false) if text.is_empty() || text == "null" || text == "~" => Ok(&[]),
            _ => Err((self.line, Syntax::Value(key.to_owned(), "a mapping".into()))),
        }
    }

    pub(super) fn items(&self, key: &str) -> Result<&[Node], (usize, Syntax)> {
        match &self.value {
            Value::List(list) => Ok(list),
            _ => Err((self.line, Syntax::Value(key.to_owned(), "a sequence".into()))),
        }
    }

    pub(super) fn scalar(&self, key: &str) -> Result<&str, (usize, Syntax)> {
        self.words().ok_or_else(|| (self.line, Syntax::Value(key.to_owned(), "a scalar".into())))
    }

    pub(super) fn yes(&self, key: &str) -> Result<bool, (usize, Syntax)> {
        let text = self.scalar(key)?;
        match text.to_lowercase().as_str() {
            "true" | "on" | "yes" | "y" => Ok(true),
            "false" | "off" | "no" | "n" => Ok(false),
            _ => Err((self.line, Syntax::Value(key.to_owned(), text.to_owned()))),
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<u32, (usize, Syntax)> {
        let text = self.scalar(key)?;
        text.parse().map_err(|_| (self.line, Syntax::Value(key.to_owned(), text.to_owned())))
    }

    pub(super) fn address(&self, key: &str) -> Result<IpAddr, (usize, Syntax)> {
        let text = self.scalar(key)?;
        text.parse().map_err(|_| (self.line, Syntax::Value(key.to_owned(), text.to_owned())))
    }
}
