use super::matching::{Connection, Matched, address_in, in_list};
use super::tree::{Source, Tree};
use super::*;
use crate::wildcard::fits as matches;

fn reader(major: u8, minor: u8) -> Reader<'static> {
    Reader { version: Some(Version(major, minor)), program: None }
}

fn faults(text: &str, reader: &Reader<'_>) -> Vec<(usize, Fault)> {
    let tree = Tree { sources: vec![Source { directives: directives(text.as_bytes(), reader), ..Source::default() }] };
    tree.faults(reader).into_iter().map(|(_, directive, fault)| (directive.line, fault)).collect()
}

#[test]
fn words_are_cut_as_sshd_cuts_them() {
    let words = |text: &str, reader: &Reader<'_>| -> Vec<String> {
        directives(text.as_bytes(), reader)
            .iter()
            .flat_map(|d| std::iter::once(&d.keyword).chain(&d.args).map(|word| word.text.to_string()))
            .collect()
    };
    let new = reader(9, 2);
    assert_eq!(words("  Port=22\r\n", &new), ["Port", "22"]);
    assert_eq!(words("Port = 22", &new), ["Port", "22"]);
    assert_eq!(words("\"Port\" \"22\" # why", &new), ["Port", "22"]);
    assert_eq!(words("AllowUsers 'a b'c \\\"d e\\ f", &new), ["AllowUsers", "a bc", "\"d", "e f"]);
    assert_eq!(words("AllowUsers a # b", &reader(7, 4)), ["AllowUsers", "a", "#", "b"]);
    assert_eq!(words("# Port 22\n\n   #x\n", &new), Vec::<String>::new());
    let all = directives(b"Port 1\n Match user=root Address 10.0.0.0/8", &new);
    assert_eq!(all[1].args[1].span, Span { line: 2, column: 18, len: 7 });
}

#[test]
fn faults_are_those_of_sshd() {
    let new = reader(9, 2);
    assert_eq!(faults("Prot 22\n", &new), [(1, Fault::Keyword)]);
    assert_eq!(
        faults("PermitRootLogin\nPermitRootLogin yess\nPermitRootLogin yes no", &new),
        [(1, Fault::Missing), (2, Fault::Value(0)), (3, Fault::TooMany(1))]
    );
    assert_eq!(faults("Match user root\nPort 22\nX11Forwarding no\nMatch all\nPort 22", &new), [(2, Fault::InMatch)]);
    assert_eq!(faults("Banner \"a\n", &new), [(1, Fault::Quotes)]);
    assert_eq!(faults("Port 22 # ssh\n", &new), []);
    assert_eq!(faults("Port 22 # ssh\n", &reader(7, 4)), [(1, Fault::TooMany(1))]);
    assert_eq!(faults("Include x\nRSAAuthentication maybe", &reader(7, 4)), [(1, Fault::Keyword)]);
    assert_eq!(faults("PermitRootLogin prohibit-password", &reader(5, 3)), [(1, Fault::Value(0))]);
    assert_eq!(
        faults("MaxStartups 10:30:5\nLoginGraceTime 2x\nListenAddress", &new),
        [(1, Fault::Value(0)), (2, Fault::Value(0)), (3, Fault::Missing)]
    );
    assert_eq!(
        faults("Match adress 1.2.3.4\nMatch address 1.2.3.4/8\nMatch", &new),
        [(1, Fault::Value(0)), (2, Fault::Value(1)), (3, Fault::Missing)]
    );
    // A release that is not known has every keyword.
    assert_eq!(faults("Include x\nUsePrivilegeSeparation yes\nSshdAuthPath /x", &Reader::default()), []);
}

#[test]
fn a_program_tells_what_it_knows() {
    let program = b"\0permitrootlogin\0gssapikeyexchange\0mycompanykeyword\0aes128-ctr\0user\0OpenSSH_7.0*,OpenSSH_9.2p1 Debian-2\0";
    let reader = Reader::of(program);
    assert_eq!(reader.version, Some(Version(9, 2)));
    let text = "GSSAPIKeyExchange no\nMyCompanyKeyword 1\nDebianBanner no\nUser x\nCiphers aes128-ctr,arcfour\n";
    assert_eq!(faults(text, &reader), [(3, Fault::Keyword), (4, Fault::Keyword), (5, Fault::Value(0))]);
    assert_eq!(Reader::of(b"\x7fELF").program, None);
    assert_eq!(version_of_package(b"1:9.2p1-2+deb12u10"), Some(Version(9, 2)));
    assert_eq!(version_of_package(b"7.4p1-23.el7_9"), Some(Version(7, 4)));
}

#[test]
fn the_first_line_counts_and_a_block_overrides_it() {
    let new = reader(9, 2);
    let main = "PermitRootLogin no\nPermitRootLogin yes\nAllowUsers a\nAllowUsers b\nInclude x\nMatch user root\nInclude y\nAllowUsers c\n";
    let mut first = Source { directives: directives(main.as_bytes(), &new), ..Source::default() };
    first.includes.insert(5, vec![1]);
    first.includes.insert(7, vec![2]);
    let source = |text: &str| Source { directives: directives(text.as_bytes(), &new), ..Source::default() };
    let tree = Tree {
        sources: vec![
            first,
            source("Match address 10.0.0.0/8\nPermitRootLogin prohibit-password\n"),
            source("Match group x\nMaxSessions 1\nMatch all\nMaxSessions 2\n"),
        ],
    };
    let root = Connection { user: "root".into(), ..Connection::default() };
    let effective = tree.effective(&new, &root);
    assert_eq!(effective.value("PermitRootLogin", ""), "no");
    assert_eq!(effective.words("AllowUsers"), ["c"]);
    assert_eq!(effective.value("MaxSessions", ""), "2");
    let near = Connection { address: Some("10.1.2.3".parse().unwrap()), ..root.clone() };
    assert_eq!(tree.effective(&new, &near).value("PermitRootLogin", ""), "prohibit-password");
    let origins = tree.origins(&new);
    assert_eq!(origins.iter().map(|(source, d)| (*source, d.line)).collect::<Vec<_>>(), [(1, 1)]);
    let assumed = Connection { assumed: Some((1, 1)), ..root };
    assert_eq!(tree.effective(&new, &assumed).value("PermitRootLogin", ""), "prohibit-password");
    let other = Connection { user: "b".into(), ..Connection::default() };
    assert_eq!(tree.effective(&new, &other).words("AllowUsers"), ["a", "b"]);
}

#[test]
fn lists_are_matched() {
    assert!(matches(b"root", b"r*t") && matches(b"", b"**") && !matches(b"root", b"r?t") && matches(b"aab", b"*ab"));
    assert_eq!(in_list(b"root", b"a,!root,*"), Matched::Refused);
    let address = |list: &str| address_in("10.1.2.3".parse().ok(), list.as_bytes());
    assert_eq!(address("10.0.0.0/8"), Matched::Yes);
    assert_eq!(address("!10.1.2.3,10.0.0.0/8"), Matched::Refused);
    assert_eq!(address("10.1.*,::1"), Matched::Yes);
    assert_eq!(address("0.0.0.0/0"), Matched::Yes);
    assert_eq!(address("10.1.2.3/8"), Matched::Error);
    assert_eq!(address("fe80::/10,::/0"), Matched::No);
}

proptest::proptest! {
    #[test]
    fn nothing_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), old in proptest::bool::ANY) {
        let reader = if old { reader(7, 4) } else { reader(9, 2) };
        let tree = Tree { sources: vec![Source { directives: directives(&text, &reader), ..Source::default() }] };
        let _ = tree.faults(&reader);
        let _ = tree.effective(&reader, &Connection::default());
    }

    #[test]
    fn patterns_match_as_by_definition(text in "[ab]{0,8}", pattern in "[ab*?]{0,8}") {
        fn slow(text: &[u8], pattern: &[u8]) -> bool {
            match (text, pattern) {
                (_, [b'*', rest @ ..]) => (0..=text.len()).any(|at| slow(&text[at..], rest)),
                ([a, text @ ..], [b, rest @ ..]) => (*b == b'?' || a == b) && slow(text, rest),
                (text, []) => text.is_empty(),
                ([], _) => false,
            }
        }
        proptest::prop_assert_eq!(matches(text.as_bytes(), pattern.as_bytes()), slow(text.as_bytes(), pattern.as_bytes()));
    }
}
