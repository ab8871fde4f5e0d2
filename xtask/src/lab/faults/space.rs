//! A root on which nothing is left.

use super::{Fault, fault};

/// Half of what fills it can be spared: packages that were installed, and rotated logs. The rest is somebody's.
pub(super) const FULL: &[Fault] = &[
    fault(
        "root-full",
        "the root has no free blocks: a package cache, old logs, and a user's file",
        r"for number in $(seq 40); do fallocate -l 10M $R/var/cache/apt/archives/package-$number.deb; fallocate -l 5M $R/var/log/syslog.$number; done
fallocate -l 4G $R/srv/dump 2>/dev/null || cat /dev/zero >$R/srv/rest 2>/dev/null || true",
        "file-system-full",
    )
    .full()
    .survived("root's login does not depend on anything it writes"),
    fault(
        "inodes-used-up",
        "the root has no free inodes: session files, and a package cache",
        r"mkdir $R/var/lib/sessions; for number in $(seq 600); do echo $number >$R/var/cache/apt/archives/package-$number.deb; done
seq -f $R/var/lib/sessions/%.0f 200000 | xargs touch 2>/dev/null || true",
        "file-system-full",
    )
    .full()
    .survived("root's login does not depend on any file it creates"),
];
