//! `--fetch` on the command line, with a mirror on the loopback.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::Digest;
use support::command::{said, sickbay};
use support::manifest::{difference, manifest};
use support::packages;
use support::story::{Built, Story};

const DEB: &str = "pool/main/t/tools/tools_2.0-1_amd64.deb";

/// Serves a directory until the test ends, and keeps what it was asked for.
struct Mirror {
    uri: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    fn of(dir: PathBuf) -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let uri = format!("http://{}/debian", listener.local_addr().expect("an address"));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(&stream, &dir, &log); // a client that went away
            }
        });
        Mirror { uri, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("the log"))
    }
}

fn answer(mut stream: &TcpStream, dir: &Path, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let file = path.strip_prefix("/debian/").and_then(|path| fs::read(dir.join(path)).ok());
    log.lock().expect("the log").push(path);
    let (status, body) = file.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

/// A system that lacks a program, whose package the mirror in `/srv/debian` has.
fn broken() -> (Built, Mirror) {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/lost-program.txt");
    let built = Story::read(&story).expect("a story").build().expect("built");
    let root = built.root();
    let mirror = Mirror::of(root.join("srv/debian"));
    let deb = root.join("srv/debian").join(DEB);
    fs::create_dir_all(deb.parent().expect("a directory")).expect("made");
    fs::rename(root.join("mnt/right.deb"), deb).expect("moved");
    let dir = root.join("etc/apt/sources.list.d");
    fs::create_dir_all(&dir).expect("made");
    fs::write(root.join("etc/apt/sources.list"), "deb file:/srv/debian bookworm main\n").expect("written");
    let source = format!("Types: deb\nURIs: {}\nSuites: bookworm\nComponents: main\n", mirror.uri);
    fs::write(dir.join("debian.sources"), source).expect("written");
    (built, mirror)
}

/// Writes the list of what the mirror has.
fn list(root: &Path, mirror: &Mirror, version: &str, sha256: &str) {
    let dir = root.join("var/lib/apt/lists");
    fs::create_dir_all(&dir).expect("made");
    let name = mirror.uri.trim_start_matches("http://").replace('/', "_");
    let size = fs::metadata(root.join("srv/debian").join(DEB)).expect("the package").len();
    let text = format!(
        "Package: tool\nVersion: 1\nArchitecture: amd64\n\nPackage: tools\nVersion: {version}\nArchitecture: amd64\n\
         Filename: pool/main/t/tools/tools_{version}_amd64.deb\nSize: {size}\nSHA256: {sha256}\n\n"
    );
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text.as_bytes()).expect("packed");
    let path = dir.join(format!("{name}_dists_bookworm_main_binary-amd64_Packages.gz"));
    fs::write(path, packed.finish().expect("packed")).expect("written");
}

fn sha256(root: &Path) -> String {
    let content = fs::read(root.join("srv/debian").join(DEB)).expect("the package");
    sha2::Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String");
        text
    })
}

/// Proxies of the machine that runs the tests are none of the mirror's.
fn run<'a>(arguments: impl IntoIterator<Item = &'a str>, root: &Path) -> (Option<i32>, String) {
    let mut command = sickbay(arguments, root);
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    said(&command.output().expect("the program starts"))
}

const FIX: [&str; 5] = ["fix", "--yes", "--fetch", "--only", "package-file-missing"];

/// `fix --fetch` does not bring the program back, says why, and ends with 2.
fn refused(root: &Path, words: &[&str]) {
    let before = manifest(root);
    let (code, text) = run(FIX, root);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("not repaired: fetch tools 2.0-1 [fetch]: "), "{text}");
    for words in words {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(difference(&before, &manifest(root)), None);
}

#[test]
fn the_listed_package_comes_from_the_mirror() {
    let (built, mirror) = broken();
    let root = built.root();
    list(root, &mirror, "2.0-1", &sha256(root));
    let before = manifest(root);

    let (code, text) = run(["check", "--only", "package-file-missing"], root);
    assert!(code == Some(1) && mirror.asked().is_empty(), "without --fetch nobody is asked: {text}");
    let (code, text) = run(["check", "--fetch", "--only", "package-file-missing"], root);
    assert!(code == Some(1) && text.contains(&format!("{}/{DEB}", mirror.uri)), "{text}");
    assert_eq!(mirror.asked(), [format!("/debian/{DEB}")]);

    let (code, text) = run(FIX, root);
    // The disks of the machine that runs the tests may be nobody's to read: 2.
    assert!(matches!(code, Some(0 | 2)), "{text}");
    let words = format!("repaired: take /usr/bin/tool of tools 2.0-1 from {}/{DEB} [", mirror.uri);
    assert!(text.contains(&words) && !text.contains("not repaired"), "{text}");
    let tool = root.join("usr/bin/tool");
    assert_eq!(fs::read(&tool).expect("the tool"), b"the tool\n");
    assert_eq!(fs::metadata(&tool).expect("the tool").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(mirror.asked(), [format!("/debian/{DEB}")], "once, however often it was looked");

    let (_, text) = run(["undo", "--list"], root);
    assert!(text.contains(&format!("{}/{DEB}", mirror.uri)), "{text}");
    let (code, text) = run(["undo", "--yes"], root);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(difference(&before, &manifest(root)), None);
}

#[test]
fn another_sha256_is_refused() {
    let (built, mirror) = broken();
    list(built.root(), &mirror, "2.0-1", &"0".repeat(64));
    refused(built.root(), &["gives has another SHA256 than the target's list of packages tells"]);
}

#[test]
fn a_newer_version_in_the_list_is_not_taken() {
    let (built, mirror) = broken();
    let root = built.root();
    list(root, &mirror, "3.0-1", &sha256(root));
    let deb = root.join("srv/debian").join(DEB);
    let aside = deb.with_extension("aside");
    fs::rename(&deb, &aside).expect("moved");
    refused(root, &["the target's mirrors no longer have tools 2.0-1; their lists name 3.0-1"]);

    // It lies there under its name and has another content: not what the database asks for.
    fs::write(root.join("usr/bin/tool"), "not the tool\n").expect("written");
    packages::deb(root, &deb, "tools", "2.0-1", "/usr/bin/tool").expect("made");
    fs::remove_file(root.join("usr/bin/tool")).expect("removed");
    refused(root, &["has another /usr/bin/tool than the target's database asks for"]);

    // No longer listed, but still there and right. Nothing vouches for its mode.
    fs::rename(&aside, &deb).expect("moved");
    let (code, text) = run(FIX, root);
    assert!(matches!(code, Some(0 | 2)) && !text.contains("not repaired"), "{text}");
    let tool = fs::metadata(root.join("usr/bin/tool")).expect("the tool");
    assert_eq!(tool.permissions().mode() & 0o7777, 0o755);
}

#[test]
fn without_lists_the_pool_is_looked_into() {
    let (built, mirror) = broken();
    let (code, text) = run(FIX, built.root());
    assert!(matches!(code, Some(0 | 2)) && !text.contains("not repaired"), "{text}");
    assert_eq!(mirror.asked(), [format!("/debian/{DEB}")]);
}

#[test]
fn a_mirror_that_is_away_is_told() {
    let (built, _mirror) = broken();
    let root = built.root();
    let sources = root.join("etc/apt/sources.list.d/debian.sources");
    // A port that nobody has any more.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    fs::write(&sources, format!("Types: deb\nURIs: http://{address}/\nSuites: x\n")).expect("written");
    let begun = Instant::now();
    refused(root, &[&format!("{address} does not answer")]);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn what_is_no_mirror_is_not_followed() {
    let (built, mirror) = broken();
    let root = built.root();
    fs::remove_file(root.join("etc/apt/sources.list.d/debian.sources")).expect("removed");
    refused(root, &["file:/srv/debian/ is no mirror that can be followed"]);
    let hostile = "deb --output=/x a b\ndeb http://u:p@127.0.0.1/ x main\ndeb FILE:///etc/ x main\n";
    fs::write(root.join("etc/apt/sources.list"), hostile).expect("written");
    refused(root, &["is no mirror that can be followed"]);
    fs::remove_file(root.join("etc/apt/sources.list")).expect("removed");
    refused(root, &["the target's apt has no source"]);
    assert_eq!(mirror.asked(), Vec::<String>::new());
}
