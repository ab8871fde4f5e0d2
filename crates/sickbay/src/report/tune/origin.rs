//! Where a kernel parameter comes from.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::text::Lang;
use crate::report::text::{Style, printable};
use crate::tr;
use crate::tune::knowledge::Verdict;
use crate::tune::lint::name;
use crate::tune::origin::{How, Origin, Setting};

/// Where a kernel parameter comes from: `sickbay/sysctl/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OriginV1 {
    /// Always `sickbay/sysctl/v1`.
    pub schema: &'static str,
    /// Its name with dots.
    pub key: String,
    /// What it does; null where nothing is known of it.
    pub what: Option<String>,
    /// The kernel that runs; null for a target that does not.
    pub kernel: Option<String>,
    /// What it is now.
    pub now: Option<String>,
    /// What the kernel makes of it by itself; null where that is not known.
    pub default: Option<String>,
    /// What it will be after a restart; null where that is not known.
    pub after_restart: Option<String>,
    /// Lines that set it, in the order of a boot.
    pub set_by: Vec<SetByV1>,
    /// For a card that no line names: the parameter from which a new card takes its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherits: Option<String>,
    /// What is said of the value that wins, or of the present one.
    pub verdict: Option<Verdict>,
    /// The reason, as a sentence.
    pub message: Option<String>,
    /// What it is known from.
    pub sources: Vec<&'static str>,
    /// Files that could not be read, and why.
    pub unread: Vec<String>,
}

/// A line that sets a parameter.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SetByV1 {
    /// The file.
    pub file: String,
    /// From 1 on.
    pub line: usize,
    /// What it is set to.
    pub value: String,
    /// By its name, by a pattern, or in a file that no boot reads.
    pub how: How,
    /// Whether it wins.
    pub wins: bool,
}

/// The origin for programs.
pub fn origin_json(origin: &Origin, lang: Lang) -> OriginV1 {
    let set_by = |(index, setting): (usize, &Setting)| SetByV1 {
        file: setting.file.path.display().to_string(),
        line: setting.span.line,
        value: setting.value.clone(),
        how: setting.how,
        wins: origin.winner == Some(index),
    };
    OriginV1 {
        schema: "sickbay/sysctl/v1",
        key: origin.key.clone(),
        what: origin.known.map(|known| (known.what)().render(lang)),
        kernel: origin.machine.as_ref().map(|machine| machine.kernel.release.clone()),
        now: origin.now.clone(),
        default: origin.default.clone(),
        after_restart: origin.after_restart().map(str::to_owned),
        set_by: origin.settings.iter().enumerate().map(set_by).collect(),
        inherits: origin.inherits.as_ref().map(|(general, _)| general.clone()),
        verdict: origin.said.as_ref().map(|said| said.verdict),
        message: origin.said.as_ref().map(|said| said.message.render(lang)),
        sources: origin.said.as_ref().map(|said| said.sources.clone()).unwrap_or_default(),
        unread: origin.unread.iter().map(|why| why.render(lang)).collect(),
    }
}

/// The origin for people.
pub fn origin(origin: &Origin, style: &Style) -> String {
    let mut out = String::new();
    let unit = origin.known.and_then(|known| known.unit.name());
    let counted = |value: &str| match &unit {
        Some(unit) => format!("{value} ({})", style.say(unit)),
        None => value.to_owned(),
    };
    let _ = writeln!(out, "{}", printable(&origin.key));
    if let Some(known) = origin.known {
        style.titled(&mut out, &tr!("what"), &style.say(&(known.what)()));
    }
    if let Some(machine) = &origin.machine {
        let value = match &origin.now {
            Some(now) => counted(&printable(now)),
            None => style.say(&match origin.known.and_then(|known| known.module) {
                Some(module) => tr!("not there: the module {module} is not loaded", module),
                None => tr!("this kernel has no such parameter"),
            }),
        };
        style.titled(&mut out, &tr!("now"), &value);
        let default = match &origin.default {
            Some(default) => style.say(&tr!(
                "{value}, of kernel {version}",
                value = counted(default),
                version = machine.kernel.release.as_str()
            )),
            None => style.say(&tr!("not known: it differs from machine to machine")),
        };
        style.titled(&mut out, &tr!("default"), &default);
    }
    let after = match origin.after_restart() {
        Some(value) if let Some((general, set)) = &origin.inherits => style.say(&tr!(
            "{value}: a new card takes it from {general}, which {place} sets",
            value,
            general = general.as_str(),
            place = format!("{}:{}", set.file.path.display(), set.span.line)
        )),
        Some(value) if origin.winner.is_none() => style.say(&tr!("{value}, the default: no file sets it", value)),
        Some(value) => counted(&printable(value)),
        None => style.say(&tr!("the default of the kernel: no file sets it")),
    };
    style.titled(&mut out, &tr!("after boot"), &after);
    let is_other = |now: &String| {
        origin.winner.is_some() && !crate::tune::knowledge::is_same(now, origin.after_restart().unwrap_or(now))
    };
    if origin.now.as_ref().is_some_and(is_other) {
        style.titled(&mut out, &tr!("note"), &style.say(&tr!("what is now will not outlive a restart: it was set by hand, by a program, or the file was changed since the boot")));
    }
    if !origin.settings.is_empty() {
        out.push('\n');
        let _ = writeln!(out, "{}", style.say(&tr!("set in the order of a boot:")));
    }
    for (index, setting) in origin.settings.iter().enumerate() {
        let word = match setting.how {
            _ if origin.winner == Some(index) => tr!("wins"),
            How::NotAtBoot => tr!("no boot reads this file, only sysctl -p: there is no link to it in /etc/sysctl.d"),
            How::Kept => tr!("keeps patterns from setting it"),
            How::Later => tr!("sets it after the boot, or while the system runs"),
            How::Pattern => tr!("a pattern, weaker than a name or a later pattern"),
            How::Name => tr!("set again later"),
        };
        let place = format!("{}:{}", setting.file.path.display(), setting.span.line);
        let value = if setting.how == How::Kept { "–" } else { setting.value.as_str() };
        let _ = writeln!(out, "  {}  {}  {}", printable(&place), printable(value), style.say(&word));
    }
    if let Some(said) = &origin.said {
        out.push('\n');
        let text = format!("{}: {}", style.say(&name(said.verdict)), style.say(&said.message));
        style.titled(&mut out, &tr!("verdict"), &text);
        if let Some(suggested) = &said.suggested {
            style.titled(&mut out, &tr!("instead"), &printable(suggested));
        }
        style.titled(&mut out, &tr!("source"), &said.sources.join(", "));
    }
    for why in &origin.unread {
        style.titled(&mut out, &tr!("unread"), &style.say(why));
    }
    out
}
