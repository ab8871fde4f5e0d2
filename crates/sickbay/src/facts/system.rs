//! What kind of system it is, and what holds for all of it.

pub mod drop_in_files;
pub mod kernel;
pub mod platform;
pub mod release;
pub mod schedule;
pub mod selinux;
pub mod space;
pub mod summary;
pub mod sysctl_files;
pub mod units;
