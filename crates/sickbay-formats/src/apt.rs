//! Where apt gets packages from: sources.list(5) in both of its forms, the lists of what a mirror has, and the places of
//! packages on it (Debian Policy leaves them open; `pool/` is how every archive made with dak or reprepro has them).

use std::fmt::Write;

use base64ct::{Base64, Encoding};
use bstr::{BStr, BString, ByteSlice};

use crate::digest::Digest;

/// A suite of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `http://mirror.example/debian/`; ends with a slash. Of any scheme.
    pub uri: String,
    /// `bookworm`; ends with a slash where packages and lists lie in one directory.
    pub suite: String,
    /// Who may sign its Release file (sources.list(5), Signed-By): paths of keyrings, or one keyring written out. None: whoever
    /// is in apt's own keyrings.
    pub signed_by: Vec<String>,
}

impl Source {
    fn new(uri: &str, suite: &str, signed_by: Vec<String>) -> Source {
        Source { uri: format!("{}/", uri.trim_end_matches('/')), suite: suite.to_owned(), signed_by }
    }

    /// How the names of its lists in `/var/lib/apt/lists` begin, and those of its `InRelease` and `Release` (`URItoFileName` in
    /// apt's `apt-pkg/contrib/strutl.cc`).
    pub fn list_prefix(&self, architecture: &str) -> String {
        let dir = match self.suite.as_str() {
            "/" => String::new(),
            flat if flat.ends_with('/') => flat.replace("$(ARCH)", architecture),
            suite => format!("dists/{suite}/"),
        };
        let uri = format!("{}{dir}", self.uri);
        let rest = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
        let mut name = String::new();
        for character in rest.chars() {
            match character {
                '/' => name.push('_'),
                '\\' | '|' | '{' | '}' | '[' | ']' | '<' | '>' | '"' | '^' | '~' | '_' | '=' | '!' | '@' | '#'
                | '$' | '%' | '&' | '*' => {
                    let _ = write!(name, "%{:02x}", u32::from(character)); // a String takes everything
                }
                _ => name.push(character),
            }
        }
        name
    }
}

/// The sources of binary packages in a `.list` file: `deb [OPTIONS] URI SUITE COMPONENT…` on each line.
pub fn of_list(text: &[u8]) -> Vec<Source> {
    let of_line = |line: &[u8]| {
        let line = line.split(|byte| *byte == b'#').next()?.to_str().ok()?.trim();
        let mut rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let mut signed_by = Vec::new();
        if let Some(options) = rest.strip_prefix('[') {
            let (options, after) = options.split_once(']')?;
            let value = options.split_ascii_whitespace().find_map(|option| option.strip_prefix("signed-by="));
            signed_by.extend(value.into_iter().flat_map(|value| value.split(',')).map(str::to_owned));
            rest = after;
        }
        let mut words = rest.split_ascii_whitespace();
        Some(Source::new(words.next()?, words.next()?, signed_by))
    };
    text.lines().filter_map(of_line).collect()
}

/// The sources of binary packages in a `.sources` file: paragraphs in the form of deb822(5).
pub fn of_sources(text: &[u8]) -> Vec<Source> {
    let mut sources = Vec::new();
    for paragraph in paragraphs(text) {
        let words = |name: &str| -> Vec<String> {
            let value = field(paragraph, name).unwrap_or_default();
            // A comment may lie between the lines of a value.
            let lines = value.lines().filter(|line| !line.starts_with(b"#"));
            lines
                .flat_map(|line| line.to_str_lossy().split_whitespace().map(str::to_owned).collect::<Vec<_>>())
                .collect()
        };
        let off = words("Enabled").iter().any(|word| matches!(word.as_str(), "no" | "false" | "0" | "off"));
        if off || !words("Types").iter().any(|word| word == "deb") {
            continue;
        }
        let written_out = field(paragraph, "Signed-By").filter(|value| value.contains_str(ARMOUR));
        let signed_by = match written_out {
            // The lines are indented by one blank; an empty one is a dot.
            Some(block) => {
                let lines =
                    block.lines().map(|line| line.trim_ascii()).map(|line| if line == b"." { b"" } else { line });
                vec![lines.map(|line| line.to_str_lossy().into_owned() + "\n").collect()]
            }
            None => words("Signed-By"),
        };
        for uri in words("URIs") {
            sources.extend(words("Suites").iter().map(|suite| Source::new(&uri, suite, signed_by.clone())));
        }
    }
    sources
}

/// How a key begins that is written as text (RFC 9580, section 6.2).
const ARMOUR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// A keyring as gpgv reads it: every block of a text taken out of its armour; what has none is as it is.
pub fn keyring(content: &[u8]) -> Vec<u8> {
    if !content.contains_str(ARMOUR) {
        return content.to_vec();
    }
    let mut keys = Vec::new();
    let mut lines = content.lines().map(<[u8]>::trim_ascii);
    while lines.by_ref().any(|line| line == ARMOUR.as_bytes()) {
        // Headers end at an empty line; the last line of the block is a checksum.
        let is_data = |line: &&[u8]| !line.starts_with(b"-----") && !line.starts_with(b"=");
        let block: Vec<&[u8]> = lines.by_ref().take_while(is_data).collect();
        let body = block.iter().position(|line| line.is_empty()).map_or(0, |empty| empty + 1);
        let text: Vec<u8> = block.get(body..).unwrap_or_default().concat();
        keys.extend(text.to_str().ok().and_then(|text| Base64::decode_vec(text).ok()).unwrap_or_default());
    }
    keys
}

/// What gpgv says of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At least one trusted key signed it, and no signature is wrong.
    Good,
    /// No key that it knows signed it.
    NoKey,
    /// A signature is wrong, or its key has expired or was revoked.
    Bad,
}

/// Reads what gpgv writes with `--status-fd` (GnuPG's doc/DETAILS).
pub fn verdict(status: &[u8]) -> Verdict {
    let mut verdict = Verdict::NoKey;
    for line in status.lines() {
        let mut words = line.split_str(" ");
        if words.next() != Some(b"[GNUPG:]") {
            continue;
        }
        match words.next() {
            Some(b"VALIDSIG") if verdict == Verdict::NoKey => verdict = Verdict::Good,
            Some(b"BADSIG" | b"EXPSIG" | b"EXPKEYSIG" | b"REVKEYSIG" | b"FAILURE" | b"UNEXPECTED") => {
                return Verdict::Bad;
            }
            _ => {}
        }
    }
    verdict
}

/// The SHA256 of a file that a Release file lists, for example of `main/binary-amd64/Packages`.
pub fn listed_digest(release: &[u8], path: &str) -> Option<Digest> {
    let paragraph = paragraphs(release).next()?;
    let of_line = |line: &[u8]| {
        let mut words = line.to_str().ok()?.split_ascii_whitespace();
        let (digest, _size, name) = (words.next()?, words.next()?, words.next()?);
        (name == path).then(|| Digest::from_hex(digest.as_bytes()))?
    };
    let digest = field(paragraph, "SHA256")?.lines().find_map(of_line)?;
    matches!(digest, Digest::Sha256(_)).then_some(digest)
}

/// The paragraphs of a text in the form of deb822(5).
fn paragraphs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut size = 0;
        for line in rest.lines_with_terminator() {
            if line.trim_ascii().is_empty() && size > 0 {
                break;
            }
            size += line.len();
        }
        let (paragraph, after) = rest.split_at_checked(size).filter(|(paragraph, _)| !paragraph.is_empty())?;
        rest = after;
        Some(paragraph)
    })
}

/// The value of a field with the lines that continue it.
fn field<'a>(paragraph: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = paragraph.lines_with_terminator();
    let mut begin = 0;
    while let Some(line) = lines.next() {
        let key = line.find_byte(b':').unwrap_or(0);
        if key > 0 && line.get(..key).is_some_and(|key| key.eq_ignore_ascii_case(name.as_bytes())) {
            let continued = |line: &&[u8]| matches!(line.first(), Some(b' ' | b'\t' | b'#'));
            let more: usize = lines.take_while(continued).map(<[u8]>::len).sum();
            return Some(paragraph.get(begin + key + 1..begin + line.len() + more)?.trim_ascii());
        }
        begin += line.len();
    }
    None
}

/// A package in a list of what a mirror has, or in dpkg's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `Version:`
    pub version: BString,
    /// `Filename:` below the mirror's URI; empty in dpkg's status.
    pub file_name: String,
    /// `Size:` in bytes.
    pub size: Option<u64>,
    /// `SHA256:`
    pub sha256: Option<Digest>,
    /// The source package, its own name where there is no `Source:`.
    pub source: String,
    /// `Section:`, of which `contrib/net` names the component as well.
    pub section: String,
}

/// What a list has of a package and architecture, in all versions.
pub fn entries<'a>(list: &'a [u8], name: &'a BStr, architecture: &'a BStr) -> impl Iterator<Item = Entry> + use<'a> {
    let line = [b"Package: ", name.as_bytes(), b"\n"].concat();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let found = at + list.get(at..)?.find(&line)?;
            at = found + line.len();
            if found > 0 && list.get(found - 1) != Some(&b'\n') {
                continue;
            }
            let begin = list.get(..found)?.rfind(b"\n\n").map_or(0, |end| end + 2);
            let paragraph = paragraphs(list.get(begin..)?).next()?;
            let value = |name| field(paragraph, name).unwrap_or_default();
            if value("Architecture") != architecture.as_bytes() {
                continue;
            }
            let text = |name| value(name).to_str_lossy().into_owned();
            let source = text("Source").split_whitespace().next().map_or_else(|| name.to_string(), str::to_owned);
            return Some(Entry {
                version: value("Version").into(),
                file_name: text("Filename"),
                size: text("Size").parse().ok(),
                sha256: Digest::from_hex(value("SHA256")).filter(|digest| matches!(digest, Digest::Sha256(_))),
                source,
                section: text("Section"),
            });
        }
    })
}

/// The name of a package's file: the epoch is not in it.
pub fn file_name(name: &BStr, version: &BStr, architecture: &BStr) -> String {
    let version = version.split_once_str(":").map_or(version.as_bytes(), |(_, version)| version);
    format!("{name}_{}_{architecture}.deb", version.as_bstr())
}

/// The directory of a source package's files: `pool/main/g/glibc`, `pool/contrib/libx/libxyz`.
pub fn pool(source: &str, section: &str) -> String {
    let component = section.rsplit_once('/').map_or("main", |(component, _)| component);
    let initials = if source.starts_with("lib") { 4 } else { 1 };
    format!("pool/{component}/{}/{source}", source.chars().take(initials).collect::<String>())
}

/// Whether a host is an address that is only good on the own link (RFC 3927, RFC 4291), in any of the forms that programs take
/// (inet_aton(3)): there the clouds keep credentials of the machine.
pub fn is_link_local(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
        let address = v6.split('%').next().and_then(|it| it.parse::<std::net::Ipv6Addr>().ok());
        return address.is_none_or(|it| {
            it.is_unicast_link_local()
                || it.to_ipv4_mapped().or_else(|| it.to_ipv4()).is_some_and(|v4| v4.is_link_local())
        });
    }
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let number = |part: &str| match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(if hex.is_empty() { "0" } else { hex }, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse::<u32>().ok(),
    };
    let Some(parts) = host.split('.').map(number).collect::<Option<Vec<u32>>>() else { return false };
    let address = match parts.as_slice() {
        [all] => Some(*all),
        [a, rest] => Some(a << 24 | rest & 0xff_ffff),
        [a, b, rest] => Some(a << 24 | (b & 0xff) << 16 | rest & 0xffff),
        [a, b, c, d] => Some(a << 24 | (b & 0xff) << 16 | (c & 0xff) << 8 | d & 0xff),
        _ => None,
    };
    address.is_none_or(|address| std::net::Ipv4Addr::from(address).is_link_local())
}

/// The URL of a file below a mirror's URI. `None` unless it is http or https with a plain host: other schemes reach what
/// belongs to this machine, as do addresses of the own link, and a password has no business on a command line.
pub fn url(uri: &str, path: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, dir) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !matches!(scheme.as_str(), "http" | "https") || !host.bytes().all(plain) {
        return None;
    }
    if !host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[') || is_link_local(host) {
        return None;
    }
    let mut url = format!("{scheme}://{host}/");
    // What is escaped in the URI stays so; in a path of a list nothing is escaped yet.
    for (text, also) in [(dir, &b"%"[..]), (path.trim_start_matches("./"), b"")] {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/+:,=@".contains(&byte) || also.contains(&byte) {
                url.push(char::from(byte));
            } else {
                let _ = write!(url, "%{byte:02X}"); // a String takes everything
            }
        }
    }
    Some(url)
}

#[cfg(test)]
mod tests;
