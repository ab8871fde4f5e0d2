//! The packet filters: as they are in force, and as the files of the programs that a boot starts make them.

mod decider;
mod saved;

use std::time::Duration;

use bstr::ByteSlice;
use sickbay_formats::filter::{RuleSet, ipset, iptables, nft};
use sickbay_target::{command, netlink};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

pub use self::decider::{Decider, decider};
pub use self::saved::{Saved, Source, user_rule};

/// The rules that are in force on this machine.
#[derive(Debug)]
pub struct Running(pub RuleSet);

/// A program that prints rules is waited for so long, and may print so much.
const PATIENCE: Duration = Duration::from_secs(8);
const MOST: usize = 64 << 20;

impl Fact for Running {
    fn gather(facts: &Facts) -> Result<Running, Skip> {
        if !facts.target().can_be_asked() {
            return Err(Skip::NotApplicable(tr!("it is not the running system")));
        }
        let mut rules = RuleSet::default();
        let has_nft = has_nf_tables(facts)?;
        let mut left_out = None;
        if has_nft && is_installed(facts, "nft") {
            let text = printed(facts, "nft", &["-a", "list", "ruleset"])?;
            nft::read(&mut rules, "nft list ruleset", &text, &mut |_| Vec::new());
        } else if has_nft {
            left_out = Some(tr!("nf_tables has rules, and nft is not installed"));
        }
        for (v6, names, old) in
            [(false, "iptables", "/proc/net/ip_tables_names"), (true, "ip6tables", "/proc/net/ip6_tables_names")]
        {
            // Those of nf_tables that iptables made, and those of old: each by its own program. A table of old that nobody uses
            // is not asked for: that would load a module.
            let has_old = facts.root().read(old).is_ok_and(|names| !names.trim_ascii().is_empty());
            if has_old {
                let program = pick(facts, &[&format!("{names}-legacy-save"), &format!("{names}-save")]);
                let Some(program) = program else {
                    left_out = Some(tr!(
                        "{path} names tables, and {program} is not installed",
                        path = old,
                        program = format!("{names}-save")
                    ));
                    continue;
                };
                let text = printed(facts, &program, &["-c"])?;
                let mut own = RuleSet::default();
                iptables::read(&mut own, &program, &text, v6);
                add(&mut rules, own);
            }
            let program = pick(facts, &[&format!("{names}-nft-save"), &format!("{names}-save")]);
            if let Some(program) = program.filter(|_| has_nft)
                && let Ok(text) = printed(facts, &program, &["-c"])
                && text.contains_str("nf_tables")
            {
                let mut own = RuleSet::default();
                iptables::read(&mut own, &program, &text, v6);
                rules.merge(own);
            }
        }
        let asks_for_sets =
            rules.chains.iter().flat_map(|chain| &chain.rules).any(|rule| rule.text.contains("--match-set"));
        if asks_for_sets && is_installed(facts, "ipset") {
            ipset::read(&mut rules, &printed(facts, "ipset", &["save"])?);
        }
        if let Some(why) = left_out {
            return Err(Skip::Unknown(why));
        }
        rules.link();
        Ok(Running(rules))
    }
}

/// Adds tables beside those of the same name: those of old and those of nf_tables both count.
fn add(rules: &mut RuleSet, mut other: RuleSet) {
    // Chains are found by the names of their tables: these get one of their own.
    for chain in &mut other.chains {
        chain.table = format!("{} (legacy)", chain.table).into();
    }
    rules.merge(other);
}

fn pick(facts: &Facts, names: &[&str]) -> Option<String> {
    names.iter().find(|name| is_installed(facts, name)).map(|name| (*name).to_owned())
}

/// Whether nf_tables is in the kernel and has tables. Where it is not in the kernel, nobody asks: that would load it.
fn has_nf_tables(facts: &Facts) -> Result<bool, Skip> {
    let loaded = facts.root().read("/proc/modules").ok();
    let is_loaded = loaded.as_ref().is_some_and(|text| text.lines().any(|line| line.starts_with(b"nf_tables ")));
    // A kernel without modules, or with this one inside.
    let is_inside = loaded.as_ref().is_none_or(|text| text.is_empty())
        || facts.root().read("/proc/sys/kernel/osrelease").is_ok_and(|release| {
            let path = format!("/lib/modules/{}/modules.builtin", release.trim_ascii().to_str_lossy());
            facts.root().read(path).is_ok_and(|text| text.contains_str("/nf_tables.ko"))
        });
    if !is_loaded && !is_inside {
        return Ok(false);
    }
    match facts.root().ask("has nf_tables tables", || Ok(vec![u8::from(netlink::has_nf_tables()?)])) {
        Ok(has) => Ok(has == [1]),
        // EINVAL, EPROTONOSUPPORT …: a kernel without it.
        Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => Ok(false),
        // root in a container without CAP_NET_ADMIN: the filter is that of the machine around it.
        Err(_) if is_by_root(facts) => {
            Err(Skip::NotApplicable(tr!("the packet filter is not to be seen from inside this container")))
        }
        Err(error) => Err(Skip::Unknown(refused(&error.to_string()))),
    }
}

/// Whether root asked.
fn is_by_root(facts: &Facts) -> bool {
    let live = || Ok(sickbay_target::user().to_string().into_bytes());
    facts.root().ask("user ID", live).is_ok_and(|answer| answer == b"0")
}

fn refused(error: &str) -> Text {
    tr!("the rules of the packet filter could not be read: {error}", error)
}

fn printed(facts: &Facts, program: &str, args: &[&str]) -> Result<Vec<u8>, Skip> {
    let question = format!("{program} {}", args.join(" "));
    let output = facts.root().ask(&question, || run(program, args).map_err(std::io::Error::other));
    output.map_err(|error| Skip::Unknown(refused(&error.to_string())))
}

fn is_installed(facts: &Facts, program: &str) -> bool {
    let live = || Ok(vec![u8::from(command::is_installed(program))]);
    facts.root().ask(&format!("is {program} installed"), live).is_ok_and(|answer| answer == [1])
}

fn run(program: &str, args: &[&str]) -> Result<Vec<u8>, String> {
    let output = command::run(program, args, b"", PATIENCE, MOST).map_err(|error| error.to_string())?;
    if !output.success() {
        return Err(format!("{program}: {}", output.complaint()));
    }
    if output.cut {
        return Err(format!("{program} printed more than 64 MiB"));
    }
    Ok(output.stdout)
}
