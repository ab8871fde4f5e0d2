//! Servers: nginx, PHP-FPM, Java and its clients.

pub mod connection_pool_used_up;
pub mod database_by_public_address;
pub mod java_client_leaks;
pub mod jvm_memory_exceeds;
pub mod jvm_options_refused;
pub mod nginx_backlog_cut;
pub mod nginx_config_invalid;
pub mod nginx_connections_exhausted;
pub mod nginx_keepalive_ineffective;
pub mod nginx_upstream_dead;
pub mod php_fpm_children;
pub mod spring_boot_keys_ineffective;
pub mod tomcat_connector;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[
    &nginx_config_invalid::CHECK,
    &nginx_connections_exhausted::CHECK,
    &nginx_backlog_cut::CHECK,
    &nginx_upstream_dead::CHECK,
    &nginx_keepalive_ineffective::CHECK,
    &jvm_options_refused::CHECK,
    &jvm_memory_exceeds::CHECK,
    &spring_boot_keys_ineffective::CHECK,
    &java_client_leaks::CHECK,
    &php_fpm_children::CHECK,
    &connection_pool_used_up::CHECK,
    &tomcat_connector::CHECK,
    &database_by_public_address::CHECK,
];
