//! Broken configurations of nginx, against what the real one says of them.
#![allow(clippy::disallowed_methods)]

use sickbay_formats::nginx::{Judge, read};

/// The first thing at which nginx would stop: a line, and what it says.
fn problem(text: &[u8]) -> Option<(usize, String)> {
    let parsed = read(text);
    let mut judge = Judge::default();
    for directive in &parsed.directives {
        let inside: Vec<&[u8]> = directive.inside.iter().map(|name| name.as_slice()).collect();
        let block = directive.parent.map_or(0, |at| at + 1);
        if let Some(says) = judge.see(directive, &inside, block) {
            return Some((directive.end_line, says));
        }
    }
    parsed.problem.map(|problem| (problem.line, problem.says))
}

#[test]
fn says_what_nginx_says() {
    let text = include_str!("nginx/broken.txt");
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in text.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (body, said) = rest.split_once("--- ").expect("what nginx said");
        let ours = problem(body.replace('~', "\r").replace("LONG", &"x".repeat(5000)).as_bytes());
        let ours = ours.map_or("well".to_owned(), |(line, says)| format!("{line} {says}").replace('\r', "~"));
        if ours != said.trim_end() {
            wrong.push(format!("{name}: nginx {said:?}, here {ours:?}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty() && count > 40, "{count}: {wrong:#?}");
}
