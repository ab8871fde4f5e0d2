//! Memory that is refused, and processes that cannot be started.

use std::sync::Arc;

use sickbay_formats::procfs::limits::limit;

use super::{Cause, Symptom, by_checks, cause, nearly, open, read};
use crate::facts::Facts;
use crate::facts::memory::ledger::number_in;
use crate::facts::memory::size;
use crate::facts::system::kernel::parameter;
use crate::tr;

pub(super) static SYMPTOMS: &[Symptom] = &[
    Symptom {
        words: &[
            "cannot allocate memory",
            "insufficient memory for the java runtime",
            "native memory allocation",
            "could not reserve enough space",
            "outofmemoryerror",
            "out of memory",
            "not enough space",
            "enomem",
        ],
        causes: refused,
    },
    Symptom {
        words: &[
            "resource temporarily unavailable",
            "unable to create native thread",
            "unable to create new native thread",
            "cannot create worker gc thread",
            "pthread_create failed",
            "no child processes",
            "eagain",
        ],
        causes: no_process,
    },
];

fn refused(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        by_checks(
            facts,
            tr!("strict overcommit refuses memory that is available: vm.overcommit_memory = 2"),
            &["memory-overcommit-refuses"],
        ),
        by_checks(
            facts,
            tr!("the kernel keeps too much free: vm.min_free_kbytes"),
            &["memory-min-free", "sysctl-min-free"],
        ),
        by_checks(facts, tr!("memory is used up"), &["memory-low"]),
        by_checks(
            facts,
            tr!("the cgroup of a container or service has used up its memory limit"),
            &["memory-cgroup-limit"],
        ),
        by_checks(facts, tr!("no more processes or threads may be created"), &["memory-limits-fork"]),
        by_checks(
            facts,
            tr!("huge pages hold the memory and nothing uses them"),
            &["memory-hugepages-unused", "sysctl-hugepages"],
        ),
        address_space(facts),
        open(
            tr!("one program asks for more than there is"),
            tr!("sickbay explain alloc SIZE --pid PID shows whether a request is granted, with the formula"),
        ),
    ]
}

fn no_process(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        by_checks(facts, tr!("no more processes or threads may be created"), &["memory-limits-fork"]),
        user_limit(facts),
        address_space(facts),
        by_checks(
            facts,
            tr!("strict overcommit refuses memory that is available: vm.overcommit_memory = 2"),
            &["memory-overcommit-refuses"],
        ),
        by_checks(
            facts,
            tr!("the cgroup of a container or service has used up its memory limit"),
            &["memory-cgroup-limit"],
        ),
        by_checks(facts, tr!("memory is used up"), &["memory-low"]),
        open(
            tr!("a non-blocking call had nothing to return (a socket, a lock): not a fault in itself"),
            tr!("only the program that reports it knows"),
        ),
    ]
}

fn address_space(facts: &Arc<Facts>) -> Cause {
    let what = tr!("a limit on the address space of the process (ulimit -v, RLIMIT_AS)");
    let soft = read(facts, "/proc/self/limits")
        .and_then(|text| limit(&text, "Max address space"))
        .and_then(|limit| limit.soft);
    match soft {
        Some(bytes) => cause(what, true, tr!("{size} for programs started from here", size = size(bytes / 1024))),
        None => cause(what, false, tr!("unlimited for programs started from here; for others see /proc/PID/limits")),
    }
}

fn user_limit(facts: &Arc<Facts>) -> Cause {
    let what = tr!("the user's limit on processes (ulimit -u, nproc in limits.conf)");
    let soft =
        read(facts, "/proc/self/limits").and_then(|text| limit(&text, "Max processes")).and_then(|limit| limit.soft);
    match soft {
        Some(limit) => open(
            what,
            tr!("{limit} for programs started from here; it counts all of the user's processes and threads", limit),
        ),
        None => cause(what, false, tr!("unlimited for programs started from here; for others see /proc/PID/limits")),
    }
}

/// Mappings of memory that is watched: used by [`super::files`].
pub(super) fn open_files(facts: &Arc<Facts>) -> Cause {
    let numbers =
        read(facts, "/proc/sys/fs/file-nr").map(|text| sickbay_formats::procfs::numbers(&text)).unwrap_or_default();
    let max = parameter(facts, "fs.file-max").ok().flatten().or(number_in(facts, "/proc/sys/fs/file-max"));
    let what = tr!("the whole machine has no file handles left: fs.file-max");
    nearly(what, numbers.first().copied(), max, "fs.file-max")
}
