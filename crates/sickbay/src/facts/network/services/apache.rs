//! `Listen` of Apache's files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;

use super::{FILES, Port, Server, end, included};
use crate::facts::Facts;
use crate::model::outcome::Skip;

const CONFIGS: [&str; 3] =
    ["/etc/httpd/conf/httpd.conf", "/etc/apache2/apache2.conf", "/usr/local/apache2/conf/httpd.conf"];

/// The ports. A block of `<IfModule>` counts where the module is loaded.
pub(super) fn ports(facts: &Facts) -> Result<Vec<Port>, Skip> {
    let Some(config) = CONFIGS.into_iter().find(|path| facts.root().exists(path).unwrap_or(false)) else {
        return Ok(Vec::new());
    };
    // `ServerRoot` of RHEL and of Apache's own packages is above the directory of the file, Debian's is that directory.
    let own = Path::new(config).parent().unwrap_or(Path::new("/"));
    let root = if config.contains("/conf/") { own.parent().unwrap_or(own) } else { own };
    let mut reader = Reader { facts, root: root.to_owned(), modules: Vec::new(), ports: Vec::new(), files: 0 };
    // Modules may be loaded by files that are read later.
    reader.file(Path::new(config), true, 0)?;
    reader.files = 0;
    reader.file(Path::new(config), false, 0)?;
    Ok(reader.ports)
}

struct Reader<'a> {
    facts: &'a Facts,
    root: PathBuf,
    modules: Vec<String>,
    ports: Vec<Port>,
    files: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, for_modules: bool, depth: usize) -> Result<(), Skip> {
        self.files += 1;
        if self.files > FILES || depth > 8 {
            return Ok(());
        }
        let is_dir = self.facts.root().stat(path).is_ok_and(|found| found.kind == sickbay_target::FileKind::Dir);
        if is_dir {
            for path in included(self.facts, path, "*") {
                self.file(&path, for_modules, depth + 1)?;
            }
            return Ok(());
        }
        let Some(file) = self.facts.file(path)? else { return Ok(()) };
        // Blocks whose condition does not hold.
        let mut skipped: Vec<bool> = Vec::new();
        for (number, line) in file.bytes.lines().enumerate() {
            let text = line.to_str_lossy();
            let words: Vec<&str> = text.split_whitespace().collect();
            let first = words.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
            if first.starts_with("</if") {
                skipped.pop();
                continue;
            }
            let argument = words.get(1).copied().unwrap_or_default().trim_matches(['"', '>']);
            match first.as_str() {
                "<ifmodule" => {
                    let (not, name) = argument.strip_prefix('!').map_or((false, argument), |name| (true, name));
                    skipped.push(self.is_loaded(name) == not);
                }
                // Symbols are given on the command line.
                "<ifdefine" => skipped.push(!argument.starts_with('!')),
                "<ifversion" | "<iffile" | "<if" => skipped.push(false),
                _ if skipped.contains(&true) => {}
                "loadmodule" if self.modules.len() < FILES => self.modules.push(argument.to_owned()),
                "serverroot" if !argument.is_empty() => self.root = PathBuf::from(argument),
                "include" | "includeoptional" if !argument.contains("${") => {
                    for path in included(self.facts, &self.root.clone(), argument) {
                        self.file(&path, for_modules, depth + 1)?;
                    }
                }
                "listen" if !for_modules && self.ports.len() < FILES => {
                    if let Some((address, Some(port))) = end(argument) {
                        let at = Some((Arc::clone(&file), file.line_span(number + 1)));
                        self.ports.push(Port::new(Server::Apache, address, port, at));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `ssl_module`, `mod_ssl.c`
    fn is_loaded(&self, name: &str) -> bool {
        let plain = name.strip_prefix("mod_").and_then(|name| name.strip_suffix(".c"));
        let name = plain.map_or_else(|| name.to_owned(), |plain| format!("{plain}_module"));
        self.modules.contains(&name)
    }
}
