//! What `nft list ruleset` prints, and files for `nft -f`: with definitions, includes and commands.

mod statement;
mod words;

use std::collections::HashMap;

use self::words::{Word, cut};
use super::values::part;
use super::{Against, At, Element, Family, Hook, Key, Part, Rule, RuleSet, Verdict};

/// The content of the files that a pattern of `include` stands for, each with its path.
pub type Include<'a> = &'a mut dyn FnMut(&str) -> Vec<(String, Vec<u8>)>;

/// So many files are read, so many words.
const FILES: usize = 256;
const WORDS: usize = 20_000_000;

/// Reads a ruleset into `rules`.
pub fn read(rules: &mut RuleSet, file: &str, text: &[u8], include: Include<'_>) {
    let number = rules.file(file);
    let mut words = Vec::new();
    load(rules, number, text, include, &mut words, 0);
    let mut reader = Reader { rules, words, at: 0, defined: HashMap::new(), count: 0 };
    reader.commands();
}

/// One rule in nft's words, of a program that writes its rules otherwise.
pub(super) fn rule(text: &str, family: Family, at: At, comment: Option<String>) -> Rule {
    let words: Vec<Word> = cut(text.as_bytes(), at.file).into_iter().filter(|word| &*word.text != "\n").collect();
    let read = statement::read(&words, family);
    Rule { matches: read.matches, actions: read.actions, text: text.to_owned(), comment, packets: None, at }
}

/// The words of a file with those of what it includes in their places.
fn load(rules: &mut RuleSet, file: usize, text: &[u8], include: Include<'_>, words: &mut Vec<Word>, depth: usize) {
    let mut own = cut(text, file).into_iter().peekable();
    let mut at_start = true;
    while let Some(word) = own.next() {
        if words.len() >= WORDS {
            return;
        }
        let is_end = matches!(&*word.text, "\n" | ";" | "{" | "}") && !word.quoted;
        if at_start && &*word.text == "include" && own.peek().is_some_and(|next| next.quoted) {
            let Some(pattern) = own.next() else { return };
            if depth < 8 {
                for (path, text) in include(&pattern.text) {
                    if rules.files.len() >= FILES {
                        rules.not_understood(word.at, "include");
                        break;
                    }
                    let number = rules.file(&path);
                    load(rules, number, &text, include, words, depth + 1);
                }
            }
            continue;
        }
        at_start = is_end;
        words.push(word);
    }
}

struct Reader<'a> {
    rules: &'a mut RuleSet,
    words: Vec<Word>,
    at: usize,
    defined: HashMap<Box<str>, Vec<Word>>,
    count: usize,
}

/// The family that a word names.
fn family(word: &str) -> Option<Family> {
    let family = match word {
        "ip" => Family::Ip,
        "ip6" => Family::Ip6,
        "inet" => Family::Inet,
        "netdev" => Family::Netdev,
        "bridge" | "arp" => Family::Other,
        _ => return None,
    };
    Some(family)
}

fn priority(word: &str) -> Option<i32> {
    let number = match word {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => -100,
        "filter" => 0,
        "security" => 50,
        "srcnat" => 100,
        "out" => 100,
        other => return other.parse().ok(),
    };
    Some(number)
}

fn hook(word: &str) -> Option<Hook> {
    let hook = match word {
        "ingress" => Hook::Ingress,
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        "output" => Hook::Output,
        "postrouting" => Hook::Postrouting,
        _ => return None,
    };
    Some(hook)
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at)
    }

    /// The text of the next word, empty for a quoted one and at the end.
    fn peek_text(&self) -> &str {
        self.peek().filter(|word| !word.quoted).map_or("", |word| &word.text)
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.words.get(self.at).cloned()?;
        self.at += 1;
        Some(word)
    }

    fn skip_empty(&mut self) {
        while matches!(self.peek_text(), "\n" | ";") {
            self.at += 1;
        }
    }

    /// The words up to the end of the statement, definitions put in; blocks in braces go over lines.
    fn statement(&mut self) -> Vec<Word> {
        let mut out = Vec::new();
        let mut depth = 0_usize;
        while let Some(word) = self.peek() {
            let text = if word.quoted { "" } else { &*word.text };
            match text {
                "\n" | ";" if depth == 0 => break,
                "}" if depth == 0 => break,
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let word = word.clone();
            self.at += 1;
            if &*word.text == "\n" && !word.quoted {
                continue;
            }
            self.put(word, &mut out, 0);
        }
        out
    }

    fn put(&self, word: Word, out: &mut Vec<Word>, depth: usize) {
        let name = if word.quoted { None } else { word.text.strip_prefix('$') };
        match name.and_then(|name| self.defined.get(name)) {
            Some(value) if depth < 8 && out.len() < 100_000 => {
                for one in value {
                    self.put(Word { at: word.at, ..one.clone() }, out, depth + 1);
                }
            }
            _ => out.push(word),
        }
    }

    fn commands(&mut self) {
        loop {
            self.skip_empty();
            let Some(word) = self.next() else { return };
            match &*word.text {
                "}" => {}
                "define" | "redefine" => self.define(),
                "table" => self.table(),
                "add" | "create" | "insert" | "replace" => {
                    let inserts = &*word.text == "insert";
                    self.add(inserts, word.at);
                }
                "flush" | "delete" | "destroy" | "reset" | "list" | "undefine" => {
                    let rest = self.statement();
                    let rest: Vec<&str> = rest.iter().map(|word| &*word.text).collect();
                    if matches!(&*word.text, "flush" | "delete" | "destroy") {
                        match rest.as_slice() {
                            ["ruleset", ..] => self.rules.flush(None),
                            ["table", kind, name, ..] => {
                                let Some(family) = family(kind) else { continue };
                                self.rules.flush(Some((family, name)));
                            }
                            ["table", name] => self.rules.flush(Some((Family::Ip, name))),
                            ["chain", kind, table, name, ..] => {
                                let Some(family) = family(kind) else { continue };
                                if let Some(chain) = self.rules.chain_mut(family, table, name) {
                                    chain.rules.clear();
                                }
                            }
                            _ => {}
                        }
                    }
                }
                other => {
                    let text = other.to_owned();
                    self.rules.not_understood(word.at, &text);
                    self.statement();
                }
            }
        }
    }

    fn define(&mut self) {
        let Some(name) = self.next() else { return };
        if self.peek_text() == "=" {
            self.at += 1;
        }
        let value = self.statement();
        if self.defined.len() < 10_000 {
            self.defined.insert(name.text, value);
        }
    }

    /// Behind `add`.
    fn add(&mut self, inserts: bool, at: At) {
        let Some(what) = self.next() else { return };
        let kind = self.peek_text().to_owned();
        let family = match family(&kind) {
            Some(family) => {
                self.at += 1;
                family
            }
            None => Family::Ip,
        };
        match &*what.text {
            "table" => {
                // `add table inet x` and no more, or its block.
                let Some(name) = self.next() else { return };
                self.table_block(family, &name.text);
            }
            "chain" => {
                let (Some(table), Some(name)) = (self.next(), self.next()) else { return };
                self.chain_block(family, &table.text, &name.text);
            }
            "set" | "map" => {
                let (Some(table), Some(name)) = (self.next(), self.next()) else { return };
                self.set_block(family, &table.text, &name.text);
            }
            "element" => {
                let (Some(table), Some(name)) = (self.next(), self.next()) else { return };
                let words = self.statement();
                self.elements(family, &table.text, &name.text, &words);
            }
            "rule" => {
                let (Some(table), Some(name)) = (self.next(), self.next()) else { return };
                let mut words = self.statement();
                if words.first().is_some_and(|word| matches!(&*word.text, "handle" | "position" | "index")) {
                    words.drain(..words.len().min(2));
                }
                self.rule(family, &table.text, &name.text, &words, inserts, at);
            }
            _ => {
                self.statement();
            }
        }
    }

    /// Behind `table`.
    fn table(&mut self) {
        let family = match family(self.peek_text()) {
            Some(family) => {
                self.at += 1;
                family
            }
            None => Family::Ip,
        };
        let Some(name) = self.next() else { return };
        self.table_block(family, &name.text);
    }

    fn table_block(&mut self, family: Family, table: &str) {
        while self.peek_text() == "\n" {
            self.at += 1;
        }
        if self.peek_text() != "{" {
            return;
        }
        self.at += 1;
        loop {
            self.skip_empty();
            let Some(word) = self.next() else { return };
            match &*word.text {
                "}" => return,
                "chain" => {
                    let Some(name) = self.next() else { return };
                    self.chain_block(family, table, &name.text);
                }
                "set" | "map" => {
                    let Some(name) = self.next() else { return };
                    self.set_block(family, table, &name.text);
                }
                "define" => self.define(),
                // flags, comment, ct helper, counter, quota, limit, flowtable: with or without a block.
                _ => {
                    self.statement();
                }
            }
        }
    }

    fn chain_block(&mut self, family: Family, table: &str, name: &str) {
        let Some(chain) = self.rules.chain_mut(family, table, name) else { return };
        let begun = self.words.get(self.at.saturating_sub(1)).map(|word| word.at).unwrap_or_default();
        if chain.at.line == 0 {
            chain.at = begun;
        }
        while self.peek_text() == "\n" {
            self.at += 1;
        }
        if self.peek_text() != "{" {
            return;
        }
        self.at += 1;
        loop {
            self.skip_empty();
            let Some(first) = self.peek().cloned() else { return };
            let text = if first.quoted { "" } else { &*first.text };
            match text {
                "}" => {
                    self.at += 1;
                    return;
                }
                "type" => self.base(family, table, name),
                "policy" => {
                    self.at += 1;
                    let policy = self.next().map(|word| word.text.to_string()).unwrap_or_default();
                    self.policy(family, table, name, &policy, first.at);
                }
                "comment" | "devices" => {
                    self.statement();
                }
                _ => {
                    let before = self.at;
                    let words = self.statement();
                    if self.at == before {
                        self.at += 1;
                        continue;
                    }
                    self.rule(family, table, name, &words, false, first.at);
                }
            }
        }
    }

    fn policy(&mut self, family: Family, table: &str, name: &str, policy: &str, at: At) {
        if let Some(chain) = self.rules.chain_mut(family, table, name) {
            chain.policy = if policy == "drop" { Verdict::Drop } else { Verdict::Accept };
            chain.at = at;
        }
    }

    /// `type filter hook input priority filter + 10` and, on the same line or not, a policy.
    fn base(&mut self, family: Family, table: &str, name: &str) {
        let at = self.peek().map(|word| word.at).unwrap_or_default();
        let words = self.statement();
        let mut words = words.iter().map(|word| &*word.text).peekable();
        let (mut is_nat, mut place, mut level, mut device) = (false, None, 0, None);
        while let Some(word) = words.next() {
            match word {
                "type" => is_nat = words.next() == Some("nat"),
                "hook" => place = words.next().and_then(hook),
                "device" => device = words.next().map(Box::from),
                "priority" => {
                    level = words.next().and_then(priority).unwrap_or(0);
                    if let Some(sign) = words.next_if(|word| matches!(*word, "+" | "-")) {
                        let by: i32 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                        level = level.saturating_add(if sign == "-" { by.saturating_neg() } else { by });
                    } else if let Some(by) = words.peek().and_then(|word| word.parse::<i32>().ok()) {
                        level = level.saturating_add(by);
                        words.next();
                    }
                }
                _ => {}
            }
        }
        if let Some(chain) = self.rules.chain_mut(family, table, name) {
            (chain.hook, chain.is_nat, chain.device) = (place.map(|place| (place, level)), is_nat, device);
            chain.at = at;
        }
    }

    fn rule(&mut self, family: Family, table: &str, name: &str, words: &[Word], inserts: bool, at: At) {
        if self.count >= super::RULES || words.is_empty() {
            return;
        }
        self.count += 1;
        let read = statement::read(words, family);
        if let Some(unknown) = &read.unknown {
            self.rules.not_understood(at, unknown);
        }
        let rule = Rule {
            matches: read.matches,
            actions: read.actions,
            text: words::text(words),
            comment: read.comment,
            packets: read.packets,
            at,
        };
        if let Some(chain) = self.rules.chain_mut(family, table, name) {
            match inserts {
                true => chain.rules.insert(0, rule),
                false => chain.rules.push(rule),
            }
        }
    }

    fn set_block(&mut self, family: Family, table: &str, name: &str) {
        self.rules.set_mut(family, table, name);
        while self.peek_text() == "\n" {
            self.at += 1;
        }
        if self.peek_text() != "{" {
            return;
        }
        self.at += 1;
        let mut kinds: Vec<Key> = Vec::new();
        loop {
            self.skip_empty();
            let Some(word) = self.peek() else { return };
            if &*word.text == "}" && !word.quoted {
                self.at += 1;
                return;
            }
            let before = self.at;
            let words = self.statement();
            if self.at == before {
                self.at += 1;
            }
            match words.first().map(|word| &*word.text) {
                Some("type") => kinds = statement::kinds(words.get(1..).unwrap_or_default()),
                Some("typeof") => kinds = statement::typed(words.get(1..).unwrap_or_default()),
                Some("elements") => {
                    let words = words.get(2..).unwrap_or_default();
                    let read = statement::elements(words, &kinds);
                    self.put_elements(family, table, name, read);
                }
                Some("flags") if words.iter().any(|word| &*word.text == "dynamic") => {
                    if let Some(set) = self.rules.set_mut(family, table, name) {
                        // Packets fill it.
                        set.inexact = true;
                    }
                }
                _ => {}
            }
            if !kinds.is_empty()
                && let Some(set) = self.rules.set_mut(family, table, name)
                && set.kinds.is_empty()
            {
                set.kinds = kinds.iter().map(|key| statement::kind_word(key).into()).collect();
            }
        }
    }

    fn elements(&mut self, family: Family, table: &str, name: &str, words: &[Word]) {
        let kinds = self.rules.set_mut(family, table, name).map(|set| set.kinds.clone()).unwrap_or_default();
        let keys: Vec<Key> = kinds.iter().map(|kind| statement::key_of_kind(kind)).collect();
        let read = statement::elements(words, &keys);
        self.put_elements(family, table, name, read);
    }

    fn put_elements(&mut self, family: Family, table: &str, name: &str, read: Vec<Element>) {
        let all: usize = self.rules.sets.iter().map(|set| set.elements.len()).sum();
        if let Some(set) = self.rules.set_mut(family, table, name) {
            if all.saturating_add(read.len()) > super::ELEMENTS {
                set.inexact = true;
                return;
            }
            set.elements.extend(read);
        }
    }
}

#[cfg(test)]
#[path = "nft_tests.rs"]
mod tests;
