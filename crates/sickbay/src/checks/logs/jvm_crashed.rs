//! A Java virtual machine died of a signal.

use sickbay_formats::hs_err::Crash;

use crate::facts::Facts;
use crate::facts::logs::jvm_reports::JvmReports;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "A fatal error has been detected by the Java Runtime Environment: SIGBUS (0x7) at pc=…" and a file
    /// hs_err_pidNNNN.log.
    ///
    /// ## What it finds
    /// In logs that are given explicitly: reports of a Java virtual machine (`hs_err_pid*.log`, also inside another
    /// log) that was killed by SIGSEGV or SIGBUS, with the function it was in and, where the report includes its
    /// mappings, the file mapped at the address that could not be read.
    ///
    /// ## Why it matters
    /// SIGBUS in a mapped file is not a fault of Java: the file was truncated while mapped, its tmpfs or disk was full
    /// when a page of it was first touched, or the disk could not read it. SIGSEGV is a fault of the library that the
    /// frame names: native code of the application, or the JVM itself.
    ///
    /// ## What the repair does
    /// Nothing. For a mapped file check its size, the space on its file system and the kernel log; for a library use a
    /// newer version.
    ///
    /// ## By hand
    /// ```sh
    /// ls -l MAPPED-FILE
    /// df -h MAPPED-FILE
    /// dmesg | grep -i -e 'I/O error' -e 'Bus error'
    /// ```
    "jvm-crashed", Logs, seed = [], proves = [], "a Java virtual machine was killed by a signal"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.target().logs().is_err() {
        return Err(Skip::NotApplicable(tr!("only reports that are given explicitly are read")));
    }
    for jvm in &facts.get::<JvmReports>()?.list {
        let Some(crash) = jvm.report.crash.as_ref().filter(|crash| matches!(&*crash.signal, "SIGSEGV" | "SIGBUS"))
        else {
            continue;
        };
        let signal = crash.signal.as_str();
        let finding = found.note(match (&crash.file, crash.frame.as_str()) {
            (Some(file), _) if signal == "SIGBUS" => {
                tr!("Java was killed by {signal} in the mapped file {file}", signal, file = file.as_str())
            }
            (_, "") => tr!("Java was killed by {signal}", signal),
            (_, frame) => tr!("Java was killed by {signal} in {frame}", signal, frame),
        });
        let (why, by_hand) = told(crash);
        finding.at_path(&jvm.file.path).why(why).by_hand(by_hand);
        finding.evidence(jvm.place(crash.line), jvm.file.line_text(crash.line));
        finding
            .detail("signal", signal)
            .detail("frame", crash.frame.as_str())
            .detail("file", crash.file.as_deref())
            .detail("pid", jvm.report.pid)
            .detail("kernel", jvm.report.release.as_str());
    }
    Ok(())
}

fn told(crash: &Crash) -> (Text, Text) {
    if crash.signal == "SIGBUS" {
        return (
            tr!(
                "a page of a mapping was not available: the file was truncated while mapped, its tmpfs or file system was full, or the disk failed to read it"
            ),
            tr!("check the file's size, the space on its file system (df), and the kernel log for I/O errors"),
        );
    }
    let library = crash.frame.strip_prefix('[').and_then(|frame| frame.split(['+', ']']).next());
    let of_jvm = library.is_none_or(|library| library.starts_with("libjvm"));
    match library.filter(|_| !of_jvm) {
        Some(library) => (
            tr!("{library} accessed an invalid address", library),
            tr!("use another version of {library}, or do without it", library),
        ),
        None => (
            tr!("the JVM itself accessed an invalid address: a bug in it, or in native code that ran before"),
            tr!("use the newest release of this Java; if that does not help, check which native libraries are loaded"),
        ),
    }
}
