//! The keywords of sshd_config: since and until which release, where they may stand, what their values are.
//!
//! Gathered from the keyword tables of servconf.c in the releases 5.3 to 10.5.

use super::Version;

/// What the values of a keyword are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`.
    Flag,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A number from 0 on.
    Number,
    /// Seconds, or numbers with units: `1h30m`.
    Time,
    /// A TCP port.
    Port,
    /// One word that is not judged.
    Word,
    /// Any words.
    Words,
    /// Patterns of users, with `@` and a host or network behind.
    Users,
    /// Names of variables.
    Names,
    /// Names with values.
    Settings,
    /// A syslog facility.
    Facility,
    /// A syslog level.
    Level,
    /// `10`, or `10:30:100`.
    Startups,
    /// A list of algorithms, perhaps with `+`, `-` or `^` before it.
    Algorithms,
    /// A name and a command.
    Subsystem,
    /// The rest of the line.
    Rest,
    /// An absolute path with arguments, or `none`.
    Command,
    /// Lists of authentication methods.
    Methods,
    /// Files to include.
    Include,
    /// The criteria of a block.
    Match,
    /// Not judged.
    Any,
}

/// A keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// As sshd_config(5) writes it.
    pub name: &'static str,
    /// The keyword that it is another name of.
    pub alias: Option<&'static str>,
    /// The release that has it first; 5.3 stands for all before, too.
    pub since: Version,
    /// The first release without it.
    pub until: Option<Version>,
    /// The first release that passes over it with no more than a word in the log.
    pub ignored: Option<Version>,
    /// The first release that allows it in a Match block.
    pub in_match: Option<Version>,
    /// What its values are.
    pub kind: Kind,
}

impl Keyword {
    /// The name under which its value is kept.
    pub fn canonical(&self) -> &'static str {
        self.alias.unwrap_or(self.name)
    }

    /// Whether `version` has it; a version that is not known has everything.
    pub fn is_in(&self, version: Option<Version>) -> bool {
        version.is_none_or(|version| version >= self.since && self.until.is_none_or(|until| version < until))
    }

    /// Whether `version` reads it and passes over it.
    pub fn is_ignored(&self, version: Option<Version>) -> bool {
        self.ignored.is_some_and(|ignored| version.is_none_or(|version| version >= ignored))
    }

    /// Whether it may stand in a Match block.
    pub fn is_allowed_in_match(&self, version: Option<Version>) -> bool {
        self.in_match.is_some_and(|since| version.is_none_or(|version| version >= since))
    }

    /// Whether every line adds to it; of all others only the first line counts.
    pub fn is_cumulative(&self) -> bool {
        matches!(
            self.canonical(),
            "AllowUsers"
                | "DenyUsers"
                | "AllowGroups"
                | "DenyGroups"
                | "Port"
                | "ListenAddress"
                | "HostKey"
                | "HostCertificate"
                | "AcceptEnv"
                | "Subsystem"
        )
    }
}

/// The keyword of this name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name.as_bytes().eq_ignore_ascii_case(name))
}

const ALWAYS: Version = Version(5, 3);
/// Not allowed in a Match block.
const NEVER: Option<Version> = None;
const FROM_START: Option<Version> = Some(ALWAYS);

const fn since(name: &'static str, major: u8, minor: u8, in_match: Option<Version>, kind: Kind) -> Keyword {
    Keyword { name, alias: None, since: Version(major, minor), until: None, ignored: None, in_match, kind }
}

const fn old(name: &'static str, in_match: Option<Version>, kind: Kind) -> Keyword {
    since(name, 5, 3, in_match, kind)
}

const fn alias(name: &'static str, of: &'static str, in_match: Option<Version>, kind: Kind) -> Keyword {
    Keyword { alias: Some(of), ..old(name, in_match, kind) }
}

const fn ignored(name: &'static str, major: u8, minor: u8, in_match: Option<Version>, kind: Kind) -> Keyword {
    Keyword { ignored: Some(Version(major, minor)), ..old(name, in_match, kind) }
}

const fn at(major: u8, minor: u8) -> Option<Version> {
    Some(Version(major, minor))
}

use Kind::{
    Algorithms, Any, Command, Facility, Flag, Include, Level, Match, Methods, Names, Number, OneOf, Port, Rest,
    Settings, Startups, Subsystem, Time, Users, Word, Words,
};

const FORWARDING: Kind = OneOf(&["yes", "all", "no", "remote", "local"]);

/// Every keyword of OpenSSH itself.
pub const KEYWORDS: &[Keyword] = &[
    old("AcceptEnv", at(6, 1), Names),
    old("AddressFamily", NEVER, OneOf(&["inet", "inet6", "any"])),
    old("AllowAgentForwarding", FROM_START, Flag),
    old("AllowGroups", at(6, 1), Words),
    since("AllowStreamLocalForwarding", 6, 7, FROM_START, FORWARDING),
    old("AllowTcpForwarding", FROM_START, FORWARDING),
    old("AllowUsers", at(6, 1), Users),
    since("AuthenticationMethods", 6, 2, FROM_START, Methods),
    since("AuthorizedKeysCommand", 6, 2, FROM_START, Command),
    since("AuthorizedKeysCommandUser", 6, 2, FROM_START, Word),
    old("AuthorizedKeysFile", at(5, 6), Words),
    ignored("AuthorizedKeysFile2", 5, 9, at(5, 6), Word),
    since("AuthorizedPrincipalsCommand", 6, 9, FROM_START, Command),
    since("AuthorizedPrincipalsCommandUser", 6, 9, FROM_START, Word),
    since("AuthorizedPrincipalsFile", 5, 6, FROM_START, Word),
    old("Banner", FROM_START, Word),
    since("CASignatureAlgorithms", 7, 9, FROM_START, Algorithms),
    alias("ChallengeResponseAuthentication", "KbdInteractiveAuthentication", at(8, 7), Flag),
    since("ChannelTimeout", 9, 2, FROM_START, Any),
    ignored("CheckMail", 5, 3, NEVER, Any),
    old("ChrootDirectory", FROM_START, Word),
    old("Ciphers", NEVER, Algorithms),
    old("ClientAliveCountMax", at(7, 4), Number),
    old("ClientAliveInterval", at(7, 4), Time),
    old("Compression", NEVER, OneOf(&["yes", "delayed", "no"])),
    old("DenyGroups", at(6, 1), Words),
    old("DenyUsers", at(6, 1), Users),
    since("DisableForwarding", 7, 4, FROM_START, Flag),
    alias("DSAAuthentication", "PubkeyAuthentication", NEVER, Flag),
    since("ExposeAuthInfo", 7, 6, FROM_START, Flag),
    since("FingerprintHash", 6, 8, NEVER, Word),
    old("ForceCommand", FROM_START, Rest),
    old("GatewayPorts", FROM_START, OneOf(&["yes", "no", "clientspecified"])),
    old("GSSAPIAuthentication", FROM_START, Any),
    old("GSSAPICleanupCredentials", NEVER, Any),
    old("GSSAPIDelegateCredentials", NEVER, Any),
    old("GSSAPIStrictAcceptorCheck", NEVER, Any),
    since("HostbasedAcceptedAlgorithms", 8, 5, FROM_START, Algorithms),
    Keyword {
        alias: Some("HostbasedAcceptedAlgorithms"),
        ..since("HostbasedAcceptedKeyTypes", 6, 8, FROM_START, Algorithms)
    },
    old("HostbasedAuthentication", FROM_START, Flag),
    old("HostbasedUsesNameFromPacketOnly", at(5, 6), Flag),
    since("HostCertificate", 5, 4, NEVER, Word),
    alias("HostDSAKey", "HostKey", NEVER, Word),
    old("HostKey", NEVER, Word),
    since("HostKeyAgent", 6, 3, NEVER, Word),
    since("HostKeyAlgorithms", 7, 0, NEVER, Algorithms),
    old("IgnoreRhosts", at(8, 3), OneOf(&["yes", "no", "shosts-only"])),
    old("IgnoreUserKnownHosts", NEVER, Flag),
    since("Include", 8, 2, FROM_START, Include),
    since("IPQoS", 5, 7, FROM_START, Any),
    old("KbdInteractiveAuthentication", FROM_START, Flag),
    alias("KeepAlive", "TCPKeepAlive", NEVER, Flag),
    old("KerberosAuthentication", FROM_START, Any),
    old("KerberosGetAFSToken", NEVER, Any),
    old("KerberosOrLocalPasswd", NEVER, Any),
    ignored("KerberosTgtPassing", 5, 3, NEVER, Any),
    old("KerberosTicketCleanup", NEVER, Any),
    since("KexAlgorithms", 5, 7, NEVER, Algorithms),
    ignored("KeyRegenerationInterval", 7, 4, NEVER, Time),
    old("ListenAddress", NEVER, Words),
    old("LoginGraceTime", NEVER, Time),
    old("LogLevel", at(7, 6), Level),
    since("LogVerbose", 8, 5, FROM_START, Any),
    old("MACs", NEVER, Algorithms),
    old("Match", FROM_START, Match),
    old("MaxAuthTries", FROM_START, Number),
    old("MaxSessions", FROM_START, Number),
    old("MaxStartups", NEVER, Startups),
    since("ModuliFile", 8, 6, NEVER, Word),
    ignored("AFSTokenPassing", 5, 3, NEVER, Any),
    ignored("PAMAuthenticationViaKbdInt", 5, 3, NEVER, Any),
    since("PAMServiceName", 9, 8, FROM_START, Word),
    old("PasswordAuthentication", FROM_START, Flag),
    old("PermitEmptyPasswords", FROM_START, Flag),
    since("PermitListen", 7, 8, FROM_START, Any),
    old("PermitOpen", FROM_START, Any),
    old(
        "PermitRootLogin",
        FROM_START,
        OneOf(&["yes", "no", "prohibit-password", "without-password", "forced-commands-only"]),
    ),
    since("PermitTTY", 6, 5, FROM_START, Flag),
    old("PermitTunnel", at(5, 6), OneOf(&["yes", "no", "point-to-point", "ethernet"])),
    old("PermitUserEnvironment", NEVER, Word),
    since("PermitUserRC", 6, 7, FROM_START, Flag),
    since("PerSourceMaxStartups", 8, 5, NEVER, Any),
    since("PerSourceNetBlockSize", 8, 5, NEVER, Any),
    since("PerSourcePenalties", 9, 8, NEVER, Any),
    since("PerSourcePenaltyExemptList", 9, 8, NEVER, Any),
    old("PidFile", NEVER, Word),
    old("Port", NEVER, Port),
    old("PrintLastLog", NEVER, Flag),
    old("PrintMotd", NEVER, Flag),
    ignored("Protocol", 7, 4, NEVER, Word),
    since("PubkeyAcceptedAlgorithms", 8, 5, FROM_START, Algorithms),
    Keyword {
        alias: Some("PubkeyAcceptedAlgorithms"),
        ..since("PubkeyAcceptedKeyTypes", 6, 8, FROM_START, Algorithms)
    },
    old("PubkeyAuthentication", FROM_START, Flag),
    since("PubkeyAuthOptions", 8, 2, FROM_START, Any),
    since("RDomain", 7, 7, FROM_START, Any),
    since("RefuseConnection", 9, 9, FROM_START, Flag),
    since("RekeyLimit", 6, 3, FROM_START, Any),
    since("RequiredRSASize", 9, 1, FROM_START, Number),
    ignored("ReverseMappingCheck", 5, 3, NEVER, Any),
    since("RevokedKeys", 5, 4, FROM_START, Words),
    ignored("RhostsAuthentication", 5, 3, NEVER, Any),
    ignored("RhostsRSAAuthentication", 7, 4, FROM_START, Flag),
    ignored("RSAAuthentication", 7, 4, FROM_START, Flag),
    since("SecurityKeyProvider", 8, 2, NEVER, Word),
    ignored("ServerKeyBits", 7, 4, NEVER, Number),
    since("SetEnv", 7, 8, FROM_START, Settings),
    alias("SkeyAuthentication", "KbdInteractiveAuthentication", at(8, 7), Flag),
    since("SshdAuthPath", 10, 0, NEVER, Word),
    since("SshdSessionPath", 9, 8, NEVER, Word),
    since("StreamLocalBindMask", 6, 7, FROM_START, Any),
    since("StreamLocalBindUnlink", 6, 7, FROM_START, Flag),
    old("StrictModes", NEVER, Flag),
    old("Subsystem", at(9, 5), Subsystem),
    old("SyslogFacility", NEVER, Facility),
    old("TCPKeepAlive", NEVER, Flag),
    since("TrustedUserCAKeys", 5, 4, FROM_START, Word),
    since("UnusedConnectionTimeout", 9, 2, FROM_START, Any),
    old("UseDNS", NEVER, Flag),
    ignored("UseLogin", 7, 4, NEVER, Flag),
    old("UsePAM", NEVER, Flag),
    ignored("UsePrivilegeSeparation", 7, 5, NEVER, OneOf(&["yes", "no", "sandbox"])),
    ignored("VerifyReverseMapping", 5, 3, NEVER, Any),
    since("VersionAddendum", 6, 1, NEVER, Rest),
    old("X11DisplayOffset", FROM_START, Number),
    old("X11Forwarding", FROM_START, Flag),
    old("X11UseLocalhost", FROM_START, Flag),
    old("XAuthLocation", NEVER, Word),
    Keyword { until: at(6, 6), ..old("ZeroKnowledgePasswordAuthentication", FROM_START, Flag) },
];

/// Keywords of the distributions' and other patches, in lower case. Whether a given sshd knows one its program tells.
pub(super) const PATCHES: &[&str] = &[
    // Debian and Ubuntu
    "debianbanner",
    "permitblacklistedkeys",
    // the GSSAPI key exchange, in most distributions
    "gssapikeyexchange",
    "gssapikexalgorithms",
    "gssapistorecredentialsonrekey",
    "gssusesessionccache",
    // RHEL and its relatives
    "authorizedkeyscommandrunas",
    "gssapienablek5users",
    "kerberosuniqueccache",
    "kerberosusekuserok",
    "requiredauthentications1",
    "requiredauthentications2",
    "rsaminsize",
    "showpatchlevel",
    // HPN
    "disablemtaes",
    "hpnbuffersize",
    "hpndisabled",
    "nonemacenabled",
    "noneenabled",
    "tcprcvbuf",
    "tcprcvbufpoll",
    // others
    "useblacklist",
    "useblocklist",
    "x11maxdisplays",
];
