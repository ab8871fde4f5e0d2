//! Rules that let root in with any password.

use std::path::PathBuf;

use sickbay_formats::pam::{self, Kind};

use crate::facts::Facts;
use crate::facts::login::pam::judge::{Judgement, User};
use crate::facts::login::pam::{Pam, Service};
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::{check, mend, tr};

check! {
    /// ## Symptom
    /// You see: nothing unusual; but root can log in with any password, or with none.
    ///
    /// ## What it finds
    /// Rules of `login` or `sshd` by which a wrong password for root is as good as the right one, found by evaluating
    /// them the way libpam does: `auth sufficient pam_permit.so`, `pam_rootok.so` (which asks who runs the program:
    /// root), a `pam_succeed_if.so` that is `sufficient`, or no rule left that asks for the password.
    ///
    /// ## Why it matters
    /// Whoever reaches the console or the ssh port is root. Such rules are leftovers of attempts to get back in.
    ///
    /// ## What the repair does
    /// Comments out the rule if after that the right password is accepted and a wrong one refused; otherwise restores
    /// the file as shipped by the distribution.
    ///
    /// ## By hand
    /// ```sh
    /// grep -n -e pam_permit -e pam_rootok -e pam_succeed_if ROOT/etc/pam.d/*
    /// ```
    "pam-lets-anyone-in", Login, seed = ["L2"], proves = [], "a PAM rule lets root in with any password"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let pam = facts.get::<Pam>()?;
    let root = User::named(facts, "root")?;
    // Services that the same rule opens.
    let mut cases: Vec<(Option<Culprit>, Vec<&Service>)> = Vec::new();
    for service in pam.ways_in() {
        let opens = match mend::pam::wrong_password(facts, service, &root, true)? {
            Judgement::LetsIn => true,
            Judgement::Refuses(_) => false,
            Judgement::Unknown(why) => {
                found.could_not_tell(why);
                false
            }
        };
        // What a file lacks is for another check to say.
        let mut lacks = false;
        for gap in service.gaps.iter().filter(|gap| gap.by.is_some()) {
            lacks |= mend::pam::is_fault(facts, &pam, gap)?;
        }
        if !opens || lacks {
            continue;
        }
        let rule = culprit(facts, &pam, service)?;
        match cases.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, services)) => services.push(service),
            None => cases.push((rule, vec![service])),
        }
    }
    for (rule, services) in cases {
        let names = services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ");
        let finding = found.critical(tr!("root can log in through {services} with any password", services = names));
        finding.why(tr!("whoever gets to its prompt is root"));
        match rule {
            Some((entry, text)) => {
                let title = tr!("comment out line {line} of {path}", line = entry.1, path = entry.0.as_path());
                let file = services.iter().flat_map(|service| service.files()).find(|file| file.path == entry.0);
                let rules = services.iter().flat_map(|service| service.stack(Kind::Auth));
                let span = rules.map(|entry| &entry.rule).find(|rule| rule.span.line == entry.1);
                if let (Some(file), Some(rule)) = (file, span) {
                    finding.at(file, rule.span);
                    finding.repair(Risk::Safe, title, [Change::edit(file, text)]);
                }
            }
            None => whole_file(facts, &pam, &services, finding)?,
        }
    }
    Ok(())
}

/// Where the rule stands, and the file without it.
type Culprit = ((PathBuf, usize), Vec<u8>);

/// The first rule without which a wrong password is refused and the right one is not; with the file without it.
fn culprit(facts: &Facts, pam: &Pam, service: &Service) -> Result<Option<Culprit>, Skip> {
    for entry in service.stack(Kind::Auth) {
        let text = pam::without(&entry.file.bytes, &entry.rule);
        if mend::pam::effect(facts, pam, &entry.file.path, &text)?.is_harmless() {
            return Ok(Some(((entry.file.path.clone(), entry.rule.span.line), text)));
        }
    }
    Ok(None)
}

fn whole_file(facts: &Facts, pam: &Pam, services: &[&Service], finding: &mut Finding) -> Verdict {
    // The files that all of them read first: that is where one rule opens them all.
    let mut files: Vec<_> = services.iter().flat_map(|service| service.files()).collect();
    files.sort_by_key(|file| {
        let users = services.iter().filter(|service| service.files().any(|known| known.path == file.path)).count();
        (std::cmp::Reverse(users), file.path.clone())
    });
    files.dedup_by(|a, b| a.path == b.path);
    let asks = |file: &SourceFile| {
        services.iter().any(|service| service.stack(Kind::Auth).iter().any(|entry| entry.file.path == file.path))
    };
    for file in files.into_iter().filter(|file| asks(file)) {
        if let Some(replacement) = mend::pam::replacements(facts, pam, &file.path)?.into_iter().next() {
            finding.at_path(&file.path).repair(Risk::Risky, replacement.title, replacement.changes);
            return Ok(());
        }
        if finding.places.is_empty() {
            finding.at_path(&file.path);
        }
    }
    finding.by_hand(tr!("make a rule that asks for the password decide, with no earlier rule refusing"));
    Ok(())
}
