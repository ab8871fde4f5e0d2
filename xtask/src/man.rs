//! The man page: what clap knows of the command line, and what only people know.

use std::fmt::Write as _;

use sickbay::model::text::Lang;

/// What users ask for most.
const EXAMPLES: [(&str, &str); 9] = [
    ("sickbay check", "Check this machine."),
    ("sickbay check /mnt/sysroot", "Check a system that is mounted there, for example from a rescue system."),
    ("sickbay check broken.qcow2 /var/log/messages", "Check an image and a log, one report each."),
    ("sickbay fix --dry-run /dev/vdb", "Show the repairs of a disk as diffs; nothing is changed."),
    ("sickbay fix --only fstab-bad-line /dev/vdb", "Apply the repairs of one check, after asking."),
    (
        "sickbay fix --reset-password root --boot-test broken.img",
        "Also set a password, then boot a copy to see whether it comes up.",
    ),
    ("sickbay undo broken.img", "Revert everything, byte for byte."),
    (
        "sickbay explain 'fork: Cannot allocate memory'",
        "Possible causes of an error, and the evidence for each on this machine.",
    ),
    ("sickbay check --format json --skip file-system-full", "For cron: a report for programs, with one check skipped."),
];

/// What it reads and keeps besides the target.
const FILES: [(&str, &str); 3] = [
    (
        "/var/lib/sickbay",
        "The journal, on the target: the previous state of everything that a repair changed. It is removed with the last entry that is reverted. fix --journal DIR keeps it in a directory on this machine.",
    ),
    (
        "/var/lib/sickbay-disks",
        "On this machine: what was on a disk (a device) before its file system was repaired. For an image it is kept next to the image.",
    ),
    (
        "/tmp",
        "The console output of a test boot, and the copies that it ran on, unless TMPDIR names another directory.",
    ),
];

const STATUS: [(&str, &str); 3] = [
    ("0", "Nothing was found; for fix: nothing is left; for boot: it reaches a login."),
    ("1", "Something was found or is left; for boot: it stops before a login."),
    (
        "2",
        "Something could not be determined or done, was declined, or the report could not be written. This takes precedence over findings. With several targets the highest status counts.",
    ),
];

const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "LC_ALL, LC_MESSAGES, LANG",
        "The language: Chinese if it begins with zh, otherwise English. --lang overrides it.",
    ),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "Without UTF-8, reports use ASCII: ok, FAIL, ?, - instead of symbols. The same if TERM is linux or dumb.",
    ),
    ("NO_COLOR, TERM", "No colors if NO_COLOR is set to something, or TERM is dumb."),
    (
        "COLUMNS",
        "The width of the report; otherwise that of the terminal. Output to a file or a pipe is not truncated.",
    ),
    ("TMPDIR", "Where temporary files are kept."),
    (
        "PATH",
        "Not used: programs of this machine are run from /usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin and /bin only, and with an environment of their own.",
    ),
];

/// One page for the command and all its verbs.
pub(crate) fn page() -> Result<String, String> {
    let command = sickbay::cli::command(Lang::En);
    let mut out = Vec::new();
    let io = |error: std::io::Error| error.to_string();
    clap_mangen::Man::new(command.clone()).render(&mut out).map_err(io)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let verb = verb.clone();
        let name = verb.get_name().to_owned();
        out.extend(format!(".SH \"SICKBAY {}\"\n", name.to_uppercase()).as_bytes());
        let man = clap_mangen::Man::new(verb.bin_name(format!("sickbay {name}")));
        man.render_synopsis_section(&mut out).map_err(io)?;
        man.render_description_section(&mut out).map_err(io)?;
        man.render_options_section(&mut out).map_err(io)?;
    }
    let mut out = String::from_utf8(out).map_err(|error| error.to_string())?;
    section(&mut out, "EXIT STATUS", &STATUS);
    section(&mut out, "ENVIRONMENT", &ENVIRONMENT);
    section(&mut out, "FILES", &FILES);
    section(&mut out, "EXAMPLES", &EXAMPLES);
    Ok(out)
}

fn section(out: &mut String, title: &str, entries: &[(&str, &str)]) {
    let roff = |text: &str| text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let _ = writeln!(out, ".SH \"{title}\"");
    for (term, text) in entries {
        let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}", roff(term), roff(text));
    }
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn it_has_what_a_man_page_has() {
        let page = page().expect("a page");
        for title in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] {
            assert!(page.contains(&format!(".SH {title}\n")), "{title}");
        }
        for title in ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SICKBAY CHECK", "SICKBAY COMPLETIONS"] {
            assert!(page.contains(&format!(".SH \"{title}\"\n")), "{title}");
        }
    }
}
