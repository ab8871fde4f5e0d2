//! The chain of layers that make a limit what it is, from the kernel down, with the one that counts.

mod begun;
mod beside;
mod compare;
mod container;
mod inherited;
mod session;
mod supervisor;
mod systemd;

use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::procfs::limits::Limit;
use sickbay_formats::rlimits::{Pair, Resource};
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::facts::limits::process::{Door, Origin, of_unit, of_user};
use crate::facts::login::accounts::Users;
use crate::facts::login::pam::judge::User;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

use self::container::container;
use self::inherited::inherited;
use self::session::session_of;
use self::systemd::{of_user_manager, service};

/// A soft and a hard value of one layer, where it has one.
pub type Sides = (Option<Option<u64>>, Option<Option<u64>>);

/// One layer of a limit.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is: "PID 1", "docker.service".
    pub name: Text,
    /// What it says; nothing where it says nothing.
    pub sides: Sides,
    /// What is written there, where that is no value: "unlimited" in a unit.
    pub word: Option<String>,
    /// The file and the line.
    pub place: Option<(PathBuf, usize)>,
    /// Whether it counts.
    pub counts: bool,
    /// Why it has no effect, or another one than it says.
    pub remark: Option<Text>,
}

/// One limit.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub resource: Resource,
    /// In force now.
    pub now: Option<Limit>,
    /// Used now.
    pub used: Option<u64>,
    /// What the layer that counts asks for.
    pub wanted: Option<Pair>,
    /// What it will be after a restart, or at the next login.
    pub after: Option<Pair>,
    /// The layers, the kernel first.
    pub layers: Vec<Layer>,
    /// What else there is to say.
    pub remarks: Vec<Text>,
    /// Whether what is in force does not follow from the files as they are.
    pub differs: bool,
}

/// A limit that is none of setrlimit(2), but is met in the same way.
#[derive(Clone, Debug)]
pub struct Beside {
    /// What it is called.
    pub name: String,
    /// In force now; "infinity" is none.
    pub now: Option<u64>,
    /// Used now.
    pub used: Option<u64>,
    /// Where it is set.
    pub place: Option<(PathBuf, usize)>,
    /// What is written there.
    pub word: Option<String>,
}

/// Everything about the limits of one process, unit or user.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Of whom: "dockerd (PID 812), of docker.service".
    pub who: Text,
    /// Every limit.
    pub rows: Vec<Row>,
    /// What is beside them.
    pub beside: Vec<Beside>,
    /// What holds for all of it.
    pub remarks: Vec<Text>,
}

/// The limits of a running process.
pub fn of_process(facts: &Facts, pid: u32) -> Result<Chain, Skip> {
    let origin = Origin::of(facts, pid)?;
    let comm = origin.comm.as_str();
    match origin.door.clone() {
        Door::Unit(name) => {
            let who = tr!("{comm} (PID {pid}), of {unit}", comm, pid, unit = name);
            service(facts, who, &name, Some(&origin))
        }
        Door::Session(session) => {
            let user = user_of(facts, origin.uid).unwrap_or_default();
            let who = tr!("{comm} (PID {pid}), of {session} of {user}", comm, pid, session, user);
            session_of(facts, who, &user, Some(&origin))
        }
        Door::UserUnit(unit) => {
            let who = tr!("{comm} (PID {pid}), of {unit}", comm, pid, unit = unit.as_str());
            of_user_manager(facts, who, &unit, &origin)
        }
        Door::Container(id) => {
            let short: String = id.chars().take(12).collect();
            let who = tr!("{comm} (PID {pid}), of the container {short}", comm, pid, short);
            container(facts, who, &id, &origin)
        }
        Door::Parent => {
            let who = Text::verbatim(format!("{comm} (PID {pid})"));
            inherited(facts, who, &origin)
        }
    }
}

/// The limits of a service, running or not.
pub fn of_unit_named(facts: &Facts, name: &str) -> Result<Chain, Skip> {
    let origin = of_unit(facts, name).and_then(|pid| Origin::of(facts, pid).ok());
    let who = match &origin {
        Some(origin) => tr!("{unit}, PID {pid} ({comm})", unit = name, pid = origin.pid, comm = origin.comm),
        None => Text::verbatim(name),
    };
    service(facts, who, name, origin.as_ref())
}

/// The limits of a user's logins.
pub fn of_user_named(facts: &Facts, name: &str) -> Result<Chain, Skip> {
    let user = User::named(facts, name)?;
    let (pid, tasks) = if facts.runs() { of_user(facts, user.uid) } else { (None, 0) };
    let origin = pid.and_then(|pid| Origin::of(facts, pid).ok());
    let who = match &origin {
        Some(origin) => {
            tr!("logins of {user}, seen by PID {pid} ({comm})", user = name, pid = origin.pid, comm = origin.comm)
        }
        None => tr!("logins of {user}", user = name),
    };
    let mut chain = session_of(facts, who, name, origin.as_ref())?;
    for row in chain.rows.iter_mut().filter(|row| row.resource.name == "nproc" && facts.runs()) {
        row.used = Some(tasks);
    }
    Ok(chain)
}

/// The user with that number.
fn user_of(facts: &Facts, uid: u32) -> Option<String> {
    let users = facts.get::<Users>().ok()?;
    let passwd = users.parsed(sickbay_formats::accounts::Kind::Passwd);
    let found = passwd.good().find(|entry| entry.number(2) == Some(i64::from(uid)))?;
    Some(found.name().to_str_lossy().into_owned())
}

fn both(pair: Pair) -> Sides {
    (Some(pair.0), Some(pair.1))
}

fn layer(name: Text, sides: Sides) -> Layer {
    Layer { name, sides, word: None, place: None, counts: false, remark: None }
}

fn place(file: &SourceFile, span: Span) -> Option<(PathBuf, usize)> {
    Some((file.path.clone(), span.line))
}

/// Makes one layer the one that counts.
fn count(row: &mut Row, index: usize) {
    for (at, layer) in row.layers.iter_mut().enumerate() {
        layer.counts = at == index;
    }
}

/// Makes the last layer the one that counts.
fn count_last(row: &mut Row) {
    if let Some(last) = row.layers.len().checked_sub(1) {
        count(row, last);
    }
}

/// So many open files are more than a program may expect: a loop over all of them, or a table, takes minutes or gigabytes.
const TOO_MANY: u64 = 1 << 27;

impl Row {
    /// Whether so many open files are allowed that programs which walk all of them do it for minutes.
    pub fn is_too_large(&self) -> bool {
        let hard = self.now.map(|now| now.hard).or(self.after.map(|after| after.1));
        self.resource.name == "nofile" && hard.is_some_and(|hard| hard.is_none_or(|hard| hard >= TOO_MANY))
    }
}
