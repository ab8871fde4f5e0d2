//! A Java service has options with which its JDK does not start.

use crate::facts::Facts;
use crate::facts::services::java::Java;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};
use sickbay_formats::jvm::refuses;

check! {
    /// ## Symptom
    /// You see: "Unrecognized VM option 'PrintGCDateStamps'. Error: Could not create the Java Virtual Machine." after the JDK was updated; the service
    /// fails at once.
    ///
    /// ## What it finds
    /// Options in `ExecStart=`, `JAVA_TOOL_OPTIONS` or `JDK_JAVA_OPTIONS` of a unit which the JDK that it starts (its version is in the file `release`) does not know:
    /// logging in the words of JDK 8 with JDK 9 or newer, `-Xlog` with JDK 8, CMS and PermGen with JDK 17 or newer. `-XX:+PrintGCDetails` and `-Xloggc` are not among them:
    /// newer JDKs accept these with a warning. `-XX:+IgnoreUnrecognizedVMOptions` is respected.
    ///
    /// ## Why it matters
    /// The virtual machine does not start. One that runs is from before the update, and does not come back.
    ///
    /// ## What the repair does
    /// Nothing: whether the option or the JDK is wrong is yours to say. For logging from JDK 9 on: `-Xlog:gc*:file=/var/log/gc.log:time,uptime:filecount=5,filesize=10M`.
    ///
    /// ## By hand
    /// ```sh
    /// java OPTIONS -version
    /// ```
    "jvm-options-refused", Services, seed = ["N4"], proves = [], "a Java service has options with which its JDK does not start"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let java = facts.get::<Java>()?;
    for one in &java.started {
        let Some(major) = one.major else { continue };
        let ignores = one.options.words.iter().any(|word| *word == "-XX:+IgnoreUnrecognizedVMOptions");
        let bad: Vec<String> = one
            .options
            .words
            .iter()
            .filter(|word| refuses(major, word) && !(ignores && word.starts_with(b"-XX:")))
            .map(ToString::to_string)
            .collect();
        let Some(first) = bad.first() else { continue };
        let unit = one.unit.as_str();
        let finding = found.error(tr!(
            "{unit} does not start: JDK {major} does not know {option}",
            unit,
            major,
            option = first.as_str()
        ));
        let (file, span) = &one.at;
        finding.at(file, *span);
        finding.explains(Subject::Unit(one.unit.clone()));
        finding.why(tr!("\"Could not create the Java Virtual Machine\" is all that it says before it exits"));
        for more in bad.iter().skip(1) {
            finding.note(tr!("nor does it know {option}", option = more.as_str()));
        }
        if let Some(home) = &one.home {
            finding.evidence(home.join("release").display().to_string(), format!("JAVA_VERSION {major}"));
        }
        finding.detail("options", bad.clone()).detail("jdk", major);
        finding.by_hand(tr!("take the options out, or start it with the JDK that they are for"));
    }
    Ok(())
}
