//! What disks of a running or recorded machine do, and who makes them.

pub mod burst;
pub mod devices;
pub mod open;
