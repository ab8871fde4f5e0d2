//! Reads a bundle, which a stranger may have made: into memory, within bounds, and not a byte to a file system.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::manifest::{self, MEMBER, Manifest, MetaV1, NodeV1, SCHEMA, dir_entry, hex, name, unhex};
use super::{Bundle, refuse_writing};
use crate::packing::{Packing, is_cut};
use crate::snapshot::{Content, Node, Refusal, Snapshot, State};
use crate::target::Kind;
use crate::{Access, OpenError, Root, Target};

/// What all of it may come to, unpacked, and the manifest alone.
const ALL: u64 = 1 << 30;
const MANIFEST: u64 = 256 << 20;
/// A window that zstd may ask for.
const WINDOW: u32 = 25;
/// A block of tar.
const BLOCK: usize = 512;

/// Whether the file is a bundle: a tar, packed or not, that begins with a manifest.
pub(crate) fn is_bundle(path: &Path) -> bool {
    let head = || -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        stream(path)?.take(BLOCK as u64).read_to_end(&mut head)?;
        Ok(head)
    };
    head().is_ok_and(|head| head.starts_with(MEMBER.as_bytes()) && head.get(MEMBER.len()) == Some(&0))
}

/// What is in the file, unpacked.
fn stream(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(path)?);
    // A bundle is packed by zstd, or was unpacked by hand.
    match Packing::of(file.fill_buf()?) {
        Some(Packing::Zstd) => Packing::Zstd.unpack(file, WINDOW),
        _ => Ok(Box::new(file)),
    }
}

/// A bundle as the target that it was collected of.
pub(crate) fn open(path: &Path, access: Access) -> Result<Target, OpenError> {
    refuse_writing(path, access)?;
    let fail = |why: String| OpenError::Bundle { path: path.to_owned(), why };
    let (manifest, state) = load(path).map_err(|error| match error {
        Wrong::Io(error) if is_cut(&error) => {
            OpenError::Truncated { path: path.to_owned(), why: "the bundle ends too early".to_owned() }
        }
        Wrong::Io(error) => fail(format!("it is damaged: {error}")),
        Wrong::Told(why) => fail(why),
    })?;
    let kind = [Kind::Host, Kind::Root, Kind::Disk].into_iter().find(|kind| kind.word() == manifest.kind);
    let kind =
        kind.ok_or_else(|| fail(format!("its kind is {:?}, which this version does not know", manifest.kind)))?;
    let bundle = Bundle { name: manifest.name.clone(), taken: manifest.taken, version: manifest.version };
    let snapshot = Arc::new(Snapshot::known(state, manifest.live));
    let root = Root::of_snapshot(snapshot, crate::root::Met::default());
    let root = root.map_err(|error| OpenError::io(path, "making room", error))?;
    let volumes = manifest.volumes.volumes();
    Ok(Target::of_bundle(kind, path.display().to_string(), root, bundle, volumes, manifest.opaque, manifest.notes))
}

enum Wrong {
    Io(io::Error),
    Told(String),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Wrong {
        Wrong::Io(error)
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Wrong {
        Wrong::Told(why)
    }
}

/// What a member must be.
struct Wanted {
    sha256: String,
    place: Place,
}

enum Place {
    Content(PathBuf, Option<&'static str>, u64),
    Blocks(PathBuf, Vec<u64>),
    Answer(String),
}

fn load(path: &Path) -> Result<(Manifest, State), Wrong> {
    let mut left = ALL;
    let mut archive = tar::Archive::new(stream(path)?);
    let mut manifest: Option<Manifest> = None;
    let mut state = State::default();
    let mut wanted: HashMap<Vec<u8>, Wanted> = HashMap::new();
    for member in archive.entries()? {
        let mut member = member?;
        let member_name = member.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&member_name).into_owned();
        if member.header().entry_type() != tar::EntryType::Regular {
            return Err(format!("{shown:?} in it is no regular file").into());
        }
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if member_name.starts_with(b"/") || !Path::new(&shown).components().all(is_plain) {
            return Err(format!("{shown:?} in it leads out of it").into());
        }
        let limit = if manifest.is_none() { MANIFEST } else { left };
        if member.size() > limit {
            return Err(format!("it unpacks to more than {} MiB", limit.max(left) >> 20).into());
        }
        let size = member.size();
        let mut bytes = Vec::new();
        if member.by_ref().take(limit).read_to_end(&mut bytes)? as u64 != size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        left = left.saturating_sub(size);
        if manifest.is_none() {
            let read = read_manifest(&bytes)?;
            wanted = announced(&read, &mut state)?;
            manifest = Some(read);
            continue;
        }
        let Some(Wanted { sha256, place }) = wanted.remove(&member_name) else {
            return Err(format!("{shown:?} in it is not in its manifest").into());
        };
        if sha256.len() < manifest::DIGITS || !hex(&Sha256::digest(&bytes)).starts_with(&sha256) {
            return Err(format!("{shown:?} in it is not what its manifest says: it was changed or damaged").into());
        }
        state.take(place, bytes)?;
    }
    let manifest = manifest.ok_or_else(|| "it has no manifest".to_owned())?;
    match wanted.is_empty() {
        true => Ok((manifest, state)),
        false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

fn read_manifest(bytes: &[u8]) -> Result<Manifest, Wrong> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: String,
        #[serde(default)]
        version: String,
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| format!("its manifest is damaged: {error}"))?;
    if head.schema != SCHEMA {
        let (schema, version) = (head.schema, head.version);
        return Err(format!("it is {schema:?}, made by sickbay {version}; this version reads {SCHEMA}").into());
    }
    serde_json::from_slice(bytes).map_err(|error| format!("its manifest is damaged: {error}").into())
}

/// Makes nodes of what the manifest says. Gives the members that there must be.
fn announced(manifest: &Manifest, state: &mut State) -> Result<HashMap<Vec<u8>, Wanted>, Wrong> {
    let mut wanted = HashMap::new();
    for (number, told) in manifest.paths.iter().enumerate() {
        let path = PathBuf::from(name(&told.path));
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
        if !path.is_absolute() || !is_plain {
            return Err(format!("{:?} in its manifest is no path", told.path).into());
        }
        if let Some(sha256) = &told.sha256 {
            let cut = ["end", "texts", "lines"].into_iter().find(|known| told.cut.as_deref() == Some(*known));
            let place = Place::Content(path.clone(), cut, told.masked);
            wanted.insert(format!("files{}", told.path).into_bytes(), Wanted { sha256: sha256.clone(), place });
        }
        if let Some(sha256) = &told.blocks_sha256 {
            let place = Place::Blocks(path.clone(), told.blocks.clone());
            wanted.insert(format!("blocks{}", told.path).into_bytes(), Wanted { sha256: sha256.clone(), place });
        }
        state.nodes.insert(path, node(told, number));
    }
    for (number, told) in manifest.answers.iter().enumerate() {
        match (&told.short, &told.sha256, &told.lack) {
            (Some(short), ..) => drop(state.answers.insert(told.question.clone(), Ok(unhex(short)))),
            (None, Some(sha256), _) => {
                let place = Place::Answer(told.question.clone());
                wanted.insert(format!("answers/{number}").into_bytes(), Wanted { sha256: sha256.clone(), place });
            }
            (None, None, Some(refusal)) => drop(state.answers.insert(told.question.clone(), Err(refusal.clone()))),
            (None, None, None) => {}
        }
    }
    Ok(wanted)
}

fn node(told: &NodeV1, number: usize) -> Node {
    let lack = |what: &str| told.lacks.get(what).cloned();
    fn or<T>(known: Option<T>, lack: Option<Refusal>) -> Option<Result<T, Refusal>> {
        known.map(Ok).or_else(|| lack.map(Err))
    }
    let of = |meta: &MetaV1| meta.metadata(number);
    let entries = told.entries.as_ref().map(|list| {
        let mut entries: Vec<_> = list.iter().filter_map(|entry| dir_entry(entry)).collect();
        entries.sort_unstable();
        (entries, !told.more)
    });
    let xattrs = told.xattrs.as_ref().map(|list| list.iter().map(|(key, value)| (name(key), unhex(value))).collect());
    Node {
        meta: or(told.meta.as_ref().map(of), lack("meta")),
        link: or(told.link.as_ref().map(|text| PathBuf::from(name(text))), lack("link")),
        loops: lack("follow").map(Err),
        target: or(told.leads_to.as_ref().map(of), lack("leads_to")),
        listing: or(entries, lack("entries")),
        content: lack("content").map(Err),
        blocks: BTreeMap::new(),
        xattrs: or(xattrs, lack("xattrs")),
        space: or(told.space.map(manifest::file_system_use), lack("space")),
    }
}

impl State {
    fn take(&mut self, place: Place, bytes: Vec<u8>) -> Result<(), Wrong> {
        match place {
            Place::Answer(question) => drop(self.answers.insert(question, Ok(bytes))),
            Place::Content(path, cut, masked) => {
                let content = Content { bytes: Arc::new(bytes), cut, masked };
                self.nodes.entry(path).or_default().content = Some(Ok(content));
            }
            Place::Blocks(path, numbers) => {
                let size = usize::try_from(crate::snapshot::BLOCK).unwrap_or(1);
                if bytes.len().div_ceil(size) != numbers.len() {
                    return Err(format!("{} in it has other blocks than its manifest says", path.display()).into());
                }
                let blocks = bytes.chunks(size).map(|block| Arc::new(block.to_vec()));
                self.nodes.entry(path).or_default().blocks = numbers.into_iter().zip(blocks).collect();
            }
        }
        Ok(())
    }
}
