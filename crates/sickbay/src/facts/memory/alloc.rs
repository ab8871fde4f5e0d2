//! The allocation oracle: whether the kernel grants a mapping of so many bytes, by the kernel's own arithmetic.
//!
//! The formulas are those of mm/util.c (`vm_commit_limit()`, `__vm_enough_memory()`) and mm/mmap.c (`may_expand_vm()`,
//! `do_mmap()`). All is pure: the numbers come from [`crate::facts::memory::overcommit`] or from an error report of a JVM.

use sickbay_formats::procfs::fields::Fields;

use crate::facts::memory::size;
use crate::model::text::Text;
use crate::tr;

/// What the kernel reckons with. In KiB unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub struct Accounting {
    /// `uname -r`.
    pub release: String,
    /// Its leading two numbers.
    pub version: (u32, u32),
    /// The size of a page.
    pub page: u64,
    /// `vm.overcommit_memory`: 0 guess, 1 always, 2 never more than the limit; `None` where it is not known.
    pub mode: Option<u64>,
    /// `vm.overcommit_ratio`, in per cent.
    pub ratio: u64,
    /// `vm.overcommit_kbytes`; 0 where the ratio holds.
    pub kbytes: u64,
    /// `/proc/meminfo`.
    pub meminfo: Fields,
    /// `vm.admin_reserve_kbytes`; `None` before 3.10, where a thirty-second was kept for root.
    pub admin_reserve: Option<u64>,
    /// `vm.user_reserve_kbytes`; `None` before 3.10.
    pub user_reserve: Option<u64>,
    /// The kernel's `totalreserve_pages`; `None` where the zones are not known.
    pub total_reserve: Option<u64>,
    /// `nr_kernel_misc_reclaimable` (since 4.20).
    pub misc_reclaimable: u64,
    /// `vm.max_map_count`, a number of mappings.
    pub max_map_count: Option<u64>,
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    /// Whether it has `CAP_SYS_ADMIN` outside of every user namespace.
    pub root: bool,
    /// What it has mapped so far (`VmSize`), in KiB.
    pub total_vm: u64,
    /// Its private writable mappings (`VmData`), in KiB.
    pub data_vm: u64,
    /// How many mappings it has, if that is known.
    pub maps: Option<u64>,
    /// `RLIMIT_AS` in bytes; `None` is unlimited.
    pub address_space: Option<u64>,
    /// `RLIMIT_DATA` in bytes; `None` is unlimited.
    pub data: Option<u64>,
    /// The memory limits of its cgroup and of those above.
    pub cgroups: Vec<CgroupLimit>,
}

/// A memory limit of a cgroup, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupLimit {
    /// The file that holds the limit.
    pub path: String,
    /// The limit.
    pub limit: u64,
    /// What is used.
    pub used: u64,
}

/// What one rule says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Says {
    /// It is granted as far as this rule goes.
    Grants,
    /// It is refused with ENOMEM.
    Refuses,
    /// It cannot be told; the text says why.
    Unsure,
    /// It is granted, and the program may be killed when it uses what it got.
    Later,
}

/// One rule, with its numbers.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its short name, as the kernel's documentation has it: `overcommit`, `RLIMIT_AS`.
    pub name: &'static str,
    /// The verdict.
    pub says: Says,
    /// The formula with numbers; the same in every language.
    pub formula: String,
    /// In words.
    pub text: Text,
}

/// The whole verdict.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Every rule that was applied, in the kernel's order.
    pub rules: Vec<Rule>,
}

impl Verdict {
    /// Granted, refused or, when a rule cannot be told and no other refuses, neither.
    pub fn says(&self) -> Says {
        let any = |wanted| self.rules.iter().any(|rule| rule.says == wanted);
        [Says::Refuses, Says::Unsure, Says::Later].into_iter().find(|says| any(*says)).unwrap_or(Says::Grants)
    }
}

/// Addresses of a process end here on x86-64 and arm64 with four levels of page tables: 128 TiB
/// (Documentation/arch/x86/x86_64/mm.rst).
const ADDRESSES: u64 = 1 << 47;

impl Accounting {
    /// Whether a private writable mapping of `bytes` is granted to `asker`.
    pub fn judge(&self, bytes: u64, asker: &Asker) -> Verdict {
        let page = self.page.max(1) * 1024;
        let request = bytes.div_ceil(page).saturating_mul(page) / 1024;
        let mut rules = Vec::new();
        if bytes >= ADDRESSES {
            rules.push(Rule {
                name: "addresses",
                says: Says::Refuses,
                formula: format!("{bytes} >= {ADDRESSES}"),
                text: tr!("more than a process has addresses for"),
            });
        }
        rules.extend(self.map_count(asker));
        rules.extend(address_space(request, asker));
        rules.extend(self.data(request, asker));
        rules.push(self.overcommit(request, asker));
        rules.extend(asker.cgroups.iter().map(|cgroup| cgroup_rule(request, cgroup)));
        rules.extend(self.physical(request));
        // What comes later does not matter to who is refused now.
        if rules.iter().any(|rule| rule.says == Says::Refuses) {
            rules.retain(|rule| rule.says != Says::Later);
        }
        Verdict { rules }
    }

    /// The commit limit in KiB, reckoned from the parameters: vm_commit_limit().
    pub fn commit_limit(&self) -> u64 {
        let swap = self.meminfo.or_zero("SwapTotal");
        if self.kbytes > 0 {
            return (self.kbytes / self.page.max(1) * self.page.max(1)).saturating_add(swap);
        }
        let pages = self.meminfo.or_zero("MemTotal").saturating_sub(self.huge()) / self.page.max(1);
        (pages.saturating_mul(self.ratio) / 100).saturating_mul(self.page.max(1)).saturating_add(swap)
    }

    fn huge(&self) -> u64 {
        let default = self.meminfo.or_zero("HugePages_Total").saturating_mul(self.meminfo.or_zero("Hugepagesize"));
        self.meminfo.or_zero("Hugetlb").max(default)
    }

    /// What `asker` may still get in mode 2 beyond what is committed, in KiB, with the reserves taken off. Negative when
    /// nothing is left.
    pub fn headroom(&self, asker: &Asker) -> i64 {
        let committed = signed(self.meminfo.or_zero("Committed_AS"));
        self.allowed(asker).0.saturating_sub(committed)
    }

    /// What all may have committed together for `asker` to get more, and how that comes about.
    fn allowed(&self, asker: &Asker) -> (i64, String) {
        let limit = self.meminfo.get("CommitLimit").unwrap_or_else(|| self.commit_limit());
        let mut allowed = signed(limit);
        let mut formula = if self.kbytes > 0 {
            format!(
                "CommitLimit = overcommit_kbytes {} + SwapTotal {} = {limit} kB",
                self.kbytes,
                self.meminfo.or_zero("SwapTotal")
            )
        } else {
            format!(
                "CommitLimit = (MemTotal {} - huge pages {}) * {} / 100 + SwapTotal {} = {limit} kB",
                self.meminfo.or_zero("MemTotal"),
                self.huge(),
                self.ratio,
                self.meminfo.or_zero("SwapTotal"),
            )
        };
        formula.push_str(&format!("; allowed = {limit}"));
        if !asker.root {
            let (name, reserve) = match self.admin_reserve {
                Some(reserve) => ("admin_reserve_kbytes", reserve),
                None => ("1/32", limit.saturating_sub(self.meminfo.or_zero("SwapTotal")) / 32),
            };
            allowed = allowed.saturating_sub(signed(reserve));
            formula.push_str(&format!(" - {name} {reserve}"));
        }
        let share = asker.total_vm / 32;
        let reserve = self.user_reserve.map_or(share, |reserve| reserve.min(share));
        allowed = allowed.saturating_sub(signed(reserve));
        formula.push_str(&format!(
            " - min(VmSize {} / 32, user_reserve_kbytes {}) {reserve} = {allowed} kB",
            asker.total_vm,
            self.user_reserve.map_or("-".to_owned(), |reserve| reserve.to_string())
        ));
        (allowed, formula)
    }

    /// `__vm_enough_memory()`.
    fn overcommit(&self, request: u64, asker: &Asker) -> Rule {
        let rule = |says, formula, text| Rule { name: "overcommit", says, formula, text };
        match self.mode {
            None => rule(Says::Unsure, String::new(), tr!("vm.overcommit_memory is unknown")),
            Some(1) => rule(
                Says::Grants,
                "vm.overcommit_memory = 1".to_owned(),
                tr!("the kernel grants everything and kills processes when memory runs out"),
            ),
            Some(2) => {
                let (allowed, formula) = self.allowed(asker);
                let committed = self.meminfo.or_zero("Committed_AS");
                let wanted = signed(committed.saturating_add(request));
                let sign = if wanted < allowed { "<" } else { ">=" };
                let formula = format!(
                    "vm.overcommit_memory = 2: {formula}; Committed_AS {committed} + {request} = {wanted} {sign} {allowed} kB"
                );
                if wanted.abs_diff(allowed) <= self.inaccuracy() {
                    let inaccuracy = size(self.inaccuracy());
                    return rule(
                        Says::Unsure,
                        formula,
                        tr!("at the limit: the kernel's own sum is only accurate to {inaccuracy}", inaccuracy),
                    );
                }
                match wanted < allowed {
                    true => rule(Says::Grants, formula, tr!("the total committed stays below the limit")),
                    false => rule(Says::Refuses, formula, tr!("the total committed would exceed the limit")),
                }
            }
            Some(_) => self.guess(request, asker),
        }
    }

    /// How far the counter that the kernel compares can be from the exact sum: a batch for each CPU, in mode 2
    /// together 0.4 % of the memory (mm/mm_init.c, mm_compute_batch()).
    pub fn inaccuracy(&self) -> u64 {
        self.meminfo.or_zero("MemTotal") / 256
    }

    /// Mode 0. Since 5.2 (commit 8c7829b04c52) only what exceeds all memory and swap is refused.
    fn guess(&self, request: u64, asker: &Asker) -> Rule {
        let total = self.meminfo.or_zero("MemTotal");
        let swap = self.meminfo.or_zero("SwapTotal");
        let all = total.saturating_add(swap);
        let grants = request <= all;
        let sign = if grants { "<=" } else { ">" };
        let new = Rule {
            name: "overcommit",
            says: if grants { Says::Grants } else { Says::Refuses },
            formula: format!(
                "vm.overcommit_memory = 0: {request} {sign} MemTotal {total} + SwapTotal {swap} = {all} kB"
            ),
            text: match grants {
                true => tr!("since Linux 5.2 only a single request above all memory and swap is refused"),
                false => tr!("a single request above all memory and swap is refused"),
            },
        };
        if self.version >= (5, 2) {
            return new;
        }
        let old = self.old_guess(request, asker);
        // Whether the kernels of RHEL 8 took the change over is not known.
        let may_be_either = self.version == (4, 18) && self.release.contains(".el8");
        if may_be_either && old.says != new.says {
            let text = tr!("this kernel may follow the rule from before or after Linux 5.2, and they differ");
            return Rule { says: Says::Unsure, formula: format!("{}; {}", old.formula, new.formula), text, ..new };
        }
        old
    }

    /// Mode 0 before 5.2: what is free or easily freed, without what the kernel keeps, must exceed the request.
    fn old_guess(&self, request: u64, asker: &Asker) -> Rule {
        let value = |name: &str| self.meminfo.or_zero(name);
        let rule = |says, formula, text| Rule { name: "overcommit", says, formula, text };
        let Some(reserve) = self.total_reserve else {
            return rule(
                Says::Unsure,
                "vm.overcommit_memory = 0".to_owned(),
                tr!("before Linux 5.2 this depends on the watermarks, which are unknown"),
            );
        };
        let sum = |values: &[u64]| values.iter().copied().fold(0, u64::saturating_add);
        let files = sum(&[value("Cached"), value("Buffers"), value("SwapCached")]);
        let slab = sum(&[value("SReclaimable"), self.misc_reclaimable]);
        let free = sum(&[value("MemFree"), files, value("SwapFree"), slab]).saturating_sub(value("Shmem"));
        let mut left = signed(free).saturating_sub(signed(reserve));
        let mut formula = format!(
            "vm.overcommit_memory = 0: MemFree {} + files {files} - Shmem {} + SwapFree {} + SReclaimable {slab} - reserved {reserve}",
            value("MemFree"),
            value("Shmem"),
            value("SwapFree"),
        );
        if !asker.root {
            let (name, kept) = match self.admin_reserve {
                Some(kept) => ("admin_reserve_kbytes", signed(kept)),
                None => ("1/32", left.max(0) / 32),
            };
            left = left.saturating_sub(kept);
            formula.push_str(&format!(" - {name} {kept}"));
        }
        let sign = if left > signed(request) { ">" } else { "<=" };
        formula.push_str(&format!(" = {left} {sign} {request} kB"));
        match left > signed(request) {
            true => rule(Says::Grants, formula, tr!("that much is free or easily freed")),
            false => rule(
                Says::Refuses,
                formula,
                tr!(
                    "before Linux 5.2, what is free or easily freed, minus what the kernel reserves, must exceed the request"
                ),
            ),
        }
    }

    fn map_count(&self, asker: &Asker) -> Option<Rule> {
        let (max, maps) = (self.max_map_count?, asker.maps?);
        let says = if maps > max { Says::Refuses } else { Says::Grants };
        let sign = if maps > max { ">" } else { "<=" };
        let text = match says {
            Says::Refuses => tr!("the process has as many mappings as it may have"),
            _ => tr!("one more mapping is allowed"),
        };
        Some(Rule { name: "max_map_count", says, formula: format!("{maps} {sign} vm.max_map_count {max}"), text })
    }

    /// `RLIMIT_DATA` counts private writable mappings since 4.7 (commit f4fcd55841fc).
    fn data(&self, request: u64, asker: &Asker) -> Option<Rule> {
        let limit = asker.data?;
        (self.version >= (4, 7)).then(|| limited("RLIMIT_DATA", "VmData", asker.data_vm, request, limit))
    }

    /// What is granted need not be there.
    fn physical(&self, request: u64) -> Option<Rule> {
        let available = self.meminfo.get("MemAvailable")?;
        let swap = self.meminfo.or_zero("SwapFree");
        (request > available.saturating_add(swap)).then(|| Rule {
            name: "memory",
            says: Says::Later,
            formula: format!("{request} > MemAvailable {available} + SwapFree {swap} kB"),
            text: tr!("there is not that much: using all of it invokes the OOM killer"),
        })
    }
}

fn address_space(request: u64, asker: &Asker) -> Option<Rule> {
    Some(limited("RLIMIT_AS", "VmSize", asker.total_vm, request, asker.address_space?))
}

/// A limit in bytes on something counted in KiB.
fn limited(name: &'static str, what: &str, used: u64, request: u64, limit: u64) -> Rule {
    let wanted = used.saturating_add(request);
    let refuses = wanted > limit / 1024;
    let sign = if refuses { ">" } else { "<=" };
    Rule {
        name,
        says: if refuses { Says::Refuses } else { Says::Grants },
        formula: format!("{what} {used} + {request} = {wanted} {sign} {} kB", limit / 1024),
        text: match refuses {
            true => tr!("the process's own limit {name} refuses it", name),
            false => tr!("within the process's own limit {name}", name),
        },
    }
}

fn cgroup_rule(request: u64, cgroup: &CgroupLimit) -> Rule {
    let free = cgroup.limit.saturating_sub(cgroup.used) / 1024;
    let over = request > free;
    let sign = if over { ">" } else { "<=" };
    Rule {
        name: "cgroup",
        says: if over { Says::Later } else { Says::Grants },
        formula: format!("{request} {sign} {} {} - used {} kB", cgroup.path, cgroup.limit / 1024, cgroup.used / 1024),
        text: match over {
            true => tr!("mmap is granted; using more than the cgroup's limit reclaims its caches, then kills in it"),
            false => tr!("within the cgroup's limit"),
        },
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
