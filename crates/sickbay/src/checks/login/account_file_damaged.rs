//! passwd, shadow or group is gone, empty or damaged.

use sickbay_formats::accounts::{AccountFile, Defect, Entry, Kind, Password, with_unix_ends};
use sickbay_formats::lines;
use sickbay_target::FileKind;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::system::release::{Init, System};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Login incorrect" for everyone, "I have no name!", "No passwd entry for user 'root'", or services that
    /// fail with "217/USER".
    ///
    /// ## What it finds
    /// `/etc/passwd`, `/etc/shadow` or `/etc/group` missing, empty, not a file, with lines that end in CR LF or a byte
    /// order mark, or with lines that have the wrong number of fields or letters where a number belongs.
    ///
    /// ## Why it matters
    /// Without passwd no account exists; without shadow no password works; a carriage return makes `/bin/bash` a shell
    /// that does not exist. The C library skips a damaged line, so its account is gone.
    ///
    /// ## What the repair does
    /// Restores the file, or the damaged line, from the copy that the system's own tools keep (`/etc/passwd-`,
    /// `/var/backups/passwd.bak`), and ends lines as Unix does. It never creates an account that needs no password.
    ///
    /// ## By hand
    /// ```sh
    /// pwck -R ROOT
    /// grpck -R ROOT
    /// cp -a ROOT/etc/passwd- ROOT/etc/passwd
    /// ```
    "account-file-damaged", Login, seed = ["L1"], proves = [Account], "an account file is empty or damaged"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.get::<System>()?.init == Init::None {
        return Err(Skip::NotApplicable(tr!("no init is installed: a container, which nobody logs in to")));
    }
    let accounts = facts.get::<Accounts>()?;
    for kind in [Kind::Passwd, Kind::Shadow, Kind::Group] {
        let uses_shadow =
            accounts.parsed(Kind::Passwd).good().any(|entry| Password::of(entry.field(1)) == Password::Shadowed);
        if kind == Kind::Shadow && !uses_shadow {
            continue;
        }
        let parsed = accounts.parsed(kind);
        match accounts.file(kind) {
            Some(_) if parsed.compat && parsed.entries.is_empty() => {}
            None => match facts.root().stat(kind.path()) {
                Ok(there) => no_file(found, kind, there.kind),
                Err(_) => lost(facts, found, &accounts, kind, false),
            },
            Some(_) if parsed.empty => lost(facts, found, &accounts, kind, true),
            Some(_) => damaged(facts, found, &accounts, &parsed),
        }
    }
    Ok(())
}

fn severity(kind: Kind) -> Severity {
    if kind == Kind::Group { Severity::Error } else { Severity::Critical }
}

/// Something else is in the way: whatever it holds is not thrown away.
fn no_file(found: &mut Findings, kind: Kind, there: FileKind) {
    let path = kind.path();
    let finding = found.add(severity(kind), tr!("{path} is {kind} instead of a file", path, kind = there.to_string()));
    finding
        .at_path(path)
        .explains(path)
        .by_hand(tr!("move what is there aside and restore {path} from a backup", path));
    if severity(kind) == Severity::Critical {
        finding.stops(Stage::Account);
    }
}

fn lost(facts: &Facts, found: &mut Findings, accounts: &Accounts, kind: Kind, is_there: bool) {
    let path = kind.path();
    let message = if is_there { tr!("{path} is empty", path) } else { tr!("{path} is missing", path) };
    let finding = found.add(severity(kind), message).at_path(path).explains(path);
    match kind {
        Kind::Passwd => finding.why(tr!("there are no accounts: nobody can log in, and services do not start")),
        Kind::Shadow => finding.why(tr!("no password works any more")),
        _ => finding.why(tr!("no group has a name: services that need one do not start")),
    };
    if severity(kind) == Severity::Critical {
        finding.stops(Stage::Account);
    }
    let Some((copy, backup)) = Accounts::backup(facts, kind) else {
        if kind == Kind::Shadow {
            finding.by_hand(tr!("no copy has root's password: set a new one with sickbay fix --reset-password root"));
        } else {
            finding.by_hand(tr!("restore {path} from a backup", path));
        }
        return;
    };
    let content = backup.bytes.clone();
    let change = match accounts.file(kind) {
        Some(file) => Change::edit(file, content),
        None => {
            let group = accounts.parsed(Kind::Group).find(b"shadow").and_then(|entry| entry.number(2));
            let (mode, gid) = match (kind, group.and_then(|gid| u32::try_from(gid).ok())) {
                (Kind::Shadow, Some(gid)) => (0o640, gid),
                (Kind::Shadow, None) => (0o600, 0),
                _ => (0o644, 0),
            };
            Change::Create { path: path.into(), content, mode, owner: (0, gid) }
        }
    };
    finding.evidence(copy.display().to_string(), format!("{} lines", lines::lines(&backup.bytes).count()));
    finding.repair(Risk::Safe, tr!("restore {path} from the copy {copy}", path, copy), [change]);
}

fn damaged(facts: &Facts, found: &mut Findings, accounts: &Accounts, parsed: &AccountFile<'_>) {
    let kind = parsed.kind;
    let Some(file) = accounts.file(kind) else { return };
    if parsed.carriage_returns > 0 || parsed.mark {
        let message = if parsed.mark {
            tr!("{path} begins with a byte order mark", path = kind.path())
        } else {
            tr!(
                "{count} {count?line|lines} of {path} {count?ends|end} in CR LF",
                count = parsed.carriage_returns,
                path = kind.path()
            )
        };
        let finding = found.add(severity(kind), message).at_path(kind.path());
        finding.why(tr!("the carriage return becomes part of the last field, such as the shell"));
        if severity(kind) == Severity::Critical {
            finding.stops(Stage::Account);
        }
        finding.repair(
            Risk::Safe,
            tr!("change the line endings to LF"),
            [Change::edit(file, with_unix_ends(&file.bytes))],
        );
        return;
    }
    let bad: Vec<&Entry<'_>> = parsed.entries.iter().filter(|entry| entry.defect.is_some()).collect();
    let Some(first) = bad.first() else { return };
    let is_root = |entry: &Entry<'_>| entry.name() == "root";
    let severity = if bad.iter().any(|entry| is_root(entry)) { severity(kind) } else { Severity::Warning };
    let message = match first.defect {
        Some(Defect::Fields(count)) => {
            tr!(
                "a line of {path} has {count} fields instead of {right}",
                path = kind.path(),
                count,
                right = kind.fields()
            )
        }
        Some(Defect::Number(field)) => {
            tr!("field {field} of a line of {path} is not a number", field, path = kind.path())
        }
        Some(Defect::Nul) => tr!("a line of {path} contains NUL bytes", path = kind.path()),
        _ => tr!("a line of {path} does not begin with a name", path = kind.path()),
    };
    let finding = found.add(severity, message);
    for entry in &bad {
        finding.at(file, entry.whole());
    }
    finding.subject(Subject::Path(kind.path().into())).extent(bad.len());
    // The hashes in shadow are nobody's to read.
    if kind == Kind::Shadow {
        finding.evidence.clear();
        finding.places.clear();
        finding.at_path(kind.path());
    }
    finding.why(tr!("the C library skips the line: its account or group does not exist"));
    if severity == Severity::Critical {
        finding.stops(Stage::Account);
    }
    let backup = Accounts::backup(facts, kind);
    let restored = backup.as_ref().and_then(|(copy, backup)| {
        let copies = AccountFile::parse(kind, &backup.bytes);
        let mut text = file.bytes.clone();
        for entry in &bad {
            let line = copies.find(entry.name())?.text.to_owned();
            text = lines::with_line(&text, entry.line, |_| Some(line));
        }
        Some((copy, text))
    });
    match restored {
        Some((copy, text)) => finding.repair(
            Risk::Safe,
            tr!("restore the line from the copy {copy}", copy = copy.as_path()),
            [Change::edit(file, text)],
        ),
        None => finding.by_hand(tr!("correct or remove the line: pwck and grpck report what is wrong with it")),
    };
}
