//! Work on the project itself: `cargo xtask --help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to who works on the project")]

mod bench;
mod coverage;
mod deps;
mod docs;
mod hostile;
mod lab;
mod man;
mod new_check;
mod new_fact;
mod package;
mod reword;
#[cfg(test)]
mod scratch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Work on the project itself")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Create a check: a file, a story, both languages
    NewCheck(new_check::NewCheck),
    /// Make a fact: a file for what is known of a target
    NewFact(new_fact::NewFact),
    /// Change the wording of an English sentence wherever it is told
    Reword(reword::Reword),
    /// Write the man page, the JSON Schemas and the pages of the checks
    Docs(docs::Docs),
    /// Check that dependencies are used, explained and of allowed licences
    Deps(deps::Deps),
    /// Make a .deb and an .rpm of the release build
    Package(package::Package),
    /// Measure what a run costs, as ratios to peers
    Bench(bench::Bench),
    /// Run sickbay on malicious targets
    Hostile(hostile::Hostile),
    /// Break, repair and boot the disk of a real machine
    Lab(lab::Lab),
}

fn main() -> ExitCode {
    let result = match Xtask::parse().task {
        Task::NewCheck(task) => task.run(),
        Task::NewFact(task) => task.run(),
        Task::Reword(task) => task.run(),
        Task::Docs(task) => task.run(),
        Task::Deps(task) => task.run(),
        Task::Package(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::Hostile(task) => task.run(),
        Task::Lab(task) => task.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
