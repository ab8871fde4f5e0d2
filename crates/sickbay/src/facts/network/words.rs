//! What is said of a line of the network's configuration.

use sickbay_formats::network::{Syntax, What};

use crate::model::text::Text;
use crate::tr;

/// The complaint in a sentence.
pub fn text(what: &What) -> Text {
    match what {
        What::BlankBeforeEquals(name) => {
            tr!(
                "there are blanks around the = of {name}: the shell looks for a program of that name and sets nothing",
                name = &**name
            )
        }
        What::RunAsCommand(word) => {
            tr!("the shell runs {word} as a command, and the line sets nothing", word = &**word)
        }
        What::UnclosedQuote => tr!("a quote is not closed: nothing from here on is read"),
        What::CarriageReturn(name) => {
            tr!(
                "the value of {name} ends in a carriage return, as in files from Windows, and is wrong by it",
                name = &**name
            )
        }
        What::Computed(name) => tr!("the value of {name} is computed: it is not known here", name = &**name),
        What::BadAddress(value) => {
            tr!("{value} is not an address that can be used here: it is dropped", value = &**value)
        }
        What::BadMask(value) if value.is_empty() => tr!("there is no netmask: nothing is set"),
        What::BadMask(value) => tr!("{value} is not a netmask: nothing is set", value = &**value),
        What::NoMask(cidr) => {
            tr!(
                "neither netmask nor prefix is given: the class of the address makes it {cidr}",
                cidr = cidr.to_string()
            )
        }
        What::PrefixBeatsMask(prefix, mask) => {
            tr!("NETMASK={mask} does not count: PREFIX={prefix} does", mask = &**mask, prefix = &**prefix)
        }
        What::GatewayOutside(gateway, dev) if dev.is_empty() => {
            tr!(
                "the gateway {gateway} is in no network of any card: no default route is set, and nobody says so",
                gateway = &**gateway
            )
        }
        What::GatewayOutside(gateway, dev) => tr!(
            "the gateway {gateway} is in no network of {dev}: no default route is set, and nobody says so",
            gateway = &**gateway,
            dev = &**dev
        ),
        What::GatewayOnlink(gateway, dev) => tr!(
            "the gateway {gateway} is in no network of {dev}; the route is set all the same, and works only if that router answers there",
            gateway = &**gateway,
            dev = &**dev
        ),
        What::StaleNetwork(network, gateway) => tr!(
            "NETWORK={network} is not the network of the address: the gateway {gateway} is dropped because of it",
            network = &**network,
            gateway = &**gateway
        ),
        What::DefaultWithoutRouter(dev, gateway) if gateway.is_empty() => {
            tr!("it sets the default route on {dev} without a router", dev = &**dev)
        }
        What::DefaultWithoutRouter(dev, gateway) => tr!(
            "it sets the default route on {dev} without a router: {gateway} is in no network of {dev}",
            dev = &**dev,
            gateway = &**gateway
        ),
        What::GatewayDevBars(dev, gateway) => tr!(
            "only {dev} may have the default route: the gateway {gateway} of another card is not set",
            dev = &**dev,
            gateway = &**gateway
        ),
        What::DefrouteBars(gateway) => {
            tr!("DEFROUTE=no keeps this card from the default route by {gateway}", gateway = &**gateway)
        }
        What::DefaultReplaced(dev, old) => {
            tr!(
                "the default route is declared twice: the one of {dev} replaces this one of {old}",
                dev = &**dev,
                old = &**old
            )
        }
        What::TwoDefaults(dev, other) => {
            tr!(
                "the default route is declared twice: the one of {dev} counts, not this one of {other}",
                dev = &**dev,
                other = &**other
            )
        }
        What::NotRead(name) => tr!("nothing reads {name}", name = &**name),
        What::RouteRefused(route, words) => {
            tr!("the kernel refuses {route}: {words}", route = &**route, words = *words)
        }
        What::Garbage(word) => tr!("ip does not know the word {word}, and adds nothing", word = &**word),
        What::OtherSyntax => tr!("this line is lost: another one of the file has the syntax ADDRESS0="),
        What::Gap(name) => tr!("a number before {name} is missing: nothing from there on is read", name = &**name),
        What::UnknownCommand(command) => {
            tr!("what this does to the network is not known here: {command}", command = &**command)
        }
        What::CopyStarted(dev) => {
            tr!("this copy is started as a second configuration of {dev}", dev = &**dev)
        }
        What::NoCard(name) => tr!("there is no card {name}: nothing of this is set", name = &**name),
        What::OtherCard(name, mac) => {
            tr!("{name} has another MAC address, {mac}: nothing of this is set", name = &**name, mac = &**mac)
        }
        What::NoMac(mac) => tr!("no card has the MAC address {mac}: nothing of this is set", mac = &**mac),
        What::TypeCase(value, meant) => {
            tr!("TYPE={value} is not TYPE={meant}: upper and lower case differ", value = &**value, meant = &**meant)
        }
        What::MissingFile(path) => {
            tr!(
                "{path} does not exist: the init script then starts nothing. What follows supposes an empty one",
                path = &**path
            )
        }
        What::NetworkingOff => tr!("NETWORKING=no: nothing is started"),
        What::BlocksAll(why) => {
            let why = syntax(why);
            tr!("{why}: because of it nothing of any file is done", why)
        }
        What::FileRefused(why) => {
            let why = syntax(why);
            tr!("{why}: the file is passed over", why)
        }
        What::UnknownOption(name) => tr!("nothing knows the option {name}: it is passed over", name = &**name),
        What::GivenTwice(name) => tr!("{name} is given twice in one stanza", name = &**name),
        What::NotRoots(user) => {
            tr!("this file belongs to user {user} and not to root: NetworkManager ignores it", user = u64::from(*user))
        }
        What::Unreadable(mode) => tr!(
            "systemd-networkd runs as a user of its own and cannot read this file, whose mode is {mode}",
            mode = format!("{mode:04o}")
        ),
        What::LeftToIfupdown(name) => {
            tr!(
                "NetworkManager leaves {name} alone because of this line, and ifupdown does not bring it up",
                name = &**name
            )
        }
        What::NotStarted(name) => tr!("nothing brings up {name} at boot", name = &**name),
        What::NotRun(command) => tr!("not run, since a command before it failed: {command}", command = &**command),
        What::Fails(command) => tr!("this fails, and what follows is not done: {command}", command = &**command),
        What::CardTaken(dev, file) => {
            tr!("{dev} is already configured by {file}: this file is not used for it", dev = &**dev, file = &**file)
        }
        What::TooOpen(mode) => {
            tr!("others may read it (mode {mode}): NetworkManager ignores the file", mode = format!("{mode:o}"))
        }
        What::WrongEnding(ending) => tr!("files whose names do not fit {ending} are not read", ending = *ending),
    }
}

/// Why a file is refused.
pub fn syntax(why: &Syntax) -> Text {
    match why {
        Syntax::Yaml(words) => tr!("the YAML cannot be read ({words})", words = &**words),
        Syntax::Tab => tr!("a tab indents this line, which YAML does not allow"),
        Syntax::Key(key) => tr!("there is no key {key} here", key = &**key),
        Syntax::Value(key, value) => tr!("{key} cannot be {value}", key = &**key, value = &**value),
        Syntax::NoPrefix(address) => tr!("the address {address} has no prefix length", address = &**address),
        Syntax::Method(word) => tr!("no method of an iface line is called {word}", word = &**word),
        Syntax::Line(line) => tr!("this line is not understood: {line}", line = &**line),
        Syntax::NoMatch => tr!("[Match] says nothing"),
        Syntax::Missing(key) => tr!("{key} is missing", key = *key),
    }
}
