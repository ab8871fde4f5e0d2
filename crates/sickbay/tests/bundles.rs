//! `sickbay collect` and what becomes of its bundles: the same is found in one as on what it was made of, nothing secret is
//! in it, and nothing that a stranger puts into one does harm.
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::net::{AddressFamily, SocketType, listen, socket};
use sickbay::checks;
use sickbay::engine::run::diagnose;
use sickbay::facts::Facts;
use sickbay::model::diagnosis::Diagnosis;
use sickbay::model::outcome::Outcome;
use sickbay::model::text::Lang;
use sickbay_target::{Access, Bounds, Options, Target};
use support::command::{run, said, sickbay};
use support::story::Story;

fn look(target: Target) -> (Arc<Target>, Diagnosis) {
    let target = Arc::new(target);
    let facts = Arc::new(Facts::new(Arc::clone(&target), None));
    let all: Vec<_> = checks::ALL.iter().copied().filter(|check| checks::applies(check, &target)).collect();
    let diagnosis = diagnose(&facts, &all);
    (target, diagnosis)
}

/// All that was found and could not be told, in words.
fn told(diagnosis: &Diagnosis) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in &diagnosis.findings {
        let places: Vec<String> = finding.places.iter().map(|place| format!("{:?}", place.subject)).collect();
        lines.push(format!(
            "{:?} {}: {} at {places:?}, caused by {:?}",
            finding.severity,
            finding.check.id,
            finding.message.render(Lang::En),
            finding.caused_by
        ));
        lines.extend(
            finding.repairs.iter().map(|repair| format!("  {:?} {}", repair.risk, repair.title.render(Lang::En))),
        );
    }
    for (check, outcome) in &diagnosis.outcomes {
        if let Outcome::Unknown(why) | Outcome::Broken(why) | Outcome::Found(Some(why)) = outcome {
            lines.push(format!("cannot tell {}: {}", check.id, why.render(Lang::En)));
        }
    }
    lines
}

fn collected(target: Target, dir: &Path) -> PathBuf {
    let path = dir.join("bundle.tar.zst");
    let (target, _) = look(
        target
            .collecting(Bounds { deadline: std::time::Duration::from_secs(600), ..Bounds::default() })
            .expect("it can be collected"),
    );
    target.write_bundle(&path, "1.2.3").expect("written");
    path
}

fn stories() -> Vec<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let list = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path()).collect()
    };
    let mut all: Vec<PathBuf> = list(&cases).iter().filter(|dir| dir.is_dir()).flat_map(|dir| list(dir)).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    all.sort();
    all
}

/// What differs between a story's tree and its bundle; `None` where they cannot be compared.
fn difference(path: &Path) -> Option<Vec<String>> {
    let built =
        Story::read(path).and_then(|story| story.build()).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let (_, of_tree) = look(built.plain_target().expect("it opens")?);
    let dir = tempfile::tempdir().expect("a directory");
    let bundle = collected(built.plain_target().expect("it opens")?, dir.path());
    let (_, of_bundle) = look(Target::open(Some(&bundle), &Options::default()).expect("the bundle opens"));
    let place = built.root().display().to_string();
    let (tree, bundle) = (told(&of_tree), told(&of_bundle));
    let tree: Vec<String> = tree.iter().map(|line| line.replace(&place, "")).collect();
    let lost = tree.iter().filter(|line| !bundle.contains(line)).map(|line| format!("- {line}"));
    let new = bundle.iter().filter(|line| !tree.contains(line)).map(|line| format!("+ {line}"));
    Some(lost.chain(new).collect())
}

/// What a superblock says of its file system is on the disk, and a bundle has no disks; nor has it a large initramfs, nor a log that
/// was given beside the system.
const LEFT_OUT: [&str; 5] = [
    "file-system-errors/",
    "file-system-damaged/",
    "initramfs-damaged/zeros",
    "boot-stopped/with-its-disk",
    "log-of-another-machine/first",
];

/// A sixteenth of all stories; with `SICKBAY_ALL_BUNDLES=1` all of them.
#[test]
fn a_bundle_tells_what_its_tree_does() {
    let is_all = std::env::var_os("SICKBAY_ALL_BUNDLES").is_some();
    let wanted = std::env::var("SICKBAY_BUNDLES_OF").unwrap_or_default();
    let mut all = stories();
    all.retain(|path| !LEFT_OUT.iter().any(|name| path.display().to_string().contains(&format!("/{name}"))));
    all.retain(|path| path.display().to_string().contains(&wanted));
    if !is_all && wanted.is_empty() {
        all = all.into_iter().step_by(16).collect();
    }
    let (next, compared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong: Mutex<BTreeMap<PathBuf, Vec<String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(path) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(lines) = difference(path) else { continue };
                    compared.fetch_add(1, Ordering::Relaxed);
                    if !lines.is_empty() {
                        wrong.lock().expect("no panic").insert(path.clone(), lines);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    let shown: Vec<String> =
        wrong.iter().map(|(path, lines)| format!("{}\n  {}", path.display(), lines.join("\n  "))).collect();
    assert!(wrong.is_empty(), "{} of {compared:?}:\n{}", wrong.len(), shown.join("\n"));
    assert!(compared.into_inner() * 2 > all.len(), "most stories are trees");
}

/// Members of a bundle by their names.
fn members(bundle: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = std::fs::File::open(bundle).expect("it is there");
    let mut archive = tar::Archive::new(zstd::Decoder::new(file).expect("zstd"));
    let mut all = BTreeMap::new();
    for member in archive.entries().expect("tar") {
        let mut member = member.expect("a member");
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("readable");
        all.insert(name, bytes);
    }
    all
}

/// Files with secrets, each `%` followed by a number, and what must be left of them.
const PLANTED: &[(&str, &str, &str)] = &[
    (
        "/etc/shadow",
        "root:$6$%01salt$%02hashhash:19000:0:99999:7:::\nsvc:!$y$j9T$%03salt$%04hash:1::::::\n",
        "svc:!$y$j9T$",
    ),
    ("/etc/gshadow", "wheel:$6$%05salt$%06hash::root\n", "::root"),
    (
        "/etc/ssh/ssh_host_rsa_key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAA%07\n%08==\n-----END OPENSSH PRIVATE KEY-----\n",
        "b3BlbnNzaC1rZXktdjEA",
    ),
    (
        "/etc/pki/tls/private/a.key",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKC%09\n-----END RSA PRIVATE KEY-----\n",
        "-----END RSA PRIVATE KEY-----",
    ),
    ("/root/.my.cnf", "[client]\nuser=root\npassword=\"%10 with blanks\"\n", "user=root"),
    (
        "/var/www/wp-config.php",
        "define( 'DB_USER', 'wp' );\ndefine( 'DB_PASSWORD', '%11' );\ndefine('AUTH_KEY', '%12');\n",
        "'DB_USER', 'wp'",
    ),
    ("/srv/app/.env", "APP_ENV=prod\nDB_PASS=%13\nSECRET_TOKEN='%14'\nAPI_KEY=%15\n", "APP_ENV=prod"),
    (
        "/srv/app/application.properties",
        "spring.datasource.url=jdbc:mysql://db/x\nspring.datasource.password=%16\n",
        "jdbc:mysql://db/x",
    ),
    ("/srv/app/application.yml", "redis:\n  host: r\n  password: %17\n", "host: r"),
    ("/etc/redis/redis.conf", "port 6379\nrequirepass %18\nmasterauth %19\n", "port 6379"),
    ("/etc/wpa_supplicant/wpa_supplicant.conf", "network={\n ssid=\"a\"\n psk=\"%20\"\n}\n", "ssid=\"a\""),
    (
        "/etc/NetworkManager/system-connections/w.nmconnection",
        "[wifi-security]\nkey-mgmt=wpa-psk\npsk=%21\n",
        "key-mgmt=wpa-psk",
    ),
    ("/etc/sysconfig/network-scripts/keys-wlan0", "WPA_PSK='%22'\nKEY1=%23\n", "WPA_PSK="),
    (
        "/etc/netplan/01.yaml",
        "network:\n  wifis:\n    w:\n      access-points:\n        a: {password: \"%24\"}\n",
        "access-points",
    ),
    ("/etc/odbc.ini", "[pg]\nUid=me\nPwd=%25\n", "Uid=me"),
    ("/etc/ldap.conf", "binddn cn=a\nbindpw %26\n", "binddn cn=a"),
    ("/etc/sssd/sssd.conf", "[domain/x]\nldap_default_authtok = %27\n", "[domain/x]"),
    ("/etc/samba/smb.conf", "[global]\nworkgroup = W\nldap admin password = %28\n", "workgroup = W"),
    ("/etc/fstab", "//s/d /d cifs username=u,password=%29,uid=0 0 0\n", ",uid=0 0 0"),
    (
        "/etc/apt/sources.list.d/a.list",
        "deb https://user:%30@mirror.example/debian stable main\n",
        "@mirror.example/debian stable main",
    ),
    (
        "/etc/cron.d/call",
        "* * * * * root curl -H 'Authorization: Bearer %31' https://a.example\n* * * * * root curl -u me:%32 https://b.example\n",
        "https://a.example",
    ),
    (
        "/root/.aws/credentials",
        "[default]\naws_access_key_id = AKIA%33ABCDEFG\naws_secret_access_key = %34/abc+def\n",
        "[default]",
    ),
    ("/etc/gh.txt", "remote ghp_%35abcdefghijklmnop\njwt eyJhbGciOiJIUzI1NiJ9.%36payload.signature\n", "remote ghp_"),
    ("/proc/cmdline", "root=/dev/vda1 ro inst.rootpw=%37 k3s.token=%38\n", "root=/dev/vda1 ro"),
    ("/proc/77/cmdline", "/usr/bin/java\0-Ddb.password=%39\0--password\0%40\0-jar\0a.jar\0", "a.jar"),
    ("/proc/78/cmdline", "mysqldump\0-uroot\0-p%41\0shop\0", "shop"),
    ("/proc/78/environ", "HOME=/root\0PGPASSWORD=%42\0LANG=C\0", "LANG=C"),
    (
        "/etc/systemd/system/a.service",
        "[Service]\nEnvironment=\"TOKEN=%43\" LEVEL=1\nExecStart=/usr/bin/a --secret %44 --port 80\n",
        "--port 80",
    ),
    (
        "/var/log/messages",
        "Jan  1 00:00:01 h app: connecting to postgres://me:%45@db/x\nJan  1 00:00:02 h app: {\"password\":\"%46\",\"user\":\"me\"}\n",
        "\"user\":\"me\"",
    ),
    ("/etc/boot.xml", "<user name=\"a\" password=\"%47\"/><password>%48</password>\n", "<user name=\"a\""),
    ("/boot/grub/grub.cfg", "password_pbkdf2 root grub.pbkdf2.sha512.10000.%49.%50\nmenuentry x {\n}\n", "menuentry x"),
    (
        "/etc/wireguard/wg0.conf",
        "[Interface]\nPrivateKey = %51=\nPresharedKey=%52=\nListenPort = 1\n",
        "ListenPort = 1",
    ),
    ("/etc/openldap/slapd.conf", "rootdn cn=m\nrootpw {SSHA}%53\n", "rootdn cn=m"),
    ("/root/.pgpass", "db:5432:shop:me:%54\n", "db:5432:shop:me:"),
    ("/etc/keepalived/keepalived.conf", "authentication {\n auth_type PASS\n auth_pass %55\n}\n", "auth_type PASS"),
];

/// Unlike anything else: `Zq07Secret`.
fn secret(number: usize) -> String {
    format!("Zq{number:02}Secret{number:02}qZ")
}

#[test]
fn no_secret_is_in_a_bundle() {
    let tree = tempfile::tempdir().expect("a directory");
    let mut count = 0;
    for (path, text, _) in PLANTED {
        let mut text = (*text).to_owned();
        for number in 1..100 {
            let mark = format!("%{number:02}");
            count += usize::from(text.contains(&mark));
            text = text.replace(&mark, &secret(number));
        }
        let path = support::inside(tree.path(), path);
        std::fs::create_dir_all(path.parent().expect("above")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    // A log that was packed, and a program.
    let packed = support::inside(tree.path(), "/var/log/messages.1.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    write!(gzip, "Jan  1 00:00:01 h app: token={}\nJan  1 00:00:02 h app: all is well\n", secret(90))
        .expect("into memory");
    std::fs::write(packed, gzip.finish().expect("into memory")).expect("written");
    assert!(count >= 40, "{count} kinds");

    let target = Target::described(tree.path(), Access::ReadOnly, Vec::new(), &[]).and_then(Target::taken_for_running);
    let target = target.and_then(|target| target.collecting(Bounds::default())).expect("a target");
    let (target, _) = look(target);
    // Whether or not a check reads them today.
    for (path, ..) in PLANTED {
        target.root().read(path).expect("readable");
    }
    target.root().read("/var/log/messages.1.gz").expect("readable");
    let bundle = tree.path().join("bundle.tar.zst");
    let written = target.write_bundle(&bundle, "1.2.3").expect("written");
    assert!(written.masked > 400, "{written:?}");
    assert_eq!(std::fs::metadata(&bundle).expect("there").permissions().mode() & 0o777, 0o600);
    let all = members(&bundle);
    for (name, bytes) in &all {
        for number in 1..100 {
            let secret = secret(number);
            let is_in = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_in, "{secret} is in {name}: {}", String::from_utf8_lossy(bytes));
        }
    }
    for (path, _, left) in PLANTED {
        let text = String::from_utf8_lossy(&all[&format!("files{path}")]).into_owned();
        assert!(text.contains(left), "{path}: {text}");
    }
    let log = String::from_utf8_lossy(&all["files/var/log/messages.1.gz"]).into_owned();
    assert!(log.contains("all is well") && log.contains("token=xxx"), "{log}");
}

/// A small bundle, as members.
fn small() -> Vec<(String, Vec<u8>)> {
    let tree = tempfile::tempdir().expect("a directory");
    for dir in ["etc", "usr", "var", "boot", "bin", "lib", "root", "home"] {
        std::fs::create_dir(tree.path().join(dir)).expect("made");
    }
    // Some of zstd's blocks, which nothing can pack.
    let mut number = 1_u64;
    let noise: String = (0..40_000)
        .map(|_| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("# {:08x}\n", number >> 32)
        })
        .collect();
    let fstab = format!("proc /proc proc defaults 0 0\n{noise}");
    std::fs::write(tree.path().join("etc/fstab"), fstab).expect("written");
    let target = Target::described(tree.path(), Access::ReadOnly, Vec::new(), &[]).expect("a target");
    let bundle = collected(target, tree.path());
    let mut all: Vec<_> = members(&bundle).into_iter().collect();
    all.sort_by_key(|(name, _)| name != "sickbay-bundle.json");
    all
}

fn header(name: &[u8], size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().expect("it is one").name[..name.len()].copy_from_slice(name);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

fn tarred(members: &[(String, Vec<u8>)], more: &[(tar::Header, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let header = header(name.as_bytes(), bytes.len() as u64, tar::EntryType::Regular);
        archive.append(&header, bytes.as_slice()).expect("into memory");
    }
    for (header, bytes) in more {
        archive.append(header, bytes.as_slice()).expect("into memory");
    }
    archive.into_inner().expect("into memory")
}

#[test]
fn what_a_stranger_made_is_refused() {
    let good = small();
    let dir = tempfile::tempdir().expect("a directory");
    let inner = dir.path().join("inner");
    std::fs::create_dir(&inner).expect("made");
    let path = inner.join("b.tar.zst");
    let said = |bytes: &[u8]| -> (Option<i32>, String) {
        std::fs::write(&path, bytes).expect("written");
        let answer = run(["check"], &path);
        let left: Vec<_> = std::fs::read_dir(dir.path()).expect("readable").collect();
        assert_eq!(left.len(), 1, "nothing is written anywhere");
        assert_eq!(std::fs::read_dir(&inner).expect("readable").count(), 1);
        answer
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("into memory");
    let plain = tarred(&good, &[]);
    // Packed or not, it is one.
    for whole in [zstd(&plain), plain.clone()] {
        let (status, text) = said(&whole);
        assert!(status.is_some_and(|status| status < 2) || text.contains("bundle of"), "{text}");
    }
    let refused = |bytes: &[u8], why: &str| {
        let (status, text) = said(bytes);
        assert!(status == Some(2) && text.contains(why), "wanted {why:?}, got {status:?} {text}");
        assert!(!text.contains("panicked"), "{text}");
    };
    let file = tar::EntryType::Regular;
    for name in [&b"../../out"[..], b"files/../../../out"] {
        refused(&zstd(&tarred(&good, &[(header(name, 1, file), vec![1])])), "leads out of it");
    }
    refused(&zstd(&tarred(&good, &[(header(b"/etc/out", 1, file), vec![1])])), "leads out of it");
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Char,
        tar::EntryType::Block,
        tar::EntryType::Fifo,
    ] {
        let mut header = header(b"files/etc/link", 0, kind);
        header.as_gnu_mut().expect("it is one").linkname[..11].copy_from_slice(b"/etc/passwd");
        header.set_cksum();
        refused(&zstd(&tarred(&good, &[(header, Vec::new())])), "is no regular file");
    }
    refused(&zstd(&tarred(&good, &[(header(b"files/etc/more", 1, file), vec![1])])), "is not in its manifest");
    // A bomb says how large it is, or does not.
    let mut bomb = plain.clone();
    bomb.truncate(bomb.len() - 1024);
    bomb.extend(header(b"files/etc/bomb", 1 << 40, file).as_bytes());
    refused(&zstd(&bomb), "it unpacks to more than");
    let packed = zstd(&plain);
    for part in [packed.len() / 2, packed.len() - 1000] {
        refused(packed.get(..part).expect("a part"), "the bundle ends too early");
    }
    refused(plain.get(..plain.len() / 2).expect("a part"), "the bundle ends too early");
    let without: Vec<_> = good.iter().take(good.len() - 1).cloned().collect();
    refused(&zstd(&tarred(&without, &[])), "the bundle ends too early");

    let changed = |old: &str, new: &str| {
        let mut all = good.clone();
        let text = String::from_utf8(all[0].1.clone()).expect("JSON");
        assert!(text.contains(old), "{old}");
        all[0].1 = text.replacen(old, new, 1).into_bytes();
        zstd(&tarred(&all, &[]))
    };
    refused(
        &changed("sickbay/bundle/v1", "sickbay/bundle/v9"),
        "made by sickbay 1.2.3; this version reads sickbay/bundle/v1",
    );
    refused(&changed("\"path\":\"/etc/fstab\"", "\"path\":\"/etc/../../fstab\""), "is no path");
    refused(&changed("\"path\":\"/etc/fstab\"", "\"path\":\"etc/fstab\""), "is no path");
    refused(&changed("\"kind\":\"root\"", "\"kind\":\"moon\""), "which this version does not know");
    refused(&changed("{", "["), "its manifest is damaged");
    let mut other = good.clone();
    other.iter_mut().filter(|(name, _)| name == "files/etc/fstab").for_each(|(_, bytes)| bytes.push(b'#'));
    refused(&zstd(&tarred(&other, &[])), "it was changed or damaged");
}

#[test]
fn nothing_is_repaired_in_a_bundle() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("b.tar.zst");
    std::fs::write(&path, zstd::encode_all(tarred(&small(), &[]).as_slice(), 3).expect("packed")).expect("written");
    let before = std::fs::read(&path).expect("there");
    for verb in [&["fix", "--yes"][..], &["fix", "--dry-run"], &["undo", "--yes"]] {
        let (status, text) = run(verb.iter().copied(), &path);
        assert!(status == Some(2) && text.contains("is a bundle"), "{verb:?}: {text}");
    }
    let (status, text) = run(["collect", "-o", "-"], &path);
    assert!(status == Some(2) && text.contains("there is nothing to collect"), "{text}");
    assert_eq!(std::fs::read(&path).expect("there"), before);
}

/// Findings of some checks, of a report in JSON.
fn found(report: &serde_json::Value, checks: &[&str]) -> Vec<String> {
    let list = report["findings"].as_array().expect("a list");
    let wanted = list.iter().filter(|finding| checks.iter().any(|check| finding["check"] == *check));
    let mut all: Vec<String> = wanted.map(|finding| format!("{}: {}", finding["check"], finding["message"])).collect();
    all.sort();
    all
}

#[test]
fn faults_of_this_machine_are_in_its_bundle() {
    let full = TcpListener::bind("127.0.0.1:0").expect("a port");
    listen(&full, 1).expect("a short queue");
    let address = full.local_addr().expect("an address");
    let connect = || TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200));
    let waiting: Vec<TcpStream> = (0..2).filter_map(|_| connect().ok()).collect();
    let leak: Vec<OwnedFd> =
        (0..1500).map(|_| socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket")).collect();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("b.tar.zst");
    let report = |target: &[&str]| -> serde_json::Value {
        let mut command = sickbay(["check", "--format", "json"], Path::new("/"));
        if let [path] = target {
            command = sickbay(["check", "--format", "json"], Path::new(path));
        }
        serde_json::from_slice(&command.output().expect("it runs").stdout).expect("JSON")
    };
    let mut command = sickbay(["collect", "-o"], &path);
    let (status, text) = said(&command.output().expect("it runs"));
    assert_eq!(status, Some(0), "{text}");
    let bundle = report(&[path.to_str().expect("text")]);
    let host = report(&[]);
    let checks = ["listen-queue-overflow", "sockets-unaccounted"];
    let (of_host, of_bundle) = (found(&host, &checks), found(&bundle, &checks));
    let own = format!("(PID {}) does not accept: 2 connections wait on {address}", std::process::id());
    assert!(of_bundle.iter().any(|line| line.contains(&own)), "{of_bundle:#?}");
    let own_lines = |lines: &[String]| -> Vec<String> {
        lines.iter().filter(|line| line.contains(&format!("(PID {})", std::process::id()))).cloned().collect()
    };
    assert_eq!(own_lines(&of_host), own_lines(&of_bundle));
    assert_eq!(bundle["target"]["kind"], "bundle");
    // What could be told there can be told here, or does not apply.
    let unknown = |report: &serde_json::Value| -> Vec<String> {
        let list = report["outcomes"].as_array().expect("a list").iter();
        list.filter(|one| one["outcome"] == "unknown").map(|one| format!("{}: {}", one["check"], one["why"])).collect()
    };
    let (known, new) = (unknown(&host), unknown(&bundle));
    assert!(new.len() <= known.len(), "{new:#?}");
    drop((waiting, leak));
}

/// A cgroup that goes with what is in it.
struct Group(PathBuf, support::process::Guard);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.1.0);
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _ = self.1.0.wait();
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A busy process with a twenty-fifth of a processor; `None` where no group can be made.
fn throttled() -> Option<Group> {
    let name = format!("sickbay-bundle-{}", std::process::id());
    let (dir, limits) = match Path::new("/sys/fs/cgroup/cpu").is_dir() {
        true => (
            Path::new("/sys/fs/cgroup/cpu").join(name),
            vec![("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "2000")],
        ),
        false => (Path::new("/sys/fs/cgroup").join(name), vec![("cpu.max", "2000 50000")]),
    };
    std::fs::create_dir(&dir).ok()?;
    let busy = support::process::start(std::process::Command::new("sh").args(["-c", "while :; do :; done"]));
    let pid = busy.0.id().to_string();
    let group = Group(dir, busy);
    for (file, value) in limits {
        std::fs::write(group.0.join(file), value).ok()?;
    }
    std::fs::write(group.0.join("cgroup.procs"), pid).ok()?;
    Some(group)
}

#[test]
fn a_quota_that_throttles_is_seen_between_both_looks() {
    let Some(group) = throttled() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("b.tar.zst");
    let (status, text) = said(&sickbay(["collect", "-o"], &path).output().expect("it runs"));
    assert_eq!(status, Some(0), "{text}");
    let report = |arguments: &[&str], target: &Path| -> serde_json::Value {
        let mut all = vec!["check", "--format", "json", "--only", "cpu-throttled"];
        all.extend(arguments);
        serde_json::from_slice(&sickbay(all, target).output().expect("it runs").stdout).expect("JSON")
    };
    let name = group.0.file_name().expect("a name").to_string_lossy().into_owned();
    let of_group = |report: &serde_json::Value| -> bool {
        found(report, &["cpu-throttled"]).iter().any(|line| line.contains(&name))
    };
    let (host, bundle) = (report(&["--for", "1s"], Path::new("/")), report(&[], &path));
    assert!(of_group(&host), "{host:#}");
    assert!(of_group(&bundle), "{bundle:#}");
}
