//! What `nft -j list ruleset` prints (libnftables-json(5)), put into the words that nft itself would use: then there is one reader of them.

use std::fmt::Write as _;

use serde_json::Value;

use super::{RuleSet, nft};

/// Reads a ruleset; `None` where it is none.
pub fn read(rules: &mut RuleSet, file: &str, text: &[u8]) -> Option<()> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let objects = value.get("nftables")?.as_array()?;
    let mut out = String::new();
    for object in objects {
        let Some((kind, body)) = object.as_object().and_then(|object| object.iter().next()) else { continue };
        // `{"add": {"rule": …}}` of a file of commands.
        let (kind, body) = match (kind.as_str(), body.as_object().and_then(|body| body.iter().next())) {
            ("add" | "insert" | "create", Some((inner, body))) => (inner.as_str(), body),
            (kind, _) => (kind, body),
        };
        object_text(&mut out, kind, body);
    }
    nft::read(rules, file, out.as_bytes(), &mut |_| Vec::new());
    Some(())
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn object_text(out: &mut String, kind: &str, body: &Value) {
    let (family, table, name) = (word(body, "family"), word(body, "table"), word(body, "name"));
    match kind {
        "chain" => {
            let _ = write!(out, "add chain {family} {table} {name} {{ ");
            if let Some(hook) = body.get("hook").and_then(Value::as_str) {
                let _ = write!(out, "type {} hook {hook} ", word(body, "type"));
                if let Some(device) = body.get("dev").and_then(Value::as_str) {
                    let _ = write!(out, "device {device} ");
                }
                let _ = write!(
                    out,
                    "priority {}; policy {}; ",
                    body.get("prio").map(scalar).unwrap_or_default(),
                    word(body, "policy")
                );
            }
            out.push_str("}\n");
        }
        "set" | "map" => {
            let kinds = match body.get("type") {
                Some(Value::Array(all)) => all.iter().map(scalar).collect::<Vec<_>>().join(" . "),
                Some(other) => scalar(other),
                None => String::new(),
            };
            let _ = write!(out, "add {kind} {family} {table} {name} {{ type {kinds}; ");
            if body.get("flags").is_some_and(|flags| flags.to_string().contains("dynamic")) {
                out.push_str("flags dynamic; ");
            }
            if let Some(elements) = body.get("elem").or_else(|| body.get("elements")) {
                let _ = write!(out, "elements = {}; ", braces(elements));
            }
            out.push_str("}\n");
        }
        "element" => {
            if let Some(elements) = body.get("elem") {
                let _ = writeln!(out, "add element {family} {table} {name} {}", braces(elements));
            }
        }
        "rule" => {
            let _ = write!(out, "add rule {family} {table} {}", word(body, "chain"));
            for statement in body.get("expr").and_then(Value::as_array).into_iter().flatten() {
                out.push(' ');
                out.push_str(&statement_text(statement));
            }
            if let Some(comment) = body.get("comment").and_then(Value::as_str) {
                let _ = write!(out, " comment \"{}\"", comment.replace(['"', '\n'], " "));
            }
            out.push('\n');
        }
        _ => {}
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace(['\n', '"', '{', '}', ';', '#'], " "),
        other => other.to_string(),
    }
}

fn braces(value: &Value) -> String {
    let all: Vec<String> = match value {
        Value::Array(all) => all.iter().map(element).collect(),
        other => vec![element(other)],
    };
    format!("{{ {} }}", all.join(", "))
}

/// `[key, value]` is one of a map.
fn element(value: &Value) -> String {
    match value {
        Value::Array(pair) => match pair.as_slice() {
            [key, value] => format!("{} : {}", expression(key), statement_text(value)),
            _ => expression(value),
        },
        other => expression(other),
    }
}

fn statement_text(value: &Value) -> String {
    let Some((kind, body)) = value.as_object().and_then(|object| object.iter().next()) else { return scalar(value) };
    match kind.as_str() {
        "match" => {
            let op = match word(body, "op") {
                "in" | "==" => "",
                op => op,
            };
            let (left, right) = (body.get("left").map(expression), body.get("right").map(expression));
            let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
            format!("{left} {op} {right}")
        }
        "counter" => match body.get("packets") {
            Some(packets) => {
                format!("counter packets {packets} bytes {}", body.get("bytes").map(scalar).unwrap_or_default())
            }
            None => "counter".to_owned(),
        },
        "accept" | "drop" | "return" | "continue" | "masquerade" | "notrack" | "reject" | "queue" => kind.clone(),
        "jump" | "goto" => format!("{kind} {}", word(body, "target")),
        "log" => "log".to_owned(),
        "limit" => "limit rate 1/second".to_owned(),
        "vmap" => {
            let (key, data) = (body.get("key").map(expression), body.get("data").map(expression));
            format!("{} vmap {}", key.unwrap_or_default(), data.unwrap_or_default())
        }
        "mangle" => {
            let (key, value) = (body.get("key").map(expression), body.get("value").map(expression));
            format!("{} set {}", key.unwrap_or_default(), value.unwrap_or_default())
        }
        "dnat" => {
            let address = body.get("addr").map(expression).unwrap_or_default();
            let port = body.get("port").map(expression).unwrap_or_default();
            let address = if address.contains(':') { format!("[{address}]") } else { address };
            format!("dnat to {address}:{port}").trim_end_matches(':').to_owned()
        }
        "redirect" => match body.get("port") {
            Some(port) => format!("redirect to :{}", expression(port)),
            None => "redirect".to_owned(),
        },
        "snat" => "snat".to_owned(),
        "flow" | "dup" => kind.clone(),
        "fwd" | "tproxy" | "synproxy" => kind.clone(),
        // What is not known may match.
        other => format!("{other}-"),
    }
}

fn expression(value: &Value) -> String {
    let Some((kind, body)) = value.as_object().and_then(|object| object.iter().next()) else {
        return match value {
            Value::Array(all) => all.iter().map(expression).collect::<Vec<_>>().join(","),
            other => scalar(other),
        };
    };
    let list = |by: &str| match body {
        Value::Array(all) => all.iter().map(expression).collect::<Vec<_>>().join(by),
        other => expression(other),
    };
    match kind.as_str() {
        "payload" => match body.get("protocol") {
            Some(protocol) => format!("{} {}", scalar(protocol), word(body, "field")),
            None => "@raw,0,0".to_owned(),
        },
        "meta" => format!("meta {}", word(body, "key")),
        "ct" => match body.get("dir").and_then(Value::as_str) {
            Some(dir) => format!("ct {dir} {}", word(body, "key")),
            None => format!("ct {}", word(body, "key")),
        },
        "fib" => {
            let flags = match body.get("flags") {
                Some(Value::Array(all)) => all.iter().map(scalar).collect::<Vec<_>>().join(" . "),
                Some(other) => scalar(other),
                None => String::new(),
            };
            format!("fib {flags} {}", word(body, "result"))
        }
        "prefix" => {
            let (address, length) = (body.get("addr").map(expression), body.get("len").map(scalar));
            format!("{}/{}", address.unwrap_or_default(), length.unwrap_or_default())
        }
        "range" => list("-"),
        "concat" => list(" . "),
        "set" => braces(body),
        "elem" => body.get("val").map(expression).unwrap_or_default(),
        "&" => match body.as_array().map(Vec::as_slice) {
            Some([left, right]) => format!("{} & {}", expression(left), bits(right)),
            _ => "unknown-".to_owned(),
        },
        "|" => list(" | "),
        _ => format!("{kind}-"),
    }
}

fn bits(value: &Value) -> String {
    match value {
        Value::Array(all) => format!("({})", all.iter().map(expression).collect::<Vec<_>>().join(" | ")),
        other => {
            let text = expression(other);
            if text.contains('|') { format!("({text})") } else { text }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(\\{\"(nftables|rule|expr|match|set|&)\":|\\[|\\]|\\}|\"a\"|1|,){0,30}") {
            let mut rules = RuleSet::default();
            let _ = read(&mut rules, "x", &bytes);
            let _ = read(&mut rules, "x", text.as_bytes());
            let _ = read(&mut rules, "x", format!("{{\"nftables\":[{{\"rule\":{{\"expr\":[{text}]}}}}]}}").as_bytes());
        }
    }
}
