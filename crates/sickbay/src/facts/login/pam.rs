//! The rules that libpam goes by for a service, file by file as it reads them (libpam/pam_handlers.c).

pub mod defaults;
pub mod judge;
pub mod limits;
pub mod lists;
pub mod modules;
pub mod path;
pub mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use sickbay_formats::pam::{self, Action, Control, Fault, Kind, Layout, Rule};
use sickbay_formats::span::Span;

use crate::facts::login::sshd::Sshd;
use crate::facts::packages::libraries::{Body, Libraries};
use crate::facts::packages::programs::{Programs, Role};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::spelling::nearest;
use crate::tr;

/// Where the files of services are, strongest first. The last one is where SUSE keeps what it ships.
pub const DIRS: [&str; 3] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d"];

/// How deep files may include each other (`PAM_SUBSTACK_MAX_LEVEL`).
const DEPTH: usize = 16;

/// How often files are read for one service. Real ones are read some twenty times; a ring of includes is without end.
const READS: usize = 1000;

/// Bytes that a PAM file may have. Real ones have a few thousand.
const SIZE: usize = 1 << 18;

/// A rule in the place where libpam comes to it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file that it is written in.
    pub file: Arc<SourceFile>,
    /// As it is written.
    pub rule: Rule,
    /// How many substacks it is in.
    pub level: usize,
    /// What libpam makes of it.
    pub call: Call,
}

/// What libpam makes of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A module is asked.
    Module {
        /// As the rule names it.
        name: BString,
        /// What it gets.
        args: Vec<BString>,
    },
    /// The rule is wrong: whatever is asked, the answer is no.
    Fail,
    /// Here a substack begins.
    Substack,
}

impl Entry {
    /// What is done after each answer.
    pub fn actions(&self) -> Box<[Action; 32]> {
        match &self.rule.control {
            Control::Actions(actions) => actions.clone(),
            _ => Box::new([Action::Bad; 32]),
        }
    }
}

/// Why files are not as libpam needs them.
#[derive(Clone, Debug)]
pub struct Gap {
    /// What there is instead.
    pub what: What,
    /// Where the file is, or is expected.
    pub path: PathBuf,
    /// The rule that includes it; `None` for the service's own file.
    pub by: Option<(Arc<SourceFile>, Span)>,
}

/// What there is in place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing.
    Missing,
    /// A file without a character, or with nothing but blanks or NUL bytes.
    Empty,
    /// Files include each other without end.
    Ring,
}

/// A service: a name that a program gives to libpam.
#[derive(Clone, Debug)]
pub struct Service {
    /// `login`
    pub name: String,
    /// The stage that its refusal stops; `None` for services that are not on root's way.
    pub stage: Option<Stage>,
    own: [Vec<Entry>; 4],
    other: [Vec<Entry>; 4],
    files: Vec<Arc<SourceFile>>,
    /// Files that are missing or empty.
    pub gaps: Vec<Gap>,
    /// Whether libpam does not even begin: its files cannot be read to their ends.
    pub fatal: bool,
}

impl Service {
    /// The rules of a kind: the service's own, or those of `other` where it has none.
    pub fn stack(&self, kind: Kind) -> &[Entry] {
        let index = kind as usize;
        match self.own.get(index) {
            Some(own) if !own.is_empty() => own,
            _ => self.other.get(index).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    /// The files that libpam reads for it, each once.
    pub fn files(&self) -> impl Iterator<Item = &Arc<SourceFile>> {
        self.files.iter()
    }

    /// All rules, kind by kind.
    pub fn entries(&self) -> impl Iterator<Item = (Kind, &Entry)> {
        Kind::ALL.into_iter().flat_map(|kind| self.stack(kind).iter().map(move |entry| (kind, entry)))
    }
}

/// How rules are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// As libpam does.
    Strictly,
    /// As they were meant: misspelt words are read as the words that they are nearest to, other wrong rules are left out,
    /// carriage returns are not seen. What is found then is no consequence of a wrong rule.
    AsMeant,
}

/// Where files come from: the target, or what it will be after a repair.
pub type Source<'a> = dyn Fn(&Path) -> Result<Option<Arc<SourceFile>>, Skip> + 'a;

struct Reader<'a> {
    source: &'a Source<'a>,
    debian: bool,
    taking: Taking,
    gaps: Vec<Gap>,
    files: Vec<Arc<SourceFile>>,
    reads: usize,
    stacks: [Vec<Entry>; 4],
}

/// Reads the rules of `name`.
pub fn read(
    source: &Source<'_>,
    debian: bool,
    name: &str,
    stage: Option<Stage>,
    taking: Taking,
) -> Result<Service, Skip> {
    let mut reader =
        Reader { source, debian, taking, gaps: Vec::new(), files: Vec::new(), reads: 0, stacks: Default::default() };
    let path = reader.path_of(name)?;
    let file = (reader.source)(&path)?;
    let has_file = file.is_some();
    let mut fatal = false;
    match file {
        Some(file) => {
            if is_empty(&file.bytes) {
                reader.gaps.push(Gap { what: What::Empty, path, by: None });
            }
            fatal |= !reader.file(&file, None, 0, 0)?;
        }
        None => reader.gaps.push(Gap { what: What::Missing, path, by: None }),
    }
    let own = std::mem::take(&mut reader.stacks);
    let path = reader.path_of("other")?;
    let has_other = match (reader.source)(&path)? {
        Some(file) => {
            fatal |= !reader.file(&file, None, 0, 0)?;
            true
        }
        None => false,
    };
    let other = std::mem::take(&mut reader.stacks);
    // `include` reads a file once for each kind.
    let mut gaps: Vec<Gap> = Vec::new();
    for gap in reader.gaps {
        if !gaps.iter().any(|known| known.path == gap.path && known.what == gap.what) {
            gaps.push(gap);
        }
    }
    fatal |= !has_file && !has_other;
    Ok(Service { name: name.to_owned(), stage, own, other, files: reader.files, gaps, fatal })
}

/// So many wrong lines are no typing errors: the file is another one, or damaged.
pub fn is_damaged(file: &SourceFile) -> bool {
    const MANY: usize = 8;
    let wrong = |rule: &Rule| rule.faults.iter().any(|fault| *fault != Fault::CarriageReturn);
    pam::rules(&file.bytes, pam::Layout::Service).iter().filter(|rule| wrong(rule)).count() > MANY
}

/// The word that was meant in the place of the first that is misspelt, and the rule's source with it.
pub fn respelt(text: &[u8], rule: &Rule) -> Option<(&'static str, Vec<u8>)> {
    const KINDS: [&str; 5] = ["auth", "account", "password", "session", "@include"];
    const CONTROLS: [&str; 6] = ["required", "requisite", "sufficient", "optional", "include", "substack"];
    let (word, known) = rule.faults.iter().find_map(|fault| match fault {
        Fault::Kind(word) => Some((word, &KINDS[..])),
        Fault::Control(word) => Some((word, &CONTROLS[..])),
        _ => None,
    })?;
    let wrong = word.text.strip_prefix(b"-").unwrap_or(&word.text);
    let meant = nearest(&wrong.to_str_lossy().to_ascii_lowercase(), known.iter().copied(), 2)?;
    Some((meant, pam::source(text, rule).replacen(wrong, meant, 1)))
}

/// The rule with all misspelt words put right; `None` when it has none.
fn as_meant(text: &[u8], rule: &Rule) -> Option<Rule> {
    let mut line = respelt(text, rule)?.1;
    loop {
        let meant = pam::rules(&line, Layout::Service).into_iter().next()?;
        match respelt(&line, &meant) {
            Some((_, next)) if next != line => line = next,
            _ => return Some(Rule { span: rule.span, lines: rule.lines.clone(), ..meant }),
        }
    }
}

fn is_empty(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0)
}

impl Reader<'_> {
    /// The file for a name: the first that is there, else where it would be looked for first.
    fn path_of(&self, name: &str) -> Result<PathBuf, Skip> {
        if name.starts_with('/') {
            return Ok(PathBuf::from(name));
        }
        for dir in DIRS {
            let path = Path::new(dir).join(name);
            if (self.source)(&path)?.is_some() {
                return Ok(path);
            }
        }
        Ok(Path::new(DIRS[0]).join(name))
    }

    /// Takes the rules of a file; only those of `wanted`, if a kind is wanted. Says whether libpam reads it to its end.
    fn file(&mut self, file: &Arc<SourceFile>, wanted: Option<Kind>, level: usize, depth: usize) -> Result<bool, Skip> {
        if file.bytes.len() > SIZE {
            return Err(Skip::Unknown(tr!("{path} is too large for a PAM file", path = file.path.as_path())));
        }
        if !self.files.iter().any(|known| known.path == file.path) {
            self.files.push(Arc::clone(file));
        }
        let mut whole = true;
        for mut rule in pam::rules(&file.bytes, Layout::Service) {
            if self.taking == Taking::AsMeant {
                // Rules jump over each other: one that is left out changes what comes of the others.
                if let Some(meant) = as_meant(&file.bytes, &rule) {
                    rule = meant;
                }
                let wrong = |fault: &Fault| !matches!(fault, Fault::CarriageReturn);
                let blank = rule.module.is_none() && !rule.faults.is_empty();
                if blank || rule.faults.iter().any(wrong) {
                    continue;
                }
                rule.faults.clear();
            }
            let all = rule.control == Control::IncludeAll;
            if all && self.debian {
                // libpam stops here; what else is missing is looked for all the same.
                whole &= self.include(file, rule, wanted, level, depth)?;
                continue;
            }
            // What is no kind counts as the kind that is read, else as auth, and fails.
            let kind = rule.kind.or(wanted).unwrap_or(Kind::Auth);
            if wanted.is_some_and(|wanted| wanted != kind) {
                continue;
            }
            if matches!(rule.control, Control::Include | Control::Substack) && rule.kind.is_some() {
                let substack = rule.control == Control::Substack;
                let entry = |call| Entry { file: Arc::clone(file), rule: rule.clone(), level, call };
                if substack {
                    self.push(kind, entry(Call::Substack));
                }
                let failed = entry(Call::Fail);
                if !self.include(file, rule, Some(kind), level + usize::from(substack), depth)? {
                    self.push(kind, failed);
                }
                continue;
            }
            let carriage_return = rule.faults.contains(&Fault::CarriageReturn);
            let call = match &rule.module {
                Some(module) if rule.kind.is_some() && !all => {
                    let mut name = module.text.clone();
                    let mut args = rule.args.clone();
                    if carriage_return {
                        args.last_mut().unwrap_or(&mut name).push(b'\r');
                    }
                    Call::Module { name, args }
                }
                _ => Call::Fail,
            };
            self.push(kind, Entry { file: Arc::clone(file), rule, level, call });
        }
        Ok(whole)
    }

    fn push(&mut self, kind: Kind, entry: Entry) {
        if let Some(stack) = self.stacks.get_mut(kind as usize) {
            stack.push(entry);
        }
    }

    /// Reads the file that `rule` includes; says whether libpam could.
    fn include(
        &mut self,
        file: &Arc<SourceFile>,
        rule: Rule,
        wanted: Option<Kind>,
        level: usize,
        depth: usize,
    ) -> Result<bool, Skip> {
        // As meant, what is missing is passed over.
        let failed = Ok(self.taking == Taking::AsMeant);
        let Some(module) = &rule.module else { return failed };
        let mut name = module.text.to_str_lossy().into_owned();
        if rule.faults.contains(&Fault::CarriageReturn) && rule.args.is_empty() {
            name.push('\r');
        }
        let path = self.path_of(&name)?;
        let by = Some((Arc::clone(file), module.span));
        self.reads += 1;
        if depth + 1 >= DEPTH || self.reads > READS {
            // When there were too many reads, it is a file before this one that goes in a ring.
            if self.reads <= READS || !self.gaps.iter().any(|gap| gap.what == What::Ring) {
                self.gaps.push(Gap { what: What::Ring, path, by });
            }
            return failed;
        }
        let Some(included) = (self.source)(&path)? else {
            // That the name ends in a carriage return is the fault.
            if !name.ends_with('\r') {
                self.gaps.push(Gap { what: What::Missing, path, by });
            }
            return failed;
        };
        if is_empty(&included.bytes) {
            self.gaps.push(Gap { what: What::Empty, path, by });
        }
        self.file(&included, wanted, level, depth + 1)
    }
}

/// Whether a module is asked when a session of one of these services begins.
pub fn modules_of(facts: &Facts, services: &[&str], module: &str) -> Result<bool, Skip> {
    let pam = match facts.get::<Pam>() {
        Err(Skip::NotApplicable(_)) => return Ok(false),
        pam => pam?,
    };
    let is_it = |entry: &Entry| match &entry.call {
        Call::Module { name, .. } => name.ends_with(module.as_bytes()),
        Call::Fail | Call::Substack => false,
    };
    let mut known = pam.services.iter().filter(|service| services.contains(&service.name.as_str()));
    Ok(known.any(|service| service.stack(Kind::Session).iter().any(is_it)))
}

/// The services on the way to a shell.
#[derive(Debug)]
pub struct Pam {
    /// `login` and `sshd`, as far as they use PAM, then `su` and `sudo`, as far as they have files.
    pub services: Vec<Service>,
    /// Whether libpam is Debian's, which knows `@include`.
    pub debian: bool,
}

/// Services besides those of root's ways in.
const MORE: [&str; 4] = ["su", "su-l", "sudo", "sudo-i"];

impl Fact for Pam {
    fn gather(facts: &Facts) -> Result<Pam, Skip> {
        let there = |path: &str| facts.root().exists(path);
        let mut dirs = false;
        for dir in DIRS {
            dirs |= there(dir)?;
        }
        let debian = there("/etc/debian_version")? || there("/var/lib/dpkg/status")?;
        let source = |path: &Path| facts.file(path);
        let mut services = Vec::new();
        if uses_pam(facts, Role::Login, dirs)? {
            services.push(read(&source, debian, "login", Some(Stage::PamLogin), Taking::Strictly)?);
        }
        if uses_pam(facts, Role::Sshd, dirs)? && sshd_asks(facts)? {
            services.push(read(&source, debian, "sshd", Some(Stage::PamSshd), Taking::Strictly)?);
        }
        for name in MORE {
            let known = facts.file(Path::new(DIRS[0]).join(name))?.is_some()
                || (name == "su" && uses_pam(facts, Role::Su, false)?);
            if known && !services.is_empty() {
                services.push(read(&source, debian, name, None, Taking::Strictly)?);
            }
        }
        if services.is_empty() {
            return Err(Skip::NotApplicable(tr!("neither login nor sshd uses PAM")));
        }
        Ok(Pam { services, debian })
    }
}

impl Pam {
    /// login and sshd.
    pub fn ways_in(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.stage.is_some())
    }
}

/// Whether the program of this role is linked with libpam. Where it is something else than a program, that there are PAM
/// files tells.
fn uses_pam(facts: &Facts, role: Role, dirs: bool) -> Result<bool, Skip> {
    // A report of a support tool holds no programs: their rules would not be there if nobody asked for them.
    if facts.target().report().is_ok() {
        let name = match role {
            Role::Login => "login",
            Role::Sshd => "sshd",
            _ => return Ok(false),
        };
        return Ok(facts.root().exists(Path::new(DIRS[0]).join(name))?);
    }
    let programs = facts.get::<Programs>()?;
    let libraries = facts.get::<Libraries>()?;
    let mut of_role = programs.all.iter().filter(|program| program.role == role).peekable();
    if of_role.peek().is_none() {
        return Ok(false);
    }
    let mut plain = true;
    for program in of_role {
        match &*libraries.look(facts.root(), &program.path) {
            Body::Elf(elf) if elf.needed.iter().any(|name| name.starts_with(b"libpam.so")) => return Ok(true),
            Body::Elf(_) => {}
            _ => plain = false,
        }
    }
    Ok(!plain && dirs)
}

/// Whether sshd_config says `UsePAM yes`; there is none built in.
fn sshd_asks(facts: &Facts) -> Result<bool, Skip> {
    let sshd = match facts.get::<Sshd>() {
        Err(Skip::NotApplicable(_)) => return Ok(true),
        sshd => sshd?,
    };
    // Without a configuration sshd does not start, which is for its own check to say.
    Ok(sshd.files.is_empty() || sshd.tree.at_start(&sshd.reader()).value("UsePAM", "no").eq_ignore_ascii_case("yes"))
}
