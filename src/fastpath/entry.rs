//! A conn's entries: from its ends, its method and the ways its packets leave by. Pure.
//!
//! Never decides whether a conn is to have entries.

use std::net::IpAddr;

use super::abi::{Entry, Joined, Key, Method, Way};
use crate::base::{self, Endpoint, Proto, Tunnel, TunnelChecksum};
use crate::forward::Ends;
use crate::wire::{checksum, encap};

/// Where packets of one way leave, and what they must fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Place of the next hop among the neighbours, above 0.
    pub neighbour: u32,
    /// The largest packet, before a tunnel is put around it.
    pub largest: u16,
}

/// What is to be known besides the ends of a conn.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The conn's protocol.
    pub proto: Proto,
    /// Towards the server.
    pub request: Hop,
    /// Towards the client, if replies pass here.
    pub reply: Option<Hop>,
    /// The director's address in tunnels to the server.
    pub source: Option<IpAddr>,
    /// Tunnels keep the inner packet's DF (`pmtu_disc`).
    pub discovery: bool,
    /// What lies between ends whose handshake the director has made.
    pub joined: Joined,
}

/// A conn's entry, and a second one for the replies of FULL-NAT, which do not carry the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entries {
    /// By the client.
    pub first: (Key, Entry),
    /// By the local endpoint.
    pub second: Option<(Key, Entry)>,
}

/// Why a conn cannot have entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// Neither TCP nor UDP.
    Proto,
    /// Client and server are of different families.
    Families,
    /// Requests pass by (`cache_bypass`).
    Bypass,
    /// A tunnel whose checksum is over all that it carries.
    TunnelChecksum,
    /// There is no address of the director to send from.
    Source,
}

impl Unfit {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Unfit::Proto => "protocol",
            Unfit::Families => "families",
            Unfit::Bypass => "bypass",
            Unfit::TunnelChecksum => "tunnel-checksum",
            Unfit::Source => "no-source",
        }
    }
}

/// The entries of a conn, nothing counted yet.
pub fn entries(ends: &Ends, facts: &Facts) -> Result<Entries, Unfit> {
    if !matches!(facts.proto, Proto::TCP | Proto::UDP) {
        return Err(Unfit::Proto);
    }
    if ends.translates() {
        return Err(Unfit::Families);
    }
    let (client, virt) = (ends.client(), ends.virt());
    let entry = Entry {
        virt,
        server: ends.real,
        other: client,
        method: Method::Nat,
        keeps_df: facts.discovery,
        shift: ends.shift,
        born: 0,
        joined: facts.joined,
        request: way(facts.request, &[]),
        reply: Way::default(),
    };
    let key = |endpoint| Key { proto: facts.proto, endpoint };
    let alone = |entry| Ok(Entries { first: (key(client), entry), second: None });
    match ends.method {
        base::Method::Nat => {
            let request = way(facts.request, &[(virt, ends.real)]);
            let reply = facts.reply.map_or(Way::default(), |hop| way(hop, &[(ends.real, virt)]));
            alone(Entry { request, reply, ..entry })
        }
        // Replies seldom pass here.
        base::Method::Direct => alone(Entry { method: Method::Direct, ..entry }),
        base::Method::Tunnel(tunnel) => alone(tunnelled(entry, client, tunnel, facts)?),
        base::Method::Bypass => Err(Unfit::Bypass),
        base::Method::FullNat => {
            let local = ends.peer();
            let request = way(facts.request, &[(virt, ends.real), (client, local)]);
            let reply = facts.reply.map_or(Way::default(), |hop| way(hop, &[(ends.real, virt), (local, client)]));
            let first = Entry { other: local, request, ..entry };
            let second = Entry { request: Way::default(), reply, ..entry };
            Ok(Entries { first: (key(client), first), second: Some((key(local), second)) })
        }
    }
}

/// A way on which each of these endpoints becomes another one.
fn way(hop: Hop, changes: &[(Endpoint, Endpoint)]) -> Way {
    let (mut addresses, mut ports) = (0, 0);
    for (from, to) in changes {
        addresses = checksum::add(addresses, address_change(from.addr, to.addr));
        if from.port != to.port {
            ports = checksum::add(ports, checksum::change(&from.port.to_be_bytes(), &to.port.to_be_bytes()));
        }
    }
    Way { neighbour: hop.neighbour, largest: hop.largest, addresses, ports, ..Way::default() }
}

fn address_change(from: IpAddr, to: IpAddr) -> u16 {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => checksum::change(&from.octets(), &to.octets()),
        (IpAddr::V6(from), IpAddr::V6(to)) => checksum::change(&from.octets(), &to.octets()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            debug_assert!(false, "an end keeps its family");
            0
        }
    }
}

fn tunnelled(entry: Entry, client: Endpoint, tunnel: Tunnel, facts: &Facts) -> Result<Entry, Unfit> {
    let real = entry.server.addr;
    let source = facts.source.filter(|source| source.is_ipv4() == real.is_ipv4()).ok_or(Unfit::Source)?;
    let (method, from, to) = match tunnel {
        Tunnel::Ipip => (Method::Ipip, 0, 0),
        Tunnel::Gre { checksum: TunnelChecksum::None } => (Method::Gre, 0, 0),
        Tunnel::Gue { port, checksum: TunnelChecksum::None } => {
            (Method::Gue, encap::flow_port(facts.proto, client, entry.virt), port)
        }
        Tunnel::Gre { .. } | Tunnel::Gue { .. } => return Err(Unfit::TunnelChecksum),
    };
    let (server, other) = (Endpoint::new(real, to), Endpoint::new(source, from));
    Ok(Entry { method, server, other, ..entry })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint;

    const HOP: Hop = Hop { neighbour: 3, largest: 1500 };

    fn ends(method: base::Method, real: &str, local: Option<&str>) -> Ends {
        let (client, virt) = (endpoint("192.0.2.7:4000"), endpoint("198.51.100.1:80"));
        Ends::new(method, client.into(), virt.into(), endpoint(real), local.map(endpoint))
    }

    fn facts() -> Facts {
        let source = Some(endpoint("10.0.0.2:0").addr);
        Facts { proto: Proto::TCP, request: HOP, reply: Some(HOP), source, discovery: true, joined: Joined::default() }
    }

    #[test]
    fn a_nat_conn_has_one_entry_for_both_ways() {
        let made = entries(&ends(base::Method::Nat, "10.0.0.21:8080", None), &facts()).unwrap();
        let (key, entry) = made.first;
        assert_eq!((key.proto, key.endpoint, made.second), (Proto::TCP, endpoint("192.0.2.7:4000"), None));
        assert_eq!((entry.virt, entry.server), (endpoint("198.51.100.1:80"), endpoint("10.0.0.21:8080")));
        let there_and_back = checksum::add(entry.request.addresses, entry.reply.addresses);
        assert_eq!((there_and_back, checksum::add(entry.request.ports, entry.reply.ports)), (0xffff, 0xffff));
    }

    #[test]
    fn replies_of_full_nat_are_found_by_the_local_endpoint() {
        let (local, client) = ("10.0.0.30:5000", "192.0.2.7:4000");
        let made = entries(&ends(base::Method::FullNat, "10.0.0.21:8080", Some(local)), &facts()).unwrap();
        let (key, second) = made.second.unwrap();
        assert_eq!((key.endpoint, second.other), (endpoint(local), endpoint(client)));
        assert_eq!((second.request, second.method), (Way::default(), Method::Nat));
        assert_eq!((made.first.1.reply, made.first.1.other), (Way::default(), endpoint(local)));
    }

    #[test]
    fn what_the_program_cannot_do_has_no_entry() {
        use TunnelChecksum::{Full, None, Remote};
        let of = |method, real| entries(&ends(method, real, Option::None), &facts()).map(|made| made.first.1.method);
        let tunnel = |tunnel| of(base::Method::Tunnel(tunnel), "10.0.0.21:80");
        assert_eq!(tunnel(Tunnel::Ipip), Ok(Method::Ipip));
        assert_eq!(tunnel(Tunnel::Gre { checksum: None }), Ok(Method::Gre));
        assert_eq!(tunnel(Tunnel::Gue { port: 6080, checksum: None }), Ok(Method::Gue));
        for sum in [Full, Remote] {
            assert_eq!(tunnel(Tunnel::Gre { checksum: sum }), Err(Unfit::TunnelChecksum));
            assert_eq!(tunnel(Tunnel::Gue { port: 6080, checksum: sum }), Err(Unfit::TunnelChecksum));
        }
        assert_eq!(of(base::Method::FullNat, "[2001:db8::21]:80"), Err(Unfit::Families));
        assert_eq!(of(base::Method::Tunnel(Tunnel::Ipip), "[2001:db8::21]:80"), Err(Unfit::Source));
        assert_eq!(of(base::Method::Bypass, "198.51.100.1:80"), Err(Unfit::Bypass));
        let sctp = Facts { proto: Proto::SCTP, ..facts() };
        assert_eq!(entries(&ends(base::Method::Nat, "10.0.0.21:8080", Option::None), &sctp), Err(Unfit::Proto));
    }
}
