//! The running kernel's network: whether it has a thing, and that it has it or no longer has it.

use sickbay_formats::network::piece::{Kind, Piece, Rank};
use sickbay_target::{Root, Target, netlink};

use super::{Direction, Error, Workshop};
use crate::model::text::Text;
use crate::tr;

/// The network namespace that this process is in.
pub(crate) fn namespace(root: &Root) -> Option<String> {
    let link = root.read_link("/proc/self/ns/net").ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Whether the kernel has it now.
pub(crate) fn is_there(target: &Target, piece: &Piece) -> Result<bool, Error> {
    if !target.is_this_machine() {
        return Err(Error::Refused(tr!("it is not the running system")));
    }
    // RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE.
    let request = match piece.kind {
        Kind::Link => 18,
        Kind::Address => 22,
        Kind::Route => 26,
    };
    let family = if piece.kind == Kind::Link { 0 } else { piece.body.first().copied().unwrap_or(0) };
    let messages = netlink::dump(request, family).map_err(|error| {
        Error::Refused(tr!("the kernel's routes could not be read: {error}", error = error.to_string()))
    })?;
    Ok(Piece::all(&messages).iter().any(|one| one.is(piece)))
}

/// Makes it so. Can be repeated.
pub(super) fn make(shop: &Workshop<'_>, what: &str, hex: &str, there: bool, way: Direction) -> Result<(), Error> {
    let piece = piece(what, hex)?;
    if is_there(shop.target, &piece)? == there {
        return Ok(());
    }
    // What was taken away was the one that counted.
    let rank = if way == Direction::Back { Rank::First } else { Rank::Last };
    Ok(shop.writer.change_network(what, &piece.order(there, rank))?)
}

/// What a journal kept; refused where its words are not its own.
pub(crate) fn piece(what: &str, hex: &str) -> Result<Piece, Error> {
    let refused = || Error::Refused(tr!("the journal entry is damaged: {name} is not one of its files", name = what));
    let piece = Piece::from_hex(hex).ok_or_else(refused)?;
    let links = links()?;
    match piece.words(&links) {
        Some(words) if words == what => Ok(piece),
        // A link that was taken out and put back has another number.
        _ => Err(Error::Refused(tr!("{what}: the card is not there any more, or is another one", what))),
    }
}

/// Numbers and names of the links.
pub(crate) fn links() -> Result<Vec<(u32, String)>, Error> {
    let messages = netlink::dump(18, 0).map_err(|error| Error::Refused(Text::verbatim(error.to_string())))?;
    let (mut kernel, mut links) = (Default::default(), Vec::new());
    sickbay_formats::network::rtnetlink::read(&mut kernel, &mut links, &messages);
    Ok(links)
}
