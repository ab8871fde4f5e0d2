//! Conditions of shell scripts, as far as they can be told for root's login on a terminal.

use sickbay_formats::shell::{Node, Simple, Word};
use sickbay_target::FileKind;

use super::walk::Walk;

/// Yes, no, or not known.
pub(super) type Known = Option<bool>;

impl Walk<'_> {
    /// What the last of the commands comes to.
    pub(super) fn holds(&self, nodes: &[Node]) -> Known {
        nodes.last().and_then(|node| self.node_holds(node))
    }

    /// What a command comes to.
    pub(super) fn node_holds(&self, node: &Node) -> Known {
        match node {
            Node::Simple(command) => self.command_holds(command),
            Node::Not(node) => self.node_holds(node).map(|held| !held),
            Node::Group(nodes) => self.holds(nodes),
            Node::AndOr(first, rest) => {
                rest.iter().fold(self.node_holds(first), |held, (and, node)| match (held, and) {
                    (Some(true), true) | (Some(false), false) => self.node_holds(node),
                    (Some(held), _) => Some(held),
                    (None, and) => (self.node_holds(node) == Some(!and)).then_some(!and),
                })
            }
            _ => None,
        }
    }

    fn command_holds(&self, command: &Simple) -> Known {
        let words = command.words.as_slice();
        match command.word(0) {
            b"true" | b":" | b"." | b"source" => Some(true),
            b"false" => Some(false),
            b"[" if words.last().is_some_and(|last| last.text == "]") => self.test(words.get(1..words.len() - 1)?),
            b"[[" if words.len() > 2 => self.test(words.get(1..words.len() - 1)?),
            b"test" => self.test(words.get(1..)?),
            // 127: no such program.
            [b'/', ..] => self.path(words.first()?).filter(|path| self.is_gone(path)).map(|_| false),
            _ => None,
        }
    }

    fn test(&self, words: &[Word]) -> Known {
        let texts: Vec<&[u8]> = words.iter().map(|word| word.text.as_slice()).collect();
        match texts.as_slice() {
            [b"!", ..] => self.test(words.get(1..)?).map(|held| !held),
            // An old way to say both, or either.
            _ if texts.iter().any(|text| matches!(*text, b"-a" | b"-o" | b"(" | b"&" | b"|")) && texts.len() > 3 => {
                None
            }
            [operator, _] if operator.starts_with(b"-") => {
                let word = words.get(1)?;
                match *operator {
                    b"-n" => self.expand(word).map(|text| !text.is_empty()),
                    b"-z" => self.expand(word).map(|text| text.is_empty()),
                    b"-e" | b"-f" | b"-r" | b"-s" | b"-x" | b"-d" => self.file(operator, word),
                    b"-t" => self.attended.then_some(true),
                    _ => None,
                }
            }
            [_] => self.expand(words.first()?).map(|text| !text.is_empty()),
            [_, operator, _] => {
                let (left, right) = (words.first()?, words.get(2)?);
                // `[[ $- == *i* ]]`: a login on a terminal is interactive.
                if left.text == "$-" && right.text == "*i*" && self.attended {
                    return Some(*operator != b"!=");
                }
                // `[ "${-#*i}" != "$-" ]`: the same in the profile of Red Hat's family.
                if left.text == "${-#*i}" && right.text == "$-" && self.attended {
                    return Some(*operator == b"!=");
                }
                if right.globs {
                    return None;
                }
                let (left, right) = (self.expand(left)?, self.expand(right)?);
                match *operator {
                    b"=" | b"==" | b"-eq" => Some(left == right),
                    b"!=" | b"-ne" => Some(left != right),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn file(&self, operator: &[u8], word: &Word) -> Known {
        let path = self.path(word)?;
        let Ok(metadata) = self.root().stat(&path) else { return Some(false) };
        Some(match operator {
            b"-f" => metadata.kind == FileKind::File,
            b"-d" => metadata.kind == FileKind::Dir,
            b"-s" => metadata.size > 0,
            b"-x" => metadata.mode & 0o111 != 0,
            _ => true,
        })
    }
}
