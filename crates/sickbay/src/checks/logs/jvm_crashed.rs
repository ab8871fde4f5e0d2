//! A Java virtual machine died of a signal.

use sickbay_formats::hs_err::Crash;

use crate::facts::Facts;
use crate::facts::logs::jvm_reports::JvmReports;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// In logs that are given: reports of a Java virtual machine (`hs_err_pid*.log`, also inside of another log) that died of
    /// SIGSEGV or SIGBUS, with the function that it was in and, where the report has its mappings, the file that is
    /// mapped at the address that could not be read.
    ///
    /// ## Why it matters
    /// SIGBUS in a mapped file is no fault of Java: the file was cut while it was mapped, its tmpfs or disk was full when a
    /// page of it was first touched, or the disk could not read it. SIGSEGV is a fault of the library that the frame
    /// names: native code of the application, or the JVM itself.
    ///
    /// ## What the repair does
    /// Nothing. For a mapped file look at its size, at the room on its file system and at the kernel's log; for a library
    /// take a newer one.
    "jvm-crashed", Logs, seed = [], proves = [], "a Java virtual machine died of a signal"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.target().logs().is_err() {
        return Err(Skip::NotApplicable(tr!("only reports that are given are looked at")));
    }
    for jvm in &facts.get::<JvmReports>()?.list {
        let Some(crash) = jvm.report.crash.as_ref().filter(|crash| matches!(&*crash.signal, "SIGSEGV" | "SIGBUS"))
        else {
            continue;
        };
        let signal = crash.signal.as_str();
        let finding = found.note(match (&crash.file, crash.frame.as_str()) {
            (Some(file), _) if signal == "SIGBUS" => {
                tr!("Java died of {signal} in the mapped file {file}", signal, file = file.as_str())
            }
            (_, "") => tr!("Java died of {signal}", signal),
            (_, frame) => tr!("Java died of {signal} in {frame}", signal, frame),
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
                "a page of a mapping could not be had: the file was cut while it was mapped, its tmpfs or file system was full, or the disk did not read it"
            ),
            tr!("look at the file's size, at the room on its file system (df), and in the kernel's log for I/O errors"),
        );
    }
    let library = crash.frame.strip_prefix('[').and_then(|frame| frame.split(['+', ']']).next());
    let of_jvm = library.is_none_or(|library| library.starts_with("libjvm"));
    match library.filter(|_| !of_jvm) {
        Some(library) => (
            tr!("{library} used an address that is not its own", library),
            tr!("take another version of {library}, or do without it", library),
        ),
        None => (
            tr!("the JVM itself used an address that is not its own: a fault in it, or in native code that ran before"),
            tr!("take the newest release of this Java; if it stays, look at what native libraries are loaded"),
        ),
    }
}
