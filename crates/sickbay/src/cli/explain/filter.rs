//! `sickbay explain filter --packet 'tcp from 1.2.3.4 to :22'`.

use std::path::Path;
use std::sync::Arc;

use sickbay_formats::filter::packet::Packet;
use sickbay_target::{Options, Target};

use super::super::{Context, Failure, Format, security_group};
use super::within;
use crate::facts::Facts;
use crate::facts::network::filters::{Running, Saved};
use crate::facts::network::outside::{Outside, stranger};
use crate::facts::network::security_groups::SecurityGroups;
use crate::facts::network::services::Services;
use crate::model::outcome::Skip;
use crate::report::filter;
use crate::report::filter::Asked;
use crate::tr;

pub(super) fn explain(
    context: &Context,
    target: Option<&str>,
    packet: Option<&str>,
    group: Option<&Path>,
) -> Result<u8, Failure> {
    let given = packet.map(Packet::parse).transpose().map_err(|word| {
        Failure(tr!("a packet is given as 'tcp from 1.2.3.4 to :22': \"{word}\" was not understood", word))
    })?;
    let options = Options { any_directory: true, ..Options::default() };
    let target = Target::open(target.map(Path::new), &options)?;
    let group = group.map(security_group).transpose()?;
    let facts = Arc::new(Facts::new(Arc::new(target), None).with_security_groups(group));
    let told = within(move || {
        let running = match facts.get::<Running>() {
            Ok(running) => Some(running),
            Err(Skip::NotApplicable(_)) => None,
            Err(other) => return Err(other.into()),
        };
        let (saved, outside) = (facts.get::<Saved>()?, facts.get::<Outside>()?);
        let groups = match facts.get::<SecurityGroups>() {
            Ok(groups) => Some(groups),
            Err(Skip::NotApplicable(_)) => None,
            Err(other) => return Err(other.into()),
        };
        let rules = running.as_ref().map_or(&saved.rules, |running| &running.0);
        let fill = |mut packet: Packet| {
            packet.iif = packet.iif.or_else(|| outside.card.clone());
            packet.destination =
                packet.destination.or(outside.address.filter(|address| address.is_ipv4() != packet.v6));
            packet
        };
        let asked: Vec<Asked> = match given {
            Some(packet) => vec![Asked { packet: fill(packet), of: None }],
            None => {
                let services = facts.get::<Services>()?;
                let ports = services.open().map(|port| {
                    let mut packet = Packet::connection(Some(stranger(rules)), port.port);
                    packet.destination = port.address.filter(|address| address.is_ipv4());
                    Asked { packet: fill(packet), of: Some(port.server.name()) }
                });
                ports.collect()
            }
        };
        Ok(filter::Told::new(&facts, running.is_some(), rules, &saved, &outside, groups.as_deref(), asked))
    })?;
    match context.format {
        Format::Json => context.print_json(&filter::json(&told, &context.style))?,
        Format::Text => context.print(&filter::render(&told, &context.style)),
    }
    Ok(0)
}
