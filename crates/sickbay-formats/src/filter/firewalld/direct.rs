//! `direct.xml` of firewalld: rules in iptables' own words, which its start gives to iptables.

use std::fmt::Write as _;

use super::File;
use super::xml::{self, Tag};
use crate::filter::{RuleSet, iptables};

/// Reads them: chains, then rules by their priority, then what is passed through.
pub(super) fn read(rules: &mut RuleSet, file: &File) {
    let tags = xml::tags(&file.bytes);
    let of = |name: &'static str, v6: bool| {
        let family = if v6 { "ipv6" } else { "ipv4" };
        tags.iter().filter(move |tag| tag.name == name && !tag.closes && tag.of("ipv") == family)
    };
    let word = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    for v6 in [false, true] {
        // Each stands on its own line: the rule is told by the line of the file.
        let mut lines: Vec<(usize, String)> = Vec::new();
        for tag in of("chain", v6) {
            lines.push((tag.line, format!("-t {} -N {}", word(tag.of("table")), word(tag.of("chain")))));
        }
        let mut ordered: Vec<&Tag> = of("rule", v6).collect();
        ordered.sort_by_key(|tag| tag.of("priority").parse::<i32>().unwrap_or(0));
        for tag in ordered {
            let text = tag.text.replace(['\n', '\r'], " ");
            lines.push((tag.line, format!("-t {} -A {} {text}", word(tag.of("table")), word(tag.of("chain")))));
        }
        for tag in of("passthrough", v6) {
            lines.push((tag.line, tag.text.replace(['\n', '\r'], " ")));
        }
        for (line, text) in lines {
            let mut padded = String::new();
            for _ in 1..line.min(20_000) {
                padded.push('\n');
            }
            let _ = writeln!(padded, "{text}");
            iptables::read(rules, &file.path, padded.as_bytes(), v6);
        }
    }
}
