//! Packets are dropped because their answers would leave by another card.

use crate::facts::Facts;
use crate::facts::network::live::Live;
use crate::facts::network::now::Now;
use crate::facts::network::tcp_counters::TcpCounters;
use crate::facts::system::kernel::parameter;
use crate::mend::irq_repair;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a machine with two cards answers on one address and not on the other, though tcpdump shows the packets come in; nothing is
    /// in the log, and the packet filter is open.
    ///
    /// ## What it finds
    /// While it watches, packets that the reverse path filter drops (`IPReversePathFilter` in `/proc/net/netstat` grows by 5 a second or more), on a
    /// machine with a card that is filtered strictly (`net.ipv4.conf.*.rp_filter` = 1; of `all` and the card's own the larger one counts),
    /// and that has no default route while another card has: who calls it from another network has the answer leave by the other one.
    ///
    /// ## Why it matters
    /// Every such packet is dropped without a word. With one card nothing is said: then the filter drops what is forged.
    ///
    /// ## What the repair does
    /// Sets the filter of that card to 2 (loose: the sender must be reachable by any card), now and at boot. Risky: strict filters are
    /// also there to keep forged packets out. A route back by the same card (a rule and a table of its own) is the better remedy.
    ///
    /// ## By hand
    /// ```sh
    /// nstat -az TcpExtIPReversePathFilter
    /// sysctl -a | grep '\.rp_filter'
    /// ip route get SENDER
    /// # the answer by the same card
    /// ip rule add from ADDRESS table 100
    /// ip route add default via ROUTER dev CARD table 100
    /// ```
    "reverse-path-filter", Network, seed = ["C10"], proves = [], "packets are dropped because their answers would leave by another card"
}

/// So many a second are no accident.
const OFTEN: f64 = 5.0;

/// What net.ipv4.conf.*.rp_filter says (Documentation/networking/ip-sysctl.rst).
const STRICT: u64 = 1;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let counters = facts.get::<TcpCounters>()?;
    let dropped = counters.grown("TcpExt.IPReversePathFilter");
    if counters.span == 0.0 || (dropped as f64) < OFTEN * counters.span {
        return Ok(());
    }
    let now = facts.get::<Now>()?;
    let leads_out = |name: &str| now.defaults.iter().any(|route| route.dev == name);
    // A table of its own for what comes by that card leads its answers back.
    let has_rules = facts.get::<Live>().is_ok_and(|live| live.0.rules.iter().any(|rule| rule.from.is_some()));
    if now.defaults.is_empty() || has_rules {
        return Ok(());
    }
    let all = parameter(facts, "net.ipv4.conf.all.rp_filter")?.unwrap_or(0);
    let mut strict = Vec::new();
    for card in now.cards.iter().filter(|card| card.up && card.name != "lo" && !card.networks.is_empty()) {
        let own = parameter(facts, &key(&card.name))?.unwrap_or(0);
        if all.max(own) == STRICT && !leads_out(&card.name) {
            strict.push((card, own));
        }
    }
    // Which of several it was nobody counted.
    let [(card, own)] = strict.as_slice() else { return Ok(()) };
    let (dev, out) = (card.name.as_str(), now.defaults.first().map_or("", |route| route.dev.as_str()));
    let seconds = counters.span.round().max(1.0) as u64;
    let finding = found.warning(tr!(
        "the reverse path filter dropped {dropped} {dropped?packet|packets} in {seconds} s: {dev} is filtered strictly, and answers to other networks leave by {out}",
        dropped,
        seconds,
        dev,
        out
    ));
    finding.at_parameter(key(dev)).subject(Subject::Interface(dev.to_owned()));
    finding.why(tr!("who calls {dev} from another network gets no answer", dev));
    finding.note(tr!("rp_filter is {all} for all and {own} for {dev}: the larger one counts", all, own = *own, dev));
    finding.extent(dropped).detail("dropped", dropped).detail("interface", dev);
    let key = key(dev);
    let mut changes = irq_repair::parameter(facts, &key, "2")?;
    changes.push(Change::kernel(key.as_str(), own.to_string(), "2"));
    finding.repair(Risk::Risky, tr!("set {key} to {value}, now and at boot", key = key.as_str(), value = "2"), changes);
    finding.by_hand(tr!("let answers leave by {dev}: a rule from its address to a table with its own router", dev));
    Ok(())
}

/// The parameter of one card. In names of sysctl(8) a slash stands for a dot in the card's own.
fn key(card: &str) -> String {
    format!("net.ipv4.conf.{}.rp_filter", card.replace('.', "/"))
}
