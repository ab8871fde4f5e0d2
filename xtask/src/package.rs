//! `cargo xtask package`: a `.deb` and an `.rpm` of the release build, in `target/package`.
//!
//! What goes where is declared in `crates/sickbay/Cargo.toml`; cargo-deb and cargo-generate-rpm read it. Only what has to be made
//! first, completions and the compressed man page, is made here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::disk::succeed;
use crate::new_check::workspace;

/// What is to be done.
#[derive(Debug, clap::Args)]
pub(crate) struct Package {
    /// Make only this one
    #[arg(long, value_enum)]
    only: Option<Form>,
    /// Pack this program instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// A form of package, and the program that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Of Debian and its like
    Deb,
    /// Of Red Hat and its like
    Rpm,
}

impl Form {
    fn program(self) -> &'static str {
        match self {
            Form::Deb => "cargo-deb",
            Form::Rpm => "cargo-generate-rpm",
        }
    }
}

impl Package {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), String> {
        let root = workspace();
        let binary = match &self.binary {
            Some(binary) => std::path::absolute(binary).map_err(|error| format!("{}: {error}", binary.display()))?,
            None => crate::lab::build()?,
        };
        let dir = root.join("target/package");
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        for shell in ["bash", "zsh", "fish"] {
            let script = succeed(Command::new(&binary).args(["completions", shell]))?;
            write(&dir.join("sickbay").with_extension(shell), &script.stdout)?;
        }
        let page = succeed(Command::new("gzip").args(["-9n", "-c", "docs/sickbay.1"]).current_dir(&root))?;
        write(&dir.join("sickbay.1.gz"), &page.stdout)?;
        // Both look for the binary where cargo puts it when no target is named.
        let place = root.join("target/release");
        fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        fs::copy(&binary, place.join("sickbay")).map_err(|error| format!("{}: {error}", binary.display()))?;
        for form in [Form::Deb, Form::Rpm].into_iter().filter(|form| self.only.is_none_or(|only| only == *form)) {
            let package = make(form, &root, &dir)?;
            println!("{}", package.display());
        }
        Ok(())
    }
}

fn make(form: Form, root: &Path, dir: &Path) -> Result<PathBuf, String> {
    let program = form.program();
    if Command::new("cargo")
        .args([&program["cargo-".len()..], "--help"])
        .output()
        .map_or(true, |out| !out.status.success())
    {
        println!("installing {program}");
        let done = Command::new("cargo").args(["install", "--locked", program]).current_dir(root).status();
        if !done.map_err(|error| format!("cargo: {error}"))?.success() {
            return Err(format!("{program} could not be installed"));
        }
    }
    let mut command = Command::new("cargo");
    command.current_dir(root);
    match form {
        Form::Deb => command.args(["deb", "--no-build", "--no-strip", "--package", "sickbay", "--output"]).arg(dir),
        Form::Rpm => command.args(["generate-rpm", "--package", "crates/sickbay", "--output"]).arg(dir),
    };
    let out = succeed(&mut command)?;
    let ending = if form == Form::Deb { "deb" } else { "rpm" };
    let made = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let newest = made
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|is| is == ending))
        .max_by_key(|path| fs::metadata(path).and_then(|it| it.modified()).ok());
    newest.ok_or_else(|| format!("{program} made no package: {}", String::from_utf8_lossy(&out.stderr)))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err(format!("{} would be empty", path.display()));
    }
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}
