//! Settings of one generation of Spring Boot in a program of another.

use crate::facts::Facts;
use crate::facts::services::boot::Boot;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a setting has no effect, without any message: sessions last 30 minutes whatever is written, the number of threads stays 200, the program answers on another path.
    ///
    /// ## What it finds
    /// A jar of Spring Boot (its version is that of `spring-boot-VERSION.jar` inside) whose `application.properties` or `application.yml`, inside or beside it, has
    /// keys that this version does not know, since they are those of an earlier or a later one: `server.session.timeout` is Boot 1,
    /// `server.servlet.session.timeout` Boot 2; `server.tomcat.threads.max` came with 2.3. Unknown keys are passed over in silence.
    ///
    /// ## Why it matters
    /// What was meant is not in force.
    ///
    /// ## What the repair does
    /// Nothing: the program's own people decide, and what takes effect at last may surprise.
    "spring-boot-keys-ineffective", Services, seed = ["N6"], proves = [], "settings that this Spring Boot does not know"
}

/// A key, from which version on it is known and from which not any more, and the one that says the same there.
struct Key {
    name: &'static str,
    from: (u64, u64),
    until: (u64, u64),
    other: &'static str,
}

const EVER: (u64, u64) = (0, 0);
const NEVER: (u64, u64) = (u64::MAX, 0);

const fn key(name: &'static str, from: (u64, u64), until: (u64, u64), other: &'static str) -> Key {
    Key { name, from, until, other }
}

const KEYS: &[Key] = &[
    key("server.session.timeout", EVER, (2, 0), "server.servlet.session.timeout"),
    key("server.servlet.session.timeout", (2, 0), NEVER, "server.session.timeout"),
    key("server.context-path", EVER, (2, 0), "server.servlet.context-path"),
    key("server.servlet.context-path", (2, 0), NEVER, "server.context-path"),
    key("server.tomcat.threads.max", (2, 3), NEVER, "server.tomcat.max-threads"),
    key("server.tomcat.threads.min-spare", (2, 3), NEVER, "server.tomcat.min-spare-threads"),
    key("server.tomcat.max-threads", EVER, (3, 0), "server.tomcat.threads.max"),
    key("spring.redis.pool.max-active", EVER, (2, 0), "spring.redis.jedis.pool.max-active"),
    key("spring.redis.pool.max-wait", EVER, (2, 0), "spring.redis.jedis.pool.max-wait"),
    key("spring.redis.jedis.pool.max-active", (2, 0), (3, 0), "spring.redis.pool.max-active"),
    key("spring.redis.jedis.pool.max-wait", (2, 0), (3, 0), "spring.redis.pool.max-wait"),
    key("spring.redis.host", EVER, (3, 0), "spring.data.redis.host"),
    key("spring.data.redis.host", (3, 0), NEVER, "spring.redis.host"),
    key("management.port", EVER, (2, 0), "management.server.port"),
    key("management.server.port", (2, 0), NEVER, "management.port"),
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let boot = facts.get::<Boot>()?;
    for program in &boot.programs {
        let Some(version) = program.boot() else { continue };
        for key in KEYS.iter().filter(|key| version < key.from || version >= key.until) {
            let Some(set) = program.last(key.name) else { continue };
            // Both are there for the sake of two versions.
            if program.last(key.other).is_some() {
                continue;
            }
            let shown = program.version("spring-boot").map_or("", |library| library.version.as_str());
            let finding = found.warning(tr!("{key} has no effect: it is Spring Boot {shown}", key = key.name, shown));
            match &set.file {
                Some(file) => finding.at(file, file.line_span(set.setting.line)),
                None => finding.at_path(&program.jar).evidence(set.place.clone(), key.name),
            };
            finding.subject(Subject::Named(format!("{} {}", program.jar.display(), key.name)));
            finding.why(tr!("Spring Boot passes over keys that it does not know, without a word"));
            finding.by_hand(tr!(
                "write {other}, which this version knows, and restart the program",
                other = other_of(key, version)
            ));
        }
    }
    Ok(())
}

/// The key that says the same in this version.
fn other_of(key: &Key, version: (u64, u64)) -> &'static str {
    match (key.name, version >= (3, 0)) {
        ("spring.redis.pool.max-active" | "spring.redis.jedis.pool.max-active", true) => {
            "spring.data.redis.jedis.pool.max-active"
        }
        ("spring.redis.pool.max-wait" | "spring.redis.jedis.pool.max-wait", true) => {
            "spring.data.redis.jedis.pool.max-wait"
        }
        _ => key.other,
    }
}
