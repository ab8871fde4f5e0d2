//! The program itself, as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

/// The program with these arguments, in English.
pub fn sickbay<'a>(arguments: impl IntoIterator<Item = &'a str>, target: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sickbay"));
    command.args(arguments).arg(target).env("LC_ALL", "C").env("NO_COLOR", "1");
    command
}

/// Everything that it says.
pub fn run<'a>(arguments: impl IntoIterator<Item = &'a str>, target: &Path) -> (Option<i32>, String) {
    said(&sickbay(arguments, target).output().expect("the program starts"))
}

/// The exit status and everything that was said.
pub fn said(out: &Output) -> (Option<i32>, String) {
    let text = [out.stdout.as_slice(), &out.stderr].concat();
    (out.status.code(), String::from_utf8_lossy(&text).into_owned())
}
