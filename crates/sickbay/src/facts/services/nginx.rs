//! nginx: its configuration with all that it includes, read in nginx's order up to what nginx would refuse; and its processes.

mod included;
mod known;
mod mended;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use sickbay_formats::nginx::{self, Directive, Judge, Parsed};
use sickbay_formats::span::Span;

use self::included::{Named, named};
use self::known::Known;
use crate::facts::network::services::{Server, starts};
use crate::facts::services::programs::{Kind, Programs, after, titled};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::tr;

/// A directive of any of its files.
#[derive(Clone, Debug)]
pub struct Node {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The directive; what is around it in this file.
    pub directive: Directive,
    /// The names of all blocks around it, those of the file that includes it too.
    pub inside: Vec<BString>,
    /// The directive that opens the block around it, by its place in [`Nginx::nodes`].
    pub parent: Option<usize>,
}

impl Node {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        self.directive.name()
    }

    /// Its words, as far as they are in its first line.
    pub fn span(&self) -> Span {
        let whole = self.file.line_span(self.directive.line);
        let before = self.file.bytes.get(..self.directive.whole.start).unwrap_or_default();
        let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let text = self.file.bytes.get(self.directive.whole.clone()).unwrap_or_default();
        let shown = text.lines().next().unwrap_or_default().chars().count();
        let column = before.get(begin..).unwrap_or_default().chars().count() + 1;
        // Very long lines are cut where they are shown.
        if column + shown > whole.column + whole.len { whole } else { Span { column, len: shown, ..whole } }
    }

    /// `/etc/nginx/nginx.conf:3`
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.path.display(), self.directive.line)
    }

    /// Whether it stands in blocks of these names.
    pub fn is_in(&self, names: &[&str]) -> bool {
        self.inside.len() == names.len() && self.inside.iter().zip(names).all(|(is, wanted)| *is == *wanted)
    }
}

/// What nginx refuses.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The file that it names.
    pub file: Arc<SourceFile>,
    /// The line.
    pub line: usize,
    /// What it says.
    pub says: String,
    /// The file as it may have been meant, and which line is changed.
    pub mended: Option<Mended>,
    /// The innermost block that is open there: its line, and its name.
    pub open: Option<(usize, BString)>,
}

/// How a file may have been meant.
#[derive(Clone, Debug)]
pub enum Mended {
    /// A semicolon at the end of this line.
    Semicolon(usize, Vec<u8>),
    /// Another word for one that nginx does not know.
    Word(String, String, Vec<u8>),
}

/// What is known of it.
#[derive(Debug)]
pub struct Nginx {
    /// The first file.
    pub config: PathBuf,
    /// Its directives in nginx's order, up to what it refuses.
    pub nodes: Vec<Node>,
    /// What it refuses.
    pub problem: Option<Box<Problem>>,
    /// Whether all of it was read and understood.
    pub is_whole: bool,
    /// The master process, on a running system.
    pub master: Option<u32>,
    /// Its workers.
    pub workers: Vec<u32>,
    /// The unit that it runs in.
    pub unit: Option<String>,
    /// Whether it runs, or is started by a boot.
    pub counts: bool,
    /// The version that its program tells.
    pub version: Option<(u64, u64, u64)>,
}

/// Where the packages of distributions and nginx's own keep it.
const CONFIGS: [&str; 4] = [
    "/etc/nginx/nginx.conf",
    "/usr/local/nginx/conf/nginx.conf",
    "/usr/local/openresty/nginx/conf/nginx.conf",
    "/opt/nginx/conf/nginx.conf",
];

/// So many files are followed, and so deep.
const FILES: usize = 1000;
const DEPTH: usize = 16;

impl Fact for Nginx {
    fn gather(facts: &Facts) -> Result<Nginx, Skip> {
        let programs = facts.get::<Programs>()?;
        let running = || programs.of(Kind::Nginx);
        // The master is started by no other nginx.
        let master = running().find(|one| !running().any(|other| other.pid == one.parent));
        let words = master.map(|one| titled(&one.words)).unwrap_or_default();
        let given = after(&words, "-c").map(|path| path.to_path_lossy().into_owned()).filter(|path| path.is_absolute());
        let usual = || CONFIGS.iter().map(PathBuf::from).find(|path| facts.root().exists(path).unwrap_or(false));
        let Some(config) = given.or_else(usual) else {
            return Err(Skip::NotApplicable(tr!("nginx has no configuration here")));
        };
        let file = facts.required(&config)?;
        let mut reading = Reading {
            facts,
            dir: config.parent().unwrap_or(Path::new("/")).to_owned(),
            known: Known::of(facts, master.and_then(|one| one.exe.as_deref())),
            judge: Judge::default(),
            nodes: Vec::new(),
            files: 0,
            is_whole: true,
        };
        let problem = reading.file(&file, &[], None, 0).err();
        let version = reading.known.version(facts);
        let Reading { nodes, is_whole, .. } = reading;
        let pid = master.map(|one| one.pid);
        Ok(Nginx {
            config,
            nodes,
            problem: problem.filter(|_| is_whole),
            is_whole,
            workers: running().filter(|one| Some(one.parent) == pid).map(|one| one.pid).collect(),
            unit: master.and_then(|one| one.unit.clone()),
            counts: pid.is_some() || starts(facts, Server::Nginx.units()),
            master: pid,
            version,
        })
    }
}

/// Files on the way.
struct Reading<'a> {
    facts: &'a Facts,
    dir: PathBuf,
    known: Known,
    judge: Judge,
    nodes: Vec<Node>,
    files: usize,
    is_whole: bool,
}

impl Reading<'_> {
    fn file(
        &mut self,
        file: &Arc<SourceFile>,
        inside: &[BString],
        parent: Option<usize>,
        depth: usize,
    ) -> Result<(), Box<Problem>> {
        self.files += 1;
        if self.files > FILES || depth > DEPTH {
            self.is_whole = false;
            return Ok(());
        }
        let parsed = nginx::read(&file.bytes);
        self.is_whole &= !parsed.is_foreign;
        let outer: Vec<&[u8]> = inside.iter().map(|name| name.as_slice()).collect();
        // Places of this file's directives among all.
        let mut places: Vec<usize> = Vec::new();
        for directive in &parsed.directives {
            let around = directive.parent.and_then(|at| places.get(at).copied()).or(parent);
            let names: Vec<BString> = inside.iter().chain(&directive.inside).cloned().collect();
            let shown: Vec<&[u8]> = names.iter().map(|name| name.as_slice()).collect();
            let problem = |says: String, mended| {
                Box::new(Problem { file: Arc::clone(file), line: directive.end_line, says, mended, open: None })
            };
            if let Some(says) = self.judge.see(directive, &shown, around.map_or(0, |at| at + 1)) {
                let mended = mended::semicolon(&file.bytes, directive.line, directive.end_line, &outer);
                return Err(problem(says, mended));
            }
            if nginx::rules::is_judged(&shown) && self.known.lacks(self.facts, directive.name()) {
                let name = directive.name().to_str_lossy();
                let meant = directive.places.first().and_then(|place| mended::word(&file.bytes, place.clone(), &name));
                return Err(problem(format!("unknown directive \"{name}\""), meant));
            }
            let node =
                Node { file: Arc::clone(file), directive: directive.clone(), inside: names.clone(), parent: around };
            places.push(self.nodes.len());
            self.nodes.push(node);
            match (directive.name(), directive.value()) {
                (b"include", Some(value)) => self.include(file, directive, value, (&names, around, depth))?,
                (b"load_module", Some(value)) => self.known.load(self.facts, value),
                _ => {}
            }
        }
        self.end(file, parsed, inside)
    }

    fn end(&mut self, file: &Arc<SourceFile>, parsed: Parsed, inside: &[BString]) -> Result<(), Box<Problem>> {
        let Some(problem) = parsed.problem else { return Ok(()) };
        let last = parsed.directives.last().map_or(1, |directive| directive.end_line);
        let shown: Vec<&[u8]> = inside.iter().map(|name| name.as_slice()).collect();
        let mended = mended::semicolon(&file.bytes, last, problem.line, &shown);
        let open = parsed.open.last().and_then(|at| parsed.directives.get(*at));
        let open = open.map(|block| (block.line, block.words.first().cloned().unwrap_or_default()));
        Err(Box::new(Problem { file: Arc::clone(file), line: problem.line, says: problem.says, mended, open }))
    }

    fn include(
        &mut self,
        file: &Arc<SourceFile>,
        directive: &Directive,
        value: &str,
        (inside, parent, depth): (&[BString], Option<usize>, usize),
    ) -> Result<(), Box<Problem>> {
        let paths = match named(self.facts, &self.dir, value) {
            Named::Files(paths) => paths,
            Named::Unknown => {
                self.is_whole = false;
                return Ok(());
            }
        };
        for path in paths {
            match self.facts.file(&path) {
                Ok(Some(inner)) => self.file(&inner, inside, parent, depth + 1)?,
                Ok(None) => {
                    let says =
                        format!("open() \"{}\" failed (2: No such file or directory)", self.dir.join(value).display());
                    return Err(Box::new(Problem {
                        file: Arc::clone(file),
                        line: directive.end_line,
                        says,
                        mended: None,
                        open: None,
                    }));
                }
                Err(_) => self.is_whole = false,
            }
        }
        Ok(())
    }
}

impl Nginx {
    /// The last directive of this name in blocks of these names.
    pub fn last(&self, inside: &[&str], name: &str) -> Option<&Node> {
        self.nodes.iter().rfind(|node| node.name() == name.as_bytes() && node.is_in(inside))
    }

    /// Its directives of this name, wherever.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (usize, &'a Node)> {
        self.nodes.iter().enumerate().filter(move |(_, node)| node.name() == name.as_bytes())
    }

    /// What stands right in the block that a directive opens.
    pub fn within(&self, block: usize) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.parent == Some(block))
    }

    /// What holds for a directive: the nearest of this name in its own block or in one around it.
    pub fn holding(&self, at: usize, name: &str) -> Vec<&Node> {
        let mut block = self.nodes.get(at).and_then(|node| node.parent);
        loop {
            let own = self.nodes.iter().filter(|node| node.parent == block && node.name() == name.as_bytes());
            let own: Vec<&Node> = own.collect();
            match block {
                _ if !own.is_empty() => return own,
                None => return own,
                Some(around) => block = self.nodes.get(around).and_then(|node| node.parent),
            }
        }
    }

    /// Whether requests are passed on over TCP.
    pub fn is_proxy(&self) -> bool {
        let passes = ["proxy_pass", "fastcgi_pass", "uwsgi_pass", "grpc_pass", "scgi_pass"];
        self.nodes.iter().any(|node| {
            passes.iter().any(|name| node.name() == name.as_bytes())
                && !node.directive.value().is_some_and(|value| value.starts_with("unix:") || value.contains("://unix:"))
        })
    }
}
