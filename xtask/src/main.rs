//! Work on the project itself: `cargo xtask --help`.

mod bench;
mod coverage;
mod docs;
mod hostile;
mod lab;
mod man;
mod new_check;

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
    /// Write the man page, the JSON Schema and the pages of the checks
    Docs(docs::Docs),
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
        Task::Docs(task) => task.run(),
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
