//! An account that a service runs as is gone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::accounts::{AccountFile, Kind, with_line_added};
use sickbay_formats::nsswitch;
use sickbay_formats::unit_file::is_yes;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::sysusers;
use crate::facts::packages::programs::program_of;
use crate::facts::system::release::{Init, System};
use crate::facts::system::units;
use crate::facts::system::units::{State, Unit, Units, account};
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "status=217/USER" and "Failed to determine user credentials: No such process"; with D-Bus affected,
    /// logins that take 25 seconds.
    ///
    /// ## What it finds
    /// A user or group that is in none of the account files, although a unit that starts at boot runs as it (`User=`,
    /// `Group=`), D-Bus is set up to run as it (`<user>messagebus</user>`), or polkitd, where it is installed, is built
    /// to.
    ///
    /// ## Why it matters
    /// The service exits at once with `status=217/USER`. Without D-Bus there is no systemd-logind: every login waits 25
    /// seconds, and `systemctl` and the network services fail.
    ///
    /// ## What the repair does
    /// Restores the line from the copy that the system's own tools keep (`/etc/passwd-`, `/etc/group-`), otherwise from
    /// the donor, where its number is still free.
    ///
    /// ## By hand
    /// ```sh
    /// # or reinstall the package, whose script creates the account
    /// systemd-sysusers --root=ROOT
    /// ```
    "service-account-missing", Login, seed = ["L1"], proves = [], may_stop = [Services], "an account that a service runs as is missing"
}

/// Who needs an account.
#[derive(Default)]
struct Need {
    services: Vec<String>,
    /// A packaged unit needs it: its account never is a directory server's.
    packaged: bool,
}

impl Need {
    fn add(&mut self, service: &str, packaged: bool) {
        self.services.push(service.to_owned());
        self.packaged |= packaged;
    }
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounts = facts.get::<Accounts>()?;
    let (_, passwd) = accounts.present(Kind::Passwd)?;
    let (_, group) = accounts.present(Kind::Group)?;
    // Damaged files are told as such.
    if passwd.compat || !passwd.sound() || !group.sound() {
        return Ok(());
    }
    // What a server knows cannot be looked up from here.
    let asks_a_server = asks_a_server(facts)?;
    let (mut users, mut groups) = (BTreeMap::<String, Need>::new(), BTreeMap::<String, Need>::new());
    if facts.get::<System>()?.init == Init::Systemd {
        of_units(facts, &*facts.get::<Units>()?, &mut users, &mut groups)?;
    }
    of_dbus(facts, &mut users)?;
    of_polkit(facts, &mut users)?;
    let made_at_boot = if sysusers::run_at_boot(facts)? { sysusers::users(facts) } else { Default::default() };
    for (kind, needs) in [(Kind::Passwd, users), (Kind::Group, groups)] {
        // Systems that are built as an image keep further accounts beside the programs (nss-altfiles).
        let more = facts.file(kind.path().replace("/etc/", "/usr/lib/"))?;
        let more = AccountFile::parse(kind, more.as_ref().map(|file| file.bytes.as_slice()).unwrap_or_default());
        for (name, mut need) in needs {
            // root's is a check of its own.
            if (asks_a_server && !need.packaged) || (kind == Kind::Passwd && name == "root") {
                continue;
            }
            if accounts.parsed(kind).find(name.as_bytes()).is_some() || more.find(name.as_bytes()).is_some() {
                continue;
            }
            // What systemd-sysusers(8) makes before any service starts is not missing.
            if kind == Kind::Passwd && made_at_boot.contains(name.as_bytes()) {
                continue;
            }
            need.services.dedup();
            let (path, services) = (kind.path(), need.services.join(", "));
            let finding = if kind == Kind::Passwd {
                found.error(tr!("{path} has no user {name}, the account of {services}", name, path, services))
            } else {
                found.error(tr!("{path} has no group {name}, the group of {services}", name, path, services))
            };
            finding
                .at_path(path)
                .detail("account", name.as_str())
                .detail("services", need.services.clone())
                .why(tr!("the service exits at once: no such user or group"));
            restore(facts, finding, &accounts, kind, &name);
        }
    }
    Ok(())
}

/// Whether accounts may come from elsewhere than files.
fn asks_a_server(facts: &Facts) -> Result<bool, Skip> {
    let Some(file) = facts.file("/etc/nsswitch.conf")? else { return Ok(false) };
    let local = ["files", "compat", "systemd", "db", "altfiles", "usrfiles"];
    Ok(nsswitch::entries(&file.bytes).iter().any(|entry| match entry {
        nsswitch::Entry::Database(database) if database.name == "passwd" || database.name == "group" => {
            database.sources.iter().any(|source| !local.iter().any(|local| source.name == *local))
        }
        _ => false,
    }))
}

fn of_units(
    facts: &Facts,
    units: &Units,
    users: &mut BTreeMap<String, Need>,
    groups: &mut BTreeMap<String, Need>,
) -> Result<(), Skip> {
    for (name, unit) in &units.all {
        let dynamic = unit.last("Service", "DynamicUser").is_some_and(|(_, setting)| is_yes(&setting.value));
        if unit.state != State::Loaded || !name.ends_with(".service") || dynamic || !has_program(facts, unit)? {
            continue;
        }
        for (key, needs) in [("User", &mut *users), ("Group", &mut *groups)] {
            if let Some((_, setting)) = unit.last("Service", key)
                && let Some(account) = account(&setting.value)
            {
                let packaged = unit.settings.first().is_some_and(|(file, _)| !file.path.starts_with("/etc"));
                needs.entry(account.to_owned()).or_default().add(name, packaged);
            }
        }
    }
    Ok(())
}

/// Whether there is a program that the unit could start: units stay behind, and are shared by packages whose programs are
/// optional.
fn has_program(facts: &Facts, unit: &Unit) -> Result<bool, Skip> {
    let Some((_, setting)) = unit.last("Service", "ExecStart") else { return Ok(true) };
    match program_of(&setting.value) {
        Some(program) => Ok(facts.root().exists(program)?),
        None => Ok(true),
    }
}

/// The `<user>` of D-Bus's system bus (dbus-daemon(1)), where there is a daemon to run as it: the file is there for the
/// libraries and for another daemon, too.
fn of_dbus(facts: &Facts, users: &mut BTreeMap<String, Need>) -> Result<(), Skip> {
    let programs = ["/usr/bin/dbus-daemon", "/bin/dbus-daemon", "/usr/bin/dbus-broker-launch"];
    if !any_exists(facts, &programs)? {
        return Ok(());
    }
    for path in ["/usr/share/dbus-1/system.conf", "/etc/dbus-1/system.conf"] {
        let Some(file) = facts.file(path)? else { continue };
        let user = file.bytes.split_once_str("<user>").and_then(|(_, rest)| rest.split_once_str("</user>"));
        if let Some(user) = user.and_then(|(user, _)| user.trim_ascii().to_str().ok()).filter(|user| !user.is_empty()) {
            users.entry(user.to_owned()).or_default().add("dbus.service", true);
            break;
        }
    }
    Ok(())
}

/// The user that polkitd gives its rights up for: the one of its unit, else `polkitd`, where that name is compiled in. Before
/// 0.106 it stayed root. Its directories prove nothing: other packages bring rules and actions for it.
fn of_polkit(facts: &Facts, users: &mut BTreeMap<String, Need>) -> Result<(), Skip> {
    let unit = units::unit(facts, "polkit.service")?;
    let started = unit.last("Service", "ExecStart").and_then(|(_, setting)| program_of(&setting.value));
    let usual = [
        "/usr/lib/polkit-1/polkitd",
        "/usr/libexec/polkitd",
        "/usr/libexec/polkit-1/polkitd",
        "/usr/lib/policykit-1/polkitd",
    ];
    let program = started.into_iter().chain(usual.iter().map(PathBuf::from));
    let Some(program) = program.into_iter().find(|program| facts.root().stat(program).is_ok_and(|it| it.is_file()))
    else {
        return Ok(());
    };
    let of_unit = unit.last("Service", "User").and_then(|(_, setting)| account(&setting.value));
    let user = match of_unit {
        Some(user) => user,
        // What cannot be read is no proof, and a damaged program another check's matter.
        None => {
            let text = facts.root().read_up_to(&program, PROGRAM_LIMIT).unwrap_or_default();
            let gives_up = text.contains_str("changed to user") && text.contains_str("\0polkitd\0");
            if !gives_up {
                return Ok(());
            }
            "polkitd"
        }
    };
    let need = users.entry(user.to_owned()).or_default();
    // It may be among the units of the boot.
    if !need.services.iter().any(|service| service == "polkit.service") {
        need.add("polkit", true);
    }
    Ok(())
}

/// polkitd has some 150 kB.
const PROGRAM_LIMIT: u64 = 16 << 20;

fn any_exists(facts: &Facts, paths: &[&str]) -> Result<bool, Skip> {
    for path in paths {
        if facts.root().exists(path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn restore(facts: &Facts, finding: &mut Finding, accounts: &Accounts, kind: Kind, name: &str) {
    let Some(file) = accounts.file(kind) else { return };
    let here = accounts.parsed(kind);
    // The same name with a number that nobody else has by now.
    let line_of = |text: &[u8]| -> Option<Vec<u8>> {
        let parsed = AccountFile::parse(kind, text);
        let entry = parsed.find(name.as_bytes())?;
        let taken = here.good().any(|other| other.number(2) == entry.number(2));
        (!taken).then(|| entry.text.to_owned())
    };
    let copy = format!("{}-", kind.path());
    let from_copy = facts.file(&copy).ok().flatten().and_then(|file| line_of(&file.bytes));
    let from_donor = || facts.donor().and_then(|donor| line_of(&donor.root().read(kind.path()).ok()?));
    if let Some(line) = from_copy {
        let text = with_line_added(&file.bytes, &line);
        finding.repair(Risk::Safe, tr!("restore the line from the copy {copy}", copy), [Change::edit(file, text)]);
    } else if let Some(line) = from_donor() {
        let text = with_line_added(&file.bytes, &line);
        finding.repair(Risk::Risky, tr!("copy the line from the donor"), [Change::edit(file, text)]);
    } else {
        finding.by_hand(tr!("recreate the account: systemd-sysusers --root=ROOT, or reinstall the package"));
    }
}
