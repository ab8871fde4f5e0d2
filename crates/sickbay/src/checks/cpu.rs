//! Who wants the processors of a running system, and who waits for what is none.

pub mod load_aliasing;
pub mod load_explained;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[&load_aliasing::CHECK, &load_explained::CHECK];
