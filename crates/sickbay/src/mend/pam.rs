//! What may be written into a PAM file: nothing that lets somebody in with a wrong password, and nothing that shuts out
//! who was let in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_formats::lines::with_words;
use sickbay_formats::pam::{self, Kind, Layout};

use crate::facts::Facts;
use crate::facts::login::pam::judge::{Attempt, Judgement, Refusal, User, judge, judge_kinds};
use crate::facts::login::pam::{Entry, Gap, Pam, Service, Taking, What, defaults, read};
use crate::facts::packages::Packages;
use crate::mend::restore::restore;
use crate::model::outcome::Skip;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::spelling::nearest;
use crate::tr;

/// What a new content of a file would do.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// A wrong password would be let in, or it could no longer be told that it is not.
    pub opens: bool,
    /// Who was let in would be no longer.
    pub shuts: bool,
    /// Services that let root in only then.
    pub mends: Vec<String>,
}

impl Effect {
    /// Whether it may be offered.
    pub fn is_harmless(&self) -> bool {
        !self.opens && !self.shuts
    }
}

/// What `text` at `path` would do to the ways in.
pub fn effect(facts: &Facts, pam: &Pam, path: &Path, text: &[u8]) -> Result<Effect, Skip> {
    effect_of_all(facts, pam, &[(path, text)])
}

/// What texts at several paths would do together.
pub fn effect_of_all(facts: &Facts, pam: &Pam, texts: &[(&Path, &[u8])]) -> Result<Effect, Skip> {
    let root = User::named(facts, "root")?;
    let files: Vec<Arc<SourceFile>> = texts
        .iter()
        .map(|(path, text)| Arc::new(SourceFile { path: (*path).to_owned(), bytes: (*text).to_owned() }))
        .collect();
    let source = |wanted: &Path| match files.iter().find(|file| file.path == wanted) {
        Some(file) => Ok(Some(Arc::clone(file))),
        None => facts.file(wanted),
    };
    let mut effect = Effect::default();
    for before in &pam.services {
        let way_in = before.stage.is_some();
        let after = read(&source, pam.debian, &before.name, before.stage, Taking::Strictly)?;
        // With the modules that are there, and with those that will be when all is mended.
        for real_modules in [false, true] {
            let right = Attempt { real_modules, ..Attempt::right(&root) };
            let is_in = |service: &Service| judge(facts, service, right);
            match (is_in(before)?, is_in(&after)?) {
                (Judgement::LetsIn, Judgement::Refuses(_)) if way_in => effect.shuts = true,
                (Judgement::Refuses(_), Judgement::LetsIn | Judgement::Unknown(_)) if way_in && !real_modules => {
                    effect.mends.push(before.name.clone());
                }
                _ => {}
            }
            let with_wrong = |service: &Service| wrong_password(facts, service, &root, real_modules);
            effect.opens |= match with_wrong(&after)? {
                Judgement::LetsIn => way_in || !matches!(with_wrong(before)?, Judgement::LetsIn),
                Judgement::Refuses(_) => false,
                Judgement::Unknown(_) => matches!(with_wrong(before)?, Judgement::Refuses(_)),
            };
        }
    }
    Ok(effect)
}

/// The first refusal that is left when `text` is at `path`.
pub fn next_refusal(facts: &Facts, pam: &Pam, path: &Path, text: &[u8]) -> Result<Option<Refusal>, Skip> {
    let root = User::named(facts, "root")?;
    let file = Arc::new(SourceFile { path: path.to_owned(), bytes: text.to_owned() });
    let source = |wanted: &Path| if wanted == path { Ok(Some(Arc::clone(&file))) } else { facts.file(wanted) };
    for service in pam.ways_in() {
        let after = read(&source, pam.debian, &service.name, service.stage, Taking::Strictly)?;
        if let Judgement::Refuses(refusal) = judge(facts, &after, Attempt::right(&root))? {
            return Ok(Some(*refusal));
        }
    }
    Ok(None)
}

/// What comes of root's name with a wrong password; only the rules of `auth` are asked.
pub fn wrong_password(facts: &Facts, service: &Service, root: &User, real_modules: bool) -> Result<Judgement, Skip> {
    judge_kinds(facts, service, Attempt { real_modules, ..Attempt::wrong(root) }, &[Kind::Auth])
}

/// Whether a wrong password would be let in, or it could not be told that it is not, if the rule of `entry` were passed.
pub fn opens_when_passed(facts: &Facts, pam: &Pam, entry: &Entry) -> Result<bool, Skip> {
    let root = User::named(facts, "root")?;
    let attempt = Attempt { passing: Some((&entry.file.path, entry.rule.span.line)), ..Attempt::wrong(&root) };
    for service in pam.ways_in() {
        if !matches!(judge_kinds(facts, service, attempt, &[Kind::Auth])?, Judgement::Refuses(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A whole file that can take the place of one that is gone.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// How sure it is.
    pub risk: Risk,
    /// An order: "copy /etc/pam.d/login from the donor".
    pub title: Text,
    /// What is to be done.
    pub changes: Vec<Change>,
}

/// Whether a gap is a fault of its own: an empty file that is included, and that nothing can be put in the place of, was
/// left so by somebody who wrote the rule that includes it.
pub fn is_fault(facts: &Facts, pam: &Pam, gap: &Gap) -> Result<bool, Skip> {
    let of_its_own = gap.what == What::Empty && gap.by.is_some();
    Ok(!of_its_own || !replacements(facts, pam, &gap.path)?.is_empty())
}

/// A name in rules that nothing has, written as the one name in `dirs` that is only a letter or two from it. `missing` is
/// the path that is not there, `files` are those that name it. `None` when none is near, when two are, when
/// a package knows the name, or when somebody would be let in who is not now with a wrong password.
pub fn respelt(
    facts: &Facts,
    missing: &Path,
    files: &[&Arc<SourceFile>],
    dirs: &[PathBuf],
) -> Result<Option<Replacement>, Skip> {
    let name = missing.file_name().unwrap_or_default().to_string_lossy();
    let entries = dirs.iter().flat_map(|dir| facts.root().read_dir(dir).unwrap_or_default());
    let others: Vec<String> = entries.filter_map(|entry| entry.name.into_string().ok()).collect();
    let meant = nearest(&name, others.iter().map(String::as_str), 2);
    let Some(meant) = meant.filter(|_| !facts.get::<Packages>().is_ok_and(|all| all.file(missing).is_some())) else {
        return Ok(None);
    };
    let mut texts = Edits::new();
    for file in files {
        let mut text = file.bytes.clone();
        for word in pam::rules(&file.bytes, Layout::Service).into_iter().filter_map(|rule| rule.module) {
            // A directory before the name stays.
            if let Some(dir) = word.text.strip_suffix(name.as_bytes())
                && (dir.is_empty() || dir.ends_with(b"/"))
            {
                text = with_words(&text, word.span, &[dir, meant.as_bytes()].concat());
            }
        }
        texts.insert(&file.path, (file, text));
    }
    let title = tr!("write {meant} where {name} is named", meant, name = name.as_ref());
    Ok(harmless(facts, texts)?.map(|changes| Replacement { risk: Risk::Safe, title, changes }))
}

/// Files with a new text.
pub type Edits<'a> = BTreeMap<&'a Path, (&'a Arc<SourceFile>, Vec<u8>)>;

/// The edits as changes; `None` when there are none, or one of them may not be offered.
pub fn harmless(facts: &Facts, edits: Edits<'_>) -> Result<Option<Vec<Change>>, Skip> {
    let pam = facts.get::<Pam>()?;
    for (path, (_, text)) in &edits {
        if !effect(facts, &pam, path, text)?.is_harmless() {
            return Ok(None);
        }
    }
    let changes: Vec<Change> = edits.into_values().map(|(file, text)| Change::edit(file, text)).collect();
    Ok((!changes.is_empty()).then_some(changes))
}

/// What package managers and people leave beside a file, best first.
const COPIES: [&str; 9] =
    [".dpkg-dist", ".dpkg-new", ".rpmnew", ".dpkg-old", ".rpmsave", ".rpmorig", ".bak", ".orig", "~"];

/// What can be put at `path`, best first: the donor's file, a copy that lies beside it, what the distribution ships.
/// Each was judged: it mends what it must, opens nothing and shuts out nobody.
pub fn replacements(facts: &Facts, pam: &Pam, path: &Path) -> Result<Vec<Replacement>, Skip> {
    let place = end_of_links(facts, path);
    let old = facts.file(&place)?;
    let mode = 0o644;
    let put = |text: Vec<u8>| match &old {
        Some(file) => Change::edit(file, text),
        None => Change::create(&place, text, mode),
    };
    let good = |text: &[u8]| -> Result<bool, Skip> {
        // The files are read by the names that rules have for them.
        Ok(!text.trim_ascii().is_empty() && effect(facts, pam, path, text)?.is_harmless())
    };
    let mut all = Vec::new();
    let mut last = Vec::new();
    if let Some(donor) = facts.donor()
        && let Ok(text) = donor.root().read(path)
        && good(&text)?
        && let Some(restoration) = restore(facts, path)
    {
        let replacement =
            Replacement { risk: restoration.risk, title: restoration.title, changes: restoration.changes };
        if replacement.risk == Risk::Safe { all.push(replacement) } else { last.push(replacement) }
    }
    for suffix in COPIES {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let copy = PathBuf::from(name);
        if let Ok(Some(file)) = facts.file(&copy)
            && good(&file.bytes)?
        {
            let title = tr!("replace it with the content of {copy}", copy = copy.as_path());
            all.push(Replacement { risk: Risk::Safe, title, changes: vec![put(file.bytes.clone())] });
        }
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(text) = defaults::text(facts, pam, name)?
        && good(text.as_bytes())?
    {
        let title = tr!("write {path} as shipped by the distribution", path);
        all.push(Replacement { risk: Risk::Safe, title, changes: vec![put(text.into_bytes())] });
    }
    all.extend(last);
    Ok(all)
}

/// The path that links lead to, even when nothing is there.
pub fn end_of_links(facts: &Facts, path: &Path) -> PathBuf {
    let mut next = path.to_owned();
    for _ in 0..8 {
        let Ok(target) = facts.root().read_link(&next) else { break };
        let dir = next.parent().unwrap_or(Path::new("/"));
        let dir = facts.root().canonical(dir).unwrap_or_else(|_| dir.to_owned());
        next = dir.join(target);
    }
    next
}
