//! sickbay finds what is ill with a Linux system and mends it.
//!
//! Data flows one way: target → facts → findings → repairs → plan → journal; ARCHITECTURE.md tells the whole story.

#![deny(clippy::disallowed_methods)]

pub mod ask;
pub mod boot;
pub mod check;
pub mod checks;
pub mod cli;
pub mod engine;
pub mod facts;
pub mod mend;
pub mod model;
pub mod repair;
pub mod report;
pub mod spelling;
pub mod tune;
