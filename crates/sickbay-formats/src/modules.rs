//! What depmod(8) writes about the modules of a kernel: modules.dep and modules.builtin.

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BString, ByteSlice};

/// The name of the module in a file, as lsmod(8) shows it: `kernel/drivers/block/virtio-blk.ko.xz` → `virtio_blk`;
/// `None` when the file is no module.
pub fn name(path: &[u8]) -> Option<String> {
    let file = path.rsplit(|byte| *byte == b'/').next()?;
    let stem = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().find_map(|end| file.strip_suffix(end.as_bytes()))?;
    if stem.is_empty() {
        return None;
    }
    Some(plain(stem.to_str().ok()?))
}

/// The name with `_` for `-`: the kernel takes the two for the same.
pub fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// modules.dep: which modules there are as files, and which each needs, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    modules: BTreeMap<String, Module>,
}

/// A module that is a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// The file, relative to the directory of the modules (or absolute, before module-init-tools 3.7).
    pub path: BString,
    /// All that must be loaded before it.
    pub needs: Vec<String>,
}

impl Dependencies {
    /// Reads modules.dep. Lines that are none are passed over.
    pub fn parse(text: &[u8]) -> Dependencies {
        let mut modules = BTreeMap::new();
        for line in text.lines() {
            let Some((path, needs)) = line.split_once_str(":") else { continue };
            let path = path.trim_ascii();
            let Some(own) = name(path) else { continue };
            let needs = needs.split(u8::is_ascii_whitespace).filter_map(name).collect();
            modules.entry(own).or_insert(Module { path: path.into(), needs });
        }
        Dependencies { modules }
    }

    /// The module of that name.
    pub fn get(&self, name: &str) -> Option<&Module> {
        self.modules.get(name)
    }

    /// All modules, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Module)> {
        self.modules.iter().map(|(name, module)| (name.as_str(), module))
    }

    /// Whether it names no module at all.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }
}

/// The names in modules.builtin, one path a line: drivers that are part of the kernel itself.
pub fn builtin(text: &[u8]) -> BTreeSet<String> {
    text.lines().filter_map(|line| name(line.trim_ascii())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dependencies() {
        assert_eq!(name(b"kernel/drivers/block/virtio-blk.ko.zst").as_deref(), Some("virtio_blk"));
        assert_eq!(name(b"kernel/fs/ext4"), None);
        assert_eq!(name(b"/.ko"), None);
        let text =
            b"kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko  kernel/lib/crc16.ko\r\nkernel/fs/jbd2/jbd2.ko:\nx\n";
        let found = Dependencies::parse(text);
        assert_eq!(found.get("ext4").map(|module| module.needs.clone()), Some(vec!["jbd2".into(), "crc16".into()]));
        assert!(found.get("jbd2").is_some_and(|module| module.needs.is_empty()) && found.get("x").is_none());
        assert!(builtin(b"kernel/drivers/virtio/virtio.ko\n\n").contains("virtio"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text: Vec<u8>) {
            Dependencies::parse(&text);
            builtin(&text);
        }
    }
}
