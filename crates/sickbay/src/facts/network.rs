//! The network of a running system.

pub mod sockets;
