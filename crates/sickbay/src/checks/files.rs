//! Files, links, modes and owners of the system itself.

pub mod mode_too_open;
pub mod mode_too_strict;
mod modes;
pub mod package_database_damaged;
pub mod package_file_altered;
pub mod package_file_empty;
pub mod package_file_missing;
pub mod package_mode_wrong;
mod packaged;
pub mod preloaded_library_missing;
pub mod selinux_labels_lost;
pub mod setuid_lost;
pub mod top_level_missing;
