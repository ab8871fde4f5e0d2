//! Runs checks, finds what causes what, reads proofs, and repairs in rounds.

pub mod causes;
pub mod proof;
pub mod rounds;
pub mod run;
