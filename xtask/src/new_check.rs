//! `cargo xtask new-check AREA ID`: a file, a story and both languages, registered and compiling.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is to be made.
#[derive(Debug, clap::Args)]
pub(crate) struct NewCheck {
    /// The folder under src/checks
    area: String,
    /// The id as users type it: words and hyphens
    id: String,
    /// Make the area, too: one line on what its checks look at, such as "How the network is set up."
    #[arg(long, value_name = "LINE")]
    new_area: Option<String>,
}

impl NewCheck {
    /// Makes it.
    pub(crate) fn run(&self) -> Result<(), String> {
        let made = self.make(&workspace())?;
        println!("created {}", made.join(", "));
        println!(
            "next: write the page in the doc comment and run(), then `cargo nextest run -p sickbay --test cases {}`",
            self.id
        );
        Ok(())
    }

    /// Makes it in the checkout at `root`, and says which files are new.
    pub(crate) fn make(&self, root: &Path) -> Result<Vec<String>, String> {
        well_formed(&self.id, '-')?;
        well_formed(&self.area, '_')?;
        let src = root.join("crates/sickbay/src");
        let areas = areas(&src)?;
        let code = format!("crates/sickbay/src/checks/{}/{}.rs", self.area, self.id.replace('-', "_"));
        let story = format!("crates/sickbay/tests/cases/{}/first.txt", self.id);
        if root.join(&code).exists() || root.join(&story).exists() {
            return Err(format!("{code} or {story} is there already"));
        }
        match (&self.new_area, areas.contains(&self.area)) {
            (None, true) => {}
            (Some(line), false) => new_area(&src, &areas, &self.area, line)?,
            (None, false) => {
                return Err(format!(
                    "there is no area {}: {}; --new-area \"What its checks look at.\" makes it",
                    self.area,
                    areas.join(", ")
                ));
            }
            (Some(_), true) => return Err(format!("the area {} is there already", self.area)),
        }
        let chinese = format!("crates/sickbay/src/checks/{}/{}.zh-CN.toml", self.area, self.id);
        let area = camel(&self.area);
        write(&root.join(&code), &CODE.replace("ID", &self.id).replace("AREA", &area))?;
        write(&root.join(&chinese), &CHINESE.replace("ID", &self.id))?;
        write(&root.join(&story), &STORY.replace("ID", &self.id))?;
        let module = self.id.replace('-', "_");
        edit(&src.join(format!("checks/{}.rs", self.area)), |text| {
            let text = with_module(text, &module);
            let at = text.rfind("];")?;
            // A short list stands in one line.
            let head = text[..at].trim_end();
            let comma = if head.ends_with(['[', ',']) { "" } else { "," };
            Some(format!("{head}{comma}\n    &{module}::CHECK,\n{}", &text[at..]))
        })?;
        Ok(vec![code, chinese, story])
    }
}

/// An area without checks: its file, its name in `model/about.rs`, its place in the list of all and in the help of `list`.
fn new_area(src: &Path, areas: &[String], area: &str, line: &str) -> Result<(), String> {
    let line = line.trim().trim_end_matches('.');
    write(&src.join(format!("checks/{area}.rs")), &AREA.replace("LINE", line))?;
    edit(&src.join("checks.rs"), |text| {
        let text = with_module(text, area);
        let list = text.find(".concat()")?;
        let end = text.get(..list)?.rfind(']')?;
        let before = text[..end].trim_end().trim_end_matches(',');
        Some(format!("{before}, {area}::ALL{}", &text[end..]))
    })?;
    let name = camel(area);
    edit(&src.join("model/about.rs"), |text| {
        let (start, rest) = (text.find("pub enum Area {")?, text.find("impl Area {")?);
        let variants = start + text[start..rest].find("\n}")? + 1;
        let arms = rest + text[rest..].find("\n        }")? + 1;
        Some(format!(
            "{}    /// {line}.\n    {name},\n{}            Area::{name} => \"{area}\",\n{}",
            &text[..variants],
            &text[variants..arms],
            &text[arms..]
        ))
    })?;
    // The help says which there are.
    let mut all = areas.to_vec();
    all.push(area.to_owned());
    for file in ["cli/list.rs", "../locale/help.zh-CN.toml"] {
        let path = src.join(file);
        edit(&path, |text| {
            let text = text.replace(&areas.join(", "), &all.join(", "));
            Some(text.replace(&areas.join("、"), &all.join("、")))
        })?;
    }
    Ok(())
}

/// Whether it is lower-case words joined by `joint`.
pub(crate) fn well_formed(name: &str, joint: char) -> Result<(), String> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.split(joint).all(is_word) && name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(());
    }
    Err(format!("{name} is no name: lower-case words joined by {joint:?}"))
}

/// `my-fact` as the name of a type.
pub(crate) fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split(['-', '_']).filter(|part| !part.is_empty()).map(word).collect()
}

/// The root of the checkout.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// The modules that a file declares.
pub(crate) fn modules(path: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.lines().filter_map(declared).map(str::to_owned).collect())
}

/// The areas: those modules of `checks.rs` that are folders.
fn areas(src: &Path) -> Result<Vec<String>, String> {
    let all = modules(&src.join("checks.rs"))?;
    Ok(all.into_iter().filter(|area| src.join("checks").join(area).is_dir()).collect())
}

/// The module that a line declares.
fn declared(line: &str) -> Option<&str> {
    line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')
}

/// The text of a module's file with one more module among those that it declares, which stay in order.
pub(crate) fn with_module(text: &str, module: &str) -> String {
    let is_other = |line: &&str| declared(line).is_none();
    let head: Vec<&str> = text.lines().take_while(is_other).collect();
    let line = format!("pub mod {module};");
    let mut mods: Vec<&str> = text.lines().skip(head.len()).take_while(|line| !is_other(line)).collect();
    let tail: Vec<&str> = text.lines().skip(head.len() + mods.len()).collect();
    // A file without any has them below its first comment.
    let head_is_all = mods.is_empty();
    let comment = head.iter().take_while(|line| line.starts_with("//!")).count();
    mods.push(&line);
    mods.sort_by_key(|line| declared(line));
    let all: Vec<&str> = match head_is_all {
        true => [&head[..comment], &[""], &mods, &head[comment..]].concat(),
        false => [head, mods, tail].concat(),
    };
    all.join("\n") + "\n"
}

/// Writes a file, source as rustfmt has it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    let is_source = path.extension().is_some_and(|extension| extension == "rs");
    let text = if is_source { &formatted(path, text) } else { text };
    let make = |path: &Path| path.parent().map_or(Ok(()), fs::create_dir_all);
    make(path).and_then(|()| fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))
}

/// The text as rustfmt has it, by the rules of the checkout; as it is where there is no rustfmt.
fn formatted(path: &Path, text: &str) -> String {
    // From standard input it formats this one file, not the modules below it.
    let format = || -> std::io::Result<String> {
        let dir = path.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
        let mut rustfmt = Command::new("rustfmt");
        rustfmt.args(["--edition", "2024"]).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = rustfmt.stderr(Stdio::null()).spawn()?;
        // It reads everything before it writes anything.
        child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()))?;
        let out = child.wait_with_output()?;
        let formatted = String::from_utf8(out.stdout).map_err(std::io::Error::other)?;
        if out.status.success() { Ok(formatted) } else { Err(std::io::Error::other("not formatted")) }
    };
    format().unwrap_or_else(|_| text.to_owned())
}

/// Changes a file; it is not as it is expected to be where `change` has nothing.
pub(crate) fn edit(path: &Path, change: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let new = change(&text).ok_or_else(|| format!("{} has another shape than expected", path.display()))?;
    write(path, &new)
}

const AREA: &str = r"//! LINE.

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[];
";

const CODE: &str = r#"//! One line: what is wrong when this finds something.

use crate::facts::Facts;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: what the user sees on the console or in a log.
    ///
    /// ## What it finds
    /// A file `/etc/ID` that says `broken`.
    ///
    /// ## Why it matters
    /// What happens to the user.
    ///
    /// ## What the repair does
    /// Removes it.
    ///
    /// ## By hand
    /// ```sh
    /// rm ROOT/etc/ID
    /// ```
    "ID", AREA, seed = [], proves = [], "a file says broken"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    // A file that need not be there: facts.file(). One without which there is nothing to look at: facts.required().
    let Some(file) = facts.file("/etc/ID")? else { return Ok(()) };
    if file.bytes.starts_with(b"broken") {
        found
            .error(tr!("{path} says broken", path = file.path.as_path()))
            .at_path(&file.path)
            .why(tr!("what is broken does not work"))
            .repair(Risk::Safe, tr!("remove it"), [Change::Remove { path: file.path.clone() }]);
    }
    Ok(())
}
"#;

const CHINESE: &str = r#"title = "某个文件写着 broken"
page = """
## 症状
你会看到:用户在控制台或日志中看到的内容。

## 它发现什么
内容为 `broken` 的文件 `/etc/ID`。

## 为什么重要
用户会遇到什么。

## 修复做什么
删除它。

## 手工修复
```sh
rm ROOT/etc/ID
```
"""

[messages]
"{path} says broken" = "{path} 写着 broken"
"what is broken does not work" = "坏了的东西无法工作"
"remove it" = "删除它"
"#;

const STORY: &str = "One sentence: what happened to the machine.

--- tree debian-12
--- file /etc/ID
broken
--- finds
error ID /etc/ID: /etc/ID says broken
    why: what is broken does not work
    fix: [safe] remove it
--- then-gone /etc/ID
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    fn check(area: &str, id: &str, new_area: Option<&str>) -> NewCheck {
        NewCheck { area: area.to_owned(), id: id.to_owned(), new_area: new_area.map(str::to_owned) }
    }

    #[test]
    fn a_check_is_made_in_every_area() {
        let root = scratch::sources();
        let areas = super::areas(&root.path().join("crates/sickbay/src")).unwrap();
        assert!(areas.len() >= 5, "{areas:?}");
        for area in &areas {
            let id = format!("a-new-{}", area.replace('_', "-"));
            check(area, &id, None).make(root.path()).unwrap();
            let list = root.path().join(format!("crates/sickbay/src/checks/{area}.rs"));
            let text = fs::read_to_string(list).unwrap();
            let module = id.replace('-', "_");
            assert!(text.contains(&format!("pub mod {module};")) && text.contains(&format!("&{module}::CHECK")));
            assert!(check(area, &id, None).make(root.path()).is_err(), "it is there already");
        }
        scratch::is_formatted(root.path());
    }

    #[test]
    fn a_check_is_made_in_an_area_that_is_new() {
        let root = scratch::sources();
        assert!(check("plumbing", "pipe-burst", None).make(root.path()).is_err_and(|why| why.contains("--new-area")));
        check("plumbing", "pipe-burst", Some("Where the water goes.")).make(root.path()).unwrap();
        check("plumbing", "a-pipe-rusty", None).make(root.path()).unwrap();
        let read = |path: &str| fs::read_to_string(root.path().join("crates/sickbay").join(path)).unwrap();
        assert!(read("src/checks.rs").contains(" plumbing::ALL"));
        let about = read("src/model/about.rs");
        assert!(about.contains("    /// Where the water goes.\n    Plumbing,\n}"), "{about}");
        assert!(about.contains("            Area::Plumbing => \"plumbing\",\n        }"), "{about}");
        assert!(read("src/cli/list.rs").contains(", plumbing\n"));
        let help = read("locale/help.zh-CN.toml");
        assert!(help.contains(", plumbing\"") && help.contains("、plumbing\""));
        scratch::is_formatted(root.path());
    }

    #[test]
    fn names_are_well_formed() {
        let root = scratch::sources();
        for (area, id) in [("boot", "Big"), ("boot", "a--b"), ("boot", "1st"), ("../boot", "a"), ("boot", "")] {
            assert!(check(area, id, None).make(root.path()).is_err(), "{area} {id}");
        }
    }
}
