//! Cards, addresses and routes: what the network's files come to.

pub mod network_card_unknown;
pub mod network_config_unusable;
pub mod network_default_route;
pub mod network_gateway_unreachable;
pub mod network_mask_wrong;
pub mod network_not_started;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[
    &network_not_started::CHECK,
    &network_config_unusable::CHECK,
    &network_card_unknown::CHECK,
    &network_gateway_unreachable::CHECK,
    &network_default_route::CHECK,
    &network_mask_wrong::CHECK,
];
