//! A plan of interrupts and RPS as a repair: what the kernel has now, what it gets at the next boot, and through whoever sets
//! it.

use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::cpus::Cpus;
use sickbay_formats::lines::with_bytes;
use sickbay_formats::shell_vars;

use crate::facts::Facts;
use crate::facts::network::irq_owner::{Irqbalance, Owners};
use crate::facts::system::release::{Init, System};
use crate::mend::irq_plan::{Placed, Plan};
use crate::model::finding::Finding;
use crate::model::outcome::Skip;
use crate::model::repair::{Change, Risk};
use crate::model::text::Text;
use crate::tr;

/// What every file of ours begins with.
const HEAD: &str = "# Written by sickbay fix; sickbay undo takes it back.\n";
/// Puts interrupts on CPUs at boot.
const SCRIPT: &str = "/usr/local/sbin/sickbay-irq-affinity";
const UNIT: &str = "/etc/systemd/system/sickbay-irq-affinity.service";
const WANTED: &str = "/etc/systemd/system/multi-user.target.wants/sickbay-irq-affinity.service";
/// Hands packets on as soon as an interface is there.
const RULES: &str = "/etc/udev/rules.d/90-sickbay-rps.rules";
/// Parameters of the kernel.
const SYSCTL: &str = "/etc/sysctl.d/90-sickbay-net.conf";

/// Offers the plan.
///
/// # Errors
/// When a file that has to be changed cannot be read.
pub fn offer(facts: &Facts, finding: &mut Finding, plan: &Plan) -> Result<(), Skip> {
    let steps: Vec<Change> =
        plan.steps.iter().map(|step| Change::kernel(&step.name, &step.before, &step.after)).collect();
    if !plan.managed.is_empty() {
        finding.note(tr!(
            "{count} of its interrupts {count?is|are} placed by the kernel alone, and cannot be moved",
            count = plan.managed.len()
        ));
    }
    if steps.is_empty() {
        return Ok(());
    }
    for step in &plan.steps {
        let (name, before, after) = (step.name.as_str(), step.before.as_str(), step.after.as_str());
        finding.verbose_note(tr!("{name}: {before} -> {after}", name, before, after));
    }
    let owners = facts.get::<Owners>()?;
    let what = what(plan);
    if let Some(first) = owners.others.first() {
        for owner in &owners.others {
            finding.note(tr!("{owner} sets interrupts, queues or RPS as well", owner = owner.what.clone()));
            if let Some((file, line)) = &owner.line {
                let text = file.line_text(*line);
                finding.evidence(format!("{}:{line}", file.path.display()), text);
            }
        }
        let owner = first.what.clone();
        finding.repair(Risk::Risky, tr!("{what}, now; {owner} may set it again at the next boot", what, owner), steps);
        finding.by_hand(first.advice.clone());
        return Ok(());
    }
    let mut changes = Vec::new();
    let irqbalance = owners.irqbalance.as_ref().filter(|_| !plan.placed.is_empty());
    if let Some(balance) = irqbalance {
        match balance.pid {
            Some(pid) => finding.note(tr!("irqbalance (PID {pid}) moves interrupts every 10 s", pid)),
            None => finding.note(tr!("irqbalance, which is started at boot, moves interrupts")),
        };
        let Some(change) = ban(balance, &plan.placed) else {
            let numbers = numbers(&plan.placed);
            finding.by_hand(tr!(
                "irqbalance has no file in /etc: give it --banirq={numbers}, one option for each, and restart it",
                numbers
            ));
            return Ok(());
        };
        changes.extend(change);
    }
    changes.extend(at_boot(facts, plan)?);
    changes.extend(steps);
    let title = match irqbalance {
        Some(_) => tr!("{what}, now and at boot, and let irqbalance leave them alone (restart it afterwards)", what),
        None => tr!("{what}, now and at boot", what),
    };
    finding.repair(Risk::Risky, title, changes);
    Ok(())
}

/// So many interrupts are named.
const NAMED: usize = 4;

/// What the plan does, in words.
fn what(plan: &Plan) -> Text {
    let moved: Vec<&Placed> = plan.placed.iter().filter(|placed| !placed.is_there).collect();
    if let Some(handed) = plan.handed.first() {
        let interface = handed.interface.as_str();
        let to: Cpus = plan.handed.iter().flat_map(|handed| handed.to.iter().collect::<Vec<_>>()).collect();
        return tr!(
            "hand packets of {interface} on to {cpus?CPU|CPUs} {to} (RPS and RFS)",
            interface,
            cpus = to.len(),
            to = to.to_string()
        );
    }
    let count = moved.len();
    let moves: Vec<String> = moved.iter().map(|placed| format!("{} → {}", placed.number, placed.cpu)).collect();
    match count {
        1..=NAMED => tr!("move {count?interrupt|interrupts} to other CPUs ({moves})", count, moves = moves.join(", ")),
        _ => tr!("move {count} interrupts to other CPUs", count),
    }
}

fn numbers(placed: &[Placed]) -> String {
    placed.iter().map(|placed| placed.number.to_string()).collect::<Vec<_>>().join(",")
}

/// Lets irqbalance leave the interrupts alone; an edit, or none where it does already. `None` where it has no file.
fn ban(balance: &Irqbalance, placed: &[Placed]) -> Option<Option<Change>> {
    let file = balance.config.as_ref()?;
    let new: Vec<String> = placed
        .iter()
        .filter(|placed| !balance.bans.contains(&placed.number))
        .map(|placed| format!("--banirq={}", placed.number))
        .collect();
    if new.is_empty() {
        return Some(None);
    }
    let all = shell_vars::assignments(&file.bytes);
    let last = all.iter().rev().find(|one| one.name == balance.variable.as_str());
    let text = match last {
        Some(one) => {
            let old = one.value.as_ref()?.to_str().ok().filter(|old| !old.contains(['"', '\\', '$', '`', '\n']))?;
            let value = format!("{old} {}", new.join(" "));
            with_bytes(&file.bytes, one.range.clone(), format!("\"{}\"", value.trim()).as_bytes())
        }
        None => {
            let mut text = file.bytes.clone();
            if text.last().is_some_and(|byte| *byte != b'\n') {
                text.push(b'\n');
            }
            text.extend(format!("{}=\"{}\"\n", balance.variable, new.join(" ")).bytes());
            text
        }
    };
    Some(Some(Change::edit(file, text)))
}

/// What sets it at the next boot.
fn at_boot(facts: &Facts, plan: &Plan) -> Result<Vec<Change>, Skip> {
    let mut changes = Vec::new();
    if !plan.handed.is_empty() {
        let mut rules = HEAD.to_owned();
        for handed in &plan.handed {
            let queue = format!("queues/rx-{}", handed.queue);
            rules.push_str(&format!(
                "ACTION==\"add|change|move\", SUBSYSTEM==\"net\", KERNEL==\"{}\", ATTR{{{queue}/rps_cpus}}=\"{}\", ATTR{{{queue}/rps_flow_cnt}}=\"{}\"\n",
                handed.interface,
                handed.to.to_mask(),
                handed.flows
            ));
        }
        // A name of an interface may be nearly anything.
        let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte));
        if plan.handed.iter().all(|handed| is_plain(&handed.interface)) {
            put(facts, &mut changes, RULES, &rules, 0o644)?;
        }
    }
    if let Some(entries) = plan.flow_entries {
        changes.extend(parameter(facts, "net.core.rps_sock_flow_entries", &entries.to_string())?);
    }
    let by_systemd = facts.get::<System>().is_ok_and(|system| system.init == Init::Systemd);
    if plan.placed.is_empty() || !by_systemd {
        return Ok(changes);
    }
    put(facts, &mut changes, SCRIPT, &script(&plan.placed), 0o755)?;
    put(facts, &mut changes, UNIT, &unit(), 0o644)?;
    if facts.root().metadata(WANTED).is_err() {
        directories(facts, &mut changes, WANTED)?;
        changes.push(Change::link(WANTED, UNIT));
    }
    Ok(changes)
}

/// Makes a file, and the directory that it is in; or gives it another content.
fn put(facts: &Facts, changes: &mut Vec<Change>, path: &str, text: &str, mode: u32) -> Result<(), Skip> {
    match facts.file(path)? {
        Some(old) => changes.push(Change::edit(&old, text.as_bytes().to_vec())),
        None => {
            directories(facts, changes, path)?;
            changes.push(Change::create(path, text, mode));
        }
    }
    Ok(())
}

/// Makes the directories above that are not there.
fn directories(facts: &Facts, changes: &mut Vec<Change>, path: &str) -> Result<(), Skip> {
    let mut missing = Vec::new();
    for dir in Path::new(path).ancestors().skip(1) {
        let is_planned = changes.iter().any(|change| change.path() == Some(dir));
        if is_planned || facts.root().exists(dir)? {
            break;
        }
        missing.push(Change::make_dir(dir, 0o755));
    }
    changes.extend(missing.into_iter().rev());
    Ok(())
}

/// Numbers of interrupts may be others after a boot: their names are not.
fn script(placed: &[Placed]) -> String {
    let mut text = format!(
        "#!/bin/sh\n{HEAD}# Puts interrupts of network cards on CPUs, by their names in /proc/interrupts.\n\
         place() {{\n\tawk -v name=\"$1\" '$NF == name {{ sub(\":\", \"\", $1); print $1 }}' /proc/interrupts |\n\
         \twhile read -r irq; do echo \"$2\" > \"/proc/irq/$irq/smp_affinity_list\"; done\n}}\n"
    );
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@:".contains(&byte));
    for placed in placed.iter().filter(|placed| is_plain(&placed.name)) {
        text.push_str(&format!("place {} {}\n", placed.name, placed.cpu));
    }
    text
}

fn unit() -> String {
    format!(
        "{HEAD}[Unit]\nDescription=CPUs for interrupts of network cards\nWants=network-online.target\n\
         After=network-online.target irqbalance.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart={SCRIPT}\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// Sets a parameter at every boot, in our own file.
///
/// # Errors
/// When that cannot be read.
pub fn parameter(facts: &Facts, key: &str, value: &str) -> Result<Vec<Change>, Skip> {
    let mut changes = Vec::new();
    let old = facts.file(SYSCTL)?;
    let mut text = old.as_ref().map_or(HEAD.to_owned(), |old| {
        let is_other =
            |line: &&[u8]| line.split_once_str("=").is_none_or(|(name, _)| name.trim_ascii() != key.as_bytes());
        let kept = old.bytes.lines().filter(is_other);
        kept.map(|line| format!("{}\n", line.to_str_lossy())).collect()
    });
    text.push_str(&format!("{key} = {value}\n"));
    put(facts, &mut changes, SYSCTL, &text, 0o644)?;
    Ok(changes)
}
