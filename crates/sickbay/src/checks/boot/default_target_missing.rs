//! The unit that systemd starts is not there, or leads to no login.

use std::path::Path;

use crate::facts::Facts;
use crate::facts::system::release::{Init, System};
use crate::facts::system::units::UNIT_DIRS;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Failed to load default.target", or "systemd[1]: Falling back to rescue.target", and then the rescue
    /// shell; or the machine powers off or reboots over and over.
    ///
    /// ## What it finds
    /// `default.target`, the unit that systemd starts when the kernel command line names no other, does not lead to a
    /// unit file: the link in `/etc/systemd/system` dangles or is empty, or neither `/etc` nor `/usr/lib` has one. Or
    /// it leads to a target that is not a working system: `rescue.target`, `emergency.target`, or `reboot.target` and
    /// others that end it at once.
    ///
    /// ## Why it matters
    /// systemd reports "Failed to load default.target", tries `rescue.target`, and stops there: no login prompt, no
    /// network. With `reboot.target` the machine reboots over and over.
    ///
    /// ## What the repair does
    /// Points the link to `graphical.target` where a display manager is set up, otherwise to `multi-user.target`.
    ///
    /// ## By hand
    /// ```sh
    /// systemctl --root=ROOT set-default multi-user.target
    /// ```
    "default-target-missing", Boot, seed = ["B13"], proves = [Services], "systemd's default target is missing or does not lead to a login"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let root = facts.root();
    if facts.get::<System>()?.init != Init::Systemd {
        return Err(crate::model::outcome::Skip::NotApplicable(tr!("systemd is not installed")));
    }
    // The first name that is there counts, whether or not it leads anywhere.
    let mut link = None;
    for dir in UNIT_DIRS {
        let path = Path::new(dir).join("default.target");
        if root.metadata(&path).is_ok() {
            link = Some(path);
            break;
        }
    }
    let there = match &link {
        Some(link) if root.exists(link)? => Some(root.canonical(link)?),
        _ => None,
    };
    let name = there.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let ends =
        ["reboot.target", "poweroff.target", "halt.target", "kexec.target", "soft-reboot.target"].contains(&name);
    let stops = ["rescue.target", "emergency.target"].contains(&name);
    // An empty unit file masks, but a target without a word in it still is a target.
    if there.as_deref().is_some_and(|there| there != Path::new("/dev/null")) && !ends && !stops {
        return Ok(());
    }
    let at = link.as_deref().unwrap_or(Path::new("/etc/systemd/system/default.target"));
    let target = if root.metadata("/etc/systemd/system/display-manager.service").is_ok() {
        "graphical.target"
    } else {
        "multi-user.target"
    };
    let unit = UNIT_DIRS.iter().map(|dir| format!("{dir}/{target}")).find(|unit| root.exists(unit).unwrap_or(false));
    let finding = match link.as_deref().map(|link| root.read_link(link)) {
        _ if ends => found.critical(tr!(
            "{link} is {target}: the machine goes down as soon as it has booted",
            link = at,
            target = name
        )),
        _ if stops => found.error(tr!("{link} is {target}", link = at, target = name)),
        Some(Ok(text)) => found
            .critical(tr!("{link} points to {text}, which does not exist", link = at, text))
            .evidence(at.display().to_string(), text.display().to_string()),
        _ => found.critical(tr!("there is no default.target")),
    };
    finding
        .at_path(at)
        .why(if ends {
            tr!("the boot never reaches a login")
        } else {
            tr!("systemd boots into rescue mode instead: no network, no login on the other consoles")
        })
        .stops(Stage::Services);
    match unit {
        Some(unit) => {
            let link = "/etc/systemd/system/default.target";
            finding.repair(Risk::Safe, tr!("point {link} to {target}", link, target), [Change::link(link, unit)]);
        }
        None => {
            finding.by_hand(tr!("{target} is missing too: reinstall systemd", target));
        }
    }
    Ok(())
}
