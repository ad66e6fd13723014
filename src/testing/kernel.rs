//! A kernel for laboratories: the maps of the fast path, and what the program does with a frame, in a few lines of our own.
//!
//! What the real program does byte for byte is tested elsewhere. Here it is enough that it is taken or not, counted, and
//! sent on as entries say.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::wire::Frame;
use crate::base::{Instant, LinkId, Mac};
use crate::fastpath::abi::{Counters, Entry, Key, Method, Neighbour, Passed, Station, Totals, Way};
use crate::fastpath::{Kernel, NotAdded};
use crate::wire::{End, Fragment, L4, Packet, PacketBuf, Parsed, Vnet, decrement_ttl, parse, set_endpoint, set_macs};

/// Number of the device of the first link.
const FIRST_DEVICE: u32 = 10;

#[derive(Default)]
struct Maps {
    flows: BTreeMap<Vec<u8>, (Key, Entry)>,
    neighbours: BTreeMap<u32, Neighbour>,
    stations: BTreeMap<u8, Station>,
    room: usize,
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

    /// What the program makes of a frame that a link's device is about to give to the director: the frame that goes back
    /// instead, or `None` if it is left alone.
    pub fn egress(&self, link: LinkId, bytes: &[u8], vnet: Vnet, now: Instant) -> Option<Frame> {
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
            maps.flows.get(key.to_bytes().as_slice()).is_some_and(|(_, entry)| wanted(entry))
        };
        let (key, is_request) = match () {
            () if is(&from_client, &request) => (from_client, true),
            () if is(&to_client, &reply) => (to_client, false),
            () => return None,
        };
        let (_, mut entry) = maps.flows[key.to_bytes().as_slice()];
        let way = if is_request { &mut entry.request } else { &mut entry.reply };
        let neighbour = *maps.neighbours.get(&way.neighbour)?;
        let mac = neighbour.mac?;
        if packet.ip.wire_len(packet.buf) > usize::from(way.largest) {
            return None;
        }
        let bytes = packet.ip.total_len();
        let forwarded = forward(&mut packet, &entry, is_request, mac, neighbour.link_mac);
        let way = if is_request { &mut entry.request } else { &mut entry.reply };
        count(way, bytes, now);
        maps.flows.insert(key.to_bytes().to_vec(), (key, entry));
        Some(Frame { link: LinkId((neighbour.ifindex - FIRST_DEVICE) as u8), bytes: forwarded, vnet: buf.vnet })
    }
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

fn forward(packet: &mut Packet, entry: &Entry, is_request: bool, mac: Mac, own: Mac) -> Vec<u8> {
    decrement_ttl(packet.buf, packet.ip);
    // Tunnels add their headers, which nobody here looks at.
    if entry.method == Method::Nat {
        let (from, to) = if is_request { (entry.other, entry.server) } else { (entry.virt, entry.other) };
        set_endpoint(packet.buf, packet.ip, End::Source, from);
        set_endpoint(packet.buf, packet.ip, End::Destination, to);
    }
    set_macs(packet.buf, mac, own);
    packet.frame().to_vec()
}

fn count(way: &mut Way, bytes: usize, now: Instant) {
    let Counters { packets, bytes: all, seen, .. } = &mut way.counters;
    *packets += 1;
    *all += bytes as u64;
    *seen = now.0 * 1_000_000;
}

impl Kernel for KernelModel {
    fn add(&mut self, key: &Key, entry: &Entry) -> Result<(), NotAdded> {
        let mut maps = self.0.borrow_mut();
        let bytes = key.to_bytes().to_vec();
        if maps.flows.contains_key(&bytes) {
            return Err(NotAdded::Exists);
        }
        if maps.flows.len() >= maps.room {
            return Err(NotAdded::Full);
        }
        maps.flows.insert(bytes, (*key, *entry));
        Ok(())
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        self.0.borrow_mut().flows.remove(key.to_bytes().as_slice()).map(|(_, entry)| entry)
    }

    fn read(&mut self, place: Option<u32>, each: &mut dyn FnMut(Key, Entry)) -> Option<u32> {
        const AT_ONCE: usize = 16;
        let from = place.unwrap_or(0) as usize;
        let all: Vec<(Key, Entry)> = self.0.borrow().flows.values().copied().collect();
        all.iter().skip(from).take(AT_ONCE).for_each(|(key, entry)| each(*key, *entry));
        (from + AT_ONCE < all.len()).then_some((from + AT_ONCE) as u32)
    }

    fn set_neighbour(&mut self, place: u32, neighbour: &Neighbour) {
        self.0.borrow_mut().neighbours.insert(place, *neighbour);
    }

    fn set_station(&mut self, link: LinkId, station: &Station) {
        self.0.borrow_mut().stations.insert(link.0, *station);
    }

    fn device(&self, link: LinkId) -> u32 {
        FIRST_DEVICE + u32::from(link.0)
    }

    fn totals(&self) -> Totals {
        [0; Passed::ALL.len()]
    }

    fn words(&self) -> &str {
        "by a model"
    }
}
