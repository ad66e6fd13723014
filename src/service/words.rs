//! What forwarding methods, tunnels and their checksums are called: one row each, one column for each dialect.
//!
//! Words only; which of them may stand together is for those to say who read them.

use super::command::{ClientAddress, Method, SynProxy, Tunnel, TunnelChecksum};

/// The port that IANA gave GUE.
pub const GUE_PORT: u16 = 6080;

/// The words for a method; a tunnel of each kind is a method of its own.
pub struct MethodWords {
    /// The method, with a tunnel's usual port and checksum.
    pub method: Method,
    /// In flags and in the configuration file.
    pub name: &'static str,
    /// Other names that are understood there.
    pub aliases: &'static [&'static str],
    /// In listings of ipvsadm.
    pub listed: &'static str,
    /// The option of ipvsadm.
    pub option: &'static str,
    /// `--tun-type` of ipvsadm.
    pub tunnel: Option<&'static str>,
}

/// The words for what a tunnel does with checksums.
pub struct ChecksumWords {
    /// What it does.
    pub checksum: TunnelChecksum,
    /// In the configuration file.
    pub name: &'static str,
    /// In flags.
    pub flag: &'static str,
    /// In listings of ipvsadm.
    pub listed: &'static str,
    /// The option of ipvsadm.
    pub option: &'static str,
}

const fn row(
    method: Method,
    name: &'static str,
    aliases: &'static [&'static str],
    (listed, option): (&'static str, &'static str),
    tunnel: Option<&'static str>,
) -> MethodWords {
    MethodWords { method, name, aliases, listed, option, tunnel }
}

const GRE: Method = Method::Tunnel(Tunnel::Gre { checksum: TunnelChecksum::None });
const GUE: Method = Method::Tunnel(Tunnel::Gue { port: GUE_PORT, checksum: TunnelChecksum::None });

/// All methods that a server can have.
#[rustfmt::skip]
pub const METHODS: &[MethodWords] = &[
    row(Method::Nat,                   "nat",     &["masq"],        ("Masq",    "-m"),        None),
    row(Method::Direct,                "direct",  &["route", "dr"], ("Route",   "-g"),        None),
    row(Method::Tunnel(Tunnel::Ipip),  "tunnel",  &["ipip"],        ("Tunnel",  "-i"),        Some("ipip")),
    row(GRE,                           "gre",     &[],              ("Tunnel",  "-i"),        Some("gre")),
    row(GUE,                           "gue",     &[],              ("Tunnel",  "-i"),        Some("gue")),
    row(Method::FullNat,               "fullnat", &[],              ("FullNat", "--fullnat"), None),
];

/// What no operator chooses.
const BYPASS: MethodWords = row(Method::Bypass, "bypass", &[], ("Bypass", ""), None);

/// All ways to treat checksums.
#[rustfmt::skip]
pub const CHECKSUMS: &[ChecksumWords] = &[
    ChecksumWords { checksum: TunnelChecksum::None,   name: "none",   flag: "nocsum",  listed: "-c",  option: "--tun-nocsum" },
    ChecksumWords { checksum: TunnelChecksum::Full,   name: "full",   flag: "csum",    listed: "+c",  option: "--tun-csum" },
    ChecksumWords { checksum: TunnelChecksum::Remote, name: "remote", flag: "remcsum", listed: "r+c", option: "--tun-remcsum" },
];

impl Method {
    /// Its words.
    pub fn words(self) -> &'static MethodWords {
        match self {
            Method::Nat => &METHODS[0],
            Method::Direct => &METHODS[1],
            Method::Tunnel(Tunnel::Ipip) => &METHODS[2],
            Method::Tunnel(Tunnel::Gre { .. }) => &METHODS[3],
            Method::Tunnel(Tunnel::Gue { .. }) => &METHODS[4],
            Method::FullNat => &METHODS[5],
            Method::Bypass => &BYPASS,
        }
    }

    /// By its name in flags and in the configuration file, with a tunnel's usual port and checksum.
    pub fn named(name: &str) -> Option<Method> {
        let found = METHODS.iter().find(|words| words.name == name || words.aliases.contains(&name));
        found.map(|words| words.method)
    }

    /// The tunnel's UDP port and what it does with checksums, where it has them.
    pub fn tunnel_options(self) -> (Option<u16>, Option<&'static ChecksumWords>) {
        match self {
            Method::Tunnel(Tunnel::Gue { port, checksum }) => (Some(port), Some(words_of(checksum))),
            Method::Tunnel(Tunnel::Gre { checksum }) => (None, Some(words_of(checksum))),
            _ => (None, None),
        }
    }
}

/// How servers learn who their clients are: in the file and in rules, and in flags after `proxy=`.
const CLIENT_ADDRESSES: &[(ClientAddress, &str, &str)] = &[
    (ClientAddress::None, "none", "none"),
    (ClientAddress::ProxyV1, "proxy-v1", "v1"),
    (ClientAddress::ProxyV2, "proxy-v2", "v2"),
    (ClientAddress::Toa, "toa", ""),
];

impl ClientAddress {
    /// Its name.
    pub fn name(self) -> &'static str {
        CLIENT_ADDRESSES.iter().find(|row| row.0 == self).map_or("none", |row| row.1)
    }

    /// The one with that name; an error says which there are.
    pub fn named(name: &str) -> Result<ClientAddress, String> {
        let found = CLIENT_ADDRESSES.iter().find(|row| row.1 == name);
        found.map(|row| row.0).ok_or_else(|| "use one of none, proxy-v1, proxy-v2, toa".into())
    }

    /// The one that a flag names by its version alone.
    pub fn of_version(version: &str) -> Option<ClientAddress> {
        CLIENT_ADDRESSES.iter().find(|row| row.2 == version).map(|row| row.0)
    }
}

const SYN_PROXIES: [(SynProxy, &str); 3] = [(SynProxy::Off, "off"), (SynProxy::On, "on"), (SynProxy::Auto, "auto")];

impl SynProxy {
    /// Its name.
    pub fn name(self) -> &'static str {
        SYN_PROXIES.iter().find(|row| row.0 == self).map_or("off", |row| row.1)
    }

    /// The one with that name, or a truth that a file says; an error says which there are.
    pub fn named(name: &str) -> Result<SynProxy, String> {
        let name = match name {
            "true" => "on",
            "false" => "off",
            other => other,
        };
        let found = SYN_PROXIES.iter().find(|row| row.1 == name);
        found.map(|row| row.0).ok_or_else(|| format!("'{name}' is no way of a SYN proxy; use one of off, on, auto"))
    }
}

/// The names of all methods, with commas between.
pub fn method_names() -> String {
    METHODS.iter().map(|words| words.name).collect::<Vec<_>>().join(", ")
}

fn words_of(checksum: TunnelChecksum) -> &'static ChecksumWords {
    match checksum {
        TunnelChecksum::None => &CHECKSUMS[0],
        TunnelChecksum::Full => &CHECKSUMS[1],
        TunnelChecksum::Remote => &CHECKSUMS[2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_found_by_what_it_is_and_by_each_of_its_names() {
        for words in METHODS {
            assert_eq!(words.method.words().name, words.name);
            for name in words.aliases.iter().chain([&words.name]) {
                assert_eq!(Method::named(name), Some(words.method), "{name}");
            }
        }
        for words in CHECKSUMS {
            let gre = Method::Tunnel(Tunnel::Gre { checksum: words.checksum });
            assert_eq!(gre.tunnel_options().1.map(|found| found.name), Some(words.name));
        }
        assert_eq!(Method::named("Masq"), None);
        for (value, name, version) in CLIENT_ADDRESSES {
            assert_eq!((value.name(), ClientAddress::named(name)), (*name, Ok(*value)));
            assert_eq!(ClientAddress::of_version(version), Some(*value));
        }
        for (value, name) in SYN_PROXIES {
            assert_eq!((value.name(), SynProxy::named(name)), (name, Ok(value)));
        }
        assert_eq!((SynProxy::named("true"), SynProxy::named("yes").is_err()), (Ok(SynProxy::On), true));
        assert_eq!((ClientAddress::named("v1").is_err(), ClientAddress::of_version("v3")), (true, None));
    }
}
