//! What a machine is for, told from what runs on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::procfs::limits::limit;

use crate::facts::memory::processes::pids;
use crate::facts::services::nginx::Nginx as Config;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// What a machine is for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// It answers many short connections
    Web,
    /// It passes connections on, and opens as many
    Proxy,
    /// Java virtual machines
    Java,
    /// Databases and caches
    Database,
    /// None of these
    General,
}

impl Work {
    /// What it is called.
    pub fn name(self) -> Text {
        match self {
            Work::Web => tr!("web server"),
            Work::Proxy => tr!("proxy"),
            Work::Java => tr!("java"),
            Work::Database => tr!("database"),
            Work::General => tr!("general"),
        }
    }

    /// What a service does, and the name of its program: `mysql` and `mysqld`, `postgresql@15-main`, `tomcat9`.
    pub(super) fn of_service(name: &str) -> Option<(Work, &'static str)> {
        let name = name.split('@').next().unwrap_or(name);
        let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
        let program = match plain {
            "mysql" => "mysqld",
            "mariadb" => "mariadbd",
            "postgresql" => "postgres",
            "redis" => "redis-server",
            "valkey" => "valkey-server",
            "varnish" => "varnishd",
            "tomcat" | "elasticsearch" | "opensearch" | "kafka" | "zookeeper" | "jenkins" => "java",
            other => other,
        };
        PROGRAMS.iter().find(|(known, _)| *known == program).map(|(known, work)| (*work, *known))
    }
}

/// Programs by name (`/proc/PID/comm`, at most 15 characters), and what they do.
const PROGRAMS: &[(&str, Work)] = &[
    ("nginx", Work::Web),
    ("openresty", Work::Web),
    ("httpd", Work::Web),
    ("apache2", Work::Web),
    ("caddy", Work::Web),
    ("lighttpd", Work::Web),
    ("haproxy", Work::Proxy),
    ("envoy", Work::Proxy),
    ("squid", Work::Proxy),
    ("varnishd", Work::Proxy),
    ("traefik", Work::Proxy),
    ("java", Work::Java),
    ("mysqld", Work::Database),
    ("mariadbd", Work::Database),
    ("postgres", Work::Database),
    ("mongod", Work::Database),
    ("redis-server", Work::Database),
    ("valkey-server", Work::Database),
    ("memcached", Work::Database),
];

/// A server program that runs, with what it may have open.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// What it does.
    pub work: Work,
    /// The unit of systemd that it is in.
    pub unit: Option<String>,
    /// The limit on its open files that holds, and up to which it may be raised; `None` where it cannot be read.
    pub files: Option<(u64, u64)>,
    /// Files that it has open; `None` where that cannot be seen.
    pub open: Option<u64>,
}

/// The server programs that run.
#[derive(Debug, Default)]
pub struct Servers {
    /// At most [`MOST`] of them.
    pub list: Vec<Server>,
}

/// So many are looked at: workers of one program are alike.
const MOST: usize = 512;
/// Nobody's limit is larger, and counting takes time.
const OPEN: usize = 1 << 20;

impl Fact for Servers {
    fn gather(facts: &Facts) -> Result<Servers, Skip> {
        let mut list = Vec::new();
        for pid in pids(facts)? {
            let read = |file: &str| facts.root().read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let comm = read("comm").trim_ascii_end().to_str_lossy().into_owned();
            let Some((_, work)) = PROGRAMS.iter().find(|(name, _)| *name == comm) else { continue };
            let files = limit(&read("limits"), "Max open files")
                .map(|files| (files.soft.unwrap_or(u64::MAX), files.hard.unwrap_or(u64::MAX)));
            let open = facts.root().read_dir_up_to(format!("/proc/{pid}/fd"), OPEN).ok();
            list.push(Server {
                pid,
                comm,
                work: *work,
                unit: unit(&read("cgroup")),
                files,
                open: open.map(|(entries, _)| entries.len() as u64),
            });
            if list.len() >= MOST {
                break;
            }
        }
        Ok(Servers { list })
    }
}

/// `nginx.service` of `/proc/PID/cgroup`, where it is right below a slice: what a container has inside is not the host's.
fn unit(text: &[u8]) -> Option<String> {
    let path = text.lines().find_map(|line| {
        let (_, rest) = line.split_once_str(":")?;
        let (controllers, path) = rest.split_once_str(":")?;
        matches!(controllers, b"" | b"name=systemd").then_some(path)
    })?;
    let mut parts = path.split_str("/").filter(|part| !part.is_empty());
    let unit = parts.find(|part| !part.ends_with(b".slice"))?.to_str().ok()?;
    let is_plain = unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._-:\\".contains(&byte));
    (unit.ends_with(".service") && is_plain && unit.len() < 200).then(|| unit.to_owned())
}

impl Servers {
    /// What the machine is for, each with the programs that tell it.
    pub fn works(&self, facts: &Facts) -> BTreeMap<Work, BTreeSet<String>> {
        let mut works: BTreeMap<Work, BTreeSet<String>> = BTreeMap::new();
        for server in &self.list {
            works.entry(server.work).or_default().insert(server.comm.clone());
        }
        let has_nginx = self.list.iter().any(|server| matches!(server.comm.as_str(), "nginx" | "openresty"));
        if has_nginx && facts.get::<Nginx>().is_ok_and(|nginx| nginx.is_proxy) {
            works.entry(Work::Proxy).or_default().insert("nginx".to_owned());
        }
        if works.is_empty() {
            works.insert(Work::General, BTreeSet::new());
        }
        works
    }
}

/// A line of nginx's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The file.
    pub path: PathBuf,
    /// From 1 on.
    pub line: usize,
}

/// What nginx's configuration says of how much it carries.
#[derive(Debug, Default)]
pub struct Nginx {
    /// `worker_processes`; `None` for `auto`.
    pub workers: Option<u64>,
    /// `worker_connections` (512 where it is not set), which count connections to upstreams too.
    pub connections: u64,
    /// `worker_rlimit_nofile`.
    pub nofile: Option<u64>,
    /// What `listen` asks for as `backlog`, the greatest.
    pub backlog: Option<(u64, At)>,
    /// Whether requests are passed on.
    pub is_proxy: bool,
    /// Where `worker_connections` is set.
    pub at: Option<At>,
}

impl Fact for Nginx {
    fn gather(facts: &Facts) -> Result<Nginx, Skip> {
        // Of the nginx that runs, whatever file it was given.
        let read = facts.get::<Config>()?;
        let mut found = Nginx { connections: 512, workers: Some(1), ..Nginx::default() };
        for node in &read.nodes {
            let directive = &node.directive;
            let number = || directive.value().and_then(|text| text.parse().ok());
            let at = || At { path: node.file.path.clone(), line: directive.line };
            match directive.name() {
                b"worker_processes" => found.workers = number(),
                b"worker_connections" => {
                    found.connections = number().unwrap_or(512);
                    found.at = Some(at());
                }
                b"worker_rlimit_nofile" => found.nofile = number(),
                b"proxy_pass" | b"fastcgi_pass" | b"uwsgi_pass" | b"grpc_pass" => {
                    // A socket of this machine takes no port.
                    found.is_proxy |= !directive.value().is_some_and(|value| value.starts_with("unix:"));
                }
                b"listen" => {
                    let backlog: Option<u64> = directive.option("backlog").and_then(|text| text.parse().ok());
                    let is_greater = |new: &u64| found.backlog.as_ref().is_none_or(|(old, _)| new > old);
                    if let Some(backlog) = backlog.filter(is_greater) {
                        found.backlog = Some((backlog, at()));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::unit;

    #[test]
    fn units() {
        let of = |text: &str| unit(text.as_bytes());
        assert_eq!(of("0::/system.slice/nginx.service\n").as_deref(), Some("nginx.service"));
        assert_eq!(
            of("12:pids:/x\n1:name=systemd:/system.slice/system-java.slice/java@1.service/a\n").as_deref(),
            Some("java@1.service")
        );
        assert_eq!(of("0::/system.slice/docker-0123.scope\n"), None);
        assert_eq!(of("0::/\n"), None);
    }
}

#[cfg(test)]
mod of_services {
    use super::*;

    #[test]
    fn names_of_services() {
        let of = Work::of_service;
        assert_eq!(of("nginx"), Some((Work::Web, "nginx")));
        assert_eq!(of("mysql"), Some((Work::Database, "mysqld")));
        assert_eq!(of("postgresql@15-main"), Some((Work::Database, "postgres")));
        assert_eq!(of("postgresql-15"), Some((Work::Database, "postgres")));
        assert_eq!(of("tomcat9"), Some((Work::Java, "java")));
        assert_eq!((of("ssh"), of(""), of("@")), (None, None, None));
    }
}
