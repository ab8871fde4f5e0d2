//! `sickbay explain limits PID|UNIT|USER [TARGET]`.

use std::path::Path;
use std::sync::Arc;

use sickbay_target::{Lack, Options, Target};

use super::super::{Context, Failure, Format};
use super::{host_without_disks, within};
use crate::facts::Facts;
use crate::facts::limits::chain::{self, Chain};
use crate::facts::login::accounts::Users;
use crate::facts::memory::processes::{comm, pids};
use crate::facts::system::units::{self, State};
use crate::model::text::Text;
use crate::report::limits;
use crate::tr;

/// Of whom.
pub(super) enum Whom {
    /// A process by its number.
    Process(u32),
    /// A user.
    User(String),
    /// A number, a unit, a user or the name of a program.
    Word(String),
}

pub(super) fn explain(context: &Context, whom: Whom, target: Option<&str>) -> Result<u8, Failure> {
    let facts = match target {
        None => host_without_disks()?,
        Some(path) => {
            let target = Target::open(Some(Path::new(path)), &Options::default())?;
            if let Err(Lack::None(why)) = target.whole() {
                let why = Text::verbatim(why);
                return Err(Failure(tr!("{path} has no limits to explain: {why}", path, why)));
            }
            Arc::new(Facts::new(Arc::new(target), None))
        }
    };
    let chain = within(move || chain_of(&facts, whom))?;
    match context.format {
        Format::Json => context.print_json(&limits::json(&chain, &context.style))?,
        Format::Text => context.print(&limits::render(&chain, &context.style)),
    }
    Ok(0)
}

fn chain_of(facts: &Facts, whom: Whom) -> Result<Chain, Failure> {
    let word = match whom {
        Whom::Process(pid) => return Ok(chain::of_process(facts, pid)?),
        Whom::User(name) if is_user(facts, &name)? => return Ok(chain::of_user_named(facts, &name)?),
        Whom::User(name) => return Err(Failure(tr!("there is no user {user}", user = name))),
        Whom::Word(word) => word,
    };
    if let Ok(pid) = word.parse() {
        return Ok(chain::of_process(facts, pid)?);
    }
    let unit = if word.ends_with(".service") { word.clone() } else { format!("{word}.service") };
    let known = units::unit(facts, &unit).is_ok_and(|read| read.state != State::Missing);
    if known || word.ends_with(".service") {
        return Ok(chain::of_unit_named(facts, &unit)?);
    }
    if is_user(facts, &word)? {
        return Ok(chain::of_user_named(facts, &word)?);
    }
    if facts.runs()
        && let Some(pid) = pids(facts)?.into_iter().find(|pid| comm(facts, *pid) == word)
    {
        return Ok(chain::of_process(facts, pid)?);
    }
    Err(Failure(tr!("there is no unit, user or process {word}", word)))
}

fn is_user(facts: &Facts, name: &str) -> Result<bool, Failure> {
    let users = facts.get::<Users>()?;
    Ok(users.parsed(sickbay_formats::accounts::Kind::Passwd).find(name.as_bytes()).is_some())
}
