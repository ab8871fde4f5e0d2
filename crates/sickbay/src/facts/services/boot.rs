//! Spring Boot programs: the jars that virtual machines run or units start, the libraries inside, and the settings inside and beside.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::spring::{self, Setting};
use sickbay_formats::zip::{self, END, Member};

use crate::facts::services::java::Java;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// A library inside a jar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// `jedis`
    pub name: String,
    /// `2.9.1`
    pub version: String,
    /// `BOOT-INF/lib/jedis-2.9.1.jar`
    pub member: String,
}

/// Where a setting stands.
#[derive(Clone, Debug)]
pub struct Found {
    /// It.
    pub setting: Setting,
    /// The file, where it is beside the jar.
    pub file: Option<Arc<SourceFile>>,
    /// `/srv/shop.jar!/BOOT-INF/classes/application.yml`, or the file.
    pub place: String,
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// The jar.
    pub jar: PathBuf,
    /// Its libraries.
    pub libraries: Vec<Library>,
    /// Its settings, the strongest last.
    pub settings: Vec<Found>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Boot {
    /// At most [`MOST`].
    pub programs: Vec<Program>,
}

/// So many jars are looked at.
const MOST: usize = 64;
/// A member's header with its name.
const HEADER: u64 = 1 << 16;
/// A member is no longer, packed.
const PACKED: u64 = 1 << 20;

impl Fact for Boot {
    fn gather(facts: &Facts) -> Result<Boot, Skip> {
        let java = facts.get::<Java>()?;
        let mut jars: BTreeSet<PathBuf> = BTreeSet::new();
        for one in java.running.iter().filter(|one| !one.program.is_contained) {
            let dir = one.program.cwd.as_deref().unwrap_or(Path::new("/"));
            jars.extend(one.options.jar.iter().map(|jar| dir.join(jar.to_path_lossy())));
        }
        let named = java.started.iter().filter_map(|one| one.options.jar.as_ref());
        jars.extend(named.map(|jar| jar.to_path_lossy().into_owned()).filter(|jar| jar.is_absolute()));
        let programs = jars.into_iter().take(MOST).filter_map(|jar| program(facts, &jar)).collect();
        Ok(Boot { programs })
    }
}

fn program(facts: &Facts, jar: &Path) -> Option<Program> {
    let mut file = facts.root().open(jar).ok()?;
    let size = facts.root().stat(jar).ok()?.size;
    let mut read = |start: u64, length: u64| -> Option<Vec<u8>> {
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut bytes = Vec::new();
        (&mut file).take(length).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let list = zip::list(&read(size.saturating_sub(END), END)?, size)?;
    let members = zip::members(&read(list.start, list.length)?);
    let mut settings = Vec::new();
    for name in ["application.yml", "application.yaml", "application.properties"] {
        let inner = format!("BOOT-INF/classes/{name}");
        let Some(member) = members.iter().find(|one| one.name == inner && one.packed <= PACKED) else { continue };
        let mut unpack = |member: &Member| {
            let start = member.header.checked_add(list.before)?;
            let data = start.checked_add(zip::offset(&read(start, HEADER)?)?)?;
            zip::unpacked(member, &read(data, member.packed)?)
        };
        let Some(text) = unpack(member) else { continue };
        let place = format!("{}!/{inner}", jar.display());
        settings.extend(parsed(name, &text).into_iter().map(|setting| Found {
            setting,
            file: None,
            place: place.clone(),
        }));
    }
    let dir = jar.parent().unwrap_or(Path::new("/"));
    for dir in [dir.to_owned(), dir.join("config")] {
        for name in ["application.yml", "application.yaml", "application.properties"] {
            let Ok(Some(file)) = facts.file(dir.join(name)) else { continue };
            let found = parsed(name, &file.bytes).into_iter();
            settings.extend(found.map(|setting| Found {
                place: format!("{}:{}", file.path.display(), setting.line),
                file: Some(Arc::clone(&file)),
                setting,
            }));
        }
    }
    let libraries = members.into_iter().filter_map(|member| library(&member.name)).collect();
    Some(Program { jar: jar.to_owned(), libraries, settings })
}

fn parsed(name: &str, text: &[u8]) -> Vec<Setting> {
    match name.ends_with("properties") {
        true => spring::properties(text),
        false => spring::yaml(&text.to_str_lossy()),
    }
}

/// `BOOT-INF/lib/jedis-2.9.1.jar`, `lib/…` of Boot 1.3 and `WEB-INF/lib/…` of a war.
fn library(member: &str) -> Option<Library> {
    let (dir, name) = member.rsplit_once('/')?;
    if !matches!(dir, "BOOT-INF/lib" | "WEB-INF/lib" | "lib") {
        return None;
    }
    let stem = name.strip_suffix(".jar")?;
    let at = stem.match_indices('-').find(|(at, _)| stem.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit))?.0;
    let (name, version) = (stem.get(..at)?, stem.get(at + 1..)?);
    Some(Library { name: name.to_owned(), version: version.to_owned(), member: member.to_owned() })
}

impl Program {
    /// The version of a library.
    pub fn version(&self, name: &str) -> Option<&Library> {
        self.libraries.iter().find(|one| one.name == name)
    }

    /// The first two numbers of Spring Boot's version.
    pub fn boot(&self) -> Option<(u64, u64)> {
        let mut parts = self.version("spring-boot")?.version.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    }

    /// The strongest setting of a key.
    pub fn last(&self, key: &str) -> Option<&Found> {
        self.settings.iter().rfind(|one| one.setting.key == key)
    }
}
