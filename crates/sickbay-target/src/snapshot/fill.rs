//! Asks for what is not known yet, and keeps it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sickbay_formats::mask::mask;

use super::{Content, Node, Refusal, Snapshot, Told, not_asked};
use crate::{Blocks, DirEntry, FileKind, FileSystemUse, KernelFiles, Metadata, ReadError, Root};

/// What is looked at to tell programs from texts.
const HEAD: usize = 4096;

/// Packed logs are unpacked: what is in them could not be masked otherwise.
const PACKED: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];

impl Snapshot {
    /// What is kept under one name of a node; asked for if it is not known.
    fn kept<T: Clone>(
        &self,
        path: &Path,
        slot: impl Fn(&mut Node) -> &mut Option<Told<T>>,
        ask: impl FnOnce(&Root, &Path) -> Result<T, ReadError>,
    ) -> Option<Told<T>> {
        if let Some(known) = self.lock().nodes.get_mut(path).and_then(|node| slot(node).clone()) {
            return Some(known);
        }
        let source = self.source.as_ref()?;
        let real = self.real(path);
        let told = match self.late() {
            Some(refusal) => Err(refusal),
            None => ask(source, &real).map_err(|error| Refusal::of(&error.reason)),
        };
        let mut state = self.lock();
        let node = state.nodes.entry(path.to_owned()).or_default();
        // Who was first has told others already.
        Some(slot(node).get_or_insert(told).clone())
    }

    fn late(&self) -> Option<Refusal> {
        if self.began.elapsed() < self.bounds.deadline {
            return None;
        }
        self.lock().is_late = true;
        Some(Refusal::Errno(libc::ETIMEDOUT))
    }

    /// What stands for the path at the source. `/proc@10:36:02` is `/proc` at a moment of its own: the second look waits for it.
    fn real(&self, path: &Path) -> PathBuf {
        let mut parts = path.iter().skip(1);
        let first = parts.next().and_then(|name| name.to_str()).unwrap_or_default();
        let (top, name) = match first.strip_prefix("sys@") {
            Some(time) => ("/sys", format!("proc@{time}")),
            None => ("/proc", first.to_owned()),
        };
        let Some(index) = self.looks.iter().position(|look| *look == name) else { return path.to_owned() };
        let began = *self.lock().first_look.get_or_insert_with(Instant::now);
        if index > 0 {
            std::thread::sleep(self.bounds.apart.saturating_sub(began.elapsed()));
        }
        parts.fold(PathBuf::from(top), |all, part| all.join(part))
    }

    pub(crate) fn meta(&self, path: &Path) -> Told<Metadata> {
        let known = self.kept(path, |node| &mut node.meta, |source, real| source.metadata(real));
        known.unwrap_or_else(|| Err(self.missing(path)))
    }

    pub(crate) fn link(&self, path: &Path) -> Told<PathBuf> {
        let meta = self.meta(path)?;
        if meta.kind != FileKind::Symlink {
            return Err(Refusal::IsA(meta.kind));
        }
        let known = self.kept(path, |node| &mut node.link, |source, real| source.read_link(real));
        known.unwrap_or_else(|| Err(not_asked()))
    }

    /// The kernel's own links, as that to the root of a process, lead out of every path.
    pub(crate) fn may_follow(&self, path: &Path) -> Told<()> {
        if !path.starts_with("/proc") || path == Path::new("/proc") {
            return Ok(());
        }
        let ask = |source: &Root, real: &Path| match source.stat(real) {
            Err(error) if matches!(error.reason, crate::Reason::LinkLoop) => Err(error),
            _ => Ok(()),
        };
        self.kept(path, |node| &mut node.loops, ask).unwrap_or(Ok(()))
    }

    /// What one of the kernel's own links leads to.
    pub(crate) fn beyond(&self, path: &Path) -> Told<Metadata> {
        let ask = |source: &Root, real: &Path| {
            let dir = real.parent().unwrap_or(Path::new("/"));
            let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
            KernelFiles::open(source, dir)?.metadata(&name)
        };
        self.kept(path, |node| &mut node.target, ask).unwrap_or_else(|| Err(self.missing(path)))
    }

    pub(crate) fn listing(&self, path: &Path, limit: usize) -> Told<(Vec<DirEntry>, bool)> {
        let own = std::process::id().to_string();
        let is_look = |name: &std::ffi::OsStr| name == "proc" || self.looks.iter().any(|look| name == look.as_str());
        let is_looked_at = |path: &Path| path.iter().count() == 2 && path.iter().nth(1).is_some_and(is_look);
        let ask = |source: &Root, real: &Path| {
            let (mut entries, is_all) = source.read_dir_up_to(real, limit)?;
            if is_looked_at(path) && self.is_of_machine {
                // Who looks is not looked at.
                entries.retain(|entry| entry.name != own.as_str());
            }
            if path == Path::new("/") && self.is_of_machine {
                for look in &self.looks {
                    for name in [look.clone(), look.replacen("proc", "sys", 1)] {
                        entries.push(DirEntry { name: name.into(), kind: FileKind::Dir });
                    }
                }
                entries.sort_unstable();
            }
            Ok((entries, is_all))
        };
        let known = self.kept(path, |node| &mut node.listing, ask).unwrap_or_else(|| Err(not_asked()));
        let (mut entries, mut is_all) = known?;
        if entries.len() > limit {
            entries.truncate(limit);
            is_all = false;
        }
        Ok((entries, is_all))
    }

    pub(crate) fn xattrs(&self, path: &Path) -> Told<Vec<(OsString, Vec<u8>)>> {
        let known = self.kept(path, |node| &mut node.xattrs, |source, real| source.xattrs(real));
        known.unwrap_or_else(|| Err(not_asked()))
    }

    pub(crate) fn space(&self, path: &Path) -> Told<FileSystemUse> {
        let known = self.kept(path, |node| &mut node.space, |source, real| source.statvfs(real));
        known.unwrap_or_else(|| Err(not_asked()))
    }

    /// What was told about something that is no file.
    pub(crate) fn answer(&self, question: &str, live: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
        if let Some(known) = self.lock().answers.get(question) {
            return known.clone().map_err(|refusal| refusal.io());
        }
        if self.source.is_none() {
            return Err(io::Error::other("it was not collected: no check asked for it then"));
        }
        let mut masked = 0;
        let told = match self.late() {
            Some(refusal) => Err(refusal),
            None => live().map_err(|error| Refusal::of_io(&error)).map(|mut bytes| {
                if std::str::from_utf8(&bytes).is_ok() {
                    masked = mask(b"", &mut bytes) as u64;
                }
                bytes
            }),
        };
        let mut state = self.lock();
        state.masked += masked;
        let told = state.answers.entry(question.to_owned()).or_insert(told);
        told.clone().map_err(|refusal| refusal.io())
    }

    /// A regular file as a whole.
    pub(crate) fn content(&self, path: &Path) -> Told<Content> {
        let meta = self.meta(path)?;
        if meta.kind != FileKind::File {
            return Err(Refusal::IsA(meta.kind));
        }
        let known = self.kept(path, |node| &mut node.content, |source, real| self.read(source, path, real));
        known.unwrap_or_else(|| Err(not_asked()))
    }

    fn read(&self, source: &Root, path: &Path, real: &Path) -> Result<Content, ReadError> {
        let refuse = |refusal: Refusal| ReadError { path: path.to_owned(), reason: refusal.reason() };
        let failed = |error: io::Error| refuse(Refusal::of_io(&error));
        let (mut file, size) = source.open_real(real)?;
        let is_log = path.starts_with("/var/log");
        let mut limit = if is_log { self.bounds.log } else { self.bounds.file };
        let mut head = [0; 8];
        let mut cut = None;
        if is_log {
            let length = file.read(&mut head).map_err(failed)?;
            let head = head.get(..length).unwrap_or_default();
            if PACKED.iter().any(|packed| head.starts_with(packed)) {
                file.rewind().map_err(failed)?;
                let mut bytes = unpacked(file, usize::try_from(limit).unwrap_or(usize::MAX)).map_err(failed)?;
                let masked = mask(path.as_os_str().as_bytes(), &mut bytes) as u64;
                self.take_room(bytes.len() as u64).map_err(refuse)?;
                self.lock().masked += masked;
                return Ok(Content { bytes: Arc::new(bytes), cut: Some("end"), masked });
            }
            let is_journal = head.starts_with(sickbay_formats::journal_file::MAGIC);
            if is_journal && size > self.bounds.file {
                return Err(refuse(Refusal::NotCollected(
                    "the journal is larger than what is collected of a log".to_owned(),
                )));
            }
            limit = if is_journal { self.bounds.file } else { limit };
            let from = size.saturating_sub(limit);
            cut = (from > 0).then_some("end");
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
        } else if size > limit {
            return Err(refuse(Refusal::TooLarge { size, limit }));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(limit)).unwrap_or(0).saturating_add(1));
        file.take(limit.saturating_add(u64::from(!is_log))).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(refuse(Refusal::TooLarge { size: bytes.len() as u64, limit }));
        }
        if cut.is_some() {
            // What is left of a line says something else.
            let line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            bytes.drain(..line);
        }
        let mut masked = 0;
        if bytes.starts_with(b"\x7fELF") {
            keep_texts(&mut bytes);
            cut = Some("texts");
        } else {
            if bytes.starts_with(sickbay_formats::journal_file::MAGIC) {
                blank_packed(&mut bytes);
            }
            // They are most of what is read, and known to everybody.
            if !is_package_list(path) {
                masked = mask(path.as_os_str().as_bytes(), &mut bytes) as u64;
            }
        }
        self.take_room(bytes.len() as u64).map_err(refuse)?;
        self.lock().masked += masked;
        Ok(Content { bytes: Arc::new(bytes), cut, masked })
    }

    fn take_room(&self, bytes: u64) -> Told<()> {
        let mut state = self.lock();
        if state.bytes.saturating_add(bytes) > self.bounds.all {
            state.is_full = true;
            return Err(Refusal::TooLarge { size: state.bytes.saturating_add(bytes), limit: self.bounds.all });
        }
        state.bytes += bytes;
        Ok(())
    }

    /// One block of a program.
    pub(crate) fn block(&self, path: &Path, number: u64) -> io::Result<Arc<Vec<u8>>> {
        if let Some(known) = self.lock().nodes.get(path).and_then(|node| node.blocks.get(&number).cloned()) {
            return Ok(known);
        }
        let Some(source) = &self.source else {
            return Err(io::Error::other("this part of it was not collected"));
        };
        if let Some(refusal) = self.late() {
            return Err(refusal.io());
        }
        let taken = self.lock().nodes.get(path).map_or(0, |node| node.blocks.len() as u64 * super::opened::BLOCK);
        if taken >= self.bounds.log {
            return Err(io::Error::other("more of it than is collected was asked for"));
        }
        let file = source.open_real(&self.real(path)).map_err(|error| Refusal::of(&error.reason).io())?.0;
        let block = super::opened::read_block(&file, number)?;
        self.take_room(block.len() as u64).map_err(|refusal| refusal.io())?;
        let block = Arc::new(block);
        let mut state = self.lock();
        let blocks = &mut state.nodes.entry(path.to_owned()).or_default().blocks;
        Ok(Arc::clone(blocks.entry(number).or_insert(block)))
    }

    /// Whether only blocks of it are kept: a program or a kernel, in which nothing is secret and of which little is read.
    pub(crate) fn is_by_blocks(&self, path: &Path, meta: &Metadata) -> Told<bool> {
        if let Some(node) = self.lock().nodes.get(path)
            && self.source.is_none()
        {
            return Ok(
                !node.blocks.is_empty() && !matches!(node.content, Some(Ok(Content { cut: None | Some("end"), .. })))
            );
        }
        let Some(source) = &self.source else { return Ok(false) };
        if meta.kind != FileKind::File || path.starts_with("/proc") || path.starts_with("/sys") {
            return Ok(false);
        }
        let (mut file, _) = source.open_real(path).map_err(|error| Refusal::of(&error.reason))?;
        let mut head = Vec::new();
        let _ = file.by_ref().take(HEAD as u64).read_to_end(&mut head);
        let is_elf = head.starts_with(b"\x7fELF");
        let is_binary = head.contains(&0);
        let is_systems = ["/boot", "/usr", "/lib", "/lib64", "/bin", "/sbin"].iter().any(|top| path.starts_with(top));
        let is_initramfs = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"init"));
        if is_initramfs && meta.size > self.bounds.log {
            let refusal = Refusal::NotCollected("an initramfs is too large to be collected".to_owned());
            self.lock().nodes.entry(path.to_owned()).or_default().content.get_or_insert(Err(refusal.clone()));
            return Err(refusal);
        }
        Ok(is_elf || is_binary && is_systems && meta.size > self.bounds.log)
    }
}

/// The last lines of a packed log.
fn unpacked(file: File, most: usize) -> io::Result<Vec<u8>> {
    let mut blocks = Blocks::new(file)?;
    let mut all = Vec::new();
    while let Some(block) = blocks.next_block()? {
        all.extend_from_slice(block);
        if all.len() > most.saturating_mul(2) {
            all.drain(..all.len() - most);
        }
    }
    let over = all.len().saturating_sub(most);
    if over > 0 {
        let line =
            all.get(over..).unwrap_or_default().iter().position(|byte| *byte == b'\n').map_or(over, |at| over + at + 1);
        all.drain(..line);
    }
    Ok(all)
}

/// Blanks what a journal has packed: messages of more than half a kilobyte, in which nothing could be masked.
fn blank_packed(bytes: &mut [u8]) {
    // Header and ObjectHeader of systemd's journal-def.h.
    const HEADER_SIZE: usize = 88;
    const DATA: u8 = 1;
    const PACKED: u8 = 7;
    const PAYLOAD: usize = 64;
    let number = |bytes: &[u8], at: usize| {
        let eight = bytes.get(at..)?.first_chunk::<8>()?;
        usize::try_from(u64::from_le_bytes(*eight)).ok()
    };
    let Some(mut at) = number(bytes, HEADER_SIZE) else { return };
    while let (Some(kind), Some(flags), Some(size)) =
        (bytes.get(at).copied(), bytes.get(at + 1).copied(), number(bytes, at.saturating_add(8)))
    {
        if size < 16 {
            return;
        }
        let end = at.saturating_add(size);
        if kind == DATA && flags & PACKED != 0 {
            bytes.get_mut(at + PAYLOAD..end).unwrap_or_default().fill(0);
        }
        at = end.checked_next_multiple_of(8).unwrap_or(usize::MAX);
        if at >= bytes.len() {
            return;
        }
    }
}

/// Whether a file of dpkg's lists a package's files, `.list`, or their digests, `.md5sums`.
pub(crate) fn is_package_list(path: &Path) -> bool {
    path.starts_with("/var/lib/dpkg/info")
        && path.extension().is_some_and(|suffix| suffix == "list" || suffix == "md5sums")
}

/// Of a program what its texts say; everything else becomes zeros. Of a large one only words, and those that other
/// texts end with: linkers store a word that ends a text only there (`$document_root` has `root`).
fn keep_texts(bytes: &mut [u8]) {
    const LONG: usize = 6;
    const LARGE: usize = 256 << 10;
    let is_text = |byte: u8| (0x20..0x7f).contains(&byte) || byte == b'\t' || byte == b'\n';
    let is_large = bytes.len() > LARGE;
    let mut at = 0;
    // The first four say what it is.
    while at < bytes.len() {
        let length = bytes.get(at..).unwrap_or_default().iter().take_while(|byte| is_text(**byte)).count();
        if length == 0 {
            if at >= 4
                && let Some(byte) = bytes.get_mut(at)
            {
                *byte = 0;
            }
            at += 1;
            continue;
        }
        let is_ended = bytes.get(at + length) == Some(&0);
        let is_begun = at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&0);
        let run = bytes.get_mut(at..at + length).unwrap_or_default();
        if length < LONG && !(is_ended && is_begun && length > 1) && at >= 4 {
            run.fill(0);
        } else if is_large && at >= 4 {
            let end = run.iter().rposition(|byte| !is_of_word(*byte)).map_or(0, |other| other + 1);
            run.get_mut(..end).unwrap_or_default().fill(0);
        }
        at += length;
    }
}

/// Whether it may be in the name of a directive, an algorithm, a path or a version.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_./:+-@%=,".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::keep_texts;

    #[test]
    fn a_large_program_keeps_words_and_what_texts_end_with() {
        let mut program =
            b"\x7fELF\0\0server_name\0cannot open the %s of listen\0$document_root\0a;bc\x90\x90\0nginx/1.22.1\0"
                .to_vec();
        program.resize(300 << 10, 0x90);
        keep_texts(&mut program);
        let has = |text: &[u8]| program.windows(text.len()).any(|part| part == text);
        for kept in [&b"\0server_name\0"[..], b"\0listen\0", b"\0document_root\0", b"\0nginx/1.22.1\0"] {
            assert!(has(kept), "{}", String::from_utf8_lossy(kept));
        }
        assert!(!has(b"cannot") && !has(b"a;bc"), "sentences and code are left out");
    }

    #[test]
    fn a_small_program_keeps_sentences() {
        let mut program = b"\x7fELF\0\0changed to user\0\x90".to_vec();
        keep_texts(&mut program);
        assert!(program.windows(17).any(|part| part == b"\0changed to user\0"));
    }
}
