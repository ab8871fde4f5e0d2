//! What the kernel of this machine has now.

use std::net::Ipv4Addr;

use bstr::ByteSlice;
use sickbay_formats::network::address::Cidr;
use sickbay_formats::network::kernel::{Kernel, Route};
use sickbay_formats::network::piece::Piece;
use sickbay_formats::network::rtnetlink;
use sickbay_target::netlink;

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// Links, addresses, routes and rules as they are.
#[derive(Debug)]
pub struct Live(pub Kernel);

impl Fact for Live {
    fn gather(facts: &Facts) -> Result<Live, Skip> {
        if !facts.target().can_be_asked() {
            return Err(Skip::NotApplicable(tr!("it is not the running system")));
        }
        let (mut kernel, mut indices) = (Kernel::default(), Vec::new());
        // RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE and RTM_GETRULE; links name the others' numbers.
        for (request, family) in [(18, 0), (22, 2), (22, 10), (26, 2), (26, 10), (34, 2), (34, 10)] {
            let question = format!("rtnetlink {request} of family {family}");
            match facts.root().ask(&question, || netlink::dump(request, family)) {
                Ok(messages) => rtnetlink::read(&mut kernel, &mut indices, &messages),
                // A kernel without IPv6.
                Err(_) if family == 10 => {}
                Err(error) => {
                    return Err(Skip::Unknown(tr!(
                        "the kernel's routes could not be read: {error}",
                        error = error.to_string()
                    )));
                }
            }
        }
        Ok(Live(kernel))
    }
}

/// The same thing by thing, as repairs of it need them.
#[derive(Debug)]
pub struct Pieces {
    /// Numbers and names.
    pub links: Vec<(u32, String)>,
    /// Links that are up, addresses and routes of IPv4.
    pub all: Vec<Piece>,
}

impl Fact for Pieces {
    fn gather(facts: &Facts) -> Result<Pieces, Skip> {
        if !facts.target().is_this_machine() {
            return Err(Skip::NotApplicable(tr!("it is not the running system")));
        }
        let mut found = Pieces { links: Vec::new(), all: Vec::new() };
        for (request, family) in [(18, 0), (22, 2), (26, 2)] {
            let messages = netlink::dump(request, family).map_err(|error| {
                Skip::Unknown(tr!("the kernel's routes could not be read: {error}", error = error.to_string()))
            })?;
            rtnetlink::read(&mut Kernel::default(), &mut found.links, &messages);
            found.all.extend(Piece::all(&messages));
        }
        Ok(found)
    }
}

impl Pieces {
    /// The number of a link.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, known)| known == name).map(|(index, _)| *index)
    }

    /// The routes.
    pub fn routes(&self) -> impl Iterator<Item = (&Piece, Route)> {
        self.all.iter().filter_map(|piece| Some((piece, piece.route_of(&self.links)?)))
    }
}

/// The networks that links of a running system have by their own addresses, of /proc/net/route.
#[derive(Debug)]
pub struct Connected(pub Vec<(String, Cidr)>);

impl Fact for Connected {
    fn gather(facts: &Facts) -> Result<Connected, Skip> {
        if !facts.runs() {
            return Err(Skip::NotApplicable(tr!("it is not the running system")));
        }
        let path = "/proc/net/route";
        let text = facts.required(path)?;
        let mut all = Vec::new();
        for line in text.bytes.lines().skip(1).take(1 << 16) {
            let words: Vec<&str> = line.to_str().unwrap_or_default().split_ascii_whitespace().collect();
            let [dev, dst, gateway, flags, _, _, _, mask, ..] = words.as_slice() else { continue };
            // The kernel prints the bytes as a number of the machine's own order.
            let address =
                |text: &str| u32::from_str_radix(text, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
            let (Some(dst), Some(mask)) = (address(dst), address(mask)) else { continue };
            let up = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 != 0);
            let prefix = u8::try_from(mask.to_bits().leading_ones()).unwrap_or(0);
            if up && *gateway == "00000000" && prefix > 0 && prefix < 32 {
                all.push(((*dev).to_owned(), Cidr { address: dst.into(), prefix }));
            }
        }
        Ok(Connected(all))
    }
}
