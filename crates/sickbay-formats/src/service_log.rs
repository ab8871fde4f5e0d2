//! What PAM, sshd and systemd write to a log when they cannot work at all: not whom they refuse, but why they must.

use std::sync::OnceLock;

use bstr::ByteSlice;

use crate::boot_console::device_path;
use crate::kernel_log::anchors::Anchors;
use crate::kernel_log::{Stamp, message};
use crate::lines::newlines;

/// What cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A module of PAM is not there; about its name.
    PamModuleMissing,
    /// A module of PAM needs a library that is not there; about the module, detail is the library.
    PamModuleLacks,
    /// A module of PAM was built for something else; about the module, detail is what the linker says.
    PamModuleBroken,
    /// A line of a PAM file has no type of module; about the service.
    PamLine,
    /// sshd was built for another OpenSSL; detail is both versions as it writes them.
    OpensslVersion,
    /// /dev/null is no device.
    DevNull,
    /// sshd's empty directory is not there; about its path.
    PrivilegeDirectory,
    /// sshd has no host key.
    HostKeys,
    /// sshd does not take its configuration; detail is what it says, about the file or sshd.
    SshdConfiguration,
    /// sshd passes over somebody's keys; about the path whose owner or mode is wrong.
    KeysRefused,
    /// logind does not answer pam_systemd in time; detail is what is said.
    SessionTimeout,
    /// A unit asks for limits that it may not have; about the unit.
    UnitLimits,
    /// A unit failed at a step before its program; about the unit, detail is what systemd says.
    UnitExec,
    /// As [`Fault::UnitExec`]: its user or group is not there.
    UnitUser,
    /// As [`Fault::UnitExec`]: a directory that it is to run in or see is not there.
    UnitDirectory,
    /// As [`Fault::UnitExec`]: a file with its environment is not there.
    UnitEnvironment,
    /// As [`Fault::UnitExec`]: another step.
    UnitStep,
    /// A device did not appear in time; about its path.
    DeviceAbsent,
    /// Something was not started because of that or another failure; about it.
    Dependency,
    /// A file system was not mounted; about where.
    MountFailed,
    /// mount(8) says why; about the words.
    MountSays,
    /// An account has expired; about it.
    AccountExpired,
    /// PAM's account rules refuse somebody whose password or key is right; about the account.
    AccountRefused,
    /// pam_faillock locked an account for a time; about it.
    AccountLocked,
    /// A unit failed; about it, detail is systemd's word for how, and what its program said last.
    UnitFailed,
    /// sudo does not understand its rules; about the place.
    Sudoers,
    /// sshd cannot listen; detail is the address and why.
    SshdBind,
    /// sshd cannot use a host key; about the file.
    HostKey,
    /// Another host uses an address of this one; about the address, detail is the other's MAC address, where it is told.
    AddressConflict,
    /// systemd-oomd killed because of pressure; about the cgroup, detail is the reason.
    OomdPressure,
    /// systemd-oomd killed, and only systemd says so; about the unit, detail is how many processes.
    OomdUnit,
    /// systemd-oomd killed because of swap; about the cgroup, detail is the reason.
    OomdSwap,
    /// earlyoom or nohang killed; about the process, detail is who.
    MemoryWatcher,
}

impl Fault {
    /// Whether a program that watches memory did it: then nothing is at fault that a file tells.
    pub fn is_of_memory(self) -> bool {
        matches!(self, Fault::OomdPressure | Fault::OomdSwap | Fault::OomdUnit | Fault::MemoryWatcher)
    }

    /// Whether a check of its own tells it.
    pub fn is_told_elsewhere(self) -> bool {
        self.is_of_memory() || self == Fault::AddressConflict
    }
}

/// A fault as one sentence tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What cannot work.
    pub fault: Fault,
    /// About what.
    pub subject: String,
    /// More, as [`Fault`] says.
    pub detail: String,
}

/// The same thing, once or many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What.
    pub told: Told,
    /// How often.
    pub count: u64,
    /// When first.
    pub first: Option<Stamp>,
    /// When last.
    pub last: Option<Stamp>,
    /// The first line that says it.
    pub words: String,
    /// Its source, and its line there, from 1.
    pub source: usize,
    /// See `source`.
    pub line: u64,
}

/// Reads logs for such sentences. Feed it blocks of whole lines.
#[derive(Debug, Default)]
pub struct Scanner {
    /// What was seen, in order.
    pub seen: Vec<Seen>,
    source: usize,
    lines: u64,
}

/// No more different ones are kept.
const MOST: usize = 64;

/// Words that such sentences have, in two sets that are searched one after the other: as for the kernel's.
const WORDS: [&[&str]; 2] = [
    &[
        "SSL version",
        "rivilege separation dir",
        "dev/null",
        "PAM:",
        "Bind to port ",
        "keys avail",
        ", status=2",
        "Bad SSH2 ",
        "ue to memory ",
        "create session: ",
        "th signal ",
        "ad configuration option",
        "near line ",
        "bad ownership",
    ],
    &[
        "lures for user",
        "Failed with result ",
        "unknown filesystem type",
        "waiting for device ",
        "oomd killed ",
        "Dependency failed for ",
        "host key",
        " at step ",
        "just resource limit",
        "sending SIG",
        "environment files",
        "Failed to mount ",
        "PAM ",
        "ong fs type",
        "plicate address",
        "ess conflict",
        "ct for address",
        "laims ",
        "eady uses address",
    ],
];

impl Scanner {
    /// From now on blocks are of this source.
    pub fn source(&mut self, source: usize) {
        self.source = source;
        self.lines = 0;
    }

    /// Reads a block that so many lines of its source are before.
    pub fn block(&mut self, block: &[u8], before: u64) {
        static ANCHORS: OnceLock<Anchors> = OnceLock::new();
        let mut places = Vec::new();
        ANCHORS.get_or_init(|| Anchors::of(&WORDS)).find(block, &mut places);
        self.lines = before;
        let mut counted = 0;
        let mut next = 0;
        for place in places {
            if place < next {
                continue;
            }
            let begin = block.get(..place).and_then(|head| head.rfind_byte(b'\n')).map_or(0, |end| end + 1);
            let rest = block.get(begin..).unwrap_or_default();
            let end = rest.find_byte(b'\n').unwrap_or(rest.len());
            next = begin + end;
            self.lines += newlines(block.get(counted..begin).unwrap_or_default());
            counted = begin;
            let line = rest.get(..end.min(2048)).unwrap_or_default();
            self.line(line, rest.get(end + 1..).unwrap_or_default(), block.get(..begin).unwrap_or_default());
        }
    }

    fn line(&mut self, line: &[u8], behind: &[u8], before: &[u8]) {
        let said = message(line);
        let mut text = said.text.to_str_lossy().into_owned();
        // What systemd prints on a console has the kernel's prefix and its own.
        if said.certain && !is_of_program(&text) && !text.contains("IPv6 duplicate address") {
            return;
        }
        // A copy of a log may be wrapped: the second half has no prefix.
        for more in behind.lines().take(2) {
            let other = message(more.get(..512).unwrap_or(more));
            if other.prefixed || other.text.trim_ascii().is_empty() || is_of_program(&other.text.to_str_lossy()) {
                break;
            }
            text.push(' ');
            text.push_str(other.text.to_str_lossy().trim());
        }
        let Some(mut told) = told(&text) else { return };
        if told.fault == Fault::UnitFailed
            && let Some(last) = last_words(before, &told.subject)
        {
            told.detail = format!("{}: {last}", told.detail);
        }
        if let Some(seen) =
            self.seen.iter_mut().find(|seen| seen.told.fault == told.fault && seen.told.subject == told.subject)
        {
            seen.count += 1;
            seen.last = said.time.or(seen.last);
        } else if self.seen.len() < MOST {
            let words = text.chars().take(300).collect();
            let (source, line) = (self.source, self.lines + 1);
            self.seen.push(Seen { told, count: 1, first: said.time, last: said.time, words, source, line });
        }
    }
}

/// So many lines before a unit's failure its program may have said why.
const WHY: usize = 40;

/// What the program of a unit said last: its name is the unit's, as is most often so.
fn last_words(before: &[u8], unit: &str) -> Option<String> {
    let stem = unit.split(['.', '@']).next().filter(|stem| stem.len() > 1)?;
    let (with_pid, plain) = (format!(" {stem}["), format!(" {stem}: "));
    let mut lines = before.rsplit(|byte| *byte == b'\n').skip(1).take(WHY);
    let line = lines.find(|line| {
        let head = line.get(..200.min(line.len())).unwrap_or_default();
        head.contains_str(&with_pid) || head.contains_str(&plain)
    })?;
    let said = message(line.get(..2048.min(line.len())).unwrap_or_default());
    let text = said.text.to_str_lossy().trim().chars().take(160).collect::<String>();
    (!text.is_empty()).then_some(text)
}

/// Whether a text begins as a program's line does: `sshd[888]: `.
fn is_of_program(text: &str) -> bool {
    let Some((head, _)) = text.split_once("]: ") else { return false };
    let Some((name, pid)) = head.split_once('[') else { return false };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.()".contains(c));
    is_name && !pid.is_empty() && pid.chars().all(|c| c.is_ascii_digit())
}

/// What a sentence tells.
pub fn told(text: &str) -> Option<Told> {
    let fault = |fault, subject: &str, detail: &str| {
        let short = |text: &str| text.trim().chars().take(160).collect::<String>();
        Some(Told { fault, subject: short(subject), detail: short(detail) })
    };
    if let Some((_, rest)) = text.split_once("PAM unable to dlopen(") {
        let (path, why) = rest.split_once(')')?;
        let module = path.rsplit('/').next().unwrap_or(path);
        let why = why.trim_start_matches([':', ' ']);
        let (object, said) = why.split_once(": ").unwrap_or(("", why));
        let absent = said.contains("o such file") || said.contains("cannot open shared object file");
        return match absent {
            true if object.is_empty() || object.rsplit('/').next() == Some(module) => {
                fault(Fault::PamModuleMissing, module, "")
            }
            true => fault(Fault::PamModuleLacks, module, object),
            false => fault(Fault::PamModuleBroken, module, said),
        };
    }
    if text.contains("PAM ")
        && (text.contains("empty module type") || text.contains("illegal module type"))
        && let Some((_, rest)) = text.split_once("PAM (")
    {
        return fault(Fault::PamLine, rest.split(')').next()?, "");
    }
    if let Some((_, rest)) = text.split_once("OpenSSL version mismatch. ") {
        return fault(Fault::OpensslVersion, "sshd", rest);
    }
    if text.contains("/dev/null is not a character device") || text.contains("Couldn't open /dev/null") {
        return fault(Fault::DevNull, "/dev/null", "");
    }
    if let Some((_, rest)) = text.split_once("issing privilege separation directory: ") {
        return fault(Fault::PrivilegeDirectory, rest.split_whitespace().next()?, "");
    }
    if let Some((head, rest)) = text.split_once("Bad configuration option")
        && !text.contains("command-line")
    {
        let file = head.split_whitespace().find(|word| word.starts_with('/')).unwrap_or("sshd");
        // ssh(1) says the same of its own file.
        let is_sshds = file.contains("sshd_config") || head.contains("sshd");
        let said = format!("Bad configuration option{rest}");
        return is_sshds.then(|| fault(Fault::SshdConfiguration, file.trim_end_matches(':'), &said)).flatten();
    }
    if let Some((head, rest)) = text.split_once("Bad SSH2 ")
        && head.contains("sshd")
    {
        let file = head.split_whitespace().find(|word| word.starts_with('/')).unwrap_or("sshd");
        return fault(Fault::SshdConfiguration, file.trim_end_matches(':'), &format!("Bad SSH2 {rest}"));
    }
    if let Some((_, rest)) = text.split_once("Authentication refused: bad ownership or modes for ") {
        return fault(Fault::KeysRefused, rest.split_whitespace().nth(1)?, "");
    }
    if let Some((head, rest)) = text.split_once("Failed to create session: ")
        && head.contains("pam_systemd")
        && (rest.contains("timed out") || rest.contains("imeout"))
    {
        return fault(Fault::SessionTimeout, "systemd-logind", rest);
    }
    if text.contains("no hostkeys available") {
        return fault(Fault::HostKeys, "sshd", "");
    }
    if let Some((head, rest)) = text.split_once("Failed at step ")
        && let Some((step, program)) = rest.split_once(" spawning ")
    {
        let unit = head.trim().trim_end_matches(':').rsplit(' ').next().unwrap_or_default();
        return match of_step(step) {
            Fault::UnitLimits => fault(Fault::UnitLimits, unit, program),
            what => fault(what, unit, &format!("{step}: {program}")),
        };
    }
    if let Some((head, rest)) = text.split_once(", status=2")
        && let Some((unit, _)) =
            head.split_once(": Main process exited").or_else(|| head.split_once(": Control process exited"))
        && let Some((number, name)) = rest.split(char::is_whitespace).next().unwrap_or_default().split_once('/')
        && number.len() == 2
    {
        // The steps are told by themselves; a program's own numbers have no such names.
        let step = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let unit = unit.rsplit(' ').next().unwrap_or_default();
        return step.then(|| fault(of_step(name), unit, &format!("status=2{number}/{name}"))).flatten();
    }
    // `systemctl status`: `Process: 2176 ExecStart=/srv/app/run (code=exited, status=203/EXEC)`.
    if let Some((head, rest)) = text.split_once(" (code=exited, status=2")
        && let Some((_, program)) = head.split_once(" ExecStart=")
        && let Some((number, name)) = rest.split(')').next().unwrap_or_default().split_once('/')
        && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    {
        let program = program.split(' ').next().unwrap_or(program);
        return fault(of_step(name), program, &format!("status=2{number}/{name}"));
    }
    if let Some((_, rest)) = text.split_once("Timed out waiting for device ") {
        return fault(Fault::DeviceAbsent, &device_path(unit_described(rest)), "");
    }
    if let Some((head, rest)) = text.split_once("Dependency failed for ") {
        return is_systemd(head).then(|| fault(Fault::Dependency, unit_described(rest), "")).flatten();
    }
    if let Some((head, rest)) = text.split_once("Failed to mount ") {
        let path = unit_described(rest);
        let is_unit = is_systemd(head) && path.starts_with('/');
        return is_unit.then(|| fault(Fault::MountFailed, path, "")).flatten();
    }
    if let Some(rest) = text.strip_prefix("mount: ").or_else(|| text.split_once("]: mount: ").map(|(_, rest)| rest)) {
        return fault(Fault::MountSays, rest, "");
    }
    if let Some((head, rest)) = text.split_once(": systemd-oomd killed ")
        && rest.contains("process")
    {
        let unit = head.rsplit(' ').next().unwrap_or_default();
        return fault(Fault::OomdUnit, unit, rest.split(' ').next().unwrap_or_default());
    }
    if let Some((_, rest)) = text.split_once("PAM: User account has expired for ") {
        let user = rest.split(" from ").next().unwrap_or(rest);
        return fault(Fault::AccountExpired, user.trim_start_matches("illegal user "), "");
    }
    if let Some((_, rest)) = text.split_once("Access denied for user ")
        && let Some((user, _)) = rest.split_once(" by PAM account configuration")
    {
        return fault(Fault::AccountRefused, user, "");
    }
    if let Some((_, rest)) = text.split_once("Consecutive login failures for user ")
        && let Some((user, _)) = rest.split_once(" account temporarily locked")
    {
        return fault(Fault::AccountLocked, user, "");
    }
    if let Some((_, rest)) = text.split_once("Marked /")
        && let Some((cgroup, why)) = rest.split_once(" for killing due to memory ")
    {
        let what = if why.starts_with("pressure") { Fault::OomdPressure } else { Fault::OomdSwap };
        return fault(what, &format!("/{cgroup}"), &format!("memory {}", why.trim()));
    }
    if let Some((_, rest)) = text.split_once("Killed /")
        && let Some((cgroup, why)) = rest.split_once(" due to memory ")
    {
        let what = if why.starts_with("pressure") { Fault::OomdPressure } else { Fault::OomdSwap };
        return fault(what, &format!("/{cgroup}"), &format!("memory {}", why.trim()));
    }
    if let Some((head, rest)) = text.split_once("sending SIG")
        && let Some((_, process)) = rest.split_once(" to process ")
    {
        let name = process.split('"').nth(1).unwrap_or_else(|| process.split(' ').next().unwrap_or_default());
        let who = head.trim().trim_end_matches(':').rsplit(' ').next().unwrap_or_default();
        let who = who.split('[').next().unwrap_or_default();
        return fault(Fault::MemoryWatcher, name, if who.is_empty() { "earlyoom" } else { who });
    }
    // earlyoom before 1.3: `killing process 27541 "bash" with signal 15: badness 550, VmRSS 7609 MiB`.
    if let Some((_, rest)) = text.split_once("illing process ")
        && rest.contains(" with signal ")
        && rest.contains("badness")
    {
        let name = rest.split(['"', '\'']).nth(1).unwrap_or_else(|| rest.split(' ').next().unwrap_or_default());
        return fault(Fault::MemoryWatcher, name, "earlyoom");
    }
    if let Some((head, rest)) = text.split_once(": Failed with result '") {
        let unit = head.rsplit(' ').next().unwrap_or_default();
        let result = rest.split('\'').next().unwrap_or_default();
        return unit.contains('.').then(|| fault(Fault::UnitFailed, unit, result)).flatten();
    }
    if let Some((head, rest)) = text.split_once("error near line ")
        && (head.contains("sudoers") || text.contains("sudo"))
    {
        // `/etc/sudoers:27: syntax error near line 27 <<<`, `parse error in /etc/sudoers near line 27`.
        let file = head.split([' ', ':']).find(|word| word.starts_with('/')).unwrap_or("/etc/sudoers");
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return fault(Fault::Sudoers, file, &number);
    }
    if let Some((address, mac)) = address_conflict(text) {
        return fault(Fault::AddressConflict, address, mac);
    }
    if let Some((_, rest)) = text.split_once("Bind to port ") {
        return rest.contains(" failed").then(|| fault(Fault::SshdBind, "sshd", rest)).flatten();
    }
    for words in ["Could not load host key: ", "Unable to load host key: ", "Unable to load host key "] {
        if let Some((_, rest)) = text.split_once(words) {
            let path = rest.split_whitespace().next()?.trim_matches(['"', ':']);
            return fault(Fault::HostKey, path, "");
        }
    }
    if let Some((head, why)) = text.split_once("Failed to load environment files: ") {
        let unit = head.trim().trim_end_matches(':').rsplit(' ').next().unwrap_or_default();
        return fault(Fault::UnitEnvironment, unit, why);
    }
    if let Some((head, limit)) = text.split_once("Failed to adjust resource limit ") {
        let unit = head.trim().trim_end_matches(':').rsplit(' ').next().unwrap_or_default();
        return fault(Fault::UnitLimits, unit, limit);
    }
    None
}

/// An address that another host has, and that one's MAC address where it is told: the kernel's detection of duplicates
/// (addrconf_dad_failure in net/ipv6/addrconf.c), systemd-networkd, NetworkManager, ifup-eth of initscripts, dhcpcd.
fn address_conflict(text: &str) -> Option<(&str, &str)> {
    let is_mac = |word: &&str| word.len() == 17 && word.split(':').count() == 6;
    let (address, behind) = [
        ("IPv6 duplicate address ", "detected"),
        ("Dropping address ", "address conflict"),
        ("Cannot configure requested address ", "address conflict"),
        ("conflict for address ", "detected"),
        (" already uses address ", ""),
        (" claims ", ""),
    ]
    .iter()
    .find_map(|(before, behind)| Some((text.split_once(before)?.1, behind)))?;
    if !address.contains(behind) || (text.contains(" claims ") && !text.contains("hardware address ")) {
        return None;
    }
    let found = address.split([' ', ',']).next().unwrap_or_default().trim_end_matches('.');
    let found = found.split('/').next().unwrap_or_default();
    found.parse::<std::net::IpAddr>().ok()?;
    let mac = text.split([' ', '(', ')']).find(is_mac).unwrap_or_default();
    Some((found, mac))
}

/// What fails at a step that systemd takes before the unit's program (systemd.exec(5)).
fn of_step(step: &str) -> Fault {
    match step {
        "LIMITS" => Fault::UnitLimits,
        "EXEC" => Fault::UnitExec,
        "USER" | "GROUP" => Fault::UnitUser,
        "CHDIR"
        | "CHROOT"
        | "NAMESPACE"
        | "RUNTIME_DIRECTORY"
        | "STATE_DIRECTORY"
        | "CACHE_DIRECTORY"
        | "LOGS_DIRECTORY"
        | "CONFIGURATION_DIRECTORY" => Fault::UnitDirectory,
        _ => Fault::UnitStep,
    }
}

/// Whether what stands before systemd's words is nothing, its name, or what it prints on a console.
fn is_systemd(head: &str) -> bool {
    head.trim().is_empty() || head.contains("systemd") || head.contains("[DEPEND]") || head.contains("[FAILED]")
}

/// `boot-efi.mount - /boot/efi.` and `/boot/efi.` → `/boot/efi`.
fn unit_described(text: &str) -> &str {
    let text = text.trim().trim_end_matches('.');
    text.split_once(" - ").map_or(text, |(_, what)| what)
}

#[cfg(test)]
mod tests;
