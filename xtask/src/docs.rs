//! `cargo xtask docs`: the man page, the JSON Schemas, the list of checks and what shows that they work, from the source.
//!
//! `--check` writes nothing and fails when what is in the checkout is not what would be written. `--missing` lists the Chinese
//! that is owed.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use sickbay::model::text::Lang;

use crate::new_check::workspace;

/// What is to be done.
#[derive(Debug, clap::Args)]
pub(crate) struct Docs {
    /// Only check whether the files are up to date
    #[arg(long)]
    check: bool,
    /// Only list the Chinese that is owed; fails when any is
    #[arg(long, conflicts_with = "check")]
    missing: bool,
}

impl Docs {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), String> {
        if self.missing {
            return missing();
        }
        let docs = workspace().join("docs");
        let mut stale = Vec::new();
        let mut pages = vec![
            ("sickbay.1".to_owned(), crate::man::page()?),
            ("checks.md".to_owned(), checks(Lang::En)),
            ("checks.zh-CN.md".to_owned(), checks(Lang::ZhCn)),
            ("coverage.md".to_owned(), crate::coverage::page()),
        ];
        for (name, schema) in sickbay::report::documents::schemas() {
            let text = serde_json::to_string_pretty(&schema).map_err(|error| error.to_string())?;
            pages.push((format!("{name}-v1.schema.json"), text + "\n"));
        }
        for (name, text) in pages {
            let path = docs.join(&name);
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

/// Asks the test that knows.
fn missing() -> Result<(), String> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "test",
        "--quiet",
        "--package",
        "sickbay",
        "--test",
        "texts",
        "--",
        "--nocapture",
        "--test-threads",
        "1",
    ]);
    let out = cargo.env("SICKBAY_OWED", "1").current_dir(workspace()).stderr(Stdio::inherit()).output();
    let out = out.map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&out.stdout);
    // What the test says begins behind its progress.
    let owed: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once("owed: ")?.1)).collect();
    owed.iter().for_each(|one| println!("{one}"));
    match owed.len() {
        _ if !out.status.success() => Err(format!("the texts are wrong otherwise, too:\n{said}")),
        0 => Ok(()),
        count => Err(format!("{count} owed")),
    }
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
