//! `/proc/zoneinfo`: the zones of memory with their watermarks. All in pages.

use bstr::ByteSlice;

/// One zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// The NUMA node.
    pub node: u64,
    /// `DMA`, `DMA32`, `Normal`, `Movable` …
    pub name: String,
    /// Free pages.
    pub free: u64,
    /// Below this only the kernel's urgent requests are served.
    pub min: u64,
    /// Below this kswapd wakes.
    pub low: u64,
    /// Up to here kswapd reclaims.
    pub high: u64,
    /// Pages that the page allocator has; of kernels before 3.9, those that are present.
    pub managed: u64,
    /// `protection`: how much is kept from requests that could be served by each higher zone.
    pub lowmem_reserve: Vec<u64>,
    /// Free pages on the lists of single CPUs, which `free` does not count.
    pub on_cpu_lists: u64,
}

/// The zones that have pages.
pub fn parse(text: &[u8]) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    for line in text.lines() {
        let words: Vec<&[u8]> = super::words(line).collect();
        if let [b"Node", node, b"zone", name] = words.as_slice() {
            let node = number(node.trim_end_with(|c| c == ','));
            zones.push(Zone { node, name: name.to_str_lossy().into_owned(), ..Zone::default() });
            continue;
        }
        let Some(zone) = zones.last_mut() else { continue };
        match words.as_slice() {
            [b"pages", b"free", value] => zone.free = number(value),
            // The lists of CPUs have lines `high:`, statistics have longer names.
            [b"min", value] => zone.min = number(value),
            [b"low", value] => zone.low = number(value),
            [b"high", value] => zone.high = number(value),
            [b"present", value] if zone.managed == 0 => zone.managed = number(value),
            [b"managed", value] => zone.managed = number(value),
            [b"count:", value] => zone.on_cpu_lists = zone.on_cpu_lists.saturating_add(number(value)),
            [b"protection:", ..] => {
                let list = line.find_byte(b'(').and_then(|at| line.get(at + 1..)).unwrap_or_default();
                let values = list.split(|byte| matches!(byte, b',' | b')'));
                zone.lowmem_reserve =
                    values.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty()).map(number).collect();
            }
            _ => {}
        }
    }
    zones.retain(|zone| zone.managed > 0);
    zones
}

fn number(word: &[u8]) -> u64 {
    word.to_str().ok().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// `totalreserve_pages`: what the kernel counts as not to be had when it guesses whether a request can be met. Of
/// every zone the high watermark and the largest of its reserves, at most the whole zone
/// (mm/page_alloc.c, calculate_totalreserve_pages()).
pub fn total_reserve(zones: &[Zone]) -> u64 {
    let of = |zone: &Zone| {
        let reserve = zone.lowmem_reserve.iter().copied().max().unwrap_or(0);
        reserve.saturating_add(zone.high).min(zone.managed)
    };
    zones.iter().map(of).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 26973\n  pages free     3840\n        boost    0\n\
        \x20       min      16\n        low      20\n        high     24\n        spanned  4095\n        present  3998\n        managed  3840\n\
        \x20       protection: (0, 3019, 15691, 15691)\n  pagesets\n    cpu: 0\n              count:    5\n              high:     0\n\
        \x20   cpu: 1\n              count:    7\n  start_pfn:           1\nNode 0, zone  Movable\n  pages free     0\n        min      0\n        managed  0\n";

    #[test]
    fn a_zone() {
        let zones = parse(TEXT);
        let zone = Zone {
            node: 0,
            name: "DMA".into(),
            free: 3840,
            min: 16,
            low: 20,
            high: 24,
            managed: 3840,
            lowmem_reserve: vec![0, 3019, 15691, 15691],
            on_cpu_lists: 12,
        };
        assert_eq!(zones, [zone]);
        // 15691 + 24 are more than the zone has.
        assert_eq!(total_reserve(&zones), 3840);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, lines in proptest::collection::vec("(Node|protection:|min|count:|pages free)[ (),0-9a-z]{0,20}", 0..8)) {
            let _ = total_reserve(&parse(&bytes));
            let _ = total_reserve(&parse(lines.join("\n").as_bytes()));
        }
    }
}
