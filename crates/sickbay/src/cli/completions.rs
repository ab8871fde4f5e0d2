//! `sickbay completions`.

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use clap_complete::aot::{Bash, Fish, Zsh, generate};

use super::{Context, Failure};
use crate::checks;
use crate::model::text::Lang;

/// Print a shell completion script for commands, options and check ids
///
/// For bash: `sickbay completions bash >/etc/bash_completion.d/sickbay`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let ids = || PossibleValuesParser::new(checks::ALL.iter().map(|check| check.id));
        // English: a script that is installed speaks to every user.
        let mut command = super::command(Lang::En).mut_subcommands(|verb| {
            verb.mut_args(|argument| match argument.get_id().as_str() {
                "only" | "skip" => argument.value_parser(ids()),
                _ => argument,
            })
        });
        let mut script = Vec::new();
        match self.shell {
            Shell::Bash => generate(Bash, &mut command, "sickbay", &mut script),
            Shell::Zsh => generate(Zsh, &mut command, "sickbay", &mut script),
            Shell::Fish => generate(Fish, &mut command, "sickbay", &mut script),
        }
        context.print(&String::from_utf8_lossy(&script));
        Ok(0)
    }
}
