//! Which disk is busy or hangs, and who keeps it so.

pub mod io_disk_hangs;
pub mod io_saturated;
pub mod iowait_without_io;
pub mod md_array_degraded;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] =
    &[&io_saturated::CHECK, &io_disk_hangs::CHECK, &iowait_without_io::CHECK, &md_array_degraded::CHECK];
