//! Which mount options the file systems of the target's own kernel take, by the texts in the kernel and its modules.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::modules::{self, Dependencies};
use sickbay_formats::{kernel_words, mount_options};

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Loader};
use crate::facts::boot::kernels::Kernels;

/// A kernel that was asked for a type of file system.
#[derive(Debug)]
pub struct Answer {
    /// The kernel's version.
    pub kernel: String,
    /// The module, or the kernel itself where it is built in.
    pub file: PathBuf,
    /// Which of the names it takes.
    pub takes: Vec<bool>,
}

/// A file is looked through up to this size, in bytes.
const MOST: u64 = 64 << 20;

/// So many of the options that are known are looked for, too.
const PROOF: usize = 16;

/// Types whose options the kernel reads itself, and the modules that do. What a program of mount(8) reads is not among them.
const TYPES: [(&str, &[&str]); 7] = [
    ("ext2", &["ext2", "ext4"]),
    ("ext3", &["ext3", "ext4"]),
    ("ext4", &["ext4"]),
    ("xfs", &["xfs"]),
    ("btrfs", &["btrfs"]),
    ("vfat", &["fat", "vfat"]),
    ("msdos", &["fat", "msdos"]),
];

/// Asks the kernel that boots by default. `None` where that cannot be told: no such kernel, or options that every one of them
/// takes are not found in its file either.
pub fn ask(facts: &Facts, fstype: &str, names: &[&str]) -> Option<Answer> {
    let (_, owners) = TYPES.iter().find(|(known, _)| *known == fstype)?;
    let kernels = facts.get::<Kernels>().ok()?;
    let config = facts.get::<BootConfig>().ok();
    let booted = config.iter().flat_map(|config| &config.loaders).find_map(Loader::default_entry);
    let image = booted.and_then(|entry| entry.kernel.as_ref()?.path.clone());
    let kernel = match &image {
        Some(path) => kernels.of_image(path).or_else(|| kernels.of_image(&facts.root().canonical(path).ok()?))?,
        None => kernels.all.first()?,
    };
    let dir = Path::new("/lib/modules").join(&kernel.version);
    let read = |path: &Path| facts.root().read_up_to(path, MOST).ok();
    let dependencies = Dependencies::parse(&read(&dir.join("modules.dep"))?);
    let builtin = modules::builtin(&read(&dir.join("modules.builtin")).unwrap_or_default());
    let mut files: Vec<PathBuf> = Vec::new();
    for owner in *owners {
        if let Some(module) = dependencies.get(owner) {
            files.push(dir.join(module.path.to_path_lossy()));
        } else if builtin.contains(*owner) && !files.contains(&kernel.image.path) {
            files.push(kernel.image.path.clone());
        }
    }
    // A name with `no` before it may be the one without (fs_param_neg_with_no).
    let short: Vec<&str> = names.iter().map(|name| name.strip_prefix("no").unwrap_or(name)).collect();
    let own = mount_options::own(fstype.as_bytes()).unwrap_or_default();
    let proof: Vec<&str> = own.iter().step_by(own.len() / PROOF + 1).copied().collect();
    let words: Vec<&[u8]> = names.iter().chain(&short).chain(&proof).map(|word| word.as_bytes()).collect();
    let mut seen = vec![false; words.len()];
    for file in &files {
        let found = kernel_words::found(&read(file)?, &words)?;
        for (seen, found) in seen.iter_mut().zip(found) {
            *seen |= found;
        }
    }
    let (of_names, rest) = seen.split_at_checked(names.len())?;
    let (of_short, of_proof) = rest.split_at_checked(names.len())?;
    // A kernel of which not a quarter of the usual names are found was not read right.
    let known = of_proof.iter().filter(|seen| **seen).count();
    if known * 4 < of_proof.len().max(1) {
        return None;
    }
    Some(Answer {
        kernel: kernel.version.clone(),
        file: files.into_iter().next()?,
        takes: of_names.iter().zip(of_short).map(|(one, other)| *one || *other).collect(),
    })
}
