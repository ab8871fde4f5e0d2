use super::*;

fn faults(text: &str) -> Vec<usize> {
    items(text.as_bytes()).into_iter().filter(|item| item.what == What::Fault).map(|item| item.line).collect()
}

fn grants(text: &str) -> Vec<(String, String, Option<String>, bool)> {
    let list = |members: &[Member]| {
        let word = |member: &Member| format!("{}{}", if member.negated { "!" } else { "" }, member.name);
        members.iter().map(word).collect::<Vec<_>>().join(",")
    };
    items(text.as_bytes())
        .into_iter()
        .filter_map(|item| match item.what {
            What::Rule { users, grants } => Some((users, grants)),
            _ => None,
        })
        .flat_map(|(users, grants)| {
            grants.into_iter().map(move |grant| {
                (list(&users), list(&[grant.command]), grant.runas.as_deref().map(list), grant.nopasswd)
            })
        })
        .collect()
}

#[test]
fn rules() {
    let row = |user: &str, command: &str, runas: Option<&str>, free| {
        (user.to_owned(), command.to_owned(), runas.map(str::to_owned), free)
    };
    assert_eq!(grants("root ALL=(ALL:ALL) ALL"), [row("root", "ALL", Some("ALL"), false)]);
    assert_eq!(grants("#1000 ALL=ALL # why"), [row("#1000", "ALL", None, false)]);
    assert_eq!(grants(r"%domain\ admins ALL=(root) NOPASSWD: ALL"), [row("%domain admins", "ALL", Some("root"), true)]);
    assert_eq!(grants("\"%domain admins\",%#27 ALL=ALL"), [row("%domain admins,%#27", "ALL", None, false)]);
    assert_eq!(
        grants("a , !b \\\n  ALL = (www , !root) NOPASSWD:NOEXEC: /bin/ls -l *, PASSWD : /bin/x \\, y : h2 = X"),
        [
            row("a,!b", "/bin/ls", Some("www,!root"), true),
            row("a,!b", "/bin/x", Some("www,!root"), false),
            row("a,!b", "X", None, false)
        ]
    );
    assert_eq!(grants("a ALL=(:adm) ALL, () ALL").len(), 2);
    assert_eq!(
        grants("a ALL=TIMEOUT=30 CWD=/tmp ALL, !/bin/su"),
        [row("a", "ALL", None, false), row("a", "!/bin/su", None, false)]
    );
}

#[test]
fn faults_are_lines_that_visudo_refuses() {
    let bad = [
        "alice ALL=(ALL) NOPASSWD ALL",
        "alice ALL",
        "alice ALL=(ALL) reboot",
        "alice ALL=(ALL ALL",
        "alice",
        "alice ALL=(ALL) NOPASWD: ALL",
        "User_Alias admins = alice",
        "Defaults env_keep =",
        "alice ALL=(ALL) ALL,",
        "alice ALL=(ALL) \"ALL",
        "please see the ticket",
    ];
    for line in bad {
        assert_eq!(faults(line), [1], "{line}");
    }
    let good = [
        "Defaults\tenv_reset",
        "Defaults secure_path=\"/usr/sbin:/usr/bin\", !lecture",
        "Defaults env_keep += \"A B\"",
        "Defaults:alice targetpw",
        "Defaults!/usr/bin/su log_output",
        "Defaults@web timestamp_timeout=-1",
        "User_Alias ADMINS = alice, bob : OPS = carol",
        "Cmnd_Alias X = /bin/a b, /sbin/c",
        "@includedir /etc/sudoers.d",
        "#includedir /etc/sudoers.d",
        "# a comment",
        "",
        "alice ALL=(ALL:ALL) NOPASSWD:ALL",
    ];
    for line in good {
        assert!(faults(line).is_empty(), "{line}");
    }
}

#[test]
fn names_of_files() {
    assert!(is_read(b"90-cloud-init-users"));
    assert!(!is_read(b"x.conf") && !is_read(b"x~") && !is_read(b".x"));
}

proptest::proptest! {
    #[test]
    fn anything_is_read_to_its_end(text in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        items(&text);
    }

    #[test]
    fn what_looks_like_sudoers_is_read_to_its_end(text in "[aA!%#:=,()\\\\\" \n\tALL/NOPASSWD-]{0,80}") {
        items(text.as_bytes());
    }
}

/// What `visudo -c` of sudo 1.9.13 says of each line (`tests/sudoers/truth.txt`).
#[test]
fn takes_what_visudo_takes() {
    let mut wrong = Vec::new();
    for line in include_str!("../../tests/sudoers/truth.txt").lines() {
        let Some((verdict, text)) = line.split_once('\t') else { continue };
        if faults(text).is_empty() != (verdict == "yes") {
            wrong.push(line);
        }
    }
    assert_eq!(wrong, [""; 0]);
}
