//! From the partition table to the last unit that must start.

pub mod default_target_missing;
