//! What other programs collected of a running system over time: `sar`'s files, and what `iostat`, `pidstat`, `iotop`, `atop`,
//! `vmstat` and `top` print when they are left running.

pub mod sa;
