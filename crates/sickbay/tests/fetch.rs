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
fn list(root: &Path, mirror: &Mirror, version: &str, sha256: &str) -> Signer {
    let signer = Signer::new();
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
    let release =
        format!("Suite: bookworm\nSHA256:\n {} {} main/binary-amd64/Packages\n", hex(text.as_bytes()), text.len());
    fs::write(dir.join(format!("{name}_dists_bookworm_InRelease")), signer.sign(&["--clearsign"], release.as_bytes()))
        .expect("written");
    let keyring = root.join("etc/apt/trusted.gpg.d/mirror.gpg");
    fs::create_dir_all(keyring.parent().expect("a directory")).expect("made");
    fs::write(keyring, signer.sign(&["--export"], b"")).expect("written");
    signer
}

/// The lists' own file of a kind: `InRelease`.
fn release(root: &Path, mirror: &Mirror, kind: &str) -> PathBuf {
    let name = mirror.uri.trim_start_matches("http://").replace('/', "_");
    root.join("var/lib/apt/lists").join(format!("{name}_dists_bookworm_{kind}"))
}

/// A key of a mirror, made for these tests.
struct Signer(tempfile::TempDir);

impl Signer {
    fn new() -> Signer {
        let signer = Signer(tempfile::tempdir().expect("a directory"));
        fs::set_permissions(signer.0.path(), fs::Permissions::from_mode(0o700)).expect("set");
        signer.sign(
            &["--passphrase", "", "--quick-generate-key", "Mirror of the tests", "ed25519", "sign", "never"],
            b"",
        );
        signer
    }

    /// What gpg makes of `text`.
    fn sign(&self, arguments: &[&str], text: &[u8]) -> Vec<u8> {
        use std::process::{Command, Stdio};
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--homedir"]).arg(self.0.path()).args(arguments);
        let mut child = gpg.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gpg");
        child.stdin.take().expect("a pipe").write_all(text).expect("written");
        let out = child.wait_with_output().expect("gpg ends");
        assert!(out.status.success(), "gpg {arguments:?}");
        out.stdout
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let mut gpgconf = std::process::Command::new("gpgconf");
        let _ = gpgconf.arg("--homedir").arg(self.0.path()).args(["--kill", "gpg-agent"]).status();
    }
}

fn hex(content: &[u8]) -> String {
    sha2::Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String");
        text
    })
}

fn sha256(root: &Path) -> String {
    hex(&fs::read(root.join("srv/debian").join(DEB)).expect("the package"))
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
    let words = format!("repaired: restore /usr/bin/tool of tools 2.0-1 from {}/{DEB} [", mirror.uri);
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
    refused(built.root(), &["has a different SHA256 from the one in the target's package list"]);
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
    refused(root, &["has a different /usr/bin/tool from what the target's database requires"]);

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
    refused(root, &["file:/srv/debian/ is not a mirror that can be used"]);
    let hostile = "deb --output=/x a b\ndeb http://u:p@127.0.0.1/ x main\ndeb FILE:///etc/ x main\n";
    fs::write(root.join("etc/apt/sources.list"), hostile).expect("written");
    refused(root, &["is not a mirror that can be used"]);
    fs::remove_file(root.join("etc/apt/sources.list")).expect("removed");
    refused(root, &["the target's apt has no source"]);
    assert_eq!(mirror.asked(), Vec::<String>::new());
}

/// The mode that the repaired program has: only what a signed list vouches for brings its own.
fn mode_after_fix(root: &Path, more: &[&str]) -> u32 {
    let arguments = [&FIX[..], more].concat();
    let (code, text) = run(arguments, root);
    assert!(matches!(code, Some(0 | 2)) && !text.contains("not repaired"), "{text}");
    let mode = fs::metadata(root.join("usr/bin/tool")).expect("the tool").permissions().mode() & 0o7777;
    let (code, text) = run(["undo", "--yes"], root);
    assert_eq!(code, Some(0), "{text}");
    mode
}

#[test]
fn a_list_counts_only_under_the_signature_of_a_known_key() {
    const VOUCHED: u32 = 0o4755;
    const CONTENT_ONLY: u32 = 0o755;
    let (built, mirror) = broken();
    let root = built.root();
    let signer = list(root, &mirror, "2.0-1", &sha256(root));
    let (inline, keyring) = (release(root, &mirror, "InRelease"), root.join("etc/apt/trusted.gpg.d/mirror.gpg"));
    let (signed, keys) = (fs::read(&inline).expect("signed"), fs::read(&keyring).expect("keys"));
    assert_eq!(mode_after_fix(root, &[]), VOUCHED);

    // Nothing signed; only --insecure believes the list.
    fs::remove_file(&inline).expect("removed");
    assert_eq!(mode_after_fix(root, &[]), CONTENT_ONLY);
    assert_eq!(mode_after_fix(root, &["--insecure"]), VOUCHED);

    // Signed, and then changed; nothing is signed below the signature.
    let text = String::from_utf8(signed.clone()).expect("text");
    fs::write(&inline, text.replace("Suite: bookworm", "Suite: trixie")).expect("written");
    assert_eq!(mode_after_fix(root, &[]), CONTENT_ONLY);
    let (_, unsigned) = text.split_once("\n\n").expect("a header");
    let (unsigned, _) = unsigned.split_once("-----BEGIN").expect("a signature");
    fs::write(&inline, text.replacen(unsigned, "Suite: bookworm\n", 1) + unsigned).expect("written");
    assert_eq!(mode_after_fix(root, &[]), CONTENT_ONLY);

    // By a key that nobody knows.
    fs::write(&inline, &signed).expect("written");
    fs::remove_file(&keyring).expect("removed");
    assert_eq!(mode_after_fix(root, &[]), CONTENT_ONLY);

    // As text, in the source's own keyring, and with the signature in a file of its own.
    fs::write(root.join("etc/apt/mirror.asc"), signer.sign(&["--armor", "--export"], b"")).expect("written");
    let source = format!("deb [signed-by=/etc/apt/mirror.asc] {} bookworm main\n", mirror.uri);
    fs::write(root.join("etc/apt/sources.list"), source).expect("written");
    fs::remove_file(root.join("etc/apt/sources.list.d/debian.sources")).expect("removed");
    assert_eq!(mode_after_fix(root, &[]), VOUCHED);
    let (_, plain) = text.split_once("\n\n").expect("a header");
    let (plain, _) = plain.split_once("-----BEGIN").expect("a signature");
    fs::write(release(root, &mirror, "Release"), plain).expect("written");
    fs::write(release(root, &mirror, "Release.gpg"), signer.sign(&["--detach-sign"], plain.as_bytes()))
        .expect("written");
    fs::remove_file(&inline).expect("removed");
    assert_eq!(mode_after_fix(root, &[]), VOUCHED);

    // Keys of others do not count for a source that names its own.
    fs::write(root.join("etc/apt/mirror.asc"), "").expect("written");
    fs::write(&keyring, keys).expect("written");
    assert_eq!(mode_after_fix(root, &[]), CONTENT_ONLY);
}
