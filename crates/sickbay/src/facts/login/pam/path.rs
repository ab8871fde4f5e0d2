//! Which file libpam loads for the name of a module.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bstr::{BString, ByteSlice};
use sickbay_formats::elf::Abi;

use crate::facts::packages::libraries::{Body, Broken, Fault, Libraries, multiarch};
use crate::facts::packages::programs::{Programs, Role};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// Where modules are, and what was looked at so far.
#[derive(Debug)]
pub struct Modules {
    /// The directories that have modules, in the order in which they are searched.
    pub dirs: Vec<PathBuf>,
    /// All directories in which they may be, those that are not there too.
    pub searched: Vec<PathBuf>,
    /// Where modules are expected: the first of those, or where they would be if there were any.
    home: PathBuf,
    abi: Option<Abi>,
    loader: Option<BString>,
    known: Mutex<HashMap<BString, Vec<Broken>>>,
}

impl Fact for Modules {
    fn gather(facts: &Facts) -> Result<Modules, Skip> {
        let programs = facts.get::<Programs>()?;
        let libraries = facts.get::<Libraries>()?;
        // Modules are loaded into these, and must be for the same machine.
        let abi = [Role::Login, Role::Sshd, Role::Shell, Role::Sh].into_iter().find_map(|role| {
            match &*libraries.look(facts.root(), programs.path(role)?) {
                Body::Elf(elf) => Some(elf.abi),
                _ => None,
            }
        });
        let mut candidates = Vec::new();
        if let Some(name) = abi.and_then(multiarch) {
            candidates.extend([format!("/lib/{name}/security"), format!("/usr/lib/{name}/security")]);
        }
        if abi.is_none_or(|abi| abi.is_64) {
            candidates.extend(["/lib64/security".to_owned(), "/usr/lib64/security".to_owned()]);
        }
        candidates.extend(["/lib/security".to_owned(), "/usr/lib/security".to_owned()]);
        let mut dirs: Vec<PathBuf> = Vec::new();
        let mut seen = Vec::new();
        for dir in candidates.iter().map(PathBuf::from) {
            let Ok(real) = facts.root().canonical(&dir) else { continue };
            let is_one = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"pam_");
            let has = facts.root().read_dir(&dir).is_ok_and(|entries| entries.iter().any(|entry| is_one(&entry.name)));
            // The other names of a directory that is known already are links.
            if has && !seen.contains(&real) {
                seen.push(real);
                dirs.push(dir);
            }
        }
        let above_is_there =
            |dir: &&PathBuf| dir.parent().is_some_and(|above| facts.root().exists(above).unwrap_or(false));
        let candidates: Vec<PathBuf> = candidates.into_iter().map(PathBuf::from).collect();
        let home = dirs.first().or_else(|| candidates.iter().find(above_is_there)).cloned();
        let home = resolved(facts, home.unwrap_or_else(|| PathBuf::from("/lib/security")));
        let (searched, loader) = (candidates, programs.loader.clone());
        Ok(Modules { dirs, searched, home, abi, loader, known: Mutex::default() })
    }
}

impl Modules {
    /// Whether the module can be loaded.
    pub fn works(&self, facts: &Facts, name: &BString) -> Result<bool, Skip> {
        Ok(self.broken(facts, name)?.is_empty())
    }

    /// Where a module of this name is, or would be.
    pub fn places(&self, facts: &Facts, name: &BString) -> Vec<PathBuf> {
        let named = PathBuf::from(name.to_str_lossy().replace("/$ISA/", "/"));
        let dirs = self.dirs.iter().chain([&self.home]);
        dirs.flat_map(|dir| [dir.join(&named), resolved(facts, dir.join(&named))]).collect()
    }

    /// What keeps a module from being loaded: its own file or libraries that it needs.
    pub fn broken(&self, facts: &Facts, name: &BString) -> Result<Vec<Broken>, Skip> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(known.clone());
        }
        let found = self.look(facts, name)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), found.clone());
        Ok(found)
    }

    fn look(&self, facts: &Facts, name: &BString) -> Result<Vec<Broken>, Skip> {
        let libraries = facts.get::<Libraries>()?;
        let named = PathBuf::from(name.to_str_lossy().replace("/$ISA/", "/"));
        let candidates: Vec<PathBuf> = match named.is_absolute() {
            true => vec![named.clone()],
            false => self.dirs.iter().map(|dir| dir.join(&named)).collect(),
        };
        let mut first = None;
        for path in &candidates {
            let fault = match &*libraries.look(facts.root(), path) {
                Body::Elf(elf) => match self.abi {
                    Some(abi) if abi != elf.abi => Fault::Machine(elf.abi, abi),
                    _ => return libraries.of_elf(facts, path, elf, self.loader.as_ref().map(|path| path.as_bstr())),
                },
                Body::Broken(Fault::Missing) => continue,
                Body::Broken(fault) => fault.clone(),
                Body::Script(_) => Fault::Garbage,
                Body::Unknown(why) => return Err(Skip::Unknown(why.clone())),
            };
            first.get_or_insert((path.clone(), fault));
        }
        let (path, fault) = first.unwrap_or_else(|| (self.home.join(&named), Fault::Missing));
        let path = resolved(facts, path);
        Ok(vec![Broken { needed_by: path.clone(), path, fault }])
    }
}

/// The file's own name, not that of a directory that leads to it.
fn resolved(facts: &Facts, path: PathBuf) -> PathBuf {
    let real = path.parent().and_then(|dir| facts.root().canonical(dir).ok());
    match (real, path.file_name()) {
        (Some(dir), Some(name)) => dir.join(name),
        _ => path,
    }
}
