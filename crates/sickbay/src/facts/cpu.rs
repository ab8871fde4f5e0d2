//! Who makes the load of a running system.

pub mod beat;
pub mod load;
pub mod periodic;
pub mod topology;
pub mod usage;
pub mod waits;
