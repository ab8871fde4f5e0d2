//! The network of a running system: ports, queues and sockets that run out.

pub mod close_wait_leak;
pub mod listen_queue_overflow;
pub mod sockets_unaccounted;
pub mod tcp_ports_exhausted;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] =
    &[&sockets_unaccounted::CHECK, &close_wait_leak::CHECK, &listen_queue_overflow::CHECK, &tcp_ports_exhausted::CHECK];
