//! Which zones could have served the request, and why they did not.

use super::Oom;

/// What became of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Index in [`Oom::zones`].
    pub zone: usize,
    /// What the zone keeps from a request like this one, in kB.
    pub reserve_kb: u64,
    /// What had to be exceeded: the min watermark and the reserve.
    pub needed_kb: u64,
    /// What of the free memory such a request may use.
    pub usable_kb: u64,
    /// `needed_kb` less `usable_kb`; 0 when there was enough.
    pub deficit_kb: u64,
    /// Why it did not serve the request.
    pub verdict: Verdict,
}

/// Why a zone did not serve the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A request of this kind never goes there.
    NotAsked,
    /// Less is free than the min watermark.
    BelowMin,
    /// More is free than the min watermark, but not once the reserve is counted.
    Reserved,
    /// There is enough, but no block is as large as the request; the largest in kB.
    Fragmented(u64),
    /// How much had to be free is not in the report.
    Untold,
    /// It could have served the request when the report was written: the lack was elsewhere (a limit, the nodes
    /// allowed), or memory came free meanwhile.
    Enough,
}

/// What was lacking when no cgroup was at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack<'a> {
    /// Memory.
    Memory,
    /// Blocks large enough: memory was free in smaller ones.
    Blocks,
    /// Memory in the zones that the request may use, up to the first; the second, higher, had this much free, in kB.
    LowMemory(&'a str, &'a str, u64),
    /// The kernel's memory of this cgroup ("" where that is not told) was at its limit: the allocator of pages was not asked.
    KernelMemory(&'a str),
    /// Nothing: every zone that the request may use could have served it when the report was written.
    Nothing,
}

/// The zones that a machine can have, lowest first: include/linux/mmzone.h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zones(Vec<&'static str>);

impl Zones {
    /// Those of the machine of a report, told from the names that occur and from the length of lowmem_reserve[].
    fn of(oom: &Oom) -> Zones {
        let has = |name: &str| oom.zones.iter().any(|zone| zone.name == name);
        let length = oom.zones.iter().map(|zone| zone.lowmem_reserve.len()).max().unwrap_or(0);
        let low: &[&'static str] = match (has("DMA"), has("DMA32"), has("HighMem")) {
            (_, _, true) => &["DMA", "Normal", "HighMem", "Movable", "Device"],
            // arm64 has had one of them before 5.5; x86-64 both.
            (true, false, false) if length == 3 => &["DMA", "Normal", "Movable", "Device"],
            (false, true, false) if length <= 4 => &["DMA32", "Normal", "Movable", "Device"],
            _ => &["DMA", "DMA32", "Normal", "Movable", "Device"],
        };
        Zones(low.to_vec())
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| *known == name)
    }
}

impl Oom {
    /// The highest zone that the request may use, by the zone bits of its flags (GFP_ZONE_TABLE); they are the same in
    /// every release. Without HighMem such a request goes to Normal.
    pub fn asked_zone(&self) -> &'static str {
        let named = |name: &str| self.gfp_flags.iter().any(|flag| flag.contains(name));
        let mask = self.gfp_mask.unwrap_or_else(|| {
            if named("HIGHUSER_MOVABLE") || named("TRANSHUGE") {
                0xa
            } else if named("HIGHUSER") {
                0x2
            } else {
                0
            }
        });
        match mask & 0xf {
            1 => "DMA",
            4 => "DMA32",
            0xa => "Movable",
            2 if self.zones.iter().any(|zone| zone.name == "HighMem") => "HighMem",
            _ => "Normal",
        }
    }

    /// The highest zone that the request may use and that the machine has.
    pub fn top_zone(&self) -> &str {
        let judged = self.judge();
        let top = judged.iter().find(|one| one.verdict != Verdict::NotAsked).and_then(|one| self.zones.get(one.zone));
        top.map_or(self.asked_zone(), |zone| &zone.name)
    }

    /// What was lacking, as far as the zones tell.
    pub fn lack(&self) -> Lack<'_> {
        if let Some(cgroup) = self.kernel_memory_of.as_deref() {
            return Lack::KernelMemory(cgroup);
        }
        // The allocator of pages never works without a flag: the fault came from somewhere else.
        if self.page_fault && self.gfp_mask == Some(0) {
            return Lack::KernelMemory("");
        }
        let judged = self.judge();
        let asked: Vec<&Judgement> = judged.iter().filter(|one| one.verdict != Verdict::NotAsked).collect();
        let any = |test: fn(&Verdict) -> bool| asked.iter().any(|one| test(&one.verdict));
        if any(|verdict| matches!(verdict, Verdict::Fragmented(_))) && !any(|verdict| *verdict == Verdict::Enough) {
            return Lack::Blocks;
        }
        if !asked.is_empty() && asked.iter().all(|one| one.verdict == Verdict::Enough) {
            return Lack::Nothing;
        }
        let free: u64 = asked.iter().map(|one| one.usable_kb).fold(0, u64::saturating_add);
        let above =
            judged.iter().filter(|one| one.verdict == Verdict::NotAsked).filter_map(|one| self.zones.get(one.zone));
        let above = above.filter(|zone| zone.min_kb.is_some_and(|min| zone.free_kb > min.saturating_mul(2)));
        match above.max_by_key(|zone| zone.free_kb).filter(|zone| zone.free_kb > free.saturating_mul(2)) {
            Some(zone) if !any(|verdict| *verdict == Verdict::Enough) => {
                Lack::LowMemory(self.top_zone(), &zone.name, zone.free_kb)
            }
            _ => Lack::Memory,
        }
    }

    /// What became of each zone, lowest last, as the allocator goes through them. Flags that lower the watermark
    /// (`__GFP_HIGH`: to a half) are not counted: such a request fails only when others long did.
    pub fn judge(&self) -> Vec<Judgement> {
        let zones = Zones::of(self);
        let asked = zones.index(self.asked_zone());
        let movable =
            self.gfp_mask.map_or_else(|| self.gfp_flags.iter().any(|f| f.contains("MOVABLE")), |m| m & 8 != 0);
        let order = u32::try_from(self.order.unwrap_or(0)).unwrap_or(0).min(20);
        let wanted_kb = self.page_kb.max(1) << order;
        let mut all: Vec<Judgement> = self
            .zones
            .iter()
            .enumerate()
            .map(|(index, zone)| {
                let place = zones.index(&zone.name);
                let reserve = asked.and_then(|at| zone.lowmem_reserve.get(at).or(zone.lowmem_reserve.last()));
                let reserve_kb = reserve.copied().unwrap_or(0).saturating_mul(self.page_kb.max(1));
                let needed_kb = zone.min_kb.unwrap_or(0).saturating_add(reserve_kb);
                let usable_kb = zone.free_kb.saturating_sub(if movable { 0 } else { zone.free_cma_kb });
                let largest = zone.blocks.iter().filter(|(_, count)| *count > 0).map(|(size, _)| *size).max();
                let verdict = if place > asked || place.is_none() {
                    Verdict::NotAsked
                } else if zone.min_kb.is_some_and(|min| usable_kb <= min) {
                    Verdict::BelowMin
                } else if zone.min_kb.is_some() && usable_kb <= needed_kb {
                    Verdict::Reserved
                } else {
                    match largest {
                        Some(largest) if order > 0 && largest < wanted_kb => Verdict::Fragmented(largest),
                        // Without the list of free blocks nobody knows whether a large one was among them.
                        _ if zone.min_kb.is_none() || order > 0 && largest.is_none() => Verdict::Untold,
                        _ => Verdict::Enough,
                    }
                };
                let told = !matches!(verdict, Verdict::NotAsked | Verdict::Untold);
                let deficit_kb = if !told { 0 } else { needed_kb.saturating_sub(usable_kb) };
                Judgement { zone: index, reserve_kb, needed_kb, usable_kb, deficit_kb, verdict }
            })
            .collect();
        let place = |judged: &Judgement| {
            self.zones.get(judged.zone).map(|zone| (zones.index(&zone.name), std::cmp::Reverse(zone.node)))
        };
        all.sort_by_key(|judged| std::cmp::Reverse(place(judged)));
        all
    }
}
