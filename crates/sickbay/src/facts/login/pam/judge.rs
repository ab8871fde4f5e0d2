//! Whether libpam lets a user in, by the rules of a service.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::accounts::Kind as File;
use sickbay_formats::limits_conf::Account;
use sickbay_formats::pam::{Action, Kind, code};

use crate::facts::Facts;
use crate::facts::login::accounts::Users;
use crate::facts::login::pam::modules::{Answer, Because};
use crate::facts::login::pam::path::Modules;
use crate::facts::login::pam::walk::{Step, ends};
use crate::facts::login::pam::{Call, Entry, Service, modules};
use crate::facts::packages::libraries::{Broken, Fault};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// Who wants in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of the first group.
    pub gid: u32,
    /// The names of all groups.
    pub groups: Vec<String>,
    /// The numbers of all groups.
    pub gids: Vec<u32>,
    /// The home directory.
    pub home: String,
    /// The shell.
    pub shell: String,
}

impl User {
    /// A user of `/etc/passwd`; root as it is everywhere where the file has none, which is for other checks to say.
    pub fn named(facts: &Facts, name: &str) -> Result<User, Skip> {
        let users = facts.get::<Users>()?;
        let passwd = users.parsed(File::Passwd);
        let mut user = User {
            name: name.to_owned(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            gids: Vec::new(),
            home: "/root".to_owned(),
            shell: "/bin/bash".to_owned(),
        };
        let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
        if let Some(entry) = passwd.find(name.as_bytes()) {
            user.uid = number(entry.number(2)).unwrap_or_default();
            user.gid = number(entry.number(3)).unwrap_or_default();
            user.home = entry.field(5).to_str_lossy().into_owned();
            user.shell = entry.field(6).to_str_lossy().into_owned();
        }
        for group in users.parsed(File::Group).good() {
            if number(group.number(2)) == Some(user.gid) || group.members().any(|member| member == name.as_bytes()) {
                user.groups.push(group.name().to_str_lossy().into_owned());
                user.gids.extend(number(group.number(2)));
            }
        }
        if user.gid == 0 && user.groups.is_empty() {
            user.groups.push("root".to_owned());
        }
        Ok(user)
    }

    /// As far as a line of limits.conf may be about it.
    pub fn account(&self) -> Account<'_> {
        Account { name: &self.name, uid: self.uid, gid: self.gid, groups: &self.groups, gids: &self.gids }
    }
}

/// An attempt to log in.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Who.
    pub user: &'a User,
    /// Whether the password is the right one.
    pub right: bool,
    /// Whether modules are what the target has; else all that are named are taken to be there and sound.
    pub real_modules: bool,
    /// A rule that is taken to be passed, whatever its module would answer: its file and line.
    pub passing: Option<(&'a Path, usize)>,
}

impl<'a> Attempt<'a> {
    /// With the right password, all modules being there.
    pub fn right(user: &'a User) -> Attempt<'a> {
        Attempt { user, right: true, real_modules: false, passing: None }
    }

    /// With a wrong password, all modules being there.
    pub fn wrong(user: &'a User) -> Attempt<'a> {
        Attempt { right: false, ..Attempt::right(user) }
    }
}

/// How it ends.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// In.
    LetsIn,
    /// Refused.
    Refuses(Box<Refusal>),
    /// It depends on what cannot be known; why.
    Unknown(Text),
}

/// Why somebody is refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What libpam was asked.
    pub kind: Kind,
    /// The first rule that refuses; `None` when no rule says yes, or libpam does not begin.
    pub entry: Option<Entry>,
    /// What its module answers, a number of [`sickbay_formats::pam::CODES`].
    pub status: usize,
    /// Why the module answers so.
    pub because: Option<Because>,
}

/// Whether there is no such module. pam_deny refuses whether it is there or not.
fn is_absent(facts: &Facts, name: &bstr::BString) -> Result<bool, Skip> {
    let broken = facts.get::<Modules>()?.broken(facts, name)?;
    let missing = |one: &Broken| one.path == one.needed_by && matches!(one.fault, Fault::Missing | Fault::Dangling(_));
    Ok(!name.ends_with(b"pam_deny.so") && broken.iter().any(missing))
}

/// Asks for authentication, the account and a session, as login and sshd do.
pub fn judge(facts: &Facts, service: &Service, attempt: Attempt<'_>) -> Result<Judgement, Skip> {
    judge_kinds(facts, service, attempt, &[Kind::Auth, Kind::Account, Kind::Session])
}

/// Asks for some of that.
pub fn judge_kinds(facts: &Facts, service: &Service, attempt: Attempt<'_>, kinds: &[Kind]) -> Result<Judgement, Skip> {
    if service.fatal {
        let refusal = Refusal { kind: Kind::Auth, entry: None, status: code::PERM_DENIED, because: None };
        return Ok(Judgement::Refuses(Box::new(refusal)));
    }
    let mut unknown = None;
    for &kind in kinds {
        let stack = service.stack(kind);
        let mut answers = Vec::new();
        for entry in stack {
            answers.push(answer(facts, service, kind, entry, attempt)?);
        }
        let steps: Vec<Step> = stack
            .iter()
            .zip(&answers)
            .map(|(entry, answer)| Step {
                level: entry.level,
                answers: answer.as_ref().map(|answer| answer.codes.clone()),
                actions: entry.actions(),
            })
            .collect();
        let Some(ends) = ends(&steps) else {
            return Ok(Judgement::Unknown(tr!("{service} has too many rules", service = service.name)));
        };
        if ends.iter().all(|end| end.lets_in) {
            continue;
        }
        if ends.iter().any(|end| end.lets_in) {
            let module = in_doubt(&steps).and_then(|index| stack.get(index)?.rule.module.as_ref());
            let module = module.map(|word| word.text.to_string()).unwrap_or_default();
            unknown.get_or_insert(tr!(
                "whether {module} lets {user} in is undetermined",
                module,
                user = attempt.user.name.as_str()
            ));
            continue;
        }
        let Some(end) = ends.iter().min_by_key(|end| end.culprit) else { continue };
        let culprit = end.culprit;
        return Ok(Judgement::Refuses(Box::new(Refusal {
            kind,
            entry: culprit.and_then(|index| stack.get(index)).cloned(),
            status: end.status,
            because: culprit.and_then(|index| answers.into_iter().nth(index)).flatten().and_then(|it| it.because),
        })));
    }
    Ok(unknown.map_or(Judgement::LetsIn, Judgement::Unknown))
}

/// The rule whose answer decides: were it known, so would be how the stack ends. Where it takes several, the first of them.
fn in_doubt(steps: &[Step]) -> Option<usize> {
    let several = |step: &Step| step.answers.as_ref().is_some_and(|answers| answers.len() > 1);
    let in_question: Vec<usize> = (0..steps.len()).filter(|&index| steps.get(index).is_some_and(several)).collect();
    let decides = |index: &&usize| {
        let answers = steps.get(**index).and_then(|step| step.answers.clone()).unwrap_or_default();
        let outcomes: HashSet<(bool, bool)> = answers
            .into_iter()
            .filter_map(|answer| {
                let mut known = steps.to_vec();
                known.get_mut(**index)?.answers = Some(vec![answer]);
                let ends = ends(&known)?;
                Some((ends.iter().any(|end| end.lets_in), ends.iter().any(|end| !end.lets_in)))
            })
            .collect();
        outcomes.len() > 1
    };
    in_question.iter().find(decides).or(in_question.first()).copied()
}

/// What the module of a rule answers; `None` for the line that begins a substack.
fn answer(
    facts: &Facts,
    service: &Service,
    kind: Kind,
    entry: &Entry,
    attempt: Attempt<'_>,
) -> Result<Option<Answer>, Skip> {
    Ok(match &entry.call {
        Call::Substack => None,
        Call::Fail => Some(Answer::one(code::PERM_DENIED)),
        Call::Module { .. } if attempt.passing == Some((entry.file.path.as_path(), entry.rule.span.line)) => {
            Some(Answer::one(code::SUCCESS))
        }
        Call::Module { name, args } => {
            if attempt.real_modules && !facts.get::<Modules>()?.works(facts, name)? {
                return Ok(Some(Answer::one(code::MODULE_UNKNOWN)));
            }
            let path: PathBuf = Path::new(&*name.to_str_lossy()).to_owned();
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let question = modules::Question { name: &file, args, kind, service: &service.name, attempt };
            let mut answer = modules::answer(facts, &question)?;
            // What is not installed may have let the right user in: that its rule refuses comes of its absence. Where others are
            // asked after it, it is they who refuse.
            let action = entry.actions().get(code::MODULE_UNKNOWN).copied();
            let decides = matches!(action, None | Some(Action::Bad | Action::Die));
            let refuses = || !answer.codes.iter().any(|code| matches!(*code, code::SUCCESS | code::IGNORE));
            if attempt.right && decides && answer.because.is_none() && refuses() && is_absent(facts, name)? {
                answer.codes.push(code::SUCCESS);
            }
            Some(answer)
        }
    })
}
