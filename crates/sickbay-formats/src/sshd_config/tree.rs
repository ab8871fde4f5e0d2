//! What a file and those that it includes come to.
//!
//! sshd reads them twice: once when it starts, where Match blocks other than `Match all` are only judged, and once for
//! each connection, where only the blocks that match count and override what was said before.

use std::collections::BTreeMap;

use bstr::BString;

use super::matching::{self, Connection, Criteria, Criterion};
use super::{Directive, Fault, Reader, Version};

/// How deep files may include each other (SERVCONF_MAX_DEPTH).
const DEPTH: usize = 16;
/// How many lines are looked at in all: files that include each other many times come to an end.
const LIMIT: usize = 100_000;

/// A file with what its Include lines stand for.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Its directives.
    pub directives: Vec<Directive>,
    /// The line of an Include and the numbers of the sources that it stands for, in order.
    pub includes: BTreeMap<usize, Vec<usize>>,
}

/// All files; the first is the one that sshd opens.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The files, which name each other by number.
    pub sources: Vec<Source>,
}

/// A line that counts: the number of its source, and the directive.
pub type Setting<'a> = (usize, &'a Directive);

/// What counts, by the canonical name of the keyword in lower case. Keywords that are not cumulative have one line.
#[derive(Clone, Debug, Default)]
pub struct Effective<'a> {
    settings: BTreeMap<String, Vec<Setting<'a>>>,
}

impl<'a> Effective<'a> {
    /// The lines that set a keyword, in order; none where the default holds.
    pub fn all(&self, name: &str) -> &[Setting<'a>] {
        self.settings.get(&name.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default()
    }

    /// The line that sets a keyword.
    pub fn setting(&self, name: &str) -> Option<Setting<'a>> {
        self.all(name).first().copied()
    }

    /// Its first word in lower case; `default` when no line sets it.
    pub fn value(&self, name: &str, default: &str) -> String {
        match self.setting(name) {
            Some((_, directive)) => String::from_utf8_lossy(directive.arg(0)).to_ascii_lowercase(),
            None => default.to_owned(),
        }
    }

    /// Every word of every line.
    pub fn words(&self, name: &str) -> Vec<BString> {
        let lines = self.all(name).iter();
        lines.flat_map(|(_, directive)| directive.args.iter().map(|word| word.text.clone())).collect()
    }

    /// The seconds that a keyword is set to.
    pub fn seconds(&self, name: &str) -> Option<u64> {
        super::values::seconds(self.setting(name)?.1.arg(0))
    }

    /// The three numbers of MaxStartups: where refusals begin, at what rate in per cent, and where all are refused.
    pub fn startups(&self) -> Option<(i32, i32, i32)> {
        super::values::startups(self.setting("MaxStartups")?.1.arg(0))
    }
}

/// The flag that switches an authentication method on, and its default.
const METHODS: &[(&str, &str, &str)] = &[
    ("publickey", "PubkeyAuthentication", "yes"),
    ("password", "PasswordAuthentication", "yes"),
    ("keyboard-interactive", "KbdInteractiveAuthentication", "yes"),
    ("hostbased", "HostbasedAuthentication", "no"),
    ("gssapi-with-mic", "GSSAPIAuthentication", "no"),
    ("gssapi-keyex", "GSSAPIKeyExchange", "no"),
];

impl Effective<'_> {
    /// Whether a method (`password`) is switched on.
    pub fn is_enabled(&self, method: &str) -> bool {
        METHODS
            .iter()
            .find(|(name, _, _)| *name == method)
            .is_some_and(|(_, flag, default)| self.value(flag, default) == "yes")
    }

    /// The lists of methods of which one must succeed as a whole, without those that name a method that is switched off;
    /// `None` where any method will do.
    pub fn method_lists(&self) -> Option<Vec<Vec<String>>> {
        let lists = self.words("AuthenticationMethods");
        if lists.is_empty() || lists.iter().any(|list| list == "any") {
            return None;
        }
        let names = |list: &BString| -> Vec<String> {
            let methods = list.split(|&byte| byte == b',');
            let names = methods.map(|method| method.split(|&byte| byte == b':').next().unwrap_or_default());
            names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        };
        Some(lists.iter().map(names).filter(|list| list.iter().all(|method| self.is_enabled(method))).collect())
    }
}

/// Where the walk is when it comes to a directive.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Lines count.
    active: bool,
    /// No Match line was passed yet.
    global: bool,
}

/// Which of the two readings it is.
enum Pass<'c> {
    Start,
    Connection(&'c Connection),
}

impl Tree {
    /// Every fault that keeps sshd from starting, in the order in which it reads the lines.
    pub fn faults<'a>(&'a self, reader: &Reader<'_>) -> Vec<(usize, &'a Directive, Fault)> {
        let mut all: Vec<(usize, &Directive, Fault)> = Vec::new();
        let mut subsystems: Vec<&[u8]> = Vec::new();
        self.walk(&Pass::Start, reader, &mut |source, directive, state| {
            let known = all.iter().any(|(other, found, _)| *other == source && found.line == directive.line);
            let mut fault = directive.fault(reader, !state.active);
            if fault.is_none() && state.active && directive.is("Subsystem") {
                let name = directive.arg(0);
                // Later releases take the first one.
                if subsystems.contains(&name) && reader.version.is_some_and(|version| version < Version(9, 5)) {
                    fault = Some(Fault::Twice);
                }
                subsystems.push(name);
            }
            if fault.is_none() && directive.is("Include") && self.includes_itself(source, directive.line) {
                fault = Some(Fault::Loop);
            }
            if let Some(fault) = fault.filter(|_| !known) {
                all.push((source, directive, fault));
            }
        });
        all
    }

    /// Whether the Include on `line` leads back to its own file: sshd gives up after 16 files.
    fn includes_itself(&self, source: usize, line: usize) -> bool {
        let of = |number: usize| self.sources.get(number).map(|source| &source.includes);
        let mut open: Vec<usize> = of(source).and_then(|includes| includes.get(&line)).cloned().unwrap_or_default();
        let mut seen = vec![false; self.sources.len()];
        while let Some(number) = open.pop() {
            if number == source {
                return true;
            }
            if let Some(seen) = seen.get_mut(number).filter(|seen| !**seen) {
                *seen = true;
                open.extend(of(number).into_iter().flat_map(|includes| includes.values().flatten()));
            }
        }
        false
    }

    /// What counts for one connection.
    pub fn effective<'a>(&'a self, reader: &Reader<'_>, connection: &Connection) -> Effective<'a> {
        let mut effective = self.at_start(reader);
        for (name, lines) in self.read(&Pass::Connection(connection), reader).settings {
            effective.settings.insert(name, lines);
        }
        effective
    }

    /// What counts before anybody connects.
    pub fn at_start<'a>(&'a self, reader: &Reader<'_>) -> Effective<'a> {
        self.read(&Pass::Start, reader)
    }

    /// The Match lines whose criteria ask where a connection comes from.
    pub fn origins<'a>(&'a self, reader: &Reader<'_>) -> Vec<Setting<'a>> {
        let mut all: Vec<Setting<'a>> = Vec::new();
        self.walk(&Pass::Start, reader, &mut |source, directive, _| {
            if let (true, Criteria::Good(criteria)) =
                (directive.is("Match"), matching::criteria(directive, reader.version))
                && matching::depends_on_origin(&criteria)
                && !all.iter().any(|(other, found)| *other == source && found.line == directive.line)
            {
                all.push((source, directive));
            }
        });
        all
    }

    fn read<'a>(&'a self, pass: &Pass<'_>, reader: &Reader<'_>) -> Effective<'a> {
        let mut effective = Effective::default();
        self.walk(pass, reader, &mut |source, directive, state| {
            let Some(keyword) = directive.known() else { return };
            let allowed = matches!(pass, Pass::Start) || keyword.is_allowed_in_match(reader.version);
            if !state.active || !allowed || directive.args.is_empty() || keyword.is_ignored(reader.version) {
                return;
            }
            let lines = effective.settings.entry(keyword.canonical().to_ascii_lowercase()).or_default();
            if lines.is_empty() || keyword.is_cumulative() {
                lines.push((source, directive));
            }
        });
        effective
    }

    fn walk<'a>(&'a self, pass: &Pass<'_>, reader: &Reader<'_>, visit: &mut dyn FnMut(usize, &'a Directive, State)) {
        let starts = matches!(pass, Pass::Start);
        let mut state = State { active: starts, global: true };
        let mut left = LIMIT;
        self.walk_source(0, pass, reader, &mut state, false, 0, &mut left, visit);
    }

    #[allow(clippy::too_many_arguments)] // the state of one recursive reading
    fn walk_source<'a>(
        &'a self,
        number: usize,
        pass: &Pass<'_>,
        reader: &Reader<'_>,
        state: &mut State,
        never: bool,
        depth: usize,
        left: &mut usize,
        visit: &mut dyn FnMut(usize, &'a Directive, State),
    ) {
        let Some(source) = self.sources.get(number).filter(|_| depth <= DEPTH) else { return };
        for directive in &source.directives {
            let Some(rest) = left.checked_sub(1) else { return };
            *left = rest;
            visit(number, directive, *state);
            if directive.is("Match") {
                state.active = !never && is_met(number, directive, pass, reader);
                state.global = false;
            } else if directive.is("Include") {
                // A Match block ends with the file that it began in.
                let outside = *state;
                let never = !outside.global && !outside.active;
                for &included in source.includes.get(&directive.line).into_iter().flatten() {
                    *state = outside;
                    self.walk_source(included, pass, reader, state, never, depth + 1, left, visit);
                }
                *state = outside;
            }
        }
    }
}

fn is_met(source: usize, directive: &Directive, pass: &Pass<'_>, reader: &Reader<'_>) -> bool {
    let Criteria::Good(criteria) = matching::criteria(directive, reader.version) else { return false };
    match pass {
        Pass::Start => criteria.contains(&Criterion::All),
        Pass::Connection(connection) => {
            let assumed = connection.assumed == Some((source, directive.line));
            matching::are_met(&criteria, connection, assumed)
        }
    }
}
