//! Lets writing fail at a chosen moment, for tests of what a power loss or a full disk leaves. Not compiled into what is
//! released, and no target and no environment can call for it: only a test of the same thread can.

use std::cell::Cell;
use std::io;

/// When writes fail.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// So many steps are still made.
    left: u64,
    /// Whether all later ones fail too, as after a power loss, or only this one.
    for_good: bool,
}

thread_local! {
    static PLAN: Cell<Option<Plan>> = const { Cell::new(None) };
    static MADE: Cell<u64> = const { Cell::new(0) };
}

/// From the step after the next `n` on, nothing is written by this thread any more: what is left is what a power loss leaves.
pub fn cut_off_after(n: u64) {
    begin(Some(Plan { left: n, for_good: true }));
}

/// The step after the next `n` fails, and only that one, as on a disk that is full for a moment.
pub fn fail_after(n: u64) {
    begin(Some(Plan { left: n, for_good: false }));
}

/// Nothing fails any more. Gives the steps that were begun since the last call of any of these functions.
pub fn end() -> u64 {
    let made = MADE.get();
    begin(None);
    made
}

fn begin(plan: Option<Plan>) {
    PLAN.set(plan);
    MADE.set(0);
}

/// Asked before every step that changes something.
pub(crate) fn step() -> io::Result<()> {
    MADE.set(MADE.get() + 1);
    match PLAN.get() {
        Some(plan) if plan.left == 0 => {
            if !plan.for_good {
                PLAN.set(None);
            }
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        }
        Some(plan) => {
            PLAN.set(Some(Plan { left: plan.left - 1, ..plan }));
            Ok(())
        }
        None => Ok(()),
    }
}
