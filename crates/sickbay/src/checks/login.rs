//! What stands between a user and a shell.

pub mod account_file_damaged;
pub mod login_defs_invalid;
pub mod login_program_broken;
pub mod login_refused_in_log;
pub mod nologin_file;
pub mod nsswitch_broken;
pub mod pam_file_missing;
pub mod pam_lets_anyone_in;
pub mod pam_module_broken;
pub mod pam_refuses_root;
pub mod pam_rule_invalid;
pub mod profile_path_lost;
pub mod profile_stops_login;
pub mod profile_syntax_error;
pub mod root_account_expired;
pub mod root_account_missing;
pub mod root_password_locked;
pub mod root_shell_missing;
pub mod service_account_missing;
pub mod shadow_line_missing;
pub mod sshd_config_invalid;
pub mod sshd_host_key_missing;
pub mod sshd_ignores_keys;
pub mod sshd_limits;
pub mod sshd_refuses_root;
pub mod sshd_user_missing;
