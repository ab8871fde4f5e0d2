//! Servers: nginx, PHP-FPM, Java and its clients.

pub mod nginx_config_invalid;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[&nginx_config_invalid::CHECK];
