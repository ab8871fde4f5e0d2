//! A Java program has a client that is known to lose connections.

use crate::facts::Facts;
use crate::facts::services::boot::{Boot, Program};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: after hours under load all threads wait in `borrowObject`; the service answers nobody, redis has nothing to do. A restart helps for a while.
    ///
    /// ## What it finds
    /// A jar of a Java program that runs, or that a unit starts, with a client inside whose pool is known to lose connections, by version: jedis 2.9.1
    /// (github.com/redis/jedis/issues/1945; Spring Boot 1.5.19 brings it), 2.10.0 and 2.10.1 (issue 1920). Good are 2.10.2, and 3 and newer.
    ///
    /// Where the pool has no maximum wait, this is said: jedis then waits without end for a connection that does not come back.
    ///
    /// ## Why it matters
    /// A connection that is returned and borrowed in the same moment is lost to the pool. A larger pool only delays the end.
    ///
    /// ## What the repair does
    /// Nothing: a library is replaced where the program is built.
    ///
    /// ## By hand
    /// ```sh
    /// unzip -l APP.jar | grep jedis
    /// ```
    "java-client-leaks", Services, seed = ["N5"], proves = [], "a Java program has a client that loses connections"
}

/// A library, a version, and where its fault is described.
const LEAKS: &[(&str, &str, &str)] = &[
    ("jedis", "2.9.1", "github.com/redis/jedis/issues/1945"),
    ("jedis", "2.10.0", "github.com/redis/jedis/issues/1920"),
    ("jedis", "2.10.1", "github.com/redis/jedis/issues/1920"),
];

/// Whether the pool of jedis waits without end: Boot's default is -1.
fn waits_for_ever(program: &Program) -> bool {
    let prefix = match program.boot() {
        Some((1, _)) => "spring.redis.pool",
        Some((2, _)) => "spring.redis.jedis.pool",
        _ => return false,
    };
    program.last(&format!("{prefix}.max-wait")).is_none_or(|found| found.setting.value.starts_with('-'))
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let boot = facts.get::<Boot>()?;
    for program in &boot.programs {
        for library in &program.libraries {
            let known = LEAKS.iter().find(|(name, version, _)| library.name == *name && library.version == *version);
            let Some((name, version, source)) = known else { continue };
            let finding = found.warning(tr!(
                "{jar} has {name} {version}, whose pool loses connections",
                jar = program.jar.as_path(),
                name = *name,
                version = *version
            ));
            finding.at_path(&program.jar).subject(Subject::Named(format!("{} {name}", program.jar.display())));
            finding.evidence(program.jar.display().to_string(), library.member.clone());
            finding.why(tr!(
                "under load connections are borrowed and never given back, until the pool has none: {source}",
                source = *source
            ));
            if waits_for_ever(program) {
                finding.note(tr!("its pool has no maximum wait (max-wait): threads then wait for ever"));
            }
            finding.detail("library", *name).detail("version", *version).detail("source", *source);
            finding
                .by_hand(tr!("build it with jedis 2.10.2, and set a maximum wait; a larger pool only delays the end"));
        }
    }
    Ok(())
}
