//! The small documents for programs besides the report. Fields are only ever added.
//!
//! Their JSON Schemas are `docs/NAME-v1.schema.json`, written by `cargo xtask docs` as that of the report is.

use std::path::Path;
use std::time::Duration;

use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use sickbay_target::Collected;

use crate::ask::symptom;
use crate::facts::memory::alloc;
use crate::model::about::Area;
use crate::repair::journal::Entry;
use crate::report::json_v1::{ReportV1, Tool};
use crate::report::{comparison, rates, rescue, tune};

/// Stands where a document was asked for and there is none.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorV1 {
    /// Always `sickbay/error/v1`.
    pub schema: &'static str,
    /// Who wrote it.
    pub tool: Tool,
    /// Why there is none.
    pub error: String,
}

impl ErrorV1 {
    /// With what there is to say.
    pub fn of(error: String) -> ErrorV1 {
        ErrorV1 { schema: "sickbay/error/v1", tool: Tool { version: env!("CARGO_PKG_VERSION") }, error }
    }
}

/// What `collect` wrote.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CollectedV1 {
    /// Always `sickbay/collected/v1`.
    pub schema: &'static str,
    /// Who wrote it.
    pub tool: Tool,
    /// The bundle.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The size of what is in it.
    pub unpacked: u64,
    /// Files of which there is something in it.
    pub files: usize,
    /// Paths of which something is known.
    pub paths: usize,
    /// Bytes that were masked.
    pub masked: u64,
    /// What could not be read or was left out.
    pub unread: Vec<UncollectedV1>,
    /// Logs of which only the end was kept.
    pub cut: Vec<String>,
    /// Whether the deadline came before the end.
    pub late: bool,
    /// Whether there was more than may be in a bundle.
    pub full: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Something that is not in a bundle.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UncollectedV1 {
    /// Where it is.
    pub path: String,
    /// Why it is not.
    pub why: String,
}

impl CollectedV1 {
    /// The document.
    pub fn of(path: &Path, written: &Collected, took: Duration) -> CollectedV1 {
        let unread = written
            .unread
            .iter()
            .map(|(path, why)| UncollectedV1 { path: path.display().to_string(), why: why.clone() });
        CollectedV1 {
            schema: "sickbay/collected/v1",
            tool: Tool { version: env!("CARGO_PKG_VERSION") },
            path: path.display().to_string(),
            size: written.packed,
            unpacked: written.unpacked,
            files: written.files,
            paths: written.paths,
            masked: written.masked,
            unread: unread.collect(),
            cut: written.cut.iter().map(|path| path.display().to_string()).collect(),
            late: written.is_late,
            full: written.is_full,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A check as `list` has it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListedCheckV1 {
    /// The check's id.
    pub check: &'static str,
    /// The part of the system it looks at.
    pub area: Area,
    /// Rows of the e-book that it answers.
    pub seed: &'static [&'static str],
    /// What is wrong when it finds something.
    pub title: String,
}

/// A check as `explain` has it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExplainedCheckV1 {
    /// The check as `list` has it.
    #[serde(flatten)]
    pub check: ListedCheckV1,
    /// What it finds, why that matters and what the repair does, in Markdown.
    pub page: String,
}

/// `undo --list`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UndoListV1 {
    /// Always `sickbay/undo-list/v1`.
    pub schema: &'static str,
    /// What can be taken back: of disks as a whole, then of the target, oldest first.
    pub entries: Vec<ListedEntryV1>,
    /// What is in the place of a journal and is none of ours, each with the reason.
    pub not_used: Vec<String>,
}

/// An entry of the journal as `undo --list` has it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListedEntryV1 {
    /// Its number: `0001`.
    pub journal: String,
    /// What it says; absent when it cannot be read.
    #[serde(flatten)]
    pub entry: Option<EntryV1>,
    /// Whether its repair was made wholly.
    pub finished: bool,
    /// Why it will not be taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What an entry says.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EntryV1 {
    /// The check whose finding was repaired.
    pub check: String,
    /// What was done.
    pub title: String,
    /// RFC 3339, UTC.
    pub when: String,
    /// Where copied files come from, if any are.
    pub donor: Option<String>,
}

impl EntryV1 {
    /// Of an entry of a journal.
    pub fn of(entry: &Entry) -> EntryV1 {
        EntryV1 {
            check: entry.check.clone(),
            title: entry.title.clone(),
            when: entry.when.clone(),
            donor: entry.donor.clone(),
        }
    }
}

/// `undo`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UndoV1 {
    /// Always `sickbay/undo/v1`.
    pub schema: &'static str,
    /// What was taken back, in this order.
    pub undone: Vec<UndoneV1>,
    /// What was not.
    pub left: Vec<LeftV1>,
}

/// A repair that was taken back.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UndoneV1 {
    /// Its number in the journal.
    pub journal: String,
    /// The check whose finding it cleared.
    pub check: String,
    /// What it did.
    pub title: String,
}

/// A repair that could not be taken back.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LeftV1 {
    /// Its number in the journal.
    pub journal: String,
    /// The reason, as a sentence.
    pub why: String,
}

/// `explain` with the text of an error.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SymptomV1 {
    /// Always `sickbay/symptom/v1`.
    pub schema: &'static str,
    /// The error that was recognised.
    pub error: &'static str,
    /// What may cause it, the most likely first.
    pub causes: Vec<CauseV1>,
}

/// What may cause an error.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CauseV1 {
    /// The cause.
    pub cause: String,
    /// What this machine says of it.
    pub says: symptom::Says,
    /// What was seen.
    pub seen: String,
}

/// `explain alloc`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AllocV1 {
    /// Always `sickbay/alloc/v1`.
    pub schema: &'static str,
    /// How much is asked for.
    pub bytes: u64,
    /// The verdict of all rules together.
    pub says: alloc::Says,
    /// The rules, in the kernel's order.
    pub rules: Vec<RuleV1>,
}

/// A rule of the kernel's.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RuleV1 {
    /// Its short name: `overcommit`, `RLIMIT_AS`.
    pub rule: &'static str,
    /// Its verdict.
    pub says: alloc::Says,
    /// The formula with numbers; "" when there is none.
    pub formula: String,
    /// The verdict as a sentence.
    pub text: String,
}

/// `explain memory`. All amounts in bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LedgerV1 {
    /// Always `sickbay/ledger/v1`.
    pub schema: &'static str,
    /// All memory that the kernel manages, in KiB (`MemTotal`).
    pub total: u64,
    /// What programs can still get.
    pub available: u64,
    /// Where the memory is.
    pub rows: Vec<LedgerRowV1>,
    /// What nothing accounts for; negative when more is accounted for than there is.
    pub unaccounted: i64,
    /// Cgroups with a memory limit, the fullest first.
    pub cgroups: Vec<LimitedV1>,
    /// What a reader should know about the figures, a sentence each.
    pub remarks: Vec<String>,
    /// `--pss` only: processes by their proportional share, the largest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<ShareV1>>,
}

/// A row of the ledger.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LedgerRowV1 {
    /// Its short name, the same in every language.
    pub name: &'static str,
    /// What it is.
    pub title: String,
    /// How much it is.
    pub bytes: u64,
    /// Where it was read.
    pub source: String,
    /// The largest parts.
    pub parts: Vec<LedgerPartV1>,
}

/// A part of a row.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LedgerPartV1 {
    /// What it is.
    pub what: String,
    /// How much it is.
    pub bytes: u64,
}

/// A cgroup with a limit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LimitedV1 {
    /// The file of the limit.
    pub file: String,
    /// The limit.
    pub limit: u64,
    /// What is used of it.
    pub used: u64,
}

/// The share of a process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShareV1 {
    /// The PID.
    pub pid: u32,
    /// The name of the program, as in `/proc/PID/comm`: at most 15 bytes.
    pub comm: String,
    /// Its proportional set size.
    pub pss: u64,
}

/// The schema of every document, by the name of its file.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("alloc", schema_for!(AllocV1)),
        ("collected", schema_for!(CollectedV1)),
        ("cpu", schema_for!(rates::cpu::CpuV1)),
        ("diff", schema_for!(comparison::DiffV1)),
        ("error", schema_for!(ErrorV1)),
        ("explain", schema_for!(ExplainedCheckV1)),
        ("io", schema_for!(rates::io::IoV1)),
        ("irq", schema_for!(rates::irq::IrqV1)),
        ("ledger", schema_for!(LedgerV1)),
        ("list", schema_for!(Vec<ListedCheckV1>)),
        ("report", schema_for!(ReportV1)),
        ("rescue", schema_for!(rescue::RescueV1)),
        ("symptom", schema_for!(SymptomV1)),
        ("capacity", schema_for!(tune::CapacityV1)),
        ("sysctl", schema_for!(tune::OriginV1)),
        ("tune", schema_for!(tune::TuneV1)),
        ("tune-lint", schema_for!(tune::LintV1)),
        ("undo", schema_for!(UndoV1)),
        ("undo-list", schema_for!(UndoListV1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(document: &impl Serialize, expected: &str) {
        assert_eq!(serde_json::to_string(document).expect("JSON"), expected);
    }

    /// Names and their order, what is null and what is absent.
    #[test]
    fn documents_are_as_they_always_were() {
        is(
            &ErrorV1 { tool: Tool { version: "1" }, ..ErrorV1::of("why".to_owned()) },
            r#"{"schema":"sickbay/error/v1","tool":{"version":"1"},"error":"why"}"#,
        );
        let check = || ListedCheckV1 { check: "a", area: Area::Boot, seed: &["B1"], title: "t".to_owned() };
        is(&[check()], r#"[{"check":"a","area":"boot","seed":["B1"],"title":"t"}]"#);
        is(
            &ExplainedCheckV1 { check: check(), page: "p".to_owned() },
            r#"{"check":"a","area":"boot","seed":["B1"],"title":"t","page":"p"}"#,
        );
        let text = str::to_owned;
        let entry = EntryV1 { check: text("a"), title: text("t"), when: text("w"), donor: None };
        let entries = vec![
            ListedEntryV1 { journal: text("0001"), entry: Some(entry), finished: true, refused: None },
            ListedEntryV1 { journal: text("0002"), entry: None, finished: false, refused: Some(text("r")) },
        ];
        is(
            &UndoListV1 { schema: "s", entries, not_used: vec![] },
            concat!(
                r#"{"schema":"s","entries":[{"journal":"0001","check":"a","title":"t","when":"w","donor":null,"finished":true},"#,
                r#"{"journal":"0002","finished":false,"refused":"r"}],"not_used":[]}"#
            ),
        );
        let undone = vec![UndoneV1 { journal: text("0001"), check: text("a"), title: text("t") }];
        let left = vec![LeftV1 { journal: text("0002"), why: text("w") }];
        is(
            &UndoV1 { schema: "s", undone, left },
            r#"{"schema":"s","undone":[{"journal":"0001","check":"a","title":"t"}],"left":[{"journal":"0002","why":"w"}]}"#,
        );
        let causes = vec![CauseV1 { cause: text("c"), says: symptom::Says::Against, seen: text("s") }];
        is(
            &SymptomV1 { schema: "s", error: "e", causes },
            r#"{"schema":"s","error":"e","causes":[{"cause":"c","says":"against","seen":"s"}]}"#,
        );
        let rules = vec![RuleV1 { rule: "r", says: alloc::Says::Later, formula: text("f"), text: text("t") }];
        is(
            &AllocV1 { schema: "s", bytes: 1, says: alloc::Says::Refuses, rules },
            r#"{"schema":"s","bytes":1,"says":"refuses","rules":[{"rule":"r","says":"later","formula":"f","text":"t"}]}"#,
        );
        let ledger = |processes| LedgerV1 {
            schema: "s",
            total: 4,
            available: 3,
            rows: vec![LedgerRowV1 {
                name: "n",
                title: text("t"),
                bytes: 2,
                source: text("f"),
                parts: vec![LedgerPartV1 { what: text("w"), bytes: 1 }],
            }],
            unaccounted: -1,
            cgroups: vec![LimitedV1 { file: text("f"), limit: 2, used: 1 }],
            remarks: vec![text("r")],
            processes,
        };
        let expected = concat!(
            r#"{"schema":"s","total":4,"available":3,"rows":[{"name":"n","title":"t","bytes":2,"source":"f","#,
            r#""parts":[{"what":"w","bytes":1}]}],"unaccounted":-1,"cgroups":[{"file":"f","limit":2,"used":1}],"remarks":["r"]"#
        );
        is(&ledger(None), &format!("{expected}}}"));
        let shares = vec![ShareV1 { pid: 1, comm: text("c"), pss: 2 }];
        is(&ledger(Some(shares)), &format!(r#"{expected},"processes":[{{"pid":1,"comm":"c","pss":2}}]}}"#));
    }
}
