//! `sickbay explain alloc SIZE`.

use sickbay_formats::accounts::Kind;
use sickbay_formats::procfs;

use super::super::{Context, Failure, Format, UNTOLD};
use super::{host_without_disks, within};
use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::memory::alloc::{Accounting, Asker, Says};
use crate::facts::memory::overcommit::asker;
use crate::facts::memory::processes::{comm, pids};
use crate::facts::memory::size;
use crate::model::text::Text;
use crate::report::alloc;
use crate::tr;

pub(super) fn explain(context: &Context, wanted: &str, pid: Option<u32>, user: Option<&str>) -> Result<u8, Failure> {
    let Some(bytes) = procfs::size(wanted).filter(|bytes| *bytes > 0) else {
        return Err(Failure(tr!("{text} is not a size: 4G, 512M, 4294967296", text = wanted)));
    };
    let facts = host_without_disks()?;
    let user = user.map(str::to_owned);
    let (who, verdict) = within(move || {
        let (who, asker) = match (pid, user) {
            (Some(pid), _) => {
                let who = tr!("process {pid} ({comm})", pid, comm = comm(&facts, pid));
                (who, asker(&facts, &pid.to_string(), true)?)
            }
            (None, Some(user)) => new_process(&facts, &user)?,
            (None, None) => (tr!("a process like this one"), asker(&facts, "self", true)?),
        };
        Ok((who, facts.get::<Accounting>()?.judge(bytes, &asker)))
    })?;
    let question = tr!("a mapping of {size} for {who}", size = size(bytes / 1024), who);
    match context.format {
        Format::Json => context.print_json(&alloc::json(bytes, &verdict, &context.style))?,
        Format::Text => context.print(&alloc::render(&question, &verdict, &context.style)),
    }
    Ok(match verdict.says() {
        Says::Grants => 0,
        Says::Refuses | Says::Later => 1,
        Says::Unsure => UNTOLD,
    })
}

/// A process of a user that is just starting: with the limits of one that already runs, if there is one, else with ours.
fn new_process(facts: &Facts, user: &str) -> Result<(Text, Asker), Failure> {
    let accounts = facts.get::<Accounts>()?;
    let passwd = accounts.parsed(Kind::Passwd);
    let named = passwd.find(user.as_bytes()).and_then(|entry| u32::try_from(entry.number(2)?).ok());
    let Some(uid) = named.or_else(|| user.parse().ok()) else {
        return Err(Failure(tr!("there is no user {user}", user)));
    };
    let of_user = |pid: &u32| facts.root().metadata(format!("/proc/{pid}")).is_ok_and(|found| found.uid == uid);
    let model = pids(facts)?.into_iter().find(of_user);
    let mut asker = asker(facts, &model.map_or("self".to_owned(), |pid| pid.to_string()), false)?;
    asker.root = uid == 0 && asker.root;
    asker.total_vm = 0;
    asker.data_vm = 0;
    asker.maps = None;
    let who = match model {
        Some(pid) => tr!("a new process of {user}, with the limits of its process {pid}", user, pid),
        None => tr!("a new process of {user}, who has none running: with the limits of this one", user),
    };
    Ok((who, asker))
}
