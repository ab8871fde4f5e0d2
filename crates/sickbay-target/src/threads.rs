//! Threads, as many as this process may have: a limit of processes (`ulimit -u`, a pids cgroup) is no reason to fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;

/// What several threads that do the same work gave: this one, and beside it as many of `count - 1` others as can be started.
/// The work shares out what there is to do by itself, say by a counter. A part that panicked is left out.
pub fn together<T: Send>(count: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..count).map_while(|_| Builder::new().spawn_scoped(scope, &work).ok()).collect();
        let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&work)).ok();
        own.into_iter().chain(others.into_iter().filter_map(|thread| thread.join().ok())).collect()
    })
}

/// Set where one processor must do.
static ONE: AtomicBool = AtomicBool::new(false);

/// From now on one thread works at a time, of those that share out work.
pub fn one_processor() {
    ONE.store(true, Ordering::Relaxed);
}

/// Whether one processor must do.
pub fn is_one_processor() -> bool {
    ONE.load(Ordering::Relaxed)
}

/// How many threads work at once on this machine, at most `limit`.
pub fn processors(limit: usize) -> usize {
    if is_one_processor() {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, usize::from).min(limit)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_piece_is_done_once_and_a_panic_costs_its_own_part() {
        let next = AtomicUsize::new(0);
        let parts = together(4, || {
            let mut done = Vec::new();
            loop {
                match next.fetch_add(1, Ordering::Relaxed) {
                    piece @ 0..100 => done.push(piece),
                    _ => return done,
                }
            }
        });
        let mut all: Vec<usize> = parts.into_iter().flatten().collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        let first = AtomicUsize::new(0);
        let parts = together(3, || assert_ne!(first.fetch_add(1, Ordering::Relaxed), 0, "one panics"));
        assert_eq!(parts.len(), 2);
    }
}
