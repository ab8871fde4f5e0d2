//! Files, links, modes and owners of the system itself.

pub mod mode_too_open;
pub mod mode_too_strict;
mod modes;
pub mod selinux_labels_lost;
pub mod setuid_lost;
pub mod top_level_missing;
