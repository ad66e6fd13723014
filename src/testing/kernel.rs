//! A kernel for laboratories: the maps of the fast path, and what the program does with a frame, in a few lines of our own.
//!
//! Frames are taken or not, counted, and sent on as entries say; no SYN is answered. Beside it the real program may stand, which must do the same
//! to every frame, byte for byte.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::shadow::Shadow;
use super::wire::Frame;
use crate::base::{Array, Endpoint, Instant, LinkId, Mac, Prefix, Tunnel, TunnelChecksum};
use crate::fastpath::abi::{
    Counters, Entry, Joined, Key, Method, Neighbour, Passed, Proxied, Reach, Station, Totals, Way,
};
use crate::fastpath::{Kernel, NotAdded};
use crate::wire::{
    End, Fragment, Ip, L4, Packet, PacketBuf, Parsed, Vnet, decrement_ttl, encap, parse, set_endpoint, set_macs, tcp,
};

/// Number of the device of the first link.
const FIRST_DEVICE: u32 = 10;
/// Of the tunnels in scenarios.
const GUE_PORT: u16 = 6080;

#[derive(Default)]
struct Maps {
    flows: BTreeMap<Place, (Key, Entry)>,
    neighbours: BTreeMap<u32, Neighbour>,
    stations: BTreeMap<u8, Station>,
    room: usize,
    shadow: Option<Shadow>,
}

/// The maps; all clones have the same.
#[derive(Clone, Default)]
pub struct KernelModel(Rc<RefCell<Maps>>);

impl KernelModel {
    /// With room for so many entries.
    pub fn new(room: usize) -> KernelModel {
        KernelModel(Rc::new(RefCell::new(Maps { room, ..Maps::default() })))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.borrow().flows.len()
    }

    /// The same, with the real program beside it.
    pub fn with_shadow(room: usize, shadow: Option<Shadow>) -> KernelModel {
        KernelModel(Rc::new(RefCell::new(Maps { room, shadow, ..Maps::default() })))
    }

    /// A worker that does not understand the entries has the program forward nothing any more, and takes them away.
    pub fn silence(&self) {
        let mut kernel = self.clone();
        kernel.set_station(LinkId(0), &Station::default());
        let keys: Vec<Key> = self.0.borrow().flows.values().map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| _ = kernel.take(key));
    }

    /// What the program makes of a frame that a link's device is about to give to the director: the frame that goes back
    /// instead, or `None` if it is left alone.
    pub fn egress(&self, link: LinkId, bytes: &[u8], vnet: Vnet, now: Instant) -> Option<Frame> {
        let frame = self.forwarded(link, bytes, vnet, now);
        if let Some(shadow) = &self.0.borrow().shadow {
            let by_program = shadow.run(link, bytes).map(without_outer_id);
            let bytes_out = frame.as_ref().map(|frame| without_outer_id(frame.bytes.clone()));
            assert_eq!(by_program, bytes_out, "the program, and the model, of {bytes:02x?}");
        }
        frame
    }

    fn forwarded(&self, link: LinkId, bytes: &[u8], vnet: Vnet, now: Instant) -> Option<Frame> {
        let mut buf = PacketBuf::new();
        buf.set(bytes);
        buf.vnet = vnet;
        let Ok(Parsed::Ip(mut ip)) = parse(&buf) else { return None };
        buf.truncate(ip.end);
        let mut packet = Packet::new(&mut buf, &mut ip);
        let mut maps = self.0.borrow_mut();
        maps.stations.get(&link.0).filter(|station| station.mac == Some(Mac(bytes[..6].try_into().unwrap())))?;
        if !is_plain(&packet) {
            return None;
        }
        let tuple = packet.ip.tuple()?;
        let [from_client, to_client] = [tuple.src, tuple.dst].map(|endpoint| Key { proto: tuple.proto, endpoint });
        let request = |entry: &Entry| entry.request.neighbour != 0 && entry.virt == tuple.dst;
        let reply = |entry: &Entry| entry.reply.neighbour != 0 && entry.server == tuple.src;
        let is = |key: &Key, wanted: &dyn Fn(&Entry) -> bool| {
            maps.flows.get(&place_of(key)).is_some_and(|(_, entry)| wanted(entry))
        };
        let (key, is_request) = match () {
            () if is(&from_client, &request) => (from_client, true),
            () if is(&to_client, &reply) => (to_client, false),
            () => return None,
        };
        let (_, mut entry) = maps.flows[&place_of(&key)];
        let way = if is_request { &mut entry.request } else { &mut entry.reply };
        let neighbour = *maps.neighbours.get(&way.neighbour)?;
        let mac = neighbour.mac?;
        let is_too_large = packet.ip.wire_len(packet.buf) > usize::from(way.largest);
        if is_too_large || entry.method == Method::Nat && is_unsummed(&packet) {
            return None;
        }
        count(way, &packet, now);
        let forwarded = forward(&mut packet, &entry, is_request, mac, neighbour.link_mac);
        maps.flows.insert(place_of(&key), (key, entry));
        Some(Frame { link: LinkId((neighbour.ifindex - FIRST_DEVICE) as u8), bytes: forwarded, vnet: buf.vnet })
    }
}

/// Where an entry is read: by bucket, as in the kernel, so that taking others away moves none.
type Place = (u32, Vec<u8>);
const BUCKETS: u32 = 16;

fn place_of(key: &Key) -> Place {
    let bytes = key.to_bytes().to_vec();
    (bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>() % BUCKETS, bytes)
}

/// A tunnel's outer IPv4 header without DF has any identification.
pub fn without_outer_id(mut frame: Vec<u8>) -> Vec<u8> {
    let is_tunnel = |frame: &[u8]| match frame[23] {
        4 | 41 | 47 => true,
        17 => frame[36..38] == GUE_PORT.to_be_bytes(),
        _ => false,
    };
    if frame[12..14] == [8, 0] && frame[20] & 0x40 == 0 && is_tunnel(&frame) {
        frame[18..20].fill(0);
        frame[24..26].fill(0);
    }
    frame
}

/// True for what the program looks at.
fn is_plain(packet: &Packet) -> bool {
    let ip = &packet.ip;
    let header = if ip.src.is_ipv4() { 20 } else { 40 };
    let goes_on = match ip.l4 {
        L4::Tcp { flags, .. } => flags.ack() && !flags.syn() && !flags.fin() && !flags.rst(),
        L4::Udp { .. } => true,
        _ => false,
    };
    goes_on && ip.ttl > 1 && ip.fragment == Fragment::Whole && ip.l4_at == 14 + header
}

/// A datagram without a checksum.
fn is_unsummed(packet: &Packet) -> bool {
    let at = packet.ip.l4_at + 6;
    matches!(packet.ip.l4, L4::Udp { .. }) && packet.buf.frame()[at..at + 2] == [0, 0]
}

fn forward(packet: &mut Packet, entry: &Entry, is_request: bool, mac: Mac, own: Mac) -> Vec<u8> {
    decrement_ttl(packet.buf, packet.ip);
    let shift = entry.shift as i32;
    if is_tcp(packet) && entry.joined != Joined::default() {
        join(packet, &entry.joined, is_request);
    }
    match (entry.method, is_request) {
        (Method::Nat, true) => {
            if shift != 0 && is_tcp(packet) {
                tcp::shift_sequence(packet.buf, packet.ip, shift);
            }
            set_ends(packet, entry.other, entry.server);
        }
        (Method::Nat, false) => {
            if shift != 0 && is_tcp(packet) {
                tcp::shift_acknowledged(packet.buf, packet.ip, |_| shift.wrapping_neg());
            }
            set_ends(packet, entry.virt, entry.other);
        }
        (Method::Direct, _) => {}
        (Method::Ipip, _) => wrap(packet, entry, Tunnel::Ipip),
        (Method::Gre, _) => wrap(packet, entry, Tunnel::Gre { checksum: TunnelChecksum::None }),
        (Method::Gue, _) => {
            wrap(packet, entry, Tunnel::Gue { port: entry.server.port, checksum: TunnelChecksum::None });
        }
    }
    set_macs(packet.buf, mac, own);
    packet.buf.frame().to_vec()
}

/// What lies between ends that the director has joined.
fn join(packet: &mut Packet, joined: &Joined, is_request: bool) {
    let Joined { back, clocks: [client, server], windows } = *joined;
    let (value, echo) = if is_request { (client, server) } else { (server, client) };
    let bits = windows[usize::from(!is_request)];
    let window = u64::from(tcp::window(packet.frame(), packet.ip));
    let window = if bits < 0 { window >> -bits } else { window << bits };
    tcp::set_window(packet.buf, packet.ip, window.min(0xffff) as u16);
    tcp::shift_timestamps(packet.buf, packet.ip, value, echo.wrapping_neg());
    match is_request {
        true => tcp::shift_acknowledged(packet.buf, packet.ip, |_| (back as i32).wrapping_neg()),
        false => tcp::shift_sequence(packet.buf, packet.ip, back as i32),
    }
}

/// Without times, which are of two clocks.
fn counted(entry: Entry) -> [Counters; 2] {
    [entry.request, entry.reply].map(|way| Counters { seen: 0, ..way.counters })
}

fn set_ends(packet: &mut Packet, src: Endpoint, dst: Endpoint) {
    set_endpoint(packet.buf, packet.ip, End::Source, src);
    set_endpoint(packet.buf, packet.ip, End::Destination, dst);
}

fn wrap(packet: &mut Packet, entry: &Entry, tunnel: Tunnel) {
    let inner = Ip { dont_fragment: packet.ip.dont_fragment && entry.keeps_df, ..*packet.ip };
    let outer = encap::Outer { src: entry.other.addr, dst: entry.server.addr, id: 0 };
    encap::wrap(packet.buf, &inner, tunnel, outer).unwrap();
}

fn is_tcp(packet: &Packet) -> bool {
    matches!(packet.ip.l4, L4::Tcp { .. })
}

fn count(way: &mut Way, packet: &Packet, now: Instant) {
    let Counters { packets, bytes, seen, acknowledged } = &mut way.counters;
    *packets += 1;
    *bytes += packet.ip.total_len() as u64;
    *seen = now.0 * 1_000_000;
    if is_tcp(packet) {
        *acknowledged = tcp::acknowledged(packet.buf.frame(), packet.ip);
    }
}

impl Kernel for KernelModel {
    fn add(&mut self, key: &Key, entry: &Entry) -> Result<(), NotAdded> {
        let mut maps = self.0.borrow_mut();
        let place = place_of(key);
        if maps.flows.contains_key(&place) {
            return Err(NotAdded::Exists);
        }
        if maps.flows.len() >= maps.room {
            return Err(NotAdded::Full);
        }
        maps.flows.insert(place, (*key, *entry));
        if let Some(shadow) = &mut maps.shadow {
            shadow.add(key, entry).unwrap();
        }
        Ok(())
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        let mut maps = self.0.borrow_mut();
        let entry = maps.flows.remove(&place_of(key)).map(|(_, entry)| entry);
        if let Some(shadow) = &mut maps.shadow {
            assert_eq!(shadow.counted(key).map(counted), entry.map(counted), "counted of {key:?}");
            shadow.take(key);
        }
        entry
    }

    fn get(&mut self, key: &Key) -> Option<Entry> {
        self.0.borrow().flows.get(&place_of(key)).map(|(_, entry)| *entry)
    }

    fn read(&mut self, place: Option<u32>, each: &mut dyn FnMut(Key, Entry)) -> Option<u32> {
        const AT_ONCE: usize = 16;
        let maps = self.0.borrow();
        let mut count = 0;
        for bucket in place.unwrap_or(0)..BUCKETS {
            for ((of, _), (key, entry)) in &maps.flows {
                if *of == bucket {
                    each(*key, *entry);
                    count += 1;
                }
            }
            if count >= AT_ONCE {
                return (bucket + 1 < BUCKETS).then_some(bucket + 1);
            }
        }
        None
    }

    fn set_neighbour(&mut self, place: u32, neighbour: &Neighbour) {
        let mut maps = self.0.borrow_mut();
        maps.neighbours.insert(place, *neighbour);
        if let Some(shadow) = &mut maps.shadow {
            shadow.set_neighbour(place, neighbour);
        }
    }

    fn set_station(&mut self, link: LinkId, station: &Station) {
        let mut maps = self.0.borrow_mut();
        maps.stations.insert(link.0, *station);
        if let Some(shadow) = &mut maps.shadow {
            shadow.set_station(link, station);
        }
    }

    fn device(&self, link: LinkId) -> u32 {
        FIRST_DEVICE + u32::from(link.0)
    }

    fn totals(&self) -> Totals {
        [0; Passed::ALL.len()]
    }

    fn clients(&mut self) -> Option<Array<u8>> {
        None
    }

    fn answer(&mut self, _key: &Key, _proxied: &Proxied) -> bool {
        false
    }

    fn leave_syns(&mut self, _key: &Key) {}

    fn leave_all_syns(&mut self) {}

    fn answered_of(&self, _key: &Key) -> u64 {
        0
    }

    fn answered(&self) -> u64 {
        0
    }

    fn set_reach(&mut self, _to: &Prefix, _reach: Option<Reach>) -> bool {
        false
    }

    fn words(&self) -> &str {
        "by a model"
    }
}
