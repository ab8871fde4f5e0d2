//! `/proc/slabinfo`, version 2: slabinfo(5).

use bstr::ByteSlice;

/// One cache of kernel objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its name.
    pub name: String,
    /// Objects that there is room for.
    pub objects: u64,
    /// The size of one in bytes.
    pub object_size: u64,
    /// Pages that it holds.
    pub pages: u64,
}

/// The caches; lines of another form are passed over.
pub fn parse(text: &[u8]) -> Vec<Cache> {
    text.lines().filter(|line| !line.starts_with(b"#") && !line.starts_with(b"slabinfo")).filter_map(cache).collect()
}

fn cache(line: &[u8]) -> Option<Cache> {
    // name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables … : slabdata <active> <num_slabs> …
    let (counts, _) = split_once(line, " :")?;
    let (_, slabs) = split_once(line, "slabdata")?;
    let (name, rest) = split_once(counts, " ")?;
    let [_, objects, object_size, _, pages_per_slab] = *super::numbers(rest).as_slice() else { return None };
    let slabs = super::numbers(slabs).get(1).copied()?;
    let name = name.to_str_lossy().into_owned();
    Some(Cache { name, objects, object_size, pages: slabs.saturating_mul(pages_per_slab) })
}

fn split_once<'a>(text: &'a [u8], by: &str) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.find(by)?;
    Some((text.get(..at)?, text.get(at + by.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_2_6_32() {
        let text =
            b"slabinfo - version: 2.1\n# name <active_objs>\nproc_inode_cache 4701436 4730094    656    6    1 : \
            tunables   54   27    8 : slabdata 788349 788349      0\nbroken 1 2 : x\n";
        let cache = Cache { name: "proc_inode_cache".into(), objects: 4_730_094, object_size: 656, pages: 788_349 };
        assert_eq!(parse(text), [cache]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[a-z0-9 :#]{0,60}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
