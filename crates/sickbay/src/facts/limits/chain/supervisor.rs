//! supervisord: its minfds and minprocs.

use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::supervisord_conf::{self, Setting};

use super::{Row, count_last, layer, place};
use crate::facts::Facts;
use crate::facts::limits::manager::First;
use crate::facts::limits::process::Origin;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// supervisord raises what is below its minfds and minprocs, and lowers nothing.
pub(super) fn by_supervisor(row: &mut Row, file: &Arc<SourceFile>, settings: &[Setting], first: &First) {
    let (key, least) = match row.resource.name {
        "nofile" => ("minfds", 1024),
        "nproc" => ("minprocs", 200),
        _ => return,
    };
    let set = supervisord_conf::last(settings, "supervisord", key);
    let number = set.and_then(|one| one.value.to_str().ok()?.parse::<u64>().ok());
    let value = number.unwrap_or(least);
    let raises = |bound: Option<u64>| bound.is_some_and(|bound| bound < value);
    let raised = row.after.map(|(soft, hard)| {
        let up = |bound: Option<u64>| bound.map(|bound| bound.max(value));
        (up(soft), up(hard))
    });
    let beyond = key == "minfds" && first.nr_open.is_some_and(|most| value > most);
    let unprivileged = first.bounded && row.after.is_some_and(|(_, hard)| raises(hard));
    let refused = beyond || unprivileged;
    let remark = match (beyond, row.after) {
        (true, _) => Some(tr!("more than fs.nr_open: supervisord does not start")),
        (false, _) if unprivileged => Some(tr!(
            "more than the hard limit, which nobody may raise without CAP_SYS_RESOURCE: supervisord does not start"
        )),
        (false, Some((soft, _))) if !raises(soft) => Some(tr!("no effect: the limit is as high already")),
        _ => None,
    };
    // In another section it says nothing.
    let elsewhere = settings.iter().find(|one| one.key == key && one.section != "supervisord");
    if let Some(one) = elsewhere {
        let mut wrong =
            layer(Text::verbatim(key), (Some(one.value.to_str().ok().and_then(|text| text.parse().ok())), None));
        wrong.place = place(file, one.span);
        wrong.remark = Some(tr!("no effect: it is not in the section [supervisord]"));
        row.layers.push(wrong);
    }
    let counts = !refused && row.after.is_some_and(|(soft, _)| raises(soft));
    let mut new = layer(Text::verbatim(key), (Some(Some(value)), None));
    new.place = set.and_then(|one| place(file, one.span));
    new.remark = remark;
    row.layers.push(new);
    if refused {
        row.after = None;
    }
    if counts {
        count_last(row);
        row.after = raised;
        row.wanted = raised;
    }
}

/// Where supervisord looks for its configuration.
const SUPERVISOR: [&str; 4] =
    ["/etc/supervisor/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor.conf", "/usr/etc/supervisord.conf"];

pub(super) fn supervisor(facts: &Facts, origin: &Origin) -> Option<(Arc<SourceFile>, Vec<Setting>)> {
    let pid = origin.under("supervisord")?;
    let words = facts.root().read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = words.split(|byte| *byte == 0).map(|word| word.to_str_lossy().into_owned()).collect();
    let named = words.iter().position(|word| word == "-c" || word == "--configuration");
    supervisor_files(facts, named.and_then(|at| words.get(at + 1)).map(String::as_str))
}

pub(super) fn supervisor_files(facts: &Facts, named: Option<&str>) -> Option<(Arc<SourceFile>, Vec<Setting>)> {
    let mut paths = named.into_iter().chain(SUPERVISOR);
    let file = paths.find_map(|path| facts.file(path).ok().flatten())?;
    let settings = supervisord_conf::settings(&file.bytes);
    Some((file, settings))
}
