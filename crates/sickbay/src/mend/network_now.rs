//! Repairs of the running kernel's network: what its files come to is set up now, and what stands in its way is taken away.
//!
//! Only IPv4, only the main table, and nothing of a card that gets its addresses from a lease: what a client of DHCP or a daemon
//! of routes keeps is theirs.

use sickbay_formats::network::Outcome;
use sickbay_formats::network::address::Cidr;
use sickbay_formats::network::kernel::{MAIN, Route};
use sickbay_formats::network::piece::{Kind, Piece};

use crate::facts::network::live::{Live, Pieces};
use crate::model::repair::Change;

/// What a card lacks: that it is up, its addresses, the routes over it. The default route only where there is none.
pub(crate) fn bring_up(live: &Live, pieces: &Pieces, wanted: &Outcome, dev: &str) -> Vec<Change> {
    let (Some(index), Some(link)) = (pieces.index(dev), wanted.kernel.link(dev)) else { return Vec::new() };
    if link.dynamic || !link.up || link.master.is_some() {
        return Vec::new();
    }
    let mut changes = Vec::new();
    if live.0.link(dev).is_some_and(|link| !link.up) {
        add(&mut changes, pieces, Piece::link(index));
    }
    for address in &link.addresses {
        changes.extend(Piece::address(index, dev, address.cidr).and_then(|piece| lacking(pieces, piece)));
    }
    let has_default = live.0.table(MAIN, false).iter().any(|route| route.dst.is_default() && route.via.is_some());
    let routes = wanted.kernel.table(MAIN, false).into_iter();
    let routes = routes.filter(|route| route.dev == dev && route.proto != "kernel");
    // Routes to routers before those by them.
    let (direct, by_router): (Vec<&Route>, Vec<&Route>) = routes.partition(|route| route.via.is_none());
    for route in direct.into_iter().chain(by_router) {
        if !route.dst.is_default() {
            changes.extend(Piece::route(index, route).and_then(|piece| lacking(pieces, piece)));
        } else if !has_default {
            changes.extend(default(pieces, route));
        }
    }
    changes
}

/// The default route that is wanted, instead of those without a router that count before it.
pub(crate) fn default(pieces: &Pieces, wanted: &Route) -> Vec<Change> {
    let Some(index) = pieces.index(&wanted.dev) else { return Vec::new() };
    let Some(change) = Piece::route(index, wanted).and_then(|piece| lacking(pieces, piece)) else { return Vec::new() };
    let mut changes = vec![change];
    for (piece, route) in pieces.routes() {
        let in_the_way = route.dst.is_default()
            && !route.dst.is_v6()
            && route.table == MAIN
            && route.via.is_none()
            && route.kind == "unicast"
            && route.metric <= wanted.metric;
        if in_the_way && let Some(what) = piece.words(&pieces.links) {
            changes.push(Change::Network { what, piece: piece.clone(), there: false });
        }
    }
    changes
}

/// The right network of an address instead of the wrong one.
pub(crate) fn mask(pieces: &Pieces, dev: &str, right: Cidr, wrong: Cidr) -> Vec<Change> {
    let Some(index) = pieces.index(dev) else { return Vec::new() };
    let old = pieces.all.iter().find(|piece| {
        let words = format!("{}/{} dev {dev}", right.address, wrong.prefix);
        piece.words(&pieces.links).is_some_and(|found| found == words)
    });
    let Some(old) = old.filter(|old| !old.is_leased()) else { return Vec::new() };
    let Some(what) = old.words(&pieces.links) else { return Vec::new() };
    // With the first address of a network the kernel drops those that came after it.
    let is_other = |one: &&Piece| one.kind == Kind::Address && !one.is(old) && one.link_index() == Some(index);
    let others = pieces.all.iter().filter(is_other);
    let loses = others
        .filter_map(|one| one.words(&pieces.links)?.split_once(" dev ").and_then(|(cidr, _)| Cidr::parse(cidr)))
        .any(|cidr| cidr.prefix == wrong.prefix && wrong.contains(cidr.address) && cidr.address != right.address);
    if loses {
        return Vec::new();
    }
    let Some(new) = Piece::address(index, dev, right).and_then(|piece| lacking(pieces, piece)) else {
        return Vec::new();
    };
    vec![new, Change::Network { what, piece: old.clone(), there: false }]
}

fn add(changes: &mut Vec<Change>, pieces: &Pieces, piece: Piece) {
    changes.extend(lacking(pieces, piece));
}

/// That it is there, unless it is.
fn lacking(pieces: &Pieces, piece: Piece) -> Option<Change> {
    if pieces.all.iter().any(|one| one.is(&piece)) {
        return None;
    }
    Some(Change::Network { what: piece.words(&pieces.links)?, piece, there: true })
}
