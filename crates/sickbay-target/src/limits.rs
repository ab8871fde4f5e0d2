//! What this process may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer descriptors are not enough: several threads look at once, each along paths of several directories.
pub const LEAST_FILES: u64 = 64;

/// More are not asked for: there are programs that close every descriptor which they may have.
const MOST_FILES: u64 = 65536;

/// Lets this process open as many files at once as it may be let, and tells how many that are.
pub fn raise_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    let current = current.unwrap_or(u64::MAX);
    if current < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        return wanted;
    }
    current
}
