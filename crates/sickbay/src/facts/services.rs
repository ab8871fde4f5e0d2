//! Servers: what they are configured for, and what runs of them.

pub mod nginx;
pub mod pools;
pub mod programs;
