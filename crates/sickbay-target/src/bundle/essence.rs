//! What of dpkg's database a bundle needs. It is most of what is collected, and most of it is about files at which nobody looked.
//!
//! A line of a package's list is kept where a check could ask something of its path: it did, or its directory was listed, or
//! is gone. Of any other path a bundle can only say that it was not collected. Everything keeps its lines where a finding may
//! give their numbers.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sickbay_formats::dpkg;

use crate::FileKind;
use crate::snapshot::{Node, State, is_package_list};

/// Links that are followed one after the other.
const LINKS: usize = 8;
/// No packaged path is deeper. What a list names below that is kept: lists may be a stranger's, and each directory is asked for
/// those above it.
const DEPTH: usize = 64;
/// So many bytes of names of directories are remembered at a time.
const REMEMBERED: usize = 16 << 20;

/// What is known of a directory that packages name.
#[derive(Clone, Debug)]
enum Dir {
    /// It is not there, and nothing below it; or it is too deep to be looked for.
    Gone,
    /// Each of its names may be asked for. Where it really is.
    Listed(PathBuf),
    /// Only those at which somebody looked.
    Parts(PathBuf),
}

/// What was seen of the files of packages.
pub(super) struct Essence<'a> {
    state: &'a State,
    /// Directories below which something was looked at.
    above: HashSet<&'a Path>,
    /// Paths that packages divert.
    diverted: HashSet<Vec<u8>>,
    dirs: HashMap<Vec<u8>, Dir>,
    /// The length of their names.
    remembered: usize,
}

impl<'a> Essence<'a> {
    pub(super) fn of(state: &'a State) -> Essence<'a> {
        let diversions = state.nodes.get(Path::new("/var/lib/dpkg/diversions"));
        let diverted = match diversions.and_then(|node| node.content.as_ref()) {
            Some(Ok(content)) => dpkg::diversions(&content.bytes).map(|one| one.from.to_vec()).collect(),
            _ => HashSet::new(),
        };
        let above = state.nodes.keys().filter_map(|path| path.parent()).collect();
        Essence { state, above, diverted, dirs: HashMap::new(), remembered: 0 }
    }

    /// What is left of a file's content; `None` where all of it is kept.
    pub(super) fn keep(&mut self, path: &Path, bytes: &[u8]) -> Option<Vec<u8>> {
        let name = path.strip_prefix("/var/lib/dpkg").ok()?;
        if matches!(name.to_str(), Some("status" | "status-old")) {
            return Some(dpkg::essence(bytes));
        }
        if !is_package_list(path) || dpkg::list_is_damaged(bytes) {
            return None;
        }
        let is_list = path.extension().is_some_and(|suffix| suffix == "list");
        let mut kept = Vec::with_capacity(bytes.len() / 4);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let wanted = match is_list {
                true => !text.starts_with(b"/") || self.may_be_asked(text, true),
                false => match text.get(34..) {
                    Some(path) => self.may_be_asked(&[b"/", path.strip_prefix(b"./").unwrap_or(path)].concat(), false),
                    None => true,
                },
            };
            if wanted {
                kept.extend_from_slice(line);
            }
        }
        Some(kept)
    }

    /// Whether a check can say something of the path; of digests only where it was looked at itself.
    fn may_be_asked(&mut self, path: &[u8], by_name: bool) -> bool {
        let Some(at) = path.iter().rposition(|byte| *byte == b'/') else { return true };
        let (dir, name) = (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default());
        if matches!(name, b"" | b"." | b"..") || self.diverted.contains(path) {
            return true;
        }
        // A library is looked for by its name.
        if by_name && (name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")) {
            return true;
        }
        match self.dir(dir, LINKS) {
            Dir::Gone => true,
            Dir::Listed(_) if by_name => true,
            Dir::Listed(real) | Dir::Parts(real) => {
                self.above.contains(real.as_path())
                    && self.state.nodes.contains_key(&real.join(OsStr::from_bytes(name)))
            }
        }
    }

    fn dir(&mut self, dir: &[u8], links: usize) -> Dir {
        if let Some(known) = self.dirs.get(dir) {
            return known.clone();
        }
        if dir.iter().filter(|byte| **byte == b'/').count() > DEPTH {
            return Dir::Gone;
        }
        let found = self.find(dir, links);
        self.remembered += dir.len();
        if self.remembered > REMEMBERED {
            self.dirs.clear();
            self.remembered = dir.len();
        }
        self.dirs.insert(dir.to_owned(), found.clone());
        found
    }

    fn find(&mut self, dir: &[u8], links: usize) -> Dir {
        let Some(at) = dir.iter().rposition(|byte| *byte == b'/') else {
            return self.look(PathBuf::from("/"), links);
        };
        let (above, name) = (dir.get(..at).unwrap_or_default(), dir.get(at + 1..).unwrap_or_default());
        match self.dir(above, links) {
            Dir::Gone => Dir::Gone,
            Dir::Listed(real) | Dir::Parts(real) => self.look(real.join(OsStr::from_bytes(name)), links),
        }
    }

    fn look(&mut self, path: PathBuf, links: usize) -> Dir {
        let Some(node) = self.state.nodes.get(&path) else { return Dir::Parts(path) };
        match (&node.meta, &node.link) {
            (Some(Err(_)), _) => Dir::Gone,
            (Some(Ok(meta)), Some(Ok(link))) if meta.kind == FileKind::Symlink && links > 0 => {
                let to = path.parent().unwrap_or(Path::new("/")).join(link);
                let to = to.as_os_str().as_bytes();
                self.dir(to.strip_suffix(b"/").unwrap_or(to), links - 1)
            }
            (Some(Ok(meta)), _) if meta.kind != FileKind::Dir => Dir::Gone,
            _ if is_listed(node) => Dir::Listed(path),
            _ => Dir::Parts(path),
        }
    }
}

fn is_listed(node: &Node) -> bool {
    matches!(&node.listing, Some(Ok((_, true))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{DirEntry, Metadata};

    fn node(kind: FileKind) -> Node {
        let meta = Metadata {
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size: 0,
            allocated: 0,
            nlink: 1,
            mtime: (0, 0),
            atime: (0, 0),
            ctime: (0, 0),
            dev: 1,
            ino: 1,
            rdev: 0,
        };
        Node { meta: Some(Ok(meta)), ..Node::default() }
    }

    fn left(state: &State, name: &str, text: &str) -> String {
        let path = Path::new("/var/lib/dpkg").join(name);
        let kept = Essence::of(state).keep(&path, text.as_bytes()).unwrap();
        String::from_utf8(kept).unwrap()
    }

    /// `/bin` is a link, `/usr/bin` was listed, `/usr/share` is only passed through, `/opt` is gone.
    fn state() -> State {
        let mut state = State::default();
        let mut bin = node(FileKind::Dir);
        let entry = DirEntry { name: "ls".into(), kind: FileKind::File };
        bin.listing = Some(Ok((vec![entry], true)));
        let mut link = node(FileKind::Symlink);
        link.link = Some(Ok("usr/bin".into()));
        let gone = Node { meta: Some(Err(crate::snapshot::Refusal::NotFound)), ..Node::default() };
        let all = [
            ("/", node(FileKind::Dir)),
            ("/bin", link),
            ("/opt", gone),
            ("/usr", node(FileKind::Dir)),
            ("/usr/bin", bin),
            ("/usr/bin/ls", node(FileKind::File)),
            ("/usr/share", node(FileKind::Dir)),
            ("/usr/share/zoneinfo", node(FileKind::Dir)),
        ];
        state.nodes = all.into_iter().map(|(path, node)| (PathBuf::from(path), node)).collect();
        state
    }

    #[test]
    fn lines_are_kept_where_somebody_looked() {
        let list = "/.\n/bin\n/bin/ls\n/usr/bin/gone\n/usr/share\n/usr/share/zoneinfo\n/usr/share/doc/a\n/opt/a/b\n\
            /srv/x\n/srv/x/liba.so.1\n";
        let kept = "/.\n/bin\n/bin/ls\n/usr/bin/gone\n/usr/share\n/usr/share/zoneinfo\n/opt/a/b\n/srv/x/liba.so.1\n";
        assert_eq!(left(&state(), "info/a.list", list), kept);
    }

    #[test]
    fn digests_are_kept_of_what_was_looked_at() {
        let digest = "d41d8cd98f00b204e9800998ecf8427e";
        let sums = format!("{digest}  bin/ls\n{digest}  usr/bin/gone\n{digest}  usr/share/doc/a\n{digest}  opt/b\n");
        let kept = format!("{digest}  bin/ls\n{digest}  opt/b\n");
        assert_eq!(left(&state(), "info/a:amd64.md5sums", &sums), kept);
    }

    #[test]
    fn what_is_damaged_and_what_is_no_list_is_kept_whole() {
        let state = state();
        let keep = |path: &str, bytes: &[u8]| Essence::of(&state).keep(Path::new(path), bytes);
        assert_eq!(keep("/var/lib/dpkg/info/a.list", b"/srv/x\n/srv/\0\n"), None);
        assert_eq!(keep("/var/lib/dpkg/info/a.list", b"/srv/x\n/sr"), None);
        assert_eq!(keep("/var/lib/dpkg/info/a.postinst", b"/srv/x\n"), None);
        assert_eq!(keep("/srv/info/a.list", b"/srv/x\n"), None);
    }

    #[test]
    fn paths_without_end_cost_little() {
        let mut state = state();
        let mut link = node(FileKind::Symlink);
        link.link = Some(Ok("y/".repeat(2000).into()));
        state.nodes.insert("/deep".into(), link);
        let line = format!("/{}z\n", "x/".repeat(500_000));
        let many: String = (0..2000).map(|number| format!("/{number}/{}z\n", "w/".repeat(60))).collect();
        let list = format!("{line}/deep/z\n{many}");
        assert_eq!(left(&state, "info/a.list", &list), format!("{line}/deep/z\n"));
    }

    #[test]
    fn a_ring_of_links_ends() {
        let mut state = state();
        for (path, to) in [("/a", "/b"), ("/b", "/a")] {
            let mut link = node(FileKind::Symlink);
            link.link = Some(Ok(to.into()));
            state.nodes.insert(path.into(), link);
        }
        assert_eq!(left(&state, "info/a.list", "/a/x\n/srv/x\n"), "/a/x\n");
    }
}
