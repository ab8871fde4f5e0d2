//! Resource limits that are not what somebody wanted them to be.

pub mod limits_not_effective;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[&limits_not_effective::CHECK];
