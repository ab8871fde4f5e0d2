//! Makes repairs out of facts.

pub mod boot_config;
pub mod boot_entries;
pub mod esp;
pub mod join;
pub mod network;
pub mod packaged;
pub mod pam;
pub mod pam_ring;
pub mod rebuild;
pub mod restore;
pub mod selinux;
pub mod sysctl_lines;
