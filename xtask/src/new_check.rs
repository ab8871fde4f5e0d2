//! `cargo xtask new-check AREA ID`: a file, a story and both languages, registered and compiling.

use std::fs;
use std::path::{Path, PathBuf};

/// What is to be made.
#[derive(Debug, clap::Args)]
pub struct NewCheck {
    /// boot, files, limits, login, logs, memory or network: the folder under src/checks
    area: String,
    /// The id as users type it: words and hyphens
    id: String,
}

impl NewCheck {
    /// Makes it.
    pub fn run(&self) -> Result<(), String> {
        let src = workspace().join("crates/sickbay/src");
        let area_file = src.join("checks").join(format!("{}.rs", self.area));
        if !area_file.is_file() {
            return Err(format!("there is no area {}: boot, files, limits, login, logs, memory or network", self.area));
        }
        let well_formed =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !self.id.split('-').all(well_formed) || !self.id.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(format!("{} is no id: lower-case words joined by hyphens", self.id));
        }
        let module = self.id.replace('-', "_");
        let dir = src.join("checks").join(&self.area);
        let code = dir.join(format!("{module}.rs"));
        if code.exists() {
            return Err(format!("{} is there already", code.display()));
        }
        let area = self.area[..1].to_uppercase() + &self.area[1..];
        let story = workspace().join("crates/sickbay/tests/cases").join(&self.id).join("first.txt");
        write(&code, &CODE.replace("ID", &self.id).replace("AREA", &area))?;
        write(&dir.join(format!("{}.zh-CN.toml", self.id)), &CHINESE.replace("ID", &self.id))?;
        write(&story, &STORY.replace("ID", &self.id))?;

        edit(&area_file, |text| {
            let text = with_module(text, &module);
            let at = text.rfind("];").unwrap_or(text.len());
            format!("{}    &{module}::CHECK,\n{}", &text[..at], &text[at..])
        })?;
        println!("made {}, its .zh-CN.toml and {}", code.display(), story.display());
        println!(
            "next: say what it finds in the doc comment, write run(), and `cargo test -p sickbay --test cases {}`",
            self.id
        );
        Ok(())
    }
}

/// The root of the checkout.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// The text of a module's file with one more module among those that it declares, which stay in order.
pub fn with_module(text: &str, module: &str) -> String {
    let is_declaration = |line: &&str| line.starts_with("pub mod ");
    let head: Vec<&str> = text.lines().take_while(|line| !is_declaration(line)).collect();
    let line = format!("pub mod {module};");
    let mut mods: Vec<&str> = text.lines().skip(head.len()).take_while(is_declaration).collect();
    let tail = text.lines().skip(head.len() + mods.len());
    mods.push(&line);
    mods.sort_unstable();
    let all: Vec<&str> = head.iter().copied().chain(mods.iter().copied()).chain(tail).collect();
    all.join("\n") + "\n"
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let make = |path: &Path| path.parent().map_or(Ok(()), fs::create_dir_all);
    make(path).and_then(|()| fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))
}

fn edit(path: &Path, change: impl Fn(&str) -> String) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    write(path, &change(&text))
}

const CODE: &str = r#"//! One line: what is wrong when this finds something.

use crate::{check, tr};
use crate::facts::Facts;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};

check! {
    /// ## What it finds
    /// A file `/etc/ID` that says `broken`.
    ///
    /// ## Why it matters
    /// What happens to the user.
    ///
    /// ## What the repair does
    /// Removes it. By hand: `rm /etc/ID`.
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
## 它发现什么
内容为 `broken` 的文件 `/etc/ID`。

## 为什么重要
用户会遇到什么。

## 修复做什么
删除它。手工修复:`rm /etc/ID`。
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
";
