//! Faults of the network: the machine starts, and nobody reaches it.

use super::super::disk::{IFUPDOWN, NETPLAN, NETWORK_MANAGER, NETWORKD};
use super::{Fault, fault};

/// By the program that configures the network.
pub(super) const NETWORK: &[Fault] = &[
    fault(
        "ifupdown-other-card",
        "/etc/network/interfaces is for the card of another machine",
        r"sed -i s/ens3/eno1/ $R/etc/network/interfaces",
        "network-card-unknown",
    ).on(&IFUPDOWN).by_ssh(),
    fault(
        "ifupdown-misspelt",
        "`gatway` in /etc/network/interfaces",
        r"sed -i s/gateway/gatway/ $R/etc/network/interfaces",
        "network-config-unusable",
    ).on(&IFUPDOWN).by_ssh(),
    fault(
        "ifupdown-cut",
        "the stanza of another card is cut behind its name",
        r"printf '\nauto ens4\niface ens4\n' >>$R/etc/network/interfaces",
        "network-config-unusable",
    ).on(&IFUPDOWN).by_ssh(),
    fault(
        "ifupdown-disabled",
        "nothing starts networking.service",
        r"find $R/etc/systemd/system -name networking.service -type l -delete",
        "network-not-started",
    ).on(&IFUPDOWN).by_ssh().risky(),
    fault(
        "networkd-other-card",
        "the .network file is for the card of another machine",
        r"sed -i s/ens3/enp0s25/ $R/etc/systemd/network/10-lan.network",
        "network-card-unknown",
    ).on(&NETWORKD).by_ssh(),
    fault(
        "networkd-disabled",
        "nothing starts systemd-networkd.service",
        r"find $R/etc/systemd/system -name 'systemd-networkd.*' -type l -delete",
        "network-not-started",
    ).on(&NETWORKD).by_ssh().risky(),
    fault(
        "networkd-unreadable",
        "the .network file can be read by root alone",
        r"chmod 600 $R/etc/systemd/network/10-lan.network",
        "network-config-unusable",
    ).on(&NETWORKD).by_ssh(),
    fault(
        "networkd-misspelt",
        "`Adress=` in a .network file",
        r"sed -i s/Address=/Adress=/ $R/etc/systemd/network/10-lan.network",
        "network-config-unusable",
    ).on(&NETWORKD).by_ssh(),
    fault(
        "netplan-tab",
        "a tab in netplan's YAML",
        r"sed -i 's/^      addresses:/\taddresses:/' $R/etc/netplan/50-cloud-init.yaml",
        "network-config-unusable",
    ).on(&NETPLAN).by_ssh(),
    fault(
        "netplan-misspelt",
        "`adresses` in netplan's YAML",
        r"sed -i s/addresses/adresses/ $R/etc/netplan/50-cloud-init.yaml",
        "network-config-unusable",
    ).on(&NETPLAN).by_ssh(),
    fault(
        "netplan-other-card",
        "netplan's YAML is for the card of another machine",
        r"sed -i s/ens3/enp0s25/ $R/etc/netplan/50-cloud-init.yaml",
        "network-card-unknown",
    ).on(&NETPLAN).by_ssh(),
    fault(
        "network-manager-other-card",
        "the connection is for the card of another machine",
        r"sed -i s/ens3/enp0s25/ $R/etc/NetworkManager/system-connections/lan.nmconnection",
        "network-card-unknown",
    ).on(&NETWORK_MANAGER).by_ssh(),
    fault(
        "network-manager-mode",
        "others may read the connection",
        r"chmod 644 $R/etc/NetworkManager/system-connections/lan.nmconnection",
        "network-config-unusable",
    ).on(&NETWORK_MANAGER).by_ssh(),
    fault(
        "network-manager-owner",
        "the connection belongs to another user",
        r"chown 1000 $R/etc/NetworkManager/system-connections/lan.nmconnection",
        "network-config-unusable",
    ).on(&NETWORK_MANAGER).by_ssh(),
    fault(
        "network-manager-disabled",
        "nothing starts NetworkManager.service",
        r"find $R/etc/systemd/system -name 'NetworkManager*' -type l -delete",
        "network-not-started",
    ).on(&NETWORK_MANAGER).by_ssh().risky(),
    fault(
        "network-manager-not-its-card",
        "/etc/network/interfaces names the card, and NetworkManager leaves it to ifupdown, which is not installed",
        r"mkdir -p $R/etc/network; printf 'auto lo\niface lo inet loopback\n\nallow-hotplug ens3\niface ens3 inet manual\n' >$R/etc/network/interfaces",
        "network-config-unusable",
    ).on(&NETWORK_MANAGER).by_ssh(),
    fault(
        "network-manager-no-autoconnect",
        "the connection is not started by itself",
        r"sed -i 's/^type=ethernet/&\nautoconnect=false/' $R/etc/NetworkManager/system-connections/lan.nmconnection",
        "network-config-unusable",
    ).on(&NETWORK_MANAGER).by_ssh().risky(),
];
