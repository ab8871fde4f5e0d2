//! A Java virtual machine could not get memory, and which limit refused it.

use sickbay_formats::hs_err::{Report, System, Wanted};
use sickbay_formats::procfs::kernel_version;

use crate::facts::Facts;
use crate::facts::logs::jvm_reports::{JvmReport, JvmReports};
use crate::facts::memory::alloc::{Accounting, Asker, CgroupLimit, Says};
use crate::facts::memory::size;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "There is insufficient memory for the Java Runtime Environment to continue." or "unable to create
    /// native thread", and a file hs_err_pidNNNN.log.
    ///
    /// ## What it finds
    /// `hs_err_pid*.log`, given explicitly or, from the last seven days, where Java virtual machines leave them, that
    /// reports memory or a thread that could not be obtained. From the `/proc/meminfo` and the limits in the report it
    /// computes which limit refused: `RLIMIT_AS` or `RLIMIT_DATA`, the kernel's heuristic (`vm.overcommit_memory` 0, by
    /// the rule of that kernel), the commit limit of mode 2 with its reserves, or a limit on processes.
    ///
    /// ## Why it matters
    /// The message appears with all memory free as well as with none. What the report itself suggests is the same in
    /// every case.
    ///
    /// ## What the repair does
    /// Nothing by itself. For this machine as it is now see `memory-overcommit-refuses`.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay explain alloc SIZE
    /// ```
    "jvm-out-of-memory", Logs, seed = ["C16"], proves = [], "a Java virtual machine could not get memory"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    // Beside others on a machine it is history; given by itself it is the question.
    let severity = if facts.target().logs().is_ok() { Severity::Error } else { Severity::Note };
    for jvm in &facts.get::<JvmReports>()?.list {
        tell(found, severity, jvm);
    }
    Ok(())
}

/// The finding of one report, if it tells of memory.
fn tell(found: &mut Findings, severity: Severity, jvm: &JvmReport) {
    let (file, report) = (&jvm.file, &jvm.report);
    let (message, judged) = match &report.wanted {
        None => return,
        Some(wanted) if let System::Other(name) = &report.system => {
            let finding = found.note(tr!(
                "Java was refused memory on {system}; only the rules of Linux are judged here",
                system = name.as_str()
            ));
            finding.at_path(&file.path).detail("system", name.as_str());
            if let Wanted::Memory { bytes, .. } = wanted {
                finding.detail("bytes", *bytes);
            }
            finding.evidence(jvm.place(report.line), file.line_text(report.line));
            return;
        }
        Some(Wanted::Thread) => (tr!("Java was refused a thread"), thread(report)),
        Some(Wanted::Memory { bytes, .. }) => {
            let wanted = size(bytes / 1024);
            (tr!("Java asked for {wanted} and was refused", wanted), memory(report, *bytes))
        }
    };
    let Judged { why, formula, by_hand } = judged;
    let finding = found.add(severity, message);
    finding.at_path(&file.path).why(why).by_hand(by_hand);
    if report.line > 0 {
        finding.evidence(jvm.place(report.line), file.line_text(report.line));
    }
    if let Some(formula) = formula {
        finding.evidence("/proc/meminfo", formula);
    }
    let details = [
        ("MemTotal", report.meminfo.get("MemTotal")),
        ("MemAvailable", report.meminfo.get("MemAvailable")),
        ("CommitLimit", report.meminfo.get("CommitLimit")),
        ("Committed_AS", report.meminfo.get("Committed_AS")),
    ];
    for (name, kib) in details {
        if let Some(kib) = kib {
            finding.detail(name, kib.saturating_mul(1024));
        }
    }
    if let Some(Wanted::Memory { bytes, call, purpose }) = &report.wanted {
        finding.detail("bytes", *bytes).detail("call", call.as_str()).detail("purpose", purpose.as_str());
    }
    if let Some(pid) = report.pid {
        finding.detail("pid", pid);
    }
    if !report.arguments.is_empty() {
        finding.detail("arguments", report.arguments.as_str());
    }
    finding.detail("kernel", report.release.as_str());
}

/// Reserves as the kernel chooses them on machines of a gibibyte and more: 8 MiB and 128 MiB (mm/mmap.c).
const RESERVES: (u64, u64) = (8 << 10, 128 << 10);

/// Which limit refused, its formula, and what to do about it.
struct Judged {
    why: Text,
    formula: Option<String>,
    by_hand: Text,
}

/// What to do about a limit of the process or its cgroup, by the name of the rule.
fn raise(rule: &str) -> Text {
    match rule {
        "RLIMIT_AS" => tr!(
            "raise or remove the limit where it is set: ulimit -v in the shell or script that starts it, /etc/security/limits.conf (as), LimitAS= of its unit"
        ),
        "RLIMIT_DATA" => tr!(
            "raise or remove the limit where it is set: ulimit -d in the shell or script that starts it, /etc/security/limits.conf (data), LimitDATA= of its unit"
        ),
        "max_map_count" => tr!("raise vm.max_map_count, or find what creates so many mappings"),
        "cgroup" => tr!(
            "give the cgroup more (docker run -m, limits.memory of the pod, MemoryMax= of the unit), or Java less: -Xmx or -XX:MaxRAMPercentage, leaving room for non-heap memory"
        ),
        _ => tr!("ask for less (-Xms, -Xmx), or add memory or swap"),
    }
}

fn memory(report: &Report, bytes: u64) -> Judged {
    let version = kernel_version(&report.release).unwrap_or_default();
    let accounting = |mode: u64, reserves: (u64, u64)| Accounting {
        release: report.release.clone(),
        version,
        page: 4,
        mode: Some(mode),
        ratio: 50,
        meminfo: report.meminfo.clone(),
        admin_reserve: Some(reserves.0),
        user_reserve: Some(reserves.1),
        // Not in the report. Without it, what the guess of before 5.2 refuses it refuses all the more.
        total_reserve: Some(0),
        max_map_count: report.max_map_count,
        ..Accounting::default()
    };
    // The sizes are those of the end; the request is not in them.
    let mapped = report.virtual_size.unwrap_or(0);
    let asker = |root: bool, total_vm: u64| Asker {
        root,
        total_vm,
        data_vm: report.private,
        maps: (report.mappings > 0).then_some(report.mappings),
        address_space: report.address_space,
        data: report.data,
        cgroups: report
            .cgroup_limit
            .map(|limit| CgroupLimit {
                path: "memory_limit_in_bytes".into(),
                limit,
                used: report.cgroup_usage.unwrap_or(0),
            })
            .into_iter()
            .collect(),
    };
    let refusing = |accounting: &Accounting, asker: &Asker, limits: bool| {
        let verdict = accounting.judge(bytes, asker);
        let wanted = |name: &str| (name == "overcommit") != limits;
        verdict.rules.into_iter().find(|rule| rule.says == Says::Refuses && wanted(rule.name))
    };
    if let Some(rule) = refusing(&accounting(1, RESERVES), &asker(true, mapped), true) {
        return Judged { why: rule.text, formula: Some(rule.formula), by_hand: raise(rule.name) };
    }
    if report.meminfo.is_empty() {
        let why = tr!("the report has no /proc/meminfo: which limit refused it is undetermined");
        let by_hand = tr!("run this on the machine itself: sickbay explain alloc {bytes}", bytes);
        return Judged { why, formula: None, by_hand };
    }
    // The kernel writes these in this order: what is missing behind them this kernel does not count.
    let known = |names: &[&str]| names.iter().all(|name| report.meminfo.get(name).is_some());
    let guess = if version >= (5, 2) {
        known(&["MemTotal", "SwapTotal"])
    } else {
        known(&["MemTotal", "MemFree", "Cached", "SwapTotal", "CommitLimit"]) && swap_free(report).is_some()
    };
    let less = || tr!("ask for less (-Xms, -Xmx), or add memory or swap");
    if guess && let Some(rule) = refusing(&accounting(0, (0, 0)), &asker(true, mapped), false) {
        let text = match version >= (5, 2) {
            true => {
                tr!("it is more than all memory and swap together; only vm.overcommit_memory = 1 would grant that")
            }
            false => tr!(
                "it is more than was free or easily freed, and this kernel does not grant that: use a smaller heap, or vm.overcommit_memory = 1"
            ),
        };
        return Judged { why: text, formula: Some(rule.formula), by_hand: less() };
    }
    let on_the_machine = || tr!("run this on the machine itself: sickbay explain alloc {bytes}", bytes);
    let (Some(limit), Some(committed)) = (report.meminfo.get("CommitLimit"), report.meminfo.get("Committed_AS")) else {
        let why = tr!("the report ends within its copy of /proc/meminfo: which limit refused it is undetermined");
        return Judged { why, formula: None, by_hand: on_the_machine() };
    };
    let short = Shortage::of(report, bytes);
    // Kernels that refuse for want of memory: before 5.2, of which RHEL 8 may have taken the change over.
    let refuses_when_short = version > (0, 0) && version < (5, 2) && version != (4, 18);
    if refuses_when_short && let Some(short) = &short {
        let why = tr!(
            "memory was short: {available} of {wanted} was available, and this kernel grants only what is free or easily freed, minus its reserves",
            available = size(short.available),
            wanted = size(short.wanted)
        );
        return Judged { why, formula: Some(short.formula.clone()), by_hand: less() };
    }
    // In mode 2 the sum never rises above the limit: where it is above, the mode was another.
    let promise_more = || {
        tr!(
            "ask for less (-Xms, -Xmx), add swap, raise vm.overcommit_ratio or vm.overcommit_kbytes, or set vm.overcommit_memory = 0"
        )
    };
    if limit > 0 && committed <= limit {
        if let Some(rule) = refusing(&accounting(2, (0, 0)), &asker(true, 0), false) {
            let text = tr!(
                "vm.overcommit_memory was 2: the total committed to all programs would have exceeded CommitLimit, no matter how much was free"
            );
            return Judged { why: text, formula: Some(rule.formula), by_hand: promise_more() };
        }
        let large = RESERVES.1.saturating_mul(32).max(mapped);
        if let Some(rule) = refusing(&accounting(2, RESERVES), &asker(false, large), false) {
            let text = tr!(
                "it would have stayed below CommitLimit, but not below what vm.overcommit_memory = 2 leaves after the reserves for root and the user"
            );
            return Judged { why: text, formula: Some(rule.formula), by_hand: promise_more() };
        }
    }
    if report
        .cgroup_limit
        .is_some_and(|limit| report.cgroup_usage.is_some_and(|used| used.saturating_add(bytes) > limit))
    {
        return Judged { why: tr!("its cgroup was at its memory limit"), formula: None, by_hand: raise("cgroup") };
    }
    if let Some(short) = short {
        let (available, wanted) = (size(short.available), size(short.wanted));
        let why = match version >= (5, 2) {
            true => tr!(
                "memory was short ({available} of {wanted} was available), but since Linux 5.2 that alone does not refuse a request: what refused it is not in the report; check vm.max_map_count and the limits of the process",
                available,
                wanted
            ),
            false => tr!(
                "memory was short ({available} of {wanted} was available); whether this kernel refuses for that reason is undetermined",
                available,
                wanted
            ),
        };
        return Judged { why, formula: Some(short.formula), by_hand: less() };
    }
    if available(report).is_none() {
        let why = tr!("the report lacks fields of /proc/meminfo: which limit refused it is undetermined");
        return Judged { why, formula: None, by_hand: on_the_machine() };
    }
    let why = tr!(
        "there was memory, and no limit in the report refuses it: check vm.max_map_count, vm.min_free_kbytes and the limits of its cgroup"
    );
    Judged { why, formula: None, by_hand: on_the_machine() }
}

/// Less was available than was asked for; in KiB.
struct Shortage {
    available: u64,
    wanted: u64,
    formula: String,
}

impl Shortage {
    fn of(report: &Report, bytes: u64) -> Option<Shortage> {
        let (memory, formula) = available(report)?;
        let swap = swap_free(report)?;
        let (available, wanted) = (memory.saturating_add(swap), bytes.div_ceil(1024));
        let formula = format!("{formula} + SwapFree {swap} = {available} < {wanted} kB");
        (available < wanted).then_some(Shortage { available, wanted, formula })
    }
}

/// Where there is no swap, none of it is free.
fn swap_free(report: &Report) -> Option<u64> {
    let value = |name: &str| report.meminfo.get(name);
    value("SwapFree").or_else(|| value("SwapTotal").filter(|total| *total == 0))
}

/// What could be had without swapping, in KiB, and how that is reckoned; before 3.14 the kernel does not say it itself.
fn available(report: &Report) -> Option<(u64, String)> {
    let value = |name: &str| report.meminfo.get(name);
    if let Some(available) = value("MemAvailable") {
        return Some((available, format!("MemAvailable {available}")));
    }
    let (free, cached, shmem) = (value("MemFree")?, value("Cached")?, value("Shmem")?);
    let available = free.saturating_add(cached).saturating_sub(shmem);
    Some((available, format!("MemFree {free} + Cached {cached} - Shmem {shmem}")))
}

fn thread(report: &Report) -> Judged {
    let limits = [
        ("RLIMIT_NPROC", report.processes),
        ("pids.max", report.cgroup_tasks),
        ("kernel.threads-max", report.threads_max),
        ("kernel.pid_max", report.pid_max),
    ];
    let known: Vec<String> = limits.iter().filter_map(|(name, limit)| Some(format!("{name} {}", (*limit)?))).collect();
    let why = tr!(
        "a limit on processes and threads, or no memory for its stack; -Xss is the address space that each thread takes"
    );
    let by_hand = tr!(
        "raise the limit that its threads reach: ulimit -u or nproc in /etc/security/limits.conf, TasksMax= or pids.max, kernel.threads-max, kernel.pid_max; or find what starts so many"
    );
    Judged { why, formula: (!known.is_empty()).then(|| known.join(", ")), by_hand }
}

#[cfg(test)]
mod tests {
    use sickbay_formats::hs_err::parse;

    use super::*;
    use crate::model::text::Lang;

    fn why(release: &str, bytes: u64, rest: &str) -> String {
        let text = format!(
            "# Native memory allocation (mmap) failed to map {bytes} bytes for committing reserved memory.\nuname:Linux {release} #1\n{rest}\n"
        );
        let report = parse(text.as_bytes());
        assert!(matches!(report.wanted, Some(Wanted::Memory { bytes: found, .. }) if found == bytes));
        memory(&report, bytes).why.render(Lang::En)
    }

    const EL7: &str = "3.10.0-693.2.2.el7.x86_64";

    #[test]
    fn the_e_books_four_refusals() {
        let customer = "MemTotal: 8009416 kB\nMemFree: 7347684 kB\nBuffers: 18924 kB\nCached: 262836 kB\nShmem: 880 kB\n\
            SReclaimable: 22240 kB\nSwapTotal: 0 kB\nCommitLimit: 4004708 kB\nCommitted_AS: 2061568 kB";
        assert!(why(EL7, 4 << 30, customer).starts_with("vm.overcommit_memory was 2"));
        let tester = "MemTotal: 3881692 kB\nMemFree: 2567724 kB\nBuffers: 69016 kB\nCached: 536116 kB\nShmem: 24996 kB\n\
            SReclaimable: 51080 kB\nSwapTotal: 0 kB\nCommitLimit: 1678700 kB\nCommitted_AS: 2282236 kB";
        assert!(why(EL7, 5_726_797_824, tester).starts_with("it is more than was free"));
        assert!(why(EL7, 3_495_428_096, tester).starts_with("it is more than was free"));
        // Below the limit by 62220 kB: the reserves decide.
        let third = "MemTotal: 3881692 kB\nMemFree: 3300000 kB\nCached: 300000 kB\nCommitLimit: 1940844 kB\nCommitted_AS: 480352 kB";
        assert!(why(EL7, 1_431_830_528, third).starts_with("it would have stayed below CommitLimit"));
    }

    #[test]
    fn other_refusals() {
        let meminfo = "MemTotal: 24684084 kB\nMemFree: 18701692 kB\nSwapTotal: 0 kB\nCommitLimit: 12342040 kB\nCommitted_AS: 228600 kB";
        assert!(why("6.18.44", 900 << 30, meminfo).starts_with("it is more than all memory and swap"));
        let limited = format!(
            "{meminfo}\nrlimit (soft/hard): AS 3000000k/infinity , DATA infinity/infinity\nVirtual Size: 2900000K"
        );
        assert!(why("6.18.44", 200 << 20, &limited).contains("RLIMIT_AS"));
        let data = format!(
            "{meminfo}\nrlimit (soft/hard): AS infinity/infinity , DATA 292968k/292968k , FSIZE infinity/infinity\n\
             7f0000000000-7f0011000000 rw-p 00000000 00:00 0"
        );
        assert!(why("6.18.44", 16 << 20, &data).contains("RLIMIT_DATA"));
        let group = format!("{meminfo}\nmemory_limit_in_bytes: 524288 k\nmemory_usage_in_bytes: 523000 k");
        assert_eq!(why("6.18.44", 16 << 20, &group), "its cgroup was at its memory limit");
        let calm = format!("{meminfo}\nSwapFree: 0 kB\nCached: 100 kB\nShmem: 0 kB");
        assert!(why("6.18.44", 16 << 20, &calm).contains("max_map_count"));
        assert!(why("6.18.44", 16 << 20, meminfo).contains("undetermined"));
        assert!(why("6.18.44", 16 << 20, "").contains("undetermined"));
    }

    /// 39 MiB are available: whether that is why depends on the kernel.
    #[test]
    fn memory_that_was_short() {
        let meminfo = "MemTotal: 4000000 kB\nMemFree: 90000 kB\nMemAvailable: 40000 kB\nBuffers: 0 kB\nCached: 110000 kB\n\
            SwapTotal: 0 kB\nSwapFree: 0 kB\nShmem: 20000 kB\nSReclaimable: 30000 kB\nCommitLimit: 2000000 kB\n\
            Committed_AS: 7000000 kB";
        for old in [EL7, "3.16.0-4-amd64", "4.15.0-20-generic", "5.1.0"] {
            assert!(why(old, 128 << 20, meminfo).starts_with("memory was short: "), "{old}");
        }
        for unknown in ["4.18.0-305.el8.x86_64", ""] {
            assert!(why(unknown, 128 << 20, meminfo).ends_with("is undetermined"), "{unknown}");
        }
        for new in ["5.2.0", "5.15.0-1-generic", "6.8.0"] {
            assert!(why(new, 128 << 20, meminfo).contains("since Linux 5.2"), "{new}");
        }
        // Before 3.14 the kernel does not say MemAvailable.
        let old = meminfo.replace("MemAvailable: 40000 kB\n", "").replace("MemFree: 90000", "MemFree: 12000");
        assert!(why("2.6.32-754.el6.x86_64", 120 << 20, &old).starts_with("memory was short: "));
        // With swap there is enough.
        let swap = meminfo.replace("SwapTotal: 0 kB\nSwapFree: 0 kB", "SwapTotal: 4000000 kB\nSwapFree: 4000000 kB");
        assert!(why("5.15.0", 128 << 20, &swap).starts_with("there was memory"));
    }

    /// Wherever the copy of /proc/meminfo ends, what is not there is not taken for 0.
    #[test]
    fn a_report_that_is_cut() {
        let meminfo = "MemTotal: 4000000 kB\nMemFree: 3000000 kB\nMemAvailable: 3500000 kB\nBuffers: 0 kB\n\
            Cached: 110000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nShmem: 20000 kB\nSReclaimable: 30000 kB\n";
        let ends: Vec<usize> = meminfo.match_indices('\n').map(|(at, _)| at).collect();
        for release in [EL7, "4.18.0-372.el8.x86_64", "5.15.0-1-generic"] {
            for end in &ends {
                assert!(why(release, 256 << 20, &meminfo[..*end]).contains("undetermined"), "{release} {end}");
            }
        }
    }
}
