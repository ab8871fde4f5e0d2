//! `sickbay list`.

use super::{Context, Failure, Format};
use crate::check::Check;
use crate::report::documents::ListedCheckV1;
use crate::{checks, tr};

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only checks with this word in their name or title, or of this area: boot, cpu, files, io, limits, login, logs, memory, network, services
    word: Option<String>,
}

impl List {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let lang = context.style.lang;
        let wanted = |check: &Check| {
            let Some(word) = &self.word else { return true };
            let word = word.to_lowercase();
            let title = check.explanation(lang).0.to_lowercase();
            check.id.contains(&word) || title.contains(&word) || check.area.name() == word
        };
        let list: Vec<&Check> = checks::ALL.iter().copied().filter(|check| wanted(check)).collect();
        if let (Some(word), true) = (&self.word, list.is_empty()) {
            return Err(Failure(match checks::meant(word) {
                Some(near) => tr!("no check has {word} in its name: did you mean {near}?", word, near),
                None => tr!("no check has {word} in its name", word),
            }));
        }
        if context.format == Format::Json {
            let listed = |check: &Check| ListedCheckV1 {
                check: check.id,
                area: check.area,
                seed: check.seed,
                title: check.explanation(lang).0,
            };
            let list: Vec<_> = list.into_iter().map(listed).collect();
            context.print_json(&list)?;
        } else {
            for check in list {
                context.print(&format!("{:<28} {}\n", check.id, check.explanation(lang).0));
            }
        }
        Ok(0)
    }
}
