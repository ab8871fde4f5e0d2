//! Whose log it is: the kernels, root devices and hosts that it names, compared with a system that it came with.

use std::collections::{BTreeMap, BTreeSet};

use bstr::ByteSlice;
use sickbay_formats::kernel_log::message;

use crate::facts::Facts;
use crate::model::text::Text;
use crate::tr;

/// So many of each are kept.
const MOST: usize = 32;
/// So many lines of each block are asked for their host.
const LINES: usize = 8;

/// What a log tells of the system that wrote it.
#[derive(Debug, Default)]
pub(super) struct Origin {
    kernels: BTreeSet<String>,
    roots: BTreeSet<String>,
    hosts: BTreeMap<String, u64>,
}

impl Origin {
    /// Reads a block of whole lines.
    pub(super) fn block(&mut self, block: &[u8]) {
        let word = |at: usize| {
            let rest = block.get(at..).unwrap_or_default();
            let rest = rest.get(..rest.len().min(120)).unwrap_or_default();
            rest.split(u8::is_ascii_whitespace).next().unwrap_or_default().to_str_lossy().into_owned()
        };
        for at in block.find_iter("Linux version ").take(MOST) {
            keep(&mut self.kernels, word(at + 14));
        }
        for at in block.find_iter("root=UUID=").take(MOST) {
            keep(&mut self.roots, word(at + 10).to_ascii_lowercase());
        }
        for line in block.lines().take(LINES) {
            let said = message(line.get(..512).unwrap_or(line));
            if let Some(host) = said.host.and_then(|host| host.to_str().ok())
                && (self.hosts.len() < MOST || self.hosts.contains_key(host))
            {
                *self.hosts.entry(host.to_owned()).or_default() += 1;
            }
        }
    }
}

fn keep(set: &mut BTreeSet<String>, word: String) {
    if !word.is_empty() && set.len() < MOST {
        set.insert(word);
    }
}

/// Why the log seems to be another system's; `None` where nothing says so. A name may have been changed, a kernel removed, and a
/// wrong UUID may be the very fault: a kernel or UUID alone proves nothing against it, but either proves that it is this one's.
pub(super) fn foreign(facts: &Facts, origin: &Origin) -> Option<Text> {
    let root = facts.target().files().ok()?;
    let is_there = |release: &String| {
        let places = ["/lib/modules/", "/usr/lib/modules/", "/boot/vmlinuz-", "/boot/config-", "/boot/System.map-"];
        places.iter().any(|place| root.exists(format!("{place}{release}")).unwrap_or(true))
    };
    let volumes = facts.target().volumes.as_deref().unwrap_or_default();
    let has_root = origin.roots.iter().any(|uuid| {
        volumes.iter().any(|volume| volume.uuid.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(uuid)))
    });
    if has_root || origin.kernels.iter().any(is_there) {
        return None;
    }
    let host = origin.hosts.iter().max_by_key(|(_, lines)| **lines).map(|(host, _)| host.as_str());
    let own = root.read("/etc/hostname").ok().map(|text| text.trim_ascii().to_str_lossy().into_owned());
    let short = |name: &str| name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    if let (Some(host), Some(own)) = (host, own.filter(|own| !own.is_empty()))
        && short(host) != short(&own)
        && !matches!(host, "localhost" | "(none)")
    {
        return Some(tr!("its lines are from {host}, and this system is {own}", host, own));
    }
    match (origin.kernels.last(), origin.roots.last()) {
        (Some(kernel), Some(uuid)) if !volumes.is_empty() => Some(tr!(
            "its kernel {kernel} is not installed here, and no volume has its root's UUID {uuid}",
            kernel,
            uuid
        )),
        _ => None,
    }
}
