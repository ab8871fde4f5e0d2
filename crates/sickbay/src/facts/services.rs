//! Servers: what they are configured for, and what runs of them.

pub mod boot;
pub mod java;
pub mod nginx;
pub mod php_fpm;
pub mod pools;
pub mod programs;
