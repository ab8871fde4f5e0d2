use super::*;

fn error(text: &str) -> Option<(usize, usize)> {
    parse(text.as_bytes()).error.map(|error| (error.line, error.unread_from))
}

#[test]
fn structures_are_read() {
    let script =
        parse(b"A=1 B=\"x y\"$C cmd 'a b' >/dev/null <in # c\nif [ -f x ]; then . x; elif y; then z; else q; fi\n");
    assert_eq!(script.error, None);
    let Node::Simple(simple) = &script.nodes[0] else { panic!("{script:?}") };
    assert_eq!(simple.assignments[1].1.text, "x y$C");
    assert_eq!(simple.word(1), b"a b");
    assert!(simple.input && simple.one_line);
    let Node::If(branches, otherwise) = &script.nodes[1] else { panic!("{script:?}") };
    assert_eq!((branches.len(), otherwise.len()), (2, 1));
    let Node::Simple(source) = &branches[0].1[0] else { panic!() };
    assert_eq!(source.span, Span { line: 2, column: 19, len: 3 });
}

#[test]
fn good_scripts_have_no_error() {
    for text in [
        "for i in a b; do echo $i; done; for ((i=0; i<3; i++)); do :; done\n",
        "case $- in *i*) ;; (a|b) return;; *) x ;& esac\n",
        "f() { echo \"a ) } fi\"; }\nfunction g { :; }\nh () ( : )\n",
        "cat <<EOF; cat <<-'E2'\n don't if ( \nEOF\n\tx\n\tE2\necho done\n",
        "a=(1 2 \"3 4\" $(x)) ; declare -a b=( ) ; a+=(4)\n",
        "x=$(case y in y) echo ')';; esac) y=`echo \\`z\\`` z=$((1+(2)))\n",
        "[[ $a =~ ^(a|b)$ && ( -n $b || c < d ) ]] && echo y || { n; }\n",
        "while read -r x; do :; done < <(cmd 2>&1) &\n",
        "if ! shopt -q login_shell ; then # comment with '\n  :\nfi\n",
        "echo ${a#\\'} ${b:-\"x}\"} ${c//\\\"/} $'it\\'s' \"${d:-'}\" $# ${#e}\n",
        "echo a#b \\# 'x\n y' \"a\\\"b\"\r\n",
        "(( 1 > 0 )) && time -p ls | wc |& cat; ! true\n",
        "alias ls='ls -l' ll=\"ls\"; export PATH=\"$PATH:/x\"; set -- \"$@\"\n",
        "{ echo a; } 2>/dev/null; ( (a); b )\nselect x in 1; do break; done\n",
        "pathmunge () {\n    case \":${PATH}:\" in\n        *:\"$1\":*)\n            ;;\n        *)\n            PATH=$1:$PATH\n    esac\n}\n",
        "ls !(a|b) @(x).c\ntest \"${-#*i}\" != \"$-\"\n\n",
    ] {
        assert_eq!(parse(text.as_bytes()).error, None, "{text}");
    }
}

#[test]
fn errors_are_found() {
    assert_eq!(error("a\nif true; then\n echo\n"), Some((2, 2)));
    assert_eq!(error("a\necho 'x\nb\n"), Some((2, 2)));
    assert_eq!(error("a\nfi\n"), Some((2, 2)));
    assert_eq!(error("for i in a; do\n b\n"), Some((1, 1)));
    assert_eq!(error("a )\n"), Some((1, 1)));
    assert_eq!(error("{ a\n"), Some((1, 1)));
    assert_eq!(error("if a; then\nfi\n"), Some((2, 1)));
    assert_eq!(error("x=\"$(a\"\n"), Some((1, 1)));
    assert_eq!(error("a;;\n"), Some((1, 1)));
    assert_eq!(error("a &&\n"), Some((2, 1)));
}

#[test]
fn a_command_is_taken_out() {
    let without = |text: &str| {
        let script = parse(text.as_bytes());
        fn first(nodes: &[Node]) -> Option<Span> {
            nodes.iter().find_map(|node| match node {
                Node::Simple(simple) if simple.word(0) == b"exit" => Some(simple.span),
                Node::If(branches, _) => first(&branches[0].1),
                Node::AndOr(_, rest) => first(&[rest[0].1.clone()]),
                _ => None,
            })
        }
        String::from_utf8(super::without(text.as_bytes(), first(&script.nodes).unwrap())).unwrap()
    };
    assert_eq!(without("a\nexit 1 # x\n"), "a\n: # sickbay: exit 1 # x\n");
    assert_eq!(without("if a; then\n  exit\nfi\n"), "if a; then\n  : # sickbay: exit\nfi\n");
    assert_eq!(without("a && exit; b\n"), "# sickbay: a && exit; b\na && :; b\n");
}

proptest::proptest! {
    #[test]
    fn nothing_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = parse(&text);
    }

    #[test]
    fn nothing_panics_on_near_misses(text in "[ifthendoescas{}()\\[\\];&|<>$'\"`\\\\#=\n ]{0,60}") {
        let _ = parse(text.as_bytes());
    }
}
