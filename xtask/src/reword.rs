//! `cargo xtask reword OLD NEW`: another wording of an English sentence, wherever it is told.
//!
//! That is every literal of the source that is the sentence, the keys of the Chinese catalogues, and where it is told with its
//! places filled: stories, and rows and lines of the documentation.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::new_check::{workspace, write};

/// The arguments of `cargo xtask reword`.
#[derive(Debug, clap::Args)]
pub(crate) struct Reword {
    /// The sentence as it stands in the source, with its {places}
    old: String,
    /// As it is to be; its places are among those of the old one
    new: String,
}

/// What was changed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    source: usize,
    catalogues: usize,
    stories: usize,
    docs: usize,
    /// Lines where words of the old sentence still stand.
    left: Vec<String>,
}

impl Reword {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), String> {
        let told = self.change(&workspace())?;
        println!(
            "changed in {} of the source, {} of the catalogues, {} of the stories, {} of the documentation",
            places(told.source),
            places(told.catalogues),
            places(told.stories),
            places(told.docs)
        );
        for line in told.left.iter().take(LINES) {
            println!("look at {line}");
        }
        println!("next: see that the Chinese still says the same; where the sentence stands inside another one,");
        println!("      UPDATE=1 cargo nextest run -p sickbay --test cases && cargo xtask docs");
        Ok(())
    }

    /// Changes it in the checkout at `root`. Nothing is written unless a literal of the source is the sentence.
    fn change(&self, root: &Path) -> Result<Told, String> {
        let template = Template::of(&self.old);
        if self.old.is_empty() || self.new.is_empty() || self.old == self.new {
            return Err("OLD and NEW must differ, and neither may be empty".to_owned());
        }
        if let Some(name) = Template::of(&self.new).names().find(|name| !template.names().any(|known| known == *name)) {
            return Err(format!("{{{name}}} is not a placeholder of the old sentence: change it in the source"));
        }
        let mut told = Told::default();
        let mut changed: Vec<(PathBuf, String)> = Vec::new();
        // What is not text tells nothing.
        let read = |path: PathBuf| Some((fs::read_to_string(&path).ok()?, path));
        let files: Vec<_> = files(root)?.into_iter().filter_map(read).collect();
        let is_source = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
        let sources = files.iter().filter(|(_, path)| is_source(path));
        let mut others: Vec<String> = sources.flat_map(|(text, _)| literals(text)).map(|(_, value)| value).collect();
        others.retain(|other| *other != self.old && Template::of(other).words() > template.words());
        for (text, path) in files {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let (count, new) = match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => {
                    let (count, text) = self.in_source(&text);
                    told.source += count;
                    (count, text)
                }
                Some("toml") => {
                    let (count, text) = self.in_catalogue(&text);
                    told.catalogues += count;
                    (count, text)
                }
                Some("txt") if name.contains("tests/cases/") => {
                    let (count, text) = self.in_lines(&template, &others, &text);
                    told.stories += count;
                    (count, text)
                }
                Some("md") => {
                    let (count, text) = self.in_lines(&template, &others, &text);
                    told.docs += count;
                    (count, text)
                }
                _ => continue,
            };
            let stands = |line: &str| template.longest().is_some_and(|words| line.contains(words));
            let left = new.lines().enumerate().filter(|(_, line)| stands(line));
            told.left.extend(left.map(|(index, line)| format!("{name}:{}: {}", index + 1, line.trim())));
            if count > 0 {
                changed.push((path, new));
            }
        }
        if told.source == 0 {
            return Err(
                "no string literal of the source is this sentence: quote it exactly as it is written there".to_owned()
            );
        }
        changed.iter().try_for_each(|(path, text)| write(path, text))?;
        Ok(told)
    }

    fn in_source(&self, text: &str) -> (usize, String) {
        let mut out = text.to_owned();
        let all: Vec<_> = literals(text).into_iter().filter(|(_, value)| *value == self.old).collect();
        for (range, _) in all.iter().rev() {
            out.replace_range(range.clone(), &quoted(&self.new));
        }
        (all.len(), out)
    }

    /// A key stands at the beginning of a line.
    fn in_catalogue(&self, text: &str) -> (usize, String) {
        let old = format!("{} = ", quoted(&self.old));
        let mut count = 0;
        let line = |line: &str| match line.strip_prefix(&old) {
            Some(rest) => {
                count += 1;
                format!("{} = {rest}", quoted(&self.new))
            }
            None => line.to_owned(),
        };
        let new = text.split_inclusive('\n').map(line).collect();
        (count, new)
    }

    fn in_lines(&self, template: &Template<'_>, others: &[String], text: &str) -> (usize, String) {
        let mut count = 0;
        let line = |line: &str| {
            let content = line.trim_end_matches(['\n', '\r']);
            // The cells of a table; a line that is none is one cell.
            let is_row = content.starts_with('|');
            let cells: Vec<String> = content
                .split(if is_row { '|' } else { '\n' })
                .map(|cell| match self.in_cell(template, others, cell) {
                    Some(new) => {
                        count += 1;
                        new
                    }
                    None => cell.to_owned(),
                })
                .collect();
            cells.join("|") + &line[content.len()..]
        };
        let new = text.split_inclusive('\n').map(line).collect();
        (count, new)
    }

    /// The sentence stands at the end of a line or cell, after what names the finding or the repair. What one of the `others`, which
    /// say more, may say as well is theirs.
    fn in_cell(&self, template: &Template<'_>, others: &[String], cell: &str) -> Option<String> {
        let begin = cell.len() - cell.trim_start().len();
        let end = cell.trim_end().len();
        let text = &cell[begin..];
        // `fix: [safe] …`, `why: …`, `error ID /place: …`; a cell is often nothing else.
        let name = if text.starts_with("fix: [") { text.find("] ") } else { text.find(": ") };
        let starts = [name.map(|at| begin + at + 2), Some(begin)];
        starts.into_iter().flatten().filter(|start| *start < end).find_map(|start| {
            let said = &cell[start..end];
            let values = template.read(said)?;
            if others.iter().any(|other| Template::of(other).read(said).is_some()) {
                return None;
            }
            Some(format!("{}{}{}", &cell[..start], Template::of(&self.new).filled(&values), &cell[end..]))
        })
    }
}

/// So many lines are shown that may need another look.
const LINES: usize = 20;

fn places(count: usize) -> String {
    format!("{count} {}", if count == 1 { "place" } else { "places" })
}

/// What may tell the sentence. The lists of changes tell what was.
fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut all = vec![root.join("README.md"), root.join("ARCHITECTURE.md"), root.join("CONTRIBUTING.md")];
    let mut dirs = vec![root.join("crates"), root.join("docs")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))? {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() { dirs.push(path) } else { all.push(path) }
        }
    }
    all.sort();
    Ok(all)
}

/// A literal as the source and the catalogues have it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Where each string literal of Rust is, with its value. Comments are passed over.
pub(crate) fn literals(source: &str) -> Vec<(Range<usize>, String)> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        at += match rest.as_bytes() {
            [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => rest.find("*/").map_or(rest.len(), |end| end + 2),
            // A quotation mark as a character; what else begins so is a lifetime, or holds no mark.
            [b'\'', b'"', b'\'', ..] => 3,
            [b'\'', b'\\', _, b'\'', ..] => 4,
            [b'r', b'"' | b'#', ..] if !source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') => {
                let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
                let begin = 1 + hashes + 1;
                let end = format!("\"{}", "#".repeat(hashes));
                match rest[1 + hashes..].starts_with('"').then(|| rest[begin..].find(&end)).flatten() {
                    Some(length) => begin + length + end.len(),
                    None => 1,
                }
            }
            [b'"', ..] => {
                let (length, value) = literal(rest);
                all.push((at..at + length, value));
                length
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    all
}

/// The literal that begins here: how long it is, and its value.
fn literal(text: &str) -> (usize, String) {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (at + 1, value),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, '\n')) => while characters.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                Some((_, other)) => value.push(other),
                None => {}
            },
            c => value.push(c),
        }
    }
    (text.len(), value)
}

/// A sentence with places to fill.
#[derive(Debug)]
struct Template<'a>(Vec<Part<'a>>);

#[derive(Debug)]
enum Part<'a> {
    Words(&'a str),
    Place(&'a str),
    /// `{count?file|files}`: one word or the other.
    Form(&'a str, &'a str, &'a str),
}

impl<'a> Template<'a> {
    fn of(text: &'a str) -> Template<'a> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((words, name, after)) = rest
            .split_once('{')
            .and_then(|(words, rest)| rest.split_once('}').map(|(name, after)| (words, name, after)))
        {
            parts.push(Part::Words(words));
            parts.push(match name.split_once('?').and_then(|(name, forms)| Some((name, forms.split_once('|')?))) {
                Some((name, (one, many))) => Part::Form(name, one, many),
                None => Part::Place(name),
            });
            rest = after;
        }
        parts.push(Part::Words(rest));
        parts.retain(|part| !matches!(part, Part::Words("")));
        Template(parts)
    }

    /// How long the words are that are always the same.
    fn words(&self) -> usize {
        self.0.iter().map(|part| if let Part::Words(words) = part { words.len() } else { 0 }).sum()
    }

    /// The longest of them, where that is enough to be known by.
    fn longest(&self) -> Option<&'a str> {
        let words =
            self.0.iter().filter_map(|part| if let Part::Words(words) = part { Some(words.trim()) } else { None });
        words.max_by_key(|words| words.len()).filter(|words| words.len() > 8)
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(name) | Part::Form(name, ..) => Some(*name),
            Part::Words(_) => None,
        })
    }

    /// What fills the places where the whole text is this sentence.
    fn read<'t>(&self, text: &'t str) -> Option<Vec<(&'a str, &'t str)>> {
        // A sentence that is nothing but places is every text.
        if !self.0.iter().any(|part| matches!(part, Part::Words(words) if words.contains(char::is_alphabetic))) {
            return None;
        }
        let mut values = Vec::new();
        read(&self.0, text, &mut values).then_some(values)
    }

    fn filled(&self, values: &[(&str, &str)]) -> String {
        let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or("…", |(_, value)| value);
        self.0
            .iter()
            .map(|part| match part {
                Part::Words(words) => *words,
                Part::Place(name) => value(name),
                Part::Form(name, one, many) => match value(name) {
                    "1" => one,
                    "…" => "…",
                    _ => many,
                },
            })
            .collect()
    }
}

fn read<'a, 't>(parts: &[Part<'a>], text: &'t str, values: &mut Vec<(&'a str, &'t str)>) -> bool {
    match parts {
        [] => text.is_empty(),
        [Part::Words(words), rest @ ..] => text.strip_prefix(words).is_some_and(|text| read(rest, text, values)),
        [Part::Form(_, one, many), rest @ ..] => {
            [one, many].into_iter().any(|form| text.strip_prefix(form).is_some_and(|text| read(rest, text, values)))
        }
        [Part::Place(name), rest @ ..] => {
            let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
            ends.into_iter().any(|end| {
                let known = values.len();
                values.push((name, &text[..end]));
                let fits = read(rest, &text[end..], values);
                if !fits {
                    values.truncate(known);
                }
                fits
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    fn reword(old: &str, new: &str) -> Reword {
        Reword { old: old.to_owned(), new: new.to_owned() }
    }

    #[test]
    fn a_sentence_is_changed_wherever_it_is_told() {
        let root = scratch::sources();
        let dir = root.path().join("crates/sickbay");
        write(&dir.join("src/checks/boot/a_pipe.rs"), "fn run() {\n    tr!(\"{pipe} is leaking fast {count} {count?drop|drops}\", \\\n    pipe);\n    // \"{pipe} is leaking fast {count} {count?drop|drops}\"\n    tr!(\n        \"{pipe} is leaking fast \\\n         {count} {count?drop|drops}\"\n    );\n    tr!(\"{pipe} is leaking fast {count} red drops\");\n}\n").unwrap();
        write(
            &dir.join("src/checks/boot/a-pipe.zh-CN.toml"),
            "[messages]\n\"{pipe} is leaking fast {count} {count?drop|drops}\" = \"{pipe} 漏 {count}\"\n",
        )
        .unwrap();
        write(&dir.join("tests/cases/a-pipe/one.txt"), "/dev/x is leaking fast 3 drops more\n--- finds\nerror a-pipe /dev/x: /dev/x is leaking fast 3 drops\n    why: /dev/x is leaking fast 1 drop\n    why: /dev/x is leaking fast 2 red drops\n").unwrap();
        write(&root.path().join("docs/pipes.md"), "| a | /dev/y is leaking fast 2 drops | b |\n").unwrap();
        write(&dir.join("tests/pipes.rs"), "fn f() { said.contains(\"is leaking fast\") }\n").unwrap();
        let task =
            reword("{pipe} is leaking fast {count} {count?drop|drops}", "{count} \"{count?drop|drops}\" from {pipe}");
        let told = task.change(root.path()).unwrap();
        assert_eq!((told.source, told.catalogues, told.stories, told.docs), (2, 1, 2, 1));
        assert!(told.left.iter().any(|line| line.starts_with("crates/sickbay/tests/pipes.rs:")), "{:?}", told.left);
        let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        let source = read("crates/sickbay/src/checks/boot/a_pipe.rs");
        assert_eq!(source.matches(r#""{count} \"{count?drop|drops}\" from {pipe}""#).count(), 2, "{source}");
        assert!(source.contains("// \"{pipe} is leaking fast"), "{source}");
        let story = read("crates/sickbay/tests/cases/a-pipe/one.txt");
        assert_eq!(
            story,
            "/dev/x is leaking fast 3 drops more\n--- finds\nerror a-pipe /dev/x: 3 \"drops\" from /dev/x\n    why: 1 \"drop\" from /dev/x\n    why: /dev/x is leaking fast 2 red drops\n"
        );
        assert_eq!(read("docs/pipes.md"), "| a | 2 \"drops\" from /dev/y | b |\n");
        assert!(
            read("crates/sickbay/src/checks/boot/a-pipe.zh-CN.toml")
                .contains(r#""{count} \"{count?drop|drops}\" from {pipe}" = "{pipe} 漏"#)
        );
    }

    #[test]
    fn a_sentence_of_the_real_sources_is_changed_and_they_stay_formatted() {
        let root = scratch::sources();
        let source =
            fs::read_to_string(root.path().join("crates/sickbay/src/checks/login/account_file_damaged.rs")).unwrap();
        // Whichever it says just now.
        let at = source.find("tr!(\"").unwrap();
        let (_, old) = literals(&source[at..]).swap_remove(0);
        let told = reword(&old, &format!("{old} indeed")).change(root.path()).unwrap();
        assert!(told.source > 0 && told.catalogues > 0, "{told:?}");
        scratch::is_formatted(root.path());
    }

    #[test]
    fn what_is_told_nowhere_is_refused() {
        let root = scratch::sources();
        for (old, new) in
            [("no such sentence anywhere", "another"), ("remove it", "remove {it}"), ("a", "a"), ("", "a")]
        {
            assert!(reword(old, new).change(root.path()).is_err(), "{old}");
        }
    }

    #[test]
    fn literals_are_found_as_rust_has_them() {
        let source = r###"a("b\"c", 'd', '"', r#"e "f" "#, b"g") // "h"
            /* "i" */ let x: &'static str = "j\
               k"; for_r("l") '\'' "m""###;
        let values: Vec<String> = literals(source).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["b\"c", "g", "jk", "l", "m"]);
    }
}
