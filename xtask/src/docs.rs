//! `cargo xtask docs`: the man page, the JSON Schema, the list of checks and what shows that they work, from the source.
//!
//! `--check` writes nothing and fails when what is in the checkout is not what would be written.

use std::fmt::Write as _;
use std::fs;

use sickbay::model::text::Lang;
use sickbay::report::tune;

use crate::new_check::workspace;

/// What is to be done.
#[derive(Debug, clap::Args)]
pub struct Docs {
    /// Only tell whether the files are up to date
    #[arg(long)]
    check: bool,
}

impl Docs {
    /// Does it.
    pub fn run(&self) -> Result<(), String> {
        let docs = workspace().join("docs");
        let mut stale = Vec::new();
        for (name, text) in [
            ("sickbay.1", crate::man::page()?),
            ("report-v1.schema.json", schema()?),
            ("tune-v1.schema.json", of(&schemars::schema_for!(tune::TuneV1))?),
            ("tune-lint-v1.schema.json", of(&schemars::schema_for!(tune::LintV1))?),
            ("capacity-v1.schema.json", of(&schemars::schema_for!(tune::CapacityV1))?),
            ("sysctl-v1.schema.json", of(&schemars::schema_for!(tune::OriginV1))?),
            ("checks.md", checks(Lang::En)),
            ("checks.zh-CN.md", checks(Lang::ZhCn)),
            ("coverage.md", crate::coverage::page()),
        ] {
            let path = docs.join(name);
            if fs::read_to_string(&path).is_ok_and(|old| old == text) {
                continue;
            }
            if self.check {
                stale.push(format!("docs/{name}"));
            } else {
                fs::create_dir_all(&docs)
                    .and_then(|()| fs::write(&path, text))
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        if stale.is_empty() { Ok(()) } else { Err(format!("{} out of date: run cargo xtask docs", stale.join(", "))) }
    }
}

fn schema() -> Result<String, String> {
    of(&schemars::schema_for!(sickbay::report::json_v1::ReportV1))
}

fn of(schema: &schemars::Schema) -> Result<String, String> {
    serde_json::to_string_pretty(schema).map(|text| text + "\n").map_err(|error| error.to_string())
}

fn checks(lang: Lang) -> String {
    let heading = match lang {
        Lang::En => "# Every check\n\nWritten by `cargo xtask docs`. `sickbay explain ID` shows the same.\n",
        Lang::ZhCn => "# 全部检查\n\n由 `cargo xtask docs` 生成。`sickbay explain ID` 显示同样的内容。\n",
    };
    let mut out = heading.to_owned();
    for check in sickbay::checks::ALL.iter() {
        let (title, page) = check.explanation(lang);
        let page = page.trim().replace("\n## ", "\n#### ");
        let page = page.strip_prefix("## ").map_or(page.clone(), |rest| format!("#### {rest}"));
        let _ = write!(out, "\n## {}\n\n{title} · {}\n\n{page}\n", check.id, check.seed.join(", "));
    }
    out
}
