use super::*;

fn source(uri: &str, suite: &str) -> Source {
    Source { uri: uri.to_owned(), suite: suite.to_owned(), signed_by: Vec::new() }
}

#[test]
fn both_forms_of_sources() {
    let list = b"# deb http://no/ x main\ndeb [ arch=amd64 signed-by=/k ] http://a/debian bookworm main # why\n\
        deb-src http://a/debian bookworm main\ndeb\tfile:/srv ./\ndeb\ndebian http://x y\n";
    let signed = Source { signed_by: vec!["/k".to_owned()], ..source("http://a/debian/", "bookworm") };
    assert_eq!(of_list(list), [signed, source("file:/srv/", "./")]);
    let text = b"Types: deb deb-src\nURIs: http://a/debian\n# between\n https://b/\nSuites: one\n two\n\n\
        Enabled: no\nTypes: deb\nURIs: http://c\nSuites: x\n\nTypes: deb-src\nURIs: http://d\nSuites: x\n";
    let all = [("http://a/debian/", "one"), ("http://a/debian/", "two"), ("https://b/", "one"), ("https://b/", "two")];
    assert_eq!(of_sources(text), all.map(|(uri, suite)| source(uri, suite)));
}

#[test]
fn names_of_lists() {
    let name = |uri, suite| Source::new(uri, suite, Vec::new()).list_prefix("amd64");
    assert_eq!(
        name("http://mirror.example/debian/", "bookworm-updates"),
        "mirror.example_debian_dists_bookworm-updates_"
    );
    assert_eq!(name("https://x/a_b~c/", "./"), "x_a%5fb%7ec_._");
    assert_eq!(name("http://x/y", "/"), "x_y_");
    assert_eq!(name("http://x/", "$(ARCH)/"), "x_amd64_");
}

#[test]
fn keys_of_sources() {
    let text = b"Types: deb\nURIs: http://a/debian\nSuites: x\nSigned-By: /usr/share/keyrings/a.gpg\n /b.asc\n\n\
        Types: deb\nURIs: http://b/\nSuites: y\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n aGFs\n bG8=\n =abcd\n -----END PGP PUBLIC KEY BLOCK-----\n";
    let sources = of_sources(text);
    assert_eq!(sources[0].signed_by, ["/usr/share/keyrings/a.gpg", "/b.asc"]);
    assert_eq!(keyring(sources[1].signed_by[0].as_bytes()), b"hallo");
    assert_eq!(keyring(b"\x99\x01binary"), b"\x99\x01binary");
}

#[test]
fn what_gpgv_says() {
    let good = "[GNUPG:] GOODSIG 1 x\n[GNUPG:] VALIDSIG 1 2\n";
    assert_eq!(verdict(good.as_bytes()), Verdict::Good);
    // A second key that is not known does not matter; a wrong signature does.
    assert_eq!(verdict(format!("[GNUPG:] NO_PUBKEY 3\n{good}").as_bytes()), Verdict::Good);
    assert_eq!(verdict(format!("{good}[GNUPG:] BADSIG 3 y\n").as_bytes()), Verdict::Bad);
    assert_eq!(verdict(b"[GNUPG:] EXPKEYSIG 1 x\n[GNUPG:] VALIDSIG 1 2\n"), Verdict::Bad);
    assert_eq!(verdict(b"gpgv: VALIDSIG\n[GNUPG:] NO_PUBKEY 3\n"), Verdict::NoKey);
    let release = format!(
        "Suite: x\nSHA256:\n {0} 7 main/binary-amd64/Packages\n {0} 8 other\n\nSHA256:\n {0} 1 second\n",
        "0".repeat(64)
    );
    assert_eq!(listed_digest(release.as_bytes(), "main/binary-amd64/Packages"), Some(Digest::Sha256([0; 32])));
    assert_eq!(listed_digest(release.as_bytes(), "second"), None);
}

#[test]
fn addresses_of_the_own_link() {
    for host in [
        "169.254.169.254",
        "169.254.1.1:80",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.16689662",
        "[fe80::1]",
        "[fe80::1%eth0]:80",
        "[::ffff:169.254.169.254]",
        "[::169.254.169.254]",
        "169.254.169.254.",
        "[x]",
    ] {
        assert!(is_link_local(host), "{host}");
    }
    for host in ["deb.debian.org", "127.0.0.1:8080", "[::1]", "169.com", "10.0.0.1", "[2001:db8::1]:80"] {
        assert!(!is_link_local(host), "{host}");
    }
}

#[test]
fn entries_of_a_list() {
    let sum = "0".repeat(64);
    let list = format!(
        "Package: a\nVersion: 1\nArchitecture: i386\n\nPackage: a\nSource: b (2)\nVersion: 1:2-3\nArchitecture: amd64\n\
         Depends: x,\n y\nFilename: pool/a.deb\nSize: 7\nSHA256: {sum}\nDescription: of\n Package: a\n\nPackage: ab\n"
    );
    let found: Vec<Entry> = entries(list.as_bytes(), "a".into(), "amd64".into()).collect();
    let [entry] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((entry.version.as_bstr(), entry.file_name.as_str()), (BStr::new("1:2-3"), "pool/a.deb"));
    assert_eq!((entry.size, entry.sha256), (Some(7), Some(Digest::Sha256([0; 32]))));
    assert_eq!(entry.source, "b");
    assert_eq!(file_name("a".into(), "1:2-3".into(), "amd64".into()), "a_2-3_amd64.deb");
    assert_eq!(pool("glibc", "libs"), "pool/main/g/glibc");
    assert_eq!(pool("libxyz", "non-free/net"), "pool/non-free/libx/libxyz");
}

#[test]
fn urls_are_of_the_network_and_plain() {
    let url = |uri| url(uri, "./pool/a b_1%3a2+c~d.deb");
    assert_eq!(url("HTTP://h:80/x%20y/").as_deref(), Some("http://h:80/x%20y/pool/a%20b_1%253a2+c~d.deb"));
    for no in [
        "file:///etc/",
        "copy:/x/",
        "ftp://h/",
        "http://u:p@h/",
        "http:///x",
        "http://-o/",
        "cdrom:[a b]/",
        "",
        "http://169.254.169.254/",
    ] {
        assert_eq!(url(no), None, "{no}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, text: String) {
        let _ = (of_list(&bytes), of_sources(&bytes), url(&text, &text), pool(&text, &text));
        let _ = source(&text, &text).list_prefix(&text);
        let _ = entries(&bytes, BStr::new(""), BStr::new("")).count();
        let _ = (keyring(&bytes), verdict(&bytes), listed_digest(&bytes, &text), is_link_local(&text));
    }

    #[test]
    fn a_url_has_only_what_a_url_may_have(uri: String, path: String) {
        if let Some(url) = url(&format!("http://{uri}"), &path) {
            let fits = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'`\\{}$".contains(&byte));
            proptest::prop_assert!(fits);
        }
    }
}
