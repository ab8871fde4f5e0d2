//! What memory this process may have.

use rustix::process::{Resource, getrlimit};

use crate::sys;

/// A limit of this process under which it would be cut off in the middle of its work: an allocation that fails ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLittle {
    /// The option of `ulimit` that sets the limit.
    pub option: &'static str,
    /// What it allows, in MiB.
    pub limit: u64,
    /// What is needed, in MiB.
    pub needed: u64,
}

/// What is needed for a look at a large system, in MiB: of addresses, which the stacks of threads take most of, and of data.
const NEEDED: [(Resource, &str, u64); 2] = [(Resource::As, "-v", 192), (Resource::Data, "-d", 96)];

/// Prepares the memory of this process; to be called before there is a second thread.
///
/// # Errors
/// When it is limited to less than is needed.
pub fn prepare() -> Result<(), TooLittle> {
    sys::one_heap();
    for (resource, option, needed) in NEEDED {
        if let Some(limit) = getrlimit(resource).current.map(|bytes| bytes >> 20).filter(|limit| *limit < needed) {
            return Err(TooLittle { option, limit, needed });
        }
    }
    Ok(())
}
