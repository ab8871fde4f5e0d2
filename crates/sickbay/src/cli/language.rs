//! The command line in the user's language: `--help`, and what is wrong with what was typed.
//!
//! What is declared is English. Its Chinese is in `locale/help.zh-CN.toml`, a paragraph a line.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Error, ValueEnum};

use super::{Cli, Context, Failure, UNTOLD, complain};
use crate::model::text::{HELP_ZH_CN, Lang, Text, full_width};
use crate::report::forms::Form;
use crate::report::text;
use crate::tr;

/// What of the command line must be known before it is understood.
pub(super) struct Asked {
    pub(super) lang: Lang,
    pub(super) format: &'static Form,
}

impl Asked {
    pub(super) fn of(arguments: &[OsString]) -> Asked {
        let words: Vec<&str> = arguments.iter().map_while(|word| word.to_str()).collect();
        let value = |option: &str| {
            words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix(option)? {
                "" => words.get(index + 1).copied(),
                joined => joined.strip_prefix('='),
            })
        };
        let lang = value("--lang").and_then(|word| Lang::from_str(word, true).ok());
        let format = value("--format").and_then(Form::of).unwrap_or(&text::FORM);
        Asked { lang: lang.unwrap_or_else(Lang::from_environment), format }
    }
}

/// The command line, its help in `lang`.
pub(super) fn command(lang: Lang) -> Command {
    // What is taken back is in the journal: a package has no part in it.
    let hidden = |verb: Command| verb.mut_arg("package", |argument| argument.hide(true));
    let mut command = Cli::command().mut_subcommand("undo", hidden);
    if lang == Lang::ZhCn {
        // What clap adds by itself, as --help, is there only then.
        command.build();
        let mut catalogue: HashMap<String, String> = toml::from_str(HELP_ZH_CN).unwrap_or_default();
        catalogue.retain(|_, chinese| !chinese.is_empty());
        command = Chinese(catalogue).command(command);
    }
    command
}

/// English paragraph → Chinese.
struct Chinese(HashMap<String, String>);

impl Chinese {
    /// `text`, paragraph by paragraph. A summary ends without the stop that it has as a paragraph.
    fn say(&self, text: &StyledStr) -> String {
        let english = text.to_string();
        let paragraphs = english.split("\n\n").map(|paragraph| match self.0.get(paragraph.trim_end_matches('.')) {
            Some(chinese) if paragraph.ends_with('.') => format!("{}。", full_width(chinese)),
            Some(chinese) => full_width(chinese),
            None => paragraph.to_owned(),
        });
        paragraphs.collect::<Vec<_>>().join("\n\n")
    }

    fn word(&self, english: &str) -> String {
        self.0.get(english).map_or_else(|| english.to_owned(), |chinese| full_width(chinese))
    }

    fn command(&self, mut command: Command) -> Command {
        let usage = command.render_usage().to_string();
        let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).replace("[OPTIONS]", "[选项]");
        let usage = usage.replace("<COMMAND>", "<命令>").replace("[COMMAND]", "[命令]");
        if let Some(about) = command.get_about().map(|text| self.say(text)) {
            command = command.about(about);
        }
        if let Some(about) = command.get_long_about().map(|text| self.say(text)) {
            command = command.long_about(about);
        }
        command
            .override_usage(usage)
            .help_template("{about-with-newline}\n用法：{usage}\n\n{all-args}")
            .subcommand_help_heading("命令")
            .mut_args(|argument| self.argument(argument))
            .mut_subcommands(|verb| self.command(verb))
    }

    fn argument(&self, argument: Arg) -> Arg {
        let heading = match argument.get_help_heading() {
            Some(heading) => self.word(heading),
            None if argument.is_positional() => "参数".to_owned(),
            None => "选项".to_owned(),
        };
        let mut short = argument.get_help().map(|text| self.say(text)).unwrap_or_default();
        let mut long = argument.get_long_help().map_or_else(|| short.clone(), |text| self.say(text));
        // What clap would append in English.
        if argument.get_action().takes_values() {
            let values = argument.get_possible_values();
            if !values.is_empty() && !argument.is_hide_possible_values_set() {
                let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
                short.push_str(&format!(" [可选值：{}]", names.join("、")));
                long.push_str("\n\n可选值：");
                for value in &values {
                    let what = value.get_help().map(|text| self.say(text)).unwrap_or_default();
                    long.push_str(&format!("\n- {}：{what}", value.get_name()));
                }
            }
            let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            if !default.is_empty() {
                short.push_str(&format!(" [默认：{}]", default.join(" ")));
                long.push_str(&format!("\n\n[默认：{}]", default.join(" ")));
            }
        }
        argument.help_heading(heading).help(short).long_help(long).hide_possible_values(true).hide_default_value(true)
    }
}

/// Says what clap has to say in the place of running: its help, or what is wrong with the command line.
pub(super) fn answer(context: &Context, error: &Error) -> Result<u8, Failure> {
    let said = error.render();
    let said = if context.style.colour { said.ansi().to_string() } else { said.to_string() };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            context.print(&said);
            Ok(0)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            complain(&said);
            Ok(UNTOLD)
        }
        _ => {
            context.fail(&mistake(error));
            if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
                let usage = usage.to_string();
                let usage = usage.trim().strip_prefix("Usage: ").unwrap_or(usage.trim()).to_owned();
                complain(&format!("{}\n", context.say(&tr!("usage: {usage}; see --help", usage))));
            }
            Ok(UNTOLD)
        }
    }
}

/// What is wrong with the command line, in one sentence.
fn mistake(error: &Error) -> Text {
    let about = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(one)) => one.clone(),
        Some(ContextValue::Strings(many)) => many.join(", "),
        _ => String::new(),
    };
    let argument = about(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = about(ContextKind::InvalidSubcommand);
            let near = about(ContextKind::SuggestedSubcommand);
            if near.is_empty() || word.contains('/') || Path::new(&word).symlink_metadata().is_ok() {
                tr!("{word} is not a command; to check a system, disk, image or log: sickbay check {word}", word)
            } else {
                tr!("{word} is not a command: did you mean {near}?", word, near)
            }
        }
        ErrorKind::UnknownArgument => match about(ContextKind::SuggestedArg) {
            near if !near.is_empty() => tr!("there is no option {argument} here: did you mean {near}?", argument, near),
            _ if argument.starts_with('-') => tr!("there is no option {argument} here", argument),
            _ => tr!("{argument} is one argument too many", argument),
        },
        ErrorKind::InvalidValue => {
            let (value, list) = (about(ContextKind::InvalidValue), about(ContextKind::ValidValue));
            match value.is_empty() {
                true if list.is_empty() => tr!("{argument} needs a value", argument),
                true => tr!("{argument} needs a value: {list}", argument, list),
                false => tr!("{value} is not a valid value for {argument}: {list}", value, argument, list),
            }
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tr!(
                "{value} is not a valid value for {argument}: {list}",
                value = about(ContextKind::InvalidValue),
                argument,
                list = why
            )
        }
        ErrorKind::MissingRequiredArgument => tr!("{argument} is missing", argument),
        ErrorKind::ArgumentConflict => match about(ContextKind::PriorArg) {
            other if other == argument => tr!("{argument} can only be given once", argument),
            other => tr!("{argument} cannot be combined with {other}", argument, other),
        },
        _ => {
            let said = error.to_string();
            Text::verbatim(said.lines().next().unwrap_or_default().trim_start_matches("error: "))
        }
    }
}
