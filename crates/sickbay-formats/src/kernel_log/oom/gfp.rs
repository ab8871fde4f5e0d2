//! The flags of a request for memory, which moved about between releases (include/linux/gfp.h).

/// A kernel's release as far as the tables need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

impl Release {
    /// `3.10.0-1160.el7.x86_64` → 3.10. A distribution's kernel keeps the numbering of the release it grew from, and of
    /// the flags too: el7 has those of 3.10, el8 those of 4.18.
    pub fn of(name: &str) -> Option<Release> {
        let mut numbers = name.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let major = numbers.next()?.ok()?;
        Some(Release(major, numbers.next()?.ok()?))
    }
}

type Table = &'static [(u64, &'static str)];

/// The zone bits are the same in all releases.
const ZONES: Table = &[(0x1, "DMA"), (0x2, "HIGHMEM"), (0x4, "DMA32"), (0x8, "MOVABLE")];

/// 2.6.32 to 4.3.
const OLD: Table = &[
    (0x10, "WAIT"),
    (0x20, "HIGH"),
    (0x40, "IO"),
    (0x80, "FS"),
    (0x100, "COLD"),
    (0x200, "NOWARN"),
    (0x400, "REPEAT"),
    (0x800, "NOFAIL"),
    (0x1000, "NORETRY"),
    (0x2000, "MEMALLOC"),
    (0x4000, "COMP"),
    (0x8000, "ZERO"),
    (0x1_0000, "NOMEMALLOC"),
    (0x2_0000, "HARDWALL"),
    (0x4_0000, "THISNODE"),
    (0x8_0000, "RECLAIMABLE"),
    (0x10_0000, "KMEMCG"), // 3.8 to 4.0; 4.1 to 4.3 NOACCOUNT
    (0x20_0000, "NOTRACK"),
    (0x40_0000, "NO_KSWAPD"), // since 3.5
    (0x80_0000, "OTHER_NODE"),
    (0x100_0000, "WRITE"),
];

/// 4.4 to 4.9, since commit d0164adc89f6.
const SINCE_4_4: Table = &[
    (0x10, "RECLAIMABLE"),
    (0x20, "HIGH"),
    (0x40, "IO"),
    (0x80, "FS"),
    (0x100, "COLD"),
    (0x200, "NOWARN"),
    (0x400, "REPEAT"),
    (0x800, "NOFAIL"),
    (0x1000, "NORETRY"),
    (0x2000, "MEMALLOC"),
    (0x4000, "COMP"),
    (0x8000, "ZERO"),
    (0x1_0000, "NOMEMALLOC"),
    (0x2_0000, "HARDWALL"),
    (0x4_0000, "THISNODE"),
    (0x8_0000, "ATOMIC"),
    (0x10_0000, "ACCOUNT"),
    (0x20_0000, "NOTRACK"),
    (0x40_0000, "DIRECT_RECLAIM"),
    (0x80_0000, "OTHER_NODE"),
    (0x100_0000, "WRITE"),
    (0x200_0000, "KSWAPD_RECLAIM"),
];

/// 4.10 to 4.16: OTHER_NODE is gone.
const SINCE_4_10: Table = &[
    (0x10, "RECLAIMABLE"),
    (0x20, "HIGH"),
    (0x40, "IO"),
    (0x80, "FS"),
    (0x100, "COLD"),
    (0x200, "NOWARN"),
    (0x400, "RETRY_MAYFAIL"),
    (0x800, "NOFAIL"),
    (0x1000, "NORETRY"),
    (0x2000, "MEMALLOC"),
    (0x4000, "COMP"),
    (0x8000, "ZERO"),
    (0x1_0000, "NOMEMALLOC"),
    (0x2_0000, "HARDWALL"),
    (0x4_0000, "THISNODE"),
    (0x8_0000, "ATOMIC"),
    (0x10_0000, "ACCOUNT"),
    (0x20_0000, "NOTRACK"),
    (0x40_0000, "DIRECT_RECLAIM"),
    (0x80_0000, "WRITE"),
    (0x100_0000, "KSWAPD_RECLAIM"),
    (0x200_0000, "NOLOCKDEP"),
];

/// 4.17 to 5.0: COLD and NOTRACK are gone.
const SINCE_4_17: Table = &[
    (0x10, "RECLAIMABLE"),
    (0x20, "HIGH"),
    (0x40, "IO"),
    (0x80, "FS"),
    (0x100, "WRITE"),
    (0x200, "NOWARN"),
    (0x400, "RETRY_MAYFAIL"),
    (0x800, "NOFAIL"),
    (0x1000, "NORETRY"),
    (0x2000, "MEMALLOC"),
    (0x4000, "COMP"),
    (0x8000, "ZERO"),
    (0x1_0000, "NOMEMALLOC"),
    (0x2_0000, "HARDWALL"),
    (0x4_0000, "THISNODE"),
    (0x8_0000, "ATOMIC"),
    (0x10_0000, "ACCOUNT"),
    (0x20_0000, "DIRECT_RECLAIM"),
    (0x40_0000, "KSWAPD_RECLAIM"),
    (0x80_0000, "NOLOCKDEP"),
];

/// 5.1 and later; ATOMIC is gone since 6.3.
const SINCE_5_1: Table = &[
    (0x10, "RECLAIMABLE"),
    (0x20, "HIGH"),
    (0x40, "IO"),
    (0x80, "FS"),
    (0x100, "ZERO"),
    (0x200, "ATOMIC"),
    (0x400, "DIRECT_RECLAIM"),
    (0x800, "KSWAPD_RECLAIM"),
    (0x1000, "WRITE"),
    (0x2000, "NOWARN"),
    (0x4000, "RETRY_MAYFAIL"),
    (0x8000, "NOFAIL"),
    (0x1_0000, "NORETRY"),
    (0x2_0000, "MEMALLOC"),
    (0x4_0000, "COMP"),
    (0x8_0000, "NOMEMALLOC"),
    (0x10_0000, "HARDWALL"),
    (0x20_0000, "THISNODE"),
    (0x40_0000, "ACCOUNT"),
];

/// Names for several flags together, the widest first, as the kernel itself prints them (include/trace/events/mmflags.h).
const TOGETHER: [(&str, &[&str]); 10] = [
    ("GFP_HIGHUSER_MOVABLE", &["RECLAIM", "IO", "FS", "HARDWALL", "HIGHMEM", "MOVABLE"]),
    ("GFP_HIGHUSER", &["RECLAIM", "IO", "FS", "HARDWALL", "HIGHMEM"]),
    ("GFP_USER", &["RECLAIM", "IO", "FS", "HARDWALL"]),
    ("GFP_KERNEL_ACCOUNT", &["RECLAIM", "IO", "FS", "ACCOUNT"]),
    ("GFP_KERNEL", &["RECLAIM", "IO", "FS"]),
    ("GFP_NOFS", &["RECLAIM", "IO"]),
    ("GFP_ATOMIC", &["HIGH", "ATOMIC", "KSWAPD_RECLAIM"]),
    ("GFP_NOIO", &["RECLAIM"]),
    ("GFP_NOWAIT", &["KSWAPD_RECLAIM"]),
    ("GFP_ATOMIC", &["HIGH"]),
];

fn table(release: Release) -> Table {
    match release {
        Release(4, 4..=9) => SINCE_4_4,
        Release(4, 10..=16) => SINCE_4_10,
        Release(4, 17..) | Release(5, 0) => SINCE_4_17,
        Release(major, _) if major >= 5 => SINCE_5_1,
        _ => OLD,
    }
}

/// The names of the flags in `mask` on that kernel; bits without a name are given as a number.
pub fn flags(mask: u64, release: Release) -> Vec<String> {
    let table = table(release);
    let bit = |name: &str| ZONES.iter().chain(table).find(|(_, known)| *known == name).map(|(bit, _)| *bit);
    let bits = |name: &str| match name {
        "RECLAIM" => bit("WAIT").or_else(|| Some(bit("DIRECT_RECLAIM")? | bit("KSWAPD_RECLAIM")?)),
        name => bit(name),
    };
    let mut left = mask;
    let mut names = Vec::new();
    for (name, parts) in TOGETHER {
        let whole: Option<u64> = parts.iter().map(|part| bits(part)).try_fold(0, |sum, part| Some(sum | part?));
        // Alone, __GFP_HIGH was GFP_ATOMIC only where a wish to wait was a flag of its own.
        let usable = !(parts == ["HIGH"] && (bit("WAIT").is_none() || mask & 0x10 != 0));
        if let Some(whole) = whole.filter(|whole| left & whole == *whole && usable && names.is_empty()) {
            names.push(name.to_owned());
            left &= !whole;
        }
    }
    for (bit, name) in ZONES.iter().chain(table) {
        if left & bit != 0 {
            names.push(format!("__GFP_{name}"));
            left &= !bit;
        }
    }
    if left != 0 {
        names.push(format!("{left:#x}"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_wish_in_every_release() {
        let plain = ["GFP_HIGHUSER_MOVABLE"];
        for (release, mask) in [
            ("2.6.32-754.el6.x86_64", 0x200da),
            ("3.13.0-86-generic", 0x200da),
            ("4.4.0-21-generic", 0x24200ca),
            ("4.15.0-20-generic", 0x14200ca),
            ("4.18.0-193.el8.x86_64", 0x6200ca),
            ("5.4.0-42-generic", 0x100cca),
            ("6.1.0-13-amd64", 0x100cca),
        ] {
            assert_eq!(flags(mask, Release::of(release).unwrap()), plain, "{release}");
        }
    }

    #[test]
    fn others() {
        let of = |mask, release: &str| flags(mask, Release::of(release).unwrap()).join("|");
        assert_eq!(of(0x201da, "3.10.0-1160.el7.x86_64"), "GFP_HIGHUSER_MOVABLE|__GFP_COLD");
        assert_eq!(of(0x280da, "2.6.32"), "GFP_HIGHUSER_MOVABLE|__GFP_ZERO");
        assert_eq!(of(0xd0, "3.10"), "GFP_KERNEL");
        assert_eq!(of(0x20, "3.10"), "GFP_ATOMIC");
        assert_eq!(of(0x2084d0, "3.10"), "GFP_KERNEL|__GFP_REPEAT|__GFP_ZERO|__GFP_NOTRACK");
        assert_eq!(of(0x26000c0, "4.4.0"), "GFP_KERNEL|__GFP_NOTRACK");
        assert_eq!(of(0x140cca, "6.6"), "GFP_HIGHUSER_MOVABLE|__GFP_COMP");
        assert_eq!(of(0xcc0, "6.1"), "GFP_KERNEL");
        assert_eq!(of(0x400dc0, "5.10"), "GFP_KERNEL_ACCOUNT|__GFP_ZERO");
        assert_eq!(of(0xa20, "5.10"), "GFP_ATOMIC");
        assert_eq!(of(0x8000_0cc0, "6.1"), "GFP_KERNEL|0x80000000");
        assert_eq!(Release::of("generic"), None);
    }
}
