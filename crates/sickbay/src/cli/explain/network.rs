//! `sickbay explain network`.

use std::path::Path;
use std::sync::Arc;

use sickbay_formats::network::Card;
use sickbay_target::{Options, Root, Target};

use super::super::{Context, Failure, Format};
use super::within;
use crate::facts::Facts;
use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::live::Live;
use crate::report::network;
use crate::report::network::Told;
use crate::tr;

/// What `--links` holds.
#[derive(serde::Deserialize)]
struct Links {
    interfaces: Vec<Link>,
}

#[derive(serde::Deserialize)]
struct Link {
    name: String,
    #[serde(default)]
    mac: Option<String>,
}

pub(super) fn explain(context: &Context, target: Option<&str>, links: Option<&Path>) -> Result<u8, Failure> {
    let given = links.map(cards).transpose()?;
    // A tree of nothing but the network's files will do.
    let options = Options { any_directory: true, ..Options::default() };
    let target = Target::open(target.map(Path::new), &options)?;
    let facts = Arc::new(Facts::new(Arc::new(target), None));
    let (after, files, now) = within(move || {
        let after = AfterRestart::with(&facts, given)?;
        Ok((after, facts.get::<NetworkFiles>()?, facts.get::<Live>().ok()))
    })?;
    let told = Told { after: &after, files: &files, now: now.as_ref().map(|live| &live.0) };
    match context.format {
        Format::Json => context.print_json(&network::json(&told, &context.style))?,
        Format::Text => context.print(&network::render(&told, &context.style)),
    }
    Ok(0)
}

/// Whether the word is a target, and not one of an error message that begins with "network".
pub(super) fn is_there(word: &str) -> bool {
    let exists = |path: &Path| Root::host().ok()?.exists(path).ok();
    word.contains('/') || std::path::absolute(word).ok().and_then(|path| exists(&path)) == Some(true)
}

/// The cards that a file describes.
fn cards(path: &Path) -> Result<Vec<Card>, Failure> {
    let fail = |error: String| Failure(tr!("{path} does not describe network cards: {error}", path, error));
    let absolute = std::path::absolute(path).map_err(|error| fail(error.to_string()))?;
    let bytes = Root::host()?.read(&absolute).map_err(|error| fail(error.to_string()))?;
    let links: Links = serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))?;
    let card = |link: Link| Card {
        name: link.name,
        mac: link.mac.filter(|mac| !mac.is_empty()).map(|mac| mac.to_lowercase()),
    };
    Ok(links.interfaces.into_iter().map(card).collect())
}
