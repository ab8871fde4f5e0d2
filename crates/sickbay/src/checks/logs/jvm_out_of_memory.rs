//! A Java virtual machine could not get memory, and which limit refused it.

use sickbay_formats::hs_err::{Report, Wanted};
use sickbay_formats::procfs::kernel_version;
use sickbay_target::Kind;

use crate::alloc::{Accounting, Asker, CgroupLimit, Says};
use crate::check::Verdict;
use crate::facts::Facts;
use crate::facts::SourceFile;
use crate::facts::jvm_reports::JvmReports;
use crate::facts::memory::size;
use crate::finding::{Findings, Severity};
use crate::text::Text;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// `hs_err_pid*.log`, given by itself or, of the last seven days, where Java virtual machines leave them, that tells of memory or a thread
    /// that could not be had. From the `/proc/meminfo` and the limits that are in the report it reckons which limit refused:
    /// `RLIMIT_AS` or `RLIMIT_DATA`, the kernel's guess (`vm.overcommit_memory` 0, by the rule of that kernel), the commit
    /// limit of mode 2 with its reserves, or a limit on processes.
    ///
    /// ## Why it matters
    /// "There is insufficient memory for the Java Runtime Environment to continue" comes with all memory free as well as with
    /// none. What the report itself proposes is the same in every case.
    ///
    /// ## What the repair does
    /// Nothing by itself. For this machine as it is now see `memory-overcommit-refuses` and `sickbay explain alloc SIZE`.
    "jvm-out-of-memory", Logs, seed = ["C16"], proves = [], "a Java virtual machine could not get memory"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    // Beside others on a machine it is history; given by itself it is the question.
    let severity = if facts.target().kind == Kind::Log { Severity::Error } else { Severity::Note };
    for (file, report) in &facts.get::<JvmReports>()?.list {
        tell(found, severity, file, report);
    }
    Ok(())
}

/// The finding of one report, if it tells of memory.
pub fn tell(found: &mut Findings, severity: Severity, file: &SourceFile, report: &Report) {
    let (message, judged) = match &report.wanted {
        None => return,
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
        finding.evidence(format!("{}:{}", file.path.display(), report.line), file.line_text(report.line));
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
            "raise or drop the limit where it is set: ulimit -v in the shell or script that starts it, /etc/security/limits.conf (as), LimitAS= of its unit"
        ),
        "RLIMIT_DATA" => tr!(
            "raise or drop the limit where it is set: ulimit -d in the shell or script that starts it, /etc/security/limits.conf (data), LimitDATA= of its unit"
        ),
        "max_map_count" => tr!("raise vm.max_map_count, or find what makes so many mappings"),
        "cgroup" => tr!(
            "give the cgroup more (docker run -m, limits.memory of the pod, MemoryMax= of the unit), or Java less: -Xmx or -XX:MaxRAMPercentage, with room for what is not heap"
        ),
        _ => tr!("ask for less (-Xms, -Xmx), or add memory or swap"),
    }
}

fn memory(report: &Report, bytes: u64) -> Judged {
    let version = kernel_version(&report.release).unwrap_or_default();
    let value = |name: &str| report.meminfo.or_zero(name);
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
        let why = tr!("the report has no /proc/meminfo: which limit refused cannot be told");
        let by_hand = tr!("ask on the machine itself: sickbay explain alloc {bytes}", bytes);
        return Judged { why, formula: None, by_hand };
    }
    if let Some(rule) = refusing(&accounting(0, (0, 0)), &asker(true, mapped), false) {
        let text = match version >= (5, 2) {
            true => {
                tr!("it is more than all memory and swap together; no setting but vm.overcommit_memory = 1 grants that")
            }
            false => tr!(
                "it is more than was free or easily freed, which this kernel does not grant: use a smaller heap, or vm.overcommit_memory = 1"
            ),
        };
        let by_hand = tr!("ask for less (-Xms, -Xmx), or add memory or swap");
        return Judged { why: text, formula: Some(rule.formula), by_hand };
    }
    let (limit, committed) = (value("CommitLimit"), value("Committed_AS"));
    // In mode 2 the sum never rises above the limit: where it is above, the mode was another.
    let promise_more = || {
        tr!(
            "ask for less (-Xms, -Xmx), add swap, raise vm.overcommit_ratio or vm.overcommit_kbytes, or set vm.overcommit_memory = 0"
        )
    };
    if limit > 0 && committed <= limit {
        if let Some(rule) = refusing(&accounting(2, (0, 0)), &asker(true, 0), false) {
            let text = tr!(
                "vm.overcommit_memory was 2: what all programs had been promised would have risen above CommitLimit, however much was free"
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
    let why = tr!(
        "there was memory and no limit in the report refuses it: look at vm.max_map_count, at vm.min_free_kbytes, and at limits of its cgroup"
    );
    Judged { why, formula: None, by_hand: tr!("ask on the machine itself: sickbay explain alloc {bytes}", bytes) }
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
        "a limit on processes and threads, or no memory for its stack; -Xss is what each takes of the address space"
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
    use crate::text::Lang;

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
        assert!(why("6.18.44", 16 << 20, meminfo).contains("max_map_count"));
        assert!(why("6.18.44", 16 << 20, "").contains("cannot be told"));
    }
}
