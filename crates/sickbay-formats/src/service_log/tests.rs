use super::*;

#[test]
fn what_is_told() {
    let of = |text: &str| told(text).map(|told| (told.fault, told.subject, told.detail));
    let expect = |fault, subject: &str, detail: &str| Some((fault, subject.to_owned(), detail.to_owned()));
    assert_eq!(
        of(
            "PAM unable to dlopen(/lib/security/pam_x.so): /lib/security/pam_x.so: cannot open shared object file: No such file or directory"
        ),
        expect(Fault::PamModuleMissing, "pam_x.so", "")
    );
    assert_eq!(
        of("PAM unable to dlopen(pam_x.so): libfoo.so.3: cannot open shared object file: No such file or directory"),
        expect(Fault::PamModuleLacks, "pam_x.so", "libfoo.so.3")
    );
    assert_eq!(
        of("PAM unable to dlopen(pam_x.so): /lib/security/pam_x.so: undefined symbol: pam_get_item"),
        expect(Fault::PamModuleBroken, "pam_x.so", "undefined symbol: pam_get_item")
    );
    assert_eq!(of("PAM (su) empty module type"), expect(Fault::PamLine, "su", ""));
    assert_eq!(
        of("demo.service: Failed at step LIMITS spawning /usr/bin/demo: Operation not permitted"),
        expect(Fault::UnitLimits, "demo.service", "/usr/bin/demo: Operation not permitted")
    );
    for silent in [
        "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7 user=root",
        "PAM service(sshd) ignoring max retries; 6 > 3",
        "Failed password for root from 192.0.2.7 port 4 ssh2",
        "error: PAM: Authentication failure for root from 192.0.2.7",
    ] {
        assert_eq!(of(silent), None, "{silent}");
    }
}

#[test]
fn wrapped_and_repeated() {
    let mut scanner = Scanner::default();
    scanner.block(
        b"May  2 17:55:56 gw su[9]: x\nMay  2 17:55:56 gw su[9]: PAM (su) empty\nmodule type\nMay  2 17:55:57 gw su[9]: PAM (su) empty module type\n",
        0,
    );
    let [seen] = scanner.seen.as_slice() else { panic!("{:?}", scanner.seen) };
    assert_eq!((seen.told.fault, seen.count, seen.line), (Fault::PamLine, 2, 2));
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, text in "PAM [ -~]{0,60}") {
        let mut scanner = Scanner::default();
        scanner.block(&bytes, 0);
        let _ = told(&text);
    }
}
