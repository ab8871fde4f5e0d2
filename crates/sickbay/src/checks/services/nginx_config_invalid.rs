//! nginx does not accept its configuration.

use crate::facts::Facts;
use crate::facts::services::nginx::{Mended, Nginx};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `nginx: [emerg] unexpected "}" in /etc/nginx/nginx.conf:12`, and nginx.service fails to start; or a reload that changes nothing.
    ///
    /// ## What it finds
    /// The first thing at which nginx stops reading its configuration, with the line that `nginx -t` names and in its words: a semicolon, brace or
    /// quote that is lost, a directive in the wrong place, with the wrong number of arguments or given twice, two `listen` with options for one
    /// address and port, an included file that is not there, a directive that this nginx and its modules do not have.
    ///
    /// Values that only nginx itself can judge (certificates, regular expressions, names that have to be looked up) are not looked at.
    ///
    /// ## Why it matters
    /// nginx does not start with it, neither after a reboot nor after an update. One that runs goes on with what it read before, and refuses to reload.
    ///
    /// ## What the repair does
    /// Adds the semicolon, or corrects the name of a directive, if risky repairs are accepted and there is only one way to do so. nginx is not reloaded.
    ///
    /// ## By hand
    /// ```sh
    /// nginx -t
    /// ```
    "nginx-config-invalid", Services, seed = ["N3"], proves = [], "nginx does not accept its configuration"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let nginx = facts.get::<Nginx>()?;
    if !nginx.counts {
        return Err(Skip::NotApplicable(tr!("nginx does not run, and no boot starts it")));
    }
    let Some(problem) = &nginx.problem else { return Ok(()) };
    let message = tr!("nginx does not accept line {line}: {says}", line = problem.line, says = problem.says.as_str());
    let finding = found.error(message);
    finding.at(&problem.file, problem.file.line_span(problem.line));
    if let Some((line, name)) = problem.open.as_ref().filter(|_| problem.says.contains("expecting \"}\"")) {
        finding.note(tr!(
            "the block {name} of line {line} is the innermost that is not closed",
            name = name.to_string(),
            line
        ));
    }
    finding.why(match nginx.master {
        Some(pid) => {
            tr!("nginx (PID {pid}) goes on with what it read before; it cannot reload, and does not start again", pid)
        }
        None => tr!("nginx does not start"),
    });
    for unit in ["nginx.service", "openresty.service"] {
        finding.explains(Subject::Unit(unit.to_owned()));
    }
    let edit = |after: &[u8]| Change::Edit {
        path: problem.file.path.clone(),
        before: problem.file.bytes.clone(),
        after: after.to_vec(),
    };
    match &problem.mended {
        Some(Mended::Semicolon(line, after)) => {
            finding.repair(Risk::Risky, tr!("add the semicolon that line {line} lacks", line), [edit(after)]);
        }
        Some(Mended::Word(is, meant, after)) => {
            let title = tr!("write {meant} instead of {is}", meant = meant.as_str(), is = is.as_str());
            finding.repair(Risk::Risky, title, [edit(after)]);
        }
        None => {
            finding.by_hand(tr!("correct it, and run nginx -t"));
        }
    }
    Ok(())
}
