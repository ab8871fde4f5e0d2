//! Cards, addresses and routes, what the network's files come to; ports, queues and sockets that run out.

pub mod close_wait_leak;
pub mod conntrack_nearly_full;
pub mod listen_address_missing;
pub mod listen_queue_overflow;
pub mod name_resolution;
pub mod network_card_unknown;
pub mod network_config_unusable;
pub mod network_default_route;
pub mod network_differs_now;
pub mod network_gateway_unreachable;
pub mod network_mask_wrong;
pub mod network_not_started;
pub mod nic_allowance_exceeded;
pub mod nic_interrupts_on_one_cpu;
pub mod nic_one_flow;
pub mod nic_queues_unused;
pub mod packet_filter_after_restart;
pub mod packet_filter_drops;
pub mod port_not_open;
pub mod reverse_path_filter;
pub mod rfs_half_set;
pub mod security_group_drops;
pub mod sockets_unaccounted;
pub mod softnet_drops;
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
    &network_differs_now::CHECK,
    &listen_address_missing::CHECK,
    &port_not_open::CHECK,
    &packet_filter_drops::CHECK,
    &packet_filter_after_restart::CHECK,
    &security_group_drops::CHECK,
    &conntrack_nearly_full::CHECK,
    &sockets_unaccounted::CHECK,
    &close_wait_leak::CHECK,
    &listen_queue_overflow::CHECK,
    &tcp_ports_exhausted::CHECK,
    &nic_allowance_exceeded::CHECK,
    &nic_interrupts_on_one_cpu::CHECK,
    &nic_queues_unused::CHECK,
    &nic_one_flow::CHECK,
    &rfs_half_set::CHECK,
    &softnet_drops::CHECK,
    &reverse_path_filter::CHECK,
    &name_resolution::CHECK,
];
