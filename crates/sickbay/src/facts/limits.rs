//! Resource limits: what sets them, layer by layer, and what of it counts.

pub mod chain;
pub mod files;
pub mod manager;
pub mod process;
