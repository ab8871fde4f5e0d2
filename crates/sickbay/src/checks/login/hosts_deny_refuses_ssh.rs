//! hosts.deny keeps everybody from sshd.

use sickbay_formats::hosts_access::{Rule, rules};
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::facts::login::sshd::Sshd;
use crate::facts::login::sshd_service::SshdService;
use crate::facts::packages::libraries::{Body, Libraries};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "kex_exchange_identification: read: Connection reset by peer" or "ssh_exchange_identification:
    /// Connection closed by remote host"; in the server's log "refused connect from".
    ///
    /// ## What it finds
    /// A rule in `/etc/hosts.deny` that refuses every client of sshd (`ALL: ALL`, `sshd: ALL`), with no rule for sshd
    /// in `/etc/hosts.allow`, on a system whose sshd starts at boot and is linked with libwrap, which reads these files
    /// (Debian, Ubuntu, RHEL up to 7). Where hosts.allow has any rule for sshd, somebody has thought about it.
    ///
    /// ## Why it matters
    /// sshd closes every connection before it asks for a user name. No password and no key helps.
    ///
    /// ## What the repair does
    /// Adds `sshd: ALL` to hosts.allow, which is read first. Risky: hosts.deny was written to keep somebody out.
    ///
    /// ## By hand
    /// ```sh
    /// # better: only the addresses that should get in
    /// echo 'sshd: 192.0.2.0/24' >> ROOT/etc/hosts.allow
    /// ```
    "hosts-deny-refuses-ssh", Login, seed = ["L10"], proves = [SshdPolicy], "hosts.deny refuses every ssh client"
}

const DENY: &str = "/etc/hosts.deny";
const ALLOW: &str = "/etc/hosts.allow";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let body = facts.get::<Libraries>()?.look(facts.root(), &sshd.program);
    let linked = matches!(&*body, Body::Elf(elf) if elf.needed.iter().any(|name| name.starts_with(b"libwrap.so")));
    if !linked {
        return Err(Skip::NotApplicable(tr!("sshd does not read {path}", path = DENY)));
    }
    if !facts.get::<SshdService>()?.enabled {
        return Err(Skip::NotApplicable(tr!("nothing starts sshd at boot")));
    }
    let Some(deny) = facts.file(DENY)? else { return Ok(()) };
    let allow = facts.file(ALLOW)?;
    let name = sshd.program.file_name().unwrap_or_default().as_encoded_bytes();
    if allow.iter().flat_map(|file| rules(&file.bytes)).any(|rule| rule.is_for(name)) {
        return Ok(());
    }
    let refuses = |rule: &Rule| rule.is_for(name) && rule.is_for_every_client() && !rule.allows();
    let Some(rule) = rules(&deny.bytes).into_iter().find(refuses) else { return Ok(()) };
    let text = deny.line_text(rule.line);
    let finding = found.error(tr!("{path} refuses every ssh client: {rule}", path = DENY, rule = text.trim()));
    finding
        .at(&deny, Span { line: rule.line, column: 1, len: text.chars().count() })
        .why(tr!("sshd closes every connection before it asks for a user name"))
        .stops(Stage::SshdPolicy);
    let rule = b"sshd: ALL\n";
    let change = match &allow {
        Some(file) => {
            let end: &[u8] = if file.bytes.is_empty() || file.bytes.ends_with(b"\n") { b"" } else { b"\n" };
            Change::edit(file, [file.bytes.as_slice(), end, rule].concat())
        }
        None => Change::create(ALLOW, rule.to_vec(), 0o644),
    };
    finding.repair(Risk::Risky, tr!("add {rule} to {path}", rule = "sshd: ALL", path = ALLOW), [change]);
    Ok(())
}
