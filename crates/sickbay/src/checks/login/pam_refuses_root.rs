//! A rule of PAM that keeps root out although the password is right.

use std::path::{Path, PathBuf};

use sickbay_formats::lines;
use sickbay_formats::pam::{self, Kind};

use crate::facts::Facts;
use crate::facts::login::administrators::Administrators;
use crate::facts::login::pam::judge::{Attempt, Judgement, Refusal, User, judge};
use crate::facts::login::pam::modules::Because;
use crate::facts::login::pam::{Entry, Pam, Service, Taking, is_damaged, read};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, mend, tr};

check! {
    /// ## Symptom
    /// You see: "Login incorrect" or "Authentication failure" with root's correct password, on the console or over ssh.
    ///
    /// ## What it finds
    /// A rule that refuses root on the console (`login`) or over ssh (`sshd`) although the password is right, found by
    /// evaluating the rules the way libpam does: `pam_succeed_if.so user != root`, a leading `pam_deny`, root in a
    /// pam_listfile or access.conf, a terminal that is not in `/etc/securetty`, a shell that is not in `/etc/shells`,
    /// failed attempts counted by pam_faillock or pam_tally2 with `even_deny_root`, a second factor that root never set
    /// up (pam_google_authenticator), a pam_unix that was commented out, more open files in limits.conf than
    /// `fs.nr_open` allows any process (`unlimited` too, for a pam_limits that cannot handle it; Debian's carries on).
    /// The first rule that refuses is named. `maxlogins`, `maxsyslogins` and `nproc` in limits.conf do not keep root
    /// out. Limits with which no shell can be started (`as` below 6000, `stack` below 32, `nofile` below 4) do.
    ///
    /// ## Why it matters
    /// The console answers "Login incorrect" or "Authentication failure" to the right password. Where another account
    /// can log in and become root, this may be intended: then it is a warning, and nothing where securetty or
    /// access.conf does it.
    ///
    /// ## What the repair does
    /// Comments out the rule, or the line in the list; adds the terminal or the shell to its list; removes the counter.
    /// The result is evaluated before it is offered: a wrong password is still refused. Where no rule lets anyone in,
    /// one that was commented out is uncommented; otherwise the file is restored as shipped by the distribution. Risky
    /// where a list, a condition or a second factor keeps root out over ssh only, as hardening guides recommend, or
    /// where others administer the machine.
    ///
    /// ## By hand
    /// ```sh
    /// # from a rescue system, in a chroot: correct the rule, and
    /// faillock --user root --reset
    /// ```
    "pam-refuses-root", Login, seed = ["L2", "C3"], proves = [PamLogin, PamSshd],
    "a PAM rule keeps root out"
}

/// Services with the same culprit.
struct Case {
    refusal: Refusal,
    services: Vec<Service>,
    /// Others are refused with root.
    all: bool,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let pam = facts.get::<Pam>()?;
    let root = User::named(facts, "root")?;
    let others = facts.get::<Administrators>()?;
    let administrators: Vec<User> =
        others.seen.iter().map(|one| User::named(facts, &one.name)).collect::<Result<_, Skip>>()?;
    let source = |path: &Path| facts.file(path);
    let mut cases: Vec<(Option<(PathBuf, usize)>, Case)> = Vec::new();
    for strict in pam.ways_in() {
        let service = read(&source, pam.debian, &strict.name, strict.stage, Taking::AsMeant)?;
        let attempt = Attempt::right;
        // What is in a damaged file is for another check, as what is missing is.
        let mut lacks = service.files().any(|file| is_damaged(file));
        for gap in &service.gaps {
            lacks |= mend::pam::is_fault(facts, &pam, gap)?;
        }
        let refusal = match judge(facts, &service, attempt(&root))? {
            Judgement::LetsIn => continue,
            // Rules of files that are gone are for another check.
            _ if lacks => continue,
            Judgement::Unknown(why) => {
                // Where a module is not there at all, root is refused for that, which is for `pam-module-broken` to say.
                let real = judge(facts, &service, Attempt { real_modules: true, ..attempt(&root) })?;
                if matches!(real, Judgement::Unknown(_)) {
                    found.could_not_tell(why);
                }
                continue;
            }
            Judgement::Refuses(refusal) => *refusal,
        };
        let mut all = others.unseen.is_none();
        for user in &administrators {
            all &= matches!(judge(facts, &service, attempt(user))?, Judgement::Refuses(_));
        }
        let key = match (&refusal.because, &refusal.entry) {
            (Some(Because::Line(file, span) | Because::Starves(file, span)), _) => Some((file.path.clone(), span.line)),
            (Some(Because::NotListed(file, _)), _) => Some((file.path.clone(), 0)),
            (Some(Because::Tally(path) | Because::Unfit(path) | Because::NoSecret(path)), _) => Some((path.clone(), 0)),
            (None, entry) => entry.as_ref().map(|entry| (entry.file.path.clone(), entry.rule.span.line)),
        };
        match cases.iter_mut().find(|(known, case)| *known == key && key.is_some() && case.all == all) {
            Some((_, case)) => case.services.push(service),
            None => cases.push((key, Case { refusal, services: vec![service], all })),
        }
    }
    let console = match pam.ways_in().find(|service| service.stage == Some(Stage::PamLogin)) {
        Some(login) => matches!(judge(facts, login, Attempt::right(&root))?, Judgement::LetsIn),
        None => false,
    };
    for (_, case) in cases {
        report(facts, found, &pam, case, console)?;
    }
    Ok(())
}

/// `console` tells whether root comes in there.
fn report(facts: &Facts, found: &mut Findings, pam: &Pam, case: Case, console: bool) -> Verdict {
    let Case { refusal, services, all } = case;
    let policy = refusal.kind != Kind::Session
        && matches!(&refusal.because, Some(Because::NotListed(..) | Because::Line(..) | Because::NoSecret(_)));
    // Somebody else administers the machine, and a list keeps root out: that is how hardening guides want it. Or root has
    // no second factor and they have one.
    if !all && policy {
        return Ok(());
    }
    let names = services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ");
    let severity = if all { Severity::Critical } else { Severity::Warning };
    let module = refusal.entry.as_ref().and_then(|entry| entry.rule.module.as_ref());
    let message = match (&refusal.because, module) {
        // The next line may refuse as well, which is another finding.
        (Some(Because::Line(file, span)), _) => {
            tr!("line {line} of {path} keeps root out", line = span.line, path = file.path.as_path())
        }
        (Some(Because::Starves(file, span)), _) => {
            let line = span.line;
            tr!("line {line} of {path} leaves root's shell too few resources to run", line, path = file.path.as_path())
        }
        (Some(Because::NotListed(file, value)), _) => {
            tr!("{value} is not in {path}: root is kept out", value, path = file.path.as_path())
        }
        (Some(Because::Tally(path)), _) => {
            tr!("root is locked after failed attempts: {path} counts them", path = path.as_path())
        }
        (Some(Because::Unfit(path)), _) => tr!("{path} is world-writable: root is kept out", path = path.as_path()),
        (Some(Because::NoSecret(path)), _) if facts.root().exists(path)? => {
            tr!("root has no second factor set up: {path} has no entry for root", path = path.as_path())
        }
        (Some(Because::NoSecret(path)), _) => {
            tr!("root has no second factor set up: there is no {path}", path = path.as_path())
        }
        (None, Some(module)) => tr!("a rule of {module} keeps root out", module = module.text),
        (None, None) => tr!("no rule of {services} lets root in", services = names),
    };
    let finding = found.add(severity, message);
    if let Some(Because::Line(file, span) | Because::Starves(file, span)) = &refusal.because {
        finding.at(file, *span);
    }
    match &refusal.because {
        Some(Because::NotListed(file, _)) => {
            finding.at_path(&file.path);
        }
        Some(Because::Tally(path) | Because::Unfit(path)) => {
            finding.at_path(path);
        }
        _ => {}
    }
    match &refusal.entry {
        Some(entry) => {
            finding.at(&entry.file, entry.rule.span);
        }
        None => {
            if let Some(file) = services.first().and_then(|service| service.files().next()) {
                finding.at_path(&file.path);
            }
        }
    }
    let code = pam::CODES.get(refusal.status).copied().unwrap_or("perm_denied");
    finding.why(match all {
        _ if matches!(refusal.because, Some(Because::Starves(..))) => {
            tr!("the password is accepted by {services}, and the session ends at once", services = names)
        }
        true => tr!(
            "root's correct password is rejected by {services}: {kind} ends with {code}",
            services = names,
            kind = refusal.kind.name(),
            code
        ),
        false => tr!(
            "root's correct password is rejected by {services}: {kind} ends with {code}; other administrators can log in",
            services = names,
            kind = refusal.kind.name(),
            code
        ),
    });
    // Counts return, for anybody may fail as root.
    if let Some(Because::Tally(_)) = &refusal.because {
        let option = |entry: &&Entry| {
            entry
                .rule
                .args
                .iter()
                .any(|arg| arg.starts_with(b"even_deny_root") || arg.starts_with(b"root_unlock_time="))
        };
        let path = match refusal.entry.as_ref().filter(option) {
            Some(entry) => entry.file.path.clone(),
            None => "/etc/security/faillock.conf".into(),
        };
        finding.note(tr!(
            "even_deny_root in {path} stays: failed attempts by anybody lock root again, over ssh too",
            path = path.as_path()
        ));
    }
    finding.detail("services", services.iter().map(|service| service.name.clone()).collect::<Vec<_>>());
    for stage in [Stage::PamLogin, Stage::PamSshd] {
        if services.iter().any(|service| service.stage == Some(stage)) {
            finding.stops(stage);
        }
    }
    // What keeps root out over ssh alone is a rule that somebody made, and the console is another way in; the other way round
    // the last resort is closed.
    let by_condition = module.is_some_and(|module| module.text.ends_with(b"pam_succeed_if.so"));
    let on_purpose = (policy || by_condition) && services.iter().all(|service| service.stage == Some(Stage::PamSshd));
    let risk = if all && !(on_purpose && console) { Risk::Safe } else { Risk::Risky };
    offer(facts, finding, pam, &refusal, &services, risk)
}

fn offer(
    facts: &Facts,
    finding: &mut Finding,
    pam: &Pam,
    refusal: &Refusal,
    services: &[Service],
    risk: Risk,
) -> Verdict {
    // A list may be all that a stack asks.
    if let (Some(_), Some(entry)) = (&refusal.because, &refusal.entry)
        && mend::pam::opens_when_passed(facts, pam, entry)?
    {
        finding.by_hand(tr!("make a rule that asks for the password decide, with no earlier rule refusing"));
        return Ok(());
    }
    match &refusal.because {
        Some(Because::Line(file, span) | Because::Starves(file, span)) => {
            let text = lines::with_comment(&file.bytes, span.line);
            let title = tr!("comment out line {line} of {path}", line = span.line, path = file.path.as_path());
            // pam_listfile knows no comments, but no user is called so either.
            finding.repair(risk, title, [Change::edit(file, text)]);
            return Ok(());
        }
        Some(Because::NotListed(file, value)) => {
            let mut text = file.bytes.clone();
            if !text.is_empty() && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
            let title = tr!("add {value} to {path}", value, path = file.path.as_path());
            finding.repair(risk, title, [Change::edit(file, text)]);
            return Ok(());
        }
        Some(Because::Tally(path)) => {
            finding.repair(risk, tr!("remove {path}", path = path.as_path()), [Change::Remove { path: path.clone() }]);
            return Ok(());
        }
        Some(Because::Unfit(path)) => {
            if let Ok(metadata) = facts.root().stat(path) {
                let after = metadata.mode & !0o022;
                let title =
                    tr!("set the mode of {path} to {mode}", path = path.as_path(), mode = format!("{after:04o}"));
                let change = Change::Mode { path: path.clone(), before: metadata.mode, after };
                finding.repair(risk, title, [change]);
            }
            return Ok(());
        }
        Some(Because::NoSecret(_)) | None => {}
    }
    if let Some(entry) = &refusal.entry {
        let path = &entry.file.path;
        let text = pam::without(&entry.file.bytes, &entry.rule);
        let effect = mend::pam::effect(facts, pam, path, &text)?;
        if effect.is_harmless() && (!effect.mends.is_empty() || refuses_elsewhere(facts, pam, refusal, path, &text)?) {
            let title = tr!("comment out line {line} of {path}", line = entry.rule.span.line, path = path.as_path());
            finding.repair(risk, title, [Change::edit(&entry.file, text)]);
            return Ok(());
        }
    }
    for file in services.iter().flat_map(|service| service.files()) {
        for (line, text) in pam::with_rules_again(&file.bytes, refusal.kind) {
            let effect = mend::pam::effect(facts, pam, &file.path, &text)?;
            if effect.is_harmless() && !effect.mends.is_empty() {
                let title = tr!("uncomment the rule in line {line} of {path}", line, path = file.path.as_path());
                finding.repair(risk, title, [Change::edit(file, text)]);
                return Ok(());
            }
        }
    }
    // The files of the service itself and those that it includes: the one that mends is the one that is wrong.
    let mut paths: Vec<&Path> = refusal.entry.iter().map(|entry| entry.file.path.as_path()).collect();
    paths.extend(services.iter().flat_map(|service| service.files()).map(|file| file.path.as_path()));
    paths.dedup();
    for path in paths {
        for replacement in mend::pam::replacements(facts, pam, path)? {
            let text = replacement.changes.iter().find_map(|change| match change {
                Change::Edit { after, .. } => Some(after),
                Change::Create { content, .. } => Some(content),
                _ => None,
            });
            if let Some(text) = text
                && !mend::pam::effect(facts, pam, path, text)?.mends.is_empty()
            {
                // What the administrator wrote into the file is lost.
                finding.repair(Risk::Risky, replacement.title, replacement.changes);
                return Ok(());
            }
        }
    }
    finding.by_hand(tr!("make a rule that asks for the password decide, with no earlier rule refusing"));
    Ok(())
}

/// Whether the next refusal comes from another rule: then this rule is one of several that keep root out.
fn refuses_elsewhere(facts: &Facts, pam: &Pam, refusal: &Refusal, path: &Path, text: &[u8]) -> Result<bool, Skip> {
    let Some(next) = mend::pam::next_refusal(facts, pam, path, text)? else { return Ok(false) };
    let is_guard = |refusal: &Refusal| {
        refusal
            .entry
            .as_ref()
            .and_then(|entry| entry.rule.module.as_ref())
            .is_some_and(|word| word.text == "pam_deny.so")
    };
    let same_kind = next.kind == refusal.kind;
    Ok(next.entry.is_some() && !(same_kind && is_guard(&next)) && !is_guard(refusal))
}
