//! A connector of Tomcat does not do what its server.xml says, or keeps the door open for ever.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::tomcat::{Connector, connectors};

use crate::facts::Facts;
use crate::facts::network::sockets::Sockets;
use crate::facts::services::programs::{Kind, Program, Programs, titled};
use crate::facts::system::kernel::parameter;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::source::SourceFile;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: nothing, until clients time out at a peak; `ss -lnt` shows a Send-Q that is smaller than `acceptCount`. Or threads of Tomcat that are all busy, with
    /// clients that say nothing.
    ///
    /// ## What it finds
    /// In `conf/server.xml` of a Tomcat that runs: `acceptCount` where the queue in force, asked of the kernel, is shorter, because `net.core.somaxconn` cut it when Tomcat
    /// began to listen; `connectionTimeout="-1"`, with which a client that connects and says nothing is never sent away; and a server.xml that is no XML, with which Tomcat does
    /// not start again.
    ///
    /// ## Why it matters
    /// What was written for the peak is not in force; each silent client takes one of `maxConnections`, and without NIO a thread, until it goes by itself.
    ///
    /// ## What the repair does
    /// Nothing: raise `net.core.somaxconn` (`sickbay tune` does), write a timeout, then restart Tomcat.
    ///
    /// ## By hand
    /// ```sh
    /// sysctl net.core.somaxconn
    /// ss -lntp
    /// ```
    "tomcat-connector", Services, seed = ["N5"], proves = [], "a connector of Tomcat does not do what it should"
}

/// A server.xml is a few kilobytes.
const LARGEST: u64 = 1 << 20;

/// What Tomcat asks for where nothing is said.
const USUAL: i64 = 100;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let programs = facts.get::<Programs>()?;
    let mut told = BTreeSet::new();
    for (base, tomcat) in programs.of(Kind::Java).filter_map(|java| Some((base(java)?, java))) {
        let path = base.join("conf/server.xml");
        if !told.insert(path.clone()) {
            continue;
        }
        let Ok(bytes) = facts.root().read_up_to(&path, LARGEST) else { continue };
        let file = SourceFile { path, bytes };
        match connectors(&file.bytes) {
            Ok(all) => all.iter().try_for_each(|one| judge(facts, found, &file, one))?,
            Err(wrong) => {
                let (line, why) = (wrong.line, wrong.why.as_str());
                let finding = found.error(tr!(
                    "{path} is no XML from line {line} on: Tomcat (PID {pid}) does not start again",
                    path = file.path.as_path(),
                    line,
                    pid = tomcat.pid
                ));
                finding.at_path(&file.path).note(tr!("the reader of XML says: {why}", why));
                finding.why(tr!("the one that runs read it before it was changed"));
                finding.by_hand(tr!("mend the file before the next restart"));
            }
        }
    }
    if told.is_empty() { Err(Skip::NotApplicable(tr!("no Tomcat runs"))) } else { Ok(()) }
}

/// `-Dcatalina.base=/opt/tomcat`
fn base(java: &Program) -> Option<PathBuf> {
    let words = titled(&java.words);
    let value = |name: &str| words.iter().rev().find_map(|word| word.strip_prefix(name.as_bytes()));
    let base = value("-Dcatalina.base=").or_else(|| value("-Dcatalina.home="))?;
    let base = PathBuf::from(base.to_str().ok()?);
    Some(if base.is_absolute() { base } else { java.cwd.as_ref()?.join(base) })
}

fn judge(facts: &Facts, found: &mut Findings, file: &SourceFile, connector: &Connector) -> Verdict {
    let Some(port) = connector.number("port").and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
    else {
        return Ok(());
    };
    if connector.number("connectionTimeout").is_some_and(|timeout| timeout < 0) {
        let finding = found
            .warning(tr!("connectionTimeout=-1 of port {port}: who connects and says nothing stays for ever", port));
        finding.at(file, connector.span);
        finding.why(tr!("each takes one of maxConnections until it goes by itself; a few thousand of them are enough to keep everybody else out"));
        finding.by_hand(tr!("write connectionTimeout=\"20000\", as Tomcat ships it, and restart Tomcat"));
    }
    let asked = match connector.value("acceptCount") {
        Some(_) => connector.number("acceptCount"),
        None => Some(USUAL),
    };
    let Some(asked) = asked.and_then(|count| u64::try_from(count).ok()) else { return Ok(()) };
    let most = parameter(facts, "net.core.somaxconn")?;
    let sockets = facts.get::<Sockets>()?;
    let Some(own) = sockets.listeners().find(|one| one.source.1 == port) else { return Ok(()) };
    // Without sock_diag the kernel's limit tells what it is.
    let force = if sockets.is_full { u64::from(own.sent) } else { most.map_or(asked, |most| asked.min(most)) };
    if force >= asked {
        return Ok(());
    }
    let finding = found.note(tr!("acceptCount={asked} of port {port} is {force} in force", asked, port, force));
    finding.at(file, connector.span);
    finding.why(match most {
        Some(most) if most >= asked => tr!(
            "net.core.somaxconn was {force} when Tomcat began to listen; it is {most} now, which only a restart uses",
            force,
            most
        ),
        _ => tr!("the kernel cuts it to net.core.somaxconn"),
    });
    finding.detail("accept_count", asked).detail("in_force", force).detail("somaxconn", most);
    finding.by_hand(tr!("raise net.core.somaxconn to what is needed, then restart Tomcat"));
    Ok(())
}
