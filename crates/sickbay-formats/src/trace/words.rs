//! What is in the words that programs say.

pub(super) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `libnss_files.so.2`, `libc.so.6`, not `ld.so.cache`.
pub(super) fn is_library(path: &str) -> bool {
    let name = base(path);
    let is_version = |rest: &str| rest.is_empty() || rest.starts_with('.');
    name.starts_with("lib") && name.split_once(".so").is_some_and(|(_, rest)| is_version(rest))
}

/// The library that ld.so says it cannot find.
pub(super) fn missing_library(text: &str) -> Option<String> {
    let rest = text.split_once("error while loading shared libraries: ").map(|(_, rest)| rest);
    let rest = rest.or_else(|| text.contains("cannot open shared object file").then_some(text))?;
    let name = rest.split(':').map(str::trim).find(|word| is_library(word) && !word.contains(' '))?;
    text.contains("cannot open shared object file").then(|| base(name).to_owned())
}

/// Words behind which, or in front of which, programs say that nobody knows a user or group.
const BEHIND: [&str; 19] = [
    "invalid user",
    "invalid group",
    "invalid spec",
    "unknown user",
    "unknown group",
    "unknown id",
    "unknown login",
    "no such user",
    "no such group",
    "no passwd entry for user",
    "unable to find user",
    "unable to find group",
    "cannot find user",
    "failed to find user",
    "bad user name",
    "bad group name",
    "i have no name",
    "cannot find name for",
    "getpwnam(",
];
const BEFORE: [&str; 3] = ["does not exist", "not found", "not known"];

/// The user or group that a program says nobody knows.
pub(super) fn unknown(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if let Some((at, words)) = BEHIND.iter().find_map(|words| Some((lower.find(words)?, words))) {
        return Some(name_in(text.get(at + words.len()..).unwrap_or_default()));
    }
    // `user shop does not exist`
    for kind in ["user ", "group "] {
        for (at, _) in lower.match_indices(kind) {
            if at > 0 && lower.get(..at).is_some_and(|before| before.ends_with(|c: char| c.is_alphanumeric())) {
                continue;
            }
            let rest = text.get(at + kind.len()..).unwrap_or_default();
            let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            if BEFORE.iter().any(|words| rest.starts_with(words)) && !name.is_empty() && !name.contains('/') {
                return Some(name_in(name));
            }
        }
    }
    None
}

/// The first name of a text, without quotes.
fn name_in(text: &str) -> String {
    let name = text.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    let end = ['\'', '"', '\u{2018}', '\u{2019}', ' ', '\n', '!', ')'];
    let name = name.split(end).next().unwrap_or_default();
    name.trim_end_matches([':', ',', '.', ';']).chars().take(60).collect()
}

/// With which words the interpreter of a language says that a module is not found, and what ends its name.
const MODULES: [(&str, &str, &[char]); 10] = [
    ("Python", "No module named ", &['\n', ';', '"']),
    ("Perl", "Can't locate ", &[' ', '\n']),
    ("Java", "ClassNotFoundException: ", &[' ', '\n', '\t']),
    ("Java", "Could not find or load main class ", &[' ', '\n', '\t']),
    ("Java", "NoClassDefFoundError: ", &[' ', '\n', '\t']),
    ("Node.js", "Cannot find module ", &['\n']),
    ("Node.js", "Cannot find package ", &[' ', '\n']),
    ("Ruby", "cannot load such file -- ", &[' ', '\n']),
    ("PHP", "Failed opening required ", &[' ', '\n']),
    ("Lua", "module '", &['\'']),
];

/// The module that an interpreter does not find, and its language.
pub(super) fn module(text: &str) -> Option<(&'static str, String)> {
    MODULES.iter().find_map(|(language, words, end)| {
        let rest = text.split_once(words)?.1;
        // Perl says the same of a method.
        if *language == "Perl" && !rest.contains(" in @INC") || *language == "Lua" && !rest.contains("not found:") {
            return None;
        }
        let name = rest.split(*end).next()?.trim_matches(|c: char| matches!(c, '\'' | '"' | ' ' | '\r'));
        (!name.is_empty()).then(|| (*language, name.chars().take(200).collect()))
    })
}

/// Whether a message names a path, in full or by its last part; of a message that strace has cut, whether it ends in the middle of the path.
pub(super) fn names(text: &str, path: &str) -> bool {
    let name = base(path);
    if name.len() > 2 && text.contains(name) {
        return true;
    }
    let Some(cut) = text.trim_end().strip_suffix('…') else { return false };
    let tail = cut.rsplit([' ', '\'', '"', '(', '=', '\u{2018}']).next().unwrap_or_default();
    tail.len() > 4 && tail.starts_with('/') && path.starts_with(tail)
}

/// Words with which programs complain of a file or a peer, in the kernel's or in their own.
const OF_FILES: [&str; 22] = [
    "no such",
    "not found",
    "not exist",
    "cannot",
    "can't",
    "can not",
    "missing",
    "unable to",
    "failed to",
    "could not",
    "couldn't",
    "denied",
    "not permitted",
    "refused",
    "read-only",
    "in use",
    "directory",
    "file",
    "open",
    "errno",
    "config",
    "connect",
];

/// Whether what was said may be about a file that was not found; in another language than English it may.
pub(super) fn speaks_of_files(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    !text.is_ascii() || OF_FILES.iter().any(|words| lower.contains(words))
}

/// The symbol, or the version of symbols, that ld.so finds in no library, and the file that needs it.
pub(super) fn symbol(text: &str) -> Option<(String, String)> {
    let word = |text: &str| {
        text.split([' ', '\n', ',', '\'']).next().unwrap_or_default().chars().take(200).collect::<String>()
    };
    if let Some((before, rest)) = text.split_once("undefined symbol: ") {
        let line = before.rsplit('\n').next().unwrap_or_default();
        let file = line.split(": ").filter(|part| !matches!(part.trim(), "" | "error" | "symbol lookup error")).last();
        return Some((word(rest), file?.trim().chars().take(400).collect()));
    }
    let (_, rest) = text.split_once("version `")?;
    let file = rest.split_once("' not found (required by ")?.1.split(')').next()?;
    Some((word(rest), file.chars().take(400).collect()))
}
