//! The name by which people know the container that a process is in.

use crate::facts::Facts;

/// Files of engines are no longer, in bytes.
const LONGEST: u64 = 4 << 20;
/// A name is no longer.
const NAME: usize = 200;

/// The container of a process: by the name that its engine has for it, else by the beginning of its id.
pub fn container_of(facts: &Facts, pid: u32) -> Option<String> {
    let text = facts.root().read_up_to(format!("/proc/{pid}/cgroup"), 64 << 10).ok()?;
    let text = String::from_utf8_lossy(&text);
    let parts = || text.lines().flat_map(|line| line.rsplit('/'));
    if let Some(id) = parts().find_map(id) {
        let name = docker(facts, id).or_else(|| containerd(facts, id)).or_else(|| podman(facts, id));
        return Some(name.unwrap_or_else(|| id.chars().take(12).collect()));
    }
    parts().find_map(|part| {
        let name = part.strip_prefix("lxc.payload.").or_else(|| {
            let machine = part.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"));
            machine.or_else(|| part.strip_prefix("systemd-nspawn@")?.strip_suffix(".service"))
        })?;
        Some(name.replace("\\x2d", "-"))
    })
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID.scope`, or the bare id.
fn id(part: &str) -> Option<&str> {
    let word = part.strip_suffix(".scope").unwrap_or(part);
    let word = word.rsplit(['-', ':']).next().unwrap_or(word);
    (word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(word)
}

fn read(facts: &Facts, path: &str) -> Option<serde_json::Value> {
    serde_json::from_slice(&facts.root().read_up_to(path, LONGEST).ok()?).ok()
}

fn short(name: &str) -> Option<String> {
    let name: String = name.trim_start_matches('/').chars().take(NAME).collect();
    (!name.is_empty()).then_some(name)
}

fn docker(facts: &Facts, id: &str) -> Option<String> {
    let own = read(facts, &format!("/var/lib/docker/containers/{id}/config.v2.json"))?;
    // A pod of Kubernetes has a name that says more.
    let label = |key: &str| own.pointer("/Config/Labels")?.get(key)?.as_str();
    match (label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name")) {
        (Some(space), Some(pod)) => short(&format!("{space}/{pod}")),
        _ => short(own.get("Name")?.as_str()?),
    }
}

fn containerd(facts: &Facts, id: &str) -> Option<String> {
    ["k8s.io", "moby", "default"].iter().find_map(|space| {
        let own = read(facts, &format!("/run/containerd/io.containerd.runtime.v2.task/{space}/{id}/config.json"))?;
        let told = |key: &str| own.get("annotations")?.get(key)?.as_str();
        match (told("io.kubernetes.cri.sandbox-namespace"), told("io.kubernetes.cri.sandbox-name")) {
            (Some(space), Some(pod)) => short(&format!("{space}/{pod}")),
            _ => short(told("nerdctl/name")?),
        }
    })
}

fn podman(facts: &Facts, id: &str) -> Option<String> {
    let all = read(facts, "/var/lib/containers/storage/overlay-containers/containers.json")?;
    let own = all.as_array()?.iter().find(|one| one.get("id").and_then(|id| id.as_str()) == Some(id))?;
    short(own.get("names")?.get(0)?.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn ids_in_paths() {
        let long = "0123456789abcdef".repeat(4);
        for part in [
            long.clone(),
            format!("docker-{long}.scope"),
            format!("cri-containerd-{long}.scope"),
            format!("system.slice:docker:{long}"),
        ] {
            assert_eq!(id(&part), Some(long.as_str()), "{part}");
        }
        for part in ["nginx.service", "session-3.scope", "", "docker-0123.scope"] {
            assert_eq!(id(part), None, "{part}");
        }
    }
}
