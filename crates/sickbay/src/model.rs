//! The nouns of the tool. Nothing here reads, decides or prints, and nothing above is imported.

pub mod about;
pub mod diagnosis;
pub mod finding;
pub mod measured;
pub mod outcome;
pub mod repair;
pub mod source;
pub mod stage;
pub mod subject;
pub mod summary;
pub mod text;
