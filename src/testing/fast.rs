//! The program of the fast path in this kernel, beside a lab: entries of the lab's conns, and what becomes of frames.
//!
//! The frames belong to no device (`BPF_PROG_TEST_RUN`). Needs rights; without them there is none.

use std::io::ErrorKind;

use super::lab::{DIRECTOR, LINK, Lab};
use crate::base::{ConnId, Family, Mac, Medium, Method, Proto};
use crate::director::joined;
use crate::fastpath::abi::{Entry, Key, Neighbour, Passed, Station, Totals};
use crate::fastpath::{Entries, Facts, Hop, Unfit, entries};
use crate::io::FastMaps;
use crate::io::bpf;
pub use crate::io::bpf::Run;
use crate::wire::{Gso, PacketBuf, Vnet, encap};

/// The program and its maps.
pub struct Fast {
    /// Its maps.
    pub maps: FastMaps,
    program: bpf::Program,
    next_hops: Vec<Mac>,
    ifindex: u32,
    is_host: bool,
    totals: Totals,
}

/// What became of a frame.
#[derive(Clone, PartialEq, Debug)]
pub enum Fate {
    /// The kernel forwards it like this.
    Taken(Vec<u8>),
    /// It is left to the director as it came.
    Left(Passed),
}

impl Fast {
    /// The program for the link of a lab; `None`, with a word about it, if this process may not load it.
    pub fn new() -> Option<Fast> {
        let maps = match FastMaps::create(1024, 64, true) {
            Ok(maps) => maps,
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                crate::io::print_error(&format!("not tested: without rights no program can be loaded: {error}"));
                return None;
            }
            Err(error) => panic!("no maps: {error}"),
        };
        let program = maps.program(LINK, Medium::Ethernet).unwrap_or_else(|error| panic!("{error}"));
        maps.set_station(LINK, &Station { mac: Some(DIRECTOR), ..Station::default() }).unwrap();
        Some(Fast { totals: maps.totals().unwrap(), maps, program, next_hops: Vec::new(), ifindex: 1, is_host: false })
    }

    /// Adds the entries of a conn.
    pub fn offer(&mut self, lab: &Lab, id: ConnId) -> Result<Entries, Unfit> {
        let made = self.entries(lab, id)?;
        for (key, entry) in [Some(made.first), made.second].into_iter().flatten() {
            self.maps.add(&key, &entry).unwrap();
        }
        Ok(made)
    }

    fn entries(&mut self, lab: &Lab, id: ConnId) -> Result<Entries, Unfit> {
        let flows = &lab.director.flows;
        let (ends, router) = (flows.ends(id), &lab.director.router);
        let to_server = router.route(ends.real.addr).unwrap();
        let added = match ends.method {
            Method::Tunnel(tunnel) => encap::overhead(tunnel, Family::of(ends.real.addr), &PacketBuf::new()) as u16,
            Method::Nat | Method::Direct | Method::FullNat | Method::Bypass => 0,
        };
        let source = router.source(to_server.link, to_server.next_hop, ends.real.addr);
        let to_client = router.route(ends.client().addr).unwrap();
        let mut hop = |route: &crate::router::Route, added| Hop {
            neighbour: self.place(router.neighbours.mac_of(route.link, route.next_hop).unwrap()),
            largest: route.mtu - added,
        };
        let (request, reply) = (hop(&to_server, added), Some(hop(&to_client, 0)));
        let discovery = router.path_mtus.discovery;
        let joined = joined(flows, id);
        entries(&ends, &Facts { proto: flows.conns.get(id).proto(), request, reply, source, discovery, joined })
    }

    /// The place of a next hop among the neighbours.
    pub fn place(&mut self, mac: Mac) -> u32 {
        let at = self.next_hops.iter().position(|known| *known == mac).unwrap_or_else(|| {
            self.next_hops.push(mac);
            self.next_hops.len() - 1
        });
        let place = at as u32 + 1;
        self.set_neighbour(place);
        place
    }

    fn set_neighbour(&self, place: u32) {
        let mac = Some(if self.is_host { Mac::ZERO } else { self.next_hops[place as usize - 1] });
        let neighbour = Neighbour { mac, link_mac: DIRECTOR, ifindex: self.ifindex, is_host: self.is_host };
        self.maps.set_neighbour(place, &neighbour).unwrap();
    }

    /// All next hops are the host behind this device, a TUN.
    pub fn move_behind(&mut self, ifindex: u32) {
        self.is_host = true;
        self.move_to(ifindex);
    }

    /// All next hops are on this device.
    pub fn move_to(&mut self, ifindex: u32) {
        self.ifindex = ifindex;
        (1..=self.next_hops.len() as u32).for_each(|place| self.set_neighbour(place));
    }

    /// What becomes of a frame that comes to the link.
    pub fn run(&mut self, frame: &[u8], vnet: Vnet) -> Fate {
        let headers = |l4: usize| 14 + l4 + if frame[12] == 8 { 20 } else { 40 };
        let headers = match vnet.gso {
            Gso::Udp => headers(8),
            _ => headers(20),
        };
        let gso_size = if vnet.gso == Gso::None { 0 } else { u32::from(vnet.gso_size) };
        let segments = if gso_size == 0 { 0 } else { (frame.len() - headers).div_ceil(gso_size as usize) };
        let wire_len = if segments == 0 { 0 } else { frame.len() + (segments - 1) * headers };
        let run = Run { frame, gso_size, gso_segs: segments as u32, wire_len: wire_len as u32, repeat: 1 };
        self.fate(&run)
    }

    /// The same of a frame with numbers of its own.
    pub fn fate(&mut self, run: &Run) -> Fate {
        const REDIRECT: i32 = 7;
        const NEXT: i32 = -1;
        let verdict = self.program.run(run).unwrap_or_else(|error| panic!("{error}: {:02x?}", run.frame));
        let totals = self.maps.totals().unwrap();
        let before = std::mem::replace(&mut self.totals, totals);
        let mut moved = Passed::ALL.into_iter().filter(|reason| totals[*reason as usize] != before[*reason as usize]);
        match (verdict.action, moved.next(), moved.next()) {
            (REDIRECT, None, None) => Fate::Taken(verdict.frame),
            (NEXT, Some(reason), None) => {
                // But for padding, which the director ignores.
                let whole = run.frame.starts_with(&verdict.frame);
                let no_less = || crate::wire::ip_packet(run.frame).is_ok_and(|ip| ip.end == verdict.frame.len());
                assert!(whole && (verdict.frame.len() == run.frame.len() || no_less()), "{reason:?} {verdict:02x?}");
                Fate::Left(reason)
            }
            unexpected => panic!("{unexpected:?}"),
        }
    }

    /// The entry of an endpoint.
    pub fn entry(&self, proto: Proto, endpoint: crate::base::Endpoint) -> Option<Entry> {
        self.maps.get(&Key { proto, endpoint }).unwrap()
    }
}
