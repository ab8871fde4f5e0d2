//! Cards, addresses and routes, what the network's files come to; ports, queues and sockets that run out.

pub mod close_wait_leak;
pub mod listen_queue_overflow;
pub mod network_card_unknown;
pub mod network_config_unusable;
pub mod network_default_route;
pub mod network_gateway_unreachable;
pub mod network_mask_wrong;
pub mod network_not_started;
pub mod sockets_unaccounted;
pub mod tcp_ports_exhausted;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[
    &network_not_started::CHECK,
    &network_config_unusable::CHECK,
    &network_card_unknown::CHECK,
    &network_gateway_unreachable::CHECK,
    &network_default_route::CHECK,
    &network_mask_wrong::CHECK,
    &sockets_unaccounted::CHECK,
    &close_wait_leak::CHECK,
    &listen_queue_overflow::CHECK,
    &tcp_ports_exhausted::CHECK,
];
