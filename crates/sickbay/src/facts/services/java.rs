//! Java virtual machines: those that run, and those that units start; which options they have, and which JDK it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use sickbay_formats::jvm::{Options, major};
use sickbay_formats::span::Span;

use crate::facts::services::programs::{Kind, Program, Programs};
use crate::facts::system::units::{State, Units};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// One that runs.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The process.
    pub program: Program,
    /// Its options, those of `JAVA_TOOL_OPTIONS` first.
    pub options: Options,
    /// How many threads it has.
    pub threads: Option<u64>,
}

/// One that a unit starts.
#[derive(Clone, Debug)]
pub struct Started {
    /// The unit.
    pub unit: String,
    /// The line of `ExecStart` or `Environment`.
    pub at: (Arc<SourceFile>, Span),
    /// The options there.
    pub options: Options,
    /// The version of the JDK that it is started with.
    pub major: Option<u64>,
    /// Where that is.
    pub home: Option<PathBuf>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Java {
    /// Those that run, in containers too.
    pub running: Vec<Machine>,
    /// Those that units of a boot start.
    pub started: Vec<Started>,
}

/// Variables that every virtual machine reads, from the version on.
const VARIABLES: [(&str, u64); 2] = [("JAVA_TOOL_OPTIONS", 5), ("JDK_JAVA_OPTIONS", 9)];

/// An environment, and a file of arguments, have so many bytes at most.
const BYTES: u64 = 1 << 20;

impl Fact for Java {
    fn gather(facts: &Facts) -> Result<Java, Skip> {
        let programs = facts.get::<Programs>()?;
        let running = programs.list.iter().filter(|one| one.kind == Kind::Java).map(|one| machine(facts, one));
        Ok(Java { running: running.collect(), started: started(facts) })
    }
}

fn machine(facts: &Facts, program: &Program) -> Machine {
    let read = |name: &str| facts.root().read_up_to(format!("/proc/{}/{name}", program.pid), BYTES).unwrap_or_default();
    let mut words: Vec<BString> = Vec::new();
    for variable in read("environ").split(|byte| *byte == 0) {
        let value = VARIABLES.iter().find_map(|(name, _)| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        words.extend(value.into_iter().flat_map(split).map(BString::from));
    }
    for word in program.words.iter().skip(1) {
        match word.strip_prefix(b"@").filter(|_| !program.is_contained) {
            Some(path) => words.extend(arguments(facts, program.cwd.as_deref(), path)),
            None => words.push(word.clone()),
        }
    }
    let status = read("status");
    let threads =
        status.lines().find_map(|line| line.strip_prefix(b"Threads:")?.trim_ascii().to_str().ok()?.parse().ok());
    Machine { program: program.clone(), options: Options::read(words.iter().map(|word| word.as_bstr())), threads }
}

/// The words of an @argfile.
fn arguments(facts: &Facts, cwd: Option<&Path>, path: &[u8]) -> Vec<BString> {
    let path = cwd.unwrap_or(Path::new("/")).join(path.to_path_lossy());
    let text = facts.root().read_up_to(path, BYTES).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    lines.flat_map(|line| split(line).map(|word| BString::from(word.trim_with(|c| c == '"' || c == '\'')))).collect()
}

fn started(facts: &Facts) -> Vec<Started> {
    let Ok(units) = facts.get::<Units>() else { return Vec::new() };
    let mut all = Vec::new();
    for (name, unit) in
        units.all.iter().filter(|(name, unit)| name.ends_with(".service") && unit.state == State::Loaded)
    {
        let Some((file, line)) = unit.last("Service", "ExecStart") else { continue };
        let mut words = split(&line.value);
        let Some(program) = words.next().map(|word| word.trim_start_with(|c| "-@:+!".contains(c))) else { continue };
        if program.rsplit(|byte| *byte == b'/').next() != Some(&b"java"[..]) {
            continue;
        }
        let home = home(facts, &program.to_path_lossy());
        let major = home.as_ref().and_then(|home| major(&facts.root().read_up_to(home.join("release"), BYTES).ok()?));
        let plain = |word: &[u8]| BString::from(word.trim_with(|c| c == '"' || c == '\''));
        let own: Vec<BString> = words.map(plain).collect();
        let mut take = |file: &Arc<SourceFile>, span: Span, words: &[BString]| {
            all.push(Started {
                unit: name.clone(),
                at: (Arc::clone(file), span),
                options: Options::read(words.iter().map(|word| BStr::new(word.as_slice()))),
                major,
                home: home.clone(),
            });
        };
        take(file, line.span, &own);
        for (file, line) in &unit.settings {
            let text = line.value.trim_with(|c| c == '"' || c == '\'');
            let value = VARIABLES.iter().filter(|(_, from)| major.is_some_and(|major| major >= *from));
            let value = value.filter_map(|(name, _)| text.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next();
            if let Some(value) = value.filter(|_| line.key == "Environment") {
                let words: Vec<BString> = split(value).map(plain).collect();
                take(file, line.span, &words);
            }
        }
    }
    all
}

/// The directory of a JDK: where `release` is, beside `bin` or above `jre`.
fn home(facts: &Facts, program: &Path) -> Option<PathBuf> {
    let real = facts.root().canonical(program).ok()?;
    let bin = real.parent()?;
    let candidates = [bin.parent(), bin.parent().and_then(Path::parent)];
    candidates
        .into_iter()
        .flatten()
        .find(|dir| facts.root().exists(dir.join("release")).unwrap_or(false))
        .map(Path::to_owned)
}

/// Words between blanks.
fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}
