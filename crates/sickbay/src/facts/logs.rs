//! What was written down.

pub mod console;
pub mod jvm_reports;
pub mod kernel_log;
pub mod login_log;
pub mod oom_story;
pub mod origin;
pub mod own_services;
pub mod recorded_pings;
pub mod seen;
