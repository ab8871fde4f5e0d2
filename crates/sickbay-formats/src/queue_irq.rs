//! Names of the interrupts of network cards: which queue of which card. Every driver has its own way to call them.

/// For what an interrupt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Packets that come in.
    Receive,
    /// Packets that have been sent.
    Send,
    /// Both.
    Both,
    /// Neither: configuration, the link, the mailbox of a virtual function.
    Control,
}

impl Role {
    /// Whether packets that come in are announced by it.
    pub fn receives(self) -> bool {
        matches!(self, Role::Receive | Role::Both)
    }
}

/// Words of interrupts that carry no packets.
const CONTROL: [&str; 16] = [
    "config", "control", "mgmnt", "mgmt", "async", "fdir", "misc", "other", "event", "link", "lsc", "mbx", "mailbox",
    "cmd", "pages", "aq",
];

/// The part of a name before `@`: `mlx5_comp3@pci:0000:3b:00.0` names its device there.
fn head(name: &str) -> &str {
    name.split_once('@').map_or(name, |(head, _)| head)
}

/// Whether an interrupt of that name is of the card: by the name of its interface, by that of its device (`virtio2`), or by
/// the address of its PCI function (`0000:3b:00.0`).
pub fn is_of(name: &str, interface: &str, device: &str) -> bool {
    let pieces = |part: &str| {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        name.match_indices(part).any(|(at, _)| {
            let before = name.get(..at).unwrap_or_default();
            let after = name.get(at + part.len()..).unwrap_or_default();
            !before.ends_with(|c: char| c.is_ascii_alphanumeric()) && ends(after)
        })
    };
    (!interface.is_empty() && pieces(interface)) || (!device.is_empty() && pieces(device))
}

/// Which queue it is, and for what. `None` for a name that has no number and no known word: a card with one interrupt for
/// all says only its own name.
pub fn queue(name: &str, interface: &str) -> Option<(Role, u32)> {
    let head = head(name);
    // What is left when the card's own name is taken out: eth0-TxRx-3, i40e-eth0-TxRx-3.
    let own = |text: &str| match text.find(interface).filter(|_| !interface.is_empty()) {
        Some(at) => text.get(at + interface.len()..).unwrap_or_default().to_owned(),
        None => text.to_owned(),
    };
    let rest = own(head).to_ascii_lowercase();
    if rest.is_empty() {
        return Some((Role::Both, 0));
    }
    let words = || rest.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    if words().any(|word| CONTROL.contains(&word)) {
        return Some((Role::Control, 0));
    }
    let digits: Vec<&str> = rest.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty()).collect();
    // Xen's eth0-q0-rx has it in the middle; a name that ends without a number has one queue: virtio4-input.
    let is_virtio = rest.starts_with("virtio");
    let number = match digits.last() {
        Some(_) if is_virtio && digits.len() < 2 => 0,
        Some(last) => last.parse().ok().filter(|number| *number < 1 << 14)?,
        None => 0,
    };
    let has = |word: &str| rest.contains(word);
    let role = if has("txrx") || has("tx-rx") || has("rxtx") || has("rx-tx") || has("tx/rx") || has("combined") {
        Role::Both
    } else if has("input") || words().any(|word| word == "rx" || word == "rxq") {
        Role::Receive
    } else if has("output") || words().any(|word| word == "tx" || word == "txq") {
        Role::Send
    } else if digits.is_empty() {
        return None;
    } else {
        Role::Both
    };
    Some((role, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_has_its_own_way() {
        use Role::{Both, Control, Receive, Send};
        for (name, interface, told) in [
            ("virtio2-input.3", "eth0", Some((Receive, 3))),
            ("virtio2-output.0", "eth0", Some((Send, 0))),
            ("virtio2-config", "eth0", Some((Control, 0))),
            ("virtio4-input", "eth0", Some((Receive, 0))),
            ("eth0-TxRx-3", "eth0", Some((Both, 3))),
            ("i40e-eth0-TxRx-12", "eth0", Some((Both, 12))),
            ("iavf-eth0-TxRx-1", "eth0", Some((Both, 1))),
            ("iavf-0000:00:05.0:mbx", "eth0", Some((Control, 0))),
            ("ice-ens1f0-TxRx-7", "ens1f0", Some((Both, 7))),
            ("i40e-0000:3b:00.0:misc", "eth0", Some((Control, 0))),
            ("mlx5_comp3@pci:0000:3b:00.0", "eth0", Some((Both, 3))),
            ("mlx5_async0@pci:0000:3b:00.0", "eth0", Some((Control, 0))),
            ("mlx4-async@pci:0000:3b:00.0", "eth0", Some((Control, 0))),
            ("mlx4-3@0000:3b:00.0", "eth0", Some((Both, 3))),
            ("eth0-Tx-Rx-0", "eth0", Some((Both, 0))),
            ("ena-mgmnt@pci:0000:00:05.0", "eth0", Some((Control, 0))),
            ("gve-ntfy-blk5@pci:0000:00:04.0", "eth0", Some((Both, 5))),
            ("mana_q7@pci:7870:00:00.0", "eth0", Some((Both, 7))),
            ("eth0-q1-rx", "eth0", Some((Receive, 1))),
            ("eth0-q1-tx", "eth0", Some((Send, 1))),
            ("eth0-rx-0", "eth0", Some((Receive, 0))),
            ("eth0-tx-2", "eth0", Some((Send, 2))),
            ("eth0-rxtx-2", "eth0", Some((Both, 2))),
            ("eth0-fp-4", "eth0", Some((Both, 4))),
            ("eth0-event-5", "eth0", Some((Control, 0))),
            ("hns3-0000:bd:00.0-TxRx-3", "eth0", Some((Both, 3))),
            ("eth0 (queue 6)", "eth0", Some((Both, 6))),
            ("eth0", "eth0", Some((Both, 0))),
            ("i8042", "", Some((Both, 8042))),
            ("acpi", "eth0", None),
        ] {
            assert_eq!(queue(name, interface), told, "{name}");
        }
    }

    #[test]
    fn whose_it_is() {
        assert!(is_of("virtio2-input.0", "eth0", "virtio2"));
        assert!(!is_of("virtio21-input.0", "eth0", "virtio2"));
        assert!(is_of("eth0-TxRx-3", "eth0", "0000:3b:00.0") && !is_of("eth01-TxRx-3", "eth0", ""));
        assert!(is_of("mlx5_comp3@pci:0000:3b:00.0", "ens1", "0000:3b:00.0"));
        assert!(!is_of("veth0-TxRx-3", "eth0", "") && !is_of("nvme0q1", "eth0", "virtio2"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(name: String, near in "[a-z0-9@:.-]{0,24}", interface: String) {
            for name in [name, near] {
                let _ = (queue(&name, &interface), queue(&name, "eth0"), is_of(&name, &interface, "virtio2"));
            }
        }
    }
}
