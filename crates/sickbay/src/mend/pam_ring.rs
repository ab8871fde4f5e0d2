//! PAM files that include each other: the line that closes the ring.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines;
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::facts::login::pam::{DIRS, Pam, What};
use crate::mend::pam::effect;
use crate::model::outcome::Skip;
use crate::model::repair::Change;
use crate::model::source::SourceFile;

/// A line that includes another file.
struct Edge {
    file: Arc<SourceFile>,
    span: Span,
    to: PathBuf,
}

/// What closes a ring, and the change that opens it again.
pub struct Closing {
    /// The file and the line at fault.
    pub file: Arc<SourceFile>,
    /// Its words.
    pub span: Span,
    /// All files of the ring.
    pub ring: Vec<PathBuf>,
    /// The line made a comment.
    pub change: Change,
}

/// More files no service has.
const FILES: usize = 64;

/// The one line without which services let root in again, and nobody else; `None` where there is none, or several would do.
pub fn closing(facts: &Facts, pam: &Pam) -> Result<Option<Closing>, Skip> {
    let mut edges: BTreeMap<PathBuf, Vec<Edge>> = BTreeMap::new();
    let start = pam.services.iter().filter(|service| service.gaps.iter().any(|gap| gap.what == What::Ring));
    let mut ahead: Vec<PathBuf> = start.filter_map(|service| place(facts, service.name.as_bytes())).collect();
    while let Some(path) = ahead.pop() {
        if edges.contains_key(&path) || edges.len() > FILES {
            continue;
        }
        let Some(file) = facts.file(&path)? else { continue };
        let all = includes(facts, &file);
        ahead.extend(all.iter().map(|edge| edge.to.clone()));
        edges.insert(path, all);
    }
    let leads_back = |from: &Path, to: &Path| {
        let (mut seen, mut ahead) = (vec![from.to_owned()], vec![from.to_owned()]);
        while let Some(path) = ahead.pop() {
            for edge in edges.get(&path).into_iter().flatten() {
                if edge.to == to {
                    return true;
                }
                if !seen.contains(&edge.to) {
                    seen.push(edge.to.clone());
                    ahead.push(edge.to.clone());
                }
            }
        }
        false
    };
    // A login or sshd, which nothing includes.
    let is_service = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        pam.ways_in().any(|service| service.name == name)
    };
    let mut found = Vec::new();
    let ring: Vec<PathBuf> = edges.keys().filter(|path| leads_back(path, path)).cloned().collect();
    for (from, all) in edges.iter().filter(|(from, _)| ring.contains(from)) {
        for edge in all.iter().filter(|edge| edge.to == *from || leads_back(&edge.to, from)) {
            let text = lines::with_comment(&edge.file.bytes, edge.span.line);
            let effect = effect(facts, pam, from, &text)?;
            if effect.is_harmless() && !effect.mends.is_empty() {
                let change = Change::edit(&edge.file, text);
                let closing = Closing { file: Arc::clone(&edge.file), span: edge.span, ring: ring.clone(), change };
                found.push((is_service(&edge.to) && !is_service(from), closing));
            }
        }
    }
    // A file that others include has no business to include a service.
    if found.iter().any(|(upward, _)| *upward) {
        found.retain(|(upward, _)| *upward);
    }
    Ok(if found.len() == 1 { found.pop().map(|(_, closing)| closing) } else { None })
}

/// The lines of a file that include others.
fn includes(facts: &Facts, file: &Arc<SourceFile>) -> Vec<Edge> {
    let all = lines::lines(&file.bytes).filter(|line| !line.text.trim_ascii_start().starts_with(b"#"));
    let edges = all.filter_map(|line| {
        let words: Vec<&[u8]> = lines::words(line.text).filter_map(|range| line.text.get(range)).collect();
        let name = match words.as_slice() {
            [b"@include", name, ..] => *name,
            [_, b"include" | b"substack", name, ..] => *name,
            _ => return None,
        };
        Some(Edge { file: Arc::clone(file), span: line.whole(), to: place(facts, name)? })
    });
    edges.collect()
}

/// Where a file of that name is.
fn place(facts: &Facts, name: &[u8]) -> Option<PathBuf> {
    let name = name.to_path_lossy();
    let dirs = DIRS.iter().map(|dir| Path::new(dir).join(&name));
    dirs.into_iter().find(|path| facts.root().exists(path).unwrap_or(false))
}
