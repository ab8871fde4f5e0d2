//! What nginx says of a directive by itself: where it may stand, how many arguments it takes, whether it opens a block. Only of those that
//! everybody uses; of the others nothing is said.

use super::Directive;

/// Where directives stand.
const MAIN: u16 = 1;
const EVENTS: u16 = 2;
const HTTP: u16 = 4;
const SERVER: u16 = 8;
const LOCATION: u16 = 16;
const UPSTREAM: u16 = 32;
const IF_SERVER: u16 = 64;
const IF_LOCATION: u16 = 128;
const EXCEPT: u16 = 256;
const HSL: u16 = HTTP | SERVER | LOCATION;

/// A directive: its name, where it may stand, whether it opens a block, how many arguments it takes at least and at most.
type Rule = (&'static str, u16, bool, usize, usize);

/// Many.
const ANY: usize = usize::MAX;

/// In the order of their names.
const RULES: &[Rule] = &[
    ("access_log", HSL | IF_LOCATION | EXCEPT, false, 1, ANY),
    ("add_header", HSL | IF_LOCATION, false, 2, 3),
    ("alias", LOCATION, false, 1, 1),
    ("allow", HSL | EXCEPT, false, 1, 1),
    ("client_body_timeout", HSL, false, 1, 1),
    ("client_header_timeout", HTTP | SERVER, false, 1, 1),
    ("client_max_body_size", HSL, false, 1, 1),
    ("default_type", HSL, false, 1, 1),
    ("deny", HSL | EXCEPT, false, 1, 1),
    ("error_page", HSL | IF_LOCATION, false, 2, ANY),
    ("events", MAIN, true, 0, 0),
    ("expires", HSL | IF_LOCATION, false, 1, 2),
    ("fastcgi_index", HSL, false, 1, 1),
    ("fastcgi_param", HSL, false, 2, 3),
    ("fastcgi_pass", LOCATION | IF_LOCATION, false, 1, 1),
    ("gzip", HSL | IF_LOCATION, false, 1, 1),
    ("gzip_comp_level", HSL, false, 1, 1),
    ("gzip_types", HSL, false, 1, ANY),
    ("http", MAIN, true, 0, 0),
    ("if", SERVER | LOCATION, true, 1, ANY),
    ("include", u16::MAX, false, 1, 1),
    ("index", HSL, false, 1, ANY),
    ("keepalive", UPSTREAM, false, 1, 1),
    ("keepalive_timeout", HSL | UPSTREAM, false, 1, 2),
    ("limit_conn", HSL, false, 2, 2),
    ("limit_except", LOCATION, true, 1, ANY),
    ("limit_req", HSL, false, 1, 3),
    ("listen", SERVER, false, 1, ANY),
    ("location", SERVER | LOCATION, true, 1, 2),
    ("log_format", HTTP, false, 2, ANY),
    ("map", HTTP, true, 2, 2),
    ("multi_accept", EVENTS, false, 1, 1),
    ("pid", MAIN, false, 1, 1),
    ("proxy_buffering", HSL, false, 1, 1),
    ("proxy_connect_timeout", HSL, false, 1, 1),
    ("proxy_http_version", HSL, false, 1, 1),
    ("proxy_pass", LOCATION | IF_LOCATION | EXCEPT, false, 1, 1),
    ("proxy_read_timeout", HSL, false, 1, 1),
    ("proxy_send_timeout", HSL, false, 1, 1),
    ("proxy_set_header", HSL, false, 2, 2),
    ("return", SERVER | LOCATION | IF_SERVER | IF_LOCATION, false, 1, 2),
    ("rewrite", SERVER | LOCATION | IF_SERVER | IF_LOCATION, false, 2, 3),
    ("root", HSL | IF_LOCATION, false, 1, 1),
    ("sendfile", HSL | IF_LOCATION, false, 1, 1),
    ("server_name", SERVER, false, 1, ANY),
    ("server_names_hash_bucket_size", HTTP, false, 1, 1),
    ("server_tokens", HSL, false, 1, 1),
    ("ssl_certificate", HTTP | SERVER, false, 1, 1),
    ("ssl_certificate_key", HTTP | SERVER, false, 1, 1),
    ("ssl_ciphers", HTTP | SERVER, false, 1, 1),
    ("ssl_protocols", HTTP | SERVER, false, 1, ANY),
    ("tcp_nodelay", HSL, false, 1, 1),
    ("tcp_nopush", HSL, false, 1, 1),
    ("try_files", SERVER | LOCATION, false, 2, ANY),
    ("types_hash_max_size", HSL, false, 1, 1),
    ("upstream", HTTP, true, 1, 1),
    ("use", EVENTS, false, 1, 1),
    ("user", MAIN, false, 1, 2),
    ("worker_connections", EVENTS, false, 1, 1),
    ("worker_cpu_affinity", MAIN, false, 1, ANY),
    ("worker_processes", MAIN, false, 1, 1),
    ("worker_rlimit_nofile", MAIN, false, 1, 1),
];

/// Those that may be there once in a block.
const ONCE: &[&str] = &[
    "alias",
    "client_max_body_size",
    "events",
    "fastcgi_pass",
    "gzip",
    "http",
    "keepalive",
    "keepalive_timeout",
    "multi_accept",
    "pid",
    "proxy_http_version",
    "proxy_pass",
    "proxy_read_timeout",
    "root",
    "sendfile",
    "server_tokens",
    "use",
    "user",
    "worker_connections",
    "worker_processes",
    "worker_rlimit_nofile",
];

/// What `listen` knows; some have a value.
const LISTEN: &[&str] = &[
    "accept_filter=",
    "backlog=",
    "bind",
    "default",
    "default_server",
    "deferred",
    "fastopen=",
    "http2",
    "ipv6only=",
    "multipath",
    "proxy_protocol",
    "quic",
    "rcvbuf=",
    "reuseport",
    "setfib=",
    "sndbuf=",
    "so_keepalive=",
    "spdy",
    "ssl",
];

/// Where something stands, by the names of the blocks around it; `None` in those that are not judged.
fn context(inside: &[&[u8]]) -> Option<u16> {
    match inside {
        [] => Some(MAIN),
        [b"events"] => Some(EVENTS),
        [b"http"] => Some(HTTP),
        [b"http", b"server"] => Some(SERVER),
        [b"http", b"upstream"] => Some(UPSTREAM),
        [b"http", b"server", b"if"] => Some(IF_SERVER),
        [b"http", b"server", rest @ ..] => {
            let (last, before) = rest.split_last()?;
            let all_locations = before.iter().all(|name| *name == b"location");
            match *last {
                b"location" if all_locations => Some(LOCATION),
                b"if" if all_locations => Some(IF_LOCATION),
                b"limit_except" if all_locations => Some(EXCEPT),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether directives in such a block are nginx's own, and not lines of a map or of another protocol.
pub fn is_judged(inside: &[&[u8]]) -> bool {
    context(inside).is_some()
}

/// What nginx says of a directive in blocks of these names; nothing where it says nothing, or that is not known.
pub fn complaint(directive: &Directive, inside: &[&[u8]]) -> Option<String> {
    let context = context(inside)?;
    let name = std::str::from_utf8(directive.name()).ok()?;
    // `server` is a block in `http` and none in an upstream; `types` has no arguments.
    let server: Rule = match context {
        UPSTREAM => ("server", UPSTREAM, false, 1, ANY),
        _ => ("server", HTTP, true, 0, 0),
    };
    let rule = if name == "server" { Some(&server) } else { rule(name) };
    let (_, places, block, least, most) = rule?;
    if places & context == 0 {
        return Some(format!("\"{name}\" directive is not allowed here"));
    }
    if !block && directive.opens {
        return Some(format!("directive \"{name}\" is not terminated by \";\""));
    }
    if *block && !directive.opens {
        return Some(format!("directive \"{name}\" has no opening \"{{\""));
    }
    let count = directive.words.len().saturating_sub(1);
    if count < *least || count > *most {
        return Some(format!("invalid number of arguments in \"{name}\" directive"));
    }
    if name == "listen" {
        let knows = |word: &[u8]| {
            let name = match word.iter().position(|byte| *byte == b'=') {
                Some(at) => word.get(..=at).unwrap_or_default(),
                None => word,
            };
            LISTEN.iter().any(|known| known.as_bytes() == name)
        };
        let bad = directive.words.iter().skip(2).find(|word| !knows(word))?;
        return Some(format!("invalid parameter \"{bad}\""));
    }
    if matches!(name, "worker_connections" | "worker_rlimit_nofile") {
        let is_number = directive.value().is_some_and(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
        return (!is_number).then(|| match name {
            "worker_connections" => format!("invalid number \"{}\"", directive.value().unwrap_or_default()),
            _ => format!("\"{name}\" directive invalid number"),
        });
    }
    None
}

/// Whether nginx refuses a second one in the same block.
pub fn is_once(name: &[u8]) -> bool {
    ONCE.iter().any(|one| one.as_bytes() == name)
}

fn rule(name: &str) -> Option<&'static Rule> {
    RULES.binary_search_by(|rule| rule.0.cmp(name)).ok().and_then(|at| RULES.get(at))
}

/// The names that everybody uses.
pub fn common() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.0).chain(["server", "types"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_order() {
        assert!(RULES.is_sorted_by(|a, b| a.0 < b.0));
    }
}
