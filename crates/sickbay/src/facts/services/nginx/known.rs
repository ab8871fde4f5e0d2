//! Which directives the target's own nginx knows: the names of all are texts in its program and in the modules that it loads. What stands
//! in none of them is certainly unknown to it.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use crate::facts::Facts;

/// The program and its modules.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Their bytes, read when first needed; nothing where one cannot be read.
    programs: Vec<PathBuf>,
    bytes: Option<Vec<Vec<u8>>>,
    is_partly: bool,
}

const PROGRAMS: [&str; 5] = [
    "/usr/sbin/nginx",
    "/usr/local/nginx/sbin/nginx",
    "/usr/local/openresty/nginx/sbin/nginx",
    "/usr/bin/nginx",
    "/opt/nginx/sbin/nginx",
];

/// Where `modules/x.so` may be.
const PREFIXES: [&str; 5] =
    ["/usr/share/nginx", "/etc/nginx", "/usr/lib/nginx", "/usr/lib64/nginx", "/usr/local/nginx"];

/// No nginx is larger, with everything linked into it.
const SIZE: u64 = 64 << 20;

impl Known {
    pub(super) fn of(facts: &Facts, exe: Option<&Path>) -> Known {
        let usual = || PROGRAMS.iter().map(PathBuf::from).find(|path| facts.root().exists(path).unwrap_or(false));
        let program = exe.filter(|exe| facts.root().exists(exe).unwrap_or(false)).map(Path::to_owned).or_else(usual);
        Known { is_partly: program.is_none(), programs: program.into_iter().collect(), bytes: None }
    }

    /// One more module.
    pub(super) fn load(&mut self, facts: &Facts, value: &str) {
        let path = Path::new(value);
        let name = path.file_name().unwrap_or_default();
        let candidates = [path.to_owned()]
            .into_iter()
            .chain(
                PREFIXES
                    .iter()
                    .flat_map(|prefix| [Path::new(prefix).join(path), Path::new(prefix).join("modules").join(name)]),
            )
            .filter(|path| path.is_absolute());
        match candidates.into_iter().find(|path| facts.root().exists(path).unwrap_or(false)) {
            Some(path) => {
                self.programs.push(path);
                self.bytes = None;
            }
            None => self.is_partly = true,
        }
    }

    /// `nginx/1.22.1` in the program.
    pub(super) fn version(&self, facts: &Facts) -> Option<(u64, u64, u64)> {
        let bytes = facts.root().read_up_to(self.programs.first()?, SIZE).ok()?;
        ["nginx/", "openresty/"].iter().find_map(|name| {
            bytes.find_iter(name.as_bytes()).find_map(|at| {
                let rest = bytes.get(at + name.len()..)?;
                let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
                let mut parts = rest.get(..end)?.to_str().ok()?.split('.').map(|part| part.parse().ok());
                Some((parts.next()??, parts.next()??, parts.next()??))
            })
        })
    }

    /// Whether nginx certainly does not know a directive of this name.
    pub(super) fn lacks(&mut self, facts: &Facts, name: &[u8]) -> bool {
        if self.is_partly || name.is_empty() || name.contains(&0) {
            return false;
        }
        let bytes = self.bytes.get_or_insert_with(|| {
            self.programs.iter().filter_map(|path| facts.root().read_up_to(path, SIZE).ok()).collect()
        });
        if bytes.len() != self.programs.len() {
            return false;
        }
        // The end of a longer text serves, too: linkers store it once.
        let text = [name, b"\0"].concat();
        !bytes.iter().any(|bytes| bytes.contains_str(&text))
    }
}
