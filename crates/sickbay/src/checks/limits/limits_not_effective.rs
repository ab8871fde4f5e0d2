//! A limit that is written down and does nothing, or locks out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::accounts::Kind as Account;
use sickbay_formats::limits_conf::{self, Domain, Entry, Fault, Line};
use sickbay_formats::lines::{with_comment, with_words};
use sickbay_formats::nsswitch;
use sickbay_formats::procfs::limits::limit;
use sickbay_formats::rlimits::{self, Measure, Resource};
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::facts::limits::files::LimitsFiles;
use crate::facts::limits::manager::{First, Manager, of_service};
use crate::facts::limits::process::{Origin, of_unit};
use crate::facts::login::accounts::Users;
use crate::facts::login::pam::modules_of;
use crate::facts::system::units::{State, Unit, Units, account};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::subject::Subject;
use crate::spelling::nearest;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Too many open files" although limits.conf was edited, or a login that ends at once with "Could not set
    /// limits" in the log.
    ///
    /// ## What it finds
    /// Lines of `/etc/security/limits.conf` and `limits.d` that pam_limits passes over: too few words, a type or an item that it does
    /// not know, a value that is no number, or of which only the beginning is read (`65,536`, `64k`); lines for a user or
    /// group that does not exist; more open files than `fs.nr_open`, which the kernel refuses to everybody; limits of a user whose
    /// service systemd starts without PAM, so that the file is not read for it. Lines `Limit…=` of units that systemd ignores
    /// (`unlimited`; it knows `infinity`). On a running system also `LimitNOFILE=infinity` where that is less than the kernel allows:
    /// systemd gives what process 1 itself may have.
    ///
    /// ## Why it matters
    /// Nothing complains aloud: the limit stays as it was, and "Too many open files" comes at the worst hour. Open files above
    /// `fs.nr_open` are worse: pam_limits then ends the session, and nobody whom the line is about can log in (on Debian and Ubuntu it goes on, and the line
    /// does nothing).
    ///
    /// ## What the repair does
    /// Lowers a value to `fs.nr_open`; puts the word that was meant; writes a drop-in for the unit, which is the layer that counts
    /// for a service. All but the first count as risky: they change limits that hold today, from the next login or start of the
    /// service on.
    ///
    /// ## By hand
    /// ```sh
    /// cat /proc/PID/limits
    /// sickbay explain limits UNIT
    /// systemctl edit UNIT    # [Service] LimitNOFILE=…
    /// ```
    "limits-not-effective", Limits, seed = ["C14", "D11"], proves = [], "a limit that is set does nothing, or locks out"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let files = facts.get::<LimitsFiles>()?;
    let first = facts.get::<First>()?;
    for (file, lines) in &files.files {
        for line in lines {
            match &line.says {
                Err(fault) => unread(found, file, line, *fault),
                Ok(entry) => half_read(found, file, line, entry),
            }
        }
    }
    strangers(facts, found, &files)?;
    beyond(facts, found, &files, &first)?;
    match facts.get::<Units>() {
        Ok(units) => {
            for (name, unit) in units.all.iter().filter(|(_, unit)| unit.state == State::Loaded) {
                of_unit_lines(found, unit);
                of_service_user(facts, found, &files, name, unit)?;
                infinity(facts, found, &first, name, unit);
            }
        }
        Err(Skip::NotApplicable(_)) => {}
        Err(Skip::Unknown(why)) => found.could_not_tell(why),
    }
    Ok(())
}

/// A line that pam_limits passes over.
fn unread(found: &mut Findings, file: &Arc<SourceFile>, line: &Line, fault: Fault) {
    let word: String = words_at(file, line.word);
    let message = match fault {
        Fault::Words => tr!("a line has fewer than four words, and pam_limits passes over it"),
        Fault::Type => tr!("{word} is no type of limit, and pam_limits passes over the line", word = word.as_str()),
        Fault::Item => {
            tr!("{word} is no limit that pam_limits knows, and it passes over the line", word = word.as_str())
        }
        Fault::Value => tr!("{word} is no value of a limit, and pam_limits passes over the line", word = word.as_str()),
    };
    let meant = match fault {
        Fault::Type => nearest(&word.to_lowercase(), ["soft", "hard"].into_iter(), 2),
        Fault::Item => nearest(&word.to_lowercase(), sickbay_formats::limits_conf::ITEMS.into_iter(), 2),
        Fault::Words | Fault::Value => None,
    };
    let finding = found.warning(message);
    finding.at(file, if fault == Fault::Words { line.span } else { line.word });
    finding.why(tr!("the limit stays what it is without this line: DOMAIN TYPE ITEM VALUE (limits.conf(5))"));
    match meant {
        Some(meant) => {
            let after = with_words(&file.bytes, line.word, meant.as_bytes());
            let title = tr!(
                "write {meant} in line {line}, which then counts from the next login on",
                meant,
                line = line.span.line
            );
            finding.repair(Risk::Risky, title, [Change::edit(file, after)]);
        }
        None => {
            finding.by_hand(tr!("write the line anew, or take it out"));
        }
    }
}

fn words_at(file: &SourceFile, span: Span) -> String {
    let line = file.bytes.lines().nth(span.line.saturating_sub(1)).unwrap_or_default();
    line.chars().skip(span.column.saturating_sub(1)).take(span.len.min(80)).collect()
}

/// Only the digits at its beginning are read (strtoull(3)).
fn half_read(found: &mut Findings, file: &Arc<SourceFile>, line: &Line, entry: &Entry) {
    let (Some(rest), Some(value)) = (&entry.rest, entry.value) else { return };
    let value = value.to_string();
    let finding = found.warning(tr!(
        "of the value {word} only {value} is read",
        word = words_at(file, line.word),
        value = value.as_str()
    ));
    finding.at(file, line.word).detail("read", value).detail("not_read", rest.to_str_lossy().into_owned());
    finding.why(tr!("pam_limits stops at the first character that is no digit: it knows no units and no separators"));
    finding.by_hand(tr!("write the number out"));
}

/// Lines for users and groups that do not exist, where nothing but files can know them.
fn strangers(facts: &Facts, found: &mut Findings, files: &LimitsFiles) -> Result<(), Skip> {
    let users = facts.get::<Users>()?;
    let switch = facts.file("/etc/nsswitch.conf")?;
    let entries = switch.as_ref().map(|file| nsswitch::entries(&file.bytes)).unwrap_or_default();
    let is_local = |database: &str, kind: Account| {
        let local = ["files", "compat", "systemd", "altfiles", "usrfiles", "db"];
        let sources = entries.iter().find_map(|entry| match entry {
            nsswitch::Entry::Database(one) if one.name == database => Some(&one.sources),
            _ => None,
        });
        let only = sources.is_some_and(|all| all.iter().all(|one| local.iter().any(|known| one.name == *known)));
        let parsed = users.parsed(kind);
        // A line that begins with + asks NIS (compat).
        only && parsed.sound() && !parsed.empty && !users.file(kind).is_some_and(|file| file.bytes.contains_str("\n+"))
    };
    let (passwd, group) = (users.parsed(Account::Passwd), users.parsed(Account::Group));
    let (known_users, known_groups) = (is_local("passwd", Account::Passwd), is_local("group", Account::Group));
    for (file, span, entry) in files.entries() {
        // What a package brought is for when the rest of it is there.
        if !is_administrators(&file.path) {
            continue;
        }
        let message = match &entry.domain {
            Domain::User(name) if known_users && passwd.find(name.as_bytes()).is_none() => {
                tr!("a limit is set for {user}, and there is no such user", user = name.as_str())
            }
            Domain::Group(name) if known_groups && group.find(name.as_bytes()).is_none() => {
                tr!("a limit is set for the group {group}, and there is no such group", group = name.as_str())
            }
            _ => continue,
        };
        let finding = found.add(Severity::Note, message);
        finding.at(file, span).why(tr!("the line does nothing; it may be misspelt, or left over"));
        let title = tr!("comment out line {line} of {path}", line = span.line, path = file.path.as_path());
        finding.repair(Risk::Risky, title, [Change::edit(file, with_comment(&file.bytes, span.line))]);
    }
    Ok(())
}

/// The file that packages leave to the administrator.
fn is_administrators(path: &Path) -> bool {
    path == Path::new("/etc/security/limits.conf")
}

/// More open files than the kernel lets anybody have. Of root itself, whom it locks out, `pam-refuses-root` tells.
fn beyond(facts: &Facts, found: &mut Findings, files: &LimitsFiles, first: &First) -> Result<(), Skip> {
    let Some(most) = first.nr_open else { return Ok(()) };
    let hard = || files.entries().filter(|(_, _, entry)| entry.item == "nofile" && entry.is_hard());
    // The line that counts for root: the nearest, of equals the last.
    let of_root = hard().enumerate().filter_map(|(index, (_, _, entry))| {
        let groups = ["root".to_owned()];
        let root = limits_conf::Account { name: "root", uid: 0, gid: 0, groups: &groups, gids: &[0] };
        Some((entry.distance(root, files.debian)?, std::cmp::Reverse(index)))
    });
    let of_root = of_root.min().map(|(_, index)| index.0);
    let all: Vec<_> = hard().collect();
    for (index, (file, span, entry)) in all.iter().enumerate() {
        let is_last = !all.iter().skip(index + 1).any(|(_, _, later)| later.domain == entry.domain);
        let above = match entry.limit() {
            Some(limit) => limit > most,
            None => !files.debian && !files.takes_nr_open,
        };
        if !is_last || !above || entry.item.is_empty() || (!files.debian && of_root == Some(index)) {
            continue;
        }
        if !modules_of(facts, &["sshd", "login"], "pam_limits.so")? {
            return Ok(());
        }
        let value = entry.limit().map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        let text =
            tr!("{value} open files are more than fs.nr_open allows anybody, {most}", value = value.as_str(), most);
        let finding = if files.debian { found.warning(text) } else { found.critical(text) };
        finding.at(file, *span).detail("nr_open", most);
        finding.why(if files.debian {
            tr!("the kernel refuses it, and pam_limits of Debian goes on without it: the limit stays as it was")
        } else {
            tr!("the kernel refuses it, and pam_limits then refuses the login of everybody whom the line is about")
        });
        let Some(Ok(line)) = line_of(files, &file.path, span.line).map(|line| line.says.as_ref().map(|_| line)) else {
            continue;
        };
        let after = with_words(&file.bytes, line.word, most.to_string().as_bytes());
        let title = tr!("lower it to {most} in line {line}", most, line = span.line);
        finding.repair(Risk::Safe, title, [Change::edit(file, after)]);
    }
    Ok(())
}

fn line_of<'a>(files: &'a LimitsFiles, path: &Path, number: usize) -> Option<&'a Line> {
    let (_, lines) = files.files.iter().find(|(file, _)| file.path == path)?;
    lines.iter().find(|line| line.span.line == number)
}

/// Lines of a unit that systemd ignores.
fn of_unit_lines(found: &mut Findings, unit: &Unit) {
    for resource in &rlimits::ALL {
        for line in of_service(unit, resource).iter().filter(|line| line.value.is_none() && !line.word.contains('%')) {
            let key = resource.unit;
            let finding = found.warning(tr!("systemd ignores {key}={word}", key, word = line.word.as_str()));
            finding
                .at(&line.file, line.span)
                .why(tr!("it is no value that systemd knows, and the limit stays what it is without the line"));
            if ["unlimited", "max", "-1", "infinite", "inf"].iter().any(|word| line.word.eq_ignore_ascii_case(word)) {
                let after = with_words(&line.file.bytes, line.span, format!("{key}=infinity").as_bytes());
                let title = tr!("write {key}=infinity, which counts from the next start of the unit on", key);
                finding.repair(Risk::Risky, title, [Change::edit(&line.file, after)]);
            } else {
                finding.by_hand(tr!("write a number, SOFT:HARD, or infinity (systemd.exec(5))"));
            }
        }
    }
}

/// Shells of accounts that no login and no su leads to.
const NO_SHELLS: [&str; 4] = ["nologin", "false", "sync", "true"];

/// Limits for a user that only a service runs as, which systemd starts without PAM.
fn of_service_user(
    facts: &Facts,
    found: &mut Findings,
    files: &LimitsFiles,
    name: &str,
    unit: &Unit,
) -> Result<(), Skip> {
    let Some(user) = unit.last("Service", "User").and_then(|(_, one)| account(&one.value)) else { return Ok(()) };
    if !name.ends_with(".service") || unit.last("Service", "PAMName").is_some() {
        return Ok(());
    }
    let users = facts.get::<Users>()?;
    let passwd = users.parsed(Account::Passwd);
    let Some(entry) = passwd.find(user.as_bytes()) else { return Ok(()) };
    let shell = entry.field(6).to_str_lossy().into_owned();
    let is_closed = NO_SHELLS.iter().any(|known| shell.rsplit('/').next() == Some(known));
    if !is_closed || entry.number(2) == Some(0) {
        return Ok(());
    }
    let manager = Manager::of(facts, "system");
    for resource in &rlimits::ALL {
        let ours = files.entries().filter(|(_, _, one)| one.domain == Domain::User(user.to_owned()));
        let ours: Vec<_> = ours.filter(|(_, _, one)| one.item == resource.name).collect();
        let set = !of_service(unit, resource).is_empty() || !manager.defaults(resource).is_empty();
        let Some((file, span, _)) = ours.last().filter(|_| !set) else { continue };
        let item = resource.name;
        let finding =
            found.warning(tr!("{item} is set for {user}, and {unit} does not get it", item, user, unit = name));
        finding.at(file, *span).subject(Subject::Named(format!("{name} {item}")));
        finding.why(tr!("systemd starts the service without PAM, and limits.conf holds for sessions of PAM alone; nobody can log in as {user}", user));
        let entries: Vec<&Entry> = ours.iter().map(|(_, _, one)| *one).collect();
        match value_of(resource, &entries) {
            Some(value) => drop_in(facts, finding, name, resource, &value),
            None => {
                finding.by_hand(tr!(
                    "set {key}= in a drop-in of the unit: systemctl edit {unit}",
                    key = resource.unit,
                    unit = name
                ));
            }
        }
    }
    Ok(())
}

/// What limits.conf says of a user, as a unit says it; nothing where only the hard limit is set.
fn value_of(resource: &Resource, entries: &[&Entry]) -> Option<String> {
    let last = |is: fn(&Entry) -> bool| entries.iter().rev().find(|one| is(one)).map(|one| one.limit());
    let word = |bound: Option<u64>| bound.map_or_else(|| "infinity".to_owned(), |bound| bound.to_string());
    if matches!(resource.measure, Measure::Nice) {
        return None;
    }
    let soft = last(Entry::is_soft)?;
    match last(Entry::is_hard) {
        Some(hard) if hard != soft => Some(format!("{}:{}", word(soft), word(hard))),
        _ => Some(word(soft)),
    }
}

/// Offers a drop-in, the layer that counts for a service.
fn drop_in(facts: &Facts, finding: &mut crate::model::finding::Finding, name: &str, resource: &Resource, value: &str) {
    let dir = PathBuf::from(format!("/etc/systemd/system/{name}.d"));
    let path = dir.join(format!("50-{}.conf", resource.name));
    if facts.root().exists(&path).unwrap_or(true) {
        return;
    }
    let key = resource.unit;
    let text = format!("# sickbay: the limit of this service\n[Service]\n{key}={value}\n");
    let mut changes = Vec::new();
    if !facts.root().exists(&dir).unwrap_or(true) {
        changes.push(Change::make_dir(&dir, 0o755));
    }
    changes.push(Change::create(&path, text, 0o644));
    let title =
        tr!("set {key}={value} in a drop-in of {unit}, which counts from its next start on", key, value, unit = name);
    finding.repair(Risk::Risky, title, changes);
}

/// `LimitNOFILE=infinity` of a service that runs, where it is less than the kernel would give.
fn infinity(facts: &Facts, found: &mut Findings, first: &First, name: &str, unit: &Unit) {
    let [nofile, ..] = rlimits::ALL;
    let lines = of_service(unit, &nofile);
    let Some(line) = lines.iter().rfind(|line| line.value.is_some()) else { return };
    if !facts.runs() || line.value != Some((None, None)) {
        return;
    }
    let (Some(most), Some((_, Some(own)))) = (first.nr_open, first.own(&nofile)) else { return };
    let Some(origin) = of_unit(facts, name).and_then(|pid| Origin::of(facts, pid).ok()) else { return };
    let Some(hard) = limit(&origin.limits, nofile.proc).and_then(|limit| limit.hard) else { return };
    // What is not exactly that has another cause, which the file does not tell.
    if hard != own || own >= most || own >= (1 << 19) {
        return;
    }
    let finding = found.warning(tr!("LimitNOFILE=infinity gives {unit} only {hard} open files", unit = name, hard));
    finding.at(&line.file, line.span).detail("pid", origin.pid).detail("hard", hard).detail("nr_open", most);
    finding.evidence("/proc/1/limits", format!("Max open files {own}"));
    finding.why(tr!(
        "this systemd gives what process 1 itself may have, {own}; the kernel would allow {most} (fs.nr_open)",
        own,
        most
    ));
    drop_in(facts, finding, name, &nofile, &most.to_string());
}
