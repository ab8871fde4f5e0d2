//! The limits of a process in a container.

use std::path::PathBuf;

use sickbay_formats::rlimits;

use super::begun::begun;
use super::beside::others;
use super::compare::compare;
use super::systemd::by_systemd;
use super::{Chain, Sides, count_last, layer};
use crate::facts::Facts;
use crate::facts::limits::manager::{First, Manager};
use crate::facts::limits::process::Origin;
use crate::facts::system::units::{self, State};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// Files of container engines that say something of limits.
const DAEMON_JSON: &str = "/etc/docker/daemon.json";

pub(super) fn container(facts: &Facts, who: Text, id: &str, origin: &Origin) -> Result<Chain, Skip> {
    let first = facts.get::<First>()?;
    let manager = Manager::of(facts, "system");
    let engine = ["docker.service", "containerd.service"]
        .into_iter()
        .find_map(|unit| Some((unit, units::unit(facts, unit).ok().filter(|read| read.state == State::Loaded)?)));
    let own = format!("/var/lib/docker/containers/{id}/hostconfig.json");
    let ulimits = |path: &str, key: &str| -> Vec<(String, Sides)> {
        let Some(file) = facts.file(path).ok().flatten() else { return Vec::new() };
        let value: serde_json::Value = serde_json::from_slice(&file.bytes).unwrap_or_default();
        let side = |one: &serde_json::Value, name: &str| {
            let number = one.get(name)?.as_i64()?;
            Some(u64::try_from(number).ok())
        };
        let one = |name: Option<&str>, one: &serde_json::Value| {
            Some((name?.to_owned(), (side(one, "Soft"), side(one, "Hard"))))
        };
        match value.get(key) {
            Some(serde_json::Value::Object(all)) => {
                all.iter().filter_map(|(name, value)| one(Some(name), value)).collect()
            }
            Some(serde_json::Value::Array(all)) => {
                all.iter().filter_map(|value| one(value.get("Name").and_then(|name| name.as_str()), value)).collect()
            }
            _ => Vec::new(),
        }
    };
    let all = [
        (Text::verbatim("daemon.json"), DAEMON_JSON, ulimits(DAEMON_JSON, "default-ulimits")),
        (tr!("the container's own"), own.as_str(), ulimits(&own, "Ulimits")),
    ];
    let mut rows = Vec::new();
    for resource in rlimits::ALL {
        let mut row = begun(facts, &first, resource, Some(origin));
        by_systemd(
            &mut row,
            &first,
            &manager,
            engine.as_ref().map(|(_, unit)| unit),
            engine.as_ref().map_or("", |(unit, _)| unit),
        );
        for (name, path, ulimits) in &all {
            let Some((_, sides)) = ulimits.iter().find(|(item, _)| item == resource.name) else { continue };
            let mut new = layer(name.clone(), *sides);
            new.place = Some((PathBuf::from(path), 0));
            row.layers.push(new);
            count_last(&mut row);
            if let (Some(soft), Some(hard)) = sides {
                row.wanted = Some((*soft, *hard));
                row.after = row.wanted;
            }
        }
        compare(facts, &mut row, Some(origin));
        rows.push(row);
    }
    let remarks = vec![tr!("what starts it inside of the container may lower its limits, which is not seen from here")];
    Ok(Chain { who, rows, beside: others(facts, Some(origin)), remarks })
}
