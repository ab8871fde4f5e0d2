//! sickbay finds what is ill with a Linux system and mends it.
//!
//! Data flows one way: target → facts → findings → repairs → plan → journal; ARCHITECTURE.md tells the whole story.

#![deny(clippy::disallowed_methods)]

pub mod ask;
pub mod boot;
pub mod check;
pub mod checks;
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a verb speaks to the user")]
pub mod cli;
pub mod engine;
pub mod facts;
pub mod mend;
pub mod model;
pub mod repair;
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "so does a report")]
pub mod report;
pub mod sample;
pub mod spelling;
pub mod tune;
pub mod watch;
