//! `cargo xtask new-fact AREA NAME`: a file for what is known of a target, registered and compiling.

use std::path::Path;

use crate::new_check::{camel, edit, modules, well_formed, with_module, workspace, write};

/// What is to be made.
#[derive(Debug, clap::Args)]
pub(crate) struct NewFact {
    /// The folder under src/facts
    area: String,
    /// What is known: words and hyphens
    name: String,
    /// Make the area, too: one line on what is known there, such as "How the network is set up."
    #[arg(long, value_name = "LINE")]
    new_area: Option<String>,
}

impl NewFact {
    /// Makes it.
    pub(crate) fn run(&self) -> Result<(), String> {
        println!("made {}", self.make(&workspace())?);
        println!(
            "next: say what it holds and where that is read, and ask for it: facts.get::<{}>()?",
            camel(&self.name)
        );
        Ok(())
    }

    /// Makes it in the checkout at `root`, and says which file is new.
    fn make(&self, root: &Path) -> Result<String, String> {
        well_formed(&self.name, '-')?;
        well_formed(&self.area, '_')?;
        let src = root.join("crates/sickbay/src");
        let areas = modules(&src.join("facts.rs"))?;
        let list = src.join(format!("facts/{}.rs", self.area));
        let module = self.name.replace('-', "_");
        let code = format!("crates/sickbay/src/facts/{}/{module}.rs", self.area);
        if root.join(&code).exists() {
            return Err(format!("{code} is there already"));
        }
        match (&self.new_area, areas.contains(&self.area)) {
            (None, true) => {}
            (Some(line), false) => {
                write(&list, &format!("//! {}.\n", line.trim().trim_end_matches('.')))?;
                edit(&src.join("facts.rs"), |text| Some(with_module(text, &self.area)))?;
            }
            (None, false) => {
                return Err(format!(
                    "there is no area {}: {}; --new-area \"What is known there.\" makes it",
                    self.area,
                    areas.join(", ")
                ));
            }
            (Some(_), true) => return Err(format!("the area {} is there already", self.area)),
        }
        write(&root.join(&code), &CODE.replace("TYPE", &camel(&self.name)).replace("NAME", &self.name))?;
        edit(&list, |text| Some(with_module(text, &module)))?;
        Ok(code)
    }
}

const CODE: &str = r##"//! One line: what is known, and where it is read.

use bstr::{BString, ByteSlice};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// What it is, by which manual page or file of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct TYPE {
    /// The lines of `/etc/NAME` that are no comments; `None` without the file. Say the unit of every number.
    pub lines: Option<Vec<BString>>,
}

impl Fact for TYPE {
    fn gather(facts: &Facts) -> Result<TYPE, Skip> {
        // What cannot be read makes everything that asks unknown (`?`); what is not there is no error, and not nothing either.
        let Some(file) = facts.file("/etc/NAME")? else { return Ok(TYPE { lines: None }) };
        // A format of more than a line goes into sickbay-formats.
        let is_said = |line: &&[u8]| !line.starts_with(b"#");
        Ok(TYPE { lines: Some(file.bytes.lines().filter(is_said).map(BString::from).collect()) })
    }
}
"##;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scratch;

    fn fact(area: &str, name: &str, new_area: Option<&str>) -> NewFact {
        NewFact { area: area.to_owned(), name: name.to_owned(), new_area: new_area.map(str::to_owned) }
    }

    #[test]
    fn a_fact_is_made_in_every_area() {
        let root = scratch::sources();
        let areas = modules(&root.path().join("crates/sickbay/src/facts.rs")).unwrap();
        assert!(areas.len() >= 6, "{areas:?}");
        for area in &areas {
            fact(area, "my-fact", None).make(root.path()).unwrap();
            let list = root.path().join(format!("crates/sickbay/src/facts/{area}.rs"));
            assert!(fs::read_to_string(list).unwrap().contains("pub mod my_fact;"));
            assert!(fact(area, "my-fact", None).make(root.path()).is_err(), "it is there already");
        }
        assert!(fact("plumbing", "pipes", None).make(root.path()).is_err_and(|why| why.contains("--new-area")));
        fact("plumbing", "pipes", Some("Where the water goes.")).make(root.path()).unwrap();
        fact("plumbing", "drains", None).make(root.path()).unwrap();
        let list = fs::read_to_string(root.path().join("crates/sickbay/src/facts/plumbing.rs")).unwrap();
        assert_eq!(list, "//! Where the water goes.\n\npub mod drains;\npub mod pipes;\n");
        scratch::is_formatted(root.path());
    }
}
