//! Package databases and package files that the real rpm(8) and dpkg-deb(1) write. What is not installed is left out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use sickbay_formats::archive::{self, Body};
use sickbay_formats::rpm::flag;
use sickbay_formats::rpmdb::{self, Backend, Lost};

/// Runs a program; `None` when it is not installed.
fn run(command: &mut Command) -> Option<String> {
    match command.env("LC_ALL", "C").output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{command:?}: {error}"),
        Ok(output) => {
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
    }
}

const SPEC: &str = "\
Name: NAME
Version: 1.2
Release: 3
Epoch: 4
Summary: a test
License: none
BuildArch: noarch
%description
A test.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/usr/share/doc/NAME
head -c 9000 /dev/zero > %{buildroot}/usr/bin/NAME-tool
ln %{buildroot}/usr/bin/NAME-tool %{buildroot}/usr/bin/NAME-second
ln -s NAME-tool %{buildroot}/usr/bin/NAME-link
echo a=b > %{buildroot}/etc/NAME.conf
echo text > %{buildroot}/usr/share/doc/NAME/README
%files
%attr(4755,root,root) /usr/bin/NAME-tool
%attr(4755,root,root) /usr/bin/NAME-second
/usr/bin/NAME-link
%config(noreplace) %attr(0640,root,daemon) /etc/NAME.conf
%doc /usr/share/doc/NAME/README
%ghost /var/log/NAME.log
";

fn build_rpm(dir: &Path, name: &str, payload: &str) -> Option<PathBuf> {
    let spec = dir.join(format!("{name}.spec"));
    let ghost = format!("mkdir -p %{{buildroot}}/var/log; touch %{{buildroot}}/var/log/{name}.log\n%files");
    fs::write(&spec, SPEC.replace("%files", &ghost).replace("NAME", name)).expect("the spec");
    let top = format!("_topdir {}", dir.join("top").display());
    let payload = format!("_binary_payload {payload}");
    run(Command::new("rpmbuild").args(["--define", &top, "--define", &payload, "-bb"]).arg(&spec))?;
    Some(dir.join(format!("top/RPMS/noarch/{name}-1.2-3.noarch.rpm")))
}

#[test]
fn databases_that_rpm_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(files) = ["first", "second", "third"]
        .map(|name| build_rpm(dir.path(), name, "w6.gzdio"))
        .into_iter()
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    // Not every build of rpm still writes its older kinds.
    let kinds = [(Backend::Sqlite, "sqlite"), (Backend::Ndb, "ndb"), (Backend::Bdb, "bdb")];
    let written = |name: &str| {
        let define = format!("_db_backend {name}");
        let path = dir.path().join(format!("try-{name}"));
        let mut command = Command::new("rpm");
        command.arg("--dbpath").arg(&path).args(["--define", &define, "--initdb"]);
        command.output().is_ok_and(|output| output.status.success() && output.stderr.is_empty())
    };
    let kinds: Vec<_> = kinds.into_iter().filter(|(_, name)| written(name)).collect();
    assert!(!kinds.is_empty());
    for (backend, name) in kinds {
        let root = dir.path().join(name);
        fs::create_dir(&root).expect("a root");
        let define = format!("_db_backend {name}");
        let rpm = |arguments: &[&str]| {
            let mut command = Command::new("rpm");
            command.arg("--root").arg(&root).args(["--dbpath", "/var/lib/rpm", "--define", &define]).args(arguments);
            run(&mut command).expect("rpm comes with rpmbuild")
        };
        let mut install = vec!["-i", "--justdb", "--nodeps"];
        install.extend(files.iter().map(|file| file.to_str().expect("text")));
        rpm(&install);
        rpm(&["-e", "--justdb", "--nodeps", "second"]);
        let file = fs::read(root.join("var/lib/rpm").join(backend.file())).expect("the database");
        let database = rpmdb::read(backend, &file, None);
        assert_eq!(database.lost, [], "{name}");
        let mut seen: Vec<String> =
            database.packages.iter().map(|p| format!("{}-{}.{}", p.name, p.version, p.architecture)).collect();
        seen.sort();
        let all = rpm(&["-qa", "--qf", "%{name}-%{epoch}:%{version}-%{release}.%{arch}\\n"]);
        let mut wanted: Vec<&str> = all.lines().collect();
        wanted.sort();
        assert_eq!(seen, wanted, "{name}");

        let dump = rpm(&[
            "-q",
            "--qf",
            "[%{filenames} %{filemodes:octal} %{filesizes} %{fileflags} %{fileusername}:%{filegroupname} %{filelinktos}\\n]",
            "third",
        ]);
        let package = database.packages.iter().find(|package| package.name == "third").expect("third");
        let seen: String = package
            .files
            .iter()
            .map(|file| {
                let (size, link) = (file.size.expect("a size"), &file.link);
                format!("{} {:o} {size} {} {}:{} {link}\n", file.path, file.mode, file.flags, file.user, file.group)
            })
            .collect();
        assert_eq!(seen, dump, "{name}");
        let tool = package.files.iter().find(|file| file.path == "/usr/bin/third-tool").expect("the tool");
        assert!(tool.digest.expect("a digest").fits(&[0; 9000]));
        assert!(package.files.iter().any(|file| file.flags & flag::GHOST != 0));

        // What was removed does not come back from pages that are free, whatever else is lost.
        let mut damaged = file.clone();
        damaged[..16].fill(0);
        let left = rpmdb::read(backend, &damaged, None);
        let mut names: Vec<String> = left.packages.iter().map(|package| package.name.to_string()).collect();
        names.sort();
        names.retain(|name| name != "second");
        assert_eq!(names, ["first", "third"], "{name}: {:?}", left.lost);
        // Whatever page is lost, the rest is read, and what is not there is not made up.
        for page in 0..file.len() / 4096 {
            let mut damaged = file.clone();
            damaged[page * 4096..(page + 1) * 4096].fill(0xff);
            let left = rpmdb::read(backend, &damaged, None);
            let whole = left.packages.len() == 2 && left.lost.is_empty();
            assert!(whole || !left.lost.is_empty(), "{name}: page {page}");
            assert!(
                left.packages
                    .iter()
                    .all(|package| ["first", "second", "third"].contains(&package.name.to_string().as_str()))
            );
        }
        for end in (0..file.len()).step_by(file.len() / 50) {
            let cut = rpmdb::read(backend, &file[..end], None);
            assert!(!cut.lost.is_empty(), "{name} cut at {end}");
        }
    }
}

#[test]
fn files_out_of_an_rpm() {
    let dir = tempfile::tempdir().expect("a directory");
    for payload in ["w6.gzdio", "w6.xzdio", "w6.lzdio", "w6.bzdio", "w3.zstdio"] {
        let Some(file) = build_rpm(dir.path(), "tools", payload) else { return };
        let file = fs::read(file).expect("the package");
        let identity = archive::identity(&file).expect("a package");
        assert_eq!((identity.name.to_string(), identity.version.to_string()), ("tools".into(), "4:1.2-3".into()));
        let members = archive::extract(&file, |path| path.ends_with(b"-tool") || path.ends_with(b"-second"));
        let names: Vec<String> = members.iter().map(|member| member.path.to_string()).collect();
        assert_eq!(names.len(), 2, "{payload}: {names:?}");
        for member in &members {
            assert_eq!((member.mode, member.user.to_string()), (0o4755, "root".to_owned()));
            assert!(member.body == Body::File(vec![0; 9000]), "{payload}: {}", member.path);
        }
        let link = archive::extract(&file, |path| path == b"/usr/bin/tools-link");
        assert_eq!(link[0].body, Body::Link("tools-tool".into()), "{payload}");
        for end in (0..file.len()).step_by(97) {
            let _ = archive::extract(&file[..end], |_| true);
        }
    }
}

#[test]
fn files_out_of_a_deb() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = dir.path().join("tree");
    let long = format!("usr/share/{}/{}", "directory".repeat(12), "name".repeat(30));
    for name in ["DEBIAN", "usr/bin", &format!("usr/share/{}", "directory".repeat(12))] {
        fs::create_dir_all(tree.join(name)).expect("a directory");
    }
    fs::write(
        tree.join("DEBIAN/control"),
        "Package: tools\nVersion: 1:2.0-3\nArchitecture: all\nMaintainer: nobody\nDescription: test\n",
    )
    .expect("control");
    fs::write(tree.join("usr/bin/tool"), [7; 9000]).expect("the tool");
    fs::set_permissions(tree.join("usr/bin/tool"), fs::Permissions::from_mode(0o4755)).expect("the mode");
    fs::hard_link(tree.join("usr/bin/tool"), tree.join("usr/bin/second")).expect("a second name");
    symlink("tool", tree.join("usr/bin/link")).expect("a link");
    fs::write(tree.join(&long), "text").expect("a long name");
    for compression in ["gzip", "xz", "zstd", "none"] {
        let file = dir.path().join(format!("{compression}.deb"));
        let compress = format!("-Z{compression}");
        let built = run(Command::new("dpkg-deb").args(["--root-owner-group", &compress, "-b"]).arg(&tree).arg(&file));
        if built.is_none() {
            return;
        }
        let file = fs::read(file).expect("the package");
        let identity = archive::identity(&file).expect("a package");
        let all = [identity.name, identity.version, identity.architecture].map(|text| text.to_string());
        assert_eq!(all, ["tools", "1:2.0-3", "all"], "{compression}");
        for name in ["/usr/bin/tool", "/usr/bin/second"] {
            let members = archive::extract(&file, |path| path == name.as_bytes());
            assert_eq!(members.len(), 1, "{compression}: {name}");
            assert!(members[0].body == Body::File(vec![7; 9000]), "{compression}: {name}");
            assert_eq!((members[0].mode, members[0].user.to_string()), (0o4755, "root".to_owned()));
        }
        let others = archive::extract(&file, |path| path.ends_with(b"/link") || path.ends_with(long.as_bytes()));
        assert_eq!(others.len(), 2, "{compression}");
    }
}

#[test]
fn what_is_no_package() {
    assert_eq!(archive::identity(b"!<arch>\ndebian-binary"), None);
    assert!(archive::extract(b"\xed\xab\xee\xdb", |_| true).is_empty());
    assert_eq!(rpmdb::read(Backend::Ndb, &[0; 4096], None).lost, [Lost::Container]);
}
