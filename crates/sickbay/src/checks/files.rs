//! Files, links, modes and owners of the system itself.

pub mod files_immutable;
pub mod invisible_characters;
pub mod mode_too_open;
pub mod mode_too_strict;
pub mod package_database_damaged;
pub mod package_file_altered;
pub mod package_file_empty;
pub mod package_file_missing;
pub mod package_install_interrupted;
pub mod package_mode_wrong;
pub mod preloaded_library_missing;
pub mod selinux_labels_lost;
pub mod setuid_lost;
pub mod top_level_missing;

use crate::check::Check;

/// Every check of the area. Whole directories before what is in them.
pub static ALL: &[&Check] = &[
    &top_level_missing::CHECK,
    &package_install_interrupted::CHECK,
    &invisible_characters::CHECK,
    &package_database_damaged::CHECK,
    &package_file_missing::CHECK,
    &package_file_empty::CHECK,
    &package_file_altered::CHECK,
    &package_mode_wrong::CHECK,
    &mode_too_open::CHECK,
    &mode_too_strict::CHECK,
    &setuid_lost::CHECK,
    &selinux_labels_lost::CHECK,
    &preloaded_library_missing::CHECK,
    &files_immutable::CHECK,
];
