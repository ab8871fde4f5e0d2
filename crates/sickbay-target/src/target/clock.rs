//! By which time a target is judged.

use std::time::{Duration, SystemTime};

use super::{Lack, Target};

impl Target {
    /// The moment at which ages and expiry dates are judged: for a bundle, when it was collected.
    pub fn now(&self) -> SystemTime {
        let taken = self.bundle().and_then(|bundle| u64::try_from(bundle.taken).ok());
        taken.map_or_else(SystemTime::now, |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// When the kernel that runs started, in seconds since 1970 (`btime` in `/proc/stat`).
    ///
    /// # Errors
    /// Where none runs, or `/proc` does not have it.
    pub fn booted(&self) -> Result<i64, Lack> {
        let stat = self.running()?.read_head("/proc/stat", 1 << 20)?;
        let mut lines = stat.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"btime "));
        let seconds = lines.next().and_then(|seconds| std::str::from_utf8(seconds.trim_ascii()).ok()?.parse().ok());
        seconds.ok_or_else(|| Lack::Unread("/proc/stat does not tell when the kernel started".to_owned()))
    }
}
