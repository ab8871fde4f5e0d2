//! Incidents of one kind in a kernel log, summed up as findings tell them.

use sickbay_formats::kernel_log::{Incident, Kind, Stamp};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::Skip;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::tr;

/// Incidents of one kind, summed up.
pub(crate) struct Seen<'a> {
    pub(crate) log: &'a KernelLog,
    /// How often, all together.
    pub(crate) count: u64,
    /// Each that was told apart, the most frequent first.
    pub(crate) each: Vec<&'a Incident>,
    pub(crate) first: Option<Stamp>,
    pub(crate) last: Option<Stamp>,
}

impl<'a> Seen<'a> {
    /// Those of `kind` that count; `None` when there are none.
    pub(crate) fn of(log: &'a KernelLog, kind: Kind) -> Option<Seen<'a>> {
        Seen::from(log, log.of(kind))
    }

    pub(crate) fn from(log: &'a KernelLog, mut each: Vec<&'a Incident>) -> Option<Seen<'a>> {
        let first = each.first()?.first;
        let last = each
            .iter()
            .filter_map(|seen| seen.last)
            .reduce(|a, b| if a.seconds_to(b).is_some_and(|s| s < 0) { a } else { b });
        each.sort_by_key(|seen| std::cmp::Reverse(seen.count));
        let count = each.iter().map(|seen| seen.count).sum();
        Some(Seen { log, count, each, first, last })
    }

    /// "12 times, first …, last …".
    pub(crate) fn times(&self) -> Text {
        times(self.count, self.first, self.last)
    }

    /// "nginx (12), redis (3)", the first few; what has no name is left out.
    pub(crate) fn subjects(&self) -> String {
        let named: Vec<String> =
            self.each
                .iter()
                .filter(|seen| !seen.subject.is_empty())
                .take(5)
                .map(|seen| {
                    if self.each.len() > 1 {
                        format!("{} ({})", seen.subject, seen.count)
                    } else {
                        seen.subject.clone()
                    }
                })
                .collect();
        let more = if self.each.len() > 5 { ", …" } else { "" };
        format!("{}{more}", named.join(", "))
    }

    /// Adds what every finding of this kind has: the place, the kernel's words, how often and when.
    pub(crate) fn describe(&self, finding: &mut Finding) {
        if let Some(example) = self.each.first() {
            let source = self.log.source(example.source);
            finding.at_path(&source);
            finding.evidence(format!("{}:{}", source.display(), example.line), example.words.clone());
        }
        finding.note(self.times());
        finding.detail("count", self.count);
        let text = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.to_string());
        finding.detail("first", text(self.first)).detail("last", text(self.last));
        let subjects: Vec<serde_json::Value> = self
            .each
            .iter()
            .map(|seen| {
                serde_json::json!({
                    "subject": seen.subject, "detail": seen.detail, "count": seen.count, "line": seen.line,
                    "first": text(seen.first), "last": text(seen.last),
                })
            })
            .collect();
        finding.detail("subjects", subjects);
    }
}

/// How often, and when.
pub(crate) fn times(count: u64, first: Option<Stamp>, last: Option<Stamp>) -> Text {
    match (count, first, last) {
        (1, Some(time), _) => tr!("once: {time}", time = time.to_string()),
        (1, None, _) => tr!("once"),
        (_, Some(first), Some(last)) => {
            tr!("{count} times: first {first}, last {last}", count, first = first.to_string(), last = last.to_string())
        }
        _ => tr!("{count} times", count),
    }
}

/// What the kernel said, what could not be read told at once.
pub(crate) fn kernel_log(facts: &Facts, found: &mut Findings) -> Result<std::sync::Arc<KernelLog>, Skip> {
    let log = facts.get::<KernelLog>()?;
    log.tell_unread(found);
    if !log.has_kernel() {
        return Err(Skip::NotApplicable(tr!("it has no lines from a kernel")));
    }
    Ok(log)
}

/// Lets a panic that came of want of memory hang under the finding of that: see `oom-killer`.
pub(crate) fn panic_on_oom() -> Subject {
    Subject::Parameter("vm.panic_on_oom".to_owned())
}

/// Lets a panic that stopped a boot hang under the finding of that: see `boot-stopped`.
pub(crate) fn boot_panic() -> Subject {
    Subject::Parameter("kernel.panic".to_owned())
}

/// Lets tasks that waited for an NFS server hang under the finding of that: see `nfs-server-silent`.
pub(crate) fn nfs_server(name: &str) -> Subject {
    Subject::Named(format!("NFS server {name}"))
}
