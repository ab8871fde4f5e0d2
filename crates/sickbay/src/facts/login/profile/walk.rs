//! Follows the files of a login in the order in which the shell reads them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use sickbay_formats::shell::{self, ErrorKind, Node, Script, Simple, Word};
use sickbay_formats::wildcard::fits;
use sickbay_target::{Architecture, Root};

use super::condition::Known;
use super::{Event, EventKind, Profile, Shell, event};
use crate::facts::Facts;
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// How many commands are followed in all.
const STEPS: usize = 200_000;
/// How deep files may be read from files.
const DEPTH: usize = 40;
/// A start-up file that is larger is none.
const SIZE: usize = 256 << 10;
/// Whoever waits longer takes the login for dead.
const PATIENCE: u64 = 60;
/// A session that ends sooner cannot be used.
const TMOUT: u64 = 10;

/// Programs that end at once, so that `exec` of one ends the login.
const ENDING: [&str; 16] = [
    "true", "false", "nologin", "echo", "printf", "date", "id", "ls", "cat", "pwd", "hostname", "uname", "whoami",
    "test", "kill", "logout",
];

/// How a list of commands ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Goes,
    /// The file ends here.
    Returns,
    /// The shell ends here.
    Ends,
}

pub(super) struct Walk<'f> {
    facts: &'f Facts,
    shell: Shell,
    /// Somebody sits at a terminal.
    pub(super) attended: bool,
    pub(super) home: PathBuf,
    /// Variables: the value, or `None` when it is not known.
    pub(super) variables: HashMap<BString, Option<BString>>,
    /// How long values are at least.
    pub(super) lengths: HashMap<BString, usize>,
    /// Variables that programs get.
    exported: HashSet<BString>,
    /// What made variables too long for any program.
    too_long: BTreeMap<BString, Event>,
    /// How long one may be.
    longest: usize,
    functions: HashMap<BString, Arc<Vec<Node>>>,
    /// The files that are being read.
    stack: Vec<PathBuf>,
    /// Everything until here happens for sure.
    sure: bool,
    steps: usize,
    /// Whoever set PATH to something without the usual directories.
    pub(super) path_lost: Option<Event>,
    errors_end: Option<Event>,
    /// `exec` of what is not there leaves the shell as it is: zsh, and bash with execfail.
    survives_exec: bool,
    times_out: Option<Event>,
    events: Vec<Event>,
    untold: Option<Text>,
    ended: bool,
    files: BTreeMap<PathBuf, (Arc<SourceFile>, Arc<Script>)>,
}

impl<'f> Walk<'f> {
    pub(super) fn new(facts: &'f Facts, shell: Shell, program: String, home: PathBuf) -> Walk<'f> {
        let mut variables: HashMap<BString, Option<BString>> = HashMap::new();
        let mut set = |name: &str, value: &str| variables.insert(name.into(), Some(value.into()));
        set("HOME", &home.to_string_lossy());
        set("USER", "root");
        set("LOGNAME", "root");
        set("UID", "0");
        set("EUID", "0");
        set("PS1", "# ");
        set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        if shell == Shell::Bash {
            set("BASH", &format!("/bin/{program}"));
            set("BASH_VERSION", "5");
        } else if program != "bash" {
            set("BASH", "");
            set("BASH_VERSION", "");
        }
        let length = |value: &Option<BString>| value.as_ref().map_or(0, |value| value.len());
        let lengths = variables.iter().map(|(name, value)| (name.clone(), length(value))).collect();
        let is_x86 = Architecture::of(facts.root()).is_none_or(Architecture::is_x86);
        Walk {
            facts,
            shell,
            attended: true,
            lengths,
            exported: ["PATH", "HOME", "USER", "LOGNAME"].map(BString::from).into(),
            too_long: BTreeMap::new(),
            longest: if is_x86 { 32 << 12 } else { 32 << 16 },
            home,
            variables,
            functions: HashMap::new(),
            stack: Vec::new(),
            sure: true,
            steps: STEPS,
            path_lost: None,
            errors_end: None,
            survives_exec: shell == Shell::Zsh,
            times_out: None,
            events: Vec::new(),
            untold: None,
            ended: false,
            files: BTreeMap::new(),
        }
    }

    /// For a script that the system runs as it starts, with nothing but a PATH.
    pub(super) fn unattended(facts: &'f Facts) -> Walk<'f> {
        let mut walk = Walk::new(facts, Shell::Sh, "sh".to_owned(), PathBuf::from("/"));
        walk.variables.retain(|name, _| name == "PATH");
        walk.attended = false;
        walk
    }

    pub(super) fn root(&self) -> &Root {
        self.facts.root()
    }

    /// Reads a file as the shell itself does at the start of a login.
    pub(super) fn start(&mut self, path: PathBuf) {
        if !self.ended {
            self.sure = true;
            self.read(&path, None);
        }
    }

    pub(super) fn finish(mut self) -> Profile {
        // What the last files say counts.
        self.events
            .extend([self.path_lost.take(), self.errors_end.take(), self.times_out.take()].into_iter().flatten());
        self.events.extend(self.too_long.into_values());
        Profile { shell: self.shell, events: self.events, untold: self.untold }
    }

    fn script(&mut self, path: &Path) -> Option<(Arc<SourceFile>, Arc<Script>)> {
        if let Some(known) = self.files.get(path) {
            return Some(known.clone());
        }
        let file = match self.facts.file(path) {
            Ok(Some(file)) if file.bytes.len() <= SIZE => file,
            Ok(Some(_)) => {
                self.untold.get_or_insert(tr!("{path} is larger than any start-up file", path));
                return None;
            }
            Ok(None) => return None,
            Err(Skip::Unknown(why) | Skip::NotApplicable(why)) => {
                self.untold.get_or_insert(why);
                return None;
            }
        };
        let script = Arc::new(shell::parse(&file.bytes));
        self.files.insert(path.to_owned(), (Arc::clone(&file), Arc::clone(&script)));
        Some((file, script))
    }

    /// Reads a file; `by` is the command that says so.
    fn read(&mut self, path: &Path, by: Option<(&Arc<SourceFile>, &Simple)>) {
        let Ok(path) = self.root().canonical(path) else { return };
        if let Some(begun) = self.stack.iter().position(|open| *open == path) {
            if let (Some((file, command)), true) = (by, self.sure) {
                let ring = self.stack.get(begun..).unwrap_or_default().to_vec();
                self.events.push(event(file, command, EventKind::Loop(ring)));
                self.ended = true;
            }
            return;
        }
        if self.stack.len() >= DEPTH {
            return;
        }
        let Some((file, script)) = self.script(&path) else { return };
        let sure = self.sure;
        self.stack.push(path);
        let flow = self.run(&file, &script.nodes);
        if let (Flow::Goes, Some(error)) = (flow, &script.error)
            && self.shell != Shell::Zsh
            // dash and others lack much of bash's grammar, and we may lack some of theirs.
            && (self.shell == Shell::Bash || !matches!(error.kind, ErrorKind::Unexpected(_)))
            && !self.events.iter().any(|event| event.file == file && matches!(event.kind, EventKind::Syntax(_)))
        {
            let span = sickbay_formats::span::Span {
                line: error.line,
                column: 1,
                len: file.line_text(error.line).chars().count(),
            };
            let kind = EventKind::Syntax(error.clone());
            self.events.push(Event { file, span, one_line: false, passed: None, kind });
        }
        self.stack.pop();
        // A return that may have been taken leaves only the rest of its own file open.
        self.sure = sure;
    }

    fn run(&mut self, file: &Arc<SourceFile>, nodes: &[Node]) -> Flow {
        for node in nodes {
            let Some(steps) = self.steps.checked_sub(1).filter(|_| !self.ended) else { return Flow::Ends };
            self.steps = steps;
            let flow = self.step(file, node);
            // Where it is not sure that it ends, nothing behind it is sure either.
            if flow != Flow::Goes && self.sure {
                return flow;
            }
        }
        Flow::Goes
    }

    /// Follows `nodes` if `when` holds. What is not known is followed without being sure, and leaves all behind a
    /// possible end unsure.
    fn run_when(&mut self, when: Known, file: &Arc<SourceFile>, nodes: &[Node]) -> Flow {
        match when {
            Some(true) => self.run(file, nodes),
            Some(false) => Flow::Goes,
            None => {
                let before = std::mem::replace(&mut self.sure, false);
                self.run(file, nodes);
                self.sure = before && !may_leave(nodes);
                Flow::Goes
            }
        }
    }

    fn step(&mut self, file: &Arc<SourceFile>, node: &Node) -> Flow {
        match node {
            Node::Simple(command) => self.command(file, command),
            Node::Not(node) => self.step(file, node),
            Node::Group(nodes) => self.run(file, nodes),
            Node::Subshell(_) | Node::Arithmetic => Flow::Goes,
            Node::Function(name, body) => {
                self.functions.insert(name.clone(), Arc::new(body.clone()));
                Flow::Goes
            }
            Node::AndOr(first, rest) => {
                let mut flow = self.step(file, first);
                let mut held = self.node_holds(first);
                for (and, node) in rest {
                    if flow != Flow::Goes && self.sure {
                        return flow;
                    }
                    let when = held.map(|held| held == *and);
                    flow = self.run_when(when, file, std::slice::from_ref(node));
                    if when == Some(true) {
                        held = self.node_holds(node);
                    } else if when.is_none() {
                        held = None;
                    }
                }
                flow
            }
            Node::If(branches, otherwise) => {
                let mut open = Some(true);
                for (condition, body) in branches {
                    let flow = self.run_when(open, file, condition);
                    if flow != Flow::Goes {
                        return flow;
                    }
                    let when = match (open, self.holds(condition)) {
                        (_, Some(false)) => Some(false),
                        (Some(true), held) => held,
                        _ => None,
                    };
                    let flow = self.run_when(when, file, body);
                    if when == Some(true) {
                        return flow;
                    }
                    open = open.filter(|_| when.is_some());
                }
                self.run_when(open, file, otherwise)
            }
            Node::Loop(until, condition, body, span) => {
                let held = self.holds(condition).map(|held| held != *until);
                let endless = held == Some(true) && is_constant(condition) && !leaves_loop(body);
                if endless && self.sure {
                    let passed = match condition.as_slice() {
                        [Node::Simple(command)] if command.one_line => {
                            Some((command.span, if *until { "true" } else { "false" }))
                        }
                        _ => None,
                    };
                    let (file, span) = (Arc::clone(file), *span);
                    self.events.push(Event { file, span, one_line: false, passed, kind: EventKind::Endless });
                    self.ended = true;
                    return Flow::Ends;
                }
                let when = if held == Some(false) { held } else { None };
                self.run_when(when, file, body)
            }
            Node::For(name, words, body) => self.for_each(file, name, words.as_deref(), body),
            Node::Case(word, arms) => {
                // `case $- in *i*)`: a login on a terminal is interactive.
                let interactive = self.attended && word.text == "$-";
                let value = self.expand(word);
                let mut open = Some(true);
                for (patterns, body) in arms {
                    let known = |pattern: &Word| match (&value, pattern.expands) {
                        _ if pattern.text == "*" => Some(true),
                        _ if interactive && pattern.text == "*i*" => Some(true),
                        (Some(value), false) if !pattern.text.contains(&b'[') => Some(fits(value, &pattern.text)),
                        _ => None,
                    };
                    let all: Vec<Known> = patterns.iter().map(known).collect();
                    let held = if all.contains(&Some(true)) {
                        Some(true)
                    } else {
                        all.iter().all(|one| *one == Some(false)).then_some(false)
                    };
                    let when = match (open, held) {
                        (_, Some(false)) => Some(false),
                        (Some(true), held) => held,
                        _ => None,
                    };
                    let flow = self.run_when(when, file, body);
                    if when == Some(true) {
                        return flow;
                    }
                    open = open.filter(|_| when.is_some());
                }
                Flow::Goes
            }
        }
    }

    fn for_each(&mut self, file: &Arc<SourceFile>, name: &BString, words: Option<&[Word]>, body: &[Node]) -> Flow {
        let items: Option<Vec<BString>> = words.and_then(|words| {
            words.iter().map(|word| self.items(word)).collect::<Option<Vec<_>>>().map(|all| all.concat())
        });
        let Some(items) = items.filter(|items| items.len() <= 1000) else {
            self.variables.insert(name.clone(), None);
            self.lengths.remove(name);
            return self.run_when(None, file, body);
        };
        for item in items {
            self.lengths.insert(name.clone(), item.len());
            self.variables.insert(name.clone(), Some(item));
            let flow = self.run(file, body);
            if flow == Flow::Ends || (flow == Flow::Returns && self.sure) {
                return flow;
            }
        }
        Flow::Goes
    }

    fn command(&mut self, file: &Arc<SourceFile>, command: &Simple) -> Flow {
        let words = command.words.as_slice();
        if words.is_empty() {
            for (name, value) in &command.assignments {
                self.assign(file, command, name, value);
            }
            return Flow::Goes;
        }
        let (name, words) = match words {
            [first, rest @ ..] if matches!(first.text.as_slice(), b"builtin" | b"command") && !rest.is_empty() => {
                (command.word(1), rest)
            }
            _ => (command.word(0), words),
        };
        let first = words.get(1).map(|word| word.text.as_slice()).unwrap_or_default();
        let program = base_name(name);
        if let Some(body) = self.functions.get(name).cloned() {
            // What a function does with its arguments is not followed: only that it may set things.
            let before = std::mem::replace(&mut self.sure, false);
            if self.stack.len() < DEPTH {
                self.stack.push(PathBuf::new());
                self.run(file, &body);
                self.stack.pop();
            }
            self.sure = before;
            return Flow::Goes;
        }
        match name {
            b"." | b"source" => {
                match words.get(1).map(|word| self.path(word)) {
                    Some(Some(path)) => self.read(&path, Some((file, command))),
                    // Whatever it is may set everything.
                    _ => self.forget(),
                }
                Flow::Goes
            }
            b"export" | b"declare" | b"typeset" | b"readonly" | b"local" => {
                let options = || words.iter().skip(1).filter(|word| word.text.starts_with(b"-"));
                let exports = match name {
                    b"export" => options().next().is_none(),
                    _ => options().any(|word| word.text.contains(&b'x')),
                };
                for word in words.iter().skip(1).filter(|word| !word.text.starts_with(b"-")) {
                    let name = word.text.split_once_str("=").map_or(word.text.as_slice(), |(name, _)| name);
                    if exports && self.sure {
                        self.exported.insert(name.into());
                    }
                    match word.text.split_once_str("=") {
                        Some((name, value)) => {
                            let value = Word { text: value.into(), ..word.clone() };
                            self.assign(file, command, &name.into(), &value);
                        }
                        None => self.measure(file, command, &name.into(), self.length_of(&name.into())),
                    }
                }
                Flow::Goes
            }
            b"unset" => {
                for word in words.iter().skip(1) {
                    self.assign(file, command, &word.text.clone(), &Word::default());
                }
                Flow::Goes
            }
            b"eval" => {
                self.forget();
                Flow::Goes
            }
            b"return" => Flow::Returns,
            b"exit" | b"logout" => {
                self.happens(file, command, EventKind::Ends);
                Flow::Ends
            }
            b"exec" => self.exec(file, command, words),
            b"kill" => {
                let fatal = [&b"-9"[..], b"-KILL", b"-SIGKILL", b"-HUP", b"-SIGHUP", b"-1"].contains(&first);
                let own = words.iter().skip(2).any(|word| matches!(word.text.as_slice(), b"$$" | b"-1" | b"$PPID"));
                if fatal && own {
                    self.happens(file, command, EventKind::Ends);
                }
                Flow::Goes
            }
            b"read" => {
                let timed = words.iter().skip(1).any(|word| {
                    word.text.starts_with(b"-") && (word.text.contains(&b't') || word.text.contains(&b'u'))
                });
                // What the system starts has no input that it could wait for.
                if !command.input && !timed && self.attended {
                    self.happens(file, command, EventKind::Waits);
                }
                Flow::Goes
            }
            b"shopt" => {
                let has = |wanted: &[u8]| words.iter().any(|word| word.text == wanted);
                self.survives_exec |= has(b"-s") && has(b"execfail");
                Flow::Goes
            }
            b"set" => {
                let on = words.iter().skip(1).any(|word| {
                    word.text.starts_with(b"-")
                        && !word.text.starts_with(b"--")
                        && word.text.contains(&b'e')
                        && !word.text.starts_with(b"-o")
                });
                let named = |sign: &str| {
                    words.windows(2).any(|pair| matches!(pair, [a, b] if a.text == sign && b.text == "errexit"))
                };
                let off = words.iter().skip(1).any(|word| word.text.starts_with(b"+") && word.text.contains(&b'e'));
                if on || named("-o") {
                    if self.sure {
                        self.errors_end = Some(event(file, command, EventKind::ErrorsEnd));
                    }
                } else if off || named("+o") {
                    self.errors_end = None;
                }
                Flow::Goes
            }
            _ => {
                self.program(file, command, &program, words);
                Flow::Goes
            }
        }
    }

    /// Programs that a login does not come past.
    fn program(&mut self, file: &Arc<SourceFile>, command: &Simple, program: &str, words: &[Word]) {
        let first = words.get(1).map(|word| word.text.as_slice()).unwrap_or_default();
        match program {
            "sleep" => {
                let seconds = first.to_str().ok().and_then(|text| match text.strip_suffix(['s', 'm', 'h', 'd']) {
                    None if text == "infinity" => Some(u64::MAX),
                    None => text.parse().ok(),
                    Some(number) => {
                        let unit = match text.chars().last() {
                            Some('m') => 60,
                            Some('h') => 3600,
                            Some('d') => 86_400,
                            _ => 1,
                        };
                        number.parse::<u64>().ok()?.checked_mul(unit)
                    }
                });
                if let Some(seconds) = seconds.filter(|&seconds| seconds >= PATIENCE) {
                    self.happens(file, command, EventKind::Sleeps(seconds));
                }
            }
            "reboot" | "poweroff" | "halt" => self.happens(file, command, EventKind::Down),
            // At another time it only announces what it will do.
            "shutdown"
                if !matches!(first, b"-c" | b"-k")
                    && words.iter().any(|word| matches!(word.text.as_slice(), b"now" | b"+0" | b"0")) =>
            {
                self.happens(file, command, EventKind::Down);
            }
            "init" | "telinit" if matches!(first, b"0" | b"6") => self.happens(file, command, EventKind::Down),
            "cat" if words.len() == 1 && !command.input && self.attended => {
                self.happens(file, command, EventKind::Waits);
            }
            _ if self.serves(program, words) => {
                self.happens(file, command, EventKind::Serves(program.to_owned()));
                self.ended |= self.sure;
            }
            "bash" if self.starts_again(words) => self.happens(file, command, EventKind::Shells),
            "su" if words.iter().skip(1).any(|word| matches!(word.text.as_slice(), b"-" | b"-l" | b"--login"))
                && words
                    .iter()
                    .skip(1)
                    .all(|word| matches!(word.text.as_slice(), b"-" | b"-l" | b"--login" | b"root")) =>
            {
                self.happens(file, command, EventKind::Shells);
            }
            _ => {}
        }
    }

    /// Whether a new bash reads the file that is being read.
    fn starts_again(&self, words: &[Word]) -> bool {
        let options: Vec<&[u8]> = words.iter().skip(1).map(|word| word.text.as_slice()).collect();
        let login = options.iter().any(|option| matches!(*option, b"-l" | b"--login"));
        let plain = options.iter().all(|option| matches!(*option, b"-l" | b"--login" | b"-i"));
        let reads_again = [self.home.join(".bashrc"), PathBuf::from("/etc/bash.bashrc")];
        self.shell == Shell::Bash && plain && (login || self.stack.iter().any(|open| reads_again.contains(open)))
    }

    fn exec(&mut self, file: &Arc<SourceFile>, command: &Simple, words: &[Word]) -> Flow {
        let operands: Vec<&Word> = words.iter().skip(1).skip_while(|word| word.text.starts_with(b"-")).collect();
        // With redirections alone it only changes descriptors.
        let Some(first) = operands.first().map(|first| (*first).clone()) else { return Flow::Goes };
        let name = base_name(&first.text);
        let all: Vec<Word> = operands.into_iter().cloned().collect();
        if self.serves(&name, &all) {
            self.happens(file, command, EventKind::Serves(name));
            self.ended |= self.sure;
        } else if ENDING.contains(&name.as_str()) {
            self.happens(file, command, EventKind::Ends);
        } else if name == "bash" && self.starts_again(&all) {
            self.happens(file, command, EventKind::Shells);
        } else if self.sure {
            // The shell ends with a program that is not there, too: while it reads these files it is not interactive yet
            // (bash 5.2 and dash were asked).
            if let Some(path) = self.path(&first).filter(|path| self.is_gone(path)) {
                if !self.survives_exec {
                    self.happens(file, command, EventKind::ExecGone(path));
                }
                self.ended = !self.survives_exec;
            } else {
                self.ended = true;
            }
        }
        Flow::Goes
    }

    /// Whether nothing is at an absolute path, nor can come there when file systems are mounted.
    pub(super) fn is_gone(&self, path: &Path) -> bool {
        let elsewhere = self.facts.get::<Fstab>().is_ok_and(|fstab| {
            fstab.sound().any(|entry| mount_point(entry) != Path::new("/") && path.starts_with(mount_point(entry)))
        });
        let is_lasting = !["/run", "/tmp", "/proc", "/sys", "/dev", "/snap", "/nix", "/net", "/misc"]
            .iter()
            .any(|dir| path.starts_with(dir));
        path.is_absolute() && is_lasting && !elsewhere && self.root().exists(path).is_ok_and(|there| !there)
    }

    /// Whether a program stays in the foreground for good.
    fn serves(&self, program: &str, words: &[Word]) -> bool {
        let words = words.get(1..).unwrap_or_default();
        let told = |options: &[&str]| words.iter().any(|word| options.iter().any(|option| word.text == *option));
        let is_there = |word: &Word| {
            self.path(word).is_some_and(|path| {
                path.starts_with("/dev") || path.starts_with("/proc") || self.root().exists(path).unwrap_or(false)
            })
        };
        match program {
            // Where there is no file it ends, unless it is to wait for one.
            "tail" => told(&["-F"]) || told(&["-f", "--follow"]) && words.iter().any(is_there),
            _ if program.starts_with("python") => {
                matches!(words, [first, second, ..] if first.text == "-m" && ["http.server", "SimpleHTTPServer"].iter().any(|name| second.text == *name))
            }
            _ => SERVING.iter().any(|(name, options)| program == *name && told(options)),
        }
    }

    fn happens(&mut self, file: &Arc<SourceFile>, command: &Simple, kind: EventKind) {
        if !self.sure || self.ended {
            return;
        }
        self.ended = matches!(kind, EventKind::Ends | EventKind::Down | EventKind::Shells);
        self.events.push(event(file, command, kind));
    }

    /// Everything may be set by what cannot be followed.
    fn forget(&mut self) {
        for (name, value) in &mut self.variables {
            if !matches!(name.as_slice(), b"HOME" | b"UID" | b"EUID" | b"USER") {
                *value = None;
            }
        }
        self.lengths.clear();
        self.too_long.clear();
        self.path_lost = None;
        self.errors_end = None;
    }

    fn assign(&mut self, file: &Arc<SourceFile>, command: &Simple, name: &BString, value: &Word) {
        let known = self.expand(value).filter(|_| self.sure);
        match name.as_slice() {
            b"PATH" => {
                // What is not known may hold the usual directories.
                let lost = self.sure && self.path_is_lost(value);
                self.path_lost = lost.then(|| event(file, command, EventKind::PathLost(value.text.to_string())));
            }
            b"TMOUT" => {
                let seconds = known.as_ref().and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
                let short = seconds.filter(|seconds| (1..TMOUT).contains(seconds));
                self.times_out = short.map(|seconds| event(file, command, EventKind::TimesOut(seconds)));
            }
            _ => {}
        }
        let least = self.least(value);
        // Where it is not sure that it is set it may be what it was.
        let least = if self.sure { least } else { least.min(self.length_of(name)) };
        self.lengths.insert(name.clone(), least);
        self.measure(file, command, name, least);
        self.variables.insert(name.clone(), known.filter(|value| value.len() <= self.longest));
    }

    fn length_of(&self, name: &BString) -> usize {
        self.lengths.get(name).copied().unwrap_or_default()
    }

    /// Whether the variable, with its name, a `=` and a NUL, is longer than the kernel lets anything be that a program gets
    /// (`MAX_ARG_STRLEN`, 32 pages, in include/uapi/linux/binfmts.h).
    fn measure(&mut self, file: &Arc<SourceFile>, command: &Simple, name: &BString, least: usize) {
        let is_too_long = least.saturating_add(name.len() + 2) > self.longest && self.exported.contains(name);
        if !is_too_long {
            self.too_long.remove(name);
        } else if !self.too_long.contains_key(name) {
            let kind = EventKind::TooLong(name.to_string(), least);
            self.too_long.insert(name.clone(), event(file, command, kind));
        }
    }
}

/// Programs that stay in the foreground, by what they are told, until somebody ends them.
const SERVING: [(&str, &[&str]); 9] = [
    ("journalctl", &["-f", "--follow"]),
    ("dmesg", &["-w", "-W", "--follow"]),
    ("inotifywait", &["-m", "--monitor"]),
    ("sshd", &["-D", "-d"]),
    ("nginx", &["daemon off;"]),
    ("httpd", &["-DFOREGROUND", "-DNO_DETACH"]),
    ("apache2", &["-DFOREGROUND", "-DNO_DETACH"]),
    ("crond", &["-n"]),
    ("cron", &["-f"]),
];

fn base_name(path: &[u8]) -> String {
    path.rsplit_str("/").next().unwrap_or_default().to_str_lossy().into_owned()
}

/// Whether a condition is the same every time: `true`, `:`, a test without variables.
fn is_constant(nodes: &[Node]) -> bool {
    matches!(nodes, [Node::Simple(command)] if command.words.iter().all(|word| !word.expands) && matches!(command.word(0), b"true" | b"false" | b":" | b"[" | b"test"))
}

/// Whether something in a loop may leave it.
fn leaves_loop(nodes: &[Node]) -> bool {
    any_command(nodes, &|command| {
        matches!(command.word(0), b"break" | b"return" | b"exit" | b"exec" | b"logout" | b"kill")
    })
}

/// Whether something may leave the file or the shell.
fn may_leave(nodes: &[Node]) -> bool {
    any_command(nodes, &|command| matches!(command.word(0), b"return" | b"exit" | b"exec" | b"logout"))
}

fn any_command(nodes: &[Node], is_meant: &dyn Fn(&Simple) -> bool) -> bool {
    nodes.iter().any(|node| match node {
        Node::Simple(command) => is_meant(command),
        Node::AndOr(first, rest) => {
            any_command(std::slice::from_ref(first), is_meant)
                || rest.iter().any(|(_, node)| any_command(std::slice::from_ref(node), is_meant))
        }
        Node::Not(node) => any_command(std::slice::from_ref(node), is_meant),
        Node::Group(nodes) | Node::Subshell(nodes) => any_command(nodes, is_meant),
        Node::If(branches, otherwise) => {
            any_command(otherwise, is_meant)
                || branches
                    .iter()
                    .any(|(condition, body)| any_command(condition, is_meant) || any_command(body, is_meant))
        }
        Node::Loop(_, condition, body, _) => any_command(condition, is_meant) || any_command(body, is_meant),
        Node::For(_, _, body) => any_command(body, is_meant),
        Node::Case(_, arms) => arms.iter().any(|(_, body)| any_command(body, is_meant)),
        Node::Function(..) | Node::Arithmetic => false,
    })
}
