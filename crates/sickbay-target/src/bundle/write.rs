//! Writes what was seen.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Collected;
use super::essence::Essence;
use super::manifest::{self, AnswerV1, MEMBER, Manifest, MetaV1, NodeV1, SCHEMA, Volumes, hex, text};
use crate::publish::publish_with;
use crate::snapshot::{Node, Refusal, State};
use crate::{FileKind, Moment, Target};

/// How hard zstd tries: beyond this it takes much longer for little.
const LEVEL: i32 = 9;

/// An answer of so many bytes stands in the manifest.
const SHORT: usize = 16;

/// A member of the archive: its name and its bytes.
type Member = (String, Vec<u8>);

impl Target {
    /// Writes all that was asked of it since [`Target::collecting`], to a new file that takes the place of `path` when it is
    /// whole; nobody else may read it. `-` is standard output.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write_bundle(&self, path: &Path, version: &str) -> io::Result<Collected> {
        let snapshot = self.root().snapshot().filter(|snapshot| snapshot.is_being_taken());
        let snapshot = snapshot.ok_or(io::ErrorKind::InvalidInput)?;
        if self.root().stat("/etc/localtime").is_ok() {
            let _ = self.root().read("/etc/localtime");
        }
        // What is still asked of the target is asked before the snapshot is locked.
        let kernel = self.kernel_release().ok();
        let (mut manifest, members, mut written) = {
            let state = snapshot.lock();
            self.manifest(&state, snapshot.is_of_machine(), snapshot.took(), version)
        };
        manifest.kernel = kernel;
        let manifest = serde_json::to_vec(&manifest)?;
        written.unpacked = members.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() + manifest.len() as u64;
        let time = Moment::now().wall.as_secs();
        if path == Path::new("-") {
            let mut out = Counting { out: io::stdout().lock(), count: 0 };
            pack(&mut out, &manifest, &members, time)?;
            out.flush()?;
            written.packed = out.count;
            return Ok(written);
        }
        written.packed = publish_with(path, 0o600, |file| {
            let mut out = Counting { out: BufWriter::new(file), count: 0 };
            pack(&mut out, &manifest, &members, time)?;
            out.flush()?;
            Ok(out.count)
        })?;
        Ok(written)
    }

    fn manifest(&self, state: &State, live: bool, took_ms: u64, version: &str) -> (Manifest, Vec<Member>, Collected) {
        let mut written = Collected {
            masked: state.masked,
            is_late: state.is_late,
            is_full: state.is_full,
            paths: state.nodes.len(),
            ..Collected::default()
        };
        let mut members = Vec::new();
        let mut paths: Vec<&PathBuf> = state.nodes.keys().collect();
        paths.sort_unstable();
        let mut nodes = Vec::with_capacity(paths.len());
        let mut essence = Essence::of(state);
        for path in paths {
            if let Some(node) = state.nodes.get(path) {
                nodes.push(node_v1(path, node, &mut essence, &mut members, &mut written));
            }
        }
        let mut answers = Vec::new();
        for (number, (question, told)) in state.answers.iter().enumerate() {
            let mut answer = AnswerV1 { question: question.clone(), ..AnswerV1::default() };
            match told {
                Ok(bytes) if bytes.len() <= SHORT => answer.short = Some(hex(bytes)),
                Ok(bytes) => {
                    answer.sha256 = Some(digest(bytes));
                    members.push((format!("answers/{number}"), bytes.clone()));
                }
                Err(refusal) => answer.lack = Some(refusal.clone()),
            }
            answers.push(answer);
        }
        let zone = state.nodes.get(Path::new("/etc/localtime")).and_then(|node| node.link.as_ref()?.as_ref().ok());
        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            version: version.to_owned(),
            kind: self.kind.word().to_owned(),
            name: self.name.clone(),
            kernel: None,
            taken: i64::try_from(Moment::now().wall.as_secs()).unwrap_or(0),
            zone: zone.map(|path| text(path.as_os_str())),
            live,
            took_ms,
            masked: state.masked,
            late: state.is_late,
            full: state.is_full,
            volumes: Volumes::of(&self.volumes),
            opaque: self.opaque.clone(),
            notes: self.notes().to_vec(),
            paths: nodes,
            answers,
        };
        (manifest, members, written)
    }
}

fn node_v1(
    path: &Path,
    node: &Node,
    essence: &mut Essence<'_>,
    members: &mut Vec<Member>,
    written: &mut Collected,
) -> NodeV1 {
    let mut all = NodeV1 { path: text(path.as_os_str()), ..NodeV1::default() };
    let mut lack = |what: &str, refusal: &Refusal| {
        if !matches!(refusal, Refusal::NotFound | Refusal::NotADirectory | Refusal::Loop | Refusal::IsA(_)) {
            let error = crate::root::error(path, refusal.reason());
            written.unread.push((path.to_owned(), error.to_string()));
        }
        all.lacks.insert(what.to_owned(), refusal.clone());
    };
    let of = |told: &crate::Metadata| MetaV1::of(path, told);
    match &node.meta {
        Some(Ok(meta)) => all.meta = Some(of(meta)),
        Some(Err(refusal)) => lack("meta", refusal),
        None => {}
    }
    match &node.link {
        Some(Ok(link)) => all.link = Some(text(link.as_os_str())),
        Some(Err(refusal)) => lack("link", refusal),
        None => {}
    }
    if let Some(Err(refusal)) = &node.loops {
        lack("follow", refusal);
    }
    match &node.target {
        Some(Ok(meta)) => all.leads_to = Some(MetaV1::of(Path::new("/proc"), meta)),
        Some(Err(refusal)) => lack("leads_to", refusal),
        None => {}
    }
    match &node.listing {
        Some(Ok((entries, is_all))) => {
            all.entries = Some(entries.iter().map(manifest::entry).collect());
            all.more = !is_all;
        }
        Some(Err(refusal)) => lack("entries", refusal),
        None => {}
    }
    match &node.xattrs {
        Some(Ok(list)) => all.xattrs = Some(list.iter().map(|(name, value)| (text(name), hex(value))).collect()),
        Some(Err(refusal)) => lack("xattrs", refusal),
        None => {}
    }
    match &node.space {
        Some(Ok(told)) => all.space = Some(manifest::space(told)),
        Some(Err(refusal)) => lack("space", refusal),
        None => {}
    }
    match &node.content {
        Some(Ok(content)) => {
            let part = content.cut.is_none().then(|| essence.keep(path, &content.bytes)).flatten();
            all.cut = content.cut.or(part.as_ref().map(|_| "lines")).map(str::to_owned);
            all.masked = content.masked;
            let bytes = part.unwrap_or_else(|| content.bytes.to_vec());
            all.sha256 = Some(digest(&bytes));
            if content.cut == Some("end") {
                written.cut.push(path.to_owned());
            }
            members.push((format!("files{}", all.path), bytes));
        }
        Some(Err(refusal)) => lack("content", refusal),
        None => {}
    }
    if !node.blocks.is_empty() {
        all.blocks = node.blocks.keys().copied().collect();
        let bytes: Vec<u8> = node.blocks.values().flat_map(|block| block.iter().copied()).collect();
        all.blocks_sha256 = Some(digest(&bytes));
        members.push((format!("blocks{}", all.path), bytes));
    }
    let is_file = all.meta.as_ref().is_some_and(|meta| meta.kind == FileKind::File);
    written.files += usize::from(is_file && (all.sha256.is_some() || !all.blocks.is_empty()));
    all
}

/// What tells a damaged member: the digest's first [`manifest::DIGITS`]. Whoever changes a member on purpose changes the manifest, too.
fn digest(bytes: &[u8]) -> String {
    let mut digits = hex(&Sha256::digest(bytes));
    digits.truncate(manifest::DIGITS);
    digits
}

struct Counting<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn pack(out: &mut impl Write, manifest: &[u8], members: &[Member], time: u64) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(24)?;
    let mut archive = tar::Builder::new(encoder);
    let first = (MEMBER.to_owned(), manifest);
    let others = members.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice()));
    for (name, bytes) in std::iter::once(first).chain(others) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(time);
        header.set_entry_type(tar::EntryType::Regular);
        archive.append_data(&mut header, &name, bytes)?;
    }
    archive.into_inner()?.finish()?;
    Ok(())
}
