//! `sickbay explain`.

use super::{Context, Failure, Format};
use crate::checks;

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// A check's id
    id: String,
}

impl Explain {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        for check in checks::chosen(std::slice::from_ref(&self.id)).map_err(Failure)? {
            let (title, page) = check.explanation(context.style.lang);
            if context.format == Format::Json {
                context.print_json(&serde_json::json!({
                    "check": check.id, "area": check.area, "seed": check.seed, "title": title, "page": page,
                }))?;
            } else {
                context.print(&format!("# {}: {title}\n\n{}\n", check.id, page.trim()));
            }
        }
        Ok(0)
    }
}
