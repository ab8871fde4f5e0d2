//! Carries out what a plan says, and takes it back: `plan` chooses, `apply` writes, `journal` remembers, `undo` restores.

pub mod apply;
pub mod held;
pub mod journal;
pub mod password;
pub mod plan;
mod trust;
pub mod undo;
pub mod verdict;
