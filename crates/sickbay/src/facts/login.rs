//! Accounts, and what stands between them and a shell.

pub mod accounts;
pub mod administrators;
pub mod pam;
pub mod profile;
pub mod root_over_ssh;
pub mod ssh_keys;
pub mod sshd;
pub mod sshd_service;
pub mod sysusers;
pub(crate) mod visudo;
