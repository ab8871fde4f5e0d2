//! Where a kernel parameter comes from: every file that sets it, in the order of a boot, what is left of that after a restart, and what
//! it is now.

mod later;

use std::path::Path;
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use sickbay_formats::network::glob;
use sickbay_formats::span::Span;
use sickbay_formats::sysctl;

use crate::facts::Facts;
use crate::facts::system::kernel::running;
use crate::facts::system::release::{Init, System};
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tune::kernel::Machine;
use crate::tune::knowledge::{self, Judgement, Key};
use crate::tune::lint;

/// How a line comes to set the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// By its name.
    Name,
    /// By a pattern: a line with the name goes before it (sysctl.d(5)).
    Pattern,
    /// It keeps patterns from setting it, and sets nothing itself: `-KEY`.
    Kept,
    /// Not at all: no boot reads the file.
    NotAtBoot,
    /// Later, by what starts with the system or runs on it: the whole line.
    Later,
}

/// A line that sets the parameter.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The words that a caret points at.
    pub span: Span,
    /// What it is set to.
    pub value: String,
    /// How.
    pub how: How,
}

/// Where a parameter comes from.
#[derive(Debug)]
pub struct Origin {
    /// Its name with dots.
    pub key: String,
    /// What is known of it.
    pub known: Option<&'static Key>,
    /// The kernel that runs; `None` for a target that does not.
    pub machine: Option<Machine>,
    /// What it is now; `None` where that cannot be read.
    pub now: Option<String>,
    /// What the kernel makes of it by itself.
    pub default: Option<String>,
    /// Lines that set it, in the order of a boot.
    pub settings: Vec<Setting>,
    /// The one of them that wins.
    pub winner: Option<usize>,
    /// For a card of which no line says anything: the parameter that new cards take theirs from, and the line that sets that.
    pub inherits: Option<(String, Setting)>,
    /// What is said of the value that wins, or of the present one.
    pub said: Option<Judgement>,
    /// Files that could not be read.
    pub unread: Vec<Text>,
}

impl Origin {
    /// Asks for one parameter.
    ///
    /// # Errors
    /// When the files of the target cannot be read.
    pub fn of(facts: &Facts, key: &str) -> Result<Origin, Skip> {
        let key = dotted(key);
        let files = facts.get::<SysctlFiles>()?;
        let mut settings = Vec::new();
        let mut patterns = Vec::new();
        for (file, assignments) in &files.files {
            for one in assignments {
                let how = match one.key.to_str() {
                    Ok(name) if name == key && one.value.is_none() => How::Kept,
                    Ok(name) if name == key => How::Name,
                    Ok(name) if one.value.is_some() && matches(name, &key) => How::Pattern,
                    _ => continue,
                };
                let value = one.value.as_ref().map(ToString::to_string).unwrap_or_default();
                patterns.push((how == How::Pattern).then(|| one.key.clone()));
                settings.push(Setting { file: Arc::clone(file), span: one.span, value, how });
            }
        }
        let winner = winner(&settings, &patterns);
        settings.extend(not_at_boot(facts, &files, &key)?);
        settings.extend(later::lines(facts, &key));
        let inherits = match (winner, of_new_cards(&key)) {
            (None, Some(general)) => {
                let origin = Origin::of(facts, &general)?;
                let set = origin.winner.and_then(|index| origin.settings.get(index).cloned());
                set.map(|set| (general, set))
            }
            _ => None,
        };
        let known = knowledge::find(&key);
        let machine = Machine::of(facts).ok();
        let now = now(facts, &key);
        let default = known.zip(machine.as_ref()).and_then(|(known, machine)| known.default(machine));
        let value =
            winner.and_then(|index| settings.get(index)).map(|setting| setting.value.clone()).or_else(|| now.clone());
        // What the kernel does not have is said of no value.
        let is_absent = known.zip(machine.as_ref()).is_some_and(|(known, machine)| !known.is_in(machine));
        let value = value.or_else(|| is_absent.then(String::new));
        let said = value
            .zip(machine.as_ref())
            .map(|(value, machine)| lint::parameter(&key, &value, machine, &|other| now_number(facts, other)));
        Ok(Origin { known, machine, now, default, settings, winner, inherits, said, unread: files.unread.clone(), key })
    }

    /// What it will be after a restart, as far as files and the kernel's own default tell.
    pub fn after_restart(&self) -> Option<&str> {
        match self.winner.and_then(|index| self.settings.get(index)) {
            Some(setting) => Some(&setting.value),
            None => match &self.inherits {
                Some((_, setting)) => Some(&setting.value),
                None => self.default.as_deref(),
            },
        }
    }
}

/// What a parameter of the running kernel is; `None` where it has none, or does not run.
pub fn now(facts: &Facts, key: &str) -> Option<String> {
    running(facts).ok()?;
    let bytes = facts.root().read(sickbay_target::sysctl_path(key)).ok()?;
    Some(bytes.to_str_lossy().split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Its first number.
pub fn now_number(facts: &Facts, key: &str) -> Option<i128> {
    now(facts, key)?.split(' ').next()?.parse().ok()
}

/// Which line wins: of those with the name the last, which may be one that sets nothing; else of the patterns the one that came last. One that
/// is only repeated with the same value stays where it was (systemd-sysctl).
fn winner(settings: &[Setting], patterns: &[Option<BString>]) -> Option<usize> {
    if let Some(last) = settings.iter().rposition(|one| matches!(one.how, How::Name | How::Kept)) {
        return (settings.get(last)?.how == How::Name).then_some(last);
    }
    // The pattern, its value, and the line that gave it its place and the one that says it last.
    let mut order: Vec<(&BString, &str, usize)> = Vec::new();
    for (index, (setting, pattern)) in settings.iter().zip(patterns).enumerate() {
        let Some(pattern) = pattern else { continue };
        match order.iter().position(|(known, ..)| *known == pattern) {
            Some(at) if order.get(at).is_some_and(|(_, value, _)| *value == setting.value) => {}
            at => {
                if let Some(at) = at {
                    order.remove(at);
                }
                order.push((pattern, &setting.value, index));
            }
        }
    }
    order.last().map(|(_, _, index)| *index)
}

/// Where the kernel takes the value for a new card from: `net.ipv4.conf.default.rp_filter` for `net.ipv4.conf.eth0.rp_filter`.
fn of_new_cards(key: &str) -> Option<String> {
    let parts: Vec<&str> = key.split('.').collect();
    match parts.as_slice() {
        ["net", family @ ("ipv4" | "ipv6"), kind @ ("conf" | "neigh"), card, leaf]
            if !matches!(*card, "all" | "default") =>
        {
            Some(format!("net.{family}.{kind}.default.{leaf}"))
        }
        _ => None,
    }
}

/// The name as sysctl(8) prints it: where the first separator is a slash, slashes separate.
fn dotted(key: &str) -> String {
    let key = key.trim_start_matches("/proc/sys").trim_start_matches(['/', '.']);
    let first = key.find(['.', '/']).and_then(|at| key.get(at..));
    let swap = |letter| match letter {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    if first.is_some_and(|rest| rest.starts_with('/')) { key.chars().map(swap).collect() } else { key.to_owned() }
}

/// Whether a pattern of sysctl.d(5) names the parameter: each part of it on its own, as glob(7) reads it.
fn matches(pattern: &str, key: &str) -> bool {
    if !pattern.contains(['*', '?', '[']) {
        return false;
    }
    let (pattern, key): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), key.split('.').collect());
    // A name with a slash in it is one with a dot (`eth0/200` is `eth0.200`).
    pattern.len() == key.len() && pattern.iter().zip(&key).all(|(pattern, part)| glob(pattern, part))
}

/// Lines of `/etc/sysctl.conf` where systemd has no link to it: only `sysctl -p` reads them.
fn not_at_boot(facts: &Facts, files: &SysctlFiles, key: &str) -> Result<Vec<Setting>, Skip> {
    let path = Path::new("/etc/sysctl.conf");
    if facts.get::<System>()?.init != Init::Systemd || files.files.iter().any(|(file, _)| file.path == path) {
        return Ok(Vec::new());
    }
    let Some(file) = facts.file(path).ok().flatten() else { return Ok(Vec::new()) };
    let lines = sysctl::parse(&file.bytes).into_iter().filter(|one| one.key == key);
    let of = |one: sysctl::Assignment| {
        let value = one.value?.to_string();
        Some(Setting { file: Arc::clone(&file), span: one.span, value, how: How::NotAtBoot })
    };
    Ok(lines.filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::{dotted, matches, of_new_cards};

    #[test]
    fn names() {
        assert_eq!(dotted("/proc/sys/net/ipv4/conf/eth0.1/rp_filter"), "net.ipv4.conf.eth0/1.rp_filter");
        assert_eq!(dotted("net.ipv4.ip_forward"), "net.ipv4.ip_forward");
        assert_eq!(of_new_cards("net.ipv4.conf.eth0.rp_filter").as_deref(), Some("net.ipv4.conf.default.rp_filter"));
        assert_eq!(of_new_cards("net.ipv4.conf.all.rp_filter"), None);
        assert_eq!(of_new_cards("vm.swappiness"), None);
    }

    #[test]
    fn patterns() {
        assert!(matches("net.ipv4.conf.*.rp_filter", "net.ipv4.conf.eth0.rp_filter"));
        assert!(matches("net.ipv4.conf.eth*.rp_filter", "net.ipv4.conf.eth0.rp_filter"));
        assert!(!matches("net.ipv4.conf.eth*.rp_filter", "net.ipv4.conf.lo.rp_filter"));
        assert!(!matches("net.ipv4.conf.*", "net.ipv4.conf.eth0.rp_filter"));
        assert!(!matches("vm.swappiness", "vm.swappiness"));
        assert!(matches("net.ipv4.conf.*th?.rp_filter", "net.ipv4.conf.eth0.rp_filter"));
        assert!(!matches("net.*.rp_filter", "net.ipv4.conf.eth0.rp_filter"));
    }
}
