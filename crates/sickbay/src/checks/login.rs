//! What stands between a user and a shell.

pub mod account_file_damaged;
pub mod login_defs_invalid;
pub mod login_program_broken;
pub mod root_account_expired;
pub mod root_account_missing;
pub mod root_password_locked;
pub mod root_shell_missing;
pub mod service_account_missing;
pub mod shadow_line_missing;
