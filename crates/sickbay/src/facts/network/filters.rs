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
        if !facts.target().is_this_machine() {
            return Err(Skip::NotApplicable(tr!("it is not the running system")));
        }
        let mut rules = RuleSet::default();
        let has_nft = has_nf_tables(facts)?;
        let mut left_out = None;
        if has_nft && command::is_installed("nft") {
            let text = printed("nft", &["-a", "list", "ruleset"])?;
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
                let program = pick(&[&format!("{names}-legacy-save"), &format!("{names}-save")]);
                let Some(program) = program else {
                    left_out = Some(tr!(
                        "{path} names tables, and {program} is not installed",
                        path = old,
                        program = format!("{names}-save")
                    ));
                    continue;
                };
                let text = printed(&program, &["-c"])?;
                let mut own = RuleSet::default();
                iptables::read(&mut own, &program, &text, v6);
                add(&mut rules, own);
            }
            let program = pick(&[&format!("{names}-nft-save"), &format!("{names}-save")]);
            if let Some(program) = program.filter(|_| has_nft)
                && let Ok(text) = printed(&program, &["-c"])
                && text.contains_str("nf_tables")
            {
                let mut own = RuleSet::default();
                iptables::read(&mut own, &program, &text, v6);
                rules.merge(own);
            }
        }
        let asks_for_sets =
            rules.chains.iter().flat_map(|chain| &chain.rules).any(|rule| rule.text.contains("--match-set"));
        if asks_for_sets && command::is_installed("ipset") {
            ipset::read(&mut rules, &printed("ipset", &["save"])?);
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

fn pick(names: &[&str]) -> Option<String> {
    names.iter().find(|name| command::is_installed(name)).map(|name| (*name).to_owned())
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
    match netlink::has_nf_tables() {
        Ok(has) => Ok(has),
        // EINVAL, EPROTONOSUPPORT …: a kernel without it.
        Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => Ok(false),
        // root in a container without CAP_NET_ADMIN: the filter is that of the machine around it.
        Err(_) if sickbay_target::user() == 0 => {
            Err(Skip::NotApplicable(tr!("the packet filter is not to be seen from inside this container")))
        }
        Err(error) => Err(Skip::Unknown(refused(&error.to_string()))),
    }
}

fn refused(error: &str) -> Text {
    tr!("the rules of the packet filter could not be read: {error}", error)
}

fn printed(program: &str, args: &[&str]) -> Result<Vec<u8>, Skip> {
    let fail = |error: String| Skip::Unknown(refused(&error));
    let output = command::run(program, args, b"", PATIENCE, MOST).map_err(|error| fail(error.to_string()))?;
    if !output.success() {
        return Err(fail(format!("{program}: {}", output.complaint())));
    }
    if output.cut {
        return Err(fail(format!("{program} printed more than 64 MiB")));
    }
    Ok(output.stdout)
}
