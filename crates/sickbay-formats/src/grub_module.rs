//! A module of GRUB 2: the symbols that it needs and has, and which features of a file system the code of one accepts.

use std::collections::BTreeSet;

use object::read::elf::ElfFile32;
use object::{Object, ObjectSymbol};

/// The names in the symbol table of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// Those that the core or another module must have.
    pub needs: BTreeSet<Vec<u8>>,
    /// Those that others find in it.
    pub has: BTreeSet<Vec<u8>>,
}

/// More names than this no module has.
const MOST: usize = 1 << 16;

/// The symbols of a module for 32 bits; `None` when it is none.
pub fn symbols(module: &[u8]) -> Option<Symbols> {
    let file = ElfFile32::<object::Endianness>::parse(module).ok()?;
    let mut found = Symbols::default();
    for symbol in file.symbols().take(MOST) {
        let Ok(name) = symbol.name_bytes() else { continue };
        if name.is_empty() {
            continue;
        }
        if !symbol.is_undefined() {
            found.has.insert(name.to_vec());
        } else if !symbol.is_weak() {
            found.needs.insert(name.to_vec());
        }
    }
    Some(found)
}

/// Which incompatible features of ext2, ext3 and ext4 GRUB's code accepts: it tests `feature_incompat` against the complement
/// of the mask (grub-core/fs/ext2.c). `None` where that instruction is not found, or more than one could be it.
pub fn ext_features(code: &[u8]) -> Option<u32> {
    // filetype, recover, meta_bg, extents, 64bit, mmp and flex_bg are accepted by all; compression, a journal device, ea_inode,
    // dirdata, inline_data and casefold by none so far.
    const ALWAYS: u32 = 0x3d6;
    const NEVER: u32 = 0x2_9c09;
    one(tested(code)
        .map(|mask| !mask)
        .filter(|takes| takes & ALWAYS == ALWAYS && takes & NEVER == 0 && takes >> 20 == 0))
}

/// Which incompatible features of XFS, version 5, GRUB's code accepts; they are big-endian on the disk (grub-core/fs/xfs.c).
pub fn xfs_features(code: &[u8]) -> Option<u32> {
    // New ones have been added in their order.
    one(tested(code)
        .map(|mask| !mask.swap_bytes())
        .filter(|takes| (1..=0xff).contains(takes) && (takes + 1).is_power_of_two()))
}

/// The only value, or the same one again and again.
fn one(mut values: impl Iterator<Item = u32>) -> Option<u32> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// The 32-bit values against which x86's `test` tests a register or memory: opcodes A9, and F7 /0 in each of its forms.
fn tested(code: &[u8]) -> impl Iterator<Item = u32> {
    let byte = |at: usize, back: usize| at.checked_sub(back).and_then(|at| code.get(at)).copied();
    code.windows(4).enumerate().filter_map(move |(at, four)| {
        let is_f7 = |back: usize, mode: u8, with_index: bool| {
            byte(at, back) == Some(0xf7)
                && byte(at, back - 1).is_some_and(|modrm| {
                    modrm >> 6 == mode && modrm >> 3 & 7 == 0 && (mode == 3 || (modrm & 7 == 4) == with_index)
                })
        };
        let is_test = byte(at, 1) == Some(0xa9)
            || is_f7(2, 3, false)
            || is_f7(2, 0, false)
            || is_f7(3, 1, false)
            || is_f7(4, 1, true)
            || is_f7(6, 2, false)
            || is_f7(7, 2, true);
        is_test.then(|| Some(u32::from_le_bytes(four.try_into().ok()?))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn masks_of_real_code() {
        // GRUB 2.12: mov 0x60(%ebx),%eax; test $0xfffe9c29,%eax; testl $0xc0ffffff,0xdc(%ebx)
        let ext = [0x8b, 0x43, 0x60, 0xa9, 0x29, 0x9c, 0xfe, 0xff];
        assert_eq!(ext_features(&ext), Some(0x1_63d6));
        let xfs = [0xf7, 0x83, 0xdc, 0, 0, 0, 0xff, 0xff, 0xff, 0xc0, 0x74];
        assert_eq!(xfs_features(&xfs), Some(0x3f));
        assert_eq!(xfs_features(&[0xa9, 0xff, 0xff, 0xff, 0xc0]), Some(0x3f));
        // What only looks like it.
        assert_eq!(ext_features(&[0xe8, 0x29, 0xfc, 0xff, 0xff]), None);
        // Two that differ.
        let other = [0xa9, 0x29, 0xfc, 0xff, 0xff];
        assert_eq!(ext_features(&[ext.as_slice(), &other].concat()), None);
        assert_eq!(ext_features(&other), Some(0x3d6));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let file = [b"\x7fELF\x01\x01\x01".as_slice(), &bytes].concat();
            prop_assert!(symbols(&file).is_none_or(|found| found.needs.len() <= MOST));
            prop_assert!(ext_features(&file).is_none_or(|takes| takes & 0x3d6 == 0x3d6));
            prop_assert!(xfs_features(&file).is_none_or(|takes| takes <= 0xff));
        }
    }
}
