//! What a GRUB script shows when it runs: the menu, and what each entry of it would do.

mod menu;
mod test;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};

pub use self::menu::{Item, Menu};
use super::{Node, Part, Word, in_text, parse};
use crate::lines;

/// What a script can ask the machine for.
pub trait World {
    /// The size of a file on a device of GRUB's, `None` when there is none. Directories have size 0.
    fn size(&self, device: &BStr, path: &BStr) -> Option<u64>;
    /// A file as text, with the number that places in it will bear.
    fn read(&self, device: &BStr, path: &BStr) -> Option<(usize, Arc<[u8]>)>;
    /// `search`: the device that has what is looked for.
    fn search(&self, by: Search, value: &BStr) -> Option<BString>;
    /// `blscfg`: the boot loader entries, as they are to be shown.
    fn loader_entries(&self) -> Vec<LoaderEntry>;
    /// `load_env`: the environment block beside the configuration, and its file's number.
    fn environment(&self) -> Vec<(BString, Value)>;
}

/// What `search` looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// `--fs-uuid`
    Uuid,
    /// `--label`
    Label,
    /// `--file`
    File,
}

/// A boot loader entry that `blscfg` shows: where its words stand in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderEntry {
    /// The number of its file.
    pub file: usize,
    /// All of the file.
    pub text: Arc<[u8]>,
    /// The file's name without `.conf`.
    pub id: BString,
    /// What the menu shows.
    pub title: BString,
    /// The values of `linux`.
    pub linux: Vec<Range<usize>>,
    /// The values of `initrd`.
    pub initrd: Vec<Range<usize>>,
    /// The values of `options`.
    pub options: Vec<Range<usize>>,
}

/// The value of a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: BString,
    /// The file and the byte where the text stands as it is.
    pub origin: Option<(usize, usize)>,
}

/// A word after expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What the command gets.
    pub text: BString,
    /// The number of the file in which it stands.
    pub file: usize,
    /// Its bytes there; where it comes from a variable that was put together, those of the word that names it.
    pub range: Range<usize>,
    /// Whether the bytes at `range` are the text itself, so that they can be replaced.
    pub literal: bool,
    /// Where the last piece of it stands as it is: the value of `name='value'`.
    tail: Option<Range<usize>>,
}

/// A command that an entry runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its words; the first is its name.
    pub words: Vec<Argument>,
    /// GRUB's root device at that moment.
    pub root: BString,
    /// For a `search` that found nothing, what it looked for.
    pub in_vain: Option<Argument>,
}

impl Ran {
    /// The name of the command.
    pub fn name(&self) -> &BStr {
        self.words.first().map(|word| word.text.as_bstr()).unwrap_or_default()
    }
}

/// Runs the file `file` with what GRUB knows before it: `root` and `prefix`.
pub fn run(world: &dyn World, file: usize, text: &[u8], root: &BStr, prefix: &BStr) -> Menu {
    let mut variables = HashMap::new();
    let mut set = |name: &str, text: &BStr| {
        variables.insert(BString::from(name), Value { text: text.to_owned(), origin: None });
    };
    set("root", root);
    set("prefix", prefix);
    for feature in ["menuentry_id", "menuentry_options", "timeout_style", "platform_search_hint", "default_font_path"] {
        set(&format!("feature_{feature}"), BStr::new("y"));
    }
    set("feature_all_video_module", BStr::new("y"));
    set("feature_200_final", BStr::new("y"));
    set("feature_chainloader_bpb", BStr::new("y"));
    set("grub_platform", BStr::new("pc"));
    set("grub_cpu", BStr::new("x86_64"));
    let mut runner = Runner {
        world,
        variables,
        functions: HashMap::new(),
        menu: Menu::default(),
        trace: Vec::new(),
        steps: 0,
        depth: 0,
        file,
        arguments: Vec::new(),
        stopped: false,
    };
    runner.menu.files.push(file);
    let nodes = parse(text).nodes;
    let mut items = Vec::new();
    runner.all(&nodes, &mut items);
    let outside = std::mem::take(&mut runner.trace);
    // An entry runs when it is chosen, so with the variables of the end.
    let items = runner.finish(items);
    let Runner { mut menu, variables, .. } = runner;
    menu.items = items;
    menu.commands = outside;
    menu.variables = variables;
    menu
}

/// An item whose commands were not run yet.
enum Pending {
    Entry(Item, Vec<Node>, usize),
    Submenu(Item, Vec<Pending>),
    Loader(Box<LoaderEntry>),
}

struct Runner<'a> {
    world: &'a dyn World,
    variables: HashMap<BString, Value>,
    functions: HashMap<BString, (Vec<Node>, usize)>,
    menu: Menu,
    trace: Vec<Ran>,
    steps: usize,
    depth: usize,
    file: usize,
    arguments: Vec<Argument>,
    /// `configfile` never comes back.
    stopped: bool,
}

/// Commands that one run may come to, and calls within calls.
const STEPS: usize = 30_000;
const DEPTH: usize = 40;

impl Runner<'_> {
    fn all(&mut self, nodes: &[Node], items: &mut Vec<Pending>) -> bool {
        let mut result = true;
        self.depth += 1;
        for node in nodes {
            self.steps += 1;
            if self.stopped || self.steps > STEPS || self.depth > DEPTH {
                break;
            }
            result = self.one(node, items);
        }
        self.depth -= 1;
        result
    }

    fn one(&mut self, node: &Node, items: &mut Vec<Pending>) -> bool {
        match node {
            Node::Command { words, block } => self.command(words, block.as_deref(), items),
            Node::If { arms, otherwise } => {
                for (condition, then) in arms {
                    if self.all(condition, items) {
                        return self.all(then, items);
                    }
                }
                self.all(otherwise, items)
            }
            Node::For { name, words, body } => {
                for value in self.expand(words) {
                    let origin = value.literal.then_some((value.file, value.range.start));
                    self.variables.insert(name.clone(), Value { text: value.text, origin });
                    self.all(body, items);
                }
                true
            }
            Node::Loop => true,
            Node::Function { name, body } => {
                self.functions.insert(name.clone(), (body.clone(), self.file));
                true
            }
        }
    }

    fn command(&mut self, words: &[Word], block: Option<&[Node]>, items: &mut Vec<Pending>) -> bool {
        let words = self.expand(words);
        let Some(name) = words.first().map(|word| word.text.clone()) else { return true };
        if let Some((body, file)) = self.functions.get(&name).cloned() {
            let outer =
                (self.file, std::mem::replace(&mut self.arguments, words.get(1..).unwrap_or_default().to_vec()));
            self.file = file;
            let result = self.all(&body, items);
            (self.file, self.arguments) = outer;
            return result;
        }
        let arguments = words.get(1..).unwrap_or_default();
        match name.as_slice() {
            b"menuentry" | b"submenu" => {
                let item = titled(&words);
                if name == "menuentry" {
                    items.push(Pending::Entry(item, block.unwrap_or_default().to_vec(), self.file));
                } else {
                    let mut below = Vec::new();
                    self.all(block.unwrap_or_default(), &mut below);
                    items.push(Pending::Submenu(item, below));
                }
                return true;
            }
            b"blscfg" => {
                self.menu.uses_loader_entries = true;
                items.extend(self.world.loader_entries().into_iter().map(|entry| Pending::Loader(Box::new(entry))));
            }
            b"load_env" => {
                for (name, value) in self.world.environment() {
                    self.variables.insert(name, value);
                }
            }
            b"set" => {
                for word in arguments {
                    self.assign(word);
                }
            }
            b"unset" => {
                for word in arguments {
                    self.variables.remove(&word.text);
                }
            }
            b"configfile" | b"source" | b"." => return self.include(name.as_ref(), arguments, items, words.clone()),
            b"search" | b"search.fs_uuid" | b"search.fs_label" | b"search.file" => return self.search(words.clone()),
            b"[" | b"test" => {
                let end = if name == "[" { arguments.len().saturating_sub(1) } else { arguments.len() };
                let texts: Vec<&BStr> = arguments.iter().take(end).map(|word| word.text.as_bstr()).collect();
                let root = self.value("root");
                return test::holds(&texts, &|path| self.size(path, root.as_ref()));
            }
            b"false" | b"keystatus" | b"regexp" => return false,
            _ if name.contains(&b'=') => {
                if let Some(word) = words.first() {
                    self.assign(word);
                }
            }
            _ => {}
        }
        self.record(words, None);
        true
    }

    fn record(&mut self, words: Vec<Argument>, in_vain: Option<Argument>) {
        let root = self.value("root");
        self.trace.push(Ran { words, root, in_vain });
    }

    fn value(&self, name: &str) -> BString {
        self.variables.get(BStr::new(name)).map(|value| value.text.clone()).unwrap_or_default()
    }

    /// `name=value`
    fn assign(&mut self, word: &Argument) {
        let Some(at) = word.text.find_byte(b'=') else { return };
        let (name, value) = word.text.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        let origin = match &word.tail {
            _ if word.literal => Some((word.file, word.range.end - value.len())),
            Some(tail) if tail.len() == value.len() => Some((word.file, tail.start)),
            _ => None,
        };
        self.variables.insert(name.into(), Value { text: value.into(), origin });
    }

    fn size(&self, path: &BStr, root: &BStr) -> Option<u64> {
        let (device, path) = split_device(path, root);
        self.world.size(device, path)
    }

    fn include(&mut self, name: &BStr, arguments: &[Argument], items: &mut Vec<Pending>, words: Vec<Argument>) -> bool {
        let Some(path) = arguments.first().cloned() else { return false };
        let root = self.value("root");
        self.record(words, None);
        let (device, inner) = split_device(path.text.as_ref(), root.as_ref());
        let Some((file, text)) = self.world.read(device, inner) else {
            self.menu.lost.push(path);
            return false;
        };
        if self.depth > DEPTH / 2 {
            return false;
        }
        let outer = std::mem::replace(&mut self.file, file);
        self.menu.files.push(file);
        let nodes = parse(&text).nodes;
        if name == "configfile" {
            items.clear();
            self.menu.lost.clear();
        }
        self.all(&nodes, items);
        self.file = outer;
        self.stopped |= name == "configfile";
        true
    }

    fn search(&mut self, words: Vec<Argument>) -> bool {
        let name = words.first().map(|word| word.text.clone()).unwrap_or_default();
        let mut by = match name.as_slice() {
            b"search.fs_uuid" => Some(Search::Uuid),
            b"search.fs_label" => Some(Search::Label),
            b"search.file" => Some(Search::File),
            _ => None,
        };
        let dotted = by.is_some();
        let mut variable = BString::from("root");
        let mut value: Option<&Argument> = None;
        let mut plain = 0;
        let mut rest = words.iter().skip(1);
        while let Some(word) = rest.next() {
            match word.text.as_slice() {
                b"-u" | b"--fs-uuid" => by = Some(Search::Uuid),
                b"-l" | b"--label" | b"--fs-label" => by = Some(Search::Label),
                b"-f" | b"--file" => by = Some(Search::File),
                b"-s" | b"--set" => {}
                b"--hint" | b"--hint-bios" | b"--hint-efi" | b"--hint-baremetal" | b"--hint-ieee1275" => {
                    rest.next();
                }
                text if text.starts_with(b"--set=") => variable = text.get(6..).unwrap_or_default().into(),
                text if text.starts_with(b"-") => {}
                text => {
                    plain += 1;
                    if dotted && plain == 2 {
                        variable = text.into();
                    } else if plain == 1 {
                        value = Some(word);
                    }
                }
            }
        }
        let found = value.and_then(|value| self.world.search(by.unwrap_or(Search::File), value.text.as_ref()));
        let in_vain = value.filter(|_| found.is_none()).cloned();
        let there = found.is_some();
        if let Some(text) = found {
            self.variables.insert(variable, Value { text, origin: None });
        }
        self.record(words, in_vain);
        there
    }

    fn expand(&self, words: &[Word]) -> Vec<Argument> {
        words.iter().flat_map(|word| self.expand_one(word)).collect()
    }

    fn expand_one(&self, word: &Word) -> Vec<Argument> {
        let file = self.file;
        if let [Part::Text { value, start: Some(start) }] = word.parts.as_slice() {
            let range = *start..start + value.len();
            return vec![Argument { text: value.clone(), file, range, literal: true, tail: None }];
        }
        if let [Part::Variable { name, quoted: false }] = word.parts.as_slice() {
            if matches!(name.as_slice(), b"@" | b"*") {
                return self.arguments.clone();
            }
            let value = self.variable(name.as_ref());
            let at = Argument { text: BString::default(), file, range: word.range.clone(), literal: false, tail: None };
            return split(&value, &at);
        }
        let mut text = BString::default();
        let mut some = false;
        let mut tail = None;
        for part in &word.parts {
            match part {
                Part::Text { value, start } => {
                    some = true;
                    tail = start.map(|start| start..start + value.len());
                    text.extend_from_slice(value);
                }
                Part::Variable { name, quoted } => {
                    let value = self.variable(name.as_ref());
                    some |= *quoted || !value.text.is_empty();
                    tail = None;
                    text.extend_from_slice(&value.text);
                }
            }
        }
        if !some {
            return Vec::new();
        }
        vec![Argument { text, file, range: word.range.clone(), literal: false, tail }]
    }

    fn variable(&self, name: &BStr) -> Value {
        if let Some(number) = name.to_str().ok().and_then(|name| name.parse::<usize>().ok()) {
            let found = number.checked_sub(1).and_then(|index| self.arguments.get(index));
            return found
                .map(|word| Value {
                    text: word.text.clone(),
                    origin: word.literal.then_some((word.file, word.range.start)),
                })
                .unwrap_or_default();
        }
        self.variables.get(name).cloned().unwrap_or_default()
    }

    fn finish(&mut self, pending: Vec<Pending>) -> Vec<Item> {
        pending
            .into_iter()
            .map(|pending| match pending {
                Pending::Submenu(item, below) => Item { below: Some(self.finish(below)), ..item },
                Pending::Entry(item, nodes, file) => {
                    let commands = self.chosen(|runner| {
                        runner.file = file;
                        runner.all(&nodes, &mut Vec::new());
                    });
                    Item { commands, ..item }
                }
                Pending::Loader(entry) => self.loader(&entry),
            })
            .collect()
    }

    /// What is run when an entry is chosen; variables are as before afterwards.
    fn chosen(&mut self, body: impl FnOnce(&mut Self)) -> Vec<Ran> {
        let (variables, file, menu) = (self.variables.clone(), self.file, self.menu.clone());
        (self.stopped, self.depth) = (false, 0);
        body(self);
        (self.variables, self.file, self.menu) = (variables, file, menu);
        std::mem::take(&mut self.trace)
    }

    fn loader(&mut self, entry: &LoaderEntry) -> Item {
        let command =
            |name: &str| Argument { text: name.into(), file: entry.file, range: 0..0, literal: false, tail: None };
        let expanded = |runner: &Self, ranges: &[Range<usize>]| -> Vec<Argument> {
            ranges.iter().flat_map(|range| runner.expand(&in_text(&entry.text, range.clone()))).collect()
        };
        let commands = self.chosen(|runner| {
            runner.file = entry.file;
            let mut linux = vec![command("linux")];
            linux.extend(expanded(runner, &entry.linux));
            linux.extend(expanded(runner, &entry.options));
            runner.record(linux, None);
            let mut initrd = vec![command("initrd")];
            initrd.extend(expanded(runner, &entry.initrd));
            if initrd.len() > 1 {
                runner.record(initrd, None);
            }
        });
        let place = Argument { text: entry.title.clone(), file: entry.file, range: 0..0, literal: false, tail: None };
        Item {
            title: entry.title.clone(),
            id: Some(entry.id.clone()),
            place,
            keyword: None,
            is_restricted: false,
            commands,
            below: None,
        }
    }
}

/// `(device)/path`, or a path on the root device.
pub fn split_device<'a>(path: &'a BStr, root: &'a BStr) -> (&'a BStr, &'a BStr) {
    match path.strip_prefix(b"(").and_then(|rest| rest.split_once_str(")")) {
        Some((device, path)) => (device.as_bstr(), path.as_bstr()),
        None => (root, path),
    }
}

/// The words of a value that is not quoted.
fn split(value: &Value, at: &Argument) -> Vec<Argument> {
    lines::words(&value.text)
        .map(|word| {
            let text = value.text.get(word.clone()).unwrap_or_default().into();
            match value.origin {
                Some((file, from)) => {
                    let range = from + word.start..from + word.end;
                    Argument { text, file, range, literal: true, tail: None }
                }
                None => Argument { text, ..at.clone() },
            }
        })
        .collect()
}

/// The title and the id among the words of `menuentry` and `submenu`.
fn titled(words: &[Argument]) -> Item {
    let mut title = None;
    let mut id = None;
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        match word.text.as_slice() {
            b"--id" => id = rest.next().map(|word| word.text.clone()),
            b"--class" | b"--users" | b"--hotkey" | b"--source" => {
                rest.next();
            }
            text if text.starts_with(b"--id=") => id = text.get(5..).map(BString::from),
            text if text.starts_with(b"--") => {}
            _ if title.is_none() => title = Some(word.clone()),
            _ => {}
        }
    }
    let place = title.or_else(|| words.first().cloned());
    let place =
        place.unwrap_or(Argument { text: BString::default(), file: 0, range: 0..0, literal: false, tail: None });
    let is_restricted = !words.iter().any(|word| word.text == "--unrestricted");
    let (title, keyword) = (place.text.clone(), words.first().cloned());
    Item { title, id, place, keyword, is_restricted, commands: Vec::new(), below: None }
}
