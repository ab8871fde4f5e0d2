//! `sickbay list`.

use super::{Context, Failure, Format};
use crate::checks;

#[derive(Debug, clap::Args)]
pub(super) struct List {}

impl List {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let lang = context.style.lang;
        if context.format == Format::Json {
            let list: Vec<_> = checks::ALL
                .iter()
                .map(|check| {
                    serde_json::json!({
                        "check": check.id, "area": check.area, "seed": check.seed, "title": check.explanation(lang).0,
                    })
                })
                .collect();
            context.print_json(&list)?;
        } else {
            for check in checks::ALL {
                context.print(&format!("{:<28} {}\n", check.id, check.explanation(lang).0));
            }
        }
        Ok(0)
    }
}
