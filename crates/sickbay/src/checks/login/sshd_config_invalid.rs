//! Lines of sshd_config that keep sshd from starting.

use std::sync::Arc;

use sickbay_formats::lines;
use sickbay_formats::sshd_config::keywords::{KEYWORDS, Kind};
use sickbay_formats::sshd_config::{Directive, Fault, Reader, Version};

use crate::facts::Facts;
use crate::facts::login::sshd::Sshd;
use crate::facts::login::sshd_service::SshdService;
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::spelling::nearest;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Connection refused" over ssh; in the log "/etc/ssh/sshd_config: line 12: Bad configuration option: …"
    /// and "terminating, 1 bad configuration options".
    ///
    /// ## What it finds
    /// Lines in `/etc/ssh/sshd_config`, and in the files that it includes, that the installed sshd rejects: an unknown
    /// keyword (misspelled, or from another release), an invalid value, a missing value or one too many, a keyword that
    /// is not allowed in a Match block, algorithms that were removed, authentication methods that are all switched off,
    /// NUL bytes; and a configuration that does not exist or is empty. Which release it is, and which keywords and
    /// algorithms it knows, is read from the program itself.
    ///
    /// ## Why it matters
    /// sshd does not start with such a line, and nobody can log in over ssh. A running sshd keeps working until it is
    /// restarted, so the fault shows at the next boot.
    ///
    /// ## What the repair does
    /// Writes the intended value where that is plain, removes algorithms that no longer exist from a list, and
    /// otherwise comments out the line (for a Match line, its whole block).
    ///
    /// ## By hand
    /// ```sh
    /// # names the line
    /// sshd -t
    /// ```
    "sshd-config-invalid", Login, seed = ["L10"], proves = [Sshd], "sshd rejects its configuration and does not start"
}

/// More faults than this, and more than half of all lines: the file is no configuration any more.
const DAMAGED: usize = 10;
/// Debian's copy of the configuration as it is shipped.
const SHIPPED: &str = "/usr/share/openssh/sshd_config";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let severity = if facts.get::<SshdService>()?.enabled { Severity::Critical } else { Severity::Warning };
    if let Some(why) = sshd.unread.first() {
        found.could_not_tell(why.clone());
    }
    if sshd.files.is_empty() {
        let finding = found.add(severity, tr!("{path} does not exist", path = sshd.config.as_path()));
        finding.at_path(&sshd.config).why(tr!("sshd does not start without it")).stops(Stage::Sshd);
        restore(facts, &sshd, finding);
        return Ok(());
    }
    let nothing = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    if let Some(file) = sshd.files.first().filter(|file| file.bytes.iter().all(nothing)) {
        let finding = found.add(severity.max(Severity::Error), tr!("{path} is empty", path = file.path.as_path()));
        finding
            .at_path(&file.path)
            .why(tr!("sshd uses its compiled-in defaults: root logs in by key only, and PAM is not used"));
        restore(facts, &sshd, finding);
        return Ok(());
    }
    let reader = sshd.reader();
    let faults = sshd.tree.faults(&reader);
    let main = sshd.tree.sources.first().map(|source| source.directives.len()).unwrap_or_default();
    let in_main = faults.iter().filter(|(source, _, _)| *source == 0).count();
    if in_main > DAMAGED && in_main * 2 > main {
        let finding = found.add(
            severity,
            tr!(
                "{path} is damaged: sshd rejects {count} {count?line|lines}",
                path = sshd.config.as_path(),
                count = in_main
            ),
        );
        finding
            .at_path(&sshd.config)
            .why(tr!("sshd does not start, and nobody can log in over ssh"))
            .stops(Stage::Sshd);
        restore(facts, &sshd, finding);
        return Ok(());
    }
    for &(source, directive, fault) in &faults {
        let Some(file) = sshd.files.get(source) else { continue };
        let span = match fault {
            Fault::Value(index) | Fault::TooMany(index) => {
                directive.args.get(index).map_or(directive.whole, |word| word.span)
            }
            Fault::Keyword | Fault::InMatch => directive.keyword.span,
            _ => directive.whole,
        };
        let finding = found.add(severity, message(directive, fault, &reader));
        finding.at(file, span).why(tr!("sshd does not start, and nobody can log in over ssh")).stops(Stage::Sshd);
        if fault == Fault::Keyword
            && let Some(meant) = meant(&directive.keyword.text)
        {
            finding.label(tr!("{meant} may be meant", meant));
        }
        let all = sshd.tree.sources.get(source).map(|source| source.directives.as_slice()).unwrap_or_default();
        repair(finding, file, directive, fault, &reader, all);
    }
    if faults.is_empty() {
        whole(&sshd, found, severity);
    }
    Ok(())
}

/// What sshd refuses although every line by itself is good.
fn whole(sshd: &Sshd, found: &mut Findings, severity: Severity) {
    let reader = sshd.reader();
    let effective = sshd.tree.at_start(&reader);
    let methods = effective.method_lists().filter(Vec::is_empty).and(effective.setting("AuthenticationMethods"));
    if let Some(setting) = methods
        && let Some(file) = sshd.file(setting)
    {
        let (_, line) = setting;
        found
            .add(severity, tr!("every list in AuthenticationMethods contains a method that is switched off"))
            .at(file, line.whole)
            .why(tr!("sshd does not start, and nobody can log in over ssh"))
            .stops(Stage::Sshd)
            .repair(Risk::Safe, comment_title(line), [comment(file, line)]);
    }
    let command =
        effective.setting("AuthorizedKeysCommand").filter(|(_, line)| !line.rest.eq_ignore_ascii_case(b"none"));
    // Distributions' patches of older releases had another keyword for the user.
    let modern = reader.version.is_some_and(|version| version >= Version(6, 6));
    if let Some(setting) = command.filter(|_| modern && effective.setting("AuthorizedKeysCommandUser").is_none())
        && let Some(file) = sshd.file(setting)
    {
        let (_, line) = setting;
        let text = lines::with_line(&file.bytes, line.line, |text| {
            Some([text, b"\nAuthorizedKeysCommandUser nobody"].concat())
        });
        found
            .add(severity, tr!("AuthorizedKeysCommand needs AuthorizedKeysCommandUser, which is not set anywhere"))
            .at(file, line.whole)
            .why(tr!("sshd does not start, and nobody can log in over ssh"))
            .stops(Stage::Sshd)
            .repair(Risk::Safe, tr!("run it as nobody"), [Change::edit(file, text)]);
    }
}

fn message(directive: &Directive, fault: Fault, reader: &Reader<'_>) -> Text {
    let keyword = &directive.keyword.text;
    match fault {
        Fault::Keyword => match reader.version {
            Some(Version(major, minor)) => {
                tr!(
                    "OpenSSH {release} does not know the keyword {keyword}",
                    release = format!("{major}.{minor}"),
                    keyword
                )
            }
            None => tr!("sshd does not know the keyword {keyword}", keyword),
        },
        Fault::Missing => tr!("{keyword} has no value", keyword),
        Fault::Value(index) => {
            tr!(
                "{keyword} cannot be {value}",
                keyword,
                value = directive.args.get(index).map(|word| word.text.clone()).unwrap_or_default()
            )
        }
        Fault::TooMany(index) => {
            tr!(
                "{keyword} does not allow {value} after its value",
                keyword,
                value = directive.args.get(index).map(|word| word.text.clone()).unwrap_or_default()
            )
        }
        Fault::InMatch => tr!("{keyword} is not allowed in a Match block", keyword),
        Fault::Quotes => tr!("{keyword} has an unclosed quote", keyword),
        Fault::Nul => tr!("a line contains NUL bytes"),
        Fault::Twice => tr!("the subsystem {name} is defined twice", name = String::from_utf8_lossy(directive.arg(0))),
        Fault::Loop => tr!("{keyword} includes the file it is in", keyword),
    }
}

fn repair(
    finding: &mut Finding,
    file: &Arc<SourceFile>,
    directive: &Directive,
    fault: Fault,
    reader: &Reader<'_>,
    all: &[Directive],
) {
    let value = directive.arg(0);
    if fault == Fault::Value(0)
        && let Some(good) = good_value(directive, value, reader)
        && let Some(word) = directive.args.first()
    {
        let text = lines::with_words(&file.bytes, word.span, good.as_bytes());
        finding.repair(Risk::Safe, tr!("write {good}", good), [Change::edit(file, text)]);
        return;
    }
    if let Fault::TooMany(index) = fault
        && let Some(word) = directive.args.get(index).filter(|word| word.text.starts_with(b"#"))
    {
        // Before OpenSSH 8.7 a comment has a line of its own.
        let text = lines::with_line(&file.bytes, word.span.line, |line| {
            let at = lines::offset_in(line, word.span.column);
            let (setting, comment) = line.split_at_checked(at)?;
            Some([comment, b"\n", setting.trim_ascii_end()].concat())
        });
        finding.repair(Risk::Safe, tr!("put the comment on a line of its own"), [Change::edit(file, text)]);
        return;
    }
    if directive.is("Match") {
        // Its block must not become a rule for everybody.
        let end = all.iter().find(|other| other.line > directive.line && other.is("Match")).map(|other| other.line);
        let block = all.iter().filter(|other| other.line >= directive.line && end.is_none_or(|end| other.line < end));
        let text = block.fold(file.bytes.clone(), |text, line| lines::with_comment(&text, line.line));
        finding.repair(Risk::Safe, tr!("comment out the block"), [Change::edit(file, text)]);
        return;
    }
    finding.repair(Risk::Safe, comment_title(directive), [comment(file, directive)]);
}

fn comment_title(directive: &Directive) -> Text {
    tr!("comment out line {line}", line = directive.line)
}

fn comment(file: &Arc<SourceFile>, directive: &Directive) -> Change {
    Change::edit(file, lines::with_comment(&file.bytes, directive.line))
}

/// The value that was plainly meant.
fn good_value(directive: &Directive, value: &[u8], reader: &Reader<'_>) -> Option<String> {
    let keyword = directive.known()?;
    let values: &[&str] = match keyword.kind {
        Kind::Flag => &["yes", "no"],
        Kind::OneOf(values) => values,
        Kind::Algorithms => return reader.known_algorithms(value),
        _ => return None,
    };
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    if value == "prohibit-password" {
        return Some("without-password".to_owned());
    }
    let synonym = match value.as_str() {
        "true" | "on" | "1" | "enable" | "enabled" | "y" => "yes",
        "false" | "off" | "0" | "disable" | "disabled" | "n" => "no",
        _ => "",
    };
    if values.contains(&synonym) {
        return Some(synonym.to_owned());
    }
    nearest(&value, values.iter().copied(), 1).map(str::to_owned)
}

/// The keyword that a misspelt one may be.
fn meant(keyword: &[u8]) -> Option<String> {
    let keyword = String::from_utf8_lossy(keyword).to_ascii_lowercase();
    let lower: Vec<String> = KEYWORDS.iter().map(|known| known.name.to_ascii_lowercase()).collect();
    let near = nearest(&keyword, lower.iter().map(String::as_str), 2)?;
    KEYWORDS.iter().find(|known| known.name.eq_ignore_ascii_case(near)).map(|known| known.name.to_owned())
}

/// Brings the configuration back as it was shipped.
fn restore(facts: &Facts, sshd: &Sshd, finding: &mut Finding) {
    let shipped = facts.file(SHIPPED).ok().flatten();
    if let Some(shipped) = shipped.filter(|file| !file.bytes.is_empty()) {
        let change = match sshd.files.first() {
            Some(file) => Change::edit(file, shipped.bytes.clone()),
            None => Change::create(&sshd.config, shipped.bytes.clone(), 0o644),
        };
        finding.repair(Risk::Risky, tr!("install the shipped configuration, {path}", path = SHIPPED), [change]);
    } else if facts.donor().is_some_and(|donor| donor.root().metadata(&sshd.config).is_ok_and(|it| it.is_file())) {
        let title = tr!("copy {path} from the donor", path = sshd.config.as_path());
        finding.repair(Risk::Risky, title, [Change::copy_from_donor(&sshd.config)]);
    } else {
        finding.by_hand(tr!("restore the file from a backup, or from the package openssh-server"));
    }
}
