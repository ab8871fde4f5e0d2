//! nginx is told to keep connections to upstreams, and closes each.

use crate::facts::Facts;
use crate::facts::services::nginx::{Nginx, Node};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: thousands of connections to the upstream in TIME_WAIT although the `upstream` block has `keepalive`.
    ///
    /// ## What it finds
    /// A `proxy_pass` to an `upstream` with `keepalive` where `proxy_http_version 1.1` or an empty `Connection` header does not hold: up to 1.29.6 nginx then speaks
    /// HTTP/1.0 or sends `Connection: close`, and no connection is ever kept. `proxy_set_header` is inherited only where a block has none of its own.
    ///
    /// ## Why it matters
    /// Each request opens a connection: it takes a round trip more, and a local port for a minute. At about 470 requests a second to one upstream
    /// address the ports are used up (28,232 of them, 60 s each).
    ///
    /// ## What the repair does
    /// Adds what is missing, if risky repairs are accepted: the upstream then sees HTTP/1.1 and connections that stay. nginx is not reloaded.
    ///
    /// ## By hand
    /// ```sh
    /// nginx -T | grep -E 'keepalive|proxy_http_version|Connection'
    /// ```
    "nginx-keepalive-ineffective", Services, seed = ["N3"], proves = [], "nginx closes the connections to upstreams that it is told to keep"
}

/// From this version on both are so by default.
const KEPT: (u64, u64, u64) = (1, 29, 7);

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let nginx = facts.get::<Nginx>()?;
    if !nginx.counts {
        return Err(Skip::NotApplicable(tr!("nginx does not run, and no boot starts it")));
    }
    // Without the version it cannot be told what holds by default.
    if nginx.problem.is_some() || nginx.version.is_none_or(|version| version >= KEPT) {
        return Ok(());
    }
    for (at, pass) in nginx.all("proxy_pass") {
        let Some(name) = pass.directive.value().and_then(|value| value.split_once("://")?.1.split('/').next()) else {
            continue;
        };
        let group = nginx.all("upstream").find(|(_, one)| one.is_in(&["http"]) && one.directive.value() == Some(name));
        let Some((group, _)) = group else { continue };
        let kept = nginx.within(group).find(|one| one.name() == b"keepalive" && one.directive.value() != Some("0"));
        let Some(kept) = kept else { continue };
        let version = nginx.holding(at, "proxy_http_version");
        let is_one = version.last().is_some_and(|one| one.directive.value() != Some("1.0"));
        let headers = nginx.holding(at, "proxy_set_header");
        let connection = headers
            .iter()
            .find(|one| one.directive.words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"connection")));
        // A variable may be empty: that of websockets is.
        let is_open = connection.is_some_and(|one| {
            one.directive
                .words
                .get(2)
                .is_some_and(|word| word.is_empty() || word.contains(&b'$') || word.eq_ignore_ascii_case(b"keep-alive"))
        });
        if is_one && is_open {
            continue;
        }
        let message = match (is_one, is_open) {
            (false, _) => tr!(
                "connections to {name} are not kept: proxy_http_version 1.1 is missing, so nginx speaks HTTP/1.0",
                name
            ),
            _ => tr!("connections to {name} are not kept: nginx sends \"Connection: close\"", name),
        };
        let finding = found.warning(message);
        finding.at(&pass.file, pass.span()).at(&kept.file, kept.span());
        finding.why(tr!("each request opens a connection and leaves its port in TIME_WAIT for a minute"));
        if version.is_empty() && connection.is_none() || is_open || is_one && connection.is_none() {
            let changes =
                added(pass, (!is_one).then_some(pass), (!is_open).then(|| headers.last().copied().unwrap_or(pass)));
            finding.repair(Risk::Risky, tr!("add what is missing; then reload nginx"), changes);
        } else {
            finding.by_hand(tr!(
                "set proxy_http_version 1.1 and proxy_set_header Connection \"\" where this proxy_pass is"
            ));
        }
    }
    Ok(())
}

/// The version behind one line, the header behind another: of those that are inherited a new one in the inner block would undo all.
fn added(pass: &Node, version: Option<&Node>, header: Option<&Node>) -> Vec<Change> {
    let mut wanted: Vec<(&Node, &str)> = Vec::new();
    wanted.extend(version.map(|node| (node, "proxy_http_version 1.1;")));
    wanted.extend(header.map(|node| (node, "proxy_set_header Connection \"\";")));
    let mut changes: Vec<Change> = Vec::new();
    let mut files: Vec<&Node> = Vec::new();
    for (node, _) in &wanted {
        if !files.iter().any(|known| known.file.path == node.file.path) {
            files.push(node);
        }
    }
    for file in files {
        let before = &file.file.bytes;
        let mut after = before.clone();
        let mut here: Vec<_> = wanted.iter().filter(|(node, _)| node.file.path == file.file.path).collect();
        here.sort_by_key(|(node, _)| std::cmp::Reverse(node.directive.whole.end));
        // Of two behind one line the first comes last, as it is put before the other.
        for (node, line) in here.into_iter() {
            let end = node.directive.whole.end;
            let start = before.get(..node.directive.whole.start).unwrap_or_default();
            let begin = start.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let indent = start.get(begin..).unwrap_or_default();
            let is_own_line = indent.iter().all(u8::is_ascii_whitespace);
            let text = match is_own_line {
                true => [b"\n", indent, line.as_bytes()].concat(),
                false => [b" ", line.as_bytes()].concat(),
            };
            let place = end..end;
            if end <= after.len() {
                after.splice(place, text);
            }
        }
        changes.push(Change::Edit { path: file.file.path.clone(), before: before.clone(), after });
    }
    debug_assert!(!changes.is_empty(), "{} lacks something", pass.place());
    changes
}
