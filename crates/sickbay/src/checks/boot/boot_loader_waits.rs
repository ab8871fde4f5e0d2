//! The boot loader starts nothing unless somebody is at the console.

use std::sync::Arc;

use sickbay_formats::shell_vars::assignments;

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Hold, Kind, Loader, Word};
use crate::mend::boot_entries::{edits, no_entry};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the console shows the GRUB menu without a countdown, or asks "Enter username:". The machine answers
    /// neither ping nor ssh.
    ///
    /// ## What it finds
    /// A GRUB configuration, run the way GRUB runs it, that never boots its default entry by itself: `timeout` is -1,
    /// is not a number, or is not set at all; the default entry asks for a password (`superusers` is set and the entry
    /// is not `--unrestricted`; `lock` in GRUB legacy); `halt`, `reboot`, `exit` or a long `sleep` comes before the
    /// menu. As a warning: a menu that is shown for two minutes or longer.
    ///
    /// ## Why it matters
    /// Nobody sits at the console of a server: the machine "does not boot" while its screen waits for a key press or a
    /// user name.
    ///
    /// ## What the repair does
    /// Sets a timeout of 5 s, also in `/etc/default/grub`; replaces the command with `true`. Makes the entry
    /// `--unrestricted`, which is risky: the password prompt may be intended. The password then still protects the
    /// menu's editor.
    ///
    /// ## By hand
    /// ```sh
    /// # /etc/default/grub: GRUB_TIMEOUT=5; Debian with a password: add --unrestricted to CLASS= in /etc/grub.d/10_linux
    /// grub-mkconfig -o /boot/grub/grub.cfg
    /// ```
    "boot-loader-waits", Boot, seed = ["B8"], proves = [BootConfig], "the boot loader waits for input at the console"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    let loaders: Vec<&Loader> = config.loaders.iter().filter(|loader| !loader.entries.is_empty()).collect();
    if loaders.is_empty() {
        return Err(no_entry());
    }
    for loader in loaders {
        for hold in &loader.holds {
            report(facts, found, loader, hold);
        }
    }
    Ok(())
}

/// Seconds that a menu stands, as the distributions have it.
const TIMEOUT: &str = "5";

fn report(facts: &Facts, found: &mut Findings, loader: &Loader, hold: &Hold) {
    let Some(file) = &loader.file else { return };
    let path = loader.main.as_path();
    match hold {
        Hold::NoTimeout(word) => {
            let text = word.as_ref().map_or("", |word| word.text.as_str());
            let message = if text.is_empty() {
                tr!("{path} sets no timeout: the menu waits for a key press", path)
            } else {
                tr!("the timeout in {path} is {text}: the menu waits for a key press", path, text)
            };
            // Somebody sits at a desk, and nobody at a server.
            let finding = if is_a_desk(facts) {
                found.warning(message)
            } else {
                found.critical(message).stops(Stage::BootConfig)
            };
            finding.why(tr!("nothing boots until somebody presses Enter at the console"));
            let edit = match word {
                Some(word) => {
                    finding.at(&word.file, word.span());
                    (Arc::clone(&word.file), word.range.clone(), TIMEOUT.to_owned())
                }
                None => {
                    finding.at_path(path);
                    let line = if loader.kind == Kind::Legacy { "timeout " } else { "set timeout=" };
                    (Arc::clone(file), 0..0, format!("{line}{TIMEOUT}\n"))
                }
            };
            let changes = edits(vec![edit]).into_iter().chain(in_default_grub(facts, text));
            finding.repair(Risk::Safe, tr!("show the menu for {seconds} s", seconds = TIMEOUT), changes);
        }
        Hold::LongTimeout(word, seconds) => {
            let edit = (Arc::clone(&word.file), word.range.clone(), TIMEOUT.to_owned());
            found
                .warning(tr!("the menu of {path} is shown for {seconds} s", path, seconds = *seconds))
                .at(&word.file, word.span())
                .why(tr!("nothing boots during that time, and the machine looks hung"))
                .repair(
                    Risk::Safe,
                    tr!("show the menu for {seconds} s", seconds = TIMEOUT),
                    edits(vec![edit]).into_iter().chain(in_default_grub(facts, &word.text)),
                );
        }
        Hold::Password(setting, words) => {
            let Some(entry) = loader.default_entry() else { return };
            let title = entry.title.text.as_str();
            let finding = found
                .add(Severity::Critical, tr!("the default entry {title} asks for a password", title))
                .at(&entry.title.file, entry.title.span())
                .why(tr!("nothing boots until somebody enters a user name and a password at the console"))
                .stops(Stage::BootConfig);
            if let Some(setting) = setting {
                finding.at(&setting.file, setting.span());
            }
            let (new, at): (&str, fn(&Word) -> std::ops::Range<usize>) = match loader.kind {
                Kind::Legacy => ("", |word| word.range.clone()),
                _ => (" --unrestricted", |word| word.range.end..word.range.end),
            };
            let edit = |word: &Word| (Arc::clone(&word.file), at(word), new.to_owned());
            let title = tr!("let {title} boot without asking for a password", title);
            finding.repair(Risk::Risky, title, edits(words.iter().map(edit).collect()));
        }
        Hold::Command(word) => {
            let command = word.text.as_str();
            let edit = (Arc::clone(&word.file), word.range.clone(), "true".to_owned());
            found
                .critical(tr!("{path} runs {command} before it shows a menu", path, command))
                .at(&word.file, word.span())
                .why(tr!("it never gets as far as booting anything"))
                .stops(Stage::BootConfig)
                .repair(Risk::Safe, tr!("replace {word} with {new}", new = "true", word = command), edits(vec![edit]));
        }
    }
}

/// Whether a graphical login is started.
fn is_a_desk(facts: &Facts) -> bool {
    facts.root().exists("/etc/systemd/system/display-manager.service").unwrap_or(false)
}

/// `GRUB_TIMEOUT` of /etc/default/grub, where it says the same.
fn in_default_grub(facts: &Facts, text: &str) -> Vec<Change> {
    let Ok(Some(file)) = facts.file("/etc/default/grub") else { return Vec::new() };
    let all = assignments(&file.bytes);
    let same = all.iter().filter(|one| one.name == "GRUB_TIMEOUT" && one.value.as_ref().is_some_and(|own| own == text));
    edits(same.map(|one| (Arc::clone(&file), one.range.clone(), TIMEOUT.to_owned())).collect())
}
