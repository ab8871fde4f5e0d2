//! PHP-FPM may start more children than the memory carries, or has no more where they are needed.

use std::path::Path;

use crate::facts::Facts;
use crate::facts::memory::cgroups::{MEMORY, Mounts};
use crate::facts::services::php_fpm::{PhpFpm, Pool, reached};
use crate::facts::system::kernel::MemInfo;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the machine swaps or the OOM killer kills php-fpm or the database at a peak; or pages wait, and the log says "server reached pm.max_children setting
    /// (5), consider raising it".
    ///
    /// ## What it finds
    /// - a running PHP-FPM whose pools may together start so many children (`pm.max_children`) that they need more memory than the machine or the cgroup has: as much each as
    ///   those have to themselves that run now (memory that they share is not counted);
    /// - a pool that reached its `pm.max_children` within the last day, as its log says, where that has not been raised since.
    ///
    /// ## Why it matters
    /// Too many children at a peak end in swapping, which makes each slower, so that more are started. Too few, and requests wait in the queue of the socket.
    ///
    /// ## What the repair does
    /// Nothing: the number that fits is told.
    ///
    /// ## By hand
    /// ```sh
    /// ps -o pid,rss,cmd -C php-fpm8.2
    /// ```
    "php-fpm-children", Services, seed = ["N7"], proves = [], "PHP-FPM may have too many children, or has too few"
}

/// The average memory of a child in KiB.
fn each(pool: &Pool) -> Option<u64> {
    pool.memory.checked_div(pool.children)
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if !facts.runs() {
        return Err(Skip::NotApplicable(tr!("it is not the running system")));
    }
    let php = facts.get::<PhpFpm>()?;
    if php.masters.is_empty() {
        return Ok(());
    }
    let total = facts.get::<MemInfo>()?.total();
    let mounts = facts.get::<Mounts>()?;
    for master in &php.masters {
        let limits = mounts.of_process(facts, MEMORY, &master.pid.to_string());
        let limit = limits.iter().map(|one| one.limit >> 10).fold(total, u64::min);
        let sum =
            master.pools.iter().filter_map(|pool| each(pool)?.checked_mul(pool.most)).fold(0, u64::saturating_add);
        let largest = master.pools.iter().max_by_key(|pool| each(pool).unwrap_or(0).saturating_mul(pool.most));
        if let Some((pool, each)) = largest.and_then(|pool| Some((pool, each(pool)?))).filter(|_| sum > limit) {
            let (name, most) = (pool.name.to_string(), pool.most);
            let (file, span) = &pool.at;
            let finding = found.warning(tr!(
                "{most} children of the pool {name} may need {sum} MiB, there are {limit} MiB",
                most,
                name,
                sum = sum >> 10,
                limit = limit >> 10
            ));
            finding.at(file, *span).extent(sum);
            finding.why(tr!("at a peak the machine swaps, or the OOM killer ends what is largest"));
            finding.note(tr!(
                "{most} × {each} MiB, as much as each of the {children} that run has to itself",
                most,
                each = each >> 10,
                children = pool.children
            ));
            // A quarter is for everything else.
            let fits = (limit - limit / 4).checked_div(each).unwrap_or(1).max(1);
            finding.detail("pid", master.pid).detail("child_kib", each).detail("limit_kib", limit).detail("fits", fits);
            finding.by_hand(tr!(
                "set pm.max_children to {fits} or less: three quarters of the memory by what a child has now",
                fits
            ));
        }
        full(facts, master.log.as_deref(), &master.pools, found);
    }
    Ok(())
}

/// Pools that reached their limit within a day.
fn full(facts: &Facts, log: Option<&Path>, pools: &[Pool], found: &mut Findings) {
    let Some(log) = log else { return };
    // The log has the local time of a zone that is not said: a day more or less.
    let since = jiff::tz::TimeZone::UTC.to_datetime(facts.now()).checked_sub(jiff::Span::new().hours(36));
    for pool in pools {
        let Some((when, limit, line)) = reached(facts, log, &pool.name) else { continue };
        if limit != pool.most || since.as_ref().is_ok_and(|since| when < *since) {
            continue;
        }
        let name = pool.name.to_string();
        let (file, span) = &pool.at;
        let finding = found.warning(tr!(
            "the pool {name} reached its {limit} children, last at {when}",
            name,
            limit,
            when = when.to_string()
        ));
        finding.at(file, *span).subject(Subject::Named(format!("pm.max_children {name}")));
        finding.evidence(log.display().to_string(), line);
        finding.why(tr!("further requests wait until a child is free"));
        if let Some(each) = each(pool) {
            finding.note(tr!("a child has {each} MiB to itself now", each = each >> 10));
        }
        finding.by_hand(tr!(
            "look what the children wait for (slowlog, the database); raise pm.max_children if there is memory for them"
        ));
    }
}
