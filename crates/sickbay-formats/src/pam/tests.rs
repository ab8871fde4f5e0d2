use super::*;

const LOGIN: &[u8] = b"# The PAM configuration file for login\n\
    auth       optional   pam_faildelay.so  delay=3000000\n\n\
    session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_selinux.so close\n\
    @include common-auth\n-session optional pam_systemd.so # logind\n\
    auth required \\\n   pam_succeed_if.so [user ingroup a\\]b] quiet\n";

#[test]
fn the_file_of_login() {
    let rules = rules(LOGIN, Layout::Service);
    assert!(rules.iter().all(|rule| rule.faults.is_empty()), "{rules:#?}");
    let names: Vec<_> = rules.iter().map(|rule| rule.module.as_ref().unwrap().text.to_string()).collect();
    assert_eq!(names, ["pam_faildelay.so", "pam_selinux.so", "common-auth", "pam_systemd.so", "pam_succeed_if.so"]);
    assert_eq!(rules[0].args, ["delay=3000000"]);
    let Control::Actions(actions) = &rules[1].control else { panic!() };
    assert_eq!(actions[code::SUCCESS], Action::Ok);
    assert_eq!(actions[code::MODULE_UNKNOWN], Action::Ignore);
    assert_eq!(actions[code::AUTH_ERR], Action::Bad);
    assert_eq!(rules[2].control, Control::IncludeAll);
    assert!(rules[3].silent && rules[3].args.is_empty());
    assert_eq!(rules[4].args, ["user ingroup a]b", "quiet"]);
    assert_eq!(rules[4].lines, 7..9);
    assert_eq!(rules[4].module.as_ref().unwrap().span, Span { line: 8, column: 4, len: 17 });
    assert_eq!(source(LOGIN, &rules[2]), b"@include common-auth");
}

#[test]
fn what_libpam_refuses() {
    let faults = |line: &str| rules(line.as_bytes(), Layout::Service).remove(0).faults;
    assert!(matches!(faults("auht required pam_unix.so").as_slice(), [Fault::Kind(word)] if word.text == "auht"));
    assert!(matches!(faults("auth requried pam_unix.so").as_slice(), [Fault::Control(word)]
        if word.span == Span { line: 1, column: 6, len: 8 }));
    assert!(matches!(faults("auth [success=okay] pam_unix.so").as_slice(), [Fault::Control(_)]));
    assert!(matches!(faults("auth [success=0] pam_unix.so").as_slice(), [Fault::Control(_)]));
    assert_eq!(faults("auth"), [Fault::NoControl]);
    assert_eq!(faults("auth required"), [Fault::NoModule]);
    assert_eq!(faults("auth required pam_unix.so\r\n"), [Fault::CarriageReturn]);
    assert_eq!(faults("\0\0\0\0"), [Fault::Nul]);
    assert!(faults("AUTH REQUIRED pam_unix.so").is_empty());
    assert!(faults("auth [default=2 success=ok] pam_unix.so").is_empty());
    assert_eq!(faults("  \r\n"), [Fault::CarriageReturn]);
    assert!(rules(b"  \n# x\r\n\t\n", Layout::Service).is_empty());
}

#[test]
fn default_fills_what_is_left() {
    let actions = pairs(b"success=1 default=ignore").unwrap();
    assert_eq!((actions[0], actions[7]), (Action::Jump(1), Action::Ignore));
    let actions = pairs(b"default=die success=ok").unwrap();
    assert_eq!((actions[0], actions[7]), (Action::Ok, Action::Die));
}

#[test]
fn the_one_file_of_old() {
    let rules = rules(b"login auth required pam_unix.so nullok\nOTHER auth required pam_deny.so", Layout::Conf);
    assert_eq!(rules[0].service.as_ref().unwrap(), "login");
    assert_eq!(rules[0].args, ["nullok"]);
    assert_eq!(rules[1].kind, Some(Kind::Auth));
}

#[test]
fn edits_touch_their_lines_only() {
    let rules = rules(LOGIN, Layout::Service);
    let text = without(LOGIN, &rules[4]);
    assert!(text.ends_with(b"#auth required \\\n#   pam_succeed_if.so [user ingroup a\\]b] quiet\n"));
    let text = with_rule(LOGIN, &rules[4], b"auth required pam_unix.so");
    assert!(text.ends_with(b"# logind\nauth required pam_unix.so\n"));
}

proptest::proptest! {
    #[test]
    fn total_and_lossless(text in "([a-z\\[\\]=# \\\\\r\n\t0@-]|auth required |\u{0}|ü){0,80}") {
        let bytes = text.as_bytes();
        for layout in [Layout::Service, Layout::Conf] {
            for rule in rules(bytes, layout) {
                let same = source(bytes, &rule);
                proptest::prop_assert_eq!(with_rule(bytes, &rule, &same), bytes);
            }
        }
    }

    #[test]
    fn never_panics(bytes: Vec<u8>) {
        let _ = rules(&bytes, Layout::Service);
    }
}
