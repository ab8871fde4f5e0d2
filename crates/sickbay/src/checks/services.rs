//! Servers: nginx, PHP-FPM, Java and its clients.

pub mod connection_pool_used_up;
pub mod nginx_backlog_cut;
pub mod nginx_config_invalid;
pub mod nginx_connections_exhausted;
pub mod nginx_keepalive_ineffective;
pub mod nginx_upstream_dead;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[
    &nginx_config_invalid::CHECK,
    &nginx_connections_exhausted::CHECK,
    &nginx_backlog_cut::CHECK,
    &nginx_upstream_dead::CHECK,
    &nginx_keepalive_ineffective::CHECK,
    &connection_pool_used_up::CHECK,
];
