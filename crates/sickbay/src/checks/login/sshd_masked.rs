//! systemd must not start sshd.

use crate::check::{Skip, Verdict};
use crate::facts::Facts;
use crate::facts::sshd::Sshd;
use crate::facts::sshd_service::SshdService;
use crate::facts::system::{Init, System};
use crate::finding::Findings;
use crate::proof::Stage;
use crate::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## What it finds
    /// The unit of sshd, masked (a link to `/dev/null`), on a system that has an sshd and starts it by no socket either.
    /// One that is merely not enabled is no fault.
    ///
    /// ## Why it matters
    /// Nobody can log in over ssh, and `systemctl start` refuses, too.
    ///
    /// ## What the repair does
    /// Removes the link, if risky repairs are accepted: somebody masked it on purpose. By hand: `systemctl unmask ssh`.
    "sshd-masked", Login, seed = ["L10"], proves = [Sshd], "the unit of sshd is masked"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    facts.get::<Sshd>()?;
    if facts.get::<System>()?.init != Init::Systemd {
        return Err(Skip::NotApplicable(tr!("systemd does not run here")));
    }
    let service = facts.get::<SshdService>()?;
    let dropbear = facts.root().stat("/usr/sbin/dropbear").is_ok();
    let Some(link) = service.masked.as_ref().filter(|_| !service.by_socket && !dropbear) else { return Ok(()) };
    found
        .warning(tr!("the unit of sshd is masked"))
        .at_path(link)
        .why(tr!("nobody can log in over ssh"))
        .stops(Stage::Sshd)
        .repair(
            Risk::Risky,
            tr!("remove the mask {link}", link = link.as_path()),
            [Change::Remove { path: link.clone() }],
        );
    Ok(())
}
