//! Packages that nothing at hand has, fetched from the mirrors that the target's own apt names: only when the user asks for it.
//!
//! A look at the target notes what it lacks; that is fetched afterwards, and the target is looked at again. What is trusted is
//! what apt trusts: a Release file that a known key signed vouches for a list of packages, and that for a package, by SHA256.
//! What no such list has may still lie where it lay: then the files themselves must be what the target's database asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bstr::{BStr, BString, ByteSlice};
use sickbay_formats::apt::{self, Entry, Source};
use sickbay_formats::archive::{self, Body, Identity};
use sickbay_formats::digest::Digest;
use sickbay_target::Root;
use sickbay_target::download::{self, Download, DownloadError};
use sickbay_target::signature::{Signed, signed_text};

use super::archives::real_path;
use crate::facts::Facts;
use crate::facts::packages::{DPKG, Database, Package, Packages, System};
use crate::model::text::Text;
use crate::tr;

/// The largest list of packages that is read: several times that of the largest distributions.
const LIST_LIMIT: u64 = 512 << 20;
/// The largest Release file, signature and keyring, in bytes: tens of times that of the largest distributions.
const RELEASE_LIMIT: u64 = 16 << 20;
const KEYRING_LIMIT: u64 = 1 << 20;
/// As many keyrings are looked into.
const KEYRINGS: usize = 64;
/// The largest package whose size no list tells.
const UNLISTED: u64 = 256 << 20;
/// The most places that one package is asked for at.
const TRIES: usize = 12;

/// Is told of a download on its way: the package, and how many bytes there are; `None` at the end.
pub type Progress = fn(&str, Option<u64>);

/// Name, version and architecture.
type Key = (BString, BString, BString);

fn key(package: &Package) -> Key {
    (package.name.clone(), package.version.clone(), package.architecture.clone())
}

/// Fetches packages, through all the looks at one target.
#[derive(Debug)]
pub struct Mirror {
    progress: Progress,
    /// Lists count that nobody signed.
    insecure: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wanted: BTreeSet<Key>,
    fetched: BTreeMap<Key, Arc<Fetched>>,
    failed: BTreeMap<Key, Text>,
    /// Servers that did not answer are not asked again.
    silent: BTreeMap<String, String>,
}

/// A package that was fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) url: String,
    /// Whether the list told its digest. If not, only files count whose own digests the database has.
    pub(crate) listed: bool,
    content: Download,
}

impl Fetched {
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        self.content.read().ok()
    }
}

/// Where a package may be.
struct Place {
    url: String,
    digest: Option<Digest>,
    size: Option<u64>,
}

impl Mirror {
    /// With `insecure`, lists of packages count that no key vouches for.
    ///
    /// # Errors
    /// When this machine has no program to fetch with.
    pub fn new(progress: Progress, insecure: bool) -> Result<Mirror, Text> {
        match download::is_there() {
            Ok(()) => Ok(Mirror { progress, insecure, state: Mutex::default() }),
            Err(_) => Err(tr!("--fetch needs curl or wget, and neither is installed on this machine")),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a package is needed.
    pub(crate) fn want(&self, package: &Package) {
        self.state().wanted.insert(key(package));
    }

    pub(crate) fn get(&self, package: &Package) -> Option<Arc<Fetched>> {
        self.state().fetched.get(&key(package)).cloned()
    }

    /// Why a package could not be fetched.
    pub(crate) fn failure(&self, name: &BStr, version: &BStr) -> Option<Text> {
        let state = self.state();
        state.failed.iter().find(|((n, v, _), _)| n == name && v == version).map(|(_, why)| why.clone())
    }

    /// What could not be fetched, "passwd 1:4.13", and why.
    pub fn failures(&self) -> Vec<(String, Text)> {
        let failed = &self.state().failed;
        failed.iter().map(|((name, version, _), why)| (format!("{name} {version}"), why.clone())).collect()
    }

    /// Fetches what was noted and not tried yet; whether there was such a thing, so that another look is worth while.
    pub fn fetch(&self, facts: &Facts) -> bool {
        let open: Vec<Key> = {
            let State { wanted, fetched, failed, .. } = &*self.state();
            wanted.iter().filter(|key| !fetched.contains_key(*key) && !failed.contains_key(*key)).cloned().collect()
        };
        let Ok(packages) = facts.get::<Packages>() else { return false };
        let mut lists = None;
        for wanted in &open {
            let package = packages.packages.iter().find(|package| key(package) == *wanted);
            let result = match package {
                _ if packages.system == System::Rpm => Err(tr!("--fetch does not read rpm repositories yet")),
                Some(package) => {
                    let lists = lists.get_or_insert_with(|| Lists::read(facts.root(), &open, self.insecure));
                    self.fetch_one(facts, &packages, package, lists)
                }
                None => continue,
            };
            match result {
                Ok(found) => drop(self.state().fetched.insert(wanted.clone(), Arc::new(found))),
                Err(why) => drop(self.state().failed.insert(wanted.clone(), why)),
            }
        }
        !open.is_empty()
    }

    fn fetch_one(&self, facts: &Facts, database: &Database, package: &Package, lists: &Lists) -> Result<Fetched, Text> {
        let (name, version) = (&package.name, &package.version);
        let places = lists.places(facts.root(), package)?;
        let mut why = None;
        for place in places.iter().take(TRIES) {
            let host = place.url.split('/').nth(2).unwrap_or_default().to_owned();
            if let Some(said) = self.state().silent.get(&host).cloned() {
                why.get_or_insert(tr!("{host} does not answer: {said}", host, said));
                continue;
            }
            let label = format!("{name} {version}");
            let limit = place.size.unwrap_or(UNLISTED);
            let result = download::fetch(&place.url, limit, &mut |size| (self.progress)(&label, Some(size)));
            (self.progress)(&label, None);
            let url = place.url.clone();
            let content = match result {
                Ok(content) => content,
                Err(DownloadError::Absent(_)) => continue,
                Err(DownloadError::Unreachable(said)) => {
                    why.get_or_insert(tr!("{host} does not answer: {said}", host = host.clone(), said = said.clone()));
                    self.state().silent.insert(host, said);
                    continue;
                }
                Err(error) => {
                    why = Some(tr!("{url} could not be fetched: {error}", url, error = error.to_string()));
                    continue;
                }
            };
            match verify(facts.root(), database, package, place, &content) {
                Ok(()) => return Ok(Fetched { url, listed: place.digest.is_some(), content }),
                Err(wrong) => why = Some(wrong),
            }
        }
        // That nobody vouches for the lists is the reason, whatever was tried without them.
        if let (Some(untrusted), None) = (&lists.untrusted, &why) {
            return Err(untrusted.clone());
        }
        Err(why.unwrap_or_else(|| match lists.others(package) {
            other if !other.is_empty() => tr!(
                "the target's mirrors no longer have {package} {version}; their lists name {other}",
                package = name,
                version,
                other = other.join(", ")
            ),
            _ => tr!("the target's mirrors do not have {package} {version}", package = name, version),
        }))
    }
}

/// Whether what came is the package.
fn verify(root: &Root, database: &Database, package: &Package, place: &Place, content: &Download) -> Result<(), Text> {
    let url = &place.url;
    let file = content.read().map_err(|error| Text::verbatim(error.to_string()))?;
    if place.digest.is_some_and(|digest| !digest.fits(&file)) {
        return Err(tr!(
            "the download from {url} has a different SHA256 from the one in the target's package list",
            url
        ));
    }
    let Some(Identity { name, version, architecture }) = archive::identity(&file) else {
        return Err(tr!("the download from {url} is not a package", url));
    };
    if (name, version, architecture) != key(package) {
        return Err(tr!("the download from {url} is a different package", url));
    }
    if place.digest.is_none() {
        let mut proven = 0;
        for member in archive::extract(&file, |_| true) {
            let path = real_path(database, &member.path);
            let Body::File(bytes) = &member.body else { continue };
            let known =
                database.file(&path).filter(|file| database.package(file).is_some_and(|it| it.name == package.name));
            let Some(digest) = known.and_then(|file| database.digest(root, file)) else { continue };
            if !digest.fits(bytes) {
                return Err(tr!(
                    "the download from {url} has a different {path} from what the target's database requires",
                    url,
                    path
                ));
            }
            proven += 1;
        }
        if proven == 0 {
            return Err(tr!("nothing shows whether the download from {url} is right", url));
        }
    }
    Ok(())
}

/// Where apt keeps what it knows of its mirrors.
const LISTS: &str = "/var/lib/apt/lists";

/// The Release file of a suite, whose lists begin with `prefix`, as far as a key signed it that the target trusts for it, or
/// else this machine's own distribution.
fn release(root: &Root, prefix: &str, signed_by: &[String]) -> Result<Vec<u8>, Text> {
    let read = |kind: &str| root.read_up_to(Path::new(LISTS).join(format!("{prefix}{kind}")), RELEASE_LIMIT);
    let (inline, text, signature) = (read("InRelease"), read("Release"), read("Release.gpg"));
    let signed = match (&inline, &text, &signature) {
        (Ok(text), ..) => Signed::Inline(text),
        (_, Ok(text), Ok(signature)) => Signed::Detached { text, signature },
        _ => {
            return Err(tr!(
                "the target has no signed Release file for its package lists ({prefix}InRelease): --insecure uses them anyway",
                prefix
            ));
        }
    };
    let of_target = match signed_by {
        [] => keyrings(root, &["/etc/apt/trusted.gpg"], &["/etc/apt/trusted.gpg.d", "/usr/share/keyrings"]),
        named => {
            let (texts, paths): (Vec<&String>, Vec<&String>) = named.iter().partition(|it| it.contains("BEGIN PGP"));
            let paths: Vec<&str> = paths.into_iter().map(String::as_str).filter(|it| it.starts_with('/')).collect();
            let mut all = keyrings(root, &paths, &[]);
            all.extend(texts.into_iter().map(|text| apt::keyring(text.as_bytes())));
            all
        }
    };
    let answer = signed_text(signed, &of_target).or_else(|error| match Root::host() {
        // A target that lost its keyrings is as well served by those of a helper of the same distribution.
        Ok(host) if signed_by.is_empty() || of_target.is_empty() => {
            signed_text(signed, &keyrings(&host, &[], &["/etc/apt/trusted.gpg.d", "/usr/share/keyrings"]))
        }
        _ => Err(error),
    });
    answer.map_err(|error| {
        tr!(
            "the Release file of the target's package lists ({prefix}) is not trusted: {why}; --insecure uses them anyway",
            prefix,
            why = error.to_string()
        )
    })
}

/// The keyrings in files and directories.
fn keyrings(root: &Root, files: &[&str], dirs: &[&str]) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = files.iter().map(Path::new).map(Path::to_owned).collect();
    for dir in dirs.iter().map(Path::new) {
        let mut names: Vec<_> =
            root.read_dir(dir).unwrap_or_default().into_iter().map(|entry| dir.join(entry.name)).collect();
        names.retain(|path| path.extension().is_some_and(|end| end == "gpg" || end == "asc"));
        names.sort();
        paths.append(&mut names);
    }
    let read = |path| root.read_up_to(path, KEYRING_LIMIT).ok().map(|content| apt::keyring(&content));
    paths.iter().filter_map(read).filter(|keyring| !keyring.is_empty()).take(KEYRINGS).collect()
}

/// What the target knows of its mirrors.
struct Lists {
    sources: Vec<Source>,
    /// What the lists have of each package that is looked for, with the index of the source.
    entries: BTreeMap<(BString, BString), Vec<(usize, Entry)>>,
    /// Why the last list that was not believed was not.
    untrusted: Option<Text>,
}

impl Lists {
    fn read(root: &Root, wanted: &[Key], insecure: bool) -> Lists {
        let mut sources = Vec::new();
        let dir = Path::new("/etc/apt/sources.list.d");
        let mut files = vec!["/etc/apt/sources.list".into()];
        files.extend(root.read_dir(dir).unwrap_or_default().into_iter().map(|entry| dir.join(entry.name)));
        files.sort();
        for path in files {
            let Ok(text) = root.read(&path) else { continue };
            let found = match path.extension().and_then(|end| end.to_str()) {
                Some("list") => apt::of_list(&text),
                Some("sources") => apt::of_sources(&text),
                _ => continue,
            };
            for source in found {
                if !sources.contains(&source) {
                    sources.push(source);
                }
            }
        }
        let mut lists = Lists { sources, entries: BTreeMap::new(), untrusted: None };
        let mut releases: BTreeMap<usize, Result<Vec<u8>, Text>> = BTreeMap::new();
        let dir = Path::new(LISTS);
        for entry in root.read_dir(dir).unwrap_or_default() {
            let name = entry.name.to_string_lossy();
            let Some((head, kind)) = name.rsplit_once("_Packages") else { continue };
            let prefix_of = |source: &Source| {
                let architectures = wanted.iter().map(|(_, _, architecture)| architecture.to_string());
                let mut prefixes = architectures.map(|architecture| source.list_prefix(&architecture));
                prefixes.find(|prefix| head.starts_with(prefix) || prefix.strip_suffix('_') == Some(head))
            };
            let found = lists.sources.iter().enumerate().find_map(|(at, source)| Some((at, prefix_of(source)?)));
            let Some((source, prefix)) = found else { continue };
            let Ok(packed) = root.read_up_to(dir.join(&entry.name), LIST_LIMIT) else { continue };
            let list = match kind.strip_prefix('.') {
                Some(kind) => archive::unpack(kind.as_bytes(), &packed),
                None => kind.is_empty().then_some(packed),
            };
            let Some(list) = list else { continue };
            let within = head.strip_prefix(&prefix).unwrap_or_default();
            let within = if within.is_empty() {
                "Packages".to_owned()
            } else {
                format!("{}/Packages", within.replace('_', "/"))
            };
            let signed_by = &lists.sources[source].signed_by;
            let release = releases.entry(source).or_insert_with(|| release(root, &prefix, signed_by));
            let trusted = match release {
                Ok(text) if apt::listed_digest(text, &within).is_some_and(|digest| digest.fits(&list)) => Ok(()),
                Ok(_) => Err(tr!(
                    "the package list {name} is not the one named in its signed Release file",
                    name = name.to_string()
                )),
                Err(why) => Err(why.clone()),
            };
            if let (Err(why), false) = (trusted, insecure) {
                lists.untrusted = Some(why);
                continue;
            }
            for (name, _, architecture) in wanted {
                let found = apt::entries(&list, name.as_bstr(), architecture.as_bstr()).map(|entry| (source, entry));
                lists.entries.entry((name.clone(), architecture.clone())).or_default().extend(found);
            }
        }
        lists
    }

    fn of(&self, package: &Package) -> &[(usize, Entry)] {
        let key = (package.name.clone(), package.architecture.clone());
        self.entries.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The versions that the lists have instead.
    fn others(&self, package: &Package) -> Vec<String> {
        let all: BTreeSet<&BString> = self.of(package).iter().map(|(_, entry)| &entry.version).collect();
        all.into_iter().filter(|version| **version != package.version).map(BString::to_string).collect()
    }

    /// Where the package may be: first as it is listed, then where it would lie if it were.
    fn places(&self, root: &Root, package: &Package) -> Result<Vec<Place>, Text> {
        let mut places: Vec<Place> = Vec::new();
        let mut add = |uri: &str, path: &str, digest: Option<Digest>, size: Option<u64>| {
            if let Some(url) = apt::url(uri, path).filter(|url| places.iter().all(|place| place.url != *url)) {
                places.push(Place { url, digest, size });
            }
        };
        let (name, architecture) = (package.name.as_bstr(), package.architecture.as_bstr());
        let of_source = |source: &usize| self.sources.get(*source);
        for (source, entry) in self.of(package).iter().filter(|(_, entry)| entry.version == package.version) {
            if let (Some(source), Some(digest)) = (of_source(source), entry.sha256) {
                add(&source.uri, &entry.file_name, Some(digest), entry.size);
            }
        }
        let file = apt::file_name(name, package.version.as_bstr(), architecture);
        for (source, entry) in self.of(package) {
            if let (Some(source), Some((dir, _))) = (of_source(source), entry.file_name.rsplit_once('/')) {
                add(&source.uri, &format!("{dir}/{file}"), None, None);
            }
        }
        let status = root.read_up_to(Path::new(DPKG).join("status"), LIST_LIMIT).unwrap_or_default();
        let status = apt::entries(&status, name, architecture).find(|entry| entry.version == package.version);
        let (from, section) =
            status.map_or_else(|| (name.to_string(), String::new()), |entry| (entry.source, entry.section));
        for source in &self.sources {
            if !source.suite.ends_with('/') {
                add(&source.uri, &format!("{}/{file}", apt::pool(&from, &section)), None, None);
            }
        }
        match self.sources.first() {
            _ if !places.is_empty() => Ok(places),
            Some(source) => Err(tr!(
                "{uri} is not a mirror that can be used: only http and https, without a password",
                uri = source.uri
            )),
            None => Err(tr!("the target's apt has no sources")),
        }
    }
}
