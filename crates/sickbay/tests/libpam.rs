//! Stacks of PAM, judged by sickbay and by the libpam of this machine (through pamtester, in a mount namespace of its own with
//! another `/etc/pam.d`). Both must agree on the right password and on a wrong one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use sickbay::facts::Facts;
use sickbay::facts::login::pam::judge::{Attempt, Judgement, User, judge};
use sickbay::facts::login::pam::{Taking, read};
use sickbay::model::source::SourceFile;
use sickbay_target::{Access, Target};

/// The hash of "sickbay".
const HASH: &str =
    "$6$gEQGevFWIWqVVTqg$saF5BggWNyDu0.yiL8nT05tw6k3qNWHPzrnV7pFc/R78v1CPwmfwj9w0xrgvtVBX9yqrHVaUKrJ2JOBZazZ2A1";

/// A folder of PAM files: name and text.
type Case = BTreeMap<String, String>;

/// What libpam says to each case with the right and with a wrong password.
fn libpam(cases: &[Case]) -> Vec<(bool, bool)> {
    let dir = tempfile::tempdir().expect("a directory");
    for (number, case) in cases.iter().enumerate() {
        let folder = dir.path().join(number.to_string());
        std::fs::create_dir(&folder).expect("made");
        for (name, text) in case {
            std::fs::write(folder.join(name), text).expect("written");
        }
    }
    std::fs::write(dir.path().join("shadow"), format!("root:{HASH}:19800:0:99999:7:::\n")).expect("written");
    let script = r#"cd "$1"; mount --bind shadow /etc/shadow; i=0
while [ $i -lt "$2" ]; do
  mount --bind $i /etc/pam.d
  for password in sickbay wrong; do
    printf '%s\n' $password | pamtester -I tty=/dev/tty1 login root authenticate acct_mgmt open_session >/dev/null 2>&1
    echo $?
  done
  umount /etc/pam.d; i=$((i + 1))
done"#;
    let out = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", &format!("set +e\n{script}"), "sh"])
        .arg(dir.path())
        .arg(cases.len().to_string())
        .output()
        .expect("unshare is everywhere");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let codes: Vec<bool> = text.lines().map(|line| line == "0").collect();
    assert_eq!(codes.len(), cases.len() * 2, "{text}{}", String::from_utf8_lossy(&out.stderr));
    codes.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

/// What sickbay says; `None` where it cannot tell.
fn ours(facts: &Facts, case: &Case) -> (Option<bool>, Option<bool>) {
    let source = |path: &Path| {
        let text = path.strip_prefix("/etc/pam.d").ok().and_then(|name| case.get(name.to_str()?));
        let file = |text: &String| Arc::new(SourceFile { path: path.to_owned(), bytes: text.clone().into_bytes() });
        Ok(text.map(file))
    };
    let debian = Path::new("/etc/debian_version").exists();
    let service = read(&source, debian, "login", None, Taking::Strictly).expect("all is readable");
    let root = User::named(facts, "root").expect("there is a root");
    let ask = |right| match judge(facts, &service, Attempt { right, real_modules: true, ..Attempt::right(&root) }) {
        Ok(Judgement::LetsIn) => Some(true),
        Ok(Judgement::Refuses(_)) => Some(false),
        _ => None,
    };
    (ask(true), ask(false))
}

fn compare(cases: &[Case]) {
    let target =
        Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]).expect("the root of this machine");
    let facts = Facts::new(Arc::new(target), None);
    let mut differences = Vec::new();
    for (case, (right, wrong)) in cases.iter().zip(libpam(cases)) {
        let ours = ours(&facts, case);
        if ours != (Some(right), Some(wrong)) {
            differences.push(format!("sickbay {ours:?}, libpam {:?}: {case:#?}", (right, wrong)));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Session and account that let in, around rules of `auth`.
fn login(auth: &str) -> Case {
    files(&[("login", &format!("{auth}\naccount required pam_permit.so\nsession required pam_permit.so\n"))])
}

fn files(list: &[(&str, &str)]) -> Case {
    list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn stacks_that_people_write() {
    let dir = tempfile::tempdir().expect("a directory");
    let list = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let unix = "auth required pam_unix.so nodelay";
    let block =
        "auth [success=1 default=ignore] pam_unix.so nodelay\nauth requisite pam_deny.so\nauth required pam_permit.so";
    let mut cases = vec![
        login(unix),
        login(block),
        login(&format!("auth required pam_succeed_if.so user != root quiet\n{unix}")),
        login(&format!("auth required pam_succeed_if.so uid >= 1000 quiet\n{unix}")),
        login(&format!("auth required pam_succeed_if.so uid eq 0 user in a:root:b\n{unix}")),
        login(&format!("auth required pam_succeed_if.so user = root\r\n{unix}")),
        login(&format!("auth required pam_succeed_if.so user ingroup root\n{unix}")),
        login(&format!("auth required pam_succeed_if.so shell =~ /bin/*sh\n{unix}")),
        login(&format!("auth required pam_succeed_if.so user ne root\n{unix}")),
        login(&format!("auth sufficient pam_permit.so\n{unix}")),
        login(&format!("auth sufficient pam_rootok.so\n{unix}")),
        login(&format!("auth required pam_deny.so\n{unix}")),
        login(&format!(
            "auth optional pam_faildelay.so delay=1\nauth requisite pam_nologin.so\nauth optional pam_group.so\n{unix}"
        )),
        login("auth optional pam_faildelay.so delay=1\nauth requisite pam_nologin.so\nauth optional pam_group.so"),
        login("auth required pam_env.so"),
        login(&format!("auth required pam_env.so\n{unix}")),
        login(&format!("auth requried pam_env.so\n{unix}")),
        login(&format!("auht optional pam_env.so\n{unix}")),
        login(&format!("auht required pam_env.so\n{unix}")),
        login(&format!("auth required\n{unix}")),
        login(&format!("auth optional\n{unix}")),
        login(&format!("auth\n{unix}")),
        login(&format!("garbage\n{unix}")),
        login(&format!("\r\n{unix}")),
        login(&format!("# a comment\r\n{unix}")),
        login(&format!("auth [success=okay] pam_permit.so\n{unix}")),
        login(&format!("auth [] pam_permit.so\n{unix}")),
        login(&format!("auth [default=ignore] pam_deny.so\n{unix}")),
        login("auth required \\\n  pam_unix.so nodelay # x\n-auth optional pam_none.so"),
        login(&format!("-auth required pam_none.so\n{unix}")),
        login(&format!("auth optional pam_none.so\n{unix}")),
        login(&format!("auth [module_unknown=ignore default=bad] pam_none.so\n{unix}")),
        login(&format!("auth required pam_limits.so\n{unix}")),
        login("auth sufficient pam_unix.so nodelay\nauth required pam_deny.so"),
        login(&format!("auth required pam_localuser.so\nauth required pam_usertype.so issystem\n{unix}")),
        login(&format!("auth required pam_usertype.so isregular\n{unix}")),
        login(&format!("auth required pam_shells.so\n{unix}")),
        login("@include nothing"),
        login(&format!("auth include nothing\n{unix}")),
        login(&format!("auth substack nothing\n{unix}")),
        login(&format!("password include nothing\n{unix}")),
        files(&[("login", unix)]),
        files(&[("login", unix), ("other", "account required pam_permit.so\nsession required pam_permit.so")]),
        files(&[
            ("login", ""),
            ("other", &format!("{unix}\naccount required pam_permit.so\nsession required pam_permit.so")),
        ]),
        files(&[("other", &format!("{unix}\naccount required pam_permit.so\nsession required pam_permit.so"))]),
        files(&[("other", "auth required pam_deny.so")]),
        files(&[("su", unix)]),
        files(&[("login", &format!("{unix}\naccount required pam_permit.so\nsession required pam_deny.so"))]),
        files(&[("login", &format!("{unix}\naccount required pam_deny.so\nsession required pam_permit.so"))]),
        files(&[("login", &format!("{unix}\naccount required pam_unix.so\nsession optional pam_motd.so"))]),
        files(&[
            ("login", &format!("{unix}\naccount required pam_permit.so\nsession required pam_permit.so")),
            ("other", "@include nothing"),
        ]),
        files(&[
            ("login", "auth substack sub\nauth required pam_deny.so\naccount include sub\nsession include sub"),
            (
                "sub",
                "auth sufficient pam_unix.so nodelay\nauth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so",
            ),
        ]),
        files(&[("login", "auth include login\naccount required pam_permit.so\nsession required pam_permit.so")]),
        files(&[
            ("login", &format!("@include all\n{unix}")),
            ("all", "account required pam_permit.so\nsession required pam_permit.so\nauth required pam_env.so"),
        ]),
        files(&[("login", &format!("@include all\n{unix}")), ("all", "")]),
    ];
    for (name, text) in [
        ("all", "-:ALL:ALL\n"),
        ("root", "-:root:ALL\n"),
        ("local", "-:root:ALL EXCEPT LOCAL\n"),
        ("others", "-:ALL EXCEPT root:ALL\n"),
        ("first", "+:root:LOCAL\n-:ALL:ALL\n"),
        ("group", "-:(root):ALL\n"),
        ("uid", "# nothing\n\n-:nobody:ALL\n"),
        ("cut", "-:root:ALL"),
        ("bad", "deny root\n-:nobody:ALL\n"),
    ] {
        let path = list(name, text).display().to_string();
        cases.push(login(&format!("auth required pam_access.so accessfile={path}\n{unix}")));
    }
    for (options, text) in [
        ("item=user sense=deny", "daemon\nroot\n"),
        ("item=user sense=deny", "daemon\n"),
        ("item=user sense=allow", "daemon\n"),
        ("item=user sense=allow", "root\n"),
        ("item=user sense=allow onerr=succeed", "root\r\n"),
        ("item=group sense=allow", "root\n"),
        ("item=group sense=deny", "wheel\n"),
        ("item=shell sense=allow", "/bin/bash\n"),
        ("item=shell sense=deny apply=daemon", "/bin/bash\n"),
        ("sense=deny", "root\n"),
    ] {
        let path = list(&format!("list-{}", cases.len()), text).display().to_string();
        cases.push(login(&format!("auth required pam_listfile.so {options} file={path}\n{unix}")));
    }
    cases.push(login(&format!("auth required pam_listfile.so item=user sense=deny file=/nothing\n{unix}")));
    cases.push(login(&format!(
        "auth required pam_listfile.so item=user sense=allow onerr=succeed file=/nothing\n{unix}"
    )));
    // Five failures a moment ago, and five an hour ago.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    for (age, options) in
        [(5, "deny=3 even_deny_root"), (3600, "deny=3 even_deny_root"), (5, "deny=3"), (5, "deny=9 even_deny_root")]
    {
        let folder = dir.path().join(format!("tally-{}", cases.len()));
        std::fs::create_dir(&folder).expect("made");
        let mut record = [0u8; 64];
        record[54] = 1;
        record[56..].copy_from_slice(&(now - age).to_le_bytes());
        std::fs::write(folder.join("root"), record.repeat(5)).expect("written");
        let dir = folder.display();
        cases.push(login(&format!("auth required pam_faillock.so preauth {options} dir={dir}\n{unix}")));
    }
    compare(&cases);
}

/// Stacks of every kind of control around modules that answer what they are told to.
#[test]
fn stacks_of_chance() {
    const CONTROLS: [&str; 13] = [
        "required",
        "requisite",
        "sufficient",
        "optional",
        "[success=1 default=ignore]",
        "[success=2 default=bad]",
        "[default=1]",
        "[success=ok ignore=ignore default=die]",
        "[success=done default=ignore]",
        "[auth_err=reset default=ok]",
        "[default=reset]",
        "[success=3 auth_err=ok default=bad]",
        "[ignore=ok success=ok default=ignore]",
    ];
    const ANSWERS: [&str; 6] = ["success", "auth_err", "ignore", "user_unknown", "new_authtok_reqd", "module_unknown"];
    // A generator of Lehmer's: the same stacks every time.
    let mut seed: u64 = 20_240_229;
    let mut chance = |below: usize| {
        seed = seed * 48_271 % 2_147_483_647;
        usize::try_from(seed).unwrap_or_default() % below
    };
    let mut cases = Vec::new();
    for _ in 0..300 {
        let mut rules = |length: usize, may_include: bool| {
            let mut text = String::new();
            for _ in 0..length {
                match chance(8) {
                    0 if may_include => text.push_str("auth substack one\n"),
                    1 if may_include => text.push_str("auth include two\n"),
                    _ => {
                        let (control, answer) = (CONTROLS[chance(CONTROLS.len())], ANSWERS[chance(ANSWERS.len())]);
                        text.push_str(&format!("auth {control} pam_debug.so auth={answer}\n"));
                    }
                }
            }
            text
        };
        let mut case = login(&rules(5, true));
        case.insert("one".to_owned(), rules(3, false));
        case.insert("two".to_owned(), rules(2, false));
        cases.push(case);
    }
    compare(&cases);
}
